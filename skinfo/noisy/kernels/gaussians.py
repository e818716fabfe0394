"""Sums of one general Gaussian per input, seen from noisy draws; lengths in units of sigma."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skinfo._numba import FAST, NO_NAN, inner_kernel, kernel, widen_registers
from skinfo.noisy.kernels.blocks import ABSENT, BLOCK, NEGLIGIBLE, exp2

#: Numbers of a row of a factor come in multiples of so many.
STEP = 2
_HALF_LOG2_E = 0.7213475204444817
# Queries of a tile, and those that share the reading of a factor.
_TILE, _GROUP = 128, 4


class GaussianBlocks(NamedTuple):
    """Gaussians in blocks of 64, lanes innermost."""

    centres: np.ndarray  # (n_blocks, d): of the means
    # (n_blocks, n_numbers, 64): rows of the inverse Cholesky factors, up to the diagonal, each
    # padded by zeros to a multiple of ``STEP``.
    factors: np.ndarray
    shifts: np.ndarray  # (n_blocks, d, 64): factors times the means less the centre
    # (n_blocks, 64): log2 p(x) - log2 det(C) / 2; for padding hugely negative.
    constants: np.ndarray
    # (d, n_blocks): bounding boxes of the means.
    low: np.ndarray
    high: np.ndarray
    # (n_blocks,): largest constant, largest variance in any direction.
    top: np.ndarray
    reach: np.ndarray


@inner_kernel(NO_NAN, inline=True)
def _largest_of(values, row):
    largest = values[row, 0]
    for i in range(1, values.shape[1]):
        largest = max(largest, values[row, i])
    return largest


@inner_kernel(FAST)
def _fill_bounds(queries, start, low, high, top, reach, bound, best):
    """Upper bound of the logarithm of each block's share, and the largest, of some queries."""
    d, n_blocks = low.shape
    for row in range(bound.shape[0]):
        for b in range(n_blocks):
            bound[row, b] = 0.0
        for k in range(d):
            q = queries[start + row, k]
            for b in range(n_blocks):
                gap = max(max(low[k, b] - q, q - high[k, b]), 0.0)
                bound[row, b] += gap * gap
        best[row] = -np.inf
        for b in range(n_blocks):
            bound[row, b] = top[b] - _HALF_LOG2_E * bound[row, b] / reach[b] + np.log2(float(BLOCK))
            best[row] = max(best[row], bound[row, b])


@inner_kernel(FAST)
def _fill_exponents(left, first, b, factors, shifts, constants, projected, exponents):
    """Fill the exponents of block b at four queries, ``left`` its centre, from the first one on."""
    widen_registers()
    for q in range(_GROUP):
        for lane in range(BLOCK):
            exponents[q, lane] = 0.0
    number = 0
    for k in range(shifts.shape[1]):
        for q in range(_GROUP):
            for lane in range(BLOCK):
                projected[q, lane] = -shifts[b, k, lane]
        for j in range(0, k + 1, STEP):
            # Eight numbers that stay in registers for all lanes.
            t00, t01 = left[first, j], left[first, j + 1]
            t10, t11 = left[first + 1, j], left[first + 1, j + 1]
            t20, t21 = left[first + 2, j], left[first + 2, j + 1]
            t30, t31 = left[first + 3, j], left[first + 3, j + 1]
            for lane in range(BLOCK):
                f0, f1 = factors[b, number, lane], factors[b, number + 1, lane]
                projected[0, lane] += f0 * t00 + f1 * t01
                projected[1, lane] += f0 * t10 + f1 * t11
                projected[2, lane] += f0 * t20 + f1 * t21
                projected[3, lane] += f0 * t30 + f1 * t31
            number += STEP
        for q in range(_GROUP):
            for lane in range(BLOCK):
                exponents[q, lane] += projected[q, lane] * projected[q, lane]
    for q in range(_GROUP):
        for lane in range(BLOCK):
            exponents[q, lane] = constants[b, lane] - _HALF_LOG2_E * exponents[q, lane]


@inner_kernel(FAST)
def _add(exponents, q, own_lane, largest, total, row):
    """Add the terms of a block to the sum of a query, total times 2 ** largest, less its own."""
    if 0 <= own_lane < BLOCK:
        exponents[q, own_lane] = ABSENT
    block_largest = _largest_of(exponents, q)
    if block_largest > largest[row]:
        total[row] *= 2.0 ** max(largest[row] - block_largest, -1074.0)
        largest[row] = block_largest
    if largest[row] == ABSENT:
        return
    part = 0.0
    for lane in range(BLOCK):
        part += exp2(exponents[q, lane] - largest[row])
    total[row] += part


@kernel(FAST)
def sum_gaussians(queries, own_slots, gaussians, out):
    """Fill log2 of the sum over all inputs but the draw's own of p(x) N_x(t).

    ``queries``, (m, d), are draws in units of sigma; ``own_slots``, (m,), say where the draw's own
    input lies, block * 64 + lane. The factor (2 pi) ** (-d / 2) is left out. A block is read once
    for all queries of a tile that need it.
    """
    centres, factors, shifts, constants, low, high, top, reach = gaussians
    n_blocks, d = centres.shape
    negligible = NEGLIGIBLE - np.log2(float(n_blocks))
    bound, best = np.empty((_TILE, n_blocks)), np.empty(_TILE)
    largest, total = np.empty(_TILE), np.empty(_TILE)
    chosen = np.empty(_TILE, np.int64)
    left = np.zeros((_TILE, d + STEP - 1))
    projected, exponents = np.empty((_GROUP, BLOCK)), np.empty((_GROUP, BLOCK))
    for start in range(0, queries.shape[0], _TILE):
        size = min(_TILE, queries.shape[0] - start)
        _fill_bounds(queries, start, low, high, top, reach, bound[:size], best)
        largest[:] = ABSENT
        total[:] = 0.0
        for sweep in range(2):
            for b in range(n_blocks):
                n_chosen = 0
                for row in range(size):
                    promising = bound[row, b] >= best[row] - 12.0
                    if promising != (sweep == 0):
                        continue
                    seen = total[row] > 0.0
                    if seen and bound[row, b] < largest[row] + np.log2(total[row]) + negligible:
                        continue
                    for k in range(d):
                        left[n_chosen, k] = queries[start + row, k] - centres[b, k]
                    chosen[n_chosen] = row
                    n_chosen += 1
                # The last group may hold queries of an earlier block, which are not added.
                for first in range(0, n_chosen, _GROUP):
                    _fill_exponents(
                        left, first, b, factors, shifts, constants, projected, exponents
                    )
                    for q in range(min(_GROUP, n_chosen - first)):
                        row = chosen[first + q]
                        own_lane = own_slots[start + row] - b * BLOCK
                        _add(exponents, q, own_lane, largest, total, row)
        for row in range(size):
            seen = total[row] > 0.0
            out[start + row] = largest[row] + np.log2(total[row]) if seen else -np.inf
