"""Keras networks with masks, as functions of Keras itself: what tools/record_masks.py records of several
versions and what tests/keras/test_masks_live.py asks the installed one.

Each network has one output for every layer or combination that does something to a mask.
"""

import numpy as np

#: Frames of the inputs, and ids from 1 to WORDS - 1; 0 is masked.
LENGTH, WORDS, WIDTH = 9, 6, 4
#: Which frames are real, a row each.
PATTERNS = {
    "all real": [1, 1, 1, 1, 1, 1, 1, 1, 1],
    "prefix": [1, 1, 1, 1, 1, 0, 0, 0, 0],
    "left-padded": [0, 0, 0, 1, 1, 1, 1, 1, 1],
    "holes": [0, 1, 0, 0, 1, 1, 0, 1, 0],
    "all masked": [0, 0, 0, 0, 0, 0, 0, 0, 0],
    "one masked": [1, 1, 1, 0, 1, 1, 1, 1, 1],
    "one real": [0, 0, 0, 0, 1, 0, 0, 0, 0],
}


def patterns():
    return np.array(list(PATTERNS.values()), bool)


def ids(rng, mask):
    return np.where(mask, rng.integers(1, WORDS, mask.shape), 0).astype(np.float32)


def frames(rng, mask, value, width=WIDTH):
    """Frames of numbers, the masked ones all ``value``; real ones may hold it too, but not throughout."""
    x = rng.normal(size=(*mask.shape, width)).astype(np.float32)
    x[::2, :, 0] = value
    x[~mask] = value
    return x


def cells(L):
    return {
        "rnn": L.SimpleRNN,
        "lstm": L.LSTM,
        "gru": L.GRU,
        "gru_before": lambda units, **options: L.GRU(units, reset_after=False, **options),
    }


def recurrent(keras):
    """Every recurrent layer on a masked embedding."""
    L = keras.layers
    x = keras.Input((None,), name="ids")
    e = L.Embedding(WORDS, WIDTH, mask_zero=True)(x)
    made = []
    for cell in cells(L).values():
        for sequences in (True, False):
            for backwards in (True, False):
                made.append(cell(3, return_sequences=sequences, go_backwards=backwards)(e))
            made.append(cell(3, return_sequences=sequences, zero_output_for_mask=True)(e))
    for merge in ("concat", "sum", "mul", "ave", None):
        for sequences in (True, False):
            y = L.Bidirectional(L.LSTM(2, return_sequences=sequences), merge_mode=merge)(e)
            made += list(y) if merge is None else [y]
    made += L.LSTM(3, return_sequences=True, return_state=True, zero_output_for_mask=True)(e)
    made += L.Bidirectional(L.GRU(2, return_state=True))(e)
    made += L.GRU(3, go_backwards=True, return_state=True)(e)
    made.append(L.RNN([L.LSTMCell(3), L.GRUCell(2)], return_sequences=True)(e))
    made.append(L.RNN([L.LSTMCell(3), L.GRUCell(2)], zero_output_for_mask=True)(e))
    made.append(L.Bidirectional(L.RNN(L.SimpleRNNCell(2), return_sequences=True))(e))
    return keras.Model(x, made, name="recurrent")


def stacks(keras):
    """Recurrent layers over one another; the mask of a layer that goes backwards is not turned round."""
    L = keras.layers
    x = keras.Input((None, WIDTH), name="frames")
    m = L.Masking(-1.0)(x)
    made = [m]
    y = L.LSTM(3, return_sequences=True)(m)
    made += [L.GRU(2, return_sequences=True)(y), L.GRU(2)(y)]
    y = L.GRU(3, return_sequences=True, go_backwards=True)(m)
    made += [y, L.LSTM(2, return_sequences=True)(y)]
    y = L.Bidirectional(L.LSTM(2, return_sequences=True))(m)
    y = L.Bidirectional(L.GRU(2, return_sequences=True))(y)
    made += [y, L.Dense(2, activation="softmax")(y), L.Bidirectional(L.GRU(2))(y)]
    a, b = L.Bidirectional(L.GRU(2, return_sequences=True), merge_mode=None)(m)
    made += [L.GRU(2)(a), L.GRU(2)(b)]
    y, *states = L.LSTM(3, return_sequences=True, return_state=True)(m)
    made += [L.GRU(2)(y), L.Dense(2)(states[0])]
    made.append(L.LSTM(3)(L.Masking(0.0)(m)))
    started = L.LSTM(3, return_sequences=True)(m, initial_state=states)
    made += [started, L.GRU(2)(started), L.GRU(3)(m, initial_state=states[0])]
    return keras.Model(x, made, name="stacks")


