//! The server that everything is sent to: `discord-voice serve`, a process of its own.

use std::{
    fmt,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::Duration,
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    Error,
    args::{PinArgs, ServerArgs},
    system,
};

/// A running server. It is ended when this is dropped.
pub struct Server {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<String>,
    terms: Terms,
    measures: bool,
}

/// How a server is started.
#[derive(Clone, Debug)]
pub struct Options {
    program: PathBuf,
    processor: Option<usize>,
    back_to: Option<usize>,
    measures: bool,
    certificate: Option<PathBuf>,
}

impl Options {
    /// Without TLS, and without end-to-end encryption.
    #[must_use]
    pub fn new(server: &ServerArgs, pins: &PinArgs) -> Self {
        Self {
            program: server.server_binary.clone(),
            processor: pins.server(),
            back_to: pins.client(),
            measures: !server.unmeasured,
            certificate: None,
        }
    }

    /// With TLS; the certificate is written to this file.
    #[must_use]
    pub fn with_tls(mut self, certificate: &Path) -> Self {
        self.certificate = Some(certificate.to_owned());
        self
    }
}

/// What the server says first.
#[derive(Deserialize)]
struct Terms {
    endpoint: String,
    media: String,
    voice: VoiceTerms,
}

#[derive(Deserialize)]
struct VoiceTerms {
    token: String,
}

impl Server {
    /// Starts a server on its processor, and leaves this thread on that of the client.
    ///
    /// To be called before there are other threads, as only this one changes the processor.
    ///
    /// # Errors
    ///
    /// [`Error`] when it does not start, or says nothing for 20 s.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let mut command = Command::new(&options.program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--dave", "off", "--json"]);
        if options.measures {
            command.arg("--measure");
        }
        if let Some(certificate) = &options.certificate {
            command.args(["--tls", "--cert-out"]).arg(certificate);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        // A child begins where its parent is: no thread of it is ever elsewhere.
        system::pin(options.processor)?;
        let child = command.spawn();
        system::pin(options.back_to)?;
        let mut child = child.map_err(|source| Error::StartServer { program: options.program.clone(), source })?;
        let (lines, output) = sync_channel(LINES);
        let stdout = child.stdout.take();
        let input = child.stdin.take();
        thread::spawn(move || {
            for line in stdout.into_iter().flat_map(|stdout| BufReader::new(stdout).lines().map_while(Result::ok)) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        // From here on dropping it ends the process.
        let mut server = Self { child, input, output, terms: Terms::default(), measures: options.measures };
        server.terms = server.read("its address", STARTED_WITHIN)?;
        Ok(server)
    }

    /// Where voice clients connect to, without scheme.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        let endpoint = self.terms.endpoint.as_str();
        endpoint.split_once("://").map_or(endpoint, |(_, rest)| rest)
    }

    /// What voice clients identify with.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.terms.voice.token
    }

    /// Where media goes.
    ///
    /// # Errors
    ///
    /// [`Error::Address`] when the server named something else.
    pub fn media(&self) -> Result<SocketAddr, Error> {
        self.terms.media.parse().map_err(|_| Error::Address { address: self.terms.media.clone() })
    }

    /// Has the server forget what arrived, and count from now on.
    ///
    /// # Errors
    ///
    /// [`Error`] when it does not say that it does.
    pub fn begin(&mut self) -> Result<(), Error> {
        if self.measures {
            self.write("begin")?;
            self.read::<Value>("measuring", ANSWERED_WITHIN)?;
        }
        Ok(())
    }

    /// What arrived since the beginning; nothing when the server does not measure.
    ///
    /// # Errors
    ///
    /// [`Error`] when it does not say.
    pub fn end(&mut self) -> Result<Option<Value>, Error> {
        if !self.measures {
            return Ok(None);
        }
        self.write("end")?;
        self.read("what arrived", ANSWERED_WITHIN).map(Some)
    }

    fn write(&mut self, line: &str) -> Result<(), Error> {
        let input = self.input.as_mut().ok_or(Error::ServerEnded)?;
        writeln!(input, "{line}").and_then(|()| input.flush()).map_err(|_| Error::ServerEnded)
    }

    fn read<T: DeserializeOwned>(&self, wanted: &'static str, within: Duration) -> Result<T, Error> {
        let line = self.output.recv_timeout(within).map_err(|error| match error {
            RecvTimeoutError::Timeout => Error::ServerSilent { wanted, waited: within },
            RecvTimeoutError::Disconnected => Error::ServerEnded,
        })?;
        serde_json::from_str(&line).map_err(|source| Error::ServerAnswer { wanted, source })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("endpoint", &self.terms.endpoint).finish_non_exhaustive()
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self { endpoint: String::new(), media: String::new(), voice: VoiceTerms { token: String::new() } }
    }
}

/// Lines of the server that may wait; it writes one for each that is written to it.
const LINES: usize = 16;

/// How long a server may take to say its address.
const STARTED_WITHIN: Duration = Duration::from_secs(20);

/// How long a server may take to answer; it has to sort what it counted.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);
