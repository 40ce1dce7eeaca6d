//! A voice client on real sockets: its WebSocket is that of tungstenite, its packets are those of webrtc-rs, its
//! encryption is that of RustCrypto and davey.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

use super::media::{Cipher, MODE, Sequence, is_media, ssrc};
use super::session::{Answer, Session, snowflake};

/// What the main gateway would have said.
pub struct Credentials {
    /// Host and port.
    pub authority: String,
    pub server: u64,
    pub channel: u64,
    pub user: u64,
    pub session: String,
    pub token: String,
}

/// What is known of a client from outside.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Members of the group by whose key it speaks, none before there is one.
    pub members: BTreeSet<u64>,
    pub privacy_code: Option<String>,
    pub commits_won: u64,
    pub welcomes: u64,
    pub recoveries: u64,
    /// Frames that were sent, all of them end-to-end encrypted.
    pub sent: u64,
    /// Frames that davey opened.
    pub opened: u64,
    /// What came and is nothing that davey opens, and why.
    pub refused: Vec<String>,
}

/// Frames of others, with who spoke.
pub type Heard = mpsc::UnboundedReceiver<(u64, Vec<u8>)>;

/// A client in a call. Its task ends with it.
pub struct Client {
    status: watch::Receiver<Status>,
    commands: mpsc::UnboundedSender<Command>,
    task: JoinHandle<()>,
}

enum Command {
    /// Speaks frame after frame, one in 20 ms, until the iterator ends.
    Speak(Box<dyn Iterator<Item = Vec<u8>> + Send>),
    Leave,
}

impl Client {
    /// Joins, up to the session description. What follows happens in its task.
    pub async fn join(credentials: Credentials) -> (Self, Heard) {
        let (news, status) = watch::channel(Status::default());
        let (hear, heard) = mpsc::unbounded_channel();
        let (commands, orders) = mpsc::unbounded_channel();
        let call = Call::connect(credentials, news, hear).await;
        (Self { status, commands, task: tokio::spawn(call.run(orders)) }, heard)
    }

