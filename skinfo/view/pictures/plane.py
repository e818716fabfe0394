"""The information plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from skinfo.kinds import MARKS, estimator_of, estimators_of, kind_of, symbol
from skinfo.view.pictures.curves import Curves, notes_of
from skinfo.view.pictures.figures import pyplot, widened, write_below
from skinfo.view.style import is_log

_FAINT = "0.75"
_NO_LABELS = "; measure a run that has labels."


class InformationPlaneDisplay:
    """The information plane: I(X;T) across, I(Y;T) up, one faint line an epoch.

    The axes are called what was measured: of a binning estimator, I(X;Bin(T)) and I(Y;Bin(T)).

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
    kind : {"noisy", "binned", "other"}, default="noisy"
        What sort of estimator measured them.
    notes : str, default=""
        What the table notes about them, written below.
    left_out : dict of str to list of str, optional
        The estimator that measured them, and others of its kind that measured them, too.

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
    >>> from skinfo.view import InformationPlaneDisplay
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
        *,
        kind: str = "noisy",
        notes: str = "",
        left_out: dict[str, list[str]] | None = None,
    ) -> None:
        self.information = information
        self.label_information = label_information
        self.epochs = epochs
        self.layers = list(layers)
        self.unit = unit
        self.kind = kind
        self.notes = notes
        self.left_out = left_out or {}

    @classmethod
    def from_flow(
        cls, table: pd.DataFrame, *, estimator: str | None = None
    ) -> InformationPlaneDisplay:
        """Take the plane out of a flow table; the first noisy estimator by default."""
        name = (
            estimator or estimator_of(table, MARKS["noisy"]) or estimator_of(table, MARKS["binned"])
        )
        prefix = "binned_" if name and kind_of(table, name) == "binned" else ""
        measured = (f"{prefix}mutual_info", f"{prefix}label_mutual_info")
        information, label = (Curves.of(table, name, quantity) for quantity in measured)
        if name is None or information is None or label is None:
            raise ValueError(
                "The table holds no estimator with both mutual_info and label_mutual_info"
                + (f" named {estimator!r}{_instead(table)}." if estimator else _NO_LABELS)
            )
        kind = kind_of(table, name)
        others = [
            other for other in estimators_of(table, measured[1])
            if other != name and kind_of(table, other) == kind
        ]  # fmt: skip
        return cls(
            information.value, label.value, information.epochs, information.layers,
            information.unit, kind=kind, left_out={name: others},
            notes=notes_of(table, name, measured),
        )  # fmt: skip

    def plot(self, ax: Any = None) -> InformationPlaneDisplay:
        """Draw, into a new figure unless an axes is given."""
        plt = pyplot()
        from matplotlib.colors import LogNorm, Normalize

        if ax is None:
            _, ax = plt.subplots(figsize=(6.4, 4.8), layout="constrained")
        markers = "osD^vP*Xhd"
        epochs = np.broadcast_to(self.epochs, self.information.shape)
        scale = LogNorm if is_log(self.epochs) else Normalize
        norm = scale(self.epochs.min(), self.epochs.max())
        ax.plot(self.information, self.label_information, color=_FAINT, lw=0.5, zorder=1)
        for k, layer in enumerate(self.layers):
            points = ax.scatter(
                self.information[k], self.label_information[k], c=epochs[k], cmap="plasma",
                norm=norm, s=26, marker=markers[k % len(markers)], zorder=2, label=layer,
                edgecolors="0.3", linewidths=0.3,
            )  # fmt: skip
        ax.figure.colorbar(points, ax=ax, label="Epoch")
        across, up = (
            symbol(self.kind, ("binned_" if self.kind == "binned" else "") + quantity)
            for quantity in ("mutual_info", "label_mutual_info")
        )
        ax.set(xlabel=f"{across} [{self.unit}]", ylabel=f"{up} [{self.unit}]")
        # auto=None: the axes still grow with what the caller adds.
        right, top = (np.nanmax(x, initial=0.0) for x in (self.information, self.label_information))
        ax.set_xlim(widened(ax.get_xlim(), right), auto=None)
        ax.set_ylim(widened(ax.get_ylim(), top), auto=None)
        write_below(ax, self.notes)
        for handle in ax.legend(fontsize=8, frameon=False).legend_handles:
            handle.set_array(None)
            handle.set_facecolor("0.6")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _instead(table: pd.DataFrame) -> str:
    names = estimators_of(table, "label_mutual_info")
    names += estimators_of(table, "binned_label_mutual_info")
    return f"; it holds {', '.join(names)}" if names else ""
