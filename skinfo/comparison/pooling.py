"""Several seeds of one setting as one flow: mean and spread."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinfo.comparison.flows import Alignment, Flow, check_in_common, read_flows
from skinfo.comparison.settings import settings_differ
from skinfo.quantities import COLUMNS, JOINT, split_notes

#: Columns of a pooled flow.
POOLED_COLUMNS = (*COLUMNS, "spread", "n_seeds", "bias_below", "bias_above", "seed_values")
#: Notes that a pooled flow may have beside those of its seeds.
POOLING_NOTES = {
    "one seed": "only one seed has this number: its spread is unknown",
    "seeds missing": "not all seeds have this number",
}


def pool_flows(flows: Mapping[str, Flow] | Iterable[Flow]) -> pd.DataFrame:
    r"""Pool the flows of several seeds of one setting.

    For values v of k seeds with standard errors e, of the integration and of what was sampled,

    .. math::

        \bar v = \frac1k \sum_i v_i, \qquad s^2 = \frac1{k-1} \sum_i (v_i - \bar v)^2, \qquad
        e^2 = \max\Big(\frac{s^2}{k}, \; \frac1{k^2} \sum_i e_i^2\Big).

    The spread s contains these errors already; where a few seeds fall closer together by chance
    than their errors, the errors count. What all seeds share, such as the inputs, it does not hold.

    Parameters
    ----------
    flows : mapping of str to DataFrame or path, or iterable of these
        Flow tables, or the .parquet or .csv of such, one per seed.

    Returns
    -------
    pandas.DataFrame
        A flow table: ``value`` is the mean, ``stderr`` its standard error e, ``lower`` and
        ``upper`` the ends of all brackets, between which the truth of every seed lies. Besides,
        ``spread`` is the standard deviation s between seeds (NaN of one seed), ``n_seeds`` the
        number k of seeds that have the value, and ``bias_below`` and ``bias_above`` how much the
        mean may exceed the truth, or fall short of it, for reasons that more seeds do not remove:
        the mean reach of those brackets that hold more than errors. ``seed_values`` holds the
        values themselves, a JSON list in the order given, and ``attrs["seeds"]`` the name of each
        seed with what its run has on record: by these :func:`skinfo.compare_flows` pairs seeds.
        Displays and :func:`skinfo.compare_flows` take it as any other.

    Raises
    ------
    ValueError
        For no flows, the same table or the same run twice, a flow that is pooled already, seeds
        that have nothing in common, or that differ in units or in settings that change the meaning
        of a number.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import BinningMIEstimator, information_flow, open_run, pool_flows
    >>> seeds = [
    ...     information_flow(
    ...         BinningMIEstimator(bin_width=1.0),
    ...         open_run({(1, "hidden"): np.random.default_rng(seed).normal(size=(50, 2))}),
    ...         progress=False,
    ...     )
    ...     for seed in range(4)
    ... ]
    >>> row = pool_flows(seeds).set_index("quantity").loc["binned_entropy"]
    >>> round(float(row["value"]), 3), round(float(row["spread"]), 3), int(row["n_seeds"])
    (2.571, 0.223, 4)
    """
    named = flows if isinstance(flows, Mapping) else {f"seed {k}": f for k, f in enumerate(flows)}
    tables = read_flows(named)
    if not tables:
        raise ValueError("Pooling needs at least one flow.")
    _check_different(named, tables)
    for name, table in tables.items():
        if is_pooled(table):
            raise ValueError(f"{name!r} is pooled already; pool the flows of its seeds.")
    first, *others = tables
    for name in others:
        check_in_common(first, tables[first], name, tables[name])
        _check_settings(tables, first, name)
    pooled = _pool(tables)
    kept = ("quantities", "estimators", "layers", "subset", "flatten", "versions", "measured with")
    attrs = tables[first].attrs
    pooled.attrs = {name: attrs[name] for name in kept if name in attrs}
    pooled.attrs["pooled"] = list(tables)
    pooled.attrs["seeds"] = [_record(name, table.attrs) for name, table in tables.items()]
    return pooled


def _record(name: str, attrs: Mapping[Any, Any]) -> dict[str, Any]:
    """What may tell which seed a flow is: its run's settings, its seed, its name."""
    settings = attrs.get("run settings")
    known = dict(settings) if isinstance(settings, Mapping) else {}
    known |= {"seed": attrs["seed"]} if attrs.get("seed") is not None else {}
    kept = {str(key): value for key, value in known.items() if isinstance(value, int | float | str)}
    return kept | {"name": name}


