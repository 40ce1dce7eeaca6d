//! IP discovery and the UDP ping against known answers.

mod vectors;

use voice_rtp::discovery::{DISCOVERY_LEN, Request, RequestError, Response, ResponseError};
use voice_rtp::{Kind, Ping, Ssrc, classify};

use crate::vectors::{bytes, list, number, text};

#[test]
fn requests_are_written_and_read() {
    for vector in list(&vectors::discovery(), "requests") {
        let request = Request { ssrc: ssrc(vector, "ssrc") };
        let mut datagram = [0xAA; DISCOVERY_LEN];
        request.write(&mut datagram);
        assert_eq!(datagram.to_vec(), bytes(vector, "packet"));
        assert_eq!(Request::parse(&datagram), Ok(request));
    }
}

#[test]
fn valid_responses_are_read() {
    for vector in list(&vectors::discovery(), "valid") {
        let name = text(vector, "name");
        let datagram = bytes(vector, "packet");
        let expect = &vector["expect"];
        let expected = Response {
            ssrc: ssrc(expect, "ssrc"),
            address: text(expect, "address").parse().expect("an address"),
            port: number(expect, "port") as u16,
        };
        let found = Response::parse(&datagram, ssrc(vector, "request_ssrc"));
        assert_eq!(found, Ok(expected), "{name}");
        assert_eq!(expected.address.is_ipv4(), text(expect, "family") == "v4");
        assert_eq!(classify(&datagram), Kind::Discovery, "{name}");

        let mut written = [0xAA; DISCOVERY_LEN];
        expected.write(&mut written);
        assert_eq!(Response::parse(&written, expected.ssrc), Ok(expected), "{name}");
    }
}

#[test]
fn invalid_responses_are_refused_for_the_right_reason() {
    for vector in list(&vectors::discovery(), "invalid") {
        let name = text(vector, "name");
        let expected = match text(vector, "error") {
            "size" => ResponseError::Size,
            "type" => ResponseError::Type,
            "length_field" => ResponseError::LengthField,
            "ssrc" => ResponseError::Ssrc,
            "no_terminator" => ResponseError::NoTerminator,
            "address" => ResponseError::Address,
            "port" => ResponseError::Port,
            other => panic!("{name}: unknown error {other}"),
        };
        let found = Response::parse(&bytes(vector, "packet"), ssrc(vector, "request_ssrc"));
        assert_eq!(found, Err(expected), "{name}");
    }
}

#[test]
fn a_server_answers_with_the_source_it_observed() {
    let known = Ssrc::new(369_020);
    for vector in list(&vectors::discovery(), "server") {
        let name = text(vector, "name");
        let request = Request::parse(&bytes(vector, "request"));
        let answer = request.ok().filter(|request| request.ssrc == known).map(|request| {
            let source = &vector["observed_source"];
            let mut datagram = [0xAA; DISCOVERY_LEN];
            Response {
                ssrc: request.ssrc,
                address: text(source, "address").parse().expect("an address"),
                port: number(source, "port") as u16,
            }
            .write(&mut datagram);
            datagram.to_vec()
        });
        let expected = vector["response"].as_str().map(vectors::hex);
        assert_eq!(answer, expected, "{name}");
    }
}

#[test]
fn requests_with_a_wrong_field_are_refused() {
    let mut datagram = [0; DISCOVERY_LEN];
    Request { ssrc: Ssrc::new(1) }.write(&mut datagram);
    assert_eq!(Request::parse(&datagram[..73]), Err(RequestError::Size));
    assert_eq!(Request::parse(&[]), Err(RequestError::Size));
    let mut wrong = datagram;
    wrong[1] = 2;
    assert_eq!(Request::parse(&wrong), Err(RequestError::Type));
    wrong = datagram;
    wrong[3] = 74;
    assert_eq!(Request::parse(&wrong), Err(RequestError::LengthField));
}

#[test]
fn pings_are_answered_only_in_their_exact_form() {
    let all = vectors::discovery();
    for vector in list(&all["udp_ping"], "cases") {
        let name = text(vector, "name");
        let request = bytes(vector, "request");
        let ping = Ping::parse_request(&request);
        let answer = ping.map(|ping| ping.response().to_vec());
        let expected = vector["response"].as_str().map(vectors::hex);
        assert_eq!(answer, expected, "{name}");
        if let (Some(ping), Some(answer)) = (ping, answer) {
            assert_eq!(ping.request().to_vec(), request, "{name}");
            assert_eq!(Ping::parse_response(&answer), Some(ping), "{name}");
            assert_eq!(classify(&answer), Kind::Pong, "{name}");
        }
    }
}

fn ssrc(value: &serde_json::Value, name: &str) -> Ssrc {
    Ssrc::new(number(value, name) as u32)
}