def between(keras):
    """Every layer without recurrence on a masked embedding, and a GRU behind it."""
    L = keras.layers
    x = keras.Input((LENGTH,), name="ids")
    e = L.Embedding(WORDS, WIDTH, mask_zero=True)(x)
    layers = [
        *(L.Dense(3), L.BatchNormalization(), L.LayerNormalization(), L.Activation("softmax"), L.ReLU()),
        *(L.LeakyReLU(), L.ELU(), L.Dropout(0.5), L.SpatialDropout1D(0.5), L.GaussianNoise(0.5)),
        *(L.GaussianDropout(0.5), L.AlphaDropout(0.5), L.ActivityRegularization(0.1), L.Rescaling(2.0)),
        *(L.Identity(), L.TimeDistributed(L.Dense(3)), L.TimeDistributed(L.BatchNormalization())),
        *(L.Conv1D(3, 3, padding="same"), L.Conv1D(3, 2, padding="causal"), L.SeparableConv1D(3, 2)),
        *(L.DepthwiseConv1D(2), L.Conv1DTranspose(3, 2), L.MaxPooling1D(2)),
        *(L.AveragePooling1D(2), L.ZeroPadding1D(0), L.ZeroPadding1D(1), L.Cropping1D(0), L.Cropping1D(1)),
        *(L.Reshape((LENGTH, WIDTH)), L.Permute((1, 2)), L.Permute((2, 1))),
    ]
    made = []
    for layer in layers:
        y = layer(e)
        made.append(L.Concatenate()([y, L.GRU(2, return_sequences=True)(y)]))
    made += [L.GlobalAveragePooling1D()(L.Dense(3)(e)), L.GlobalMaxPooling1D()(e), L.Flatten()(e)]
    made += [L.GlobalAveragePooling1D()(L.Bidirectional(L.GRU(2, return_sequences=True))(e))]
    made += [L.GRU(2)(L.RepeatVector(LENGTH)(L.LSTM(3)(e)))]
    return keras.Model(x, made, name="between")


def merged(keras):
    """Layers that join tensors: masked, masked by another mask, and not masked."""
    L = keras.layers
    x, z = keras.Input((None,), name="ids"), keras.Input((None, WIDTH), name="frames")
    a = L.Embedding(WORDS, WIDTH, mask_zero=True)(x)
    b = L.Masking(-1.0)(z)
    c = L.Embedding(WORDS, WIDTH)(x)
    made = []
    for layer in (L.Add, L.Multiply, L.Subtract, L.Average, L.Concatenate):
        for parts in ((a, b), (a, c), (c, b), (a, a), (a, b, a)):
            if layer is not L.Subtract or len(parts) == 2:
                y = layer()(list(parts))
                made += [y, L.Concatenate()([L.GRU(2)(y), L.GlobalAveragePooling1D()(y)])]
    for merge in (L.Concatenate, L.Add):
        y = merge()([L.LSTM(3, return_sequences=True)(a), L.GRU(3, return_sequences=True)(a)])
        made.append(L.Bidirectional(L.LSTM(2, return_sequences=True))(y))
    y = L.Multiply()([L.Concatenate()([a, c]), L.Concatenate()([b, a])])
    made += [y, L.LSTM(2, return_sequences=True)(y)]
    made.append(L.Concatenate()([L.LSTM(2)(a), L.Bidirectional(L.GRU(2))(b)]))
    return keras.Model([x, z], made, name="merged")


