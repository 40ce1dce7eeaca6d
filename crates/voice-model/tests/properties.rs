//! Whatever is written reads back the same, and whatever comes in does not panic.
#![cfg(feature = "serde")]

mod samples;

use proptest::{
    collection::{btree_map, vec},
    option,
    prelude::*,
};
use voice_model::{
    BinaryMessage, ChannelId, ChannelInfo, ChannelInfoEntry, ChannelInfoField, ClientBinary, ClientDisconnect,
    ClientFlags, ClientMessage, ClientPlatform, ClientSessionUpdate, ClientSpeaking, ClientVideo, ClientsConnect,
    Codec, CodecKind, DaveExecuteTransition, DavePrepareEpoch, DavePrepareTransition, DaveTransitionReady, GuildId,
    Heartbeat, HeartbeatAck, HeartbeatForm, Hello, Identify, Json, MainGatewayCommand, MainGatewayEvent,
    MediaSinkWants, MlsInvalidCommitWelcome, Numbered, Opcode, ProposalsOperation, Ready, RequestChannelInfo,
    Resolution, ResolutionKind, Resume, Sdp, SecretKey, SelectProtocol, SelectProtocolData, ServerBinary,
    ServerMessage, ServerSessionUpdate, ServerSpeaking, ServerVideo, SessionDescription, SessionId, Snowflake,
    SpeakingFlags, Stream, StreamKind, Token, UnknownMessage, UpdateVoiceState, UserId, VoiceBackendVersion,
    VoiceChannelEffect, VoiceChannelStartTime, VoiceChannelStatus, VoiceServerUpdate, VoiceState, WebRtcDescription,
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

fn text() -> impl Strategy<Value = Option<String>> {
    option::of(any::<String>())
}

fn user() -> impl Strategy<Value = UserId> {
    any::<u64>().prop_map(UserId::new)
}

fn guild() -> impl Strategy<Value = GuildId> {
    any::<u64>().prop_map(GuildId::new)
}

fn channel() -> impl Strategy<Value = ChannelId> {
    any::<u64>().prop_map(ChannelId::new)
}

fn session() -> impl Strategy<Value = SessionId> {
    any::<String>().prop_map(SessionId::new)
}

fn token() -> impl Strategy<Value = Token> {
    any::<String>().prop_map(Token::new)
}

/// JSON has no others.
fn finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("JSON has finite numbers only", |value| value.is_finite())
}

fn stream() -> impl Strategy<Value = Stream> {
    let kind = prop_oneof!["[a-z]{0,6}", Just("video".to_owned()), Just("screen".to_owned()), Just("test".to_owned())];
    let size = prop_oneof!["[a-z]{0,6}", Just("fixed".to_owned()), Just("source".to_owned())];
    let resolution =
        (option::of(size), any::<Option<u32>>(), any::<Option<u32>>()).prop_map(|(kind, width, height)| Resolution {
            kind: kind.map(|kind| ResolutionKind::from(kind.as_str())),
            width,
            height,
        });
    let numbers = (any::<Option<u32>>(), any::<Option<u32>>(), any::<Option<u32>>(), any::<Option<u64>>());
    (option::of(kind), text(), numbers, any::<Option<bool>>(), any::<Option<u32>>(), option::of(resolution)).prop_map(
        |(kind, rid, (quality, ssrc, rtx_ssrc, max_bitrate), active, max_framerate, max_resolution)| Stream {
            kind: kind.map(|kind| StreamKind::from(kind.as_str())),
            rid,
            quality,
            active,
            ssrc,
            rtx_ssrc,
            max_bitrate,
            max_framerate,
            max_resolution,
        },
    )
}

fn streams() -> impl Strategy<Value = Option<Vec<Stream>>> {
    option::of(vec(stream(), 0..4))
}

