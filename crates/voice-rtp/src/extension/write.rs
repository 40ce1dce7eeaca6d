//! Writing the elements of an extension.

use core::fmt;

use super::elements::{PADDING, RESERVED_ID};
use super::{Extension, Form};

/// Writes elements into a buffer that becomes the body of an [`Extension`].
///
/// The buffer needs room for whole words of four bytes; what the elements leave of the last word is
/// filled with zeros.
///
/// ```
/// use voice_rtp::extension::{AUDIO_LEVEL_ID, AudioLevel, ElementWriter, Form, SPEAKER_FLAGS_ID, SpeakerFlags};
///
/// let mut body = [0; 8];
/// let mut elements = ElementWriter::new(Form::OneByte, &mut body);
/// elements.push(AUDIO_LEVEL_ID, &[AudioLevel::SILENCE.to_byte()])?;
/// elements.push(SPEAKER_FLAGS_ID, &[SpeakerFlags::NONE.to_byte()])?;
/// let extension = elements.finish();
/// assert_eq!(extension.body(), [0x10, 0xFF, 0x90, 0x00]);
/// assert_eq!(extension.audio_level(), Some(AudioLevel::SILENCE));
/// # Ok::<(), voice_rtp::extension::ElementError>(())
/// ```
#[derive(Debug)]
pub struct ElementWriter<'b> {
    form: Form,
    body: &'b mut [u8],
    len: usize,
}

impl<'b> ElementWriter<'b> {
    /// Starts at the beginning of `body`, with no element.
    #[must_use]
    pub const fn new(form: Form, body: &'b mut [u8]) -> Self {
        Self { form, body, len: 0 }
    }

    /// Appends an element with the number `id`.
    ///
    /// # Errors
    ///
    /// [`ElementError`]; the elements so far stay as they were.
    pub fn push(&mut self, id: u8, data: &[u8]) -> Result<(), ElementError> {
        let len = u8::try_from(data.len()).map_err(|_| ElementError::Length)?;
        let (head, head_len) = match self.form {
            _ if id == PADDING => return Err(ElementError::Id),
            Form::OneByte if id >= RESERVED_ID => return Err(ElementError::Id),
            Form::OneByte => {
                let field = len.checked_sub(1).filter(|&field| field <= 0x0F).ok_or(ElementError::Length)?;
                ([id << 4 | field, 0], 1)
            }
            Form::TwoByte { .. } => ([id, len], 2),
        };
        // No sum can wrap: `self.len` is at most `MAX_BODY_LEN`.
        let end = self.len.wrapping_add(head_len).wrapping_add(usize::from(len));
        if padded(end) > MAX_BODY_LEN {
            return Err(ElementError::NoRoom);
        }
        let room = self.body.get_mut(self.len..padded(end)).ok_or(ElementError::NoRoom)?;
        let bytes = head.iter().take(head_len).chain(data).copied().chain(core::iter::repeat(PADDING));
        for (byte, value) in room.iter_mut().zip(bytes) {
            *byte = value;
        }
        self.len = end;
        Ok(())
    }

    /// Returns the extension, whose body is what was written, in whole words.
    #[must_use]
    pub fn finish(self) -> Extension<'b> {
        let body: &[u8] = self.body;
        // `push` wrote the whole of the last word, so it is there.
        Extension::new(self.form.profile(), body.get(..padded(self.len)).unwrap_or_default())
    }
}

/// Why an element was not written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ElementError {
    /// The form has no such number: 1 to 14 in the one-byte form, 1 to 255 in the two-byte form.
    Id,
    /// The form has no room for so much or so little data: 1 to 16 bytes in the one-byte form, at
    /// most 255 in the two-byte form.
    Length,
    /// The buffer, or the length field of an extension, is too small for one more.
    NoRoom,
}

impl fmt::Display for ElementError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Id => "no such element number in this form",
            Self::Length => "element data of a length this form does not have",
            Self::NoRoom => "no room for the element",
        })
    }
}

impl core::error::Error for ElementError {}

/// The longest body, in bytes: as many words as a 16-bit field can say. RFC 3550, section 5.3.1.
pub(crate) const MAX_BODY_LEN: usize = u16::MAX as usize * 4;

/// Rounds up to whole words.
const fn padded(len: usize) -> usize {
    len.wrapping_add(3) & !3
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;

    use super::*;

    const TWO_BYTE: Form = Form::TwoByte { app_bits: 0 };

    #[test]
    fn numbers_and_lengths_that_a_form_lacks_are_refused() {
        let cases = [
            (Form::OneByte, 0, 1, Err(ElementError::Id)),
            (Form::OneByte, 1, 0, Err(ElementError::Length)),
            (Form::OneByte, 1, 1, Ok(())),
            (Form::OneByte, 14, 16, Ok(())),
            (Form::OneByte, 14, 17, Err(ElementError::Length)),
            (Form::OneByte, 15, 1, Err(ElementError::Id)),
            (Form::OneByte, 255, 1, Err(ElementError::Id)),
            (TWO_BYTE, 0, 0, Err(ElementError::Id)),
            (TWO_BYTE, 15, 0, Ok(())),
            (TWO_BYTE, 255, 255, Ok(())),
            (TWO_BYTE, 255, 256, Err(ElementError::Length)),
        ];
        for (form, id, len, expected) in cases {
            let mut body = [0xAA; 260];
            let mut writer = ElementWriter::new(form, &mut body);
            assert_eq!(writer.push(id, &vec![1; len]), expected, "{form:?} {id} {len}");
            let extension = writer.finish();
            assert_eq!(extension.elements().count(), usize::from(expected.is_ok()));
            if expected.is_err() {
                assert_eq!(extension.body(), []);
                assert!(body.iter().all(|&byte| byte == 0xAA), "a refused element is not written");
            }
        }
    }

    #[test]
    fn the_last_word_is_filled_with_zeros_and_must_fit() {
        let mut body = [0xAA; 7];
        let mut writer = ElementWriter::new(Form::OneByte, &mut body);
        assert_eq!(writer.push(5, &[1, 2]), Ok(()));
        assert_eq!(
            writer.push(1, &[3]),
            Err(ElementError::NoRoom),
            "a fifth byte begins a word of which there are three"
        );
        assert_eq!(writer.finish().body(), [0x51, 1, 2, 0]);
        assert_eq!(body[4..], [0xAA; 3]);
    }

    #[test]
    fn a_body_ends_where_its_length_field_does() {
        let mut body = vec![0; MAX_BODY_LEN + 1_024];
        let mut writer = ElementWriter::new(TWO_BYTE, &mut body);
        let mut pushed = 0;
        while writer.push(1, &[7; 254]).is_ok() {
            pushed += 1;
        }
        assert_eq!(pushed, MAX_BODY_LEN / 256);
        let left = MAX_BODY_LEN - pushed * 256 - 2;
        assert_eq!(writer.push(2, &vec![7; left + 1]), Err(ElementError::NoRoom));
        assert_eq!(writer.push(2, &vec![7; left]), Ok(()));
        assert_eq!(writer.push(3, &[]), Err(ElementError::NoRoom));
        let extension = writer.finish();
        assert_eq!(extension.body().len(), MAX_BODY_LEN);
        assert_eq!(extension.elements().count(), pushed + 1);
    }

    #[test]
    fn errors_say_what_is_wrong() {
        for error in [ElementError::Id, ElementError::Length, ElementError::NoRoom] {
            assert!(!error.to_string().is_empty());
        }
    }
}
