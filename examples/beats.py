"""The beats of a piece of music, and which of them begin a bar, 20 ms by 20 ms, with BeatNet.

    python tools/fetch_models.py beatnet_1.pt
    python examples/beats.py models/beatnet_1.pt SONG.wav [--picture beats.png]

SONG.wav has 22,050 samples a second; its channels are averaged. The features are those that BeatNet was
trained on: 136 bands, 24 an octave, of the spectrum of 64 ms, their logarithms, and how much each has risen.
The network answers for every frame how probable a beat and a downbeat are; a beat is told where that is at
its highest for 0.15 s around, two frames later. (BeatNet's own tracker follows the tempo as well.)
"""

import argparse

import numpy as np

import rnnrt
from rnnrt.format import wav

RATE, FRAME, HOP = 22050, 1411, 441
#: A convolution over the features of each frame, then two LSTMs; the rest is in the file.
LAYERS = """
input features=272
per_frame
conv1: Conv1d
relu
MaxPool1d 2
flatten
linear0: Linear
end
lstm: LSTM
linear: Linear
Softmax dim=-1
"""


def bands():
    """(136, 705): triangles over the bins of the spectrum, 24 an octave around 440 Hz from 30 Hz to 17 kHz,
    each with a sum of 1. Bands below that would share a bin are one.
    """
    bins = np.arange(FRAME // 2) * RATE / (FRAME // 2 * 2)  # madmom's frequencies, also where FRAME is odd
    octaves = np.arange(np.floor(np.log2(30 / 440) * 24), np.ceil(np.log2(17000 / 440) * 24))
    peaks = 440 * 2 ** (octaves / 24)
    peaks = peaks[(peaks >= 30) & (peaks <= 17000)]
    above = np.clip(np.searchsorted(bins, peaks), 1, len(bins) - 1)
    nearest = above - (peaks - bins[above - 1] < bins[above] - peaks)
    centres = np.unique(nearest)
    made = np.zeros((len(centres) - 2, len(bins)))
    for row, (first, centre, last) in zip(made, zip(centres, centres[1:], centres[2:])):
        if last - first < 2:
            centre, last = first, first + 1
        row[first:centre] = np.arange(centre - first) / (centre - first)
        row[centre:last] = 1 - np.arange(last - centre) / (last - centre)
        row /= row.sum()
    return made


class Features:
    """``push`` takes samples and answers (frames, 272)."""

    def __init__(self):
        front = rnnrt.frontends.STFT(FRAME, HOP, padding="center", window=np.hanning(FRAME), power=1)
        self._spectra, self._bands, self._before = front.stream(), bands(), None

    def push(self, samples):
        made = []
        for spectrum in self._spectra.push(samples):
            now = np.log10(self._bands @ spectrum[:-1].astype(np.float64) + 1)
            risen = np.maximum(now - (now if self._before is None else self._before), 0)
            made.append(np.concatenate([now, risen]))
            self._before = now
        return np.array(made, np.float32).reshape(-1, 272)


class Peaks:
    """``step`` takes the chances of one frame and tells the beat of two frames before, if there was one:
    (its frame, whether it begins a bar).
    """

    def __init__(self, least=0.3, around=7):
        self._least, self._around = least, around
        self._seen, self._last = [], None

    def step(self, beat, downbeat):
        self._seen.append((max(beat, downbeat), downbeat > beat))
        k = len(self._seen) - 3
        if k < 0 or (self._last is not None and k - self._last < self._around):
            return None
        here = self._seen[k][0]
        near = [chance for chance, _ in self._seen[max(0, k - self._around) :]]
        if here < self._least or here < max(near):
            return None
        self._last = k
        return k, self._seen[k][1]


def draw(path, chances, beats):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(10, 3), layout="constrained")
    times = np.arange(len(chances)) * HOP / RATE
    for column, name in enumerate(("beat", "downbeat")):
        axis.plot(times, chances[:, column], label=name, linewidth=0.9)
    for frame, first in beats:
        axis.axvline(frame * HOP / RATE, color="tab:red" if first else "grey", linestyle=":", linewidth=0.9)
    axis.set(xlabel="seconds", ylabel="probability", ylim=(0, 1), xlim=(0, times[-1]))
    axis.legend(loc="upper right")
    figure.savefig(path, dpi=120)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="beatnet_1.pt, _2 or _3")
    parser.add_argument("song", help="a WAV file of 22,050 Hz")
    parser.add_argument("--picture", metavar="FILE.png")
    options = parser.parse_args(arguments)
    sound = wav.read(options.song)
    if sound.rate != RATE:
        parser.error(f"{options.song} has {sound.rate} samples a second, not {RATE}: resample it first")
    samples = sound.samples.mean(axis=1)
    stream, features, peaks = rnnrt.from_torch(options.model, LAYERS).stream(), Features(), Peaks()
    chances, beats = [], []
    for k in range(0, len(samples), HOP):
        for frame in features.push(samples[k : k + HOP]):
            chances.append(stream.step(frame))
            if beat := peaks.step(*map(float, chances[-1][:2])):
                beats.append(beat)
                print(f"{beat[0] * HOP / RATE:8.2f} s{'  downbeat' * beat[1]}")
    if len(beats) > 1:
        print(
            f"{len(beats)} beats, {60 * RATE / HOP / np.median(np.diff([k for k, _ in beats])):.0f} a minute"
        )
    if options.picture:
        draw(options.picture, np.array(chances), beats)


if __name__ == "__main__":
    main()
