"""Arrays, labels and calls that do not fit a run are refused, and the run stays as it was."""

import numpy as np
import pytest

from skinfo import open_run, save_run
from skinfo.errors import RunError
from skinfo.runs import convert_run

from .stored import check_is_whole, nothing_else, two_layers

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")
pytest.importorskip("safetensors.numpy")


def in_memory(first, second, **options):
    return open_run({(1, "a"): first, (20, "a"): second}, **options)


def test_a_layer_that_changes_its_width_names_both_epochs(fmt, written):
    with pytest.raises(
        RunError, match=r"epoch 30, layer 'first': has 9 units, but 40 at epoch (1|20):"
    ):
        save_run(written, 30, two_layers(30, width=9))
    assert open_run(written).epochs == [1, 20]


def test_a_width_that_others_changed_is_seen_when_read(tmp_path):
    for epoch, width in ((1, 4), (20, 5), (30, 4)):
        np.savez(tmp_path / f"{epoch}.npz", a=np.zeros((3, width)))
    run = open_run(tmp_path)
    for _ in range(2):
        with pytest.raises(RunError, match=r"epoch 20, layer 'a': has 5 units, but 4 at epoch 1:"):
            run.load(20, "a")
        assert run.load(30, "a").array.shape == (3, 4)
    np.savez(tmp_path / "1.npz", a=np.zeros((3, 5)))
    assert run.load(20, "a").array.shape == (3, 5)
    # A first checkpoint that cannot be looked at is no measure.
    (tmp_path / "1.npz").write_bytes(b"")
    assert open_run(tmp_path).load(20, "a").array.shape == (3, 5)


def test_a_width_is_that_of_what_is_chosen():
    maps = in_memory(np.zeros((3, 2, 4, 4)), np.zeros((3, 2, 6, 6)), flatten="channel_mean")
    assert maps.load(20, "a").array.shape == (3, 2)
    with pytest.raises(RunError, match="has 72 units, but 32 at epoch 1"):
        in_memory(np.zeros((3, 2, 4, 4)), np.zeros((3, 2, 6, 6)), flatten="all").load(20, "a")


def test_replicas_may_change_in_number():
    run = in_memory(np.zeros((3, 2, 4)), np.zeros((3, 7, 4)), sigma=0.1)
    assert run.load(20, "a").array.shape == (3, 7, 4)


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8"])
def test_types_may_differ_between_checkpoints(tmp_path, fmt, dtype):
    path = tmp_path / "run"
    values = np.array([[1.0, -2.0], [3.0, 4.0]])
    save_run(path, 1, {"a": values}, format=fmt)
    save_run(path, 2, {"a": values.astype(dtype)})
    run = open_run(path)
    assert [run.load(epoch, "a").array.dtype for epoch in run.epochs] == [np.dtype(float), dtype]
    np.testing.assert_array_equal(run.load(1, "a").array, run.load(2, "a").array)


@pytest.mark.parametrize("values", [np.array([["1"]]), np.array([[1j]])])
def test_what_is_no_number_is_refused(fmt, written, values):
    other = written.with_name("new-" + written.name)
    with pytest.raises(RunError, match=r"new-run\S*, epoch 1, layer 'a': holds .* where numbers"):
        save_run(other, 1, {"a": values}, format=fmt)
    with pytest.raises(RunError, match=r"epoch 20, layer 'a': holds .* where numbers"):
        in_memory(np.zeros((1, 1)), values).load(20, "a")


def test_nan_in_one_checkpoint_leaves_the_others(fmt, written):
    arrays = two_layers(30)
    arrays["first"][2, 3] = np.nan
    save_run(written, 30, arrays)
    run = open_run(written)
    with pytest.raises(RunError, match=r"epoch 30, layer 'first': holds NaN .*first at \(2, 3\)"):
        run.load(30, "first")
    assert run.load(20, "first").array.shape == (4, 40)


def test_missing_labels_are_said_where_they_are_needed(fmt, tmp_path):
    path = tmp_path / "run"
    with pytest.raises(RunError, match=r"names training inputs, but there are no labels"):
        save_run(path, 1, two_layers(), train=[0], format=fmt)
    assert not path.exists() or not (path / "run.json").exists()
    save_run(path, 1, two_layers(), format=fmt)
    run = open_run(path)
    assert run.labels is None
    assert run.load(1, "first").replicas().y is None
    with pytest.raises(RunError, match=r"no labels"):
        open_run(path, train=[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [1, 2, 3, 4]}, "another run exists already: its labels differ"),
        ({"labels": [5, 7]}, "its labels differ"),
        ({"groups": [0, 1, 2, 3]}, "its groups differ"),
        ({"sigma": 0.1}, "its layers differ"),
        ({"train": [0]}, "its train differ"),
        ({"seed": 4}, "its seed differ"),
        ({"settings": {"a": 1}}, "its settings differ"),
        ({"format": "tape"}, "format must be one of"),
        ({"epoch": -1}, "an epoch is a whole number"),
        ({"epoch": 1.5}, "an epoch is a whole number"),
        ({"activations": {"first": np.zeros((4, 40))}}, r"epoch 30: expected the layers"),
        ({"activations": two_layers() | {"first": np.zeros((3, 40))}},
         r"epoch 30, layer 'first': 4 labels, one per input, for 3 rows of shape \(3, 40\)"),
        ({"activations": two_layers() | {"first": np.zeros((4, 0))}},
         r"epoch 30, layer 'first': has shape \(4, 0\)"),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_the_run_is_refused(fmt, written, change, message):
    arguments = {"epoch": 30, "activations": two_layers(30)} | change
    with pytest.raises(ValueError, match=message):
        save_run(written, **arguments)
    check_is_whole(written, [1, 20])
    assert nothing_else(written)


def test_what_is_no_run_is_not_added_to(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"notes\.txt: is a file, and not of a format"):
        save_run(tmp_path / "notes.txt", 1, two_layers())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["1/activations/a"] = np.zeros((2, 1))
    with pytest.raises(RunError, match=r"a\.h5: is a file, .*convert it to a directory first"):
        save_run(tmp_path / "a.h5", 2, {"a": np.zeros((2, 1))})
    zarr.create_group(tmp_path / "b.zarr")
    with pytest.raises(RunError, match=r"b\.zarr: was not written by skinfo.*convert it first"):
        save_run(tmp_path / "b.zarr", 2, {"a": np.zeros((2, 1))})
    for name, fmt in (("d.h5", None), ("d.h5", "hdf5"), ("d.zarr", "npy"), ("d.npz", None)):
        with pytest.raises(RunError, match=rf"{name}: a run is a directory of one \.\w+ per check"):
            save_run(tmp_path / name, 1, two_layers(), format=fmt)
        with pytest.raises(RunError, match=rf"{name}: a run is a directory of one \.\w+ per check"):
            convert_run(open_run({(1, "a"): np.zeros((2, 1))}), tmp_path / name, format=fmt)
    assert (tmp_path / "notes.txt").read_text() == "mine"
