"""Which epochs of a training are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from numbers import Integral

import numpy as np

#: Every so many epochs, at these epochs, or wherever a function of the epoch says so.
Schedule = int | Iterable[int] | Callable[[int], bool]


def log_spaced_epochs(last: int, n: int) -> list[int]:
    """Take about ``n`` different epochs from 1 to ``last``, evenly spaced in the logarithm.

    Raises
    ------
    ValueError
        Unless both are 1 or more.

    Examples
    --------
    >>> log_spaced_epochs(100, 5)
    [1, 3, 10, 32, 100]
    """
    if not (1 <= last < 2**53 and n >= 1):
        raise ValueError(f"last and n are numbers from 1 on; got {last} and {n}.")
    if n == 1:
        return [last]
    for points in range(n, 4 * n):
        epochs = np.unique(np.round(np.logspace(0, np.log10(last), points)).astype(int))
        if len(epochs) >= min(n, last):
            break
    return [int(epoch) for epoch in epochs]


def as_condition(every: Schedule) -> Callable[[int], bool]:
    """Turn a schedule into a function that says whether an epoch is measured.

    Raises
    ------
    ValueError
        For what is neither a number from 1 on, nor epochs, nor a function.

    Examples
    --------
    >>> list(filter(as_condition(3), range(10)))
    [0, 3, 6, 9]
    >>> list(filter(as_condition([1, 2, 8]), range(10)))
    [1, 2, 8]
    """
    if callable(every):
        return every
    if isinstance(every, Integral):
        step = int(every)
        if step >= 1:
            return lambda epoch: epoch % step == 0
    elif isinstance(every, Iterable) and not isinstance(every, str):
        chosen = frozenset(int(epoch) for epoch in every)
        return chosen.__contains__
    raise ValueError(
        f"every is a number of epochs from 1 on, a list of epochs, or a function; got {every!r}."
    )
