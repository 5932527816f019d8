"""What the families of tools/keras_grid.py draw from: words, options of cells, sequences with and without a
mask.
"""

from __future__ import annotations

import random

WORDS, WIDTH = 6, 4
ACTIVATIONS = (
    *("linear", "relu", "elu", "selu", "sigmoid", "hard_sigmoid", "tanh", "softplus", "softsign"),
    *("swish", "gelu", "exponential", "mish"),
)
#: Of cells: an exponential fed back overflows.
INSIDE = tuple(a for a in ACTIVATIONS if a != "exponential")
#: From Keras 3 on; the last ones are younger than 3.0.
RECENT = ("relu6", "leaky_relu", "log_softmax", "silu", "hard_silu", "celu", "hard_tanh", "log_sigmoid")
RECENT += ("hard_shrink", "soft_shrink", "tanh_shrink", "glu", "sparse_plus", "sparsemax", "squareplus")
CELLS = ("SimpleRNN", "LSTM", "GRU")
#: Options that a cell does not have.
OF_LAYERS = {
    "return_sequences",
    "return_state",
    "go_backwards",
    "stateful",
    "unroll",
    "zero_output_for_mask",
    "time_major",
}


def layer(name, **options):
    return {"class": name, "options": options}


class Draw(random.Random):
    def some(self, p):
        return self.random() < p

    def few(self, **choices):
        """Some of these options, each with one of its values."""
        return {name: self.choice(values) for name, values in choices.items() if self.some(0.35)}

    def cell_options(self, cell):
        made = {"units": self.choice((1, 3, 5))} | self.few(
            use_bias=(False,),
            activation=INSIDE,
            dropout=(0.3,),
            recurrent_dropout=(0.2,),
            kernel_regularizer=("l2",),
            recurrent_constraint=("max_norm",),
        )
        if cell != "SimpleRNN":
            made |= self.few(recurrent_activation=("sigmoid", "hard_sigmoid", "tanh", "softsign", "relu"))
            made |= self.few(implementation=(1, 2))
        if cell == "LSTM":
            made |= self.few(unit_forget_bias=(True, False))
        if cell == "GRU":
            made |= self.few(reset_after=(True, False))
        return made

    def time_input(self, masked=None, length=None, width=WIDTH):
        """(inputs, nodes, ref) of a sequence, masked in one of three."""
        if masked is None:
            masked = self.some(0.33)
        if not masked:
            return [[[length, width], "numbers"]], [], "i0"
        if self.some(0.5):
            return [[[length, width], "frames"]], [["Masking", {"mask_value": -1.0}, ["i0"]]], "n0"
        return (
            [[[length], "ids"]],
            [["Embedding", {"input_dim": WORDS, "output_dim": width, "mask_zero": True}, ["i0"]]],
            "n0",
        )

    def around(self, family, name, options, masked=None, length=None, timed=True, width=WIDTH):
        """The description of one layer on a sequence; a masked one with a GRU behind it, which asks for the
        mask.
        """
        inputs, nodes, ref = self.time_input(masked, length, width)
        was_masked = inputs[0][1] != "numbers"
        nodes = [*nodes, [name, options, [ref]]]
        outputs = [f"n{len(nodes) - 1}"]
        if timed and was_masked:
            nodes.append(["GRU", {"units": 2, "return_sequences": True}, [outputs[0]]])
            outputs.append(f"n{len(nodes) - 1}")
        return {"family": family, "inputs": inputs, "nodes": nodes, "outputs": outputs}
