"""Differences between flows, with the error that each of them has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

from skinfo.comparison.flows import Alignment, Flow, check_in_common, read_flows
from skinfo.comparison.settings import own_bins, settings_differ
from skinfo.flow.tables import KEYS, UNREAD
from skinfo.quantities import JOINT, split_notes

#: Columns of a comparison.
COMPARISON_COLUMNS = (
    *KEYS, "flow", "value", "value_stderr", "reference", "reference_value", "reference_stderr",
    "difference", "difference_stderr", "difference_lower", "difference_upper", "unit", "change",
    "notes",
)  # fmt: skip
#: The words that may stand in the column change, and what they mean.
CHANGES = {
    "beyond brackets": "the brackets lie apart: the truths differ, whatever the bias",
    "beyond error": "farther apart than the errors allow, bias included",
    "within brackets": "farther apart than the errors, but the bias that the brackets allow for "
    "may be all of it: no change is shown",
    "within error": "no farther apart than the errors allow",
    "not comparable": "measured with settings that give the numbers different meanings",
}
# Numbers this close are one number computed twice: no error is 0 when compared across machines.
_RELATIVE, _NATS = 1e-10, 1e-12


def compare_flows(
    flows: Mapping[str, Flow], *, reference: str | None = None, z: float = 1.96
) -> pd.DataFrame:
    r"""Compare flow tables number by number with one of them.

    For values v with standard errors e and brackets [l, u], of a flow and the reference r,

    .. math::

        \Delta = v - v_r, \qquad e_\Delta = \sqrt{e^2 + e_r^2}, \qquad
        \Delta \in [l - u_r, \; u - l_r].

    The standard error is that of the integration: of estimates with independent draws, it says how
    far apart two of the same truth fall. The bracket holds the truth, with the bias that few
    replicas leave. So the column ``change`` says

    - "beyond brackets": 0 lies outside the interval of the difference, the truths differ;
    - "beyond error": the difference exceeds z standard errors, and the brackets hold nothing but
      such errors;
    - "within brackets": it does, but the brackets overlap and hold bias as well, which may be all
      of the difference: no change is shown;
    - "": an error is unknown (NaN), as that of binned and clustered numbers in a layer with noise
      of which one draw was measured; the notes say "error unknown". Several draws or seeds know
      theirs;
    - "not comparable": what was measured differs, whatever the numbers: sigma, bins, inputs, the
      subset, how maps become units; the notes say in what;
    - "within error": the rest.

    Flows of several seeds (:func:`skinfo.pool_flows`) are compared by their means. Their standard
    error contains the spread between seeds, and z becomes the quantile of Student's t of the same
    probability, with the degrees of freedom of Welch and Satterthwaite. The bias, which all seeds
    may share, adds to that in full. Seeds whose brackets happen to lie apart are "within error"
    unless their means differ beyond it. One seed beside several is taken for one more of them: its
    spread is theirs.

    Parameters
    ----------
    flows : mapping of str to DataFrame or path
        By name: flow tables, pooled ones, or the .parquet or .csv of such; two or more.
    reference : str, optional
        Name of the flow that the others are compared with; by default the first.
    z : float, default=1.96
        Standard errors beyond which a difference counts. At 1.96 one in twenty numbers of two
        estimates of the same truth is beyond error: of many rows expect some.

    Returns
    -------
    pandas.DataFrame
        One row per epoch, layer, estimator, quantity and flow but the reference, with the columns
        of :data:`COMPARISON_COLUMNS`. Rows that only one of two flows holds are kept; their notes
        say which lacks them. Notes also say which settings differ, as far as the tables know them
        (:func:`skinfo.information_flow` writes them), and repeat the notes of the flows.

    Raises
    ------
    ValueError
        For fewer than two flows, an unknown reference, flows without a common epoch, layer,
        estimator or quantity, or in different units. Epochs are matched exactly.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import NoisyMIEstimator, compare_flows, information_flow, open_run
    >>> near, far = (
    ...     information_flow(
    ...         NoisyMIEstimator(sigma=None, random_state=0),
    ...         open_run({(1, "hidden"): np.array([[-x], [x]])}, sigma=0.5),
    ...         progress=False,
    ...     )
    ...     for x in (0.5, 1.0)
    ... )
    >>> row = compare_flows({"near": near, "far": far}).set_index("quantity").loc["mutual_info"]
    >>> round(float(row["difference"]), 4), row["change"]
    (0.2959, 'beyond brackets')
    """
    tables = read_flows(flows)
    if len(tables) < 2:
        raise ValueError(f"A comparison needs two flows or more; got {len(tables)}.")
    first = next(iter(tables)) if reference is None else reference
    if first not in tables:
        raise ValueError(f"There is no flow {first!r} to refer to; got {', '.join(tables)}.")
    if not (np.isfinite(z) and z > 0):
        raise ValueError(f"z is a positive number of standard errors; got {z!r}.")
    others = [name for name in tables if name != first]
    for name in others:
        check_in_common(first, tables[first], name, tables[name])
    everything = Alignment(tables)
    everything.units()
    table = pd.concat([_compare(tables, first, name, z) for name in others], ignore_index=True)
    # The flows stand beneath each other, row by row.
    places = everything.keys.get_indexer(pd.MultiIndex.from_frame(table[list(KEYS)]))
    table = table.iloc[np.argsort(places, kind="stable")].reset_index(drop=True)
    table.attrs = {"reference": first, "z": z}
    return table


def _compare(tables: Mapping[str, pd.DataFrame], first: str, name: str, z: float) -> pd.DataFrame:
    pair = {first: tables[first], name: tables[name]}
    aligned = Alignment(pair)
    reference, flow = _sides(aligned)
    with np.errstate(invalid="ignore"):
        # Two infinite ceilings do not differ.
        same = flow["value"] == reference["value"]
        difference = np.where(same, 0.0, flow["value"] - reference["value"])
        lower, upper = flow["lower"] - reference["upper"], flow["upper"] - reference["lower"]
    stderr, quantile = _combined_error(reference, flow, z)
    table = aligned.keys.to_frame(index=False).assign(
        flow=name,
        value=flow["value"],
        value_stderr=flow["stderr"],
        reference=first,
        reference_value=reference["value"],
        reference_stderr=reference["stderr"],
        difference=difference,
        difference_stderr=stderr,
        difference_lower=lower,
        difference_upper=upper,
        unit=aligned.units(),
    )
    table["change"] = _changes(table, reference, flow, quantile * stderr)
    differ = _settings_that_differ(pair, aligned)
    incomparable = np.array([bool(words) for words in differ]) & np.isfinite(difference)
    table.loc[incomparable, "change"] = "not comparable"
    table["notes"] = _notes(pair, aligned, table, differ)
    return table[list(COMPARISON_COLUMNS)]


def _sides(aligned: Alignment) -> list[dict[str, np.ndarray]]:
    """Give the numbers of each flow by column, of shape (n_keys,); NaN where it has none."""
    columns = ("value", "stderr", "lower", "upper", "bias_below", "bias_above", "n_seeds", "spread")
    numbers = {column: aligned.numbers(column) for column in columns}
    return [{column: numbers[column][:, which] for column in columns} for which in (0, 1)]


def _combined_error(
    reference: Mapping[str, np.ndarray], flow: Mapping[str, np.ndarray], z: float
) -> tuple[np.ndarray, np.ndarray]:
    """Give the standard error of the difference, and how many of them the difference may be."""
    variances, terms = [], []
    for side, other in ((reference, flow), (flow, reference)):
        # The spread between seeds holds what is unknown of the error of one.
        borrowed = np.isnan(side["spread"]) & ~np.isnan(other["spread"])
        with_spread = np.hypot(np.nan_to_num(side["stderr"]), other["spread"])
        own = np.where(borrowed, with_spread, side["stderr"])
        seeds = np.where(borrowed, other["n_seeds"], side["n_seeds"])
        variances.append(own**2)
        terms.append(np.where(seeds > 1, own**4 / np.maximum(seeds - 1, 1), 0.0))
    total = variances[0] + variances[1]
    several = _several_seeds(reference, flow)
    # Where only one has a spread, both terms are of the same seeds, whose number is counted once.
    both = ~(np.isnan(reference["spread"]) | np.isnan(flow["spread"]))
    seeds = np.fmax(reference["n_seeds"], flow["n_seeds"])
    with np.errstate(invalid="ignore", divide="ignore"):
        welch = total**2 / (terms[0] + terms[1])
    freedom = np.where(both & np.isfinite(welch), welch, np.maximum(seeds - 1, 1))
    quantile = np.where(several, student.isf(norm.sf(z), freedom), z)
    return np.sqrt(total), quantile


def _several_seeds(
    reference: Mapping[str, np.ndarray], flow: Mapping[str, np.ndarray]
) -> np.ndarray:
    return ~(np.isnan(reference["spread"]) & np.isnan(flow["spread"]))


def _changes(
    table: pd.DataFrame,
    reference: Mapping[str, np.ndarray],
    flow: Mapping[str, np.ndarray],
    allowed: np.ndarray,
) -> np.ndarray:
    difference = table["difference"].to_numpy()
    distance = np.abs(difference)
    scale = np.maximum(np.abs(flow["value"]), np.abs(reference["value"]))
    floor = np.where(table["unit"].isin(["nats", "bits"]), _NATS, 0.0)
    with np.errstate(invalid="ignore"):
        same = (distance <= _RELATIVE * scale + floor) | (difference == 0)
        apart = ((table["difference_lower"] > 0) | (table["difference_upper"] < 0)).to_numpy()
        within = distance <= allowed
    # The ends of brackets carry the errors of their own run, but no spread between seeds.
    several = _several_seeds(reference, flow)
    up = flow["bias_below"] + reference["bias_above"]
    down = flow["bias_above"] + reference["bias_below"]
    bias_allowed = np.where(difference > 0, up, down)
    known = np.isfinite(difference) & (np.isfinite(allowed) | (apart & ~several))
    known |= difference == 0
    return np.select(
        [~known, same | (within & (several | ~apart)), apart, distance > allowed + bias_allowed],
        ["", "within error", "beyond brackets", "beyond error"],
        "within brackets",
    )


def _settings_that_differ(pair: Mapping[str, pd.DataFrame], aligned: Alignment) -> list[str]:
    """Say row by row in which settings the flows differ."""
    one, other = pair.values()
    places = [(layer, estimator) for _, layer, estimator, _ in aligned.keys]
    differ = {place: settings_differ(one, other, *place) for place in dict.fromkeys(places)}
    return [differ[place] for place in places]


def _notes(
    pair: Mapping[str, pd.DataFrame], aligned: Alignment, table: pd.DataFrame, differ: Sequence[str]
) -> list[str]:
    first, second = pair
    unread = {name: _unread_places(flow) for name, flow in pair.items()}
    unknown = (table["change"].eq("") & np.isfinite(table["difference"])).to_numpy()
    own_ranges = {
        name: own_bins(pair[first], pair[second], name) for name in set(table["estimator"])
    }
    rows = zip(
        aligned.keys, aligned.words("notes"), aligned.numbers("n_seeds"), differ, unknown,
        strict=True,
    )  # fmt: skip
    notes = []
    for key, cells, seeds, settings, no_error in rows:
        own = {name: cell for name, cell in zip(pair, cells, strict=True) if cell is not None}
        words = [
            f"not in {name}" + (" (read error)" if key[:3] in unread[name] else "")
            for name in pair
            if name not in own
        ]
        if not words:
            different = ", ".join(filter(None, [settings, own_ranges[key[2]]]))
            words += [f"settings differ: {different}"] if different else []
            words += ["error unknown"] if no_error else []
            words += _lone_seed(seeds, first, second)
        for name, cell in own.items():
            words += [f"{name}: {word}" for word in split_notes(cell)]
        notes.append(JOINT.join(words))
    return notes


def _lone_seed(seeds: np.ndarray, first: str, second: str) -> list[str]:
    """Say that one seed is compared with several."""
    if min(seeds) > 1 or max(seeds) <= 1:
        return []
    one, several = (first, second) if seeds[0] <= 1 else (second, first)
    return [f"{one}: one seed, taken to spread like {several}"]


def _unread_places(flow: pd.DataFrame) -> set[tuple]:
    places = flow.loc[flow["quantity"] == UNREAD, list(KEYS[:3])]
    return set(places.itertuples(index=False, name=None))
