"""How the rows of a mixture are stored and summed: their directions, their order, their blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from scipy.linalg import cholesky, lapack, solve_triangular
from sklearn.utils.extmath import randomized_svd

from skinfo._numba import in_order, slices_of
from skinfo._rows import Rows
from skinfo.noisy.kernels.blocks import (
    BLOCK,
    BLOCKS_PER_WIDE,
    NEGLIGIBLE,
    SUPERBLOCK,
    WIDE,
    Blocks,
    Boxes,
    Queries,
    sort_segments_kd,
)
from skinfo.noisy.kernels.dense import COARSEST, Arithmetic, sum_densely
from skinfo.noisy.kernels.skipping import sum_by_skipping

if TYPE_CHECKING:
    from skinfo.noisy.kernels.torch_sums import TorchBlocks
    from skinfo.noisy.units import ScaledUnits

#: With lengths in units of sigma, this factor turns exp(-x^2 / 2) into 2^(-x^2).
BINARY = float(np.sqrt(0.5 / np.log(2.0)))
#: Kernels take logarithms to base 2; this factor makes them natural.
LOG2 = float(np.log(2.0))
#: Beyond so many sigma from the mean a coordinate's rounding is no longer small against the noise.
RESOLVED = 1e11
# Directions whose variance, in units of sigma^2, is below this are dropped.
_FLAT = 1e-12
# A variance is resolved by the covariance where it exceeds so small a share of the largest.
_RESOLVED_SHARE = 1e-8
# More rows than this, and yet fewer than units, are placed by their products, where rounding moves
# no squared distance by more, in units of sigma^2; else by singular vectors, which take far longer.
_MANY = 512
_MOST_ROUNDING = {"float64": 1e-8, "float32": 1e-4}
_EPSILON = float(np.finfo(np.float64).eps)
# Then the variances are known along so many principal directions, in all others on average.
_PRINCIPAL = 128
# Numbers that are turned to double precision at a time: a megabyte, which a core keeps at hand.
_AT_A_TIME = 2**17
# Queries that tell which kernel to take, and the share of blocks from which on products are faster.
_PILOTS = 8
_DENSE = 0.3
_ARITHMETIC = {
    "float64": Arithmetic(rounding=4e-16, tolerance=1e-11, least=-900.0, most=900.0),
    "float32": Arithmetic(rounding=2e-7, tolerance=1e-4, least=-70.0, most=60.0),
}


class Spectrum(NamedTuple):
    """Variances of the rows along principal directions, in units of sigma^2."""

    # (rank, k): orthonormal; None where they are the coordinates.
    directions: np.ndarray | None
    variances: np.ndarray  # (k,)
    # The mean variance along the directions that are left, and how many these are.
    elsewhere: float = 0.0
    n_elsewhere: int = 0

    @classmethod
    def of(cls, centred: np.ndarray, weights: np.ndarray) -> Spectrum:
        """Find the most principal directions of rows in a subspace."""
        rank = centred.shape[1]
        k = min(_PRINCIPAL, rank)
        weighted = centred * np.sqrt(weights)[:, None]
        total = np.einsum("ni,ni->", weighted, weighted)
        directions = randomized_svd(weighted, k, random_state=0)[2].T
        # Measured along them: they are not quite the principal ones.
        variances = np.sum((weighted @ directions) ** 2, axis=0)
        left = max(0.0, float(total - variances.sum()))
        return cls(directions, variances, left / max(rank - k, 1), rank - k)

    @property
    def linear_error(self) -> float:
        """Sum of v / (1 + v) over all variances v; too large by what their mean elsewhere hides."""
        seen = float((self.variances / (1 + self.variances)).sum())
        return seen + self.n_elsewhere * self.elsewhere / (1 + self.elsewhere)

    def standardised_squares(self, points: np.ndarray) -> np.ndarray:
        """Compute t' C^-1 t with C = I + Cov(S) / sigma^2, t in the subspace, in units of sigma."""
        along = points if self.directions is None else points @ self.directions
        precisions = 1 / (1 + self.variances)
        if not self.n_elsewhere:
            return np.asarray(along**2 @ precisions)
        rest = 1 / (1 + self.elsewhere)
        return along**2 @ (precisions - rest) + rest * np.einsum("ni,ni->n", points, points)


