//! A voice server on real sockets, for two: WebSockets are those of tungstenite, what the delivery service proposes is
//! made and signed by openmls, packets and their encryption are those of the foreign client.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures_util::{SinkExt, StreamExt};
use openmls::prelude::tls_codec::{DeserializeBytes, Serialize, VLBytes};
use openmls::prelude::{
    BasicCredential, Ciphersuite, ContentType, ExternalProposal, ExternalSender, GroupEpoch, GroupId, KeyPackage,
    KeyPackageIn, MlsMessageIn, OpenMlsProvider, ProtocolMessage, ProtocolVersion, SenderExtensionIndex, Welcome,
};
use openmls_basic_credential::SignatureKeyPair;
use openmls_rust_crypto::OpenMlsRustCrypto;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use super::media::{Cipher, MODE, is_media, ssrc};
use super::session::snowflake;

/// What is known of a server from outside.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Who made the commits that won, in their order.
    pub committers: Vec<u64>,
    /// Transitions for which all were ready.
    pub executed: u64,
    /// Who could not follow (op 31).
    pub invalid: Vec<u64>,
    /// Packets that were handed on.
    pub forwarded: u64,
    /// Frames in them that do not end as frames of DAVE do.
    pub plain: u64,
}

/// A running server. Its tasks end with it.
pub struct Server {
    pub authority: String,
    stats: watch::Receiver<Stats>,
    tasks: [JoinHandle<()>; 2],
}

impl Server {
    /// A server of one channel, which does not see what this user commits.
    pub async fn bind(channel: u64, unseen: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (inbound, queue) = mpsc::unbounded_channel();
        let (news, stats) = watch::channel(Stats::default());
        let room = Room {
            udp,
            channel,
            unseen,
            provider: OpenMlsRustCrypto::default(),
            signer: SignatureKeyPair::new(SUITE.signature_algorithm()).unwrap(),
            clients: BTreeMap::new(),
            founded: false,
            transition: 0,
            stats: news,
        };
        let tasks = [tokio::spawn(accept(listener, inbound)), tokio::spawn(room.run(queue))];
        Self { authority, stats, tasks }
    }

