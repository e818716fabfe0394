"""Work on many items: in threads of this process, or with joblib in processes anywhere."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import Any, TypeAlias, TypeVar

from joblib import Parallel, delayed, parallel_config
from joblib.parallel import get_active_backend
from sklearn import config_context, get_config

from skinfo._numba import ONE_BLAS_THREAD
from skinfo.errors import OutsideEdgesWarning, SaturationWarning, noted_by_a_table

Item = TypeVar("Item")
Result = TypeVar("Result")
_Call: TypeAlias = Callable[[], tuple[int, Result, list[Warning]]]
# More threads than these help no processor.
_MOST_THREADS = 256


def _call(
    work: Callable[[Item], Result], place: int, item: Item, process: int, config: dict[str, Any]
) -> tuple[int, Result, list[Warning]]:
    """Work under the caller's configuration; warnings of another process are returned."""
    with config_context(**config), noted_by_a_table():
        if os.getpid() == process:
            return place, work(item), []
        # The threads of a worker's process are its scheduler's to use, not an estimator's.
        with _FOREIGN as heard, parallel_config("threading", n_jobs=1):
            result = work(item)
        of_notes = (SaturationWarning, OutsideEdgesWarning)
        return place, result, [one for one in heard if not isinstance(one, of_notes)]


def in_workers(
    work: Callable[[Item], Result], items: Iterable[Item], n_jobs: int | None
) -> Iterator[tuple[int, Result]]:
    """Yield (place, work(item)) of every item, as they are finished.

    Threads, unless a surrounding ``joblib.parallel_config`` names another backend. Linear algebra
    stays on one thread per worker: the workers are the threads, and the numbers do not depend on
    them. Warnings of a worker in another process are given here. SaturationWarning and
    OutsideEdgesWarning of skinfo's estimators are left out, as the table carries them as notes.
    Whoever stops early waits for the fits under way in threads; nothing goes on behind.
    """
    process, config = os.getpid(), get_config()
    calls: list[_Call[Result]] = [
        partial(_call, work, place, item, process, config) for place, item in enumerate(items)
    ]
    backend, usual = get_active_backend(prefer="threads")
    with ONE_BLAS_THREAD:
        if getattr(backend, "uses_threads", False):
            n_threads = backend.effective_n_jobs(usual if n_jobs is None else n_jobs)
            results = _in_threads(calls, min(n_threads, len(calls), _MOST_THREADS))
        else:
            results = _elsewhere(calls, n_jobs)
        for place, result, heard in results:
            for message in heard:
                warnings.warn(message, stacklevel=3)
            yield place, result


def _in_threads(
    calls: list[_Call[Result]], n_threads: int
) -> Iterator[tuple[int, Result, list[Warning]]]:
    if n_threads < 2:
        yield from (call() for call in calls)
        return
    stopped = threading.Event()
    pool = ThreadPoolExecutor(n_threads, initializer=setattr, initargs=(_LOCAL, "stopped", stopped))
    try:
        for future in as_completed([pool.submit(call) for call in calls]):
            yield future.result()
    finally:
        stopped.set()
        pool.shutdown(cancel_futures=True)


def stop_if_asked() -> None:
    """End what goes on in a worker's thread when the sweep was interrupted; asked between draws."""
    stopped = getattr(_LOCAL, "stopped", None)
    if stopped is not None and stopped.is_set():
        raise KeyboardInterrupt


def _elsewhere(
    calls: list[_Call[Result]], n_jobs: int | None
) -> Iterator[tuple[int, Result, list[Warning]]]:
    results = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator_unordered")(
        delayed(call)() for call in calls
    )
    try:
        yield from results
    except BaseException:
        # The caller who interrupts needs no advice of joblib on tasks that were dropped.
        with suppress(KeyboardInterrupt):
            results.throw(KeyboardInterrupt)
        raise


@contextmanager
def _heard() -> Iterator[None]:
    """Let the threads of a worker's process collect their own warnings, and keep BLAS to one."""
    with ONE_BLAS_THREAD, warnings.catch_warnings():
        show = warnings.showwarning

        def hear(message: Any, *where: Any, **more: Any) -> None:
            heard = getattr(_LOCAL, "heard", None)
            if heard is None:
                show(message, *where, **more)
            else:
                heard.append(message)

        warnings.simplefilter("always")
        warnings.showwarning = hear
        yield


class _Foreign:
    """The settings of a worker's process, in force while any of its threads is inside.

    If each thread restored the settings that it met, they would stay behind where two overlap.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._settings = ExitStack()

    def __enter__(self) -> list[Warning]:
        """Give a list in which the warnings of this thread are collected."""
        with self._lock:
            if self._inside == 0:
                self._settings.enter_context(_heard())
            self._inside += 1
        _LOCAL.heard = []
        return _LOCAL.heard

    def __exit__(self, *_: object) -> None:
        _LOCAL.heard = None
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._settings.close()


_LOCAL = threading.local()
_FOREIGN = _Foreign()
