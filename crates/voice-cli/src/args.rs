//! The command line. Wrong usage ends the program here, with exit code 2.

use std::{net::IpAddr, net::SocketAddr, path::PathBuf, time::Duration};

use clap::{
    Args, Parser, Subcommand, ValueEnum,
    builder::{PathBufValueParser, TypedValueParser},
};
use discord_voice::{
    Endpoint,
    model::{ChannelId, GuildId, SessionId, Token, UserId},
};
use serde::Serialize;

use crate::{bot::GatewayUrl, recorder::RecordingPath};

/// Plays and records audio in Discord voice calls, and runs a voice server of its own.
#[derive(Debug, Parser)]
#[command(name = "discord-voice", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Play a file in a call.
    Play(PlayArgs),
    /// Record what is heard in a call.
    Record(RecordArgs),
    /// Run a voice server that this and other clients can join.
    Serve(ServeArgs),
}

#[derive(Debug, Args)]
pub(crate) struct PlayArgs {
    /// The audio file: Ogg Opus, WAV, FLAC, MP3, Ogg Vorbis, WebM, Matroska, MP4; - is standard input [default: a
    /// bundled recording].
    pub(crate) file: Option<PathBuf>,
    /// Write what is heard to this file: .ogg and .opus keep the frames as they are, .wav decodes them.
    #[arg(long, value_name = "OUT", value_parser = recording_path())]
    pub(crate) record: Option<RecordingPath>,
    /// Bits per second to encode with, if the file has to be encoded.
    #[arg(long, value_name = "B", default_value_t = 64_000, value_parser = clap::value_parser!(u32).range(6_000..=510_000))]
    pub(crate) bitrate: u32,
    /// A factor on the volume, 0 to 10; anything but 1 means that even Opus is decoded and encoded again.
    #[arg(long, value_name = "V", default_value_t = 1.0, value_parser = parse_volume)]
    pub(crate) volume: f32,
    /// Print the summary as one JSON object on the last line of the standard output.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct RecordArgs {
    /// The file to write: .ogg and .opus keep the frames as they are, .wav decodes them. Each further speaker gets
    /// a file of their own, named after OUT and the user's id.
    #[arg(value_parser = recording_path())]
    pub(crate) out: RecordingPath,
    /// Stop after so many seconds [default: when the call ends, or at Ctrl-C].
    #[arg(long, value_name = "N", value_parser = parse_seconds)]
    pub(crate) seconds: Option<Duration>,
    /// Print the summary as one JSON object on the last line of the standard output.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen for HTTP and WebSockets; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub(crate) listen: SocketAddr,
    /// Where to listen for media [default: the same address, a free port].
    #[arg(long, value_name = "ADDR")]
    pub(crate) udp: Option<SocketAddr>,
    /// The address that clients are told, when it is another than the one listened on.
    #[arg(long, value_name = "IP")]
    pub(crate) advertise: Option<IpAddr>,
    /// Let pages of this origin ask, such as http://127.0.0.1:7800. All others are refused. May be given several times.
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<String>,
    /// Speak TLS, with a self-signed certificate.
    #[arg(long)]
    pub(crate) tls: bool,
    /// Where to write the certificate [default: a temporary file, removed at the end].
    #[arg(long, value_name = "PATH", requires = "tls")]
    pub(crate) cert_out: Option<PathBuf>,
    /// The token that voice clients have to bring [default: a random one].
    #[arg(long, value_name = "T", value_parser = parse_token)]
    pub(crate) token: Option<Token>,
    /// Who is encrypted end to end: with `required` clients that do not offer it are refused, with `optional` a
    /// channel is encrypted while all in it offer it, with `off` none ever is, and clients that require it do not stay.
    #[arg(long, value_name = "MODE", default_value = "optional")]
    pub(crate) dave: Dave,
    /// Let the delivery service of end-to-end encryption do something wrong, all the time. May be given several times.
    #[arg(long, value_name = "FAULT")]
    pub(crate) dave_fault: Vec<DaveFaultArg>,
    /// Milliseconds for which those who join a channel are gathered, to be added to its group together
    /// [default: 20].
    #[arg(long, value_name = "MS", value_parser = parse_millis)]
    pub(crate) dave_delay: Option<Duration>,
    /// Measure what arrives, as the standard input says: after the line `begin`, which is answered with
    /// `{"measuring":true}`, until the line `end`, which is answered with a line of JSON about every packet that came
    /// meanwhile: what is missing, how far packets were off the 20 ms grid of their stream (in microseconds), and what
    /// the server could not take. Packets are told apart by their SSRC, whether they are encrypted or not.
    #[arg(long)]
    pub(crate) measure: bool,
    /// Print the first line as a JSON object, and nothing that is for people on the standard output.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Who is encrypted end to end.
#[derive(Clone, Copy, Debug, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Dave {
    Required,
    Optional,
    Off,
}

/// What goes wrong with end-to-end encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DaveFaultArg {
    /// The external sender is announced before the session description.
    EarlySender,
    /// Proposals come twice.
    RepeatProposals,
    /// A welcome comes after the commit that it belongs to.
    CommitFirst,
    /// The first 100 welcomes are for another key package than the receiver's, who has to be added again.
    MisaddressWelcome,
    /// Commits and welcomes ask to switch at once.
    TransitionZero,
    /// Nobody is ever told to switch.
    NoExecute,
}

/// What a call makes of end-to-end encryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum E2eeArg {
    /// A call that is not encrypted end to end is ended.
    Require,
    /// Nothing is in the clear in a call that is encrypted end to end.
    Prefer,
    /// Others are heard even if they speak in the clear there.
    Allow,
}

