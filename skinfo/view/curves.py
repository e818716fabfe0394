"""One quantity of a flow table, every layer against the epoch, as pictures and reports draw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skinfo.comparison.settings import noise_of_layer
from skinfo.errors import name_some
from skinfo.quantities import (
    OF_PATTERN,
    QUANTITIES,
    QuantityDescription,
    describe_quantity,
    estimators_measuring,
)
from skinfo.view.words import number, short_name

__all__ = [
    "BLUE",
    "PAIR_KINDS",
    "PLANES",
    "RED",
    "Curves",
    "is_log",
    "layer_colours",
    "layers_in_order",
    "main_quantities",
    "some_epochs",
]

#: Apart in grey, too.
BLUE, RED = "#1f6f8b", "#e07a5f"
#: Pairs of rows: their name in Snapshots, what they are called, their colour.
PAIR_KINDS = (("within", "within classes", BLUE), ("between", "between classes", RED))
#: Quantities that make an information plane: across, and up.
PLANES = (
    ("mutual_info", "label_mutual_info"),
    ("sliced_mutual_info", "sliced_label_mutual_info"),
    ("binned_mutual_info", "binned_label_mutual_info"),
)
_LARGEST_DRAWN = 1e100
# More layers than this are counted, not named.
_MOST_NAMED = 5
# The colour map viridis, in ten steps.
_VIRIDIS = (
    "440154", "482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b",
    "fde725",
)  # fmt: skip


def is_log(epochs: np.ndarray) -> bool:
    """Whether epochs are drawn in the logarithm: they are above 0 and reach far.

    Examples
    --------
    >>> is_log(np.array([1, 30])), is_log(np.array([1, 20])), is_log(np.array([0, 100]))
    (True, False, False)
    """
    return bool(len(epochs) and epochs.min() > 0 and epochs.max() > 20 * epochs.min())


def drawable(values: np.ndarray) -> np.ndarray:
    """Values for axes: as gaps those that are infinite, or so large that a margin overflows.

    Examples
    --------
    >>> drawable(np.array([2.0, np.inf, -1e308])).tolist()
    [2.0, nan, nan]
    """
    return np.where(np.abs(values) < _LARGEST_DRAWN, values, np.nan)


def layer_colours(n: int) -> list[str]:
    """Dark to light along the depth of the network; readable in grey.

    Examples
    --------
    >>> layer_colours(2)
    ['#440154', '#bcdf2a']
    """
    channels = np.array([[int(c[i : i + 2], 16) for i in (0, 2, 4)] for c in _VIRIDIS])
    at = np.linspace(0.0, 0.9, max(n, 2)) * (len(_VIRIDIS) - 1)
    mixed = [np.interp(at, np.arange(len(_VIRIDIS)), channel) for channel in channels.T]
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in np.rint(np.transpose(mixed)).astype(int)][:n]


def main_quantities(*tables: pd.DataFrame) -> list[str]:
    """Names of the quantities that are looked at first, in the order of :data:`QUANTITIES`."""
    names = {
        name: describe_quantity(name, table)
        for table in tables
        for name in dict.fromkeys(table["quantity"])
    }
    order = [*QUANTITIES]
    main = [name for name, described in names.items() if name and described.main]
    bases = [name.partition(" [")[0] for name in main]
    places = [order.index(base) if base in QUANTITIES else len(order) for base in bases]
    return [name for _, name in sorted(zip(places, main, strict=True), key=lambda pair: pair[0])]


def layers_in_order(table: pd.DataFrame, network_order: Sequence[str] = ()) -> tuple[str, ...]:
    """The layers of a table, in network order as far as that is given.

    Examples
    --------
    >>> layers_in_order(pd.DataFrame({"layer": ["b", "a", "c"]}), ["a", "b", "z"])
    ('a', 'b', 'c')
    """
    measured = dict.fromkeys(table["layer"])
    return tuple(dict.fromkeys([*(x for x in network_order if x in measured), *measured]))


def some_epochs(
    table: pd.DataFrame, epochs: Sequence[int] | None = None, most: int = 3
) -> list[int]:
    """Give checkpoints to draw side by side: those asked for, or the first, the last and between.

    Raises
    ------
    ValueError
        For a checkpoint that the table does not have.

    Examples
    --------
    >>> table = pd.DataFrame({"epoch": [1, 2, 4, 8, 16]})
    >>> some_epochs(table), some_epochs(table, [2])
    ([1, 4, 16], [2])
    """
    measured = np.unique(table["epoch"])
    if epochs is None:
        places = np.linspace(0, len(measured) - 1, min(most, len(measured))).round().astype(int)
        return [int(epoch) for epoch in measured[places]]
    missing = [epoch for epoch in epochs if epoch not in measured]
    if missing or not len(epochs):
        has = name_some((f"{epoch:g}" for epoch in measured), 12)
        raise ValueError(f"The table has no epoch {name_some(missing)}; it has {has}.")
    return sorted({int(epoch) for epoch in epochs})


@dataclass(frozen=True, eq=False)
class Curves:
    """One quantity of one estimator: every layer against the epoch.

    Attributes
    ----------
    estimator : str
        Its name in the table.
    quantity : QuantityDescription
        What was measured.
    unit : str
        Unit of these numbers, such as "nats"; empty where they have none.
    layers : tuple of str
        In the order of the table, or as given.
    epochs : ndarray of shape (n_epochs,)
        Checkpoints, increasing.
    value, stderr, lower, upper, ceiling : ndarray of shape (n_layers, n_epochs)
        The quantity, its error, the ends of its bracket, and what it cannot exceed; NaN where
        unknown.
    pattern : ndarray of shape (n_layers, n_epochs)
        How much of an information zeros and signs alone tell; NaN where noise leaves none.
    measured : ndarray of shape (n_layers, n_epochs), bool
        Where the table has a row.
    notes : ndarray of shape (n_layers, n_epochs), object
        Cells of the table; "" where not measured.
    noises : tuple of (str, sigma) or None
        Noise that each layer was measured with, its model and sigma, and its unit where that is not
        of the activations; None where there is none or it is not on record.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import BinningMIEstimator, information_flow, open_run
    >>> from skinfo.view import Curves
    >>> run = open_run({(epoch, "hidden"): np.eye(4) for epoch in (1, 2)})
    >>> flow = information_flow(BinningMIEstimator(bin_width=0.5), run, progress=False)
    >>> curves = Curves.of(flow, "BinningMIEstimator", "binned_entropy")
    >>> curves.value.round(3).tolist(), curves.label
    ([[1.386, 1.386]], 'H(Bin(T)) [nats]')
    """

    estimator: str
    quantity: QuantityDescription
    unit: str
    layers: tuple[str, ...]
    epochs: np.ndarray
    value: np.ndarray
    stderr: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    ceiling: np.ndarray
    pattern: np.ndarray
    measured: np.ndarray
    notes: np.ndarray
    noises: tuple[tuple[Any, ...] | None, ...]

    @classmethod
    def of(
        cls,
        table: pd.DataFrame,
        estimator: str | None,
        quantity: str,
        *,
        layers: Sequence[str] | None = None,
        epochs: np.ndarray | None = None,
    ) -> Curves | None:
        """Take one quantity of one estimator out of a table; None if it is not there.

        Parameters
        ----------
        table : DataFrame
            A flow table.
        estimator, quantity : str
            Their names in it; with None for the estimator the first that measured the quantity.
        layers : sequence of str, optional
            All layers of the table, in the order wanted.
        epochs : ndarray, optional
            Epochs, increasing; by default those at which the quantity was measured.
        """
        estimator = estimator or next(iter(estimators_measuring(table, quantity)), None)
        own = table[table["estimator"] == estimator]
        rows = own[own["quantity"] == quantity]
        if estimator is None or rows.empty:
            return None
        described = describe_quantity(quantity, table)
        limits = own[own["quantity"] == described.ceiling]
        of_pattern = own[own["quantity"] == OF_PATTERN.get(quantity)]
        layers = tuple(layers or layers_in_order(table))
        epochs = np.sort(rows["epoch"].unique()) if epochs is None else epochs

        def grid(source: pd.DataFrame, column: str) -> np.ndarray:
            pivoted = source.pivot(index="layer", columns="epoch", values=column)
            return pivoted.reindex(index=list(layers), columns=epochs).to_numpy()

        numbers = {
            name: grid(rows, name).astype(np.float64)
            for name in ("value", "stderr", "lower", "upper")
        }
        notes = grid(rows.assign(notes=rows["notes"].fillna("").astype(object)), "notes")
        return cls(
            estimator, described, str(rows["unit"].fillna("").iloc[0]), layers, epochs, **numbers,
            ceiling=grid(limits, "value").astype(np.float64),
            pattern=grid(of_pattern, "value").astype(np.float64),
            measured=grid(rows.assign(row=1.0), "row") == 1.0,
            notes=np.where(pd.isna(notes), "", notes),
            noises=tuple(noise_of_layer(table, estimator, layer) for layer in layers),
        )  # fmt: skip

    def pattern_in_words(self, k: int, j: int) -> str:
        """Say how much of layer k at epoch j zeros and signs alone tell; "" for none."""
        share = self.pattern[k, j]
        return "" if np.isnan(share) else f"{number(share)} of it by zeros and signs alone"

    @property
    def label(self) -> str:
        """What the quantity is called, with its unit."""
        return f"{self.quantity.title} [{self.unit}]" if self.unit else self.quantity.title

    @property
    def near_ceiling(self) -> np.ndarray:
        """Ceilings without those that would flatten the rest: above thrice all values and ends."""
        ends = drawable(np.concatenate([self.value, self.lower, self.upper], axis=None))
        highest = np.nanmax(ends, initial=0.0)
        far = np.isfinite(self.ceiling) & (self.ceiling > 3 * highest) & (highest > 0)
        return np.where(far, np.nan, self.ceiling)

    def ceiling_above_axis(self) -> str:
        """Name the ceilings that are no :attr:`near_ceiling`; "" for none."""
        far = self.ceiling[np.isfinite(self.ceiling) & np.isnan(self.near_ceiling)]
        if not far.size:
            return ""
        ends = dict.fromkeys(number(float(end)) for end in (far.min(), far.max()))
        return f"ceiling above the axis: {' to '.join(ends)}"

    @property
    def highest_ceiling(self) -> float | None:
        """The highest near ceiling of any layer and epoch; None where one of them is unlimited."""
        given = self.near_ceiling[~np.isnan(self.near_ceiling)]
        return float(given.max()) if len(given) and given.max() < _LARGEST_DRAWN else None

    def flat_ceiling(self, j: int | slice = slice(None)) -> float | None:
        """The ceiling, where it is the same finite number throughout, or at one epoch."""
        given = self.ceiling[:, j][self.measured[:, j]]
        same = given.size and np.isfinite(given).all() and np.ptp(given) <= 1e-9 * abs(given[0])
        return float(given[0]) if same else None

    @property
    def top(self) -> float | None:
        """Where an axis ends so that far upper ends do not flatten what is below.

        None where everything can be drawn: no upper end is infinite, or above twice the highest
        value and ceiling.
        """
        drawn = drawable(np.concatenate([self.value, self.lower, self.ceiling], axis=None))
        highest = np.nanmax(drawn, initial=0.0)
        far = np.nanmax(self.upper, initial=0.0) > 2 * highest
        return 1.25 * float(highest) if far and highest > 0 else None

    @property
    def drawn_upper(self) -> np.ndarray:
        """Upper ends, those above :attr:`top` at it."""
        return self.upper if self.top is None else np.minimum(self.upper, self.top)

    def above_axis(self) -> str:
        """Name the upper ends that lie above an axis that ends at :attr:`top`; "" for none."""
        top = self.top
        if top is None:
            return ""
        highest = np.nanmax(self.upper, axis=1, initial=0.0)
        ends = [
            f"{short_name(layer)} to {number(end)}"
            for layer, end in zip(self.layers, highest, strict=True)
            if end > top
        ]
        return f"upper ends above the axis: {name_some(ends, _MOST_NAMED)}"

    def draw(self, ax: Any) -> list[Any]:
        """Draw a line per layer into matplotlib axes, with its bracket as a band.

        One checkpoint is drawn against the depth of the network. Returns the lines of the layers.
        """
        value, lower, upper = map(drawable, (self.value, self.lower, self.drawn_upper))
        style = {"lw": 1.4, "marker": "o", "ms": 2.5}
        colours = layer_colours(len(self.layers))
        if len(self.epochs) == 1:
            depths = np.arange(len(self.layers))
            ax.plot(depths, value[:, 0], color="0.75", lw=1.0, zorder=1)
            ax.vlines(depths, lower[:, 0], upper[:, 0], color=colours, lw=6, alpha=0.25)
            style["ms"] = 5
            across = depths[:, None]
        else:
            across = np.tile(self.epochs, (len(self.layers), 1))
            for k, colour in enumerate(colours):
                ax.fill_between(across[k], lower[k], upper[k], color=colour, alpha=0.25, lw=0)
        lines = [
            ax.plot(across[k], value[k], color=colour, label=self.layers[k], **style)[0]
            for k, colour in enumerate(colours)
        ]
        if self.top is not None:
            ax.set_ylim(top=self.top)
        return lines
