//! The kinds of message on the voice gateway.

use core::fmt;

macro_rules! opcodes {
    ($($(#[$doc:meta])* $name:ident = $code:literal,)*) => {
        /// The kind of a message on the voice gateway.
        ///
        /// A number without a name is a value, not an error: the service adds opcodes without a
        /// new gateway version (Discord docs, Voice Opcodes; those marked "community" are only in
        /// community documentation).
        ///
        /// ```
        /// use voice_model::Opcode;
        ///
        /// assert_eq!(Opcode::from(5), Opcode::Speaking);
        /// assert_eq!(Opcode::from(99), Opcode::Unknown(99));
        /// assert_eq!(Opcode::from(99).code(), 99);
        /// assert!(Opcode::MlsWelcome.is_binary());
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Opcode {
            $($(#[$doc])* $name,)*
            /// A number that has no name here.
            ///
            /// Made by `Opcode::from`, it never holds the number of a named opcode.
            Unknown(u64),
        }

        impl Opcode {
            /// Every named opcode, in the order of their numbers.
            pub const NAMED: &[Self] = &[$(Self::$name),*];

            /// The number on the wire.
            #[must_use]
            pub const fn code(self) -> u64 {
                match self {
                    $(Self::$name => $code,)*
                    Self::Unknown(code) => code,
                }
            }

            /// The name, when the number has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(stringify!($name)),)*
                    Self::Unknown(_) => None,
                }
            }
        }

        impl From<u64> for Opcode {
            fn from(code: u64) -> Self {
                match code {
                    $($code => Self::$name,)*
                    _ => Self::Unknown(code),
                }
            }
        }
    };
}

opcodes! {
    /// Client: begin a session.
    Identify = 0,
    /// Client: choose the transport and its mode.
    SelectProtocol = 1,
    /// Server: the identified session, with the UDP address and our SSRC.
    Ready = 2,
    /// Client: keep the connection alive; a server may ask for one with it (community).
    Heartbeat = 3,
    /// Server: the transport key.
    SessionDescription = 4,
    /// Both: who speaks, and with which SSRC.
    Speaking = 5,
    /// Server: answer to a heartbeat.
    HeartbeatAck = 6,
    /// Client: continue a session on a new connection.
    Resume = 7,
    /// Server: first message of a connection, with the heartbeat interval.
    Hello = 8,
    /// Server: the session continues.
    Resumed = 9,
    /// Not used any more (community).
    Signal = 10,
    /// Server: users who are in the call or joined it.
    ClientsConnect = 11,
    /// Both: video streams and their SSRCs (community).
    Video = 12,
    /// Server: a user left the call.
    ClientDisconnect = 13,
    /// Both: codecs changed (community).
    SessionUpdate = 14,
    /// Both: wanted quality per SSRC (community).
    MediaSinkWants = 15,
    /// Both: version of the voice server (community).
    VoiceBackendVersion = 16,
    /// Not used any more (community).
    ChannelOptionsUpdate = 17,
    /// Server: settings of a user (community).
    ClientFlags = 18,
    /// Not used any more (community).
    SpeedTest = 19,
    /// Server: kind of device of a user (community).
    ClientPlatform = 20,
    /// Server: a change of the end-to-end protocol is coming.
    DavePrepareTransition = 21,
    /// Server: the announced change takes place.
    DaveExecuteTransition = 22,
    /// Client: ready for the announced change.
    DaveTransitionReady = 23,
    /// Server: a new epoch or group is coming.
    DavePrepareEpoch = 24,
    /// Server, binary: credential of the external sender of the MLS group.
    MlsExternalSender = 25,
    /// Client, binary: our MLS key package.
    MlsKeyPackage = 26,
    /// Server, binary: MLS proposals.
    MlsProposals = 27,
    /// Client, binary: MLS commit, and a welcome where somebody is added.
    MlsCommitWelcome = 28,
    /// Server, binary: the commit that was chosen.
    MlsAnnounceCommitTransition = 29,
    /// Server, binary: MLS welcome for us.
    MlsWelcome = 30,
    /// Client: the commit or the welcome could not be processed.
    MlsInvalidCommitWelcome = 31,
    /// Client: the transport could not be set up (community).
    NoRoute = 32,
}

impl Opcode {
    /// Whether messages of this kind are binary WebSocket frames; all others are text.
    #[must_use]
    pub const fn is_binary(self) -> bool {
        matches!(
            self,
            Self::MlsExternalSender
                | Self::MlsKeyPackage
                | Self::MlsProposals
                | Self::MlsCommitWelcome
                | Self::MlsAnnounceCommitTransition
                | Self::MlsWelcome
        )
    }
}

impl fmt::Display for Opcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name})", self.code()),
            None => write!(f, "{}", self.code()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_0_to_32_are_named_without_a_gap() {
        assert_eq!(Opcode::NAMED.len(), 33);
        for (code, opcode) in (0u64..).zip(Opcode::NAMED) {
            assert_eq!(opcode.code(), code);
            assert_eq!(Opcode::from(code), *opcode);
            assert!(opcode.name().is_some());
        }
    }

    #[test]
    fn other_numbers_are_kept() {
        for code in [33, 255, 256, u64::MAX] {
            assert_eq!(Opcode::from(code), Opcode::Unknown(code));
            assert_eq!(Opcode::Unknown(code).code(), code);
        }
    }

    #[test]
    fn binary_are_25_to_30() {
        for code in 0..64 {
            assert_eq!(Opcode::from(code).is_binary(), (25..=30).contains(&code), "{code}");
        }
    }

    #[test]
    fn display_has_number_and_name() {
        assert_eq!(Opcode::MlsWelcome.to_string(), "30 (MlsWelcome)");
        assert_eq!(Opcode::Unknown(77).to_string(), "77");
    }
}
