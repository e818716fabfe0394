"""The cause that an error names is the one there is, and nothing is waited for or filled in."""

import os
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

from skinfo import BinningMIEstimator, information_flow, open_run, save_run
from skinfo.errors import RunError

from .test_damaged import as_nobody

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")
save_file = pytest.importorskip("safetensors.numpy").save_file

S = np.arange(8.0).reshape(4, 2)
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
PAGE = b"\n<!DOCTYPE html><html><body>Not found</body></html>"


def foreign(path, kind):
    """A run of one layer that something else wrote, and the file that its numbers are in."""
    path.mkdir()
    if kind == "npz":
        np.savez(path / "1.npz", a=S)
    elif kind == "npy":
        (path / "1").mkdir()
        np.save(path / "1" / "a.npy", S)
    elif kind == "safetensors":
        save_file({"a": S}, path / "1.safetensors")
    elif kind == "hdf5":
        with h5py.File(path / "1.h5", "w") as file:
            file["a"] = S
    else:
        zarr.open_group(path, mode="w").create_array("1/a", data=S)
    return max(filter(os.path.isfile, path.rglob("[!z.]*")), key=lambda file: len(file.parts))


def read(path):
    return open_run(path, layers=["a"]).load(1, "a").array


KINDS = ["npz", "npy", "safetensors", "hdf5", "zarr"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("content", "cause"), [(POINTER, "git lfs pull"), (PAGE, "a web page")])
def test_what_stands_there_instead_is_said(tmp_path, kind, content, cause):
    file = foreign(tmp_path / "run", kind)
    file.write_bytes(content)
    with pytest.raises(RunError, match=f"epoch 1, layer 'a': .*{cause}") as caught:
        read(tmp_path / "run")
    assert "damaged" not in str(caught.value)
    save_run(tmp_path / "own", 1, {"a": S})
    for name in ("labels.npy", "run.json"):
        (tmp_path / "own" / name).write_bytes(content)
        with pytest.raises(RunError, match=f"{name}: .*{cause}"):
            open_run(tmp_path / "own")
    (tmp_path / "all.h5").write_bytes(content)
    with pytest.raises(RunError, match=f"all.h5: .*{cause}"):
        open_run(tmp_path / "all.h5")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_may_not_be_read_is_not_damaged(tmp_path, kind):
    file = foreign(tmp_path / "run", kind)
    for part in (tmp_path, *tmp_path.parents[:2]):
        part.chmod(0o755)
    file.chmod(0)
    with as_nobody(), pytest.raises(RunError, match=r"layer 'a': cannot be read \(Permission"):
        read(tmp_path / "run")


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipe_is_not_waited_for(tmp_path, kind):
    file = foreign(tmp_path / "run", kind)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(RunError, match="epoch 1.* is a pipe or a device, not a file"):
        read(tmp_path / "run")
    save_run(tmp_path / "own", 1, {"a": S})
    for name, to in (("labels.npy", file), ("run.json", "/dev/zero")):
        (tmp_path / "own" / name).unlink(missing_ok=True)
        (tmp_path / "own" / name).symlink_to(to)
        with pytest.raises(RunError, match=f"{name}: .* is a pipe or a device"):
            open_run(tmp_path / "own")


def test_a_file_that_is_open_elsewhere_is_said_so(tmp_path):
    code = f"import h5py; f = h5py.File({str(tmp_path / 'all.h5')!r}, 'w'); f['1/a'] = [[1.0]]"
    code += "; print('open', flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as training:
        training.stdout.readline()
        with pytest.raises(RunError, match="all.h5: is open elsewhere to be written to: close it"):
            open_run(tmp_path / "all.h5")
        training.communicate(b"\n")
    assert read(tmp_path / "all.h5").tolist() == [[1.0]]


