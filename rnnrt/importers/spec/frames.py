"""What a spec says of frames: which lines see the lengths of rows (``pack`` ... ``pad``), and layers run over
axes that forward did not transpose (``untransposed``)."""

from __future__ import annotations

import numpy as np

from ...errors import ShapeError
from ...layers import BatchNormalization, Dense, Flatten, Unflatten
from ..axes.sizes import Clock
from ..operators.recurrence import add_ended
from ..torch.layers import one

#: Lines whose answer shows where a sequence ends.
_SEE_THE_END = {"last", "mean", "max", "flatten", "Conv1d", "ConvTranspose1d", "MaxPool1d", "AvgPool1d"}
_SEE_THE_END |= {"sum", "flip", "crop", "ZeroPad1d", "GroupNorm", "InstanceNorm1d"}
_SEE_THE_END |= {
    "AdaptiveMaxPool1d",
    "AdaptiveAvgPool1d",
    "RNN",
    "LSTM",
    "GRU",
    "RNNCell",
    "LSTMCell",
    "GRUCell",
}


class Packing:
    """Where a spec's chain stands: ``packed`` between pack and pad, ``ended`` once an RNN ran there,
    ``longest`` where pad cut to the longest row; ``clock``: which frames there are, ``counted``: those that
    lengths count, None in a spec that never packs."""

    def __init__(self):
        self.packed = self.ended = self.longest = False
        self.clock, self.counted = Clock("input"), None

    def check(self, line, kind):
        """Refuse a line that cannot stand here."""
        if self.packed and kind not in ("RNN", "LSTM", "GRU", "pad", "last_state", "ignore"):
            raise line.refuse(
                f"{line.kind} cannot run over a packed sequence",
                expected="RNN, LSTM or GRU lines, then pad or last_state",
            )
        if self.longest and kind in _SEE_THE_END:
            raise line.refuse(
                "pad cuts to the longest row, and this line would see the end",
                fix="Write pad total_length where forward gives total_length=x.size(1), or last_state for "
                "h_n.",
            )

    def window(self, layer):
        """After a convolution or a pooling layer."""
        self.clock = self.clock.through(layer)

    def pack(self, line):
        if self.counted not in (None, self.clock):
            raise line.refuse("the same lengths are counted in different frames")
        self.clock.check_lengths()
        self.packed, self.ended, self.longest, self.counted = True, False, False, self.clock

    def pad(self, line, builder, x):
        """The reference behind pad: zeros past each row's end, which an RNN has made already."""
        if not self.packed:
            raise line.refuse("pad has no pack before it")
        if line.words not in ((), ("total_length",)):
            raise line.refuse(
                "pad is not understood", expected="pad [total_length]", found=" ".join(line.words)[:80]
            )
        self.packed, self.longest = False, not line.words
        return x if self.ended else add_ended(builder, "pad", x)

    def metadata(self, cut):
        """What the graph says of its packing; ``cut``: the outputs that end at the longest row."""
        if self.counted is None:
            return {}
        return {"packed": True, "cut_outputs": cut, "packing": [self.counted.span, self.counted.stride]}


def add_untransposed(builder, line, kind, x, tensors):
    """A layer that PyTorch runs over (batch, channels, time) and forward gave (batch, time, features): frames
    are its channels.

    A BatchNorm1d has one scale a frame, an average is one over neighbouring features; other layers are
    refused.
    """
    signal = builder.signal(x)
    if kind == "BatchNorm1d":
        frames = tensors["running_mean"].size
        if signal.length != frames:
            raise ShapeError(
                "untransposed, its channels are the frames",
                where=line.where,
                expected=f"{frames} frames",
                found="any number" if signal.length is None else str(signal.length),
                fix=f"Begin the spec with: input length={frames}.",
            )
        spread = {name: np.repeat(array, signal.width) for name, array in tensors.items()}
        names = {"mean": "running_mean", "variance": "running_var", "gamma": "weight", "beta": "bias"}
        fields = {field: spread.get(name) for field, name in names.items()}
        x = builder.add(Flatten, f"{line.prefix or 'norm'}.flat", x)
        x = builder.add(
            BatchNormalization, line.prefix or "norm", x, epsilon=line.options.get("eps", 1e-5), **fields
        )
        return builder.add(Unflatten, f"{line.prefix or 'norm'}.frames", x, length=frames)
    if kind in ("AvgPool1d", "AdaptiveAvgPool1d"):
        return builder.add(Dense, "average", x, weight=_averages(line, kind, signal.width))
    raise line.refuse(
        f"an untransposed {line.kind} runs over the features with the frames as channels, which is not "
        f"supported",
        fix="It is supported for BatchNorm1d and AvgPool1d. Elsewhere give the live module.",
    )


def _averages(line, kind, width):
    """The matrix that averages neighbouring features as AvgPool1d does."""
    options = dict(line.options)
    size = int(line.words[0]) if line.words and line.words[0].isdecimal() else options.get("kernel_size")
    if kind == "AdaptiveAvgPool1d":
        if (size if size is not None else options.get("output_size")) != 1:
            raise line.refuse("only an output_size of 1 is supported")
        return np.full((1, width), 1.0 / width)
    size = one(size, "kernel_size", line.where)
    stride, padding = options.get("stride") or size, options.get("padding", 0)
    if options.get("ceil_mode"):
        raise line.refuse("ceil_mode is not supported")
    rows = []
    for start in range(-padding, width + padding - size + 1, stride):
        inside = [k for k in range(start, start + size) if 0 <= k < width]
        row = np.zeros(width)
        row[inside] = 1.0 / (size if options.get("count_include_pad", True) else len(inside))
        rows.append(row)
    if not rows:
        raise line.refuse("the window is wider than the frames", found=str(size))
    return np.stack(rows)
