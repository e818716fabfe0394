"""Flows laid over one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from skinfo.comparison import Alignment, NothingInCommonError, compare_flows, is_pooled, read_flows
from skinfo.quantities import estimators_measuring
from skinfo.view.curves import (
    BLUE,
    PLANES,
    RED,
    Curves,
    drawable,
    is_log,
    main_quantities,
)
from skinfo.view.pictures.figures import NARROW, plain_axes, plain_text, pyplot
from skinfo.view.words import epoch_name

# Apart in grey, too: they differ in lightness, and in their markers.
_COLOURS = (BLUE, RED, "#3d405b", "#81b29a", "#a04668", "#e0a458")
_MARKERS = "osD^vP"
_SHOWN_CHANGES = ("beyond brackets", "beyond error")
_MOST_COLUMNS = 5


class FlowComparisonDisplay:
    """Several flows against the epoch: a row per quantity, a column per layer, a colour per flow.

    Bands are brackets; of a pooled flow, the mean and one standard deviation between seeds to each
    side. A filled marker says that a value differs from the reference's beyond its error
    (:func:`skinfo.compare_flows`).

    Parameters
    ----------
    flows : mapping of str to DataFrame or path
        Flow tables, pooled or not, by name.
    reference : str, optional
        The flow that the others are compared with; by default the first.
    quantities : sequence of str, optional
        Which quantities, by their names in the tables; by default I(X;T) and I(Y;T), or else
        those that are looked at first.
    layers : sequence of str, optional
        Which layers; by default all.
    estimators : sequence of str, optional
        Whose numbers, by their names in the tables; by default all that measured the quantities.
        Where a flow has a quantity of several, each has a row of its own.
    z, pair_by : float and str, optional
        As for :func:`skinfo.compare_flows`, for the filled markers.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure.
    axes_ : dict of (str, str) to matplotlib Axes
        By quantity and layer; the key of a quantity that several estimators measured is such as
        "mutual_info by fine".

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import NoisyMIEstimator, information_flow, open_run
    >>> from skinfo.view import FlowComparisonDisplay
    >>> flows = {
    ...     name: information_flow(
    ...         NoisyMIEstimator(sigma=None, random_state=0),
    ...         open_run({(e, "hidden"): x * np.array([[-e], [e]]) for e in (1, 2)}, sigma=1.0),
    ...         progress=False,
    ...     )
    ...     for name, x in (("narrow", 0.5), ("wide", 1.0))
    ... }
    >>> list(FlowComparisonDisplay.from_flows(flows).plot().axes_)
    [('mutual_info', 'hidden')]
    """

    def __init__(
        self,
        flows: Mapping[str, Any],
        *,
        reference: str | None = None,
        quantities: Sequence[str] | None = None,
        layers: Sequence[str] | None = None,
        estimators: Sequence[str] | None = None,
        z: float = 1.96,
        pair_by: str | None = None,
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
        self.quantities = self._check_quantities(quantities)
        self._options: dict[str, Any] = {"z": z, "pair_by": pair_by}
        self._rows = self._choose_rows(estimators)
        names = dict.fromkeys(layer for flow in self.flows.values() for layer in flow["layer"])
        self.layers = _check_layers(layers, list(names))

    @classmethod
    def from_flows(
        cls,
        flows: Mapping[str, Any],
        *,
        reference: str | None = None,
        quantities: Sequence[str] | None = None,
        layers: Sequence[str] | None = None,
        estimators: Sequence[str] | None = None,
        z: float = 1.96,
        pair_by: str | None = None,
    ) -> FlowComparisonDisplay:
        """Make the display of flow tables, or of the files that hold them."""
        return cls(
            flows, reference=reference, quantities=quantities, layers=layers,
            estimators=estimators, z=z, pair_by=pair_by,
        )  # fmt: skip

    def _check_quantities(self, quantities: Sequence[str] | None) -> list[str]:
        tables = list(self.flows.values())
        names = (name for table in tables for name in table["quantity"])
        measured = [name for name in dict.fromkeys(names) if name]
        if quantities is None:
            main = main_quantities(*tables)
            quantities = [name for name in main if name in PLANES[0]] or main or measured
        unknown = [name for name in quantities if name not in measured]
        if unknown or not quantities:
            wrong = repr(unknown[0]) if unknown else "nothing that could be drawn"
            raise ValueError(f"The flows hold {', '.join(measured) or 'no curve'}; not {wrong}.")
        return list(quantities)

    def _choose_rows(self, estimators: Sequence[str] | None) -> dict[str, tuple[str, str | None]]:
        """Quantity and estimator by row; None where each flow has it of one alone, any of them."""
        rows: dict[str, tuple[str, str | None]] = {}
        everything: dict[str, None] = {}
        for quantity in self.quantities:
            of_flows = [estimators_measuring(table, quantity) for table in self.flows.values()]
            found = dict.fromkeys(name for names in of_flows for name in names)
            everything |= found
            names = [name for name in found if estimators is None or name in estimators]
            if max(map(len, of_flows)) <= 1 and names == list(found):
                rows[quantity] = (quantity, None)
            elif len(names) == 1:
                rows[quantity] = (quantity, names[0])
            else:
                rows |= {f"{quantity} by {name}": (quantity, name) for name in names}
        unknown = [name for name in estimators or () if name not in everything]
        if unknown or not rows:
            raise ValueError(
                f"The quantities drawn were measured by {', '.join(everything)}; not by "
                f"{unknown[0] if unknown else 'those chosen'!r}."
            )
        return rows

    def plot(self) -> FlowComparisonDisplay:
        """Draw into a new figure."""
        self.figure_, self.axes_ = _grid(list(self._rows), self.layers)
        changed = self._changed()
        for name, (quantity, estimator) in self._rows.items():
            label = ""
            for place, (flow, table) in enumerate(self.flows.items()):
                curves = _curves(table, estimator, quantity)
                if curves is None:
                    continue
                label = plain_text(curves.label)
                label += "" if name == quantity else f"\nby {plain_text(estimator)}"
                for k, layer in enumerate(curves.layers):
                    if layer in self.layers:
                        marks = changed.get((flow, name, layer))
                        self._draw(self.axes_[name, layer], place, curves, k, marks)
            for layer in self.layers:
                ax = self.axes_[name, layer]
                if is_log(np.concatenate([line.get_xdata() for line in ax.lines] or [np.ones(1)])):
                    ax.set_xscale("log")
                plain_axes(ax)
            self.axes_[name, self.layers[0]].set_ylabel(label)
        self.figure_.align_ylabels()
        self._draw_legend(marked=bool(changed))
        return self

    def _draw(
        self, ax: Any, place: int, curves: Curves, k: int, differs_at: set[int] | None
    ) -> None:
        colour, marker = _style(place)
        epochs, value = curves.epochs, drawable(curves.value[k])
        lower, upper = drawable(curves.lower[k]), drawable(curves.drawn_upper[k])
        if len(epochs) == 1:
            ax.vlines(epochs, lower, upper, color=colour, alpha=0.2, lw=6)
            ax.set_xticks(epochs, [epoch_name(epochs[0])])
        else:
            ax.fill_between(epochs, lower, upper, color=colour, alpha=0.2, lw=0)
        if differs_at is None:
            ax.plot(epochs, value, color=colour, lw=1.4, marker=".", ms=4)
            return
        ax.plot(epochs, value, color=colour, lw=1.4)
        differs = np.isin(epochs, sorted(differs_at))
        for chosen, face in ((differs, colour), (~differs, "white")):
            ax.plot(epochs[chosen], value[chosen], marker, color=colour, ms=3.6, mfc=face, mew=0.9)

    def _changed(self) -> dict[tuple[str, str, str], set[int]]:
        """Epochs at which a flow differs from the reference, by flow, quantity and layer."""
        changed: dict[tuple[str, str, str], set[int]] = {}
        reference = self.flows[self.reference]
        for flow, table in self.flows.items():
            if flow == self.reference:
                continue
            try:
                compared = compare_flows({self.reference: reference, flow: table}, **self._options)
            except NothingInCommonError:
                continue
            compared = compared[compared["change"].isin(_SHOWN_CHANGES)]
            places = compared[["estimator", "quantity", "layer"]]
            for name, (quantity, estimator) in self._rows.items():
                own = estimator or next(iter(estimators_measuring(table, quantity)), None)
                for layer in self.layers:
                    here = places.eq([own, quantity, layer]).all(axis=1)
                    changed[flow, name, layer] = set(compared.loc[here, "epoch"])
        return changed

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
            labels.append(f"differs from {plain_text(self.reference)} beyond error")
        self.figure_.legend(
            handles, labels, loc="outside upper left", ncols=min(4, len(handles)), frameon=False,
            fontsize=8, handlelength=1.8,
        )  # fmt: skip


def _curves(table: pd.DataFrame, estimator: str | None, quantity: str) -> Curves | None:
    """A quantity of a flow, between its brackets; of several seeds, around their mean."""
    if _has_spread(table):
        table = table.assign(
            lower=table["value"] - table["spread"], upper=table["value"] + table["spread"]
        )
    return Curves.of(table, estimator, quantity)


def _check_layers(layers: Sequence[str] | None, measured: list[str]) -> list[str]:
    """The layers to draw: all that were measured, or those chosen."""
    chosen = measured if layers is None else list(layers)
    if not chosen:
        raise ValueError("There is nothing to draw: no layer was chosen.")
    missing = [layer for layer in chosen if layer not in measured]
    if missing:
        raise ValueError(f"There is no layer {missing[0]!r}; there are {', '.join(measured)}.")
    return chosen


def _has_spread(table: pd.DataFrame) -> bool:
    return is_pooled(table) and bool(table["spread"].notna().any())


def _named(name: str, flow: pd.DataFrame) -> str:
    """The name of a flow; of several seeds, with their number and what is drawn of them."""
    name = plain_text(name)
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
            ax.set_title(plain_text(place[1], NARROW), fontsize=9)
    for at, ax in enumerate(axes.values()):
        if at + columns >= len(places):
            ax.set_xlabel("Epoch")
            ax.tick_params(labelbottom=True)
    return figure, axes
