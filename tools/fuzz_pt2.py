"""Changed torch.export archives, imported and compared with torch: only rnnrt's own errors, no wrong answer.

    python tools/fuzz_pt2.py --count 2000 --seed 0 [--compare] [FILE.pt2 ...]

Each mutant is one of the files (by default those in tests/data) with bytes changed, or (three of four) with
something else in its JSON: another operator, arguments that change places, other numbers, sizes, names,
kinds, fields left out. With --compare, what rnnrt reads and torch loads and runs must answer alike at a few
batches and lengths.
Prints the errors by kind; ends with 1 where an answer differed, an error was not rnnrt's own, or an import
took longer than --seconds.
"""

import contextlib
import io
import logging
import random
import resource
import sys
from pathlib import Path

import mutants
import numpy as np

import rnnrt
from rnnrt import verification
from rnnrt.axes import to_source
from rnnrt.importers.pt2 import reader
from rnnrt.importers.pt2.run import runner

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from pt2_records import changed, recorded, with_inputs

INTEGERS = (-2, -1, 0, 1, 2, 3, 5, 7, 8, 1 << 31, 1 << 62, (1 << 63) - 1)
#: Texts that torch evaluates.
EVALUATED = ("expr_str", "out_spec", "in_spec")
WORDS = "relu tanh sigmoid softmax add mul sub div cat stack chunk select slice transpose permute unsqueeze"
WORDS = [*WORDS.split(), "squeeze", "view", "linear", "mean", "sum", "pad", "flip", "lstm_cell", "gru_cell"]


def json_changed(content, draw):
    def change(program):
        graph = program["graph_module"]["graph"]
        for _ in range(draw.randrange(1, 3)):
            if not isinstance(graph["nodes"], list):
                break  # the change before took them away
            node = draw.choice(graph["nodes"])
            inputs = node["inputs"]
            match draw.randrange(9):
                case 0:
                    word = draw.choice(WORDS)
                    overload = {"add": "Tensor", "mul": "Tensor", "select": "int"}.get(word, "default")
                    node["target"] = f"torch.ops.aten.{word}.{overload}"
                case 1 if len(inputs) > 1:
                    a, b = draw.sample(inputs, 2)
                    a["arg"], b["arg"] = b["arg"], a["arg"]
                case 2 | 3 if inputs:
                    another_number(draw.choice(inputs)["arg"], draw)
                case 4 if inputs:
                    inputs.remove(draw.choice(inputs))
                case 5 if inputs:
                    names = [name for name in graph["tensor_values"]]
                    replace_name(draw.choice(inputs)["arg"], draw.choice(names))
                case 6:
                    values = draw.choice(list(graph["tensor_values"].values()))
                    if values["sizes"]:
                        values["sizes"][draw.randrange(len(values["sizes"]))] = {
                            "as_int": draw.choice(INTEGERS)
                        }
                case 7:
                    mutants.value_changed(program, draw, keep=EVALUATED)
                case 8:
                    graph["outputs"] = draw.sample(graph["outputs"], len(graph["outputs"]))

    return changed(content, change)


def another_number(arg, draw):
    for kind, value in arg.items():
        if kind == "as_int":
            arg[kind] = draw.choice(INTEGERS)
        elif kind == "as_bool":
            arg[kind] = not value
        elif kind == "as_float":
            arg[kind] = draw.choice((0.0, 1.0, -1.0, 0.2, 1e30))
        elif kind == "as_ints" and value:
            value[draw.randrange(len(value))] = draw.choice(INTEGERS)
        elif kind == "as_tensors" and value:
            draw.shuffle(value)


def replace_name(arg, name):
    for kind in arg:
        if kind == "as_tensor":
            arg[kind] = {"name": name}


def differs(path, graph):
    """What rnnrt and torch answer, where it differs; None where they agree or one refuses."""
    import torch

    torch.set_num_threads(1)
    model = rnnrt.from_graph(graph)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            run = runner(torch.export.load(io.BytesIO(with_inputs(Path(path).read_bytes()))), graph)
    except Exception:  # noqa: BLE001 - whatever it refuses a file for
        return None
    for batch, length in ((2, 7), (3, 9), (1, 4)):
        inputs = verification.sample_inputs(graph, time=length, batch=batch)
        given = [to_source(inputs[n], graph[n].axes) for n in graph.inputs]
        given = [x.astype(np.int64) if graph[n].ids else x for n, x in zip(graph.inputs, given)]
        try:
            wanted = run(given)
            made = model(*given)
        except Exception:  # noqa: BLE001, S112 - an input that one of them refuses
            continue
        for y, z in zip(made if isinstance(made, tuple) else (made,), wanted):
            if y.shape != z.shape or not np.allclose(y, z, atol=1e-4, rtol=1e-4, equal_nan=True):
                near = np.abs(y - z).max() if y.shape == z.shape else f"{y.shape} and {z.shape}"
                return f"batch {batch}, {length} frames: {near}"
    return None


def main():
    parser = mutants.options(__doc__, seconds=5.0)
    parser.add_argument("--compare", action="store_true")
    chosen = parser.parse_args()
    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
    contents = [Path(f).read_bytes() for f in chosen.files]
    if not contents:
        contents = [c for v in ("2.7", "2.13") for c in recorded(v).values() if isinstance(c, bytes)]
    draw = random.Random(chosen.seed)

    def mutant(k):
        seed = draw.choice(contents)
        return mutants.bytes_changed(seed, draw) if k % 4 == 0 else json_changed(seed, draw)

    return mutants.run(chosen, mutant, reader.read, differs if chosen.compare else None, ".pt2")


if __name__ == "__main__":
    sys.exit(main())
