"""Rows of activations: checked, and with the weight, the input and the label of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import issparse
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_sample_weight, validate_data

#: Why a standard deviation of 0 is an error.
NOISELESS = (
    "Without noise nothing tells near from far: inputs with different activations are told apart, "
    "so I(X;T) of a tanh network is H(X) for a finite data set and infinite for a continuous "
    "input, for almost all weights. For deterministic networks use BinningMIEstimator or "
    "ClusteringScore, which measure how the activations cluster."
)
# Weights below this share of the largest are zero.
_LIGHTEST = 1e-300
# Rows that are copied to double precision at a time.
_AT_A_TIME = 512
# Types that numpy lacks and float32 holds exactly.
_NARROW = ("bfloat16", "float8")


@dataclass(frozen=True)
class Rows:
    """Checked activations, ready to be measured."""

    points: np.ndarray  # (n, d): activations before this layer's own noise
    weights: np.ndarray  # (n,): probability of each row, p(x) / r_x; positive, sums to 1
    # (n,), int64: the input of each row, 0 … n_inputs - 1; rows of one input are its replicas.
    inputs: np.ndarray
    # (n,), int64, or None: the label of each row's input, 0 … n_labels - 1.
    labels: np.ndarray | None = None
    # (n, d) or None: standard deviations of the noise, where each row has noise of its own.
    deviations: np.ndarray | None = None
    # (n_labels,) or None: what the labels are called, sorted.
    classes: np.ndarray | None = None
    # (n_given,), bool, or None for all: which of the inputs given, in their order, are here.
    kept: np.ndarray | None = None
    # (n,), int64, or None: rows of one cluster were not drawn independently; inputs lie within one.
    clusters: np.ndarray | None = None

    @classmethod
    def make(
        cls,
        points: np.ndarray,
        *,
        groups: np.ndarray | None = None,
        labels: np.ndarray | None = None,
        input_weights: np.ndarray | None = None,
        deviations: np.ndarray | None = None,
        clusters: np.ndarray | None = None,
    ) -> Rows:
        """Build rows from arrays of any codes; rows of weight zero are dropped.

        ``input_weights`` holds the unnormalised p(x) of each row's input, equal within a group. A
        weight below 1e-300 of the largest is zero: as a probability it would underflow.
        """
        n = len(points)
        mass = np.ones(n) if input_weights is None else np.asarray(input_weights, dtype=np.float64)
        keep = counted(mass)
        mass = mass / mass.max()
        kept = keep if groups is None else keep[np.unique(groups, return_index=True)[1]]
        if not keep.all():
            points, mass = points[keep], mass[keep]
            groups = None if groups is None else groups[keep]
            labels = None if labels is None else labels[keep]
            deviations = None if deviations is None else deviations[keep]
            clusters = None if clusters is None else clusters[keep]
        inputs, counts = np.arange(len(points)), np.ones(len(points), dtype=np.int64)
        if groups is not None:
            _, inputs, counts = np.unique(groups, return_inverse=True, return_counts=True)
        weights = mass / counts[inputs]
        classes, codes = None, None
        if labels is not None:
            classes, codes = np.unique(labels, return_inverse=True)
        weights = weights / weights.sum()
        if clusters is not None:
            clusters = np.unique(clusters, return_inverse=True)[1]
        return cls(
            points, weights, inputs.astype(np.int64), codes, deviations, classes, kept, clusters
        )

    def of_given(self, values: np.ndarray) -> np.ndarray:
        """A value of every input given; NaN for those of weight zero."""
        if self.kept is None:
            return values
        every = np.full(len(self.kept), np.nan)
        every[self.kept] = values
        return every

    def weights_of_half(self, half: int) -> np.ndarray:
        """Weights of every other replica, which then stand for all of their input; 0 elsewhere.

        An input without replicas keeps its row.
        """
        inside = self.weights * (self.replica_numbers % 2 == half)
        mass = np.bincount(self.inputs, weights=inside)[self.inputs]
        share = self.input_weights[self.inputs] / np.where(mass > 0, mass, 1.0)
        return np.where(mass > 0, inside * share, self.weights)

    def take(self, members: np.ndarray) -> Rows:
        """Some of the rows, with the weights that they have."""
        return Rows(
            self.points[members],
            self.weights[members],
            np.unique(self.inputs[members], return_inverse=True)[1],
            None if self.labels is None else self.labels[members],
            None if self.deviations is None else self.deviations[members],
            clusters=None if self.clusters is None else self.clusters[members],
        )

    def sampled(self, most: int | None, seed: int) -> np.ndarray | None:
        """The rows of ``most`` inputs drawn at random; None where there are no more than these."""
        n_inputs = len(self.input_weights)
        if most is None or n_inputs <= most:
            return None
        chosen = np.zeros(n_inputs, dtype=bool)
        chosen[np.random.default_rng(seed).choice(n_inputs, most, replace=False)] = True
        return np.flatnonzero(chosen[self.inputs])

    def part(self, members: np.ndarray | None) -> Rows:
        """Some of the rows, None for all, with the weights and the labels of a law of their own."""
        if members is None:
            return self
        part = self.take(members)
        labels, clusters = (
            None if codes is None else np.unique(codes, return_inverse=True)[1].astype(np.int64)
            for codes in (part.labels, part.clusters)
        )
        weights = part.weights / part.weights.sum()
        return replace(part, weights=weights, labels=labels, clusters=clusters)

    def scale_of(self, unit: str) -> float:
        """What a sigma in "activations" or in "rms" is multiplied with.

        The latter is the root mean square deviation of the rows from their mean, of a unit on
        average; 1 where all are the same, and nothing is known of them whatever the noise.
        """
        if unit == "activations":
            return 1.0
        starts = range(0, len(self.points), _AT_A_TIME)
        parts = [slice(start, start + _AT_A_TIME) for start in starts]
        mean = np.sum([self.weights[part] @ self.points[part] for part in parts], axis=0)
        square = 0.0
        for part in parts:
            off = self.points[part] - mean
            square += float(self.weights[part] @ np.einsum("ij,ij->i", off, off))
        rms = float(np.sqrt(square / len(mean)))
        if not np.isfinite(rms):
            raise ValueError(
                "the root mean square deviation of these rows overflows; divide them by their "
                "largest value before they are measured."
            )
        # Rows that are all the same differ from their mean by its rounding.
        return rms if rms > np.abs(mean).max() * 1e-12 else 1.0

    @property
    def independent(self) -> np.ndarray:
        """(n,), int64: the part of the sample that each row was drawn with, alone: an input."""
        return self.inputs if self.clusters is None else self.clusters

    @cached_property
    def independent_weights(self) -> np.ndarray:
        """Probability of every part that was drawn independently of the others."""
        return np.bincount(self.independent, weights=self.weights)

    @cached_property
    def input_weights(self) -> np.ndarray:
        """p(x) of every input."""
        return np.bincount(self.inputs, weights=self.weights)

    @cached_property
    def replicas(self) -> np.ndarray:
        """Number of rows of every input."""
        return np.bincount(self.inputs)

    @cached_property
    def first_rows(self) -> np.ndarray:
        """The first row of every input."""
        return np.unique(self.inputs, return_index=True)[1]

    @cached_property
    def replica_numbers(self) -> np.ndarray:
        """Position of each row among those of its input, in the order they stand."""
        order = np.argsort(self.inputs, kind="stable")
        starts = np.concatenate([[0], np.cumsum(self.replicas)])[:-1]
        numbers = np.empty(len(order), dtype=np.int64)
        numbers[order] = np.arange(len(order)) - starts[self.inputs[order]]
        return numbers

    @cached_property
    def label_weights(self) -> np.ndarray | None:
        """p(y) of every label."""
        return None if self.labels is None else np.bincount(self.labels, weights=self.weights)

    @cached_property
    def inputs_of_labels(self) -> np.ndarray | None:
        """Number of inputs of every label, or of the clusters in which there are any."""
        if self.labels is None:
            return None
        n_labels = int(self.labels.max()) + 1
        return np.bincount(np.unique(self.independent * n_labels + self.labels) % n_labels)

    @cached_property
    def n_effective(self) -> float:
        """Number of equally likely inputs that tell as much as these do, 1 / sum p(x)^2.

        Of clusters, where the inputs of each were drawn together.
        """
        return float(1 / np.sum(self.independent_weights**2))

    def error_of_mean(self, values: np.ndarray) -> float:
        """Standard error of the mean of a number per row, where what is independent was sampled."""
        off = self.weights * (values - self.weights @ values)
        return float(np.sqrt(np.sum(np.bincount(self.independent, weights=off) ** 2)))

    def required_labels(self) -> np.ndarray:
        """The labels, for measures that need them."""
        if self.labels is None:
            raise ValueError("This measure needs the label of each row.")
        return self.labels

    @property
    def has_replicas(self) -> bool:
        """Whether some input has more than one row."""
        return bool(len(self.replicas) < len(self.points))

    @cached_property
    def input_entropy(self) -> float:
        """H(p) of the inputs in nats: no layer can know more about one of them."""
        return discrete_entropy(self.input_weights)


def counted(weights: np.ndarray) -> np.ndarray:
    """Tell which weights are more than zero beside the largest.

    Examples
    --------
    >>> import numpy as np
    >>> counted(np.array([1.0, 0.0, 1e-301])).tolist()
    [True, False, False]
    """
    return weights / weights.max() > _LIGHTEST


def discrete_entropy(probabilities: np.ndarray) -> float:
    """Entropy in nats of a finite law, -sum p log p.

    Examples
    --------
    >>> import numpy as np
    >>> round(discrete_entropy(np.array([0.25, 0.75])), 6)
    0.562335
    """
    p = probabilities[probabilities > 0]
    entropy = float(-np.sum(p * np.log(p)))
    return entropy if entropy > 1e-14 else 0.0


def as_array(values: Any, name: str = "") -> np.ndarray:
    """An array of the same numbers; a tensor of torch leaves its graph and its device.

    bfloat16 and float8, which numpy lacks, become float32 of the same values. It is a ValueError if
    some values are masked: what is below a mask is no number of anybody's.

    Examples
    --------
    >>> as_array([[1.0, 2.0]]).tolist()
    [[1.0, 2.0]]
    >>> as_array(np.ma.masked_greater([1.0, 9e9], 1e9), "X")
    Traceback (most recent call last):
    ValueError: X holds masked values; fill them or drop their rows.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        if any(narrow in str(values.dtype) for narrow in _NARROW):
            values = values.float()
    parts = values if isinstance(values, list | tuple) else [values]
    if any(np.ma.is_masked(part) for part in parts):
        raise ValueError(f"{name} holds masked values; fill them or drop their rows.".lstrip())
    array = np.asarray(values) if np.ma.isMaskedArray(values) else np.asanyarray(values)
    return array.astype(np.float32) if array.dtype.name.startswith(_NARROW) else array


