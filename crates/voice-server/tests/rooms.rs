//! Who is told what about whom.

mod common;

use common::world::{ALICE, BOB, CAROL, CHANNEL, GUILD, World, identify};
use serde_json::json;
use voice_model::ChannelId;
use voice_server::{Command, CoreConfig, Event};

#[test]
fn a_newcomer_is_told_of_everybody_and_everybody_of_the_newcomer() {
    let mut world = World::new();
    let alice = world.join(ALICE);
    let bob = world.join(BOB);
    world.messages(alice.connection);

    let ticket = world.ticket(CAROL);
    let (carol, _) = world.identified(&ticket);
    let told = world.messages(carol);
    assert_eq!(told[0]["d"], json!({ "user_ids": [ALICE.to_string(), BOB.to_string()] }));
    assert_eq!(told[1]["d"], json!({ "user_id": ALICE.to_string(), "flags": null }));
    assert_eq!(told[2]["d"], json!({ "user_id": ALICE.to_string(), "platform": null }));
    assert_eq!(told[5]["d"], json!({ "speaking": 0, "ssrc": alice.ssrc, "user_id": ALICE.to_string() }));
    assert_eq!(told[6]["d"], json!({ "speaking": 0, "ssrc": bob.ssrc, "user_id": BOB.to_string() }));
    assert_eq!(told[7]["d"], json!({ "any": 100 }));
    let ops: Vec<_> = told.iter().map(|message| message["op"].as_u64().unwrap()).collect();
    assert_eq!(ops, [11, 18, 20, 18, 20, 5, 5, 15]);
    for other in [&alice, &bob] {
        let told = world.messages(other.connection);
        assert_eq!(told[0]["d"], json!({ "user_ids": [CAROL.to_string()] }));
        assert_eq!(told[1]["d"], json!({ "user_id": CAROL.to_string(), "flags": null }));
        assert_eq!(told[2]["d"], json!({ "user_id": CAROL.to_string(), "platform": null }));
        assert_eq!(told.len(), 3);
    }
}

#[test]
fn one_who_has_not_sent_op_5_is_not_told_of() {
    let mut world = World::new();
    world.connected(ALICE);
    let ticket = world.ticket(BOB);
    let (bob, _) = world.identified(&ticket);
    assert!(!world.ops(bob).contains(&5));
}

#[test]
fn a_change_of_mode_is_told_and_a_burst_of_speech_is_not() {
    let mut world = World::new();
    let alice = world.connected(ALICE);
    let bob = world.join(BOB);
    world.messages(alice.connection);
    let flags = |world: &mut World| {
        let told = world.messages(bob.connection);
        told.iter().filter(|m| m["op"] == 5).map(|m| m["d"]["speaking"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    for (sent, told) in [(0, vec![0]), (1, vec![1]), (0, vec![]), (1, vec![]), (5, vec![5]), (1, vec![1]), (0, vec![])]
    {
        world.send(alice.connection, alice.speaking(sent));
        assert_eq!(flags(&mut world), told, "{sent}");
    }
    assert!(!world.ops(alice.connection).contains(&5), "she is not told of herself");
}

#[test]
fn every_op_5_is_told_when_so_configured() {
    let mut world = World::with(CoreConfig { forward_every_speaking: true, ..CoreConfig::default() });
    let alice = world.join(ALICE);
    let bob = world.join(BOB);
    world.messages(bob.connection);
    for flags in [1, 0, 1, 0] {
        world.send(alice.connection, alice.speaking(flags));
    }
    assert_eq!(world.ops(bob.connection), [5, 5, 5, 5]);
}

#[test]
fn who_leaves_is_told_to_those_who_stay_and_an_empty_room_is_gone() {
    let mut world = World::new();
    let alice = world.join(ALICE);
    let bob = world.join(BOB);
    world.messages(alice.connection);
    world.lose(bob.connection, Some(1000));
    let told = world.messages(alice.connection);
    assert_eq!(told.len(), 1);
    assert_eq!((&told[0]["op"], &told[0]["d"]), (&json!(13), &json!({ "user_id": BOB.to_string() })));
    world.lose(alice.connection, Some(1000));
    assert_eq!((world.core.stats().rooms, world.core.stats().sessions), (0, 0));
    assert!(world.events.contains(&Event::Left { guild: GUILD, channel: CHANNEL, user: BOB }));
}

#[test]
fn another_channel_of_the_guild_is_another_room() {
    let mut world = World::new();
    let alice = world.join(ALICE);
    world.messages(alice.connection);
    let ticket = world.core.issue(GUILD, ChannelId::new(21), BOB);
    let (bob, _) = world.identified(&ticket);
    assert_eq!(world.ops(bob), [15]);
    assert!(world.messages(alice.connection).is_empty());
    assert_eq!(world.core.stats().rooms, 2);
}

#[test]
fn a_new_ticket_replaces_the_session_of_the_old_one() {
    let mut world = World::new();
    let alice = world.join(ALICE);
    let bob = world.join(BOB);
    world.messages(alice.connection);
    let ticket = world.ticket(BOB);
    let (again, ssrc) = world.identified(&ticket);
    assert_eq!(world.closed(bob.connection), Some(4014));
    assert_ne!(ssrc, bob.ssrc);
    assert_eq!(world.ops(alice.connection), [13, 11, 18, 20]);
    // What the old socket does now is nobody's.
    world.lose(bob.connection, Some(1000));
    assert_eq!((world.core.stats().sessions, world.closed(again)), (2, None));
}

#[test]
fn ssrcs_follow_each_other_and_are_never_shared() {
    let mut world = World::with(CoreConfig { first_ssrc: Some(u32::MAX - 3), ssrc_step: 3, ..CoreConfig::default() });
    let mut ssrcs = Vec::new();
    for user in 1..=4 {
        let ticket = world.ticket(voice_model::UserId::new(user));
        ssrcs.push(world.identified(&ticket).1);
    }
    assert_eq!(ssrcs, [u32::MAX - 3, u32::MAX, 2, 5]);
}

#[test]
fn a_moved_or_removed_user_without_a_main_gateway_is_closed_with_4014() {
    let mut world = World::new();
    let alice = world.join(ALICE);
    world.command(Command::Move { guild: GUILD, user: ALICE, channel: ChannelId::new(21) });
    assert_eq!(world.closed(alice.connection), Some(4014));

    let bob = world.join(BOB);
    world.command(Command::Disconnect { guild: GUILD, user: BOB });
    assert_eq!(world.closed(bob.connection), Some(4014));
    let connection = world.open("/?v=8");
    world.send(connection, identify(&bob.ticket));
    assert_eq!(world.closed(connection), Some(4004), "his ticket is gone too");
}
