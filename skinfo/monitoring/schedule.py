"""Which epochs of a training are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from numbers import Integral

import numpy as np

#: Every so many epochs, a list of epochs, or a function of the epoch that is true or false.
Schedule = int | Iterable[int] | Callable[[int], bool]


def log_spaced_epochs(last: int, n: int) -> list[int]:
    """Make about ``n`` different epochs from 1 to ``last``, evenly spaced in the logarithm.

    Raises
    ------
    ValueError
        If one of them is less than 1.

    Examples
    --------
    >>> log_spaced_epochs(100, 5)
    [1, 3, 10, 32, 100]
    """
    if not (1 <= last < 2**53 and n >= 1):
        raise ValueError(f"last and n must be at least 1; got {last} and {n}.")
    if n == 1:
        return [last]
    for points in range(n, 4 * n):
        epochs = np.unique(np.round(np.logspace(0, np.log10(last), points)).astype(int))
        if len(epochs) >= min(n, last):
            break
    return [int(epoch) for epoch in epochs]


def as_condition(every: Schedule) -> Callable[[int], bool]:
    """Turn a schedule into a function that tells whether an epoch is measured.

    Raises
    ------
    ValueError
        For anything but a number of at least 1, a list of epochs, or a function.

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
        f"every is a number of epochs, at least 1, a list of epochs, or a function; got {every!r}."
    )
