"""Keras files beside the answers Keras gave."""

from __future__ import annotations

import tarfile
import tempfile
from pathlib import Path

import numpy as np
from outcome import Row, Wrong, compare, need

import rnnrt
from rnnrt import layers

#: May still be refused, for the reason one of these words gives.
LATER = {
    "seq2seq_open_len": ("length",),
    "siamese_open_len": ("length",),
    "fdeep148_encdec": ("length",),
    "func_mask_lstm": ("mask",),
    "masking_first": ("mask",),
    "tf215_tfadd": ("operator", "TFOpLambda", "add"),
    "ln_rms": ("rms",),
    "rescale_list": ("scale",),
    "z_dense": ("Dense", "frames"),
    "emb_2d_ids": ("Embedding", "ids"),
    "slice_last": ("GetItem", "slice", "Lambda"),
    "gelu": ("gelu",),
    "keras_onnx619_crnn": ("Conv2D",),
}
#: A refusal is the right outcome.
REFUSED = {"lstm_noversion": ("keras_version", "version"), "keras1_lstm": ("Keras 1",)}
#: A stream must work, or be refused before its first frame.
STREAMS = ("attention_classic_permute", "repeatvector_concat")


def rows(folder):
    for path in sorted((folder / "keras").glob("*.*")):
        if path.suffix not in (".keras", ".h5"):
            continue
        name = f"keras/{path.name}"
        if path.stem in REFUSED:
            yield Row(name, lambda p=path: str(rnnrt.from_keras(p)), "must", REFUSED[path.stem])
        elif path.stem == "custom_layer":
            yield Row(name, lambda p=path: _custom(p))
        elif not path.with_suffix(".npz").exists():
            continue  # its refusal is looked at below
        elif path.stem in LATER:
            yield Row(name, lambda p=path: _answers(p), "may", LATER[path.stem])
        else:
            yield Row(name, lambda p=path: _answers(p))
        if path.stem in STREAMS:
            yield Row(f"{name} streamed", lambda p=path: _streams(p))
    yield Row("keras/conv2d_front.h5 hint", lambda: _hint(folder / "keras" / "conv2d_front.h5"))
    yield Row("keras/conv2d_front.keras hint", lambda: _hint(folder / "keras" / "conv2d_front.keras"))
    yield from _tf215(folder / "keras" / "tf215_models.tar.xz")


def _recorded(path):
    with np.load(path.with_suffix(".npz")) as archive:
        numbered = lambda letter: [archive[k] for k in sorted(archive.files) if k[0] == letter]
        return numbered("x"), numbered("y")


def _answers(path, **options):
    inputs, expected = _recorded(path)
    return compare(rnnrt.from_keras(path, **options)(*inputs), expected)


def _custom(path):
    """``MyDense`` is x @ w."""

    def dense(config, arrays):
        (weight,) = arrays.values()
        return layers.Dense("d", ("x",), weight=weight.T)

    return _answers(path, custom_objects={"MyDense": dense})


def _streams(path):
    inputs, _ = _recorded(path)
    model = rnnrt.from_keras(path)
    if not model.streamable:
        try:
            model.stream()
        except rnnrt.NotStreamableError as error:
            return f"said before: {error}"
        raise Wrong("streamable is False and stream() works")
    stream = model.stream(batch_size=len(inputs[0]))
    parts = [stream.push(inputs[0][:, t : t + 1]) for t in range(inputs[0].shape[1])]
    parts.append(stream.flush())
    return compare(np.concatenate(parts, 1), model(*inputs))


def _hint(path):
    try:
        rnnrt.from_keras(path)
    except rnnrt.RnnrtError as error:
        need("inputs=" in str(error), f"no word of a partial import: {error}")
        return "the refusal shows inputs="
    return "imports"


def _tf215(archive):
    if not archive.exists():
        return
    folder = Path(tempfile.mkdtemp())
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    for golden in sorted(folder.rglob("*.npz")):
        for suffix in (".keras", ".h5"):
            path = golden.with_suffix(suffix)
            if path.exists():
                yield Row(f"keras/tf215/{path.name}", lambda p=path: _answers(p), "may")
        weights, config = golden.with_suffix(".w.h5"), golden.with_suffix(".json")
        if weights.exists() and config.exists():
            yield Row(f"keras/tf215/{weights.name}", lambda w=weights, g=golden: _weights_alone(w, g), "may")


def _weights_alone(weights, golden):
    inputs, expected = _recorded(golden)
    spec = golden.with_suffix(".json").read_text()
    return compare(rnnrt.from_keras(weights, spec=spec)(*inputs), expected)
