//! IP addresses as text.
//!
//! The standard library's are equal, but contain panics that the compiler cannot rule out.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::ADDRESS_LEN;

/// Writes `address` as the standard library does, followed by zeros.
///
/// The longest text is 45 bytes.
pub(super) fn write(address: IpAddr) -> [u8; ADDRESS_LEN] {
    let mut text = Text { bytes: [0; ADDRESS_LEN], len: 0 };
    match address {
        IpAddr::V4(address) => text.v4(address),
        IpAddr::V6(address) => text.v6(address),
    }
    text.bytes
}

/// Reads what the standard library reads.
pub(super) fn parse(text: &[u8]) -> Option<IpAddr> {
    if text.contains(&b':') { parse_v6(text).map(IpAddr::V6) } else { parse_v4(text).map(IpAddr::V4) }
}

struct Text {
    bytes: [u8; ADDRESS_LEN],
    len: usize,
}

impl Text {
    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(self.len) {
            *slot = byte;
            self.len += 1;
        }
    }

    /// RFC 4001, section 2, "dotted decimal".
    fn v4(&mut self, address: Ipv4Addr) {
        for (place, octet) in address.octets().into_iter().enumerate() {
            if place > 0 {
                self.push(b'.');
            }
            if octet >= 100 {
                self.push(b'0' + octet / 100);
            }
            if octet >= 10 {
                self.push(b'0' + octet / 10 % 10);
            }
            self.push(b'0' + octet % 10);
        }
    }

    /// RFC 5952, section 4.
    fn v6(&mut self, address: Ipv6Addr) {
        if let Some(mapped) = address.to_ipv4_mapped() {
            for byte in *b"::ffff:" {
                self.push(byte);
            }
            return self.v4(mapped);
        }
        let zeros = Run::longest(address.segments());
        for (place, segment) in address.segments().into_iter().enumerate() {
            if place == zeros.start && zeros.len > 1 {
                self.push(b':');
                self.push(b':');
            }
            if zeros.len > 1 && place.checked_sub(zeros.start).is_some_and(|inside| inside < zeros.len) {
                continue;
            }
            if place > 0 && (zeros.len <= 1 || place != zeros.start.wrapping_add(zeros.len)) {
                self.push(b':');
            }
            self.hex(segment);
        }
    }

    fn hex(&mut self, segment: u16) {
        for shift in [12, 8, 4, 0] {
            if segment >> shift != 0 || shift == 0 {
                let digit = (segment >> shift & 0x0F) as u8;
                self.push(if digit < 10 { b'0' + digit } else { b'a' + (digit - 10) });
            }
        }
    }
}

/// A run of zero segments.
#[derive(Clone, Copy)]
struct Run {
    start: usize,
    len: usize,
}

impl Run {
    /// Finds the first of the longest runs.
    fn longest(segments: [u16; 8]) -> Self {
        let mut longest = Self { start: 0, len: 0 };
        let mut current = longest;
        for (place, segment) in segments.into_iter().enumerate() {
            if segment == 0 {
                current.len += 1;
                if current.len > longest.len {
                    longest = current;
                }
            } else {
                current = Self { start: place + 1, len: 0 };
            }
        }
        longest
    }
}

fn parse_v4(text: &[u8]) -> Option<Ipv4Addr> {
    let mut parts = text.split(|&byte| byte == b'.');
    let octets = [octet(parts.next()?)?, octet(parts.next()?)?, octet(parts.next()?)?, octet(parts.next()?)?];
    parts.next().is_none().then_some(Ipv4Addr::from(octets))
}

/// One to three decimal digits without a leading zero.
fn octet(digits: &[u8]) -> Option<u8> {
    if digits.is_empty() || (digits.len() > 1 && digits.first() == Some(&b'0')) {
        return None;
    }
    digits
        .iter()
        .try_fold(0_u8, |value, &digit| value.checked_mul(10)?.checked_add(char::from(digit).to_digit(10)? as u8))
}

fn parse_v6(text: &[u8]) -> Option<Ipv6Addr> {
    let gap = text.windows(2).position(|pair| pair == b"::");
    let Some((head, tail)) = gap.and_then(|gap| Some((text.get(..gap)?, text.get(gap.checked_add(2)?..)?))) else {
        let groups = Groups::parse(text, true)?;
        return (groups.len == 8).then(|| Ipv6Addr::from(groups.values));
    };
    let (head, tail) = (Groups::parse(head, false)?, Groups::parse(tail, true)?);
    // The gap stands for one group at least.
    if head.len + tail.len > 7 {
        return None;
    }
    let mut values = head.values;
    for (value, group) in values.iter_mut().rev().zip(tail.values.iter().take(tail.len).rev()) {
        *value = *group;
    }
    Some(Ipv6Addr::from(values))
}

