"""What ``rnnrt score`` keeps beside its output while it works, so that a killed run goes on where it was: the
folder OUTPUT.score. It holds what the run is of (run.json), the rows by buckets where they are more than the
memory takes, and the answers to one part after another, each file written whole or not at all.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np

from ..format import atomic_write
from .table_files import errors
from .usage import UsageError

#: Rows that a merge holds of each bucket, and numbers.
MERGE_ROWS, MERGE_NUMBERS = 1 << 13, 1 << 16
DAMAGED = "Remove the folder it is in, and give the command again."


class ScoreFolder:
    """The folder of one run; ``of`` says what the run is of, in plain JSON values. ``resumed``: whether an
    earlier run of the same left its work here; ``dropped``: whether one of something else did.
    """

    def __init__(self, output, of):
        self.path = Path(f"{output}.score")
        self.of = json.loads(json.dumps(of))
        self.resumed = self.dropped = False

    @contextlib.contextmanager
    def held(self):
        """Locks the folder for as long as the block runs; UsageError where another run holds it."""
        self.path.mkdir(exist_ok=True)
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            if not self._lock(handle):
                raise UsageError(
                    "another rnnrt score is writing this file", where=str(self.path).removesuffix(".score")
                )
            self._begin()
            try:
                yield
            except BaseException:
                if self.rows is None and not any(self.path.glob("answers-*")):  # nothing to go on from
                    self.remove()
                raise
        finally:
            os.close(handle)

    def _lock(self, handle):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return os.fstat(handle).st_nlink > 0  # else a run that ended just now removed it

    def _begin(self):
        if self._said() == {"of": self.of}:
            self.resumed = True
            return
        for path in list(self.path.iterdir()):
            if path.name != "lock":
                self.dropped = True
                path.unlink()
        atomic_write.write(self.path / "run.json", [json.dumps({"of": self.of}, indent=1).encode()])

    def _said(self):
        try:
            return json.loads((self.path / "run.json").read_text())
        except (OSError, ValueError):
            return None

    def remove(self):
        """The output is there: nothing of this is needed any more. What says what the run is of goes first,
        so that a part of a folder is never taken for a whole one."""
        (self.path / "run.json").unlink(missing_ok=True)
        shutil.rmtree(self.path)

    # ---- rows by buckets -----------------------------------------------------------------------------------

    @property
    def rows(self):
        """Rows of the table, once they are all in buckets; else None."""
        try:
            return int((self.path / "rows").read_text())
        except FileNotFoundError:
            return None

    def fill(self, scoring, batches, count):
        """Divide ``batches`` of frames among ``count`` buckets, each sequence in one, each in its order."""
        import pyarrow as pa

        rows, writers = 0, None
        paths = [str(self._bucket(k)) for k in range(count)]
        with errors(self.path, "written"), contextlib.ExitStack() as stack:
            for frames in batches:
                if writers is None:
                    writers = [stack.enter_context(pa.ipc.new_file(path, frames.schema)) for path in paths]
                rows += frames.num_rows
                bucket = scoring.buckets(frames, count)
                index = np.argsort(bucket, kind="stable")
                ends = np.cumsum(np.bincount(bucket, minlength=count))
                frames = frames.take(pa.array(index)).combine_chunks()
                for k, (begin, end) in enumerate(zip([0, *ends[:-1]], ends)):
                    if begin < end:
                        writers[k].write_table(frames[begin:end])
        for path in paths:
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        atomic_write.write(self.path / "rows", [str(rows).encode()])

    def bucket(self, k):
        """The frames of a bucket."""
        import pyarrow as pa

        with errors(self._bucket(k), "read", DAMAGED):
            return pa.ipc.open_file(pa.memory_map(str(self._bucket(k)))).read_all()

    def _bucket(self, k):
        return self.path / f"bucket-{k}.arrow"

    # ---- answers -------------------------------------------------------------------------------------------

    def parts(self, k):
        """[(begin, end, path)] of the answers of a bucket that are there: to its sequences from ``begin`` to
        ``end``, each part where the one before it ends."""
        found = [re.fullmatch(rf"answers-{k}-(\d+)-(\d+)\.arrow", p.name) for p in self.path.iterdir()]
        made = []
        for begin, end, path in sorted((int(m[1]), int(m[2]), self.path / m[0]) for m in found if m):
            if begin == (made[-1][1] if made else 0):
                made.append((begin, end, path))
        return made

    def keep(self, k, begin, end, answers):
        """Write the answers to the sequences from ``begin`` to ``end`` of a bucket."""
        import pyarrow as pa

        rows = max(1, min(MERGE_ROWS, MERGE_NUMBERS // answers.num_columns))
        with (
            atomic_write.replacing(self.path / f"answers-{k}-{begin}-{end}.arrow") as file,
            pa.ipc.new_file(file, answers.schema) as writer,
        ):
            writer.write_table(answers.combine_chunks(), max_chunksize=rows)

    def answers(self, count):
        """All answers of ``count`` buckets, Table after Table, in the order of the first rows of their
        sequences, which their first column holds and these Tables leave out."""
        import pyarrow as pa

        streams = [self._stream(k) for k in range(count)]
        held = [next(stream, None) for stream in streams]
        while any(table is not None for table in held):
            # up to this row nothing more comes from any bucket but what follows in its own order
            last = min(table[0][-1].as_py() for table in held if table is not None)
            ready = []
            for k, table in enumerate(held):
                if table is None:
                    continue
                taken = int(np.searchsorted(np.asarray(table[0]), last, "right"))
                ready.append(table[:taken])
                held[k] = table[taken:] if taken < table.num_rows else next(streams[k], None)
            joined = pa.concat_tables(ready)
            if not joined.num_rows:
                raise UsageError("holds answers out of their order", where=str(self.path), fix=DAMAGED)
            index = np.argsort(np.asarray(joined[0]), kind="stable")
            yield joined.take(pa.array(index)).remove_column(0)

    def _stream(self, k):
        import pyarrow as pa

        for _, _, path in self.parts(k):
            with errors(path, "read", DAMAGED), pa.ipc.open_file(str(path)) as reader:
                for index in range(reader.num_record_batches):
                    yield pa.Table.from_batches([reader.get_batch(index)])
