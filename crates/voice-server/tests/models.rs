//! The main gateway's events are what other people's models read.

mod common;

use common::world::World;
use serde_json::{Value, json};
use twilight_model::gateway::payload::incoming::{GuildCreate, Ready, VoiceServerUpdate, VoiceStateUpdate};
use voice_server::{DEFAULT_CHANNEL, DEFAULT_GUILD};

fn read<T: serde::de::DeserializeOwned>(event: &mut Value) -> T {
    serde_json::from_value(event["d"].take()).unwrap()
}

#[test]
fn twilight_reads_every_event_of_a_login_and_a_join() {
    let mut world = World::new();
    let connection = world.open("/gateway");
    world.send(connection, json!({ "op": 2, "d": { "token": "any", "intents": 129 } }));
    let join = json!({ "op": 4, "d": {
        "guild_id": DEFAULT_GUILD.get(), "channel_id": DEFAULT_CHANNEL.get(), "self_mute": false, "self_deaf": false,
    }});
    world.send(connection, join);
    let mut events = world.messages(connection);

    let ready: Ready = read(&mut events[1]);
    assert!(ready.user.bot);
    let GuildCreate::Available(guild) = read(&mut events[2]) else { panic!("the guild is there") };
    assert_eq!(guild.channels[0].id.get(), DEFAULT_CHANNEL.get());
    assert_eq!(guild.members[0].user.id, ready.user.id);
    let state: VoiceStateUpdate = read(&mut events[3]);
    assert_eq!((state.session_id.as_str(), state.user_id), (ready.session_id.as_str(), ready.user.id));
    let server: VoiceServerUpdate = read(&mut events[4]);
    assert_eq!(server.guild_id.get(), DEFAULT_GUILD.get());
    assert!(server.endpoint.is_some());
}
