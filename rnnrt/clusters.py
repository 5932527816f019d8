"""The sequences in a table, scored by many processes: thin functions on Dask, Ray Data and Spark.

Rows are frames, as in ``rnnrt score``: each engine brings the rows of a sequence together, and each of its
tasks answers whole sequences. ``order`` is needed, for the rows of a cluster have no order of their own.
Answers have the bits that one process gives, whatever worker computes them and however often a task is run.

A model is best given by path (``rnnrt.by_path(rnnrt.load(path))``, where workers share a disk): a task then
carries the path and the sha256 of the file. Either way a process makes one Model of it, however many tasks it
runs. What comes back is in no order; ids, ``frame`` and the order's column say what an answer belongs to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import require
from .scoring import Scoring

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .model import Model


class PandasScoring:
    """``Scoring`` of pandas DataFrames that hold whole sequences; it pickles, and holds no data. Raises what
    Scoring raises; a missing value is None or NaN.
    """

    def __init__(self, scoring: Scoring) -> None:
        self.scoring = scoring

    def __call__(self, frame: Any) -> Any:
        pa = require("pyarrow", "score", "rnnrt.clusters")
        self.scoring.check_names(list(frame.columns))
        table = pa.Table.from_pandas(frame[self.scoring.read], preserve_index=False)
        # in one piece: text in several is more than Spark takes of a DataFrame
        return self.scoring(table).combine_chunks().to_pandas()


def on_dask(frame: Any, model: Model[Any], ids: Sequence[str], columns: Sequence[str], order: str) -> Any:
    """The answers to the sequences in a Dask DataFrame, as another one: ``shuffle`` by ids, then
    ``map_partitions``. Nothing is computed before it is asked for.

    A partition must fit in the memory of a worker.
    """
    score = PandasScoring(_scoring(model, ids, columns, order, "a partition"))
    brought = frame[score.scoring.read].shuffle(on=list(ids))
    return brought.map_partitions(score, meta=score(brought._meta))


def on_ray(
    dataset: Any,
    model: Model[Any],
    ids: Sequence[str],
    columns: Sequence[str],
    order: str,
    *,
    groups: int = 64,
) -> Any:
    """The answers to the sequences in a Ray Dataset, as another one: ``map_batches`` says of every row which
    of ``groups`` groups its sequence falls into, ``map_groups`` answers a group at a time.

    A group must fit in the memory of a worker.
    """
    scoring = _scoring(model, ids, columns, order, "a group")
    grouped = dataset.select_columns(scoring.read).map_batches(
        _grouped, fn_args=(scoring, groups), batch_format="pyarrow"
    )
    return grouped.groupby(GROUP, num_partitions=groups).map_groups(
        _scored, fn_args=(scoring,), batch_format="pyarrow"
    )


#: The column that holds it.
GROUP = "rnnrt_group"


def _grouped(table, scoring, groups):
    import pyarrow as pa

    return table.append_column(GROUP, pa.array(scoring.buckets(scoring.frames(table), groups)))


def _scored(table, scoring):
    return scoring(table)


def on_spark(frame: Any, model: Model[Any], ids: Sequence[str], columns: Sequence[str], order: str) -> Any:
    """The answers to the sequences in a Spark DataFrame, as another one: ``repartition`` by ids,
    ``sortWithinPartitions``, then ``mapInPandas``, which holds a batch of rows and the sequence that goes on
    behind it.
    """
    types = require("pyspark.sql.types", "score", "rnnrt.clusters.on_spark")
    score = PandasScoring(_scoring(model, ids, columns, order, "a partition"))
    scoring = score.scoring
    scoring.check_names(frame.columns)
    kept = {*ids, *([order] if scoring.ordered else [])}
    schema = types.StructType(
        [
            types.StructField(name, frame.schema[name].dataType)
            if name in kept
            else types.StructField(name, types.LongType() if name == "frame" else types.FloatType())
            for name in scoring.names
        ]
    )
    brought = frame.select(*scoring.read).repartition(*ids).sortWithinPartitions(*ids)
    return brought.mapInPandas(_WholeSequences(score), schema)


class _WholeSequences:
    """Sequences that come batch by batch, the rows of one behind one another: each is answered when its last
    row is there.
    """

    def __init__(self, score):
        self.score, self.ids = score, score.scoring.ids

    def __call__(self, batches: Iterator[Any]) -> Iterator[Any]:
        import pandas as pd

        held = []  # of the last sequence so far
        for batch in batches:
            if not len(batch):
                continue
            goes_on = (batch[self.ids] == batch[self.ids].iloc[-1]).all(axis=1)
            if held and (held[-1][self.ids].iloc[-1] == batch[self.ids].iloc[0]).all() and goes_on.all():
                held.append(batch)
                continue
            done = pd.concat([*held, batch[~goes_on]])
            if len(done):
                yield self.score(done)
            held = [batch[goes_on]]
        if held:
            yield self.score(pd.concat(held))


def _scoring(model, ids, columns, order, where):
    return Scoring(model, ids, columns, order, where=where)
