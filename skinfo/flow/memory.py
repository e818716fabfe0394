"""Memory that a sweep may take: what a layer needs, and who waits until it is free."""

from __future__ import annotations

import ctypes
import re
import sys
import threading
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import prod
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from skinfo.binned.estimator import BinningMIEstimator
from skinfo.clustered.estimator import ClusteringScore
from skinfo.errors import RunError
from skinfo.flow.estimators import last_step, steps_before, uses_replicas
from skinfo.noisy.estimator import NoisyMIEstimator
from skinfo.runs import Run

_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
# Compiled kernels and what the allocator keeps, beyond what a process holds before its first fit.
_RESERVE = 150 * 10**6
# Their numbers for mallopt, in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# Peaks of fits on arrays of 100 MB beside the rows they are given (benchmarks/working_memory.py):
# in arrays of doubles of their shape, for a noisy fit in copies of the rows as they are.
_BINNING, _DISTANCES, _OTHER, _SAMPLED, _STEPS = 1.1, 2.2, 3.1, 5.5, 3.0
_NOISY = 2.5
# Weights, inputs, labels, orders and sums of each row, in bytes; more where rows have replicas.
_A_ROW, _A_REPLICA = 250, 400


def parse_bytes(amount: int | str) -> int:
    """Read an amount of memory.

    Examples
    --------
    >>> parse_bytes("1.5GB"), parse_bytes("800 MiB"), parse_bytes(1000)
    (1500000000, 838860800, 1000)
    """
    if isinstance(amount, str):
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)\s*([KMGT]?)(I?)B?\s*", amount, re.IGNORECASE)
        if found is None or (found[3] and not found[2]):
            raise ValueError(f"memory_limit is a number of bytes, or like '1GB'; got {amount!r}.")
        amount = int(float(found[1]) * (1024 if found[3] else 1000) ** _UNITS[found[2].upper()])
    if isinstance(amount, bool) or not isinstance(amount, int) or amount <= 0:
        raise ValueError(
            f"memory_limit is a positive number of bytes, or like '1GB'; got {amount!r}."
        )
    return amount


class Budget:
    """Memory that the tasks of a process share: each waits until what it needs is free.

    A copy sent to another process is that process's own budget, one for all that arrives there.

    Parameters
    ----------
    limit : int or None, default=None
        Most bytes that the process may take; None for no limit.
    key : str, optional
        What copies of one budget have in common.
    """

    def __init__(self, limit: int | None = None, key: str | None = None) -> None:
        self.limit = limit
        self._key = uuid.uuid4().hex if key is None else key
        if limit is not None:
            give_back_when_freed()
        self._idle = resident_memory() + _RESERVE
        self._taken = 0
        self._freed = threading.Condition()

    @classmethod
    def of(cls, memory_limit: int | str | None) -> Budget:
        """Make one of what a user gives."""
        return cls(None if memory_limit is None else parse_bytes(memory_limit))

    def __reduce__(self) -> tuple[object, ...]:
        return _of_this_process, (self._key, self.limit)

    @property
    def free(self) -> int:
        """Bytes that are left for tasks when none runs."""
        return 0 if self.limit is None else self.limit - self._idle

    @contextmanager
    def held(self, need: int) -> Iterator[None]:
        """Hold memory; wait for it first. One that needs more than there is runs alone."""
        if self.limit is None:
            yield
            return
        need = max(need, 1)
        with self._freed:
            self._freed.wait_for(lambda: not self._taken or self._taken + need <= self.free)
            if not self._taken:
                # Kernels compiled since, and what others keep in this process.
                self._idle = max(self._idle, resident_memory())
            self._taken += need
        try:
            yield
        finally:
            with self._freed:
                self._taken -= need
                self._freed.notify_all()


_BUDGETS: WeakValueDictionary[str, Budget] = WeakValueDictionary()
_BUDGETS_LOCK = threading.Lock()


def _of_this_process(key: str, limit: int | None) -> Budget:
    with _BUDGETS_LOCK:
        budget = _BUDGETS.get(key)
        if budget is None:
            budget = _BUDGETS[key] = Budget(limit, key)
        return budget


def give_back_when_freed() -> None:
    """Have larger arrays handed back to the system as soon as they are freed.

    By itself glibc soon keeps up to 64 MB for each thread that ever held an array; here 16 MB.
    Keeping nothing would double the time that the system takes.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL("libc.so.6")
        library.mallopt(_MMAP_THRESHOLD, 8 * 2**20)
        library.mallopt(_TRIM_THRESHOLD, 16 * 2**20)


def resident_memory() -> int:
    """Bytes of memory that this process takes; its peak where the system tells no more."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        import resource

        return int(statm.read_text().split()[1]) * resource.getpagesize()
    try:
        import resource
    except ImportError:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@dataclass(frozen=True)
