//! Between the cores and the network: what they put out, and what arrives.

use std::net::SocketAddr;

use discord_voice::{
    CallInput, CallOutput, Event, GatewayEvent, MediaCommand, UdpAction, WsAction,
    model::{CloseCode, MAX_MESSAGE_LEN, ServerMessage, UserId},
};
use voice_server::{ConnectionId, Input as CoreInput, Output as CoreOutput};
use voice_ws::Input as WsInput;

use crate::{
    Lane, World,
    busy::{Task, Work},
    main_gateway::Process,
};

/// One WebSocket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    user: UserId,
    /// Whose connection to the main gateway it is, if it is one.
    pub(crate) process: Option<Process>,
    /// The session with the voice server.
    pub(crate) conversation: Option<usize>,
    up: Lane,
    down: Lane,
}

/// What is on its way.
#[derive(Clone, Debug)]
pub(crate) enum Parcel {
    ToServer { from: SocketAddr, bytes: Vec<u8> },
    ToClient { to: SocketAddr, bytes: Vec<u8> },
    Up { connection: u64, message: Up },
    Down { connection: u64, message: Down },
}

/// From a client, on a WebSocket.
#[derive(Clone, Debug)]
pub(crate) enum Up {
    Open(String),
    Text(String),
    Binary(Vec<u8>),
    Gone(Option<CloseCode>),
}

/// From the server, on a WebSocket.
#[derive(Clone, Debug)]
pub(crate) enum Down {
    Accepted,
    Text(String),
    Binary(Vec<u8>),
    Gone(Option<CloseCode>),
}

impl World {
    /// Hands on what has arrived.
    pub(crate) fn deliver(&mut self, parcel: Parcel) {
        let task = match &parcel {
            Parcel::ToServer { .. } | Parcel::Up { .. } => Some(Task::Server),
            Parcel::ToClient { to, .. } => self.sockets.get(to).copied().map(Task::Control),
            Parcel::Down { connection, .. } => {
                self.connections.get(connection).map(|connection| Task::Control(connection.user))
            }
        };
        match (task, parcel) {
            // A socket is control's while it is used for discovery.
            (Some(Task::Control(user)), Parcel::ToClient { to, bytes }) if self.client(user).discovery != Some(to) => {
                self.hand(Task::Media(user), Work::Datagram(to, bytes));
            }
            (Some(task), parcel) => self.hand(task, Work::Parcel(parcel)),
            (None, _) => {}
        }
    }

    /// Takes what has arrived.
    pub(crate) fn take_parcel(&mut self, parcel: Parcel) {
        let now = self.clock.now();
        match parcel {
            Parcel::ToServer { from, mut bytes } => {
                let mut sent = Vec::new();
                let mut sink = |to, bytes: &[u8]| sent.push((to, bytes.to_vec()));
                self.core.handle_datagram(now, from, &mut bytes, &mut sink);
                self.datagrams_to_clients(sent);
                self.drain_core();
            }
            Parcel::ToClient { to, bytes } => self.datagram_to_client(to, bytes),
            Parcel::Up { connection, message } => self.message_to_server(connection, message),
            Parcel::Down { connection, message } => self.message_to_client(connection, message),
        }
    }

    /// Does everything that is due on the server.
    pub(crate) fn core_timeout(&mut self) {
        let mut sent = Vec::new();
        let mut sink = |to, bytes: &[u8]| sent.push((to, bytes.to_vec()));
        self.core.handle_timeout(self.clock.now(), &mut sink);
        self.datagrams_to_clients(sent);
        self.drain_core();
    }

    /// Carries out what the server asks for.
    pub(crate) fn drain_core(&mut self) {
        loop {
            let (connection, message) = match self.core.poll_output() {
                CoreOutput::Text { connection, text } => {
                    self.watch_down(connection.get(), &text);
                    (connection, Down::Text(text))
                }
                CoreOutput::Binary { connection, bytes } => (connection, Down::Binary(bytes)),
                CoreOutput::Close { connection, code } => (connection, Down::Gone(Some(code))),
                CoreOutput::Reset { connection } => (connection, Down::Gone(None)),
                CoreOutput::Event(event) => {
                    self.trace.text(self.clock.elapsed(), None, "server", &event);
                    self.server_events.push((self.clock.elapsed(), event));
                    continue;
                }
                CoreOutput::Timeout(deadline) => {
                    self.core_deadline = deadline;
                    return;
                }
            };
            self.send_down(connection.get(), message);
        }
    }

