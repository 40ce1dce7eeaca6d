//! One message of each kind, as the service and its clients write them.
#![allow(dead_code, reason = "each test takes what it needs")]

/// Messages of servers that are written exactly as they were read.
pub(crate) const SERVER: &[&str] = &[
    r#"{"op":2,"d":{"ssrc":369020,"ip":"198.51.100.20","port":50007,"modes":["aead_aes256_gcm_rtpsize","aead_xchacha20_poly1305_rtpsize"]}}"#,
    r#"{"op":3,"d":null}"#,
    r#"{"op":4,"d":{"mode":"aead_aes256_gcm_rtpsize","secret_key":[7,99,18,240,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28],"dave_protocol_version":1,"audio_codec":"opus","video_codec":"H264","media_session_id":"0f52ac31d5a88e2b7c04d1c9b9d2a17e"}}"#,
    r#"{"op":5,"d":{"speaking":1,"ssrc":341124,"user_id":"104694319306248192"},"seq":3}"#,
    r#"{"op":5,"d":{"speaking":5,"ssrc":341124,"user_id":"104694319306248192","delay":5},"seq":65535}"#,
    r#"{"op":6,"d":{"t":1785000000123}}"#,
    r#"{"op":6,"d":1785000000123}"#,
    r#"{"op":2,"d":{"ssrc":1,"ip":"127.0.0.1","port":1,"modes":[],"experiments":["a"],"streams":[{"type":"video","ssrc":2}]}}"#,
    r#"{"op":4,"d":{"mode":"m","secret_key":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,255],"dave_protocol_version":0,"keyframe_interval":5000,"sdp":"m=audio"}}"#,
    r#"{"op":4,"d":{"sdp":"a=ice-pwd:a6d2c81e07b94f35","dave_protocol_version":0}}"#,
    r#"{"op":8,"d":{"heartbeat_interval":13750,"v":8}}"#,
    r#"{"op":9,"d":null}"#,
    r#"{"op":11,"d":{"user_ids":["104694319306248192","80351110224678912"]},"seq":0}"#,
    r#"{"op":10,"d":{"x":1}}"#,
    r#"{"op":12,"d":{"user_id":"104694319306248192","audio_ssrc":341124,"video_ssrc":0,"streams":[]},"seq":4}"#,
    r#"{"op":12,"d":{"user_id":"104694319306248192","audio_ssrc":341124,"video_ssrc":0},"seq":4}"#,
    r#"{"op":12,"d":{"user_id":"104694319306248192","audio_ssrc":341124,"video_ssrc":341125,"streams":[{},{"type":"hologram","rid":"50","quality":50,"active":false,"ssrc":341125,"rtx_ssrc":341126,"max_bitrate":1,"max_framerate":2,"max_resolution":{"type":"source","width":0,"height":0}}]},"seq":4}"#,
    r#"{"op":13,"d":{"user_id":"80351110224678912"},"seq":9}"#,
    r#"{"op":14,"d":{"audio_codec":"opus","video_codec":"H264","media_session_id":"0f52"},"seq":10}"#,
    r#"{"op":14,"d":{"keyframe_interval":5000},"seq":10}"#,
    r#"{"op":15,"d":{"any":100,"8964":0,"pixelCounts":{"8964":921600.0}},"seq":5}"#,
    r#"{"op":15,"d":{},"seq":5}"#,
    r#"{"op":16,"d":{"voice":"0.9.1","rtc_worker":"0.3.35"}}"#,
    r#"{"op":17,"d":{},"seq":1}"#,
    r#"{"op":19,"d":{},"seq":1}"#,
    r#"{"op":18,"d":{"flags":"of nobody"},"seq":1}"#,
    r#"{"op":18,"d":{"user_id":"104694319306248192","flags":2},"seq":1}"#,
    r#"{"op":18,"d":{"user_id":"104694319306248192","flags":null},"seq":1}"#,
    r#"{"op":20,"d":{"user_id":"104694319306248192","platform":0},"seq":2}"#,
    r#"{"op":20,"d":{"user_id":"104694319306248192","platform":77},"seq":2}"#,
    r#"{"op":20,"d":{"user_id":"104694319306248192","platform":null},"seq":2}"#,
    r#"{"op":21,"d":{"protocol_version":1,"transition_id":0},"seq":6}"#,
    r#"{"op":22,"d":{"transition_id":0},"seq":7}"#,
    r#"{"op":24,"d":{"protocol_version":1,"epoch":1},"seq":8}"#,
    r#"{"op":24,"d":{"protocol_version":1,"epoch":2,"transition_id":9},"seq":8}"#,
    r#"{"op":18446744073709551615,"d":[1,{"a":"\ud800"},1e999],"seq":11}"#,
];

