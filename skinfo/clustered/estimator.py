"""ClusteringScore: how activations cluster by class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skinfo._numba import ONE_BLAS_THREAD
from skinfo._rows import Rows, as_array, check_labels, check_rows, counted
from skinfo._torch import device_for
from skinfo.clustered.distances import Distances, measure_label_sets
from skinfo.clustered.indices import (
    measure_binned_entropy,
    measure_calinski_harabasz,
    measure_davies_bouldin,
    measure_dimension,
    measure_nc1,
    measure_nc2,
    measure_silhouette,
)
from skinfo.clustered.pairs import makes_pairs
from skinfo.quantities import Quantity, notes_of

#: What ``measures`` may name besides the distances: how each is measured, given rows, the metric,
#: the width of bins and the number of threads.
MEASURES: dict[str, Callable[[Rows, str, Any, int | None], tuple[Quantity, ...]]] = {
    "silhouette": lambda rows, metric, _, n_jobs: (measure_silhouette(rows, metric, n_jobs),),
    "nc1": lambda rows, *_: (measure_nc1(rows),),
    "nc2": lambda rows, *_: measure_nc2(rows),
    "calinski_harabasz": lambda rows, metric, *_: (measure_calinski_harabasz(rows, metric),),
    "davies_bouldin": lambda rows, metric, *_: (measure_davies_bouldin(rows, metric),),
    "intrinsic_dimension": lambda rows, metric, *_: (measure_dimension(rows, metric),),
    "binned_entropy": lambda rows, _, bin_width, __: measure_binned_entropy(rows, float(bin_width)),
}
# These do not depend on labels, and as criteria these do.
_UNLABELLED = ("intrinsic_dimension", "binned_entropy")
_LABELLED = ("silhouette", "nc1")
# What score multiplies each criterion with, so that larger means more clustered.
_SIGNS = {"auc": 1, "silhouette": 1, "nc1": -1, "binned_entropy": -1}


class ClusteringScore(BaseEstimator):
    """Clustering of activations by class, from pairwise distances.

    Two rows of one group, replicas of one input, are never paired. Pairs are streamed; their
    distances are never held in a matrix.

    Parameters
    ----------
    metric : {"euclidean", "cosine"}, default="euclidean"
        Distance between rows; cosine distance is 1 minus the cosine of the angle.
    criterion : {"auc", "silhouette", "nc1", "binned_entropy"}, default="auc"
        What ``score`` returns.
    measures : iterable of str or "all", default=("silhouette", "nc1")
        What ``fit`` measures beside the distances and the criterion: "silhouette", "nc1", "nc2",
        "calinski_harabasz", "davies_bouldin", "intrinsic_dimension", "binned_entropy".
    bin_width : float, default=None
        Width of the cells of "binned_entropy", in the units of the activations; without a width
        "all" leaves this measure out.
    max_inputs : int, default=None
        Where there are more inputs, measure a random sample of them, noted "sampled": the error of
        the AUC is then that over inputs, and a number whose error over inputs is not known has
        none. The silhouette draws a sample of its own. None: all inputs.
    max_pairs : int, default=None
        Where there are more pairs, measure a random sample of this size, half of it within and
        half between classes, and give standard errors; at least 100. None: all pairs.
    random_state : int, RandomState instance or None, default=None
        What the sample is drawn with; None: the same sample every time.
    n_jobs : int, default=None
        Threads; the numbers do not depend on it.
    device : str or torch.device, default=None
        Where all pairs are paired, as for :class:`skinfo.NoisyMIEstimator`: None where X is, "cpu"
        the compiled engine, "cuda" or another device of torch. A sample of pairs, the silhouette
        and the other measures stay on the processor.

    Attributes
    ----------
    within_histogram_, between_histogram_ : ndarray of shape (4096,)
        Number of pairs by distance, of one class and of two (with ``sample_weight`` the sum of
        products of weights; with ``max_pairs`` the number of pairs drawn).
    distance_edges_ : ndarray of shape (4097,)
        Edges of their cells, from 0, narrow where pairs are. In single precision: a distance
        within 3e-8 of an edge may count on its other side.
    within_mean_, between_mean_ : float
        Mean distances.
    within_quantiles_, between_quantiles_ : ndarray of shape (5,)
        5, 25, 50, 75 and 95 % of the pairs lie below; each is known to within its cell, which is
        its bracket in ``quantities_``.
    class_distances_ : ndarray of shape (n_classes, n_classes) or None
        Mean distance between the rows of two classes; NaN for a class of one input. None beyond
        1,024 classes.
    auc_ : float
        Probability that a between-class distance exceeds a within-class one; 0.5 means no
        clustering, 1 perfect. Exact for these rows up to ten million pairs, where distances tie
        that differ by what the activations were rounded by at most; beyond, from the histograms,
        with a bracket in ``quantities_`` that allows for pairs in one cell. The ``stderr`` there is
        0, or with ``max_pairs`` that of drawing pairs; ``stderr_other_inputs`` is what inputs drawn
        anew would add, with which :func:`skinfo.compare_flows` tells a difference between networks
        from one between samples of inputs.
    silhouette_ : float
        Mean silhouette of the classes, weighted, one row per input, from at most 2,048 rows (fewer
        of more than 2,048 units, but two per class), noted "sampled" where there are more.
    nc1_ : float
        Neural collapse, trace(Sigma_W pinv(Sigma_B)) / K; falls as classes collapse. Sigma_W is
        averaged over rows, Sigma_B, of the class means less the mean of all rows, over classes,
        all counted alike, as Papyan et al. define them. Infinite where all means coincide.
    nc2_equinorm_, nc2_equiangularity_, nc2_maximal_angle_ : float
        Spread of the lengths of the class means, less the mean of all rows, over their average;
        spread of their cosines, and mean distance of the cosines from -1 / (K - 1). All fall to 0
        as the means of equally heavy classes become a simplex; weights can make classes so.
    calinski_harabasz_, davies_bouldin_ : float
        Variance ratio (larger is more clustered) and Davies-Bouldin index (smaller is more
        clustered); weights are not used. Infinite where they divide by 0, NaN where 0 by 0, with
        the note "zero by zero", as are the others.
    intrinsic_dimension_ : float
        From the two nearest neighbours of at most 8,192 inputs; points that coincide count once.
        It has a standard error and no bracket: in high dimension it is biased, mostly downwards.
    binned_entropy_, binned_entropy_share_ : float
        H(Bin(T)) in nats and as a share of log n (of H(X) with weights); falls as inputs cluster.
    classes_ : ndarray of shape (n_classes,)
        The classes, in the order of ``class_distances_``.
    quantities_ : tuple of Quantity
        The numbers with error and bracket; with several label sets "auc [fine]" and so on.
    notes_ : tuple of str
        Words from :data:`skinfo.quantities.NOTES`.

    Notes
    -----
    ``uses_replicas`` is False: a flow hands over one noisy sample per input of a layer with noise.

    With several label sets (``y`` a dict, a DataFrame or an array of shape (n_samples, n_sets)) all
    attributes that depend on labels are dicts by the name of the set, or by column number.

    References
    ----------
    Goldfeld et al., "Estimating Information Flow in Deep Neural Networks", ICML 2019, section 5;
    Rousseeuw, "Silhouettes", 1987; Papyan, Han and Donoho, PNAS 2020; Facco et al., Scientific
    Reports 2017.

    Examples
    --------
    >>> from skinfo import ClusteringScore
    >>> est = ClusteringScore().fit([[0.0], [0.1], [5.0], [5.2]], [0, 0, 1, 1])
    >>> est.auc_
    1.0
    >>> est.class_distances_.round(3).tolist()
    [[0.1, 5.05], [5.05, 0.2]]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "metric": [StrOptions({"euclidean", "cosine"})],
        "criterion": [StrOptions(set(_SIGNS))],
        "measures": [StrOptions({"all"}), tuple, list, set, frozenset],
        "bin_width": [Interval(Real, 0, None, closed="neither"), None],
        "max_inputs": [Interval(Integral, 10, None, closed="left"), None],
        "max_pairs": [Interval(Integral, 100, None, closed="left"), None],
        "random_state": ["random_state"],
        "n_jobs": [Integral, None],
        "device": [object],
    }

    #: A flow hands over one noisy row per input.
    uses_replicas: ClassVar[bool] = False

    def __init__(
        self,
        *,
        metric: str = "euclidean",
        criterion: str = "auc",
        measures: str | Iterable[str] = ("silhouette", "nc1"),
        bin_width: float | None = None,
        max_inputs: int | None = None,
        max_pairs: int | None = None,
        random_state: Any = None,
        n_jobs: int | None = None,
        device: Any = None,
    ) -> None:
        self.metric = metric
        self.criterion = criterion
        self.measures = measures
        self.bin_width = bin_width
        self.max_inputs = max_inputs
        self.max_pairs = max_pairs
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.device = device

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = not self._is_unlabelled
        return tags

    @property
    def memory_factor(self) -> float:
        """Peak memory of a fit, in copies of the layer in double precision."""
        return 6.0 if self.measures == "all" or {*self.measures} - {"silhouette", "nc1"} else 4.0

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
    ) -> ClusteringScore:
        """Measure the distances and how the rows cluster.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_units)
            Activations (T).
        y : array-like of shape (n_samples,) or (n_samples, n_sets), data frame, or dict of arrays
            Class of each row's input; several label sets share one pass over the pairs. Not needed
            where ``measures`` are of "intrinsic_dimension" and "binned_entropy" alone.
        groups : array-like of shape (n_samples,), default=None
            Input of each row; rows of one group are never paired.
        sample_weight : array-like of shape (n_samples,), default=None
            Probability of each row's input, up to a factor; a pair counts as the product of two.
        clusters : array-like of shape (n_samples,), default=None
            What each row was drawn together with, such as the sequence of a token: what inputs
            drawn anew add to the error of the AUC is then of clusters drawn anew, and NaN of one
            alone. Its rows are paired all the same. None: every input was drawn independently.

        Returns
        -------
        ClusteringScore
            The estimator itself.

        Raises
        ------
        ValueError
            Without y, with one class only, with no class of two inputs, also of a sample, more than
            eight label sets, for an unknown measure, for "binned_entropy" without ``bin_width``, or
            for the input errors named in the message.
        """
        wanted = self._wanted()
        if y is None and self._is_unlabelled:
            rows = check_rows(self, X, None, groups, sample_weight)
            return self._keep({}, [], rows, wanted)
        whole, whole_sets = self._check(X, y, groups, sample_weight, clusters)
        members = self._members(whole)
        rows, label_sets = whole.part(members), [labels.part(members) for labels in whole_sets]
        for every, labels in zip(whole_sets, label_sets, strict=True):
            lost = not makes_pairs(labels.codes[rows.first_rows])
            if lost and makes_pairs(every.codes[whole.first_rows]):
                raise ValueError(
                    f"The sample of max_inputs={self.max_inputs} holds no two inputs of one class, "
                    "or one class alone, unlike all inputs together; take more."
                )
        device = device_for(self.device, X=X, y=y, groups=groups, sample_weight=sample_weight)
        by_set: dict[Any, dict[str, Any]] = {}
        quantities: list[Quantity] = []
        for every, labels, distances in zip(
            whole_sets, label_sets, self._distances(rows, label_sets, device), strict=True
        ):
            labelled, measured = replace(rows, labels=labels.codes), distances.quantities()
            for name in wanted:
                if name == "silhouette":
                    measured += self._measure(name, replace(whole, labels=every.codes))
                elif name not in _UNLABELLED:
                    measured += self._measure(name, labelled)
            if members is not None:
                measured = type(measured)(map(_of_sample, measured))
            by_set[labels.name] = {
                "distance_edges_": distances.edges,
                "within_histogram_": distances.within,
                "between_histogram_": distances.between,
                "within_quantiles_": np.array([q.value for q in distances.quantiles("within")]),
                "between_quantiles_": np.array([q.value for q in distances.quantiles("between")]),
                "class_distances_": distances.class_distances,
                "classes_": labels.classes,
                **{f"{q.name}_": q.value for q in measured if "_q" not in q.name},
            }
            suffix = "" if labels.name is None else f" [{labels.name}]"
            quantities += [replace(quantity, name=quantity.name + suffix) for quantity in measured]
        attributes = by_set[label_sets[0].name]
        if list(by_set) != [None]:
            attributes = {name: {key: by_set[key][name] for key in by_set} for name in attributes}
        return self._keep(attributes, quantities, whole, wanted)

    def _keep(
        self, attributes: dict[str, Any], quantities: list[Quantity], rows: Rows,
        wanted: tuple[str, ...],
    ) -> ClusteringScore:  # fmt: skip
        """Keep what depends on labels, and measure what does not."""
        members = self._members(rows)
        rows = rows.part(members)
        shared = [q for name in wanted if name in _UNLABELLED for q in self._measure(name, rows)]
        if members is not None:
            shared = [*map(_of_sample, shared)]
        self._set_attributes(attributes | {f"{q.name}_": q.value for q in shared})
        self.quantities_ = (*quantities, *shared)
        self.notes_ = notes_of(self.quantities_)
        return self

    @property
    def _is_unlabelled(self) -> bool:
        """Whether no measure that was asked for depends on labels."""
        names = set(MEASURES) if isinstance(self.measures, str) else set(self.measures)
        return bool(names) and names <= set(_UNLABELLED) and self.criterion not in _LABELLED

    def score(self, X: Any, y: Any) -> float:
        """Measure the criterion on other activations; larger always means more clustered.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_units)
            Activations (T).
        y : array-like of shape (n_samples,)
            Class of each row, of one label set.

        Returns
        -------
        float
            AUC, silhouette, minus NC1, or minus H(Bin(T)) as a share of log n.
        """
        check_is_fitted(self)
        self._wanted()
        rows, label_sets = self._check(X, y, reset=False)
        if len(label_sets) > 1:
            raise ValueError(
                f"score returns one number; y holds {len(label_sets)} label sets. Pass one of them."
            )
        rows = replace(rows, labels=label_sets[0].codes)
        if self.criterion == "auc":
            device = device_for(self.device, X=X, y=y)
            criterion = self._distances(rows, label_sets, device)[0].auc
        else:
            *_, criterion = self._measure(self.criterion, rows)
        return _SIGNS[self.criterion] * criterion.value

    def check_settings(self) -> None:
        """Check the parameters as far as that is possible without activations.

        Raises
        ------
        ValueError
            For an unknown measure, "binned_entropy" without ``bin_width``, or a device that is not
            there.
        """
        device_for(self.device)
        self._wanted()

    def _wanted(self) -> tuple[str, ...]:
        """Names of what is measured beside the distances, in a fixed order."""
        if isinstance(self.measures, str):
            names = set(MEASURES) - (set() if self.bin_width else {"binned_entropy"})
        else:
            names = set(self.measures)
        if names - set(MEASURES):
            raise ValueError(
                f"measures holds {sorted(names - set(MEASURES))[0]!r}; known are 'all' and "
                f"{', '.join(map(repr, MEASURES))}."
            )
        names |= {self.criterion} & set(MEASURES)
        if "binned_entropy" in names and self.bin_width is None:
            raise ValueError(
                "'binned_entropy' needs bin_width, the width of its cells in the units of the "
                "activations: the number means nothing without."
            )
        return tuple(name for name in MEASURES if name in names)

    def _check(
        self,
        X: Any,
        y: Any,
        groups: Any = None,
        sample_weight: Any = None,
        clusters: Any = None,
        *,
        reset: bool = True,
    ) -> tuple[Rows, list[_LabelSet]]:
        if y is None:
            raise ValueError(
                "ClusteringScore requires y to be passed, but the target y is None: clustering by "
                "class needs the class of each row."
            )
        several = _label_sets(y)
        if not several:
            raise ValueError("y holds no label set.")
        names = [str(name).strip() for name in several]
        if len(set(names)) < len(names):
            raise ValueError(
                f"The label sets of y are told apart by their names in the results; {names!r} are "
                "alike but for blanks or type. Rename them."
            )
        checked = {
            name: check_labels(labels, len(as_array(labels, "y")))
            for name, labels in several.items()
        }
        lengths = {name: len(labels) for name, labels in checked.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"The label sets of y have different lengths: {lengths}.")
        coded = [np.unique(labels, return_inverse=True) for labels in checked.values()]
        # Rows that no set tells apart share one joint label.
        _, first, joint = np.unique(
            np.stack([codes for _, codes in coded]), axis=1, return_index=True, return_inverse=True
        )
        joint = joint.ravel()
        rows = check_rows(self, X, joint, groups, sample_weight, clusters=clusters, reset=reset)
        if sample_weight is not None:
            joint = joint[counted(np.asarray(as_array(sample_weight), dtype=np.float64))]
        # One row of each joint label that is left where rows of weight zero are dropped.
        examples = first[np.unique(joint)]
        label_sets = []
        for name, (classes, codes) in zip(checked, coded, strict=True):
            left, renumbered = np.unique(codes[examples], return_inverse=True)
            label_sets.append(_LabelSet(name, classes[left], renumbered[rows.required_labels()]))
        return rows, label_sets

    def _members(self, rows: Rows) -> np.ndarray | None:
        """The rows of a sample of the inputs; None for all."""
        if self.max_inputs is None:
            return None
        random = 0 if self.random_state is None else self.random_state
        seed = int(check_random_state(random).randint(2**31 - 1))
        return rows.sampled(self.max_inputs, seed)

    def _distances(
        self, rows: Rows, label_sets: list[_LabelSet], device: str | None
    ) -> list[Distances]:
        random = None if self.random_state is None else check_random_state(self.random_state)
        codes = np.stack([labels.codes for labels in label_sets])
        return measure_label_sets(
            rows, codes, self.metric, max_pairs=self.max_pairs, random_state=random,
            n_jobs=self.n_jobs, device=device,
        )  # fmt: skip

    def _measure(self, name: str, rows: Rows) -> tuple[Quantity, ...]:
        # Several threads would sum in another order, and change the last digits.
        with ONE_BLAS_THREAD:
            return MEASURES[name](rows, self.metric, self.bin_width, self.n_jobs)

    def _set_attributes(self, attributes: dict[str, Any]) -> None:
        """Set what was measured, and delete what only an earlier fit measured."""
        for name in getattr(self, "_measured", ()):
            delattr(self, name)
        for name, value in attributes.items():
            setattr(self, name, value)
        self._measured = tuple(attributes)


