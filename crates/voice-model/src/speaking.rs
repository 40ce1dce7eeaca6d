//! The flags of opcode 5.

use core::{
    fmt,
    ops::{BitAnd, BitOr, BitOrAssign, Not},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a user speaks: the bit mask of opcode 5 (Discord docs, Voice Connections, "Speaking").
///
/// Bits without a name are kept up to the eighth and dropped above it.
///
/// ```
/// use voice_model::SpeakingFlags;
///
/// let flags = SpeakingFlags::MICROPHONE | SpeakingFlags::PRIORITY;
/// assert_eq!(flags.bits(), 5);
/// assert!(flags.contains(SpeakingFlags::MICROPHONE));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct SpeakingFlags(u8);

impl SpeakingFlags {
    /// Not speaking.
    pub const NONE: Self = Self(0);
    /// Normal transmission of voice.
    pub const MICROPHONE: Self = Self(1);
    /// Sound of a screen share: no speaking indicator.
    pub const SOUNDSHARE: Self = Self(2);
    /// Priority speaker: others become quieter; needs the permission of that name.
    pub const PRIORITY: Self = Self(4);

    /// Makes flags of their bits.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether all flags of `other` are set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no flag is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl BitOr for SpeakingFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for SpeakingFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl BitAnd for SpeakingFlags {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for SpeakingFlags {
    type Output = Self;

    fn not(self) -> Self {
        Self(!self.0)
    }
}

impl fmt::Debug for SpeakingFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpeakingFlags({:#05b})", self.0)
    }
}

impl Serialize for SpeakingFlags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(self.0)
    }
}

impl<'de> Deserialize<'de> for SpeakingFlags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Unknown flag bits are no error, however high they are.
        u64::deserialize(deserializer).map(|bits| Self((bits & 0xFF) as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_combine_and_are_told_apart() {
        let mut flags = SpeakingFlags::MICROPHONE;
        flags |= SpeakingFlags::PRIORITY;
        assert!(flags.contains(SpeakingFlags::MICROPHONE | SpeakingFlags::PRIORITY));
        assert!(!flags.contains(SpeakingFlags::SOUNDSHARE));
        assert_eq!(flags & !SpeakingFlags::MICROPHONE, SpeakingFlags::PRIORITY);
        assert!(SpeakingFlags::NONE.is_empty() && !flags.is_empty());
        assert_eq!(format!("{flags:?}"), "SpeakingFlags(0b101)");
    }

    #[test]
    fn unknown_bits_are_no_error() {
        assert_eq!(serde_json::from_str::<SpeakingFlags>("9").unwrap().bits(), 9);
        assert_eq!(serde_json::from_str::<SpeakingFlags>("257").unwrap(), SpeakingFlags::MICROPHONE);
        assert!(serde_json::from_str::<SpeakingFlags>("-1").is_err());
        assert!(serde_json::from_str::<SpeakingFlags>("true").is_err());
    }
}