    pub fn speak(&self, frames: impl Iterator<Item = Vec<u8>> + Send + 'static) {
        self.commands.send(Command::Speak(Box::new(frames))).expect("the client is there");
    }

    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// Closes its WebSocket, and says what was known at the end.
    pub async fn leave(mut self) -> Status {
        self.commands.send(Command::Leave).expect("the client is there");
        (&mut self.task).await.expect("no panic");
        self.status()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Call {
    ws: WebSocketStream<TcpStream>,
    udp: UdpSocket,
    heartbeat: Duration,
    /// Of the last message that had one.
    sequence: Option<u64>,
    cipher: Cipher,
    outgoing: Sequence,
    speakers: BTreeMap<u32, u64>,
    /// Datagrams of those of whom it is not yet known who they are: it comes by another way.
    unknown: Vec<Vec<u8>>,
    session: Session,
    status: watch::Sender<Status>,
    hear: mpsc::UnboundedSender<(u64, Vec<u8>)>,
}

impl Call {
    async fn connect(
        credentials: Credentials,
        status: watch::Sender<Status>,
        hear: mpsc::UnboundedSender<(u64, Vec<u8>)>,
    ) -> Self {
        let Credentials { authority, server, channel, user, session, token } = credentials;
        let tcp = TcpStream::connect(&authority).await.unwrap();
        let (ws, _) = tokio_tungstenite::client_async(format!("ws://{authority}/?v=8"), tcp).await.unwrap();
        let mut call = Self {
            ws,
            udp: UdpSocket::bind("127.0.0.1:0").await.unwrap(),
            heartbeat: Duration::ZERO,
            sequence: None,
            cipher: Cipher::new([0; 32]),
            outgoing: Sequence::new(0),
            speakers: BTreeMap::new(),
            unknown: Vec::new(),
            session: Session::new(user, channel),
            status,
            hear,
        };
        let hello = call.await_op(8).await;
        call.heartbeat = Duration::from_millis(hello["heartbeat_interval"].as_f64().unwrap() as u64);
        call.say(&json!({ "op": 0, "d": {
            "server_id": server.to_string(), "user_id": user.to_string(), "session_id": session, "token": token,
            "max_dave_protocol_version": 1,
        } }))
        .await;
        let ready = call.await_op(2).await;
        let ssrc: u32 = ready["ssrc"].as_u64().unwrap().try_into().unwrap();
        assert!(ready["modes"].as_array().unwrap().contains(&json!(MODE)));
        let media = format!("{}:{}", ready["ip"].as_str().unwrap(), ready["port"]);
        call.udp.connect(media.parse::<SocketAddr>().unwrap()).await.unwrap();
        call.outgoing = Sequence::new(ssrc);
        let (address, port) = call.discover(ssrc).await;
        call.say(&json!({ "op": 1, "d": {
            "protocol": "udp", "data": { "address": address, "port": port, "mode": MODE },
        } }))
        .await;
        let description = call.await_op(4).await;
        assert_eq!((&description["mode"], &description["dave_protocol_version"]), (&json!(MODE), &json!(1)));
        let key: Vec<_> =
            description["secret_key"].as_array().unwrap().iter().map(|it| it.as_u64().unwrap() as u8).collect();
        call.cipher = Cipher::new(key.try_into().unwrap());
        call.say(&json!({ "op": 5, "d": { "speaking": 1, "delay": 0, "ssrc": ssrc } })).await;
        call.ping().await;
        call
    }

    async fn discover(&self, ssrc: u32) -> (String, u16) {
        let mut request = [0; 74];
        request[..4].copy_from_slice(&[0, 1, 0, 70]);
        request[4..8].copy_from_slice(&ssrc.to_be_bytes());
        self.udp.send(&request).await.unwrap();
        let mut answer = [0; 1500];
        let len = self.udp.recv(&mut answer).await.unwrap();
        assert_eq!((len, &answer[..4], &answer[4..8]), (74, &[0, 2, 0, 70][..], &request[4..8]));
        let address = answer[8..72].split(|byte| *byte == 0).next().unwrap();
        (String::from_utf8(address.to_vec()).unwrap(), u16::from_be_bytes([answer[72], answer[73]]))
    }

    /// Nothing is sent to a client of which no datagram came.
    async fn ping(&self) {
        self.udp.send(&[0x13, 0x37, 0xCA, 0xFE, 0, 0, 0, 1]).await.unwrap();
        let mut answer = [0; 1500];
        while self.udp.recv(&mut answer).await.unwrap() != 8 || answer[..4] != [0x13, 0x37, 0xF0, 0x0D] {}
    }

    /// Handles messages up to one with this opcode, whose data it is.
    async fn await_op(&mut self, opcode: u64) -> Value {
        loop {
            let message = self.ws.next().await.expect("the server goes on").unwrap();
            let text = self.handle(message).await;
            if let Some(text) = text.filter(|text| text["op"] == opcode) {
                return text["d"].clone();
            }
        }
    }

    /// Handles a message, and returns it if it is one in JSON.
    async fn handle(&mut self, message: Message) -> Option<Value> {
        let text = match message {
            Message::Text(text) => {
                let message: Value = serde_json::from_str(text.as_str()).unwrap();
                self.sequence = message["seq"].as_u64().or(self.sequence);
                if message["op"] == 5 {
                    let ssrc = message["d"]["ssrc"].as_u64().unwrap().try_into().unwrap();
                    self.speakers.insert(ssrc, snowflake(&message["d"]["user_id"]));
                    for datagram in std::mem::take(&mut self.unknown) {
                        self.hear(&datagram);
                    }
                }
                self.session.handle_text(&message);
                Some(message)
            }
            Message::Binary(bytes) => {
                self.sequence = Some(u64::from(u16::from_be_bytes([bytes[0], bytes[1]])));
                self.session.handle_binary(&bytes);
                None
            }
            Message::Ping(_) => None,
            other => panic!("{other:?}"),
        };
        for answer in self.session.answers() {
            let message = match answer {
                Answer::Text(text) => Message::text(text),
                Answer::Binary(bytes) => Message::binary(bytes),
            };
            self.ws.send(message).await.unwrap();
        }
        let Session { dave, version, commits_won, welcomes, recoveries, .. } = &self.session;
        self.status.send_modify(|status| {
            let encrypts = *version == Some(1) && dave.can_encrypt();
            status.members = dave.get_user_ids().filter(|_| encrypts).unwrap_or_default().into_iter().collect();
            status.privacy_code = dave.voice_privacy_code().map(str::to_owned);
            (status.commits_won, status.welcomes, status.recoveries) = (*commits_won, *welcomes, *recoveries);
        });
        text
    }

    async fn say(&mut self, message: &Value) {
        self.ws.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut beat = tokio::time::interval(self.heartbeat);
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut speech: Option<Box<dyn Iterator<Item = Vec<u8>> + Send>> = None;
        let mut datagram = [0; 2048];
        loop {
            tokio::select! {
                message = self.ws.next() => {
                    self.handle(message.expect("the server goes on").unwrap()).await;
                }
                received = self.udp.recv(&mut datagram) => self.hear(&datagram[..received.unwrap()]),
                _ = beat.tick() => {
                    let beat = json!({ "op": 3, "d": { "t": 7, "seq_ack": self.sequence.map_or(-1, u64::cast_signed) } });
                    self.say(&beat).await;
                }
                _ = tick.tick(), if speech.is_some() && self.can_speak() => {
                    match speech.as_mut().and_then(Iterator::next) {
                        Some(frame) => self.speak(&frame).await,
                        None => speech = None,
                    }
                }
                command = commands.recv() => match command {
                    Some(Command::Speak(frames)) => speech = Some(frames),
                    Some(Command::Leave) | None => {
                        let close = CloseFrame { code: CloseCode::Normal, reason: "".into() };
                        self.ws.close(Some(close)).await.unwrap();
                        return;
                    }
                }
            }
        }
    }

    fn can_speak(&self) -> bool {
        self.session.version == Some(1) && self.session.dave.can_encrypt()
    }

    async fn speak(&mut self, frame: &[u8]) {
        let sealed = self.session.seal(frame).expect("a key");
        assert!(sealed.len() > frame.len() && sealed.ends_with(&[0xFA, 0xFA]), "a frame of DAVE");
        let packet = self.outgoing.packet(sealed);
        self.udp.send(&self.cipher.seal(&packet)).await.unwrap();
        self.status.send_modify(|status| status.sent += 1);
    }

    fn hear(&mut self, datagram: &[u8]) {
        if !is_media(datagram) {
            return;
        }
        if !self.speakers.contains_key(&ssrc(datagram)) {
            assert!(self.unknown.len() < 100, "nobody says who speaks");
            self.unknown.push(datagram.to_vec());
            return;
        }
        let opened = self.open(datagram);
        self.status.send_modify(|status| match opened {
            Ok(heard) => {
                status.opened += 1;
                // Whoever does not want to know what is heard has dropped it.
                let _ = self.hear.send(heard);
            }
            Err(why) => status.refused.push(why),
        });
    }

    fn open(&mut self, datagram: &[u8]) -> Result<(u64, Vec<u8>), String> {
        let packet = self.cipher.open(datagram).ok_or("not authentic on the way")?;
        let user = self.speakers[&packet.header.ssrc];
        let frame = self.session.dave.decrypt(user, davey::MediaType::AUDIO, &packet.payload);
        let frame = frame.map_err(|error| format!("of {user}: {error}: {:02x?}", &packet.payload[..]))?;
        // davey passes silence on as it is, encrypted or not.
        if frame.as_slice() == &packet.payload[..] {
            return Err(format!("of {user}: not encrypted"));
        }
        Ok((user, frame))
    }
}