def one_each(values: Any, name: str) -> np.ndarray:
    """One label, or one number of an input, for each: a list or a column, of numbers or of words.

    Words stored as bytes are decoded, so that they equal those of other files. It is a ValueError
    if they are no such list.

    Examples
    --------
    >>> one_each([[b"cat"], [b"dog"]], "labels").tolist()
    ['cat', 'dog']
    """
    array = as_array(values, name)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or not len(array):
        what = "integer per row" if name == "groups" else "label per input"
        hint = "; of one-hot labels take labels.argmax(axis=1)" if array.ndim == 2 else ""
        raise ValueError(f"{name} must be one {what}; got shape {array.shape}{hint}.")
    if array.dtype.kind == "O":
        # A list of mixed types would become words, so that 1 equals "1".
        kinds = {isinstance(value, str | bytes) for value in array.tolist()}
        array = np.array(array.tolist()) if len(kinds) == 1 else array
    if array.dtype.kind == "S":
        try:
            array = np.char.decode(array, "utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name} holds bytes that are no words in UTF-8 ({error}).") from error
    if array.dtype.kind not in "biufUT":
        raise ValueError(f"{name} must be a list of numbers or of words; got {array.dtype}.")
    _check_not_missing(array, name)
    return array.astype(str) if array.dtype.kind == "T" else array


