"""Sums of a mixture on any device that torch computes on, with the signature of the compiled ones.

Rows lie in tiles, neighbours in space, and are kept as differences s - c from the centre c of their
tile, in the precision of the products:

    -|t - s|^2 = -|t - c|^2 + 2 (t - c) (s - c) - |s - c|^2

so that almost all of the work is a matrix product; its first term is the same for a whole tile and
is computed in double precision. Diagonal components take twice the work, as in the compiled
products. Every block of 64 rows of a tile has a largest exponent and a sum of its own, whose
logarithm is kept in double precision; what is left is a 64th of the work. Where the rounding of the
products would show in a sum, the block is summed again by differences, in double precision.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from skinfo._torch import FULL_PRECISION, scratch_bytes
from skinfo.noisy.kernels.blocks import BLOCK, Queries
from skinfo.noisy.kernels.dense import Arithmetic

#: Rows that share a centre and a matrix product.
TILE = 4096
_DOUBLE = torch.float64


class _Draws(NamedTuple):
    """Queries on the device, in double precision."""

    points: Tensor  # (m, d)
    references: Tensor  # (m,)
    own: Tensor  # (m,): slot of the own row
    groups: Tensor  # (m, 2): first and one past the last slot of the own input
    labels: Tensor  # (m, 2): first and one past the last block of the own label
    floors: Tensor  # (m,)


@dataclass(frozen=True, eq=False)
class TorchBlocks:
    """Rows of a mixture on a device, scaled as those of :class:`skinfo.noisy.kernels.blocks`."""

    # (n_slots, d): rows less the centre of their tile; (n_tiles, d), in double precision: these.
    offsets: Tensor
    centres: Tensor
    inverse: Tensor | None  # (n_slots, d): inverse deviations; None for round components
    # (n_slots,), in double precision: log2 of the weight, -inf for padding, less log2 of the volume
    # of a diagonal component; and, in that of the products, less the offset's squared length.
    constants: Tensor
    biases: Tensor
    reach: Tensor  # (n_blocks,): longest offset of a block, of diagonal ones in its deviations
    arithmetic: Arithmetic

    @classmethod
    def of(
        cls, coordinates: np.ndarray, weights: np.ndarray, dtype: np.dtype, device: str,
        arithmetic: Arithmetic, diagonal: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> TorchBlocks:  # fmt: skip
        """Move rows to a device, tile by tile; diagonal ones have inverse deviations, constants."""
        inverse, constants = (None, 0.0) if diagonal is None else diagonal
        n, d = coordinates.shape
        offsets = torch.empty((n, d), dtype=getattr(torch, dtype.name), device=device)
        centres = torch.empty((-(-n // TILE), d), dtype=_DOUBLE, device=device)
        squares = torch.empty(n, dtype=_DOUBLE, device=device)
        widths = None if inverse is None else torch.empty_like(offsets)
        for tile, start in enumerate(range(0, n, TILE)):
            part = slice(start, start + TILE)
            points = _moved(coordinates[part], device)
            narrow = torch.ones_like(points)
            if widths is not None and inverse is not None:
                widths[part] = _moved(inverse[part], device)
                narrow = widths[part]
            # Nearer to the narrow rows, which the products must resolve.
            centres[tile] = (points * narrow.square()).sum(dim=0) / narrow.square().sum(dim=0)
            offsets[part] = points - centres[tile]
            squares[part] = (offsets[part].to(_DOUBLE) * narrow).square().sum(dim=1)
        with np.errstate(divide="ignore"):
            logs = _moved(np.log2(weights) + constants, device)
        reach = squares.view(-1, BLOCK).amax(dim=1).sqrt()
        biases = (logs - squares).to(offsets.dtype)
        return cls(offsets, centres, widths, logs, biases, reach, arithmetic)

    def sum_at(self, queries: Queries) -> np.ndarray:
        """Sum the rows at each query, as :meth:`skinfo.noisy.layout.Layout.sum_at`."""
        sums = np.empty((len(queries.points), 3))
        kind = self.offsets.device.type
        # Whoever calls may compute gradients, or in half precision where torch sees fit.
        with FULL_PRECISION, torch.no_grad(), torch.autocast(kind, enabled=False):
            step = self._queries_at_a_time()
            for start in range(0, len(sums), step):
                part = slice(start, start + step)
                sums[part] = self._sums(queries.take(part)).cpu().numpy()
        return sums

    def _queries_at_a_time(self) -> int:
        """How many queries the scratch has room for."""
        n, d = self.offsets.shape
        tile = min(TILE, n) * self.offsets.element_size()
        doubles = 12 * (n // BLOCK) + 6 * d
        return max(1, scratch_bytes(self.offsets.device) // (2 * tile + 8 * doubles))

    def _sums(self, queries: Queries) -> Tensor:
        """log2 of the three disjoint sums of some queries, (m, 3)."""
        device = self.offsets.device
        draws = _Draws(
            *(_moved(values, device) for values in (queries.points, queries.references)),
            *(torch.as_tensor(values, device=device) for values in queries[2:6]),
        )
        rest = torch.empty((len(draws.own), len(self.reach)), dtype=_DOUBLE, device=device)
        # From the centres of the tiles.
        distances = torch.empty((len(rest), len(self.centres)), dtype=_DOUBLE, device=device)
        n_others = queries.group_slots[:, 1] - queries.group_slots[:, 0] - (queries.own >= 0)
        group = torch.full_like(rest, -torch.inf) if n_others.any() else None
        for tile, (i, b) in enumerate(self._own_blocks(queries.group_slots)):
            start = tile * (TILE // BLOCK)
            exponents, base, distances[:, tile] = self._exponents_by_products(tile, draws)
            by_block = exponents.view(len(exponents), -1, BLOCK)
            # Split, they take no more room than the tile.
            for some, own in _portions(i, b, exponents.numel() // (5 * BLOCK)):
                others, of_group = _split(by_block[some, own - start], draws, some, own)
                by_block[some, own - start] = others
                if group is not None:
                    group[some, own] = base[some] + _log2_sum(of_group)
            rest[:, start : start + TILE // BLOCK] = base[:, None] + _log2_sum(by_block)
        rounding = self._rounding(distances)
        again = self._uncertain(draws, rest, group, rounding, nested=queries.nested)
        size = 2 * 8 * BLOCK * (3 * self.offsets.shape[1] + 8)
        redone = torch.nonzero(again)
        for i, b in _portions(redone[:, 0], redone[:, 1], scratch_bytes(device) // size):
            others, of_group = _split(self._exponents_by_differences(draws, i, b), draws, i, b)
            rest[i, b] = _log2_sum(others)
            if group is not None:
                group[i, b] = _log2_sum(of_group)
        kinds = self._kinds(draws, rest, group)
        return torch.stack([_log2_sum(kind) for kind in kinds], dim=1)

    def _own_blocks(self, group_slots: np.ndarray) -> Iterator[tuple[Tensor, Tensor]]:
        """Of each tile, queries and blocks that hold rows of the query's input."""
        some = group_slots[:, 1] > group_slots[:, 0]
        first = group_slots[:, 0] // BLOCK
        n_blocks = np.where(some, (group_slots[:, 1] - 1) // BLOCK + 1 - first, 0)
        queries = np.repeat(np.arange(len(first)), n_blocks)
        within = np.arange(len(queries)) - np.repeat(np.cumsum(n_blocks) - n_blocks, n_blocks)
        blocks = first[queries] + within
        order = np.argsort(blocks, kind="stable")
        edges = np.arange(len(self.centres) + 1) * (TILE // BLOCK)
        firsts = np.searchsorted(blocks[order], edges)
        on_device = [
            torch.as_tensor(which[order], device=self.offsets.device) for which in (queries, blocks)
        ]
        for start, stop in pairwise(firsts.tolist()):
            i, b = (which[start:stop] for which in on_device)
            yield i, b

    def _exponents_by_products(self, tile: int, draws: _Draws) -> tuple[Tensor, Tensor, Tensor]:
        """Exponents of a tile's rows at queries, (m, n_rows), less a number per query, (m,).

        And the distances of the queries from its centre, (m,).
        """
        part = slice(tile * TILE, (tile + 1) * TILE)
        offsets, biases = self.offsets[part], self.biases[part]
        from_centre = draws.points - self.centres[tile]
        squares = from_centre.square()
        square = squares.sum(dim=1)
        if self.inverse is None:
            left = from_centre.to(offsets.dtype)
            products = torch.addmm(biases, left, offsets.T, alpha=2.0)
            return products, draws.references - square, square.sqrt()
        narrow = self.inverse[part].square()
        right = torch.cat([-narrow, 2.0 * narrow * offsets], dim=1)
        products = torch.addmm(biases, torch.cat([squares, from_centre], dim=1), right.T)
        return products, draws.references, square.sqrt()

    def _rounding(self, distances: Tensor) -> Tensor:
        """Bound the rounding of products, (m, n_blocks), in bits, at distances from the centres.

        Of diagonal components the rows alone bound that of exponents that count: with lengths in
        units of the row's deviations, |t - c| <= |t - s| + |s - c|, and |t - s|^2 is not much.
        """
        reach = self.reach
        if self.inverse is not None:
            return (8 * self.arithmetic.rounding * reach.square()).expand(len(distances), -1)
        of_blocks = distances.repeat_interleave(TILE // BLOCK, dim=1)[:, : len(reach)]
        return self.arithmetic.rounding * reach * (2 * of_blocks + reach)

    def _kinds(self, draws: _Draws, rest: Tensor, group: Tensor | None) -> Iterator[Tensor]:
        """Logarithms of the blocks' shares of each of the three sums."""
        yield torch.full_like(rest[:, :1], -torch.inf) if group is None else group
        blocks = torch.arange(rest.shape[1], device=rest.device)
        of_label = (blocks >= draws.labels[:, :1]) & (blocks < draws.labels[:, 1:])
        yield rest.masked_fill(~of_label, -torch.inf)
        yield rest.masked_fill(of_label, -torch.inf)

    def _uncertain(
        self, draws: _Draws, rest: Tensor, group: Tensor | None, rounding: Tensor, *, nested: bool
    ) -> Tensor:
        """Which blocks, (m, n_blocks), rounding may move a sum by, or put into one or out of it."""
        uncertain = torch.zeros_like(rest, dtype=torch.bool)
        beside = draws.floors
        for logs in self._kinds(draws, rest, group):
            width = rounding[:, : logs.shape[1]]
            least = torch.maximum(_log2_sum(logs - width), beside)
            share = width.log2() + logs + width - least[:, None]
            counts = ~(share <= np.log2(self.arithmetic.tolerance)) & (logs != -torch.inf)
            uncertain[:, : logs.shape[1]] |= counts
            if nested:
                beside = least
        return uncertain

    def _exponents_by_differences(self, draws: _Draws, i: Tensor, b: Tensor) -> Tensor:
        """Exponents of the rows of block b at query i, (n_pairs, 64), in double precision."""
        from_centre = draws.points[i] - self.centres[b // (TILE // BLOCK)]
        differences = self.offsets.view(len(self.reach), BLOCK, -1)[b].to(_DOUBLE)
        differences -= from_centre[:, None]
        if self.inverse is not None:
            differences *= self.inverse.view(len(self.reach), BLOCK, -1)[b]
        exponents = self.constants.view(-1, BLOCK)[b] + draws.references[i, None]
        return exponents - differences.square_().sum(dim=2)


def _moved(values: np.ndarray, device: torch.device | str) -> Tensor:
    """An array on the device, in double precision."""
    return torch.as_tensor(np.ascontiguousarray(values, dtype=np.float64), device=device)


def _portions(i: Tensor, b: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of queries and blocks, at most so many at a time."""
    if len(i):
        yield from zip(i.split(max(1, size)), b.split(max(1, size)), strict=True)


def _split(exponents: Tensor, draws: _Draws, i: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Exponents of the rows of block b that are not of query i's input, and of those that are.

    The own row is in neither.
    """
    lanes, start = torch.arange(BLOCK, device=b.device), b[:, None] * BLOCK
    first, last = (draws.groups[i] - start)[:, :, None].unbind(dim=1)
    of_input = (lanes >= first) & (lanes < last)
    own = lanes == draws.own[i, None] - start
    return (
        exponents.masked_fill(of_input | own, -torch.inf),
        exponents.masked_fill(~of_input | own, -torch.inf),
    )


def _log2_sum(exponents: Tensor) -> Tensor:
    """log2 of the sum of 2 ** exponent over the last axis, in double precision."""
    lowest = torch.finfo(exponents.dtype).min
    largest = exponents.amax(dim=-1, keepdim=True).clamp_(min=lowest)
    total = (exponents - largest).exp2_().sum(dim=-1)
    return largest[..., 0].to(_DOUBLE) + total.to(_DOUBLE).log2_()


def sums_over_others(
    device: str, t: np.ndarray, drawn: np.ndarray, rows: Iterable[tuple[np.ndarray, np.ndarray]],
    near: bool,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """Sums for the slope of information; see :mod:`skinfo.noisy.effective_dimension`."""
    with torch.no_grad():
        portions = [(_moved(points, device), _moved(np.log(w), device)) for points, w in rows]
        most = max(len(logs) for _, logs in portions)
        step = max(1, scratch_bytes(device) // (8 * (5 * most + 4 * t.shape[1])))
        at, own = _moved(t, device), torch.as_tensor(drawn, device=device)
        found = [
            _sums_over_others(*some, portions, near)
            for some in zip(at.split(step), own.split(step), strict=True)
        ]
        return tuple(torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True))


def _sums_over_others(
    t: Tensor, own: Tensor, portions: list[tuple[Tensor, Tensor]], near: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    highest = torch.full_like(t[:, 0], -torch.inf)
    total, square, mean = torch.zeros_like(highest), torch.zeros_like(highest), torch.zeros_like(t)
    first = 0
    for points, logs in portions:
        if near:
            both = t.square().sum(dim=1)[:, None] + points.square().sum(dim=1)
            squares = torch.addmm(both, t, points.T, alpha=-2.0).clamp_(min=0.0)
        else:
            by_differences = "donot_use_mm_for_euclid_dist"
            squares = torch.cdist(t, points, compute_mode=by_differences).square_()
        slots = torch.arange(first, first + len(points), device=t.device)
        exponents = (logs - 0.5 * squares).masked_fill_(slots == own[:, None], -torch.inf)
        highest_before, highest = highest, torch.maximum(highest, exponents.amax(dim=1))
        largest = highest.clamp(min=torch.finfo(_DOUBLE).min)
        rescaled = (highest_before - largest).exp_()
        terms = (exponents - largest[:, None]).exp_()
        total = total * rescaled + terms.sum(dim=1)
        square = square * rescaled + (terms * squares).sum(dim=1)
        mean = mean * rescaled[:, None] + terms @ points
        first += len(points)
    return highest, total, mean, square
