//! What any codec behind our types has to do; runs over the one that the features select.
#![cfg(any(feature = "audiopus", feature = "opus-pure"))]

use std::f32::consts::TAU;

use voice_audio::opus::{
    Application, Channels, DecodeError, Decoder, EncodeError, Encoder, EncoderConfig, MAX_PACKET_SAMPLES, Mode, Packet,
    PacketError,
};
use voice_audio::{CHANNELS, FRAME_SAMPLES, FrameBuf, MAX_FRAME_LEN, SILENCE_FRAME};

/// Half a second of two tones, interleaved to so many channels.
fn music(channels: Channels) -> Vec<f32> {
    tones(channels, &[440.0, 1_330.0], 24_000)
}

fn tones(channels: Channels, frequencies: &[f32], samples: usize) -> Vec<f32> {
    (0..samples)
        .flat_map(|n| {
            let t = n as f32 / 48_000.0;
            let value: f32 = frequencies.iter().map(|frequency| 0.25 * (TAU * frequency * t).sin()).sum();
            std::iter::repeat_n(value, channels.count())
        })
        .collect()
}

/// A vowel of sorts: pulses at 120 Hz through one resonance, with pauses, which encoders take for speech.
fn speech(samples: usize) -> Vec<f32> {
    let (mut low, mut band) = (0.0f32, 0.0f32);
    (0..samples)
        .map(|n| {
            let loud = (n / 9_600) % 3 != 2;
            let pulse = if loud && n % 400 == 0 { 1.0 } else { 0.0 };
            let high = pulse - low - 0.1 * band;
            band += 0.09 * high;
            low += 0.09 * band;
            0.8 * band
        })
        .collect()
}

fn encode(config: EncoderConfig, pcm: &[f32], samples: usize) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(config).unwrap();
    let mut packet = [0; 6 * MAX_FRAME_LEN];
    pcm.chunks_exact(samples * config.channels.count())
        .map(|frame| {
            let len = encoder.encode(frame, &mut packet).unwrap();
            packet[..len].to_vec()
        })
        .collect()
}

fn decode(channels: Channels, packets: &[Vec<u8>]) -> Vec<f32> {
    let mut decoder = Decoder::new(channels).unwrap();
    let mut pcm = vec![0.0; MAX_PACKET_SAMPLES * channels.count()];
    let mut all = Vec::new();
    for packet in packets {
        let samples = decoder.decode(packet, &mut pcm).unwrap();
        all.extend_from_slice(&pcm[..samples * channels.count()]);
    }
    all
}

/// Signal to noise in dB of `decoded`, which comes `delay` values late; the first 50 ms are left out.
fn snr(source: &[f32], decoded: &[f32], delay: usize) -> f64 {
    let (mut signal, mut noise) = (0.0, 0.0);
    for (wanted, got) in source.iter().zip(&decoded[delay..]).skip(4_800) {
        signal += f64::from(*wanted).powi(2);
        noise += f64::from(wanted - got).powi(2);
    }
    10.0 * (signal / noise).log10()
}

fn lookahead(config: EncoderConfig) -> usize {
    Encoder::new(config).unwrap().lookahead()
}

#[test]
fn every_frame_length_round_trips() {
    for channels in [Channels::Mono, Channels::Stereo] {
        let config = EncoderConfig { channels, bitrate: 128_000, ..EncoderConfig::default() };
        let source = music(channels);
        for samples in [120, 240, 480, 960, 1920, 2880] {
            let packets = encode(config, &source, samples);
            assert!(packets.iter().all(|packet| Packet::parse(packet).unwrap().samples() == samples));
            let decoded = decode(channels, &packets);
            assert_eq!(decoded.len(), packets.len() * samples * channels.count());
            let snr = snr(&source, &decoded, lookahead(config) * channels.count());
            let wanted = if samples < 480 { 12.0 } else { 20.0 };
            assert!(snr > wanted, "{channels:?}, {samples} samples: {snr} dB");
        }
    }
}

