"""Every layer of a run at every checkpoint, measured with noise of many sigmas."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinfo.flow.sweep import information_flow
from skinfo.flow.tables import UNREAD
from skinfo.noisy.sigma_curve import SigmaCurve, split_sigma
from skinfo.quantities import COLUMNS
from skinfo.runs import Run, open_run
from skinfo.runs.description import plain

_NAME = "noisy"
_RMS = "rms"


def sigma_curves(
    run: Run | str | Path,
    *,
    sigmas: Any,
    unit: str = "activations",
    noise: str = "additive",
    subset: str | np.ndarray | None = None,
    max_inputs: int | None = None,
    tol: float = 0.01,
    population: bool = False,
    units: str = "nats",
    max_evaluations: int = 2**20,
    n_jobs: int | None = None,
    memory: str | Path | None = None,
    memory_limit: int | str | None = None,
    progress: bool | Callable[[int, int], None] | None = None,
    random_state: int = 0,
) -> pd.DataFrame:
    """Measure every layer of a run at every checkpoint, at every sigma of a list.

    Each layer at each checkpoint is what :func:`skinfo.sigma_curve` gives of its rows with the
    same parameters, to the last bit; all have the same inputs. What is true of the layers at
    every sigma, :func:`skinfo.comparison.orders_over_sigmas` says.

    Parameters
    ----------
    run : Run or path-like
        Saved activations of layers that are functions of the input.
    sigmas : array-like of shape (n_sigmas,)
        Standard deviations of the noise, all different, in ``unit``.
    unit : {"activations", "rms"}, default="activations"
        What sigmas count: the activations' own unit, or each layer's root mean square deviation at
        each checkpoint, over the inputs that are measured; see :func:`skinfo.sigma_curve`.
    noise : str, default="additive"
        As for :func:`skinfo.sigma_curve`.
    subset : {"train", "test"} or array-like of shape (n_inputs,), optional
        Inputs to measure: the run's own split, or a mask.
    max_inputs : int, optional
        Most inputs that are measured: as many are drawn at random, the same at every layer and
        checkpoint. Where rows are tokens, inputs are sequences. I(X;T) of fewer inputs is smaller:
        it cannot exceed their entropy.
    tol, population, units, max_evaluations
        As for :func:`skinfo.sigma_curve`.
    n_jobs, memory, memory_limit, progress
        As for :func:`skinfo.information_flow`: with ``memory`` a sweep that was interrupted goes on
        where it stopped.
    random_state : int, default=0
        Seed of the draws, the same for all layers, checkpoints and sigmas, and of the inputs.

    Returns
    -------
    pandas.DataFrame
        Columns epoch, layer, estimator, sigma, quantity, value, stderr, lower, upper, unit, notes.
        The quantities are those of :func:`skinfo.sigma_curve`. Before quantity stand, where they
        say something, noise (other than additive), rms (``unit="rms"``: sigma times rms is in the
        unit of the activations) and inputs ("1,000 of 50,000", where ``max_inputs`` left some out).
        Layers that could not be read or measured have a row without a quantity at each sigma. Its
        ``attrs`` are those of :func:`skinfo.information_flow`, and "sigma unit" and "inputs".

    Raises
    ------
    ValueError
        For layers with noise before them, whose rows are replicas, for ``max_inputs`` below 2, and
        what :func:`skinfo.sigma_curve` and :func:`skinfo.information_flow` refuse.

    Examples
    --------
    Two units tell more apart than one, at every sigma:

    >>> import numpy as np
    >>> from skinfo import open_run, sigma_curves
    >>> square = np.array([[-1.0, -1], [-1, 1], [1, -1], [1, 1]])
    >>> run = open_run({(1, "two"): square, (1, "one"): square[:, :1]})
    >>> curves = sigma_curves(run, sigmas=[0.3, 1, 3], unit="rms", progress=False)
    >>> information = curves[curves["quantity"] == "mutual_info"]
    >>> information = information[["layer", "sigma", "value"]].round(2)
    >>> information.values.tolist()  # doctest: +NORMALIZE_WHITESPACE
    [['two', 0.3, 1.38], ['two', 1.0, 0.67], ['two', 3.0, 0.11],
     ['one', 0.3, 0.69], ['one', 1.0, 0.34], ['one', 3.0, 0.05]]
    >>> from skinfo.comparison import orders_over_sigmas
    >>> print(*orders_over_sigmas(curves))
    I(X;T) at all 3 σ from 0.3 to 3 rms: two > one
    """
    run = run if isinstance(run, Run) else open_run(run)
    _check_functions_of_inputs(run)
    curve = SigmaCurve(
        plain(sigmas), unit=unit, noise=noise, tol=tol, population=population, units=units,
        max_evaluations=max_evaluations, random_state=random_state,
    )  # fmt: skip
    declared = curve.check_settings()
    mask, of_inputs = _draw_inputs(run, subset, max_inputs, random_state)
    flow = information_flow(
        {_NAME: curve}, run, subset=mask, n_jobs=n_jobs, memory=memory, memory_limit=memory_limit,
        progress=progress, random_state=random_state,
    )  # fmt: skip
    table = _by_sigma(flow, declared)
    columns = [*COLUMNS[:3], "sigma"]
    if noise != "additive":
        table["noise"] = noise
        columns.append("noise")
    if unit == "rms":
        columns.append(_RMS)
    if of_inputs:
        table["inputs"] = of_inputs
        columns.append("inputs")
    table = table[[*columns, *COLUMNS[3:]]]
    # Last of all: pandas copies them whenever it takes a part of a table.
    table.attrs = flow.attrs | {"sigma unit": unit}
    if of_inputs:
        table.attrs["inputs"] = of_inputs
    return table


def _check_functions_of_inputs(run: Run) -> None:
    behind = [layer.name for layer in run.layers if layer.noise_before]
    if behind or run.groups is not None:
        where = f"layer {behind[0]!r} of this run has noise before it" if behind else (
            "this run has groups: its rows are replicas"
        )  # fmt: skip
        raise ValueError(
            f"{run.name}: a curve against sigma is of layers that are functions of the input, and "
            f"{where}. Measure it with information_flow and NoisyMIEstimator, with its own noise "
            "or another sigma."
        )


def _draw_inputs(
    run: Run, subset: str | np.ndarray | None, max_inputs: int | None, seed: int
) -> tuple[str | np.ndarray | None, str]:
    """The inputs to measure, and how many of how many they are; "" where none are left out."""
    if max_inputs is None:
        return subset, ""
    if not isinstance(max_inputs, Integral) or isinstance(max_inputs, bool) or max_inputs < 2:
        raise ValueError(f"max_inputs is a number of inputs, 2 or more; got {max_inputs!r}.")
    mask = run.in_subset(subset)
    n_inputs = run._count_inputs() if mask is None else len(mask)
    if n_inputs is None:
        # No array can be looked at: each has an error of its own when it is read.
        return subset, ""
    candidates = np.arange(n_inputs) if mask is None else np.flatnonzero(mask)
    if len(candidates) <= max_inputs:
        return subset, ""
    chosen = np.zeros(n_inputs, dtype=bool)
    rng = np.random.default_rng(seed)
    chosen[rng.choice(candidates, int(max_inputs), replace=False)] = True
    return chosen, f"{max_inputs:,} of {len(candidates):,}"


def _by_sigma(flow: pd.DataFrame, sigmas: list[float]) -> pd.DataFrame:
    """A row per sigma and quantity of what the sweep holds in names such as "mutual_info [0.1]"."""
    keys = list(COLUMNS[:3])
    is_rms = flow["quantity"] == _RMS
    unread = flow["quantity"] == UNREAD
    names = [split_sigma(name) for name in flow.loc[~is_rms & ~unread, "quantity"]]
    found = flow[~is_rms & ~unread].assign(
        quantity=pd.Series([name for name, _ in names], dtype=object).to_numpy(),
        sigma=np.array([sigma for _, sigma in names], dtype=np.float64),
    )
    lost = flow[unread].merge(pd.DataFrame({"sigma": sigmas}), how="cross")
    table = pd.concat([found, lost]) if len(lost) else found
    places = flow.drop_duplicates(keys)[keys].assign(place=lambda rows: range(len(rows)))
    # The same with all sets of labels.
    scales = flow[is_rms].rename(columns={"value": _RMS}).drop_duplicates(keys[:2])
    table = table.merge(places, on=keys)
    table = table.merge(scales[[*keys[:2], _RMS]], on=keys[:2], how="left")
    table = table.sort_values("place", kind="stable").drop(columns="place")
    return table.reset_index(drop=True)
