//! Two hundred calls for ten minutes while something goes wrong about once a second.
//!
//! `cargo test --release -p discord-voice --test soak -- --ignored --nocapture`; `SOAK_SECONDS` says for how long. The
//! ordinary run is the same with fewer calls and for seconds.

#![cfg(target_os = "linux")]

mod common;

use std::{
    collections::HashMap,
    env,
    error::Error,
    future::IntoFuture as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use common::{CHANNEL, capacity, driver, now, server, within};
use discord_voice::{
    ConnectionState, Driver, Event, FrameBuf, FrameSource, NextFrame, Received, VoiceClient, VoiceGateway,
    VoiceManager,
    model::{
        ChannelId, CloseCode, GuildId, Opcode, SessionId, UpdateVoiceState, UserId, VoiceServerUpdate, VoiceState,
    },
};
use tokio::{
    sync::mpsc::{UnboundedSender, unbounded_channel},
    time::{interval, sleep},
};
use voice_server::{Fault, FaultKind, Server};

#[tokio::test(flavor = "multi_thread")]
async fn calls_come_back_whatever_goes_wrong() {
    Soak { calls: 20, time: Duration::from_secs(8), faults_per_second: 5.0, seed: 7 }.run().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "ten minutes"]
async fn two_hundred_calls_outlive_a_fault_every_second_for_ten_minutes() {
    let seconds = env::var("SOAK_SECONDS").map_or(600, |text| text.parse().expect("a number"));
    Soak { calls: 200, time: Duration::from_secs(seconds), faults_per_second: 1.0, seed: 1 }.run().await;
}

struct Soak {
    /// Two in each guild.
    calls: u64,
    time: Duration,
    faults_per_second: f64,
    seed: u64,
}

impl Soak {
    async fn run(self) {
        let world = Arc::new(World::start().await);
        let driver = driver(&world.server);
        let mut users: Vec<User> = Vec::new();
        for number in 0..self.calls {
            users.push(User::join(&world, &driver, GuildId::new(100 + number / 2), UserId::new(1000 + number)).await);
        }
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let (start, mut before) = (now(), None);
        let mut ticks = interval(Duration::from_secs(1).div_f64(self.faults_per_second));
        let mut faults: HashMap<&'static str, u64> = HashMap::new();
        while now() - start < self.time {
            ticks.tick().await;
            let user = rng.usize(..users.len());
            *faults.entry(world.disturb(&mut rng, &users[user])).or_default() += 1;
            for user in &mut users {
                user.come_back(&world).await;
            }
            // Everything has grown to its size after a while.
            if before.is_none() && now() - start > self.time / 4 {
                before = Some(usage());
            }
        }
        // Whatever was under way comes to its end, and then everybody hears everybody.
        let deadline = now() + Duration::from_secs(90);
        while !users.iter().all(User::is_connected) {
            assert!(now() < deadline, "stuck: {:?}", stuck(&users));
            sleep(Duration::from_millis(50)).await;
            for user in &mut users {
                user.come_back(&world).await;
            }
        }
        let heard: Vec<u64> = users.iter().map(User::heard).collect();
        let deadline = now() + Duration::from_secs(30);
        while !users.iter().zip(&heard).all(|(user, before)| user.heard() > *before + 10) {
            assert!(now() < deadline, "deaf: {:?}", stuck(&users));
            sleep(Duration::from_millis(50)).await;
        }
        let (before, after) = (before.expect("time has passed"), usage());
        let rejoined: u64 = users.iter().map(|user| user.rejoins).sum();
        let total: u64 = users.iter().map(User::heard).sum();
        println!(
            "{} calls, {:?}: {faults:?}; {total} frames heard, {rejoined} calls had ended and were joined again\n\
             before {before:?}\nafter  {after:?}",
            self.calls, self.time
        );
        assert!(after.threads <= before.threads, "{before:?} {after:?}");
        assert!(after.descriptors <= before.descriptors + users.len(), "{before:?} {after:?}");
        assert!(after.tasks <= before.tasks + users.len(), "{before:?} {after:?}");
        assert!(after.resident_kib <= before.resident_kib + before.resident_kib / 4 + 8_192, "{before:?} {after:?}");
        drop(users);
        within(world.server.wait_for(|stats| stats.connections == 0)).await.expect("the server runs");
    }
}

/// The loopback server with a main gateway for all users.
struct World {
    server: Server,
    managers: Mutex<HashMap<UserId, VoiceManager>>,
    states: Mutex<HashMap<UserId, (GuildId, ChannelId)>>,
}

struct Handle(UserId, UnboundedSender<(UserId, UpdateVoiceState)>);

impl VoiceGateway for Handle {
    fn update_voice_state(&self, update: UpdateVoiceState) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.1.send((self.0, update))?)
    }
}

