"""Reading is lazy; what cannot be read, is not there or does not fit is an error that names it."""

import gc
import io
import json
import warnings
import zipfile

import numpy as np
import pytest

import skinfo
from skinfo.errors import RunError
from skinfo.runs import Layer, RunWriter, open_run

from .written import LABELS, LAYERS, activations, write_checkpoint, write_run


def edit_description(path, **changes):
    file = path / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def corrupt_member(file, member):
    """Turn the bits of a member's numbers, and of nothing else."""
    with zipfile.ZipFile(file) as archive:
        numbers = archive.read(f"{member}.npy")[-16:]
    raw = file.read_bytes()
    assert raw.count(numbers) == 1
    file.write_bytes(raw.replace(numbers, bytes(255 - byte for byte in numbers)))


# Reading is lazy


def test_a_good_layer_is_read_beside_a_corrupt_one(path):
    write_run(path)
    corrupt_member(path / "epoch_00000001.npz", "second")
    run = open_run(path)
    np.testing.assert_array_equal(run.load(1, "first").array, activations(1)["first"])
    np.testing.assert_array_equal(run.load(1, "out").array, activations(1)["out"])
    with pytest.raises(RunError, match=r"epoch_00000001\.npz, epoch 1, layer 'second': cannot"):
        run.load(1, "second")


def test_opening_reads_no_checkpoint(path):
    write_run(path)
    for file in path.glob("epoch_*.npz"):
        file.write_bytes(b"no archive")
    run = open_run(path)
    assert run.epochs == [1, 20]
    assert run.layers == tuple(LAYERS)
    with pytest.raises(RunError, match=r"epoch_00000020\.npz"):
        run.load(20, "first")


# Files that cannot be read


def test_an_unreadable_checkpoint_is_closed_again(path):
    write_run(path)
    file = path / "epoch_00000020.npz"
    file.write_bytes(file.read_bytes()[:100])
    run = open_run(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(RunError):
            run.load(20, "first")
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


@pytest.mark.parametrize("bits", [0xFF, 0x01])
def test_no_damage_to_a_byte_gives_wrong_numbers_or_another_error(path, bits):
    S = np.arange(6.0).reshape(3, 2)
    write_run(path, {1: {"a": S, "b": -S}}, [Layer("a", 0.1), Layer("b", 0.1, True)], labels=None)
    file = path / "epoch_00000001.npz"
    whole = file.read_bytes()
    run = open_run(path)
    failures = {}
    for place in range(len(whole)):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ bits]) + whole[place + 1 :])
        try:
            if not np.array_equal(run.load(1, "b").array, -S):
                failures[place] = "other numbers"
        except RunError:
            pass
        except Exception as error:
            failures[place] = repr(error)
    assert failures == {}


def test_truncated_labels_and_groups_are_named(path):
    write_run(path, groups=[0, 0, 1, 1, 2, 2, 3, 3])
    for name in ("groups.npy", "labels.npy"):
        (path / name).write_bytes((path / name).read_bytes()[:-3])
        with pytest.raises(RunError, match=f"{name}.*damaged or cut short"):
            open_run(path)


def test_python_objects_are_never_loaded(path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("a pickle was loaded",))

    objects = np.array([[Bomb()]], dtype=object)
    write_run(path, {}, [Layer("a", 0.1)], labels=None)
    write_checkpoint(path, 1, a=objects)
    with pytest.raises(RunError, match=r"epoch_00000001\.npz, epoch 1, layer 'a': holds Python"):
        open_run(path).load(1, "a")
    np.save(path / "labels.npy", objects[0], allow_pickle=True)
    with pytest.raises(RunError, match=r"labels\.npy: holds Python objects"):
        open_run(path)


def test_python_objects_are_never_written(path):
    writer = RunWriter(path, [Layer("a", 0.1)])
    with pytest.raises(ValueError, match="[Oo]bject"):
        writer.add(1, {"a": np.array([[None]])})
    assert writer.epochs() == []
    assert [file.name for file in path.glob("[!.]*")] == ["run.json"]


@pytest.mark.parametrize("values", [np.array([["1"]]), np.array([[1j]])])
def test_what_is_no_number_is_refused(make_run, values):
    run = make_run({1: {"a": values}}, [Layer("a", 0.1)])
    with pytest.raises(RunError, match="epoch 1, layer 'a': holds .* where numbers are expected"):
        run.load(1, "a")


def test_objects_in_memory_are_refused():
    with pytest.raises(RunError, match="holds object where numbers are expected"):
        open_run({(1, "a"): [[None, 1.0]]}).load(1, "a")


# What is not there


def test_a_missing_layer_lists_those_there_are(make_run):
    run = make_run({1: activations()}, LAYERS, labels=LABELS)
    with pytest.raises(RunError, match=r"layer 'third'.*this run has: first, second, out"):
        run.load(1, "third")


def test_a_layer_missing_from_one_epoch_in_memory_lists_those_it_has():
    S = np.zeros((2, 1))
    run = open_run({(1, "a"): S, (1, "b"): S, (2, "a"): S})
    with pytest.raises(RunError, match=r"epoch 2, layer 'b'.*it has: a$"):
        run.load(2, "b")


