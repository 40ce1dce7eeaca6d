//! Reading the elements of an extension.

use core::iter::FusedIterator;

/// How the elements of an extension body are laid out; its profile says which.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Form {
    /// Number and length share a byte: numbers 1 to 14, 1 to 16 bytes of data.
    ///
    /// RFC 8285, section 4.2, "One-Byte Header".
    OneByte,
    /// Number and length have a byte each: numbers 1 to 255, 0 to 255 bytes of data.
    ///
    /// RFC 8285, section 4.3, "Two-Byte Header".
    TwoByte {
        /// Four bits of the application's choice, 0 unless it has a meaning for them. Of a written
        /// profile only the low four count; receivers that do not know their meaning ignore them.
        app_bits: u8,
    },
}

impl Form {
    /// Returns the form that `profile` stands for; `None` for profiles of other specifications.
    #[must_use]
    pub const fn from_profile(profile: u16) -> Option<Self> {
        if profile == ONE_BYTE_PROFILE {
            Some(Self::OneByte)
        } else if profile & !APP_BITS == TWO_BYTE_PROFILE {
            Some(Self::TwoByte { app_bits: (profile & APP_BITS) as u8 })
        } else {
            None
        }
    }

    /// Returns the profile that stands for this form.
    #[must_use]
    pub const fn profile(self) -> u16 {
        match self {
            Self::OneByte => ONE_BYTE_PROFILE,
            Self::TwoByte { app_bits } => TWO_BYTE_PROFILE | (app_bits as u16 & APP_BITS),
        }
    }
}

/// One element of an extension.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Element<'a> {
    /// The number of the element: 1 to 14 in the one-byte form, 1 to 255 in the two-byte form.
    pub id: u8,
    /// Its content: 1 to 16 bytes in the one-byte form, 0 to 255 in the two-byte form.
    pub data: &'a [u8],
}

/// Walks the elements of an extension body, in either form.
///
/// Zero bytes between elements are skipped. After the last element [`stop`](Self::stop) says
/// whether the body was read to its end; what was read before a defect counts.
///
/// ```
/// use voice_rtp::extension::{Elements, Form, Stop};
///
/// let mut walk = Elements::new(Form::TwoByte { app_bits: 0 }, &[5, 2, 0, 7, 20, 0, 0, 0]);
/// let read: Vec<_> = walk.by_ref().map(|element| (element.id, element.data)).collect();
/// assert_eq!(read, [(5, &[0, 7][..]), (20, &[])]);
/// assert_eq!(walk.stop(), Some(Stop::End));
/// ```
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    rest: &'a [u8],
    two_byte: bool,
    stop: Option<Stop>,
}

impl<'a> Elements<'a> {
    /// Starts at the beginning of `body`.
    #[must_use]
    pub const fn new(form: Form, body: &'a [u8]) -> Self {
        Self { rest: body, two_byte: matches!(form, Form::TwoByte { .. }), stop: None }
    }

    /// Returns why the walk ended; `None` while it has not.
    #[must_use]
    pub const fn stop(&self) -> Option<Stop> {
        self.stop
    }

    /// Splits the next element off, or says why there is none.
    const fn step(&mut self) -> Result<Element<'a>, Stop> {
        loop {
            let Some((&head, rest)) = self.rest.split_first() else {
                return Err(Stop::End);
            };
            if head == PADDING {
                self.rest = rest;
                continue;
            }
            let (id, len, rest) = if self.two_byte {
                let Some((&len, rest)) = rest.split_first() else {
                    return Err(Stop::Overrun);
                };
                (head, len as usize, rest)
            } else {
                match head >> 4 {
                    0 => return Err(Stop::IdZeroWithLength),
                    RESERVED_ID => return Err(Stop::Id15),
                    id => (id, (head & 0x0F) as usize + 1, rest),
                }
            };
            let Some((data, rest)) = rest.split_at_checked(len) else {
                return Err(Stop::Overrun);
            };
            self.rest = rest;
            return Ok(Element { id, data });
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        if self.stop.is_some() {
            return None;
        }
        self.step().map_err(|stop| self.stop = Some(stop)).ok()
    }
}

impl FusedIterator for Elements<'_> {}

/// Why a walk over extension elements ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Stop {
    /// The body was read to its end.
    End,
    /// An element claims more bytes than the body has.
    Overrun,
    /// An element of the one-byte form has number 15, which ends the list: RFC 8285, section 4.2.
    Id15,
    /// An element of the one-byte form has number 0, which is padding, and a length, which padding
    /// cannot have: RFC 8285, section 4.2.
    IdZeroWithLength,
}

/// The profile of an extension whose elements have one-byte headers: RFC 8285, section 4.2.
pub const ONE_BYTE_PROFILE: u16 = 0xBEDE;

/// The profile of an extension whose elements have two-byte headers, before the four bits of the
/// application: RFC 8285, section 4.3.
pub const TWO_BYTE_PROFILE: u16 = 0x1000;

/// The bits of a two-byte profile that belong to the application: RFC 8285, section 4.3.
const APP_BITS: u16 = 0x000F;

/// The byte between elements that is none: RFC 8285, section 4.1.1.
pub(super) const PADDING: u8 = 0;

/// The number that ends a list in the one-byte form: RFC 8285, section 4.2.
pub(super) const RESERVED_ID: u8 = 15;

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    #[test]
    fn every_profile_is_its_own_form_or_none() {
        let mut known = 0;
        for profile in 0..=u16::MAX {
            if let Some(form) = Form::from_profile(profile) {
                assert_eq!(form.profile(), profile);
                known += 1;
            }
        }
        assert_eq!(known, 17, "one-byte, and two-byte with each value of its four bits");
        assert_eq!(Form::TwoByte { app_bits: 0xF3 }.profile(), 0x1003);
    }

    #[test]
    fn two_byte_elements_are_read_up_to_the_first_defect() {
        type Case<'a> = (&'a [u8], &'a [(u8, &'a [u8])], Stop);
        let long = [&[9, 255][..], &[7; 255]].concat();
        let cases: [Case<'_>; 9] = [
            (&[], &[], Stop::End),
            (&[0, 0, 0, 0], &[], Stop::End),
            (&[1, 1, 0xFF, 0], &[(1, &[0xFF])], Stop::End),
            (&[0, 1, 0, 0, 9, 1, 2, 0], &[(1, &[]), (9, &[2])], Stop::End),
            (&[15, 1, 3, 255, 2, 4, 5, 0], &[(15, &[3]), (255, &[4, 5])], Stop::End),
            (&[1, 1, 0xFF, 2], &[(1, &[0xFF])], Stop::Overrun),
            (&[1, 2, 0xFF], &[], Stop::Overrun),
            (&[1, 0, 3, 255], &[(1, &[])], Stop::Overrun),
            (&long, &[(9, &[7; 255])], Stop::End),
        ];
        for (body, expected, stop) in cases {
            let mut walk = Elements::new(Form::TwoByte { app_bits: 5 }, body);
            let found: Vec<_> = walk.by_ref().map(|element| (element.id, element.data)).collect();
            assert_eq!(found, expected, "{body:?}");
            assert_eq!(walk.stop(), Some(stop), "{body:?}");
            assert_eq!(walk.next(), None, "an ended walk stays ended");
        }
    }
}
