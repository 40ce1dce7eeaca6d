//! Everything about the server that a caller may choose.

use core::net::SocketAddr;
use core::time::Duration;

use voice_crypto::SuffixOrder;
use voice_model::{ChannelId, CloseCode, GuildId, SessionId, Token, UserId};

use crate::{DaveConfig, Route, RouteError};

/// How the server behaves, apart from sockets.
///
/// The defaults are those of the service where they are known.
#[derive(Clone, Debug)]
pub struct CoreConfig {
    /// Where clients are told to send datagrams (`ip` and `port` of Ready).
    pub media_addr: SocketAddr,
    /// The `endpoint` that VOICE_SERVER_UPDATE and [`Ticket`](crate::Ticket) carry.
    pub endpoint: String,
    /// The URL of the main gateway, told by `GET /gateway/bot` and READY.
    pub gateway_url: String,
    /// Which main-gateway tokens log in.
    pub bots: Bots,
    /// The guilds every bot is a member of.
    pub guilds: Vec<GuildConfig>,
    /// Standing permissions to join that need no main gateway.
    pub access: Vec<Access>,
    /// How op 4 of the main gateway is answered.
    pub join: JoinAnswer,
    /// `heartbeat_interval` of the voice gateway.
    pub heartbeat_interval: Duration,
    /// `heartbeat_interval` of the main gateway.
    pub gateway_heartbeat_interval: Duration,
    /// The transport modes offered in Ready, in this order. A name the server cannot
    /// speak may be offered, but choosing it is answered with close code 4016.
    pub modes: Vec<String>,
    /// The byte order of the nonce counter the server writes.
    pub suffix_order: SuffixOrder,
    /// The SSRC of the first client; `None` draws a small random number.
    pub first_ssrc: Option<u32>,
    /// The distance between the SSRCs of two clients that follow each other.
    pub ssrc_step: u32,
    /// How long a session survives its lost WebSocket.
    pub session_lifetime: Duration,
    /// How many numbered messages a session keeps for replay.
    pub replay_len: usize,
    /// Whether the replay of a Resume comes before op 9 instead of after it.
    pub replay_before_resumed: bool,
    /// How often a client that sends media gets a receiver report; zero sends none.
    pub report_interval: Duration,
    /// The close code for media without op 5 or with a foreign SSRC; `None` only drops it.
    pub on_bad_media: Option<CloseCode>,
    /// How long op 5 may take longer than the first media that it announces. They travel in different ways, so media may
    /// come first: it is dropped, and only if op 5 does not come in this time the client is closed.
    pub speaking_patience: Duration,
    /// The close code the old voice connection gets when its user is moved or re-homed;
    /// `None` leaves it open.
    pub on_move: Option<CloseCode>,
    /// Whether every op 5 is passed on, instead of the first and real changes of mode.
    pub forward_every_speaking: bool,
    /// Whether a discovery request already counts as the datagram that opens reception.
    pub discovery_opens_reception: bool,
    /// End-to-end encryption.
    pub dave: DaveConfig,
    /// How a voice gateway version that is missing or unknown is refused.
    pub version_refusal: VersionRefusal,
    /// What the server holds at most.
    pub limits: Limits,
}

impl Default for CoreConfig {
    fn default() -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
        Self {
            media_addr: nowhere,
            endpoint: "localhost".to_owned(),
            gateway_url: "ws://localhost/gateway".to_owned(),
            bots: Bots::Any,
            guilds: vec![GuildConfig::default()],
            access: Vec::new(),
            join: JoinAnswer::default(),
            heartbeat_interval: HEARTBEAT_INTERVAL,
            gateway_heartbeat_interval: GATEWAY_HEARTBEAT_INTERVAL,
            modes: vec!["aead_aes256_gcm_rtpsize".to_owned(), "aead_xchacha20_poly1305_rtpsize".to_owned()],
            suffix_order: SuffixOrder::LittleEndian,
            first_ssrc: None,
            ssrc_step: 1,
            session_lifetime: SESSION_LIFETIME,
            replay_len: REPLAY_LEN,
            replay_before_resumed: false,
            report_interval: REPORT_INTERVAL,
            on_bad_media: Some(CloseCode::BAD_REQUEST),
            speaking_patience: SPEAKING_PATIENCE,
            on_move: Some(CloseCode::DISCONNECTED),
            forward_every_speaking: false,
            discovery_opens_reception: false,
            dave: DaveConfig::default(),
            version_refusal: VersionRefusal::Http,
            limits: Limits::default(),
        }
    }
}

impl CoreConfig {
    /// Why the request for a WebSocket on this path is refused with HTTP status 400, if it is.
    ///
    /// Any other request is upgraded and becomes [`Input::Opened`](crate::Input::Opened).
    #[must_use]
    pub fn refusal(&self, target: &str) -> Option<RouteError> {
        match self.version_refusal {
            VersionRefusal::Http => Route::parse(target).err(),
            VersionRefusal::Close => None,
        }
    }
}

/// Which tokens the main gateway accepts, and who they are.
#[derive(Clone, Debug)]
pub enum Bots {
    /// Every token; the user id is derived from it, always the same one.
    Any,
    /// These tokens only.
    Listed(Vec<(Token, UserId)>),
}

impl Bots {
    /// The user a token logs in, if it logs in anybody.
    ///
    /// A leading `Bot ` is not part of the token.
    #[must_use]
    pub fn user(&self, token: &str) -> Option<UserId> {
        let token = token.strip_prefix("Bot ").unwrap_or(token);
        match self {
            Self::Any if token.is_empty() => None,
            Self::Any => Some(derived_user(token)),
            Self::Listed(bots) => bots.iter().find(|(listed, _)| listed.expose() == token).map(|(_, user)| *user),
        }
    }
}

