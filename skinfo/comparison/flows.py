"""The door: tables or files of tables become checked flows, or an error that says which is not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from skinfo.measures.quantity import COLUMNS
from skinfo.tables import is_curve, read_table

#: What names a number in a flow table.
KEYS = ("epoch", "layer", "estimator", "quantity")
#: What stands in the column quantity of a row whose activations could not be read.
UNREAD = ""
#: Brackets of errors alone reach 2.13 standard errors: the 97.5 % quantile of 16 randomisations.
PURE = 2.2
_ROUNDING = 1e-12

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
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise ValueError(f"{where} is no flow table: it has no column {missing[0]!r}.")
    if table.empty:
        raise ValueError(f"{where} has no rows.")
    for word in ("layer", "estimator", "quantity", "unit", "notes"):
        table[word] = table[word].fillna("").astype(str)
    twice = table.duplicated(list(KEYS)) & table["quantity"].ne(UNREAD)
    if twice.any():
        row = table[twice].iloc[0]
        raise ValueError(
            f"{where} holds {describe(row)} more than once. One flow has one row of each; several "
            "seeds are several flows, which pool_flows makes one."
        )
    return table.drop_duplicates(list(KEYS), ignore_index=True)


def describe(row: pd.Series) -> str:
    """Name a number: its epoch, layer, estimator and quantity."""
    return (
        f"epoch {row['epoch']}, layer {row['layer']!r}, {row['estimator']} {row['quantity']}"
    ).strip()


def keys_in_order(flows: Mapping[str, pd.DataFrame]) -> pd.MultiIndex:
    """Every number that some flow holds, by epoch; layers and the rest as the flows have them."""
    joined = pd.concat([flow[list(KEYS)] for flow in flows.values()])
    joined = joined.drop_duplicates(ignore_index=True)
    places = {
        column: {value: place for place, value in enumerate(dict.fromkeys(joined[column]))}
        for column in KEYS[1:]
    }
    ordered = joined.sort_values(
        list(KEYS),
        key=lambda column: column.map(places[column.name]) if column.name in places else column,
        kind="stable",
    )
    return pd.MultiIndex.from_frame(ordered)


def check_in_common(name: str, flow: pd.DataFrame, other: str, there: pd.DataFrame) -> None:
    """Check that two flows have a number in common.

    Raises
    ------
    ValueError
        Naming the column in which they have nothing in common.
    """
    held = flow[flow["quantity"] != UNREAD]
    held_there = there[there["quantity"] != UNREAD]
    if len(held.merge(held_there, on=list(KEYS), how="inner")):
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
            raise ValueError(
                f"{name!r} and {other!r} have no {column} in common: {_listed(ours)} in the one, "
                f"{_listed(theirs)} in the other. {hint}"
            )
    raise ValueError(
        f"{name!r} and {other!r} have no number of the same epoch, layer, estimator and quantity."
    )


def _listed(values: list, most: int = 8) -> str:
    if not values:
        return "none"
    shown = ", ".join(str(value) for value in values[:most])
    return shown if len(values) <= most else f"{shown} and {len(values) - most} more"


def check_units(units: pd.DataFrame) -> None:
    """Check that all flows give a number in one unit.

    Parameters
    ----------
    units : DataFrame
        A row a number, a column a flow; NaN where the flow does not hold it.

    Raises
    ------
    ValueError
        Naming two flows, their units and the number.
    """
    first = units.bfill(axis=1).iloc[:, 0]
    for name in map(str, units):
        differs = units[name].notna() & units[name].ne(first)
        if not differs.any():
            continue
        at = int(np.flatnonzero(differs)[0])
        row = units.iloc[at]
        other = str(row[row.notna()].index[0])
        number = describe(units.index.to_frame().iloc[at])
        raise ValueError(
            f"{other!r} is in {row[other] or 'pure numbers'}, {name!r} in "
            f"{row[name] or 'pure numbers'} ({number}); measure both in the same units."
        )


def by_flow(flows: Mapping[str, pd.DataFrame], column: str, keys: pd.MultiIndex) -> pd.DataFrame:
    """One column of all flows, a row a key, a column a flow; NaN where a flow has no such row."""
    return pd.DataFrame(
        {name: flow.set_index(list(KEYS))[column].reindex(keys) for name, flow in flows.items()},
        index=keys,
    )


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
