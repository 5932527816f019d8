"""Changed TFLite files, imported and compared with LiteRT: only rnnrt's own errors, and no wrong answer.

    python tools/fuzz_tflite.py --count 2000 --seed 0 [--compare] [FILE.tflite ...]

Each mutant is one of the files (those in tests/data where none is named) with bytes changed, or (three of
four) with something else in its tables: another operator, other tensors, other options, sizes and numbers.
With --compare, what rnnrt reads and LiteRT runs must answer alike; LiteRT runs in a process of its own, which
a mutant may end. Prints the errors by kind; ends with 1 where an answer differed, an error was not rnnrt's
own, or an import took longer than --seconds.
"""

import pickle
import random
import sys
from functools import cache
from pathlib import Path

import mutants
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
import tflite_bytes
import tflite_files
import tflite_networks

import rnnrt
from rnnrt.importers.tflite import reader

INTEGERS = (-2, -1, 0, 1, 2, 3, 5, 7, (1 << 31) - 1, -(1 << 31))


@cache
def tables(content):
    """The tables of a file, as a pickle, which is faster to read again."""
    return pickle.dumps(tflite_bytes.read(content))


def tables_changed(content, draw):
    model = pickle.loads(tables(content))
    for _ in range(draw.randrange(1, 3)):
        graph = draw.choice(model["subgraphs"])
        operators, tensors = graph.get("operators") or [{}], graph["tensors"]
        entry = draw.choice(operators)
        inputs = list(entry.get("inputs", ()))
        match draw.randrange(11):
            case 0:
                entry["opcode"] = draw.randrange(len(model["operator_codes"]))
            case 1 if len(inputs) > 1:
                draw.shuffle(inputs)
                entry["inputs"] = inputs
            case 2 | 3 if inputs:
                inputs[draw.randrange(len(inputs))] = draw.randrange(-1, len(tensors))
                entry["inputs"] = inputs
            case 4 if entry.get("options"):
                _, own = entry["options"]
                numbers = [n for n, v in own.items() if isinstance(v, (int, float))]
                if numbers:
                    own[draw.choice(numbers)] = draw.choice((0, 1, 2, 3, 4))
            case 5 | 6:
                buffer = draw.choice(model["buffers"])
                data = np.frombuffer(buffer.get("data", b""), np.uint8)
                if len(data) and len(data) <= 64 and not len(data) % 4:
                    numbers = data.view("<i4").copy()
                    numbers[draw.randrange(len(numbers))] = draw.choice(INTEGERS)
                    buffer["data"] = numbers.tobytes()
            case 7:
                tensor = draw.choice(tensors)
                shape = list(tensor.get("shape", ()))
                if shape:
                    shape[draw.randrange(len(shape))] = draw.choice(INTEGERS[1:8])
                    tensor["shape"] = shape
            case 8:
                draw.choice(tensors)["type"] = draw.choice((0, 1, 2, 4, 6, 9, 13))
            case 9 if len(graph.get("outputs", ())):
                graph["outputs"] = [draw.randrange(len(tensors))]
            case 10 if len(operators) > 1:
                a, b = draw.sample(range(len(operators)), 2)
                operators[a], operators[b] = operators[b], operators[a]
    return tflite_bytes.written(model)


def answers(content, inputs):
    """What LiteRT makes of a file."""
    from ai_edge_litert.interpreter import Interpreter

    runtime = Interpreter(model_content=content, num_threads=1)
    ports = runtime.get_input_details()
    if len(ports) != len(inputs):  # one is used by nothing
        raise ValueError(ports)
    for port, x in zip(ports, inputs):
        runtime.resize_tensor_input(port["index"], x.shape, strict=True)
    runtime.allocate_tensors()
    for port, x in zip(ports, inputs):
        runtime.set_tensor(port["index"], x)
    runtime.invoke()
    return [runtime.get_tensor(p["index"]) for p in runtime.get_output_details()]


def differs(content, graph, runtime):
    """What rnnrt and LiteRT answer, where it differs; None where they agree or one refuses."""
    arrays = [a for layer in graph.layers for a in vars(layer).values() if isinstance(a, np.ndarray)]
    if not all(np.isfinite(a).all() for a in arrays):
        return None
    model = rnnrt.from_graph(graph)
    draw, inputs = np.random.RandomState(0), []
    for name, shape in model.inputs.items():
        layer = model.graph[name]
        sizes = [n if n is not None else 1 if a == "b" else 6 for n, a in zip(shape, _letters(layer, shape))]
        ids = layer.ids
        inputs.append(
            draw.randint(0, 3, sizes).astype(np.int32)
            if ids
            else draw.standard_normal(sizes).astype(np.float32)
        )
    wanted = runtime(content, inputs)
    if wanted is None or not all(np.isfinite(z).all() for z in wanted):
        return None
    try:
        made = model.run(dict(zip(model.inputs, inputs)))
    except rnnrt.RnnrtError:
        return None
    for y, z in zip(made.values(), wanted):
        if y.shape != np.shape(z) or not np.allclose(y, z, atol=1e-4, rtol=1e-4, equal_nan=True):
            near = np.abs(y - z).max() if y.shape == np.shape(z) else f"{y.shape} and {np.shape(z)}"
            return f"answers {near} apart"
    return None


def _letters(layer, shape):
    from rnnrt.axes import letters

    return letters(layer.axes, len(layer.features))


def main():
    parser = mutants.options(__doc__)
    parser.add_argument("--compare", action="store_true")
    chosen = parser.parse_args()
    contents = [Path(f).read_bytes() for f in chosen.files]
    recorded = [c for n, c in tflite_files.recorded()[0].items() if not n.startswith(("integers", "half"))]
    contents = contents or [*recorded, *tflite_networks.FILES.values()]
    draw, runtime = random.Random(chosen.seed), mutants.Apart(answers)

    def mutant(k):
        seed = draw.choice(contents)
        try:
            if k % 4:
                return tables_changed(seed, draw)
        except (rnnrt.RnnrtError, KeyError):  # a file of what rnnrt does not know
            pass
        return mutants.bytes_changed(seed, draw)

    def compared(path, graph):
        return differs(path.read_bytes(), graph, runtime)

    return mutants.run(chosen, mutant, reader.read, compared if chosen.compare else None, ".tflite")


if __name__ == "__main__":
    sys.exit(main())
