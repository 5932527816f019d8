"""Takes noise out of a recording of speech, 10 ms by 10 ms, with NSNet2.

    python tools/fetch_models.py nsnet2.onnx
    python examples/denoise.py models/nsnet2.onnx NOISY.wav CLEAN.wav [--picture spectra.png]

NOISY.wav has 16,000 samples a second; the first channel counts. Each hop of 160 samples gives one spectrum of
320, the network one gain for each of its bins, and the way back 160 samples that are 10 ms behind. Nothing
waits for the end of the recording: a microphone may stand where the file does.
"""

import argparse
import time

import numpy as np

import rnnrt
from rnnrt.format import wav

RATE, FRAME, HOP = 16000, 320, 160
#: The network's own settings: the square root of a symmetric Hann window, log10 of power, at most -80 dB.
SPECTRUM = rnnrt.frontends.STFT(FRAME, HOP, padding="causal", window=np.sqrt(np.hanning(FRAME)))
LOGARITHM = rnnrt.frontends.Log(10, floor=1e-12)
LEAST_GAIN = 1e-4


class Denoiser:
    """One live sequence: ``push`` takes any number of samples and answers those that are clean by then,
    FRAME - HOP samples behind.
    """

    def __init__(self, model):
        self._network = model.stream()
        self._there, self._back = SPECTRUM.stream(), SPECTRUM.inverse.stream()

    def push(self, samples):
        return self._back.push(self._cleaned(self._there.push(samples)))

    def flush(self):
        """What is still held, at the end of the sequence."""
        return np.concatenate([self._back.push(self._cleaned(self._there.flush())), self._back.flush()])

    def _cleaned(self, spectra):
        power = spectra.real.astype(np.float64) ** 2 + spectra.imag.astype(np.float64) ** 2
        gains = self._network.push(LOGARITHM(power).astype(np.float32))
        return spectra * np.clip(gains, LEAST_GAIN, 1)


def draw(path, noisy, clean):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    front = rnnrt.frontends.STFT(
        512, 128, padding="center", power=2, log=rnnrt.frontends.Log.decibels(floor=1e-6)
    )
    figure, axes = pyplot.subplots(2, sharex=True, figsize=(10, 6), layout="constrained")
    for axis, samples, title in zip(axes, (noisy, clean), ("as recorded", "denoised")):
        extent = (0, len(samples) / RATE, 0, RATE / 2000)
        image = axis.imshow(front(samples).T, origin="lower", aspect="auto", extent=extent, vmin=-60, vmax=40)
        axis.set(title=title, ylabel="kHz")
    axes[1].set_xlabel("seconds")
    figure.colorbar(image, ax=axes, label="dB")
    figure.savefig(path, dpi=120)


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="nsnet2.onnx")
    parser.add_argument("noisy", help="a WAV file of 16 kHz")
    parser.add_argument("clean", help="the WAV file to write")
    parser.add_argument("--picture", metavar="FILE.png")
    options = parser.parse_args(arguments)
    sound = wav.read(options.noisy)
    if sound.rate != RATE:
        parser.error(f"{options.noisy} has {sound.rate} samples a second, not {RATE}: resample it first")
    samples = sound.samples[:, 0]
    live, heard = Denoiser(rnnrt.from_onnx(options.model)), []
    began = time.perf_counter()
    for k in range(0, len(samples), HOP):
        heard.append(live.push(samples[k : k + HOP]))
    heard.append(live.push(np.zeros(FRAME, np.float32)))  # so that the last samples come too
    took = time.perf_counter() - began
    clean = np.concatenate(heard)[: len(samples)]
    parts, clipped = wav.encode(wav.Sound(clean[:, None], RATE, sound.encoding))
    with open(options.clean, "wb") as file:
        file.writelines(parts)
    print(f"{len(samples) / RATE:.2f} s in {took:.2f} s, {(FRAME - HOP) * 1000 // RATE} ms behind")
    if clipped:
        print(f"{clipped} samples were beyond full scale and are cut")
    if options.picture:
        draw(options.picture, samples, clean)


if __name__ == "__main__":
    main()
