import gc
import io
import json
import platform
import warnings
import zipfile

import numpy as np
import pytest

import skinfo
from skinfo.errors import RunError
from skinfo.files import write_atomically
from skinfo.runs import Layer, RunWriter, open_run

LAYERS = [Layer("first", 0.1), Layer("second", 0.2, noise_before=True), Layer("out", 0.0, True)]
LABELS = np.array([5, 7, 7, 5])
N_INPUTS, N_REPLICAS = 4, 3


def activations(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "first": rng.standard_normal((N_INPUTS, 5)),
        "second": rng.standard_normal((N_INPUTS, N_REPLICAS, 2)),
        "out": rng.standard_normal((N_INPUTS, N_REPLICAS, 3)).astype(np.float32),
    }


def write_run(path, arrays=None, layers=LAYERS, *, labels=LABELS, **options):
    """Write arrays by epoch; by default two checkpoints of three layers."""
    arrays = {1: activations(1), 20: activations(20)} if arrays is None else arrays
    writer = RunWriter(path, layers, labels=labels, **options)
    for epoch, layer_arrays in arrays.items():
        writer.add(epoch, layer_arrays)
    return writer


def write_checkpoint(path, epoch, **members):
    """Put a .npz there that RunWriter would not write."""
    np.savez(path / f"epoch_{epoch:08d}.npz", **members)


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


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run"


@pytest.fixture(params=["directory", "memory"])
def make_run(request, path):
    """Make a run of layers, arrays by epoch, labels and groups in either way."""

    def make(arrays, layers, labels=None, groups=None):
        if request.param == "directory":
            # The files as such: what the writer would refuse, others may have written.
            write_run(path, {}, layers, labels=labels, groups=groups)
            for epoch, members in arrays.items():
                write_checkpoint(path, epoch, **members)
            return open_run(path)
        return open_run(
            {(epoch, name): array for epoch, by in arrays.items() for name, array in by.items()},
            labels=labels,
            groups=groups,
            sigma={layer.name: layer.sigma for layer in layers if layer.sigma is not None},
            layers=[layer.name for layer in layers],
        )

    return make


# Round trip


def test_what_is_written_is_read(path):
    write_run(path, train=[0, 2], seed=11, settings={"activation": "tanh"})
    run = open_run(path)
    assert run.layers == tuple(LAYERS)
    assert run.epochs == [1, 20]
    np.testing.assert_array_equal(run.labels, LABELS)
    assert run.groups is None
    assert run.train.tolist() == [True, False, True, False]
    assert (run.seed, run.settings, run.name) == (11, {"activation": "tanh"}, str(path))
    for epoch in run.epochs:
        for name, array in activations(epoch).items():
            stored = run.array(epoch, name)
            assert stored.dtype == array.dtype
            np.testing.assert_array_equal(stored, array)


def test_path_may_be_a_string(path):
    write_run(str(path))
    np.testing.assert_array_equal(open_run(str(path)).array(1, "out"), activations(1)["out"])


def test_labels_may_be_words_and_missing(tmp_path):
    write_run(tmp_path / "words", labels=["cat", "dog", "dog", "cat"])
    assert open_run(tmp_path / "words").labels.tolist() == ["cat", "dog", "dog", "cat"]
    write_run(tmp_path / "none", labels=None)
    run = open_run(tmp_path / "none")
    assert run.labels is None
    assert run.replicas(1, "second").y is None
    assert run.noisy_samples(1, "second").y is None


def test_epochs_are_sorted_as_numbers(make_run):
    arrays = {epoch: {"a": np.full((2, 1), epoch)} for epoch in (100, 9, 20, 0, 123456789)}
    run = make_run(arrays, [Layer("a", 0.1)])
    assert run.epochs == [0, 9, 20, 100, 123456789]
    assert all(run.array(epoch, "a")[0, 0] == epoch for epoch in run.epochs)


def test_an_epoch_written_again_is_replaced(path):
    writer = write_run(path)
    writer.add(1, activations(99))
    assert open_run(path).epochs == [1, 20]
    np.testing.assert_array_equal(open_run(path).array(1, "first"), activations(99)["first"])


