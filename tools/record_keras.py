"""Records what Keras answers: small models in tests/data/keras/models.zip, their inputs and outputs in
answers.npz beside it.

    KERAS_BACKEND=torch python tools/record_keras.py

The models are those of keras_networks.py. All weights are random and asymmetric, biases and moving statistics
too. Each model answers sequences of several lengths. Some are stored as .keras, some as .h5 as Keras 3 writes
it, some as .h5 in the words of Keras 2 (see keras2_file).
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import zipfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

import h5py
import keras
import keras_networks as networks
import numpy as np
import torch
from keras_networks import flat

torch.set_num_threads(1)
FOLDER = Path(__file__).resolve().parent.parent / "tests" / "data" / "keras"
SEQUENCES, WINDOWS = ((3, 1), (2, 2), (1, 50)), ((2, 9), (1, 10), (1, 50))  # (batch, time)


def randomise(model, rng):
    """Every variable: matrices small enough to be stable in a recurrence, variances positive, nothing
    symmetric.
    """
    for v in model.weights:
        if v.dtype == "uint32":
            continue
        if len(v.shape) > 1:
            value = rng.uniform(-1, 1, v.shape) * 0.9 / np.sqrt(np.prod(v.shape[:-1]))
        else:
            value = rng.uniform(-0.5, 0.5, v.shape)
        if v.path.endswith(("moving_variance", "gamma")):
            value = value + 1.2
        v.assign(value.astype(np.float32))


def inputs_of(model, batch, time, rng):
    made = {}
    for x in model.inputs:
        shape = (batch, *(time if n is None else n for n in x.shape[1:]))
        made[x.name] = (
            rng.integers(0, 11, shape).astype(np.int32)
            if x.name == "ids"
            else rng.normal(size=shape).astype(np.float32)
        )
    return made


def saved(model, suffix):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"model{suffix}"
        model.save(path) if suffix != ".weights.h5" else model.save_weights(path)
        return path.read_bytes()


def smaller(keras_file):
    """The same .keras archive, deflated."""
    target = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(keras_file)) as source,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as packed,
    ):
        for name in source.namelist():
            packed.writestr(zipfile.ZipInfo(name), source.read(name), zipfile.ZIP_DEFLATED)
    return target.getvalue()


def keras2_file(model, version, names):
    """``model`` as Keras 2 would have written it: its spelling of configs and nodes, attributes as bytes,
    flat lists of arrays.

    ``names``: "layer" for lstm_1/kernel:0 (Keras 2), "cell" for lstm_1/lstm_cell/kernel:0 (tf.keras).
    """
    target = io.BytesIO()
    with h5py.File(target, "w") as file:
        file.attrs["model_config"] = json.dumps(
            _keras2(keras.saving.serialize_keras_object(model), version)
        ).encode()
        file.attrs["keras_version"], file.attrs["backend"] = version.encode(), b"tensorflow"
        group = file.create_group("model_weights")
        group.attrs["keras_version"] = version.encode()
        group.attrs["layer_names"] = [x.name.encode() for x in model.layers]
        file.create_group("optimizer_weights").create_dataset("iterations:0", data=np.int64(3))
        for layer in model.layers:
            inner, stored = group.create_group(layer.name), []
            for v in (*layer.trainable_weights, *layer.non_trainable_weights):
                parts = v.path.split("/")
                parts = parts if names == "cell" else [p for p in parts if not p.endswith("_cell")]
                stored.append("/".join([layer.name] * (parts[0] != layer.name) + parts) + ":0")
                inner.create_dataset(stored[-1], data=v.numpy())
            inner.attrs["weight_names"] = [n.encode() for n in stored]
    return target.getvalue()


def _keras2(value, version):
    """A Keras 3 description in the words of Keras 2."""
    if isinstance(value, list):
        return [_keras2(v, version) for v in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "function":
        return "hard_sigmoid"
    if value.get("class_name") == "DTypePolicy":
        return "float32"
    made = {
        k: _keras2(v, version)
        for k, v in value.items()
        if k
        not in (
            "module",
            "registered_name",
            "build_config",
            "compile_config",
            "zero_output_for_mask",
            "seed",
            "synchronized",
            "renorm",
            "renorm_clipping",
            "renorm_momentum",
            "quantization_config",
            "groups",
            "optional",
        )
    }
    if "batch_shape" in made:
        made["batch_input_shape"] = made.pop("batch_shape")
    if made.get("class_name") == "Functional":
        made["class_name"] = "Model"
    if made.get("class_name") in ("LSTM", "GRU", "SimpleRNN"):
        made["config"] |= {"implementation": 1, "unroll": False} | (
            {"time_major": False} if "tf" in version else {}
        )
    if made.get("class_name") == "Bidirectional":
        made["config"].pop("backward_layer")
        made["config"]["layer"]["config"]["name"] = made["config"]["layer"]["config"]["name"].removeprefix(
            "forward_"
        )
    if made.get("class_name") == "BatchNormalization" and "tf" in version:
        made["config"]["axis"] = [2]
    if made.get("class_name") == "Sequential":
        first, *rest = made["config"]["layers"]
        rest[0]["config"]["batch_input_shape"] = first["config"]["batch_input_shape"]
        made["config"] = {"name": made["config"]["name"], "layers": rest}
    if "inbound_nodes" in value:
        made["inbound_nodes"] = [
            [[*t["config"]["keras_history"], {}] for t in flat(node["args"])]
            for node in value["inbound_nodes"]
        ]
    if isinstance(
        layers := made.get("config", {}).get("layers"), list
    ):  # Keras 2 counts a network's calls from 1
        networks = {layer["config"]["name"] for layer in layers if "layers" in layer["config"]}
        for layer in layers:
            for node in layer.get("inbound_nodes", ()):
                for tensor in node:
                    tensor[1] += tensor[0] in networks
    return made


def main():
    rng = np.random.default_rng(20240229)
    models, answers = {}, {}
    for make, lengths, kinds in (
        (networks.cells, SEQUENCES, (".keras",)),
        (networks.sizes, SEQUENCES, (".keras",)),
        (networks.cell_activations, SEQUENCES, (".keras",)),
        (networks.bidirectional, SEQUENCES, (".keras", ".h5")),
        (networks.stacks, SEQUENCES, (".keras", ".h5")),
        (networks.convolutions, WINDOWS, (".keras",)),
        (networks.pools, WINDOWS, (".keras",)),
        (networks.pointwise, SEQUENCES[1:2], (".keras", ".h5")),
        (networks.text_classifier, SEQUENCES, (".keras", ".h5", ".weights.h5")),
        (networks.forecaster, SEQUENCES[:1], (".keras", ".h5")),
        (networks.branches, SEQUENCES, (".keras", ".h5", ".weights.h5")),
        (networks.words, SEQUENCES[:2], (".keras", ".h5")),
        (networks.old_words, SEQUENCES, ("2.2.4",)),
        (networks.old_series, SEQUENCES, ("2.1.5", "2.4.0-tf")),
        (networks.normalised, SEQUENCES, (".keras", ".h5")),
        *((networks.calls_of("functional", w), SEQUENCES[:2], (".keras", ".h5")) for w in networks.WIRED),
        *((networks.calls_of("sequential", w), SEQUENCES[:2], (".keras",)) for w in networks.WIRED),
        (networks.several_inputs, SEQUENCES[:2], (".keras", ".h5")),
    ):
        keras.utils.clear_session()
        model, name = make(), make.__name__
        randomise(model, rng)
        for batch, time in lengths:
            x = inputs_of(model, batch, time, rng)
            y = flat([model([x[i.name] for i in model.inputs] if len(x) > 1 else next(iter(x.values())))])
            case = f"{name}/{batch}x{time}"
            answers |= {f"{case}/x{i}": value for i, value in enumerate(x.values())}
            answers |= {f"{case}/y{i}": np.asarray(value.detach(), np.float32) for i, value in enumerate(y)}
        for kind in kinds:
            if kind[0] != ".":
                models[f"{name}.keras{kind}.h5"] = keras2_file(
                    model, kind, "cell" if "tf" in kind else "layer"
                )
            else:
                models[f"{name}{kind}"] = (
                    smaller(saved(model, kind)) if kind == ".keras" else saved(model, kind)
                )
                if kind == ".weights.h5":
                    models[f"{name}.json"] = model.to_json().encode()
    FOLDER.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(FOLDER / "models.zip", "w") as packed:
        for name, data in models.items():
            method = zipfile.ZIP_STORED if name.endswith(".keras") else zipfile.ZIP_DEFLATED
            packed.writestr(zipfile.ZipInfo(name), data, method, compresslevel=9 if method else None)
            print(f"{name:40s} {len(data)}")
    with (FOLDER / "answers.npz").open("wb") as file:
        np.savez_compressed(file, **answers)
    for path in sorted(FOLDER.iterdir()):
        print(path.name, path.stat().st_size)


if __name__ == "__main__":
    main()