fn codecs() -> impl Strategy<Value = Vec<Codec>> {
    let kind = prop_oneof!["[a-z]{0,6}", Just("audio".to_owned()), Just("video".to_owned())];
    let flags = (any::<Option<bool>>(), any::<Option<bool>>());
    let codec = (any::<String>(), option::of(kind), any::<u32>(), any::<u8>(), any::<Option<u8>>(), flags);
    let codec = codec.prop_map(|(name, kind, priority, payload_type, rtx_payload_type, (encode, decode))| Codec {
        name,
        kind: kind.map(|kind| CodecKind::from(kind.as_str())),
        priority,
        payload_type,
        rtx_payload_type,
        encode,
        decode,
    });
    vec(codec, 0..4)
}

fn wants() -> impl Strategy<Value = MediaSinkWants> {
    let streams = btree_map(any::<u32>(), 0..=MediaSinkWants::FULL, 0..4);
    (option::of(0..=MediaSinkWants::FULL), streams, btree_map(any::<u32>(), finite(), 0..4))
        .prop_map(|(any, streams, pixel_counts)| MediaSinkWants { any, streams, pixel_counts })
}

fn select() -> impl Strategy<Value = SelectProtocol> {
    let data = (any::<String>(), any::<u16>(), any::<String>())
        .prop_map(|(address, port, mode)| (SelectProtocol::UDP, SelectProtocolData { address, port, mode }, None));
    let sdp = any::<String>().prop_map(|sdp| ("webrtc", SelectProtocolData::default(), Some(Sdp::new(sdp))));
    (prop_oneof![data, sdp], option::of(codecs()), text(), option::of(vec(any::<String>(), 0..4))).prop_map(
        |((protocol, data, sdp), codecs, rtc_connection_id, experiments)| SelectProtocol {
            protocol: protocol.to_owned(),
            data,
            sdp,
            codecs,
            rtc_connection_id,
            experiments,
        },
    )
}

fn client() -> impl Strategy<Value = ClientMessage> {
    prop_oneof![
        ((guild(), user(), session(), token()), any::<u16>(), option::of(channel()), any::<Option<bool>>(), streams())
            .prop_map(|((server_id, user_id, session_id, token), version, channel_id, video, streams)| {
                ClientMessage::Identify(Identify {
                    max_dave_protocol_version: version,
                    channel_id,
                    video,
                    streams,
                    ..Identify::new(server_id, user_id, session_id, token)
                })
            }),
        select().prop_map(ClientMessage::SelectProtocol),
        (any::<u64>(), option::of(any::<i64>()), form()).prop_map(|(nonce, seq_ack, form)| {
            let seq_ack = seq_ack.filter(|_| form == HeartbeatForm::Object);
            ClientMessage::Heartbeat(Heartbeat { nonce, seq_ack, form })
        }),
        (flags(), any::<u32>(), any::<u32>())
            .prop_map(|(speaking, delay, ssrc)| ClientMessage::Speaking(ClientSpeaking { speaking, delay, ssrc })),
        (guild(), session(), token(), option::of(any::<i64>()), option::of(channel())).prop_map(
            |(server_id, session_id, token, seq_ack, channel_id)| {
                ClientMessage::Resume(Resume { server_id, session_id, token, seq_ack, channel_id })
            }
        ),
        (any::<u32>(), any::<u32>(), any::<Option<u32>>(), streams()).prop_map(
            |(audio_ssrc, video_ssrc, rtx_ssrc, streams)| {
                ClientMessage::Video(ClientVideo { audio_ssrc, video_ssrc, rtx_ssrc, streams })
            }
        ),
        codecs().prop_map(|codecs| ClientMessage::SessionUpdate(ClientSessionUpdate { codecs })),
        wants().prop_map(ClientMessage::MediaSinkWants),
        Just(ClientMessage::VoiceBackendVersion),
        any::<u16>()
            .prop_map(|transition_id| { ClientMessage::DaveTransitionReady(DaveTransitionReady { transition_id }) }),
        any::<u16>().prop_map(|transition_id| {
            ClientMessage::MlsInvalidCommitWelcome(MlsInvalidCommitWelcome { transition_id })
        }),
        Just(ClientMessage::NoRoute),
        unknown().prop_map(ClientMessage::Unknown),
    ]
}

