//! `serve`: the voice server alone, for other clients.

mod measure;

use std::{
    fmt, fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use discord_voice::model::{Opcode, Token};
use serde::Serialize;
use tempfile::NamedTempFile;
use voice_server::{
    Access, DEFAULT_CHANNEL, DEFAULT_GUILD, DaveConfig, DaveFault, DaveMode, Event, EventResult, Fault, FaultKind,
    Server, ServerConfig, Tamper,
};

use crate::{
    args::{Dave, DaveFaultArg, ServeArgs},
    error::Error,
    process, terminal,
};

pub(crate) async fn run(args: ServeArgs) -> Result<(), Error> {
    let ServeArgs {
        listen,
        udp,
        advertise,
        allow_origin: origins,
        tls,
        cert_out,
        token,
        dave,
        dave_fault,
        dave_delay,
        measure,
        json,
    } = args;
    process::raise_file_limit();
    let udp = udp.unwrap_or_else(|| (listen.ip(), 0).into());
    if advertise.is_none() && (listen.ip().is_unspecified() || udp.ip().is_unspecified()) {
        return Err(Error::NoAdvertised);
    }
    let token = token.map_or_else(random_token, Ok)?;
    let access = Access { token: token.clone(), session_id: None, server_id: None, channel_id: None, user_id: None };
    let mut config = ServerConfig { tcp: listen, udp, advertised: advertise, origins, tls, ..ServerConfig::default() };
    config.core.access.push(access);
    config.core.dave = DaveConfig::new(match dave {
        Dave::Required => DaveMode::Required,
        Dave::Optional => DaveMode::Optional,
        Dave::Off => DaveMode::Off,
    });
    if let Some(delay) = dave_delay {
        config.core.dave.proposal_delay = delay;
    }
    config.core.dave.early_external_sender = dave_fault.contains(&DaveFaultArg::EarlySender);
    let server = Server::bind(config)
        .await
        .map_err(|source| Error::Bind { addresses: format!("{listen} and {udp}"), source })?;
    for fault in dave_fault.into_iter().filter_map(lasting) {
        server.inject(Fault::all(FaultKind::Dave(fault)));
    }
    let certificate = server.certificate_pem().map(|pem| Certificate::write(pem, cert_out)).transpose()?;
    let mut events = server.events();
    let terms = Terms::new(&server, certificate.as_ref(), &token, dave);
    let stopped = process::asked_to_stop();
    if json {
        terminal::print(serde_json::to_string(&terms).expect("texts are JSON"));
    } else {
        terminal::print(&terms);
    }
    let report = async {
        while let Some(event) = events.next().await {
            if let EventResult::Event(event) = event {
                say(event);
            }
        }
    };
    let turned_away = async {
        if server.wait_for(|stats| stats.browsers_refused > 0).await.is_some() {
            terminal::say(
                "a web page was refused, or who calls this server by another name; --allow-origin lets a page in",
            );
        }
        std::future::pending().await
    };
    let measured = async {
        if measure {
            measure::run(&server).await;
        } else {
            std::future::pending().await
        }
    };
    tokio::select! {
        () = stopped => {}
        () = report => {}
        () = turned_away => {}
        () = measured => {}
    }
    server.shutdown().await;
    Ok(())
}

/// What clients have to know.
#[derive(Serialize)]
struct Terms {
    /// The voice gateway, as VOICE_SERVER_UPDATE names it.
    endpoint: String,
    /// The main gateway.
    gateway_url: String,
    /// The URL before `/api` of the HTTP API.
    api_url: String,
    /// Where media goes.
    media: String,
    /// The certificate to trust.
    certificate: Option<PathBuf>,
    /// Who is encrypted end to end: `required`, `optional` or `off`.
    dave: Dave,
    /// What voice clients identify with.
    voice: VoiceTerms,
    /// What bots log in to the main gateway with.
    bots: BotTerms,
}

#[derive(Serialize)]
struct VoiceTerms {
    token: String,
    server_id: &'static str,
    channel_id: &'static str,
    user_id: &'static str,
    session_id: &'static str,
}

#[derive(Serialize)]
struct BotTerms {
    token: &'static str,
    /// A guild that every bot is in.
    guild_id: String,
    /// A voice channel of it.
    channel_id: String,
}

impl Terms {
    fn new(server: &Server, certificate: Option<&Certificate>, token: &Token, dave: Dave) -> Self {
        let token = token.expose().to_owned();
        Self {
            endpoint: server.endpoint(),
            gateway_url: server.gateway_url(),
            api_url: server.api_url(),
            media: server.udp_addr().to_string(),
            certificate: certificate.map(|certificate| certificate.path.clone()),
            dave,
            voice: VoiceTerms { token, server_id: ANY, channel_id: ANY, user_id: ANY, session_id: ANY },
            bots: BotTerms { token: ANY, guild_id: DEFAULT_GUILD.to_string(), channel_id: DEFAULT_CHANNEL.to_string() },
        }
    }
}

impl fmt::Display for Terms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, gateway_url, api_url, media, certificate, dave, voice, bots } = self;
        writeln!(f, "voice gateway {endpoint}, media {media}, main gateway {gateway_url}, API {api_url}")?;
        if let Some(certificate) = certificate {
            writeln!(f, "certificate   {}", certificate.display())?;
        }
        let dave = match dave {
            Dave::Required => "required: clients that do not offer DAVE are refused",
            Dave::Optional => "optional: a channel has it while all in it offer DAVE",
            Dave::Off => "off: no channel has it",
        };
        writeln!(f, "end to end    {dave}")?;
        writeln!(f, "voice clients any user, guild, channel and session id, with the token {}", voice.token)?;
        write!(f, "bots          any token, guild {} with channel {}", bots.guild_id, bots.channel_id)
    }
}

