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

        if is_object(envelope) {
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

        if is_object(envelope) {
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

fn is_object(envelope: &Envelope<'_>) -> bool {
    envelope.data.starts_with('{')
}
