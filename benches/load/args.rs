//! The command line. Wrong usage ends the program here, with exit code 2.

use std::{path::PathBuf, time::Duration};

use clap::{Args as ClapArgs, Parser, ValueEnum};
use discord_voice::{
    Endpoint, SendBackend,
    model::{ChannelId, GuildId, SessionId, Token, UserId},
};
use serde::Serialize;

/// Opens calls on a voice server and prints what they cost.
#[derive(Debug, Parser)]
#[command(name = "load")]
pub(crate) struct Args {
    /// Calls to open, each in a channel of its own.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    pub(crate) calls: u32,
    /// For how long to measure.
    #[arg(long, value_name = "S", default_value = "10", value_parser = parse_seconds)]
    pub(crate) seconds: Duration,
    /// What the calls do.
    #[arg(long, value_enum, default_value_t = Mode::Passthrough)]
    pub(crate) mode: Mode,
    /// Who speaks in each call, with `--mode receive`.
    #[arg(long, value_name = "M", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=50))]
    pub(crate) speakers: u32,
    /// Whether calls are encrypted end to end.
    #[arg(long, value_enum, default_value_t = Switch::On)]
    pub(crate) dave: Switch,
    /// Bits per second, with `--mode encode`.
    #[arg(long, value_name = "B", default_value_t = 64_000, value_parser = clap::value_parser!(u32).range(6_000..=510_000))]
    pub(crate) bitrate: u32,
    /// How many join at a time.
    #[arg(long, value_enum, default_value_t = Join::Paced)]
    pub(crate) join: Join,
    /// When they begin to play [default: together with `--join paced`, at-connect otherwise].
    #[arg(long, value_enum)]
    pub(crate) play: Option<Play>,
    /// How long everything runs before it is measured.
    #[arg(long, value_name = "S", default_value = "2", value_parser = parse_seconds)]
    pub(crate) warm_up: Duration,
    /// How long a join may take.
    #[arg(long, value_name = "S", default_value = "60", value_parser = parse_seconds)]
    pub(crate) timeout: Duration,
    /// Threads of the runtime in which joins and heartbeats run.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) workers: u16,
    /// Threads that send and receive media.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) media_threads: u16,
    /// The precedence of media threads, as a nice value [default: the library's].
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-20..=19))]
    pub(crate) nice: Option<i32>,
    /// Media threads run as real-time threads, before all others, if the system allows it.
    #[arg(long)]
    pub(crate) real_time: bool,
    /// How media threads send: `plain` or `io_uring`.
    #[arg(long, value_name = "HOW", default_value_t = SendBackend::Plain)]
    pub(crate) send_backend: SendBackend,
    #[command(flatten)]
    pub(crate) pins: PinArgs,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
    /// Be the other members of the calls, as said on the standard input.
    #[arg(long, hide = true)]
    pub(crate) as_peers: bool,
}

/// Which processors are used.
#[derive(Clone, Copy, Debug, ClapArgs)]
#[command(next_help_heading = "Processors")]
pub(crate) struct PinArgs {
    /// The processor of the calls [default: 0, if there are two].
    #[arg(long, value_name = "CPU")]
    pub(crate) pin_client: Option<usize>,
    /// The processor of the server and of the other members of the calls [default: 1, if there are two].
    #[arg(long, value_name = "CPU")]
    pub(crate) pin_server: Option<usize>,
    /// Leave it to the system.
    #[arg(long, conflicts_with_all = ["pin_client", "pin_server"])]
    pub(crate) no_pin: bool,
}

/// The server that is started if none is named.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Own server")]
pub(crate) struct ServerArgs {
    /// The program to start as `PATH serve ..` [default: discord-voice, next to this program].
    #[arg(long, value_name = "PATH")]
    pub(crate) server_binary: Option<PathBuf>,
    /// Connect without TLS.
    #[arg(long)]
    pub(crate) no_tls: bool,
    /// For how long the server gathers those who join, to add them together [default: the server's own].
    #[arg(long, value_name = "MS")]
    pub(crate) dave_delay: Option<u64>,
}

