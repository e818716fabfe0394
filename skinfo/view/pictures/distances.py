"""Distances within and between classes: histograms, ridges over training, class by class."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np

from skinfo.flow.snapshots import DRAWN_CELLS, Snapshots, coarsen
from skinfo.view.curves import PAIR_KINDS
from skinfo.view.pictures.figures import NARROW, draw_legend, plain_text, pyplot

# A ridge reaches over this many of its neighbours.
_OVERLAP = 1.2


@dataclass(eq=False, repr=False)
class DistanceHistogramDisplay:
    """Distribution of pairwise distances within and between classes.

    Parameters
    ----------
    edges : ndarray of shape (n_cells + 1,)
        Edges of the cells.
    within, between : ndarray of shape (n_cells,)
        Number of pairs of one class, of two classes.
    title : str, default=""
        Drawn above.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        Its figure.

    Examples
    --------
    >>> from skinfo import ClusteringScore
    >>> from skinfo.view import DistanceHistogramDisplay
    >>> est = ClusteringScore().fit([[0.0], [0.1], [5.0], [5.2]], [0, 0, 1, 1])
    >>> DistanceHistogramDisplay.from_estimator(est).plot().ax_.get_ylabel()
    'Density'
    """

    edges: np.ndarray
    within: np.ndarray
    between: np.ndarray
    _: KW_ONLY
    title: str = ""

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, title: str = "", label_set: Any = None
    ) -> DistanceHistogramDisplay:
        """Take the histograms of a fitted ClusteringScore, in 64 cells, of one label set."""
        return cls(*_histograms(estimator, label_set), title=title)

    def plot(self, ax: Any = None) -> DistanceHistogramDisplay:
        """Draw, into a new figure unless an axes is given."""
        if ax is None:
            _, ax = pyplot().subplots(figsize=(4.8, 3.4), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        occupied = np.flatnonzero(self.within + self.between)
        if not len(occupied):
            ax.set(title=self.title, xticks=[], yticks=[])
            ax.text(0.5, 0.5, "not measured", ha="center", va="center", transform=ax.transAxes)
            return self
        for name, label, colour in PAIR_KINDS:
            density = _density(getattr(self, name), self.edges)
            ax.stairs(density, self.edges, fill=True, alpha=0.35, color=colour)
            ax.stairs(density, self.edges, color=colour, label=label, lw=1.2)
        right = self.edges[occupied[-1] + 1]
        ax.set(
            xlabel="Distance", ylabel="Density", title=self.title, xlim=(0, right), ylim=(0, None)
        )
        ax.legend(fontsize=8, frameon=False)
        return self


def plot_distances(snapshots: Snapshots) -> Any:
    """Draw the distances of every layer at every snapshot, axes for each; returns the figure."""
    _check_measured(snapshots)
    n_layers, n_snapshots = snapshots.within.shape[:2]
    figure, axes = pyplot().subplots(
        n_layers, n_snapshots, figsize=(2.7 * n_snapshots, 1.9 * n_layers), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for k, layer in enumerate(snapshots.layers):
        for j, epoch in enumerate(snapshots.snapshot_epochs):
            ax = axes[k, j]
            DistanceHistogramDisplay(
                snapshots.distance_edges[k, j], snapshots.within[k, j], snapshots.between[k, j],
                title=f"{plain_text(layer, NARROW)}, epoch {epoch}",
            ).plot(ax)  # fmt: skip
            ax.title.set_fontsize(9)
            ax.tick_params(labelsize=7)
            ax.set(xlabel="Distance" if k == n_layers - 1 else "", ylabel="")
            if ax.get_legend() is not None:
                ax.get_legend().remove()
    _draw_legend(figure, axes.flat, "outside upper left")
    return figure


@dataclass(eq=False, repr=False)
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
        One per layer.
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

    layers: Sequence[str]
    epochs: np.ndarray
    edges: np.ndarray
    within: np.ndarray
    between: np.ndarray

    @classmethod
    def from_snapshots(cls, snapshots: Snapshots) -> DistanceRidgesDisplay:
        """Take the distances at the snapshots of a run."""
        _check_measured(snapshots)
        return cls(
            snapshots.layers, snapshots.snapshot_epochs, snapshots.distance_edges,
            snapshots.within, snapshots.between,
        )  # fmt: skip

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
            edges[at], within[at], between[at] = _histograms(est, label_set)
        return cls(layers, np.array(epochs), edges, within, between)

    def plot(self, axes: Sequence[Any] | None = None) -> DistanceRidgesDisplay:
        """Draw, into a new figure unless one axes per layer is given."""
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
            ax.set_title(plain_text(layer, NARROW), fontsize=10)
            ax.set_xlabel("Distance")
            ax.set_yticks(range(len(self.epochs)), [f"{epoch:g}" for epoch in self.epochs])
            ax.tick_params(axis="y", length=0)
            ax.spines[["top", "right", "left"]].set_visible(False)
            ax.set_ylim(len(self.epochs) - 0.85, -_OVERLAP - 0.05)
        self.axes_[0].set_ylabel("Epoch")
        _draw_legend(self.figure_, self.axes_, "outside upper center")
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
            densities = {
                name: _density(getattr(self, name)[k, j], edges) for name, *_ in PAIR_KINDS
            }
            height = max(d.max() for d in densities.values()) / _OVERLAP
            for name, label, colour in PAIR_KINDS:
                ax.stairs(j - densities[name] / height, edges, baseline=j, fill=True, alpha=0.4,
                          color=colour, zorder=2 + j)  # fmt: skip
                ax.stairs(j - densities[name] / height, edges, baseline=None, color=colour, lw=1.0,
                          zorder=2 + j, label=f"_{label}" if label in named else label)  # fmt: skip
                named.add(label)
        ax.set_xlim(0, right or 1)


@dataclass(eq=False, repr=False)
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

    matrix: np.ndarray
    classes: Sequence[Any]
    _: KW_ONLY
    title: str = ""
    metric: str = "euclidean"

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, label_set: Any = None, title: str = ""
    ) -> ClassDistancesDisplay:
        """Take the matrix of a fitted ClusteringScore; of one label set where it has several."""
        matrix = _of_label_set(estimator.class_distances_, label_set)
        if matrix is None:
            raise ValueError("Too many classes: the estimator holds no class_distances_.")
        classes = _of_label_set(estimator.classes_, label_set)
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
            names = [plain_text(c) for c in self.classes]
            ax.set_xticks(range(n), names)
            ax.set_yticks(range(n), names)
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


def _check_measured(snapshots: Snapshots) -> None:
    if not snapshots.within.any():
        raise ValueError(
            "No distances are on record: the run has no labels, or was measured while it trained."
        )


def _histograms(estimator: Any, label_set: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    names = ("distance_edges_", "within_histogram_", "between_histogram_")
    return coarsen(*(_of_label_set(getattr(estimator, name), label_set) for name in names))


def _density(counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return counts / max(counts.sum(), 1e-300) / np.diff(edges)


def _draw_legend(figure: Any, axes: Iterable[Any], place: str) -> None:
    """One legend for all axes: that of the first with something in it."""
    legends = (ax.get_legend_handles_labels() for ax in axes)
    handles, labels = next((legend for legend in legends if legend[0]), ([], []))
    draw_legend(figure, handles, labels, loc=place, ncols=2, fontsize=9)


def _of_label_set(attribute: Any, label_set: Any) -> Any:
    """An attribute of one label set; dicts need its name."""
    if not isinstance(attribute, dict):
        return attribute
    if label_set not in attribute:
        raise ValueError(f"label_set is one of {', '.join(map(repr, attribute))}.")
    return attribute[label_set]
