"""Sums of a mixture where few rows count: one query at a time, boxes first, then their rows."""

from __future__ import annotations

import numpy as np

from skinfo._numba import FAST, kernel
from skinfo.noisy.kernels.blocks import (
    BLOCK,
    NEGLIGIBLE,
    add_home,
    add_lanes,
    fill_exponents,
    log2_sum,
    sum_block,
)

# Blocks whose bound is within this many bits of the best are summed first, the rest against the
# value that gives.
_FIRST_PASS = 12.0
#: Blocks that share a larger bounding box.
CROWD = 16
# A sum may hold terms up to 2 ** _HEADROOM times its reference before it needs a new one.
_HEADROOM = 40.0


@kernel(FAST, inline=True)
def _fill_bounds(queries, i, reference, low, high, log_weight, start, stop, bound):
    """Upper bound of the logarithm of each box's share: its weight at its nearest corner."""
    for b in range(start, stop):
        bound[b] = reference + log_weight[b]
    for k in range(queries.shape[1]):
        q = queries[i, k]
        for b in range(start, stop):
            gap = max(max(low[k, b] - q, q - high[k, b]), 0.0)
            bound[b] -= gap * gap


@kernel(FAST, inline=True)
def _add_block(queries, i, reference, blocks, weights, b, highest, exponents, running, c):
    """Add all rows of block b to sum c; no exponent exceeds ``highest``."""
    if highest > running[c, 0] + _HEADROOM:
        fill_exponents(queries, i, reference, blocks, b, exponents)
        add_lanes(exponents, weights, b, 0, BLOCK, running, c)
        return
    fill_exponents(queries, i, reference - running[c, 0], blocks, b, exponents)
    running[c, 1] += sum_block(exponents, weights, b)


@kernel(FAST)
def _add_blocks(
    queries, i, reference, start, stop, skip_start, skip_stop, blocks, weights, low, high,
    log_weight, crowd_bound, opened, bound, least, exponents, running, c,
):  # fmt: skip
    """Add blocks start..stop without skip_start..skip_stop to sum c, the promising ones first.

    A block is left out where its bound is negligible against the sum it would enter, or against
    ``least``, a value which that sum will be added to. Crowds of 16 blocks are opened only where
    their own bound is not negligible. Returns the number of blocks added.
    """
    n_blocks = bound.shape[0]
    negligible = NEGLIGIBLE - np.log2(float(n_blocks))
    first_crowd, last_crowd = start // CROWD, (stop + CROWD - 1) // CROWD
    best = -np.inf
    for g in range(first_crowd, last_crowd):
        best = max(best, crowd_bound[g])
    if best <= least + negligible:
        return 0
    added = 0
    promising = best - _FIRST_PASS
    best = -np.inf
    for g in range(first_crowd, last_crowd):
        if crowd_bound[g] >= promising:
            first, last = g * CROWD, min((g + 1) * CROWD, n_blocks)
            if not opened[g]:
                _fill_bounds(queries, i, reference, low, high, log_weight, first, last, bound)
                opened[g] = True
            for b in range(max(first, start), min(last, stop)):
                if b < skip_start or b >= skip_stop:
                    best = max(best, bound[b])
    first_cut = best - _FIRST_PASS if best > -np.inf else np.inf
    for g in range(first_crowd, last_crowd):
        if crowd_bound[g] >= promising:
            for b in range(max(g * CROWD, start), min((g + 1) * CROWD, stop)):
                if (b < skip_start or b >= skip_stop) and bound[b] >= first_cut:
                    highest = bound[b] - log_weight[b]
                    _add_block(
                        queries, i, reference, blocks, weights, b, highest, exponents, running, c
                    )
                    added += 1
    cut = max(least, log2_sum(running, c)) + negligible
    for g in range(first_crowd, last_crowd):
        if crowd_bound[g] < cut:
            continue
        first, last = g * CROWD, min((g + 1) * CROWD, n_blocks)
        if not opened[g]:
            _fill_bounds(queries, i, reference, low, high, log_weight, first, last, bound)
            opened[g] = True
        for b in range(max(first, start), min(last, stop)):
            if skip_start <= b < skip_stop or bound[b] < cut or bound[b] == -np.inf:
                continue
            if crowd_bound[g] >= promising and bound[b] >= first_cut:
                continue
            highest = bound[b] - log_weight[b]
            _add_block(queries, i, reference, blocks, weights, b, highest, exponents, running, c)
            added += 1
        cut = max(cut, log2_sum(running, c) + negligible)
    return added


@kernel(FAST)
def sum_by_skipping(
    queries, references, own, group_slots, label_blocks, floors, nested,
    blocks, weights, low, high, log_weight, crowd_low, crowd_high, crowd_log_weight, out,
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
    blocks, weights : (n_wide, >= d, 4, 64), (n_wide, 4, 64) rows and their weights; padding weighs
        0 and lies where a row does.
    low, high, log_weight : (d, n_blocks) twice, (n_blocks,) bounding boxes, log2 of total weight.
    crowd_low, crowd_high, crowd_log_weight : the same of every 16 blocks.
    out : (m, 3) log2 of the sums, -inf where there is nothing to add.

    Returns
    -------
    The number of blocks that were summed.
    """
    n_blocks = low.shape[1]
    n_crowds = crowd_low.shape[1]
    bound = np.empty(n_blocks)
    crowd_bound = np.empty(n_crowds)
    opened = np.empty(n_crowds, np.bool_)
    exponents = np.empty(BLOCK, blocks.dtype)
    running = np.empty((3, 2))
    added = 0
    for i in range(queries.shape[0]):
        reference = references[i]
        for c in range(3):
            running[c, 0] = -np.inf
            running[c, 1] = 0.0
        _fill_bounds(
            queries, i, reference, crowd_low, crowd_high, crowd_log_weight, 0, n_crowds, crowd_bound
        )
        opened[:] = False
        group_start, group_stop = group_slots[i, 0], group_slots[i, 1]
        label_start, label_stop = label_blocks[i, 0], label_blocks[i, 1]
        rest = 1 if label_stop > label_start else 2
        home_start, home_stop = label_start, label_start
        if group_stop > group_start:
            home_start, home_stop = group_start // BLOCK, (group_stop - 1) // BLOCK + 1
            add_home(
                queries, i, reference, own[i], group_start, group_stop, rest, blocks, weights,
                exponents, running,
            )  # fmt: skip
        added += home_stop - home_start
        least = floors[i]
        start, stop = label_start, label_stop
        for c in range(1, 3):
            if nested:
                least = max(least, log2_sum(running, c - 1))
            added += _add_blocks(
                queries, i, reference, start, stop, home_start, home_stop, blocks, weights, low,
                high, log_weight, crowd_bound, opened, bound, least, exponents, running, c,
            )  # fmt: skip
            start, stop = 0, n_blocks
            if label_stop > label_start:
                home_start, home_stop = label_start, label_stop
        for c in range(3):
            out[i, c] = log2_sum(running, c)
    return added
