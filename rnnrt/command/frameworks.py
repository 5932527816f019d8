"""The user's own file in its own framework, for ``rnnrt verify --against`` and ``rnnrt bench --against``.

The frameworks are imported only here and only when asked for; rnnrt itself never needs one. The user's own
Python file is run only because the user named it.
"""

from __future__ import annotations

import importlib.util
import os
import sys

import numpy as np

from .. import golden
from ..errors import MissingExtraError, UnsupportedModelError
from ..format.reading import path_text
from ..importers.detection import detect

FRAMEWORKS = ("keras", "torch", "onnxruntime", "litert")


def opener(name: str, source: str):
    """What opens ``source`` in the framework ``name``: f() -> {label: callable(inputs in the source's order)
    -> list of outputs}.

    ``name``: one of FRAMEWORKS, or "torch:FILE.py:CLASS", whose module gets the weights in ``source``. All
    run on one thread. Raises UnsupportedModelError where the file does not say enough to run there,
    MissingExtraError where the framework is not installed.
    """
    framework, _, program = name.partition(":")
    if framework == "torch":
        if not program and _kind_name(source) in ("torch-export", "torchscript"):
            return lambda: _stored_in_torch(source)
        if not program:
            raise UnsupportedModelError(
                "torch cannot run this file by itself: a state dict holds weights and no forward()",
                where=path_text(source),
                fix="Name the Python file and the class (or a function that returns the module): "
                "--against torch:FILE.py:CLASS, with --source WEIGHTS where the model is a .rnnrt file.",
            )
        return lambda: _in_torch(program, source)
    opened = {"keras": open_in_keras, "onnxruntime": _in_onnxruntime, "litert": _in_litert}
    return lambda: opened[framework](source)


def _installed(module, packages):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"this comparison needs {module.partition('.')[0]}, which is not installed here",
            fix=f"Install it with: pip install {packages}",
        ) from error


def _refused(what, where, error):
    line = (str(error).strip().splitlines() or [""])[0][:200]
    return UnsupportedModelError(f"{what} ({type(error).__name__}: {line})", where=where)


# ---- torch -------------------------------------------------------------------------------------------------


def _in_torch(program, source):
    """The user's own class, made without arguments, with the weights of ``source``."""
    torch = _installed("torch", "torch")
    torch.set_num_threads(1)
    path, _, name = program.rpartition(":")
    if not os.path.isfile(path):
        raise UnsupportedModelError("there is no such Python file", where=path)
    module = _made(_named(path, name), f"{path}: {name}", torch)
    weights = _state_dict(source, torch)
    try:
        module.load_state_dict(weights)
    except Exception as error:
        raise _refused(f"{name} does not take these weights", path_text(source), error) from error
    module.eval()
    real = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)

    def call(inputs):
        given = [torch.from_numpy(np.array(x)) for x in inputs]
        given = [x.to(real) if x.is_floating_point() else x.to(torch.int64) for x in given]
        try:
            with torch.no_grad():
                answers = golden.leaves(module(*given), sort=False)
        except Exception as error:
            raise _refused(f"{name} does not run on the sample", path, error) from error
        return [y.float().numpy() for y in answers if isinstance(y, torch.Tensor)]

    return {f"torch {torch.__version__.partition('+')[0]}": call}


def _stored_in_torch(source):
    """A torch.export archive or TorchScript, loaded by PyTorch itself, which trusts it."""
    from .. import importers
    from ..importers.pt2.run import runner as exported
    from ..importers.torchscript.run import runner as scripted

    torch = _installed("torch", "torch")
    torch.set_num_threads(1)
    is_script = detect(source).importer == "torchscript"
    runner = scripted if is_script else exported
    try:
        program = torch.jit.load(source, "cpu").eval() if is_script else torch.export.load(source)
    except Exception as error:
        raise _refused("torch cannot load the file", path_text(source), error) from error
    run = runner(program, importers.read(source))

    def call(inputs):
        try:
            return run(inputs)
        except Exception as error:
            raise _refused("torch does not run it on the sample", path_text(source), error) from error

    return {f"torch {torch.__version__.partition('+')[0]}": call}


