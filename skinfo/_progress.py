"""How far long work has come: a bar where a person watches, a caller's own function, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.progress import Progress

# Seconds over which the speed is taken: a step may last many minutes, and the first from a store
# that keeps results last none.
_RECENT = 3600.0


def progress_bar() -> Progress:
    """Make a bar with counts, time gone and time left, on the error stream; it needs rich."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        speed_estimate_period=_RECENT,
    )


def is_watched() -> bool:
    """Whether a person watches the error stream: in a terminal, or in a notebook."""
    shell = sys.modules.get("IPython")
    kernel = shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
    return kernel or sys.stderr.isatty()


@contextmanager
def reporting(
    progress: bool | Callable[[int, Any], None] | None,
    total: int | None,
    title: str = "Estimating",
) -> Iterator[Callable[[int, Any], None]]:
    """Give what is to be called with the numbers of finished and of all steps, None if unknown.

    None shows a bar where a person watches and rich is installed, True shows one wherever rich is
    installed, False none; a function is called as it is.
    """
    if callable(progress):
        yield progress
        return
    try:
        bar = progress_bar() if progress or (progress is None and is_watched()) else None
    except ImportError:
        bar = None
    if bar is None:
        yield lambda _done, _total: None
        return
    with bar:
        task = bar.add_task(title, total=total)
        yield lambda done, _total: bar.update(task, completed=done)
