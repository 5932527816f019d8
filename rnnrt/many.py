"""Many live streams of one model in one call: their rows run as one batch, group by group of equal phase."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from . import _engine
from .errors import DTypeError, ShapeError, StateError


def step(model, streams, frames, out, mask):
    """See ``Model.step_many``."""
    if type(streams) is not list:
        streams = list(streams) if np.iterable(streams) else [streams]
    made = _engine.step_rows(model, streams, frames, out) if mask is None else NotImplemented
    if made is not NotImplemented:
        return made
    streams, given = _paired(model, streams, frames, "frame")
    masks = _by_stream(mask, streams)
    if any(s.may_emit_many for s in streams):
        raise StateError(
            "this model can answer with several frames to one step",
            fix="Use push_many(): (k, ...) frames a stream.",
        )
    check = None if out is None else lambda room: _check_out(model, streams, out, None)
    answers = _engine.push_streams(streams, given, masks, True, check)
    answers = [[_frame_of(a, s) for a in outputs] for s, outputs in zip(streams, answers)]
    if out is None:
        return [outputs[0] if len(outputs) == 1 else tuple(outputs) for outputs in answers]
    due = np.zeros(len(out), bool)
    for row, frame in enumerate(_by_row(streams, [outputs[0] for outputs in answers])):
        if frame is not None:
            out[row], due[row] = frame, True
    return due


def push(model, streams, chunks, out, mask):
    """See ``Model.push_many``."""
    streams, given = _paired(model, streams, chunks, "chunk")
    masks = _by_stream(mask, streams)
    check = None if out is None else lambda room: _check_out(model, streams, out, room)
    answers = _engine.push_streams(streams, given, masks, False, check)
    if out is None:
        return [outputs[0] if len(outputs) == 1 else tuple(outputs) for outputs in answers]
    counts = np.zeros(len(out), np.intp)
    for row, chunk in enumerate(_by_row(streams, [outputs[0] for outputs in answers])):
        out[row, : len(chunk)], counts[row] = chunk, len(chunk)
    return counts


def _paired(model, streams, given, what):
    """The streams and what each is given, after every check of them."""
    streams = list(streams) if np.iterable(streams) else [streams]
    for k, stream in enumerate(streams):
        if not isinstance(stream, _engine.Stream):
            raise DTypeError(
                "this is not a stream",
                where=f"streams[{k}]",
                expected="what model.stream() makes",
                found=type(stream).__name__,
            )
        if stream.model is not model and stream.model is not vars(model).get("_masked"):  # if it was made
            raise StateError("the stream belongs to another model", where=f"streams[{k}]")
        if stream.every_step != streams[0].every_step:
            raise StateError("some streams answer every_step and some do not", fix="Step them in two calls.")
    if len({id(s) for s in streams}) < len(streams):
        raise StateError("the same stream is given twice", fix="Each stream takes one frame a call.")
    return streams, _each(given, streams, what)


def _by_stream(mask, streams):
    """The ``mask=`` of each stream, None where all its frames are real."""
    if mask is None:
        return [None] * len(streams)
    if not isinstance(mask, Mapping):
        return _each(mask, streams, "mask")
    each = {name: _each(own, streams, f"mask {name!r}") for name, own in mask.items()}
    return [{name: own[k] for name, own in each.items()} for k in range(len(streams))]


def _each(given, streams, what):
    """What is given for each stream: a list of it, or an array of all rows."""
    if isinstance(given, np.ndarray) and given.ndim and any(s.batch_size is not None for s in streams):
        given = _cut(given, streams)
    given = list(given) if np.iterable(given) else [given]
    if len(given) != len(streams):
        raise ShapeError(
            f"there must be one {what} a stream", expected=str(len(streams)), found=str(len(given))
        )
    return given


def _cut(given, streams):
    """Rows of one array, those of each stream together."""
    rows = [1 if s.batch_size is None else s.batch_size for s in streams]
    if len(given) != sum(rows):
        raise ShapeError(
            "there must be one row for every row of the streams",
            expected=str(sum(rows)),
            found=str(len(given)),
        )
    ends = np.cumsum(rows)
    return [
        given[e - n] if s.batch_size is None else given[e - n : e] for s, n, e in zip(streams, rows, ends)
    ]


def _check_out(model, streams, out, room):
    """``out`` for one frame a row, or where ``room`` says how many frames a row may be due, for so many."""
    rows = sum(1 if s.batch_size is None else s.batch_size for s in streams)
    if not isinstance(out, np.ndarray) or out.dtype != np.float32:
        raise DTypeError("out must be a float32 array", found=str(getattr(out, "dtype", type(out).__name__)))
    if len(model.outputs) != 1:
        raise ShapeError("out= works for models with one output only", found=f"{len(model.outputs)} outputs")
    lead = (rows,) if room is None else (rows, room)
    features = model.graph.signals[model.graph.outputs[0].value].features
    fits = out.ndim == len(lead) + len(features) and out.shape[:1] == (rows,)
    fits = fits and out.shape[len(lead) :] == features and (room is None or out.shape[1] >= room)
    if not fits or not out.flags.writeable:
        wanted = (rows, *(() if room is None else (f"at least {room}",)), *features)
        raise ShapeError(
            "out does not fit", expected=f"({', '.join(map(str, wanted))}), writeable", found=str(out.shape)
        )


def _frame_of(answer, stream):
    """The one frame of what a push answered, or None; a list of these where rows are out of phase."""
    if isinstance(answer, list):
        return [rows[0] if len(rows) else None for rows in answer]
    axis = 0 if stream.batch_size is None else 1
    return answer.take(0, axis) if answer.shape[axis] else None


def _by_row(streams, answers):
    for stream, answer in zip(streams, answers):
        if stream.batch_size is None:
            yield answer
        elif answer is None:
            yield from [None] * stream.batch_size
        else:
            yield from answer
