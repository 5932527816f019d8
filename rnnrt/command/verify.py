"""``rnnrt verify``: the golden sample replayed, or a framework asked."""

from __future__ import annotations

import warnings

import numpy as np

from .. import golden, verification
from ..axes import to_canonical, to_source
from ..loading import verify_for_c
from .frameworks import opener
from .models import open_model
from .report import Report


def verify(options):
    model = open_model(options.model, options)
    if options.against:
        by, error = compare(options, model)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # who answered is said below
            error = model.verify()
        by = model.golden_by
    answerer = verification.answered_by(by, model.graph)
    data = {"model": options.model, "ok": True, "golden_by": by, "max_error": error}
    assumed = verification.assumptions(model.graph, by)
    if model._path is not None:
        data["not_for_c"] = verify_for_c(model)
    data["compared"], data["assumptions"] = answerer != verification.NOT_COMPARED, list(assumed)
    if data["compared"]:
        line = f"{options.model}: ok, within {error:.1e} of the answers of {answerer}"
    else:
        line = (
            f"{options.model}: {answerer}. The engine computes what was read, within {error:.1e}; nobody "
            f"from outside "
            "answered: convert --golden FILE.npz, or verify --against FRAMEWORK --source FILE"
        )
        assumed = assumed[:-1]  # the last says it again
    lines = [line, *(f"  assumed: {text}" for text in assumed)]
    if data.get("not_for_c"):
        lines.append(f"  a host in C cannot run this file: {data['not_for_c']}")
    return Report(data, lines)


def compare(options, model):
    """(who answered, the largest error) of the user's own file run in its own framework, on inputs of the
    network's own statistics.
    """
    call = next(iter(opener(options.against, options.source or options.model)().items()))
    inputs = verification.sample_inputs(model.graph)
    given = [to_source(inputs[name], model.graph[name].axes) for name in model.graph.inputs]
    given = [x.astype(np.int64) if model.graph[n].ids else x for n, x in zip(model.graph.inputs, given)]
    by, answers = call[0], golden.canonical(call[1](given), model.graph, call[0])
    made = model(*given)
    made = dict(zip((o.name for o in model.graph.outputs), made if isinstance(made, tuple) else (made,)))
    made = {o.name: to_canonical(made[o.name], o.axes) for o in model.graph.outputs}
    return by, verification.check(model.graph, inputs, answers, made, by)
