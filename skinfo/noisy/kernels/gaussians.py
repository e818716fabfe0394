"""Sums of one general Gaussian per input, seen from noisy draws; lengths in units of sigma."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skinfo._numba import FAST, NO_NAN, inner_kernel, kernel
from skinfo.noisy.kernels.blocks import ABSENT, BLOCK, NEGLIGIBLE, exp2

_HALF_LOG2_E = 0.7213475204444817


class GaussianBlocks(NamedTuple):
    """Gaussians in blocks of 64, lanes innermost."""

    means: np.ndarray  # (n_blocks, d, 64): their means
    factors: np.ndarray  # (n_blocks, d (d + 1) / 2, 64): rows of the inverse Cholesky factors
    # (n_blocks, 64): log2 p(x) - log2 det(C) / 2; for padding hugely negative.
    constants: np.ndarray
    # (d, n_blocks): bounding boxes of the means.
    low: np.ndarray
    high: np.ndarray
    # (n_blocks,): largest constant, largest variance in any direction.
    top: np.ndarray
    reach: np.ndarray


@inner_kernel(NO_NAN, inline=True)
def _largest_of(values, first, last):
    largest = values[first]
    for i in range(first, last):
        largest = max(largest, values[i])
    return largest


@kernel(FAST)
def sum_gaussians(queries, own_slots, gaussians, out):
    """Fill log2 of the sum over all inputs but the draw's own of p(x) N_x(t).

    ``queries``, (m, d), are draws in units of sigma; ``own_slots``, (m,), say where the draw's own
    input lies, block * 64 + lane. The factor (2 pi) ** (-d / 2) is left out.
    """
    means, factors, constants, low, high, top, reach = gaussians
    n_blocks, d, _ = means.shape
    negligible = NEGLIGIBLE - np.log2(float(n_blocks))
    bound = np.empty(n_blocks)
    difference = np.empty((d, BLOCK))
    projected = np.empty(BLOCK)
    exponents = np.empty(BLOCK)
    for i in range(queries.shape[0]):
        best = -np.inf
        for b in range(n_blocks):
            distance = 0.0
            for k in range(d):
                gap = max(max(low[k, b] - queries[i, k], queries[i, k] - high[k, b]), 0.0)
                distance += gap * gap
            bound[b] = top[b] - _HALF_LOG2_E * distance / reach[b] + np.log2(float(BLOCK))
            best = max(best, bound[b])
        largest, total = ABSENT, 0.0
        for sweep in range(2):
            for b in range(n_blocks):
                promising = bound[b] >= best - 12.0
                if promising != (sweep == 0):
                    continue
                if total > 0.0 and bound[b] < largest + np.log2(total) + negligible:
                    continue
                for lane in range(BLOCK):
                    exponents[lane] = constants[b, lane]
                row = 0
                for k in range(d):
                    for lane in range(BLOCK):
                        difference[k, lane] = queries[i, k] - means[b, k, lane]
                        projected[lane] = 0.0
                    for j in range(k + 1):
                        for lane in range(BLOCK):
                            projected[lane] += factors[b, row + j, lane] * difference[j, lane]
                    for lane in range(BLOCK):
                        exponents[lane] -= _HALF_LOG2_E * projected[lane] * projected[lane]
                    row += k + 1
                own_lane = own_slots[i] - b * BLOCK
                if 0 <= own_lane < BLOCK:
                    exponents[own_lane] = ABSENT
                block_largest = _largest_of(exponents, 0, BLOCK)
                if block_largest > largest:
                    total *= 2.0 ** max(largest - block_largest, -1074.0)
                    largest = block_largest
                if largest == ABSENT:
                    continue
                part = 0.0
                for lane in range(BLOCK):
                    part += exp2(exponents[lane] - largest)
                total += part
        out[i] = largest + np.log2(total) if total > 0.0 else -np.inf
