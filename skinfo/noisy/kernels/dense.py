"""Sums of a mixture where most rows count: matrix products of 256 queries and 256 rows.

A squared distance is expanded, |t - s|^2 = |t|^2 + |s|^2 - 2 t s, so that almost all of the work is
a matrix product; the blocks hold -|s|^2 behind the coordinates of each row. Diagonal components
take twice the work: (t - c)^2 times -1 / v^2 plus t - c times 2 (s - c) / v^2, with c a centre of
the 256 rows. Where the rounding of that would show, rows are summed again by differences.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skinfo._numba import FAST, inner_kernel, kernel, widen_registers
from skinfo.noisy.kernels.blocks import (
    ABSENT,
    BLOCK,
    BLOCKS_PER_WIDE,
    NEGLIGIBLE,
    WIDE,
    add_own_blocks,
    exp2,
    fill_exponents,
    log2_sum,
    own_blocks,
    sum_block,
)

#: An expanded exponent that rounding may change by more tells nothing.
COARSEST = 0.5
# Up to so many coordinates a loop is faster than the library's product, which copies its factors.
_SHALLOW = 3
# Queries of a tile.
_TILE = 256
# Columns of a tile's state: exponents are products plus _BASE; rounding of an exponent.
_BASE, _ROUNDING = range(2)
# A sum of diagonal components begins anew where 256 rows would add more.
_HIGH = 2.0**400


class Arithmetic(NamedTuple):
    """What a floating-point type leaves of an expanded square, and what a sum may span in it."""

    # Rounding of an expanded exponent as a share of |t|^2 + the longest row's |s|^2, lengths in
    # units of the row's deviations.
    rounding: float
    tolerance: float  # share of a sum that 256 rows may bring with such rounding
    # Exponents that a sum can hold, relative to where it begins.
    least: float
    most: float


class _Tile(NamedTuple):
    """Scratch of up to 256 queries; the first axis is theirs."""

    state: np.ndarray  # (256, 2): see ``_BASE``
    # (256, 3): log2 of the units of the sums; what they will be added to, in these.
    begins: np.ndarray
    beside: np.ndarray
    own: np.ndarray  # (256, 3, 2): sums over the own blocks, as (reference exponent, scaled sum)
    # (256, 3): sums over all other blocks, and whether they hold anything.
    totals: np.ndarray
    seen: np.ndarray
    exponents: np.ndarray  # (64,): those of a block that is summed by differences


@inner_kernel(FAST, inline=True)
def _fill_products(left, right, row, products):
    """Fill the products of one row of ``left``, whose last number is 1, with 256 columns."""
    widen_registers()
    d, none = right.shape[0] - 1, left.dtype.type(0.0)
    a = left[row, 0] if d > 0 else none
    b = left[row, 1] if d > 1 else none
    c = left[row, 2] if d > 2 else none
    at_b, at_c = min(1, d), min(2, d)
    for lane in range(WIDE):
        products[row, lane] = (
            right[d, lane] + a * right[0, lane] + b * right[at_b, lane] + c * right[at_c, lane]
        )


@inner_kernel(FAST, inline=True)
def _sum_wide(products, row, shift, weights, wide):
    """Sum of weight times 2 ** (product + shift) over four blocks."""
    widen_registers()
    total = products.dtype.type(0.0)
    for lane in range(WIDE):
        total += weights[wide, lane] * exp2(products[row, lane] + shift)
    return total


@inner_kernel(FAST, inline=True)
def _sum_one(products, row, shift, weights, b):
    """Sum of weight times 2 ** (product + shift) over block b."""
    widen_registers()
    wide, part = b // BLOCKS_PER_WIDE, b % BLOCKS_PER_WIDE
    total = products.dtype.type(0.0)
    for lane in range(BLOCK):
        total += weights[wide, part, lane] * exp2(products[row, part, lane] + shift)
    return total


@inner_kernel(FAST, inline=True)
def _sum_by_differences(points, i, start, blocks, weights, first, last, exponents):
    """Sum of weight times 2 ** (start - squared distance) over blocks first..last."""
    total = exponents.dtype.type(0.0)
    for b in range(first, last):
        fill_exponents(points, i, start, blocks, b, exponents)
        total += sum_block(exponents, weights, b)
    return total


@inner_kernel(FAST)
def _fill_factors(queries, start, rows, arithmetic, factors, state):
    """Write the left factor of the products: twice the query, then 1 for the row's own square."""
    points, references = queries.points, queries.references
    d = points.shape[1]
    for row in range(factors.shape[0]):
        square = 0.0
        for k in range(d):
            q = np.float64(points[start + row, k])
            square += q * q
            factors[row, k] = 2.0 * q
        factors[row, d] = 1.0
        state[row, _BASE] = references[start + row] - square
        state[row, _ROUNDING] = arithmetic.rounding * (square + rows.largest_square)