#[test]
fn every_setting_yields_a_stream_that_decodes() {
    for application in [Application::Audio, Application::Voip] {
        for bitrate in [0, 8_000, 24_000, 64_000, 128_000, u32::MAX] {
            for complexity in [0, 5, 10, 255] {
                for fec in [false, true] {
                    let config = EncoderConfig {
                        application,
                        bitrate,
                        complexity,
                        fec,
                        expected_loss: 15,
                        dtx: fec,
                        channels: Channels::Stereo,
                    };
                    let packets = encode(config, &tones(Channels::Stereo, &[300.0], 9_600), FRAME_SAMPLES);
                    assert_eq!(decode(Channels::Stereo, &packets).len(), 9_600 * CHANNELS, "{config:?}");
                    assert!(packets.iter().all(|packet| packet.len() <= MAX_FRAME_LEN), "{config:?}");
                }
            }
        }
    }
}

#[test]
fn more_bits_sound_better() {
    let source = music(Channels::Stereo);
    let at = |bitrate| {
        let config = EncoderConfig { bitrate, ..EncoderConfig::default() };
        let decoded = decode(Channels::Stereo, &encode(config, &source, FRAME_SAMPLES));
        snr(&source, &decoded, lookahead(config) * CHANNELS)
    };
    let (low, high) = (at(32_000), at(256_000));
    assert!(high > low + 3.0, "{low} and {high} dB");
}

#[test]
fn the_bitrate_is_about_what_was_asked_for() {
    for bitrate in [32_000, 64_000, 128_000] {
        let config = EncoderConfig { bitrate, ..EncoderConfig::default() };
        // Noise cannot be coded in fewer bits than allowed.
        let mut seed = 1u32;
        let noise: Vec<f32> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as f32 / (1 << 24) as f32 - 0.5
        })
        .take(96_000)
        .collect();
        let bytes: usize = encode(config, &noise, FRAME_SAMPLES).iter().map(Vec::len).sum();
        let got = bytes as f64 * 8.0;
        assert!((got / f64::from(bitrate) - 1.0).abs() < 0.2, "{got} instead of {bitrate}");
    }
}

#[test]
fn mono_and_stereo_decode_to_either() {
    for from in [Channels::Mono, Channels::Stereo] {
        let config = EncoderConfig { channels: from, bitrate: 96_000, ..EncoderConfig::default() };
        let packets = encode(config, &music(from), FRAME_SAMPLES);
        for to in [Channels::Mono, Channels::Stereo] {
            let decoded = decode(to, &packets);
            let snr = snr(&music(to), &decoded, lookahead(config) * to.count());
            assert!(snr > 15.0, "{from:?} to {to:?}: {snr} dB");
        }
    }
}

#[test]
fn a_loss_is_concealed_at_its_length_and_near_its_level() {
    let source = music(Channels::Stereo);
    let packets = encode(EncoderConfig::default(), &source, FRAME_SAMPLES);
    let mut decoder = Decoder::new(Channels::Stereo).unwrap();
    let mut pcm = vec![0.0; MAX_PACKET_SAMPLES * CHANNELS];
    for packet in &packets[..20] {
        decoder.decode(packet, &mut pcm).unwrap();
    }
    let energy = |pcm: &[f32]| pcm.iter().map(|value| value * value).sum::<f32>();
    let before = energy(&pcm[..FRAME_SAMPLES * CHANNELS]);
    assert_eq!(decoder.conceal(FRAME_SAMPLES, &mut pcm).unwrap(), FRAME_SAMPLES);
    let concealed = energy(&pcm[..FRAME_SAMPLES * CHANNELS]);
    assert!(concealed > 0.3 * before && concealed < 2.0 * before, "{before} to {concealed}");
    for samples in [120, 240, 360, 480, 960, 1920, 2880, 4800, MAX_PACKET_SAMPLES] {
        assert_eq!(decoder.conceal(samples, &mut pcm).unwrap(), samples);
        assert!(pcm.iter().all(|value| value.is_finite()));
    }
    // Decoding goes on.
    assert_eq!(decoder.decode(&packets[21], &mut pcm).unwrap(), FRAME_SAMPLES);
}

#[test]
fn a_loss_before_anything_arrived_is_silence() {
    let mut decoder = Decoder::new(Channels::Stereo).unwrap();
    let mut pcm = vec![9.0; FRAME_SAMPLES * CHANNELS];
    assert_eq!(decoder.conceal(FRAME_SAMPLES, &mut pcm).unwrap(), FRAME_SAMPLES);
    assert!(pcm.iter().all(|value| value.abs() < 1e-3));
}

