"""``rnnrt score``: the sequences in a table. What it answers is what the model answers to each of them alone;
what is killed goes on; what cannot be scored is refused by row and column.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import small_models
from case_layers import dense, recurrent, weights
from command import run, run_json
from needs import need

import rnnrt
from rnnrt import layers as L
from rnnrt import scoring

pa = need("pyarrow")
csv, pq = need("pyarrow.csv"), need("pyarrow.parquet")
HERE = Path(__file__).resolve().parent


def write(path, table):
    (csv.write_csv if path.suffix == ".csv" else pq.write_table)(table, path)
    return path


def rows_of(path, schema=None):
    """The rows of a written table, as tuples."""
    table = csv.read_csv(path) if path.suffix == ".csv" else pq.read_table(path)
    table = table.cast(schema) if schema else table
    return list(zip(*(column.to_pylist() for column in table.columns)))


def a_table(columns="ABC", rows=300, ids=20, seed=0, integers=None):
    """Frames of ``ids`` sequences, interleaved, the order of each shuffled in ``t``."""
    r = np.random.default_rng(seed)
    numbers = r.standard_normal((rows, len(columns))).astype(np.float32)
    if integers:
        numbers = r.integers(0, integers, numbers.shape)
    made = {"user": [f"u{k}" for k in r.integers(0, ids, rows)], "day": r.integers(0, 3, rows)}
    return pa.table(made | {"t": r.permutation(rows)} | {c: numbers[:, k] for k, c in enumerate(columns)})


def alone(model, table, ids, columns, order=None, shaped=lambda x: x, framed=lambda y: y):
    """The rows that shall come out: every sequence by itself through ``model``."""
    sequences = {}
    for row in table.to_pylist():
        sequences.setdefault(tuple(row[name] for name in ids), []).append(row)
    made = []
    for key, rows in sequences.items():
        rows = sorted(rows, key=lambda row: row[order]) if order else rows
        x = np.array([[row[name] for name in columns] for row in rows])
        x = x if x.dtype.kind == "i" else x.astype(np.float32)
        y = model(shaped(x))
        y = y if isinstance(y, tuple) else (y,)
        y = [framed(part) for part in y]
        if y[0].ndim == 1:
            made.append((*key, *np.concatenate(y).tolist()))
            continue
        for k, parts in enumerate(zip(*y, strict=True)):
            made.append((*key, k, *([rows[k][order]] if order else []), *np.concatenate(parts).tolist()))
    return made


@pytest.fixture
def net(tmp_path):
    """The path of a model of three numbers a frame, and the model."""
    small_models.net().save(tmp_path / "net.rnnrt")
    return tmp_path / "net.rnnrt", rnnrt.load(tmp_path / "net.rnnrt")


SCORED = ("--id", "user", "day", "--columns", "A,B,C")


# ---- answers -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [None, "t"])
@pytest.mark.parametrize("read", ["parquet", "csv"])
@pytest.mark.parametrize("written", ["parquet", "csv"])
def test_a_frame_is_answered_as_in_its_sequence_alone(capsys, tmp_path, net, read, written, order):
    table = a_table()
    data, out = write(tmp_path / f"d.{read}", table), tmp_path / f"y.{written}"
    given = ("--order", order) if order else ()
    code, found = run_json(capsys, "score", net[0], data, *SCORED, *given, "-o", out)
    wanted = alone(net[1], table, ["user", "day"], "ABC", order)
    assert code == 0 and (found["rows"], found["answers"]) == (300, 300) and found["sequences"] == 60
    assert found["columns"] == [
        "user",
        "day",
        "frame",
        *([order] if order else []),
        *(f"y_{k}" for k in range(5)),
    ]
    kinds = [pa.string(), pa.int64(), pa.int64(), *([pa.int64()] if order else []), *[pa.float32()] * 5]
    assert rows_of(out, pa.schema(list(zip(found["columns"], kinds)))) == wanted
    assert not Path(f"{out}.score").exists()


def _last(b, x, r):
    return b.add(L.Last, "last", recurrent(b, x, r, L.GRU, 4))


ONCE = {"axes": "btf", "out_axes": "bf"}
MODELS = {
    "once": (small_models.built(_last, **ONCE), "ABC", {}),
    "one number": (small_models.built(lambda b, x, r: dense(b, x, r, 1)), "ABC", {}),
    "channels first": (
        small_models.built(lambda b, x, r: recurrent(b, x, r, L.GRU, 4), axes="bft", out_axes="bft"),
        "ABC",
        {"shaped": lambda x: x.T, "framed": lambda y: y.T},
    ),
    "time first": (
        small_models.built(lambda b, x, r: recurrent(b, x, r, L.GRU, 4), axes="tbf", out_axes="tbf"),
        "ABC",
        {},
    ),
    "ids": (small_models.embedding(), "A", {"shaped": lambda x: x[:, 0]}),
    "features of two axes": (
        small_models.built(
            lambda b, x, r: b.add(L.Activation, "relu", x, activation="relu"), features=(2, 2)
        ),
        "ABCD",
        {"shaped": lambda x: x.reshape(-1, 2, 2), "framed": lambda y: y.reshape(-1, 4)},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_of_every_form_are_answered(capsys, tmp_path, name):
    model, columns, form = MODELS[name]
    model.save(tmp_path / "m.rnnrt")
    table = a_table(columns, integers=11 if name == "ids" else None)
    write(tmp_path / "d.parquet", table)
    given = ("--id", "user", "--columns", ",".join(columns))
    code, _, err = run(
        capsys, "score", tmp_path / "m.rnnrt", tmp_path / "d.parquet", *given, "-o", tmp_path / "y.parquet"
    )
    assert code == 0, err
    assert rows_of(tmp_path / "y.parquet") == alone(model, table, ["user"], columns, **form)
    names = pq.read_schema(tmp_path / "y.parquet").names
    assert names[-1] == ("y" if name == "one number" else f"y_{len(names) - (2 if name == 'once' else 3)}")


def test_several_outputs_stand_side_by_side(capsys, tmp_path):
    b, r = L.GraphBuilder(), np.random.default_rng(0)
    x = b.input("x", (2,))
    b.output("mean", dense(b, x, r, 1))
    b.output("scale", dense(b, x, r, 2))
    model = rnnrt.from_graph(b.graph())
    model.save(tmp_path / "m.rnnrt")
    table = a_table("AB")
    write(tmp_path / "d.parquet", table)
    given = ("--id", "user", "--columns", "A", "B", "-o", tmp_path / "y.parquet")
    assert run(capsys, "score", tmp_path / "m.rnnrt", tmp_path / "d.parquet", *given)[0] == 0
    assert rows_of(tmp_path / "y.parquet") == alone(model, table, ["user"], "AB")
    assert pq.read_schema(tmp_path / "y.parquet").names[2:] == ["mean", "scale_0", "scale_1"]


@pytest.mark.parametrize(("stride", "padding"), [(2, "same"), (1, (0, 0))])
def test_answers_of_other_frames_stand_beside_no_order(capsys, tmp_path, stride, padding):
    """A frame of theirs is not one of the table's."""

    def strided(b, x, r):
        return b.add(L.Conv1D, "conv", x, weight=weights(r, 2, 3, 1), stride=stride, padding=padding)

    model = small_models.built(strided, features=(1,))
    model.save(tmp_path / "m.rnnrt")
    table = a_table("A", ids=3)
    write(tmp_path / "d.parquet", table)
    given = ("--id", "user", "--columns", "A", "--order", "t", "-o", tmp_path / "y.parquet")
    assert run(capsys, "score", tmp_path / "m.rnnrt", tmp_path / "d.parquet", *given)[0] == 0
    assert pq.read_schema(tmp_path / "y.parquet").names == ["user", "frame", "y_0", "y_1"]
    wanted = alone(model, table, ["user"], "A", "t")
    assert rows_of(tmp_path / "y.parquet") == [(*row[:2], *row[3:]) for row in wanted]


