"""The notes of a table in words: what they mean, and which layers and epochs they concern."""

from __future__ import annotations

from dataclasses import dataclass, field

import pandas as pd

from skinfo.kinds import kind_of, symbol
from skinfo.quantities import NOTES
from skinfo.view.report.charts import NO_LAYER, Axis
from skinfo.view.report.wording import SEVERE, epoch_ranges, meaning, notes_of

# More messages than this are counted, not shown.
_MOST_SAID = 5


@dataclass
class Flag:
    """One note, wherever it stands in a table.

    Attributes
    ----------
    note, meaning : str
        The word and what it says.
    severe : bool
        Whether numbers with it must not be used as they are.
    rows : int
        How many rows have it.
    layers : list of str
        Those concerned.
    places : list of str
        Sentences that name quantities, layers and epochs.
    said : list of str
        What was said beside the note, for example why a file could not be read.
    """

    note: str
    meaning: str
    severe: bool
    rows: int
    layers: list[str]
    places: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def flags_of(table: pd.DataFrame, layers: tuple[str, ...], axis: Axis) -> list[Flag]:
    """Gather the notes of a checked table, severe ones first.

    Examples
    --------
    >>> rows = pd.DataFrame({"epoch": [1.0, 2.0], "layer": "a", "estimator": "noisy",
    ...                      "quantity": "mutual_info", "notes": ["saturated", ""]})
    >>> (flag,) = flags_of(rows, ("a",), Axis("epoch", "Epoch", (1.0, 2.0)))
    >>> flag.places
    ['I(X;T) of noisy: a at epoch 1']
    """
    found = table.loc[table["notes"] != "", ["epoch", "layer", "estimator", "quantity", "notes"]]
    notes = found.assign(note=found["notes"].map(notes_of)).explode("note")
    notes = notes.assign(
        word=[word for word, _ in notes["note"]], said=[said for _, said in notes["note"]]
    )
    order = [*SEVERE, *(note for note in NOTES if note not in SEVERE)]
    there = dict.fromkeys(notes["word"])
    flags = []
    for word in [*(w for w in order if w in there), *(w for w in there if w not in order)]:
        rows = notes[notes["word"] == word]
        concerned = [layer for layer in layers if layer in set(rows["layer"])]
        flag = Flag(word, meaning(word), word in SEVERE, len(rows), concerned)
        for estimator in dict.fromkeys(rows["estimator"]):
            flag.places += _places(
                table, estimator, rows[rows["estimator"] == estimator], layers, axis
            )
        said = list(dict.fromkeys(text for text in rows["said"] if text))
        flag.said = said[:_MOST_SAID]
        if len(said) > _MOST_SAID:
            flag.said.append(f"and {len(said) - _MOST_SAID} more")
        flags.append(flag)
    return flags


def _places(
    table: pd.DataFrame, estimator: str, rows: pd.DataFrame, layers: tuple[str, ...], axis: Axis
) -> list[str]:
    """One sentence for quantities that are noted at the same layers and epochs."""
    sentences: dict[str, list[str]] = {}
    kind = kind_of(table, estimator)
    for quantity in dict.fromkeys(rows["quantity"]):
        noted = rows[rows["quantity"] == quantity]
        alike: dict[str, list[str]] = {}
        for layer in layers:
            epochs = noted.loc[noted["layer"] == layer, "epoch"].tolist()
            if epochs:
                at = epoch_ranges(sorted(set(epochs)), axis.places, axis.word)
                alike.setdefault(at, []).append(layer)
        where = "; ".join(_at(at, several, layers) for at, several in alike.items())
        name = symbol(kind, quantity) if quantity else ""
        sentences.setdefault(where, []).append(name)
    return [
        f"{', '.join(filter(None, names)) or 'everything'} of {estimator}: {where}"
        for where, names in sentences.items()
    ]


def _at(epochs: str, several: list[str], layers: tuple[str, ...]) -> str:
    """Name layers that are noted at the same epochs."""
    if several == [NO_LAYER]:
        return epochs
    everywhere = len(several) == len(layers) > 2
    return f"{f'all {len(layers)} layers' if everywhere else ', '.join(several)} at {epochs}"