#[test]
fn forward_error_correction_beats_concealment() {
    let config = EncoderConfig {
        application: Application::Voip,
        channels: Channels::Mono,
        bitrate: 24_000,
        fec: true,
        expected_loss: 25,
        ..EncoderConfig::default()
    };
    let source = speech(96_000);
    let packets = encode(config, &source, FRAME_SAMPLES);
    assert!(packets[10..].iter().any(|packet| Packet::parse(packet).unwrap().toc().mode() != Mode::Celt));
    let whole = decode(Channels::Mono, &packets);

    // Every fifth packet is lost.
    let repair = |recover: bool| {
        let mut decoder = Decoder::new(Channels::Mono).unwrap();
        let mut pcm = vec![0.0; MAX_PACKET_SAMPLES];
        let (mut error, mut frames) = (0.0f64, 0);
        for (at, packet) in packets.iter().enumerate().take(packets.len() - 1) {
            let expected = &whole[at * FRAME_SAMPLES..(at + 1) * FRAME_SAMPLES];
            if at % 5 != 4 {
                decoder.decode(packet, &mut pcm).unwrap();
                continue;
            }
            let made = if recover {
                decoder.recover(&packets[at + 1], FRAME_SAMPLES, &mut pcm)
            } else {
                decoder.conceal(FRAME_SAMPLES, &mut pcm)
            };
            assert_eq!(made.unwrap(), FRAME_SAMPLES);
            error += expected.iter().zip(&pcm).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
            frames += 1;
        }
        assert!(frames > 15);
        error
    };
    let (recovered, concealed) = (repair(true), repair(false));
    assert!(recovered < 0.5 * concealed, "{recovered} against {concealed}");
}

#[test]
fn discontinuous_transmission_sends_next_to_nothing_in_silence() {
    let config = EncoderConfig {
        application: Application::Voip,
        channels: Channels::Mono,
        bitrate: 24_000,
        dtx: true,
        ..EncoderConfig::default()
    };
    let mut source = speech(24_000);
    source.extend(vec![0.0; 96_000]);
    let packets = encode(config, &source, FRAME_SAMPLES);
    let tiny = packets[75..].iter().filter(|packet| packet.len() <= 2).count();
    assert!(tiny > 30, "{tiny} of {}", packets.len() - 75);
    assert_eq!(decode(Channels::Mono, &packets).len(), source.len());
}

#[test]
fn the_silence_frame_is_silent() {
    let decoded = decode(Channels::Stereo, &vec![SILENCE_FRAME.to_vec(); 10]);
    assert_eq!(decoded.len(), 10 * FRAME_SAMPLES * CHANNELS);
    assert!(decoded.iter().all(|value| value.abs() < 1e-4));
}

#[test]
fn settings_change_between_packets() {
    let mut encoder = Encoder::new(EncoderConfig { bitrate: 16_000, ..EncoderConfig::default() }).unwrap();
    let source = music(Channels::Stereo);
    let mut sizes = [0; 2];
    for (n, frame) in source.chunks_exact(FRAME_SAMPLES * CHANNELS).take(24).enumerate() {
        if n == 12 {
            encoder
                .configure(EncoderConfig {
                    bitrate: 256_000,
                    // Not to be changed, and not changed.
                    channels: Channels::Mono,
                    ..encoder.config()
                })
                .unwrap();
            assert_eq!(encoder.config().channels, Channels::Stereo);
        }
        let mut out = FrameBuf::new();
        encoder.encode_frame(frame, &mut out).unwrap();
        sizes[n / 12] += out.len();
    }
    assert!(sizes[1] > 2 * sizes[0], "{sizes:?}");
}

#[test]
fn a_budget_is_kept() {
    let mut encoder = Encoder::new(EncoderConfig { bitrate: 510_000, ..EncoderConfig::default() }).unwrap();
    for frame in music(Channels::Stereo).chunks_exact(FRAME_SAMPLES * CHANNELS) {
        let mut packet = [0; 100];
        let len = encoder.encode(frame, &mut packet).unwrap();
        assert_eq!(Packet::parse(&packet[..len]).unwrap().samples(), FRAME_SAMPLES);
    }
}

