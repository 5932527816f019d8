"""Sound in and out of a model: the channels and the rate of WAV files, and the axes of inputs and outputs."""

from __future__ import annotations

import numpy as np

from ..axes import to_canonical, to_source
from ..format import wav
from ..graph import Graph
from .usage import UsageError


def as_input(graph: Graph, name, sound: wav.Sound, path, channel=None):
    """The samples of ``path`` as the input ``name`` takes them: frames of as many numbers as channels,
    without a batch axis; where a frame is one number, each channel by itself as a row of a batch. Of
    ``channel``, from 1 on, as if the sound had no other.
    """
    samples = sound.samples
    if channel:
        if channel > samples.shape[1]:
            raise UsageError(
                "does not have this channel",
                where=path,
                expected=f"--channel 1 to {samples.shape[1]}",
                found=str(channel),
            )
        samples = samples[:, channel - 1 : channel]
    layer, channels = graph[name], samples.shape[1]
    if layer.ids or not layer.time or len(layer.features) > 1:
        raise UsageError(
            f"is a sound, which the input {name!r} does not take",
            where=path,
            expected=str(graph.signals[name]),
            fix="Give a .npy file.",
        )
    width = graph.signals[name].width
    if width not in (1, channels):
        raise UsageError(
            f"does not have as many channels as the input {name!r} has numbers a frame",
            where=path,
            expected=str(width),
            found=str(channels),
            fix=f"Give a .npy file of (time, {width}); of a capture with knobs: the sample, then the knobs.",
        )
    own = graph.metadata.get("sample_rate", sound.rate)
    if own != sound.rate:
        raise UsageError(
            f"has another sample rate than the model, which answers at {own:g} Hz alone",
            where=path,
            found=f"{sound.rate} Hz",
            fix=f"Resample it first: ffmpeg -i FILE -ar {own:g} NEW.wav",
        )
    if not len(samples):
        raise UsageError("holds no samples", where=path)
    rows = width != channels
    x = samples.T[:, :, None] if rows else samples[None]
    x = to_source(x if layer.features else x[..., 0], layer.axes)
    return x if rows else np.squeeze(x, layer.axes.index("b"))


def as_sound(graph: Graph, inputs, outputs, rate, encoding, path) -> wav.Sound:
    """The one output as the sound that ``path`` shall hold: a channel for every number in a frame, or for
    every row of a batch.
    """
    if len(outputs) > 1:
        raise UsageError("a .wav file holds one output", where=path, found=", ".join(outputs))
    (output,), (answer,) = graph.outputs, outputs.values()
    y = _canonical(answer, output.axes, graph.signals[output.value])
    timed = [n for n in graph.inputs if graph[n].time]
    frames = [_canonical(inputs[n], graph[n].axes, graph.signals[n]).shape[1] for n in timed]
    if not graph.signals[output.value].time or any(count != y.shape[1] for count in frames):
        raise UsageError(
            "the answer does not have a frame for every frame of the input, so it is not a sound at its rate",
            where=path,
            found=str(answer.shape),
            fix="Write a .npy file.",
        )
    if y.ndim > 3 or (len(y) > 1 and y.ndim == 3 and y.shape[2] > 1):
        raise UsageError(
            "a .wav file holds channels, of one row of a batch or of one number a frame",
            where=path,
            found=f"an answer of shape {answer.shape}",
            fix="Write a .npy file.",
        )
    return wav.Sound(_channels(y), rate, encoding)


def output_rate(graph: Graph, rate, path) -> int:
    """The sample rate of the answer in ``path``: ``rate``, that of the input, or the model's own."""
    rate = graph.metadata.get("sample_rate") if rate is None else rate
    if not isinstance(rate, (int, float)) or rate != int(rate):
        raise UsageError(
            "the sample rate of the answer is not known, or not a whole number of Hz",
            where=path,
            found="none" if rate is None else f"{rate}",
            fix="Give the input as a .wav file, or write a .npy file.",
        )
    return int(rate)


def _channels(y):
    """(time, channels) of (rows, time) or (rows, time, numbers)."""
    y = y if y.ndim == 3 else y[..., None]
    return y[0] if len(y) == 1 else y[..., 0].T


def _canonical(array, axes, signal):
    """A sequence of the source's axes as (batch, time, *features)."""
    array = np.asarray(array)
    if array.ndim == len(axes) - 1 + len(signal.features) - 1:
        array = np.expand_dims(array, axes.index("b"))
    return to_canonical(array, axes)
