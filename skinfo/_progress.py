"""The progress bar of long work, on the error stream so that output stays clean."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

# Seconds over which the speed is taken: a step may last many minutes, and the first from a store
# that keeps results last none.
_RECENT = 3600.0


def progress_bar() -> Progress:
    """Make a bar with counts, time gone and time left."""
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
