"""One door to runs, wherever their arrays are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from skinfo.errors import RunError
from skinfo.runs.layers import layers_in_order
from skinfo.runs.npz import check_groups, read_run
from skinfo.runs.run import Run


class MemoryStore:
    """Arrays in a dict keyed by (epoch, layer)."""

    def __init__(self, arrays: Mapping[tuple[int, str], Any]) -> None:
        for key in arrays:
            if not (isinstance(key, tuple) and len(key) == 2 and isinstance(key[0], Integral)):
                raise RunError(
                    f"arrays are keyed by (epoch, layer), a whole number first; got {key!r}"
                )
        self._arrays = {(int(epoch), str(layer)): a for (epoch, layer), a in arrays.items()}

    def epochs(self) -> list[int]:
        """Epochs of the keys, increasing."""
        return sorted({epoch for epoch, _ in self._arrays})

    def names(self, epoch: int) -> list[str]:
        """Layers that have an array at an epoch."""
        return [layer for e, layer in self._arrays if e == epoch]

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One array."""
        try:
            return np.asarray(self._arrays[epoch, layer])
        except KeyError:
            known = ", ".join(self.names(epoch))
            raise RunError(f"no such layer at this epoch; it has: {known}", epoch=epoch,
                           layer=layer) from None  # fmt: skip

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array."""
        array = self.read(epoch, layer)
        return array.shape, array.dtype


def open_run(
    source: str | Path | Mapping[tuple[int, str], Any],
    *,
    labels: Any = None,
    groups: Any = None,
    sigma: float | Mapping[str, float] | None = None,
    layers: Sequence[str] | None = None,
) -> Run:
    """Open saved activations.

    Parameters
    ----------
    source : path-like or mapping of (epoch, layer) to array
        A directory written by :class:`RunWriter`, or arrays in memory: (n_rows, n_units), or
        (n_inputs, n_replicas, n_units).
    labels : array-like of shape (n_inputs,), optional
        Label of each input. This and what follows describe arrays in memory; a directory describes
        itself.
    groups : array-like of shape (n_rows,), optional
        Input of each row of two-dimensional arrays whose rows are replicas, indexing ``labels``.
    sigma : float or mapping of str to float, optional
        Standard deviation of the noise of all layers, or of each.
    layers : sequence of str, optional
        Names in network order; by default the order in which they appear in ``source``.

    Returns
    -------
    Run
        The run; arrays are read one at a time, when asked for.

    Raises
    ------
    RunError
        If there is no run, it cannot be read, or its parts do not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import open_run
    >>> run = open_run({(1, "a"): np.zeros((3, 2)), (1, "b"): np.ones((3, 2))}, sigma=0.1)
    >>> [(layer.name, layer.sigma, layer.noise_before) for layer in run.layers]
    [('a', 0.1, False), ('b', 0.1, True)]
    """
    if not isinstance(source, Mapping):
        if any(value is not None for value in (labels, groups, sigma, layers)):
            raise TypeError(
                "labels, groups, sigma and layers describe arrays in memory; a directory describes "
                "itself in run.json."
            )
        return read_run(Path(source))
    store = MemoryStore(source)
    names = list(dict.fromkeys(layer for _, layer in source)) if layers is None else list(layers)
    labels = None if labels is None else np.asarray(labels)
    groups = None if groups is None else np.asarray(groups)
    one_a_row = groups is not None and labels is not None and len(labels) == len(groups)
    if one_a_row and len(np.unique(groups)) < len(labels):
        raise RunError(
            f"labels hold one label an input, and groups index them; got {len(labels)} labels, "
            f"one a row, for {len(np.unique(groups))} inputs. Pass labels[i] for input i."
        )
    if groups is not None:
        check_groups(groups, np.inf if labels is None else len(labels), "memory")
    return Run(store=store, layers=layers_in_order(names, sigma), labels=labels, groups=groups)
