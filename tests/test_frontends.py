"""Fronts: what they mean (definitions in float64, written here), what librosa and torchaudio answer
(tools/record_frontends.py), and that streams answer the bits of whole calls.
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rnnrt
from rnnrt.frontends import (
    MFCC,
    STFT,
    Frames,
    InverseSTFT,
    Log,
    MelSpectrogram,
    PreEmphasis,
    mel_filters,
    window,
)

RECORDED = Path(__file__).resolve().parent / "data" / "frontends.npz"


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


# ---- definitions -------------------------------------------------------------------------------------------


def padded(x, before, after, reflect=False):
    """A list of samples with what is padded at its ends, sample by sample."""
    x = [float(v) for v in x]
    left = [x[k] for k in range(before, 0, -1)] if reflect else [0.0] * before
    right = [x[-1 - k] for k in range(1, after + 1)] if reflect else [0.0] * after
    return np.array([*left, *x, *right])


def hann(n):
    return np.array([np.sin(np.pi * k / n) ** 2 for k in range(n)])


def spectra(x, n_fft, hop, weights):
    """The sum of each bin of each frame, as the discrete Fourier transform is written."""
    turns = np.exp(-2j * np.pi * np.outer(np.arange(n_fft // 2 + 1), np.arange(n_fft)) / n_fft)
    frames = [x[k : k + n_fft] for k in range(0, len(x) - n_fft + 1, hop)]
    return np.array([turns @ (frame * weights) for frame in frames])


def assert_rounded(made, exact):
    """The exact values rounded once: half a unit in the last place, and what float64 loses of the largest."""
    assert made.shape == exact.shape
    assert made.dtype == (np.complex64 if np.iscomplexobj(exact) else np.float32)
    for got, wanted in ((made.real, exact.real), (made.imag, exact.imag)):
        room = np.abs(wanted) * 2.0**-24 + np.abs(exact).max() * 1e-14
        assert (np.abs(got.astype(np.float64) - wanted) <= room).all()


PADS = {
    "none": (0, 0, False),
    "causal": (20, 0, False),
    "center": (16, 16, False),
    "reflect": (16, 16, True),
    (5, 40): (5, 40, False),
}


@pytest.mark.parametrize("padding", PADS, ids=str)
def test_frames_are_cut_where_they_are_said_to_be(padding):
    x = np.arange(1, 101, dtype=np.float32)
    whole = padded(x, *PADS[padding])
    made = Frames(32, 12, padding=padding)(x)
    assert made.tolist() == [whole[k : k + 32].tolist() for k in range(0, len(whole) - 31, 12)]


def test_a_hop_longer_than_a_frame_leaves_samples_out():
    x = np.arange(20, dtype=np.float32)
    assert Frames(3, 8)(x).tolist() == [[0, 1, 2], [8, 9, 10], [16, 17, 18]]
    live = Frames(3, 8).stream()
    assert [len(live.push(x[k : k + 1])) for k in range(20)] == [int(k in (2, 10, 18)) for k in range(20)]


@pytest.mark.parametrize("padding", PADS, ids=str)
def test_stft_is_the_transform_of_weighted_frames_rounded_once(padding):
    x = noise(300)
    exact = spectra(padded(x, *PADS[padding]), 32, 12, hann(32))
    assert_rounded(STFT(32, 12, padding=padding)(x), exact)
    assert_rounded(STFT(32, 12, padding=padding, power=1)(x), np.abs(exact))
    assert_rounded(STFT(32, 12, padding=padding, power=2)(x), np.abs(exact) ** 2)


def test_a_short_window_stands_in_the_middle_of_its_frame():
    x, weights = noise(200), np.zeros(33)
    weights[6 : 6 + 20] = hann(20)
    exact = spectra(padded(x, 0, 0), 33, 10, weights)
    assert_rounded(STFT(33, 10, padding="none", win_length=20)(x), exact)
    assert_rounded(STFT(33, 10, padding="none", win_length=20, window=hann(20))(x), exact)


def test_windows_by_name():
    angles = 2 * np.pi * np.arange(9) / 9
    for name, exact in {
        "hann": hann(9),
        "sqrt_hann": np.sqrt(hann(9)),
        "hamming": 0.54 - 0.46 * np.cos(angles),
        "blackman": 0.42 - 0.5 * np.cos(angles) + 0.08 * np.cos(2 * angles),
        "ones": np.ones(9),
    }.items():
        assert np.abs(window(name, 9) - exact).max() < 1e-15, name


def triangles(rate, n_fft, n_mels, hertz_of, mels_of, low, high, same_area):
    """Filter by filter and bin by bin."""
    steps = (mels_of(high) - mels_of(low)) / (n_mels + 1)
    corners = [hertz_of(mels_of(low) + k * steps) for k in range(n_mels + 2)]
    made = np.zeros((n_mels, n_fft // 2 + 1))
    for m in range(n_mels):
        a, b, c = corners[m : m + 3]
        for k in range(n_fft // 2 + 1):
            f = k * rate / n_fft
            if a < f < c:
                made[m, k] = (f - a) / (b - a) if f <= b else (c - f) / (c - b)
                made[m, k] *= 2 / (c - a) if same_area else 1
    return made


HTK = (lambda m: 700 * (10 ** (m / 2595) - 1), lambda f: 2595 * np.log10(1 + f / 700))
SLANEY = (
    lambda m: m * 200 / 3 if m < 15 else 1000 * 6.4 ** ((m - 15) / 27),
    lambda f: f * 3 / 200 if f < 1000 else 15 + 27 * np.log(f / 1000) / np.log(6.4),
)


@pytest.mark.parametrize(("scale", "of_scale"), [("htk", HTK), ("slaney", SLANEY)], ids=["htk", "slaney"])
@pytest.mark.parametrize("norm", [None, "slaney"])
def test_mel_filters_are_triangles_between_bands(scale, of_scale, norm):
    exact = triangles(16000, 512, 26, *of_scale, 80, 7600, norm == "slaney")
    made = mel_filters(16000, 512, 26, mel_scale=scale, norm=norm, f_min=80, f_max=7600)
    assert made.dtype == np.float32 and np.abs(made - exact).max() <= 1e-7 * exact.max()


def test_mel_bands_and_cepstra_of_spectra():
    x = noise(2000)
    power = np.abs(spectra(padded(x, 128, 128), 256, 100, hann(256))) ** 2
    bands = power @ triangles(8000, 256, 20, *HTK, 0, 4000, False).T
    front = {"sample_rate": 8000, "n_fft": 256, "hop_length": 100, "padding": "center", "n_mels": 20}
    front |= {"mel_scale": "htk", "norm": None}
    assert_rounded(MelSpectrogram(**front)(x), bands)
    logarithms = 10 * np.log10(np.maximum(bands, 1e-3)) - 10 * np.log10(7.0)
    of_bands = MelSpectrogram(**front, log=Log.decibels(reference=7.0, floor=1e-3))
    assert_rounded(of_bands(x), logarithms)
    cosines = np.array([[np.cos(np.pi * i * (2 * k + 1) / 40) for k in range(20)] for i in range(9)])
    exact = logarithms @ cosines.T * np.sqrt([1 / 20] + [2 / 20] * 8)
    assert_rounded(MFCC(9, of_bands)(x), exact)


def test_logarithms():
    x = np.array([0.0, 1e-7, 0.5, 3.0])
    for log, exact in (
        (Log(offset=1e-6), np.log(x + 1e-6)),
        (Log(offset=1), np.log1p(x)),
        (Log(10, floor=1e-5), np.log10(np.maximum(x, 1e-5))),
        (Log.decibels(), 10 * np.log10(np.maximum(x, 1e-10))),
        (Log.decibels("amplitude", reference=2, floor=1e-5), 20 * np.log10(np.maximum(x, 1e-5) / 2)),
    ):
        assert np.abs(log(x) - exact).max() < 1e-13, log
    assert Log()(x)[0] == -np.inf


def test_preemphasis():
    x = noise(50)
    exact = x.astype(np.float64) - 0.5 * np.array([0.0, *x[:-1]])
    assert_rounded(PreEmphasis(0.5)(x), exact)


def test_overlapping_frames_are_added_and_divided_by_their_squared_windows():
    """Also of spectra that are no signal's, with frames that end between hops."""
    made, n_fft, hop = noise(7, 17) + 1j * noise(7, 17, seed=1), 32, 12
    made[:, [0, 16]] = made[:, [0, 16]].real
    weights, sums, squares = hann(n_fft), np.zeros(6 * hop + n_fft), np.zeros(6 * hop + n_fft)
    for k, spectrum in enumerate(made.astype(np.complex64).astype(np.complex128)):
        both = np.concatenate([spectrum, spectrum[15:0:-1].conj()])
        turns = np.exp(2j * np.pi * np.outer(np.arange(n_fft), np.arange(n_fft)) / n_fft)
        sums[k * hop : k * hop + n_fft] += (turns @ both).real / n_fft * weights
        squares[k * hop : k * hop + n_fft] += weights**2
    exact = np.where(squares > 1e-30, sums / np.maximum(squares, 1e-300), sums)
    assert_rounded(InverseSTFT(n_fft, hop, padding="none", normalize=False)(made), sums)
    assert_rounded(InverseSTFT(n_fft, hop, padding="none")(made)[5:-5], exact[5:-5])
    assert_rounded(InverseSTFT(n_fft, hop, padding=(7, 30))(made), exact[7:-30])


