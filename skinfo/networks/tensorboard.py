"""Where TensorBoard reads from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skinfo.errors import MissingExtraError


def open_tensorboard(directory: str | Path) -> Any:
    """Open a directory of TensorBoard's events to write.

    Raises
    ------
    MissingExtraError
        Where tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("Writing scalars for TensorBoard", "tensorboard") from error
    return SummaryWriter(str(directory))
