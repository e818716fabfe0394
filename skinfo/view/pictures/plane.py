"""The information plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from skinfo.flow.tables import checked_table
from skinfo.quantities import describe_quantity, estimators_measuring
from skinfo.view.curves import PLANES, Curves, drawable, is_log
from skinfo.view.pictures.curves import small_print
from skinfo.view.pictures.figures import draw_legend, plain_text, pyplot, widened, write_below
from skinfo.view.words import epoch_name

_FAINT = "0.75"


@dataclass(eq=False, repr=False)
class InformationPlaneDisplay:
    """The information plane: I(X;T) across, I(Y;T) up, one faint line per epoch.

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
    quantities : tuple of (str, str), default=("mutual_info", "label_mutual_info")
        Their names in the table.
    notes : str, default=""
        What the table notes about them, written below.
    left_out : dict of str to list of str, optional
        The estimator that measured them, and others that measured them, too: what else
        ``estimator`` may name.

    Attributes
    ----------
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

    information: np.ndarray
    label_information: np.ndarray
    epochs: np.ndarray
    layers: Sequence[str]
    unit: str
    _: KW_ONLY
    quantities: tuple[str, str] = PLANES[0]
    notes: str = ""
    left_out: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def from_flow(
        cls, table: pd.DataFrame, *, estimator: str | None = None
    ) -> InformationPlaneDisplay:
        """Take the plane out of a flow table: of I(X;T) if measured, else slices, else bins."""
        table = checked_table(table, "The table", curve=False)
        # With labels that have a name, I(Y;T) is under that name, and I(X;T) under none.
        measured = [
            (name, plane)
            for plane in PLANES
            for name in estimators_measuring(table, plane[1])
            if _of_inputs(table, name, plane[0])
        ]
        chosen = [pair for pair in measured if estimator in (None, pair[0])]
        if not chosen:
            message = "The table holds no estimator with both mutual_info and label_mutual_info"
            if estimator is None:
                raise ValueError(f"{message}; measure a run that has labels.")
            names = ", ".join(dict.fromkeys(name for name, _ in measured))
            held = f"; it holds {names}" if names else ""
            raise ValueError(f"{message} named {estimator!r}{held}.")
        name, plane = chosen[0]
        owners = (_of_inputs(table, name, plane[0]), name)
        drawn = table[table["estimator"].isin(owners) & table["quantity"].isin(plane)]
        epochs = np.unique(drawn["epoch"])
        information, label = (
            Curves.of(table, owner, quantity, epochs=epochs)
            for owner, quantity in zip(owners, plane, strict=True)
        )
        assert information is not None
        assert label is not None
        others = [other for other, drawn in measured if drawn == plane and other != name]
        return cls(
            information.value, label.value, information.epochs, information.layers,
            information.unit, quantities=plane, left_out={name: others},
            notes=small_print(table, name, plane),
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
        information, label_information = map(drawable, (self.information, self.label_information))
        ax.plot(information, label_information, color=_FAINT, lw=0.5, zorder=1)
        points = [
            ax.scatter(
                information[k], label_information[k], c=epochs[k], cmap="plasma",
                norm=norm, s=26, marker=markers[k % len(markers)], zorder=2, label=layer,
                edgecolors="0.3", linewidths=0.3,
            )
            for k, layer in enumerate(self.layers)
        ]  # fmt: skip
        if len(self.epochs) > 1:
            ax.figure.colorbar(points[-1], ax=ax, label="Epoch")
        else:
            ax.set_title(f"Epoch {epoch_name(self.epochs[0])}", fontsize=10)
        across, up = (describe_quantity(name).title for name in self.quantities)
        ax.set(
            xlabel=plain_text(f"{across} [{self.unit}]"), ylabel=plain_text(f"{up} [{self.unit}]")
        )
        # auto=None: the axes still grow with what the caller adds.
        right, top = (np.nanmax(x, initial=0.0) for x in (information, label_information))
        ax.set_xlim(widened(ax.get_xlim(), right), auto=None)
        ax.set_ylim(widened(ax.get_ylim(), top), auto=None)
        write_below(ax, self.notes)
        for handle in draw_legend(ax, points, self.layers, fontsize=8).legend_handles:
            handle.set_array(None)
            handle.set_facecolor("0.6")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _of_inputs(table: pd.DataFrame, name: str, quantity: str) -> str | None:
    """The estimator that measured what an estimator with labels of a name left to it."""
    measured = estimators_measuring(table, quantity)
    without_labels = name.rpartition(" (")[0]
    return next((one for one in (name, without_labels) if one in measured), None)
