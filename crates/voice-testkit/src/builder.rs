//! What a world is made with.

use std::{sync::Arc, time::Duration};

use discord_voice::Config;
use voice_server::{CoreConfig, DaveMode};

use crate::{Conditions, Telling, World};

/// Makes a [`World`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    pub(crate) seed: u64,
    pub(crate) conditions: Conditions,
    pub(crate) config: Arc<Config>,
    pub(crate) server: CoreConfig,
    pub(crate) time_limit: Duration,
    pub(crate) steps_per_second: Option<u64>,
    pub(crate) queues_updates: bool,
    pub(crate) telling: Telling,
    pub(crate) busy: Duration,
}

impl Builder {
    pub(crate) fn new() -> Self {
        let mut config = Config::default();
        // The preference depends on the processor, and a seed must replay everywhere.
        config.modes.sort_by_key(|mode| mode.wire_name());
        Self {
            seed: 0,
            conditions: Conditions::default(),
            config: Arc::new(config),
            server: CoreConfig::default(),
            time_limit: Duration::from_secs(60),
            steps_per_second: None,
            queues_updates: false,
            telling: Telling::default(),
            busy: Duration::ZERO,
        }
    }

    /// Draws everything random from this seed: 0.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// How long everything is on its way, in each direction: nothing.
    pub const fn latency(mut self, latency: Duration) -> Self {
        self.conditions.latency = latency;
        self
    }

    /// How much later than that it is at most: nothing.
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.conditions.jitter = jitter;
        self
    }

    /// The chance, 0 to 1, that a datagram is lost: 0.
    pub const fn loss(mut self, chance: f64) -> Self {
        self.conditions.loss = chance;
        self
    }

    /// The chance, 0 to 1, that a datagram comes twice: 0.
    pub const fn duplicate(mut self, chance: f64) -> Self {
        self.conditions.duplicate = chance;
        self
    }

    /// The chance, 0 to 1, that others overtake a datagram: 0.
    pub const fn reorder(mut self, chance: f64) -> Self {
        self.conditions.reorder = chance;
        self
    }

    /// How calls are made: as against the service, with AES-256-GCM first.
    pub fn call(mut self, config: Config) -> Self {
        self.config = Arc::new(config);
        self
    }

    /// How the server behaves: like the service.
    pub fn server(mut self, config: CoreConfig) -> Self {
        self.server = config;
        self
    }

    /// When the server encrypts calls end to end: while all in it offer it.
    pub fn dave(mut self, mode: DaveMode) -> Self {
        self.server.dave.mode = mode;
        self
    }

    /// Whether the server takes a key package that it has seen for a new one, and adds its sender once more.
    pub const fn repeated_packages(mut self, are_taken: bool) -> Self {
        self.server.dave.take_repeated_packages = are_taken;
        self
    }

    /// How long, in virtual time, [`World::run_until`] waits: 60 s.
    pub const fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// How much may happen within one virtual second: 1 000 steps for each pair of clients, which is far more than
    /// all of them speaking at once need.
    pub const fn steps_per_second(mut self, limit: u64) -> Self {
        self.steps_per_second = Some(limit);
        self
    }

    /// Whether what a call wants to tell the main gateway waits while there is no connection to it. It is refused
    /// otherwise, as here unless this is called: libraries do either.
    pub const fn queue_updates(mut self, queue: bool) -> Self {
        self.queues_updates = queue;
        self
    }

    /// What calls are told of the connections to the main gateway, and when: everything, as it happens.
    pub const fn telling(mut self, telling: Telling) -> Self {
        self.telling = telling;
        self
    }

    /// For how long, at most, the server, the control of a call or its media thread does not come round, as on a machine whose
    /// cores are taken: not at all. What each of them is to do keeps its order.
    pub const fn busy(mut self, limit: Duration) -> Self {
        self.busy = limit;
        self
    }

    /// Makes the world, in which nobody is yet.
    #[must_use]
    pub fn build(self) -> World {
        World::new(self)
    }
}
