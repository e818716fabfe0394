"""What the quantities of a table are called, what limits them, and which come first."""

from __future__ import annotations

import pandas as pd

from skinfo.plotting.clustering import NAMES as CLUSTERING

# By what else an estimator measures one knows what its "entropy" is.
_MARKS = {"noisy": "conditional_entropy", "binned": "n_occupied"}
_NOISY = {
    "mutual_info": "I(X;T)",
    "label_mutual_info": "I(Y;T)",
    "plug_in": "Plug-in I(X;T)",
    "entropy": "h(T)",
    "conditional_entropy": "h(T|X)",
    "mutual_info_pairwise_lower": "Pairwise lower bound of I(X;T)",
    "mutual_info_pairwise_upper": "Pairwise upper bound of I(X;T)",
}
_BINNED = {
    "mutual_info": "I(X;Bin(T))",
    "label_mutual_info": "I(Y;Bin(T))",
    "entropy": "H(Bin(T))",
    "n_occupied": "Cells occupied",
    "singleton_fraction": "Share of rows alone in a cell",
    "outside_fraction": "Share of values outside the edges",
}
_SYMBOLS = {"noisy": _NOISY, "binned": _BINNED, "other": _NOISY}
# What is limited by which quantity of the same estimator.
_CEILINGS = {
    ("noisy", "mutual_info"): "ceiling",
    ("noisy", "plug_in"): "ceiling",
    ("noisy", "label_mutual_info"): "label_ceiling",
    ("binned", "mutual_info"): "ceiling",
    ("binned", "entropy"): "ceiling",
    ("other", "mutual_info"): "ceiling",
    ("other", "label_mutual_info"): "label_ceiling",
}
# What is counted, or a ratio: drawn in the logarithm where it reaches far.
_RATIOS = {"n_occupied", "nc1", "calinski_harabasz", "davies_bouldin"}
_MAIN = {
    ("noisy", "mutual_info"), ("noisy", "label_mutual_info"), ("binned", "entropy"),
    ("other", "mutual_info"), ("other", "label_mutual_info"), ("other", "auc"),
}  # fmt: skip


def kind_of(table: pd.DataFrame, estimator: str) -> str:
    """Tell what sort of estimator measured some rows of a table: noisy, binned or other.

    Examples
    --------
    >>> rows = pd.DataFrame({"estimator": ["mine"], "quantity": ["n_occupied"]})
    >>> kind_of(rows, "mine")
    'binned'
    """
    measured = set(table.loc[table["estimator"] == estimator, "quantity"])
    return next((kind for kind, mark in _MARKS.items() if mark in measured), "other")


def is_ceiling(quantity: str) -> bool:
    """Whether a quantity is drawn as the limit of another."""
    return quantity in ("ceiling", "label_ceiling")


def symbol(kind: str, quantity: str) -> str:
    """What a quantity is called on an axis; that of one label set keeps the set's name.

    Examples
    --------
    >>> symbol("binned", "entropy"), symbol("other", "auc [fine]")
    ('H(Bin(T))', 'Clustering AUC ↑ [fine]')
    """
    base, space, label_set = quantity.partition(" [")
    known = _SYMBOLS[kind] | CLUSTERING
    return known.get(base, base.replace("_", " ")) + space + label_set


def ceiling_of(kind: str, quantity: str) -> str | None:
    """Name of the quantity that limits another, if there is one."""
    return _CEILINGS.get((kind, quantity))


def is_ratio(quantity: str) -> bool:
    """Whether a quantity is one that is drawn in the logarithm where it reaches far."""
    return quantity.partition(" [")[0] in _RATIOS


def is_main(kind: str, quantity: str) -> bool:
    """Whether a quantity is one of those that are looked at first."""
    return (kind, quantity.partition(" [")[0]) in _MAIN
