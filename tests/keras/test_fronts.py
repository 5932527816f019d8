"""Keras's 2-D layers in front of a sequence answer as in Keras, whole and streamed.

Time is the first spatial axis; what comes behind makes frames of (bins, channels).
"""

import itertools
import random

import numpy as np
import pytest
from expect import TOLERANCE, distance, refused
from needs import need

keras = need("keras")

from keras import layers as K
from live_keras import saved, sequential

import rnnrt
from rnnrt import UnsupportedModelError

BINS, CHANNELS = 11, 3


def answers(model, frames, batch=3, seed=0):
    """(model, its input, what Keras says); weights are random, biases and statistics too."""
    r = np.random.default_rng(seed)
    for w in model.weights:
        values = r.standard_normal(w.shape) * 0.3
        w.assign(0.1 + np.abs(values) if "variance" in w.path else values)
    x = r.standard_normal((batch, frames, *model.inputs[0].shape[2:])).astype(np.float32)
    return x, keras.ops.convert_to_numpy(model(x))


def same(model, *, lengths=(1, 2, 3, 8, 13), source=None, streams=True):
    """Whole, in batches and chunk by chunk the imported network answers as Keras does."""
    lengths = [n for n in lengths if model.inputs[0].shape[1] in (None, n)] or [model.inputs[0].shape[1]]
    pairs = [answers(model, n, batch) for n in lengths for batch in (1, 3)]  # all with the same weights
    imported = rnnrt.from_keras(model if source is None else source(model))
    assert imported.streamable or not streams
    for x, wanted in pairs:
        y = imported(x)
        assert y.shape == wanted.shape and distance(y, wanted) <= TOLERANCE
        if streams:
            stream = imported.stream(batch_size=len(x))
            parts = [stream.push(x[:, :1]), stream.push(x[:, 1:4]), stream.push(x[:, 4:]), stream.flush()]
            assert np.concatenate(parts, 1).tobytes() == y.tobytes()
    return imported


def frames(*parts, shape=(None, BINS, CHANNELS)):
    """``parts``, then rows of numbers."""
    model = sequential(*parts, shape=shape)
    return sequential(*parts, K.Reshape((-1, int(np.prod(model.outputs[0].shape[2:])))), shape=shape)


GRID = [
    (taps, strides, dilation, padding)
    for taps, strides, dilation, padding in itertools.product(
        ((1, 1), (1, 3), (3, 1), (2, 4), (3, 3)),
        ((1, 1), (1, 2), (2, 2)),
        ((1, 1), (2, 1), (1, 3)),
        ("valid", "same"),
    )
    if strides == (1, 1) or dilation == (1, 1)
]


@pytest.mark.parametrize(("taps", "strides", "dilation", "padding"), GRID)
@pytest.mark.parametrize("groups", [1, 3])
def test_every_option_of_a_convolution(taps, strides, dilation, padding, groups):
    options = {"strides": strides, "dilation_rate": dilation, "padding": padding, "activation": "tanh"}
    model = frames(K.Conv2D(6, taps, groups=groups, **options))
    span = (taps[0] - 1) * dilation[0] + 1 if padding == "valid" else 1
    lengths = [n for n in (1, 2, 3, 8, 13) if n >= span]
    # how many zeros stand before the first frame depends on how many frames come, for some strides
    same(model, lengths=lengths, streams=not (padding == "same" and strides[0] > 1 and taps[0] > 2))


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("multiplier", [1, 2])
def test_depthwise_and_separable_convolutions(padding, strides, multiplier):
    options = {"strides": strides, "padding": padding, "depth_multiplier": multiplier}
    for layer in (
        K.DepthwiseConv2D((2, 3), activation="relu", **options),
        K.SeparableConv2D(5, (2, 3), use_bias=False, **options),
    ):
        same(frames(layer), lengths=(2, 3, 8, 13))
    same(frames(K.SeparableConv2D(5, (3, 1), dilation_rate=2, activation="softmax")), lengths=(5, 13))


