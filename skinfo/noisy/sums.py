"""The four sums at each draw, and the densities that they add up to.

Every quantity is an average over draws of a difference of logarithms of the same four sums. ``own``
is the draw's own row, ``group`` the other replicas of its input, ``label`` the other inputs of its
label, ``other`` everything else; the sums are added, never subtracted.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class Densities:
    """Logarithms of p(x) g_x(t), p(y) g_y(t) and g(t) at each draw."""

    input: np.ndarray
    label: np.ndarray
    total: np.ndarray

    @classmethod
    def add(
        cls, own: np.ndarray, group: np.ndarray, label: np.ndarray, other: np.ndarray
    ) -> Densities:
        """Add the disjoint sums."""
        of_input = np.logaddexp(own, group)
        of_label = np.logaddexp(of_input, label)
        return cls(of_input, of_label, np.logaddexp(of_label, other))


@dataclass(frozen=True)
class DrawSums:
    """Natural logarithms of the four disjoint sums of each draw, and of its half of the replicas.

    All are relative to the density of the noise at the draw, so the own row's sum is its weight.
    Arrays are of shape (N_RANDOMISATIONS, m).
    """

    # The disjoint sums; -inf where there is nothing to add.
    own: np.ndarray
    group: np.ndarray
    label: np.ndarray
    other: np.ndarray
    # (N_RANDOMISATIONS, m, 4), or None: the same over the half of all replicas that the own row
    # belongs to, where every input has the weight that it has in all.
    half: np.ndarray | None
    replicas: np.ndarray  # rows of the draw's input
    # p(x) and p(y) of the draw.
    input_weight: np.ndarray
    label_weight: np.ndarray
    # A number of mean exactly 0 that varies as the information does: what it would be at this draw,
    # less its mean, were T Gaussian of the same covariance.
    control: np.ndarray
    leverage: np.ndarray  # the part of the control that depends on the row alone; its mean is 0

    def first(self, m: int) -> DrawSums:
        """The sums of the first m draws of every randomisation."""
        every = {field.name: getattr(self, field.name) for field in fields(self)}
        given = {name: array[:, :m] for name, array in every.items() if array is not None}
        return replace(self, **given)

    def without_others(self) -> DrawSums:
        """The sums of the own input alone: what leaves it out is nothing."""
        nothing = np.full_like(self.own, -np.inf)
        return replace(self, label=nothing, other=nothing)

    @cached_property
    def all_data(self) -> Densities:
        """The mixtures of all rows: the plug-in."""
        return Densities.add(self.own, self.group, self.label, self.other)

    @cached_property
    def half_data(self) -> Densities | None:
        """The mixtures of the half that holds the own row."""
        if self.half is None:
            return None
        return Densities.add(*np.moveaxis(self.half, -1, 0))

    @cached_property
    def without_own_row(self) -> Densities:
        """The mixtures without the own row, whose input keeps its weight."""
        with np.errstate(divide="ignore"):
            group = self.group + np.log(self.replicas / np.maximum(self.replicas - 1, 1))
        return Densities.add(np.full_like(group, -np.inf), group, self.label, self.other)

    @cached_property
    def without_own_input(self) -> Densities:
        """The mixtures without any replica of the own input, not renormalised."""
        nothing = np.full_like(self.own, -np.inf)
        return Densities.add(nothing, nothing, self.label, self.other)
