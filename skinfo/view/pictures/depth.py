"""Values against the depth of the network: what each layer holds, at a few checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from skinfo.errors import names_apart
from skinfo.flow.tables import checked_table
from skinfo.quantities import describe_quantity, estimators_measuring
from skinfo.view.curves import (
    BLUE,
    Curves,
    drawable,
    layer_colours,
    layers_in_order,
    main_quantities,
    some_epochs,
)
from skinfo.view.pictures.curves import small_print
from skinfo.view.pictures.figures import (
    draw_legend,
    plain_axes,
    plain_text,
    pyplot,
    widened,
    wrapped,
)
from skinfo.view.words import epoch_name, number

_WIDTH, _HEIGHT = 4.3, 2.5
# Letters of all names of layers that stand side by side, and how many are named at all.
_LETTERS, _MOST_NAMED = 34, 32
# Half of the place of a layer, across which its checkpoints are spread.
_SPREAD = 0.16
# Half of the width of a ceiling's dash; how dense a bracket is.
_DASH, _BAND = 0.38, 0.25
_MARKS = "osD^v"


class DepthDisplay:
    """Every main quantity against the depth of the network, a facet each, a line per checkpoint.

    Points are values, thin bars their 95 % errors of the computation, broad ones brackets, dashes
    ceilings. Brackets far above all values are cut at the frame, with a triangle.

    Parameters
    ----------
    table : pandas.DataFrame
        A flow table.
    epochs : sequence of int, optional
        Checkpoints to draw; by default the first, a middle one and the last.
    estimator : str, optional
        Draw what this one measured only; by default all are drawn.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure.
    axes_ : dict of (str, str) to matplotlib Axes
        By quantity and estimator.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import BinningMIEstimator, information_flow, open_run
    >>> from skinfo.view import DepthDisplay
    >>> run = open_run({(1, name): np.eye(4) for name in ("encoder.0", "encoder.1")})
    >>> flow = information_flow(BinningMIEstimator(bin_width=0.5), run, progress=False)
    >>> (ax,) = DepthDisplay.from_flow(flow).plot().axes_.values()
    >>> ax.get_xlabel(), [label.get_text() for label in ax.get_xticklabels()]
    ('Layer encoder.*, at epoch 1', ['0', '1'])
    """

    def __init__(
        self,
        table: pd.DataFrame,
        *,
        epochs: Sequence[int] | None = None,
        estimator: str | None = None,
    ) -> None:
        self.table = checked_table(table, "The table", curve=False)
        self.epochs = some_epochs(self.table, epochs)
        self.layers = layers_in_order(self.table)
        measuring = {
            quantity: estimators_measuring(self.table, quantity)
            for quantity in main_quantities(self.table)
        }
        names = list(dict.fromkeys(name for several in measuring.values() for name in several))
        if estimator is not None and estimator not in names:
            raise ValueError(
                f"The table holds nothing of {estimator!r} that is drawn by depth; it holds that "
                f"of {', '.join(names)}."
            )
        curves = {
            (quantity, name): Curves.of(
                self.table, name, quantity, layers=self.layers, epochs=np.array(self.epochs)
            )
            for quantity, several in measuring.items()
            for name in several
            if estimator in (None, name)
        }
        self._curves = {
            key: one for key, one in curves.items() if one is not None and one.measured.any()
        }
        if not self._curves:
            raise ValueError("The table holds nothing that is drawn by depth.")

    @classmethod
    def from_flow(
        cls,
        table: pd.DataFrame,
        *,
        epochs: Sequence[int] | None = None,
        estimator: str | None = None,
    ) -> DepthDisplay:
        """Make the display of a flow table."""
        return cls(table, epochs=epochs, estimator=estimator)

    def plot(self) -> DepthDisplay:
        """Draw into a new figure."""
        n = len(self._curves)
        n_columns = min(n, 2 if len(self.layers) > 8 or n == 4 else 3)
        n_rows = -(-n // n_columns)
        self.figure_, grid = pyplot().subplots(
            n_rows, n_columns, figsize=(_WIDTH * n_columns, 0.6 + _HEIGHT * n_rows),
            squeeze=False, layout="constrained",
        )  # fmt: skip
        self.axes_ = dict(zip(self._curves, grid.flat, strict=False))
        for ax in grid.flat[n:]:
            ax.remove()
        lines: list[Any] = []
        for key, curves in self._curves.items():
            lines = _draw(self.axes_[key], curves)
            self._label(self.axes_[key], curves)
        if len(self.epochs) > 1:
            names = [f"epoch {epoch_name(epoch)}" for epoch in self.epochs]
            draw_legend(
                self.figure_, lines, names, loc="outside upper left", ncols=8, fontsize=8,
                handlelength=1.6,
            )  # fmt: skip
        self._note()
        return self

    def _label(self, ax: Any, curves: Curves) -> None:
        several = sum(quantity == curves.quantity.name for quantity, _ in self._curves) > 1
        ax.set_ylabel(plain_text(curves.label, 40), fontsize=9)
        if several:
            ax.set_title(plain_text(curves.estimator), fontsize=8, color="0.35", loc="left")
        ceiling = curves.quantity.ceiling
        limit = curves.flat_ceiling()
        if ceiling is not None and limit is not None and limit <= ax.get_ylim()[1]:
            ax.annotate(
                f"{plain_text(describe_quantity(ceiling, self.table).symbol)} = {number(limit)}",
                (1, limit), xycoords=("axes fraction", "data"), xytext=(-2, 2),
                textcoords="offset points", ha="right", va="bottom", fontsize=7, color="0.35",
            )  # fmt: skip
        names, pattern = names_apart(self.layers)
        names = [plain_text(name, 14) for name in names]
        # Every second, third, … is named where there are many.
        step = -(-len(names) // _MOST_NAMED)
        slanted = {"rotation": 35, "ha": "right"} if sum(map(len, names)) > _LETTERS else {}
        ax.set_xticks(range(0, len(names), step), names[::step], fontsize=8, **slanted)
        ax.set_xlim(-0.5, len(names) - 0.5)
        at = f", at epoch {epoch_name(self.epochs[0])}" if len(self.epochs) == 1 else ""
        ax.set_xlabel(f"Layer{f' {plain_text(pattern)}' if pattern else ''}{at}", fontsize=9)
        plain_axes(ax)
        ax.tick_params(axis="y", labelsize=8)

    def _note(self) -> None:
        """Write the notes of what is drawn below the figure."""
        quantities: dict[str, list[str]] = {}
        for quantity, name in self._curves:
            quantities.setdefault(name, []).append(quantity)
        drawn = self.table[self.table["epoch"].isin(self.epochs)]
        notes = [small_print(drawn, name, several) for name, several in quantities.items()]
        notes += [
            f"{curves.quantity.title}: {above}"
            for curves in self._curves.values()
            if (above := curves.ceiling_above_axis())
        ]
        if any(notes):
            letters = int(16 * self.figure_.get_size_inches()[0])
            self.figure_.supxlabel(
                wrapped(filter(None, notes), letters), x=0.01, ha="left", fontsize=7, color="0.35"
            )


def _draw(ax: Any, curves: Curves) -> list[Any]:
    """Draw all checkpoints of one quantity; return a handle for each."""
    n_layers, n_epochs = curves.value.shape
    depths = np.arange(n_layers)
    colours = [BLUE] if n_epochs == 1 else layer_colours(n_epochs)
    shifts = np.linspace(-_SPREAD, _SPREAD, n_epochs) if n_epochs > 1 else [0.0]
    value, lower, upper = map(drawable, (curves.value, curves.lower, curves.drawn_upper))
    error = 1.96 * np.nan_to_num(drawable(curves.stderr))
    broad = max(1.5, 7 - 1.5 * n_epochs - 0.08 * n_layers)
    handles = []
    for j, colour in enumerate(colours):
        at = depths + shifts[j]
        ax.plot(at, value[:, j], color=colour, lw=0.9, alpha=0.6, zorder=1)
        ax.vlines(at, lower[:, j], upper[:, j], color=colour, lw=broad, alpha=_BAND, zorder=1)
        ax.errorbar(
            at, value[:, j], yerr=error[:, j], color=colour, fmt="none", elinewidth=0.9,
            capsize=1.5, zorder=2,
        )  # fmt: skip
        handles += ax.plot(
            at, value[:, j], _MARKS[j % len(_MARKS)], color=colour, ms=4 if n_epochs < 4 else 3
        )
    highest = float(np.nanmax(value, initial=0.0))
    ax.set_ylim(widened(ax.get_ylim(), highest), auto=None)
    _draw_ceilings(ax, curves)
    if curves.quantity.baseline is not None:
        ax.axhline(curves.quantity.baseline, color="0.5", lw=0.8, ls=":", zorder=0)
    if curves.top is not None:
        ax.set_ylim(top=curves.top)
        for j, colour in enumerate(colours):
            cut = depths[curves.upper[:, j] > curves.top] + shifts[j]
            ax.scatter(
                cut, np.ones(len(cut)), s=12, marker="^", color=colour, lw=0, clip_on=False,
                transform=ax.get_xaxis_transform(),
            )  # fmt: skip
    return handles


def _draw_ceilings(ax: Any, curves: Curves) -> None:
    """A dash over each layer, the highest of the checkpoints; none that would flatten the rest."""
    known = np.where(np.isnan(curves.near_ceiling), -np.inf, curves.near_ceiling).max(axis=1)
    near = np.flatnonzero((known > 0) & (drawable(known) == known))
    ax.hlines(known[near], near - _DASH, near + _DASH, color="0.5", lw=0.9, ls="--", zorder=0)
    if len(near):
        low, high = ax.get_ylim()
        ax.set_ylim(low, max(high, known[near].max() + 0.12 * (known[near].max() - low)))
