//! Two calls and their server in one thread, without sockets, tasks or a clock.
//!
//! ```sh
//! cargo run -p discord-voice-examples --example sans_io_loop
//! ```
//!
//! A [`CallSession`] does no I/O: it is told what happened and asked what to do. Here plain functions carry everything to
//! a [`Core`], the loopback server without sockets; a driver for another runtime has the same loop with real sockets.
//! Time is a variable, so 20 seconds of audio pass in an instant.
#![forbid(unsafe_code)]

use std::{collections::VecDeque, error::Error, net::SocketAddr, sync::Arc, time::Duration, time::Instant};

use discord_voice::{
    CallCommand, CallInput, CallOutput, CallSession, Config, ConnectInfo, MediaCommand, UdpAction, WsAction,
    audio::{FRAME_DURATION, FrameBuf, OpenOptions, open},
    model::UserId,
};
use voice_server::{ConnectionId, Core, CoreConfig, DEFAULT_CHANNEL, DEFAULT_GUILD, Input, Output, Ticket};
use voice_udp::{Content, Keepalive, PacketBuf, Receiver, Sender};

/// A call, and what a driver keeps for it: here the names of its WebSocket and of its UDP socket.
struct Caller {
    call: CallSession,
    connection: ConnectionId,
    address: SocketAddr,
    /// Both directions of the audio, once the session is established.
    media: Option<(Box<Sender>, Box<Receiver>, Keepalive)>,
    heard: usize,
}

impl Caller {
    fn new(now: Instant, core: &mut Core, user: u8) -> Result<Self, Box<dyn Error>> {
        let ticket = core.issue(DEFAULT_GUILD, DEFAULT_CHANNEL, UserId::new(user.into()));
        let Ticket { channel_id, endpoint, server_id, session_id, token, user_id } = ticket;
        let info = ConnectInfo { channel_id, endpoint: endpoint.parse()?, server_id, session_id, token, user_id };
        // A real driver draws this seed anew for each call, from the operating system.
        let call = CallSession::new(now, Arc::new(Config::default()), info, [user; 32]);
        let (connection, address) = (ConnectionId::new(user.into()), ([127, 0, 0, user], 5_000).into());
        Ok(Self { call, connection, address, media: None, heard: 0 })
    }

    /// Carries out what the call asks for. Returns when it wants to be woken.
    fn drain(&mut self, now: Instant, core: &mut Core, datagrams: &mut Datagrams) -> Option<Instant> {
        let connection = self.connection;
        loop {
            match self.call.poll_output() {
                CallOutput::Ws(WsAction::Connect(_)) => {
                    core.handle_input(now, Input::Opened { connection, target: "/?v=8" });
                    self.call.handle_input(now, CallInput::Ws(voice_ws::Input::Connected));
                }
                CallOutput::Ws(WsAction::Text(text)) => core.handle_input(now, Input::Text { connection, text: &text }),
                CallOutput::Ws(WsAction::Binary(bytes)) => {
                    core.handle_input(now, Input::Binary { connection, bytes: &bytes });
                }
                CallOutput::Ws(WsAction::Close(code)) => {
                    core.handle_input(now, Input::Disconnected { connection, code: Some(code) });
                }
                CallOutput::Udp(UdpAction::Open(_) | UdpAction::Reopen { .. }) => {
                    self.call.handle_input(now, CallInput::UdpOpened)
                }
                CallOutput::Udp(UdpAction::Send(request)) => self.send(now, &request, core, datagrams),
                CallOutput::Udp(UdpAction::Ping(ping)) => self.send(now, &ping, core, datagrams),
                CallOutput::Media(MediaCommand::Start(sender, receiver)) => {
                    self.media = Some((sender, receiver, Keepalive::new(now)));
                }
                CallOutput::Media(MediaCommand::Stop) => self.media = None,
                // Who speaks, who left, and the keys of the end-to-end encryption.
                CallOutput::Media(command) => {
                    if let Some((sender, receiver, _)) = &mut self.media {
                        // What is left says when audio may begin, and in this example nobody speaks before a second.
                        let _ = command.apply(now, sender, receiver);
                    }
                }
                CallOutput::Event(event) => println!("{}: {event:?}", self.address),
                // The values came from the server itself: there is no main gateway.
                CallOutput::Gateway(_) => {}
                CallOutput::Timeout(at) => {
                    // The server sends nothing to an address that it has heard nothing from.
                    if let Some(ping) = self.media.as_mut().and_then(|(.., keepalive)| keepalive.poll(now)) {
                        self.send(now, &ping.request(), core, datagrams);
                    }
                    return at;
                }
            }
        }
    }

