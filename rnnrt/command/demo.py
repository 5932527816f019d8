"""``rnnrt demo``: five trained networks forecast a heart's signal, checked against what Keras and PyTorch
answered.

Data and provenance: the folder rnnrt/demo/ and its README.md. Nothing here needs a framework or a
network; reading the .keras files needs h5py (the extra "keras").
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import MissingExtraError, require
from ..tables import table
from . import measure
from .files import check_destination
from .pictures import check_picture, write_picture
from .progress import progress
from .report import Report

FOLDER = Path(__file__).resolve().parents[1] / "demo"
RATE = 120  # samples a second
TRAINED = 20000  # samples the networks were trained on; the rest is held out
AHEAD = 10  # values forecast at every step
BOUND = 1e-5  # mV; the frameworks' own float32 answers are within 1e-6 of float64 here
#: name -> (index of the last sample the first answer has seen, samples from one answer to the next)
NETWORKS = {"ln_rnn": (0, 1), "lstm": (0, 1), "gru": (0, 1), "conv_gru": (3, 2), "lstm_torch": (0, 1)}


def series() -> np.ndarray:
    """The electrocardiogram in mV, (24000,) float32: the recorder's counts are 200 a millivolt around
    1024.
    """
    with np.load(FOLDER / "series.npz") as opened:
        return ((opened["counts"].astype(np.float32) - 1024) / 200).astype(np.float32)


def load(name):
    """The Model of one of NETWORKS; raises MissingExtraError for the .keras ones where h5py is not
    installed.
    """
    import rnnrt

    if name == "lstm_torch":
        return rnnrt.from_torch(FOLDER / "lstm_torch.pt", spec=(FOLDER / "lstm_torch.spec").read_text())
    return rnnrt.from_keras(FOLDER / f"{name}.keras")


def run(plot=None, seconds=2.0, report=None) -> dict:
    """Import, check, run and time every network.

    ``plot``: a file to draw forecasts into; ``seconds``: how long to measure in all; ``report(fraction)``.
    Returns {"ok", "networks": [...], "skipped": [...], "rate", "held_out_samples", "plot"}, all plain JSON
    values.
    """
    if plot:
        require("matplotlib", "report", "rnnrt demo --plot")  # before the work, not after it
    with np.load(FOLDER / "golden.npz") as opened:
        golden = dict(opened)
    held_out = series()[TRAINED:]
    networks, skipped, models = [], [], {}
    for done, name in enumerate(NETWORKS):
        try:
            models[name] = load(name)
        except MissingExtraError as error:
            skipped.append({"network": name, "reason": str(error)})
            continue
        networks.append(_examine(name, models[name], golden, held_out, seconds / len(NETWORKS)))
        if report:
            report((done + 1) / len(NETWORKS))
    if plot:
        _draw(plot, models, held_out)
    return {
        "ok": all(n["same_answer"] and n["same_bits"] and n["mae"] < n["naive_mae"] for n in networks),
        "networks": networks,
        "skipped": skipped,
        "rate": RATE,
        "held_out_samples": held_out.size,
        "plot": plot and str(plot),
    }


def _examine(name, model, golden, held_out, seconds):
    x, recorded = golden["x"], golden[name]
    difference = float(np.abs(model(x) - recorded).max())
    made = model(held_out[:, None])
    mae, naive_mae = forecast_error(name, made, held_out)
    latency = measure.measure({"step": measure.stream_calls(model, 1)["step"]}, seconds)["step"]
    return {
        "network": name,
        "framework": "torch" if name == "lstm_torch" else "keras",
        "parameters": int(model.graph.parameters),
        "difference": difference,
        "same_answer": difference <= BOUND,
        "same_bits": streamed(model, held_out[:, None]).tobytes() == made.tobytes(),
        "mae": mae,
        "naive_mae": naive_mae,
        "step_us": latency.as_dict(),
        "x_real_time": round(1e6 / RATE / latency.mean, 1),
    }


def streamed(model, x):
    """The answer to ``x`` (time, features), pushed in chunks of many sizes and then step by step."""
    stream = model.stream()
    made, at = [], 0
    for size in (1, 7, 64, 0, 333, 1024):
        made.append(stream.push(x[at : at + size]))
        at += size
    steps = [stream.step(frame) for frame in x[at:]]
    made.append(np.stack([y for y in steps if y is not None]))
    return np.concatenate([*made, stream.flush()])


def forecast_error(name, made, samples):
    """(mean absolute error, that of repeating the last value) in mV, over every answer whose next AHEAD
    samples are known.
    """
    first, stride = NETWORKS[name]
    seen = first + stride * np.arange(len(made))
    made, seen = made[seen + AHEAD < samples.size], seen[seen + AHEAD < samples.size]
    truth = samples[seen[:, None] + np.arange(1, AHEAD + 1)]
    return float(np.abs(made - truth).mean()), float(np.abs(samples[seen, None] - truth).mean())


def _draw(path, models, held_out):
    """Two heart beats, and what each network forecast from every tenth sample on."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = range(1200, 1440)
    figure, rows = pyplot.subplots(len(models), 1, figsize=(10, 2 * len(models)), sharex=True, squeeze=False)
    for row, (name, model) in zip(rows[:, 0], models.items()):
        first, stride = NETWORKS[name]
        made = model(held_out[: shown.stop, None])
        row.plot(np.array(shown) / RATE, held_out[shown.start : shown.stop], color="0.6", linewidth=1)
        for start in range(shown.start, shown.stop - AHEAD, AHEAD):
            answer = (start - first) // stride
            at = first + answer * stride
            row.plot((at + np.arange(1, AHEAD + 1)) / RATE, made[answer], color="C0", linewidth=1.5)
        row.set_ylabel("mV")
        row.set_title(name, loc="left", fontsize=9)
    rows[-1, 0].set_xlabel("seconds of held-out signal (grey: truth; blue: forecasts of the next 10 samples)")
    figure.tight_layout()
    write_picture(path, figure)
    pyplot.close(figure)


