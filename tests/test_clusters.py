"""Scoring by many processes: the functions of rnnrt.clusters on the engines themselves, through their
examples, with a process killed on the way.
"""

import os
import pickle
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import small_models
from needs import need

import rnnrt
from rnnrt import clusters, scoring
from rnnrt.command import main

pa, pd = need("pyarrow"), need("pandas")
pq = need("pyarrow.parquet")
ROOT = Path(__file__).resolve().parent.parent
IDS, COLUMNS = ["user", "day"], ["A", "B", "C"]


def a_frame(rows=3000, ids=200):
    """Frames of many sequences, interleaved and in no order."""
    r = np.random.default_rng(3)
    made = {"user": [f"u{k}" for k in r.integers(0, ids, rows)], "day": r.integers(0, 3, rows)}
    numbers = r.standard_normal((rows, 3)).astype(np.float32)
    return pd.DataFrame(made | {"t": r.permutation(rows)} | {c: numbers[:, k] for k, c in enumerate(COLUMNS)})


def by_id(frame):
    """The rows of answers, in the order of ids and frames, as tuples."""
    return sorted(frame.itertuples(index=False, name=None), key=lambda row: row[:3])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "net.rnnrt"
    small_models.net().save(path)
    return rnnrt.by_path(rnnrt.load(path))


# ---- without an engine -------------------------------------------------------------------------------------


def test_a_frame_of_pandas_is_answered_as_each_sequence_alone(model):
    frame = a_frame()
    score = pickle.loads(pickle.dumps(clusters.PandasScoring(scoring.Scoring(model, IDS, COLUMNS, "t"))))
    assert len(pickle.dumps(score)) < 3000 and score.scoring.model is pickle.loads(pickle.dumps(model))
    found = score(frame)
    assert list(found.columns) == ["user", "day", "frame", "t", *(f"y_{k}" for k in range(5))]
    assert [str(found[c].dtype) for c in ("day", "t", "y_0")] == ["int64", "int64", "float32"]
    wanted = []
    for key, group in frame.groupby(IDS):
        group = group.sort_values("t")
        for k, y in enumerate(model(group[COLUMNS].to_numpy())):
            wanted.append((*key, k, group["t"].iloc[k], *y))
    assert by_id(found) == by_id(pd.DataFrame(wanted))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda f: f.assign(B=f["B"].where(f.index != 4)),
            "a partition, row 5, column 'B': the value is missing",
        ),
        (lambda f: f.assign(day=f["day"].where(f.index != 4)), "a partition, row 5, column 'day'"),
        (lambda f: f.assign(C="x"), "a partition, column 'C': the column has a type"),
        (lambda f: f.drop(columns="C"), "there is no column 'C'"),
        (lambda f: f.assign(t=1), "the same place in the order"),
    ],
)
def test_a_frame_that_cannot_be_scored_is_refused(model, change, words):
    score = clusters.PandasScoring(scoring.Scoring(model, IDS, COLUMNS, "t", where="a partition"))
    with pytest.raises(rnnrt.RnnrtError, match=words):
        score(change(a_frame()))


@pytest.mark.parametrize("size", [1, 2, 7, 100, 10_000])
def test_sequences_may_lie_across_the_batches_of_spark(model, size):
    frame = a_frame(1000, 40).sort_values(IDS, ignore_index=True)
    score = clusters.PandasScoring(scoring.Scoring(model, IDS, COLUMNS, "t"))
    batches = [frame[k : k + size] for k in range(0, len(frame), size)]
    batches = [frame[:0], *batches, frame[:0]]
    found = list(clusters._WholeSequences(score)(iter(batches)))
    assert by_id(pd.concat(found)) == by_id(score(frame))
    assert list(clusters._WholeSequences(score)(iter([frame[:0]]))) == []


def test_groups_hold_whole_sequences_in_every_process(model):
    table = pa.Table.from_pandas(a_frame(), preserve_index=False)
    score = scoring.Scoring(model, IDS, COLUMNS, "t")
    groups = score.buckets(score.frames(table), 7)
    assert set(groups) == set(range(7))
    parts = [table.slice(k, 10) for k in range(0, 3000, 10)]
    assert [g for part in parts for g in score.buckets(score.frames(part), 7)] == groups.tolist()
    known = {}
    for group, key in zip(groups, zip(*(table[name].to_pylist() for name in IDS))):
        assert known.setdefault(key, group) == group
    one = pa.table({"user": ["a", "ß"], "day": [1, -2], "t": [1, 2], **{c: [0.5, 0.5] for c in COLUMNS}})
    assert score.buckets(score.frames(one), 1 << 20).tolist() == [917824, 564037]  # never another number


# ---- on the engines ----------------------------------------------------------------------------------------


def engine(name, modules):
    """Skips where an engine is not installed: that is said, also in CI, which may not find all of them."""
    for module in modules:
        if find_spec(module) is None:
            pytest.skip(f"not run: no {name}")
    if name == "Spark" and not shutil.which("java") and "JAVA_HOME" not in os.environ:
        pytest.skip("not run: no Java for Spark")


#: Of Spark: so small a table lies in several partitions, which come in several batches.
SMALL = (
    "--conf spark.sql.files.maxPartitionBytes=20000 --conf spark.sql.execution.arrow.maxRecordsPerBatch=100 "
    "pyspark-shell"
)


@pytest.mark.parametrize(
    ("name", "modules"), [("Dask", ["dask", "distributed"]), ("Ray", ["ray"]), ("Spark", ["pyspark"])]
)
def test_a_killed_worker_loses_nothing_and_the_bits_are_those_of_one_process(tmp_path, model, name, modules):
    engine(name, modules)
    data, told, out = tmp_path / "d.parquet", tmp_path / "told", tmp_path / "out"
    told.mkdir()
    pq.write_table(pa.Table.from_pandas(a_frame(), preserve_index=False), data, row_group_size=1000)
    given = [model._path, str(data)]
    more = ["--id", "user,day", "--columns", "A,B,C", "--order", "t"]
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])
    script, example = ROOT / "tests/support/killed_cluster.py", ROOT / f"examples/score_on_{name.lower()}.py"
    done = subprocess.run(
        [sys.executable, str(script), str(told), str(example), *given, str(out), *more],
        env=os.environ | {"PYTHONPATH": path, "PYSPARK_SUBMIT_ARGS": SMALL},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"{out}: answers of 2" in done.stdout
    assert main.main(["score", *given, *more, "-o", str(tmp_path / "one.parquet"), "--json"]) == 0
    one, many = pq.read_table(tmp_path / "one.parquet"), pq.read_table(out)
    assert many.schema.names == one.schema.names
    assert by_id(many.cast(one.schema).to_pandas()) == by_id(one.to_pandas())
    assert (told / "killed").exists()
    called = {p.name.partition("-")[2] for p in told.glob("called-*")}
    assert len(called) >= 2  # the killed one, and who came after it
    made = {p.name.partition("-")[2]: p.read_text() for p in told.glob("made-*")}
    assert called <= set(made) and set(made.values()) == {"x"}  # one Model a process
