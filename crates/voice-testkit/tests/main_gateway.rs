//! Calls that go through the main gateway come back from whatever it and the voice server do to them.

use std::time::Duration;

use voice_testkit::{
    CHANNEL, GUILD, OTHER_CHANNEL, World,
    server::{self, Command, EventOrder, Fault, FaultKind, JoinAnswer},
    voice::{
        Cause, ConnectionState, EndReason, Event,
        crypto::Mode,
        model::{ChannelId, CloseCode, Opcode, UserId},
    },
};

const ALICE: UserId = UserId::new(1);
const BOB: UserId = UserId::new(2);

const SECOND: Duration = Duration::from_secs(1);

/// Both are in the channel and have begun to speak, for longer than any of these tests interrupts them.
fn talking(seed: u64) -> World {
    let mut world = World::builder().seed(seed).latency(Duration::from_millis(40)).build();
    world.join_through(ALICE);
    world.join_through(BOB);
    world.run_for(SECOND);
    world.speak(ALICE, 2_500);
    world.speak(BOB, 2_500);
    world.run_for(2 * SECOND);
    world
}

/// Both hear the end of what the other said, of which nobody had to begin anew.
fn goes_on(world: &mut World) {
    world.run_until(|world| [ALICE, BOB].iter().all(|user| world.client(*user).is_established()));
    world.run_until(|world| [ALICE, BOB].iter().all(|user| world.client(*user).waiting_frames() == 0));
    world.run_for(2 * SECOND);
    for (speaker, listener) in [(ALICE, BOB), (BOB, ALICE)] {
        let said: Vec<&[u8]> = world.client(speaker).said().iter().map(|said| &said.frame[..]).collect();
        let heard = world.client(listener).frames_from(speaker);
        assert!(heard.ends_with(&said[said.len() - 500..]), "{listener} does not hear {speaker} any more");
        assert_eq!(world.untold(listener), 0);
        assert!(world.is_online(listener));
    }
}

fn updates(world: &World, user: UserId) -> Vec<Option<ChannelId>> {
    world.client(user).updates().iter().map(|(_, channel)| *channel).collect()
}

fn rejoins(world: &World) -> usize {
    world.client(ALICE).count(|event| matches!(event, Event::Rejoining { .. }))
}

fn close(world: &mut World, code: CloseCode) {
    world.fault(Fault::user(ALICE, FaultKind::Close(code)));
}

fn ended(world: &mut World) -> (EndReason, Duration) {
    let after = world.run_until(|world| world.client(ALICE).ended().is_some());
    (world.client(ALICE).ended().expect("it ended").clone(), after)
}

#[test]
fn a_session_the_voice_server_does_not_know_identifies_once_more_without_the_main_gateway() {
    let mut world = talking(11);
    close(&mut world, CloseCode::NOT_AUTHENTICATED);
    world.run_until(|world| world.client(ALICE).media_starts() == 2);
    goes_on(&mut world);
    assert_eq!((rejoins(&world), updates(&world, ALICE)), (0, vec![Some(CHANNEL)]));
}

#[test]
fn a_join_needs_both_events_in_either_order_and_however_late() {
    for order in [EventOrder::StateFirst, EventOrder::ServerFirst] {
        for delay_ms in [0, 700, 8_000] {
            for null_endpoint_first in [None, Some(SECOND / 2)] {
                let mut world = World::builder().seed(1).latency(Duration::from_millis(40)).build();
                let delay = Duration::from_millis(delay_ms);
                let answer = JoinAnswer { order, delay, null_endpoint_first, silent: false };
                world.command(Command::SetJoinAnswer(answer));
                world.join_through(ALICE);
                assert!(world.elapsed() > delay && world.elapsed() < delay + 3 * SECOND, "{answer:?}");
                assert_eq!(updates(&world, ALICE), [Some(CHANNEL)]);
                assert_eq!(world.client(ALICE).media_starts(), 1);
            }
        }
    }
}

