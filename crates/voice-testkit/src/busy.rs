//! A machine whose cores are taken: what is handed to a task waits until the task comes round.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::{Duration, Instant},
};

use discord_voice::{MediaCommand, model::UserId};
use voice_udp::{Receiver, Sender};

use crate::{World, wire::Parcel};

/// Who does things one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Task {
    Server,
    /// A call's control.
    Control(UserId),
    /// A call's media thread.
    Media(UserId),
}

/// What is handed to a task.
#[derive(Debug)]
pub(crate) enum Work {
    /// It has arrived from the network.
    Parcel(Parcel),
    /// With the epoch of the end-to-end encrypted group in which it was given, as far as frames are encrypted.
    Start(SocketAddr, Box<(Sender, Receiver)>, Option<u64>),
    /// With that epoch.
    Command(Box<MediaCommand>, Option<u64>),
    Datagram(SocketAddr, Vec<u8>),
}

/// What waits for one task, with the instant at which it is done.
#[derive(Debug)]
struct Waiting {
    work: VecDeque<(Instant, Work)>,
    /// The chance that the task is away when something comes.
    away: f64,
}

/// What waits for tasks.
#[derive(Debug)]
pub(crate) struct Busy {
    /// The longest time that a task is away.
    limit: Duration,
    waiting: BTreeMap<Task, Waiting>,
    rng: fastrand::Rng,
}

impl Busy {
    pub(crate) fn new(limit: Duration, seed: u64) -> Self {
        Self { limit, waiting: BTreeMap::new(), rng: fastrand::Rng::with_seed(seed ^ 0xB057) }
    }

    /// What is due next, and for whom.
    pub(crate) fn next(&self) -> Option<(Instant, Task)> {
        self.waiting.iter().filter_map(|(task, work)| Some((work.work.front()?.0, *task))).min()
    }

    /// A user's call is gone, and what its tasks were to do.
    pub(crate) fn forget(&mut self, user: UserId) {
        self.waiting.retain(|task, _| ![Task::Control(user), Task::Media(user)].contains(task));
    }

    /// Gives the work back if the task does it at once. It keeps its order otherwise.
    fn put(&mut self, now: Instant, task: Task, work: Work) -> Option<Work> {
        if self.limit.is_zero() {
            return Some(work);
        }
        // Some are there most of the time, and others hardly ever.
        let waiting = self.waiting.entry(task).or_insert_with(|| {
            let away = self.rng.f64() * self.rng.f64();
            Waiting { work: VecDeque::new(), away }
        });
        let away = if self.rng.f64() < waiting.away { self.limit.mul_f64(self.rng.f64()) } else { Duration::ZERO };
        let at = waiting.work.back().map_or(now, |(at, _)| *at).max(now + away);
        waiting.work.push_back((at, work));
        None
    }

    fn take(&mut self, task: Task) -> Option<Work> {
        self.waiting.get_mut(&task)?.work.pop_front().map(|(_, work)| work)
    }
}

impl World {
    /// Hands something to a task, which does it at once, or when it comes round.
    pub(crate) fn hand(&mut self, task: Task, work: Work) {
        if let (Task::Media(user), Work::Command(command, _)) = (task, &work)
            && matches!(**command, MediaCommand::Stop)
        {
            // Nothing of what was to be done before can be seen any more.
            self.busy.waiting.remove(&Task::Media(user));
            return self.do_work(task, work);
        }
        if let Some(work) = self.busy.put(self.clock.now(), task, work) {
            self.do_work(task, work);
        }
    }

    /// A task comes round.
    pub(crate) fn take_work(&mut self, task: Task) {
        if let Some(work) = self.busy.take(task) {
            self.do_work(task, work);
        }
    }

    fn do_work(&mut self, task: Task, work: Work) {
        let clock = self.clock;
        match (task, work) {
            (_, Work::Parcel(parcel)) => self.take_parcel(parcel),
            (Task::Media(user), Work::Start(address, halves, epoch)) => {
                let client = self.client_mut(user);
                client.start_media(&clock, address, *halves);
                client.sends_in = epoch;
            }
            (Task::Media(user), Work::Command(command, epoch)) => {
                self.client_mut(user).media_command(&clock, *command, epoch);
            }
            (Task::Media(user), Work::Datagram(to, bytes)) => self.media_datagram(user, to, bytes),
            (task, work) => panic!("{work:?} is nothing for {task:?}"),
        }
    }
}
