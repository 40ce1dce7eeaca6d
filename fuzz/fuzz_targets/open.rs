//! Sealed packets in every mode: what the network sends is opened, and what is sealed opens again.
//!
//! The input is a mode, a kind, a nonce, a bit to flip and a packet, which is taken once for a sealed
//! one and once for a plain one. The keys are those of the vectors, so that their packets are
//! authentic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voice_crypto::{
    Mode, NonceStart, OpenError, OpenedRtp, Opener, ReplayError, ReplayWindow, SealError, Sealer, SecretKey,
};
use voice_rtp::{Packet, ParseError, RtpHeader, unencrypted_len};

fuzz_target!(|input: &[u8]| {
    let Some((&[selector, n0, n1, n2, n3, b0, b1], packet)) = input.split_first_chunk() else { return };
    let Some((&mode, key)) = Mode::ALL.iter().zip(KEYS).nth(usize::from(selector & 0x07)) else { return };
    let case = Case {
        mode,
        rtcp: selector & 0x80 != 0,
        key,
        start: u32::from_be_bytes([n0, n1, n2, n3]),
        bit: usize::from(u16::from_be_bytes([b0, b1])),
    };
    case.open_anything(packet);
    case.seal_and_open(packet);
});

struct Case {
    mode: Mode,
    rtcp: bool,
    key: [u8; SecretKey::LEN],
    start: u32,
    bit: usize,
}

impl Case {
    /// Takes bytes from nowhere for a sealed packet.
    fn open_anything(&self, datagram: &[u8]) {
        let mut packet = datagram.to_vec();
        let clear_len = self.clear_len(datagram);
        let found = self.open(&mut packet);
        if let Some(clear_len) = clear_len {
            assert_eq!(packet[..clear_len], datagram[..clear_len], "the clear part stays");
        }
        match found {
            Err(OpenError::TooShort) => {
                assert_eq!(packet, datagram, "too short a packet is left alone");
                assert!(clear_len.is_none_or(|len| datagram.len() < len + self.mode.overhead()));
            }
            Err(OpenError::Auth) => assert!(clear_len.is_some_and(|len| len + self.mode.overhead() <= datagram.len())),
            // Everything else was said of an authentic packet, which sealing makes again.
            Err(_) => self.seals_to(&packet[..datagram.len() - self.mode.overhead()], datagram),
            Ok(plain_len) => {
                assert_eq!(plain_len + self.mode.overhead(), datagram.len());
                self.seals_to(&packet[..plain_len], datagram);
                self.opens_once(datagram);
            }
        }
    }

