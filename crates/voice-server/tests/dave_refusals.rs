//! What the delivery service does not take, and that it says so in its counters.

mod common;

use std::time::Duration;

use common::dave::Call;
use common::world::World;
use proptest::prelude::*;
use serde_json::json;
use voice_dave::wire::KeyPackage;
use voice_model::{Opcode, UserId};
use voice_server::{
    CoreConfig, DaveConfig, DaveFault, DaveMode, DaveRefusal, Direction, FaultKind, Impairment, Tamper,
};

fn refused(call: &Call, reason: DaveRefusal) -> u64 {
    call.stats().dave.refused(reason)
}

/// What the members of a call say while they form a group of 1 and 2.
fn overheard() -> (Call, Vec<u8>, Vec<u8>) {
    let mut call = Call::new();
    call.members.clear();
    let user = call.enter(1);
    let member = call.members.get_mut(&user).unwrap();
    member.session.handle_message(voice_dave::DaveMessage::SessionDescription { version: 1 });
    let mut package = Vec::new();
    while let Some(output) = member.session.poll_output() {
        if let voice_dave::DaveOutput::Message(voice_dave::OutgoingMessage::Binary(bytes)) = output {
            package = bytes;
        }
    }
    assert!(KeyPackage::parse(&package[1..]).is_ok());
    let commit = [&[28][..], &package[1..]].concat();
    (call, package, commit)
}

#[test]
fn messages_about_a_group_are_counted_and_ignored_where_there_is_none() {
    let mut call = Call::with(DaveConfig::new(DaveMode::Optional));
    let plain = call.world.join(UserId::new(9));
    call.world.binary(plain.connection, &[26, 1, 2, 3]);
    call.world.binary(plain.connection, &[28, 1, 2, 3]);
    assert_eq!(refused(&call, DaveRefusal::NotEncrypted), 2);
    assert_eq!(call.world.closed(plain.connection), None);
}

#[test]
fn a_transition_nobody_was_told_of_is_neither_ready_nor_invalid() {
    let mut call = Call::new();
    call.join([1, 2]);
    let connection = call.member(1).client.connection;
    for op in [23, 31] {
        call.world.send(connection, json!({ "op": op, "d": { "transition_id": 999 } }));
    }
    // Once ready is enough.
    call.world.send(connection, json!({ "op": 23, "d": { "transition_id": 1 } }));
    assert_eq!(refused(&call, DaveRefusal::ReadyUnknown), 2);
    assert_eq!(refused(&call, DaveRefusal::InvalidUnknown), 1);
    call.settle();
    call.assert_together([1, 2]);
}

#[test]
fn a_second_complaint_about_the_same_transition_changes_nothing() {
    let mut call = Call::new();
    call.join([1, 2, 3]);
    let connection = call.member(1).client.connection;
    for _ in 0..3 {
        call.world.send(connection, json!({ "op": 31, "d": { "transition_id": 1 } }));
    }
    assert_eq!((call.stats().dave.recoveries, refused(&call, DaveRefusal::InvalidUnknown)), (1, 2));
}

#[test]
fn a_member_that_can_never_follow_costs_the_others_ever_fewer_epochs() {
    let mut call = Call::new();
    call.join([1, 2]);
    // Without the external sender it refuses every welcome, and asks for another one.
    call.fault(3, DaveFault::Tamper { opcode: Opcode::MlsExternalSender, how: Tamper::Withhold, count: 1 });
    call.enter(3);
    call.run(Duration::from_secs(20));
    let stats = call.stats().dave;
    assert!((6..=7).contains(&stats.recoveries), "{} times", stats.recoveries);
    assert!(stats.commits <= 2 * stats.recoveries + 3, "{} epochs", stats.commits);
    // Nobody else waits for it, and who comes anew does not wait at all.
    call.join([4]);
    assert_eq!(call.member(1).session.status().privacy_code, call.member(4).session.status().privacy_code);
    call.leave(3);
    call.settle();
    call.assert_together([1, 2, 4]);
    call.join([3]);
    call.assert_together([1, 2, 3, 4]);
}

