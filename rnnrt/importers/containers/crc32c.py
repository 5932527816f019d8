"""CRC-32C (Castagnoli) of whole files, by NumPy: the checksum in TensorFlow's and LevelDB's files.

The remainder is linear over bits. So every word of four bytes counts by itself, and two remainders side by
side make one of twice the length: the first is moved on by as many zero bytes as the second has, which is a
table a byte. A message is halved so until one word is left.
"""

from __future__ import annotations

import numpy as np

_POLYNOMIAL = 0x82F63B78  # bits reversed
_CHUNK = 1 << 20


def checksum(data, before=0) -> int:
    """The CRC-32C of ``data`` (bytes), or of what had ``before`` with ``data`` after it."""
    state, view = ~before & 0xFFFFFFFF, memoryview(data)
    for start in range(0, len(view), _CHUNK):
        state = _moved(view[start : start + _CHUNK], state)
    return ~state & 0xFFFFFFFF


def masked(crc) -> int:
    """A checksum as those files store it, so that one of bytes that hold checksums stays a good one."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _moved(chunk, state):
    """The register ``state`` after the bytes of ``chunk``."""
    if len(chunk) < 4:
        for byte in chunk:
            state = int(_zeros(None)[0][(state ^ byte) & 255]) ^ state >> 8
        return state
    levels = max(0, (len(chunk) - 1).bit_length() - 2)
    words = np.zeros(4 << levels, np.uint8)  # zeros in front change nothing
    words[-len(chunk) :] = np.frombuffer(chunk, np.uint8)
    words[len(words) - len(chunk) :][:4] ^= np.frombuffer(state.to_bytes(4, "little"), np.uint8)
    words = words.view("<u4")
    for level in range(levels):
        words = _apply(_zeros(level), words[::2]) ^ words[1::2]
    return int(_apply(_zeros(0), words)[0])


def _apply(tables, words):
    octets = np.ascontiguousarray(words).view(np.uint8).reshape(-1, 4)
    made = tables[0][octets[:, 0]]
    for k in (1, 2, 3):
        made ^= tables[k][octets[:, k]]
    return made


_TABLES = {}


def _zeros(level):
    """The tables, (4, 256), that move a register on by 4 << ``level`` zero bytes; by one for None."""
    if level not in _TABLES:
        _TABLES[level] = _made(level)
    return _TABLES[level]


def _made(level):
    bits = np.uint32(1) << np.arange(32, dtype=np.uint32)
    if level is None:
        for _ in range(8):
            bits = np.where(bits & 1, bits >> 1 ^ np.uint32(_POLYNOMIAL), bits >> 1)
    else:
        below = _zeros(level - 1 if level else None)
        for _ in range(2 if level else 4):
            bits = _apply(below, bits.astype("<u4"))
    tables = np.zeros((4, 1), "<u4")
    for bit in range(8):
        tables = np.hstack([tables, tables ^ bits.reshape(4, 8)[:, bit : bit + 1]])
    return tables.astype("<u4")
