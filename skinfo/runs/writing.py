"""Runs are written checkpoint by checkpoint, while training goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from skinfo._files import only_writer
from skinfo.errors import RunError
from skinfo.runs.description import (
    BESIDE,
    Layer,
    Record,
    as_json,
    as_layers,
    check_beside,
    check_record,
    make_record,
    training_mask,
)
from skinfo.runs.naming import whole_epoch
from skinfo.runs.opening import described_run
from skinfo.runs.run import Run
from skinfo.runs.stores.base import WritableStore
from skinfo.runs.stores.formats import new_store
from skinfo.runs.stores.memory import MemoryStore, as_array

_DESCRIBED = "layers", "train", "seed", "settings"


class RunWriter:
    """Write a run, checkpoint by checkpoint; each appears whole or not at all.

    Parameters
    ----------
    path : path-like
        The run; made if it is not there. A run that is there already is continued if its layers,
        labels and settings are the same, else it is an error.
    layers : sequence of Layer or of str
        The layers in network order; names alone where nothing is known of their noise.
    labels : array-like of shape (n_inputs,), optional
        Label of each input.
    groups : array-like of shape (n_rows,), optional
        Input of each row of two-dimensional arrays whose rows are replicas; three-dimensional
        arrays (n_inputs, n_replicas, n_units) need none.
    train : array-like of shape (n_train,), optional
        Indices of the inputs that the network was trained on.
    seed : int, optional
        Seed of the run.
    settings : mapping, optional
        Anything else worth noting, as JSON.
    format : {"npz", "npy", "safetensors", "hdf5", "zarr"}, optional
        How it is stored; by default as it was begun, a new run as .zarr if the path ends so, else
        as .npz.

    Raises
    ------
    RunError
        If the parts do not fit together, or another run or another writer is there.

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
        train: Any = None,
        seed: int | None = None,
        settings: Mapping[str, Any] | None = None,
        format: str | None = None,  # noqa: A002
    ) -> None:
        self.path = Path(path)
        arrays = _beside(labels, groups, self.path)
        training_mask(train, arrays["labels"], self.path)
        self._store, there = new_store(self.path, format)
        described = as_layers(layers)
        record = make_record(
            described, self._store.format, train=train, seed=seed, settings=settings
        )
        check_record(record, self.path)
        with _writing(self._store):
            # Another may have begun it since.
            self._store, there = new_store(self.path, format)
            if not there:
                with naming_failure(self.path):
                    self._store.create(record, arrays)
                return
            found = _stored_record(self._store)
            differ = [name for name in _DESCRIBED if found.get(name) != record[name]]
            differ += [n for n in BESIDE if not same(self._store.beside(n), arrays[n])]
            _refuse(differ, self.path)
            _run_of(self._store, found)

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
        """Write a checkpoint; an earlier one of that epoch is replaced.

        Parameters
        ----------
        epoch : int
            Its number, 0 or more.
        activations : mapping of str to ndarray
            Array of every layer, before its noise: (n_rows, n_units),
            (n_inputs, n_replicas, n_units), or maps and tokens of each input, to be flattened when
            they are read. A mapping that makes an array when it is asked for holds one at a time.
        losses : mapping of str to float, optional
            Numbers of this epoch, such as train_loss and test_loss.
        """
        epoch = whole_epoch(epoch, self.path)
        with _writing(self._store, epoch):
            append(self._store, _stored_record(self._store), epoch, activations, losses)


