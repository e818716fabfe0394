"""Sums of a mixture where most rows count: matrix products of 128 queries and 256 rows.

A squared distance is expanded, |t - s|^2 = |t|^2 + |s|^2 - 2 t s, so that almost all of the work is
a matrix product; the layout stores -|s|^2 behind the coordinates of each row. Where the rounding of
that would show, rows are summed again by differences.
"""

from __future__ import annotations

import numpy as np

from skinfo.kernels.blocks import (
    ABSENT,
    BLOCK,
    BLOCKS_A_WIDE,
    NEGLIGIBLE,
    WIDE,
    add_home,
    fill_exponents,
    log2_sum,
)
from skinfo.kernels.compiling import FAST, kernel
from skinfo.kernels.exponential import exp2

_QUERIES = 128


@kernel(FAST, inline=True)
def _add_wide(products, row, shift, weights, wide):
    """Sum of weight times 2 ** (product + shift) over four blocks."""
    total = products.dtype.type(0.0)
    for lane in range(WIDE):
        total += weights[wide, lane] * exp2(products[row, lane] + shift)
    return total


@kernel(FAST, inline=True)
def _add_block(products, row, shift, weights, wide, part):
    """Sum of weight times 2 ** (product + shift) over one block."""
    total = products.dtype.type(0.0)
    for lane in range(BLOCK):
        total += weights[wide, part, lane] * exp2(products[row, part, lane] + shift)
    return total


