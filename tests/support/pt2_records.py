"""The torch.export archives that tools/record_pt2.py recorded, and parts of them changed."""

import io
import json
import zipfile
from functools import cache

from archives import unpacked

VERSIONS = ("2.7", "2.13")
WAYS = ("fixed", "open")


@cache
def recorded(version="2.13"):
    """{"lstm.open": content of a file, "cells": {"x", "y"}}."""
    return {name.rpartition(".")[0]: content for name, content in unpacked(f"pt2_{version}.tar.xz")}


def program_of(content):
    """The JSON of an archive's program."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return json.loads(archive.read(_model(archive)))


def changed(content, change=None, members=None, left_out=()):
    """An archive whose program is ``change(JSON)``, with ``members`` {the end of a name: content} in the
    place of its own or beside them.
    """
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(made, "w") as copy:
        model, members = _model(source), dict(members or {})
        for name in source.namelist():
            data = source.read(name)
            if name == model and change is not None:
                program = json.loads(data)
                program = change(program) or program
                data = program if isinstance(program, bytes) else json.dumps(program).encode()
            own = next((end for end in members if name.endswith(end)), None)
            data = members.pop(own) if own else data
            if not any(name.endswith(end) for end in left_out):
                copy.writestr(name, data)
        for name, data in members.items():
            copy.writestr(name, data)
    return made.getvalue()


def with_inputs(content):
    """An archive with sample inputs, of which torch wants some and the recorded ones have none."""
    import torch

    held = io.BytesIO()
    torch.save(((), {}), held)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
    root = next((n.partition("/")[0] for n in names if "/models/" in n), None)
    member = f"{root}/data/sample_inputs/model.pt" if root else "serialized_example_inputs.pt"
    return content if member in names else changed(content, None, {member: held.getvalue()})


def _model(archive):
    return next(n for n in archive.namelist() if "/models/" in n or n == "serialized_exported_program.json")


def nodes_of(program, word):
    """The nodes of an operator."""
    return [n for n in program["graph_module"]["graph"]["nodes"] if f".{word}." in n["target"]]


def argument(node, name):
    """The argument of a node, by its name."""
    return next(i for i in node["inputs"] if i["name"] == name)["arg"]
