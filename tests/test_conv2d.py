"""Conv2D: frames of (bins, channels) in and out, whole and streamed.

That it answers as the reference on every instruction set, in any chunks and rows: the cases of test_layers.py
and test_stream.py. That it answers as torch and Keras do: test_fronts.py of their folders.
"""

import numpy as np
import pytest
from case_layers import conv2d, normal, stack, weights
from expect import refused
from small_models import built

import rnnrt
from rnnrt import ShapeError, reference
from rnnrt import layers as L

#: Three frames of four bins of one channel.
FRAMES = np.array([[1, 2, 3, 4], [0, 0, 10, 0], [5, 0, 0, 6]], np.float32)[..., None]


def of_one_channel(weight, **fields):
    """A model of one Conv2D of four bins of one channel; weight (tap, bin tap)."""
    weight = np.asarray(weight, np.float32)[None, :, :, None]
    return built(lambda b, x, r: b.add(L.Conv2D, "conv", x, weight=weight, **fields), features=(4, 1))


@pytest.mark.parametrize(
    ("weight", "fields", "wanted"),
    [
        ([[1, 100]], {}, [[201, 302, 403], [0, 1000, 10], [5, 0, 600]]),
        ([[1], [100]], {}, [[1, 2, 1003, 4], [500, 0, 10, 600]]),
        ([[1], [100]], {"padding": (1, 0)}, [[100, 200, 300, 400], [1, 2, 1003, 4], [500, 0, 10, 600]]),
        ([[1], [100]], {"padding": (0, 1)}, [[1, 2, 1003, 4], [500, 0, 10, 600], [5, 0, 0, 6]]),
        ([[1], [100]], {"padding": "same"}, [[1, 2, 1003, 4], [500, 0, 10, 600], [5, 0, 0, 6]]),
        ([[1, 100]], {"bin_padding": (1, 0)}, [[100, 201, 302, 403], [0, 0, 1000, 10], [500, 5, 0, 600]]),
        ([[1, 100]], {"bin_padding": "same"}, [[201, 302, 403, 4], [0, 1000, 10, 0], [5, 0, 600, 6]]),
        ([[1, 100]], {"bin_stride": 2}, [[201, 403], [0, 10], [5, 600]]),
        ([[1, 100]], {"stride": 2}, [[201, 302, 403], [5, 0, 600]]),
        ([[1, 100]], {"bin_dilation": 3}, [[401], [0], [605]]),
        ([[1], [100]], {"dilation": 2}, [[501, 2, 3, 604]]),
        ([[0, 1], [10, 0]], {}, [[2, 3, 104], [50, 10, 0]]),
    ],
)
@pytest.mark.parametrize("chunks", [[3], [1, 1, 1], [0, 2, 1]])
def test_what_it_adds_up(weight, fields, wanted, chunks):
    model, wanted = of_one_channel(weight, **fields), np.array(wanted, np.float32)[..., None]
    assert model(FRAMES).tolist() == wanted.tolist()
    assert model(np.stack([FRAMES, 2 * FRAMES]))[1].tolist() == (2 * wanted).tolist()
    stream, made, at = model.stream(), [], 0
    for n in chunks:
        made += stream.push(FRAMES[at : at + n]).tolist()
        at += n
    assert made + stream.flush().tolist() == wanted.tolist()


def test_the_weight_is_out_tap_bin_tap_in():
    """Two groups of two channels and one output each, on frames of two bins."""
    weight = np.array([[[[1, 2], [3, 4]]], [[[10, 20], [30, 40]]]], np.float32)
    model = built(lambda b, x, r: b.add(L.Conv2D, "conv", x, weight=weight, groups=2), features=(2, 4))
    assert model([[[1, 0, 0, 1], [0, 1, 0, 0]]]).tolist() == [[[1 + 4, 20]]]


def test_a_delay_and_a_rate_of_frames_alone():
    """Bins do not delay a stream: frames ahead do."""
    assert of_one_channel([[1, 100]], bin_padding=(0, 1)).delay == 0
    assert of_one_channel([[1], [100], [3]], padding=(1, 1)).delay == 1
    assert of_one_channel([[1], [100], [3]], padding=(2, 0)).receptive_field == 3


def test_frames_of_several_axes_are_stepped():
    model = of_one_channel([[1, 100]])
    stream = model.stream(batch_size=2)
    assert stream.step(np.stack([FRAMES[0], FRAMES[2]]))[..., 0].tolist() == [[201, 302, 403], [5, 0, 600]]


