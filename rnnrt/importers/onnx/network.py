"""The network that an ONNX program is read into: what it needs to know beside any other program's."""

from __future__ import annotations

from ..axes.values import Network
from .loops import Body

ADVICE = {
    "sizes": "Export it with dynamic axes for batch and time, or leave shapes to Shape and -1.",
    "states": "Take states by number.",
    "length": "Say how long it is: shapes={name: sizes}.",
    "cut": "Leave the outputs as long as the input.",
}


class OnnxNetwork(Network):
    """``rows``: whether the rows of the inputs are the frames of a recurrent layer; None where nothing was
    said yet. ``unbatched``: whether the program has no batch axis. ``frames``: {input: the number of frames
    that the file states}. ``shared``: whether the tensor at hand is read by others than those that take
    frames by number. ``body``: the Body of a loop that is being written.
    """

    def __init__(self, advice):
        super().__init__(ADVICE | advice)
        self.rows: bool | None = None
        self.unbatched, self.shared = False, False
        self.frames: dict[str, object] = {}
        self.body: Body | None = None

    def shared_time(self, x):
        return self.shared
