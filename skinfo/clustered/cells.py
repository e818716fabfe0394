"""Cells of distance, 4,096 of them, narrow where the pairs are and found without a search."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from skinfo.clustered.kernels import BITS, fill_cells

#: Cells of the distance histograms.
N_CELLS = 4096
# A squared distance is scaled below 1; its single-precision bits name one of 64 segments per
# octave, from 2^-60 on. Smaller ones count in the segment before.
_OCTAVES = 60
_PER_OCTAVE = 1 << (23 - BITS)
_ONE = 127 << (23 - BITS)
_LOWEST = _ONE - _OCTAVES * _PER_OCTAVE - 1
_N_SEGMENTS = _ONE - _LOWEST + 1
# So many segments get a cell even without a pilot pair in them: eight octaves of distance.
_ALWAYS = 1024


class DistanceCells(NamedTuple):
    """Cells of squared distance: each segment is cut into equal cells, many where pairs are."""

    scale: float  # power of two that brings squared distances below 1
    # (n_segments,), int32: first cell and number of cells of each segment; a segment without cells
    # joins the cell that follows.
    bases: np.ndarray
    parts: np.ndarray
    halved: bool  # whether a distance is half its square (cosine, of unit rows)
    lowest: int = _LOWEST  # number of the first segment

    @classmethod
    def learn(cls, pilots: np.ndarray, scale: float, *, halved: bool) -> DistanceCells:
        """Spread 4,096 cells over the squared distances of a pilot sample, scaled below 1."""
        bits = pilots.astype(np.float32).view(np.int32) >> BITS
        segments = np.clip(bits - _LOWEST, 0, _N_SEGMENTS - 1)
        mass = np.bincount(segments, minlength=_N_SEGMENTS)
        occupied = np.flatnonzero(mass)
        parts = (mass > 0).astype(np.int64)
        # Other pairs may lie a quarter of an octave beyond the farthest pilot pair.
        end = min(int(occupied[-1]) + _PER_OCTAVE // 4 + 1, _N_SEGMENTS)
        if parts.sum() + _ALWAYS > N_CELLS:
            parts[occupied] = 0
        parts[max(end - _ALWAYS, 0) : end] = 1
        # Distances in the first segment have no order there, so it gets one cell.
        mass[0] = 0
        mass[end - 1] += not mass.any()
        parts += _apportion(mass, N_CELLS - int(parts.sum()))
        bases = np.minimum(np.cumsum(parts) - parts, N_CELLS - 1)
        return cls(scale, bases.astype(np.int32), parts.astype(np.int32), halved)

    def number(self, squares: np.ndarray) -> np.ndarray:
        """Number of the cell of every scaled squared distance."""
        out = np.empty(len(squares), dtype=np.int32)
        fill_cells(squares, self, out)
        return out

    def edges(self) -> np.ndarray:
        """The 4,097 edges, from 0 to beyond the largest distance that is possible."""
        bits = np.empty(N_CELLS + 1, dtype=np.int32)
        for segment in np.flatnonzero(self.parts):
            n, base = int(self.parts[segment]), int(self.bases[segment])
            begin = (segment + _LOWEST) << BITS
            # The first value in the segment that counts in its k-th cell.
            bits[base + 1 : base + n + 1] = begin - (-(np.arange(1, n + 1) << BITS) // n)
        bits[0] = 0
        bits[-1] = max(int(bits[-1]), (_ONE + 1) << BITS)
        return self.distance(bits.view(np.float32).astype(np.float64))

    def distance(self, squares: np.ndarray) -> np.ndarray:
        """Distances in the units of the activations, of scaled squares."""
        if self.halved:
            return squares / 2 / self.scale**2
        return np.sqrt(squares) / self.scale


def _apportion(mass: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers in proportion to the mass that add up to the total."""
    shares = mass / mass.sum() * total
    parts = np.floor(shares).astype(np.int64)
    rest = np.argsort(parts - shares, kind="stable")[: total - int(parts.sum())]
    parts[rest] += 1
    return parts
