"""Keras models -> Graph: .keras, .h5 and .hdf5 files of Keras 2, tf.keras and Keras 3, and live models.

files.py opens, weights.py sorts the arrays out, wiring.py says who feeds whom; here the calls become
graph layers, one after another, by the tables of layers.py and recurrent.py. Nothing named by a file is
ever imported or called.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from inspect import signature
from itertools import count
from os import PathLike

from ... import layers
from ...errors import ModelFileError, ResourceLimitError, RnnrtError, UnsupportedModelError, did_you_mean
from ..spec.text import text_of
from .config import Config, Description
from .files import KerasModel, open_model
from .layers import IDENTITIES, LAYERS, OPERATIONS, Assumptions, LayerContext
from .masks import POINTWISE, flow, hands_on, makes, uses
from .recurrent import RECURRENT, custom_layers, fields_of
from .weights import NETWORKS, inner
from .wiring import Wiring, wire

#: Calls one model may make, those of a network called twice counted twice.
_MAX_CALLS = 10_000
#: Refused layers behind which a part of the network is looked for that would import.
_MOST_PARTS = 100
#: Layers walked in all to find them: a try walks every layer, and a stranger's file may hold thousands.
_MOST_WALKED = 50_000


def read(
    source, spec=None, *, custom_objects=None, inputs=None, outputs=None, max_bytes=2 << 30
) -> layers.Graph:
    """The Graph of a Keras model.

    ``source``: path or bytes of a .keras, .h5 or .weights.h5 file, or a live keras.Model (Keras need not be
    importable for files). ``spec``: the text of ``model.to_json()`` or lines (see spec.py), or a path to
    it, for files that hold weights alone; ``{"keras_version": "2.15.0"}`` for a file that does not say which
    Keras wrote it, where that decides what it computes. ``custom_objects``: {class name: f}, where
    ``f(config: dict, arrays: dict)`` returns an rnnrt layer (for a cell: SimpleRNN, LSTM or GRU) or a list of
    them, the names and inputs in them replaced. ``inputs``, ``outputs``: names of top-level layers that cut a
    part out: it starts with what the layers in ``inputs`` put out (an InputLayer: with what is put in) and
    ends with what those in ``outputs`` do.

    Raises ModelFileError where the file is damaged or contradicts itself, UnsupportedModelError (naming layer
    and option) where it holds what rnnrt does not run, ResourceLimitError above ``max_bytes``,
    MissingExtraError without h5py.
    """
    place = str(source) if isinstance(source, (str, PathLike)) else None
    spec = text_of(spec)
    try:
        model = open_model(source, spec, max_bytes, tuple(custom_objects or ()))
        wiring = wire(model.description)
        cut = _Cut(wiring, inputs, outputs)
        try:
            return _Importer(model, custom_objects or {}).graph(wiring, cut)
        except UnsupportedModelError as error:
            if inputs is None and outputs is None:
                _advise(error, model, custom_objects or {}, wiring)
            raise
    except RnnrtError as error:
        raise error.at(place) if place and place not in (error.where or "") else error


@dataclass
class _Tensor:
    """A Keras tensor: its reference in the graph, and the layer whose mask it carries. An input has no
    reference until its first reader tells whether it holds ids."""

    reference: str | None
    mask: str | None = None
    name: str = ""
    shape: list | None = None  # of an input: with the batch axis
    where: str = ""


class _Cut:
    """The part of a network to import: keys to start from and keys to end with."""

    def __init__(self, wiring: Wiring, inputs=None, outputs=None):
        self.names = list(inputs or ())
        self.inputs = [(n, wiring.call(n).number, 0) for n in self.names] or wiring.inputs
        self.outputs = [(n, wiring.call(n).number, None) for n in outputs] if outputs else wiring.outputs
        self.parts = outputs is not None  # ends before the network does
        self.calls = wiring.needed(self.outputs, self.names)
        unfed = [
            c.layer.name
            for c in self.calls
            if c.layer.class_name == "InputLayer" and (c.layer.name, 0, 0) not in self.inputs
        ]
        if unfed:
            raise UnsupportedModelError(
                "the chosen outputs also need other inputs",
                where=wiring.where,
                expected=f"inputs= to hold {', '.join(unfed)}, or layers behind them",
            )


class _Importer:
    """One model on its way into one graph."""

    def __init__(self, model: KerasModel, custom_objects):
        self.model, self.custom_objects = model, custom_objects
        self.builder, self.assumptions = layers.GraphBuilder(), Assumptions()
        self.calls, self.done, self.at = 0, [], None  # calls made, top-level layers done, the one at work
        self.shapes_alone = False  # whether only the shapes are asked for, which no mask changes

    def graph(self, wiring, cut) -> layers.Graph:
        """The whole network, or the part of it that ``cut`` names."""
        arrays = self.model.weights.get("layers", {})
        _network_options(self.model.description, self.model.version)
        shapes = {key: self._shape(wiring, key) for key in cut.inputs}
        masks = flow(wiring)
        entries = [
            _Tensor(None, masks.get(key[:2]), key[0], shapes[key], f"layer {key[0]!r}") for key in cut.inputs
        ]
        answers = self.run(wiring, cut, entries, arrays, "")
        taken = {
            key[0] for key in cut.outputs
        }  # a layer's further outputs are lstm_1, ...: not the names of other layers
        for key in cut.outputs:
            for tensor in answers[key[:2]] if key[2] is None else [_item(answers, key, wiring.where)]:
                name = key[0]
                if any(o.name == name for o in self.builder.outputs):
                    name = next(n for k in count(1) if (n := f"{key[0]}_{k}") not in taken)
                taken.add(name)
                self.builder.output(name, self.reference(tensor))
            if cut.parts and key[:2] in masks:
                self.assumptions.append(
                    f"layer {key[0]!r}: its output carries the mask of {masks[key[:2]]}, which is not part "
                    f"of the answer."
                )
        names = [self.reference(t) for t in entries]
        metadata = {
            "source": "keras",
            "keras_version": self.model.version.text,
            "format": self.model.format,
            "model_name": self.model.description.name,
            "assumptions": list(dict.fromkeys(self.assumptions)),
        }
        return self.builder.graph(names, metadata)

    def run(self, wiring, cut, entries, arrays, prefix):
        """Every call the cut needs, in order; {(layer, call): its tensors}."""
        answers = {}
        for key, entry in zip(cut.inputs, entries):
            answers[key[:2]] = [entry]
        for call in cut.calls:
            key = (call.layer.name, call.number)
            if key in answers:
                continue
            self.at = call.layer.name if not prefix else self.at
            tensors = [_item(answers, source, call.layer.where) for source in call.sources]
            if call.mask:
                tensors = [replace(t, mask=t.mask or call.mask) for t in tensors]
            answers[key] = self.apply(
                call.layer, arrays.get(call.weights, {}), tensors, prefix + call.layer.name, call.refusal
            )
            if not prefix:
                self.done.append(call.layer.name)
        return answers

    def apply(self, layer: Description, arrays, tensors, name, refusal=None) -> list[_Tensor]:
        """What one call of ``layer`` makes of ``tensors``; ``refusal``: what else it is called with."""
        kind, mask = layer.class_name, next((t.mask for t in tensors if t.mask), None)
        self.calls += 1
        if self.calls > _MAX_CALLS:
            raise ResourceLimitError(
                "the networks inside one another unfold to too many layers",
                where=layer.where,
                expected=f"at most {_MAX_CALLS}",
            )
        if not layer.custom and kind not in (OPERATIONS if layer.operation else _KNOWN):
            raise _unsupported(layer)
        if refusal:
            raise refusal
        if not tensors:
            raise ModelFileError("the layer reads nothing", where=layer.where)
        if mask and uses(layer) and not self.shapes_alone:
            raise UnsupportedModelError(
                f"uses the mask of {mask}, and masks are not supported",
                where=layer.where,
                fix="If the padding may count as data, set mask_zero=False (or leave Masking out) and save "
                "again.",
            )
        if layer.custom:
            return self._custom(self._context(layer, arrays, name), [self.reference(t) for t in tensors])
        if kind in NETWORKS:
            return self._nested(layer, arrays, tensors, name)
        if kind in IDENTITIES and not layer.operation:
            return self._identity(layer, tensors)
        context = self._context(layer, arrays, name)
        references = [self.reference(t, ids=kind == "Embedding") for t in tensors]
        if kind == "TimeDistributed" and not layer.operation:
            result = self._time_distributed(context, references)
        else:
            build = (OPERATIONS if layer.operation else LAYERS | RECURRENT)[kind]
            try:
                signature(build).bind(context, *references)
            except TypeError as error:
                raise ModelFileError(
                    "the layer has the wrong number of inputs", where=layer.where, found=str(len(references))
                ) from error
            result = build(context, *references)
        context.config.finish()
        mask = layer.where if makes(layer) else mask if hands_on(layer) else None
        return [_Tensor(r, mask) for r in (result if isinstance(result, list) else [result])]

    def _context(self, layer, arrays, name):
        context = LayerContext(
            self.builder, layer, name, arrays, self.model.version, self.custom_objects, self.assumptions
        )
        _check_dtype(context.config, self.assumptions)
        return context

    def reference(self, tensor, ids=False):
        """The tensor's reference; an input enters the graph here, as ids or as numbers."""
        if tensor.reference is None:
            tensor.reference = self.builder.input(tensor.name, **_signal(tensor, ids))
        return tensor.reference

    def _identity(self, layer, tensors):
        config = Config(layer, self.model.version)
        config.harmless("dtype", *IDENTITIES[layer.class_name])
        config.finish()
        return tensors

    def _nested(self, layer, arrays, tensors, name):
        """A network inside the network, its layers named after both."""
        _network_options(layer, self.model.version)
        wiring = wire(layer)
        if len(tensors) != len(wiring.inputs):
            raise ModelFileError(
                "the network inside gets the wrong number of inputs",
                where=layer.where,
                expected=str(len(wiring.inputs)),
                found=str(len(tensors)),
            )
        cut = _Cut(wiring)
        answers = self.run(wiring, cut, tensors, arrays.get("layers", {}), f"{name}/")
        return [_item(answers, key, layer.where) for key in cut.outputs]

    def _custom(self, context, references):
        x = references[0]
        for number, layer in enumerate(custom_layers(context)):
            x = context.add(
                type(layer),
                x,
                *(references[1:] if number == 0 else ()),
                suffix=f".{number}" if number else "",
                **fields_of(layer),
            )
        return [_Tensor(x)]

    def _time_distributed(self, context, references):
        """A layer that treats every frame alike stands for itself; any other becomes a graph that runs inside
        each frame.
        """
        if len(references) != 1:
            raise ModelFileError("takes one input", where=context.layer.where, found=str(len(references)))
        x, inside = references[0], inner(context.layer, "layer")
        context.config.value("layer")
        context.config.harmless("dtype")
        arrays = context.arrays.get("layer", {})
        signal = self.builder.signal(x)
        if not signal.time:
            raise ModelFileError("needs a sequence", where=context.layer.where, found=str(signal))
        if inside.class_name in POINTWISE and not inside.custom and len(signal.features) == 1:
            inside = _over_time(inside)
            return self.apply(inside, arrays, [_Tensor(x)], context.name)[0].reference
        frame = _Importer(self.model, self.custom_objects)
        frame.assumptions, frame.calls = self.assumptions, self.calls
        entry = _Tensor(None, None, "frame", [None, *signal.features], context.layer.where)
        result = frame.apply(inside, arrays, [entry], inside.name)
        self.calls = frame.calls
        if len(result) != 1:
            raise UnsupportedModelError("holds a layer with several outputs", where=context.layer.where)
        frame.builder.output("y", frame.reference(result[0]))
        return context.add(layers.TimeDistributed, x, graph=frame.builder.graph())

    def _shape(self, wiring, key):
        """The shape of a graph input, batch axis first: an InputLayer's own, or that of the tensor where the
        cut goes through.
        """
        layer = wiring.call(key[0]).layer
        if layer.class_name == "InputLayer":
            config = Config(layer, self.model.version)
            config.only("sparse", False, None)
            config.only("ragged", False, None)
            config.harmless("dtype", "optional", "shape")
            config.finish()
            return layer.config.get("batch_shape") or layer.config.get("batch_input_shape")
        if key in wiring.shapes:
            return wiring.shapes[key]
        if layer.class_name == "Reshape" and not layer.custom:
            shape = Config(layer, self.model.version).integers("target_shape")
            if -1 not in shape:
                return [None, *shape]
        if layer.class_name == "Embedding" and not layer.custom:
            below = wiring.call(key[0]).sources[0]
            if below in wiring.inputs:
                ids = self._shape(wiring, below)
                if isinstance(ids, list):
                    return [*ids, Config(layer, self.model.version).integer("output_dim")]
        before = _Importer(self.model, self.custom_objects)
        before.shapes_alone = True
        try:
            part = before.graph(wiring, _Cut(wiring, None, [key[0]]))
        except UnsupportedModelError as error:
            raise UnsupportedModelError(
                "the network cannot be cut here: the file does not say the shape, and it cannot be worked "
                "out",
                where=layer.where,
                found=f"{error.where}: {error.what}",
            ) from error
        signal = part.signals[part.outputs[0].value]
        return [None, *((signal.length,) if signal.time else ()), *signal.features]


