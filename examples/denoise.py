"""Takes noise out of a recording of speech, some ms at a time, with NSNet2 or DTLN.

    python tools/fetch_models.py nsnet2.onnx dtln_1.onnx dtln_2.onnx
    python examples/denoise.py models/nsnet2.onnx NOISY.wav CLEAN.wav [--picture spectra.png]
    python examples/denoise.py models/dtln_1.onnx models/dtln_2.onnx NOISY.wav CLEAN.wav

NOISY.wav has 16,000 samples a second; the first channel counts. NSNet2 is one network: each hop of 160
samples gives one spectrum of 320, the network one gain for each of its bins, and the way back 160 samples
that are 10 ms behind. DTLN is two, with the way back between them: gains for a spectrum of 512 samples, every
128, then a network that takes the samples and gives better ones, 24 ms behind. Nothing waits for the end of
the recording: a microphone may stand where the file does.
"""

import argparse
import time

import numpy as np

import rnnrt
from rnnrt.format import wav

RATE = 16000


class NSNet2:
    """One live sequence: ``push`` takes any number of samples and answers those that are clean by then,
    FRAME - HOP samples behind.
    """

    FRAME, HOP = 320, 160
    #: The network's own settings: the square root of a symmetric Hann window, log10 of power, at most -80 dB.
    SPECTRUM = rnnrt.frontends.STFT(FRAME, HOP, padding="causal", window=np.sqrt(np.hanning(FRAME)))
    LOGARITHM = rnnrt.frontends.Log(10, floor=1e-12)
    LEAST_GAIN = 1e-4

    def __init__(self, path):
        self._network = rnnrt.from_onnx(path).stream()
        self._there, self._back = self.SPECTRUM.stream(), self.SPECTRUM.inverse.stream()

    def push(self, samples):
        spectra = self._there.push(samples)
        power = spectra.real.astype(np.float64) ** 2 + spectra.imag.astype(np.float64) ** 2
        gains = self._network.push(self.LOGARITHM(power).astype(np.float32))
        return self._back.push(spectra * np.clip(gains, self.LEAST_GAIN, 1))


class DTLN:
    """The same by two networks, whose files take the state of their LSTMs in and give it out again: as
    ``state=`` it is the streams'.
    """

    FRAME, HOP = 512, 128
    FRAMES = rnnrt.frontends.Frames(FRAME, HOP, padding="causal")

    def __init__(self, first, second):
        self._gains = rnnrt.from_onnx(first, state={"input_3": "tf_op_layer_stack_2"}).stream()
        self._better = rnnrt.from_onnx(second, state={"input_5": "tf_op_layer_stack_5"}).stream()
        self._frames = self.FRAMES.stream()
        self._sum = np.zeros(self.FRAME, np.float32)  # of frames that overlap: the network needs no window
        self._early = self.FRAME - self.HOP  # samples before the first of the sequence

    def push(self, samples):
        clean = [np.zeros(0, np.float32)]
        for frame in self._frames.push(samples):
            spectrum = np.fft.rfft(frame)
            gains = self._gains.step(np.abs(spectrum).astype(np.float32))
            back = np.fft.irfft(spectrum * gains).astype(np.float32)
            self._sum += self._better.step(back[None])
            clean.append(self._sum[: self.HOP])
            self._sum = np.concatenate([self._sum[self.HOP :], np.zeros(self.HOP, np.float32)])
        made = np.concatenate(clean)
        early = min(self._early, len(made))
        self._early -= early
        return made[early:]


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
    parser.add_argument("models", nargs="+", metavar="model", help="nsnet2.onnx, or dtln_1.onnx dtln_2.onnx")
    parser.add_argument("noisy", help="a WAV file of 16 kHz")
    parser.add_argument("clean", help="the WAV file to write")
    parser.add_argument("--picture", metavar="FILE.png")
    options = parser.parse_args(arguments)
    if len(options.models) > 2:
        parser.error("give one model (NSNet2) or two (DTLN), the noisy file and the clean one")
    sound = wav.read(options.noisy)
    if sound.rate != RATE:
        parser.error(f"{options.noisy} has {sound.rate} samples a second, not {RATE}: resample it first")
    samples = sound.samples[:, 0]
    live, heard = (NSNet2 if len(options.models) == 1 else DTLN)(*options.models), []
    began = time.perf_counter()
    for k in range(0, len(samples), live.HOP):
        heard.append(live.push(samples[k : k + live.HOP]))
    heard.append(live.push(np.zeros(live.FRAME, np.float32)))  # so that the last samples come too
    took = time.perf_counter() - began
    clean = np.concatenate(heard)[: len(samples)]
    parts, clipped = wav.encode(wav.Sound(clean[:, None], RATE, sound.encoding))
    with open(options.clean, "wb") as file:
        file.writelines(parts)
    print(f"{len(samples) / RATE:.2f} s in {took:.2f} s, {(live.FRAME - live.HOP) * 1000 // RATE} ms behind")
    if clipped:
        print(f"{clipped} samples were beyond full scale and are cut")
    if options.picture:
        draw(options.picture, samples, clean)


if __name__ == "__main__":
    main()
