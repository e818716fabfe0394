"""Differences between flows, with the error that each of them has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm
from scipy.stats import t as student

from skinfo.comparison.flows import Alignment, Flow, check_in_common, listed, read_flows
from skinfo.comparison.pooling import mean_and_spread
from skinfo.comparison.settings import own_bins, settings_differ
from skinfo.errors import name_some
from skinfo.flow.tables import KEYS, UNREAD
from skinfo.quantities import JOINT, split_notes

#: Columns of a comparison.
COMPARISON_COLUMNS = (
    *KEYS, "flow", "value", "value_stderr", "reference", "reference_value", "reference_stderr",
    "difference", "difference_stderr", "difference_lower", "difference_upper", "unit", "change",
    "about", "notes",
)  # fmt: skip
#: The words that may stand in the column change, and what they mean.
CHANGES = {
    "beyond brackets": "the brackets lie apart: what they are about differs, whatever the bias",
    "beyond error": "farther apart than the errors allow, bias included",
    "within brackets": "farther apart than the errors, but the bias that the brackets allow for "
    "may be all of it: no change is shown",
    "within error": "no farther apart than the errors allow",
    "not comparable": "measured with settings that give the numbers different meanings",
}
#: What a change is about, as the column about says.
SCOPES = {
    "these inputs": "these networks at these very inputs; of other inputs or seeds nothing is said",
    "these inputs alone": "these networks at these very inputs; as many other inputs may bring "
    "them as far apart by chance",
    "inputs like these": "these networks; as many other inputs of this kind would show it as well; "
    "of other seeds nothing is said",
    "the population": "these networks at the population that the inputs were drawn from; of other "
    "seeds nothing is said",
    "the seeds": "the means over seeds of these settings, at the inputs that these have",
}
# Numbers this close are one number computed twice: no error is 0 when compared across machines.
_RELATIVE, _NATS = 1e-10, 1e-12
_CHANGED = ("beyond brackets", "beyond error")
_DECIDED = (*_CHANGED, "within brackets", "within error")


def compare_flows(
    flows: Mapping[str, Flow],
    *,
    reference: str | None = None,
    z: float = 1.96,
    pair_by: str | None = None,
) -> pd.DataFrame:
    r"""Compare flow tables number by number with one of them.

    For values v with brackets [l, u], of a flow and the reference r,

    .. math::

        \Delta = v - v_r, \qquad e_\Delta^2 = e^2 + e_r^2 - 2 \rho e e_r + s^2 + s_r^2, \qquad
        \Delta \in [l - u_r, \; u - l_r],

    with e the errors of the integration and rho their correlation, from the columns ``stderr`` and
    ``randomisations``: the same ``random_state`` may make most of them the same. s are the errors
    ``stderr_sampling`` of the replicas, and with ``population=True`` of the inputs, that were
    drawn; of two tables of the same files they are the same and drop out. So the column ``change``
    says

    - "beyond brackets": 0 lies outside the interval of the difference;
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

    The column ``about`` says what of, in words of :data:`skinfo.comparison.SCOPES`. "these inputs":
    two networks at the very inputs measured; two samples of one population nearly always differ in
    that. Where it is known how far as many inputs drawn anew, for each flow its own, bring numbers
    apart (``stderr_other_inputs``), a change exceeds that, "inputs like these", or does not, "these
    inputs alone". "the population": measured with
    ``population=True``. "the seeds": the settings, at the inputs that their seeds have.

    Flows of several seeds (:func:`skinfo.pool_flows`) are compared by their means, whose standard
    errors contain the spread between seeds. z becomes the quantile of Student's t of the same
    probability. Its degrees of freedom are those of the smaller pool: whatever the spreads of the
    two, no more than one in twenty such differences of equal settings is beyond error, while those
    of Welch and Satterthwaite let one in nine pass of 2 seeds against 10. The bias, which all seeds
    may share, adds to that in full. Seeds whose brackets happen to lie apart are "within error"
    unless their means differ beyond it. One seed beside several is taken for one more of them: its
    spread is theirs.

    With ``pair_by`` the difference is the mean over pairs of seeds, and its error comes from the
    spread of the pairs' differences alone, with k - 1 degrees of freedom for k pairs: what a pair
    shares, its initial weights or its data, drops out.

    Parameters
    ----------
    flows : mapping of str to DataFrame or path
        By name: flow tables, pooled ones, or the .parquet or .csv of such; two or more.
    reference : str, optional
        Name of the flow that the others are compared with; by default the first.
    z : float, default=1.96
        Standard errors beyond which a difference counts. At 1.96 one in twenty numbers of two
        estimates of the same truth is beyond error: of many rows expect some.
    pair_by : str, optional
        For pooled flows: which seeds belong together. "order", in which they were pooled; "name",
        under which they were; "seed", of their runs; or anything else that is on record in the
        settings of the runs.

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
        estimator or quantity, or in different units. Epochs are matched exactly. For seeds to pair
        that have no partner, or no such thing on record.

    References
    ----------
    Mickey and Brown, "Bounds on the distribution functions of the Behrens-Fisher statistic", Annals
    of Mathematical Statistics 1966: the degrees of freedom of the smaller pool.

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
    compared = [_compare(tables, first, name, z, pair_by) for name in others]
    table = pd.concat(compared, ignore_index=True)
    # The flows stand beneath each other, row by row.
    places = everything.keys.get_indexer(pd.MultiIndex.from_frame(table[list(KEYS)]))
    table = table.iloc[np.argsort(places, kind="stable")].reset_index(drop=True)
    table.attrs = {"reference": first, "z": z, "pair_by": pair_by}
    return table


