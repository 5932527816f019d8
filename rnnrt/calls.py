"""Whole inputs: in the source's axes in and out, in slices of rows."""

from __future__ import annotations

import numpy as np

from . import _engine, masks, ragged, timing
from .errors import DTypeError, ShapeError, UnsupportedModelError
from .layers.base import layer_of
from .ports import as_array, engine_form, finish_output, make_output, readable

#: Numbers of an input that are converted at a time.
SLICE = 1 << 20


class WholeCalls:
    """Answers of one network to whole inputs: by its ports, plans and states."""

    def __init__(self, graph, ports, plans, states):
        self.graph, self.ports, self.plans, self.states = graph, ports, plans, states

    def answer(
        self,
        given,
        lengths=None,
        initial_state=None,
        return_state=False,
        out=None,
        progress=None,
        initial=None,
    ):
        """What ``Model.__call__`` answers to ``given``, one array or None for every input. ``initial``: as
        ModelStates.initial gives it, where ``initial_state`` was read before.
        """
        if progress is not None and not callable(progress):
            raise DTypeError(
                "progress must be a function", expected="f(done, total)", found=type(progress).__name__
            )
        if ragged.any_ragged(self.ports.inputs, given):
            options = {"lengths": lengths, "initial_state": initial_state, "return_state": return_state}
            return ragged.answer(self, given, **options, out=out, progress=progress)
        arrays, batch, frames, batched = self.ports.canonical(given)
        required = self.graph.metadata.get("lengths_input")
        if lengths is not None:
            lengths = self._check_lengths(lengths, batch, self._counted(frames))
        elif required:
            raise ShapeError(f"this module was traced with lengths ({required!r})", fix="Pass lengths=.")
        if masks.taken(self.ports.inputs):
            clocks = timing.clocks(self.plans.graph)
            arrays, lengths = masks.completed(self.ports.inputs, arrays, batch, clocks, lengths), None
            if isinstance(frames, dict):
                frames = self.ports.frames(arrays)
        if "row_lengths" in self.graph.metadata:
            self._check_row_lengths(arrays)
        plan = self.plans.for_frames(frames)
        sizes = [arrays[k].shape[0] for k in self.ports.engine_order]
        shown = frames
        if isinstance(frames, dict):
            shown = ", ".join(f"{name!r} {count}" for name, count in frames.items())
        arrays_out, views = [], []
        for k, (output, signal) in enumerate(self.ports.outputs):
            count = plan.due(k, sizes, True)
            if not count:
                raise ShapeError(
                    "the input is too short for this network",
                    where=f"output {output.name!r}",
                    found=f"{shown} frames",
                )
            end = self._cut_at(output.name, lengths)
            shared = out is not None and any(np.may_share_memory(out, a) for a in arrays)
            array, view = make_output(
                output.axes,
                signal,
                batch,
                count,
                batched,
                out if len(self.ports.outputs) == 1 and end is None else None,
                shared,
            )
            arrays_out.append(array)
            views.append(view)
        if out is not None and len(self.ports.outputs) != 1:
            found = f"{len(self.ports.outputs)} outputs"
            raise ShapeError("out= works for models with one output only", found=found)
        if initial is None:
            initial = self.states.initial(initial_state, batch, batched)
        final = (
            [(name, value, np.empty((batch, size), np.float32)) for name, value, size in self.states.values]
            if return_state
            else []
        )
        self._run(
            plan,
            batch,
            [arrays[k] for k in self.ports.engine_order],
            views,
            lengths,
            initial,
            [(v, a) for _, v, a in final],
            progress,
        )
        results = tuple(
            finish_output(output.axes, signal, array, batched, out)
            if (end := self._cut_at(output.name, lengths)) is None
            else self._cut(output.axes, signal, view, end, batched, out)
            for (output, signal), array, view in zip(self.ports.outputs, arrays_out, views)
        )
        result = results[0] if len(results) == 1 else results
        if not return_state:
            return result
        return result, self.states.make(
            {name: a if batched else a[0] for name, _, a in final}, batch if batched else None
        )

    def _counted(self, frames):
        """The frames that lengths= counts: where inputs are not equally long, those of the packed ones."""
        if not isinstance(frames, dict):
            return frames
        inputs = timing.counted_by_lengths(self.plans.graph)
        sizes = {frames.get(name, self.graph[name].length) for name in inputs}
        if len(sizes) != 1 or masks.taken(self.ports.inputs):
            raise ShapeError("lengths= needs inputs that are equally long", found=f"{frames}")
        return sizes.pop()

    def _cut_at(self, output, lengths):
        """Frames that an output has with these lengths where pad_packed_sequence cuts it to the longest row;
        else None.
        """
        if lengths is None or output not in self.graph.metadata.get("cut_outputs", ()):
            return None
        return max(1, int(lengths.max()))

    def _cut(self, axes, signal, view, end, batched, out):
        shorter, cut = make_output(axes, signal, view.shape[1], end, batched, out, out is not None)
        cut[...] = view[:end]
        return finish_output(axes, signal, shorter, batched, out)

    def _run(self, plan, batch, arrays, views, lengths, initial, final, progress):
        """Run the plan. Inputs that the engine cannot read as they are become what it reads some rows at a
        time: enough for each of its threads."""
        frames = max(a.shape[0] for a in arrays)
        total = plan.work(frames) * batch
        long = total > _engine.LONG_WORK
        call = _engine.Call(total, progress) if long or progress is not None else None
        size = batch
        if any(a.size > SLICE and not readable(a) for a in arrays):
            numbers = sum(a.shape[0] * a.shape[2] for a in arrays)
            rows = plan.rows(frames) * self.plans.threads
            size = min(batch, rows * max(1, SLICE // (rows * numbers)))
        for a in range(0, batch, size):
            b = min(a + size, batch)
            if size == batch:
                plan.run(batch, [engine_form(x) for x in arrays], views, lengths, initial, final, 0, call)
                break
            own_final = [(v, np.empty_like(x[a:b])) for v, x in final]
            plan.run(
                b - a,
                [engine_form(x[:, a:b]) for x in arrays],
                [y[:, a:b] for y in views],
                None if lengths is None else lengths[a:b].copy(),
                [(v, np.ascontiguousarray(x[a:b])) for v, x in initial],
                own_final,
                0,
                call,
                a,
            )
            for (_, x), (_, y) in zip(final, own_final):
                x[a:b] = y
        if call is not None:
            call.finish()

    def _check_lengths(self, lengths, batch, frames):
        from . import verification

        facts = self.graph.metadata
        if facts.get("source") == "torch" and not facts.get("packed"):
            raise UnsupportedModelError(
                "lengths= counts only where the program packs its rows (pack_padded_sequence), and this one "
                "does not",
                fix="Run rows of equal length together, or each row alone, cut to its length."
                " A spec says where forward packs: pack ... pad.",
            )
        if facts.get("source") == "keras" and not masks.taken(self.ports.inputs):
            raise UnsupportedModelError(
                "lengths= means nothing to this model: it is a mask of the input in Keras, and no layer here "
                "consults one",
                fix="Give the rows as a list, or mask them as the model does.",
            )
        lengths = as_array(lengths, "lengths")
        if lengths.dtype.kind not in "iu" or lengths.shape != (batch,):
            raise ShapeError(
                "lengths must be one whole number a row",
                expected=f"({batch},)",
                found=f"{lengths.dtype} {lengths.shape}",
            )
        least, most = facts.get("shortest_row", 0), verification.longest_row(self.graph, frames)
        bad = np.flatnonzero((lengths < least) | (lengths > most))
        if bad.size:
            raise ShapeError(
                f"the length of row {bad[0]} is out of range",
                expected=f"{least} to {most}",
                found=str(lengths[bad[0]]),
            )
        if not facts.get("packed") and not masks.taken(self.ports.inputs):
            self._refuse_moved_time()
        return np.ascontiguousarray(lengths, np.int64)

    def _check_row_lengths(self, arrays):
        """Refuses lengths among the inputs that are not whole frames of the input they count."""
        from . import verification

        given = {spec.layer.name: x for spec, x in zip(self.ports.inputs, arrays)}
        for name, (timed, *window) in self.graph.metadata["row_lengths"].items():
            most = verification.longest_row(self.graph, given[timed].shape[0], window)
            lengths = given[name].reshape(-1)
            bad = np.flatnonzero(~((lengths >= 1) & (lengths <= most) & (lengths == np.floor(lengths))))
            if bad.size:
                raise ShapeError(
                    f"the length of row {bad[0]} is out of range",
                    where=f"input {name!r}",
                    expected=f"a whole number from 1 to {most}",
                    found=str(lengths[bad[0]]),
                )

    def _refuse_moved_time(self):
        """Lengths given to a graph built by hand count input frames: refuse them where a layer before a
        recurrent one changed those.
        """
        moved = set()
        for layer in self.plans.graph.layers:
            sequences = [layer_of(r) for r in layer.inputs if self.plans.graph.signals[r].time]
            if layer.lengths == "honours" and not moved.isdisjoint(sequences):
                raise UnsupportedModelError(
                    "lengths= cannot be applied: a layer before this one changed the time axis",
                    where=layer.where,
                    fix="Run rows of different lengths one by one.",
                )
            if layer.lengths == "moves" or any(layer_of(r) in moved for r in layer.inputs):
                moved.add(layer.name)
