"""A traced forward, read into a Graph.

A file says which sizes its example had, or (frozen, or written by an older PyTorch) nothing. Then the layers
tell the numbers of features, and whatever may have been worked out from the number of frames is refused until
the caller says which sizes it was traced with.
"""

from __future__ import annotations

from types import MappingProxyType

from ..axes.layouts import LayoutMismatch, open_layouts
from ..operators.table import Word
from ..torch.frozen import FrozenLength
from ..torch.program import Program
from ..torch.stored import StoredProgram
from .words import WORDS

SIZES = "Say which sizes it was traced with: shapes={name: sizes}, None for those that may be any."


class ScriptProgram(StoredProgram):
    """As a stored program; a Port whose ``dims`` are None is one of which the file says nothing."""

    ADVISED = SIZES
    ADVISED_TIME = Program.ADVISED_TIME
    #: {input: (argument of forward, path)} of those that come in a tuple
    parts = MappingProxyType({})
    MADE = "traced"

    def _word(self, node):
        word = WORDS.get(node.target)
        return (node.target, word) if isinstance(word, Word) else super()._word(node)

    def _argument(self, name):
        return self.parts.get(name, (name, ()))

    def _unsaid(self, name):
        return self.ports[name].dims is None

    def _examples(self, example):
        open_ports = any(self._unsaid(node.target) for node, role in self.roles.items() if role is None)
        return {} if open_ports else super()._examples(example)

    def _layouts(self, node, fixed):
        if self._unsaid(node.target):
            return open_layouts(self._sizes(node))
        return super()._layouts(node, fixed)

    def _network(self, assumed):
        net = super()._network(assumed)
        self.stated |= {
            n.target: None for n, layout in assumed.items() if self._unsaid(n.target) and "t" in layout.axes
        }
        return net

    def _read(self, assumed):
        try:
            return super()._read(assumed)
        except LayoutMismatch as mismatch:
            if isinstance(mismatch.error, FrozenLength):
                self.frozen = mismatch.error
            raise

    def _fitting(self, inputs):
        self.frozen = None
        fitting, error = super()._fitting(inputs)
        if any(self._unsaid(node.target) for node in inputs):
            if self.frozen is not None:  # readings without time may fit, and would be a guess
                fitting, error = [], self.frozen
                error.fix = SIZES
            # the likeliest: inputs of one arrangement
            fitting.sort(key=lambda found: len({layout.axes for layout in found[0].values()}))
        return fitting, error
