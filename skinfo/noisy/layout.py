"""The order in which the rows of a mixture are stored and summed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skinfo._rows import Rows
from skinfo.noisy.kernels.blocks import BLOCK, BLOCKS_A_WIDE, WIDE
from skinfo.noisy.kernels.ordering import sort_segments_kd
from skinfo.noisy.kernels.skipping import CROWD
from skinfo.noisy.subspace import Subspace

#: With lengths in units of sigma, this factor turns exp(-x^2 / 2) into 2^(-x^2).
BINARY = float(np.sqrt(0.5 / np.log(2.0)))
#: Kernels take logarithms to base 2; this factor makes them natural.
LOG2 = float(np.log(2.0))


@dataclass(frozen=True)
class Boxes:
    """Bounding boxes of rows that are stored together.

    Attributes
    ----------
    low, high : ndarray of shape (d, n_boxes)
        Lowest and highest coordinates.
    log_weight : ndarray of shape (n_boxes,)
        log2 of their total weight, -inf for none.
    """

    low: np.ndarray
    high: np.ndarray
    log_weight: np.ndarray

    @classmethod
    def of(cls, low: np.ndarray, high: np.ndarray, weight: np.ndarray) -> Boxes:
        """Make boxes of corners and weights."""
        with np.errstate(divide="ignore"):
            return cls(np.ascontiguousarray(low), np.ascontiguousarray(high), np.log2(weight))


@dataclass(frozen=True)
class Layout:
    """Rows in blocks of 64: labels start a new block, replicas of an input lie side by side.

    Attributes
    ----------
    blocks, weights : ndarray of shape (n_wide, d + 1, 4, 64) and (n_wide, 4, 64)
        Scaled coordinates, then minus the squared length of the row; and weights, 0 for padding.
    boxes : Boxes
        Bounding boxes of the blocks; the weight of a block of padding is 0.
    crowds : Boxes
        Bounding boxes of every 16 blocks.
    largest_square : float
        Squared length of the longest row.
    slots : ndarray of shape (n_members,)
        Where each row went, block * 64 + lane.
    label_blocks : ndarray of shape (n_labels, 2)
        First and one past the last block of each label; (0, 0) without labels.
    """

    blocks: np.ndarray
    weights: np.ndarray
    boxes: Boxes
    crowds: Boxes
    largest_square: float
    slots: np.ndarray
    label_blocks: np.ndarray

    def slots_of(self, positions: np.ndarray) -> np.ndarray:
        """Slots of rows by their position among the members; -1 for a position outside."""
        inside = (positions >= 0) & (positions < len(self.slots))
        return np.where(inside, self.slots[np.where(inside, positions, 0)], -1)

    def spans_of(self, spans: np.ndarray) -> np.ndarray:
        """First and one past the last slot of neighbours by their positions; equal if outside."""
        first, last = np.clip(spans, 0, len(self.slots)).T
        some = first < last
        start = self.slots[np.where(some, first, 0)]
        stop = self.slots[np.where(some, last - 1, 0)] + 1
        return np.where(some[:, None], np.column_stack([start, stop]), 0)


def order_rows(rows: Rows) -> np.ndarray:
    """Indices of the rows sorted by label, k-d order of the inputs' means, k-d order of the rows.

    The order depends on the rows alone, not on sigma.
    """
    n_inputs = len(rows.input_weights)
    by_input = np.argsort(rows.inputs, kind="stable")
    starts = np.concatenate([[0], np.cumsum(rows.replicas)])
    points = np.ascontiguousarray(rows.points)
    if not rows.has_replicas:
        means = points[by_input]
        inputs_a_leaf = BLOCK
    else:
        sums = np.add.reduceat(points[by_input], starts[:-1], axis=0, dtype=np.float64)
        means = sums / rows.replicas[:, None]
        inputs_a_leaf = max(1, BLOCK // int(np.median(rows.replicas)))
    label_of_input = (
        np.zeros(n_inputs, dtype=np.int64)
        if rows.labels is None
        else rows.labels[by_input[starts[:-1]]]
    )
    input_order = np.argsort(label_of_input, kind="stable")
    label_starts = np.concatenate([[0], np.cumsum(np.bincount(label_of_input))])
    sort_segments_kd(means, inputs_a_leaf, label_starts, input_order)
    if not rows.has_replicas:
        return by_input[input_order]
    sizes = rows.replicas[input_order]
    new_starts = np.concatenate([[0], np.cumsum(sizes)])
    within = np.arange(len(points)) - np.repeat(new_starts[:-1], sizes)
    order = by_input[np.repeat(starts[input_order], sizes) + within]
    sort_segments_kd(points, BLOCK, new_starts, order)
    return order


def order_by_label(rows: Rows) -> np.ndarray:
    """Indices of the rows sorted by label and input, otherwise as they stand."""
    return np.lexsort((rows.inputs,) if rows.labels is None else (rows.inputs, rows.labels))


def lay_out(rows: Rows, members: np.ndarray, subspace: Subspace, dtype: np.dtype) -> Layout:
    """Store the rows that ``members`` names, in that order."""
    n_labels = 1 if rows.label_weights is None else len(rows.label_weights)
    label = np.zeros(len(members), dtype=np.int64) if rows.labels is None else rows.labels[members]
    counts = np.bincount(label, minlength=n_labels)
    label_stops = np.cumsum((counts + BLOCK - 1) // BLOCK)
    label_blocks = np.column_stack([np.concatenate([[0], label_stops[:-1]]), label_stops])
    first_of_label = np.concatenate([[0], np.cumsum(counts)[:-1]])
    slot = np.arange(len(members)) - first_of_label[label] + label_blocks[label, 0] * BLOCK

    n_wide = -(-int(label_stops[-1]) // BLOCKS_A_WIDE)
    shape = (n_wide, BLOCKS_A_WIDE, BLOCK)
    # Padding lies where the row before it does, so that it spoils no box and no largest value.
    filled = np.zeros(n_wide * WIDE, dtype=np.int64)
    filled[slot] = np.arange(len(members))
    filled = np.maximum.accumulate(filled)
    points = subspace.project(rows.points[members[filled]])
    points *= BINARY
    d = points.shape[1]
    blocks = np.empty((n_wide, d + 1, BLOCKS_A_WIDE, BLOCK), dtype=dtype)
    blocks[:, :d] = points.reshape(*shape, d).transpose(0, 3, 1, 2)
    kept = blocks[:, :d]
    squares = np.einsum("wkbl,wkbl->wbl", kept, kept, dtype=np.float64)
    blocks[:, d] = -squares
    weights = np.zeros(n_wide * WIDE)
    weights[slot] = rows.weights[members]
    by_block = weights.reshape(-1, BLOCK).sum(axis=1)
    low, high = _by_coordinate(kept.min(axis=3)), _by_coordinate(kept.max(axis=3))
    crowds = np.arange(0, n_wide * BLOCKS_A_WIDE, CROWD)
    return Layout(
        blocks=blocks,
        weights=weights.reshape(shape).astype(dtype),
        boxes=Boxes.of(low, high, by_block),
        crowds=Boxes.of(
            np.minimum.reduceat(low, crowds, axis=1),
            np.maximum.reduceat(high, crowds, axis=1),
            np.add.reduceat(by_block, crowds),
        ),
        largest_square=float(squares.max()),
        slots=slot,
        label_blocks=label_blocks if rows.labels is not None else np.zeros((1, 2), dtype=np.int64),
    )


def _by_coordinate(values: np.ndarray) -> np.ndarray:
    """Turn (n_wide, d, 4) into (d, n_blocks)."""
    n_wide, d, width = values.shape
    return values.transpose(1, 0, 2).reshape(d, n_wide * width)
