//! What is due when: one ordered set, so that the next timeout costs nothing to find.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::ConnectionId;
use crate::registry::SessionKey;
use crate::room::RoomId;

/// Something to do at a certain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The connection has not sent a heartbeat in time.
    Heartbeat(ConnectionId),
    /// A delayed message of the connection is due.
    Outbox(ConnectionId),
    /// The session's lost connection was not resumed in time.
    Expiry(SessionKey),
    /// The session's next receiver report is due.
    Report(SessionKey),
    /// A delayed datagram is due.
    Datagram,
    /// A delayed main-gateway event is due.
    Dispatch,
    /// The main-gateway session of this number was not resumed in time.
    GatewayExpiry(u64),
    /// Something about the group of this channel is due.
    Dave(RoomId),
}

/// Names an armed timer, to disarm it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TimerId(Instant, u64);

/// All armed timers, ordered by time and then by when they were armed.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    armed: BTreeMap<TimerId, Timer>,
    count: u64,
}

impl Timers {
    pub(crate) fn arm(&mut self, at: Instant, timer: Timer) -> TimerId {
        let id = TimerId(at, self.count);
        self.count += 1;
        self.armed.insert(id, timer);
        id
    }

    pub(crate) fn disarm(&mut self, id: Option<TimerId>) {
        if let Some(id) = id {
            self.armed.remove(&id);
        }
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.armed.keys().next().map(|id| id.0)
    }

    /// The next timer that is due, removed.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Timer> {
        let first = self.armed.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test has to start somewhere")]
    fn timers_fire_in_order_and_not_when_disarmed() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.arm(at(20), Timer::Dispatch);
        let cancelled = timers.arm(at(5), Timer::Datagram);
        timers.arm(at(10), Timer::Outbox(ConnectionId::new(1)));
        timers.disarm(Some(cancelled));
        timers.disarm(None);
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.due(at(9)), None);
        assert_eq!(timers.due(at(20)), Some(Timer::Outbox(ConnectionId::new(1))));
        assert_eq!(timers.due(at(20)), Some(Timer::Dispatch));
        assert_eq!(timers.next(), None);
    }
}
