//! Real members in one channel: groups form, shrink, form again, and survive what goes wrong.

mod common;

use std::time::Duration;

use common::dave::Call;
use voice_dave::Refusal;
use voice_model::{ChannelId, Opcode, UserId};
use voice_server::{
    Command, DaveConfig, DaveFault, DaveMode, DaveRefusal, Event, Fault, FaultKind, ProposalFault, Tamper,
};

#[test]
fn groups_of_2_3_and_10_form_shrink_and_form_again() {
    let mut call = Call::new();
    call.join([1]);
    assert_eq!(call.member(1).session.status().epoch, None);
    call.join([2]);
    call.assert_together([1, 2]);
    call.join([3]);
    call.assert_together([1, 2, 3]);
    call.join(4..=10);
    call.assert_together(1..=10);
    for gone in [1, 4, 7] {
        call.leave(gone);
    }
    call.settle();
    call.assert_together([2, 3, 5, 6, 8, 9, 10]);
    call.join([1, 7]);
    call.assert_together([1, 2, 3, 5, 6, 7, 8, 9, 10]);
    for gone in [1, 2, 3, 5, 6, 7, 8, 9] {
        call.leave(gone);
        call.settle();
    }
    assert_eq!(call.member(10).session.status().epoch, None);
    call.join([1]);
    call.assert_together([1, 10]);
    let stats = call.stats().dave;
    assert_eq!((stats.transitions_timed_out, stats.recoveries, stats.commit_timeouts), (0, 0, 0));
}

#[test]
fn those_who_join_together_are_added_by_one_commit() {
    let mut call = Call::new();
    call.join(1..=10);
    call.assert_together(1..=10);
    let stats = call.stats().dave;
    assert_eq!((stats.commits, stats.welcomes, stats.transitions), (1, 9, 1));
    // The nine who lost were not told so.
    assert_eq!(stats.refused(DaveRefusal::CommitEpoch), 9);
    let began = |event: &&Event| matches!(event, Event::EpochBegan { epoch: 1, members: 10, .. });
    assert_eq!(call.world.events.iter().filter(began).count(), 1);
}

#[test]
fn who_stays_alone_begins_anew_and_is_told_at_once() {
    let mut call = Call::new();
    call.join([1, 2]);
    let before = call.member(1).told.len();
    call.leave(2);
    call.carry();
    // Op 13, op 24, op 21.
    assert_eq!(call.member(1).told[before..], [13, 24, 21]);
    assert_eq!(call.member(1).session.status().pending_transitions, 0);
}

#[test]
fn nobody_is_proposed_to_itself_and_only_members_are_told_of_commits() {
    let mut call = Call::new();
    call.join([1, 2]);
    call.enter(3);
    call.settle();
    let third = call.member(3);
    // Who comes into a group sees neither proposals nor the commit that adds it.
    assert_eq!((third.count(27), third.count(29), third.count(30), third.count(22)), (0, 0, 1, 1));
    let founders = [call.member(1), call.member(2)];
    assert_eq!(founders.map(|it| it.count(29) + it.count(30)), [2, 2]);
    assert_eq!(founders.map(|it| it.count(30)).iter().sum::<usize>(), 1);
}

#[test]
fn a_transition_waits_two_seconds_for_a_member_that_is_not_ready() {
    let mut call = Call::new();
    call.world.fault(UserId::new(2), FaultKind::IgnoreIncoming { opcode: Opcode::DaveTransitionReady, count: 1 });
    call.join([1, 2]);
    assert_eq!(call.member(1).count(22), 0);
    call.run(Duration::from_secs(2));
    assert_eq!((call.member(1).count(22), call.member(2).count(22)), (1, 1));
    call.assert_together([1, 2]);
    assert_eq!(call.stats().dave.transitions_timed_out, 1);
}

#[test]
fn proposals_without_a_commit_are_made_again_after_five_seconds() {
    let mut call = Call::new();
    for user in [1, 2] {
        call.world.fault(UserId::new(user), FaultKind::IgnoreIncoming { opcode: Opcode::MlsCommitWelcome, count: 1 });
    }
    call.join([1, 2]);
    assert_eq!(call.stats().dave.commits, 0);
    call.run(Duration::from_secs(5));
    call.assert_together([1, 2]);
    let stats = call.stats().dave;
    assert_eq!((stats.commit_timeouts, stats.proposals_revoked, stats.commits), (1, 2, 1));
}

