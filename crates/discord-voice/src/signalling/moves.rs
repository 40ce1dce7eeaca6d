//! A move of our own, and what the main gateway says meanwhile.

use std::time::Instant;

use voice_model::ChannelId;

/// A move that this user asked for, until the main gateway has answered it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Move {
    #[default]
    None,
    /// Nothing has come of it yet.
    Asked { channel: ChannelId, until: Instant },
    /// A server was named and no channel: most likely the move's, which has it follow. It is waited for only that long.
    Named { channel: ChannelId, until: Instant, follow_at: Instant },
    /// Somebody else moved this user meanwhile: a server that is named now belongs to the channel that is known.
    Overtaken { channel: ChannelId, until: Instant },
}

impl Move {
    /// Where to.
    pub(super) const fn channel(&self) -> Option<ChannelId> {
        match *self {
            Self::None => None,
            Self::Asked { channel, .. } | Self::Named { channel, .. } | Self::Overtaken { channel, .. } => {
                Some(channel)
            }
        }
    }

    /// Whether a server waits for its channel.
    pub(super) const fn has_server(&self) -> bool {
        matches!(self, Self::Named { .. })
    }

    /// The user asks to be in a channel, in place of an earlier wish. A server that waits goes on doing so.
    pub(super) const fn ask(&mut self, channel: ChannelId, until: Instant) {
        *self = match *self {
            Self::Named { follow_at, .. } => Self::Named { channel, until, follow_at },
            _ => Self::Asked { channel, until },
        };
    }

    /// The answer has time until then.
    pub(super) const fn answer_by(&mut self, at: Instant) {
        match self {
            Self::None => {}
            Self::Asked { until, .. } | Self::Named { until, .. } | Self::Overtaken { until, .. } => *until = at,
        }
    }

    /// The main gateway says in which channel this user is, and whether that is another one than before. Returns whether
    /// a server has waited for that.
    pub(super) fn arrive(&mut self, current: ChannelId, is_new: bool) -> bool {
        let had_server = self.has_server();
        *self = match *self {
            Self::Asked { channel, until }
            | Self::Named { channel, until, .. }
            | Self::Overtaken { channel, until }
                if channel != current && is_new =>
            {
                Self::Overtaken { channel, until }
            }
            before if before.channel() != Some(current) => before,
            _ => Self::None,
        };
        had_server && !self.has_server()
    }

    /// The main gateway names a server. Returns whether its channel is still to come, which is waited for until then.
    pub(super) const fn awaits_channel(&mut self, follow_at: Instant) -> bool {
        if let Self::Asked { channel, until } = *self {
            *self = Self::Named { channel, until, follow_at };
        }
        self.has_server()
    }

    /// A server that waits is gone.
    pub(super) const fn drop_server(&mut self) {
        if let Self::Named { channel, until, .. } = *self {
            *self = Self::Asked { channel, until };
        }
    }

    /// Whether a server has waited long enough for its channel; it waits no more then.
    pub(super) fn take_server_due(&mut self, now: Instant) -> bool {
        let is_due = matches!(*self, Self::Named { follow_at, .. } if now >= follow_at);
        if is_due {
            self.drop_server();
        }
        is_due
    }

    /// Whether no answer came in time.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        match *self {
            Self::None => false,
            Self::Asked { until, .. } | Self::Named { until, .. } | Self::Overtaken { until, .. } => now >= until,
        }
    }

    /// When something is to be done about it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match *self {
            Self::None => None,
            Self::Asked { until, .. } | Self::Overtaken { until, .. } => Some(until),
            Self::Named { until, follow_at, .. } => Some(until.min(follow_at)),
        }
    }
}
