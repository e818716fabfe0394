"""One quantity against the epoch, and the notes of what is drawn."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from skinfo.errors import name_some
from skinfo.flow.tables import checked_table
from skinfo.quantities import estimators_measuring, split_notes
from skinfo.view.curves import Curves, drawable
from skinfo.view.pictures.figures import (
    draw_legend,
    epochs_across,
    plain_axes,
    plain_text,
    pyplot,
    widened,
    write_below,
)
from skinfo.view.words import short_name

# Their notes tell of the cells, and so of every number that is counted in them.
_OF_CELLS = ("binned_mutual_info", "outside_fraction")
# More layers than this are counted, not named.
_MOST_NAMED = 5


@dataclass(eq=False, repr=False)
class QuantityCurveDisplay:
    """One quantity against the epoch, a line per layer, with brackets as bands.

    Parameters
    ----------
    curves : Curves
        Values and brackets.
    notes : str, default=""
        What the table notes about them, written below.
    left_out : dict of str to list of str, optional
        The estimator that measured them, and others that measured the same quantity: what else
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
    >>> from skinfo import ClusteringScore, information_flow, open_run
    >>> from skinfo.view import QuantityCurveDisplay
    >>> run = open_run({(e, "hidden"): np.array([[0.0], [e], [3.0], [7.0]]) for e in (1, 2)},
    ...                labels=[0, 0, 1, 1])
    >>> flow = information_flow(ClusteringScore(), run, progress=False)
    >>> QuantityCurveDisplay.from_flow(flow).plot().ax_.get_ylabel()
    'Clustering AUC ↑'
    """

    curves: Curves
    _: KW_ONLY
    notes: str = ""
    left_out: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def from_flow(
        cls, table: pd.DataFrame, quantity: str = "auc", *, estimator: str | None = None
    ) -> QuantityCurveDisplay:
        """Take one quantity out of a flow table; of the first estimator that measured it."""
        table = checked_table(table, "The table", curve=False)
        measuring = estimators_measuring(table, quantity)
        if estimator is not None and measuring and estimator not in measuring:
            raise ValueError(
                f"The table holds no {quantity!r} of {estimator!r}, but of {', '.join(measuring)}."
            )
        curves = Curves.of(table, estimator, quantity)
        if curves is None:
            quantities = sorted(filter(None, set(table["quantity"])))
            raise ValueError(
                f"The table holds no {quantity!r}; it holds {', '.join(quantities) or 'nothing'}."
            )
        others = [other for other in measuring if other != curves.estimator]
        notes = small_print(table, curves.estimator, [quantity])
        return cls(curves, notes=notes, left_out={curves.estimator: others})

    def plot(self, ax: Any = None) -> QuantityCurveDisplay:
        """Draw, into a new figure unless an axes is given."""
        if ax is None:
            _, ax = pyplot().subplots(figsize=(5.2, 3.4), layout="constrained")
        curves = self.curves
        lines = curves.draw(ax)
        if curves.quantity.baseline is not None:
            ax.axhline(curves.quantity.baseline, color="0.5", lw=0.8, ls="--", zorder=0)
        if curves.quantity.ceiling is not None:
            highest = np.nanmax(drawable(curves.value), initial=0.0)
            ax.set_ylim(widened(ax.get_ylim(), highest), auto=None)
        epochs_across(ax, curves.epochs, curves.layers)
        ax.set_ylabel(plain_text(curves.label))
        write_below(ax, "\n".join(filter(None, [self.notes, curves.above_axis()])))
        plain_axes(ax)
        if len(curves.epochs) > 1:
            draw_legend(ax, lines, curves.layers, fontsize=8)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def small_print(table: pd.DataFrame, estimator: str, quantities: Collection[str]) -> str:
    """Notes of what is drawn, each with its layers; epochs are counted where they are not all.

    Examples
    --------
    >>> rows = pd.DataFrame({"epoch": [1, 2, 1, 2], "layer": ["a", "a", "b", "b"],
    ...                      "estimator": "noisy", "quantity": "mutual_info",
    ...                      "notes": ["saturated", "saturated", "", "saturated"]})
    >>> small_print(rows, "noisy", ["mutual_info"])
    'noisy: saturated in a (2 of 2 epochs), b (1 of 2)'
    """
    noted = table["quantity"].isin({*quantities, *_OF_CELLS})
    rows = table[(table["estimator"] == estimator) & noted]
    words = [split_notes(cell) for cell in rows["notes"].fillna("")]
    notes = rows.assign(note=pd.Series(words, rows.index, dtype=object)).explode("note")
    notes = notes[notes["note"].notna()]
    sentences = "; ".join(
        f"{note} in {_noted_layers(rows, notes[notes['note'] == note])}"
        for note in dict.fromkeys(notes["note"])
    )
    return f"{estimator}: {sentences}" if sentences else ""


def _noted_layers(rows: pd.DataFrame, noted: pd.DataFrame) -> str:
    measured, counted = _epochs_by_layer(rows), _epochs_by_layer(noted)
    if len(measured) > 1 and counted == measured:
        return "all layers"
    names = [short_name(layer) for layer in counted]
    if any(n < measured[layer] for layer, n in counted.items()):
        counts = [f"{n} of {measured[layer]}" for layer, n in counted.items()]
        counts[0] += " epochs"
        names = [f"{name} ({count})" for name, count in zip(names, counts, strict=True)]
    return name_some(names, _MOST_NAMED)


def _epochs_by_layer(rows: pd.DataFrame) -> dict[str, int]:
    counted = rows.groupby("layer", sort=False)["epoch"].nunique()
    return {str(layer): int(n) for layer, n in counted.items()}
