//! The beginning of a FLAC stream, mended: RFC 9639, section 8.

#![deny(clippy::indexing_slicing)]

use std::time::Duration;

use super::OpenError;
use super::bytes::Bytes;

/// Reads the metadata in front of the frames. What a decoder needs of it comes back, without pictures and tags.
pub(super) fn read_head(bytes: &mut Bytes) -> Result<(Vec<u8>, Option<Duration>), OpenError> {
    bytes.consume(4);
    let mut info = None;
    loop {
        let &[kind, a, b, c] = bytes.peek(4)? else {
            return Err(OpenError::NoAudio);
        };
        bytes.consume(4);
        let len = u32::from_be_bytes([0, a, b, c]);
        if kind & 0x7F == 0 && len >= 34 && info.is_none() {
            info = bytes.peek(34)?.first_chunk::<34>().copied();
        }
        bytes.skip(len.into())?;
        if kind & 0x80 != 0 {
            break;
        }
    }
    let info = info.ok_or_else(|| OpenError::Malformed("there is no stream information".into()))?;
    let mut head = b"fLaC\x80\0\0\x22".to_vec();
    head.extend(mended(info));
    Ok((head, duration(&info)))
}

/// Stream information that says nothing a decoder could stumble over: block sizes that encoders leave at 0, and a count
/// of samples, which is for display.
pub(super) fn mended(mut info: [u8; 34]) -> [u8; 34] {
    let [min_high, min_low, max_high, max_low, rest @ ..] = &mut info;
    let mut max = u16::from_be_bytes([*max_high, *max_low]);
    if max < 16 {
        max = u16::MAX;
    }
    let min = u16::from_be_bytes([*min_high, *min_low]);
    let min = if (16..=max).contains(&min) { min } else { max };
    [*min_high, *min_low] = min.to_be_bytes();
    [*max_high, *max_low] = max.to_be_bytes();
    // The sizes of frames in bytes: unknown.
    if let Some(sizes) = rest.first_chunk_mut::<6>() {
        sizes.fill(0);
    }
    if let Some([high, low @ ..]) = info.get_mut(13..18) {
        *high &= 0xF0;
        low.fill(0);
    }
    info
}

/// How long a stream is, if it says.
pub(super) fn duration(info: &[u8; 34]) -> Option<Duration> {
    let packed = u64::from_be_bytes(*info.get(10..)?.first_chunk()?);
    let (rate, samples) = (packed >> 44, packed & 0xF_FFFF_FFFF);
    (rate > 0 && samples > 0).then(|| Duration::from_secs_f64(samples as f64 / rate as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stream_information_is_mended_and_its_length_told() {
        let mut info = [0; 34];
        info[2..4].copy_from_slice(&4096u16.to_be_bytes());
        info[4..10].copy_from_slice(&[0, 0, 9, 0, 1, 2]);
        // 44 100 Hz, two channels, 16 bits, 88 200 samples.
        info[10..18].copy_from_slice(&(44_100u64 << 44 | 1 << 41 | 15 << 36 | 88_200).to_be_bytes());
        assert_eq!(duration(&info), Some(Duration::from_secs(2)));
        let good = mended(info);
        assert_eq!(good[..10], [0x10, 0, 0x10, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(good[10..18], (44_100u64 << 44 | 1 << 41 | 15 << 36).to_be_bytes());
        assert_eq!(duration(&good), None);
        assert_eq!(mended([0; 34])[..4], [0xFF; 4]);
    }
}
