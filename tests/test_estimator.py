"""A model among scikit-learn's estimators: cloned, in a pipeline, stored by joblib."""

import subprocess
import sys

import numpy as np
import pytest
import small_models
from case_layers import recurrent
from needs import need

import rnnrt
from rnnrt import layers as L

need("sklearn")
joblib, pipeline = need("joblib"), need("sklearn.pipeline")
base, linear_model, model_selection = (
    need(f"sklearn.{n}") for n in ("base", "linear_model", "model_selection")
)
SequenceEstimator = need("rnnrt.estimator").SequenceEstimator


def last(b, x, r):
    return b.add(L.Last, "last", recurrent(b, x, r, L.GRU, 4))


@pytest.fixture
def model():
    return small_models.built(last, out_axes="bf")


X = small_models.frames(40, 9, 3)
Y = (X[:, :, 0].mean(axis=1) > 0).astype(int)


def test_an_estimator_answers_as_its_model(model):
    estimator = SequenceEstimator(model)
    assert estimator.fit(X) is estimator
    for answer in (estimator.predict, estimator.transform, estimator.fit_transform):
        assert (answer(X) == model(X)).all()
    ragged = [X[0, :5], X[1], X[2, :1]]
    assert all((a == model(x)).all() for a, x in zip(estimator.predict(ragged), ragged))


def test_a_clone_has_the_same_model_and_a_stored_one_the_same_bits(model, tmp_path):
    estimator = SequenceEstimator(model)
    assert base.clone(estimator).model is model and estimator.get_params() == {"model": model}
    joblib.dump(estimator, tmp_path / "e.joblib")
    assert (joblib.load(tmp_path / "e.joblib").predict(X) == model(X)).all()
    other = small_models.net()
    assert estimator.set_params(model=other).model is other and "SequenceEstimator" in repr(estimator)


def test_a_pipeline_learns_from_what_the_network_answers(model, tmp_path):
    line = pipeline.make_pipeline(SequenceEstimator(model), linear_model.LogisticRegression())
    line.fit(X, Y)
    alone = linear_model.LogisticRegression().fit(model(X), Y)
    assert (line.predict_proba(X) == alone.predict_proba(model(X))).all()
    joblib.dump(line, tmp_path / "line.joblib")
    assert (joblib.load(tmp_path / "line.joblib").predict_proba(X) == line.predict_proba(X)).all()
    assert len(model_selection.cross_val_score(base.clone(line), X, Y, cv=4)) == 4
    search = model_selection.GridSearchCV(line, {"logisticregression__C": [0.1, 1.0]}, cv=2, n_jobs=2)
    assert search.fit(X, Y).best_score_ >= 0.5


def test_without_scikit_learn_one_sentence_says_what_to_install():
    code = "import sys; sys.modules['sklearn'] = None; import rnnrt.estimator"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert "MissingExtraError" in last and "pip install 'rnnrt[sklearn]'" in last


def test_what_is_not_one_input_and_one_output_is_refused():
    for wrong, words in ((None, "found NoneType"), ("m.rnnrt", "found str")):
        with pytest.raises(rnnrt.DTypeError, match=words):
            SequenceEstimator(wrong).fit(X)
    with pytest.raises(rnnrt.UnsupportedModelError, match="inputs left, right; outputs sum, state"):
        SequenceEstimator(small_models.two_inputs_two_outputs()).predict(X)
    for axes in (("tbf", "btf"), ("btf", "tbf"), ("bft", "bft")):
        axes = dict(zip(("axes", "out_axes"), axes))
        other = small_models.built(lambda b, x, r: recurrent(b, x, r, L.GRU, 4), **axes)
        if axes["axes"] == "bft":
            assert SequenceEstimator(other).predict(X.swapaxes(1, 2)).shape == (40, 4, 9)
            continue
        with pytest.raises(rnnrt.UnsupportedModelError, match="rows along the first axis"):
            SequenceEstimator(other).predict(X)
    for table in (X[0], X[0].tolist(), [*X[0]], np.array([X[0, :2, 0], X[0, :3, 0]], object)):
        with pytest.raises(rnnrt.ShapeError, match="X has the wrong number of axes; expected 3.*found 2"):
            SequenceEstimator(small_models.net()).predict(table)
    with pytest.raises(rnnrt.ShapeError, match="the input has the wrong shape"):
        SequenceEstimator(small_models.net()).predict(np.zeros((2, 9, 4), np.float32))
