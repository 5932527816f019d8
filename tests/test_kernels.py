"""The kernels alone, on every instruction set: functions against float64 to the last place, products exactly,
denormals flushed and nobody else's floating-point mode touched."""

import ctypes
import platform
import shutil
import subprocess

import numpy as np
import pytest
import sweep
from needs import absent

import rnnrt
from rnnrt import _engine, layers, reference

ISAS = _engine.isas()
#: Where something changes: zeros, the ends of the normal numbers, thresholds of the functions and of their
#: results.
PLACES = [
    0.0,
    1e-45,
    1.1754942e-38,
    1.1754944e-38,
    1e-30,
    1e-4,
    0.0625,
    0.34657,
    0.5,
    1,
    1.0,
    np.pi / 2,
    np.pi,
    22,
    355,
    9.0109,
    10,
    13.0,
    16.6355,
    17.3287,
    20,
    87.3365,
    88,
    88.7228,
    89,
    103.97,
    104,
    1024,
    1e5,
    6381956970095103 * 2.0**50,
    3.4e38,
]
SIZES = [*range(1, 41), *range(63, 67), *range(127, 131), *range(255, 258)]


def around(x, count=1000):
    """The ``count`` float32 on either side of ``x``, and their negatives."""
    bits = np.float32(x).view(np.uint32).astype(np.int64) + np.arange(-count, count + 1)
    near = bits[(bits >= 0) & (bits <= sweep.INFINITY)].astype(np.uint32).view(np.float32)
    return np.concatenate([near, -near])


def same_bits(a, b):
    return a.shape == b.shape and a.tobytes() == b.tobytes()


# ---- tanh, sigmoid, exp ------------------------------------------------------------------------------------


@pytest.mark.parametrize("function", sweep.FUNCTIONS)
def test_functions_are_right_to_the_last_places_promised(function):
    totals, agree = sweep.sweep(function, ISAS, stride=4099)
    assert agree, "the vector instruction sets differ"
    for isa, found in totals.items():
        assert found.worst <= sweep.FUNCTIONS[function].worst, (isa, found)
        assert found.deepest <= 1, (isa, found)
        assert found.odd, (isa, found)
        assert found.nan, (isa, found)
        assert found.small, (isa, found)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("function", sweep.FUNCTIONS)
def test_functions_are_right_around_every_threshold(function, isa):
    own = sweep.FUNCTIONS[function]
    x = np.concatenate([around(p) for p in PLACES])
    exact, y = sweep.exactly(function, x), sweep.evaluate(sweep.network(function, isa), x)
    assert sweep.ulps(y, exact, own.flushed).max() <= own.worst
    assert (np.abs(y[np.abs(exact) < sweep.SMALLEST]) <= own.flushed).all()
    if own.odd:
        assert same_bits(sweep.evaluate(sweep.network(function, isa), -x), -y)


@pytest.mark.parametrize("isa", ISAS)
def test_a_sigmoid_close_to_1_is_rounded_once(isa):
    """To half the spacing there, 2**-24: a gate that stays there must not be off in one direction."""
    x = np.linspace(5, 17, 100_003).astype(np.float32)
    error = sweep.evaluate(sweep.network("sigmoid", isa), x) - 1 / (1 + np.exp(-x.astype(np.float64)))
    assert np.abs(error).max() <= 0.52 * 2.0**-24