/// Messages of servers that hold more, or other spellings, than is written: (read, written).
pub(crate) const SERVER_LENIENT: &[(&str, &str)] = &[
    (
        r#"{"op":2,"d":{"ssrc":369020,"ip":"198.51.100.20","port":50007,"modes":["aead_aes256_gcm_rtpsize","aead_xchacha20_poly1305_rtpsize"],"experiments":7,"heartbeat_interval":1}}"#,
        r#"{"op":2,"d":{"ssrc":369020,"ip":"198.51.100.20","port":50007,"modes":["aead_aes256_gcm_rtpsize","aead_xchacha20_poly1305_rtpsize"]}}"#,
    ),
    (
        r#"{"op":4,"d":{"mode":"m","secret_key":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,255],"keyframe_interval":"5000"}}"#,
        r#"{"op":4,"d":{"mode":"m","secret_key":[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,255],"dave_protocol_version":0}}"#,
    ),
    (r#"{"op":6,"d":{"t":"1785000000123"}}"#, r#"{"op":6,"d":{"t":1785000000123}}"#),
    (r#"{"op":6,"d":"1785000000123"}"#, r#"{"op":6,"d":1785000000123}"#),
    (r#"{"op":8,"d":{"v":8,"heartbeat_interval":13750.0}}"#, r#"{"op":8,"d":{"heartbeat_interval":13750,"v":8}}"#),
    (r#"{"op":8,"d":{"v":8.0,"heartbeat_interval":null}}"#, r#"{"op":8,"d":{"heartbeat_interval":0,"v":8}}"#),
    (r#"{"op":9}"#, r#"{"op":9,"d":null}"#),
    (
        r#"{"seq":0,"op":11,"d":{"user_ids":[104694319306248192,"80351110224678912"],"x":{}},"x":1}"#,
        r#"{"op":11,"d":{"user_ids":["104694319306248192","80351110224678912"]},"seq":0}"#,
    ),
    (
        r#"{"op":12,"d":{"user_id":5,"streams":[1,{"type":[],"x":1}]}}"#,
        r#"{"op":12,"d":{"user_id":"5","audio_ssrc":0,"video_ssrc":0,"streams":[{}]}}"#,
    ),
    (r#"{"op":15,"d":{"x":1,"any":1000,"7":null,"pixelCounts":{"x":1}}}"#, r#"{"op":15,"d":{"any":100}}"#),
    (r#"{"op":20,"d":{"user_id":5,"platform":"toaster"}}"#, r#"{"op":20,"d":{"user_id":"5","platform":null}}"#),
    (r#"{"op":24,"d":{"protocol_version":1,"epoch":"1"}}"#, r#"{"op":24,"d":{"protocol_version":1,"epoch":1}}"#),
];

/// Messages of clients that are written exactly as they were read.
pub(crate) const CLIENT: &[&str] = &[
    r#"{"op":0,"d":{"server_id":"613425648685547541","user_id":"852892297661906993","session_id":"4f1d0c9be27a8e63","token":"a6d2c81e07b94f35","max_dave_protocol_version":1}}"#,
    r#"{"op":0,"d":{"server_id":"613425648685547541","user_id":"852892297661906993","session_id":"4f1d0c9be27a8e63","token":"a6d2c81e07b94f35","max_dave_protocol_version":0,"channel_id":"127121515262115840"}}"#,
    r#"{"op":1,"d":{"protocol":"udp","data":{"address":"203.0.113.7","port":50004,"mode":"aead_aes256_gcm_rtpsize"}}}"#,
    r#"{"op":3,"d":{"t":1785000000123,"seq_ack":10}}"#,
    r#"{"op":3,"d":{"t":1785000000123,"seq_ack":-1}}"#,
    r#"{"op":3,"d":{"t":1785000000123}}"#,
    r#"{"op":3,"d":1785000000123}"#,
    r#"{"op":5,"d":{"speaking":1,"delay":0,"ssrc":369020}}"#,
    r#"{"op":7,"d":{"server_id":"613425648685547541","session_id":"4f1d0c9be27a8e63","token":"a6d2c81e07b94f35","seq_ack":10}}"#,
    r#"{"op":7,"d":{"server_id":"613425648685547541","session_id":"4f1d0c9be27a8e63","token":"a6d2c81e07b94f35","seq_ack":0,"channel_id":"127121515262115840"}}"#,
    r#"{"op":12,"d":{"audio_ssrc":0,"video_ssrc":0,"rtx_ssrc":0,"streams":[]}}"#,
    r#"{"op":0,"d":{"server_id":"1","user_id":"2","session_id":"4f1d0c9be27a8e63","token":"a6d2c81e07b94f35","max_dave_protocol_version":1,"video":true,"streams":[{"type":"video","rid":"100","quality":100}]}}"#,
    r#"{"op":1,"d":{"protocol":"udp","data":{"address":"203.0.113.7","port":50004,"mode":"m"},"codecs":[{"name":"opus","type":"audio","priority":1000,"payload_type":120},{"name":"H264","type":"video","priority":1000,"payload_type":105,"rtx_payload_type":106,"encode":true,"decode":false}],"rtc_connection_id":"f0b9c1d2-0000-4000-8000-0123456789ab","experiments":["a","b"]}}"#,
    r#"{"op":1,"d":{"protocol":"webrtc","data":"a=ice-pwd:a6d2c81e07b94f35"}}"#,
    r#"{"op":14,"d":{"codecs":[]}}"#,
    r#"{"op":15,"d":{"any":0}}"#,
    r#"{"op":15,"d":{"any":100,"8964":0,"369020":50,"pixelCounts":{"8964":921600.0}}}"#,
    r#"{"op":16,"d":{}}"#,
    r#"{"op":23,"d":{"transition_id":7}}"#,
    r#"{"op":31,"d":{"transition_id":7}}"#,
    r#"{"op":32,"d":{}}"#,
];

/// Messages of clients that hold more, or other spellings, than is written: (read, written).
pub(crate) const CLIENT_LENIENT: &[(&str, &str)] = &[
    (
        r#"{"op":0,"d":{"server_id":613425648685547541,"user_id":"852892297661906993","session_id":"4f1d0c9be27a8e63","token":"a6d2c81e07b94f35","video":"x"}}"#,
        r#"{"op":0,"d":{"server_id":"613425648685547541","user_id":"852892297661906993","session_id":"4f1d0c9be27a8e63","token":"a6d2c81e07b94f35","max_dave_protocol_version":0}}"#,
    ),
    (
        r#"{"op":1,"d":{"protocol":"udp","codecs":[{"name":"opus","type":"audio","priority":1000,"payload_type":120}],"data":{"address":"203.0.113.7","port":50004,"mode":"m"},"address":"203.0.113.7","port":50004,"mode":"m"}}"#,
        r#"{"op":1,"d":{"protocol":"udp","data":{"address":"203.0.113.7","port":50004,"mode":"m"},"codecs":[{"name":"opus","type":"audio","priority":1000,"payload_type":120}]}}"#,
    ),
    (
        r#"{"op":1,"d":{"protocol":"webrtc","data":[]}}"#,
        r#"{"op":1,"d":{"protocol":"webrtc","data":{"address":"","port":0,"mode":""}}}"#,
    ),
    (r#"{"op":5,"d":{"speaking":1,"ssrc":369020}}"#, r#"{"op":5,"d":{"speaking":1,"delay":0,"ssrc":369020}}"#),
    (r#"{"op":12,"d":{}}"#, r#"{"op":12,"d":{"audio_ssrc":0,"video_ssrc":0}}"#),
    (
        r#"{"op":14,"d":{"codecs":[{"type":"audio"},5]}}"#,
        r#"{"op":14,"d":{"codecs":[{"name":"","type":"audio","priority":0,"payload_type":0}]}}"#,
    ),
    (r#"{"op":16}"#, r#"{"op":16,"d":{}}"#),
    (r#"{"op":32,"d":null}"#, r#"{"op":32,"d":{}}"#),
];

/// Messages of the main gateway that concern voice, in both directions.
pub(crate) const MAIN_GATEWAY: &str = include_str!("documented/main_gateway.jsonl");

/// Messages of clients as the documentation shows or describes them.
pub(crate) const DOCUMENTED_CLIENT: &str = include_str!("documented/client.jsonl");

/// Messages of servers as the documentation shows or describes them.
pub(crate) const DOCUMENTED_SERVER: &str = include_str!("documented/server.jsonl");

/// Binary messages: whether a server sends it, and the bytes.
pub(crate) fn binary() -> impl Iterator<Item = (bool, Vec<u8>)> {
    let lines = include_str!("documented/binary.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let (from, hex) = line.split_once(' ').expect("from whom, and bytes");
        let digits: Vec<u8> = hex.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
        (from == "server", digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
    })
}

/// Everything that a server may send, in the spelling that is read.
pub(crate) fn server() -> impl Iterator<Item = &'static str> {
    SERVER.iter().copied().chain(SERVER_LENIENT.iter().map(|(read, _)| *read)).chain(DOCUMENTED_SERVER.lines())
}

/// Everything that a client may send, in the spelling that is read.
pub(crate) fn client() -> impl Iterator<Item = &'static str> {
    CLIENT.iter().copied().chain(CLIENT_LENIENT.iter().map(|(read, _)| *read)).chain(DOCUMENTED_CLIENT.lines())
}
