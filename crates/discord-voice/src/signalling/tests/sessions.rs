//! The sessions of the bot's own connection to the main gateway.

use std::num::NonZeroU32;

use voice_model::{CloseCode, GuildId, SessionId, Token, UserId, VoiceServerUpdate, VoiceState};
use voice_ws::Advice;

use super::{AWAY, GUILD, Guild, HOME, Out, Signalling, closed};
use crate::{Config, EndReason, GatewayEvent, JoinInfo, Shard};

#[test]
fn a_new_session_of_the_main_gateway_joins_again_without_leaving() {
    let mut guild = Guild::connected();
    guild.event(GatewayEvent::Disconnected { shard: Shard::ONLY });
    guild.lost(CloseCode::DISCONNECTED, Advice::Wait);
    guild.pass(120);
    assert_eq!(guild.out(), [Out::Released], "without the main gateway nothing is given up for want of its answer");
    guild.ready("main 2");
    guild.state_of("main 2", Some(HOME), |_| {});
    guild.server("b");
    let again = [Out::Release, Out::Rejoining(1, true), Out::Op4(Some(HOME)), Out::Connect("b", HOME)];
    assert_eq!(guild.out(), again);
}

#[test]
fn a_session_that_is_told_late_is_not_joined_in_again() {
    // That of the voice state, and told twice.
    for told in [None, Some("main")] {
        let mut guild = Guild::connected_in(told);
        guild.ready("main");
        guild.ready("main");
        assert_eq!(guild.out(), []);
        guild.state_of("other", None, |_| {});
        assert_eq!(guild.out(), [], "from now on other sessions are told from it");
    }
    // While the first join is still unanswered.
    let mut guild = Guild::of_session(None);
    guild.ready("main");
    guild.state_of("other", Some(HOME), |_| {});
    guild.server("a");
    guild.state(Some(HOME));
    assert_eq!(guild.out(), [Out::Op4(Some(HOME)), Out::Connect("a", HOME)]);
}

#[test]
fn another_session_than_that_of_the_call_is_joined_in() {
    let mut guild = Guild::connected_in(None);
    guild.ready("main 2");
    assert_eq!(guild.out(), [Out::Release, Out::Rejoining(1, true), Out::Op4(Some(HOME))]);
    // It was no session of ours that the first join was answered in.
    let mut guild = Guild::of_session(None);
    guild.state_of("other", Some(HOME), |_| {});
    guild.ready("main");
    assert_eq!(guild.out(), [Out::Op4(Some(HOME)), Out::Op4(Some(HOME))]);
    // Nothing that was sent while the connection was lost has arrived.
    let mut guild = Guild::of_session(None);
    guild.event(GatewayEvent::Disconnected { shard: Shard::ONLY });
    guild.ready("main");
    assert_eq!(guild.out(), [Out::Op4(Some(HOME)), Out::Op4(Some(HOME))]);
}

#[test]
fn a_new_session_without_its_id_is_joined_in_once() {
    let mut guild = Guild::connected();
    guild.event(GatewayEvent::Disconnected { shard: Shard::ONLY });
    guild.lost(CloseCode::DISCONNECTED, Advice::Wait);
    guild.event(GatewayEvent::Ready { session_id: None, shard: Shard::ONLY });
    assert_eq!(guild.out(), [Out::Released, Out::Release, Out::Rejoining(1, true), Out::Op4(Some(HOME))]);
    guild.ready("main 2");
    guild.state_of("main 2", Some(HOME), |_| {});
    guild.server("b");
    guild.ready("main 2");
    assert_eq!(guild.out(), [Out::Connect("b", HOME)]);
}

#[test]
fn a_resumed_session_of_the_main_gateway_changes_nothing() {
    let mut guild = Guild::connected();
    guild.event(GatewayEvent::Disconnected { shard: Shard::ONLY });
    guild.pass(30);
    guild.event(GatewayEvent::Resumed { shard: Shard::ONLY });
    guild.pass(1000);
    assert_eq!(guild.out(), []);
}

#[test]
fn a_main_gateway_that_does_not_come_back_is_the_end() {
    let mut guild = Guild::connected();
    guild.event(GatewayEvent::Disconnected { shard: Shard::ONLY });
    guild.lost(CloseCode::DISCONNECTED, Advice::Wait);
    guild.pass(309);
    assert_eq!(guild.out(), [Out::Released]);
    guild.pass(1);
    assert_eq!(guild.out(), [Out::End(EndReason::GatewayLost)]);
}

