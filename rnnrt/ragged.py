"""Rows of different length: grouped by their length, run group by group, answered in their order."""

from __future__ import annotations

import numpy as np

from .axes import letters
from .errors import RnnrtError, ShapeError, UnsupportedModelError
from .ports import as_array

#: Numbers of the inputs that are stacked at a time.
_MOST_STACKED = 1 << 22


def is_ragged(x, axis=0):
    """Whether ``x`` is rows of different length: an array of objects, or a list of rows whose sizes along
    ``axis`` differ.
    """
    if isinstance(x, np.ndarray):
        return x.dtype == object and x.ndim == 1
    if not isinstance(x, (list, tuple)) or len(x) < 2:
        return False
    try:
        sizes = iter([len(row) for row in x] if axis == 0 else [np.shape(row)[axis] for row in x])
    except (TypeError, ValueError, IndexError):
        return False
    first = next(sizes)
    return any(size != first for size in sizes)


def _time_axis(spec):
    """Where time stands among the axes of one row; None where the input has none."""
    axes = [a for a in spec.letters if a != "b"]
    return axes.index("t") if "t" in axes else None


def any_ragged(specs, given):
    """Whether an input comes as rows of different length."""
    return any(
        type(x) in (list, tuple, np.ndarray) and (axis := _time_axis(spec)) is not None and is_ragged(x, axis)
        for spec, x in zip(specs, given)
    )


class _Rows:
    """One input by rows. ``sizes``: frames of each, where it has time."""

    def __init__(self, spec, x):
        self.spec, axis = spec, _time_axis(spec)
        self.batch_axis, self.sizes = spec.letters.index("b"), None
        if axis is not None and (isinstance(x, (list, tuple)) or x.dtype == object):
            kinds = {(type(row), getattr(row, "dtype", None), getattr(row, "ndim", None)) for row in x}
            ready = all(t is np.ndarray and d.kind in "fiub" and n == spec.rank - 1 for t, d, n in kinds)
            self.rows = list(x) if ready else [self._row(row, k) for k, row in enumerate(x)]
            self.sizes = np.array([row.shape[axis] for row in self.rows], np.int64)
            return
        x = as_array(x, spec.where)
        if x.ndim != spec.rank:
            raise spec.wrong(x)
        self.rows = np.moveaxis(x, self.batch_axis, 0)
        if axis is not None:
            self.sizes = np.full(len(self.rows), self.rows.shape[1 + axis], np.int64)

    def _row(self, row, k):
        where = f"row {k} of {self.spec.where}"
        row = as_array(row, where)
        if self.spec.is_mask and row.ndim == self.spec.rank - 1 - len(self.spec.signal.features):
            row = row.reshape(row.shape + (1,) * len(self.spec.signal.features))
        if row.ndim != self.spec.rank - 1:
            error = self.spec.wrong(row)
            error.where = None
            raise error.at(where)
        return row

    def __len__(self):
        return len(self.rows)

    @property
    def numbers(self):
        """Of one frame."""
        return self.spec.signal.width

    def stacked(self, index):
        """The rows ``index`` as the model takes a batch of them."""
        if isinstance(self.rows, np.ndarray):
            return np.moveaxis(self.rows[index], 0, self.batch_axis)
        return np.stack([self.rows[k] for k in index], self.batch_axis)


