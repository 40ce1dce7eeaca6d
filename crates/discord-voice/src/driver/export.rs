//! The figures of media threads and calls for the `metrics` facade, where an exporter of the user's choice takes them.

#[cfg(feature = "metrics")]
pub(super) use facade::{CallExport, PoolExport, ShardExport, count_dead_control};
#[cfg(not(feature = "metrics"))]
pub(super) use nothing::{CallExport, PoolExport, ShardExport, count_dead_control};

#[cfg(feature = "metrics")]
mod facade {
    use std::sync::{Arc, Mutex, Weak};

    use metrics::{
        Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    };

    use crate::{EncodeStats, MediaStats, ShardMetrics, driver::pool::Pool};

    /// A control task died.
    pub(in crate::driver) fn count_dead_control() {
        counter!("discord_voice_dead_controls_total").increment(1);
    }

    /// The figures of one thread, labelled with its number.
    #[derive(Clone)]
    pub(in crate::driver) struct ShardExport {
        calls: Gauge,
        playing: Gauge,
        commands_waiting: Gauge,
        cpu: Gauge,
        ticks: Counter,
        skipped_ticks: Counter,
        wakeups: Counter,
        datagrams: Counter,
        moved_away: Counter,
        stalls: Counter,
        lateness: Histogram,
        before: ShardMetrics,
        totals: Arc<[Counter; TOTALS.len()]>,
        pool: PoolExport,
    }

    /// The figures of the pool that asks sources for frames, of which any media thread tells.
    #[derive(Clone)]
    pub(in crate::driver) struct PoolExport(Arc<PoolFigures>);

    struct PoolFigures {
        pool: Weak<Pool>,
        told: Mutex<EncodeStats>,
        gauges: [Gauge; POOL_GAUGES.len()],
        counters: [Counter; POOL_COUNTERS.len()],
    }

    impl PoolExport {
        pub(in crate::driver) fn new(pool: &Arc<Pool>) -> Self {
            Self(Arc::new(PoolFigures {
                pool: Arc::downgrade(pool),
                told: Mutex::default(),
                gauges: POOL_GAUGES.map(|(name, ..)| gauge!(name)),
                counters: POOL_COUNTERS.map(|(name, ..)| counter!(name)),
            }))
        }

        fn update(&self) {
            let PoolFigures { pool, told, gauges, counters } = &*self.0;
            // Who does not get it leaves it to the one who has it.
            let (Some(pool), Ok(mut told)) = (pool.upgrade(), told.try_lock()) else { return };
            // Nor waits a media thread for who starts or ends a thread of the pool.
            let Some(now) = pool.try_stats() else { return };
            for (gauge, (_, _, figure)) in gauges.iter().zip(POOL_GAUGES) {
                gauge.set(figure(&now));
            }
            for (counter, (_, _, figure)) in counters.iter().zip(POOL_COUNTERS) {
                counter.increment(figure(&now).saturating_sub(figure(&told)));
            }
            *told = now;
        }
    }

    /// What one call has added to the sums over all calls.
    #[derive(Clone)]
    pub(in crate::driver) struct CallExport {
        totals: Arc<[Counter; TOTALS.len()]>,
        added: [u64; TOTALS.len()],
    }

    impl ShardExport {
        pub(in crate::driver) fn new(number: usize, pool: PoolExport) -> Self {
            describe();
            let shard = number.to_string();
            let labels = [("shard", shard)];
            Self {
                calls: gauge!("discord_voice_calls", &labels),
                playing: gauge!("discord_voice_playing_calls", &labels),
                commands_waiting: gauge!("discord_voice_commands_waiting", &labels),
                cpu: gauge!("discord_voice_media_cpu_seconds", &labels),
                ticks: counter!("discord_voice_ticks_total", &labels),
                skipped_ticks: counter!("discord_voice_skipped_ticks_total", &labels),
                wakeups: counter!("discord_voice_wakeups_total", &labels),
                datagrams: counter!("discord_voice_datagrams_received_total", &labels),
                moved_away: counter!("discord_voice_calls_moved_total", &labels),
                stalls: counter!("discord_voice_stalls_total", &labels),
                lateness: metrics::histogram!("discord_voice_lateness_seconds", &labels),
                before: ShardMetrics::default(),
                totals: Arc::new(TOTALS.map(|(name, ..)| counter!(name))),
                pool,
            }
        }

