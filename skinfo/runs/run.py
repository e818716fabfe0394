"""A run: its layers, labels and losses, and the arrays of a store, read one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product, takewhile
from typing import Any, TypeVar

import numpy as np

from skinfo._rows import as_scale, check_whole
from skinfo.errors import MissingExtraError, RunError, in_words
from skinfo.runs.activations import LayerActivations, inputs_of_rows, subset_mask
from skinfo.runs.beside import (
    Labels,
    check_some_tokens,
    count_inputs,
    count_tokens,
    counts_in_words,
    label_sets,
)
from skinfo.runs.description import Layer, stored_names, whole_epoch
from skinfo.runs.flatten import Flattener, Flattening
from skinfo.runs.store import Store

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, repr=False)
class Run:
    """Saved activations of a network at checkpoints; open one with :func:`skinfo.open_run`.

    Attributes
    ----------
    store : Store
        Where the arrays are; they are read one at a time, when asked for.
    layers : tuple of Layer
        The layers in network order.
    labels : ndarray, mapping of str to ndarray, or None
        Label of each input, (n_inputs,), or of each token, (n_inputs, n_tokens); several sets of
        them by name.
    groups : ndarray of shape (n_rows,) or None
        Input of each row of two-dimensional arrays whose rows are replicas.
    mask : ndarray of shape (n_inputs, n_tokens), bool, or None
        Which tokens are real; all where there is none.
    train : ndarray of shape (n_inputs,), bool, or None
        Which inputs the network was trained on.
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
    >>> run.epochs, run.layer("hidden").sigma, run.load(10, "hidden").array.shape
    ([1, 10], 0.1, (100, 3))
    """

    store: Store
    layers: tuple[Layer, ...]
    labels: Labels = None
    groups: np.ndarray | None = None
    mask: np.ndarray | None = None
    train: np.ndarray | None = None
    seed: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    name: str = "memory"
    schema: int | None = None
    order_from_names: bool = False
    flattening: Flattening = field(default_factory=Flattening)
    # Units of each layer at the first checkpoint that can be looked at, and its epoch; under None
    # the inputs of the first array.
    _widths: dict[str | None, tuple[int, int]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    # Epochs that were there when the checkpoints were listed.
    _seen: dict[int, None] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def epochs(self) -> list[int]:
        """Epochs of the checkpoints, increasing, from 0 to 2**53."""
        epochs = self.store.epochs()
        for epoch in epochs[:1] + epochs[-1:]:
            whole_epoch(epoch, self.name)
        return epochs

    @property
    def n_inputs(self) -> int | None:
        """How many inputs there are; None where neither labels, mask nor groups say so."""
        return count_inputs(self.labels, self.groups, self.mask)

    @property
    def n_tokens(self) -> int | None:
        """How many tokens the mask, or labels of tokens, are for; None where there are neither."""
        return count_tokens(self.labels, self.mask)

    @property
    def losses(self) -> dict[int, dict[str, float]]:
        """Numbers by epoch, such as {1: {"train_loss": 0.7}}, read from the checkpoints each time.

        A checkpoint that cannot be read is left out: it has an error when its arrays are loaded.
        """
        read: Any = getattr(self.store, "losses", lambda _: {})
        found = {}
        for epoch in self.epochs:
            with suppress(RunError):
                found[epoch] = read(epoch)
        return {epoch: losses for epoch, losses in found.items() if losses}

    def __repr__(self) -> str:
        names = ", ".join(layer.name for layer in self.layers)
        return f"Run({self.name!r}, layers: {names}, {len(self.epochs)} checkpoints)"

    def layer(self, name: str) -> Layer:
        """Find a layer by name."""
        if name in self._by_name:
            return self._by_name[name]
        names = ", ".join(layer.name for layer in self.layers)
        raise RunError(f"there is no such layer; this run has: {names}", path=self.name, layer=name)

    @cached_property
    def _by_name(self) -> dict[str, Layer]:
        """The layers, and arrays of deviations as if they were layers without noise."""
        named = {layer.name: layer for layer in self.layers}
        return {name: named.get(name, Layer(name)) for name in stored_names(self.layers)}

    def load(
        self, epoch: int, layer: str, *, subset: str | np.ndarray | None = None
    ) -> LayerActivations:
        """Read one array once, flattened as was chosen when the run was opened, and check it.

        Parameters
        ----------
        epoch : int
            The checkpoint.
        layer : str
            Name of the layer.
        subset : {"train", "test"} or ndarray of shape (n_inputs,), bool, optional
            Inputs to keep; all by default.

        Returns
        -------
        LayerActivations
            The array, and the rows that estimators are given: all replicas, or one noisy sample.

        Raises
        ------
        RunError
            If there is no such checkpoint or layer; the array cannot be read or used, holds NaN or
            infinities, or has another number of units or inputs than at the first checkpoint; it is
            a map and was opened without a choice of how to flatten it; or its second axis cannot be
            replicas.
        ValueError
            For a split that the run does not have, or a mask that does not fit its inputs.
        """
        try:
            return self._load(epoch, layer, subset)
        except MemoryError as error:
            raise self._error("does not fit into memory", epoch, layer) from error

    def _load(self, epoch: int, layer: str, subset: str | np.ndarray | None) -> LayerActivations:
        if epoch not in self._seen:
            self._check_place(epoch, layer)
        stored = self._ask_store(self.store.read, epoch, layer)
        if stored.dtype == bool:
            stored = stored.view(np.uint8)
        flattener = self._flattener(stored.shape, stored.dtype, epoch, layer)
        self._check_tokens(flattener, stored.shape, epoch, layer)
        of_stored = self._inputs_of_stored(stored.shape, flattener.axes, epoch, layer)
        mask = self._mask_of(flattener, of_stored)
        try:
            if stored.dtype.kind in "iu":
                check_whole(stored if mask is None else flattener.real_tokens(stored, mask))
            array = flattener.apply(stored, mask)
        except ValueError as error:
            raise self._error(str(error), epoch, layer) from error
        self._check_numbers(array.dtype, epoch, layer)
        self._check_width(array.shape[-1], epoch, layer)
        self._check_noise(array.shape[-1], epoch, layer)
        if not np.isfinite(array).all():
            raise self._error(flattener.not_finite(array, mask), epoch, layer)
        if array.ndim == 3 and not flattener.declared:
            self._check_replicas(array, flattener.axes, epoch, layer)
        scale = self._load_scale(epoch, layer, flattener, mask)
        tokens = flattener.length(stored.shape, "t") if flattener.per_token else None
        replicas = array.shape[1] if array.ndim == 3 else 1
        inputs, sequences = inputs_of_rows(of_stored, tokens, mask, replicas)
        of_rows = inputs if sequences is None else sequences
        in_subset = np.ones(len(np.unique(inputs)), dtype=bool)
        if subset is not None:
            chosen = subset_mask(subset, self.train, self.n_inputs or int(of_stored.max()) + 1)
            keep = chosen[of_rows]
            in_subset = keep[np.unique(inputs, return_index=True)[1]]
            kept = keep.reshape(len(array), -1)[:, 0]
            array, scale = array[kept], None if scale is None else scale[kept]
            inputs, of_rows = inputs[keep], of_rows[keep]
            sequences = None if sequences is None else of_rows
        labels = {
            name: of_inputs.ravel()[inputs] if of_inputs.ndim == 2 else of_inputs[of_rows]
            for name, of_inputs in label_sets(self.labels).items()
            if of_inputs.ndim == 1 or flattener.per_token
        }
        return LayerActivations(
            epoch, self.layer(layer), array, inputs, labels, in_subset, scale, sequences
        )

    def _mask_of(self, flattener: Flattener, of_stored: np.ndarray) -> np.ndarray | None:
        """Which tokens of each stored row are real; None where all are, or there are none."""
        if self.mask is None or "t" not in flattener.axes or self.mask.all():
            return None
        return self.mask[of_stored]

    def _load_scale(
        self, epoch: int, layer: str, flattener: Flattener, mask: np.ndarray | None
    ) -> np.ndarray | None:
        """The standard deviations stored for a layer, flattened as it is; None where none are."""
        deviations = self.layer(layer).deviations
        if deviations is None:
            return None
        stored = self._ask_store(self.store.read, epoch, deviations)
        self._check_numbers(stored.dtype, epoch, deviations)
        scale = flattener.apply(stored, mask)
        rows = scale.reshape(-1, scale.shape[-1])
        try:
            as_scale(rows, rows.shape)
        except ValueError as error:
            raise self._error(str(error), epoch, deviations) from error
        return scale

    def _check_noise(self, width: int, epoch: int, layer: str) -> None:
        """A layer has one sigma, one per unit, or an array of them that is shaped like its own."""
        described = self.layer(layer)
        if described.deviations is not None:
            shape, dtype = self.stored_shape(epoch, layer)
            beside, _ = self.stored_shape(epoch, described.deviations)
            self.check_deviations(shape, beside, epoch, layer)
            choice = self._flattener(shape, dtype, epoch, layer).choice
            if choice not in (None, "all"):
                raise self._error(
                    f"has a standard deviation {described.deviations!r} for each value, of which "
                    f"flatten={choice!r} would make none for what it makes of the layer; only "
                    "'all' keeps them",
                    epoch, layer,
                )  # fmt: skip
        elif (model := described.noise_model) is not None:
            try:
                model.check_units(width)
            except ValueError as error:
                raise self._error(str(error), epoch, layer) from error

    def stored_shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Find the shape and type of an array as it is stored, without reading it."""
        return self._ask_store(self.store.shape, epoch, layer)

    def shape(self, epoch: int, layer: str) -> tuple[int, ...]:
        """Find the shape of an array once flattened, without reading it."""
        shape, dtype = self.stored_shape(epoch, layer)
        flattener = self._flattener(shape, dtype, epoch, layer)
        self._check_tokens(flattener, shape, epoch, layer)
        mask = None
        if self.mask is not None:
            inputs = self._inputs_of_stored(shape, flattener.axes, epoch, layer)
            mask = self._mask_of(flattener, inputs)
        try:
            flat = flattener.shape(shape, dtype, mask)
        except ValueError as error:
            raise self._error(str(error), epoch, layer) from error
        self._check_noise(flat[-1], epoch, layer)
        return flat

    def flattener(self, layer: str) -> Flattener | None:
        """Say how the arrays of a layer become rows; None where none of them can be looked at."""
        for epoch in self.epochs:
            # An array that has an error has it again when it is read.
            with suppress(ValueError):
                return self.flattening.of(layer, len(self.stored_shape(epoch, layer)[0]))
        return None

    def check_second_axis(self, epoch: int, layer: str) -> None:
        """Check that what is taken for replicas can be: raises RunError where they differ."""
        flattener = self._flattener(*self.stored_shape(epoch, layer), epoch, layer)
        if "r" in flattener.axes and not flattener.declared and not self.layer(layer).noise_before:
            try:
                stored = self._ask_store(self.store.read, epoch, layer)
                inputs = self._inputs_of_stored(stored.shape, flattener.axes, epoch, layer)
                array = flattener.apply(stored, self._mask_of(flattener, inputs))
            except (ValueError, MemoryError):
                # It has an error of its own when it is measured.
                return
            self._check_replicas(array, flattener.axes, epoch, layer)

    def nbytes(self, epoch: int, layer: str) -> int:
        """Find how much memory it takes to read an array, without reading it."""
        stored, dtype = self.stored_shape(epoch, layer)
        size = int(np.prod(stored, dtype=np.int64)) * dtype.itemsize
        if len(stored) < 4 and self.flattening == Flattening():
            return size
        flat = self.shape(epoch, layer)
        return size + (0 if flat == stored else int(np.prod(flat, dtype=np.int64)) * 8)

    def in_subset(self, subset: str | np.ndarray | None) -> np.ndarray | None:
        """Turn "train", "test" or a mask into a checked mask over the inputs; None keeps all.

        Raises
        ------
        ValueError
            For a split that the run does not have, or a mask that does not fit its inputs.
        """
        return None if subset is None else subset_mask(subset, self.train, self._count_inputs())

    def check_stored(
        self, array: np.ndarray, epoch: int, layer: str, epochs: Iterable[int]
    ) -> None:
        """Check that an array can be stored: numbers, one row per input, as many units as before.

        Before is the first of ``epochs`` that can be looked at. An array of more than three axes is
        stored as it is: how many units it has is known when it is flattened.
        """
        self._check_numbers(array.dtype, epoch, layer)
        if array.ndim < 2 or array.size == 0:
            raise self._misshapen(array.shape, epoch, layer)
        if self.groups is None or len(array) != len(self.groups):
            self._inputs_of_stored(array.shape, "n", epoch, layer)
        model = self.layer(layer).noise_model
        if model is not None and array.ndim <= 3:
            try:
                model.check_units(array.shape[-1])
            except ValueError as error:
                raise self._error(str(error), epoch, layer) from error
        for before in epochs if array.ndim <= 3 else ():
            if before == epoch:
                continue
            try:
                shape = self.stored_shape(before, layer)[0]
            except RunError:
                # A damaged checkpoint is no reason not to write another.
                continue
            if len(shape) <= 3:
                self._check_same_width(array.shape[-1], epoch, shape[-1], before, layer)
            break

    def check_some_tokens(
        self, shapes: Sequence[tuple[int, ...]], epoch: int | None = None
    ) -> None:
        """Check that the tokens of the mask, or of labels, are those of some array."""
        try:
            check_some_tokens(self.labels, self.mask, self.n_inputs, shapes)
        except ValueError as error:
            raise RunError(str(error), path=self.name, epoch=epoch) from error

    def check_deviations(
        self, shape: tuple[int, ...], beside: tuple[int, ...], epoch: int, layer: str
    ) -> None:
        """Check that a layer's array and that of its standard deviations are of one shape."""
        if shape != beside:
            raise self._error(
                f"has shape {shape}, and its standard deviations {self.layer(layer).deviations!r} "
                f"have {beside}: there must be one for each row and unit",
                epoch, layer,
            )  # fmt: skip

    def misfit(self, epoch: int, layer: str) -> RunError | None:
        """Say what is wrong where an array has rows for other inputs than the run's, unread."""
        try:
            shape, rows = self._stored_inputs(epoch, layer)
        except RunError:
            # It has an error of its own when it is read.
            return None
        fits = self.n_inputs in (None, rows)
        if fits or (self.groups is not None and rows == len(self.groups)):
            return None
        return self._misfit(shape, rows, epoch, layer)

    def _ask_store(self, look: Callable[[int, str], _Answer], epoch: int, layer: str) -> _Answer:
        """Turn any error of a reader into one that names the file, the epoch and the layer."""
        self.layer(layer)
        try:
            return look(epoch, layer)
        except (MissingExtraError, MemoryError, Warning):
            raise
        except Exception as error:
            # Only now: to list the checkpoints takes longer than to look at one.
            if epoch not in self._seen:
                self._check_place(epoch, layer)
            if isinstance(error, RunError):
                raise
            what = f"cannot be read ({in_words(error)}); write it again, or leave it out"
            raise self._error(what, epoch, layer) from error

    def _check_place(self, epoch: int, layer: str) -> None:
        self.layer(layer)
        epochs = self.epochs
        self._seen.clear()
        self._seen.update(dict.fromkeys(epochs))
        if epoch not in self._seen:
            what = f"there is no such checkpoint; this run has: {', '.join(map(str, epochs))}"
            raise RunError(what, path=self.name, epoch=epoch)

    def _flattener(
        self, shape: tuple[int, ...], dtype: np.dtype, epoch: int, layer: str
    ) -> Flattener:
        self._check_numbers(dtype, epoch, layer)
        if len(shape) < 2 or 0 in shape:
            raise self._misshapen(shape, epoch, layer)
        try:
            flattener = self.flattening.of(layer, len(shape))
        except ValueError as error:
            raise self._error(str(error), epoch, layer) from error
        of_all = flattener.axes == "ntc" and callable(flattener.choice) and not flattener.declared
        if of_all and self.layer(layer).noise_before:
            raise self._error(
                f"has three axes, of shape {shape}, and noise before it: its second axis may be "
                "replicas, which a callable for all layers is not given. Name the layers that it "
                f"is for, flatten={{{layer!r}: …}}, or say what the axes are, "
                f"axes={{{layer!r}: 'nrc'}} or 'ntc'",
                epoch, layer,
            )  # fmt: skip
        return flattener

    def _check_tokens(
        self, flattener: Flattener, shape: tuple[int, ...], epoch: int, layer: str
    ) -> None:
        """Check that an array has the tokens of the mask and of the labels, if it has any."""
        try:
            if self.mask is not None:
                flattener.check_mask(self.mask, shape)
            for name, labels in label_sets(self.labels).items():
                flattener.check_labels(labels, name, shape)
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

    def _check_numbers(self, dtype: np.dtype, epoch: int, layer: str) -> None:
        if dtype.kind not in "biuf":
            hint = {"c": "; save its real and imaginary parts as units", "V": "; convert it to "
                    "float32"}.get(dtype.kind, "")  # fmt: skip
            raise self._error(f"holds {dtype} where numbers are expected{hint}", epoch, layer)

    def _check_width(self, width: int, epoch: int, layer: str) -> None:
        """A layer has as many units at all checkpoints."""
        first = self._widths.get(layer)
        if first is None or first[0] != width:
            # The remembered checkpoint may have been written again since.
            first = self._widths[layer] = self._first_width(width, epoch, layer)
        self._check_same_width(width, epoch, *first, layer)

    def _first_width(self, width: int, epoch: int, layer: str) -> tuple[int, int]:
        for other in takewhile(lambda other: other != epoch, self._seen or self.epochs):
            # One that cannot be looked at has an error of its own when it is read.
            with suppress(RunError):
                return self.shape(other, layer)[-1], other
        return width, epoch

    def _check_same_width(
        self, width: int, epoch: int, width_before: int, before: int, layer: str
    ) -> None:
        if width != width_before:
            what = (f"has {width} units, but {width_before} at epoch {before}: a layer keeps its "
                    "width; save networks of different widths as different runs")  # fmt: skip
            raise self._error(what, epoch, layer)

    def _check_replicas(self, array: np.ndarray, axes: str, epoch: int, layer: str) -> None:
        """Before any noise all replicas of an input are the same; tokens of a sequence are not.

        A layer's own noise is added to what is stored.
        """
        if self.layer(layer).noise_before or (array[:, 1:] == array[:, :1]).all():
            return
        if self.mask is not None and array.shape[1] == self.n_tokens:
            raise self._error(
                f"has {self.n_tokens} tokens per input; what becomes a row is chosen by flatten: "
                "'token_mean' or 'token_last' for a row per input, 'tokens' for a row per token. "
                "It is an argument of open_run, and --flatten of `skinfo analyze`",
                epoch, layer,
            )  # fmt: skip
        raise self._error(
            f"has shape {array.shape}, which is taken as (inputs, replicas, units), but the "
            "replicas of an input differ, and no noise is on record before this layer that would "
            "make them. If the second axis is tokens, choose flatten='token_mean', 'token_last' or "
            f"'tokens'; if it is channels, flatten={{{layer!r}: 'all'}} or 'channel_mean'; if it "
            f"is replicas, give sigma of a layer before it, or axes={{{layer!r}: {axes!r}}}. These "
            "are arguments of open_run in Python; on the command line there are --flatten of "
            "`skinfo analyze`, --sigma of `skinfo convert`",
            epoch, layer,
        )  # fmt: skip

    def _inputs_of_stored(
        self, shape: tuple[int, ...], axes: str, epoch: int, layer: str
    ) -> np.ndarray:
        """The input of each place along the first axis, the one of inputs or of rows."""
        n_inputs, n_rows = self.n_inputs, shape[axes.index("n")]
        if n_inputs is None:
            self._check_same_rows(n_rows, epoch, layer)
        if "r" not in axes and self.groups is not None and n_rows == len(self.groups):
            return self.groups
        if n_inputs is not None and n_rows != n_inputs:
            raise self._misfit(shape, n_rows, epoch, layer)
        return np.arange(n_rows)

    def _check_same_rows(self, n_rows: int, epoch: int, layer: str) -> None:
        """Without labels the first array that can be looked at says how many inputs there are."""
        first = self._widths.get(None)
        if first is None or first[0] != n_rows:
            first = self._widths[None] = (self._count_inputs() or n_rows, epoch)
        if first[0] != n_rows:
            raise self._error(
                f"has {n_rows} rows, but the first array of the run {first[0]}: a run holds the "
                "same inputs in all layers at all checkpoints; open others as runs of "
                "their own",
                epoch, layer,
            )  # fmt: skip

    def _count_inputs(self) -> int | None:
        """How many inputs there are, from the first array that can be looked at if need be."""
        n_inputs = self.n_inputs
        for epoch, layer in (
            product(self._seen or self.epochs, self.layers) if n_inputs is None else ()
        ):
            # One that cannot be looked at has an error of its own when it is read.
            with suppress(RunError):
                return self._stored_inputs(epoch, layer.name)[1]
        return n_inputs

    def _stored_inputs(self, epoch: int, layer: str) -> tuple[tuple[int, ...], int]:
        """The shape of an array as it is stored, and how many inputs, or rows, it has."""
        shape, dtype = self.stored_shape(epoch, layer)
        return shape, shape[self._flattener(shape, dtype, epoch, layer).axes.index("n")]

    def _misfit(self, shape: tuple[int, ...], n_rows: int, epoch: int, layer: str) -> RunError:
        """An array of another number of rows than the labels or groups are for."""
        hint = "; where rows are replicas, groups= of open_run names their inputs"
        expected = counts_in_words(self.labels, self.groups, self.mask)
        hint = hint if self.groups is None else ""
        return self._error(f"{expected}, for {n_rows} rows of shape {shape}{hint}", epoch, layer)
