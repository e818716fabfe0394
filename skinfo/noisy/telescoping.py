"""What more replicas of some inputs tell of all: the bias of the others, corrected.

Where every input has a few replicas and a random part of them has many, the information is that of
the few replicas, over all inputs, plus the mean over that part of what the many change,

    I = mean over all x of u_few(x) + mean over those with many of [u_many(x) - u_few(x)],

where u(x) is the plug-in's contribution of x and the many replicas stand in both mixtures, that of
x and that of all: a control variate. The spread between inputs, which is large, drops out of the
second term, and both contributions of a difference are taken at the same draws.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skinfo._rows import Rows
from skinfo.noisy.gaussians import InputGaussians, own_row_out_entropies
from skinfo.noisy.layout import order_rows
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.sampling import Average, Draws
from skinfo.noisy.sums import Contributions

# So many inputs with many replicas, or none are taken for a sample.
_FEWEST_INPUTS = 16
_DRAWS_AN_INPUT = 64


@dataclass(frozen=True)
class ReplicaExcess:
    """What few replicas show that many do not; standard errors over inputs.

    Attributes
    ----------
    information, extrapolated : Average
        By how much the plug-in of I(X;T) falls, and by how much with the bias of the many replicas
        extrapolated away.
    conditional : tuple of Average
        By how much upper ends of h(T|X), with the own row left out, are above the few replicas'
        plug-in: that of the mixture, that of a Gaussian.
    n_evaluations : int
        Points at which mixtures were evaluated.
    """

    information: Average
    extrapolated: Average
    conditional: tuple[Average, ...]
    n_evaluations: int


def two_numbers_of_replicas(rows: Rows) -> tuple[int, int] | None:
    """Few and many, where every input has one of the two and a part large and small enough many."""
    numbers = np.unique(rows.replicas)
    if len(numbers) != 2 or numbers[0] < 2 or numbers[1] < 2 * numbers[0]:
        return None
    few, many = numbers.tolist()
    n_many = np.count_nonzero(rows.replicas == many)
    # Were most inputs cut to few replicas, most of what is known would be thrown away.
    return (few, many) if _FEWEST_INPUTS <= n_many <= len(rows.replicas) / 2 else None


def replica_excess(
    mixture: Mixture, few: int, many: int, population: bool, seed: int, n_jobs: int | None
) -> ReplicaExcess:
    """Compare all rows with few replicas of every input, at draws from inputs that have many."""
    rows = mixture.rows
    among_few = rows.replica_numbers < few
    less = rows.where(among_few)
    # In the subspace of all rows, so that noise is the same vector in both.
    of_less = Mixture(
        less, mixture.subspace, order_rows(less), np.zeros(len(less.points), np.int64)
    )
    rich = np.flatnonzero(rows.replicas == many)
    p = rows.input_weights[rich] / rows.input_weights[rich].sum()

    rng = np.random.default_rng(seed)
    row_of_all = np.flatnonzero(among_few)
    by_input = np.argsort(less.inputs, kind="stable").reshape(-1, few)[rich]
    chosen = rng.integers(few, size=(len(rich), _DRAWS_AN_INPUT))
    drawn = np.take_along_axis(by_input, chosen, axis=1)
    noise = rng.normal(size=(*drawn.shape, mixture.subspace.rank))
    ones = np.ones(drawn.shape)
    sums_less = of_less.sums_at(Draws(drawn, noise, ones), population=population, n_jobs=n_jobs)
    sums_more = mixture.sums_at(
        Draws(row_of_all[drawn], noise, ones), population=population, n_jobs=n_jobs
    )

    base = Contributions.of(sums_less.all_data, sums_less)
    plug_in = Contributions.of(sums_more.all_data, sums_more)
    half = sums_more.half_data
    halved = None if half is None else Contributions.of(half, sums_more)
    without = Contributions.of(sums_more.without_own_row, sums_more)

    def over_inputs(differences: np.ndarray) -> Average:
        mean = float(p @ differences)
        variance = np.sum(p**2 * (differences - mean) ** 2) * len(p) / (len(p) - 1)
        return Average(mean, float(np.sqrt(variance)))

    shown = base.conditional_entropy.mean(axis=1)
    conditional = [over_inputs(without.conditional_entropy.mean(axis=1) - shown)]
    richest = mixture.in_subspace.where(np.isin(rows.inputs, rich))
    gaussians = InputGaussians.fit(richest)
    if gaussians is not None:
        a_row = own_row_out_entropies(gaussians, richest)
        an_input = np.bincount(richest.inputs, weights=a_row) / many
        conditional.append(over_inputs(an_input - shown))
    extrapolated = plug_in.extrapolated(halved).mutual_info
    return ReplicaExcess(
        information=over_inputs((base.mutual_info - plug_in.mutual_info).mean(axis=1)),
        extrapolated=over_inputs((base.mutual_info - extrapolated).mean(axis=1)),
        conditional=tuple(conditional),
        n_evaluations=2 * drawn.size,
    )
