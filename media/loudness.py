"""Measures how loud a sound is (ITU-R BS.1770-4, one channel), and reads and writes WAV files of 16 bits."""

import wave

import numpy as np
from scipy import signal


def weighted(samples, rate_hz):
    """Returns the samples as the two filters of BS.1770 let them through, made for the rate."""
    rate = float(rate_hz)
    # The head: a shelf.
    k = np.tan(np.pi * 1681.974450955533 / rate)
    gain, q = 10 ** (3.999843853973347 / 20), 0.7071752369554196
    middle = gain**0.4996667741545416
    a0 = 1 + k / q + k * k
    shelf_b = [(gain + middle * k / q + k * k) / a0, 2 * (k * k - gain) / a0, (gain - middle * k / q + k * k) / a0]
    shelf_a = [1, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]
    # What is too low to count.
    k = np.tan(np.pi * 38.13547087602444 / rate)
    q = 0.5003270373238773
    a0 = 1 + k / q + k * k
    high_a = [1, 2 * (k * k - 1) / a0, (1 - k / q + k * k) / a0]
    return signal.lfilter([1, -2, 1], high_a, signal.lfilter(shelf_b, shelf_a, samples))


def lufs(samples, rate_hz):
    """Returns the integrated loudness, gated. What is shorter than one block of 400 ms counts as one block."""
    power = weighted(np.asarray(samples, dtype=float), rate_hz) ** 2
    block, step = int(0.4 * rate_hz), int(0.1 * rate_hz)
    starts = range(0, max(len(power) - block, 0) + 1, step)
    blocks = np.array([np.mean(power[start : start + block]) for start in starts])
    loudness = -0.691 + 10 * np.log10(blocks + 1e-12)
    loud = blocks[loudness > -70]
    if not len(loud):
        return -70.0
    gate = -0.691 + 10 * np.log10(np.mean(loud)) - 10
    loud = blocks[(loudness > -70) & (loudness > gate)]
    return -0.691 + 10 * np.log10(np.mean(loud))


def peak_dbfs(samples):
    """Returns the highest peak between the samples too, by oversampling four times."""
    over = signal.resample_poly(samples, 4, 1)
    return 20 * np.log10(max(np.max(np.abs(over)), 1e-9))


def read_wav(path):
    """Returns rate and samples, full scale being 1."""
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2), path
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
        return file.getframerate(), samples / 32768


def write_wav(path, rate_hz, samples):
    """Writes samples, full scale being 1."""
    whole = np.round(samples * 32768)
    assert np.max(np.abs(whole)) < 32767, f"{path} is clipped"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate_hz, 0, "NONE", "not compressed"))
        file.writeframes(whole.astype("<i2").tobytes())
