//! Groups of both kinds form, grow, shrink, and recover.

use std::time::Duration;

use voice_model::{Opcode, UserId};
use voice_server::{DaveFault, Tamper};

use crate::call::{Call, Kind};

const BOTH: [Kind; 2] = [Kind::Ours, Kind::Davey];

#[test]
fn two_form_a_group_whoever_founds_it() {
    for (first, second) in [(1, 2), (2, 1)] {
        let mut call = Call::new();
        call.first = Some(UserId::new(first));
        call.enter(1, Kind::Ours);
        call.enter(2, Kind::Davey);
        call.settle();
        call.assert_together();
        assert_eq!(call.committers, [UserId::new(first)], "{:?}", call.stats().dave);
        let joined = call.member(second).member.verification_code(UserId::new(first));
        let founder = call.member(first).member.verification_code(UserId::new(second));
        assert!(joined.is_some_and(|code| code.len() == 45 && Some(code) == founder));
    }
}

#[test]
fn ten_who_come_at_once_are_added_by_one_commit_of_either_kind() {
    for founder in [1, 2] {
        let mut call = Call::new();
        call.first = Some(UserId::new(founder));
        for (user, kind) in (1..=10).zip(BOTH.into_iter().cycle()) {
            call.enter(user, kind);
        }
        call.settle();
        call.assert_together();
        assert_eq!(call.committers, [UserId::new(founder)]);
        let stats = call.stats().dave;
        assert_eq!((stats.commits, stats.welcomes, stats.recoveries), (1, 9, 0));
    }
}

#[test]
fn a_transition_with_number_zero_is_executed_at_once_by_either_kind() {
    for kind in BOTH {
        let mut call = Call::of(BOTH);
        for user in 1..=3 {
            call.fault(user, DaveFault::TransitionZero { count: 1 });
        }
        call.enter(3, kind);
        call.settle();
        call.assert_together();
    }
}

#[test]
fn either_kind_adds_either_kind() {
    for committer in [1, 2] {
        for kind in BOTH {
            let mut call = Call::of(BOTH);
            call.first = Some(UserId::new(committer));
            call.enter(3, kind);
            call.settle();
            call.assert_together();
            assert_eq!(call.committers.last(), Some(&UserId::new(committer)));
        }
    }
}

#[test]
fn either_kind_removes_either_kind_and_adds_it_again() {
    for (committer, gone) in [(1, 2), (1, 3), (2, 1), (2, 4)] {
        let mut call = Call::of([Kind::Ours, Kind::Davey, Kind::Ours, Kind::Davey]);
        call.assert_together();
        call.first = Some(UserId::new(committer));
        let mut left = call.leave(gone);
        call.settle();
        call.assert_together();
        assert_eq!(call.committers.last(), Some(&UserId::new(committer)));
        let frame = call.member(committer).member.seal(b"not for those who left").unwrap();
        let opened = left.member.open(call.now, UserId::new(committer), voice_dave::Media::Audio, &frame);
        assert_eq!(opened, None);

        call.enter(gone, left.kind);
        call.settle();
        call.assert_together();
        assert_eq!(call.committers.last(), Some(&UserId::new(committer)));
    }
}

#[test]
fn one_commit_removes_and_adds_many() {
    for committer in [1, 2] {
        let mut call = Call::of([Kind::Ours, Kind::Davey, Kind::Ours, Kind::Davey, Kind::Ours]);
        call.first = Some(UserId::new(committer));
        let before = call.stats().dave.commits;
        call.leave(3);
        call.leave(4);
        call.enter(6, Kind::Davey);
        call.enter(7, Kind::Ours);
        call.settle();
        call.assert_together();
        assert!(call.stats().dave.commits - before <= 2);
        assert!(call.committers.ends_with(&[UserId::new(committer)]));
    }
}

#[test]
fn who_stays_alone_meets_the_other_kind_again() {
    for (stays, leaves) in [(1, 2), (2, 1)] {
        let mut call = Call::of(BOTH);
        let left = call.leave(leaves);
        call.settle();
        assert_eq!(call.member(stays).member.epoch(), None);
        assert!(call.member(stays).member.seal(b"to nobody").is_none());
        call.enter(leaves, left.kind);
        call.settle();
        call.assert_together();
    }
}

#[test]
fn who_cannot_follow_is_added_again_by_the_other_kind() {
    for (user, opcode) in [(1, Opcode::MlsAnnounceCommitTransition), (2, Opcode::MlsAnnounceCommitTransition)] {
        let mut call = Call::of(BOTH);
        call.first = Some(UserId::new(3 - user));
        call.fault(user, DaveFault::Tamper { opcode, how: Tamper::Flip, count: 1 });
        call.enter(3, Kind::Ours);
        call.run(Duration::from_secs(4));
        call.assert_together();
        assert_eq!(call.stats().dave.recoveries, 1, "{user}");
    }
    for kind in BOTH {
        let mut call = Call::of(BOTH);
        call.fault(3, DaveFault::Tamper { opcode: Opcode::MlsWelcome, how: Tamper::Flip, count: 1 });
        call.enter(3, kind);
        call.run(Duration::from_secs(4));
        call.assert_together();
        assert_eq!(call.stats().dave.recoveries, 1, "{kind:?}");
    }
}

#[test]
fn revoked_proposals_are_in_nobodys_commit() {
    for committer in [1, 2] {
        let mut call = Call::of(BOTH);
        call.first = Some(UserId::new(committer));
        for user in [1, 2] {
            call.member(user).loses_commit = true;
        }
        call.enter(3, Kind::Davey);
        call.settle();
        assert_eq!(call.member(1).member.epoch(), Some(1));
        call.leave(3);
        call.settle();
        assert_eq!(call.stats().dave.proposals_revoked, 1);
        call.assert_together();
        call.enter(4, Kind::Ours);
        call.run(Duration::from_secs(1));
        call.assert_together();
        assert_eq!(call.committers.last(), Some(&UserId::new(committer)));
    }
}

#[test]
fn calls_of_any_history_come_together() {
    for seed in 0..8_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut below = |limit: u64| {
            // xorshift64, Marsaglia: good enough to choose with.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % limit
        };
        let mut call = Call::of(BOTH);
        for _ in 0..12 {
            let user = 1 + below(6);
            if !call.members.contains_key(&UserId::new(user)) {
                call.enter(user, BOTH[below(2) as usize]);
            } else if call.members.len() > 2 {
                call.leave(user);
            }
            let count = call.members.len() as u64;
            call.first = call.members.keys().nth(below(count) as usize).copied();
            if below(3) > 0 {
                // Longer than commits that crossed take, at most.
                call.run(Duration::from_secs(6));
                call.assert_together();
            } else {
                call.run(Duration::from_millis(10 * below(5)));
            }
        }
        call.run(Duration::from_secs(6));
        call.assert_together();
        assert_eq!(call.stats().dave.transitions_timed_out, 0, "seed {seed}");
    }
}
