"""The arguments of the command ``rnnrt``: what each means, and what is said of those that mean nothing."""

from __future__ import annotations

import argparse
import os

from .. import __version__
from ..errors import did_you_mean
from ..format.wav import ENCODINGS
from . import bench, convert, demo, doctor, embed, explain, info, profile, run, score, verify
from .files import UsageError
from .frameworks import FRAMEWORKS
from .live import FORMATS, RAW

_HELP = """exit codes: 0 ok, 1 a check failed, 2 usage (arguments, input arrays, a missing package),
3 a bad file, 4 not supported.
Answers go to stdout (as one JSON object with --json), messages and progress to stderr."""


class Said(Exception):
    """What was asked for is a text: the help, the version."""

    def __init__(self, text):
        self.text = text.rstrip("\n")


class _Parser(argparse.ArgumentParser):
    """Arguments that make no sense are an error like any other: one message, or JSON; a word that is nearly
    right is named.
    """

    def error(self, message):
        words = [w for w in message.split() if w.startswith("-")] if "unrecognized" in message else []
        known = [o for p in self.all_parsers() for a in p._actions for o in a.option_strings]
        close = next(filter(None, (did_you_mean(w.partition("=")[0], known) for w in words)), None)
        raise UsageError(message, fix=" ".join(filter(None, (close, f"See: {self.prog} --help"))))

    def all_parsers(self):
        parsers = [self]
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
        return parsers

    def _check_value(self, action, value):
        if action.choices is not None and value not in action.choices:
            what = "command" if isinstance(action, argparse._SubParsersAction) else "choice"
            close = did_you_mean(value, action.choices)
            raise UsageError(
                f"there is no {what} {value!r}",
                expected=f"one of {', '.join(map(str, action.choices))}",
                fix=" ".join(filter(None, (close, f"See: {self.prog} --help"))),
            )

    def _print_message(self, message, file=None):
        if message:
            raise Said(message)


def _count(text):
    if not text.isdecimal() or not 1 <= int(text) < 1 << 31:
        raise argparse.ArgumentTypeError("must be a whole number from 1")
    return int(text)


def _positive(text):
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError("must be a positive number")
    return value


def _bytes(text):
    number, unit = (text[:-1], text[-1].upper()) if text[-1:].upper() in ("K", "M", "G") else (text, "")
    if not number.isdecimal() or not 1 <= int(number) < 1 << 40:
        raise argparse.ArgumentTypeError("must be a whole number of bytes, or one with K, M or G behind it")
    return int(number) << {"": 0, "K": 10, "M": 20, "G": 30}[unit]


def _pair(text):
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _constant(text):
    name, value = _pair(text)
    try:
        return name, int(value) if value.lstrip("+-").isdecimal() else float(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number") from None


def _sizes(text):
    name, value = _pair(text)
    sizes = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() or not part for part in sizes):
        raise argparse.ArgumentTypeError(f"{value!r} is not sizes with commas between them, empty where open")
    return name, tuple(int(part) if part else None for part in sizes)


def _golden(text):
    if text in ("auto", "reference") or os.path.exists(text):
        return text
    close = did_you_mean(text, ("auto", "reference"))
    raise argparse.ArgumentTypeError(
        f"{text!r} is not auto, reference or a file" + (f". {close}" if close else "")
    )


def _framework(text):
    name = text.partition(":")[0]
    if text not in FRAMEWORKS and not (name == "torch" and text.count(":") > 1):
        close = did_you_mean(name, FRAMEWORKS)
        words = ", ".join((*FRAMEWORKS, "torch:FILE.py:CLASS"))
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {words}" + (f". {close}" if close else ""))
    return text


