//! A whole call logged at the finest level shows no secret, the records of `tungstenite` aside: they have whole
//! messages, and `SECURITY.md` says to leave them off.

mod common;

use std::{
    io::Write,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use common::{ALICE, BOB, Counted, GUILD, capacity, driver_with, info, join, next_sound, server, within};
use discord_voice::{Config, dave::SigningKey};
use voice_server::{Fault, FaultKind};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Collects what goes to the `log` crate, which `tracing` does not see.
struct Records {
    log: Log,
    /// How many records of `tungstenite` were left out.
    excepted: AtomicUsize,
}

impl log::Log for Records {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target().split("::").next() == Some("tungstenite") {
            self.excepted.fetch_add(1, Ordering::Relaxed);
        } else {
            let line = format!("{} {} {}\n", record.level(), record.target(), record.args());
            self.log.0.lock().expect("no panic").extend_from_slice(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn w16_a_trace_of_a_call_shows_no_token_no_session_id_and_no_signing_key_except_in_records_of_tungstenite() {
    let log = Log::default();
    let records: &Records = Box::leak(Box::new(Records { log: log.clone(), excepted: AtomicUsize::new(0) }));
    log::set_logger(records).expect("the only one of this process");
    log::set_max_level(log::LevelFilter::Trace);
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone()).finish();
    tracing::subscriber::set_global_default(subscriber).expect("the only one of this process");

    let server = server().await;
    let signing_key = SigningKey::generate();
    let mut config = Config::default();
    config.signing_key = Some(signing_key.clone());
    let seen_config = format!("{config:?} {signing_key:?}");
    let driver = driver_with(&server, config);
    let (peer, _peer_events) = join(&server, &common::driver(&server), BOB).await;
    let mut heard = peer.receive(capacity(100));
    let info = info(&server, GUILD, ALICE);
    let (token, session) = (info.token.expose().to_owned(), info.session_id.expose().to_owned());
    let shown = format!("{info:?}");
    let (client, mut events) = within(async { driver.connect(info).await }).await.expect("a call");
    within(client.play(Counted::new(3)).finished()).await;
    assert_eq!(next_sound(&mut heard).await.0, ALICE);
    let code = within(client.verification_code(BOB)).await.expect("Bob is in the group");
    assert_eq!(Some(code), within(peer.verification_code(ALICE)).await);
    server.inject(Fault::all(FaultKind::Reset));
    while !matches!(within(events.next()).await, Some(discord_voice::Event::Resumed)) {}
    let seen = format!("{client:?} {events:?} {driver:?} {:?}", client.fresh_stats().await);
    within(client.leave()).await.expect("left");

    tracing::trace!("the log is written");
    log::trace!("the records are kept");
    let log = String::from_utf8_lossy(&log.0.lock().expect("no panic")).into_owned();
    assert!(log.contains("the log is written") && log.contains("the records are kept"));
    assert!(records.excepted.load(Ordering::Relaxed) > 0, "the exception is needed no more");
    for secret in [&token, &session] {
        for text in [&log, &shown, &seen] {
            assert!(!text.contains(secret.as_str()), "a secret is shown");
        }
    }
    // Keys are arrays of numbers on the wire.
    assert!(!log.contains("secret_key"));
    // The key that signs, in the forms in which bytes are printed. Those of the frames are never values that can be
    // printed; that they were made is known from what was heard.
    let stats = client.stats().dave;
    assert_eq!(stats.welcomes_applied + stats.commits_applied, 1, "{stats:?}");
    let private = signing_key.to_bytes();
    let forms = [
        format!("{:?}", &private[..8]).trim_matches(['[', ']']).to_owned(),
        private[..8].iter().map(|byte| format!("{byte:02x}")).collect::<String>(),
        private[..8].iter().map(|byte| format!("{byte:02X}")).collect::<String>(),
    ];
    for form in &forms {
        for text in [&log, &shown, &seen, &seen_config] {
            assert!(!text.contains(form.as_str()), "the signing key is shown");
        }
    }
}