def answer(calls, given, *, lengths=None, initial_state=None, return_state=False, out=None, progress=None):
    """What ``calls`` (a WholeCalls) answers to ``given``, of which some are ragged: for each output a list
    with every row's answer, or an array (rows, features) where it has no time; with ``return_state`` also the
    State of all rows. Each row's bits are those it has alone.
    """
    for name, value in (("lengths", lengths), ("out", out)):
        if value is not None:
            raise UnsupportedModelError(
                f"{name}= cannot be given with rows of different length, which say their own",
                fix=f"Leave {name}= out, or pad the rows to one array.",
            )
    inputs = [None if x is None else _Rows(spec, x) for spec, x in zip(calls.ports.inputs, given)]
    there = [x for x in inputs if x is not None]
    count = len(there[0])
    for x in there:
        if len(x) != count:
            raise ShapeError(
                "the inputs have different numbers of rows",
                where=x.spec.where,
                expected=str(count),
                found=str(len(x)),
            )
    initial = calls.states.initial(initial_state, count, True)
    final = {name: np.empty((count, size), np.float32) for name, _, size in calls.states.values}
    outputs = [[None] * count if signal.time else None for _, signal in calls.ports.outputs]
    parts = _parts(there)
    told = _Told(calls, inputs, parts, progress) if progress is not None else None
    packed = calls.graph.metadata.get("lengths_input")
    for index in parts:
        try:
            batch = [None if x is None else x.stacked(index) for x in inputs]
            own = np.full(len(index), max(x.sizes[index[0]] for x in there if x.sizes is not None))
            made = calls.answer(
                batch,
                own if packed else None,
                return_state=return_state,
                progress=told,
                initial=[(v, a[index]) for v, a in initial],
            )
        except (RnnrtError, ValueError) as error:
            raise _of_one_row(calls, inputs, index, error) from None
        if told:
            told.next()
        if return_state:
            made, state = made
            for name, a in state.arrays().items():
                final[name][index] = a
        made = made if isinstance(made, tuple) else (made,)
        for k, ((output, signal), y) in enumerate(zip(calls.ports.outputs, made)):
            y = np.moveaxis(y, letters(output.axes, len(signal.features)).index("b"), 0)
            if signal.time:
                for row, one in zip(index.tolist(), y):
                    outputs[k][row] = one
                continue
            if outputs[k] is None:
                outputs[k] = np.empty((count, *y.shape[1:]), np.float32)
            outputs[k][index] = y
    result = outputs[0] if len(outputs) == 1 else tuple(outputs)
    return (result, calls.states.make(final, count)) if return_state else result


def _parts(inputs):
    """Indices of rows that are run together: of equal lengths, and not more than are stacked at a time."""
    kind = np.zeros(len(inputs[0]), np.int64)
    for x in inputs:
        if x.sizes is not None:  # rows of one kind so far, and of one length here
            _, kind = np.unique(kind * (x.sizes.max() + 1) + x.sizes, return_inverse=True)
    order = np.argsort(kind, kind="stable")
    parts = []
    for index in np.split(order, np.cumsum(np.bincount(kind))[:-1]):
        row = sum(x.numbers * (1 if x.sizes is None else int(x.sizes[index[0]])) for x in inputs)
        most = max(1, _MOST_STACKED // max(1, row))
        parts += [index[k : k + most] for k in range(0, len(index), most)]
    return parts


class _Told:
    """``progress`` of one part after another as that of the whole call."""

    def __init__(self, calls, inputs, parts, progress):
        self.progress, self.before, self.at = progress, 0.0, 0
        self.work = [self._work(calls, inputs, index) for index in parts]
        self.total = sum(self.work)

    def _work(self, calls, inputs, index):
        timed = {
            x.spec.layer.name: int(x.sizes[index[0]]) for x in inputs if x is not None and x.sizes is not None
        }
        frames = max(timed.values())
        plan = calls.plans.for_frames(timed if len(set(timed.values())) > 1 else frames)
        return plan.work(frames) * len(index)

    def __call__(self, done, total):
        if done < total:  # the last word is that of the whole
            self.progress(self.before + done, self.total)

    def next(self):
        """The part at work is done."""
        self.before += self.work[self.at]
        self.at += 1
        last = self.at == len(self.work)
        self.progress(self.total if last else self.before, self.total)


def _of_one_row(calls, inputs, index, error):
    """The error that the first of the rows ``index`` causes by itself, with its number."""
    for k in index.tolist():
        try:
            given = [None if x is None else x.stacked(np.array([k])) for x in inputs]
            calls.ports.canonical(given)
        except RnnrtError as own:
            own.where = own.where and own.where.replace(", row 0", "")
            return own.at(f"row {k}")
    if isinstance(error, RnnrtError):
        return error.at(f"row {index[0]}")
    shapes = {k: x.rows[k].shape for x in inputs if x is not None for k in index.tolist()[:1]}
    return ShapeError("rows of one length have other shapes", found=f"{shapes} ({error})")
