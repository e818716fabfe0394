"""Pictures: display objects hold arrays, ``plot`` draws them; matplotlib is imported late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinfo.errors import MissingExtraError
from skinfo.runs.files import write_atomically
from skinfo.tables import Panel, coarsen

_FAINT = "0.75"


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise MissingExtraError("Drawing", "plot") from error
    return plt


def _layer_colours(n: int) -> list[Any]:
    """Dark to light along the depth of the network; readable in grey."""
    return list(_pyplot().colormaps["viridis"](np.linspace(0.0, 0.9, max(n, 2))))[:n]


def estimator_of(table: pd.DataFrame, quantity: str) -> str | None:
    """Name of the first estimator in a table that measured a quantity."""
    found = table.loc[table["quantity"] == quantity, "estimator"]
    return None if found.empty else str(found.iloc[0])


@dataclass
class Curves:
    """One quantity of every layer against the epoch.

    Attributes
    ----------
    layers : list of str
        In the order of the table.
    epochs : ndarray of shape (n_epochs,)
    value, lower, upper : ndarray of shape (n_layers, n_epochs)
        NaN where not measured.
    unit : str
    """

    layers: list[str]
    epochs: np.ndarray
    value: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    unit: str

    @classmethod
    def of(cls, table: pd.DataFrame, estimator: str | None, quantity: str) -> Curves | None:
        """Take one quantity of one estimator out of a table; None if it is not there."""
        chosen = table[(table["estimator"] == estimator) & (table["quantity"] == quantity)]
        if chosen.empty:
            return None
        layers = list(dict.fromkeys(table["layer"]))
        epochs = np.sort(chosen["epoch"].unique())

        def grid(column: str) -> np.ndarray:
            pivoted = chosen.pivot(index="layer", columns="epoch", values=column)
            return pivoted.reindex(index=layers, columns=epochs).to_numpy(dtype=np.float64)

        return cls(
            layers, epochs, grid("value"), grid("lower"), grid("upper"), chosen["unit"].iloc[0]
        )

    def draw(self, ax: Any, *, bracket: bool = True) -> None:
        """Draw a line a layer, with its bracket as a band."""
        for k, colour in enumerate(_layer_colours(len(self.layers))):
            if bracket:
                ax.fill_between(
                    self.epochs, self.lower[k], self.upper[k], color=colour, alpha=0.25, lw=0
                )
            ax.plot(self.epochs, self.value[k], color=colour, lw=1.4, marker="o", ms=2.5,
                    label=self.layers[k])  # fmt: skip


class InformationPlaneDisplay:
    """The information plane: I(X;T) across, I(Y;T) up, one faint line an epoch.

    Parameters
    ----------
    information, label_information : ndarray of shape (n_layers, n_epochs)
        I(X;T) and I(Y;T).
    epochs : ndarray of shape (n_epochs,)
        Checkpoints.
    layers : sequence of str
        Names in network order.
    unit : str
        "nats" or "bits".

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        Its figure.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo.plotting import InformationPlaneDisplay
    >>> plane = InformationPlaneDisplay(
    ...     np.array([[2.0, 1.9]]), np.array([[0.3, 0.6]]), np.array([1, 10]), ["hidden"], "nats")
    >>> plane.plot().ax_.get_xlabel()
    'I(X;T) [nats]'
    """

    def __init__(
        self,
        information: np.ndarray,
        label_information: np.ndarray,
        epochs: np.ndarray,
        layers: Sequence[str],
        unit: str,
    ) -> None:
        self.information = information
        self.label_information = label_information
        self.epochs = epochs
        self.layers = list(layers)
        self.unit = unit

    @classmethod
    def from_flow(
        cls, table: pd.DataFrame, *, estimator: str | None = None
    ) -> InformationPlaneDisplay:
        """Take the plane out of a flow table; the first noisy estimator by default."""
        name = (
            estimator
            or estimator_of(table, "conditional_entropy")
            or estimator_of(table, "n_occupied")
        )
        information = Curves.of(table, name, "mutual_info")
        label = Curves.of(table, name, "label_mutual_info")
        if information is None or label is None:
            raise ValueError(
                "The table holds no estimator with both mutual_info and label_mutual_info"
                + (f" named {estimator!r}." if estimator else "; measure a run that has labels.")
            )
        return cls(
            information.value, label.value, information.epochs, information.layers,
            information.unit,
        )  # fmt: skip

    def plot(self, ax: Any = None) -> InformationPlaneDisplay:
        """Draw, into a new figure unless an axes is given."""
        plt = _pyplot()
        from matplotlib.colors import LogNorm, Normalize

        if ax is None:
            _, ax = plt.subplots(figsize=(6.4, 4.8), layout="constrained")
        markers = "osD^vP*Xhd"
        epochs = np.broadcast_to(self.epochs, self.information.shape)
        log = self.epochs.min() > 0 and self.epochs.max() > 20 * self.epochs.min()
        scale = LogNorm if log else Normalize
        norm = scale(self.epochs.min(), self.epochs.max())
        ax.plot(self.information, self.label_information, color=_FAINT, lw=0.5, zorder=1)
        for k, layer in enumerate(self.layers):
            points = ax.scatter(
                self.information[k], self.label_information[k], c=epochs[k], cmap="plasma",
                norm=norm, s=26, marker=markers[k % len(markers)], zorder=2, label=layer,
                edgecolors="0.3", linewidths=0.3,
            )  # fmt: skip
        ax.figure.colorbar(points, ax=ax, label="Epoch")
        ax.set(xlabel=f"I(X;T) [{self.unit}]", ylabel=f"I(Y;T) [{self.unit}]")
        for handle in ax.legend(fontsize=8, frameon=False).legend_handles:
            handle.set_array(None)
            handle.set_facecolor("0.6")
        self.ax_, self.figure_ = ax, ax.figure
        return self


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
    >>> from skinfo.plotting import DistanceHistogramDisplay
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
    def from_estimator(cls, estimator: Any, *, title: str = "") -> DistanceHistogramDisplay:
        """Take the histograms of a fitted ClusteringScore, in 64 cells."""
        within = coarsen(estimator.within_histogram_)
        step = len(estimator.within_histogram_) // len(within)
        return cls(
            estimator.distance_edges_[::step], within, coarsen(estimator.between_histogram_),
            title=title,
        )  # fmt: skip

    def plot(self, ax: Any = None) -> DistanceHistogramDisplay:
        """Draw, into a new figure unless an axes is given."""
        plt = _pyplot()
        if ax is None:
            _, ax = plt.subplots(figsize=(4.8, 3.4), layout="constrained")
        occupied = np.flatnonzero(self.within + self.between)
        if not len(occupied):
            ax.set(title=self.title, xticks=[], yticks=[])
            ax.text(0.5, 0.5, "not measured", ha="center", va="center", transform=ax.transAxes)
            self.ax_, self.figure_ = ax, ax.figure
            return self
        width = np.diff(self.edges)
        for counts, colour, label in (
            (self.within, "#1f6f8b", "within classes"),
            (self.between, "#e07a5f", "between classes"),
        ):
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


class InformationFlowDisplay:
    """The panel: activations, information with brackets, H(Bin), losses, and the last layer.

    Parameters
    ----------
    table : pandas.DataFrame
        A flow table.
    panel : Panel, optional
        What :func:`skinfo.tables.collect_panel` gathered; without it only the curves are drawn.

    Attributes
    ----------
    figure_ : matplotlib Figure
        The figure.
    axes_ : dict of str to matplotlib Axes
        "information", "label_information", "binned", "clustering", "losses" where drawn.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import NoisyMIEstimator, information_flow, open_run
    >>> from skinfo.plotting import InformationFlowDisplay
    >>> run = open_run({(1, "hidden"): np.array([[-1.0], [1.0]])}, sigma=0.5)
    >>> flow = information_flow(NoisyMIEstimator(sigma=None, random_state=0), run, progress=False)
    >>> list(InformationFlowDisplay.from_flow(flow).plot().axes_)
    ['information']
    """

    def __init__(self, table: pd.DataFrame, panel: Panel | None = None) -> None:
        self.table = table
        self.panel = panel

    @classmethod
    def from_flow(cls, table: pd.DataFrame, panel: Panel | None = None) -> InformationFlowDisplay:
        """Make the display of a flow table and, where there is one, its panel."""
        return cls(table, panel)

    def plot(self) -> InformationFlowDisplay:
        """Draw into a new figure."""
        plt = _pyplot()
        curves = self._curves()
        panel = self.panel
        losses = panel is not None and bool(panel.losses)
        rows = [*curves, *(["losses"] if losses else [])]
        if not rows:
            raise ValueError("The table holds nothing that a panel shows.")
        heights = [1.25 if name == "information" else 0.8 for name in rows]
        has_panel = panel is not None
        self.figure_ = plt.figure(
            figsize=(13.5 if has_panel else 8.5, 2.3 + 2.15 * sum(heights)), layout="constrained"
        )
        left, right = self.figure_, None
        if panel is not None:
            left, right = self.figure_.subfigures(1, 2, width_ratios=[3.2, 1], wspace=0.02)
            top, left = left.subfigures(2, 1, height_ratios=[1.0, 1.05 * sum(heights)])
            self._draw_values(top, panel)
            self._draw_scatter(right, panel)
        axes = left.subplots(len(rows), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
        self.axes_ = dict(zip(rows, axes, strict=True))
        for name, (found, label, ceiling) in curves.items():
            ax = self.axes_[name]
            found.draw(ax, bracket=name != "binned")
            self._draw_ceiling(ax, ceiling)
            unit = f" [{found.unit}]" if found.unit else ""
            ax.set_ylabel(f"{label}{unit}")
        if panel is not None and panel.losses:
            self._draw_losses(self.axes_["losses"], panel)
        epochs = np.unique(self.table["epoch"])
        if epochs[0] > 0 and len(epochs) > 1:
            axes[0].set_xscale("log")
            axes[0].set_xlim(epochs[0], epochs[-1])
        axes[-1].set_xlabel("Epoch")
        axes[0].legend(
            loc="lower left", bbox_to_anchor=(0, 1.0), ncols=8, fontsize=8, frameon=False,
            borderaxespad=0.2, handlelength=1.4,
        )  # fmt: skip
        for ax in axes:
            ax.grid(alpha=0.25, lw=0.5)
            ax.spines[["top", "right"]].set_visible(False)
        return self

    def _curves(self) -> dict[str, tuple[Curves, str, tuple[float, str] | None]]:
        noisy = estimator_of(self.table, "conditional_entropy")
        binned = estimator_of(self.table, "n_occupied")
        clustering = estimator_of(self.table, "auc")
        wanted = {
            "information": (noisy, "mutual_info", "I(X;T)", ("ceiling", "ceiling")),
            "label_information": (noisy, "label_mutual_info", "I(Y;T)", ("label_ceiling", "H(Y)")),
            "binned": (binned, "entropy", "H(Bin(T))", ("ceiling", "H(X)")),
            "clustering": (clustering, "auc", "Clustering AUC", None),
        }  # fmt: skip
        found = {}
        for name, (estimator, quantity, label, ceiling) in wanted.items():
            curves = Curves.of(self.table, estimator, quantity)
            if curves is None:
                continue
            guide = None
            if ceiling is not None:
                values = self.table.loc[
                    (self.table["estimator"] == estimator) & (self.table["quantity"] == ceiling[0]),
                    "value",
                ]
                highest = values.max() if len(values) else np.inf
                guide = (float(highest), ceiling[1]) if np.isfinite(highest) else None
            found[name] = (curves, label, guide)
        return found

    @staticmethod
    def _draw_ceiling(ax: Any, guide: tuple[float, str] | None) -> None:
        if guide is None:
            return
        value, name = guide
        ax.axhline(value, color="0.5", lw=0.8, ls="--", zorder=0)
        low, high = ax.get_ylim()
        ax.set_ylim(low, max(high, value + 0.16 * (value - low)))
        ax.annotate(
            f"{name} = {value:.3f}", (1, value), xycoords=("axes fraction", "data"),
            xytext=(-2, 2), textcoords="offset points", ha="right", va="bottom", fontsize=7,
            color="0.35",
        )  # fmt: skip

    @staticmethod
    def _draw_values(figure: Any, panel: Panel) -> None:
        n = len(panel.layers)
        axes = figure.subplots(1, n, squeeze=False)[0]
        for k, (ax, layer, colour) in enumerate(
            zip(axes, panel.layers, _layer_colours(n), strict=True)
        ):
            counts = panel.value_counts[k]
            share = counts / np.maximum(counts.max(axis=1, keepdims=True), 1)
            ax.pcolormesh(
                cell_edges(panel.epochs), panel.value_edges[k], np.sqrt(share.T), cmap="Greys",
                rasterized=True,
            )  # fmt: skip
            if panel.epochs[0] > 0 and len(panel.epochs) > 1:
                ax.set_xscale("log")
            ax.set_title(layer, fontsize=9, color=colour)
            ax.tick_params(labelsize=7)
            ax.set_xlabel("Epoch", fontsize=8)
        axes[0].set_ylabel("Activation", fontsize=9)

    @staticmethod
    def _draw_scatter(figure: Any, panel: Panel) -> None:
        dimension = min(panel.scatter.shape[2], 3)
        kind = {"projection": "3d"} if dimension == 3 else {}
        axes = figure.subplots(len(panel.snapshots), 1, squeeze=False, subplot_kw=kind)[:, 0]
        for ax, epoch, points in zip(axes, panel.snapshots, panel.scatter, strict=True):
            coordinates = points[:, :dimension].T
            if dimension == 1:
                coordinates = np.vstack([coordinates, np.zeros(points.shape[0])])
            ax.scatter(
                *coordinates,
                c=panel.scatter_labels,
                cmap="coolwarm" if panel.scatter_labels.max(initial=0) < 2 else "tab10",
                s=7,
                alpha=0.7,
                lw=0,
            )
            ax.set_title(f"{panel.layers[-1]}, epoch {epoch}", fontsize=9, y=0.98)
            ax.tick_params(labelsize=6, pad=-2)
            ax.locator_params(nbins=4)
            if dimension == 3:
                ax.set_box_aspect(None, zoom=1.05)
                for axis in (ax.xaxis, ax.yaxis, ax.zaxis):
                    axis.set_pane_color((1, 1, 1, 0))

    @staticmethod
    def _draw_losses(ax: Any, panel: Panel) -> None:
        losses = panel.losses
        drawn = [name for name in losses if "loss" in name]
        for name in drawn:
            style = "--" if name.startswith("test") else "-"
            ax.plot(panel.epochs, losses[name], style, color="0.2", lw=1.3,
                    label=name.replace("_", " "))  # fmt: skip
        ax.set_ylabel("Loss [nats]")
        handles, labels = ax.get_legend_handles_labels()
        accuracy = [name for name in losses if "accuracy" in name]
        if accuracy:
            other = ax.twinx()
            for name in accuracy:
                style = "--" if name.startswith("test") else "-"
                other.plot(panel.epochs, losses[name], style, color="#c44e52", lw=1.0,
                           label=name.replace("_", " "))  # fmt: skip
            other.set_ylabel("Accuracy", color="#c44e52")
            other.tick_params(axis="y", colors="#c44e52")
            other.spines["top"].set_visible(False)
            more, names = other.get_legend_handles_labels()
            handles, labels = handles + more, labels + names
        ax.legend(handles, labels, fontsize=7, frameon=False, loc="center left")


def plot_distances(panel: Panel) -> Any:
    """Draw the distances of every layer at every snapshot, a small multiple; returns the figure."""
    plt = _pyplot()
    if not panel.within.any():
        raise ValueError("No distances are on record: the run has no labels.")
    n_layers, n_snapshots = panel.within.shape[:2]
    figure, axes = plt.subplots(
        n_layers, n_snapshots, figsize=(2.7 * n_snapshots, 1.9 * n_layers), squeeze=False,
        layout="constrained",
    )  # fmt: skip
    for k, layer in enumerate(panel.layers):
        for j, epoch in enumerate(panel.snapshots):
            ax = axes[k, j]
            DistanceHistogramDisplay(
                panel.distance_edges[k, j], panel.within[k, j], panel.between[k, j],
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


def save_figure(figure: Any, path: Path, *, dpi: int = 150, close: bool = False) -> None:
    """Write a figure in the format its suffix names, whole or not at all; close it if asked to.

    Raises
    ------
    ValueError
        If matplotlib cannot write that format.
    """
    known = figure.canvas.get_supported_filetypes()
    if path.suffix[1:] not in known:
        raise ValueError(f"{path}: a picture ends in one of {', '.join('.' + k for k in known)}.")
    with write_atomically(path) as file:
        figure.savefig(file, dpi=dpi, format=path.suffix[1:])
    if close:
        _pyplot().close(figure)


def cell_edges(epochs: np.ndarray) -> np.ndarray:
    """Edges halfway between epochs, in the logarithm where all are positive.

    Examples
    --------
    >>> import numpy as np
    >>> cell_edges(np.array([1, 100])).round(3).tolist()
    [0.1, 10.0, 1000.0]
    """
    log = epochs.min() > 0
    at = np.log(epochs) if log else epochs.astype(np.float64)
    if len(at) == 1:
        edges = np.array([at[0] - 0.5, at[0] + 0.5])
    else:
        middle = (at[1:] + at[:-1]) / 2
        edges = np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])
    return np.exp(edges) if log else edges
