//! Writing packets as they were read.

use super::super::feedback::{APPLICATION_LAYER, FULL_INTRA, GENERIC_NACK, PICTURE_LOSS, SLICE_LOSS, TRANSPORT_CC};
use super::super::{
    APPLICATION, GOODBYE, PAYLOAD_FEEDBACK, Packet, PayloadMessage, RECEIVER_REPORT, SENDER_REPORT, SOURCE_DESCRIPTION,
    TRANSPORT_FEEDBACK, TransportMessage,
};
use super::body::Body;
use super::{WriteError, count, put_application};
use crate::number::Ssrc;

pub(super) fn put_packet(body: &mut Body<'_>, packet: &Packet<'_>) -> Result<(), WriteError> {
    let put_ssrcs = |body: &mut Body<'_>, sender: Ssrc, media: Ssrc| {
        body.put(&sender.get().to_be_bytes())?;
        body.put(&media.get().to_be_bytes())
    };
    match packet {
        Packet::SenderReport(report) => {
            body.put(&report.ssrc.get().to_be_bytes())?;
            body.put(&report.info.to_bytes())?;
            body.put(report.reports.as_bytes())?;
            body.put(report.profile_extension)
        }
        Packet::ReceiverReport(report) => {
            body.put(&report.ssrc.get().to_be_bytes())?;
            body.put(report.reports.as_bytes())?;
            body.put(report.profile_extension)
        }
        Packet::SourceDescription(description) => body.put(description.parts().1),
        Packet::Goodbye(goodbye) => {
            let (sources, reason) = goodbye.parts();
            body.put(sources)?;
            body.put(reason)
        }
        Packet::Application(application) => put_application(body, application),
        Packet::TransportFeedback(feedback) => {
            put_ssrcs(body, feedback.sender, feedback.media)?;
            match feedback.message {
                TransportMessage::Nack(nack) => body.put(nack.as_bytes()),
                TransportMessage::CongestionControl(feedback) => {
                    let (start, rest) = feedback.parts();
                    body.put(&start)?;
                    body.put(rest)
                }
                TransportMessage::Other { fci, .. } => body.put(fci),
            }
        }
        Packet::PayloadFeedback(feedback) => {
            put_ssrcs(body, feedback.sender, feedback.media)?;
            match feedback.message {
                PayloadMessage::PictureLoss => Ok(()),
                PayloadMessage::SliceLoss(losses) => body.put(losses.as_bytes()),
                PayloadMessage::FullIntra(requests) => body.put(requests.as_bytes()),
                PayloadMessage::Remb(remb) => {
                    let (start, sources) = remb.parts();
                    body.put(&start)?;
                    body.put(sources)
                }
                PayloadMessage::Other { fci, .. } => body.put(fci),
            }
        }
        Packet::Other(other) => body.put(other.body),
    }
}

/// The type of a packet and the five bits of its first byte.
pub(super) fn kind_and_count(packet: &Packet<'_>) -> Result<(u8, u8), WriteError> {
    Ok(match packet {
        Packet::SenderReport(report) => (SENDER_REPORT, count(report.reports.len())?),
        Packet::ReceiverReport(report) => (RECEIVER_REPORT, count(report.reports.len())?),
        Packet::SourceDescription(description) => (SOURCE_DESCRIPTION, description.parts().0),
        Packet::Goodbye(goodbye) => (GOODBYE, count(goodbye.count())?),
        Packet::Application(application) => (APPLICATION, application.subtype),
        Packet::TransportFeedback(feedback) => {
            let format = match feedback.message {
                TransportMessage::Nack(_) => GENERIC_NACK,
                TransportMessage::CongestionControl(_) => TRANSPORT_CC,
                TransportMessage::Other { format, .. } => format,
            };
            (TRANSPORT_FEEDBACK, format)
        }
        Packet::PayloadFeedback(feedback) => {
            let format = match feedback.message {
                PayloadMessage::PictureLoss => PICTURE_LOSS,
                PayloadMessage::SliceLoss(_) => SLICE_LOSS,
                PayloadMessage::FullIntra(_) => FULL_INTRA,
                PayloadMessage::Remb(_) => APPLICATION_LAYER,
                PayloadMessage::Other { format, .. } => format,
            };
            (PAYLOAD_FEEDBACK, format)
        }
        Packet::Other(other) => (other.packet_type, other.count),
    })
}
