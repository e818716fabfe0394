"""What more replicas of some inputs tell of all: the bias of the others, corrected.

Where every input has a few replicas and a random part of them has many, h(T|X) is that of the few
replicas, over all inputs, plus the mean over that part of what the many change,

    h(T|X) = mean over all x of h_few(x) + mean over those with many of [h_many(x) - h_few(x)],

a control variate: the spread of h(T|X=x) between inputs, which is large, drops out of the second
term, and both entropies of a difference are taken at the same draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skinfo.measures.draws import Average, Draws
from skinfo.measures.gaussians import InputGaussians, own_row_out_entropies
from skinfo.measures.layout import order_rows
from skinfo.measures.mixture import Inputs, Mixture
from skinfo.measures.rows import Rows
from skinfo.measures.sums import Contributions

# So many inputs with many replicas, or none are taken for a sample.
_FEWEST_INPUTS = 16
_DRAWS_AN_INPUT = 64


@dataclass(frozen=True)
class ReplicaExcess:
    """What many replicas change in h(T|X) as few replicas show it; standard errors over inputs.

    Attributes
    ----------
    plug_in, extrapolated : Average
        Of the plug-in, a lower end of h(T|X), and of its extrapolation to infinitely many replicas.
    upper : tuple of Average
        Of upper ends: the own row left out of the mixture, of a Gaussian.
    """

    plug_in: Average
    extrapolated: Average
    upper: tuple[Average, ...]


def two_numbers_of_replicas(rows: Rows) -> tuple[int, int] | None:
    """Few and many, where every input has one of the two, enough have many, and it is worth it."""
    numbers = np.unique(rows.replicas)
    if len(numbers) != 2 or numbers[0] < 2 or numbers[1] < 2 * numbers[0]:
        return None
    few, many = numbers.tolist()
    return (few, many) if np.count_nonzero(rows.replicas == many) >= _FEWEST_INPUTS else None


def replica_excess(
    rows: Rows, sigma: float, few: int, many: int, inputs: Inputs, seed: int, n_jobs: int | None
) -> ReplicaExcess:
    """Compare many with few replicas of the inputs that have many, at the same draws."""
    has_many = rows.replicas[rows.inputs] == many
    among_few = rows.replica_numbers[has_many] < few
    more = rows.where(has_many)
    less = more.where(among_few)
    of_more = Mixture.of(more, sigma)
    of_less = Mixture(less, of_more.subspace, order_rows(less), np.zeros(len(among_few), np.int64))
    n_inputs = len(more.replicas)

    rng = np.random.default_rng(seed)
    by_input = np.argsort(less.inputs, kind="stable").reshape(n_inputs, few)
    chosen = rng.integers(few, size=(n_inputs, _DRAWS_AN_INPUT))
    drawn = np.take_along_axis(by_input, chosen, axis=1)
    noise = rng.normal(size=(*drawn.shape, of_more.subspace.rank))
    ones = np.ones(drawn.shape)
    sums_less = of_less.sums_at(Draws(drawn, noise, ones), "given", n_jobs)
    row_of_more = np.flatnonzero(among_few)[drawn]
    sums_more = of_more.sums_at(Draws(row_of_more, noise, ones), "given", n_jobs)

    plug_in = Contributions.of(sums_more.all_data, sums_more)
    half = sums_more.half_data
    halved = None if half is None else Contributions.of(half, sums_more)
    without = Contributions.of(sums_more.without_own_row, sums_more)
    base = Contributions.of(sums_less.all_data, sums_less).conditional_entropy.mean(axis=1)
    share = n_inputs / len(rows.replicas) if inputs == "given" else 0.0

    def over_inputs(values: np.ndarray) -> Average:
        p = more.input_weights
        difference = values - base
        mean = float(p @ difference)
        variance = np.sum(p**2 * (difference - mean) ** 2) * n_inputs / (n_inputs - 1)
        return Average(mean, float(np.sqrt(variance * (1 - share))))

    upper = [over_inputs(without.conditional_entropy.mean(axis=1))]
    gaussians = InputGaussians.fit(of_more.in_subspace)
    if gaussians is not None:
        a_row = own_row_out_entropies(gaussians, of_more.in_subspace)
        upper.append(over_inputs(np.bincount(more.inputs, weights=a_row) / many))
    return ReplicaExcess(
        plug_in=over_inputs(plug_in.conditional_entropy.mean(axis=1)),
        extrapolated=over_inputs(plug_in.extrapolated(halved).conditional_entropy.mean(axis=1)),
        upper=tuple(upper),
    )
