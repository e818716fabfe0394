"""Runs that others wrote, and arrays in memory, are opened and described."""

import os
import zipfile

import numpy as np
import pytest

from skinfo import open_run, save_run
from skinfo.errors import RunError
from skinfo.runs import Layer, convert_run

from .stored import LABELS, bits

h5py = pytest.importorskip("h5py")
zarr = pytest.importorskip("zarr")
save_safetensors = pytest.importorskip("safetensors.numpy").save_file


# Runs that others wrote


def test_a_directory_of_any_npz_opens(tmp_path):
    for epoch in (3, 12):
        np.savez(
            tmp_path / f"net2-after-{epoch}.npz", fc2=np.full((4, 2), epoch), fc1=np.zeros((4, 3))
        )
    np.savez(tmp_path / "unnumbered.npz", other=np.zeros(1))
    run = open_run(tmp_path, labels=LABELS, sigma={"fc1": 0.1}, train=[1])
    assert run.epochs == [3, 12]
    assert [layer.name for layer in run.layers] == ["fc2", "fc1"]
    assert run.load(12, "fc2").array.tolist() == [[12, 12]] * 4
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
    assert run.load(2, "b9").array.shape == (5, 3)
    with pytest.raises(RunError, match="epoch 1, layer 'b9': the file has no such layer"):
        run.load(1, "b9")


def test_a_conversion_that_was_stopped_is_mentioned(tmp_path):
    save_run(tmp_path / "source", 1, {"a": np.zeros((2, 1))})

    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert_run(tmp_path / "source", tmp_path / "new", progress=stop)
    with pytest.raises(RunError, match=r"new: there is no run here yet: a conversion to it"):
        open_run(tmp_path / "new")


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
    assert run.load(12, "layer10").array.tolist() == [[12, 12]] * 2


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
    assert run.load(10, "net/z").array.tolist() == [[10, 10]] * 3
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
        np.testing.assert_array_equal(run.load(1, name).array, S)


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
    assert run.load(10, "a9").array.tolist() == [[10, 10]] * 3
    assert run.labels.tolist() == [1, 0, 1]


def test_a_directory_of_two_formats_asks_which(tmp_path):
    np.savez(tmp_path / "a1.npz", a=np.zeros((2, 1)))
    save_safetensors({"a": np.ones((2, 1))}, tmp_path / "a1.safetensors")
    with pytest.raises(RunError, match="formats npz and safetensors; say which with format="):
        open_run(tmp_path)
    assert open_run(tmp_path, format="safetensors").load(1, "a").array.tolist() == [[1], [1]]
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


# Arrays in memory


def test_stacked_arrays_are_refused_with_the_line_that_splits_them():
    arrays = {"a": np.arange(12.0).reshape(2, 3, 2), "b": np.zeros((2, 3, 1))}
    with pytest.raises(RunError, match="got 'a'. Where the epoch is the first axis") as caught:
        open_run(arrays)
    line = str(caught.value).partition("of each array: ")[2]
    run = open_run(eval(line, {"arrays": arrays, "epochs": [30, 7]}))
    assert run.epochs == [7, 30]
    np.testing.assert_array_equal(run.load(30, "a").array, arrays["a"][0])


def test_format_is_of_what_is_on_disk_only():
    with pytest.raises(TypeError, match="format="):
        open_run({(1, "a"): np.zeros((2, 1))}, format="npz")


@pytest.mark.parametrize("epoch", [1.5, -1, "2", None, True])
def test_epochs_are_whole_numbers(epoch):
    with pytest.raises(RunError, match="an epoch is a whole number from 0 on; got"):
        save_run("never", epoch, {"a": np.zeros((4, 1))})


def test_layers_by_epoch_may_be_nested():
    arrays = {e: {"b": np.full((2, 1), e), "a": np.zeros((2, 3))} for e in (1, 20)}
    run = open_run(arrays, sigma={"b": 0.1})
    assert run.epochs == [1, 20]
    assert run.layers == (Layer("b", 0.1), Layer("a", None, True))
    assert run.load(20, "b").array.tolist() == [[20], [20]]


