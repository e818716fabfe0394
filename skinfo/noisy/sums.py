"""The four sums of a draw, and what each draw contributes to a quantity.

Every value is an average over draws of a difference of logarithms of the same few sums. ``own`` is
the draw's own row, ``group`` the other replicas of its input, ``label`` the other inputs of its
label, ``other`` everything else; the sums are added, never subtracted.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np


@dataclass(frozen=True)
class DrawSums:
    """Natural logarithms of the four disjoint sums of each draw, and of its half of the replicas.

    All are relative to the density of the noise at the draw, so the own row's sum is its weight.
    Arrays are of shape (N_RANDOMISATIONS, m).

    Attributes
    ----------
    own, group, label, other : ndarray
        The disjoint sums; -inf where there is nothing to add.
    half : tuple of three ndarray, or None
        group, label and other, over the half of all replicas that the own row belongs to.
    half_replicas, replicas : ndarray
        Rows of the draw's input in that half, and in all.
    input_weight, label_weight : ndarray
        p(x) and p(y) of the draw.
    control : ndarray
        A number of mean exactly 0 that varies as the information does: what it would be at this
        draw, less its mean, were T Gaussian of the same covariance.
    """

    own: np.ndarray
    group: np.ndarray
    label: np.ndarray
    other: np.ndarray
    half: tuple[np.ndarray, np.ndarray, np.ndarray] | None
    half_replicas: np.ndarray
    replicas: np.ndarray
    input_weight: np.ndarray
    label_weight: np.ndarray
    control: np.ndarray

    @cached_property
    def all_data(self) -> Densities:
        """The mixtures of all rows: the plug-in."""
        return Densities.add(self.own, self.group, self.label, self.other)

    @cached_property
    def half_data(self) -> Densities | None:
        """The mixtures of the half that holds the own row."""
        if self.half is None:
            return None
        group, label, other = self.half
        share = np.log(self.replicas / self.half_replicas)
        # With equally many replicas all inputs are halved alike; else the others' halves, some
        # larger and some smaller, are taken for half.
        others = share if np.ptp(self.replicas) == 0 else np.log(2.0)
        return Densities.add(self.own + share, group + share, label + others, other + others)

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
class Contributions:
    """What each draw contributes to the four quantities.

    Entropies are relative to the noise's, (d / 2) log(2 pi e sigma^2).
    """

    mutual_info: np.ndarray
    label_mutual_info: np.ndarray
    entropy: np.ndarray
    conditional_entropy: np.ndarray

    @classmethod
    def of(cls, densities: Densities, sums: DrawSums) -> Contributions:
        """Log g_x / g, log g_y / g, -log g and -log g_x at each draw."""
        log_input = densities.input - np.log(sums.input_weight)
        log_label = densities.label - np.log(sums.label_weight)
        with np.errstate(invalid="ignore"):
            return cls(
                mutual_info=_minus(log_input, densities.total),
                label_mutual_info=_minus(log_label, densities.total),
                entropy=-densities.total,
                conditional_entropy=-log_input,
            )

    def extrapolated(self, half: Contributions | None) -> Contributions:
        """2 u_r - u_{r/2}: the bias of order 1/r removed by Richardson's extrapolation."""
        if half is None:
            return self
        return Contributions(
            2 * self.mutual_info - half.mutual_info,
            2 * self.label_mutual_info - half.label_mutual_info,
            2 * self.entropy - half.entropy,
            2 * self.conditional_entropy - half.conditional_entropy,
        )


def _minus(logarithm: np.ndarray, total: np.ndarray) -> np.ndarray:
    """A difference of logarithms in which log 0 - log 0 is log 0."""
    return np.where(np.isneginf(logarithm), -np.inf, logarithm - total)