#[test]
fn a_join_that_nobody_answers_ends_and_says_so() {
    let mut world = World::builder().seed(2).latency(Duration::from_millis(40)).build();
    world.command(Command::SetJoinAnswer(JoinAnswer { silent: true, ..JoinAnswer::default() }));
    world.begin_join_through(ALICE);
    let (reason, after) = ended(&mut world);
    assert!(matches!(reason, EndReason::NoAnswer(missing) if missing.voice_state && missing.voice_server));
    assert!(after < 22 * SECOND, "{after:?}");
    let asked = [Some(CHANNEL), None, Some(CHANNEL), None];
    assert_eq!(updates(&world, ALICE), asked, "it does not leave a wish behind");
}

#[test]
fn a_call_begins_in_a_channel_in_which_its_session_is_already() {
    let mut world = World::builder().seed(3).latency(Duration::from_millis(40)).build();
    world.join_through(ALICE);
    // The call before is dropped without a word, and so without a leave.
    world.join_through(ALICE);
    assert_eq!(world.client(ALICE).channel(), Some(CHANNEL));
}

#[test]
fn a_move_by_a_moderator_is_followed_in_either_order_and_audio_goes_on() {
    for order in [EventOrder::StateFirst, EventOrder::ServerFirst] {
        for delay_ms in [0, 1_500] {
            let mut world = talking(3);
            let delay = Duration::from_millis(delay_ms);
            world.command(Command::SetJoinAnswer(JoinAnswer { order, delay, ..JoinAnswer::default() }));
            for user in [ALICE, BOB] {
                world.command(Command::Move { guild: GUILD, user, channel: OTHER_CHANNEL });
            }
            world.run_until(|world| world.client(ALICE).saw(|event| matches!(event, Event::Moved(OTHER_CHANNEL))));
            world.run_for(SECOND);
            goes_on(&mut world);
            for user in [ALICE, BOB] {
                assert_eq!(world.client(user).channel(), Some(OTHER_CHANNEL));
                assert_eq!(world.client(user).media_starts(), 2, "{user}, {order:?}");
                assert_eq!(updates(&world, user), [Some(CHANNEL)]);
            }
        }
    }
}

#[test]
fn a_move_of_our_own_is_followed_and_audio_goes_on() {
    let mut world = talking(4);
    for user in [ALICE, BOB] {
        world.move_to(user, OTHER_CHANNEL);
    }
    world.run_until(|world| [ALICE, BOB].iter().all(|user| world.client(*user).channel() == Some(OTHER_CHANNEL)));
    goes_on(&mut world);
    assert_eq!(updates(&world, ALICE), [Some(CHANNEL), Some(OTHER_CHANNEL)]);
    assert_eq!(world.client(ALICE).media_starts(), 2);
}

#[test]
fn a_move_that_nobody_answers_fails_and_the_call_stays_where_it_is() {
    let mut world = talking(5);
    world.command(Command::SetJoinAnswer(JoinAnswer { silent: true, ..JoinAnswer::default() }));
    world.move_to(ALICE, OTHER_CHANNEL);
    world.run_until(|world| world.client(ALICE).saw(|event| matches!(event, Event::MoveFailed(OTHER_CHANNEL))));
    goes_on(&mut world);
    assert_eq!(world.client(ALICE).channel(), Some(CHANNEL));
    assert_eq!(world.client(ALICE).media_starts(), 1);
}

#[test]
fn a_kick_is_the_end_at_once_and_nothing_joins_again() {
    let mut world = talking(6);
    world.command(Command::Disconnect { guild: GUILD, user: ALICE });
    let (reason, after) = ended(&mut world);
    assert_eq!(reason, EndReason::Disconnected);
    assert!(after < SECOND, "{after:?}");
    world.run_for(60 * SECOND);
    assert_eq!(updates(&world, ALICE), [Some(CHANNEL)]);
}

#[test]
fn a_change_of_region_is_followed_and_audio_goes_on() {
    let mut world = talking(7);
    for user in [ALICE, BOB] {
        world.command(Command::Rehome { guild: GUILD, user });
    }
    world.run_until(|world| !world.client(ALICE).is_established());
    goes_on(&mut world);
    assert_eq!((updates(&world, ALICE), rejoins(&world)), (vec![Some(CHANNEL)], 0));
    assert_eq!(world.client(ALICE).media_starts(), 2);
}

