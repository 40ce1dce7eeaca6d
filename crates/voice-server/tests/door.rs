//! Pages in a browser do not reach the server, on real sockets.
#![cfg(feature = "tokio")]

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use voice_server::{Server, ServerConfig};

/// What a request says of itself, and how it is refused, if it is.
type Case<'a> = (&'a [(&'a str, &'a str)], Option<u16>);

/// Asks for a path and returns the status.
async fn ask(server: &Server, path: &str, headers: &[(&str, &str)]) -> u16 {
    let asked = async {
        let mut stream = TcpStream::connect(server.tcp_addr()).await.unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
            Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let request = format!("GET {path} HTTP/1.1\r\n{headers}{upgrade}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut line = [0; 12];
        stream.read_exact(&mut line).await.unwrap();
        str::from_utf8(&line[9..]).unwrap().parse().unwrap()
    };
    timeout(Duration::from_secs(10), asked).await.expect("an answer")
}

#[tokio::test]
async fn every_path_refuses_pages_and_other_names_and_counts_them() {
    let ours = "http://ours.test";
    let config = ServerConfig { origins: vec![ours.to_owned()], ..ServerConfig::default() };
    let server = Server::bind(config).await.unwrap();
    let port = server.tcp_addr().port();
    let (here, local) = (format!("127.0.0.1:{port}"), format!("localhost:{port}"));
    let rebound = format!("evil.test:{port}");
    let mut refused = 0;
    for (path, welcome) in [("/gateway", 101), ("/?v=8", 101), ("/api/v10/gateway", 200)] {
        let cases: [Case<'_>; 16] = [
            (&[("Host", &here)], None),
            (&[("Host", &local)], None),
            (&[("Host", &here), ("Origin", ours)], None),
            (&[("Host", &here), ("Origin", "http://evil.test")], Some(403)),
            (&[("Host", &here), ("Origin", "null")], Some(403)),
            (&[("Host", &here), ("Origin", "")], Some(403)),
            (&[("Host", &here), ("Origin", "http://ours.test.evil.test")], Some(403)),
            (&[("Host", &here), ("Origin", ours), ("Origin", "http://evil.test")], Some(403)),
            (&[("Host", &here), ("Sec-Fetch-Site", "none")], None),
            (&[("Host", &here), ("Sec-Fetch-Site", "cross-site")], Some(403)),
            (&[("Host", &rebound), ("Origin", "http://evil.test")], Some(403)),
            (&[("Host", &rebound)], Some(421)),
            (&[("Host", &rebound), ("Origin", ours)], Some(421)),
            (&[("Host", "127.0.0.1:1")], Some(421)),
            (&[("Host", "127.evil.test")], Some(421)),
            (&[], Some(421)),
        ];
        for (headers, refusal) in cases {
            assert_eq!(ask(&server, path, headers).await, refusal.unwrap_or(welcome), "{path} {headers:?}");
            refused += u64::from(refusal.is_some());
        }
        // The target can name a host too.
        assert_eq!(ask(&server, &format!("http://{rebound}{path}"), &[("Host", &here)]).await, 421);
        refused += 1;
    }
    let counted = async {
        while server.stats().browsers_refused < refused {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), counted).await.expect("all are counted");
    assert_eq!(server.stats().browsers_refused, refused);
    assert_eq!(server.stats().joins, 0);
    server.shutdown().await;
}
