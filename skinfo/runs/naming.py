"""Names of checkpoints and layers in files, of skinfo and of others."""

from __future__ import annotations

import re
from collections.abc import Iterable
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from skinfo.errors import RunError

Entry = TypeVar("Entry")
_DIGITS = re.compile(r"\d+")


def whole_epoch(epoch: Any, path: str | Path | None = None) -> int:
    """The number of a checkpoint; raises RunError unless it is a whole number from 0 on.

    Examples
    --------
    >>> whole_epoch(12.0)
    12
    """
    number = isinstance(epoch, Real) and not isinstance(epoch, bool)
    if not number or not (epoch >= 0 and float(epoch).is_integer()):
        raise RunError(f"an epoch is a whole number from 0 on; got {epoch!r}", path=path)
    return int(epoch)


def epoch_of(name: str) -> int | None:
    """The epoch that a name given by others stands for: its last number.

    Examples
    --------
    >>> epoch_of("run2-epoch_0012"), epoch_of("labels")
    (12, None)
    """
    numbers = _DIGITS.findall(name)
    return int(numbers[-1]) if numbers else None


def by_epoch(named: Iterable[tuple[str, Entry]], path: Path) -> dict[int, Entry]:
    """Entries by the epoch in their names, increasing; two of one epoch are an error."""
    entries: dict[int, tuple[str, Entry]] = {}
    for name, entry in named:
        epoch = epoch_of(name)
        if epoch is None:
            continue
        if epoch in entries:
            raise RunError(
                f"{entries[epoch][0]} and {name} are both of this epoch: the last number in a name "
                "is its epoch; rename one of them",
                path=path, epoch=epoch,
            )  # fmt: skip
        entries[epoch] = (name, entry)
    return {epoch: entries[epoch][1] for epoch in sorted(entries)}


def natural_order(names: Iterable[str]) -> list[str]:
    """Names in the order of the numbers in them.

    Examples
    --------
    >>> natural_order(["layer10", "layer9", "input"])
    ['input', 'layer9', 'layer10']
    """

    def key(name: str) -> tuple[list[tuple[bool, int, str]], str]:
        parts = re.findall(r"\d+|\D+", name)
        return [(p.isdigit(), int(p) if p.isdigit() else 0, p) for p in parts], name

    return sorted(names, key=key)


def quoted(layer: str) -> str:
    """A layer's name as one part of a path, in a directory or an array container.

    Examples
    --------
    >>> quoted("block1.conv"), quoted("encoder/dense 1"), quoted("..")
    ('block1.conv', 'encoder%2Fdense 1', '%2E%2E')
    """
    name = quote(layer, safe=" !#$&'()+,;=@[]{}^~")
    return name.replace(".", "%2E") if not name.strip(".") or name.startswith("__") else name
