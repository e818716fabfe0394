"""Every estimator on every layer and checkpoint of a run: a tidy table."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from joblib import Memory, Parallel, delayed
from sklearn.base import BaseEstimator, clone
from threadpoolctl import threadpool_limits

from skinfo.errors import RunError, SaturationWarning
from skinfo.estimators import BinningMIEstimator, NoisyMIEstimator
from skinfo.measures.quantity import COLUMNS, JOINT, Quantity
from skinfo.runs import Layer, Run, open_run

# Estimates kept by another version are made again.
_VERSION = version("skinfo")


@dataclass(frozen=True)
class _Task:
    """One estimator on one layer of one checkpoint."""

    epoch: int
    layer: str
    name: str
    estimator: BaseEstimator


def information_flow(
    estimators: BaseEstimator | Iterable[BaseEstimator] | Mapping[str, BaseEstimator],
    run: Run | str | Path,
    *,
    subset: str | np.ndarray | None = None,
    n_jobs: int | None = None,
    memory: Memory | str | None = None,
    progress: bool | Callable[[int, int], None] = True,
) -> pd.DataFrame:
    """Measure every layer of a run at every checkpoint.

    Parameters
    ----------
    estimators : estimator, iterable of estimators, or mapping of str to estimator
        What to measure with. NoisyMIEstimator gets all replicas; with ``sigma=None`` it takes each
        layer's own sigma. Others get one noisy sample of each input. BinningMIEstimator with
        ``bin_range="run"`` cuts each layer into the same bins at all checkpoints: their range is
        learnt in a first pass over the run, one checkpoint at a time.
    run : Run or path-like
        Saved activations.
    subset : {"train", "test"} or array-like of shape (n_inputs,), optional
        Inputs to measure: the run's own split, or a mask.
    n_jobs : int or None, default=None
        Threads; the numbers do not depend on it.
    memory : joblib.Memory or str, optional
        Where finished estimates are kept, so that an interrupted sweep goes on where it stopped.
    progress : bool or callable, default=True
        Whether to show a progress bar (where rich is installed), or what to call with the numbers
        of finished and of all estimates.

    Returns
    -------
    pandas.DataFrame
        Columns epoch, layer, estimator, quantity, value, stderr, lower, upper, unit, notes; layers
        in network order. A note is made of words from
        :data:`skinfo.measures.quantity.NOTES`, joined by "; ".

    Raises
    ------
    ValueError
        For no estimators, a subset that the run does not have, or a sigma that neither the
        estimator nor the run knows. Activations that cannot be read become a row with the note
        "read error" and a warning; everything else is measured.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import NoisyMIEstimator, information_flow, open_run
    >>> run = open_run({(1, "hidden"): np.array([[-1.0], [1.0]])}, sigma=0.5, labels=[0, 1])
    >>> flow = information_flow(NoisyMIEstimator(sigma=None, random_state=0), run, progress=False)
    >>> flow.loc[flow["quantity"] == "mutual_info", ["epoch", "layer", "value"]].round(4).values
    array([[1, 'hidden', 0.6327]], dtype=object)
    """
    named = name_estimators(estimators)
    run = run if isinstance(run, Run) else open_run(run)
    mask = subset_mask(subset, run)
    ranges = layer_ranges(run, mask, n_jobs) if any(map(_takes_run, named.values())) else {}
    tasks = [
        _Task(epoch, layer.name, name, _for_layer(estimator, layer, ranges.get(layer.name)))
        for epoch in run.epochs
        for layer in run.layers
        for name, estimator in named.items()
    ]
    store = memory if isinstance(memory, Memory) else Memory(memory, verbose=0)
    fit = store.cache(_fit_quantities)
    results: list[list[dict[str, Any]]] = []
    with _reporting(progress, len(tasks)) as report, warnings.catch_warnings(), _one_blas_thread():
        # The table carries it as a note.
        warnings.simplefilter("ignore", SaturationWarning)
        finished = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator")(
            delayed(_measure)(task, run, mask, fit) for task in tasks
        )
        try:
            for rows in finished:
                results.append(rows)
                report(len(results), len(tasks))
        except BaseException:
            # joblib's advice on tasks that were dropped is nothing to whoever interrupts.
            warnings.simplefilter("ignore")
            finished.close()
            raise
    table = pd.DataFrame([row for rows in results for row in rows], columns=list(COLUMNS))
    return note_data_processing(table, [layer.name for layer in run.layers])


def _one_blas_thread() -> AbstractContextManager[Any]:
    """Workers are the threads; the numbers do not depend on those of the linear algebra."""
    return threadpool_limits(limits=1, user_api="blas")


def name_estimators(
    estimators: BaseEstimator | Iterable[BaseEstimator] | Mapping[str, BaseEstimator],
) -> dict[str, BaseEstimator]:
    """Name estimators by their class; two of one class by what they were given as well.

    Examples
    --------
    >>> from skinfo import BinningMIEstimator
    >>> list(name_estimators([BinningMIEstimator(), BinningMIEstimator(n_bins=5)]))
    ['BinningMIEstimator()', 'BinningMIEstimator(n_bins=5)']
    """
    if isinstance(estimators, Mapping):
        named = dict(estimators)
    else:
        several = [estimators] if isinstance(estimators, BaseEstimator) else list(estimators)
        classes = [type(estimator).__name__ for estimator in several]
        named = {}
        for estimator, short in zip(several, classes, strict=True):
            name = short if classes.count(short) == 1 else " ".join(str(estimator).split())
            if name in named:
                raise ValueError(f"{name} is there twice; give different names in a dict.")
            named[name] = estimator
    if not named:
        raise ValueError("information_flow needs at least one estimator.")
    return named


def subset_mask(subset: str | np.ndarray | None, run: Run) -> np.ndarray | None:
    """Turn "train", "test" or a mask into a mask over the inputs of a run; None keeps all."""
    if subset is None:
        return None
    if isinstance(subset, str):
        if subset not in ("train", "test"):
            raise ValueError(f"subset is 'train', 'test' or a mask; got {subset!r}.")
        if run.train is None:
            raise ValueError(f"subset={subset!r}, but the run does not say what it trained on.")
        return run.train if subset == "train" else ~run.train
    mask = np.asarray(subset)
    if mask.dtype != bool or mask.ndim != 1:
        raise ValueError("A subset mask holds one True or False for each input.")
    if run.labels is not None and len(mask) != len(run.labels):
        raise ValueError(f"The mask has {len(mask)} entries for {len(run.labels)} inputs.")
    return mask


def _takes_run(estimator: BaseEstimator) -> bool:
    """Whether the range of an estimator's bins is that of the run."""
    return isinstance(estimator, BinningMIEstimator) and estimator.bin_range == "run"