@pytest.mark.parametrize("padding", ["causal", "center", "reflect"])
@pytest.mark.parametrize(("n_fft", "hop"), [(64, 16), (64, 24), (63, 20), (64, 48)])
def test_the_way_back_answers_what_went_in(padding, n_fft, hop):
    x = noise(2, hop * 20)
    front = STFT(n_fft, hop, padding=padding, window="hamming")
    back = front.inverse(front(x))
    assert np.abs(back - x[:, : back.shape[1]]).max() < 1e-6
    assert back.shape[1] > x.shape[1] - n_fft


# ---- librosa and torchaudio --------------------------------------------------------------------------------

MEL = {"mel_scale": "slaney", "norm": "slaney", "padding": "center"}  # librosa's defaults
TORCH = {"mel_scale": "htk", "norm": None, "padding": "reflect"}  # torchaudio's
LIBROSA_MEL = MelSpectrogram(16000, 512, 160, n_mels=40, **MEL, log=Log.decibels())
TORCH_MEL = MelSpectrogram(16000, 400, 160, n_mels=32, **TORCH, log=Log(offset=1e-6))

FRONTS = {
    "librosa/stft": STFT(256, 100, win_length=200, padding="center"),
    "librosa/stft_not_centred": STFT(256, 64, window="hamming", padding="none"),
    "librosa/stft_reflect": STFT(255, 90, padding="reflect"),
    "librosa/istft": InverseSTFT(256, 100, win_length=200, padding="center"),
    "librosa/mel": MelSpectrogram(16000, 512, 160, n_mels=40, **MEL),
    "librosa/mel_htk_db": MelSpectrogram(
        16000,
        512,
        160,
        n_mels=20,
        f_min=50,
        f_max=7000,
        mel_scale="htk",
        norm=None,
        padding="center",
        log=Log.decibels(reference=2.0, floor=1e-8),
    ),
    "librosa/mel_amplitude_db": MelSpectrogram(
        16000, 512, 160, n_mels=24, **MEL, power=1, log=Log.decibels("amplitude", floor=1e-5)
    ),
    "librosa/mfcc": MFCC(13, LIBROSA_MEL),
    "librosa/filters": mel_filters(22050, 300, 16, f_min=30, mel_scale="slaney", norm="slaney"),
    "librosa/preemphasis": PreEmphasis(0.9),
    "librosa/frames": Frames(60, 450),
    "torchaudio/stft": STFT(512, 128, win_length=400, padding="reflect"),
    "torchaudio/stft_not_centred": STFT(256, 64, window="ones", padding="none"),
    "torchaudio/istft": InverseSTFT(512, 128, win_length=400, padding="reflect"),
    "torchaudio/spectrogram": STFT(256, 80, padding="reflect", power=1),
    "torchaudio/mel": MelSpectrogram(16000, 400, 160, n_mels=32, **TORCH),
    "torchaudio/mel_db": MelSpectrogram(16000, 400, 160, n_mels=32, **TORCH, log=Log.decibels()),
    "torchaudio/mel_log": TORCH_MEL,
    "torchaudio/mel_slaney": MelSpectrogram(
        16000,
        320,
        160,
        win_length=300,
        n_mels=24,
        f_min=60,
        f_max=7600,
        mel_scale="slaney",
        norm="slaney",
        padding="reflect",
    ),
    "torchaudio/mfcc": MFCC(12, TORCH_MEL),
    "torchaudio/filters": mel_filters(8000, 256, 20, mel_scale="htk", norm=None),
    "torchaudio/preemphasis": PreEmphasis(0.97),
}


