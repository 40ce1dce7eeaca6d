//! The one task that owns the core and the UDP socket.

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::time::Instant;

use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Sleep, sleep_until};
use voice_model::CloseCode;

use crate::measuring::{Ended, Measuring};
use crate::socket::{Left, MediaSocket};
use crate::{Command, ConnectionId, Core, Event, Input, MeasureLimits, Output, Request, Response, ServerStats};

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

/// What the server's handle wants.
pub(crate) enum Order {
    Command(Command),
    Begin(MeasureLimits, oneshot::Sender<()>),
    /// Answered with nothing when nothing is measured.
    End(oneshot::Sender<Option<Ended>>),
}

/// The way to the task of a WebSocket.
pub(crate) struct Outbox {
    pub(crate) messages: mpsc::Sender<Outbound>,
    /// Dropping it ends the task at once, whatever it is doing.
    pub(crate) _alive: oneshot::Sender<()>,
}

/// Requests and connections that the listener did not let in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Turned {
    /// Because a limit was reached.
    pub(crate) limited: u64,
    /// Because a page in a browser sent them.
    pub(crate) browsers: u64,
}

/// The core with its socket and its queues.
pub(crate) struct Driver {
    pub(crate) core: Core,
    pub(crate) socket: MediaSocket,
    pub(crate) inbound: mpsc::Receiver<Inbound>,
    pub(crate) orders: mpsc::Receiver<Order>,
    pub(crate) stats: watch::Sender<ServerStats>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) turned: watch::Receiver<Turned>,
    pub(crate) outboxes: HashMap<ConnectionId, Outbox>,
    pub(crate) slow_readers: u64,
    pub(crate) measuring: Option<Measuring>,
}

impl Driver {
    /// Runs until the server's handle is gone.
    pub(crate) async fn run(mut self) {
        let mut deadline = None;
        let mut timer = pin!(sleep_until(now().into()));
        loop {
            let is_due = async {
                match deadline {
                    Some(at) => {
                        rearm(timer.as_mut(), at);
                        timer.as_mut().await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // Orders first: a ticket has to be known before the client that uses it.
                biased;
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                () = is_due => {}
                readable = self.socket.readable() => {
                    if readable.is_err() {
                        tracing::warn!("the media socket failed");
                        return;
                    }
                    if self.receive() == Left::Perhaps {
                        // Without this a stream of datagrams would starve everything else.
                        tokio::task::yield_now().await;
                    }
                }
                // The listener counts by itself; its end is the server's.
                turned = self.turned.changed() => if turned.is_err() {
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
        self.drain_orders();
        for _ in 0..MESSAGES_PER_TURN {
            let Ok(inbound) = self.inbound.try_recv() else { break };
            // An order may have been given just before what this message is about.
            self.drain_orders();
            self.take(inbound);
        }
    }

    fn drain_orders(&mut self) {
        // Those that are given meanwhile have their own time.
        for _ in 0..self.orders.len() {
            let Ok(order) = self.orders.try_recv() else { break };
            self.obey(order);
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Command(command) => self.core.handle_command(now(), command),
            Order::Begin(limits, done) => {
                let has_arrivals = self.socket.tell_arrivals(true);
                self.measuring = Some(Measuring::new(now(), limits, self.stats(), has_arrivals));
                // Who asked may have gone.
                let _ = done.send(());
            }
            Order::End(done) => {
                self.socket.tell_arrivals(false);
                let ended = self.measuring.take().map(|measuring| measuring.end(now(), self.stats()));
                let _ = done.send(ended);
            }
        }
    }

    /// Does what is due and sends what there is to send; returns the next deadline.
    fn turn(&mut self) -> Option<Instant> {
        let Self { core, socket, .. } = self;
        let mut sender = socket.sender();
        core.handle_timeout(now(), &mut |to, bytes| sender.send(to, bytes));
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
        let stats = self.stats();
        self.stats.send_if_modified(|before| std::mem::replace(before, stats) != stats);
        deadline
    }

    fn stats(&self) -> ServerStats {
        let stats = self.core.stats();
        let turned = *self.turned.borrow();
        ServerStats {
            sends_failed: self.socket.sends_failed,
            receive_overflow: self.socket.overflow(),
            slow_readers: self.slow_readers,
            refused: stats.refused + turned.limited,
            browsers_refused: turned.browsers,
            ..stats
        }
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
    fn receive(&mut self) -> Left {
        let Self { core, socket, measuring, .. } = self;
        for _ in 0..BATCHES_PER_TURN {
            let now = now();
            let left = socket.receive(|sender, from, arrival, datagram| {
                if let Some(measuring) = measuring {
                    measuring.take(arrival, datagram);
                }
                core.handle_datagram(now, from, datagram, &mut |to, bytes| sender.send(to, bytes));
            });
            if left == Left::Nothing {
                return left;
            }
        }
        Left::Perhaps
    }
}

/// Sets a timer that is not set to this time already.
fn rearm(timer: Pin<&mut Sleep>, at: Instant) {
    let at = at.into();
    if timer.deadline() != at {
        timer.reset(at);
    }
}

#[expect(clippy::disallowed_methods, reason = "the driver owns the clock")]
fn now() -> Instant {
    Instant::now()
}

/// Batches of datagrams read before anything else gets its turn.
const BATCHES_PER_TURN: usize = 4;

/// Gateway messages read before anything else gets its turn.
const MESSAGES_PER_TURN: usize = 64;