def _of_sample(quantity: Quantity) -> Quantity:
    """A number of a sample of the inputs, with its error over inputs; NaN where none is known."""
    if np.isnan(quantity.stderr_other_inputs):
        if quantity.stderr == 0:
            quantity = replace(quantity, stderr=np.nan, lower=np.nan, upper=np.nan)
        return quantity.noted("sampled")
    # Of a probability.
    error = float(np.hypot(quantity.stderr, quantity.stderr_other_inputs))
    ends = np.clip([quantity.lower - 1.96 * error, quantity.upper + 1.96 * error], 0.0, 1.0)
    return replace(
        quantity, stderr=error, lower=ends[0], upper=ends[1], stderr_other_inputs=0.0
    ).noted("sampled")


class _LabelSet(NamedTuple):
    name: Any  # None for a plain y
    classes: np.ndarray
    codes: np.ndarray  # of each row

    def part(self, members: np.ndarray | None) -> _LabelSet:
        """Some of the rows, None for all, with the classes that they have."""
        if members is None:
            return self
        left, renumbered = np.unique(self.codes[members], return_inverse=True)
        return _LabelSet(self.name, self.classes[left], renumbered)


def _label_sets(y: Any) -> dict[Any, Any]:
    """Label sets by name or column number; a plain y is named None."""
    if isinstance(y, Mapping):
        return dict(y)
    # A data frame of pandas or polars.
    if hasattr(y, "columns") and y.shape[1] > 1:
        return {name: y[name].to_numpy() for name in y.columns}
    columns = np.asarray(as_array(y, "y"))
    if columns.ndim == 2 and columns.shape[1] > 1:
        hot, cold = (columns == 1).sum(axis=1), (columns == 0).sum(axis=1)
        if (hot == 1).all() and (hot + cold == columns.shape[1]).all():
            raise ValueError(
                "y is one-hot, one column per class: pass y.argmax(axis=1). Should its columns be "
                "label sets of their own, pass a dict of them."
            )
        return {k: columns[:, k] for k in range(columns.shape[1])}
    return {None: y}
