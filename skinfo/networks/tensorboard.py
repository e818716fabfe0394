"""Where TensorBoard reads from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skinfo.errors import needs_extra


def open_tensorboard(directory: str | Path) -> Any:
    """Open a directory of TensorBoard's events to write.

    Raises
    ------
    MissingExtraError
        Where tensorboard is not installed.
    """
    with needs_extra("Writing scalars for TensorBoard", "tensorboard"):
        from torch.utils.tensorboard import SummaryWriter
    return SummaryWriter(str(directory))
