"""``rnnrt convert``: a model as a .rnnrt file."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from ..errors import VerificationError
from ..importers.detection import detect
from .files import UsageError, check_destination
from .models import files_read, importing, reading
from .report import WHY, Report, golden_line


def convert(options):
    import rnnrt

    if detect(options.source).name == "rnnrt" and not options.output:
        fix = "With -o NEW.rnnrt it is written anew, as this rnnrt writes files."
        raise UsageError("is a .rnnrt file already", where=options.source, fix=fix)
    options.output = options.output or _beside(options.source)
    check_destination(options.output, (options.source, *files_read(options)), ".rnnrt", options.force)
    with reading():
        model = rnnrt.convert(
            options.source, options.output, golden=options.golden, **importing(options.source, options)
        )
    size, (error, failed) = Path(options.output).stat().st_size, _replayed(model)
    data = {
        "source": options.source,
        "destination": options.output,
        "bytes": size,
        "parameters": int(model.graph.parameters),
        "max_error": error,
        "not_verified": failed,
    }
    data |= {
        "golden_by": model.golden_by,
        WHY: model.provenance.get(WHY),
        "assumptions": list(model.assumptions),
    }
    return Report(
        data,
        [
            f"{options.source} -> {options.output}: {data['parameters']} parameters, {size} bytes, "
            + (f"error at most {error:.1e}" if failed is None else failed),
            golden_line(model),
        ],
        notes=model.assumptions,
    )


def _beside(source):
    """Where a source's .rnnrt file goes by default; a folder's name is not cut at a dot."""
    if os.path.isdir(source):
        return (
            f"{os.path.abspath(source)}.rnnrt" if Path(source).name in ("", "..") else f"{Path(source)}.rnnrt"
        )
    return str(Path(source).with_suffix(".rnnrt"))


def _replayed(model):
    """(error of the golden sample, None) or (None, why it cannot be told); who answered is said elsewhere, so
    not warned of here.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return model.verify(), None
        except VerificationError as error:
            return None, str(error)
