"""Rows of different length through a masked bidirectional LSTM: rnnrt, Keras's predict and onnxruntime.

    python tools/bench_ragged.py                     # 100,000 rows, one thread each; some minutes a round
    python tools/bench_ragged.py --rows 2000 --rounds 3

Rows are like proteins: ids of 1 to 20, lengths log-normal around 300, of 30 to 1,000. The network is
Embedding(21, 32, mask_zero=True), Bidirectional(LSTM(64)), Dense(3, softmax). In turns, round by round:

- rnnrt, ``model(rows)``: the list of rows as it is;
- rnnrt by hand: rows of one length stacked and called together, the answers put back in order;
- Keras: ``predict_on_batch`` of batches of rows sorted by length, padded by 0 to the longest;
- onnxruntime: ``session.run`` of the same batches, with ``sequence_lens``.

The best time of each; every answer is compared with the first's. Needs keras (the pinned versions of
tools/bench_peers.txt), onnx and onnxruntime. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("KERAS_BACKEND", "torch")
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np

import rnnrt

WORDS, WIDTH, UNITS, OUTPUTS = 21, 32, 64, 3
SHORTEST, LONGEST, MIDDLE, SPREAD = 30, 1000, 300, 0.6


def rows_of(count, rng):
    lengths = np.exp(rng.normal(np.log(MIDDLE), SPREAD, count)).astype(int).clip(SHORTEST, LONGEST)
    return [rng.integers(1, WORDS, n).astype(np.int32) for n in lengths]


def network():
    import keras

    keras.utils.set_random_seed(5)
    L = keras.layers
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            L.Embedding(WORDS, WIDTH, mask_zero=True),
            L.Bidirectional(L.LSTM(UNITS)),
            L.Dense(OUTPUTS, activation="softmax"),
        ]
    )


def by_hand(model, rows):
    """Rows of one length in one call."""
    lengths = np.array([len(row) for row in rows])
    answers = np.empty((len(rows), OUTPUTS), np.float32)
    for length in np.unique(lengths):
        places = np.flatnonzero(lengths == length)
        answers[places] = model(np.stack([rows[k] for k in places]))
    return answers


def padded(rows, size):
    """(places, ids padded by 0, lengths) of batches of rows sorted by length."""
    order = np.argsort([len(row) for row in rows], kind="stable")
    for start in range(0, len(rows), size):
        places = order[start : start + size]
        lengths = np.array([len(rows[k]) for k in places], np.int32)
        ids = np.zeros((len(places), lengths.max()), np.int32)
        for to, k in enumerate(places):
            ids[to, : lengths[to]] = rows[k]
        yield places, ids, lengths


def in_batches(call, rows, size):
    answers = np.empty((len(rows), OUTPUTS), np.float32)
    for places, ids, lengths in padded(rows, size):
        answers[places] = call(ids, lengths)
    return answers


def session_of(model):
    """The same network as an ONNX graph in onnxruntime: f(ids, lengths)."""
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    arrays = [np.asarray(w) for w in model.get_weights()]
    table, (ahead, back), (dense, bias) = arrays[0], (arrays[1:4], arrays[4:7]), arrays[7:]
    gates = lambda a: np.concatenate([np.split(a, 4, -1)[k] for k in (0, 3, 1, 2)], -1)  # i f c o -> i o f c
    both = lambda k, turn: np.stack([turn(gates(own[k])) for own in (ahead, back)])
    held = {
        "table": table,
        "w": both(0, np.transpose),
        "r": both(1, np.transpose),
        "b": both(2, lambda b: np.concatenate([b, np.zeros_like(b)])),
        "dense": dense,
        "bias": bias,
        "shape": np.array([-1, 2 * UNITS]),
    }
    node = helper.make_node
    nodes = [
        node("Transpose", ["ids"], ["turned"], perm=[1, 0]),
        node("Gather", ["table", "turned"], ["x"]),
        node(
            "LSTM", ["x", "w", "r", "b", "lengths"], ["", "h"], hidden_size=UNITS, direction="bidirectional"
        ),
        node("Transpose", ["h"], ["hs"], perm=[1, 0, 2]),
        node("Reshape", ["hs", "shape"], ["flat"]),
        node("Gemm", ["flat", "dense", "bias"], ["z"]),
        node("Softmax", ["z"], ["y"], axis=-1),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "ragged",
        [
            value("ids", TensorProto.INT32, ["batch", "time"]),
            value("lengths", TensorProto.INT32, ["batch"]),
        ],
        [value("y", TensorProto.FLOAT, ["batch", OUTPUTS])],
        [numpy_helper.from_array(a, name) for name, a in held.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, ["CPUExecutionProvider"])
    return lambda ids, lengths: session.run(None, {"ids": ids, "lengths": lengths})[0]


def contenders(rows, size):
    """{how: a function that answers all rows}."""
    keras_model = network()
    model = rnnrt.from_keras(keras_model).with_options(num_threads=1)
    by_keras = lambda ids, lengths: np.asarray(keras_model.predict_on_batch(ids))
    onnx_run = session_of(keras_model)
    return {
        "rnnrt, model(rows)": lambda: model(rows),
        "rnnrt, grouped by hand": lambda: by_hand(model, rows),
        "onnxruntime, padded batches": lambda: in_batches(onnx_run, rows, size),
        "Keras predict, padded batches": lambda: in_batches(by_keras, rows, size),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=256, help="rows of a padded batch")
    options = parser.parse_args()
    try:
        import torch

        torch.set_num_threads(1)
    except ImportError:
        pass
    rows = rows_of(options.rows, np.random.default_rng(1))
    forms = contenders(rows, options.batch)
    times, answers = {how: [] for how in forms}, {}
    for _ in range(options.rounds):
        for how, call in forms.items():
            start = time.perf_counter()
            answers[how] = np.asarray(call())
            times[how].append(time.perf_counter() - start)
    first = next(iter(forms))
    frames, best = sum(map(len, rows)), {how: min(t) for how, t in times.items()}
    print(f"{len(rows):,} rows, {frames:,} frames; best of {options.rounds} rounds, one thread\n")
    print("| way | s | us a row | times model(rows) | difference |\n|---|---:|---:|---:|---:|")
    for how, t in best.items():
        off = np.abs(answers[how] - answers[first]).max()
        print(f"| {how} | {t:.2f} | {t / len(rows) * 1e6:.0f} | {t / best[first]:.2f} | {off:.1e} |")
        assert off < 1e-5, f"{how} answers otherwise"


if __name__ == "__main__":
    main()
