//! davey's session, driven by the messages of a voice gateway the way programs with davey do.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use davey::{DaveSession, ProposalsOperationType};
use serde_json::{Value, json};

/// A message to the gateway.
#[derive(Clone, Debug)]
pub enum Answer {
    Text(String),
    Binary(Vec<u8>),
}

/// davey leaves to its program what messages there are and when frames are plain; this is that program.
pub struct Session {
    user: u64,
    channel: u64,
    pub dave: DaveSession,
    /// The version that frames leave with; `None` before the first transition.
    pub version: Option<u16>,
    pending: BTreeMap<u16, u16>,
    recognized: Vec<u64>,
    answers: Vec<Answer>,
    commit: Vec<u8>,
    /// Commits of its own that won.
    pub commits_won: u64,
    /// Welcomes by which it came into a group.
    pub welcomes: u64,
    /// Commits and welcomes that it could not follow.
    pub recoveries: u64,
}

impl Session {
    pub fn new(user: u64, channel: u64) -> Self {
        Self {
            user,
            channel,
            dave: DaveSession::new(VERSION, user, channel, None).unwrap(),
            version: None,
            pending: BTreeMap::new(),
            recognized: vec![user],
            answers: Vec::new(),
            commit: Vec::new(),
            commits_won: 0,
            welcomes: 0,
            recoveries: 0,
        }
    }

    pub fn answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    /// A message in JSON; those that are no matter of DAVE are passed over.
    pub fn handle_text(&mut self, message: &Value) {
        let data = &message["d"];
        match message["op"].as_u64() {
            Some(4) if data["dave_protocol_version"].as_u64() > Some(0) => self.begin(),
            Some(4) => {
                self.version = Some(0);
                self.dave.set_passthrough_mode(true, None);
            }
            Some(11) => self.recognized.extend(data["user_ids"].as_array().unwrap().iter().map(snowflake)),
            Some(13) => {
                let gone = snowflake(&data["user_id"]);
                self.recognized.retain(|user| *user != gone);
            }
            Some(21) => self.prepare(number(&data["transition_id"]), number(&data["protocol_version"])),
            Some(22) => self.execute(number(&data["transition_id"])),
            Some(24) if data["epoch"] == 1 => self.begin(),
            _ => {}
        }
    }

    /// A binary message of gateway version 8: its number, its opcode, and what it says.
    pub fn handle_binary(&mut self, message: &[u8]) {
        let [_, _, opcode, payload @ ..] = message else { panic!("{message:?}") };
        match (opcode, payload) {
            (25, sender) => self.dave.set_external_sender(sender).unwrap(),
            (27, [operation, proposals @ ..]) => {
                let operation = match operation {
                    0 => ProposalsOperationType::APPEND,
                    _ => ProposalsOperationType::REVOKE,
                };
                let done = self.dave.process_proposals(operation, proposals, Some(&self.recognized));
                let made = done.unwrap_or_else(|e| panic!("davey of {} and proposals: {e}", self.user));
                if let Some(davey::CommitWelcome { commit, welcome }) = made {
                    self.say_binary(28, &[commit.as_slice(), &welcome.unwrap_or_default()].concat());
                    self.commit = commit;
                }
            }
            (29, [high, low, commit @ ..]) => {
                let id = u16::from_be_bytes([*high, *low]);
                match self.dave.process_commit(commit) {
                    Ok(true) => {
                        self.commits_won += u64::from(commit == self.commit);
                        self.prepare(id, 1);
                    }
                    Ok(false) => {}
                    Err(_) => self.recover(id),
                }
            }
            (30, [high, low, welcome @ ..]) => {
                let id = u16::from_be_bytes([*high, *low]);
                match self.dave.process_welcome(welcome, Some(&self.recognized)) {
                    Ok(()) => {
                        self.welcomes += 1;
                        self.prepare(id, 1);
                    }
                    Err(_) => self.recover(id),
                }
            }
            _ => panic!("op {opcode}: {payload:?}"),
        }
    }

    fn begin(&mut self) {
        self.dave.reinit(VERSION, self.user, self.channel, None).unwrap();
        let package = self.dave.create_key_package().unwrap();
        self.say_binary(26, &package);
    }

    fn prepare(&mut self, id: u16, version: u16) {
        self.dave.prepare_transition(id, version).unwrap();
        self.dave.set_passthrough_mode(version == 0, None);
        if id == 0 {
            self.version = Some(version);
        } else {
            self.pending.insert(id, version);
            self.say(23, id);
        }
    }

    fn execute(&mut self, id: u16) {
        if self.dave.execute_transition(id).unwrap() {
            self.version = self.pending.remove(&id);
        }
    }

    fn recover(&mut self, id: u16) {
        self.recoveries += 1;
        self.say(31, id);
        self.begin();
    }

    fn say(&mut self, opcode: u8, transition: u16) {
        self.answers.push(Answer::Text(json!({ "op": opcode, "d": { "transition_id": transition } }).to_string()));
    }

    fn say_binary(&mut self, opcode: u8, payload: &[u8]) {
        self.answers.push(Answer::Binary([&[opcode], payload].concat()));
    }

    /// Protects a frame of Opus; `None` if none may leave.
    pub fn seal(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        match self.version? {
            0 => Some(frame.to_vec()),
            _ => self.dave.encrypt_opus(frame).ok().map(|frame| frame.into_owned()),
        }
    }
}

/// The id of a user or a channel, which JSON has as a text.
pub fn snowflake(value: &Value) -> u64 {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no id: {value}"))
}

fn number(value: &Value) -> u16 {
    value.as_u64().and_then(|number| number.try_into().ok()).unwrap_or_else(|| panic!("no number: {value}"))
}

const VERSION: NonZeroU16 = NonZeroU16::MIN;