@inner_kernel(FAST)
def _fill_diagonal_factors(
    queries, start, rows, centres, wide, arithmetic, left, right, squares, state
):
    """Write both factors of the products with the rows of ``wide``, expanded around its centre.

    Of exponents that count, rounding is bounded by the rows alone: the query is near the row.
    """
    widen_registers()
    points, references = queries.points, queries.references
    blocks, d = rows.points, points.shape[1]
    by_row = blocks.reshape(blocks.shape[0], blocks.shape[1], WIDE)
    for lane in range(WIDE):
        squares[lane] = 0.0
    for k in range(d):
        centre = centres[wide, k]
        for lane in range(WIDE):
            inverse, from_centre = by_row[wide, d + k, lane], by_row[wide, k, lane] - centre
            inverse *= inverse
            right[k, lane] = -inverse
            right[d + k, lane] = 2.0 * inverse * from_centre
            squares[lane] += inverse * from_centre * from_centre
    largest = 0.0
    for lane in range(WIDE):
        right[2 * d, lane] = by_row[wide, 2 * d, lane] - squares[lane]
        largest = max(largest, squares[lane])
    # |t - c| <= |t - s| + |s - c|, and |t - s|^2 is not much where the exponent counts.
    rounding = 8.0 * arithmetic.rounding * largest
    if not rounding <= COARSEST:
        rounding = np.inf
    for row in range(left.shape[0]):
        for k in range(d):
            from_centre = points[start + row, k] - centres[wide, k]
            left[row, k] = from_centre * from_centre
            left[row, d + k] = from_centre
        left[row, 2 * d] = 1.0
        state[row, _BASE] = references[start + row]
        state[row, _ROUNDING] = rounding


@inner_kernel(FAST)
def _find_beginnings(queries, start, rows, factors, tile):
    """Let the sums begin at their floor or the largest term among one row of every 256."""
    blocks, floors = rows.points, queries.floors
    state, begins, beside = tile.state, tile.begins, tile.beside
    n_wide, depth, _, _ = blocks.shape
    scouts = np.empty((depth, n_wide), blocks.dtype)
    products = np.empty((factors.shape[0], n_wide), blocks.dtype)
    for wide in range(n_wide):
        for k in range(depth):
            scouts[k, wide] = blocks[wide, k, 0, 0]
    np.dot(factors, scouts, products)
    for row in range(factors.shape[0]):
        largest = np.float64(products[row, 0])
        for wide in range(1, n_wide):
            largest = max(largest, np.float64(products[row, wide]))
        floor = floors[start + row]
        begins[row] = max(state[row, _BASE] + largest, floor)
        beside[row] = 2.0 ** (floor - begins[row, 0])


@inner_kernel(FAST)
def _begin_anew(products, row, queries, i, rows, first, last, tile, c):
    """Let sum c begin at the largest term of blocks first..last, if it began lower or not yet.

    Terms of diagonal components differ too much for a few rows to tell where it will end.
    """
    points, references, floors = queries.points, queries.references, queries.floors
    blocks, weights = rows.points, rows.weights
    exponents, begins = tile.exponents, tile.begins
    base, rounding = tile.state[row, _BASE], tile.state[row, _ROUNDING]
    largest = begins[row, c] if tile.seen[row, c] else -np.inf
    for b in range(first, last):
        wide, part = b // BLOCKS_PER_WIDE, b % BLOCKS_PER_WIDE
        if rounding == np.inf:
            fill_exponents(points, i, references[i], blocks, b, exponents)
        for lane in range(BLOCK):
            if rounding < np.inf:
                exponents[lane] = base + products[row, part, lane]
            if weights[wide, part, lane] > 0.0:
                largest = max(largest, exponents[lane])
    if tile.seen[row, c]:
        tile.totals[row, c] *= 2.0 ** (begins[row, c] - largest)
    begins[row, c] = largest
    tile.beside[row, c] = 2.0 ** (floors[i] - largest)


@inner_kernel(FAST)
def _sum_again(products, row, shift, weights, first, n_blocks):
    """Sum of weight times 2 ** (product + shift) over some blocks."""
    total = 0.0
    for b in range(first, first + n_blocks):
        total += _sum_one(products, row, products.dtype.type(shift), weights, b)
    return total


@inner_kernel(FAST, inline=True)
def _lie_apart(start, stop, first, last):
    return stop <= first or last <= start