fn description() -> impl Strategy<Value = SessionDescription> {
    let optional = (text(), text(), text(), any::<Option<u32>>(), text());
    (any::<String>(), any::<[u8; 32]>(), any::<u16>(), optional).prop_map(|(mode, key, version, optional)| {
        let (audio_codec, video_codec, media_session_id, keyframe_interval, sdp) = optional;
        SessionDescription {
            audio_codec,
            video_codec,
            media_session_id,
            keyframe_interval,
            sdp: sdp.map(Sdp::new),
            ..SessionDescription::new(mode, SecretKey::new(key), version)
        }
    })
}

fn webrtc_description() -> impl Strategy<Value = WebRtcDescription> {
    let optional = (text(), text(), text(), any::<Option<u32>>());
    (any::<String>(), any::<u16>(), optional).prop_map(|(sdp, version, optional)| {
        let (audio_codec, video_codec, media_session_id, keyframe_interval) = optional;
        WebRtcDescription {
            audio_codec,
            video_codec,
            media_session_id,
            keyframe_interval,
            ..WebRtcDescription::new(Sdp::new(sdp), version)
        }
    })
}

fn about_users() -> impl Strategy<Value = ServerMessage> {
    prop_oneof![
        (flags(), any::<u32>(), user(), option::of(any::<u32>())).prop_map(|(speaking, ssrc, user_id, delay)| {
            ServerMessage::Speaking(ServerSpeaking { speaking, ssrc, user_id, delay })
        }),
        vec(user(), 0..200).prop_map(|user_ids| ServerMessage::ClientsConnect(ClientsConnect { user_ids })),
        user().prop_map(|user_id| ServerMessage::ClientDisconnect(ClientDisconnect { user_id })),
        (user(), any::<u32>(), any::<u32>(), streams()).prop_map(|(user_id, audio_ssrc, video_ssrc, streams)| {
            ServerMessage::Video(ServerVideo { user_id, audio_ssrc, video_ssrc, streams })
        }),
        (user(), any::<Option<u64>>())
            .prop_map(|(user_id, flags)| ServerMessage::ClientFlags(ClientFlags { user_id, flags })),
        (user(), option::of(prop_oneof![0..5u64, any::<u64>()])).prop_map(|(user_id, platform)| {
            ServerMessage::ClientPlatform(ClientPlatform { user_id, platform: platform.map(Into::into) })
        }),
    ]
}

fn about_epochs() -> impl Strategy<Value = ServerMessage> {
    prop_oneof![
        (any::<u16>(), any::<u16>()).prop_map(|(protocol_version, transition_id)| {
            ServerMessage::DavePrepareTransition(DavePrepareTransition { protocol_version, transition_id })
        }),
        any::<u16>().prop_map(|transition_id| {
            ServerMessage::DaveExecuteTransition(DaveExecuteTransition { transition_id })
        }),
        (any::<u16>(), any::<u64>(), any::<Option<u16>>()).prop_map(|(protocol_version, epoch, transition_id)| {
            ServerMessage::DavePrepareEpoch(DavePrepareEpoch { protocol_version, epoch, transition_id })
        }),
    ]
}

