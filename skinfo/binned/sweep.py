"""One layer of a deterministic network, binned with many widths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils._param_validation import validate_parameter_constraints

from skinfo._rows import check_list, check_rows
from skinfo.binned.cells import WidthCells
from skinfo.binned.entropy import measure_binned
from skinfo.binned.estimator import BinningMIEstimator
from skinfo.quantities import JOINT, notes_of

#: Columns of a sweep over widths.
SWEEP_COLUMNS = (
    "bin_width", "binned_entropy", "binned_mutual_info", "binned_label_mutual_info", "n_occupied",
    "binned_ceiling", "unit", "notes",
)  # fmt: skip


def binning_sweep(
    X: Any,
    y: Any = None,
    *,
    bin_widths: Any,
    groups: Any = None,
    sample_weight: Any = None,
    correction: str | None = None,
    units: str = "nats",
) -> pd.DataFrame:
    r"""Bin one layer with every width of a list, and see at which its inputs cluster.

    For a width w a row t falls into the cell floor(t / w), the product over the units, and

    .. math:: I(X;Bin(T)) = H(Bin(T)) - H(Bin(T)|X), \qquad I(Y;Bin(T)) = H(Bin(T)) - H(Bin(T)|Y),

    where H(Bin(T)|X) is 0 unless groups hold replicas. For a deterministic network the curve is no
    information: as w shrinks it climbs to log n, whatever the weights, and where it bends is the
    distance at which inputs cluster.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_units)
        Activations (T).
    y : array-like of shape (n_samples,), default=None
        Label of each row's input.
    bin_widths : array-like of shape (n_widths,)
        Widths, in the units of the activations, all different.
    groups : array-like of shape (n_samples,), default=None
        Input of each row; rows of one group are replicas of it.
    sample_weight : array-like of shape (n_samples,), default=None
        Probability of each row's input, up to a factor; equal within a group.
    correction : {"miller-madow"} or None, default=None
        What is added to every entropy, as by :class:`skinfo.BinningMIEstimator`.
    units : {"nats", "bits"}, default="nats"
        Unit of every information and entropy.

    Returns
    -------
    pandas.DataFrame
        Columns bin_width, binned_entropy, binned_mutual_info, binned_label_mutual_info (NaN
        without y), n_occupied, binned_ceiling (H of the inputs), unit, notes; widths in the order
        given. A note is made of words from :data:`skinfo.quantities.NOTES`: "at ceiling" where
        bins are too narrow, "in one cell" where they are too wide to show anything, "correction
        beyond bounds", "too few replicas" in place of a ReplicaWarning.

    Raises
    ------
    ValueError
        For no width, one that is not positive and finite, one given twice, cells too narrow to be
        counted, a correction of rows that weigh differently, and the input errors of
        :class:`skinfo.BinningMIEstimator`.

    Notes
    -----
    Every line is what BinningMIEstimator gives with this width and correction, to the last bit.
    The activations are checked once; the cells are counted anew at each width, so that the time
    grows with the number of widths.

    References
    ----------
    Goldfeld et al., "Estimating Information Flow in Deep Neural Networks", ICML 2019, section 5;
    Saxe et al., "On the Information Bottleneck Theory of Deep Learning", ICLR 2018.

    Examples
    --------
    >>> from skinfo import binning_sweep
    >>> X = [[0.1], [0.3], [0.6], [0.9]]
    >>> sweep = binning_sweep(X, [0, 0, 1, 1], bin_widths=[0.25, 0.5, 1.0], units="bits")
    >>> sweep[["bin_width", "binned_entropy", "binned_label_mutual_info"]]
       bin_width  binned_entropy  binned_label_mutual_info
    0       0.25             2.0                       1.0
    1       0.50             1.0                       1.0
    2       1.00             0.0                       0.0
    >>> sweep["notes"].tolist()
    ['at ceiling', '', 'in one cell']
    """
    estimator = BinningMIEstimator(correction=correction, units=units)
    validate_parameter_constraints(
        BinningMIEstimator._parameter_constraints, estimator.get_params(), "binning_sweep"
    )
    widths = check_list(bin_widths, "bin_widths", "widths", _check_width)
    rows = check_rows(estimator, X, y, groups, sample_weight)
    lines = []
    for width in widths:
        quantities = measure_binned(rows, WidthCells(width), correction)
        notes = JOINT.join(notes_of(quantities.values()))
        line = {name: quantity.in_units(units).value for name, quantity in quantities.items()}
        lines.append(line | {"bin_width": width, "unit": units, "notes": notes})
    sweep = pd.DataFrame(lines, columns=list(SWEEP_COLUMNS))
    return sweep.astype({"n_occupied": np.int64, "binned_label_mutual_info": np.float64})


def _check_width(width: float) -> float:
    if not (width > 0 and np.isfinite(width)):
        raise ValueError(f"bin_widths must be positive numbers; got {width:g}.")
    return width