@inner_kernel(FAST)
def _add_products(left, right, products, queries, start, rows, centres, wide, tolerance, tile):
    """Add the 256 rows of ``wide`` to the sums of every query of a tile."""
    points, references = queries.points, queries.references
    group_slots, label_blocks = queries.group_slots, queries.label_blocks
    blocks, weights, log_weight = rows.points, rows.weights, rows.boxes.log_weight
    state, begins, beside, _, totals, seen, exponents = tile
    by_block = products.reshape(products.shape[0], BLOCKS_PER_WIDE, BLOCK)
    flat_weights = weights.reshape(weights.shape[0], WIDE)
    first, last = wide * BLOCKS_PER_WIDE, (wide + 1) * BLOCKS_PER_WIDE
    shallow = right.shape[0] <= _SHALLOW + 1
    if not shallow:
        np.dot(left, right, products)
    for row in range(products.shape[0]):
        if shallow:
            _fill_products(left, right, row, products)
        i = start + row
        own_start, own_stop = own_blocks(group_slots, i)
        label_start, label_stop = label_blocks[i, 0], label_blocks[i, 1]
        together = _lie_apart(own_start, own_stop, first, last) and (
            _lie_apart(label_start, label_stop, first, last)
            or (label_start <= first and last <= label_stop)
        )
        step = BLOCKS_PER_WIDE if together else 1
        for b in range(first, last, step):
            if own_start <= b < own_stop or log_weight[b] == -np.inf:
                continue
            c = 1 if label_start <= b < label_stop else 2
            if centres is not None and not seen[row, c]:
                _begin_anew(by_block, row, queries, i, rows, b, b + step, tile, c)
            shift = products.dtype.type(state[row, _BASE] - begins[row, c])
            if together:
                part = _sum_wide(products, row, shift, flat_weights, wide)
            else:
                part = _sum_one(by_block, row, shift, weights, b)
            if centres is not None and part > _HIGH:
                _begin_anew(by_block, row, queries, i, rows, b, b + step, tile, c)
                part = _sum_again(
                    by_block, row, state[row, _BASE] - begins[row, c], weights, b, step
                )
            whole = totals[row, c] + part + beside[row, c]
            # Also where rounding is infinite and the part is 0.
            if not part * state[row, _ROUNDING] <= tolerance * whole:
                part = _sum_by_differences(
                    points, i, references[i] - begins[row, c], blocks, weights, b, b + step,
                    exponents,
                )  # fmt: skip
            totals[row, c] += part
            seen[row, c] = True


@inner_kernel(FAST)
def _fill_log2_sums(tile, row, floor, nested, arithmetic, out, i):
    """Fill out[i] from the sums over own and other blocks; tell whether one left its span."""
    own = tile.own[row]
    left = False
    lower_bound = floor
    for c in range(3):
        of_own = log2_sum(own, c)
        of_others = -np.inf
        if tile.seen[row, c]:
            begin = tile.begins[row, c]
            from_begin = np.log2(tile.totals[row, c])
            of_others = begin + from_begin
            negligible = begin + arithmetic.least <= max(lower_bound, of_own) + NEGLIGIBLE
            too_small = from_begin < arithmetic.least and not negligible
            if from_begin > arithmetic.most or too_small:
                left = True
        larger = max(of_own, of_others)
        out[i, c] = larger
        if larger > -np.inf:
            out[i, c] += np.log2(2.0 ** (of_own - larger) + 2.0 ** (of_others - larger))
        if nested:
            lower_bound = max(lower_bound, out[i, c])
    return left


@kernel(FAST)
def sum_densely(queries, rows, centres, arithmetic, out, failed):
    """Fill three disjoint sums per draw: rest of its input, rest of its label, all others.

    ``centres`` are those of the rows, None for round components: the code for the others is then
    not compiled.

    ``out``, (m, 3), gets log2 of the sums of Blocks at Queries, -inf where there is nothing to add;
    ``failed``, (m,), whether a sum left its span, so that the query must be summed by skipping.
    """
    m, blocks = len(queries.points), rows.points
    n_wide, depth, _, _ = blocks.shape
    factors = np.empty((_TILE, depth), blocks.dtype)
    expanded = np.empty((depth, WIDE), blocks.dtype)
    squares = np.empty(WIDE)
    products = np.empty((_TILE, WIDE), blocks.dtype)
    tile = _Tile(
        np.empty((_TILE, 2)),
        np.empty((_TILE, 3)),
        np.empty((_TILE, 3)),
        np.empty((_TILE, 3, 2)),
        np.empty((_TILE, 3)),
        np.empty((_TILE, 3), np.bool_),
        np.empty(BLOCK, blocks.dtype),
    )
    state, _, _, own, totals, seen, exponents = tile
    for start in range(0, m, _TILE):
        size = min(_TILE, m - start)
        left = factors[:size]
        if centres is None:
            _fill_factors(queries, start, rows, arithmetic, left, state)
            _find_beginnings(queries, start, rows, left, tile)
        own[:, :, 0] = ABSENT
        own[:, :, 1] = 0.0
        totals[:] = 0.0
        seen[:] = False
        for row in range(size):
            i = start + row
            add_own_blocks(
                queries.points, i, queries.references[i], queries.own[i], queries.group_slots,
                queries.label_blocks[i, 0] < queries.label_blocks[i, 1], blocks, rows.weights,
                exponents, own[row],
            )  # fmt: skip
        for wide in range(n_wide):
            if centres is None:
                right = blocks[wide].reshape(depth, WIDE)
            else:
                right = expanded
                _fill_diagonal_factors(
                    queries, start, rows, centres, wide, arithmetic, left, right, squares, state
                )
            _add_products(
                left, right, products[:size], queries, start, rows, centres, wide,
                arithmetic.tolerance, tile,
            )  # fmt: skip
        for row in range(size):
            i = start + row
            failed[i] = _fill_log2_sums(
                tile, row, queries.floors[i], queries.nested, arithmetic, out, i
            )