#[test]
fn a_call_that_runs_well_outlives_a_main_gateway_that_does_not_come_back() {
    let mut guild = Guild::connected();
    guild.event(GatewayEvent::Disconnected { shard: Shard::ONLY });
    guild.pass(1000);
    assert_eq!(guild.out(), []);
    guild.lost(CloseCode::DISCONNECTED, Advice::Wait);
    guild.pass(1000);
    assert_eq!(guild.ended(), EndReason::GatewayLost);
}

#[test]
fn other_shards_and_other_guilds_do_not_concern_it() {
    let total = NonZeroU32::new(2).expect("not zero");
    let event = GatewayEvent::Ready { session_id: None, shard: Shard::new(1, total) };
    assert!(!event.concerns(GUILD));
    let mut guild = Guild::connected();
    let update =
        VoiceServerUpdate { endpoint: Some("b".to_owned()), guild_id: GuildId::new(99), token: Token::new("b") };
    guild.event(GatewayEvent::VoiceServer(update));
    assert_eq!(guild.out(), []);
}

#[test]
fn voice_states_of_another_process_are_not_taken() {
    let mut guild = Guild::connected();
    guild.state_of("other", Some(AWAY), |_| {});
    guild.state_of("other", None, |_| {});
    assert_eq!(guild.out(), [], "neither a move nor a kick");
    // It takes our place: nothing that we send may take it out again.
    guild.state_of("other", Some(HOME), |_| {});
    guild.lost(CloseCode::DISCONNECTED, Advice::Wait);
    guild.pass(11);
    assert_eq!(guild.out(), [Out::Released, Out::End(EndReason::TakenOver)]);
}

#[test]
fn a_session_that_is_lost_while_all_runs_well_is_seen() {
    let mut guild = Guild::connected();
    guild.event(GatewayEvent::Disconnected { shard: Shard::ONLY });
    guild.ready("main 2");
    assert_eq!(guild.out(), [Out::Release, Out::Rejoining(1, true), Out::Op4(Some(HOME))]);
    assert!(guild.signalling.is_rejoining());
    // What the voice server of the session before says is of no concern any more.
    guild.lost(CloseCode::DISCONNECTED, Advice::Wait);
    assert_eq!(guild.out(), []);
    guild.state_of("main 2", Some(HOME), |_| {});
    guild.server("b");
    assert_eq!(guild.out(), [Out::Connect("b", HOME)]);
}

#[test]
fn a_move_ends_with_the_session_it_was_asked_for_in() {
    let mut guild = Guild::connected();
    guild.signalling.move_to(guild.now, AWAY);
    guild.out();
    guild.ready("main 2");
    let again = [Out::Release, Out::Rejoining(1, true), Out::MoveFailed(AWAY), Out::Op4(Some(HOME))];
    assert_eq!(guild.out(), again);
}

#[test]
fn who_was_taken_over_does_not_take_the_place_back() {
    for reason in [closed(CloseCode::SESSION_NO_LONGER_VALID, Advice::Rejoin), EndReason::NoCommonMode] {
        let mut guild = Guild::connected();
        guild.state_of("other", Some(HOME), |_| {});
        guild.signalling.handle_lost(guild.now, reason);
        assert_eq!(guild.out(), [Out::Release, Out::End(EndReason::TakenOver)]);
    }
}

#[test]
fn a_call_of_another_process_belongs_to_the_session_it_was_joined_in() {
    let over = |session: &str| {
        let mut before = Guild::connected();
        let used = before.signalling.used.take().expect("it is connected");
        let (config, info) = (Config::default().into(), JoinInfo::new(GUILD, HOME, super::ME));
        before.signalling = Signalling::joined(before.now, config, info, used, 7);
        before.ready(session);
        before
    };
    assert_eq!(over("main").out(), []);
    let rejoined = [Out::Release, Out::Rejoining(1, true), Out::Op4(Some(HOME))];
    assert_eq!(over("main 2").out(), rejoined);
    let mut resumed = over("main");
    resumed.event(GatewayEvent::Resumed { shard: Shard::ONLY });
    assert_eq!(resumed.out(), []);
}

