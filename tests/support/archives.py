"""Archives of recorded files in tests/data."""

import io
import tarfile
from pathlib import Path

import numpy as np

DATA = Path(__file__).parents[1] / "data"


def unpacked(name):
    """(name, content) of every file in an archive; an .npz file is {name: array}."""
    with tarfile.open(DATA / name) as archive:
        for member in archive:
            content = archive.extractfile(member).read()
            if member.name.endswith(".npz"):
                with np.load(io.BytesIO(content)) as opened:
                    content = dict(opened)
            yield member.name, content
