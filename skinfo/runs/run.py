"""A run as the rest of the toolkit sees it, whatever holds its arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from skinfo.errors import RunError
from skinfo.runs.description import Layer
from skinfo.runs.flatten import Flattener, Flattening
from skinfo.runs.subset import subset_mask


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
    >>> Run(Generated(), layers=(Layer("hidden", sigma=0.1),)).array(2, "hidden").shape
    (100, 3)
    """

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

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import open_run
    >>> T = np.random.RandomState(0).randn(100, 5, 3)  # 100 inputs, 5 noisy passes, 3 units
    >>> run = open_run({(1, "deep"): T}, sigma=0.1, labels=np.arange(100) % 2)
    >>> activations = run.replicas(1, "deep")
    >>> activations.X.shape, activations.groups[:6].tolist()
    ((500, 3), [0, 0, 0, 0, 0, 1])
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
    schema : int or None
        Version of the layout on disk; None where nothing describes it.
    order_from_names : bool
        Whether the order of the layers is that of the numbers in their names, for want of another.
    flattening : Flattening
        How maps and sequences become rows of units.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import open_run
    >>> rng = np.random.RandomState(0)
    >>> run = open_run({(e, "hidden"): rng.randn(100, 3) for e in (1, 10)}, sigma=0.1)
    >>> run
    Run('memory', layers: hidden, 2 checkpoints)
    >>> run.epochs, run.layer("hidden").sigma, run.array(10, "hidden").shape
    ([1, 10], 0.1, (100, 3))
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
    schema: int | None = None
    order_from_names: bool = False
    flattening: Flattening = field(default_factory=Flattening)
    # Units of each layer at the first checkpoint that can be looked at, and its epoch.
    _widths: dict[str, tuple[int, int]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

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
        """Read one array, flattened as was chosen when the run was opened.

        Returns
        -------
        ndarray of shape (n_rows, n_units) or (n_inputs, n_replicas, n_units)
            Activations before the layer's noise.

        Raises
        ------
        RunError
            If there is no such checkpoint or layer; the array cannot be read or used, holds NaN or
            infinities, or has another number of units than at the first checkpoint; it is a map of
            which nobody said how to flatten it; or its second axis cannot be replicas.
        """
        return self._read(epoch, layer)[0]

    def _read(self, epoch: int, layer: str) -> tuple[np.ndarray, int]:
        """An array, and how many rows of it are tokens of one input."""
        self._check_place(epoch, layer)
        stored = self.store.read(epoch, layer)
        flattener = self._flattener(stored.shape, stored.dtype, epoch, layer)
        try:
            array = flattener.apply(stored)
        except ValueError as error:
            raise self._error(str(error), epoch, layer) from error
        tokens = flattener.tokens(stored.shape)
        self._check_kind(array.dtype, epoch, layer)
        self._inputs_of_rows(array, epoch, layer, tokens)
        self._check_width(array.shape[-1], epoch, layer)
        if not np.isfinite(array).all():
            place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
            raise self._error(f"holds NaN or infinity, first at {place}", epoch, layer)
        if array.ndim == 3 and not flattener.declared:
            self._check_replicas(array, epoch, layer)
        return array, tokens

    def _check_place(self, epoch: int, layer: str) -> None:
        self.layer(layer)
        if epoch not in self.epochs:
            known = ", ".join(map(str, self.epochs))
            raise RunError(f"there is no such checkpoint; this run has: {known}", path=self.name,
                           epoch=epoch)  # fmt: skip

    def _stored(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array as it is stored."""
        self.layer(layer)
        try:
            return self.store.shape(epoch, layer)
        except Exception:
            # Only now: to list the checkpoints takes longer than to look at one.
            self._check_place(epoch, layer)
            raise

    def shape(self, epoch: int, layer: str) -> tuple[int, ...]:
        """Find the shape of an array once flattened, without reading it."""
        shape, dtype = self._stored(epoch, layer)
        flattener = self._flattener(shape, dtype, epoch, layer)
        try:
            return flattener.shape(shape, dtype)
        except ValueError as error:
            raise self._error(str(error), epoch, layer) from error

    def nbytes(self, epoch: int, layer: str) -> int:
        """Find how much memory it takes to read an array, without reading it."""
        stored, dtype = self._stored(epoch, layer)
        size = int(np.prod(stored, dtype=np.int64)) * dtype.itemsize
        if len(stored) < 4 and self.flattening == Flattening():
            return size
        flat = self.shape(epoch, layer)
        return size + (0 if flat == stored else int(np.prod(flat, dtype=np.int64)) * 8)

    def check_stored(self, array: np.ndarray, epoch: int, layer: str) -> None:
        """Check that an array can be stored: numbers, a row an input, as many units as before.

        What has more than three axes is stored as it is: how many units it has is known when it is
        flattened.
        """
        self._check_kind(array.dtype, epoch, layer)
        if array.ndim < 2 or array.size == 0:
            raise self._misshapen(array.shape, epoch, layer)
        if self.groups is None or len(array) != len(self.groups):
            self._inputs_of_rows(array, epoch, layer, 1)
        for before in self.epochs if array.ndim <= 3 else ():
            if before == epoch:
                continue
            try:
                shape = self.store.shape(before, layer)[0]
            except RunError:
                # A damaged checkpoint is no reason not to write another.
                continue
            if len(shape) <= 3:
                self._same_width(array.shape[-1], epoch, shape[-1], before, layer)
            break

    def _flattener(
        self, shape: tuple[int, ...], dtype: np.dtype, epoch: int, layer: str
    ) -> Flattener:
        self._check_kind(dtype, epoch, layer)
        if len(shape) < 2 or 0 in shape:
            raise self._misshapen(shape, epoch, layer)
        try:
            return self.flattening.of(layer, len(shape))
        except ValueError as error:
            raise self._error(str(error), epoch, layer) from error

    def _error(self, what: str, epoch: int, layer: str) -> RunError:
        return RunError(what, path=self.name, epoch=epoch, layer=layer)

    def _misshapen(self, shape: tuple[int, ...], epoch: int, layer: str) -> RunError:
        return self._error(
            f"has shape {shape}; expected (n_rows, n_units), (n_inputs, n_replicas, n_units), or "
            "maps or tokens of each input",
            epoch, layer,
        )  # fmt: skip

    def _check_kind(self, dtype: np.dtype, epoch: int, layer: str) -> None:
        if dtype.kind not in "fiu":
            hint = "; convert it to float32" if dtype.name == "bfloat16" else ""
            raise self._error(f"holds {dtype} where numbers are expected{hint}", epoch, layer)

    def _check_width(self, width: int, epoch: int, layer: str) -> None:
        """A layer has as many units at all checkpoints."""
        first = self._widths.get(layer)
        if first is None or first[0] != width:
            # What was remembered may have been written again since.
            first = self._widths[layer] = self._first_width(width, epoch, layer)
        self._same_width(width, epoch, *first, layer)

    def _first_width(self, width: int, epoch: int, layer: str) -> tuple[int, int]:
        for other in self.epochs:
            if other == epoch:
                break
            try:
                return self.shape(other, layer)[-1], other
            except RunError:
                # It has an error of its own when it is read.
                continue
        return width, epoch

    def _same_width(self, width: int, epoch: int, other: int, before: int, layer: str) -> None:
        if width != other:
            raise self._error(
                f"has {width} units, but {other} at epoch {before}: a layer keeps its width; save "
                "networks of different widths as different runs",
                epoch, layer,
            )  # fmt: skip

    def _check_replicas(self, array: np.ndarray, epoch: int, layer: str) -> None:
        """Without noise all replicas of an input are the same; tokens of a sequence are not."""
        known = self.layer(layer)
        if known.sigma or known.noise_before or (array[:, 1:] == array[:, :1]).all():
            return
        raise self._error(
            f"has shape {array.shape}, which is taken as (inputs, replicas, units), but the "
            "replicas of an input differ, and no noise is on record that would make them. If the "
            "second axis is tokens, choose flatten='token_mean', 'token_last' or 'tokens'; if it "
            f"is channels, flatten={{{layer!r}: 'all'}} or 'channel_mean'; if it is replicas, give "
            f"sigma, or axes={{{layer!r}: 'nrc'}}. These are arguments of open_run in Python; on "
            "the command line there are --flatten of `skinfo analyze`, --sigma of `skinfo convert`",
            epoch, layer,
        )  # fmt: skip

    def mask(self, subset: str | np.ndarray | None) -> np.ndarray | None:
        """Turn "train", "test" or a mask into a checked mask over the inputs; None keeps all.

        Parameters
        ----------
        subset : {"train", "test"}, ndarray of shape (n_inputs,), bool, or None
            Inputs to keep.

        Returns
        -------
        ndarray of shape (n_inputs,), bool, or None
            True where an input is kept; None for all.

        Raises
        ------
        ValueError
            For a split that the run does not have, or a mask that does not fit its inputs.
        """
        return None if subset is None else subset_mask(subset, self.train, self._count_inputs())

    def _count_inputs(self) -> int | None:
        """How many inputs there are, if an array can be looked at where nothing else says it."""
        known = self._n_inputs()
        for epoch in self.epochs if known is None else ():
            for layer in self.layers:
                try:
                    return self._stored_inputs(epoch, layer.name)[1]
                except Exception:
                    # Whatever a reader stumbles over: it has an error of its own when it is read.
                    continue
        return known

    def _stored_inputs(self, epoch: int, layer: str) -> tuple[tuple[int, ...], int]:
        """The shape of an array as it is stored, and along how many inputs, or rows, it runs."""
        shape, dtype = self.store.shape(epoch, layer)
        return shape, shape[self._flattener(shape, dtype, epoch, layer).axes.index("n")]

    def replicas(
        self, epoch: int, layer: str, *, subset: str | np.ndarray | None = None
    ) -> Activations:
        """All rows of a layer, with the input of each: what information is estimated from.

        Parameters
        ----------
        epoch, layer : int, str
            Which.
        subset : {"train", "test"} or ndarray of shape (n_inputs,), bool, optional
            Inputs to keep.

        Raises
        ------
        RunError
            As of :meth:`array`.
        ValueError
            As of :meth:`mask`.
        """
        array, tokens = self._read(epoch, layer)
        inputs = self._inputs_of_rows(array, epoch, layer, tokens)
        X = array.reshape(len(inputs), -1)
        if subset is not None:
            keep = self._mask(subset, inputs // tokens)[inputs // tokens]
            X, inputs = X[keep], inputs[keep]
        y = None if self.labels is None else self.labels[inputs // tokens]
        has_replicas = len(np.unique(inputs)) < len(inputs)
        return Activations(
            X,
            y,
            inputs if has_replicas else None,
            replicas_missing=self.layer(layer).noise_before and not has_replicas,
        )

    def noisy_samples(
        self, epoch: int, layer: str, *, seed: int = 0, subset: str | np.ndarray | None = None
    ) -> Activations:
        """One sample of T an input: its first replica plus this layer's own noise.

        Binning and clustering measure T itself, one row an input; where sigma is 0 or unknown it
        is S.

        Parameters
        ----------
        epoch, layer : int, str
            Which.
        seed : int, default=0
            Seed of the noise; each checkpoint and layer has its own.
        subset : {"train", "test"} or ndarray of shape (n_inputs,), bool, optional
            Inputs to keep.

        Raises
        ------
        RunError
            As of :meth:`array`.
        ValueError
            As of :meth:`mask`.
        """
        array, tokens = self._read(epoch, layer)
        inputs = self._inputs_of_rows(array, epoch, layer, tokens)
        names, first = np.unique(inputs, return_index=True)
        X = array.reshape(len(inputs), -1)[first]
        sigma = self.layer(layer).sigma
        if sigma:
            rng = np.random.default_rng([seed, epoch, [x.name for x in self.layers].index(layer)])
            X = X + sigma * rng.standard_normal(X.shape, dtype=np.float64)
        y = None if self.labels is None else self.labels[names // tokens]
        if subset is not None:
            keep = self._mask(subset, inputs // tokens)[names // tokens]
            X, y = X[keep], None if y is None else y[keep]
        return Activations(X, y, None, replicas_missing=False)

    def _inputs_of_rows(self, array: np.ndarray, epoch: int, layer: str, tokens: int) -> np.ndarray:
        """The input of each row of the array, unfolded to two dimensions.

        With several tokens each of them counts as an input: token k of input i is number
        i * tokens + k.
        """
        n_inputs = self._n_inputs()
        n_rows = len(array) // tokens
        has_groups = self.groups is not None and n_rows == len(self.groups)
        if array.ndim == 2 and has_groups:
            of_token = self.groups[:, None] * tokens + np.arange(tokens)  # type: ignore[index]
            return of_token.ravel()
        if n_inputs is not None and n_rows != n_inputs:
            raise self._misfit(array.shape, n_rows, epoch, layer)
        replicas = array.shape[1] if array.ndim == 3 else 1
        return np.repeat(np.arange(len(array)), replicas)

    def _n_inputs(self) -> int | None:
        if self.labels is not None:
            return len(self.labels)
        return None if self.groups is None else int(self.groups.max()) + 1

    def _misfit(self, shape: tuple[int, ...], n_rows: int, epoch: int, layer: str) -> RunError:
        """An array of another number of rows than what says the number of inputs."""
        labels = "" if self.labels is None else f"{len(self.labels)} labels, one an input"
        if self.groups is None:
            known, hint = (
                labels,
                "; where rows are replicas, groups= of open_run names their inputs",
            )
        elif labels:
            known, hint = f"{labels}, and {len(self.groups)} groups, one a row", ""
        else:
            known, hint = f"{len(self.groups)} groups, one a row, of {self._n_inputs()} inputs", ""
        return self._error(f"{known}, for {n_rows} rows of shape {shape}{hint}", epoch, layer)

    def misfit(self, epoch: int, layer: str) -> RunError | None:
        """What is wrong where an array has rows for other inputs than the run's, unread."""
        n_inputs = self._n_inputs()
        try:
            shape, rows = self._stored_inputs(epoch, layer)
        except Exception:
            # Whatever a reader stumbles over: it has an error of its own when it is read.
            return None
        known = n_inputs is None or rows == n_inputs
        if known or (self.groups is not None and rows == len(self.groups)):
            return None
        return self._misfit(shape, rows, epoch, layer)

    def _mask(self, subset: str | np.ndarray, inputs: np.ndarray) -> np.ndarray:
        """The mask, if it has one entry an input; an input may have no rows."""
        n_inputs = int(inputs.max()) + 1 if self.labels is None else len(self.labels)
        return subset_mask(subset, self.train, n_inputs)
