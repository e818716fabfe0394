"""What a run asks of the place where its arrays are."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Store(Protocol):
    """Where the arrays of a run are: any object with these three methods.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo.runs import Layer, Run
    >>> class Generated:
    ...     def epochs(self):
    ...         return [1, 2]
    ...     def shape(self, epoch, layer):
    ...         return (100, 3), np.dtype("float64")
    ...     def read(self, epoch, layer):
    ...         return np.random.RandomState(epoch).randn(100, 3)
    >>> Run(Generated(), layers=(Layer("hidden", sigma=0.1),)).load(2, "hidden").array.shape
    (100, 3)
    """

    def epochs(self) -> list[int]:
        """Epochs of the checkpoints, increasing."""

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One array; raises RunError if it cannot be read."""

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array, without reading it; raises RunError if there is none."""
