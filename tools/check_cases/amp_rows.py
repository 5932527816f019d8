"""Published captures of amplifiers in FOLDER/wild, against what FOLDER/wild/golden holds of them."""

from __future__ import annotations

import numpy as np
from outcome import Row, Wrong, compare

import rnnrt
from rnnrt import reference

#: name -> the function that imports it. The answers were recorded from a float64 reading that begins with
#: zeros in every layer.
CAPTURES = {
    "nam_a1.nam": rnnrt.from_nam,
    "nam_wavenet.nam": rnnrt.from_nam,
    "nam_lstm.nam": rnnrt.from_nam,
    "byod_fuzz15.json": rnnrt.from_rtneural,
    "neuralpi_ts9.json": rnnrt.from_rtneural,
}
LONGER_THAN_IT_LOOKS_BACK = 4200


def rows(folder):
    for name, function in CAPTURES.items():
        if (folder / "wild" / name).is_file():
            yield Row(f"amps/{name}", lambda n=name, f=function: _recorded(folder / "wild", n, f))
            if name in ("nam_a1.nam", "nam_wavenet.nam"):
                yield Row(f"amps/{name} begins in silence", lambda n=name: _silence(folder / "wild" / n))


def _recorded(folder, name, function):
    model = function(folder / name)
    with np.load(folder / "golden" / f"{name.rpartition('.')[0]}.npz") as golden:
        x, y = golden["x0"], golden["y0"]
    if any(kept.endswith("/window") for kept in model.graph.start):
        model = rnnrt.from_graph(model.graph.replace(model.graph.layers, start={}))
    return _streamed(model, x) + ", " + compare(model(x), y, tolerance=1e-5)


def _silence(path):
    """The answer from the first sample on, against that from zeros after a long silence."""
    model, x = rnnrt.from_nam(path), np.random.default_rng(0).normal(0, 0.3, (600, 1)).astype(np.float32)
    zeros = model.graph.replace(model.graph.layers, start={})
    silent = np.concatenate([np.zeros((LONGER_THAN_IT_LOOKS_BACK, 1)), x])
    exact = reference.run(zeros, {"input": silent[None]})[0]["output"][0, LONGER_THAN_IT_LOOKS_BACK:]
    return _streamed(model, x) + ", " + compare(model(x), exact, tolerance=1e-5)


def _streamed(model, x):
    stream, whole = model.stream(), model(x)
    parts = [stream.push(part) for part in np.array_split(x, [1, 3, 64, 65, 300])]
    if np.concatenate(parts).tobytes() != whole.tobytes():
        raise Wrong("streamed, other bits than whole")
    return "streamed equal"