def test_links_and_filters_that_lack_their_other_half_are_named(tmp_path):
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["1/a"] = S
        file["1/outside"] = h5py.ExternalLink("gone.h5", "/x")
        file["1/inside"] = h5py.SoftLink("/gone")
        file["2"] = h5py.ExternalLink("gone.h5", "/x")
        created = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        created.set_chunk(S.shape)
        created.set_filter(32767, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple(S.shape)
        h5py.h5d.create(file["1"].id, b"packed", h5py.h5t.NATIVE_DOUBLE, space, created)
        file["1/odd"] = np.zeros((4, 2), [("x", "f4")])
        file["1/none"] = h5py.Empty("f4")
    run = open_run(tmp_path / "all.h5")
    assert run.load(1, "a").array.tolist() == S.tolist()
    for layer, cause in (
        ("outside", "link to /x in gone.h5"), ("inside", "link to /gone, which is not there"),
        ("packed", "filter 32767.*not installed"), ("odd", "of type .*save it as plain arrays"),
        ("none", r"has shape \(0,\)"),
    ):  # fmt: skip
        with pytest.raises(RunError, match=f"epoch 1, layer '{layer}': .*{cause}") as caught:
            run.load(1, layer)
        assert "damaged" not in str(caught.value)
    with pytest.raises(RunError, match="epoch 2, layer 'a': .*link to /x in gone.h5"):
        run.load(2, "a")


def virtual(path, rows=8):
    layout = h5py.VirtualLayout((rows, 2), "f8")
    for k in (0, 1):
        layout[4 * k : 4 * k + 4] = h5py.VirtualSource(f"part{k}.h5", "x", shape=(4, 2))
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("1/a", layout, fillvalue=-1)


def part(path, values):
    with h5py.File(path, "w") as file:
        file["x"] = values


def test_a_virtual_dataset_needs_all_that_it_is_made_of(tmp_path):
    for k in (0, 1):
        part(tmp_path / f"part{k}.h5", S + k)
    virtual(tmp_path / "all.h5")
    layout = h5py.VirtualLayout((8, 2), "f8")
    layout[:] = h5py.VirtualSource("all.h5", "1/a", shape=(8, 2))
    with h5py.File(tmp_path / "again.h5", "w") as file:
        file.create_virtual_dataset("1/a", layout)
    for name in ("all.h5", "again.h5"):
        assert read(tmp_path / name).tolist() == [*S.tolist(), *(S + 1).tolist()]
    virtual(tmp_path / "gap.h5", rows=12)
    with pytest.raises(RunError, match="others, which lack 8 of its numbers"):
        read(tmp_path / "gap.h5")
    part(tmp_path / "part1.h5", S[:3])
    with pytest.raises(RunError, match=r"x in \S*part1.h5, which is too small"):
        read(tmp_path / "all.h5")
    (tmp_path / "part1.h5").unlink()
    for name in ("all.h5", "again.h5"):
        with pytest.raises(RunError, match=r"layer 'a': .*part1.h5: cannot be read \(No such file"):
            read(tmp_path / name)


def test_raw_numbers_are_read_from_beside_the_run_alone(tmp_path):
    (tmp_path / "run").mkdir()
    for file, values in (("secret", S), ("run/raw", S), ("run/short", S[:3])):
        (tmp_path / file).write_bytes(values.tobytes())
    (tmp_path / "run" / "link").symlink_to(tmp_path / "secret")

    def refer(file):
        with h5py.File(tmp_path / "run" / "all.h5", "w") as stream:
            outside = [(str(tmp_path / "run" / file), 0, h5py.h5f.UNLIMITED)]
            stream.create_dataset("1/a", shape=S.shape, dtype="f8", external=outside)
        return tmp_path / "run" / "all.h5"

    assert read(refer("raw")).tolist() == S.tolist()
    for file in ("../secret", "link", "gone"):
        with pytest.raises(RunError, match="layer 'a': has its numbers in .* no file beside the"):
            read(refer(file))
    with pytest.raises(RunError, match="short, which ends before they do"):
        read(refer("short"))


def write_header(file, shape):
    header = {"descr": "<f8", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def test_what_is_larger_than_the_machine_is_a_row_of_the_table(tmp_path):
    huge = (10**12, 4)
    for kind in ("npz", "npy/1", "hdf5"):
        (tmp_path / kind).mkdir(parents=True)
    np.savez(tmp_path / "npz" / "2.npz", a=S)
    with (
        zipfile.ZipFile(tmp_path / "npz" / "1.npz", "w") as archive,
        archive.open("a.npy", "w") as member,
    ):
        write_header(member, huge)
    with (tmp_path / "npy" / "1" / "a.npy").open("wb") as file:
        write_header(file, huge)
    with h5py.File(tmp_path / "hdf5" / "1.h5", "w") as file:
        file.create_dataset("a", huge, "f8", chunks=(1000, 4))
    root = zarr.open_group(tmp_path / "zarr", mode="w")
    root.create_array("1/a", shape=huge, chunks=(10**6, 4), dtype="f8")
    cut = "it ends before its array does"
    for kind, cause in {"npz": cut, "npy": cut, "hdf5": "memory", "zarr": "memory"}.items():
        with pytest.raises(RunError, match=f"epoch 1, layer 'a': .*{cause}"):
            read(tmp_path / kind)
    with pytest.warns(UserWarning, match=f"not measured: .*{cut}"):
        table = information_flow(BinningMIEstimator(bin_width=1.0), tmp_path / "npz")
    assert table.query("notes == 'read error'")["epoch"].unique().tolist() == [1]
    assert table["value"].notna().any()


def test_of_an_archive_no_more_is_unpacked_than_its_array(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "1.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w") as member,
    ):
        np.lib.format.write_array(member, S)
        for _ in range(64):
            member.write(bytes(10**6))
    tracemalloc.start()
    with pytest.raises(RunError, match="it is longer than its array"):
        read(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()
