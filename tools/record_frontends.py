"""Records what librosa and torchaudio answer where rnnrt.frontends promises the same:
tests/data/frontends.npz.

    python tools/record_frontends.py librosa FILE.npz       # librosa 0.11.0, numpy 2.3.5
    python tools/record_frontends.py torchaudio FILE.npz    # torch 2.13.0, torchaudio 2.11.0 (Python alone)
    python tools/record_frontends.py pack FILE.npz ...      # what was recorded -> tests/data/frontends.npz

Answers are kept as (time, features), float32 or complex64, as "library/case", beside the samples "x";
tests/test_frontends.py says which front each of them is.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

TARGET = Path(__file__).resolve().parent.parent / "tests" / "data" / "frontends.npz"
RATE = 16000


def samples():
    """A chirp with noise and a silent middle, (1100,) float32."""
    t = np.arange(1100) / RATE
    x = 0.3 * np.sin(2 * np.pi * (200 + 20000 * t) * t)
    x += 0.05 * np.random.RandomState(0).standard_normal(len(t))
    x[300:700] = 0
    return x.astype(np.float32)


def of_librosa(x):
    import librosa

    spectrum = librosa.stft(x, n_fft=256, hop_length=100, win_length=200)
    yield "stft", spectrum.T
    yield "stft_not_centred", librosa.stft(x, n_fft=256, hop_length=64, center=False, window="hamming").T
    yield "stft_reflect", librosa.stft(x, n_fft=255, hop_length=90, pad_mode="reflect").T
    yield "istft", librosa.istft(spectrum, n_fft=256, hop_length=100, win_length=200)
    sizes = {"sr": RATE, "n_fft": 512, "hop_length": 160}
    yield "mel", librosa.feature.melspectrogram(y=x, **sizes, n_mels=40).T
    bands = librosa.feature.melspectrogram(y=x, **sizes, n_mels=20, htk=True, norm=None, fmin=50, fmax=7000)
    yield "mel_htk_db", librosa.power_to_db(bands, ref=2.0, amin=1e-8, top_db=None).T
    magnitudes = librosa.feature.melspectrogram(y=x, **sizes, n_mels=24, power=1.0)
    yield "mel_amplitude_db", librosa.amplitude_to_db(magnitudes, top_db=None).T
    bands = librosa.feature.melspectrogram(y=x, **sizes, n_mels=40)
    yield "mfcc", librosa.feature.mfcc(S=librosa.power_to_db(bands, top_db=None), n_mfcc=13).T
    yield "filters", librosa.filters.mel(sr=22050, n_fft=300, n_mels=16, fmin=30)
    yield "preemphasis", librosa.effects.preemphasis(x, coef=0.9, zi=np.zeros(1, np.float32))
    yield "frames", librosa.util.frame(x, frame_length=60, hop_length=450).T


def of_torchaudio(x):
    import torch
    import torchaudio
    from torchaudio import transforms

    x = torch.from_numpy(x)
    window = torch.hann_window(400)
    spectrum = torch.stft(x, 512, 128, 400, window, return_complex=True)
    yield "stft", spectrum.T
    yield (
        "stft_not_centred",
        torch.stft(x, 256, 64, center=False, window=torch.ones(256), return_complex=True).T,
    )
    yield "istft", torch.istft(spectrum, 512, 128, 400, window)
    yield "spectrogram", transforms.Spectrogram(256, hop_length=80, power=1.0)(x).T
    sizes = {"n_fft": 400, "hop_length": 160}
    mel = transforms.MelSpectrogram(RATE, **sizes, n_mels=32)
    yield "mel", mel(x).T
    yield "mel_db", transforms.AmplitudeToDB("power")(mel(x)).T
    yield "mel_log", torch.log(mel(x) + 1e-6).T
    slaney = transforms.MelSpectrogram(
        RATE,
        320,
        win_length=300,
        hop_length=160,
        f_min=60,
        f_max=7600,
        n_mels=24,
        mel_scale="slaney",
        norm="slaney",
    )
    yield "mel_slaney", slaney(x).T
    mfcc = transforms.MFCC(RATE, 12, log_mels=True, melkwargs={**sizes, "n_mels": 32})
    yield "mfcc", mfcc(x).T
    yield "filters", torchaudio.functional.melscale_fbanks(129, 0.0, 4000.0, 20, 8000).T
    yield "preemphasis", torchaudio.functional.preemphasis(x)


def record(library, path):
    x = samples()
    made = {f"{library}/{name}": np.asarray(y) for name, y in globals()[f"of_{library}"](x)}
    np.savez(path, x=x, **made)
    print(*(f"{name} {y.shape} {y.dtype}" for name, y in made.items()), sep="\n")


def pack(*paths):
    made = {}
    for path in sorted(paths):
        with np.load(path) as opened:
            made |= dict(opened)
    np.savez_compressed(TARGET, **made)
    print(TARGET, TARGET.stat().st_size)


if __name__ == "__main__":
    what, *paths = sys.argv[1:]
    pack(*paths) if what == "pack" else record(what, *paths)
