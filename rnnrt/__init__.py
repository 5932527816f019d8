"""rnnrt runs trained recurrent and 1-D convolutional networks on a CPU, whole or streamed, without their
framework.
"""

from typing import TYPE_CHECKING

from . import layers

try:
    from ._engine import Stream
except ModuleNotFoundError as _error:
    if _error.name != f"{__name__}._engine":
        raise
    raise ImportError(
        f"{__path__[0]} holds the sources of rnnrt, whose engine is not built there, and hides any rnnrt that"
        " is installed. Start Python in another folder, or build it there: pip install -e ."
    ) from None
from .c_library import get_include, get_library
from .errors import (
    DTypeError,
    MissingExtraError,
    ModelFileError,
    NotStreamableError,
    ResourceLimitError,
    RnnrtError,
    ShapeError,
    StateError,
    StreamBusyError,
    UnsupportedModelError,
    VerificationError,
)
from .graph import Graph
from .loading import (
    convert,
    from_graph,
    from_keras,
    from_nam,
    from_numpy,
    from_onnx,
    from_pt2,
    from_rtneural,
    from_tflite,
    from_torch,
    from_torchscript,
    load,
    show_config,
)
from .model import Model
from .state import State
from .value import by_path

if TYPE_CHECKING:
    from . import frontends, plot, textbook

__version__ = "0.1.0"

__all__ = [
    "DTypeError",
    "Graph",
    "MissingExtraError",
    "Model",
    "ModelFileError",
    "NotStreamableError",
    "ResourceLimitError",
    "RnnrtError",
    "ShapeError",
    "State",
    "StateError",
    "Stream",
    "StreamBusyError",
    "UnsupportedModelError",
    "VerificationError",
    "by_path",
    "convert",
    "from_graph",
    "from_keras",
    "from_nam",
    "from_numpy",
    "from_onnx",
    "from_pt2",
    "from_rtneural",
    "from_tflite",
    "from_torch",
    "from_torchscript",
    "frontends",
    "get_include",
    "get_library",
    "layers",
    "load",
    "plot",
    "show_config",
    "textbook",
]


if not TYPE_CHECKING:  # a type checker that saw it would take every misspelt name for a module

    def __getattr__(name):
        """The modules ``textbook``, ``frontends`` and ``plot``, imported when first used: few programs need
        them.
        """
        if name not in ("frontends", "plot", "textbook"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return import_module(f".{name}", __name__)
