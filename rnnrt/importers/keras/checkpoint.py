"""Checkpoints of TensorFlow 2, PREFIX.index beside PREFIX.data-00000-of-00001: weights alone, as
``model.save_weights``, ``ModelCheckpoint`` and ``tf.train.Checkpoint(model=model)`` write them. A spec says
what network they are for.
"""

from __future__ import annotations

from dataclasses import replace

from ...errors import ModelFileError, UnsupportedModelError
from ...format.reading import path_text
from ..containers.protobuf import shown
from ..containers.tensor_bundle import TensorBundle
from .config import Description
from .tracked import WEIGHTED, TrackedObjects
from .weights import attributes, children, slots

SUFFIX = ".index"


class Checkpoint(TrackedObjects):
    """The arrays of the one Keras network in the checkpoint whose index ``path`` is.

    Raises ModelFileError where it is damaged, UnsupportedModelError where it holds no network that Keras
    built of layers, or several; ResourceLimitError above ``max_bytes``.
    """

    def __init__(self, path, max_bytes):
        where = path_text(path)
        super().__init__(TensorBundle(where.removesuffix(SUFFIX), max_bytes), where)
        own = self.objects[0].children
        held = {name: number for name, number in own.items() if self.weighted(number)}
        if self.weighted(0):
            held = {"": 0}
        if len(held) != 1:
            raise UnsupportedModelError(
                "holds several networks" if held else "holds no network that Keras built of layers",
                where=where,
                expected="the weights of one Sequential or Functional model",
                found=", ".join(shown(name) for name in list(held or own)[:8]) or None,
                fix="Save the one network's weights alone: model.save_weights(path), or the whole model: "
                'model.save("model.keras").',
            )
        ((name, self.root),) = held.items()
        self.prefix = f"{name}/" if name else ""

    def fill_described(self, network: Description, in_order=False) -> dict:
        """The arrays of ``network`` by path (see weights.py). Layers are found by their number in it, and
        those with weights also by their number among these; ``in_order``: by the latter alone.

        Raises ModelFileError where they are not those of the network.
        """
        own, counted = slots(network), self.weighted(self.root)
        named = [name for (layer, _), (name,) in self._layers(network) if slots(layer)]
        if len(counted) != len(named):
            raise ModelFileError(
                "the network has another number of layers with weights",
                where=self.where,
                expected=f"{len(counted)}, as the checkpoint has",
                found=str(len(named)),
            )
        for k, name in enumerate(named):
            if not in_order and self.find((name,)) != counted[k]:
                raise ModelFileError(
                    "the layers with weights stand in another order than those of the network",
                    where=f"{self.where}: {name}",
                    expected=f"{WEIGHTED}{k}",
                )
        if in_order:
            places = {name: f"{WEIGHTED}{k}" for k, name in enumerate(named)}
            own = [replace(s, tracked=(places[s.tracked[0]], *s.tracked[1:])) for s in own]
        return self.fill(own)

    @staticmethod
    def _layers(network):
        return zip(children(network), attributes(network), strict=True)
