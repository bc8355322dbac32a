"""The hold music: soft chords and a slow broken chord above them, computed. Composed for this project; no recording is used."""

import numpy as np
from scipy import signal

# Seconds that a chord lasts; eight chords make a round.
CHORD_S = 8.0

# The notes of each chord, as semitones above F4 (349 Hz), low to high; the key is A flat major. A telephone carries 300 to 3400 Hz:
# the lowest note is a support that may be missing.
CHORDS = [
    (-9, -2, 2, 7, 10),  # major seventh on the tonic
    (-12, -5, 0, 3, 7),  # sixth degree, minor
    (-4, 0, 3, 7, 12),  # fourth degree, major seventh
    (-2, 2, 5, 10, 14),  # fifth degree
    (-7, 0, 3, 5, 8),  # second degree, minor seventh
    (-12, -5, 0, 3, 10),  # sixth degree, minor seventh
    (-2, 2, 5, 8, 10),  # fifth degree with its seventh, which leads home
    (-9, -5, -2, 3, 7),  # the tonic, at rest
]


def hertz(semitones):
    return 349.23 * 2 ** (semitones / 12)


def hold_music(rate_hz):
    """Returns one round. Its end is as quiet as its beginning, and its echo goes on across the seam: it can be repeated."""
    length = int(CHORD_S * len(CHORDS) * rate_hz)
    dry = np.zeros(length)
    rng = np.random.RandomState(7)
    for number, chord in enumerate(CHORDS):
        last = number == len(CHORDS) - 1
        pad(dry, rate_hz, number * CHORD_S, chord, last)
        arpeggio(dry, rate_hz, number * CHORD_S, chord, last, rng)
    return echo(dry, rate_hz)


def add(dry, rate_hz, at_s, sound):
    """Adds a sound, what goes beyond the end at the beginning."""
    first = int(round(at_s * rate_hz))
    np.add.at(dry, (first + np.arange(len(sound))) % len(dry), sound)


def pad(dry, rate_hz, at_s, chord, last):
    """A chord that swells within 2.5 s and fades into the next."""
    lasts = CHORD_S - 1.0 if last else CHORD_S + 2.5
    t = np.arange(int(lasts * rate_hz)) / rate_hz
    swell, fade = 2.5, 4.5 if last else 3.5
    shape = np.minimum(t / swell, 1) * np.minimum((lasts - t) / fade, 1)
    shape = np.sin(0.5 * np.pi * np.clip(shape, 0, 1)) ** 2
    sound = np.zeros(len(t))
    for place, note in enumerate(chord):
        for detune in (-0.0012, 0.0012):
            f = hertz(note) * (1 + detune)
            phase = 1.7 * place + 900 * detune
            for harmonic, weight in ((1, 1.0), (2, 0.35), (3, 0.12), (4, 0.04)):
                sound += (0.5 if place == 0 else 1.0) * weight * np.sin(2 * np.pi * f * harmonic * t + phase * harmonic)
    add(dry, rate_hz, at_s, 0.035 * shape * sound)


def arpeggio(dry, rate_hz, at_s, chord, last, rng):
    """The notes of the chord an octave higher, one after another, like a soft bell."""
    order = (1, 2, 3, 4, 3, 2, 3, 1)
    for step, place in enumerate(order[: 4 if last else 8]):
        t = np.arange(int(2.5 * rate_hz)) / rate_hz
        f = hertz(chord[place] + 12)
        shape = np.minimum(t / 0.012, 1) * np.exp(-t / 0.55) * np.minimum((2.5 - t) / 0.3, 1)
        sound = np.sin(2 * np.pi * f * t) + 0.22 * np.exp(-t / 0.2) * np.sin(2 * np.pi * 2 * f * t)
        softly = 0.055 * (0.8 + 0.2 * rng.rand())
        add(dry, rate_hz, at_s + 0.5 + step * 0.9 + 0.012 * rng.rand(), softly * shape * sound)


def echo(dry, rate_hz):
    """A room: noise that fades within two seconds, its top taken away, the round taken as a circle."""
    rng = np.random.RandomState(11)
    t = np.arange(int(2.0 * rate_hz)) / rate_hz
    room = rng.randn(len(t)) * np.exp(-t / 0.32) * np.minimum(t / 0.02, 1)
    room = signal.sosfilt(signal.butter(2, [200, 2500], "bandpass", fs=rate_hz, output="sos"), room)
    room /= np.sqrt(np.sum(room**2))
    circle = np.zeros(len(dry))
    circle[: len(room)] = room
    wet = np.fft.irfft(np.fft.rfft(dry) * np.fft.rfft(circle), len(dry))
    return dry + 0.35 * wet
