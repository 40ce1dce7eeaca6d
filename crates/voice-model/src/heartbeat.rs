//! Payloads of opcodes 3 and 6, which differ between gateway versions.

use serde::{Deserialize, Serialize};

use crate::{
    DecodeError, Opcode,
    codec::{self, Envelope},
    id::DecimalVisitor,
};

/// How a heartbeat and its answer look, which depends on the gateway version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum HeartbeatForm {
    /// An object with `t`: version 8 and later.
    #[default]
    Object,
    /// Only the nonce: versions 4 to 7.
    Number,
}

/// Opcode 3 of a client: keeps the connection alive, and acknowledges what was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Heartbeat {
    /// The number that the answer repeats (`t`); at most 2^53 - 1, for peers that count in `f64`.
    pub nonce: u64,
    /// The number of the last numbered message; -1 or `None` when there was none.
    ///
    /// Not sent in the form [`HeartbeatForm::Number`].
    pub seq_ack: Option<i64>,
    /// The form on the wire.
    pub form: HeartbeatForm,
}

/// Opcode 6 of a server: the answer to a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HeartbeatAck {
    /// The nonce of the heartbeat (`t`).
    pub nonce: u64,
    /// The form on the wire.
    pub form: HeartbeatForm,
}

impl Heartbeat {
    pub(crate) fn decode(envelope: &Envelope<'_>) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        struct Object {
            t: u64,
            seq_ack: Option<i64>,
        }

        if envelope.is_object() {
            let Object { t: nonce, seq_ack } = envelope.object()?;
            return Ok(Self { nonce, seq_ack, form: HeartbeatForm::Object });
        }
        Ok(Self { nonce: envelope.value()?, seq_ack: None, form: HeartbeatForm::Number })
    }

    pub(crate) fn encode(&self) -> String {
        #[derive(Serialize)]
        struct Object {
            t: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            seq_ack: Option<i64>,
        }

        match self.form {
            HeartbeatForm::Object => {
                let data = Object { t: self.nonce, seq_ack: self.seq_ack };
                codec::encode(Opcode::Heartbeat, &data, None)
            }
            HeartbeatForm::Number => codec::encode(Opcode::Heartbeat, &self.nonce, None),
        }
    }
}

impl HeartbeatAck {
    pub(crate) fn decode(envelope: &Envelope<'_>) -> Result<Self, DecodeError> {
        #[derive(Deserialize)]
        struct Object {
            t: Echo,
        }

        if envelope.is_object() {
            let Object { t: Echo(nonce) } = envelope.object()?;
            return Ok(Self { nonce, form: HeartbeatForm::Object });
        }
        let Echo(nonce) = envelope.value()?;
        Ok(Self { nonce, form: HeartbeatForm::Number })
    }

    pub(crate) fn encode(&self, sequence: Option<u16>) -> String {
        #[derive(Serialize)]
        struct Object {
            t: u64,
        }

        match self.form {
            HeartbeatForm::Object => codec::encode(Opcode::HeartbeatAck, &Object { t: self.nonce }, sequence),
            HeartbeatForm::Number => codec::encode(Opcode::HeartbeatAck, &self.nonce, sequence),
        }
    }
}

/// A nonce as servers send it back: as a number, or as a string of its digits.
struct Echo(u64);

impl<'de> Deserialize<'de> for Echo {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DecimalVisitor).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ClientMessage, ServerMessage};

    fn beat(d: &str) -> Option<Heartbeat> {
        match ClientMessage::decode(&format!(r#"{{"op":3,"d":{d}}}"#)) {
            Ok(ClientMessage::Heartbeat(heartbeat)) => Some(heartbeat),
            Err(error) => {
                assert_eq!(error.opcode(), Some(Opcode::Heartbeat));
                None
            }
            Ok(other) => panic!("{other:?}"),
        }
    }

    fn ack(d: &str) -> Option<HeartbeatAck> {
        match ServerMessage::decode(&format!(r#"{{"op":6,"d":{d}}}"#)).map(|numbered| numbered.message) {
            Ok(ServerMessage::HeartbeatAck(ack)) => Some(ack),
            Err(error) => {
                assert_eq!(error.opcode(), Some(Opcode::HeartbeatAck));
                None
            }
            Ok(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn heartbeat_nonce_is_an_integer() {
        let (nonce, seq_ack) = (1_785_000_000_123, Some(10));
        let object = Heartbeat { nonce, seq_ack, form: HeartbeatForm::Object };
        assert_eq!(beat(r#"{"t":1785000000123,"seq_ack":10}"#), Some(object));
        let number = Heartbeat { nonce, seq_ack: None, form: HeartbeatForm::Number };
        assert_eq!(beat("1785000000123"), Some(number));
        for refused in [r#"{"t":"1","seq_ack":1}"#, r#"{"seq_ack":1}"#, "\"1\"", "-1", "1.5", "null", "[1]", "{}"] {
            assert_eq!(beat(refused), None, "{refused}");
        }
    }

    #[test]
    fn acknowledged_sequence_keeps_zero_minus_one_and_none_apart() {
        for (json, seq_ack) in [
            (r#"{"t":1,"seq_ack":0}"#, Some(0)),
            (r#"{"t":1,"seq_ack":-1}"#, Some(-1)),
            (r#"{"t":1,"seq_ack":65535}"#, Some(65535)),
            (r#"{"t":1}"#, None),
        ] {
            let heartbeat = beat(json).unwrap();
            assert_eq!(heartbeat.seq_ack, seq_ack);
            assert_eq!(heartbeat.encode(), format!(r#"{{"op":3,"d":{json}}}"#));
        }
        assert_eq!(beat(r#"{"t":1,"seq_ack":null}"#).unwrap().seq_ack, None);
    }

    #[test]
    fn old_form_has_no_acknowledged_sequence() {
        let heartbeat = Heartbeat { nonce: 5, seq_ack: Some(3), form: HeartbeatForm::Number };
        assert_eq!(heartbeat.encode(), r#"{"op":3,"d":5}"#);
    }

    #[test]
    fn ack_nonce_is_an_integer_or_a_string_of_digits() {
        for (d, form) in [
            (r#"{"t":1785000000123}"#, HeartbeatForm::Object),
            (r#"{"t":"1785000000123"}"#, HeartbeatForm::Object),
            ("1785000000123", HeartbeatForm::Number),
            ("\"1785000000123\"", HeartbeatForm::Number),
        ] {
            assert_eq!(ack(d), Some(HeartbeatAck { nonce: 1_785_000_000_123, form }));
        }
        for refused in
            ["\"\"", "\"1x\"", r#"{"t":"+1"}"#, r#"{"t":null}"#, "{}", "-1", "1.5", "null", "18446744073709551616"]
        {
            assert_eq!(ack(refused), None, "{refused}");
        }
    }
}
