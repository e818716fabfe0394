"""Information against the sigma of the noise it is measured with: of one layer, or of a run."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pandas as pd

from skinfo.comparison import orders_over_sigmas
from skinfo.errors import name_some, names_apart
from skinfo.flow.tables import UNREAD, checked_table
from skinfo.noise import dropout_sigma
from skinfo.quantities import NOTES, OF_PATTERN, QUANTITIES, estimators_measuring, split_notes
from skinfo.view.curves import BLUE, layer_colours, layers_in_order, some_epochs
from skinfo.view.pictures.figures import draw_legend, plain_axes, plain_text, pyplot, wrapped
from skinfo.view.words import epoch_name

_QUANTITIES = ("mutual_info", "effective_dimension", "label_mutual_info")
# Panels of information are so much higher than that of its slope.
_HEIGHTS = {"effective_dimension": 0.6}
# Open markers of points with a note; any other note has the last.
_MARKERS = {"saturated": "o", "too few inputs": "s", "slope differs": "^"}
_OTHER_NOTE = "D"
_SHORT = {"indistinguishable from no information": "indistinguishable from 0"}
_CEILING = "ceiling"
_PATTERN = "zeros and signs alone"
# What a legend names once, whatever the number of curves.
_OF_ALL = (*NOTES, *_SHORT.values(), _CEILING, _PATTERN)
_ACROSS = {
    "additive": "Noise standard deviation σ, in the units of the activations",
    "multiplicative": "Standard deviation σ of Gaussian dropout",
    "lognormal": "Standard deviation σ of log-normal noise",
}
# Rates of dropout that may be marked, and how much of the axes' height they take above them.
_RATES = (0.001, 0.01, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.99, 0.999)
_ROOM_OF_RATES = 0.19
_NAMELESS = "_curve"
_CUT = "cut bracket"
_OF_RMS = "Noise σ, in root mean square deviations of each layer"
# Brackets and ceilings beyond this multiple of the highest value are cut at the frame, so that the
# curves stay readable.
_FAR, _FRAME = 2.0, 1.25
# What holds of each quantity is said in this many lines below a picture.
_MOST_LINES = 3


class SigmaCurveDisplay:
    """I(X;T), its slope and I(Y;T) of a layer against sigma, with brackets and ceilings.

    Points with a note are open: a circle is saturated, a square one end of a wide bracket. Brackets
    that reach far above all values are cut, with a triangle at the frame. Where noise leaves zeros
    or signs as they are, a dotted line is what these tell by themselves; sigmas of Gaussian dropout
    have its rates above them.

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
        if "epoch" in table and len(table[["epoch", "layer"]].drop_duplicates()) > 1:
            raise ValueError("The table holds curves of a run; RunSigmasDisplay draws these.")
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
        self.axes_ = _new_axes(names, self._across) if axes is None else dict(axes)
        drawn = [name for name in names if name in self.axes_]
        if not drawn:
            raise ValueError(
                f"axes are for {name_some(self.axes_, 3) or 'nothing'}; the curve has "
                f"{name_some(names, 3)}."
            )
        lowest = list(self.axes_.values())[-1]
        if lowest.get_xlabel() not in ("", self._across):
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
            _set_frame(ax)
        top = next(iter(self.axes_.values()))
        above = 1.0
        if self.noise == "multiplicative":
            _draw_rates(top)
            above += _ROOM_OF_RATES
        self.figure_ = top.figure
        self.figure_.align_ylabels(list(self.axes_.values()))
        _draw_legend(list(self.axes_.values()), above)
        return self

    @property
    def _across(self) -> str:
        return _OF_RMS if "rms" in self.table else _across(self.noise)

    def _sorted(self, quantity: str) -> pd.DataFrame:
        return self.table[self.table["quantity"] == quantity].sort_values("sigma")

    def _draw_curve(self, ax: Any, quantity: str, label: str, color: str) -> None:
        curve = self._sorted(quantity)
        sigma, value = curve["sigma"].to_numpy(), curve["value"].to_numpy()
        # No axis reaches infinity.
        upper = curve["upper"].clip(upper=1e3 * max(np.nanmax(value, initial=0.0), 1.0))
        ax.fill_between(sigma, curve["lower"], upper, color=color, alpha=0.25, lw=0)
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


