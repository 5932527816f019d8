"""``rnnrt score``: the sequences in a table, their answers in another one beside their ids."""

from __future__ import annotations

import time

from .. import __version__
from ..scoring import Scoring
from .files import check_destination
from .models import files_read, open_model
from .progress import progress
from .report import Report
from .score_folder import ScoreFolder
from .table_files import TableFile, check_table_output, output_suffix, write_table
from .usage import UsageError

#: A row is held about so many times at once: as it was read, in one table, sorted, in its sequence.
HELD = 5
#: Each is an open file while the table is divided.
MOST_BUCKETS = 500


def score(options):
    start = time.perf_counter()
    kind = output_suffix(options.output)
    table = TableFile(options.data)
    model = open_model(options.model, options, num_threads=options.threads)
    ids, columns = (_names(given, table.names) for given in (options.id, options.columns))
    scoring = Scoring(model, ids, columns, options.order, where=table.path, text=table.is_csv)
    scoring.check_names(table.names)
    first = next(_frames(scoring, table))
    schema = scoring.schema(first.schema)
    check_table_output(options.output, schema)
    read = (options.model, options.data, *files_read(options))
    check_destination(options.output, read, kind, options.force)
    buckets = _buckets(table, first, options.memory)
    of = {
        "rnnrt": __version__,
        "model": model.fingerprint,
        "data": table.fingerprint(),
        "columns": [ids, columns, options.order],
        "buckets": buckets,
    }
    folder = ScoreFolder(options.output, of)
    with folder.held():
        sequences, there, rows = _score(scoring, table, folder, buckets)
        answers = _Counted(folder.answers(buckets))
        write_table(options.output, schema, answers)
        folder.remove()
    seconds = time.perf_counter() - start
    data = {
        "output": options.output,
        "rows": rows,
        "sequences": sequences,
        "answers": answers.rows,
        "columns": schema.names,
        "resumed": there,
        "seconds": seconds,
    }
    lines = [
        f"{rows:,} rows of {sequences:,} sequences: {answers.rows:,} answers",
        f"{seconds:.1f} s -> {options.output}",
    ]
    notes = []
    if folder.resumed:
        notes.append(f"an interrupted run had answered {there:,} of {sequences:,} sequences: they were kept")
    if folder.dropped:
        notes.append("an interrupted run of another model, table or columns left its work: it was dropped")
    return Report(data, lines, notes=tuple(notes))


def _names(given, names):
    """The columns that are named: each word is a column, or several with commas between them."""
    return [name for word in given for name in ([word] if word in names else word.split(","))]


def _frames(scoring, table, told=None):
    for first, batch, share in table.batches(scoring.read):
        yield scoring.frames(batch, first)
        if told is not None:
            told(share)


def _buckets(table, first, memory):
    """How many buckets the rows are divided among, so that one of them fits in ``memory``, in bytes."""
    needed = table.about_rows * first.nbytes * HELD // max(1, first.num_rows)
    if needed > memory * MOST_BUCKETS:
        raise UsageError(
            "the table is too large for this much memory",
            where=table.path,
            expected=f"--memory {(needed // MOST_BUCKETS >> 20) + 1}M or more",
        )
    return max(1, -(-needed // memory))


def _score(scoring, table, folder, buckets):
    """Answer every sequence whose answer is not there; (sequences, how many were there, rows)."""
    import pyarrow as pa

    if buckets > 1 and folder.rows is None:
        with progress("read") as told:
            folder.fill(scoring, _frames(scoring, table, told), buckets)
    sequences = there = rows = 0
    with progress("score") as told:
        for k in range(buckets):
            frames = folder.bucket(k) if buckets > 1 else pa.concat_tables(_frames(scoring, table))
            total = folder.rows if buckets > 1 else frames.num_rows
            parts = folder.parts(k)
            begin = parts[-1][1] if parts else 0
            there += begin
            for end, part, starts, left in scoring.parts(frames, begin):
                before = rows + frames.num_rows - left - part.num_rows

                def within(done, of, before=before, size=part.num_rows, total=total):
                    told((before + size * done / of) / total)

                folder.keep(k, begin, end, scoring.answers(part, starts, within))
                begin = end
            sequences, rows = sequences + begin, rows + frames.num_rows
            del frames  # before the next ones come
    return sequences, there, rows


class _Counted:
    """Tables, and how many rows they had."""

    def __init__(self, tables):
        self._tables, self.rows = tables, 0

    def __iter__(self):
        for table in self._tables:
            self.rows += table.num_rows
            yield table
