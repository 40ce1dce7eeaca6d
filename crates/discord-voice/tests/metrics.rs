//! What the exporters of the crate `metrics` get to see.

mod common;

use common::{ALICE, BOB, Counted, capacity, driver, join, next_sound, server, until, within};
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

/// The sum of a counter or a gauge over all its labels, or how many values a histogram has.
fn figure(snapshotter: &Snapshotter, name: &str) -> f64 {
    let of = |value: DebugValue| match value {
        DebugValue::Counter(count) => count as f64,
        DebugValue::Gauge(value) => value.into_inner(),
        DebugValue::Histogram(values) => values.len() as f64,
    };
    let figures = snapshotter.snapshot().into_vec().into_iter();
    figures.filter(|(key, ..)| key.key().name() == name).map(|(.., value)| of(value)).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_and_calls_show_their_figures_to_an_exporter() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    recorder.install().expect("the only one of this program");
    let server = server().await;
    let driver = driver(&server);
    let (listener, _events) = join(&server, &driver, BOB).await;
    let mut heard = listener.receive(capacity(500));
    let (player, _player_events) = join(&server, &driver, ALICE).await;
    player.play(Counted::new(150));
    for _ in 0..150 {
        next_sound(&mut heard).await;
    }
    // Each snapshot takes what was counted since the one before it.
    let (mut sent, mut late) = (0.0, 0.0);
    until("the packets", || {
        sent += figure(&snapshotter, "discord_voice_packets_sent_total");
        sent >= 150.0
    })
    .await;
    player.play(Counted::new(150));
    until("lateness", || {
        late += figure(&snapshotter, "discord_voice_lateness_seconds");
        late >= 1.0
    })
    .await;
    until("the frames that were made ahead", || figure(&snapshotter, "discord_voice_encode_threads") >= 1.0).await;
    within(player.leave()).await.expect("left");
    within(listener.leave()).await.expect("left");
}
