"""LabelMIEstimator: what a noisy layer knows of the label, and nothing else, in closed form."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.extmath import randomized_svd

from skinfo._numba import ONE_BLAS_THREAD
from skinfo._rows import Rows, check_rows
from skinfo.noise import AdditiveNoise
from skinfo.noisy.brackets import sampled_label_entropy
from skinfo.noisy.estimator import checked_noise
from skinfo.noisy.folds import N_FOLDS, assign_folds
from skinfo.noisy.information import noted_at_an_end
from skinfo.noisy.predictors import (
    FEWEST_INPUTS,
    FEWEST_OF_SHAPE,
    FEWEST_PERMUTATIONS,
    MOST_SHAPES,
    PredictedLabels,
    cross_fitted_gains,
    gaussian_posteriors,
    missed_by,
    permute_labels,
)
from skinfo.noisy.sampling import Average
from skinfo.quantities import Quantity, notes_of

# Predictors see so many directions, those in which noisy rows vary most.
_MOST_DIRECTIONS = 128
# Gaussian posteriors are raised to these powers: of real rows they are surer than they may be.
_POWERS = (1.0, 0.3, 0.1)


class LabelMIEstimator(BaseEstimator):
    r"""I(Y;T) of a population, by predictors of the label alone: an end, a ceiling and a null.

    A layer outputs S, and T = S + sigma Z with Z standard normal. For any q(y|t) that never saw the
    label of the rows it is tested on,

    .. math:: E \log \frac{q(Y|T)}{p(Y)} \leq I(Y;T) \leq H(Y)

    whatever the number of units, so that the lower end is certified where I(X;T) is out of reach.
    The predictors are Gaussians of the classes, with one covariance and with their own, so cheap
    that labels can be permuted. :class:`skinfo.NoisyMIEstimator` with ``population=True`` brackets
    I(Y;T) more narrowly with more predictors, beside I(X;T), and takes minutes in hundreds of
    units.

    Parameters
    ----------
    sigma : float, default=0.5
        Standard deviation of the noise, in ``sigma_unit``.
    sigma_unit : {"activations", "rms"}, default="activations"
        What sigma counts: the unit of the activations, or the root mean square deviation of the
        rows from their mean, of a unit on average.
    max_inputs : int or None, default=4096
        Most inputs that are measured; of more a random sample, noted "sampled". None: all.
    n_permutations : int, default=19
        How often the labels are permuted, 19 or more, to see what the predictors find where there
        is no information; 0: never.
    units : {"nats", "bits"}, default="nats"
        Unit of the information.
    n_jobs : int or None, default=None
        Threads; the result does not depend on it.
    random_state : int, RandomState instance or None, default=None
        Seed of sample, noise, folds and permutations.

    Attributes
    ----------
    label_mutual_info_ : float
        What predictors fitted to other inputs gain over guessing, within ``bracket_``.
    stderr_ : float
        Its standard error over inputs, or clusters of them, and their noise.
    bracket_ : tuple of float
        (lower, upper) end of I(Y;T): the gain less its 95 % error, at least 0, and H(Y). The
        error holds what three wrong predictions, none of which was seen, would cost: 3 log(n) / n
        of n inputs, or clusters, also where all labels are told.
    ceiling_ : float
        H(Y), of the population, an estimate.
    p_value_ : float or None
        One and the number of permutations that gain as much, over one and their number.
    sigma_ : float
        Standard deviation of the noise in the unit of the activations.
    notes_ : tuple of str
        Words from :data:`skinfo.quantities.NOTES`.
    quantities_ : tuple of Quantity
        label_mutual_info, label_ceiling, and with permutations label_gain, label_null and
        label_p_value; the attributes are views of them.

    Notes
    -----
    One draw of T is made of each row. The directions that the predictors see are found from all
    draws without labels: a q that knows other draws of T, but not their labels, keeps the
    inequality. Posteriors of other folds are mixed with the frequencies of the classes, with
    weights found on rows that the predictors did not see, and one that is of no use costs nothing.
    The bracket is wide where classes are not told apart by Gaussians: the upper end is H(Y).

    References
    ----------
    Barber and Agakov, "The IM Algorithm", NIPS 2003; Phipson and Smyth, "Permutation P-values
    Should Never Be Zero", 2010.

    Examples
    --------
    Two classes far apart, in 100 units; the truth is log 2 = 0.6931:

    >>> import numpy as np
    >>> from skinfo import LabelMIEstimator
    >>> rng = np.random.default_rng(0)
    >>> y = np.arange(400) % 2
    >>> S = 3.0 * y[:, None] + rng.normal(size=(400, 100))
    >>> est = LabelMIEstimator(0.5, sigma_unit="rms", random_state=0).fit(S, y)
    >>> [round(end, 2) for end in est.bracket_], est.p_value_
    ([0.65, 0.69], 0.05)
    >>> LabelMIEstimator(0.5, random_state=0).fit(S, rng.permutation(y)).bracket_[0]
    0.0
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "sigma": [Interval(Real, 0, None, closed="neither")],
        "sigma_unit": [StrOptions({"activations", "rms"})],
        "max_inputs": [Interval(Integral, FEWEST_INPUTS, None, closed="left"), None],
        "n_permutations": [Interval(Integral, 0, None, closed="left")],
        "units": [StrOptions({"nats", "bits"})],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    #: Rows of one group are replicas of an input, and are measured as such.
    uses_replicas: ClassVar[bool] = True
    #: It asks about the population that the inputs were drawn from.
    population: ClassVar[bool] = True
    #: Peak memory of a fit, in copies of the layer in double precision.
    memory_factor: ClassVar[float] = 3.0

    def __init__(
        self,
        sigma: float = 0.5,
        *,
        sigma_unit: str = "activations",
        max_inputs: int | None = 4096,
        n_permutations: int = FEWEST_PERMUTATIONS,
        units: str = "nats",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.sigma = sigma
        self.sigma_unit = sigma_unit
        self.max_inputs = max_inputs
        self.n_permutations = n_permutations
        self.units = units
        self.n_jobs = n_jobs
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags

    @_fit_context(prefer_skip_nested_validation=True)
    @ONE_BLAS_THREAD
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        groups: Any = None,
        sample_weight: Any = None,
        clusters: Any = None,
    ) -> LabelMIEstimator:
        """Predict the labels of rows from the noisy rows of other inputs.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_units)
            Activations before this layer's noise (S, not the network's input).
        y : array-like of shape (n_samples,)
            Label of each row's input.
        groups : array-like of shape (n_samples,), default=None
            Input of each row; rows of one group are replicas of it. None: every row is an input.
        sample_weight : array-like of shape (n_samples,), default=None
            Probability of each row's input, up to a factor; equal within a group. Zero drops a row.
        clusters : array-like of shape (n_samples,), default=None
            What each row was drawn together with, such as its sequence; None: every input was
            drawn by itself.

        Returns
        -------
        LabelMIEstimator
            The estimator itself.

        Raises
        ------
        ValueError
            Without y, for fewer than 19 permutations, rows that are all the same with
            ``sigma_unit="rms"``, or for the input errors named in the message.
        """
        self.check_settings()
        if y is None:
            raise ValueError(
                "LabelMIEstimator requires y to be passed, but the target y is None: it measures "
                "what rows tell of their labels."
            )
        rows = check_rows(self, X, y, groups, sample_weight, clusters=clusters)
        self.sigma_ = self.sigma * rows.scale_of(self.sigma_unit)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        members = rows.sampled(self.max_inputs, seed)
        points = rows.points
        # Rows are copied once, with their noise.
        part = replace(rows, points=points[:, :0]).part(members)
        predicted = self._predict(part, points, members, seed)
        counts = part.inputs_of_labels
        assert part.label_weights is not None
        assert counts is not None
        ceiling = sampled_label_entropy(part, part.label_weights, counts)
        lower = float(np.clip(predicted.lower, 0.0, ceiling.upper))
        value = float(np.clip(predicted.gain.mean, lower, ceiling.upper))
        stderr = predicted.gain.integration
        label = Quantity(
            "label_mutual_info", value, stderr, lower, ceiling.upper, stderr_other_inputs=0.0
        )  # fmt: skip
        label = noted_at_an_end(label)
        if predicted.indistinguishable:
            label = label.noted("indistinguishable from no information")
        found = (label, ceiling, *predicted.quantities)
        if members is not None:
            found = tuple(quantity.noted("sampled") for quantity in found)
        self.quantities_ = tuple(quantity.in_units(self.units) for quantity in found)
        label, ceiling = self.quantities_[:2]
        self.label_mutual_info_, self.stderr_ = label.value, label.stderr
        self.bracket_, self.ceiling_ = (label.lower, label.upper), ceiling.value
        self.p_value_ = predicted.p_value if self.n_permutations else None
        self.notes_ = notes_of(self.quantities_)
        return self

    def check_settings(self) -> None:
        """Check what can be wrong whatever the activations.

        Raises
        ------
        ValueError
            For fewer permutations than can show anything.
        """
        checked_noise(AdditiveNoise.name, self.sigma)
        if 0 < self.n_permutations < FEWEST_PERMUTATIONS:
            raise ValueError(
                f"n_permutations={self.n_permutations} cannot show that a gain is more than chance "
                f"at 5 %; take {FEWEST_PERMUTATIONS} or more, or 0."
            )

    def _predict(
        self, rows: Rows, points: np.ndarray, members: np.ndarray | None, seed: int
    ) -> PredictedLabels:
        """Gains of predictors over guessing, at one draw of each row, a member of ``points``."""
        # The folds are drawn from the seed itself: permutations must not repeat them.
        rng = np.random.default_rng([seed, 1])
        labels = rows.required_labels()
        every = np.stack([labels, *(permute_labels(rows, rng) for _ in range(self.n_permutations))])
        gains = np.zeros(every.shape)
        if len(rows.independent_weights) >= FEWEST_INPUTS and labels.max() > 0:
            T = _main_directions(_noisy(points, members, self.sigma_, rng), seed)

            def predict(members: np.ndarray, tested: np.ndarray, _: tuple[int, ...]) -> np.ndarray:
                return np.array(
                    [_own_posteriors(T, rows, codes, members, tested) for codes in every]
                )

            gains = cross_fitted_gains(
                rows, every, assign_folds(rows, seed), np.arange(len(T)), predict, N_FOLDS,
                self.n_jobs,
            )  # fmt: skip
        means = gains @ rows.weights
        gain = Average(float(means[0]), rows.error_of_mean(gains[0]))
        return PredictedLabels(gain, means[1:], missed_by(rows))


