//! Any number of channels to two.

use symphonia::core::audio::{Channels, Position};

use crate::CHANNELS;

/// How much of each channel of a file goes to the left and to the right.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mixer {
    gains: Vec<[f32; CHANNELS]>,
}

impl Mixer {
    pub(super) fn new(channels: &Channels) -> Self {
        let mut gains: Vec<_> = match channels {
            Channels::Positioned(positions) => positions.iter().map(gains_of).collect(),
            // What the usual counts mean when a container does not say.
            Channels::Discrete(1) => vec![CENTER],
            Channels::Discrete(2) => vec![LEFT, RIGHT],
            Channels::Discrete(count @ 3..=8) => Position::from_wave_channel_count(u32::from(*count)).map_or_else(
                || vec![CENTER; usize::from(*count)],
                |positions| positions.iter().map(gains_of).collect(),
            ),
            other => vec![CENTER; other.count()],
        };
        if let [only] = gains.as_mut_slice() {
            // A lone channel, wherever it claims to stand, is heard on both sides at full level.
            *only = [1.0, 1.0];
        }
        // The loudest sum a side can reach stays at full level: mixing must not clip.
        for side in 0..CHANNELS {
            let sum: f32 = gains.iter().map(|gain| gain[side]).sum();
            if sum > 1.0 {
                gains.iter_mut().for_each(|gain| gain[side] /= sum);
            }
        }
        Self { gains }
    }

    /// For the layouts of Opus and Vorbis with these many channels: RFC 7845, section 5.1.1.5.
    pub(super) fn for_opus(channels: usize) -> Self {
        let gains: &[[f32; CHANNELS]] = match channels {
            3 => &[[0.585_786, 0.0], [0.414_214; 2], [0.0, 0.585_786]],
            4 => &[[0.422_650, 0.0], [0.0, 0.422_650], [0.366_025, 0.211_325], [0.211_325, 0.366_025]],
            5 => &[[0.650_802, 0.0], [0.460_186; 2], [0.0, 0.650_802], [0.563_611, 0.325_401], [0.325_401, 0.563_611]],
            6 => &[
                [0.529_067, 0.0],
                [0.374_107; 2],
                [0.0, 0.529_067],
                [0.458_186, 0.264_534],
                [0.264_534, 0.458_186],
                [0.374_107; 2],
            ],
            7 => &[
                [0.455_310, 0.0],
                [0.321_953; 2],
                [0.0, 0.455_310],
                [0.394_310, 0.227_655],
                [0.227_655, 0.394_310],
                [0.278_819; 2],
                [0.321_953; 2],
            ],
            8 => &[
                [0.388_631, 0.0],
                [0.274_804; 2],
                [0.0, 0.388_631],
                [0.336_565, 0.194_316],
                [0.194_316, 0.336_565],
                [0.336_565, 0.194_316],
                [0.194_316, 0.336_565],
                [0.274_804; 2],
            ],
            count => return Self::new(&Channels::Discrete(u16::try_from(count).unwrap_or(u16::MAX))),
        };
        Self { gains: gains.to_vec() }
    }

    /// All channels alike on both sides, when nothing says what they are; two are left and right.
    pub(super) fn unknown(channels: usize) -> Self {
        match channels {
            1 | 2 => Self::for_opus(channels),
            count => Self { gains: vec![[1.0 / count as f32; CHANNELS]; count] },
        }
    }

    /// Replaces `out` by the stereo mix of interleaved `pcm`, scaled by `volume`.
    pub(super) fn mix(&self, pcm: &[f32], volume: f32, out: &mut Vec<f32>) {
        out.clear();
        if self.gains.is_empty() {
            return;
        }
        for sample in pcm.chunks_exact(self.gains.len()) {
            let mut sides = [0.0; CHANNELS];
            for (value, gains) in sample.iter().zip(&self.gains) {
                for (side, gain) in sides.iter_mut().zip(gains) {
                    *side += value * gain;
                }
            }
            out.extend(sides.map(|side| (side * volume).clamp(-1.0, 1.0)));
        }
    }
}

