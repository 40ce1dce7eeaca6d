//! What the elements of Discord's extensions say.

use core::fmt;
use core::time::Duration;

/// How loud a packet is, as its sender measured it: element 1.
///
/// RFC 6464, section 3.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct AudioLevel(u8);

impl AudioLevel {
    /// What official clients send with silence: voice activity set, level 127.
    pub const SILENCE: Self = Self(0xFF);

    /// Makes the level of `minus_dbov` decibels below overload, of which the low seven bits count.
    #[must_use]
    pub const fn new(voice_activity: bool, minus_dbov: u8) -> Self {
        Self((voice_activity as u8) << 7 | (minus_dbov & 0x7F))
    }

    /// Reads the level from its byte on the wire.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    /// Returns the byte on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self.0
    }

    /// Says whether the sender's detector heard a voice.
    #[must_use]
    pub const fn voice_activity(self) -> bool {
        self.0 & 0x80 != 0
    }

    /// Returns the level in decibels below overload: 0 is the loudest, 127 digital silence.
    #[must_use]
    pub const fn minus_dbov(self) -> u8 {
        self.0 & 0x7F
    }
}

impl fmt::Debug for AudioLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioLevel")
            .field("voice_activity", &self.voice_activity())
            .field("minus_dbov", &self.minus_dbov())
            .finish()
    }
}

/// In which way the sender of a packet speaks: element 9.
///
/// The bits are those of the gateway's speaking flags, in another order.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct SpeakerFlags(u8);

impl SpeakerFlags {
    /// Not speaking: what accompanies silence.
    pub const NONE: Self = Self(0);
    /// Speaking with priority.
    pub const PRIORITY: Self = Self(1);
    /// Speaking into a microphone.
    pub const VOICE: Self = Self(2);
    /// Sharing the sound of a screen.
    pub const SOUNDSHARE: Self = Self(4);

    /// Converts the gateway's speaking flags: 1 microphone, 2 soundshare, 4 priority.
    #[must_use]
    pub const fn from_gateway(flags: u8) -> Self {
        Self(((flags & 3) << 1) | ((flags & 4) >> 2))
    }

    /// Converts to the gateway's speaking flags: 1 microphone, 2 soundshare, 4 priority.
    ///
    /// A packet was sent, so somebody speaks: no flag at all means microphone, and so does priority
    /// alone. `None` stands for a packet without this element.
    #[must_use]
    pub const fn to_gateway(flags: Option<Self>) -> u8 {
        let byte = match flags {
            Some(Self(byte)) => byte & 7,
            None => 0,
        };
        let flags = ((byte & 6) >> 1) | ((byte & 1) << 2);
        if flags == 0 || flags & 4 != 0 { flags | 1 } else { flags }
    }

    /// Reads the flags from their byte on the wire.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    /// Returns the byte on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self.0
    }

    /// Says whether the sender speaks with priority.
    #[must_use]
    pub const fn priority(self) -> bool {
        self.0 & Self::PRIORITY.0 != 0
    }

    /// Says whether the sender speaks into a microphone.
    #[must_use]
    pub const fn voice(self) -> bool {
        self.0 & Self::VOICE.0 != 0
    }

    /// Says whether the sender shares the sound of a screen.
    #[must_use]
    pub const fn soundshare(self) -> bool {
        self.0 & Self::SOUNDSHARE.0 != 0
    }
}

impl fmt::Debug for SpeakerFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpeakerFlags({:#05b})", self.0)
    }
}

/// When a packet left its sender, modulo 64 seconds: element 3.
///
/// 24 bits of seconds, 18 of them behind the point. WebRTC, "RTP Header Extension for Absolute Sender
/// Time".
///
/// ```
/// use std::time::Duration;
/// use voice_rtp::extension::AbsoluteSendTime;
///
/// let sent = AbsoluteSendTime::from_duration(Duration::from_millis(64_500));
/// assert_eq!(sent.to_duration(), Duration::from_millis(500));
/// let earlier = AbsoluteSendTime::from_duration(Duration::from_millis(63_500));
/// assert_eq!(sent.distance(earlier), 1 << 18); // one second
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct AbsoluteSendTime(u32);

impl AbsoluteSendTime {
    /// Makes the time of `units` of 2^-18 seconds, modulo 2^24.
    #[must_use]
    pub const fn new(units: u32) -> Self {
        Self(units & 0xFF_FFFF)
    }

