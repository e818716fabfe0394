"""Rows of a mixture in blocks: their order in space, and what one query adds of a block to a sum.

Lengths are scaled by sqrt(log2(e) / 2) / sigma, so that a Gaussian term is 2 ** -distance**2 and
every exponent is a base-2 logarithm. Components are round, or diagonal: then each row has its own
deviation in each coordinate, its term is 2 ** (constant - sum of (difference / deviation)**2), and
the constant is minus the sum of log2 of the deviations. Blocks of 64 rows lie four side by side, in
arrays of shape (n_wide, d, 4, 64), coordinates outermost, so that loops over rows run in vector
registers.

Functions that run once per tile of queries take tuples of arrays; those that run once per query or
block take whole arrays and indices: reading a tuple, or slicing, counts references, which costs as
much as a block.
The last index always runs from 0: where it might be negative, no loop is vectorised.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from skinfo._numba import EXACT, FAST, NO_NAN, inner_kernel, kernel, widen_registers

#: Rows that share a bounding box.
BLOCK = 64
#: Rows that lie side by side.
WIDE = 256
#: Blocks that lie side by side.
BLOCKS_PER_WIDE = WIDE // BLOCK
#: Blocks that share a larger bounding box, that of a superblock.
SUPERBLOCK = 16
#: A sum leaves out at most this share of itself: log2(1e-13).
NEGLIGIBLE = -43.185
#: The exponent of a row that is left out.
ABSENT = -1e300
# One that a sum over lanes leaves out, by precision: below all others, and finite.
_NOTHING_SINGLE, _NOTHING_DOUBLE = -3e38, -1e308


class Queries(NamedTuple):
    """Points at which blocks are summed, and where the rows of their inputs and labels lie."""

    points: np.ndarray  # (m, d): draws t = s_i + sigma Z, scaled as the rows are
    # (m,): squared length of the scaled noise; terms are relative to the own row's.
    references: np.ndarray
    # (m,): slot of the draw's own row, which no sum holds, block * 64 + lane; -1 for none.
    own: np.ndarray
    # (m, 2): first and one past the last slot of the draw's input, and block of its label; equal
    # for none.
    group_slots: np.ndarray
    label_blocks: np.ndarray
    floors: np.ndarray  # (m,): log2 of a value that the sums will be added to, -inf for none
    nested: bool  # whether each sum will only be used together with the ones before it

    @classmethod
    def at(cls, points: np.ndarray, references: np.ndarray, *, nested: bool = False) -> Queries:
        """Queries of no row, input or label: the last of their sums holds all rows."""
        m = len(points)
        nowhere = np.zeros((m, 2), dtype=np.int64)
        own = np.full(m, -1, dtype=np.int64)
        return cls(points, references, own, nowhere, nowhere, np.full(m, -np.inf), nested)

    def take(self, which: slice | np.ndarray) -> Queries:
        """Some of the queries."""
        return Queries._make([*(values[which] for values in self[:-1]), self.nested])


class Boxes(NamedTuple):
    """Bounding boxes of rows that are stored together."""

    # (d, n_boxes): lowest and highest coordinates.
    low: np.ndarray
    high: np.ndarray
    log_weight: np.ndarray  # (n_boxes,): log2 of the total weight, -inf for padding
    # (n_boxes,): largest constant; and (d, n_boxes): smallest inverse deviations, (0, 0) for round
    # components, whose constants are 0.
    top: np.ndarray
    least: np.ndarray


class Blocks(NamedTuple):
    """Rows of a mixture as the kernels read them."""

    # (n_wide, d + 1, 4, 64): scaled coordinates, then minus the squared length of the row; or
    # (n_wide, 2 d + 1, 4, 64): scaled coordinates, inverse deviations, then the constant. Padding
    # lies where a row does.
    points: np.ndarray
    weights: np.ndarray  # (n_wide, 4, 64): probabilities, 0 for padding
    # Bounding boxes of the blocks and of every 16 of them.
    boxes: Boxes
    superboxes: Boxes
    largest_square: float  # squared length of the longest row; 0 for diagonal components
    # (n_wide, d): points from which 256 diagonal components are not far in their own deviations;
    # None for round ones.
    centres: np.ndarray | None


# Polynomials nearest to 2^f on [-1/2, 1/2] in relative error: 8e-13 in double precision, 7e-8 in
# single.
_D0 = 0.9999999999997611
_D1 = 0.6931471805465146
_D2 = 0.2402265069888062
_D3 = 0.055504109393405505
_D4 = 0.009618128542804165
_D5 = 0.0013333452063573434
_D6 = 0.00015403851796865937
_D7 = 1.530973704177843e-05
_D8 = 1.3175846287736467e-06
_S0 = np.float32(1.0000000716546718)
_S1 = np.float32(0.6931469670643613)
_S2 = np.float32(0.2402211972388181)
_S3 = np.float32(0.055507132741496844)
_S4 = np.float32(0.00967554133277695)
_S5 = np.float32(0.0013276471781934647)
# Adding these rounds to an integer and leaves it in the lowest bits.
_ROUND_DOUBLE = 6755399441055744.0
_ROUND_SINGLE = np.float32(12582912.0)
# Exponents are kept within these: denormal numbers are slow, and beyond the other end are no bits.
_LIMIT_DOUBLE = 1000.0
_LIMIT_SINGLE = np.float32(100.0)


def exp2(x):
    """Two to the power x, to 1e-12 (2e-7 in single precision); |x| is cut at 1000 (100).

    Loops over it run in vector registers, which those over numba's own do not.
    """
    return np.exp2(min(max(x, -_LIMIT_DOUBLE), _LIMIT_DOUBLE))


@inner_kernel(NO_NAN, inline=True)
def _exp2_double(x):
    x = min(max(x, -_LIMIT_DOUBLE), _LIMIT_DOUBLE)
    rounded = x + _ROUND_DOUBLE
    f = x - (rounded - _ROUND_DOUBLE)
    p = _D8 * f + _D7
    p = p * f + _D6
    p = p * f + _D5
    p = p * f + _D4
    p = p * f + _D3
    p = p * f + _D2
    p = p * f + _D1
    p = p * f + _D0
    exponent = np.float64(rounded).view(np.int64) << 52
    return np.int64(np.float64(p).view(np.int64) + exponent).view(np.float64)


@inner_kernel(NO_NAN, inline=True)
def _exp2_single(x):
    x = min(max(x, -_LIMIT_SINGLE), _LIMIT_SINGLE)
    rounded = x + _ROUND_SINGLE
    f = x - (rounded - _ROUND_SINGLE)
    p = _S5 * f + _S4
    p = p * f + _S3
    p = p * f + _S2
    p = p * f + _S1
    p = p * f + _S0
    exponent = np.int32(np.float32(rounded).view(np.int32) << np.int32(23))
    return np.int32(np.float32(p).view(np.int32) + exponent).view(np.float32)


@overload(exp2, jit_options={"forceinline": True, "fastmath": NO_NAN})
def _exp2_of(x):
    if x == types.float32:
        return lambda x: _exp2_single(x)
    return lambda x: _exp2_double(x)


@inner_kernel(FAST, inline=True)
def is_diagonal(points, blocks):
    """Whether each row of the blocks has deviations of its own."""
    return blocks.shape[1] > points.shape[1] + 1


@inner_kernel(FAST, inline=True)
def fill_exponents(points, i, start, blocks, b, exponents):
    """Fill ``start`` plus the exponents of query i at the rows of block b."""
    widen_registers()
    wide, part, d = b // BLOCKS_PER_WIDE, b % BLOCKS_PER_WIDE, points.shape[1]
    if is_diagonal(points, blocks):
        for lane in range(BLOCK):
            exponents[lane] = start + blocks[wide, 2 * d, part, lane]
        for k in range(d):
            q = points[i, k]
            for lane in range(BLOCK):
                difference = (q - blocks[wide, k, part, lane]) * blocks[wide, d + k, part, lane]
                exponents[lane] -= difference * difference
        return
    for lane in range(BLOCK):
        exponents[lane] = start
    for k in range(d):
        q = points[i, k]
        for lane in range(BLOCK):
            difference = q - blocks[wide, k, part, lane]
            exponents[lane] -= difference * difference


@inner_kernel(FAST, inline=True)
def sum_block(exponents, weights, b):
    """Sum of weight times 2 ** exponent over block b."""
    widen_registers()
    wide, part = b // BLOCKS_PER_WIDE, b % BLOCKS_PER_WIDE
    total = exponents.dtype.type(0.0)
    for lane in range(BLOCK):
        total += weights[wide, part, lane] * exp2(exponents[lane])
    return total


@inner_kernel(FAST, inline=True)
def _nothing(exponents):
    """An exponent in their precision that a sum leaves out."""
    return exponents.dtype.type(_NOTHING_SINGLE if exponents.itemsize == 4 else _NOTHING_DOUBLE)


@inner_kernel(NO_NAN, inline=True)
def _largest_exponent(exponents, weights, b, first, last, inside):
    """Largest exponent of lanes first..last of block b, or of all others; nothing for none."""
    widen_registers()
    wide, part = b // BLOCKS_PER_WIDE, b % BLOCKS_PER_WIDE
    nothing = _nothing(exponents)
    largest = nothing
    for lane in range(BLOCK):
        exponent = exponents[lane]
        # Padding may lie where a row does that this sum leaves out.
        is_row = weights[wide, part, lane] > 0.0
        counts = (((first <= lane) & (lane < last)) == inside) & is_row
        largest = max(largest, exponent if counts else nothing)
    return largest


@inner_kernel(FAST, inline=True)
def _sum_lanes(exponents, weights, b, first, last, inside, reference):
    """Sum of weight times 2 ** (exponent - reference) over the same lanes."""
    widen_registers()
    wide, part = b // BLOCKS_PER_WIDE, b % BLOCKS_PER_WIDE
    zero = exponents.dtype.type(0.0)
    total = zero
    for lane in range(BLOCK):
        term = weights[wide, part, lane] * exp2(exponents[lane] - reference)
        counts = ((first <= lane) & (lane < last)) == inside
        total += term if counts else zero
    return total


@inner_kernel(FAST, inline=True)
def _refer_to(largest, running, c):
    """Let the reference exponent of sum c be at least the largest one to come; return it."""
    if largest > running[c, 0]:
        if running[c, 1] > 0.0:
            running[c, 1] *= 2.0 ** (running[c, 0] - largest)
        running[c, 0] = largest
    return running[c, 0]


@inner_kernel(FAST, inline=True)
def add_lanes(exponents, weights, b, first, last, inside, running, c):
    """Add lanes first..last of block b, or all others if not ``inside``, to sum c.

    Sums are kept as (reference exponent, scaled sum).
    """
    largest = _largest_exponent(exponents, weights, b, first, last, inside)
    if largest > _nothing(exponents):
        reference = exponents.dtype.type(_refer_to(largest, running, c))
        running[c, 1] += _sum_lanes(exponents, weights, b, first, last, inside, reference)


@inner_kernel(FAST, inline=True)
def own_blocks(group_slots, i):
    """First and one past the last block that holds rows of the input of draw i."""
    if group_slots[i, 1] > group_slots[i, 0]:
        return group_slots[i, 0] // BLOCK, (group_slots[i, 1] - 1) // BLOCK + 1
    return 0, 0


@inner_kernel(FAST)
def add_own_blocks(
    points, i, reference, own, group_slots, has_label, blocks, weights, exponents, running
):
    """Add the blocks that hold rows of the draw's input: these to sum 0, others to 1 or 2.

    The own row is left out. The others share the draw's label where it has one: sum 1.
    """
    rest = 1 if has_label else 2
    first_block, last_block = own_blocks(group_slots, i)
    for b in range(first_block, last_block):
        fill_exponents(points, i, reference, blocks, b, exponents)
        start = b * BLOCK
        if start <= own < start + BLOCK:
            exponents[own - start] = _nothing(exponents)
        first, last = group_slots[i, 0] - start, group_slots[i, 1] - start
        add_lanes(exponents, weights, b, first, last, True, running, 0)
        add_lanes(exponents, weights, b, first, last, False, running, rest)


@inner_kernel(FAST, inline=True)
def log2_sum(running, c):
    """log2 of sum c, -inf where it is empty."""
    if running[c, 1] > 0.0:
        return running[c, 0] + np.log2(running[c, 1])
    return -np.inf


@inner_kernel(EXACT)
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
