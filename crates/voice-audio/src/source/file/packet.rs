//! What a reader of a container hands on.

use symphonia::core::packet::Packet as Coded;
use symphonia::core::units::{Duration, Timestamp};

/// One packet of the codec.
pub(super) struct Packet {
    pub(super) coded: Coded,
    /// Samples per channel of its end that are not heard.
    pub(super) trim_end: u64,
    /// The page of Ogg it ends on.
    pub(super) page: Option<Page>,
}

/// What a page of Ogg states about the packets that end on it.
#[derive(Clone, Copy)]
pub(super) struct Page {
    /// The position in the stream after the page, if it tells.
    pub(super) granule: Option<u64>,
    /// The stream ends with it.
    pub(super) last: bool,
    /// The packet is the last that ends on it.
    pub(super) closes: bool,
}

impl Packet {
    pub(super) fn new(data: impl Into<Box<[u8]>>) -> Self {
        Self::from_coded(Coded::new(0, Timestamp::ZERO, Duration::ZERO, data))
    }

    /// A packet whose decoder has to be told how many samples per channel are in it.
    pub(super) fn lasting(data: impl Into<Box<[u8]>>, samples: u64) -> Self {
        Self::from_coded(Coded::new(0, Timestamp::ZERO, Duration::new(samples), data))
    }

    pub(super) const fn from_coded(coded: Coded) -> Self {
        Self { coded, trim_end: 0, page: None }
    }

    pub(super) fn data(&self) -> &[u8] {
        &self.coded.data
    }
}
