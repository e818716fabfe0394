"""Killed writers, two writers and full disks leave earlier checkpoints whole."""

import errno
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import numpy as np
import pytest

from skinfo import open_run, save_run
from skinfo.errors import RunError
from skinfo.runs import Layer, RunWriter, convert_run

from .stored import LABELS, check_is_whole, nothing_else, two_layers

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")
pytest.importorskip("safetensors.numpy")

# Whatever changes a directory, or a file that is not new; and what a file waits for at its end.
CHANGES = ("replace", "rename", "write", "ftruncate", "unlink", "rmdir", "fsync")


@pytest.fixture(scope="module")
def processes():
    """Processes that start with everything imported, and with one thread."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "skinfo.runs", "zarr", "h5py", "safetensors.numpy"])
    return context


# Killed


class Slow:
    """An array that says it is wanted, and never comes."""

    def __init__(self, wanted):
        self.wanted = wanted

    def __array__(self, dtype=None, copy=None):
        self.wanted.set()
        time.sleep(600)


def write_slowly(path, wanted):
    save_run(path, 300, two_layers(300) | {"second": Slow(wanted)})


def test_a_second_writer_is_refused_and_a_killed_one_blocks_nobody(fmt, written, processes):
    wanted = processes.Event()
    process = processes.Process(target=write_slowly, args=(written, wanted))
    process.start()
    try:
        assert wanted.wait(60)
        with pytest.raises(RunError, match=r"epoch 7: another process is writing this .*\.lock"):
            save_run(written, 7, two_layers(7))
        check_is_whole(written, [1, 20])
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    check_is_whole(written, [1, 20])
    save_run(written, 300, two_layers(300))
    check_is_whole(written, [1, 20, 300])
    assert nothing_else(written)


def write_and_die(template, target, epoch, results):
    """Write a checkpoint again and again, killed at each next change to the disk."""
    for steps in range(1, 200):
        copy = target / str(steps) / template.name
        shutil.copytree(template.parent, copy.parent)
        child = os.fork()
        if child == 0:
            die_after(steps)
            save_run(copy, epoch, two_layers(1000), losses={"x": 1000})
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
def test_killed_at_any_step_a_run_is_whole(fmt, written, processes, tmp_path_factory, epoch):
    target, results = tmp_path_factory.mktemp("killed"), processes.SimpleQueue()
    process = processes.Process(target=write_and_die, args=(written, target, epoch, results))
    process.start()
    process.join()
    assert process.exitcode == 0
    steps = results.get()
    assert steps > 2
    seen = set()
    for step in range(1, steps + 1):
        copy = target / str(step) / written.name
        run = open_run(copy)
        found, losses = run.epochs, {e: values["x"] for e, values in run.losses.items()}
        assert list(losses) == found
        seen.add(tuple(losses.values()))
        check_is_whole(copy, found)
        save_run(copy, 400, two_layers(400))
        check_is_whole(copy, sorted({*found, 400}))
        assert nothing_else(copy)
    assert seen == {(1, 20), (1, 20, 1000) if epoch == 300 else (1, 1000)}


def convert_slowly(source, path, fmt, wanted):
    def progress(done, _total):
        if done == 1:
            wanted.set()
            time.sleep(600)

    convert_run(source, path, format=fmt, progress=progress)


def test_a_killed_conversion_goes_on(fmt, written, processes):
    target = written.with_name("new-" + written.name)
    wanted = processes.Event()
    process = processes.Process(target=convert_slowly, args=(written, target, fmt, wanted))
    process.start()
    try:
        assert wanted.wait(60)
        with pytest.raises(RunError, match="another process is writing this run .*lock"):
            convert_run(written, target, format=fmt)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert not target.exists()
    steps = []
    convert_run(written, target, format=fmt, progress=lambda *step: steps.append(step))
    check_is_whole(target, [1, 20])
    assert {e.name for e in written.parent.iterdir() if e.suffix != ".lock"} == {
        written.name, target.name,
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


def test_a_conversion_killed_at_any_step_goes_on(fmt, written, processes, tmp_path_factory):
    """At every one: also while the old run makes way for the new one."""
    save_run(written.with_name("source"), 300, two_layers(300), labels=LABELS)
    save_run(written.with_name("source"), 2, two_layers(2))
    target, results = tmp_path_factory.mktemp("killed"), processes.SimpleQueue()
    process = processes.Process(target=convert_and_die, args=(written, target, fmt, results))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert results.get() > 10
    for parent in target.iterdir():
        copy = parent / written.name
        convert_run(copy.with_name("source"), copy, format=fmt, overwrite=True)
        check_is_whole(copy, [2, 300])
        # The file of a lock that nobody holds blocks nobody.
        left = {name for name in os.listdir(parent) if not name.endswith(".lock")}
        assert left == {written.name, "source"}


# A full disk


def write_too_much(path, fmt, results):
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
    for epoch, target in ((300, path), (1, path.with_name("new-" + path.name))):
        try:
            # What does not compress.
            save_run(target, epoch, two_layers(epoch, 40 if epoch > 1 else 10_000) | {
                "first": np.random.default_rng(0).standard_normal((4, 40)),
                "second": np.random.default_rng(0).standard_normal((4, 30, 20, 20)),
            }, labels=LABELS, format=fmt, losses={"x": 1})  # fmt: skip
        except OSError as error:
            results.put((error.errno, str(error)))
        else:
            results.put(None)


def test_a_full_disk_leaves_what_was_there(fmt, written, processes):
    results = processes.SimpleQueue()
    process = processes.Process(target=write_too_much, args=(written, fmt, results))
    process.start()
    process.join()
    assert process.exitcode == 0
    for name, epoch in ((written.name, 300), ("new-" + written.name, 1)):
        number, message = results.get()
        assert number == errno.EFBIG
        # safetensors writes all layers in one piece.
        layer = "" if fmt == "safetensors" else ", layer 'second'"
        assert message.startswith(
            f"{written.with_name(name)}, epoch {epoch}{layer}: cannot be written"
        )
        assert "\n" not in message
    check_is_whole(written, [1, 20])
    assert not written.with_name("new-" + written.name).exists()
    assert nothing_else(written)
    save_run(written, 300, two_layers(300))
    check_is_whole(written, [1, 20, 300])


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


@pytest.mark.parametrize("epoch", [20, 1])
def test_each_change_to_the_disk_may_fail(fmt, written, monkeypatch, epoch):
    """Then all is as it was, also where the run would have begun, and the next call writes."""
    path = written if epoch > 1 else written.with_name("new")
    for steps in range(100):
        before = files_in(path)
        with monkeypatch.context() as patch:
            left = fail_at(patch, steps)
            with suppress(OSError):
                save_run(path, epoch, two_layers(9), labels=LABELS, losses={"x": 9}, format=fmt)
                # That a directory is there already is no failure.
                before = files_in(path)
        assert files_in(path) == before
        if left[0] >= 0:
            break
    assert 1 < steps < 99
    assert open_run(path).losses[epoch] == {"x": 9}
    check_is_whole(path, open_run(path).epochs)


def files_in(path):
    # Whoever writes makes the file of the lock.
    return {file: file.read_bytes() for file in path.rglob("*")
            if file.is_file() and file.name != ".lock"} if path.exists() else None  # fmt: skip


def fail_at(patch, steps):
    left = [steps]

    def failing(original):
        def call(*arguments, **options):
            left[0] -= 1
            if left[0] == -1:
                raise OSError(errno.EIO, "the disk is gone")
            return original(*arguments, **options)

        return call

    for name in ("replace", "rename", "write", "ftruncate", "fsync", "mkdir"):
        patch.setattr(os, name, failing(getattr(os, name)))
    return left


@pytest.mark.parametrize("fmt", ["npy", "zarr"])
def test_what_could_not_be_removed_before_blocks_no_checkpoint(tmp_path, fmt):
    path, first = tmp_path / "run", {"a": np.zeros((4, 2))}
    save_run(path, 1, first, format=fmt)
    (stored,) = (entry for entry in path.iterdir() if entry.name.startswith("epoch_"))
    shutil.copytree(stored, stored.with_name(f"{stored.name}.old"))
    save_run(path, 1, {"a": np.ones((4, 2))})
    assert open_run(path).load(1, "a").array.min() == 1
    assert not stored.with_name(f"{stored.name}.old").exists()


def test_a_checkpoint_is_saved_while_the_interpreter_ends(tmp_path):
    script = (
        "import atexit, numpy, skinfo\n"
        "save = skinfo.save_run\n"
        f"atexit.register(save, {str(tmp_path / 'run')!r}, 1, {{'a': numpy.ones((4, 2))}}, "
        "format='npy')"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    assert open_run(tmp_path / "run").load(1, "a").array.min() == 1
