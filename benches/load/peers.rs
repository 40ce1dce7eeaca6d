//! The other members of the calls: a process of its own, so that they cost the measured one nothing.

use std::{
    env,
    error::Error as _,
    io::{self, BufRead as _},
    process::Command,
    time::Duration,
};

use discord_voice::SendBackend;
use serde::{Deserialize, Serialize};

use crate::{
    args::Join,
    calls::{Call, Opening, driver},
    child::Child,
    error::Error,
    load::runtime,
    print,
    sources::Sources,
    system::raise_descriptor_limit,
    target::Target,
};

/// Who they are. It goes over their standard input, where no other process sees the token.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) rooms: u32,
    /// How many there are in each room.
    pub(crate) members: u32,
    pub(crate) dave: bool,
    /// How long a join may take.
    pub(crate) timeout: Duration,
}

/// What they say.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Joined(u64),
    Playing(u64),
    Failed { failed: u64, first: String },
}

/// The process that they are in. They are gone when this is dropped.
pub(crate) struct Peers(Child);

impl Peers {
    /// Starts them, and waits until all of them are in their calls.
    pub(crate) fn join(plan: &Plan) -> Result<Self, Error> {
        let own = env::current_exe().map_err(|source| Error::NoProgram { source })?;
        let mut child = Child::start(NAME, Command::new(own).arg("--as-peers"))?;
        child.say(&serde_json::to_string(plan).expect("texts and numbers are JSON"))?;
        let limit = plan.timeout + JOIN_LIMIT * plan.rooms * plan.members;
        let mut peers = Self(child);
        peers.hear(limit)?;
        Ok(peers)
    }

    /// Lets them speak.
    pub(crate) fn play(&mut self) -> Result<(), Error> {
        self.0.say(PLAY)?;
        self.hear(PLAY_LIMIT)
    }

    /// Ends them.
    pub(crate) fn stop(self) {
        self.0.finish(STOP_LIMIT);
    }

    fn hear(&mut self, limit: Duration) -> Result<(), Error> {
        let line = self.0.line(limit)?;
        match serde_json::from_str(&line).map_err(|source| Error::NotUnderstood { name: NAME, source })? {
            Word::Joined(_) | Word::Playing(_) => Ok(()),
            Word::Failed { failed, first } => Err(Error::Peers { failed, first }),
        }
    }
}

/// What the process does: joins, speaks when it is asked to, and ends with its standard input.
pub(crate) fn run() -> Result<(), Error> {
    raise_descriptor_limit();
    let mut lines = io::stdin().lock().lines().map_while(Result::ok);
    let Some(plan) = lines.next() else { return Ok(()) };
    let plan: Plan = serde_json::from_str(&plan).map_err(|source| Error::NotUnderstood { name: NAME, source })?;
    let runtime = runtime(1)?;
    let _context = runtime.enter();
    let driver = driver(&plan.target, plan.dave, (1, SendBackend::Plain, None, false))?;
    let opening = Opening { join: Join::Paced, timeout: plan.timeout, sources: None };
    let mut calls: Vec<Call> = Vec::new();
    // One member of each room after the other: nobody waits for somebody in the same room.
    for member in 1..=plan.members {
        let infos = (0..plan.rooms).map(|room| plan.target.identity(room, member));
        let opened = runtime.block_on(opening.open(&driver, infos));
        if opened.failures > 0 {
            let first = opened.first_failure.map_or_else(String::new, |error| {
                error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"))
            });
            tell(&Word::Failed { failed: opened.failures, first });
            return Ok(());
        }
        calls.extend(opened.calls);
    }
    tell(&Word::Joined(calls.len() as u64));
    for line in lines {
        if line == PLAY {
            let sources = Sources::passthrough()?;
            calls.iter_mut().for_each(|call| call.play(&sources));
            tell(&Word::Playing(calls.len() as u64));
        }
    }
    Ok(())
}

fn tell(word: &Word) {
    print(&serde_json::to_string(word).expect("texts and numbers are JSON"));
}

const NAME: &str = "the process of the other members";

const PLAY: &str = "play";

/// What a join may take if many join.
const JOIN_LIMIT: Duration = Duration::from_millis(100);

/// How long it may take until all speak.
const PLAY_LIMIT: Duration = Duration::from_secs(30);

/// How long they may take to leave.
const STOP_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use discord_voice::model::Token;

    use super::*;

    #[test]
    fn a_plan_is_one_line_and_shows_no_token() {
        let target = Target::any("127.0.0.1:9".to_owned(), Token::new("hush"), None).expect("an endpoint");
        let plan = Plan { target, rooms: 3, members: 2, dave: true, timeout: Duration::from_secs(7) };
        assert!(!format!("{plan:?}").contains("hush"));
        let line = serde_json::to_string(&plan).expect("it is JSON");
        assert!(!line.contains('\n'));
        let read: Plan = serde_json::from_str(&line).expect("what was written");
        assert_eq!((read.rooms, read.members, read.dave, read.timeout), (3, 2, true, Duration::from_secs(7)));
        assert!(read.target.identity(1, 1) == plan.target.identity(1, 1));
    }

    #[test]
    fn words_are_lines() {
        for word in [Word::Joined(3), Word::Failed { failed: 1, first: "no\nreason".to_owned() }] {
            let line = serde_json::to_string(&word).expect("it is JSON");
            assert!(!line.contains('\n'));
            assert_eq!(serde_json::from_str::<Word>(&line).expect("what was written"), word);
        }
    }
}
