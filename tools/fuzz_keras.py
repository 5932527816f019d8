"""Random Functional Keras graphs with networks inside them: what rnnrt makes of the saved files, against what
Keras answers.

    python tools/fuzz_keras.py --count 2000 --seed 0

Networks inside are Functional or Sequential, have several inputs and outputs, hold networks of their own, are
shared: called twice and more, by TimeDistributed too, some of the calls for nothing, some in another model.
In two of five graphs some inputs are masked (Masking, mask_zero, a mask of its own): rows that are real
throughout, ragged, left-padded, with holes or masked throughout.
Every graph is saved as .keras and as .h5 by the installed Keras (torch backend) and run whole. One line a
reason for what is refused, one for every wrong answer with the seed that makes that graph alone (--seed N
--count 1). Exit 1 where an answer is wrong, an error is not one of rnnrt's, or more than 3 % of the graphs
are refused.
"""

from __future__ import annotations

import argparse
import collections
import logging
import os
import re
import sys
import tempfile
import warnings

os.environ.setdefault("KERAS_BACKEND", "torch")

import keras
import numpy as np
import torch
from keras import layers as L
from keras import ops

import rnnrt
from rnnrt import reference, verification

#: Of all graphs, the part that may be refused.
MOST_REFUSED = 0.03
#: Errors up to this are none: promise 1.
TOLERANCE = 1e-5
LENGTH, WORDS = 6, 7


