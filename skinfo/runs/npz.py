"""Runs on disk: a directory of one .npz a checkpoint, described by run.json.

run.json          schema version, layers in network order, split, losses, seed, versions
labels.npy        the label of each input
groups.npy        the input of each row, where rows are replicas in two-dimensional arrays
epoch_00000012.npz    one member a layer
"""

from __future__ import annotations

import json
import platform
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import IO, Any

import numpy as np

from skinfo.errors import RunError
from skinfo.runs.files import write_atomically
from skinfo.runs.layers import Layer
from skinfo.runs.run import Run

SCHEMA = 1
_CHECKPOINT = re.compile(r"epoch_(\d{8,})\.npz")
# What numpy and zipfile raise for files that are damaged, or none of theirs.
_UNREADABLE = (
    OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class NpzStore:
    """Checkpoints of a directory, read one member at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def epochs(self) -> list[int]:
        """Epochs of the files that are there, increasing."""
        found = (_CHECKPOINT.fullmatch(entry.name) for entry in self._path.iterdir())
        return sorted(int(match[1]) for match in found if match)

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One member of a file."""
        path = checkpoint_path(self._path, epoch)
        try:
            with _open_archive(path) as archive:
                known = ", ".join(archive.files)
                found = archive[layer] if layer in archive.files else None
        except _UNREADABLE as error:
            raise _unreadable(error, path, layer) from error
        if isinstance(found, np.ndarray):
            return found
        if found is not None:
            raise RunError("is no array; the file is damaged or not of this format", path=path,
                           layer=layer)  # fmt: skip
        raise _no_such_layer(known, path, layer)

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type from the header of a member."""
        path = checkpoint_path(self._path, epoch)
        try:
            with zipfile.ZipFile(path) as archive:
                names = [name.removesuffix(".npy") for name in archive.namelist()]
                if layer not in names:
                    raise _no_such_layer(", ".join(names), path, layer)
                with archive.open(f"{layer}.npy") as member:
                    return _read_header(member)
        except RunError:
            raise
        except _UNREADABLE as error:
            raise _unreadable(error, path, layer) from error


def _read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of a .npy file."""
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"version {version} of the .npy format is not known")
    shape, _, dtype = read(file)
    return shape, dtype


def _no_such_layer(known: str, path: Path, layer: str) -> RunError:
    return RunError(f"the file has no such layer; it has: {known}", path=path, layer=layer)