/// The certificate's file. A temporary one is removed when this is dropped.
struct Certificate {
    path: PathBuf,
    _temporary: Option<NamedTempFile>,
}

impl Certificate {
    fn write(pem: &str, path: Option<PathBuf>) -> Result<Self, Error> {
        if let Some(path) = path {
            return match fs::write(&path, pem) {
                Ok(()) => Ok(Self { path, _temporary: None }),
                Err(source) => Err(Error::WriteCertificate { path, source }),
            };
        }
        remove_stale(&std::env::temp_dir());
        let prefix = format!("{TEMPORARY_PREFIX}{}-", std::process::id());
        let temporary = tempfile::Builder::new().prefix(&prefix).suffix(TEMPORARY_SUFFIX).tempfile();
        let written = temporary.and_then(|mut file| file.write_all(pem.as_bytes()).map(|()| file));
        match written {
            Ok(file) => Ok(Self { path: file.path().to_owned(), _temporary: Some(file) }),
            Err(source) => Err(Error::WriteCertificate { path: std::env::temp_dir(), source }),
        }
    }
}

/// Removes the certificates of servers that were killed and could not do so themselves.
fn remove_stale(directory: &Path) {
    for file in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = file.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(TEMPORARY_PREFIX)?.strip_suffix(TEMPORARY_SUFFIX));
        let owner = owner.and_then(|rest| rest.split_once('-')).and_then(|(id, _)| id.parse().ok());
        if owner.is_some_and(|id| !process::is_running(id)) {
            // One of another user stays for them to remove.
            let _ = fs::remove_file(file.path());
        }
    }
}

/// What a temporary certificate's name begins with, before the id of its process.
const TEMPORARY_PREFIX: &str = "discord-voice-";
const TEMPORARY_SUFFIX: &str = ".pem";

/// What a fault is to the server, if it is one that lasts.
fn lasting(fault: DaveFaultArg) -> Option<DaveFault> {
    let count = u32::MAX;
    Some(match fault {
        DaveFaultArg::EarlySender => return None,
        DaveFaultArg::RepeatProposals => {
            DaveFault::Tamper { opcode: Opcode::MlsProposals, how: Tamper::Duplicate, count }
        }
        DaveFaultArg::CommitFirst => DaveFault::CommitBeforeWelcome { count },
        DaveFaultArg::MisaddressWelcome => DaveFault::MisaddressWelcome { count: 100 },
        DaveFaultArg::TransitionZero => DaveFault::TransitionZero { count },
        DaveFaultArg::NoExecute => {
            DaveFault::Tamper { opcode: Opcode::DaveExecuteTransition, how: Tamper::Withhold, count }
        }
    })
}

fn say(event: Event) {
    match event {
        Event::LoggedIn { user } => terminal::say(format_args!("user {user} logged in")),
        Event::LoggedOut { user } => terminal::say(format_args!("user {user} logged out")),
        Event::Joined { guild, channel, user, .. } => {
            terminal::say(format_args!("user {user} joined channel {channel} of guild {guild}"));
        }
        Event::Left { guild, channel, user } => {
            terminal::say(format_args!("user {user} left channel {channel} of guild {guild}"));
        }
        Event::DaveVersion { channel, version: 0, .. } => {
            terminal::say(format_args!("channel {channel} is not encrypted end to end any more"));
        }
        Event::DaveVersion { channel, .. } => terminal::say(format_args!("channel {channel} is encrypted end to end")),
        Event::EpochBegan { channel, epoch, members, .. } => {
            terminal::say(format_args!("channel {channel} is in epoch {epoch} with {members} members"));
        }
        Event::Closed { user: Some(user), code } => terminal::say(format_args!("closed on user {user}: {code}")),
        Event::Closed { user: None, code } => terminal::say(format_args!("closed: {code}")),
        _ => {}
    }
}

/// 128 bits of the operating system's randomness.
fn random_token() -> Result<Token, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| Error::NoRandomness)?;
    Ok(Token::new(format!("{:032x}", u128::from_be_bytes(bytes))))
}

/// Anything is accepted.
const ANY: &str = "any";
