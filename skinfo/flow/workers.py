"""Work on many items with joblib: in threads of this process, or in processes anywhere."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from joblib import Parallel, delayed, parallel_config
from sklearn import config_context, get_config
from threadpoolctl import threadpool_limits

from skinfo.errors import OutsideEdgesWarning, SaturationWarning

Item = TypeVar("Item")
Result = TypeVar("Result")


def _call(
    work: Callable[[Item], Result], place: int, item: Item, process: int, config: dict[str, Any]
) -> tuple[int, Result, list[Warning]]:
    """Work under the caller's configuration; warnings of another process are returned."""
    with config_context(**config):
        if os.getpid() == process:
            return place, work(item), []
        # The threads of a worker's process are its scheduler's to use, not an estimator's.
        with _FOREIGN as heard, parallel_config("threading", n_jobs=1):
            return place, work(item), heard


def in_workers(
    work: Callable[[Item], Result], items: Iterable[Item], n_jobs: int | None
) -> Iterator[tuple[int, Result]]:
    """Yield (place, work(item)) of every item, as they are finished.

    Threads, unless a surrounding ``joblib.parallel_config`` names another backend. Linear algebra
    stays on one thread per worker: the workers are the threads, and the numbers do not depend on
    them. Warnings of a worker in another process are given here. SaturationWarning and
    OutsideEdgesWarning are left out, as the table carries them as notes.
    """
    process, config = os.getpid(), get_config()
    with _sweep_settings():
        results = Parallel(n_jobs=n_jobs, prefer="threads", return_as="generator_unordered")(
            delayed(_call)(work, place, item, process, config) for place, item in enumerate(items)
        )
        try:
            for place, result, heard in results:
                for message in heard:
                    warnings.warn(message, stacklevel=3)
                yield place, result
        except BaseException:
            # The caller who interrupts needs no advice of joblib on tasks that were dropped.
            warnings.simplefilter("ignore")
            results.close()
            raise


@contextmanager
def _sweep_settings(*, foreign: bool = False) -> Iterator[None]:
    """Settings of a process; in a worker's own its threads collect the warnings of theirs."""
    with threadpool_limits(limits=1, user_api="blas"), warnings.catch_warnings():
        if foreign:
            show = warnings.showwarning

            def hear(message: Any, *where: Any, **more: Any) -> None:
                heard = getattr(_LOCAL, "heard", None)
                if heard is None:
                    show(message, *where, **more)
                else:
                    heard.append(message)

            warnings.simplefilter("always")
            warnings.showwarning = hear
        warnings.simplefilter("ignore", SaturationWarning)
        warnings.simplefilter("ignore", OutsideEdgesWarning)
        # A caller can do nothing about joblib's remark on a slow disk.
        warnings.filterwarnings("ignore", "Persisting input arguments took")
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
                self._settings.enter_context(_sweep_settings(foreign=True))
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
