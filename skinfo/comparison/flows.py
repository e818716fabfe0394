"""Flows side by side: tables, or files of tables, are checked and their numbers aligned."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinfo.errors import name_some
from skinfo.flow.tables import (
    KEYS,
    UNREAD,
    checked_table,
    describe_row,
    is_curve,
    read_table,
)

#: Brackets of errors alone reach 2.13 standard errors: the 97.5 % quantile of 16 randomisations.
PURE = 2.2
_ROUNDING = 1e-12

Flow = pd.DataFrame | str | Path


class NothingInCommonError(ValueError):
    """Two flows hold no number of the same epoch, layer, estimator and quantity."""


def read_flows(flows: Mapping[str, Flow]) -> dict[str, pd.DataFrame]:
    """Read flow tables where they are paths, and check that all of them are flow tables.

    Parameters
    ----------
    flows : mapping of str to DataFrame or path
        By name: what :func:`skinfo.information_flow` or :func:`skinfo.pool_flows` returned, or the
        .parquet or .csv that ``skinfo analyze`` wrote.

    Returns
    -------
    dict of str to DataFrame
        Copies, indexed from 0; the settings of a table that has some stand in ``attrs``.

    Raises
    ------
    ValueError
        For a table that cannot be read or is no flow table, or holds a number twice.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import NoisyMIEstimator, information_flow, open_run
    >>> run = open_run({(1, "hidden"): np.array([[-1.0], [1.0]])}, sigma=0.5)
    >>> flow = information_flow(NoisyMIEstimator(sigma=None), run, progress=False)
    >>> list(read_flows({"mine": flow}))
    ['mine']
    """
    if not isinstance(flows, Mapping):
        raise TypeError(
            f"flows is a mapping of names to tables, such as {{'wide': table}}; got a "
            f"{type(flows).__name__}."
        )
    return {str(name): _read_flow(str(name), flow) for name, flow in flows.items()}


def _read_flow(name: str, flow: Flow) -> pd.DataFrame:
    if isinstance(flow, (str, Path)):
        table, where = read_table(Path(flow))[0], str(flow)
    elif isinstance(flow, pd.DataFrame):
        table, where = flow.reset_index(drop=True), f"flow {name!r}"
    else:
        raise TypeError(
            f"flow {name!r} is a {type(flow).__name__}; expected a table, or the path of one."
        )
    if is_curve(table):
        raise ValueError(f"{where} is a curve against sigma, not a flow table.")
    several = "One flow has one row of each; several seeds are several flows, see pool_flows."
    table = checked_table(table, where, advice=several)
    return table.drop_duplicates(list(KEYS), ignore_index=True)


def check_in_common(
    name: str, flow: pd.DataFrame, other_name: str, other_flow: pd.DataFrame
) -> None:
    """Check that two flows have a number in common.

    Raises
    ------
    NothingInCommonError
        Naming the column in which they have nothing in common.
    """
    one, other = (table[table["quantity"] != UNREAD] for table in (flow, other_flow))
    keys, other_keys = (pd.MultiIndex.from_frame(table[list(KEYS)]) for table in (one, other))
    if keys.isin(other_keys).any():
        return
    hints = {
        "epoch": "Epochs are matched exactly, nothing is interpolated: record both at the same "
        "checkpoints.",
        "layer": "Layers are matched by name.",
        "estimator": "Estimators are matched by name: name them alike in a dict.",
        "quantity": "Measure both with the same estimators.",
    }
    for column, hint in hints.items():
        if not set(one[column]) & set(other[column]):
            raise NothingInCommonError(
                f"{name!r} and {other_name!r} have no {column} in common: "
                f"{name_some(one[column]) or 'none'} in the one, "
                f"{name_some(other[column]) or 'none'} in the other. {hint}"
            )
    raise NothingInCommonError(
        f"{name!r} and {other_name!r} have no number of the same epoch, layer, estimator and "
        "quantity."
    )


def listed(cell: Any) -> list[float | None]:
    """Read the numbers that a cell lists; none where it is empty.

    Examples
    --------
    >>> listed("[1.5, null]"), listed("")
    ([1.5, None], [])
    """
    if cell is None or cell == "" or cell != cell:
        return []
    try:
        numbers = json.loads(cell)
        if isinstance(numbers, list) and all(x is None or isinstance(x, Real) for x in numbers):
            return numbers
    except (TypeError, ValueError, RecursionError):
        pass
    raise ValueError(f"{cell!r} in a flow table is no JSON list of numbers: write the table again.")


class Alignment:
    """Flows side by side: one row per number that any of them holds, one column per flow.

    Attributes
    ----------
    keys : MultiIndex
        Epoch, layer, estimator and quantity of the rows, by epoch; layers and quantities in the
        order of the flows.
    """

    def __init__(self, flows: Mapping[str, pd.DataFrame]) -> None:
        self._flows = {name: _with_pooled_columns(flow) for name, flow in flows.items()}
        self.keys = _keys_in_order(list(flows.values()))
        self._places = [
            pd.MultiIndex.from_frame(flow[list(KEYS)]).get_indexer(self.keys)
            for flow in flows.values()
        ]

    def numbers(self, column: str) -> np.ndarray:
        """Take one column of numbers, of shape (n_keys, n_flows); NaN where a flow has no row."""
        return self._column(column, np.float64, np.nan)

    def words(self, column: str) -> np.ndarray:
        """Take one column of texts, of shape (n_keys, n_flows); None where a flow has no row."""
        return self._column(column, object, None)

    def units(self) -> np.ndarray:
        """Take the unit of each number.

        Raises
        ------
        ValueError
            Where two flows give a number in different units, naming both.
        """
        units = self.words("unit")
        units[self.keys.get_level_values("quantity") == UNREAD] = ""
        held = units != None  # noqa: E711
        first = units[np.arange(len(units)), held.argmax(axis=1)]
        differs = np.argwhere(held & (units != first[:, None]))
        if len(differs):
            row, other = differs[0]
            names = list(self._flows)
            pair = {names[held[row].argmax()]: first[row], names[other]: units[row, other]}
            one, two = (f"{name!r} is in {unit or 'pure numbers'}" for name, unit in pair.items())
            where = describe_row(self.keys.to_frame().iloc[row])
            raise ValueError(f"{one}, {two} ({where}); measure both in the same units.")
        return first

    def _column(self, column: str, dtype: Any, missing: Any) -> np.ndarray:
        return np.column_stack(
            [
                np.where(places >= 0, flow[column].to_numpy(dtype=dtype)[places], missing)
                for flow, places in zip(self._flows.values(), self._places, strict=True)
            ]
        )


def _keys_in_order(flows: Sequence[pd.DataFrame]) -> pd.MultiIndex:
    keys = pd.concat([flow[list(KEYS)] for flow in flows]).drop_duplicates(ignore_index=True)
    # An estimator has quantities of the same name as another's, in an order of its own.
    within = keys.groupby(["estimator", "quantity"], sort=False).ngroup()
    estimators = keys.groupby("estimator", sort=False).ngroup()
    layers = keys.groupby("layer", sort=False).ngroup()
    order = np.lexsort([within, estimators, layers, keys["epoch"]])
    return pd.MultiIndex.from_frame(keys.iloc[order])


def _with_pooled_columns(flow: pd.DataFrame) -> pd.DataFrame:
    """Give a flow the columns that pooled ones have: of one seed, whose spread is not known."""
    columns: dict[str, Any] = {
        "stderr_sampling": 0.0,
        "stderr_other_inputs": np.nan,
        "randomisations": "",
        "spread": np.nan,
        "n_seeds": 1.0,
        "bias_below": _bias(flow, "lower"),
        "bias_above": _bias(flow, "upper"),
    }
    return flow.assign(**{name: x for name, x in columns.items() if name not in flow})


def _bias(flow: pd.DataFrame, end: str) -> np.ndarray:
    """How far on the side of an end of its bracket the truth may lie from a value, errors aside.

    A bracket of up to :data:`PURE` standard errors to a side holds errors and nothing else. A wider
    one, as few replicas or inputs not drawn make it, is taken in full: how much of it is error
    cannot be told.
    """
    value, stderr, limit = (flow[x].to_numpy(dtype=np.float64) for x in ("value", "stderr", end))
    if "stderr_sampling" in flow:
        stderr = np.hypot(stderr, np.nan_to_num(flow["stderr_sampling"].to_numpy(np.float64)))
    with np.errstate(invalid="ignore"):
        width = np.maximum(value - limit if end == "lower" else limit - value, 0.0)
    return np.where(width > PURE * np.nan_to_num(stderr) + _ROUNDING * np.abs(value), width, 0.0)