#[test]
fn a_server_that_is_taken_away_first_is_waited_for_and_audio_goes_on() {
    let mut world = talking(8);
    let null_endpoint_first = Some(8 * SECOND);
    world.command(Command::SetJoinAnswer(JoinAnswer { null_endpoint_first, ..JoinAnswer::default() }));
    world.command(Command::Rehome { guild: GUILD, user: ALICE });
    world.run_for(5 * SECOND);
    assert_eq!(world.client(ALICE).state(), Some(ConnectionState::Waiting));
    goes_on(&mut world);
    assert_eq!((updates(&world, ALICE), rejoins(&world)), (vec![Some(CHANNEL)], 0));
}

#[test]
fn a_server_that_never_comes_is_the_end_in_time() {
    let mut world = talking(9);
    let null_endpoint_first = Some(100 * SECOND);
    world.command(Command::SetJoinAnswer(JoinAnswer { null_endpoint_first, ..JoinAnswer::default() }));
    world.command(Command::Rehome { guild: GUILD, user: ALICE });
    let (reason, after) = ended(&mut world);
    assert_eq!(reason, EndReason::NoServer);
    assert!(after < 16 * SECOND, "{after:?}");
    assert_eq!(updates(&world, ALICE), [Some(CHANNEL), None]);
}

#[test]
fn nothing_happens_to_a_call_while_the_main_gateway_is_resumed() {
    for fault in [None, Some(FaultKind::GatewayReconnect), Some(FaultKind::GatewayClose(CloseCode::new(4000)))] {
        let mut world = talking(10);
        let events = world.client(ALICE).events().len();
        match fault {
            Some(kind) => world.fault(Fault::user(ALICE, kind)),
            None => world.reset_main_gateway(ALICE),
        }
        world.run_until(|world| world.main_gateway_resumes(ALICE) == 1 && world.is_online(ALICE));
        goes_on(&mut world);
        let alice = world.client(ALICE);
        assert_eq!((alice.events().len(), alice.media_starts()), (events, 1));
        assert_eq!(updates(&world, ALICE), [Some(CHANNEL)]);
        assert_eq!(world.client(BOB).frames_from(ALICE).len(), 2_505, "every frame");
    }
}

#[test]
fn a_silent_main_gateway_is_noticed_and_resumed_and_nothing_happens_to_the_call() {
    let mut world = talking(11);
    let events = world.client(ALICE).events().len();
    // Longer than until both sides have missed a heartbeat, and shorter than a session is kept without a connection.
    world.stall_main_gateway(ALICE, 100 * SECOND);
    world.run_for(110 * SECOND);
    assert_eq!(world.main_gateway_resumes(ALICE), 1);
    goes_on(&mut world);
    assert_eq!(world.client(ALICE).events().len(), events);
    assert_eq!(updates(&world, ALICE), [Some(CHANNEL)]);
}

#[test]
fn a_move_that_came_while_the_main_gateway_was_away_is_followed_after_the_resume() {
    let mut world = talking(12);
    world.refuse_main_gateway(ALICE, true);
    world.reset_main_gateway(ALICE);
    for user in [ALICE, BOB] {
        world.command(Command::Move { guild: GUILD, user, channel: OTHER_CHANNEL });
    }
    world.run_for(25 * SECOND);
    assert_eq!(world.client(ALICE).state(), Some(ConnectionState::Waiting), "for longer than it otherwise does");
    world.refuse_main_gateway(ALICE, false);
    goes_on(&mut world);
    assert_eq!(world.client(ALICE).channel(), Some(OTHER_CHANNEL));
    assert_eq!(updates(&world, ALICE), [Some(CHANNEL)]);
}

#[test]
fn a_lost_session_of_the_main_gateway_is_joined_again_after_ready() {
    for kind in [FaultKind::GatewayInvalidate, FaultKind::GatewayClose(CloseCode::NORMAL)] {
        let mut world = talking(13);
        world.fault(Fault::user(ALICE, kind));
        world.run_until(|world| !world.client(ALICE).is_established());
        goes_on(&mut world);
        assert_eq!(updates(&world, ALICE), [Some(CHANNEL), Some(CHANNEL)]);
        assert_eq!(world.client(ALICE).media_starts(), 2);
    }
}

