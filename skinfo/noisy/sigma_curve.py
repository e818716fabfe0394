"""One layer, measured with noise of many sigmas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import validate_parameter_constraints

from skinfo._numba import ONE_BLAS_THREAD
from skinfo._rows import check_list, check_rows
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


@ONE_BLAS_THREAD
def sigma_curve(
    X: Any,
    y: Any = None,
    *,
    sigmas: Any,
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
        Standard deviations of the noise, all different; of additive noise in the units of the
        activations.
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
        additive a column noise names it. A note is made of words from
        :data:`skinfo.quantities.NOTES`, joined by "; ": "saturated" takes the place of a
        SaturationWarning.

    Raises
    ------
    ValueError
        For no sigma, one that is not positive and finite, one given twice, noise that is unknown or
        has two parameters ("affine"), a parameter out of its range, and the input errors of
        :class:`skinfo.NoisyMIEstimator`.

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
    sigma: the factor that scales the activations shifts the curve along a logarithmic axis.

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
    estimator = NoisyMIEstimator(
        noise=noise,
        tol=tol,
        population=population,
        max_evaluations=max_evaluations,
        units=units,
        n_jobs=n_jobs,
        random_state=random_state,
        device=device,
    )
    validate_parameter_constraints(
        NoisyMIEstimator._parameter_constraints, estimator.get_params(), "sigma_curve"
    )
    parameters = NOISES[noise].parameters if noise in NOISES else ()
    if len(parameters) > 1:
        raise ValueError(
            f"noise={noise!r} has {len(parameters)} parameters ({', '.join(parameters)}), and a "
            "curve is against one; measure each choice of them with NoisyMIEstimator."
        )
    declared = check_list(sigmas, "sigmas", "standard deviations", partial(_checked, noise))
    place = device_for(device, X=X, y=y, sample_weight=sample_weight, clusters=clusters)
    rows = check_rows(estimator, X, y, None, sample_weight, clusters=clusters)
    seed = int(check_random_state(random_state).randint(2**31 - 1))
    # The smallest sigma resolves the most directions.
    order = Mixture.of(rows, make_noise(noise, min(declared)), n_jobs=n_jobs).order
    options: dict[str, Any] = {
        "tol": tol / nats_to(units),
        "population": population,
        "max_evaluations": max_evaluations,
        "seed": seed,
        "n_jobs": n_jobs,
    }
    found, slopes = {}, {}
    for sigma in declared:
        mixture = Mixture.of(rows, make_noise(noise, sigma), order, device=place, n_jobs=n_jobs)
        found[sigma] = measure_mixture(mixture, **options).quantities
        if noise == AdditiveNoise.name:
            slopes[sigma] = effective_dimension(mixture, **options)
    processed = {sigma: {q.name: q for q in quantities} for sigma, quantities in found.items()}
    # Then noise of a larger sigma is that of a smaller one and more.
    if NOISES[noise].adds_up:
        processed = _obey_data_processing(found, population=population)
    for sigma, slope in slopes.items():
        processed[sigma][slope.name] = slope
    for sigma in _contradictions(found, slopes):
        for name in ("mutual_info", "effective_dimension"):
            processed[sigma][name] = processed[sigma][name].noted("slope differs")
    table = [
        {"sigma": sigma} | processed[sigma][name].in_units(units).cells()
        for sigma in declared
        for name in _MEASURED
        if name in processed[sigma]
    ]
    curve = pd.DataFrame(table, columns=list(CURVE_COLUMNS))
    return curve if noise == "additive" else curve.assign(noise=noise)


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
