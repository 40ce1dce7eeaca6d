//! Text messages of the voice gateway and those of the main gateway that concern voice, in both directions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use voice_model::{
    ClientMessage, DecodeError, Hello, MAX_CODECS, MAX_EXPERIMENTS, MAX_MESSAGE_LEN, MAX_MODES, MAX_STREAMS,
    MAX_USER_IDS, MAX_WANTS, MainGatewayCommand, MainGatewayError, MainGatewayEvent, MediaSinkWants, Opcode,
    ServerMessage, Stream,
};

fuzz_target!(|text: &str| {
    match ClientMessage::decode(text) {
        Ok(message) => {
            check_client(&message);
            let again = ClientMessage::decode(&message.encode()).expect("what was decoded encodes to a message");
            assert_eq!(again, message);
            assert_eq!(again.opcode(), message.opcode());
        }
        Err(error) => check_error(text, &error),
    }

    match ServerMessage::decode(text) {
        Ok(decoded) => {
            check_server(&decoded.message);
            let encoded = decoded.message.encode(decoded.sequence);
            let again = ServerMessage::decode(&encoded).expect("what was decoded encodes to a message");
            assert_eq!(again, decoded);
            // Written without a number it has none, and is otherwise the same.
            let unnumbered = ServerMessage::decode(&decoded.message.encode(None)).expect("a number is optional");
            assert_eq!((unnumbered.sequence, unnumbered.message), (None, decoded.message));
        }
        Err(error) => check_error(text, &error),
    }

    match MainGatewayEvent::decode(text) {
        Ok(Some(event)) => {
            let again = MainGatewayEvent::decode(&event.encode(0)).expect("what was decoded encodes to a message");
            assert_eq!(again, Some(event));
        }
        Ok(None) => {}
        Err(error) => check_main_gateway_error(&error),
    }

    match MainGatewayCommand::decode(text) {
        Ok(Some(command)) => {
            let encoded = command.encode();
            // Ids grow by two quotes, defaults are written out: the limit may be passed by what was read below it.
            match MainGatewayCommand::decode(&encoded) {
                Err(MainGatewayError::TooLarge { len }) => assert_eq!(len, encoded.len()),
                again => assert_eq!(again, Ok(Some(command))),
            }
        }
        Ok(None) => {}
        Err(error) => check_main_gateway_error(&error),
    }
});

fn check_client(message: &ClientMessage) {
    match message {
        ClientMessage::Identify(identify) => check_streams(identify.streams.as_deref()),
        ClientMessage::SelectProtocol(select) => {
            assert!(select.codecs.as_ref().is_none_or(|codecs| codecs.len() <= MAX_CODECS));
            assert!(select.experiments.as_ref().is_none_or(|names| names.len() <= MAX_EXPERIMENTS));
        }
        ClientMessage::Video(video) => check_streams(video.streams.as_deref()),
        ClientMessage::SessionUpdate(update) => assert!(update.codecs.len() <= MAX_CODECS),
        ClientMessage::MediaSinkWants(wants) => check_wants(wants),
        ClientMessage::Unknown(message) => {
            assert!(!typed_of_client(message.opcode) || only_described(message.opcode));
        }
        message => assert!(typed_of_client(message.opcode())),
    }
}

fn check_server(message: &ServerMessage) {
    match message {
        ServerMessage::Ready(ready) => {
            assert!(ready.modes.len() <= MAX_MODES);
            assert!(ready.media_addr().is_none_or(|address| address.port() == ready.port && ready.port != 0));
            check_streams(ready.streams.as_deref());
        }
        ServerMessage::Hello(hello) => {
            assert!((Hello::MIN_INTERVAL..=Hello::MAX_INTERVAL).contains(&hello.interval()));
        }
        ServerMessage::ClientsConnect(users) => assert!(users.user_ids.len() <= MAX_USER_IDS),
        ServerMessage::Video(video) => check_streams(video.streams.as_deref()),
        ServerMessage::MediaSinkWants(wants) => check_wants(wants),
        ServerMessage::Unknown(message) => {
            assert!(!typed_of_server(message.opcode) || only_described(message.opcode));
        }
        message => assert!(typed_of_server(message.opcode())),
    }
}

fn check_streams(streams: Option<&[Stream]>) {
    assert!(streams.is_none_or(|streams| streams.len() <= MAX_STREAMS));
}

fn check_wants(wants: &MediaSinkWants) {
    assert!(wants.streams.len() <= MAX_WANTS && wants.pixel_counts.len() <= MAX_WANTS);
    assert!(wants.streams.values().chain(&wants.any).all(|quality| *quality <= MediaSinkWants::FULL));
}

fn typed_of_client(opcode: Opcode) -> bool {
    matches!(opcode.code(), 0 | 1 | 3 | 5 | 7 | 12 | 14..=16 | 23 | 31 | 32)
}

fn typed_of_server(opcode: Opcode) -> bool {
    matches!(opcode.code(), 2..=6 | 8 | 9 | 11..=16 | 18 | 20..=22 | 24)
}

/// Of these nobody promises the form: another one is no error.
fn only_described(opcode: Opcode) -> bool {
    matches!(opcode.code(), 12 | 14..=16 | 18 | 20)
}

fn check_error(text: &str, error: &DecodeError) {
    assert!(!error.to_string().is_empty());
    match error {
        DecodeError::WrongPayload { opcode, .. } => assert_eq!(error.opcode(), Some(*opcode)),
        DecodeError::TooLarge { len } => assert!(*len == text.len() && *len > MAX_MESSAGE_LEN),
        DecodeError::TooShort { .. } => panic!("text messages have no header"),
        _ => {}
    }
}

fn check_main_gateway_error(error: &MainGatewayError) {
    assert!(!error.to_string().is_empty());
}
