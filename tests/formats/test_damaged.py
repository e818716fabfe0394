"""Damaged files and descriptions are errors that name them; what others wrote is never executed."""

import json
import os
import shutil
from contextlib import contextmanager

import numpy as np
import pytest

from skinfo import open_run, save_run
from skinfo.errors import RunError
from skinfo.runs import Layer, RunWriter
from skinfo.runs.stores.base import read_record

from .stored import LABELS, check_is_whole, two_layers

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")
pytest.importorskip("safetensors.numpy")


def files_of(path, epoch):
    """The files of a checkpoint, the largest last."""
    found = [
        f for f in path.rglob("*") if f.is_file() and str(epoch) in f.relative_to(path).parts[0]
    ]
    return sorted(found, key=lambda file: file.stat().st_size)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_named(fmt, written, keep):
    file = next(f for f in files_of(written, 20)[::-1] if fmt not in ("zarr",) or "first" in str(f))
    raw = file.read_bytes()
    file.write_bytes(raw[: int(keep * len(raw))])
    with pytest.raises(RunError, match=r"damaged|no run here") as caught:
        open_run(written, flatten="all").load(20, "first")
    assert str(written) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "epoch 20, layer 'first'" in str(caught.value)
    np.testing.assert_array_equal(open_run(written).load(1, "first").array, two_layers(1)["first"])
    # And training goes on.
    save_run(written, 21, two_layers(21))


@pytest.mark.parametrize("fmt", ["zarr"], indirect=True)
def test_a_missing_chunk_is_no_zeros(fmt, written):
    for chunk in (written / "epoch_00000020.zarr" / "first").glob("c/*/*"):
        chunk.unlink()
    with pytest.raises(RunError, match=r"epoch 20, layer 'first': 1 of 1 chunks are missing"):
        open_run(written).load(20, "first")


@pytest.mark.parametrize("fmt", ["zarr", "npz"], indirect=True)
def test_turned_bits_are_seen_where_there_are_checksums(fmt, written):
    file = next(f for f in files_of(written, 20)[::-1] if fmt == "npz" or "first" in str(f))
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 255
    file.write_bytes(raw)
    run, seen = open_run(written, flatten="all"), []
    for name in ("first", "second"):
        try:
            run.load(20, name)
        except RunError as error:
            seen.append(str(error))
    assert len(seen) == 1
    assert "epoch 20, layer" in seen[0]
    assert "damaged" in seen[0]


@pytest.mark.filterwarnings("ignore")
def test_damage_of_any_kind_is_an_error_of_its_own(fmt, written):
    """Cut anywhere and overwritten anywhere: RunError, or the array as it was written."""
    rng, good, seen = np.random.default_rng(3), {}, []
    files = [f for f in files_of(written, 20) if fmt != "zarr" or "first" in str(f)]
    for file in files:
        good[file] = file.read_bytes()
    run = open_run(written, flatten="all")
    for turn in range(150):
        for file, raw in good.items():
            file.write_bytes(damaged(raw, turn, rng, 128 if fmt == "npy" else len(raw)))
            for look in ("load", "shape"):
                try:
                    getattr(run, look)(20, "first")
                except RunError as error:
                    seen.append(str(error))
            file.write_bytes(raw)
    assert len(seen) > 20
    assert all(str(written) in message for message in seen)
    check_is_whole(written, [1, 20])


def damaged(raw, turn, rng, end):
    if turn % 3 == 0:
        return raw[: rng.integers(0, len(raw))]
    raw = bytearray(raw)
    for _ in range(turn % 3):
        raw[rng.integers(0, min(end, len(raw)))] = rng.integers(0, 256)
    return bytes(raw)


def test_a_damaged_header_of_npy_is_named(tmp_path):
    save_run(tmp_path / "run", 1, {"a": np.zeros((4, 2))}, format="npy")
    file = tmp_path / "run" / "epoch_00000001" / "a.npy"
    # What tokenize has to say of a bracket that is never closed.
    file.write_bytes(file.read_bytes().replace(b"}", b" ", 1))
    for look in (open_run(tmp_path / "run").load, open_run(tmp_path / "run").shape):
        with pytest.raises(RunError, match=r"a\.npy, epoch 1, layer 'a': cannot be read"):
            look(1, "a")