def test_labels_that_fit_no_array_are_refused_when_opened():
    rows = {(1, "a"): np.zeros((4, 2)), (2, "a"): np.zeros((4, 2))}
    message = r"epoch 1, layer 'a': 3 labels, one per input, for 4 rows of shape \(4, 2\)"
    with pytest.raises(RunError, match=message):
        open_run(rows, labels=[0, 1, 0])
    with pytest.raises(RunError, match="3 groups, one per row, of 2 inputs, for 4 rows"):
        open_run(rows, groups=[0, 1, 1])
    with pytest.raises(RunError, match="2 labels, one per input, and 3 groups, one per row, for 4"):
        open_run(rows, labels=[0, 1], groups=[0, 1, 1])
    open_run(rows, labels=[0, 1], groups=[0, 1, 1, 0])
    open_run({(1, "a"): np.zeros((4, 6, 2))}, labels=LABELS, flatten="tokens")
    # Of one that was cut short the others do not suffer.
    cut = open_run(rows | {(1, "a"): np.zeros((3, 2))}, labels=LABELS)
    assert cut.load(2, "a").array.shape == (4, 2)
    with pytest.raises(RunError, match="epoch 1, layer 'a'"):
        cut.load(1, "a")


def test_tensors_of_any_kind_are_read_in_memory(tmp_path):
    torch = pytest.importorskip("torch")
    tensor = torch.tensor([[1.5, -2.0], [0.0, 3.140625]])
    kinds = {"graph": tensor.clone().requires_grad_() * 1, "half": tensor.to(torch.bfloat16)}
    run = open_run({(1, name): values for name, values in kinds.items()})
    save_run(tmp_path / "run", 1, kinds)
    for name in kinds:
        for found in (run, open_run(tmp_path / "run")):
            assert bits(found.load(1, name).array) == bits(tensor.numpy())


# What HDF5 can say and numpy cannot


def hdf5_number(size, sign, exponent, n_exponent, mantissa, n_mantissa, bias):
    kind = h5py.h5t.IEEE_F32LE.copy()
    kind.set_fields(sign, exponent, n_exponent, mantissa, n_mantissa)
    kind.set_size(size)
    kind.set_ebias(bias)
    return kind


def shifted_integer():
    kind = h5py.h5t.STD_I32LE.copy()
    kind.set_precision(12)
    kind.set_offset(4)
    return kind


@pytest.mark.parametrize(
    "kind",
    [
        hdf5_number(2, 15, 7, 8, 0, 7, 127), hdf5_number(1, 7, 2, 5, 0, 2, 15),
        hdf5_number(1, 7, 3, 4, 0, 3, 7), shifted_integer(), h5py.h5t.IEEE_F32BE.copy(),
        h5py.h5t.STD_U16BE.copy(),
    ],
    ids=["bfloat16", "e5m2", "e4m3", "12 of 32 bits", "big endian", "big endian integers"],
)  # fmt: skip
def test_numbers_of_any_type_are_those_that_were_written(tmp_path, kind):
    values = np.arange(6, dtype="f4").reshape(3, 2)
    with h5py.File(tmp_path / "all.h5", "w") as file:
        space = h5py.h5s.create_simple(values.shape)
        dataset = h5py.h5d.create(file.create_group("1").id, b"a", kind, space)
        dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, values)
    run = open_run(tmp_path / "all.h5")
    assert run.load(1, "a").array.tolist() == values.tolist()
    assert run.stored_shape(1, "a")[1] == run.load(1, "a").array.dtype


