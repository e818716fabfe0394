"""Binned activations: the discrete entropies of the cells.

For a deterministic network I(X;Bin(T)) = H(Bin(T)): the entropy of how the inputs fall into cells.
It is log n when no two inputs share a cell and falls as they cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skinfo._rows import Rows, discrete_entropy
from skinfo.binned.cells import Cells
from skinfo.binned.counting import first_rows
from skinfo.binned.kernels import mark_shared
from skinfo.quantities import Quantity

# Up to so many labels, a table of rows and labels is laid out in full.
_FULL_TABLE = 16
# This close to its ceiling, in relative terms, a value says only that all inputs are apart.
_NEAR = 0.01


@dataclass(frozen=True)
class BinnedInformation:
    """What :func:`measure_binned` found, in nats.

    Attributes
    ----------
    mutual_info, entropy : Quantity
        I(X;Bin(T)) and H(Bin(T)); the same where every input has one row.
    label_mutual_info : Quantity or None
        I(Y;Bin(T)).
    ceiling : float
        H of the inputs; with one row an input the entropy cannot exceed it.
    n_occupied : int
        Number of occupied cells.
    singleton_fraction : float
        Share of the rows whose cell no other input reached.
    too_few_replicas : bool
        Whether inputs have too few rows for H(Bin(T)|X) to mean anything.
    """

    mutual_info: Quantity
    entropy: Quantity
    label_mutual_info: Quantity | None
    ceiling: float
    n_occupied: int
    singleton_fraction: float
    too_few_replicas: bool


def measure_binned(rows: Rows, cells: Cells, correction: str | None = None) -> BinnedInformation:
    """Count rows in cells and take the entropies of the counts.

    Raises
    ------
    ValueError
        If a correction is asked for and rows have different weights.
    """
    per_cell = _bias_per_cell(rows, correction)
    first = first_rows(rows.points, cells)
    # Cells go by their first row; those of no row weigh nothing.
    masses = np.bincount(first, weights=rows.weights)
    n_occupied = int(np.count_nonzero(masses))
    counted = _Counted.of(masses, per_cell)
    information, too_few = counted, False
    if rows.has_replicas:
        inputs = _Counted.of(rows.input_weights, per_cell)
        joint = _Counted.of(_joint_masses(first, rows.inputs, rows.weights), per_cell)
        information = counted.shared_with(inputs, joint)
        typical = float(np.sum(rows.input_weights * np.log(rows.replicas)))
        too_few = joint.entropy - inputs.entropy > typical - np.log(4)
    label = None
    if rows.labels is not None and rows.label_weights is not None:
        labels = _Counted.of(rows.label_weights, per_cell)
        joint = _Counted.of(_joint_masses(first, rows.labels, rows.weights), per_cell)
        label = counted.shared_with(labels, joint).quantity(
            "binned_label_mutual_info", labels.entropy
        )
    ceiling = rows.input_entropy
    notes = _stuck(n_occupied, information.entropy, ceiling)
    # Replicas fall into more cells than there are inputs.
    of_cells = () if rows.has_replicas else notes
    if label is not None:
        # Where the cells tell all inputs apart they tell the labels too, random ones as well.
        label = label.noted(*notes)
    if too_few:
        notes = (*notes, "too few replicas")
    return BinnedInformation(
        mutual_info=information.quantity("binned_mutual_info", ceiling).noted(*notes),
        entropy=Quantity.exact("binned_entropy", counted.entropy + counted.bias).noted(*of_cells),
        label_mutual_info=label,
        ceiling=ceiling,
        n_occupied=n_occupied,
        singleton_fraction=_singleton_fraction(rows, first),
        too_few_replicas=too_few,
    )


@dataclass(frozen=True)
class _Counted:
    """An entropy, or a difference of some, as counted, and what is to be added to it."""

    entropy: float
    bias: float

    @classmethod
    def of(cls, masses: np.ndarray, per_cell: float) -> _Counted:
        return cls(discrete_entropy(masses), per_cell * (np.count_nonzero(masses) - 1))

    def shared_with(self, other: _Counted, joint: _Counted) -> _Counted:
        """H(A) + H(B) - H(A,B), each with its own correction."""
        entropy = self.entropy + (other.entropy - joint.entropy)
        return _Counted(_settle(entropy), self.bias + other.bias - joint.bias)

    def quantity(self, name: str, ceiling: float) -> Quantity:
        """The corrected information; it is left where the correction carries it, and noted."""
        value = self.entropy + self.bias
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


def _stuck(n_occupied: int, information: float, ceiling: float) -> tuple[str, ...]:
    """Words for bins that show nothing: too wide, or too narrow."""
    if n_occupied == 1:
        return ("in one cell",)
    return ("at ceiling",) if information >= (1 - _NEAR) * ceiling else ()


def _singleton_fraction(rows: Rows, first: np.ndarray) -> float:
    """Share of the rows, by weight, whose cell no other input reached."""
    shared = np.zeros(len(first), dtype=bool)
    mark_shared(rows.inputs, first, shared)
    return float(min(1.0, rows.weights[~shared[first]].sum()))


def _settle(information: float) -> float:
    """A difference of entropies, its rounding around 0 removed and nothing else."""
    return 0.0 if abs(information) < 1e-12 else information


def _joint_masses(first: np.ndarray, codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mass of every pair of a cell and a code, by cell, then by code."""
    n_codes = int(codes.max()) + 1
    pairs = first * n_codes + codes
    if n_codes > _FULL_TABLE:
        pairs = np.unique(pairs, return_inverse=True)[1]
    return np.bincount(pairs, weights=weights)
