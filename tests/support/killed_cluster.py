"""One of the examples that score on a cluster, of whose processes one is killed on the way: run by
test_clusters.py in a process of its own, with the folder to tell in, the example's path and its arguments.

In the folder a file "called-PID" says of a process that it scored, "made-PID" holds a byte for every Model it
made, and "killed" that one was killed at its first call.
"""

import os
import pickle
import runpy
import signal
import sys
from pathlib import Path

from rnnrt import clusters, scoring, value


class Watched(scoring.Scoring):
    """A Scoring that tells what happens to it in the processes it is sent to."""

    def __reduce__(self):
        plain = scoring.Scoring.__new__(scoring.Scoring)
        plain.__dict__.update(self.__dict__)
        return arrived, (str(self.folder), pickle.dumps(plain))

    def __call__(self, table):
        if not table.num_rows:  # Dask asks for the columns, in the process that wants the answers
            return super().__call__(table)
        (self.folder / f"called-{os.getpid()}").touch()
        try:
            (self.folder / "killed").touch(exist_ok=False)
        except FileExistsError:
            return super().__call__(table)
        os.kill(os.getpid(), signal.SIGKILL)


def arrived(folder, pickled):
    if not hasattr(value, "counted"):
        value.counted = value._model

        def made(*given):
            with open(Path(folder) / f"made-{os.getpid()}", "a") as file:
                file.write("x")
            return value.counted(*given)

        value._model = made
    scored = Watched.__new__(Watched)
    scored.__dict__.update(pickle.loads(pickled).__dict__)
    scored.folder = Path(folder)
    return scored


def main(folder, example, *arguments):
    def watched(*given):
        made = Watched(*given[:-1], where=given[-1])
        made.folder = Path(folder)
        return made

    clusters._scoring = watched
    sys.argv = [example, *arguments]
    runpy.run_path(example, run_name="__main__")


if __name__ == "__main__":
    import killed_cluster  # by its name, as the other processes know it

    killed_cluster.main(*sys.argv[1:])
