"""The SavedModel folders that tools/record_saved_models.py recorded, taken to pieces, changed and put
together again with checksums that are right.
"""

import copy
import json
import os
import pickle
import struct
from functools import cache
from pathlib import Path

from archives import unpacked
from mutants import bytes_changed, value_changed
from onnx_bytes import message, varint

from rnnrt.importers.containers import leveldb, protobuf
from rnnrt.importers.containers.crc32c import checksum, masked
from rnnrt.importers.containers.tensor_bundle import _MESSAGES as BUNDLE
from rnnrt.importers.keras.saved_model import _METADATA_MESSAGES
from rnnrt.importers.keras.tracked import _GRAPH_MESSAGES

METADATA, PROGRAM = "keras_metadata.pb", "saved_model.pb"
INDEX, DATA = "variables/variables.index", "variables/variables.data-00000-of-00001"
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
FLOAT, STRING = 1, 7


@cache
def recorded():
    """({"2.15/lstm": {path in the folder: content}}, {"2.15/lstm": {"x0", "y0", ...}})."""
    folders, answers = {}, {}
    for path, content in unpacked("keras/saved_models.tar.xz"):
        if path.endswith(".npz"):
            answers[path.removesuffix(".npz")] = content
            continue
        version, name, own = path.split("/", 2)
        folders.setdefault(f"{version}/{name}", {})[own] = content
    return folders, answers


def written(folder, files):
    """The path of a folder with these files."""
    for name, content in files.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return os.fspath(folder)


# ---- taken to pieces ---------------------------------------------------------------------------------------


def parts(files):
    """What a folder holds, as lists that a test may change:

    "layers" [path, identifier, values]; "objects" {"children": [name, number], "attributes": [name, full
    name, key]}; "tensors" {name: [type, shape, content]}; "header" [shards, endianness].
    """
    found = {"layers": [], "objects": [], "tensors": {}, "header": [1, 0]}
    for node in protobuf.read(files[METADATA], "SavedMetadata", _METADATA_MESSAGES, "").nodes:
        found["layers"].append([node.path, node.identifier, json.loads(node.metadata)])
    for key, value in leveldb.read(files[INDEX], "").items():
        if key:
            entry = protobuf.read(bytes(value), "BundleEntry", BUNDLE, "")
            shape = [d.size or 0 for d in entry.shape.dim] if entry.shape else []
            start = entry.offset or 0
            content = files[DATA][start : start + entry.size]
            found["tensors"][key.decode()] = [entry.dtype, shape, content]
    graph = found["tensors"].pop(GRAPH)[2]
    text = graph[next(k for k, byte in enumerate(graph) if byte < 128) + 5 :]
    for node in protobuf.read(text, "TrackableObjectGraph", _GRAPH_MESSAGES, "").nodes:
        found["objects"].append(
            {
                "children": [[c.name, c.node or 0] for c in node.children],
                "attributes": [[a.name, a.full_name, a.key] for a in node.attributes],
            }
        )
    return found


def child(found, *names):
    """The number of the object that attributes lead to."""
    number = 0
    for name in names:
        number = dict(found["objects"][number]["children"])[name]
    return number


def layer(found, path):
    """The values of the layer at a path, "root.layer_with_weights-0"."""
    return next(values for p, _, values in found["layers"] if p == path)


# ---- put together ------------------------------------------------------------------------------------------


def files(found, **table_options):
    """A folder's files of ``parts``."""
    tensors = dict(found["tensors"])
    if found["objects"] is not None:
        tensors[GRAPH] = [STRING, [], text_tensor(graph_bytes(found["objects"]))]
    entries, data = {b"": message((1, found["header"][0]), (2, found["header"][1]))}, b""
    for name in sorted(tensors):
        kind, shape, content = tensors[name]
        crc = text_checksum(content) if kind == STRING else masked(checksum(content))
        dims = b"".join(varint(2 << 3 | 2) + varint(len(d)) + d for d in (message((1, n)) for n in shape))
        own = message((1, kind), (2, dims), (4, len(data)), (5, len(content)))
        entries[name.encode()] = own + varint(6 << 3 | 5) + struct.pack("<I", crc)
        data += content
    return {
        METADATA: b"".join(
            varint(1 << 3 | 2) + varint(len(m)) + m
            for m in (message((3, p), (4, kind), (5, json.dumps(v))) for p, kind, v in found["layers"])
        ),
        INDEX: table(entries, **table_options),
        DATA: data,
    }


def graph_bytes(objects):
    made = b""
    for own in objects:
        children = [(1, message((1, number), (2, name))) for name, number in own["children"]]
        attributes = [(2, message((1, a), (2, b), (3, c))) for a, b, c in own["attributes"]]
        made += message((1, message(*children, *attributes)))
    return made


def text_tensor(text):
    """A tensor of one string."""
    return varint(len(text)) + struct.pack("<I", masked(checksum(struct.pack("<I", len(text))))) + text


def text_checksum(content):
    start = next((k for k, byte in enumerate(content) if byte < 128), 0) + 1
    text = content[start + 4 :]
    return masked(checksum(content[start:], checksum(struct.pack("<I", len(text)))))


