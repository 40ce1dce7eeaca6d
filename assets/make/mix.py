"""The mix: music ducked under speech, as 16-bit stereo at 48 kHz."""

import numpy as np

import music
import speech
from synth import filtered, high_pass, samples

SEED = 20
PEAK = 0.80


def render(length):
    """`length` samples as an (n, 2) array of int16, and the speech's rows."""
    # RandomState is NumPy's frozen generator: its streams never change.
    random = np.random.RandomState(SEED)
    tune = music.render(length, random)
    words, rows = speech.render(length)
    duck = 1.0 - 0.60 * speech.presence(rows, length)
    mix = tune * duck[:, None] * 0.62 + 1.15 * words[:, None]
    for ear in range(2):
        mix[:, ear] = filtered(mix[:, ear], high_pass(28.0))
    # The fade stops short of digital silence, which Opus would code as a
    # silence frame.
    fade = samples(1.0)
    mix[length - fade :] *= (10.0 ** (-42.0 / 20.0 * np.linspace(0.0, 1.0, fade) ** 1.5))[:, None]
    # A gentle saturation rounds off the few loudest peaks.
    mix = np.tanh(1.2 * mix / np.max(np.abs(mix)))
    mix *= PEAK / np.max(np.abs(mix))
    return np.round(mix * 32767.0).astype("<i2"), rows
