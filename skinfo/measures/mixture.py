"""The mixture of Gaussians around the rows of a layer, summed at noisy draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from skinfo.kernels.mixture import sum_mixture
from skinfo.measures.draws import Draws, DrawStream
from skinfo.measures.layout import Layout, lay_out, order_rows
from skinfo.measures.parallel import in_slices
from skinfo.measures.rows import Rows
from skinfo.measures.subspace import Subspace
from skinfo.measures.sums import DrawSums

_LOG2 = float(np.log(2.0))
# With lengths in units of sigma, this factor turns exp(-x^2 / 2) into 2^(-x^2).
_BINARY = float(np.sqrt(0.5 / _LOG2))

# Unequal replicas are halved, for the extrapolation of their bias, where all inputs have so many.
_FEWEST_UNEQUAL = 8

Inputs = Literal["given", "sampled"]


@dataclass(frozen=True)
class Mixture:
    """The mixture of Gaussians around rows of activations, ready to be summed.

    Attributes
    ----------
    rows : Rows
        The rows in their subspace, in units of sigma.
    subspace : Subspace
        How they got there.
    order : ndarray of shape (n,)
        Neighbours in space are neighbours here.
    layouts : tuple of Layout
        The rows in blocks; two halves of every input's replicas where inputs have replicas.
    half_of_row : ndarray of shape (n,)
        The layout that holds each row.
    """

    rows: Rows
    subspace: Subspace
    order: np.ndarray
    layouts: tuple[Layout, ...]
    half_of_row: np.ndarray

    @classmethod
    def of(cls, rows: Rows, sigma: float, order: np.ndarray | None = None) -> Mixture:
        """Reduce, scale, sort and store the rows; ``order`` is that of another sigma, if known."""
        subspace = Subspace.of(rows, sigma)
        rows = rows.moved_to(np.asarray(subspace.project(rows.points), dtype=np.float64))
        order = order_rows(rows) if order is None else order
        equal = np.ptp(rows.replicas) == 0
        if rows.has_replicas and (equal or rows.replicas.min() >= _FEWEST_UNEQUAL):
            half_of_row = _rank_within(rows.inputs) % 2
        else:
            half_of_row = np.zeros(len(order), dtype=np.int64)
        halves = range(int(half_of_row.max()) + 1)
        layouts = tuple(lay_out(rows, order[half_of_row[order] == h], _BINARY) for h in halves)
        return cls(rows, subspace, order, layouts, half_of_row)

    def draw_stream(self, seed: int, spread: float = 1.0) -> DrawStream:
        """Start drawing from the mixture."""
        return DrawStream(self.rows.weights, self.order, self.subspace.rank, seed, spread)

    def sums_at(self, draws: Draws, inputs: Inputs, n_jobs: int | None) -> DrawSums:
        """Evaluate the four disjoint sums at draws from the mixture's own rows."""
        rows = self.rows
        shape = draws.rows.shape
        drawn = draws.rows.ravel()
        noise = draws.noise.reshape(len(drawn), -1)
        queries = (rows.points[drawn] + noise) * _BINARY
        references = np.einsum("ni,ni->n", noise, noise) * _BINARY**2
        input_of = rows.inputs[drawn]
        label_of = (
            np.zeros(len(drawn), dtype=np.int64) if rows.labels is None else rows.labels[drawn]
        )
        own_weight = rows.weights[drawn]
        given = inputs == "given"
        # With other replicas the own row does not count as a reference: the ends leave it out.
        floors = (
            np.log2(own_weight) if given and not rows.has_replicas else np.full(len(drawn), -np.inf)
        )
        places = [
            (layout.slots[drawn], layout.input_slots[input_of], layout.label_blocks[label_of])
            for layout in self.layouts
        ]
        parts = self._sum(queries, references, places, floors, given, n_jobs)
        half, half_replicas = None, np.ones(len(drawn))
        if len(self.layouts) == 2:
            own_half = self.half_of_row[drawn]
            mine = parts[own_half, np.arange(len(drawn))].T.reshape(3, *shape)
            half = (mine[0], mine[1], mine[2])
            half_replicas = np.bincount(rows.inputs * 2 + self.half_of_row)[input_of * 2 + own_half]
        group, label, other = np.logaddexp.reduce(parts, axis=0).T.reshape(3, *shape)
        label_weight = (
            np.ones(shape) if rows.label_weights is None else rows.label_weights[label_of]
        )
        return DrawSums(
            own=np.log(own_weight).reshape(shape),
            group=group,
            label=label,
            other=other,
            half=half,
            half_replicas=half_replicas.reshape(shape),
            replicas=rows.replicas[input_of].reshape(shape).astype(np.float64),
            input_weight=rows.input_weights[input_of].reshape(shape),
            label_weight=label_weight.reshape(shape),
        )

    def log_ratios(
        self, queries: np.ndarray, references: np.ndarray, n_jobs: int | None
    ) -> np.ndarray:
        """Logarithm of the mixture at any points of the subspace, times exp(references).

        The factor (2 pi)^(-rank / 2) is left out. ``queries`` are in units of sigma.
        """
        m = len(queries)
        nowhere = (
            np.full(m, -1, dtype=np.int64),
            np.zeros((m, 2), dtype=np.int64),
            np.zeros((m, 2), dtype=np.int64),
        )
        parts = self._sum(
            queries * _BINARY,
            references / _LOG2,
            [nowhere] * len(self.layouts),
            np.full(m, -np.inf),
            False,
            n_jobs,
        )
        return np.logaddexp.reduce(parts[:, :, 2], axis=0)

    def _sum(
        self,
        queries: np.ndarray,
        references: np.ndarray,
        places: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
        floors: np.ndarray,
        nested: bool,
        n_jobs: int | None,
    ) -> np.ndarray:
        """Natural logarithms of the three sums of every layout at every query.

        ``places`` holds for each layout the slot of the own row, the slots of its input and the
        blocks of its label, for each query.
        """
        parts = np.empty((len(self.layouts), len(queries), 3))

        def fill(k: int, part: slice) -> None:
            layout = self.layouts[k]
            own, group_slots, label_blocks = (place[part] for place in places[k])
            sum_mixture(
                queries[part], references[part], own, group_slots, label_blocks, floors[part],
                nested, layout.blocks, layout.weights, layout.low, layout.high, layout.log_weight,
                parts[k, part],
            )  # fmt: skip

        for k in range(len(self.layouts)):
            in_slices(partial(fill, k), len(queries), n_jobs)
        return parts * _LOG2

    def log_density(self, points: np.ndarray, n_jobs: int | None = None) -> np.ndarray:
        """Logarithm of g at points of the layer's full space, in nats."""
        queries = np.asarray(self.subspace.project(points), dtype=np.float64)
        logs = self.log_ratios(queries, np.zeros(len(queries)), n_jobs)
        constant = 0.5 * self.subspace.dimension * np.log(2 * np.pi * self.subspace.sigma**2)
        return logs - 0.5 * self.subspace.squared_distances(points) - constant


def _rank_within(codes: np.ndarray) -> np.ndarray:
    """Position of each element among those of its code, in the order they stand."""
    order = np.argsort(codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(np.bincount(codes))])[:-1]
    rank = np.empty(len(codes), dtype=np.int64)
    rank[order] = np.arange(len(codes)) - starts[codes[order]]
    return rank
