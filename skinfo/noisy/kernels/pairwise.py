"""Divergences of Gaussians with diagonal covariances, summed over all pairs of rows."""

from __future__ import annotations

import numpy as np

from skinfo._numba import FAST, kernel
from skinfo.noisy.kernels.blocks import BLOCK, exp2

_LOG2_E = np.log2(np.e)


@kernel(FAST)
def sum_divergences(points, deviations, inverse, log_volumes, chosen, spans, out):
    """Fill sum_j exp(-KL(i || j)) and sum_j exp(-B(i, j)) for the ``chosen`` rows i, (m,).

    B is the Bhattacharyya distance, Chernoff's of 1/2, and the rows j are those of the span of i,
    (m, 2). ``points``, ``deviations`` and their ``inverse``, (n_blocks, d, 64), hold row i in block
    i // 64; ``log_volumes``, (n_blocks, 64), are the sums over d of the logarithms of deviations.

    Products of ratios that overflow are those of divergences beyond 300, whose terms are 0 beside
    the row's own, which is 1.
    """
    d = points.shape[1]
    squares, distance, product = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for q in range(chosen.shape[0]):
        own_block, own_lane = chosen[q] // BLOCK, chosen[q] % BLOCK
        own_volume = log_volumes[own_block, own_lane]
        first, last = spans[q]
        upper, lower = 0.0, 0.0
        for b in range(first // BLOCK, (last - 1) // BLOCK + 1):
            for lane in range(BLOCK):
                squares[lane] = 0.0
                distance[lane] = 0.0
                product[lane] = 1.0
            for k in range(d):
                s = points[own_block, k, own_lane]
                own, own_inverse = (
                    deviations[own_block, k, own_lane],
                    inverse[own_block, k, own_lane],
                )
                for lane in range(BLOCK):
                    gap = s - points[b, k, lane]
                    ratio, reach = own * inverse[b, k, lane], gap * inverse[b, k, lane]
                    both = ratio + deviations[b, k, lane] * own_inverse
                    squares[lane] += ratio * ratio + reach * reach
                    distance[lane] += gap * own_inverse * reach / both
                    product[lane] *= 0.5 * both
            for lane in range(BLOCK):
                shift = own_volume - log_volumes[b, lane]
                squares[lane] = exp2(_LOG2_E * (shift - 0.5 * (squares[lane] - d)))
                distance[lane] = exp2(-0.25 * _LOG2_E * distance[lane]) / np.sqrt(product[lane])
            for lane in range(max(0, first - b * BLOCK), min(BLOCK, last - b * BLOCK)):
                upper += squares[lane]
                lower += distance[lane]
        out[q, 0] = upper
        out[q, 1] = lower