def test_ids_of_every_kind_come_back_as_they_were(capsys, tmp_path, net):
    dates = np.array(["2026-01-31", "2026-02-01"], "datetime64[D]")[[0, 1, 0, 1]]
    ids = {
        "whole": pa.array([7, -7, 7, -7], pa.int32()),
        "text": pa.array(["007", "7", "007", "7"]),
        "category": pa.array(["", "x", "", "x"]).dictionary_encode(),
        "date": pa.array(dates),
        "time": pa.array(dates.astype("datetime64[ns]") + 1),
        "either": pa.array([True, False, True, False]),
        "exact": pa.array([1, 2, 1, 2]).cast(pa.decimal128(21, 2)),
    }
    table = pa.table(ids | {c: pa.array(np.float32([1, 2, 3, 4])) for c in "ABC"})
    write(tmp_path / "d.parquet", table)
    for name in ids:
        given = ("--id", name, "--columns", "A,B,C", "-o", tmp_path / "y.parquet")
        assert run(capsys, "score", net[0], tmp_path / "d.parquet", *given)[0] == 0
        made = pq.read_table(tmp_path / "y.parquet")
        kind = table[name].type
        assert made[name].type == (kind.value_type if name == "category" else kind)
        assert made[name].equals(table[name].cast(made[name].type).take([0, 2, 1, 3]))
    write(tmp_path / "d.csv", table.select(["text", *"ABC"]))  # text in a CSV file stays what it was
    given = ("--id", "text", "--columns", "A,B,C", "-o", tmp_path / "y.parquet")
    assert run(capsys, "score", net[0], tmp_path / "d.csv", *given)[0] == 0
    assert pq.read_table(tmp_path / "y.parquet")["text"].to_pylist() == ["007", "007", "7", "7"]


