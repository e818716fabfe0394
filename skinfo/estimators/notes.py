"""What all numbers of an estimator together note."""

from __future__ import annotations

from collections.abc import Iterable

from skinfo.measures.quantity import Quantity


def notes_of(quantities: Iterable[Quantity]) -> tuple[str, ...]:
    """Words noted at any of several quantities, each once, in the order of their appearance."""
    return tuple(dict.fromkeys(note for quantity in quantities for note in quantity.notes))