#[test]
fn reset_forgets() {
    let source = music(Channels::Stereo);
    let packets = encode(EncoderConfig::default(), &source, FRAME_SAMPLES);
    let mut encoder = Encoder::new(EncoderConfig::default()).unwrap();
    let mut decoder = Decoder::new(Channels::Stereo).unwrap();
    let mut first = Vec::new();
    for _ in 0..2 {
        let mut packet = [0; MAX_FRAME_LEN];
        let mut pcm = vec![0.0; FRAME_SAMPLES * CHANNELS];
        let len = encoder.encode(&source[..FRAME_SAMPLES * CHANNELS], &mut packet).unwrap();
        assert_eq!(packet[..len], packets[0]);
        decoder.decode(&packet[..len], &mut pcm).unwrap();
        if first.is_empty() {
            first = pcm;
        } else {
            assert_eq!(first, pcm);
        }
        encoder.reset().unwrap();
        decoder.reset().unwrap();
    }
}

#[test]
fn wrong_lengths_are_refused() {
    let mut encoder = Encoder::new(EncoderConfig::default()).unwrap();
    let mut packet = [0; MAX_FRAME_LEN];
    for len in [0, 1, 959, 1919, 1921, 5761 * 2] {
        let error = encoder.encode(&vec![0.0; len], &mut packet).unwrap_err();
        assert_eq!(error, EncodeError::FrameLength { samples: len });
    }
    assert_eq!(encoder.encode(&[0.0; 1920], &mut [0]), Err(EncodeError::BufferTooSmall));

    let mut decoder = Decoder::new(Channels::Stereo).unwrap();
    let mut pcm = [0.0; FRAME_SAMPLES * CHANNELS];
    assert_eq!(decoder.decode(&[], &mut pcm), Err(DecodeError::Packet(PacketError::Empty)));
    assert_eq!(decoder.decode(&SILENCE_FRAME, &mut pcm[1..]), Err(DecodeError::BufferTooSmall { needed: 1920 }));
    for samples in [0, 1, 119, 5761, 5880, usize::MAX] {
        assert_eq!(decoder.conceal(samples, &mut pcm), Err(DecodeError::LossLength { samples }));
    }
    assert_eq!(decoder.decode(&SILENCE_FRAME, &mut pcm), Ok(FRAME_SAMPLES));
}

#[test]
fn noise_for_packets_neither_panics_nor_yields_nonsense() {
    let mut decoder = Decoder::new(Channels::Stereo).unwrap();
    let mut pcm = vec![0.0; MAX_PACKET_SAMPLES * CHANNELS];
    let mut seed = 7u32;
    let mut random = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) as u8
    };
    let mut decoded = 0;
    for toc in (0..=255).cycle().take(2_000) {
        let mut packet = vec![toc];
        packet.extend((0..random()).map(|_| random()).collect::<Vec<_>>());
        if let Ok(samples) = decoder.decode(&packet, &mut pcm) {
            decoded += 1;
            assert_eq!(samples, Packet::parse(&packet).unwrap().samples());
            assert!(pcm[..samples * CHANNELS].iter().all(|value| value.is_finite()));
        }
        let _ = decoder.recover(&packet, FRAME_SAMPLES, &mut pcm);
    }
    assert!(decoded > 500, "{decoded}");
}

#[test]
fn codecs_move_between_threads() {
    let mut encoder = Encoder::new(EncoderConfig::default()).unwrap();
    let mut decoder = Decoder::new(Channels::Stereo).unwrap();
    let (len, packet) = std::thread::spawn(move || {
        let mut packet = [0; MAX_FRAME_LEN];
        let len = encoder.encode(&[0.1; FRAME_SAMPLES * CHANNELS], &mut packet).unwrap();
        (len, packet)
    })
    .join()
    .unwrap();
    let decoded = std::thread::spawn(move || {
        let mut pcm = [0.0; FRAME_SAMPLES * CHANNELS];
        decoder.decode(&packet[..len], &mut pcm)
    });
    assert_eq!(decoded.join().unwrap(), Ok(FRAME_SAMPLES));
}
