"""Which rows are summed together: halves of the replicas, strata, and strata of few rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skinfo._numba import in_order, slices_of
from skinfo._rows import Rows
from skinfo.noisy.kernels.blocks import Queries
from skinfo.noisy.kernels.rows import sum_by_rows

# No draw has this label.
_NO_LABEL = -2


@dataclass(frozen=True)
class Part:
    """Rows that are summed together, and where they stand among themselves."""

    members: np.ndarray  # (n_members,): the rows, in order; those of a cell are neighbours
    # (n,): where each row stands; negative, far below, for rows of other parts.
    positions: np.ndarray
    spans: np.ndarray  # (n_cells, 2): first and one past the last position of each cell
    rows: Rows  # all rows, with the weights that they have in this part

    @classmethod
    def of(cls, members: np.ndarray, rows: Rows, cells: np.ndarray) -> Part:
        """Find where the rows of each cell, an input's within a stratum, stand."""
        positions = np.full(len(cells), -len(cells), dtype=np.int64)
        positions[members] = np.arange(len(members))
        return cls(members, positions, spans_of(cells[members], int(cells.max()) + 1), rows)


def spans_of(codes: np.ndarray, n_codes: int) -> np.ndarray:
    """First and one past the last place of each code, (n_codes, 2); equal ones are neighbours."""
    spans = np.zeros((n_codes, 2), dtype=np.int64)
    begins = np.flatnonzero(np.diff(codes, prepend=-1))
    spans[codes[begins], 0] = begins
    spans[codes[begins], 1] = np.append(begins[1:], len(codes))
    return spans


@dataclass(frozen=True)
class FewRows:
    """Rows of the small strata of a part, those of a stratum side by side."""

    members: np.ndarray  # (n_members,): the rows
    spans: np.ndarray  # (n_strata, 2): where those of each stratum stand among them
    points: np.ndarray  # (n_members, rank): scaled as the queries are
    widths: np.ndarray | None  # (n_members, rank): one over the deviations
    volumes: np.ndarray  # (n_members,): log2 of the volumes

    def sum_at(
        self, queries: Queries, strata: np.ndarray, drawn: np.ndarray | None, rows: Rows,
        n_jobs: int | None,
    ) -> np.ndarray:  # fmt: skip
        """Sum the rows at each query, as :meth:`Layout.sum_at`."""
        spans = np.where(strata[:, None] >= 0, self.spans[strata], 0)
        labels = np.full(len(rows.inputs), _NO_LABEL) if rows.labels is None else rows.labels
        sums, none = np.empty((len(strata), 3)), np.full(len(strata), -1)
        inputs = none if drawn is None else rows.inputs[drawn]
        of_labels = none if drawn is None or rows.labels is None else labels[drawn]
        own = none if drawn is None else drawn

        def fill(part: slice) -> None:
            sum_by_rows(
                queries.points[part], queries.references[part], own[part],
                inputs[part], of_labels[part], spans[part, 0], spans[part, 1],
                self.points, self.widths, self.volumes, rows.weights[self.members], self.members,
                rows.inputs[self.members], labels[self.members], sums[part],
            )  # fmt: skip

        list(in_order(fill, slices_of(len(sums)), n_jobs))
        return sums
