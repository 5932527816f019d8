"""Changed ONNX files, imported and compared with onnxruntime: only rnnrt's own errors, and no wrong answer.

    python tools/fuzz_onnx.py --count 2000 --seed 0 [--compare] [FILE.onnx ...]

Each mutant is one of the files (by default small ones of those in tests/data) with bytes changed, or (three
of four) with something else in its messages: another operator, inputs that change places, other attributes,
other sizes, other numbers. With --compare, what rnnrt reads and onnxruntime runs must answer alike at a few
batches and lengths; a mutant that is cut to less than the file (an input nobody uses) counts as read. Prints
the errors by kind; ends with 1 where an answer differed, an error was not rnnrt's own, or an import took
longer than --seconds.
"""

import random
import sys
from pathlib import Path

import mutants
import numpy as np
import onnx

import rnnrt
import rnnrt.axes
from rnnrt.importers.onnx import reader

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
from onnx_exports import recorded

#: Beyond this no recorded file is a seed.
SMALL = 9000  # bytes

OPERATORS = (
    "Add Sub Mul Div Relu Tanh Sigmoid Softmax Transpose Squeeze Unsqueeze Concat Slice Gather Split Conv"
)
OPERATORS = [
    *OPERATORS.split(),
    "MatMul",
    "Reshape",
    "ReduceMean",
    "LSTM",
    "GRU",
    "RNN",
    "Identity",
    "Flatten",
]
INTEGERS = (-2, -1, 0, 1, 2, 3, 5, 7, 1 << 31, -(1 << 62), (1 << 63) - 1)


def messages_changed(content, draw):
    model = onnx.load_from_string(content)
    graph = model.graph
    for _ in range(draw.randrange(1, 3)):
        node = draw.choice(list(graph.node))
        match draw.randrange(10):
            case 0:
                node.op_type = draw.choice(OPERATORS)
            case 1 if len(node.input) > 1:
                a, b = draw.sample(range(len(node.input)), 2)
                node.input[a], node.input[b] = node.input[b], node.input[a]
            case 2 if len(node.input):
                names = [n for other in graph.node for n in other.output] + [
                    i.name for i in graph.initializer
                ]
                node.input[draw.randrange(len(node.input))] = draw.choice(names)
            case 3 | 4 if len(node.attribute):
                change_attribute(draw.choice(list(node.attribute)), draw)
            case 5 if len(node.attribute):
                node.attribute.remove(draw.choice(list(node.attribute)))
            case 6 if len(graph.initializer):
                change_array(draw.choice(list(graph.initializer)), draw)
            case 7 if len(node.attribute):
                name = draw.choice(("axis", "keepdims", "direction", "layout", "clip", "alpha", "transA"))
                value = draw.choice((0, 1, 2, -1, 0.5, "reverse", "bidirectional", [1, 0]))
                node.attribute.append(onnx.helper.make_attribute(name, value))
            case 8:
                model.opset_import[0].version = draw.randrange(7, 24)
            case 9 if len(graph.input):
                dims = draw.choice(list(graph.input)).type.tensor_type.shape.dim
                if len(dims):
                    draw.choice(list(dims)).dim_value = draw.choice((0, 1, 2, 3, 5, 7, 8))
    return model.SerializeToString()


def change_attribute(attribute, draw):
    if attribute.type == onnx.AttributeProto.INT:
        attribute.i = draw.choice(INTEGERS)
    elif attribute.type == onnx.AttributeProto.INTS and len(attribute.ints):
        attribute.ints[draw.randrange(len(attribute.ints))] = draw.choice(INTEGERS[:8])
    elif attribute.type == onnx.AttributeProto.FLOAT:
        attribute.f = draw.choice((0.0, 1.0, -1.0, 0.2, 1e30))
    elif attribute.type == onnx.AttributeProto.TENSOR:
        change_array(attribute.t, draw)


def change_array(tensor, draw):
    array = onnx.numpy_helper.to_array(tensor).copy()
    match draw.randrange(4):
        case 0 if array.ndim > 1:
            array = array.swapaxes(0, 1)
        case 1 if array.dtype.kind == "i" and array.size:
            array.reshape(-1)[draw.randrange(array.size)] = draw.choice(INTEGERS[:8])
        case 2 if array.ndim:
            array = array[:-1]
        case 3:
            array = array[None]
    tensor.CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(array), tensor.name))


def differs(content, model, shapes):
    """What rnnrt and onnxruntime answer, where it differs; None where they agree or it refuses, and where a
    weight is not finite: whether it is multiplied by the zeros around a sequence is each runtime's own.
    """
    import onnxruntime

    arrays = [a for layer in model.graph.layers for a in vars(layer).values() if isinstance(a, np.ndarray)]
    if not all(np.isfinite(a).all() for a in arrays):
        return None

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # its fusions take mean - x, or a deviation over x - mean, for a layer normalisation too
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - whatever it refuses a file for
        return None
    for batch, length in shapes:
        given = inputs_of(model, batch, length)
        if given is None or {i.name for i in session.get_inputs()} != set(given):
            continue
        try:
            wanted = session.run(None, given)
            made = model.run(given)
        except Exception:  # noqa: BLE001, S112 - an input that one of them refuses
            continue
        for y, z in zip(made.values(), wanted):
            if y.shape != np.shape(z) or not np.allclose(y, z, atol=1e-4, rtol=1e-4, equal_nan=True):
                near = np.abs(y - z).max() if y.shape == np.shape(z) else f"{y.shape} and {np.shape(z)}"
                return f"batch {batch}, {length} frames: {near}"
    return None


def inputs_of(model, batch, length):
    made, draw = {}, np.random.RandomState(0)
    for name, shape in model.inputs.items():
        layer = model.graph[name]
        sizes, letters = [], rnnrt.axes.letters(layer.axes, len(layer.features))
        for letter, size in zip(letters, shape):
            sizes.append(size if size is not None else batch if letter == "b" else length)
        made[name] = (
            draw.randint(0, 3, sizes) if layer.ids else draw.standard_normal(sizes).astype(np.float32)
        )
    return made


def main():
    parser = mutants.options(__doc__)
    parser.add_argument("--compare", action="store_true")
    chosen = parser.parse_args()
    contents = [Path(f).read_bytes() for f in chosen.files]
    contents = contents or [c for c in recorded()[0].values() if len(c) <= SMALL]
    draw = random.Random(chosen.seed)

    def mutant(k):
        seed = draw.choice(contents)
        return mutants.bytes_changed(seed, draw) if k % 4 == 0 else messages_changed(seed, draw)

    def compared(path, graph):
        return differs(path.read_bytes(), rnnrt.from_graph(graph), ((1, 4), (3, 9)))

    return mutants.run(chosen, mutant, reader.read, compared if chosen.compare else None, ".onnx")


if __name__ == "__main__":
    sys.exit(main())
