"""The JSON of a Keras model: parsed with care, and read so that no key is overlooked.

:class:`Config` is one layer's options: each is asked for by name and type, or declared harmless; ``finish``
refuses the rest. :class:`Description` is one entry of a model's list of layers. Names of classes and modules
are only ever compared as strings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ...errors import ModelFileError, UnsupportedModelError, did_you_mean
from ...format import strict_json
from ...layers import Function

_REQUIRED = object()
#: Levels of the JSON text: a network within a network is four or five deeper.
_DEPTH = 96
#: The version of a file that does not say it.
UNKNOWN = "unknown"
#: Only training reads these: they may say anything.
TRAINING_SUFFIXES = ("_initializer", "_regularizer", "_constraint")
_HARMLESS = ("name", "trainable", "batch_input_shape", "batch_shape", "input_dtype")
#: Packages whose classes the names in a file may mean; classes of other packages are custom.
_KERAS = ("keras", "tf_keras", "tensorflow")


def is_json(text):
    """Whether ``text`` can be what ``parse`` reads; lines of a spec never begin so."""
    return text.lstrip().startswith(("{", '"{'))


def parse(text, where) -> dict:
    """The JSON object in ``text`` (str or UTF-8 bytes), also where it stands there as a JSON string:
    json.dump(model.to_json(), file).

    Raises ModelFileError.
    """
    value = strict_json.loads(text, where, _DEPTH)
    if isinstance(value, str):
        value = strict_json.loads(value, where, _DEPTH)
    if not isinstance(value, dict):
        raise ModelFileError("the JSON text does not hold an object", where=where, found=type(value).__name__)
    return value


@dataclass(frozen=True)
class Version:
    """The Keras that wrote a file, e.g. "2.2.4-tf"; UNKNOWN where nothing says it: only what depends on it is
    refused then.
    """

    text: str
    recent: bool = False  # where unknown: at least TensorFlow 2.12, the first to write weights as a tree

    def __post_init__(self):
        if self.text != UNKNOWN and not re.match(r"\d+(\.\d+)?", self.text):
            raise ModelFileError("keras_version is not a version", found=repr(self.text[:40]))

    def number(self, what, where):
        """(major, minor), of which ``what`` depends."""
        if self.text == UNKNOWN:
            raise UnsupportedModelError(
                f"the file does not say which Keras wrote it, and {what}",
                where=where,
                fix="Give the text of model.to_json() as spec."
                if self.recent
                else """Say it: spec='{"keras_version": "2.15.0"}', or whichever it was.""",
            )
        major, _, minor = re.match(r"\d+(\.\d+)?", self.text)[0].partition(".")
        return int(major[:9]), int(minor[:9] or 0)

    def old_hard_sigmoid(self, where):
        """Keras 1 and 2: clip(0.2 x + 0.5, 0, 1); Keras 3: relu6(x + 3) / 6."""
        return self.number("hard_sigmoid is another function in Keras 3 than before", where)[0] < 3

    def recurrent_activation(self, where):
        """The default of an LSTM's or GRU's gates: hard_sigmoid before Keras 2.3, where 2.2.4-tf may be
        TensorFlow 1 or 2.
        """
        if self.recent:
            return "sigmoid"
        number = self.number("recurrent_activation, which is missing, has had two defaults", where)
        if number < (2, 3) and "tf" in self.text:
            raise UnsupportedModelError(
                "the file does not say recurrent_activation, and its default changed within this version",
                where=where,
                found=self.text,
                fix="Say it in the spec: recurrent_activation=sigmoid (TensorFlow 2) or hard_sigmoid (1).",
            )
        return "hard_sigmoid" if number < (2, 3) else "sigmoid"


@dataclass
class Description:
    """One entry of a model's list of layers, or the model itself."""

    class_name: str
    name: str
    config: dict = field(repr=False)
    custom: bool = False
    operation: bool = (
        False  # a keras.ops function recorded as a layer; holds no weights and has no place among the layers
    )
    inbound: list = field(default_factory=list, repr=False)
    build_shape: list | None = None

    @property
    def where(self):
        return f"layer {self.name!r} ({self.class_name})"

    @property
    def trainable(self):
        return self.config.get("trainable", True) is not False


