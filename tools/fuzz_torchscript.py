"""Changed TorchScript files, imported and compared with torch.jit.load: only rnnrt's own errors, no wrong
answer.

    python tools/fuzz_torchscript.py --count 2000 --seed 0 [--compare] [FILE.pt ...]

Each mutant is one of the files (by default those in tests/data) with bytes changed, or (seven of eight) with
something else in its code or in its pickles: another operator, other names and numbers, lines left out or
said twice. With --compare, what rnnrt reads and PyTorch runs must answer alike; PyTorch runs in a process of
its own, which a mutant may end. Prints the errors by kind; ends with 1 where an answer differed, an error was
not rnnrt's own, or an import took longer than --seconds.
"""

import io
import random
import re
import resource
import sys
import tempfile
import zipfile
from pathlib import Path

import mutants
import numpy as np

import rnnrt
from rnnrt import verification
from rnnrt.axes import to_source
from rnnrt.importers.torchscript import reader

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from script_records import changed, recorded

WORDS = "relu tanh sigmoid add sub mul cat stack chunk select slice transpose unsqueeze squeeze linear mean"
WORDS = [*WORDS.split(), "add_", "sigmoid_", "unsafe_chunk", "size", "flip", "lstm", "zeros", "permute"]
NUMBERS = (*"0123578", "-2", "-1", "9223372036854775807", "0.5", "True", "None", "1e30")
_NAME = re.compile(r"\b[a-z_]\w*\b")
_NUMBER = re.compile(r"(?<![\w.])\d[\d.e+-]*\b")
_OPERATOR = re.compile(r"(?<=torch\.)[a-z_]\w*(?=\()")


def code_changed(text, draw):
    """A file of code with some of its words, numbers or lines changed."""
    for _ in range(draw.randrange(1, 3)):
        lines = text.split("\n")
        at = draw.randrange(len(lines))
        match draw.randrange(8):
            case 0 | 1:
                text = one_changed(_NUMBER, text, draw, NUMBERS)
            case 2:
                text = one_changed(_OPERATOR, text, draw, WORDS)
            case 3 | 4:
                text = one_changed(_NAME, text, draw, _NAME.findall(text) or ["x"])
            case 5:
                del lines[at]
                text = "\n".join(lines)
            case 6:
                lines.insert(draw.randrange(len(lines)), lines[at])
                text = "\n".join(lines)
            case 7:
                text = mutants.bytes_changed(text.encode(), draw).decode("latin-1") if text else text
    return text


def one_changed(pattern, text, draw, values):
    found = list(pattern.finditer(text))
    if not found:
        return text
    start, end = draw.choice(found).span()
    return text[:start] + draw.choice(values) + text[end:]


def member_changed(content, draw):
    """A file with one of its members changed."""

    def change(name, data):
        if name.endswith(".py"):
            return code_changed(data.decode("latin-1"), draw).encode("latin-1", "replace")
        return mutants.bytes_changed(data, draw)

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
    code = [n for n in names if n.endswith(".py")]
    pickles = [n for n in names if n.endswith(".pkl")]
    return changed(content, {draw.choice(code if draw.random() < 0.75 else pickles): change})


def answers(content, inputs):
    """What PyTorch makes of a file, a list of outputs for each of ``inputs``."""
    import torch

    from rnnrt.importers.torchscript.run import runner

    torch.set_num_threads(1)
    with tempfile.NamedTemporaryFile(suffix=".pt") as file:
        file.write(content)
        file.flush()
        run = runner(torch.jit.load(file.name), reader.read(file.name))
    made = []
    for given in inputs:
        try:
            made.append(run(given))
        except Exception:  # noqa: BLE001 - an input that it refuses
            made.append(None)
    return made


def differs(content, graph, torch):
    """What rnnrt and PyTorch answer, where it differs; None where they agree or one refuses."""
    model, inputs = rnnrt.from_graph(graph), []
    if "lengths_input" in graph.metadata:
        return None
    for batch, length in ((2, 7), (3, 9), (1, 4)):
        own = verification.sample_inputs(graph, time=length, batch=batch)
        given = [to_source(own[n], graph[n].axes) for n in graph.inputs]
        inputs.append([x.astype(np.int64) if graph[n].ids else x for n, x in zip(graph.inputs, given)])
    for given, wanted in zip(inputs, torch(content, inputs) or ()):
        try:
            made = model(*given) if wanted is not None else None
        except rnnrt.RnnrtError:  # an input that it refuses
            continue
        for y, z in zip(made if isinstance(made, tuple) else (made,), wanted or ()):
            if y.shape != z.shape or not np.allclose(y, z, atol=1e-4, rtol=1e-4, equal_nan=True):
                near = np.abs(y - z).max() if y.shape == z.shape else f"{y.shape} and {z.shape}"
                return f"of {[x.shape for x in given]}: {near}"
    return None


def main():
    parser = mutants.options(__doc__, seconds=5.0)
    parser.add_argument("--compare", action="store_true")
    chosen = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
    contents = [Path(f).read_bytes() for f in chosen.files]
    contents = contents or [c for c in recorded().values() if isinstance(c, bytes)]
    draw, torch = random.Random(chosen.seed), mutants.Apart(answers)

    def mutant(k):
        seed = draw.choice(contents)
        return member_changed(seed, draw) if k % 8 else mutants.bytes_changed(seed, draw)

    def compared(path, graph):
        return differs(path.read_bytes(), graph, torch)

    return mutants.run(chosen, mutant, reader.read, compared if chosen.compare else None, ".pt")


if __name__ == "__main__":
    sys.exit(main())
