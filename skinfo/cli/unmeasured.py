"""What a sweep could not measure, an error a line, however many checkpoints it concerns."""

from __future__ import annotations

import warnings
from typing import Any

from skinfo.cli.application import complain

# An error names so many layers.
_MOST_NAMED = 8


def measure(run: Any, estimators: dict[str, Any], **options: Any) -> tuple[Any, Any]:
    """Measure a run; what could not be measured is said at the end, alike errors once."""
    from skinfo.flow.defaults import measure_run

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "not measured: ")
        table, snapshots = measure_run(run, estimators, **options)
    for message in summarised(table.attrs["errors"]):
        complain(f"not measured: {message}")
    read = table.loc[~table["notes"].str.contains("read error", regex=False), "layer"]
    complain_of_strangers(run, [name for name in _names(run) if name not in set(read)])
    return table, snapshots


def complain_of_strangers(run: Any, lost: list[str]) -> None:
    """Say how to leave out what holds no activations, where the files do not name the layers."""
    kept = [name for name in _names(run) if name not in lost]
    if run.schema is None and lost and kept and "," not in "".join(kept):
        complain(
            f"{_named(lost)}: could not be read at any checkpoint; if these are no layers, "
            f"--layers {','.join(kept)} leaves them out.",
            "yellow",
        )


def _names(run: Any) -> list[str]:
    return [layer.name for layer in run.layers]


def summarised(errors: list[dict[str, Any]]) -> list[str]:
    """The first of alike errors in full, with how many layers and checkpoints they concern.

    Examples
    --------
    >>> errors = [
    ...     {"epoch": e, "layer": "y", "message": f"run, epoch {e}, layer 'y': has shape (9,)"}
    ...     for e in (1, 2, 3)
    ... ]
    >>> summarised(errors)
    ["run, epoch 1, layer 'y': has shape (9,); so at 3 checkpoints of layer y"]
    """
    alike: dict[str, list[dict[str, Any]]] = {}
    for error in errors:
        alike.setdefault(_kind(error), []).append(error)
    return [_with_counts(found) for found in alike.values()]


def _kind(error: dict[str, Any]) -> str:
    """An error without its place and its numbers."""
    import re

    what = error["message"].split(f"layer {error['layer']!r}: ", 1)[-1]
    return re.sub(r"\d+", "#", what.replace(repr(error["layer"]), "layer"))


def _with_counts(errors: list[dict[str, Any]]) -> str:
    first = str(errors[0]["message"])
    epochs = {error["epoch"] for error in errors}
    layers = list(dict.fromkeys(error["layer"] for error in errors))
    if len(epochs) == len(layers) == 1:
        return first
    many = f"{len(epochs)} checkpoint{'s' if len(epochs) > 1 else ''}"
    what = "layer" if len(layers) == 1 else "layers"
    return f"{first.rstrip('.;')}; so at {many} of {what} {_named(layers)}"


def _named(layers: list[str]) -> str:
    more = len(layers) - _MOST_NAMED
    return ", ".join(layers[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
