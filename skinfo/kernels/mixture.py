"""Sums of Gaussian kernels over the rows of a mixture, seen from noisy draws.

Lengths are scaled by sqrt(log2(e) / 2) / sigma, so that a Gaussian term is 2 ** -distance**2 and
every exponent here is a base-2 logarithm. Rows lie in blocks of 64, stored block by block with the
coordinates outermost, so that the loop over the rows of a block runs in vector registers. Inner
functions take whole arrays and indices: a slice would count references, which costs as much as a
block.
"""

from __future__ import annotations

import numpy as np

from skinfo.kernels.compiling import EXACT, FAST, NO_NAN, kernel

BLOCK = 64
# Blocks whose bound is within this many bits of the best are summed first, the rest against the
# value that gives.
_FIRST_PASS = 12.0
# A sum leaves out at most this share of itself: log2(1e-13).
NEGLIGIBLE = -43.185
# A sum may hold terms up to 2 ** _HEADROOM times its reference before it needs a new one.
_HEADROOM = 400.0
# The exponent of a row that is not there.
ABSENT = -1e300

# The polynomial nearest to 2^f on [-1/2, 1/2] in relative error, which is 8e-13.
_C0 = 0.9999999999997611
_C1 = 0.6931471805465146
_C2 = 0.2402265069888062
_C3 = 0.055504109393405505
_C4 = 0.009618128542804165
_C5 = 0.0013333452063573434
_C6 = 0.00015403851796865937
_C7 = 1.530973704177843e-05
_C8 = 1.3175846287736467e-06
# Adding this rounds to an integer and leaves it in the lowest bits.
_ROUND = 6755399441055744.0


@kernel(EXACT, inline=True)
def exp2(x):
    """Two to the power max(x, -1000), to 1e-12; x <= 1000. numba has no vector exponential."""
    rounded = max(x, -1000.0) + _ROUND
    f = max(x, -1000.0) - (rounded - _ROUND)
    p = _C8 * f + _C7
    p = p * f + _C6
    p = p * f + _C5
    p = p * f + _C4
    p = p * f + _C3
    p = p * f + _C2
    p = p * f + _C1
    p = p * f + _C0
    exponent = np.float64(rounded).view(np.int64) << 52
    return np.int64(np.float64(p).view(np.int64) + exponent).view(np.float64)


@kernel(FAST, inline=True)
def _block_exponents(queries, i, start, blocks, b, exponents):
    """Fill ``start`` minus the squared distances of query i from the rows of block b."""
    for lane in range(BLOCK):
        exponents[lane] = start
    for k in range(queries.shape[1]):
        q = queries[i, k]
        for lane in range(BLOCK):
            difference = q - blocks[b, k, lane]
            exponents[lane] -= difference * difference


@kernel(NO_NAN, inline=True)
def largest_of(values, first, last):
    """The largest of values[first:last]."""
    largest = ABSENT
    for i in range(first, last):
        largest = max(largest, values[i])
    return largest


@kernel(FAST, inline=True)
def _add_lanes(exponents, weights, b, first, last, running, c):
    """Add the terms of lanes first..last to sum c, kept as (reference exponent, scaled sum)."""
    if first >= last:
        return
    largest = largest_of(exponents, first, last)
    if largest > running[c, 0]:
        if running[c, 1] > 0.0:
            running[c, 1] *= 2.0 ** (running[c, 0] - largest)
        running[c, 0] = largest
    reference = running[c, 0]
    total = 0.0
    for lane in range(first, last):
        total += weights[b, lane] * exp2(exponents[lane] - reference)
    running[c, 1] += total


@kernel(FAST, inline=True)
def _add_block(queries, i, reference, blocks, weights, b, highest, exponents, running, c):
    """Add all rows of block b to sum c; no exponent exceeds ``highest``."""
    if highest > running[c, 0] + _HEADROOM:
        _block_exponents(queries, i, reference, blocks, b, exponents)
        _add_lanes(exponents, weights, b, 0, BLOCK, running, c)
        return
    _block_exponents(queries, i, reference - running[c, 0], blocks, b, exponents)
    total = 0.0
    for lane in range(BLOCK):
        total += weights[b, lane] * exp2(exponents[lane])
    running[c, 1] += total


@kernel(FAST, inline=True)
def _log2_sum(running, c):
    if running[c, 1] > 0.0:
        return running[c, 0] + np.log2(running[c, 1])
    return -np.inf


@kernel(FAST, inline=True)
def _bounds(queries, i, reference, low, high, log_weight, bound):
    """Upper bound of the logarithm of each block's share: its weight at its nearest corner."""
    n_blocks = bound.shape[0]
    for b in range(n_blocks):
        bound[b] = reference + log_weight[b]
    for k in range(queries.shape[1]):
        q = queries[i, k]
        for b in range(n_blocks):
            gap = max(max(low[k, b] - q, q - high[k, b]), 0.0)
            bound[b] -= gap * gap


