"""PyTorch files from a stranger: they can neither run nor break anything."""

import io
import pickle
import random
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from torch_archives import tensors_of, zipped

from rnnrt.errors import ModelFileError, ResourceLimitError, RnnrtError, UnsupportedModelError
from rnnrt.importers.containers.zip import Archive

DATA = Path(__file__).parents[1] / "data" / "torch"


# ---- hostile pickles ---------------------------------------------------------------------------------------


def torch_zip(pickled, **storages):
    return zipped(
        {"archive/data.pkl": pickled, "archive/version": b"3"}
        | {f"archive/data/{k[1:]}": v for k, v in storages.items()}
    )


def text(s):
    return b"X" + struct.pack("<I", len(s)) + s.encode()


STORAGE = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + b"%stQ"


def tensor(offset=0, shape=b"K\x02\x85", stride=b"K\x01\x85", numel=b"K\x04"):
    storage = STORAGE % numel
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n("
        + storage
        + b"K"
        + bytes([offset])
        + shape
        + stride
        + b"\x89}tR"
    )


def state_dict(value):
    return b"\x80\x02}" + text("w") + value + b"s."


CALL_SYSTEM = b"(" + text("touch /tmp/never") + b"t"


HOSTILE = {
    "reduce": b"\x80\x02cos\nsystem\n" + CALL_SYSTEM + b"R.",
    "reduce, posix": b"\x80\x02cposix\nsystem\n" + CALL_SYSTEM + b"R.",
    "builtins": b"\x80\x02cbuiltins\neval\n" + CALL_SYSTEM + b"R.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + CALL_SYSTEM + b"R.",
    "stack global, built": b"\x80\x04"
    + text("tor")
    + b"0\x8c\x02os\x94\x8c\x06system\x94h\x00h\x01\x93"
    + CALL_SYSTEM
    + b"R.",
    "stack global, no names": b"\x80\x04}]\x93.",
    "dotted": b"\x80\x04\x8c\x05torch\x8c\x0cos.system.__\x93" + CALL_SYSTEM + b"R.",
    "dotted storage": b"\x80\x04\x8c\x05torch\x8c\x15FloatStorage.__init__\x93.",
    "inst": b"\x80\x02(" + text("touch /tmp/never") + b"ios\nsystem\n.",
    "obj": b"\x80\x02(cos\nsystem\n" + text("touch /tmp/never") + b"o.",
    "obj of a known name": b"\x80\x02(ccollections\nOrderedDict\n" + text("x") + b"o.",
    "newobj": b"\x80\x02csubprocess\nPopen\n" + CALL_SYSTEM + b"\x81.",
    "newobj of a known name": b"\x80\x02ctorch\nFloatStorage\n)\x81.",
    "newobj_ex": b"\x80\x04csubprocess\nPopen\n)}\x92.",
    "build on a tensor": state_dict(tensor() + b"}" + text("__class__") + b"Nsb"),
    "build on a name": b"\x80\x02ctorch\nFloatStorage\n}b.",
    "setitem on a tensor": b"\x80\x02" + tensor() + text("w") + b"Ns.",
    "append to a dict": b"\x80\x02}Na.",
    "ext1": b"\x80\x02\x82\x01.",
    "ext2": b"\x80\x02\x83\x01\x00.",
    "ext4": b"\x80\x02\x84\x01\x00\x00\x00.",
    "persid": b"\x80\x02Pstorage\n.",
    "persistent id of a call": b"\x80\x02cos\nsystem\n" + CALL_SYSTEM + b"RQ.",
    "reduce of a value": b"\x80\x02X\x02\x00\x00\x00os)R.",
    "reduce of a passive name": b"\x80\x02ctorch\nFloatStorage\n(K\x04tR.",
    "nested in a state dict": state_dict(
        b"(ccollections\nOrderedDict\n)R" + text("a") + b"cos\nsystem\n" + CALL_SYSTEM + b"Rsl"
    ),
    "in the attributes": b"\x80\x02ccollections\nOrderedDict\n)R}"
    + text("_metadata")
    + b"cos\nsystem\n"
    + CALL_SYSTEM
    + b"Rsb.",
    "in the hooks": state_dict(tensor()[:-4] + b"cos\nsystem\n" + CALL_SYSTEM + b"RtR"),
    "pickle in pickle": b"\x80\x02c_pickle\nloads\n(C\x10" + b"cos\nsystem\n(Nt.." + b"tR.",
    "import": b"\x80\x02cimportlib\nimport_module\n(" + text("this") + b"tR.",
    "getattr": b"\x80\x02cbuiltins\ngetattr\n(" + text("x") + text("upper") + b"tR.",
    "torch load": b"\x80\x02ctorch\nload\n(" + text("/etc/passwd") + b"tR.",
    "open": b"\x80\x02cio\nopen\n(" + text("/etc/passwd") + b"tR.",
    "codec": b"\x80\x02c_codecs\nencode\n(" + text("x") + text("zlib_codec") + b"tR.",
    "codec of its own": b"\x80\x02c_codecs\nencode\n(" + text("x") + text("os") + b"tR.",
    "long number": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "negative number of bytes": b"\x80\x02\x8b\xff\xff\xff\xff.",
    "long text": b"\x80\x02X\xff\xff\xff\xff.",
    "longer text": b"\x80\x04\x8d" + b"\xff" * 8 + b".",
    "frame": b"\x80\x04\x95" + b"\xff" * 8 + b"N.",
    "protocol": b"\x80\x09N.",
    "memo": b"\x80\x02h\x07.",
    "no stop": b"\x80\x02N",
    "empty stack": b"\x80\x02.",
    "marks": b"\x80\x02" + b"(" * 100_000 + b".",
    "deep key": b"\x80\x02}" + b")" + b"\x85" * 100_000 + b"Ns.",
    "list key": b"\x80\x02}]Ns.",
    "odd dict": b"\x80\x02}(NNNu.",
    "cyclic": state_dict(b"]q\x00h\x00a"),
    "cyclic dicts": b"\x80\x02}q\x00" + text("w") + b"h\x00s" + text("v") + b"h\x00s.",
    "lists for ever": b"\x80\x02" + b"]" * 5_000_000 + b".",
    "offset": state_dict(tensor(offset=3)),
    "stride": state_dict(tensor(stride=b"K\x04\x85")),
    "negative stride": state_dict(tensor(stride=b"J\xff\xff\xff\xff\x85")),
    "huge shape": state_dict(tensor(shape=b"\x8a\x06\xff\xff\xff\xff\xff\x00\x85", stride=b"K\x00\x85")),
    "huge shape, two axes": state_dict(
        tensor(shape=b"\x8a\x05\xff\xff\xff\xff\x0f" * 2 + b"\x86", stride=b"K\x00K\x00\x86")
    ),
    "ranks differ": state_dict(tensor(stride=b"K\x01K\x01\x86")),
    "numel too large": state_dict(tensor(numel=b"K\x05")),
    "numel too small": state_dict(tensor(numel=b"K\x03")),
    "numel negative": state_dict(tensor(numel=b"J\xff\xff\xff\xff")),
    "bool as size": state_dict(tensor(shape=b"\x88\x85")),
    "other key": state_dict(tensor().replace(b"X\x01\x00\x00\x000", text("7"))),
    "key that climbs": state_dict(tensor().replace(b"X\x01\x00\x00\x000", text("../version"))),
    "storage is a list": state_dict(b"ctorch._utils\n_rebuild_tensor_v2\n(]K\x00K\x02\x85K\x01\x85\x89}tR"),
    "too few arguments": state_dict(b"ctorch._utils\n_rebuild_tensor_v2\n)R"),
    "bad text": state_dict(b"X\x02\x00\x00\x00\xff\xfe"),
}


