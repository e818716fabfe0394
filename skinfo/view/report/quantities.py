"""What limits the quantities of a table, and which of them come first."""

from __future__ import annotations

# What is limited by which quantity of the same estimator.
_CEILINGS = {
    ("noisy", "mutual_info"): "ceiling",
    ("noisy", "plug_in"): "ceiling",
    ("noisy", "label_mutual_info"): "label_ceiling",
    ("binned", "binned_mutual_info"): "binned_ceiling",
    ("binned", "binned_entropy"): "binned_ceiling",
    ("other", "mutual_info"): "ceiling",
    ("other", "label_mutual_info"): "label_ceiling",
}
# What is counted, or a ratio: drawn in the logarithm where it reaches far.
_RATIOS = {"n_occupied", "nc1", "calinski_harabasz", "davies_bouldin"}
_MAIN = {
    ("noisy", "mutual_info"), ("noisy", "label_mutual_info"), ("binned", "binned_entropy"),
    ("other", "mutual_info"), ("other", "label_mutual_info"), ("other", "auc"),
}  # fmt: skip


def is_ceiling(quantity: str) -> bool:
    """Whether a quantity is drawn as the limit of another."""
    return quantity in ("ceiling", "label_ceiling", "binned_ceiling")


def ceiling_of(kind: str, quantity: str) -> str | None:
    """Name of the quantity that limits another, if there is one."""
    return _CEILINGS.get((kind, quantity))


def is_ratio(quantity: str) -> bool:
    """Whether a quantity is one that is drawn in the logarithm where it reaches far."""
    return quantity.partition(" [")[0] in _RATIOS


def is_main(kind: str, quantity: str) -> bool:
    """Whether a quantity is one of those that are looked at first."""
    return (kind, quantity.partition(" [")[0]) in _MAIN
