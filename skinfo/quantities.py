"""What every measure returns: a number that carries its unit, its error and its bracket."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

__all__ = ["COLUMNS", "CURVE_COLUMNS", "JOINT", "NOTES", "Quantity", "nats_to", "notes_of"]

#: Columns of a flow table, which is quantities with epoch, layer and estimator in front.
COLUMNS = (
    "epoch", "layer", "estimator", "quantity", "value", "stderr", "lower", "upper", "unit", "notes",
)  # fmt: skip
#: Columns of a curve against sigma.
CURVE_COLUMNS = ("sigma", *COLUMNS[COLUMNS.index("quantity") :])
#: What joins the notes in a cell.
JOINT = "; "

# How much of each unit a nat is.
_IN_A_NAT = {"nats": 1.0, "bits": float(1 / np.log(2))}

#: The words that may stand in the notes of a quantity, and what they mean.
NOTES = {
    "saturated": "within 1 % of the entropy of the inputs: all can be told apart at this sigma",
    "above ceiling": "the estimate was above what any layer can reach, and was cut there",
    "data processing violated": "more than the layer before, beyond both brackets",
    "tolerance not met": "max_evaluations was spent before the standard error fell below tol",
    "telescoped": "corrected by inputs with more replicas, taken for a random sample of all",
    "replicas missing": "noise precedes this layer and inputs have one row: this is I(S;T)",
    "sigma differs from run": "measured at another sigma than the network was run with",
    "noise added": "noise was added for measuring: the network has none here",
    "at ceiling": "H(Bin(T)) is stuck within 1 % of the entropy of the inputs: bins too narrow",
    "in one cell": "all inputs fall into one cell: bins too wide to show anything",
    "too few replicas": "H(Bin(T)|X) is limited by the number of replicas: the value says little",
    "outside edges": "values lie outside the edges and share the outer cells, inputs apart or not",
    "correction beyond bounds": "Miller-Madow's correction passed 0 or the ceiling; left there",
    "one noise draw": "of one sample of T an input: exact for it, but another would give another",
    "sampled": "computed from a random or even sample of the rows or pairs",
    "read error": "the activations could not be read",
    "no noise": "the layer has no sigma on record, and the estimator none of its own",
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

    Examples
    --------
    >>> from skinfo.quantities import Quantity
    >>> found = Quantity("mutual_info", 5.545, stderr=0.007, lower=5.5, upper=5.6)
    >>> bits = found.in_units("bits")
    >>> round(bits.value, 2), round(bits.stderr, 3), bits.unit
    (8.0, 0.01, 'bits')
    >>> found.noted("at ceiling").cells()["notes"]
    'at ceiling'
    """

    name: str
    value: float
    stderr: float = 0.0
    lower: float = np.nan
    upper: float = np.nan
    unit: str = "nats"
    notes: tuple[str, ...] = ()

    @classmethod
    def exact(cls, name: str, value: float, unit: str = "nats") -> Quantity:
        """Make a number without error: its bracket is itself."""
        return cls(name, float(value), 0.0, float(value), float(value), unit)

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
        return replace(
            self,
            value=self.value * factor,
            stderr=self.stderr * factor,
            lower=self.lower * factor,
            upper=self.upper * factor,
            unit=unit,
        )

    def noted(self, *words: str) -> Quantity:
        """Add notes."""
        return replace(self, notes=tuple(dict.fromkeys((*self.notes, *words))))

    def cells(self) -> dict[str, Any]:
        """Give the columns of a table from "quantity" on."""
        return {
            "quantity": self.name,
            "value": self.value,
            "stderr": self.stderr,
            "lower": self.lower,
            "upper": self.upper,
            "unit": self.unit,
            "notes": JOINT.join(self.notes),
        }


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


def notes_of(quantities: Iterable[Quantity]) -> tuple[str, ...]:
    """Words noted at any of several quantities, each once, in the order of their appearance."""
    return tuple(dict.fromkeys(note for quantity in quantities for note in quantity.notes))