class Maker:
    """One random network: a pool of tensors that grows, layer by layer."""

    def __init__(self, rng, fixed, depth, masks=None):
        self.rng, self.fixed, self.depth = rng, fixed, depth
        self.pool, self.shared, self.networks = [], [], []
        self.masks = masks  # a generator of its own, where the graph has masks
        self.kinds = {}  # {input name: what its numbers are}, where they are not any

    def chance(self, p):
        return self.rng.random() < p

    def pick(self, items):
        return items[int(self.rng.integers(len(items)))]

    def plain(self, timed, width):
        """An input of any numbers."""
        x = keras.Input(((LENGTH if self.fixed else None), width) if timed else (width,))
        self.pool.append(x)
        return x

    def input(self, timed, width):
        x = self.plain(timed, width)
        if timed and self.masks is not None and self.masks.random() < 0.8:
            return self.masked(x)
        return x

    def masked(self, x):
        """The input that stands for ``x`` where it is masked: numbers for Masking, ids, or with a mask of its
        own.
        """
        length, width = x.shape[1:]
        how = self.masks.random()
        if how < 0.45:
            self.kinds[x.name] = "frames"
            self.pool[-1] = L.Masking(-1.0)(x)
        elif how < 0.9:
            x = keras.Input((length,))
            self.kinds[x.name] = "ids"
            self.pool[-1] = L.Embedding(WORDS, width, mask_zero=True)(x)
        else:
            self.kinds[x.name] = "frames"
            kind = self.masks.integers(2)
            mask = keras.ops.any(keras.ops.not_equal(x, -1.0), axis=-1)
            if kind:
                self.pool[-1] = L.GRU(width, return_sequences=True)(x, mask=mask)
            else:
                self.pool[-1] = L.Bidirectional(L.LSTM(width, return_sequences=True), "ave")(x, mask=mask)
        return x

    def tensor(self, timed, width=None):
        """One of the pool of that kind; where none is, one made of another."""
        found = [x for x in self.pool if (len(x.shape) == 3) == timed and width in (None, x.shape[-1])]
        if found:
            return self.pick(found[-4:] if self.chance(0.6) else found)
        width = width or int(self.rng.integers(2, 5))
        found = [x for x in self.pool if (len(x.shape) == 3) == timed]
        if found:
            return L.Dense(width, activation="tanh")(self.pick(found))
        if not timed:
            return L.LSTM(width)(self.pick([x for x in self.pool if len(x.shape) == 3]))
        raise LookupError

    # ---- layers ----

    def sequence_layer(self, width):
        """A layer that keeps time: (batch, time, any) -> (batch, time, any)."""
        n = int(self.rng.integers(2, 5))
        return self.pick(
            [
                lambda: L.Dense(n, activation="tanh"),
                lambda: L.LSTM(
                    n,
                    return_sequences=True,
                    go_backwards=self.chance(0.2),
                    zero_output_for_mask=self.masks is not None and self.masks.random() < 0.3,
                ),
                lambda: L.GRU(n, return_sequences=True, reset_after=self.chance(0.5)),
                lambda: L.SimpleRNN(n, return_sequences=True),
                lambda: L.Bidirectional(L.GRU(n, return_sequences=True)),
                lambda: L.Conv1D(n, 3, padding=self.pick(["same", "causal"]), activation="relu"),
                lambda: L.BatchNormalization(),
                lambda: L.LayerNormalization(),
                lambda: L.Activation("sigmoid"),
                lambda: L.Activation(self.pick(["gelu", "softplus", "mish", "log_softmax", "hard_shrink"])),
                lambda: L.PReLU("random_normal", shared_axes=[1]),
                lambda: L.GroupNormalization(1, epsilon=0.1),
                lambda: L.GroupNormalization(-1, epsilon=0.1),
                lambda: L.RMSNormalization(epsilon=0.1),
                lambda: L.TimeDistributed(L.Dense(n)),
                lambda: L.Dropout(0.3),
                lambda: L.Rescaling(0.7, offset=0.1),
            ]
        )()

    def vector_layer(self):
        n = int(self.rng.integers(2, 5))
        kinds = [
            L.Dense(n, activation="relu"),
            L.BatchNormalization(),
            L.Activation("tanh"),
            L.LayerNormalization(),
        ]
        return self.pick(kinds)

    def layer(self):
        """One layer on tensors of the pool; its outputs join it."""
        what = self.rng.random()
        if what < 0.45:
            x = self.tensor(True)
            y = self.sequence_layer(x.shape[-1])(x)
        elif what < 0.55:
            kinds = [L.LSTM(3), L.GRU(2), L.Bidirectional(L.LSTM(2)), L.GlobalMaxPooling1D()]
            y = self.pick([*kinds, L.GlobalAveragePooling1D()])(self.tensor(True))
        elif what < 0.62:
            y = self.vector_layer()(self.tensor(False))
        elif what < 0.80:
            timed = self.chance(0.7)
            a = self.tensor(timed)
            b = self.tensor(timed, a.shape[-1])
            kind = self.pick(
                [
                    L.Add,
                    L.Multiply,
                    L.Subtract,
                    L.Average,
                    L.Maximum,
                    L.Minimum,
                    L.Concatenate,
                    "+",
                    "*",
                    "of",
                ]
            )
            if kind is not L.Concatenate and self.chance(0.3):  # one feature, or one frame, stands for all
                b = L.Dense(1, activation="tanh")(b)
            if kind == "of":
                y = self.function(a, b)
            else:
                y = a + b if kind == "+" else a * b if kind == "*" else kind()([a, b])
        elif what < 0.88 and self.shared:
            layer, timed, width = self.pick(self.shared)
            y = layer(self.tensor(timed, width))
        elif what < 0.94:
            x = self.tensor(True)
            layer = (
                L.Dense(x.shape[-1], activation="tanh")
                if self.chance(0.5)
                else L.GRU(3, return_sequences=True)
            )
            self.shared.append((layer, True, x.shape[-1]))
            y = layer(x)
        elif what < 0.97:
            x, h = self.tensor(True), self.tensor(False, 3)
            y = list(L.GRU(3, return_sequences=True, return_state=True)(x, initial_state=h))
        else:
            y = (
                L.RepeatVector(LENGTH)(self.tensor(False))
                if self.fixed
                else L.Dropout(0.1)(self.tensor(True))
            )
        self.pool += [y] if not isinstance(y, list) else y

    def function(self, a, b):
        """Functions of keras.ops, of two tensors of one rank."""
        timed = len(a.shape) == 3
        made = [
            lambda: 1.5 - a / (ops.absolute(b) + 1.0),
            lambda: ops.where(b > 0.1, a, 2.0 * b),
            lambda: ops.log(ops.exp(a) + 1.0) * ops.clip(b, -0.5, 0.5),
            lambda: a - ops.mean(a, axis=-1, keepdims=True) + ops.square(b),
            lambda: ops.maximum(a, b) * ops.max(b, axis=-1, keepdims=True),
        ]
        if timed:
            made += [
                lambda: a * ops.sum(b, axis=1, keepdims=True),
                lambda: a - ops.expand_dims(b[:, -1], 1),
                lambda: a * ops.softmax(b, axis=1),
            ]
        return self.pick(made)()

    # ---- networks ----

    def network(self):
        """A network for inside: (the model, [(timed, width) of its inputs])."""
        if self.chance(0.35):
            width, layers = int(self.rng.integers(2, 5)), []
            for _ in range(int(self.rng.integers(1, 4))):
                layers.append(self.sequence_layer(width))
            if self.depth and self.chance(0.2):
                inner, needs = Maker(self.rng, self.fixed, self.depth - 1).network()
                if len(needs) == 1 and needs[0][0] and len(inner.outputs) == 1:
                    layers.append(inner)
                    width = needs[0][1]
                    layers.insert(0, L.Dense(width))
                    layers.insert(1, L.Dense(width, activation="tanh"))
                    layers = [layers[0], layers[1], layers[-1]]
            if self.chance(0.3):
                layers.append(self.pick([L.LSTM(2), L.GlobalMaxPooling1D()]))
            shape = (LENGTH if self.fixed else None, width)
            return keras.Sequential([keras.Input(shape), *layers]), [(True, width)]
        inside = Maker(self.rng, self.fixed, self.depth - 1)
        inside.masks = self.masks
        needs = [(True, int(self.rng.integers(2, 5)))]
        for _ in range(int(self.rng.integers(0, 3))):
            needs.append((self.chance(0.7), int(self.rng.integers(2, 5))))
        inputs = [inside.plain(*need) for need in needs]
        outputs = inside.grow(int(self.rng.integers(1, 5)), inputs)
        return keras.Model(inputs, outputs if len(outputs) > 1 or self.chance(0.2) else outputs[0]), needs

    def call(self, network, needs, pool=None):
        given = [self.tensor(*need) for need in needs]
        made = network(given[0] if len(given) == 1 and not self.chance(0.1) else given)
        return list(made) if isinstance(made, (list, tuple)) else [made]

    def use_network(self):
        """Calls a network, new or known: for the pool, for nothing, or in a model of its own."""
        if not self.networks or self.chance(0.4):
            self.networks.append(self.network())
        network, needs = self.pick(self.networks)
        for _ in range(int(self.rng.integers(1, 3))):
            if self.chance(0.15):
                self.call(network, needs)  # read by nobody
            if self.chance(0.1):
                apart = Maker(self.rng, self.fixed, 0)
                inputs = [apart.plain(*need) for need in needs]
                keras.Model(inputs, network(inputs[0] if len(inputs) == 1 else inputs))
            if (
                self.chance(0.1)
                and self.fixed
                and len(needs) == 1
                and needs[0][0]
                and len(network.outputs) == 1
            ):
                frames = L.TimeDistributed(L.RepeatVector(LENGTH))(self.tensor(True, needs[0][1]))
                made = [L.TimeDistributed(network)(frames)]
                made = [L.TimeDistributed(L.Flatten())(y) if len(y.shape) == 4 else y for y in made]
            else:
                made = self.call(network, needs)
            self.pool += made if not self.chance(0.1) else made[:1]

    def grow(self, steps, inputs):
        """The outputs of a network of so many steps; every input is read by them."""
        for _ in range(steps):
            if self.depth and self.chance(0.45):
                self.use_network()
            else:
                self.layer()
        made = self.pool[len(inputs) :] or [L.Dense(2)(inputs[0])]
        count = min(len(made), int(self.rng.integers(1, 4)))
        chosen = [made[i] for i in sorted(self.rng.choice(len(made), count, replace=False))]
        if self.chance(0.5):
            chosen = chosen[::-1]
        return chosen

    def model(self):
        inputs = [self.input(True, int(self.rng.integers(2, 5)))]
        for _ in range(int(self.rng.integers(0, 3))):
            inputs.append(self.input(self.chance(0.7), int(self.rng.integers(2, 5))))
        outputs = self.grow(int(self.rng.integers(2, 8)), inputs)
        needed = keras.Model(inputs, outputs)
        for v in needed.variables:
            if v.dtype == "float32":
                low = 0.5 if "variance" in v.path else 0.0
                v.assign(
                    np.abs(self.rng.normal(size=v.shape) * 0.6) + low
                    if low
                    else self.rng.normal(size=v.shape) * 0.6
                )
        return needed


