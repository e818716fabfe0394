"""What all pictures share: matplotlib imported late, small print, files."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from skinfo._files import write_atomically
from skinfo.errors import needs_extra
from skinfo.view.curves import is_log
from skinfo.view.words import LONGEST_NAME, epoch_name, short_name

# Letters of small print per inch.
_LETTERS = 19
# Letters of a layer's name where layers stand side by side.
NARROW = 22

# An axis of information shows at least this share of the ceiling. A value within 1 % of its ceiling
# is noted as stuck there: what it does then must not fill the axis.
_LEAST_SHARE = 0.02


def pyplot() -> Any:
    """Import matplotlib only where something is drawn."""
    with needs_extra("Drawing", "plot"):
        import matplotlib.pyplot as plt
    return plt


def plain_axes(ax: Any) -> None:
    """Draw a faint grid and no frame above and at the right."""
    ax.grid(alpha=0.25, lw=0.5)
    ax.spines[["top", "right"]].set_visible(False)


def plain_text(name: Any, most: int = LONGEST_NAME) -> str:
    r"""Make matplotlib show a name as it is: no formula, on one line, a long one cut in its middle.

    Examples
    --------
    >>> plain_text("$x$"), plain_text("encoder.layer.11.attention", most=12)
    ('\\$x\\$', 'encod…ention')
    """
    return short_name(name, most).replace("$", r"\$")


def draw_legend(owner: Any, handles: Iterable[Any], names: Iterable[Any], **options: Any) -> Any:
    """Draw a legend by hand: an automatic one leaves out names that begin with an underscore."""
    labels = [plain_text(name) for name in names]
    return owner.legend(list(handles), labels, frameon=False, **options)


def epochs_across(ax: Any, epochs: np.ndarray, layers: Sequence[str]) -> None:
    """Name what :meth:`Curves.draw` drew across: epochs, or the layers of one checkpoint."""
    if len(epochs) == 1:
        names = [plain_text(layer, NARROW) for layer in layers]
        slanted = {"rotation": 30, "ha": "right"} if sum(map(len, names)) > _LETTERS else {}
        ax.set_xticks(range(len(names)), names, fontsize=8, **slanted)
        ax.margins(x=0.5 / len(names))
        ax.set_xlabel(f"Layer, at epoch {epoch_name(epochs[0])}")
        return
    if is_log(epochs):
        ax.set_xscale("log")
    ax.set_xlabel("Epoch")


def write_below(ax: Any, text: str) -> None:
    """Write small lines below the name of the horizontal axis; what is too long is broken."""
    if not text:
        return
    inches = ax.get_window_extent().width / ax.figure.dpi
    width = max(40, int(_LETTERS * inches))
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, width)]
    ax.annotate(
        "\n".join(lines), (0.5, 0), xycoords=ax.xaxis.label, xytext=(0, -4),
        textcoords="offset points", ha="center", va="top", fontsize=7, color="0.35",
        parse_math=False,
    )  # fmt: skip


def wrapped(lines: Iterable[str], letters: int) -> str:
    r"""Break lines of small print below a figure at so many letters; no text is a formula.

    Examples
    --------
    >>> wrapped(["noisy: saturated in all layers", "$a$"], 20)
    'noisy: saturated in\n    all layers\n\\$a\\$'
    """
    broken = [textwrap.fill(line, letters, subsequent_indent="    ") for line in lines]
    return "\n".join(broken).replace("$", r"\$")


def widened(ends: tuple[float, float], highest: float) -> tuple[float, float]:
    """Ends of an axis of information, apart by a share of its highest value at least.

    Examples
    --------
    >>> widened((7.4932, 7.494), 7.5)
    (7.4186, 7.5686)
    >>> widened((0.0, 7.0), 7.5)
    (0.0, 7.0)
    """
    low, high = ends
    lacking = _LEAST_SHARE * highest - (high - low)
    if not lacking > 0:
        return ends
    return low - lacking / 2, high + lacking / 2


def save_figure(figure: Any, path: Path, *, dpi: int = 150, close: bool = False) -> None:
    """Write a figure in the format its suffix names, whole or not at all; close it if asked to.

    Raises
    ------
    ValueError
        If matplotlib cannot write that format.
    """
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix[1:] not in formats:
        raise ValueError(f"{path}: a picture ends in one of {', '.join('.' + k for k in formats)}.")
    with write_atomically(path) as file:
        figure.savefig(file, dpi=dpi, format=path.suffix[1:])
    if close:
        pyplot().close(figure)