@dataclass
class _Side:
    """The numbers of one flow by row, NaN where it has none."""

    value: np.ndarray
    stderr: np.ndarray
    stderr_sampling: np.ndarray
    stderr_other_inputs: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    bias_below: np.ndarray
    bias_above: np.ndarray
    n_seeds: np.ndarray
    spread: np.ndarray


@dataclass
class _Difference:
    """Differences by row, with the errors that they have."""

    value: np.ndarray
    stderr: np.ndarray
    anew: np.ndarray  # the standard error with inputs drawn anew for both flows; NaN if not known
    freedom: np.ndarray  # degrees of freedom of the errors; inf where these are taken as known
    several: np.ndarray  # bool: whether the errors are those of a spread between seeds


def _compare(
    tables: Mapping[str, pd.DataFrame], first: str, name: str, z: float, pair_by: str | None
) -> pd.DataFrame:
    pair = {first: tables[first], name: tables[name]}
    aligned = Alignment(pair)
    reference, flow = _sides(aligned)
    if pair_by is None:
        found = _difference(reference, flow, *_shared(pair, aligned))
    else:
        found = _paired(pair, aligned, pair_by)
    with np.errstate(invalid="ignore"):
        lower, upper = flow.lower - reference.upper, flow.upper - reference.lower
    table = aligned.keys.to_frame(index=False).assign(
        flow=name,
        value=flow.value,
        value_stderr=flow.stderr,
        reference=first,
        reference_value=reference.value,
        reference_stderr=reference.stderr,
        difference=found.value,
        difference_stderr=found.stderr,
        difference_lower=lower,
        difference_upper=upper,
        unit=aligned.units(),
    )
    quantile = student.isf(norm.sf(z), found.freedom)
    table["change"], table["about"] = _changes(table, reference, flow, found, quantile)
    differ = _settings_that_differ(pair, aligned)
    incomparable = np.array([bool(words) for words in differ]) & np.isfinite(found.value)
    table.loc[incomparable, "change"] = "not comparable"
    table.loc[~table["change"].isin(_DECIDED), "about"] = ""
    table["notes"] = _notes(pair, aligned, table, differ)
    return table[list(COMPARISON_COLUMNS)]


