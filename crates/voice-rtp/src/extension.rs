//! RTP header extensions, and the elements that Discord uses.
//!
//! RFC 8285 and, for the numbers of the elements, the official clients: no public document names them.

use crate::number::Sequence;

mod elements;
mod values;
mod write;

pub use self::elements::{Element, Elements, Form, ONE_BYTE_PROFILE, Stop, TWO_BYTE_PROFILE};
pub use self::values::{
    AbsoluteSendTime, AudioLevel, PlayoutDelay, SpeakerFlags, TransmissionOffset, VideoOrientation,
};
pub(crate) use self::write::MAX_BODY_LEN;
pub use self::write::{ElementError, ElementWriter};

/// The header extension of a packet: a profile and an opaque body.
///
/// Receivers skip the body whatever the profile is; reading it is only for information.
///
/// ```
/// use voice_rtp::Extension;
/// use voice_rtp::extension::ONE_BYTE_PROFILE;
///
/// let body = [0x32, 0xA1, 0xB2, 0xC3, 0x10, 0xA3, 0x90, 0x02];
/// let extension = Extension::new(ONE_BYTE_PROFILE, &body);
/// let ids: Vec<u8> = extension.elements().map(|element| element.id).collect();
/// assert_eq!(ids, [3, 1, 9]);
/// assert!(extension.audio_level().unwrap().voice_activity());
/// assert!(extension.speaker_flags().unwrap().voice());
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Extension<'a> {
    profile: u16,
    body: &'a [u8],
}

impl<'a> Extension<'a> {
    /// Makes the view of an extension that was found elsewhere, such as in a sealed packet's clear
    /// preamble and decrypted body.
    #[must_use]
    pub const fn new(profile: u16, body: &'a [u8]) -> Self {
        Self { profile, body }
    }

    /// Returns the profile; [`ONE_BYTE_PROFILE`] in everything voice clients send.
    #[must_use]
    pub const fn profile(&self) -> u16 {
        self.profile
    }

    /// Returns the form of the elements; `None` when the profile is not of RFC 8285.
    #[must_use]
    pub const fn form(&self) -> Option<Form> {
        Form::from_profile(self.profile)
    }

    /// Returns the body, without profile and length.
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Returns the elements of the body; none when the profile is not of RFC 8285.
    #[must_use]
    pub const fn elements(&self) -> Elements<'a> {
        match self.form() {
            Some(form) => Elements::new(form, self.body),
            None => Elements::new(Form::OneByte, &[]),
        }
    }

    /// Returns the data of the first element with the number `id`.
    #[must_use]
    pub fn element(&self, id: u8) -> Option<&'a [u8]> {
        self.elements().find(|element| element.id == id).map(|element| element.data)
    }

    /// Returns the audio level, if the extension carries one.
    #[must_use]
    pub fn audio_level(&self) -> Option<AudioLevel> {
        self.sized(AUDIO_LEVEL_ID).map(|&[byte]| AudioLevel::from_byte(byte))
    }

    /// Returns how long the packet waited to be sent, if the extension says so.
    #[must_use]
    pub fn transmission_offset(&self) -> Option<TransmissionOffset> {
        self.sized(TRANSMISSION_OFFSET_ID).map(|bytes| TransmissionOffset::from_bytes(*bytes))
    }

    /// Returns when the packet was sent, if the extension says so.
    #[must_use]
    pub fn absolute_send_time(&self) -> Option<AbsoluteSendTime> {
        self.sized(ABSOLUTE_SEND_TIME_ID).map(|bytes| AbsoluteSendTime::from_bytes(*bytes))
    }

    /// Returns how the camera was held, if the extension says so.
    #[must_use]
    pub fn video_orientation(&self) -> Option<VideoOrientation> {
        self.sized(VIDEO_ORIENTATION_ID).map(|&[byte]| VideoOrientation::from_byte(byte))
    }

    /// Returns the number that counts the packets of all streams of a sender, if the extension
    /// carries one.
    ///
    /// WebRTC, "Transport-wide Congestion Control", section 2.
    #[must_use]
    pub fn transport_sequence(&self) -> Option<Sequence> {
        self.sized(TRANSPORT_SEQUENCE_ID).map(|bytes| Sequence::new(u16::from_be_bytes(*bytes)))
    }

    /// Returns how long to hold the frame, if the extension says so.
    #[must_use]
    pub fn playout_delay(&self) -> Option<PlayoutDelay> {
        self.sized(PLAYOUT_DELAY_ID).map(|bytes| PlayoutDelay::from_bytes(*bytes))
    }

    /// Returns the speaker flags, if the extension carries them.
    #[must_use]
    pub fn speaker_flags(&self) -> Option<SpeakerFlags> {
        self.sized(SPEAKER_FLAGS_ID).map(|&[byte]| SpeakerFlags::from_byte(byte))
    }

    /// Returns the data of the first element with the number `id` that is `N` bytes long.
    fn sized<const N: usize>(&self, id: u8) -> Option<&'a [u8; N]> {
        self.elements().find_map(|element| if element.id == id { element.data.try_into().ok() } else { None })
    }
}

/// The extension that official clients put on audio: an [`AudioLevel`] and [`SpeakerFlags`].
///
/// Bots need not send it. [`RtpHeader::write_with_audio`](crate::RtpHeader::write_with_audio) does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct AudioExtension {
    /// How loud the packet is.
    pub level: AudioLevel,
    /// In which way the sender speaks.
    pub speaker: SpeakerFlags,
}

