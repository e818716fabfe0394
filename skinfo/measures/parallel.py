"""Threads over slices of the draws: the same bits for any number of them."""

from __future__ import annotations

from collections.abc import Callable

from joblib import Parallel, delayed

_SLICE = 512


def in_slices(work: Callable[[slice], None], n: int, n_jobs: int | None) -> None:
    """Call ``work`` on slices of range(n), in threads; each fills its own part of an output."""
    slices = [slice(start, min(start + _SLICE, n)) for start in range(0, n, _SLICE)]
    Parallel(n_jobs=n_jobs, prefer="threads")(delayed(work)(part) for part in slices)
