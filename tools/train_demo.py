"""Train the networks that ``rnnrt demo`` runs, and record what their own frameworks answer.

    python tools/train_demo.py            all of it, about six minutes on one core

Needs keras >= 3 and torch (Keras runs on its torch backend), and pip to fetch the series. Writes to
rnnrt/demo/: the series, four Keras networks, a PyTorch one with its spec, and golden.npz. Seeded and
single-threaded: the same packages on the same machine make the same weights and answers.

The task is the textbook's sequence-to-sequence forecast: at every step, the next 10 values.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np
import torch
from fetch_models import ModelFile, download, read_member, store

torch.set_num_threads(1)

DEMO = Path(__file__).resolve().parent.parent / "rnnrt" / "demo"
AHEAD = 10  # values forecast at every step
UNITS = 20
TRAINED = 20000  # samples trained on; the rest is held out
WINDOW = 72  # steps a training window runs: 0.6 s, most of a heart beat
BATCH = 64
UPDATES = 1500
EVERY = 3  # of the recording's 360 samples a second, one in three is kept: 120 Hz

#: The electrocardiogram that SciPy ships; rnnrt/demo/README.md says whose it is and under which licence.
SAMPLES = 24000
#: The last SciPy that ships the recording has wheels for Python 3.11 and 3.12.
ECG = ModelFile(
    "ecg.dat",
    "scipy==1.11.4",
    "scipy/misc/ecg.dat",
    119035,
    "f20ad3365fb9b7f845d0e5c48b6fe67081377ee466c3a220b7f69f35c8958baf",
)


class LNSimpleRNNCell(keras.layers.Layer):
    """The textbook's layer-normalised cell."""

    def __init__(self, units, activation="tanh", **kwargs):
        super().__init__(**kwargs)
        self.state_size = units
        self.output_size = units
        self.simple_rnn_cell = keras.layers.SimpleRNNCell(units, activation=None)
        self.layer_norm = keras.layers.LayerNormalization()
        self.activation = keras.activations.get(activation)

    def call(self, inputs, states):
        outputs, new_states = self.simple_rnn_cell(inputs, states)  # noqa: RUF059 (as the textbook writes it)
        norm_outputs = self.activation(self.layer_norm(outputs))
        return norm_outputs, [norm_outputs]


def recurrent(kind):
    if kind == "ln_rnn":
        return keras.layers.RNN(LNSimpleRNNCell(UNITS), return_sequences=True)
    return {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU}[kind](UNITS, return_sequences=True)


def network(name):
    layers = [keras.Input((None, 1))]
    if name == "conv_gru":
        layers.append(keras.layers.Conv1D(UNITS, 4, strides=2, padding="valid"))
    kind = name.removeprefix("conv_")
    layers += [recurrent(kind), recurrent(kind), keras.layers.TimeDistributed(keras.layers.Dense(AHEAD))]
    return keras.Sequential(layers, name=name)


class TorchForecaster(torch.nn.Module):
    """The LSTM network as PyTorch writes it. (batch, time, 1) -> (batch, time, 10)."""

    def __init__(self):
        super().__init__()
        self.lstm = torch.nn.LSTM(1, UNITS, num_layers=2, batch_first=True)
        self.fc = torch.nn.Linear(UNITS, AHEAD)

    def forward(self, x):
        return self.fc(self.lstm(x)[0])


TORCH_SPEC = (
    "# The forward of TorchForecaster, line by line; sizes and the two layers come from the "
    "tensors.\nlstm: LSTM\nfc: Linear\n"
)


def batches(series, strided):
    """UPDATES batches: x (batch, window, 1) and the next AHEAD values at every step (batch, frames,
    AHEAD).
    """
    random = np.random.default_rng(7)
    offsets = np.arange(WINDOW)[None, :, None] + np.arange(AHEAD + 1)
    for _ in range(UPDATES):
        start = random.integers(0, TRAINED - WINDOW - AHEAD, BATCH)[:, None, None]
        seen = series[start + offsets]
        x, y = seen[..., :1], seen[..., 1:]
        yield (
            x,
            y[:, 3::2] if strided else y,
        )  # the convolution's first answer is due at its 4th sample, then at every 2nd


def learning_rate(update):
    return 0.01 * 0.5 * (1 + np.cos(np.pi * update / UPDATES))


def train_keras(name, series):
    keras.utils.set_random_seed(42)
    model = network(name)
    optimizer = keras.optimizers.Adam(clipnorm=1.0)
    model.compile(optimizer=optimizer, loss="mae")
    for update, (x, y) in enumerate(batches(series, name == "conv_gru")):
        optimizer.learning_rate = learning_rate(update)
        loss = model.train_on_batch(x, y)
        if update % 250 == 249:
            print(f"{name}: update {update + 1}, loss {float(loss):.5f}", flush=True)
    bare = network(name)  # never compiled, so the file holds no optimizer
    bare(x[:1])  # the textbook's cell has its weights only after a first call
    bare.set_weights(model.get_weights())
    bare.save(DEMO / f"{name}.keras")
    return lambda x: bare.predict(x, verbose=0)


def train_torch(series):
    torch.manual_seed(42)
    model = TorchForecaster()
    optimizer = torch.optim.Adam(model.parameters())
    for update, (x, y) in enumerate(batches(series, False)):
        optimizer.param_groups[0]["lr"] = learning_rate(update)
        optimizer.zero_grad()
        loss = torch.nn.functional.l1_loss(model(torch.from_numpy(x)), torch.from_numpy(y))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    print(f"lstm_torch: update {UPDATES}, loss {float(loss.detach()):.5f}", flush=True)
    torch.save(model.state_dict(), DEMO / "lstm_torch.pt")
    (DEMO / "lstm_torch.spec").write_text(TORCH_SPEC)

    def predict(x):
        with torch.no_grad():
            return model(torch.from_numpy(x)).numpy()

    return predict


def millivolts(counts):
    """The recorder's 11-bit counts as mV: 200 counts a millivolt around 1024."""
    return ((counts.astype(np.float32) - 1024) / 200).astype(np.float32)


def main():
    DEMO.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        archive, raw = download(ECG.requirement, Path(temporary)), Path(temporary, ECG.name)
        store(raw, read_member(archive, ECG.member, ECG.size), ECG)
        counts = np.load(raw)["ecg"][: SAMPLES * EVERY : EVERY].astype(np.int16)
    np.savez_compressed(DEMO / "series.npz", counts=counts)
    series = millivolts(counts)

    golden = {"x": series[None, TRAINED : TRAINED + 240, None]}
    for name in ("ln_rnn", "lstm", "gru", "conv_gru"):
        golden[name] = train_keras(name, series)(golden["x"])
    golden["lstm_torch"] = train_torch(series)(golden["x"])
    np.savez_compressed(DEMO / "golden.npz", **golden)
    for name, value in golden.items():
        print(name, value.dtype, value.shape)
    print(f"{sum(f.stat().st_size for f in DEMO.iterdir())} bytes in {DEMO.name}/")


if __name__ == "__main__":
    sys.exit(main())
