//! The client over real sockets.

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use voice_model::{ClientMessage, CloseCode, Opcode, UnknownMessage};
use voice_ws::{
    Advice, Cause, Client, Connector, Ended, ProtocolViolation, SessionConfig, SessionEvent, TransportError,
};

use support::{HELLO, MODE, READY, RESUMED, Server, client, identity, join, next, soon};

#[tokio::test]
async fn joins_and_leaves_over_plain_tcp_and_over_tls() {
    for server in [Server::plain().await, Server::with_tls().await] {
        let mut client = client(&server);
        let serve = async {
            let mut peer = server.accept().await;
            let identify = peer.establish().await;
            assert!(identify.contains("the-token") && identify.contains("the-session"));
            peer.text(r#"{"op":11,"d":{"user_ids":["5"]},"seq":0}"#).await;
            peer.binary(&[0, 1, 25, 1, 2, 3]).await;
            assert_eq!(peer.read_binary().await, [26, 9]);
            assert_eq!(peer.ignore_until_closed().await, Some(1000));
        };
        let call = async {
            join(&mut client).await;
            assert!(matches!(next(&mut client).await, SessionEvent::Message(_)));
            let SessionEvent::Binary { opcode, payload } = next(&mut client).await else { panic!("expected binary") };
            assert_eq!((opcode, payload), (Opcode::MlsExternalSender, vec![1, 2, 3]));
            client.send_binary(Opcode::MlsKeyPackage, &[9]).unwrap();
            soon("leaving", client.close(std::time::Duration::from_secs(5))).await;
            assert!(client.next().await.is_none());
        };
        tokio::join!(serve, call);
    }
}

#[tokio::test]
async fn reset_connection_is_resumed_where_it_broke() {
    let server = Server::plain().await;
    let mut client = client(&server);
    let serve = async {
        let mut peer = server.accept_resettable().await;
        peer.establish().await;
        peer.text(r#"{"op":18,"d":{},"seq":0}"#).await;
        peer.binary(&[0, 1, 25, 1]).await;
        // The client has both when it asks for this.
        peer.read().await;
        peer.reset();
        let mut peer = server.accept().await;
        peer.text(HELLO).await;
        let resume = peer.read().await;
        assert!(resume.starts_with(r#"{"op":7,"#) && resume.ends_with(r#""seq_ack":1,"channel_id":"3"}}"#), "{resume}");
        peer.text(r#"{"op":18,"d":{},"seq":2}"#).await;
        peer.text(RESUMED).await;
        assert_eq!(peer.ignore_until_closed().await, Some(1000));
    };
    let call = async {
        join(&mut client).await;
        assert!(matches!(next(&mut client).await, SessionEvent::Message(_)));
        assert!(matches!(next(&mut client).await, SessionEvent::Binary { .. }));
        let ask = UnknownMessage { opcode: Opcode::VoiceBackendVersion, data: "{}".to_owned() };
        client.send(ClientMessage::Unknown(ask)).unwrap();
        assert!(matches!(next(&mut client).await, SessionEvent::Interrupted(Cause::ConnectionLost)));
        assert!(matches!(client.last_error(), Some(TransportError::Broken(_))), "{:?}", client.last_error());
        assert!(matches!(next(&mut client).await, SessionEvent::Message(_)), "replayed");
        assert!(matches!(next(&mut client).await, SessionEvent::Resumed));
        assert_eq!(client.session().stats().sequence_gaps, 0);
        soon("leaving", client.close(std::time::Duration::from_secs(5))).await;
    };
    tokio::join!(serve, call);
}

#[tokio::test]
async fn server_that_stops_answering_is_left_and_the_session_resumed() {
    let server = Server::plain().await;
    let mut client = client(&server);
    let serve = async {
        let mut silent = server.accept().await;
        silent.establish().await;
        assert_eq!(silent.ignore_until_closed().await, Some(4900));
        let mut peer = server.accept().await;
        peer.text(HELLO).await;
        assert!(peer.read().await.starts_with(r#"{"op":7,"#));
        peer.text(RESUMED).await;
    };
    let call = async {
        join(&mut client).await;
        assert!(matches!(next(&mut client).await, SessionEvent::Interrupted(Cause::Zombie)));
        assert!(matches!(next(&mut client).await, SessionEvent::Resumed));
        assert_eq!(client.session().stats().interruptions, 1);
    };
    tokio::join!(serve, call);
}

#[tokio::test]
async fn server_that_does_not_read_is_given_up_before_memory_is() {
    let server = Server::plain().await;
    let mut client = client(&server);
    let serve = async {
        let mut stalled = server.accept().await;
        stalled.establish().await;
        let mut peer = server.accept().await;
        peer.text(HELLO).await;
        assert!(peer.read().await.starts_with(r#"{"op":7,"#));
        peer.text(RESUMED).await;
        drop(stalled);
    };
    let call = async {
        join(&mut client).await;
        // Far more than the system's buffers hold.
        for _ in 0..200 {
            client.send_binary(Opcode::MlsKeyPackage, &vec![0; 200 << 10]).unwrap();
        }
        assert!(matches!(next(&mut client).await, SessionEvent::Interrupted(Cause::ConnectionLost)));
        assert!(matches!(client.last_error(), Some(TransportError::Stalled)), "{:?}", client.last_error());
        assert!(matches!(next(&mut client).await, SessionEvent::Resumed));
    };
    tokio::join!(serve, call);
}

#[tokio::test]
async fn close_code_reaches_a_session_that_writes() {
    let server = Server::plain().await;
    let mut client = client(&server);
    let (mut peer, ()) = tokio::join!(
        async {
            let mut peer = server.accept().await;
            peer.establish().await;
            peer
        },
        join(&mut client)
    );
    peer.close(4014).await;
    for _ in 0..3 {
        client.send_binary(Opcode::MlsKeyPackage, &[1]).unwrap();
    }
    let SessionEvent::Ended(ended) = next(&mut client).await else { panic!("expected the end") };
    assert_eq!(ended, Ended { advice: Advice::Wait, cause: Cause::Closed(CloseCode::DISCONNECTED) });
}

#[tokio::test]
async fn end_without_a_close_message_is_a_broken_connection() {
    let server = Server::plain().await;
    let mut client = client(&server);
    let serve = async {
        server.accept().await.establish().await;
    };
    tokio::join!(serve, join(&mut client));
    assert!(matches!(next(&mut client).await, SessionEvent::Interrupted(Cause::ConnectionLost)));
    assert!(matches!(client.last_error(), Some(TransportError::Broken(_))), "{:?}", client.last_error());
}

#[tokio::test]
async fn oversized_message_is_refused_with_its_code_and_the_session_resumed() {
    let server = Server::plain().await;
    let mut client = client(&server);
    let serve = async {
        let mut peer = server.accept().await;
        peer.establish().await;
        peer.text(&format!(r#"{{"op":18,"d":"{}"}}"#, "x".repeat(16 << 20))).await;
        assert_eq!(peer.ignore_until_closed().await, Some(1009));
        let mut peer = server.accept().await;
        peer.text(HELLO).await;
        assert!(peer.read().await.starts_with(r#"{"op":7,"#));
        peer.text(RESUMED).await;
        assert_eq!(peer.ignore_until_closed().await, Some(1000));
    };
    let call = async {
        join(&mut client).await;
        let too_big = Cause::Protocol(ProtocolViolation::MessageTooBig);
        assert!(matches!(next(&mut client).await, SessionEvent::Interrupted(cause) if cause == too_big));
        assert!(matches!(next(&mut client).await, SessionEvent::Resumed));
        assert_eq!(client.session().stats().messages_oversized, 1);
        soon("leaving", client.close(std::time::Duration::from_secs(5))).await;
    };
    tokio::join!(serve, call);
}

/// Runs a session that cannot come about, with one attempt, and returns its last error.
async fn last_error(endpoint: &str, connector: Connector) -> TransportError {
    let mut config = SessionConfig::default();
    config.max_handshakes = 1;
    let mut client = Client::connect(connector, config, identity(endpoint.parse().unwrap()), 7);
    let SessionEvent::Ended(ended) = next(&mut client).await else { panic!("expected the end") };
    assert_eq!(ended, Ended { advice: Advice::Rejoin, cause: Cause::ConnectionLost });
    client.take_last_error().expect("a reason")
}

#[tokio::test]
async fn untrusted_certificate_is_a_tls_error() {
    let server = Server::with_tls().await;
    let endpoint = server.endpoint().to_string();
    let other = Server::with_tls().await.certificate_pem;
    for connector in [Connector::new(), Connector::with_extra_roots(other.as_bytes()).unwrap()] {
        let (error, _) = tokio::join!(last_error(&endpoint, connector), async {
            // The server's side of the TLS handshake fails, too.
            server.fail_tls().await;
        });
        assert!(matches!(error, TransportError::Tls(_)), "{error:?}");
    }
}

#[tokio::test]
async fn certificate_for_another_name_is_a_tls_error() {
    let server = Server::with_tls().await;
    let connector = Connector::with_extra_roots(server.certificate_pem.as_bytes()).unwrap();
    let endpoint = format!("localhost:{}", server.endpoint().port());
    let (error, ()) = tokio::join!(last_error(&endpoint, connector), server.fail_tls());
    assert!(matches!(error, TransportError::Tls(_)), "{error:?}");
}

#[tokio::test]
async fn port_where_nobody_listens_is_a_connect_error() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let endpoint = format!("ws://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = last_error(&endpoint, Connector::new()).await;
    assert!(matches!(error, TransportError::Connect(_)), "{error:?}");
}

#[tokio::test]
async fn server_without_websocket_is_a_handshake_error() {
    let server = Server::plain().await;
    let endpoint = server.endpoint().url().replace("/?v=8", "");
    let (error, ()) = tokio::join!(last_error(&endpoint, Connector::new()), async {
        let mut tcp = server.accept_tcp().await;
        let mut request = [0; 4096];
        let len = soon("a request", tcp.read(&mut request)).await.unwrap();
        assert!(request[..len].starts_with(b"GET /?v=8 HTTP/1.1\r\n"));
        tcp.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    });
    assert!(matches!(error, TransportError::Handshake(_)), "{error:?}");
}

#[tokio::test]
async fn w1_server_that_hangs_up_during_the_handshake_gets_three_attempts() {
    // Before the WebSocket, right after it, after Hello, after Ready.
    for stage in 0..4 {
        let server = Server::plain().await;
        let mut client = client(&server);
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let serve = async move {
            loop {
                let tcp = server.accept_tcp().await;
                count.fetch_add(1, Ordering::Relaxed);
                if stage > 0 {
                    let mut peer = server.upgrade(tcp).await;
                    if stage > 1 {
                        peer.text(HELLO).await;
                    }
                    if stage > 2 {
                        peer.read().await;
                        peer.text(READY).await;
                    }
                }
            }
        };
        let call = async {
            loop {
                match next(&mut client).await {
                    SessionEvent::Ready(ready) => assert_eq!((stage, ready.modes), (3, vec![MODE.to_owned()])),
                    SessionEvent::Ended(ended) => return ended,
                    other => panic!("unexpected {other:?}"),
                }
            }
        };
        let ended = tokio::select! {
            ended = call => ended,
            () = serve => unreachable!("the server never ends"),
        };
        assert_eq!(ended, Ended { advice: Advice::Rejoin, cause: Cause::ConnectionLost }, "stage {stage}");
        assert_eq!(accepted.load(Ordering::Relaxed), 3, "stage {stage}");
    }
}