const LEFT: [f32; CHANNELS] = [1.0, 0.0];
const RIGHT: [f32; CHANNELS] = [0.0, 1.0];
/// 3 dB down on both sides: ITU-R BS.775, annex 4.
const CENTER: [f32; CHANNELS] = [core::f32::consts::FRAC_1_SQRT_2; CHANNELS];
const SURROUND_LEFT: [f32; CHANNELS] = [core::f32::consts::FRAC_1_SQRT_2, 0.0];
const SURROUND_RIGHT: [f32; CHANNELS] = [0.0, core::f32::consts::FRAC_1_SQRT_2];
const NOWHERE: [f32; CHANNELS] = [0.0; CHANNELS];

fn gains_of(position: Position) -> [f32; CHANNELS] {
    match position {
        Position::FRONT_LEFT | Position::FRONT_LEFT_CENTER | Position::FRONT_LEFT_WIDE => LEFT,
        Position::FRONT_RIGHT | Position::FRONT_RIGHT_CENTER | Position::FRONT_RIGHT_WIDE => RIGHT,
        Position::REAR_LEFT | Position::SIDE_LEFT | Position::TOP_FRONT_LEFT | Position::TOP_REAR_LEFT => SURROUND_LEFT,
        Position::REAR_RIGHT | Position::SIDE_RIGHT | Position::TOP_FRONT_RIGHT | Position::TOP_REAR_RIGHT => {
            SURROUND_RIGHT
        }
        // A downmix leaves the effects channel out: ITU-R BS.775, annex 4.
        Position::LFE1 | Position::LFE2 => NOWHERE,
        _ => CENTER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(channels: Channels, pcm: &[f32]) -> Vec<f32> {
        let mut out = vec![9.0];
        Mixer::new(&channels).mix(pcm, 1.0, &mut out);
        out
    }

    #[test]
    fn mono_goes_to_both_sides_at_full_level() {
        for channels in [
            Channels::Discrete(1),
            Channels::Positioned(Position::FRONT_LEFT),
            Channels::Positioned(Position::FRONT_CENTER),
        ] {
            assert_eq!(mixed(channels, &[0.5, -1.0]), [0.5, 0.5, -1.0, -1.0]);
        }
    }

    #[test]
    fn stereo_stays_as_it_is() {
        let positions = Position::FRONT_LEFT | Position::FRONT_RIGHT;
        for channels in [Channels::Discrete(2), Channels::Positioned(positions)] {
            assert_eq!(mixed(channels, &[0.5, -1.0]), [0.5, -1.0]);
        }
    }

    #[test]
    fn surround_keeps_its_sides_and_does_not_clip() {
        let positions = Position::from_wave_channel_count(6).unwrap();
        let channels = Channels::Positioned(positions);
        let loud = mixed(channels.clone(), &[1.0; 6]);
        assert!(loud.iter().all(|side| (0.99..=1.0).contains(side)), "{loud:?}");
        let left = mixed(channels.clone(), &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
        assert!(left[0] > 0.6 && left[1] == 0.0, "{left:?}");
        assert_eq!(mixed(channels, &[0.0, 0.0, 0.0, 1.0, 0.0, 0.0]), [0.0, 0.0]);
    }

    #[test]
    fn volume_scales_and_stops_at_full_level() {
        let mut out = Vec::new();
        Mixer::new(&Channels::Discrete(2)).mix(&[0.25, -0.75], 2.0, &mut out);
        assert_eq!(out, [0.5, -1.0]);
    }

    #[test]
    fn an_incomplete_last_sample_is_left_out() {
        assert_eq!(mixed(Channels::Discrete(2), &[0.5, 0.5, 0.1]), [0.5, 0.5]);
    }
}
