//! How often decoding asks for memory.
#![cfg(feature = "serde")]

use voice_model::{BinaryMessage, ClientMessage, MAX_EXPERIMENTS, MainGatewayEvent, ServerBinary, ServerMessage};

fn allocations<T>(work: impl Fn() -> T) -> u64 {
    drop(work());
    let mut result = None;
    let count = allocation_counter::measure(|| result = Some(work())).count_total;
    drop(result);
    count
}

#[test]
fn frequent_messages_of_servers_take_no_memory() {
    for text in [
        r#"{"op":3,"d":null}"#,
        r#"{"op":5,"d":{"speaking":1,"ssrc":341124,"user_id":"104694319306248192"},"seq":3}"#,
        r#"{"op":6,"d":{"t":1785000000123}}"#,
        r#"{"op":6,"d":"1785000000123"}"#,
        r#"{"op":8,"d":{"v":8,"heartbeat_interval":13750.0}}"#,
        r#"{"op":9,"d":null}"#,
        r#"{"op":13,"d":{"user_id":"80351110224678912"},"seq":9}"#,
        r#"{"op":15,"d":{"any":100},"seq":5}"#,
        r#"{"op":18,"d":{"user_id":"104694319306248192","flags":2},"seq":1}"#,
        r#"{"op":20,"d":{"user_id":"104694319306248192","platform":0},"seq":2}"#,
        r#"{"op":21,"d":{"protocol_version":1,"transition_id":7},"seq":6}"#,
        r#"{"op":22,"d":{"transition_id":7},"seq":7}"#,
        r#"{"op":24,"d":{"protocol_version":1,"epoch":1},"seq":8}"#,
    ] {
        assert_eq!(allocations(|| ServerMessage::decode(text).unwrap()), 0, "{text}");
    }
}

#[test]
fn frequent_messages_of_clients_take_no_memory() {
    for text in [
        r#"{"op":3,"d":{"t":1785000000123,"seq_ack":10}}"#,
        r#"{"op":3,"d":1785000000123}"#,
        r#"{"op":5,"d":{"speaking":1,"delay":0,"ssrc":369020}}"#,
        r#"{"op":15,"d":{"any":0}}"#,
        r#"{"op":16,"d":{}}"#,
        r#"{"op":23,"d":{"transition_id":7}}"#,
    ] {
        assert_eq!(allocations(|| ClientMessage::decode(text).unwrap()), 0, "{text}");
    }
}

#[test]
fn lists_take_memory_for_what_they_hold_and_nothing_else() {
    // Walking over what is nested in `d` takes one piece, whatever is there.
    let nested = 1;
    let one = r#"{"op":11,"d":{"user_ids":["104694319306248192"]},"seq":0}"#;
    assert_eq!(allocations(|| ServerMessage::decode(one).unwrap()), nested + 1);
    let no_video =
        r#"{"op":12,"d":{"user_id":"104694319306248192","audio_ssrc":341124,"video_ssrc":0,"streams":[]},"seq":4}"#;
    assert_eq!(allocations(|| ServerMessage::decode(no_video).unwrap()), nested);
    // The text of an unknown message, and the bytes of none.
    let unknown = r#"{"op":99,"d":{"x":[1,2,3]},"seq":0}"#;
    assert_eq!(allocations(|| ServerMessage::decode(unknown).unwrap()), nested + 1);
    let binary = [0, 4, 30, 0, 7, 1, 2, 3];
    assert_eq!(allocations(|| ServerBinary::decode(8, &binary).unwrap()), 0);
    assert_eq!(allocations(|| BinaryMessage::decode_client(&binary).unwrap()), 0);
}

#[test]
fn nesting_takes_memory_once_for_each_array_and_object() {
    for (streams, count, held) in [
        ("{}", 2, 1),
        ("{},{},{}", 4, 1),
        (r#"{"max_resolution":{"width":1,"height":{"a":[1]}}}"#, 5, 1),
        (r#"{"ssrc":[[[]]]},[[],[[]]]"#, 9, 1),
    ] {
        let text = format!(r#"{{"op":12,"d":{{"user_id":"1","streams":[{streams}]}}}}"#);
        // And the list that is returned.
        let count = 1 + count + held;
        let asked = allocations(|| ServerMessage::decode(&text).unwrap());
        assert!(asked <= count, "{text}: {asked}");
    }
}

#[test]
fn lists_over_their_limit_take_memory_up_to_it() {
    let names = vec!["\"a\""; 100_000].join(",");
    let text = format!(r#"{{"op":2,"d":{{"ssrc":1,"ip":"","port":1,"modes":[],"experiments":[{names}]}}}}"#);
    assert!(allocations(|| ServerMessage::decode(&text).unwrap()) < MAX_EXPERIMENTS as u64 + 50);
}

#[test]
fn events_of_the_main_gateway_that_are_not_ours_are_not_copied() {
    let names = vec![r#"{"id":"2","name":"general"}"#; 1000].join(",");
    let text = format!(r#"{{"op":0,"t":"GUILD_CREATE","s":3,"d":{{"id":"1","channels":[{names}]}}}}"#);
    assert_eq!(allocations(|| MainGatewayEvent::decode(&text).unwrap()), 1);
}

#[test]
fn heartbeats_are_written_with_one_piece_of_memory() {
    let beat = ClientMessage::decode(r#"{"op":3,"d":{"t":1785000000123,"seq_ack":10}}"#).unwrap();
    assert_eq!(allocations(|| beat.encode()), 1);
}