def parser() -> argparse.ArgumentParser:
    root = _Parser(
        prog="rnnrt",
        description="Runs trained recurrent and 1-D convolutional networks on a CPU.",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"rnnrt {__version__}")
    root.add_argument("--json", action="store_true", help=argparse.SUPPRESS)  # before the command, too
    root.set_defaults(command=lambda options: _bare(root, options))
    commands = root.add_subparsers(metavar="COMMAND")

    def command(function, name, text, model=None):
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(command=function)
        added.add_argument("--json", action="store_true", help="print one JSON object instead of text")
        if model:
            added.add_argument(
                model,
                metavar=model.upper(),
                help="a .rnnrt, .keras, .h5, .pt, .safetensors, .npz, .onnx, .tflite, .pt2 or .nam file, or "
                "a SavedModel folder; its kind is found by its content",
            )
            added.add_argument(
                "--spec",
                metavar="FILE",
                help="for a file that holds weights alone: the layers in order, one a line; or Keras's "
                "to_json()",
            )
            onnx = added.add_argument_group("of .onnx and .tflite files")
            onnx.add_argument(
                "--data",
                action="append",
                metavar="FILE",
                help="the file beside an .onnx file that holds its weights",
            )
            onnx.add_argument(
                "--constant",
                action="append",
                type=_constant,
                metavar="NAME=NUMBER",
                help="inputs that are fixed, as sr=16000",
            )
            onnx.add_argument(
                "--state",
                action="append",
                type=_pair,
                metavar="INPUT=OUTPUT",
                help="values that are carried from call to call: the state of a stream (of .pt2 and "
                "TorchScript files, too)",
            )
            onnx.add_argument(
                "--shape",
                action="append",
                type=_sizes,
                metavar="NAME=SIZES",
                help="sizes of an input that the file leaves open, as input=,576; of TorchScript that says "
                "none, those that it was traced with",
            )
            added.add_argument(
                "--max-bytes",
                type=_bytes,
                default=2 << 30,
                metavar="N",
                help="the most that the file may take, unpacked (default 2G)",
            )
        return added

    def against(added, text):
        added.add_argument(
            "--against", type=_framework, metavar="|".join((*FRAMEWORKS, "torch:FILE.py:CLASS")), help=text
        )
        added.add_argument(
            "--source", metavar="FILE", help="the file that --against opens (default: the model itself)"
        )

    def force(added):
        added.add_argument(
            "--force",
            action="store_true",
            help="write over a file of another kind (never over one that is read)",
        )

    def encoding(added):
        added.add_argument(
            "--encoding",
            choices=tuple(ENCODINGS),
            metavar="|".join(ENCODINGS),
            help="samples of a .wav that is written (default float32)",
        )

    def channel(added):
        added.add_argument(
            "--channel", type=_count, metavar="N", help="of a .wav, from 1 on: this one alone (default all)"
        )

    added = command(convert.convert, "convert", "write a model as a .rnnrt file", "source")
    added.add_argument(
        "-o", "--output", metavar="DST", help="the .rnnrt file to write (default: beside the source)"
    )
    added.add_argument(
        "--golden",
        type=_golden,
        default="auto",
        metavar="auto|reference|FILE.npz",
        help="who answers the sample that verify replays: Keras for its own files, where installed (auto), "
        "rnnrt's float64 reference, or your own samples (inputs and outputs by name, or x0.. and y0..)",
    )
    force(added)
    added = command(embed.embed, "embed", "write a model as a C file, for hosts without Python", "model")
    added.add_argument(
        "-o", "--output", metavar="MODEL.c", help="the C file to write (default: beside the model)"
    )
    added.add_argument("--name", help="of the array in C (default: the file's own)")
    force(added)
    added = command(
        info.info,
        "info",
        "show layers, sizes, inputs, outputs, assumptions; or the draft of a spec where one is needed",
        "file",
    )
    added.add_argument(
        "--streaming",
        action="store_true",
        help="show of each layer the engine runs what it costs a stream: delay, frames seen, rate, state",
    )
    added.add_argument(
        "--card",
        action="store_true",
        help="print a model card in Markdown instead, whose figures are measured now (the README.md "
        "of a model on the Hugging Face Hub)",
    )
    added.add_argument(
        "--rate",
        type=_positive,
        metavar="HZ",
        help="with --streaming: frames a second of the input, for delays in ms (default: the model's rate)",
    )
    added = command(run.run, "run", "run a model on whole arrays or sounds", "model")
    added.add_argument(
        "--input",
        required=True,
        nargs="+",
        metavar="[NAME=]X.npy",
        help=".npy; .csv, a line a frame; or .wav, of which each channel is run by itself where a frame is "
        "one number",
    )
    added.add_argument(
        "--output",
        required=True,
        metavar="Y.npy",
        help=".npy for one output, .npz for all of them by name, .csv for one table, .wav for sound",
    )
    channel(added)
    encoding(added)
    added.add_argument("--threads", type=_count, default=1, help="threads of a call (default 1)")
    force(added)
    added = command(run.stream, "stream", "run a model chunk by chunk, as a live stream would", "model")
    added.add_argument(
        "--input",
        required=True,
        nargs="+",
        metavar="[NAME=]X.npy",
        help="(time, features) or (batch, time, features); or a .wav; or a .csv, a line a frame; "
        "or -: frames that come on stdin",
    )
    added.add_argument("--chunk", type=_count, default=1, help="frames pushed at a time (default 1)")
    added.add_argument(
        "--output", metavar="Y.npy", help="as run writes it; with --input -, stdout (-), at once"
    )
    added.add_argument(
        "--rate",
        type=_positive,
        metavar="HZ",
        help="frames a second: adds x real time, and late chunks (default of a .wav: its own)",
    )
    pipe = added.add_argument_group("with --input -")
    pipe.add_argument("--raw", choices=tuple(RAW), help="numbers on stdin (default float32)")
    pipe.add_argument("--format", choices=FORMATS, help="answers on stdout (default raw: float32)")
    channel(added)
    encoding(added)
    force(added)
    added = command(
        score.score, "score", "answer the sequences in a table whose rows are frames with an id", "model"
    )
    added.add_argument(
        "data",
        metavar="DATA",
        help="a Parquet or CSV file with a heading; rows of one id are a sequence, wherever they stand",
    )
    added.add_argument(
        "--id", required=True, nargs="+", metavar="COLUMN", help="the columns that name a sequence"
    )
    added.add_argument(
        "--columns",
        required=True,
        nargs="+",
        metavar="A,B,C",
        help="the columns that hold the numbers of a frame, in the model's order",
    )
    added.add_argument(
        "--order",
        metavar="COLUMN",
        help="numbers or times that order the frames of a sequence (default: the order of the rows)",
    )
    added.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="OUT",
        help="the .parquet or .csv file to write: ids and answers, a row for every frame, or for every "
        "sequence where the model answers once. A run that was killed goes on where it was, from the folder "
        "OUT.score beside it, when the same command is given again",
    )
    added.add_argument(
        "--memory",
        type=_bytes,
        default=1 << 30,
        metavar="N",
        help="the most that rows may take at a time, about (default 1G); a table that takes more is divided "
        "by ids on the disk first, and memory holds one part of it, and the longest sequence",
    )
    added.add_argument("--threads", type=_count, default=1, help="threads of a call (default 1)")
    force(added)
    added = command(
        verify.verify, "verify", "replay the answers stored in the file, or ask a framework", "model"
    )
    against(added, "ask your own file in its own framework instead")
    added = command(
        bench.benchmark, "bench", "measure steps, chunks and whole calls on this machine", "model"
    )
    added.add_argument("--seconds", type=_positive, default=3.0, help="how long to measure (default 3)")
    added.add_argument(
        "--rate",
        type=_positive,
        metavar="HZ",
        help="steps per second of the real signal: adds x real time (default: the model's sample rate)",
    )
    added.add_argument("--chunk", type=_count, default=32, help="steps in a chunk (default 32)")
    added.add_argument("--time", type=_count, default=200, help="steps in a whole call (default 200)")
    added.add_argument("--batch", type=_count, default=1, help="rows in a whole call (default 1)")
    added.add_argument("--threads", type=_count, default=1, help="threads of a call (default 1)")
    against(added, "run your own file in its own framework too, in turns in this process")
    added = command(profile.profile, "profile", "show where the time goes, layer by layer", "model")
    added.add_argument(
        "--input", required=True, nargs="+", metavar="[NAME=]X.npy", help="what a call takes: .npy or .wav"
    )
    added.add_argument(
        "--steps", action="store_true", help="push the frames one by one, as a live stream would"
    )
    added.add_argument("--seconds", type=_positive, default=1.0, help="how long to measure (default 1)")
    added.add_argument(
        "--html", metavar="FILE", help="draw a bar for every layer, on a page that stands alone"
    )
    force(added)
    added = command(explain.explain, "explain", "show what the recurrent layers do at every step", "model")
    added.add_argument(
        "--input", required=True, nargs="+", metavar="[NAME=]X.npy", help="what a call takes: .npy or .wav"
    )
    added.add_argument("--plot", metavar="FILE", help="draw gates, cells and states (needs matplotlib)")
    force(added)
    added = command(
        demo.command, "demo", "run the networks that come with rnnrt on a real signal and check them"
    )
    added.add_argument("--plot", metavar="FILE", help="draw the forecasts (needs matplotlib)")
    added.add_argument(
        "--seconds", type=_positive, default=2.0, help="how long to measure in all (default 2)"
    )
    force(added)
    command(doctor.command, "doctor", "examine this machine and this installation")
    return root


def _bare(root, options):
    if options.json:
        root.error("a command is missing")
    raise Said(root.format_help())
