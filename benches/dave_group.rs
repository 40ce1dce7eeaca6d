//! What members of a large call do once: a commit that adds all of them, and joining.
//!
//! Each is compared with the public-key operations that MLS demands for it, and with davey, the DAVE
//! library of the Discord libraries for Rust, on the same proposals.
#![allow(missing_docs, reason = "a bench has no interface")]

mod dave;

use std::cell::RefCell;
use std::hint::black_box;
use std::time::{Duration, Instant};

use aws_lc_rs::agreement::{self, ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey};
use aws_lc_rs::rand::SystemRandom;
use criterion::{BatchSize, Criterion};
use dave::Gateway;
use rustix::time::{ClockId, clock_gettime};
use voice_bench::Comparison;
use voice_dave::wire::{SigningKey, verify};
use voice_dave::{DaveMessage, DaveSession, FrameOpener};
use voice_model::{ServerBinary, UserId};

/// How many members one commit adds.
const ADDED: u64 = 99;

/// How many members a call has after joining it.
const MEMBERS: u64 = 25;

fn main() {
    let mut criterion = Criterion::default().sample_size(10).configure_from_args();
    let adding = Adding::new();
    criterion.bench_function("dave/add 99", |b| {
        b.iter_batched(|| adding.ours(), |session| adding.commit_ours(session), BatchSize::PerIteration);
    });
    let joining = Joining::new();
    criterion.bench_function("dave/join 25", |b| {
        let ready = || {
            let (session, package) = joining.start_ours();
            (session, joining.welcome_of(&package))
        };
        b.iter_batched(ready, |(session, welcome)| finish_ours(session, &welcome, now()), BatchSize::PerIteration);
    });
    criterion.final_summary();
    ratios(&adding, &joining);
}

/// What the limits in the project's promises are about.
fn ratios(adding: &Adding, joining: &Joining) {
    let time = Duration::from_secs(5);
    let bare = BareKeys::new();
    let name = format!("dave commit adding {ADDED}");
    let ours = || (|| adding.ours(), |session| adding.commit_ours(session));
    println!("{}", Comparison::measure_prepared(name.clone(), time, ours(), (|| (), |()| bare.commit(ADDED))));
    let davey = (|| adding.davey(), |session| adding.commit_davey(session));
    println!("{}", Comparison::measure_prepared(name, time, ours(), davey).against("davey"));
    joining.print(time);
}

/// One commit that adds many.
struct Adding {
    sender: Vec<u8>,
    proposals: Vec<u8>,
    users: Vec<UserId>,
    numbers: Vec<u64>,
}

impl Adding {
    fn new() -> Self {
        let gateway = Gateway::new();
        let sender = gateway.sender();
        let numbers: Vec<_> = (2..ADDED + 2).collect();
        let packages: Vec<_> = numbers.iter().map(|user| dave::ours(*user, &sender, &[]).1).collect();
        let proposals = gateway.adds(packages.iter().map(Vec::as_slice));
        Self { sender, proposals, users: numbers.iter().copied().map(UserId::new).collect(), numbers }
    }

    fn ours(&self) -> DaveSession {
        dave::ours(1, &self.sender, &self.users).0
    }

    fn commit_ours(&self, mut session: DaveSession) -> (DaveSession, Vec<u8>) {
        let made = dave::commit(&mut session, &self.proposals);
        (session, made)
    }

    fn davey(&self) -> davey::DaveSession {
        dave::davey(1, &self.sender).0
    }

    fn commit_davey(&self, mut session: davey::DaveSession) -> (davey::DaveSession, davey::CommitWelcome) {
        let made = dave::commit_davey(&mut session, &self.proposals, &self.numbers);
        (session, made)
    }
}

/// The public-key operations alone.
struct BareKeys {
    public: [u8; 65],
    signature: Vec<u8>,
    random: SystemRandom,
}

impl BareKeys {
    fn new() -> Self {
        let key = SigningKey::generate();
        Self { public: key.public_key(), signature: key.sign(b"message"), random: SystemRandom::new() }
    }

    /// Of each proposal the signatures of gateway, key package and leaf; to each member one encryption by a
    /// key agreement with a new key (RFC 9420, section 12.4.3.1; RFC 9180, section 4.1).
    fn commit(&self, added: u64) {
        for _ in 0..added {
            for _ in 0..3 {
                verify(&self.public, b"message", black_box(&self.signature)).unwrap();
            }
            let key = EphemeralPrivateKey::generate(&ECDH_P256, &self.random).unwrap();
            black_box(key.compute_public_key().unwrap());
            let peer = UnparsedPublicKey::new(&ECDH_P256, self.public);
            agreement::agree_ephemeral(key, peer, (), |secret| {
                black_box(secret);
                Ok(())
            })
            .unwrap();
        }
    }
}

