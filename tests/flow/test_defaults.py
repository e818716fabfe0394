"""What a run without noise is measured with: every number with unit, noise, error and ceiling."""

from __future__ import annotations

import numpy as np
import pytest

from skinfo import (
    ClusteringScore,
    LabelMIEstimator,
    compare_flows,
    information_flow,
    open_run,
)
from skinfo.flow import default_estimators

N, D = 240, 300
AT_NOISE = ["labels at 0.5 rms", "sliced at 0.5 rms"]


def layer_of(y, apart, d=D):
    """Rows of d units: a point for each class, and normal numbers around it."""
    rng = np.random.default_rng(1)
    points = rng.normal(size=(int(y.max()) + 1, d))
    return (apart * points[y] + rng.normal(size=(len(y), d))).astype(np.float32)


def measured(run):
    """The table of the default set, measured fast, and the estimators' own errors."""
    estimators = default_estimators(run, tol=0.05)
    table = information_flow(estimators, run, progress=False)
    assert table.attrs["errors"] == []
    return table


def cell(table, quantity, column="value", estimator=None):
    rows = table[table["quantity"] == quantity]
    rows = rows if estimator is None else rows[rows["estimator"] == estimator]
    assert len(rows) == 1
    return rows[column].item()


Y = np.arange(N) % 3


def test_the_table_of_a_labelled_run_holds_ends_null_slices_and_ceilings():
    """Classes far apart: I(Y;T) = H(Y) = log 3, and the bracket holds it, at 300 units."""
    table = measured(open_run({(1, "a"): layer_of(Y, 2.0)}, labels=Y))
    assert list(dict.fromkeys(table["estimator"])) == [*AT_NOISE, "binned", "clustered"]
    lower, upper = (cell(table, "label_mutual_info", end) for end in ("lower", "upper"))
    assert lower <= np.log(3) + 1e-9 <= upper + 2e-9
    assert lower > np.log(3) - 0.1
    assert cell(table, "label_p_value") == pytest.approx(1 / 20)
    assert cell(table, "label_null", "upper") < lower
    assert 0 < cell(table, "sliced_mutual_info") <= cell(table, "sliced_ceiling", "upper")
    assert cell(table, "binned_entropy") == pytest.approx(np.log(N))
    assert "at ceiling" in cell(table, "binned_entropy", "notes")
    assert cell(table, "auc") == pytest.approx(1.0)
    # log n is told of bins alone, with the note that it is a ceiling.
    assert "mutual_info" not in set(table["quantity"])
    information = table["unit"].eq("nats")
    assert table.loc[information, ["value", "lower", "upper"]].notna().all(axis=None)


def test_labels_that_tell_nothing_have_a_lower_end_of_zero():
    random = np.random.default_rng(5).permutation(Y)
    table = measured(open_run({(1, "a"): layer_of(Y, 2.0, 20)}, labels=random))
    assert cell(table, "label_mutual_info", "lower") == 0
    assert cell(table, "label_p_value") > 0.05
    assert "indistinguishable" in cell(table, "label_mutual_info", "notes")


def test_a_run_without_labels_is_sliced_binned_and_has_a_dimension():
    table = measured(open_run({(1, "a"): layer_of(Y, 2.0, 40)}))
    assert list(dict.fromkeys(table["estimator"])) == [AT_NOISE[1], "binned", "clustered"]
    clustered = table[table["estimator"] == "clustered"]
    assert clustered["quantity"].tolist() == ["intrinsic_dimension"]
    assert clustered["stderr"].item() > 0


@pytest.mark.parametrize("labels", [np.zeros(N, int), np.arange(N)], ids=["one class", "unique"])
def test_labels_without_pairs_tell_nothing_and_break_nothing(labels):
    table = measured(open_run({(1, "a"): layer_of(Y, 2.0, 5)}, labels=labels))
    assert list(dict.fromkeys(table["estimator"])) == [*AT_NOISE, "binned"]
    assert cell(table, "label_mutual_info", "lower") == 0
    assert cell(table, "label_mutual_info", "upper") == cell(
        table, "label_ceiling", "upper", AT_NOISE[0]
    )


def test_tokens_of_a_sequence_are_clusters():
    """A topic for each of 40 sequences that only their six tokens share: nothing certain."""
    topics = np.random.default_rng(0).integers(2, size=40)
    rng = np.random.default_rng(2)
    tokens = np.repeat(rng.normal(size=(40, 1, 30)), 6, axis=1) + 0.1 * rng.normal(size=(40, 6, 30))
    run = open_run({(1, "a"): tokens}, labels=topics, flatten="tokens")
    table = measured(run)
    assert cell(table, "label_mutual_info", "lower") == 0
    assert cell(table, "binned_ceiling") == pytest.approx(np.log(240))
    # Taken one by one, each token would know its own sequence.
    alone = LabelMIEstimator(0.5, sigma_unit="rms", n_permutations=0, random_state=0)
    assert alone.fit(tokens.reshape(240, 30), np.repeat(topics, 6)).bracket_[0] > 0.3


