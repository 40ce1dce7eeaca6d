//! Moves, by others and of our own.

use voice_model::{ChannelId, CloseCode};
use voice_ws::Advice;

use super::{AWAY, Guild, HOME, Out};
use crate::signalling::Phase;

#[test]
fn a_moderators_move_is_followed_in_either_order() {
    let mut guild = Guild::connected();
    guild.state(Some(AWAY));
    guild.server("b");
    assert_eq!(guild.out(), [Out::Moved(AWAY), Out::ServerChanged, Out::Connect("b", AWAY)]);
    // The server first: the group that is looked for there is the channel's, so it is connected to once more.
    guild.server("c");
    guild.pass(1);
    guild.state(Some(HOME));
    let twice = [Out::ServerChanged, Out::Connect("c", AWAY), Out::Moved(HOME), Out::Connect("c", HOME)];
    assert_eq!(guild.out(), twice);
    assert_eq!(guild.signalling.wish.channel_id, Some(HOME), "a rejoin would go there");
}

#[test]
fn the_same_endpoint_with_a_new_token_is_a_new_connection() {
    let mut guild = Guild::connected();
    guild.server_with(Some("a"), "new");
    assert_eq!(guild.out(), [Out::ServerChanged, Out::Connect("a", HOME)]);
    guild.server_with(Some("a"), "new");
    assert_eq!(guild.out(), []);
}

#[test]
fn a_move_of_our_own_is_followed_and_one_that_fails_is_told() {
    let mut guild = Guild::connected();
    guild.signalling.move_to(guild.now, AWAY);
    guild.state(Some(AWAY));
    guild.server("b");
    let followed = [Out::Moved(AWAY), Out::ServerChanged, Out::Connect("b", AWAY)];
    assert_eq!(guild.out(), [[Out::Op4(Some(AWAY))].as_slice(), &followed].concat());
    guild.signalling.move_to(guild.now, HOME);
    guild.pass(11);
    assert_eq!(guild.out(), [Out::Op4(Some(HOME)), Out::MoveFailed(HOME)]);
    guild.signalling.move_to(guild.now, AWAY);
    assert_eq!(guild.out(), [], "there already");
}

#[test]
fn a_server_that_is_named_before_the_channel_of_our_own_move_waits_for_it() {
    let mut guild = Guild::connected();
    guild.signalling.move_to(guild.now, AWAY);
    guild.server("b");
    assert_eq!(guild.out(), [Out::Op4(Some(AWAY))], "not with the id of the channel before");
    guild.state(Some(AWAY));
    assert_eq!(guild.out(), [Out::Moved(AWAY), Out::ServerChanged, Out::Connect("b", AWAY)]);
    // A change of server while a move comes to nothing.
    guild.signalling.move_to(guild.now, HOME);
    guild.server("c");
    guild.pass(1);
    assert_eq!(guild.out(), [Out::Op4(Some(HOME))]);
    guild.pass(1);
    assert_eq!(guild.out(), [Out::ServerChanged, Out::Connect("c", AWAY)], "the channel had time to follow");
    guild.pass(9);
    assert_eq!(guild.out(), [Out::MoveFailed(HOME)]);
}

#[test]
fn a_moderators_move_is_followed_at_once_while_our_own_is_unanswered() {
    let elsewhere = ChannelId::new(5);
    for server_first in [false, true] {
        let mut guild = Guild::connected();
        guild.signalling.move_to(guild.now, AWAY);
        guild.pass(1);
        assert_eq!(guild.out(), [Out::Op4(Some(AWAY))]);
        if server_first {
            guild.server("b");
            guild.state(Some(elsewhere));
        } else {
            guild.state(Some(elsewhere));
            guild.server("b");
        }
        assert_eq!(guild.out(), [Out::Moved(elsewhere), Out::ServerChanged, Out::Connect("b", elsewhere)]);
        // And again, and then our own after all.
        guild.server("c");
        assert_eq!(guild.out(), [Out::ServerChanged, Out::Connect("c", elsewhere)]);
        guild.pass(3);
        guild.state(Some(AWAY));
        guild.server("a");
        assert_eq!(guild.out(), [Out::Moved(AWAY), Out::ServerChanged, Out::Connect("a", AWAY)]);
        guild.pass(20);
        assert_eq!(guild.out(), [], "the move was answered");
    }
}

#[test]
fn a_voice_state_that_names_no_other_channel_leaves_a_server_waiting_for_that_of_our_move() {
    let mut guild = Guild::connected();
    guild.signalling.move_to(guild.now, AWAY);
    guild.server("b");
    guild.state(Some(HOME));
    assert_eq!(guild.out(), [Out::Op4(Some(AWAY))]);
    guild.state(Some(AWAY));
    assert_eq!(guild.out(), [Out::Moved(AWAY), Out::ServerChanged, Out::Connect("b", AWAY)]);
}

#[test]
fn a_server_that_waits_is_gone_with_its_endpoint_and_followed_when_the_move_is_taken_back() {
    let mut guild = Guild::connected();
    guild.signalling.move_to(guild.now, AWAY);
    guild.server("b");
    guild.server_with(None, "new");
    assert_eq!(guild.out(), [Out::Op4(Some(AWAY)), Out::Release, Out::ServerLost]);
    guild.pass(5);
    assert_eq!(guild.out(), [], "nothing is left to be followed");
    let mut guild = Guild::connected();
    guild.signalling.move_to(guild.now, AWAY);
    guild.server("b");
    guild.signalling.move_to(guild.now, HOME);
    let back = [Out::Op4(Some(AWAY)), Out::Op4(Some(HOME)), Out::ServerChanged, Out::Connect("b", HOME)];
    assert_eq!(guild.out(), back);
}

#[test]
fn a_join_whose_server_is_that_of_a_move_already_goes_where_the_move_goes() {
    let mut guild = Guild::new();
    guild.state(Some(HOME));
    // A moderator moves the user before the join is answered whole.
    guild.server("b");
    guild.state(Some(AWAY));
    let both = [Out::Op4(Some(HOME)), Out::Connect("b", HOME), Out::Moved(AWAY), Out::Connect("b", AWAY)];
    assert_eq!(guild.out(), both);
}

#[test]
fn a_server_that_ends_before_the_channel_is_known_is_gone_back_to() {
    let mut guild = Guild::connected();
    guild.server("b");
    guild.lost(CloseCode::DISCONNECTED, Advice::Wait);
    guild.pass(1);
    guild.state(Some(AWAY));
    let expected =
        [Out::ServerChanged, Out::Connect("b", HOME), Out::Released, Out::Moved(AWAY), Out::Connect("b", AWAY)];
    assert_eq!(guild.out(), expected);
}

#[test]
fn a_move_can_be_taken_back() {
    let mut guild = Guild::connected();
    guild.signalling.move_to(guild.now, AWAY);
    guild.signalling.move_to(guild.now, HOME);
    assert_eq!(guild.out(), [Out::Op4(Some(AWAY)), Out::Op4(Some(HOME))]);
    guild.pass(11);
    assert_eq!(guild.out(), [], "it is where it was asked to be");
}

#[test]
fn a_move_that_the_main_gateway_does_not_take_fails_at_once() {
    let mut guild = Guild::connected();
    guild.signalling.move_to(guild.now, AWAY);
    guild.signalling.handle_refused(guild.now, "no shard");
    assert_eq!(guild.out(), [Out::Op4(Some(AWAY)), Out::MoveFailed(AWAY)]);
    assert!(matches!(guild.signalling.phase, Phase::Joined));
}