impl World {
    async fn start() -> Self {
        Self { server: server().await, managers: Mutex::default(), states: Mutex::default() }
    }

    fn manager(&self, user: UserId) -> Option<VoiceManager> {
        self.managers.lock().expect("no panic").get(&user).cloned()
    }

    /// Answers opcode 4.
    fn answer(&self, user: UserId, update: UpdateVoiceState) {
        let Some(manager) = self.manager(user) else { return };
        let guild = update.guild_id;
        match update.channel_id {
            None => {
                self.states.lock().expect("no panic").remove(&user);
                manager.handle_event(state(user, guild, None, "any"));
            }
            Some(channel) => self.put(user, guild, channel),
        }
    }

    /// Puts a user into a channel, on a new session of its server.
    fn put(&self, user: UserId, guild: GuildId, channel: ChannelId) {
        let Some(manager) = self.manager(user) else { return };
        let ticket = self.server.issue(guild, channel, user);
        self.states.lock().expect("no panic").insert(user, (guild, channel));
        manager.handle_event(state(user, guild, Some(channel), ticket.session_id.expose()));
        let (endpoint, token) = (Some(ticket.endpoint.clone()), ticket.token.clone());
        manager.handle_event(VoiceServerUpdate { endpoint, guild_id: guild, token });
    }

    /// Lets something go wrong for a user; says what.
    fn disturb(&self, rng: &mut fastrand::Rng, user: &User) -> &'static str {
        let id = user.id;
        let inject = |kind| self.server.inject(Fault::user(id, kind));
        let there = self.states.lock().expect("no panic").get(&id).copied();
        match rng.u8(..12) {
            0 | 1 => {
                inject(FaultKind::Reset);
                "reset"
            }
            2 => {
                inject(FaultKind::Stall);
                "stall"
            }
            3 => {
                inject(FaultKind::Close(CloseCode::VOICE_SERVER_CRASHED));
                "4015"
            }
            4 => {
                inject(FaultKind::Forget);
                "forgotten session"
            }
            5 => {
                inject(FaultKind::Close(CloseCode::SESSION_TIMEOUT));
                "4009"
            }
            6 => {
                inject(FaultKind::CloseOn {
                    opcode: Opcode::Resume,
                    code: CloseCode::SESSION_NO_LONGER_VALID,
                    count: 1,
                });
                inject(FaultKind::Reset);
                "refused resume"
            }
            7 => {
                inject(FaultKind::Delay(Duration::from_millis(rng.u64(..2_000))));
                "delay"
            }
            8 => {
                inject(FaultKind::IgnoreDiscovery { count: 2 });
                inject(FaultKind::Forget);
                "lost discovery"
            }
            9 => {
                if let Some((guild, channel)) = there {
                    // A change of server: the close and the main gateway's word in either order.
                    inject(FaultKind::Close(CloseCode::DISCONNECTED));
                    self.put(id, guild, channel);
                }
                "change of server"
            }
            10 => {
                if let (Some((guild, _)), Some(manager)) = (there, self.manager(id)) {
                    let token = discord_voice::model::Token::new("none");
                    manager.handle_event(VoiceServerUpdate { endpoint: None, guild_id: guild, token });
                    self.put(id, guild, CHANNEL);
                }
                "server taken away"
            }
            _ => {
                if let Some((guild, _)) = there {
                    // There and back: nobody else is in the other channel.
                    self.put(id, guild, ChannelId::new(77));
                    self.put(id, guild, CHANNEL);
                }
                "moves"
            }
        }
    }
}

