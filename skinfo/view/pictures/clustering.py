"""Clustering in pictures: distances over training, a score against the epoch, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from skinfo.flow.snapshots import DRAWN_CELLS, Snapshots, coarsen
from skinfo.kinds import (
    CLUSTERING_NAMES,
    GUIDES,
    estimator_of,
    estimators_of,
    kind_of,
    symbol,
)
from skinfo.view.pictures.curves import Curves, notes_of
from skinfo.view.pictures.distances import of_label_set
from skinfo.view.pictures.figures import pyplot, widened, write_below
from skinfo.view.style import PAIR_KINDS, is_log

# A ridge reaches over this many of its neighbours.
_OVERLAP = 1.2
# How names of quantities begin that lie between 0 and a ceiling.
_INFORMATION = ("I(", "H(Bin(T))")


class DistanceRidgesDisplay:
    """Distributions of distances over checkpoints: axes per layer, a ridge per checkpoint.

    Every ridge has its own height, that of its highest cell.

    Parameters
    ----------
    layers : sequence of str
        Names in network order.
    epochs : ndarray of shape (n_epochs,)
        Checkpoints.
    edges : ndarray of shape (n_layers, n_epochs, n_cells + 1)
        Edges of the cells.
    within, between : ndarray of shape (n_layers, n_epochs, n_cells)
        Number of pairs of one class, of two; zeros where not measured.

    Attributes
    ----------
    axes_ : list of matplotlib Axes
        One a layer.
    figure_ : matplotlib Figure
        Their figure.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import open_run
    >>> from skinfo.view import DistanceRidgesDisplay
    >>> from skinfo.flow import collect_snapshots
    >>> run = open_run({(e, "hidden"): np.array([[0.0], [e], [3.0], [7.0]]) for e in (1, 2)},
    ...                labels=[0, 0, 1, 1])
    >>> DistanceRidgesDisplay.from_snapshots(collect_snapshots(run)).plot().axes_[0].get_title()
    'hidden'
    """

    def __init__(
        self,
        layers: Sequence[str],
        epochs: np.ndarray,
        edges: np.ndarray,
        within: np.ndarray,
        between: np.ndarray,
    ) -> None:
        self.layers = list(layers)
        self.epochs = epochs
        self.edges = edges
        self.within = within
        self.between = between

    @classmethod
    def from_snapshots(cls, snapshots: Snapshots) -> DistanceRidgesDisplay:
        """Take the distances at the snapshots of a run."""
        if not snapshots.within.any():
            raise ValueError("No distances are on record: the run has no labels.")
        return cls(
            snapshots.layers,
            snapshots.snapshot_epochs,
            snapshots.distance_edges,
            snapshots.within,
            snapshots.between,
        )

    @classmethod
    def from_estimators(
        cls, fitted: dict[tuple[int, str], Any], *, label_set: Any = None
    ) -> DistanceRidgesDisplay:
        """Take the histograms of fitted ClusteringScores by (epoch, layer), layers in order."""
        epochs = sorted({epoch for epoch, _ in fitted})
        layers = list(dict.fromkeys(layer for _, layer in fitted))
        shape = (len(layers), len(epochs), DRAWN_CELLS)
        edges = np.zeros((*shape[:2], DRAWN_CELLS + 1))
        within, between = np.zeros(shape), np.zeros(shape)
        for (epoch, layer), est in fitted.items():
            at = layers.index(layer), epochs.index(epoch)
            names = ("distance_edges_", "within_histogram_", "between_histogram_")
            edges[at], within[at], between[at] = coarsen(
                *(of_label_set(getattr(est, name), label_set) for name in names)
            )
        return cls(layers, np.array(epochs), edges, within, between)

    def plot(self, axes: Sequence[Any] | None = None) -> DistanceRidgesDisplay:
        """Draw, into a new figure unless one axes a layer is given."""
        n = len(self.layers)
        if axes is None:
            _, grid = pyplot().subplots(
                1, n, figsize=(1.0 + 2.5 * n, 1.3 + 0.62 * len(self.epochs)), squeeze=False,
                sharey=True, layout="constrained",
            )  # fmt: skip
            axes = grid[0]
        if len(axes) != n:
            raise ValueError(f"{n} layers need as many axes; got {len(axes)}.")
        self.axes_ = list(axes)
        self.figure_ = self.axes_[0].figure
        for k, (ax, layer) in enumerate(zip(self.axes_, self.layers, strict=True)):
            self._draw_layer(ax, k)
            ax.set_title(layer, fontsize=10)
            ax.set_xlabel("Distance")
            ax.set_yticks(range(len(self.epochs)), [f"{epoch:g}" for epoch in self.epochs])
            ax.tick_params(axis="y", length=0)
            ax.spines[["top", "right", "left"]].set_visible(False)
            ax.set_ylim(len(self.epochs) - 0.85, -_OVERLAP - 0.05)
        self.axes_[0].set_ylabel("Epoch")
        found = (ax.get_legend_handles_labels() for ax in self.axes_)
        handles, labels = next((f for f in found if f[0]), ([], []))
        self.figure_.legend(
            handles, labels, loc="outside upper center", ncols=2, frameon=False, fontsize=9
        )
        return self

    def _draw_layer(self, ax: Any, k: int) -> None:
        right = 0.0
        named: set[str] = set()
        for j in range(len(self.epochs)):
            both = self.within[k, j] + self.between[k, j]
            if not both.any():
                ax.text(0.5, j, "not measured", fontsize=7, color="0.5", va="bottom",
                        transform=ax.get_yaxis_transform(), ha="center")  # fmt: skip
                continue
            edges = self.edges[k, j]
            right = max(right, float(edges[np.searchsorted(both.cumsum(), 0.999 * both.sum()) + 1]))
            densities = {}
            for name, *_ in PAIR_KINDS:
                counts = getattr(self, name)[k, j]
                densities[name] = counts / max(counts.sum(), 1e-300) / np.diff(edges)
            height = max(d.max() for d in densities.values()) / _OVERLAP
            for name, label, colour in PAIR_KINDS:
                ax.stairs(j - densities[name] / height, edges, baseline=j, fill=True, alpha=0.4,
                          color=colour, zorder=2 + j)  # fmt: skip
                ax.stairs(j - densities[name] / height, edges, baseline=None, color=colour, lw=1.0,
                          zorder=2 + j, label=f"_{label}" if label in named else label)  # fmt: skip
                named.add(label)
        ax.set_xlim(0, right or 1)


class ClusteringCurveDisplay:
    """One number against the epoch, a line a layer: of ClusteringScore or another estimator.

    Parameters
    ----------
    curves : Curves
        Values and brackets.
    quantity : str
        What they are, for example "auc".
    kind : {"noisy", "binned", "other"}, default="other"
        What sort of estimator measured them; it tells what the axis is called.
    notes : str, default=""
        What the table notes about them, written below.
    left_out : dict of str to list of str, optional
        The estimator that measured them, and others that measured the same quantity.

    Attributes
    ----------
    left_out : dict of str to list of str
        As given; of a flow table, what else ``estimator`` may name.
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        Its figure.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import ClusteringScore, information_flow, open_run
    >>> from skinfo.view import ClusteringCurveDisplay
    >>> run = open_run({(e, "hidden"): np.array([[0.0], [e], [3.0], [7.0]]) for e in (1, 2)},
    ...                labels=[0, 0, 1, 1])
    >>> flow = information_flow(ClusteringScore(), run, progress=False)
    >>> ClusteringCurveDisplay.from_flow(flow).plot().ax_.get_ylabel()
    'Clustering AUC ↑'
    """

    def __init__(
        self,
        curves: Curves,
        quantity: str,
        *,
        kind: str = "other",
        notes: str = "",
        left_out: dict[str, list[str]] | None = None,
    ) -> None:
        self.curves = curves
        self.quantity = quantity
        self.kind = kind
        self.notes = notes
        self.left_out = left_out or {}

    @classmethod
    def from_flow(
        cls, table: pd.DataFrame, quantity: str = "auc", *, estimator: str | None = None
    ) -> ClusteringCurveDisplay:
        """Take one quantity out of a flow table; of the first estimator that measured it."""
        name = estimator or estimator_of(table, quantity)
        curves = Curves.of(table, name, quantity)
        measured = estimators_of(table, quantity)
        if measured and name not in measured:
            raise ValueError(
                f"The table holds no {quantity!r} of {name!r}, but of {', '.join(measured)}."
            )
        if name is None or curves is None:
            known = sorted(set(table["quantity"]) & set(CLUSTERING_NAMES))
            raise ValueError(
                f"The table holds no {quantity!r}; of what describes clustering it holds "
                f"{', '.join(known) or 'nothing'}."
            )
        notes = notes_of(table, name, [quantity])
        others = [other for other in measured if other != name]
        return cls(
            curves, quantity, kind=kind_of(table, name), notes=notes, left_out={name: others}
        )

    def plot(self, ax: Any = None) -> ClusteringCurveDisplay:
        """Draw, into a new figure unless an axes is given."""
        if ax is None:
            _, ax = pyplot().subplots(figsize=(5.2, 3.4), layout="constrained")
        self.curves.draw(ax)
        if self.quantity in GUIDES:
            ax.axhline(GUIDES[self.quantity], color="0.5", lw=0.8, ls="--", zorder=0)
        if is_log(self.curves.epochs):
            ax.set_xscale("log")
        if symbol(self.kind, self.quantity).startswith(_INFORMATION):
            highest = np.nanmax(self.curves.value, initial=0.0)
            ax.set_ylim(widened(ax.get_ylim(), highest), auto=None)
        unit = f" [{self.curves.unit}]" if self.curves.unit else ""
        ax.set(xlabel="Epoch", ylabel=symbol(self.kind, self.quantity) + unit)
        write_below(ax, self.notes)
        ax.grid(alpha=0.25, lw=0.5)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(fontsize=8, frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self


class ClassDistancesDisplay:
    """Mean distance between the rows of every two classes, as a heat map.

    Parameters
    ----------
    matrix : ndarray of shape (n_classes, n_classes)
        Mean distances; NaN where there is no pair.
    classes : sequence
        Their names.
    title : str, default=""
        Drawn above.
    metric : {"euclidean", "cosine"}, default="euclidean"
        The distance, named beside the colours.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        Its figure.

    Examples
    --------
    >>> from skinfo import ClusteringScore
    >>> from skinfo.view import ClassDistancesDisplay
    >>> est = ClusteringScore().fit([[0.0], [0.1], [5.0], [5.2]], ["a", "a", "b", "b"])
    >>> ax = ClassDistancesDisplay.from_estimator(est).plot().ax_
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['a', 'b']
    """

    def __init__(
        self,
        matrix: np.ndarray,
        classes: Sequence[Any],
        *,
        title: str = "",
        metric: str = "euclidean",
    ) -> None:
        self.matrix = matrix
        self.classes = list(classes)
        self.title = title
        self.metric = metric

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, label_set: Any = None, title: str = ""
    ) -> ClassDistancesDisplay:
        """Take the matrix of a fitted ClusteringScore; of one label set where it has several."""
        matrix = of_label_set(estimator.class_distances_, label_set)
        if matrix is None:
            raise ValueError("Too many classes: the estimator holds no class_distances_.")
        classes = of_label_set(estimator.classes_, label_set)
        return cls(matrix, classes, title=title, metric=estimator.metric)

    def plot(
        self, ax: Any = None, *, vmax: float | None = None, colorbar: bool = True
    ) -> ClassDistancesDisplay:
        """Draw, into a new figure unless an axes is given; ``vmax`` ends the colours."""
        n = len(self.classes)
        if ax is None:
            size = 2.6 + 0.24 * min(n, 20)
            _, ax = pyplot().subplots(figsize=(size + 0.7, size), layout="constrained")
        image = ax.imshow(self.matrix, cmap="viridis", vmin=0, vmax=vmax)
        if n <= 20:
            ax.set_xticks(range(n), [str(c) for c in self.classes])
            ax.set_yticks(range(n), [str(c) for c in self.classes])
        if n <= 12:
            self._write_numbers(ax, image)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set(xlabel="Class", ylabel="Class", title=self.title)
        name = "Mean cosine distance" if self.metric == "cosine" else "Mean distance"
        if colorbar:
            ax.figure.colorbar(image, ax=ax, label=name, shrink=0.85)
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _write_numbers(self, ax: Any, image: Any) -> None:
        for i, j in np.ndindex(self.matrix.shape):
            value = self.matrix[i, j]
            if np.isfinite(value):
                dark = image.norm(value) < 0.55
                ax.text(j, i, f"{value:#.2g}", ha="center", va="center", fontsize=7,
                        color="white" if dark else "black")  # fmt: skip
