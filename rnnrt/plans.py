"""The engine's plans of one network: one for all lengths, except where a layer's padding depends on the
length, or inputs are not equally long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _engine, lowering, timing
from .errors import ShapeError

if TYPE_CHECKING:
    from .graph import Graph

#: Most plans kept beside the common one; all are dropped when there would be more.
MOST = 8


class Plans:
    """The plans of ``graph``, all with the packed weights of the first, or of ``family``, a plan of a graph
    that has its layers and more. ``isa``: the instruction set, "blas", or None for the machine's best.
    ``threads``: most that share a call.

    ``common``: the Plan for every length, or None where ``needs_length``, the name of a layer, needs to know
    it.
    """

    def __init__(
        self, graph: Graph, isa: str | None, family: _engine.Plan | None = None, threads: int = 1
    ) -> None:
        self.graph, self.isa, self.family, self.threads = graph, isa, family, threads
        self._by_length: dict[object, _engine.Plan] = {}
        _, _, self.needs_length = lowering.descs_of(graph)
        self.common = None if self.needs_length else self._make(graph)

    @classmethod
    def of_file(cls, content: bytes, graph: Graph) -> Plans:
        """The one plan that a host in C makes of the bytes of a .rnnrt file, whose graph is ``graph`` after
        every pass. Raises ModelFileError where the file is damaged, UnsupportedModelError where it was not
        written for C, or a plan needs to know how long the input is.
        """
        made = cls.__new__(cls)
        made.graph, made.isa, made.needs_length, made._by_length = graph, None, None, {}
        made.threads = 1
        names = [desc["name"] for desc in lowering.descs_of(graph)[0]]
        widths = [graph.signals[o.value].width for o in graph.outputs]
        made.common = made.family = _engine.Plan.of_file(content, names, widths)
        return made

    def _make(self, graph):
        plan = _engine.plan_of(graph, self.isa, self.family, self.threads)
        self.family = self.family or plan
        return plan

    def any(self) -> _engine.Plan:
        """The plan for a length that the inputs may have."""
        if self.common is not None:
            return self.common
        lengths, least = {}, max(64, timing.receptive_field(self.graph) or 0)
        for names in timing.clocks(self.graph):
            length = next((n for name in names if (n := self.graph[name].length)), least)
            lengths |= dict.fromkeys([n for n in names if self.graph[n].length is None], length)
        sizes = set(lengths.values())
        return self.for_frames(lengths if len(sizes) > 1 else next(iter(sizes), 1))

    def for_frames(self, frames: int | dict[str, int]) -> _engine.Plan:
        """The plan for inputs of ``frames``: a number, or {input: number} where they differ."""
        differ = isinstance(frames, dict)
        if self.common is not None and (not differ or self._alike(frames)):
            return self.common
        key = tuple(frames.items()) if differ else frames
        plan = self._by_length.get(key)
        if plan is None:
            if len(self._by_length) >= MOST:
                self._by_length.clear()
            try:
                graph = lowering.with_length(self.graph, frames)
            except ShapeError as error:
                if differ and error.fix is None:
                    error.fix = (
                        f"The inputs have different lengths here ({frames}), and these layers need one."
                    )
                raise
            plan = self._by_length.setdefault(key, self._make(graph))  # of two threads, the first one's
        return plan

    def _alike(self, frames):
        """Whether inputs whose frames meet are equally long."""
        length = lambda name: frames.get(name, self.graph[name].length)
        return all(len({length(name) for name in names}) == 1 for names in timing.clocks(self.graph))
