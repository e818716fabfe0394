"""Sums of a mixture where few rows count: one query at a time, boxes first, then their rows."""

from __future__ import annotations

import numpy as np

from skinfo._numba import FAST, NO_NAN, inner_kernel, kernel, widen_registers
from skinfo.noisy.kernels.blocks import (
    BLOCK,
    NEGLIGIBLE,
    SUPERBLOCK,
    add_lanes,
    add_own_blocks,
    fill_exponents,
    log2_sum,
    own_blocks,
    sum_block,
)

# Blocks whose bound is within this many bits of the best are summed first, the rest against the
# value that gives.
_FIRST_PASS = 12.0
# A sum may hold terms up to 2 ** _HEADROOM times its reference before it needs a new one.
_HEADROOM = 40.0


@inner_kernel(FAST, inline=True)
def _fill_bounds(points, i, reference, low, high, log_weight, top, least, g, bound):
    """Upper bound of the logarithm of each box's share: its weight at its nearest corner."""
    widen_registers()
    for b in range(bound.shape[1]):
        bound[g, b] = reference + log_weight[g, b] + top[g, b]
    for k in range(least.shape[0]):
        q = points[i, k]
        for b in range(bound.shape[1]):
            gap = max(max(low[k, g, b] - q, q - high[k, g, b]), 0.0) * least[k, g, b]
            bound[g, b] -= gap * gap
    if least.shape[0] > 0:
        return
    for k in range(points.shape[1]):
        q = points[i, k]
        for b in range(bound.shape[1]):
            gap = max(max(low[k, g, b] - q, q - high[k, g, b]), 0.0)
            bound[g, b] -= gap * gap


@inner_kernel(FAST, inline=True)
def _add_block(points, i, reference, blocks, weights, b, highest, exponents, running, c):
    """Add all rows of block b to sum c; no exponent exceeds ``highest``."""
    if highest > running[c, 0] + _HEADROOM:
        fill_exponents(points, i, reference, blocks, b, exponents)
        # Plain 0 and 64 are types of their own, for which it would be compiled again.
        add_lanes(exponents, weights, b, np.int64(0), np.int64(BLOCK), True, running, c)
        return
    fill_exponents(points, i, reference - running[c, 0], blocks, b, exponents)
    running[c, 1] += sum_block(exponents, weights, b)


@inner_kernel(NO_NAN, inline=True)
def _largest_of(bound, g, first, last):
    """Largest of bound[g, first:last]; -inf of none."""
    widen_registers()
    largest = -np.inf
    for b in range(bound.shape[1]):
        is_inside = (first <= b) & (b < last)
        largest = max(largest, bound[g, b] if is_inside else -np.inf)
    return largest


@inner_kernel(FAST, inline=True)
def _skip(bound, g, start, stop):
    """Let the bounds of blocks start..stop in superblock g be -inf."""
    for b in range(max(start - g * SUPERBLOCK, 0), min(stop - g * SUPERBLOCK, SUPERBLOCK)):
        bound[g, b] = -np.inf


