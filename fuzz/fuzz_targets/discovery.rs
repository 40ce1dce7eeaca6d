//! IP discovery and ping datagrams, as a client and as a server read them.
#![no_main]

use std::net::IpAddr;

use libfuzzer_sys::fuzz_target;
use voice_rtp::{
    Kind, Ping, Ssrc, classify,
    discovery::{DISCOVERY_LEN, Request, Response, ResponseError},
};

fuzz_target!(|datagram: &[u8]| {
    if let Ok(request) = Request::parse(datagram) {
        let mut written = [0; DISCOVERY_LEN];
        request.write(&mut written);
        assert_eq!(written[..8], datagram[..8]);
        assert_eq!(Request::parse(&written), Ok(request));
        assert!(Response::parse(datagram, request.ssrc).is_err(), "a request is no response");
    }

    let ssrc = Ssrc::new(datagram.get(4..8).map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().expect("4 bytes"))));
    if let Ok(response) = Response::parse(datagram, ssrc) {
        assert_eq!(response.ssrc, ssrc);
        assert_ne!(response.port, 0);
        assert_eq!(classify(datagram), Kind::Discovery);
        assert_eq!(datagram[72..], response.port.to_be_bytes());
        let other = Ssrc::new(!ssrc.get());
        assert_eq!(Response::parse(datagram, other), Err(ResponseError::Ssrc));
        assert_eq!(read_as_text(datagram), Some(response.address));
        write_and_read(response);
    }

    // The address field is read as the standard library reads it, in both directions.
    if datagram.len() == DISCOVERY_LEN && Response::parse(datagram, ssrc) == Err(ResponseError::Address) {
        assert_eq!(read_as_text(datagram), None);
    }

    for (ping, written) in [
        (Ping::parse_request(datagram), Ping::request as fn(Ping) -> [u8; Ping::LEN]),
        (Ping::parse_response(datagram), Ping::response),
    ] {
        if let Some(ping) = ping {
            assert_eq!(written(ping), datagram);
        }
    }

    // Any address that a server may have to write.
    if let Some((port, rest)) = datagram.split_first_chunk::<2>() {
        let address = match (rest.first_chunk::<16>(), rest.first_chunk::<4>()) {
            (Some(bytes), _) => IpAddr::from(*bytes),
            (None, Some(bytes)) => IpAddr::from(*bytes),
            (None, None) => return,
        };
        let port = u16::from_be_bytes(*port).max(1);
        write_and_read(Response { ssrc, address, port });
    }
});

fn read_as_text(datagram: &[u8]) -> Option<IpAddr> {
    let text = datagram[8..72].split(|byte| *byte == 0).next()?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn write_and_read(response: Response) {
    let mut written = [0xFF; DISCOVERY_LEN];
    response.write(&mut written);
    assert_eq!(read_as_text(&written), Some(response.address));
    assert!(written[8..].starts_with(response.address.to_string().as_bytes()));
    assert_eq!(Response::parse(&written, response.ssrc), Ok(response));
    assert_eq!(classify(&written), Kind::Discovery);
    assert!(Request::parse(&written).is_err(), "a response is no request");
}