POOLS = [((1, 2), None), ((2, 2), None), ((3, 4), (1, 2)), ((2, 3), (2, 1)), (2, 2)]


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("size", "strides"), POOLS)
def test_max_pools(size, strides, padding):
    same(frames(K.MaxPooling2D(size, strides=strides, padding=padding)), lengths=(3, 8, 13))


@pytest.mark.parametrize(("size", "strides"), POOLS)
def test_average_pools(size, strides):
    same(frames(K.AveragePooling2D(size, strides=strides)), lengths=(3, 8, 13))


@pytest.mark.parametrize(("size", "strides"), [((2, 2), (2, 2)), ((3, 4), (1, 2)), ((2, 3), (2, 1))])
def test_average_pools_leave_their_padding_out(size, strides):
    """As TensorFlow does; Keras on torch repeats the last numbers where more zeros stand on the right."""
    model = rnnrt.from_keras(frames(K.AveragePooling2D(size, strides=strides, padding="same")))
    x = np.random.default_rng(0).standard_normal((2, 7, BINS, CHANNELS)).astype(np.float32)
    padded, counts = x.astype(np.float64), []
    for axis, (span, step) in enumerate(zip(size, strides), 1):
        made = -(-x.shape[axis] // step)
        total = max((made - 1) * step + span - x.shape[axis], 0)
        widths = [(0, 0)] * 4
        widths[axis] = (total // 2, total - total // 2)
        padded = np.pad(padded, widths, constant_values=np.nan)
        counts.append(made)
    wanted = np.empty((2, *counts, CHANNELS))
    for t, f in np.ndindex(*counts):
        a, b = t * strides[0], f * strides[1]
        wanted[:, t, f] = np.nanmean(padded[:, a : a + size[0], b : b + size[1]], (1, 2))
    assert distance(wanted.reshape(2, counts[0], -1), model(x)) <= 1e-6


@pytest.mark.parametrize(
    "part",
    [
        K.ZeroPadding2D(2),
        K.ZeroPadding2D((1, 2)),
        K.ZeroPadding2D(((0, 1), (2, 0))),
        K.ZeroPadding2D(((3, 0), (0, 0))),
        K.Cropping2D(((0, 0), (1, 3))),
        K.Cropping2D(((1, 1), (2, 0))),
    ],
    ids=lambda part: str(part.get_config().get("padding") or part.get_config()["cropping"]),
)
def test_padding_and_cropping(part):
    same(frames(part, K.Conv2D(4, (1, 2))), lengths=(3, 8))


@pytest.mark.parametrize(
    "parts",
    [
        lambda: [K.BatchNormalization(epsilon=0.1)],
        lambda: [K.Conv2D(4, 2), K.BatchNormalization(), K.Activation("relu")],
        lambda: [K.LayerNormalization()],
        lambda: [K.LayerNormalization(axis=[2, 3])],
        lambda: [K.PReLU(shared_axes=[1, 2])],
        lambda: [K.PReLU(shared_axes=[1])],
        lambda: [K.LeakyReLU(), K.ELU(), K.ReLU(max_value=1.0)],
        lambda: [K.Rescaling(0.5, 0.25)],
        lambda: [K.Rescaling([0.5, 2.0, -1.0], [0.0, 1.0, 2.0])],
        lambda: [K.Activation("softmax")],
        lambda: [K.SpatialDropout2D(0.5), K.Dropout(0.5)],
        lambda: [K.Dense(5, activation="tanh")],
        lambda: [K.Permute((1, 3, 2))],
        lambda: [K.Reshape((-1, BINS * CHANNELS, 1)), K.Conv2D(2, (1, 5), strides=(1, 4))],
        lambda: [K.TimeDistributed(K.Dense(4))],
        lambda: [K.TimeDistributed(K.BatchNormalization())],
        lambda: [K.TimeDistributed(K.Conv1D(4, 3))],
    ],
)
def test_what_stands_between(parts):
    same(frames(*parts()), lengths=(3, 8))


def joined(axis):
    x = keras.Input((None, BINS, CHANNELS))
    a, b = K.Conv2D(CHANNELS, 3, padding="same")(x), K.MaxPooling2D((1, 3), (1, 1), "same")(x)
    y = K.Concatenate(axis=axis)([a, K.Conv2D(CHANNELS, 1)(b), x])
    return keras.Model(x, K.Reshape((-1, 3 * BINS * CHANNELS))(y))


@pytest.mark.parametrize("axis", [-1, 3, 2, -2])
def test_branches_side_by_side(axis):
    same(joined(axis))


@pytest.mark.parametrize("join", [K.Add, K.Subtract, K.Multiply, K.Average, K.Maximum])
def test_a_residual(join):
    x = keras.Input((None, BINS, CHANNELS))
    y = join()([x, K.Conv2D(CHANNELS, 3, padding="same")(x)])
    same(keras.Model(x, K.Reshape((-1, BINS * CHANNELS))(y)))


TRANSPOSED = [
    ((3, 3), (1, 2), "same", 1),
    ((2, 4), (1, 1), "same", 1),
    ((4, 1), (1, 2), "same", 1),
    ((3, 2), (1, 3), "valid", 1),
    ((3, 3), (1, 1), "valid", (2, 3)),
]


@pytest.mark.parametrize(("taps", "strides", "padding", "dilation"), TRANSPOSED)
@pytest.mark.parametrize("activation", [None, "tanh", "softmax"])
def test_transposed_convolutions(taps, strides, padding, dilation, activation):
    options = {"strides": strides, "padding": padding, "dilation_rate": dilation, "activation": activation}
    same(frames(K.Conv2DTranspose(4, taps, **options)), lengths=(1, 2, 3, 8))


def test_channels_in_front():
    """data_format="channels_first": the channels stand where time does elsewhere."""
    first = {"data_format": "channels_first"}
    parts = [K.Conv2D(4, (3, 2), padding="same", **first), K.BatchNormalization(axis=1), K.ReLU()]
    parts += [K.MaxPooling2D((1, 2), **first), K.ZeroPadding2D(1, **first), K.Permute((2, 1, 3))]
    model = sequential(*parts, K.Reshape((14, -1)), K.GRU(5, return_sequences=True), shape=(3, 12, BINS))
    same(model, streams=False)
    same(sequential(K.GlobalAveragePooling2D(**first), K.Dense(2), shape=(3, 12, BINS)), streams=False)


@pytest.mark.parametrize("size", [(1, 3), (2, 1), (2, 2)])
def test_upsampling(size):
    same(frames(K.Conv2D(2, 3, padding="same"), K.UpSampling2D(size), K.Conv2D(2, 3)), lengths=(3, 8))


@pytest.mark.parametrize(
    ("axis", "shape"), [(2, (None, BINS, CHANNELS)), (1, (7, BINS, CHANNELS)), (1, (7, 4))]
)
def test_batch_normalization_over_another_axis(axis, shape):
    """Over bins, or over the frames of a sequence of fixed length."""
    parts = [K.BatchNormalization(axis=axis)]
    same(
        frames(*parts, shape=shape) if len(shape) == 3 else sequential(*parts, shape=shape), streams=axis == 2
    )


def squeezed(how):
    """Squeeze and excitation: a weight for every channel of all frames and bins."""
    x = keras.Input((None, BINS, CHANNELS))
    y = K.Conv2D(4, 3, padding="same")(x)
    s = K.GlobalAveragePooling2D(keepdims=how == "convolutions")(y)
    if how == "convolutions":
        s = K.Conv2D(4, 1, activation="sigmoid")(K.Conv2D(2, 1, activation="relu")(s))
    else:
        s = K.Reshape((1, 1, 4))(s) if how == "reshape" else s
        s = K.Dense(4, activation="sigmoid")(K.Dense(2, activation="relu")(s))
        s = s[:, None, None, :] if how == "items" else s
    y = y * s if how == "items" else K.Multiply()([y, s])
    return keras.Model(x, K.GRU(4, return_sequences=True)(K.Reshape((-1, 4 * BINS))(y)))


@pytest.mark.parametrize("how", ["reshape", "convolutions", "items"])
def test_squeeze_and_excitation(how, tmp_path):
    model = squeezed(how)
    same(
        model,
        streams=False,
        lengths=(3, 8),
        source=lambda m: saved(m, "keras", tmp_path) if how == "reshape" else m,
    )


def test_functions_of_pictures():
    """An axis that comes and goes, and a mean over bins."""
    x = keras.Input((None, BINS))
    y = K.Conv2D(4, 3, padding="same")(keras.ops.expand_dims(x, -1))
    y = keras.ops.mean(keras.ops.log1p(keras.ops.relu(y)), axis=2)
    same(keras.Model(x, K.GRU(4, return_sequences=True)(y)))


def test_activations_that_are_functions_of_their_author():
    """Of a live model; a file does not hold them."""
    parts = [K.Conv2D(3, (2, 3)), K.Activation(keras.ops.square), K.AveragePooling2D((1, 2))]
    parts.append(K.Activation(lambda x: keras.ops.log(keras.ops.clip(x, 1e-6, 1e4))))
    same(frames(*parts), lengths=(3, 8))


def crnn(length, ending):
    """The usual sound event detector: convolutions that pool over bins, a recurrent layer, a Dense."""
    parts = []
    for filters, pool in ((8, (1, 2)), (6, (1, 3)), (4, (2, 1))):
        parts += [
            K.Conv2D(filters, 3, padding="same", use_bias=False),
            K.BatchNormalization(),
            K.Activation("relu"),
            K.MaxPooling2D(pool),
            K.Dropout(0.3),
        ]
    flat = {
        "reshape": K.Reshape((-1 if length is None else length // 2, 12)),
        "flatten": K.TimeDistributed(K.Flatten()),
        "permute": [K.Permute((1, 3, 2)), K.Reshape((-1, 12))],
    }[ending]
    parts += flat if isinstance(flat, list) else [flat]
    return sequential(
        *parts, K.GRU(7, return_sequences=True), K.Dense(5, activation="sigmoid"), shape=(length, 20, 2)
    )


@pytest.mark.parametrize("ending", ["reshape", "flatten", "permute"])
@pytest.mark.parametrize("length", [None, 10])
def test_a_crnn(ending, length):
    same(crnn(length, ending), lengths=(2, 5, 10, 17))


@pytest.mark.parametrize("how", ["keras", "h5"])
def test_a_file(how, tmp_path):
    model = crnn(10, "reshape")
    same(model, source=lambda model: saved(model, how, tmp_path))


def test_time_as_the_second_axis_of_fixed_sizes():
    """Of text in a picture: its columns become frames."""
    model = sequential(
        K.Conv2D(4, 3, activation="relu", padding="same"),
        K.MaxPooling2D((2, 2)),
        K.Permute((2, 1, 3)),
        K.TimeDistributed(K.Flatten()),
        K.Bidirectional(K.LSTM(5, return_sequences=True)),
        shape=(8, 12, 1),
    )
    same(model, streams=False)


@pytest.mark.parametrize("kind", [K.GlobalAveragePooling2D, K.GlobalMaxPooling2D])
@pytest.mark.parametrize("keepdims", [False, True])
def test_global_pools_and_flatten(kind, keepdims):
    parts = [K.Conv2D(4, 3), kind(keepdims=keepdims)]
    parts += [K.Flatten()] if keepdims else []
    for shape in ((None, BINS, CHANNELS), (8, BINS, CHANNELS)):
        same(sequential(*parts, K.Dense(3), shape=shape), lengths=(3, 8), streams=False)
    same(sequential(K.Conv2D(4, 3), K.Flatten(), K.Dense(2), shape=(8, 5, 2)), streams=False)


def test_pictures_in_every_frame():
    model = sequential(
        K.TimeDistributed(K.Conv2D(4, 3, activation="relu")),
        K.TimeDistributed(K.MaxPooling2D(2)),
        K.TimeDistributed(K.GlobalAveragePooling2D()),
        K.LSTM(5, return_sequences=True),
        shape=(None, 8, 9, 2),
    )
    same(model)


def test_frames_are_bins_and_channels():
    """In a call, a stream and a step."""
    model = frames(K.Conv2D(4, (2, 3)))
    x, wanted = answers(model, 5)
    stream = rnnrt.from_keras(model).stream()
    made = [stream.step(frame) for frame in x[0]]
    assert x.shape == (3, 5, BINS, CHANNELS) and made[0] is None
    assert distance(np.stack(made[1:]), wanted[0]) <= TOLERANCE


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (lambda: [K.UpSampling2D(2, interpolation="bilinear")], "interpolation='bilinear'"),
        (lambda: [K.Conv2D(4, 3), K.Conv2DTranspose(2, 2, strides=2)], "a stride of one over time"),
        (lambda: [K.Permute((2, 1, 3)), K.Conv2D(4, 3)], "moves time"),
        (lambda: [K.LayerNormalization(axis=2)], "the last axis, or all axes of a frame"),
    ],
)
def test_what_is_no_front_end_is_refused(parts, words):
    model = sequential(*parts(), shape=(None, BINS, BINS) if "last axis" in words else (None, BINS, CHANNELS))
    refused(UnsupportedModelError, lambda: rnnrt.from_keras(model), words, "layer")


def test_channels_in_front_need_a_fixed_length():
    layer = K.Conv2D(4, 3, data_format="channels_first")
    x = keras.Input((3, None, 9))
    try:
        model = keras.Model(x, layer(x))
    except ValueError as error:
        pytest.skip(f"this backend has none: {error}")
    refused(UnsupportedModelError, lambda: rnnrt.from_keras(model), "only the time axis of an input", "layer")


def test_a_kernel_is_not_transposed_and_the_odd_zero_is_on_the_right():
    """What a grid of random weights shows, in numbers."""
    conv = K.Conv2D(1, 2, padding="same", use_bias=False)
    model = sequential(conv, K.Reshape((-1, 3)), shape=(None, 3, 1))
    conv.set_weights([np.array([[1, 10], [100, 1000]], np.float32)[..., None, None]])
    y = rnnrt.from_keras(model)(np.array([[1, 2, 3], [4, 5, 6]], np.float32)[..., None])
    assert y.tolist() == [[5421, 6532, 603], [54, 65, 6]]


def random_part(r, bins, channels):
    """A layer over (time, bins, channels) that leaves some of each."""
    taps, padding = (r.randint(1, 3), r.randint(1, min(4, bins))), r.choice(["valid", "same"])
    window = {"strides": r.choice([(1, 1), (1, 2), (2, 2)]), "padding": padding}
    return r.choice(
        [
            lambda: K.Conv2D(r.randint(1, 9), taps, activation=r.choice(["relu", "softmax"]), **window),
            lambda: K.Conv2D(2 * channels, taps, groups=channels, padding=padding),
            lambda: K.DepthwiseConv2D(taps, padding=padding, depth_multiplier=r.randint(1, 2)),
            lambda: K.SeparableConv2D(r.randint(1, 7), taps, padding=padding),
            lambda: K.MaxPooling2D((2, min(3, bins)), (1, 2), padding),
            lambda: K.AveragePooling2D((1, min(2, bins))),
            lambda: K.ZeroPadding2D(((r.randint(0, 2), 1), (r.randint(0, 2), 0))),
            K.BatchNormalization,
            K.LayerNormalization,
            lambda: K.PReLU(shared_axes=[1, 2]),
            lambda: K.Dense(r.randint(1, 6)),
            lambda: K.Permute((1, 3, 2)),
        ]
    )()


@pytest.mark.parametrize("seed", range(16))
def test_random_front_ends(seed):
    r = random.Random(seed)
    x = inputs = keras.Input((None, r.randint(4, 14), r.randint(1, 5)))
    for _ in range(r.randint(2, 5)):
        x = random_part(r, *x.shape[2:])(x)
    rows = K.Reshape((-1, x.shape[2] * x.shape[3])) if r.random() < 0.5 else K.TimeDistributed(K.Flatten())
    model = keras.Model(inputs, K.GRU(4, return_sequences=True)(rows(x)))
    convolutions = [layer for layer in model.layers if "Conv" in type(layer).__name__]
    unknown = any(c.padding == "same" and c.strides[0] > 1 and c.kernel_size[0] > 2 for c in convolutions)
    same(model, lengths=(17, 24), streams=not unknown)