@pytest.mark.parametrize("link", ["group", "layer", "file"])
def test_what_lies_in_another_file_is_read_there(tmp_path, link):
    values = np.arange(12, dtype="i1").reshape(6, 2)
    with h5py.File(tmp_path / "part.h5", "w") as part:
        part["acts/a"] = values
    with h5py.File(tmp_path / "all.h5", "w") as file:
        file["inputs"] = np.full(9000, 7, "u1")
        if link == "group":
            file["epoch_1"] = h5py.ExternalLink("part.h5", "/acts")
        elif link == "layer":
            file["epoch_1/a"] = h5py.ExternalLink("part.h5", "/acts/a")
        else:
            file.create_dataset("epoch_1/a", data=values)
        group = file["epoch_1"]
        group["other/tied"] = values if link == "layer" else group["a"]
        group["soft"] = h5py.SoftLink("a")
        group["round"] = group
    (tmp_path / "link.h5").symlink_to("all.h5")
    run = open_run(tmp_path / "link.h5")
    assert [layer.name for layer in run.layers] == ["a", "other/tied", "soft"]
    for layer in run.layers:
        assert run.load(1, layer.name).array.tolist() == values.tolist()


@pytest.mark.parametrize("options", [{"userblock_size": 512}, {"libver": "latest"}, {}], ids=str)
def test_a_file_with_something_before_it_is_read(tmp_path, options):
    values = np.arange(512.0).reshape(256, 2)
    with h5py.File(tmp_path / "all.h5", "w", **options) as file:
        file["1/a"] = values
        file.create_dataset("1/packed", data=values, compression="gzip", shuffle=True)
        file.create_dataset("1/scaled", data=values.astype(int), scaleoffset=0, chunks=(64, 2))
    raw = (tmp_path / "all.h5").read_bytes()
    (tmp_path / "moved.h5").write_bytes(bytes(512) + raw)
    for name in ("all.h5", "moved.h5"):
        run = open_run(tmp_path / name)
        for layer in ("a", "packed", "scaled"):
            assert run.load(1, layer).array.tolist() == values.tolist()


# What names say


