//! What a world watches over by itself.

use discord_voice::{
    Event,
    dave::is_protocol_frame,
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

    /// Checks that a session which every resume loses again at once is not resumed for ever.
    pub(crate) fn watch_resumes(&mut self, user: UserId, event: &Event) {
        let (at, seed) = (self.clock.elapsed(), self.seed);
        let (limit, trial) = (self.config.session.max_resumes, self.config.session.resume_trial);
        let client = self.client_mut(user);
        match event {
            Event::Connected | Event::Rejoining { .. } => client.fruitless_resumes = 0,
            Event::Resumed => client.resumed_at = Some(at),
            Event::Interrupted(_) => {
                let is_fruitless = client.resumed_at.take().is_some_and(|since| at - since < trial);
                client.fruitless_resumes = if is_fruitless { client.fruitless_resumes + 1 } else { 0 };
                // The last one may be lost with a word that has it begin anew.
                assert!(client.fruitless_resumes <= limit, "seed {seed}: {user} is resumed without end");
            }
            _ => {}
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

    /// Checks the end-to-end encryption of the frame that a client said last.
    pub(crate) fn watch_frame(&mut self, user: UserId, datagram: &[u8]) {
        let client = self.clients.get(&user).expect("it said something");
        let (Some(media), Some(said)) = (&client.media, client.said.last()) else { return };
        let mut packet = datagram.to_vec();
        let opened = media.opener.open_rtp(&mut packet).expect("it was sealed with this key");
        let frame = &packet[opened.payload];
        let plain = &said.frame[..];
        let seed = self.seed;
        if !is_protocol_frame(frame) {
            assert_eq!(frame, plain, "seed {seed}: a frame of {user} was changed");
            let demanded = client.requires_e2ee || client.e2ee().is_some_and(|status| status.is_encrypting);
            assert!(!demanded && !self.is_encrypted_always, "seed {seed}: {user} sent a frame in the clear");
            return;
        }
        // Both key and nonce make the stream, and only both.
        if let (Some(first), Some(sealed)) = (plain.first_chunk::<KEY_STREAM_LEN>(), frame.first_chunk()) {
            let sealed: &[u8; KEY_STREAM_LEN] = sealed;
            let stream = std::array::from_fn(|at| first[at] ^ sealed[at]);
            let fresh = self.key_streams.insert(stream);
            assert!(fresh, "seed {seed}: {user} encrypted two frames under one key and nonce");
        } else {
            // All silence is alike: under one key and nonce it would be so when encrypted, tag included.
            let fresh = self.silences.insert(frame.to_vec());
            assert!(fresh, "seed {seed}: {user} encrypted silence twice under one key and nonce");
        }
    }

    /// Checks what a client accepted.
    pub(crate) fn watch_plaintext(&self, user: UserId) {
        let Some(client) = self.clients.get(&user) else { return };
        let accepted = client.media.as_ref().map_or(0, |media| media.receiver.stats().e2ee.plaintext);
        let allowed = !self.is_encrypted_always && !client.requires_e2ee;
        assert!(allowed || accepted == 0, "seed {}: {user} accepted a frame in the clear", self.seed);
    }
}

/// As much as every frame made here has.
pub(crate) const KEY_STREAM_LEN: usize = 13;

/// Steps of a virtual second, for each pair of clients: all speak, and everything comes twice.
const STEPS_PER_SECOND: u64 = 1_000;

/// Times in a virtual second at which a call, which sleeps between heartbeats, may want to be woken.
const WAKES_PER_SECOND: u32 = 50;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use voice_server::DaveMode;
    use voice_udp::PacketBuf;

    use super::*;
    use crate::Said;

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

    const BOB: UserId = UserId::new(2);

    /// Alice says one frame; what she sends.
    fn spoken(world: &mut World) -> Vec<u8> {
        world.join(ALICE);
        world.join(BOB);
        let client = world.client_mut(ALICE);
        client.make_frames(1);
        let frame = client.queue.pop_front().expect("made just now");
        let media = client.media.as_mut().expect("it is in a call");
        let mut buffer = PacketBuf::new();
        let datagram = media.sender.seal(&frame, &mut buffer).expect("there is a key").to_vec();
        let (at, ssrc) = (Duration::ZERO, media.sender.ssrc());
        client.said.push(Said { at, ssrc, frame, silence: false, epoch: None });
        datagram
    }

    #[test]
    #[should_panic(expected = "seed 11: 1 encrypted two frames under one key and nonce")]
    fn a_key_stream_that_comes_twice_is_noticed() {
        let mut world = World::builder().seed(11).build();
        let datagram = spoken(&mut world);
        world.watch_frame(ALICE, &datagram);
        world.watch_frame(ALICE, &datagram);
    }

    #[test]
    #[should_panic(expected = "seed 12: 1 sent a frame in the clear")]
    fn a_frame_in_the_clear_is_noticed() {
        let mut world = World::builder().seed(12).dave(DaveMode::Off).build();
        let datagram = spoken(&mut world);
        world.watch_frame(ALICE, &datagram);
        world.is_encrypted_always = true;
        world.watch_frame(ALICE, &datagram);
    }

    #[test]
    #[should_panic(expected = "seed 13: 2 accepted a frame in the clear")]
    fn a_frame_that_is_accepted_in_the_clear_is_noticed() {
        let mut world = World::builder().seed(13).dave(DaveMode::Off).build();
        world.join(ALICE);
        world.join(BOB);
        world.is_encrypted_always = true;
        world.watch_plaintext(BOB);
        world.is_encrypted_always = false;
        world.speak(ALICE, 1);
        world.run_for(Duration::from_secs(1));
        world.is_encrypted_always = true;
        world.watch_plaintext(BOB);
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