def test_a_missing_epoch_lists_those_there_are(make_run):
    run = make_run({1: activations(), 20: activations()}, LAYERS, labels=LABELS)
    with pytest.raises(RunError, match=r"epoch 7: .*this run has: 1, 20"):
        run.load(7, "first")


def test_what_is_no_run_is_said_so(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("{}")
    for name in ("empty", "file", "nowhere"):
        with pytest.raises(RunError, match=f"{name}: there is no run here"):
            open_run(tmp_path / name)


def test_a_description_of_other_bytes_is_named(path):
    path.mkdir()
    (path / "run.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunError, match=r"run\.json"):
        open_run(path)


# What does not fit together


@pytest.mark.parametrize("groups", [[0, 4], [-1, 0]])
def test_groups_out_of_range_are_refused(make_run, groups):
    with pytest.raises(RunError, match="groups index the 4 labels; found"):
        make_run({1: {"a": np.zeros((2, 1))}}, [Layer("a", 0.1)], labels=LABELS, groups=groups)


@pytest.mark.parametrize("labels", [LABELS, None], ids=["labels", "none"])
@pytest.mark.parametrize("groups", [[0.0, 1.0], [[0, 1]], ["0", "1"]])
def test_groups_are_one_integer_per_row(make_run, labels, groups):
    with pytest.raises(RunError, match="groups must be one integer per row"):
        make_run({1: {"a": np.zeros((2, 1))}}, [Layer("a", 0.1)], labels=labels, groups=groups)


def test_a_subset_of_another_number_of_inputs_is_refused(make_run):
    run = make_run({1: activations()}, LAYERS, labels=LABELS)
    for name in ("first", "second"):
        for n in (3, 5):
            with pytest.raises(ValueError, match="mask"):
                run.load(1, name, subset=np.ones(n, dtype=bool))


def test_a_subset_of_rows_is_named_as_in_a_sweep():
    arrays = {(1, "a"): np.arange(8.0).reshape(4, 2)}
    run = open_run(arrays, labels=LABELS, train=[0, 2], sigma=0.0)
    for subset, rows in (("train", [0, 2]), ("test", [1, 3])):
        loaded = run.load(1, "a", subset=subset)
        for X in (loaded.array, loaded.replicas().X, loaded.noisy_sample().X):
            np.testing.assert_array_equal(X, arrays[1, "a"][rows])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_with_its_place(make_run, bad):
    S = np.zeros((4, 2, 3))
    S[2, 1, 0] = bad
    run = make_run({1: {"a": S}}, [Layer("a", 0.1)], labels=LABELS)
    with pytest.raises(RunError, match=r"epoch 1, layer 'a': holds NaN or infinity.*2, 1, 0"):
        run.load(1, "a")


@pytest.mark.parametrize("shape", [(3, 2), (12, 2), (3, 4, 2)])
def test_arrays_of_another_number_of_inputs_are_refused(make_run, shape):
    arrays = {1: {"a": np.zeros(shape)}}
    with pytest.raises(RunError, match="epoch 1, layer 'a': 4 labels, one per input, for .+ rows"):
        # In memory already when the run is opened.
        make_run(arrays, [Layer("a", 0.1)], labels=LABELS).load(1, "a")


def test_rows_that_fit_neither_labels_nor_groups_are_refused(make_run):
    rows, groups = {1: {"a": np.zeros((5, 2))}}, [0, 0, 1, 1, 2, 3]
    with pytest.raises(RunError, match="4 labels, one per input, and 6 groups, one per row"):
        make_run(rows, [Layer("a", 0.1)], labels=LABELS, groups=groups).load(1, "a")


def test_rows_that_fit_no_groups_are_refused_without_labels(make_run):
    rows = {1: {"a": np.zeros((7, 2))}}
    with pytest.raises(RunError, match="4 groups, one per row, of 2 inputs, for 7 rows"):
        make_run(rows, [Layer("a", 0.1)], groups=[0, 0, 1, 1]).load(1, "a")


@pytest.mark.parametrize("shape", [(4,), (4, 0), (0, 4), (4, 3, 0, 2)])
def test_what_holds_no_units_of_inputs_is_refused(make_run, shape):
    run = make_run({1: {"a": np.zeros(shape)}}, [Layer("a", 0.1)], labels=LABELS)
    with pytest.raises(RunError, match="epoch 1, layer 'a': has shape .*expected .*n_units"):
        run.load(1, "a")


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), {"a": -1.0}])
def test_a_sigma_that_is_no_standard_deviation_is_refused(sigma):
    with pytest.raises(ValueError, match="sigma"):
        open_run({(1, "a"): np.zeros((2, 1))}, sigma=sigma)


def test_a_sigma_for_a_layer_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="hiden"):
        open_run({(1, "hidden"): np.zeros((2, 1))}, sigma={"hiden": 0.1})


# The training split


def test_train_needs_labels_to_know_the_inputs(path):
    write_run(path)
    edit_description(path, train=[0])
    (path / "labels.npy").unlink()
    with pytest.raises(RunError, match=r"run\.json: names training inputs"):
        open_run(path)


