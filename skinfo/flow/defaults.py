"""A run measured as a whole: default estimators, its table, and the snapshots beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from skinfo._files import describe_files
from skinfo.binned.estimator import BinningMIEstimator
from skinfo.clustered.estimator import ClusteringScore
from skinfo.clustered.pairs import makes_pairs
from skinfo.flow.snapshots import Snapshots, collect_snapshots
from skinfo.flow.sweep import information_flow
from skinfo.noisy.estimator import NoisyMIEstimator
from skinfo.noisy.labels import LabelMIEstimator
from skinfo.noisy.predictors import FEWEST_PERMUTATIONS
from skinfo.runs import Run
from skinfo.runs.beside import real_labels
from skinfo.sliced.estimator import SlicedMIEstimator

__all__ = ["DECLARED_SIGMA", "default_estimators", "measure_run"]

#: Noise that layers without any are measured with, in units of their root mean square deviation.
DECLARED_SIGMA = 0.5
# Inputs that slices and distances are measured of, at most: a few copies of wide rows in double
# precision.
_FEW_INPUTS = 1000


def default_estimators(
    run: Run,
    *,
    subset: str | np.ndarray | None = None,
    sigma: Any = None,
    bin_width: float | None = None,
    **parameters: Any,
) -> dict[str, BaseEstimator]:
    """Choose what most runs are measured with.

    Parameters
    ----------
    run : Run
        Saved activations.
    subset : {"train", "test"} or ndarray of shape (n_inputs,), optional
        Inputs to measure.
    sigma : float, array-like or tuple, optional
        Noise to measure with, see :class:`~skinfo.NoisyMIEstimator`; each layer's own by default.
    bin_width : float, optional
        Width of bins; by default 30 over the range of each layer in the whole run.
    **parameters
        Of :class:`~skinfo.NoisyMIEstimator`, such as ``noise``; ``units`` counts for the bins too.

    Returns
    -------
    dict of str to estimator
        "noisy" where there is a sigma. Where there is none, noise of half the root mean square
        deviation of each layer is declared, and asked is what may be known of the population then:
        "labels at 0.5 rms" of I(Y;T), where there are labels, and "sliced at 0.5 rms", both of a
        sample of inputs. In any case "binned"; and "clustered" where classes hold pairs of inputs,
        or of a layer without labels or noise, its intrinsic dimension alone.

    Notes
    -----
    I(X;T) of a layer without noise is not among them: with hundreds of units it is log n at any
    noise that leaves something of the layer. :func:`skinfo.sigma_curve` shows where it is not. Half
    the deviation of a unit leaves a random direction four times the variance of the noise, so that
    slices know up to 0.80 nats, eighty times ``tol``; it is a unit that layers of any scale share.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import open_run
    >>> run = open_run({(1, "a"): np.zeros((4, 1))}, sigma=0.1, labels=[0, 0, 1, 1])
    >>> list(default_estimators(run))
    ['noisy', 'binned', 'clustered']
    >>> run = open_run({(1, "a"): np.zeros((4, 1))}, labels=[0, 0, 1, 1])
    >>> list(default_estimators(run))
    ['labels at 0.5 rms', 'sliced at 0.5 rms', 'binned', 'clustered']
    """
    units = parameters.get("units", "nats")
    estimators: dict[str, BaseEstimator] = {}
    has_noise = sigma is not None or any(layer.sigma for layer in run.layers)
    if has_noise:
        estimators["noisy"] = NoisyMIEstimator(sigma, **parameters)
    else:
        estimators |= _at_declared_noise(run, parameters)
    estimators["binned"] = BinningMIEstimator(bin_width=bin_width, bin_range="run", units=units)
    known = real_labels(run.labels, run.mask, run.in_subset(subset))
    if any(map(makes_pairs, known.values())):
        estimators["clustered"] = ClusteringScore(max_inputs=None if has_noise else _FEW_INPUTS)
    elif run.labels is None and not has_noise:
        estimators["clustered"] = ClusteringScore(
            measures=("intrinsic_dimension",), max_inputs=_FEW_INPUTS
        )
    return estimators


def _at_declared_noise(run: Run, parameters: Mapping[str, Any]) -> dict[str, BaseEstimator]:
    """What is asked of layers without noise, at a noise in units of their own deviation."""
    shared: dict[str, Any] = {
        "sigma": DECLARED_SIGMA,
        "sigma_unit": "rms",
        "units": parameters.get("units", "nats"),
        # The same inputs at all layers and checkpoints.
        "random_state": parameters.get("random_state", 0),
    }
    named = f"at {DECLARED_SIGMA:g} rms"
    sliced = SlicedMIEstimator(
        max_inputs=_FEW_INPUTS, population=True, tol=parameters.get("tol", 0.01), **shared
    )
    if run.labels is None:
        return {f"sliced {named}": sliced}
    n_permutations = parameters.get("n_permutations") or FEWEST_PERMUTATIONS
    labels = LabelMIEstimator(n_permutations=n_permutations, **shared)
    return {f"labels {named}": labels, f"sliced {named}": sliced}


def measure_run(
    run: Run,
    estimators: Mapping[str, BaseEstimator],
    *,
    subset: str | np.ndarray | None = None,
    **options: Any,
) -> tuple[pd.DataFrame, Snapshots]:
    """Measure every layer at every checkpoint, and collect the snapshots of the run.

    Parameters
    ----------
    run : Run
        Saved activations.
    estimators : mapping of str to estimator
        What to measure with, by name.
    subset : {"train", "test"} or ndarray of shape (n_inputs,), optional
        Inputs to measure.
    **options
        Of :func:`~skinfo.information_flow`, such as ``memory_limit``.

    Returns
    -------
    table : pandas.DataFrame
        The flow table, with its settings in ``attrs``; ``attrs["files"]`` of a run on disk is what
        ``skinfo._files.describe_files`` found before anything was read.
    snapshots : Snapshots
        Losses, distributions of activations and distances, and what each layer knows of each input
        if an estimator has ``posterior_draws``; ``settings`` are those of the table.

    Raises
    ------
    ValueError
        For a run without checkpoints, and as :func:`~skinfo.information_flow` does.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import BinningMIEstimator, open_run
    >>> run = open_run({(1, "a"): np.array([[0.0], [1.0]])})
    >>> table, snapshots = measure_run(run, {"binned": BinningMIEstimator()}, progress=False)
    >>> table["value"][0].round(4), snapshots.layers
    (np.float64(0.6931), ['a'])
    """
    if not run.epochs:
        raise ValueError(f"{run.name}: the run has no checkpoints yet.")
    # Only what is on disk has a path.
    path = getattr(run.store, "path", None)
    files = None if path is None else describe_files(path)
    table = information_flow(estimators, run, subset=subset, **options)
    if files is not None:
        table.attrs["files"] = files
    settings = {str(name): value for name, value in table.attrs.items()}
    lost = table.loc[table["notes"].str.contains("read error", regex=False), ["epoch", "layer"]]
    unread = set(lost.itertuples(index=False, name=None))
    return table, collect_snapshots(
        run, subset=subset, estimators=estimators, settings=settings, unread=unread
    )