def real_frames(rng, batch):
    """Which frames are real: each row of one of the sorts that data has."""
    rows = np.ones((batch, LENGTH), bool)
    for row in rows:
        how, n = rng.integers(5), int(rng.integers(1, LENGTH))
        if how == 1:
            row[n:] = False
        elif how == 2:
            row[:n] = False
        elif how == 3:
            row[:] = rng.random(LENGTH) < 0.5
        elif how == 4 and rng.random() < 0.3:
            row[:] = False
    return rows


def numbers(rng, x, kind, batch):
    """What goes into the input ``x``."""
    y = rng.normal(size=(batch, *(n or LENGTH for n in x.shape[1:])))
    if kind == "ids":
        y = np.where(real_frames(rng, batch), rng.integers(1, WORDS, y.shape), 0)
    elif kind == "frames":
        y[~real_frames(rng, batch)] = -1
    return y.astype(np.float32)


def made(seed):
    """(a random model, inputs, Keras's answers), the same for the same seed."""
    keras.utils.clear_session(free_memory=False)
    rng, masks = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    maker = Maker(rng, bool(rng.random() < 0.5), 2, masks if seed % 5 < 2 else None)
    model, batch = maker.model(), 4 if seed % 5 < 2 else 2
    inputs = [numbers(rng, x, maker.kinds.get(x.name), batch) for x in model.inputs]
    with torch.no_grad():
        answers = model(inputs if len(inputs) > 1 else inputs[0])
    answers = answers if isinstance(answers, (list, tuple)) else [answers]
    return model, inputs, [np.asarray(y.detach()) for y in answers]