    /// Carries out what a client's call asks for.
    pub(crate) fn drain_call(&mut self, user: UserId) {
        let now = self.clock.now();
        loop {
            let client = self.client_mut(user);
            let Some(call) = &mut client.call else { return };
            let output = call.poll_output();
            assert!(
                client.ended.is_none() || matches!(output, CallOutput::Timeout(None)),
                "seed {}: after its end the call of {user} asks for {output:?}",
                self.seed
            );
            match output {
                CallOutput::Ws(action) => self.ws_action(user, action),
                CallOutput::Udp(UdpAction::Open(server) | UdpAction::Reopen { server, .. }) => {
                    self.open_socket(user, server);
                }
                CallOutput::Udp(UdpAction::Send(request)) => self.control_datagram(user, request.to_vec()),
                CallOutput::Udp(UdpAction::Ping(ping)) => self.control_datagram(user, ping.to_vec()),
                CallOutput::Media(MediaCommand::Start(sender, receiver)) => {
                    self.trace.bytes(self.clock.elapsed(), Some(user), "media starts", &[]);
                    let client = self.clients.get_mut(&user).expect("it has a call");
                    let address = client.discovery.take().expect("media starts on the socket of discovery");
                    let epoch = client.e2ee().filter(|status| status.is_encrypting).and_then(|status| status.epoch);
                    self.hand(Task::Media(user), Work::Start(address, Box::new((*sender, *receiver)), epoch));
                }
                CallOutput::Media(command) => {
                    let epoch = client.e2ee().and_then(|status| status.epoch);
                    self.hand(Task::Media(user), Work::Command(Box::new(command), epoch));
                }
                CallOutput::Gateway(update) => {
                    if !self.update_voice_state(user, update) {
                        let now = self.clock.now();
                        let call = self.client_mut(user).call.as_mut().expect("it asked for the update");
                        call.handle_input(now, CallInput::GatewayRefused("not connected"));
                    }
                }
                CallOutput::Event(event) => self.event(user, event),
                CallOutput::Timeout(deadline) => {
                    client.deadline = deadline;
                    client.settle(now);
                    return;
                }
            }
        }
    }

    /// Sends a datagram on a socket that media has not taken over yet.
    fn control_datagram(&mut self, user: UserId, bytes: Vec<u8>) {
        if let Some(from) = self.client(user).discovery {
            self.datagram_to_server(user, from, bytes);
        }
    }

    /// Sends a datagram of a client.
    pub(crate) fn datagram_to_server(&mut self, user: UserId, from: SocketAddr, bytes: Vec<u8>) {
        let now = self.clock.now();
        self.trace.datagram(self.clock.elapsed(), Some(user), "datagram up", &bytes);
        self.watch_nonce(user, &bytes);
        let client = self.clients.get(&user).expect("it has a socket");
        self.netem.datagram(now, &client.up, Parcel::ToServer { from, bytes });
    }

    /// Breaks the WebSocket of a client for both sides at once, as a middlebox does.
    pub(crate) fn break_connection(&mut self, user: UserId) {
        let Some(id) = self.client_mut(user).connection.take() else { return };
        self.trace.bytes(self.clock.elapsed(), Some(user), "reset", &[]);
        self.cut_connection(id);
        self.feed(user, CallInput::Ws(WsInput::Disconnected(None)));
    }

    /// Ends a WebSocket for both sides at once; the client is told by whoever does it.
    pub(crate) fn cut_connection(&mut self, id: u64) {
        self.forget_connection(id);
        let connection = ConnectionId::new(id);
        self.core.handle_input(self.clock.now(), CoreInput::Disconnected { connection, code: None });
        self.drain_core();
    }

    /// Gives a client's call something.
    pub(crate) fn feed(&mut self, user: UserId, input: CallInput<'_>) {
        let now = self.clock.now();
        let client = self.client_mut(user);
        let is_news = match &input {
            CallInput::Gateway(GatewayEvent::VoiceState(state)) => state.user_id == user,
            CallInput::Gateway(_) | CallInput::Command(_) => true,
            _ => false,
        };
        if is_news && client.patience.is_some() {
            // It has as long again from here.
            client.settle_by = None;
        }
        if let Some(call) = &mut client.call {
            call.handle_input(now, input);
            self.drain_call(user);
        }
    }