#[test]
fn a_main_gateway_that_does_not_come_back_is_the_end_in_time() {
    let mut world = talking(14);
    world.refuse_main_gateway(ALICE, true);
    world.reset_main_gateway(ALICE);
    world.run_for(50 * SECOND);
    assert!(world.client(ALICE).is_established(), "the call needs no main gateway");
    // The server gives the session up after 60 s, and the voice state with it.
    world.run_for(15 * SECOND);
    assert_eq!(world.client(ALICE).state(), Some(ConnectionState::Waiting));
    world.run_for(320 * SECOND);
    assert_eq!(world.client(ALICE).ended(), Some(&EndReason::GatewayLost));
}

#[test]
fn another_process_with_the_same_token_is_named_as_the_end() {
    let mut world = talking(15);
    world.take_over(ALICE);
    let (reason, after) = ended(&mut world);
    assert_eq!(reason, EndReason::TakenOver);
    assert!(after < 16 * SECOND, "{after:?}");
    assert_eq!(updates(&world, ALICE), [Some(CHANNEL)], "the other process stays where it is");
}

#[test]
fn a_session_that_is_invalid_or_unknown_is_joined_again() {
    for code in [CloseCode::SESSION_NO_LONGER_VALID, CloseCode::SERVER_NOT_FOUND, CloseCode::AUTHENTICATION_FAILED] {
        let mut world = talking(16);
        close(&mut world, code);
        world.run_until(|world| rejoins(world) == 1);
        goes_on(&mut world);
        assert_eq!(updates(&world, ALICE), [Some(CHANNEL), None, Some(CHANNEL)], "{code}");
        assert_eq!(world.client(ALICE).media_starts(), 2);
    }
}

#[test]
fn a_timeout_or_a_crash_is_resumed_and_audio_never_stops() {
    for code in [CloseCode::SESSION_TIMEOUT, CloseCode::VOICE_SERVER_CRASHED, CloseCode::NORMAL] {
        let mut world = talking(17);
        close(&mut world, code);
        world.run_until(|world| world.client(ALICE).saw(|event| matches!(event, Event::Resumed)));
        goes_on(&mut world);
        assert_eq!(updates(&world, ALICE), [Some(CHANNEL)], "{code}");
        assert_eq!(world.client(ALICE).media_starts(), 1);
        assert_eq!(world.client(BOB).frames_from(ALICE).len(), 2_505, "every frame");
    }
}

#[test]
fn a_second_timeout_and_a_third_crash_are_joined_again() {
    for (code, resumes) in [(CloseCode::SESSION_TIMEOUT, 1), (CloseCode::VOICE_SERVER_CRASHED, 2)] {
        let mut world = talking(18);
        for _ in 0..resumes {
            close(&mut world, code);
            world.run_until(|world| !world.client(ALICE).is_established());
            world.run_until(|world| world.client(ALICE).is_established());
        }
        assert_eq!(rejoins(&world), 0, "{code}");
        close(&mut world, code);
        world.run_until(|world| rejoins(world) == 1);
        goes_on(&mut world);
    }
}

#[test]
fn a_release_about_which_the_main_gateway_says_nothing_is_left() {
    for code in [CloseCode::DISCONNECTED, CloseCode::CALL_TERMINATED] {
        let mut world = talking(19);
        close(&mut world, code);
        let (reason, after) = ended(&mut world);
        assert_eq!(reason.to_string(), format!("closed by the voice server with {code}"));
        assert!(after > 9 * SECOND && after < 12 * SECOND, "{after:?}");
        assert_eq!(updates(&world, ALICE), [Some(CHANNEL), None], "{code}");
    }
}

#[test]
fn a_refused_mode_is_followed_by_the_one_that_every_server_has_once() {
    let mut world = talking(20);
    assert_eq!(world.client(ALICE).mode(), Some(Mode::Aes256GcmRtpsize));
    close(&mut world, CloseCode::UNKNOWN_ENCRYPTION_MODE);
    world.run_until(|world| rejoins(world) == 1);
    goes_on(&mut world);
    assert_eq!(world.client(ALICE).mode(), Some(Mode::XChaCha20Poly1305Rtpsize));
}

#[test]
fn w9_what_every_retry_would_meet_again_ends_at_once_and_leaves() {
    for code in [CloseCode::E2EE_REQUIRED, CloseCode::RATE_LIMITED, CloseCode::UNKNOWN_PROTOCOL] {
        let mut world = talking(21);
        close(&mut world, code);
        let (reason, after) = ended(&mut world);
        assert_eq!(reason.to_string(), format!("closed by the voice server with {code}"));
        assert!(after < SECOND, "{after:?}");
        assert_eq!((updates(&world, ALICE), rejoins(&world)), (vec![Some(CHANNEL), None], 0));
    }
}

