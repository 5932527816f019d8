"""WAV files: what is read and written bit by bit, and what is refused."""

import struct

import numpy as np
import pytest

from rnnrt.errors import ModelFileError, ResourceLimitError, RnnrtError
from rnnrt.format import wav
from rnnrt.format.wav import ENCODINGS, Sound


def chunk(name, data):
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def described(tag=1, channels=1, rate=48000, bits=16, block=None, more=b""):
    block = channels * bits // 8 if block is None else block
    return struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits) + more


def riff(*chunks):
    body = b"WAVE" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def read(folder, data):
    path = folder / "s.wav"
    path.write_bytes(data)
    return wav.read(path)


#: encoding -> (bits, two samples as they stand in the file: the lowest, and one step below half scale)
RAW = {
    "pcm16": (16, b"\x00\x80\xff\x3f", [-1, 0.5 - 2**-15]),
    "pcm24": (24, b"\x00\x00\x80\xff\xff\x3f", [-1, 0.5 - 2**-23]),
    "pcm32": (32, b"\x00\x00\x00\x80\x00\x00\x00\x40", [-1, 0.5]),
    "float32": (32, struct.pack("<ff", 1.75, -1e-3), [1.75, np.float32(-1e-3)]),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("extensible", [False, True])
def test_samples_are_read_on_a_full_scale_of_one(tmp_path, encoding, extensible):
    bits, raw, values = RAW[encoding]
    tag = ENCODINGS[encoding][0]
    guid = struct.pack("<H", tag) + bytes.fromhex("000000001000800000aa00389b71")
    form = (
        described(0xFFFE, 2, 44100, bits, more=struct.pack("<HHI", 22, bits, 3) + guid)
        if extensible
        else described(tag, 2, 44100, bits)
    )
    sound = read(
        tmp_path, riff(chunk(b"JUNK", bytes(27)), chunk(b"fmt ", form), chunk(b"data", raw), b"tail")
    )
    assert (sound.rate, sound.encoding, sound.samples.shape) == (44100, encoding, (1, 2))
    assert sound.samples.dtype == np.float32 and sound.samples[0].tolist() == values


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_is_read_again(tmp_path, encoding, channels):
    samples = np.random.default_rng(0).uniform(-1, 0.99, (11, channels)).astype(np.float32)
    parts, cut = wav.encode(Sound(samples, 96000, encoding))
    data = b"".join(map(bytes, parts))
    again = read(tmp_path, data)
    step = 0 if encoding == "float32" else 2.0 ** -(8 * ENCODINGS[encoding][1])
    assert np.abs(again.samples - samples).max() <= step + 2**-25 * (encoding == "pcm32") and not cut
    assert (again.rate, again.encoding) == (96000, encoding)
    assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8 and len(data) % 2 == 0
    assert b"".join(map(bytes, wav.encode(again)[0])) == data


@pytest.mark.parametrize(("encoding", "top"), [("pcm16", 32767), ("pcm24", 8388607), ("pcm32", 2**31 - 1)])
def test_pcm_is_rounded_to_the_nearest_and_cut_at_full_scale(encoding, top):
    full = top + 1
    samples = np.array([[0.6 / full], [1.0], [-1.0], [2.0], [-1.5]], np.float32)
    parts, cut = wav.encode(Sound(samples, 8000, encoding))
    raw = bytes(parts[1])
    width = len(raw) // 5
    numbers = [int.from_bytes(raw[k * width : (k + 1) * width], "little", signed=True) for k in range(5)]
    assert numbers == [1, top, -full, top, -full] and cut == 3


def test_pcm_cannot_hold_nan_and_float32_can(tmp_path):
    samples = np.array([[np.nan], [np.inf]], np.float32)
    with pytest.raises(ModelFileError, match="NaN or inf.*float32"):
        wav.encode(Sound(samples, 8000, "pcm16"))
    data = b"".join(map(bytes, wav.encode(Sound(samples, 8000, "float32"))[0]))
    np.testing.assert_array_equal(read(tmp_path, data).samples, samples)


@pytest.mark.parametrize("more", [1, 2, 101])
def test_a_description_may_be_longer_than_it_needs(tmp_path, more):
    data = riff(chunk(b"fmt ", described(more=bytes(more))), chunk(b"data", bytes(4)))
    assert read(tmp_path, data).samples.shape == (2, 1)


def test_a_size_that_was_not_known_means_all_that_follows(tmp_path):
    data = riff(chunk(b"fmt ", described())) + b"data" + b"\xff" * 4 + bytes(6)
    assert read(tmp_path, data).samples.shape == (3, 1)


FORM = chunk(b"fmt ", described())
REFUSED = {
    "empty": (b"", "not a WAV file"),
    "no_chunks": (riff(), "no samples.*fmt"),
    "no_data": (riff(FORM), "no samples.*data"),
    "data_first": (riff(chunk(b"data", bytes(4)), FORM), "no samples"),
    "cut": (riff(FORM, chunk(b"data", bytes(100)))[:-50], "ends before its samples.*found 50.*incomplete"),
    "short_fmt": (riff(chunk(b"fmt ", bytes(12))), "broken description"),
    "8_bits": (riff(chunk(b"fmt ", described(bits=8))), "PCM of 8 bits.*ffmpeg"),
    "float64": (riff(chunk(b"fmt ", described(3, bits=64))), "floating point of 64 bits"),
    "a_law": (riff(chunk(b"fmt ", described(6, bits=8))), "A-law"),
    "unknown_guid": (riff(chunk(b"fmt ", described(0xFFFE, more=bytes(24)))), "format 0xfffe"),
    "no_channels": (riff(chunk(b"fmt ", described(channels=0))), "contradicts itself.*0 channels"),
    "no_rate": (riff(chunk(b"fmt ", described(rate=0))), "contradicts itself.*0 Hz"),
    "block": (riff(chunk(b"fmt ", described(block=3))), "contradicts itself.*3 bytes"),
    "rf64": (b"RF64" + riff(FORM)[4:], "an RF64 file.*ffmpeg"),
    "big_endian": (b"RIFX" + riff(FORM)[4:], "big-endian"),
    "flac": (b"fLaC" + bytes(60), "a FLAC file.*ffmpeg"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused_by_name(tmp_path, name):
    data, words = REFUSED[name]
    with pytest.raises(ModelFileError, match=f"s.wav: .*{words}"):
        read(tmp_path, data)


def test_its_size_is_bounded_before_it_is_read(tmp_path):
    path = tmp_path / "s.wav"
    path.write_bytes(riff(FORM, chunk(b"data", bytes(1000))))
    with pytest.raises(ResourceLimitError, match="at most 1,999 bytes; found 2,000"):
        wav.read(path, max_bytes=1999)


def test_a_file_cannot_hold_everything():
    with pytest.raises(ModelFileError, match="more than a WAV file holds.*npy"):
        wav.encode(Sound(np.zeros((1, 20000), np.float32), 48000, "float32"))


def test_a_damaged_file_ends_in_a_sound_or_one_error(tmp_path):
    generator = np.random.default_rng(5)
    good = [riff(chunk(b"LIST", bytes(9)), FORM, chunk(b"data", bytes(40)))]
    good.append(b"".join(map(bytes, wav.encode(Sound(np.zeros((9, 2), np.float32), 48000, "float32"))[0])))
    for k in range(600):
        data = bytearray(good[k % 2])
        for _ in range(generator.integers(1, 4)):
            data[generator.integers(len(data))] = generator.integers(256)
        try:
            read(tmp_path, bytes(data[: generator.integers(len(data) + 1)] if k % 3 == 0 else data))
        except RnnrtError as error:
            assert "s.wav" in str(error)
