"""The ways in: a Model from a file, a live object, or a graph."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from . import _engine
from .errors import ModelFileError, UnsupportedModelError, VerificationError
from .format.reading import model_file, path_text
from .model import Model

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .annotations import Answer, Backend, Check, CustomObjects, File, Floats, Path, WeightType
    from .graph import Graph


def from_keras(
    source: Any,
    spec: str | os.PathLike[str] | None = None,
    *,
    custom_objects: CustomObjects | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    check: Check | None = None,
    max_bytes: int = 2 << 30,
) -> Model[Answer]:
    """A Model from a .keras or .h5 file, a SavedModel folder of Keras 2, a weights file or the .index of a
    TensorFlow checkpoint with ``spec`` (Keras's to_json() text, or one layer a line: see
    importers/keras/spec.py; or a path to either, or to a whole .keras or .h5 file that describes the
    network), or a live Keras model.

    ``custom_objects``: {class name: f}, where f(config: dict, arrays: dict) returns an rnnrt layer (for a
    cell: SimpleRNN, LSTM or GRU) or a list of them. ``inputs``, ``outputs``: names of layers that cut a part
    out: it starts with what those in ``inputs`` put out and ends with what those in ``outputs`` do.
    ``check``: samples of your own, (x, y) as ``Model.verify`` takes them or the path of an .npz, which become
    the golden sample: VerificationError where they are not answered. ``max_bytes``: the most that the file
    may take, unpacked (ResourceLimitError). Raises ModelFileError for a damaged file, UnsupportedModelError
    with layer and option for what rnnrt does not run, MissingExtraError without h5py.
    """
    from .importers import detection
    from .importers.keras import reader

    detection.expect(source, "keras")
    return _imported(
        reader.read(
            source,
            spec,
            custom_objects=custom_objects,
            inputs=inputs,
            outputs=outputs,
            max_bytes=max_bytes,
        ),
        source,
        unavailable=_unavailable(inputs, outputs),
        check=check,
    )


def from_torch(
    source: Any,
    spec: str | os.PathLike[str] | None = None,
    *,
    example: Any = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    prefix: str = "",
    check: Check | None = None,
    max_bytes: int = 2 << 30,
) -> Model[Answer]:
    """A Model from a PyTorch file or state dict with a ``spec``, from a mapping of names to arrays, or from a
    live module.

    ``spec``: what a state dict does not say, one line an operation in forward order (see
    importers/spec/build.py), or a path to it; without it only one LSTM or GRU imports, and the error holds a
    draft. ``prefix`` chooses among several networks in a checkpoint. ``example``: of a live module, one
    example of each input (a tensor, a tuple of them, or {argument of forward: value}), for modules whose
    layers do not tell the shapes or whose forward asks for them. ``shapes``: {argument of forward: sizes}
    with None for batch and time ({"x": (None, 1, 40, None)}), for a live module in which more than one axis
    may be time. Of a TorchScript file a ``spec`` reads the weights alone; without one, ``from_torchscript``
    reads the program. ``check``, ``max_bytes``: as in ``from_keras``. Raises ModelFileError for a damaged
    file, UnsupportedModelError with the line of forward or of the spec for what rnnrt does not run.
    """
    from .importers import detection
    from .importers.torch import reader

    detection.expect(source, "torch", *("torchscript",) * (spec is not None))
    return _imported(
        reader.read(source, spec, example=example, shapes=shapes, prefix=prefix, max_bytes=max_bytes),
        source,
        check=check,
    )


def from_onnx(
    source: Any,
    *,
    state: Mapping[str, str] | None = None,
    constants: Mapping[str, ArrayLike] | None = None,
    shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    data: Path | Sequence[Path] | None = None,
    check: Check | None = None,
    max_bytes: int = 2 << 30,
) -> Model[Answer]:
    """A Model from an ONNX file, or a live ModelProto, whatever wrote it.

    Inputs and outputs have the names and the axes of the file; any batch is taken, and any number of frames
    that its operators allow, whatever the file declares. ``state``: {input: output} of values that the caller
    of the file carries from call to call; they become the state of streams, and a call of the file one frame,
    or several. ``constants``: {input: value} of inputs that are fixed ({"sr": 16000}); the condition of an If
    must be known by them. ``shapes``: {input: sizes} that the file leaves open, None for batch and time
    ({"input": (None, 576)}). ``data``: the file beside it that holds its weights (torch writes one by
    default), or several; no other file is read. ``check``, ``max_bytes``: as in ``from_keras``.
    """
    from .importers import detection
    from .importers.onnx import reader

    detection.expect(source, "onnx")
    options = {"state": state, "constants": constants, "shapes": shapes, "data": data}
    return _imported(reader.read(source, **options, max_bytes=max_bytes), source, check=check)


def from_tflite(
    source: File,
    *,
    state: Mapping[str, str] | None = None,
    constants: Mapping[str, ArrayLike] | None = None,
    shapes: Mapping[str, Sequence[int | str | None]] | None = None,
    check: Check | None = None,
    max_bytes: int = 2 << 30,
) -> Model[Answer]:
    """A Model from a TFLite (LiteRT) file of floats, whatever wrote it; weights of 8 bits are dequantised,
    and ``assumptions`` says so.

    Inputs and outputs have the names of its signature, or those of its tensors, and the axes of the file; any
    batch is taken, and any number of frames that its operators allow, whatever the file declares. What the
    file keeps from call to call (states of its LSTMs, variables) is the state of streams; a call of the Model
    begins anew. ``state``, ``constants``, ``shapes``: as in ``from_onnx``; ``check``, ``max_bytes``: as in
    ``from_keras``.
    """
    from .importers import detection
    from .importers.tflite import reader

    detection.expect(source, "tflite")
    options = {"state": state, "constants": constants, "shapes": shapes}
    return _imported(reader.read(source, **options, max_bytes=max_bytes), source, check=check)


def from_pt2(
    source: Any,
    *,
    state: Mapping[str, str] | None = None,
    check: Check | None = None,
    max_bytes: int = 2 << 30,
) -> Model[Answer]:
    """A Model from a .pt2 file of torch.export.save, for which torch is not needed, or a live
    ExportedProgram.

    Inputs have the names of forward's arguments and their axes. Any batch is taken, and any number of frames
    where no operator depends on it, whatever the file's example had; what was taken for true stands in
    ``assumptions``. ``state``: {input: output} of values that the caller of the program carries from call to
    call ({"h": "output_1"}); they become the state of streams, and a call of the program one frame, or
    several. States that only an nn.LSTM, GRU or RNN takes are ``initial_state`` and need no ``state``.
    ``check``, ``max_bytes``: as in ``from_keras``.

    Raises UnsupportedModelError for a program saved after run_decompositions().
    """
    from .importers import detection
    from .importers.pt2 import reader

    detection.expect(source, "pt2")
    return _imported(reader.read(source, state=state, max_bytes=max_bytes), source, check=check)


def from_torchscript(
    source: Any,
    *,
    state: Mapping[str, str] | None = None,
    shapes: Mapping[str, Sequence[int | None]] | None = None,
    check: Check | None = None,
    max_bytes: int = 2 << 30,
) -> Model[Answer]:
    """A Model from a file of torch.jit.save that torch.jit.trace wrote, for which torch is not needed, or a
    live module of torch.jit.

    Inputs have the names of forward's arguments and their axes. Any batch is taken, and any number of frames
    where no operator depends on the example's; what was taken for true stands in ``assumptions``. ``shapes``:
    {input: sizes} that it was traced with, where the file does not say them (a frozen one), None for those
    that may be any ({"x": (None, 100, 40)}). ``state``, ``check``, ``max_bytes``: as in ``from_pt2``.

    Raises UnsupportedModelError for scripted modules, whose weights ``from_torch`` takes with a spec.
    """
    from .importers import detection
    from .importers.torchscript import reader

    detection.expect(source, "torchscript")
    return _imported(
        reader.read(source, state=state, shapes=shapes, max_bytes=max_bytes), source, check=check
    )


def from_nam(source: File, *, check: Check | None = None, max_bytes: int = 2 << 30) -> Model[Answer]:
    """A Model from a .nam file of Neural Amp Modeler (versions 0.5 to 0.7): WaveNet, LSTM, ConvNet, or the
    last network of a container.

    It takes the samples as (batch, time, 1) and begins where players begin: in silence, an LSTM at the states
    in the file. ``metadata`` of the Model holds the sample rate in Hz, loudness in dB and levels in dBu, none
    of which changes the answer. ``check``, ``max_bytes``: as in ``from_keras``.
    """
    from .importers import detection
    from .importers.nam import reader

    detection.expect(source, "nam")
    return _imported(reader.read(source, max_bytes=max_bytes), source, check=check)


def from_rtneural(source: File, *, check: Check | None = None, max_bytes: int = 2 << 30) -> Model[Answer]:
    """A Model from a JSON file of RTNeural, AIDA-X or GuitarML (Proteus, NeuralPi); which one is told by its
    content.

    It takes frames of the sample and, where the capture has knobs, their positions. Test vectors in an AIDA-X
    file become the golden sample: VerificationError where they are not answered. ``check``, ``max_bytes``: as
    in ``from_keras``.
    """
    from .importers import detection
    from .importers.rtneural import reader

    detection.expect(source, "rtneural")
    return _imported(reader.read(source, max_bytes=max_bytes), source, check=check)


def _imported(graph, source, *, ask=None, unavailable=None, check=None):
    """The Model of a graph imported from ``source``, with its provenance and, where it is to be asked
    (``ask``, by default a live source) and can answer, the framework's answers. ``unavailable``: why it
    cannot."""
    from . import golden

    provenance = golden.provenance(source, graph)
    if check is not None:
        return _checked(graph, check, provenance)
    own = golden.own(source, graph) if ask is not False else None
    if own is not None:
        try:
            return _checked(graph, (own.inputs, own.outputs), provenance, own.by)
        except VerificationError as error:
            raise error.at(path_text(source)) from None
    if not (golden.is_live(source) if ask is None else ask):
        return Model(graph, provenance=provenance)
    sample = golden.of(source, graph, unavailable)
    provenance |= {"golden_by_reference_because": sample.why} if sample.why else {}
    return Model(graph, golden=(sample.inputs, sample.outputs), golden_by=sample.by, provenance=provenance)


def _checked(graph, check, provenance, by=None):
    """The Model of a graph with the samples ``check`` ((x, y), or the path of an .npz) as its golden ones,
    after it answered them. ``by``: who answered them, by default the user.
    """
    from . import golden

    is_pair = isinstance(check, (tuple, list)) and len(check) == 2
    sample = golden.given(graph, *check) if is_pair else golden.read(check, graph)
    sample = sample._replace(by=by or sample.by)
    model = Model(graph, golden=(sample.inputs, sample.outputs), golden_by=sample.by, provenance=provenance)
    model.verify()
    return model


def _unavailable(inputs=None, outputs=None, spec=None, **_):
    """Why, by an importer's options, the framework cannot answer for the graph, or None."""
    return (
        "only a part of the network was imported"
        if inputs or outputs
        else "the file holds weights alone"
        if spec is not None
        else None
    )


