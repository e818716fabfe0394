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
    # (N_RANDOMISATIONS, m, 4), or None: the same over the half of all replicas that the own row
    # belongs to, where every input has the weight that it has in all.
    half: np.ndarray | None
    replicas: np.ndarray  # rows of the draw's input
    # p(x) and p(y) of the draw.
    input_weight: np.ndarray
    label_weight: np.ndarray
    # A number of mean exactly 0 that varies as the information does: what it would be at this draw,
    # less its mean, were T Gaussian of the same covariance.
    control: np.ndarray
    leverage: np.ndarray  # the part of the control that depends on the row alone; its mean is 0

    @cached_property
    def all_data(self) -> Densities:
        """The mixtures of all rows: the plug-in."""
        return Densities.add(self.own, self.group, self.label, self.other)

    @cached_property
    def half_data(self) -> Densities | None:
        """The mixtures of the half that holds the own row."""
        if self.half is None:
            return None
        return Densities.add(*np.moveaxis(self.half, -1, 0))

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
class _Part:
    """Rows that are summed together, and where they stand among themselves."""

    members: np.ndarray  # (n_members,): the rows, in order; those of an input are neighbours
    # (n,): where each row stands; negative, far below, for rows of other parts.
    positions: np.ndarray
    spans: np.ndarray  # (n_inputs, 2): first and one past the last position of each input
    rows: Rows  # all rows, with the weights that they have in this part

    @classmethod
    def of(cls, members: np.ndarray, rows: Rows) -> _Part:
        inputs = rows.inputs
        positions = np.full(len(inputs), -len(inputs), dtype=np.int64)
        positions[members] = np.arange(len(members))
        spans = np.zeros((int(inputs.max()) + 1, 2), dtype=np.int64)
        begins = np.flatnonzero(np.diff(inputs[members], prepend=-1))
        spans[inputs[members[begins]], 0] = begins
        spans[inputs[members[begins]], 1] = np.append(begins[1:], len(members))
        return cls(members, positions, spans, rows)


