"""Memory that a sweep may take: a layer is measured when what it needs fits into the process."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import psutil
from sklearn.base import BaseEstimator

from skinfo.errors import RunError
from skinfo.flow.estimators import last_step, steps_before
from skinfo.runs import Run

_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
# Compiled kernels and what the allocator keeps of freed arrays.
_RESERVE = 100 * 10**6
# Peak of a fit and of the steps before it, in copies of the layer's array in double precision.
_FACTOR, _STEPS = 4.0, 3.0


def parse_bytes(amount: int | str) -> int:
    """Read an amount of memory.

    Examples
    --------
    >>> parse_bytes("1.5GB"), parse_bytes("800 MiB"), parse_bytes(1000)
    (1500000000, 838860800, 1000)
    """
    number: int | str = amount
    if isinstance(amount, str):
        parts = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([KMGT]?)(I?)B?\s*", amount, re.IGNORECASE)
        if parts is not None and (parts[2] or not parts[3]):
            number = int(float(parts[1]) * (1024 if parts[3] else 1000) ** _UNITS[parts[2].upper()])
    if isinstance(number, int) and not isinstance(number, bool) and number > 0:
        return number
    raise ValueError(f"memory_limit is a positive number of bytes, or like '1GB'; got {amount!r}.")


@dataclass(frozen=True)
class Budget:
    """Memory that all tasks of a process share, at most ``limit`` bytes; None for no limit."""

    limit: int | None = None
    # Bytes that the running tasks of this process need, of all its sweeps.
    _running: ClassVar[list[int]] = []
    _freed: ClassVar[threading.Condition] = threading.Condition()

    def need(
        self,
        run: Run,
        epoch: int,
        layer: str,
        estimators: Iterable[BaseEstimator],
        n_noise_draws: int = 1,
    ) -> int:
        """Estimate the bytes that measuring a layer takes at its peak; 0 where there is no limit.

        It is the array in double precision times the largest ``memory_factor`` that an estimator
        declares (4 by default), and 3 more where steps of a pipeline come first. With several draws
        of the noise the array is kept beside what is drawn, and so are the deviations that a run
        may store: once more each.
        """
        if self.limit is None:
            return 0
        factor = max(
            getattr(last_step(estimator), "memory_factor", _FACTOR)
            + (0.0 if steps_before(estimator) is None else _STEPS)
            for estimator in estimators
        )
        # Several draws are made of an array that is kept, and so are deviations beside it.
        factor += (n_noise_draws > 1) + (run.layer(layer).deviations is not None)
        try:
            values, reading = prod(run.shape(epoch, layer)), run.nbytes(epoch, layer)
        except (RunError, MemoryError):
            # Reading it fails and takes nothing.
            return 0
        return max(int(8 * values * factor), reading + values)

    @contextmanager
    def held(self, need: int) -> Iterator[None]:
        """Hold memory once it is free. A task that needs more than the limit runs alone.

        The running tasks may still take all that they need, beside what the process holds now.
        """
        if self.limit is None:
            yield
            return
        free = self.limit - need
        with self._freed:
            self._freed.wait_for(
                lambda: not self._running or resident_memory() + sum(self._running) <= free
            )
            self._running.append(need)
        try:
            yield
        finally:
            with self._freed:
                self._running.remove(need)
                self._freed.notify_all()

    def too_large(self, run: Run, epoch: int, layer: str, need: int) -> RunError | None:
        """The error that names a layer, its size and the limit; None where it fits by itself."""
        if self.limit is None:
            return None
        taken = resident_memory() + _RESERVE
        if need <= self.limit - taken:
            return None
        return RunError(
            f"an array of {_megabytes(run.nbytes(epoch, layer))} that takes about "
            f"{_megabytes(need)} to measure; memory_limit leaves "
            f"{_megabytes(max(self.limit - taken, 0))} beside the process itself. Give a limit of "
            f"{_megabytes(taken + need)} or more, or fewer inputs.",
            path=run.name, epoch=epoch, layer=layer,
        )  # fmt: skip


def resident_memory() -> int:
    """Bytes of memory that this process takes."""
    return int(psutil.Process().memory_info().rss)


def _megabytes(amount: int) -> str:
    return f"{-(-amount // 10**6):,} MB"
