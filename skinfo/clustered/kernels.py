"""Pairwise distances, streamed by matrix products: no matrix of all pairs exists.

A squared distance is expanded, |t - s|^2 = |t|^2 + |s|^2 - 2 t s, so that almost all of the work is
a product of 128 rows and 256 others; where the difference cancels, or all of them are asked for, it
is computed from the coordinates. A squared distance is a single-precision number when it is
counted: the leading bits of that number name a segment, 1/64 of an octave, and the bits that follow
a cell of the segment.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skinfo._numba import FAST, inner_kernel, kernel

#: Rows that share one matrix product, and the others that they are multiplied with.
TILE, WIDE = 128, 256
#: Bits of a single-precision number behind those that name its segment.
BITS = 17
#: A squared distance below this share of |t|^2 + |s|^2 is computed again from differences.
CANCELS = 1.0 / 32


class TiledRows(NamedTuple):
    """Rows sorted by class and input, ready to be paired."""

    points: np.ndarray  # (n, d)
    direct: bool  # whether all distances come from differences
    squares: np.ndarray  # (n_blocks, 256): squared lengths of the rows
    blocks: np.ndarray  # (n_blocks, d + 1, 256): minus twice the rows, then their squared lengths
    weights: np.ndarray  # (n_blocks, 256): padded by zeros
    begins: np.ndarray  # (n,): where the rows of each row's input begin: it pairs with those before
    classes: np.ndarray  # (n_blocks * 256,): class of each row
    class_stops: np.ndarray  # (n_classes,): where classes end
    labels: np.ndarray  # (n_sets, n_classes): label of each class in every label set
    # (n_sets, 2, n_cells): how a pair of two classes, or of one, in a cell bears on the AUC.
    bearings: np.ndarray


class Sums(NamedTuple):
    """Sums over pairs by kind: the label sets that give both rows one label, one bit per set."""

    counts: np.ndarray  # (2 ** n_sets, n_cells): weighted pairs by distance
    distances: np.ndarray  # (2 ** n_sets,): sums of distances
    # (n_sets, n_labels, n_labels): sums of distances by the two labels; (0, 0, 0) if not wanted.
    by_class: np.ndarray
    # (n_sets, 2, n): of the pairs of each row with other classes, and with its own, how they bear.
    influences: np.ndarray


class Ranking(NamedTuple):
    """Squared distances and weights of all pairs, kind after kind; empty if not wanted."""

    ranks: np.ndarray  # (n, 2 ** n_sets): where the pairs of a row begin in ``values``; advanced
    values: np.ndarray  # (n_pairs,): squared distances
    masses: np.ndarray  # (n_pairs,): weights; none if all are equal


@inner_kernel(FAST, inline=True)
def _fill_squares(products, row, i, block, stop, squares, points, direct, distances):
    """Fill the squared distances of row i to the 256 rows of a block, exact up to ``stop``."""
    own = squares[i // WIDE, i % WIDE]
    start = block * WIDE
    n_near = 0
    for lane in range(WIDE):
        both = own + squares[block, lane]
        square = products[row, lane] + own
        distances[lane] = max(square, 0.0)
        n_near += square < CANCELS * both
    if n_near == 0 and not direct:
        return
    d = points.shape[1]
    for lane in range(stop):
        if direct or distances[lane] < CANCELS * (own + squares[block, lane]):
            total = 0.0
            for k in range(d):
                difference = points[i, k] - points[start + lane, k]
                total += difference * difference
            distances[lane] = total


@inner_kernel(FAST, inline=True)
def _fill_segments(distances, singles, bits, lowest, last, halved, segments, insides):
    """Fill segment and position of every squared distance, and turn it into a distance."""
    for lane in range(WIDE):
        singles[lane] = distances[lane]
    for lane in range(WIDE):
        segments[lane] = min(max((bits[lane] >> BITS) - lowest, 0), last)
        insides[lane] = bits[lane] & ((1 << BITS) - 1)
    if halved:
        for lane in range(WIDE):
            distances[lane] *= 0.5
    else:
        for lane in range(WIDE):
            distances[lane] = np.sqrt(distances[lane])


@inner_kernel(FAST, inline=True)
def _add_run(
    own, block, lane, end, weights, distances, segments, insides, bases, parts, counts, cells
):
    """Count lanes of one kind; return the weighted sum of their distances, and fill their cells."""
    # Unsigned indices need no sign check.
    total = 0.0
    for signed in range(lane, end):
        total += weights[block, np.uintp(signed)] * distances[np.uintp(signed)]
    for signed in range(lane, end):
        at = np.uintp(signed)
        segment = np.uintp(segments[at])
        inside = np.uintp(insides[at]) * np.uintp(parts[segment])
        cell = np.uintp(bases[segment]) + (inside >> np.uintp(BITS))
        cells[at] = cell
        counts[cell] += own * weights[block, at]
    return total * own


@inner_kernel(FAST, inline=True)
def _add_influences(own, i, block, lane, end, weights, cells, bearing, influences):
    """Add to a row, and to those that lanes of one kind pair it with, how the pairs bear."""
    total = 0.0
    start = block * WIDE
    for at in range(lane, end):
        value = bearing[cells[at]]
        total += weights[block, at] * value
        influences[start + at] += own * value
    influences[i] += total


@inner_kernel(FAST, inline=True)
def _kind_of(labels, a, b):
    """Which label sets give two classes the same label, one bit per set."""
    kind = 0
    for s in range(labels.shape[0]):
        if labels[s, a] == labels[s, b]:
            kind += 1 << s
    return kind


@kernel(FAST)
def add_pairs(first, rows, cells, sums, ranking):
    """Add the pairs of up to 128 rows, from number ``first`` on, with the rows before them.

    They are TiledRows; the cells are DistanceCells. Sums are added to, the Ranking is filled.
    """
    points, direct, squares, blocks, weights, begins, classes, class_stops, labels, bearings = rows
    bases, parts = cells.bases, cells.parts
    counts, totals, class_sums, influences = sums
    ranks, values, masses = ranking
    n, d = points.shape
    size = min(TILE, n - first)
    tile = np.empty((size, d + 1))
    for row in range(size):
        for k in range(d):
            tile[row, k] = points[first + row, k]
        tile[row, d] = 1.0
    products = np.empty((size, WIDE))
    distances = np.empty(WIDE)
    kept = np.empty(WIDE)
    singles = np.empty(WIDE, np.float32)
    bits = singles.view(np.int32)
    segments, insides = np.empty(WIDE, np.int32), np.empty(WIDE, np.int32)
    numbers = np.empty(WIDE, np.int32)
    last = bases.shape[0] - 1
    keeps, weighs = values.shape[0] > 0, masses.shape[0] > 0
    for block in range((first + size - 1) // WIDE + 1):
        start = block * WIDE
        np.dot(tile, blocks[block], products)
        for row in range(size):
            i = first + row
            stop = min(begins[i] - start, WIDE)
            if stop <= 0:
                continue
            _fill_squares(products, row, i, block, stop, squares, points, direct, distances)
            if keeps:
                for lane in range(WIDE):
                    kept[lane] = distances[lane]
            _fill_segments(
                distances, singles, bits, cells.lowest, last, cells.halved, segments, insides
            )
            own = weights[i // WIDE, i % WIDE]
            a = classes[i]
            # Plain 0 is a type of its own, for which what is called would be compiled again.
            lane = np.int64(0)
            while lane < stop:
                b = classes[start + lane]
                end = min(class_stops[b] - start, stop)
                kind = _kind_of(labels, a, b)
                total = _add_run(
                    own, block, lane, end, weights, distances, segments, insides, bases, parts,
                    counts[kind], numbers,
                )  # fmt: skip
                for s in range(labels.shape[0]):
                    _add_influences(
                        own, i, block, lane, end, weights, numbers, bearings[s, (kind >> s) & 1],
                        influences[s, (kind >> s) & 1],
                    )  # fmt: skip
                totals[kind] += total
                for s in range(class_sums.shape[0]):
                    class_sums[s, labels[s, a], labels[s, b]] += total
                if keeps:
                    rank = ranks[i, kind]
                    for at in range(lane, end):
                        values[rank + at - lane] = kept[at]
                        if weighs:
                            masses[rank + at - lane] = own * weights[block, at]
                    ranks[i, kind] = rank + end - lane
                lane = end


@kernel(FAST)
def count_pairs(begins, classes, class_starts, labels, out):
    """Fill the numbers (n, 2 ** n_sets) of pairs of each row with the rows before it, by kind."""
    for i in range(out.shape[0]):
        a = classes[i]
        for b in range(a):
            out[i, _kind_of(labels, a, b)] += class_starts[b + 1] - class_starts[b]
        out[i, _kind_of(labels, a, a)] += begins[i] - class_starts[a]


@kernel(FAST)
def fill_pair_squares(points, left, right, out):
    """Fill the squared distances of given pairs of rows, from differences."""
    for pair in range(out.shape[0]):
        i, j = left[pair], right[pair]
        total = 0.0
        for k in range(points.shape[1]):
            difference = np.float64(points[i, k]) - np.float64(points[j, k])
            total += difference * difference
        out[pair] = total


@kernel(FAST)
def fill_cells(squares, cells, out):
    """Fill the cells of given squared distances."""
    bases, parts = cells.bases, cells.parts
    last = bases.shape[0] - 1
    single = np.empty(1, np.float32)
    bits = single.view(np.int32)
    for at in range(squares.shape[0]):
        single[0] = squares[at]
        segment = min(max((bits[0] >> BITS) - cells.lowest, 0), last)
        inside = bits[0] & ((1 << BITS) - 1)
        out[at] = bases[segment] + ((inside * parts[segment]) >> BITS)


@kernel(FAST)
def count_wins(lower, upper, lower_masses, upper_masses, relative, reach):
    """Twice the mass of pairs with lower < upper, ties counting half, and that of unequal ties.

    Both are sorted. From the smallest value v that is left, all up to v + relative v +
    reach sqrt(v) tie. ``masses`` may be empty: one each.
    """
    twice, unequal, below = 0.0, 0.0, 0.0
    at_lower, at_upper = 0, 0
    weighs = lower_masses.shape[0] > 0
    while at_upper < upper.shape[0]:
        value = upper[at_upper]
        if at_lower < lower.shape[0]:
            value = min(value, lower[at_lower])
        limit = value + relative * value + reach * np.sqrt(value)
        largest, tied, beaten = value, 0.0, 0.0
        while at_lower < lower.shape[0] and lower[at_lower] <= limit:
            largest = max(largest, lower[at_lower])
            tied += lower_masses[at_lower] if weighs else 1.0
            at_lower += 1
        while at_upper < upper.shape[0] and upper[at_upper] <= limit:
            largest = max(largest, upper[at_upper])
            beaten += upper_masses[at_upper] if weighs else 1.0
            at_upper += 1
        twice += beaten * (2 * below + tied)
        if largest > value:
            unequal += beaten * tied
        below += tied
    return twice, unequal