@pytest.mark.parametrize("isa", ISAS)
def test_functions_saturate_exactly_and_keep_nan(isa):
    far = np.array([104, 200, 1e10, 3.4e38, np.inf], np.float32)
    value = lambda f, x: sweep.evaluate(sweep.network(f, isa), np.asarray(x, np.float32))
    assert same_bits(
        value("tanh", [10, -10, *far, *-far]), np.array([1, -1] + [1] * 5 + [-1] * 5, np.float32)
    )
    assert same_bits(
        value("sigmoid", [18, -88, *far, *-far]), np.array([1, 0] + [1] * 5 + [0] * 5, np.float32)
    )
    assert same_bits(
        value("exponential", [88.73, -104, *far, *-far]),
        np.array([np.inf, 0] + [np.inf] * 5 + [0] * 5, np.float32),
    )
    zeros = np.array([0.0, -0.0, 1e-45, -1e-45], np.float32)
    assert same_bits(value("tanh", zeros), np.array([0.0, -0.0, 0.0, -0.0], np.float32))
    assert same_bits(value("sigmoid", zeros), np.full(4, 0.5, np.float32))
    assert same_bits(value("exponential", zeros), np.ones(4, np.float32))
    nans = np.array([0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0xFFC00000], np.uint32).view(np.float32)
    for function in layers.FUNCTIONS:
        parameters = [1.0] * len(layers.FUNCTIONS[function])
        made = sweep.evaluate(sweep.network((function, *parameters), isa), np.tile(nans, 7))
        assert (made == 0).all() if function == "above" else np.isnan(made).all(), function


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("function", layers.FUNCTIONS)
def test_every_function_means_what_the_reference_says(function, isa):
    f = layers.Function(function, (0.7,) * len(layers.FUNCTIONS[function]))
    x = np.concatenate(
        [np.linspace(-100, 88, 10_007), np.linspace(-4, 4, 10_007), [0.0, -0.0, 3e38, -3e38]]
    ).astype(np.float32)
    with np.errstate(all="ignore"):
        exact = reference.apply(f, x.astype(np.float64))
        y = sweep.evaluate(sweep.network(f, isa), x)
    kept = np.abs(exact) < 1e38
    assert (np.abs(y[kept] - exact[kept]) <= 1e-6 * np.maximum(np.abs(exact[kept]), 0.4)).all()


@pytest.mark.parametrize("function", layers.FUNCTIONS)
def test_functions_have_the_same_bits_on_every_vector_instruction_set(function):
    x = np.arange(0, sweep.INFINITY, 65537, dtype=np.uint32).view(np.float32)
    given = (function, *(0.7,) * len(layers.FUNCTIONS[function]))
    made = [
        sweep.evaluate(sweep.network(given, isa), np.concatenate([x, -x])) for isa in ISAS if isa != "scalar"
    ]
    assert all(same_bits(made[0], y) for y in made[1:])


# ---- products ----------------------------------------------------------------------------------------------


def product_plan(weight, bias, isa):
    outputs, terms = weight.shape
    rows = [
        {"kind": "input", "input": [], "input_size": terms, "output_size": terms, "timed": 1, "length": 0},
        {
            "kind": "dense",
            "input": [0],
            "input_size": terms,
            "output_size": outputs,
            "timed": 1,
            "length": 0,
            "weight": weight,
            "bias": bias,
        },
    ]
    return _engine.Plan(rows, [1], ["x", "dense"], [outputs], isa)


def product(plan, x, outputs):
    y = np.full((1, len(x), outputs), np.nan, np.float32)
    plan.run(len(x), [x[None]], [y])
    return y[0]


@pytest.mark.parametrize("isa", ISAS)
def test_products_of_whole_numbers_are_exact_at_every_size(isa):
    """Any term left out, taken twice or put elsewhere shows: sums of small whole numbers are exact in
    float32.
    """
    r = np.random.default_rng(1)
    weights = r.integers(-8, 9, (257, 257)).astype(np.float32)
    bias, x = r.integers(-8, 9, 257).astype(np.float32), r.integers(-8, 9, (49, 257)).astype(np.float32)
    for outputs in SIZES:
        for terms in SIZES:
            weight = weights[:outputs, -terms:]
            plan = product_plan(weight, bias[:outputs] if terms % 3 else None, isa)
            expected = x[:, :terms] @ weight.T + (bias[:outputs] if terms % 3 else 0)
            for rows in (1, 2 + (outputs + terms) % 16, 18 + (outputs + 3 * terms) % 32):
                assert (product(plan, x[:rows, :terms].copy(), outputs) == expected[:rows]).all(), (
                    outputs,
                    terms,
                    rows,
                )


@pytest.mark.parametrize("isa", ISAS)
def test_products_round_no_worse_than_a_sum_in_segments(isa):
    r = np.random.default_rng(2)
    for outputs, terms in [(1, 2000), (4, 999), (5, 2000), (33, 257), (64, 64), (130, 513)]:
        weight, x = (
            r.standard_normal((outputs, terms)).astype(np.float32),
            r.standard_normal((5, terms)).astype(np.float32),
        )
        exact = x.astype(np.float64) @ weight.T.astype(np.float64)
        size = np.abs(x).astype(np.float64) @ np.abs(weight.T).astype(np.float64)
        made = product(product_plan(weight, None, isa), x, outputs)
        # the bound of a sum in chains of 64 and their totals is (64 + terms / 64) half units of the sizes'
        # sum; roundings cancel far below it
        assert (np.abs(made - exact) <= 6e-8 * np.sqrt(64 + terms / 64) * size).all()
        assert same_bits(
            np.concatenate(
                [product(product_plan(weight, None, isa), x[k : k + 1], outputs) for k in range(5)]
            ),
            made,
        )