def from_numpy(parameters: Mapping[str, ArrayLike]) -> Model[tuple[Floats, ...]]:
    """A Model from the textbook's parameter dictionaries (see rnnrt.textbook), in their own axes."""
    from .importers import numpy

    return Model(numpy.read(parameters))


def from_graph(graph: Graph, *, lift: bool = True) -> Model[Answer]:
    """A Model from a Graph built by hand (see rnnrt.layers). ``lift``: Scans that are an LSTM, GRU or
    SimpleRNN run as those layers do; otherwise as the arithmetic they state."""
    return Model(graph, lift=lift)


def load(
    path: File,
    *,
    num_threads: int = 1,
    backend: Backend = "native",
    weights: WeightType = "float32",
    isa: str | None = None,
    verify: bool = False,
    max_bytes: int = 2 << 30,
) -> Model[Answer]:
    """A Model from a .rnnrt file, or from a folder that holds one as ``model.rnnrt``, as a repository of the
    Hugging Face Hub does. ``verify``: replay its golden sample first, also through the plan that a host in C
    makes of the file (VerificationError).

    ``num_threads``, ``backend``, ``isa``: as ``Model`` has them. ``max_bytes``: the most that the file may
    take (ResourceLimitError). Raises ModelFileError for a damaged file and for what is not a .rnnrt file.
    """
    from .format import file
    from .importers import detect

    kind = detect(path)
    if kind.name != "rnnrt":
        raise ModelFileError(
            f"is {kind.what}, not a .rnnrt file", where=path_text(path), fix="Import it with rnnrt.convert()."
        )
    path = model_file(path)
    stored = file.load(path, max_bytes)
    model = Model(
        stored.graph,
        num_threads=num_threads,
        backend=backend,
        weights=weights,
        isa=isa,
        golden=stored.golden,
        golden_by=stored.golden_by,
        provenance=stored.provenance,
    )
    if isinstance(path, (str, bytes, os.PathLike)):
        model._path = os.path.abspath(path_text(path))
    if verify:
        model.verify()
        verify_for_c(model)
    return model


