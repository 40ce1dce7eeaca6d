//! Joins one by one, next to a listener: when the first packet arrives, and whether frames are what they were.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;
use songbird::{CoreEvent, Driver, Event, EventContext, EventHandler};
use tokio::{sync::Notify, time::timeout};
use voice_peers::{
    Error, audio,
    clock::Time,
    report::{Percentiles, Report},
    server::Server,
    system::{self, Status},
};

use crate::{Args, calls, media::Media};

/// Joins one call after the other.
pub(crate) async fn run(args: &Args, server: &Server) -> Result<Report, Error> {
    let media = Media::new(args.mode)?;
    let frames: HashSet<Vec<u8>> = audio::frames()?.into_iter().collect();
    let config = calls::config();
    let (mut connect, mut first, mut joined) = (Vec::new(), Vec::new(), Vec::new());
    let (mut checked, mut unknown) = (0, 0);
    let (cpu, beginning) = (system::cpu_time(), Time::now());
    for call in 0..args.load.calls {
        let heard = Arc::new(Heard::default());
        let mut listener = Driver::new(config.clone());
        listener.add_global_event(CoreEvent::RtpPacket.into(), Listener(Arc::clone(&heard)));
        calls::connect(&mut listener, calls::identity(server, call, 1), call).await?;
        // Who never sent anything is sent nothing.
        listener.play_input(media.input(call));
        tokio::time::sleep(LISTENED).await;

        let joining = Time::now();
        let mut speaker = Driver::new(config.clone());
        calls::connect(&mut speaker, calls::identity(server, call, 0), call).await?;
        let connected = Time::now();
        connect.push(connected.since(joining));
        speaker.play_input(media.input(call));
        timeout(FIRST_WITHIN, heard.first.notified())
            .await
            .map_err(|_| Error::TimedOut { what: "the first packet" })?;
        first.push(heard.first_after(connected));
        joined.push(heard.first_after(joining));
        tokio::time::sleep(LISTENED).await;
        let (known, other) = heard.compare(&frames);
        checked += known;
        unknown += other;
        speaker.leave();
        listener.leave();
    }
    let mut report = Report {
        program: "songbird-load",
        mode: args.mode.name(),
        calls: args.load.calls,
        connect_ms: Percentiles::of_ms(connect),
        first_rtp_ms: Percentiles::of_ms(first),
        threads: Status::now()?.threads,
        ..Report::default()
    };
    report.set_cpu(system::cpu_time() - cpu, args.load.calls, beginning.elapsed());
    let joined = serde_json::to_value(Percentiles::of_ms(joined)).unwrap_or_default();
    let own: [(&str, Value); 3] = [
        ("join_to_first_rtp_ms", joined),
        ("frames_as_they_were", checked.into()),
        ("frames_of_others", unknown.into()),
    ];
    report.own.extend(own.map(|(key, value)| (key.to_owned(), value)));
    Ok(report)
}

/// What a listener heard.
#[derive(Default)]
struct Heard {
    first: Notify,
    what: Mutex<(Option<Time>, Vec<Vec<u8>>)>,
}

impl Heard {
    fn first_after(&self, joining: Time) -> Duration {
        let what = self.what.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        what.0.map_or(Duration::ZERO, |first| first.since(joining))
    }

    /// How many frames were sent as they are, and how many were not.
    fn compare(&self, known: &HashSet<Vec<u8>>) -> (u64, u64) {
        let what = self.what.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let same = what.1.iter().filter(|frame| known.contains(*frame)).count();
        (same as u64, (what.1.len() - same) as u64)
    }
}

struct Listener(Arc<Heard>);

#[async_trait]
impl EventHandler for Listener {
    async fn act(&self, context: &EventContext<'_>) -> Option<Event> {
        if let EventContext::RtpPacket(data) = context {
            let now = Time::now();
            let body = &data.packet[HEADER_LEN..];
            let end = body.len().saturating_sub(data.payload_end_pad);
            let frame = body.get(data.payload_offset..end).unwrap_or_default().to_vec();
            let mut what = self.0.what.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if what.1.len() < MAX_FRAMES {
                what.1.push(frame);
            }
            if what.0.is_none() {
                what.0 = Some(now);
                self.0.first.notify_one();
            }
        }
        None
    }
}

/// How long a first packet may take.
const FIRST_WITHIN: Duration = Duration::from_secs(5);

/// How long each call is listened to.
const LISTENED: Duration = Duration::from_millis(400);

/// Frames that are kept of a call.
const MAX_FRAMES: usize = 100;

/// The length of an RTP header that songbird sends.
const HEADER_LEN: usize = 12;