@kernel(FAST, inline=True)
def _add_by_differences(queries, i, shift, blocks, weights, first, last, exponents):
    """The same over blocks first..last from the differences of coordinates."""
    total = exponents.dtype.type(0.0)
    for b in range(first, last):
        fill_exponents(queries, i, shift, blocks, b, exponents)
        for lane in range(BLOCK):
            total += weights[b // BLOCKS_A_WIDE, b % BLOCKS_A_WIDE, lane] * exp2(exponents[lane])
    return total


@kernel(FAST)
def _largest_products(tile, blocks, out):
    """Fill the largest product of each query with one row of every 256: where its sums begin."""
    n_wide, depth, _, _ = blocks.shape
    scouts = np.empty((depth, n_wide), blocks.dtype)
    for wide in range(n_wide):
        for k in range(depth):
            scouts[k, wide] = blocks[wide, k, 0, 0]
    products = np.dot(tile, scouts)
    for i in range(tile.shape[0]):
        largest = products[i, 0]
        for wide in range(1, n_wide):
            largest = max(largest, products[i, wide])
        out[i] = largest


@kernel(FAST)
def sum_densely(
    queries, references, own, group_slots, label_blocks, floors, nested,
    blocks, weights, present, longest, precision, span, out, failed,
):  # fmt: skip
    """Fill three disjoint sums a draw: rest of its group, rest of its label, all others.

    Parameters
    ----------
    queries, references, own, group_slots, label_blocks, floors, nested :
        As in :func:`skinfo.kernels.skipping.sum_by_skipping`.
    blocks, weights : (n_wide, d + 1, 4, 64), (n_wide, 4, 64) rows and minus their squared lengths,
        and their weights; padding weighs 0 and lies where a row does.
    present : (n_blocks,) whether a block has rows at all.
    longest : squared length of the longest row.
    precision : (2,) rounding of an expanded exponent as a share of |t|^2 + longest, and the
        share of a sum that may be rounded so.
    span : (2,) exponents that a sum can hold, least and largest, relative to where it begins.
    out : (m, 3) log2 of the sums, -inf where there is nothing to add.
    failed : (m,) whether a sum left its span, so that the query must be summed by skipping.
    """
    m, d = queries.shape
    n_wide = blocks.shape[0]
    flat_weights = weights.reshape(n_wide, WIDE)
    tile = np.empty((_QUERIES, d + 1), blocks.dtype)
    products = np.empty((_QUERIES, WIDE), blocks.dtype)
    products_by_block = products.reshape(_QUERIES, BLOCKS_A_WIDE, BLOCK)
    scouted = np.empty(_QUERIES)
    base = np.empty(_QUERIES)
    begin = np.empty(_QUERIES)
    coarse = np.empty(_QUERIES)
    beside = np.empty(_QUERIES)
    totals = np.empty((_QUERIES, 3))
    seen = np.empty((_QUERIES, 3), np.bool_)
    home = np.empty((_QUERIES, 3, 2))
    exponents = np.empty(BLOCK, blocks.dtype)
    for start in range(0, m, _QUERIES):
        size = min(_QUERIES, m - start)
        for row in range(size):
            i = start + row
            square = 0.0
            for k in range(d):
                q = np.float64(queries[i, k])
                square += q * q
                tile[row, k] = 2.0 * q
            tile[row, d] = 1.0
            base[row] = references[i] - square
            coarse[row] = precision[0] * (square + longest)
        _largest_products(tile[:size], blocks, scouted)
        for row in range(size):
            i = start + row
            for c in range(3):
                home[row, c, 0] = ABSENT
                home[row, c, 1] = 0.0
                totals[row, c] = 0.0
                seen[row, c] = False
            if group_slots[i, 1] > group_slots[i, 0]:
                rest = 1 if label_blocks[i, 1] > label_blocks[i, 0] else 2
                add_home(
                    queries, i, references[i], own[i], group_slots[i, 0], group_slots[i, 1], rest,
                    blocks, weights, exponents, home[row],
                )  # fmt: skip
            begin[row] = max(base[row] + scouted[row], floors[i])
            beside[row] = 2.0 ** (floors[i] - begin[row])
        for wide in range(n_wide):
            np.dot(tile[:size], blocks[wide].reshape(d + 1, WIDE), products[:size])
            first_block = wide * BLOCKS_A_WIDE
            last_block = first_block + BLOCKS_A_WIDE
            for row in range(size):
                i = start + row
                label_start, label_stop = label_blocks[i, 0], label_blocks[i, 1]
                home_start, home_stop = 0, 0
                if group_slots[i, 1] > group_slots[i, 0]:
                    home_start = group_slots[i, 0] // BLOCK
                    home_stop = (group_slots[i, 1] - 1) // BLOCK + 1
                whole = (last_block <= home_start or home_stop <= first_block) and (
                    last_block <= label_start
                    or label_stop <= first_block
                    or (label_start <= first_block and last_block <= label_stop)
                )
                shift = blocks.dtype.type(base[row] - begin[row])
                for b in range(first_block, last_block):
                    if home_start <= b < home_stop or not present[b]:
                        continue
                    c = 1 if label_start <= b < label_stop else 2
                    seen[row, c] = True
                    last = last_block if whole else b + 1
                    if whole:
                        part = _add_wide(products, row, shift, flat_weights, wide)
                    else:
                        part = _add_block(
                            products_by_block, row, shift, weights, wide, b - first_block
                        )
                    if part * coarse[row] > precision[1] * (totals[row, c] + part + beside[row]):
                        part = _add_by_differences(
                            queries, i, references[i] - begin[row], blocks, weights, b, last,
                            exponents,
                        )  # fmt: skip
                    totals[row, c] += part
                    if whole:
                        break
        for row in range(size):
            i = start + row
            failed[i] = False
            least = floors[i]
            for c in range(3):
                at_home = log2_sum(home[row], c)
                inside = -np.inf
                if seen[row, c]:
                    inside = begin[row] + np.log2(totals[row, c])
                    low, high = begin[row] + span[0], begin[row] + span[1]
                    known = max(least, at_home)
                    if inside > high or (inside < low and low > known + NEGLIGIBLE):
                        failed[i] = True
                larger = max(inside, at_home)
                out[i, c] = larger
                if larger > -np.inf:
                    out[i, c] += np.log2(2.0 ** (inside - larger) + 2.0 ** (at_home - larger))
                if nested:
                    least = max(least, out[i, c])
