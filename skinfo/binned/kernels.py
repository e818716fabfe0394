"""Kernels that hash rows by their cells and compare them; no table of cell numbers is made."""

from __future__ import annotations

import numpy as np

from skinfo._numba import EXACT, inner_kernel, kernel

# From here on floor(t / w) is not an exact integer in double precision.
_MOST_CELLS = 2.0**53
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


@inner_kernel(EXACT, inline=True)
def _mix(total):
    """Spread a sum over all bits: its high bits are random, its low bits are parities."""
    mixed = np.uint64(total)
    mixed = (mixed ^ (mixed >> _HALF)) * _MULTIPLIER
    return np.int64(mixed ^ (mixed >> _HALF))


@inner_kernel(EXACT, inline=True)
def _cell_between(edges, start, last, scale, t):
    """Cell 0 … last of a value: guessed from equal widths, by bisection where that is wrong."""
    guess = (t - edges[start]) * scale
    cell = 0
    if guess >= last:
        cell = last
    elif guess > 0:
        cell = np.int64(guess)
    above = cell == 0 or t >= edges[start + cell]
    if above and (cell == last or t < edges[start + cell + 1]):
        return cell
    low, high = 0, last
    while low < high:
        middle = (low + high + 1) // 2
        if t >= edges[start + middle]:
            low = middle
        else:
            high = middle - 1
    return low


@kernel(EXACT)
def hash_by_width(points, width, multipliers, out):
    """Hash the cells floor(t / width) of all rows, (n, d); tell whether cell numbers are exact.

    ``out``, (n,) int64, is filled with the sum of cell times multiplier, (d,) odd int64, mixed.
    """
    n, d = points.shape
    wild = np.int64(0)
    for i in range(n):
        point = points[i]
        total = np.int64(0)
        for k in range(d):
            cell = np.floor(point[k] / width)
            wild |= np.int64(abs(cell) >= _MOST_CELLS)
            total += np.int64(cell) * multipliers[k]
        out[i] = _mix(total)
    return wild == 0


@kernel(EXACT)
def differ_by_width(points, first, width):
    """Whether some row lies in another cell floor(t / width) than the row first[i] given for it."""
    n, d = points.shape
    for i in range(n):
        if first[i] == i:
            continue
        point, other = points[i], points[first[i]]
        differs = np.int64(0)
        for k in range(d):
            differs |= np.int64(np.floor(point[k] / width) != np.floor(other[k] / width))
        if differs:
            return True
    return False


@kernel(EXACT)
def hash_by_edges(points, edges, starts, scales, multipliers, out):
    """Hash the cells between edges of all rows; values outside count in the outer cells.

    Parameters
    ----------
    points, multipliers, out : as for :func:`hash_by_width`.
    edges : (n_edges,) the edges of all units, unit after unit.
    starts : (d + 1,) where the edges of each unit start.
    scales : (d,) number of cells of each unit over their range.
    """
    n, d = points.shape
    for i in range(n):
        point = points[i]
        total = np.int64(0)
        for k in range(d):
            last = max(starts[k + 1] - starts[k] - 2, 0)
            cell = _cell_between(edges, starts[k], last, scales[k], np.float64(point[k]))
            total += cell * multipliers[k]
        out[i] = _mix(total)


@kernel(EXACT)
def differ_by_edges(points, first, edges, starts, scales):
    """Whether some row lies in another cell between edges than the row first[i] given for it."""
    n, d = points.shape
    for i in range(n):
        if first[i] == i:
            continue
        point, other = points[i], points[first[i]]
        for k in range(d):
            start, last = starts[k], max(starts[k + 1] - starts[k] - 2, 0)
            if point[k] == other[k]:
                continue
            one = _cell_between(edges, start, last, scales[k], np.float64(point[k]))
            if one != _cell_between(edges, start, last, scales[k], np.float64(other[k])):
                return True
    return False


@kernel(EXACT)
def link_hashes(hashes, table, first):
    """Fill first, (n,), with the first row that has the same hash as each row.

    ``table``, a hash table of rows, comes as 2^k >= 2 n times -1.
    """
    mask = table.shape[0] - 1
    for i in range(hashes.shape[0]):
        slot = hashes[i] & mask
        while True:
            row = table[slot]
            if row < 0:
                table[slot] = i
                first[i] = i
                break
            if hashes[row] == hashes[i]:
                first[i] = row
                break
            slot = (slot + 1) & mask


@kernel(EXACT)
def mark_shared(inputs, first, shared):
    """Set shared, (n,), to True at the first row of every cell with rows of several inputs."""
    for i in range(first.shape[0]):
        if inputs[i] != inputs[first[i]]:
            shared[first[i]] = True