#[test]
fn a_member_that_cannot_follow_a_commit_or_a_welcome_is_added_again() {
    let damage = |opcode| DaveFault::Tamper { opcode, how: Tamper::Flip, count: 1 };
    for (user, fault) in [
        (1, damage(Opcode::MlsAnnounceCommitTransition)),
        (3, damage(Opcode::MlsWelcome)),
        (3, DaveFault::MisaddressWelcome { count: 1 }),
        (3, DaveFault::CommitBeforeWelcome { count: 1 }),
        (3, DaveFault::Tamper { opcode: Opcode::MlsWelcome, how: Tamper::Duplicate, count: 1 }),
    ] {
        let mut call = Call::new();
        call.join([1, 2]);
        call.fault(user, fault);
        call.join([3]);
        call.run(Duration::from_secs(5));
        call.assert_together([1, 2, 3]);
        let recoveries = call.stats().dave.recoveries;
        assert!(
            recoveries <= 1 && (recoveries == 1 || matches!(fault, DaveFault::CommitBeforeWelcome { .. })),
            "{fault:?}"
        );
    }
}

#[test]
fn a_group_whose_members_all_fail_begins_anew() {
    let mut call = Call::new();
    call.join([1, 2]);
    for user in [1, 2] {
        let opcode = Opcode::MlsAnnounceCommitTransition;
        call.fault(user, DaveFault::Tamper { opcode, how: Tamper::Flip, count: 1 });
    }
    call.join([3]);
    call.run(Duration::from_secs(6));
    call.assert_together([1, 2, 3]);
}

#[test]
fn wrong_proposals_stop_nobody_for_longer_than_the_commit_timeout() {
    for wrong in [
        ProposalFault::WrongEpoch,
        ProposalFault::OtherGroup,
        ProposalFault::ForeignSigner,
        ProposalFault::SenderIndex(1),
        ProposalFault::Stranger,
        ProposalFault::OwnRemoval,
        ProposalFault::BlankLeaf,
        ProposalFault::Update,
        ProposalFault::GroupContextExtensions,
        ProposalFault::Truncated,
        ProposalFault::HugeLength,
    ] {
        let mut call = Call::new();
        call.join([1, 2]);
        let before = call.stats().dave.commits;
        for user in [1, 2] {
            call.fault(user, DaveFault::Propose(wrong));
        }
        call.settle();
        assert_eq!(call.stats().dave.commits, before, "{wrong:?}");
        call.assert_together([1, 2]);
        call.join([3]);
        call.run(Duration::from_secs(6));
        call.assert_together([1, 2, 3]);
    }
}

#[test]
fn own_adds_do_not_keep_the_first_two_from_founding_a_group() {
    let mut call = Call::new();
    call.enter(1);
    call.enter(2);
    call.carry();
    for user in [1, 2] {
        call.fault(user, DaveFault::Propose(ProposalFault::OwnAdd));
    }
    call.settle();
    call.assert_together([1, 2]);
    for user in [1, 2] {
        assert_eq!(call.member(user).session.stats().refused(Refusal::OwnAdd), 1);
    }
    assert_eq!(call.stats().dave.commit_timeouts, 0);
}

#[test]
fn messages_out_of_nowhere_leave_a_group_that_works() {
    for fault in [
        DaveFault::RepeatProposals,
        DaveFault::RevokeOne,
        DaveFault::RevokeAll,
        DaveFault::RevokeUnknown,
        DaveFault::RepeatExternalSender,
        DaveFault::ForeignExternalSender,
        DaveFault::ExecuteUnknown,
        DaveFault::ExecuteAgain,
        DaveFault::PrepareTransition { transition_id: 0, protocol_version: 1 },
        DaveFault::PrepareEpoch { epoch: 2, protocol_version: 1 },
        DaveFault::PrepareEpoch { epoch: 1, protocol_version: 1 },
        DaveFault::ReplayCommit { transition_id: 77 },
        DaveFault::ReplayWelcome { transition_id: 78 },
    ] {
        let mut call = Call::new();
        call.join([1, 2]);
        call.enter(3);
        call.carry();
        // Between the proposal and the commit of the third.
        call.world.advance(Duration::from_millis(20));
        call.fault(1, fault);
        call.run(Duration::from_secs(8));
        call.assert_together([1, 2, 3]);
    }
}

#[test]
fn the_same_proposal_twice_does_not_stop_a_member() {
    let mut call = Call::new();
    call.join([1, 2]);
    for user in [1, 2] {
        let opcode = Opcode::MlsProposals;
        call.fault(user, DaveFault::Tamper { opcode, how: Tamper::Duplicate, count: 1 });
    }
    call.join([3]);
    call.assert_together([1, 2, 3]);
    assert_eq!(call.stats().dave.commit_timeouts, 0);
}

#[test]
fn a_transition_with_number_zero_executes_at_once() {
    let mut call = Call::new();
    call.join([1, 2]);
    for user in 1..=3 {
        call.fault(user, DaveFault::TransitionZero { count: 1 });
    }
    call.enter(3);
    call.settle();
    call.assert_together([1, 2, 3]);
}

