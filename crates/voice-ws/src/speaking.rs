//! When to tell the server that we speak.

use std::time::{Duration, Instant};

use voice_model::ClientSpeaking;

/// Holds the wish to be shown as speaking and limits how often it is sent.
///
/// Only the newest wish counts. A few messages may go out at once, so that the announcement before the first
/// packet is never late; after that one per 100 ms.
#[derive(Debug, Default)]
pub(crate) struct Speaking {
    wish: Option<ClientSpeaking>,
    pending: bool,
    /// The instant at which the allowance is full again.
    full_at: Option<Instant>,
}

impl Speaking {
    pub(crate) fn wish(&mut self, wish: ClientSpeaking) {
        if self.wish != Some(wish) {
            self.wish = Some(wish);
            self.pending = true;
        }
    }

    /// A new session, in which the own audio may have another SSRC.
    pub(crate) fn restart(&mut self, ssrc: u32) {
        if let Some(wish) = &mut self.wish {
            wish.ssrc = ssrc;
            self.pending = true;
        }
    }

    /// A new socket: the server must be told again, silence too. Nothing acknowledges the message, so the lost
    /// socket may have taken the only one with it, and the server forwards nothing to a client of which it got none.
    pub(crate) fn repeat(&mut self) {
        self.pending |= self.wish.is_some();
    }

    /// The message that may be sent now.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<ClientSpeaking> {
        if !self.pending || self.deadline().is_some_and(|at| now < at) {
            return None;
        }
        self.pending = false;
        self.full_at = Some(self.full_at.map_or(now, |at| at.max(now)) + SPACING);
        self.wish
    }

    /// When the pending message may be sent.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let full_at = self.full_at.filter(|_| self.pending)?;
        full_at.checked_sub(SPACING * (BURST - 1))
    }
}

/// Discord closes sockets that announce speaking too often (4021).
const SPACING: Duration = Duration::from_millis(100);
/// Messages that may go out without a distance between them.
const BURST: u32 = 3;

#[cfg(test)]
mod tests {
    use voice_model::SpeakingFlags;

    use super::*;

    #[test]
    fn newest_wish_is_sent_and_no_more_than_ten_a_second() {
        #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
        let start = Instant::now();
        let mut speaking = Speaking::default();
        let mut sent = Vec::new();
        for ms in 0..1_000u64 {
            let now = start + Duration::from_millis(ms);
            let flags = if ms % 2 == 0 { SpeakingFlags::MICROPHONE } else { SpeakingFlags::NONE };
            speaking.wish(ClientSpeaking { speaking: flags, delay: 0, ssrc: 1 });
            if let Some(message) = speaking.poll(now) {
                assert_eq!(message.speaking, flags);
                sent.push(ms);
            }
        }
        assert_eq!(&sent[..3], &[0, 1, 2], "the first ones go out at once");
        assert!((11..=13).contains(&sent.len()), "{sent:?}");
    }

    #[test]
    fn a_new_socket_is_told_again_what_the_last_one_may_have_lost() {
        #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
        let now = Instant::now();
        let mut speaking = Speaking::default();
        speaking.repeat();
        assert!(speaking.poll(now).is_none(), "nothing was ever wished for");
        for flags in [SpeakingFlags::NONE, SpeakingFlags::MICROPHONE] {
            let later = now + SPACING * BURST * u32::from(flags.contains(SpeakingFlags::MICROPHONE));
            let wish = ClientSpeaking { speaking: flags, delay: 0, ssrc: 1 };
            speaking.wish(wish);
            assert_eq!(speaking.poll(later), Some(wish));
            assert_eq!(speaking.poll(later), None);
            speaking.repeat();
            assert_eq!(speaking.poll(later), Some(wish));
        }
    }
}
