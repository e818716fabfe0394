"""The notes of a table in words: what they mean, and which layers and epochs they concern."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from skinfo.quantities import NOTES, describe_quantity
from skinfo.view.words import SEVERE, epoch_ranges, meaning, split_notes

# More messages than this are counted, not shown.
_MOST_SAID = 5


@dataclass
class Flag:
    """One note, wherever it stands in a table."""

    note: str
    meaning: str
    #: Whether numbers with it must not be used as they are.
    severe: bool
    #: How many rows have it.
    rows: int
    layers: list[str]
    #: Sentences that name quantities, layers and epochs.
    places: list[str]
    #: What was said beside the note, for example why a file could not be read.
    said: list[str]


def flags_of(table: pd.DataFrame, layers: tuple[str, ...]) -> list[Flag]:
    """Gather the notes of a checked table, severe ones first.

    Examples
    --------
    >>> rows = pd.DataFrame({"epoch": [1.0, 2.0], "layer": "a", "estimator": "noisy",
    ...                      "quantity": "mutual_info", "notes": ["saturated", ""]})
    >>> (flag,) = flags_of(rows, ("a",))
    >>> flag.places
    ['I(X;T) of noisy: a at epoch 1']
    """
    noted = table.loc[table["notes"] != "", ["epoch", "layer", "estimator", "quantity", "notes"]]
    notes = noted.assign(note=noted["notes"].map(split_notes)).explode("note")
    notes = notes.assign(word=notes["note"].str[0], said=notes["note"].str[1])
    order = [*SEVERE, *(note for note in NOTES if note not in SEVERE)]
    words = dict.fromkeys(notes["word"])
    flags = []
    for word in [*(w for w in order if w in words), *(w for w in words if w not in order)]:
        rows = notes[notes["word"] == word]
        concerned = [layer for layer in layers if layer in set(rows["layer"])]
        places = [
            place
            for _, noted in rows.groupby("estimator", sort=False)
            for place in _places(table, noted, layers)
        ]
        said = list(dict.fromkeys(filter(None, rows["said"])))
        more = len(said) - _MOST_SAID
        said[_MOST_SAID:] = [f"and {more} more"] if more > 0 else []
        flags.append(Flag(word, meaning(word), word in SEVERE, len(rows), concerned, places, said))
    return flags


def _places(table: pd.DataFrame, rows: pd.DataFrame, layers: tuple[str, ...]) -> list[str]:
    """One sentence for quantities of an estimator noted at the same layers and epochs."""
    epochs = sorted(set(table["epoch"]))
    quantities: dict[str, list[str]] = {}
    for quantity in dict.fromkeys(rows["quantity"]):
        noted = rows[rows["quantity"] == quantity]
        alike: dict[str, list[str]] = {}
        for layer in layers:
            at = sorted(set(noted.loc[noted["layer"] == layer, "epoch"]))
            if at:
                alike.setdefault(epoch_ranges(at, epochs), []).append(layer)
        where = "; ".join(_at(at, several, layers) for at, several in alike.items())
        title = describe_quantity(quantity, table).title if quantity else ""
        quantities.setdefault(where, []).append(title)
    estimator = rows["estimator"].iloc[0]
    return [
        f"{', '.join(filter(None, titles)) or 'everything'} of {estimator}: {where}"
        for where, titles in quantities.items()
    ]


def _at(epochs: str, several: list[str], layers: tuple[str, ...]) -> str:
    """Name layers that are noted at the same epochs."""
    everywhere = len(several) == len(layers) > 2
    return f"{f'all {len(layers)} layers' if everywhere else ', '.join(several)} at {epochs}"
