"""Sums of a mixture where most rows count: matrix products of 128 queries and 256 rows.

A squared distance is expanded, |t - s|^2 = |t|^2 + |s|^2 - 2 t s, so that almost all of the work is
a matrix product; the layout stores -|s|^2 behind the coordinates of each row. Where the rounding of
that would show, rows are summed again by differences.
"""

from __future__ import annotations

import numpy as np

from skinfo._numba import FAST, kernel
from skinfo.noisy.kernels.blocks import (
    ABSENT,
    BLOCK,
    BLOCKS_A_WIDE,
    NEGLIGIBLE,
    WIDE,
    add_home,
    fill_exponents,
    log2_sum,
    sum_block,
)
from skinfo.noisy.kernels.exponential import exp2

# Queries of a tile.
_TILE = 128
# What is known of a query: its exponents are products plus _BASE; its sums are relative to
# 2^_BEGIN; rounding of an exponent; what stands beside its sums, in their units.
_BASE, _BEGIN, _ROUNDING, _BESIDE = range(4)


@kernel(FAST, inline=True)
def _sum_wide(products, row, shift, weights, wide):
    """Sum of weight times 2 ** (product + shift) over four blocks."""
    total = products.dtype.type(0.0)
    for lane in range(WIDE):
        total += weights[wide, lane] * exp2(products[row, lane] + shift)
    return total


@kernel(FAST, inline=True)
def _sum_one(products, row, shift, weights, b):
    """Sum of weight times 2 ** (product + shift) over block b."""
    wide, part = b // BLOCKS_A_WIDE, b % BLOCKS_A_WIDE
    total = products.dtype.type(0.0)
    for lane in range(BLOCK):
        total += weights[wide, part, lane] * exp2(products[row, part, lane] + shift)
    return total


@kernel(FAST, inline=True)
def _sum_by_differences(queries, i, start, blocks, weights, first, last, exponents):
    """Sum of weight times 2 ** (start - squared distance) over blocks first..last."""
    total = exponents.dtype.type(0.0)
    for b in range(first, last):
        fill_exponents(queries, i, start, blocks, b, exponents)
        total += sum_block(exponents, weights, b)
    return total


@kernel(FAST)
def _fill_tile(queries, start, references, longest, rounding, tile, state):
    """Write the left factor of the products: twice the query, then 1 for the row's own square."""
    d = queries.shape[1]
    for row in range(tile.shape[0]):
        square = 0.0
        for k in range(d):
            q = np.float64(queries[start + row, k])
            square += q * q
            tile[row, k] = 2.0 * q
        tile[row, d] = 1.0
        state[row, _BASE] = references[start + row] - square
        state[row, _ROUNDING] = rounding * (square + longest)


@kernel(FAST)
def _find_beginnings(tile, start, blocks, floors, state):
    """Let the sums begin at their floor or the largest term among one row of every 256."""
    n_wide, depth, _, _ = blocks.shape
    scouts = np.empty((depth, n_wide), blocks.dtype)
    for wide in range(n_wide):
        for k in range(depth):
            scouts[k, wide] = blocks[wide, k, 0, 0]
    products = np.dot(tile, scouts)
    for row in range(tile.shape[0]):
        largest = np.float64(products[row, 0])
        for wide in range(1, n_wide):
            largest = max(largest, np.float64(products[row, wide]))
        floor = floors[start + row]
        state[row, _BEGIN] = max(state[row, _BASE] + largest, floor)
        state[row, _BESIDE] = 2.0 ** (floor - state[row, _BEGIN])


@kernel(FAST, inline=True)
def _home_blocks(group_slots, i):
    """First and one past the last block that holds rows of the draw's input."""
    if group_slots[i, 1] > group_slots[i, 0]:
        return group_slots[i, 0] // BLOCK, (group_slots[i, 1] - 1) // BLOCK + 1
    return 0, 0


@kernel(FAST, inline=True)
def _lie_apart(start, stop, first, last):
    return stop <= first or last <= start


