"""Nothing is written that could not be opened, all of it or none; a run is continued."""

import argparse
import datetime
import enum
import json
import os
from pathlib import Path

import numpy as np
import pytest

from skinfo._files import describe_files, size_on_disk, write_atomically
from skinfo.errors import RunError
from skinfo.runs import Layer, RunWriter, open_run, save_run
from skinfo.runs.stores import WRITTEN

from .written import LABELS, LAYERS, activations, write_run


@pytest.mark.parametrize(
    "options",
    [
        {"labels": None, "train": [0, 1]},
        {"train": [0, 4]},
        {"train": [True, False, False, True]},
        {"groups": [0, 1, 2, 4]},
        {"groups": [0.5, 1.0]},
        {"labels": [None, 1, 2, 3]},
    ],
    ids=str,
)
def test_a_run_that_could_not_be_opened_is_refused_before_it_is_written(path, options):
    with pytest.raises(RunError):
        write_run(path, {}, **({"labels": LABELS} | options))
    assert not (path / "run.json").exists()


@pytest.mark.parametrize("shape", [(5, 2), (5, 2, 3, 3), (4,), (5, 2, 2)])
def test_what_does_not_fit_is_refused_before_it_is_written(path, shape):
    writer = write_run(path, {}, [Layer("a", 0.1)], labels=LABELS)
    with pytest.raises(RunError, match="epoch 3, layer 'a'"):
        writer.add(3, {"a": np.zeros(shape)})
    assert writer.epochs() == []


@pytest.mark.parametrize("names", [["first"], ["first", "second", "out", "fourth"], []])
def test_a_checkpoint_has_all_the_layers(path, names):
    writer = write_run(path)
    with pytest.raises(RunError, match="epoch 30: expected the layers .*first.*out.*second"):
        writer.add(30, {name: np.zeros((4, 2)) for name in names})
    assert writer.epochs() == [1, 20]


def test_a_negative_epoch_is_refused_not_lost(path):
    writer = write_run(path)
    with pytest.raises(ValueError, match="epoch"):
        writer.add(-1, activations())
    assert open_run(path).epochs == [1, 20]


class Unwritable:
    """Stands for an array on a disk that fails when it is read."""

    def __array__(self, dtype=None, copy=None):
        raise OSError("the disk is gone")


def test_a_checkpoint_that_fails_leaves_the_old_one_alone(path):
    writer = write_run(path)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    for epoch in (20, 30):
        with pytest.raises(OSError, match="the disk is gone"):
            writer.add(epoch, activations(3) | {"out": Unwritable()}, losses={"loss": 1.0})
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_write_that_fails_changes_nothing(tmp_path, old, error):
    file = tmp_path / "table"
    if old is not None:
        file.write_bytes(old)

    def write():
        with write_atomically(file) as stream:
            stream.write(b"half of the new")
            stream.flush()
            raise error

    with pytest.raises(error):
        write()
    assert [(f.name, f.read_bytes()) for f in tmp_path.iterdir()] == (
        [] if old is None else [("table", old)]
    )


def test_a_write_is_seen_only_when_it_is_complete(tmp_path):
    file = tmp_path / "table"
    file.write_bytes(b"old")
    with write_atomically(file) as stream:
        stream.write(b"new")
        stream.flush()
        assert file.read_bytes() == b"old"
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_has_the_usual_permissions(tmp_path):
    with write_atomically(tmp_path / "atomic"):
        pass
    (tmp_path / "usual").touch()
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_file_left_by_a_killed_writer_is_no_checkpoint(path):
    write_run(path)
    (path / ".epoch_00000030.npz.x8k2").write_bytes(b"half")
    assert open_run(path).epochs == [1, 20]


def test_memory_mapped_arrays_are_written(path, tmp_path):
    np.save(tmp_path / "S.npy", activations()["first"])
    mapped = np.load(tmp_path / "S.npy", mmap_mode="r")
    write_run(path, {1: {"a": mapped}}, [Layer("a", 0.1)])
    np.testing.assert_array_equal(open_run(path).load(1, "a").array, mapped)
    write_run(path, {2: {"a": mapped[::-1, ::-1]}}, [Layer("a", 0.1)])
    np.testing.assert_array_equal(open_run(path).load(2, "a").array, mapped[::-1, ::-1])


# Continuing a run