    /// Takes the bytes for a plain packet, of whatever shape.
    fn seal_and_open(&self, plain: &[u8]) {
        let mut buffer = plain.to_vec();
        buffer.resize(plain.len() + self.mode.overhead(), 0);
        buffer.extend(CANARY);
        let sealed_len = match self.seal(self.start.into(), &mut buffer, plain.len()) {
            Ok(len) => len,
            Err(SealError::Header(_) | SealError::Bounds) => {
                assert!(self.clear_len(plain).is_none());
                assert_eq!(buffer[..plain.len()], *plain);
                return;
            }
            // SSRC 0, whose header could be that of a report.
            Err(SealError::NonceReused) => {
                assert!(self.mode == Mode::XSalsa20Poly1305 && plain[8..12] == [0; 4]);
                return;
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(sealed_len, plain.len() + self.mode.overhead());
        assert_eq!(buffer[sealed_len..], CANARY, "nothing is written behind the packet");
        let sealed = &buffer[..sealed_len];
        let clear_len = self.clear_len(plain).expect("what was sealed has a header");
        assert_eq!(sealed[..clear_len], plain[..clear_len]);

        let mut opened = sealed.to_vec();
        let found = self.open(&mut opened);
        assert_eq!(opened[..plain.len()], *plain, "opened to what was sealed");
        let expected =
            if self.rtcp { Ok(plain.len()) } else { Packet::parse(plain).map(|_| plain.len()).map_err(told) };
        assert_eq!(found, expected);

        // A damaged packet is refused, unless what is damaged is not covered.
        let bit = self.bit % (sealed_len * 8);
        let mut damaged = sealed.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let covered = bit / 8 >= clear_len || self.mode.authenticates_header();
        let found = self.open(&mut damaged);
        assert!(!covered || refused(found), "bit {bit} of {sealed_len} bytes: {found:?}");

        let cut = self.bit % sealed_len;
        let found = self.open(&mut sealed[..cut].to_vec());
        assert!(refused(found), "{cut} of {sealed_len} bytes: {found:?}");
    }

    /// Opens the packet, checks what is said of it, and returns its plain length.
    fn open(&self, packet: &mut [u8]) -> Result<usize, OpenError> {
        let opener = Opener::new(self.mode, &SecretKey::new(self.key));
        if self.rtcp {
            return opener.open_rtcp(packet);
        }
        let OpenedRtp { header, payload, extension, plain_len, .. } = opener.open_rtp(packet)?;
        let view = Packet::parse(&packet[..plain_len]).expect("an opened packet has a valid shape");
        assert_eq!(view.header(), header);
        assert_eq!(view.payload(), &packet[payload]);
        assert_eq!(view.extension().map(|found| found.body()), extension.map(|range| &packet[range]));
        Ok(plain_len)
    }

    fn seal(&self, start: NonceStart, buffer: &mut [u8], len: usize) -> Result<usize, SealError> {
        let mut sealer = Sealer::new(self.mode, SecretKey::new(self.key), start);
        if self.rtcp { sealer.seal_rtcp(buffer, len) } else { sealer.seal_rtp(buffer, len) }
    }

    /// Seals with the nonce of `datagram` and compares.
    fn seals_to(&self, plain: &[u8], datagram: &[u8]) {
        let suffix = &datagram[datagram.len() - self.mode.suffix_len()..];
        let mut start = [0; 24];
        start[..suffix.len()].copy_from_slice(suffix);
        let mut buffer = plain.to_vec();
        buffer.resize(datagram.len(), 0);
        match self.seal(start.into(), &mut buffer, plain.len()) {
            Ok(_) => assert_eq!(buffer, datagram),
            Err(error) => assert_eq!(error, SealError::NonceReused),
        }
    }

    fn opens_once(&self, datagram: &[u8]) {
        if self.rtcp {
            return;
        }
        let opener = Opener::new(self.mode, &SecretKey::new(self.key));
        let mut window = ReplayWindow::new();
        assert!(opener.open_rtp_once(&mut window, &mut datagram.to_vec()).is_ok());
        let again = opener.open_rtp_once(&mut window, &mut datagram.to_vec());
        assert_eq!(again, Err(OpenError::Replayed(ReplayError::Duplicate)));
    }

    /// How many bytes stay readable, if there are as many.
    fn clear_len(&self, packet: &[u8]) -> Option<usize> {
        let len = match self.mode {
            _ if self.rtcp => 8,
            Mode::Aes256GcmRtpsize | Mode::XChaCha20Poly1305Rtpsize | Mode::XSalsa20Poly1305LiteRtpsize => {
                return unencrypted_len(packet).ok();
            }
            _ => RtpHeader::LEN,
        };
        (packet.len() >= len).then_some(len)
    }
}

fn refused(found: Result<usize, OpenError>) -> bool {
    matches!(found, Err(OpenError::TooShort | OpenError::Auth))
}

/// How opening tells of a packet that is authentic and has no valid shape.
fn told(error: ParseError) -> OpenError {
    match error {
        ParseError::BadVersion => OpenError::BadVersion,
        ParseError::CsrcOverrun => OpenError::CsrcOverrun,
        ParseError::ExtensionPreambleOverrun | ParseError::ExtensionOverrun => OpenError::ExtensionOverrun,
        ParseError::PaddingZero => OpenError::PaddingZero,
        ParseError::PaddingOverrun => OpenError::PaddingOverrun,
        other => panic!("{other}: the header was there"),
    }
}

const CANARY: [u8; 3] = [0xC5; 3];

/// The keys of the vectors, in the order of [`Mode::ALL`].
const KEYS: [[u8; 32]; 7] = [
    *b"\x4d\x1c\xf6\x72\x51\x6f\xe3\x97\x0f\xe1\x27\x45\x26\x38\xcc\xd0\x03\xdf\x17\x72\x18\x1b\x99\x7f\xcd\x96\xaa\x50\x2d\x15\xaa\x85",
    *b"\x85\x53\x8f\x83\x01\xc4\xfb\x8c\x77\x84\x1c\xe4\x71\x27\xd7\xd2\xd4\xa4\xb3\x69\x64\x89\xda\x59\xe9\xbc\xfa\x54\x87\xdb\x47\xad",
    *b"\x5f\xe5\xcf\xb1\xbf\xf4\x55\xaa\x8d\x11\xaf\x57\x63\xe3\x81\x09\xc4\x19\x25\x26\x98\xe0\xff\x0f\x29\x66\x7b\x85\x79\x6e\x74\xad",
    *b"\x03\xb1\xb8\xe5\x08\x78\xa7\x34\x73\x4a\xdf\x69\x53\x89\xe5\xcd\x84\x9a\xde\x26\x5d\x17\xec\x26\x2e\x41\xba\xde\x7a\xb6\x45\x5a",
    *b"\x3d\x37\x24\xda\xca\x9f\xc2\x94\x33\xe4\x57\x28\x75\xf9\x13\x16\xa3\xc4\xce\x16\x4e\x17\x66\xb2\x0b\xed\x29\xfa\xd0\x9e\x95\xca",
    *b"\x83\x2b\xfb\xba\xcc\x8c\xf4\x3a\x1d\xf7\x46\xe2\x12\x1b\x7c\x31\x39\xac\xec\x51\x36\xe2\x26\x3a\xca\xbc\x14\xe0\x64\xf8\xe8\xe0",
    *b"\x50\xf1\xfa\xb8\xd9\x2d\x04\xac\x44\x36\x6c\xcf\x57\xec\x88\x69\x25\x60\xbc\xd9\x48\x76\x28\x5f\x90\x32\x16\x73\x01\x4c\xbd\x3f",
];
