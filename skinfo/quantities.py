"""What every estimator returns: numbers with unit, error and bracket; and what each is called."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

__all__ = [
    "COLUMNS",
    "CURVE_COLUMNS",
    "ERROR_COLUMNS",
    "JOINT",
    "NOTES",
    "OF_PATTERN",
    "QUANTITIES",
    "Quantity",
    "QuantityDescription",
    "declared_quantities",
    "describe_quantity",
    "estimators_measuring",
    "nats_to",
    "notes_of",
    "split_notes",
]

#: Columns of a flow table, which is quantities with epoch, layer and estimator in front.
COLUMNS = (
    "epoch", "layer", "estimator", "quantity", "value", "stderr", "lower", "upper", "unit", "notes",
)  # fmt: skip
#: Columns of a flow table besides, that tell how far repeated measurements fall apart.
ERROR_COLUMNS = ("stderr_sampling", "stderr_other_inputs", "randomisations")
_NUMBERS = ("value", "stderr", "lower", "upper", "stderr_sampling", "stderr_other_inputs")
#: Columns of a curve against sigma.
CURVE_COLUMNS = ("sigma", *COLUMNS[COLUMNS.index("quantity") :])
#: What joins the notes in a cell.
JOINT = "; "

#: Each information with what zeros and signs, which noise may leave as they are, tell of it.
OF_PATTERN = {
    "mutual_info": "pattern_information",
    "label_mutual_info": "label_pattern_information",
}

# How much of each unit a nat is.
_IN_A_NAT = {"nats": 1.0, "bits": float(1 / np.log(2))}

#: The words that may stand in the notes of a quantity, and what they mean.
NOTES = {
    "saturated": "within 1 % of H(X): all inputs are told apart; ask for I(Y;T), or larger sigmas",
    "above ceiling": "the estimate was above what any layer can reach, and was cut there",
    "data processing violated": "more than the layer before, beyond both brackets",
    "tolerance not met": "max_evaluations was spent before the standard error fell below tol",
    "slope differs": "between two sigmas I(X;T) changes by what its measured slope cannot give",
    "slices too faint": "no slice can tell ten times tol on average: take a smaller one",
    "too few replicas of slices": "four replicas of each input certify the best slice: here fewer",
    "too few inputs": "the value is an end of its bracket, for want of inputs: quote the bracket",
    "indistinguishable from no information": "labels that tell nothing would be predicted as well",
    "replicas missing": "noise precedes this layer and inputs have one row: this is I(S;T)",
    "one noise draw": "more draws were asked for than replicas, of which there is one: no error",
    "single rows": "some inputs have no replica: the value is too large, the lower end omits them",
    "sigma differs from run": "measured at another sigma than the network was run with",
    "noise differs from run": "measured with another kind of noise than the network was run with",
    "noise added": "noise was added for measuring: the network has none here",
    "at ceiling": "within 1 % of H(X): bins too narrow to say more; ask for distances, wider bins",
    "in one cell": "all inputs fall into one cell: bins too wide to show anything",
    "too few replicas": "H(Bin(T)|X) is limited by the number of replicas: the value says little",
    "outside edges": "values lie outside the edges and share the outer cells, inputs apart or not",
    "correction beyond bounds": "Miller-Madow's correction passed 0 or the ceiling; left there",
    "sampled": "computed from a random or even sample of the rows or pairs",
    "zero by zero": "what is divided and what it is divided by are both 0: it says nothing",
    "read error": "the activations could not be read",
    "no noise": "the layer has no sigma on record, and the estimator none of its own",
    "no label per row": "the labels are of tokens, and the rows of this layer are not",
    "not measured": "the estimator refused these activations; attrs['errors'] says why",
}


@dataclass(frozen=True)
class Quantity:
    """A measured number.

    Attributes
    ----------
    name : str
        What it is, for example "mutual_info".
    value : float
        The number, in ``unit``.
    stderr : float
        Standard error of the computation; 0 where the number is exact for the rows given.
    lower, upper : float
        The bracket of the true value.
    unit : str
        "nats", "bits", or "" for a pure number.
    notes : tuple of str
        Words from :data:`NOTES`.
    stderr_sampling : float
        Standard error from the replicas, and for a population from the inputs, that were drawn.
    stderr_other_inputs : float
        What inputs drawn anew would add to that, to first order; NaN where it is not known.
    randomisations : tuple of int
        What each randomisation of the integration found, less their mean, in thousandths of their
        standard deviation: of two numbers they tell which part of their errors is the same.

    Examples
    --------
    >>> from skinfo.quantities import Quantity
    >>> information = Quantity("mutual_info", 5.545, stderr=0.007, lower=5.5, upper=5.6)
    >>> bits = information.in_units("bits")
    >>> round(bits.value, 2), round(bits.stderr, 3), bits.unit
    (8.0, 0.01, 'bits')
    >>> information.noted("saturated").cells()["notes"]
    'saturated'
    """

    name: str
    value: float
    stderr: float = 0.0
    lower: float = np.nan
    upper: float = np.nan
    unit: str = "nats"
    notes: tuple[str, ...] = ()
    stderr_sampling: float = 0.0
    stderr_other_inputs: float = np.nan
    randomisations: tuple[int, ...] = ()

    @classmethod
    def exact(cls, name: str, value: float, unit: str = "nats") -> Quantity:
        """Make a number without error: its bracket is itself."""
        return cls(name, float(value), 0.0, float(value), float(value), unit)

    @classmethod
    def of_unknown_error(cls, name: str, value: float, unit: str = "") -> Quantity:
        """Make a number that follows from others, such as the ends of a bracket."""
        nan = float("nan")
        return cls(name, float(value), nan, nan, nan, unit)

    @classmethod
    def sampled(
        cls, name: str, value: float, stderr: float, unit: str = "nats",
        notes: tuple[str, ...] = ("sampled",),
    ) -> Quantity:  # fmt: skip
        """Make a number from a random sample: its bracket is its 95 % interval."""
        spread = 1.96 * stderr
        return cls(name, value, stderr, value - spread, value + spread, unit, notes)

    def in_units(self, unit: str) -> Quantity:
        """Convert to "nats" or "bits"; pure numbers stay as they are."""
        if self.unit in (unit, ""):
            return self
        factor = nats_to(unit) / nats_to(self.unit)
        numbers = {name: getattr(self, name) * factor for name in _NUMBERS}
        if np.isnan(self.stderr_other_inputs):
            numbers["stderr_other_inputs"] = np.nan
        return replace(self, unit=unit, **numbers)

    def noted(self, *words: str) -> Quantity:
        """Add notes."""
        return replace(self, notes=tuple(dict.fromkeys((*self.notes, *words))))

    def cells(self) -> dict[str, Any]:
        """Give the columns of a table from "quantity" on."""
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        words = {"unit": self.unit, "notes": JOINT.join(self.notes)}
        words["randomisations"] = json.dumps(self.randomisations) if self.randomisations else ""
        return {"quantity": self.name, **numbers, **words}


@dataclass(frozen=True)
class QuantityDescription:
    """What a quantity is called and how it is drawn, wherever its name stands in a table.

    An estimator describes quantities of its own in ``quantity_descriptions``, a tuple of these.

    Attributes
    ----------
    name : str
        As in the table, for example "mutual_info".
    symbol : str
        What it is called on an axis, for example "I(X;T)".
    unit_kind : {"information", "count", "ratio", "distance", ""}
        "information" is in nats or bits; the others have no unit in the table. Counts and ratios
        are drawn in the logarithm where they reach far; "" is a pure number of limited range.
    ceiling : str, optional
        Name of the quantity of the same estimator that it cannot exceed.
    better : {"higher", "lower"}, optional
        Which way is more clustered.
    sentence : str, default=""
        What it says, for the reports.
    main : bool, default=False
        Whether it is looked at first: drawn in the overview, and not folded away in reports.
    baseline : float, optional
        Its value where nothing is clustered.
    of_labels : bool, default=True
        Whether it depends on the labels, where the estimator is given some: with several sets of
        them it is in a table once for each.

    Examples
    --------
    >>> QuantityDescription("auc", "Clustering AUC", "", better="higher").title
    'Clustering AUC ↑'
    """

    name: str
    symbol: str
    unit_kind: str = "information"
    ceiling: str | None = None
    better: str | None = None
    sentence: str = ""
    main: bool = False
    baseline: float | None = None
    of_labels: bool = True

    @property
    def title(self) -> str:
        """The symbol, with an arrow that shows which way is more clustered."""
        return self.symbol + {"higher": " ↑", "lower": " ↓"}.get(self.better or "", "")


# What a file may hold of a description; fields that are None there keep their default.
_FIELDS: tuple[tuple[str, Any], ...] = (
    ("name", str), ("symbol", str), ("unit_kind", str), ("ceiling", str), ("better", str),
    ("sentence", str), ("main", bool), ("baseline", float | int),
    ("of_labels", bool),
)  # fmt: skip


def _by_name(*descriptions: QuantityDescription) -> dict[str, QuantityDescription]:
    return {description.name: description for description in descriptions}


_Q = QuantityDescription
#: The quantities that the estimators of this package measure, by name.
QUANTITIES = _by_name(
    # Of a noisy layer.
    _Q("mutual_info", "I(X;T)", ceiling="ceiling", main=True, sentence="The information that the "
       "layer, its noise included, has about the input."),
    _Q("label_mutual_info", "I(Y;T)", ceiling="label_ceiling", main=True, sentence="The "
       "information that the layer, its noise included, has about the label."),
    _Q("conditional_mutual_info", "I(X;T|Y)", ceiling="conditional_ceiling", sentence="The "
       "information that the layer, its noise included, has about the input beyond its label: "
       "I(X;T) less I(Y;T)."),
    _Q("plug_in", "Plug-in I(X;T)", ceiling="ceiling", sentence="The estimate that published "
       "curves show: from few replicas it is biased upwards."),
    _Q("entropy", "h(T)", sentence="The differential entropy of the noisy layer."),
    _Q("conditional_entropy", "h(T|X)", sentence="The differential entropy of the noisy layer "
       "when the input is known."),
    _Q("bayes_error", "Bayes error", "", ceiling="bayes_error_ceiling", sentence="How often the "
       "best classifier that sees the layer, its noise included, takes one class for another: no "
       "other errs less often."),
    _Q("bayes_error_ceiling", "error of guessing", "", sentence="How often the likeliest class, "
       "guessed without a look at the layer, is wrong."),
    _Q("pattern_information", "I(X;pattern)", ceiling="ceiling", sentence="The part of I(X;T) that "
       "needs no more than which units are exactly zero, or their signs, which the noise leaves."),
    _Q("label_pattern_information", "I(Y;pattern)", ceiling="label_ceiling", sentence="The part "
       "of I(Y;T) that needs no more than which units are exactly zero, or their signs, which the "
       "noise leaves."),
    _Q("mutual_info_pairwise_lower", "Pairwise lower bound of I(X;T)", sentence="A lower bound of "
       "I(X;T) from the distances between all pairs of rows."),
    _Q("mutual_info_pairwise_upper", "Pairwise upper bound of I(X;T)", sentence="An upper bound "
       "of I(X;T) from the distances between all pairs of rows."),
    _Q("ceiling", "ceiling", sentence="What I(X;T) cannot exceed: the entropy of the inputs, or "
       "what a Gaussian channel with the same covariance carries."),
    _Q("label_ceiling", "H(Y)", sentence="The entropy of the labels, which no information about "
       "them exceeds. Of a population it is an estimate, with an error."),
    _Q("conditional_ceiling", "H(X|Y)", sentence="The entropy of the inputs when their label is "
       "known, which I(X;T|Y) cannot exceed."),
    _Q("label_log_classes", "log K", sentence="The logarithm of the number of classes seen in a "
       "sample of a population: what H(Y) would be were they equally likely."),
    _Q("effective_dimension", "Effective dimension", "", sentence="The slope of I(X;T) in nats "
       "against log(1/σ), for rows one by one: how many directions are resolved at the scale of "
       "the noise."),
    _Q("label_gain", "Predicted I(Y;T)", ceiling="label_ceiling", sentence="What predictors of the "
       "label, fitted to other inputs, gain over guessing: its lower end is that of I(Y;T)."),
    _Q("label_null", "Predicted I(Y;T), labels permuted", sentence="The mean of the same gain over "
       "permutations of the labels, with its least and its largest: no information."),
    _Q("label_p_value", "p value of I(Y;T)", "", sentence="How often permuted labels give as much: "
       "one and the number of permutations that do, over one and the number of all."),
    _Q("known", "Known share of I(X;T)", "", sentence="The lower end of I(X;T) of a "
       "population as a share of its upper end: 1 where the sample leaves nothing open."),
    _Q("label_known", "Known share of I(Y;T)", "", sentence="One less the width of the bracket of "
       "I(Y;T) of a population as a share of H(Y): 1 where the sample leaves nothing open."),
    _Q("inputs_needed", "Inputs needed", "count", sentence="The number of inputs below which no "
       "lower end of I(X;T) that holds for every law reaches nine tenths of the upper end."),
    # Of slices of a noisy layer.
    _Q("sliced_mutual_info", "SI(X;T)", ceiling="sliced_ceiling", main=True, sentence="The "
       "information about the input in a random direction of the layer, on average: less than "
       "I(X;T), and the less, the more units there are."),
    _Q("sliced_label_mutual_info", "SI(Y;T)", ceiling="label_ceiling", main=True, sentence="The "
       "information about the label in a random direction of the layer, on average."),
    _Q("sliced_ceiling", "ceiling of SI(X;T)", sentence="What slices cannot exceed: the entropy of "
       "the inputs, or what slices of a Gaussian layer with the same covariance know."),
    _Q("best_slice_mutual_info", "I(X;T) of the best slice", sentence="The information about the "
       "input in the best direction found. Its lower end is one of I(X;T) of the layer."),
    _Q("best_slice_label_mutual_info", "I(Y;T) of the best slice", ceiling="label_ceiling",
       sentence="The information about the label in the best direction found. Its lower end is one "
       "of I(Y;T) of the layer."),
    # Of a layer cut into bins.
    _Q("binned_mutual_info", "I(X;Bin(T))", ceiling="binned_ceiling", sentence="The information "
       "that the cell of a row has about the input. Of a deterministic layer it is H(Bin(T))."),
    _Q("binned_label_mutual_info", "I(Y;Bin(T))", ceiling="label_ceiling", sentence="The "
       "information that the cell of a row has about the label."),
    _Q("binned_entropy", "H(Bin(T))", ceiling="binned_ceiling", main=True, sentence="The entropy "
       "of binned activations. It is not the information of a deterministic layer: it shows how "
       "inputs cluster at the scale of the bins."),
    _Q("binned_ceiling", "H(X)", sentence="The entropy of the inputs."),
    _Q("n_occupied", "Cells occupied", "count", sentence="The number of cells that hold a row."),
    _Q("singleton_fraction", "Share of rows alone in a cell", "", sentence="The share of the rows "
       "whose cell no other input reached."),
    _Q("outside_fraction", "Share of values outside the edges", "", sentence="The share of the "
       "values that lie outside the edges and are counted in the outer cells."),
    # Of how inputs cluster.
    _Q("auc", "Clustering AUC", "", better="higher", main=True, baseline=0.5, sentence="The "
       "probability that two inputs of different classes lie farther apart than two of one class: "
       "0.5 without clustering, 1 where it is perfect."),
    _Q("silhouette", "Silhouette", "", better="higher", baseline=0.0, sentence="How much nearer a "
       "row lies to its own class than to the nearest other one, between −1 and 1."),
    _Q("nc1", "NC1", "ratio", better="lower", sentence="The scatter within classes relative to "
       "that between their means."),
    _Q("nc2_equinorm", "NC2 equinorm", "", better="lower", sentence="How much the norms of the "
       "class means differ."),
    _Q("nc2_equiangularity", "NC2 equiangularity", "", better="lower", sentence="How much the "
       "angles between the class means differ."),
    _Q("nc2_maximal_angle", "NC2 maximal angle", "", better="lower", sentence="How far the angles "
       "between the class means are from the largest possible ones."),
    _Q("calinski_harabasz", "Calinski-Harabasz", "ratio", better="higher", sentence="The scatter "
       "between class means relative to that within classes, per degree of freedom."),
    _Q("davies_bouldin", "Davies-Bouldin", "ratio", better="lower", sentence="The scatter within "
       "two classes relative to the distance of their means, of the worst pair of each class."),
    _Q("intrinsic_dimension", "Intrinsic dimension", "", sentence="The number of directions in "
       "which nearby rows differ, from the distances to two neighbours."),
    _Q("binned_entropy_share", "H(Bin(T)) / log n", "", better="lower", sentence="The entropy of "
       "binned activations as a share of the entropy of the inputs."),
    _Q("within_mean", "Mean distance within", "distance", sentence="The mean distance between two "
       "rows of one class."),
    _Q("between_mean", "Mean distance between", "distance", sentence="The mean distance between "
       "rows of two classes."),
    *(
        _Q(f"{pairs}_q{share:02}", f"{share} % quantile of the distances {pairs}", "distance")
        for pairs in ("within", "between") for share in (5, 25, 50, 75, 95)
    ),
)  # fmt: skip


#: What tells of a layer and its inputs alone, whatever their labels.
_UNLABELLED = (
    "mutual_info", "plug_in", "entropy", "conditional_entropy", "pattern_information",
    "mutual_info_pairwise_lower", "mutual_info_pairwise_upper", "ceiling", "effective_dimension",
    "known", "inputs_needed", "sliced_mutual_info", "sliced_ceiling", "best_slice_mutual_info",
    "binned_mutual_info", "binned_entropy", "binned_ceiling", "n_occupied", "singleton_fraction",
    "outside_fraction", "intrinsic_dimension", "binned_entropy_share",
)  # fmt: skip
QUANTITIES |= {name: replace(QUANTITIES[name], of_labels=False) for name in _UNLABELLED}


def describe_quantity(name: str, table: pd.DataFrame | None = None) -> QuantityDescription:
    """Describe a quantity by its name in a table.

    Parameters
    ----------
    name : str
        The name; that of one label set ends in it, as in "auc [fine]".
    table : DataFrame, optional
        A flow table, whose ``attrs`` describe quantities of other estimators.

    Returns
    -------
    QuantityDescription
        From :data:`QUANTITIES`, or else from the table; one made from the name if neither has it.

    Examples
    --------
    >>> describe_quantity("auc [fine]").title, describe_quantity("my_number").symbol
    ('Clustering AUC [fine] ↑', 'my number')
    """
    base, space, label_set = name.partition(" [")
    described = QUANTITIES.get(base) or _from_attrs(table).get(base)
    if described is None:
        described = QuantityDescription(base, base.replace("_", " "), "")
    return replace(described, name=name, symbol=described.symbol + space + label_set)


def declared_quantities(
    estimators: Iterable[Any], measured: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Collect what estimators declare of quantities that :data:`QUANTITIES` lacks.

    The estimators are last steps. Of the quantities ``measured``, or of all that are declared,
    plain values come back that JSON can hold, for ``attrs["quantities"]`` of a table.
    """
    declared = (d for e in estimators for d in getattr(e, "quantity_descriptions", ()))
    own = {d.name: asdict(d) for d in declared if d.name not in QUANTITIES}
    names = own if measured is None else {name.partition(" [")[0] for name in measured}
    return [description for name, description in own.items() if name in names]


