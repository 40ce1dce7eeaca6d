"""The tune: eight bars at 96 beats a minute, composed for this project.

Pad, electric piano, bass, brushed drums and a bell melody. Everything is
computed here; no sample or score comes from elsewhere.
"""

import numpy as np

from synth import (
    SAMPLE_RATE,
    envelope,
    filtered,
    frequency,
    high_pass,
    low_pass,
    place,
    reverb,
    samples,
    timeline,
)

BEAT = 0.625
BAR = 4 * BEAT
BARS = 8

# (first beat, length in beats, bass note, chord notes), as MIDI numbers.
CHORDS = [
    (0, 4, 36, (60, 64, 67, 71)),  # C major 7
    (4, 4, 33, (57, 60, 64, 67)),  # A minor 7
    (8, 4, 41, (57, 60, 64, 65)),  # F major 7
    (12, 4, 43, (55, 59, 62, 69)),  # G add 9
    (16, 4, 40, (55, 59, 62, 64)),  # E minor 7
    (20, 4, 33, (57, 60, 64, 67)),  # A minor 7
    (24, 2, 41, (57, 60, 65, 69)),  # F major
    (26, 2, 43, (59, 62, 67, 69)),  # G add 9
    (28, 4, 36, (60, 64, 67, 74)),  # C add 9
]

# (first beat, length in beats, note)
MELODY = [
    (12.0, 1.0, 74), (13.0, 0.5, 71), (13.5, 1.5, 67),
    (16.0, 1.0, 71), (17.0, 0.5, 74), (17.5, 2.0, 76),
    (20.0, 0.5, 76), (20.5, 0.5, 79), (21.0, 1.0, 81), (22.0, 0.5, 84),
    (22.5, 0.5, 83), (23.0, 0.5, 81), (23.5, 0.5, 79),
    (24.0, 0.75, 81), (24.75, 0.25, 79), (25.0, 0.5, 77), (25.5, 0.5, 81),
    (26.0, 0.75, 83), (26.75, 0.25, 81), (27.0, 0.5, 79), (27.5, 0.5, 83),
    (28.0, 3.5, 84), (28.5, 3.0, 79), (29.0, 2.5, 76),
]  # fmt: skip


def pad(note, seconds, random):
    """Warm sustained tone: a few slowly beating detuned harmonic series."""
    length = samples(seconds + 0.5)
    time = timeline(length)
    tone = np.zeros(length)
    for detune in (-0.06, 0.0, 0.05):
        pitch = frequency(note + detune)
        for harmonic in range(1, 9):
            level = 1.0 / harmonic**1.7
            phase = random.uniform(0.0, 2.0 * np.pi)
            tone += level * np.sin(2.0 * np.pi * pitch * harmonic * time + phase)
    return tone * envelope(length, 0.25, 0.6) / 3.0


def electric_piano(note, seconds):
    """Two-operator frequency modulation with a decaying, tine-like attack."""
    length = samples(seconds + 0.6)
    time = timeline(length)
    pitch = frequency(note)
    tine = 0.7 * np.exp(-9.0 * time) * np.sin(2.0 * np.pi * pitch * 14.0 * time) * 0.12
    index = 1.3 * np.exp(-3.5 * time)
    body = np.sin(2.0 * np.pi * pitch * time + index * np.sin(2.0 * np.pi * pitch * time))
    return (body + tine) * np.exp(-2.6 * time) * envelope(length, 0.003, 0.3)


def bell(note, seconds):
    """The melody voice: soft mallet with an inharmonic shimmer and vibrato."""
    length = samples(seconds + 0.7)
    time = timeline(length)
    pitch = frequency(note)
    vibrato = 0.012 * np.sin(2.0 * np.pi * 5.2 * time) * np.clip(time / 0.4, 0.0, 1.0)
    base = 2.0 * np.pi * pitch * time + vibrato * pitch / 40.0
    tone = np.sin(base) + 0.35 * np.exp(-2.0 * time) * np.sin(2.0 * base)
    tone += 0.22 * np.exp(-6.0 * time) * np.sin(4.01 * base)
    tone += 0.10 * np.exp(-14.0 * time) * np.sin(9.2 * base)
    return tone * np.exp(-1.9 * time) * envelope(length, 0.006, 0.5)