def layer_ranges(
    run: Run, subset: np.ndarray | None = None, n_jobs: int | None = None
) -> dict[str, tuple[float, float]]:
    """Find the range of each layer's noisy samples over all checkpoints of a run.

    Parameters
    ----------
    run : Run
        Saved activations; they are read one checkpoint of a layer at a time.
    subset : ndarray of shape (n_inputs,), bool, optional
        Inputs to look at.
    n_jobs : int or None, default=None
        Threads.

    Returns
    -------
    dict of str to (low, high)
        By layer, low < high; checkpoints that cannot be read are left out, and layers of which none
        can.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import open_run
    >>> run = open_run({(1, "a"): np.array([[0.0], [1.0]]), (2, "a"): np.array([[-2.0], [0.5]])})
    >>> layer_ranges(run)
    {'a': (-2.0, 1.0)}
    """

    def ends(epoch: int, layer: str) -> tuple[str, float, float] | None:
        try:
            points = run.noisy_samples(epoch, layer, subset=subset).X
        except RunError:
            # It gets a row of its own in the table.
            return None
        return (layer, float(points.min()), float(points.max())) if points.size else None

    found = Parallel(n_jobs=n_jobs, prefer="threads")(
        delayed(ends)(epoch, layer.name) for layer in run.layers for epoch in run.epochs
    )
    ranges: dict[str, tuple[float, float]] = {}
    for layer, low, high in filter(None, found):
        before = ranges.get(layer, (low, high))
        ranges[layer] = (min(low, before[0]), max(high, before[1]))
    # A layer that is one value everywhere falls into one cell of any width.
    return {
        layer: (low, high if high > low else float(np.nextafter(low, np.inf)))
        for layer, (low, high) in ranges.items()
    }


