"""The mixture of Gaussians around the rows of a layer, summed at noisy draws.

Every quantity is an average over draws of a difference of logarithms of the same four sums. ``own``
is the draw's own row, ``group`` the other replicas of its input, ``label`` the other inputs of its
label, ``other`` everything else; the sums are added, never subtracted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from skinfo._rows import Rows
from skinfo.noisy.kernels.blocks import WIDE, Queries
from skinfo.noisy.layout import BINARY, LOG2, Layout, Subspace, lay_out, order_rows
from skinfo.noisy.sampling import Draws, DrawStream

# Unequal replicas are halved, for the extrapolation of their bias, where all inputs have so many.
_FEWEST_UNEQUAL = 8
# A mixture of more numbers is laid out in parts, each time it is summed.
_MOST_KEPT = 2**24
_PER_PART = 2**21
# In single precision rows lie within so many sigma of their mean, else double is used.
_FARTHEST_SINGLE = 1000.0


@dataclass(frozen=True)
class Densities:
    """Logarithms of p(x) g_x(t), p(y) g_y(t) and g(t) at each draw."""

    input: np.ndarray
    label: np.ndarray
    total: np.ndarray

    @classmethod
    def add(
        cls, own: np.ndarray, group: np.ndarray, label: np.ndarray, other: np.ndarray
    ) -> Densities:
        """Add the disjoint sums."""
        of_input = np.logaddexp(own, group)
        of_label = np.logaddexp(of_input, label)
        return cls(of_input, of_label, np.logaddexp(of_label, other))


@dataclass(frozen=True)
class DrawSums:
    """Natural logarithms of the four disjoint sums of each draw, and of its half of the replicas.

    All are relative to the density of the noise at the draw, so the own row's sum is its weight.
    Arrays are of shape (N_RANDOMISATIONS, m).
    """

    # The disjoint sums; -inf where there is nothing to add.
    own: np.ndarray
    group: np.ndarray
    label: np.ndarray
    other: np.ndarray
    # (N_RANDOMISATIONS, m, 3), or None: group, label and other, over the half of all replicas that
    # the own row belongs to.
    half: np.ndarray | None
    # Rows of the draw's input in that half, and in all.
    half_replicas: np.ndarray
    replicas: np.ndarray
    # p(x) and p(y) of the draw.
    input_weight: np.ndarray
    label_weight: np.ndarray
    # A number of mean exactly 0 that varies as the information does: what it would be at this draw,
    # less its mean, were T Gaussian of the same covariance.
    control: np.ndarray

    @cached_property
    def all_data(self) -> Densities:
        """The mixtures of all rows: the plug-in."""
        return Densities.add(self.own, self.group, self.label, self.other)

    @cached_property
    def half_data(self) -> Densities | None:
        """The mixtures of the half that holds the own row."""
        if self.half is None:
            return None
        group, label, other = np.moveaxis(self.half, -1, 0)
        share = np.log(self.replicas / self.half_replicas)
        # With equally many replicas all inputs are halved alike; else the others' halves, some
        # larger and some smaller, are taken for half.
        others = share if np.ptp(self.replicas) == 0 else np.log(2.0)
        return Densities.add(self.own + share, group + share, label + others, other + others)

    @cached_property
    def without_own_row(self) -> Densities:
        """The mixtures without the own row, whose input keeps its weight."""
        with np.errstate(divide="ignore"):
            group = self.group + np.log(self.replicas / np.maximum(self.replicas - 1, 1))
        return Densities.add(np.full_like(group, -np.inf), group, self.label, self.other)

    @cached_property
    def without_own_input(self) -> Densities:
        """The mixtures without any replica of the own input, not renormalised."""
        nothing = np.full_like(self.own, -np.inf)
        return Densities.add(nothing, nothing, self.label, self.other)


@dataclass(frozen=True)
class _Half:
    """Which rows belong to a half, and where they stand in it."""

    members: np.ndarray  # (n_members,): the rows, in order; those of an input are neighbours
    # (n,): where each row stands; negative, far below, for rows of the other half.
    positions: np.ndarray
    spans: np.ndarray  # (n_inputs, 2): first and one past the last position of each input

    @classmethod
    def of(cls, members: np.ndarray, inputs: np.ndarray) -> _Half:
        positions = np.full(len(inputs), -len(inputs), dtype=np.int64)
        positions[members] = np.arange(len(members))
        spans = np.zeros((int(inputs.max()) + 1, 2), dtype=np.int64)
        begins = np.flatnonzero(np.diff(inputs[members], prepend=-1))
        spans[inputs[members[begins]], 0] = begins
        spans[inputs[members[begins]], 1] = np.append(begins[1:], len(members))
        return cls(members, positions, spans)


@dataclass(frozen=True)
class Mixture:
    """The mixture of Gaussians around rows of activations, ready to be summed."""

    rows: Rows  # the rows as they were given
    subspace: Subspace  # the directions in which they vary
    # (n,): neighbours in space are neighbours here, unless the rows are too many to be kept sorted.
    order: np.ndarray
    # (n,): two halves of every input's replicas where inputs have replicas; 0 elsewhere.
    half_of_row: np.ndarray

    @classmethod
    def of(cls, rows: Rows, sigma: float, order: np.ndarray | None = None) -> Mixture:
        """Reduce and sort the rows; ``order`` is that of a mixture of the same rows."""
        subspace = Subspace.of(rows, sigma)
        if order is None:
            few = len(rows.points) * subspace.rank <= _MOST_KEPT
            keys = (rows.inputs,) if rows.labels is None else (rows.inputs, rows.labels)
            order = order_rows(rows) if few else np.lexsort(keys)
        equal = np.ptp(rows.replicas) == 0
        if rows.has_replicas and (equal or rows.replicas.min() >= _FEWEST_UNEQUAL):
            half_of_row = rows.replica_numbers % 2
        else:
            half_of_row = np.zeros(len(order), dtype=np.int64)
        return cls(rows, subspace, order, half_of_row)

    @property
    def n_halves(self) -> int:
        """Into how many parts the replicas of each input are divided, 1 or 2."""
        return int(self.half_of_row.max()) + 1

    @cached_property
    def in_subspace(self) -> Rows:
        """The rows in their subspace, in units of sigma."""
        return replace(self.rows, points=self.subspace.project(self.rows.points))

    def layouts(self, half: int, farthest: float = 0.0) -> Iterator[tuple[int, Layout]]:
        """Rows of one half in blocks, at once or part by part, and the position of the first.

        They are for queries no farther than ``farthest`` from the mean, in units of sigma.
        """
        members, dtype = self._halves[half].members, self._dtype(farthest)
        kept = len(self.order) * self.subspace.rank <= _MOST_KEPT
        if kept and dtype == self._dtype(0.0):
            yield 0, self._whole_layouts[half]
            return
        step = len(members) if kept else max(1, _PER_PART // (WIDE * self.subspace.rank)) * WIDE
        for start in range(0, len(members), step):
            yield start, lay_out(self.rows, members[start : start + step], self.subspace, dtype)

    def _dtype(self, farthest: float) -> np.dtype:
        """Single precision for rows that came so, as long as its digits do."""
        single = self.rows.points.dtype == np.float32
        near = max(self.subspace.radius, farthest) < _FARTHEST_SINGLE
        return np.dtype(np.float32 if single and near else np.float64)

    @cached_property
    def _whole_layouts(self) -> list[Layout]:
        dtype = self._dtype(0.0)
        return [lay_out(self.rows, half.members, self.subspace, dtype) for half in self._halves]

    @cached_property
    def _halves(self) -> list[_Half]:
        half = self.half_of_row[self.order]
        return [_Half.of(self.order[half == h], self.rows.inputs) for h in range(self.n_halves)]

    def draw_stream(self, seed: int, spread: float = 1.0) -> DrawStream:
        """Start drawing from the mixture."""
        return DrawStream(self.rows.weights, self.order, self.subspace.rank, seed, spread)

    def sums_at(self, draws: Draws, *, population: bool, n_jobs: int | None) -> DrawSums:
        """Evaluate the four disjoint sums at draws from the mixture's own rows."""
        drawn = draws.rows.ravel()
        noise = draws.noise.reshape(len(drawn), -1)
        # Neighbours after one another: what one query reads is still near for the next.
        turns = np.argsort(self._position[drawn], kind="stable")
        queries = self._queries(drawn[turns], noise[turns], population=population)
        halves = np.full((self.n_halves, len(drawn), 3), -np.inf)
        for half in range(self.n_halves):
            for start, layout in self.layouts(half):
                placed = self._placed(queries, drawn[turns], half, start, layout)
                sums = layout.sum_at(placed, n_jobs)
                halves[half, turns] = np.logaddexp2(halves[half, turns], sums)
        return self._draw_sums(draws, halves * LOG2)

    def _queries(self, drawn: np.ndarray, noise: np.ndarray, *, population: bool) -> Queries:
        """Draws as the kernels read them, without the slots of their rows."""
        points = (self.subspace.project(self.rows.points[drawn]) + noise) * BINARY
        references = np.einsum("ni,ni->n", noise, noise) * BINARY**2
        queries = Queries.at(points, references, nested=not population)
        # With other replicas the own row does not count as a reference: the ends leave it out.
        if population or self.rows.has_replicas:
            return queries
        return queries._replace(floors=np.log2(self.rows.weights[drawn]))

    def _placed(
        self, queries: Queries, drawn: np.ndarray, half: int, start: int, layout: Layout
    ) -> Queries:
        """The same queries with the slots of their rows; the layout's first position is start."""
        members = self._halves[half]
        return queries._replace(
            own=layout.slots_of(members.positions[drawn] - start),
            group_slots=layout.spans_of(members.spans[self.rows.inputs[drawn]] - start),
            label_blocks=layout.label_blocks[self._labels[drawn]],
        )

    def _draw_sums(self, draws: Draws, halves: np.ndarray) -> DrawSums:
        """Add the sums of the halves, (n_halves, n_draws, 3), and look up the draws' weights."""
        rows, shape = self.rows, draws.rows.shape
        drawn = draws.rows.ravel()
        input_of = rows.inputs[drawn]
        own_half, half_replicas = None, np.ones(len(drawn))
        if self.n_halves == 2:
            which = self.half_of_row[drawn]
            own_half = halves[which, np.arange(len(drawn))].reshape(*shape, 3)
            half_replicas = np.bincount(rows.inputs * 2 + self.half_of_row)[input_of * 2 + which]
        group, label, other = np.logaddexp.reduce(halves, axis=0).T.reshape(3, *shape)
        label_weight = np.ones(len(drawn))
        if rows.label_weights is not None:
            label_weight = rows.label_weights[self._labels[drawn]]
        return DrawSums(
            own=np.log(rows.weights[drawn]).reshape(shape),
            group=group,
            label=label,
            other=other,
            half=own_half,
            half_replicas=half_replicas.reshape(shape),
            replicas=rows.replicas[input_of].reshape(shape).astype(np.float64),
            input_weight=rows.input_weights[input_of].reshape(shape),
            label_weight=label_weight.reshape(shape),
            control=self._control(drawn, draws.noise.reshape(len(drawn), -1)).reshape(shape),
        )

    def _control(self, drawn: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Half of t' C^-1 t - |z|^2 with C the covariance of T: both terms have mean rank."""
        t = self.subspace.project(self.rows.points[drawn]) + noise
        return 0.5 * (self.subspace.standardised_squares(t) - np.einsum("ni,ni->n", noise, noise))

    @cached_property
    def _position(self) -> np.ndarray:
        """Where each row stands in the order."""
        position = np.empty(len(self.order), dtype=np.int64)
        position[self.order] = np.arange(len(self.order))
        return position

    @cached_property
    def _labels(self) -> np.ndarray:
        labels = self.rows.labels
        return np.zeros(len(self.order), dtype=np.int64) if labels is None else labels

    def log_ratios(
        self,
        points: np.ndarray,
        references: np.ndarray,
        n_jobs: int | None,
        *,
        in_double: bool = False,
    ) -> np.ndarray:
        """Logarithm of the mixture at any points of the subspace, times exp(references).

        The factor (2 pi)^(-rank / 2) is left out. ``points`` are in units of sigma. Far from all
        rows the logarithm is large, and single precision rounds it by 1e-7 of itself.
        """
        queries = Queries.at(points * BINARY, references / LOG2)
        total = np.full(len(points), -np.inf)
        farthest = float(np.sqrt(np.einsum("ni,ni->n", points, points).max(initial=0.0)))
        if in_double:
            farthest = np.inf
        for half in range(self.n_halves):
            for _, layout in self.layouts(half, farthest):
                total = np.logaddexp2(total, layout.sum_at(queries, n_jobs)[:, 2])
        return total * LOG2

    def log_density(self, points: np.ndarray, n_jobs: int | None = None) -> np.ndarray:
        """Logarithm of g at points of the layer's full space, in nats."""
        projected = self.subspace.project(points)
        logs = self.log_ratios(projected, np.zeros(len(points)), n_jobs, in_double=True)
        constant = 0.5 * self.subspace.dimension * np.log(2 * np.pi * self.subspace.sigma**2)
        return logs - 0.5 * self.subspace.squared_distances(points) - constant
