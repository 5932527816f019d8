"""Keras networks as tf2onnx and TFLite's converter write them, against Keras: tools/record_keras_exports.py.
PyTorch's exports: tests/onnx, tests/pt2 and tests/torchscript.
"""

import keras_exports
import pytest
from table_of_formats import File, imported, outcome

import rnnrt
from rnnrt.passes import optimise

FILES, _ = keras_exports.recorded()
#: Files of a fixed number of frames that hold for that many alone: loops count to it, and shapes of
#: convolutions are written out.
FIXED = {name: 7 for name in keras_exports.SHAPES} | {"conv_lstm": 8}
for _name in ("lstm", "lstm_last"):  # one operator, for any number of frames
    del FIXED[_name]

#: its norm takes the frames for rows: the file says that it has one, and not that they are of one row
REFUSED = ["norm_gru.seven.tflite"]


@pytest.mark.parametrize("file", [f for f in FILES if f not in REFUSED])
def test_a_file_answers_as_keras_does(file, tmp_path):
    network, _, way = file.partition(".")
    found = outcome(File(network, way, FILES[file], keras_exports), f".{way.rpartition('.')[2]}", tmp_path)
    assert found.mark == (f"={FIXED[network]}" if way.startswith("seven") and network in FIXED else "="), (
        found.why
    )


@pytest.mark.parametrize("file", REFUSED)
def test_a_shape_of_fixed_frames_is_refused(file, tmp_path):
    path = tmp_path / "m.tflite"
    path.write_bytes(FILES[file])
    with pytest.raises(
        rnnrt.UnsupportedModelError, match="holds batch or time as a constant.* open: keras.Input"
    ):
        imported(path)


@pytest.mark.parametrize("name, kinds", [("norm_gru", "layer_normalization gru"), ("hand_gru", "gru")])
@pytest.mark.parametrize("way", ["open.tflite", "tf2onnx17.onnx"])
def test_what_is_spelled_out_is_the_layer_it_computes(name, kinds, way, tmp_path):
    path = tmp_path / f"m.{way}"
    path.write_bytes(FILES[f"{name}.{way}"])
    found = [layer.kind for layer in optimise(imported(path).graph).layers]
    assert set(kinds.split()) <= set(found) and "scan" not in found
