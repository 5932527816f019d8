"""Captures as JSON: RTNeural's files, AIDA-X's (RTNeural's with gains and test vectors) and GuitarML's, told
apart by their fields.
"""

from __future__ import annotations

import numpy as np

from ...errors import ModelFileError, ResourceLimitError, RnnrtError, UnsupportedModelError
from ...graph import Graph
from ...layers import Add, Affine, Select
from ..captures import Net
from ..containers.json_file import finite, read_json
from .guitarml import add_guitarml
from .layers import add_layer

MAX_LAYERS, MAX_CHANNELS = 256, 4096
#: What AIDA-X's player takes for a gain of silence, and its rate in Hz where a file states none.
_SILENT_DB, _AIDA_RATE = -90, 48000
_LOUDEST_DB = 200
_AIDA = ("in_skip", "in_gain", "out_gain", "input_batch", "output_batch", "metadata", "samplerate")


def read(source, *, max_bytes=2 << 30) -> Graph:
    """The Graph of a capture: ``input`` (batch, time, channels; the sample, then knobs) to ``output``.

    ``metadata``: ``sample_rate`` in Hz where it is known, and under ``capture`` what the file says about
    itself. Raises ModelFileError where it is damaged, UnsupportedModelError for what rnnrt does not run,
    ResourceLimitError beyond its limits.
    """
    return _Capture(source, max_bytes).graph


def sample(source):
    """(x, y), (time, channels) each, of the test vectors in an AIDA-X file; None where there are none."""
    return _Capture(source, 2 << 30).vectors


class _Capture:
    """A file, read: its graph and its test vectors."""

    def __init__(self, source, max_bytes):
        file = read_json(source, max_bytes)
        self.net, self.vectors, self.metadata = Net(file.where), None, {}
        try:
            if "model_data" in file:
                y = self._guitarml(file)
            else:
                y = self._rtneural(file)
            file.end()
            self.net.builder.output("output", y)
            self.graph = self.net.builder.graph(
                metadata=self.metadata | {"assumptions": self.net.assumptions}
            )
        except RnnrtError as error:
            known = error.where and error.where.startswith(file.where)
            raise error if known else error.at(file.where)

    def _guitarml(self, file):
        self.metadata = {"source": "guitarml"}
        self.net.assume("the file does not state its sample rate; GuitarML's trainers use 44100 Hz")
        return add_guitarml(self.net, file)

    def _rtneural(self, file):
        net, shape = self.net, file.list("in_shape")
        if not shape or type(shape[-1]) is not int or not 1 <= shape[-1] <= MAX_CHANNELS:
            expected = f"a list with the number of channels at the end, 1 to {MAX_CHANNELS}"
            raise file.refuse("in_shape", expected, shape and shape[-1])
        objects = file.objects("layers")
        if len(objects) > MAX_LAYERS:
            raise ResourceLimitError(
                "holds too many layers",
                where=file.where,
                expected=f"at most {MAX_LAYERS}",
                found=str(len(objects)),
            )
        aida = any(key in file for key in _AIDA)
        self.metadata = {"source": "aida-x" if aida else "rtneural"}
        x = y = net.builder.input("input", (shape[-1],))
        gain_in, gain_out = _gain(file, "in_gain"), _gain(file, "out_gain")
        if gain_in != 1:
            scale = np.ones(shape[-1])
            scale[0] = gain_in  # of the sample, not of the knobs
            x = y = net.add(Affine, "in_gain", x, scale=scale, offset=np.zeros_like(scale))
        time = shape[1] if len(shape) == 3 and type(shape[1]) is int else None
        for fields in objects:
            y = add_layer(net, fields, y, time)
        if _skips(file):
            y = self._added(file, x, y)
        if gain_out != 1:
            scale = np.full(net.width(y), gain_out)
            y = net.add(Affine, "out_gain", y, scale=scale, offset=np.zeros_like(scale))
        self._describe(file, aida)
        self.vectors = _vectors(file, shape[-1], net.width(y), gain_in, gain_out)
        return y

    def _added(self, file, x, y):
        if self.net.width(y) != 1:
            raise ModelFileError(
                "in_skip adds the sample to one output",
                where=file.where,
                expected="1 output",
                found=str(self.net.width(y)),
            )
        dry = x if self.net.width(x) == 1 else self.net.add(Select, "dry", x, index=(0,))
        return self.net.add(Add, "sum", dry, y)

    def _describe(self, file, aida):
        """What the file says beside its network, into the metadata."""
        capture = file.any("metadata") or {}
        if not isinstance(capture, dict):
            raise file.refuse("metadata", "an object", capture)
        rate = _rate(capture.get("samplerate")) or _rate(file.any("samplerate"))
        if rate is None and aida:
            self.net.assume(
                f"the file does not state its sample rate; {_AIDA_RATE} Hz is taken, as AIDA-X does"
            )
            rate = _AIDA_RATE
        self.metadata |= {"sample_rate": rate} if rate else {}
        self.metadata |= {"capture": capture} if capture else {}


def _rate(value):
    """A sample rate in Hz, which is written as a number or as text; None where it is neither."""
    try:
        rate = finite(float(value) if type(value) in (str, int, float) else None)
    except ValueError:
        return None
    if rate is None or not 1 <= rate <= 1 << 24:
        return None
    return int(rate) if rate == int(rate) else rate


def _gain(file, key):
    """A gain in dB as a factor."""
    decibels = file.number(key, 0)
    if decibels > _LOUDEST_DB:
        raise file.refuse(key, f"a gain of at most {_LOUDEST_DB} dB", decibels)
    return 0.0 if decibels <= _SILENT_DB else float(np.float32(10 ** (decibels / 20)))


def _skips(file):
    """Whether the sample is added to the answer."""
    value = file.any("in_skip", 0)
    if value not in (0, 1):
        raise UnsupportedModelError(
            "in_skip is 0 or 1, as AIDA-X runs it", where=file.where, found=repr(value)[:40]
        )
    return bool(value)


def _vectors(file, channels, outputs, gain_in, gain_out):
    """The file's own test vectors as a sample of the graph: they were recorded without gains, at knobs of
    zero.
    """
    x, y = (file.array(key, None, default=None) for key in ("input_batch", "output_batch"))
    if x is None and y is None:
        return None
    if x is None or y is None or len(x) != len(y) or outputs != 1:
        raise ModelFileError(
            "input_batch and output_batch do not belong together",
            where=file.where,
            expected="as many samples in as out",
        )
    if not gain_in:
        return None
    frames = np.zeros((len(x), channels), np.float32)
    frames[:, 0] = x / np.float64(gain_in)
    return frames, (y * np.float64(gain_out)).astype(np.float32)[:, None]
