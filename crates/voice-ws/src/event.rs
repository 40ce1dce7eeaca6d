//! What goes into a session and what comes out of it.

use std::{fmt, time::Instant};

use voice_model::{CloseCode, Opcode, Ready, ServerMessage, SessionDescription};

use crate::Endpoint;

/// What happened to the one socket of a session.
///
/// After [`Output::Connect`] or [`Output::Close`] has been taken nothing of an older socket may be fed any more.
/// `Debug` shows lengths, not messages, which can contain keys.
#[derive(Clone, Copy)]
pub enum Input<'a> {
    /// The WebSocket that [`Output::Connect`] asked for is open.
    Connected,
    /// A text message arrived.
    Text(&'a str),
    /// A binary message arrived.
    Binary(&'a [u8]),
    /// A message longer than 1 MiB began to arrive, and was not read. The session will close the socket.
    Oversized,
    /// The socket is gone, or could not be opened. The code is the one of the close message, if there was one.
    Disconnected(Option<CloseCode>),
    /// The instant of [`Output::Timeout`] has come, or any other.
    Timeout,
}

impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connected => f.write_str("Connected"),
            Self::Text(text) => write!(f, "Text([{} bytes])", text.len()),
            Self::Binary(bytes) => write!(f, "Binary([{} bytes])", bytes.len()),
            Self::Oversized => f.write_str("Oversized"),
            Self::Disconnected(code) => f.debug_tuple("Disconnected").field(code).finish(),
            Self::Timeout => f.write_str("Timeout"),
        }
    }
}

/// What a session asks of its driver, in order.
#[must_use]
pub enum Output {
    /// Open a WebSocket there, in place of an older one; answer with [`Input::Connected`] or
    /// [`Input::Disconnected`].
    Connect(Endpoint),
    /// Send a text message. It can contain credentials.
    Text(String),
    /// Send a binary message.
    Binary(Vec<u8>),
    /// Close the socket with this code; nothing is answered.
    Close(CloseCode),
    /// Tell the session's owner.
    Event(SessionEvent),
    /// Nothing more to do before this instant; feed [`Input::Timeout`] no later than then. `None`: only an
    /// input wakes the session.
    Timeout(Option<Instant>),
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(endpoint) => f.debug_tuple("Connect").field(endpoint).finish(),
            Self::Text(text) => write!(f, "Text([{} bytes])", text.len()),
            Self::Binary(bytes) => write!(f, "Binary([{} bytes])", bytes.len()),
            Self::Close(code) => f.debug_tuple("Close").field(code).finish(),
            Self::Event(event) => f.debug_tuple("Event").field(event).finish(),
            Self::Timeout(at) => f.debug_tuple("Timeout").field(at).finish(),
        }
    }
}

/// What the session's owner needs to know.
#[derive(Clone)]
#[non_exhaustive]
pub enum SessionEvent {
    /// The credentials were accepted. Discover the own address at this media server next, then send
    /// [`SelectProtocol`](voice_model::SelectProtocol). Comes again when the session had to identify again: what
    /// was done for the one before is void.
    Ready(Ready),
    /// The transport was agreed on: media may flow, under the key in it.
    Established(SessionDescription),
    /// The socket was lost. Media goes on; the session tries to resume.
    Interrupted(Cause),
    /// The server has taken everything that was sent before [`Session::confirm`](crate::Session::confirm).
    Confirmed,
    /// The session goes on where the lost socket left it.
    Resumed,
    /// A resumed session has run [for a while](crate::SessionConfig::resume_trial) with a server that answers: earlier
    /// attempts to resume are forgotten.
    Recovered,
    /// A message that the session does not act on itself.
    Message(ServerMessage),
    /// A binary message, which only end-to-end encryption uses.
    Binary {
        /// Its opcode.
        opcode: Opcode,
        /// What follows the opcode.
        payload: Vec<u8>,
    },
    /// The session is over; no output but timeouts of `None` follows.
    Ended(Ended),
}

