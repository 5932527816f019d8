"""The border between Python and the C engine, for editors and type checkers. The first sentences are those of
_engine.pyx and its parts in border/.
"""

from collections.abc import Callable, Iterable, Sequence
from types import GenericAlias
from typing import Any, Generic, NoReturn, SupportsIndex, final, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .annotations import Answer, Floats, Given, InitialState, Mask
from .graph import Graph
from .model import Model
from .state import State

KINDS: dict[str, int]
FUNCTIONS: dict[str, int]
SLOTS: dict[str, int]
NORMS: dict[str, int]
MASKED: dict[str, int]
MAX_INPUTS: int
MAX_PORTS: int
SPENT: np.dtype[np.void]

def isas() -> list[str]:
    """Instruction sets this processor runs, best first."""

def use_blas() -> None:
    """Take sgemm from scipy.linalg.cython_blas, through its capsule; done once, when backend="blas" is first
    asked for.
    """

def core_products(times: int, isa: str | None = None) -> float:
    """Run ``times`` rounds of independent multiply-adds in registers; returns how many those are."""

def core_reads(numbers: Floats, times: int, isa: str | None = None) -> float:
    """Read a float32 array from end to end ``times`` times, with a multiply-add a number; returns how many
    those are.
    """

def plan_of(graph: Graph, isa: str | None = None, family: Plan | None = None, threads: int = 1) -> Plan:
    """The Plan of a Graph whose lengths are settled; ``family``: a Plan of the same layers, or of more than
    these, for another length or with other inputs, whose weights it shares.
    """

def share_always(processors: int = 0) -> None:
    """For tests: calls and products of any size are shared, as on so many processors; 0: no more."""

def heap_of_file(content: bytes, names: list[str]) -> tuple[int, int, int]:
    """(at most while it loads, what then stays, what a stream adds at most): bytes that the C library asks an
    allocator for, of the bytes of a .rnnrt file, whose layers have ``names``.
    """

def state_arrays(plan: Plan) -> list[tuple[str, tuple[int, ...], type]]:
    """(name, shape, dtype) of every array a row of the plan keeps."""

def push_rows(rows: list[tuple[Stream[Any], int, list[Floats]]], ended: bool) -> list[list[Floats]]:
    """Push (or flush) single rows of streams of one plan: ``rows`` of (stream, row, [(time, width) array of
    each input]).
    """

def push_streams(
    streams: list[Stream[Any]],
    given: list[Any],
    masks: list[Any],
    one: bool,
    check: Callable[[int], None] | None = None,
) -> list[list[Any]]:
    """What every stream returns for its chunk (or, with ``one``, its frame) of ``given``, of which its one of
    ``masks`` says what is real: rows of all of them in one go.
    """

def step_rows(model: Model[Any], streams: list[Stream[Any]], frames: Any, out: Floats | None) -> Any:
    """What ``step_many`` returns where all is plain: one flat input and output, ``frames`` (and ``out``) one
    float32 array (rows, features).
    """

LONG_WORK: int

@final
class Call:
    """A long call on its way: looks after signals and tells ``progress``."""

    def __new__(cls, total: float, progress: Callable[[float, float], object] | None = None) -> Call: ...
    def finish(self) -> None:
        """The last word to ``progress``."""

@final
class Plan:
    """A packed, immutable network."""

    @property
    def names(self) -> list[str]: ...
    @property
    def widths(self) -> list[int]: ...
    @property
    def states(self) -> dict[str, list[str]]: ...
    @property
    def isa(self) -> str: ...
    @property
    def nbytes(self) -> int: ...
    def __new__(
        cls,
        descs: list[dict[str, Any]],
        outputs: list[int],
        names: list[str],
        widths: Iterable[int],
        isa: str | None = None,
        states: dict[str, list[str]] = {},
        family: Plan | None = None,
        file: bytes | None = None,
        threads: int = 1,
    ) -> Plan: ...
    @staticmethod
    def of_file(content: bytes, names: list[str], widths: Iterable[int]) -> Plan:
        """The plan that a host in C makes of a .rnnrt file, whose layers have ``names`` and whose outputs
        have ``widths``.
        """

    def stream_bytes(self, batch: int = 1) -> int:
        """Bytes of a stream in the caller's memory, in C."""

    def obstacle(self, every_step: bool = False) -> tuple[str, str] | None:
        """(layer name, reason) of what keeps the plan from streaming, or None."""

    def clock(self, input: int) -> int:
        """The number of the clock of an input, counted over the input layers; -1: it is given once."""

    def due(self, output: int, frames: list[int], ended: bool) -> int:
        """Frames of an output after frames[k] frames of input layer k."""

    def work(self, frames: int) -> float:
        """About how many multiply-adds one row of ``frames`` frames takes."""

    def rows(self, frames: int) -> int:
        """Rows that run() works on at a time: a larger batch runs in slices."""

    def watch(self) -> NDArray[np.void]:
        """Count what every layer takes from now on, of a plan that nobody has used: the record array in which
        that is added up, one SPENT a layer.
        """

    def run(
        self,
        batch: int,
        inputs: list[NDArray[np.float32]],
        outputs: list[NDArray[np.float32]],
        lengths: NDArray[np.int64] | None = None,
        initial: Sequence[tuple[int, NDArray[np.float32]]] = (),
        final: Sequence[tuple[int, NDArray[np.float32]]] = (),
        block: int = 0,
        call: Call | None = None,
        first: int = 0,
    ) -> list[int]:
        """Run whole inputs: float32 arrays (time, batch, width) in any strides, but numbers of a frame that
        are one in memory; outputs likewise, filled.
        """

