"""What a stream or a run leaves behind, as named arrays: recurrent states, and for a stream everything else
it needs to go on."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from .errors import StateError

#: First bytes of every State: a name, then the format's number.
_NAME, _FORMAT = b"RNNRTST", 2
_GIVEN = "Make the stream with the inputs= that the state's stream had."
_TYPES = ("<f4", "<f8", "<u8")

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from .annotations import Bytes


class State:
    """States of one model's sequences, all of it named arrays: see ``arrays``.

    Made by ``Stream.state`` and ``Model(..., return_state=True)``; given back to ``Stream.state`` or
    ``initial_state=``. It belongs to one network: another one's refuses it with StateError.
    """

    __slots__ = ("_arrays", "_batch_size", "_belongs_to", "_kind")

    def __init__(
        self,
        arrays: dict[str, NDArray[Any]],
        belongs_to: str,
        batch_size: int | None,
        kind: dict[str, Any] | None = None,
    ) -> None:
        self._arrays, self._belongs_to, self._batch_size, self._kind = arrays, belongs_to, batch_size, kind

    @property
    def belongs_to(self) -> str:
        """Fingerprint of the network."""
        return self._belongs_to

    @property
    def batch_size(self) -> int | None:
        """Rows, or None where the sequence had no batch axis."""
        return self._batch_size

    @property
    def of_stream(self) -> bool:
        """Whether it came from a stream: then it holds windows, queues and the position too."""
        return self._kind is not None

    def check_kind(self, batch_size: int | None, kind: dict[str, Any]) -> None:
        """StateError where a stream of that kind cannot go on from it."""
        for name, wanted in {"batch_size": batch_size, **kind}.items():
            found = self._batch_size if name == "batch_size" else self._kind.get(name)
            if found != wanted or type(found) is not type(wanted):
                raise StateError(
                    "the state belongs to another kind of stream",
                    where=name,
                    expected=repr(wanted),
                    found=repr(found),
                    fix=_GIVEN if name == "given_once" else None,
                )

    def arrays(self) -> dict[str, NDArray[Any]]:
        """{"lstm/h": (batch, units), ...}, float32; no batch axis where the sequence had none.

        From a stream also "conv/window" (batch, frames, features), oldest frame first, "add/queue.1" (batch,
        frames, features), frames of input 1 that wait for the others, "pool/sum" and the like, float64, and
        "position", frames taken, uint64. The arrays are the state: writing into one changes what this State
        gives back.
        """
        return dict(self._arrays)

    def to_bytes(self) -> bytes:
        """The state as bytes that ``from_bytes`` reads, on any machine, with the same model file.

        Layout: "RNNRTST", the format's number as a digit, length of the header (uint32), header (JSON:
        fingerprint, batch, kind of stream, names, types and shapes), the arrays, CRC-32 of all before it; all
        little-endian.
        """
        import json  # few programs keep a state, and it takes a tenth of the time of importing rnnrt

        arrays = {
            name: np.ascontiguousarray(a, a.dtype.newbyteorder("<")) for name, a in self._arrays.items()
        }
        head = {
            "belongs_to": self._belongs_to,
            "batch_size": self._batch_size,
            "kind": self._kind,
            "arrays": {name: [a.dtype.str, self._arrays[name].shape] for name, a in arrays.items()},
        }
        text = json.dumps(head).encode()
        parts = [_NAME + str(_FORMAT).encode(), len(text).to_bytes(4, "little"), text]
        data = b"".join(parts + [a.tobytes() for a in arrays.values()])
        return data + zlib.crc32(data).to_bytes(4, "little")

    @classmethod
    def from_bytes(cls, data: Bytes) -> State:
        """The State that ``to_bytes`` wrote; StateError for anything else: damaged bytes, another
        format's.
        """
        try:
            data = bytes(memoryview(data))
        except (TypeError, ValueError, BufferError) as error:
            raise _not_a_state(f"{type(data).__name__} ({error})") from error
        _check_format(data)
        if len(data) < 16 or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
            raise _not_a_state(f"{len(data)} bytes whose checksum is wrong: damaged, or cut off")
        try:
            return cls(*_decoded(data[:-4]))
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            OverflowError,
            MemoryError,
            RecursionError,
        ) as error:
            raise _not_a_state(f"{len(data)} bytes ({error})") from error

    def __reduce__(self) -> tuple[Any, ...]:
        return State.from_bytes, (self.to_bytes(),)

    def __repr__(self) -> str:
        arrays = ", ".join(f"{n} {a.shape}" for n, a in self._arrays.items())
        return f"<rnnrt.State batch_size={self._batch_size} of {arrays or 'no recurrent state'}>"


def _not_a_state(found):
    return StateError("these bytes are not a state", expected="what State.to_bytes() returned", found=found)


def _check_format(data):
    name, number = data[: len(_NAME)], data[len(_NAME) : len(_NAME) + 1]
    if name != _NAME or not number.isdigit():
        raise _not_a_state(f"{len(data)} bytes that begin otherwise")
    if int(number) != _FORMAT:
        newer = int(number) > _FORMAT
        raise StateError(
            f"this state was written by {'a newer' if newer else 'an older'} rnnrt",
            expected=f"format {_FORMAT}",
            found=f"format {int(number)}",
            fix="Update rnnrt."
            if newer
            else "Push the sequence through a new stream and take its state again.",
        )


def _decoded(data):
    """(arrays, fingerprint, batch size, kind) of bytes whose checksum is right."""
    import json

    at = len(_NAME) + 5
    end = at + int.from_bytes(data[at - 4 : at], "little")
    head, at, arrays = json.loads(data[at:end]), end, {}
    for name, (type_, shape) in head["arrays"].items():
        count = int(np.prod(shape, dtype=np.int64))
        if type_ not in _TYPES or count < 0 or at + int(type_[2]) * count > len(data):
            raise ValueError("an array is not all there")
        array = np.frombuffer(data, type_, count, at).reshape(shape)
        arrays[name] = array.astype(array.dtype.newbyteorder("="))
        at += array.nbytes
    if at != len(data):
        raise ValueError("its parts are not as long as it says")
    right = isinstance(head["belongs_to"], str) and isinstance(head["batch_size"], int | None)
    if not right or not isinstance(head["kind"], dict | None):
        raise ValueError("its header is wrong")
    return arrays, head["belongs_to"], head["batch_size"], head["kind"]
