//! Every wrong input has its close code.

mod common;

use std::time::Duration;

use common::world::{ALICE, BOB, GUILD, World, identify, resume, select};
use serde_json::{Value, json};
use voice_model::{ChannelId, GuildId, SessionId, Token};
use voice_server::{Access, CoreConfig, DaveConfig, DaveMode, VersionRefusal};

/// What is sent on a connection that has done nothing yet, and the code it is closed with.
#[track_caller]
fn fresh(text: &str, code: u16) {
    let mut world = World::new();
    let connection = world.open("/?v=8");
    world.raw(connection, text);
    assert_eq!(world.closed(connection), Some(code), "{text}");
}

/// What is sent after Identify, and the code the connection is closed with.
#[track_caller]
fn identified(text: &str, code: impl Into<Option<u16>>) {
    let mut world = World::new();
    let ticket = world.ticket(ALICE);
    let (connection, _) = world.identified(&ticket);
    world.raw(connection, text);
    assert_eq!(world.closed(connection), code.into(), "{text}");
}

#[test]
fn what_is_no_message_is_4002() {
    for text in ["", "{", "nonsense", "[]", "5", "null", "{}", r#"{"d":{}}"#, r#"{"op":"0","d":{}}"#, r#"{"op":-1}"#] {
        fresh(text, 4002);
        identified(text, 4002);
    }
}

