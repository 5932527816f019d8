"""A model in MLflow: saved, logged, loaded as a pyfunc, with the same bits."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import small_models
from needs import need

import rnnrt

if find_spec("mlflow") is None:
    pytest.skip("not run: no mlflow", allow_module_level=True)
mlflow, pyfunc = need("mlflow.pyfunc"), need("rnnrt.pyfunc")
pd = need("pandas")
X = small_models.frames(2, 9, 3)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/runs")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")


def test_a_saved_model_answers_as_it_did(tmp_path):
    model = small_models.net()
    pyfunc.save_model(model, str(tmp_path / "m"), metadata={"what": "a test"})
    loaded = mlflow.load_model(str(tmp_path / "m"))
    assert (loaded.predict(X) == model(X)).all()
    assert (loaded.predict({"x": X})["y"] == model(X)).all()
    assert f"rnnrt=={rnnrt.__version__}" in (tmp_path / "m" / "requirements.txt").read_text()
    assert loaded.metadata.metadata == {"what": "a test"}
    assert rnnrt.load(next((tmp_path / "m").rglob("*.rnnrt"))) == model
    code = "import mlflow, numpy as np; np.save('y', mlflow.pyfunc.load_model('m').predict(np.load('x.npy')))"
    np.save(tmp_path / "x.npy", X)
    environment = {"PYTHONPATH": str(Path(rnnrt.__file__).parent.parent)}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True)
    assert (np.load(tmp_path / "y.npy") == model(X)).all()


def test_what_a_network_does_not_take_is_refused(tmp_path):
    pyfunc.save_model(small_models.net(), str(tmp_path / "m"))
    loaded = mlflow.load_model(str(tmp_path / "m"))
    with pytest.raises(rnnrt.DTypeError, match="found DataFrame.*rnnrt score"):
        loaded.predict(pd.DataFrame(X[0]))
    with pytest.raises(rnnrt.ShapeError, match="wrong shape"):
        loaded.predict(X[:, :, :2])
    with pytest.raises(rnnrt.ShapeError, match="no input 'z'"):
        loaded.predict({"z": X})


def test_a_logged_model_answers_as_it_did(tmp_path):
    import mlflow as whole

    model = small_models.net()
    with whole.start_run():
        info = pyfunc.log_model(model, name="net")
    assert (mlflow.load_model(info.model_uri).predict(X) == model(X)).all()