def verify_for_c(model: Model[Any]) -> str | None:
    """Replay the golden sample of a model that ``load`` read from a path through the plan that a host in C
    makes of that file. What keeps C from making one, or None.

    Raises VerificationError as ``Model.verify`` does: the file was lowered by another rnnrt, and that one or
    this one is wrong.
    """
    from .calls import WholeCalls
    from .format.reading import open_regular
    from .plans import Plans

    if model._path is None:
        return "the model was not loaded from a path"
    with open_regular(model._path) as opened:
        content = opened.read()
    try:
        plans = Plans.of_file(content, model._run_graph)
    except UnsupportedModelError as error:
        return str(error)
    twin = Model.__new__(Model)
    twin.__dict__.update(model.__dict__)
    twin._calls = WholeCalls(model.graph, model._ports, plans, model._states)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # who answered was said
        try:
            twin.verify()
        except VerificationError as error:
            raise error.at(f"{model._path}, as a host in C runs it") from None
    return None


def convert(
    source: Any,
    destination: Path | None = None,
    *,
    golden: Literal["auto", "reference"] | Check = "auto",
    **options: Any,
) -> Model[Answer]:
    """A Model from any source rnnrt knows, told by content; saved to ``destination`` where one is given,
    after ``Model.verify``.

    ``golden``: who answers the sample that the file carries. "auto": the source's own framework, where it is
    live or its file can be run by the installed Keras; else, or with "reference", the float64 reference. Or
    your own samples: (x, y) as ``Model.verify`` takes them, or the path of an .npz that holds them by name
    (or x0.. and y0..); VerificationError where they are not answered. ``options``: as the importer takes
    them.
    """
    from . import importers, verification

    own = isinstance(golden, str) and golden in ("auto", "reference")
    if isinstance(golden, str) and not own and not os.path.exists(golden):
        raise UnsupportedModelError(
            "golden must name who answers the sample",
            expected="'auto', 'reference', samples (x, y), or the path of an .npz",
            found=repr(golden),
        )
    if importers.detect(source).name == "rnnrt":
        model = load(source, **options)
        if not own:
            model = _checked(model.graph, golden, model.provenance)
    else:
        ask = False if golden == "reference" else True if destination is not None else None
        graph = importers.read(source, **options)
        model = _imported(
            graph, source, ask=ask, unavailable=_unavailable(**options), check=None if own else golden
        )
    if destination is not None:
        _, outputs = model._golden or verification.reference_sample(model.graph)
        if all(
            np.isfinite(y).all() for y in outputs.values()
        ):  # else it verifies nothing, and ``verify`` fails
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # who answered is in the file and in ``assumptions``
                model.verify()
        model.save(destination)
    return model


def show_config() -> dict[str, Any]:
    """CPU, instruction sets, and the versions of what rnnrt stands on, as a dict."""
    import platform

    from . import __version__

    return {
        "rnnrt": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "isas": _engine.isas(),
    }
