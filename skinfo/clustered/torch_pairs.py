"""Distances of all pairs on any device that torch computes on, counted as the compiled ones are.

Squared distances come from products of tiles of rows, in double precision, and from differences
where these cancel; its leading bits in single precision name the cell of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from skinfo._torch import scratch_bytes
from skinfo.clustered.cells import N_CELLS, DistanceCells
from skinfo.clustered.kernels import BITS, CANCELS, Sums
from skinfo.clustered.pairs import PairRows

# Bytes that a tile takes per pair; those of differences are extra, per pair and unit.
_PER_PAIR, _PER_DIFFERENCE = 144, 24
# What part of the scratch each of these may take.
_SHARE = 0.5


def add_pairs(
    pairs: PairRows, cells: DistanceCells, bearings: np.ndarray, sums: Sums, device: str, *,
    ranked: bool,
) -> tuple[list[np.ndarray], list[np.ndarray]]:  # fmt: skip
    """Add all pairs of rows to the sums, on a device.

    If ``ranked``, the sorted squared distances of each kind come back, and the weights of these
    pairs where they differ.
    """
    with torch.no_grad():
        rows = _Rows.of(pairs, bearings, device)
        n, side = len(rows.points), int((_SHARE * scratch_bytes(device) / _PER_PAIR) ** 0.5)
        totals = tuple(torch.as_tensor(part, device=device) for part in sums)
        ranking = _Ranking(len(sums.counts), weighted=bool((pairs.weights != 1).any()))
        for first in range(0, n, side):
            left = slice(first, min(first + side, n))
            for start in range(0, left.stop, side):
                tile = rows.tile(left, slice(start, min(start + side, n)))
                rows.add_tile(tile, cells, totals)
                if ranked:
                    ranking.add(tile)
        for part, total in zip(sums, totals, strict=True):
            part[...] = total.cpu().numpy()
        return ranking.sorted() if ranked else ([], [])


@dataclass(frozen=True)
class _Tile:
    """Pairs of some rows with others; arrays are (n_left, n_right)."""

    left: slice
    right: slice
    squares: Tensor
    masses: Tensor  # products of the weights; 0 for what is no pair
    kinds: Tensor  # the label sets that give both rows one label, one bit per set
    paired: Tensor


@dataclass
class _Ranking:
    """Squared distances and weights of all pairs, by kind."""

    n_kinds: int
    weighted: bool
    squares: list[list[Tensor]] = field(default_factory=list)
    masses: list[list[Tensor]] = field(default_factory=list)

    def add(self, tile: _Tile) -> None:
        of_kinds = [tile.paired & (tile.kinds == kind) for kind in range(self.n_kinds)]
        self.squares.append([tile.squares[of_kind] for of_kind in of_kinds])
        if self.weighted:
            self.masses.append([tile.masses[of_kind] for of_kind in of_kinds])

    def sorted(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        squares, orders = zip(*map(_sorted, zip(*self.squares, strict=True)), strict=True)
        masses = [
            torch.cat(of_kind)[order].cpu().numpy()
            for of_kind, order in zip(zip(*self.masses, strict=True), orders, strict=self.weighted)
        ]
        return list(squares), masses


def _sorted(parts: tuple[Tensor, ...]) -> tuple[np.ndarray, Tensor]:
    values, order = torch.cat(parts).sort()
    return values.cpu().numpy(), order


@dataclass(frozen=True)
class _Rows:
    """Rows on the device, sorted by class and input; see PairRows."""

    direct: bool
    points: Tensor
    squares: Tensor
    weights: Tensor
    begins: Tensor
    labels: Tensor  # (n_sets, n): label of each row in every label set
    bearings: Tensor  # (n_sets, 2, n_cells)

    @classmethod
    def of(cls, pairs: PairRows, bearings: np.ndarray, device: str) -> _Rows:
        """Move rows to the device."""
        arrays = (
            pairs.points, pairs.squares, pairs.weights, pairs.begins,
            pairs.labels[:, pairs.classes].astype(np.int64), bearings.astype(np.float64),
        )  # fmt: skip
        moved = (torch.as_tensor(np.ascontiguousarray(a), device=device) for a in arrays)
        return cls(pairs.direct, *moved)

    def tile(self, left: slice, right: slice) -> _Tile:
        """Pairs of rows with those before them, replicas of their input left out."""
        both = self.squares[left, None] + self.squares[right]
        squares = torch.addmm(both, self.points[left], self.points[right].T, alpha=-2.0)
        columns = torch.arange(right.start, right.stop, device=squares.device)
        paired = columns < self.begins[left, None]
        near = paired if self.direct else paired & (squares < CANCELS * both)
        for i, j in self._few_at_a_time(near):
            apart = self.points[left][i] - self.points[right][j]
            squares[i, j] = apart.square_().sum(dim=1)
        kinds = torch.zeros(squares.shape, dtype=torch.int64, device=squares.device)
        for s, labels in enumerate(self.labels):
            kinds += (labels[left, None] == labels[right]).to(torch.int64) << s
        masses = self.weights[left, None] * self.weights[right] * paired
        return _Tile(left, right, squares.clamp_(min=0.0), masses, kinds, paired)

    def _few_at_a_time(self, chosen: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        i, j = torch.nonzero(chosen, as_tuple=True)
        size = _PER_DIFFERENCE * max(1, self.points.shape[1])
        step = max(1, int(_SHARE * scratch_bytes(str(chosen.device)) / size))
        yield from zip(i.split(step), j.split(step), strict=True)

    def add_tile(self, tile: _Tile, cells: DistanceCells, totals: tuple[Tensor, ...]) -> None:
        """Add the pairs of a tile to totals on the device, in the order of Sums."""
        counts, sums_of_kinds, sums_of_classes, influences = totals
        numbers = _cells_of(tile.squares, cells)
        distances = 0.5 * tile.squares if cells.halved else tile.squares.sqrt()
        weighted = tile.masses * distances
        places = tile.kinds * N_CELLS + numbers
        counts.view(-1).index_add_(0, places.view(-1), tile.masses.view(-1))
        for kind in range(len(counts)):
            sums_of_kinds[kind] += weighted[tile.kinds == kind].sum()
        left, right = tile.left, tile.right
        for s, by_class in enumerate(sums_of_classes):
            of_left, of_right = (
                one_hot(self.labels[s, part], len(by_class)).to(torch.float64)
                for part in (left, right)
            )
            by_class += of_left.T @ (weighted @ of_right)
        for s, of_set in enumerate(influences):
            same = (tile.kinds >> s) & 1
            values = self.bearings[s].view(-1)[same * N_CELLS + numbers] * tile.paired
            for alike in (0, 1):
                some = values * (same == alike)
                of_set[alike, left] += some @ self.weights[right]
                of_set[alike, right] += self.weights[left] @ some


def _cells_of(squares: Tensor, cells: DistanceCells) -> Tensor:
    """Numbers of the cells of squared distances."""
    bases, parts = (torch.as_tensor(a, device=squares.device).long() for a in cells[1:3])
    bits = squares.to(torch.float32).view(torch.int32).long()
    segments = ((bits >> BITS) - cells.lowest).clamp_(0, len(bases) - 1)
    inside = bits & ((1 << BITS) - 1)
    return bases[segments] + ((inside * parts[segments]) >> BITS)
