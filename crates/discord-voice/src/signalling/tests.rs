//! The table of the protocol's situations: what the main gateway and the call say, and what is done.

mod moves;
mod sessions;

use voice_model::{CloseAction, CloseCode, ClosePolicy, GuildId, Token, VoiceServerUpdate, VoiceState};
use voice_ws::EndpointError;

use super::*;
use crate::{GatewayEvent, MediaFault, Shard};

const GUILD: GuildId = GuildId::new(1);
const ME: UserId = UserId::new(2);
const HOME: ChannelId = ChannelId::new(3);
const AWAY: ChannelId = ChannelId::new(4);

/// A call's signalling, and the clock that it is told.
struct Guild {
    now: Instant,
    signalling: Signalling,
}

/// What came out, in a form to compare.
#[derive(Clone, Debug, PartialEq)]
enum Out {
    Op4(Option<ChannelId>),
    Connect(&'static str, ChannelId),
    Release,
    FallBack,
    Moved(ChannelId),
    MoveFailed(ChannelId),
    Restricted(Restrictions),
    Released,
    ServerLost,
    ServerChanged,
    /// Attempt, and whether it is made at once.
    Rejoining(u32, bool),
    End(EndReason),
}

impl Guild {
    #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
    fn of_session(session: Option<&str>) -> Self {
        let now = Instant::now();
        let mut info = JoinInfo::new(GUILD, HOME, ME);
        info.session_id = session.map(SessionId::new);
        Self { now, signalling: Signalling::new(now, Arc::new(Config::default()), info, 7) }
    }

    fn new() -> Self {
        Self::of_session(Some("main"))
    }

    /// One that is connected to server "a".
    fn connected() -> Self {
        Self::connected_in(Some("main"))
    }

    /// One that is connected, and was told its session or not.
    fn connected_in(session: Option<&str>) -> Self {
        let mut guild = Self::of_session(session);
        guild.state(Some(HOME));
        guild.server("a");
        assert_eq!(guild.out(), [Out::Op4(Some(HOME)), Out::Connect("a", HOME)]);
        guild.signalling.handle_connected(guild.now);
        guild
    }

    fn out(&mut self) -> Vec<Out> {
        std::iter::from_fn(|| self.signalling.poll_output())
            .map(|signal| match signal {
                Signal::Update(update) => Out::Op4(update.channel_id),
                Signal::Connect(info) => {
                    let host = ["a", "b", "c"].into_iter().find(|host| *host == info.endpoint.host());
                    Out::Connect(host.expect("a server of these tests"), info.channel_id)
                }
                Signal::Release => Out::Release,
                Signal::FallBack => Out::FallBack,
                Signal::Event(Event::Moved(channel)) => Out::Moved(channel),
                Signal::Event(Event::MoveFailed(channel)) => Out::MoveFailed(channel),
                Signal::Event(Event::Restricted(restrictions)) => Out::Restricted(restrictions),
                Signal::Event(Event::Released(_)) => Out::Released,
                Signal::Event(Event::ServerLost) => Out::ServerLost,
                Signal::Event(Event::ServerChanged) => Out::ServerChanged,
                Signal::Event(Event::Rejoining { attempt, after, .. }) => Out::Rejoining(attempt, after.is_zero()),
                Signal::Event(event) => panic!("{event:?}"),
                Signal::End(reason) => Out::End(reason),
            })
            .collect()
    }

    fn event(&mut self, event: GatewayEvent) {
        self.signalling.handle_event(self.now, &event);
    }

    fn state(&mut self, channel: Option<ChannelId>) {
        self.state_of("main", channel, |_| {});
    }

    fn state_of(&mut self, session: &str, channel: Option<ChannelId>, change: impl FnOnce(&mut VoiceState)) {
        let mut state = VoiceState::new(ME, SessionId::new(session));
        (state.channel_id, state.guild_id) = (channel, Some(GUILD));
        change(&mut state);
        self.event(GatewayEvent::VoiceState(state));
    }

    fn server(&mut self, endpoint: &str) {
        self.server_with(Some(endpoint), endpoint);
    }

