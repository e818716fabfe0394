"""Sums of a mixture over strata of few rows: all rows of a draw's stratum, one by one."""

from __future__ import annotations

import numpy as np

from skinfo._numba import EXACT, inner_kernel, kernel
from skinfo.noisy.kernels.blocks import exp2


@kernel(EXACT)
def sum_by_rows(
    points, references, drawn, inputs, labels, starts, stops,
    row_points, widths, constants, weights, own, row_inputs, row_labels, out,
):  # fmt: skip
    """Fill three disjoint sums per draw: rest of its input, rest of its label, all others.

    ``points``, (m, d), and ``references``, (m,), are those of Queries; ``drawn``, ``inputs`` and
    ``labels``, (m,), the draw's row, input and label, -1 for none; its stratum holds the rows
    ``starts`` … ``stops``. Of each of these rows: scaled centre, inverse deviations (n, d) or None
    where all are 1, log2 of the volume they stand for, weight, number, input and label. ``out``,
    (m, 3), gets log2 of the sums, -inf where there is nothing to add.
    """
    d = points.shape[1]
    longest = 0
    for i in range(points.shape[0]):
        longest = max(longest, stops[i] - starts[i])
    exponents = np.empty(longest)
    largest, totals = np.empty(3), np.empty(3)
    for i in range(points.shape[0]):
        first = starts[i]
        largest[:] = -np.inf
        totals[:] = 0.0
        for j in range(first, stops[i]):
            exponent = references[i] - constants[j]
            for k in range(d):
                difference = points[i, k] - row_points[j, k]
                if widths is not None:
                    difference *= widths[j, k]
                exponent -= difference * difference
            exponents[j - first] = exponent
            if own[j] != drawn[i]:
                c = _kind(inputs[i], labels[i], row_inputs[j], row_labels[j])
                largest[c] = max(largest[c], exponent)
        for j in range(first, stops[i]):
            if own[j] != drawn[i]:
                c = _kind(inputs[i], labels[i], row_inputs[j], row_labels[j])
                totals[c] += weights[j] * exp2(exponents[j - first] - largest[c])
        for c in range(3):
            out[i, c] = largest[c] + np.log2(totals[c]) if totals[c] > 0.0 else -np.inf


@inner_kernel(EXACT, inline=True)
def _kind(input_of_draw, label_of_draw, input_of_row, label_of_row):
    """Which of the three sums a row enters."""
    if input_of_draw == input_of_row:
        return 0
    return 1 if label_of_draw == label_of_row else 2
