"""Work on many items wherever joblib does it: threads of this process, or processes anywhere."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
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
    """Do it as whoever asked for it is set up; what they should be warned of comes back."""
    with config_context(**config):
        if os.getpid() == process:
            return place, work(item), []
        # The threads of a worker's process are its scheduler's to use, not an estimator's.
        with _FOREIGN, _hearing() as heard, parallel_config("threading", n_jobs=1):
            return place, work(item), heard


def in_workers(
    work: Callable[[Item], Result], items: Iterable[Item], n_jobs: int | None
) -> Iterator[tuple[int, Result]]:
    """Yield (place, work(item)) of every item, as they are finished.

    Threads, unless a surrounding ``joblib.parallel_config`` names another backend. Linear algebra
    stays on one thread a worker: the workers are the threads, and the numbers do not depend on
    them. What a worker in another process warns of is warned of here; a SaturationWarning or an
    OutsideEdgesWarning nowhere, as the table carries them as notes.
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
            # joblib's advice on tasks that were dropped is nothing to whoever interrupts.
            warnings.simplefilter("ignore")
            results.close()
            raise


@contextmanager
def _sweep_settings() -> Iterator[None]:
    with threadpool_limits(limits=1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)
        warnings.simplefilter("ignore", OutsideEdgesWarning)
        # joblib's remark on a slow disk asks for nothing that a caller could do.
        warnings.filterwarnings("ignore", "Persisting input arguments took")
        yield


@contextmanager
def _foreign_settings() -> Iterator[None]:
    """The same in a worker's process, where warnings are collected for whom they concern."""
    with _sweep_settings():
        show = warnings.showwarning

        def hear(message: Any, *where: Any, **more: Any) -> None:
            heard = getattr(_LOCAL, "heard", None)
            if heard is None:
                show(message, *where, **more)
            else:
                heard.append(message)

        warnings.simplefilter("always")
        warnings.simplefilter("ignore", SaturationWarning)
        warnings.simplefilter("ignore", OutsideEdgesWarning)
        warnings.showwarning = hear
        yield


@contextmanager
def _hearing() -> Iterator[list[Warning]]:
    """A list that takes what this thread is warned of."""
    _LOCAL.heard = []
    try:
        yield _LOCAL.heard
    finally:
        _LOCAL.heard = None


class _Shared:
    """A setting of a whole process, in force while any of its threads is inside.

    Were each thread to restore what it found, the setting would stay behind where two overlap.
    """

    def __init__(self, setting: Callable[[], AbstractContextManager[None]]) -> None:
        self._setting = setting
        self._lock = threading.Lock()
        self._inside = 0
        self._open = ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._open.enter_context(self._setting())
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._open.close()


_LOCAL = threading.local()
_FOREIGN = _Shared(_foreign_settings)