def test_a_file_keeps_it(tmp_path):
    model = built(
        lambda b, x, r: conv2d(b, x, r, 5, 3, 2, bin_stride=2, bin_padding="same", dilation=2),
        features=(6, 3),
    )
    model.save(tmp_path / "m.rnnrt")
    x = np.random.default_rng(3).standard_normal((2, 9, 6, 3)).astype(np.float32)
    again = rnnrt.load(tmp_path / "m.rnnrt")
    assert np.array_equal(again(x), model(x))
    again.verify()


def test_an_answer_is_as_long_as_the_shapes_say():
    graph = built(
        lambda b, x, r: conv2d(b, x, r, 5, 3, 2, stride=2, padding="same", bin_padding=(1, 0)),
        features=(6, 3),
        length=7,
    ).graph
    assert (graph.signals["conv"].features, graph.signals["conv"].length) == ((6, 5), 4)


def norm(b, x, r):
    """Over the channels, its means near enough to zero to be folded."""
    n = b.signal(x).features[-1]
    statistics = {"mean": 0.1 * weights(r, n), "variance": 0.5 + np.abs(weights(r, n))}
    return b.add(L.BatchNormalization, "bn", x, gamma=weights(r, n), beta=weights(r, n), **statistics)


def scaled(b, x, r):
    n = b.signal(x).features[-1]
    return b.add(L.Affine, "affine", x, scale=weights(r, n), offset=0.2 * weights(r, n))


@pytest.mark.parametrize("kind", [norm, scaled])
def test_norms_over_channels_fold_into_it(kind):
    part = stack(kind, lambda b, x, r: conv2d(b, x, r, 9, 3, 3, bin_stride=2, groups=1), kind)
    model = built(part, features=(8, 4))
    assert [layer.kind for layer in model._run_graph.layers] == ["input", "conv2d"]
    x = normal(np.random.default_rng(1), 2, 11, 8, 4).astype(np.float32)
    wanted = reference.run(model.graph, {"x": x})[0]["y"]
    assert np.abs(model(x) - wanted).max() <= 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("kind", [norm, scaled])
def test_norms_have_a_number_a_channel(kind):
    model = built(kind, features=(3, 2))
    layer = model.graph.layers[1]
    scale, offset = layer.affine() if kind is norm else (layer.scale, layer.offset)
    x = normal(np.random.default_rng(1), 5, 3, 2).astype(np.float32)
    assert np.allclose(model(x), x * scale + offset, atol=1e-5)


def test_zeros_beside_bins_were_never_normalised():
    """A norm before a padded convolution stays where it is."""
    part = stack(norm, lambda b, x, r: conv2d(b, x, r, 9, 3, 3, bin_padding="same"))
    kinds = [layer.kind for layer in built(part, features=(8, 4))._run_graph.layers]
    assert kinds == ["input", "batch_normalization", "conv2d"]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"bin_padding": "valid"}, "padding must be 'same' or (left, right)"),
        ({"bin_padding": (-1, 0)}, "padding must be 'same' or (left, right)"),
        ({"bin_stride": 0}, "bin_stride must be a whole number"),
        ({"bin_dilation": 1.5}, "bin_dilation must be a whole number"),
        ({"bin_dilation": 4}, "a frame has fewer bins than the window"),
        ({"groups": 3}, "groups must divide the outputs"),
        ({"groups": 2}, "expected frames of (bins, 4)"),
        ({"weight": np.ones((2, 1, 2))}, "weight must be (out, tap, bin tap, in per group)"),
        ({"weight": np.ones((2, 1, 2, 3))}, "expected frames of (bins, 3)"),
        ({"bias": np.ones(3)}, "bias has the wrong shape"),
    ],
)
def test_what_does_not_fit_is_refused(fields, words):
    fields = {"weight": np.ones((2, 1, 2, 2)), **fields}
    build = lambda: built(lambda b, x, r: b.add(L.Conv2D, "conv", x, **fields), features=(4, 2))
    refused(ShapeError, build, words, "layer 'conv' (Conv2D)")


def test_frames_of_one_axis_are_refused():
    weight = np.ones((2, 1, 2, 2))
    build = lambda: built(lambda b, x, r: b.add(L.Conv2D, "conv", x, weight=weight), features=(8,))
    refused(ShapeError, build, "expected frames of (bins, 2)", "layer 'conv' (Conv2D)")
