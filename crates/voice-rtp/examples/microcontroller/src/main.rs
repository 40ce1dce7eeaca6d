#![no_std]
#![no_main]

use cortex_m_rt::entry;
use voice_rtp::{Kind, Packet, Reception, Ssrc, Timestamp, Verdict, classify};

mod board;

#[entry]
fn main() -> ! {
    let mut stream = Reception::new(Ssrc::new(369_020));
    let mut buffer = [0; 2_048];
    loop {
        let (datagram, arrival) = board::receive(&mut buffer);
        if let Some(opus) = opus(datagram, arrival, &mut stream) {
            board::play(opus);
        }
    }
}

/// The Opus frame of a (decrypted) datagram, if it is of the stream and not late.
fn opus<'a>(datagram: &'a [u8], arrival: Timestamp, stream: &mut Reception) -> Option<&'a [u8]> {
    if classify(datagram) != Kind::Rtp {
        return None;
    }
    let packet = Packet::parse(datagram).ok().filter(|packet| packet.header().ssrc == stream.ssrc())?;
    let verdict = stream.receive(packet.header().sequence, packet.header().timestamp, arrival);
    matches!(verdict, Verdict::InOrder | Verdict::Restart).then(|| packet.payload())
}
