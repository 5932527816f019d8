"""Records checkpoints of TensorFlow, weights alone, with the network's to_json() and what it answers.

    python tools/record_checkpoints.py save FOLDER     in an environment of TensorFlow
    python tools/record_checkpoints.py pack FOLDER     tests/data/keras/checkpoints.tar.xz

The first writes FOLDER/VERSION/NAME.index, NAME.data-00000-of-00001, NAME.json and NAME.npz (x, y). Recorded
with TensorFlow 2.15.1.
"""

import sys
import tarfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PACKED = ROOT / "tests" / "data" / "keras" / "checkpoints.tar.xz"


def networks(keras):
    """{name: what makes it}."""
    layers, frames = keras.layers, lambda width=3: keras.Input((None, width))

    def chain():
        return keras.Sequential(
            [
                frames(),
                layers.Masking(9.0),
                layers.Conv1D(4, 3, padding="causal", activation="relu"),
                layers.BatchNormalization(),
                layers.Dropout(0.3),
                layers.LSTM(5, return_sequences=True),
                layers.Dense(2, activation="softmax"),
            ]
        )

    def branches():
        x = frames()
        a = layers.Bidirectional(layers.GRU(3, return_sequences=True))(x)
        b = layers.Dense(6, use_bias=False)(x)
        inner_x = frames(6)
        inner = keras.Model(
            inner_x, layers.LayerNormalization()(layers.SimpleRNN(4, return_sequences=True)(inner_x))
        )
        return keras.Model(x, layers.Concatenate()([inner(a), inner(b)]))

    def ids():
        x = keras.Input((None,), dtype="int32")
        return keras.Model(x, layers.Dense(3)(layers.LSTM(4)(layers.Embedding(7, 5)(x))))

    return {"chain": chain, "branches": branches, "ids": ids}


def save(folder):
    import tensorflow as tf

    folder = Path(folder) / tf.__version__.rpartition(".")[0]
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in networks(tf.keras).items():
        for how in ("weights", "trained", "train.Checkpoint"):
            tf.keras.backend.clear_session()
            tf.keras.utils.set_random_seed(3)
            model = make()
            whole = name == "ids"
            random = np.random.default_rng(0)
            x = random.integers(0, 7, (2, 6)) if whole else random.normal(size=(2, 6, 3)).astype("f4")
            model.set_weights([w + 0.1 * random.normal(size=w.shape) for w in model.get_weights()])
            if how == "trained":
                model.compile("adam", "mse")
                model.fit(x, np.zeros_like(model.predict(x, verbose=0)), epochs=1, verbose=0)
            prefix = folder / f"{name}_{how}"
            if how == "train.Checkpoint":
                tf.train.Checkpoint(step=tf.Variable(3), model=model).write(str(prefix))
            else:
                model.save_weights(str(prefix), save_format="tf")
            Path(f"{prefix}.json").write_text(model.to_json())
            np.savez(f"{prefix}.npz", x=x, y=model.predict(x, verbose=0))


def pack(folder):
    with tarfile.open(PACKED, "w:xz", preset=9) as archive:
        for path in sorted(Path(folder).rglob("*")):
            if path.is_file() and path.name != "checkpoint":
                entry = archive.gettarinfo(path, str(path.relative_to(folder)))
                entry.mtime = entry.uid = entry.gid = 0
                entry.uname = entry.gname = ""
                entry.mode = 0o644
                with path.open("rb") as content:
                    archive.addfile(entry, content)


if __name__ == "__main__":
    {"save": save, "pack": pack}[sys.argv[1]](sys.argv[2])
