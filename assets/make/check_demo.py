#!/usr/bin/env python3
"""Checks demo.opus packet by packet and against the mix it was made from.

usage: check_demo.py [FILE.opus]

Exits with an error at the first broken promise.
"""

import hashlib
import sys
from pathlib import Path

import numpy as np

import libopus
import make_demo
import mix
import ogg
from synth import filtered, low_pass

FRAME = libopus.FRAME_SAMPLES
SILENCE_FRAME = b"\xf8\xff\xfe"

# RFC 6716, section 3.1, table 2.
BANDWIDTHS = {
    "SILK": ("NB", "MB", "WB"),
    "hybrid": ("SWB", "FB"),
    "CELT": ("NB", "WB", "SWB", "FB"),
}


def configuration(config):
    """Mode, bandwidth and frame length in ms of a TOC configuration number."""
    if config < 12:
        return "SILK", BANDWIDTHS["SILK"][config // 4], (10, 20, 40, 60)[config % 4]
    if config < 16:
        return "hybrid", BANDWIDTHS["hybrid"][(config - 12) // 2], (10, 20)[config % 2]
    return "CELT", BANDWIDTHS["CELT"][(config - 16) // 4], (2.5, 5, 10, 20)[config % 4]


def require(condition, promise):
    """Stops the check when a promise does not hold."""
    if not condition:
        sys.exit(f"FAILED: {promise}")


def check_container(pages):
    """The Ogg Opus structure; returns the packets and the pre-skip."""
    require(pages[0][0] == ogg.FIRST and len(pages[0][2]) == 1, "the first page holds OpusHead")
    head = pages[0][2][0]
    pre_skip = int.from_bytes(head[10:12], "little")
    require(head == ogg.opus_head(2, pre_skip), "OpusHead: version 1, stereo, gain 0, family 0")
    require(pre_skip == libopus.Encoder().lookahead(), "the pre-skip is the encoder's lookahead")
    require(pages[1][2][0].startswith(b"OpusTags"), "the second page holds OpusTags")
    packets = []
    for number, (flags, granule, content) in enumerate(pages[2:]):
        packets += content
        last = number == len(pages) - 3
        require(1 <= len(content) <= 50, "1 to 50 packets a page")
        require(granule == len(packets) * FRAME, "granule positions count coded samples")
        require(flags == (ogg.LAST if last else 0), "the last page, and only it, ends the stream")
    return packets, pre_skip


def check_packets(packets):
    """Every TOC byte; returns where sections begin."""
    modes, runs = [], []
    for packet in packets:
        mode, bandwidth, length = configuration(packet[0] >> 3)
        require(length == 20 and packet[0] & 3 == 0, "each packet is one 20 ms frame, code 0")
        require(packet[0] & 4, "each packet is coded stereo")
        require(3 < len(packet) <= 1275, "no packet is a silence or DTX frame or too long")
        require(packet != SILENCE_FRAME, "no packet is the silence frame")
        modes.append(mode)
        if not runs or runs[-1][0] != packet[0] >> 3:
            runs.append([packet[0] >> 3, mode, bandwidth, []])
        runs[-1][3].append(len(packet))
    print("config  mode    band  packets  first  seconds  bytes: min mean max")
    first = 0
    for config, mode, bandwidth, sizes in runs:
        mean = sum(sizes) / len(sizes)
        print(
            f"{config:6}  {mode:6}  {bandwidth:4}  {len(sizes):7}  {first:5}  {len(sizes) / 50:7.2f}"
            f"  {min(sizes):10} {mean:4.0f} {max(sizes):3}"
        )
        first += len(sizes)
    for mode in BANDWIDTHS:
        print(f"{mode}: {modes.count(mode)} packets, {modes.count(mode) / 50:.2f} s")
        require(modes.count(mode) >= 150, f"at least 3 s of {mode}")
    return [0] + [at for at in range(1, len(packets)) if packets[at][0] != packets[at - 1][0]]


def decode(packets, pre_skip):
    """All packets as an (n, 2) array, the pre-skip removed."""
    decoder = libopus.Decoder()
    frames = [np.frombuffer(decoder.decode(packet), "<i2").reshape(-1, 2) for packet in packets]
    require(all(len(frame) == FRAME for frame in frames), "each packet decodes to 960 samples")
    return np.concatenate(frames)[pre_skip:].astype(float)


def low_band(sound):
    """The part below 6 kHz, which every mode codes whole."""
    return np.stack([filtered(sound[:, ear], low_pass(6000.0, 6)) for ear in (0, 1)], 1)


def correlation(ours, theirs, first, last):
    """The normalised correlation of two low bands between two samples."""
    best = 0.0
    # SILK's resampler delay is two samples off CELT's: try small shifts.
    for lag in range(-4, 5):
        start, end = max(first, 4), min(last, len(theirs) - 4)
        one, two = ours[start:end], theirs[start + lag : end + lag]
        best = max(best, np.sum(one * two) / np.sqrt(np.sum(one**2) * np.sum(two**2)))
    return best


def worst_nearby(ours, theirs, middle):
    """The lowest correlation of any 60 ms that touch a switch."""
    starts = range(middle - 3 * FRAME, middle + 2 * FRAME, FRAME // 2)
    return min(correlation(ours, theirs, at, at + 3 * FRAME) for at in starts)


def steepest_nearby(sound, middle):
    """The steepest bend of the waveform around a switch: clicks are steep."""
    near = sound[middle - 2 * FRAME : middle + 3 * FRAME]
    return np.max(np.abs(np.diff(near, 2, axis=0)))


def check_sound(packets, pre_skip, borders):
    """Decodes, and compares with the mix in every section and at every switch."""
    decoded = decode(packets, pre_skip)
    pcm = mix.render(len(decoded))[0]
    source = pcm.astype(float)
    low_decoded, low_source = low_band(decoded), low_band(source)

    bounds = borders + [len(packets)]
    print("packets     correlation with the mix below 6 kHz")
    for first, last in zip(bounds, bounds[1:]):
        value = correlation(low_decoded, low_source, first * FRAME, last * FRAME)
        print(f"{first:4}-{last:<4}  {value:9.4f}")
        require(value > 0.98, "each section is close to the mix")

    # The control: the same mix coded from end to end with the settings of
    # one section, so that nothing switches. A switch may not sound worse
    # than the settings on either side of it do at the same place.
    controls = []
    for _, *settings in make_demo.PLAN:
        steady = make_demo.encode(
            make_demo.flushed(pcm, pre_skip), libopus.Encoder(), [(0, *settings)]
        )
        sound = decode(steady, pre_skip)
        controls.append((sound, low_band(sound)))
    print("switch  worst 60 ms: file, before, after   steepest bend: file, before, after")
    for index, border in enumerate(borders[1:]):
        middle = border * FRAME - pre_skip
        ours = worst_nearby(low_decoded, low_source, middle)
        bend = steepest_nearby(decoded, middle)
        sides = controls[index : index + 2]
        values = [worst_nearby(low, low_source, middle) for _, low in sides]
        bends = [steepest_nearby(sound, middle) for sound, _ in sides]
        print(
            f"{border:6}  {ours:17.4f}  {values[0]:6.4f}  {values[1]:6.4f}"
            f"  {bend:20.0f}  {bends[0]:6.0f}  {bends[1]:6.0f}"
        )
        require(ours > min(values) - 0.01, "the sound carries across each switch")
        require(bend < 1.25 * max(bends), "no click at a switch")


def main():
    here = Path(__file__).resolve().parent
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else here.parent / "demo.opus"
    data = path.read_bytes()
    packets, pre_skip = check_container(ogg.read(data))
    require(len(packets) == make_demo.PACKETS, "the planned number of packets")
    borders = check_packets(packets)
    require(len(borders) == len(make_demo.PLAN), "as many sections as planned")
    check_sound(packets, pre_skip, borders)
    playing = len(packets) * FRAME - pre_skip
    print(f"{playing / 48_000:.4f} s, {len(packets)} packets, pre-skip {pre_skip}")
    print(f"{len(data)} bytes")
    print(f"last packet: {len(packets[-1])} bytes, first bytes {packets[-1][:3].hex(' ')}")
    print(f"SHA-256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
