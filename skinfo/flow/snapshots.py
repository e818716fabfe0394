"""What the picture of a run shows beside its table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from skinfo._rows import Rows
from skinfo.clustered.distances import measure_distances
from skinfo.clustered.pairs import makes_pairs
from skinfo.flow.remembered import collect_remembered, estimator_of_inputs
from skinfo.runs import Activations, Run

__all__ = ["DRAWN_CELLS", "Snapshots", "coarsen", "collect_snapshots", "pick_snapshots"]

#: Cells of a histogram that is drawn.
DRAWN_CELLS = 64
_SCATTER_ROWS = 1000
# Beyond this a range cannot be cut into cells.
_DRAWABLE = 1e300


def _nothing() -> np.ndarray:
    return np.empty(0)


@dataclass(frozen=True)
class Snapshots:
    """What the picture of a run shows beside the table.

    Attributes
    ----------
    layers : list of str
        Layers in network order.
    epochs : ndarray of shape (n_epochs,)
        Checkpoints.
    value_edges : ndarray of shape (n_layers, 65)
        Cells of the activations of each layer.
    value_counts : ndarray of shape (n_layers, n_epochs, 64)
        How many activations fell into each; one sample of T per input.
    snapshot_epochs : ndarray of shape (n_snapshots,)
        Epochs at which the following were kept.
    scatter : ndarray of shape (n_snapshots, n_rows, n_units)
        A sample of T in the last layer.
    scatter_labels : ndarray of shape (n_rows,)
        Its labels; -1 where there are none.
    distance_edges : ndarray of shape (n_layers, n_snapshots, 65)
        Cells of the pairwise distances.
    within, between : ndarray of shape (n_layers, n_snapshots, 64)
        Number of pairs of one class, of two; zeros without labels.
    pointwise, pointwise_stderr : ndarray of shape (n_layers, n_snapshots, n_inputs)
        What the layer knows of each input and its standard error, in nats; see
        :class:`skinfo.NoisyMIEstimator`. NaN where not measured. This and all that follows is
        empty unless an estimator with ``posterior_draws`` was given.
    inputs, input_classes : ndarray of shape (n_inputs,)
        Numbers of these inputs in the run, and of their classes among ``classes``.
    classes : ndarray of shape (n_classes,), str
        Their names; empty without labels, like all that follows.
    confusion, confusion_stderr : ndarray of shape (n_layers, n_snapshots, n_classes, n_classes)
        ``E[P(c'|t) | c]``, a row per class c, and its standard error.
    class_conditional, class_conditional_stderr : ndarray, (n_layers, n_snapshots, n_classes)
        I(X;T|Y=y) of every class in nats and its standard error.
    losses : dict of str to ndarray of shape (n_epochs,)
        Losses and accuracies by name; NaN where not recorded.
    settings : dict
        What produced the table.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import open_run
    >>> from skinfo.flow import collect_snapshots
    >>> rng = np.random.RandomState(0)
    >>> run = open_run({(e, "hidden"): rng.randn(100, 3) for e in (1, 10)}, sigma=0.1)
    >>> snapshots = collect_snapshots(run)
    >>> snapshots.layers, snapshots.value_counts.shape
    (['hidden'], (1, 2, 64))
    """

    layers: list[str]
    epochs: np.ndarray
    value_edges: np.ndarray
    value_counts: np.ndarray
    snapshot_epochs: np.ndarray
    scatter: np.ndarray
    scatter_labels: np.ndarray
    distance_edges: np.ndarray
    within: np.ndarray
    between: np.ndarray
    losses: dict[str, np.ndarray] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    pointwise: np.ndarray = field(default_factory=_nothing)
    pointwise_stderr: np.ndarray = field(default_factory=_nothing)
    inputs: np.ndarray = field(default_factory=_nothing)
    input_classes: np.ndarray = field(default_factory=_nothing)
    classes: np.ndarray = field(default_factory=_nothing)
    confusion: np.ndarray = field(default_factory=_nothing)
    confusion_stderr: np.ndarray = field(default_factory=_nothing)
    class_conditional: np.ndarray = field(default_factory=_nothing)
    class_conditional_stderr: np.ndarray = field(default_factory=_nothing)

    @classmethod
    def without_activations(
        cls,
        layers: list[str],
        losses: Mapping[int, Mapping[str, float]],
        settings: Mapping[Any, Any],
    ) -> Snapshots:
        """Losses, by epoch and name, and settings alone: all else is empty.

        Examples
        --------
        >>> Snapshots.without_activations(["a"], {1: {}, 2: {"loss": 0.5}}, {}).losses
        {'loss': array([nan, 0.5])}
        """
        n, cells = len(layers), DRAWN_CELLS
        return cls(
            layers, np.array(list(losses), dtype=np.int64), np.zeros((n, cells + 1)),
            np.zeros((n, len(losses), cells)), np.zeros(0, np.int64), np.zeros((0, 0, 1)),
            np.zeros(0, np.int64), np.zeros((n, 0, cells + 1)), np.zeros((n, 0, cells)),
            np.zeros((n, 0, cells)), _losses_by_name(losses), dict(settings),
        )  # fmt: skip


def collect_snapshots(
    run: Run,
    *,
    subset: str | np.ndarray | None = None,
    estimators: Mapping[str, BaseEstimator] | None = None,
    settings: Mapping[str, Any] | None = None,
    unread: Collection[tuple[int, str]] = (),
) -> Snapshots:
    """Gather what the pictures of a run need; checkpoints that cannot be read stay empty.

    One sample of a layer is in memory at a time: they are read twice, first for their range.

    Parameters
    ----------
    run : Run
        What is drawn.
    subset : {"train", "test"} or ndarray of shape (n_inputs,), bool, optional
        Inputs to draw.
    estimators : mapping of str to estimator, optional
        What the run is measured with. The first that has ``posterior_draws`` is fitted once more at
        the snapshots, for what it knows of each input and each class.
    settings : mapping, optional
        What produced the table beside it.
    unread : collection of (epoch, layer), optional
        What is known to be unreadable, or too large to be read, and is left out.

    Returns
    -------
    Snapshots
        Histograms, snapshots, distances, losses.

    Raises
    ------
    ValueError
        For a split that the run does not have, or a mask that does not fit its inputs.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import open_run
    >>> from skinfo.flow import collect_snapshots
    >>> run = open_run({(1, "hidden"): np.eye(4)}, labels=[0, 0, 1, 1], train=[0, 1, 2])
    >>> int(collect_snapshots(run, subset="train").value_counts.sum())
    12
    """
    subset = run.in_subset(subset)
    epochs = np.array(run.epochs)
    snapshot_epochs = pick_snapshots(epochs)
    names = [layer.name for layer in run.layers]
    value_edges = np.zeros((len(names), DRAWN_CELLS + 1))
    value_counts = np.zeros((len(names), len(epochs), DRAWN_CELLS))
    shape = (len(names), len(snapshot_epochs), DRAWN_CELLS)
    distance_edges = np.zeros((*shape[:2], DRAWN_CELLS + 1))
    within, between = np.zeros(shape), np.zeros(shape)
    scatter: dict[int, np.ndarray] = {}
    scatter_labels = np.empty(0, dtype=np.int64)
    for name, ends in _value_ranges(run, epochs, subset, unread).items():
        value_edges[names.index(name)] = np.linspace(*ends, DRAWN_CELLS + 1)
    # A file is opened once for all its layers.
    for column, epoch in enumerate(epochs):
        for place, name in enumerate(names):
            sample = _sample(run, int(epoch), name, subset, unread)
            if sample is None:
                continue
            value_counts[place, column] = np.histogram(sample.X, value_edges[place])[0]
            for k in np.flatnonzero(snapshot_epochs == epoch).tolist():
                drawn = _drawn_distances(sample)
                if drawn is not None:
                    distance_edges[place, k], within[place, k], between[place, k] = drawn
                if place == len(names) - 1:
                    scatter[k], scatter_labels = _scattered(sample)
            # Let go of it before the next one is read.
            del sample
    width = max((s.shape[1] for s in scatter.values()), default=1)
    scatter_array = np.full((len(snapshot_epochs), len(scatter_labels), width), np.nan)
    for k, points in scatter.items():
        scatter_array[k] = points
    remembered: dict[str, np.ndarray] = {}
    if (of_inputs := estimator_of_inputs(estimators or {})) is not None:
        remembered = collect_remembered(run, of_inputs, snapshot_epochs, subset)
    by_epoch = run.losses
    losses = _losses_by_name({epoch: by_epoch.get(epoch, {}) for epoch in epochs.tolist()})
    return Snapshots(
        names, epochs, value_edges, value_counts, snapshot_epochs, scatter_array, scatter_labels,
        distance_edges, within, between, losses, dict(settings or {}), **remembered,
    )  # fmt: skip


def _losses_by_name(losses: Mapping[int, Mapping[str, float]]) -> dict[str, np.ndarray]:
    """Values at all epochs of every loss; NaN where there is none."""
    names = sorted({name for values in losses.values() for name in values})
    return {
        name: np.array([values.get(name, np.nan) for values in losses.values()]) for name in names
    }


def _sample(
    run: Run,
    epoch: int,
    layer: str,
    subset: np.ndarray | None,
    unread: Collection[tuple[int, str]],
) -> Activations | None:
    """One noisy sample of each input; None where they cannot be read, as the table says."""
    # Whatever a reader stumbles over: the table is measured, and must not be lost with it.
    with suppress(Exception):
        if (epoch, layer) not in unread:
            return run.load(epoch, layer, subset=subset).noisy_sample()
    return None


def _value_ranges(
    run: Run, epochs: np.ndarray, subset: np.ndarray | None, unread: Collection[tuple[int, str]]
) -> dict[str, tuple[float, float]]:
    """Ends of what is drawn of each layer that can be read at any checkpoint."""
    ranges: dict[str, tuple[float, float]] = {}
    for epoch, layer in product(epochs.tolist(), run.layers):
        sample = _sample(run, epoch, layer.name, subset, unread)
        if sample is not None:
            low, high = ranges.get(layer.name, (np.inf, -np.inf))
            ranges[layer.name] = min(low, float(sample.X.min())), max(high, float(sample.X.max()))
        del sample
    drawn = {
        name: (max(low, -_DRAWABLE), min(high, _DRAWABLE)) for name, (low, high) in ranges.items()
    }
    return {name: (low, high if high > low else low + 1) for name, (low, high) in drawn.items()}


def _drawn_distances(sample: Activations) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Cells of the pairwise distances; None where labels make no pairs."""
    if sample.y is None or not makes_pairs(sample.y):
        return None
    # Distances of a network that diverged overflow; they stay empty.
    with suppress(ValueError):
        rows = Rows.make(sample.X, labels=sample.y)
        distances = measure_distances(rows, "euclidean", ranked=False)
        return coarsen(distances.edges, distances.within, distances.between)
    return None


def _scattered(sample: Activations) -> tuple[np.ndarray, np.ndarray]:
    """Some rows, and the numbers of their labels; -1 where there are none."""
    chosen = np.linspace(0, len(sample.X) - 1, min(_SCATTER_ROWS, len(sample.X)))
    chosen = np.unique(chosen.astype(np.int64))
    if sample.y is None:
        return sample.X[chosen], np.full(len(chosen), -1)
    return sample.X[chosen], np.unique(sample.y, return_inverse=True)[1][chosen]


def coarsen(
    edges: np.ndarray, within: np.ndarray, between: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Add neighbouring cells up to the number that is drawn, of almost equal widths.

    They end at the farthest pair, or at three times the 99th percentile where that is nearer: a
    single row far away must not squeeze all others into one cell. What lies beyond counts in the
    last cell. What is returned, of shapes (65,), (64,) and (64,), are some of the edges given, and
    the numbers of pairs between them.
    """
    total = np.cumsum(within + between)
    last = int(np.searchsorted(total, total[-1])) + 1
    usual = int(np.searchsorted(total, 0.99 * total[-1])) + 1
    top = min(edges[last], 3 * edges[usual])
    places = np.searchsorted(edges, np.linspace(0, top, DRAWN_CELLS + 1))
    # Where the given cells are wider than a drawn one, the next of them are taken.
    steps = np.arange(DRAWN_CELLS + 1)
    places = np.maximum.accumulate(places - steps) + steps
    places = np.minimum(places, len(edges) - 1 - DRAWN_CELLS + steps)
    starts = places[:-1]
    return edges[places], np.add.reduceat(within, starts), np.add.reduceat(between, starts)


def pick_snapshots(epochs: Sequence[int] | np.ndarray, n: int = 4) -> np.ndarray:
    """Pick epochs spread evenly over the logarithm of the training time.

    Examples
    --------
    >>> pick_snapshots([1, 2, 5, 10, 20, 50, 100, 500, 1000]).tolist()
    [1, 20, 100, 1000]
    """
    epochs = np.asarray(epochs)
    if len(epochs) <= n:
        return epochs
    logs = np.log(epochs + 1.0)
    targets = np.linspace(logs[0], logs[-1], n)
    return np.unique([epochs[np.abs(logs - target).argmin()] for target in targets])
