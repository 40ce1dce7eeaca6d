//! The one source of randomness: a stream that the caller's seed determines.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// ChaCha20 as a random number generator; everything the server draws comes from here.
pub(crate) struct Random(ChaCha20Rng);

impl Random {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self(ChaCha20Rng::from_seed(seed))
    }

    pub(crate) fn u16(&mut self) -> u16 {
        let [low, high, ..] = self.0.next_u32().to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    pub(crate) fn u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A number below `bound`, or 0 for a bound of 0.
    pub(crate) fn below(&mut self, bound: u32) -> u32 {
        // The high half of a 64-bit product: no division, and a bias below 2^-32 per value.
        let product = u64::from(self.0.next_u32()) * u64::from(bound);
        u32::try_from(product >> 32).unwrap_or(0)
    }

    /// True with this probability; values outside 0 to 1 mean never and always.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        if probability <= 0.0 {
            return false;
        }
        f64::from(self.0.next_u32()) < probability * 4_294_967_296.0
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill_bytes(&mut bytes);
        bytes
    }

    /// `2 * N` hexadecimal digits.
    pub(crate) fn hex<const N: usize>(&mut self) -> String {
        let mut text = String::with_capacity(2 * N);
        for byte in self.bytes::<N>() {
            for nibble in [byte >> 4, byte & 15] {
                text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_determines_everything() {
        let (mut one, mut two) = (Random::new([7; 32]), Random::new([7; 32]));
        assert_eq!(one.hex::<16>(), two.hex::<16>());
        assert_eq!((one.u16(), one.u32(), one.below(9)), (two.u16(), two.u32(), two.below(9)));
        assert_ne!(one.hex::<16>(), Random::new([8; 32]).hex::<16>());
    }

    #[test]
    fn bounds_and_chances_hold() {
        let mut random = Random::new([1; 32]);
        assert!((0..1000).all(|_| random.below(3) < 3));
        assert_eq!(random.below(0), 0);
        assert!((0..100).all(|_| random.chance(1.0)));
        assert!(!(0..100).any(|_| random.chance(0.0)));
        let hits = (0..10_000).filter(|_| random.chance(0.25)).count();
        assert!((2_200..2_800).contains(&hits), "{hits}");
    }
}