@dataclass(frozen=True)
class Mixture:
    """The mixture of Gaussians around rows of activations, ready to be summed."""

    rows: Rows  # the rows as they were given
    subspace: Subspace  # the directions in which they vary
    # (n,): neighbours in space are neighbours here, unless the rows are too many to be kept sorted.
    order: np.ndarray

    @classmethod
    def of(cls, rows: Rows, sigma: float, order: np.ndarray | None = None) -> Mixture:
        """Reduce and sort the rows; ``order`` is that of a mixture of the same rows."""
        subspace = Subspace.of(rows, sigma)
        if order is None:
            few = len(rows.points) * subspace.rank <= _MOST_KEPT
            keys = (rows.inputs,) if rows.labels is None else (rows.inputs, rows.labels)
            order = order_rows(rows) if few else np.lexsort(keys)
        return cls(rows, subspace, order)

    @cached_property
    def in_subspace(self) -> Rows:
        """The rows in their subspace, in units of sigma."""
        return replace(self.rows, points=self.subspace.project(self.rows.points))

    def layouts(self, part: int, farthest: float = 0.0) -> Iterator[tuple[int, Layout]]:
        """Rows of one part in blocks, at once or portion by portion, and the position of the first.

        They are for queries no farther than ``farthest`` from the mean, in units of sigma.
        """
        members, dtype = self._parts[part].members, self._dtype(farthest)
        kept = len(self.order) * self.subspace.rank <= _MOST_KEPT
        if kept and dtype == self._dtype(0.0):
            yield 0, self._whole_layouts[part]
            return
        step = len(members) if kept else max(1, _PER_PART // (WIDE * self.subspace.rank)) * WIDE
        for start in range(0, len(members), step):
            rows = self._parts[part].rows
            yield start, lay_out(rows, members[start : start + step], self.subspace, dtype)

    def _dtype(self, farthest: float) -> np.dtype:
        """Single precision for rows that came so, as long as its digits do."""
        single = self.rows.points.dtype == np.float32
        near = max(self.subspace.radius, farthest) < _FARTHEST_SINGLE
        return np.dtype(np.float32 if single and near else np.float64)

    @cached_property
    def _whole_layouts(self) -> list[Layout]:
        dtype = self._dtype(0.0)
        return [lay_out(p.rows, p.members, self.subspace, dtype) for p in self._parts]

    @cached_property
    def half_of_row(self) -> np.ndarray:
        """Two halves of every input's replicas, 0 and 1; all 0 where inputs have none."""
        return self.rows.replica_numbers % 2

    @cached_property
    def _equal_replicas(self) -> bool:
        return bool(np.ptp(self.rows.replicas) == 0)

    @property
    def _n_adding(self) -> int:
        """How many parts, the first ones, add up to all rows."""
        return 2 if self.rows.has_replicas and self._equal_replicas else 1

    @cached_property
    def _parts(self) -> list[_Part]:
        """The halves, where inputs have equally many rows; else all rows, then the halves.

        Halves beside the whole have the weights of their inputs restored. An input of one row
        belongs to both.
        """
        rows, half = self.rows, self.half_of_row[self.order]
        if not rows.has_replicas:
            return [_Part.of(self.order, rows)]
        if self._equal_replicas:
            return [_Part.of(self.order[half == h], rows) for h in (0, 1)]
        restored = replace(rows, weights=rows.weights * np.exp(self._half_share))
        alone = rows.replicas[rows.inputs[self.order]] == 1
        halves = [_Part.of(self.order[(half == h) | alone], restored) for h in (0, 1)]
        return [_Part.of(self.order, rows), *halves]

    @cached_property
    def _half_share(self) -> np.ndarray:
        """Logarithm of the input's rows over those of them in the row's half, (n,)."""
        halves = self.rows.inputs * 2 + self.half_of_row
        return np.log(self.rows.replicas[self.rows.inputs] / np.bincount(halves)[halves])

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
        sums = np.full((len(self._parts), len(drawn), 3), -np.inf)
        for part in range(len(self._parts)):
            # Beside the whole a half serves its own rows alone.
            mine = np.arange(len(drawn))
            if part >= self._n_adding:
                mine = np.flatnonzero(self.half_of_row[drawn[turns]] == part - 1)
            for start, layout in self.layouts(part):
                placed = self._placed(queries.take(mine), drawn[turns[mine]], part, start, layout)
                at = part, turns[mine]
                sums[at] = np.logaddexp2(sums[at], layout.sum_at(placed, n_jobs))
        return self._draw_sums(draws, sums * LOG2)

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
        self, queries: Queries, drawn: np.ndarray, part: int, start: int, layout: Layout
    ) -> Queries:
        """The same queries with the slots of their rows; the layout's first position is start."""
        members = self._parts[part]
        return queries._replace(
            own=layout.slots_of(members.positions[drawn] - start),
            group_slots=layout.spans_of(members.spans[self.rows.inputs[drawn]] - start),
            label_blocks=layout.label_blocks[self._labels[drawn]],
        )

    def _draw_sums(self, draws: Draws, sums: np.ndarray) -> DrawSums:
        """Add the sums of the parts, (n_parts, n_draws, 3), and look up the draws' weights."""
        rows, shape = self.rows, draws.rows.shape
        drawn = draws.rows.ravel()
        input_of = rows.inputs[drawn]
        own = np.log(rows.weights[drawn])
        half = None
        if rows.has_replicas:
            share = self._half_share[drawn]
            rest = sums[self.half_of_row[drawn] - 2, np.arange(len(drawn))]
            restored = rest + share[:, None] if self._equal_replicas else rest
            half = np.column_stack([own + share, restored]).reshape(*shape, 4)
        group, label, other = np.logaddexp.reduce(sums[: self._n_adding], axis=0).T.reshape(
            3, *shape
        )
        label_weight = np.ones(len(drawn))
        if rows.label_weights is not None:
            label_weight = rows.label_weights[self._labels[drawn]]
        return DrawSums(
            own=own.reshape(shape),
            group=group,
            label=label,
            other=other,
            half=half,
            replicas=rows.replicas[input_of].reshape(shape).astype(np.float64),
            input_weight=rows.input_weights[input_of].reshape(shape),
            label_weight=label_weight.reshape(shape),
            control=self._control(drawn, draws.noise.reshape(len(drawn), -1)).reshape(shape),
            leverage=self.leverages(drawn).reshape(shape),
        )

    def leverages(self, rows: np.ndarray) -> np.ndarray:
        """Half of s' C^-1 s less its mean: how far out each row is."""
        s = self.subspace.project(self.rows.points[rows])
        mean = self.subspace.rank - np.trace(self.subspace.precision)
        return 0.5 * (self.subspace.standardised_squares(s) - mean)

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

    @cached_property
    def _classes(self) -> list[Mixture]:
        """The rows of each class alone, with the weights that they have among all."""
        in_order = self._labels[self.order]
        return [replace(self, order=self.order[in_order == label]) for label in np.unique(in_order)]

    def class_sums(self, draws: Draws, floors: np.ndarray, n_jobs: int | None) -> np.ndarray:
        """Logarithm of p(c) g_c(t) of every class but the own at draws from the mixture's own rows.

        They are relative as the sums of :meth:`sums_at`, of shape (N_RANDOMISATIONS, m, n_classes);
        -inf for the own class. What is negligible beside the logarithms ``floors``,
        (N_RANDOMISATIONS, m), is left out.
        """
        drawn = draws.rows.ravel()
        noise = draws.noise.reshape(len(drawn), -1)
        points = self.subspace.project(self.rows.points[drawn]) + noise
        references = 0.5 * np.einsum("ni,ni->n", noise, noise)
        floors = floors.ravel()
        found = np.full((len(drawn), len(self._classes)), -np.inf)
        turns = np.argsort(self._position[drawn], kind="stable")
        for label, mixture in enumerate(self._classes):
            at = turns[self._labels[drawn[turns]] != label]
            if not len(at):
                continue
            found[at, label] = mixture.log_ratios(
                points[at], references[at], n_jobs, floors=floors[at]
            )
        return found.reshape(*draws.rows.shape, -1)

    def log_ratios(
        self,
        points: np.ndarray,
        references: np.ndarray,
        n_jobs: int | None,
        *,
        in_double: bool = False,
        floors: np.ndarray | None = None,
    ) -> np.ndarray:
        """Logarithm of the mixture at any points of the subspace, times exp(references).

        The factor (2 pi)^(-rank / 2) is left out. ``points`` are in units of sigma. Far from all
        rows the logarithm is large, and single precision rounds it by 1e-7 of itself. What is
        negligible beside the logarithms ``floors`` is left out.
        """
        queries = Queries.at(points * BINARY, references / LOG2)
        if floors is not None:
            queries = queries._replace(floors=floors / LOG2)
        total = np.full(len(points), -np.inf)
        farthest = float(np.sqrt(np.einsum("ni,ni->n", points, points).max(initial=0.0)))
        if in_double:
            farthest = np.inf
        for part in range(self._n_adding):
            for _, layout in self.layouts(part, farthest):
                total = np.logaddexp2(total, layout.sum_at(queries, n_jobs)[:, 2])
        return total * LOG2

    def log_density(self, points: np.ndarray, n_jobs: int | None = None) -> np.ndarray:
        """Logarithm of g at points of the layer's full space, in nats."""
        projected = self.subspace.project(points)
        logs = self.log_ratios(projected, np.zeros(len(points)), n_jobs, in_double=True)
        constant = self.subspace.noise_entropy - 0.5 * self.subspace.dimension
        return logs - 0.5 * self.subspace.squared_distances(points) - constant
