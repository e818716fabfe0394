"""Pairwise distances within and between classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from skinfo.flow.snapshots import Snapshots, coarsen
from skinfo.view.pictures.figures import pyplot
from skinfo.view.style import PAIR_KINDS


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

    def __init__(
        self, edges: np.ndarray, within: np.ndarray, between: np.ndarray, *, title: str = ""
    ) -> None:
        self.edges = edges
        self.within = within
        self.between = between
        self.title = title

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, title: str = "", label_set: Any = None
    ) -> DistanceHistogramDisplay:
        """Take the histograms of a fitted ClusteringScore, in 64 cells, of one label set."""
        names = ("distance_edges_", "within_histogram_", "between_histogram_")
        drawn = coarsen(*(of_label_set(getattr(estimator, name), label_set) for name in names))
        return cls(*drawn, title=title)

    def plot(self, ax: Any = None) -> DistanceHistogramDisplay:
        """Draw, into a new figure unless an axes is given."""
        plt = pyplot()
        if ax is None:
            _, ax = plt.subplots(figsize=(4.8, 3.4), layout="constrained")
        occupied = np.flatnonzero(self.within + self.between)
        if not len(occupied):
            ax.set(title=self.title, xticks=[], yticks=[])
            ax.text(0.5, 0.5, "not measured", ha="center", va="center", transform=ax.transAxes)
            self.ax_, self.figure_ = ax, ax.figure
            return self
        width = np.diff(self.edges)
        for name, label, colour in PAIR_KINDS:
            counts = getattr(self, name)
            density = counts / max(counts.sum(), 1e-300) / width
            ax.stairs(density, self.edges, fill=True, alpha=0.35, color=colour)
            ax.stairs(density, self.edges, color=colour, label=label, lw=1.2)
        right = self.edges[occupied[-1] + 1]
        ax.set(
            xlabel="Distance", ylabel="Density", title=self.title, xlim=(0, right), ylim=(0, None)
        )
        ax.legend(fontsize=8, frameon=False)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def plot_distances(snapshots: Snapshots) -> Any:
    """Draw the distances of every layer at every snapshot, a small multiple; returns the figure."""
    plt = pyplot()
    if not snapshots.within.any():
        raise ValueError("No distances are on record: the run has no labels.")
    n_layers, n_snapshots = snapshots.within.shape[:2]
    figure, axes = plt.subplots(
        n_layers, n_snapshots, figsize=(2.7 * n_snapshots, 1.9 * n_layers), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for k, layer in enumerate(snapshots.layers):
        for j, epoch in enumerate(snapshots.snapshot_epochs):
            ax = axes[k, j]
            DistanceHistogramDisplay(
                snapshots.distance_edges[k, j], snapshots.within[k, j], snapshots.between[k, j],
                title=f"{layer}, epoch {epoch}",
            ).plot(ax)  # fmt: skip
            ax.title.set_fontsize(9)
            ax.tick_params(labelsize=7)
            ax.set(xlabel="Distance" if k == n_layers - 1 else "", ylabel="")
            if ax.get_legend() is not None:
                ax.get_legend().remove()
    legends = (ax.get_legend_handles_labels() for ax in axes.flat)
    handles, labels = next(found for found in legends if found[0])
    figure.legend(handles, labels, loc="outside upper left", ncols=2, frameon=False, fontsize=9)
    return figure


def of_label_set(attribute: Any, label_set: Any) -> Any:
    """An attribute of one label set; dicts need its name."""
    if not isinstance(attribute, dict):
        return attribute
    if label_set not in attribute:
        raise ValueError(f"label_set is one of {', '.join(map(repr, attribute))}.")
    return attribute[label_set]
