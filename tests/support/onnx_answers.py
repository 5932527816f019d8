"""What onnxruntime answers to an ONNX file, as the oracle of the importer's tests."""

import numpy as np
from needs import need

import rnnrt
from rnnrt import reference
from rnnrt.axes import to_canonical, to_source

#: Of a float32 answer from another float32 answer of the same weights.
TOLERANCE = 1e-5


def runtime_answers(content, inputs):
    """[array] of onnxruntime for the bytes of a file and {name: array}."""
    runtime = need("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def imported(content, tmp_path, **options):
    """The Model of the bytes of a file."""
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    return rnnrt.from_onnx(path, **options)


def assert_same(content, tmp_path, inputs, **options):
    """The importer's reading answers as onnxruntime does, by the engine and by the float64 reference."""
    wanted = runtime_answers(content, inputs)
    model = imported(content, tmp_path, **options)
    made = model(*(inputs[n] for n in model.inputs))
    made = made if isinstance(made, tuple) else (made,)
    assert [y.shape for y in made] == [y.shape for y in wanted]
    for y, z in zip(made, wanted):
        np.testing.assert_allclose(y, z, atol=TOLERANCE, rtol=TOLERANCE)
    canonical = {n: to_canonical(np.asarray(x), model.graph[n].axes) for n, x in inputs.items()}
    exact, _ = reference.run(model.graph, {n: canonical[n] for n in model.inputs})
    for output, z in zip(model.graph.outputs, wanted):
        y = to_source(exact[output.name], output.axes)
        np.testing.assert_allclose(y, z, atol=TOLERANCE, rtol=TOLERANCE)
    return model
