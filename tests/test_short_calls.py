"""The short way of a call: it answers every array it is meant for, in the bits of the long way, and leaves
the rest to that.
"""

import numpy as np
import pytest
from expect import refused, same_bits
from small_models import embedding, frames, net, network, rnn, two_inputs_two_outputs, with_value

from rnnrt import ShapeError
from rnnrt import layers as L


def _pictures():
    return network(lambda b: b.add(L.Reshape, "flat", b.input("x", (2, 3), axes="bftf"), features=(6,)))


def _apart():
    """Pictures whose axes stand side by side, the frames after them."""
    return network(
        lambda b: rnn(b, "rnn", b.add(L.Reshape, "flat", b.input("x", (2, 3), axes="bft"), features=(6,)), 4)
    )


MODELS = {
    "btf": (net, [(9, 3)]),
    "bft": (lambda: net(axes="bft", out_axes="bft"), [(3, 9)]),
    "fixed": (lambda: net(length=9), [(9, 3)]),
    "pictures": (_apart, [(2, 3, 9)]),
    "two": (two_inputs_two_outputs, [(9, 3), (9, 2)]),
    "given once": (with_value, [(9, 3), (4,)]),
}


def _forms(x):
    """The same whole numbers in every type and order."""
    yield from (x, x.astype(np.float64), x.astype(np.float16), x.astype(np.int8), x.astype(np.int64))
    yield from (x.astype(">f4"), np.asfortranarray(x), np.repeat(x, 2, -1)[..., ::2], x[::-1][::-1])


@pytest.mark.parametrize("name", MODELS)
def test_arrays_of_every_kind_take_it(name, monkeypatch):
    make, shapes = MODELS[name]
    model = make()
    for lead in ((), (1,), (4,)):
        given = [np.round(2 * frames(*lead, *shape, seed=k)) + 0.0 for k, shape in enumerate(shapes)]
        plain = model._calls.answer(given)
        answers = [model(*made) for made in zip(*map(_forms, given), strict=True)]
        with monkeypatch.context() as m:
            m.setattr(model._calls, "answer", None)  # the long way is closed
            answers += [model(*made) for made in zip(*map(_forms, given), strict=True)]
            if not isinstance(plain, tuple):
                out = np.empty_like(plain)
                assert model(*given, out=out) is out
                answers.append(out)
        for answer in answers:
            for y, wanted in zip(
                *((a if isinstance(a, tuple) else (a,)) for a in (answer, plain)), strict=True
            ):
                assert y.shape == wanted.shape and same_bits(y, wanted)


def test_ids_take_it_where_they_are_whole_numbers_of_the_table(monkeypatch):
    model, ids = embedding(), np.array([[0, 10, 3], [1, 2, 9]])
    plain = model._calls.answer([ids])
    with monkeypatch.context() as m:
        m.setattr(model._calls, "answer", None)
        for kind in (np.int8, np.uint16, np.int32, np.int64):
            assert same_bits(model(ids.astype(kind)), plain)
        assert same_bits(model(ids[0]), plain[0])
        for wrong in (ids + 1, ids - 1, ids.astype(np.float64)):
            with pytest.raises(TypeError):
                model(wrong)
    assert same_bits(model(ids.astype(np.float64)), plain)


def test_out_that_shares_memory_or_does_not_lie_plainly_is_filled_the_long_way():
    model = net(units=3)
    x = frames(2, 7, 3)
    wanted = model(x)
    apart = np.empty((2, 7, 6), np.float32)[..., ::2]
    assert same_bits(model(x, out=apart), wanted)
    assert same_bits(model(x, out=x), wanted)


def test_axes_of_a_frame_that_lie_apart_are_left_to_the_long_way():
    model = _pictures()
    assert model._short is None
    assert model(frames(2, 2, 7, 3)).shape == (2, 7, 6)


def test_streams_of_several_inputs_and_outputs_take_arrays_of_every_kind():
    model = two_inputs_two_outputs()
    left, right = (np.round(2 * frames(4, 9, n)) + 0.0 for n in (3, 2))
    wanted, state = model(left, right)
    for a, b in zip(_forms(left), _forms(right), strict=True):
        stream = model.stream(batch_size=4)
        steps = [stream.step((a[:, t], b[:, t])) for t in range(4)]
        assert all(given_at_the_end is None for _, given_at_the_end in steps)
        more, none = stream.push((a[:, 4:], b[:, 4:]))
        assert same_bits(np.concatenate([np.stack([y for y, _ in steps], 1), more], 1), wanted)
        assert none.shape == (4, 0, 4) and stream.position == 9
        assert same_bits(stream.flush()[1][:, 0], state)


def test_a_stream_of_ids_takes_whole_numbers_of_the_table_and_no_others():
    model, ids = embedding(), np.array([0, 10, 3])
    wanted = model(ids)
    for kind in (np.int8, np.uint16, np.int64, np.float32):
        stream = model.stream()
        assert same_bits(np.stack([stream.step(i) for i in ids.astype(kind)]), wanted)
        assert same_bits(model.stream().push(ids.astype(kind)), wanted)
        assert same_bits(np.stack([model.stream().step(int(i)) for i in ids[:1]]), wanted[:1])
        refused(ShapeError, lambda s=stream, k=kind: s.push(ids.astype(k) + 1), "time 4", "found 11")
        assert stream.position == 3 and same_bits(stream.push(ids.astype(kind)), wanted)


def test_an_axis_of_one_may_have_any_stride():
    """NumPy calls an array contiguous whatever the stride of an axis of size 1."""
    model = network(lambda b: rnn(b, "rnn", b.add(L.Reshape, "flat", b.input("x", (6, 1)), features=(6,)), 4))
    for shape in ((2, 9, 6, 1), (9, 6, 1), (1, 1, 6, 1)):
        x = frames(*shape)
        odd = np.lib.stride_tricks.as_strided(
            x, x.shape, [s if n > 1 else 24 for n, s in zip(shape, x.strides)]
        )
        assert odd.flags.c_contiguous and odd.flags.aligned
        wanted = model._calls.answer([x])
        assert same_bits(model(odd), wanted) and same_bits(model._calls.answer([odd]), wanted)
        assert same_bits(model(x[..., ::2]), model._calls.answer([x]))
    double = two_inputs_two_outputs()
    left, right = frames(1, 9, 3), frames(1, 9, 2)
    for y, wanted in zip(double(left[::2], right[::3]), double._calls.answer([left, right]), strict=True):
        assert same_bits(y, wanted)


def test_a_network_without_time_takes_it(monkeypatch):
    def make(b):
        x = b.input("x", (3,), time=False)
        return b.add(L.Dense, "dense", x, weight=frames(4, 3), bias=frames(4))

    model, x = network(make), frames(5, 3)
    wanted = model._calls.answer([x])
    with monkeypatch.context() as m:
        m.setattr(model._calls, "answer", None)
        assert same_bits(model(x), wanted) and same_bits(model(x[1]), wanted[1])
