"""TorchScript archives written by hand: code as text, and modules as the pickles of torch.jit.save."""

import io
import struct
import zipfile

import numpy as np


class Module:
    """An object of a class of the code, as "Net" of code/__torch__.py."""

    def __init__(self, name="Net", **attributes):
        self.name, self.attributes = name, attributes


class Sized:
    """A tensor of an example: sizes alone."""

    def __init__(self, *shape, ids=False):
        self.shape, self.ids = shape, ids


class Pickler:
    """Protocol 2; ``storages``: [bytes] of the tensors."""

    def __init__(self):
        self.storages = []

    def dump(self, value):
        return b"\x80\x02" + self.of(value) + b"."

    def of(self, value):
        match value:
            case None:
                return b"N"
            case bool():
                return b"\x88" if value else b"\x89"
            case int():
                return b"\x8a\x08" + struct.pack("<q", value)
            case float():
                return b"G" + struct.pack(">d", value)
            case str():
                data = value.encode()
                return b"X" + struct.pack("<I", len(data)) + data
            case tuple():
                return b"(" + b"".join(map(self.of, value)) + b"t"
            case list():
                return b"](" + b"".join(map(self.of, value)) + b"e"
            case dict():
                return b"}(" + b"".join(self.of(x) for item in value.items() for x in item) + b"u"
            case Module():
                *folder, name = value.name.split(".")
                where = ".".join(["__torch__", *folder])
                return f"c{where}\n{name}\n)".encode() + b"\x81" + self.of(value.attributes) + b"b"
            case Sized():
                return self.tensor(value.shape, "LongStorage" if value.ids else "FloatStorage", b"")
            case np.ndarray():
                kinds = {"f4": "FloatStorage", "f8": "DoubleStorage", "i8": "LongStorage"}
                return self.tensor(value.shape, kinds[value.dtype.str[1:]], value.tobytes())
        raise TypeError(value)

    def tensor(self, shape, storage, data):
        key = str(len(self.storages))
        self.storages.append(data)
        size = int(np.prod(shape, dtype=int))
        strides = tuple(int(np.prod(shape[k + 1 :], dtype=int)) for k in range(len(shape)))
        reference = b"(" + self.of("storage") + f"ctorch\n{storage}\n".encode()
        reference += self.of(key) + self.of("cpu") + self.of(size) + b"tQ"
        arguments = b"(" + reference + self.of(0) + self.of(tuple(shape)) + self.of(strides)
        arguments += b"\x89" + b"ccollections\nOrderedDict\n)R" + b"t"
        return b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"R"


def archive(code, module, constants=(), example=None, more=None):
    """The content of a file. ``code``: text, or {name of a file below code/: text}; ``example``: what forward
    was traced with.
    """
    members = {}
    for name, value in (("data", module), ("constants", tuple(constants))):
        pickler = Pickler()
        members[f"{name}.pkl"] = pickler.dump(value)
        members |= {f"{name}/{k}": data for k, data in enumerate(pickler.storages)}
    if example is not None:
        members["traced_inputs.pkl"] = Pickler().dump({"forward": list(example)})
    files = code if isinstance(code, dict) else {"__torch__.py": code}
    members |= {f"code/{name}": text.encode() for name, text in files.items()}
    members |= {"version": b"3\n"} | (more or {})
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as file:
        for name, data in members.items():
            file.writestr(f"net/{name}", data)
    return made.getvalue()


def forward(body, given="x: Tensor", name="Net", method="forward", made="Tensor"):
    """A class with one method."""
    head = f"class {name}(Module):\n  training : bool\n"
    head += f"  def {method}(self: __torch__.{name},\n    {given}) -> {made}:\n"
    return head + "".join(f"    {line}\n" for line in body.strip().split("\n"))
