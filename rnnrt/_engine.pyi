"""The border between Python and the C engine, for editors and type checkers. The first sentences are those of _engine.pyx."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .graph import Graph
from .model import Model
from .state import State

KINDS: list[str]
FUNCTIONS: list[str]

def isas() -> list[str]:
    """Instruction sets this processor runs, best first."""

def use_blas() -> None:
    """Take sgemm from scipy.linalg.cython_blas, through its capsule; done once, when backend="blas" is first asked for."""

def plan_of(graph: Graph, isa: str | None = None) -> Plan:
    """The Plan of a Graph whose lengths are settled."""

@final
class Plan:
    """A packed, immutable network."""

    @property
    def names(self) -> list[str]: ...
    @property
    def widths(self) -> list[int]: ...
    @property
    def isa(self) -> str: ...
    @property
    def nbytes(self) -> int: ...
    def __new__(
        cls,
        rows: list[dict[str, Any]],
        outputs: list[int],
        names: list[str],
        widths: Iterable[int],
        isa: str | None = None,
    ) -> Plan: ...
    def obstacle(self, every_step: bool = False) -> tuple[str, str] | None:
        """(layer name, reason) of what keeps the plan from streaming, or None."""

    def due(self, output: int, frames: int, ended: bool) -> int:
        """Frames of an output after ``frames`` input frames."""

    def run(
        self,
        batch: int,
        inputs: list[NDArray[np.float32]],
        outputs: list[NDArray[np.float32]],
        lengths: NDArray[np.int64] | None = None,
        initial: Sequence[tuple[int, NDArray[np.float32]]] = (),
        final: Sequence[tuple[int, NDArray[np.float32]]] = (),
        block: int = 0,
    ) -> list[int]:
        """Run whole inputs: float32 arrays (time, batch, width) in any strides whose last axis is contiguous; outputs likewise, filled."""

@final
class Stream:
    """One live batch of sequences: its own state over a shared Model."""

    @property
    def model(self) -> Model: ...
    @property
    def batch_size(self) -> int | None: ...
    @property
    def every_step(self) -> bool: ...
    @property
    def position(self) -> int:
        """Frames taken since the sequence began."""

    @property
    def finite(self) -> bool | NDArray[np.bool_]:
        """Whether every recurrent state is finite: a bool, or one a batch row."""

    @property
    def delay(self) -> int:
        """Input frames between a frame and its answer (see Model.delay)."""

    @property
    def state(self) -> State:
        """Everything the stream remembers, as a State: a copy, to look at, to store or to give back."""

    @state.setter
    def state(self, value: State | Mapping[str, ArrayLike] | Sequence[ArrayLike]) -> None: ...

    # What comes back is one array for a network of one output, and a tuple of them for one of several; step has None where nothing is due.
    def step(self, frame: ArrayLike | tuple[ArrayLike, ...], out: NDArray[np.float32] | None = None) -> Any:
        """One time step: ``frame`` (features,), or (batch, features), float32."""

    def push(self, chunk: ArrayLike | tuple[ArrayLike, ...], out: NDArray[np.float32] | None = None) -> Any:
        """Any number of time steps: ``chunk`` (time, features) or (batch, time, features)."""

    def flush(self, out: NDArray[np.float32] | None = None) -> Any:
        """End the sequence: returns the (k, ...) frames that were held back, k >= 0."""

    def max_outputs(self, n: int) -> int | tuple[int, ...]:
        """Most frames a push of ``n`` frames can return from here; several outputs: a tuple."""

    def reset(self, rows: ArrayLike | slice | None = None) -> None:
        """Start a new sequence: every state becomes zero."""

    def clone(self) -> Stream:
        """A second stream that goes on from the same place."""