def _named(path, name):
    spec = importlib.util.spec_from_file_location("_rnnrt_users_module", path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))  # for what stands beside it
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise _refused("cannot be run", path, error) from error
    finally:
        sys.path.pop(0)
    if not hasattr(module, name):
        raise UnsupportedModelError(f"holds nothing called {name!r}", where=path)
    return getattr(module, name)


def _made(factory, where, torch):
    try:
        module = factory if isinstance(factory, torch.nn.Module) else factory()
    except Exception as error:
        refused = _refused("cannot be made without arguments", where, error)
        refused.fix = "Name a function that takes none and returns the module."
        raise refused from error
    if not isinstance(module, torch.nn.Module):
        raise UnsupportedModelError("is not a torch module", where=where, found=type(module).__name__)
    return module


def _state_dict(source, torch):
    from ..importers.torch import files

    kind = detect(source)
    if kind.importer not in ("torch", "torchscript"):
        raise UnsupportedModelError(
            f"is {kind.what}, which holds no weights for torch",
            where=path_text(source),
            fix="Give the weights with --source FILE.",
        )
    tensors = files.unwrap(files.read_tensors(source), "")
    return {name: torch.from_numpy(np.array(array)) for name, array in tensors.items()}


# ---- onnxruntime, litert -----------------------------------------------------------------------------------


def _in_onnxruntime(source):
    runtime = _installed("onnxruntime", "onnxruntime")
    if _kind_name(source) != "onnx":
        raise UnsupportedModelError(
            "onnxruntime opens .onnx files",
            where=path_text(source),
            fix="Give yours with --source FILE.onnx.",
        )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _refused("onnxruntime cannot load the file", path_text(source), error) from error
    types = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(double)": np.float64}

    def call(inputs):
        named = {
            i.name: np.asarray(x).astype(types.get(i.type, np.float32))
            for i, x in zip(session.get_inputs(), inputs)
        }
        try:
            return [np.asarray(y) for y in session.run(None, named)]
        except Exception as error:
            raise _refused("onnxruntime does not run it on the sample", path_text(source), error) from error

    return {f"onnxruntime {runtime.__version__}": call}


def _kind_name(source):
    """The name of a file's kind, of one that rnnrt does not import too."""
    try:
        return detect(source).name
    except UnsupportedModelError:
        return None


def _in_litert(source):
    runtime = _installed("ai_edge_litert.interpreter", "ai-edge-litert")
    try:
        interpreter = runtime.Interpreter(model_path=source, num_threads=1)
    except Exception as error:
        raise _refused("litert cannot load the file", path_text(source), error) from error

    def call(inputs):
        try:
            places = interpreter.get_input_details()
            for place, x in zip(places, inputs):
                interpreter.resize_tensor_input(place["index"], np.shape(x))
            interpreter.allocate_tensors()
            for place, x in zip(places, inputs):
                interpreter.set_tensor(place["index"], np.asarray(x).astype(place["dtype"]))
            interpreter.invoke()
            return [interpreter.get_tensor(place["index"]) for place in interpreter.get_output_details()]
        except Exception as error:
            raise _refused("litert does not run it on the sample", path_text(source), error) from error

    return {"litert": call}


# ---- keras -------------------------------------------------------------------------------------------------


def open_in_keras(path):
    """predict(), and on the torch backend the plain call without gradients, which has less overhead."""
    if importlib.util.find_spec("torch") is not None:
        import torch

        torch.set_num_threads(1)
    try:
        model = golden.open_in_keras(path)
    except UnsupportedModelError as error:
        error.fix = (
            "Give a .keras or .h5 file of Keras's own layers; without --against, bench measures rnnrt alone."
        )
        raise
    import keras

    def listed(made):
        return [np.asarray(y) for y in (made if isinstance(made, (list, tuple)) else [made])]

    def predict(inputs):
        return listed(model.predict(inputs[0] if len(inputs) == 1 else inputs, verbose=0))

    calls = {f"keras {keras.__version__} predict()": predict}
    if keras.backend.backend() == "torch":
        import torch

        def call(inputs):
            with torch.no_grad():
                made = model(
                    [torch.from_numpy(np.asarray(x)) for x in inputs]
                    if len(inputs) > 1
                    else torch.from_numpy(np.asarray(inputs[0]))
                )
            return [y.numpy() for y in (made if isinstance(made, (list, tuple)) else [made])]

        calls[f"keras {keras.__version__} call, no_grad"] = call
    return calls