    /// Makes the time that a clock shows `since_epoch`, whatever its epoch.
    #[must_use]
    pub const fn from_duration(since_epoch: Duration) -> Self {
        let seconds = (since_epoch.as_secs() & 0x3F) as u32;
        let fraction = ((since_epoch.subsec_nanos() as u64) << 18) / 1_000_000_000;
        Self(seconds << 18 | fraction as u32)
    }

    /// Reads the time from its bytes on the wire.
    #[must_use]
    pub const fn from_bytes([high, middle, low]: [u8; 3]) -> Self {
        Self(u32::from_be_bytes([0, high, middle, low]))
    }

    /// Returns the bytes on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 3] {
        let [_, high, middle, low] = self.0.to_be_bytes();
        [high, middle, low]
    }

    /// Returns the time in units of 2^-18 seconds, below 2^24.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }

    /// Returns the time, below 64 seconds.
    #[must_use]
    pub const fn to_duration(self) -> Duration {
        Duration::from_nanos((self.0 as u64 * 1_000_000_000) >> 18)
    }

    /// Returns how long `self` is after `earlier`, in units of 2^-18 seconds; negative when before.
    ///
    /// The shorter way around the circle counts. Exactly half way is -2^23.
    #[must_use]
    pub const fn distance(self, earlier: Self) -> i32 {
        // The sign of the 24 bits is extended by shifting up and down again.
        (self.0.wrapping_sub(earlier.0) << 8).cast_signed() >> 8
    }
}

/// How long a packet waited between its capture and its sending: element 2.
///
/// RFC 5450, section 3.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct TransmissionOffset(i32);

impl TransmissionOffset {
    /// Makes the offset of `ticks` of the media clock; what does not fit 24 bits becomes the nearest
    /// that does.
    #[must_use]
    pub const fn new(ticks: i32) -> Self {
        Self(match ticks {
            ..=-0x80_0000 => -0x80_0000,
            0x7F_FFFF.. => 0x7F_FFFF,
            _ => ticks,
        })
    }

    /// Reads the offset from its bytes on the wire.
    #[must_use]
    pub const fn from_bytes([high, middle, low]: [u8; 3]) -> Self {
        // The sign of the 24 bits is extended by shifting down again.
        Self(i32::from_be_bytes([high, middle, low, 0]) >> 8)
    }

    /// Returns the bytes on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 3] {
        let [_, high, middle, low] = self.0.to_be_bytes();
        [high, middle, low]
    }

    /// Returns the offset in ticks of the media clock.
    #[must_use]
    pub const fn ticks(self) -> i32 {
        self.0
    }
}

/// How long a receiver should hold a video frame before it shows it: element 6.
///
/// Two numbers of 12 bits, in units of 10 ms. WebRTC, "Playout Delay".
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct PlayoutDelay {
    min: u16,
    max: u16,
}

impl PlayoutDelay {
    /// Makes the pair of a least and a largest delay, in units of 10 ms, of which the low 12 bits
    /// count.
    #[must_use]
    pub const fn new(min: u16, max: u16) -> Self {
        Self { min: min & 0x0FFF, max: max & 0x0FFF }
    }

    /// Reads both delays from their bytes on the wire.
    #[must_use]
    pub const fn from_bytes([high, middle, low]: [u8; 3]) -> Self {
        Self { min: u16::from_be_bytes([high, middle]) >> 4, max: u16::from_be_bytes([middle & 0x0F, low]) }
    }

    /// Returns the bytes on the wire.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 3] {
        let [_, high, middle, low] = ((self.min as u32) << 12 | self.max as u32).to_be_bytes();
        [high, middle, low]
    }

    /// Returns the least delay, at most 40.95 seconds.
    #[must_use]
    pub const fn min(self) -> Duration {
        Duration::from_millis(self.min as u64 * 10)
    }

    /// Returns the largest delay, at most 40.95 seconds.
    #[must_use]
    pub const fn max(self) -> Duration {
        Duration::from_millis(self.max as u64 * 10)
    }
}

/// How the camera was held: element 4.
///
/// 3GPP TS 26.114, section 7.4.5, "Coordination of Video Orientation".
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct VideoOrientation(u8);

impl VideoOrientation {
    /// Makes an orientation; of `quarter_turns` the low two bits count.
    #[must_use]
    pub const fn new(back_camera: bool, flipped: bool, quarter_turns: u8) -> Self {
        Self((back_camera as u8) << 3 | (flipped as u8) << 2 | (quarter_turns & 3))
    }

