//! The one task that owns the core and the UDP socket.

use std::collections::HashMap;
use std::io;
use std::time::Instant;

use tokio::net::UdpSocket;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use voice_model::CloseCode;

use crate::{Command, ConnectionId, Core, Event, Input, Output, Request, Response, ServerStats};

/// What the listener's tasks tell the core.
pub(crate) enum Inbound {
    Opened { connection: ConnectionId, target: String, outbox: Outbox },
    Text { connection: ConnectionId, text: String },
    Binary { connection: ConnectionId, bytes: Vec<u8> },
    Disconnected { connection: ConnectionId, code: Option<CloseCode> },
    Http { method: String, path: String, authorization: Option<String>, reply: oneshot::Sender<Response> },
}

/// What the core tells the task of a WebSocket.
pub(crate) enum Outbound {
    Text(String),
    Binary(Vec<u8>),
    Close(CloseCode),
    Reset,
}

/// The way to the task of a WebSocket.
pub(crate) struct Outbox {
    pub(crate) messages: mpsc::Sender<Outbound>,
    /// Dropping it ends the task at once, whatever it is doing.
    pub(crate) _alive: oneshot::Sender<()>,
}

/// The core with its socket and its queues.
pub(crate) struct Driver {
    pub(crate) core: Core,
    pub(crate) udp: UdpSocket,
    pub(crate) inbound: mpsc::Receiver<Inbound>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) stats: watch::Sender<ServerStats>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) refused: watch::Receiver<u64>,
    pub(crate) outboxes: HashMap<ConnectionId, Outbox>,
    pub(crate) sends_failed: u64,
    pub(crate) slow_readers: u64,
}

impl Driver {
    /// Runs until the server's handle is gone.
    pub(crate) async fn run(mut self) {
        let mut buffer = vec![0; RECEIVE_BUFFER_LEN];
        let mut deadline = None;
        loop {
            let sleep = async {
                match deadline {
                    Some(at) => tokio::time::sleep_until(tokio::time::Instant::from_std(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Commands first: a ticket has to be known before the client that uses it.
                biased;
                command = self.commands.recv() => match command {
                    Some(command) => self.core.handle_command(now(), command),
                    None => return,
                },
                () = sleep => {}
                readable = self.udp.readable() => {
                    if readable.is_err() {
                        tracing::warn!("the media socket failed");
                        return;
                    }
                    self.receive(&mut buffer);
                    // Without this a stream of datagrams would starve everything else.
                    tokio::task::yield_now().await;
                    self.drain_queues();
                }
                // The listener counts by itself; its end is the server's.
                refused = self.refused.changed() => if refused.is_err() {
                    return;
                },
                inbound = self.inbound.recv() => {
                    if let Some(inbound) = inbound {
                        self.take(inbound);
                    }
                }
            }
            self.drain_queues();
            deadline = self.turn();
        }
    }

    /// Takes what waits in the queues, but not for ever.
    fn drain_queues(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            self.core.handle_command(now(), command);
        }
        for _ in 0..MESSAGES_PER_TURN {
            let Ok(inbound) = self.inbound.try_recv() else { break };
            // A command may have been given just before what this message is about.
            while let Ok(command) = self.commands.try_recv() {
                self.core.handle_command(now(), command);
            }
            self.take(inbound);
        }
    }

    /// Does what is due and sends what there is to send; returns the next deadline.
    fn turn(&mut self) -> Option<Instant> {
        let Self { core, udp, sends_failed, .. } = self;
        core.handle_timeout(now(), &mut |to, bytes| send(udp, to, bytes, sends_failed));
        let deadline = loop {
            match self.core.poll_output() {
                Output::Text { connection, text } => self.send(connection, Outbound::Text(text)),
                Output::Binary { connection, bytes } => self.send(connection, Outbound::Binary(bytes)),
                Output::Close { connection, code } => self.send(connection, Outbound::Close(code)),
                Output::Reset { connection } => self.send(connection, Outbound::Reset),
                // Without a reader there is nobody to tell.
                Output::Event(event) => drop(self.events.send(event)),
                Output::Timeout(deadline) => break deadline,
            }
        };
        let stats = ServerStats {
            sends_failed: self.sends_failed,
            slow_readers: self.slow_readers,
            refused: self.core.stats().refused + *self.refused.borrow(),
            ..self.core.stats()
        };
        self.stats.send_if_modified(|before| std::mem::replace(before, stats) != stats);
        deadline
    }

    fn take(&mut self, inbound: Inbound) {
        let now = now();
        match inbound {
            Inbound::Opened { connection, target, outbox } => {
                self.outboxes.insert(connection, outbox);
                self.core.handle_input(now, Input::Opened { connection, target: &target });
            }
            Inbound::Text { connection, text } => {
                self.core.handle_input(now, Input::Text { connection, text: &text });
            }
            Inbound::Binary { connection, bytes } => {
                self.core.handle_input(now, Input::Binary { connection, bytes: &bytes });
            }
            Inbound::Disconnected { connection, code } => {
                self.outboxes.remove(&connection);
                self.core.handle_input(now, Input::Disconnected { connection, code });
            }
            Inbound::Http { method, path, authorization, reply } => {
                let request = Request { method: &method, path: &path, authorization: authorization.as_deref() };
                // The client may have gone; then nobody wants the answer.
                let _ = reply.send(self.core.handle_request(request));
            }
        }
    }

    /// Gives a message to the task of a WebSocket; one whose reader is too slow is dropped.
    fn send(&mut self, connection: ConnectionId, message: Outbound) {
        let Some(outbox) = self.outboxes.get(&connection) else { return };
        match outbox.messages.try_send(message) {
            Ok(()) => {}
            Err(mpsc::error::TrySendError::Full(_)) => {
                // The task ends, and then reports the connection lost.
                self.outboxes.remove(&connection);
                self.slow_readers += 1;
            }
            // Its report is on the way.
            Err(mpsc::error::TrySendError::Closed(_)) => {}
        }
    }

    /// Reads the datagrams that are there, but not for ever.
    fn receive(&mut self, buffer: &mut [u8]) {
        let Self { core, udp, sends_failed, .. } = self;
        for _ in 0..DATAGRAMS_PER_TURN {
            match udp.try_recv_from(buffer) {
                Ok((len, from)) => {
                    let Some(datagram) = buffer.get_mut(..len) else { return };
                    core.handle_datagram(now(), from, datagram, &mut |to, bytes| send(udp, to, bytes, sends_failed));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // An answer to something sent earlier, for example by a closed port.
                Err(_) => {}
            }
        }
    }
}

/// Sends a datagram, or counts that the socket did not take it.
fn send(udp: &UdpSocket, to: std::net::SocketAddr, bytes: &[u8], failed: &mut u64) {
    if udp.try_send_to(bytes, to).is_err() {
        *failed += 1;
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver owns the clock")]
fn now() -> Instant {
    Instant::now()
}

/// A datagram that fills the buffer may have been cut, and is not looked at.
const RECEIVE_BUFFER_LEN: usize = 2_048;

/// Datagrams read before anything else gets its turn.
const DATAGRAMS_PER_TURN: usize = 64;

/// Gateway messages read before anything else gets its turn.
const MESSAGES_PER_TURN: usize = 64;