ORDERS = (
    ["10", "9", "-1.5", " 1.1e1"],
    ["2026-01-31T12:00:00", "2026-01-31", "2025-12-31 23:59:59.5", "2026-02-01"],
    ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00+01:00", "2025-01-01T00:00:00Z", "2027-01-01T00:00:00Z"],
)


@pytest.mark.parametrize("values", ORDERS, ids=("numbers", "times", "times of zones"))
@pytest.mark.parametrize("read", ["parquet", "csv"])
def test_an_order_in_text_is_that_of_its_numbers_or_times(capsys, tmp_path, net, values, read):
    table = pa.table({"id": [1] * 4, "t": values, **{c: [1.0, 2.0, 3.0, 4.0] for c in "ABC"}})
    data, out = write(tmp_path / f"d.{read}", table), tmp_path / "y.parquet"
    command = ("score", net[0], data, "--id", "id", "--columns", "A,B,C", "--order", "t", "-o", out)
    code, _, err = run(capsys, *command)
    assert code == 0, err
    assert pq.read_table(out)["t"].to_pylist() == [values[k] for k in (2, 1, 0, 3)]
    write(data, table.set_column(1, "t", pa.array([*values[:3], ORDERS[values[0] == "10"][0]])))
    code, _, err = run(capsys, *command)
    assert code == 2 and "row 4, column 't': the value does not say an order" in err
    write(data, table.set_column(1, "t", pa.array([*values[:3], values[0]])))
    code, _, err = run(capsys, *command)
    assert code == 2 and "rows 1 and 4, column 't': two frames of one sequence" in err


def test_a_table_without_rows_has_no_answers(capsys, tmp_path, net):
    for data in (tmp_path / "d.parquet", tmp_path / "d.csv"):
        write(data, a_table(rows=0))
        for out in (tmp_path / "y.parquet", tmp_path / "y.csv"):
            code, found = run_json(capsys, "score", net[0], data, *SCORED, "--order", "t", "-o", out)
            assert code == 0 and found["answers"] == 0 and rows_of(out) == []
        assert pq.read_schema(tmp_path / "y.parquet").names[:4] == ["user", "day", "frame", "t"]


# ---- memory ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", ["parquet", "csv"])
def test_a_table_divided_among_buckets_has_the_same_answers(capsys, tmp_path, net, monkeypatch, read):
    data = write(tmp_path / f"d.{read}", a_table(rows=2000, ids=100))
    monkeypatch.setattr(scoring, "MOST_NUMBERS", 500)
    from rnnrt.command import score_folder, table_files

    outputs = []
    for memory, batch, merged in (("1G", 1 << 20, 1 << 13), ("100K", 1000, 7), ("40K", 64, 1)):
        monkeypatch.setattr(table_files, "BATCH_NUMBERS", batch)
        monkeypatch.setattr(score_folder, "MERGE_ROWS", merged)
        out = tmp_path / f"{memory}.parquet"
        given = (*SCORED, "--order", "t", "--memory", memory, "-o", out)
        assert run(capsys, "score", net[0], data, *given)[0] == 0
        outputs.append(out.read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]
    code, _, err = run(capsys, "score", net[0], data, *SCORED, "--memory", "100", "-o", tmp_path / "y.csv")
    assert code == 2 and "too large for this much memory" in err and "--memory 1M or more" in err


