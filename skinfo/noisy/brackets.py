"""The plug-in values, and the two ends that hold the truth between them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skinfo.noisy.gaussians import (
    MAX_POSTERIOR_DIMENSION,
    InputGaussians,
    own_input_out_entropies,
    own_row_out_entropies,
    posterior_log_sums,
)
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.quadrature import line_cross_entropy, line_information
from skinfo.noisy.sampling import Average, Draws, average_draws, integration_error
from skinfo.noisy.sums import Contributions, DrawSums

#: What is measured, each with a bracket.
QUANTITIES = ("mutual_info", "label_mutual_info", "entropy", "conditional_entropy")

# Averages that may be the end of a bracket, by the name of the quantity.
_Candidates = dict[str, list[Average]]


@dataclass(frozen=True)
class PlugIn:
    """The plug-in values of all rows, where quadrature gives them without error."""

    mutual_info: float
    label_mutual_info: float
    entropy: float
    conditional_entropy: float


def plug_in_by_quadrature(mixture: Mixture) -> PlugIn | None:
    """Integrate where all rows lie on a line or in a point; None elsewhere."""
    if mixture.subspace.rank > 1:
        return None
    if mixture.subspace.rank == 0:
        return PlugIn(0.0, 0.0, 0.0, 0.0)
    rows = mixture.in_subspace
    line = rows.points[:, 0]
    total = line_cross_entropy(line, rows.weights, line, rows.weights)
    of_input = line_information(line, rows.weights, rows.inputs) if rows.has_replicas else 0.0
    of_label = total if rows.labels is None else line_information(line, rows.weights, rows.labels)
    return PlugIn(max(0.0, total - of_input), max(0.0, total - of_label), total, of_input)


class Averages:
    """Averages over the draws so far, of the plug-in, of the ends, of the point estimates."""

    def __init__(
        self, mixture: Mixture, draws: Draws, sums: DrawSums, exact: PlugIn | None
    ) -> None:
        self.rows = mixture.rows
        self.draws = draws
        self.sums = sums
        self._exact = exact
        self._inputs = self.rows.inputs[draws.rows]
        self._plug_in = Contributions.of(sums.all_data, sums)
        half = None if sums.half_data is None else Contributions.of(sums.half_data, sums)
        self._half = half
        self._point = self._plug_in.extrapolated(half)

    def of(self, values: np.ndarray) -> Average:
        """Average one value a draw."""
        return average_draws(
            values,
            self.sums.control,
            self.draws.weights,
            self._inputs,
            self.rows.weights,
            self.rows.input_weights,
        )

    def of_rows(self, values: np.ndarray) -> Average:
        """Average one value a row, known without drawing."""
        if not np.isfinite(values).all():
            return Average(np.inf)
        at_draws = self.of(values[self.draws.rows])
        return replace(at_draws, mean=float(self.rows.weights @ values), integration=0.0)

    def plug_in(self, name: str) -> Average:
        """The plug-in value of a quantity."""
        average = self.of(getattr(self._plug_in, name))
        if self._exact is None:
            return average
        return replace(average, mean=getattr(self._exact, name), integration=0.0)

    def point(self, name: str) -> Average:
        """The value of a quantity with its bias of order 1/r removed."""
        if self._exact is None or self._half is None:
            return self.plug_in(name) if self._half is None else self.of(getattr(self._point, name))
        correction = self.of(getattr(self._plug_in, name) - getattr(self._half, name))
        plug_in = self.plug_in(name)
        return replace(
            plug_in, mean=plug_in.mean + correction.mean, integration=correction.integration
        )

    def largest_stderr(self) -> float:
        """The standard error that the tolerance is about."""
        names = ["mutual_info"] + (["label_mutual_info"] if self.rows.labels is not None else [])
        if self._exact is None:
            return max(self._integration_error(getattr(self._point, name)) for name in names)
        return max(self.point(name).integration for name in names)

    def _integration_error(self, values: np.ndarray) -> float:
        if not np.isfinite(values).all():
            return 0.0
        return integration_error(values, self.sums.control, self.draws.weights)[1]


@dataclass(frozen=True)
class Ends:
    """Lower and upper ends of the four quantities, each widened by its own error."""

    mutual_info: tuple[float, float]
    label_mutual_info: tuple[float, float]
    entropy: tuple[float, float]
    conditional_entropy: tuple[float, float]


def find_ends(
    averages: Averages, mixture: Mixture, population: bool, tol: float, n_jobs: int | None
) -> Ends:
    """The brackets: plug-in at one end, what never saw the own row or input at the other."""
    plug_in = {name: averages.plug_in(name) for name in QUANTITIES}
    lows: _Candidates = {name: [average] for name, average in plug_in.items()}
    highs = lows
    if mixture.rows.has_replicas:
        lower, upper = _with_replicas(averages, mixture, plug_in, tol, n_jobs)
        lows, highs = lows | lower, highs | upper
    if population:
        lower, upper = _of_population(averages, mixture, plug_in)
        lows, highs = lows | lower, highs | upper
    return Ends(
        **{
            name: (
                max(low.mean - low.margin(population=population) for low in lows[name]),
                min(high.mean + high.margin(population=population) for high in highs[name]),
            )
            for name in QUANTITIES
        }
    )


def _with_replicas(
    averages: Averages, mixture: Mixture, plug_in: dict[str, Average], tol: float,
    n_jobs: int | None,
) -> tuple[_Candidates, _Candidates]:  # fmt: skip
    """Lower and upper ends that leave the own row out."""
    sums = averages.sums
    out = Contributions.of(sums.without_own_row, sums)
    conditional_highs = [averages.of(out.conditional_entropy)]
    information_lows = [averages.of(-sums.all_data.total - out.conditional_entropy)]
    gaussians = InputGaussians.fit(mixture.in_subspace)
    if gaussians is not None:
        of_gaussians = averages.of_rows(own_row_out_entropies(gaussians, mixture.in_subspace))
        conditional_highs.append(of_gaussians)
        information_lows.append(plug_in["entropy"].plus(_negative(of_gaussians)))
    # A posterior needs equally many replicas of all inputs, else it is biased upwards.
    if np.ptp(mixture.rows.replicas) == 0:
        mixture_posterior = averages.of(out.mutual_info)
        information_lows.append(mixture_posterior)
        # The Gaussians cost as much as all the rest, and can only close a gap that is there.
        gap = plug_in["mutual_info"].mean - mixture_posterior.mean
        if gaussians is not None and gap > tol:
            information_lows += _gaussian_posteriors(averages, mixture, gaussians, n_jobs)
    lows = {
        "mutual_info": information_lows,
        "label_mutual_info": [averages.of(out.label_mutual_info)],
    }
    highs = {
        "entropy": [averages.of(out.entropy)],
        "conditional_entropy": conditional_highs,
    }
    return lows, highs


def _of_population(
    averages: Averages, mixture: Mixture, plug_in: dict[str, Average]
) -> tuple[_Candidates, _Candidates]:
    """Lower and upper ends that leave the own input out: others of the population are to come."""
    sums = averages.sums
    without = Contributions.of(sums.without_own_input, sums)
    rest = np.log1p(-np.minimum(sums.input_weight, 1 - 1e-16))
    log_input = -Contributions.of(sums.all_data, sums).conditional_entropy
    outside = averages.of_rows(own_input_out_entropies(mixture.in_subspace))
    within = _negative(plug_in["conditional_entropy"])
    # H(Y) + E log of a leave-one-out classifier, log p(y) kept with the draw it belongs to:
    # the classes of the population are sampled too.
    lows = {"label_mutual_info": [averages.of(without.label_mutual_info)]}
    highs = {
        "mutual_info": [averages.of(log_input + without.entropy + rest), outside.plus(within)],
        "entropy": [averages.of(without.entropy + rest), outside],
    }
    return lows, highs


def _negative(average: Average) -> Average:
    return replace(average, mean=-average.mean)


def _gaussian_posteriors(
    averages: Averages, mixture: Mixture, gaussians: InputGaussians, n_jobs: int | None
) -> list[Average]:
    """H(p) + E log q(x|t) for one Gaussian an input, and for half that and half the mixture."""
    sums, d = averages.sums, mixture.subspace.rank
    if not 0 < d <= MAX_POSTERIOR_DIMENSION:
        return []
    shape = averages.draws.rows.shape
    drawn, noise = averages.draws.rows.ravel(), averages.draws.noise.reshape(-1, d)
    own, others = (
        logs.reshape(shape)
        for logs in posterior_log_sums(gaussians, mixture.in_subspace, drawn, noise, n_jobs)
    )
    log_p = np.log(sums.input_weight)
    without = sums.without_own_row
    both_own = np.logaddexp(own, without.input)
    both_total = np.logaddexp(np.logaddexp(own, others), without.total)
    return [
        averages.of(own - np.logaddexp(own, others) - log_p),
        averages.of(both_own - both_total - log_p),
    ]
