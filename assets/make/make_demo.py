#!/usr/bin/env python3
"""Makes demo.opus: see the README one folder up.

usage: make_demo.py [OUTPUT.opus [MIX.wav]]
"""

import hashlib
import sys
import wave
from pathlib import Path

import numpy as np

import libopus
import mix
import ogg

PACKETS = 1000
SERIAL = 0x44454D4F

# (first packet, mode, bandwidth, bit/s). The borders lie on bar lines.
PLAN = [
    (0, libopus.MODE_SILK, libopus.WIDEBAND, 48_000),
    (375, libopus.MODE_HYBRID, libopus.SUPERWIDEBAND, 72_000),
    (500, libopus.MODE_HYBRID, libopus.FULLBAND, 80_000),
    (625, libopus.MODE_CELT, libopus.FULLBAND, 128_000),
]

COMMENTS = [
    ("TITLE", "discord-voice demo"),
    ("ARTIST", "The discord-voice authors"),
    ("DESCRIPTION", "Speech over music in all three Opus modes: SILK, hybrid, CELT"),
    ("LICENSE", "MIT OR Apache-2.0"),
]


def encode(pcm, encoder, plan):
    """The mix, a whole number of frames, as Opus packets following the plan."""
    packets = []
    for index in range(len(pcm) // libopus.FRAME_SAMPLES):
        for first, mode, bandwidth, bitrate in plan:
            if first == index:
                encoder.set(libopus.SET_FORCE_MODE, mode)
                encoder.set(libopus.SET_BANDWIDTH, bandwidth)
                encoder.set(libopus.SET_BITRATE, bitrate)
        first = index * libopus.FRAME_SAMPLES
        packets.append(encoder.encode(pcm[first : first + libopus.FRAME_SAMPLES].tobytes()))
    return packets


def flushed(pcm, pre_skip):
    """The mix with the silence behind it that flushes the encoder's delay."""
    return np.concatenate([pcm, np.zeros((pre_skip, 2), "<i2")])


def make():
    """The file's bytes, the mix and the speech's rows."""
    encoder = libopus.Encoder()
    pre_skip = encoder.lookahead()
    coded = PACKETS * libopus.FRAME_SAMPLES
    # The decoder's output trails by the pre-skip: the last packet must still
    # carry the mix's end, so the mix is that much shorter than the packets.
    pcm, rows = mix.render(coded - pre_skip)
    packets = encode(flushed(pcm, pre_skip), encoder, PLAN)
    head = ogg.opus_head(2, pre_skip)
    tags = ogg.opus_tags(libopus.version(), COMMENTS)
    return ogg.write(head, tags, packets, pre_skip + len(pcm), SERIAL), pcm, rows


def main():
    here = Path(__file__).resolve().parent
    output = Path(sys.argv[1]) if len(sys.argv) > 1 else here.parent / "demo.opus"
    data, pcm, rows = make()
    output.write_bytes(data)
    if len(sys.argv) > 2:
        with wave.open(sys.argv[2], "wb") as writer:
            writer.setnchannels(2)
            writer.setsampwidth(2)
            writer.setframerate(48_000)
            writer.writeframes(pcm.tobytes())
    for start, end, text in rows:
        print(f"{start:6.2f}-{end:5.2f} s  {text}")
    print(f"{len(data)} bytes, SHA-256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
