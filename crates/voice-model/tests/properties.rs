//! Whatever is written reads back the same, and whatever comes in does not panic.
#![cfg(feature = "serde")]

mod samples;

use proptest::{collection::vec, option, prelude::*};
use voice_model::{
    BinaryMessage, ChannelId, ClientDisconnect, ClientMessage, ClientSpeaking, ClientsConnect, GuildId, Heartbeat,
    HeartbeatAck, HeartbeatForm, Hello, Identify, Opcode, Ready, Resume, SecretKey, SelectProtocol, ServerMessage,
    ServerSpeaking, SessionDescription, SessionId, SpeakingFlags, Token, UnknownMessage, UserId,
};

/// Opcodes without a payload type in either direction, with any JSON.
fn unknown() -> impl Strategy<Value = UnknownMessage> {
    let data = prop_oneof![Just("null"), Just("{}"), Just(r#"{"a":[1,2.5,"\u0000"]}"#), Just("-0.0"), Just("\"\"")];
    let opcode = prop_oneof![Just(10u64), Just(17), Just(19), 25u64..31, 33u64..=u64::MAX];
    (opcode, data).prop_map(|(opcode, data)| UnknownMessage { opcode: Opcode::from(opcode), data: data.to_owned() })
}

fn flags() -> impl Strategy<Value = SpeakingFlags> {
    any::<u8>().prop_map(SpeakingFlags::from_bits)
}

fn form() -> impl Strategy<Value = HeartbeatForm> {
    prop_oneof![Just(HeartbeatForm::Object), Just(HeartbeatForm::Number)]
}

fn client() -> impl Strategy<Value = ClientMessage> {
    let channel = || option::of(any::<u64>().prop_map(ChannelId::new));
    prop_oneof![
        (any::<u64>(), any::<u64>(), any::<String>(), any::<String>(), any::<u16>(), channel()).prop_map(
            |(server_id, user_id, session_id, token, max_dave_protocol_version, channel_id)| {
                ClientMessage::Identify(Identify {
                    server_id: GuildId::new(server_id),
                    user_id: UserId::new(user_id),
                    session_id: SessionId::new(session_id),
                    token: Token::new(token),
                    max_dave_protocol_version,
                    channel_id,
                    video: None,
                    streams: None,
                })
            }
        ),
        (any::<String>(), any::<u16>(), any::<String>())
            .prop_map(|(address, port, mode)| ClientMessage::SelectProtocol(SelectProtocol::udp(address, port, mode))),
        (any::<u64>(), option::of(any::<i64>()), form()).prop_map(|(nonce, seq_ack, form)| {
            let seq_ack = seq_ack.filter(|_| form == HeartbeatForm::Object);
            ClientMessage::Heartbeat(Heartbeat { nonce, seq_ack, form })
        }),
        (flags(), any::<u32>(), any::<u32>())
            .prop_map(|(speaking, delay, ssrc)| ClientMessage::Speaking(ClientSpeaking { speaking, delay, ssrc })),
        (any::<u64>(), any::<String>(), any::<String>(), option::of(any::<i64>()), channel()).prop_map(
            |(server_id, session_id, token, seq_ack, channel_id)| {
                ClientMessage::Resume(Resume {
                    server_id: GuildId::new(server_id),
                    session_id: SessionId::new(session_id),
                    token: Token::new(token),
                    seq_ack,
                    channel_id,
                })
            }
        ),
        unknown().prop_map(ClientMessage::Unknown),
    ]
}

fn server() -> impl Strategy<Value = ServerMessage> {
    let text = || option::of(any::<String>());
    let finite = any::<f64>().prop_filter("JSON has finite numbers only", |value| value.is_finite());
    prop_oneof![
        (any::<u32>(), any::<String>(), any::<u16>(), vec(any::<String>(), 0..=64))
            .prop_map(|(ssrc, ip, port, modes)| ServerMessage::Ready(Ready::new(ssrc, ip, port, modes))),
        Just(ServerMessage::Heartbeat),
        (any::<String>(), any::<[u8; 32]>(), any::<u16>(), text(), text(), text()).prop_map(
            |(mode, key, version, audio_codec, video_codec, media_session_id)| {
                ServerMessage::SessionDescription(SessionDescription {
                    audio_codec,
                    video_codec,
                    media_session_id,
                    ..SessionDescription::new(mode, SecretKey::new(key), version)
                })
            }
        ),
        (flags(), any::<u32>(), any::<u64>(), option::of(any::<u32>())).prop_map(|(speaking, ssrc, user, delay)| {
            ServerMessage::Speaking(ServerSpeaking { speaking, ssrc, user_id: UserId::new(user), delay })
        }),
        (any::<u64>(), form()).prop_map(|(nonce, form)| ServerMessage::HeartbeatAck(HeartbeatAck { nonce, form })),
        (finite, option::of(any::<u8>())).prop_map(|(heartbeat_interval_ms, version)| {
            ServerMessage::Hello(Hello { heartbeat_interval_ms, version })
        }),
        Just(ServerMessage::Resumed),
        vec(any::<u64>(), 0..200).prop_map(|ids| {
            ServerMessage::ClientsConnect(ClientsConnect { user_ids: ids.into_iter().map(UserId::new).collect() })
        }),
        any::<u64>().prop_map(|id| ServerMessage::ClientDisconnect(ClientDisconnect { user_id: UserId::new(id) })),
        unknown().prop_map(ServerMessage::Unknown),
    ]
}

/// A sample message with some bytes replaced, removed or doubled.
fn damaged() -> impl Strategy<Value = String> {
    let samples: Vec<&str> = samples::server().chain(samples::client()).collect();
    let edit = (any::<prop::sample::Index>(), 0u8..3, prop::sample::select(br#"{}[]":,-0179eE.\un "#.to_vec()));
    (prop::sample::select(samples), vec(edit, 1..6)).prop_map(|(sample, edits)| {
        let mut bytes = sample.as_bytes().to_vec();
        for (index, kind, byte) in edits {
            let index = index.index(bytes.len());
            match kind {
                0 => bytes[index] = byte,
                1 => drop(bytes.remove(index)),
                _ => bytes.insert(index, byte),
            }
        }
        String::from_utf8(bytes).expect("samples and replacements are ASCII")
    })
}

proptest! {
    #[test]
    fn client_messages_read_back(message in client()) {
        prop_assert_eq!(ClientMessage::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn server_messages_read_back(message in server(), sequence: Option<u16>) {
        let decoded = ServerMessage::decode(&message.encode(sequence)).unwrap();
        prop_assert_eq!(decoded.sequence, sequence);
        prop_assert_eq!(decoded.message, message);
    }

    #[test]
    fn what_is_read_of_damaged_messages_is_stable(text in damaged()) {
        if let Ok(message) = ClientMessage::decode(&text) {
            prop_assert_eq!(ClientMessage::decode(&message.encode()), Ok(message));
        }
        if let Ok(decoded) = ServerMessage::decode(&text) {
            let again = ServerMessage::decode(&decoded.message.encode(decoded.sequence));
            prop_assert_eq!(again, Ok(decoded));
        }
    }

    #[test]
    fn text_that_is_no_object_is_an_error(text in "[^{]{0,40}") {
        prop_assert!(ClientMessage::decode(&text).is_err());
        prop_assert!(ServerMessage::decode(&text).is_err());
    }

    #[test]
    fn ids_read_back(id: u64) {
        prop_assert_eq!(UserId::new(id).to_string().parse(), Ok(UserId::new(id)));
    }

    #[test]
    fn binary_messages_read_back(sequence: Option<u16>, opcode: u8, payload in vec(any::<u8>(), 0..64)) {
        let message = BinaryMessage { sequence, opcode: u64::from(opcode).into(), payload: &payload };
        let bytes = message.encode();
        let decoded = match sequence {
            Some(_) => BinaryMessage::decode_server(&bytes),
            None => BinaryMessage::decode_client(&bytes),
        };
        prop_assert_eq!(decoded, Ok(message));
    }
}