def _noisy(
    points: np.ndarray, members: np.ndarray | None, sigma: float, rng: np.random.Generator
) -> np.ndarray:
    """A draw of T of some rows, None for all, in single precision, less the mean of all rows."""
    mean = points.mean(axis=0, dtype=np.float64)
    some = np.arange(len(points)) if members is None else members
    noisy = np.empty((len(some), points.shape[1]), dtype=np.float32)
    for row, member in zip(noisy, some, strict=True):
        row[:] = points[member] - mean
        row += np.float32(sigma) * rng.standard_normal(len(row), dtype=np.float32)
    return noisy


def _main_directions(noisy: np.ndarray, seed: int) -> np.ndarray:
    """The coordinates in which rows vary most, of all directions where they are few."""
    if noisy.shape[1] <= _MOST_DIRECTIONS:
        return noisy.astype(np.float64)
    few = min(_MOST_DIRECTIONS, len(noisy))
    left, lengths, _ = randomized_svd(noisy, few, random_state=seed)
    return np.asarray(left * lengths, dtype=np.float64)


def _own_posteriors(
    T: np.ndarray, rows: Rows, labels: np.ndarray, members: np.ndarray, tested: np.ndarray
) -> np.ndarray:
    """Posteriors of the own label, by predictors fitted to others, (n_predictors, n_tested)."""
    weights = rows.weights[members] / rows.weights[members].sum()
    n_inputs, n_labels = len(np.unique(rows.independent[members])), int(labels.max()) + 1
    counts = np.bincount(labels[members], weights, n_labels) * n_inputs
    own = labels[tested]
    frequencies = ((counts + 0.5) / (n_inputs + 0.5 * n_labels))[own]
    own_shapes = n_labels <= min(MOST_SHAPES, len(rows.independent_weights) / FEWEST_OF_SHAPE)
    posteriors = [frequencies] * (1 + len(_POWERS) * (1 + own_shapes))
    if np.count_nonzero(counts) > 1 and len(tested):
        no_more = np.zeros((T.shape[1], T.shape[1]))
        posteriors[1:] = gaussian_posteriors(
            T[members], no_more, labels[members], weights, counts, T[tested], own, own_shapes,
            _POWERS,
        )  # fmt: skip
    return np.array(posteriors)