def _for_layer(
    estimator: BaseEstimator, layer: Layer, bin_range: tuple[float, float] | None
) -> BaseEstimator:
    """A copy of the estimator, with the layer's own sigma or range if it has none."""
    copy = clone(estimator)
    if _takes_run(copy) and bin_range is not None:
        copy.set_params(bin_range=bin_range)
    if isinstance(copy, NoisyMIEstimator) and copy.sigma is None:
        if not layer.sigma:
            raise ValueError(
                f"sigma=None takes the run's own, but layer {layer.name!r} has "
                f"{'no noise' if layer.sigma == 0 else 'none on record'}. Give a sigma, or measure "
                "deterministic layers with BinningMIEstimator or ClusteringScore."
            )
        copy.set_params(sigma=layer.sigma)
    return copy


def _fit_quantities(
    version: str,  # noqa: ARG001
    estimator: BaseEstimator,
    X: np.ndarray,
    y: np.ndarray | None,
    groups: np.ndarray | None,
) -> tuple[Quantity, ...]:
    """Fit; what is kept on disk is looked up by all arguments, the version among them."""
    return estimator.fit(X, y, groups=groups).quantities_


def _measure(
    task: _Task, run: Run, mask: np.ndarray | None, fit: Callable[..., tuple[Quantity, ...]]
) -> list[dict[str, Any]]:
    noisy = isinstance(task.estimator, NoisyMIEstimator)
    read = run.replicas if noisy else run.noisy_samples
    try:
        rows = read(task.epoch, task.layer, subset=mask)
        quantities = fit(_VERSION, task.estimator, rows.X, rows.y, rows.groups)
    except RunError as error:
        warnings.warn(f"not measured: {error}", UserWarning, stacklevel=2)
        return [_row(task, Quantity("", np.nan, np.nan, unit="", notes=("read error",)))]
    notes = ["replicas missing"] if noisy and rows.replicas_missing else []
    own_sigma = run.layer(task.layer).sigma
    if noisy and own_sigma is not None and not np.isclose(task.estimator.sigma, own_sigma):
        notes.append("sigma differs from run")
    return [_row(task, quantity.noted(*notes)) for quantity in quantities]


def _row(task: _Task, quantity: Quantity) -> dict[str, Any]:
    where = {"epoch": task.epoch, "layer": task.layer, "estimator": task.name}
    return where | quantity.cells()


def note_data_processing(table: pd.DataFrame, layers: list[str]) -> pd.DataFrame:
    """Note where a layer has more information about the input than the one before, for certain.

    Noise can only lose information, I(X;T_{l+1}) <= I(X;T_l): brackets that say otherwise mean that
    something is wrong with the data, its sigma or its replicas. Binned entropies are no information
    and are left alone.
    """
    table = table.copy()
    position = {name: place for place, name in enumerate(layers)}
    bounded = table["quantity"].eq("mutual_info") & table["estimator"].isin(
        table.loc[table["quantity"] == "conditional_entropy", "estimator"]
    )
    # With noise of another sigma, added at each layer alone, the inequality need not hold.
    bounded &= ~table["notes"].str.contains("sigma differs from run", regex=False)
    chosen = table[bounded].assign(place=table["layer"].map(position))
    for _, rows in chosen.groupby(["epoch", "estimator"], sort=False):
        ordered = rows.sort_values("place")
        highest = ordered["upper"].cummin().shift()
        for index in ordered.index[ordered["lower"] > highest]:
            notes = [n for n in str(table.at[index, "notes"]).split(JOINT) if n]
            table.at[index, "notes"] = JOINT.join([*notes, "data processing violated"])
    return table


class _reporting:  # noqa: N801
    """Progress of a sweep: a bar where rich is installed, a callable's own way, or nothing."""

    def __init__(self, progress: bool | Callable[[int, int], None], total: int) -> None:
        self._progress = progress
        self._total = total
        self._bar: Any = None

    def __enter__(self) -> Callable[[int, int], None]:
        if callable(self._progress):
            return self._progress
        if self._progress:
            try:
                from skinfo.progress import progress_bar
            except ImportError:
                return lambda _done, _total: None
            self._bar = progress_bar()
            self._bar.__enter__()
            task = self._bar.add_task("Estimating", total=self._total)
            return lambda done, _total: self._bar.update(task, completed=done)
        return lambda _done, _total: None

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.__exit__(*exception)
