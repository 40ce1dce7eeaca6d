//! The JSON of users and guilds, complete enough for the models of bot libraries.

use serde_json::{Value, json};
use voice_model::{ChannelId, GuildId, UserId, VoiceState};

use crate::config::GuildConfig;

/// A bot's own user: Discord docs, User Object.
pub(crate) fn user(id: UserId) -> Value {
    json!({
        "id": id.to_string(),
        "username": format!("bot-{id}"),
        "discriminator": "0001",
        "global_name": null,
        "avatar": null,
        "banner": null,
        "accent_color": null,
        "bot": true,
        "system": false,
        "mfa_enabled": false,
        "verified": true,
        "email": null,
        "locale": "en-US",
        "flags": 0,
        "premium_type": 0,
        "public_flags": 0,
    })
}

/// A bot's own application: Discord docs, Application Object.
pub(crate) fn application(id: UserId) -> Value {
    json!({
        "id": id.to_string(),
        "name": format!("bot-{id}"),
        "icon": null,
        "description": "",
        "rpc_origins": [],
        "bot_public": false,
        "bot_require_code_grant": false,
        "owner": user(id),
        "verify_key": "00",
        "team": null,
        "flags": 0,
        "tags": [],
        "redirect_uris": [],
    })
}

/// The data of GUILD_CREATE: Discord docs, Guild Object and Gateway Events, "Guild Create".
pub(crate) fn guild(config: &GuildConfig, me: UserId, voice_states: &[VoiceState]) -> Value {
    let id = config.id.to_string();
    let channels: Vec<Value> =
        (1..).zip(&config.channels).map(|(n, channel)| voice_channel(&id, *channel, n)).collect();
    let mut guild = json!({
        "id": id,
        "name": config.name,
        "icon": null,
        "splash": null,
        "discovery_splash": null,
        "owner_id": me.to_string(),
        "afk_channel_id": null,
        "afk_timeout": 300,
        "verification_level": 0,
        "default_message_notifications": 0,
        "explicit_content_filter": 0,
        "roles": [everyone(&id)],
        "emojis": [],
        "features": [],
        "mfa_level": 0,
        "application_id": null,
        "system_channel_id": null,
        "system_channel_flags": 0,
        "rules_channel_id": null,
        "vanity_url_code": null,
        "description": null,
        "banner": null,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "preferred_locale": "en-US",
        "public_updates_channel_id": null,
        "nsfw_level": 0,
        "premium_progress_bar_enabled": false,
    });
    let event = json!({
        "joined_at": JOINED_AT,
        "large": false,
        "unavailable": false,
        "member_count": 1,
        "members": [member(me)],
        "channels": channels,
        "threads": [],
        "presences": [],
        "stage_instances": [],
        "stickers": [],
        "guild_scheduled_events": [],
        "voice_states": voice_states,
    });
    if let (Value::Object(guild), Value::Object(event)) = (&mut guild, event) {
        guild.extend(event);
    }
    guild
}

/// Discord docs, Channel Object; type 2 is a voice channel of a guild.
fn voice_channel(guild: &str, id: ChannelId, number: u32) -> Value {
    json!({
        "id": id.to_string(),
        "guild_id": guild,
        "type": 2,
        "name": format!("voice-{number}"),
        "position": number,
        "permission_overwrites": [],
        "parent_id": null,
        "nsfw": false,
        "last_message_id": null,
        "rate_limit_per_user": 0,
        "bitrate": 64_000,
        "user_limit": 0,
        "rtc_region": null,
        "flags": 0,
    })
}

/// Discord docs, Guild Member Object.
fn member(id: UserId) -> Value {
    json!({
        "user": user(id),
        "nick": null,
        "avatar": null,
        "roles": [],
        "joined_at": JOINED_AT,
        "premium_since": null,
        "deaf": false,
        "mute": false,
        "flags": 0,
        "pending": false,
        "communication_disabled_until": null,
    })
}

/// A message of somebody who is no bot: Discord docs, Message Object and Gateway Events, "Message Create".
pub(crate) fn message(id: u64, (guild, channel): (GuildId, ChannelId), author: UserId, text: &str) -> Value {
    let (mut member, mut author) = (member(author), user(author));
    if let (Value::Object(member), Value::Object(author)) = (&mut member, &mut author) {
        author.insert("bot".to_owned(), false.into());
        // It is the author.
        member.remove("user");
    }
    json!({
        "id": id.to_string(),
        "channel_id": channel.to_string(),
        "guild_id": guild.to_string(),
        "author": author,
        "member": member,
        "content": text,
        "timestamp": JOINED_AT,
        "edited_timestamp": null,
        "tts": false,
        "mention_everyone": false,
        "mentions": [],
        "mention_roles": [],
        "attachments": [],
        "embeds": [],
        "pinned": false,
        "type": 0,
        "flags": 0,
    })
}

/// The role everybody has, whose id is the guild's: Discord docs, Permissions.
fn everyone(guild: &str) -> Value {
    json!({
        "id": guild,
        "name": "@everyone",
        "color": 0,
        "colors": { "primary_color": 0, "secondary_color": null, "tertiary_color": null },
        "hoist": false,
        "icon": null,
        "unicode_emoji": null,
        "position": 0,
        "permissions": PERMISSIONS.to_string(),
        "managed": false,
        "mentionable": false,
        "flags": 0,
    })
}

/// Any time will do.
const JOINED_AT: &str = "2024-01-01T00:00:00.000000+00:00";

/// View channels, connect, speak, use voice activity: Discord docs, Permissions.
const PERMISSIONS: u64 = 1 << 10 | 1 << 20 | 1 << 21 | 1 << 25;
