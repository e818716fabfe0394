"""Histograms of pairwise distances, streamed: no matrix of pairs exists."""

from __future__ import annotations

import numpy as np

from skinfo.kernels.compiling import FAST, kernel

_TILE = 512


@kernel(FAST)
def add_pair_distances(columns, weights, labels, inputs, per_unit, squared, within, between):
    """Add every pair of rows of different inputs to the histogram of its kind.

    Parameters
    ----------
    columns : (d, n) coordinates.
    weights, labels, inputs : (n,).
    per_unit : cells per unit of distance; distance 0 opens the first cell.
    squared : whether the distance is half the squared Euclidean one (cosine, of unit rows).
    within, between : (n_cells + 1,) pairs of one label, of two; what lies beyond counts last.
    """
    d, n = columns.shape
    n_cells = within.shape[0] - 1
    distance = np.empty(_TILE)
    for i in range(1, n):
        for start in range(0, i, _TILE):
            size = min(_TILE, i - start)
            for j in range(size):
                distance[j] = 0.0
            for k in range(d):
                x = columns[k, i]
                column = columns[k]
                for j in range(size):
                    difference = x - column[start + j]
                    distance[j] += difference * difference
            if squared:
                for j in range(size):
                    distance[j] *= 0.5
            else:
                for j in range(size):
                    distance[j] = np.sqrt(distance[j])
            for j in range(size):
                other = start + j
                if inputs[other] == inputs[i]:
                    continue
                place = distance[j] * per_unit
                cell = int(place) if place < n_cells else n_cells
                if labels[other] == labels[i]:
                    within[cell] += weights[i] * weights[other]
                else:
                    between[cell] += weights[i] * weights[other]
