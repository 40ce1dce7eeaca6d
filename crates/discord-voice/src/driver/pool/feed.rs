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
    pub(super) running: Arc<Running>,
}

/// Whether a thread of the pool has to be woken, for sources that were put into its queue. Waking is left to who has put
/// them there, for a better moment.
#[derive(Default)]
pub(crate) struct Help(Option<Arc<Running>>);

impl Help {
    fn note(&mut self, running: &Arc<Running>) {
        if self.0.is_none() {
            self.0 = Some(Arc::clone(running));
        }
    }

    /// Wakes one, which wakes others if there is enough to do.
    pub(crate) fn call(&mut self) {
        if let Some(running) = self.0.take() {
            running.0.call_help();
        }
    }
}

impl Feed {
    /// Takes the next frame; `false` when it is not there yet. Never waits, locks or allocates. The pool is to be called
    /// soon if `help` says so then.
    pub(crate) fn next_frame(&mut self, out: &mut FrameBuf, help: &mut Help) -> Result<bool, PlaybackEnd> {
        // Asked before the ring is looked at: what was made before the end is then seen below.
        let end = self.job.end();
        let mut head = [0; HEAD_LEN];
        if self.ring.pop_entire_slice(&mut head).is_err() {
            return match end {
                Some(end) => Err(end.clone()),
                None => {
                    self.ask(help);
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
        self.ask(help);
        Ok(true)
    }

    fn ask(&self, help: &mut Help) {
        if self.job.ask(self.taken) {
            help.note(&self.running);
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.job.close();
    }
}
