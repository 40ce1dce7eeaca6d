//! ULEB128, the variable-length integers of the trailer.

/// The longest encoding of 64 bits, in bytes.
pub(crate) const MAX_LEN: usize = 10;

/// How many bytes the shortest encoding takes.
pub(super) const fn len(value: u64) -> usize {
    let bits = (64 - (value | 1).leading_zeros()) as usize;
    bits.div_ceil(7)
}

/// Writes the shortest encoding to the front of `out` and returns its length; `None` when there is no room.
pub(crate) fn write(mut value: u64, out: &mut [u8]) -> Option<usize> {
    let len = len(value);
    for byte in out.get_mut(..len)? {
        *byte = (value & 0x7F) as u8 | 0x80;
        value >>= 7;
    }
    *out.get_mut(len - 1)? &= 0x7F;
    Some(len)
}

/// Reads a value and its length in bytes; longer encodings than needed are accepted.
pub(crate) fn read(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (index, &byte) in bytes.iter().take(MAX_LEN).enumerate() {
        if index == MAX_LEN - 1 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vectors::{Case, load};

    #[test]
    fn values_are_written_as_libdave_writes_them() {
        for case in load("uleb128").list("write") {
            let (value, bytes) = (case.number("value"), case.bytes("bytes"));
            let mut out = [0; MAX_LEN];
            let used = write(value, &mut out).expect("ten bytes are room enough");
            assert_eq!((&out[..used], len(value)), (&bytes[..], bytes.len()));
            assert_eq!(read(&bytes), Some((value, used)));
            assert_eq!(write(value, &mut out[..used - 1]), None);
        }
    }

    #[test]
    fn values_are_read_as_libdave_reads_them() {
        for case in load("uleb128").list("read") {
            let expected = case.optional("result").map(|result: Case| (result.number("value"), result.number("used")));
            let read = read(&case.bytes("bytes")).map(|(value, used)| (value, used as u64));
            assert_eq!(read, expected, "{case:?}");
        }
    }

    proptest! {
        #[test]
        fn every_value_reads_back_and_no_truncation_of_it_does(value: u64) {
            let mut out = [0; MAX_LEN];
            let used = write(value, &mut out).expect("ten bytes are room enough");
            prop_assert_eq!(read(&out[..used]), Some((value, used)));
            for cut in 0..used {
                prop_assert_eq!(read(&out[..cut]), None);
            }
        }
    }
}