#[test]
fn w9_five_rejoins_that_fail_are_the_end() {
    let mut world = talking(22);
    let code = CloseCode::SESSION_NO_LONGER_VALID;
    world.fault(Fault::all(FaultKind::CloseOn { opcode: Opcode::Identify, code, count: 1_000 }));
    close(&mut world, code);
    world.run_for(120 * SECOND);
    assert!(matches!(world.client(ALICE).ended(), Some(EndReason::Session { .. })));
    assert_eq!(rejoins(&world), 5);
    let own = [Some(CHANNEL), None].repeat(6);
    assert_eq!(updates(&world, ALICE), own, "each time it leaves before it joins, and at last for good");
}

#[test]
fn leaving_is_confirmed_and_one_can_join_again_at_once() {
    let mut world = talking(23);
    world.leave(ALICE);
    world.run_until(|world| world.client(ALICE).ended().is_some());
    assert_eq!(world.client(ALICE).ended(), Some(&EndReason::Left));
    world.join_through(ALICE);
    goes_on(&mut world);
}

/// Lets the server keep Alice from something.
fn restrict(world: &mut World, change: impl FnOnce(&mut server::Restrictions)) {
    let mut restrictions = server::Restrictions::default();
    change(&mut restrictions);
    world.command(Command::Restrict { guild: GUILD, user: ALICE, restrictions });
}

#[test]
fn who_is_muted_or_suppressed_is_told_and_not_heard_and_stays_in_the_call() {
    for suppress in [false, true] {
        let mut world = talking(12);
        restrict(&mut world, |to| (to.mute, to.suppress) = (!suppress, suppress));
        world.run_until(|world| {
            let is_told = |event: &Event| matches!(event, Event::Restricted(now) if now.mute != suppress && now.suppress == suppress);
            world.client(ALICE).saw(is_told)
        });
        world.run_for(SECOND);
        let heard = world.client(BOB).frames_from(ALICE).len();
        world.run_for(2 * SECOND);
        assert_eq!(world.client(BOB).frames_from(ALICE).len(), heard);
        assert!(world.server_stats().packets_muted > 50);
        restrict(&mut world, |_| {});
        goes_on(&mut world);
        assert_eq!((rejoins(&world), world.client(ALICE).media_starts()), (0, 1));
    }
}

#[test]
fn who_stays_muted_through_a_move_is_not_heard_there_either() {
    let mut world = talking(13);
    restrict(&mut world, |to| to.mute = true);
    for user in [ALICE, BOB] {
        world.command(Command::Move { guild: GUILD, user, channel: OTHER_CHANNEL });
    }
    world.run_until(|world| [ALICE, BOB].iter().all(|user| world.client(*user).media_starts() == 2));
    world.run_for(SECOND);
    let heard = world.client(BOB).frames_from(ALICE).len();
    world.run_for(2 * SECOND);
    assert_eq!(world.client(BOB).frames_from(ALICE).len(), heard);
    restrict(&mut world, |_| {});
    goes_on(&mut world);
}

#[test]
fn what_is_our_own_fault_is_joined_again_twice_and_then_the_end() {
    let codes = [
        CloseCode::UNKNOWN_OPCODE,
        CloseCode::FAILED_TO_DECODE,
        CloseCode::ALREADY_AUTHENTICATED,
        CloseCode::BAD_REQUEST,
    ];
    for code in codes {
        let mut world = talking(14);
        for attempt in 1..=2 {
            close(&mut world, code);
            world.run_until(|world| rejoins(world) == attempt);
            world.run_until(|world| world.client(ALICE).is_established());
        }
        close(&mut world, code);
        let (reason, _) = ended(&mut world);
        let EndReason::Session { cause, .. } = reason else { panic!("{reason:?}") };
        assert_eq!(cause, Cause::Closed(code));
        assert_eq!(rejoins(&world), 2);
        assert_eq!(updates(&world, ALICE).last(), Some(&None), "it leaves");
    }
}
