//! `record`: what is heard in a call, into files.

use std::{pin::pin, time::Duration};

use discord_voice::{Advice, CallStats, EndReason, Playback};

use crate::{
    args::RecordArgs,
    ear::{Ear, Heard, Lingering},
    embedded::Embedded,
    error::Error,
    play::{DEMO_NAME, demo},
    process,
    recorder::Reservation,
    summary::{E2eeSummary, Summary},
    target::{Call, Target},
    terminal,
};

pub(crate) async fn run(args: RecordArgs) -> Result<(), Error> {
    let RecordArgs { out, seconds, json, target } = args;
    let target = Target::from(target);
    let out_name = out.path().display().to_string();
    let recording = out.reserve()?;
    let (heard, stats, e2ee) = match target {
        Target::Embedded { timeout } => record_demo(recording, &out_name, seconds, timeout).await?,
        Target::Others(others) => {
            let mut call = others.join().await?;
            let asked_to_stop = process::asked_to_stop();
            let ear = Ear::open(&call.client, Some(recording.begin()?), None);
            say_recording("what is heard", &out_name);
            let heard = listen(&mut call, ear, asked_to_stop, seconds, None).await;
            let stats = call.client.fresh_stats().await;
            let e2ee = E2eeSummary::new(&call.client, &stats, &stats.media.received.e2ee);
            call.leave().await;
            (heard?, stats, e2ee)
        }
    };
    let ended = heard.ended.clone();
    let lost = heard.lost;
    let mut heard = heard;
    let broken = heard.broken.take();
    Summary::new("record", &stats, e2ee, heard, lost).print(json);
    if let Some(error) = broken {
        return Err(error);
    }
    match ended {
        // Taken out of the channel: a usual end of a recording.
        None | Some(EndReason::Left | EndReason::Disconnected | EndReason::Session { advice: Advice::Wait, .. }) => {
            Ok(())
        }
        Some(reason) => Err(Error::Ended { reason }),
    }
}

/// Records the bundled recording as the listener of an embedded call hears it.
async fn record_demo(
    recording: Reservation,
    out_name: &str,
    seconds: Option<Duration>,
    timeout: Duration,
) -> Result<(Heard, CallStats, E2eeSummary), Error> {
    let demo = demo()?;
    let mut embedded = Embedded::start(timeout).await?;
    let asked_to_stop = process::asked_to_stop();
    say_recording(DEMO_NAME, out_name);
    let ear = Ear::open(&embedded.listener.client, Some(recording.begin()?), None);
    let playback = embedded.player.client.play(demo);
    let heard = listen(&mut embedded.listener, ear, asked_to_stop, seconds, Some(playback)).await;
    let stats = embedded.listener.client.fresh_stats().await;
    let e2ee = E2eeSummary::new(&embedded.listener.client, &stats, &stats.media.received.e2ee);
    embedded.stop().await;
    Ok((heard?, stats, e2ee))
}

/// Listens until Ctrl-C, until the time is over, or until what plays is.
async fn listen(
    call: &mut Call,
    mut ear: Ear,
    asked_to_stop: impl Future<Output = ()>,
    seconds: Option<Duration>,
    playback: Option<Playback>,
) -> Result<Heard, Error> {
    let time_is_over = async {
        match seconds {
            Some(seconds) => tokio::time::sleep(seconds).await,
            None => std::future::pending().await,
        }
    };
    let playback_is_over = async {
        match playback {
            Some(playback) => drop(playback.finished().await),
            None => std::future::pending().await,
        }
    };
    let (mut time_is_over, mut playback_is_over) = (pin!(time_is_over), pin!(playback_is_over));
    let mut asked_to_stop = pin!(asked_to_stop);
    loop {
        tokio::select! {
            () = &mut asked_to_stop => break,
            () = &mut time_is_over => break,
            () = ear.broken() => break,
            () = &mut playback_is_over => {
                return ear.stop(Lingering { quiet: LISTENING_TAIL, longest: LISTENING_TAIL * 4 }).await;
            }
            Some(news) = call.news() => terminal::say(news),
        }
    }
    ear.stop(Lingering::default()).await
}

fn say_recording(what: &str, out_name: &str) {
    terminal::say(format_args!("{:<9} {what} to {out_name}", "recording"));
}

/// How long nothing must be heard for the end to be the end.
pub(crate) const LISTENING_TAIL: Duration = Duration::from_millis(250);
