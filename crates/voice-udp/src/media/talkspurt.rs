//! The end of a talk spurt: five frames of silence, so that receivers do not interpolate.

/// Decides what a tick without audio sends.
///
/// Discord docs, Voice Connections, "Voice Data Interpolation".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Talkspurt {
    silence_left: u8,
}

impl Talkspurt {
    /// Audio is being sent: the spurt goes on, or one begins.
    pub const fn audio(&mut self) {
        self.silence_left = SILENCE_FRAMES;
    }

    /// There was no audio for a tick: whether it sends a frame of silence.
    pub const fn silence(&mut self) -> bool {
        let due = self.silence_left > 0;
        self.silence_left = self.silence_left.saturating_sub(1);
        due
    }

    /// Whether frames of silence are still to be sent.
    #[must_use]
    pub const fn is_ending(self) -> bool {
        self.silence_left > 0
    }
}

/// How many frames of silence end a talk spurt.
pub const SILENCE_FRAMES: u8 = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_five_frames_end_a_spurt_and_audio_cancels_the_rest() {
        let mut spurt = Talkspurt::default();
        assert!(!spurt.silence(), "nothing to end before the first audio");
        spurt.audio();
        assert!(spurt.silence() && spurt.silence());
        spurt.audio();
        let sent = (0..20).filter(|_| spurt.silence()).count();
        assert_eq!(sent, 5);
        assert!(!spurt.is_ending());
    }
}
