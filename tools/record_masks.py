"""Records what Keras answers where frames are masked: the networks of tests/support/masked_networks.py, in
the files of the Keras that is installed.

    python tools/record_masks.py record FOLDER [NETWORK ...]    # NETWORK.VERSION.keras, .h5 and .npz
    python tools/record_masks.py pack FOLDER                    # what is there -> tests/data/keras/masks.zip

masks.zip holds what Keras 2.15 and 3.3 (merged alone) answered on TensorFlow and 3.15 on PyTorch: three sets
of rules for masks; of the networks that Keras builds on TensorFlow alone what 2.15 and 3.12 answered. In the
.npz files x0, x1, ... went in and y0, y1, ... came out. The files of Keras 2 are kept as .h5, the others as
.keras.
"""

from __future__ import annotations

import os
import sys
import warnings
import zipfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "support"))


def record(folder, names=()):
    import keras
    import masked_networks
    import numpy as np

    Path(folder).mkdir(parents=True, exist_ok=True)
    tensorflow = keras.__version__ < "3" or keras.backend.backend() == "tensorflow"
    for make in masked_networks.NETWORKS + masked_networks.ON_TENSORFLOW * tensorflow:
        if names and make.__name__ not in names:
            continue
        model, given = masked_networks.built(make, keras)
        inputs = list(given.values())
        answers = model(inputs if len(inputs) > 1 else inputs[0], training=False)
        answers = answers if isinstance(answers, (list, tuple)) else [answers]
        answers = [np.asarray(y.detach() if hasattr(y, "detach") else y) for y in answers]
        stem = Path(folder) / f"{make.__name__}.{keras.__version__}"
        for suffix in (".keras", ".h5"):
            model.save(f"{stem}{suffix}")
        arrays = {f"x{k}": x for k, x in enumerate(inputs)} | {f"y{k}": y for k, y in enumerate(answers)}
        np.savez_compressed(f"{stem}.npz", **arrays)
        print(f"{stem.name}: {len(answers)} outputs")


def pack(folder):
    """Every recorded network once, deflated, with the same bytes for the same records."""
    target = ROOT / "tests" / "data" / "keras" / "masks.zip"
    with zipfile.ZipFile(target, "w") as packed:
        for arrays in sorted(Path(folder).glob("*.npz")):
            old = arrays.name.split(".", 1)[1].startswith("2.")
            for path in (arrays.with_suffix(".h5" if old else ".keras"), arrays):
                info = zipfile.ZipInfo(path.name)
                packed.writestr(info, path.read_bytes(), zipfile.ZIP_DEFLATED, compresslevel=9)
    print(target, target.stat().st_size)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if sys.argv[1] == "record":
        record(sys.argv[2], sys.argv[3:])
    else:
        pack(sys.argv[2])