impl fmt::Debug for SessionEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(ready) => f.debug_tuple("Ready").field(ready).finish(),
            Self::Established(description) => f.debug_tuple("Established").field(description).finish(),
            Self::Interrupted(cause) => f.debug_tuple("Interrupted").field(cause).finish(),
            Self::Resumed => f.write_str("Resumed"),
            Self::Recovered => f.write_str("Recovered"),
            Self::Message(message) => f.debug_tuple("Message").field(message).finish(),
            Self::Binary { opcode, payload } => {
                let len = payload.len();
                f.debug_struct("Binary")
                    .field("opcode", opcode)
                    .field("payload", &format_args!("[{len} bytes]"))
                    .finish()
            }
            Self::Confirmed => f.write_str("Confirmed"),
            Self::Ended(ended) => f.debug_tuple("Ended").field(ended).finish(),
        }
    }
}

/// Why a session is over, and what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What to do next.
    pub advice: Advice,
    /// What ended it.
    pub cause: Cause,
}

/// What to do after a session has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// Leave and join again through the main gateway, for a new token.
    Rejoin,
    /// Wait for the main gateway: a voice server update is an invitation, a voice state without a channel the end.
    Wait,
    /// Nothing: trying again would end the same way, or the session was closed on purpose.
    Stop,
}

/// What interrupted or ended a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The own side closed it.
    Left,
    /// The server closed the socket with this code.
    Closed(CloseCode),
    /// The socket broke, or could not be opened (the network).
    ConnectionLost,
    /// Heartbeats were not answered, or nothing was heard for too long (the network).
    Zombie,
    /// The server accepted one resume after the other, and dropped the socket or answered nothing each time (the peer).
    FruitlessResumes,
    /// An expected message did not come in time (the peer or the network).
    TimedOut(Waiting),
    /// The server sent something that makes the session unusable (the peer).
    Protocol(ProtocolViolation),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left => f.write_str("closed by this side"),
            Self::Closed(code) => write!(f, "closed by the voice server with {code}"),
            Self::ConnectionLost => f.write_str("connection lost"),
            Self::Zombie => f.write_str("the voice server stopped answering"),
            Self::FruitlessResumes => f.write_str("the voice server accepted resumes that brought nothing"),
            Self::TimedOut(Waiting::SelectProtocol) => f.write_str("no Select Protocol from this side in time"),
            Self::TimedOut(waiting) => write!(f, "no {waiting} from the voice server in time"),
            Self::Protocol(violation) => write!(f, "unusable answer of the voice server: {violation}"),
        }
    }
}

/// What a session waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// An open WebSocket.
    Connection,
    /// Hello (opcode 8).
    Hello,
    /// Ready (opcode 2).
    Ready,
    /// The owner's Select Protocol (opcode 1).
    SelectProtocol,
    /// Session Description (opcode 4).
    SessionDescription,
    /// Resumed (opcode 9).
    Resumed,
    /// The acknowledgement that [`Session::confirm`](crate::Session::confirm) asked for.
    Confirmation,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connection => "connection",
            Self::Hello => "Hello",
            Self::Ready => "Ready",
            Self::SelectProtocol => "Select Protocol",
            Self::SessionDescription => "Session Description",
            Self::Resumed => "Resumed",
            Self::Confirmation => "confirmation of what was sent",
        })
    }
}

/// What the server did that makes the session unusable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProtocolViolation {
    /// Ready names no usable address of a media server.
    MediaAddress,
    /// A message was longer than 1 MiB.
    MessageTooBig,
    /// A message that the handshake needs could not be decoded.
    Undecodable(Opcode),
    /// More than 20 malformed messages in 10 s.
    TooManyMalformed,
    /// The Session Description names another mode than the one selected, or none: it is for WebRTC.
    WrongMode,
}

impl fmt::Display for ProtocolViolation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MediaAddress => f.write_str("no usable address of a media server"),
            Self::MessageTooBig => f.write_str("a message of more than 1 MiB"),
            Self::Undecodable(opcode) => write!(f, "malformed {opcode:?}"),
            Self::TooManyMalformed => f.write_str("too many malformed messages"),
            Self::WrongMode => f.write_str("another transport mode than the one selected"),
        }
    }
}