def test_every_record_has_its_front():
    with np.load(RECORDED) as opened:
        assert {*opened} - {"x"} == {*FRONTS}


@pytest.mark.parametrize("name", FRONTS)
def test_the_libraries_answer_the_same(name):
    """To 1e-5 of the largest value: they work in float32."""
    with np.load(RECORDED) as opened:
        x, wanted = opened["x"], opened[name]
        front = FRONTS[name]
        if name.endswith("istft"):
            x = opened[name.replace("istft", "stft")]
    made = front if isinstance(front, np.ndarray) else front(x)
    assert made.shape == wanted.shape and made.dtype == wanted.dtype
    assert np.abs(made - wanted).max() <= 1e-5 * np.abs(wanted).max()


# ---- streams -----------------------------------------------------------------------------------------------

LIVE = {
    "frames": Frames(30, 7, padding="reflect"),
    "frames_apart": Frames(3, 11, padding=(2, 1)),
    "frames_reflected": Frames(10, 9, padding="reflect"),
    "complex": STFT(32, 12, padding="reflect"),
    "causal": STFT(64, 16, padding="causal", power=1, log=Log(offset=1)),
    "mel": MelSpectrogram(
        8000, 64, 20, n_mels=9, mel_scale="htk", norm=None, padding="center", log=Log(10, floor=1e-9)
    ),
    "one_band": MelSpectrogram(8000, 33, 20, n_mels=1, mel_scale="slaney", norm="slaney", padding="none"),
    "mfcc": MFCC(
        5,
        MelSpectrogram(
            8000, 64, 20, n_mels=12, mel_scale="slaney", norm="slaney", padding="reflect", log=Log.decibels()
        ),
    ),
    "inverse": InverseSTFT(32, 12, padding="center"),
    "inverse_held": InverseSTFT(32, 28, padding="center"),
    "inverse_cut": InverseSTFT(16, 16, padding=(3, 40), normalize=False),
    "emphasis": PreEmphasis(),
}


