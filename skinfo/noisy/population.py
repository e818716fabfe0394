"""Ends of a bracket for a population, from densities that never saw what they are tested on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skinfo._numba import in_order
from skinfo.noisy.densities import Density
from skinfo.noisy.folds import N_FOLDS, assign_folds
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.pairs import Sample, log_critic, mean_over_pairs, of_each_draw, unseen_repetition
from skinfo.noisy.plug_in import Averages, contributions
from skinfo.noisy.sampling import N_RANDOMISATIONS, Average
from skinfo.noisy.stacks import fit_stacks
from skinfo.noisy.sums import DrawSums

# Fewer equally likely clusters or inputs are not split.
FEWEST = 25
# In units of the noise.
_FARTHEST = 1e6
# Of each randomisation; more where there are more rows.
_FEWEST_DRAWS = 256


@dataclass(frozen=True)
class HeldOut:
    """What stacks of the other folds say at each draw; arrays are (N_RANDOMISATIONS, m)."""

    averages: Averages  # of these draws
    log_density: np.ndarray  # log q(t), relative to the density of the noise at the draw
    critic: np.ndarray  # log F of the draw and its own row
    # Mean of F over the draw and other rows, and over other draws and the row.
    of_draws: np.ndarray
    of_rows: np.ndarray
    unseen: float  # the repetition kappa that no pair may show
    # Whether on the inner splits the lower end by pairs was above the plug-in.
    pairs_are_better: bool


def hold_out(
    mixture: Mixture,
    sums: DrawSums,
    candidates: Sequence[Density],
    *,
    seed: int,
    n_jobs: int | None,
) -> HeldOut | None:
    """Fit a stack per fold to the rows of the others, and evaluate it at draws around its own.

    ``sums`` are those of the first draws of the seed. None where inputs are too few to be split,
    lie so far out that covariances and distances lose the noise in rounding, or lie in strata, each
    of which has densities of its own.
    """
    rows = mixture.rows
    if mixture.components.strata is not None or rows.n_effective < FEWEST:
        return None
    m = sums.own.shape[1]
    while m > _FEWEST_DRAWS and m * N_RANDOMISATIONS >= 2 * len(rows.points):
        m //= 2
    draws, sums = mixture.draw_stream(seed).take(m), sums.first(m)
    folds, space = assign_folds(rows, seed), mixture.space
    sample = Sample(
        space.standardise(rows.points), space.relative_deviations, rows.weights, rows.independent
    )
    if np.abs(sample.points).max() >= _FARTHEST:
        return None
    with_pairs = not rows.has_replicas
    members = [np.flatnonzero(folds == fold) for fold in range(N_FOLDS)]
    unseen = unseen_repetition([sample.take(some).n_effective for some in members])
    stacks = fit_stacks(sample, folds, candidates, unseen=unseen, seed=seed, n_jobs=n_jobs)
    drawn = draws.rows.ravel()
    noise = space.noise_everywhere(draws.noise.reshape(len(drawn), -1), seed)
    log_density, critic, of_draws, of_rows = np.empty((4, len(drawn)))

    def fill(fold: int) -> None:
        at = np.flatnonzero(folds[drawn] == fold)
        if not len(at):
            return
        around = sample.take(drawn[at])
        t, log_noise = around.noisy(noise[at]), around.log_noise(noise[at])
        absolute = stacks[fold].log_density(t)
        log_density[at] = absolute - log_noise
        if not with_pairs:
            return
        critic[at] = log_critic(log_noise - absolute, unseen)
        own = np.searchsorted(members[fold], drawn[at])
        in_fold = sample.take(members[fold])
        of_draws[at], means = mean_over_pairs(in_fold, t, own, absolute, unseen)
        of_rows[at] = means[own]

    list(in_order(fill, range(N_FOLDS), n_jobs))
    votes = [stack.pairs_are_better for stack in stacks]
    averages = Averages(mixture, draws, sums, None)
    better = sum(votes) > N_FOLDS / 2 and with_pairs
    shape = draws.rows.shape
    return HeldOut(
        averages,
        log_density.reshape(shape),
        critic.reshape(shape),
        of_draws.reshape(shape),
        of_rows.reshape(shape),
        unseen,
        better,
    )


def upper_ends(held_out: HeldOut) -> tuple[Average, Average]:
    """Of h(T) and of I(X;T): the cross-entropy of T under q, and less the plug-in h(T|X)."""
    averages = held_out.averages
    log_input = -contributions(averages.sums.all_data, averages.sums).conditional_entropy
    entropy, information = -held_out.log_density, log_input - held_out.log_density
    return averages.of(entropy), averages.of(information)


def lower_end_by_pairs(held_out: HeldOut) -> Average:
    """The lower end of I(S;T) and its error in one number: without an error of its own."""
    averages = held_out.averages
    own = averages.of(held_out.critic)
    least_own = own.mean - own.margin(population=True)
    log_most = np.log(held_out.unseen) + np.log(np.exp(held_out.critic).mean()) - least_own
    shown = of_each_draw(held_out.critic, held_out.of_draws, held_out.of_rows)
    if shown is not None:
        by_pairs = averages.of(shown)
        least = by_pairs.mean - by_pairs.margin(population=True)
        log_most = np.logaddexp(log_most, -least)
    return Average(float(-log_most))
