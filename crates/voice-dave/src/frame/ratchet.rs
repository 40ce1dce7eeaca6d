//! The chain of keys that one base secret gives (DAVE protocol, "Sender Key Ratchet"; RFC 9420, section 9.1).

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

use crate::BaseSecret;

/// A secret from which the keys of its generation and of all later ones follow, but none of an earlier one.
pub(super) struct Ratchet {
    secret: [u8; SECRET_LEN],
    /// The base secret is shorter than those that follow from it.
    secret_len: usize,
    generation: u32,
}

impl Ratchet {
    pub(super) fn new(base: &BaseSecret) -> Self {
        let mut secret = [0; SECRET_LEN];
        secret[..BaseSecret::LEN].copy_from_slice(base.expose());
        Self { secret, secret_len: BaseSecret::LEN, generation: 0 }
    }

    pub(super) const fn generation(&self) -> u32 {
        self.generation
    }

    /// The key of a generation; `None` when it is too old.
    pub(super) fn key(&self, generation: u32) -> Option<Key> {
        let ahead = generation.checked_sub(self.generation)?;
        if ahead == 0 {
            let mut key = Key([0; KEY_LEN]);
            self.derive("key", &mut key.0);
            return Some(key);
        }
        let mut later = Self { secret: self.secret, secret_len: self.secret_len, generation: self.generation };
        later.advance_to(generation);
        later.key(generation)
    }

    /// Erases what the keys of all generations before this one follow from.
    pub(super) fn advance_to(&mut self, generation: u32) {
        while self.generation < generation {
            let mut next = [0; SECRET_LEN];
            self.derive("secret", &mut next);
            self.secret.copy_from_slice(&next);
            next.zeroize();
            self.secret_len = SECRET_LEN;
            self.generation += 1;
        }
    }

    /// `DeriveTreeSecret`: HKDF-Expand of one block, labelled with the generation.
    fn derive(&self, label: &str, out: &mut [u8]) {
        let full_label_len = LABEL_PREFIX.len() + label.len();
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.secret[..self.secret_len]).expect("HMAC takes keys of any length");
        mac.update(&(out.len() as u16).to_be_bytes());
        mac.update(&[full_label_len as u8]);
        mac.update(LABEL_PREFIX);
        mac.update(label.as_bytes());
        mac.update(&[size_of::<u32>() as u8]);
        mac.update(&self.generation.to_be_bytes());
        mac.update(&[1]);
        let mut block = mac.finalize().into_bytes();
        out.copy_from_slice(&block[..out.len()]);
        block.as_mut_slice().zeroize();
    }
}

impl Drop for Ratchet {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl fmt::Debug for Ratchet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ratchet").field("generation", &self.generation).finish_non_exhaustive()
    }
}

/// The key of one generation.
pub(super) struct Key([u8; KEY_LEN]);

impl Key {
    #[cfg(test)]
    pub(super) const fn new(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    pub(super) const fn expose(&self) -> &[u8; KEY_LEN] {
        &self.0
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// The generation whose lowest byte is `byte`, not before `oldest`.
pub(super) const fn widen(oldest: u32, byte: u8) -> u32 {
    let same_turn = (oldest & !0xFF) | byte as u32;
    if same_turn < oldest { same_turn.wrapping_add(0x100) } else { same_turn }
}

/// AES-128 (DAVE protocol, "Payload Format").
const KEY_LEN: usize = 16;
/// SHA-256's output: every secret after the base secret (RFC 9420, section 9.1).
const SECRET_LEN: usize = 32;
/// RFC 9420, section 8.
const LABEL_PREFIX: &[u8] = b"MLS 1.0 ";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vectors::load;

    #[test]
    fn keys_of_all_generations_are_those_of_libdave() {
        for case in load("ratchet").list("cases") {
            let ratchet = Ratchet::new(&BaseSecret::new(case.array("base_secret")));
            for (generation, key) in case.hex_map("keys") {
                let generation = generation.parse().expect("a generation");
                assert_eq!(ratchet.key(generation).expect("a later key").expose()[..], key, "{generation}");
            }
        }
    }

    #[test]
    fn each_step_gives_the_secret_of_the_next() {
        for case in load("ratchet").list("cases") {
            let mut ratchet = Ratchet::new(&BaseSecret::new(case.array("base_secret")));
            for step in case.list("steps") {
                let generation = step.number("generation") as u32;
                assert_eq!(ratchet.generation(), generation);
                assert_eq!(ratchet.secret[..ratchet.secret_len], step.bytes("secret"));
                assert_eq!(ratchet.key(generation).expect("its own key").expose()[..], step.bytes("key"));
                ratchet.advance_to(generation + 1);
                assert_eq!(ratchet.secret[..], step.bytes("next_secret"));
            }
        }
    }

    #[test]
    fn a_key_before_the_oldest_is_gone_for_good() {
        let mut ratchet = Ratchet::new(&BaseSecret::new([1; 16]));
        ratchet.advance_to(3);
        assert!(ratchet.key(2).is_none() && ratchet.key(3).is_some());
        ratchet.advance_to(1);
        assert_eq!(ratchet.generation(), 3);
    }

    #[test]
    fn generations_widen_as_in_libdave() {
        for case in load("generation_wrap").list("cases") {
            let widened = widen(case.number("oldest") as u32, case.number("top_byte") as u8);
            assert_eq!(u64::from(widened), case.number("generation"), "{case:?}");
        }
    }

    #[test]
    fn secrets_are_never_printed() {
        let printed = format!("{:?}", Ratchet::new(&BaseSecret::new([0xAB; 16])));
        assert_eq!(printed, "Ratchet { generation: 0, .. }");
    }
}