#[test]
fn a_wrong_field_of_identify_or_resume_is_4002() {
    let good = json!({ "server_id": "1", "user_id": "2", "session_id": "s", "token": "t" });
    for (key, bad) in [
        ("server_id", json!("x")),
        ("server_id", json!(null)),
        ("user_id", json!(-1)),
        ("session_id", json!(5)),
        ("token", json!(["t"])),
        ("max_dave_protocol_version", json!("1")),
    ] {
        let mut d = good.clone();
        d[key] = bad;
        fresh(&json!({ "op": 0, "d": d }).to_string(), 4002);
    }
    for key in ["server_id", "user_id", "session_id", "token"] {
        let mut d = good.clone();
        d.as_object_mut().unwrap().remove(key);
        fresh(&json!({ "op": 0, "d": d }).to_string(), 4002);
    }
    fresh(r#"{"op":0}"#, 4002);
    fresh(r#"{"op":7,"d":{}}"#, 4002);
}

#[test]
fn an_opcode_that_is_unknown_or_only_the_server_sends_is_4001() {
    for op in [2, 4, 6, 8, 9, 10, 11, 13, 17, 18, 19, 20, 21, 22, 24, 25, 27, 29, 30, 33, 99] {
        let text = json!({ "op": op, "d": {} }).to_string();
        fresh(&text, 4001);
        identified(&text, 4001);
    }
}

#[test]
fn everything_but_a_heartbeat_is_4003_before_identify() {
    for op in [1, 5, 12, 14, 15, 16, 23, 31, 32] {
        fresh(&json!({ "op": op, "d": {} }).to_string(), 4003);
    }
    let mut world = World::new();
    let connection = world.open("/?v=8");
    world.send(connection, json!({ "op": 3, "d": { "t": 7 } }));
    assert_eq!(world.closed(connection), None);
    assert_eq!(world.ops(connection), [8, 6]);
    world.binary(connection, &[26, 1, 2]);
    assert_eq!(world.closed(connection), Some(4003));
}

#[test]
fn wrong_credentials_are_4004_4006_and_4011() {
    let cases: [(&str, Value, u16); 4] = [
        ("token", json!("wrong"), 4004),
        ("session_id", json!("wrong"), 4006),
        ("user_id", json!("77"), 4006),
        ("server_id", json!("77"), 4011),
    ];
    for (key, bad, code) in cases {
        let mut world = World::new();
        let ticket = world.ticket(ALICE);
        let connection = world.open("/?v=8");
        let mut message = identify(&ticket);
        message["d"][key] = bad;
        world.send(connection, message);
        assert_eq!(world.closed(connection), Some(code), "{key}");
        assert_eq!(world.core.stats().sessions, 0);
    }
}

#[test]
fn a_second_identify_or_a_resume_after_it_is_4005() {
    let mut world = World::new();
    let ticket = world.ticket(ALICE);
    let (connection, _) = world.identified(&ticket);
    world.send(connection, identify(&ticket));
    assert_eq!(world.closed(connection), Some(4005));

    let ticket = world.ticket(BOB);
    let (connection, _) = world.identified(&ticket);
    world.send(connection, resume(&ticket, -1));
    assert_eq!(world.closed(connection), Some(4005));
}

#[test]
fn a_resume_without_a_session_is_4006_and_with_a_wrong_token_4004() {
    let mut world = World::new();
    let mut ticket = world.ticket(ALICE);
    let connection = world.open("/?v=8");
    world.send(connection, resume(&ticket, -1));
    assert_eq!(world.closed(connection), Some(4006));

    world.identified(&ticket);
    ticket.token = Token::new("wrong");
    let connection = world.open("/?v=8");
    world.send(connection, resume(&ticket, -1));
    assert_eq!(world.closed(connection), Some(4004));
}

#[test]
fn identify_with_the_credentials_of_a_living_session_is_4006() {
    let mut world = World::new();
    let ticket = world.ticket(ALICE);
    let (first, _) = world.identified(&ticket);
    let second = world.open("/?v=8");
    world.send(second, identify(&ticket));
    assert_eq!((world.closed(first), world.closed(second)), (None, Some(4006)));

    world.lose(first, None);
    let third = world.open("/?v=8");
    world.send(third, identify(&ticket));
    assert_eq!(world.closed(third), Some(4006), "only a resume works");

    world.advance(Duration::from_secs(61));
    let fourth = world.open("/?v=8");
    world.send(fourth, identify(&ticket));
    assert_eq!(world.closed(fourth), None, "the session is gone, the ticket is not");
}

#[test]
fn a_standing_permission_may_identify_again_at_any_time() {
    let rule = Access { token: Token::new("open"), session_id: None, server_id: None, channel_id: None, user_id: None };
    let mut world = World::with(CoreConfig { access: vec![rule], ..CoreConfig::default() });
    let mut ticket = world.ticket(ALICE);
    ticket.server_id = GuildId::new(999);
    ticket.token = Token::new("open");
    ticket.session_id = SessionId::new("anything");
    let (first, _) = world.identified(&ticket);
    let (second, _) = world.identified(&ticket);
    assert_eq!((world.closed(first), world.closed(second)), (Some(4014), None));
    assert_eq!(world.core.stats().sessions, 1);
}

#[test]
fn a_wrong_protocol_is_4012_and_a_wrong_mode_4016() {
    identified(r#"{"op":1,"d":{"protocol":"webrtc","data":"v=0"}}"#, 4012);
    identified(r#"{"op":1,"d":{"protocol":"tcp","data":{"address":"1.2.3.4","port":1,"mode":"x"}}}"#, 4012);
    let address = "127.0.0.1:5".parse().unwrap();
    identified(&select(address, "xsalsa20_poly1305").to_string(), 4016);
    identified(r#"{"op":1,"d":{"protocol":"udp","data":"v=0"}}"#, 4020);
}

#[test]
fn an_offered_mode_that_the_server_cannot_speak_is_4016() {
    let modes = vec!["xsalsa20_poly1305_suffix".to_owned(), "aead_xchacha20_poly1305_rtpsize".to_owned()];
    let mut world = World::with(CoreConfig { modes, ..CoreConfig::default() });
    let address = "127.0.0.1:5".parse().unwrap();
    for (mode, code) in [
        ("xsalsa20_poly1305_suffix", Some(4016)),
        ("aead_aes256_gcm_rtpsize", Some(4016)),
        ("aead_xchacha20_poly1305_rtpsize", None),
    ] {
        let ticket = world.ticket(ALICE);
        let (connection, _) = world.identified(&ticket);
        world.send(connection, select(address, mode));
        assert_eq!(world.closed(connection), code, "{mode}");
    }
}

#[test]
fn a_client_without_end_to_end_encryption_is_4017_where_it_is_required() {
    let dave = DaveConfig::new(DaveMode::Required);
    let mut world = World::with(CoreConfig { dave, ..CoreConfig::default() });
    let ticket = world.ticket(ALICE);
    let connection = world.open("/?v=8");
    let mut message = identify(&ticket);
    message["d"]["max_dave_protocol_version"] = json!(0);
    world.send(connection, message.clone());
    assert_eq!(world.closed(connection), Some(4017));
    let connection = world.open("/?v=8");
    message["d"]["max_dave_protocol_version"] = json!(1);
    world.send(connection, message);
    assert_eq!(world.closed(connection), None);
}

#[test]
fn end_to_end_encryption_messages_are_passed_over_or_refused() {
    for (refuse_opcodes, code) in [(false, None), (true, Some(4001))] {
        let mut dave = DaveConfig::default();
        dave.refuse_opcodes = refuse_opcodes;
        for op in [23, 31] {
            let mut world = World::with(CoreConfig { dave, ..CoreConfig::default() });
            let ticket = world.ticket(ALICE);
            let (connection, _) = world.identified(&ticket);
            world.send(connection, json!({ "op": op, "d": { "transition_id": 1 } }));
            assert_eq!(world.closed(connection), code, "{op}");
        }
        for op in [26, 28] {
            let mut world = World::with(CoreConfig { dave, ..CoreConfig::default() });
            let ticket = world.ticket(ALICE);
            let (connection, _) = world.identified(&ticket);
            world.binary(connection, &[op, 1, 2, 3]);
            assert_eq!(world.closed(connection), code, "{op}");
        }
    }
}

#[test]
fn binary_that_is_no_end_to_end_encryption_is_refused() {
    for (bytes, code) in [(&[][..], 4002), (&[99][..], 4001), (&[0, 1][..], 4001)] {
        let mut world = World::new();
        let ticket = world.ticket(ALICE);
        let (connection, _) = world.identified(&ticket);
        world.binary(connection, bytes);
        assert_eq!(world.closed(connection), Some(code), "{bytes:?}");
    }
}

#[test]
fn a_malformed_heartbeat_or_later_payload_is_4020() {
    for d in [json!(null), json!("7"), json!({ "t": "7" }), json!({ "t": -1 }), json!({}), json!([1])] {
        fresh(&json!({ "op": 3, "d": d }).to_string(), 4020);
        identified(&json!({ "op": 3, "d": d }).to_string(), 4020);
    }
    // The form of version 4 to 7 on version 8.
    fresh(r#"{"op":3,"d":7}"#, 4020);
    identified(r#"{"op":5,"d":{"speaking":1,"delay":0}}"#, 4020);
    identified(r#"{"op":5,"d":{"speaking":"yes","delay":0,"ssrc":100}}"#, 4020);
    identified(r#"{"op":5,"d":{"speaking":1,"delay":0,"ssrc":101}}"#, 4020);
    identified(r#"{"op":1,"d":{}}"#, 4020);
    identified(r#"{"op":5,"d":{"speaking":1,"delay":0,"ssrc":0}}"#, None);
}

#[test]
fn each_version_has_its_form_of_heartbeat() {
    for version in 4..=9 {
        let mut world = World::new();
        let connection = world.open(&format!("/?v={version}"));
        let (good, bad) = if version < 8 {
            (r#"{"op":3,"d":1785000000123}"#, r#"{"op":3,"d":{"t":1785000000123}}"#)
        } else {
            (r#"{"op":3,"d":{"t":1785000000123,"seq_ack":10}}"#, r#"{"op":3,"d":1785000000123}"#)
        };
        world.raw(connection, good);
        let ack = if version < 8 { r#"{"op":6,"d":1785000000123}"# } else { r#"{"op":6,"d":{"t":1785000000123}}"# };
        assert_eq!(world.texts(connection)[1], ack);
        world.raw(connection, bad);
        assert_eq!(world.closed(connection), Some(4020), "{version}");
    }
}

#[test]
fn no_heartbeat_for_two_intervals_is_4009() {
    let mut world = World::new();
    let connection = world.open("/?v=8");
    world.advance(Duration::from_millis(27_400));
    world.send(connection, json!({ "op": 3, "d": { "t": 1 } }));
    world.advance(Duration::from_millis(27_499));
    assert_eq!(world.closed(connection), None);
    world.advance(Duration::from_millis(2));
    assert_eq!(world.closed(connection), Some(4009));
}

#[test]
fn too_many_messages_are_4021_and_a_pause_makes_up_for_them() {
    let mut world = World::new();
    let ticket = world.ticket(ALICE);
    let (connection, _) = world.identified(&ticket);
    let speak = |world: &mut World, count| {
        for _ in 0..count {
            world.raw(connection, r#"{"op":5,"d":{"speaking":1,"delay":0,"ssrc":100}}"#);
        }
        world.closed(connection)
    };
    assert_eq!(speak(&mut world, 119), None);
    world.advance(Duration::from_secs(10));
    assert_eq!(speak(&mut world, 120), None);
    assert_eq!(speak(&mut world, 1), Some(4021));
}

#[test]
fn version_nine_needs_the_channel() {
    let mut world = World::new();
    let ticket = world.ticket(ALICE);
    let connection = world.open("/?v=9");
    world.send(connection, identify(&ticket));
    assert_eq!(world.closed(connection), Some(4002));

    let connection = world.open("/?v=9");
    let mut message = identify(&ticket);
    message["d"]["channel_id"] = json!(ChannelId::new(20).to_string());
    world.send(connection, message);
    assert_eq!(world.closed(connection), None);
    world.lose(connection, None);

    let connection = world.open("/?v=9");
    world.send(connection, resume(&ticket, -1));
    assert_eq!(world.closed(connection), Some(4002));
}

#[test]
fn an_unknown_version_is_refused_before_or_after_the_upgrade() {
    let refused = CoreConfig::default();
    for target in ["/", "/?v=3", "/?v=10", "/?v=eight"] {
        assert!(refused.refusal(target).is_some(), "{target}");
    }
    assert!(refused.refusal("/?v=8").is_none());

    let config = CoreConfig { version_refusal: VersionRefusal::Close, ..CoreConfig::default() };
    assert!(config.refusal("/?v=3").is_none());
    let mut world = World::with(config);
    let connection = world.open("/?v=3");
    assert_eq!(world.closed(connection), Some(4020));
    assert!(world.texts(connection).is_empty());
}

#[test]
fn what_clients_may_send_at_any_time_is_taken() {
    let mut world = World::new();
    let ticket = world.ticket(ALICE);
    let (connection, _) = world.identified(&ticket);
    world.messages(connection);
    for op in [12, 14, 15, 32] {
        world.send(connection, json!({ "op": op, "d": {} }));
    }
    world.send(connection, json!({ "op": 16, "d": {} }));
    assert_eq!(world.closed(connection), None);
    let answer = world.messages(connection);
    assert_eq!(answer.len(), 1);
    assert_eq!(answer[0]["op"], 16);
    assert!(answer[0]["d"]["voice"].is_string());
    assert_eq!(ticket.server_id, GUILD);
}

#[test]
fn sessions_beyond_the_limit_are_refused() {
    let mut config = CoreConfig::default();
    config.limits.sessions = 1;
    let mut world = World::with(config);
    let ticket = world.ticket(ALICE);
    world.identified(&ticket);
    let ticket = world.ticket(BOB);
    let connection = world.open("/?v=8");
    world.send(connection, identify(&ticket));
    assert_eq!(world.closed(connection), Some(4015));
    assert_eq!(world.core.stats().refused, 1);
}