    pub fn stats(&self) -> Stats {
        assert!(!self.tasks.iter().any(JoinHandle::is_finished), "the server goes on");
        self.stats.borrow().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

enum Inbound {
    Opened(mpsc::UnboundedSender<Message>),
    Message(Message),
    Closed,
}

async fn accept(listener: TcpListener, inbound: mpsc::UnboundedSender<(u32, Inbound)>) {
    let mut connections = tokio::task::JoinSet::new();
    for number in 1.. {
        let (tcp, _) = listener.accept().await.unwrap();
        connections.spawn(serve(number, tcp, inbound.clone()));
    }
}

async fn serve(number: u32, tcp: TcpStream, inbound: mpsc::UnboundedSender<(u32, Inbound)>) {
    let mut ws = tokio_tungstenite::accept_async(tcp).await.unwrap();
    let (outbox, mut outgoing) = mpsc::unbounded_channel();
    let _ = inbound.send((number, Inbound::Opened(outbox)));
    loop {
        tokio::select! {
            message = ws.next() => match message {
                Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                    let _ = inbound.send((number, Inbound::Message(message)));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
            Some(message) = outgoing.recv() => {
                if ws.send(message).await.is_err() {
                    break;
                }
            }
        }
    }
    let _ = inbound.send((number, Inbound::Closed));
}

struct Client {
    outbox: mpsc::UnboundedSender<Message>,
    /// The number of its next message that has one.
    sequence: u16,
    user: u64,
    media: Option<SocketAddr>,
    cipher: Cipher,
    key: [u8; 32],
    speaking: Option<Value>,
    package: Option<KeyPackage>,
    ready: bool,
}

impl Client {
    fn say(&self, opcode: u8, data: &Value) {
        let _ = self.outbox.send(Message::text(json!({ "op": opcode, "d": data }).to_string()));
    }

    fn say_numbered(&mut self, opcode: u8, data: &Value) {
        let message = json!({ "op": opcode, "d": data, "seq": self.number() });
        let _ = self.outbox.send(Message::text(message.to_string()));
    }

    fn say_binary(&mut self, opcode: u8, payload: &[u8]) {
        let number = self.number().to_be_bytes();
        let _ = self.outbox.send(Message::binary([&number, &[opcode][..], payload].concat()));
    }

    fn number(&mut self) -> u16 {
        let number = self.sequence;
        self.sequence = number.wrapping_add(1);
        number
    }
}

struct Room {
    udp: UdpSocket,
    channel: u64,
    unseen: u64,
    provider: OpenMlsRustCrypto,
    signer: SignatureKeyPair,
    /// By SSRC, which is the number of the connection.
    clients: BTreeMap<u32, Client>,
    founded: bool,
    transition: u16,
    stats: watch::Sender<Stats>,
}

impl Room {
    async fn run(mut self, mut queue: mpsc::UnboundedReceiver<(u32, Inbound)>) {
        let mut datagram = [0; 2048];
        loop {
            tokio::select! {
                Some((number, inbound)) = queue.recv() => match inbound {
                    Inbound::Opened(outbox) => self.open(number, outbox),
                    Inbound::Message(Message::Text(text)) => self.text(number, &serde_json::from_str(&text).unwrap()),
                    Inbound::Message(Message::Binary(bytes)) => self.binary(number, &bytes),
                    Inbound::Message(other) => panic!("{other:?}"),
                    Inbound::Closed => self.close(number),
                },
                received = self.udp.recv_from(&mut datagram) => {
                    let (len, from) = received.unwrap();
                    self.datagram(&datagram[..len], from).await;
                }
            }
        }
    }

    fn open(&mut self, number: u32, outbox: mpsc::UnboundedSender<Message>) {
        let key = std::array::from_fn(|at| at as u8 ^ number.to_le_bytes()[at % 4].wrapping_mul(151));
        let client = Client {
            outbox,
            sequence: 0,
            user: 0,
            media: None,
            cipher: Cipher::new(key),
            key,
            speaking: None,
            package: None,
            ready: false,
        };
        client.say(8, &json!({ "v": 8, "heartbeat_interval": 13_750 }));
        self.clients.insert(number, client);
    }

    /// A client, and the other one if it is there.
    fn pair(&mut self, number: u32) -> (&mut Client, Option<&mut Client>) {
        let (mut this, mut other) = (None, None);
        for (ssrc, client) in &mut self.clients {
            if *ssrc == number {
                this = Some(client);
            } else {
                assert!(other.replace(client).is_none(), "a server for two");
            }
        }
        (this.expect("a client"), other)
    }

    fn text(&mut self, number: u32, message: &Value) {
        let data = &message["d"];
        let port = self.udp.local_addr().unwrap().port();
        let sender = self.external_sender();
        let (this, other) = self.pair(number);
        match message["op"].as_u64() {
            Some(0) => {
                assert_eq!(data["max_dave_protocol_version"], 1);
                this.user = snowflake(&data["user_id"]);
                this.say(2, &json!({ "ssrc": number, "ip": "127.0.0.1", "port": port, "modes": [MODE] }));
            }
            Some(1) => {
                assert_eq!((&data["protocol"], &data["data"]["mode"]), (&json!("udp"), &json!(MODE)));
                this.say(4, &json!({ "mode": MODE, "secret_key": this.key, "dave_protocol_version": 1 }));
                this.say_binary(25, &sender);
                if let Some(other) = other {
                    this.say_numbered(11, &json!({ "user_ids": [other.user.to_string()] }));
                    other.say_numbered(11, &json!({ "user_ids": [this.user.to_string()] }));
                    if let Some(speaking) = &other.speaking {
                        this.say_numbered(5, speaking);
                    }
                }
            }
            Some(3) => this.say(6, &json!({ "t": data["t"] })),
            Some(5) => {
                let speaking =
                    json!({ "speaking": data["speaking"], "ssrc": number, "user_id": this.user.to_string() });
                this.speaking = Some(speaking.clone());
                if let Some(other) = other {
                    other.say_numbered(5, &speaking);
                }
            }
            Some(23) => {
                this.ready = true;
                if let Some(other) = other.filter(|other| other.ready) {
                    for client in [this, other] {
                        client.ready = false;
                        client.say_numbered(22, data);
                    }
                    self.stats.send_modify(|stats| stats.executed += 1);
                }
            }
            Some(31) => {
                let user = this.user;
                self.stats.send_modify(|stats| stats.invalid.push(user));
            }
            _ => {}
        }
    }

    fn binary(&mut self, number: u32, message: &[u8]) {
        match message {
            [26, package @ ..] => {
                let package = KeyPackageIn::tls_deserialize_exact_bytes(package).unwrap();
                let package = package.validate(self.provider.crypto(), ProtocolVersion::Mls10).unwrap();
                let (this, _) = self.pair(number);
                assert_eq!(package.leaf_node().credential().serialized_content(), this.user.to_be_bytes());
                this.package = Some(package);
                self.propose(number);
            }
            [28, payload @ ..] => self.commit(number, payload),
            other => panic!("{other:?}"),
        }
    }

    /// Either is told to add the other one, each in its own group, of which the first commit makes that of both.
    fn propose(&mut self, number: u32) {
        let adds: Vec<_> = {
            let (this, other) = self.pair(number);
            let Some(other) = other else { return };
            let (Some(ours), Some(theirs)) = (&this.package, &other.package) else { return };
            vec![(this.user, theirs.clone()), (other.user, ours.clone())]
        };
        assert!(!self.founded, "a server for two");
        for (user, package) in adds {
            let message = ExternalProposal::new_add::<OpenMlsRustCrypto>(
                package,
                GroupId::from_slice(&self.channel.to_be_bytes()),
                GroupEpoch::from(0),
                &self.signer,
                SenderExtensionIndex::new(0),
            );
            let message = message.unwrap().tls_serialize_detached().unwrap();
            let proposals = VLBytes::new(message).tls_serialize_detached().unwrap();
            let client = self.clients.values_mut().find(|client| client.user == user).unwrap();
            client.say_binary(27, &[&[0], proposals.as_slice()].concat());
        }
    }

    fn commit(&mut self, number: u32, payload: &[u8]) {
        let (message, welcome) = MlsMessageIn::tls_deserialize_bytes(payload).unwrap();
        let commit = &payload[..payload.len() - welcome.len()];
        let message = message.try_into_protocol_message().unwrap();
        let group = GroupId::from_slice(&self.channel.to_be_bytes());
        assert!(matches!(message, ProtocolMessage::PublicMessage(_)));
        assert_eq!((message.group_id(), message.content_type()), (&group, ContentType::Commit));
        assert_eq!(message.epoch(), GroupEpoch::from(0));
        let secrets = Welcome::tls_deserialize_exact_bytes(welcome).unwrap();
        let crypto = OpenMlsRustCrypto::default();
        let (unseen, founded, transition) = (self.unseen, self.founded, self.transition + 1);
        let (this, other) = self.pair(number);
        let (user, Some(other)) = (this.user, other) else { return };
        if founded || user == unseen {
            return;
        }
        let added = other.package.take().unwrap().hash_ref(crypto.crypto()).unwrap();
        assert_eq!(secrets.secrets().iter().map(|it| it.new_member()).collect::<Vec<_>>(), [added]);
        this.package = None;
        this.say_binary(29, &[&transition.to_be_bytes(), commit].concat());
        other.say_binary(30, &[&transition.to_be_bytes(), welcome].concat());
        (self.founded, self.transition) = (true, transition);
        self.stats.send_modify(|stats| stats.committers.push(user));
    }

    /// Who stays alone begins anew.
    fn close(&mut self, number: u32) {
        let gone = self.clients.remove(&number).expect("a client").user.to_string();
        self.founded = false;
        for client in self.clients.values_mut() {
            (client.package, client.ready) = (None, false);
            client.say_numbered(13, &json!({ "user_id": gone }));
            client.say_numbered(24, &json!({ "protocol_version": 1, "epoch": 1 }));
            client.say_numbered(21, &json!({ "protocol_version": 1, "transition_id": 0 }));
        }
    }

    async fn datagram(&mut self, datagram: &[u8], from: SocketAddr) {
        match datagram {
            [0, 1, 0, 70, a, b, c, d, ..] if datagram.len() == 74 => {
                let Some(client) = self.clients.get_mut(&u32::from_be_bytes([*a, *b, *c, *d])) else { return };
                client.media = Some(from);
                let mut answer = datagram.to_vec();
                answer[1] = 2;
                let address = from.ip().to_string();
                answer[8..8 + address.len()].copy_from_slice(address.as_bytes());
                answer[72..].copy_from_slice(&from.port().to_be_bytes());
                self.udp.send_to(&answer, from).await.unwrap();
            }
            [0x13, 0x37, 0xCA, 0xFE, number @ ..] if number.len() == 4 => {
                self.udp.send_to(&[&[0x13, 0x37, 0xF0, 0x0D], number].concat(), from).await.unwrap();
            }
            _ if is_media(datagram) => {
                let (this, other) = self.pair(ssrc(datagram));
                assert!(this.speaking.is_some() && this.media == Some(from));
                let packet = this.cipher.open(datagram).expect("an authentic packet");
                let Some((other, to)) = other.and_then(|other| other.media.map(|to| (other, to))) else { return };
                let sealed = other.cipher.seal(&packet);
                self.udp.send_to(&sealed, to).await.unwrap();
                self.stats.send_modify(|stats| {
                    stats.forwarded += 1;
                    stats.plain += u64::from(!packet.payload.ends_with(&[0xFA, 0xFA]));
                });
            }
            _ => {}
        }
    }

    fn external_sender(&self) -> Vec<u8> {
        let credential = BasicCredential::new(vec![0, 1, 1, 0]).into();
        ExternalSender::new(self.signer.to_public_vec().into(), credential).tls_serialize_detached().unwrap()
    }
}

const SUITE: Ciphersuite = Ciphersuite::MLS_128_DHKEMP256_AES128GCM_SHA256_P256;
