//! What calls leave behind: nothing. One test, because the figures are those of the whole process.

#![cfg(target_os = "linux")]

mod common;

use std::future::IntoFuture as _;

use common::{ALICE, BOB, Counted, capacity, driver_with, info, join, next_sound, numbered, server, within};
use discord_voice::{
    Config,
    model::{GuildId, UserId},
};

#[derive(Clone, Copy, Debug, PartialEq)]
struct Usage {
    threads: usize,
    descriptors: usize,
    tasks: usize,
}

impl Usage {
    /// Less is fine: something of the calls before may still have been going away when it was counted.
    fn is_within(self, before: Self) -> bool {
        self.threads <= before.threads && self.descriptors <= before.descriptors && self.tasks <= before.tasks
    }
}

fn usage() -> Usage {
    let count = |path| std::fs::read_dir(path).expect("procfs").count();
    Usage {
        threads: count("/proc/self/task"),
        descriptors: count("/proc/self/fd"),
        tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
    }
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("procfs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a resident set");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_calls_in_a_row_leave_nothing_and_fifty_at_once_work() {
    let server = server().await;
    let mut config = Config::default();
    // More are started as they are needed, and stay.
    config.encode_threads = 1;
    let driver = driver_with(&server, config);
    let one_call = async |speak: bool| {
        let (client, mut events) = join(&server, &driver, ALICE).await;
        if speak {
            client.play(Counted::new(2)).finished().await;
        }
        within(client.leave()).await.expect("left");
        while within(events.next()).await.is_some() {}
    };
    for _ in 0..20 {
        one_call(true).await;
    }
    within(server.wait_for(|stats| stats.connections == 0)).await.expect("the server runs");
    let (before, memory) = (usage(), resident_kib());
    for number in 0..200 {
        one_call(number % 10 == 0).await;
    }
    within(server.wait_for(|stats| stats.connections == 0 && stats.sessions == 0)).await.expect("the server runs");
    common::until("everything is given back", || usage().is_within(before)).await;
    let grown = resident_kib().saturating_sub(memory);
    assert!(grown < 4 * 1_024, "200 calls left {grown} KiB behind");

    // Fifty guilds with a speaker and a listener each, all at once.
    let guilds: Vec<_> = (100..150).map(GuildId::new).collect();
    let calls = guilds.iter().map(|guild| async {
        let enter = async |user: UserId| {
            within(driver.connect(info(&server, *guild, user)).into_future()).await.expect("a call").0
        };
        (enter(BOB).await, enter(ALICE).await)
    });
    let calls = futures_util::future::join_all(calls).await;
    let mut heard: Vec<_> = calls.iter().map(|(listener, _)| listener.receive(capacity(200))).collect();
    for (_, speaker) in &calls {
        speaker.play(Counted::new(50));
    }
    for heard in &mut heard {
        for number in 0..50 {
            assert_eq!(next_sound(heard).await, (ALICE, numbered(number).to_vec()));
        }
    }
    drop((calls, heard));
    within(server.wait_for(|stats| stats.connections == 0)).await.expect("the server runs");
    common::until("everything is given back", || usage().is_within(before)).await;
}
