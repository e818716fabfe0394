"""The order in which the rows of a mixture are stored and summed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skinfo.kernels.mixture import BLOCK
from skinfo.kernels.ordering import sort_segments_kd
from skinfo.measures.rows import Rows

# Where padding lies: too far to be summed, near enough that its square is finite.
_FAR = 1e150


@dataclass(frozen=True)
class Layout:
    """Rows in blocks of 64: labels start a new block, replicas of an input lie side by side.

    Attributes
    ----------
    blocks, weights : ndarray of shape (n_blocks, d, 64) and (n_blocks, 64)
        Scaled coordinates and weights; padding weighs 0 and lies far away.
    low, high : ndarray of shape (d, n_blocks)
        Bounding boxes.
    log_weight : ndarray of shape (n_blocks,)
        log2 of a block's total weight.
    slots : ndarray of shape (n,)
        Where each row went, block * 64 + lane; -1 for rows of the other half.
    input_slots : ndarray of shape (n_inputs, 2)
        First and one past the last slot of each input.
    label_blocks : ndarray of shape (n_labels, 2)
        First and one past the last block of each label; (0, 0) without labels.
    """

    blocks: np.ndarray
    weights: np.ndarray
    low: np.ndarray
    high: np.ndarray
    log_weight: np.ndarray
    slots: np.ndarray
    input_slots: np.ndarray
    label_blocks: np.ndarray


def order_rows(rows: Rows) -> np.ndarray:
    """Indices of the rows sorted by label, k-d order of the inputs' means, k-d order of the rows.

    The order depends on the rows alone, not on sigma.
    """
    n_inputs = len(rows.input_weights)
    by_input = np.argsort(rows.inputs, kind="stable")
    starts = np.concatenate([[0], np.cumsum(rows.replicas)])
    points = np.ascontiguousarray(rows.points, dtype=np.float64)
    if not rows.has_replicas:
        means = points[by_input]
        inputs_a_leaf = BLOCK
    else:
        means = np.add.reduceat(points[by_input], starts[:-1], axis=0) / rows.replicas[:, None]
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


def lay_out(rows: Rows, order: np.ndarray, scale: float) -> Layout:
    """Store the rows that ``order`` names, in that order, with coordinates times ``scale``."""
    n, d = rows.points.shape
    label = np.zeros(len(order), dtype=np.int64) if rows.labels is None else rows.labels[order]
    n_labels = 1 if rows.label_weights is None else len(rows.label_weights)
    label_counts = np.bincount(label, minlength=n_labels)
    label_stops = np.cumsum((label_counts + BLOCK - 1) // BLOCK)
    label_blocks = np.column_stack([np.concatenate([[0], label_stops[:-1]]), label_stops])
    first_of_label = np.concatenate([[0], np.cumsum(label_counts)[:-1]])
    slot = np.arange(len(order)) - first_of_label[label] + label_blocks[label, 0] * BLOCK
    n_blocks = int(label_stops[-1])

    padded = np.full((n_blocks * BLOCK, d), _FAR)
    padded[slot] = rows.points[order]
    padded[slot] *= scale
    weights = np.zeros(n_blocks * BLOCK)
    weights[slot] = rows.weights[order]
    blocked = padded.reshape(n_blocks, BLOCK, d)
    present = (weights > 0).reshape(n_blocks, BLOCK, 1)
    total = weights.reshape(n_blocks, BLOCK).sum(axis=1)

    slots = np.full(n, -1, dtype=np.int64)
    slots[order] = slot
    input_of = rows.inputs[order]
    input_slots = np.zeros((len(rows.input_weights), 2), dtype=np.int64)
    new_input = np.flatnonzero(np.diff(input_of, prepend=-1))
    input_slots[input_of[new_input], 0] = slot[new_input]
    input_slots[input_of[new_input], 1] = slot[np.append(new_input[1:], len(order)) - 1] + 1
    return Layout(
        blocks=np.ascontiguousarray(blocked.transpose(0, 2, 1)),
        weights=weights.reshape(n_blocks, BLOCK),
        low=np.ascontiguousarray(blocked.min(axis=1, initial=np.inf, where=present).T),
        high=np.ascontiguousarray(blocked.max(axis=1, initial=-np.inf, where=present).T),
        log_weight=np.log2(total),
        slots=slots,
        input_slots=input_slots,
        label_blocks=label_blocks if rows.labels is not None else np.zeros((1, 2), dtype=np.int64),
    )
