//! The voice server that is started if none is named: `discord-voice serve`, a process of its own.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use discord_voice::model::Token;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{args::ServerArgs, child::Child, error::Error, system, target::Target};

/// A server that runs until this is dropped.
pub(crate) struct OwnServer(Child);

/// What it says when it is there.
#[derive(Deserialize)]
struct Terms {
    endpoint: String,
    certificate: Option<PathBuf>,
    voice: VoiceTerms,
}

#[derive(Deserialize)]
struct VoiceTerms {
    token: Token,
}

impl OwnServer {
    /// Starts a server, and says how to reach it.
    pub(crate) fn start(args: &ServerArgs, dave: bool) -> Result<(Self, Target), Error> {
        let program = program(args)?;
        let own = env::current_exe().map_err(|source| Error::NoProgram { source })?;
        let mut command = Command::new(own);
        command.arg(system::AS_SERVER).arg(program).args(command_line(args, dave));
        let mut child = Child::start(NAME, &mut command)?;
        let line = child.line(START_LIMIT)?;
        Ok((Self(child), target(&line)?))
    }

    /// Begins to measure what arrives.
    pub(crate) fn begin(&mut self) -> Result<(), Error> {
        self.ask("begin").map(drop)
    }

    /// Ends that; what was measured.
    pub(crate) fn end(&mut self) -> Result<Box<RawValue>, Error> {
        self.ask("end")
    }

    fn ask(&mut self, what: &str) -> Result<Box<RawValue>, Error> {
        self.0.say(what)?;
        answer(self.0.line(ANSWER_LIMIT)?)
    }

    /// Stops it, in order: it has a file to remove.
    pub(crate) fn stop(self) {
        self.0.terminate();
        self.0.finish(STOP_LIMIT);
    }
}

fn program(args: &ServerArgs) -> Result<PathBuf, Error> {
    let path = match &args.server_binary {
        Some(path) => path.clone(),
        None => {
            let own = env::current_exe().map_err(|source| Error::NoProgram { source })?;
            let folder = own.parent().unwrap_or_else(|| Path::new("."));
            folder.join(format!("discord-voice{}", env::consts::EXE_SUFFIX))
        }
    };
    if path.is_file() { Ok(path) } else { Err(Error::NoServer { path }) }
}

fn command_line(args: &ServerArgs, dave: bool) -> Vec<String> {
    let dave_mode = if dave { "required" } else { "off" };
    let mut line: Vec<String> =
        ["serve", "--listen", "127.0.0.1:0", "--json", "--measure", "--dave", dave_mode].map(str::to_owned).into();
    if !args.no_tls {
        line.push("--tls".to_owned());
    }
    if let Some(delay) = args.dave_delay {
        line.extend(["--dave-delay".to_owned(), delay.to_string()]);
    }
    line
}

fn target(line: &str) -> Result<Target, Error> {
    let terms: Terms = serde_json::from_str(line).map_err(|source| Error::NotUnderstood { name: NAME, source })?;
    Target::any(terms.endpoint, terms.voice.token, terms.certificate).map_err(|source| Error::BadEndpoint { source })
}

/// Takes an answer as it is, unless it says what went wrong.
fn answer(line: String) -> Result<Box<RawValue>, Error> {
    let not_understood = |source| Error::NotUnderstood { name: NAME, source };
    let value: Value = serde_json::from_str(&line).map_err(not_understood)?;
    match value.get("error").and_then(Value::as_str) {
        Some(error) => Err(Error::NotMeasured { error: error.to_owned() }),
        None => RawValue::from_string(line).map_err(not_understood),
    }
}

const NAME: &str = "the voice server";

/// How long the server may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(20);

/// How long it may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How long it may take to answer, busy as it is.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn args() -> ServerArgs {
        ServerArgs { server_binary: None, no_tls: false, dave_delay: None }
    }

    #[test]
    fn the_terms_are_read() {
        let line = r#"{"endpoint":"127.0.0.1:4711","gateway_url":"wss://127.0.0.1:4711/gateway","media":"127.0.0.1:1",
            "certificate":"/tmp/a.pem","dave":"off","voice":{"token":"t","server_id":"any"},"bots":{}}"#;
        let target = target(line).expect("complete");
        assert!(target.is_tls());
        let info = target.identity(0, 0);
        assert_eq!((info.endpoint.port(), info.token.expose()), (4711, "t"));
    }

    #[test]
    fn what_is_no_server_is_told() {
        assert!(matches!(target("voice gateway 127.0.0.1:1"), Err(Error::NotUnderstood { .. })));
        let args = ServerArgs { server_binary: Some("/nowhere/discord-voice".into()), ..args() };
        let error = OwnServer::start(&args, true).err().expect("nothing is there").to_string();
        assert!(error.contains("/nowhere/discord-voice") && error.contains("-p voice-cli"), "{error}");
    }

    #[test]
    fn answers_are_taken_as_they_are() {
        let line = r#"{"measured_s":1.50,"packets":3}"#;
        assert_eq!(answer(line.to_owned()).expect("an answer").get(), line);
        let error = answer(r#"{"error":"nothing is measured"}"#.to_owned());
        assert!(matches!(error, Err(Error::NotMeasured { error }) if error == "nothing is measured"));
        assert!(matches!(answer("{".to_owned()), Err(Error::NotUnderstood { .. })));
    }

    #[test]
    fn the_server_is_told_what_was_asked_for() {
        assert_eq!(
            command_line(&args(), true).join(" "),
            "serve --listen 127.0.0.1:0 --json --measure --dave required --tls"
        );
        let other = ServerArgs { no_tls: true, dave_delay: Some(5), ..args() };
        assert_eq!(
            command_line(&other, false).join(" "),
            "serve --listen 127.0.0.1:0 --json --measure --dave off --dave-delay 5"
        );
    }
}
