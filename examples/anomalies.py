"""Finds what a sensor has never done before: a network forecasts each sample, and says where it was wrong.

    python examples/anomalies.py SENSOR.csv [--model MODEL] [--limit 2] [--picture anomalies.png]

SENSOR.csv has one number a line, perhaps under a heading. MODEL takes one number a frame and forecasts the
next (the first of its outputs); by default it is the network of ``rnnrt demo``, which knows
electrocardiograms in mV, 120 a second. A sample is an anomaly where its error is more than ``--limit`` times
what 1 in 200 of the last 1000 samples were off. They are taken one by one, as a sensor sends them.
"""

import argparse

import numpy as np

import rnnrt
from rnnrt.command import demo


class Detector:
    """``step`` takes a sample and answers its error over the one that 1 in 200 exceeded before."""

    def __init__(self, model, memory=1000, warm=400):
        self._stream, self._warm = model.stream(), warm
        self._errors, self._count, self._forecast = np.zeros(memory), 0, None

    def step(self, sample):
        score = 0.0
        if self._forecast is not None:
            error = abs(sample - self._forecast)
            known = self._errors[: min(self._count, len(self._errors))]
            if len(known) >= self._warm:
                score = error / max(float(np.quantile(known, 0.995)), 1e-9)
            self._errors[self._count % len(self._errors)] = error
            self._count += 1
        self._forecast = float(self._stream.step(np.array([sample], np.float32))[0])
        return score


def read(path):
    """The numbers of a file, one a line; the first line may be a heading. ValueError names another line."""
    numbers = []
    with open(path) as file:
        for k, line in enumerate(file, 1):
            try:
                numbers.append(float(line))
            except ValueError:
                if k > 1:
                    raise ValueError(f"{path}, line {k}: not a number: {line.strip()!r}") from None
    return np.array(numbers)


def groups(places, apart=30):
    """[(first, last)] of places that stand closer than ``apart``."""
    made = []
    for place in places:
        if made and place - made[-1][1] < apart:
            made[-1] = (made[-1][0], place)
        else:
            made.append((place, place))
    return made


def draw(path, samples, scores, limit, found):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (top, bottom) = pyplot.subplots(2, sharex=True, figsize=(10, 4), layout="constrained")
    top.plot(samples, linewidth=0.6)
    bottom.semilogy(np.maximum(scores, 0.1), linewidth=0.6)
    bottom.axhline(limit, linestyle=":", color="grey")
    for a, b in found:
        for axis in (top, bottom):
            axis.axvspan(a - 10, b + 10, color="tab:red", alpha=0.3)
    top.set_ylabel("sensor")
    bottom.set(ylabel="error / large errors", xlabel="samples", xlim=(0, len(samples)))
    figure.savefig(path, dpi=120)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sensor", help="a CSV file of one column")
    parser.add_argument("--model", help="a .rnnrt file; by default the demo's LSTM")
    parser.add_argument("--limit", type=float, default=2)
    parser.add_argument("--picture", metavar="FILE.png")
    options = parser.parse_args(arguments)
    try:
        samples = read(options.sensor)
    except ValueError as error:
        parser.error(str(error))
    detector = Detector(rnnrt.load(options.model) if options.model else demo.load("lstm"))
    scores = np.array([detector.step(sample) for sample in samples])
    found = groups(np.flatnonzero(scores > options.limit).tolist())
    for a, b in found:
        print(f"samples {a} to {b}: off by {scores[a : b + 1].max():.1f} times the large errors before")
    print(f"{len(found)} anomalies in {len(samples)} samples")
    if options.picture:
        draw(options.picture, samples, scores, options.limit, found)


if __name__ == "__main__":
    main()
