"""What TensorBoard shows of a flow table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any


def add_scalars(
    writer: Any, epoch: int, rows: Iterable[Mapping[str, Any]], losses: Mapping[str, float]
) -> None:
    """Write an epoch: values as estimator/quantity/layer, their brackets beside them, losses.

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
