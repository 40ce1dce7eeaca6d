"""Sound building blocks: oscillators, envelopes, noise, reverb, resampling.

All signals are float64 NumPy arrays at 48 kHz. Mono is shape (n,), stereo is
shape (n, 2), left first.
"""

import numpy as np

SAMPLE_RATE = 48_000


def samples(seconds):
    """The number of samples nearest to a length in seconds."""
    return int(round(seconds * SAMPLE_RATE))


def frequency(note):
    """The frequency in Hz of a MIDI note number (69 is A at 440 Hz)."""
    return 440.0 * 2.0 ** ((note - 69) / 12.0)


def timeline(length):
    """The time in seconds of each of `length` samples."""
    return np.arange(length) / SAMPLE_RATE


def envelope(length, attack, release):
    """Raised-cosine attack and release (seconds) around a flat top of 1."""
    shape = np.ones(length)
    rise, fall = min(samples(attack), length), min(samples(release), length)
    shape[:rise] *= 0.5 - 0.5 * np.cos(np.pi * np.arange(rise) / rise)
    shape[length - fall :] *= 0.5 + 0.5 * np.cos(np.pi * (np.arange(fall) + 1) / fall)
    return shape


def place(mix, sound, at, gain=1.0, pan=0.0):
    """Adds a mono sound to a stereo mix at a time in seconds.

    `pan` runs from -1 (left) to 1 (right) with constant power; what lies
    beyond the end of the mix is dropped.
    """
    start = samples(at)
    sound = sound[: max(0, len(mix) - start)]
    angle = (pan + 1.0) * np.pi / 4.0
    mix[start : start + len(sound), 0] += gain * np.sqrt(2.0) * np.cos(angle) * sound
    mix[start : start + len(sound), 1] += gain * np.sqrt(2.0) * np.sin(angle) * sound


def filtered(signal, response):
    """Filters a mono signal by a zero-phase gain curve `response(hz)`."""
    size = 1 << (len(signal) + SAMPLE_RATE // 10).bit_length()
    spectrum = np.fft.rfft(signal, size)
    hertz = np.fft.rfftfreq(size, 1.0 / SAMPLE_RATE)
    return np.fft.irfft(spectrum * response(hertz), size)[: len(signal)]


def low_pass(cutoff, order=2):
    """A Butterworth-shaped low-pass gain curve."""
    return lambda hertz: 1.0 / np.sqrt(1.0 + (hertz / cutoff) ** (2 * order))


def high_pass(cutoff, order=2):
    """A Butterworth-shaped high-pass gain curve."""
    return lambda hertz: 1.0 - low_pass(cutoff, order)(hertz)


def reverb(stereo, random, seconds=1.6, predelay=0.018):
    """The wet signal of a small hall: decaying, darkening noise per ear."""
    length = samples(seconds)
    wet = np.zeros_like(stereo)
    size = 1 << (len(stereo) + length).bit_length()
    for ear in range(2):
        noise = random.uniform(-1.0, 1.0, length)
        bright = noise * np.exp(-9.0 * timeline(length))
        dark = filtered(noise, low_pass(2200.0)) * np.exp(-4.3 * timeline(length))
        impulse = np.concatenate([np.zeros(samples(predelay)), 0.3 * bright + dark])
        impulse /= np.sqrt(np.sum(impulse**2))
        product = np.fft.rfft(stereo[:, ear], size) * np.fft.rfft(impulse, size)
        wet[:, ear] = np.fft.irfft(product, size)[: len(stereo)]
    return wet


def resample(signal, rate, taps=48):
    """Resamples a mono signal from `rate` Hz to 48 kHz, windowed sinc."""
    length = len(signal) * SAMPLE_RATE // rate
    # Only rates below 48 kHz come in, so the source's own band is the limit.
    assert rate <= SAMPLE_RATE
    padded = np.concatenate([np.zeros(taps), signal, np.zeros(taps)])
    position = np.arange(length) * (rate / SAMPLE_RATE)
    whole = np.floor(position).astype(int)
    fraction = position - whole
    out = np.zeros(length)
    for tap in range(1 - taps // 2, taps // 2 + 1):
        distance = tap - fraction
        window = 0.5 + 0.5 * np.cos(np.pi * np.clip(distance / (taps / 2), -1.0, 1.0))
        out += padded[whole + tap + taps] * 0.97 * np.sinc(0.97 * distance) * window
    return out