def nested(keras):
    """Networks inside: masks go in, are made there and come out; layers called with several masks."""
    L = keras.layers
    x, z = keras.Input((None,), name="ids"), keras.Input((None, WIDTH), name="frames")
    a, b = L.Embedding(WORDS, WIDTH, mask_zero=True)(x), L.Masking(-1.0)(z)
    chain = keras.Sequential([keras.Input((None, WIDTH)), L.Dense(3), L.GRU(2, return_sequences=True)])
    made = [chain(a), L.GRU(2)(chain(a)), L.LSTM(2)(chain(b)), L.GRU(2)(chain(z))]
    i = keras.Input((None,))
    words = keras.Model(i, L.LSTM(3, return_sequences=True)(L.Embedding(WORDS, 2, mask_zero=True)(i)))
    made += [words(x), L.GRU(2)(words(x))]
    i, j = keras.Input((None, WIDTH)), keras.Input((None, WIDTH))
    two = keras.Model([i, j], [L.GRU(2, return_sequences=True)(j), L.LSTM(2)(i)])
    for pair in ((a, z), (z, b), (b, a)):
        p, q = two(list(pair))
        made += [L.GRU(2)(p), q]
    shared = L.GRU(2)
    made += [shared(a), shared(b), shared(z)]
    made.append(L.GRU(2)(L.TimeDistributed(keras.Sequential([keras.Input((WIDTH,)), L.Dense(2)]))(a)))
    return keras.Model([x, z], made, name="nested")


def chain(keras):
    """The commonest form: a Sequential."""
    L = keras.layers
    layers = [L.Masking(-1.0), L.BatchNormalization(), L.Dense(3), L.ReLU()]
    layers += [L.Bidirectional(L.GRU(2, return_sequences=True)), L.LSTM(3), L.Dense(2, activation="softmax")]
    return keras.Sequential([keras.Input((None, WIDTH), name="frames"), *layers], name="chain")


def explicit(keras):
    """Masks that the author gives by hand."""
    L = keras.layers
    x, z = keras.Input((None,), name="ids"), keras.Input((None, WIDTH), name="frames")
    m = keras.Input((None,), name="mask", dtype="bool")
    not_equal = keras.ops.not_equal if hasattr(keras, "ops") else __import__("tensorflow").not_equal
    e, mask = L.Embedding(WORDS, WIDTH)(x), not_equal(x, 0)
    masked = L.Embedding(WORDS, WIDTH, mask_zero=True)(x)
    made = [L.GRU(2)(e, mask=mask), L.Bidirectional(L.LSTM(2, return_sequences=True))(z, mask=mask)]
    y = L.LSTM(2, return_sequences=True)(masked, mask=m)
    made += [y, L.GRU(2)(y), L.GlobalAveragePooling1D()(z, mask=m)]
    y = L.LSTM(2, return_sequences=True)(e, mask=mask)
    made += [y, L.GRU(2)(y), L.GRU(2)(z, mask=L.Masking(-1.0).compute_mask(z))]
    state = L.GRU(3)(e, mask=mask)
    made.append(L.GRU(3, return_sequences=True)(z, mask=mask, initial_state=state))
    return keras.Model([x, z, m], made, name="explicit")


def unrolled(keras):
    """Recurrent layers whose loop is written out: one that goes backwards has other frames zeroed than the
    masked ones. Keras builds them on TensorFlow alone.
    """
    L = keras.layers
    x = keras.Input((LENGTH, WIDTH), name="frames")
    m, made = L.Masking(-1.0)(x), []
    for cell in cells(L).values():
        for backwards in (True, False):
            options = {"unroll": True, "zero_output_for_mask": True, "go_backwards": backwards}
            y = cell(2, return_sequences=True, **options)(m)
            made += [y, L.GRU(2)(y), cell(2, unroll=True, go_backwards=backwards)(m)]
        made.append(cell(2, return_sequences=True, unroll=True, go_backwards=True)(m))
        for sequences in (True, False):
            made.append(L.Bidirectional(cell(2, return_sequences=sequences, unroll=True))(m))
    return keras.Model(x, made, name="unrolled")


NETWORKS = [recurrent, stacks, between, merged, nested, chain, explicit]
ON_TENSORFLOW = [unrolled]


def built(make, keras, seed=0):
    """(the network with random weights, its inputs by name)."""
    keras.utils.set_random_seed(0)
    model, rng = make(keras), np.random.default_rng([seed, (NETWORKS + ON_TENSORFLOW).index(make)])
    for v in model.weights:
        if "float" not in str(v.dtype):
            continue  # a generator's seed
        value = rng.normal(size=v.shape) * 0.6
        v.assign(np.abs(value) + 0.5 if "variance" in getattr(v, "path", v.name) else value)
    mask = patterns()
    other = np.roll(mask, 3, axis=0)
    given = {
        "ids": lambda: ids(rng, mask),
        "frames": lambda: frames(rng, other, -1.0),
        "mask": lambda: np.roll(mask, 2, axis=0),
    }
    return model, {x.name.partition(":")[0]: given[x.name.partition(":")[0]]() for x in model.inputs}