@kernel(FAST)
def _add_blocks(
    queries, i, reference, start, stop, skip_start, skip_stop, blocks, weights, log_weight, bound,
    least, exponents, running, c,
):  # fmt: skip
    """Add blocks start..stop without skip_start..skip_stop to sum c, the promising ones first.

    A block is left out where its bound is negligible against the sum it would enter, or against
    ``least``, a value which that sum will be added to.
    """
    negligible = NEGLIGIBLE - np.log2(float(bound.shape[0]))
    best = -np.inf
    for b in range(start, stop):
        if b < skip_start or b >= skip_stop:
            best = max(best, bound[b])
    if best <= least + negligible:
        return
    first_cut = best - _FIRST_PASS
    for b in range(start, stop):
        if (b < skip_start or b >= skip_stop) and bound[b] >= first_cut:
            highest = bound[b] - log_weight[b]
            _add_block(queries, i, reference, blocks, weights, b, highest, exponents, running, c)
    cut = max(least, _log2_sum(running, c)) + negligible
    for b in range(start, stop):
        if (b < skip_start or b >= skip_stop) and bound[b] < first_cut and bound[b] >= cut:
            highest = bound[b] - log_weight[b]
            _add_block(queries, i, reference, blocks, weights, b, highest, exponents, running, c)
            cut = max(cut, _log2_sum(running, c) + negligible)


@kernel(FAST)
def sum_mixture(
    queries, references, own, group_slots, label_blocks, floors, nested,
    blocks, weights, low, high, log_weight, out,
):  # fmt: skip
    """Fill three disjoint sums a draw: rest of its group, rest of its label, all others.

    Parameters
    ----------
    queries : (m, d) draws t = s_i + sigma Z, scaled.
    references : (m,) squared length of the scaled noise; terms are relative to the own row's.
    own : (m,) slot of the draw's own row, left out of every sum; -1 for none.
    group_slots, label_blocks : (m, 2) slots of the draw's group, blocks of its label; empty: none.
    floors : (m,) log2 of a value the sums will be added to, -inf for none.
    nested : whether each sum will only be used together with the ones before it.
    blocks, weights : (n_blocks, d, 64), (n_blocks, 64) rows and their weights; padding weighs 0
        and lies far away.
    low, high, log_weight : (d, n_blocks) twice, (n_blocks,) bounding boxes, log2 of total weight.
    out : (m, 3) log2 of the sums, -inf where there is nothing to add.
    """
    n_blocks = blocks.shape[0]
    bound = np.empty(n_blocks)
    exponents = np.empty(BLOCK)
    running = np.empty((3, 2))
    for i in range(queries.shape[0]):
        reference = references[i]
        for c in range(3):
            running[c, 0] = -np.inf
            running[c, 1] = 0.0
        _bounds(queries, i, reference, low, high, log_weight, bound)
        group_start, group_stop = group_slots[i, 0], group_slots[i, 1]
        label_start, label_stop = label_blocks[i, 0], label_blocks[i, 1]
        rest = 1 if label_stop > label_start else 2
        home_start, home_stop = label_start, label_start
        if group_stop > group_start:
            home_start = group_start // BLOCK
            home_stop = (group_stop - 1) // BLOCK + 1
        for b in range(home_start, home_stop):
            first = max(group_start - b * BLOCK, 0)
            last = min(group_stop - b * BLOCK, BLOCK)
            _block_exponents(queries, i, reference, blocks, b, exponents)
            own_lane = own[i] - b * BLOCK
            if 0 <= own_lane < BLOCK:
                _add_lanes(exponents, weights, b, first, own_lane, running, 0)
                _add_lanes(exponents, weights, b, own_lane + 1, last, running, 0)
            else:
                _add_lanes(exponents, weights, b, first, last, running, 0)
            _add_lanes(exponents, weights, b, 0, first, running, rest)
            _add_lanes(exponents, weights, b, last, BLOCK, running, rest)
        least = floors[i]
        if nested:
            least = max(least, _log2_sum(running, 0))
        _add_blocks(
            queries, i, reference, label_start, label_stop, home_start, home_stop, blocks, weights,
            log_weight, bound, least, exponents, running, 1,
        )  # fmt: skip
        if nested:
            least = max(least, _log2_sum(running, 1))
        if label_stop > label_start:
            home_start, home_stop = label_start, label_stop
        _add_blocks(
            queries, i, reference, 0, n_blocks, home_start, home_stop, blocks, weights,
            log_weight, bound, least, exponents, running, 2,
        )  # fmt: skip
        for c in range(3):
            out[i, c] = _log2_sum(running, c)
