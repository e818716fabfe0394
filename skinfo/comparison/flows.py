"""The door: tables or files of tables become checked flows, or an error that says which is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from skinfo.flow.tables import (
    KEYS,
    UNREAD,
    check_columns,
    check_once,
    describe_row,
    is_curve,
    read_table,
)

#: Brackets of errors alone reach 2.13 standard errors: the 97.5 % quantile of 16 randomisations.
PURE = 2.2
_ROUNDING = 1e-12
# An error names so many epochs, layers, …
_MOST_NAMED = 8

Flow = pd.DataFrame | str | Path


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
    check_columns(table, where)
    if table.empty:
        raise ValueError(f"{where} has no rows.")
    for word in ("layer", "estimator", "quantity", "unit", "notes"):
        table[word] = table[word].fillna("").astype(str)
    check_once(
        table,
        where,
        "One flow has one row of each; several seeds are several flows, which pool_flows makes "
        "one.",
    )
    return table.drop_duplicates(list(KEYS), ignore_index=True)


class Alignment:
    """Flows side by side: a row for every number that one of them holds, a column a flow.

    Attributes
    ----------
    keys : MultiIndex
        Epoch, layer, estimator and quantity of the rows, by epoch; layers and quantities in the
        order of the flows.
    """

    def __init__(self, flows: Mapping[str, pd.DataFrame]) -> None:
        self._flows = flows
        self.keys = _keys_in_order(list(flows.values()))
        self._places = {
            name: pd.MultiIndex.from_frame(flow[list(KEYS)]).get_indexer(self.keys)
            for name, flow in flows.items()
        }

    def words(self, column: str) -> np.ndarray:
        """One column of texts, of shape (n_keys, n_flows); None where a flow has no such row."""
        taken = [
            self._at(name, flow[column].to_numpy(dtype=object), None)
            for name, flow in self._flows.items()
        ]
        return np.column_stack(taken)

    def numbers(self, column: str, default: float = np.nan) -> np.ndarray:
        """One column of numbers, of shape (n_keys, n_flows); ``default`` of flows without it."""
        taken = [
            self._at(name, flow[column].to_numpy(dtype=np.float64), np.nan)
            if column in flow
            else np.full(len(self.keys), default)
            for name, flow in self._flows.items()
        ]
        return np.column_stack(taken)

    def bias(self, side: str) -> np.ndarray:
        """What :func:`bias` says of each number, of shape (n_keys, n_flows)."""
        taken = [self._at(name, bias(flow, side), np.nan) for name, flow in self._flows.items()]
        return np.column_stack(taken)

    def units(self) -> np.ndarray:
        """The unit of each number.

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
            at, other = differs[0]
            names = list(self._flows)
            pair = {names[held[at].argmax()]: first[at], names[other]: units[at, other]}
            one, two = (f"{name!r} is in {unit or 'pure numbers'}" for name, unit in pair.items())
            where = describe_row(self.keys.to_frame().iloc[at])
            raise ValueError(f"{one}, {two} ({where}); measure both in the same units.")
        return first

    def _at(self, name: str, values: np.ndarray, missing: Any) -> np.ndarray:
        places = self._places[name]
        return np.where(places >= 0, values[places], missing)


def _keys_in_order(flows: Sequence[pd.DataFrame]) -> pd.MultiIndex:
    joined = pd.concat([flow[list(KEYS)] for flow in flows]).drop_duplicates(ignore_index=True)
    # An estimator has quantities of the same name as another's, in an order of its own.
    within = joined.groupby(["estimator", "quantity"], sort=False).ngroup()
    estimators = joined.groupby("estimator", sort=False).ngroup()
    layers = joined.groupby("layer", sort=False).ngroup()
    order = np.lexsort([within, estimators, layers, joined["epoch"]])
    return pd.MultiIndex.from_frame(joined.iloc[order])


class NothingInCommonError(ValueError):
    """Two flows hold no number of the same epoch, layer, estimator and quantity."""


def check_in_common(name: str, flow: pd.DataFrame, other: str, there: pd.DataFrame) -> None:
    """Check that two flows have a number in common.

    Raises
    ------
    NothingInCommonError
        Naming the column in which they have nothing in common.
    """
    held = flow[flow["quantity"] != UNREAD]
    held_there = there[there["quantity"] != UNREAD]
    places, others = (pd.MultiIndex.from_frame(x[list(KEYS)]) for x in (held, held_there))
    if places.isin(others).any():
        return
    hints = {
        "epoch": "Epochs are matched exactly, nothing is interpolated: record both at the same "
        "checkpoints.",
        "layer": "Layers are matched by name.",
        "estimator": "Estimators are matched by name: name them alike in a dict.",
        "quantity": "Measure both with the same estimators.",
    }
    for column, hint in hints.items():
        ours, theirs = (list(dict.fromkeys(x[column])) for x in (held, held_there))
        if not set(ours) & set(theirs):
            raise NothingInCommonError(
                f"{name!r} and {other!r} have no {column} in common: {_listed(ours)} in the one, "
                f"{_listed(theirs)} in the other. {hint}"
            )
    raise NothingInCommonError(
        f"{name!r} and {other!r} have no number of the same epoch, layer, estimator and quantity."
    )


def _listed(values: list) -> str:
    if not values:
        return "none"
    shown = ", ".join(str(value) for value in values[:_MOST_NAMED])
    return shown if len(values) <= _MOST_NAMED else f"{shown} and {len(values) - _MOST_NAMED} more"


def bias(flow: pd.DataFrame, side: str) -> np.ndarray:
    """How far below or above a value its bracket allows the truth, errors aside.

    A bracket of up to :data:`PURE` standard errors to a side holds the error of the integration and
    nothing else. A wider one, as few replicas or inputs not drawn make it, is taken in full: how
    much of it is error cannot be told. Pooled flows carry the mean over their seeds.
    """
    name = f"bias_{side}"
    if name in flow:
        return flow[name].to_numpy(dtype=np.float64)
    value, stderr = (flow[column].to_numpy(dtype=np.float64) for column in ("value", "stderr"))
    end = flow["lower" if side == "below" else "upper"].to_numpy(dtype=np.float64)
    with np.errstate(invalid="ignore"):
        width = np.maximum(value - end if side == "below" else end - value, 0.0)
    return np.where(width > PURE * np.nan_to_num(stderr) + _ROUNDING * np.abs(value), width, 0.0)
