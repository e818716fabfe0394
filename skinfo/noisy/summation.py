"""Which kernel sums a layout: boxes first where few rows count, matrix products where most do."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skinfo._parallel import in_slices
from skinfo.noisy.kernels.dense import sum_densely
from skinfo.noisy.kernels.skipping import sum_by_skipping
from skinfo.noisy.layout import Layout

# Queries that tell which kernel to take, and the share of blocks from which on products are faster.
_PILOTS = 8
_DENSE = 0.3
# An expanded exponent that rounding may change by more tells nothing.
_COARSEST = 0.5


@dataclass(frozen=True)
class _Arithmetic:
    """What a floating-point type leaves of an expanded square, and what a sum may span in it."""

    precision: np.ndarray
    span: np.ndarray


_ARITHMETIC = {
    "float64": _Arithmetic(np.array([4e-16, 1e-11]), np.array([-900.0, 900.0])),
    "float32": _Arithmetic(np.array([2e-7, 1e-4]), np.array([-70.0, 60.0])),
}


@dataclass(frozen=True)
class Queries:
    """Points at which a layout is summed, and which rows count as whose.

    Attributes
    ----------
    points : ndarray of shape (m, d)
        Scaled as the layout's rows are.
    references : ndarray of shape (m,)
        Squared length of the scaled noise; terms are relative to the own row's.
    own : ndarray of shape (m,)
        Slot of the row that no sum holds; -1 for none.
    group_slots, label_blocks : ndarray of shape (m, 2)
        Slots of the rows of the own input, blocks of the own label; empty for none.
    floors : ndarray of shape (m,)
        log2 of a value that the sums will be added to, -inf for none.
    nested : bool
        Whether each sum will only be used together with the ones before it.
    """

    points: np.ndarray
    references: np.ndarray
    own: np.ndarray
    group_slots: np.ndarray
    label_blocks: np.ndarray
    floors: np.ndarray
    nested: bool

    def __len__(self) -> int:
        return len(self.points)

    def take(self, which: slice | np.ndarray) -> Queries:
        """Some of the queries."""
        return Queries(
            self.points[which],
            self.references[which],
            self.own[which],
            self.group_slots[which],
            self.label_blocks[which],
            self.floors[which],
            self.nested,
        )


def sum_layout(layout: Layout, queries: Queries, n_jobs: int | None) -> np.ndarray:
    """Sum the rows of a layout at each query.

    Returns
    -------
    ndarray of shape (m, 3)
        log2 of three disjoint sums: rest of the own input, rest of the own label, all others.
    """
    queries = replace(queries, points=queries.points.astype(layout.blocks.dtype, copy=False))
    sums = np.empty((len(queries), 3))
    dense = _most_count(layout, queries)

    def fill(part: slice) -> None:
        some = queries.take(part)
        if dense:
            failed = np.flatnonzero(_sum_densely(layout, some, sums[part]))
            again = np.empty((len(failed), 3))
            _sum_by_skipping(layout, some.take(failed), again)
            sums[part][failed] = again
        else:
            _sum_by_skipping(layout, some, sums[part])

    in_slices(fill, len(queries), n_jobs)
    return sums


def _most_count(layout: Layout, queries: Queries) -> bool:
    """Whether so many blocks count that leaving out the others costs more than summing all."""
    precision = _ARITHMETIC[layout.blocks.dtype.name].precision
    farthest = float(np.einsum("ni,ni->n", queries.points, queries.points).max())
    if precision[0] * (farthest + layout.largest_square) > _COARSEST:
        return False
    pilots = queries.take(np.linspace(0, len(queries) - 1, _PILOTS).astype(np.int64))
    summed = _sum_by_skipping(layout, pilots, np.empty((_PILOTS, 3)))
    return bool(summed > _DENSE * _PILOTS * np.count_nonzero(np.isfinite(layout.boxes.log_weight)))


def _sum_by_skipping(layout: Layout, queries: Queries, out: np.ndarray) -> int:
    boxes, crowds = layout.boxes, layout.crowds
    return sum_by_skipping(
        queries.points, queries.references, queries.own, queries.group_slots,
        queries.label_blocks, queries.floors, queries.nested, layout.blocks, layout.weights,
        boxes.low, boxes.high, boxes.log_weight, crowds.low, crowds.high, crowds.log_weight, out,
    )  # fmt: skip


def _sum_densely(layout: Layout, queries: Queries, out: np.ndarray) -> np.ndarray:
    failed = np.zeros(len(queries), dtype=np.bool_)
    arithmetic = _ARITHMETIC[layout.blocks.dtype.name]
    sum_densely(
        queries.points, queries.references, queries.own, queries.group_slots,
        queries.label_blocks, queries.floors, queries.nested, layout.blocks, layout.weights,
        np.isfinite(layout.boxes.log_weight), layout.largest_square, arithmetic.precision,
        arithmetic.span, out, failed,
    )  # fmt: skip
    return failed
