"""Cells of many widths in one go: what is decided at one width is not counted at another.

Where every width of a chain divides the next, cells of a wide width are unions of cells of a narrow
one. Rows that share a cell share all wider ones, and rows alone in a cell are alone in all narrower
ones. So the ends of a chain are counted first, then its middle, and so on, and at each width only
the rows that the widths around it leave undecided.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skinfo.binned.cells import WidthCells
from skinfo.binned.counting import first_rows
from skinfo.binned.kernels import check_nested, pick_undecided

# How far from an integer the ratio of two widths may be, in relative terms: 1e-3 / 1e-4 is not 10.
_RATIO_SLACK = 8 * 2.0**-53
_LARGEST_RATIO = 2.0**53


def first_rows_by_width(
    points: np.ndarray, widths: list[float]
) -> Iterator[tuple[int, np.ndarray]]:
    """Find for every width, and every row, the first row in the same cell.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        Activations.
    widths : list of float
        Widths, positive and all different.

    Yields
    ------
    place : int
        Place of a width in the list; all come, in any order.
    first : ndarray of shape (n,), int64
        What :func:`skinfo.binned.counting.first_rows` finds for it, to the last bit.

    Raises
    ------
    ValueError
        If cells are so narrow that they cannot be counted in 64 bits.

    Examples
    --------
    >>> import numpy as np
    >>> found = dict(first_rows_by_width(np.array([[0.1], [0.3], [0.9]]), [0.25, 0.5, 1.0]))
    >>> [found[place].tolist() for place in range(3)]
    [[0, 1, 2], [0, 0, 2], [0, 0, 0]]
    """
    points = np.ascontiguousarray(points)
    place_of = {width: place for place, width in enumerate(widths)}
    for chain in _chains(points, sorted(widths)):
        for width, first in _count_chain(points, chain):
            yield place_of[width], first


def nested_ratios(widths: list[float]) -> dict[float, int]:
    """Pick widths of an increasing list that form a chain from the first: each divides the next.

    Returns
    -------
    dict of float to int
        The widths picked, with their ratio to the first.

    Examples
    --------
    >>> nested_ratios([0.1, 0.2, 0.5, 1.0, 1.5, 2.0])
    {0.1: 1, 0.2: 2, 1.0: 10, 2.0: 20}
    """
    chain, last = {widths[0]: 1}, 1
    for width in widths[1:]:
        ratio = width / widths[0]
        whole = round(ratio) if ratio < _LARGEST_RATIO else 0
        if whole and abs(ratio - whole) <= _RATIO_SLACK * whole and whole % last == 0:
            chain[width] = last = whole
    return chain


def _chains(points: np.ndarray, widths: list[float]) -> Iterator[list[float]]:
    """Split increasing widths into chains that are nested on these very values."""
    while widths:
        ratios = nested_ratios(widths)
        chain = np.array(list(ratios))
        nested = np.ones(len(chain), dtype=bool)
        if len(chain) > 1:
            numbers = np.array(list(ratios.values()), dtype=np.int64)
            check_nested(points, chain, numbers, np.zeros(1024), nested)
        yield chain[nested].tolist()
        taken = set(chain[nested].tolist())
        widths = [width for width in widths if width not in taken]


def _count_chain(points: np.ndarray, chain: list[float]) -> Iterator[tuple[float, np.ndarray]]:
    """Count at the ends, then between."""
    fine = first_rows(points, WidthCells(chain[0]))
    yield chain[0], fine
    if len(chain) > 1:
        all_in_one = np.zeros(len(points), dtype=np.int64)
        coarse = _first_rows_between(points, chain[-1], fine, all_in_one)
        yield chain[-1], coarse
        yield from _count_between(points, chain[1:-1], fine, coarse)


def _count_between(
    points: np.ndarray,
    chain: list[float],
    fine: np.ndarray,
    coarse: np.ndarray,
) -> Iterator[tuple[float, np.ndarray]]:
    """Count at the middle of a chain, given what lies on either side of it."""
    if chain:
        half = len(chain) // 2
        middle = _first_rows_between(points, chain[half], fine, coarse)
        yield chain[half], middle
        yield from _count_between(points, chain[:half], fine, middle)
        yield from _count_between(points, chain[half + 1 :], middle, coarse)


def _first_rows_between(
    points: np.ndarray, width: float, fine: np.ndarray, coarse: np.ndarray
) -> np.ndarray:
    """First rows at a width, looking at one row of each fine cell that shares its coarse one."""
    n = len(fine)
    undecided = np.empty(n, dtype=np.int64)
    n_picked = pick_undecided(fine, coarse, np.zeros(n, dtype=np.int64), undecided)
    if n_picked == 0:
        return fine
    first = np.arange(n)
    first[undecided[:n_picked]] = first_rows(points, WidthCells(width), undecided[:n_picked])
    return first[fine]
