//! Payloads about who is in the call: opcodes 11, 13, 18 and 20.

use serde::{Deserialize, Serialize, Serializer};

use crate::{
    UserId,
    field::{Lenient, at_most, lenient},
};

/// Most users that one [`ClientsConnect`] may name; more is a malformed payload.
pub const MAX_USER_IDS: usize = 20_000;

/// Opcode 11: users who are in the call, or joined it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClientsConnect {
    /// The users, at most [`MAX_USER_IDS`].
    #[serde(deserialize_with = "at_most::<MAX_USER_IDS, _, _>")]
    pub user_ids: Vec<UserId>,
}

/// Opcode 13: a user left the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClientDisconnect {
    /// The user.
    pub user_id: UserId,
}

/// Opcode 18: settings of a user (community documentation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClientFlags {
    /// The user.
    pub user_id: UserId,
    /// The bits; bots have none at all.
    #[serde(default, deserialize_with = "lenient")]
    pub flags: Option<u64>,
}

/// Opcode 20: the kind of device of a user (community documentation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClientPlatform {
    /// The user.
    pub user_id: UserId,
    /// The device; bots have none.
    #[serde(default, deserialize_with = "lenient")]
    pub platform: Option<Platform>,
}

/// The kind of device of a user (community documentation).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Platform {
    /// A computer, in the application or a browser.
    Desktop,
    /// A telephone or tablet.
    Mobile,
    /// An Xbox.
    Xbox,
    /// A PlayStation.
    PlayStation,
    /// A number that has no name here.
    ///
    /// Made by `from`, it never holds the number of a named one.
    Unknown(u64),
}

impl ClientFlags {
    /// Bit of [`flags`](Self::flags): the user may make clips.
    pub const CLIPS_ENABLED: u64 = 1;
    /// Bit of [`flags`](Self::flags): the user may be recorded in clips of others.
    pub const ALLOW_VOICE_RECORDING: u64 = 2;
    /// Bit of [`flags`](Self::flags): viewers of the user's stream may make clips of it.
    pub const ALLOW_VIEWER_CLIPS: u64 = 4;
}

impl Platform {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u64 {
        match self {
            Self::Desktop => 0,
            Self::Mobile => 1,
            Self::Xbox => 2,
            Self::PlayStation => 3,
            Self::Unknown(code) => code,
        }
    }
}

impl From<u64> for Platform {
    fn from(code: u64) -> Self {
        match code {
            0 => Self::Desktop,
            1 => Self::Mobile,
            2 => Self::Xbox,
            3 => Self::PlayStation,
            _ => Self::Unknown(code),
        }
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.code())
    }
}

impl Lenient for Platform {
    fn from_unsigned(code: u64) -> Option<Self> {
        Some(code.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Opcode, ServerMessage};

    fn decode(text: &str) -> ServerMessage {
        ServerMessage::decode(text).unwrap().message
    }

    #[test]
    fn user_ids_are_limited() {
        let of = |count: usize| {
            let ids = vec!["1"; count].join(",");
            format!(r#"{{"op":11,"d":{{"user_ids":[{ids}]}},"seq":0}}"#)
        };
        let ServerMessage::ClientsConnect(users) = decode(&of(MAX_USER_IDS)) else { panic!() };
        assert_eq!(users.user_ids.len(), MAX_USER_IDS);
        let error = ServerMessage::decode(&of(MAX_USER_IDS + 1)).unwrap_err();
        assert_eq!((error.opcode(), error.sequence()), (Some(Opcode::ClientsConnect), Some(0)));
    }

    #[test]
    fn platforms_and_flags_without_a_name_are_kept_and_bots_have_none() {
        for (json, expected) in [
            ("0", Some(Platform::Desktop)),
            ("1", Some(Platform::Mobile)),
            ("2", Some(Platform::Xbox)),
            ("3", Some(Platform::PlayStation)),
            ("18446744073709551615", Some(Platform::Unknown(u64::MAX))),
            ("null", None),
        ] {
            let text = format!(r#"{{"op":20,"d":{{"user_id":"1","platform":{json}}}}}"#);
            let message = decode(&text);
            assert_eq!(
                message,
                ServerMessage::ClientPlatform(ClientPlatform { user_id: 1.into(), platform: expected })
            );
            assert_eq!(message.encode(None), text);

            let text = text.replace("\"op\":20", "\"op\":18").replace("platform", "flags");
            let message = decode(&text);
            let flags = expected.map(Platform::code);
            assert_eq!(message, ServerMessage::ClientFlags(ClientFlags { user_id: 1.into(), flags }));
            assert_eq!(message.encode(None), text);
        }
        let odd = decode(r#"{"op":20,"d":{"user_id":1,"platform":"toaster"}}"#);
        assert_eq!(odd, ServerMessage::ClientPlatform(ClientPlatform { user_id: 1.into(), platform: None }));
        let missing = decode(r#"{"op":18,"d":{"user_id":1}}"#);
        assert_eq!(missing, ServerMessage::ClientFlags(ClientFlags { user_id: 1.into(), flags: None }));
        for nobody in [r#"{"op":18,"d":{"flags":1}}"#, r#"{"op":20,"d":[1,0]}"#] {
            assert!(matches!(decode(nobody), ServerMessage::Unknown(_)), "{nobody}");
        }
    }
}
