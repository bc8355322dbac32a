"""What both scripts share: the texts, and how what was said is made ready for a telephone."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
RATE_HZ = 16_000
PROMPT_LUFS = -23.0
MOST_PEAK_DBFS = -3.0
# Silence before and behind what is said.
EDGE_S = 0.04
# How long it takes to begin and to end.
FADE_IN_S, FADE_OUT_S = 0.008, 0.025
# Over how long the limiter lowers what is around a peak.
LIMITER_S = 0.006
# What is this far below the loudest is no speech.
SILENCE_DB = -42


def install(tools, libraries):
    """Installs the packages of missing programs and libraries, or says which they are."""
    missing = {package for tool, package in tools.items() if not shutil.which(tool)}
    for package in libraries:
        asked = subprocess.run(["dpkg-query", "-W", "-f", "${Status}", package], capture_output=True, text=True)
        if "ok installed" not in asked.stdout:
            missing.add(package)
    if not missing:
        return
    if os.geteuid() != 0:
        sys.exit(f"Missing: apt-get install {' '.join(sorted(missing))}")
    subprocess.run(["apt-get", "install", "-y", "--no-install-recommends", *sorted(missing)], check=True)


def read_texts(language):
    """Returns what each id says, and what the synthesiser is given for it."""
    path = HERE / "prompts" / f"{language}.txt"
    said, given = {}, {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([a-z0-9_-]+)( ~|:) (.+)", line)
        if not match:
            sys.exit(f"{path}:{number}: neither 'id: text' nor 'id ~ text'")
        prompt, kind, text = match.groups()
        if (prompt in said) == (kind == ":"):
            sys.exit(f"{path}:{number}: {prompt} is there twice, or has no text before its pronunciation")
        if kind == ":":
            said[prompt] = text
        given[prompt] = text
    return said, given


def polish(rate_hz, samples):
    """Trims what was said, cleans its ends and brings it to rate and loudness."""
    import numpy as np
    from scipy import signal

    from loudness import lufs, peak_dbfs

    common = np.gcd(rate_hz, RATE_HZ)
    samples = signal.resample_poly(samples, RATE_HZ // common, rate_hz // common)
    # Neither hum nor offset: what is below no telephone carries.
    samples = signal.sosfiltfilt(signal.butter(2, 70, "highpass", fs=RATE_HZ, output="sos"), samples)
    window = RATE_HZ // 200
    level = np.sqrt(np.convolve(samples**2, np.ones(window) / window, "same"))
    loud = np.flatnonzero(level > level.max() * 10 ** (SILENCE_DB / 20))
    edge, fade_in, fade_out = (int(seconds * RATE_HZ) for seconds in (EDGE_S, FADE_IN_S, FADE_OUT_S))
    said = samples[max(loud[0] - fade_in, 0) : loud[-1] + fade_out].copy()
    said[:fade_in] *= ramp(fade_in)
    said[-fade_out:] *= ramp(fade_out)[::-1]
    samples = np.concatenate([np.zeros(edge), said, np.zeros(edge)])
    # What the limiter takes away is made up for, until nothing is left to do.
    for _ in range(5):
        samples = limited(samples * 10 ** ((PROMPT_LUFS - lufs(samples, RATE_HZ)) / 20))
    over = peak_dbfs(samples) - MOST_PEAK_DBFS
    return samples * 10 ** (-over / 20) if over > 0 else samples


def limited(samples):
    """Lowers what is around a peak above the limit, softly, so that no peak has to be cut."""
    import numpy as np
    from scipy import ndimage

    # Half a decibel is left for what lies between the samples.
    most = 10 ** ((MOST_PEAK_DBFS - 0.5) / 20)
    if np.max(np.abs(samples)) <= most:
        return samples
    width = int(LIMITER_S * RATE_HZ) | 1
    gain = np.minimum(1, most / np.maximum(ndimage.maximum_filter1d(np.abs(samples), width), 1e-9))
    window = np.hanning(width + 2)[1:-1]
    return samples * np.convolve(np.pad(gain, width // 2, "edge"), window / window.sum(), "valid")


def ramp(length):
    import numpy as np

    return 0.5 - 0.5 * np.cos(np.pi * (np.arange(length) + 0.5) / length)
