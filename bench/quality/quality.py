#!/usr/bin/env python3
"""Speech quality through the real server or through its legs in simulated time, beside the codec alone.

Speech of espeak-ng passes from one participant to another through a running server (`pass`), or with --simulated through the same legs
and mixer on a simulated clock (a test of confab-media), which a machine that stalls cannot spoil; and beside it through one encoder and
one decoder without any server (the example `transmit` of confab-codec). Both are compared with what was said by PESQ (narrow band for
G.711, wide band for the others) and STOI, for several seeds: each seed is another voice, another text and other losses.

    cargo build --release -p confab -p confab-bench --bin confab --bin pass
    cargo build --release -p confab-codec --example transmit
    bench/quality/quality.py                                  # everything, about ten minutes
    bench/quality/quality.py --simulated                      # everything, on the simulated clock
    bench/quality/quality.py --codec pcmu --codec opus --condition clean --condition 5%

The first run makes a virtual environment and installs numpy, scipy, pesq and pystoi into it; a C compiler is needed for pesq.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ["numpy", "scipy", "setuptools", "pesq", "pystoi"]

# Milliseconds of near silence before and after the speech: playout settles, the end gets through.
LEAD_MS, TAIL_MS = 1500, 500
# A run whose sender or whose server was later than this is done again: what it measures is the machine.
LATE_US = 8000

VOICES = ["en-gb+m3", "en-us+f2", "en-gb+f4", "en-us+m1", "en-gb+m7"]
TEXTS = [
    "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. It is easy to tell the depth of a well.",
    "These days a chicken leg is a rare dish. Rice is often served in round bowls. The juice of lemons makes fine punch.",
    "The box was thrown beside the parked truck. The hogs were fed chopped corn and garbage. Four hours of steady work faced us.",
    "A large size in stockings is hard to sell. The boy was there when the sun rose. A rod is used to catch pink salmon.",
    "The source of the huge river is the clear spring. Kick the ball straight and follow through. Help the woman get back to her feet.",
]

# Name, loss, mean burst, jitter in ms, whether jitter reorders.
CONDITIONS = [
    ("clean", 0.00, 1, 0, False),
    ("1%", 0.01, 1, 0, False),
    ("3%", 0.03, 1, 0, False),
    ("5%", 0.05, 1, 0, False),
    ("10%", 0.10, 1, 0, False),
    ("5% bursts", 0.05, 3, 0, False),
    ("jitter 40 ms", 0.00, 1, 40, False),
    ("jitter 40 ms reordered", 0.00, 1, 40, True),
]

# Name, codec of `pass`, codec of `transmit`, rate, rate of the room, FEC for this loss in percent, bit rate.
CODECS = {
    "pcmu": ("PCMU", "pcmu", "pcmu", 8000, 8000, 0, 0),
    "g722": ("G.722", "g722", "g722", 16000, 16000, 0, 0),
    "opus": ("Opus", "opus", "opus/48000", 48000, 48000, 0, 40000),
    "opus-fec": ("Opus, FEC", "opus", "opus/48000", 48000, 48000, 10, 40000),
    "opus-16k": ("Opus, 16 kHz room", "opus", "opus/16000", 48000, 16000, 0, 24000),
    "opus-16k-fec": ("Opus, FEC, 16 kHz room", "opus", "opus/16000", 48000, 16000, 10, 36000),
}

# How far below the codec alone, without loss, the server may be.
ALLOWED = {
    ("pcmu", "clean"): 0.03,
    ("pcmu", "5%"): 0.7,
    ("pcmu", "5% bursts"): 1.1,
    ("pcmu", "jitter 40 ms"): 0.05,
    ("pcmu", "jitter 40 ms reordered"): 0.15,
    ("opus", "clean"): 0.15,
    ("opus-fec", "clean"): 0.15,
    ("opus-fec", "5%"): 0.7,
    ("opus-16k", "clean"): 0.15,
    ("opus-16k-fec", "clean"): 0.15,
    ("opus-16k-fec", "5%"): 0.7,
}


def into_environment(directory):
    """Starts this script again inside the virtual environment, made if it is not there."""
    python = directory / "bin" / "python"
    if Path(sys.prefix).resolve() == directory.resolve():
        return
    if not (directory / "complete").exists():
        venv.create(directory, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        (directory / "complete").touch()
    os.execv(python, [str(python), *sys.argv])


def speech(number, directory):
    """Returns espeak-ng's speech as floats, its rate and nothing louder than -6 dBFS."""
    import numpy as np
    from scipy.io import wavfile

    path = directory / f"speech{number}.wav"
    text = TEXTS[number % len(TEXTS)]
    voice = VOICES[number % len(VOICES)]
    subprocess.run(["espeak-ng", "-v", voice, "-s", "150", "-w", path, text], check=True)
    rate, samples = wavfile.read(path)
    samples = samples.astype(np.float64)
    return samples / np.abs(samples).max() * 0.5, rate


