//! What a media thread is told: by the control of its calls, and by other threads.

use std::{sync::atomic::Ordering, time::Instant};

use voice_udp::Phase;

use super::{
    Place, Seat, Shard,
    handle::{MovingCall, ShardCommand, ShardHandle},
};
use crate::{
    MediaCommand,
    driver::{clock, media_call::MediaCall},
};

impl Shard {
    pub(super) fn handle_command(&mut self, key: usize, command: ShardCommand) {
        let now = clock();
        let number = match (self.places.get(&key), command) {
            (_, ShardCommand::Add(shared, fault_after)) => {
                self.seat_call(key, Box::new(MediaCall::new(shared, fault_after, self.export.call())), None);
                return;
            }
            (_, ShardCommand::Adopt(moving)) => {
                self.metrics.moved_here += 1;
                return self.adopt(now, key, moving);
            }
            (Some(Place::Moved(elsewhere)), ShardCommand::Listen(sink)) => {
                // One for which there is no place there is dropped, which ends its stream.
                elsewhere.send_now(key, ShardCommand::Listen(sink));
                return;
            }
            (Some(Place::Moved(elsewhere)), ShardCommand::Remove) => {
                // It may be on its way there still. A second one does no harm.
                elsewhere.send_now(key, ShardCommand::Remove);
                self.places.remove(&key);
                return;
            }
            (Some(Place::Here(number)), command) => {
                let number = *number;
                self.handle_call_command(now, key, number, command);
                number
            }
            _ => return,
        };
        self.reschedule(number);
    }

    fn handle_call_command(&mut self, now: Instant, key: usize, number: usize, command: ShardCommand) {
        let Self { calls, poller, outlet, pacer, .. } = self;
        let Some(Some(Seat { call, .. })) = calls.get_mut(number) else { return };
        match command {
            ShardCommand::Add(..) | ShardCommand::Adopt(_) => {}
            ShardCommand::Remove => {
                call.stop(now, number, poller, outlet);
                self.unseat(number);
                self.places.remove(&key);
            }
            ShardCommand::GiveUp(target, answer) => {
                let _ = answer.send(self.give_up(key, number, &target));
            }
            ShardCommand::Start(link, socket, sender, receiver) => {
                let round = pacer.round_at(now);
                call.start(now, (link, round, number), poller, outlet, (socket, *sender, *receiver));
            }
            ShardCommand::Media(command) => match *command {
                MediaCommand::Stop => call.stop(now, number, poller, outlet),
                command => call.handle_command(now, command),
            },
            ShardCommand::Play { playing, generation } => call.play(*playing, generation),
            ShardCommand::Pause { playback } => call.pause(&playback),
            ShardCommand::Resume { playback, generation } => call.resume(&playback, generation),
            ShardCommand::StopPlaying { playback } => call.stop_playing(&playback),
            ShardCommand::Listen(sink) => call.listen(sink),
            ShardCommand::Detach(answer) => {
                if let Some(place) = call.detach(now, number, poller, outlet) {
                    let _ = answer.send(place);
                }
            }
            ShardCommand::Publish(done) => {
                call.publish_now(now);
                self.publish();
                let _ = done.send(());
            }
        }
    }

    fn seat_call(&mut self, key: usize, call: Box<MediaCall>, phase: Option<Phase>) -> usize {
        let number = self.free.pop().unwrap_or_else(|| {
            self.calls.push(None);
            self.calls.len() - 1
        });
        self.calls[number] = Some(Seat { call, is_unread: false, phase });
        self.places.insert(key, Place::Here(number));
        number
    }

    fn unseat(&mut self, number: usize) -> Option<Seat> {
        let seat = self.calls.get_mut(number)?.take()?;
        self.timers.set(number, None);
        if let Some(phase) = seat.phase {
            self.pacer.remove(number, phase);
            self.load.playing.store(self.pacer.len(), Ordering::Relaxed);
        }
        self.free.push(number);
        Some(seat)
    }

    /// Lets a call go on in another thread.
    fn give_up(&mut self, key: usize, number: usize, target: &ShardHandle) -> bool {
        let Self { calls, poller, outlet, .. } = self;
        let Some(Some(seat)) = calls.get_mut(number) else { return false };
        seat.call.leave_thread(number, poller, outlet);
        let Some(Seat { call, phase, .. }) = self.unseat(number) else { return false };
        match target.adopt(key, MovingCall { call, phase }) {
            Ok(()) => {
                self.metrics.moved_away += 1;
                self.places.insert(key, Place::Moved(target.clone()));
                true
            }
            Err(moving) => {
                self.adopt(clock(), key, moving);
                false
            }
        }
    }

    /// Goes on with a call of another thread, in the phase that it had, and with the turn that it missed on the way.
    fn adopt(&mut self, now: Instant, key: usize, MovingCall { call, phase }: MovingCall) {
        let number = self.seat_call(key, call, phase);
        let Self { calls, poller, outlet, pacer, .. } = self;
        let Some(Some(seat)) = calls.get_mut(number) else { return };
        seat.call.enter_thread(number, poller, outlet);
        if let Some(phase) = phase {
            pacer.insert_at(now, number, phase);
            self.load.playing.store(pacer.len(), Ordering::Relaxed);
            let last = pacer.last_round(phase).map_or(0, |round| round + 1);
            for round in seat.call.next_round().max(last.saturating_sub(MAX_CATCH_UP))..last {
                self.tick(number, round, now);
            }
            self.finish_slot();
        }
        self.reschedule(number);
    }
}

/// Turns that a call may have missed on its way from another thread and still catches up with.
const MAX_CATCH_UP: u64 = 3;
