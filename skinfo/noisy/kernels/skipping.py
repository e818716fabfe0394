"""Sums of a mixture where few rows count: one query at a time, boxes first, then their rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skinfo._numba import FAST, inner_kernel, kernel, widen_registers
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


class _Scratch(NamedTuple):
    """Bounds and sums of one query."""

    # (n_blocks,) and (n_superblocks,): upper bounds of the logarithm of what each adds.
    bound: np.ndarray
    super_bound: np.ndarray
    opened: np.ndarray  # (n_superblocks,): whether the bounds of its blocks are filled
    exponents: np.ndarray  # (64,): those of the block at hand
    running: np.ndarray  # (3, 2): the sums, as (reference exponent, scaled sum)


@inner_kernel(FAST, inline=True)
def _fill_bounds(points, i, reference, low, high, log_weight, top, least, start, stop, bound):
    """Upper bound of the logarithm of each box's share: its weight at its nearest corner."""
    widen_registers()
    for b in range(start, stop):
        bound[b] = reference + log_weight[b] + top[b]
    for k in range(least.shape[0]):
        q = points[i, k]
        for b in range(start, stop):
            gap = max(max(low[k, b] - q, q - high[k, b]), 0.0) * least[k, b]
            bound[b] -= gap * gap
    if least.shape[0] > 0:
        return
    for k in range(points.shape[1]):
        q = points[i, k]
        for b in range(start, stop):
            gap = max(max(low[k, b] - q, q - high[k, b]), 0.0)
            bound[b] -= gap * gap


@inner_kernel(FAST, inline=True)
def _add_block(points, i, reference, blocks, weights, b, highest, exponents, running, c):
    """Add all rows of block b to sum c; no exponent exceeds ``highest``."""
    if highest > running[c, 0] + _HEADROOM:
        fill_exponents(points, i, reference, blocks, b, exponents)
        # Plain 0 and 64 are types of their own, for which it would be compiled again.
        add_lanes(exponents, weights, b, np.int64(0), np.int64(BLOCK), running, c)
        return
    fill_exponents(points, i, reference - running[c, 0], blocks, b, exponents)
    running[c, 1] += sum_block(exponents, weights, b)


@inner_kernel(FAST)
def _add_blocks(
    queries, i, rows, start, stop, skip_start, skip_stop, lower_bound, scratch, c
):  # fmt: skip
    """Add blocks start..stop without skip_start..skip_stop to sum c, the promising ones first.

    A block is left out where its bound is negligible against the sum it would enter, or against
    ``lower_bound``, a value which that sum will be added to. Superblocks are opened only where
    their own bound is not negligible. Returns the number of blocks added.
    """
    points, reference = queries.points, queries.references[i]
    blocks, weights = rows.points, rows.weights
    low, high, log_weight, top, least = rows.boxes
    bound, super_bound, opened = scratch.bound, scratch.super_bound, scratch.opened
    exponents, running = scratch.exponents, scratch.running
    n_blocks = bound.shape[0]
    negligible = NEGLIGIBLE - np.log2(float(n_blocks))
    first_super, last_super = start // SUPERBLOCK, (stop + SUPERBLOCK - 1) // SUPERBLOCK
    best = -np.inf
    for g in range(first_super, last_super):
        best = max(best, super_bound[g])
    if best <= lower_bound + negligible:
        return 0
    added = 0
    promising = best - _FIRST_PASS
    best, first_cut, cut = -np.inf, np.inf, -np.inf
    # One loop for what promises most, its sum, and the rest: the compiler would copy each.
    for sweep in range(3):
        for g in range(first_super, last_super):
            near = super_bound[g] >= promising
            if (sweep < 2 and not near) or super_bound[g] < cut:
                continue
            first, last = g * SUPERBLOCK, min((g + 1) * SUPERBLOCK, n_blocks)
            if not opened[g]:
                _fill_bounds(
                    points, i, reference, low, high, log_weight, top, least, first, last, bound
                )
                opened[g] = True
            for b in range(max(first, start), min(last, stop)):
                if skip_start <= b < skip_stop:
                    continue
                if sweep == 0:
                    best = max(best, bound[b])
                    continue
                early = near and bound[b] >= first_cut
                if early != (sweep == 1) or bound[b] < cut or bound[b] == -np.inf:
                    continue
                highest = bound[b] - log_weight[b]
                _add_block(points, i, reference, blocks, weights, b, highest, exponents, running, c)
                added += 1
            if sweep == 2:
                cut = max(cut, log2_sum(running, c) + negligible)
        if sweep == 0 and best > -np.inf:
            first_cut = best - _FIRST_PASS
        elif sweep == 1:
            cut = max(lower_bound, log2_sum(running, c)) + negligible
    return added


@kernel(FAST)
def sum_by_skipping(queries, rows, out):
    """Fill three disjoint sums per draw: rest of its input, rest of its label, all others.

    ``out``, (m, 3), gets log2 of the sums of Blocks at Queries, -inf where there is nothing to add.
    Returns the number of blocks that were summed.
    """
    low, high, log_weight, top, least = rows.superboxes
    n_blocks, n_superblocks = rows.boxes.low.shape[1], low.shape[1]
    scratch = _Scratch(
        np.empty(n_blocks),
        np.empty(n_superblocks),
        np.empty(n_superblocks, np.bool_),
        np.empty(BLOCK, rows.points.dtype),
        np.empty((3, 2)),
    )
    points, references = queries.points, queries.references
    running, opened, super_bound = scratch.running, scratch.opened, scratch.super_bound
    added = 0
    for i in range(points.shape[0]):
        for c in range(3):
            running[c, 0] = -np.inf
            running[c, 1] = 0.0
        _fill_bounds(
            points, i, references[i], low, high, log_weight, top, least, np.int64(0), n_superblocks,
            super_bound,
        )  # fmt: skip
        opened[:] = False
        add_own_blocks(queries, i, rows, scratch.exponents, running)
        label_start, label_stop = queries.label_blocks[i, 0], queries.label_blocks[i, 1]
        skip_start, skip_stop = own_blocks(queries.group_slots, i)
        added += skip_stop - skip_start
        lower_bound = queries.floors[i]
        start, stop = label_start, label_stop
        for c in range(1, 3):
            if queries.nested:
                lower_bound = max(lower_bound, log2_sum(running, c - 1))
            added += _add_blocks(
                queries, i, rows, start, stop, skip_start, skip_stop, lower_bound, scratch, c
            )
            start, stop = 0, n_blocks
            if label_stop > label_start:
                skip_start, skip_stop = label_start, label_stop
        for c in range(3):
            out[i, c] = log2_sum(running, c)
    return added
