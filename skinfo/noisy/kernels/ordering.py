"""The k-d order of points: neighbours in space become neighbours in memory."""

from __future__ import annotations

import numpy as np

from skinfo._numba import EXACT, kernel


@kernel(EXACT)
def _select(keys, order, start, stop, middle):
    """Arrange order[start:stop] so that no key before ``middle`` exceeds one from it on."""
    first, last = start, stop - 1
    while first < last:
        pivot = keys[order[(first + last) // 2]]
        i, j = first, last
        while i <= j:
            while keys[order[i]] < pivot:
                i += 1
            while keys[order[j]] > pivot:
                j -= 1
            if i <= j:
                order[i], order[j] = order[j], order[i]
                i += 1
                j -= 1
        if middle <= j:
            last = j
        elif middle >= i:
            first = i
        else:
            return


@kernel(EXACT)
def sort_kd(points, leaf, start, stop, order):
    """Put order[start:stop], indices of rows of ``points``, into k-d order.

    Boxes are halved along their widest side, at multiples of ``leaf`` rows, until none holds more.
    Rows without coordinates are all in one place and stay as they are.
    """
    if points.shape[1] == 0:
        return
    stack = np.empty((128, 2), dtype=np.int64)
    stack[0, 0] = start
    stack[0, 1] = stop
    depth = 1
    while depth > 0:
        depth -= 1
        first, last = stack[depth]
        if last - first <= leaf:
            continue
        widest, width = 0, -1.0
        for k in range(points.shape[1]):
            low = points[order[first], k]
            high = low
            for i in range(first + 1, last):
                value = points[order[i], k]
                low = min(low, value)
                high = max(high, value)
            if high - low > width:
                widest, width = k, high - low
        half = (last - first) // 2
        middle = first + ((half + leaf - 1) // leaf) * leaf
        _select(points[:, widest], order, first, last, middle)
        stack[depth, 0] = first
        stack[depth, 1] = middle
        stack[depth + 1, 0] = middle
        stack[depth + 1, 1] = last
        depth += 2


@kernel(EXACT)
def sort_segments_kd(points, leaf, starts, order):
    """Put every order[starts[g]:starts[g + 1]] into k-d order."""
    for g in range(starts.shape[0] - 1):
        sort_kd(points, leaf, starts[g], starts[g + 1], order)