def test_an_open_run_sees_checkpoints_that_arrive(path):
    writer = write_run(path)
    run = open_run(path)
    writer.add(300, activations(300))
    assert run.epochs == [1, 20, 300]
    np.testing.assert_array_equal(run.array(300, "second"), activations(300)["second"])


def test_run_json_describes_the_run(path):
    write_run(path, train=np.array([3, 1]), seed=7, settings={"epochs": 20})
    there = json.loads((path / "run.json").read_text(encoding="utf-8"))
    assert there["schema"] == 1
    assert there["layers"] == [
        {"name": "first", "sigma": 0.1, "noise_before": False},
        {"name": "second", "sigma": 0.2, "noise_before": True},
        {"name": "out", "sigma": 0.0, "noise_before": True},
    ]
    assert (there["train"], there["seed"], there["settings"]) == ([3, 1], 7, {"epochs": 20})
    assert there["versions"]["python"] == platform.python_version()
    assert there["versions"]["numpy"] == np.__version__
    assert there["versions"]["skinfo"] == skinfo.__version__


def test_a_run_is_the_files_the_format_names(path):
    write_run(path, groups=[0, 0, 1, 1, 2, 2, 3, 3])
    assert sorted(file.name for file in path.iterdir()) == [
        "epoch_00000001.npz", "epoch_00000020.npz", "groups.npy", "labels.npy", "run.json",
    ]  # fmt: skip
    with np.load(path / "epoch_00000020.npz", allow_pickle=False) as archive:
        assert sorted(archive.files) == ["first", "out", "second"]


def test_losses_are_kept_by_epoch(path):
    writer = RunWriter(path, LAYERS, labels=LABELS)
    writer.add(3, activations(), losses={"train_loss": np.float32(0.5), "test_loss": 1})
    writer.add(12, activations())
    writer.add(13, activations(), losses={"train_loss": float("nan")})
    losses = open_run(path).losses
    assert list(losses) == [3, 13]
    assert losses[3] == {"train_loss": 0.5, "test_loss": 1.0}
    assert np.isnan(losses[13]["train_loss"])


# One object, wherever the arrays are


def test_directory_and_memory_give_the_same(path):
    write_run(path)
    disk = open_run(path)
    memory = open_run(
        {(e, name): array for e in (1, 20) for name, array in activations(e).items()},
        labels=LABELS, sigma={"first": 0.1, "second": 0.2, "out": 0.0},
    )  # fmt: skip
    assert disk.layers == memory.layers
    assert disk.epochs == memory.epochs
    mask = np.array([True, False, True, True])
    for epoch in disk.epochs:
        for name in ("first", "second", "out"):
            np.testing.assert_array_equal(disk.array(epoch, name), memory.array(epoch, name))
            for subset in (None, mask):
                assert_same(
                    disk.replicas(epoch, name, subset=subset),
                    memory.replicas(epoch, name, subset=subset),
                )
                assert_same(
                    disk.noisy_samples(epoch, name, seed=4, subset=subset),
                    memory.noisy_samples(epoch, name, seed=4, subset=subset),
                )


