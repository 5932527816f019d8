"""What a stream or a run leaves behind: recurrent states by name, and for a stream everything else it needs to go on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from .errors import StateError

if TYPE_CHECKING:
    from typing import Any

    from .annotations import Bytes, Floats

_MAGIC = b"RNNRTST1"


class State:
    """States of one model's sequences. ``arrays()`` shows the recurrent ones; a State taken from a stream also holds its windows and queues.

    Made by ``Stream.state`` and ``Model(..., return_state=True)``; given back to ``Stream.state`` or ``initial_state=``. It belongs to one
    network: another one's refuses it with StateError.
    """

    __slots__ = ("_arrays", "batch_size", "belongs_to", "every_step", "memory")

    def __init__(
        self,
        arrays: dict[str, Floats],
        belongs_to: str,
        batch_size: int | None,
        memory: bytes | None = None,
        every_step: bool = False,
    ) -> None:
        self._arrays, self.belongs_to, self.batch_size, self.memory, self.every_step = (
            arrays,
            belongs_to,
            batch_size,
            memory,
            every_step,
        )

    def arrays(self) -> dict[str, Floats]:
        """{"lstm/h": (batch, units), ...}; no batch axis where the sequence had none."""
        return dict(self._arrays)

    def to_bytes(self) -> bytes:
        """The state as bytes that ``from_bytes`` reads on any machine with the same rnnrt and the same model file."""
        shapes = {name: a.shape for name, a in self._arrays.items()}
        head = {
            "belongs_to": self.belongs_to,
            "batch_size": self.batch_size,
            "every_step": self.every_step,
            "arrays": shapes,
            "memory": self.memory is not None,
        }
        text = json.dumps(head).encode()
        parts = [_MAGIC, len(text).to_bytes(4, "little"), text]
        parts += [np.ascontiguousarray(a, "<f4").tobytes() for a in self._arrays.values()]
        return b"".join(parts + ([self.memory] if self.memory is not None else []))

    @classmethod
    def from_bytes(cls, data: Bytes) -> State:
        """The State that ``to_bytes`` wrote; StateError for anything else."""
        try:
            data = bytes(memoryview(data))
            length = int.from_bytes(data[8:12], "little")
            if data[:8] != _MAGIC:
                raise ValueError("not a state")
            head = json.loads(data[12 : 12 + length])
            at, arrays = 12 + length, {}
            for name, shape in head["arrays"].items():
                count = int(np.prod(shape, dtype=np.int64))
                if count < 0 or at + 4 * count > len(data):
                    raise ValueError("truncated")
                arrays[name] = np.frombuffer(data, "<f4", count, at).reshape(shape).astype(np.float32)
                at += 4 * count
            memory = data[at:] if head["memory"] else None
            if memory is None and at != len(data):
                raise ValueError("trailing bytes")
            if not isinstance(head["belongs_to"], str) or not isinstance(
                head["batch_size"], (int, type(None))
            ):
                raise ValueError("damaged")  # noqa: TRY004
            return cls(arrays, head["belongs_to"], head["batch_size"], memory, bool(head["every_step"]))
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
            MemoryError,
            RecursionError,
        ) as error:
            raise StateError(
                "these bytes are not a state",
                expected="what State.to_bytes() returned",
                found=f"{type(data).__name__} ({error})",
            ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        return State.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        return f"<rnnrt.State batch_size={self.batch_size} of {', '.join(f'{n} {a.shape}' for n, a in self._arrays.items())}>"