def check_whole(array: np.ndarray, name: str = "") -> None:
    """Check that double precision tells whole numbers apart: all are measured in it.

    Examples
    --------
    >>> check_whole(np.array([2**53 + 1]), "X")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: X holds whole numbers beyond 2^53, which become one in double precision; ...
    """
    if array.dtype.kind in "iu" and array.size and max(array.max(), -int(array.min())) > 2**53:
        raise ValueError(
            f"{name} holds whole numbers beyond 2^53, which become one in double precision; "
            "subtract an offset first.".lstrip()
        )


def check_activations(estimator: Any, X: Any, *, reset: bool) -> np.ndarray:
    """Check an array of activations; the error names row and column of a NaN or an infinity."""
    X = _unframed(X, "X")
    check_whole(np.asarray(X), "X")
    try:
        # scikit-learn sums the array to find a NaN, and a sum of finite values may be one.
        with np.errstate(invalid="ignore"):
            return validate_data(
                estimator,
                X,
                reset=reset,
                dtype=[np.float64, np.float32],
                ensure_min_samples=2 if reset else 1,
            )
    except ValueError as error:
        shape = np.shape(X) if hasattr(X, "shape") else ()
        if len(shape) > 2:
            raise ValueError(
                f"X has shape {tuple(shape)}; expected one row per input and one column per unit. "
                "Replicas (n_inputs, n_replicas, n_units) become rows with "
                "X.reshape(-1, n_units) and groups=np.repeat(np.arange(n_inputs), n_replicas); "
                "maps and tokens are flattened by open_run(..., flatten=...). "
                f"Found array with dim {len(shape)}."
            ) from None
        not_finite = "NaN" in str(error) or "infinity" in str(error)
        place = _first_not_finite(X) if not_finite else None
        if place is None:
            raise
        row, column = place
        raise ValueError(
            f"{error}\nThe first value that is not finite stands in row {row}, column {column}."
        ) from None