/// Another voice server. Its ids are those of the first call; the others count up from there.
#[derive(Clone, Debug, ClapArgs)]
#[command(next_help_heading = "Target (none: a server of its own)")]
pub(crate) struct TargetArgs {
    /// The voice server: host or host:port, `wss://` in front or not, `ws://` on a loopback address.
    #[arg(long, value_name = "URL", conflicts_with_all = ["server_binary", "no_tls", "dave_delay"],
        requires_all = ["server_id", "channel_id", "user_id", "session_id", "token"])]
    pub(crate) endpoint: Option<Endpoint>,
    /// The guild, as voice servers call it.
    #[arg(long, value_name = "A", requires = "endpoint")]
    pub(crate) server_id: Option<GuildId>,
    /// The voice channel.
    #[arg(long, value_name = "B", requires = "endpoint")]
    pub(crate) channel_id: Option<ChannelId>,
    /// The user.
    #[arg(long, value_name = "C", requires = "endpoint")]
    pub(crate) user_id: Option<UserId>,
    /// What session ids begin with.
    #[arg(long, value_name = "S", requires = "endpoint", value_parser = parse_session_id)]
    pub(crate) session_id: Option<SessionId>,
    /// The token, the same for all.
    #[arg(long, value_name = "T", requires = "endpoint", value_parser = parse_token)]
    pub(crate) token: Option<Token>,
    /// Trust the certificates in this PEM file as well.
    #[arg(long, value_name = "PEM", requires = "endpoint")]
    pub(crate) certificate: Option<PathBuf>,
}

/// What the calls do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    /// They send Opus frames as they are.
    Passthrough,
    /// They encode what they send.
    Encode,
    /// They listen to others.
    Receive,
    /// They are connected.
    Idle,
}

/// How many join at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Join {
    /// One.
    OneByOne,
    /// All.
    AtOnce,
    /// 32.
    Paced,
}

/// When calls begin to play.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Play {
    /// Each as soon as it is connected; tells how soon the first packet is sent.
    AtConnect,
    /// All of them when the last one is connected; tells what calls cost that are only connected.
    Together,
}

/// On or off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    On,
    Off,
}

impl Args {
    /// When calls begin to play.
    pub(crate) fn play(&self) -> Play {
        self.play.unwrap_or(if self.join == Join::Paced { Play::Together } else { Play::AtConnect })
    }

    /// Whether calls are encrypted end to end.
    pub(crate) const fn dave(&self) -> bool {
        matches!(self.dave, Switch::On)
    }

    /// How many others have to be in each call.
    ///
    /// Who is alone in an encrypted call has no key, and sends nothing.
    pub(crate) const fn peers(&self) -> u32 {
        match self.mode {
            Mode::Receive => self.speakers,
            Mode::Passthrough | Mode::Encode | Mode::Idle => self.dave() as u32,
        }
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=MAX_SECONDS).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "give a number of seconds, a day at most".to_owned())
}

fn parse_token(text: &str) -> Result<Token, String> {
    if text.is_empty() { Err("the token is empty".to_owned()) } else { Ok(Token::new(text)) }
}

fn parse_session_id(text: &str) -> Result<SessionId, String> {
    if text.is_empty() { Err("the session id is empty".to_owned()) } else { Ok(SessionId::new(text)) }
}

/// A day.
const MAX_SECONDS: f64 = 86_400.0;

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Option<Args> {
        Args::try_parse_from(format!("load {line}").split_whitespace()).ok()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn playing_begins_as_suits_the_way_of_joining() {
        let play = |line| parse(line).map(|args| args.play());
        assert_eq!(play(""), Some(Play::Together));
        assert_eq!(play("--join at-once"), Some(Play::AtConnect));
        assert_eq!(play("--join one-by-one"), Some(Play::AtConnect));
        assert_eq!(play("--join one-by-one --play together"), Some(Play::Together));
    }

    #[test]
    fn there_are_others_where_they_are_needed() {
        let peers = |line| parse(line).map(|args| args.peers());
        assert_eq!(peers("--mode passthrough"), Some(1));
        assert_eq!(peers("--mode passthrough --dave off"), Some(0));
        assert_eq!(peers("--mode receive --speakers 3 --dave off"), Some(3));
    }

    #[test]
    fn half_a_target_is_wrong_usage() {
        let target = "--endpoint a.example --server-id 1 --channel-id 2 --user-id 3 --session-id s --token t";
        assert!(parse(target).is_some());
        assert!(parse(&format!("{target} --no-tls")).is_none());
        assert!(parse("--endpoint a.example --token t").is_none());
        assert!(parse("--token t").is_none());
    }

    #[test]
    fn numbers_out_of_range_are_wrong_usage() {
        for line in ["--calls 0", "--calls 20001", "--seconds -1", "--seconds nan", "--speakers 0", "--bitrate 1"] {
            assert!(parse(line).is_none(), "{line}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let line = "--endpoint a.example --server-id 1 --channel-id 2 --user-id 3 --session-id hush --token hush";
        assert!(!format!("{:?}", parse(line).expect("complete")).contains("hush"));
    }
}
