"""Information of one layer against the sigma of the noise it is measured with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from skinfo.flow.tables import checked_table
from skinfo.quantities import QUANTITIES
from skinfo.view.curves import BLUE
from skinfo.view.pictures.figures import draw_legend, plain_axes, pyplot

_QUANTITIES = ("mutual_info", "label_mutual_info")
_SATURATED = "saturated"
_CEILING = "ceiling"
_NAMELESS = "_curve"


class SigmaCurveDisplay:
    """I(X;T) and I(Y;T) of a layer against sigma, with brackets and ceilings.

    Parameters
    ----------
    table : pandas.DataFrame
        What :func:`skinfo.sigma_curve` returned.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure.
    axes_ : dict of str to matplotlib Axes
        "mutual_info", and "label_mutual_info" where the table has it.

    Examples
    --------
    >>> from skinfo import sigma_curve
    >>> from skinfo.view import SigmaCurveDisplay
    >>> curve = sigma_curve([[-1.0], [1.0]], sigmas=[0.25, 0.5, 1.0], random_state=0)
    >>> SigmaCurveDisplay.from_table(curve).plot().axes_["mutual_info"].get_ylabel()
    'I(X;T) [nats]'
    """

    def __init__(self, table: pd.DataFrame) -> None:
        several = "Draw several curves one by one, each into the axes_ of the first, with a label."
        self.table = checked_table(table, "The table", curve=True, advice=several)

    @classmethod
    def from_table(cls, table: pd.DataFrame) -> SigmaCurveDisplay:
        """Make the display of one curve's table, its sigmas in any order."""
        return cls(table)

    def plot(
        self, axes: Mapping[str, Any] | None = None, *, label: str = "", color: str = BLUE
    ) -> SigmaCurveDisplay:
        """Draw, into a new figure unless the ``axes_`` of another curve are given.

        Parameters
        ----------
        axes : dict of str to matplotlib Axes, optional
            Where to draw, to lay several curves over one another.
        label : str, default=""
            Name of this curve in the legend.
        color : str
            Its colour.

        Raises
        ------
        ValueError
            If the table holds no mutual_info, ``axes`` lack one that this curve needs, or the
            curve there has another unit.
        """
        names = [name for name in _QUANTITIES if name in set(self.table["quantity"])]
        if not names:
            raise ValueError("The table holds no mutual_info.")
        self.axes_ = _new_axes(names) if axes is None else dict(axes)
        missing = [name for name in names if name not in self.axes_]
        if missing:
            raise ValueError(f"axes has no {missing[0]!r}; draw a curve that has labels first.")
        for name in names:
            ax, described = self.axes_[name], QUANTITIES[name]
            _set_ylabel(ax, f"{described.symbol} [{self._sorted(name)['unit'].iloc[0]}]")
            self._draw_ceiling(ax, described.ceiling or "", color)
            self._draw_curve(ax, name, label, color)
            # Another curve may reach higher than the one before.
            ax.autoscale(axis="y")
            ax.set_ylim(0, None)
        top = next(iter(self.axes_.values()))
        self.figure_ = top.figure
        self.figure_.align_ylabels(list(self.axes_.values()))
        _draw_legend(top)
        return self

    def _sorted(self, quantity: str) -> pd.DataFrame:
        return self.table[self.table["quantity"] == quantity].sort_values("sigma")

    def _draw_curve(self, ax: Any, quantity: str, label: str, color: str) -> None:
        curve = self._sorted(quantity)
        sigma, value = curve["sigma"].to_numpy(), curve["value"].to_numpy()
        ax.fill_between(sigma, curve["lower"], curve["upper"], color=color, alpha=0.25, lw=0)
        ax.plot(sigma, value, color=color, lw=1.4, marker="o", ms=3.5, label=label or _NAMELESS)
        saturated = curve["notes"].astype(str).str.contains("saturated", regex=False).to_numpy()
        if saturated.any():
            ax.plot(sigma[saturated], value[saturated], "o", color=color, ms=3.5, mfc="white",
                    label=_SATURATED)  # fmt: skip

    def _draw_ceiling(self, ax: Any, quantity: str, color: str) -> None:
        ceiling = self._sorted(quantity)
        if np.isfinite(ceiling["value"]).any():
            ax.plot(ceiling["sigma"], ceiling["value"], "--", color=color, lw=0.9, alpha=0.7,
                    label=_CEILING)  # fmt: skip


def _new_axes(names: list[str]) -> dict[str, Any]:
    n = len(names)
    _, axes = pyplot().subplots(
        n, 1, figsize=(5.6, 1.0 + 2.3 * n), sharex=True, squeeze=False, layout="constrained"
    )
    for ax in axes[:, 0]:
        ax.set_xscale("log")
        plain_axes(ax)
    axes[-1, 0].set_xlabel("Noise standard deviation σ, in the units of the activations")
    return dict(zip(names, axes[:, 0], strict=True))


def _set_ylabel(ax: Any, label: str) -> None:
    if ax.get_ylabel() not in ("", label):
        raise ValueError(f"{label} cannot be drawn into axes of {ax.get_ylabel()}.")
    ax.set_ylabel(label)


def _draw_legend(ax: Any) -> None:
    """Above the axes: the curves by name, then once what holds for all of them."""
    # Not by matplotlib's own list: it leaves out names that begin with an underscore.
    named = {
        line.get_label(): line
        for line in ax.lines
        if not line.get_label().startswith((_NAMELESS, "_child"))
    }
    for common in (_SATURATED, _CEILING):
        if common in named:
            named[common] = named.pop(common)
    if not named:
        return
    legend = draw_legend(
        ax, named.values(), named, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=4,
        fontsize=8, borderaxespad=0.2, handlelength=1.8,
    )  # fmt: skip
    for handle in legend.legend_handles:
        if handle.get_label() in (_SATURATED, _CEILING):
            handle.set(color="0.4", alpha=1.0)
            handle.set_markerfacecolor("white")