def assert_same(one, other):
    for name in ("X", "y", "groups"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.replicas_missing == other.replicas_missing


def test_memory_layers_come_in_the_order_given():
    arrays = {(1, name): np.zeros((2, 1)) for name in "bca"}
    assert [layer.name for layer in open_run(arrays).layers] == ["b", "c", "a"]
    run = open_run(arrays, layers=["a", "b", "c"], sigma={"b": 0.3})
    assert run.layers == (
        Layer("a", None, False), Layer("b", 0.3, False), Layer("c", None, True),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("sigma", "noise_before"),
    [
        (0.1, [False, True, True]),
        (0.0, [False, False, False]),
        (None, [False, False, False]),
        ({"b": 0.1}, [False, False, True]),
        ({"a": 0.0, "c": 0.1}, [False, False, False]),
        ({"a": 0.1, "b": 0.0}, [False, True, True]),
    ],
)
def test_in_memory_noise_precedes_all_after_the_first_noisy_layer(sigma, noise_before):
    run = open_run({(1, name): np.zeros((2, 1)) for name in "abc"}, sigma=sigma)
    assert [layer.noise_before for layer in run.layers] == noise_before


def test_a_directory_describes_itself(path):
    write_run(path)
    same = {"labels": list(LABELS), "sigma": {"first": 0.1}, "layers": ["first", "second", "out"]}
    assert open_run(path, **same).layers == tuple(LAYERS)
    for option in (
        {"labels": LABELS + 1}, {"sigma": 0.1}, {"sigma": {"out": 0.1}}, {"layers": ["first"]},
    ):  # fmt: skip
        with pytest.raises(RunError, match=f"describes itself, and its {next(iter(option))}.*diff"):
            open_run(path, **option)


# Replicas


def test_three_dimensions_unfold_to_groups(make_run):
    S = activations()["second"]
    rows = make_run({1: {"a": S}}, [Layer("a", 0.1)], labels=LABELS).replicas(1, "a")
    assert rows.X.shape == (N_INPUTS * N_REPLICAS, 2)
    assert rows.groups.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    np.testing.assert_array_equal(rows.y, LABELS[rows.groups])
    for row, group in enumerate(rows.groups):
        np.testing.assert_array_equal(rows.X[row], S[group, row % N_REPLICAS])


def test_groups_say_which_input_a_row_is_of(make_run):
    groups = [2, 0, 3, 0, 2, 1]
    S = np.arange(12.0).reshape(6, 2)
    layers = [Layer("a", 0.1), Layer("b", 0.1, True)]
    arrays = {1: {"a": S[:4], "b": S}}
    run = make_run(arrays, layers, labels=LABELS, groups=groups)
    rows = run.replicas(1, "b")
    np.testing.assert_array_equal(rows.X, S)
    assert rows.groups.tolist() == groups
    assert rows.y.tolist() == [7, 5, 5, 5, 7, 7]
    kept = run.replicas(1, "b", subset=np.array([True, False, True, False]))
    assert kept.groups.tolist() == [2, 0, 0, 2]
    np.testing.assert_array_equal(kept.X, S[[0, 1, 3, 4]])
    assert kept.y.tolist() == [7, 5, 5, 7]
    one_each = run.replicas(1, "a")
    assert one_each.groups is None
    np.testing.assert_array_equal(one_each.y, LABELS)


def test_replicas_are_missing_only_behind_noise_with_one_row_an_input(make_run):
    layers = [Layer("a", 0.1), Layer("b", 0.1, True), Layer("c", 0.1, True), Layer("d", 0.1, True)]
    arrays = {
        "a": np.zeros((4, 2)),
        "b": np.zeros((4, 2)),
        "c": np.zeros((4, 2, 2)),
        "d": np.zeros((4, 1, 2)),
    }
    run = make_run({1: arrays}, layers, labels=LABELS)
    assert [run.replicas(1, name).replicas_missing for name in "abcd"] == [
        False, True, False, True,
    ]  # fmt: skip
    assert run.replicas(1, "b").groups is None
    assert run.replicas(1, "d").groups is None


# One noisy sample an input


def test_noisy_samples_are_the_first_replica_plus_noise_of_sigma(make_run):
    rng = np.random.default_rng(0)
    S = rng.standard_normal((4000, 2, 5))
    run = make_run({1: {"a": S}}, [Layer("a", 0.3)], labels=np.arange(4000) % 3)
    sample = run.noisy_samples(1, "a")
    assert sample.X.shape == (4000, 5)
    assert sample.groups is None
    assert not sample.replicas_missing
    np.testing.assert_array_equal(sample.y, np.arange(4000) % 3)
    noise = sample.X - S[:, 0]
    # 20,000 draws: five standard errors.
    assert noise.std() == pytest.approx(0.3, abs=5 * 0.3 / np.sqrt(40_000))
    assert noise.mean() == pytest.approx(0.0, abs=5 * 0.3 / np.sqrt(20_000))
    np.testing.assert_allclose(np.corrcoef(noise.T), np.eye(5), atol=0.08)


def test_noisy_samples_take_the_first_row_of_each_group(make_run):
    groups = [2, 0, 3, 0, 2, 1]
    S = np.arange(12.0).reshape(6, 2)
    run = make_run({1: {"a": S}}, [Layer("a", 0.0)], labels=LABELS, groups=groups)
    sample = run.noisy_samples(1, "a")
    np.testing.assert_array_equal(sample.X, S[[1, 5, 0, 2]])
    np.testing.assert_array_equal(sample.y, LABELS)


@pytest.mark.parametrize("groups", [[3, 1, 1], [2, 1, 1]])
def test_an_input_without_rows_is_left_out(make_run, groups):
    S = np.arange(6.0).reshape(3, 2)
    run = make_run({1: {"a": S}}, [Layer("a", 0.0)], labels=LABELS, groups=groups)
    sample = run.noisy_samples(1, "a")
    np.testing.assert_array_equal(sample.X, S[[1, 0]])
    np.testing.assert_array_equal(sample.y, LABELS[[1, groups[0]]])
    mask = np.array([True, True, False, False])
    kept = run.noisy_samples(1, "a", subset=mask)
    np.testing.assert_array_equal(kept.X, S[[1]])
    np.testing.assert_array_equal(kept.y, LABELS[[1]])
    np.testing.assert_array_equal(run.replicas(1, "a", subset=mask).X, S[1:])


@pytest.mark.parametrize("sigma", [0.0, None])
def test_without_noise_a_sample_is_the_stored_row(make_run, sigma):
    S = np.repeat(activations()["out"][:, :1], N_REPLICAS, axis=1)
    run = make_run({1: {"a": S}}, [Layer("a", sigma)], labels=LABELS)
    np.testing.assert_array_equal(run.noisy_samples(1, "a").X, S[:, 0])


def test_noise_of_samples_is_seeded_and_fresh_for_each_layer_and_epoch(make_run):
    zeros = {"a": np.zeros((50, 2)), "b": np.zeros((50, 2))}
    run = make_run({1: zeros, 2: zeros}, [Layer("a", 1.0), Layer("b", 1.0, True)])
    first = run.noisy_samples(1, "a", seed=3).X
    np.testing.assert_array_equal(first, run.noisy_samples(1, "a", seed=3).X)
    for other in (
        run.noisy_samples(1, "a", seed=4).X,
        run.noisy_samples(2, "a", seed=3).X,
        run.noisy_samples(1, "b", seed=3).X,
    ):
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.5


def test_a_subset_keeps_the_noise_of_its_inputs(make_run):
    run = make_run({1: activations()}, LAYERS, labels=LABELS)
    mask = np.array([False, True, True, False])
    every, kept = run.noisy_samples(1, "second"), run.noisy_samples(1, "second", subset=mask)
    np.testing.assert_array_equal(kept.X, every.X[mask])
    np.testing.assert_array_equal(kept.y, LABELS[mask])


# Reading is lazy


def test_a_good_layer_is_read_beside_a_corrupt_one(path):
    write_run(path)
    corrupt_member(path / "epoch_00000001.npz", "second")
    run = open_run(path)
    np.testing.assert_array_equal(run.array(1, "first"), activations(1)["first"])
    np.testing.assert_array_equal(run.array(1, "out"), activations(1)["out"])
    with pytest.raises(RunError, match=r"epoch_00000001\.npz, epoch 1, layer 'second': cannot"):
        run.array(1, "second")


def test_opening_reads_no_checkpoint(path):
    write_run(path)
    for file in path.glob("epoch_*.npz"):
        file.write_bytes(b"no archive")
    run = open_run(path)
    assert run.epochs == [1, 20]
    assert run.layers == tuple(LAYERS)
    with pytest.raises(RunError, match=r"epoch_00000020\.npz"):
        run.replicas(20, "first")


def test_one_bad_checkpoint_leaves_the_others(path):
    write_run(path)
    (path / "epoch_00000001.npz").write_bytes(b"")
    np.testing.assert_array_equal(open_run(path).array(20, "first"), activations(20)["first"])


# Files that cannot be read


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_checkpoint_is_named(path, keep):
    write_run(path)
    file = path / "epoch_00000020.npz"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(RunError, match=r"epoch_00000020\.npz.*damaged or cut short"):
        open_run(path).array(20, "first")


def test_an_unreadable_checkpoint_is_closed_again(path):
    write_run(path)
    file = path / "epoch_00000020.npz"
    file.write_bytes(file.read_bytes()[:100])
    run = open_run(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(RunError):
            run.array(20, "first")
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
            if not np.array_equal(run.array(1, "b"), -S):
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
        open_run(path).array(1, "a")
    np.save(path / "labels.npy", objects[0], allow_pickle=True)
    with pytest.raises(RunError, match=r"labels\.npy: holds Python objects"):
        open_run(path)


def test_python_objects_are_never_written(path):
    writer = RunWriter(path, [Layer("a", 0.1)])
    with pytest.raises(ValueError, match="[Oo]bject"):
        writer.add(1, {"a": np.array([[None]])})
    assert writer.epochs() == []
    assert [file.name for file in path.iterdir()] == ["run.json"]


@pytest.mark.parametrize("values", [np.array([["1"]]), np.array([[1j]]), np.array([[True]])])
def test_what_is_no_number_is_refused(make_run, values):
    run = make_run({1: {"a": values}}, [Layer("a", 0.1)])
    with pytest.raises(RunError, match="epoch 1, layer 'a': holds .* where numbers are expected"):
        run.array(1, "a")


def test_objects_in_memory_are_refused():
    with pytest.raises(RunError, match="holds object where numbers are expected"):
        open_run({(1, "a"): [[None, 1.0]]}).array(1, "a")


# What is not there


def test_a_missing_layer_lists_those_there_are(make_run):
    run = make_run({1: activations()}, LAYERS, labels=LABELS)
    for read in (run.array, run.replicas, run.noisy_samples):
        with pytest.raises(RunError, match=r"layer 'third'.*this run has: first, second, out"):
            read(1, "third")


def test_a_layer_missing_from_one_checkpoint_lists_those_it_has(path):
    write_run(path)
    members = activations()
    del members["second"]
    write_checkpoint(path, 20, **members)
    run = open_run(path)
    with pytest.raises(RunError, match=r"20\.npz, epoch 20, layer 'second'.*has: first, out"):
        run.array(20, "second")
    assert run.array(1, "second").shape == (N_INPUTS, N_REPLICAS, 2)


def test_a_layer_missing_from_one_epoch_in_memory_lists_those_it_has():
    S = np.zeros((2, 1))
    run = open_run({(1, "a"): S, (1, "b"): S, (2, "a"): S})
    with pytest.raises(RunError, match=r"epoch 2, layer 'b'.*it has: a$"):
        run.array(2, "b")


def test_a_missing_epoch_lists_those_there_are(make_run):
    run = make_run({1: activations(), 20: activations()}, LAYERS, labels=LABELS)
    with pytest.raises(RunError, match=r"epoch 7: .*this run has: 1, 20"):
        run.array(7, "first")


def test_what_is_no_run_is_said_so(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("{}")
    for name in ("empty", "file", "nowhere"):
        with pytest.raises(RunError, match=f"{name}: there is no run here"):
            open_run(tmp_path / name)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"schema": 1, "layers": [',
        "[]",
        "null",
        "{}",
        '{"schema": 1}',
        '{"schema": "one", "layers": []}',
        '{"schema": 1, "layers": ["first"]}',
        '{"schema": 1, "layers": [{"name": "a", "colour": "red"}]}',
        '{"schema": 1, "layers": [], "losses": {"first": {}}}',
        '{"schema": 1, "layers": [], "losses": []}',
    ],
)
def test_a_bad_description_is_named(path, text):
    path.mkdir()
    (path / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"run\.json.*no description of a run"):
        open_run(path)


def test_a_description_of_other_bytes_is_named(path):
    path.mkdir()
    (path / "run.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RunError, match=r"run\.json"):
        open_run(path)


def test_a_newer_schema_asks_for_a_newer_skinfo(path):
    write_run(path)
    edit_description(path, schema=3)
    with pytest.raises(RunError, match=r"run\.json: written with schema 3.*newer skinfo"):
        open_run(path)


# What does not fit together


@pytest.mark.parametrize("groups", [[0, 4], [-1, 0]])
def test_groups_out_of_range_are_refused(make_run, groups):
    with pytest.raises(RunError, match="groups index the 4 labels; found"):
        make_run({1: {"a": np.zeros((2, 1))}}, [Layer("a", 0.1)], labels=LABELS, groups=groups)


@pytest.mark.parametrize("labels", [LABELS, None], ids=["labels", "none"])
@pytest.mark.parametrize("groups", [[0.0, 1.0], [[0, 1]], ["0", "1"]])
def test_groups_are_one_integer_a_row(make_run, labels, groups):
    with pytest.raises(RunError, match="groups must be one integer a row"):
        make_run({1: {"a": np.zeros((2, 1))}}, [Layer("a", 0.1)], labels=labels, groups=groups)


def test_a_subset_of_another_number_of_inputs_is_refused(make_run):
    run = make_run({1: activations()}, LAYERS, labels=LABELS)
    for name in ("first", "second"):
        for read in (run.replicas, run.noisy_samples):
            for n in (3, 5):
                with pytest.raises(ValueError, match="mask"):
                    read(1, name, subset=np.ones(n, dtype=bool))


def test_a_subset_of_rows_is_named_as_in_a_sweep():
    arrays = {(1, "a"): np.arange(8.0).reshape(4, 2)}
    run = open_run(arrays, labels=LABELS, train=[0, 2], sigma=0.0)
    for read in (run.replicas, run.noisy_samples):
        np.testing.assert_array_equal(read(1, "a", subset="train").X, arrays[1, "a"][[0, 2]])
        np.testing.assert_array_equal(read(1, "a", subset="test").X, arrays[1, "a"][[1, 3]])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused_with_its_place(make_run, bad):
    S = np.zeros((4, 2, 3))
    S[2, 1, 0] = bad
    run = make_run({1: {"a": S}}, [Layer("a", 0.1)], labels=LABELS)
    with pytest.raises(RunError, match=r"epoch 1, layer 'a': holds NaN or infinity.*2, 1, 0"):
        run.replicas(1, "a")


@pytest.mark.parametrize("shape", [(3, 2), (12, 2), (3, 4, 2)])
def test_arrays_of_another_number_of_inputs_are_refused(make_run, shape):
    arrays = {1: {"a": np.zeros(shape)}}
    for read in ("replicas", "noisy_samples"):
        with pytest.raises(
            RunError, match="epoch 1, layer 'a': 4 labels, one an input, for .+ rows"
        ):
            # In memory already when the run is opened.
            getattr(make_run(arrays, [Layer("a", 0.1)], labels=LABELS), read)(1, "a")


def test_rows_that_fit_neither_labels_nor_groups_are_refused(make_run):
    rows, groups = {1: {"a": np.zeros((5, 2))}}, [0, 0, 1, 1, 2, 3]
    with pytest.raises(RunError, match="4 labels, one an input, and 6 groups, one a row"):
        make_run(rows, [Layer("a", 0.1)], labels=LABELS, groups=groups).replicas(1, "a")


def test_rows_that_fit_no_groups_are_refused_without_labels(make_run):
    rows = {1: {"a": np.zeros((7, 2))}}
    with pytest.raises(RunError, match="4 groups, one a row, of 2 inputs, for 7 rows"):
        make_run(rows, [Layer("a", 0.1)], groups=[0, 0, 1, 1]).replicas(1, "a")


@pytest.mark.parametrize("shape", [(4,), (4, 0), (0, 4), (4, 3, 0, 2)])
def test_what_holds_no_units_of_inputs_is_refused(make_run, shape):
    run = make_run({1: {"a": np.zeros(shape)}}, [Layer("a", 0.1)], labels=LABELS)
    with pytest.raises(RunError, match="epoch 1, layer 'a': has shape .*expected .*n_units"):
        run.replicas(1, "a")


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


@pytest.mark.parametrize(
    "options",
    [
        {"labels": None, "train": [0, 1]},
        {"train": [0, 4]},
        {"train": [True, False, False, True]},
        {"groups": [0, 1, 2, 4]},
        {"groups": [0.5, 1.0]},
        {"labels": [None, 1, 2, 3]},
    ],
    ids=str,
)
def test_a_run_that_could_not_be_opened_is_refused_before_it_is_written(path, options):
    with pytest.raises(RunError):
        write_run(path, {}, **({"labels": LABELS} | options))
    assert not (path / "run.json").exists()


# Writing


@pytest.mark.parametrize("names", [["first"], ["first", "second", "out", "fourth"], []])
def test_a_checkpoint_has_all_the_layers(path, names):
    writer = write_run(path)
    with pytest.raises(RunError, match="epoch 30: expected the layers .*first.*out.*second"):
        writer.add(30, {name: np.zeros((4, 2)) for name in names})
    assert writer.epochs() == [1, 20]


def test_a_negative_epoch_is_refused_not_lost(path):
    writer = write_run(path)
    with pytest.raises(ValueError, match="epoch"):
        writer.add(-1, activations())
    assert open_run(path).epochs == [1, 20]


class Unwritable:
    """Stands for an array on a disk that fails when it is read."""

    def __array__(self, dtype=None, copy=None):
        raise OSError("the disk is gone")


def test_a_checkpoint_that_fails_leaves_the_old_one_alone(path):
    writer = write_run(path)
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    for epoch in (20, 30):
        with pytest.raises(OSError, match="the disk is gone"):
            writer.add(epoch, activations(3) | {"out": Unwritable()}, losses={"loss": 1.0})
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_write_that_fails_changes_nothing(tmp_path, old, error):
    file = tmp_path / "table"
    if old is not None:
        file.write_bytes(old)

    def write():
        with write_atomically(file) as stream:
            stream.write(b"half of the new")
            stream.flush()
            raise error

    with pytest.raises(error):
        write()
    assert [(f.name, f.read_bytes()) for f in tmp_path.iterdir()] == (
        [] if old is None else [("table", old)]
    )


def test_a_write_is_seen_only_when_it_is_complete(tmp_path):
    file = tmp_path / "table"
    file.write_bytes(b"old")
    with write_atomically(file) as stream:
        stream.write(b"new")
        stream.flush()
        assert file.read_bytes() == b"old"
    assert file.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [file]


def test_a_file_has_the_usual_permissions(tmp_path):
    with write_atomically(tmp_path / "atomic"):
        pass
    (tmp_path / "usual").touch()
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_a_file_left_by_a_killed_writer_is_no_checkpoint(path):
    write_run(path)
    (path / ".epoch_00000030.npz.x8k2").write_bytes(b"half")
    assert open_run(path).epochs == [1, 20]


def test_memory_mapped_arrays_are_written(path, tmp_path):
    np.save(tmp_path / "S.npy", activations()["first"])
    mapped = np.load(tmp_path / "S.npy", mmap_mode="r")
    write_run(path, {1: {"a": mapped}}, [Layer("a", 0.1)])
    np.testing.assert_array_equal(open_run(path).array(1, "a"), mapped)
    write_run(path, {2: {"a": mapped[::-1, ::-1]}}, [Layer("a", 0.1)])
    np.testing.assert_array_equal(open_run(path).array(2, "a"), mapped[::-1, ::-1])


# Continuing a run


def test_a_run_with_the_same_settings_is_continued(path):
    options = {"train": np.array([0, 1]), "seed": 2, "settings": {"rates": (0.1, 0.2)}}
    writer = RunWriter(path, LAYERS, labels=LABELS, **options)
    writer.add(1, activations(1), losses={"train_loss": 0.5})
    again = RunWriter(path, LAYERS, labels=list(LABELS), **options)
    assert again.epochs() == [1]
    again.add(2, activations(2), losses={"train_loss": 0.25})
    run = open_run(path)
    assert run.losses == {1: {"train_loss": 0.5}, 2: {"train_loss": 0.25}}
    for epoch in (1, 2):
        np.testing.assert_array_equal(run.array(epoch, "out"), activations(epoch)["out"])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"layers": LAYERS[::-1]}, "layers"),
        ({"layers": [Layer("first", 0.11), *LAYERS[1:]]}, "layers"),
        ({"train": [0, 2]}, "train"),
        ({"train": None}, "train"),
        ({"seed": 3}, "seed"),
        ({"settings": {"epochs": 11}}, "settings"),
        ({"labels": [5, 5, 7, 7]}, "labels"),
        ({"labels": [5, 7, 7, 5, 5]}, "labels"),
        ({"groups": [0, 1, 1, 0, 2, 3]}, "groups"),
        ({"groups": None}, "groups"),
    ],
    ids=lambda value: str(value) if isinstance(value, str) else "-".join(value),
)
def test_a_run_with_other_settings_is_an_error(path, change, named):
    options = {
        "layers": LAYERS, "labels": LABELS, "groups": [0, 0, 1, 1, 2, 3], "train": [0, 1],
        "seed": 2, "settings": {"epochs": 10},
    }  # fmt: skip
    RunWriter(path, **options).add(1, activations())
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    with pytest.raises(RunError, match=f"another run is there already: its {named} differ"):
        RunWriter(path, **(options | change))
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_a_run_without_labels_is_another_run(path):
    write_run(path, labels=None)
    with pytest.raises(RunError, match="its labels differ"):
        RunWriter(path, LAYERS, labels=LABELS)