class RunSigmasDisplay:
    """Curves of a run against sigma: all layers in one figure, a column per checkpoint.

    Layers are coloured by depth, dark ones first; all else is as :class:`SigmaCurveDisplay` draws
    it. Below it is said what holds at all sigmas at the last checkpoint drawn, and what does not.

    Parameters
    ----------
    table : pandas.DataFrame
        What :func:`skinfo.sigma_curves` returned.
    epochs : sequence of int, optional
        Checkpoints to draw; by default the first, a middle one and the last.
    estimator : str, optional
        Which is drawn of several, such as one per set of labels; by default the first.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure.
    axes_ : dict of (str, int) to matplotlib Axes
        By quantity and epoch.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import open_run, sigma_curves
    >>> from skinfo.view import RunSigmasDisplay
    >>> run = open_run({(1, name): np.array([[-x], [x]]) for name, x in (("a", 1.0), ("b", 2.0))})
    >>> curves = sigma_curves(run, sigmas=[0.5, 1, 2], progress=False)
    >>> list(RunSigmasDisplay.from_table(curves).plot().axes_)
    [('mutual_info', 1), ('effective_dimension', 1)]
    """

    def __init__(
        self,
        table: pd.DataFrame,
        *,
        epochs: Sequence[int] | None = None,
        estimator: str | None = None,
    ) -> None:
        table = checked_table(table, "The table", curve=True)
        if "epoch" not in table:
            raise ValueError("The table holds one curve; SigmaCurveDisplay draws it.")
        measuring = {name: estimators_measuring(table, name) for name in _QUANTITIES}
        names = [*dict.fromkeys(chain.from_iterable(measuring.values()))]
        if not names:
            raise ValueError("The table holds no mutual_info.")
        if estimator is not None and estimator not in names:
            raise ValueError(
                f"The table holds nothing of {estimator!r}, but of {', '.join(names)}."
            )
        # What depends on labels is another's than what does not, where the labels have a name.
        drawn = [
            estimator if estimator in several else several[0]
            for several in measuring.values()
            if several
        ]
        self.table = table[table["estimator"].isin(drawn)].drop_duplicates(
            ["epoch", "layer", "sigma", "quantity"]
        )
        self.epochs = some_epochs(self.table, epochs)
        self.layers = layers_in_order(table)

    @classmethod
    def from_table(
        cls,
        table: pd.DataFrame,
        *,
        epochs: Sequence[int] | None = None,
        estimator: str | None = None,
    ) -> RunSigmasDisplay:
        """Make the display of a table of curves."""
        return cls(table, epochs=epochs, estimator=estimator)

    def plot(self) -> RunSigmasDisplay:
        """Draw into a new figure."""
        table = self.table
        names = [name for name in _QUANTITIES if name in set(table["quantity"])]
        heights, n = [_HEIGHTS.get(name, 1.0) for name in names], len(self.epochs)
        width = 2.4 + 3.2 * n
        self.figure_, grid = pyplot().subplots(
            len(names), n, figsize=(width, 2.0 + 2.2 * sum(heights)), sharex=True,
            squeeze=False, height_ratios=heights, layout="constrained",
        )  # fmt: skip
        self.axes_ = {
            (name, epoch): grid[row, column]
            for column, epoch in enumerate(self.epochs)
            for row, name in enumerate(names)
        }
        shown, pattern = names_apart(self.layers)
        colours = layer_colours(len(self.layers))
        for epoch in self.epochs:
            axes = {name: self.axes_[name, epoch] for name in names}
            at = table[(table["epoch"] == epoch) & table["quantity"].ne(UNREAD)]
            for layer, name, colour in zip(self.layers, shown, colours, strict=True):
                rows = at[at["layer"] == layer]
                if "mutual_info" in set(rows["quantity"]):
                    SigmaCurveDisplay(rows).plot(axes, label=name, color=colour)
            if n > 1:
                axes["mutual_info"].set_title(f"Epoch {epoch_name(epoch)}", fontsize=9)
        for row in grid:
            # One scale per quantity.
            top = max(ax.get_ylim()[1] for ax in row)
            for column, ax in enumerate(row):
                ax.set_ylim(0, top)
                _mark_cuts(ax)
                ax.set_xscale("log")
                plain_axes(ax)
                if column:
                    ax.set(ylabel="")
                    ax.tick_params(labelleft=False)
        across = _OF_RMS if "rms" in table else _across(self._noise)
        for ax in grid[-1]:
            ax.set_xlabel(textwrap.fill(across, 45), fontsize=9)
        self._name_layers(grid, shown, pattern)
        self._say_what_holds(int(16 * width))
        self.figure_.align_ylabels(grid[:, 0])
        return self

    @property
    def _noise(self) -> str:
        return str(self.table["noise"].iloc[0]) if "noise" in self.table else "additive"

    def _name_layers(self, grid: np.ndarray, shown: Sequence[str], pattern: str) -> None:
        """One legend for all axes: the layers in network order, then what holds for all."""
        handles: dict[str, Any] = {}
        for ax in grid.flat:
            handles = _handles([ax]) | handles
            if ax.get_legend():
                ax.get_legend().remove()
        order = [*shown, *(label for label in handles if label not in shown)]
        handles = {label: handles[label] for label in order if label in handles}
        legend = draw_legend(
            self.figure_, handles.values(), handles, loc="outside upper left", fontsize=8,
            ncols=min(len(handles), 3 + 3 * len(self.epochs)), handlelength=1.6,
            columnspacing=1.2, title=plain_text(pattern) or None, title_fontsize=8,
            alignment="left",
        )  # fmt: skip
        _grey(legend)

    def _say_what_holds(self, letters: int) -> None:
        """Write the orders at the last checkpoint below the figure."""
        last = self.table[self.table["epoch"] == self.epochs[-1]]
        lines = orders_over_sigmas(last, most=_MOST_LINES)
        if "inputs" in self.table:
            lines.append(f"{self.table['inputs'].iloc[0]} inputs, the same everywhere.")
        if lines:
            self.figure_.supxlabel(
                wrapped(lines, letters), x=0.01, ha="left", fontsize=7, color="0.35"
            )