def _sides(aligned: Alignment) -> list[_Side]:
    numbers = {field.name: aligned.numbers(field.name) for field in fields(_Side)}
    return [_Side(**{name: both[:, k] for name, both in numbers.items()}) for k in (0, 1)]


def _shared(
    pair: Mapping[str, pd.DataFrame], aligned: Alignment
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Correlation of the errors of integration, its degrees of freedom, whether files are shared.

    The correlation is 0 and the freedom infinite where nothing is known of the randomisations.
    """
    correlation = np.zeros(len(aligned.keys))
    freedom = np.full(len(aligned.keys), np.inf)
    for row, cells in enumerate(aligned.words("randomisations")):
        steps = [np.array(listed(cell), dtype=np.float64) for cell in cells]
        if len(steps[0]) == len(steps[1]) > 1:
            freedom[row] = len(steps[0]) - 1
            correlation[row] = (
                steps[0] @ steps[1] / np.sqrt((steps[0] @ steps[0]) * (steps[1] @ steps[1]))
            )
    files = [flow.attrs.get("files") for flow in pair.values()]
    return correlation, freedom, files[0] is not None and files[0] == files[1]


def _difference(
    reference: _Side, flow: _Side, correlation: np.ndarray, freedom: np.ndarray, same_files: bool
) -> _Difference:
    """Differences of two flows, and their errors."""
    with np.errstate(invalid="ignore", divide="ignore"):
        # Two infinite ceilings do not differ.
        value = np.where(flow.value == reference.value, 0.0, flow.value - reference.value)
        variance = flow.stderr**2 + reference.stderr**2
        shared = 2 * correlation * flow.stderr * reference.stderr
        integration = np.maximum(variance - shared, 0.0)
        sampling = flow.stderr_sampling**2 + reference.stderr_sampling**2
        total = integration + (0.0 if same_files else sampling)
        anew = integration + sampling + flow.stderr_other_inputs**2
        anew += reference.stderr_other_inputs**2
        # Only the integration's part of a variance is that of a few randomisations.
        freedom = np.where(total > 0, freedom * (total / integration) ** 2, np.inf)
    several = ~(np.isnan(reference.spread) & np.isnan(flow.spread))
    for side, other in ((reference, flow), (flow, reference)):
        # The spread between seeds holds what is unknown of the error of one.
        borrowed = np.isnan(side.spread) & ~np.isnan(other.spread)
        own = np.nan_to_num(side.stderr) ** 2 + np.nan_to_num(side.stderr_sampling) ** 2
        total = np.where(borrowed, own + other.spread**2 + other.stderr**2, total)
    seeds = [np.where(np.isnan(side.spread), np.inf, side.n_seeds) for side in (reference, flow)]
    freedom = np.where(several, np.minimum(*seeds) - 1, np.nan_to_num(freedom, nan=np.inf))
    return _Difference(value, np.sqrt(total), np.sqrt(anew), freedom, several)


def _paired(pair: Mapping[str, pd.DataFrame], aligned: Alignment, pair_by: str) -> _Difference:
    """Mean differences over pairs of seeds, and the errors from their spread."""
    for name, table in pair.items():
        if "seed_values" not in table:
            raise ValueError(f"{name!r} is no pooled flow: only seeds that pool_flows took pair.")
    reference, flow = (_seed_values(table, aligned, k) for k, table in enumerate(pair.values()))
    order = _partners(pair, [values.shape[1] for values in (reference, flow)], pair_by)
    with np.errstate(invalid="ignore", divide="ignore"):
        differences = np.where(reference == flow[:, order], 0.0, flow[:, order] - reference)
        held = ~np.isnan(differences)
        n = held.sum(axis=1)
        value, spread = mean_and_spread(differences, held)
    unknown = np.full(len(n), np.nan)
    freedom = np.maximum(n - 1.0, 1.0)
    return _Difference(value, spread / np.sqrt(np.maximum(n, 1)), unknown, freedom, n > 0)


def _seed_values(flow: pd.DataFrame, aligned: Alignment, column: int) -> np.ndarray:
    """The values of the seeds of a pooled flow, of shape (n_keys, n_seeds)."""
    cells = aligned.words("seed_values")[:, column]
    n = len(listed(flow["seed_values"].iloc[0]))
    rows = [listed(cell) or [None] * n for cell in cells]
    if any(len(row) != n for row in rows):
        raise ValueError(
            f"The rows of a pooled flow hold other numbers of seeds than its first, {n}."
        )
    return np.array(rows, dtype=np.float64).reshape(len(rows), n)


def _partners(pair: Mapping[str, pd.DataFrame], sizes: Sequence[int], pair_by: str) -> list[int]:
    """Which seed of the second flow belongs to each of the first."""
    marks = [
        _marks(name, flow, n, pair_by) for (name, flow), n in zip(pair.items(), sizes, strict=True)
    ]
    for (one, other), names in ((marks, list(pair)), (marks[::-1], list(pair)[::-1])):
        alone = [mark for mark in one if mark not in other]
        if alone:
            raise ValueError(
                f"Seeds are paired by {pair_by!r}: {alone[0]!r} of {names[0]!r} has no partner in "
                f"{names[1]!r}, which has {name_some(other)}."
            )
    return [marks[1].index(mark) for mark in marks[0]]


def _marks(name: str, flow: pd.DataFrame, n: int, pair_by: str) -> list[Any]:
    """What tells the seeds of a pooled flow apart."""
    if pair_by == "order":
        return list(range(n))
    records = flow.attrs.get("seeds") or []
    marks = [record[pair_by] for record in records if pair_by in record]
    if len(marks) < n:
        known = dict.fromkeys(key for record in records for key in record)
        raise ValueError(
            f"Seeds cannot be paired by {pair_by!r}: not every seed of {name!r} has it on record; "
            f"there are {', '.join(['order', *known])}."
        )
    twice = [mark for mark in marks if marks.count(mark) > 1]
    if twice:
        raise ValueError(f"Seeds cannot be paired by {pair_by!r}: {name!r} has {twice[0]!r} twice.")
    return marks


def _changes(
    table: pd.DataFrame, reference: _Side, flow: _Side, found: _Difference, quantile: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The words of the columns change and about."""
    distance = np.abs(found.value)
    scale = np.maximum(np.abs(flow.value), np.abs(reference.value))
    floor = np.where(table["unit"].isin(["nats", "bits"]), _NATS, 0.0)
    allowed = quantile * found.stderr
    with np.errstate(invalid="ignore"):
        same = (distance <= _RELATIVE * scale + floor) | (distance == 0)
        apart = ((table["difference_lower"] > 0) | (table["difference_upper"] < 0)).to_numpy()
        within = distance <= allowed
    up = flow.bias_below + reference.bias_above
    down = flow.bias_above + reference.bias_below
    bias = np.where(found.value > 0, up, down)
    # The ends of brackets carry the errors of their own run, but no spread between seeds.
    several = found.several
    known = np.isfinite(distance) & (np.isfinite(allowed) | (apart & ~several))
    known |= distance == 0
    beyond = distance > allowed + bias
    change = np.select(
        [~known, same | (within & (several | ~apart)), apart, beyond],
        ["", "within error", "beyond brackets", "beyond error"],
        "within brackets",
    )
    population = (flow.stderr_other_inputs == 0) & (reference.stderr_other_inputs == 0)
    changed = np.isin(change, _CHANGED)
    anew = quantile * found.anew + bias
    which = [several, population, changed & (distance > anew), changed & (distance <= anew)]
    words = ["the seeds", "the population", "inputs like these", "these inputs alone"]
    return change, np.select(which, words, "these inputs")


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