def describe(entry, where="model_config") -> Description:
    """A Description of a {"class_name": ..., "config": {...}} object of any Keras; raises ModelFileError."""
    if not isinstance(entry, dict) or not isinstance(entry.get("class_name"), str):
        raise ModelFileError(
            "a layer's description must be an object with a class_name", where=where, found=repr(entry)[:80]
        )
    class_name, config = entry["class_name"], entry.get("config")
    if class_name == "Sequential" and isinstance(config, list):  # Keras before 2.2.3 wrote the bare list
        config = {"layers": config}
    if not isinstance(config, dict):
        raise ModelFileError(
            "a layer's config must be an object", where=f"{where}: {class_name}", found=type(config).__name__
        )
    name = entry.get("name") or config.get("name") or class_name.lower()
    inbound, build, module = (
        entry.get("inbound_nodes") or [],
        entry.get("build_config") or {},
        entry.get("module"),
    )
    if (
        not isinstance(name, str)
        or not isinstance(inbound, list)
        or not isinstance(build, dict)
        or not isinstance(module, (str, type(None)))
    ):
        raise ModelFileError(
            "a layer's description has a field of the wrong type", where=f"{where}: {class_name}"
        )
    package = module.partition(".")[0] if module else None
    custom = (
        package not in _KERAS if package else "module" in entry and entry.get("registered_name") is not None
    )
    operation = (package == "keras" and ".ops." in module) or _is_function(entry, config, inbound)
    shape = build.get("input_shape") if isinstance(build.get("input_shape"), list) else None
    return Description(class_name, name, config, custom, operation, inbound, shape)


def _is_function(entry, config, inbound):
    """Whether an entry of Keras 3 without a module (in a .h5 file) is a keras.ops function: every layer there
    says whether it is trainable, but those of SpatialDropout.
    """
    return (
        "module" not in entry
        and bool(inbound)
        and isinstance(inbound[0], dict)
        and not {"trainable", "layers", "rate"} & config.keys()
    )


class Config:
    """The options of one layer. Every method marks its key as read; a missing key without a default raises
    ModelFileError.
    """

    def __init__(self, description: Description, version: Version):
        self.values, self.where, self.version = description.config, description.where, version
        self.read = set()

    def value(self, name, default=_REQUIRED):
        self.read.add(name)
        if name not in self.values and default is _REQUIRED:
            raise ModelFileError(f"the option {name} is missing", where=self.where)
        return self.values.get(name, default)

    def _mistyped(self, name, value, what):
        return ModelFileError(
            f"the option {name} has the wrong type", where=self.where, expected=what, found=repr(value)[:80]
        )

    def _typed(self, name, default, kinds, what):
        value = self.value(name, default)
        if value is not default and (
            not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)
        ):
            raise self._mistyped(name, value, what)
        return value

    def flag(self, name, default=_REQUIRED):
        return self._typed(name, default, (bool,), "true or false")

    def number(self, name, default=_REQUIRED):
        return self._typed(name, default, (int, float), "a number")

    def text(self, name, default=_REQUIRED):
        return self._typed(name, default, (str,), "a string")

    def integer(self, name, default=_REQUIRED):
        """A whole number, also where it stands alone in a list: [3]."""
        value = self.value(name, default)
        value = value[0] if isinstance(value, list) and len(value) == 1 else value
        if value is not default and (not isinstance(value, int) or isinstance(value, bool)):
            raise self._mistyped(name, value, "a whole number")
        return value

    def integers(self, name, default=_REQUIRED):
        value = self.value(name, default)
        value = [value] if isinstance(value, int) else value
        if not isinstance(value, list) or any(not isinstance(v, int) or isinstance(v, bool) for v in value):
            raise self._mistyped(name, value, "whole numbers")
        return value

    def numbers(self, name, default, count):
        """One number, or a list of ``count``: one for each feature."""
        value = self.value(name, default)
        several = value if isinstance(value, list) else [value]
        if len(several) not in (1, count) or any(
            not isinstance(v, (int, float)) or isinstance(v, bool) for v in several
        ):
            raise self._mistyped(name, value, f"a number, or {count} of them")
        return several

    def only(self, name, *allowed):
        """The option, where present, must be one of ``allowed``: other values change what the layer
        computes.
        """
        value = self.value(name, allowed[0])
        if not any(value is a or (value == a and type(value) is type(a)) for a in allowed):
            raise self.unsupported(name, value, " or ".join(map(repr, allowed)))

    def unsupported(self, name, value, expected=None):
        return UnsupportedModelError(
            f"the option {name}={value!r} is not supported", where=self.where, expected=expected
        )

    def harmless(self, *names):
        self.read.update(names)

    def activation(self, name, default="linear"):
        """The option's activation: a Function, or a word of _OF_A_FRAME."""
        return activation(self.value(name, default), self.version, self.where)

    def finish(self):
        """Raises UnsupportedModelError for the options that nothing has read and that are not known to be
        harmless.
        """
        left = {
            k: v
            for k, v in self.values.items()
            if k not in self.read and k not in _HARMLESS and not k.endswith(TRAINING_SUFFIXES)
        }
        if left:
            name, value = next(iter(left.items()))
            raise UnsupportedModelError(
                f"the option {name}={str(value)[:80]!r} is unknown here",
                where=self.where,
                fix=f"Unknown options: {', '.join(left)}.",
            )


