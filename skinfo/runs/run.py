"""A run as the rest of the toolkit sees it, whatever holds its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from skinfo.errors import RunError
from skinfo.runs.layers import Layer


class Store(Protocol):
    """Where the arrays of a run are."""

    def epochs(self) -> list[int]:
        """Epochs of the checkpoints, increasing."""

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One array; raises RunError if it cannot be read."""

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array, without reading it; raises RunError if there is none."""


@dataclass(frozen=True)
class Activations:
    """Rows of one layer at one checkpoint.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_units)
        Activations.
    y : ndarray of shape (n_rows,) or None
        Label of each row's input.
    groups : ndarray of shape (n_rows,) or None
        Input of each row, where rows are replicas.
    replicas_missing : bool
        Whether noise precedes the layer but every input has one row: this is I(S;T).
    """

    X: np.ndarray
    y: np.ndarray | None
    groups: np.ndarray | None
    replicas_missing: bool


@dataclass(frozen=True, repr=False)
class Run:
    """Saved activations of a network at checkpoints; open one with :func:`skinfo.open_run`.

    Attributes
    ----------
    store : Store
        Where the arrays are; they are read one at a time, when asked for.
    layers : tuple of Layer
        The layers in network order.
    labels : ndarray of shape (n_inputs,) or None
        Label of each input.
    groups : ndarray of shape (n_rows,) or None
        Input of each row of two-dimensional arrays whose rows are replicas.
    train : ndarray of shape (n_inputs,), bool, or None
        Which inputs the network was trained on.
    losses : dict
        Numbers by epoch, such as {1: {"train_loss": 0.7, "test_loss": 0.7}}.
    seed : int or None
        Seed of the run.
    versions : dict
        Versions of the software that wrote it.
    settings : dict
        Anything else its writer noted.
    name : str
        The path or "memory".
    """

    store: Store
    layers: tuple[Layer, ...]
    labels: np.ndarray | None = None
    groups: np.ndarray | None = None
    train: np.ndarray | None = None
    losses: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    name: str = "memory"

    @property
    def epochs(self) -> list[int]:
        """Epochs of the checkpoints, increasing."""
        return self.store.epochs()

    @property
    def lost_epochs(self) -> list[int]:
        """Epochs whose losses are on record, but no activations."""
        return sorted(set(self.losses) - set(self.epochs))

    def __repr__(self) -> str:
        names = ", ".join(layer.name for layer in self.layers)
        return f"Run({self.name!r}, layers: {names}, {len(self.epochs)} checkpoints)"

    def layer(self, name: str) -> Layer:
        """Find a layer by name."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        known = ", ".join(layer.name for layer in self.layers)
        raise RunError(f"there is no such layer; this run has: {known}", path=self.name, layer=name)

    def array(self, epoch: int, layer: str) -> np.ndarray:
        """Read one stored array.

        Returns
        -------
        ndarray of shape (n_rows, n_units) or (n_inputs, n_replicas, n_units)
            Activations before the layer's noise.

        Raises
        ------
        RunError
            If there is no such checkpoint or layer, or the array cannot be read or used, or holds
            NaN or infinities.
        """
        self.layer(layer)
        if epoch not in self.epochs:
            known = ", ".join(map(str, self.epochs))
            raise RunError(f"there is no such checkpoint; this run has: {known}", path=self.name,
                           epoch=epoch)  # fmt: skip
        array = self.store.read(epoch, layer)
        self.check_array(array, epoch, layer)
        if not np.isfinite(array).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise RunError(f"holds NaN or infinity, first at {place}", path=self.name,
                           epoch=epoch, layer=layer)  # fmt: skip
        return array

    def nbytes(self, epoch: int, layer: str) -> int:
        """Find how much memory an array takes, without reading it."""
        shape, dtype = self.store.shape(epoch, layer)
        return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize

    def check_array(self, array: np.ndarray, epoch: int, layer: str) -> None:
        """Check that an array holds numbers, in a shape that fits the run."""
        if array.dtype.kind not in "fiu":
            raise RunError(f"holds {array.dtype} where numbers are expected", path=self.name,
                           epoch=epoch, layer=layer)  # fmt: skip
        if array.ndim not in (2, 3) or array.size == 0:
            raise RunError(
                f"has shape {array.shape}; expected (n_rows, n_units) or (n_inputs, n_replicas, "
                "n_units). Flatten or pool convolutional maps first.",
                path=self.name, epoch=epoch, layer=layer,
            )  # fmt: skip
        self._inputs_of_rows(array, epoch, layer)

    def replicas(self, epoch: int, layer: str, *, subset: np.ndarray | None = None) -> Activations:
        """All rows of a layer, with the input of each: what information is estimated from.

        Parameters
        ----------
        epoch, layer : int, str
            Which.
        subset : ndarray of shape (n_inputs,), bool, optional
            Inputs to keep.
        """
        array = self.array(epoch, layer)
        inputs = self._inputs_of_rows(array, epoch, layer)
        X = array.reshape(len(inputs), -1)
        if subset is not None:
            keep = self._mask(subset, inputs)[inputs]
            X, inputs = X[keep], inputs[keep]
        y = None if self.labels is None else self.labels[inputs]
        has_replicas = len(np.unique(inputs)) < len(inputs)
        return Activations(
            X,
            y,
            inputs if has_replicas else None,
            replicas_missing=self.layer(layer).noise_before and not has_replicas,
        )

    def noisy_samples(
        self, epoch: int, layer: str, *, seed: int = 0, subset: np.ndarray | None = None
    ) -> Activations:
        """One sample of T an input: its first replica plus this layer's own noise.

        Binning and clustering measure T itself, one row an input; where sigma is 0 or unknown it
        is S.
        """
        array = self.array(epoch, layer)
        inputs = self._inputs_of_rows(array, epoch, layer)
        names, first = np.unique(inputs, return_index=True)
        X = array.reshape(len(inputs), -1)[first]
        sigma = self.layer(layer).sigma
        if sigma:
            rng = np.random.default_rng([seed, epoch, [x.name for x in self.layers].index(layer)])
            X = X + sigma * rng.standard_normal(X.shape, dtype=np.float64)
        y = None if self.labels is None else self.labels[names]
        if subset is not None:
            keep = self._mask(subset, inputs)[names]
            X, y = X[keep], None if y is None else y[keep]
        return Activations(X, y, None, replicas_missing=False)

    def _inputs_of_rows(self, array: np.ndarray, epoch: int, layer: str) -> np.ndarray:
        """The input of each row of the array, unfolded to two dimensions."""
        n_inputs = None if self.labels is None else len(self.labels)
        if n_inputs is None and self.groups is not None:
            n_inputs = int(self.groups.max()) + 1
        if array.ndim == 3:
            inputs = np.repeat(np.arange(array.shape[0]), array.shape[1])
            fits = n_inputs is None or array.shape[0] == n_inputs
        elif self.groups is not None and len(array) == len(self.groups):
            return self.groups
        else:
            inputs = np.arange(len(array))
            fits = n_inputs is None or len(array) == n_inputs
        if not fits:
            expected = f"{n_inputs} inputs" + (
                f" or {len(self.groups)} rows of groups" if self.groups is not None else ""
            )
            hint = (
                "" if self.groups is not None else "; where rows are replicas, groups name inputs"
            )
            raise RunError(f"shape {array.shape} does not fit the run's {expected}{hint}",
                           path=self.name, epoch=epoch, layer=layer)  # fmt: skip
        return inputs

    def _mask(self, subset: np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """The mask, if it has one entry an input; an input may have no rows."""
        n_inputs = int(inputs.max()) + 1 if self.labels is None else len(self.labels)
        if len(subset) != n_inputs:
            raise ValueError(f"The mask has {len(subset)} entries for {n_inputs} inputs.")
        return subset