    fn server_with(&mut self, endpoint: Option<&str>, token: &str) {
        let (endpoint, token) = (endpoint.map(str::to_owned), Token::new(token));
        self.event(GatewayEvent::VoiceServer(VoiceServerUpdate { endpoint, guild_id: GUILD, token }));
    }

    fn ready(&mut self, session: &str) {
        self.event(GatewayEvent::Ready { session_id: Some(SessionId::new(session)), shard: Shard::ONLY });
    }

    fn lost(&mut self, code: CloseCode, advice: Advice) {
        let reason = EndReason::Session { cause: Cause::Closed(code), advice };
        self.signalling.handle_lost(self.now, reason);
    }

    /// Lets time pass, in the steps that are asked for.
    fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        for _ in 0..1000 {
            match self.signalling.poll_timeout().filter(|at| *at <= end) {
                Some(at) => {
                    self.now = self.now.max(at);
                    self.signalling.handle_timeout(self.now);
                }
                None => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("it wakes again and again");
    }

    fn ended(&mut self) -> EndReason {
        match self.out().pop() {
            Some(Out::End(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }
}

fn closed(code: CloseCode, advice: Advice) -> EndReason {
    EndReason::Session { cause: Cause::Closed(code), advice }
}

#[test]
fn both_orders_of_the_two_events_connect_once() {
    for state_first in [true, false] {
        let mut guild = Guild::new();
        if state_first {
            guild.state(Some(HOME));
            guild.server("a");
        } else {
            guild.server("a");
            guild.state(Some(HOME));
        }
        assert_eq!(guild.out(), [Out::Op4(Some(HOME)), Out::Connect("a", HOME)]);
        guild.server("a");
        guild.state(Some(HOME));
        assert_eq!(guild.out(), [], "what is in use already changes nothing");
    }
}

#[test]
fn a_join_that_nobody_answers_ends_with_what_is_missing() {
    for (state, voice_server) in [(false, false), (true, false), (false, true)] {
        let mut guild = Guild::new();
        if state {
            guild.state(Some(HOME));
        }
        if voice_server {
            guild.server("a");
        }
        guild.pass(9);
        assert_eq!(guild.out(), [Out::Op4(Some(HOME))]);
        guild.pass(1);
        assert_eq!(guild.out(), [Out::Op4(None), Out::Op4(Some(HOME))], "it may have been there before");
        if state {
            guild.state(None);
            guild.state(Some(HOME));
        }
        if voice_server {
            guild.server("a");
        }
        guild.pass(16);
        let missing = Missing { voice_state: !state, voice_server: !voice_server };
        assert_eq!(guild.out(), [Out::Release, Out::Op4(None), Out::End(EndReason::NoAnswer(missing))]);
    }
}

#[test]
fn another_channel_than_the_wanted_one_is_no_answer() {
    let mut guild = Guild::new();
    guild.server("a");
    guild.state(Some(AWAY));
    assert_eq!(guild.out(), [Out::Op4(Some(HOME))]);
}

#[test]
fn a_kick_is_the_end_whichever_side_says_it_first() {
    let mut guild = Guild::connected();
    guild.state(None);
    assert_eq!(guild.out(), [Out::End(EndReason::Disconnected)]);
    let mut guild = Guild::connected();
    guild.lost(CloseCode::DISCONNECTED, Advice::Wait);
    guild.pass(3);
    guild.state(None);
    assert_eq!(guild.out(), [Out::Released, Out::End(EndReason::Disconnected)]);
}

#[test]
fn without_a_word_of_the_main_gateway_a_released_call_is_left() {
    let mut guild = Guild::connected();
    guild.lost(CloseCode::CALL_TERMINATED, Advice::Wait);
    guild.pass(11);
    assert_eq!(guild.out(), [Out::Released, Out::Release, Out::Op4(None)]);
    guild.state(None);
    assert_eq!(guild.ended(), closed(CloseCode::CALL_TERMINATED, Advice::Wait));
    assert_eq!(guild.signalling.poll_timeout(), None);
}

#[test]
fn a_change_of_server_is_followed_whichever_side_says_it_first() {
    let mut guild = Guild::connected();
    guild.lost(CloseCode::CALL_TERMINATED, Advice::Wait);
    guild.pass(2);
    guild.server("b");
    assert_eq!(guild.out(), [Out::Released, Out::ServerChanged, Out::Connect("b", HOME)]);
    let mut guild = Guild::connected();
    guild.server("b");
    assert_eq!(guild.out(), [Out::ServerChanged, Out::Connect("b", HOME)]);
}

#[test]
fn a_server_that_is_taken_away_is_given_up_and_the_next_one_followed() {
    let mut guild = Guild::connected();
    guild.server_with(None, "new");
    assert_eq!(guild.out(), [Out::Release, Out::ServerLost]);
    guild.pass(9);
    guild.server_with(Some("b"), "new");
    assert_eq!(guild.out(), [Out::ServerChanged, Out::Connect("b", HOME)]);
    guild.server_with(None, "newer");
    guild.pass(16);
    let out = guild.out();
    assert_eq!(out, [Out::Release, Out::ServerLost, Out::Release, Out::Op4(None), Out::End(EndReason::NoServer)]);
}

#[test]
fn a_rejoin_leaves_waits_and_joins() {
    let mut guild = Guild::connected();
    guild.lost(CloseCode::SESSION_NO_LONGER_VALID, Advice::Rejoin);
    assert_eq!(guild.out(), [Out::Release, Out::Rejoining(1, true), Out::Op4(None)]);
    guild.server("a");
    assert_eq!(guild.out(), [], "a server of the join before");
    guild.state(None);
    guild.state(Some(HOME));
    guild.server("b");
    assert_eq!(guild.out(), [Out::Op4(Some(HOME)), Out::Connect("b", HOME)]);
}

#[test]
fn a_leave_that_nobody_confirms_does_not_keep_a_rejoin_from_joining() {
    let mut guild = Guild::connected();
    guild.lost(CloseCode::SESSION_NO_LONGER_VALID, Advice::Rejoin);
    guild.pass(5);
    assert_eq!(guild.out().last(), Some(&Out::Op4(Some(HOME))));
    // The confirmation comes after all: it is none of a kick.
    guild.state(None);
    guild.state(Some(HOME));
    guild.server("b");
    assert_eq!(guild.out(), [Out::Connect("b", HOME)]);
}

#[test]
fn rejoins_are_ever_rarer_and_end_after_five() {
    let mut guild = Guild::connected();
    let mut at_once = Vec::new();
    for attempt in 1..=5 {
        guild.lost(CloseCode::SESSION_NO_LONGER_VALID, Advice::Rejoin);
        let out = guild.out();
        let Some(Out::Rejoining(number, immediate)) = out.get(1) else { panic!("{out:?}") };
        assert_eq!(*number, attempt);
        at_once.push(*immediate);
        let start = guild.now;
        while !guild.out().contains(&Out::Op4(None)) && !*immediate {
            guild.pass(1);
        }
        assert!(guild.now - start <= Duration::from_secs(9), "attempt {attempt}");
        guild.state(None);
        guild.state(Some(HOME));
        guild.server("a");
        guild.out();
        guild.signalling.handle_connected(guild.now);
    }
    assert_eq!(at_once, [true, false, false, false, false]);
    guild.lost(CloseCode::SESSION_NO_LONGER_VALID, Advice::Rejoin);
    guild.pass(6);
    assert_eq!(guild.ended(), closed(CloseCode::SESSION_NO_LONGER_VALID, Advice::Rejoin));
}

#[test]
fn attempts_are_forgotten_once_a_call_has_run_well() {
    let mut guild = Guild::connected();
    for _ in 0..20 {
        guild.lost(CloseCode::SESSION_NO_LONGER_VALID, Advice::Rejoin);
        assert_eq!(guild.out().get(1), Some(&Out::Rejoining(1, true)));
        guild.state(None);
        guild.state(Some(HOME));
        guild.server("a");
        guild.out();
        guild.signalling.handle_connected(guild.now);
        guild.pass(61);
    }
}

#[test]
fn a_call_whose_resumes_bring_nothing_does_not_run_well() {
    let mut guild = Guild::connected();
    let reason = EndReason::Session { cause: Cause::FruitlessResumes, advice: Advice::Rejoin };
    for attempt in 1..=5 {
        guild.signalling.handle_interrupted();
        guild.pass(150);
        guild.signalling.handle_lost(guild.now, reason.clone());
        let out = guild.out();
        assert_eq!(out.get(1), Some(&Out::Rejoining(attempt, attempt == 1)));
        while !out.contains(&Out::Op4(None)) && !guild.out().contains(&Out::Op4(None)) {
            guild.pass(1);
        }
        guild.state(None);
        guild.state(Some(HOME));
        guild.server("a");
        guild.out();
        guild.signalling.handle_connected(guild.now);
    }
    // Once one has brought something the count begins anew.
    guild.signalling.handle_interrupted();
    guild.signalling.handle_recovered(guild.now);
    guild.pass(61);
    guild.signalling.handle_lost(guild.now, reason);
    assert_eq!(guild.out().get(1), Some(&Out::Rejoining(1, true)));
}

#[test]
fn the_limits_of_a_close_code_hold_across_rejoins() {
    for (code, allowed) in [(CloseCode::AUTHENTICATION_FAILED, 2), (CloseCode::UNKNOWN_ENCRYPTION_MODE, 1)] {
        let mut guild = Guild::connected();
        for _ in 0..allowed {
            guild.lost(code, Advice::Rejoin);
            let out = guild.out();
            assert_eq!(out.contains(&Out::FallBack), code == CloseCode::UNKNOWN_ENCRYPTION_MODE, "{out:?}");
            guild.pass(2);
            guild.state(None);
            guild.state(Some(HOME));
            guild.server("a");
            guild.out();
        }
        guild.lost(code, Advice::Rejoin);
        guild.state(None);
        assert_eq!(guild.ended(), closed(code, Advice::Rejoin));
    }
}

#[test]
fn a_limit_of_the_callers_that_ends_in_waiting_waits() {
    let mut guild = Guild::connected();
    let policy = ClosePolicy::new(CloseAction::Rejoin).at_most(1, CloseAction::Wait);
    Arc::make_mut(&mut guild.signalling.config).session.close_policies.insert(CloseCode::SESSION_TIMEOUT, policy);
    guild.lost(CloseCode::SESSION_TIMEOUT, Advice::Rejoin);
    guild.state(None);
    guild.state(Some(HOME));
    guild.server("a");
    guild.out();
    guild.lost(CloseCode::SESSION_TIMEOUT, Advice::Rejoin);
    assert_eq!(guild.out(), [Out::Released]);
    guild.server("b");
    assert_eq!(guild.out(), [Out::ServerChanged, Out::Connect("b", HOME)]);
}

#[test]
fn before_the_first_connection_only_what_a_new_token_may_mend_is_tried_again() {
    let start = || {
        let mut guild = Guild::new();
        guild.state(Some(HOME));
        guild.server("a");
        guild.out();
        guild
    };
    let mut guild = start();
    guild.lost(CloseCode::SESSION_NO_LONGER_VALID, Advice::Rejoin);
    assert!(guild.out().contains(&Out::Rejoining(1, true)));
    let mut guild = start();
    let unreachable = EndReason::Session { cause: Cause::ConnectionLost, advice: Advice::Rejoin };
    guild.signalling.handle_lost(guild.now, unreachable.clone());
    guild.state(None);
    assert_eq!(guild.ended(), unreachable);
}

#[test]
fn what_every_retry_would_meet_again_is_the_end() {
    for reason in [closed(CloseCode::E2EE_REQUIRED, Advice::Stop), EndReason::NoCommonMode, EndReason::Downgraded] {
        let mut guild = Guild::connected();
        guild.signalling.handle_lost(guild.now, reason.clone());
        assert_eq!(guild.out(), [Out::Release, Out::Op4(None)]);
        guild.state(None);
        assert_eq!(guild.ended(), reason);
    }
}

#[test]
fn media_that_does_not_get_through_is_joined_again() {
    let mut guild = Guild::connected();
    guild.signalling.handle_lost(guild.now, EndReason::Media(MediaFault::Unreachable));
    assert!(guild.out().contains(&Out::Rejoining(1, true)));
}

#[test]
fn what_the_server_keeps_us_from_is_told_when_it_changes() {
    let mut guild = Guild::connected();
    let suppressed = Restrictions { suppress: true, ..Restrictions::default() };
    for (suppress, told) in [(true, vec![Out::Restricted(suppressed)]), (true, vec![])] {
        guild.state_of("main", Some(HOME), |state| state.suppress = suppress);
        assert_eq!(guild.out(), told);
    }
    guild.state_of("main", Some(HOME), |state| state.mute = true);
    let muted = Restrictions { mute: true, ..Restrictions::default() };
    assert_eq!(guild.out(), [Out::Restricted(muted)], "the connection stays");
}

#[test]
fn leaving_ends_with_the_main_gateways_word_or_without_it() {
    for answered in [true, false] {
        let mut guild = Guild::connected();
        guild.signalling.leave(guild.now);
        assert_eq!(guild.out(), [Out::Release, Out::Op4(None)]);
        if answered {
            guild.state(None);
        } else {
            guild.pass(4);
            assert_eq!(guild.out(), []);
            guild.pass(1);
        }
        assert_eq!(guild.out(), [Out::End(EndReason::Left)]);
        guild.signalling.leave(guild.now);
        guild.state(Some(HOME));
        guild.server("b");
        assert_eq!(guild.out(), [], "nothing follows the end");
    }
}

#[test]
fn leaving_stops_a_rejoin() {
    let mut guild = Guild::connected();
    guild.lost(CloseCode::SESSION_NO_LONGER_VALID, Advice::Rejoin);
    guild.out();
    guild.signalling.leave(guild.now);
    guild.state(None);
    assert_eq!(guild.ended(), EndReason::Left);
}

#[test]
fn a_main_gateway_that_takes_nothing_ends_a_join_and_delays_a_rejoin() {
    let mut guild = Guild::new();
    guild.signalling.handle_refused(guild.now, "no shard");
    assert_eq!(guild.ended(), EndReason::Gateway("no shard".to_owned()));
    let mut guild = Guild::connected();
    guild.lost(CloseCode::SESSION_NO_LONGER_VALID, Advice::Rejoin);
    guild.signalling.handle_refused(guild.now, "no shard");
    assert!(guild.out().contains(&Out::Rejoining(2, false)));
}

#[test]
fn what_waits_for_its_turn_has_more_time() {
    let mut guild = Guild::new();
    guild.signalling.handle_delayed(guild.now, Duration::from_secs(60));
    guild.pass(69);
    assert_eq!(guild.out(), [Out::Op4(Some(HOME))]);
    guild.pass(1);
    assert_eq!(guild.out(), [Out::Op4(None), Out::Op4(Some(HOME))]);
    guild.pass(10);
    assert!(matches!(guild.ended(), EndReason::NoAnswer(_)));
}

#[test]
fn a_session_that_is_in_the_channel_already_leaves_and_joins_it() {
    for was_told in [false, true] {
        let mut guild = Guild::new();
        if was_told {
            // It was muted there, and is not any more: this is told, and no server is named.
            guild.state(Some(HOME));
        }
        guild.pass(10);
        assert_eq!(guild.out(), [Out::Op4(Some(HOME)), Out::Op4(None), Out::Op4(Some(HOME))]);
        guild.state(None);
        guild.state(Some(HOME));
        guild.server("a");
        assert_eq!(guild.out(), [Out::Connect("a", HOME)]);
    }
}

#[test]
fn an_unusable_endpoint_is_named() {
    let mut guild = Guild::new();
    guild.state(Some(HOME));
    guild.server("a/b");
    guild.state(None);
    assert_eq!(guild.ended(), EndReason::Endpoint(EndpointError::NotAnAddress));
}
