"""The demo."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from command import LSTM_KERAS, run, run_json
from needs import need

from rnnrt.command import demo

need("rnnrt._engine")
need("h5py")


def test_the_demo_checks_every_network_and_beats_the_naive_forecast(capsys):
    code, data = run_json(capsys, "demo", "--seconds", 0.2)
    assert code == 0 and data["ok"] and not data["skipped"]
    assert [n["network"] for n in data["networks"]] == list(demo.NETWORKS)
    for network in data["networks"]:
        assert network["difference"] < 1e-5 and network["same_bits"]
        assert network["mae"] < 0.8 * network["naive_mae"]
        assert network["x_real_time"] > 0


def test_the_demo_fails_where_an_answer_is_wrong(capsys, monkeypatch, tmp_path):
    folder = tmp_path / "demo"
    shutil.copytree(demo.FOLDER, folder)
    with np.load(folder / "golden.npz") as golden:
        np.savez(
            folder / "golden.npz", **{n: y + np.float32(1e-3 if n == "gru" else 0) for n, y in golden.items()}
        )
    monkeypatch.setattr(demo, "FOLDER", folder)
    code, data = run_json(capsys, "demo", "--seconds", 0.1)
    assert code == 1 and not data["ok"]
    assert [n["network"] for n in data["networks"] if not n["same_answer"]] == ["gru"]


def test_without_h5py_the_demo_runs_what_it_can_and_says_what_it_skipped(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    code, out, _ = run(capsys, "demo", "--seconds", 0.1)
    assert code == 0 and out.count("SKIPPED") == 4 and "rnnrt[keras]" in out and "lstm_torch" in out


def test_the_demo_draws(capsys, tmp_path):
    need("matplotlib")
    for wrong in (tmp_path / "forecast.word", tmp_path / "none" / "forecast.png"):
        code, _, err = run(capsys, "demo", "--plot", wrong)
        assert code == 2 and str(wrong) in err
    assert run(capsys, "demo", "--seconds", 0.1, "--plot", tmp_path / "forecast.png")[0] == 0
    assert (tmp_path / "forecast.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_runs_as_a_module_without_importing_a_framework():
    frameworks = {"torch", "keras", "scipy", "rich", "matplotlib"}
    code = (
        f"import sys; from rnnrt.command import main; main.main(['info', sys.argv[1], '--json']); "
        f"print(sorted({frameworks} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, LSTM_KERAS],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).resolve().parent.parent,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("[]")
