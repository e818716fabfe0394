"""Runs are converted from one format to another, checkpoint by checkpoint."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from skinfo._files import only_writer
from skinfo.errors import RunError
from skinfo.runs.beside import beside_of, described_beside, same
from skinfo.runs.description import Record, make_record, stored_names
from skinfo.runs.opening import open_run
from skinfo.runs.run import Run
from skinfo.runs.stores import find_store, format_for, growing_beside, new_store
from skinfo.runs.stores.base import DirectoryStore
from skinfo.runs.writing import append, naming_failure


def convert_run(
    source: str | Path | Run,
    target: str | Path,
    *,
    format: str | None = None,  # noqa: A002
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Write a run in another format, with the same bits.

    One layer of one checkpoint is in memory at a time (all layers of one, for safetensors). The
    target appears under its name when it is complete; until then it grows beside it, hidden. If the
    process is killed, the same call goes on where it stopped: a finished checkpoint that equals the
    source's is kept.

    Parameters
    ----------
    source : path-like or Run
        What to convert; a Run may be one that others wrote, opened with its labels and noise. Maps
        and sequences are copied as they are stored, even where ``flatten`` was given.
    target : path-like
        Where to.
    format : {"npz", "npy", "safetensors", "hdf5", "zarr"}, optional
        What a checkpoint is written as; by default "npz".
    overwrite : bool, default=False
        Whether an existing run at the target is replaced.
    progress : callable, optional
        Called with the numbers of finished and of all checkpoints.

    Returns
    -------
    Run
        The target, opened.

    Raises
    ------
    RunError
        If the source cannot be read, naming file, epoch and layer; or the target exists.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from skinfo import open_run, save_run
    >>> from skinfo.runs import convert_run
    >>> path = tempfile.mkdtemp()
    >>> save_run(path + "/a", 1, {"hidden": np.array([[0.0], [1.0]])}, sigma=0.1)
    >>> convert_run(path + "/a", path + "/b", format="npy").load(1, "hidden").array.tolist()
    [[0.0], [1.0]]
    """
    run = source if isinstance(source, Run) else open_run(source)
    target = Path(target)
    if target.exists():
        _check_replaceable(run, target, overwrite)
    kind = format_for(target, format)
    growing = growing_beside(target)
    with ExitStack() as stack:
        with naming_failure(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            lock = target.with_name(f".{target.name}.convert.lock")
            stack.enter_context(only_writer(lock, target, keep=False))
            store, record = _begin(run, growing, kind)
        epochs, all_losses = run.epochs, run.losses
        finished = set(store.epochs())
        for done, epoch in enumerate(epochs):
            arrays, losses = _Checkpoint(run, epoch, epochs), all_losses.get(epoch, {})
            if epoch not in finished or not _equal(arrays, losses, store, epoch):
                append(store, record, epoch, arrays, losses)
            if progress is not None:
                progress(done + 1, len(epochs))
        with naming_failure(target):
            _move(growing, target)
    return open_run(target)


def _check_replaceable(run: Run, target: Path, overwrite: bool) -> None:
    if run.name != "memory" and os.path.exists(run.name) and os.path.samefile(run.name, target):
        raise RunError("is both source and target; choose another target", path=target)
    if not overwrite:
        raise RunError("exists already; choose another name or overwrite it", path=target)
    try:
        find_store(target)
    except RunError as error:
        raise RunError("exists and is no run; remove it yourself", path=target) from error


class _Checkpoint(Mapping[str, np.ndarray]):
    """The stored arrays of a checkpoint, each read when it is asked for."""

    def __init__(self, run: Run, epoch: int, epochs: Sequence[int]) -> None:
        self._run, self._epoch, self._epochs = run, epoch, epochs

    def __getitem__(self, layer: str) -> np.ndarray:
        array = self._run.store.read(self._epoch, layer)
        # The copy is checked too, but an error should name the source.
        self._run.check_stored(array, self._epoch, layer, self._epochs)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(stored_names(self._run.layers))

    def __len__(self) -> int:
        return len(stored_names(self._run.layers))


def _begin(run: Run, growing: Path, fmt: str) -> tuple[DirectoryStore, Record]:
    """Begin, or go on with the work of an earlier call if it is of the same run."""
    train = None if run.train is None else np.flatnonzero(run.train)
    arrays = beside_of(run.labels, run.groups, run.mask)
    record = make_record(
        run.layers, fmt, train=train, seed=run.seed, settings=run.settings,
        beside=described_beside(arrays),
    )  # fmt: skip
    record["versions"] = dict(run.versions) or record["versions"]
    try:
        store, begun = new_store(growing, fmt)
        described = begun == record and set(store.epochs()) <= set(run.epochs)
        if described and all(same(store.beside(name), values) for name, values in arrays.items()):
            store.tidy()
            return store, record
    except RunError:
        # Damaged work is begun again.
        pass
    _remove(growing)
    store, _ = new_store(growing, fmt)
    store.create(record, arrays)
    return store, record


def _equal(
    arrays: Mapping[str, np.ndarray], losses: Mapping[str, float], store: DirectoryStore, epoch: int
) -> bool:
    """Whether a finished checkpoint has the losses and the bits of the source's."""
    try:
        # As texts: NaN is a loss too, and does not equal itself.
        return repr(store.losses(epoch)) == repr(dict(losses)) and all(
            _same_bits(store.read(epoch, layer), array) for layer, array in arrays.items()
        )
    except RunError:
        return False


def _same_bits(one: np.ndarray, other: np.ndarray) -> bool:
    """NaN equals itself, and 0 is not -0."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    ours, theirs = (np.ascontiguousarray(array).view(np.uint8) for array in (one, other))
    return np.array_equal(ours, theirs)


def _move(growing: Path, target: Path) -> None:
    # A killed call may have left one.
    old = target.with_name(f".{target.name}.old")
    _remove(old)
    with ExitStack() as stack:
        if target.exists():
            replaced, _ = find_store(target)
            if isinstance(replaced, DirectoryStore):
                stack.enter_context(only_writer(replaced.lock, target))
            os.rename(target, old)
        try:
            os.rename(growing, target)
        except OSError:
            if old.exists():
                os.rename(old, target)
            raise
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