def test_memory_is_bounded_for_a_file_of_any_size(tmp_path, net):
    with pq.ParquetWriter(tmp_path / "d.parquet", a_table().schema) as writer:
        for k in range(40):
            writer.write_table(a_table(rows=20000, ids=5000, seed=k))
    code = (
        "import sys, pyarrow as pa; from rnnrt import scoring; from rnnrt.command import main, table_files\n"
        "scoring.MOST_NUMBERS = table_files.BATCH_NUMBERS = table_files.GROUP_ROWS = 1 << 14\n"
        "code = main.main(sys.argv[1:]); print(pa.default_memory_pool().max_memory()); sys.exit(code)"
    )
    given = ["score", str(net[0]), str(tmp_path / "d.parquet"), *SCORED, "--memory", "4M"]
    done = subprocess.run(
        [sys.executable, "-c", code, *given, "-o", str(tmp_path / "y.parquet")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    whole = pq.read_table(tmp_path / "d.parquet").nbytes
    assert int(done.stdout.split()[-1]) < whole / 2, whole
    assert pq.read_metadata(tmp_path / "y.parquet").num_rows == 800_000


# ---- killed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", ["1G", "50K"])
def test_a_run_killed_at_any_change_of_the_disk_goes_on(tmp_path, net, memory):
    data = write(tmp_path / "d.parquet", a_table(rows=300))
    given = [str(net[0]), str(data), *SCORED, "--memory", memory, "-o", str(tmp_path / "y.parquet")]
    script = HERE / "support" / "killed_score.py"
    done = subprocess.run(
        [sys.executable, script, "score", *given], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] > 20 and found["resumed"] > 10, found


def test_a_run_killed_at_random_loses_nothing_and_doubles_nothing(tmp_path):
    model = small_models.net(units=64)
    model.save(tmp_path / "net.rnnrt")
    data = write(tmp_path / "d.parquet", a_table(rows=60_000, ids=3000))
    command = [sys.executable, "-m", "rnnrt", "score", str(tmp_path / "net.rnnrt"), str(data), *SCORED]
    command += ["--order", "t", "--memory", "2M", "-o"]
    start = time.monotonic()
    subprocess.run([*command, str(tmp_path / "whole.parquet")], check=True, capture_output=True)
    seconds = time.monotonic() - start
    out, draw = tmp_path / "y.parquet", random.Random(1)
    for _ in range(6):
        with subprocess.Popen(
            [*command, str(out)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                process.wait(draw.uniform(0.3, 1) * seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
    subprocess.run([*command, str(out)], check=True, capture_output=True)
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
    assert rows_of(out) == alone(model, pq.read_table(data), ["user", "day"], "ABC", "t")


def interrupted(monkeypatch, capsys, *arguments, after=3):
    """A run that Ctrl-C ends behind so many parts."""
    answers, left = scoring.Scoring.answers, after

    def ended(*given):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return answers(*given)

    with monkeypatch.context() as patched:
        patched.setattr(scoring.Scoring, "answers", ended)
        assert run(capsys, *arguments)[0] == 130


def test_what_is_left_serves_the_same_run_alone(capsys, tmp_path, net, monkeypatch):
    monkeypatch.setattr(scoring, "MOST_NUMBERS", 200)
    data, out = write(tmp_path / "d.parquet", a_table()), tmp_path / "y.parquet"
    command = ("score", net[0], data, *SCORED, "-o", out)
    run(capsys, *command)
    wanted = out.read_bytes()
    out.unlink()
    interrupted(monkeypatch, capsys, *command)
    assert not out.exists()
    part = next((tmp_path / "y.parquet.score").glob("answers-0-0-*.arrow"))
    (part.parent / "answers-0-1-2.arrow").write_bytes(part.read_bytes())  # begins where no part ends
    code, _, err = run(capsys, *command)
    assert code == 0 and out.read_bytes() == wanted
    assert "an interrupted run had answered" in err and " of 60 sequences: they were kept" in err
    for change in ("columns", "data", "model"):
        interrupted(monkeypatch, capsys, *command)
        given = list(command)
        if change == "columns":
            given[given.index("A,B,C")] = "B,A,C"
        if change == "data":
            write(data, a_table(seed=1))
        if change == "model":
            small_models.net(L.GRU).save(net[0])
        code, found = run_json(capsys, *given)
        assert code == 0 and found["resumed"] == 0
        columns = "BAC" if change == "columns" else "ABC"
        wanted = alone(rnnrt.load(net[0]), pq.read_table(data), ["user", "day"], columns)
        assert rows_of(out) == wanted, change


def test_two_runs_do_not_write_one_file(capsys, tmp_path, net):
    import fcntl

    data, out = write(tmp_path / "d.parquet", a_table()), tmp_path / "y.parquet"
    (tmp_path / "y.parquet.score").mkdir()
    with open(tmp_path / "y.parquet.score" / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        code, _, err = run(capsys, "score", net[0], data, *SCORED, "-o", out)
    assert code == 2 and f"{out}: another rnnrt score is writing this file" in err and not out.exists()
    assert run(capsys, "score", net[0], data, *SCORED, "-o", out)[0] == 0


def test_a_table_that_changes_while_it_is_read_is_refused(capsys, tmp_path, net, monkeypatch):
    data, out = write(tmp_path / "d.parquet", a_table()), tmp_path / "y.parquet"
    frames = scoring.Scoring.frames

    def changed(*given):
        os.utime(data, ns=(0, time.time_ns()))
        return frames(*given)

    monkeypatch.setattr(scoring.Scoring, "frames", changed)
    code, _, err = run(capsys, "score", net[0], data, *SCORED, "-o", out)
    assert code == 2 and f"{data}: changed while it was read" in err and not out.exists()


# ---- refusals ----------------------------------------------------------------------------------------------


def changed(name, row, value, kind=None):
    """A table with another value in one place."""
    table = a_table(rows=9, ids=2)
    values = table[name].to_pylist()
    values[row] = value
    return table.set_column(table.schema.names.index(name), name, pa.array(values, kind))


def retyped(name, kind):
    table = a_table(rows=9, ids=2)
    return table.set_column(table.schema.names.index(name), name, table[name].cast(kind))


LISTS = pa.table({"user": ["a"], "day": [1], "A": [[1.0]], "B": [1.0], "C": [1.0]})
TWICE = pa.table([pa.array([1.0])] * 5, names=["user", "A", "A", "B", "C"])
PARQUET = {
    "a value": (changed("B", 4, None), SCORED, "row 5, column 'B': the value is missing", "null"),
    "a NaN": (changed("B", 4, float("nan"), pa.float32()), SCORED, "row 5, column 'B'", "nan"),
    "too large": (changed("B", 4, 1e39), SCORED, "row 5, column 'B'", "range of float32"),
    "an id": (changed("day", 0, None), SCORED, "row 1, column 'day': the value is missing", "null"),
    "an order": (changed("t", 8, None), (*SCORED, "--order", "t"), "row 9, column 't'", "null"),
    "an order that is NaN": (
        changed("t", 8, float("nan"), pa.float64()),
        (*SCORED, "--order", "t"),
        "row 9, column 't'",
        "NaN",
    ),
    "text": (retyped("C", pa.string()), SCORED, "column 'C': the column has a type", "string"),
    "times": (
        retyped("C", pa.float64()).set_column(5, "C", pa.array([0] * 9, pa.timestamp("s"))),
        SCORED,
        "column 'C'",
        "timestamp",
    ),
    "lists": (LISTS, SCORED, "column 'A'", "list"),
    "ids of floats": (retyped("day", pa.float32()), SCORED, "column 'day'", "found float"),
    "an order of words": (
        a_table(rows=9),
        ("--id", "day", "--columns", "A,B,C", "--order", "user"),
        "row 1, column 'user': the value does not say an order",
        "numbers, or times",
    ),
    "one place": (
        changed("t", 3, 5).set_column(0, "user", pa.array(["a"] * 9)),
        ("--id", "user", "--columns", "A,B,C", "--order", "day"),
        "two frames of one sequence have the same place in the order",
        "of user 'a'",
    ),
    "no such column": (a_table(), ("--id", "user", "--columns", "A,B,c"), "there is no column 'c'", "'C'"),
    "a column twice": (TWICE, ("--id", "user", "--columns", "A,B,C"), "two columns 'A'", ""),
    "too few": (
        a_table(),
        ("--id", "user", "--columns", "A,B"),
        "another number of columns",
        "expected 3; found 2: A, B",
    ),
    "named twice": (a_table(), ("--id", "user", "--columns", "A,B,B"), "columns name 'B' twice", ""),
    "ids named twice": (a_table(), ("--id", "user,user", "--columns", "A,B,C"), "ids name 'user' twice", ""),
    "the order an id": (a_table(), (*SCORED, "--order", "day"), "'day' is an id", ""),
    "a name of ours": (
        a_table().rename_columns(["y_0", "day", "t", *"ABC"]),
        ("--id", "y_0", "--columns", "A,B,C"),
        "two columns 'y_0'",
        "another name",
    ),
}


@pytest.mark.parametrize("name", PARQUET)
def test_what_cannot_be_scored_is_refused_in_one_sentence(capsys, tmp_path, net, name):
    table, given, *words = PARQUET[name]
    refused(capsys, tmp_path, net[0], write(tmp_path / "d.parquet", table), given, words)


def refused(capsys, tmp_path, model, data, given, words):
    for memory in ("1G", "2K"):
        out = tmp_path / "y.parquet"
        code, printed, err = run(capsys, "score", model, data, *given, "--memory", memory, "-o", out)
        assert code in (2, 4) and not printed and err.count("\n") == 1, err
        assert all(word in err for word in words), err
        assert not out.exists() and (memory != "1G" or not Path(f"{out}.score").exists())


HEAD = "user,A,B,C\n"
CSV = {
    "not a number": (HEAD + "a,1,2,3\na,1,2x,3\n", "row 2, column 'B': the value cannot be used", "'2x'"),
    "nothing": (HEAD + "a,1,,3\n", "row 1, column 'B': the value is missing", ""),
    "no id": (HEAD + "a,1,2,3\n,1,2,3\n", "row 2, column 'user': the value is missing", ""),
    "a decimal comma": (HEAD + 'a,1,"2,5",3\n', "row 1, column 'B'", "'2,5'"),
    "infinite": (HEAD + "a,1,inf,3\n", "row 1, column 'B'", "finite"),
    "a blank line": (HEAD + "a,1,2,3\n\na,1,2,3\n", "row 2, column", "missing"),
    "a short row": (HEAD + "a,1,2,3\na,1,2\n", "cannot be read", "Expected 4 columns, got 3"),
    "a quote that is not closed": (HEAD + 'a,1,2,3\n"a,1,2,3\na,1,2,3\n', "", ""),
    "a quote in another column": ("x," + HEAD + '1,a,1,2,3\n"1,a,1,2,3\n1,a,1,2,3\n', "", ""),
    "a line break in quotes": ("x," + HEAD + '"1\n2",a,1,2,3\n', "one line each", "expected 2 lines"),
    "semicolons": (HEAD.replace(",", ";") + "a;1;2;3\n", "there is no column 'user'", "user;A;B;C"),
    "no heading": ("a,1,2,3\n", "there is no column 'user'", "found a, 1, 2, 3"),
    "empty": ("", "cannot be read", "Empty CSV file"),
    "packed": ("\x1f\x8b\b", "neither a Parquet nor a CSV file", ""),
}


@pytest.mark.parametrize("name", CSV)
def test_a_csv_file_is_refused_where_it_lies(capsys, tmp_path, net, name):
    text, *words = CSV[name]
    (tmp_path / "d.csv").write_bytes(text.encode("latin-1"))
    refused(capsys, tmp_path, net[0], tmp_path / "d.csv", ("--id", "user", "--columns", "A,B,C"), words)


def test_ids_that_the_model_does_not_know_are_refused(capsys, tmp_path):
    small_models.embedding().save(tmp_path / "m.rnnrt")
    for value, kind in ((11, None), (-1, None), (2.5, pa.float64())):
        data = write(tmp_path / "d.parquet", pa.table({"user": [1, 1], "A": pa.array([1, value], kind)}))
        words = ("row 2, column 'A': the value cannot be used", "a whole number", f"found {value}")
        refused(capsys, tmp_path, tmp_path / "m.rnnrt", data, ("--id", "user", "--columns", "A"), words)


def test_a_sequence_of_another_length_is_named(capsys, tmp_path):
    small_models.built(_last, **ONCE, length=4).save(tmp_path / "m.rnnrt")
    table = pa.table({"user": ["a"] * 4 + ["b"] * 3, **{c: [0.5] * 7 for c in "ABC"}})
    data = write(tmp_path / "d.parquet", table)
    words = ("user 'b': the sequence has another number of frames", "expected 4; found 3")
    refused(capsys, tmp_path, tmp_path / "m.rnnrt", data, ("--id", "user", "--columns", "A,B,C"), words)

    def valid(b, x, r):
        return b.add(L.Conv1D, "conv", x, weight=weights(r, 2, 4, 3))

    small_models.built(valid).save(tmp_path / "m.rnnrt")
    words = ("user 'b'", "too short")
    refused(capsys, tmp_path, tmp_path / "m.rnnrt", data, ("--id", "user", "--columns", "A,B,C"), words)


def test_models_of_several_inputs_or_of_mixed_outputs_are_refused(capsys, tmp_path):
    data = write(tmp_path / "d.parquet", a_table())
    small_models.two_inputs_two_outputs().save(tmp_path / "m.rnnrt")
    given = ("--id", "user", "--columns", "A,B,C")
    refused(capsys, tmp_path, tmp_path / "m.rnnrt", data, given, ("one input over time", "'left'", "'right'"))
    b, r = L.GraphBuilder(), np.random.default_rng(0)
    x = b.input("x", (3,))
    b.output("y", recurrent(b, x, r, L.GRU, 4))
    b.output("end", "gru:h", "bf")
    rnnrt.from_graph(b.graph()).save(tmp_path / "m.rnnrt")
    refused(capsys, tmp_path, tmp_path / "m.rnnrt", data, given, ("some a sequence once", "y, end"))


def test_nothing_is_written_over_what_is_read_or_is_of_another_kind(capsys, tmp_path, net):
    data = write(tmp_path / "d.parquet", a_table())
    before = data.read_bytes()
    (tmp_path / "hard.parquet").hardlink_to(data)
    (tmp_path / "text.parquet").write_text("mine")
    (tmp_path / "link.parquet").symlink_to(tmp_path / "new.parquet")
    (tmp_path / "folder.parquet").mkdir()
    for name, words in (
        ("d.parquet", "overwritten"),
        ("hard.parquet", "overwritten"),
        ("text.parquet", "another kind"),
        ("link.parquet", "not a regular file"),
        ("folder.parquet", "not a regular file"),
        ("none/y.parquet", "not a folder"),
        ("y.npy", ".parquet or .csv"),
    ):
        code, _, err = run(capsys, "score", net[0], data, *SCORED, "-o", tmp_path / name)
        assert code == 2 and words in err, name
    assert data.read_bytes() == before and (tmp_path / "text.parquet").read_text() == "mine"
    assert run(capsys, "score", net[0], data, *SCORED, "-o", tmp_path / "text.parquet", "--force")[0] == 0


def test_a_damaged_parquet_file_is_refused(capsys, tmp_path, net):
    data = write(tmp_path / "d.parquet", a_table(rows=20000))
    whole = data.read_bytes()
    for content in (
        whole[: len(whole) // 2],
        whole[:200] + bytes(len(whole) // 2) + whole[200 + len(whole) // 2 :],
    ):
        data.write_bytes(content)
        refused(capsys, tmp_path, net[0], data, SCORED, (f"{data}: cannot be read",))


def test_without_pyarrow_one_sentence_says_what_to_install(tmp_path, net):
    code = "import sys; sys.modules['pyarrow'] = None; from rnnrt.command import main; "
    code += "sys.exit(main.main(sys.argv[1:]))"
    given = ["score", str(net[0]), str(tmp_path / "d.csv"), *SCORED, "-o", str(tmp_path / "y.csv")]
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "pip install 'rnnrt[score]'" in done.stderr
