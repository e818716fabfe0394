"""Discrete entropies of binned activations.

For a deterministic network I(X;Bin(T)) = H(Bin(T)): the entropy of how the inputs fall into cells.
It is log n when no two inputs share a cell and falls as they cluster.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skinfo._rows import Rows, discrete_entropy
from skinfo.binned.cells import Cells, first_rows
from skinfo.binned.kernels import mark_shared
from skinfo.quantities import Quantity

# Up to so many labels, a table of rows and labels is laid out in full.
_FULL_TABLE = 16
# This close to its ceiling, in relative terms, a value says only that all inputs are apart.
_NEAR = 0.01


def measure_binned(rows: Rows, cells: Cells, correction: str | None = None) -> dict[str, Quantity]:
    """Count rows in cells and take the entropies of the counts, in nats; quantities by name.

    I(Y;Bin(T)) is measured if the rows have labels; "miller-madow" corrects every entropy. The note
    "too few replicas" says that H(Bin(T)|X) is limited by their number.
    """
    per_cell = _bias_per_cell(rows, correction)
    first = first_rows(rows.points, cells)
    # A cell has the number of its first row; numbers of other rows have no mass.
    masses = np.bincount(first, weights=rows.weights)
    n_occupied = int(np.count_nonzero(masses))
    of_cells = _Entropy.of(masses, per_cell)
    information, too_few = of_cells, False
    if rows.has_replicas:
        of_inputs = _Entropy.of(rows.input_weights, per_cell)
        joint = _Entropy.of(_joint_masses(first, rows.inputs, rows.weights), per_cell)
        information = of_cells.shared_with(of_inputs, joint)
        typical = float(np.sum(rows.input_weights * np.log(rows.replicas)))
        too_few = joint.counted - of_inputs.counted > typical - np.log(4)
    ceiling, outside = rows.input_entropy, cells.outside_fraction(rows.points)
    edges = ("outside edges",) if outside > 0 else ()
    # Bins that are too wide, or too narrow, show nothing.
    near = information.counted >= (1 - _NEAR) * ceiling
    notes = ("in one cell",) if n_occupied == 1 else ("at ceiling",) if near else ()
    replicas = ("too few replicas",) if too_few else ()
    entropy = Quantity.exact("binned_entropy", of_cells.counted + of_cells.bias)
    # Replicas fall into more cells than there are inputs.
    entropy = entropy.noted(*(() if rows.has_replicas else notes), *edges)
    quantities = [
        information.quantity("binned_mutual_info", ceiling).noted(*notes, *replicas, *edges),
        entropy,
    ]
    if rows.labels is not None and rows.label_weights is not None:
        of_labels = _Entropy.of(rows.label_weights, per_cell)
        joint = _Entropy.of(_joint_masses(first, rows.labels, rows.weights), per_cell)
        label = of_cells.shared_with(of_labels, joint)
        # Cells that tell all inputs apart tell their labels apart too, random labels as well.
        quantities.append(
            label.quantity("binned_label_mutual_info", of_labels.counted).noted(*notes, *edges)
        )
        quantities.append(Quantity.exact("label_ceiling", of_labels.counted))
    quantities += [
        Quantity.exact("binned_ceiling", ceiling),
        Quantity.exact("n_occupied", n_occupied, ""),
        Quantity.exact("singleton_fraction", _singleton_fraction(rows, first), ""),
        Quantity.exact("outside_fraction", outside, "").noted(*edges),
    ]
    return {quantity.name: quantity for quantity in quantities}


class _Entropy(NamedTuple):
    """An entropy, or a difference of entropies, as counted, and the correction to be added."""

    counted: float
    bias: float

    @classmethod
    def of(cls, masses: np.ndarray, per_cell: float) -> _Entropy:
        return cls(discrete_entropy(masses), per_cell * (np.count_nonzero(masses) - 1))

    def shared_with(self, other: _Entropy, joint: _Entropy) -> _Entropy:
        """H(A) + H(B) - H(A,B), each with its own correction."""
        information = self.counted + (other.counted - joint.counted)
        if abs(information) < 1e-12:
            # Rounding around 0; a larger negative value is left as it is.
            information = 0.0
        return _Entropy(information, self.bias + other.bias - joint.bias)

    def quantity(self, name: str, ceiling: float) -> Quantity:
        """The corrected information, never clipped; beyond its bounds it is noted."""
        value = self.counted + self.bias
        beyond = self.bias != 0 and not 0 <= value <= ceiling
        return Quantity.exact(name, value).noted(*(["correction beyond bounds"] if beyond else []))


def _bias_per_cell(rows: Rows, correction: str | None) -> float:
    """1 / (2 n) for Miller and Madow, who counted rows of equal weight; 0 for no correction."""
    if correction is None:
        return 0.0
    if not np.allclose(rows.weights, rows.weights[0], rtol=1e-9, atol=0):
        raise ValueError(
            "correction='miller-madow' counts rows of equal weight, but here they differ, by "
            "sample_weight or by groups of different sizes; use correction=None."
        )
    return 1 / (2 * len(rows.weights))


def _singleton_fraction(rows: Rows, first: np.ndarray) -> float:
    """Share of the rows, by weight, whose cell no other input reached."""
    shared = np.zeros(len(first), dtype=bool)
    mark_shared(rows.inputs, first, shared)
    return float(min(1.0, rows.weights[~shared[first]].sum()))


def _joint_masses(first: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mass of every pair of a cell and a code, by cell, then by code."""
    n_codes = int(codes.max()) + 1
    pairs = first * n_codes + codes
    if n_codes > _FULL_TABLE:
        pairs = np.unique(pairs, return_inverse=True)[1]
    return np.bincount(pairs, weights=weights)
