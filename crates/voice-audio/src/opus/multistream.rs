//! Several Opus streams in one packet: RFC 7845 section 5.1.1, RFC 6716 appendix B.

#![deny(clippy::indexing_slicing)]

/// Takes the first of several packets off the front, and undoes its self-delimiting. `None` when it is malformed.
pub(crate) fn split_first(packet: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (&toc, mut rest) = packet.split_first()?;
    let mut plain = vec![toc];
    match toc & 3 {
        0 => {
            let len = read_len(&mut rest)?;
            take(&mut rest, len, &mut plain)?;
        }
        1 => {
            let len = read_len(&mut rest)?;
            take(&mut rest, 2 * len, &mut plain)?;
        }
        2 => {
            let before = rest;
            let first = read_len(&mut rest)?;
            plain.extend_from_slice(before.get(..before.len() - rest.len())?);
            let second = read_len(&mut rest)?;
            take(&mut rest, first + second, &mut plain)?;
        }
        _ => {
            let (&count, after) = rest.split_first()?;
            rest = after;
            plain.push(count);
            let frames = usize::from(count & 0x3F);
            let mut padding = 0;
            if count & 0x40 != 0 {
                loop {
                    let (&byte, after) = rest.split_first()?;
                    rest = after;
                    plain.push(byte);
                    padding += usize::from(byte.min(254));
                    if byte < 255 {
                        break;
                    }
                }
            }
            let mut len = padding;
            if count & 0x80 != 0 {
                let before = rest;
                for _ in 1..frames {
                    len += read_len(&mut rest)?;
                }
                plain.extend_from_slice(before.get(..before.len() - rest.len())?);
                len += read_len(&mut rest)?;
            } else {
                len += read_len(&mut rest)? * frames;
            }
            take(&mut rest, len, &mut plain)?;
        }
    }
    Some((plain, rest))
}

/// Reads a length of one or two bytes: RFC 6716, section 3.2.1.
fn read_len(rest: &mut &[u8]) -> Option<usize> {
    let (&first, after) = rest.split_first()?;
    *rest = after;
    if first < 252 {
        return Some(first.into());
    }
    let (&second, after) = rest.split_first()?;
    *rest = after;
    Some(usize::from(second) * 4 + usize::from(first))
}

fn take(rest: &mut &[u8], len: usize, out: &mut Vec<u8>) -> Option<()> {
    let (taken, after) = rest.split_at_checked(len)?;
    out.extend_from_slice(taken);
    *rest = after;
    Some(())
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test that panics has failed")]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;
    use crate::opus::Packet;

    #[test]
    fn every_code_loses_its_own_length_and_stays_a_packet() {
        let cases: [(&[u8], &[u8]); 5] = [
            (&[0xFC, 2, 1, 2, 9], &[0xFC, 1, 2]),
            (&[0xFD, 1, 1, 2, 9], &[0xFD, 1, 2]),
            (&[0xFE, 1, 2, 1, 2, 3, 9], &[0xFE, 1, 1, 2, 3]),
            (&[0xFF, 0x02, 1, 1, 2, 9], &[0xFF, 0x02, 1, 2]),
            (&[0xFF, 0xC2, 1, 1, 2, 1, 2, 3, 0, 9], &[0xFF, 0xC2, 1, 1, 1, 2, 3, 0]),
        ];
        for (joined, plain) in cases {
            let (packet, rest) = split_first(joined).unwrap();
            assert_eq!((packet.as_slice(), rest), (plain, &[9][..]));
            assert!(Packet::parse(&packet).is_ok(), "{packet:?}");
            for len in 0..joined.len() - 1 {
                assert!(split_first(&joined[..len]).is_none(), "{joined:?} cut to {len}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_end_in_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = split_first(&bytes);
        }
    }
}