impl AudioExtension {
    /// The length with profile and length fields, in bytes.
    pub const LEN: usize = 8;

    /// Returns profile, length and both elements.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; Self::LEN] {
        let [p0, p1] = ONE_BYTE_PROFILE.to_be_bytes();
        [p0, p1, 0, 1, AUDIO_LEVEL_ID << 4, self.level.to_byte(), SPEAKER_FLAGS_ID << 4, self.speaker.to_byte()]
    }
}

/// The element that carries the [`AudioLevel`], 1 byte.
pub const AUDIO_LEVEL_ID: u8 = 1;

/// The element that carries the [`TransmissionOffset`] of video, 3 bytes.
pub const TRANSMISSION_OFFSET_ID: u8 = 2;

/// The element that carries the [`AbsoluteSendTime`], 3 bytes.
pub const ABSOLUTE_SEND_TIME_ID: u8 = 3;

/// The element that carries the [`VideoOrientation`], 1 byte.
pub const VIDEO_ORIENTATION_ID: u8 = 4;

/// The element that carries the [transport-wide sequence number](Extension::transport_sequence) of
/// video, 2 bytes.
pub const TRANSPORT_SEQUENCE_ID: u8 = 5;

/// The element that carries the [`PlayoutDelay`] of video, 3 bytes.
pub const PLAYOUT_DELAY_ID: u8 = 6;

/// The element that says what a video shows, 1 byte: 0 a camera, 1 a screen.
pub const VIDEO_CONTENT_TYPE_ID: u8 = 7;

/// The element that says where a video frame spent its time, 13 bytes.
pub const VIDEO_TIMING_ID: u8 = 8;

/// The element that carries [`SpeakerFlags`], 1 byte.
pub const SPEAKER_FLAGS_ID: u8 = 9;

/// The element that names the media section a packet belongs to, as text: RFC 9143, section 15.2.
pub const MEDIA_ID: u8 = 10;

/// The element that names the stream among several of a sender, as text: RFC 8852, section 3.1.
pub const STREAM_ID: u8 = 11;

/// The element that names the stream which a retransmission repairs, as text: RFC 8852, section 3.2.
pub const REPAIRED_STREAM_ID: u8 = 12;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_is_found_by_its_number_in_both_forms() {
        for form in [Form::OneByte, Form::TwoByte { app_bits: 9 }] {
            let mut body = [0; 64];
            let mut writer = ElementWriter::new(form, &mut body);
            let offset = TransmissionOffset::new(-7);
            let sent = AbsoluteSendTime::new(0xAB_CDEF);
            let delay = PlayoutDelay::new(1, 300);
            let orientation = VideoOrientation::new(true, false, 1);
            writer.push(AUDIO_LEVEL_ID, &[0x85]).unwrap();
            writer.push(TRANSMISSION_OFFSET_ID, &offset.to_bytes()).unwrap();
            writer.push(ABSOLUTE_SEND_TIME_ID, &sent.to_bytes()).unwrap();
            writer.push(VIDEO_ORIENTATION_ID, &[orientation.to_byte()]).unwrap();
            writer.push(TRANSPORT_SEQUENCE_ID, &[1, 2]).unwrap();
            writer.push(PLAYOUT_DELAY_ID, &delay.to_bytes()).unwrap();
            writer.push(SPEAKER_FLAGS_ID, &[2]).unwrap();
            writer.push(MEDIA_ID, b"audio").unwrap();
            let extension = writer.finish();
            assert_eq!(extension.form(), Some(form));
            assert_eq!(extension.audio_level(), Some(AudioLevel::new(true, 5)));
            assert_eq!(extension.transmission_offset(), Some(offset));
            assert_eq!(extension.absolute_send_time(), Some(sent));
            assert_eq!(extension.video_orientation(), Some(orientation));
            assert_eq!(extension.transport_sequence(), Some(Sequence::new(0x0102)));
            assert_eq!(extension.playout_delay(), Some(delay));
            assert_eq!(extension.speaker_flags(), Some(SpeakerFlags::VOICE));
            assert_eq!(extension.element(MEDIA_ID), Some(&b"audio"[..]));
            assert_eq!(extension.element(STREAM_ID), None);
        }
    }

    #[test]
    fn an_element_of_another_length_is_not_taken_for_its_value() {
        let extension = Extension::new(ONE_BYTE_PROFILE, &[0x11, 1, 2, 0x10, 3, 0, 0, 0]);
        assert_eq!(extension.audio_level(), Some(AudioLevel::from_byte(3)));
        assert_eq!(extension.element(AUDIO_LEVEL_ID), Some(&[1, 2][..]));
        assert_eq!(Extension::new(ONE_BYTE_PROFILE, &[0x31, 1, 2, 0]).absolute_send_time(), None);
    }

    #[test]
    fn a_foreign_profile_has_no_elements() {
        let extension = Extension::new(0xABCD, &[0x10, 0xFF, 0x90, 0x02]);
        assert_eq!(extension.form(), None);
        let mut walk = extension.elements();
        assert_eq!(walk.next(), None);
        assert_eq!(walk.stop(), Some(Stop::End));
        assert_eq!(extension.audio_level(), None);
    }
}
