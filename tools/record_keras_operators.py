"""Records networks of tf.keras in which functions and operators of TensorFlow stand between layers, and what
it answers.

    python tools/record_keras_operators.py save FOLDER     once in an environment of each TensorFlow
    python tools/record_keras_operators.py pack FOLDER     tests/data/keras/operators.tar.xz

The first writes FOLDER/VERSION/NAME.h5, from 2.12 on NAME.keras, and NAME.npz (x0, y). TensorFlow 2.4 to
2.15 write the layers TFOpLambda and SlicingOpLambda, before 2.4 TensorFlowOpLayer. Recorded with TensorFlow
2.15.1 (all), and of EVERYWHERE with 2.12.1, 2.9.3, 2.5.3, 2.4.4 and 2.3.4.
"""

import io
import sys
import tarfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
PACKED = ROOT / "tests" / "data" / "keras" / "operators.tar.xz"
EVERYWHERE = ("numbers", "tensors", "parts", "reductions", "functions", "attention")


def networks(tf):
    """{name: f(x of (batch, 8, 3), h of (batch, 8, 4))}."""
    layers, math, nn = tf.keras.layers, tf.math, tf.nn
    dense = lambda n, x: layers.Dense(n)(x)
    last = lambda x: layers.LSTM(4)(x)

    def attention(x, h):
        weights = nn.softmax(tf.reduce_sum(h * tf.expand_dims(last(x), 1), axis=-1, keepdims=True), axis=1)
        return tf.reduce_sum(weights * h, axis=1)

    def products(x, h):
        score = tf.matmul(h, tf.expand_dims(last(x), -1))
        return tf.squeeze(tf.matmul(nn.softmax(score, axis=1), h, transpose_a=True), [1])

    return {
        "numbers": lambda x, h: 1.0 - h * 2.0 + h / 3.0 - 0.5,
        "tensors": lambda x, h: (h + dense(4, x)) * dense(1, x) - dense(4, x) / (2.0 + h * h),
        "parts": lambda x, h: h[:, -1] * h[:, 0, :] + h[:, 3, 1:2],
        "more_parts": lambda x, h: h[:, 2:-1, :2] - h[:, 1:-2, 2:] + h[..., 1:6, 1:3],
        "reductions": lambda x, h: tf.concat(
            [tf.reduce_mean(h, axis=1), tf.reduce_max(h, axis=1), tf.reduce_sum(h, 1)], axis=-1
        ),
        "spread": lambda x, h: tf.concat([math.reduce_std(h, 1), math.reduce_variance(h, 1)], -1),
        "functions": lambda x, h: tf.sqrt(tf.abs(h) + 1.0) * tf.exp(h) - tf.square(h) + math.log(2.0 + h),
        "activations": lambda x, h: nn.relu(h) + tf.sigmoid(h) * tf.tanh(h) + nn.elu(h) + nn.softplus(h),
        "more_activations": lambda x, h: nn.leaky_relu(h, alpha=0.1) + nn.gelu(h) + nn.silu(h) + nn.relu6(h),
        "clipped": lambda x, h: (
            tf.clip_by_value(h, -0.1, 0.2) + tf.maximum(h, 0.05) + tf.minimum(h, dense(4, x))
        ),
        "chosen": lambda x, h: tf.where(h > 0.05, h, dense(4, x)) + tf.cast(h < 0.0, tf.float32),
        "attention": attention,
        "products": products,
        "shapes": lambda x, h: tf.reshape(tf.transpose(h, [0, 2, 1]), [-1, 32]),
        "stacked": lambda x, h: tf.stack([h[:, 0], h[:, 1]], axis=1) + tf.expand_dims(h[:, 2], 1),
        "split": lambda x, h: tf.split(h, 2, axis=-1)[0] * tf.split(h, [3, 1], axis=-1)[1],
        "unstacked": lambda x, h: tf.add_n([tf.negative(h), math.rsqrt(1.0 + h * h), math.pow(h, 2.0)]),
        "einsum": lambda x, h: tf.einsum("btf,bt->bf", h, tf.squeeze(dense(1, x), axis=-1)),
        "gru_behind": lambda x, h: layers.GRU(3, return_sequences=True)(h * 0.5 + dense(4, x)),
    }


def save(folder):
    import tensorflow as tf

    version = tf.__version__
    place = Path(folder) / version
    place.mkdir(parents=True, exist_ok=True)
    random = np.random.RandomState(1)
    given = random.standard_normal((2, 8, 3)).astype(np.float32)
    for name, build in networks(tf).items():
        if not version.startswith("2.15") and name not in EVERYWHERE:
            continue
        tf.keras.backend.clear_session()
        try:
            x = tf.keras.Input((8, 3))
            h = tf.keras.layers.GRU(4, return_sequences=True)(x)
            model = tf.keras.Model(x, build(x, h))
            model.set_weights([random.uniform(-0.7, 0.7, w.shape) for w in model.get_weights()])
            np.savez(place / f"{name}.npz", x0=given, y=model.predict(given))
            model.save(place / f"{name}.h5")
            if tuple(map(int, version.split(".")[:2])) >= (2, 12):
                model.save(place / f"{name}.keras")
        except (TypeError, ValueError, NotImplementedError) as error:
            print(version, name, str(error)[:200])


def pack(folder):
    files = sorted(p for p in Path(folder).rglob("*") if p.suffix in (".h5", ".keras", ".npz"))
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:xz", preset=9) as archive:
        for path in files:
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())
            member.size = path.stat().st_size
            archive.addfile(member, io.BytesIO(path.read_bytes()))
    PACKED.write_bytes(memory.getvalue())
    print(f"{PACKED}: {len(files)} files, {len(memory.getvalue()):,} bytes")


if __name__ == "__main__":
    {"save": save, "pack": pack}[sys.argv[1]](sys.argv[2])
