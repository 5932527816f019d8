"""WAV files: samples as float32, full scale 1, and back. PCM of 16, 24 and 32 bits, and float32.

A sample of n bits is its whole number divided by 2**(n - 1). Written numbers are rounded to the nearest, and
those beyond full scale are cut to it and counted.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from math import prod

import numpy as np

from ..errors import ModelFileError, ResourceLimitError
from .reading import INCOMPLETE, open_regular, path_text

#: encoding -> (the format's tag, bytes of a sample)
ENCODINGS = {"pcm16": (1, 2), "pcm24": (1, 3), "pcm32": (1, 4), "float32": (3, 4)}
_EXTENSIBLE, _GUID = 0xFFFE, bytes.fromhex("000000001000800000aa00389b71")
#: The size that programs write which did not know how much would come.
_UNKNOWN = 0xFFFFFFFF
_MOST_CHUNKS = 1024
_RAW = {"pcm16": "<i2", "pcm32": "<i4", "float32": "<f4"}
_OTHERS = {
    b"RIFX": "a big-endian WAV file",
    b"RF64": "an RF64 file",
    b"BW64": "a BW64 file",
    b"riff": "a Wave64 file",
    b"FORM": "an AIFF file",
    b"fLaC": "a FLAC file",
    b"OggS": "an Ogg file",
}
_CONVERT = "Convert it: ffmpeg -i FILE -c:a pcm_f32le NEW.wav"


@dataclass(frozen=True)
class Sound:
    """``samples``: (time, channels), float32; ``rate`` in Hz; ``encoding``: a key of ENCODINGS."""

    samples: np.ndarray
    rate: int
    encoding: str


def is_wav(start: bytes) -> bool:
    """Whether a file with these first bytes is a WAV file."""
    return start[:4] == b"RIFF" and start[8:12] == b"WAVE"


def is_sound(start: bytes) -> bool:
    """Whether a file with these first bytes is a WAV file, or one of the others that ``read`` names."""
    return is_wav(start) or start[:4] in _OTHERS


def read(path, max_bytes=2 << 30) -> Sound:
    """The sound in a file. Raises ModelFileError where it is not a WAV file of one of ENCODINGS, or is
    damaged; ResourceLimitError where its samples would take more than ``max_bytes``.
    """
    where = path_text(path)
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(12)
        if not is_wav(start):
            what = _OTHERS.get(start[:4])
            raise ModelFileError(
                f"is {what or 'not a WAV file'}",
                where=where,
                expected="RIFF ... WAVE",
                found=f"first bytes {start!r}",
                fix=_CONVERT if what else None,
            )
        described = None
        for _ in range(_MOST_CHUNKS):
            head = file.read(8)
            if len(head) < 8:
                break
            name, length = head[:4], int.from_bytes(head[4:], "little")
            if name == b"fmt ":
                described = _format(file.read(min(length, 64)), where)
                file.seek(max(0, length - 64) + length % 2, os.SEEK_CUR)
            elif name == b"data" and described is not None:
                left = size - file.tell()
                return _sound(file, left if length == _UNKNOWN else length, left, described, max_bytes, where)
            else:
                file.seek(length + length % 2, os.SEEK_CUR)
    missing = "data" if described else "fmt "
    raise ModelFileError("holds no samples", where=where, expected=f"a chunk {missing!r}", fix=INCOMPLETE)


def _format(chunk, where):
    """(channels, rate, encoding) of a chunk "fmt "."""
    if len(chunk) < 16:
        raise ModelFileError("has a broken description", where=where, fix=INCOMPLETE)
    tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 40 and chunk[26:40] == _GUID:
        tag = int.from_bytes(chunk[24:26], "little")
    encoding = next((e for e, (t, size) in ENCODINGS.items() if (t, 8 * size) == (tag, bits)), None)
    if encoding is None:
        kind = {1: "PCM", 3: "floating point", 6: "A-law", 7: "µ-law", 0x11: "ADPCM", 0x55: "MP3"}.get(tag)
        raise ModelFileError(
            "holds samples of a kind that is not read",
            where=where,
            expected="PCM of 16, 24 or 32 bits, or float32",
            found=f"{kind or f'format {tag:#x}'} of {bits} bits",
            fix=_CONVERT,
        )
    if not channels or not rate or block != channels * ENCODINGS[encoding][1]:
        raise ModelFileError(
            "has a description that contradicts itself",
            where=where,
            expected="channels times bytes of a sample in a block, a rate above 0",
            found=f"{channels} channels, {block} bytes, {rate} Hz",
        )
    return channels, rate, encoding


def _sound(file, length, left, described, max_bytes, where):
    channels, rate, encoding = described
    width = ENCODINGS[encoding][1]
    if length > left:
        raise ModelFileError(
            "ends before its samples do",
            where=where,
            expected=f"{length:,} bytes",
            found=f"{left:,}",
            fix=INCOMPLETE,
        )
    frames = length // (channels * width)
    if frames * channels * 4 > max_bytes or length > max_bytes:
        raise ResourceLimitError(
            "holds more samples than the limit allows",
            where=where,
            expected=f"at most {max_bytes:,} bytes",
            found=f"{max(length, frames * channels * 4):,}",
        )
    raw = file.read(frames * channels * width)
    if encoding == "pcm24":
        wide = np.zeros((frames * channels, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        samples = np.ldexp(wide.view("<i4")[:, 0].astype(np.float64), -31)
    else:
        samples = np.frombuffer(raw, _RAW[encoding])
        samples = samples if encoding == "float32" else np.ldexp(samples.astype(np.float64), 1 - 8 * width)
    return Sound(samples.reshape(frames, channels).astype(np.float32), rate, encoding)


def encode(sound: Sound) -> tuple[list, int]:
    """(the bytes of the file of ``sound`` as a list of parts, how many samples were beyond full scale and cut
    to it). Raises ModelFileError where a WAV file cannot hold it, and where it is not finite in PCM.
    """
    samples, (tag, width) = sound.samples, ENCODINGS[sound.encoding]
    channels, length = samples.shape[1], prod(samples.shape) * width
    if not 1 <= channels * width < 1 << 16 or length + 64 > _UNKNOWN or not 1 <= sound.rate < 1 << 32:
        raise ModelFileError(
            "is more than a WAV file holds",
            expected="4 GiB of samples, 65,535 bytes in all channels",
            found=f"{samples.shape}",
            fix="Write a .npy file.",
        )
    clipped, raw = 0, np.ascontiguousarray(samples, "<f4")
    if tag == 1:
        if not np.isfinite(samples).all():
            raise ModelFileError(
                "would hold NaN or inf, which PCM cannot", fix="Write float32 samples, or a .npy file."
            )
        full = 1 << (8 * width - 1)
        numbers = np.rint(samples.astype(np.float64) * full)
        kept = np.clip(numbers, -full, full - 1)
        clipped = int((kept != numbers).sum())
        raw = kept.astype("<i4" if width > 2 else "<i2")
        raw = np.ascontiguousarray(raw.view(np.uint8).reshape(-1, 4)[:, :3]) if width == 3 else raw
    rate = int(sound.rate)
    described = struct.pack(
        "<HHIIHH", tag, channels, rate, rate * channels * width % (1 << 32), channels * width, 8 * width
    )
    chunks = [(b"fmt ", described)]
    if tag == 3:  # what is not PCM says how long its description is, and how many frames there are
        chunks = [(b"fmt ", described + bytes(2)), (b"fact", struct.pack("<I", len(samples)))]
    head = b"".join(name + struct.pack("<I", len(chunk)) + chunk for name, chunk in chunks)
    head += b"data" + struct.pack("<I", length)
    total = 4 + len(head) + length + length % 2
    parts = [b"RIFF" + struct.pack("<I", total) + b"WAVE" + head, raw.reshape(-1).data]
    return parts + [b"\0"] * (length % 2), clipped