#: What a name does where no tensor lies in it: nothing.
NOT_ASKED_FOR = ("nested in a state dict", "in the attributes")
MALFORMED = ("persistent id of a call", "stack global, built")

EVENTS, WATCHING = [], []


BAD_EVENTS = (
    "import",
    "exec",
    "compile",
    "open",
    "marshal",
    "pickle",
    "code.",
    "ctypes",
    "subprocess",
    "os.",
    "shutil",
    "socket",
    "object.__setattr__",
)


def _watch(event, arguments):
    if WATCHING and event.startswith(BAD_EVENTS):
        EVENTS.append((event, arguments))


sys.addaudithook(_watch)


def watched(call):
    """What ``call`` raised; fails where anything was imported, run, opened or compiled meanwhile."""
    EVENTS.clear()
    WATCHING.append(True)
    try:
        call()
        raised = None
    except BaseException as error:  # noqa: BLE001 - the test is what kind it is
        raised = error
    finally:
        WATCHING.clear()
    assert EVENTS == []
    return raised


def test_the_hook_sees_what_pickle_would_do():
    def run():
        pickle.loads(b"\x80\x02cthis_is_no_module\nsystem\n.")

    with pytest.raises(AssertionError):
        watched(run)


def test_a_sound_file_reads_without_any_event():
    data = (DATA / "net.pt").read_bytes()
    assert watched(lambda: tensors_of(data)) is None
    assert watched(lambda: tensors_of(torch_zip(state_dict(tensor()), _0=bytes(16)))) is None


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles(name):
    pickled = HOSTILE[name]
    data = torch_zip(pickled, _0=bytes(16))
    raised = watched(lambda: tensors_of(data, where="hostile.pt"))
    assert isinstance(raised, (UnsupportedModelError, ModelFileError, ResourceLimitError)), raised
    assert "hostile.pt" in str(raised) and len(str(raised)) < 2000
    if b"system" in pickled and name not in ("pickle in pickle", *MALFORMED, *NOT_ASKED_FOR):
        assert isinstance(raised, UnsupportedModelError) and (
            "os.system" in str(raised) or "posix.system" in str(raised)
        )
    legacy = (DATA / "net_legacy.pt").read_bytes()
    start = legacy.index(b"\x80\x02}q\x00(X\x05\x00\x00\x00epoch")
    raised = watched(lambda: tensors_of(legacy[:start] + pickled))
    assert isinstance(raised, RnnrtError), raised


