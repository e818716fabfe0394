"""Numbers, epochs, noise and notes in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from skinfo.comparison import POOLING_NOTES
from skinfo.quantities import NOTES, describe_quantity, split_notes

# Notes that say that a number must not be used as it is.
_SEVERE = ("read error", "data processing violated", "above ceiling", "tolerance not met")
_MEANINGS = NOTES | POOLING_NOTES
#: Letters of a name in a picture; more would take the room of what is drawn.
LONGEST_NAME = 36
# Decimals beyond this are written as a power of ten.
_MOST_DECIMALS = 6
# Ends that are closer than this share of them are one.
_FINEST = 1e-6


def number(value: float) -> str:
    """Write a number with four significant digits.

    Examples
    --------
    >>> [number(x) for x in (8.317766, 4096.0, -0.00512, 2.5e-9, float("inf"), float("nan"))]
    ['8.318', '4096', '−0.00512', '2.5e−09', '∞', '–']
    """
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == int(value) and abs(value) < 1e6:
        text = f"{value:.0f}"
    elif 10.0**-_MOST_DECIMALS < abs(value) < 1e6:
        text = f"{value:.{max(0, 3 - _exponent(value))}f}"
        text = text.rstrip("0").rstrip(".") if "." in text and abs(value) < 0.1 else text
    else:
        text = f"{value:.4g}"
    return text.replace("-", "−")


def with_error(value: float, stderr: float) -> str:
    """Write a value and its standard error, to two digits of the error; exact ones without.

    Examples
    --------
    >>> with_error(7.772404, 0.00867), with_error(8.317766, 5.9e-16), with_error(0.9167, 0.0)
    ('7.7724 ± 0.0087', '8.3178 ± <0.0001', '0.9167')
    """
    if not (math.isfinite(value) and math.isfinite(stderr)) or stderr == 0:
        return number(value)
    most = max(4, 3 - _exponent(value)) if value else 4
    decimals = min(max(0, 1 - _exponent(stderr)), most)
    if decimals > _MOST_DECIMALS or abs(value) >= 1e6:
        return f"{value:.4g} ± {stderr:.2g}".replace("-", "−")
    smallest = 10.0**-decimals
    error = f"{stderr:.{decimals}f}" if stderr >= smallest else f"<{smallest:.{decimals}f}"
    return f"{value:.{decimals}f} ± {error}".replace("-", "−")


def bracket(lower: float, upper: float) -> str:
    """Write a bracket, with as many decimals as show that it has two ends.

    Examples
    --------
    >>> bracket(7.735997, 7.805533), bracket(0.524361, 0.524368), bracket(2.0, 2.0)
    ('7.736 … 7.806', '0.5243610 … 0.5243680', '')
    """
    if math.isnan(lower) or math.isnan(upper) or lower == upper:
        return ""
    ends = number(lower), number(upper)
    if ends[0] == ends[1] and upper - lower > _FINEST * abs(upper):
        decimals = min(max(0, 1 - _exponent(upper - lower)), 15)
        ends = tuple(f"{end:.{decimals}f}".replace("-", "−") for end in (lower, upper))  # type: ignore[assignment]
    return "" if ends[0] == ends[1] else f"{ends[0]} … {ends[1]}"


def _exponent(value: float) -> int:
    return math.floor(math.log10(abs(value)))


def short_name(name: object, most: int = LONGEST_NAME) -> str:
    r"""Write a name on one line, a long one without its middle.

    Examples
    --------
    >>> short_name("encoder.layer.11.attention", most=12), short_name("two\nlines")
    ('encod…ention', 'two lines')
    """
    text = "".join(letter if letter.isprintable() else " " for letter in str(name))
    if len(text) <= most:
        return text
    end = most // 2
    return f"{text[: most - end - 1]}…{text[-end:]}"


def epoch_name(epoch: float) -> str:
    """Write an epoch: whole ones as such, however large.

    Examples
    --------
    >>> epoch_name(2000000.0), epoch_name(0.5)
    ('2000000', '0.5')
    """
    return str(int(epoch)) if epoch == int(epoch) else f"{epoch:g}"


def epoch_ranges(chosen: Sequence[float], epochs: Sequence[float]) -> str:
    """Name some of the epochs of a table, those that follow one another as a range.

    Examples
    --------
    >>> epoch_ranges([1, 2, 5, 50], [1, 2, 5, 10, 50])
    'epochs 1 to 5, 50'
    >>> epoch_ranges([1, 2], [1, 2]), epoch_ranges([2], [1, 2])
    ('all 2 epochs', 'epoch 2')
    """
    wanted = set(chosen)
    if len(wanted) == len(epochs) > 1:
        return f"all {len(epochs)} epochs"
    groups: list[list[float]] = []
    for before, epoch in zip([None, *epochs], epochs, strict=False):
        if epoch in wanted:
            if groups and groups[-1][-1] == before:
                groups[-1].append(epoch)
            else:
                groups.append([epoch])
    texts = []
    for group in groups:
        if len(group) > 2:
            texts.append(f"{epoch_name(group[0])} to {epoch_name(group[-1])}")
        else:
            texts += map(epoch_name, group)
    return f"epoch{'s' if len(wanted) > 1 else ''} {', '.join(texts)}"


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
    notes = noted.assign(word=noted["notes"].map(split_notes)).explode("word")
    order = [*_SEVERE, *(note for note in NOTES if note not in _SEVERE)]
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
        meaning = _MEANINGS.get(word, "a note that this version does not know")
        flags.append(Flag(word, meaning, word in _SEVERE, len(rows), concerned, places))
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