@final
class Signature:
    """What goes in and out. ``inputs``, ``outputs``: (letters of the axes, their sizes, None for a free one,
    bound of ids or 0) each; ``places``: the engine's number of each input.
    """

    def __new__(
        cls,
        inputs: list[tuple[list[str], tuple[int | None, ...], int]],
        outputs: list[tuple[list[str], tuple[int | None, ...], int]],
        places: list[int],
    ) -> Signature: ...

@final
class ShortCalls:
    """Calls of ``plan`` with an array for each of its inputs and nothing else said."""

    def __new__(cls, plan: Plan, signature: Signature) -> ShortCalls: ...
    def answer(self, x: object, more: tuple[object, ...], out: object) -> Any:
        """The output or a tuple of them; None where the long way is to be taken."""

@final
class Stream(Generic[Answer]):
    """One live batch of sequences: its own state over a shared Model."""

    @classmethod
    def __class_getitem__(cls, answer: Any) -> GenericAlias:
        """Stream[answer], as annotations write it."""

    @property
    def model(self) -> Model[Answer]: ...
    @property
    def batch_size(self) -> int | None: ...
    @property
    def every_step(self) -> bool: ...
    @property
    def may_emit_many(self) -> bool: ...
    @property
    def position(self) -> Any:
        """Frames taken since the sequence began, a tuple with a number for every clock where there are
        several; where rows began at different times, an array with one number, or one such row, a row.
        """

    @property
    def finite(self) -> bool | NDArray[np.bool_]:
        """Whether every recurrent state is finite: a bool, or one a batch row."""

    @property
    def delay(self) -> Any:
        """Input frames between a frame and its answer (see Model.delay)."""

    @property
    def state(self) -> State:
        """Everything the stream remembers, as a State: a copy, to look at, to store or to give back."""

    @state.setter
    def state(self, value: InitialState) -> None: ...

    # step has None where nothing is due.
    @overload
    def step(
        self: Stream[Floats], frame: Given, out: Floats | None = None, mask: Mask | None = None
    ) -> Floats | None:
        """One time step: ``frame`` (features,), or (batch, features), float32."""

    @overload
    def step(
        self: Stream[Any], frame: Given, out: None = None, mask: Mask | None = None
    ) -> tuple[Floats | None, ...]:
        """One time step: ``frame`` (features,), or (batch, features), float32."""

    def push(self, chunk: Given, out: Floats | None = None, mask: Mask | None = None) -> Answer:
        """Any number of time steps: ``chunk`` (time, features) or (batch, time, features)."""

    def flush(self, out: Floats | None = None) -> Answer:
        """End the sequence, of all inputs: returns the (k, ...) frames that were held back, k >= 0."""

    @overload
    def max_outputs(self: Stream[Floats], n: int | tuple[int, ...]) -> int:
        """Most frames a push of ``n`` frames can return from here; several outputs: a tuple."""

    @overload
    def max_outputs(self: Stream[Any], n: int | tuple[int, ...]) -> tuple[int, ...]:
        """Most frames a push of ``n`` frames can return from here; several outputs: a tuple."""

    def reset(self, rows: ArrayLike | None = None) -> None:
        """Start a new sequence, from where the network starts."""

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        """A stream belongs to one caller in one process: StateError."""

    def clone(self) -> Stream[Answer]:
        """A second stream that goes on from the same place."""
