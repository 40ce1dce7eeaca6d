//! Sending: the calls of each slot have their turn before the thread does anything else.

use std::time::Instant;

use super::{Seats, Shard};
use crate::driver::{clock, media_call::Tick};

/// What the thread did when a slot came due.
#[derive(Clone, Copy)]
pub(super) enum Doing {
    Waiting,
    Commands,
    Receiving,
    Timers,
    Telling,
}

impl Shard {
    /// Gives the calls their turns whose slots are due now. Whatever else the thread does asks for this after each piece of
    /// it. Returns the time, and whether there was a slot.
    pub(super) fn send_due(&mut self, doing: Doing) -> (Instant, bool) {
        let now = clock();
        let mut due = std::mem::take(&mut self.due);
        let (mut any, sent_until) = (false, self.sent_until);
        while let Some(turn) = self.pacer.poll(now) {
            let (round, at) = (turn.round, turn.at);
            due.extend_from_slice(turn.keys);
            self.note(at, sent_until, doing);
            self.prefetch(&due);
            for number in due.drain(..) {
                self.tick(number, round, at);
            }
            self.finish_slot();
            any = true;
        }
        self.due = due;
        (now, any)
    }

    /// Counts how late a slot begins, and with what the thread was busy.
    fn note(&mut self, at: Instant, sent_until: Instant, doing: Doing) {
        let late = clock().saturating_duration_since(at);
        let slots = &mut self.metrics.slots;
        let cause = match doing {
            _ if at <= sent_until => &mut slots.sending,
            Doing::Waiting => &mut slots.waiting,
            Doing::Commands => &mut slots.commands,
            Doing::Receiving => &mut slots.receiving,
            Doing::Timers => &mut slots.timers,
            Doing::Telling => &mut slots.telling,
        };
        cause.record(late);
    }

    /// Lets everything leave, and then has the sources asked that run low: their threads may want this processor.
    pub(super) fn finish_slot(&mut self) {
        self.flush();
        self.outlet.help.call();
        self.sent_until = clock();
    }

    /// Reads a little of each call that is due. Their memory lies apart and was not used for 20 ms: so the processor waits
    /// for many pieces of it at once, and not for one after the other.
    fn prefetch(&self, due: &[usize]) {
        let mut sum = 0;
        for number in due {
            if let Some(Some(seat)) = self.calls.get(*number) {
                sum ^= seat.call.prefetch();
            }
        }
        std::hint::black_box(sum);
    }

    pub(super) fn tick(&mut self, number: usize, round: u64, at: Instant) {
        let Self { calls, outlet, metrics, lateness, .. } = self;
        let Some(Some(seat)) = calls.get_mut(number) else { return };
        let now = clock();
        let late = now.saturating_duration_since(at);
        metrics.ticks += 1;
        metrics.lateness.record(late);
        lateness.record(late);
        seat.call.tick(Tick { now, round, late, number }, outlet);
        // Its timers are as before.
        if !seat.call.wants_ticks() {
            self.reschedule(number);
        }
        if self.outlet.sink.is_full() {
            self.flush();
        }
    }

    /// Lets what was sealed leave, and tells calls of what did not.
    fn flush(&mut self) {
        self.outlet.sink.flush(&mut Seats(&mut self.calls));
        while let Some(failure) = self.outlet.sink.next_failure() {
            if let Some(Some(seat)) = self.calls.get_mut(failure.key) {
                seat.call.send_failed(clock(), &failure.error);
            }
        }
    }
}