# ---- layer norm, softmax -----------------------------------------------------------------------------------


def one_layer(kind, width, isa, **fields):
    b = layers.GraphBuilder()
    b.output("y", b.add(kind, "layer", b.input("x", (width,)), **fields))
    graph = b.graph()
    return rnnrt.Model(graph, isa=isa), graph


@pytest.mark.parametrize("isa", ISAS)
def test_layer_norm_at_every_size(isa):
    r = np.random.default_rng(3)
    for size in SIZES:
        gamma, beta = r.standard_normal((2, size)).astype(np.float32)
        model, graph = one_layer(
            layers.LayerNormalization,
            size,
            isa,
            size=size,
            gamma=gamma,
            beta=beta if size % 2 else None,
            epsilon=1e-5,
        )
        x = r.standard_normal((9, size)).astype(np.float32)
        x[3:6] += 1000  # one pass over squares would lose the variance
        x[6] = 2.5  # no variance at all
        expected = reference.run(graph, {"x": x[None]})[0]["y"][0]
        error = np.abs(model(x) - expected)
        assert error[:3].max() <= 3e-6, size
        assert error[3:6].max() <= 1e-3, (
            size
        )  # the mean alone is rounded to 6e-5 there; a variance of one pass would err by 0.1
        assert error[6:].max() <= 3e-6, size


@pytest.mark.parametrize("isa", ISAS)
def test_softmax_at_every_size_and_of_large_numbers(isa):
    r = np.random.default_rng(4)
    for size in SIZES:
        model, graph = one_layer(layers.Softmax, size, isa)
        x = (r.standard_normal((8, size)) * np.array([1, 10, 100, 1e4, 1e30, 1, 1, 1])[:, None]).astype(
            np.float32
        )
        x[5] += 3e4
        x[6, 0] = -np.inf
        x[7] = -1e38
        if size == 1:
            x[6, 0] = 0
        expected = reference.run(graph, {"x": x[None]})[0]["y"][0]
        y = model(x)
        assert np.abs(y - expected).max() <= 1e-6, size
        assert np.abs(y.sum(1, dtype=np.float64) - 1).max() <= 1e-6, size
        spoiled = x.copy()
        spoiled[2, size // 2] = np.nan
        y2 = model(spoiled)
        assert np.isnan(y2[2]).all()
        assert same_bits(np.delete(y2, 2, 0), np.delete(y, 2, 0))


# ---- denormals, and the caller's mode ----------------------------------------------------------------------

MODE = (
    "#include <xmmintrin.h>\nunsigned get(void) { return _mm_getcsr(); }\nvoid set(unsigned mode) { "
    "_mm_setcsr(mode); }\n"
)


@pytest.fixture(scope="module")
def mode(tmp_path_factory):
    """A library with get() and set() of this thread's MXCSR."""
    if platform.machine() != "x86_64":
        pytest.skip("this processor has no MXCSR")
    compiler = shutil.which("cc") or shutil.which("gcc") or absent("no C compiler is here")
    folder = tmp_path_factory.mktemp("mode")
    (folder / "mode.c").write_text(MODE)
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-o", folder / "mode.so", folder / "mode.c"], check=True
    )
    library = ctypes.CDLL(str(folder / "mode.so"))
    library.get.restype = ctypes.c_uint
    before = library.get()
    yield library
    library.set(before)


def lstm(units=20, features=3):
    r = np.random.default_rng(5)
    b = layers.GraphBuilder()
    weights = lambda *s: (r.standard_normal(s) / 3).astype(np.float32)
    h = b.add(
        layers.LSTM,
        "lstm",
        b.input("x", (features,)),
        weight=weights(4 * units, features),
        recurrent_weight=weights(4 * units, units),
        bias=weights(4 * units),
    )
    b.output("y", b.add(layers.Dense, "dense", h, weight=weights(7, units), bias=weights(7)))
    return rnnrt.Model(b.graph())