fn server() -> impl Strategy<Value = ServerMessage> {
    let modes = vec(any::<String>(), 0..=64);
    prop_oneof![
        (any::<u32>(), any::<String>(), any::<u16>(), modes, option::of(vec(any::<String>(), 0..4)), streams())
            .prop_map(|(ssrc, ip, port, modes, experiments, streams)| {
                ServerMessage::Ready(Ready { experiments, streams, ..Ready::new(ssrc, ip, port, modes) })
            }),
        Just(ServerMessage::Heartbeat),
        description().prop_map(ServerMessage::SessionDescription),
        webrtc_description().prop_map(ServerMessage::WebRtcDescription),
        (any::<u64>(), form()).prop_map(|(nonce, form)| ServerMessage::HeartbeatAck(HeartbeatAck { nonce, form })),
        (finite(), option::of(any::<u8>())).prop_map(|(heartbeat_interval_ms, version)| {
            ServerMessage::Hello(Hello { heartbeat_interval_ms, version })
        }),
        Just(ServerMessage::Resumed),
        (text(), text(), text(), any::<Option<u32>>()).prop_map(
            |(audio_codec, video_codec, media_session_id, keyframe_interval)| {
                ServerMessage::SessionUpdate(ServerSessionUpdate {
                    audio_codec,
                    video_codec,
                    media_session_id,
                    keyframe_interval,
                })
            }
        ),
        wants().prop_map(ServerMessage::MediaSinkWants),
        (text(), text()).prop_map(|(voice, rtc_worker)| {
            ServerMessage::VoiceBackendVersion(VoiceBackendVersion { voice, rtc_worker })
        }),
        about_users(),
        about_epochs(),
        unknown().prop_map(ServerMessage::Unknown),
    ]
}

fn json() -> impl Strategy<Value = Option<Json>> {
    option::of(
        any::<String>().prop_map(|text| {
            Json::new(&format!("[{text:?},{{\"a\":1.0}}]")).unwrap_or_else(|| Json::new("{}").unwrap())
        }),
    )
}

fn voice_state() -> impl Strategy<Value = VoiceState> {
    let place = (option::of(guild()), option::of(channel()), json());
    let flags = (any::<[bool; 6]>(), any::<Option<bool>>(), any::<Option<bool>>());
    let rest = (text(), any::<Option<i64>>(), any::<Option<u64>>(), option::of(finite()));
    (user(), session(), place, flags, rest).prop_map(|(user, session, place, flags, rest)| {
        let (guild_id, channel_id, member) = place;
        let ([deaf, mute, self_deaf, self_mute, self_video, suppress], self_stream, discoverable) = flags;
        let (request_to_speak_timestamp, connected_at, lobby_id, user_volume) = rest;
        VoiceState {
            guild_id,
            channel_id,
            member,
            deaf,
            mute,
            self_deaf,
            self_mute,
            self_stream,
            self_video,
            suppress,
            request_to_speak_timestamp,
            connected_at,
            discoverable,
            lobby_id: lobby_id.map(Snowflake::new),
            user_volume,
            ..VoiceState::new(user, session)
        }
    })
}

fn event() -> impl Strategy<Value = MainGatewayEvent> {
    let entry = (channel(), text(), any::<Option<i64>>()).prop_map(|(id, status, voice_start_time)| ChannelInfoEntry {
        id,
        status,
        voice_start_time,
    });
    let effect = (any::<Option<u64>>(), any::<Option<u64>>(), any::<Option<u64>>(), option::of(finite()));
    prop_oneof![
        voice_state().prop_map(|state| MainGatewayEvent::VoiceState(Box::new(state))),
        (token(), guild(), option::of("(wss://)?[a-z0-9.-]{1,60}(:[0-9]{1,5})?")).prop_map(
            |(token, guild_id, endpoint)| {
                MainGatewayEvent::VoiceServer(VoiceServerUpdate { token, guild_id, endpoint })
            }
        ),
        (channel(), guild(), user(), json(), effect).prop_map(|(channel_id, guild_id, user_id, emoji, effect)| {
            let (animation_type, animation_id, sound_id, sound_volume) = effect;
            MainGatewayEvent::ChannelEffect(VoiceChannelEffect {
                channel_id,
                guild_id,
                user_id,
                emoji,
                animation_type: animation_type.map(Into::into),
                animation_id,
                sound_id: sound_id.map(Snowflake::new),
                sound_volume,
            })
        }),
        (channel(), guild(), text()).prop_map(|(id, guild_id, status)| {
            MainGatewayEvent::ChannelStatus(VoiceChannelStatus { id, guild_id, status })
        }),
        (channel(), guild(), any::<Option<i64>>()).prop_map(|(id, guild_id, voice_start_time)| {
            MainGatewayEvent::ChannelStartTime(VoiceChannelStartTime { id, guild_id, voice_start_time })
        }),
        (guild(), vec(entry, 0..4))
            .prop_map(|(guild_id, channels)| MainGatewayEvent::ChannelInfo(ChannelInfo { guild_id, channels })),
    ]
}

