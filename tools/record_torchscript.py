"""Records what torch.jit.save writes of the networks of record_pt2.py, traced and traced and frozen:
tests/data/torchscript.tar.xz, which the tests read without PyTorch. What the networks answer is in
onnx_exports.tar.xz and in pt2_*.tar.xz.

    python tools/record_torchscript.py [NETWORK ...]

Needs torch and onnx. Files are NETWORK.WAY.pt: ``traced`` with an example of batch 2 and 7 frames, ``frozen``
(its weights are constants, and it says no sizes). What says where code came from is taken out.
"""

import io
import sys
import tarfile
import warnings
import zipfile
from pathlib import Path

import torch
from record_pt2 import NETWORKS, STEPS, module, sample, state_of, stepping

_LEFT_OUT = (".debug_pkl", "serialization_id")


def traced(name):
    """{"traced": what torch.jit.save writes, "frozen": ...}"""
    if name in STEPS:
        network, given = stepping(name), (torch.randn(2, 5), *state_of(name, 2))
    else:
        network = module(name)
        given = tuple(torch.from_numpy(x) for x in sample(name, 2, 8 if name == "conv_lstm" else 7))
    made = torch.jit.trace(network, given, strict=False)
    return {"traced": _saved(made), "frozen": _saved(torch.jit.freeze(made))}


def _saved(made):
    held, bare = io.BytesIO(), io.BytesIO()
    torch.jit.save(made, held)
    with zipfile.ZipFile(held) as source, zipfile.ZipFile(bare, "w") as copy:
        for name in source.namelist():
            if not name.endswith(_LEFT_OUT):
                copy.writestr(zipfile.ZipInfo(name), source.read(name))
    return bare.getvalue()


def main(names):
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    destination = Path(__file__).parents[1] / "tests/data/torchscript.tar.xz"
    with tarfile.open(destination, "w:xz", preset=9) as archive:
        for name in names or (*NETWORKS, *STEPS):
            for way, content in traced(name).items():
                member = tarfile.TarInfo(f"{name}.{way}.pt")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    print(f"{destination}: {destination.stat().st_size:,} bytes, torch {torch.__version__}")


if __name__ == "__main__":
    main(sys.argv[1:])