/// FNV-1a, 64 bits: not a secret, only the same number for the same token every time.
fn derived_user(token: &str) -> UserId {
    let hash = token
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // Below 2^62, as snowflakes are, and never zero.
    UserId::new((hash >> 2) | 1)
}

/// One guild of the main gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuildConfig {
    /// The guild's id.
    pub id: GuildId,
    /// The guild's name.
    pub name: String,
    /// Its voice channels.
    pub channels: Vec<ChannelId>,
}

impl Default for GuildConfig {
    fn default() -> Self {
        Self {
            id: DEFAULT_GUILD,
            name: "loopback".to_owned(),
            channels: vec![DEFAULT_CHANNEL, ChannelId::new(DEFAULT_CHANNEL.get() + 1)],
        }
    }
}

/// A standing permission to join: one token for one or many guilds, channels and users.
#[derive(Clone, Debug)]
pub struct Access {
    /// The token Identify has to carry.
    pub token: Token,
    /// The session id it has to carry; `None` allows any.
    pub session_id: Option<SessionId>,
    /// The guild; `None` allows any.
    pub server_id: Option<GuildId>,
    /// The channel that is joined; `None` takes the one Identify names, or else the
    /// channel whose id is the guild's.
    pub channel_id: Option<ChannelId>,
    /// The user; `None` allows any.
    pub user_id: Option<UserId>,
}

/// How the main gateway answers op 4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoinAnswer {
    /// Which of the two events comes first.
    pub order: EventOrder,
    /// How long both events are held back.
    pub delay: Duration,
    /// Says `endpoint: null` first, and the real endpoint after this time.
    pub null_endpoint_first: Option<Duration>,
    /// Answers nothing at all, as for a full channel.
    pub silent: bool,
}

/// The order of the two main-gateway events of a join.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventOrder {
    /// VOICE_STATE_UPDATE, then VOICE_SERVER_UPDATE.
    #[default]
    StateFirst,
    /// VOICE_SERVER_UPDATE, then VOICE_STATE_UPDATE.
    ServerFirst,
}

/// How an unknown voice gateway version is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum VersionRefusal {
    /// HTTP status 400 instead of the WebSocket upgrade.
    #[default]
    Http,
    /// The upgrade succeeds, then close code 4020.
    Close,
}

/// What the server holds at most; what hits a limit is counted in the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Voice sessions at a time.
    pub sessions: usize,
    /// Credentials handed out and not revoked, oldest out.
    pub grants: usize,
    /// Messages one connection, to either gateway, may send in ten seconds.
    pub messages_per_window: u32,
    /// Bytes of one incoming gateway message.
    pub message_len: usize,
    /// Messages that wait for one connection, whether delayed or unread.
    pub waiting_messages: usize,
    /// Datagrams held back by a fault.
    pub waiting_datagrams: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 65_536,
            grants: 65_536,
            messages_per_window: 120,
            // A commit that adds the most members at a time, with its welcome, has to fit.
            message_len: 256 * 1024,
            waiting_messages: 4_096,
            waiting_datagrams: 4_096,
        }
    }
}

/// The guild of [`GuildConfig::default`].
pub const DEFAULT_GUILD: GuildId = GuildId::new(613_425_648_685_547_541);

/// The first voice channel of [`GuildConfig::default`].
pub const DEFAULT_CHANNEL: ChannelId = ChannelId::new(127_121_515_262_115_840);

/// The usual interval of the voice gateway: field reports of Hello.
const HEARTBEAT_INTERVAL: Duration = Duration::from_millis(13_750);

/// The usual interval of the main gateway: Discord docs, Gateway, "Hello Event".
const GATEWAY_HEARTBEAT_INTERVAL: Duration = Duration::from_millis(41_250);

/// More than a retransmission of TCP takes. Not documented; bots that announce "speaking" and send at once are heard.
const SPEAKING_PATIENCE: Duration = Duration::from_millis(500);

/// How long a lost connection may be resumed. Not documented; resumes within a minute work.
const SESSION_LIFETIME: Duration = Duration::from_secs(60);

/// Messages kept for a buffered resume. Not documented.
const REPLAY_LEN: usize = 256;

/// The minimum RTCP interval: RFC 3550, section 6.2.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_the_same_user_with_and_without_the_bot_prefix() {
        let bots = Bots::Any;
        assert_eq!(bots.user("Bot abc"), bots.user("abc"));
        assert_ne!(bots.user("abc"), bots.user("abd"));
        assert_eq!(bots.user(""), None);
        assert_eq!(bots.user("Bot "), None);
    }

    #[test]
    fn only_listed_tokens_log_in_when_there_is_a_list() {
        let bots = Bots::Listed(vec![(Token::new("abc"), UserId::new(7))]);
        assert_eq!(bots.user("Bot abc"), Some(UserId::new(7)));
        assert_eq!(bots.user("abd"), None);
    }

    #[test]
    fn no_secret_is_printed() {
        let config = CoreConfig {
            bots: Bots::Listed(vec![(Token::new("hush"), UserId::new(7))]),
            access: vec![Access {
                token: Token::new("hush"),
                session_id: Some(SessionId::new("hush")),
                server_id: None,
                channel_id: None,
                user_id: None,
            }],
            ..CoreConfig::default()
        };
        assert!(!format!("{config:?}").contains("hush"));
    }
}