fn state(user: UserId, guild: GuildId, channel_id: Option<ChannelId>, session: &str) -> VoiceState {
    VoiceState { channel_id, guild_id: Some(guild), ..VoiceState::new(user, SessionId::new(session)) }
}

/// One call with what plays in it and who listens.
struct User {
    id: UserId,
    guild: GuildId,
    client: VoiceClient,
    heard: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    rejoins: u64,
}

impl User {
    async fn join(world: &Arc<World>, driver: &Driver, guild: GuildId, id: UserId) -> Self {
        let (wishes, mut queue) = unbounded_channel();
        let answering = Arc::clone(world);
        tokio::spawn(async move {
            while let Some((user, update)) = queue.recv().await {
                answering.answer(user, update);
            }
        });
        let manager = VoiceManager::builder(id, Handle(id, wishes)).driver(driver.clone()).build().expect("a manager");
        world.managers.lock().expect("no panic").insert(id, manager);
        let heard = Arc::new(AtomicU64::new(0));
        let (client, ended) = enter(world, guild, id, &heard).await;
        Self { id, guild, client, heard, ended, rejoins: 0 }
    }

    /// Joins again if the call is over: it says so, and that is no fault.
    async fn come_back(&mut self, world: &World) {
        if self.ended.load(Ordering::Relaxed) {
            self.rejoins += 1;
            (self.client, self.ended) = enter(world, self.guild, self.id, &self.heard).await;
        }
    }

    fn is_connected(&self) -> bool {
        self.client.connection_state() == ConnectionState::Connected
    }

    fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}

async fn enter(world: &World, guild: GuildId, id: UserId, heard: &Arc<AtomicU64>) -> (VoiceClient, Arc<AtomicBool>) {
    let manager = world.manager(id).expect("it was made");
    let (client, mut events) = loop {
        match within(manager.join(guild, CHANNEL).into_future()).await {
            Ok(call) => break call,
            // A fault that was meant for the call before.
            Err(error) => println!("{id} is not let in yet: {error}"),
        }
    };
    let mut receive = client.receive(capacity(200));
    client.play(Endless);
    let (count, ended) = (Arc::clone(heard), Arc::new(AtomicBool::new(false)));
    tokio::spawn(async move {
        while let Some(received) = receive.next().await {
            if matches!(received, Received::Frame { .. }) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let over = Arc::clone(&ended);
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            if let Event::Ended(reason) = event {
                println!("{id} has ended: {reason}");
            }
        }
        over.store(true, Ordering::Relaxed);
    });
    (client, ended)
}

/// A tone that never ends, as far as anybody can tell.
struct Endless;

impl FrameSource for Endless {
    fn next_frame(&mut self, out: &mut FrameBuf) -> NextFrame {
        out.set(&[0xF8, 1, 2, 3, 4]).expect("it fits");
        NextFrame::Ready
    }
}

fn stuck(users: &[User]) -> Vec<(UserId, ConnectionState, u64)> {
    let stuck = users.iter().filter(|user| !user.is_connected());
    stuck.map(|user| (user.id, user.client.connection_state(), user.heard())).collect()
}

#[derive(Clone, Copy, Debug)]
struct Usage {
    threads: usize,
    descriptors: usize,
    tasks: usize,
    resident_kib: usize,
}

fn usage() -> Usage {
    let count = |path| std::fs::read_dir(path).expect("procfs").count();
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a resident set");
    Usage {
        threads: count("/proc/self/task"),
        descriptors: count("/proc/self/fd"),
        tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
        resident_kib: line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number"),
    }
}