        pub(in crate::driver) fn call(&self) -> CallExport {
            CallExport { totals: Arc::clone(&self.totals), added: [0; TOTALS.len()] }
        }

        pub(in crate::driver) fn update(&mut self, now: &ShardMetrics) {
            self.calls.set(now.calls as f64);
            self.playing.set(now.playing as f64);
            self.commands_waiting.set(now.commands_waiting as f64);
            self.cpu.set(now.cpu.as_secs_f64());
            self.ticks.increment(now.ticks - self.before.ticks);
            self.skipped_ticks.increment(now.skipped_ticks - self.before.skipped_ticks);
            self.wakeups.increment(now.wakeups - self.before.wakeups);
            self.datagrams.increment(now.datagrams - self.before.datagrams);
            self.moved_away.increment(now.moved_away - self.before.moved_away);
            self.stalls.increment(now.stalls - self.before.stalls);
            for ((bound, count), (_, before)) in now.lateness.buckets().zip(self.before.lateness.buckets()) {
                if count > before {
                    self.lateness.record_many(bound.as_secs_f64(), (count - before) as usize);
                }
            }
            self.before = *now;
            self.pool.update();
        }
    }

    impl CallExport {
        /// The call's figures begin anew with another media server.
        pub(in crate::driver) fn begin_link(&mut self, skipped: u64) {
            self.added = [0; TOTALS.len()];
            self.added[SKIPPED] = skipped;
        }

        pub(in crate::driver) fn update(&mut self, now: &MediaStats) {
            for ((counter, added), (_, _, figure)) in self.totals.iter().zip(&mut self.added).zip(TOTALS) {
                let news = figure(now);
                counter.increment(news.saturating_sub(std::mem::replace(added, news)));
            }
        }
    }

    fn describe() {
        describe_gauge!("discord_voice_calls", "Calls that a media thread serves.");
        describe_gauge!("discord_voice_playing_calls", "Those of them that send audio.");
        describe_gauge!("discord_voice_commands_waiting", "Commands that wait for a media thread.");
        describe_gauge!("discord_voice_media_cpu_seconds", Unit::Seconds, "Processor time that a media thread took.");
        describe_counter!("discord_voice_ticks_total", "Times a call had its turn, 50 a second while it sends.");
        describe_counter!("discord_voice_skipped_ticks_total", "Turns that came too late to be caught up with.");
        describe_counter!("discord_voice_wakeups_total", "Times a media thread woke up.");
        describe_counter!("discord_voice_datagrams_received_total", "Datagrams that a media thread received.");
        describe_counter!("discord_voice_calls_moved_total", "Calls that left a media thread because it ran late.");
        describe_counter!("discord_voice_dead_controls_total", "Calls that ended because their control task died.");
        describe_counter!("discord_voice_stalls_total", "Turns of a media thread that took more than a second.");
        describe_histogram!("discord_voice_lateness_seconds", Unit::Seconds, "How late turns were.");
        for (name, description, _) in TOTALS {
            describe_counter!(name, description);
        }
        for (name, description, _) in POOL_GAUGES {
            describe_gauge!(name, description);
        }
        for (name, description, _) in POOL_COUNTERS {
            describe_counter!(name, description);
        }
    }

    type PoolGauge = (&'static str, &'static str, fn(&EncodeStats) -> f64);
    type PoolCounter = (&'static str, &'static str, fn(&EncodeStats) -> u64);

