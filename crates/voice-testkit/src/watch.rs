//! What a world watches over by itself.

use discord_voice::{
    model::UserId,
    rtp::{Kind, classify},
};

use crate::{World, world::Due};

impl World {
    /// Checks what must always hold.
    pub(crate) fn watch(&mut self, due: Due) {
        self.steps += 1;
        let second = self.clock.elapsed().as_secs();
        if self.window.0 != second {
            self.window = (second, 0);
            self.clients.values_mut().for_each(|client| client.wakes = 0);
        }
        self.window.1 += 1;
        let members = self.clients.len() as u64;
        let limit = self.steps_per_second.unwrap_or(STEPS_PER_SECOND * (1 + members * members));
        assert!(self.window.1 <= limit, "seed {}: {limit} steps within one virtual second, now {due:?}", self.seed);
        if let Due::Call(user) = due {
            let client = self.client_mut(user);
            client.wakes += 1;
            let wakes = client.wakes;
            assert!(wakes <= WAKES_PER_SECOND, "seed {}: the call of {user} wakes all the time", self.seed);
        }
        let now = self.clock.now();
        for client in self.clients.values() {
            let overdue = client.settle_by.is_some_and(|by| now > by);
            assert!(!overdue, "seed {}: {} is neither established nor over in time", self.seed, client.user);
        }
    }

    /// Checks that a sealed packet has a nonce of its own.
    pub(crate) fn watch_nonce(&mut self, user: UserId, datagram: &[u8]) {
        let media = self.clients.get(&user).and_then(|client| client.media.as_ref());
        if matches!(classify(datagram), Kind::Rtp | Kind::Rtcp)
            && let (Some(media), Some(nonce)) = (media, datagram.last_chunk::<4>())
        {
            let fresh = self.nonces.entry(media.key).or_default().insert(*nonce);
            assert!(fresh, "seed {}: {user} used the nonce {nonce:?} twice under one key", self.seed);
        }
    }
}

/// Steps of a virtual second, for each pair of clients: all speak, and everything comes twice.
const STEPS_PER_SECOND: u64 = 1_000;

/// Times in a virtual second at which a call, which sleeps between heartbeats, may want to be woken.
const WAKES_PER_SECOND: u32 = 50;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ALICE: UserId = UserId::new(1);

    fn packet(nonce: u8) -> Vec<u8> {
        let mut packet = vec![0; 40];
        packet[..2].copy_from_slice(&[0x80, 0x78]);
        packet[39] = nonce;
        packet
    }

    #[test]
    #[should_panic(expected = "seed 9: 1 used the nonce [0, 0, 0, 7] twice under one key")]
    fn a_nonce_that_comes_twice_under_one_key_is_noticed() {
        let mut world = World::builder().seed(9).build();
        world.join(ALICE);
        world.watch_nonce(ALICE, &packet(7));
        world.watch_nonce(ALICE, &packet(8));
        world.update(ALICE);
        world.run_until(|world| world.client(ALICE).is_established());
        // Another key, for which every nonce is new.
        world.watch_nonce(ALICE, &packet(7));
        world.watch_nonce(ALICE, &packet(7));
    }

    #[test]
    #[should_panic(expected = "seed 10: 1 is neither established nor over in time")]
    fn a_call_that_does_not_settle_is_noticed() {
        let mut world = World::builder().seed(10).build();
        world.join(ALICE);
        world.client_mut(ALICE).settle_by = Some(world.clock.now() + Duration::from_secs(10));
        world.run_for(Duration::from_secs(20));
    }
}