@inner_kernel(FAST, inline=True)
def _leave_out(start, stop, bound, super_bound, opened):
    """Let the bounds of blocks start..stop be -inf where they are known, and of superblocks."""
    for g in range(start // SUPERBLOCK, (stop + SUPERBLOCK - 1) // SUPERBLOCK):
        if start <= g * SUPERBLOCK and (g + 1) * SUPERBLOCK <= stop:
            super_bound[0, g] = -np.inf
        elif opened[g]:
            _skip(bound, g, start, stop)


@inner_kernel(FAST, inline=True)
def _add_blocks(
    points, i, reference, blocks, weights, boxes, start, stop, skip_start, skip_stop, lower_bound,
    negligible, bound, super_bound, opened, exponents, running, c,
):  # fmt: skip
    """Add blocks start..stop without skip_start..skip_stop to sum c, the promising ones first.

    A block is left out where its bound is negligible against the sum it would enter, or against
    ``lower_bound``, a value which that sum will be added to. Superblocks are opened only where
    their own bound is not negligible. The bound of a block that was added becomes -inf. Returns
    the number of blocks added.
    """
    low, high, log_weight, top, least = boxes
    first_super, last_super = start // SUPERBLOCK, (stop + SUPERBLOCK - 1) // SUPERBLOCK
    best = _largest_of(super_bound, np.int64(0), first_super, last_super)
    if best <= lower_bound + negligible:
        return 0
    added = 0
    cut = best - _FIRST_PASS
    best = -np.inf
    # One loop that looks at what promises most, then sums that, then the rest: the compiler would
    # copy each.
    for sweep in range(3):
        for g in range(first_super, last_super):
            if super_bound[0, g] < cut:
                continue
            if not opened[g]:
                _fill_bounds(points, i, reference, low, high, log_weight, top, least, g, bound)
                _skip(bound, g, skip_start, skip_stop)
                opened[g] = True
            first, last = max(start - g * SUPERBLOCK, 0), min(stop - g * SUPERBLOCK, SUPERBLOCK)
            if sweep == 0:
                best = max(best, _largest_of(bound, g, first, last))
                continue
            before = added
            for b in range(first, last):
                if bound[g, b] > cut:
                    highest = bound[g, b] - log_weight[g, b]
                    _add_block(
                        points, i, reference, blocks, weights, g * SUPERBLOCK + b, highest,
                        exponents, running, c,
                    )  # fmt: skip
                    bound[g, b] = -np.inf
                    added += 1
            if sweep == 2 and added > before:
                cut = max(cut, log2_sum(running, c) + negligible)
        if sweep == 0 and best > -np.inf:
            # So far out that the difference is lost in rounding, the best itself is still taken.
            cut = min(best - _FIRST_PASS, np.nextafter(best, -np.inf))
            # A superblock may promise what only its blocks of another label hold.
            cut = max(cut, lower_bound + negligible)
        elif sweep == 1:
            cut = max(lower_bound, log2_sum(running, c)) + negligible
    return added


@inner_kernel(FAST)
def _in_superblocks(boxes, n, size):
    """The same boxes, n times ``size`` of them: loops over the last index run in registers."""
    low, high, log_weight, top, least = boxes
    return (
        low.reshape((low.shape[0], n, size)),
        high.reshape((high.shape[0], n, size)),
        log_weight.reshape((n, size)),
        top.reshape((n, size)),
        least.reshape((least.shape[0], n, size)),
    )


@kernel(FAST)
def sum_by_skipping(queries, rows, out):
    """Fill three disjoint sums per draw: rest of its input, rest of its label, all others.

    ``out``, (m, 3), gets log2 of the sums of Blocks at Queries, -inf where there is nothing to add.
    Returns the number of blocks that were summed.
    """
    # Arrays are taken out of their tuples once: each time costs as much as a block.
    points, references, own, group_slots, label_blocks, floors, nested = queries
    blocks, weights = rows.points, rows.weights
    n_blocks, n_superblocks = rows.boxes.low.shape[1], rows.superboxes.low.shape[1]
    low, high, log_weight, top, least = _in_superblocks(rows.superboxes, np.int64(1), n_superblocks)
    boxes = _in_superblocks(rows.boxes, n_superblocks, SUPERBLOCK)
    # Upper bounds of the logarithm of what each block and superblock adds to the query at hand,
    # and whether those of the blocks of a superblock are filled.
    bound = np.empty((n_superblocks, SUPERBLOCK))
    super_bound = np.empty((1, n_superblocks))
    opened = np.empty(n_superblocks, np.bool_)
    exponents = np.empty(BLOCK, blocks.dtype)
    # The three sums, as (reference exponent, scaled sum).
    running = np.empty((3, 2))
    negligible = NEGLIGIBLE - np.log2(float(n_blocks))
    added = 0
    for i in range(points.shape[0]):
        for c in range(3):
            running[c, 0] = -np.inf
            running[c, 1] = 0.0
        _fill_bounds(
            points, i, references[i], low, high, log_weight, top, least, np.int64(0), super_bound
        )
        opened[:] = False
        start, stop = label_blocks[i, 0], label_blocks[i, 1]
        add_own_blocks(
            points, i, references[i], own[i], group_slots, start < stop, blocks, weights, exponents,
            running,
        )  # fmt: skip
        skip_start, skip_stop = own_blocks(group_slots, i)
        added += skip_stop - skip_start
        lower_bound = floors[i]
        for c in range(1, 3):
            if nested:
                lower_bound = max(lower_bound, log2_sum(running, c - 1))
            if stop > start:
                added += _add_blocks(
                    points, i, references[i], blocks, weights, boxes, start, stop, skip_start,
                    skip_stop, lower_bound, negligible, bound, super_bound, opened, exponents,
                    running, c,
                )  # fmt: skip
            if c == 1 and stop > start:
                _leave_out(start, stop, bound, super_bound, opened)
                skip_start, skip_stop = start, stop
            start, stop = 0, n_blocks
        for c in range(3):
            out[i, c] = log2_sum(running, c)
    return added