def _across(noise: str) -> str:
    return _ACROSS.get(noise, f"Standard deviation σ of {noise} noise")


def _new_axes(names: list[str], across: str) -> dict[str, Any]:
    heights = [_HEIGHTS.get(name, 1.0) for name in names]
    _, axes = pyplot().subplots(
        len(names), 1, figsize=(5.6, 1.0 + 2.3 * sum(heights)), sharex=True, squeeze=False,
        height_ratios=heights, layout="constrained",
    )  # fmt: skip
    for ax in axes[:, 0]:
        ax.set_xscale("log")
        plain_axes(ax)
    axes[-1, 0].set_xlabel(across)
    return dict(zip(names, axes[:, 0], strict=True))


def _set_frame(ax: Any) -> None:
    """End the axis near the values, and mark brackets that are cut there."""
    values, limits = (
        np.concatenate([
            np.empty(0),
            *(
                np.asarray(line.get_ydata(), dtype=np.float64)
                for line in ax.lines
                if (line.get_label() in (_CEILING, _PATTERN)) == of_limits
            ),
        ])
        for of_limits in (False, True)
    )  # fmt: skip
    reach = np.concatenate([limits, *(corners[:, 1] for _, corners in _bands(ax))])
    highest = float(np.nanmax(values, initial=0.0))
    # Where nothing is known the axis shows what could be.
    near = _FAR * highest if highest > 0 else np.inf
    top = float(max([highest, *reach[reach <= near]]))
    if (reach > near).any():
        top = max(top, _FRAME * highest)
    ax.set_ylim(0, 1.04 * top or 1.0)
    _mark_cuts(ax)


def _bands(ax: Any) -> list[tuple[Any, np.ndarray]]:
    """The brackets in axes, with the corners of each."""
    bands = [band for band in ax.collections if hasattr(band, "set_verts")]
    return [(band, path.vertices) for band in bands for path in band.get_paths()]


def _mark_cuts(ax: Any) -> None:
    top = ax.get_ylim()[1]
    for mark in [mark for mark in ax.collections if mark.get_gid() == _CUT]:
        mark.remove()
    for band, corners in _bands(ax):
        cut = np.unique(corners[corners[:, 1] > top, 0])
        if len(cut):
            ax.scatter(
                cut, np.ones(len(cut)), s=11, marker="^", color=band.get_facecolor()[0][:3], lw=0,
                transform=ax.get_xaxis_transform(), clip_on=False, gid=_CUT,
            )  # fmt: skip


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


def _handles(axes: Sequence[Any]) -> dict[str, Any]:
    """What a legend of axes names: curves by name, then once what holds for all of them."""
    # Not by matplotlib's own list: it leaves out names that begin with an underscore.
    named = {
        line.get_label(): line
        for line in chain.from_iterable(ax.lines for ax in axes)
        if not line.get_label().startswith((_NAMELESS, "_child"))
    }
    for common in [label for label in _OF_ALL if label in named]:
        named[common] = named.pop(common)
    return named


def _draw_legend(axes: Sequence[Any], height: float) -> None:
    """At a height of the first axes."""
    named = _handles(axes)
    if not named:
        return
    legend = draw_legend(
        axes[0], named.values(), named, loc="lower left", bbox_to_anchor=(0, height), ncols=4,
        fontsize=8, borderaxespad=0.2, handlelength=1.8,
    )  # fmt: skip
    _grey(legend)


def _grey(legend: Any) -> None:
    """What holds for all curves has the colour of none."""
    for handle in legend.legend_handles:
        if handle.get_label() in _OF_ALL:
            handle.set(color="0.4", alpha=1.0)
            handle.set_markerfacecolor("white")
