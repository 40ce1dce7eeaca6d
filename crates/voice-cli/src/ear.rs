//! Listens to a call: counts, compares, records.

use std::{future::Future, num::NonZeroUsize, sync::Arc, time::Duration};

use discord_voice::{EndReason, Receive, Received, VoiceClient};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use voice_audio::record::Stamp;

use crate::{
    comparison::{Comparison, Match},
    error::Error,
    recorder::{Recorded, Recorder, Recording},
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
    /// Why one of them could not be written.
    pub(crate) broken: Option<Error>,
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

/// When to stop listening.
struct End {
    stopped: oneshot::Receiver<Lingering>,
    /// How long it has to be quiet, and the latest moment; once it was asked for.
    ending: Option<(Duration, Instant)>,
    /// What may still come after that moment: it waits already.
    left: usize,
}

impl End {
    const fn new(stopped: oneshot::Receiver<Lingering>) -> Self {
        Self { stopped, ending: None, left: CAPACITY.get() }
    }

    /// What is heard next, if there is something to wait for still. What waits already when it is time to stop was heard
    /// before that, and comes first.
    async fn wait_for<T>(&mut self, next: impl Future<Output = T>) -> Option<T> {
        let mut next = std::pin::pin!(next);
        if self.ending.is_none() {
            let lingering = tokio::select! {
                biased;
                lingering = &mut self.stopped => lingering,
                heard = &mut next => return Some(heard),
            };
            // A dropped sender wants nothing more either.
            let Lingering { quiet, longest } = lingering.unwrap_or_default();
            self.ending = Some((quiet, Instant::now() + longest));
        }
        let (quiet, latest) = self.ending?;
        let now = Instant::now();
        if now >= latest {
            self.left = self.left.checked_sub(1)?;
        }
        tokio::select! {
            biased;
            heard = &mut next => Some(heard),
            () = sleep_until(latest.min(now + quiet)) => None,
        }
    }
}

async fn listen(
    client: VoiceClient,
    mut receive: Receive,
    mut recorder: Option<Recorder>,
    comparison: Option<Arc<Comparison>>,
    stopped: oneshot::Receiver<Lingering>,
) -> Result<Heard, Error> {
    let mut heard = Heard::default();
    let begun = Instant::now();
    let mut end = End::new(stopped);
    while let Some(received) = end.wait_for(receive.next()).await {
        match received {
            Some(Received::Frame { user, ssrc, timestamp, frame }) => {
                heard.packets += 1;
                match comparison.as_ref().map(|comparison| comparison.heard(frame.as_slice())) {
                    Some(Match::Unchanged) => heard.unchanged += 1,
                    Some(Match::Changed) => heard.changed += 1,
                    Some(Match::Filler) | None => {}
                }
                let stamp = Stamp { stream: ssrc.get(), timestamp: timestamp.get(), arrived: begun.elapsed() };
                if recorder.as_mut().is_some_and(|recorder| !recorder.write(user, stamp, frame)) {
                    break;
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
        // It waits for the disk.
        let finished = tokio::task::spawn_blocking(move || recorder.finish()).await;
        let Recording { files, dropped, error } =
            finished.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        heard.recorded = files;
        heard.missed += dropped;
        heard.broken = error;
    }
    Ok(heard)
}

/// Frames that may wait for this program: ten seconds of one speaker.
const CAPACITY: NonZeroUsize = NonZeroUsize::new(512).expect("not zero");

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_waits_when_it_is_time_to_stop_is_heard() {
        let (frames, mut heard) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel();
        let mut end = End::new(stopped);
        for frame in 0..CAPACITY.get() {
            frames.send(frame).expect("it is read");
        }
        stop.send(Lingering::default()).expect("it is waited for");
        for frame in 0..CAPACITY.get() {
            assert_eq!(end.wait_for(heard.recv()).await, Some(Some(frame)));
        }
        assert_eq!(end.wait_for(heard.recv()).await, None);
    }

    #[tokio::test]
    async fn who_goes_on_talking_does_not_keep_the_ear_open() {
        let (stop, stopped) = oneshot::channel();
        let mut end = End::new(stopped);
        stop.send(Lingering::default()).expect("it is waited for");
        let mut heard = 0;
        while end.wait_for(std::future::ready(())).await.is_some() {
            heard += 1;
        }
        assert_eq!(heard, CAPACITY.get());
    }

    #[tokio::test(start_paused = true)]
    async fn lingering_ends_with_the_quiet_or_at_the_latest_moment() {
        let lingering = Lingering { quiet: Duration::from_millis(250), longest: Duration::from_secs(1) };
        for (pause, until) in [(400, 250), (100, 1_000)] {
            let (stop, stopped) = oneshot::channel();
            let mut end = End::new(stopped);
            stop.send(lingering).expect("it is waited for");
            let start = Instant::now();
            while end.wait_for(tokio::time::sleep(Duration::from_millis(pause))).await.is_some() {}
            assert_eq!(start.elapsed(), Duration::from_millis(until), "a frame every {pause} ms");
        }
    }
}