# ---- hostile containers ------------------------------------------------------------------------------------


def overlapping():
    """A member whose bytes are also another one's header and bytes (CVE-2024-0450)."""
    inner = zipped({"ab": b"x" * 50})
    data = bytearray(zipped({"aa": inner[: inner.index(b"PK\x01\x02")], "ab": b"x" * 50}))
    last = data.rindex(b"PK\x01\x02")
    data[last + 42 : last + 46] = struct.pack("<I", data.index(b"PK\x03\x04", 4))
    return bytes(data)


def bomb(size, declared=None):
    """``size`` zeros deflated, said to be ``declared`` bytes."""
    data = bytearray(zipped({"b": bytes(size)}, zipfile.ZIP_DEFLATED))
    if declared is not None:
        for mark, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
            at = data.index(mark) + place
            data[at : at + 4] = struct.pack("<I", declared)
    return bytes(data)


def encrypted():
    data = bytearray(zipped({"a": b"x"}))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    return bytes(data)


def many():
    return b"PK\x03\x04" + b"PK\x01\x02" * 100_000


def swapped(old, new):
    data = zipped({old: b"x" * 9})
    return data.replace(old.encode(), new)


def local_only(field, value):
    data = bytearray(zipped({"a": b"x" * 9}))
    data[field : field + len(value)] = value
    return bytes(data)


