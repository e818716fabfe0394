"""SlicedMIEstimator: what random directions of a noisy layer know, on average and at best."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skinfo._numba import ONE_BLAS_THREAD
from skinfo._rows import check_activations, check_rows
from skinfo.noise import AdditiveNoise
from skinfo.noisy.estimator import checked_noise
from skinfo.noisy.layout import RESOLVED
from skinfo.quantities import COLUMNS, nats_to, notes_of
from skinfo.sliced.slices import Layer, cross_information_of_slices, measure_slices

_COLUMNS = COLUMNS[COLUMNS.index("quantity") :]


class SlicedMIEstimator(BaseEstimator):
    r"""Sliced information of a noisy layer: the mean of what its one-dimensional projections know.

    A layer outputs S, and T = S + sigma Z with Z standard normal. Along a direction theta, uniform
    on the unit sphere, T has Gaussian noise again, and

    .. math:: SI(X;T) = E_\theta I(X; \theta^\top T), \qquad
       SI(Y;T) = E_\theta I(Y; \theta^\top T), \qquad
       \theta^\top T = \theta^\top S + \sigma Z'

    needs no number of rows that grows with the number of units: every slice is integrated by
    quadrature, and the only error is over slices. Slices are uniform directions, orthogonal to each
    other in blocks, as many as ``tol`` needs; for one ``random_state`` they are the same at all
    checkpoints and in all layers of one width, so that differences are paired. With
    ``n_directions=k`` theta is a k-dimensional frame (uniform on the Stiefel manifold), measured as
    a layer of k units by :class:`skinfo.NoisyMIEstimator`.

    It is no estimate of I(X;T), which is larger, but a number of its own: zero where T and X are
    independent and only there. Beside it stands its own ceiling, and the best slice: one that was
    found on one half of the rows and measured on the other is a lower end of I itself.

    Parameters
    ----------
    sigma : float, array-like of shape (n_units,) or None, default=0.1
        Standard deviation of this layer's noise, of all units or of each. None means the run's own,
        layer by layer, and is understood by ``information_flow`` alone.
    sigma_unit : {"activations", "rms"}, default="activations"
        What sigma counts: the unit of the activations, or the root mean square deviation of the
        rows from their mean, of a unit on average.
    max_inputs : int or None, default=None
        Most inputs that are measured; of more a random sample, noted "sampled". None: all.
    noise : str, default="additive"
        Slices of other noise than additive are not Gaussian, and it is a ValueError.
    n_directions : int, default=1
        Directions of each slice, k.
    tol : float, default=0.01
        Standard error over slices to reach, in ``units``.
    population : bool, default=False
        False: the inputs at hand are all there are. True: they were drawn independently from a
        larger population, which the brackets then allow for.
    max_slices : int, default=4096
        Most slices.
    units : {"nats", "bits"}, default="nats"
        Unit of every information.
    n_jobs : int or None, default=None
        Threads; the result does not depend on it.
    random_state : int, RandomState instance or None, default=None
        Seed of the slices.

    Attributes
    ----------
    sliced_mutual_info_, stderr_, bracket_, ceiling_ : float, float, tuple of float, float
        SI(X;T), its standard error over slices, its bracket, and what it cannot exceed: the smaller
        of H(X) and what slices of a Gaussian layer with this covariance know,
        ``E 1/2 log(1 + theta'C theta / sigma^2)``; of a population that with the error of the
        covariance, as its bracket in ``quantities_`` says.
    sliced_label_mutual_info_, label_stderr_, label_bracket_, label_ceiling_ :
        float, float, tuple of float, float
        The same of SI(Y;T); None without y. The ceiling is H(Y).
    best_slice_mutual_info_, best_slice_label_mutual_info_ : float
        Information of the best slices found; the lower ends of their brackets in ``quantities_``
        are lower ends of I(X;T) and I(Y;T). None without y for the latter.
    best_slice_, best_label_slice_ : ndarray of shape (n_units, n_directions)
        Their directions, orthonormal.
    slices_ : ndarray of shape (n_slices, n_units, n_directions)
        The random slices.
    slice_mutual_info_ : ndarray of shape (n_slices,)
        I(X; theta'T) of each.
    converged_ : bool
        Whether the standard errors fell below ``tol``.
    notes_ : tuple of str
        Words from :data:`skinfo.quantities.NOTES`.
    quantities_ : tuple of Quantity
        All numbers with unit, error and bracket; the other attributes are views of them.

    Notes
    -----
    In d units a slice of a layer of bounded size knows O(1/d): read the value beside its ceiling,
    and compare only layers of one width. Between two Gaussian views of one vector, however equal,
    sliced information saturates at ``[psi(d / 2) - psi((d - 1) / 2)] / 2``: log 2 at d = 2, 0.0051
    at d = 100, 0.00065 at d = 768. "slices too faint" says that the ceiling is less than ten
    tolerances high; take a smaller ``tol``.

    Values are plug-in: with few replicas of an input (``groups``) they are too large, and replicas
    are tested on the others for the lower end. Of a population inputs tested on the others give the
    upper end of SI(X;T), as does a Gaussian of the others' variance, and the lower end of SI(Y;T).
    How folds of rows differ says what others would add to the error; of single directions fewer
    than 25 inputs, or clusters, leave upper ends open, and fewer than about 60 make the ceiling's
    bracket hold in 86 to 90 % instead of 95. Of given inputs the best slice
    is the largest of exact numbers; of a population, or with replicas, it is chosen on one half of
    the inputs, or of the replicas of each, and measured on the other half. That takes four replicas
    of each input, else its lower end is 0.

    References
    ----------
    Goldfeld and Greenewald, "Sliced Mutual Information", NeurIPS 2021; Goldfeld, Greenewald,
    Nuradha and Reeves, "k-Sliced Mutual Information", NeurIPS 2022. Wongso, Ghosh and Motani,
    "Using Sliced Mutual Information to Study Memorization and Generalization in Deep Neural
    Networks", AISTATS 2023. On its decay with d: "Curse of Slicing", arXiv 2506.04053.

    Examples
    --------
    Slices of a square; along a side one tells the label best:

    >>> import numpy as np
    >>> from skinfo import SlicedMIEstimator
    >>> S = np.array([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]])
    >>> est = SlicedMIEstimator(sigma=0.5, tol=0.002, random_state=0).fit(S, [0, 0, 1, 1])
    >>> round(est.sliced_mutual_info_, 2), round(est.sliced_label_mutual_info_, 2)
    (0.73, 0.31)
    >>> round(est.best_slice_label_mutual_info_, 4), abs(est.best_label_slice_[:, 0]).round(4)
    (0.6327, array([1., 0.]))
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "sigma": [Real, None, "array-like"],
        "sigma_unit": [StrOptions({"activations", "rms"})],
        "max_inputs": [Interval(Integral, 2, None, closed="left"), None],
        "noise": [str],
        "n_directions": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "population": ["boolean"],
        "max_slices": [Interval(Integral, 1, None, closed="left")],
        "units": [StrOptions({"nats", "bits"})],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    #: Rows of one group are replicas of an input, and are measured as such.
    uses_replicas: ClassVar[bool] = True
    #: Peak memory of a fit, in copies of the layer in double precision.
    memory_factor: ClassVar[float] = 5.0

    def __init__(
        self,
        sigma: Any = 0.1,
        *,
        sigma_unit: str = "activations",
        max_inputs: int | None = None,
        noise: str = "additive",
        n_directions: int = 1,
        tol: float = 0.01,
        population: bool = False,
        max_slices: int = 4096,
        units: str = "nats",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.sigma = sigma
        self.sigma_unit = sigma_unit
        self.max_inputs = max_inputs
        self.noise = noise
        self.n_directions = n_directions
        self.tol = tol
        self.population = population
        self.max_slices = max_slices
        self.units = units
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    @ONE_BLAS_THREAD
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        groups: Any = None,
        sample_weight: Any = None,
        scale: Any = None,
        clusters: Any = None,
    ) -> SlicedMIEstimator:
        """Draw slices of the rows and measure their information.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_units)
            Activations before this layer's noise (S, not the network's input).
        y : array-like of shape (n_samples,), default=None
            Label of each row's input.
        groups : array-like of shape (n_samples,), default=None
            Input of each row; rows of one group are replicas of it. None: every row is an input.
        sample_weight : array-like of shape (n_samples,), default=None
            Probability of each row's input, up to a factor; equal within a group. Zero drops a row.
        scale : None
            Standard deviations of each row, which a run may store, are refused: all rows of
            a slice have the same noise.
        clusters : array-like of shape (n_samples,), default=None
            For ``population=True``: what each row was drawn together with; None: every input was
            drawn by itself.

        Returns
        -------
        SlicedMIEstimator
            The estimator itself.

        Raises
        ------
        ValueError
            For noise that is not additive, more directions than units, a standard deviation that is
            not positive, or the input errors named in the message.
        """
        self.check_settings()
        if scale is not None:
            raise ValueError(
                "slices take one standard deviation for all rows, or one per unit; here each row "
                "has its own. Give a sigma, or measure the layer with NoisyMIEstimator."
            )
        noise = checked_noise(self.noise, self.sigma)
        every = check_rows(self, X, y, groups, sample_weight, clusters=clusters)
        if self.sigma_unit == "rms":
            noise = checked_noise(self.noise, np.asarray(self.sigma) * every.scale_of("rms"))
        d = every.points.shape[1]
        if self.n_directions > d:
            raise ValueError(f"n_directions={self.n_directions} of a layer of {d} units.")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        rows = every.part(every.sampled(self.max_inputs, seed))
        assert isinstance(noise, AdditiveNoise)
        self._layer = Layer.of(rows, noise)
        found = measure_slices(
            self._layer,
            n_directions=self.n_directions,
            tol=self.tol / nats_to(self.units),
            population=self.population,
            max_slices=self.max_slices,
            seed=seed,
            n_jobs=self.n_jobs,
        )
        self.slices_ = found.slices
        self.slice_mutual_info_ = found.information * nats_to(self.units)
        self.best_slice_, self.best_label_slice_ = found.best, found.best_label
        self.converged_ = found.converged
        notes = () if rows is every else ("sampled",)
        self.quantities_ = tuple(
            quantity.in_units(self.units).noted(*notes) for quantity in found.quantities
        )
        self._name_quantities()
        return self

    def check_settings(self) -> None:
        """Check what can be wrong whatever the activations; ``sigma=None`` is for a run to fill.

        Raises
        ------
        ValueError
            For noise that is not additive, a sigma that is not positive, and ``sigma=None`` in a
            unit other than the activations'.
        """
        if self.noise != AdditiveNoise.name:
            raise ValueError(
                f'slices are Gaussian channels for additive noise alone, and noise="{self.noise}"; '
                "measure such a layer with NoisyMIEstimator."
            )
        if self.sigma is not None:
            checked_noise(self.noise, self.sigma)
        elif self.sigma_unit != "activations":
            raise ValueError(
                "sigma=None is the sigma that a run was recorded with, in the unit of the "
                f'activations; give a number with sigma_unit="{self.sigma_unit}".'
            )

    def _name_quantities(self) -> None:
        by_name = {quantity.name: quantity for quantity in self.quantities_}
        information, label = (by_name.get(f"sliced_{whose}mutual_info") for whose in ("", "label_"))
        assert information is not None
        self.sliced_mutual_info_ = information.value
        self.stderr_ = information.stderr
        self.bracket_ = (information.lower, information.upper)
        self.ceiling_ = by_name["sliced_ceiling"].value
        self.sliced_label_mutual_info_ = None if label is None else label.value
        self.label_stderr_ = None if label is None else label.stderr
        self.label_bracket_ = None if label is None else (label.lower, label.upper)
        self.label_ceiling_ = None if label is None else by_name["label_ceiling"].value
        self.best_slice_mutual_info_ = by_name["best_slice_mutual_info"].value
        best = by_name.get("best_slice_label_mutual_info")
        self.best_slice_label_mutual_info_ = None if best is None else best.value
        self.notes_ = notes_of(self.quantities_)

    @ONE_BLAS_THREAD
    def score(self, X: Any, y: Any = None) -> float:  # noqa: ARG002
        """Cross-information of other activations under the fitted rows, averaged over the slices.

        The mean over ``slices_`` of E log p(t|s) / g_fit(t) over the rows s of X, one by one. On
        the rows of ``fit`` it is SI(S;T); on fresh rows it is larger.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_units)
            Activations before this layer's noise.
        y : None
            Ignored.

        Returns
        -------
        float
            The cross-information, in ``units``.
        """
        check_is_fitted(self)
        points = check_activations(self, X, reset=False)
        with np.errstate(over="ignore"):
            placed = self._layer.place(points)
            farthest = np.abs(placed).max(axis=1, initial=0.0)
        row = int(farthest.argmax())
        if not farthest[row] < RESOLVED:
            raise ValueError(
                f"Row {row} lies {farthest[row]:.1e} sigma from the mean of the fitted rows: in "
                "double precision its rounding hides the noise. Check its units."
            )
        value = cross_information_of_slices(
            self._layer, placed, self.slices_, tol=self.tol / nats_to(self.units),
            n_jobs=self.n_jobs,
        )  # fmt: skip
        return value * nats_to(self.units)


def sliced_information(
    S: Any,
    y: Any = None,
    *,
    sigma: Any,
    groups: Any = None,
    sample_weight: Any = None,
    clusters: Any = None,
    **parameters: Any,
) -> pd.DataFrame:
    r"""Measure the sliced information of one layer: ``SI(X;T) = E_theta I(X; theta'T)``.

    Parameters
    ----------
    S : array-like of shape (n_samples, n_units)
        Activations before this layer's noise.
    y : array-like of shape (n_samples,), default=None
        Label of each row's input.
    sigma : float or array-like of shape (n_units,)
        Standard deviation of the noise, of all units or of each.
    groups, sample_weight, clusters : array-like of shape (n_samples,), default=None
        As for ``SlicedMIEstimator.fit``.
    **parameters
        Of :class:`skinfo.SlicedMIEstimator`, such as ``n_directions``, ``tol``, ``units`` and
        ``random_state``.

    Returns
    -------
    pandas.DataFrame
        Columns quantity, value, stderr, lower, upper, unit, notes: sliced_mutual_info,
        sliced_ceiling and best_slice_mutual_info, with y also sliced_label_mutual_info,
        label_ceiling and best_slice_label_mutual_info.

    Raises
    ------
    ValueError
        As ``SlicedMIEstimator.fit``.
    TypeError
        For a parameter that there is not.

    References
    ----------
    Goldfeld and Greenewald, "Sliced Mutual Information", NeurIPS 2021.

    Examples
    --------
    >>> from skinfo import sliced_information
    >>> S = [[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]
    >>> sliced_information(S, sigma=0.5, random_state=0)[["quantity", "value"]].round(2)
                     quantity  value
    0      sliced_mutual_info   0.72
    1          sliced_ceiling   0.80
    2  best_slice_mutual_info   0.77
    """
    estimator = SlicedMIEstimator(sigma, **parameters)
    estimator.fit(S, y, groups=groups, sample_weight=sample_weight, clusters=clusters)
    table = [quantity.cells() for quantity in estimator.quantities_]
    return pd.DataFrame(table, columns=list(_COLUMNS))