def test_a_damaged_run_is_not_continued(path):
    write_run(path)
    (path / "run.json").write_text("{")
    with pytest.raises(RunError, match=r"run\.json"):
        write_run(path)


def test_numbers_of_numpy_describe_a_run(path):
    layers = [Layer("a", np.float32(0.5))]
    writer = RunWriter(path, layers, seed=np.int64(3), settings={"width": np.float32(0.25)})
    writer.add(np.int64(4), {"a": np.zeros((2, 1))}, losses={"loss": np.float32(0.5)})
    run = open_run(path)
    assert (run.seed, run.layers, run.settings) == (3, (Layer("a", 0.5),), {"width": 0.25})
    assert run.losses == {4: {"loss": 0.5}}


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
        open_run(path).array(1, "a")


@pytest.mark.parametrize("shape", [(5, 2), (5, 2, 3, 3), (4,), (5, 2, 2)])
def test_what_does_not_fit_is_refused_before_it_is_written(path, shape):
    writer = write_run(path, {}, [Layer("a", 0.1)], labels=LABELS)
    with pytest.raises(RunError, match="epoch 3, layer 'a'"):
        writer.add(3, {"a": np.zeros(shape)})
    assert writer.epochs() == []


def test_one_label_a_row_is_no_label_an_input():
    with pytest.raises(RunError, match="one label an input"):
        open_run({(1, "a"): np.zeros((4, 2))}, labels=[0, 0, 1, 1], groups=[0, 0, 1, 1])


