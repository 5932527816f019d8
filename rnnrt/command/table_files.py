"""Tables in Parquet and CSV files: read in batches, written row group by row group."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from pathlib import Path

from ..errors import ModelFileError, require
from ..format import atomic_write
from ..format.reading import open_regular
from .usage import UsageError

#: Rows of a row group that is written, and numbers at most.
GROUP_ROWS, GROUP_NUMBERS = 1 << 18, 1 << 24
BATCH_NUMBERS = 1 << 20


@contextlib.contextmanager
def errors(path, what, fix=None):
    """Errors of pyarrow about a file, as ours: the first line of what they say."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError) as error:
        said = (str(error).splitlines() or [""])[0]
        raise UsageError(f"cannot be {what}", where=str(path), found=said, fix=fix) from error


class TableFile:
    """A Parquet or CSV file, told by its content. ``names``: of its columns; ``about_rows``: how many rows it
    has, a guess where only reading tells. The columns of a CSV file are read as text.
    """

    def __init__(self, path):
        require("pyarrow", "score", "rnnrt score")
        self.path = str(path)
        try:
            with open_regular(path) as file:
                head = file.read(1 << 20)
                self.size = os.fstat(file.fileno()).st_size
        except ModelFileError as error:
            raise UsageError(error.what, where=self.path, found=error.found) from error
        self._found = self.fingerprint()
        self.is_csv = head[:4] != b"PAR1"
        if self.is_csv and (head[:2] == b"\x1f\x8b" or b"\0" in head):
            raise UsageError(
                "is neither a Parquet nor a CSV file", where=self.path, fix="Unpack it, or write it as one."
            )
        with errors(self.path, "read"):
            if self.is_csv:
                with self._csv(None) as (reader, _):
                    self.names = reader.schema.names
                self.about_rows = self.size * head.count(b"\n") // max(1, len(head))
            else:
                import pyarrow.parquet as pq

                with pq.ParquetFile(self.path) as file:
                    self.names, self.about_rows = file.schema_arrow.names, file.metadata.num_rows

    def batches(self, columns):
        """(rows before it, RecordBatch, share of the file that is read by then) of the ``columns``, in the
        order of the file."""
        first = 0
        with errors(self.path, "read"):
            for batch, share in self._read_csv(columns) if self.is_csv else self._read_parquet(columns):
                yield first, batch, share
                first += batch.num_rows
        if self.fingerprint() != self._found:
            raise UsageError("changed while it was read", where=self.path, fix="Give the command again.")

    def fingerprint(self):
        """What tells the file from another one, and from itself after a change, in plain JSON values: its
        place, size, time of its last change, and a hash of its two ends."""
        with open(self.path, "rb") as file:
            found, digest = os.fstat(file.fileno()), hashlib.sha256()
            digest.update(file.read(1 << 20))
            file.seek(max(0, found.st_size - (1 << 20)))
            digest.update(file.read(1 << 20))
        return [os.path.realpath(self.path), found.st_size, found.st_mtime_ns, digest.hexdigest()]

    def _read_parquet(self, columns):
        import pyarrow as pa
        import pyarrow.parquet as pq

        # pre_buffer would keep every row group that was read, to the end of the file
        with pq.ParquetFile(self.path, pre_buffer=False) as file:
            size, done = max(1, BATCH_NUMBERS // len(columns)), 0
            for batch in file.iter_batches(size, columns=columns):
                done += batch.num_rows
                yield batch.select(columns), done / self.about_rows
            if not done:
                empty = [file.schema_arrow.field(name) for name in columns]
                yield pa.RecordBatch.from_pylist([], pa.schema(empty)), 1.0

    def _read_csv(self, columns):
        import pyarrow as pa

        with self._csv(columns) as (reader, lines):
            rows = 0
            for batch in reader:
                rows += batch.num_rows
                yield batch, min(1.0, lines.read_bytes / self.size)
            if not rows:
                yield (
                    pa.RecordBatch.from_pylist([], pa.schema([(name, pa.string()) for name in columns])),
                    1.0,
                )
        if lines.count != rows + 1:
            raise UsageError(
                "has rows that are not one line each: a quote is not closed, or a line break stands inside "
                "quotes",
                where=self.path,
                expected=f"{rows + 1:,} lines, the heading's included",
                found=f"{lines.count:,}",
                fix="Write it as a Parquet file.",
            )

    @contextlib.contextmanager
    def _csv(self, columns):
        import pyarrow as pa
        from pyarrow import csv

        with open(self.path, "rb") as file:
            lines = _Lines(file)
            convert = csv.ConvertOptions(
                include_columns=columns,
                column_types=dict.fromkeys(columns or (), pa.string()),
                strings_can_be_null=False,
            )
            with csv.open_csv(
                pa.PythonFile(lines, "r"),
                read_options=csv.ReadOptions(use_threads=False),
                parse_options=csv.ParseOptions(ignore_empty_lines=False),
                convert_options=convert,
            ) as reader:
                yield reader, lines


class _Lines(io.RawIOBase):
    """A file that counts its lines while it is read: pyarrow takes a quote that is never closed as one value
    to the end of a block, and says nothing.
    """

    def __init__(self, file):
        self._file, self._breaks, self._last, self.read_bytes = file, 0, b"\n", 0

    def read(self, size=-1):
        data = self._file.read(size)
        self._breaks += data.count(b"\n")
        self._last = data[-1:] or self._last
        self.read_bytes += len(data)
        return data

    def readable(self):
        return True

    @property
    def count(self):
        return self._breaks + (self._last != b"\n")


def output_suffix(path):
    """The suffix of a table that can be written, or UsageError."""
    suffix = Path(path).suffix.lower()
    if suffix not in (".parquet", ".csv"):
        raise UsageError(
            "answers in rows are written as Parquet or CSV",
            where=str(path),
            expected="a name that ends in .parquet or .csv",
        )
    return suffix


def check_table_output(path, schema):
    """UsageError where answers of ``schema`` cannot be written to ``path``: asked before the work."""
    import pyarrow as pa

    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise UsageError(f"cannot be written: {folder} is not a folder", where=str(path))
    if os.path.lexists(path) and (os.path.islink(path) or not os.path.isfile(path)):
        raise UsageError("is not a regular file", where=str(path), fix="Give the path of a file.")
    with errors(path, "written"), _writer(path, io.BytesIO(), schema) as write:
        write(pa.Table.from_pylist([{}], schema))


def write_table(path, schema, tables):
    """Write ``tables`` of ``schema``, one after another, to one file: whole or not at all. Where they are cut
    does not show in it."""
    import pyarrow as pa

    rows = max(1, min(GROUP_ROWS, GROUP_NUMBERS // len(schema)))
    try:
        with (
            atomic_write.replacing(path) as file,
            errors(path, "written"),
            _writer(path, file, schema) as write,
        ):
            held = schema.empty_table()
            for table in tables:
                held = pa.concat_tables([held, table])
                while held.num_rows >= rows:
                    write(held[:rows])
                    held = held[rows:]
            if held.num_rows:
                write(held)
    except ModelFileError as error:
        raise UsageError(error.what, where=str(path), found=error.found, fix=error.fix) from error


@contextlib.contextmanager
def _writer(path, file, schema):
    """A function that writes a Table as one row group."""
    if output_suffix(path) == ".csv":
        from pyarrow import csv

        with csv.CSVWriter(file, schema) as writer:
            yield lambda table: writer.write_table(table.combine_chunks())
    else:
        import pyarrow.parquet as pq

        with pq.ParquetWriter(file, schema) as writer:
            yield lambda table: writer.write_table(table.combine_chunks())