ARCHIVES = {
    "overlap": (overlapping(), "overlaps another"),
    "duplicate": (zipped({"aa": b"1", "ab": b"2"}).replace(b"ab", b"aa"), "twice"),
    "climbing": (swapped("xx/a", b"../a"), "plain relative path"),
    "absolute": (swapped("xa", b"/a"), "plain relative path"),
    "drive": (swapped("xx/a", b"c:/a"), "plain relative path"),
    "backslash": (swapped("xx/a", b"..\\a"), "plain relative path|disagree"),
    "nul": (swapped("xx/a", b"xx\0a"), "plain relative path"),
    "name": (local_only(30, b"b"), "disagree"),
    "size": (local_only(22, struct.pack("<I", 5)), "disagree"),
    "checksum": (local_only(14, b"\0\0\0\0"), "disagree"),
    "method": (local_only(8, b"\x08"), "disagree"),
    "data": (local_only(31, b"y"), "checksum"),
    "junk before": (b"MZ" + zipped({"a": b"x"}), "before the first member"),
    "encrypted": (encrypted(), "encrypted"),
    "bzip2": (zipped({"a": b"x" * 100}, zipfile.ZIP_BZIP2), "compression"),
    "bomb": (bomb(20 << 20), "compressed beyond"),
    "lying bomb": (bomb(1 << 20, declared=64), "unpack to its size"),
    "short": (bomb(1 << 10, declared=1 << 16), "unpack to its size"),
    "many": (many(), "too many"),
    "not a zip": (b"PK\x03\x04" + bytes(50), "cannot be read"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_hostile_archives(name):
    data, words = ARCHIVES[name]

    def read():
        archive = Archive(data, "hostile.zip")
        for member in archive.names:
            archive.read(member)

    raised = watched(read)
    assert isinstance(raised, ModelFileError), raised
    with pytest.raises(ModelFileError, match=words):
        raise raised


def test_an_archive_is_read_as_written():
    members = {"top/a": b"x" * 1000, "top/b": b"", "é": bytes(range(256))}
    for compression in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        archive = Archive(zipped({"top/": b""} | members, compression), "fine.zip")
        assert archive.names == list(members) and "top/" not in archive and "top/a" in archive
        assert {n: archive.read(n) for n in archive.names} == members
    with pytest.raises(ModelFileError, match="missing"):
        archive.read("top/c")
    with pytest.raises(ResourceLimitError, match="'top/a'"):
        Archive(zipped(members), "fine.zip", max_bytes=1100)


def test_zip64_and_streamed_members():
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("big", "w", force_zip64=True) as file,
    ):
        file.write(b"abc" * 1000)

    class Unseekable(io.BytesIO):
        def seekable(self):
            return False

        def tell(self):
            raise OSError

    stream = Unseekable()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("big", b"abc" * 1000)
    for made in (buffer, stream):
        assert Archive(made.getvalue(), "x").read("big") == b"abc" * 1000


@pytest.mark.parametrize("name", ["net.pt", "net_legacy.pt", "net.safetensors"])
def test_truncations_and_mutations(name):
    """A damaged file raises an RnnrtError, or (a flipped bit in an unchecked number) still gives arrays;
    nothing else ever.
    """
    data = (DATA / name).read_bytes()
    for end in range(0, len(data), 23):
        with pytest.raises(RnnrtError):
            tensors_of(data[:end])
    chance, survived = random.Random(7), 0
    for _ in range(700):
        damaged = bytearray(data)
        for _ in range(chance.choice((1, 1, 1, 4, 16))):
            damaged[chance.randrange(len(data) if chance.random() < 0.5 else min(600, len(data)))] = (
                chance.randrange(256)
            )
        try:
            made = tensors_of(bytes(damaged), max_bytes=1 << 24)
        except RnnrtError as error:
            assert len(str(error)) < 5000
        else:
            survived += 1
            assert all(a.dtype == np.float32 for a in made.values())
    assert survived < 690
