"""Flows laid over one another, and estimators of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from skinfo.comparison import (
    Alignment,
    NothingInCommonError,
    compare_flows,
    is_pooled,
    read_flows,
)
from skinfo.kinds import MARKS, estimator_of
from skinfo.view.pictures.curves import SHOWN, Curves
from skinfo.view.pictures.figures import pyplot
from skinfo.view.style import BLUE, RED, is_log

# Apart in grey, too: they differ in lightness, and in their markers.
_COLOURS = (BLUE, RED, "#3d405b", "#81b29a", "#a04668", "#e0a458")
_MARKERS = "osD^vP"
_SHOWN_CHANGES = ("beyond brackets", "beyond error")
_MOST_COLUMNS = 5


class FlowComparisonDisplay:
    """Several flows against the epoch: a row a quantity, a column a layer, a colour a flow.

    Bands are brackets; of a pooled flow, the mean and one standard deviation between seeds to each
    side. A filled marker says that a value differs from the reference's beyond its error
    (:func:`skinfo.compare_flows`).

    Parameters
    ----------
    flows : mapping of str to DataFrame or path
        Flow tables, pooled or not, by name.
    reference : str, optional
        The flow that the others are compared with; by default the first.
    shown : sequence of str, optional
        Of "information", "label_information", "binned", "clustered"; by default the first two, or
        what there is.
    layers : sequence of str, optional
        Which layers; by default all.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure.
    axes_ : dict of (str, str) to matplotlib Axes
        By what is shown and layer.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import NoisyMIEstimator, information_flow, open_run
    >>> from skinfo.view.pictures import FlowComparisonDisplay
    >>> flows = {
    ...     name: information_flow(
    ...         NoisyMIEstimator(sigma=None, random_state=0),
    ...         open_run({(e, "hidden"): x * np.array([[-e], [e]]) for e in (1, 2)}, sigma=1.0),
    ...         progress=False,
    ...     )
    ...     for name, x in (("narrow", 0.5), ("wide", 1.0))
    ... }
    >>> list(FlowComparisonDisplay.from_flows(flows).plot().axes_)
    [('information', 'hidden')]
    """

    def __init__(
        self,
        flows: Mapping[str, Any],
        *,
        reference: str | None = None,
        shown: Sequence[str] | None = None,
        layers: Sequence[str] | None = None,
    ) -> None:
        self.flows = read_flows(flows)
        if not self.flows:
            raise ValueError("There is nothing to draw: no flow was given.")
        self.reference = next(iter(self.flows)) if reference is None else reference
        if self.reference not in self.flows:
            raise ValueError(
                f"There is no flow {self.reference!r} to refer to; got {', '.join(self.flows)}."
            )
        Alignment(self.flows).units()
        self.shown = self._check_shown(shown)
        there = dict.fromkeys(layer for flow in self.flows.values() for layer in flow["layer"])
        self.layers = _check_layers(layers, list(there))

    @classmethod
    def from_flows(
        cls,
        flows: Mapping[str, Any],
        *,
        reference: str | None = None,
        shown: Sequence[str] | None = None,
        layers: Sequence[str] | None = None,
    ) -> FlowComparisonDisplay:
        """Make the display of flow tables, or of the files that hold them."""
        return cls(flows, reference=reference, shown=shown, layers=layers)

    def _check_shown(self, shown: Sequence[str] | None) -> list[str]:
        there = [
            name for name in SHOWN if any(_curves(t, name) is not None for t in self.flows.values())
        ]
        if shown is None:
            shown = [name for name in there if "information" in name] or there
        unknown = [name for name in shown if name not in there]
        if unknown or not shown:
            wrong = repr(unknown[0]) if unknown else "nothing that is drawn here"
            raise ValueError(f"The flows hold {', '.join(there) or 'no curve'}; not {wrong}.")
        return list(shown)

    def plot(self) -> FlowComparisonDisplay:
        """Draw into a new figure."""
        self.figure_, self.axes_ = _grid(self.shown, self.layers)
        changed = self._changed()
        for name in self.shown:
            unit = ""
            for place, (flow, table) in enumerate(self.flows.items()):
                curves = _curves(table, name)
                if curves is None:
                    continue
                unit = f" [{curves.unit}]" if curves.unit else ""
                for k, layer in enumerate(curves.layers):
                    if layer in self.layers:
                        marks = changed.get((flow, name, layer))
                        self._draw(self.axes_[name, layer], place, curves, k, marks)
            for layer in self.layers:
                _finish(self.axes_[name, layer])
            self.axes_[name, self.layers[0]].set_ylabel(SHOWN[name][2] + unit)
        self.figure_.align_ylabels()
        self._draw_legend(marked=bool(changed))
        return self

    def _draw(
        self, ax: Any, place: int, curves: Curves, k: int, differs_at: set[int] | None
    ) -> None:
        colour, marker = _style(place)
        epochs, value = curves.epochs, curves.value[k]
        ax.fill_between(epochs, curves.lower[k], curves.upper[k], color=colour, alpha=0.2, lw=0)
        if differs_at is None:
            ax.plot(epochs, value, color=colour, lw=1.4, marker=".", ms=4)
            return
        ax.plot(epochs, value, color=colour, lw=1.4)
        differs = np.isin(epochs, sorted(differs_at))
        for chosen, face in ((differs, colour), (~differs, "white")):
            ax.plot(epochs[chosen], value[chosen], marker, color=colour, ms=3.6, mfc=face, mew=0.9)

    def _changed(self) -> dict[tuple[str, str, str], set[int]]:
        """Epochs at which a flow differs from the reference, by flow, what is shown and layer."""
        if len(self.flows) < 2:
            return {}
        found: dict[tuple[str, str, str], set[int]] = {}
        reference = self.flows[self.reference]
        for flow, table in self.flows.items():
            if flow == self.reference:
                continue
            try:
                compared = compare_flows({self.reference: reference, flow: table})
            except NothingInCommonError:
                continue
            compared = compared[compared["change"].isin(_SHOWN_CHANGES)]
            for name in self.shown:
                tells, quantity, _ = SHOWN[name]
                rows = compared[
                    (compared["estimator"] == estimator_of(table, tells))
                    & (compared["quantity"] == quantity)
                ]
                for layer in self.layers:
                    epochs = rows.loc[rows["layer"] == layer, "epoch"]
                    found[flow, name, layer] = set(epochs)
        return found

    def _draw_legend(self, *, marked: bool) -> None:
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        handles: list[Any] = []
        labels = []
        several = any(_has_spread(flow) for flow in self.flows.values())
        for place, (name, flow) in enumerate(self.flows.items()):
            colour, marker = _style(place)
            plain = name == self.reference or not marked
            line = Line2D([], [], color=colour, lw=1.4, ms=4, marker="." if plain else marker,
                          mfc=colour if plain else "white")  # fmt: skip
            handles.append((Patch(color=colour, alpha=0.2, lw=0), line) if several else line)
            labels.append(_named(name, flow) + (", bracket" * (several and not _has_spread(flow))))
        if not several:
            handles.append(Patch(color="0.5", alpha=0.3, lw=0))
            labels.append("bracket")
        if marked:
            handles.append(Line2D([], [], color="0.4", lw=0, marker="o", ms=4))
            labels.append(f"differs from {self.reference} beyond error")
        self.figure_.legend(
            handles, labels, loc="outside upper left", ncols=min(4, len(handles)), frameon=False,
            fontsize=8, handlelength=1.8,
        )  # fmt: skip


class EstimatorComparisonDisplay:
    """What the estimators say of one run: information, its pairwise bounds, binned entropy.

    An axes a layer, against the epoch: I(X;T) of the noisy estimator with its bracket, the band
    between the pairwise-distance bounds (``NoisyMIEstimator(pairwise_bounds=True)``), H(Bin(T)) and
    the ceiling. Only the first estimates the information of the noisy layer; the bounds hold it
    between them, and the binned entropy depends on the bins.

    Parameters
    ----------
    table : pandas.DataFrame
        A flow table of several estimators.
    layers : sequence of str, optional
        Which layers; by default all.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure.
    axes_ : dict of str to matplotlib Axes
        By layer.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import BinningMIEstimator, NoisyMIEstimator, information_flow, open_run
    >>> from skinfo.view.pictures import EstimatorComparisonDisplay
    >>> run = open_run({(e, "hidden"): np.array([[-e], [e]]) for e in (1, 2)}, sigma=1.0)
    >>> noisy = NoisyMIEstimator(None, pairwise_bounds=True)
    >>> estimators = [noisy, BinningMIEstimator(bin_width=0.5)]
    >>> flow = information_flow(estimators, run, progress=False)
    >>> display = EstimatorComparisonDisplay.from_flow(flow).plot()
    >>> [text.get_text() for text in display.figure_.legends[0].get_texts()]
    ['I(X;T) with bracket', 'pairwise bounds', 'H(Bin(T))', 'ceiling of I(X;T)']
    """

    def __init__(self, table: pd.DataFrame, *, layers: Sequence[str] | None = None) -> None:
        self.table = table
        self._curves = self._take()
        self.layers = _check_layers(layers, list(dict.fromkeys(table["layer"])))

    @classmethod
    def from_flow(
        cls, table: pd.DataFrame, *, layers: Sequence[str] | None = None
    ) -> EstimatorComparisonDisplay:
        """Make the display of a flow table."""
        return cls(table, layers=layers)

    def _take(self) -> dict[str, Curves]:
        noisy = estimator_of(self.table, MARKS["noisy"])
        bounded = estimator_of(self.table, "mutual_info_pairwise_lower")
        binned = estimator_of(self.table, MARKS["binned"])
        wanted = {
            "noisy": (noisy, "mutual_info"),
            "lower": (bounded, "mutual_info_pairwise_lower"),
            "upper": (bounded, "mutual_info_pairwise_upper"),
            "binned": (binned, "binned_entropy"),
            "ceiling": (noisy, "ceiling"),
        }
        taken = {name: Curves.of(self.table, *place) for name, place in wanted.items()}
        found = {name: curves for name, curves in taken.items() if curves is not None}
        if not {"noisy", "lower", "binned"} & set(found):
            raise ValueError(
                "The table holds neither the information of a noisy layer, nor its bounds, nor a "
                "binned entropy: nothing to compare."
            )
        units = {curves.unit: name for name, curves in found.items()}
        if len(units) > 1:
            said = ", ".join(f"{name} in {unit}" for unit, name in units.items())
            raise ValueError(f"Estimates of different units make no figure: {said}.")
        return found

    def plot(self) -> EstimatorComparisonDisplay:
        """Draw into a new figure."""
        self.figure_, axes = _grid([""], self.layers)
        self.axes_ = {layer: axes["", layer] for layer in self.layers}
        unit = next(iter(self._curves.values())).unit
        rows = list(dict.fromkeys(self.table["layer"]))
        for layer, ax in self.axes_.items():
            self._draw(ax, rows.index(layer))
            _finish(ax)
            ax.set_ylim(0, None)
        for ax in self.axes_.values():
            if ax.get_subplotspec().is_first_col():
                ax.set_ylabel(f"Information [{unit}]")
        found = self.axes_[self.layers[0]].get_legend_handles_labels()
        self.figure_.legend(
            *found, loc="outside upper left", ncols=4, frameon=False, fontsize=8, handlelength=1.8
        )
        return self

    def _draw(self, ax: Any, k: int) -> None:
        curves = self._curves
        grey = "0.55"
        if "noisy" in curves:
            noisy = curves["noisy"]
            ax.fill_between(noisy.epochs, noisy.lower[k], noisy.upper[k], color=BLUE, alpha=0.35,
                            lw=0, zorder=2.1, label="_bracket")  # fmt: skip
            ax.plot(noisy.epochs, noisy.value[k], color=BLUE, lw=1.5, marker="o", ms=2.8,
                    label="I(X;T) with bracket")  # fmt: skip
        if "lower" in curves:
            low, high = curves["lower"], curves["upper"]
            ax.fill_between(low.epochs, low.value[k], high.value[k], color=grey, alpha=0.25,
                            lw=0.8, label="pairwise bounds", zorder=1)  # fmt: skip
        if "binned" in curves:
            binned = curves["binned"]
            ax.plot(binned.epochs, binned.value[k], color=RED, lw=1.3, marker="s", ms=2.8,
                    label="H(Bin(T))")  # fmt: skip
        if "ceiling" in curves and np.isfinite(curves["ceiling"].value[k]).any():
            ceiling = curves["ceiling"]
            ax.plot(ceiling.epochs, ceiling.value[k], ":", color="0.3", lw=1.1,
                    label="ceiling of I(X;T)")  # fmt: skip


def _curves(table: pd.DataFrame, name: str) -> Curves | None:
    """What is shown of a flow, between its brackets; of several seeds, around their mean."""
    if _has_spread(table):
        table = table.assign(
            lower=table["value"] - table["spread"], upper=table["value"] + table["spread"]
        )
    tells, quantity, _ = SHOWN[name]
    return Curves.of(table, estimator_of(table, tells), quantity)


def _check_layers(layers: Sequence[str] | None, there: list[str]) -> list[str]:
    """The layers to draw: all that there are, or those chosen."""
    chosen = there if layers is None else list(layers)
    if not chosen:
        raise ValueError("There is nothing to draw: no layer was chosen.")
    missing = [layer for layer in chosen if layer not in there]
    if missing:
        raise ValueError(f"There is no layer {missing[0]!r}; there are {', '.join(there)}.")
    return chosen


def _has_spread(table: pd.DataFrame) -> bool:
    return is_pooled(table) and bool(table["spread"].notna().any())


def _named(name: str, flow: pd.DataFrame) -> str:
    """The name of a flow; of several seeds, with their number and what is drawn of them."""
    if not _has_spread(flow):
        return name
    seeds = flow.loc[flow["n_seeds"] > 1, "n_seeds"].astype(int)
    few, many = seeds.min(), seeds.max()
    counted = f"{many}" if few == many else f"{few} to {many}"
    return f"{name}: mean ± standard deviation of {counted} seeds"


def _style(place: int) -> tuple[str, str]:
    return _COLOURS[place % len(_COLOURS)], _MARKERS[place % len(_MARKERS)]


def _grid(rows: Sequence[str], layers: Sequence[str]) -> tuple[Any, dict[tuple[str, str], Any]]:
    """Axes by row and layer; the layers of one row alone are wrapped."""
    n = len(layers)
    columns = n if len(rows) > 1 else min(n, _MOST_COLUMNS if n != 6 else 3)
    height = len(rows) if len(rows) > 1 else -(-n // columns)
    figure, grid = pyplot().subplots(
        height, columns, figsize=(0.9 + 2.35 * max(columns, 2), 0.9 + 2.2 * height), squeeze=False,
        sharex=True, sharey="row" if len(rows) > 1 else True, layout="constrained",
    )  # fmt: skip
    places = [(row, layer) for row in rows for layer in layers]
    axes = dict(zip(places, grid.ravel(), strict=False))
    for ax in grid.ravel()[len(places) :]:
        ax.set_visible(False)
    for place, ax in axes.items():
        if place[0] == rows[0]:
            ax.set_title(place[1], fontsize=9)
    for at, ax in enumerate(axes.values()):
        if at + columns >= len(places):
            ax.set_xlabel("Epoch")
            ax.tick_params(labelbottom=True)
    return figure, axes


def _finish(ax: Any) -> None:
    epochs = np.concatenate([line.get_xdata() for line in ax.lines] or [np.ones(1)])
    if is_log(epochs):
        ax.set_xscale("log")
    ax.grid(alpha=0.25, lw=0.5)
    ax.spines[["top", "right"]].set_visible(False)