def judged(path, inputs, answers):
    """None where rnnrt's answers are Keras's within promise 1, else how far off they are."""
    model = rnnrt.from_keras(path)
    found = model(*inputs)
    found = found if isinstance(found, tuple) else (found,)
    if [y.shape for y in found] != [y.shape for y in answers]:
        return f"shapes {[y.shape for y in found]}, not {[y.shape for y in answers]}"
    given = dict(zip(model.graph.inputs, inputs, strict=True))
    exact, rounded = (
        list(reference.run(model.graph, given, dtype=t)[0].values()) for t in (np.float64, np.float32)
    )
    for y, ours, true, coarse in zip(answers, found, exact, rounded, strict=True):
        empty = np.isnan(y)  # means over no frames, and what is made of them
        if any((np.isnan(z) != empty).any() for z in (ours, true, coarse)):
            return "not a number where Keras has one, or the other way round"
        y, ours, true, coarse = (np.where(empty, 0, z) for z in (y, ours, true, coarse))
        rounding = verification.ROUNDING * verification.distance(true, coarse)
        if verification.distance(true, y) > max(TOLERANCE, rounding):
            return f"Keras is {verification.distance(true, y):.2g} off the meaning of the import"
        if verification.distance(true, ours) > max(TOLERANCE, 2 * verification.distance(true, y)):
            return f"{verification.distance(true, ours):.2g} off its own meaning"
    return None


def fuzz(count, seed, report=lambda line: print(line, flush=True)):
    """(graphs, wrong answers, refused graphs, {reason: [seeds]}) of ``count`` graphs from ``seed`` on."""
    wrong, refused, unmade, reasons = [], set(), 0, collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        for one in range(seed, seed + count):
            try:
                model, inputs, answers = made(one)
            except (ValueError, LookupError, RuntimeError) as error:  # Keras's own objections to a graph
                unmade += 1
                reasons[f"not made: {type(error).__name__}: {str(error)[:80]}"].append(one)
                continue
            for suffix in (".keras", ".h5"):
                path, off = os.path.join(folder, f"model{suffix}"), None
                model.save(path)
                try:
                    off = judged(path, inputs, answers)
                except rnnrt.RnnrtError as error:
                    refused.add(one)
                    what = re.sub(r"'[^']*'", "'...'", f"{type(error).__name__}: {error.what}")
                    reasons[f"refused: {what}"].append(one)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is a fault
                    off = f"an error that is not rnnrt's: {error!r}"[:300]
                if off:
                    wrong.append(one)
                    report(f"WRONG seed {one} {suffix}: {off}")
    return count - unmade, wrong, refused, reasons


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # Keras warns at every .h5
    torch.set_num_threads(1)
    graphs, wrong, refused, reasons = fuzz(options.count, options.seed)
    for reason, seeds in sorted(reasons.items(), key=lambda item: -len(item[1])):
        print(f"{len(seeds):5d}  {reason}  (seeds {', '.join(map(str, seeds[:4]))})")
    print(
        f"{graphs} graphs, each in 2 files: {len(wrong)} wrong, {len(refused)} refused "
        f"({len(refused) / max(graphs, 1):.1%})"
    )
    sys.exit(bool(wrong) or len(refused) > MOST_REFUSED * graphs)


if __name__ == "__main__":
    main()
