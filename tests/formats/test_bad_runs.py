"""What goes wrong with runs: killed and full while writing, two writers, damage, misfits."""

import errno
import json
import multiprocessing
import os
import resource
import shutil
import signal
import time
from contextlib import contextmanager

import numpy as np
import pytest

from skinfo import open_run, save_run
from skinfo.errors import RunError
from skinfo.runs import Layer, RunWriter, convert_run

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")
pytest.importorskip("safetensors.numpy")

LABELS = [5, 7, 7, 5]
# Whatever changes a directory, or a file that is not new.
CHANGES = ("replace", "rename", "write", "ftruncate", "unlink", "rmdir")


def activations(seed=0, width=40):
    rng = np.random.default_rng(seed)
    return {"first": rng.standard_normal((4, width)), "second": rng.standard_normal((4, 3, 2, 2))}


@pytest.fixture
def path(fmt, tmp_path):
    """A run of two checkpoints."""
    path = tmp_path / "run"
    for epoch in (1, 20):
        save_run(path, epoch, activations(epoch), labels=LABELS, losses={"x": epoch}, format=fmt)
    return path


@pytest.fixture(scope="module")
def processes():
    """Processes that start with everything imported, and with one thread."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "skinfo.runs", "zarr", "h5py", "safetensors.numpy"])
    return context


def check_is_whole(path, epochs):
    run = open_run(path)
    assert run.epochs == epochs
    assert run.labels.tolist() == LABELS
    for epoch in epochs:
        for name, array in activations(epoch).items():
            np.testing.assert_array_equal(run.store.read(epoch, name), array)


def nothing_else(path):
    """Whether nothing lies beside a run or, hidden, in it, but the file of its lock."""
    unexpected = [e for e in path.iterdir() if e.name.startswith(".") or e.suffix == ".old"]
    unexpected += [e for e in path.parent.iterdir() if e != path]
    return all(entry.name.endswith(".lock") for entry in unexpected)


# Killed


class Slow:
    """An array that says it is wanted, and never comes."""

    def __init__(self, wanted):
        self.wanted = wanted

    def __array__(self, dtype=None, copy=None):
        self.wanted.set()
        time.sleep(600)


def write_slowly(path, wanted):
    save_run(path, 300, activations(300) | {"second": Slow(wanted)})


def test_a_second_writer_is_refused_and_a_killed_one_blocks_nobody(fmt, path, processes):
    wanted = processes.Event()
    process = processes.Process(target=write_slowly, args=(path, wanted))
    process.start()
    try:
        assert wanted.wait(60)
        with pytest.raises(RunError, match=r"epoch 7: another process is writing this .*\.lock"):
            save_run(path, 7, activations(7))
        check_is_whole(path, [1, 20])
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    check_is_whole(path, [1, 20])
    save_run(path, 300, activations(300))
    check_is_whole(path, [1, 20, 300])
    assert nothing_else(path)


def write_and_die(template, target, epoch, results):
    """Write a checkpoint again and again, killed at each next change to the disk."""
    for steps in range(1, 200):
        copy = target / str(steps) / template.name
        shutil.copytree(template.parent, copy.parent)
        child = os.fork()
        if child == 0:
            die_after(steps)
            save_run(copy, epoch, activations(epoch), losses={"x": epoch})
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            break
    results.put(steps)


def die_after(steps):
    left = [steps]
    os.fsync = lambda _: None

    def dying(original):
        def call(*arguments, **options):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        return call

    for name in CHANGES:
        setattr(os, name, dying(getattr(os, name)))


@pytest.mark.parametrize("epoch", [300, 20])
def test_killed_at_any_step_a_run_is_whole(fmt, path, processes, tmp_path_factory, epoch):
    target, results = tmp_path_factory.mktemp("killed"), processes.SimpleQueue()
    process = processes.Process(target=write_and_die, args=(path, target, epoch, results))
    process.start()
    process.join()
    assert process.exitcode == 0
    steps = results.get()
    assert steps > 2
    seen = set()
    for step in range(1, steps + 1):
        copy = target / str(step) / path.name
        found = open_run(copy).epochs
        seen.add(tuple(found))
        check_is_whole(copy, found)
        save_run(copy, 400, activations(400))
        check_is_whole(copy, sorted({*found, 400}))
        assert nothing_else(copy)
    assert seen == ({(1, 20), (1, 20, 300)} if epoch == 300 else {(1, 20)})


def convert_slowly(source, path, fmt, wanted):
    def progress(done, _total):
        if done == 1:
            wanted.set()
            time.sleep(600)

    convert_run(source, path, format=fmt, progress=progress)


def test_a_killed_conversion_goes_on(fmt, path, processes):
    target = path.with_name("new-" + path.name)
    wanted = processes.Event()
    process = processes.Process(target=convert_slowly, args=(path, target, fmt, wanted))
    process.start()
    try:
        assert wanted.wait(60)
        with pytest.raises(RunError, match="another process is writing this run .*lock"):
            convert_run(path, target, format=fmt)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert not target.exists()
    steps = []
    convert_run(path, target, format=fmt, progress=lambda *step: steps.append(step))
    check_is_whole(target, [1, 20])
    assert {e.name for e in path.parent.iterdir() if e.suffix != ".lock"} == {
        path.name, target.name,
    }  # fmt: skip


def convert_and_die(template, target, fmt, results):
    """Convert a run again and again, killed at each next change to the disk."""
    source = template.with_name("source")
    # Of the many small files of zarr every fourth will do.
    for steps in range(1, 2000, 4 if fmt == "zarr" else 1):
        copy = target / str(steps) / template.name
        shutil.copytree(template.parent, copy.parent)
        child = os.fork()
        if child == 0:
            die_after(steps)
            convert_run(source, copy, format=fmt, overwrite=True)
            os._exit(0)
        if os.waitpid(child, 0)[1] == 0:
            break
    results.put(steps)


def test_a_conversion_killed_at_any_step_goes_on(fmt, path, processes, tmp_path_factory):
    """At every one: also while the old run makes way for the new one."""
    save_run(path.with_name("source"), 300, activations(300), labels=LABELS)
    save_run(path.with_name("source"), 2, activations(2))
    target, results = tmp_path_factory.mktemp("killed"), processes.SimpleQueue()
    process = processes.Process(target=convert_and_die, args=(path, target, fmt, results))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert results.get() > 10
    for parent in target.iterdir():
        copy = parent / path.name
        convert_run(copy.with_name("source"), copy, format=fmt, overwrite=True)
        check_is_whole(copy, [2, 300])
        # The file of a lock that nobody holds blocks nobody.
        left = {name for name in os.listdir(parent) if not name.endswith(".lock")}
        assert left == {path.name, "source"}


# A full disk


def write_too_much(path, fmt, results):
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
    for epoch, target in ((300, path), (1, path.with_name("new-" + path.name))):
        try:
            # What does not compress.
            save_run(target, epoch, activations(epoch, 40 if epoch > 1 else 10_000) | {
                "first": np.random.default_rng(0).standard_normal((4, 40)),
                "second": np.random.default_rng(0).standard_normal((4, 30, 20, 20)),
            }, labels=LABELS, format=fmt, losses={"x": 1})  # fmt: skip
        except OSError as error:
            results.put((error.errno, str(error)))
        else:
            results.put(None)


def test_a_full_disk_leaves_what_was_there(fmt, path, processes):
    results = processes.SimpleQueue()
    process = processes.Process(target=write_too_much, args=(path, fmt, results))
    process.start()
    process.join()
    assert process.exitcode == 0
    for name, epoch in ((path.name, 300), ("new-" + path.name, 1)):
        number, message = results.get()
        assert number == errno.EFBIG
        # safetensors writes all layers in one piece.
        layer = "" if fmt == "safetensors" else ", layer 'second'"
        assert message.startswith(
            f"{path.with_name(name)}, epoch {epoch}{layer}: cannot be written"
        )
        assert "\n" not in message
    check_is_whole(path, [1, 20])
    new = path.with_name("new-" + path.name)
    assert open_run(new).epochs == []
    (shutil.rmtree if new.is_dir() else os.unlink)(new)
    assert nothing_else(path)
    save_run(path, 300, activations(300))
    check_is_whole(path, [1, 20, 300])


def test_where_no_file_can_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    inside = tmp_path / "file" / "run"
    with pytest.raises(OSError, match=rf"^{inside}, epoch 3: cannot be written") as caught:
        save_run(inside, 3, {"a": np.zeros((2, 1))})
    assert caught.value.errno == errno.ENOTDIR
    with pytest.raises(OSError, match=rf"^{inside}: cannot be written"):
        RunWriter(inside, [Layer("a")])
    save_run(tmp_path / "run", 1, {"a": np.zeros((2, 1))})
    with pytest.raises(OSError, match=rf"^{inside}: cannot be written"):
        convert_run(tmp_path / "run", inside)


# Damage


def files_of(path, epoch):
    """The files of a checkpoint, the largest last."""
    found = [
        f for f in path.rglob("*") if f.is_file() and str(epoch) in f.relative_to(path).parts[0]
    ]
    return sorted(found, key=lambda file: file.stat().st_size)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_named(fmt, path, keep):
    file = next(f for f in files_of(path, 20)[::-1] if fmt not in ("zarr",) or "first" in str(f))
    raw = file.read_bytes()
    file.write_bytes(raw[: int(keep * len(raw))])
    with pytest.raises(RunError, match=r"damaged|no run here") as caught:
        open_run(path, flatten="all").load(20, "first")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "epoch 20, layer 'first'" in str(caught.value)
    np.testing.assert_array_equal(open_run(path).load(1, "first").array, activations(1)["first"])
    # And training goes on.
    save_run(path, 21, activations(21))


@pytest.mark.parametrize("fmt", ["zarr"], indirect=True)
def test_a_missing_chunk_is_no_zeros(fmt, path):
    for chunk in (path / "epoch_00000020.zarr" / "first").glob("c/*/*"):
        chunk.unlink()
    with pytest.raises(RunError, match=r"epoch 20, layer 'first': 1 of 1 chunks are missing"):
        open_run(path).load(20, "first")


@pytest.mark.parametrize("fmt", ["zarr", "npz"], indirect=True)
def test_turned_bits_are_seen_where_there_are_checksums(fmt, path):
    file = next(f for f in files_of(path, 20)[::-1] if fmt == "npz" or "first" in str(f))
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 255
    file.write_bytes(raw)
    run, seen = open_run(path, flatten="all"), []
    for name in ("first", "second"):
        try:
            run.load(20, name)
        except RunError as error:
            seen.append(str(error))
    assert len(seen) == 1
    assert "epoch 20, layer" in seen[0]
    assert "damaged" in seen[0]


@pytest.mark.filterwarnings("ignore")
def test_damage_of_any_kind_is_an_error_of_its_own(fmt, path):
    """Cut anywhere and overwritten anywhere: RunError, or the array as it was written."""
    rng, good, seen = np.random.default_rng(3), {}, []
    files = [f for f in files_of(path, 20) if fmt != "zarr" or "first" in str(f)]
    for file in files:
        good[file] = file.read_bytes()
    for turn in range(150):
        for file, raw in good.items():
            file.write_bytes(damaged(raw, turn, rng, 128 if fmt == "npy" else len(raw)))
            for look in ("load", "shape"):
                try:
                    getattr(open_run(path, flatten="all"), look)(20, "first")
                except RunError as error:
                    seen.append(str(error))
            file.write_bytes(raw)
    assert len(seen) > 20
    assert all(str(path) in message for message in seen)
    check_is_whole(path, [1, 20])


def damaged(raw, turn, rng, end):
    if turn % 3 == 0:
        return raw[: rng.integers(0, len(raw))]
    raw = bytearray(raw)
    for _ in range(turn % 3):
        raw[rng.integers(0, end)] = rng.integers(0, 256)
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
def test_what_is_no_dataset_is_no_layer(fmt, path):
    with h5py.File(path / "epoch_00000020.h5", "r+") as file:
        del file["first"]
        file["first"] = np.dtype("f8")
    with pytest.raises(RunError, match=r"epoch 20, layer 'first': .*no such layer.*: second$"):
        open_run(path).shape(20, "first")


def test_a_layer_of_npz_named_like_a_file_is_itself(tmp_path):
    save_run(tmp_path / "run", 1, {"a": np.zeros((3, 2)), "a.npy": np.ones((3, 2))})
    run = open_run(tmp_path / "run")
    assert run.load(1, "a").array.tolist() == [[0, 0]] * 3
    assert run.load(1, "a.npy").array.tolist() == [[1, 1]] * 3


def test_a_layer_that_is_gone_lists_those_there_are(fmt, path):
    if fmt == "hdf5":
        with h5py.File(path / "epoch_00000020.h5", "r+") as file:
            del file["first"]
    elif fmt == "zarr":
        shutil.rmtree(path / "epoch_00000020.zarr" / "first")
    elif fmt == "npy":
        (path / "epoch_00000020" / "first.npy").unlink()
    elif fmt == "npz":
        np.savez(path / "epoch_00000020.npz", second=np.zeros((4, 2)))
    else:
        from safetensors.numpy import save_file

        save_file({"second": np.zeros((4, 2))}, path / "epoch_00000020.safetensors")
    for read in (open_run(path).load, open_run(path).store.shape):
        with pytest.raises(RunError, match=r"epoch 20, layer 'first': .*no such layer.*: second$"):
            read(20, "first")


def test_a_newer_schema_asks_for_a_newer_skinfo(fmt, path):
    store = open_run(path).store
    store.write_record(store.record() | {"schema": 2})
    with pytest.raises(RunError, match=r"run\.json: written with schema 2.*newer skinfo"):
        open_run(path)
    with pytest.raises(RunError, match=r"run\.json: written with schema 2"):
        save_run(path, 30, activations())


LAYER = {"name": "a", "sigma": 0.1, "noise_before": False}


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("schema", 0), ("schema", True), ("schema", None), ("schema", "1"), ("schema", 1.0),
        ("layers", []), ("layers", None), ("layers", [{"name": 3}]), ("layers", ["a"]),
        ("layers", [LAYER | {"sigma": -1}]), ("layers", [LAYER | {"sigma": "x"}]),
        ("layers", [LAYER | {"sigma": float("nan")}]), ("layers", [LAYER | {"sigma": True}]),
        ("layers", [LAYER | {"noise_before": 1}]), ("layers", [LAYER | {"width": 2}]),
        ("train", "x"), ("train", [0.5]), ("train", [[0]]), ("seed", "x"), ("seed", 1.5),
        ("settings", None), ("settings", []), ("versions", None), ("versions", [1]),
        ("losses", None), ("losses", {"1": None}), ("losses", {"1": {"a": "x"}}),
        ("losses", {"one": {"a": 1}}), ("format", [1]), ("format", None),
    ],
)  # fmt: skip
def test_every_part_of_a_description_is_checked(tmp_path, part, value):
    save_run(tmp_path, 1, {"a": np.zeros((4, 2))}, labels=LABELS, sigma=0.1)
    record = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(record | {part: value}))
    with pytest.raises(RunError, match=rf"run\.json: is no description of a run: {part} must be"):
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
    with pytest.raises(RunError, match="layers must be"):
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
    save_run(path, 1, activations())
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


# What does not fit together


def in_memory(first, second, **options):
    return open_run({(1, "a"): first, (20, "a"): second}, **options)


def test_a_layer_that_changes_its_width_names_both_epochs(fmt, path):
    with pytest.raises(RunError, match=r"epoch 30, layer 'first': has 9 units, but 40 at epoch 1:"):
        save_run(path, 30, activations(30, width=9))
    assert open_run(path).epochs == [1, 20]


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


@pytest.mark.parametrize("values", [np.array([["1"]]), np.array([[1j]]), np.array([[True]])])
def test_what_is_no_number_is_refused(fmt, path, values):
    other = path.with_name("new-" + path.name)
    with pytest.raises(RunError, match=r"new-run\S*, epoch 1, layer 'a': holds .* where numbers"):
        save_run(other, 1, {"a": values}, format=fmt)
    with pytest.raises(RunError, match=r"epoch 20, layer 'a': holds .* where numbers"):
        in_memory(np.zeros((1, 1)), values).load(20, "a")


def test_nan_in_one_checkpoint_leaves_the_others(fmt, path):
    arrays = activations(30)
    arrays["first"][2, 3] = np.nan
    save_run(path, 30, arrays)
    run = open_run(path)
    with pytest.raises(RunError, match=r"epoch 30, layer 'first': holds NaN .*first at \(2, 3\)"):
        run.load(30, "first")
    assert run.load(20, "first").array.shape == (4, 40)


def test_missing_labels_are_said_where_they_are_needed(fmt, tmp_path):
    path = tmp_path / "run"
    with pytest.raises(RunError, match=r"names training inputs, but there are no labels"):
        save_run(path, 1, activations(), train=[0], format=fmt)
    assert not path.exists() or not (path / "run.json").exists()
    save_run(path, 1, activations(), format=fmt)
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
        ({"activations": activations() | {"first": np.zeros((3, 40))}},
         r"epoch 30, layer 'first': 4 labels, one per input, for 3 rows of shape \(3, 40\)"),
        ({"activations": activations() | {"first": np.zeros((4, 0))}},
         r"epoch 30, layer 'first': has shape \(4, 0\)"),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_the_run_is_refused(fmt, path, change, message):
    arguments = {"epoch": 30, "activations": activations(30)} | change
    with pytest.raises(ValueError, match=message):
        save_run(path, **arguments)
    check_is_whole(path, [1, 20])
    assert nothing_else(path)


def test_what_is_no_run_is_not_added_to(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"notes\.txt: is a file, and not of a format"):
        save_run(tmp_path / "notes.txt", 1, activations())
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["1/activations/a"] = np.zeros((2, 1))
    with pytest.raises(RunError, match=r"a\.h5: is a file, .*convert it to a directory first"):
        save_run(tmp_path / "a.h5", 2, {"a": np.zeros((2, 1))})
    zarr.create_group(tmp_path / "b.zarr")
    with pytest.raises(RunError, match=r"b\.zarr: was not written by skinfo.*convert it first"):
        save_run(tmp_path / "b.zarr", 2, {"a": np.zeros((2, 1))})
    for name, fmt in (("d.h5", None), ("d.h5", "hdf5"), ("d.zarr", "npy"), ("d.npz", None)):
        with pytest.raises(RunError, match=rf"{name}: a run is a directory of one \.\w+ per check"):
            save_run(tmp_path / name, 1, activations(), format=fmt)
        with pytest.raises(RunError, match=rf"{name}: a run is a directory of one \.\w+ per check"):
            convert_run(open_run({(1, "a"): np.zeros((2, 1))}), tmp_path / name, format=fmt)
    assert (tmp_path / "notes.txt").read_text() == "mine"
