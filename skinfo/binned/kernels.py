"""Rows that share a cell: hashed straight from the activations, then compared in full.

A cell number is made where it is used and forgotten: no table of codes exists, let alone of cells.
"""

from __future__ import annotations

import numpy as np

from skinfo._numba import EXACT, kernel

# Beyond this floor(t / w) is no exact integer in double precision.
_MOST_CELLS = 2.0**53
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)
_MEMO_SHIFT = np.uint64(54)
# How far, in relative terms, two roundings and the ratio of two widths may carry a quotient.
_SLACK = 12 * 2.0**-53
# Quotients below this may have lost digits to underflow.
_TINY = 1e-290


@kernel(EXACT, inline=True)
def _mix(total):
    """Spread a sum over all bits: its high ones are good, its low ones are parities."""
    mixed = np.uint64(total)
    mixed = (mixed ^ (mixed >> _HALF)) * _MULTIPLIER
    return np.int64(mixed ^ (mixed >> _HALF))


@kernel(EXACT, inline=True)
def _cell_between(edges, start, last, scale, t):
    """Cell 0 … last of a value: guessed from equal widths, searched for where that is wrong."""
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
def hash_by_width(points, rows, width, multipliers, out):
    """Hash the cells floor(t / width) of some rows.

    Parameters
    ----------
    points : (n, d) activations.
    rows : (m,) which of them.
    width : the width.
    multipliers : (d,) odd int64.
    out : (m,) int64, filled with the sum of cell times multiplier, mixed.

    Returns
    -------
    Whether every cell number is an exact integer.
    """
    d = points.shape[1]
    wild = np.int64(0)
    for i in range(rows.shape[0]):
        point = points[rows[i]]
        total = np.int64(0)
        for k in range(d):
            cell = np.floor(point[k] / width)
            wild |= np.int64(abs(cell) >= _MOST_CELLS)
            total += np.int64(cell) * multipliers[k]
        out[i] = _mix(total)
    return wild == 0


@kernel(EXACT)
def differ_by_width(points, rows, first, width):
    """Whether some row's cells floor(t / width) are not those of the row it was taken to equal.

    Parameters
    ----------
    points : (n, d) activations.
    rows, first : (m,) rows of points, and those they are compared with.
    width : the width.
    """
    d = points.shape[1]
    for i in range(rows.shape[0]):
        if rows[i] == first[i]:
            continue
        point, other = points[rows[i]], points[first[i]]
        differs = np.int64(0)
        for k in range(d):
            differs |= np.int64(np.floor(point[k] / width) != np.floor(other[k] / width))
        if differs:
            return True
    return False


@kernel(EXACT)
def hash_by_edges(points, rows, edges, starts, scales, multipliers, out):
    """Hash the cells between edges of some rows; values outside count in the outer cells.

    Parameters
    ----------
    points : (n, d) activations.
    rows : (m,) which of them.
    edges : (n_edges,) the edges of all units, one after the other.
    starts : (d + 1,) where those of each unit start.
    scales : (d,) number of cells of a unit over their range.
    multipliers : (d,) odd int64.
    out : (m,) int64, filled with the sum of cell times multiplier, mixed.
    """
    d = points.shape[1]
    for i in range(rows.shape[0]):
        point = points[rows[i]]
        total = np.int64(0)
        for k in range(d):
            last = max(starts[k + 1] - starts[k] - 2, 0)
            cell = _cell_between(edges, starts[k], last, scales[k], np.float64(point[k]))
            total += cell * multipliers[k]
        out[i] = _mix(total)


@kernel(EXACT)
def differ_by_edges(points, rows, first, edges, starts, scales):
    """Whether some row's cells are not those of the row it was taken to equal.

    Parameters
    ----------
    points : (n, d) activations.
    rows, first : (m,) rows of points, and those they are compared with.
    edges, starts, scales : as for :func:`hash_by_edges`.
    """
    d = points.shape[1]
    for i in range(rows.shape[0]):
        if rows[i] == first[i]:
            continue
        point, other = points[rows[i]], points[first[i]]
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
    """Find for every hash the first place that holds the same one.

    Parameters
    ----------
    hashes : (m,) int64.
    table : (2^k,) int64 with 2^k >= 2 m, filled with -1; a hash table of places.
    first : (m,) int64, filled with places.
    """
    mask = table.shape[0] - 1
    for i in range(hashes.shape[0]):
        place = hashes[i] & mask
        while True:
            found = table[place]
            if found < 0:
                table[place] = i
                first[i] = i
                break
            if hashes[found] == hashes[i]:
                first[i] = found
                break
            place = (place + 1) & mask


@kernel(EXACT)
def mark_shared(inputs, first, shared):
    """Mark the cells that more than one input reached.

    Parameters
    ----------
    inputs : (n,) the input of each row.
    first : (n,) the first row in each row's cell.
    shared : (n,) bool, filled with False; marks cells by their first row.
    """
    for i in range(first.shape[0]):
        if inputs[i] != inputs[first[i]]:
            shared[first[i]] = True


@kernel(EXACT)
def pick_undecided(fine, coarse, n_in_cell, out):
    """Pick one row of each fine cell that shares its coarse cell with another; returns how many.

    Parameters
    ----------
    fine, coarse : (n,) the first row in each row's cell.
    n_in_cell : (n,) int64, filled with 0; counts fine cells by the first row of the coarse one.
    out : (n,) int64, its front filled with rows in increasing order.
    """
    for i in range(fine.shape[0]):
        n_in_cell[coarse[i]] += fine[i] == i
    n_picked = 0
    for i in range(fine.shape[0]):
        if fine[i] == i and n_in_cell[coarse[i]] > 1:
            out[n_picked] = i
            n_picked += 1
    return n_picked


@kernel(EXACT)
def check_nested(points, widths, ratios, memo, nested):
    """Check on the data that cells of wide widths are unions of cells of the first.

    floor(t / w_j) equals floor(floor(t / w_0) / r_j) in exact arithmetic; rounded, only values
    within rounding of an edge can break it, and these are tried one by one.

    Parameters
    ----------
    points : (n, d) activations.
    widths : (m,) the first divides all others.
    ratios : (m,) int64, the widths over the first.
    memo : (1024,) filled with 0; values that were tried before.
    nested : (m,) bool, filled with True; set to False where a value breaks it.
    """
    n, d = points.shape
    flags = np.empty(d, dtype=np.bool_)
    for i in range(n):
        point = points[i]
        flagged = np.int64(0)
        for k in range(d):
            quotient = point[k] / widths[0]
            off = abs(quotient - np.rint(quotient))
            flags[k] = off <= _SLACK * abs(quotient) + _TINY
            flagged |= np.int64(flags[k] & (point[k] != 0))
        if flagged == 0:
            continue
        for k in range(d):
            t = np.float64(point[k])
            if not flags[k] or t == 0:
                continue
            slot = np.int64((np.float64(t).view(np.uint64) * _MULTIPLIER) >> _MEMO_SHIFT)
            if memo[slot] == t:
                continue
            memo[slot] = t
            cell = np.int64(np.floor(t / widths[0]))
            for j in range(1, widths.shape[0]):
                if np.int64(np.floor(t / widths[j])) != cell // ratios[j]:
                    nested[j] = False