    fn ws_action(&mut self, user: UserId, action: WsAction) {
        let connection = self.client_mut(user).connection;
        match action {
            WsAction::Connect(endpoint) => {
                if let Some(old) = connection {
                    self.send_up(old, Up::Gone(None));
                }
                let id = self.open_connection(user, None, user.get());
                self.client_mut(user).connection = Some(id);
                let url = endpoint.url();
                let path = url.splitn(4, '/').nth(3).unwrap_or_default();
                self.send_up(id, Up::Open(format!("/{path}")));
            }
            WsAction::Text(text) => self.send_up(connection.expect("text is for an open socket"), Up::Text(text)),
            WsAction::Binary(bytes) => {
                self.send_up(connection.expect("bytes are for an open socket"), Up::Binary(bytes));
            }
            WsAction::Close(code) => {
                if let Some(id) = self.client_mut(user).connection.take() {
                    self.send_up(id, Up::Gone(Some(code)));
                }
            }
        }
    }

    /// Opens both directions of a WebSocket; streams on one path stall together.
    pub(crate) fn open_connection(&mut self, user: UserId, process: Option<Process>, path: u64) -> u64 {
        self.connections_opened += 1;
        let id = self.connections_opened;
        let (up, down) = (self.netem.open(path), self.netem.open(path));
        self.connections.insert(id, Connection { user, process, conversation: None, up, down });
        id
    }

    fn open_socket(&mut self, user: UserId, server: SocketAddr) {
        assert_eq!(server, self.media_addr, "seed {}: media goes where Ready said", self.seed);
        self.sockets_opened += 1;
        let [_, high, middle, low] = self.sockets_opened.to_be_bytes();
        let address = SocketAddr::from(([10, high, middle, low], 50_000));
        self.sockets.insert(address, user);
        self.client_mut(user).discovery = Some(address);
        let now = self.clock.now();
        let call = self.client_mut(user).call.as_mut().expect("it asked for the socket");
        call.handle_input(now, CallInput::UdpOpened);
    }

    fn event(&mut self, user: UserId, event: Event) {
        let (now, at) = (self.clock.now(), self.clock.elapsed());
        self.trace.event(at, user, &event);
        self.watch_told(user, &event);
        self.watch_resumes(user, &event);
        let session = &self.config.session;
        // A resume that is refused may become a new handshake, and that may end in waiting for the main gateway.
        let patience = session.resume_window + session.handshake_timeout + self.config.follow_timeout;
        let client = self.clients.get_mut(&user).expect("it was told something");
        match &event {
            // What is between is seen by the state of such a call.
            Event::Connected | Event::Resumed | Event::Interrupted(_) | Event::Released(_)
                if client.patience.is_some() => {}
            Event::Connected | Event::Resumed => (client.is_established, client.settle_by) = (true, None),
            Event::Interrupted(_) | Event::Released(_) => {
                (client.is_established, client.settle_by) = (false, Some(now + patience))
            }
            Event::Ended(reason) => {
                assert!(client.media.is_none(), "seed {}: the media of {user} outlives its call", self.seed);
                assert_eq!(client.connection, None, "seed {}: the socket of {user} outlives its call", self.seed);
                (client.is_established, client.settle_by) = (false, None);
                client.ended = Some(reason.clone());
            }
            _ => {}
        }
        client.events.push((at, event));
    }

    pub(crate) fn send_up(&mut self, id: u64, message: Up) {
        let Some(Connection { user, up, .. }) = self.connections.get(&id).copied() else { return };
        let conditions = self.client_mut(user).up;
        let parcel = Parcel::Up { connection: id, message };
        let sent = self.netem.message(self.clock.now(), up, &conditions, parcel);
        assert!(sent.is_ok(), "seed {}: {user} sends without end", self.seed);
    }

    fn send_down(&mut self, id: u64, message: Down) {
        let Some(Connection { user, process, down, .. }) = self.connections.get(&id).copied() else { return };
        if let (Some(process), Down::Text(text)) = (process, &message) {
            self.note_event(process, text);
        }
        let conditions = self.client_mut(user).down;
        let parcel = Parcel::Down { connection: id, message };
        let sent = self.netem.message(self.clock.now(), down, &conditions, parcel);
        assert!(sent.is_ok(), "seed {}: the server sends to {user} without end", self.seed);
    }

