"""Changed SavedModel folders of Keras 2, imported: only rnnrt's own errors, soon, in little memory.

    python tools/fuzz_savedmodel.py --count 2000 --seed 0

Each mutant is one of the folders in tests/data with bytes of a file changed (one of five), or with options of
layers, tracked objects, tensors or entries changed and all checksums right. What imports is run, too.
Prints the errors by kind; ends with 1 where an error was not rnnrt's own, or an import took longer than
--seconds.
"""

import logging
import random
import resource
import sys
from pathlib import Path

import mutants

import rnnrt
from rnnrt import verification
from rnnrt.importers.keras import reader

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from saved_models import mutant, parts, recorded

SEEDS = ("lstm", "rnn", "ids", "stacked", "twice", "shared", "states", "stateful")
#: Frames of an input of fixed length that is run.
LONGEST = 1 << 16


def runs(_, graph):
    """Whatever is imported can be run: on a short sequence, or one of rnnrt's errors. Not where the file says
    that an input is a long one, which takes what it takes.
    """
    if any((graph.signals[name].length or 0) > LONGEST for name in graph.inputs):
        return
    model = rnnrt.from_graph(graph)
    inputs = verification.sample_inputs(graph, time=4, batch=2)
    model.run(inputs)


def main():
    chosen = mutants.options(__doc__, seconds=2.0, files=None).parse_args()
    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
    folders, draw = recorded()[0], random.Random(chosen.seed)
    seeds = [(parts(folders[f"2.15/{name}"]), folders[f"2.15/{name}"]) for name in SEEDS]
    return mutants.run(chosen, lambda k: mutant(*draw.choice(seeds), draw), reader.read, runs)


if __name__ == "__main__":
    sys.exit(main())
