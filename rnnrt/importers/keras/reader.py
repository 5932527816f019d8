"""Keras models -> Graph: .keras, .h5 and .hdf5 files of Keras 2, tf.keras and Keras 3, SavedModel folders
of Keras 2, and live models.

files.py opens, weights.py sorts the arrays out, wiring.py says who feeds whom; here the calls become
graph layers, one after another, by the tables of layers.py and recurrent.py. Nothing named by a file is
ever imported or called.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from inspect import signature
from itertools import count
from os import PathLike

from ... import layers
from ...errors import ModelFileError, ResourceLimitError, RnnrtError, UnsupportedModelError
from ...passes import masked
from ..axes.scores import Scores
from . import truth
from .advice import advise
from .algebra import OF_SCORES, Pending
from .config import Config, Description
from .context import Assumptions, LayerContext
from .cut import Cut
from .files import KerasModel, described_by, open_model
from .flags import Flags, flags, makes_flags, mask_of
from .functions import OPERATIONS
from .layers import IDENTITIES, LAYERS
from .live import Live, known, of_a_class
from .mask_rules import POINTWISE, after, flow, handed_on, major
from .masks import Mask, Masks, refused
from .recurrent import RECURRENT, custom_layers, fields_of
from .shapes import signal_of
from .tensorflow import TENSORFLOW, is_known
from .unsupported import KNOWN, unsupported
from .weights import NETWORKS, inner
from .wiring import wire

#: Calls one model may make, those of a network called twice counted twice.
_MAX_CALLS = 10_000


def read(
    source, spec=None, *, custom_objects=None, inputs=None, outputs=None, max_bytes=2 << 30
) -> layers.Graph:
    """The Graph of a Keras model.

    ``source``: path or bytes of a .keras, .h5 or .weights.h5 file, path of a SavedModel folder that Keras 2
    wrote, or a live keras.Model (Keras need not be importable for files). ``spec``: the text of
    ``model.to_json()`` or lines (see spec.py), or a path to it, for files that hold weights alone;
    ``{"keras_version": "2.15.0"}`` for a file that does not say which Keras wrote it, where that decides what
    it computes. ``custom_objects``: {class name: f}, where ``f(config: dict, arrays: dict)`` returns an rnnrt
    layer (for a cell: SimpleRNN, LSTM or GRU) or a list of them, the names and inputs in them replaced; or
    the Keras class itself, whose ``call`` is followed (see traced.py), as those of a live model are.
    ``inputs``, ``outputs``: names of top-level layers that cut a part out: it starts with what the layers in
    ``inputs`` put out (an InputLayer: with what is put in) and ends with what those in ``outputs`` do.

    Raises ModelFileError where the file is damaged or contradicts itself, UnsupportedModelError (naming layer
    and option) where it holds what rnnrt does not run, ResourceLimitError above ``max_bytes``,
    MissingExtraError without h5py.
    """
    place = str(source) if isinstance(source, (str, PathLike)) else None
    custom_objects = custom_objects or {}
    try:
        spec = described_by(spec, max_bytes)
        told = (source, spec, max_bytes, tuple(custom_objects))
        try:
            return _read(open_model(*told), custom_objects, inputs, outputs)
        except UnsupportedModelError:
            if not of_a_class(source):
                raise
            try:
                return _read(open_model(*told, still=True), custom_objects, inputs, outputs)
            except UnsupportedModelError:
                pass
            raise
    except RnnrtError as error:
        raise error.at(place) if place and place not in (error.where or "") else error


def _read(model, custom_objects, inputs, outputs):
    wiring = wire(model.description)
    cut = Cut(wiring, inputs, outputs)
    try:
        first, again = _asked_once(custom_objects)
        made = Importer(model, first).graph(wiring, cut)
        return _with_masked_form(made, Importer(model, again, masked=True), wiring, cut)
    except UnsupportedModelError as error:
        if inputs is None and outputs is None:
            advise(error, wiring, lambda: Importer(model, custom_objects))
        raise


#: Keras's layers whose activation may be a function of the model's author, which a live layer has
_WITH_CODE = ("Activation", "Dense")


def _open_row(tensor):
    """Whether an input is a row of an open number of numbers: ids, for features would be so many."""
    return tensor.reference is None and tensor.shape is not None and list(tensor.shape[1:]) == [None]


def _asked_once(custom_objects):
    """``custom_objects`` for an import and for one more after it, which gets the answers of the first: a
    caller's function is called once for a layer.
    """
    answers = []

    def asked(function):
        def ask(config, arrays):
            made = function(config, arrays)
            answers.append(list(made) if isinstance(made, (list, tuple)) else made)
            return made

        return ask

    classes = {name: f for name, f in custom_objects.items() if isinstance(f, type)}
    again = dict.fromkeys(custom_objects, lambda config, arrays: answers.pop(0)) | classes
    return {name: asked(f) for name, f in custom_objects.items()} | classes, again


def _with_masked_form(graph, importer, wiring, cut):
    """``graph`` with what makes of it the network whose inputs are masked, where any layer would ask."""
    if not any(hasattr(x, "mask") for x in graph.layers):
        return graph
    try:
        form = importer.graph(wiring, cut)
        if form.inputs == graph.inputs:
            return graph
        if set(form.inputs) - set(graph.inputs) <= set(form.mask_inputs):
            said = masked.difference(graph, form)
        else:
            said = "a layer computes with the mask itself"
    except RnnrtError as error:
        said = str(error)
    return graph.replace(graph.layers, metadata=graph.metadata | {masked.KEY: said})


@dataclass
class _Tensor:
    """A Keras tensor: its reference in the graph, and the mask it carries. An input has no reference until
    its first reader tells whether it holds ids. ``flags``: what a tensor of True and False is; ``same``: the
    tensor that this is, but for the mask."""

    reference: str | None
    mask: Mask | None = None
    name: str = ""
    shape: list | None = None  # of an input: with the batch axis
    where: str = ""
    flags: Flags | None = None
    same: _Tensor | None = None
    truth: bool = False  # of an input: whether it holds truth values
    pending: Pending | None = None  # what it is until a layer asks for its reference

    def masked(self, mask):
        """The same tensor with another mask."""
        return self if mask is self.mask else replace(self, mask=mask, same=self)


class Importer:
    """One model on its way into one graph."""

    def __init__(self, model: KerasModel, custom_objects, masked=False):
        """``masked``: as the model answers where its inputs have masks, as with ``model(x, mask=...)``."""
        self.model, self.custom_objects, self.masked = model, custom_objects, masked
        self.builder, self.assumptions = layers.GraphBuilder(), Assumptions()
        self.masks, self.mask_inputs, self.truths = Masks(self.builder), {}, set()
        self.calls, self.done, self.at = 0, [], None  # calls made, top-level layers done, the one at work
        self.shapes_alone = False  # whether only the shapes are asked for, which no mask changes

    def graph(self, wiring, cut) -> layers.Graph:
        """The whole network, or the part of it that ``cut`` names."""
        arrays = self.model.weights.get("layers", {})
        _network_options(self.model.description, self.model.version)
        shapes = {key: self._shape(wiring, key) for key in cut.inputs}
        masks = flow(wiring) if cut.names else {}
        entries = [_Tensor(None, None, key[0], shapes[key], f"layer {key[0]!r}") for key in cut.inputs]
        for key, entry in zip(cut.inputs, entries):
            entry.truth = truth.told(wiring.call(key[0]).layer)
            if key[:2] in masks or self.masked:
                entry.mask = self._mask_input(key, masks.get(key[:2]), entry.shape)
        answers = self.run(cut, entries, arrays, "")
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
                if cut.parts and tensor.mask:
                    self.assumptions.append(
                        f"layer {key[0]!r}: its output carries the mask of {tensor.mask.where}, which is not "
                        f"part of the answer."
                    )
        # an input that nothing reads: one that only a mask is made of, where no layer consults the mask
        names = [self.reference(t, ids=len(t.shape or ()) == 2 and t.shape[1] is None) for t in entries]
        names += [m.made for m in self.mask_inputs.values() if m.made]
        metadata = {
            "source": "keras",
            "keras_version": self.model.version.text,
            "format": self.model.format,
            "model_name": self.model.description.name,
            "assumptions": list(dict.fromkeys(self.assumptions)),
        }
        return self.builder.graph(names, metadata)

    def run(self, cut, entries, arrays, prefix):
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
            if makes_flags(call, [t.flags for t in tensors]):
                operands = [t.flags or self._numbers(t) for t in tensors]
                answers[key] = [_Tensor(None, flags=flags(self.masks, call, operands, call.layer.name))]
                continue
            masks = call.masks and [key and self._explicit(key, answers, cut, call) for key in call.masks]
            answers[key] = self.apply(
                call.layer,
                arrays.get(call.weights, {}),
                tensors,
                prefix + call.layer.name,
                call.refusal,
                masks,
                call.arguments,
                call.options,
            )
            if not prefix:
                self.done.append(call.layer.name)
        return answers

    def apply(
        self, layer: Description, arrays, tensors, name, refusal=None, given=None, arguments=(), options=()
    ) -> list[_Tensor]:
        """What one call of ``layer`` makes of ``tensors``; ``refusal``: what else it is called with;
        ``given``: the masks it is called with; ``arguments``: all of them, of a function; ``options``: those
        with a name, of a function of TensorFlow."""
        layer, arrays = known(layer, arrays)
        kind = layer.class_name
        self.calls += 1
        if self.calls > _MAX_CALLS:
            raise ResourceLimitError(
                "the networks inside one another unfold to too many layers",
                where=layer.where,
                expected=f"at most {_MAX_CALLS}",
            )
        unknown = not layer.custom and kind not in (OPERATIONS if layer.operation else KNOWN)
        unknown = unknown or (kind in TENSORFLOW and not is_known(layer))
        unknown = unknown or (kind in _WITH_CODE and isinstance(arrays, Live))  # a function of its author's
        if unknown and not isinstance(arrays, Live):
            raise unsupported(layer)
        if refusal:
            raise refusal
        if (
            not tensors and kind in TENSORFLOW
        ):  # Keras writes no tensors behind a first argument that is not one
            raise UnsupportedModelError(
                "the file does not say which tensors the function reads: Keras itself could not load it",
                where=layer.where,
            )
        if not tensors:
            raise ModelFileError("the layer reads nothing", where=layer.where)
        masks, behind = self._masks(layer, tensors, given)
        if layer.custom or unknown:
            context = self.context_of(layer, arrays, name, masks)
            context.arguments = arguments
            try:
                return self._custom(context, [self.reference(t, _open_row(t)) for t in tensors])
            except UnsupportedModelError as error:
                if unknown and kind not in ("Lambda", *_WITH_CODE):
                    # of Keras's own, whose code is nothing to the user
                    raise unsupported(layer) from error
                raise
        if kind in NETWORKS:
            return self._nested(layer, arrays, [t.masked(m) for t, m in zip(tensors, masks)], name)
        if kind in IDENTITIES and not layer.operation:
            self._check_identity(layer)
            version = self.model.version
            return [t.masked(after(self.masks, layer, name, [m], version)) for t, m in zip(tensors, behind)]
        context = self.context_of(layer, arrays, name, masks)
        context.arguments = arguments if layer.operation or kind in TENSORFLOW else ()
        context.options = dict(options)
        function = layer.operation or kind in TENSORFLOW
        references = [
            own.pending.tensor
            if own.pending and (function or kind in OF_SCORES and isinstance(own.pending.tensor, Scores))
            else self.reference(own, kind == "Embedding")
            for own in map(_itself, tensors)
        ]
        if kind == "TimeDistributed" and not layer.operation:
            result = self._time_distributed(context, references)
        else:
            build = (OPERATIONS if layer.operation else LAYERS | RECURRENT | TENSORFLOW)[kind]
            try:
                signature(build).bind(context, *references)
            except TypeError as error:
                raise ModelFileError(
                    "the layer has the wrong number of inputs", where=layer.where, found=str(len(references))
                ) from error
            result = build(context, *references)
        context.config.finish()
        result = result if isinstance(result, list) else [result]
        if truth.kept(layer) and self.truths.issuperset(references):
            self.truths.update(result)
        mask = context.made_mask or after(self.masks, layer, name, behind, self.model.version)
        answers = 2 if kind == "Bidirectional" and layer.config.get("merge_mode", "concat") is None else 1
        return [_made(r, mask if k < answers else None) for k, r in enumerate(result)]

    def _masks(self, layer, tensors, given):
        """(the masks that a call of ``layer`` consults, those that its output's is made of): one or None for
        each of ``tensors``. ``given``: those it is called with.
        """
        if self.shapes_alone:
            return [None] * len(tensors), [None] * len(tensors)
        attached = [t.mask for t in tensors]
        if given:
            given = [*given, *[None] * len(tensors)][: len(tensors)]
            if layer.class_name in NETWORKS and major(self.model.version, layer) >= 3:
                given = [
                    g or a for g, a in zip(given, attached)
                ]  # a network leaves alone what it is not given
            return given, handed_on(layer, given, attached, self.model.version)
        # Keras 3 fills in a mask where one tensor is given, not beside initial_state; it hands it on all the
        # same
        alone = len(tensors) < 2 or layer.class_name not in RECURRENT or not any(attached)
        consulted = attached if alone or major(self.model.version, layer) < 3 else [None] * len(tensors)
        return consulted, attached

    def _mask_input(self, key, where, shape=None):
        """The mask of what comes in at a cut, or of a tensor that lies before it: an input of the graph."""
        if key not in self.mask_inputs:
            length = shape[1] if isinstance(shape, list) and len(shape) > 1 else None
            name = f"{key[0]}_mask"

            def make():
                if where is None:
                    return self.builder.input(name, (), length=length)
                self.assumptions.append(
                    f"input {name!r}: the mask of {where}, which is made before the part that was imported; "
                    f"give it as mask=, or all frames count as real."
                )
                return self.builder.input(name, (), length=length)

            self.mask_inputs[key] = Mask(where or f"input {key[0]!r}", make)
        return self.mask_inputs[key]

    def _explicit(self, key, answers, cut, call):
        """The mask that a call is given."""
        if self.shapes_alone:
            return None
        if key in cut.masks:
            return self._mask_input(key, f"layer {key[0]!r}")
        tensor = _item(answers, key, call.layer.where)
        if tensor.flags:
            return mask_of(tensor.flags, call.layer.where)
        return Mask(f"layer {key[0]!r}", lambda: self._frame_flags(tensor, call))

    def _frame_flags(self, tensor, call):
        """A tensor of numbers as a mask: of an input, the input itself; else real where it is not 0."""
        if tensor.reference is None and tensor.same is None and not tensor.pending:
            tensor.reference = self.builder.input(tensor.name, **signal_of(tensor, True) | {"ids": False})
            return tensor.reference
        reference = self.reference(tensor)
        signal = self.builder.signal(reference)
        if not signal.time or signal.width != 1:
            raise UnsupportedModelError(
                "its mask is not one number a frame", where=call.layer.where, found=str(signal)
            )
        return self.masks.not_equal("", f"{reference}", lambda: reference, 0.0).reference()

    def _numbers(self, tensor):
        """(the signal of a tensor, what gives its reference)."""
        tensor = _itself(tensor)
        if tensor.pending:
            self.reference(tensor)
        if tensor.reference is None:
            ids = isinstance(tensor.shape, list) and len(tensor.shape) < 3
            spec = signal_of(tensor, ids)
            signal = layers.TensorSpec(tuple(spec["features"]), spec["time"], spec["length"])
            return signal, lambda: self.reference(tensor, ids)
        return self.builder.signal(tensor.reference), lambda: tensor.reference

    def context_of(self, layer, arrays, name, masks=()):
        context = LayerContext(
            self.builder,
            layer,
            name,
            arrays,
            self.model.version,
            self.custom_objects,
            self.assumptions,
            self.masks,
            masks,
            truths=self.truths,
            importer=self,
        )
        if not (layer.operation and layer.class_name == "Cast"):
            _check_dtype(context.config, self.assumptions)
        return context

    def reference(self, tensor, ids=False):
        """The tensor's reference; an input enters the graph here, as ids or as numbers."""
        tensor = _itself(tensor)
        if tensor.pending:
            tensor.reference, tensor.pending = tensor.pending.reference(), None
        if tensor.flags:
            raise UnsupportedModelError(
                "numbers made of True and False are not supported", where=tensor.flags.parts[0].where
            )
        if tensor.reference is None:
            tensor.reference = self.builder.input(tensor.name, **signal_of(tensor, ids))
            self.truths.update([tensor.reference] * tensor.truth)
        return tensor.reference

    def _check_identity(self, layer):
        config = Config(layer, self.model.version)
        config.harmless("dtype", *IDENTITIES[layer.class_name])
        config.finish()

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
        cut = Cut(wiring)
        answers = self.run(cut, tensors, arrays.get("layers", {}), f"{name}/")
        return [_item(answers, key, layer.where) for key in cut.outputs]

    def _custom(self, context, references):
        """The layers that the caller's function gives, each doing with a mask what its class says: what the
        class in Keras does is not known.
        """
        x, mask = references[0], context.masks[0] if context.masks else None
        if isinstance(context.arrays, Live) or context.custom_objects:
            from . import traced  # for which Keras is in memory

            made = traced.layer_of(context, references)
            if made is not None:
                passes = any(context.masks) and traced.mask_rule(context, made)
                results = traced.traced(context, made, references)
                return [_Tensor(r, mask if passes else None) for r in results]
        if any(context.masks):
            self.assumptions.append(
                f"{context.layer.where}: the mask of {next(m for m in context.masks if m).where} is taken to "
                f"act on it as on the rnnrt layers that stand for it."
            )
        for number, layer in enumerate(custom_layers(context)):
            rule, fields = layer.mask_rule, fields_of(layer)
            if rule in ("combine", "own") and any(context.masks):
                raise UnsupportedModelError(
                    f"what {type(layer).__name__} does with a mask in a class of your own is not known",
                    where=context.layer.where,
                )
            if "mask" in fields and mask and fields["mask"] is None:
                fields["mask"] = mask.reference()
            x = context.add(
                type(layer),
                x,
                *(references[1:] if number == 0 else ()),
                suffix=f".{number}" if number else "",
                **fields,
            )
            mask = mask if rule == "pass" else None
        return [_Tensor(x, mask)]

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
        if x in self.truths:
            raise UnsupportedModelError("truth values are not supported here", where=context.layer.where)
        frame = self.apart()
        entry = _Tensor(None, None, "frame", [None, *signal.features], context.layer.where)
        if context.masks[0]:  # Keras gives the layer inside one flag a row: no layer of sequences takes that
            where = context.layer.where
            entry.mask = refused(context.masks[0].where, where, "the layer inside would use a mask of frames")
        result = frame.apply(inside, arrays, [entry], inside.name)
        self.calls = frame.calls
        if len(result) != 1:
            raise UnsupportedModelError("holds a layer with several outputs", where=context.layer.where)
        frame.builder.output("y", frame.reference(result[0]))
        return context.add(layers.TimeDistributed, x, graph=frame.builder.graph())

    def apart(self):
        """An importer of the same model for a graph inside a layer."""
        frame = Importer(self.model, self.custom_objects)
        frame.assumptions, frame.calls = self.assumptions, self.calls
        return frame

    def cell_of(self, context):
        """A custom cell whose call can be followed, or None."""
        if not isinstance(context.arrays, Live) and not self.custom_objects:
            return None
        from . import traced  # for which Keras is in memory

        return traced.cell_of(context)

    def called(self, layer, arrays, references, name):
        """What a layer that a live class calls makes, by reference."""
        made = self.apply(layer, arrays, [_Tensor(r) for r in references], name)
        if any(t.mask for t in made):
            raise UnsupportedModelError("makes a mask inside a class of your own", where=layer.where)
        return [self.reference(t) for t in made]

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
        before = Importer(self.model, self.custom_objects)
        before.shapes_alone = True
        try:
            part = before.graph(wiring, Cut(wiring, None, [key[0]]))
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


def _itself(tensor):
    """A tensor without the masks that it was given."""
    while tensor.same:
        tensor = tensor.same
    return tensor


def _made(result, mask):
    """What a layer gives, a reference or a Pending, as a tensor."""
    return _Tensor(None, mask, pending=result) if isinstance(result, Pending) else _Tensor(result, mask)


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
