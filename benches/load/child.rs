//! A process of our own that reads and writes lines.

use std::{
    fs::File,
    io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _},
    process::{Child as Process, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::{Pid, Signal, kill_process},
};

use crate::{error::Error, measuring::now};

/// A running process. It is ended when this is dropped.
///
/// Nothing here starts a thread: those would count among the ones that are measured.
pub(crate) struct Child {
    name: &'static str,
    process: Process,
    input: Option<ChildStdin>,
    output: ChildStdout,
    /// Read, and not handed out yet.
    unread: Vec<u8>,
    /// What it says to people.
    messages: File,
}

impl Child {
    /// Starts it, on the processor of the calling thread.
    pub(crate) fn start(name: &'static str, command: &mut Command) -> Result<Self, Error> {
        let failed = |source| Error::Start { name, source };
        let messages = tempfile::tempfile().map_err(failed)?;
        let errors = messages.try_clone().map_err(failed)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut process = command.spawn().map_err(failed)?;
        let input = process.stdin.take();
        let output = process.stdout.take().expect("it was asked for");
        Ok(Self { name, process, input, output, unread: Vec::new(), messages })
    }

    /// Writes a line to it.
    pub(crate) fn say(&mut self, line: &str) -> Result<(), Error> {
        let written = self.input.as_mut().map(|input| writeln!(input, "{line}").and_then(|()| input.flush()));
        match written {
            Some(Ok(())) => Ok(()),
            _ => Err(self.gone()),
        }
    }

    /// The next line that it writes.
    pub(crate) fn line(&mut self, limit: Duration) -> Result<String, Error> {
        let deadline = now() + limit;
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            match self.read(deadline) {
                Ok(0) => return Err(self.gone()),
                Ok(_) if self.unread.len() <= MAX_LINE_LEN => {}
                Ok(_) => return Err(Error::LongLine { name: self.name }),
                Err(error) if error.kind() == ErrorKind::TimedOut => {
                    return Err(Error::Silent { name: self.name, limit });
                }
                Err(source) => return Err(Error::Read { name: self.name, source }),
            }
        }
    }

    /// Asks it to end, as a service manager does.
    pub(crate) fn terminate(&self) {
        let id = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        // Gone already is what is wanted.
        let _ = id.map(|id| kill_process(id, Signal::TERM));
    }

    /// Says that nothing more comes, and gives it a while to end by itself.
    pub(crate) fn finish(mut self, limit: Duration) {
        self.input = None;
        let deadline = now() + limit;
        while self.read(deadline).is_ok_and(|len| len > 0) {
            self.unread.clear();
        }
    }

    /// Waits for what it writes next; 0 is the end.
    fn read(&mut self, deadline: Instant) -> io::Result<usize> {
        loop {
            let left = deadline.saturating_duration_since(now());
            let left = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos().into() };
            match poll(&mut [PollFd::new(&self.output, PollFlags::IN)], Some(&left)) {
                Ok(0) => return Err(ErrorKind::TimedOut.into()),
                Ok(_) => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        let mut bytes = [0; 4_096];
        let len = self.output.read(&mut bytes)?;
        self.unread.extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    /// Why it is not there any more, in its own words.
    fn gone(&mut self) -> Error {
        let mut said = Vec::new();
        let read = self.messages.seek(SeekFrom::End(0)).and_then(|len| {
            self.messages.seek(SeekFrom::Start(len.saturating_sub(MAX_MESSAGE_LEN)))?;
            self.messages.read_to_end(&mut said)
        });
        let said = String::from_utf8_lossy(if read.is_ok() { &said } else { &[] });
        let last = said.trim().lines().last().unwrap_or("it said nothing").to_owned();
        Error::Gone { name: self.name, last }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Gone already is what was wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What a line may be long, in bytes.
const MAX_LINE_LEN: usize = 1 << 20;

/// How much is read of what a process said before it ended, in bytes.
const MAX_MESSAGE_LEN: u64 = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        Child::start("a shell", Command::new("sh").args(["-c", script])).expect("there is a shell")
    }

    #[test]
    fn lines_go_both_ways() {
        let mut child = shell("while read line; do echo \"<$line>\"; done");
        for line in ["one", "two"] {
            child.say(line).expect("it reads");
            assert_eq!(child.line(PATIENCE).expect("it answers"), format!("<{line}>"));
        }
        child.finish(PATIENCE);
    }

    #[test]
    fn who_says_nothing_is_not_waited_for() {
        let mut child = shell("read line");
        assert!(matches!(child.line(Duration::from_millis(20)), Err(Error::Silent { .. })));
    }

    #[test]
    fn the_last_words_are_told() {
        let mut child = shell("echo ignored >&2; echo no server here >&2");
        let error = child.line(PATIENCE).expect_err("it ends");
        assert!(matches!(error, Error::Gone { last, .. } if last == "no server here"));
    }

    const PATIENCE: Duration = Duration::from_secs(20);
}