def _unframed(values: Any, name: str) -> Any:
    """An array, or what scikit-learn takes the columns and missing values of, or refuses."""
    framed = hasattr(values, "iloc") or hasattr(values, "columns")
    return values if framed or issparse(values) else as_array(values, name)


def _first_not_finite(X: Any) -> tuple[int, int] | None:
    values = np.asarray(X)
    if values.dtype.kind == "O":
        values = values.astype(np.float64)
    if values.dtype.kind != "f" or values.ndim != 2:
        return None
    places = np.argwhere(~np.isfinite(values))
    return (int(places[0, 0]), int(places[0, 1])) if len(places) else None


def check_rows(
    estimator: Any,
    X: Any,
    y: Any,
    groups: Any,
    sample_weight: Any,
    *,
    scale: Any = None,
    clusters: Any = None,
    reset: bool = True,
) -> Rows:
    """Check activations with their labels, groups, weights, clusters, and the scale of their noise.

    Raises
    ------
    ValueError
        For NaN, infinities, too few rows, arrays of unequal lengths, a continuous y, groups that
        hold no replicas, two labels, weights or clusters within a group, negative or all-zero
        weights, a single cluster.
    """
    points = check_activations(estimator, X, reset=reset)
    deviations = None if scale is None else as_scale(scale, points.shape)
    groups = None if groups is None else _unframed(groups, "groups")
    labels = None if y is None else check_labels(y, len(points))
    codes = None if groups is None else _check_groups(groups, len(points))
    weights = None
    if sample_weight is not None:
        weights = _check_sample_weight(
            _unframed(sample_weight, "sample_weight"),
            points,
            dtype=np.float64,
            ensure_non_negative=True,
        )
        if not weights.any():
            # scikit-learn says so from some version on.
            raise ValueError("sample_weight must hold at least one non-zero weight.")
    if codes is not None:
        _check_constant_within(codes, labels, "y", "the label of its input")
        _check_constant_within(codes, weights, "sample_weight", "the weight of its input")
    if clusters is not None and not getattr(estimator, "population", True):
        raise ValueError(
            "clusters is for population=True: given inputs are all there are, however they were "
            "drawn."
        )
    together = None if clusters is None else _check_clusters(clusters, len(points))
    if together is not None and getattr(estimator, "population", False):
        _check_several(together, weights)
    if codes is not None:
        _check_constant_within(codes, together, "clusters", "that of its input")
    return Rows.make(
        points,
        groups=codes,
        labels=labels,
        input_weights=weights,
        deviations=deviations,
        clusters=together,
    )


