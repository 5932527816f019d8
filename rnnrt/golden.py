"""The golden sample: some inputs, and what the source framework itself answers to them. ``Model.verify``
replays it.

The framework answers where it can run the source: a live Keras model or PyTorch module as soon as it is
imported, for training may change its weights later (and nothing then keeps it alive); a Keras file when a
.rnnrt file is written of it and Keras is installed, for importing a framework costs seconds. Elsewhere the
float64 reference answers, and ``why`` says why the framework could not answer. The engine never does.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import sys
import tempfile
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from . import verification
from .axes import as_said, to_canonical, to_source
from .errors import (
    MissingExtraError,
    ModelFileError,
    RnnrtError,
    ShapeError,
    UnsupportedModelError,
    VerificationError,
    printable,
)
from .format.reading import is_open, open_regular, path_text
from .importers.detection import detect

#: Who answered a sample that came in the imported file.
VECTORS = "test vectors in the file"


class Golden(NamedTuple):
    """Arrays by name, canonical axes; who answered ("keras 3.15.1 (torch)", "torch 2.13.0" or "reference");
    why it was not a framework.
    """

    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    by: str
    why: str | None = None


class _Unavailable(Exception):
    """The framework cannot be asked; the text says why."""


def of(source, graph, unavailable=None) -> Golden:
    """The sample of ``graph``, answered by the framework of ``source`` it was imported from, or by the
    reference where that cannot answer.

    ``source``: a path or a live object. ``unavailable``: why it cannot answer, where the caller knows. Raises
    VerificationError where the framework answers in another shape than the graph.
    """
    if unavailable is None:
        try:
            inputs = verification.sample_inputs(graph)
            outputs, by = _answers(source, graph, inputs)
            return Golden(inputs, canonical(outputs, graph, by), by)
        except _Unavailable as error:
            unavailable = str(error)
    return Golden(*verification.reference_sample(graph), "reference", unavailable)


def own(source, graph) -> Golden | None:
    """The sample that the file of ``source`` carries itself; None where it carries none."""
    from_file = isinstance(source, (str, bytes, os.PathLike)) or is_open(source)
    if not from_file or graph.metadata.get("source") != "aida-x":
        return None
    from .importers.rtneural import reader

    pair = reader.sample(source)
    return pair and given(graph, *pair)._replace(by=VECTORS)


def given(graph, x, y) -> Golden:
    """The user's own samples: ``x`` and ``y`` as the source takes and gives them, each an array, a tuple or
    list of arrays in the source's order, or {name: array}; with a batch axis or without. Raises ShapeError
    where they do not fit the graph."""
    from .ports import as_array

    sides = []
    for what, value, names in (
        ("input", x, list(graph.inputs)),
        ("output", y, [o.name for o in graph.outputs]),
    ):
        if not isinstance(value, Mapping):
            several = isinstance(value, (tuple, list)) and len(names) > 1
            value = dict(zip(names, value)) if several and len(value) == len(names) else {names[0]: value}
        if set(value) != set(names):
            raise ShapeError(
                f"the sample's {what}s do not have the names of the network's",
                expected=", ".join(names),
                found=", ".join(map(str, value)),
            )
        arrays = {}
        for name in names:
            port = graph[name] if what == "input" else next(o for o in graph.outputs if o.name == name)
            signal = graph.signals[name if what == "input" else port.value]
            array = np.asarray(as_array(value[name], f"the sample's {what} {name!r}"), np.float32)
            rank = 1 + signal.time + len(signal.features)
            if array.ndim == rank - 1:
                array = np.expand_dims(array, port.axes.index("b"))
            if array.ndim != rank:
                raise ShapeError(
                    f"the sample's {what} {name!r} has the wrong shape",
                    expected=str(signal),
                    found=str(array.shape),
                )
            arrays[name] = to_canonical(array, port.axes)
        sides.append(arrays)
    return Golden(*sides, verification.USER)


def read(path, graph) -> Golden:
    """The user's own samples in an .npz file: arrays by the names of inputs and outputs, or x0.. and y0.. (x
    and y where one is).
    """
    from .format.reading import read_whole
    from .importers.containers.npz import read_npz
    from .importers.containers.zip import Archive

    arrays = read_npz(Archive(read_whole(path, 2 << 30), path_text(path), 2 << 30))
    sides = []
    for letter, names in (("x", list(graph.inputs)), ("y", [o.name for o in graph.outputs])):
        numbered = {n: f"{letter}{k}" if f"{letter}{k}" in arrays else letter for k, n in enumerate(names)}
        keys = {n: n if n in arrays else numbered[n] for n in names}
        missing = [n for n, key in keys.items() if key not in arrays]
        if missing:
            raise ModelFileError(
                "the samples are incomplete",
                where=path_text(path),
                expected=f"{', '.join(names)}, or {letter}0, {letter}1, ...",
                found=", ".join(arrays) or "nothing",
            )
        sides.append({n: arrays[key] for n, key in keys.items()})
    return given(graph, *sides)


def is_live(source):
    """Whether ``source`` is a framework's own object: not a path, bytes or a mapping of names to arrays."""
    return not isinstance(source, (str, bytes, bytearray, memoryview, os.PathLike)) and detect(
        source
    ).name in ("keras-model", "torch-module", "torch-program", "torch-script")


