"""A setting of the whole process, changed while anyone needs it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ContextDecorator
from threading import Lock
from typing import Any


class WhileInside(ContextDecorator):
    """Change a setting of the process while any thread is inside.

    The first one inside changes it, the last one restores it, whichever they are: where two
    overlap, each restoring what it met would leave the change behind.

    Examples
    --------
    >>> said = []
    >>> changed = WhileInside(lambda: said.append("changed"), lambda _: said.append("restored"))
    >>> with changed, changed:
    ...     said.append("inside")
    >>> said
    ['changed', 'inside', 'restored']
    """

    def __init__(self, change: Callable[[], Any], restore: Callable[[Any], object]) -> None:
        self._change, self._restore = change, restore
        self._lock = Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._before = self._change()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._restore(self._before)