@contextmanager
def _open_archive(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """Open an .npz; the file is closed again also when numpy gives up on it halfway."""
    with path.open("rb") as file:
        archive = np.load(file, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ValueError("it holds one array, not an archive of them")
        with archive:
            yield archive


def checkpoint_path(path: Path, epoch: int) -> Path:
    """File of a checkpoint."""
    return path / f"epoch_{epoch:08d}.npz"


def _unreadable(error: Exception, path: Path, layer: str | None = None) -> RunError:
    if isinstance(error, ValueError) and "allow_pickle" in str(error):
        what = "holds Python objects, which are never loaded; save plain arrays of numbers"
    else:
        what = f"cannot be read ({error}); the file is damaged or cut short: write it again"
    return RunError(what, path=path, layer=layer)


def read_run(path: Path) -> Run:
    """Open a directory; arrays are read when asked for."""
    description = path / "run.json"
    if not path.is_dir() or not description.is_file():
        raise RunError("there is no run here: expected a directory with a run.json", path=path)
    try:
        settings = json.loads(description.read_text(encoding="utf-8"))
        if settings["schema"] > SCHEMA:
            raise RunError(
                f"written with schema {settings['schema']}, this version reads up to {SCHEMA}; "
                "install a newer skinfo",
                path=description,
            )
        layers = tuple(Layer(**layer) for layer in settings["layers"])
        losses = {int(epoch): values for epoch, values in settings.get("losses", {}).items()}
    except RunError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise RunError(f"is no description of a run ({error!r})", path=description) from error
    labels, groups = _read_array(path / "labels.npy"), _read_array(path / "groups.npy")
    train = training_mask(settings.get("train"), labels, description)
    if groups is not None:
        n_inputs = np.inf if labels is None else len(labels)
        check_groups(groups, n_inputs, path / "groups.npy")
    return Run(
        store=NpzStore(path),
        layers=layers,
        labels=labels,
        groups=groups,
        train=train,
        losses=losses,
        seed=settings.get("seed"),
        versions=settings.get("versions", {}),
        settings=settings.get("settings", {}),
        name=str(path),
    )


def training_mask(train: Any, labels: np.ndarray | None, path: str | Path) -> np.ndarray | None:
    """Turn indices of training inputs into a mask over the inputs."""
    if train is None:
        return None
    if labels is None:
        raise RunError("names training inputs, but there is no labels.npy", path=path)
    indices = np.asarray(train)
    if indices.ndim != 1 or (len(indices) and indices.dtype.kind not in "iu"):
        raise RunError("train must be a list of the numbers of inputs", path=path)
    if len(indices) and (indices.min() < 0 or indices.max() >= len(labels)):
        raise RunError(
            f"train numbers the {len(labels)} inputs from 0; found {indices.min()} … "
            f"{indices.max()}",
            path=path,
        )
    mask = np.zeros(len(labels), dtype=bool)
    mask[indices.astype(np.int64)] = True
    return mask


def check_groups(groups: np.ndarray, n_inputs: float, path: str | Path) -> None:
    """Check that every group names an input."""
    if groups.dtype.kind not in "iu" or groups.ndim != 1:
        raise RunError("groups must be one integer a row", path=path)
    if len(groups) and (groups.min() < 0 or groups.max() >= n_inputs):
        raise RunError(
            f"groups index the {n_inputs} labels; found {groups.min()} … {groups.max()}", path=path
        )


def _read_array(path: Path) -> np.ndarray | None:
    if not path.exists():
        return None
    try:
        return np.load(path, allow_pickle=False)
    except _UNREADABLE as error:
        raise _unreadable(error, path) from error


class RunWriter:
    """Write a run, checkpoint by checkpoint; each file appears whole or not at all.

    Parameters
    ----------
    path : path-like
        Directory of the run; made if it is not there. A run that is there already is continued if
        its layers, labels and settings are the same, else it is an error.
    layers : sequence of Layer
        The layers in network order.
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

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from skinfo.runs import Layer, RunWriter, open_run
    >>> path = tempfile.mkdtemp()
    >>> writer = RunWriter(path, [Layer("hidden", sigma=0.1)], labels=[0, 1])
    >>> writer.add(1, {"hidden": np.array([[0.0], [1.0]])})
    >>> open_run(path).array(1, "hidden").tolist()
    [[0.0], [1.0]]
    """

    def __init__(
        self,
        path: str | Path,
        layers: Sequence[Layer],
        *,
        labels: Any = None,
        groups: Any = None,
        train: Any = None,
        seed: int | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        arrays = {
            name: None if values is None else np.asarray(values)
            for name, values in (("labels", labels), ("groups", groups))
        }
        for name, values in arrays.items():
            if values is not None and values.dtype.kind == "O":
                raise RunError(f"{name} must be a list of numbers or of words", path=self.path)
        training_mask(train, arrays["labels"], self.path)
        if arrays["groups"] is not None:
            n_inputs = np.inf if arrays["labels"] is None else len(arrays["labels"])
            check_groups(arrays["groups"], n_inputs, self.path)
        self._description: dict[str, Any] = _plain(
            {
                "schema": SCHEMA,
                "layers": [asdict(layer) for layer in layers],
                "train": None if train is None else list(train),
                "seed": seed,
                "settings": dict(settings or {}),
                "versions": software_versions(),
                "losses": {},
            }
        )
        self.path.mkdir(parents=True, exist_ok=True)
        if (self.path / "run.json").exists():
            self._continue(arrays)
            return
        for name, values in arrays.items():
            if values is not None:
                with write_atomically(self.path / f"{name}.npy") as file:
                    np.save(file, values, allow_pickle=False)
        self._describe()

    def _continue(self, arrays: Mapping[str, np.ndarray | None]) -> None:
        run = read_run(self.path)
        there = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        differ = [
            name
            for name in ("layers", "train", "seed", "settings")
            if there.get(name) != self._description[name]
        ]
        for name, stored in (("labels", run.labels), ("groups", run.groups)):
            values = arrays[name]
            if stored is None or values is None:
                same = stored is values
            else:
                same = np.array_equal(stored, values)
            if not same:
                differ.append(name)
        if differ:
            raise RunError(
                f"another run is there already: its {differ[0]} differ. Write to another directory "
                "or remove this one.",
                path=self.path,
            )
        self._description = there

    def _describe(self) -> None:
        with write_atomically(self.path / "run.json") as file:
            file.write(json.dumps(self._description, indent=1).encode())

    def epochs(self) -> list[int]:
        """Epochs already written."""
        return NpzStore(self.path).epochs()

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
            Array of every layer, before its noise: (n_rows, n_units), or
            (n_inputs, n_replicas, n_units).
        losses : mapping of str to float, optional
            Numbers of this epoch, such as train_loss and test_loss.
        """
        if int(epoch) != epoch or epoch < 0:
            raise RunError(f"an epoch is a whole number from 0 on; got {epoch!r}", path=self.path)
        epoch = int(epoch)
        names = {layer["name"] for layer in self._description["layers"]}
        if set(activations) != names:
            raise RunError(
                f"expected the layers {sorted(names)}, got {sorted(activations)}",
                path=self.path, epoch=epoch,
            )  # fmt: skip
        run = read_run(self.path)
        for name, array in activations.items():
            if isinstance(array, np.ndarray):
                run.check_array(array, epoch, name)
        with (
            write_atomically(checkpoint_path(self.path, epoch)) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive,
        ):
            for name, array in activations.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        if losses is not None:
            self._description["losses"][str(epoch)] = {k: float(v) for k, v in losses.items()}
            self._describe()


def _plain(description: dict[str, Any]) -> dict[str, Any]:
    """What JSON gives back, with numpy's numbers and arrays as plain ones."""
    return json.loads(json.dumps(description, default=lambda value: value.tolist()))


def software_versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    versions = {"python": platform.python_version()}
    for name in ("skinfo", "numpy", "scipy", "scikit-learn", "numba", "torch"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
