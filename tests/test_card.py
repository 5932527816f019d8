"""``rnnrt info --card``: a model card whose figures are measured when it is written."""

import re

import numpy as np
import pytest
import small_models
from command import LSTM_KERAS, run, run_json
from needs import need

import rnnrt
from rnnrt import layers as L

need("h5py")


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_a_card_says_what_verify_and_info_say(capsys, tmp_path, monkeypatch):
    model = small_models.net()
    x = small_models.frames(2, 9, 3)
    np.savez(tmp_path / "golden.npz", x=x, y=model(x) + np.float32(2e-6))
    model.save(tmp_path / "net.rnnrt")
    given = (
        "convert",
        tmp_path / "net.rnnrt",
        "--golden",
        tmp_path / "golden.npz",
        "-o",
        tmp_path / "forecast.rnnrt",
    )
    assert run(capsys, *given)[0] == 0
    code, card, err = run(capsys, "info", tmp_path / "forecast.rnnrt", "--card")
    assert (
        code == 0 and not err and card.startswith("---\nlibrary_name: rnnrt\ntags:\n- rnnrt\n- lstm\n---\n")
    )
    _, found = run_json(capsys, "verify", tmp_path / "forecast.rnnrt")
    assert 1e-6 < found["max_error"] < 3e-6
    assert f"Within {found['max_error']:.1e} of the answers of {found['golden_by']}" in card
    assert "| lstm | lstm | (batch, time, 5) | 180 |" in card and "180 parameters" in card
    assert "| input | x | (batch, time, 3) |" in card and "| output | y | (batch, time, 5) |" in card
    assert "It streams frame by frame, without delay." in card
    _, data = run_json(capsys, "info", tmp_path / "forecast.rnnrt", "--card")
    assert data["card"] == card.rstrip("\n") and data["max_error"] == found["max_error"] and data["compared"]
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(*blocks(card, "python"), names)  # noqa: S102 (our own text)
    assert names["model"] == model and not blocks(card, "sh")


def test_a_card_of_a_source_says_how_it_becomes_a_rnnrt_file(capsys):
    code, card, _ = run(capsys, "info", LSTM_KERAS, "--card")
    assert code == 0 and blocks(card, "sh") == ["rnnrt convert lstm.keras -o lstm.rnnrt\n"]
    assert "own reading: not compared" in card


def test_a_folder_as_the_hub_has_it_is_a_model(capsys, tmp_path, monkeypatch):
    """Beside its README.md and as a link, which is how the Hub's cache holds it."""
    model, folder = small_models.net(), tmp_path / "speech-net"
    folder.mkdir()
    model.save(tmp_path / "blob")
    (folder / "model.rnnrt").symlink_to(tmp_path / "blob")
    (folder / "README.md").write_text("hand-written")
    assert rnnrt.load(folder) == rnnrt.load(str(folder)) == rnnrt.convert(folder) == model
    code, card, err = run(capsys, "info", folder, "--card")
    assert code == 0 and not err and "\n# speech-net\n" in card and not blocks(card, "sh")
    monkeypatch.chdir(folder)
    names = {}
    exec(*blocks(card, "python"), names)  # noqa: S102 (our own text)
    assert names["model"] == model
    assert rnnrt.load(folder, verify=True) == model  # the file is found again for C
    (folder / "model.rnnrt").unlink()
    model.save(folder / "net.rnnrt")
    with pytest.raises(rnnrt.ModelFileError, match=r"is a folder.*Give the file itself: net\.rnnrt"):
        rnnrt.load(folder)


def test_a_model_that_fails_its_sample_has_no_card(capsys, tmp_path):
    model, x = small_models.net(), small_models.frames(2, 9, 3)
    wrong = rnnrt.Model(model.graph, golden=({"x": x}, {"y": model(x) + 1}), golden_by="keras 3.15.1")
    wrong.save(tmp_path / "wrong.rnnrt")
    code, out, err = run(capsys, "info", tmp_path / "wrong.rnnrt", "--card")
    assert code == 1 and not out and "y" in err
    assert run(capsys, "info", tmp_path / "wrong.rnnrt")[0] == 0


def test_what_a_file_says_stands_in_its_place(capsys, tmp_path):
    b = L.GraphBuilder()
    x = b.input("x|y", (2,))
    name = b.add(L.Dense, "a`|*[b](c)\n# d", x, weight=np.ones((1, 2), np.float32))
    b.output("<y>", name)
    rnnrt.from_graph(b.graph(metadata={"assumptions": ["one\ntwo | three"]})).save(tmp_path / "m.rnnrt")
    card = run(capsys, "info", tmp_path / "m.rnnrt", "--card")[1]
    assert "| a\\`\\|\\*\\[b\\](c) # d | dense |" in card and "\n# d" not in card
    assert "| x\\|y | (batch, time, 2) |" in card and "| \\<y\\> |" in card and "- one two \\| three" in card