/// Which call to join. Without any of these: a call on an embedded server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Target (none: an embedded server)")]
pub(crate) struct TargetArgs {
    /// Join this voice server directly: host or host:port, `wss://` in front or not, `ws://` on a loopback address.
    #[arg(long, value_name = "URL", group = "joined", requires_all = ["server_id", "channel_id", "user_id", "session_id", "token"])]
    pub(crate) endpoint: Option<Endpoint>,
    /// The guild, as voice servers call it.
    #[arg(long, value_name = "N", requires = "endpoint")]
    pub(crate) server_id: Option<GuildId>,
    /// The voice channel.
    #[arg(long, value_name = "N", requires = "endpoint")]
    pub(crate) channel_id: Option<ChannelId>,
    /// The own user.
    #[arg(long, value_name = "N", requires = "endpoint")]
    pub(crate) user_id: Option<UserId>,
    /// The session id from the own voice state.
    #[arg(long, value_name = "S", requires = "endpoint", value_parser = parse_session_id)]
    pub(crate) session_id: Option<SessionId>,
    /// The token from the voice server update.
    #[arg(long, value_name = "T", requires = "endpoint", value_parser = parse_token)]
    pub(crate) token: Option<Token>,
    /// Join this guild as the bot whose token is in the environment variable DISCORD_TOKEN.
    #[arg(long, value_name = "N", group = "joined", requires = "channel")]
    pub(crate) guild: Option<GuildId>,
    /// The voice channel of the guild.
    #[arg(long, value_name = "N", requires = "guild")]
    pub(crate) channel: Option<ChannelId>,
    /// Use this main gateway in place of Discord's: wss://, or ws:// on a loopback address.
    #[arg(long, value_name = "URL", requires = "guild")]
    pub(crate) gateway: Option<GatewayUrl>,
    /// Trust the certificates in this PEM file as well, for voice servers (not for main gateways).
    #[arg(long, value_name = "PEM", requires = "joined")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// What to make of end-to-end encryption; a call on an embedded server requires it in any case.
    #[arg(long, value_name = "POLICY", default_value = "prefer")]
    pub(crate) e2ee: E2eeArg,
    /// Give a join up after so many seconds.
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = parse_seconds)]
    pub(crate) timeout: Duration,
}

fn recording_path() -> impl TypedValueParser<Value = RecordingPath> {
    PathBufValueParser::new().try_map(RecordingPath::new)
}

fn parse_volume(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(volume) if (0.0..=10.0).contains(&volume) => Ok(volume),
        _ => Err("give a number from 0 to 10".to_owned()),
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.001..=MAX_SECONDS).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "give a positive number of seconds".to_owned())
}

fn parse_token(text: &str) -> Result<Token, String> {
    if text.is_empty() { Err("the token is empty".to_owned()) } else { Ok(Token::new(text)) }
}

fn parse_millis(text: &str) -> Result<Duration, String> {
    let millis = text.parse().ok().filter(|millis| *millis <= MAX_DELAY_MS);
    millis.map(Duration::from_millis).ok_or_else(|| format!("not a number from 0 to {MAX_DELAY_MS}"))
}

fn parse_session_id(text: &str) -> Result<SessionId, String> {
    if text.is_empty() { Err("the session id is empty".to_owned()) } else { Ok(SessionId::new(text)) }
}

/// A minute: beyond it those who joined would not wait.
const MAX_DELAY_MS: u64 = 60_000;

/// A year: beyond any use, and far below what a clock can hold.
const MAX_SECONDS: f64 = 31_536_000.0;

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn secrets_are_not_printed() {
        let line = "discord-voice play --endpoint a.example --server-id 1 --channel-id 2 --user-id 3 \
            --session-id hush --token hush";
        let cli = Cli::try_parse_from(line.split_whitespace()).expect("complete");
        assert!(!format!("{cli:?}").contains("hush"));
    }

    #[test]
    fn encryption_is_optional_unless_said_otherwise() {
        let serve = |options: &str| {
            let line = format!("discord-voice serve {options}");
            match Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.command) {
                Ok(Command::Serve(args)) => Some((args.dave, args.dave_fault)),
                _ => None,
            }
        };
        assert!(matches!(serve(""), Some((Dave::Optional, faults)) if faults.is_empty()));
        assert!(matches!(serve("--dave required"), Some((Dave::Required, _))));
        assert!(matches!(serve("--dave off"), Some((Dave::Off, _))));
        let faults = [DaveFaultArg::CommitFirst, DaveFaultArg::NoExecute];
        assert!(
            matches!(serve("--dave-fault commit-first --dave-fault no-execute"), Some((_, given)) if given == faults)
        );
        assert!(serve("--dave maybe").is_none() && serve("--dave-fault none").is_none());
    }

    #[test]
    fn a_policy_can_be_given_with_and_without_a_target() {
        for line in ["play --e2ee require", "record out.ogg --e2ee require --guild 1 --channel 2"] {
            let line = format!("discord-voice {line}");
            let e2ee = match Cli::try_parse_from(line.split_whitespace()).map(|cli| cli.command) {
                Ok(Command::Play(args)) => args.target.e2ee,
                Ok(Command::Record(args)) => args.target.e2ee,
                other => panic!("{line}: {other:?}"),
            };
            assert_eq!(e2ee, E2eeArg::Require, "{line}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_wrong_usage() {
        for line in ["--volume -1", "--volume nan", "--volume 11", "--bitrate 1", "--timeout 0", "--timeout inf"] {
            let line = format!("discord-voice play {line}");
            assert!(Cli::try_parse_from(line.split_whitespace()).is_err(), "{line}");
        }
    }
}