def _from_attrs(table: pd.DataFrame | None) -> dict[str, QuantityDescription]:
    """Descriptions that a table carries; what is not one, in a file of others, is left out."""
    entries = None if table is None else table.attrs.get("quantities")
    descriptions = []
    for entry in entries if isinstance(entries, list | tuple) else ():
        given = entry if isinstance(entry, Mapping) else {}
        fitting = {name: given[name] for name, kind in _FIELDS if isinstance(given.get(name), kind)}
        if "name" in fitting and "symbol" in fitting:
            descriptions.append(QuantityDescription(**fitting))
    return _by_name(*descriptions)


def estimators_measuring(table: pd.DataFrame, quantity: str) -> list[str]:
    """Names of the estimators in a table that measured a quantity, in its order."""
    names = table.loc[table["quantity"] == quantity, "estimator"]
    return [str(name) for name in dict.fromkeys(names)]


def nats_to(unit: str) -> float:
    """Return the factor that turns nats into ``unit``.

    Raises
    ------
    ValueError
        If the unit is neither "nats" nor "bits".

    Examples
    --------
    >>> round(nats_to("bits"), 6)
    1.442695
    """
    if unit not in _IN_A_NAT:
        raise ValueError(f"Information is in 'nats' or 'bits'; got {unit!r}.")
    return _IN_A_NAT[unit]


def split_notes(cell: str) -> list[str]:
    """Split a cell of notes.

    Examples
    --------
    >>> split_notes("saturated; data processing violated"), split_notes("")
    (['saturated', 'data processing violated'], [])
    """
    return cell.split(JOINT) if cell else []


def notes_of(quantities: Iterable[Quantity]) -> tuple[str, ...]:
    """Words noted at any of several quantities, each once, in the order of their appearance."""
    return tuple(dict.fromkeys(note for quantity in quantities for note in quantity.notes))
