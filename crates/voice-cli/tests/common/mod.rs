//! The built program under test, and audio for it. No wait here is without a limit.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::{
    fs::File,
    future::Future,
    io::{BufWriter, Cursor},
    path::Path,
    process::{Output, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};
use voice_audio::{
    FRAME_SAMPLES, FileReader, FrameBuf, OpenOptions, open,
    record::{OggOpusWriter, RecordOptions},
};

/// Waits, but not for ever.
pub(crate) async fn within_limit<T>(future: impl Future<Output = T>) -> T {
    timeout(LIMIT, future).await.expect("it takes far less time than the limit")
}

/// The program, without a bot's token in its environment.
pub(crate) fn program(arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_discord-voice"));
    command.args(arguments.split_whitespace()).env_remove("DISCORD_TOKEN").kill_on_drop(true).stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) async fn run(arguments: &str) -> Output {
    within_limit(program(arguments).output()).await.expect("the program runs")
}

/// The one line of an error, after exit code 1.
pub(crate) fn error_of(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(output.stdout.is_empty(), "nothing for programs to read: {}", String::from_utf8_lossy(&output.stdout));
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(matches!(errors[..], [line] if stderr.ends_with(&format!("{line}\n"))), "one error, last: {stderr}");
    errors[0].to_owned()
}

/// The summary, after exit code 0: the only line on the standard output.
pub(crate) fn summary_of(output: &Output) -> Value {
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    serde_json::from_str(&stdout).expect("the line is JSON")
}

/// A program that runs beside the test.
pub(crate) struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
        let stderr = BufReader::new(child.stderr.take().expect("piped")).lines();
        Self { stdin: child.stdin.take(), child, stdout, stderr }
    }

    /// Writes a line to its standard input, which has to be piped.
    pub(crate) async fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("piped and open");
        within_limit(stdin.write_all(format!("{line}\n").as_bytes())).await.expect("it reads");
    }

    /// Closes its standard input.
    pub(crate) fn hang_up(&mut self) {
        self.stdin = None;
    }

    /// The next line of the standard output, as JSON.
    pub(crate) async fn next_line(&mut self) -> Value {
        let line = within_limit(self.stdout.next_line()).await.expect("readable").expect("another line");
        serde_json::from_str(&line).expect("the line is JSON")
    }

    /// Waits for a line on the standard error that begins so.
    pub(crate) async fn said(&mut self, beginning: &str) -> String {
        let mut before = Vec::new();
        while let Some(line) = within_limit(self.stderr.next_line()).await.expect("readable") {
            if line.starts_with(beginning) {
                return line;
            }
            before.push(line);
        }
        panic!("{beginning:?} was never said, but {before:?}");
    }

    /// Ctrl-C.
    #[cfg(unix)]
    pub(crate) fn interrupt(&self) {
        self.signal(rustix::process::Signal::INT);
    }

    /// What a service manager sends.
    #[cfg(unix)]
    pub(crate) fn terminate(&self) {
        self.signal(rustix::process::Signal::TERM);
    }

    /// The terminal was closed.
    #[cfg(unix)]
    pub(crate) fn close_terminal(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    /// What nobody can prepare for. Waits until it has happened.
    #[cfg(unix)]
    pub(crate) async fn kill(mut self) {
        within_limit(self.child.kill()).await.expect("it can be killed");
    }

    #[cfg(unix)]
    fn signal(&self, signal: rustix::process::Signal) {
        let id = self.child.id().expect("it still runs");
        let id = rustix::process::Pid::from_raw(id.try_into().expect("a process id")).expect("not zero");
        rustix::process::kill_process(id, signal).expect("it can be sent signals");
    }

    /// Waits for the end.
    pub(crate) async fn output(mut self) -> Output {
        let stdout = rest(self.stdout.into_inner());
        let stderr = rest(self.stderr.into_inner());
        let (stdout, stderr, status) = within_limit(async { tokio::join!(stdout, stderr, self.child.wait()) }).await;
        Output { status: status.expect("it ends"), stdout, stderr }
    }
}

async fn rest(mut pipe: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut bytes = Vec::new();
    pipe.read_to_end(&mut bytes).await.expect("readable");
    bytes
}

/// A running `serve --json`, and its first line.
pub(crate) async fn serve(arguments: &str) -> (Running, Value) {
    let mut server = Running::start(program(&format!("serve --json {arguments}")));
    let terms = server.next_line().await;
    (server, terms)
}

/// The arguments that join a server's voice channel directly.
pub(crate) fn direct(terms: &Value, user: u64) -> String {
    let (endpoint, token) = (text(&terms["endpoint"]), text(&terms["voice"]["token"]));
    format!("--endpoint {endpoint} --server-id 1 --channel-id 2 --user-id {user} --session-id any --token {token}")
}

/// The arguments that join a server's voice channel through its main gateway.
pub(crate) fn as_bot(terms: &Value) -> String {
    let (gateway, bots) = (text(&terms["gateway_url"]), &terms["bots"]);
    format!("--gateway {gateway} --guild {} --channel {}", text(&bots["guild_id"]), text(&bots["channel_id"]))
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Writes a part of the bundled recording, two seconds in all modes of Opus, and returns its frames.
pub(crate) fn short_song(path: &Path) -> Vec<Vec<u8>> {
    let demo = include_bytes!("../../../../assets/demo.opus");
    let reader = FileReader::new(Cursor::new(demo.as_slice()), OpenOptions::default()).expect("the recording opens");
    let song: Vec<Vec<u8>> = all_frames(reader).into_iter().skip(350).step_by(3).take(100).collect();
    let file = BufWriter::new(File::create(path).expect("a new file"));
    let mut writer = OggOpusWriter::new(file, RecordOptions::default()).expect("writable");
    for (frame, at) in song.iter().zip((0_u32..).step_by(FRAME_SAMPLES)) {
        writer.write(at, frame).expect("writable");
    }
    writer.finish().expect("writable");
    song
}

/// The frames of an Ogg Opus file, unchanged.
pub(crate) fn frames(path: &Path) -> Vec<Vec<u8>> {
    let reader = open(path, OpenOptions::default()).expect("the recording opens");
    assert!(reader.is_passthrough());
    all_frames(reader)
}

fn all_frames(mut reader: FileReader) -> Vec<Vec<u8>> {
    let (mut frame, mut frames) = (FrameBuf::new(), Vec::new());
    while reader.read_frame(&mut frame).expect("readable") {
        frames.push(frame.as_slice().to_vec());
    }
    frames
}

/// More than anything takes, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(30);
