"""The overview: everything that a flow table and its arrays show of a run."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinfo.flow.snapshots import Snapshots
from skinfo.flow.tables import checked_table
from skinfo.quantities import describe_quantity, estimators_measuring
from skinfo.view.curves import (
    Curves,
    drawable,
    is_log,
    layer_colours,
    layers_in_order,
    main_quantities,
)
from skinfo.view.pictures.curves import small_print
from skinfo.view.pictures.figures import (
    NARROW,
    draw_legend,
    epochs_across,
    plain_axes,
    plain_text,
    pyplot,
    widened,
    write_below,
)
from skinfo.view.words import number, short_name

_ACCURACY = "#c44e52"


@dataclass(eq=False, repr=False)
class InformationFlowDisplay:
    """The overview: activations, information with brackets, H(Bin), losses, and the last layer.

    Parameters
    ----------
    table : pandas.DataFrame
        A flow table.
    snapshots : Snapshots, optional
        What :func:`skinfo.flow.collect_snapshots` gathered; without them only the curves
        are drawn.
    estimator : str, optional
        Which is drawn of several that measured the same quantity; by default the first.

    Attributes
    ----------
    left_out : dict of str to list of str
        For each estimator that is drawn, others that measured the same and are not drawn.
    figure_ : matplotlib Figure
        The figure.
    axes_ : dict of str to matplotlib Axes
        By name of the quantity drawn ("mutual_info", …), and "losses" where there are any.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import NoisyMIEstimator, information_flow, open_run
    >>> from skinfo.view import InformationFlowDisplay
    >>> run = open_run({(1, "hidden"): np.array([[-1.0], [1.0]])}, sigma=0.5)
    >>> flow = information_flow(NoisyMIEstimator(sigma=None, random_state=0), run, progress=False)
    >>> list(InformationFlowDisplay.from_flow(flow).plot().axes_)
    ['mutual_info']
    """

    table: pd.DataFrame
    snapshots: Snapshots | None = None
    _: KW_ONLY
    estimator: str | None = None

    def __post_init__(self) -> None:
        self.table = checked_table(self.table, "The table", curve=False)
        table, estimator = self.table, self.estimator
        measuring = {name: estimators_measuring(table, name) for name in main_quantities(table)}
        names = list(dict.fromkeys(name for several in measuring.values() for name in several))
        if estimator is not None and estimator not in names:
            raise ValueError(
                f"The table holds nothing of {estimator!r} that an overview shows; it holds that "
                f"of {', '.join(names)}."
            )
        self._drawn = {
            quantity: estimator if estimator in several else several[0]
            for quantity, several in measuring.items()
        }
        self.left_out: dict[str, list[str]] = {}
        for quantity, name in self._drawn.items():
            others = self.left_out.setdefault(name, [])
            others += [x for x in measuring[quantity] if x != name and x not in others]

    @classmethod
    def from_flow(
        cls,
        table: pd.DataFrame,
        snapshots: Snapshots | None = None,
        *,
        estimator: str | None = None,
    ) -> InformationFlowDisplay:
        """Make the display of a flow table and, where there is one, its snapshots."""
        return cls(table, snapshots, estimator=estimator)

    def plot(self) -> InformationFlowDisplay:
        """Draw into a new figure."""
        epochs, layers = np.unique(self.table["epoch"]), layers_in_order(self.table)
        curves = {
            quantity: curve
            for quantity, name in self._drawn.items()
            if (curve := Curves.of(self.table, name, quantity, epochs=epochs)) is not None
        }
        snapshots = self.snapshots
        has_losses = snapshots is not None and snapshots.losses and len(epochs) > 1
        rows = [*curves, *(["losses"] if has_losses else [])]
        if not rows:
            raise ValueError("The table holds nothing that an overview shows.")
        heights = [1.25 if name == "mutual_info" else 0.8 for name in rows]
        width, height = 8.5, 2.3 + 2.15 * sum(heights)
        has_activations = snapshots is not None and snapshots.value_counts.any()
        if snapshots is not None and has_activations:
            # The column of snapshots beside the curves needs its own height.
            width, height = 13.5, max(height, 1.4 * len(snapshots.snapshot_epochs))
        self.figure_ = left = pyplot().figure(figsize=(width, height), layout="constrained")
        if snapshots is not None and has_activations:
            left, right = left.subfigures(1, 2, width_ratios=[3.2, 1], wspace=0.02)
            top, left = left.subfigures(2, 1, height_ratios=[1.0, 1.05 * sum(heights)])
            self._draw_values(top, snapshots)
            self._draw_scatter(right, snapshots)
        axes = left.subplots(len(rows), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
        self.axes_ = dict(zip(rows, axes, strict=True))
        for name, curve in curves.items():
            ax = self.axes_[name]
            lines = curve.draw(ax)
            if curve.quantity.ceiling is not None:
                ceiling = describe_quantity(curve.quantity.ceiling, self.table)
                highest = curve.highest_ceiling
                beside = self._log_classes(name, highest)
                self._draw_ceiling(ax, ceiling.symbol, highest, beside)
                highest = highest or np.nanmax(drawable(curve.value), initial=0.0)
                ax.set_ylim(widened(ax.get_ylim(), highest))
            ax.set_ylabel(plain_text(curve.label))
        if snapshots is not None and has_losses:
            self._draw_losses(self.axes_["losses"], snapshots)
        epochs_across(axes[-1], epochs, layers)
        if len(epochs) > 1:
            axes[0].set_xlim(epochs[0], epochs[-1])
            draw_legend(
                axes[0], lines, layers, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=8,
                fontsize=8, borderaxespad=0.2, handlelength=1.4,
            )  # fmt: skip
        write_below(axes[-1], self._notes(curves))
        for ax in axes:
            plain_axes(ax)
        return self

    def _notes(self, curves: dict[str, Curves]) -> str:
        """A line for each estimator that is drawn and noted, and for each cut axis."""
        quantities: dict[str, list[str]] = {}
        for quantity, name in self._drawn.items():
            quantities.setdefault(name, []).append(quantity)
        lines = [small_print(self.table, name, drawn) for name, drawn in quantities.items()]
        lines += [
            f"{curve.quantity.title}: {above}"
            for curve in curves.values()
            for above in (curve.above_axis(), curve.ceiling_above_axis())
            if above
        ]
        if len(np.unique(self.table["epoch"])) == 1 and self.snapshots is not None:
            lines += [
                f"{short_name(name).replace('_', ' ')} {number(float(values[-1]))}"
                for name, values in self.snapshots.losses.items()
            ]
        return "\n".join(filter(None, lines))

    def _log_classes(self, quantity: str, ceiling: float | None) -> str:
        """Say log K beside an H(Y) that is less: classes are uneven, or not all were seen."""
        rows = self.table["quantity"].eq("label_log_classes")
        rows &= self.table["estimator"].eq(self._drawn[quantity])
        (value, *others) = self.table.loc[rows, "value"].unique().tolist() or [np.nan]
        if quantity != "label_mutual_info" or others or ceiling is None or value <= ceiling + 1e-9:
            return ""
        return f", log K = {value:.3f}" if np.isfinite(value) else ""

    @staticmethod
    def _draw_ceiling(ax: Any, name: str, value: float | None, beside: str) -> None:
        if value is None:
            return
        ax.axhline(value, color="0.5", lw=0.8, ls="--", zorder=0)
        low, high = ax.get_ylim()
        ax.set_ylim(low, max(high, value + 0.16 * (value - low)))
        ax.annotate(
            f"{plain_text(name)} = {value:.3f}{beside}", (1, value),
            xycoords=("axes fraction", "data"), xytext=(-2, 2), textcoords="offset points",
            ha="right", va="bottom", fontsize=7, color="0.35",
        )  # fmt: skip

    @staticmethod
    def _draw_values(figure: Any, snapshots: Snapshots) -> None:
        n = len(snapshots.layers)
        axes = figure.subplots(1, n, squeeze=False)[0]
        for k, (ax, layer, colour) in enumerate(
            zip(axes, snapshots.layers, layer_colours(n), strict=True)
        ):
            counts = snapshots.value_counts[k]
            share = counts / np.maximum(counts.max(axis=1, keepdims=True), 1)
            ax.pcolormesh(
                cell_edges(snapshots.epochs), snapshots.value_edges[k], np.sqrt(share.T),
                cmap="Greys", rasterized=True,
            )  # fmt: skip
            if is_log(snapshots.epochs):
                ax.set_xscale("log")
            if len(snapshots.epochs) > 1:
                # As the curves below.
                ax.set_xlim(snapshots.epochs[0], snapshots.epochs[-1])
            else:
                ax.set_xticks(snapshots.epochs)
            ax.set_title(plain_text(layer, NARROW), fontsize=9, color=colour)
            ax.tick_params(labelsize=7)
            ax.set_xlabel("Epoch", fontsize=8)
        axes[0].set_ylabel("Activation", fontsize=9)

    @staticmethod
    def _draw_scatter(figure: Any, snapshots: Snapshots) -> None:
        units = _widest_units(snapshots.scatter)
        dimension, n = len(units), snapshots.scatter.shape[2]
        kind = {"projection": "3d"} if dimension == 3 else {}
        epochs = snapshots.snapshot_epochs
        axes = figure.subplots(len(epochs), 1, squeeze=False, subplot_kw=kind)[:, 0]
        for ax, epoch, points in zip(axes, epochs, snapshots.scatter, strict=True):
            coordinates = points[:, units].T
            if dimension == 1:
                coordinates = np.vstack([coordinates, np.zeros(points.shape[0])])
            colours = "coolwarm" if snapshots.scatter_labels.max(initial=0) < 2 else "tab10"
            ax.scatter(*coordinates, c=snapshots.scatter_labels, cmap=colours, s=7, alpha=0.7, lw=0)
            ax.set_title(
                f"{plain_text(snapshots.layers[-1], NARROW)}, epoch {epoch}", fontsize=9, y=0.98
            )
            ax.tick_params(labelsize=6, pad=-2)
            ax.locator_params(nbins=4)
            if dimension == 3:
                ax.set_box_aspect(None, zoom=1.05)
                for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
                    axis.set_pane_color((1, 1, 1, 0))
        if n > dimension:
            named = ", ".join(map(str, units))
            figure.suptitle(
                f"Units {named} of {n}, counted from 0:\nthose of the largest variance", fontsize=8,
                color="0.35",
            )  # fmt: skip

    @staticmethod
    def _draw_losses(ax: Any, snapshots: Snapshots) -> None:
        lines: dict[str, Any] = {}

        def draw(axes: Any, kind: str, **options: Any) -> None:
            for name in (name for name in snapshots.losses if kind in name):
                style, label = "--" if name.startswith("test") else "-", name.replace("_", " ")
                (lines[label],) = axes.plot(
                    snapshots.epochs, snapshots.losses[name], style, label=label, **options
                )

        draw(ax, "loss", color="0.2", lw=1.3)
        ax.set_ylabel("Loss [nats]")
        if any("accuracy" in name for name in snapshots.losses):
            other = ax.twinx()
            draw(other, "accuracy", color=_ACCURACY, lw=1.0)
            other.set_ylabel("Accuracy", color=_ACCURACY)
            other.tick_params(axis="y", colors=_ACCURACY)
            other.spines["top"].set_visible(False)
        draw_legend(ax, lines.values(), lines, fontsize=7, loc="center left")


def _widest_units(scatter: np.ndarray) -> list[int]:
    """Numbers of the three units of the largest variance, its mean over all snapshots."""
    n = scatter.shape[2]
    if n <= 3:
        return list(range(n))
    # One snapshot after the other: they may have many units.
    read = [points for points in scatter if not np.isnan(points).all()]
    # The squares of a network that diverged would overflow.
    largest = max((float(max(points.max(), -points.min())) for points in read), default=0.0) or 1.0
    variance = sum(((points / largest).var(axis=0) for points in read), np.zeros(n))
    return sorted(np.argsort(-variance, kind="stable")[:3].tolist())


def cell_edges(epochs: np.ndarray) -> np.ndarray:
    """Edges halfway between epochs, in the logarithm where they are drawn in it.

    Examples
    --------
    >>> import numpy as np
    >>> cell_edges(np.array([1, 100])).round(3).tolist()
    [0.1, 10.0, 1000.0]
    >>> cell_edges(np.array([1, 2, 10])).tolist()
    [0.5, 1.5, 6.0, 14.0]
    """
    log = is_log(epochs)
    at = np.log(epochs) if log else epochs.astype(np.float64)
    if len(at) == 1:
        edges = np.array([at[0] - 0.5, at[0] + 0.5])
    else:
        middle = (at[1:] + at[:-1]) / 2
        edges = np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])
    return np.exp(edges) if log else edges
