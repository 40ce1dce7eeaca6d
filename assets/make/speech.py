"""The spoken part: espeak-ng sentences placed on the tune's time line."""

import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np

from synth import SAMPLE_RATE, filtered, high_pass, resample, samples

VOICE = ["-v", "en-us", "-s", "168", "-p", "42"]

# (start in seconds, sentence)
LINES = [
    (0.50, "This is discord voice."),
    (2.05, "A bot joins a voice channel, sends audio, hears every speaker, and stays connected."),
    (7.70, "That was the speech mode of Opus. This is its hybrid of speech and music,"),
    (12.60, "and this is music."),
]


def speak(text):
    """One sentence as mono samples at 48 kHz, without silence around it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.wav"
        subprocess.run(["espeak-ng", *VOICE, "-w", str(path), text], check=True)
        with wave.open(str(path)) as reader:
            assert reader.getnchannels() == 1 and reader.getsampwidth() == 2
            rate = reader.getframerate()
            data = np.frombuffer(reader.readframes(reader.getnframes()), "<i2") / 32768.0
    loud = np.flatnonzero(np.abs(data) > 0.004)
    data = data[loud[0] : loud[-1] + 1]
    return filtered(resample(data, rate), high_pass(70.0))


def render(length):
    """All sentences as `length` mono samples, plus (start, end, text) rows."""
    track = np.zeros(length)
    rows = []
    for start, text in LINES:
        sound = speak(text)
        sound *= 0.1 / np.sqrt(np.mean(sound**2))
        first = samples(start)
        if rows and first < samples(rows[-1][1]):
            raise ValueError(f"the line at {start} s starts before the previous one ends")
        track[first : first + len(sound)] += sound
        rows.append((start, start + len(sound) / SAMPLE_RATE, text))
    return track, rows


def presence(rows, length, lead=0.20, hold=0.25, ramp=0.22):
    """A 0-to-1 curve that is 1 while someone speaks, for ducking the music."""
    active = np.zeros(length)
    for start, end, _ in rows:
        active[samples(max(0.0, start - lead)) : samples(end + hold)] = 1.0
    window = np.hanning(samples(ramp) | 1)
    size = 1 << (length + len(window)).bit_length()
    product = np.fft.rfft(active, size) * np.fft.rfft(window / window.sum(), size)
    half = len(window) // 2
    return np.clip(np.fft.irfft(product, size)[half : half + length], 0.0, 1.0)