    /// Reads the orientation from its byte on the wire.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    /// Returns the byte on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self.0
    }

    /// Says whether the image is of the camera that looks away from its user.
    #[must_use]
    pub const fn back_camera(self) -> bool {
        self.0 & 8 != 0
    }

    /// Says whether the image is to be mirrored left to right.
    #[must_use]
    pub const fn flipped(self) -> bool {
        self.0 & 4 != 0
    }

    /// Returns how far to turn the image clockwise to show it upright: 0, 90, 180 or 270 degrees.
    #[must_use]
    pub const fn clockwise_degrees(self) -> u16 {
        (self.0 & 3) as u16 * 90
    }
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    #[test]
    fn three_byte_values_survive_the_wire() {
        for value in (0..1 << 24).step_by(997).chain([0x7F_FFFF, 0x80_0000, 0xFF_FFFF]) {
            let [_, bytes @ ..] = u32::to_be_bytes(value);
            assert_eq!(AbsoluteSendTime::from_bytes(bytes).to_bytes(), bytes);
            assert_eq!(AbsoluteSendTime::from_bytes(bytes).get(), value);
            assert_eq!(TransmissionOffset::from_bytes(bytes).to_bytes(), bytes);
            assert_eq!(PlayoutDelay::from_bytes(bytes).to_bytes(), bytes);
        }
    }

    #[test]
    fn send_times_wrap_after_64_seconds() {
        let at = |millis| AbsoluteSendTime::from_duration(Duration::from_millis(millis));
        assert_eq!(at(1_500).get(), 3 << 17);
        assert_eq!(at(64_250).to_duration(), Duration::from_millis(250));
        assert_eq!(at(64_000).distance(at(63_750)), 1 << 16);
        assert_eq!(at(63_750).distance(at(64_000)), -(1 << 16));
        assert_eq!(at(32_000).distance(at(0)), -(1 << 23), "half way");
        assert_eq!(AbsoluteSendTime::new(0x0100_0001).get(), 1);
    }

    #[test]
    fn transmission_offsets_are_signed_and_clamped() {
        assert_eq!(TransmissionOffset::from_bytes([0xFF, 0xFF, 0xFE]).ticks(), -2);
        for (ticks, kept) in
            [(-1, -1), (i32::MAX, 0x7F_FFFF), (i32::MIN, -0x80_0000), (0x7F_FFFF, 0x7F_FFFF), (-0x80_0000, -0x80_0000)]
        {
            let offset = TransmissionOffset::new(ticks);
            assert_eq!(offset.ticks(), kept);
            assert_eq!(TransmissionOffset::from_bytes(offset.to_bytes()), offset);
        }
    }

    #[test]
    fn playout_delays_share_the_middle_byte() {
        let delay = PlayoutDelay::from_bytes([0x12, 0x34, 0x56]);
        assert_eq!(delay, PlayoutDelay::new(0x123, 0x456));
        assert_eq!(delay.min(), Duration::from_millis(0x123 * 10));
        assert_eq!(delay.max(), Duration::from_millis(0x456 * 10));
        assert_eq!(PlayoutDelay::new(0xF001, 0xFFFF), PlayoutDelay::new(1, 0xFFF));
    }

    #[test]
    fn every_orientation_is_read_and_written() {
        for byte in 0..16 {
            let read = VideoOrientation::from_byte(byte);
            assert_eq!(read.to_byte(), byte);
            let turns = (read.clockwise_degrees() / 90) as u8;
            assert_eq!(VideoOrientation::new(read.back_camera(), read.flipped(), turns), read);
        }
        assert_eq!(VideoOrientation::from_byte(3).clockwise_degrees(), 270);
        assert!(VideoOrientation::from_byte(8).back_camera());
        assert!(VideoOrientation::from_byte(4).flipped());
    }

    #[test]
    fn levels_and_flags_print_what_they_mean() {
        assert_eq!(format!("{:?}", AudioLevel::new(true, 5)), "AudioLevel { voice_activity: true, minus_dbov: 5 }");
        assert_eq!(format!("{:?}", SpeakerFlags::VOICE), "SpeakerFlags(0b010)");
        let all = SpeakerFlags::from_byte(7);
        assert!(all.priority() && all.voice() && all.soundshare());
        assert!(!SpeakerFlags::NONE.priority() && !SpeakerFlags::NONE.voice() && !SpeakerFlags::NONE.soundshare());
    }
}