    const POOL_GAUGES: [PoolGauge; 6] = [
        ("discord_voice_encode_sources", "Sources that are asked ahead of time.", |s| s.sources as f64),
        ("discord_voice_encode_queued", "Those of them that wait for a thread.", |s| s.queued as f64),
        ("discord_voice_encode_threads", "Threads that ask sources.", |s| s.threads as f64),
        ("discord_voice_encode_spare_threads", "Those in place of blocked ones.", |s| s.spare_threads as f64),
        ("discord_voice_encode_blocked_threads", "Those that a source holds.", |s| s.blocked_threads as f64),
        ("discord_voice_encode_longest_seconds", "The longest that a source took for a frame.", |s| {
            s.longest.as_secs_f64()
        }),
    ];
    const POOL_COUNTERS: [PoolCounter; 5] = [
        ("discord_voice_encode_frames_total", "Frames made ahead of time.", |s| s.frames),
        ("discord_voice_encode_blocked_total", "Times a source held a thread while others waited.", |s| s.blocked),
        ("discord_voice_encode_spares_refused_total", "Times such a thread was not replaced.", |s| s.spares_refused),
        ("discord_voice_encode_sources_refused_total", "Sources that were too many.", |s| s.sources_refused),
        ("discord_voice_encode_panics_total", "Sources that panicked.", |s| s.panics),
    ];

    type Total = (&'static str, &'static str, fn(&MediaStats) -> u64);

    /// Sums over all calls of a process: name, what it is, and the figure of a call.
    const TOTALS: [Total; 15] = [
        ("discord_voice_packets_sent_total", "Packets sent.", |s| s.sent.packets),
        ("discord_voice_frame_bytes_sent_total", "Bytes of the frames in them.", |s| s.sent.frame_bytes),
        ("discord_voice_frames_held_total", "Frames dropped because encryption did not allow them.", |s| {
            s.sent.frames_held
        }),
        ("discord_voice_frames_refused_total", "Frames that cannot be sent.", |s| s.sent.frames_refused),
        ("discord_voice_datagrams_blocked_total", "Datagrams dropped at a full send buffer.", |s| s.blocked),
        ("discord_voice_datagrams_unsent_total", "Datagrams that the system did not let leave.", |s| s.unsent),
        ("discord_voice_socket_errors_total", "Errors of media sockets.", |s| s.socket_errors),
        ("discord_voice_call_ticks_skipped_total", "Turns with audio in which nothing was sent.", |s| s.skipped),
        ("discord_voice_frames_received_total", "Frames given out.", |s| s.received.frames),
        ("discord_voice_packets_lost_total", "Packets of others that did not come in time.", |s| s.received.lost),
        ("discord_voice_packets_late_total", "Packets of others that came after their turn.", |s| s.received.late),
        ("discord_voice_packets_duplicate_total", "Packets of others that came again.", |s| s.received.duplicate),
        ("discord_voice_packets_not_authentic_total", "Datagrams that were not authentic.", |s| {
            s.received.not_authentic
        }),
        ("discord_voice_frames_undecrypted_total", "Frames that end-to-end encryption did not let through.", |s| {
            let e2ee = s.received.e2ee;
            e2ee.plaintext_refused + e2ee.missing_key + e2ee.replayed + e2ee.generation_refused + e2ee.not_authentic
        }),
        ("discord_voice_frames_dropped_total", "Frames dropped in queues of the receiving half.", |s| {
            s.received.dropped + s.received.unclaimed
        }),
    ];
    /// Counted for a call, not for its link.
    const SKIPPED: usize = 7;
}

#[cfg(not(feature = "metrics"))]
mod nothing {
    use std::sync::Arc;

    use crate::{MediaStats, ShardMetrics, driver::pool::Pool};

    pub(in crate::driver) const fn count_dead_control() {}

    #[derive(Clone)]
    pub(in crate::driver) struct ShardExport;

    #[derive(Clone)]
    pub(in crate::driver) struct PoolExport;

    impl PoolExport {
        pub(in crate::driver) const fn new(_pool: &Arc<Pool>) -> Self {
            Self
        }
    }

    #[derive(Clone)]
    pub(in crate::driver) struct CallExport;

    impl ShardExport {
        pub(in crate::driver) fn new(_number: usize, _pool: PoolExport) -> Self {
            Self
        }

        pub(in crate::driver) const fn call(&self) -> CallExport {
            CallExport
        }

        pub(in crate::driver) const fn update(&self, _now: &ShardMetrics) {}
    }

    impl CallExport {
        pub(in crate::driver) const fn begin_link(&self, _skipped: u64) {}

        pub(in crate::driver) const fn update(&self, _now: &MediaStats) {}
    }
}