#: Keras's names that differ from those of layers.FUNCTIONS, or fix a parameter. Slope 0.2:
#: keras.activations.leaky_relu.
_ACTIVATIONS = {
    "swish": ("silu",),
    "hard_swish": ("hard_silu",),
    "relu6": ("clipped_relu", 6.0),
    "leaky_relu": ("leaky_relu", 0.2),
    "elu": ("elu", 1.0),
    "celu": ("celu", 1.0),
    "soft_shrink": ("soft_shrink", 0.5),
    "hard_shrink": ("hard_shrink", 0.5),
}
_ACTIVATIONS |= {
    name: (name,)
    for name in (
        "linear",
        "relu",
        "tanh",
        "sigmoid",
        "hard_sigmoid",
        "hard_tanh",
        "exponential",
        "selu",
        "silu",
    )
    + ("hard_silu", "softsign", "gelu", "softplus", "mish", "log_sigmoid")
}
#: Activations of Keras that are not a function of one number: a word, for layers of their own.
_OF_A_FRAME = ("softmax", "log_softmax")


def activation(value, version, where) -> Function | str:
    """A Function from what a config holds under "activation": a name, null, or an object; words of
    _OF_A_FRAME stay words.
    """
    if isinstance(value, dict):
        word, module = value.get("class_name"), value.get("module")
        if word == "function" and isinstance(module, str) and module.partition(".")[0] in _KERAS:
            return _named(value.get("config"), version, where)
        if word in ("function", "__lambda__") or word is None:
            name = repr(value.get("config"))[:80] if word == "function" else "a lambda"
            raise UnsupportedModelError(
                f"the activation is a function of the model's author ({name}), and no code of a model is run",
                where=where,
                expected=f"one of {', '.join(_words())}",
            )
        inner = describe(value, where)
        if inner.custom:
            raise UnsupportedModelError(
                f"the custom activation {inner.class_name!r} is not supported", where=where
            )
        return layer_activation(inner, version)
    return _named(value, version, where)


def _named(value, version, where):
    if value is None:
        return Function("linear")
    if not isinstance(value, str):
        raise ModelFileError("an activation must be a name", where=where, found=repr(value)[:80])
    if value in _OF_A_FRAME:
        return value
    if value == "hard_sigmoid" and version.old_hard_sigmoid(where):
        return Function("hard_sigmoid_keras2")
    if value not in _ACTIVATIONS:
        raise UnsupportedModelError(
            f"the activation {value[:80]!r} is not supported",
            where=where,
            expected=f"one of {', '.join(_words())}",
            fix=did_you_mean(value, _words()),
        )
    name, *parameters = _ACTIVATIONS[value]
    return Function(name, tuple(parameters))


def _words():
    return sorted((*_ACTIVATIONS, *_OF_A_FRAME))


def layer_activation(description, version) -> Function | str:
    """The function of an activation layer: Activation, ReLU, LeakyReLU, ELU, Softmax."""
    config = Config(description, version)
    config.harmless("dtype")
    match description.class_name:
        case "Activation":
            function = config.activation("activation")
        case "ReLU":
            function = _relu(config)
        case "LeakyReLU":
            function = Function("leaky_relu", (config.number("negative_slope", config.number("alpha", 0.3)),))
        case "ELU":
            function = Function("elu", (config.number("alpha", 1.0),))
        case "Softmax":
            config.only("axis", -1)
            function = "softmax"
        case other:
            raise UnsupportedModelError(f"the activation {other!r} is not supported", where=description.where)
    config.finish()
    return function


def _relu(config):
    """ReLU(max_value, negative_slope, threshold): the combinations that are one of our functions."""
    maximum, slope = config.number("max_value", None), config.number("negative_slope", 0.0) or 0.0
    config.only("threshold", 0.0, 0, None)
    if maximum is not None and slope:
        raise config.unsupported("max_value", maximum, "no max_value with a negative_slope")
    if maximum is not None:
        return Function("clipped_relu", (maximum,))
    return Function("leaky_relu", (slope,)) if slope else Function("relu")
