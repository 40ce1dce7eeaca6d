//! The voice server, and who calls what there.

use std::{fmt, fs, path::PathBuf};

use discord_voice::{
    ConnectInfo, Connector, Endpoint, EndpointError,
    model::{ChannelId, GuildId, SessionId, Token, UserId},
};
use serde::{Deserialize, Serialize};

use crate::{args::TargetArgs, error::Error};

/// A voice server that lets in anybody with a token.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "Given", into = "Given")]
pub(crate) struct Target {
    endpoint: Endpoint,
    given: Given,
}

/// The same as text, for another process.
#[derive(Clone, Serialize, Deserialize)]
struct Given {
    url: String,
    token: Token,
    certificate: Option<PathBuf>,
    server_id: GuildId,
    channel_id: ChannelId,
    user_id: UserId,
    session_id: SessionId,
}

impl Target {
    /// A server that takes any ids.
    pub(crate) fn any(url: String, token: Token, certificate: Option<PathBuf>) -> Result<Self, EndpointError> {
        Self::try_from(Given {
            url,
            token,
            certificate,
            server_id: GuildId::new(1_000_000),
            channel_id: ChannelId::new(2_000_000),
            user_id: UserId::new(3_000_000),
            session_id: SessionId::new("load"),
        })
    }

    /// The server that was named, if one was.
    pub(crate) fn named(args: &TargetArgs) -> Option<Self> {
        let TargetArgs { endpoint, server_id, channel_id, user_id, session_id, token, certificate } = args.clone();
        let endpoint = endpoint?;
        let url = format!("{}://{endpoint}", if endpoint.is_tls() { "wss" } else { "ws" });
        let given = Given {
            url,
            token: token?,
            certificate,
            server_id: server_id?,
            channel_id: channel_id?,
            user_id: user_id?,
            session_id: session_id?,
        };
        Some(Self { endpoint, given })
    }

    /// Whether TLS is spoken.
    pub(crate) const fn is_tls(&self) -> bool {
        self.endpoint.is_tls()
    }

    /// What a member of a room connects with; member 0 is the one that is measured.
    pub(crate) fn identity(&self, room: u32, member: u32) -> ConnectInfo {
        let (room, member) = (u64::from(room), u64::from(member));
        let Given { token, server_id, channel_id, user_id, session_id, .. } = &self.given;
        ConnectInfo {
            channel_id: ChannelId::new(channel_id.get().wrapping_add(room)),
            endpoint: self.endpoint.clone(),
            server_id: GuildId::new(server_id.get().wrapping_add(room)),
            session_id: SessionId::new(format!("{}-{room}-{member}", session_id.expose())),
            token: token.clone(),
            user_id: UserId::new(user_id.get().wrapping_add(room + member * USERS_PER_MEMBER)),
        }
    }

    /// What opens connections to it.
    pub(crate) fn connector(&self) -> Result<Connector, Error> {
        let Some(path) = self.given.certificate.clone() else { return Ok(Connector::new()) };
        match fs::read(&path) {
            Ok(pem) => Connector::with_extra_roots(&pem).map_err(|source| Error::BadCertificate { path, source }),
            Err(source) => Err(Error::ReadCertificate { path, source }),
        }
    }
}

impl From<Target> for Given {
    fn from(target: Target) -> Self {
        target.given
    }
}

impl TryFrom<Given> for Target {
    type Error = EndpointError;

    fn try_from(given: Given) -> Result<Self, EndpointError> {
        Ok(Self { endpoint: given.url.parse()?, given })
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("url", &self.given.url).finish_non_exhaustive()
    }
}

/// More than there are rooms: the users of all rooms with the same member number are in a row.
const USERS_PER_MEMBER: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn target() -> Target {
        Target::any("ws://127.0.0.1:9".to_owned(), Token::new("hush"), None).expect("an endpoint")
    }

    #[test]
    fn rooms_and_users_are_counted_up() {
        let target = target();
        let (first, second, other) = (target.identity(0, 0), target.identity(1, 0), target.identity(0, 1));
        assert_eq!(second.server_id.get(), first.server_id.get() + 1);
        assert_eq!(second.channel_id.get(), first.channel_id.get() + 1);
        assert_eq!(second.user_id.get(), first.user_id.get() + 1);
        assert_eq!((other.server_id, other.channel_id), (first.server_id, first.channel_id));
        let all = [first, second, other];
        assert_eq!(all.iter().map(|info| info.user_id).collect::<HashSet<_>>().len(), 3);
        assert_eq!(all.iter().map(|info| info.session_id.expose()).collect::<HashSet<_>>().len(), 3);
    }

    #[test]
    fn another_process_gets_the_same_target() {
        let line = serde_json::to_string(&target()).expect("texts are JSON");
        let read: Target = serde_json::from_str(&line).expect("what was written");
        assert!(read.identity(7, 1) == target().identity(7, 1));
        assert!(!read.is_tls());
    }

    #[test]
    fn secrets_are_not_printed() {
        assert!(!format!("{:?}", target()).contains("hush"));
    }
}
