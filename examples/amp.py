"""Plays a guitar recording through a captured amplifier, as an audio callback would: 64 samples at a time.

    python examples/amp.py AMP.nam DRY.wav WET.wav [--block 64]

AMP is a capture (.nam, an RTNeural .json) or a .rnnrt file of one; the first channel of DRY.wav counts. The
stream is made for real time: no call allocates memory or takes a lock. Printed is how long the slowest blocks
took beside what a block may take.
"""

import argparse
import time

import numpy as np

import rnnrt
from rnnrt.format import wav


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("amp", help=".nam, .json or .rnnrt")
    parser.add_argument("dry", help="a WAV file")
    parser.add_argument("wet", help="the WAV file to write")
    parser.add_argument("--block", type=int, default=64, metavar="SAMPLES")
    options = parser.parse_args(arguments)
    with open(options.amp, "rb") as file:
        saved = file.read(1) != b"{"  # captures are JSON
    model = rnnrt.load(options.amp) if saved else rnnrt.convert(options.amp)
    sound = wav.read(options.dry)
    rate = model.metadata.get("sample_rate")
    if rate is not None and rate != sound.rate:
        parser.error(f"{options.dry} has {sound.rate} samples a second, the amplifier {rate:g}: resample it")
    dry = sound.samples[:, :1].copy()
    wet, took, done = np.zeros_like(dry), [], 0
    stream = model.stream(realtime=True)
    for k in range(0, len(dry), options.block):
        began = time.perf_counter()
        made = stream.push(dry[k : k + options.block], out=wet[done : done + options.block])
        took.append(time.perf_counter() - began)
        done += len(made)
    done += len(stream.flush(out=wet[done:]))
    parts, clipped = wav.encode(wav.Sound(wet[:done], sound.rate, sound.encoding))
    with open(options.wet, "wb") as file:
        file.writelines(parts)
    budget = options.block / sound.rate
    half, slow = np.percentile(took, [50, 99])
    seconds = len(dry) / sound.rate
    print(
        f"{seconds:.2f} s, {seconds / max(sum(took), 1e-9):.0f} x real time; a block may take "
        f"{budget * 1e3:.2f} ms: p50 {half * 1e3:.3f} ms, p99 {slow * 1e3:.3f} ms, "
        f"{sum(t > budget for t in took)} too late"
    )
    if clipped:
        print(f"{clipped} samples were beyond full scale and are cut")


if __name__ == "__main__":
    main()
