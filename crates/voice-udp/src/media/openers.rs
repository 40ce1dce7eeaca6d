//! Each user's end-to-end encryption, and what is accepted from everybody else.

use std::{collections::HashMap, time::Instant};

use voice_dave::{FrameOpener, Media, OpenError, Opened, ReceiveMode};
use voice_model::UserId;

/// One opener for each user of whom something was said.
#[derive(Debug, Default)]
pub(super) struct Openers {
    /// Has no keys: those belong to one user each.
    default: FrameOpener,
    /// Each by itself, since a table has more places than users.
    users: HashMap<UserId, Box<User>>,
}

#[derive(Debug)]
struct User {
    opener: FrameOpener,
    /// The user has left. Only what their keys have seen is remembered then, so that no frame is heard twice if they
    /// come again with the same secret.
    left: bool,
    /// What is still on its way is opened until then.
    until: Option<Instant>,
}

impl Openers {
    /// Whether there was room for the user.
    pub(super) fn set_mode(&mut self, now: Instant, user: UserId, mode: ReceiveMode) -> bool {
        if !self.users.contains_key(&user) && self.users.len() >= MAX_USERS {
            self.users.retain(|_, user| !user.left);
            if self.users.len() >= MAX_USERS {
                return false;
            }
        }
        let default = &self.default;
        let entry = self.users.entry(user);
        let user =
            entry.or_insert_with(|| Box::new(User { opener: default.for_another_sender(), left: false, until: None }));
        if user.is_gone() {
            user.opener.begin_like(default);
        }
        (user.left, user.until) = (false, None);
        user.opener.set_mode(now, mode);
        true
    }

    pub(super) fn set_default_mode(&mut self, now: Instant, mode: ReceiveMode) {
        match mode {
            ReceiveMode::Decrypt(_) => self.default.close_plaintext(now),
            mode => self.default.set_mode(now, mode),
        }
    }

    pub(super) fn allow_plaintext(&mut self, allowed: bool) {
        self.default.allow_plaintext(allowed);
        self.users.values_mut().for_each(|user| user.opener.allow_plaintext(allowed));
    }

    pub(super) fn forget(&mut self, user: UserId, until: Instant) {
        if let Some(user) = self.users.get_mut(&user) {
            (user.left, user.until) = (true, Some(until));
        }
    }

    pub(super) fn open(&mut self, now: Instant, user: UserId, frame: &mut [u8]) -> Result<Opened, OpenError> {
        let known = self.users.get_mut(&user).filter(|user| !user.is_gone());
        let opener = known.map_or(&mut self.default, |user| &mut user.opener);
        opener.open(now, Media::Audio, frame)
    }

    /// Whether there is a key of the user.
    pub(super) fn has_key(&self, user: UserId) -> bool {
        self.users.get(&user).is_some_and(|user| user.opener.has_key())
    }

    /// Whether the user encrypted this frame after every one that was opened. It is not to be used any more then.
    pub(super) fn is_newest(&mut self, now: Instant, user: UserId, frame: &mut [u8]) -> bool {
        let user = self.users.get_mut(&user).filter(|user| !user.is_gone());
        user.is_some_and(|user| user.opener.is_newest(now, frame))
    }

    /// Drops what nobody needs any more, above all keys.
    pub(super) fn expire(&mut self, now: Instant) {
        for user in self.users.values_mut() {
            user.opener.expire(now);
            if user.until.is_some_and(|until| now >= until) {
                user.opener.erase();
                user.until = None;
            }
        }
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.users.values().filter_map(|user| user.opener.poll_timeout().into_iter().chain(user.until).min()).min()
    }
}

impl User {
    /// The user has left, and nothing of theirs is on its way any more.
    const fn is_gone(&self) -> bool {
        self.left && self.until.is_none()
    }
}

/// Users of whom something may be said at once; it is more than any channel holds.
const MAX_USERS: usize = 512;

#[cfg(test)]
mod tests {
    use voice_dave::BaseSecret;

    use super::*;

    #[test]
    fn users_are_bounded_and_those_who_left_make_room() {
        #[expect(clippy::disallowed_methods, reason = "an instant can only come from the clock")]
        let now = Instant::now();
        let mut openers = Openers::default();
        let decrypt = |openers: &mut Openers, user| {
            openers.set_mode(now, UserId::new(user), ReceiveMode::Decrypt(BaseSecret::new([1; 16])))
        };
        assert!((0..512).all(|user| decrypt(&mut openers, user)));
        assert!(!decrypt(&mut openers, 512));
        assert!(decrypt(&mut openers, 511), "one who is there already");
        openers.forget(UserId::new(7), now);
        assert!(decrypt(&mut openers, 512));
        assert_eq!(openers.users.len(), 512);
    }
}
