"""One layer, measured with noise of many sigmas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import StrOptions, validate_parameter_constraints

from skinfo._numba import ONE_BLAS_THREAD
from skinfo._rows import Rows, check_list, check_rows
from skinfo._torch import device_for
from skinfo.noise import NOISES, AdditiveNoise, make_noise
from skinfo.noisy.effective_dimension import effective_dimension
from skinfo.noisy.estimator import NoisyMIEstimator
from skinfo.noisy.information import measure_mixture, noted_at_an_end
from skinfo.noisy.mixture import Mixture
from skinfo.quantities import CURVE_COLUMNS, Quantity, nats_to

_INFORMATION = {"mutual_info", "label_mutual_info"}
# Each information with what it cannot exceed, and what of it no sigma takes away.
_MEASURED = (
    "mutual_info", "ceiling", "pattern_information", "label_mutual_info", "label_ceiling",
    "label_log_classes", "label_pattern_information", "effective_dimension",
)  # fmt: skip

# Sums of rows in single precision are right to about that, in nats.
_SLACK = 2e-4


def sigma_curve(
    X: Any,
    y: Any = None,
    *,
    sigmas: Any,
    unit: str = "activations",
    noise: str = "additive",
    sample_weight: Any = None,
    clusters: Any = None,
    tol: float = 0.01,
    population: bool = False,
    units: str = "nats",
    max_evaluations: int = 2**20,
    n_jobs: int | None = None,
    random_state: int | np.random.RandomState | None = None,
    device: Any = None,
) -> pd.DataFrame:
    r"""Measure one layer at every sigma of a list, or at every rate of Gaussian dropout.

    A layer outputs S, and for the measurement alone Gaussian noise of a declared standard deviation
    is added to it, :math:`T = S + \sigma Z`. As S is a function of the input X,

    .. math:: I(X;T) = I(S; S + \sigma Z), \qquad I(Y;T) = I(Y; S + \sigma Z)

    against :math:`\sigma`, both estimated as by :class:`skinfo.NoisyMIEstimator` without groups.
    Such a network has no sigma of its own and no single one is right: a statement about it holds
    for the sigmas at which its curve says so. Other noise than additive takes its place by
    ``noise``: with ``sigmas=dropout_sigma(rates)`` and "multiplicative" the curve is one over the
    rates of :func:`skinfo.noise.dropout_sigma`.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_units)
        Activations S of the layer (not the network's input), one row per input.
    y : array-like of shape (n_samples,), default=None
        Label of each row's input.
    sigmas : array-like of shape (n_sigmas,)
        Standard deviations of the noise, all different; of additive noise in ``unit``.
    unit : {"activations", "rms"}, default="activations"
        What sigmas of additive noise count: the activations' own unit, or the root mean square
        deviation of the layer's rows, see the notes.
    noise : {"additive", "multiplicative", "lognormal"} or str, default="additive"
        Noise of one parameter, see :func:`skinfo.noise.make_noise`.
    sample_weight : array-like of shape (n_samples,), default=None
        Probability of each row's input, up to a factor. Zero drops a row.
    clusters : array-like of shape (n_samples,), default=None
        For ``population=True``: what each row was drawn together with; None: every input was
        drawn by itself.
    tol : float, default=0.01
        Standard error of the integration to reach at each sigma, in ``units``.
    population : bool, default=False
        False: the inputs at hand are all there are. True: they were drawn from a larger
        population; the bracket then allows for the inputs that were not drawn.
    units : {"nats", "bits"}, default="nats"
        Unit of every information.
    max_evaluations : int, default=2**20
        Most points at which the mixture is evaluated, for each sigma.
    n_jobs : int or None, default=None
        Threads; the result does not depend on it.
    random_state : int, RandomState instance or None, default=None
        Seed of the draws, the same for all sigmas.
    device : str or torch.device, default=None
        Where the sums over pairs are computed, as for :class:`skinfo.NoisyMIEstimator`.

    Returns
    -------
    pandas.DataFrame
        Columns sigma, quantity, value, stderr, lower, upper, unit, notes; sigmas in the order
        given. The quantities are mutual_info and ceiling, with y also label_mutual_info and
        label_ceiling, and of a population label_log_classes; with noise that leaves zeros or signs
        as they are also pattern_information and label_pattern_information, what these tell by
        themselves; with additive noise effective_dimension, see the notes. Of other noise than
        additive a column noise names it; with ``unit="rms"`` a column rms holds the unit, so that
        sigma times rms is in that of the activations. A note is made of words from
        :data:`skinfo.quantities.NOTES`, joined by "; ": "saturated" takes the place of a
        SaturationWarning.

    Raises
    ------
    ValueError
        For no sigma, one that is not positive and finite, one given twice, noise that is unknown or
        has two parameters ("affine"), a parameter out of its range, ``unit="rms"`` of other noise
        than additive or of rows that are all the same, and the input errors of
        :class:`skinfo.NoisyMIEstimator`.

    See Also
    --------
    skinfo.sigma_curves : Every layer of a run at every checkpoint.

    Notes
    -----
    Every sigma meets the same draws of (row, Z), common random numbers: neighbouring points err
    alike, and the curve is smoother than its standard errors. More additive noise, and more
    log-normal noise, knows less: T of the larger sigma is T of the smaller one and independent
    noise. There a lower end holds at every smaller sigma and an upper end at every larger one, so
    ends are moved to the best of these, and a value with them only where it would lie outside. Of
    multiplicative noise that is not known (what is to be added depends on S, which T hides), and
    its ends stay as measured. Else a point is what
    NoisyMIEstimator gives with this sigma and seed, to the last bit, unless exact ties between
    coordinates, or directions that drown in larger noise, would make it order the rows in another
    way there: then the two differ by their errors.

    With additive noise the slope of I(S;T) against the logarithm of sigma is measured as well,

    .. math:: \frac{dI(S;T)}{d \log(1/\sigma)} = E |S - E[S|T]|^2 / \sigma^2 ,

    how many directions are resolved at this scale: one for each in which the rows lie closer than
    sigma and reach farther than it, none where all are told apart or all are drowned. That error
    grows with sigma, which bounds the difference of the plug-in values at neighbouring sigmas from
    both sides. Where they part from that beyond their errors, both carry the note "slope differs".
    Of a population the upper end is the error of guesses that never saw the row; the value is that
    of the rows at hand, which lies too low in many dimensions.

    Two layers, or one layer before and after its activations grew, are not comparable at the same
    sigma: the factor that scales the activations shifts the curve along a logarithmic axis. With
    ``unit="rms"`` it does not: sigmas are then multiples of

    .. math:: \sqrt{\frac{1}{d} \sum_{j=1}^d \operatorname{Var}(S_j)} ,

    the root mean square over the d units, and over the (weighted) rows, of the deviation from the
    unit's own mean: an offset carries no information.

    References
    ----------
    Goldfeld, van den Berg, Greenewald, Melnyk, Nguyen, Kingsbury, Polyanskiy, "Estimating
    Information Flow in Deep Neural Networks", ICML 2019, equations (9) and (10). Guo, Shamai,
    Verdu, "Mutual Information and Minimum Mean-Square Error in Gaussian Channels", IEEE
    Transactions on Information Theory 2005, theorem 1, for the slope.

    Examples
    --------
    Two points, the binary-input Gaussian channel:

    >>> from skinfo import sigma_curve
    >>> curve = sigma_curve([[-1.0], [1.0]], sigmas=[0.25, 1.0], random_state=0)
    >>> curve[["sigma", "quantity", "value"]].round(2)
       sigma             quantity  value
    0   0.25          mutual_info   0.69
    1   0.25              ceiling   0.69
    2   0.25  effective_dimension   0.00
    3   1.00          mutual_info   0.34
    4   1.00              ceiling   0.35
    5   1.00  effective_dimension   0.45

    Dropout leaves exactly zero what is zero, so that half of the inputs are told apart for good:

    >>> from skinfo.noise import dropout_sigma
    >>> relu, rates = [[0.0], [0.0], [1.0], [2.0]], [0.1, 0.5]
    >>> sigmas = dropout_sigma(rates)
    >>> curve = sigma_curve(relu, sigmas=sigmas, noise="multiplicative", random_state=0)
    >>> curve[["sigma", "quantity", "value", "noise"]].round(4)
        sigma             quantity   value           noise
    0  0.3333          mutual_info  0.8687  multiplicative
    1  0.3333              ceiling  0.9094  multiplicative
    2  0.3333  pattern_information  0.6931  multiplicative
    3  1.0000          mutual_info  0.7572  multiplicative
    4  1.0000              ceiling  0.7728  multiplicative
    5  1.0000  pattern_information  0.6931  multiplicative
    """
    measured = SigmaCurve(
        sigmas,
        unit=unit,
        noise=noise,
        tol=tol,
        population=population,
        units=units,
        max_evaluations=max_evaluations,
        n_jobs=n_jobs,
        random_state=random_state,
        device=device,
    ).fit(X, y, sample_weight=sample_weight, clusters=clusters)
    table = [
        {"sigma": sigma} | quantity.cells()
        for sigma, quantities in measured.curve_.items()
        for quantity in quantities
    ]
    curve = pd.DataFrame(table, columns=list(CURVE_COLUMNS))
    curve = curve if noise == "additive" else curve.assign(noise=noise)
    return curve if unit == "activations" else curve.assign(rms=measured.rms_)


class SigmaCurve(BaseEstimator):
    """What :func:`sigma_curve` measures, as an estimator that a sweep of a run can fit.

    Attributes
    ----------
    curve_ : dict of float to list of Quantity
        What was measured at each sigma, in the order given.
    rms_ : float
        Root mean square deviation of the rows; NaN with ``unit="activations"``.
    quantities_ : tuple of Quantity
        All of it, each named with its sigma, as :func:`split_sigma` takes apart, and rms.
    """

    #: Rows of a sequence's tokens come with their clusters, as for NoisyMIEstimator.
    uses_replicas: ClassVar[bool] = True
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "sigmas": ["array-like"],
        "unit": [StrOptions({"activations", "rms"})],
    } | {
        name: NoisyMIEstimator._parameter_constraints[name]
        for name in (
            "noise", "tol", "population", "units", "max_evaluations", "n_jobs", "random_state",
            "device",
        )
    }  # fmt: skip

    def __init__(
        self,
        sigmas: Any,
        *,
        unit: str = "activations",
        noise: str = "additive",
        tol: float = 0.01,
        population: bool = False,
        units: str = "nats",
        max_evaluations: int = 2**20,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        device: Any = None,
    ) -> None:
        self.sigmas = sigmas
        self.unit = unit
        self.noise = noise
        self.tol = tol
        self.population = population
        self.units = units
        self.max_evaluations = max_evaluations
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.device = device

    def check_settings(self) -> list[float]:
        """Check the parameters, each and together; return the sigmas as numbers."""
        validate_parameter_constraints(
            # What is no list has a message of its own.
            {
                name: kinds
                for name, kinds in self._parameter_constraints.items()
                if name != "sigmas"
            },
            {name: value for name, value in self.get_params().items() if name != "sigmas"},
            "sigma_curve",
        )
        parameters = NOISES[self.noise].parameters if self.noise in NOISES else ()
        if len(parameters) > 1:
            raise ValueError(
                f"noise={self.noise!r} has {len(parameters)} parameters "
                f"({', '.join(parameters)}), and a curve is against one; measure each choice of "
                "them with NoisyMIEstimator."
            )
        check = partial(_checked, self.noise)
        declared = check_list(self.sigmas, "sigmas", "standard deviations", check)
        if self.unit == "rms" and self.noise != AdditiveNoise.name:
            raise ValueError(
                f"unit='rms' is for additive noise; sigma of {self.noise} noise has no unit."
            )
        return declared

    @ONE_BLAS_THREAD
    def fit(
        self,
        X: Any,
        y: Any = None,
        groups: Any = None,
        sample_weight: Any = None,
        clusters: Any = None,
    ) -> SigmaCurve:
        """Measure the rows of a layer at every sigma."""
        declared = self.check_settings()
        place = device_for(self.device, X=X, y=y, sample_weight=sample_weight, clusters=clusters)
        if groups is not None:
            X, y, clusters = _first_of_each(groups, X, y, clusters)
        checking = NoisyMIEstimator(population=self.population)
        rows = check_rows(checking, X, y, None, sample_weight, clusters=clusters)
        factor = rows.scale_of(self.unit)
        self.rms_ = factor if self.unit == "rms" else np.nan
        sigmas = {sigma: sigma * factor for sigma in declared}
        measured = _measured_at(
            rows, list(sigmas.values()), self.noise, device=place,
            tol=self.tol / nats_to(self.units), population=self.population,
            max_evaluations=self.max_evaluations, n_jobs=self.n_jobs,
            seed=int(check_random_state(self.random_state).randint(2**31 - 1)),
        )  # fmt: skip
        self.curve_ = {
            sigma: [
                measured[own][name].in_units(self.units)
                for name in _MEASURED
                if name in measured[own]
            ]
            for sigma, own in sigmas.items()
        }
        self.quantities_ = (
            *(
                replace(quantity, name=f"{quantity.name} [{sigma!r}]")
                for sigma, quantities in self.curve_.items()
                for quantity in quantities
            ),
            Quantity.exact("rms", self.rms_, ""),
        )
        return self


def _first_of_each(groups: Any, X: Any, *beside: Any) -> tuple[Any, ...]:
    """One row of each input, of which all are the same before any noise."""
    _, first, inputs = np.unique(groups, return_index=True, return_inverse=True)
    if not np.array_equal(X, X[first][inputs]):
        raise ValueError(
            "a curve against sigma is of a layer that is a function of its input, and rows of "
            "one input differ here; NoisyMIEstimator measures replicas."
        )
    return (X[first], *(None if one is None else one[first] for one in beside))


def split_sigma(name: str) -> tuple[str, float]:
    """Take the name of a quantity of :class:`SigmaCurve` apart: what it is, and at which sigma.

    Examples
    --------
    >>> split_sigma("mutual_info [0.1]")
    ('mutual_info', 0.1)
    """
    quantity, _, sigma = name.partition(" [")
    return quantity, float(sigma.rstrip("]"))


def _measured_at(
    rows: Rows, sigmas: list[float], noise: str, *, device: Any, **options: Any
) -> dict[float, dict[str, Quantity]]:
    """Measure rows at every sigma, in nats, and what the sigmas say of one another."""
    n_jobs = options["n_jobs"]
    # The smallest sigma resolves the most directions.
    order = Mixture.of(rows, make_noise(noise, min(sigmas)), n_jobs=n_jobs).order
    found, slopes = {}, {}
    for sigma in sigmas:
        mixture = Mixture.of(rows, make_noise(noise, sigma), order, device=device, n_jobs=n_jobs)
        found[sigma] = measure_mixture(mixture, **options).quantities
        if noise == AdditiveNoise.name:
            slopes[sigma] = effective_dimension(mixture, **options)
    processed = {sigma: {q.name: q for q in quantities} for sigma, quantities in found.items()}
    # Then noise of a larger sigma is that of a smaller one and more.
    if NOISES[noise].adds_up:
        processed = _obey_data_processing(found, population=options["population"])
    for sigma, slope in slopes.items():
        processed[sigma][slope.name] = slope
    for sigma in _contradictions(found, slopes):
        for name in ("mutual_info", "effective_dimension"):
            processed[sigma][name] = processed[sigma][name].noted("slope differs")
    return processed


def _checked(noise: str, sigma: float) -> float:
    return float(make_noise(noise, sigma).sigmas[0])


def _obey_data_processing(
    found: Mapping[float, Iterable[Quantity]], *, population: bool
) -> dict[float, dict[str, Quantity]]:
    """More noise knows less: what holds at one sigma bounds the information at others.

    A lower end holds at every smaller sigma, an upper end at every larger one.
    """
    tightened = {sigma: {q.name: q for q in found[sigma]} for sigma in sorted(found)}
    curves = list(tightened.values())
    for name in _INFORMATION & curves[0].keys():
        points = [curve[name] for curve in curves]
        lower = np.maximum.accumulate([q.lower for q in reversed(points)])[::-1]
        upper = np.minimum.accumulate([q.upper for q in points])
        # Ends that cross, by their errors, span the bracket all the same.
        ends = np.sort([lower, upper], axis=0)
        values = np.clip([q.value for q in points], *ends)
        for curve, value, low, high in zip(curves, values, *ends, strict=True):
            point = replace(curve[name], value=float(value), lower=float(low), upper=float(high))
            curve[name] = noted_at_an_end(point) if population else point
    return tightened


def _contradictions(
    found: Mapping[float, Iterable[Quantity]], slopes: Mapping[float, Quantity]
) -> set[float]:
    """Sigmas between two of which the slope cannot be that of the plug-in I(X;T).

    The mean squared error grows with sigma. So between neighbours a < b, with D the slopes,

        D(a) (1 - a^2 / b^2) / 2  <=  I(a) - I(b) = integral of D  <=  D(b) (b^2 / a^2 - 1) / 2

    whatever the law, and no rule of quadrature has to be trusted.
    """
    plug_ins = {sigma: next(q for q in found[sigma] if q.name == "plug_in") for sigma in slopes}
    wrong: set[float] = set()
    for near, far in pairwise(sorted(slopes)):
        more, less = plug_ins[near], plug_ins[far]
        least = slopes[near].lower * (1 - (near / far) ** 2) / 2
        most = slopes[far].upper * ((far / near) ** 2 - 1) / 2
        above = least - (more.upper - less.lower)
        below = (more.lower - less.upper) - most
        if max(above, below) > _SLACK:
            wrong |= {near, far}
    return wrong
