//! RTP header extensions, and the two that voice clients attach to audio.

use core::fmt;
use core::iter::FusedIterator;

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

    /// Returns the body, without profile and length.
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Returns the elements of a body in the one-byte form; none for any other profile.
    #[must_use]
    pub const fn elements(&self) -> OneByteElements<'a> {
        OneByteElements::new(if self.profile == ONE_BYTE_PROFILE { self.body } else { &[] })
    }

    /// Returns the audio level, if the extension carries one.
    #[must_use]
    pub fn audio_level(&self) -> Option<AudioLevel> {
        self.single_byte(AUDIO_LEVEL_ID).map(AudioLevel::from_byte)
    }

    /// Returns the speaker flags, if the extension carries them.
    #[must_use]
    pub fn speaker_flags(&self) -> Option<SpeakerFlags> {
        self.single_byte(SPEAKER_FLAGS_ID).map(SpeakerFlags::from_byte)
    }

    fn single_byte(&self, id: u8) -> Option<u8> {
        self.elements().find_map(|element| match (element.id, element.data) {
            (found, &[byte]) if found == id => Some(byte),
            _ => None,
        })
    }
}

/// One element of an extension in the one-byte form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Element<'a> {
    /// The number of the element, 1 to 14.
    pub id: u8,
    /// Its content, 1 to 16 bytes.
    pub data: &'a [u8],
}

/// Walks the elements of an extension body in the one-byte form.
///
/// Zero bytes between elements are skipped. After the last element [`stop`](Self::stop) says
/// whether the body was read to its end; what was read before a defect counts.
///
/// RFC 8285, section 4.2, "One-Byte Header".
#[derive(Clone, Debug)]
pub struct OneByteElements<'a> {
    rest: &'a [u8],
    stop: Option<Stop>,
}

impl<'a> OneByteElements<'a> {
    /// Starts at the beginning of `body`.
    #[must_use]
    pub const fn new(body: &'a [u8]) -> Self {
        Self { rest: body, stop: None }
    }

    /// Returns why the walk ended; `None` while it has not.
    #[must_use]
    pub const fn stop(&self) -> Option<Stop> {
        self.stop
    }
}

impl<'a> Iterator for OneByteElements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        if self.stop.is_some() {
            return None;
        }
        let stop = loop {
            let Some((&head, rest)) = self.rest.split_first() else {
                break Stop::End;
            };
            match head >> 4 {
                0 if head == 0 => self.rest = rest,
                0 => break Stop::IdZeroWithLength,
                15 => break Stop::Id15,
                id => {
                    let Some((data, rest)) = rest.split_at_checked(usize::from(head & 0x0F) + 1) else {
                        break Stop::Overrun;
                    };
                    self.rest = rest;
                    return Some(Element { id, data });
                }
            }
        };
        self.stop = Some(stop);
        None
    }
}

impl FusedIterator for OneByteElements<'_> {}

/// Why a walk over extension elements ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Stop {
    /// The body was read to its end.
    End,
    /// An element claims more bytes than the body has.
    Overrun,
    /// An element has number 15, which ends the list: RFC 8285, section 4.2.
    Id15,
    /// An element has number 0, which is padding, and a length, which padding cannot have.
    IdZeroWithLength,
}

/// How loud a packet is, as its sender measured it: element 1.
///
/// RFC 6464, section 3.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct AudioLevel(u8);

impl AudioLevel {
    /// What official clients send with silence: voice activity set, level 127.
    pub const SILENCE: Self = Self(0xFF);

    /// Makes the level of `minus_dbov` decibels below overload, of which the low seven bits count.
    #[must_use]
    pub const fn new(voice_activity: bool, minus_dbov: u8) -> Self {
        Self((voice_activity as u8) << 7 | (minus_dbov & 0x7F))
    }

    /// Reads the level from its byte on the wire.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    /// Returns the byte on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self.0
    }

    /// Says whether the sender's detector heard a voice.
    #[must_use]
    pub const fn voice_activity(self) -> bool {
        self.0 & 0x80 != 0
    }

    /// Returns the level in decibels below overload: 0 is the loudest, 127 digital silence.
    #[must_use]
    pub const fn minus_dbov(self) -> u8 {
        self.0 & 0x7F
    }
}

impl fmt::Debug for AudioLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AudioLevel")
            .field("voice_activity", &self.voice_activity())
            .field("minus_dbov", &self.minus_dbov())
            .finish()
    }
}

/// In which way the sender of a packet speaks: element 9.
///
/// The bits are those of the gateway's speaking flags, in another order.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct SpeakerFlags(u8);

impl SpeakerFlags {
    /// Not speaking: what accompanies silence.
    pub const NONE: Self = Self(0);
    /// Speaking with priority.
    pub const PRIORITY: Self = Self(1);
    /// Speaking into a microphone.
    pub const VOICE: Self = Self(2);
    /// Sharing the sound of a screen.
    pub const SOUNDSHARE: Self = Self(4);

    /// Converts the gateway's speaking flags: 1 microphone, 2 soundshare, 4 priority.
    #[must_use]
    pub const fn from_gateway(flags: u8) -> Self {
        Self(((flags & 3) << 1) | ((flags & 4) >> 2))
    }

    /// Converts to the gateway's speaking flags: 1 microphone, 2 soundshare, 4 priority.
    ///
    /// A packet was sent, so somebody speaks: no flag at all means microphone, and so does priority
    /// alone. `None` stands for a packet without this element.
    #[must_use]
    pub const fn to_gateway(flags: Option<Self>) -> u8 {
        let byte = match flags {
            Some(Self(byte)) => byte & 7,
            None => 0,
        };
        let flags = ((byte & 6) >> 1) | ((byte & 1) << 2);
        if flags == 0 || flags & 4 != 0 { flags | 1 } else { flags }
    }

    /// Reads the flags from their byte on the wire.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    /// Returns the byte on the wire.
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        self.0
    }

    /// Says whether the sender speaks with priority.
    #[must_use]
    pub const fn priority(self) -> bool {
        self.0 & Self::PRIORITY.0 != 0
    }

    /// Says whether the sender speaks into a microphone.
    #[must_use]
    pub const fn voice(self) -> bool {
        self.0 & Self::VOICE.0 != 0
    }

    /// Says whether the sender shares the sound of a screen.
    #[must_use]
    pub const fn soundshare(self) -> bool {
        self.0 & Self::SOUNDSHARE.0 != 0
    }
}

impl fmt::Debug for SpeakerFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpeakerFlags({:#05b})", self.0)
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
        [p0, p1, 0, 1, AUDIO_LEVEL_ID << 4, self.level.0, SPEAKER_FLAGS_ID << 4, self.speaker.0]
    }
}

/// The profile of an extension whose elements have one-byte headers: RFC 8285, section 4.2.
pub const ONE_BYTE_PROFILE: u16 = 0xBEDE;

/// The element that carries the [`AudioLevel`]. Observed on the wire; no public document names it.
pub const AUDIO_LEVEL_ID: u8 = 1;

/// The element that carries [`SpeakerFlags`]. Observed on the wire; no public document names it.
pub const SPEAKER_FLAGS_ID: u8 = 9;
