"""Integer forms run as the float networks they stand for: within their own quantisation step, and it is
said.
"""

import numpy as np
import pytest
from onnx_answers import imported
from onnx_bytes import model, node, numbers

import rnnrt

X = np.random.RandomState(0).standard_normal((2, 7, 5)).astype(np.float32)


def rounded(array, axes=None, dtype=np.int8):
    """(integers, scale, zero point) of an array; ``axes``: over which one scale holds."""
    scale = np.abs(array).max(axes, keepdims=axes is not None) / np.float32(127)
    zero = np.zeros(scale.shape, dtype) + dtype(0 if dtype == np.int8 else 128)
    return (np.round(array / scale) + zero.astype(np.float64)).astype(dtype), scale.astype(np.float32), zero


def said(made):
    return any("8-bit weights are dequantised" in text for text in made.assumptions)


@pytest.mark.parametrize("dtype", (np.int8, np.uint8))
@pytest.mark.parametrize("columns", (False, True))
def test_a_product_of_integers(dtype, columns, tmp_path):
    w = numbers(5, 3)
    q, scale, zero = rounded(w, 0 if columns else None, dtype)
    scale, zero = (a.reshape(-1) if columns else a.reshape(()) for a in (scale, zero))
    nodes = [
        node("DynamicQuantizeLinear", "x", "q s z"),
        node("Mul", "s ws", "both"),
        node("MatMulInteger", "q w z wz", "i"),
        node("Cast", "i", "f", to=1),
        node("Mul", "f both", "p"),
        node("Add", "p b", "y"),
    ]
    arrays = {"w": q, "ws": scale, "wz": zero, "b": numbers(3, seed=1)}
    made = imported(model(nodes, {"x": ("b", "t", 5)}, ["y"], arrays), tmp_path)
    exact = X @ ((q.astype(np.float64) - zero) * scale).astype(np.float32) + arrays["b"]
    np.testing.assert_allclose(made(X), exact, atol=1e-5)
    assert said(made) and np.abs(made(X) - (X @ w + arrays["b"])).max() < 0.05


def test_a_convolution_of_integers(tmp_path):
    w, x = numbers(4, 5, 3), X.transpose(0, 2, 1)
    q, scale, zero = rounded(w)
    nodes = [
        node("DynamicQuantizeLinear", "x", "q s z"),
        node("Mul", "s ws", "both"),
        node("ConvInteger", "q w z wz", "i", pads=[1, 1]),
        node("Cast", "i", "f", to=1),
        node("Mul", "f both", "y"),
    ]
    arrays = {"w": q, "ws": scale.reshape(()), "wz": zero.reshape(())}
    made = imported(model(nodes, {"x": ("b", 5, "t")}, ["y"], arrays), tmp_path)
    plain = model([node("Conv", "x w", "y", pads=[1, 1])], {"x": ("b", 5, "t")}, ["y"], {"w": q * scale})
    np.testing.assert_allclose(made(x), imported(plain, tmp_path)(x), atol=1e-5)
    assert said(made)


@pytest.mark.parametrize("columns", (False, True))
def test_a_quantised_lstm(columns, tmp_path):
    """onnxruntime's DynamicQuantizeLSTM: weights turned, a scale a direction or a column."""
    weights = {"W": numbers(2, 16, 5), "R": numbers(2, 16, 4, seed=1), "B": numbers(2, 32, seed=2)}
    arrays = {"B": weights["B"]}
    for name in "WR":
        q, scale, zero = rounded(weights[name].transpose(0, 2, 1), 1 if columns else (1, 2))
        arrays |= {name: q, f"{name}s": scale.reshape(2, -1), f"{name}z": zero.reshape(2, -1)}
        if not columns:
            arrays |= {f"{name}s": scale.reshape(2), f"{name}z": zero.reshape(2)}
        weights[name] = (q * scale).transpose(0, 2, 1).astype(np.float32)
    own = {"hidden_size": 4, "direction": "bidirectional"}
    quantised = node("DynamicQuantizeLSTM", "x W R B - - - - Ws Wz Rs Rz", "y", domain="com.microsoft", **own)
    ports = {"x": ("t", "b", 5)}
    made = imported(model([quantised], ports, ["y"], arrays, domains=["com.microsoft"]), tmp_path)
    plain = imported(model([node("LSTM", "x W R B", "y", **own)], ports, ["y"], weights), tmp_path)
    np.testing.assert_allclose(made(X), plain(X), atol=1e-6)
    assert said(made) and not said(plain)


def test_pairs_of_quantising_and_dequantising_nodes(tmp_path):
    q, scale, zero = rounded(numbers(5, 3))
    nodes = [
        node("QuantizeLinear", "x xs xz", "xq"),
        node("DequantizeLinear", "xq xs xz", "xf"),
        node("DequantizeLinear", "w ws wz", "wf"),
        node("MatMul", "xf wf", "y"),
    ]
    arrays = {"xs": np.float32(0.02), "xz": np.uint8(128), "w": q}
    arrays |= {"ws": scale.reshape(()), "wz": zero.reshape(())}
    made = imported(model(nodes, {"x": ("b", "t", 5)}, ["y"], arrays), tmp_path)
    np.testing.assert_allclose(made(X), X @ (q * scale).astype(np.float32), atol=1e-5)
    assert said(made)


def test_operators_of_integers_alone(tmp_path):
    q, scale, zero = rounded(numbers(5, 3))
    inputs = "x xs xz w ws wz ys yz"
    arrays = {"xs": np.float32(0.02), "xz": np.uint8(128), "w": q, "ys": np.float32(0.1), "yz": np.uint8(0)}
    arrays |= {"ws": scale.reshape(()), "wz": zero.reshape(())}
    made = imported(
        model([node("QLinearMatMul", inputs, "y")], {"x": ("b", "t", 5)}, ["y"], arrays), tmp_path
    )
    np.testing.assert_allclose(made(X), X @ (q * scale).astype(np.float32), atol=1e-5)
    assert said(made)


def test_float16_is_widened_and_said(tmp_path):
    w = numbers(5, 3).astype(np.float16)
    made = imported(model([node("MatMul", "x w", "y")], {"x": ("b", "t", 5)}, ["y"], {"w": w}), tmp_path)
    np.testing.assert_allclose(made(X), X @ w.astype(np.float32), atol=1e-6)
    assert "1 arrays of 16-bit numbers are computed with in float32" in made.assumptions


def test_weights_that_are_not_known_are_refused(tmp_path):
    nodes = [node("DynamicQuantizeLinear", "x", "q s z"), node("MatMulInteger", "q q z z", "y")]
    with pytest.raises(rnnrt.UnsupportedModelError, match="its weight must be known"):
        imported(model(nodes, {"x": ("b", "t", 5)}, ["y"]), tmp_path)
