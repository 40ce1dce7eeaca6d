//! Additions that no member commits, and a group that goes on all the same.

mod common;

use std::time::Duration;

use common::dave::Call;
use common::world::CHANNEL;
use voice_dave::wire::KeyPackage;
use voice_dave::{DaveConfig, DaveMessage, DaveSession, SigningKey};
use voice_model::UserId;
use voice_server::DaveRefusal;

/// What is changed in a key package before it is signed anew.
#[derive(Default)]
struct Change<'a> {
    init_key: Option<&'a [u8]>,
    encryption_key: Option<&'a [u8]>,
    leaf_extensions: &'a [u8],
    extensions: &'a [u8],
}

/// Changes a key package and signs it with a key of its sender.
fn forge(package: &[u8], change: &Change<'_>, key: &SigningKey) -> Vec<u8> {
    let public = key.public_key();
    let mut package = KeyPackage::parse(package).unwrap();
    package.leaf.signature_key = &public;
    package.leaf.encryption_key = change.encryption_key.unwrap_or(package.leaf.encryption_key);
    package.leaf.extensions = change.leaf_extensions;
    package.init_key = change.init_key.unwrap_or(package.init_key);
    package.extensions = change.extensions;
    let unsigned = written(&package);
    let signature = key.sign(&KeyPackage::parse(&unsigned).unwrap().leaf.signed_bytes(&[], 0));
    package.leaf.signature = &signature;
    let half_signed = written(&package);
    let signature = key.sign(&KeyPackage::parse(&half_signed).unwrap().signed_bytes());
    package.signature = &signature;
    written(&package)
}

fn written(package: &KeyPackage<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    package.write(&mut bytes);
    bytes
}

/// An extension that the leaf does not claim to understand.
const EXTENSION: &[u8] = &[0xF0, 0x99, 1, 0x55];

/// A third member of a call of three sends another key package, is silent from then on, and leaves. What is refused
/// of it does no harm, and the leaver's leaf is removed at once.
fn send_and_leave(reason: DaveRefusal, forge: impl FnOnce(&Call) -> Vec<u8>) {
    let mut call = Call::new();
    call.join([1, 2]);
    call.join([3]);
    call.assert_together([1, 2, 3]);
    let package = forge(&call);
    let connection = call.member(3).client.connection;
    call.world.binary(connection, &[&[26], &package[..]].concat());
    assert_eq!(call.stats().dave.refused(reason), 1);
    call.settle();
    call.assert_together([1, 2, 3]);
    call.leave(3);
    call.settle();
    call.assert_together([1, 2]);
    assert_eq!(call.stats().dave.commit_timeouts, 0);
}

#[test]
fn a_key_package_or_a_leaf_with_an_extension_is_refused() {
    let with = |change: Change<'_>| {
        send_and_leave(DaveRefusal::KeyPackageExtensions, |call| {
            forge(&call.member(3).package, &change, &SigningKey::generate())
        });
    };
    with(Change { leaf_extensions: EXTENSION, ..Change::default() });
    with(Change { extensions: EXTENSION, ..Change::default() });
}

#[test]
fn a_key_of_another_member_is_refused() {
    for place in 0..2 {
        send_and_leave(DaveRefusal::KeyPackageClaimed, |call| {
            let victim = KeyPackage::parse(&call.member(2).package).unwrap().leaf.encryption_key;
            let mut change = Change::default();
            *[&mut change.init_key, &mut change.encryption_key][place] = Some(victim);
            forge(&call.member(3).package, &change, &SigningKey::generate())
        });
    }
}

/// A user enters whose client keeps its signing key.
fn enter_with(call: &mut Call, user: u64, signing_key: SigningKey) {
    let user = call.enter(user);
    let session = DaveSession::new(DaveConfig { user, channel: CHANNEL, signing_key });
    call.members.get_mut(&user).unwrap().session = session;
}

#[test]
fn a_signing_key_is_of_one_user_who_may_come_back_with_it() {
    let key = SigningKey::generate();
    let mut call = Call::new();
    call.join([1, 2]);
    enter_with(&mut call, 3, key.clone());
    call.settle();
    call.assert_together([1, 2, 3]);
    // Its old leaf is still there when it is back.
    call.leave(3);
    enter_with(&mut call, 3, key.clone());
    call.settle();
    call.assert_together([1, 2, 3]);
    let claimed = |call: &Call| call.stats().dave.refused(DaveRefusal::KeyPackageClaimed);
    assert_eq!((claimed(&call), call.stats().dave.commit_timeouts), (0, 0));
    enter_with(&mut call, 4, key);
    call.settle();
    assert_eq!(claimed(&call), 1);
    call.leave(4);
    call.settle();
    call.assert_together([1, 2, 3]);
}

#[test]
fn two_who_wait_to_be_added_have_no_key_in_common() {
    let key = SigningKey::generate();
    let mut call = Call::new();
    for user in [1, 2] {
        enter_with(&mut call, user, key.clone());
    }
    call.enter(3);
    call.settle();
    assert_eq!(call.stats().dave.refused(DaveRefusal::KeyPackageClaimed), 1);
    assert_eq!(call.member(3).session.status().members, [1, 3].map(UserId::new));
}

/// All others believe that the third is gone, and refuse to add somebody who is not there.
fn lose_sight_of_3(call: &mut Call) {
    let third = UserId::new(3);
    for (_, member) in call.members.iter_mut().filter(|(user, _)| **user != third) {
        member.session.handle_message(DaveMessage::ClientDisconnect(third));
    }
}

#[test]
fn what_nobody_commits_holds_up_neither_who_leaves_nor_who_joins() {
    let mut call = Call::new();
    call.join([1, 2]);
    call.join([6]);
    call.enter(3);
    call.enter(4);
    call.carry();
    lose_sight_of_3(&mut call);
    call.leave(6);
    call.run(Duration::from_secs(6));
    let members = call.member(1).session.status().members;
    assert!(!members.contains(&UserId::new(6)), "removed: {members:?}");
    call.run(Duration::from_secs(6));
    let rest = [1, 2, 4].map(UserId::new);
    assert_eq!(call.member(4).session.status().members, rest);
    // It is tried again, and nobody waits for that.
    call.run(Duration::from_secs(8));
    let timeouts = call.stats().dave.commit_timeouts;
    assert!((3..=4).contains(&timeouts), "{timeouts}");
    call.enter(5);
    call.carry();
    lose_sight_of_3(&mut call);
    call.settle();
    call.leave(2);
    call.settle();
    assert_eq!(call.member(1).session.status().members, [1, 4, 5].map(UserId::new));
    call.leave(3);
    call.settle();
    call.assert_together([1, 4, 5]);
}
