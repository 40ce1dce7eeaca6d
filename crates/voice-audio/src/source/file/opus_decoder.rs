//! Opus of one or several streams to stereo.

use super::OpenError;
use super::mix::Mixer;
use super::opus_head::{MAX_CHANNELS, OpusHead};
use crate::CHANNELS;
use crate::opus::{Channels, DecodeError, Decoder, MAX_PACKET_SAMPLES, Packet, split_first};

/// Decodes all streams of a packet and mixes their channels to two.
pub(super) struct OpusDecoder {
    /// The first `coupled` are stereo.
    streams: Vec<Decoder>,
    /// One stream's audio, and all channels of all.
    stream_pcm: Vec<f32>,
    pcm: Vec<f32>,
    head: OpusHead,
    mixer: Mixer,
    /// Samples per channel of the last packet: what a damaged one is replaced by.
    last: usize,
}

impl OpusDecoder {
    pub(super) fn new(head: &OpusHead) -> Result<Self, OpenError> {
        let decoder = |n| {
            // One stream is decoded to stereo, whatever it has.
            let stereo = n < head.coupled || head.is_single_stream();
            Decoder::new(if stereo { Channels::Stereo } else { Channels::Mono })
        };
        let streams: Result<Vec<_>, _> = (0..head.streams).map(decoder).collect();
        let channels = usize::from(head.channels);
        Ok(Self {
            streams: streams.map_err(|error| OpenError::Codec(error.into()))?,
            stream_pcm: vec![0.0; MAX_PACKET_SAMPLES * CHANNELS],
            pcm: Vec::new(),
            head: *head,
            mixer: if head.family == 1 { Mixer::for_opus(channels) } else { Mixer::unknown(channels) },
            last: crate::FRAME_SAMPLES,
        })
    }

    /// Replaces `out` by the stereo audio of `packet`, or by made up audio when it is damaged.
    pub(super) fn decode(&mut self, packet: &[u8], volume: f32, out: &mut Vec<f32>) -> Result<(), DecodeError> {
        let volume = volume * self.head.gain_factor();
        let packets = split(packet, self.streams.len());
        let samples = packets.as_ref().map_or(self.last, |(_, samples)| *samples);
        self.last = samples;
        let channels = usize::from(self.head.channels);
        if !self.head.is_single_stream() {
            self.pcm.clear();
            self.pcm.resize(samples * channels, 0.0);
        }
        let mut decoded_channel = 0u8;
        for (n, decoder) in self.streams.iter_mut().enumerate() {
            let packet = packets.as_ref().and_then(|(packets, _)| packets.get(n));
            let whole = packet.is_some_and(|packet| decoder.decode(packet, &mut self.stream_pcm).is_ok());
            if !whole {
                // A damaged packet still takes its time.
                decoder.conceal(samples, &mut self.stream_pcm)?;
            }
            if self.head.is_single_stream() {
                out.clear();
                out.extend(
                    self.stream_pcm.iter().take(samples * CHANNELS).map(|value| (value * volume).clamp(-1.0, 1.0)),
                );
                return Ok(());
            }
            let width = decoder.channels().count();
            for side in 0..width {
                let targets = self.head.mapping.iter().take(channels.min(MAX_CHANNELS)).enumerate();
                for (target, _) in targets.filter(|(_, from)| **from == decoded_channel) {
                    let values = self.stream_pcm.iter().skip(side).step_by(width);
                    for (to, value) in self.pcm.iter_mut().skip(target).step_by(channels).zip(values) {
                        *to = *value;
                    }
                }
                decoded_channel += 1;
            }
        }
        self.mixer.mix(&self.pcm, volume, out);
        Ok(())
    }
}

/// A packet's streams as packets of their own, and the samples per channel that all of them have.
fn split(packet: &[u8], streams: usize) -> Option<(Vec<Vec<u8>>, usize)> {
    let mut packets = Vec::with_capacity(streams);
    let mut rest = packet;
    for _ in 1..streams {
        let (first, after) = split_first(rest)?;
        packets.push(first);
        rest = after;
    }
    packets.push(rest.to_vec());
    let mut lengths = packets.iter().map(|packet| Packet::parse(packet).map(|packet| packet.samples()));
    let samples = lengths.next()?.ok()?;
    lengths.all(|len| len == Ok(samples)).then_some((packets, samples))
}
