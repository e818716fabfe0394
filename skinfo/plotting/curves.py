"""One quantity of a flow table, every layer against the epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinfo.measures.kinds import MARKS
from skinfo.plotting.figures import layer_colours

#: What is drawn against the epoch: a quantity that tells the estimator, the quantity drawn, and
#: how an axis calls it.
SHOWN = {
    "information": (MARKS["noisy"], "mutual_info", "I(X;T)"),
    "label_information": (MARKS["noisy"], "label_mutual_info", "I(Y;T)"),
    "binned": (MARKS["binned"], "entropy", "H(Bin(T))"),
    "clustering": ("auc", "auc", "Clustering AUC"),
}


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
    >>> from skinfo.plotting import Curves
    >>> run = open_run({(epoch, "hidden"): np.eye(4) for epoch in (1, 2)})
    >>> flow = information_flow(BinningMIEstimator(bin_width=0.5), run, progress=False)
    >>> curves = Curves.of(flow, "BinningMIEstimator", "entropy")
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