def sequence(front, rows, time, seed):
    if isinstance(front, InverseSTFT):
        bins = front.n_fft // 2 + 1
        return (noise(rows, time, bins, seed=seed) + 1j * noise(rows, time, bins, seed=seed + 1)).astype(
            np.complex64
        )
    return noise(rows, time, seed=seed)


@pytest.mark.parametrize("name", LIVE)
@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 90), min_size=1, max_size=12), seed=st.integers(0, 1000))
def test_streams_answer_the_bits_of_a_whole_call(name, cuts, seed):
    front = LIVE[name]
    time = sum(cuts) + 40  # reflected padding needs some
    x = sequence(front, 3, time, seed)
    x[1, time // 2] = np.nan  # of one row alone
    whole = front(x)
    assert len(whole) == 3 and front(x[2]).tobytes() == whole[2].tobytes()
    many, one = front.stream(3), front.stream()
    for _ in range(2):  # reset begins anew
        parts, alone, done = [], [], 0
        for cut in [*cuts, 40]:
            parts.append(many.push(x[:, done : done + cut]))
            alone.append(one.push(x[1, done : done + cut]))
            done += cut
        parts.append(many.flush())
        alone.append(one.flush())
        assert np.concatenate(parts, axis=1).tobytes() == whole.tobytes()
        assert np.concatenate(alone).tobytes() == whole[1].tobytes()
        many.reset()
        one.reset()


def test_frames_that_overlap_are_added_in_their_order():
    """1 + 1e16 - 1e16, which is 0 in float64: from the other end it would be 1."""
    front = InverseSTFT(6, 2, window="ones", padding="none", normalize=False)
    spectra = np.zeros((3, 4), np.complex64)
    spectra[:, 0] = 6 * np.array([1, 2**54, -(2**54)])
    live = front.stream()
    parts = [*(live.push(frame[None]) for frame in spectra), live.flush()]
    whole = front(spectra)
    assert whole.tolist() == np.concatenate(parts).tolist()
    assert whole[4:6].tolist() == [0, 0]


def test_a_long_sequence_goes_in_blocks_with_the_same_bits(monkeypatch):
    made = {name: front(sequence(front, 1, 3000, 0)[0]) for name, front in LIVE.items()}
    for module in (rnnrt.frontends.framing, rnnrt.frontends.overlap_add):
        monkeypatch.setattr(module, "BLOCK", 500)
    for name, front in LIVE.items():
        assert front(sequence(front, 1, 3000, 0)[0]).tobytes() == made[name].tobytes(), name


@pytest.mark.parametrize("name", LIVE)
def test_the_delay_is_the_smallest_that_holds(name):
    """For every t from where it can be flushed: after t + delay items, all that a flush after t brings."""
    front = LIVE[name]
    x = sequence(front, 1, 120, 0)[0]
    given, live = [], front.stream()
    for item in x:
        given.append(len(live.push(item[None])) + (given[-1] if given else 0))
    late = set()
    for t in range(40, 70):
        flushed = len(front(x[:t]))
        late.add(next(d for d in range(60) if given[t + d - 1] >= flushed))
    assert max(late) == front.delay == front.stream().delay


def test_a_hop_of_a_causal_front_answers_at_once():
    front = STFT(512, 128, padding="causal")
    live, back = front.stream(), front.inverse.stream()
    x, heard = noise(128 * 20), []
    for k in range(20):
        spectrum = live.push(x[k * 128 :][:128])
        assert spectrum.shape == (1, 257)
        heard.append(back.push(spectrum))
    heard = np.concatenate(heard)
    assert len(heard) == len(x) - 384  # n_fft - hop_length behind
    assert np.abs(heard - x[:-384]).max() < 1e-6


def test_nothing_is_made_of_nothing():
    for name, front in LIVE.items():
        x = sequence(front, 2, 0, 0)
        assert front(x).shape[:2] == (2, 0), name
        live = front.stream()
        assert len(live.push(x[0])) == len(live.flush()) == 0, name
        assert front(x[:0]).shape[0] == 0, name


# ---- what is refused ---------------------------------------------------------------------------------------


def test_input_that_does_not_fit_is_refused():
    front = STFT(32, 8, padding="reflect")
    with pytest.raises(rnnrt.DTypeError, match="32768"):
        front(np.zeros(100, np.int16))
    with pytest.raises(rnnrt.DTypeError, match="complex128"):
        front(np.zeros(100, complex))
    with pytest.raises(rnnrt.ShapeError, match=r"expected \(time,\) or \(batch, time\)"):
        front(np.float32(1))
    with pytest.raises(rnnrt.ShapeError, match=r"expected \(2, time\)"):
        front.stream(2).push(noise(3, 50))
    with pytest.raises(rnnrt.ShapeError, match="no batch axis"):
        front.stream().push(noise(1, 50))
    with pytest.raises(rnnrt.ShapeError, match=r"at least 17 samples; found 16"):
        front(noise(16))
    with pytest.raises(rnnrt.ShapeError, match=r"\(time, 17\) or \(batch, time, 17\); found \(5, 16\)"):
        front.inverse(noise(5, 16))
    with pytest.raises(rnnrt.ShapeError, match="batch_size"):
        front.stream(0)
    live = front.stream()
    live.push(noise(50))
    live.flush()
    for call in (live.flush, lambda: live.push(noise(1))):
        with pytest.raises(rnnrt.StateError, match="reset"):
            call()


def mel(**changed):
    front = {"sample_rate": 8000, "n_fft": 256, "hop_length": 80, "n_mels": 20, "mel_scale": "htk"}
    return MelSpectrogram(**(front | {"norm": None, "padding": "none"} | changed))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Frames(0, 1), "length must be a whole number from 1 on; found 0"),
        (lambda: Frames(4, 1, padding="same"), "padding does not exist"),
        (lambda: Frames(4, 1, padding=(1, -1)), r"padding\[1\]"),
        (lambda: STFT(16, 4, padding="none", win_length=17), "win_length is more than n_fft"),
        (lambda: STFT(16, 4, padding="none", window="kaiser"), "no window 'kaiser'"),
        (lambda: STFT(16, 4, padding="none", window=np.ones(8)), "window does not fit"),
        (lambda: STFT(16, 4, padding="none", power=3), "power must be"),
        (lambda: STFT(16, 4, padding="none", log=Log(offset=1)), "complex spectrum has no logarithm"),
        (lambda: InverseSTFT(16, 17, padding="none"), "hop_length is more than n_fft"),
        (lambda: mel(f_max=5000), r"0 <= f_min < f_max <= 4000"),
        (lambda: mel(mel_scale="bark"), "no such scale"),
        (lambda: mel(power=None), "power must be"),
        (lambda: MFCC(5, mel()), "cepstra are of logarithms"),
        (lambda: MFCC(21, mel(log=Log(offset=1))), "fewer mel bands"),
        (lambda: Log(3), "base of a logarithm"),
        (lambda: Log(floor=-1), "must be 0 or more"),
        (lambda: Log.decibels(floor=0), "above 0"),
        (lambda: PreEmphasis(np.nan), "must be finite"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(make, said):
    with pytest.raises(rnnrt.ShapeError, match=said):
        make()


def test_where_the_libraries_differ_it_must_be_said():
    with pytest.raises(TypeError, match="padding"):
        STFT(16, 4)
    with pytest.raises(TypeError, match="mel_scale"):
        MelSpectrogram(8000, 256, 80, norm=None, padding="none")


def test_empty_filters_are_warned_of():
    with pytest.warns(UserWarning, match="of 100 mel filters hold no bin"):
        mel_filters(16000, 128, 100, mel_scale="htk", norm=None)
