//! The handle of something that is playing.

use std::{fmt, sync::Arc, time::Duration};

use super::client::Commands;
use crate::driver::{ControlCommand, PlaybackEnd, PlaybackShared, PlaybackStatus};

/// Something that was put on to play. Dropping it changes nothing.
#[derive(Clone)]
pub struct Playback {
    pub(super) shared: Arc<PlaybackShared>,
    pub(super) commands: Commands,
}

impl Playback {
    /// Pauses: five frames of silence, then nothing. The position stays.
    pub fn pause(&self) {
        self.command(ControlCommand::Pause(Arc::clone(&self.shared)));
    }

    /// Goes on after a pause.
    pub fn resume(&self) {
        self.command(ControlCommand::Resume(Arc::clone(&self.shared)));
    }

    /// Ends it.
    pub fn stop(&self) {
        self.command(ControlCommand::StopPlaying(Arc::clone(&self.shared)));
    }

    /// How much of it was sent.
    #[must_use]
    pub fn position(&self) -> Duration {
        self.shared.position()
    }

    /// Times at which the source, once there was a first frame, had none ready and silence was sent instead.
    #[must_use]
    pub fn underruns(&self) -> u64 {
        self.shared.underruns()
    }

    /// What it does at the moment.
    #[must_use]
    pub fn status(&self) -> PlaybackStatus {
        self.shared.status()
    }

    /// Waits for its end.
    pub async fn finished(&self) -> PlaybackEnd {
        self.shared.finished().await
    }

    fn command(&self, command: ControlCommand) {
        let _ = self.commands.try_send(command);
    }
}

impl fmt::Debug for Playback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (status, position) = (self.status(), self.position());
        f.debug_struct("Playback").field("status", &status).field("position", &position).finish_non_exhaustive()
    }
}
