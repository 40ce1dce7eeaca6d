//! The media thread's end of a source that is asked ahead of time.

use std::sync::Arc;

use rtrb::Consumer;
use voice_audio::FrameBuf;

use super::{
    Running,
    job::{HEAD_LEN, Job},
};
use crate::driver::playing::PlaybackEnd;

/// Frames that were made ahead of time. Dropping it gives the source up, without waiting for it.
pub(crate) struct Feed {
    pub(super) ring: Consumer<u8>,
    pub(super) job: Arc<Job>,
    /// Frames taken out of the ring.
    pub(super) taken: u32,
    pub(super) _running: Arc<Running>,
}

impl Feed {
    /// Takes the next frame; `false` when it is not there yet. Never waits, locks or allocates.
    pub(crate) fn next_frame(&mut self, out: &mut FrameBuf) -> Result<bool, PlaybackEnd> {
        // Asked before the ring is looked at: what was made before the end is then seen below.
        let end = self.job.end();
        let mut head = [0; HEAD_LEN];
        if self.ring.pop_entire_slice(&mut head).is_err() {
            return match end {
                Some(end) => Err(end.clone()),
                None => {
                    self.job.ask(self.taken);
                    Ok(false)
                }
            };
        }
        let len = usize::from(u16::from_le_bytes(head));
        // Head and frame are put into the ring as one, by a worker that has checked the length.
        if let Some(frame) = out.buffer_mut().get_mut(..len) {
            let _ = self.ring.pop_entire_slice(frame);
        }
        let _ = out.set_len(len);
        self.taken = self.taken.wrapping_add(1);
        self.job.ask(self.taken);
        Ok(true)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.job.close();
    }
}