/// Joining a call: from nothing to the keys of all others. In between, somebody else adds the member.
struct Joining {
    gateway: Gateway,
    sender: Vec<u8>,
    others: Vec<UserId>,
    numbers: Vec<u64>,
    packages: Vec<Vec<u8>>,
}

impl Joining {
    fn new() -> Self {
        let gateway = Gateway::new();
        let sender = gateway.sender();
        let numbers: Vec<_> = (1..=MEMBERS).collect();
        let others: Vec<_> = numbers.iter().copied().skip(1).map(UserId::new).collect();
        // User 2 founds the group.
        let packages = numbers.iter().skip(2).map(|user| dave::ours(*user, &sender, &[]).1).collect();
        Self { gateway, sender, others, numbers, packages }
    }

    fn print(&self, time: Duration) {
        let (ours, davey) = (RefCell::new(Cpu::default()), RefCell::new(Cpu::default()));
        let now = now();
        let compared = Comparison::measure_prepared(
            format!("dave join of {MEMBERS} (welcome and keys)"),
            time,
            (
                || {
                    let ((session, package), took) = cpu(|| self.start_ours());
                    ours.borrow_mut().start = took;
                    (session, self.welcome_of(&package))
                },
                |(session, welcome)| {
                    let (joined, took) = cpu(|| finish_ours(session, &welcome, now));
                    assert_eq!(joined.1.len() + 1, self.numbers.len());
                    ours.borrow_mut().finish(took);
                    joined
                },
            ),
            (
                || {
                    let ((session, package), took) = cpu(|| dave::davey(1, &self.sender));
                    davey.borrow_mut().start = took;
                    (session, self.welcome_of(&package))
                },
                |(mut session, welcome)| {
                    let ((), took) = cpu(|| {
                        session.process_welcome(&welcome, Some(&self.numbers)).unwrap();
                        session.prepare_transition(0, 1).unwrap();
                    });
                    davey.borrow_mut().finish(took);
                    session
                },
            ),
        );
        println!("{}", compared.against("davey"));
        let (ours, davey) = (ours.into_inner(), davey.into_inner());
        println!(
            "dave join of {MEMBERS}, all of it: CPU {:.2} ms at best, {:.2} ms at worst (davey {:.2} ms at best)",
            ms(ours.best()),
            ms(ours.worst()),
            ms(davey.best()),
        );
    }

    fn start_ours(&self) -> (DaveSession, Vec<u8>) {
        dave::ours(1, &self.sender, &self.others)
    }

    /// The welcome that a member makes who adds the owner of this key package and all others.
    fn welcome_of(&self, package: &[u8]) -> Vec<u8> {
        let users: Vec<_> = self.numbers.iter().copied().map(UserId::new).collect();
        let (mut founder, _) = dave::ours(2, &self.sender, &users);
        let packages = self.packages.iter().map(Vec::as_slice).chain([package]);
        dave::cut_welcome(&dave::commit(&mut founder, &self.gateway.adds(packages)), package)
    }
}

fn finish_ours(mut session: DaveSession, welcome: &[u8], now: Instant) -> (DaveSession, Vec<FrameOpener>) {
    session.handle_message(DaveMessage::Binary(ServerBinary::Welcome { transition_id: 7, welcome }));
    let install = |(_, mode)| {
        let mut opener = FrameOpener::new();
        opener.set_mode(now, mode);
        opener
    };
    let openers = dave::outputs(&mut session).receive.into_iter().map(install).collect();
    (session, openers)
}

/// The CPU times of whole joins.
#[derive(Default)]
struct Cpu {
    start: Duration,
    all: Vec<Duration>,
}

impl Cpu {
    fn finish(&mut self, took: Duration) {
        self.all.push(self.start + took);
    }

    fn best(&self) -> Duration {
        self.all.iter().copied().min().unwrap()
    }

    fn worst(&self) -> Duration {
        self.all.iter().copied().max().unwrap()
    }
}

/// The time that this thread was on a processor for an operation.
fn cpu<R>(operation: impl FnOnce() -> R) -> (R, Duration) {
    let time = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap();
    let start = time();
    let result = operation();
    (result, time() - start)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

#[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
fn now() -> Instant {
    Instant::now()
}