def provenance(source, graph) -> dict:
    """Where a graph came from, for its file: what the importer found (format, versions, assumptions), and the
    source's name and hash: of a SavedModel folder, that of keras_metadata.pb and variables/variables.index
    one after the other, which hold the checksums of the weights.
    """
    found = dict(graph.metadata)
    if isinstance(source, (str, os.PathLike)):
        digest = hashlib.sha256()
        for path in _hashed(source):
            with open_regular(path) as opened:
                while part := opened.read(1 << 20):
                    digest.update(part)
        name = os.path.basename(os.path.abspath(source))
        found |= {"file": printable(path_text(name)), "sha256": digest.hexdigest()}
    return found


def _hashed(source):
    if not os.path.isdir(source):
        return [source]
    from .importers.keras.saved_model import files

    return files(source)


# ---- the frameworks ----------------------------------------------------------------------------------------


def _answers(source, graph, inputs):
    """([output array as the source has it], who answered)."""
    kind = detect(source)
    if kind.name == "torch-module":
        return _by_torch(source, graph, inputs)
    if kind.name in ("torch-program", "torch-script"):
        return _by_program(source, graph, inputs, kind.importer)
    if kind.name == "keras-model":
        return _by_keras(source, graph, inputs)
    if kind.importer != "keras":
        raise _Unavailable(f"no framework runs {kind.what} by itself")
    _same_keras(graph.metadata["keras_version"])
    try:
        model = open_in_keras(source)
    except RnnrtError as error:
        raise _Unavailable(error.what) from error
    return _by_keras(model, graph, inputs)


@contextlib.contextmanager
def _hindering():
    """Whatever a framework or a user's own code raises hinders the framework, and nothing else."""
    try:
        yield
    except Exception as error:
        raise _Unavailable(f"it could not be run: {_first_line(error)}") from error


def _first_line(error):
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:200]}"


def _by_torch(module, graph, inputs):
    import torch

    from .importers.torch import rows
    from .importers.torch.copy import evaluated

    tensors = [*module.parameters(), *module.buffers()]
    types = {t.dtype for t in tensors if t.is_floating_point()} or {torch.float32}
    if types not in ({torch.float32}, {torch.float64}) or any(t.device.type != "cpu" for t in tensors):
        raise _Unavailable("the module does not compute in float32 or float64 on the CPU")
    (real,) = types
    given, counts = {}, graph.metadata.get("row_lengths", {})
    for name, x in inputs.items():
        layer = graph[name]
        given[name] = torch.tensor(
            to_source(x, layer.axes), dtype=torch.int64 if layer.ids or name in counts else real
        )
    lengths = verification.full_lengths(graph, inputs)
    given |= {} if lengths is None else {graph.metadata["lengths_input"]: torch.tensor(lengths)}
    with _hindering(), torch.no_grad():
        said = graph.metadata.get("one_row")
        own = evaluated(module) if said is None else rows.as_said(module, said)
        made = leaves(own(**given), sort=False)
    states = graph.metadata.get("state_outputs", ())
    kept = [y for k, y in enumerate(made) if y is not None and k not in states]
    return [y.numpy() for y in kept], f"torch {torch.__version__.partition('+')[0]}"


def _by_program(program, graph, inputs, importer):
    import torch

    from .importers.pt2.run import runner as exported
    from .importers.torchscript.run import runner as scripted

    runner = exported if importer == "pt2" else scripted
    given = [to_source(inputs[name], graph[name].axes) for name in graph.inputs]
    with _hindering():
        return runner(program, graph)(given), f"torch {torch.__version__.partition('+')[0]}"


