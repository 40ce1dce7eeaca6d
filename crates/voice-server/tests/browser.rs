//! A page of a foreign origin in a real browser gets nothing from the server. `.ci/run browser` installs one and runs this.
#![cfg(feature = "tokio")]

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use voice_server::{Server, ServerConfig};

/// Tries every door, and asks for `/done?` with what came of it: `open` for a WebSocket, `read` for an answer that the
/// page can read.
const PAGE: &str = r#"<!doctype html><script>
const port = PORT, found = [];
const socket = url => new Promise(done => {
  const socket = new WebSocket(url);
  socket.onmessage = () => { found.push("open:" + url); socket.close(); done(); };
  socket.onerror = done;
});
const read = (url, options) => fetch(url, options).then(answer => answer.text().then(text => {
  if (answer.ok && text) found.push("read:" + url);
})).catch(() => {});
Promise.all([
  ...["127.0.0.1", "localhost", "evil.test"].flatMap(host => [
    socket(`ws://${host}:${port}/gateway`), socket(`ws://${host}:${port}/?v=8`),
    read(`http://${host}:${port}/api/v10/gateway`), read(`http://${host}:${port}/api/v10/gateway`, { mode: "no-cors" }),
  ]),
]).then(() => fetch("/done?" + encodeURIComponent(found.join(" "))));
</script>"#;

/// Serves the page until it tells what it found.
async fn serve_page(listener: TcpListener, server_port: u16) -> String {
    let page = PAGE.replace("PORT", &server_port.to_string());
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 8 * 1024];
        let len = stream.read(&mut request).await.unwrap();
        let request = String::from_utf8_lossy(&request[..len]).into_owned();
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        let body = if path == "/" { page.as_str() } else { "" };
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n";
        let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        // The browser may have gone already.
        let _ = stream.write_all(answer.as_bytes()).await;
        if let Some(found) = path.strip_prefix("/done?") {
            return found.to_owned();
        }
    }
}

fn browse(profile: &std::path::Path, url: &str) -> Child {
    Command::new("chromium")
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        // Whoever has the name can have it mean this machine.
        .arg("--host-resolver-rules=MAP evil.test 127.0.0.1")
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(url)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("chromium is installed")
}

/// What a page at `evil.test` finds at a server.
async fn attack(origins: impl FnOnce(u16) -> Vec<String>) -> (String, Server) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let page_port = listener.local_addr().unwrap().port();
    let config = ServerConfig { origins: origins(page_port), ..ServerConfig::default() };
    let server = Server::bind(config).await.unwrap();
    let profile = tempfile::tempdir().unwrap();
    let mut browser = browse(profile.path(), &format!("http://evil.test:{page_port}/"));
    let found = timeout(Duration::from_secs(60), serve_page(listener, server.tcp_addr().port())).await;
    let _ = browser.kill().await;
    (found.expect("the page tells what it found"), server)
}

#[tokio::test]
#[ignore = "needs chromium: `.ci/run browser` installs it"]
async fn a_page_of_a_foreign_origin_gets_nothing() {
    let (found, server) = attack(|_| Vec::new()).await;
    assert_eq!(found, "");
    // Each of its twelve tries, those included of which it can read nothing and does not name itself.
    let refused = server.wait_for(|stats| stats.browsers_refused >= 12);
    let stats = timeout(Duration::from_secs(10), refused).await.expect("the page did come").unwrap();
    assert_eq!((stats.connections, stats.messages_sent), (0, 0));
    server.shutdown().await;
}

#[tokio::test]
#[ignore = "needs chromium: `.ci/run browser` installs it"]
async fn a_page_whose_origin_is_let_in_gets_hello() {
    let (found, server) = attack(|port| vec![format!("http://evil.test:{port}")]).await;
    for socket in ["gateway", "%3Fv%3D8"] {
        assert!(found.contains("open") && found.contains(socket), "the attack works where the door is open: {found}");
    }
    assert!(!found.contains("evil.test"), "but not under a name that was made to mean this machine: {found}");
    server.shutdown().await;
}
