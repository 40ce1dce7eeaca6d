//! Who is in the call, and who was.

use std::collections::{BTreeSet, VecDeque};

use voice_model::UserId;

use crate::group::Known;

/// The users that the voice gateway named on this connection, and oneself.
pub(super) struct Users {
    own: UserId,
    here: BTreeSet<UserId>,
    /// Those who left, latest last. A welcome may still list them: it was made before.
    gone: VecDeque<UserId>,
}

/// What came of a user's connecting.
pub(super) enum Connect {
    New,
    Known,
    Full,
}

impl Users {
    pub(super) const fn new(own: UserId) -> Self {
        Self { own, here: BTreeSet::new(), gone: VecDeque::new() }
    }

    pub(super) fn connect(&mut self, user: UserId) -> Connect {
        if user == self.own || self.here.contains(&user) {
            return Connect::Known;
        }
        if self.here.len() >= MAX_USERS {
            return Connect::Full;
        }
        self.here.insert(user);
        self.gone.retain(|gone| *gone != user);
        Connect::New
    }

    /// Whether the user was here.
    pub(super) fn disconnect(&mut self, user: UserId) -> bool {
        let was_here = self.here.remove(&user);
        if was_here {
            self.gone.push_back(user);
            if self.gone.len() > MAX_GONE {
                self.gone.pop_front();
            }
        }
        was_here
    }

    pub(super) fn is_connected(&self, user: UserId) -> bool {
        self.here.contains(&user)
    }

    /// How many are here but oneself.
    pub(super) fn count(&self) -> usize {
        self.here.len()
    }

    /// All who are here but oneself.
    pub(super) fn others(&self) -> impl Iterator<Item = UserId> + use<> {
        self.here.clone().into_iter()
    }
}

impl Known for Users {
    fn is_here(&self, user: UserId) -> bool {
        user == self.own || self.here.contains(&user)
    }

    fn was_here(&self, user: UserId) -> bool {
        self.is_here(user) || self.gone.contains(&user)
    }

    fn count(&self) -> usize {
        // After many visitors a small call must not be sent what a large one may need.
        1 + self.here.len() + self.gone.len().min(MAX_GONE_WELCOMED)
    }
}

/// How many users can be in a call: many more than channels hold.
const MAX_USERS: usize = 16_384;

/// How many of those who left a welcome has room for: they left while it was made.
const MAX_GONE_WELCOMED: usize = 64;

/// How many of those who left are remembered.
const MAX_GONE: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_visitors_do_not_make_room_for_a_larger_welcome() {
        let mut users = Users::new(UserId::new(1));
        for user in (2..2_000).map(UserId::new) {
            assert!(matches!(users.connect(user), Connect::New));
            assert!(users.disconnect(user));
        }
        assert_eq!(Known::count(&users), 1 + MAX_GONE_WELCOMED);
        assert!(users.was_here(UserId::new(1_999)) && !users.was_here(UserId::new(2)));
    }
}
