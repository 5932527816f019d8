"""Mistakes that type checkers must find, one on every line that says so, and no other
(tests/test_types.py).
"""

import io

import numpy as np
import numpy.typing as npt

import rnnrt
from rnnrt import Model, layers

model = rnnrt.load("amp.rnnrt")
x = np.zeros((1, 4, 1), np.float32)

text: int = model.summary()  # wrong: a text
model.stream(every_stp=True)  # wrong: every_step
model.with_options(num_thread=2)  # wrong: num_threads
rnnrt.load("amp.rnnrt", backend="cuda")  # wrong: native or blas
rnnrt.load(io.BytesIO(b""))  # wrong: a path
rnnrt.lod("amp.rnnrt")  # wrong: load
model(x, out=np.zeros((1, 4, 1)))  # wrong: float32
model(x).append(1)  # wrong: an array has no append
y, state = model(x, return_state=True)
state.array()  # wrong: arrays
model.run([x])  # wrong: {name: array}

model.verify(x, tolerence=1e-3)  # wrong: tolerance
rnnrt.from_torch("m.pt", check=3)  # wrong: samples or a path

stream = model.stream()
frame: npt.NDArray[np.float32] = stream.step(x[0, 0])  # wrong: None where nothing is due
stream.position = 0  # wrong: read only
stream.state = object()  # wrong: a state

layers.Dense("fc", "x", weight=object())  # wrong: numbers
layers.Dense("fc", "x", wieght=[[1.0]])  # wrong: weight
layers.MaxPool1D("pool", "x", padding="valid")  # wrong: (left, right) or same
pair: Model[int] = rnnrt.load("two.rnnrt")  # wrong: arrays