@pytest.mark.parametrize("damage", ["cut", "turned"])
def test_a_damaged_chunk_of_other_compressors_is_named(tmp_path, damage):
    root = zarr.open_group(tmp_path / "dump", mode="w")
    rng = np.random.default_rng(0)
    root.create_array("1/a", data=rng.normal(size=(50, 4)), compressors=zarr.codecs.GzipCodec())
    (chunk,) = (f for f in (tmp_path / "dump" / "1" / "a" / "c").rglob("*") if f.is_file())
    raw = chunk.read_bytes()
    turned = raw[:20] + bytes(x ^ 255 for x in raw[20:40]) + raw[40:]
    chunk.write_bytes(raw[: len(raw) // 2] if damage == "cut" else turned)
    with pytest.raises(RunError, match="dump, epoch 1, layer 'a': cannot be read"):
        open_run(tmp_path / "dump").load(1, "a")


@pytest.mark.parametrize("fmt", ["hdf5"], indirect=True)
def test_what_is_no_dataset_is_no_layer(fmt, written):
    with h5py.File(written / "epoch_00000020.h5", "r+") as file:
        del file["first"]
        file["first"] = np.dtype("f8")
    with pytest.raises(RunError, match=r"epoch 20, layer 'first': .*no such layer.*: second$"):
        open_run(written).shape(20, "first")


def test_a_layer_of_npz_named_like_a_file_is_itself(tmp_path):
    save_run(tmp_path / "run", 1, {"a": np.zeros((3, 2)), "a.npy": np.ones((3, 2))})
    run = open_run(tmp_path / "run")
    assert run.load(1, "a").array.tolist() == [[0, 0]] * 3
    assert run.load(1, "a.npy").array.tolist() == [[1, 1]] * 3


def test_a_layer_that_is_gone_lists_those_there_are(fmt, written):
    if fmt == "hdf5":
        with h5py.File(written / "epoch_00000020.h5", "r+") as file:
            del file["first"]
    elif fmt == "zarr":
        shutil.rmtree(written / "epoch_00000020.zarr" / "first")
    elif fmt == "npy":
        (written / "epoch_00000020" / "first.npy").unlink()
    elif fmt == "npz":
        np.savez(written / "epoch_00000020.npz", second=np.zeros((4, 2)))
    else:
        from safetensors.numpy import save_file

        save_file({"second": np.zeros((4, 2))}, written / "epoch_00000020.safetensors")
    for read in (open_run(written).load, open_run(written).store.shape):
        with pytest.raises(RunError, match=r"epoch 20, layer 'first': .*no such layer.*: second$"):
            read(20, "first")


def test_a_newer_schema_asks_for_a_newer_skinfo(fmt, written):
    store = open_run(written).store
    store.write_record(read_record(written) | {"schema": 4})
    with pytest.raises(RunError, match=r"run\.json: written with schema 4.*newer skinfo"):
        open_run(written)
    with pytest.raises(RunError, match=r"run\.json: written with schema 4"):
        save_run(written, 30, two_layers())


LAYER = {"name": "a", "sigma": 0.1, "noise_before": False}


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("schema", 0), ("schema", True), ("schema", None), ("schema", "1"), ("schema", 1.0),
        ("layers", []), ("layers", None), ("layers", [{"name": 3}]), ("layers", ["a"]),
        ("layers", [LAYER | {"noise": 1}]), ("layers", [LAYER | {"noise": None}]),
        ("layers", [LAYER | {"noise_before": 1}]), ("layers", [LAYER | {"width": 2}]),
        ("train", "x"), ("train", [0.5]), ("train", [[0]]), ("seed", "x"), ("seed", 1.5),
        ("settings", None), ("settings", []), ("versions", None), ("versions", [1]),
        ("format", [1]), ("format", None),
    ],
)  # fmt: skip
def test_every_part_of_a_description_is_checked(tmp_path, part, value):
    save_run(tmp_path, 1, {"a": np.zeros((4, 2))}, labels=LABELS, sigma=0.1)
    record = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(record | {part: value}))
    with pytest.raises(RunError, match=rf"run\.json: is no description of a run: {part} must be"):
        open_run(tmp_path)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"sigma": -1}, "layer 'a': sigma must be a positive standard deviation; got -1"),
        ({"sigma": float("nan")}, "layer 'a': sigma must be a positive standard deviation; got na"),
        ({"sigma": True}, "layer 'a': sigma must be one standard deviation or one per unit; got T"),
        ({"sigma": [0.1, 0]}, "layer 'a': .* in every unit; unit 1 has 0"),
        ({"sigma": "b", "noise": "lognormal"}, "layer 'a': sigma='b' names an array"),
        ({"noise": "affine"}, r"layer 'a': noise=\"affine\" takes sigma=\(a, b\)"),
        ({"noise": "gamma"}, "layer 'a': noise is one of 'additive', 'affine', 'lognormal', "
         "'mult.*; got 'gamma'.*known once its class has been imported"),
        ({"noise": "gamma", "sigma": None}, "layer 'a': noise is one of"),
    ],
)  # fmt: skip
def test_noise_that_is_none_names_its_layer(tmp_path, given, said):
    save_run(tmp_path, 1, {"a": np.zeros((4, 2))}, sigma=0.1)
    record = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(record | {"layers": [LAYER | given]}))
    with pytest.raises(RunError, match=rf"run\.json: is no description of a run: {said}"):
        open_run(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", "1", '{"schema": 1', "[" * 10_000, "{}", "null"])
def test_what_is_no_description_is_refused(tmp_path, text):
    save_run(tmp_path, 1, {"a": np.zeros((4, 2))})
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"run\.json: is no description of a run"):
        open_run(tmp_path)


def test_layers_may_be_names_alone(tmp_path):
    path, arrays = tmp_path / "saved", {name: np.ones((2, 1)) for name in ("b", "a")}
    save_run(path, 1, arrays, layers=["a", "b"], sigma={"a": 0.1})
    for describe in ({}, {"layers": ["a", "b"]}, {"sigma": {"a": 0.1}}):
        save_run(path, 2, arrays, **describe)
    expected = (Layer("a", 0.1), Layer("b", None, noise_before=True))
    assert open_run(path).layers == expected
    for wrong in ({"layers": ["b", "a"]}, {"layers": ["a", "b"], "sigma": 0.2}):
        with pytest.raises(RunError, match="its layers differ"):
            save_run(path, 3, arrays, **wrong)
    RunWriter(tmp_path / "written", ["a", "b"]).add(1, arrays)
    assert open_run(tmp_path / "written").layers == (Layer("a"), Layer("b"))
    for mixed in (["a", Layer("b")], [1, 2]):
        with pytest.raises(ValueError, match="layers are names, or each a Layer"):
            RunWriter(tmp_path / "mixed", mixed)


def test_two_layers_of_one_name_are_refused(tmp_path):
    layers = [Layer("a", 0.1), Layer("a")]
    for write in (RunWriter, lambda path, layers: save_run(path, 1, {"a": [[1.0]]}, layers=layers)):
        with pytest.raises(RunError, match="run, layer 'a': .*two layers have this name"):
            write(tmp_path / "run", layers)
    with pytest.raises(ValueError, match="layer 'a': sigma must be a positive"):
        RunWriter(tmp_path / "run", [Layer("a", -1.0)])
    assert list((tmp_path / "run").glob("[!.]*")) == []


def test_python_objects_are_never_loaded(tmp_path):
    (tmp_path / "epoch_1").mkdir()
    np.save(tmp_path / "epoch_1" / "a.npy", np.array([[None]]), allow_pickle=True)
    with pytest.raises(RunError, match=r"a\.npy, epoch 1, layer 'a': holds Python objects"):
        open_run(tmp_path, layers=["a"]).load(1, "a")


@contextmanager
def as_nobody():
    """Root may read everything: be somebody else for a while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.parametrize("mode", [0o000, 0o311])
def test_an_unreadable_directory_is_named(tmp_path, mode):
    path = tmp_path / "run"
    save_run(path, 1, two_layers())
    for part in (tmp_path, *tmp_path.parents[:2]):
        part.chmod(0o755)
    path.chmod(mode)
    try:
        with as_nobody(), pytest.raises(RunError, match=r"run\S*: cannot be read \(Permission den"):
            open_run(path)
    finally:
        path.chmod(0o755)


def test_a_link_to_itself_is_named(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(RunError, match=r"loop: cannot be read"):
        open_run(tmp_path / "loop")
