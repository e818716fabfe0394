"""Charts: one quantity of one estimator, every layer at every epoch, without any drawing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinfo.flow.tables import check_columns, check_once, is_curve
from skinfo.kinds import kind_of, symbol
from skinfo.view.report.quantities import ceiling_of, is_ceiling, is_main
from skinfo.view.report.sigmas import sigmas_of
from skinfo.view.report.wording import bracket, epoch_name, notes_of, number, with_error

_NUMBERS = ("value", "stderr", "lower", "upper")
_WORDS = ("quantity", "unit", "notes")
#: The layer of a curve against sigma, which knows of one only.
NO_LAYER = ""


@dataclass(frozen=True)
class Axis:
    """What the numbers of a table are drawn against.

    Attributes
    ----------
    word : str
        "epoch", or "sigma" for a curve.
    title : str
        Written below an axis.
    places : tuple of float
        Epochs or sigmas, increasing.
    """

    word: str
    title: str
    places: tuple[float, ...]

    def name(self, j: int) -> str:
        """Name one of the places."""
        return f"{self.word} {epoch_name(self.places[j])}"


@dataclass(frozen=True, eq=False)
class Chart:
    """One quantity of one estimator.

    Attributes
    ----------
    estimator, quantity, unit : str
        As in the table.
    title : str
        What the quantity is called.
    main : bool
        Whether it is one of those that are looked at first.
    layers : tuple of str
        In network order.
    axis : Axis
        Epochs.
    value, stderr, lower, upper, ceiling : ndarray of shape (n_layers, n_epochs)
        NaN where not measured.
    measured : ndarray of shape (n_layers, n_epochs), bool
        Where the table has a row.
    notes : ndarray of shape (n_layers, n_epochs), object
        Cells of the table; "" where not measured.
    sigmas : tuple of float or None
        Noise that each layer was measured with, None where there is none or it is not known.
    """

    estimator: str
    quantity: str
    unit: str
    title: str
    main: bool
    layers: tuple[str, ...]
    axis: Axis
    value: np.ndarray
    stderr: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    ceiling: np.ndarray
    measured: np.ndarray
    notes: np.ndarray
    sigmas: tuple[float | None, ...]

    @property
    def label(self) -> str:
        """Title and unit."""
        return f"{self.title} [{self.unit}]" if self.unit else self.title

    def flat_ceiling(self, j: int | None = None) -> float | None:
        """The ceiling, where it is the same finite number throughout, or at one epoch."""
        at = slice(None) if j is None else j
        known = self.ceiling[:, at][self.measured[:, at]]
        same = known.size and np.isfinite(known).all() and np.ptp(known) <= 1e-9 * abs(known[0])
        return float(known[0]) if same else None

    def in_words(self, k: int, j: int) -> list[str]:
        """Say all that is known of one point: value and error, bracket, ceiling, notes."""
        unit = f" {self.unit}" if self.unit else ""
        lines = [f"{self.title} {with_error(self.value[k, j], self.stderr[k, j])}{unit}"]
        if self.sigmas[k]:
            lines.append(f"σ = {self.sigmas[k]:g}")
        if between := bracket(self.lower[k, j], self.upper[k, j]):
            lines.append(f"bracket {between}")
        if not np.isnan(self.ceiling[k, j]):
            limit = self.ceiling[k, j]
            lines.append(f"ceiling {number(limit) if np.isfinite(limit) else 'none'}")
        lines += [f"⚑ {note}" for note, _ in notes_of(self.notes[k, j])]
        return lines


def as_flow(table: pd.DataFrame, source: str) -> pd.DataFrame:
    """Take a table that a report can be made of as a flow; a curve gets a layer without a name.

    Parameters
    ----------
    table : pandas.DataFrame
        A flow table, or a curve against sigma.
    source : str
        The file it came from, or what to call it in errors.

    Returns
    -------
    pandas.DataFrame
        A flow table; ``epoch`` holds the sigmas of a curve.

    Raises
    ------
    ValueError
        That names the file, and the column or the row at fault.

    Examples
    --------
    >>> as_flow(pd.DataFrame({"epoch": [1]}), "flow.csv")
    Traceback (most recent call last):
    ValueError: flow.csv is no flow table: it has no column 'layer'.
    """
    check_columns(table, source)
    if table.empty:
        raise ValueError(f"{source} has no rows: nothing to report.")
    curve = is_curve(table)
    place = "sigma" if curve else "epoch"
    flow = table.copy()
    for name in (place, *_NUMBERS):
        try:
            flow[name] = pd.to_numeric(flow[name]).astype(np.float64)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{source}: column {name!r} must hold numbers: {error}.") from error
    for name in _WORDS if curve else (*_WORDS, "layer", "estimator"):
        flow[name] = flow[name].astype(object).where(flow[name].notna(), "").map(str)
    if not np.isfinite(flow[place]).all():
        raise ValueError(f"{source}: column {place!r} holds what is no number.")
    check_once(
        flow, source, "Report one curve at a time." if curve else "Report one run at a time."
    )
    if curve:
        flow = flow.rename(columns={"sigma": "epoch"})
        flow = flow.assign(layer=NO_LAYER, estimator="sigma_curve")
    return flow


def axis_of(table: pd.DataFrame, *, curve: bool) -> Axis:
    """The epochs of a checked table, or the sigmas of a curve."""
    word, title = (
        ("sigma", "Noise standard deviation σ, in the units of the activations")
        if curve
        else ("epoch", "Epoch")
    )
    return Axis(word, title, tuple(np.unique(table["epoch"]).tolist()))


def layers_of(table: pd.DataFrame, known: Sequence[str] = ()) -> tuple[str, ...]:
    """The layers of a table, in network order as far as that is known.

    Examples
    --------
    >>> layers_of(pd.DataFrame({"layer": ["b", "a", "c"]}), ["a", "b", "z"])
    ('a', 'b', 'c')
    """
    there = dict.fromkeys(table["layer"])
    return tuple(dict.fromkeys([*(x for x in known if x in there), *there]))


def charts_of(
    table: pd.DataFrame,
    layers: tuple[str, ...],
    axis: Axis,
    settings: Mapping[Any, Any] | None = None,
) -> list[Chart]:
    """Take every quantity out of a checked table; ceilings go with what they limit."""
    charts = []
    for estimator in dict.fromkeys(table["estimator"]):
        rows = table[table["estimator"] == estimator]
        kind = kind_of(table, estimator)
        sigmas = sigmas_of(settings or {}, estimator, layers)
        for quantity in dict.fromkeys(rows["quantity"]):
            if quantity and not is_ceiling(quantity):
                charts.append(_chart(rows, kind, quantity, layers, axis, sigmas))
    return charts


def _chart(
    rows: pd.DataFrame,
    kind: str,
    quantity: str,
    layers: tuple[str, ...],
    axis: Axis,
    sigmas: tuple[float | None, ...],
) -> Chart:
    chosen = rows[rows["quantity"] == quantity]
    shape = (len(layers), len(axis.places))

    def grid(source: pd.DataFrame, column: str, empty: object) -> np.ndarray:
        filled = np.full(shape, empty, dtype=object if isinstance(empty, str) else np.float64)
        k = [layers.index(layer) for layer in source["layer"]]
        j = np.searchsorted(axis.places, source["epoch"])
        filled[k, j] = source[column].to_numpy()
        return filled

    limits = rows[rows["quantity"] == (ceiling_of(kind, quantity) or "no such quantity")]
    return Chart(
        estimator=rows["estimator"].iloc[0],
        quantity=quantity,
        unit=chosen["unit"].iloc[0],
        title=symbol(kind, quantity),
        main=is_main(kind, quantity),
        layers=layers,
        axis=axis,
        **{name: grid(chosen, name, np.nan) for name in ("value", "stderr", "lower", "upper")},
        ceiling=grid(limits, "value", np.nan),
        measured=grid(chosen.assign(there=1.0), "there", 0.0).astype(bool),
        notes=grid(chosen, "notes", ""),
        sigmas=sigmas,
    )


def planes_of(charts: Sequence[Chart]) -> list[tuple[Chart, Chart]]:
    """Pairs of I(X;T) and I(Y;T) of one estimator each, those with a bracket's meaning first."""
    across = [chart for chart in charts if chart.quantity in ("mutual_info", "binned_mutual_info")]
    up = {
        chart.estimator: chart for chart in charts
        if chart.quantity in ("label_mutual_info", "binned_label_mutual_info")
    }  # fmt: skip
    pairs = [(chart, up[chart.estimator]) for chart in across if chart.estimator in up]
    return sorted(pairs, key=lambda pair: not pair[0].main)