fn command() -> impl Strategy<Value = MainGatewayCommand> {
    let field = prop_oneof!["[a-z_]{0,8}", Just("status".to_owned()), Just("voice_start_time".to_owned())];
    prop_oneof![
        (guild(), option::of(channel()), any::<bool>(), any::<bool>()).prop_map(
            |(guild_id, channel_id, self_mute, self_deaf)| {
                MainGatewayCommand::UpdateVoiceState(UpdateVoiceState { guild_id, channel_id, self_mute, self_deaf })
            }
        ),
        Just(MainGatewayCommand::PingVoiceServer),
        (guild(), vec(field, 0..4)).prop_map(|(guild_id, fields)| {
            let fields = fields.iter().map(|field| ChannelInfoField::from(field.as_str())).collect();
            MainGatewayCommand::RequestChannelInfo(RequestChannelInfo { guild_id, fields })
        }),
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
    fn main_gateway_events_read_back(event in event(), sequence: u64) {
        prop_assert_eq!(MainGatewayEvent::decode(&event.encode(sequence)), Ok(Some(event)));
    }

    #[test]
    fn main_gateway_commands_read_back(command in command()) {
        prop_assert_eq!(MainGatewayCommand::decode(&command.encode()), Ok(Some(command)));
    }

    #[test]
    fn messages_cut_short_are_errors(client in client(), server in server(), event in event(), at: prop::sample::Index) {
        for text in [client.encode(), server.encode(Some(1)), event.encode(1)] {
            let mut cut = at.index(text.len());
            while !text.is_char_boundary(cut) {
                cut -= 1;
            }
            prop_assert!(ClientMessage::decode(&text[..cut]).is_err());
            prop_assert!(ServerMessage::decode(&text[..cut]).is_err());
            prop_assert!(MainGatewayEvent::decode(&text[..cut]).is_err());
        }
    }

    #[test]
    fn parts_of_binary_messages_read_back(
        sequence: u16,
        kind in 0..7,
        operation: u8,
        transition_id: u16,
        mls in vec(any::<u8>(), 0..64),
    ) {
        let payload = mls.as_slice();
        let message = match kind {
            0 => ServerBinary::ExternalSender(payload),
            1 => ServerBinary::Proposals { operation: ProposalsOperation::from(operation), proposals: payload },
            2 => ServerBinary::AnnounceCommitTransition { transition_id, commit: payload },
            3 => ServerBinary::Welcome { transition_id, welcome: payload },
            _ => ServerBinary::Unknown { opcode: Opcode::Unknown(200), payload },
        };
        for (version, sequence) in [(7, None), (8, Some(sequence))] {
            let bytes = message.encode(sequence);
            prop_assert_eq!(ServerBinary::decode(version, &bytes), Ok(Numbered { sequence, message }));
        }
        let message = match kind {
            4 => ClientBinary::KeyPackage(payload),
            5 => ClientBinary::CommitWelcome(payload),
            _ => ClientBinary::Unknown { opcode: Opcode::MlsWelcome, payload },
        };
        let bytes = message.encode();
        prop_assert_eq!(ClientBinary::decode(&bytes), Ok(message));
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