def _over_time(layer):
    """A layer that sees frames, (batch, features), as one that sees sequences: an axis counted from the front
    is one further on.
    """
    axis = layer.config.get("axis")
    front = lambda n: type(n) is int and n > 0
    if front(axis) or (isinstance(axis, list) and all(map(front, axis))):
        axis = [n + 1 for n in axis] if isinstance(axis, list) else axis + 1
        return replace(layer, config=layer.config | {"axis": axis})
    return layer


def _item(answers, key, where):
    tensors = answers[key[:2]]
    if key[2] >= len(tensors):
        raise ModelFileError(
            "reads an output that the layer does not have",
            where=where,
            expected=f"one of {len(tensors)} of {key[0]!r}",
            found=str(key[2]),
        )
    return tensors[key[2]]


def _signal(tensor, ids):
    """The fields of an Input for a Keras shape: (batch, n) are n ids in a row for an Embedding, otherwise n
    features without time.
    """
    shape = tensor.shape
    if not isinstance(shape, list) or not shape or any(type(n) is not int and n is not None for n in shape):
        raise ModelFileError(
            "the shape of the input is missing or is not a shape",
            where=tensor.where,
            found=repr(shape)[:80],
            fix="Build the model with keras.Input(shape) and save it again.",
        )
    axes = shape[1:]
    if ids and len(axes) < 2:
        return {"features": (), "time": bool(axes), "length": axes[0] if axes else None, "ids": True}
    timed, features = len(axes) > 1, axes[1:] if len(axes) > 1 else axes
    if None in features:
        raise UnsupportedModelError(
            "only the time axis of an input may be open",
            where=tensor.where,
            found=str(tuple(shape)),
            fix="Build the model with keras.Input(shape) and save it again.",
        )
    return {"features": features, "time": timed, "length": axes[0] if timed else None, "ids": ids}


