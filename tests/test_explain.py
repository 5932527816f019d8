"""``rnnrt explain`` and ``rnnrt.plot``: what a trace comes to, and pictures of it."""

import sys

import numpy as np
import pytest
from command import run, run_json
from needs import need
from small_models import built, frames, model_of, net

import rnnrt
from rnnrt import layers as L

need("rnnrt._engine")


@pytest.fixture
def saved(tmp_path):
    """(model, the path of its file, that of an input)."""
    model = net(L.LSTM, 5)
    model.save(tmp_path / "m.rnnrt")
    np.save(tmp_path / "x.npy", frames(2, 9, 3))
    return model, tmp_path / "m.rnnrt", tmp_path / "x.npy"


def test_the_command_says_what_a_trace_comes_to(capsys, saved):
    model, path, x = saved
    traced = model.trace(np.load(x))
    code, data = run_json(capsys, "explain", path, "--input", x)
    assert code == 0 and data["receptive_field"] is None and list(data["layers"]) == list(traced)
    ((name, found),) = data["layers"].items()
    assert list(found) == list("hcifgo")
    for word, a in traced[name].items():
        assert found[word]["mean"] == pytest.approx(a.mean(dtype=np.float64), rel=1e-6)
        assert (found[word]["min"], found[word]["max"]) == (a.min(), a.max())
        assert ("open" in found[word]) == (word in "ifo")
    code, out, _ = run(capsys, "explain", path, "--input", x)
    assert code == 0 and out.count("\n") == 1 + 6 + 1 and "forget gate f" in out and "all frames" in out


def test_a_gate_that_is_open_or_shut_is_counted(capsys, tmp_path):
    """A GRU whose update gate is shut in one unit and open in another, whatever comes."""

    def build(b, x, r):
        weights = {"weight": np.zeros((9, 3)), "recurrent_weight": np.zeros((9, 3))}
        return b.add(L.GRU, "gru", x, **weights, bias=[-9, 9, 0] + [0] * 6)

    built(build).save(tmp_path / "m.rnnrt")
    np.save(tmp_path / "x.npy", frames(1, 4, 3))
    _, data = run_json(capsys, "explain", tmp_path / "m.rnnrt", "--input", tmp_path / "x.npy")
    z, r = (data["layers"]["gru"][gate] for gate in "zr")
    assert z["shut"] == z["open"] == pytest.approx(1 / 3) and (r["shut"], r["open"], r["mean"]) == (0, 0, 0.5)


def test_what_masks_hide_is_in_no_figure(capsys, tmp_path):
    def build(b, x, r):
        mask = b.add(L.NotEqual, "mask", x, value=0)
        return b.add(L.GRU, "gru", x, weight=np.ones((3, 3)), recurrent_weight=np.ones((3, 1)), mask=mask)

    built(build).save(tmp_path / "m.rnnrt")
    np.save(tmp_path / "x.npy", np.zeros((1, 4, 3), np.float32))
    code, data = run_json(capsys, "explain", tmp_path / "m.rnnrt", "--input", tmp_path / "x.npy")
    assert code == 0 and data["layers"]["gru"]["z"] == {"min": None, "mean": None, "max": None}
    assert run(capsys, "explain", tmp_path / "m.rnnrt", "--input", tmp_path / "x.npy")[0] == 0


def test_the_command_draws(capsys, saved, tmp_path):
    need("matplotlib")
    _, path, x = saved
    words = ["explain", path, "--input", x, "--plot"]
    assert run(capsys, *words, tmp_path / "g.png")[0] == 0
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")
    for wrong in (tmp_path / "g.word", tmp_path / "none" / "g.png"):
        code, _, err = run(capsys, *words, wrong)
        assert code == 2 and str(wrong) in err
    (tmp_path / "mine.png").write_text("not a picture")
    code, _, err = run(capsys, *words, tmp_path / "mine.png")
    assert code == 2 and "another kind" in err


def test_a_figure_shows_every_array_of_one_row():
    need("matplotlib")
    model, x = net(L.LSTM, 5), frames(2, 9, 3)
    (found,) = model.trace(x).values()
    figure = rnnrt.plot.gates(model, x, row=1)
    shown = {place.get_title(): place.images[0].get_array() for place in figure.axes if place.images}
    for text, word in (("input gate i", "i"), ("cell c", "c"), ("state h", "h")):
        (drawn,) = (a for title, a in shown.items() if title.endswith(text))
        np.testing.assert_array_equal(np.asarray(drawn), found[word][1].T)
    with pytest.raises(rnnrt.ShapeError, match="no row 2"):
        rnnrt.plot.gates(model, x, row=2)
    assert rnnrt.plot.gates(model, x[0]).axes


def test_a_receptive_field_has_a_bar_for_every_layer():
    need("matplotlib")
    (place,) = rnnrt.plot.receptive_field(model_of("conv_dilated")).axes
    names = [tick.get_text() for tick in place.get_yticklabels()]
    bars = {name: (bar.get_x() + 0.5, bar.get_width()) for name, bar in zip(names, place.patches)}
    assert bars == {"x": (0, 1), "conv": (-8, 9)}
    (place,) = rnnrt.plot.receptive_field(net(L.GRU, 4)).axes
    assert [text.get_text() for text in place.texts] == ["← all of them"]


def test_without_matplotlib_the_extra_is_named(capsys, saved, monkeypatch, tmp_path):
    for name in ("matplotlib", "matplotlib.figure", "matplotlib.backend_bases"):
        monkeypatch.setitem(sys.modules, name, None)
    model, path, x = saved
    with pytest.raises(rnnrt.MissingExtraError, match=r"rnnrt\[report\]"):
        rnnrt.plot.gates(model, np.load(x))
    assert run(capsys, "explain", path, "--input", x)[0] == 0
    code, _, err = run(capsys, "explain", path, "--input", x, "--plot", tmp_path / "g.png")
    assert code == 2 and "rnnrt[report]" in err