def save_run(
    path: str | Path,
    epoch: int,
    activations: Mapping[str, Any],
    *,
    labels: Any = None,
    groups: Any = None,
    sigma: float | Mapping[str, float] | None = None,
    layers: Sequence[Layer | str] | None = None,
    train: Any = None,
    losses: Mapping[str, float] | None = None,
    seed: int | None = None,
    settings: Mapping[str, Any] | None = None,
    format: str | None = None,  # noqa: A002
) -> None:
    """Add a checkpoint to a run on disk; the first call begins the run.

    The checkpoint is there whole or not at all, whatever ends the process, and the others stay as
    they are; an earlier one of that epoch is replaced. What describes the run is needed at the
    first call only; if it is given again it must be the same.

    Parameters
    ----------
    path : path-like
        The run: a directory of one .npz per checkpoint, or a container if it ends with .zarr.
    epoch : int
        Number of the checkpoint, 0 or more.
    activations : mapping of str to array
        The layers in network order, each before its own noise: (n_inputs, n_units),
        (n_inputs, n_replicas, n_units), rows that ``groups`` names the inputs of, or maps and
        tokens of each input, to be flattened when they are read. Tensors of torch are taken too.
    labels : array-like of shape (n_inputs,), optional
        Label of each input.
    groups : array-like of shape (n_rows,), optional
        Input of each row of two-dimensional arrays whose rows are replicas.
    sigma : float or mapping of str to float, optional
        Standard deviation of the noise of all layers, or of each, in units of the activations.
    layers : sequence of Layer or of str, optional
        The layers in network order, where that of ``activations`` is another: each with its noise,
        or names alone, which ``sigma`` describes.
    train : array-like of shape (n_train,), optional
        Indices of the inputs that the network was trained on.
    losses : mapping of str to float, optional
        Numbers of this epoch, such as train_loss and test_loss.
    seed : int, optional
        Seed of the run.
    settings : mapping, optional
        Anything else worth noting, as JSON.
    format : {"npz", "npy", "safetensors", "hdf5", "zarr"}, optional
        How it is stored; "hdf5" is a directory of one .h5 per checkpoint.

    Raises
    ------
    RunError
        If something does not fit the run that is there, or another writer is at work.
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
    arrays = _beside(labels, groups, path)
    names = list(activations)
    store, there = new_store(path, format)
    with _writing(store, epoch):
        store, there = new_store(path, format)
        if there:
            record = _stored_record(store)
            _refuse(_contradictions(store, record, arrays, sigma, layers, train, seed, settings),
                    path)  # fmt: skip
        else:
            described = as_layers(names if layers is None else layers, sigma)
            record = make_record(described, store.format, train=train, seed=seed, settings=settings)
            check_record(record, path)
            # Where the first checkpoint is refused no run begins.
            run = described_run(MemoryStore({}), record, arrays, name=str(path), where=_place(path))
            _check_names(record, activations, path, epoch)
            for name in names:
                run.check_stored(as_array(activations[name]), epoch, name)
            with naming_failure(path, epoch):
                store.create(record, arrays)
        append(store, record, epoch, activations, losses)


def append(
    store: WritableStore,
    record: Record,
    epoch: int,
    activations: Mapping[str, Any],
    losses: Mapping[str, float] | None = None,
) -> None:
    """Write a checkpoint, then its losses; the lock is held."""
    _check_names(record, activations, store.path, epoch)
    run = _run_of(store, record)
    now: list[str] = []

    def arrays() -> Iterator[tuple[str, np.ndarray]]:
        for layer in record["layers"]:
            now[:] = [layer["name"]]
            array = as_array(activations[now[0]])
            run.check_stored(array, epoch, now[0])
            yield now[0], array
        now.clear()

    numbers = None if losses is None else {k: float(v) for k, v in losses.items()}
    with naming_failure(store.path, epoch, now):
        store.write(epoch, arrays())
        if numbers is not None:
            record = record | {"losses": record["losses"] | {str(epoch): numbers}}
            store.write_record(as_json(record))


@contextmanager
def naming_failure(
    path: Path, epoch: int | None = None, layer: Sequence[str] = ()
) -> Iterator[None]:
    """Say what could not be written, and that nothing else suffered."""
    try:
        yield
    except OSError as error:
        what = f"cannot be written ({error}); what was there before is as it was"
        place = {"path": path, "epoch": epoch, "layer": layer[0] if layer else None}
        named = OSError(str(RunError(what, **place)))  # type: ignore[arg-type]
        named.errno = error.errno
        raise named from error


def _check_names(record: Record, activations: Mapping[str, Any], path: Path, epoch: int) -> None:
    names = {layer["name"] for layer in record["layers"]}
    if set(activations) != names:
        raise RunError(f"expected the layers {sorted(names)}, got {sorted(activations)}",
                       path=path, epoch=epoch)  # fmt: skip


def _beside(labels: Any, groups: Any, path: Path) -> dict[str, np.ndarray | None]:
    """Labels and groups as arrays, checked."""
    arrays = {
        name: None if values is None else as_array(values)
        for name, values in zip(BESIDE, (labels, groups), strict=True)
    }
    check_beside(arrays, path)
    return arrays


@contextmanager
def _writing(store: WritableStore, epoch: int | None = None) -> Iterator[None]:
    with ExitStack() as stack:
        with naming_failure(store.path, epoch):
            store.lock.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(only_writer(store.lock, store.path, epoch))
        yield


def _stored_record(store: WritableStore) -> Record:
    record = store.record()
    if record is None:
        raise RunError("the run is not there any more", path=store.path)
    return record


def _place(path: Path) -> dict[str, str | Path]:
    return dict.fromkeys(("record", *BESIDE), path)


def _run_of(store: WritableStore, record: Record) -> Run:
    arrays = {name: store.beside(name) for name in BESIDE}
    where = {name: store.where(name) for name in ("record", *BESIDE)}
    return described_run(store, record, arrays, name=str(store.path), where=where)


def same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether labels or groups are the same, or neither is there."""
    return one is other if one is None or other is None else np.array_equal(one, other)


def _contradictions(
    store: WritableStore,
    record: Record,
    arrays: Mapping[str, np.ndarray | None],
    sigma: float | Mapping[str, float] | None,
    layers: Sequence[Layer | str] | None,
    train: Any,
    seed: int | None,
    settings: Mapping[str, Any] | None,
) -> list[str]:
    """What was given and is not what is on record."""
    known = [layer["name"] for layer in record["layers"]]
    if layers is None and sigma is not None:
        layers = known
    # Names without sigma say nothing of the noise that is on record.
    unchanged = layers is not None and sigma is None and list(layers) == known
    layers = None if layers is None or unchanged else as_layers(layers, sigma)
    given = make_record(layers or [], store.format, train=train, seed=seed, settings=settings)
    chosen = {"layers": layers, "train": train, "seed": seed, "settings": settings}
    differ = [n for n, v in chosen.items() if v is not None and given[n] != record.get(n)]
    for name in BESIDE:
        if arrays[name] is not None and not same(store.beside(name), arrays[name]):
            differ.append(name)
    return differ


def _refuse(differ: list[str], path: Path) -> None:
    if differ:
        raise RunError(
            f"another run is there already: its {differ[0]} differ. Write to another directory or "
            "remove this one.",
            path=path,
        )
