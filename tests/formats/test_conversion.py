"""Runs are converted without loss, from Python and on the command line."""

import json

import numpy as np
import pytest

from skinfo import open_run, save_run
from skinfo._files import size_on_disk
from skinfo.errors import RunError
from skinfo.runs import Layer, convert_run

from .stored import FORMATS, LABELS, activations, bits

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")
save_safetensors = pytest.importorskip("safetensors.numpy").save_file


@pytest.mark.parametrize("target", FORMATS)
def test_conversion_keeps_bits_and_description(fmt, path, tmp_path, target):
    arrays = activations()
    arrays["tail%2F"][1, 0, 0] = np.nan
    for epoch in (1, 2):
        save_run(path, epoch, arrays, labels=list("abca"), sigma=0.1, train=[0], seed=1,
                 settings={"x": [1]}, losses={"loss": np.nan}, format=fmt)  # fmt: skip
    source = open_run(path)
    steps = []
    found = convert_run(path, tmp_path / "new-run", format=target,
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
    assert {entry.name for entry in tmp_path.glob("[!.]*")} == {path.name, "new-run"}


def test_conversion_describes_what_others_wrote(tmp_path):
    (tmp_path / "dump").mkdir()
    np.savez(tmp_path / "dump" / "net-3.npz", a=np.zeros((4, 2)), b=np.ones((4, 2)))
    run = open_run(tmp_path / "dump", labels=LABELS, sigma=0.1)
    found = convert_run(run, tmp_path / "run", format="hdf5")
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
    convert_run(Run(Store(), layers), tmp_path / "run", format=fmt)
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
        patch.setattr(kind, "write", lambda self, epoch, *rest: (
            written.append(epoch), original(self, epoch, *rest)))  # fmt: skip
        found = convert_run(tmp_path / "source", path, format=fmt)
    assert written == [2, 3]
    assert bits(found.store.read(2, "tail%2F")) == bits(activations(99)["tail%2F"])
    assert [entry for entry in tmp_path.glob(".*") if entry.suffix != ".lock"] == []


def test_a_conversion_replaces_only_runs_and_only_when_told(fmt, path, tmp_path):
    save_run(tmp_path / "source", 1, activations(1))
    save_run(path, 5, activations(5), format=fmt)
    with pytest.raises(RunError, match="exists already"):
        convert_run(tmp_path / "source", path, format=fmt)
    with pytest.raises(RunError, match="both source and target"):
        convert_run(path, path, format=fmt, overwrite=True)
    assert convert_run(tmp_path / "source", path, format=fmt, overwrite=True).epochs == [1]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("meow")
    with pytest.raises(RunError, match="photos: exists and is no run; remove it yourself"):
        convert_run(tmp_path / "source", tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos" / "cat.jpg").read_text() == "meow"


def test_info_and_convert_print_json(tmp_path, call):
    for epoch, dtype in ((3, "float32"), (4, "float64")):
        save_run(tmp_path / "run", epoch, {"b": np.zeros((4, 2), dtype), "a": np.ones((4, 2, 2))},
                 labels=LABELS, sigma={"b": 0.1}, train=[0], seed=5)  # fmt: skip
    target = tmp_path / "new"
    code, out, _ = call("convert", tmp_path / "run", target, "--format", "hdf5", "--json")
    assert code == 0
    written = {"run": str(target), "format": "hdf5", "epochs": [3, 4]}
    assert json.loads(out) == written | {"bytes": size_on_disk(target)}
    code, out, err = call("info", target, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == written | {
        "schema": 1, "bytes": size_on_disk(target), "inputs": 4,
        "labels": [{"name": "", "classes": 2, "per_token": False}], "tokens": None,
        "padding": None, "settings": {}, "trained_on": 1, "seed": 5, "order_from_names": False,
        "unread": [],
        "layers": [
            {"name": "b", "sigma": 0.1, "noise": "additive", "noise_before": False,
             "shape": [4, 2], "dtype": "float64", "types": {"float32": 3, "float64": 4}},
            {"name": "a", "sigma": None, "noise": "additive", "noise_before": True,
             "shape": [4, 2, 2], "dtype": "float64", "types": {"float64": 3}},
        ],
    }  # fmt: skip


def test_info_looks_at_every_checkpoint(tmp_path, fmt, path, call):
    for epoch in (1, 2, 3):
        save_run(path, epoch, {"a": np.full((40, 30), np.nan if epoch == 3 else 1)}, format=fmt)
    if fmt == "hdf5":
        with h5py.File(path / "epoch_00000001.h5", "r+") as file:
            del file["a"]
    else:
        inner = {"npy": "/a.npy", "zarr": ".zarr/a/zarr.json"}.get(fmt, f".{fmt}")
        name = f"epoch_00000001{inner}"
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
    for command in (("convert", tmp_path / "new"), ("analyze", "-o", tmp_path / "flow.csv")):
        name, *options = command
        code, out, err = call(name, tmp_path / "dump", *options, "--labels", tmp_path / "short.npy")
        assert (code, out) == (2, "")
        said = f"skinfo: {tmp_path / 'dump'}, epoch 1, layer 'fc1': 3 labels, one per input, for 4"
        assert err.startswith(said)
    assert {path.name for path in tmp_path.glob("[!.]*")} == {"dump", "short.npy"}


def test_an_array_that_cannot_be_converted_is_named_by_its_source(tmp_path, call):
    (tmp_path / "dump").mkdir()
    np.savez(tmp_path / "dump" / "1.npz", a=np.zeros((4, 2)), y=np.zeros(4))
    code, _, err = call("convert", tmp_path / "dump", tmp_path / "new")
    assert code == 2
    assert err.splitlines()[-1].startswith(f"skinfo: {tmp_path / 'dump'}, epoch 1, layer 'y'")


@pytest.mark.parametrize("content", [None, b"", b"nonsense", "cube", "npz"])
def test_labels_that_cannot_be_read_are_a_mistake(tmp_path, call, content):
    save_run(tmp_path / "run", 1, {"a": np.zeros((4, 2))})
    file = tmp_path / "y.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        with file.open("wb") as stream:
            np.savez(stream, LABELS) if content == "npz" else np.save(stream, np.zeros((2, 2, 2)))
    code, out, err = call("convert", tmp_path / "run", tmp_path / "new", "--labels", file)
    assert (code, out) == (2, "")
    assert err.startswith(f"skinfo: {file}: ")
    assert ("one label per input; got shape (2, 2, 2)" if content == "cube" else "cannot be") in err
    assert not (tmp_path / "new").exists()


def test_convert_on_the_command_line(tmp_path, call):
    (tmp_path / "dump").mkdir()
    for epoch, dtype in ((3, "float32"), (4, "float64")):
        np.savez(
            tmp_path / "dump" / f"net-{epoch}.npz", b=np.zeros((4, 2), dtype), a=np.ones((4, 2))
        )
    np.save(tmp_path / "y.npy", LABELS)
    target = tmp_path / "run"
    command = ["convert", tmp_path / "dump", target, "--labels", tmp_path / "y.npy"]
    code, out, _ = call(*command, "--format", "hdf5", "--sigma", "0.1", "--layers", "a,b")
    assert (code, out) == (0, f"2 checkpoints in {target}\n")
    assert open_run(target).layers == (Layer("a", 0.1), Layer("b", 0.1, True))
    code, _, err = call(*command)
    assert code == 2
    assert "exists already" in err
    assert call("convert", tmp_path / "dump", tmp_path / "run.h5")[0] == 2
    code, out, _ = call("info", target)
    assert code == 0
    assert "Format hdf5, described by schema 1, " in out
    assert "b holds float32 from epoch 3, float64 from epoch 4\n" in out
    assert "a holds" not in out
    assert "kB" in out
    code, out, _ = call("info", tmp_path / "dump")
    assert code == 0
    assert "Format npz, not described" in out