def test_a_run_with_the_same_settings_is_continued(path):
    options = {"train": np.array([0, 1]), "seed": 2, "settings": {"rates": (0.1, 0.2)}}
    writer = RunWriter(path, LAYERS, labels=LABELS, **options)
    writer.add(1, activations(1), losses={"train_loss": 0.5})
    again = RunWriter(path, LAYERS, labels=list(LABELS), **options)
    assert again.epochs() == [1]
    again.add(2, activations(2), losses={"train_loss": 0.25})
    run = open_run(path)
    assert run.losses == {1: {"train_loss": 0.5}, 2: {"train_loss": 0.25}}
    for epoch in (1, 2):
        np.testing.assert_array_equal(run.load(epoch, "out").array, activations(epoch)["out"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"layers": LAYERS[::-1]}, "layers"),
        ({"layers": [Layer("first", 0.11), *LAYERS[1:]]}, "layers"),
        ({"train": [0, 2]}, "train"),
        ({"train": None}, "train"),
        ({"seed": 3}, "seed"),
        ({"settings": {"epochs": 11}}, "settings"),
        ({"labels": [5, 5, 7, 7]}, "labels"),
        ({"labels": [5, 7, 7, 5, 5]}, "labels"),
        ({"groups": [0, 1, 1, 0, 2, 3]}, "groups"),
        ({"groups": None}, "groups"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "-".join(value),
)
def test_a_run_with_other_settings_is_an_error(path, change, named):
    options = {
        "layers": LAYERS, "labels": LABELS, "groups": [0, 0, 1, 1, 2, 3], "train": [0, 1],
        "seed": 2, "settings": {"epochs": 10},
    }  # fmt: skip
    RunWriter(path, **options).add(1, activations())
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    with pytest.raises(RunError, match=f"another run exists already: its {named} differ"):
        RunWriter(path, **(options | change))
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_a_run_without_labels_is_another_run(path):
    write_run(path, labels=None)
    with pytest.raises(RunError, match="its labels differ"):
        RunWriter(path, LAYERS, labels=LABELS)


def test_a_damaged_run_is_not_continued(path):
    write_run(path)
    (path / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json"):
        write_run(path)


def test_numbers_of_numpy_describe_a_run(path):
    layers = [Layer("a", np.float32(0.5))]
    writer = RunWriter(path, layers, seed=np.int64(3), settings={"width": np.float32(0.25)})
    writer.add(np.int64(4), {"a": np.zeros((2, 1))}, losses={"loss": np.float32(0.5)})
    run = open_run(path)
    assert (run.seed, run.layers, run.settings) == (3, (Layer("a", 0.5),), {"width": 0.25})
    assert run.losses == {4: {"loss": 0.5}}


class Colour(enum.Enum):
    RED = 1


def test_settings_of_any_kind_are_noted(path):
    """As vars(args) holds them; the same settings continue the run."""
    settings = {
        "out": Path("runs/a"), "when": datetime.datetime(2026, 1, 2), "tags": {"b", "a"},
        "colour": Colour.RED, "raw": b"x", "rate": np.float32(0.5), "nothing": None,
        "bad": float("nan"), "table": np.arange(200), "run": np.mean, 3: (1, 2),
    }  # fmt: skip
    for epoch in (1, 2):
        save_run(path, epoch, {"a": np.zeros((2, 1))}, settings=settings)
    noted = json.loads((path / "run.json").read_text(), parse_constant=pytest.fail)["settings"]
    assert noted == open_run(path).settings == {
        "out": "runs/a", "when": "datetime.datetime(2026, 1, 2, 0, 0)", "tags": ["a", "b"],
        "colour": "<Colour.RED: 1>", "raw": "b'x'", "rate": 0.5, "nothing": None, "bad": "nan",
        "table": list(range(200)), "run": "mean", "3": [1, 2],
    }  # fmt: skip
    with pytest.raises(RunError, match="settings must be a mapping, such as"):
        save_run(path, 3, {"a": np.zeros((2, 1))}, settings=argparse.Namespace(rate=1))


@pytest.mark.parametrize(
    "losses", [{"x": None}, {"x": "0.5"}, {"x": [1, 2]}, {"x": 1j}, {"x": 10**400}, {"x": object()}]
)
def test_a_loss_that_is_no_number_is_named(path, losses):
    with pytest.raises(RunError, match=r"epoch 3: losses\['x'\] must be a number; got"):
        save_run(path, 3, {"a": np.zeros((2, 1))}, losses=losses)
    assert not path.exists()


@pytest.mark.parametrize(
    "sigma", ["0.1", True, 1j, float("nan"), -0.1, [[0.1]], [], {"a": [0.1, "x"]}, {"a": object()}]
)
def test_a_sigma_that_is_no_number_is_named(path, sigma):
    for act in (lambda: save_run(path, 1, {"a": np.zeros((2, 1))}, sigma=sigma),
                lambda: open_run({(1, "a"): np.zeros((2, 1))}, sigma=sigma)):  # fmt: skip
        with pytest.raises(
            ValueError, match=r"(layer 'a': )?sigma (must be|is) .* deviation.*; got"
        ):
            act()
    assert not path.exists()


@pytest.mark.parametrize(
    "name", ["", "a\0", "\ud800", "__metadata__", "zarr.json", "a" * 251, "é" * 42]
)
@pytest.mark.parametrize("fmt", WRITTEN)
def test_a_name_that_no_format_can_hold_is_refused_before_anything_is_written(path, name, fmt):
    with pytest.raises(RunError, match="no name of a layer|cannot be stored"):
        save_run(path, 1, {"a": np.zeros((2, 1)), name: np.zeros((2, 1))}, format=fmt)
    with pytest.raises(RunError, match="no name of a layer|cannot be stored"):
        RunWriter(path, ["a", name], format=fmt)
    if name in ("", "a\0", "\ud800"):
        for options in (
            {"losses": {name: 1.0}},
            {"labels": ["a", f"\ud800{name}"]},
            {"labels": ["a", "a\0"]},
        ):
            with pytest.raises(RunError, match="is no name of a (loss|label)"):
                save_run(path, 1, {"a": np.zeros((2, 1))}, format=fmt, **options)
    assert not path.exists()


@pytest.mark.parametrize("name", ["a" * 250, "é" * 41, "losses", "a\r\nb", "c/0", "😀", "%", ".."])
@pytest.mark.parametrize("fmt", WRITTEN)
def test_other_names_are_alike_in_every_format(path, name, fmt):
    save_run(path, 1, {name: np.ones((2, 1))}, losses={name: np.inf}, format=fmt)
    run = open_run(path)
    assert run.losses == {1: {name: np.inf}}
    assert run.store.names(1) == [name]
    assert run.load(1, name).array.tolist() == [[1.0], [1.0]]


@pytest.mark.parametrize("fmt", WRITTEN)
@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.ones((2, 1), np.longdouble), "not every format stores; save float64"),
        (np.ones((2, 1), complex), "holds complex128 where numbers are expected"),
        (np.ma.masked_equal([[1.0], [2.0]], 2), "masked values"),
    ],
    ids=["longdouble", "complex", "masked"],
)
def test_what_not_every_format_stores_is_refused_by_all(path, fmt, array, said):
    with pytest.raises(ValueError, match=f"layer 'a'.*{said}"):
        save_run(path, 1, {"a": array}, format=fmt)
    assert not path.exists()