def resampled(samples, from_hz, to_hz):
    from math import gcd

    from scipy.signal import resample_poly

    if from_hz == to_hz:
        return samples
    common = gcd(from_hz, to_hz)
    return resample_poly(samples, to_hz // common, from_hz // common, window=("kaiser", 8.0))


def padded(samples, rate, seed):
    """Puts noise far below speech around it, for codecs and gates behave oddly in digital silence."""
    import numpy as np

    generator = np.random.default_rng(seed)
    noise = lambda ms: generator.normal(0, 1e-4, rate * ms // 1000)
    return np.concatenate([noise(LEAD_MS), samples, noise(TAIL_MS)])


def write(path, samples):
    import numpy as np

    np.clip(np.round(samples * 32768), -32768, 32767).astype("<i2").tofile(path)


def read(path):
    import numpy as np

    return np.fromfile(path, dtype="<i2").astype(np.float64) / 32768


def judged(said, heard, rate):
    """Returns PESQ and STOI of what was heard, after finding where it begins."""
    import numpy as np
    from pesq import pesq
    from pystoi import stoi
    from scipy.signal import correlate

    wide = rate >= 16000
    target = 16000 if wide else 8000
    said, heard = resampled(said, rate, target), resampled(heard, rate, target)
    shift = int(np.argmax(correlate(heard, said, mode="full", method="fft"))) - (len(said) - 1)
    heard = heard[shift:] if shift >= 0 else np.concatenate([np.zeros(-shift), heard])
    heard = np.pad(heard[: len(said)], (0, max(0, len(said) - len(heard))))
    return pesq(target, said, heard, "wb" if wide else "nb"), stoi(said, heard, target)


def through_server(arguments, jobs):
    """Runs jobs side by side. Returns the sender's worst lateness in µs and whether the run counts."""
    command = [arguments.pass_, "--server", arguments.server]
    for setting in arguments.set:
        command += ["--set", setting]
    done = subprocess.run(command, input=json.dumps(jobs), capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"pass: {done.stderr}")
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    late = max(report["sender_worst_late_us"] for report in reports)
    skipped = max(report["skipped_ticks"] for report in reports)
    missing = sum(report["heard_missing"] for report in reports)
    counts = late <= LATE_US and skipped == 0 and missing == 0
    if not counts:
        print(f"  again: sender {late} µs late, {skipped:.0f} ticks skipped, {missing} packets missing", file=sys.stderr)
    return late, counts


def through_simulation(arguments, jobs):
    """Runs jobs on the simulated clock: nothing in it is ever late."""
    keys = ["codec", "seed", "loss", "burst", "jitter_ms", "reorders", "fec_percent", "bitrate_bps", "room_hz", "input", "output"]
    with tempfile.NamedTemporaryFile("w", suffix=".jobs") as listed:
        for job in jobs:
            print(*[int(value) if isinstance(value := job[key], bool) else value for key in keys], file=listed)
        listed.flush()
        command = ["cargo", "test", *arguments.profile, "--quiet", "-p", "confab-media", "--lib", "speech_files_pass", "--", "--ignored"]
        environment = {**os.environ, "CONFAB_SPEECH_JOBS": listed.name}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"simulation: {done.stdout}{done.stderr}")


def heard_in_time(arguments, jobs, judge):
    """Repeats a run until the machine was in time. Packets and losses are the same each time: what a stall of the machine changes, it
    changes for the worse, so that the best of what was heard of each seed counts when no run was in time."""
    import numpy as np

    if arguments.simulated:
        through_simulation(arguments, jobs)
        return np.array(judge()), 0, True
    best, least_late = None, None
    for _ in range(arguments.tries):
        late, counts = through_server(arguments, jobs)
        scores = np.array(judge())
        if counts:
            return scores, late, True
        best = scores if best is None else np.maximum(best, scores)
        least_late = late if least_late is None else min(late, least_late)
    return best, least_late, False


def alone(arguments, transmit_codec, loss, burst, seed, fec, bitrate, source):
    command = [arguments.transmit, transmit_codec, str(loss * 100), str(burst), str(seed), str(fec), str(bitrate)]
    with open(source, "rb") as stdin:
        done = subprocess.run(command, stdin=stdin, capture_output=True, check=True)
    import numpy as np

    return np.frombuffer(done.stdout, dtype="<i2").astype(np.float64) / 32768


def measure(arguments, key, directory):
    """Yields a row for each condition of a codec."""
    import numpy as np

    name, codec, transmit_codec, rate, room_hz, fec, bitrate = CODECS[key]
    sources = []
    for seed in range(arguments.seeds):
        samples, from_hz = speech(seed, directory)
        said = padded(resampled(samples, from_hz, rate), rate, seed)
        path = directory / f"{key}.{seed}.raw"
        write(path, said)
        sources.append((path, read(path)))
    lead, tail = rate * LEAD_MS // 1000, rate * TAIL_MS // 1000
    core = lambda samples: samples[lead - rate // 4 : len(samples) - tail + rate // 4]
    clean_alone = None
    for condition, loss, burst, jitter_ms, reorders in CONDITIONS:
        if arguments.condition and condition not in arguments.condition and condition != "clean":
            continue
        scores_alone = [
            judged(core(said), alone(arguments, transmit_codec, loss, burst, seed + 1, fec, bitrate, path), rate)
            for seed, (path, said) in enumerate(sources)
        ]
        scores_alone = np.mean(scores_alone, axis=0)
        if clean_alone is None:
            clean_alone = scores_alone
        jobs = [
            {
                "codec": codec, "input": str(path), "output": f"{path}.heard", "seed": seed + 1, "loss": loss, "burst": burst,
                "jitter_ms": jitter_ms, "reorders": reorders, "fec_percent": fec, "bitrate_bps": bitrate, "room_hz": room_hz,
            }
            for seed, (path, _) in enumerate(sources)
        ]
        judge = lambda: [judged(core(said), read(f"{path}.heard"), rate) for path, said in sources]
        each, late_us, counts = heard_in_time(arguments, jobs, judge)
        pesq, stoi = np.mean(each, axis=0)
        allowed = ALLOWED.get((key, condition))
        difference = pesq - clean_alone[0]
        verdict = "" if allowed is None else ("yes" if difference >= -allowed else "no") + f" (−{allowed:.2f})"
        mark = "" if counts else " (late)"
        print(
            f"| {name} | {condition} | {scores_alone[0]:.2f} / {scores_alone[1]:.3f} | {pesq:.2f} / {stoi:.3f} | "
            f"{difference:+.2f} | {verdict} | {late_us / 1000:.1f}{mark} |",
            flush=True,
        )
        if arguments.verbose:
            print(f"  each: {[f'{one[0]:.2f}' for one in each]}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--codec", action="append", choices=list(CODECS), help="only this one; may be repeated")
    parser.add_argument("--condition", action="append", choices=[row[0] for row in CONDITIONS], help="only this one beside clean")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tries", type=int, default=6, help="how often a run is repeated that the machine spoilt")
    parser.add_argument("--target", type=Path, default=ROOT / "target" / "release", help="folder of the built binaries")
    parser.add_argument("--set", action="append", default=[], help="KEY=VALUE of the server's configuration")
    parser.add_argument("--environment", type=Path, default=ROOT / "target" / "quality-env")
    parser.add_argument("--simulated", action="store_true", help="the server's legs and mixer on a simulated clock")
    parser.add_argument("--debug", action="store_true", help="builds the simulation without optimisation")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    into_environment(arguments.environment)
    arguments.profile = [] if arguments.debug else ["--release"]
    arguments.server = arguments.target / "confab"
    arguments.pass_ = arguments.target / "pass"
    arguments.transmit = arguments.target / "examples" / "transmit"

    through = "through the legs, simulated" if arguments.simulated else "through the server"
    print(f"| codec | path | codec alone, same loss | {through} | against codec alone, clean | within | sender late, ms |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        for key in arguments.codec or CODECS:
            if key.startswith("opus-16k") and not arguments.simulated:
                # A room that stays below its talkers' rate needs a profile that `pass` does not make.
                continue
            measure(arguments, key, Path(directory))


if __name__ == "__main__":
    main()