@pytest.mark.parametrize(
    ("names", "epochs"),
    [
        (["epoch=01-val_loss=0.93", "epoch=02-val_loss=0.71"], [1, 2]),
        (["val_acc=93-epoch=01", "val_acc=71-epoch=02"], [1, 2]),
        (["epoch=3-step=1200", "epoch=4-step=900"], [3, 4]),
        (["weights.01-0.93", "weights.02-0.71"], [1, 2]),
        (["step_100_acc_97", "step_200_acc_95"], [100, 200]),
        (["iter_000100_rank_00", "iter_000200_rank_00"], [100, 200]),
        (["net2-after-3", "net2-after-12"], [3, 12]),
        (["epoch-1", "Epoch 20"], [1, 20]),
        (["epoch_-1", "epoch_0"], "epoch_-1: an epoch is a whole number from 0 on; got -1"),
        (["epoch0_rank0", "epoch0_rank1"], "epoch 0: epoch0_rank0 and epoch0_rank1 are both of"),
        (["ckpt5_rank0", "ckpt5_rank1"], "epoch 5: ckpt5_rank0 and ckpt5_rank1 are both of this"),
        (["weights.01-93", "weights.02-71"], "differ in several numbers: which is the epoch?"),
        (["01-loss-2e-05", "02-loss-1e-05"], "differ in several numbers|both of this epoch"),
        (["a1", "b0.5"], "b0.5 has no whole number in its name to be its epoch; rename it"),
        (["epoch9007199254740993"], "epochs beyond 2"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["npz", "hdf5"])
def test_epochs_stand_where_a_word_says_or_nothing_else_varies(tmp_path, names, epochs, kind):
    path = tmp_path / "all.h5" if kind == "hdf5" else tmp_path
    for k, name in enumerate(names):
        if kind == "npz":
            np.savez(tmp_path / f"{name}.npz", a=np.full((2, 1), k))
        else:
            with h5py.File(path, "a") as file:
                file[f"{name}/a"] = np.full((2, 1), k)
    if isinstance(epochs, str):
        with pytest.raises(RunError, match=epochs):
            open_run(path)
    else:
        run = open_run(path)
        found = {epoch: run.load(epoch, "a").array[0, 0] for epoch in run.epochs}
        assert found == {epoch: k for k, epoch in enumerate(epochs)}


def test_arrays_at_the_root_of_zarr_are_no_checkpoints(tmp_path):
    root = zarr.open_group(tmp_path, mode="w", zarr_format=3)
    for epoch in (1, 2):
        root.create_array(f"epoch_{epoch}/a", data=np.full((3, 2), epoch))
    root.create_array("targets_10", data=np.zeros(3))
    run = open_run(tmp_path)
    assert run.epochs == [1, 2]
    assert run.load(2, "a").array.tolist() == [[2, 2]] * 3


def test_what_holds_no_arrays_is_no_checkpoint_of_a_directory(tmp_path):
    zarr.open_group(tmp_path / "dump/epoch_1.zarr", mode="w").create_array("a", data=np.eye(2))
    zarr.open_array(tmp_path / "dump/targets_10.zarr", mode="w", shape=(2,), dtype="i4")
    assert open_run(tmp_path / "dump").epochs == [1]
    for name in ("epoch_1", "plots_10"):
        (tmp_path / "folders" / name).mkdir(parents=True)
    np.save(tmp_path / "folders/epoch_1/a.npy", np.eye(2))
    assert open_run(tmp_path / "folders").epochs == [1]


def test_what_is_ordered_otherwise_is_refused_with_the_line_that_turns_it(tmp_path):
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        file["layer1"] = np.zeros((5, 3, 2))
    with pytest.raises(RunError, match=r"no checkpoints. Where the epoch is the first axis"):
        open_run(tmp_path / "flat.h5")
    with h5py.File(tmp_path / "turned.h5", "w") as file:
        for epoch in (1, 2):
            file[f"layer1/epoch{epoch}"] = np.zeros((3, 2))
    with pytest.raises(RunError, match="epoch1, epoch2, which are epochs: it is ordered by layer"):
        open_run(tmp_path / "turned.h5")


def test_names_of_layers_need_no_ascii_digits(tmp_path):
    names = ["h1²", "①", "h10", "h9"]
    save_safetensors({name: np.ones((2, 1)) for name in names}, tmp_path / "1.safetensors")
    assert [layer.name for layer in open_run(tmp_path).layers] == ["h1²", "h9", "h10", "①"]


# Labels, as they are stored


WORDS = np.array(["cat", "dög", "cat", "dög"])


@pytest.mark.parametrize(
    "labels", [np.char.encode(WORDS, "utf-8"), WORDS.astype(object), WORDS[:, None], list(WORDS)]
)
def test_words_are_the_same_words_at_every_door(tmp_path, labels):
    arrays = {"a": np.zeros((4, 2))}
    save_run(tmp_path / "saved", 1, arrays, labels=labels)
    for name in ("npz", "file"):
        (tmp_path / name).mkdir()
    np.savez(tmp_path / "npz" / "1.npz", **arrays)
    runs = [open_run({1: arrays}, labels=labels), open_run(tmp_path / "saved", labels=labels)]
    if np.asarray(labels).dtype.kind != "O":
        np.save(tmp_path / "npz" / "labels.npy", labels)
        runs += [open_run(tmp_path / "npz"), open_run(tmp_path / "npz", labels=WORDS)]
    if np.asarray(labels).dtype.kind != "U":
        with h5py.File(tmp_path / "all.h5", "w") as file:
            file["1/a"], file["labels"] = arrays["a"], labels
        runs += [open_run(tmp_path / "all.h5"), open_run(tmp_path / "all.h5", labels=WORDS)]
    for run in runs:
        assert run.labels.tolist() == WORDS.tolist()
    convert_run(runs[-1], tmp_path / "converted")
    assert open_run(tmp_path / "converted", labels=WORDS).labels.tolist() == WORDS.tolist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (3, "one label per input; got shape"), (b"cat", "one label per input; got shape"),
        ([], "one label per input; got shape"), (np.eye(4), r"of one-hot labels take labels.argm"),
        (np.array([b"\xff"] * 4), "bytes that are no words in UTF-8"), ([1j] * 4, "got complex128"),
        (np.ma.masked_equal([0, 1, 0, 1], 1), "labels holds masked values; fill them or drop"),
        (np.array([None, "a", 1, 2], object), "numbers or of words; got object"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_list_of_labels_is_refused_at_every_door(tmp_path, labels, message):
    arrays = {"a": np.zeros((4, 2))}
    with pytest.raises(RunError, match=f"memory: .*{message}"):
        open_run({1: arrays}, labels=labels)
    with pytest.raises(RunError, match=f"run: .*{message}"):
        save_run(tmp_path / "run", 1, arrays, labels=labels)
    if "masked" not in message and "object" not in message:
        np.savez(tmp_path / "1.npz", **arrays)
        np.save(tmp_path / "labels.npy", labels)
        with pytest.raises(RunError, match=f"labels.npy: .*{message}"):
            open_run(tmp_path)


# Masks, and rows that differ


def test_masks_are_refused_at_every_door(tmp_path):
    masked = np.ma.masked_greater([[0.0], [9e9]], 1e9)
    with pytest.raises(RunError, match="epoch 1, layer 'a': holds masked values"):
        open_run({(1, "a"): masked}).load(1, "a")
    with pytest.raises(ValueError, match="layer 'a' holds masked values"):
        save_run(tmp_path / "run", 1, {"a": masked})
    maps = {(1, "a"): np.zeros((2, 1, 1, 1))}
    with pytest.raises(RunError, match="the callable given as flatten .* masked values"):
        open_run(maps, flatten=lambda _: masked).load(1, "a")
    unmasked = open_run({(1, "a"): np.ma.array(masked.data)}).load(1, "a").array
    assert type(unmasked) is np.ndarray
    assert unmasked.tolist() == [[0.0], [9e9]]


def test_rows_of_other_inputs_are_refused_without_labels():
    run = open_run(
        {(1, "a"): np.zeros((4, 2)), (2, "a"): np.zeros((5, 2)), (2, "b"): np.zeros((4, 1))}
    )
    assert run.load(2, "b").array.shape == (4, 1)
    with pytest.raises(RunError, match="epoch 2, layer 'a': has 5 rows, but the first array .* 4"):
        run.load(2, "a")


# Growth


@pytest.mark.parametrize("kind", ["npz", "safetensors", "hdf5"])
def test_what_is_read_again_does_not_grow_with_what_lies_beside_it(tmp_path, monkeypatch, kind):
    """Tables of contents are read once a file, and directories once a run."""
    layers = {f"a{k}": np.ones((2, 1)) for k in range(12)}
    for epoch in range(20):
        file = tmp_path / f"epoch{epoch}.{'h5' if kind == 'hdf5' else kind}"
        if kind == "npz":
            np.savez(file, **layers)
        elif kind == "safetensors":
            save_safetensors(layers, file)
        else:
            with h5py.File(file, "w") as stream:
                for name, array in layers.items():
                    stream[name] = array
    run, counts = open_run(tmp_path), {"listed": 0, "indexed": 0}

    def counting(name, function):
        def counted(*args, **kwargs):
            counts[name] += 1
            return function(*args, **kwargs)

        return counted

    monkeypatch.setattr(os, "scandir", counting("listed", os.scandir))
    index = zipfile.ZipFile._RealGetContents
    monkeypatch.setattr(zipfile.ZipFile, "_RealGetContents", counting("indexed", index))
    for epoch in run.epochs:
        for layer in run.layers:
            run.load(epoch, layer.name)
            run.shape(epoch, layer.name)
    assert counts["listed"] <= 4
    assert counts["indexed"] <= (2 * len(run.epochs) if kind == "npz" else 0)
