"""What the picture of a run shows beside its table."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from skinfo import ClusteringScore, open_run
from skinfo.flow.snapshots import DRAWN_CELLS, coarsen, collect_snapshots, pick_snapshots
from skinfo.runs import Layer, Run, RunWriter

from small_runs import EPOCHS, LABELS, arrays, broken_run


@pytest.fixture(scope="module")
def run():
    return open_run(arrays(), labels=LABELS, sigma=0.5)


@pytest.fixture(scope="module")
def snapshots(run):
    return collect_snapshots(run)


def test_value_counts_count_every_activation_of_every_input(snapshots):
    assert snapshots.layers == ["0", "2"]
    assert snapshots.epochs.tolist() == list(EPOCHS)
    assert snapshots.value_counts.shape == (2, len(EPOCHS), DRAWN_CELLS)
    np.testing.assert_array_equal(snapshots.value_counts[0].sum(axis=1), 20 * 4)
    np.testing.assert_array_equal(snapshots.value_counts[1].sum(axis=1), 20 * 3)


def test_value_counts_are_the_histogram_of_noisy_samples(run, snapshots):
    assert snapshots.value_edges.shape == (2, DRAWN_CELLS + 1)
    for place, layer in enumerate(["0", "2"]):
        samples = np.array([run.load(epoch, layer).noisy_sample().X for epoch in EPOCHS])
        edges = snapshots.value_edges[place]
        assert (edges[0], edges[-1]) == (samples.min(), samples.max())
        for k, sample in enumerate(samples):
            np.testing.assert_array_equal(snapshots.value_counts[place, k],
                                          np.histogram(sample, edges)[0])  # fmt: skip


def test_value_counts_of_a_constant_layer_are_all_in_one_cell():
    snapshots = collect_snapshots(open_run({(1, "dead"): np.full((6, 2), 3.0)}, sigma=0.0))
    assert snapshots.value_counts.sum() == 12
    assert np.count_nonzero(snapshots.value_counts) == 1


def test_value_counts_count_a_subset_only(run):
    snapshots = collect_snapshots(run, subset=np.arange(20) < 8)
    np.testing.assert_array_equal(snapshots.value_counts.sum(axis=2), [[32] * 6, [24] * 6])
    assert snapshots.scatter.shape[1:] == (8, 3)


def test_snapshots_of_a_part_of_the_split_is_that_of_its_mask():
    arrays = {(1, "a"): np.random.RandomState(0).randn(6, 2)}
    run = open_run(arrays, labels=[0, 1] * 3, train=[0, 1, 4], sigma=0.1)
    named = collect_snapshots(run, subset="test")
    np.testing.assert_array_equal(
        named.value_counts, collect_snapshots(run, subset=~run.train).value_counts
    )
    assert named.value_counts.sum() == 6


@pytest.mark.parametrize("labels", [None, [0, 1] * 3], ids=["unlabelled", "labelled"])
@pytest.mark.parametrize("subset", [np.ones(5, dtype=bool), "train", "half"])
def test_snapshots_of_inputs_that_the_run_does_not_have_is_refused(labels, subset):
    run = open_run({(1, "a"): np.zeros((6, 2))}, labels=labels)
    with pytest.raises(ValueError, match=r"5 entries for 6|does not say|subset is"):
        collect_snapshots(run, subset=subset)


def test_distances_are_those_of_noisy_samples_within_and_between(run, snapshots):
    n_pairs = 20 * 19 / 2
    assert snapshots.within.shape == snapshots.between.shape == (2, 4, DRAWN_CELLS)
    np.testing.assert_allclose((snapshots.within + snapshots.between).sum(axis=2), n_pairs)
    for place, layer in enumerate(["0", "2"]):
        for k, epoch in enumerate(snapshots.snapshot_epochs):
            edges = snapshots.distance_edges[place, k]
            distances = squareform(pdist(run.load(epoch, layer).noisy_sample().X))
            i, j = np.triu_indices(20, 1)
            same = LABELS[i] == LABELS[j]
            for kept, counts in ((same, snapshots.within), (~same, snapshots.between)):
                expected = np.histogram(distances[i, j][kept], edges)[0]
                np.testing.assert_allclose(counts[place, k], expected)


def test_distances_are_those_of_the_clustering_score(run, snapshots):
    fitted = ClusteringScore().fit(run.load(300, "2").noisy_sample().X, LABELS)
    edges, within, between = coarsen(
        fitted.distance_edges_, fitted.within_histogram_, fitted.between_histogram_
    )
    np.testing.assert_array_equal(snapshots.within[1, -1], within)
    np.testing.assert_array_equal(snapshots.between[1, -1], between)
    np.testing.assert_array_equal(snapshots.distance_edges[1, -1], edges)


@pytest.mark.parametrize("n_units", [1, 2, 3, 5])
def test_scatter_holds_the_units_of_the_last_layer(n_units):
    made = arrays((4, n_units), epochs=(1, 2))
    run = open_run(made, labels=LABELS, sigma=0.0, axes="nrc")
    snapshots = collect_snapshots(run)
    assert snapshots.scatter.shape == (2, 20, n_units)
    for k, epoch in enumerate((1, 2)):
        np.testing.assert_array_equal(snapshots.scatter[k], made[epoch, "2"][:, 0])
    np.testing.assert_array_equal(snapshots.scatter_labels, LABELS)


def test_scatter_is_a_sample_with_its_labels():
    """Activations are the label itself, so that a row that lost its label shows."""
    n = 3500
    labels = np.random.default_rng(0).integers(0, 5, n)
    rows = np.column_stack([labels, np.arange(n)]).astype(float)
    snapshots = collect_snapshots(open_run({(1, "only"): rows}, labels=labels, sigma=0.0))
    assert snapshots.scatter.shape == (1, 1000, 2)
    np.testing.assert_array_equal(snapshots.scatter[0, :, 0], snapshots.scatter_labels)
    assert snapshots.scatter[0, 0, 1] == 0
    assert snapshots.scatter[0, -1, 1] == n - 1
    assert len(np.unique(snapshots.scatter[0, :, 1])) == 1000


def test_labels_of_any_kind_are_coded_in_the_scatter():
    labels = np.array(["cat", "dog"])[LABELS]
    snapshots = collect_snapshots(open_run(arrays(epochs=(1,)), labels=labels, axes="nrc"))
    np.testing.assert_array_equal(snapshots.scatter_labels, LABELS)


@pytest.mark.parametrize("n_units", [1, 2, 3])
def test_without_labels_there_are_no_distances_and_no_label(tmp_path, n_units):
    snapshots = collect_snapshots(open_run(arrays((4, n_units)), sigma=0.5))
    assert not snapshots.within.any()
    assert not snapshots.between.any()
    assert snapshots.scatter.shape == (4, 20, n_units)
    assert snapshots.scatter_labels.tolist() == [-1] * 20
    assert (snapshots.value_counts[0].sum(axis=1) == 80).all()


@pytest.mark.parametrize("labels", [np.zeros(20, dtype=int), np.arange(20)],
                         ids=["one class", "classes of one"])  # fmt: skip
def test_labels_that_make_no_pairs_give_no_distances(labels):
    snapshots = collect_snapshots(open_run(arrays(), labels=labels, axes="nrc"))
    assert not (snapshots.within.any() and snapshots.between.any())
    assert (snapshots.value_counts[0].sum(axis=1) == 80).all()
    np.testing.assert_array_equal(snapshots.scatter_labels, labels)


@pytest.mark.parametrize("how", ["truncated", np.nan, np.inf])
def test_a_checkpoint_that_cannot_be_used_stays_empty_and_the_rest_is_there(tmp_path, how):
    run = broken_run(tmp_path / "run", how)
    snapshots = collect_snapshots(run)
    sums = snapshots.value_counts.sum(axis=2)
    assert sums[1].tolist() == [0, 60, 60, 60, 60, 60]
    assert sums[0].tolist() == [0 if how == "truncated" else 80, 80, 80, 80, 80, 80]
    assert np.isfinite(snapshots.value_edges).all()
    assert snapshots.snapshot_epochs[0] == 1
    assert snapshots.within[1].sum(axis=1).astype(bool).tolist() == [False, True, True, True]
    assert np.isnan(snapshots.scatter[0]).all()
    np.testing.assert_array_equal(snapshots.scatter[-1], run.load(300, "2").noisy_sample().X)


class Stumbling:
    """A store whose reader stumbles over one checkpoint in a way of its own."""

    def epochs(self):
        return list(EPOCHS)

    def shape(self, epoch, layer):  # noqa: ARG002
        return (20, 3), np.dtype(np.float64)

    def read(self, epoch, layer):  # noqa: ARG002
        if epoch == 3:
            raise EOFError("Compressed file ended before the end-of-stream marker was reached")
        return np.random.default_rng(epoch).normal(size=(20, 3))


def test_a_reader_that_stumbles_costs_its_checkpoint_and_no_more():
    snapshots = collect_snapshots(Run(Stumbling(), (Layer("a", 0.5),), labels=LABELS))
    assert snapshots.value_counts[0].sum(axis=1).tolist() == [60, 0, 60, 60, 60, 60]


LIMITED = """
import json
from pathlib import Path
import numpy as np
from skinfo import BinningMIEstimator
from skinfo.flow.defaults import measure_run
from skinfo.runs import Layer, Run