@pytest.mark.parametrize("key", [(1.5, "a"), ("a", 1), "a", (1, "a", 2)])
def test_keys_are_epoch_and_layer(key):
    with pytest.raises(RunError, match="keyed by"):
        open_run({key: np.zeros((2, 1))})


def test_a_checkpoint_that_was_deleted_is_missed(path):
    writer = write_run(path)
    writer.add(30, activations(3), losses={"loss": 1.0})
    (path / "epoch_00000030.npz").unlink()
    run = open_run(path)
    assert run.lost_epochs == [30]
    assert repr(run) == f"Run({str(path)!r}, layers: first, second, out, 2 checkpoints)"


def test_a_layer_has_its_own_sigma_or_a_name(tmp_path):
    activations = {"a": np.zeros((3, 2)), "b": np.zeros((3, 2))}
    with pytest.raises(ValueError, match="a Layer has its own"):
        skinfo.save_run(
            tmp_path / "run", 1, activations, layers=[Layer("a", 0.5), Layer("b")], sigma=0.1
        )
    with pytest.raises(ValueError, match="list of layers"):
        skinfo.save_run(tmp_path / "run", 1, activations, layers="ab")


def test_what_is_not_there_has_no_shape(tmp_path):
    runs = [open_run({"a": np.zeros((1, 3, 2))}, epochs=[2])]
    for suffix in ("", ".h5", ".zarr"):
        path = tmp_path / f"run{suffix}"
        RunWriter(path, [Layer("a")]).add(2, {"a": np.zeros((3, 2))})
        runs.append(open_run(path))
    for run in runs:
        for look in (run.shape, run.nbytes, run.array):
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
