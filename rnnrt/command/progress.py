"""What the command shows people while it works: a bar of progress."""

from __future__ import annotations

import contextlib
import sys


@contextlib.contextmanager
def progress(label):
    """Yields progress(fraction): a bar on stderr (rich where it is installed, plain where not), silent unless
    that is a terminal.
    """
    if not sys.stderr.isatty():
        yield lambda fraction: None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError:
        yield lambda fraction: print(
            f"\r{label} {fraction:4.0%}", end="" if fraction < 1 else "\r\033[K", file=sys.stderr, flush=True
        )
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=1.0)
        yield lambda fraction: bar.update(task, completed=fraction)