def _network_options(network, version):
    config = Config(network, version)
    config.harmless("layers", "input_layers", "output_layers", "build_input_shape", "dtype")
    config.finish()


def _check_dtype(config, assumptions):
    """The options ``dtype``: half precision is computed in float32 and said so; quantised weights are
    refused.
    """
    value = config.value("dtype", None)
    if isinstance(value, dict):
        value = value.get("config").get("name") if isinstance(value.get("config"), dict) else value
    if value in ("float16", "bfloat16", "mixed_float16", "mixed_bfloat16"):
        assumptions.append(f"{config.where}: computed in float32, where Keras would use {value}.")
    elif value not in (None, "float32", "float64", "int32", "int64"):
        raise config.unsupported("dtype", value, "float32 or half precision")


#: Classes of layers that are read.
_KNOWN = {*LAYERS, *RECURRENT, *IDENTITIES, "TimeDistributed", *NETWORKS}
#: Those of Keras's own that are not: any other class is the model's author's, where the file does not say
#: whose it is.
_KERAS_OWN = re.compile(
    r"(?i)masking|lambda|tfoplambda|slicingoplambda|.*[23]d(transpose|lstm)?|convlstm\dd|conv1dtranspose|upsampling1d"
    r"|.*attention|.*normalization|maximum|minimum|dot|prelu|thresholdedrelu|locallyconnected\dd|discretization|hashing"
    r"|categoryencoding|stringlookup|integerlookup|textvectorization|random.*|center.*|resizing|einsumdense|reversibleembedding"
)