class RowSpan(NamedTuple):
    """The span of rows that are fewer than units."""

    points: np.ndarray  # (n, d): the rows
    pivots: np.ndarray  # (rank,): those that span it
    # (n, rank): all rows in it, in units of sigma and from their mean: the Cholesky factor of
    # their products.
    coordinates: np.ndarray

    @classmethod
    def of(
        cls, rows: Rows, origin: np.ndarray, sigma: float, n_jobs: int | None
    ) -> tuple[RowSpan, float]:
        """Factorise the products, the farthest row from the span of others next.

        Gives log det(I + Cov(S) / sigma^2) / 2 as well.
        """
        n = len(rows.points)
        products = _products(rows.points, origin, sigma, n_jobs)
        roots = np.sqrt(rows.weights)
        weighted = products * roots
        weighted *= roots[:, None]
        weighted[np.diag_indices(n)] += 1
        # What is lower by rows is upper by columns, the order of LAPACK.
        root = cholesky(weighted.T, lower=False, overwrite_a=True, check_finite=False)
        information = float(np.log(root.diagonal()).sum())
        del weighted, root
        least = max(_FLAT, n * _EPSILON * products.diagonal().max())
        factor, order, rank, _ = lapack.dpstrf(products.T, tol=least, lower=0, overwrite_a=1)
        # Less their mean, rows span one direction fewer than they are, whatever rounding leaves.
        rank = min(rank, n - 1)
        coordinates = np.zeros((n, rank))
        for k, row in enumerate(order - 1):
            coordinates[row, : k + 1] = factor[: min(k + 1, rank), k]
        return cls(rows.points, order[:rank] - 1, coordinates), information

    def basis(self, origin: np.ndarray, sigma: float) -> np.ndarray:
        """Orthonormal directions, (d, rank), in which the rows have these coordinates."""
        basis = (self.points[self.pivots] - origin) / sigma
        # The second time removes what rounding left of nearly parallel rows in the first.
        for _ in range(2):
            root = cholesky(basis @ basis.T, lower=True, overwrite_a=True, check_finite=False)
            basis = solve_triangular(root, basis, lower=True, overwrite_b=True, check_finite=False)
        return basis.T


def _products(
    points: np.ndarray, origin: np.ndarray, sigma: float, n_jobs: int | None
) -> np.ndarray:
    """Products of all rows, (n, n), in units of sigma^2; above the diagonal they are not filled."""
    n = len(points)
    products = np.zeros((n, n))

    def fill(tile: tuple[slice, slice]) -> None:
        left, right = ((points[part] - origin) / sigma for part in tile)
        products[tile] = left @ right.T

    parts = slices_of(n)
    list(in_order(fill, [(i, j) for i in parts for j in parts if j.start <= i.start], n_jobs))
    return products


