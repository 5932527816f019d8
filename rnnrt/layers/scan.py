"""The general recurrence: any graph of one step, run over time."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ShapeError, UnsupportedModelError
from .base import LEFT_OUT, Layer, TensorSpec, aligned, layer_class
from .input import Input
from .mask import check_masked_output

if TYPE_CHECKING:
    from ..annotations import Floats, OptionalWeights, References, Work
    from ..graph import Graph


#: Most outputs of a step: what the engine keeps track of for one layer.
MOST_OUTPUTS = 64


@layer_class
class Scan(Layer):
    """A recurrence given by the graph of one step: it is to a cell what TimeDistributed is to a layer without
    memory.

    ``graph`` has no time. Its inputs are, in order: ``per_step`` frames, one a sequence this layer reads; one
    value a name of ``states``; values given once. Its outputs are the next states, in the order of
    ``states``, then at least one answer of the step. Layers that need time, and so all that keep something,
    are refused inside: what is kept must be a state.

    Inputs: ``per_step`` sequences; for each name of ``started``, in the order of ``states``, the value
    (batch, size) that state starts at; the values given once. The other states start at ``initial``, all
    states side by side (sum of sizes,) (its places of started states are not used), or without it at zero. A
    scan without sequences runs ``steps`` steps.

    Outputs: the first answer at every step; further answers by the names of the graph's outputs; the final
    states by name. ``reverse``: from the last frame to the first; answers stay at the frame they belong to.
    Where rows of a batch end early, their states stay and their answers are 0. ``mask`` and
    ``masked_output``: as for an LSTM, of a scan with sequences; a masked step keeps all states.
    """

    graph: Graph = None
    states: References = ()
    per_step: int = 1
    started: References = ()
    initial: OptionalWeights = None
    steps: int | None = None
    reverse: bool = False
    mask: str | None = dataclasses.field(default=None, metadata=LEFT_OUT)
    masked_output: str = dataclasses.field(default="hold", metadata=LEFT_OUT)
    kind: ClassVar[str] = "scan"
    span, stride, padding = None, 1, (0, 0)
    keeps, lengths, mask_rule = "state", "honours", "pass"

    @property
    def emits(self) -> str:
        return "each" if self.per_step else "length"

    @property
    def whole(self) -> bool:
        return self.reverse

    @property
    def length(self) -> int | None:
        return self.steps

    @property
    def joined_inputs(self) -> int:
        return self.per_step if self.per_step > 1 else 0

    arrays: ClassVar[tuple[str, ...]] = ("initial",)

    def check(self) -> None:
        for name in ("states", "started"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        from ..graph import Graph  # it imports the layers

        if not isinstance(self.graph, Graph):
            raise ShapeError(
                "graph is missing: a Graph of one step", where=self.where, found=repr(self.graph)
            )
        self._check_step()
        self._check_names()
        count = len(self.graph.inputs)
        if not isinstance(self.per_step, (int, np.integer)) or not 0 <= self.per_step <= count - len(
            self.states
        ):
            raise ShapeError(
                "per_step and states must fit the inputs of the step",
                where=self.where,
                expected=f"{count} inputs: per_step frames, then the states, then values given once",
                found=f"per_step={self.per_step!r} and {len(self.states)} states",
            )
        if self.per_step:
            if self.steps is not None:
                raise ShapeError("steps is for a scan without sequences", where=self.where)
        elif self.steps is None:
            raise ShapeError("a scan without sequences needs steps", where=self.where)
        else:
            self._positive("steps")
            if self.reverse:
                raise ShapeError("a scan without sequences cannot run in reverse", where=self.where)
            if self.mask is not None:
                raise ShapeError("a scan without sequences has no frames to mask", where=self.where)
        check_masked_output(self.masked_output, self.where)
        if len(self.graph.outputs) <= len(self.states):
            raise ShapeError(
                "the step must give the next states, then at least one answer",
                where=self.where,
                expected=f"more than {len(self.states)} outputs",
                found=str(len(self.graph.outputs)),
            )
        if len(self.graph.outputs) > MOST_OUTPUTS:
            raise UnsupportedModelError(
                "the step has too many outputs",
                where=self.where,
                expected=f"at most {MOST_OUTPUTS} next states and answers",
                found=str(len(self.graph.outputs)),
            )
        for name, new in zip(self.states, self.graph.outputs):
            was, now = self.state_signal(name), self.graph.signals[new.value]
            if was != now:
                raise ShapeError(
                    f"the next {name!r} has another shape than the state",
                    where=self.where,
                    expected=str(was),
                    found=str(now),
                )
        self._expect("initial", (sum(self.state_sizes.values()),), "all states side by side")

    def _check_step(self):
        for inside in self.graph.layers:
            references = [inside.name, *(f"{inside.name}:{o}" for o in inside.extra_outputs)]
            if any(self.graph.signals[r].time for r in references):
                raise UnsupportedModelError(
                    f"the step holds {inside.where}, which runs over time",
                    where=self.where,
                    expected="layers that look at one frame and keep nothing",
                    fix="Make what it keeps a state: an input and an output of the step.",
                )
            if inside.kind == "time_distributed":
                raise UnsupportedModelError(
                    f"the step holds {inside.where}: a graph inside a step is not supported", where=self.where
                )

    def _check_names(self):
        names = [*self.states, *self.extra_outputs[: -len(self.states) or None]]
        if len(set(names)) != len(names) or any(not n or set(n) & set(":/") for n in names):
            raise ShapeError(
                "states and answers need names, each its own, without ':' and '/'",
                where=self.where,
                found=str(names),
            )
        if [s for s in self.states if s in self.started] != list(self.started):
            raise ShapeError(
                "started must name states, in their order",
                where=self.where,
                expected=str(self.states),
                found=str(self.started),
            )

    @property
    def extra_outputs(self) -> tuple[str, ...]:
        return (*(o.name for o in self.graph.outputs[len(self.states) + 1 :]), *self.states)

    @property
    def parameters(self) -> int:
        return self.graph.parameters

    @property
    def state_sizes(self) -> dict[str, int]:
        """{state: numbers in it}, in their order."""
        return {s: self.state_signal(s).width for s in self.states}

    def state_signal(self, name: str) -> TensorSpec:
        """What the step takes as the state ``name``."""
        return self.graph.signals[self.graph.inputs[self.per_step + self.states.index(name)]]

    def start(self, name: str) -> Floats | None:
        """The stored start of the state ``name``, or None for zero."""
        if self.initial is None:
            return None
        sizes = self.state_sizes
        first = sum(sizes[s] for s in self.states[: self.states.index(name)])
        return self.initial[first : first + sizes[name]]

    def infer(self, *signals: TensorSpec) -> tuple[TensorSpec, ...]:
        step, given_once = self.graph, self.per_step + len(self.states)
        wanted = [step.signals[name] for name in step.inputs[: self.per_step]]
        wanted += [self.state_signal(s) for s in self.started]
        wanted += [step.signals[name] for name in step.inputs[given_once:]]
        if len(signals) != len(wanted) or not signals:
            raise ShapeError(
                "the inputs do not fit the step",
                where=self.where,
                expected=f"{max(1, len(wanted))}: {self.per_step} sequences, {len(self.started)} states to "
                f"start at, "
                f"{len(step.inputs) - given_once} values given once",
                found=str(len(signals)),
            )
        for k, (signal, inside) in enumerate(zip(signals, wanted)):
            if signal.time != (k < self.per_step) or signal.features != inside.features:
                raise ShapeError(
                    f"input {k} does not fit the step",
                    where=self.where,
                    expected=str(dataclasses.replace(inside, time=k < self.per_step)),
                    found=str(signal),
                )
        length = aligned(self, signals[: self.per_step]).length if self.per_step else int(self.steps)
        answers = [step.signals[o.value].features for o in step.outputs[len(self.states) :]]
        return (
            *(TensorSpec(features, True, length) for features in answers),
            *(self.state_signal(s) for s in self.states),
        )

    def work(self, *signals: TensorSpec) -> Work:
        products, others = self.graph.work()
        steps = self.steps or 1
        return steps * products, steps * others

    def weights_read(self) -> tuple[int, int]:
        return 0, (self.steps or 1) * self.graph.parameters

    def engine_fields(self, x: TensorSpec) -> dict[str, Any]:
        first = 1 if self.per_step else 0
        at = {s: first + k for k, s in enumerate(self.started)}
        return {
            "inner": inputs_first(self.graph),
            "per_step": self.per_step,
            "states": len(self.states),
            "index": np.array([at.get(s, -1) for s in self.states], np.int32),
            "start": self.initial,
            "length": self.steps or 0,
            "reverse": int(self.reverse),
        }


def inputs_first(graph: Graph) -> Graph:
    """The same graph with its Input layers in front, in the order of ``inputs``."""
    rest = [x for x in graph.layers if not isinstance(x, Input)]
    return graph.replace([*(graph[name] for name in graph.inputs), *rest])
