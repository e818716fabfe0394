"""Training goes on as if nothing had been measured."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np


@contextmanager
def generators_untouched() -> Iterator[None]:
    """Give the global generators of Python, numpy and torch their states back.

    A torch that nobody imported, or a GPU that nobody used, has no state to keep.

    Examples
    --------
    >>> import random
    >>> with generators_untouched():
    ...     inside = random.random()
    >>> random.random() == inside
    True
    """
    with ExitStack() as undo:
        undo.callback(random.setstate, random.getstate())
        undo.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002
        torch = sys.modules.get("torch")
        if torch is not None:
            devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
            undo.enter_context(torch.random.fork_rng(devices=devices))
        yield