def is_pooled(table: pd.DataFrame) -> bool:
    """Tell a flow that was pooled by its columns."""
    return {"spread", "n_seeds"} <= set(table)


def _check_different(flows: Mapping[str, Flow], tables: Mapping[str, pd.DataFrame]) -> None:
    """Check that no seed is there twice: as an object, as a file, as the files of its run."""
    seen: dict[Any, str] = {}
    for name, flow in flows.items():
        path = None if isinstance(flow, pd.DataFrame) else str(Path(flow).resolve())
        marks = filter(None, [path or id(flow), tables[str(name)].attrs.get("files")])
        for mark in marks:
            if mark in seen:
                shown = flow if path else repr(name)
                raise ValueError(
                    f"{shown} is there twice: every seed counts once, and it is {seen[mark]!r} too."
                )
            seen[mark] = str(name)


def _check_settings(tables: Mapping[str, pd.DataFrame], first: str, name: str) -> None:
    places = tables[first][["layer", "estimator"]].drop_duplicates()
    for layer, estimator in places.itertuples(index=False):
        different = settings_differ(tables[first], tables[name], layer, estimator)
        if different:
            raise ValueError(
                f"{first!r} and {name!r} are not seeds of one setting: at layer {layer!r} "
                f"{estimator} has {different}."
            )


def _pool(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    aligned = Alignment(tables)
    value = aligned.numbers("value")
    held = ~np.isnan(value)
    n = held.sum(axis=1)
    mean, spread = mean_and_spread(value, held)
    variances = aligned.numbers("stderr") ** 2 + aligned.numbers("stderr_sampling") ** 2
    of_errors = np.sqrt(_sum_held(variances, held)) / np.maximum(n, 1)
    # NaN where no seed holds the number.
    any_seed = np.where(n > 0, 1.0, np.nan)
    per_seed = any_seed / np.maximum(n, 1)
    table = aligned.keys.to_frame(index=False).assign(
        value=mean,
        stderr=np.fmax(spread / np.sqrt(np.maximum(n, 1)), of_errors) * any_seed,
        lower=np.where(held, aligned.numbers("lower"), np.inf).min(axis=1) * any_seed,
        upper=np.where(held, aligned.numbers("upper"), -np.inf).max(axis=1) * any_seed,
        unit=aligned.units(),
        notes=_notes(aligned.words("notes"), n, len(tables)),
        spread=spread,
        n_seeds=n,
        bias_below=_sum_held(aligned.numbers("bias_below"), held) * per_seed,
        bias_above=_sum_held(aligned.numbers("bias_above"), held) * per_seed,
        seed_values=[json.dumps([x if x == x else None for x in row]) for row in value.tolist()],
    )
    return table[list(POOLED_COLUMNS)]


def _sum_held(numbers: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Sum over the seeds that hold a value."""
    return np.where(held, numbers, 0.0).sum(axis=1)


def mean_and_spread(value: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the seeds that have a value; NaN of none, of one."""
    n = held.sum(axis=1)
    first = value[np.arange(len(value)), held.argmax(axis=1)]
    # Numbers that are the same of all seeds, infinite ones too, lose no digit.
    alike = (np.where(held, value, first[:, None]) == first[:, None]).all(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(alike, first, _sum_held(value, held) / n)
        squares = _sum_held((value - mean[:, None]) ** 2, held)
        spread = np.where(alike, 0.0, np.sqrt(squares / (n - 1)))
    return mean, np.where(n > 1, spread, np.nan)


def _notes(notes: np.ndarray, n: np.ndarray, n_flows: int) -> list[str]:
    joined = []
    for cells, count in zip(notes, n, strict=True):
        words = [word for cell in cells if cell is not None for word in split_notes(cell)]
        words += ["seeds missing"] if count < n_flows else []
        words += ["one seed"] if count == 1 else []
        joined.append(JOINT.join(dict.fromkeys(words)))
    return joined
