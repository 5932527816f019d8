"""GuitarML's captures (Proteus, NeuralPi, SmartAmp's recurrent ones): PyTorch's state dict of an RNN and a
Linear, with the sample itself added to the answer.
"""

from __future__ import annotations

from ...errors import ModelFileError, UnsupportedModelError
from ...layers import Add, Select
from ..captures import Net
from ..containers.json_file import Fields
from ..torch.layers import add_linear, add_rnn

_UNITS = {"LSTM": 4, "GRU": 3, "RNN": 1}
_MOST_LAYERS = 64


def add_guitarml(net: Net, file: Fields) -> str:
    """The network of a file: y = lin(rec(x)) + the first ``skip`` channels of x."""
    data, tensors = file.object("model_data"), file.object("state_dict")
    if data.text("model") != "SimpleRNN":
        raise UnsupportedModelError(
            "this network of GuitarML's trainer is not supported",
            where=data.place("model"),
            expected="SimpleRNN",
        )
    unit = data.text("unit_type")
    if unit not in _UNITS:
        raise UnsupportedModelError(
            "the unit type is not known",
            where=data.place("unit_type"),
            expected=", ".join(_UNITS),
            found=repr(unit[:40]),
        )
    inputs, outputs, hidden = data.count("input_size"), data.count("output_size"), data.count("hidden_size")
    layers, bias, skip = data.count("num_layers"), data.flag("bias_fl"), data.number("skip")
    data.end()
    if skip not in (0, outputs) or skip > inputs or layers > _MOST_LAYERS:
        raise ModelFileError(
            "does not fit",
            where=data.where,
            expected=f"skip 0 or {outputs}, num_layers at most {_MOST_LAYERS}",
            found=f"skip {skip}, num_layers {layers}",
        )
    x = net.builder.input("input", (inputs,))
    rows, arrays = _UNITS[unit] * hidden, {}
    for k in range(layers):
        shapes = {"weight_ih": (rows, hidden if k else inputs), "weight_hh": (rows, hidden)}
        shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)} if bias else {}
        for stem, shape in shapes.items():
            arrays[f"{stem}_l{k}"] = tensors.array(f"rec.{stem}_l{k}", *shape)
    y = add_rnn(net.builder, "rec", x, arrays, kind=unit).sequence
    linear = {"weight": tensors.array("lin.weight", outputs, hidden)}
    linear |= {"bias": tensors.array("lin.bias", outputs)} if bias or "lin.bias" in tensors else {}
    tensors.end()
    y = add_linear(net.builder, "lin", y, linear)
    if not skip:
        return y
    dry = x if inputs == skip else net.add(Select, "dry", x, index=range(int(skip)))
    return net.add(Add, "sum", y, dry)