#[test]
fn an_event_of_the_shard_says_that_it_is_there() {
    let away = || {
        let mut guild = Guild::connected();
        guild.event(GatewayEvent::Disconnected { shard: Shard::ONLY });
        guild.pass(3_600);
        guild
    };
    // Of anybody in the guild.
    let mut state = VoiceState::new(UserId::new(77), SessionId::new("another"));
    (state.guild_id, state.channel_id) = (Some(GUILD), Some(AWAY));
    for event in [GatewayEvent::VoiceState(state), server_of(GUILD)] {
        let mut guild = away();
        guild.event(event.clone());
        guild.lost(CloseCode::SESSION_NO_LONGER_VALID, Advice::Rejoin);
        assert_eq!(guild.out(), [Out::Release, Out::Rejoining(1, true), Out::Op4(None)]);
        let mut guild = away();
        guild.event(event);
        guild.lost(CloseCode::DISCONNECTED, Advice::Wait);
        guild.pass(10);
        assert_eq!(guild.out(), [Out::Released, Out::Release, Out::Op4(None)], "a kick, soon");
    }
    let mut guild = away();
    guild.event(server_of(GuildId::new(99)));
    guild.lost(CloseCode::SESSION_NO_LONGER_VALID, Advice::Rejoin);
    assert_eq!(guild.out(), [Out::Release, Out::Rejoining(1, true)], "another guild's shard may be another");
}

#[test]
fn what_was_asked_while_the_shard_was_away_is_asked_again_with_its_next_event() {
    let mut guild = Guild::of_session(Some("main"));
    guild.event(GatewayEvent::Disconnected { shard: Shard::ONLY });
    guild.state(Some(HOME));
    assert_eq!(guild.out(), [Out::Op4(Some(HOME)), Out::Op4(Some(HOME))]);
    guild.server("a");
    assert_eq!(guild.out(), [Out::Connect("a", HOME)], "the first answer counts");
    // A call that waits with its next attempt makes it now.
    guild.event(GatewayEvent::Disconnected { shard: Shard::ONLY });
    guild.lost(CloseCode::SESSION_NO_LONGER_VALID, Advice::Rejoin);
    assert_eq!(guild.out(), [Out::Release, Out::Rejoining(1, true)]);
    guild.state(Some(HOME));
    assert_eq!(guild.out(), [Out::Op4(None)]);
    // A kick is one, also where it is what comes first.
    let mut guild = Guild::connected();
    guild.event(GatewayEvent::Disconnected { shard: Shard::ONLY });
    guild.lost(CloseCode::SESSION_NO_LONGER_VALID, Advice::Rejoin);
    guild.out();
    guild.state(None);
    assert_eq!(guild.out(), [Out::End(EndReason::Disconnected)]);
}

#[test]
fn a_loss_that_is_told_after_its_end_is_none() {
    for is_new in [false, true] {
        let mut guild = Guild::connected();
        if is_new {
            guild.ready("main 2");
            guild.state_of("main 2", Some(HOME), |_| {});
            guild.server("b");
        } else {
            guild.event(GatewayEvent::Resumed { shard: Shard::ONLY });
        }
        guild.event(GatewayEvent::Disconnected { shard: Shard::ONLY });
        guild.out();
        guild.lost(CloseCode::SESSION_NO_LONGER_VALID, Advice::Rejoin);
        assert_eq!(guild.out().last(), Some(&Out::Op4(None)), "new session: {is_new}");
    }
    // The next one is one, and so is one that has nothing to do with it.
    for (pause, losses) in [(0, 2), (6, 1)] {
        let mut guild = Guild::connected();
        guild.event(GatewayEvent::Resumed { shard: Shard::ONLY });
        guild.pass(pause);
        for _ in 0..losses {
            guild.event(GatewayEvent::Disconnected { shard: Shard::ONLY });
        }
        guild.lost(CloseCode::SESSION_NO_LONGER_VALID, Advice::Rejoin);
        assert_eq!(guild.out(), [Out::Release, Out::Rejoining(1, true)], "after {pause} s");
    }
}

fn server_of(guild_id: GuildId) -> GatewayEvent {
    // What the call is on already.
    GatewayEvent::VoiceServer(VoiceServerUpdate { endpoint: Some("a".to_owned()), guild_id, token: Token::new("a") })
}