    fn send(&self, now: Instant, datagram: &[u8], core: &mut Core, datagrams: &mut Datagrams) {
        let sink = &mut |to, answer: &[u8]| datagrams.push_back((to, answer.to_vec()));
        core.handle_datagram(now, self.address, &mut datagram.to_vec(), sink);
    }

    /// Takes a datagram: for the call while it discovers its own address, for the receiver from then on.
    fn receive(&mut self, now: Instant, datagram: &mut [u8]) {
        let Some((_, receiver, _)) = &mut self.media else {
            return self.call.handle_input(now, CallInput::Datagram(datagram));
        };
        // What is not authentic is counted by the receiver, and nothing of it is kept.
        let _ = receiver.open(now, datagram);
        while let Some(playout) = receiver.next_frame(now) {
            self.heard += usize::from(matches!(playout.content, Content::Frame { .. }));
        }
    }
}

/// Lets everything happen that can happen now. Returns when somebody wants to be woken.
fn settle(now: Instant, core: &mut Core, callers: &mut [Caller], datagrams: &mut Datagrams) -> Option<Instant> {
    loop {
        let calls = callers.iter_mut().filter_map(|caller| caller.drain(now, core, datagrams)).min();
        if let Some((to, mut datagram)) = datagrams.pop_front() {
            callers.iter_mut().filter(|c| c.address == to).for_each(|c| c.receive(now, &mut datagram));
            continue;
        }
        match core.poll_output() {
            Output::Text { connection, text } => {
                let input = CallInput::Ws(voice_ws::Input::Text(&text));
                let caller = callers.iter_mut().find(|caller| caller.connection == connection);
                caller.expect("nobody else connected").call.handle_input(now, input);
            }
            Output::Binary { connection, bytes } => {
                let input = CallInput::Ws(voice_ws::Input::Binary(&bytes));
                let caller = callers.iter_mut().find(|caller| caller.connection == connection);
                caller.expect("nobody else connected").call.handle_input(now, input);
            }
            Output::Timeout(at) => return calls.into_iter().chain(at).min(),
            _ => {}
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut song = open(DEMO.as_ref(), OpenOptions::default())?;
    let (mut frame, mut packet, mut datagrams, mut sent) = (FrameBuf::new(), PacketBuf::new(), Datagrams::new(), 0);
    #[expect(clippy::disallowed_methods, reason = "time has to begin somewhere; from here on it is counted")]
    let began = Instant::now();
    let (mut now, mut next_frame) = (began, began + Duration::from_secs(1));
    let mut core = Core::new(now, CoreConfig::default(), [0; 32]);
    let mut callers = [Caller::new(now, &mut core, 1)?, Caller::new(now, &mut core, 2)?];
    callers[0].call.handle_input(now, CallInput::Command(CallCommand::Speak(true)));
    loop {
        let wakes_at = settle(now, &mut core, &mut callers, &mut datagrams);
        if now < next_frame {
            // Nothing more happens at this instant: on to the next one that matters. A real driver sleeps here.
            now = wakes_at.map_or(next_frame, |at| at.clamp(now, next_frame));
            core.handle_timeout(now, &mut |to, datagram| datagrams.push_back((to, datagram.to_vec())));
            callers.iter_mut().for_each(|caller| caller.call.handle_input(now, CallInput::Timeout));
            continue;
        }
        if !song.read_frame(&mut frame)? {
            break;
        }
        let (sender, ..) = callers[0].media.as_mut().ok_or("a second was not enough to join")?;
        let datagram = sender.seal(frame.as_slice(), &mut packet)?;
        callers[0].send(now, datagram, &mut core, &mut datagrams);
        (sent, next_frame) = (sent + 1, now + FRAME_DURATION);
    }
    callers.iter_mut().for_each(|caller| caller.call.handle_input(now, CallInput::Command(CallCommand::Leave)));
    settle(now, &mut core, &mut callers, &mut datagrams);
    println!("{sent} frames sent and {} heard in {:?} of the example's own time", callers[1].heard, now - began);
    Ok(())
}

/// What the server sends to whom.
type Datagrams = VecDeque<(SocketAddr, Vec<u8>)>;
const DEMO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../assets/demo.opus");
