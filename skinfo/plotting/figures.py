"""What all pictures share: matplotlib imported late, colours, files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from skinfo.errors import needs_extra
from skinfo.files import write_atomically

#: Apart in grey, too.
BLUE, RED = "#1f6f8b", "#e07a5f"
#: Pairs of rows: their name in a panel, what they are called, their colour.
PAIR_KINDS = (("within", "within classes", BLUE), ("between", "between classes", RED))


def pyplot() -> Any:
    """Import matplotlib only where something is drawn."""
    with needs_extra("Drawing", "plot"):
        import matplotlib.pyplot as plt
    return plt


def layer_colours(n: int) -> list[Any]:
    """Dark to light along the depth of the network; readable in grey."""
    return list(pyplot().colormaps["viridis"](np.linspace(0.0, 0.9, max(n, 2))))[:n]


def is_log(epochs: np.ndarray) -> bool:
    """Whether epochs are drawn in the logarithm: they are above 0 and reach far.

    Examples
    --------
    >>> is_log(np.array([1, 30])), is_log(np.array([1, 20])), is_log(np.array([0, 100]))
    (True, False, False)
    """
    return bool(len(epochs) and epochs.min() > 0 and epochs.max() > 20 * epochs.min())


def save_figure(figure: Any, path: Path, *, dpi: int = 150, close: bool = False) -> None:
    """Write a figure in the format its suffix names, whole or not at all; close it if asked to.

    Raises
    ------
    ValueError
        If matplotlib cannot write that format.
    """
    known = figure.canvas.get_supported_filetypes()
    if path.suffix[1:] not in known:
        raise ValueError(f"{path}: a picture ends in one of {', '.join('.' + k for k in known)}.")
    with write_atomically(path) as file:
        figure.savefig(file, dpi=dpi, format=path.suffix[1:])
    if close:
        pyplot().close(figure)
