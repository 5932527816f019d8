"""What a stream or a run leaves behind: recurrent states by name, and for a stream everything else it needs to go on."""

from __future__ import annotations

import json
import sys
import zlib

import numpy as np

from .errors import StateError

#: First bytes of every State: a name, then the format's number.
_NAME, _FORMAT = b"RNNRTST", 2
_STRANGE, _ONLY = "the state's memory is not what a stream keeps", "Use only what Stream.state gave."
_GIVEN = "Make the stream with the inputs= that the state's stream had."


class State:
    """States of one model's sequences. ``arrays()`` shows the recurrent ones; a State taken from a stream also
    holds its windows and queues.

    Made by ``Stream.state`` and ``Model(..., return_state=True)``; given back to ``Stream.state`` or
    ``initial_state=``. It belongs to one network: another one's refuses it with StateError. What a stream needs
    beside the arrays is kept as it is (``memory`` with the ``kind`` of stream it came from) and is not for callers.
    """

    __slots__ = ("_arrays", "_batch_size", "_belongs_to", "_kind", "memory")

    def __init__(self, arrays, belongs_to, batch_size, memory=None, kind=None):
        self._arrays, self._belongs_to, self._batch_size = arrays, belongs_to, batch_size
        self.memory, self._kind = memory, kind or {}

    @property
    def belongs_to(self):
        """Fingerprint of the network."""
        return self._belongs_to

    @property
    def batch_size(self):
        """Rows, or None where the sequence had no batch axis."""
        return self._batch_size

    @property
    def of_stream(self):
        """Whether it came from a stream: then it holds windows, queues and the position too."""
        return self.memory is not None

    def of_kind(self, batch_size, kind, size):
        """(memory, kind) for a stream of that kind whose memory is ``size`` bytes; StateError for another one's."""
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
        if type(self.memory) is not bytes or len(self.memory) != size:
            found = (
                f"{len(self.memory)} bytes" if type(self.memory) is bytes else type(self.memory).__qualname__
            )
            raise StateError(_STRANGE, expected=f"{size} bytes", found=found, fix=_ONLY)
        position = self._kind.get("position")
        if type(position) is not int or position < 0:
            raise StateError(
                "the state does not say how many frames its stream had taken", found=repr(position)
            )
        return self.memory, self._kind

    def arrays(self):
        """{"lstm/h": (batch, units), ...}; no batch axis where the sequence had none. The arrays are the state:
        writing into one changes what this State gives back."""
        return dict(self._arrays)

    def to_bytes(self):
        """The state as bytes that ``from_bytes`` reads, with the same model file and the same format of rnnrt.

        Layout: "RNNRTST", the format's number as a digit, length of the header (uint32), header (JSON: fingerprint,
        batch, kind of stream, names and shapes), the arrays as float32, the stream's memory, CRC-32 of all before
        it; little-endian, the memory in the byte order the header names.
        """
        if self.memory is not None and type(self.memory) is not bytes:
            raise StateError(_STRANGE, found=type(self.memory).__qualname__, fix=_ONLY)
        head = {
            "belongs_to": self._belongs_to,
            "batch_size": self._batch_size,
            "kind": self._kind,
            "arrays": {name: a.shape for name, a in self._arrays.items()},
            "memory": None if self.memory is None else len(self.memory),
        }
        text = json.dumps(head).encode()
        parts = [_NAME + str(_FORMAT).encode(), len(text).to_bytes(4, "little"), text]
        parts += [np.ascontiguousarray(a, "<f4").tobytes() for a in self._arrays.values()]
        data = b"".join(parts + ([self.memory] if self.memory is not None else []))
        return data + zlib.crc32(data).to_bytes(4, "little")

    @classmethod
    def from_bytes(cls, data):
        """The State that ``to_bytes`` wrote; StateError for anything else: damaged bytes, another format's."""
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

    def __repr__(self):
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
    """(arrays, fingerprint, batch size, memory, kind) of bytes whose checksum is right."""
    at = len(_NAME) + 5
    end = at + int.from_bytes(data[at - 4 : at], "little")
    head, at, arrays = json.loads(data[at:end]), end, {}
    for name, shape in head["arrays"].items():
        count = int(np.prod(shape, dtype=np.int64))
        if count < 0 or at + 4 * count > len(data):
            raise ValueError("an array is not all there")
        arrays[name] = np.frombuffer(data, "<f4", count, at).reshape(shape).astype(np.float32)
        at += 4 * count
    left, kind = data[at:], head["kind"]
    if len(left) != (head["memory"] or 0):
        raise ValueError("its parts are not as long as it says")
    if not isinstance(head["belongs_to"], str) or not isinstance(head["batch_size"], (int, type(None))):
        raise ValueError("its header is wrong")  # noqa: TRY004 - every fault of the bytes is one kind of error
    if not isinstance(kind, dict):
        raise ValueError("its header is wrong")  # noqa: TRY004
    memory = None if head["memory"] is None else left
    if memory is not None and kind.get("byte_order") != sys.byteorder:
        raise ValueError(f"it was taken on a machine of another byte order, {kind.get('byte_order')}")
    return arrays, head["belongs_to"], head["batch_size"], memory, kind
