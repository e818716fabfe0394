"""Numbering the distinct rows of a table of bin codes; a table of all cells never exists."""

from __future__ import annotations

import numpy as np

from skinfo.kernels.compiling import EXACT, kernel

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


@kernel(EXACT)
def number_rows(codes, table, out):
    """Give equal rows equal numbers 0, 1, … in the order of their first appearance.

    Parameters
    ----------
    codes : (n, d) int64.
    table : (2^k,) int64 with 2^k >= 2 n, filled with -1; the hash table, of first rows.
    out : (n,) int64, filled with the number of each row.

    Returns
    -------
    The number of distinct rows. Hashes only say where to look; rows are compared in full.
    """
    mask = table.shape[0] - 1
    d = codes.shape[1]
    n_distinct = 0
    for i in range(codes.shape[0]):
        mixed = np.uint64(0)
        for k in range(d):
            mixed = (mixed ^ np.uint64(codes[i, k])) * _MULTIPLIER
            mixed ^= mixed >> _SHIFT
        place = np.int64(mixed & np.uint64(mask))
        while True:
            first = table[place]
            if first < 0:
                table[place] = i
                out[i] = n_distinct
                n_distinct += 1
                break
            same = True
            for k in range(d):
                if codes[i, k] != codes[first, k]:
                    same = False
                    break
            if same:
                out[i] = out[first]
                break
            place = (place + 1) & mask
    return n_distinct
