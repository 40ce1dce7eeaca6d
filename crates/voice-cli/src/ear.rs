//! Listens to a call: counts, compares, records.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use discord_voice::{EndReason, Receive, Received, VoiceClient};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use crate::{
    comparison::{Comparison, Match},
    error::Error,
    recorder::{Recorded, Recorder},
};

/// What was heard of all others in a call.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Packets that came.
    pub(crate) packets: u64,
    /// Packets that were sent and never came.
    pub(crate) lost: u64,
    /// Frames that came and were dropped because this program was too slow.
    pub(crate) missed: u64,
    /// Frames exactly as the file has them; counted when there is a file to compare with.
    pub(crate) unchanged: u64,
    /// Frames that are not in the file.
    pub(crate) changed: u64,
    /// Why the call ended, if it did.
    pub(crate) ended: Option<EndReason>,
    /// The files written.
    pub(crate) recorded: Vec<Recorded>,
}

/// Somebody who listens until told to stop.
pub(crate) struct Ear {
    stop: oneshot::Sender<Lingering>,
    task: JoinHandle<Result<Heard, Error>>,
}

/// How long to go on listening at the end: until nothing was heard for `quiet`, and no longer than `longest`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Lingering {
    pub(crate) quiet: Duration,
    pub(crate) longest: Duration,
}

impl Ear {
    /// Starts to listen to a call.
    pub(crate) fn open(client: &VoiceClient, recorder: Option<Recorder>, comparison: Option<Arc<Comparison>>) -> Self {
        let (stop, stopped) = oneshot::channel();
        let receive = client.receive(CAPACITY);
        Self { stop, task: tokio::spawn(listen(client.clone(), receive, recorder, comparison, stopped)) }
    }

    /// Waits for an end that nobody asked for: of the call, or because the recording failed.
    pub(crate) async fn broken(&mut self) {
        self.stop.closed().await;
    }

    /// Stops, and says what was heard.
    pub(crate) async fn stop(self, lingering: Lingering) -> Result<Heard, Error> {
        let _ = self.stop.send(lingering);
        match self.task.await {
            Ok(heard) => heard,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

async fn listen(
    client: VoiceClient,
    mut receive: Receive,
    mut recorder: Option<Recorder>,
    comparison: Option<Arc<Comparison>>,
    mut stopped: oneshot::Receiver<Lingering>,
) -> Result<Heard, Error> {
    let mut heard = Heard::default();
    let mut ending: Option<(Duration, Instant)> = None;
    loop {
        let quiet_at = ending.map(|(quiet, latest)| latest.min(Instant::now() + quiet));
        let received = tokio::select! {
            biased;
            lingering = &mut stopped, if ending.is_none() => {
                // A dropped sender wants nothing more either.
                let Lingering { quiet, longest } = lingering.unwrap_or_default();
                ending = Some((quiet, Instant::now() + longest));
                continue;
            }
            () = sleep_until(quiet_at.unwrap_or_else(Instant::now)), if quiet_at.is_some() => break,
            received = receive.next() => received,
        };
        match received {
            Some(Received::Frame { user, timestamp, frame, .. }) => {
                heard.packets += 1;
                match comparison.as_ref().map(|comparison| comparison.heard(frame.as_slice())) {
                    Some(Match::Unchanged) => heard.unchanged += 1,
                    Some(Match::Changed) => heard.changed += 1,
                    Some(Match::Filler) | None => {}
                }
                let written = recorder.as_mut().map(|recorder| recorder.write(user, timestamp.get(), &frame));
                if let Some(Err(error)) = written {
                    // What there is stays playable if it can be; this error is the one to tell.
                    let _ = recorder.map(Recorder::finish);
                    return Err(error);
                }
            }
            Some(Received::Lost { packets, .. }) => heard.lost += packets,
            Some(Received::Lagged { missed }) => heard.missed += missed,
            None => {
                heard.ended = Some(client.ended().await);
                break;
            }
        }
    }
    if let Some(recorder) = recorder {
        heard.recorded = recorder.finish()?;
    }
    Ok(heard)
}

/// Frames that may wait for this program: ten seconds of one speaker.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(512).expect("not zero");
