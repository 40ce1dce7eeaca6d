use std::net::UdpSocket;

use voice_audio::{FrameSource, Lead, NextFrame};
use voice_crypto::{Mode, SecretKey};
use voice_dave::SendMode;
use voice_rtp::Ssrc;
use voice_udp::{
    MediaConfig, PacketBuf, media,
    socket::{SendBackend, SendFailure, Sockets},
};

use super::*;
use crate::driver::{
    clock,
    export::{PoolExport, ShardExport},
    pool::Pool,
};

/// Takes as many datagrams as it has room for.
#[derive(Debug, Default)]
struct Narrow {
    room: usize,
    /// What the system says of the others: that there is no room, unless it says something else.
    error: Option<io::ErrorKind>,
    buffer: PacketBuf,
    failures: Vec<SendFailure>,
}

impl DatagramSink for Narrow {
    fn add(&mut self, _socket: &Socket, _key: usize) -> io::Result<()> {
        Ok(())
    }

    fn remove(&mut self, _key: usize) {}

    fn buffer(&mut self) -> &mut PacketBuf {
        &mut self.buffer
    }

    fn queue(&mut self, key: usize, _len: usize) {
        if self.room == 0 {
            self.failures.push(SendFailure { key, error: self.error.unwrap_or(io::ErrorKind::WouldBlock).into() });
        } else {
            self.room -= 1;
        }
    }

    fn is_full(&self) -> bool {
        false
    }

    fn flush(&mut self, _sockets: &mut dyn Sockets) {}

    fn next_failure(&mut self) -> Option<SendFailure> {
        self.failures.pop()
    }

    fn backend(&self) -> SendBackend {
        SendBackend::Plain
    }
}

struct Endless;

impl FrameSource for Endless {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        out.set(&[0xF8; 20]).expect("it fits");
        NextFrame::Ready
    }

    fn lead(&self) -> Lead {
        Lead::Immediate
    }
}

/// A call that is connected and has something to play.
struct World {
    call: MediaCall,
    outlet: Outlet,
    poller: Poller,
    now: Instant,
    _server: UdpSocket,
}

impl World {
    fn new() -> Self {
        let server = UdpSocket::bind("127.0.0.1:0").expect("a socket on loopback");
        let socket = Socket::connect(server.local_addr().expect("its address")).expect("another");
        let config =
            MediaConfig { key: SecretKey::new([7; 32]), mode: Mode::Aes256GcmRtpsize, seed: 1, ssrc: Ssrc::new(1) };
        let (mut sender, receiver) = media(config);
        sender.set_mode(SendMode::Passthrough);
        let mut poller = Poller::new().expect("a poller");
        let mut outlet = Outlet::new(Box::<Narrow>::default());
        let now = clock();
        let pool = Arc::new(Pool::new(1));
        let export = ShardExport::new(0, PoolExport::new(&pool));
        let mut call = MediaCall::new(Arc::default(), Duration::from_secs(10), export.call());
        call.start(now, (1, 0, 0), &mut poller, &mut outlet, (socket, sender, receiver));
        call.handle_command(now, MediaCommand::Begin);
        let playing = Playing::new(&pool, Endless, Arc::default());
        call.play(playing.expect("it is not refused"), 1);
        assert!(call.wants_ticks());
        call.begin_ticks(0);
        Self { call, outlet, poller, now, _server: server }
    }

    /// Replaces the sink.
    fn set_room(&mut self, room: usize) {
        self.outlet = Outlet::new(Box::new(Narrow { room, ..Narrow::default() }));
    }

    fn tick(&mut self, round: u64) {
        let tick = Tick { now: self.now, round, late: Duration::from_micros(10), number: 0 };
        self.call.tick(tick, &mut self.outlet);
        while let Some(failure) = self.outlet.sink.next_failure() {
            self.call.send_failed(self.now, &failure.error);
        }
    }

    fn stats(&mut self) -> MediaStats {
        self.call.publish_now(self.now);
        self.call.account.shared.stats()
    }
}

#[test]
fn s7_what_the_system_has_no_room_for_is_counted_for_the_call() {
    let mut world = World::new();
    world.set_room(3);
    (0..10).for_each(|round| world.tick(round));
    let stats = world.stats();
    assert_eq!((stats.sent.packets, stats.blocked, stats.socket_errors), (10, 7, 0));
    assert_eq!(stats.lateness.count(), 10);
    world.call.stop(world.now, 0, &mut world.poller, &mut world.outlet);
}

#[test]
fn s4_turns_that_were_skipped_are_counted_and_move_only_the_time() {
    let mut world = World::new();
    world.set_room(usize::MAX);
    let position = |world: &World| world.call.link.as_ref().expect("a link").sender.position();
    let before = position(&world);
    for round in [0, 1, 5, 5, 4, 6] {
        world.tick(round);
    }
    let after = position(&world);
    assert_eq!(after.sequence.get().wrapping_sub(before.sequence.get()), 4, "one for each packet");
    assert_eq!(after.timestamp.get().wrapping_sub(before.timestamp.get()), 7 * 960, "and 20 ms for each round");
    assert_eq!(world.stats().skipped, 3);
    // Time in which there was nothing to send was not missed.
    world.call.begin_ticks(100);
    world.tick(100);
    assert_eq!(world.stats().skipped, 3);
    assert_eq!(position(&world).timestamp.get().wrapping_sub(before.timestamp.get()), 101 * 960);
}

#[test]
fn a_call_of_which_nothing_leaves_tells_so_once_and_counts_it() {
    // A firewall, an address that is gone, no memory, a buffer that stays full.
    let kinds =
        [io::ErrorKind::PermissionDenied, io::ErrorKind::InvalidInput, io::ErrorKind::Other, io::ErrorKind::WouldBlock];
    for kind in kinds {
        let mut world = World::new();
        world.outlet = Outlet::new(Box::new(Narrow { error: Some(kind), ..Narrow::default() }));
        let start = world.now;
        let mut faults = Vec::new();
        for round in 0..1_000 {
            world.now = start + Duration::from_millis(20) * round;
            world.tick(round.into());
            faults.extend(world.call.account.shared.take_fault().map(|fault| (round, fault)));
        }
        assert_eq!(faults, [(500, (1, LinkFault::Media(MediaFault::NotSent)))], "{kind}");
        let stats = world.stats();
        let is_blocked = kind == io::ErrorKind::WouldBlock;
        assert_eq!((stats.unsent, stats.blocked), (1_000, if is_blocked { 1_000 } else { 0 }), "{kind}");
    }
}

#[test]
fn a_call_of_which_a_little_leaves_goes_on() {
    let mut world = World::new();
    world.set_room(0);
    let start = world.now;
    for round in 0..3_000 {
        world.now = start + Duration::from_millis(20) * round;
        if round % 400 == 399 {
            world.set_room(1);
        }
        world.tick(round.into());
        assert_eq!(world.call.account.shared.take_fault(), None);
    }
    assert_eq!(world.stats().unsent, 3_000 - 7);
}