@pytest.mark.parametrize("apart", [0.3, 0.6])
def test_the_ends_hold_the_information_of_two_gaussians(apart):
    """T of two classes is two Gaussians: I(Y;T) is one integral, of the distance of the means."""
    from scipy.integrate import quad
    from scipy.stats import norm

    rng = np.random.default_rng(3)
    y = np.arange(2000) % 2
    S = rng.normal(size=(2000, 20)) + apart * np.where(y, 1, -1)[:, None]
    sigma = 0.5
    a = apart * np.sqrt(20) / np.sqrt(1 + sigma**2)
    density = lambda t: 0.5 * (norm.pdf(t - a) + norm.pdf(t + a))  # noqa: E731
    h = quad(lambda t: -density(t) * np.log(density(t)), -a - 12, a + 12)[0]
    truth = h - 0.5 * np.log(2 * np.pi * np.e)
    est = LabelMIEstimator(sigma, n_permutations=0, random_state=0).fit(S, y)
    lower, upper = est.bracket_
    assert lower <= truth <= upper
    assert lower > truth - 0.06


def test_a_sample_of_the_inputs_is_noted_and_scale_changes_nothing():
    S, y = layer_of(np.arange(600) % 3, 0.4, 20), np.arange(600) % 3
    est = LabelMIEstimator(0.5, sigma_unit="rms", max_inputs=300, n_permutations=0, random_state=0)
    few = est.fit(S, y)
    assert set(few.notes_) >= {"sampled"}
    assert few.sigma_ == pytest.approx(0.5 * np.sqrt(((S - S.mean(0)) ** 2).mean()))
    assert est.fit(4.0 * S, y).label_mutual_info_ == pytest.approx(few.label_mutual_info_, abs=1e-6)


def test_many_threads_find_the_same():
    S, estimator = layer_of(Y, 0.3, 200), LabelMIEstimator(n_permutations=0, random_state=0)
    found = [estimator.set_params(n_jobs=k).fit(S, Y).quantities_ for k in (1, 2, 4)]
    assert found[0][0].value == found[1][0].value == found[2][0].value > 0


def test_permutations_too_few_to_show_anything_are_refused():
    with pytest.raises(ValueError, match="cannot show that a gain is more than chance"):
        LabelMIEstimator(n_permutations=5).fit(np.ones((20, 2)), np.arange(20) % 2)


def test_rows_whose_deviation_overflows_have_no_unit():
    far = np.linspace(-1e200, 1e200, 20)[:, None]
    with pytest.raises(ValueError, match="deviation of these rows overflows; divide them"):
        LabelMIEstimator(sigma_unit="rms").fit(far, np.arange(20) % 2)


@pytest.mark.parametrize(
    ("estimator", "quantity"),
    [
        (LabelMIEstimator(n_permutations=0, random_state=0), "label_mutual_info"),
        (ClusteringScore(max_inputs=60), "auc"),
    ],
)
def test_errors_over_inputs_are_of_the_population_once(estimator, quantity):
    """Of two samples the variances of the numbers add up, and nothing is added for other inputs."""
    flows = {}
    for name, distance in (("near", 1.0), ("far", 3.0)):
        S = np.random.default_rng(len(flows)).normal(size=(200, 2))
        y = np.arange(200) % 2
        run = open_run({(0, "a"): S + distance * y[:, None]}, labels=y)
        flows[name] = information_flow(estimator, run, progress=False)
    table = compare_flows(flows)
    (row,) = table[table["quantity"] == quantity].to_dict("records")
    errors = [flow.loc[flow["quantity"] == quantity, "stderr"].item() for flow in flows.values()]
    assert row["about"] == "the population"
    assert row["difference_stderr"] == pytest.approx(np.hypot(*errors))


def test_a_layer_that_is_constant_knows_nothing_and_is_measured():
    run = open_run({(1, "dead"): np.full((60, 20), 0.3)}, labels=np.arange(60) % 3)
    table = information_flow(default_estimators(run), run, progress=False)
    assert not table["notes"].str.contains("not measured").any()
    found = table.set_index(["estimator", "quantity"])["value"]
    assert found["sliced at 0.5 rms", "sliced_mutual_info"] == 0
    assert found["labels at 0.5 rms", "label_mutual_info"] == 0
