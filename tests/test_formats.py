"""Every format: the same bits through save_run and open_run, lazily, and runs of other hands."""

import json
import mmap
import os
import sys

import ml_dtypes
import numpy as np
import pytest

from skinfo import open_run, save_run
from skinfo.errors import MissingExtraError, RunError
from skinfo.runs import Layer, RunWriter, convert_run
from skinfo.runs.naming import natural_order, quoted

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")
save_safetensors = pytest.importorskip("safetensors.numpy").save_file

NAMES = {"npz": "run", "npy": "run", "safetensors": "run", "hdf5": "run.h5", "zarr": "run.zarr"}
LABELS = np.array([5, 7, 7, 5])
TYPES = ("float64", "float32", "float16", "int64", "uint8", "int16")


def activations(seed=0):
    rng = np.random.default_rng(seed)
    arrays = {
        "block10/dense 1": rng.standard_normal((4, 5)),
        "block9.conv": rng.standard_normal((4, 3, 2, 2)).astype(np.float32),
        "tail%2F": rng.standard_normal((4, 3, 2)).astype(np.float16),
        "..": rng.integers(-5, 5, (4, 1)),
    }
    arrays["block10/dense 1"][0] = [-0.0, 5e-324, 1e308, np.pi, -1]
    return arrays


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """Only a loss of power would show it."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture(params=NAMES)
def fmt(request):
    return request.param


@pytest.fixture
def path(fmt, tmp_path):
    return tmp_path / NAMES[fmt]


def bits(array):
    return array.dtype, array.shape, np.ascontiguousarray(array).tobytes()


def test_the_same_bits_come_back(fmt, path):
    data = {epoch: activations(epoch) for epoch in (20, 1, 300)}
    describe = {"labels": LABELS, "sigma": {"block9.conv": 0.1}, "train": [0, 2], "seed": 3,
                "settings": {"rate": 0.1}}  # fmt: skip
    for epoch, arrays in data.items():
        save_run(path, epoch, arrays, losses={"loss": epoch}, format=fmt, **describe)
    run = open_run(path)
    assert run.epochs == [1, 20, 300]
    assert run.layers == (
        Layer("block10/dense 1"), Layer("block9.conv", 0.1), Layer("tail%2F", None, True),
        Layer("..", None, True),
    )  # fmt: skip
    np.testing.assert_array_equal(run.labels, LABELS)
    assert run.labels.dtype == LABELS.dtype
    assert run.train.tolist() == [True, False, True, False]
    assert (run.seed, run.settings, run.name) == (3, {"rate": 0.1}, str(path))
    assert run.losses == {epoch: {"loss": epoch} for epoch in (1, 20, 300)}
    assert run.schema == (1 if fmt == "npz" else 2)
    assert run.store.format == fmt
    for epoch, arrays in data.items():
        assert set(run.store.names(epoch)) == set(arrays)
        for name, array in arrays.items():
            assert bits(run.store.read(epoch, name)) == bits(array)
            assert run.store.shape(epoch, name) == (array.shape, array.dtype)
    assert bits(run.array(20, "tail%2F")) == bits(data[20]["tail%2F"])


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_of_number_comes_back(fmt, path, dtype):
    array = np.arange(6).reshape(3, 2).astype(dtype)
    save_run(path, 1, {"a": array}, format=fmt)
    assert bits(open_run(path).array(1, "a")) == bits(array)


@pytest.mark.parametrize(
    "labels", [["cat", "dög", "a", "cat"], [1.5, 2, 2, 1.5], [True, False] * 2]
)
def test_labels_may_be_words_and_numbers(fmt, path, labels):
    save_run(path, 1, {"a": np.zeros((4, 2))}, labels=labels, format=fmt)
    found = open_run(path).labels
    assert found.tolist() == labels
    assert found.dtype == np.asarray(labels).dtype
    save_run(path, 2, {"a": np.zeros((4, 2))}, labels=labels)


def test_groups_come_back(fmt, path):
    groups = [1, 0, 1, 2, 3, 2]
    S = np.arange(12.0).reshape(6, 2)
    save_run(path, 1, {"a": S}, labels=LABELS, groups=groups, sigma=0.1, format=fmt)
    rows = open_run(path).replicas(1, "a")
    assert rows.groups.tolist() == groups
    assert rows.y.tolist() == [7, 5, 7, 7, 5, 7]


@pytest.mark.parametrize("view", [np.s_[::-1, ::2], np.s_[1:, 1:], np.s_[:, ::-1]])
def test_any_strides_and_byte_order_are_written(fmt, path, view):
    big = np.arange(24.0).reshape(4, 6).astype(">f8")
    for epoch, array in enumerate((big[view], np.asfortranarray(big[view]))):
        save_run(path, epoch, {"a": array}, format=fmt)
        np.testing.assert_array_equal(open_run(path).array(epoch, "a"), array)


def test_a_checkpoint_written_again_replaces_the_old_one(fmt, path):
    for seed in (1, 2, 3):
        save_run(path, 7, activations(seed), losses={"loss": seed}, format=fmt)
    save_run(path, 1, activations(9))
    run = open_run(path)
    assert run.epochs == [1, 7]
    assert run.losses == {7: {"loss": 3.0}}
    for name, array in activations(3).items():
        assert bits(run.store.read(7, name)) == bits(array)


def test_an_open_run_sees_checkpoints_that_arrive(fmt, path):
    save_run(path, 1, activations(1), format=fmt)
    run = open_run(path)
    before = run.store.read(1, "block9.conv")
    save_run(path, 2, activations(2))
    assert run.epochs == [1, 2]
    assert bits(run.store.read(2, "tail%2F")) == bits(activations(2)["tail%2F"])
    # What was read, or is only mapped, stays what it was.
    assert bits(before) == bits(activations(1)["block9.conv"])


def test_nothing_is_left_beside_a_run(fmt, path):
    for epoch in (1, 2, 2):
        save_run(path, epoch, activations(), losses={"loss": 1}, labels=LABELS, format=fmt)
    assert list(path.parent.iterdir()) == [path]
    if path.is_dir():
        assert [entry.name for entry in path.iterdir() if entry.name.startswith(".")] == []
        assert [entry.name for entry in path.iterdir() if entry.name.endswith(".old")] == []


def test_run_writer_writes_every_format(fmt, path):
    layers = [Layer("a", 0.1), Layer("b", 0.0, True)]
    for epoch in (1, 2):
        writer = RunWriter(path, layers, labels=LABELS, seed=1, format=fmt)
        writer.add(epoch, {"a": np.full((4, 2), epoch), "b": np.zeros((4, 3))}, losses={"x": 1})
    assert writer.epochs() == [1, 2]
    run = open_run(path)
    assert run.layers == tuple(layers)
    assert run.array(2, "a").tolist() == [[2, 2]] * 4
    with pytest.raises(RunError, match="another run is there already: its seed differ"):
        RunWriter(path, layers, labels=LABELS, seed=2)


def test_torch_tensors_are_taken(fmt, path):
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6.0, requires_grad=True).reshape(3, 2) * 2
    save_run(path, 1, {"a": tensor}, labels=torch.tensor([0, 1, 0]), format=fmt)
    run = open_run(path)
    assert run.array(1, "a").tolist() == [[0, 2], [4, 6], [8, 10]]
    assert run.labels.tolist() == [0, 1, 0]


# Lazy


def owner(array):
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array


@pytest.mark.parametrize("fmt", ["npy", "hdf5"], indirect=True)
def test_arrays_in_one_piece_are_mapped(fmt, path):
    # Three odd bytes first: where the next begins is what matters.
    data = {"odd": np.zeros((3, 1), np.uint8), "wide": np.random.default_rng(0).random((3, 300))}
    save_run(path, 1, data, format=fmt)
    array = open_run(path).array(1, "wide")
    np.testing.assert_array_equal(array, data["wide"])
    assert isinstance(owner(array), mmap.mmap)
    assert type(array) is np.ndarray
    assert array.ctypes.data % array.itemsize == 0


def test_reading_a_layer_asks_for_that_layer_alone(fmt, path, monkeypatch):
    maps = np.zeros((4, 3, 16, 16))
    save_run(path, 1, activations() | {"block9.conv": maps, "other": maps + 1}, format=fmt)
    run = open_run(path)
    asked = spy(fmt, monkeypatch)
    run.store.shape(1, "block9.conv")
    assert asked == []
    run.store.read(1, "block9.conv")
    assert len(asked) == 1
    assert "block9.conv" in asked[0]


def spy(fmt, monkeypatch):
    """Notes each array whose numbers are read from a file."""
    asked = []

    def note(owner, name, what):
        original = getattr(owner, name)

        def noting(*arguments, **options):
            asked.append(str(what(*arguments)))
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, noting)

    if fmt == "npz":
        note(np.lib.format, "read_array", lambda member: member.name)
    elif fmt == "npy":
        note(np, "load", lambda file: file)
    elif fmt == "safetensors":
        import safetensors

        class Opened:
            def __init__(self, *arguments):
                self.file = original(*arguments)

            def __enter__(self):
                self.file.__enter__()
                return self

            def __exit__(self, *exception):
                return self.file.__exit__(*exception)

            def __getattr__(self, name):
                if name == "get_tensor":
                    return lambda layer: (asked.append(layer), self.file.get_tensor(layer))[1]
                return getattr(self.file, name)

        original = safetensors.safe_open
        monkeypatch.setattr(safetensors, "safe_open", Opened)
    elif fmt == "hdf5":
        note(np, "memmap", lambda *a: h5_layer(a))
    else:
        note(zarr.Array, "__getitem__", lambda array, _: array.path)
    return asked


def h5_layer(arguments):
    """The layer whose numbers lie where a map begins."""
    path, _, _, offset, _ = arguments
    found = []
    with h5py.File(path) as file:
        file.visititems(
            lambda name, node: (
                found.append(name)
                if isinstance(node, h5py.Dataset) and node.id.get_offset() == offset
                else None
            )
        )
    return found


def test_opening_reads_no_array(fmt, path, monkeypatch):
    for epoch in (1, 2):
        save_run(path, epoch, activations(), format=fmt)
    asked = spy(fmt, monkeypatch)
    run = open_run(path, flatten="all")
    assert run.epochs == [1, 2]
    assert run.shape(2, "block9.conv") == (4, 12)
    assert run.nbytes(2, "block10/dense 1") == 160
    assert asked == []


# The layout, as others see it


def test_the_layout_is_what_the_documentation_says(tmp_path):
    arrays = {"a": np.arange(4.0).reshape(2, 2), "b/c": np.zeros((2, 1))}
    for fmt, name in NAMES.items():
        save_run(tmp_path / fmt / name, 12, arrays, labels=[0, 1], format=fmt)
    npy = tmp_path / "npy" / "run"
    np.testing.assert_array_equal(np.load(npy / "epoch_00000012" / "a.npy"), arrays["a"])
    assert (npy / "epoch_00000012" / "b%2Fc.npy").is_file()
    assert json.loads((npy / "run.json").read_text())["format"] == "npy"
    tensors = tmp_path / "safetensors" / "run" / "epoch_00000012.safetensors"
    from safetensors.numpy import load_file

    assert set(load_file(tensors)) == {"a", "b/c"}
    with h5py.File(tmp_path / "hdf5" / "run.h5") as file:
        np.testing.assert_array_equal(file["12/activations/a"], arrays["a"])
        assert list(file) == ["12", "labels", "run.json"]
        assert json.loads(file["run.json"][()])["schema"] == 2
    root = zarr.open_group(tmp_path / "zarr" / "run.zarr", mode="r")
    np.testing.assert_array_equal(root["12/activations/a"][...], arrays["a"])
    assert sorted(name for name, _ in root.members()) == ["12", "labels"]
    assert json.loads(root.attrs["run.json"])["format"] == "zarr"


def test_a_run_of_schema_1_without_a_format_is_npz(tmp_path):
    save_run(tmp_path, 1, {"a": np.zeros((2, 1))}, sigma=0.1)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["schema"] == 1
    assert "format" not in record


def test_an_unknown_format_is_named(tmp_path):
    (tmp_path / "run.json").write_text('{"schema": 2, "format": "tape", "layers": [{"name": "a"}]}')
    with pytest.raises(RunError, match=r"run\.json: is a run of format 'tape'"):
        open_run(tmp_path)


def test_names_of_layers_become_names_of_files():
    assert quoted("a/b") == "a%2Fb"
    assert quoted("a%2Fb") == "a%252Fb"
    assert quoted(".") == "%2E"
    assert natural_order(["b", "a10", "a9", "a"]) == ["a", "a9", "a10", "b"]


# Runs of other hands


def test_a_directory_of_any_npz_opens(tmp_path):
    for epoch in (3, 12):
        np.savez(
            tmp_path / f"net2-after-{epoch}.npz", fc2=np.full((4, 2), epoch), fc1=np.zeros((4, 3))
        )
    np.savez(tmp_path / "unnumbered.npz", other=np.zeros(1))
    run = open_run(tmp_path, labels=LABELS, sigma={"fc1": 0.1}, train=[1])
    assert run.epochs == [3, 12]
    assert [layer.name for layer in run.layers] == ["fc2", "fc1"]
    assert run.array(12, "fc2").tolist() == [[12, 12]] * 4
    assert run.schema is None
    assert run.train.tolist() == [False, True, False, False]
    ordered = open_run(tmp_path, sigma={"fc1": 0.1}, layers=["fc1", "fc2"])
    assert ordered.layers == (Layer("fc1", 0.1), Layer("fc2", None, True))


def test_two_files_of_one_epoch_are_named(tmp_path):
    for name in ("a-1.npz", "b-01.npz"):
        np.savez(tmp_path / name, a=np.zeros((2, 1)))
    with pytest.raises(RunError, match=r"epoch 1: a-1 and b-01 are both of this epoch"):
        open_run(tmp_path)


@pytest.mark.parametrize("save", ["npz", "safetensors"])
def test_a_layer_that_appears_later_is_a_layer(tmp_path, save):
    write = save_safetensors if save == "safetensors" else lambda a, file: np.savez(file, **a)
    write({"b10": np.zeros((5, 2))}, tmp_path / f"e1.{save}")
    write({"b10": np.ones((5, 2)), "b9": np.ones((5, 3))}, tmp_path / f"e2.{save}")
    run = open_run(tmp_path)
    # The order of an .npz is that of its writer, safetensors sorts.
    guessed = save == "safetensors"
    assert [layer.name for layer in run.layers] == (["b9", "b10"] if guessed else ["b10", "b9"])
    assert run.order_from_names is guessed
    assert not open_run(tmp_path, layers=["b9", "b10"]).order_from_names
    assert run.array(2, "b9").shape == (5, 3)
    with pytest.raises(RunError, match="epoch 1, layer 'b9': the file has no such layer"):
        run.array(1, "b9")


def test_a_conversion_that_was_stopped_is_mentioned(tmp_path):
    save_run(tmp_path / "source", 1, {"a": np.zeros((2, 1))})

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_run(tmp_path / "source", tmp_path / "new.h5", progress=stop)
    with pytest.raises(RunError, match=r"new\.h5: there is no run here yet: a conversion to it"):
        open_run(tmp_path / "new.h5")


def test_directories_of_npy_open(tmp_path):
    for epoch in (3, 12):
        (tmp_path / f"step-{epoch}").mkdir()
        for name in ("layer10", "layer9"):
            np.save(tmp_path / f"step-{epoch}" / f"{name}.npy", np.full((2, 2), epoch))
    np.save(tmp_path / "labels.npy", [4, 5])
    run = open_run(tmp_path)
    assert run.epochs == [3, 12]
    assert [layer.name for layer in run.layers] == ["layer9", "layer10"]
    assert run.labels.tolist() == [4, 5]
    assert run.array(12, "layer10").tolist() == [[12, 12]] * 2


def test_a_directory_of_any_safetensors_opens(tmp_path):
    save_safetensors(
        {"b10": np.ones((2, 2)), "b9": np.zeros((2, 3))}, tmp_path / "ckpt5.safetensors"
    )
    run = open_run(tmp_path)
    assert run.epochs == [5]
    assert [layer.name for layer in run.layers] == ["b9", "b10"]


@pytest.mark.parametrize("inner", ["", "activations/"])
def test_any_hdf5_opens(tmp_path, inner):
    file = tmp_path / "dump"
    with h5py.File(file, "w") as stream:
        for epoch in (2, 10):
            for name in ("net/z", "net/a10", "net/a9"):
                stream[f"epoch_{epoch}/{inner}{name}"] = np.full((3, 2), epoch)
        stream.create_dataset("chunked_11", data=[1])
        stream["labels"] = ["x", "y", "x"]
    run = open_run(file)
    assert run.epochs == [2, 10]
    assert [layer.name for layer in run.layers] == ["net/a9", "net/a10", "net/z"]
    assert run.array(10, "net/z").tolist() == [[10, 10]] * 3
    assert run.labels.tolist() == ["x", "y", "x"]


def test_order_of_hdf5_that_tracks_it_is_kept(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", track_order=True) as file:
        group = file.create_group("1/activations", track_order=True)
        for name in ("stem", "body", "head"):
            group[name] = np.zeros((2, 1))
    assert [layer.name for layer in open_run(tmp_path / "a.h5").layers] == ["stem", "body", "head"]


def test_compressed_hdf5_is_read_by_chunks(tmp_path):
    S = np.random.default_rng(0).standard_normal((50, 4)).astype(">f4")
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file.create_dataset("1/activations/a", data=S, compression="gzip", chunks=(10, 4))
        file["1/activations/b"] = S
    run = open_run(tmp_path / "a.h5")
    for name in "ab":
        np.testing.assert_array_equal(run.array(1, name), S)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("inner", ["", "activations/"])
def test_any_zarr_opens(tmp_path, version, inner):
    root = zarr.open_group(tmp_path / "dump", mode="w", zarr_format=version)
    for epoch in (2, 10):
        for name in ("a10", "a9"):
            root.create_array(f"epoch_{epoch}/{inner}{name}", data=np.full((3, 2), epoch * 1.0))
    root.create_array("labels", data=np.array([1, 0, 1]))
    run = open_run(tmp_path / "dump")
    assert run.epochs == [2, 10]
    assert [layer.name for layer in run.layers] == ["a9", "a10"]
    assert run.array(10, "a9").tolist() == [[10, 10]] * 3
    assert run.labels.tolist() == [1, 0, 1]


def test_a_directory_of_two_formats_asks_which(tmp_path):
    np.savez(tmp_path / "a1.npz", a=np.zeros((2, 1)))
    save_safetensors({"a": np.ones((2, 1))}, tmp_path / "a1.safetensors")
    with pytest.raises(RunError, match="formats npz and safetensors; say which with format="):
        open_run(tmp_path)
    assert open_run(tmp_path, format="safetensors").array(1, "a").tolist() == [[1], [1]]
    with pytest.raises(ValueError, match="format must be one of npz, npy"):
        open_run(tmp_path, format="pickle")


def test_what_contradicts_a_description_is_an_error(fmt, path):
    save_run(path, 1, {"a": np.zeros((4, 2)), "b": np.zeros((4, 2))}, labels=LABELS,
             sigma={"a": 0.1}, train=[0], format=fmt)  # fmt: skip
    agreed = {"labels": LABELS, "sigma": {"a": 0.1}, "layers": ["a", "b"], "train": [0]}
    for name, value in agreed.items():
        open_run(path, **{name: value})
    others = {"labels": LABELS + 1, "sigma": 0.2, "layers": ["b", "a"], "train": [1]}
    for name, value in others.items():
        with pytest.raises(RunError, match=f"run.*describes itself, and its {name}"):
            open_run(path, **{name: value})
    with pytest.raises(RunError, match="is a run of format"):
        open_run(path, format="npz" if fmt != "npz" else "npy")


def test_what_a_description_leaves_open_may_be_given(fmt, path):
    save_run(path, 1, {"a": np.zeros((4, 2)), "b": np.zeros((4, 2))}, format=fmt)
    run = open_run(path, labels=LABELS, sigma={"a": 0.1}, train=[3])
    assert run.layers == (Layer("a", 0.1), Layer("b", None, True))
    assert run.train.tolist() == [False, False, False, True]


# Arrays of all epochs, in memory or only looking like it


def test_arrays_by_layer_have_the_epoch_first_and_replicas_last(tmp_path):
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((2, 4, 3)), rng.standard_normal((2, 4, 3, 5))
    np.save(tmp_path / "a.npy", second)
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    run = open_run({"a": first, "b": mapped}, epochs=[30, 7], labels=LABELS, sigma=0.1)
    assert run.epochs == [7, 30]
    np.testing.assert_array_equal(run.array(30, "a"), first[0])
    np.testing.assert_array_equal(run.array(7, "b"), second[1].transpose(0, 2, 1))
    assert run.shape(7, "b") == (4, 5, 3)
    rows = run.replicas(7, "b")
    np.testing.assert_array_equal(rows.X[6], second[1][1, :, 1])
    assert rows.groups[6] == 1
    assert run.nbytes(30, "a") == 4 * 3 * 8


def test_containers_are_sliced_by_epoch(tmp_path):
    stack = np.random.default_rng(0).standard_normal((3, 4, 2))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["a"] = stack
        run = open_run({"a": file["a"]}, epochs=[1, 2, 3])
        np.testing.assert_array_equal(run.array(2, "a"), stack[1])
    array = zarr.create_array(tmp_path / "a.zarr", data=stack)
    np.testing.assert_array_equal(open_run({"a": array}, epochs=[1, 2, 3]).array(3, "a"), stack[2])


def test_maps_and_axes_of_arrays_by_layer():
    stack = np.random.default_rng(0).standard_normal((2, 4, 3, 5, 6))
    run = open_run({"a": stack}, epochs=[1, 2], flatten="channel_mean")
    np.testing.assert_allclose(run.array(2, "a"), stack[1].mean((2, 3)))
    run = open_run({"a": stack}, epochs=[1, 2], flatten="channel_mean", channels="last")
    np.testing.assert_allclose(run.array(2, "a"), stack[1].mean((1, 2)))
    mixed = open_run(
        {"a": stack, "b": stack[..., 0]}, epochs=[1, 2], flatten=lambda x: x[..., 0, 0]
    )
    np.testing.assert_array_equal(mixed.array(1, "a"), stack[0, ..., 0, 0])
    np.testing.assert_array_equal(mixed.array(1, "b"), stack[0, ..., 0].transpose(0, 2, 1))
    swapped = np.moveaxis(stack[..., 0], 0, 2)
    run = open_run({"a": swapped}, epochs=[5, 6], axes={"a": "ncer"}, sigma=0.1)
    np.testing.assert_array_equal(run.array(6, "a"), stack[1, ..., 0].transpose(0, 2, 1))


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ({"a": np.zeros((2, 4, 1))}, {}, "epochs= names the epochs"),
        ({"a": np.zeros((2, 4, 1))}, {"epochs": [1]}, "layer 'a': holds 2 epochs where epochs= na"),
        ({"a": np.zeros((2, 4, 1))}, {"epochs": [1, 1]}, "epochs names one of them twice"),
        ({"a": np.zeros((2, 4))}, {"epochs": [1, 2]}, "layer 'a': has 2 axes; say with axes="),
        ({"a": np.zeros((2, 4, 1))}, {"epochs": [1, 2], "axes": "nec"}, "holds 4 epochs"),
        ({"a": np.zeros((2, 4, 1))}, {"epochs": [1, 2], "axes": "nc"}, "expected one axis each"),
    ],
)
def test_arrays_by_layer_that_do_not_fit_are_refused(source, options, message):
    with pytest.raises(RunError, match=message):
        open_run(source, **options)


def test_epochs_and_format_are_of_one_kind_of_source_only(tmp_path):
    save_run(tmp_path, 1, {"a": np.zeros((2, 1))})
    with pytest.raises(TypeError, match="epochs="):
        open_run(tmp_path, epochs=[1])
    with pytest.raises(TypeError, match="epochs="):
        open_run({(1, "a"): np.zeros((2, 1))}, epochs=[1])
    with pytest.raises(TypeError, match="format="):
        open_run({(1, "a"): np.zeros((2, 1))}, format="npz")


def test_axes_that_were_said_are_believed():
    stack = np.random.default_rng(0).standard_normal((2, 10, 3, 4))
    for axes in ("enrc", {"a": "enrc"}):
        run = open_run({"a": stack}, epochs=[1, 2], axes=axes)
        np.testing.assert_array_equal(run.array(2, "a"), stack[1])


@pytest.mark.parametrize("epochs", [[0.2, 1.7], [1, -1], [1, "2"], [1, None], [True, 2]])
def test_epochs_are_whole_numbers(epochs):
    with pytest.raises(RunError, match="an epoch is a whole number from 0 on; got"):
        open_run({"a": np.zeros((2, 4, 1))}, epochs=epochs)
    with pytest.raises(RunError, match="an epoch is a whole number from 0 on; got 1.5"):
        save_run("never", 1.5, {"a": np.zeros((4, 1))})


def test_layers_by_epoch_may_be_nested():
    arrays = {e: {"b": np.full((2, 1), e), "a": np.zeros((2, 3))} for e in (1, 20)}
    run = open_run(arrays, sigma={"b": 0.1})
    assert run.epochs == [1, 20]
    assert run.layers == (Layer("b", 0.1), Layer("a", None, True))
    assert run.array(20, "b").tolist() == [[20], [20]]


def test_labels_that_fit_no_array_are_refused_at_the_door():
    rows = {(1, "a"): np.zeros((4, 2)), (2, "a"): np.zeros((4, 2))}
    message = r"epoch 1, layer 'a': 3 labels, one an input, for 4 rows of shape \(4, 2\)"
    with pytest.raises(RunError, match=message):
        open_run(rows, labels=[0, 1, 0])
    with pytest.raises(RunError, match="3 labels, one an input, for 4 rows"):
        open_run({"a": np.zeros((2, 4, 2))}, epochs=[1, 2], labels=[0, 1, 0])
    with pytest.raises(RunError, match="3 groups, one a row, of 2 inputs, for 4 rows"):
        open_run(rows, groups=[0, 1, 1])
    with pytest.raises(RunError, match="2 labels, one an input, and 3 groups, one a row, for 4"):
        open_run(rows, labels=[0, 1], groups=[0, 1, 1])
    open_run(rows, labels=[0, 1], groups=[0, 1, 1, 0])
    open_run({(1, "a"): np.zeros((4, 6, 2))}, labels=LABELS, flatten="tokens")
    # Of one that was cut short the others do not suffer.
    cut = open_run(rows | {(1, "a"): np.zeros((3, 2))}, labels=LABELS)
    assert cut.array(2, "a").shape == (4, 2)
    with pytest.raises(RunError, match="epoch 1, layer 'a'"):
        cut.array(1, "a")


def test_tensors_of_any_kind_are_read_in_memory(tmp_path):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor([[1.5, -2.0], [0.0, 3.140625]])
    kinds = {"graph": tensor.clone().requires_grad_() * 1, "half": tensor.to(torch.bfloat16)}
    run = open_run({(1, name): values for name, values in kinds.items()})
    save_run(tmp_path / "run", 1, kinds)
    for name in kinds:
        for found in (run, open_run(tmp_path / "run")):
            assert bits(found.array(1, name)) == bits(tensor.numpy())
    stack = torch.stack([tensor, tensor + 1]).requires_grad_()
    assert open_run({"a": stack}, epochs=[1, 2]).array(2, "a").tolist() == (tensor + 1).tolist()


# bfloat16


def test_bfloat16_of_safetensors_becomes_float32(tmp_path):
    values = np.array([[1.5, -2.0], [0.0, 3.140625]], np.float32)
    halves = (values.view(np.uint32) >> 16).astype("<u2")
    header = {"a": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}
    text = json.dumps(header).encode()
    raw = len(text).to_bytes(8, "little") + text + halves.tobytes()
    (tmp_path / "epoch_1.safetensors").write_bytes(raw)
    run = open_run(tmp_path)
    assert bits(run.array(1, "a")) == bits(values)
    assert run.store.shape(1, "a") == ((2, 2), np.dtype("float32"))


def test_bfloat16_is_refused_with_what_to_do(fmt, path):
    with pytest.raises(RunError, match="epoch 1, layer 'a': holds bfloat16.*convert it to float32"):
        save_run(path, 1, {"a": np.zeros((2, 1), ml_dtypes.bfloat16)}, format=fmt)


# Conversion


@pytest.mark.parametrize("target", NAMES)
def test_conversion_keeps_bits_and_description(fmt, path, tmp_path, target):
    arrays = activations()
    arrays["tail%2F"][1, 0, 0] = np.nan
    for epoch in (1, 2):
        save_run(path, epoch, arrays, labels=list("abca"), sigma=0.1, train=[0], seed=1,
                 settings={"x": [1]}, losses={"loss": np.nan}, format=fmt)  # fmt: skip
    source = open_run(path)
    steps = []
    found = convert_run(path, tmp_path / f"new-{NAMES[target]}", format=target,
                        progress=lambda *step: steps.append(step))  # fmt: skip
    assert found.store.format == target
    assert found.layers == source.layers
    assert found.labels.tolist() == list("abca")
    assert found.losses.keys() == source.losses.keys()
    assert (found.seed, found.settings, found.versions) == (1, {"x": [1]}, source.versions)
    assert found.train.tolist() == source.train.tolist()
    for epoch in (1, 2):
        for name, array in arrays.items():
            assert bits(found.store.read(epoch, name)) == bits(array)
    assert steps == [(1, 2), (2, 2)]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(
        [path.name, f"new-{NAMES[target]}"]
    )


def test_conversion_describes_what_others_wrote(tmp_path):
    (tmp_path / "dump").mkdir()
    np.savez(tmp_path / "dump" / "net-3.npz", a=np.zeros((4, 2)), b=np.ones((4, 2)))
    run = open_run(tmp_path / "dump", labels=LABELS, sigma=0.1)
    found = convert_run(run, tmp_path / "run.h5")
    assert found.layers == (Layer("a", 0.1), Layer("b", 0.1, True))
    np.testing.assert_array_equal(found.labels, LABELS)


def test_conversion_holds_one_layer_at_a_time(tmp_path, fmt):
    alive, most = [0], [0]

    class Counted(np.ndarray):
        def __del__(self):
            alive[0] -= self.base is None

    class Store:
        def epochs(self):
            return [1, 2]

        def read(self, _epoch, _layer):
            array = Counted((4, 2))
            array[:] = 1
            alive[0] += 1
            most[0] = max(most[0], alive[0])
            return array

        def shape(self, _epoch, _layer):
            return (4, 2), np.dtype(float)

    from skinfo.runs import Run

    layers = tuple(Layer(f"layer{i}") for i in range(6))
    convert_run(Run(Store(), layers), tmp_path / NAMES[fmt], format=fmt)
    # The one that is written, and the one that comes next. safetensors writes all in one piece.
    assert most[0] <= (6 if fmt == "safetensors" else 2)


def test_a_conversion_goes_on_where_it_stopped(fmt, path, tmp_path):
    for epoch in (1, 2, 3):
        save_run(tmp_path / "source", epoch, activations(epoch), labels=LABELS)
    path = tmp_path / f"new-{path.name}"

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_run(tmp_path / "source", path, format=fmt, progress=stop)
    assert not path.exists()
    # One of those that are there has changed in the source since.
    save_run(tmp_path / "source", 2, activations(99))
    (growing,) = tmp_path.glob(".new-*.converting*")
    written = []
    kind = type(open_run(growing).store)
    original = kind.write
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "write", lambda self, epoch, arrays: (
            written.append(epoch), original(self, epoch, arrays)))  # fmt: skip
        found = convert_run(tmp_path / "source", path, format=fmt)
    assert written == [2, 3]
    assert bits(found.store.read(2, "tail%2F")) == bits(activations(99)["tail%2F"])
    assert list(tmp_path.glob(".*")) == []


def test_a_conversion_replaces_only_runs_and_only_when_told(fmt, path, tmp_path):
    save_run(tmp_path / "source", 1, activations(1))
    save_run(path, 5, activations(5), format=fmt)
    with pytest.raises(RunError, match="is there already"):
        convert_run(tmp_path / "source", path, format=fmt)
    with pytest.raises(RunError, match="to itself"):
        convert_run(path, path, format=fmt, overwrite=True)
    assert convert_run(tmp_path / "source", path, format=fmt, overwrite=True).epochs == [1]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("meow")
    with pytest.raises(RunError, match="photos: is there and is no run; remove it yourself"):
        convert_run(tmp_path / "source", tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "cat.jpg").read_text() == "meow"


@pytest.fixture
def call(capsys, monkeypatch):
    """The command line: exit code, output, errors."""
    cli = pytest.importorskip("skinfo.cli")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["skinfo", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        return stopped.value.code or 0, *capsys.readouterr()

    return call


def test_info_and_convert_print_json(tmp_path, call):
    for epoch, dtype in ((3, "float32"), (4, "float64")):
        save_run(tmp_path / "run", epoch, {"b": np.zeros((4, 2), dtype), "a": np.ones((4, 2, 2))},
                 labels=LABELS, sigma={"b": 0.1}, train=[0], seed=5)  # fmt: skip
    target = tmp_path / "new.h5"
    code, out, _ = call("convert", tmp_path / "run", target, "--json")
    assert code == 0
    written = {"run": str(target), "format": "hdf5", "epochs": [3, 4]}
    assert json.loads(out) == written | {"bytes": target.stat().st_size}
    code, out, err = call("info", target, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == written | {
        "schema": 2, "bytes": target.stat().st_size, "lost_epochs": [], "inputs": 4, "classes": 2,
        "trained_on": 1, "seed": 5, "order_from_names": False, "unread": [],
        "layers": [
            {"name": "b", "sigma": 0.1, "noise_before": False, "shape": [4, 2], "dtype": "float64",
             "types": {"float32": 3, "float64": 4}},
            {"name": "a", "sigma": None, "noise_before": True, "shape": [4, 2, 2],
             "dtype": "float64", "types": {"float64": 3}},
        ],
    }  # fmt: skip


def test_info_looks_at_every_checkpoint(tmp_path, fmt, path, call):
    for epoch in (1, 2, 3):
        save_run(path, epoch, {"a": np.full((40, 30), np.nan if epoch == 3 else 1)}, format=fmt)
    if fmt == "hdf5":
        with h5py.File(path, "r+") as file:
            del file["1/activations/a"]
    else:
        name = {"npz": "epoch_00000001.npz", "npy": "epoch_00000001/a.npy", "zarr":
                "1/activations/a/zarr.json"}.get(fmt, "epoch_00000001.safetensors")  # fmt: skip
        raw = (path / name).read_bytes()
        (path / name).write_bytes(raw[: len(raw) // 2])
    code, out, err = call("info", path)
    assert code == 1
    assert "40 x 30 float64" in out
    damaged, nan = err.splitlines()
    assert "epoch 1, layer 'a'" in damaged
    assert "epoch 3, layer 'a': holds NaN" in nan
    assert json.loads(call("info", path, "--json")[1])["unread"] == [
        line.removeprefix("skinfo: ") for line in err.splitlines()
    ]


def test_info_says_when_it_takes_the_order_from_names(tmp_path, call):
    for kind in ("safetensors", "npz"):
        (tmp_path / kind).mkdir()
    arrays = {"stem": np.zeros((2, 2)), "head": np.zeros((2, 2))}
    save_safetensors(arrays, tmp_path / "safetensors" / "1.safetensors")
    np.savez(tmp_path / "npz" / "1.npz", **arrays)
    said = "Order of layers taken from names; --layers sets it"
    assert said in call("info", tmp_path / "safetensors")[1]
    assert said not in call("info", tmp_path / "npz")[1]
    for kind in ("safetensors", "npz"):
        table = tmp_path / f"{kind}.csv"
        code, _, err = call("analyze", tmp_path / kind, "-o", table, "--bin-width", "1")
        assert code == 0
        assert (said.lower() in err.lower()) is (kind == "safetensors")


def test_labels_that_fit_nothing_on_disk_are_refused_by_the_path_that_was_typed(tmp_path, call):
    (tmp_path / "dump").mkdir()
    np.savez(tmp_path / "dump" / "1.npz", fc1=np.zeros((4, 2)))
    np.save(tmp_path / "short.npy", LABELS[:3])
    for command in (("convert", tmp_path / "new.h5"), ("analyze", "-o", tmp_path / "flow.csv")):
        name, *options = command
        code, out, err = call(name, tmp_path / "dump", *options, "--labels", tmp_path / "short.npy")
        assert (code, out) == (2, "")
        said = f"skinfo: {tmp_path / 'dump'}, epoch 1, layer 'fc1': 3 labels, one an input, for 4"
        assert err.startswith(said)
    assert {path.name for path in tmp_path.iterdir()} == {"dump", "short.npy"}


def test_an_array_that_cannot_be_converted_is_named_by_its_source(tmp_path, call):
    (tmp_path / "dump").mkdir()
    np.savez(tmp_path / "dump" / "1.npz", a=np.zeros((4, 2)), y=np.zeros(4))
    code, _, err = call("convert", tmp_path / "dump", tmp_path / "new.h5")
    assert code == 2
    assert err.splitlines()[-1].startswith(f"skinfo: {tmp_path / 'dump'}, epoch 1, layer 'y'")


@pytest.mark.parametrize("content", [None, b"", b"nonsense", "table", "npz"])
def test_labels_that_cannot_be_read_are_a_mistake(tmp_path, call, content):
    save_run(tmp_path / "run", 1, {"a": np.zeros((4, 2))})
    file = tmp_path / "y.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        with file.open("wb") as stream:
            np.savez(stream, LABELS) if content == "npz" else np.save(stream, np.zeros((2, 2)))
    code, out, err = call("convert", tmp_path / "run", tmp_path / "new", "--labels", file)
    assert (code, out) == (2, "")
    assert err.startswith(f"skinfo: {file}: is no .npy of labels")
    assert not (tmp_path / "new").exists()


def test_convert_on_the_command_line(tmp_path, call):
    (tmp_path / "dump").mkdir()
    for epoch, dtype in ((3, "float32"), (4, "float64")):
        np.savez(
            tmp_path / "dump" / f"net-{epoch}.npz", b=np.zeros((4, 2), dtype), a=np.ones((4, 2))
        )
    np.save(tmp_path / "y.npy", LABELS)
    target = tmp_path / "run.h5"
    command = ["convert", tmp_path / "dump", target, "--labels", tmp_path / "y.npy"]
    code, out, _ = call(*command, "--sigma", "0.1", "--layers", "a,b")
    assert (code, out) == (0, f"2 checkpoints in {target}\n")
    assert open_run(target).layers == (Layer("a", 0.1), Layer("b", 0.1, True))
    code, _, err = call(*command)
    assert code == 2
    assert "is there already" in err
    assert call(*command, "--force", "--format", "zarr")[0] == 2
    code, out, _ = call("info", target)
    assert code == 0
    assert "Format hdf5, described by schema 2, " in out
    assert "b holds float32 from epoch 3, float64 from epoch 4\n" in out
    assert "a holds" not in out
    assert "kB" in out
    code, out, _ = call("info", tmp_path / "dump")
    assert code == 0
    assert "Format npz, not described" in out


# What is not installed


@pytest.mark.parametrize("fmt", ["safetensors", "hdf5", "zarr"], indirect=True)
def test_a_missing_library_names_the_extra(fmt, path, monkeypatch):
    save_run(path, 1, {"a": np.zeros((2, 1))}, format=fmt)
    for name in ("h5py", "zarr", "safetensors"):
        monkeypatch.setitem(sys.modules, name, None)
    other = path.with_name("other" + path.suffix)
    with pytest.raises(MissingExtraError, match=r"skinfo\[runs\]"):
        save_run(other, 1, {"a": np.zeros((2, 1))}, format=fmt)
    with pytest.raises(MissingExtraError, match=r"skinfo\[runs\]"):
        open_run(path).array(1, "a")
