"""The part of a network that is imported: where it starts, where it ends, what lies between."""

from __future__ import annotations

from ...errors import UnsupportedModelError
from .wiring import Wiring


class Cut:
    """The part of a network to import: keys to start from and keys to end with."""

    def __init__(self, wiring: Wiring, inputs=None, outputs=None):
        self.names = list(inputs or ())
        self.inputs = [(n, wiring.call(n).number, 0) for n in self.names] or wiring.inputs
        self.outputs = [(n, wiring.call(n).number, None) for n in outputs] if outputs else wiring.outputs
        self.parts = outputs is not None  # ends before the network does
        self.masks = self._masks_across(wiring) if self.names else frozenset()
        self.calls = wiring.needed(self.outputs, self.names, self.masks)
        unfed = self._unfed(self.calls)
        if unfed:
            raise UnsupportedModelError(
                "the chosen outputs also need other inputs",
                where=wiring.where,
                expected=f"inputs= to hold {', '.join(unfed)}, or layers behind them",
            )

    def _unfed(self, calls):
        """The network's inputs that ``calls`` rest on and the part does not have."""
        return [
            c.layer.name
            for c in calls
            if c.layer.class_name == "InputLayer" and (c.layer.name, 0, 0) not in self.inputs
        ]

    def _masks_across(self, wiring):
        """Masks that layers behind the cut are called with, made of what lies before it."""
        calls = wiring.needed(self.outputs, self.names)
        keys = {key for call in calls if call.layer.name not in self.names for key in call.masks or () if key}
        return frozenset(key for key in keys if self._unfed(wiring.needed([key], self.names, ())))