#: keras.ops functions, which a .h5 file does not tell from layers.
_FUNCTIONS = {
    "GetItem",
    "NotEqual",
    "Any",
    "ExpandDims",
    "ZerosLike",
    "LogicalOr",
    "LogicalAnd",
    "Mean",
    "Max",
    "Min",
    "Sum",
}
_FUNCTIONS |= {
    "Divide",
    "TrueDivide",
    "Negative",
    "Power",
    "Matmul",
    "Squeeze",
    "Transpose",
    "Stack",
    "Sqrt",
    "Exp",
    "Abs",
    "Cast",
}


def _unsupported(layer):
    if layer.operation or layer.class_name in _FUNCTIONS:
        return UnsupportedModelError(
            f"the operation {layer.class_name!r} (keras.ops) is not supported",
            where=layer.where,
            expected=f"one of {', '.join(sorted(OPERATIONS))}, or a layer",
        )
    if layer.class_name in ("TFOpLambda", "SlicingOpLambda"):
        function = str(layer.config.get("function", layer.name))[:80]
        return UnsupportedModelError(
            f"TensorFlow's function {function} (tf.{function}, or an operator such as + or [...]) on layers' "
            f"outputs is not supported",
            where=layer.where,
            expected=f"layers of Keras: one of {', '.join(sorted(_KNOWN))}",
            fix="Where a layer does the same (Add, Multiply, Subtract, Concatenate, Rescaling), build the "
            "network with that.",
        )
    hint = {
        "Masking": "Masks are not supported. If no step is ever masked in your data, leave Masking out and "
        "save again."
    }.get(layer.class_name)
    if not hint and not _KERAS_OWN.fullmatch(layer.class_name):
        own = (
            f"A class of your own: custom_objects={{{layer.class_name!r}: f}}, where f(config, arrays) "
            f"returns an rnnrt layer."
        )
        hint = " ".join(filter(None, (did_you_mean(layer.class_name, sorted(_KNOWN)), own)))
    return UnsupportedModelError(
        f"the layer class {layer.class_name!r} is not supported",
        where=layer.where,
        expected=f"one of {', '.join(sorted(_KNOWN))}",
        fix=hint,
    )


