//! No token, session id or key is ever printed.

mod common;

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use common::world::{ALICE, BOB, World, resume};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps everything that is logged, at every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        attributes.record(&mut Fields(&mut self.0.lock().unwrap()));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut Fields(&mut self.0.lock().unwrap()));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Fields(&mut self.0.lock().unwrap()));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        writeln!(self.0, "{field}={value:?}").unwrap();
    }
}

#[test]
fn nothing_secret_is_logged_or_printed() {
    let log = Log::default();
    let (secrets, printed) = tracing::subscriber::with_default(log.clone(), || {
        let mut world = World::new();
        let mut alice = world.join(ALICE);
        let bob = world.join(BOB);
        world.frame(&mut alice, b"frame");
        world.raw(alice.connection, "nonsense");
        world.lose(bob.connection, None);
        let again = world.open("/?v=8");
        world.send(again, resume(&bob.ticket, -1));
        let description = alice.messages.iter().find(|m| m["op"] == 4).unwrap();
        let key: Vec<u8> = serde_json::from_value(description["d"]["secret_key"].clone()).unwrap();
        let secrets = vec![
            alice.ticket.token.expose().to_owned(),
            alice.ticket.session_id.expose().to_owned(),
            bob.ticket.token.expose().to_owned(),
            format!("{key:?}"),
        ];
        let printed: [&dyn Debug; 3] = [&world.core, &alice.ticket, &world.events];
        (secrets, format!("{printed:?}"))
    });
    let log = log.0.lock().unwrap();
    assert!(log.contains("4002"), "the close is logged: {log}");
    for secret in secrets {
        assert!(!log.contains(&secret) && !printed.contains(&secret), "{secret}");
    }
}

#[cfg(feature = "tokio")]
#[test]
fn a_seed_is_not_printed() {
    let config = voice_server::ServerConfig { seed: Some([207; 32]), ..Default::default() };
    assert!(!format!("{config:?}").contains("207, 207"));
}
