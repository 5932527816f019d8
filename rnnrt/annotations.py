"""What the annotations of public names are written with. Read by type checkers and never imported at run
time.

An array comes in as anything NumPy reads as numbers and comes back as float32. A layer's field does both: it
takes what its ``__set__`` says and holds what its ``__get__`` says, which is how type checkers read a
dataclass field that converts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BufferedReader, FileIO
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray
from typing_extensions import Buffer, TypeVar, dataclass_transform

if TYPE_CHECKING:
    from .graph import Output
    from .layers import Function, Layer
    from .state import State

Floats: TypeAlias = NDArray[np.float32]
Doubles: TypeAlias = NDArray[np.float64]
#: The textbook's dictionary of arrays by name.
Parameters: TypeAlias = Mapping[str, ArrayLike]
Path: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
#: A file by its path, or open for reading in binary.
File: TypeAlias = Path | BufferedReader | FileIO

#: What one call answers: one array, or a tuple of them where the network has several outputs. A model whose
#: outputs the program does not name is taken for one of one output; ``model: Model[tuple[Floats, Floats]] =
#: rnnrt.load(path)`` says that it has two.
Answer = TypeVar("Answer", bound="Floats | tuple[Floats, ...]", default=Floats)

#: Which frames are real: one bool or number a frame; by name of the input where several are masks.
Mask: TypeAlias = ArrayLike | Mapping[str, ArrayLike]
#: The same of many streams: an array of all rows, or one for each stream.
ManyMasks: TypeAlias = ArrayLike | Iterable[Any] | Mapping[str, ArrayLike | Iterable[Any]]
#: One frame or chunk, or a tuple of them where several inputs have a time axis.
Given: TypeAlias = ArrayLike | tuple[ArrayLike, ...]
#: A State, arrays by name as in a State, or the source's own form: [h, c] or (h0, c0).
InitialState: TypeAlias = "State | Mapping[str, ArrayLike] | ArrayLike | Sequence[ArrayLike]"
#: The inputs or the outputs of a sample, as the source has them: an array, one each where there are several,
#: or arrays by name.
Samples: TypeAlias = ArrayLike | Sequence[ArrayLike] | Mapping[str, ArrayLike]
#: Samples with their answers, or the path of an .npz that holds them.
Check: TypeAlias = tuple[Samples, Samples] | Path
#: Called with (multiply-adds done, multiply-adds in all), about every 10 ms of a long call.
Progress: TypeAlias = "Callable[[float, float], object]"
Bytes: TypeAlias = Buffer
Backend: TypeAlias = Literal["native", "blas"]
WeightType: TypeAlias = Literal["float32"]
#: Multiply-adds, and other operations on single numbers.
Work: TypeAlias = tuple[int, int]
Padding: TypeAlias = tuple[int, int] | Literal["same"]
#: f(config, arrays) of a custom Keras layer: what it answers stands for the layer.
CustomObjects: TypeAlias = Mapping[str, "Callable[[dict[str, Any], dict[str, Floats]], Layer | list[Layer]]"]


Class = TypeVar("Class")


# mypy reads a field inherited by a frozen dataclass as what it takes, so that nobody is told here that layers
# are frozen.
@dataclass_transform()
def layer_class(cls: type[Class]) -> type[Class]: ...


@dataclass_transform(frozen_default=True)
def record(cls: type[Class]) -> type[Class]: ...


class Weights:
    """A field that takes any array of numbers and holds it as float32, read-only."""

    def __get__(self, layer: object, owner: Any = None) -> Floats: ...

    def __set__(self, layer: Any, value: ArrayLike) -> None: ...


class OptionalWeights:
    """Weights that may be left out."""

    def __get__(self, layer: object, owner: Any = None) -> Floats | None: ...

    def __set__(self, layer: Any, value: ArrayLike | None) -> None: ...


class Elementwise:
    """An activation: a Function, its name, or (name, *parameters)."""

    def __get__(self, layer: object, owner: Any = None) -> Function: ...

    def __set__(self, layer: Any, value: Function | str | Sequence[Any]) -> None: ...


class Sizes:
    """Whole numbers: the shape of a frame, or features by number."""

    def __get__(self, layer: object, owner: Any = None) -> tuple[int, ...]: ...

    def __set__(self, layer: Any, value: Iterable[int]) -> None: ...


class References:
    """What a layer reads: one reference, or several."""

    def __get__(self, layer: object, owner: Any = None) -> tuple[str, ...]: ...

    def __set__(self, layer: Any, value: str | Iterable[str]) -> None: ...


class Layers:
    """The layers of a graph, in an order they can run in."""

    def __get__(self, graph: object, owner: Any = None) -> tuple[Layer, ...]: ...

    def __set__(self, graph: Any, value: Iterable[Layer]) -> None: ...


class Names:
    """The inputs of a graph; left out, every Input layer in its order."""

    def __get__(self, graph: object, owner: Any = None) -> tuple[str, ...]: ...

    def __set__(self, graph: Any, value: Iterable[str] | None) -> None: ...


class Outputs:
    """The outputs of a graph: each an Output, or the name of the value it shows."""

    def __get__(self, graph: object, owner: Any = None) -> tuple[Output, ...]: ...

    def __set__(self, graph: Any, value: Iterable[Output | str]) -> None: ...


class Options(TypedDict, total=False):
    """How a model runs: what ``load`` and ``with_options`` take."""

    num_threads: int
    backend: Backend
    weights: WeightType
    isa: str | None
    lift: bool
