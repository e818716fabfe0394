"""What sort of estimator measured the rows of a table, and what its quantities are called."""

from __future__ import annotations

import pandas as pd

__all__ = [
    "BINNED_NAMES",
    "CLUSTERING_NAMES",
    "GUIDES",
    "MARKS",
    "NOISY_NAMES",
    "estimator_of",
    "estimators_of",
    "kind_of",
    "symbol",
]

#: A quantity that only one sort of estimator measures: it tells what, say, its "entropy" is.
MARKS = {"noisy": "conditional_entropy", "binned": "n_occupied"}
#: Quantities of a noisy layer.
NOISY_NAMES = {
    "mutual_info": "I(X;T)",
    "label_mutual_info": "I(Y;T)",
    "plug_in": "Plug-in I(X;T)",
    "entropy": "h(T)",
    "conditional_entropy": "h(T|X)",
    "mutual_info_pairwise_lower": "Pairwise lower bound of I(X;T)",
    "mutual_info_pairwise_upper": "Pairwise upper bound of I(X;T)",
}
#: Quantities of a binned layer.
BINNED_NAMES = {
    "binned_mutual_info": "I(X;Bin(T))",
    "binned_label_mutual_info": "I(Y;Bin(T))",
    "binned_entropy": "H(Bin(T))",
    "n_occupied": "Cells occupied",
    "singleton_fraction": "Share of rows alone in a cell",
    "outside_fraction": "Share of values outside the edges",
}
#: Quantities of clustering; the arrow says which way more clustered lies.
CLUSTERING_NAMES = {
    "auc": "Clustering AUC ↑",
    "silhouette": "Silhouette ↑",
    "nc1": "NC1 ↓",
    "nc2_equinorm": "NC2 equinorm ↓",
    "nc2_equiangularity": "NC2 equiangularity ↓",
    "nc2_maximal_angle": "NC2 maximal angle ↓",
    "calinski_harabasz": "Calinski-Harabasz ↑",
    "davies_bouldin": "Davies-Bouldin ↓",
    "intrinsic_dimension": "Intrinsic dimension",
    "binned_entropy_share": "H(Bin(T)) / log n ↓",
    "within_mean": "Mean distance within",
    "between_mean": "Mean distance between",
}
#: Where there is no clustering.
GUIDES = {"auc": 0.5, "silhouette": 0.0}


def kind_of(table: pd.DataFrame, estimator: str) -> str:
    """Tell what sort of estimator measured some rows of a table: noisy, binned or other.

    Examples
    --------
    >>> rows = pd.DataFrame({"estimator": ["mine"], "quantity": ["n_occupied"]})
    >>> kind_of(rows, "mine")
    'binned'
    """
    measured = set(table.loc[table["estimator"] == estimator, "quantity"])
    return next((kind for kind, mark in MARKS.items() if mark in measured), "other")


def estimators_of(table: pd.DataFrame, quantity: str) -> list[str]:
    """Names of the estimators in a table that measured a quantity, in its order."""
    found = table.loc[table["quantity"] == quantity, "estimator"]
    return [str(name) for name in dict.fromkeys(found)]


def estimator_of(table: pd.DataFrame, quantity: str) -> str | None:
    """Name of the first estimator in a table that measured a quantity."""
    return next(iter(estimators_of(table, quantity)), None)


def symbol(kind: str, quantity: str) -> str:
    """What a quantity is called on an axis; that of one label set keeps the set's name.

    Examples
    --------
    >>> symbol("binned", "binned_entropy"), symbol("other", "auc [fine]")
    ('H(Bin(T))', 'Clustering AUC ↑ [fine]')
    """
    base, space, label_set = quantity.partition(" [")
    known = (BINNED_NAMES if kind == "binned" else NOISY_NAMES) | CLUSTERING_NAMES
    return known.get(base, base.replace("_", " ")) + space + label_set
