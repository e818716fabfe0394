"""The mixture of Gaussians around the rows of a layer, summed at noisy draws."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from skinfo._rows import Rows
from skinfo.noise import AdditiveNoise, Noise
from skinfo.noisy.channel import Components
from skinfo.noisy.kernels.blocks import WIDE, Queries
from skinfo.noisy.layout import BINARY, LOG2, Layout, RowSpan, Subspace, lay_out, order_rows
from skinfo.noisy.parts import FewRows, Part, spans_of
from skinfo.noisy.sampling import N_RANDOMISATIONS, Draws, DrawStream
from skinfo.noisy.sums import DrawSums
from skinfo.noisy.units import ScaledUnits

# A mixture of more numbers is laid out in parts, each time it is summed; a device keeps them all.
_MOST_KEPT = 2**24
_PER_PART = 2**21
# Draws of so many numbers are taken at once.
_MOST_DRAWN = 2**22
# Strata of more rows have blocks of their own.
_FEW = 256
# In single precision rows lie within so many sigma of their mean, else double is used.
_FARTHEST_SINGLE = 1000.0


@dataclass(frozen=True)
class Mixture:
    """The mixture of Gaussians around rows of activations, ready to be summed."""

    components: Components  # the rows as Gaussians, with what the noise makes of them
    # The directions in which they vary, where all have the same noise; else the units that differ.
    space: Subspace | ScaledUnits
    # (n,): rows of a stratum are neighbours, and so are those that lie near each other in it,
    # unless they are too many to be kept sorted.
    order: np.ndarray
    device: str | None = None  # of torch, for the sums; None for the compiled engine

    @classmethod
    def of(
        cls, rows: Rows, noise: Noise | float, order: np.ndarray | None = None, *,
        device: str | None = None, n_jobs: int | None = None,
    ) -> Mixture:  # fmt: skip
        """Reduce and sort the rows; ``order`` is that of a mixture of the same rows.

        A number is the sigma of additive noise.
        """
        components = Components.of(
            rows, noise if isinstance(noise, Noise) else AdditiveNoise(noise)
        )
        rows = components.rows
        space: Subspace | ScaledUnits
        if rows.deviations is None:
            space = Subspace.of(rows, components.channel.sigma or 1.0, n_jobs)
        else:
            space = ScaledUnits.of(rows, rows.deviations)
        if order is None:
            order = _sorted(components, space)
        return cls(components, space, order, device)

    @property
    def rows(self) -> Rows:
        """The rows in the coordinates in which their noise is Gaussian."""
        return self.components.rows

    @cached_property
    def most_information(self) -> float:
        """What I(X;T) cannot exceed, whatever the law, given covariance and noise, in nats."""
        if self.components.strata is None:
            return self.space.gaussian_information
        return self.components.most_information()

    @cached_property
    def in_space(self) -> Rows:
        """The rows in their space, in units of sigma or of the units' scales."""
        points = self.space.place(self.rows, slice(None))
        return replace(self.rows, points=points, deviations=self._deviations)

    @property
    def _deviations(self) -> np.ndarray | None:
        return self.space.deviations if isinstance(self.space, ScaledUnits) else None

    def layouts(self, part: int, farthest: float = 0.0) -> Iterator[tuple[int | None, int, Layout]]:
        """Rows of one part in blocks, at once or portion by portion.

        With each the stratum, None where there is one, and the position of its first row. They are
        for queries no farther than ``farthest`` from the mean, in units of sigma.
        """
        dtype = self._dtype(farthest)
        kept = self.device is not None or self._is_kept
        if kept and dtype == self._dtype(0.0):
            yield from self._kept_layouts[part]
        else:
            yield from self._laid_out(part, dtype)

    @property
    def _is_kept(self) -> bool:
        """Whether the rows are laid out once: they are few, or were copied into a span already."""
        few = len(self.order) * self.space.rank <= _MOST_KEPT
        return few or (isinstance(self.space, Subspace) and isinstance(self.space.span, RowSpan))

    def portions_of(self, m: int) -> list[int]:
        """Split m draws per randomisation: no portion holds many numbers beside the rows."""
        of_draw = N_RANDOMISATIONS * max(self.space.rank, 1)
        most = max(_MOST_DRAWN, len(self.order) * self.space.rank // 4)
        portion = min(m, 2 ** int(np.log2(max(1, most // of_draw))))
        return [portion] * (m // portion)

    def _laid_out(self, part: int, dtype: np.dtype) -> Iterator[tuple[int | None, int, Layout]]:
        rows, members = self._parts[part].rows, self._parts[part].members
        most = _PER_PART if self.device is None else _MOST_KEPT
        portion = max(1, most // (WIDE * max(self.space.rank, 1))) * WIDE
        for stratum, first, last in self._large_strata(part):
            step = last - first if self._is_kept else portion
            for start in range(first, last, step):
                some = members[start : min(start + step, last)]
                yield stratum, start, lay_out(rows, some, self.space, dtype, self.device)

    def _large_strata(self, part: int) -> list[tuple[int | None, int, int]]:
        """Strata that have blocks of their own: each with the first and one past its last row."""
        members = self._parts[part].members
        strata = self.components.strata
        if strata is None:
            return [(None, 0, len(members))]
        spans = spans_of(strata[members], int(strata.max()) + 1)
        large = np.flatnonzero(spans[:, 1] - spans[:, 0] > _FEW)
        return [(int(k), int(spans[k, 0]), int(spans[k, 1])) for k in large]

    def _dtype(self, farthest: float) -> np.dtype:
        """Single precision for rows that came so, as long as its digits do and noise is shared."""
        if isinstance(self.space, ScaledUnits):
            return np.dtype(np.float64)
        single = self.rows.points.dtype == np.float32
        near = max(self.space.radius, farthest) < _FARTHEST_SINGLE
        return np.dtype(np.float32 if single and near else np.float64)

    @cached_property
    def _kept_layouts(self) -> list[list[tuple[int | None, int, Layout]]]:
        dtype = self._dtype(0.0)
        return [list(self._laid_out(part, dtype)) for part in range(len(self._parts))]

    @cached_property
    def _few_rows(self) -> list[FewRows | None]:
        """Of each part the rows of strata without blocks; None where there is one stratum."""
        strata = self.components.strata
        if strata is None:
            return [None] * len(self._parts)
        n_strata = int(strata.max()) + 1
        few_rows: list[FewRows | None] = []
        for part, p in enumerate(self._parts):
            large = [stratum for stratum, _, _ in self._large_strata(part)]
            members = p.members[~np.isin(strata[p.members], np.array(large, dtype=np.int64))]
            points = self.space.place(self.rows, members) * BINARY
            widths, volumes = None, np.zeros(len(members))
            if isinstance(self.space, ScaledUnits):
                widths = 1 / self.space.deviations[members]
                volumes = self.space.log_volumes[members] / LOG2
            few_rows.append(
                FewRows(members, spans_of(strata[members], n_strata), points, widths, volumes)
            )
        return few_rows

    @cached_property
    def _cells(self) -> np.ndarray:
        """Input and stratum of each row as one number."""
        return self.components.cells(self.rows.inputs)

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
    def _parts(self) -> list[Part]:
        """The halves, where inputs have equally many rows; else all rows, then the halves.

        Halves beside the whole have the weights of their inputs restored. An input of one row
        belongs to both.
        """
        rows, half = self.rows, self.half_of_row[self.order]
        if not rows.has_replicas:
            return [Part.of(self.order, rows, self._cells)]
        if self._equal_replicas:
            return [Part.of(self.order[half == h], rows, self._cells) for h in (0, 1)]
        restored = replace(rows, weights=rows.weights * np.exp(self._half_share))
        alone = rows.replicas[rows.inputs[self.order]] == 1
        halves = [Part.of(self.order[(half == h) | alone], restored, self._cells) for h in (0, 1)]
        return [Part.of(self.order, rows, self._cells), *halves]

    @cached_property
    def _half_share(self) -> np.ndarray:
        """Logarithm of the input's rows over those of them in the row's half, (n,)."""
        halves = self.rows.inputs * 2 + self.half_of_row
        return np.log(self.rows.replicas[self.rows.inputs] / np.bincount(halves)[halves])

    def draw_stream(self, seed: int, spread: float = 1.0) -> DrawStream:
        """Start drawing from the mixture."""
        return DrawStream(self.rows.weights, self.order, self.space.rank, seed, spread)

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
            mine: slice | np.ndarray = slice(None)
            if part >= self._n_adding:
                mine = np.flatnonzero(self.half_of_row[drawn[turns]] == part - 1)
            rows = drawn[turns[mine]]
            strata = self.components.strata
            strata = None if strata is None else strata[rows]
            sums[part, turns[mine]] = self._sum_part(
                part, queries.take(mine), strata, rows, n_jobs=n_jobs
            )
        return self._draw_sums(draws, sums * LOG2)

    def _sum_part(
        self,
        part: int,
        queries: Queries,
        strata: np.ndarray | None,
        drawn: np.ndarray | None = None,
        *,
        farthest: float = 0.0,
        n_jobs: int | None,
    ) -> np.ndarray:
        """Sum the rows of one part at queries, each over its stratum; ``drawn`` are their rows."""
        sums = np.full((len(queries.points), 3), -np.inf)
        typed = queries._replace(points=queries.points.astype(self._dtype(farthest), copy=False))
        for stratum, start, layout in self.layouts(part, farthest):
            everywhere = stratum is None or strata is None
            inside = slice(None) if everywhere else np.flatnonzero(strata == stratum)
            placed = typed.take(inside)
            if drawn is not None:
                placed = self._placed(placed, drawn[inside], part, start, layout)
            sums[inside] = np.logaddexp2(sums[inside], layout.sum_at(placed, n_jobs))
        few_rows = self._few_rows[part]
        if few_rows is not None and strata is not None:
            of_few = few_rows.sum_at(queries, strata, drawn, self._parts[part].rows, n_jobs)
            sums = np.logaddexp2(sums, of_few)
        return sums

    def points_at(self, drawn: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Points of the space, (m, rank), at rows and standard normal noise."""
        centres = self.space.place(self.rows, drawn)
        if isinstance(self.space, ScaledUnits):
            return centres + noise * self.space.deviations[drawn]
        return centres + noise

    def _queries(self, drawn: np.ndarray, noise: np.ndarray, *, population: bool) -> Queries:
        """Draws as the kernels read them, without the slots of their rows."""
        points = self.points_at(drawn, noise) * BINARY
        references = np.einsum("ni,ni->n", noise, noise) * BINARY**2
        if isinstance(self.space, ScaledUnits):
            references += self.space.log_volumes[drawn] / LOG2
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
            group_slots=layout.spans_of(members.spans[self._cells[drawn]] - start),
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
        """Mean of the control at each row: half of s' C^-1 s less its mean, how far out it is."""
        space = self.space
        squares = space.standardised_squares(space.place(self.rows, rows))
        if isinstance(space, ScaledUnits):
            squares += space.deviations[rows] ** 2 @ np.diag(space.precision)
            return 0.5 * (squares - space.rank) - self._volumes(rows)
        return 0.5 * (squares - space.spectrum.linear_error)

    def _volumes(self, rows: np.ndarray) -> np.ndarray:
        """Logarithm of the volume of each row's noise less its mean."""
        space = self.space
        if isinstance(space, ScaledUnits):
            return space.log_volumes[rows] - space.mean_log_volume
        return np.zeros(len(rows))

    def _control(self, drawn: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """Half of t' C^-1 t - |z|^2 with C the covariance of T: both terms have mean rank."""
        squares = self.space.standardised_squares(self.points_at(drawn, noise))
        gaussian = 0.5 * (squares - np.einsum("ni,ni->n", noise, noise))
        return gaussian - self._volumes(drawn)

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
        points = self.points_at(drawn, noise)
        references = 0.5 * np.einsum("ni,ni->n", noise, noise)
        if isinstance(self.space, ScaledUnits):
            references += self.space.log_volumes[drawn]
        floors = floors.ravel()
        found = np.full((len(drawn), len(self._classes)), -np.inf)
        turns = np.argsort(self._position[drawn], kind="stable")
        for label, mixture in enumerate(self._classes):
            at = turns[self._labels[drawn[turns]] != label]
            if not len(at):
                continue
            strata = None if self.components.strata is None else self.components.strata[drawn[at]]
            found[at, label] = mixture.log_ratios(
                points[at], references[at], n_jobs, strata=strata, floors=floors[at]
            )
        return found.reshape(*draws.rows.shape, -1)

    def log_ratios(
        self,
        points: np.ndarray,
        references: np.ndarray,
        n_jobs: int | None,
        *,
        strata: np.ndarray | None = None,
        in_double: bool = False,
        floors: np.ndarray | None = None,
    ) -> np.ndarray:
        """Logarithm of the mixture at any points of the space, times exp(references).

        The factor (2 pi)^(-rank / 2) is left out. ``points`` are in units of sigma, or of the
        units' scales; ``strata`` are theirs. Far from all rows the logarithm is large, and single
        precision rounds it by 1e-7 of itself. What is negligible beside the logarithms ``floors``
        is left out.
        """
        queries = Queries.at(points * BINARY, references / LOG2)
        if floors is not None:
            queries = queries._replace(floors=floors / LOG2)
        total = np.full(len(points), -np.inf)
        farthest = float(np.sqrt(np.einsum("ni,ni->n", points, points).max(initial=0.0)))
        if in_double:
            farthest = np.inf
        for part in range(self._n_adding):
            sums = self._sum_part(part, queries, strata, farthest=farthest, n_jobs=n_jobs)
            total = np.logaddexp2(total, sums[:, 2])
        if strata is not None:
            total[strata < 0] = -np.inf
        return total * LOG2

    def log_density(self, values: np.ndarray, n_jobs: int | None = None) -> np.ndarray:
        """Logarithm of g at values of the layer, in nats; a unit without noise has a mass."""
        placed = self.components.channel.place(values)
        projected, space = self.space.project(placed.points), self.space
        logs = self.log_ratios(
            projected, np.zeros(len(values)), n_jobs, strata=placed.strata, in_double=True
        )
        volume = space.noise_entropy - 0.5 * space.dimension
        if isinstance(space, ScaledUnits):
            volume -= space.mean_log_volume
        off = 0.5 * space.squared_distances(placed.points)
        return logs - off - volume - placed.log_volumes


def _sorted(components: Components, space: Subspace | ScaledUnits) -> np.ndarray:
    """Rows by stratum, and in each large one by label and place; ``order_rows`` says how."""
    rows, strata = components.rows, components.strata
    keys = [rows.inputs] if rows.labels is None else [rows.inputs, rows.labels]
    keys += [] if strata is None else [strata]
    if len(rows.points) * space.rank > _MOST_KEPT:
        return np.lexsort(keys)
    if isinstance(space, ScaledUnits):
        rows = replace(rows, points=space.project(rows.points))
    if strata is None:
        return order_rows(rows)
    order = np.lexsort(keys)
    for first, last in spans_of(strata[order], int(strata.max()) + 1):
        if last - first > _FEW:
            members = order[first:last]
            order[first:last] = members[order_rows(rows.take(members))]
    return order
