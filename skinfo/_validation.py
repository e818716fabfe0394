"""The door: what users hand in becomes checked rows, or an error that says what, where and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import check_consistent_length, column_or_1d
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_sample_weight, validate_data

from skinfo._rows import Rows


def check_activations(estimator: Any, X: Any, *, reset: bool) -> np.ndarray:
    """Check an array of activations; names row and column of a NaN or an infinity."""
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
                f"X has shape {tuple(shape)}; expected one row an input and one column a unit. "
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


def _first_not_finite(X: Any) -> tuple[int, int] | None:
    values = np.asarray(X)
    if values.dtype.kind == "O":
        values = values.astype(np.float64)
    if values.dtype.kind != "f" or values.ndim != 2:
        return None
    found = np.argwhere(~np.isfinite(values))
    return (int(found[0, 0]), int(found[0, 1])) if len(found) else None


def check_rows(
    estimator: Any, X: Any, y: Any, groups: Any, sample_weight: Any, *, reset: bool = True
) -> Rows:
    """Check activations with their labels, groups and weights.

    Raises
    ------
    ValueError
        For NaN, infinities, too few rows, arrays of unequal lengths, a continuous y, groups that
        hold no replicas, two labels or two weights within a group, negative or all-zero weights.
    """
    points = check_activations(estimator, X, reset=reset)
    labels = None if y is None else check_labels(y, len(points))
    codes = None if groups is None else _check_groups(groups, len(points))
    weights = None
    if sample_weight is not None:
        weights = _check_sample_weight(
            sample_weight, points, dtype=np.float64, ensure_non_negative=True
        )
    if codes is not None:
        _check_constant_within(codes, labels, "y", "the label of its input")
        _check_constant_within(codes, weights, "sample_weight", "the weight of its input")
    return Rows.make(points, groups=codes, labels=labels, input_weights=weights)


def check_labels(y: Any, n: int) -> np.ndarray:
    """Check one label a row; a continuous y is an error."""
    labels = column_or_1d(y, warn=True)
    _check_not_missing(labels, "y")
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


def _check_not_missing(values: np.ndarray, name: str) -> None:
    missing = np.asarray(pd.isna(values))
    if values.dtype.kind == "f":
        missing |= np.isinf(values)
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise ValueError(
            f"Input {name} contains NaN, infinity or None; the first stands in row {row}."
        )


def _check_groups(groups: Any, n: int) -> np.ndarray:
    values = column_or_1d(groups)
    _check_not_missing(values, "groups")
    check_consistent_length(values, np.empty(n))
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    if counts.max() < 2:
        raise ValueError(
            "groups names the input of each row, so that rows of one group are replicas; here no "
            "group has two rows. Pass groups=None if every row is an input of its own."
        )
    return codes


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
            f"{name} differs within a group: row {row} has {values[row]!r}, row "
            f"{first[codes[row]]} of the same group {values[first[codes[row]]]!r}. "
            f"A row's {name} is {meaning}, so all replicas share it."
        )
