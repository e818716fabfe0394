"""What TensorBoard shows of a training that is measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from skinfo.errors import needs_extra


def open_tensorboard(directory: str | Path) -> Any:
    """Open a directory to write TensorBoard's events to.

    Raises
    ------
    MissingExtraError
        If tensorboard is not installed.
    """
    with needs_extra("Writing scalars for TensorBoard", "tensorboard"):
        from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter(str(directory))


def add_scalars(
    writer: Any, epoch: int, rows: Iterable[Mapping[str, Any]], losses: Mapping[str, float]
) -> None:
    """Write an epoch: values as estimator/quantity/layer, with their brackets, and losses.

    Parameters
    ----------
    writer : SummaryWriter
        Anything with ``add_scalar(tag, value, step)`` and ``flush()``.
    epoch : int
        The step.
    rows : iterable of mapping
        Rows of a flow table; numbers that are not finite are left out.
    losses : mapping of str to float
        Other numbers of the epoch.
    """
    for row in rows:
        tag = f"{row['estimator']}/{row['quantity']}/{row['layer']}"
        numbers = {tag: row["value"]}
        if row["lower"] < row["upper"]:
            numbers |= {f"{tag}/lower": row["lower"], f"{tag}/upper": row["upper"]}
        for name, value in numbers.items():
            if isfinite(value):
                writer.add_scalar(name, value, epoch)
    for name, value in losses.items():
        writer.add_scalar(f"losses/{name}", value, epoch)
    writer.flush()