#[test]
fn a_channel_is_plain_while_somebody_in_it_cannot_encrypt() {
    let mut call = Call::new();
    call.join([1, 2]);
    let plain = call.world.join(UserId::new(3));
    assert!(plain.messages.iter().any(|it| it["op"] == 4 && it["d"]["dave_protocol_version"] == 0));
    call.settle();
    for user in [1, 2] {
        assert!(call.member(user).sends_plain());
    }
    call.join([4]);
    assert!(call.member(4).sends_plain());
    assert_eq!((call.member(1).count(21), call.member(1).count(22)), (1, 2));
    call.world.lose(plain.connection, Some(1000));
    call.settle();
    call.assert_together([1, 2, 4]);
    let stats = call.stats().dave;
    assert_eq!((stats.downgrades, stats.upgrades), (1, 1));
    let version = |event: &Event| if let Event::DaveVersion { version, .. } = event { Some(*version) } else { None };
    assert_eq!(call.world.events.iter().filter_map(version).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_downgrade_that_ends_before_it_is_executed_comes_to_its_end_first() {
    let mut call = Call::new();
    call.join([1, 2]);
    let plain = call.world.join(UserId::new(3));
    // Nobody has said to be ready.
    call.world.lose(plain.connection, Some(1000));
    call.settle();
    call.assert_together([1, 2]);
    let told = &call.member(1).told;
    let at = |op| told.iter().rposition(|it| *it == op);
    assert!(at(21) < at(22) && told.iter().position(|it| *it == 24) > told.iter().position(|it| *it == 21));
}

#[test]
fn without_encryption_nobody_is_told_of_any() {
    let mut call = Call::with(DaveConfig::new(DaveMode::Off));
    call.join([1, 2]);
    for member in call.members.values_mut() {
        assert!(member.told.iter().all(|op| *op < 21));
        assert!(member.sends_plain());
    }
    assert_eq!(call.stats().dave, Default::default());
}

#[test]
fn the_external_sender_may_come_before_the_session_description() {
    let mut config = DaveConfig::new(DaveMode::Required);
    config.early_external_sender = true;
    let mut call = Call::with(config);
    call.join([1, 2, 3]);
    call.assert_together([1, 2, 3]);
    let told = &call.member(3).told;
    assert!(told.iter().position(|op| *op == 25) < told.iter().position(|op| *op == 4));
}

#[test]
fn a_lost_socket_is_resumed_with_every_message_of_the_group() {
    for steps in 0..6 {
        let mut call = Call::new();
        call.join([1, 2]);
        call.enter(3);
        for _ in 0..steps {
            call.world.advance(Duration::from_millis(10));
            if steps % 2 == 0 {
                call.carry();
            }
        }
        let member = call.members.get_mut(&UserId::new(2)).unwrap();
        let (connection, ticket) = (member.client.connection, member.client.ticket.clone());
        assert_eq!(ticket.channel_id, ChannelId::new(20));
        call.world.lose(connection, None);
        call.world.frames(connection);
        call.settle();
        call.resume(2);
        call.run(Duration::from_secs(6));
        call.assert_together([1, 2, 3]);
    }
}

#[test]
fn commits_of_nobody_are_waited_for_while_others_commit() {
    let mut call = Call::new();
    call.join([1, 2, 3]);
    call.fault(1, DaveFault::RefuseCommits { count: 1 });
    call.members.get_mut(&UserId::new(2)).unwrap().mute = true;
    call.join([4]);
    call.members.get_mut(&UserId::new(2)).unwrap().mute = false;
    call.run(Duration::from_secs(3));
    call.assert_together([1, 2, 3, 4]);
}

#[test]
fn a_group_over_its_limit_keeps_the_others_waiting_until_there_is_room() {
    let mut config = DaveConfig::default();
    config.limits.members = 3;
    let mut call = Call::with(config);
    call.join(1..=4);
    assert_eq!(call.members.values().filter(|it| it.session.status().epoch.is_some()).count(), 3);
    assert!(call.stats().dave.postponed > 0);
    let outside = call.members.iter().find(|(_, it)| it.session.status().epoch.is_none()).map(|(user, _)| *user);
    let inside = (1..=4).find(|user| Some(UserId::new(*user)) != outside).unwrap();
    call.leave(inside);
    call.run(Duration::from_secs(7));
    call.assert_together((1..=4).filter(|user| *user != inside));
}

#[test]
fn faults_wait_for_their_user_and_end_when_they_are_cleared() {
    let mut call = Call::new();
    let withhold = DaveFault::Tamper { opcode: Opcode::MlsExternalSender, how: Tamper::Withhold, count: 1 };
    call.fault(1, withhold);
    call.join([1, 2]);
    assert_eq!((call.member(1).count(25), call.member(2).count(25)), (0, 1));
    call.world.command(Command::Inject(Fault::all(FaultKind::Dave(DaveFault::TransitionZero { count: 9 }))));
    call.world.command(Command::Inject(Fault::all(FaultKind::Clear)));
    call.fault(1, DaveFault::RepeatExternalSender);
    call.fault(1, DaveFault::PrepareEpoch { epoch: 1, protocol_version: 1 });
    call.run(Duration::from_secs(6));
    call.assert_together([1, 2]);
}
