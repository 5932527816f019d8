"""A .nam file as a Graph: versions, containers, where the network begins, and what stands beside it.

Facts of the format are NeuralAmpModelerCore's (file versions 0.5.0 to 0.7). What players do to the sound with
``loudness`` and the levels is theirs: the answer is that of the network alone.
"""

from __future__ import annotations

import re

from ...errors import ModelFileError, RnnrtError, UnsupportedModelError
from ...graph import Graph
from ..captures import Net
from ..containers.json_file import Fields, finite, read_json
from .convnet import add_convnet
from .lstm import add_lstm
from .parts import Weights
from .silence import silence
from .wavenet import add_wavenet

#: The sample rate, in Hz, that players take where a file does not state one.
RATE = 48000
#: Numbers about a capture that players use: dB, none, dBu, dBu.
_NUMBERS = ("loudness", "gain", "input_level_dbu", "output_level_dbu")
_ARCHITECTURES = {"WaveNet": add_wavenet, "LSTM": add_lstm, "ConvNet": add_convnet}
_NOTES = ("notes",)
_LINEAR = "The trainer and the player read a Linear's weights in opposite order."


def read(source, *, max_bytes=2 << 30) -> Graph:
    """The Graph of a .nam file: ``input`` (batch, time, channels) to ``output``, on the file's own scale.

    It begins where players begin: in silence, an LSTM at the h and c in the file. ``metadata`` holds
    ``sample_rate`` in Hz; ``loudness`` in dB, ``gain``, ``input_level_dbu`` and ``output_level_dbu`` where
    the file states them; and under ``capture`` all that the file says about itself. Raises ModelFileError
    where it is damaged, UnsupportedModelError for what rnnrt does not run, ResourceLimitError beyond its
    limits.
    """
    file = read_json(source, max_bytes)
    net = Net(file.where)
    try:
        return _graph(net, file)
    except RnnrtError as error:
        raise error if error.where and error.where.startswith(net.where) else error.at(net.where)


def _graph(net, file):
    header = _Header(file)
    if header.architecture == "SlimmableContainer":
        file = _largest(net, file)
        header = header.above(_Header(file))
    if header.rate is None:
        net.assume(f"the file does not state its sample rate; {RATE} Hz is taken, as players do")
    config = file.object("config")
    x = net.builder.input("input", (config.count("in_channels", 1),))
    net.builder.output("output", _network(net, file, config, header, x))
    if header.architecture != "LSTM":
        net.builder.start = silence(net.builder, net.where)
    numbers = {key: finite(header.capture.get(key)) for key in _NUMBERS}
    metadata = {
        "source": "nam",
        "version": header.version,
        "architecture": header.architecture,
        "sample_rate": header.rate or RATE,
        **{key: value for key, value in numbers.items() if value is not None},
        "capture": header.capture,
        "assumptions": net.assumptions,
    }
    return net.builder.graph(metadata=metadata)


def _network(net, file, config, header, x):
    """The network of ``file``, which uses all its weights, over ``x``."""
    if header.architecture not in _ARCHITECTURES:
        raise UnsupportedModelError(
            f"the architecture {header.architecture[:40]!r} is not supported",
            where=file.where,
            expected=f"{', '.join(_ARCHITECTURES)}, or a SlimmableContainer of these",
            fix=_LINEAR if header.architecture == "Linear" else None,
        )
    weights = Weights(file)
    file.end(harmless=_NOTES)
    if "condition_dsp" in config and header.architecture == "WaveNet":
        condition = _condition(net, config.object("condition_dsp"), header, x)
        y = add_wavenet(net, config, weights, x, condition)
    else:
        y = _ARCHITECTURES[header.architecture](net, config, weights, x)
    config.end()
    weights.end()
    return y


def _condition(net, file, header, x):
    """What a network of its own makes of ``x``, to be mixed into the layers."""
    own = _Header(file)
    if own.rate not in (None, header.rate):
        raise ModelFileError(
            "the network of the condition has another sample rate",
            where=file.where,
            expected=f"{header.rate} Hz",
            found=f"{own.rate} Hz",
        )
    if own.architecture not in ("WaveNet", "ConvNet"):
        raise UnsupportedModelError(
            "a condition is made by a WaveNet or a ConvNet alone",
            where=file.where,
            found=own.architecture[:40],
        )
    config, outer = file.object("config"), net.prefix
    if config.count("in_channels", 1) != net.width(x):
        raise ModelFileError(
            "the network of the condition has another number of inputs",
            where=config.where,
            expected=str(net.width(x)),
        )
    net.prefix = f"{outer}condition."
    made = _network(net, file, config, own, x)
    net.prefix = outer
    return made


class _Header:
    """What a file says before its network: version, architecture, sample rate in Hz or None, metadata."""

    def __init__(self, file: Fields):
        self.version, self.architecture = file.text("version"), file.text("architecture")
        _check_version(self.version, file.place("version"))
        self.rate = file.number("sample_rate", None)
        if self.rate is not None and not 1 <= self.rate <= 1 << 24:
            raise file.refuse("sample_rate", "a rate in Hz", self.rate)
        self.capture = file.any("metadata") or {}
        if not isinstance(self.capture, dict):
            raise file.refuse("metadata", "an object", self.capture)

    def above(self, inner) -> _Header:
        """The header of a network inside a container with this one."""
        if None not in (self.rate, inner.rate) and self.rate != inner.rate:
            raise ModelFileError(
                "the container and its network differ in their sample rate",
                found=f"{self.rate}, {inner.rate}",
            )
        inner.rate = self.rate if inner.rate is None else inner.rate
        inner.capture = self.capture | inner.capture
        return inner


def _check_version(version, where):
    parts = re.fullmatch(r"(\d{1,4})\.(\d{1,4})\.(\d{1,4})", version)
    known = parts and (0, 5, 0) <= tuple(map(int, parts.groups())) < (0, 8, 0)
    if not known:
        raise UnsupportedModelError(
            "the version of the .nam file is not known",
            where=where,
            expected="0.5.0 to 0.7",
            found=version[:40],
            fix="Update rnnrt, or save the capture with a trainer that writes one of these.",
        )


def _largest(net, file) -> Fields:
    """The network of a container that players take at their default: the last, for the highest quality."""
    if file.list("weights"):
        raise ModelFileError("a container has no weights of its own", where=file.place("weights"))
    config = file.object("config")
    models, highest = config.objects("submodels"), []
    for entry in models:
        highest.append(entry.number("max_value"))
    if sorted(set(highest)) != highest or highest[-1] < 1:
        raise ModelFileError(
            "the networks of a container must be sorted by max_value, the last at least 1",
            where=config.where,
            found=", ".join(f"{value:g}" for value in highest[:8]),
        )
    config.end()
    file.end(harmless=_NOTES)
    if len(models) > 1:
        net.assume(f"the file holds {len(models)} networks of rising quality; the last is taken")
    return models[-1].object("model")
