//! Nothing that comes from the network panics, and everything ends.

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::world::{ALICE, BOB, World};
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_oneof, proptest};
use serde_json::{Value, json};
use voice_server::{Direction, FaultKind, Impairment};

/// JSON that is near a message, or far from one.
fn message() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just(json!(null)),
        any::<i64>().prop_map(|n| json!(n)),
        any::<f64>().prop_map(|n| json!(n)),
        "[a-z0-9]{0,9}".prop_map(Value::from),
        Just(json!({})),
        Just(json!([1, "a", {}])),
    ];
    let key = prop_oneof![
        Just("server_id"),
        Just("user_id"),
        Just("session_id"),
        Just("token"),
        Just("ssrc"),
        Just("speaking"),
        Just("t"),
        Just("seq_ack"),
        Just("any"),
        Just("guild_id"),
        Just("channel_id"),
        Just("intents"),
        Just("shard"),
        Just("seq"),
        Just("protocol"),
        Just("data"),
    ];
    let object = prop::collection::hash_map(key, value, 0..8).prop_map(|map| json!(map));
    let near = (0_u64..45, object).prop_map(|(op, d)| json!({ "op": op, "d": d }).to_string());
    prop_oneof![near, ".{0,60}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_answered_or_closed(
        gateway in any::<bool>(),
        messages in prop::collection::vec(message(), 1..12),
    ) {
        let mut world = World::new();
        let connection = world.open(if gateway { "/gateway" } else { "/?v=8" });
        for message in &messages {
            world.raw(connection, message);
        }
        world.lose(connection, None);
        world.advance(Duration::from_secs(61));
        assert_eq!(world.core.stats().connections, 0);
        assert_eq!(world.core.stats().sessions, 0);
    }

    #[test]
    fn any_text_after_identify_leaves_the_others_alone(messages in prop::collection::vec(message(), 1..12)) {
        let mut world = World::new();
        let alice = world.join(ALICE);
        let bob = world.join(BOB);
        for message in &messages {
            world.raw(alice.connection, message);
            world.binary(alice.connection, message.as_bytes());
        }
        assert_eq!(world.closed(bob.connection), None);
    }

    #[test]
    fn any_datagram_is_dropped(
        datagrams in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), 1..20),
        ours in any::<bool>(),
        version in any::<bool>(),
        impaired in any::<bool>(),
    ) {
        let mut world = World::new();
        let alice = world.join(ALICE);
        let bob = world.join(BOB);
        if impaired {
            let impairment = Impairment { duplicate: 0.5, corrupt: 0.5, reorder: 0.5, ..Impairment::default() };
            world.fault(ALICE, FaultKind::Impair { direction: Direction::FromClient, impairment });
        }
        let from = if ours { alice.address } else { SocketAddr::from(([192, 0, 2, 1], 9)) };
        for mut datagram in datagrams {
            if version && let Some(first) = datagram.first_mut() {
                *first = *first & 0x3F | 0x80;
            }
            if let Some(place) = datagram.get_mut(8..12) && ours {
                place.copy_from_slice(&alice.ssrc.to_be_bytes());
            }
            world.datagram(from, &datagram);
        }
        world.advance(Duration::from_millis(100));
        assert!(world.datagrams(bob.address).is_empty());
        assert_eq!(world.closed(alice.connection), None);
    }

    #[test]
    fn any_target_is_routed_or_refused(target in "[/?&=a-z0-9]{0,30}") {
        let mut world = World::new();
        let connection = world.open(&target);
        let hello = world.messages(connection).len();
        assert_eq!(hello == 1, world.closed(connection).is_none());
    }
}

#[test]
fn equal_seeds_and_inputs_give_equal_outputs() {
    let run = || {
        let mut world = World::new();
        let mut alice = world.join(ALICE);
        let bob = world.join(BOB);
        let impairment = Impairment { drop: 0.3, duplicate: 0.3, pad: 0.5, ..Impairment::default() };
        world.fault(BOB, FaultKind::Impair { direction: Direction::ToClient, impairment });
        for _ in 0..50 {
            world.frame(&mut alice, b"frame");
        }
        (world.datagrams(bob.address), world.texts(bob.connection), alice.messages, bob.messages)
    };
    assert_eq!(run(), run());
}