/// Up to eight groups; those that are not there are 0.
struct Groups {
    values: [u16; 8],
    len: usize,
}

impl Groups {
    fn parse(text: &[u8], v4_at_end: bool) -> Option<Self> {
        let mut groups = Self { values: [0; 8], len: 0 };
        if text.is_empty() {
            return Some(groups);
        }
        let mut parts = text.split(|&byte| byte == b':').peekable();
        while let Some(part) = parts.next() {
            if v4_at_end && parts.peek().is_none() && part.contains(&b'.') {
                let [a, b, c, d] = parse_v4(part)?.octets();
                groups.push(u16::from_be_bytes([a, b]))?;
                groups.push(u16::from_be_bytes([c, d]))?;
            } else {
                groups.push(group(part)?)?;
            }
        }
        Some(groups)
    }

    fn push(&mut self, value: u16) -> Option<()> {
        *self.values.get_mut(self.len)? = value;
        self.len += 1;
        Some(())
    }
}

/// One to four hexadecimal digits.
fn group(digits: &[u8]) -> Option<u16> {
    if !(1..=4).contains(&digits.len()) {
        return None;
    }
    digits.iter().try_fold(0, |value, &digit| Some(value << 4 | char::from(digit).to_digit(16)? as u16))
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::{String, ToString};

    use proptest::prelude::*;

    use super::*;

    /// What the standard library makes of a text.
    fn reference(text: &[u8]) -> Option<IpAddr> {
        core::str::from_utf8(text).ok()?.parse().ok()
    }

    fn written(address: IpAddr) -> String {
        let bytes = write(address);
        assert_eq!(bytes.last(), Some(&0));
        let text = bytes.iter().copied().take_while(|&byte| byte != 0).map(char::from);
        text.collect()
    }

    #[test]
    fn texts_are_read_as_the_standard_library_reads_them() {
        for text in [
            "",
            ".",
            ":",
            "::",
            ":::",
            "1",
            "0.0.0.0",
            "255.255.255.255",
            "256.0.0.0",
            "1.2.3",
            "1.2.3.4.",
            "1.2.3.4.5",
            ".1.2.3.4",
            "1..2.3",
            "01.2.3.4",
            "1.2.3.00",
            "1.2.3.0",
            "1.2.3.4000",
            " 1.2.3.4",
            "1.2.3.4 ",
            "+1.2.3.4",
            "::1",
            "1::",
            "1::2::3",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "1::3:4:5:6:7:8",
            "1:2:3:4::5:6:7:8",
            "::1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7:8::",
            "FFFF::abCD",
            "0ffff::",
            "0001::",
            "g::",
            "1:",
            ":1",
            "1:2:",
            "::ffff:1.2.3.4",
            "::1.2.3.4",
            "1.2.3.4::",
            "1:2:3:4:5:6:1.2.3.4",
            "1:2:3:4:5:6:7:1.2.3.4",
            "1:2:3:4:5:1.2.3.4",
            "::1.2.3.4:5",
            "::1.2.3",
            "::01.2.3.4",
            "1:2:3:4:5::1.2.3.4",
            "1:2:3:4:5:6::1.2.3.4",
            "::%1",
            "[::1]",
            "::ffff:1.2.3.4.5",
            "1:::2",
            "::-1",
            "::1é",
        ] {
            assert_eq!(parse(text.as_bytes()), reference(text.as_bytes()), "{text:?}");
        }
    }

    #[test]
    fn addresses_of_every_shape_are_written_as_the_standard_library_writes_them() {
        // Each segment zero or not, and the two that mean something.
        for pattern in 0..3_u32.pow(8) {
            let segments: [u16; 8] = core::array::from_fn(|place| match pattern / 3_u32.pow(place as u32) % 3 {
                0 => 0,
                1 => 0xFFFF,
                _ => 0x0a00,
            });
            let address = IpAddr::from(segments);
            assert_eq!(written(address), address.to_string());
            assert_eq!(parse(written(address).as_bytes()), Some(address));
        }
        for value in 0..=u8::MAX {
            let address = IpAddr::from([value, 0, 10, 255 - value]);
            assert_eq!(written(address), address.to_string());
        }
    }

    proptest! {
        #[test]
        fn random_addresses_are_written_and_read(address: IpAddr) {
            prop_assert_eq!(written(address), address.to_string());
            prop_assert_eq!(parse(address.to_string().as_bytes()), Some(address));
        }

        #[test]
        fn likely_texts_are_read_as_the_standard_library_reads_them(text in "[0-9a-fA-F:.]{0,24}|[0-9a-g]{0,5}(::?[0-9a-f]{0,5}){1,9}(:[0-9]{1,3}(\\.[0-9]{1,3}){3})?") {
            prop_assert_eq!(parse(text.as_bytes()), reference(text.as_bytes()), "{}", format!("{text:?}"));
        }
    }
}
