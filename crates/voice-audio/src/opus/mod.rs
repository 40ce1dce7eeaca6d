//! Opus: the grammar of its packets, and the codec behind types of our own.

mod packet;

pub use packet::{
    Bandwidth, MAX_OPUS_FRAME_LEN, MAX_PACKET_FRAMES, MAX_PACKET_SAMPLES, Mode, Packet, PacketError, Toc,
};