class _Size:
    """What is known of an array before it is read."""

    stored: int
    values: int
    rows: int
    inputs: int
    noisy: bool
    converted: int

    @classmethod
    def of(cls, run: Run, epoch: int, layer: str) -> _Size | None:
        """None for an array that is not there: reading it fails and takes nothing."""
        try:
            # As it is once flattened; its bytes count the array as stored, too.
            shape, stored = run.shape(epoch, layer), run.nbytes(epoch, layer)
            dtype = run.stored_shape(epoch, layer)[1]
        except RunError:
            return None
        inputs = shape[0] if shape else 1
        rows = inputs * shape[1] if len(shape) == 3 else inputs
        values = prod(shape)
        # Estimators compute with single and double precision as they are.
        converted = 0 if dtype in (np.float32, np.float64) else 8 * values
        noisy = bool(run.layer(layer).sigma)
        return cls(stored, values, rows, inputs, noisy, converted)

    @property
    def sampled(self) -> int:
        """Values of one replica of each input."""
        return self.values * self.inputs // max(self.rows, 1)

    @property
    def sample(self) -> int:
        """Bytes of one replica of each input, with noise where the layer has some."""
        return 8 * self.sampled if self.noisy else self.stored * self.inputs // max(self.rows, 1)

    @property
    def of_rows(self) -> int:
        """Bytes of what is known of each row."""
        return self.rows * (_A_REPLICA if self.rows > self.inputs else _A_ROW)

    @property
    def reading(self) -> int:
        """Bytes while the array is read and checked."""
        return self.stored + self.values

    @property
    def sampling(self) -> int:
        """Bytes while one noisy sample of each input is drawn."""
        plain = self.stored * self.inputs // max(self.rows, 1)
        noise = 8 * self.sampled if self.noisy else 0
        return self.stored + plain + noise + 50 * self.rows


def need_of_task(
    budget: Budget,
    run: Run,
    epoch: int,
    layer: str,
    estimators: Iterable[BaseEstimator | None],
    mask: np.ndarray | None = None,
) -> int:
    """Estimate the bytes that measuring one layer takes at its peak; 0 where there is no limit.

    All estimators share what is read, and work one after the other.
    """
    chosen = [estimator for estimator in estimators if estimator is not None]
    size = None if budget.limit is None else _Size.of(run, epoch, layer)
    if size is None or not chosen:
        return 0
    needs = [size.reading]
    for estimator in chosen:
        if uses_replicas(estimator):
            cut = 0 if mask is None else size.stored
            work = _working(estimator, size.stored, size.values)
            needs.append(size.stored + cut + work + size.of_rows)
        else:
            work = _working(estimator, size.sample, size.sampled)
            needs += [size.sampling, size.sample + work + _A_ROW * size.inputs]
    return max(needs) + size.converted


def need_of_samples(
    budget: Budget, run: Run, epoch: int, layer: str, transform: Pipeline | None
) -> int:
    """Estimate the bytes that one noisy sample of each input takes, and what transforms it."""
    size = None if budget.limit is None else _Size.of(run, epoch, layer)
    if size is None:
        return 0
    steps = 0 if transform is None else int(8 * size.sampled * _STEPS)
    return max(size.reading, size.sampling + steps) + size.converted


def _working(estimator: BaseEstimator, rows: int, values: int) -> int:
    """Bytes that a fit takes beside its rows, which take ``rows`` bytes."""
    last = last_step(estimator)
    doubles = 0.0 if steps_before(estimator) is None else _STEPS
    if isinstance(last, NoisyMIEstimator) and not last.population:
        return int(8 * values * doubles + _NOISY * rows)
    if isinstance(last, NoisyMIEstimator):
        doubles += _SAMPLED
    elif isinstance(last, BinningMIEstimator):
        doubles += _BINNING
    elif isinstance(last, ClusteringScore) and not last.measures and last.criterion == "auc":
        doubles += _DISTANCES
    else:
        doubles += _OTHER
    return int(8 * values * doubles)


def check_needs(budget: Budget, run: Run, named: Mapping[str, BaseEstimator]) -> None:
    """Check that every layer fits into memory by itself.

    Raises
    ------
    RunError
        That names the first that does not, and its size.
    """
    if budget.limit is None:
        return
    for epoch in run.epochs:
        for layer in run.layers:
            need = need_of_task(budget, run, epoch, layer.name, named.values())
            if need > budget.free:
                raise RunError(
                    f"an array of {_megabytes(run.nbytes(epoch, layer.name))} that takes about "
                    f"{_megabytes(need)} to measure; memory_limit leaves "
                    f"{_megabytes(max(budget.free, 0))} beside the process itself. Give a limit "
                    f"of {_megabytes(budget.limit - budget.free + need)} or more, or fewer inputs.",
                    path=run.name, epoch=epoch, layer=layer.name,
                )  # fmt: skip


def _megabytes(amount: int) -> str:
    return f"{-(-amount // 10**6):,} MB"