#: All exceptions masked: round to nearest, round up, round down, flush to zero with denormals as zero,
#: towards zero with both.
MODES = {"nearest": 0x1F80, "up": 0x5F80, "down": 0x3F80, "flushing": 0x9FC0, "chopping and flushing": 0xFFC0}


@pytest.mark.parametrize("name", MODES)
def test_the_callers_floating_point_mode_changes_nothing_and_is_given_back(name, mode):
    model, x = lstm(), np.random.default_rng(6).standard_normal((40, 3)).astype(np.float32)
    out, short, expected = np.empty((40, 7), np.float32), np.empty(7, np.float32), model(x)
    stream, stepping, wrong = model.stream(), model.stream(), np.zeros(4, np.float32)
    seen = []
    mode.set(MODES[name])
    try:
        y = model(x)
        seen.append(mode.get())
        stream.push(x, out=out)
        seen.append(mode.get())
        stepping.step(x[0], out=short)
        seen.append(mode.get())
        stream.flush()
        seen.append(mode.get())
        try:
            stepping.step(wrong)
        except rnnrt.ShapeError:
            seen.append(mode.get())
        try:
            stream.step(x[0])
        except rnnrt.StateError:
            seen.append(mode.get())
    finally:
        mode.set(MODES["nearest"])
    assert [s & 0xFFC0 for s in seen] == [MODES[name]] * 6
    assert same_bits(y, expected)
    assert same_bits(out, expected)
    assert same_bits(short, expected[0])


def test_a_failing_id_gives_the_mode_back_too(mode):
    b = layers.GraphBuilder()
    doubled = b.add(layers.Affine, "affine", b.input("x", (1,)), scale=[2.0], offset=[0.0])
    b.output("y", b.add(layers.Embedding, "table", doubled, weight=np.ones((5, 3))))
    stream = rnnrt.Model(b.graph()).stream()
    mode.set(MODES["up"])
    try:
        with pytest.raises(rnnrt.ShapeError, match="table.*row 0, time 1.*found 14"):
            stream.push(np.array([[1], [7]], np.float32))
        assert mode.get() & 0xFFC0 == MODES["up"]
    finally:
        mode.set(MODES["nearest"])


def test_numpys_own_denormals_survive_a_call():
    model, x = lstm(), np.zeros((5, 3), np.float32)
    model(x)
    model.stream().step(x[0])
    assert np.float32(1e-40) * np.float32(0.5) > 0
    assert (np.full(50, 1e-40, np.float32) + np.full(50, 1e-40, np.float32) > 0).all()


@pytest.mark.parametrize("isa", ISAS)
def test_denormal_numbers_count_as_zero_and_never_come_out(isa):
    r = np.random.default_rng(7)
    weight = r.standard_normal((33, 20)).astype(np.float32)
    weight[:, 5] = 1e-40
    small = (r.standard_normal((9, 20)) * 1e-39).astype(np.float32)
    plan = product_plan(weight, None, isa)
    assert same_bits(product(plan, small, 33), product(plan, np.zeros_like(small), 33))
    tiny = (r.standard_normal((9, 20)) * 1e-30).astype(np.float32)
    made = product(product_plan(weight * np.float32(1e-7), None, isa), tiny, 33)
    assert (np.abs(made[made != 0]) >= sweep.SMALLEST).all()
    assert (made == 0).any()


def test_silence_does_not_change_bits():
    """A state that decays through the denormals is the state that was zero there: what follows has the same
    bits.
    """
    b = layers.GraphBuilder()
    b.output(
        "y",
        b.add(
            layers.SimpleRNN,
            "rnn",
            b.input("x", (4,)),
            weight=np.eye(4),
            recurrent_weight=0.5 * np.eye(4),
            activation="linear",
        ),
    )
    model = rnnrt.Model(b.graph())
    x = np.zeros((400, 4), np.float32)
    x[0], x[300:] = 1.0, np.random.default_rng(8).standard_normal((100, 4))
    y = model(x)
    assert (y[126] == sweep.SMALLEST).all()
    assert (y[127:300] == 0).all()
    assert same_bits(y[300:], model(x[300:]))
    stream = model.stream()
    assert same_bits(np.stack([stream.step(f) for f in x]), y)
