"""One quantity of a flow table, every layer against the epoch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinfo.kinds import MARKS, kind_of
from skinfo.quantities import JOINT
from skinfo.view.pictures.figures import layer_colours

#: What is drawn against the epoch: a quantity that tells the estimator, the quantity drawn, and
#: how an axis calls it.
SHOWN = {
    "information": (MARKS["noisy"], "mutual_info", "I(X;T)"),
    "label_information": (MARKS["noisy"], "label_mutual_info", "I(Y;T)"),
    "binned": ("binned_entropy", "binned_entropy", "H(Bin(T))"),
    "clustered": ("auc", "auc", "Clustering AUC"),
}

# Their notes tell of the cells, and so of every number that is counted in them.
_OF_CELLS = ("binned_mutual_info", "outside_fraction")
# More layers than this are counted, not named.
_MOST_NAMED = 5


@dataclass
class Curves:
    """One quantity of every layer against the epoch.

    Attributes
    ----------
    layers : list of str
        In the order of the table.
    epochs : ndarray of shape (n_epochs,)
        Checkpoints at which the quantity was measured, increasing.
    value, lower, upper : ndarray of shape (n_layers, n_epochs)
        The quantity and the ends of its bracket; NaN where not measured.
    unit : str
        Unit of these numbers, such as "nats"; empty where they have none.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import BinningMIEstimator, information_flow, open_run
    >>> from skinfo.view import Curves
    >>> run = open_run({(epoch, "hidden"): np.eye(4) for epoch in (1, 2)})
    >>> flow = information_flow(BinningMIEstimator(bin_width=0.5), run, progress=False)
    >>> curves = Curves.of(flow, "BinningMIEstimator", "binned_entropy")
    >>> curves.value.round(3).tolist(), curves.unit
    ([[1.386, 1.386]], 'nats')
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
        for k, colour in enumerate(layer_colours(len(self.layers))):
            if bracket:
                ax.fill_between(
                    self.epochs, self.lower[k], self.upper[k], color=colour, alpha=0.25, lw=0
                )
            ax.plot(self.epochs, self.value[k], color=colour, lw=1.4, marker="o", ms=2.5,
                    label=self.layers[k])  # fmt: skip


def notes_of(table: pd.DataFrame, estimator: str, quantities: Collection[str]) -> str:
    """Notes of what is drawn, each with its layers; epochs are counted where they are not all.

    Examples
    --------
    >>> rows = pd.DataFrame({"epoch": [1, 2, 1, 2], "layer": ["a", "a", "b", "b"],
    ...                      "estimator": "noisy", "quantity": "mutual_info",
    ...                      "notes": ["saturated", "saturated", "", "saturated"]})
    >>> notes_of(rows, "noisy", ["mutual_info"])
    'noisy: saturated in a (2 of 2 epochs), b (1 of 2)'
    """
    told = {*quantities, *(_OF_CELLS if kind_of(table, estimator) == "binned" else ())}
    rows = table[(table["estimator"] == estimator) & table["quantity"].isin(told)]
    notes = rows.assign(note=rows["notes"].fillna("").str.split(JOINT)).explode("note")
    notes = notes[notes["note"] != ""]
    found = "; ".join(
        f"{note} in {_layers_of(rows, notes[notes['note'] == note])}"
        for note in dict.fromkeys(notes["note"])
    )
    return f"{estimator}: {found}" if found else ""


def _layers_of(rows: pd.DataFrame, noted: pd.DataFrame) -> str:
    measured, found = _epochs_of(rows), _epochs_of(noted)
    if len(measured) > 1 and found == measured:
        return "all layers"
    names = list(found)
    if any(n < measured[layer] for layer, n in found.items()):
        counts = [f"{n} of {measured[layer]}" for layer, n in found.items()]
        counts[0] += " epochs"
        names = [f"{layer} ({count})" for layer, count in zip(found, counts, strict=True)]
    more = len(names) - _MOST_NAMED
    return ", ".join([*names[:_MOST_NAMED], *([f"{more} more layers"] if more > 0 else [])])


def _epochs_of(rows: pd.DataFrame) -> dict[str, int]:
    counted = rows.groupby("layer", sort=False)["epoch"].nunique()
    return {str(layer): int(n) for layer, n in counted.items()}
