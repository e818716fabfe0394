"""A run gives back what was written, wherever it lies, and what estimators need of it."""

import json
import platform

import numpy as np
import pytest

import skinfo
from skinfo.errors import RunError
from skinfo.runs import Layer, RunWriter, open_run

from .written import LABELS, LAYERS, N_INPUTS, N_REPLICAS, activations, write_run

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
            stored = run.load(epoch, name).array
            assert stored.dtype == array.dtype
            np.testing.assert_array_equal(stored, array)


def test_path_may_be_a_string(path):
    write_run(str(path))
    np.testing.assert_array_equal(open_run(str(path)).load(1, "out").array, activations(1)["out"])


def test_labels_may_be_words_and_missing(tmp_path):
    write_run(tmp_path / "words", labels=["cat", "dog", "dog", "cat"])
    assert open_run(tmp_path / "words").labels.tolist() == ["cat", "dog", "dog", "cat"]
    write_run(tmp_path / "none", labels=None)
    run = open_run(tmp_path / "none")
    assert run.labels is None
    assert run.load(1, "second").replicas().y is None
    assert run.load(1, "second").noisy_sample().y is None


def test_epochs_are_sorted_as_numbers(make_run):
    arrays = {epoch: {"a": np.full((2, 1), epoch)} for epoch in (100, 9, 20, 0, 123456789)}
    run = make_run(arrays, [Layer("a", 0.1)])
    assert run.epochs == [0, 9, 20, 100, 123456789]
    assert all(run.load(epoch, "a").array[0, 0] == epoch for epoch in run.epochs)


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
    assert sorted(file.name for file in path.glob("[!.]*")) == [
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
    assert type(losses) is dict  # as pandas wants it
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
            np.testing.assert_array_equal(
                disk.load(epoch, name).array, memory.load(epoch, name).array
            )
            for subset in (None, mask):
                assert_same(
                    disk.load(epoch, name, subset=subset).replicas(),
                    memory.load(epoch, name, subset=subset).replicas(),
                )
                assert_same(
                    disk.load(epoch, name, subset=subset).noisy_sample(random_state=4),
                    memory.load(epoch, name, subset=subset).noisy_sample(random_state=4),
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
    layers = [Layer("first", 0.1), Layer("a", 0.1, True)]
    run = make_run({1: {"first": S[:, 0], "a": S}}, layers, labels=LABELS)
    rows = run.load(1, "a").replicas()
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
    rows = run.load(1, "b").replicas()
    np.testing.assert_array_equal(rows.X, S)
    assert rows.groups.tolist() == groups
    assert rows.y.tolist() == [7, 5, 5, 5, 7, 7]
    kept = run.load(1, "b", subset=np.array([True, False, True, False])).replicas()
    assert kept.groups.tolist() == [2, 0, 0, 2]
    np.testing.assert_array_equal(kept.X, S[[0, 1, 3, 4]])
    assert kept.y.tolist() == [7, 5, 5, 7]
    one_each = run.load(1, "a").replicas()
    assert one_each.groups is None
    np.testing.assert_array_equal(one_each.y, LABELS)


def test_replicas_are_missing_only_behind_noise_with_one_row_per_input(make_run):
    layers = [Layer("a", 0.1), Layer("b", 0.1, True), Layer("c", 0.1, True), Layer("d", 0.1, True)]
    arrays = {
        "a": np.zeros((4, 2)),
        "b": np.zeros((4, 2)),
        "c": np.zeros((4, 2, 2)),
        "d": np.zeros((4, 1, 2)),
    }
    run = make_run({1: arrays}, layers, labels=LABELS)
    assert [run.load(1, name).replicas().replicas_missing for name in "abcd"] == [
        False, True, False, True,
    ]  # fmt: skip
    assert run.load(1, "b").replicas().groups is None
    assert run.load(1, "d").replicas().groups is None


# One noisy sample per input


def test_noisy_samples_are_the_first_replica_plus_noise_of_sigma(make_run):
    rng = np.random.default_rng(0)
    S = np.repeat(rng.standard_normal((4000, 1, 5)), 2, axis=1)
    run = make_run({1: {"a": S}}, [Layer("a", 0.3)], labels=np.arange(4000) % 3)
    sample = run.load(1, "a").noisy_sample()
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
    sample = run.load(1, "a").noisy_sample()
    np.testing.assert_array_equal(sample.X, S[[1, 5, 0, 2]])
    np.testing.assert_array_equal(sample.y, LABELS)


@pytest.mark.parametrize("groups", [[3, 1, 1], [2, 1, 1]])
def test_an_input_without_rows_is_left_out(make_run, groups):
    S = np.arange(6.0).reshape(3, 2)
    run = make_run({1: {"a": S}}, [Layer("a", 0.0)], labels=LABELS, groups=groups)
    sample = run.load(1, "a").noisy_sample()
    np.testing.assert_array_equal(sample.X, S[[1, 0]])
    np.testing.assert_array_equal(sample.y, LABELS[[1, groups[0]]])
    mask = np.array([True, True, False, False])
    kept = run.load(1, "a", subset=mask).noisy_sample()
    np.testing.assert_array_equal(kept.X, S[[1]])
    np.testing.assert_array_equal(kept.y, LABELS[[1]])
    np.testing.assert_array_equal(run.load(1, "a", subset=mask).replicas().X, S[1:])


@pytest.mark.parametrize("sigma", [0.0, None])
def test_without_noise_a_sample_is_the_stored_row(make_run, sigma):
    S = np.repeat(activations()["out"][:, :1], N_REPLICAS, axis=1)
    run = make_run({1: {"a": S}}, [Layer("a", sigma)], labels=LABELS)
    np.testing.assert_array_equal(run.load(1, "a").noisy_sample().X, S[:, 0])


def test_noise_of_samples_is_seeded_and_fresh_for_each_layer_and_epoch(make_run):
    zeros = {"a": np.zeros((50, 2)), "b": np.zeros((50, 2))}
    run = make_run({1: zeros, 2: zeros}, [Layer("a", 1.0), Layer("b", 1.0, True)])
    swapped = open_run({(1, name): zeros[name] for name in "ba"}, sigma=1.0)
    first = run.load(1, "a").noisy_sample(random_state=3).X
    for again in (run, swapped):
        np.testing.assert_array_equal(first, again.load(1, "a").noisy_sample(random_state=3).X)
    for other in (
        run.load(1, "a").noisy_sample(random_state=4).X,
        run.load(1, "a").noisy_sample(random_state=3, draw=1).X,
        run.load(2, "a").noisy_sample(random_state=3).X,
        run.load(1, "b").noisy_sample(random_state=3).X,
    ):
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.5


def test_a_subset_keeps_the_noise_of_its_inputs(make_run):
    run = make_run({1: activations()}, LAYERS, labels=LABELS)
    mask = np.array([False, True, True, False])
    every, part = run.load(1, "second"), run.load(1, "second", subset=mask)
    np.testing.assert_array_equal(part.array, every.array[mask])
    every, kept = every.noisy_sample(), part.noisy_sample()
    np.testing.assert_array_equal(kept.X, every.X[mask])
    np.testing.assert_array_equal(kept.y, LABELS[mask])