#[test]
fn a_key_package_in_an_envelope_or_of_somebody_else_is_refused() {
    let (mut call, package, _) = overheard();
    let connection = call.member(1).client.connection;
    call.world.binary(connection, &[&[26, 0, 1, 0, 5], &package[1..]].concat());
    assert_eq!(refused(&call, DaveRefusal::KeyPackageMalformed), 1);
    call.enter(2);
    let other = call.member(2).client.connection;
    call.world.binary(other, &package);
    assert_eq!(refused(&call, DaveRefusal::KeyPackageCredential), 1);
    call.world.binary(connection, &[&package[..], &[0; 1024]].concat());
    assert_eq!(refused(&call, DaveRefusal::KeyPackageTooLong), 1);
    assert_eq!(call.stats().dave.key_packages, 0);
    call.world.binary(connection, &package);
    assert_eq!(call.stats().dave.key_packages, 1);
}

#[test]
fn a_commit_from_outside_of_the_group_does_not_count() {
    let mut call = Call::new();
    call.join([1, 2]);
    call.enter(3);
    let third = call.member(3).client.connection;
    // Nothing that the third could say is a commit, whatever its first bytes are.
    for payload in [&[28][..], &[28, 0, 1, 0, 1], &[28, 0, 1, 0, 1, 0xBF, 0xFF, 0xFF, 0xFF]] {
        call.world.binary(third, payload);
    }
    assert_eq!(refused(&call, DaveRefusal::CommitMalformed), 3);
    call.settle();
    call.assert_together([1, 2, 3]);
}

#[test]
fn d4_a_client_that_offers_no_encryption_is_4017_where_it_is_required_and_others_go_on() {
    let mut call = Call::with(DaveConfig::new(DaveMode::Required));
    call.join([1, 2]);
    let ticket = call.world.ticket(UserId::new(3));
    let connection = call.world.open("/?v=8");
    call.world.send(connection, common::world::identify(&ticket));
    assert_eq!(call.world.closed(connection), Some(4017));
    call.settle();
    call.assert_together([1, 2]);
    assert_eq!(call.stats().dave.downgrades, 0);
}

#[test]
fn who_left_hears_nothing_more_from_that_moment_on() {
    let mut call = Call::new();
    call.join([1, 2, 3]);
    let gone = call.member(3).client.address;
    let stays = call.member(2).client.address;
    call.leave(3);
    // The group still has the leaf, and the member its keys.
    assert_eq!(call.member(1).session.status().members.len(), 3);
    let sealed = call.members.get_mut(&UserId::new(1)).unwrap().client.seal(b"frame");
    let from = call.member(1).client.address;
    call.world.datagram(from, &sealed);
    assert_eq!((call.world.datagrams(gone).len(), call.world.datagrams(stays).len()), (0, 1));
}

#[test]
fn frames_are_forwarded_as_they_are_but_silence_may_take_their_place() {
    let mut world = World::with(CoreConfig::default());
    let mut alice = world.join(UserId::new(1));
    let bob = world.join(UserId::new(2));
    world.frame(&mut alice, b"frame \xfa\xfa");
    let silence = Impairment { silence: 1.0, ..Impairment::default() };
    world.fault(UserId::new(2), FaultKind::Impair { direction: Direction::ToClient, impairment: silence });
    world.frame(&mut alice, b"frame \xfa\xfa");
    let plain = bob.open(&world.datagrams(bob.address));
    assert_eq!(plain.iter().map(|packet| &packet[12..]).collect::<Vec<_>>(), [&b"frame \xfa\xfa"[..], b"\xf8\xff\xfe"]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever a member says, the others keep their group or get it back.
    #[test]
    fn nothing_a_member_says_stops_the_others(
        messages in proptest::collection::vec((prop_oneof![Just(26u8), Just(28)], any::<usize>(), any::<u8>()), 1..20),
    ) {
        let (mut call, package, commit) = overheard();
        let connection = call.member(1).client.connection;
        call.members.remove(&UserId::new(1));
        call.join([2, 3]);
        for (op, at, value) in messages {
            let mut bytes = if op == 26 { package.clone() } else { commit.clone() };
            let at = 1 + at % (bytes.len() - 1);
            bytes[at] = value;
            if value % 3 == 0 {
                bytes.truncate(at);
            }
            call.world.binary(connection, &bytes);
        }
        call.settle();
        prop_assert!(call.member(2).session.status().epoch.is_some());
        let codes = [2, 3].map(|user| call.member(user).session.status().privacy_code);
        prop_assert!(codes[0].is_some() && codes[0] == codes[1]);
    }
}