def bass(note, seconds):
    """Round electric bass: a damped fundamental with a little second harmonic."""
    length = samples(seconds)
    time = timeline(length)
    phase = 2.0 * np.pi * frequency(note) * time
    tone = np.sin(phase) + 0.4 * np.exp(-4.0 * time) * np.sin(2.0 * phase)
    tone += 0.15 * np.exp(-8.0 * time) * np.sin(3.0 * phase)
    return tone * np.exp(-1.4 * time) * envelope(length, 0.006, 0.06)


def kick():
    """Soft bass drum: a sine that falls from 110 Hz to 48 Hz."""
    time = timeline(samples(0.35))
    phase = 2.0 * np.pi * (48.0 * time + 62.0 / 28.0 * (1.0 - np.exp(-28.0 * time)))
    return np.sin(phase) * np.exp(-9.0 * time) * envelope(len(time), 0.002, 0.05)


def brush(random):
    """Brushed snare: band-limited noise over a faint drum-head tone."""
    length = samples(0.28)
    time = timeline(length)
    noise = filtered(random.uniform(-1.0, 1.0, length), high_pass(1200.0))
    head = 0.35 * np.sin(2.0 * np.pi * 186.0 * time) * np.exp(-24.0 * time)
    return (noise * np.exp(-15.0 * time) + head) * envelope(length, 0.006, 0.08)


def hat(random, seconds=0.09, decay=48.0):
    """Closed hat or, with a long decay, a soft cymbal: noise above 6 kHz."""
    length = samples(seconds)
    noise = filtered(random.uniform(-1.0, 1.0, length), high_pass(6500.0, 3))
    return noise * np.exp(-decay * timeline(length)) * envelope(length, 0.001, 0.02)


def drums(mix, random):
    """Bars 2 to 7 keep time; the last bar has one stroke and a cymbal."""
    for beat in range(4, 28):
        at = beat * BEAT
        if beat % 4 in (0, 2):
            place(mix, kick(), at, 0.50)
        if beat % 4 == 2 and beat >= 20:
            place(mix, kick(), at + 0.5 * BEAT, 0.32)
        if beat % 4 in (1, 3) and beat >= 8:
            place(mix, brush(random), at, 0.15, pan=-0.12)
        for half, level in ((0.0, 0.055), (0.5, 0.095)):
            place(mix, hat(random), at + half * BEAT, level, pan=0.35)
    place(mix, hat(random, 2.0, 2.4), 20 * BEAT, 0.10, pan=0.2)
    place(mix, hat(random, 2.2, 2.0), 28 * BEAT, 0.11, pan=-0.2)
    place(mix, kick(), 28 * BEAT, 0.50)


def accompaniment(mix, random):
    """Chords, arpeggio and bass line."""
    for first, beats, root, notes in CHORDS:
        at, seconds = first * BEAT, beats * BEAT
        last = first == 28
        for index, note in enumerate(notes):
            place(mix, pad(note, seconds, random), at, 0.052, pan=(index - 1.5) * 0.45)
        if last:
            for index, note in enumerate(notes):
                place(mix, electric_piano(note, seconds), at + 0.03 * index, 0.11)
            place(mix, bass(root, seconds), at, 0.30)
            continue
        for step in range(beats * 2):
            note = notes[(0, 2, 1, 3, 2, 1, 3, 2)[step % 8]]
            level = 0.13 if step % 2 == 0 else 0.095
            side = -0.4 if step % 2 == 0 else 0.4
            sound = electric_piano(note + 12 * (step % 4 == 3), 0.5)
            place(mix, sound, at + step * BEAT / 2, level, side)
        place(mix, bass(root, 1.4 * BEAT), at, 0.30)
        place(mix, bass(root + 7, 0.45 * BEAT), at + 1.5 * BEAT, 0.20)
        if beats == 4:
            place(mix, bass(root, 0.9 * BEAT), at + 2.0 * BEAT, 0.26)
            place(mix, bass(root + 12, 0.5 * BEAT), at + 3.0 * BEAT, 0.18)
            place(mix, bass(root + 7, 0.45 * BEAT), at + 3.5 * BEAT, 0.20)


def render(length, random):
    """The whole tune as `length` stereo samples."""
    mix = np.zeros((length, 2))
    accompaniment(mix, random)
    for first, beats, note in MELODY:
        place(mix, bell(note, beats * BEAT), first * BEAT, 0.17, pan=0.1)
    for ear in range(2):
        mix[:, ear] = filtered(mix[:, ear], low_pass(15_000.0))
    drums(mix, random)
    return mix + 0.22 * reverb(mix, random)


assert samples(BARS * BAR) == 20 * SAMPLE_RATE
