"""Information of one layer against the sigma of the noise it is measured with."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from skinfo.errors import name_some
from skinfo.flow.tables import checked_table
from skinfo.noise import dropout_sigma
from skinfo.quantities import NOTES, OF_PATTERN, QUANTITIES, split_notes
from skinfo.view.curves import BLUE
from skinfo.view.pictures.figures import draw_legend, plain_axes, pyplot

_QUANTITIES = ("mutual_info", "effective_dimension", "label_mutual_info")
# Panels of information are so much higher than that of its slope.
_HEIGHTS = {"effective_dimension": 0.6}
# Open markers of points with a note; any other note has the last.
_MARKERS = {"saturated": "o", "too few inputs": "s", "slope differs": "^"}
_OTHER_NOTE = "D"
_SHORT = {"indistinguishable from no information": "indistinguishable from 0"}
_CEILING = "ceiling"
_PATTERN = "zeros and signs alone"
_ACROSS = {
    "additive": "Noise standard deviation σ, in the units of the activations",
    "multiplicative": "Standard deviation σ of Gaussian dropout",
    "lognormal": "Standard deviation σ of log-normal noise",
}
# Rates of dropout that may be marked, and how much of the axes' height they take above them.
_RATES = (0.001, 0.01, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.99, 0.999)
_ROOM_OF_RATES = 0.19
_NAMELESS = "_curve"


class SigmaCurveDisplay:
    """I(X;T), its slope and I(Y;T) of a layer against sigma, with brackets and ceilings.

    Points with a note are open: a circle is saturated, a square one end of a wide bracket. Where
    noise leaves zeros or signs as they are, a dotted line is what these tell by themselves;
    sigmas of Gaussian dropout have its rates above them.

    Parameters
    ----------
    table : pandas.DataFrame
        What :func:`skinfo.sigma_curve` returned.

    Attributes
    ----------
    noise : str
        Name of the noise model that the curve is of.
    figure_ : matplotlib Figure
        The figure.
    axes_ : dict of str to matplotlib Axes
        "mutual_info", and "effective_dimension" and "label_mutual_info" where the table has them.

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
        kinds = table["noise"].unique().tolist() if "noise" in table else ["additive"]
        if len(kinds) > 1:
            raise ValueError(f"The table holds curves of {name_some(kinds, 3)} noise. {several}")
        self.table = checked_table(table, "The table", curve=True, advice=several)
        self.noise: str = kinds[0]

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
            Where to draw which quantity, to lay several curves over one another. What has no
            axes here is not drawn.
        label : str, default=""
            Name of this curve in the legend.
        color : str
            Its colour.

        Raises
        ------
        ValueError
            If the table holds no mutual_info, ``axes`` are for none of its quantities, or the
            curve there has another unit or is of other noise.
        """
        names = [name for name in _QUANTITIES if name in set(self.table["quantity"])]
        if "mutual_info" not in names:
            raise ValueError("The table holds no mutual_info.")
        self.axes_ = _new_axes(names, self.noise) if axes is None else dict(axes)
        drawn = [name for name in names if name in self.axes_]
        if not drawn:
            raise ValueError(
                f"axes are for {name_some(self.axes_, 3) or 'nothing'}; the curve has "
                f"{name_some(names, 3)}."
            )
        lowest = list(self.axes_.values())[-1]
        if lowest.get_xlabel() not in ("", _across(self.noise)):
            raise ValueError(
                f"A curve of {self.noise} noise cannot be drawn into axes of "
                f"{lowest.get_xlabel()!r}."
            )
        for name in drawn:
            ax, described = self.axes_[name], QUANTITIES[name]
            unit = self._sorted(name)["unit"].iloc[0]
            _set_ylabel(ax, f"{described.symbol} [{unit}]" if unit else _broken(described.symbol))
            self._draw_limit(ax, described.ceiling or "", color, "--", _CEILING)
            self._draw_limit(ax, OF_PATTERN.get(name, ""), color, ":", _PATTERN)
            self._draw_curve(ax, name, label, color)
            # Another curve may reach higher than the one before.
            ax.autoscale(axis="y")
            ax.set_ylim(0, None)
        top = next(iter(self.axes_.values()))
        above = 1.0
        if self.noise == "multiplicative":
            _draw_rates(top)
            above += _ROOM_OF_RATES
        self.figure_ = top.figure
        self.figure_.align_ylabels(list(self.axes_.values()))
        _draw_legend(list(self.axes_.values()), above)
        return self

    def _sorted(self, quantity: str) -> pd.DataFrame:
        return self.table[self.table["quantity"] == quantity].sort_values("sigma")

    def _draw_curve(self, ax: Any, quantity: str, label: str, color: str) -> None:
        curve = self._sorted(quantity)
        sigma, value = curve["sigma"].to_numpy(), curve["value"].to_numpy()
        ax.fill_between(sigma, curve["lower"], curve["upper"], color=color, alpha=0.25, lw=0)
        ax.plot(sigma, value, color=color, lw=1.4, marker="o", ms=3.5, label=label or _NAMELESS)
        notes = [split_notes(cell) for cell in curve["notes"].fillna("")]
        for note in dict.fromkeys(chain.from_iterable(notes)):
            noted = np.array([note in words for words in notes])
            marker = _MARKERS.get(note, _OTHER_NOTE)
            ax.plot(sigma[noted], value[noted], marker, color=color, ms=3.5, mfc="white",
                    label=_SHORT.get(note, note))  # fmt: skip

    def _draw_limit(self, ax: Any, quantity: str, color: str, style: str, label: str) -> None:
        limit = self._sorted(quantity)
        if np.isfinite(limit["value"]).any():
            ax.plot(limit["sigma"], limit["value"], style, color=color, lw=0.9, alpha=0.7,
                    label=label)  # fmt: skip


def _across(noise: str) -> str:
    return _ACROSS.get(noise, f"Standard deviation σ of {noise} noise")


def _new_axes(names: list[str], noise: str) -> dict[str, Any]:
    heights = [_HEIGHTS.get(name, 1.0) for name in names]
    _, axes = pyplot().subplots(
        len(names), 1, figsize=(5.6, 1.0 + 2.3 * sum(heights)), sharex=True, squeeze=False,
        height_ratios=heights, layout="constrained",
    )  # fmt: skip
    for ax in axes[:, 0]:
        ax.set_xscale("log")
        plain_axes(ax)
    axes[-1, 0].set_xlabel(_across(noise))
    return dict(zip(names, axes[:, 0], strict=True))


def _broken(symbol: str) -> str:
    """Words one below the other, for a panel that is not high."""
    return symbol.replace(" ", "\n")


def _draw_rates(ax: Any) -> None:
    """The rates of dropout that sigmas stand for, on an axis of their own above."""
    for old in list(ax.child_axes):
        old.remove()
    low, high = ax.get_xlim()
    rates = [rate for rate in _RATES if low <= dropout_sigma(rate) <= high]
    above = ax.secondary_xaxis("top")
    above.set_xticks([dropout_sigma(rate) for rate in rates], [f"{rate:g}" for rate in rates])
    above.set_xticks([], minor=True)
    above.set_xlabel("Rate p of dropout, σ² = p / (1 − p)", fontsize=8)
    above.tick_params(labelsize=7)


def _set_ylabel(ax: Any, label: str) -> None:
    if ax.get_ylabel() not in ("", label):
        raise ValueError(f"{label} cannot be drawn into axes of {ax.get_ylabel()}.")
    ax.set_ylabel(label)


def _draw_legend(axes: list[Any], height: float) -> None:
    """At a height of the first axes: curves by name, then once what holds for all of them."""
    # Not by matplotlib's own list: it leaves out names that begin with an underscore.
    named = {
        line.get_label(): line
        for line in chain.from_iterable(ax.lines for ax in axes)
        if not line.get_label().startswith((_NAMELESS, "_child"))
    }
    known = (*NOTES, *_SHORT.values(), _CEILING, _PATTERN)
    of_all = [label for label in known if label in named]
    for common in of_all:
        named[common] = named.pop(common)
    if not named:
        return
    legend = draw_legend(
        axes[0], named.values(), named, loc="lower left", bbox_to_anchor=(0, height), ncols=4,
        fontsize=8, borderaxespad=0.2, handlelength=1.8,
    )  # fmt: skip
    for handle in legend.legend_handles:
        if handle.get_label() in of_all:
            handle.set(color="0.4", alpha=1.0)
            handle.set_markerfacecolor("white")