    fn message_to_server(&mut self, id: u64, message: Up) {
        let Some(Connection { user, process, .. }) = self.connections.get(&id).copied() else { return };
        let (now, at) = (self.clock.now(), self.clock.elapsed());
        let connection = ConnectionId::new(id);
        match &message {
            Up::Open(target) => {
                self.trace.bytes(at, Some(user), "open", target.as_bytes());
                if self.is_refused(user, process) {
                    self.send_down(id, Down::Gone(None));
                    return;
                }
                self.send_down(id, Down::Accepted);
                self.core.handle_input(now, CoreInput::Opened { connection, target });
            }
            Up::Text(text) => {
                self.trace.bytes(at, Some(user), "text up", text.as_bytes());
                if process.is_none() {
                    self.watch_up(id, user, text);
                }
                self.core.handle_input(now, CoreInput::Text { connection, text });
            }
            Up::Binary(bytes) => {
                let opcode = bytes.first().copied().unwrap_or_default();
                self.trace.binary(at, Some(user), "binary up", opcode, bytes);
                self.core.handle_input(now, CoreInput::Binary { connection, bytes });
            }
            Up::Gone(code) => {
                self.trace.text(at, Some(user), "client gone", code);
                self.core.handle_input(now, CoreInput::Disconnected { connection, code: *code });
                self.forget_connection(id);
            }
        }
        self.drain_core();
    }

    fn message_to_client(&mut self, id: u64, message: Down) {
        let Some(Connection { user, process, conversation, .. }) = self.connections.get(&id).copied() else { return };
        let is_current = match process {
            Some(process) => self.main_gateways.get(&process).is_some_and(|main| main.connection == Some(id)),
            None => self.client_mut(user).connection == Some(id),
        };
        let at = self.clock.elapsed();
        if let Down::Gone(_) = message {
            self.forget_connection(id);
        }
        if !is_current {
            return;
        }
        if let Some(process) = process {
            return self.main_gateway_message(process, id, message);
        }
        self.client_mut(user).conversation = conversation;
        match message {
            Down::Accepted => self.feed(user, CallInput::Ws(WsInput::Connected)),
            Down::Text(text) if text.len() > MAX_MESSAGE_LEN => self.feed(user, CallInput::Ws(WsInput::Oversized)),
            Down::Text(text) => {
                self.trace.bytes(at, Some(user), "text down", text.as_bytes());
                if let Ok(message) = ServerMessage::decode(&text)
                    && let ServerMessage::SessionDescription(description) = message.message
                {
                    self.client_mut(user).key = Some(*description.secret_key.expose());
                }
                self.feed(user, CallInput::Ws(WsInput::Text(&text)));
            }
            Down::Binary(bytes) => {
                let opcode = bytes.get(2).copied().unwrap_or_default();
                self.trace.binary(at, Some(user), "binary down", opcode, &bytes);
                self.feed(user, CallInput::Ws(WsInput::Binary(&bytes)));
            }
            Down::Gone(code) => {
                self.trace.text(at, Some(user), "server gone", &code);
                self.client_mut(user).connection = None;
                self.feed(user, CallInput::Ws(WsInput::Disconnected(code)));
            }
        }
    }

    fn forget_connection(&mut self, id: u64) {
        if let Some(connection) = self.connections.remove(&id) {
            self.netem.cut(connection.up);
            self.netem.cut(connection.down);
        }
    }

    fn datagrams_to_clients(&mut self, sent: Vec<(SocketAddr, Vec<u8>)>) {
        let now = self.clock.now();
        for (to, bytes) in sent {
            let Some(client) = self.sockets.get(&to).and_then(|user| self.clients.get(user)) else { continue };
            self.netem.datagram(now, &client.down, Parcel::ToClient { to, bytes });
        }
    }

    /// A call's control takes a datagram, unless the socket is not its own any more.
    fn datagram_to_client(&mut self, to: SocketAddr, bytes: Vec<u8>) {
        let Some(&user) = self.sockets.get(&to) else { return };
        if self.client(user).discovery == Some(to) {
            self.trace.datagram(self.clock.elapsed(), Some(user), "discovery down", &bytes);
            self.feed(user, CallInput::Datagram(&bytes));
        } else {
            self.hand(Task::Media(user), Work::Datagram(to, bytes));
        }
    }

    /// A call's media thread takes a datagram.
    pub(crate) fn media_datagram(&mut self, user: UserId, to: SocketAddr, mut bytes: Vec<u8>) {
        let client = self.clients.get_mut(&user).expect("it opened the socket");
        if client.media.as_ref().is_some_and(|media| media.address == to) {
            self.trace.datagram(self.clock.elapsed(), Some(user), "datagram down", &bytes);
            client.receive(&self.clock, &mut bytes);
            self.watch_plaintext(user);
        }
    }
}
