//! What a call asks of the one media socket.

use std::time::SystemTime;

use voice_model::{GuildId, SessionId, Token};
use voice_rtp::Ping;
use voice_udp::DISCOVERY_LEN;

use super::*;
use crate::Handover;

/// What a call asked for: texts to the gateway, and how often a media socket was to be opened.
#[derive(Default)]
struct Asked {
    texts: Vec<String>,
    opened: u32,
    requests: Vec<[u8; DISCOVERY_LEN]>,
    ping: Option<[u8; Ping::LEN]>,
    sender: Option<Box<Sender>>,
    binaries: Vec<Vec<u8>>,
}

impl Asked {
    /// The answer to the last heartbeat.
    fn acknowledge(&self) -> String {
        let heartbeat = self.texts.iter().rev().find(|text| text.contains(r#""op":3,"#)).expect("op 3 confirms op 5");
        let nonce = heartbeat.split(r#""t":"#).nth(1).and_then(|rest| rest.split([',', '}']).next()).expect("a nonce");
        format!(r#"{{"op":6,"d":{{"t":{nonce}}}}}"#)
    }

    /// The answer to the last ping.
    fn pong(&self) -> [u8; Ping::LEN] {
        let ping = self.ping.expect("a ping opens the way back");
        Ping::parse_request(&ping).expect("a ping").response()
    }

    fn drain(&mut self, call: &mut CallSession) {
        loop {
            match call.poll_output() {
                CallOutput::Timeout(_) => return,
                CallOutput::Ws(WsAction::Text(text)) => self.texts.push(text),
                CallOutput::Ws(WsAction::Binary(bytes)) => self.binaries.push(bytes),
                CallOutput::Udp(UdpAction::Open(_)) => self.opened += 1,
                CallOutput::Udp(UdpAction::Send(request)) => self.requests.push(request),
                CallOutput::Udp(UdpAction::Ping(ping)) => self.ping = Some(ping),
                CallOutput::Media(MediaCommand::Start(sender, _)) => self.sender = Some(sender),
                _ => {}
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
fn start() -> Instant {
    Instant::now()
}

/// A call whose halves are with its media thread.
fn connected(now: Instant) -> (CallSession, Asked) {
    connected_with(now, 0)
}

/// The same with this version of end-to-end encryption.
fn connected_with(now: Instant, dave: u16) -> (CallSession, Asked) {
    let info = Identity {
        channel_id: ChannelId::new(3),
        endpoint: "voice.example.net".parse().expect("an endpoint"),
        server_id: GuildId::new(1),
        session_id: SessionId::new("session"),
        token: Token::new("token"),
        user_id: UserId::new(2),
    };
    let mut call = CallSession::new(now, Arc::new(Config::default()), info, [7; 32]);
    let mut asked = Asked::default();
    asked.drain(&mut call);
    let ready = r#"{"op":2,"d":{"ssrc":41,"ip":"127.0.0.1","port":50000,"modes":["aead_xchacha20_poly1305_rtpsize"]}}"#;
    call.handle_input(now, CallInput::Ws(Input::Connected));
    for text in [r#"{"op":8,"d":{"v":8,"heartbeat_interval":41250}}"#, ready] {
        call.handle_input(now, CallInput::Ws(Input::Text(text)));
    }
    asked.drain(&mut call);
    assert_eq!(asked.opened, 1);
    call.handle_input(now, CallInput::UdpOpened);
    asked.drain(&mut call);
    assert_eq!(asked.requests.len(), 1, "discovery goes over that socket");

    // What the server saw is another address than any local one.
    let mut answer = [0; DISCOVERY_LEN];
    answer[..8].copy_from_slice(&[0, 2, 0, 70, 0, 0, 0, 41]);
    answer[8..19].copy_from_slice(b"203.0.113.9");
    answer[72..].copy_from_slice(&40_001_u16.to_be_bytes());
    call.handle_input(now, CallInput::Datagram(&answer));
    asked.drain(&mut call);
    let select = asked.texts.iter().find(|text| text.contains(r#""op":1,"#)).expect("op 1 was sent");
    assert!(select.contains("203.0.113.9") && select.contains("40001"), "{select}");

    let key = (0..32).map(|byte: u8| byte.to_string()).collect::<Vec<_>>().join(",");
    let description = format!(
        r#"{{"op":4,"d":{{"mode":"aead_xchacha20_poly1305_rtpsize","secret_key":[{key}],"dave_protocol_version":{dave}}}}}"#
    );
    call.handle_input(now, CallInput::Ws(Input::Text(&description)));
    asked.drain(&mut call);
    call.handle_input(now, CallInput::Ws(Input::Text(&asked.acknowledge())));
    asked.drain(&mut call);
    assert!(asked.sender.is_none(), "the server may not have heard of the socket");
    call.handle_input(now, CallInput::Datagram(&asked.pong()));
    asked.drain(&mut call);
    assert!(asked.sender.is_some());
    assert_eq!(asked.opened, 1, "the halves go to the socket that was discovered with");
    (call, asked)
}

#[test]
fn w8_the_address_that_is_told_is_that_of_the_socket_that_media_uses() {
    connected(start());
}

#[test]
fn the_streams_time_goes_on_while_a_call_is_on_its_way_to_another_process() {
    let local = "127.0.0.1:40000".parse().expect("an address");
    let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    // How long it was on its way by the clock, how long the resume takes, and the frames of 20 ms that are.
    for (start_of_day, passed, resumed_after, frames) in [
        (noon, 0, 0, 0),
        (noon, 500, 0, 25),
        (noon, 480, 60, 27),
        (noon, 86_400_000, 0, 15_000),
        // The clock was set back.
        (noon - Duration::from_secs(3_600), 500, 40, 2),
    ] {
        let now = start();
        let (mut call, asked) = connected(now);
        let position = asked.sender.expect("it is connected").position();
        let handover = call.detach(local, position, noon).expect("it is connected");
        let handover = Handover::decode(&handover.encode()).expect("what was written");

        let wall = start_of_day + Duration::from_millis(passed);
        let mut call = CallSession::attach(now, wall, Arc::new(Config::default()), &handover, [8; 32]).expect("a call");
        let mut asked = Asked::default();
        asked.drain(&mut call);
        call.handle_input(now, CallInput::UdpOpened);
        let now = now + Duration::from_millis(resumed_after);
        call.handle_input(now, CallInput::Ws(Input::Connected));
        for text in [r#"{"op":8,"d":{"v":8,"heartbeat_interval":41250}}"#, r#"{"op":9,"d":null}"#] {
            call.handle_input(now, CallInput::Ws(Input::Text(text)));
            asked.drain(&mut call);
        }
        call.handle_input(now, CallInput::Ws(Input::Text(&asked.acknowledge())));
        call.handle_input(now, CallInput::Datagram(&asked.pong()));
        asked.drain(&mut call);
        let after = asked.sender.expect("the stream goes on").position();
        assert_eq!(after.sequence, position.sequence);
        assert_eq!(
            after.timestamp.get().wrapping_sub(position.timestamp.get()),
            frames * 960,
            "{passed} ms on the way"
        );
    }
}

#[test]
fn what_the_gateway_may_not_have_heard_is_said_again_only_after_all_that_it_says_again() {
    let now = start();
    let (mut call, mut asked) = connected_with(now, 1);
    assert_eq!(asked.binaries.len(), 1, "a key package");
    let lost = Input::Disconnected(None);
    call.handle_input(now, CallInput::Ws(lost));
    asked.drain(&mut call);
    call.handle_input(now, CallInput::Ws(Input::Connected));
    asked.drain(&mut call);
    asked.texts.clear();
    for text in [r#"{"op":8,"d":{"v":8,"heartbeat_interval":41250}}"#, r#"{"op":9,"d":null}"#] {
        call.handle_input(now, CallInput::Ws(Input::Text(text)));
        asked.drain(&mut call);
    }
    // A number of the replay, while more of it is on its way.
    call.handle_input(now, CallInput::Ws(Input::Text(r#"{"op":11,"d":{"user_ids":["9"]},"seq":1}"#)));
    asked.drain(&mut call);
    assert_eq!(asked.binaries.len(), 1, "nothing is said again yet");
    call.handle_input(now, CallInput::Ws(Input::Text(&asked.acknowledge())));
    asked.drain(&mut call);
    assert_eq!(asked.binaries.len(), 2, "the key package is needed still");
    assert_eq!(asked.binaries[0], asked.binaries[1]);
}
