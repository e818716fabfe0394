"""What layers know of each input and class, beside the table: as the estimator says, or NaN."""

import numpy as np
import pytest

from skinfo import BinningMIEstimator, NoisyMIEstimator, open_run
from skinfo.flow import collect_snapshots, measure_run, read_table, write_table

Y = np.array(["b", "a"])[np.arange(12) % 2]
ESTIMATOR = NoisyMIEstimator(None, random_state=0, posterior_draws=16, units="bits")


@pytest.fixture(scope="module")
def run():
    rng = np.random.default_rng(0)
    arrays = {(epoch, "first"): rng.normal(size=(12, 2)) for epoch in (1, 2)}
    arrays |= {(epoch, "deep"): rng.normal(size=(12, 3, 2)) for epoch in (1, 2)}
    return open_run(arrays, layers=["first", "deep"], labels=Y, sigma=0.5)


@pytest.fixture(scope="module")
def measured(run):
    estimators = {"binned": BinningMIEstimator(bin_width=1.0), "noisy": ESTIMATOR}
    return measure_run(run, estimators, progress=False)


def test_arrays_are_those_of_the_estimator_in_nats(run, measured):
    table, snapshots = measured
    rows = run.load(2, "deep").replicas()
    est = NoisyMIEstimator(0.5, random_state=0, posterior_draws=16)
    est.fit(rows.X, rows.y, groups=rows.groups)
    assert snapshots.pointwise.shape == (2, 2, 12)
    np.testing.assert_allclose(snapshots.pointwise[1, 1], est.pointwise_mutual_info_)
    np.testing.assert_allclose(snapshots.pointwise_stderr[1, 1], est.pointwise_stderr_)
    np.testing.assert_allclose(snapshots.confusion[1, 1], est.confusion_)
    assert snapshots.class_conditional.shape == (2, 2, 2)
    assert snapshots.classes.tolist() == ["a", "b"]
    assert snapshots.classes[snapshots.input_classes].tolist() == Y.tolist()
    assert snapshots.inputs.tolist() == list(range(12))
    errors = table[table["quantity"].eq("bayes_error") & table["layer"].eq("deep")]
    assert errors["value"].iloc[-1] == est.bayes_error_
    assert errors["unit"].tolist() == ["", ""]


def test_a_subset_names_the_inputs_that_it_holds(run):
    mask = np.arange(12) >= 4
    snapshots = collect_snapshots(run, subset=mask, estimators={"noisy": ESTIMATOR})
    assert snapshots.inputs.tolist() == list(range(4, 12))
    assert snapshots.classes[snapshots.input_classes].tolist() == Y[mask].tolist()


def test_only_what_was_asked_for_is_measured(run):
    snapshots = collect_snapshots(run, estimators={"noisy": NoisyMIEstimator(None)})
    assert snapshots.pointwise.size == snapshots.confusion.size == snapshots.classes.size == 0


def test_what_cannot_be_measured_is_no_number():
    rng = np.random.default_rng(0)
    arrays = {(e, name): rng.normal(size=(6, 2)) for e in (1, 2) for name in "ab"}
    arrays[2, "b"][0, 0] = np.nan
    run = open_run(arrays, sigma={"b": 0.5})
    snapshots = collect_snapshots(run, estimators={"noisy": ESTIMATOR})
    finite = np.isfinite(snapshots.pointwise).all(axis=2)
    assert finite.tolist() == [[False, False], [True, False]]
    assert snapshots.classes.size == snapshots.confusion.size == 0


def test_arrays_are_beside_the_table_and_older_archives_open_without(measured, tmp_path):
    table, snapshots = measured
    path = tmp_path / "flow.csv"
    write_table(path, table, snapshots)
    again = read_table(path)[1]
    for name in ("pointwise", "pointwise_stderr", "confusion", "classes", "input_classes"):
        np.testing.assert_array_equal(getattr(again, name), getattr(snapshots, name))
    with np.load(path.with_suffix(".npz")) as archive:
        older = {name: archive[name] for name in archive if name in _OLDER}
    np.savez_compressed(path.with_suffix(".npz"), **older)
    assert read_table(path)[1].pointwise.size == 0


_OLDER = (
    "table", "layers", "settings", "epochs", "value_edges", "value_counts", "snapshot_epochs",
    "scatter", "scatter_labels", "distance_edges", "within", "between",
)  # fmt: skip
