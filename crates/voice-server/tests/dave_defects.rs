//! Defects that other libraries have, by their row, against real members on a real server.

mod common;

use std::time::Duration;

use common::dave::Call;
use voice_dave::{DaveEvent, OpenedKind, Refusal};
use voice_model::UserId;
use voice_server::{DaveFault, ProposalFault};

/// D1: proposals are checked against who is in the call.
#[test]
fn d1_a_user_who_is_not_in_the_call_is_not_added() {
    let mut call = Call::new();
    call.join([1, 2]);
    for user in [1, 2] {
        call.fault(user, DaveFault::Propose(ProposalFault::Stranger));
    }
    call.settle();
    for user in [1, 2] {
        let stats = call.member(user).session.stats();
        assert_eq!((stats.refused(Refusal::UnknownUser), stats.commits_sent), (1, 1));
    }
    call.assert_together([1, 2]);
}

/// D2: a call becomes encrypted and plain again while everybody speaks.
#[test]
fn d2_no_frame_is_lost_while_a_call_is_downgraded_and_upgraded() {
    let mut call = Call::new();
    call.join([1, 2]);
    let plain = call.world.join(UserId::new(3));
    assert_eq!(speak_for(&mut call, 50), [OpenedKind::Decrypted, OpenedKind::Passthrough]);
    call.world.lose(plain.connection, Some(1000));
    assert_eq!(speak_for(&mut call, 50), [OpenedKind::Passthrough, OpenedKind::Decrypted]);
    call.assert_together([1, 2]);
    for user in [1, 2] {
        let changes = call.member(user).events.iter().filter_map(|event| match event {
            DaveEvent::Upgraded => Some(true),
            DaveEvent::Downgraded => Some(false),
            _ => None,
        });
        assert_eq!(changes.collect::<Vec<_>>(), [true, false, true]);
    }
}

/// D5: a version is in force exactly as long as what belongs to it is installed.
#[test]
fn d5_the_version_and_the_keys_change_together() {
    let mut call = Call::new();
    call.join([1, 2]);
    let mut versions = Vec::new();
    let mut plain = None;
    for step in 0..60 {
        match step {
            10 => plain = Some(call.world.join(UserId::new(3))),
            30 => call.world.lose(plain.take().unwrap().connection, Some(1000)),
            _ => {}
        }
        call.run(Duration::from_millis(10));
        for user in [1, 2].map(UserId::new) {
            let status = call.members[&user].session.status();
            // What the session says of itself is what the media half does.
            let leaves = call.speak(user).map(|frame| voice_dave::is_protocol_frame(&frame));
            assert_eq!((leaves, status.active_version), (leaves, leaves.map(u16::from)), "step {step}");
            versions.push(status.active_version);
        }
    }
    versions.dedup();
    assert_eq!(versions, [Some(1), Some(0), Some(1)]);
}

/// D6: what people compare is there and the same on both sides.
#[test]
fn d6_members_see_the_same_codes() {
    let mut call = Call::new();
    call.join([1, 2]);
    let codes = [(1, 2), (2, 1)].map(|(own, peer)| {
        let session = &call.member(own).session;
        let verification = session.verification(UserId::new(peer)).expect("the other is a member");
        let event = call.member(own).events.iter().find_map(|event| match event {
            DaveEvent::EpochChanged { privacy_code, .. } => Some(privacy_code.clone()),
            _ => None,
        });
        let status = session.status().privacy_code;
        assert_eq!(event, status);
        (status, verification.code())
    });
    assert_eq!(codes[0], codes[1]);
    assert_eq!((codes[0].0.as_ref().map(String::len), codes[0].1.len()), (Some(30), 45));
    assert_eq!(call.member(1).session.verification(UserId::new(3)), None);
}

/// Both members say a frame every 10 ms and hear that of the other; the kinds of frames in their order.
fn speak_for(call: &mut Call, frames: usize) -> Vec<OpenedKind> {
    let mut kinds = Vec::new();
    for number in 0..frames {
        for (from, to) in [(1, 2), (2, 1)].map(|(from, to)| (UserId::new(from), UserId::new(to))) {
            let frame = call.speak(from).unwrap_or_else(|| panic!("frame {number} did not leave"));
            kinds.push(call.hear(from, to, &frame).unwrap_or_else(|error| panic!("frame {number}: {error}")));
        }
        call.run(Duration::from_millis(10));
    }
    kinds.dedup();
    kinds
}