@dataclass(frozen=True)
class Subspace:
    """The directions in which the rows vary, in units of sigma."""

    origin: np.ndarray  # (d,): the mean of the rows
    # (d, rank): orthonormal directions, or the rows that span them; None where all coordinates are
    # kept.
    span: np.ndarray | RowSpan | None
    sigma: float  # standard deviation of the noise
    dimension: int  # d
    spectrum: Spectrum
    radius: float  # distance from the mean to the farthest row in units of sigma
    #: 1/2 log det(I + Cov(S) / sigma^2): no law of this covariance carries more.
    gaussian_information: float

    @classmethod
    def of(cls, rows: Rows, sigma: float, n_jobs: int | None = None) -> Subspace:
        """Find the directions whose variance the noise leaves visible."""
        n, d = rows.points.shape
        origin = np.zeros(d)
        for part in parts(n, d):
            origin += rows.weights[part] @ rows.points[part].astype(np.float64, copy=False)
        second_moment, radius = np.zeros((d, d) if n >= d else (0, 0)), 0.0
        for part in parts(n, d):
            with np.errstate(over="ignore"):
                scaled = (rows.points[part] - origin) / sigma
                square = float(np.einsum("ni,ni->n", scaled, scaled).max())
            if not square < RESOLVED**2:
                raise ValueError(
                    f"The activations span more than {RESOLVED:.0e} sigma ({sigma:g}): in double "
                    "precision the noise is lost in their rounding. Check the units of sigma."
                )
            radius = max(radius, float(np.sqrt(square)))
            if n >= d:
                scaled *= np.sqrt(rows.weights[part])[:, None]
                second_moment += scaled.T @ scaled

        def found(
            span: np.ndarray | RowSpan | None, spectrum: Spectrum, information: float | None = None
        ) -> Subspace:
            if information is None:
                information = 0.5 * float(np.log1p(spectrum.variances).sum())
            return cls(origin, span, float(sigma), d, spectrum, radius, information)

        if n >= d:
            variances, directions = np.linalg.eigh(second_moment)
            if variances[0] > max(_FLAT, _RESOLVED_SHARE * variances[-1]):
                return found(None, Spectrum(directions, variances))
        elif _placed_by_products(rows, radius):
            span, information = RowSpan.of(rows, origin, float(sigma), n_jobs)
            return found(span, Spectrum.of(span.coordinates, rows.weights), information)
        else:
            weighted = (rows.points - origin) * (np.sqrt(rows.weights)[:, None] / sigma)
            directions = np.linalg.svd(weighted, full_matrices=False)[2].T
        # The variance along a direction, measured there: rounding in the covariance may exceed it.
        variances = np.zeros(directions.shape[1])
        for part in parts(n, d):
            along = (rows.points[part] - origin) / sigma @ directions
            variances += rows.weights[part] @ along**2
        kept = variances > _FLAT
        if n >= d and kept.all():
            return found(None, Spectrum(directions, variances))
        return found(directions[:, kept], Spectrum(None, variances[kept]))

    @cached_property
    def basis(self) -> np.ndarray | None:
        """Orthonormal directions, (d, rank); None where all coordinates are kept."""
        if isinstance(self.span, RowSpan):
            return self.span.basis(self.origin, self.sigma)
        return self.span

    @property
    def rank(self) -> int:
        """Number of directions kept."""
        return len(self.spectrum.variances) + self.spectrum.n_elsewhere

    def place(self, rows: Rows, members: np.ndarray | slice) -> np.ndarray:
        """Coordinates of some of the rows that the subspace was found from."""
        if isinstance(self.span, RowSpan):
            return self.span.coordinates[members]
        return self.project(rows.points[members])

    def project(self, points: np.ndarray) -> np.ndarray:
        """Coordinates in the subspace, in units of sigma."""
        scaled = (points - self.origin) / self.sigma
        return scaled if self.basis is None else scaled @ self.basis

    def standardise(self, points: np.ndarray) -> np.ndarray:
        """All units in units of the noise, from the origin, (n, d)."""
        standardised: np.ndarray = (points - self.origin) / self.sigma
        return standardised

    #: Deviations of the noise of each row among those units; None where all are 1.
    relative_deviations: ClassVar[None] = None

    def noise_everywhere(self, noise: np.ndarray, seed: int) -> np.ndarray:
        """Standard normal noise in all units, (m, d), that is ``noise`` in the subspace."""
        if self.basis is None:
            return noise
        off = np.random.default_rng(seed).standard_normal((len(noise), self.dimension))
        return off + (noise - off @ self.basis) @ self.basis.T

    def standardised_squares(self, points: np.ndarray) -> np.ndarray:
        """Compute t' C^-1 t with C the covariance of T, t in the subspace and in units of sigma."""
        return self.spectrum.standardised_squares(points)

    def squared_distances(self, points: np.ndarray) -> np.ndarray:
        """Squared distance from the subspace, in units of sigma^2."""
        if self.basis is None:
            return np.zeros(len(points))
        scaled = (points - self.origin) / self.sigma
        off = scaled - (scaled @ self.basis) @ self.basis.T
        return np.einsum("ni,ni->n", off, off)

    @property
    def noise_entropy(self) -> float:
        """Entropy of the noise in all d dimensions, (d / 2) log(2 pi e sigma^2)."""
        return self.dimension * float(np.log(self.sigma) + 0.5 * np.log(2 * np.pi * np.e))


