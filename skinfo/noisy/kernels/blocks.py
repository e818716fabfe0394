"""Rows of a mixture in blocks, and what one query adds of a block to a running sum.

Lengths are scaled by sqrt(log2(e) / 2) / sigma, so that a Gaussian term is 2 ** -distance**2 and
every exponent is a base-2 logarithm. Blocks of 64 rows lie four side by side, in arrays of shape
(n_wide, d, 4, 64), coordinates outermost, so that loops over rows run in vector registers.
Functions take whole arrays and indices: a slice would count references, which costs as much as a
block. The last index always runs from 0: where it might be negative, no loop is vectorised.
"""

from __future__ import annotations

import numpy as np

from skinfo._numba import FAST, NO_NAN, kernel
from skinfo.noisy.kernels.exponential import exp2

#: Rows that share a bounding box.
BLOCK = 64
#: Rows that lie side by side.
WIDE = 256
#: Blocks that lie side by side.
BLOCKS_A_WIDE = WIDE // BLOCK
#: A sum leaves out at most this share of itself: log2(1e-13).
NEGLIGIBLE = -43.185
#: The exponent of a row that is not there.
ABSENT = -1e300


@kernel(NO_NAN, inline=True)
def largest_of(values, first, last):
    """The largest of values[first:last]."""
    largest = values[first]
    for i in range(first, last):
        largest = max(largest, values[i])
    return largest


@kernel(FAST, inline=True)
def fill_exponents(queries, i, start, blocks, b, exponents):
    """Fill ``start`` minus the squared distances of query i from the rows of block b."""
    wide, part = b // BLOCKS_A_WIDE, b % BLOCKS_A_WIDE
    for lane in range(BLOCK):
        exponents[lane] = start
    for k in range(queries.shape[1]):
        q = queries[i, k]
        for lane in range(BLOCK):
            difference = q - blocks[wide, k, part, lane]
            exponents[lane] -= difference * difference


@kernel(FAST, inline=True)
def sum_block(exponents, weights, b):
    """Sum of weight times 2 ** exponent over block b."""
    wide, part = b // BLOCKS_A_WIDE, b % BLOCKS_A_WIDE
    total = exponents.dtype.type(0.0)
    for lane in range(BLOCK):
        total += weights[wide, part, lane] * exp2(exponents[lane])
    return total


@kernel(FAST, inline=True)
def add_lanes(exponents, weights, b, first, last, running, c):
    """Add the terms of lanes first..last to sum c, kept as (reference exponent, scaled sum)."""
    wide, part = b // BLOCKS_A_WIDE, b % BLOCKS_A_WIDE
    largest = exponents.dtype.type(-np.inf)
    for lane in range(first, last):
        # Padding may lie where a row does that this sum leaves out.
        if weights[wide, part, lane] > 0.0:
            largest = max(largest, exponents[lane])
    if largest == -np.inf:
        return
    if largest > running[c, 0]:
        if running[c, 1] > 0.0:
            running[c, 1] *= 2.0 ** (running[c, 0] - largest)
        running[c, 0] = largest
    reference = exponents.dtype.type(running[c, 0])
    total = exponents.dtype.type(0.0)
    for lane in range(first, last):
        total += weights[wide, part, lane] * exp2(exponents[lane] - reference)
    running[c, 1] += total


@kernel(FAST, inline=True)
def add_home(
    queries, i, reference, own, group_start, group_stop, rest, blocks, weights, exponents, running
):  # fmt: skip
    """Add the blocks that hold the rows of the draw's input: these to sum 0, others to ``rest``.

    The row in slot ``own`` is left out.
    """
    for b in range(group_start // BLOCK, (group_stop - 1) // BLOCK + 1):
        first = max(group_start - b * BLOCK, 0)
        last = min(group_stop - b * BLOCK, BLOCK)
        fill_exponents(queries, i, reference, blocks, b, exponents)
        own_lane = own - b * BLOCK
        split = own_lane if 0 <= own_lane < BLOCK else last
        # One call for all parts: the compiler would copy each.
        for part in range(4):
            c = 0 if part < 2 else rest
            if part == 0:
                start, stop = first, split
            elif part == 1:
                start, stop = split + 1, last
            elif part == 2:
                start, stop = 0, first
            else:
                start, stop = last, BLOCK
            add_lanes(exponents, weights, b, start, stop, running, c)


@kernel(FAST, inline=True)
def log2_sum(running, c):
    """log2 of sum c, -inf where it is empty."""
    if running[c, 1] > 0.0:
        return running[c, 0] + np.log2(running[c, 1])
    return -np.inf