# ---- advice ------------------------------------------------------------------------------------------------


def _advise(error, model, custom_objects, wiring):
    """Adds to a refusal what else is unsupported, and the call that imports the largest part before or behind
    the layer.
    """
    unknown = [
        c.layer
        for c in wiring.calls
        if not c.layer.operation and not c.layer.custom and c.layer.class_name not in _KNOWN | {"InputLayer"}
    ]
    hints = [error.fix] if error.fix else []
    if len(unknown) > 1:
        hints.append(
            f"Not supported in this model: {', '.join(f'{x.name!r} ({x.class_name})' for x in unknown)}."
        )
    part = max(_parts(model, custom_objects, wiring), default=None, key=lambda found: found[0])
    if part:
        hints.append(" ".join([f"The largest part that can be imported: {part[1]}.", *part[2]]))
    error.fix = " ".join(hints) or None


def _parts(model, custom_objects, wiring):
    """(number of layers, the options that cut them out, what must be known of that) of parts before, between
    and behind the layers that are refused. Each has been imported."""
    start, order = [], [c.layer.name for c in wiring.calls if c.layer.class_name != "InputLayer"]
    for _ in range(min(_MOST_PARTS, 1 + _MOST_WALKED // len(wiring.calls))):
        importer, ends = _Importer(model, custom_objects), None
        try:
            importer.graph(wiring, _Cut(wiring, start))
        except RnnrtError:
            ends = importer.done[-1:]
        if ends:
            stopped = importer.at
            importer = _Importer(model, custom_objects)
            try:
                importer.graph(wiring, _Cut(wiring, start, ends))
            except RnnrtError:
                importer.done = []
        if importer.done:
            options = [f"{name}={names!r}" for name, names in (("inputs", start), ("outputs", ends)) if names]
            said = [line for line in importer.assumptions if "mask" in line]
            yield len(importer.done), ", ".join(options), said
        if ends is None and importer.done:
            return
        later = order[order.index(start[0]) + 1 :] if start else order
        if ends and stopped in later:
            later = later[later.index(stopped) :]
        if not later:
            return
        start = later[:1]
