"""NoisyMIEstimator: information in activations to which Gaussian noise is added."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted, column_or_1d

from skinfo._numba import ONE_BLAS_THREAD
from skinfo._rows import as_array, as_scale, check_activations, check_rows
from skinfo._torch import device_for
from skinfo.errors import SaturationWarning, warn_unless_noted
from skinfo.noise import AdditiveNoise, Noise, make_noise
from skinfo.noisy.bounds import pairwise_bounds
from skinfo.noisy.information import check_near, cross_information, measure_mixture
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.posteriors import ClassPosteriors, measure_posteriors
from skinfo.noisy.predictors import FEWEST_PERMUTATIONS
from skinfo.noisy.sampling import N_RANDOMISATIONS
from skinfo.quantities import Quantity, nats_to, notes_of


class NoisyMIEstimator(BaseEstimator):
    r"""Mutual information of a noisy layer with its input and its label.

    A layer outputs S, and noise makes T of it, with Z standard normal in every unit:

    - ``noise="additive"``: :math:`T = S + \sigma Z`;
    - ``"multiplicative"``: :math:`T = S (1 + \sigma Z)`, Gaussian dropout, at a rate p with
      :math:`\sigma^2 = p / (1 - p)` (:func:`skinfo.dropout_sigma`);
    - ``"affine"``: :math:`T = S + \sqrt{a^2 + b^2 S^2} Z`, as of analog hardware;
    - ``"lognormal"``: :math:`T = S e^{\sigma Z}`, information dropout;
    - ``fit(X, scale=V)``: :math:`T = S + V Z`, a standard deviation per row and unit, as a
      variational encoder has them.

    Given samples of S,

    .. math:: I(X;T) = E \log g_x(t) / g(t), \qquad I(Y;T) = E \log g_y(t) / g(t), \qquad
       I(X;T|Y) = E \log g_x(t) / g_y(t)

    where :math:`g_x` is the mean over the rows of input x of the density of T given them, and
    :math:`g`, :math:`g_y` are the mixtures of these over all inputs and over the inputs of a label.
    Numerator and denominator are evaluated at the same draws (randomised quasi-Monte Carlo over
    rows and noise), as many as the tolerance needs.

    Parameters
    ----------
    sigma : float, array-like of shape (n_units,), tuple or None, default=0.1
        Standard deviation of this layer's noise, of all units or of each: of additive noise in the
        units of the activations. A pair (a, b) of these for affine noise. None means the run's own
        noise, layer by layer, and is understood by ``information_flow`` alone.
    noise : str, default="additive"
        "additive", "multiplicative", "affine", "lognormal", or the name of a subclass of
        :class:`skinfo.noise.Noise`.
    tol : float, default=0.01
        Standard error of the integration to reach, in ``units``.
    population : bool, default=False
        False: the inputs at hand are all there are, X is uniform on them (or follows
        ``sample_weight``). True: they were drawn independently from a larger population; the
        brackets then allow for the inputs that were not drawn (see the notes), and there is no
        ceiling at log n.
    max_evaluations : int, default=2**20
        Most points at which the mixture is evaluated, all 16 randomisations together.
    pairwise_bounds : bool, default=False
        Whether to compute the pairwise-distance bounds of Kolchinsky & Tracey as well; they take
        every row for an input of its own, so not with groups, and no weights.
    posterior_draws : int, default=0
        Vectors of noise that are drawn for each input, at least, to measure input by input and
        class by class: ``pointwise_mutual_info_``, ``confusion_``, ``bayes_error_`` and what stands
        beside them. 0: they are None. The information itself needs a few draws of each input at
        most; 16 of each, the least that gives each a standard error, make the fit of 10,000 rows of
        10 units take 4 times as long, with 10 classes 7 times, so that they are made only if asked
        for. They are draws of
        their own: no other number changes.
    densities : list or tuple of objects, default=None
        For ``population=True``: candidates beside the built-in ones
        (:mod:`skinfo.noisy.densities`) of the density whose cross-entropy is the upper end of h(T).
        Each has ``fit(points)``, rows S in units of the noise, which gives itself, and
        ``log_density(t)``, natural logarithms of a density of T = S + Z that integrates to 1.
    label_predictor : classifier or None, default=None
        For ``population=True``: a scikit-learn classifier with ``predict_proba`` that takes the
        place of the built-in predictors (see the notes). It is fitted 15 times to noisy rows in
        units of the noise, columns for zeros and signs beside them where the noise leaves these.
        Its posterior is mixed with the frequencies of the classes, so that being sure and wrong
        costs little.
    n_permutations : int, default=0
        For ``population=True``: how often the labels are permuted, to see what the same predictors
        find where there is no information: among inputs; with ``clusters`` among these, if all
        rows of each have one label, and else within each. Each takes as long as the prediction.
    units : {"nats", "bits"}, default="nats"
        Unit of every information and entropy.
    n_jobs : int or None, default=None
        Threads; the result does not depend on it.
    random_state : int, RandomState instance or None, default=None
        Seed of the draws.
    device : str or torch.device, default=None
        Where the sums over pairs are computed. None: where X is, which for numpy is the processor;
        "cpu": the compiled engine; "cuda" or another device of torch: torch on that device, which
        the rows are moved to; "torch:cpu": torch on the processor. See the notes.

    Attributes
    ----------
    mutual_info_ : float
        I(X;T): the plug-in value with its bias of order 1 / n_replicas removed by extrapolation.
        Without groups every row is an input of its own.
    plug_in_ : float
        The plug-in value itself, as published curves show it; too large with few replicas.
    stderr_ : float
        Standard error of the integration.
    stderr_inputs_ : float
        Standard error that a finite number of inputs causes; it matters if they were sampled, or
        if few of them have many replicas.
    bracket_ : tuple of float
        (lower, upper) end for the true I(X;T), widened by their 95 % errors.
    ceiling_ : float
        What I(X;T) cannot exceed: the smaller of H(X) and what a Gaussian T of this covariance
        would carry, (log det Cov(T) - E sum log v) / 2 with v the variances of the noise given a
        row; with strata (see the notes) what these tell, plus the mean over them of the smaller of
        both within each. Infinite for a population.
    pattern_information_, label_pattern_information_ : float
        The parts of I(X;T) and I(Y;T) that need no more than the pattern of zeros, or of signs,
        that the noise leaves as it is (see the notes). None where all rows have the same.
    label_mutual_info_, label_stderr_, label_bracket_, label_ceiling_ : float, float, tuple, float
        The same for I(Y;T); None without y. The ceiling is H(Y), of a population its estimate.
    label_ceiling_bracket_ : tuple of float
        (lower, upper) end for H(Y), which of given inputs is exact; None without y.
    label_log_classes_ : float
        log K, with K the number of classes seen, for a population; else None.
    label_gain_, label_null_mean_, label_p_value_ : float
        What predicts the label on other rows gains over guessing, whose lower end is that of
        I(Y;T); the mean of the same number with permuted labels; and the p value, one and the
        number of permutations that gain as much over one and their number. None with
        ``n_permutations=0``.
    known_, label_known_ : float
        Of a population: one less the width of each bracket as a share of the most it may be, which
        is the upper end of I(X;T) and H(Y). 1: the sample leaves nothing open. Else None.
    inputs_needed_ : float
        Of a population: the number of inputs (or clusters) below which no lower end that holds for
        every law reaches nine tenths of the upper end of I(X;T), as none grows faster than
        2 log n. Else None.
    conditional_mutual_info_, conditional_stderr_, conditional_bracket_, conditional_ceiling_ :
        float, float, tuple, float
        The same for I(X;T|Y), what T says about the input beyond its label: I(X;T) - I(Y;T) to
        rounding, unless one of them was cut at its ceiling, and from the same draws, so that its
        error is its own and not that of a difference. None without y. The ceiling is H(X|Y); a
        population has none.
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted; None without y. Those of which all rows have weight zero are left out.
    class_conditional_mutual_info_, class_conditional_stderr_ : ndarray of shape (n_classes,)
        I(X;T|Y=y) of every class, E[log g_x / g_y | y], and its standard error: their mean over
        p(y) is ``conditional_mutual_info_``, to rounding unless the rows lie on a line, where that
        is integrated without draws. NaN for a class so light that none of it was drawn. None
        without y.
    pointwise_mutual_info_, pointwise_stderr_ : ndarray of shape (n_inputs,)
        i(x) = E[log g_x / g | x] of every input and its standard error of integration: what the
        layer still knows of it. Replicas count as in ``mutual_info_``, of which it is the mean over
        p(x), within both errors. NaN for inputs of weight zero. None with ``posterior_draws=0``.
    pointwise_inputs_ : ndarray of shape (n_inputs,)
        The inputs in their order: numbers of the rows, or with groups their values, sorted.
    confusion_, confusion_stderr_ : ndarray of shape (n_classes, n_classes)
        ``E[P(c'|t) | c]``, with ``P(c|t) = p(c) g_c(t) / g(t)``: a row per class c, adding up to
        1, in the order of ``classes_``; and its standard error of integration. None with
        ``posterior_draws=0`` or without y, like all that follows.
    confusion_left_out_ : ndarray of shape (n_classes, n_classes)
        The same with a P that has never seen the draw's own row or, of a population, its own input.
        ``confusion_`` is too clear a picture, this one too dim: how far they are apart says what
        either is worth. None where neither is missing: given inputs of one row.
    bayes_error_, bayes_error_stderr_, bayes_error_bracket_ : float, float, tuple of float
        ``1 - E max_c P(c|t)``: no classifier that sees T errs less often. See the notes.
    entropy_, entropy_bracket_ : float, tuple of float
        Differential entropy h(T) and its bracket.
    conditional_entropy_, conditional_entropy_bracket_ : float, tuple of float
        Differential entropy h(T|X) and its bracket.
    pairwise_bounds_ : tuple of float
        (lower, upper) pairwise bound of I(S;T), with ``pairwise_bounds=True``, else None; see
        :func:`skinfo.noisy.pairwise_bounds`.
    n_evaluations_ : int
        Points at which the mixture was evaluated, all randomisations together.
    converged_ : bool
        Whether the standard errors fell below ``tol``.
    rank_ : int
        Number of directions in which the rows vary.
    notes_ : tuple of str
        Words from :data:`skinfo.quantities.NOTES`.
    quantities_ : tuple of Quantity
        All numbers with unit, error and bracket; the other attributes are views of them.

    Notes
    -----
    A larger value is more information, not "better", and it grows as sigma shrinks: never choose
    sigma by the score. A layer that has noise before it needs ``groups`` with several rows of each
    input; without them the value is I(S;T), which is larger. Unequal numbers are taken. What an
    input of a single row adds to the value keeps its bias and is left out of the lower end.

    With ``population=True`` the value is still that of the rows at hand, moved into its bracket,
    and with too few of them it is an end of it. The note "too few inputs" says so; quote the
    bracket. The upper ends of h(T) and I(X;T) are cross-entropies of T under densities that were
    fitted to other folds of the inputs, or of the ``clusters`` in which these were drawn; they
    allow for one mode that was not drawn, of mass 3 / n, but not for information within it. The
    lower end is the plug-in, which stays below log n, or what pairs of rows say by Donsker and
    Varadhan's bound, up to 2 log n - 4.3 nats. With strata (see below), or fewer than 25 inputs,
    the upper ends are those of the mixture and of one Gaussian of the other inputs; with clusters
    there are none then. The lower end of I(Y;T) is H(Y) plus the mean log posterior that
    predictors give the own label: the noise around the other rows of each class, Gaussians with one
    covariance and with one per class, logistic regressions, and the frequencies of the classes.
    They are fitted to other folds, and weighted on rows that they did not see, so that one that is
    of no use costs nothing. The note "indistinguishable from no information" says that this end is
    0 or, with ``n_permutations``, that more than 5 % of permuted labels are predicted as well. The
    upper end is the plug-in, plus what its H(Y) lacks, (K - 1) / 2n (Miller and Madow). Classes
    that were all drawn five times or more are taken for all there are; else classes drawn once say
    how many were not drawn.

    The value of the Bayes error is that of the rows at hand, too small where a layer's noise is
    known from replicas or the inputs are a sample: it is the lower end, and the upper end is how
    often the likeliest class given the other rows, or inputs, is wrong, plus the probability 3 / n
    of what none of them shows. That classifier knows nothing but these rows: in many dimensions it
    errs often, and the bracket is wide.

    Multiplicative and log-normal noise leave a unit that is exactly zero at zero, and log-normal
    noise leaves signs. This pattern A of a row is seen in T for certain, so that the rows fall into
    strata, and where A is a function of the input

    .. math:: I(X;T) = H(A) + \sum_a P(a) I(X;T|A=a)

    Units that are zero in a whole stratum have no noise there: a dead unit adds nothing. With
    hundreds of ReLU units the patterns alone often tell all inputs apart. h(T) is then an entropy
    with respect to lengths and to a mass of one at zero. An input whose replicas have patterns of
    their own is not found again by its other replicas, which leaves the lower end low.

    Rows in single precision stay so under additive noise of one sigma, with sums right to about
    1e-4 nat; with population=False and without groups, more than 17 million numbers are never
    copied as a whole, unless there are fewer rows than units. Under other noise, and for the
    pairwise bounds, they are copied to double precision.

    A tensor of torch is measured where it is: on the processor by the compiled engine, to the same
    bits as its numpy view; elsewhere the sums over all pairs of a draw and a row, nearly all of the
    work, are torch's on that device, in the precision of the activations, and equal the compiled
    ones to 1e-9 nat in double and 1e-3 in single precision. The device keeps a copy of the rows,
    two with groups of unequal sizes, and takes 1 GiB for the sums. Draws, averages and what is
    fitted with ``population=True`` stay on the processor. ``score`` and ``score_samples`` compute
    where ``fit`` did, wherever their rows are. Tensors leave their graph; half precision becomes
    single or double. A device needs double precision, which mps lacks.

    In a pipeline, ``make_pipeline(PCA(10), NoisyMIEstimator(0.1))``, sigma lives in the space that
    the steps before make of the layer: measured is :math:`I(X; f(S) + \sigma Z)`. PCA without
    whitening turns and cuts, and turned noise is the same noise, so the value is
    :math:`I(X; W^T T) \leq I(X; T)` at the layer's own sigma: a lower bound, and within reach where
    the bracket of the whole layer is wide. A step that scales (StandardScaler, whitening) makes
    sigma a number in its units, no longer the layer's. Replicas and weights go to the last step by
    name, ``fit(X, y, noisymiestimator__groups=g)``, or, with scikit-learn's metadata routing
    enabled, by request: ``NoisyMIEstimator(0.1).set_fit_request(groups=True)``, then
    ``fit(X, y, groups=g)``.

    A step fitted with the labels of the rows that are measured makes classes that only these rows
    have, and ``population=True`` then finds information where there is none: fit such a step on
    other rows, and put it into the pipeline as ``sklearn.frozen.FrozenEstimator(step)``. The last
    step cannot see what came before it; ``information_flow`` can, and fits the steps before
    ``population=True`` without labels, or refuses. Fitted without labels, a step still fits these
    rows better than others where they are few beside its parameters (PCA of 500 rows of 400 units).

    References
    ----------
    Goldfeld, van den Berg, Greenewald, Melnyk, Nguyen, Kingsbury, Polyanskiy, "Estimating
    Information Flow in Deep Neural Networks", ICML 2019, equations (9) and (10). Kolchinsky and
    Tracey, "Estimating Mixture Entropy with Pairwise Distances", Entropy 2017, for the pairwise
    bounds. Of a population: Donsker and Varadhan, "Asymptotic Evaluation of Certain Markov Process
    Expectations for Large Time", 1975, for the lower end by pairs, and McAllester and Stratos,
    "Formal Limitations on the Measurement of Mutual Information", AISTATS 2020, for its limit;
    Barber and Agakov, "The IM Algorithm", NIPS 2003, for the lower end of I(Y;T), and Phipson and
    Smyth, "Permutation P-values Should Never Be Zero", 2010, for its p value.

    Examples
    --------
    The points of a tanh neuron with weight 1 and bias -2 at inputs -3, -1, 1, 3:

    >>> import numpy as np
    >>> from skinfo import NoisyMIEstimator
    >>> S = np.tanh(np.array([[-3.0], [-1.0], [1.0], [3.0]]) - 2)
    >>> est = NoisyMIEstimator(sigma=0.05, random_state=0).fit(S, [0, 0, 0, 1])
    >>> round(est.mutual_info_, 6), round(est.label_mutual_info_, 6)
    (1.022587, 0.562335)

    What that layer knows of each input, and how often its best classifier errs:

    >>> est.set_params(posterior_draws=1024).fit(S, [0, 0, 0, 1])
    NoisyMIEstimator(posterior_draws=1024, random_state=0, sigma=0.05)
    >>> est.pointwise_mutual_info_.round(3).tolist(), est.bayes_error_ < 1e-9
    ([0.681, 0.676, 1.353, 1.386], True)

    Gaussian dropout after a ReLU; which inputs it leaves at zero alone tells log 2:

    >>> S = np.array([[0.0], [0.0], [1.0], [2.0]])
    >>> est = NoisyMIEstimator(0.3, noise="multiplicative", random_state=0).fit(S)
    >>> round(est.mutual_info_, 6), round(est.pattern_information_, 6)
    (0.890271, 0.693147)

    An encoder with standard deviations of its own:

    >>> est = NoisyMIEstimator(random_state=0).fit([[-1.0], [1.0]], scale=[[1.0], [0.5]])
    >>> round(est.mutual_info_, 6)
    0.474307

    Of a population: 200 draws of a normal law of eight dimensions, whose information is 9.98 nats,
    beyond log 200 = 5.3:

    >>> S = np.random.default_rng(0).normal(size=(200, 8))
    >>> est = NoisyMIEstimator(0.3, population=True, random_state=0).fit(S)
    >>> [round(end, 1) for end in est.bracket_], round(est.known_, 1), est.notes_
    ([5.8, 10.4], 0.6, ('too few inputs',))

    Two directions of a layer of four:

    >>> from sklearn.decomposition import PCA
    >>> from sklearn.pipeline import make_pipeline
    >>> S = np.array([[-1.0, 0, 0, 0], [1, 0, 0, 0], [0, 0.5, 0, 0], [0, -0.5, 0.1, 0]])
    >>> pipeline = make_pipeline(PCA(2), NoisyMIEstimator(0.5, random_state=0)).fit(S)
    >>> projected = pipeline[-1].bracket_
    >>> whole = NoisyMIEstimator(0.5, random_state=0).fit(S).bracket_
    >>> projected[0] <= whole[1]
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "sigma": [Real, None, "array-like", tuple],
        "noise": [str],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "population": ["boolean"],
        "max_evaluations": [Interval(Integral, N_RANDOMISATIONS, None, closed="left")],
        "pairwise_bounds": ["boolean"],
        "posterior_draws": [Interval(Integral, 0, None, closed="left")],
        "densities": [tuple, list, None],
        "label_predictor": [HasMethods(["fit", "predict_proba"]), None],
        "n_permutations": [Interval(Integral, 0, None, closed="left")],
        "units": [StrOptions({"nats", "bits"})],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
        # A name, or a torch.device.
        "device": [object],
    }

    #: Rows of one group are replicas of an input, and are measured as such.
    uses_replicas: ClassVar[bool] = True

    def __init__(
        self,
        sigma: Any = 0.1,
        *,
        noise: str = "additive",
        tol: float = 0.01,
        population: bool = False,
        max_evaluations: int = 2**20,
        pairwise_bounds: bool = False,
        posterior_draws: int = 0,
        densities: Any = None,
        label_predictor: Any = None,
        n_permutations: int = 0,
        units: str = "nats",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        device: Any = None,
    ) -> None:
        self.sigma = sigma
        self.noise = noise
        self.tol = tol
        self.population = population
        self.max_evaluations = max_evaluations
        self.pairwise_bounds = pairwise_bounds
        self.posterior_draws = posterior_draws
        self.densities = densities
        self.label_predictor = label_predictor
        self.n_permutations = n_permutations
        self.units = units
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.device = device

    @property
    def memory_factor(self) -> float:
        """Peak memory of a fit, in copies of the layer in double precision."""
        shared = self.noise == AdditiveNoise.name and np.ndim(self.sigma) == 0
        return (4.0 if shared else 11.0) + 12.0 * self.population + self.pairwise_bounds

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
    ) -> NoisyMIEstimator:
        """Learn the mixture of the rows and measure their information.

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
        scale : array-like of shape (n_samples, n_units), default=None
            Standard deviation of the noise of each row and unit, as an encoder gives it; it takes
            the place of sigma, with ``noise="additive"``.
        clusters : array-like of shape (n_samples,), default=None
            For ``population=True``: what each row was drawn together with, such as its sequence or
            the image that it is an augmentation of. Clusters were drawn independently of each
            other, the rows of one were not. None: every input was drawn by itself.

        Returns
        -------
        NoisyMIEstimator
            The estimator itself.

        Raises
        ------
        ValueError
            If a standard deviation is not positive, for ``label_predictor`` or ``n_permutations``
            without labels of a population, or for the input errors named in the message.
        """
        self.check_settings()
        noise = self._checked_noise(scale)
        _check_densities(self.densities or ())
        device = device_for(
            self.device, X=X, y=y, groups=groups, sample_weight=sample_weight, scale=scale,
            clusters=clusters,
        )  # fmt: skip
        rows = check_rows(self, X, y, groups, sample_weight, scale=scale, clusters=clusters)
        if self.pairwise_bounds and (groups is not None or sample_weight is not None):
            raise ValueError(
                "pairwise_bounds=True takes every row for an input of its own and of the same "
                "weight; fit without groups and sample_weight, or with pairwise_bounds=False."
            )
        if self._label_options and y is None:
            raise ValueError(
                f"{self._label_options[0]} is about labels; fit with y, one label per row."
            )
        self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self._mixture = Mixture.of(rows, noise, device=device, n_jobs=self.n_jobs)
        information = measure_mixture(
            self._mixture,
            tol=self.tol / nats_to(self.units),
            population=self.population,
            max_evaluations=self.max_evaluations,
            seed=self._seed,
            n_jobs=self.n_jobs,
            densities=self.densities or (),
            label_predictor=self.label_predictor,
            n_permutations=self.n_permutations,
        )
        pairwise: tuple[Quantity, ...] = ()
        if self.pairwise_bounds:
            pairwise = self._pairwise_bounds()
        self.n_evaluations_ = information.n_evaluations
        self.converged_ = information.converged
        self.rank_ = information.rank
        self.stderr_inputs_ = information.stderr_inputs * nats_to(self.units)
        self.classes_ = rows.classes
        self.class_conditional_mutual_info_ = self.class_conditional_stderr_ = None
        if information.class_conditional is not None:
            means, stderrs = information.class_conditional
            self.class_conditional_mutual_info_ = means * nats_to(self.units)
            self.class_conditional_stderr_ = stderrs * nats_to(self.units)
        of_classes = self._measure_posteriors(groups)
        self.quantities_ = tuple(
            quantity.in_units(self.units)
            for quantity in (*information.quantities, *pairwise, *of_classes)
        )
        self._name_quantities()
        if "saturated" in self.notes_:
            warn_unless_noted(
                f"mutual_info_ = {self.mutual_info_:.4g} {self.units} is within 1 % of the entropy "
                f"of the inputs: behind noise{_in_words(noise, scale)} all of them can be told "
                "apart, and the value says no more than that.",
                SaturationWarning,
                stacklevel=2,
            )
        return self

    def _measure_posteriors(self, groups: Any) -> tuple[Quantity, ...]:
        """Draw for every input, if asked to; what is a number of the whole layer comes back."""
        self.pointwise_mutual_info_ = self.pointwise_stderr_ = self.pointwise_inputs_ = None
        classes: ClassPosteriors | None = None
        if self.posterior_draws:
            found = measure_posteriors(
                self._mixture,
                n_draws=self.posterior_draws,
                population=self.population,
                seed=self._seed,
                n_jobs=self.n_jobs,
            )
            rows, factor, classes = self._mixture.rows, nats_to(self.units), found.classes
            self.pointwise_mutual_info_ = rows.of_given(found.pointwise) * factor
            self.pointwise_stderr_ = rows.of_given(found.pointwise_stderr) * factor
            self.pointwise_inputs_ = (
                np.arange(len(self.pointwise_mutual_info_))
                if groups is None
                else np.unique(column_or_1d(as_array(groups, "groups")))
            )
        self.confusion_ = None if classes is None else classes.confusion
        self.confusion_stderr_ = None if classes is None else classes.confusion_stderr
        self.confusion_left_out_ = None if classes is None else classes.confusion_left_out
        return () if classes is None else (classes.bayes_error, classes.ceiling)

    def _pairwise_bounds(self) -> tuple[Quantity, Quantity]:
        components = self._mixture.components
        rows, shared = components.rows, components.channel.sigma or 1.0
        return pairwise_bounds(
            rows.points,
            shared if rows.deviations is None else rows.deviations,
            strata=components.strata,
            random_state=self._seed,
            n_jobs=self.n_jobs,
        )

    def check_settings(self) -> None:
        """Check what can be wrong whatever the activations; ``sigma=None`` is for a run to fill.

        Raises
        ------
        ValueError
            For a sigma that is not positive; for a device that is not there; for fewer than 19
            permutations; for ``label_predictor`` or ``n_permutations`` where the inputs are no
            sample of a population.
        """
        device_for(self.device)
        if self.sigma is not None:
            make_noise(self.noise, self.sigma)
        if 0 < self.n_permutations < FEWEST_PERMUTATIONS:
            raise ValueError(
                f"n_permutations={self.n_permutations} can show no p value of 0.05, as the least "
                f"is 1 / (1 + n_permutations); give {FEWEST_PERMUTATIONS} or more, or 0 for none."
            )
        given = self._label_options
        if given and not self.population:
            raise ValueError(
                f"{given[0]} is for population=True: given inputs are all there are, and their "
                "I(Y;T) is computed, not predicted from other rows."
            )

    @property
    def _label_options(self) -> list[str]:
        """What is set that only labels of a population have a use for."""
        given = ["label_predictor"] * (self.label_predictor is not None)
        return given + ["n_permutations"] * (self.n_permutations > 0)

    def _checked_noise(self, scale: Any) -> Noise:
        if scale is None:
            return checked_noise(self.noise, self.sigma)
        if self.noise != AdditiveNoise.name:
            raise ValueError(
                f'scale is the standard deviation of additive noise, and noise="{self.noise}"; '
                'fit without scale, or with noise="additive".'
            )
        return AdditiveNoise(1.0)

    def _name_quantities(self) -> None:
        by_name = {quantity.name: quantity for quantity in self.quantities_}
        label = by_name.get("label_mutual_info")
        information, entropy = by_name["mutual_info"], by_name["entropy"]
        conditional = by_name["conditional_entropy"]
        self.mutual_info_ = information.value
        self.stderr_ = information.stderr
        self.bracket_ = (information.lower, information.upper)
        self.plug_in_ = by_name["plug_in"].value
        self.ceiling_ = by_name["ceiling"].value
        of_patterns = (by_name.get(f"{whose}pattern_information") for whose in ("", "label_"))
        self.pattern_information_, self.label_pattern_information_ = (
            None if part is None else part.value for part in of_patterns
        )
        self.label_mutual_info_ = None if label is None else label.value
        self.label_stderr_ = None if label is None else label.stderr
        self.label_bracket_ = None if label is None else (label.lower, label.upper)
        limit, classes = by_name.get("label_ceiling"), by_name.get("label_log_classes")
        self.label_ceiling_ = None if limit is None else limit.value
        self.label_ceiling_bracket_ = None if limit is None else (limit.lower, limit.upper)
        self.label_log_classes_ = None if classes is None else classes.value
        names = ("label_gain", "label_null", "label_p_value")
        self.label_gain_, self.label_null_mean_, self.label_p_value_ = (
            None if quantity is None else quantity.value for quantity in map(by_name.get, names)
        )
        within, most = (by_name.get(f"conditional_{n}") for n in ("mutual_info", "ceiling"))
        self.conditional_mutual_info_ = None if within is None else within.value
        self.conditional_stderr_ = None if within is None else within.stderr
        self.conditional_bracket_ = None if within is None else (within.lower, within.upper)
        self.conditional_ceiling_ = None if most is None else most.value
        known = (by_name.get(name) for name in ("known", "label_known", "inputs_needed"))
        self.known_, self.label_known_, self.inputs_needed_ = (
            None if quantity is None else quantity.value for quantity in known
        )
        error = by_name.get("bayes_error")
        self.bayes_error_ = None if error is None else error.value
        self.bayes_error_stderr_ = None if error is None else error.stderr
        self.bayes_error_bracket_ = None if error is None else (error.lower, error.upper)
        self.entropy_ = entropy.value
        self.entropy_bracket_ = (entropy.lower, entropy.upper)
        self.conditional_entropy_ = conditional.value
        self.conditional_entropy_bracket_ = (conditional.lower, conditional.upper)
        ends = [by_name.get(f"mutual_info_pairwise_{end}") for end in ("lower", "upper")]
        self.pairwise_bounds_ = tuple(end.value for end in ends if end is not None) or None
        self.notes_ = notes_of(self.quantities_)

    @ONE_BLAS_THREAD
    def score(self, X: Any, y: Any = None, *, scale: Any = None) -> float:  # noqa: ARG002
        """Cross-information of other activations under the fitted mixture.

        E log p(t|s) / g_fit(t) over the rows s of X, one by one, and t with their noise; infinite
        if a row has zeros, or signs, that no fitted row has. On the rows of ``fit`` it is I(S;T),
        which is ``mutual_info_`` if fit had no groups; on fresh rows it is larger.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_units)
            Activations before this layer's noise.
        y : None
            Ignored.
        scale : array-like of shape (n_samples, n_units), default=None
            Standard deviation of the noise of each row and unit, if ``fit`` was given them.

        Returns
        -------
        float
            The cross-information, in ``units``.
        """
        check_is_fitted(self)
        points = check_activations(self, X, reset=False)
        channel = self._mixture.components.channel
        if (scale is None) != (channel.noise is not None):
            missing = "fit was given a scale per row and unit; give score that of its rows."
            raise ValueError(missing if scale is None else "scale is given; fit was given none.")
        deviations = None if scale is None else as_scale(scale, points.shape)
        value = cross_information(
            self._mixture,
            channel.place(points, deviations),
            tol=self.tol / nats_to(self.units),
            max_evaluations=self.max_evaluations,
            seed=self._seed,
            n_jobs=self.n_jobs,
        )
        return value * nats_to(self.units)

    @ONE_BLAS_THREAD
    def score_samples(self, X: Any) -> np.ndarray:
        """Logarithm of the density of T at given points, log g(t); natural whatever ``units``.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_units)
            Points t of the noisy layer.

        Returns
        -------
        ndarray of shape (n_samples,)
            log g(t).
        """
        check_is_fitted(self)
        points = check_activations(self, X, reset=False)
        placed = self._mixture.components.channel.place(points).points
        check_near(self._mixture.space, placed, 1e150, "the square of the distance overflows")
        return self._mixture.log_density(points, self.n_jobs)


def _check_densities(densities: Sequence[Any]) -> None:
    for density in densities:
        if not (hasattr(density, "fit") and hasattr(density, "log_density")):
            raise ValueError(
                f"densities must hold objects with fit and log_density; got {density!r}."
            )


def checked_noise(noise: str, sigma: Any) -> Noise:
    """Make a noise model; the message for ``sigma=None`` says who knows it."""
    if sigma is None:
        raise ValueError(
            "sigma=None means the sigma that a run was recorded with, which only "
            "information_flow knows; give a number here, or the scale of each row."
        )
    return make_noise(noise, sigma)


def _in_words(noise: Noise, scale: Any) -> str:
    """A single sigma, for a message."""
    if scale is not None or len(noise.sigmas) > 1 or noise.sigmas[0].ndim:
        return ""
    return f" of sigma={float(noise.sigmas[0]):g}"
