//! RTCP: compound packets of all kinds, read, written as they were read, and made anew.
#![no_main]

#[path = "../../crates/voice-rtp/tests/rtcp_parts/mod.rs"]
mod rtcp_parts;

use libfuzzer_sys::fuzz_target;
use voice_rtp::{
    Kind, classify,
    rtcp::{CLEAR_LEN, Header, packets},
};

fuzz_target!(|datagram: &[u8]| {
    rtcp_parts::check(datagram);

    let header = Header::parse(datagram);
    if let Ok(header) = header {
        // Only the readable bytes decide about it: the rest may be ciphertext.
        assert_eq!(Header::parse(&datagram[..CLEAR_LEN]), Ok(header));
        assert!(Header::parse(&datagram[..CLEAR_LEN - 1]).is_err());
        assert_eq!(header.packet_type, datagram[1]);
    }
    if let (Ok(header), Some(Ok(_))) = (header, packets(datagram).next()) {
        assert!(header.packet_len <= datagram.len());
        // A goodbye to nobody has no source: its first packet may end before the readable bytes do.
        let alone = &datagram[..header.packet_len];
        assert_eq!(packets(alone).next(), packets(datagram).next());
        if (200..=207).contains(&header.packet_type) {
            assert_eq!(classify(datagram), Kind::Rtcp);
        }
    }
});