@pytest.mark.parametrize("train", [[4], [-1], ["first"], 3.5])
def test_a_split_that_names_no_input_is_refused(path, train):
    write_run(path)
    edit_description(path, train=train)
    with pytest.raises(RunError, match=r"run\.json"):
        open_run(path)


def test_run_errors_name_file_epoch_and_layer():
    error = RunError("is odd", path="file", epoch=0, layer="a")
    assert str(error) == "file, epoch 0, layer 'a': is odd"
    assert str(RunError("is odd")) == "is odd"
    assert isinstance(error, ValueError)


def test_a_member_that_is_no_array_is_refused(path):
    write_run(path, {}, [Layer("a", 0.1)], labels=None)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.npy", b"a table of numbers, perhaps")
    (path / "epoch_00000001.npz").write_bytes(buffer.getvalue())
    with pytest.raises(RunError, match=r"epoch_00000001\.npz.*layer 'a'|epoch 1, layer 'a'"):
        open_run(path).load(1, "a")


def test_one_label_per_row_is_not_one_per_input():
    with pytest.raises(RunError, match="one label per input"):
        open_run({(1, "a"): np.zeros((4, 2))}, labels=[0, 0, 1, 1], groups=[0, 0, 1, 1])


@pytest.mark.parametrize("key", [(1.5, "a"), ("a", 1), "a", (1, "a", 2)])
def test_keys_are_epoch_and_layer(key):
    with pytest.raises(RunError, match="keyed by"):
        open_run({key: np.zeros((2, 1))})


@pytest.mark.parametrize("epoch", [2**53 + 1, 10**20])
def test_an_epoch_that_no_table_can_hold_is_refused_when_a_run_is_opened(tmp_path, epoch):
    np.savez(tmp_path / f"epoch_{epoch}.npz", a=np.zeros((2, 1)))
    for source in (tmp_path, {(epoch, "a"): np.zeros((2, 1))}):
        with pytest.raises(RunError, match=rf"beyond 2\*\*53 .*; got {epoch}"):
            open_run(source)
    with pytest.raises(RunError, match=rf"got {epoch}"):
        skinfo.save_run(tmp_path / "run", epoch, {"a": np.zeros((2, 1))})
    assert open_run({(2**53, "a"): np.zeros((2, 1))}).epochs == [2**53]


def test_a_layer_has_its_own_sigma_or_a_name(tmp_path):
    activations = {"a": np.zeros((3, 2)), "b": np.zeros((3, 2))}
    with pytest.raises(ValueError, match="a Layer has its own"):
        skinfo.save_run(
            tmp_path / "run", 1, activations, layers=[Layer("a", 0.5), Layer("b")], sigma=0.1
        )
    with pytest.raises(ValueError, match="list of layers"):
        skinfo.save_run(tmp_path / "run", 1, activations, layers="ab")


def test_what_is_not_there_has_no_shape(tmp_path):
    runs = [open_run({(2, "a"): np.zeros((3, 2))})]
    for fmt in ("npz", "zarr"):
        path = tmp_path / fmt
        RunWriter(path, [Layer("a")], format=fmt).add(2, {"a": np.zeros((3, 2))})
        runs.append(open_run(path))
    for run in runs:
        for look in (run.shape, run.nbytes, run.load):
            with pytest.raises(RunError, match="epoch 99: there is no such checkpoint"):
                look(99, "a")
            with pytest.raises(RunError, match="layer 'b': there is no such layer"):
                look(2, "b")


def test_shapes_are_known_without_reading(tmp_path):
    array = np.zeros((4, 3, 2), np.float32)
    RunWriter(tmp_path, [Layer("a")]).add(7, {"a": array})
    for run in (open_run(tmp_path), open_run({(7, "a"): array})):
        assert run.store.shape(7, "a") == ((4, 3, 2), np.dtype("float32"))
        assert run.nbytes(7, "a") == 96
        with pytest.raises(RunError, match="no such layer"):
            run.store.shape(7, "b")
    with pytest.raises(RunError, match="cannot be read"):
        open_run(tmp_path).store.shape(8, "a")
    file = next(tmp_path.glob("*.npz"))
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(RunError, match="damaged"):
        open_run(tmp_path).store.shape(7, "a")


@pytest.mark.parametrize("far", [2**53 + 1, -(2**53) - 1])
def test_whole_numbers_that_double_precision_merges_are_refused_when_read(make_run, far):
    made = {1: {"a": np.array([[far], [far + 1]])}, 2: {"a": np.array([[2**53], [-(2**53)]])}}
    run = make_run(made, [Layer("a", 0.1)])
    with pytest.raises(RunError, match="epoch 1, layer 'a': holds whole numbers beyond 2"):
        run.load(1, "a")
    assert run.load(2, "a").array.tolist() == [[2**53], [-(2**53)]]
    masked = np.ma.array([True, False], mask=[True, False])
    with pytest.raises(ValueError, match="subset holds masked values"):
        run.load(2, "a", subset=masked)