def as_scale(scale: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Check that there is a positive standard deviation for every row and unit.

    Examples
    --------
    >>> as_scale([1.0, 2.0], (2, 1))
    Traceback (most recent call last):
    ValueError: scale must hold one standard deviation per row and unit, shape (2, 1); got (2,).
    """
    array = np.asarray(as_array(scale, "scale"))
    if array.dtype.kind not in "iuf":
        raise ValueError(f"scale must hold standard deviations, real numbers; got {array.dtype}.")
    if array.shape != shape:
        raise ValueError(
            f"scale must hold one standard deviation per row and unit, shape {shape}; got "
            f"{array.shape}."
        )
    bad = np.argwhere(~((array > 0) & np.isfinite(array)))
    if len(bad):
        row, unit = bad[0].tolist()
        raise ValueError(
            f"scale must be a positive standard deviation in every row and unit; row {row}, unit "
            f"{unit} has {array[row, unit]:g}. {NOISELESS}"
        )
    return array.astype(np.float64)


def check_labels(y: Any, n: int) -> np.ndarray:
    """Check one label per row; a continuous y is an error."""
    labels = column_or_1d(_unframed(y, "y"), warn=True)
    _check_not_missing(labels, "y")
    labels = one_each(labels, "y") if labels.dtype.kind in "SO" else labels
    if len(labels) != n:
        raise ValueError(
            f"y must hold one label for each row of X; got {len(labels)} labels for {n} rows "
            "(inconsistent numbers of samples)."
        )
    if type_of_target(labels).startswith("continuous"):
        raise ValueError(
            "Unknown label type: y is continuous. I(Y;T) is measured for class labels; bin y "
            "first, for example with sklearn.preprocessing.KBinsDiscretizer."
        )
    return labels


def check_list(
    values: Any, name: str, meaning: str, check: Callable[[float], float]
) -> list[float]:
    """Check a list of different numbers, at least one, each by itself first.

    Examples
    --------
    >>> check_list([0.1, 1], "sigmas", "standard deviations", float)
    [0.1, 1.0]
    """
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.ndim != 1 or not len(numbers):
        raise ValueError(
            f"{name} must be a list of {meaning}, at least one; got an array of shape "
            f"{numbers.shape}."
        )
    checked = [check(number) for number in numbers.tolist()]
    different, counts = np.unique(checked, return_counts=True)
    if len(different) < len(checked):
        raise ValueError(f"{name} holds {different[counts.argmax()]:g} more than once.")
    return checked


def _check_not_missing(values: np.ndarray, name: str) -> None:
    missing = np.asarray(pd.isna(values))
    if values.dtype.kind == "f":
        missing |= np.isinf(values)
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise ValueError(
            f"Input {name} contains NaN, infinity or None; the first stands in row {row}."
        )


def _one_per_row(values: Any, name: str, n: int) -> np.ndarray:
    shape = np.shape(values)
    if shape not in ((n,), (n, 1)):
        raise ValueError(f"{name} must hold one value per row, shape ({n},); got {shape}.")
    column = column_or_1d(values)
    _check_not_missing(column, name)
    return np.asarray(column)


def _check_groups(groups: Any, n: int) -> np.ndarray:
    values = _one_per_row(groups, "groups", n)
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    if counts.max() < 2:
        raise ValueError(
            "groups names the input of each row, so that rows of one group are replicas; here no "
            "group has two rows. Pass groups=None if every row is an input of its own."
        )
    return codes


def _check_clusters(clusters: Any, n: int) -> np.ndarray:
    values = _one_per_row(_unframed(clusters, "clusters"), "clusters", n)
    return np.unique(values, return_inverse=True)[1]


def _check_several(clusters: np.ndarray, weights: np.ndarray | None) -> None:
    counting = clusters if weights is None else clusters[weights > 0]
    if len(np.unique(counting)) < 2:
        raise ValueError(
            "clusters names what each row was drawn together with, a sequence or an augmented "
            "image; here all rows are of one cluster, which says nothing about others."
        )


def _check_constant_within(
    codes: np.ndarray, values: np.ndarray | None, name: str, meaning: str
) -> None:
    if values is None:
        return
    first = np.unique(codes, return_index=True)[1]
    differs = np.flatnonzero(values != values[first][codes])
    if len(differs):
        row = int(differs[0])
        raise ValueError(
            f"{name} differs within a group: row {row} has {values[row]}, row "
            f"{first[codes[row]]} of the same group {values[first[codes[row]]]}. "
            f"A row's {name} is {meaning}, so all replicas share it."
        )