def text(data) -> list[str]:
    """``run``'s findings for people."""
    header = (
        "network",
        "from",
        "parameters",
        "max difference",
        "streamed bits",
        "MAE mV",
        "naive",
        "better by",
        "µs/step p50",
        "p99",
        "x real time",
    )
    rows = [
        (
            n["network"],
            n["framework"],
            n["parameters"],
            f"{n['difference']:.1e}",
            "equal" if n["same_bits"] else "DIFFER",
            f"{n['mae']:.3f}",
            f"{n['naive_mae']:.3f}",
            f"{1 - n['mae'] / n['naive_mae']:.0%}",
            f"{n['step_us']['p50']:.2f}",
            f"{n['step_us']['p99']:.2f}",
            f"{n['x_real_time']:.0f}",
        )
        for n in data["networks"]
    ]
    lines = [
        (
            f"Forecasts of the next {AHEAD} samples of an electrocardiogram at {RATE} Hz, over "
            f"{data['held_out_samples']} samples no network was trained on."
        ),
        "",
    ]
    lines += table(header, rows) if rows else []
    lines += [
        "",
        (
            "max difference: from what Keras or PyTorch answered for a recorded window. streamed bits: whole "
            "against chunks and single steps."
        ),
        (
            "naive: the last value repeats. x real time: signal seconds a second of computing, measured here "
            "and now, on one thread."
        ),
    ]
    lines += [f"SKIPPED {s['network']}: {s['reason']}" for s in data["skipped"]]
    lines += [f"drawn: {data['plot']}"] if data["plot"] else []
    return [
        *lines,
        "ok"
        if data["ok"] and not data["skipped"]
        else ("ok, as far as it could run" if data["ok"] else "FAILED"),
    ]


def command(options):
    """The Report of ``run``, with a bar of progress."""
    if options.plot:
        check_picture(options.plot, "rnnrt demo --plot")
        check_destination(options.plot, (), "picture", options.force)
    with progress("demo") as report:
        data = run(plot=options.plot, seconds=options.seconds, report=report)
    return Report(data, text(data), data["ok"])
