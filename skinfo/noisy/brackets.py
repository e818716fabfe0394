"""The two ends that hold the truth between them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skinfo._rows import Rows, discrete_entropy
from skinfo.noisy.gaussians import (
    MAX_POSTERIOR_DIMENSION,
    InputGaussians,
    own_input_out_entropies,
    posterior_log_sums,
    shrunk_entropies,
)
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.plug_in import MEASURED_NAMES, Averages, Measured, contributions
from skinfo.noisy.population import HeldOut, lower_end_by_pairs, upper_ends
from skinfo.noisy.predictors import PredictedLabels
from skinfo.noisy.sampling import MISSED, Average
from skinfo.quantities import Quantity

# Shares of a posterior that go to p(y): no draw costs more than the logarithm of the share.
_PRIOR_SHARES = (0.003, 0.01, 0.03, 0.1, 0.3)
# The classes seen are all there are where each was drawn so often.
_OFTEN = 5

# Averages that may be the end of a bracket, by the name of the quantity.
_Candidates = dict[str, list[Average]]


def find_ends(
    averages: Averages,
    mixture: Mixture,
    *,
    population: bool,
    held_out: HeldOut | None = None,
    predicted: PredictedLabels | None = None,
    tol: float,
    n_jobs: int | None,
) -> Measured[tuple[float, float]]:
    """The brackets: plug-in at one end, what never saw the own row or input at the other.

    Each end is widened by its own error.
    """
    lows: _Candidates = {
        name: [average] for name, average in zip(MEASURED_NAMES, averages.plug_in, strict=True)
    }
    highs = lows
    if mixture.rows.has_replicas:
        lower, upper = _with_replicas(averages, mixture, tol, n_jobs)
        lows, highs = lows | lower, highs | upper
    if population:
        lower, upper = _of_population(averages, mixture, held_out, predicted)
        lows, highs = lows | lower, highs | upper
    return Measured(
        *(
            (
                max(low.mean - low.margin(population=population) for low in lows[name]),
                min(high.mean + high.margin(population=population) for high in highs[name]),
            )
            for name in MEASURED_NAMES
        )
    )


def _with_replicas(
    averages: Averages, mixture: Mixture, tol: float, n_jobs: int | None
) -> tuple[_Candidates, _Candidates]:
    """Lower and upper ends that leave the own row out."""
    sums, plug_in, rows = averages.sums, averages.plug_in, mixture.rows
    every, out = contributions(sums.all_data, sums), contributions(sums.without_own_row, sums)
    label_entropy = every.conditional_entropy + every.conditional_mutual_info
    conditional_highs = [averages.of(out.conditional_entropy)]
    several = rows.replicas[rows.inputs] > 1
    information = -sums.all_data.total - out.conditional_entropy
    information_lows = [_average_known(averages, information, several)]
    within_label = label_entropy - out.conditional_entropy
    within_label_lows = [_average_known(averages, within_label, several, rows.labels)]
    # Gaussians know of no strata.
    gaussians = InputGaussians.fit(mixture.in_space) if mixture.components.strata is None else None
    if gaussians is not None:
        entropies = shrunk_entropies(gaussians, mixture.in_space)
        conditional_highs.append(averages.of_rows(entropies))
        entropy = plug_in.entropy
        if not several.all():
            entropy = _average_known(averages, -sums.all_data.total, several)
        within = _negative(averages.of_rows(np.where(several, entropies, 0.0)))
        information_lows.append(entropy.plus(within))
        of_label = _average_known(averages, label_entropy, several, rows.labels)
        within_label_lows.append(of_label.plus(within))
    # A posterior of mixtures needs equally many replicas of all, else it is biased upwards.
    equal = np.ptp(rows.replicas) == 0
    if equal:
        information_lows.append(averages.of(out.mutual_info))
        within_label_lows.append(averages.of(out.conditional_mutual_info))
    # The Gaussians cost as much as all the rest, and can only close a gap that is open.
    gap = plug_in.mutual_info.mean - max(low.mean for low in information_lows)
    if gaussians is not None and gap > tol:
        posteriors = _gaussian_posteriors(averages, mixture, n_jobs)
        information_lows += [averages.of(posterior) for posterior in posteriors]
        # I(X;T|Y) = I(X;T) - I(Y;T), of which the plug-in is an upper end.
        within_label_lows += [averages.of(p - every.label_mutual_info) for p in posteriors]
    if equal:
        if not _any_positive(information_lows):
            information_lows += _mixed_with_prior(averages, out.mutual_info, out.entropy)
        if not _any_positive(within_label_lows):
            of_label_out = -sums.without_own_row.label
            within_label_lows += _mixed_with_prior(
                averages, out.conditional_mutual_info, of_label_out
            )
    in_label = several if rows.labels is None else np.bincount(rows.labels)[rows.labels] > 1
    label_lows = [_average_known(averages, out.label_mutual_info, in_label)]
    if not _any_positive(label_lows):
        label_lows += _mixed_with_prior(averages, out.label_mutual_info, out.entropy)
    lows = {
        "mutual_info": information_lows,
        "label_mutual_info": label_lows,
        "conditional_mutual_info": within_label_lows,
    }
    return lows, {"entropy": [averages.of(out.entropy)], "conditional_entropy": conditional_highs}


def _average_known(
    averages: Averages, values: np.ndarray, known: np.ndarray, labels: np.ndarray | None = None
) -> Average:
    """Average a lower end where an input, or a class, of a single row has nothing to go by.

    With p the probability of the rows that are ``known`` and K whether one was drawn, a function
    of X, I(X;T) >= p I(X;T|K), in which the law of T among them is at most 1 / p times that of T;
    given ``labels``, that among those of a label.
    """
    if known.all():
        return averages.of(values)
    weights, drawn = averages.rows.weights, averages.draws.rows
    if labels is None:
        log_share = np.log(weights[known].sum())
    else:
        with np.errstate(divide="ignore"):
            shares = np.log(np.bincount(labels, weights * known) / np.bincount(labels, weights))
        log_share = shares[labels[drawn]]
    return averages.of(np.where(known[drawn], values + log_share, 0.0))


def _of_population(
    averages: Averages,
    mixture: Mixture,
    held_out: HeldOut | None,
    predicted: PredictedLabels | None,
) -> tuple[_Candidates, _Candidates]:
    """Lower and upper ends that leave the own input out: others of the population are to come."""
    sums, rows = averages.sums, mixture.rows
    if rows.clusters is not None:
        sums = sums.without_others()
    without = contributions(sums.without_own_input, sums)
    rest = np.log1p(-np.minimum(sums.input_weight, 1 - 1e-16))
    log_input = -contributions(sums.all_data, sums).conditional_entropy
    within = _negative(averages.plug_in.conditional_entropy)
    missed = Average(_missed_entropy(rows))
    log_label = sums.without_own_input.label - np.log(sums.label_weight)
    rest_of_label = np.log1p(-np.minimum(sums.input_weight / sums.label_weight, 1 - 1e-16))
    # Infinite where a class was drawn once.
    upper = {"conditional_mutual_info": [averages.of(log_input - log_label + rest_of_label)]}
    if held_out is not None:
        of_entropy, of_information = upper_ends(held_out)
        upper |= {"entropy": [of_entropy], "mutual_info": [of_information]}
    elif rows.clusters is not None:
        # What leaves the own input out has seen others of its cluster.
        upper |= {"entropy": [Average(np.inf)], "mutual_info": [Average(np.inf)]}
    else:
        entropies = own_input_out_entropies(mixture.in_space)
        outside = averages.of_rows(entropies + mixture.components.own_input_out_lengths())
        upper["mutual_info"] = [
            averages.of(log_input + without.entropy + rest),
            outside.plus(within),
        ]
        upper["entropy"] = [averages.of(without.entropy + rest), outside]
    # One mode, of whatever class, adds no more to h(T|Y) than to h(T).
    highs = {name: [average.plus(missed) for average in upper[name]] for name in upper}
    lows = {"label_mutual_info": [Average(0.0), *([] if predicted is None else [predicted.end])]}
    # I(X;T|Y) = I(X;T) - I(Y;T).
    highs["conditional_mutual_info"] += [
        high.plus(_negative(low))
        for high in highs["mutual_info"]
        for low in lows["label_mutual_info"]
    ]
    highs["label_mutual_info"] = [
        averages.plug_in.label_mutual_info.plus(_missing_label_entropy(rows))
    ]
    if held_out is not None and held_out.pairs_are_better:
        by_pairs = lower_end_by_pairs(held_out)
        # Without replicas h(T) less the noise's entropy is the information.
        lows |= {"mutual_info": [by_pairs], "entropy": [by_pairs]}
        of_label = highs["label_mutual_info"][0]
        lows["conditional_mutual_info"] = [
            averages.plug_in.conditional_mutual_info,
            by_pairs.plus(_negative(of_label)),
        ]
    return lows, highs


def _any_positive(lows: list[Average]) -> bool:
    return any(low.mean > low.margin(population=False) for low in lows)


def _mixed_with_prior(
    averages: Averages, log_ratio: np.ndarray, entropy: np.ndarray
) -> list[Average]:
    """E log of q(y|t) / p(y), given its logarithm, with some p(y) mixed into q; or of x for y.

    The posterior q never saw the own row, and ``entropy`` is infinite where it sees nothing; there
    it is all p(y). p(y) is kept with its draw: the classes of a population are sampled too.
    """
    ratio = np.where(np.isfinite(entropy), log_ratio, 0.0)
    return [
        averages.of(np.logaddexp(ratio + np.log1p(-share), np.log(share)))
        for share in _PRIOR_SHARES
    ]


def _missed_entropy(rows: Rows) -> float:
    """What a mode that no input was drawn from may add to h(T): the entropy of its mass."""
    mass = min(0.5, MISSED / rows.n_effective)
    return discrete_entropy(np.array([mass, 1 - mass]))


def _missing_label_entropy(rows: Rows) -> Average:
    """What H(Y) of a sample lacks: Miller and Madow's term, and errors of second order.

    Classes of one input say that there are others, of which none was drawn.
    """
    counts = rows.inputs_of_labels
    if counts is None:
        return Average(0.0)
    n, degrees = rows.n_effective, len(counts) - 1
    unseen = np.sqrt(np.count_nonzero(counts == 1)) * np.log(n)
    return Average(degrees / (2 * n), inputs=float(np.hypot(np.sqrt(degrees / 2), unseen) / n))


def sampled_label_entropy(rows: Rows, p: np.ndarray, counts: np.ndarray) -> Quantity:
    """Estimate H(Y) of the population, given p(y) and the number of inputs of every class drawn.

    Where of every class five inputs or more were drawn, these are taken for all classes.
    """
    value = discrete_entropy(p)
    spread = np.sqrt(max(0.0, p @ np.log(p) ** 2 - value**2) / rows.n_effective)
    estimate = Average(value, inputs=float(spread)).plus(_missing_label_entropy(rows))
    margin = estimate.margin(population=True)
    most = float(np.log(len(p))) if counts.min() >= _OFTEN else np.inf
    value, upper = min(estimate.mean, most), min(estimate.mean + margin, most)
    lower = max(0.0, min(estimate.mean - margin, value))
    return Quantity(
        "label_ceiling", value, lower=lower, upper=upper, stderr_sampling=estimate.inputs
    )


def _negative(average: Average) -> Average:
    return replace(average, mean=-average.mean)


def _gaussian_posteriors(
    averages: Averages, mixture: Mixture, n_jobs: int | None
) -> list[np.ndarray]:
    """H(p) + E log q(x|t) for one Gaussian per input, and for half that and half the mixture.

    A value per draw; inputs of a single row are left out as in :func:`_average_known`.
    """
    sums, rows, d = averages.sums, mixture.in_space, mixture.space.rank
    if not 0 < d <= MAX_POSTERIOR_DIMENSION:
        return []
    several = rows.replicas[rows.inputs] > 1
    drawn = averages.draws.rows.ravel()
    known = several[drawn]
    own, others, draw_weights = posterior_log_sums(
        rows.take(np.flatnonzero(several)),
        (np.cumsum(several) - 1)[drawn[known]],
        averages.draws.noise.reshape(-1, d)[known],
        n_jobs,
    )
    log_p = np.log(sums.input_weight.ravel()[known] / rows.weights[several].sum())
    # The weights have mean 1 in every input: what is constant is better left without.
    constant = averages.plug_in.mutual_info.mean

    def values(own: np.ndarray, total: np.ndarray) -> np.ndarray:
        found = np.zeros(len(drawn))
        found[known] = constant + draw_weights * (own - total - log_p - constant)
        return found.reshape(sums.own.shape)

    posteriors = [values(own, np.logaddexp(own, others))]
    if np.ptp(rows.replicas) == 0:
        without = sums.without_own_row
        both = np.logaddexp(own, without.input.ravel())
        rest = np.logaddexp(others, without.total.ravel())
        posteriors.append(values(both, np.logaddexp(own, rest)))
    return posteriors
