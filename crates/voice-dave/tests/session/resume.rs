//! Opcode 9: what was said on the connection before may be lost.

use voice_dave::DaveMessage;

use crate::call::{Call, Client, Gateway, Step, split};

#[test]
fn a_key_package_that_may_be_lost_is_sent_again() {
    let mut client = Client::new(1);
    client.handle(DaveMessage::Resumed);
    assert_eq!(client.take(), [], "there is nothing to say yet");
    client.describe(1);
    let package = client.take_key_package();
    client.handle(DaveMessage::Resumed);
    assert_eq!(client.take(), [Step::KeyPackage(package.clone())]);
    // The keys of the one that was sent last, and of no other.
    client.epoch(1);
    let newer = client.take_key_package();
    assert_ne!(newer, package);
    client.handle(DaveMessage::Resumed);
    assert_eq!(client.take(), [Step::KeyPackage(newer)]);
}

#[test]
fn a_commit_that_may_be_lost_is_sent_again_until_one_is_announced() {
    let gateway = Gateway::new();
    let mut other = Client::new(2);
    other.describe(1);
    let add = gateway.add(0, &other.take_key_package());
    let mut client = Client::new(1);
    client.describe(1);
    client.external_sender(&gateway.sender());
    client.connect(&[2]);
    let package = client.take_key_package();
    client.append(&[add]);
    let payload = client.take_commit().unwrap();
    client.handle(DaveMessage::Resumed);
    assert_eq!(client.take(), [Step::KeyPackage(package), Step::Commit(payload.clone())]);
    client.announce(5, &split(&payload).0);
    client.take();
    client.handle(DaveMessage::Resumed);
    assert_eq!(client.take(), [Step::Ready(5)]);
    client.execute(5);
    client.take();
    client.handle(DaveMessage::Resumed);
    assert_eq!(client.take(), []);
}

#[test]
fn members_have_nothing_to_say_again() {
    let mut call = Call::with_members([1, 2, 3]);
    for client in call.clients.values_mut() {
        client.handle(DaveMessage::Resumed);
        assert_eq!(client.take(), []);
    }
    call.assert_together();
}
