"""Every format: the same bits through save_run and open_run, lazily."""

import json
import mmap
import sys

import ml_dtypes
import numpy as np
import pytest

from skinfo import open_run, save_run
from skinfo.errors import MissingExtraError, RunError
from skinfo.runs import Layer, RunWriter
from skinfo.runs.stores.base import natural_order, quoted

from .stored import FORMATS, LABELS, activations, bits

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")


TYPES = ("float64", "float32", "float16", "int64", "uint8", "int16")


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
    assert run.schema == 1
    assert run.store.format == fmt
    for epoch, arrays in data.items():
        assert set(run.store.names(epoch)) == set(arrays)
        for name, array in arrays.items():
            assert bits(run.store.read(epoch, name)) == bits(array)
            assert run.store.shape(epoch, name) == (array.shape, array.dtype)
    assert bits(run.load(20, "tail%2F").array) == bits(data[20]["tail%2F"])


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type_of_number_comes_back(fmt, path, dtype):
    array = np.arange(6).reshape(3, 2).astype(dtype)
    save_run(path, 1, {"a": array}, format=fmt)
    assert bits(open_run(path).load(1, "a").array) == bits(array)


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
    rows = open_run(path).load(1, "a").replicas()
    assert rows.groups.tolist() == groups
    assert rows.y.tolist() == [7, 5, 7, 7, 5, 7]


@pytest.mark.parametrize("view", [np.s_[::-1, ::2], np.s_[1:, 1:], np.s_[:, ::-1]])
def test_any_strides_and_byte_order_are_written(fmt, path, view):
    big = np.arange(24.0).reshape(4, 6).astype(">f8")
    for epoch, array in enumerate((big[view], np.asfortranarray(big[view]))):
        save_run(path, epoch, {"a": array}, format=fmt)
        np.testing.assert_array_equal(open_run(path).load(epoch, "a").array, array)


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


def test_run_writer_writes_every_format(fmt, path):
    layers = [Layer("a", 0.1), Layer("b", 0.0, True)]
    for epoch in (1, 2):
        writer = RunWriter(path, layers, labels=LABELS, seed=1, format=fmt)
        writer.add(epoch, {"a": np.full((4, 2), epoch), "b": np.zeros((4, 3))}, losses={"x": 1})
    assert writer.epochs() == [1, 2]
    run = open_run(path)
    assert run.layers == tuple(layers)
    assert run.load(2, "a").array.tolist() == [[2, 2]] * 4
    with pytest.raises(RunError, match="another run exists already: its seed differ"):
        RunWriter(path, layers, labels=LABELS, seed=2)


def test_torch_tensors_are_taken(fmt, path):
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6.0, requires_grad=True).reshape(3, 2) * 2
    save_run(path, 1, {"a": tensor}, labels=torch.tensor([0, 1, 0]), format=fmt)
    run = open_run(path)
    assert run.load(1, "a").array.tolist() == [[0, 2], [4, 6], [8, 10]]
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
    array = open_run(path).load(1, "wide").array
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
    for fmt in FORMATS:
        save_run(tmp_path / fmt / "run", 12, arrays, labels=[0, 1], format=fmt)
    npy = tmp_path / "npy" / "run"
    np.testing.assert_array_equal(np.load(npy / "epoch_00000012" / "a.npy"), arrays["a"])
    assert (npy / "epoch_00000012" / "b%2Fc.npy").is_file()
    assert json.loads((npy / "run.json").read_text())["format"] == "npy"
    tensors = tmp_path / "safetensors" / "run" / "epoch_00000012.safetensors"
    from safetensors.numpy import load_file

    assert set(load_file(tensors)) == {"a", "b/c"}
    with h5py.File(tmp_path / "hdf5" / "run" / "epoch_00000012.h5") as file:
        np.testing.assert_array_equal(file["a"], arrays["a"])
        assert list(file) == ["a", "b%2Fc"]
    root = zarr.open_group(tmp_path / "zarr" / "run" / "epoch_00000012.zarr", mode="r")
    np.testing.assert_array_equal(root["a"][...], arrays["a"])
    assert sorted(name for name, _ in root.members()) == ["a", "b%2Fc"]


def test_an_unknown_format_is_named(tmp_path):
    (tmp_path / "run.json").write_text('{"schema": 1, "format": "tape", "layers": [{"name": "a"}]}')
    with pytest.raises(RunError, match=r"run\.json: is a run of format 'tape'"):
        open_run(tmp_path)


def test_names_of_layers_become_names_of_files():
    assert quoted("a/b") == "a%2Fb"
    assert quoted("a%2Fb") == "a%252Fb"
    assert quoted(".") == "%2E"
    assert natural_order(["b", "a10", "a9", "a"]) == ["a", "a9", "a10", "b"]


# Types and libraries that are not there


def test_bfloat16_of_safetensors_becomes_float32(tmp_path):
    values = np.array([[1.5, -2.0], [0.0, 3.140625]], np.float32)
    halves = (values.view(np.uint32) >> 16).astype("<u2")
    header = {"a": {"dtype": "BF16", "shape": [2, 2], "data_offsets": [0, 8]}}
    text = json.dumps(header).encode()
    raw = len(text).to_bytes(8, "little") + text + halves.tobytes()
    (tmp_path / "epoch_1.safetensors").write_bytes(raw)
    run = open_run(tmp_path)
    assert bits(run.load(1, "a").array) == bits(values)
    assert run.store.shape(1, "a") == ((2, 2), np.dtype("float32"))


def test_types_that_numpy_lacks_become_float32_and_spikes_are_numbers(fmt, path):
    values = np.array([[1.5], [-2.0]], np.float32)
    spikes = np.array([[True], [False]])
    layers = {"a": values.astype(ml_dtypes.bfloat16), "b": spikes}
    layers["c"] = values.astype(ml_dtypes.float8_e4m3fn)
    save_run(path, 1, layers, format=fmt)
    for run in (open_run(path), open_run({1: layers})):
        assert bits(run.load(1, "a").array) == bits(run.load(1, "c").array) == bits(values)
        assert run.load(1, "b").array.tolist() == [[1], [0]]
        assert run.stored_shape(1, "b") == ((2, 1), bool)


@pytest.mark.parametrize("fmt", ["safetensors", "hdf5", "zarr"], indirect=True)
def test_a_missing_library_names_the_extra(fmt, path, monkeypatch):
    save_run(path, 1, {"a": np.zeros((2, 1))}, format=fmt)
    for name in ("h5py", "zarr", "safetensors"):
        monkeypatch.setitem(sys.modules, name, None)
    other = path.with_name("other")
    with pytest.raises(MissingExtraError, match=r"skinfo\[runs\]"):
        save_run(other, 1, {"a": np.zeros((2, 1))}, format=fmt)
    with pytest.raises(MissingExtraError, match=r"skinfo\[runs\]"):
        open_run(path).load(1, "a")
