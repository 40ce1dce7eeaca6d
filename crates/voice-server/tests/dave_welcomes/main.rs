//! Welcomes into groups that no member may join, of a founder that a delivery service cannot see through.

#[path = "../common/mod.rs"]
mod common;
mod founder;

use std::time::Duration;

use common::dave::Call;
use common::world::CHANNEL;
use founder::OtherGroup;
use voice_dave::wire::{BASIC_CREDENTIAL, CommitWelcome, ExternalSender};
use voice_dave::{DaveEvent, Refusal, SigningKey};
use voice_model::{ChannelId, UserId};

const FOUNDER: UserId = UserId::new(1);
const STRANGER: UserId = UserId::new(77);

#[test]
fn a_welcome_into_the_right_group_of_another_founder_is_followed() {
    let (mut call, sender) = about_to_found();
    found(&mut call, &OtherGroup { channel: CHANNEL, senders: vec![sender], members: vec![FOUNDER] });
    assert_eq!(call.member(2).session.stats().welcomes_applied, 1);
}

#[test]
fn a_welcome_with_another_external_sender_is_refused_and_healed() {
    refused_and_healed(Refusal::WrongExternalSender, |_| OtherGroup {
        channel: CHANNEL,
        senders: vec![other_sender()],
        members: vec![FOUNDER],
    });
}

#[test]
fn a_welcome_without_an_external_sender_is_refused_and_healed() {
    refused_and_healed(Refusal::WrongExternalSender, |_| OtherGroup {
        channel: CHANNEL,
        senders: vec![],
        members: vec![FOUNDER],
    });
}

#[test]
fn a_welcome_with_two_external_senders_is_refused_and_healed() {
    for right_first in [true, false] {
        refused_and_healed(Refusal::WrongExternalSender, |sender| {
            let mut senders = vec![sender, other_sender()];
            if !right_first {
                senders.reverse();
            }
            OtherGroup { channel: CHANNEL, senders, members: vec![FOUNDER] }
        });
    }
}

#[test]
fn a_welcome_that_lists_a_stranger_is_refused_and_healed() {
    refused_and_healed(Refusal::Stranger, |sender| OtherGroup {
        channel: CHANNEL,
        senders: vec![sender],
        members: vec![FOUNDER, STRANGER],
    });
}

#[test]
fn a_welcome_into_another_call_is_refused_and_healed() {
    refused_and_healed(Refusal::WrongGroup, |sender| OtherGroup {
        channel: ChannelId::new(CHANNEL.get() + 1),
        senders: vec![sender],
        members: vec![FOUNDER],
    });
}

/// The second member says that it cannot follow (op 31), and is added again to the group that the first is in.
fn refused_and_healed(reason: Refusal, group: impl FnOnce(Vec<u8>) -> OtherGroup) {
    let (mut call, sender) = about_to_found();
    found(&mut call, &group(sender));
    let member = call.member(2);
    assert_eq!(member.session.stats().refused(reason), 1, "{reason}");
    assert_eq!(member.events, [DaveEvent::Recovering { reason }]);
    assert_eq!((member.session.stats().welcomes_applied, member.session.stats().key_packages_sent), (0, 2));
    assert_eq!(call.speak(UserId::new(2)), None, "there is nobody to say anything to");
    call.run(Duration::from_secs(1));
    call.assert_together([1, 2]);
    let stats = call.stats().dave;
    assert_eq!((stats.commits, stats.welcomes, stats.recoveries), (2, 2, 1));
}

/// Two users who were proposed to each other and whose commits have not arrived, and the external sender.
fn about_to_found() -> (Call, Vec<u8>) {
    let mut call = Call::new();
    for user in [1, 2] {
        call.enter(user);
    }
    call.carry();
    for member in call.members.values_mut() {
        member.mute = true;
    }
    call.world.advance(Duration::from_millis(20));
    call.carry();
    for member in call.members.values_mut() {
        member.mute = false;
    }
    let sender = call.member(1).sender.clone();
    (call, sender)
}

/// The first user sends its commit, and the welcome into another group.
fn found(call: &mut Call, group: &OtherGroup) {
    let payload = call.member(1).commit.clone();
    let commit = CommitWelcome::parse(&payload).unwrap().commit;
    let welcome = group.welcome(&call.member(2).package);
    let connection = call.member(1).client.connection;
    call.world.binary(connection, &[&[28], commit.raw(), &welcome].concat());
    call.carry();
    assert_eq!(call.stats().dave.commits, 1, "the server cannot see what is wrong");
}

fn other_sender() -> Vec<u8> {
    let mut package = Vec::new();
    let signature_key = &SigningKey::generate().public_key();
    ExternalSender { signature_key, credential_type: BASIC_CREDENTIAL, identity: &[0, 1, 1, 0] }.write(&mut package);
    package
}