@pytest.mark.parametrize("fmt", WRITTEN)
def test_an_epoch_holds_as_many_losses_in_every_format(path, fmt):
    losses = {f"loss {k}": 0.1 * k for k in range(1600)}
    save_run(path, 1, {"a": np.zeros((2, 1))}, losses=losses, format=fmt)
    assert open_run(path).losses == {1: losses}
    with pytest.raises(RunError, match="losses of an epoch take at most 60000 characters"):
        save_run(path, 2, {"a": np.zeros((2, 1))}, losses={"x" * 60_000: 1.0})


@pytest.mark.parametrize("labels", [[np.nan, 1], [np.inf, 1], np.ma.masked_equal([1, 2], 2)])
def test_labels_that_are_missing_are_refused_before_anything_is_written(path, labels):
    with pytest.raises(RunError, match="labels (contains|holds)"):
        save_run(path, 1, {"a": np.zeros((2, 1))}, labels=labels)
    assert not path.exists()


def test_labels_of_something_else_are_not_taken_for_those_of_a_new_run(path):
    path.mkdir()
    np.save(path / "labels.npy", [1, 2, 3])
    for labels in (None, [0, 1]):
        with pytest.raises(RunError, match=r"labels\.npy: is there already and is not of this run"):
            save_run(path, 1, {"a": np.zeros((2, 1))}, labels=labels)
    assert [file.name for file in path.iterdir()] == ["labels.npy"]


def test_writing_leaves_the_umask_of_the_process_alone(path, monkeypatch):
    """Another thread's files get their permissions from it."""
    monkeypatch.setattr(os, "umask", lambda _: pytest.fail("the umask is the process's"))
    for fmt in WRITTEN:
        save_run(path / fmt, 1, {"a": np.zeros((2, 1))}, format=fmt)


def test_a_file_that_is_gone_when_it_is_looked_at_is_left_out(path, monkeypatch):
    """A checkpoint that is replaced while the files of a run are described."""
    save_run(path, 1, {"a": np.zeros((2, 1))})
    stat = os.stat

    def vanishing(file, *arguments, **options):
        if str(file).endswith(".npz"):
            raise FileNotFoundError(file)
        return stat(file, *arguments, **options)

    before = size_on_disk(path)
    monkeypatch.setattr(os, "stat", vanishing)
    assert 0 < size_on_disk(path) < before
    assert describe_files(path)
