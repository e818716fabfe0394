"""How far a sweep has come: a bar where rich is installed, a callable's own way, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def reporting(
    progress: bool | Callable[[int, int], None], total: int
) -> Iterator[Callable[[int, int], None]]:
    """Give what is to be called with the numbers of finished and of all estimates."""
    if callable(progress):
        yield progress
        return
    if progress:
        try:
            from skinfo._progress import progress_bar
        except ImportError:
            progress = False
    if not progress:
        yield lambda _done, _total: None
        return
    with progress_bar() as bar:
        task = bar.add_task("Estimating", total=total)
        yield lambda done, _total: bar.update(task, completed=done)