def _by_keras(model, graph, inputs):
    package = next(
        p for p in (c.__module__.partition(".")[0] for c in type(model).__mro__) if p in ("keras", "tf_keras")
    )
    keras, torch = sys.modules[package], sys.modules.get("torch")
    with _hindering():
        for layer in model._flatten_layers():
            if (
                torch
                and type(layer).__name__ == "AveragePooling1D"
                and layer.padding == "same"
                and keras.backend.backend() == "torch"
            ):
                raise _Unavailable(
                    f"the layer {layer.name!r} pads with copies of the border in Keras on torch, and leaves "
                    f"padding out elsewhere"
                )
            if getattr(layer, "stateful", False):
                raise _Unavailable(
                    f"the layer {layer.name!r} is stateful: its answer depends on the calls before"
                )
            if layer.compute_dtype not in ("float32", "float64", None):
                raise _Unavailable(f"the layer {layer.name!r} computes in {layer.compute_dtype}")
        names = [x.name for x in model.inputs]
        arrays = [inputs[n] for n in (names if set(names) == set(inputs) else graph.inputs)]
        rows = [slice(0, 1), slice(1, 2)] if model.inputs[0].shape[0] == 1 else [slice(None)]
        answers = []
        with torch.no_grad() if torch else contextlib.nullcontext():
            for row in rows:
                given = [x[row] for x in arrays]
                made = model(given[0] if len(given) == 1 else given, training=False)
                answers.append(
                    [
                        np.asarray(y.detach().cpu() if hasattr(y, "detach") else y)
                        for y in leaves(made, sort=True)
                    ]
                )
    return [
        np.concatenate(parts) for parts in zip(*answers)
    ], f"{package} {keras.__version__} ({keras.backend.backend()})"


def leaves(tree, sort):
    """The tensors of what a call returned, in the order the importer has them: Keras orders a dictionary by
    name.
    """
    if isinstance(tree, dict):
        tree = [tree[k] for k in sorted(tree)] if sort else list(tree.values())
    return (
        [leaf for item in tree for leaf in leaves(item, sort)] if isinstance(tree, (list, tuple)) else [tree]
    )


def canonical(made, graph, by):
    """{output name: float32 array} of a framework's answers; raises VerificationError where they are not
    shaped like the graph's.
    """
    outputs = {}
    for output, y in zip(graph.outputs, made):
        signal = graph.signals[output.value]
        y = as_said(y, output, signal.features, 2, graph.metadata)
        y = to_canonical(y, output.axes) if y.ndim == 1 + signal.time + len(signal.features) else y
        if len(made) != len(graph.outputs) or y.shape != (2, *y.shape[1 : 1 + signal.time], *signal.features):
            raise VerificationError(
                f"{by} answers in another shape than the imported network",
                where=f"output {output.name!r}",
                expected=f"{len(graph.outputs)} outputs, this one {signal}",
                found=f"{len(made)}, this one {y.shape}",
            )
        outputs[output.name] = y.astype(np.float32)
    return outputs


# ---- a file in Keras ---------------------------------------------------------------------------------------


def _same_keras(written):
    """Raises where the installed Keras is not of the major version that wrote a file: they run some layers
    otherwise.
    """
    try:
        installed = importlib.metadata.version("keras")
    except importlib.metadata.PackageNotFoundError:
        raise _Unavailable("keras is not installed") from None
    if installed.partition(".")[0] != written.partition(".")[0]:
        raise _Unavailable(
            f"the file was written by keras {written}, and {installed} is installed, which runs some layers "
            f"otherwise"
        )


def open_in_keras(source):
    """A live model of a .keras or .h5 file, loaded by the installed Keras from a copy without anything it
    could be made to run.

    Raises MissingExtraError without Keras, UnsupportedModelError where it or the copying refuses the file.
    """
    from .importers.keras.rewrite import rewrite

    kind = detect(source)
    if kind.importer != "keras":
        raise UnsupportedModelError(f"is {kind.what}, which Keras does not run", where=path_text(source))
    with tempfile.TemporaryDirectory(prefix="rnnrt-") as folder:
        path = rewrite(source, folder)
        try:
            return _import_keras().saving.load_model(path, compile=False)
        except MissingExtraError:
            raise
        except Exception as error:  # whatever a framework raises for a file it refuses
            raise UnsupportedModelError(
                f"keras cannot load the file ({_first_line(error)})", where=path_text(source)
            ) from error


def _import_keras():
    """The keras module, on the backend the user chose, else on one that is installed: Keras by itself would
    insist on TensorFlow.
    """
    if importlib.util.find_spec("keras") is None:
        raise MissingExtraError(
            "the file is run in Keras, which is not installed here",
            fix="Install it with: pip install keras torch",
        )
    chosen = "KERAS_BACKEND" in os.environ or "keras" in sys.modules
    backend = next((b for b in ("tensorflow", "torch", "jax") if importlib.util.find_spec(b)), None)
    if chosen or backend is None:
        import keras
    else:
        os.environ["KERAS_BACKEND"] = backend
        try:
            import keras
        finally:
            del os.environ["KERAS_BACKEND"]
    return keras