def block(entries, kind=0, restarts=1):
    """A block of a table and its trailer; every key whole."""
    body = b"".join(varint(0) + varint(len(k)) + varint(len(v)) + k + v for k, v in entries)
    body += bytes(4 * min(restarts, 1)) + struct.pack("<I", restarts)
    return body, bytes([kind]) + struct.pack("<I", masked(checksum(body + bytes([kind]))))


def table(entries, sort=True, kind=0, restarts=1):
    """A table of LevelDB of one block."""
    items = sorted(entries.items()) if sort else list(entries.items())
    own, trailer = block(items, kind, restarts)
    made, handles = own + trailer, [varint(0) + varint(len(own))]
    for what in ([], [(items[-1][0], handles[0])]):
        own, trailer = block(what)
        handles.append(varint(len(made)) + varint(len(own)))
        made += own + trailer
    return made + (handles[1] + handles[2]).ljust(40, b"\0") + leveldb.LEVELDB_END


# ---- changed -----------------------------------------------------------------------------------------------

_TYPES = (0, 1, 2, 3, 7, 9, 10, 14, 19, 20, 101)
_SIZES = (-1, 0, 1, 2, 3, 4, 6, 12, 1 << 31, (1 << 63) - 1)


def mutant(found, content, draw):
    """The files of a folder with something changed: bytes of a file, or a part, with right checksums.

    ``content``: its files; ``found``: their ``parts``.
    """
    if draw.random() < 0.2:
        name = draw.choice(sorted(content))
        return content | {name: bytes_changed(content[name], draw)}
    found, options = pickle.loads(pickle.dumps(found)), {}
    for _ in range(draw.randrange(1, 3)):
        match draw.randrange(12):
            case 0 | 1:
                value_changed(draw.choice(found["layers"])[2], draw)
            case 2 | 3 | 4:
                _alike(found, draw)
            case 5 | 6:
                _objects(found["objects"], draw)
            case 7:
                a, b = (draw.choice(found["objects"])["attributes"] for _ in range(2))
                if a and b:
                    k = draw.randrange(3)
                    a[0][k], b[0][k] = b[0][k], a[0][k]
            case 8 | 9:
                _tensors(found["tensors"], draw)
            case 10:
                _layers(found["layers"], draw)
            case 11:
                found["header"][draw.randrange(2)] = draw.choice((0, 1, 2, -1, 1 << 40))
                options = draw.choice(
                    ({}, {}, {"sort": False}, {"kind": draw.randrange(8)}, {"restarts": draw.randrange(99)})
                )
    return files(found, **options)


def _alike(found, draw):
    """Another option for a layer, wherever it stands."""
    _, _, values = draw.choice(found["layers"])
    config = copy.deepcopy(values.get("config"))
    if isinstance(config, dict) and config:
        value_changed(config, draw, keep=("layers",))
        name = values.get("name")

        def change(tree):
            for value in tree.values() if isinstance(tree, dict) else tree:
                own = value.get("config") if isinstance(value, dict) else None
                if isinstance(own, dict) and own.get("name") == name:
                    value["config"] = copy.deepcopy(config)  # not looked into: it may hold the name again
                elif isinstance(value, (dict, list)):
                    change(value)

        change([values for _, _, values in found["layers"]])


def _objects(objects, draw):
    own = draw.choice(objects)["children"]
    match draw.randrange(6) if own else 6:
        case 0:
            draw.choice(own)[1] = draw.randrange(-1, len(objects) + 1)
        case 1:
            del own[draw.randrange(len(own))]
        case 2:
            a, b = draw.choice(own), draw.choice(own)
            a[1], b[1] = b[1], a[1]
        case 3:
            draw.choice(own)[0] = draw.choice(draw.choice(objects)["children"] or [["x"]])[0]
        case 4:
            own.append(["new", draw.randrange(len(objects))])
        case 5:
            del objects[draw.randrange(len(objects))]


def _tensors(tensors, draw):
    name = draw.choice(sorted(tensors))
    kind, shape, content = tensors[name]
    match draw.randrange(7):
        case 0:
            kind = draw.choice(_TYPES)
        case 1:
            shape = [draw.choice(_SIZES) for _ in range(draw.randrange(10))]
        case 2:
            shape = shape[::-1]
        case 3:
            content = bytes_changed(content or b"\0", draw)
        case 4:
            del tensors[name]
            name = draw.choice(("new", "variables/0/.ATTRIBUTES/VARIABLE_VALUE", f"{name}x"))
        case 5:
            _, shape, content = tensors[draw.choice(sorted(tensors))]
        case 6:
            del tensors[name]
            return
    tensors[name] = [kind, shape, content]


def _layers(layers, draw):
    one = draw.choice(layers)
    match draw.randrange(5):
        case 0:
            layers.remove(one)
        case 1:
            layers.append(one)
        case 2:
            one[0] = draw.choice(("", "root", "root.", "root.layer-9", "x", one[0] + ".cell"))
        case 3:
            one[1] = draw.choice(("", "_tf_keras_layer", "_generic_user_object"))
        case 4:
            other = draw.choice(layers)
            one[2], other[2] = other[2], one[2]
