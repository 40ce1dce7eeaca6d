//! Writing reports.

use core::fmt;

use super::{COUNT, HEADER_LEN, RECEIVER_REPORT, ReportBlock, SENDER_REPORT, SenderInfo, put};
use crate::header::VERSION;
use crate::number::Ssrc;

/// Writes a plain sender report to the start of `out` and returns its length, in bytes.
///
/// ```
/// use voice_rtp::Ssrc;
/// use voice_rtp::rtcp::{Packet, SenderInfo, packets, write_sender_report};
///
/// let info = SenderInfo { packet_count: 1_500, ..SenderInfo::default() };
/// let mut out = [0; 64];
/// let len = write_sender_report(Ssrc::new(7), &info, &[], &mut out)?;
/// assert_eq!(len, 28);
/// let Some(Ok(Packet::SenderReport(read))) = packets(&out[..len]).next() else { panic!() };
/// assert_eq!(read.info, info);
/// # Ok::<(), voice_rtp::rtcp::WriteError>(())
/// ```
///
/// # Errors
///
/// See [`WriteError`].
pub fn write_sender_report(
    ssrc: Ssrc,
    info: &SenderInfo,
    reports: &[ReportBlock],
    out: &mut [u8],
) -> Result<usize, WriteError> {
    let len = HEADER_LEN + 4 + SenderInfo::LEN + reports.len() * ReportBlock::LEN;
    let rest = write_start(SENDER_REPORT, ssrc, reports.len(), len, out)?;
    let (bytes, rest) = rest.split_first_chunk_mut::<{ SenderInfo::LEN }>().ok_or(WriteError::NoRoom)?;
    *bytes = info.to_bytes();
    write_reports(reports, rest);
    Ok(len)
}

/// Writes a plain receiver report to the start of `out` and returns its length, in bytes.
///
/// # Errors
///
/// See [`WriteError`].
pub fn write_receiver_report(ssrc: Ssrc, reports: &[ReportBlock], out: &mut [u8]) -> Result<usize, WriteError> {
    let len = HEADER_LEN + 4 + reports.len() * ReportBlock::LEN;
    let rest = write_start(RECEIVER_REPORT, ssrc, reports.len(), len, out)?;
    write_reports(reports, rest);
    Ok(len)
}

/// Why a report was not written.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum WriteError {
    /// The buffer is too small.
    NoRoom,
    /// There are more than 31 reports.
    TooManyReports,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRoom => "no room for the report",
            Self::TooManyReports => "more than 31 reports",
        })
    }
}

impl core::error::Error for WriteError {}

/// Writes the common header and the reporter; returns the room behind them.
fn write_start(kind: u8, ssrc: Ssrc, reports: usize, len: usize, out: &mut [u8]) -> Result<&mut [u8], WriteError> {
    let count = u8::try_from(reports).ok().filter(|&count| count <= COUNT).ok_or(WriteError::TooManyReports)?;
    let (start, rest) = out
        .get_mut(..len)
        .and_then(|out| out.split_first_chunk_mut::<{ HEADER_LEN + 4 }>())
        .ok_or(WriteError::NoRoom)?;
    // 31 reports are 193 words.
    let [l0, l1] = ((len / 4 - 1) as u16).to_be_bytes();
    let first = u32::from_be_bytes([VERSION << 6 | count, kind, l0, l1]);
    put(start, [first, ssrc.get()]);
    Ok(rest)
}

/// Writes as many reports as `room` was made for.
fn write_reports(reports: &[ReportBlock], room: &mut [u8]) {
    let (blocks, _) = room.as_chunks_mut();
    for (block, report) in blocks.iter_mut().zip(reports) {
        *block = report.to_bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_that_do_not_fit_are_not_written() {
        let blocks = [ReportBlock::default(); 32];
        let mut out = [0; 1_000];
        let ssrc = Ssrc::new(1);
        assert_eq!(write_receiver_report(ssrc, &blocks, &mut out), Err(WriteError::TooManyReports));
        assert_eq!(write_receiver_report(ssrc, &blocks[..31], &mut out), Ok(8 + 31 * 24));
        assert_eq!(write_receiver_report(ssrc, &blocks[..1], &mut out[..31]), Err(WriteError::NoRoom));
        let info = SenderInfo::default();
        assert_eq!(write_sender_report(ssrc, &info, &[], &mut out[..27]), Err(WriteError::NoRoom));
    }
}