class Many:
    def epochs(self):
        return list(range(40))
    def shape(self, epoch, layer):
        return (20_000, 100), np.dtype(np.float64)
    def read(self, epoch, layer):
        return np.full((20_000, 100), float(epoch))

run = Run(Many(), (Layer("a", 0.0),))
estimators = {"binned": BinningMIEstimator(bin_width=1.0)}
table, snapshots = measure_run(run, estimators, memory_limit=600_000_000, progress=False)
assert len(table["epoch"].unique()) == 40 and (snapshots.value_counts.sum(axis=2) == 2e6).all()
status = Path("/proc/self/status").read_text()
print(int(status.split("VmHWM:")[1].split()[0]) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_an_analysis_stays_under_its_limit_with_its_snapshots():
    """40 checkpoints of 16 MB: all of them at once pass the limit."""
    done = subprocess.run([sys.executable, "-c", LIMITED], check=True, capture_output=True)
    assert int(done.stdout) < 600e6


def test_distances_too_large_for_floats_leave_the_interpreter_alive():
    """Diverged training: finite activations whose squared distances, or ranges, overflow."""
    code = """
import warnings
import numpy as np
from skinfo import ClusteringScore, open_run
from skinfo.flow.snapshots import collect_snapshots
warnings.simplefilter("ignore")
rows, labels = np.array([[1.0], [-1.0], [0.0], [0.5]] * 50), np.arange(200) % 2
expected = ClusteringScore().fit(rows, labels).auc_
for scale in (1e200, 1e308):
    try:
        assert abs(ClusteringScore().fit(rows * scale, labels).auc_ - expected) < 1e-9
    except ValueError as error:
        assert "large" in str(error) or "overflow" in str(error), error
    collect_snapshots(open_run({(1, "a"): rows * scale}, labels=labels))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_losses_are_those_of_the_run_and_nan_where_not_recorded(tmp_path):
    layer = Layer("only", 0.5)
    writer = RunWriter(tmp_path / "run", [layer], labels=LABELS)
    for epoch, losses in ((1, {"train_loss": 0.7}), (2, None),
                          (5, {"train_loss": 0.5, "test_loss": 0.6})):  # fmt: skip
        writer.add(epoch, {"only": np.zeros((20, 2))}, losses=losses)
    snapshots = collect_snapshots(open_run(tmp_path / "run"))
    np.testing.assert_array_equal(snapshots.losses["train_loss"], [0.7, np.nan, 0.5])
    np.testing.assert_array_equal(snapshots.losses["test_loss"], [np.nan, np.nan, 0.6])
    assert collect_snapshots(open_run(arrays())).losses == {}


# --- snapshots -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epochs", "picked"),
    [
        ([7], [7]),
        ([0, 5], [0, 5]),
        ([1, 2, 3, 4], [1, 2, 3, 4]),
        ([1, 2, 5, 10, 20, 50, 100, 500, 1000], [1, 20, 100, 1000]),
        ([0, 9, 99, 999, 9999, 99999, 999999], [0, 99, 9999, 999999]),
    ],
)
def test_snapshots_are_spread_over_the_logarithm(epochs, picked):
    assert pick_snapshots(epochs).tolist() == picked


@pytest.mark.parametrize("last", [5, 37, 1000])
@pytest.mark.parametrize("n", [2, 4, 7])
def test_snapshots_are_epochs_with_the_first_and_the_last(last, n):
    picked = pick_snapshots(np.arange(last + 1), n)
    assert picked[0] == 0
    assert picked[-1] == last
    assert 2 <= len(picked) <= n
    assert (np.diff(picked) > 0).all()
