"""Where in a recording somebody speaks: segments with their times, with Silero VAD.

    python tools/fetch_models.py silero_vad.onnx
    python examples/speech_segments.py models/silero_vad.onnx TALK.wav [--picture segments.png]

TALK.wav has 16,000 samples a second; the first channel counts. The network says for every 32 ms how probable
speech is. Speech begins at ``--threshold``, and ends where the probability stays below ``threshold - 0.15``
for ``--min-silence`` seconds; what is shorter than ``--min-speech`` seconds is dropped, and ``--pad`` seconds
are added at both ends. These are the rules and the defaults of the silero-vad package without a longest
duration.
"""

import argparse

import numpy as np

import rnnrt
from rnnrt.format import wav

RATE, CHUNK, CONTEXT = 16000, 512, 64


def load(path):
    """The network for 16 kHz. A frame is 512 new samples after the last 64 of the frame before it; the state
    that the file takes and gives is kept by the stream.
    """
    return rnnrt.from_onnx(
        path,
        state={"state": "stateN"},
        constants={"sr": RATE},
        shapes={"input": (None, CONTEXT + CHUNK)},
    )


def probabilities(model, samples):
    """One number for every 32 ms, as they come: this is how a live source would be fed."""
    frames = rnnrt.frontends.Frames(CONTEXT + CHUNK, CHUNK, padding=(CONTEXT, 0)).stream()
    stream = model.stream()
    for k in range(0, len(samples), CHUNK):
        chunk = samples[k : k + CHUNK]
        for frame in frames.push(np.pad(chunk, (0, CHUNK - len(chunk)))):
            yield float(stream.step(frame)[0])


def segments(chances, length, *, threshold=0.5, min_speech=0.25, min_silence=0.1, pad=0.03):
    """[(first sample, end)] of speech from the probabilities of ``length`` samples. Times in seconds."""
    leave = max(threshold - 0.15, 0.01)
    found, begin, silent_from = [], None, None
    for k, chance in enumerate(chances):
        at = k * CHUNK
        if chance >= threshold:
            begin = at if begin is None else begin
            silent_from = None
        elif chance < leave and begin is not None:
            silent_from = at if silent_from is None else silent_from
            if at - silent_from >= min_silence * RATE:
                found.append((begin, silent_from))
                begin = silent_from = None
    if begin is not None:
        found.append((begin, length))
    found = [(a, b) for a, b in found if b - a > min_speech * RATE]
    padded, room = [], int(pad * RATE)
    for k, (a, b) in enumerate(found):
        before = a - found[k - 1][1] if k else 2 * a
        after = found[k + 1][0] - b if k + 1 < len(found) else 2 * (length - b)
        padded.append((a - min(room, before // 2), b + min(room, after // 2)))
    return padded


def draw(path, samples, chances, found, threshold):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (top, bottom) = pyplot.subplots(2, sharex=True, figsize=(10, 4), layout="constrained")
    top.plot(np.arange(len(samples)) / RATE, samples, linewidth=0.4)
    bottom.step(np.arange(len(chances)) * CHUNK / RATE, chances, where="post")
    bottom.axhline(threshold, linestyle=":", color="grey")
    for axis in (top, bottom):
        for a, b in found:
            axis.axvspan(a / RATE, b / RATE, color="tab:green", alpha=0.2)
    top.set_ylabel("samples")
    bottom.set(
        ylabel="probability of speech", xlabel="seconds", ylim=(0, 1.02), xlim=(0, len(samples) / RATE)
    )
    figure.savefig(path, dpi=120)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="silero_vad.onnx")
    parser.add_argument("sound", help="a WAV file of 16 kHz")
    parser.add_argument("--threshold", type=float, default=0.5)
    parser.add_argument("--min-speech", type=float, default=0.25, metavar="SECONDS")
    parser.add_argument("--min-silence", type=float, default=0.1, metavar="SECONDS")
    parser.add_argument("--pad", type=float, default=0.03, metavar="SECONDS")
    parser.add_argument("--picture", metavar="FILE.png")
    options = parser.parse_args(arguments)
    sound = wav.read(options.sound)
    if sound.rate != RATE:
        parser.error(f"{options.sound} has {sound.rate} samples a second, not {RATE}: resample it first")
    samples = sound.samples[:, 0]
    chances = list(probabilities(load(options.model), samples))
    limits = {name: getattr(options, name) for name in ("threshold", "min_speech", "min_silence", "pad")}
    found = segments(chances, len(samples), **limits)
    for a, b in found:
        print(f"{a / RATE:8.2f} s  to {b / RATE:8.2f} s")
    print(f"{len(found)} segments, {sum(b - a for a, b in found) / RATE:.2f} of {len(samples) / RATE:.2f} s")
    if options.picture:
        draw(options.picture, samples, chances, found, options.threshold)


if __name__ == "__main__":
    main()
