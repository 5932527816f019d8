"""Sequences in a table: its rows are frames, grouped by their ids, and a model's answers stand beside the
ids. Tables are pyarrow's (``pip install 'rnnrt[score]'``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from .axes import letters, to_canonical, to_source
from .errors import (
    DTypeError,
    RnnrtError,
    ShapeError,
    UnsupportedModelError,
    did_you_mean,
    require,
)
from .ports import tables_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .model import Model

#: Numbers of a part, in or out, and multiply-adds, about: what is answered, and written, at a time.
MOST_NUMBERS, MOST_WORK = 1 << 20, 1 << 34
#: Ids that are whole numbers in float32.
_MOST_IDS = 1 << 24


class Scoring:
    """A model, and which columns of a table hold the ids of its sequences, the numbers of a frame and,
    perhaps, the order of the frames of a sequence (else it is the order of the rows). ``where``: what the
    table is called in errors. ``text``: its columns are text, as those of a CSV file are.

    The model must have one input over time, and its outputs either all have a time axis or none. Raises
    UnsupportedModelError for another one, ShapeError for a wrong number of columns.
    """

    def __init__(
        self,
        model: Model[Any],
        ids: Sequence[str],
        columns: Sequence[str],
        order: str | None = None,
        *,
        where: str = "the table",
        text: bool = False,
    ) -> None:
        self.model, self.ids, self.columns, self.order = model, list(ids), list(columns), order
        self.where, self.text = where, text
        self._input = _input_of(model)
        graph = model.graph
        self._layer, self._signal = graph[self._input], graph.signals[self._input]
        tables = tables_of(graph, self._input)
        self._most_ids = min((n for _, n in tables), default=_MOST_IDS)
        self._holds_ids = self._layer.ids or bool(tables)
        if len(self.columns) != self._signal.width:
            raise ShapeError(
                "the model takes another number of columns",
                where=f"input {self._input!r}",
                expected=str(self._signal.width),
                found=f"{len(self.columns)}: {', '.join(self.columns)}",
            )
        for names, what in ((self.ids, "ids"), (self.columns, "columns")):
            twice = next((n for k, n in enumerate(names) if n in names[:k]), None)
            if twice is not None or not names:
                what = f"the {what} name {twice!r} twice" if names else f"the {what} are missing"
                raise ShapeError(what, expected="each column once")
        if order in self.ids:
            raise ShapeError(f"{order!r} is an id and cannot be the order within it")
        self._outputs = [(o.name, o.axes, graph.signals[o.value]) for o in graph.outputs]
        over_time = {bool(signal.time) for _, _, signal in self._outputs}
        if len(over_time) != 1:
            raise UnsupportedModelError(
                "some outputs answer every frame and some a sequence once: they do not fit in one table",
                found=", ".join(name for name, _, _ in self._outputs),
            )
        #: Whether the answers have a row for every frame, or one for every sequence.
        self.by_frame = over_time.pop()
        #: Whether an answer has the frames of its sequence, so that the order's values belong to them.
        self.ordered = self.by_frame and order is not None and self._keeps_frames()
        self.answer_names = [
            name if signal.width == 1 else f"{name}_{k}"
            for name, _, signal in self._outputs
            for k in range(signal.width)
        ]
        #: The columns of the answers.
        self.names = [
            *self.ids,
            *(["frame"] if self.by_frame else []),
            *([order] if self.ordered else []),
            *self.answer_names,
        ]
        twice = next((n for k, n in enumerate(self.names) if n in self.names[:k]), None)
        if twice is not None:
            raise ShapeError(
                f"the answers would have two columns {twice!r}",
                found=", ".join(self.names),
                fix="Give the column of the table another name.",
            )

    @property
    def read(self) -> list[str]:
        """The columns of a table that are read."""
        return list(dict.fromkeys([*self.ids, *([self.order] if self.order else []), *self.columns]))

    def __call__(self, table: Any) -> Any:
        """The answers to a pyarrow Table that holds whole sequences, as a Table: sequences in the order of
        their first rows, frames in order. Each answer has the bits that its sequence alone would have.

        Raises ShapeError and DTypeError naming row (from 1) and column: for a column that is missing or of a
        wrong type, a value that is missing or is not a finite float32, an id that is missing, two frames of
        one place in the order.
        """
        pa = require("pyarrow", "score", "rnnrt.scoring")
        frames = self.frames(table)
        parts = [self.answers(part, starts) for _, part, starts, _ in self.parts(frames)]
        return pa.concat_tables(
            [self.schema(frames.schema).empty_table(), *(p.remove_column(0) for p in parts)]
        )

    # ---- in ------------------------------------------------------------------------------------------------

    def check_names(self, names: Sequence[str]) -> None:
        """ShapeError where a table with the columns ``names`` lacks one, or has one twice."""
        for name in self.read:
            if names.count(name) != 1:
                raise ShapeError(
                    f"there is no column {name!r}"
                    if name not in names
                    else f"there are two columns {name!r}",
                    where=self.where,
                    found=", ".join(map(str, names)),
                    fix=did_you_mean(name, names) if name not in names else None,
                )

    def frames(self, table: Any, first: int = 0) -> Any:
        """The rows of a Table or RecordBatch in the form that ``parts`` takes, every value checked.
        ``first``: rows of the file before it.
        """
        pa = require("pyarrow", "score", "rnnrt.scoring")
        self.check_names(list(table.schema.names))
        made = {"row": pa.array(np.arange(first, first + table.num_rows))}
        for k, name in enumerate(self.ids):
            made[f"id{k}"] = self._id(table[name], name, first)
        if self.order is not None:
            made["order"] = self._order(table[self.order], self.order, first)
        numbers = np.empty((table.num_rows, len(self.columns)), np.int64 if self._holds_ids else np.float32)
        for k, name in enumerate(self.columns):
            numbers[:, k] = self._numbers(table[name], name, first)
        made["values"] = pa.FixedSizeListArray.from_arrays(pa.array(numbers.reshape(-1)), len(self.columns))
        return pa.table(made)

    def _at(self, row, name):
        return f"{self.where}, row {row + 1}, column {name!r}"

    def _plain(self, column, name, first):
        """The column without a dictionary, and without missing values."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        column, missing = _whole(column), None
        if column.null_count:
            missing = np.asarray(column.is_null())
        elif self.text and len(column):
            missing = np.asarray(pc.equal(pc.binary_length(column), 0))
        if missing is not None and missing.any():
            raise DTypeError(
                "the value is missing",
                where=self._at(first + int(missing.argmax()), name),
                found="nothing" if self.text else "null",
                fix="Fill it in, or leave the sequence out.",
            )
        return column

    def _wrong_type(self, column, name, wanted, fix=None):
        return DTypeError(
            "the column has a type that cannot be used",
            where=f"{self.where}, column {name!r}",
            expected=wanted,
            found=str(column.type),
            fix=fix,
        )

    def _cast(self, column, kind, name, first, wanted):
        """The column as another type; DTypeError names the first value that cannot be."""
        import pyarrow as pa

        try:
            return column.cast(kind)
        except pa.ArrowInvalid as error:
            k = next((k for k in range(len(column)) if not _casts(column[k : k + 1], kind)), None)
            if k is None:
                raise DTypeError(str(error), where=f"{self.where}, column {name!r}") from error
            raise DTypeError(
                "the value cannot be used",
                where=self._at(first + k, name),
                expected=wanted,
                found=_shown(column, k),
            ) from None

    def _id(self, column, name, first):
        import pyarrow as pa

        column, t = self._plain(column, name, first), pa.types
        tests = (_is_text, t.is_integer, t.is_boolean, t.is_date, t.is_timestamp, t.is_decimal)
        if len(column) and not any(test(column.type) for test in tests):
            wanted = "whole numbers, text, dates, times or booleans"
            raise self._wrong_type(column, name, wanted, "Write the ids as one of these.")
        return column

    def _order(self, column, name, first):
        import pyarrow as pa

        column, t = self._plain(column, name, first), pa.types
        tests = (
            _is_text,
            t.is_integer,
            t.is_floating,
            t.is_date,
            t.is_timestamp,
            t.is_time,
            t.is_duration,
            t.is_decimal,
        )
        if len(column) and not any(test(column.type) for test in tests):
            raise self._wrong_type(column, name, "numbers or times")
        if t.is_floating(column.type):
            nan = np.isnan(np.asarray(column))
            if nan.any():
                raise DTypeError(
                    "the value is missing", where=self._at(first + int(nan.argmax()), name), found="NaN"
                )
        return column

    def _numbers(self, column, name, first):
        """The values as float32, or of an input of ids as int64."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column, t = self._plain(column, name, first), pa.types
        if self.text:
            column = pc.utf8_trim_whitespace(column)
            wanted = "a whole number" if self._holds_ids else "a number"
            column = self._cast(column, pa.int64() if self._holds_ids else pa.float64(), name, first, wanted)
        elif len(column) and not any(
            test(column.type) for test in (t.is_integer, t.is_floating, t.is_boolean, t.is_decimal)
        ):
            raise self._wrong_type(column, name, "numbers")
        if self._holds_ids:
            if t.is_boolean(column.type):
                column = column.cast(pa.int8())
            x = np.asarray(self._cast(column, pa.int64(), name, first, "a whole number"))
            bad = (x < 0) | (x >= self._most_ids)
            wanted = f"a whole number from 0 to {self._most_ids - 1}"
        else:
            if t.is_decimal(column.type):
                column = column.cast(pa.float64())
            given = np.asarray(column)
            with np.errstate(over="ignore"):
                x = given.astype(np.float32)
            bad, wanted = ~np.isfinite(x), "a finite number, within the range of float32"
        if bad.any():
            k = int(bad.argmax())
            raise DTypeError(
                "the value cannot be used",
                where=self._at(first + k, name),
                expected=wanted,
                found=_shown(column, k),
            )
        return x

    # ---- sequences -----------------------------------------------------------------------------------------

    def buckets(self, frames: Any, count: int) -> Any:
        """For each row of ``frames`` a number below ``count``: the same for all rows of a sequence, in
        whatever process.
        """
        import pyarrow as pa

        mixed = np.zeros(frames.num_rows, np.uint64)
        for k in range(len(self.ids)):
            ids = _whole(frames[f"id{k}"]).dictionary_encode()
            hashes = [crc32(text.encode()) for text in ids.dictionary.cast(pa.string()).to_pylist()]
            mixed = mixed * np.uint64(1000003) + np.array(hashes, np.uint64)[np.asarray(ids.indices)]
        return (mixed % np.uint64(count)).astype(np.int64)

    def parts(self, frames: Any, begin: int = 0) -> Iterator[tuple[int, Any, Any, int]]:
        """(number of the sequence behind it, its frames, where each of its sequences begins and ends, rows
        behind it) of one part of ``frames`` after another, from the sequence ``begin``. A part is some
        sequences, in the order of their first rows.
        """
        import pyarrow as pa

        frames = frames.combine_chunks()
        rows, starts = self._grouped(frames)
        width = max(len(self.columns), len(self.answer_names))
        most = max(1, min(MOST_NUMBERS // width, MOST_WORK // max(1, self.model.graph.parameters)))
        while begin < len(starts) - 1:
            end = int(np.searchsorted(starts, starts[begin] + most, "right")) - 1
            end = max(end, begin + 1)
            part = frames.take(pa.array(rows[starts[begin] : starts[end]]))
            yield end, part, starts[begin : end + 1] - starts[begin], int(starts[-1] - starts[end])
            begin = end

    def _grouped(self, frames):
        """The rows of ``frames`` in the order of their sequences, and where each sequence begins and, last,
        ends."""
        import pyarrow as pa
        import pyarrow.compute as pc

        count = frames.num_rows
        if not count:
            return np.zeros(0, np.int64), np.zeros(1, np.int64)
        codes = None
        for k in range(len(self.ids)):
            own = _codes(frames[f"id{k}"])
            codes = own if codes is None else _codes(pa.array(codes * (int(own.max()) + 1) + own))
        rows = np.argsort(codes, kind="stable")
        if self.order is not None:
            key = self._key(frames)
            by_key = np.asarray(pc.sort_indices(key)).astype(np.int64)
            rows = by_key[np.argsort(codes[by_key], kind="stable")]
            key = key.take(pa.array(rows))
            same = np.asarray(pc.equal(key[1:], key[:-1])) & (codes[rows[1:]] == codes[rows[:-1]])
            if same.any():
                k = int(same.argmax())
                a, b = sorted(frames["row"][int(rows[j])].as_py() for j in (k, k + 1))
                raise ShapeError(
                    "two frames of one sequence have the same place in the order",
                    where=f"{self.where}, rows {a + 1} and {b + 1}, column {self.order!r}",
                    found=f"{_shown(frames['order'], int(rows[k]))} of {self._named(frames, int(rows[k]))}",
                )
        ends = np.flatnonzero(np.diff(codes[rows])) + 1
        return rows, np.concatenate([[0], ends, [count]])

    def _key(self, frames):
        """The order's column as what it is sorted by: text as the numbers, or else the times, it spells."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = _whole(frames["order"])
        if not _is_text(column.type):
            return column
        column = pc.utf8_trim_whitespace(column)
        kinds = (pa.decimal128(38, 18), pa.timestamp("ns"), pa.timestamp("ns", "UTC"))
        for kind in kinds:
            try:
                return column.cast(kind)
            except pa.ArrowInvalid:
                continue
        first = column[:1]
        kind = next((kind for kind in kinds if _casts(first, kind)), kinds[0])
        for k in range(len(column)):
            if not _casts(column[k : k + 1], kind):
                raise DTypeError(
                    "the value does not say an order",
                    where=self._at(frames["row"][k].as_py(), self.order),
                    expected="numbers, or times as 2026-01-31T12:00:00, all of one kind",
                    found=_shown(column, k),
                )
        raise AssertionError("every value can be read alone, but not together")

    def _named(self, part, row):
        """The sequence of a row in words: ``user 'a', day 3``."""
        return ", ".join(f"{name} {_shown(part[f'id{k}'], row)}" for k, name in enumerate(self.ids))

    # ---- answers -------------------------------------------------------------------------------------------

    def schema(self, frames: Any) -> Any:
        """The schema of the answers to frames of the schema ``frames``."""
        import pyarrow as pa

        kinds = [frames.field(f"id{k}").type for k in range(len(self.ids))]
        kinds += [pa.int64()] if self.by_frame else []
        kinds += [frames.field("order").type] if self.ordered else []
        kinds += [pa.float32()] * len(self.answer_names)
        return pa.schema(list(zip(self.names, kinds)))

    def answers(self, part: Any, starts: Any, progress: Any = None) -> Any:
        """The answers to a part that ``parts`` made, beside the number of the first row of their sequence;
        that column comes first.
        """
        import pyarrow as pa

        numbers = np.asarray(_whole(part["values"]).flatten()).reshape(-1, *self._signal.features)
        sizes = np.diff(starts)
        if self._signal.length is not None and (sizes != self._signal.length).any():
            k = int((sizes != self._signal.length).argmax())
            raise ShapeError(
                "the sequence has another number of frames than the model takes",
                where=f"{self.where}, {self._named(part, int(starts[k]))}",
                expected=str(self._signal.length),
                found=str(sizes[k]),
            )
        rows = np.empty(len(sizes), object)
        for k in range(len(sizes)):
            rows[k] = self._as_source(numbers[starts[k] : starts[k + 1]])
        try:
            made = self._run(rows, progress)
        except RnnrtError as error:
            found = re.search(r"\brow (\d+)\b", error.where or "")
            if found is None:
                raise
            row = int(starts[int(found[1])])
            error.where = error.where.replace(found[0], self._named(part, row), 1)
            raise error.at(self.where) from None
        firsts = np.minimum.reduceat(np.asarray(part["row"]), starts[:-1])
        own, counts = starts[:-1], None
        columns: list[Any] = []
        if self.by_frame:
            made = [
                [self._canonical(y, axes, signal) for y in rows]
                for rows, (_, axes, signal) in zip(made, self._outputs)
            ]
            counts = np.array([len(y) for y in made[0]])
            for (name, _, _), ys in zip(self._outputs, made):
                if [len(y) for y in ys] != counts.tolist():
                    raise UnsupportedModelError(
                        "the outputs have different numbers of frames: they do not fit in one table",
                        where=f"output {name!r}",
                    )
            if self.ordered and (counts != sizes).any():
                raise UnsupportedModelError("the model does not answer with a frame for every frame")
            made = [np.concatenate(ys) for ys in made]
            own, firsts = np.repeat(own, counts), np.repeat(firsts, counts)
            columns.append(pa.array(np.arange(len(own)) - np.repeat(np.cumsum(counts) - counts, counts)))
            columns += [part["order"]] if self.ordered else []
        index = pa.array(own)
        columns = [firsts, *(part[f"id{k}"].take(index) for k in range(len(self.ids))), *columns]
        for y, (_, _, signal) in zip(made, self._outputs):
            y = np.asarray(y).reshape(len(own), signal.width)
            columns += [pa.array(np.ascontiguousarray(y[:, k])) for k in range(signal.width)]
        schema = self.schema(part.schema).insert(0, pa.field("row", pa.int64()))
        return pa.Table.from_arrays(
            [pa.array(c) if isinstance(c, np.ndarray) else c for c in columns], schema=schema
        )

    def _as_source(self, frames):
        """A sequence (time, *features) as the model takes it."""
        if self._layer.axes.startswith("bt"):
            return frames
        x = to_source(frames[None], self._layer.axes)
        return np.squeeze(x, _batch_axis(self._layer.axes, self._signal))

    def _canonical(self, y, axes, signal):
        """The answer to one sequence as (time, width)."""
        if not axes.startswith("bt"):
            y = to_canonical(np.expand_dims(y, _batch_axis(axes, signal)), axes)[0]
        return y.reshape(len(y), signal.width)

    def _run(self, rows, progress=None):
        """For each output what ``model`` answers to the rows."""
        given = [rows if name == self._input else None for name in self.model.graph.inputs]
        made = self.model(*given, progress=progress)
        return made if isinstance(made, tuple) else (made,)

    def _keeps_frames(self):
        """Whether an answer has as many frames as its sequence, whatever their number."""
        least = max(8, self.model.receptive_field or 0)
        sizes = [least, least + 1] if self._signal.length is None else [self._signal.length]
        rows = np.empty(len(sizes), object)
        for k, size in enumerate(sizes):
            rows[k] = self._as_source(np.zeros((size, *self._signal.features), np.float32))
        return all(
            [len(self._canonical(y, axes, signal)) for y in ys] == sizes
            for ys, (_, axes, signal) in zip(self._run(rows), self._outputs)
        )


def _input_of(model):
    """The name of the one input over time."""
    graph = model.graph
    free = {*graph.metadata.get("optional_inputs", ()), *graph.mask_inputs}
    names = [name for name in graph.inputs if name not in free]
    if len(names) != 1 or not graph[names[0]].time:
        raise UnsupportedModelError(
            "only a model with one input over time answers the sequences of a table",
            found=", ".join(f"{n!r} {shape}" for n, shape in model.inputs.items()),
        )
    return names[0]


def _batch_axis(axes, signal):
    return letters(axes, len(signal.features)).index("b")


def _is_text(kind):
    import pyarrow as pa

    t = pa.types
    return t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind)


def _casts(column, kind):
    import pyarrow as pa

    try:
        column.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _shown(column, k):
    """The value of a row as a message shows it."""
    import pyarrow as pa

    try:
        text = column[k : k + 1].cast(pa.string())[0].as_py()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        text = str(column[k])
    return repr(text) if _is_text(column.type) else text


def _whole(column):
    """The column as one array."""
    import pyarrow as pa

    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _codes(column):
    """A number for each value, from 0, in the order of their first places."""
    return np.asarray(_whole(column).dictionary_encode().indices).astype(np.int64)
