//! Writing feedback.

use super::super::feedback::{
    APPLICATION_LAYER, FULL_INTRA, GENERIC_NACK, PICTURE_LOSS, SLICE_LOSS, TRANSPORT_CC, remb_from_bitrate,
};
use super::super::{
    IntraRequest, NackPair, PAYLOAD_FEEDBACK, SliceLoss, TRANSPORT_FEEDBACK, TransportCcInfo, transport_cc,
};
use super::body::Body;
use super::{CompoundWriter, WriteError};
use crate::number::Ssrc;

impl CompoundWriter<'_> {
    /// Writes that `sender` misses packets of `media`: RFC 4585, section 6.2.1.
    ///
    /// [`NackPair::pack`] makes pairs of numbers.
    ///
    /// # Errors
    ///
    /// [`WriteError::Empty`] without a pair; see [`WriteError`] for the rest.
    pub fn nack(
        &mut self,
        sender: Ssrc,
        media: Ssrc,
        pairs: impl IntoIterator<Item = NackPair>,
    ) -> Result<(), WriteError> {
        self.feedback(TRANSPORT_FEEDBACK, GENERIC_NACK, sender, media, |body| {
            body.put_all(pairs.into_iter().map(|pair| Ok(pair.to_bytes())))
        })
    }

    /// Writes which packets arrived when, as in [`Arrival`](crate::rtcp::Arrival): one entry of `deltas_ticks`
    /// for each packet from the first number on.
    ///
    /// # Errors
    ///
    /// [`WriteError::TooMany`] for more than 65 535 packets, [`WriteError::OutOfRange`] for a
    /// reference time beyond 24 bits; see [`WriteError`] for the rest.
    pub fn transport_cc(
        &mut self,
        sender: Ssrc,
        media: Ssrc,
        info: &TransportCcInfo,
        deltas_ticks: &[Option<i16>],
    ) -> Result<(), WriteError> {
        let status_count = u16::try_from(deltas_ticks.len()).map_err(|_| WriteError::TooMany)?;
        if !(-0x80_0000..=0x7F_FFFF).contains(&info.reference_time) {
            return Err(WriteError::OutOfRange);
        }
        self.feedback(TRANSPORT_FEEDBACK, TRANSPORT_CC, sender, media, |body| {
            body.put(&info.to_bytes(status_count))?;
            let mut left = deltas_ticks;
            while !left.is_empty() {
                let (chunk, len) = transport_cc::pack(left);
                body.put(&chunk.to_be_bytes())?;
                left = left.get(len..).unwrap_or_default();
            }
            for delta in deltas_ticks.iter().flatten() {
                match transport_cc::delta_bytes(*delta) {
                    ([_, low], true) => body.put(&[low])?,
                    (bytes, false) => body.put(&bytes)?,
                }
            }
            body.zeros(body.written().wrapping_neg() % 4)
        })
    }

    /// Writes that `sender` misses a picture of `media`: RFC 4585, section 6.3.1.
    ///
    /// # Errors
    ///
    /// See [`WriteError`].
    pub fn picture_loss(&mut self, sender: Ssrc, media: Ssrc) -> Result<(), WriteError> {
        self.feedback(PAYLOAD_FEEDBACK, PICTURE_LOSS, sender, media, |_| Ok(()))
    }

    /// Writes that `sender` misses parts of pictures of `media`: RFC 4585, section 6.3.2.
    ///
    /// # Errors
    ///
    /// [`WriteError::Empty`] without a part, [`WriteError::OutOfRange`] for numbers that have more
    /// bits than [`SliceLoss`] says; see [`WriteError`] for the rest.
    pub fn slice_loss(
        &mut self,
        sender: Ssrc,
        media: Ssrc,
        losses: impl IntoIterator<Item = SliceLoss>,
    ) -> Result<(), WriteError> {
        self.feedback(PAYLOAD_FEEDBACK, SLICE_LOSS, sender, media, |body| {
            body.put_all(losses.into_iter().map(|loss| loss.to_bytes().ok_or(WriteError::OutOfRange)))
        })
    }

    /// Writes that `sender` wants whole pictures: RFC 5104, section 4.3.1.
    ///
    /// # Errors
    ///
    /// [`WriteError::Empty`] without a request; see [`WriteError`] for the rest.
    pub fn full_intra(
        &mut self,
        sender: Ssrc,
        requests: impl IntoIterator<Item = IntraRequest>,
    ) -> Result<(), WriteError> {
        self.feedback(PAYLOAD_FEEDBACK, FULL_INTRA, sender, NO_MEDIA, |body| {
            body.put_all(requests.into_iter().map(|request| Ok(request.to_bytes())))
        })
    }

    /// Writes how much may be sent to `sender` over all of `sources`, in bits per second: "RTCP message
    /// for Receiver Estimated Maximum Bitrate", section 2.
    ///
    /// Of a bitrate with more than 18 bits the lowest are lost, so that never more is allowed.
    ///
    /// # Errors
    ///
    /// [`WriteError::TooMany`] for more than 255 sources; see [`WriteError`] for the rest.
    pub fn remb(&mut self, sender: Ssrc, bitrate: u64, sources: &[Ssrc]) -> Result<(), WriteError> {
        let count = u8::try_from(sources.len()).map_err(|_| WriteError::TooMany)?;
        self.feedback(PAYLOAD_FEEDBACK, APPLICATION_LAYER, sender, NO_MEDIA, |body| {
            body.put(&remb_from_bitrate(bitrate, count))?;
            sources.iter().try_for_each(|ssrc| body.put(&ssrc.get().to_be_bytes()))
        })
    }

    fn feedback(
        &mut self,
        kind: u8,
        format: u8,
        sender: Ssrc,
        media: Ssrc,
        fill: impl FnOnce(&mut Body<'_>) -> Result<(), WriteError>,
    ) -> Result<(), WriteError> {
        self.packet_of(kind, format, |body| {
            body.put(&sender.get().to_be_bytes())?;
            body.put(&media.get().to_be_bytes())?;
            fill(body)
        })
    }
}

/// RFC 5104, section 4.3.1.2: the media source of messages that name streams of their own.
const NO_MEDIA: Ssrc = Ssrc::new(0);