@kernel(FAST)
def _add_products(
    products, queries, start, references, group_slots, label_blocks, blocks, weights, present, wide,
    tolerance, state, totals, seen, exponents,
):  # fmt: skip
    """Add the 256 rows of ``wide`` to the sums of every query of a tile."""
    by_block = products.reshape(products.shape[0], BLOCKS_A_WIDE, BLOCK)
    flat_weights = weights.reshape(weights.shape[0], WIDE)
    first, last = wide * BLOCKS_A_WIDE, (wide + 1) * BLOCKS_A_WIDE
    for row in range(products.shape[0]):
        i = start + row
        home_start, home_stop = _home_blocks(group_slots, i)
        label_start, label_stop = label_blocks[i, 0], label_blocks[i, 1]
        together = _lie_apart(home_start, home_stop, first, last) and (
            _lie_apart(label_start, label_stop, first, last)
            or (label_start <= first and last <= label_stop)
        )
        shift = products.dtype.type(state[row, _BASE] - state[row, _BEGIN])
        step = BLOCKS_A_WIDE if together else 1
        for b in range(first, last, step):
            if home_start <= b < home_stop or not present[b]:
                continue
            c = 1 if label_start <= b < label_stop else 2
            if together:
                part = _sum_wide(products, row, shift, flat_weights, wide)
            else:
                part = _sum_one(by_block, row, shift, weights, b)
            known = totals[row, c] + part + state[row, _BESIDE]
            if part * state[row, _ROUNDING] > tolerance * known:
                part = _sum_by_differences(
                    queries, i, references[i] - state[row, _BEGIN], blocks, weights, b, b + step,
                    exponents,
                )  # fmt: skip
            totals[row, c] += part
            seen[row, c] = True


@kernel(FAST)
def _log2_sums(home, totals, seen, begin, floor, nested, span, out, i):
    """Fill out[i] from what lies at home and elsewhere; tell whether a sum left its span."""
    left = False
    least = floor
    for c in range(3):
        at_home = log2_sum(home, c)
        elsewhere = -np.inf
        if seen[c]:
            elsewhere = begin + np.log2(totals[c])
            negligible = begin + span[0] <= max(least, at_home) + NEGLIGIBLE
            if elsewhere > begin + span[1] or (elsewhere < begin + span[0] and not negligible):
                left = True
        larger = max(at_home, elsewhere)
        out[i, c] = larger
        if larger > -np.inf:
            out[i, c] += np.log2(2.0 ** (at_home - larger) + 2.0 ** (elsewhere - larger))
        if nested:
            least = max(least, out[i, c])
    return left


@kernel(FAST)
def sum_densely(
    queries, references, own, group_slots, label_blocks, floors, nested,
    blocks, weights, present, longest, precision, span, out, failed,
):  # fmt: skip
    """Fill three disjoint sums a draw: rest of its group, rest of its label, all others.

    Parameters
    ----------
    queries, references, own, group_slots, label_blocks, floors, nested :
        As in :func:`skinfo.noisy.kernels.skipping.sum_by_skipping`.
    blocks, weights : (n_wide, d + 1, 4, 64), (n_wide, 4, 64) rows and minus their squared lengths,
        and their weights; padding weighs 0 and lies where a row does.
    present : (n_blocks,) whether a block has rows at all.
    longest : squared length of the longest row.
    precision : (2,) rounding of an expanded exponent as a share of |t|^2 + longest, and the
        share of a sum that 256 rows may bring with such rounding.
    span : (2,) exponents that a sum can hold, least and largest, relative to where it begins.
    out : (m, 3) log2 of the sums, -inf where there is nothing to add.
    failed : (m,) whether a sum left its span, so that the query must be summed by skipping.
    """
    m, d = queries.shape
    tile = np.empty((_TILE, d + 1), blocks.dtype)
    products = np.empty((_TILE, WIDE), blocks.dtype)
    state = np.empty((_TILE, 4))
    home = np.empty((_TILE, 3, 2))
    totals = np.empty((_TILE, 3))
    seen = np.empty((_TILE, 3), np.bool_)
    exponents = np.empty(BLOCK, blocks.dtype)
    for start in range(0, m, _TILE):
        size = min(_TILE, m - start)
        left, right = tile[:size], products[:size]
        _fill_tile(queries, start, references, longest, precision[0], left, state)
        _find_beginnings(left, start, blocks, floors, state)
        home[:, :, 0] = ABSENT
        home[:, :, 1] = 0.0
        totals[:] = 0.0
        seen[:] = False
        for row in range(size):
            i = start + row
            if group_slots[i, 1] > group_slots[i, 0]:
                rest = 1 if label_blocks[i, 1] > label_blocks[i, 0] else 2
                add_home(
                    queries, i, references[i], own[i], group_slots[i, 0], group_slots[i, 1], rest,
                    blocks, weights, exponents, home[row],
                )  # fmt: skip
        for wide in range(blocks.shape[0]):
            np.dot(left, blocks[wide].reshape(d + 1, WIDE), right)
            _add_products(
                right, queries, start, references, group_slots, label_blocks, blocks, weights,
                present, wide, precision[1], state, totals, seen, exponents,
            )  # fmt: skip
        for row in range(size):
            failed[start + row] = _log2_sums(
                home[row], totals[row], seen[row], state[row, _BEGIN], floors[start + row], nested,
                span, out, start + row,
            )  # fmt: skip
