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
    /// The session sends media, and op 5 has not come.
    Speaking(SessionKey),
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

    /// How many timers were ever armed: [`due`](Self::due) with this leaves alone what is armed from now on.
    pub(crate) const fn armed(&self) -> u64 {
        self.count
    }

    /// The next timer that is due, removed, of the first `armed` that were armed: who asks for all of them comes to an end,
    /// whatever is armed meanwhile.
    pub(crate) fn due(&mut self, now: Instant, armed: u64) -> Option<Timer> {
        let due = self.armed.keys().take_while(|id| id.0 <= now).find(|id| id.1 < armed).copied()?;
        self.armed.remove(&due)
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
        let armed = timers.armed();
        assert_eq!(timers.due(at(9), armed), None);
        assert_eq!(timers.due(at(20), armed), Some(Timer::Outbox(ConnectionId::new(1))));
        assert_eq!(timers.due(at(20), armed), Some(Timer::Dispatch));
        assert_eq!(timers.next(), None);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a test has to start somewhere")]
    fn what_is_armed_while_timers_fire_waits_for_the_next_time() {
        let now = Instant::now();
        let mut timers = Timers::default();
        timers.arm(now, Timer::Datagram);
        timers.arm(now, Timer::Dispatch);
        let (armed, mut fired) = (timers.armed(), 0);
        while let Some(timer) = timers.due(now, armed) {
            // As a timer with an interval of zero would.
            timers.arm(now - Duration::from_millis(1), timer);
            fired += 1;
        }
        assert_eq!(fired, 2);
        assert_eq!(timers.due(now, timers.armed()), Some(Timer::Datagram));
    }
}