def _placed_by_products(rows: Rows, radius: float) -> bool:
    """Whether the rows are many and near enough for :class:`RowSpan`."""
    n = len(rows.points)
    rounding = n * _EPSILON * radius**2
    return n > _MANY and 0 < rounding < _MOST_ROUNDING[rows.points.dtype.name]


def parts(n: int, d: int) -> Iterator[slice]:
    """Slices of n rows that hold few numbers each."""
    step = max(1, _AT_A_TIME // max(d, 1))
    for start in range(0, n, step):
        yield slice(start, start + step)


@dataclass(frozen=True)
class Layout:
    """Rows in blocks of 64: labels start a new block, replicas of an input lie side by side."""

    blocks: Blocks | TorchBlocks  # the rows as the kernels read them
    slots: np.ndarray  # (n_members,): where each row went, block * 64 + lane
    # (n_labels, 2): first and one past the last block of each label; (0, 0) without labels.
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

    def sum_at(self, queries: Queries, n_jobs: int | None) -> np.ndarray:
        """Sum the rows at each query: boxes first where few count, matrix products where most do.

        Returns log2 of three disjoint sums, (m, 3): rest of the own input, rest of the own label,
        all others.
        """
        blocks = self.blocks
        if not isinstance(blocks, Blocks):
            return blocks.sum_at(queries)
        arithmetic = _ARITHMETIC[blocks.points.dtype.name]
        queries = queries._replace(points=queries.points.astype(blocks.points.dtype, copy=False))
        sums = np.empty((len(queries.points), 3))
        dense = _most_count(blocks, queries, arithmetic.rounding)

        def fill(part: slice) -> None:
            some, out = queries.take(part), sums[part]
            if not dense:
                sum_by_skipping(some, blocks, out)
                return
            failed = np.zeros(len(out), dtype=np.bool_)
            sum_densely(some, blocks, blocks.centres, arithmetic, out, failed)
            if failed.any():
                again = np.empty((np.count_nonzero(failed), 3))
                sum_by_skipping(some.take(failed), blocks, again)
                out[failed] = again

        list(in_order(fill, slices_of(len(sums)), n_jobs))
        return sums


def _most_count(blocks: Blocks, queries: Queries, rounding: float) -> bool:
    """Whether so many blocks count that leaving out the others costs more than summing all."""
    if not len(queries.points):
        return False
    if blocks.centres is None:
        farthest = float(np.einsum("ni,ni->n", queries.points, queries.points).max())
        if rounding * (farthest + blocks.largest_square) > COARSEST:
            return False
    pilots = queries.take(np.linspace(0, len(queries.points) - 1, _PILOTS).astype(np.int64))
    n_blocks = int(np.count_nonzero(np.isfinite(blocks.boxes.log_weight)))
    return _count_blocks(blocks, pilots) > _DENSE * _PILOTS * n_blocks


def _count_blocks(blocks: Blocks, queries: Queries) -> int:
    """About how many blocks the skipping kernel would sum at some queries."""
    bounds = _bounds(blocks.boxes, queries)
    number = np.arange(bounds.shape[1])
    first, stop = queries.group_slots.T[:, :, None]
    own = (first // BLOCK <= number) & (number * BLOCK < stop) & (first < stop)
    first, stop = queries.label_blocks.T[:, :, None]
    same_label = (first <= number) & (number < stop) & ~own
    lower_bounds, counted = queries.floors, int(own.sum())
    for places in (own, same_label, ~(own | same_label)):
        if not places.any():
            continue
        here = np.where(places, bounds, -np.inf)
        reached = np.where(
            places.any(axis=1), _sums_of_blocks(blocks, queries, here.argmax(axis=1)), -np.inf
        )
        reached = np.maximum(lower_bounds, reached)
        if places is not own:
            cut = reached + NEGLIGIBLE - np.log2(len(number))
            counted += int(np.count_nonzero(here > cut[:, None]))
        if queries.nested:
            lower_bounds = reached
    return counted


def _bounds(boxes: Boxes, queries: Queries) -> np.ndarray:
    """Upper bound of the logarithm of what each block adds to each query, (m, n_blocks)."""
    points = queries.points[:, :, None]
    gaps = np.maximum(boxes.low - points, points - boxes.high)
    np.maximum(gaps, 0.0, out=gaps)
    if len(boxes.least):
        gaps *= boxes.least
    bounds = boxes.log_weight + boxes.top - np.einsum("mkb,mkb->mb", gaps, gaps)
    return queries.references[:, None] + bounds


def _sums_of_blocks(blocks: Blocks, queries: Queries, b: np.ndarray) -> np.ndarray:
    """log2 of the sum over one block for each query, without its own row."""
    d, wide, part = queries.points.shape[1], *divmod(b, BLOCKS_PER_WIDE)
    points, weights = blocks.points[wide, :, part], blocks.weights[wide, part]
    in_it = np.flatnonzero(queries.own // BLOCK == b)
    weights[in_it, queries.own[in_it] % BLOCK] = 0.0
    differences = queries.points[:, :, None] - points[:, :d]
    exponents = np.zeros(weights.shape)
    if blocks.centres is not None:
        differences *= points[:, d : 2 * d]
        exponents += points[:, 2 * d]
    exponents += queries.references[:, None] - np.einsum("mkl,mkl->ml", differences, differences)
    with np.errstate(divide="ignore"):
        return np.logaddexp2.reduce(exponents + np.log2(weights), axis=1)


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
        inputs_per_leaf = BLOCK
    else:
        sums = np.add.reduceat(points[by_input], starts[:-1], axis=0, dtype=np.float64)
        means = sums / rows.replicas[:, None]
        inputs_per_leaf = max(1, BLOCK // int(np.median(rows.replicas)))
    label_of_input = (
        np.zeros(n_inputs, dtype=np.int64)
        if rows.labels is None
        else rows.labels[by_input[starts[:-1]]]
    )
    input_order = np.argsort(label_of_input, kind="stable")
    label_starts = np.concatenate([[0], np.cumsum(np.bincount(label_of_input))])
    sort_segments_kd(means, inputs_per_leaf, label_starts, input_order)
    if not rows.has_replicas:
        return by_input[input_order]
    sizes = rows.replicas[input_order]
    new_starts = np.concatenate([[0], np.cumsum(sizes)])
    within = np.arange(len(points)) - np.repeat(new_starts[:-1], sizes)
    order = by_input[np.repeat(starts[input_order], sizes) + within]
    sort_segments_kd(points, BLOCK, new_starts, order)
    return order


def lay_out(
    rows: Rows,
    members: np.ndarray,
    space: Subspace | ScaledUnits,
    dtype: np.dtype,
    device: str | None = None,
) -> Layout:
    """Store the rows that ``members`` names, in that order; double precision for diagonal ones.

    On a device of torch if one is named.
    """
    n_labels = 1 if rows.label_weights is None else len(rows.label_weights)
    label = np.zeros(len(members), dtype=np.int64) if rows.labels is None else rows.labels[members]
    counts = np.bincount(label, minlength=n_labels)
    label_stops = np.cumsum((counts + BLOCK - 1) // BLOCK)
    label_blocks = np.column_stack([np.concatenate([[0], label_stops[:-1]]), label_stops])
    first_of_label = np.concatenate([[0], np.cumsum(counts)[:-1]])
    slot = np.arange(len(members)) - first_of_label[label] + label_blocks[label, 0] * BLOCK
    n_wide = -(-int(label_stops[-1]) // BLOCKS_PER_WIDE)
    # Padding lies where the row before it does, so that it spoils no box and no largest value.
    filled = np.zeros(n_wide * WIDE, dtype=np.int64)
    filled[slot] = np.arange(len(members))
    filled = members[np.maximum.accumulate(filled)]
    weights = np.zeros(n_wide * WIDE)
    weights[slot] = rows.weights[members]
    coordinates = space.place(rows, filled)
    coordinates *= BINARY
    diagonal = None
    if not isinstance(space, Subspace):
        diagonal = 1 / space.deviations[filled], space.log_volumes[filled] / -LOG2
    blocks: Blocks | TorchBlocks
    if device is not None:
        from skinfo.noisy.kernels.torch_sums import TorchBlocks

        rounding = _ARITHMETIC[dtype.name]
        blocks = TorchBlocks.of(coordinates, weights, dtype, device, rounding, diagonal)
    elif diagonal is not None:
        blocks = _diagonal_blocks(coordinates, *diagonal, weights)
    else:
        blocks = _round_blocks(coordinates, weights, dtype)
    no_labels = np.zeros((1, 2), dtype=np.int64)
    return Layout(blocks, slot, no_labels if rows.labels is None else label_blocks)


def _round_blocks(coordinates: np.ndarray, weights: np.ndarray, dtype: np.dtype) -> Blocks:
    """Rows whose noise is the same in all directions."""
    d = coordinates.shape[1]
    points = np.empty((len(weights) // WIDE, d + 1, BLOCKS_PER_WIDE, BLOCK), dtype=dtype)
    points[:, :d] = _in_lanes(coordinates)
    stored = points[:, :d]
    squares = np.einsum("wkbl,wkbl->wbl", stored, stored, dtype=np.float64)
    points[:, d] = -squares
    return _blocks(points, d, weights, float(squares.max()), None)


def _diagonal_blocks(
    coordinates: np.ndarray, inverse: np.ndarray, constants: np.ndarray, weights: np.ndarray
) -> Blocks:
    """Rows with inverse deviations and constants of their own."""
    d = coordinates.shape[1]
    points = _in_lanes(np.column_stack([coordinates, inverse, constants]))
    by_row = points.reshape(len(points), 2 * d + 1, WIDE)
    squares = by_row[:, d : 2 * d] ** 2
    centres = (squares * by_row[:, :d]).sum(axis=2) / squares.sum(axis=2)
    return _blocks(points, d, weights, 0.0, centres)


def _in_lanes(values: np.ndarray) -> np.ndarray:
    """Turn one row of numbers per slot, (n, k), into (n_wide, k, 4, 64)."""
    n, k = values.shape
    by_slot = values.reshape(n // WIDE, BLOCKS_PER_WIDE, BLOCK, k)
    return np.ascontiguousarray(by_slot.transpose(0, 3, 1, 2))


def _blocks(
    points: np.ndarray,
    d: int,
    weights: np.ndarray,
    largest_square: float,
    centres: np.ndarray | None,
) -> Blocks:
    """Store points of d coordinates, and the boxes around them."""
    weight = _padded(weights.reshape(-1, BLOCK).sum(axis=1), 0.0)
    low, high = _by_coordinate(points[:, :d].min(axis=3)), _by_coordinate(points[:, :d].max(axis=3))
    least, top = _by_coordinate(points[:, d:-1].min(axis=3)), np.zeros(len(weight))
    if centres is not None:
        top = _padded(points[:, -1].max(axis=2).ravel(), points[-1, -1].max())
    starts = np.arange(0, len(weight), SUPERBLOCK)
    with np.errstate(divide="ignore"):
        log_weight, log_super = np.log2(weight), np.log2(np.add.reduceat(weight, starts))
    return Blocks(
        points,
        weights.reshape(-1, BLOCKS_PER_WIDE, BLOCK).astype(points.dtype),
        Boxes(low, high, log_weight, top, least),
        Boxes(
            np.minimum.reduceat(low, starts, axis=1),
            np.maximum.reduceat(high, starts, axis=1),
            log_super,
            np.maximum.reduceat(top, starts),
            np.minimum.reduceat(least, starts, axis=1),
        ),
        largest_square,
        centres,
    )


def _padded(values: np.ndarray, padding: float) -> np.ndarray:
    """Lengthen to whole superblocks."""
    return np.pad(values, (0, -len(values) % SUPERBLOCK), constant_values=padding)


def _by_coordinate(values: np.ndarray) -> np.ndarray:
    """Turn (n_wide, d, 4) into (d, n_blocks), the last block repeated to whole superblocks."""
    n_wide, d, width = values.shape
    by_block = values.transpose(1, 0, 2).reshape(d, n_wide * width)
    return np.pad(by_block, ((0, 0), (0, -n_wide * width % SUPERBLOCK)), mode="edge")
