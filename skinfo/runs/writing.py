"""Runs are written checkpoint by checkpoint, while training goes on."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from skinfo._files import only_writer
from skinfo.errors import RunError
from skinfo.runs.beside import (
    BESIDE,
    Beside,
    check_beside,
    described_beside,
    make_beside,
    same,
)
from skinfo.runs.description import (
    Layer,
    Record,
    as_layers,
    check_losses,
    check_record,
    make_record,
    stored_names,
    whole_epoch,
)
from skinfo.runs.opening import described_run
from skinfo.runs.run import Run
from skinfo.runs.stores import new_store
from skinfo.runs.stores.base import DirectoryStore, read_beside
from skinfo.runs.stores.memory import MemoryStore, as_array

_DESCRIBED = ("layers", "train", "seed", "settings", *BESIDE)


class RunWriter:
    """Write a run, checkpoint by checkpoint; each appears whole or not at all.

    Parameters
    ----------
    path : path-like
        The run. One that exists already is continued if its description is the same, else it is an
        error.
    layers : sequence of Layer or of str
        The layers in network order; names alone where their noise is unknown.
    labels, groups, mask, train, seed, settings, format
        As of :func:`skinfo.save_run`.

    Raises
    ------
    RunError
        If the parts do not fit together, another run is at the path, or another process writes.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from skinfo.runs import Layer, RunWriter, open_run
    >>> path = tempfile.mkdtemp()
    >>> writer = RunWriter(path, [Layer("hidden", sigma=0.1)], labels=[0, 1])
    >>> writer.add(1, {"hidden": np.array([[0.0], [1.0]])})
    >>> open_run(path).load(1, "hidden").array.tolist()
    [[0.0], [1.0]]
    """

    def __init__(
        self,
        path: str | Path,
        layers: Sequence[Layer | str],
        *,
        labels: Any = None,
        groups: Any = None,
        mask: Any = None,
        train: Any = None,
        seed: int | None = None,
        settings: Mapping[str, Any] | None = None,
        format: str | None = None,  # noqa: A002
    ) -> None:
        self.path = Path(path)
        arrays = make_beside(labels, groups, mask, self.path)
        check_beside(arrays, train, lambda _: self.path)
        with _writing(self.path, format) as (self._store, record):
            described = make_record(
                as_layers(layers), self._store.format, train=train, seed=seed, settings=settings,
                beside=described_beside(arrays),
            )  # fmt: skip
            check_record(described, self.path)
            if record is None:
                with naming_failure(self.path):
                    self._store.create(described, arrays)
            else:
                _check_same(self._store, record, described, arrays, _DESCRIBED)
                _run_of(self._store, record)

    def epochs(self) -> list[int]:
        """Epochs already written."""
        return self._store.epochs()

    def add(
        self,
        epoch: int,
        activations: Mapping[str, np.ndarray],
        *,
        losses: Mapping[str, float] | None = None,
    ) -> None:
        """Write a checkpoint; an earlier one of the same epoch is replaced.

        Parameters
        ----------
        epoch : int
            Its number, 0 or more.
        activations : mapping of str to ndarray
            Array of every layer, as of :func:`skinfo.save_run`. If the mapping makes an array when
            it is asked for, one is in memory at a time.
        losses : mapping of str to float, optional
            Numbers of this epoch, such as train_loss and test_loss.
        """
        epoch = whole_epoch(epoch, self.path)
        with _writing(self.path, self._store.format, epoch) as (store, record):
            if record is None:
                raise RunError("the run has been removed", path=self.path)
            append(store, record, epoch, activations, losses)


def save_run(
    path: str | Path,
    epoch: int,
    activations: Mapping[str, Any],
    *,
    labels: Any = None,
    groups: Any = None,
    mask: Any = None,
    sigma: Any = None,
    noise: str | Mapping[str, str] | None = None,
    layers: Sequence[Layer | str] | None = None,
    train: Any = None,
    losses: Mapping[str, float] | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    format: str | None = None,  # noqa: A002
) -> None:
    """Add a checkpoint to a run on disk; the first call begins the run.

    The checkpoint is there whole or not at all, however the process ends, and the others stay as
    they are; an earlier one of the same epoch is replaced. The description of the run (labels,
    groups, mask, sigma, noise, layers, train, seed, settings) is needed at the first call only; if
    it is given again it must be the same.

    Parameters
    ----------
    path : path-like
        The run: a directory with one file per checkpoint.
    epoch : int
        Number of the checkpoint, 0 or more.
    activations : mapping of str to array
        The layers in network order, each before its own noise: (n_inputs, n_units),
        (n_inputs, n_replicas, n_units), rows that ``groups`` names the inputs of, or maps and
        tokens of each input, to be flattened when they are read. Tensors of torch are taken too.
    labels : array-like, or mapping of str to array-like, optional
        Label of each input, (n_inputs,), or of each token, (n_inputs, n_tokens); or several such
        sets by name, as ``{"topic": topics, "token": words}``. Labels of masked tokens do not
        count.
    groups : array-like of shape (n_rows,), optional
        Input of each row of two-dimensional arrays whose rows are replicas.
    mask : array-like of shape (n_inputs, n_tokens), optional
        Which tokens are real: True or 1, and False or 0 for padding, on either side. It is that of
        every layer that has tokens.
    sigma : float, array-like, or mapping of str to any of them or str, optional
        Standard deviation of the noise of all layers, or of each, as of
        :class:`skinfo.runs.Layer`: a number, one per unit, or in a mapping the name of the array
        that holds one for each row and unit, which is then no layer.
    noise : str or mapping of str to str, optional
        What noise it is, of all layers or of each: "additive" (by default), "multiplicative"
        (Gaussian dropout), "affine" or "lognormal"; see :func:`skinfo.noise.make_noise`.
    layers : sequence of Layer or of str, optional
        The layers in network order, where that of ``activations`` is another: each with its noise,
        or names alone, which ``sigma`` and ``noise`` describe.
    train : array-like of shape (n_train,), optional
        Indices of the inputs that the network was trained on.
    losses : mapping of str to float, optional
        Numbers of this epoch, such as train_loss and test_loss.
    seed : int, optional
        Seed of the run.
    settings : mapping, optional
        Anything else worth noting, as JSON.
    format : {"npz", "npy", "safetensors", "hdf5", "zarr"}, optional
        What a checkpoint is written as; by default what the run began with, at first "npz".

    Raises
    ------
    RunError
        If something does not fit the existing run, or another process writes.
    OSError
        If it cannot be written, for example because the disk is full.
    MissingExtraError
        If the format needs a library that is not installed.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from skinfo import open_run, save_run
    >>> path = tempfile.mkdtemp() + "/run"
    >>> for epoch in (1, 10):
    ...     hidden = np.array([[0.0], [1.0]]) * epoch
    ...     save_run(path, epoch, {"hidden": hidden}, labels=[0, 1], sigma=0.1)
    >>> run = open_run(path)
    >>> run.epochs, run.load(10, "hidden").array.tolist()
    ([1, 10], [[0.0], [10.0]])
    """
    path = Path(path)
    epoch = whole_epoch(epoch, path)
    arrays = make_beside(labels, groups, mask, path)
    with _writing(path, format, epoch) as (store, record):
        on_record = None if record is None else [layer["name"] for layer in record["layers"]]
        # Names without sigma say nothing of the noise that is on record.
        names_alone = layers is None or list(layers) == on_record
        says_nothing = sigma is None and noise is None and names_alone
        if layers is None:
            layers = on_record or list(activations)
        described = make_record(
            as_layers(layers, sigma, noise), store.format, train=train, seed=seed,
            settings=settings, beside=described_beside(arrays),
        )  # fmt: skip
        if record is None:
            record = described
            check_record(record, path)
            # Where the first checkpoint is refused no run begins.
            run = described_run(
                MemoryStore({}), record, arrays, name=str(path), where=lambda _: path
            )
            _check_names(run, activations, epoch)
            for _ in _arrays(run, activations, epoch, [], []):
                pass
            with naming_failure(path, epoch):
                store.create(record, arrays)
        else:
            given = {
                "layers": None if says_nothing else layers, "train": train, "seed": seed,
                "settings": settings, "labels": labels, "groups": groups, "mask": mask,
            }  # fmt: skip
            names = [name for name, value in given.items() if value is not None]
            _check_same(store, record, described, arrays, names)
        append(store, record, epoch, activations, losses)


def append(
    store: DirectoryStore,
    record: Record,
    epoch: int,
    activations: Mapping[str, Any],
    losses: Mapping[str, float] | None = None,
) -> None:
    """Write a checkpoint with its losses; the lock is held."""
    run = _run_of(store, record)
    _check_names(run, activations, epoch)
    now: list[str] = []
    numbers = check_losses(losses, store.path, epoch)
    with naming_failure(store.path, epoch, now):
        store.write(epoch, _arrays(run, activations, epoch, now, store.written()), numbers)


def _arrays(
    run: Run,
    activations: Mapping[str, Any],
    epoch: int,
    now: list[str],
    written: Iterable[int],
) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a checkpoint, each made when it is asked for; ``now`` names it.

    Each is checked to be what every format stores and what the run has at other epochs, ``written``
    before.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    described: dict[str | None, list[str]] = {}
    for layer in run.layers:
        described.setdefault(layer.deviations, []).append(layer.name)
    found, rest = list[int](), iter(written)

    def others() -> Iterator[int]:
        yield from found
        for other in rest:
            found.append(other)
            yield other

    for name in stored_names(run.layers):
        now[:] = [name]
        array = as_array(activations[name], f"layer {name!r}")
        run.check_stored(array, epoch, name, others())
        if array.dtype.itemsize > 8:
            raise RunError(f"holds {array.dtype}, which not every format stores; save float64",
                           path=run.name, epoch=epoch, layer=name)  # fmt: skip
        shapes[name] = array.shape
        for of_layer in described.get(name, ()):
            run.check_deviations(shapes[of_layer], array.shape, epoch, of_layer)
        yield name, array
    now.clear()
    run.check_some_tokens(list(shapes.values()), epoch)


@contextmanager
def naming_failure(
    path: Path, epoch: int | None = None, layer: Sequence[str] = ()
) -> Iterator[None]:
    """Say what could not be written, and that the rest is unchanged."""
    try:
        yield
    except OSError as error:
        what = f"cannot be written ({error}); what was there before is unchanged"
        place = {"path": path, "epoch": epoch, "layer": layer[0] if layer else None}
        named = OSError(str(RunError(what, **place)))  # type: ignore[arg-type]
        named.errno = error.errno
        raise named from error


def _check_names(run: Run, activations: Mapping[str, Any], epoch: int) -> None:
    names = set(stored_names(run.layers))
    if set(activations) != names:
        raise RunError(f"expected the layers {sorted(names)}, got {sorted(activations)}",
                       path=run.name, epoch=epoch)  # fmt: skip


@contextmanager
def _writing(
    path: Path, fmt: str | None, epoch: int | None = None
) -> Iterator[tuple[DirectoryStore, Record | None]]:
    """Hold the lock; the store of a run and its description, None where it has yet to begin."""
    store, record = new_store(path, fmt)
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    before: set[str] | None = None
    with ExitStack() as stack:
        try:
            with naming_failure(path, epoch):
                path.mkdir(parents=True, exist_ok=True)
                there = set(os.listdir(path)) if record is None else None
                stack.enter_context(only_writer(store.lock, path, epoch))
                before = there
            # Another process may have begun it since.
            store, record = new_store(path, fmt)
            yield store, record
        except BaseException:
            if record is None:
                _undo(store, before, made)
            raise


def _undo(store: DirectoryStore, before: set[str] | None, made: Sequence[Path]) -> None:
    """Leave nothing of a run that could not be begun; without the lock the files are another's."""
    own = re.compile(rf"run\.json|({'|'.join(BESIDE)})(-.*)?\.npy|{re.escape(store.lock.name)}")
    with suppress(OSError):
        for name in () if before is None else set(os.listdir(store.path)) - before:
            if own.fullmatch(name):
                (store.path / name).unlink(missing_ok=True)
    with suppress(OSError):
        for folder in made:
            folder.rmdir()


def _run_of(store: DirectoryStore, record: Record) -> Run:
    arrays = read_beside(store, record)
    return described_run(store, record, arrays, name=str(store.path), where=store.where)


def _check_same(
    store: DirectoryStore,
    record: Record,
    described: Record,
    arrays: Beside,
    names: Sequence[str],
) -> None:
    """Check that the parts of these names are on record as they were given."""
    beside = read_beside(store, record)
    for name in names:
        if name in BESIDE:
            every = [one for one in beside | arrays if one == name or one.startswith(f"{name}-")]
            equal = all(same(beside.get(one), arrays.get(one)) for one in every)
        else:
            equal = record.get(name) == described[name]
        if not equal:
            raise RunError(
                f"another run exists already: its {name} differ. Write to another directory or "
                "remove this one.",
                path=store.path,
            )
