"""Flows of padded sequences, and of several sets of labels: what they measure is picked by hand."""

import numpy as np
import pandas as pd
import pytest

from skinfo import BinningMIEstimator, ClusteringScore, open_run
from skinfo.flow import collect_snapshots
from skinfo.flow.estimators import fit_last_step
from skinfo.view import InformationPlaneDisplay

from .small_flows import Spy, flow_of, noisy, value_of

N, T = 24, 5
RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(1, T + 1, N)
MASK = np.arange(T) < LENGTHS[:, None]
WORDS = RNG.integers(0, 3, (N, T))
TOPICS = np.array(["a", "b"])[np.arange(N) % 2]
# The word of a token determines its row, and the topic nothing.
TOKENS = 8 * np.eye(3)[WORDS] + 0.1 * RNG.standard_normal((N, T, 3))
REAL = [(i, k) for i in range(N) for k in range(LENGTHS[i])]
X = np.array([TOKENS[i, k] for i, k in REAL])
WORD = np.array([WORDS[i, k] for i, k in REAL])
TOPIC = np.array([TOPICS[i] for i, _ in REAL])
SEQUENCE = np.array([i for i, _ in REAL])
SETS = {"topic": TOPICS, "word": WORDS}


def run_of(tokens=TOKENS, mask=MASK, labels=SETS, **options):
    options = {"sigma": 0.5, "flatten": "tokens"} | options
    return open_run({(1, "a"): tokens}, mask=mask, labels=labels, **options)


def quick(sigma=None):
    return noisy(sigma, max_evaluations=2**9)


def estimators():
    return {"noisy": quick(), "binned": BinningMIEstimator(bin_width=1.0),
            "clustered": ClusteringScore()}  # fmt: skip


def padded(array, fill, *, left=False, more=0):
    """The real tokens of an array with other padding."""
    new = np.full((N, T + more, *array.shape[2:]), fill, dtype=np.result_type(array, fill))
    mask = np.zeros((N, T + more), dtype=bool)
    for i, length in enumerate(LENGTHS):
        place = slice(T + more - length, None) if left else slice(length)
        new[i, place], mask[i, place] = array[i, :length], True
    return new, mask


def test_a_flow_measures_the_rows_that_are_picked_by_hand():
    table = flow_of(estimators(), run_of(padded(TOKENS, np.nan)[0]))
    by_hand = {"topic": quick(0.5).fit(X, TOPIC), "word": quick(0.5).fit(X, WORD)}
    for name, one in by_hand.items():
        found = value_of(table, "label_mutual_info", estimator=f"noisy ({name})")
        assert found == one.label_mutual_info_
    # What needs no labels is that of the first set.
    found = value_of(table, "mutual_info", estimator="noisy")
    assert found == by_hand["topic"].mutual_info_
    counts = np.bincount(WORD) / len(WORD)
    word_entropy = -np.sum(counts * np.log(counts))
    assert value_of(table, "label_mutual_info", estimator="noisy (word)") == pytest.approx(
        word_entropy, abs=1e-6
    )
    assert value_of(table, "label_ceiling", estimator="noisy (word)") == pytest.approx(word_entropy)
    assert value_of(table, "label_mutual_info", estimator="noisy (topic)") < 0.05
    noisy_rows = run_of().load(1, "a").noisy_sample().X
    score = ClusteringScore().fit(noisy_rows, WORD, clusters=SEQUENCE)
    assert value_of(table, "auc", estimator="clustered (word)") == score.auc_


def test_errors_over_inputs_are_those_of_sequences_or_not_known():
    tables = {how: flow_of(estimators(), run_of(flatten=how)) for how in ("tokens", "token_mean")}
    errors = {
        how: table.set_index(["estimator", "quantity"])["stderr_other_inputs"]
        for how, table in tables.items()
    }
    # The given tokens are all there are for this one, and sequences nothing to it.
    assert np.isnan(errors["tokens"]["noisy", "mutual_info"])
    assert errors["token_mean"]["noisy", "mutual_info"] > 0
    noisy_rows = run_of().load(1, "a").noisy_sample().X
    score = ClusteringScore().fit(noisy_rows, TOPIC, clusters=SEQUENCE)
    auc = next(quantity for quantity in score.quantities_ if quantity.name == "auc")
    assert errors["tokens"]["clustered (topic)", "auc"] == auc.stderr_other_inputs > 0


def test_what_does_not_depend_on_labels_is_there_once():
    table = flow_of(estimators(), run_of())
    keys = ["epoch", "layer", "estimator", "quantity"]
    assert not table.duplicated(keys).any()
    assert list(dict.fromkeys(table["estimator"])) == [
        "noisy", "noisy (topic)", "noisy (word)", "binned", "binned (topic)", "binned (word)",
        "clustered (topic)", "clustered (word)",
    ]  # fmt: skip
    for quantity, n in {"mutual_info": 1, "ceiling": 1, "binned_entropy": 1, "auc": 2,
                        "label_mutual_info": 2, "label_ceiling": 4}.items():  # fmt: skip
        assert (table["quantity"] == quantity).sum() == n
    assert table.attrs["estimators"]["noisy (word)"] == table.attrs["estimators"]["noisy"]
    plane = InformationPlaneDisplay.from_flow(table, estimator="noisy (word)")
    assert plane.information.item() == value_of(table, "mutual_info")


@pytest.mark.parametrize(
    ("fill", "more", "left"), [(np.nan, 0, False), (np.inf, 3, True), (1e300, 1, True)]
)
def test_padding_influences_nothing(fill, more, left):
    tokens, mask = padded(TOKENS, fill, left=left, more=more)
    words, _ = padded(WORDS.astype(float), np.nan, left=left, more=more)
    run = run_of(tokens, mask, {"topic": TOPICS, "word": words})
    zeros = run_of(padded(TOKENS, 0.0)[0])
    for flatten in ("tokens", "token_mean", "token_last"):
        one, other = (
            flow_of(estimators(), open_run(
                {(1, "a"): r.store.read(1, "a")}, mask=r.mask, labels=r.labels, sigma=0.5,
                flatten=flatten,
            ))
            for r in (zeros, run)
        )  # fmt: skip
        pd.testing.assert_frame_equal(one, other, check_exact=True)
    drawn = [collect_snapshots(r).value_counts for r in (zeros, run)]
    np.testing.assert_array_equal(*drawn)


def test_one_set_without_a_name_is_as_without_sets():
    named, plain = (flow_of(estimators(), run_of(labels=y)) for y in ({"word": WORDS}, WORDS))
    assert set(plain["estimator"]) == {"noisy", "binned", "clustered"}
    named["estimator"] = named["estimator"].str.partition(" (")[0]
    keys = ["estimator", "quantity"]
    named, plain = (table.sort_values(keys, ignore_index=True) for table in (named, plain))
    pd.testing.assert_frame_equal(named, plain, check_exact=True)


@pytest.mark.parametrize("labels", [SETS, WORDS], ids=["sets", "one"])
def test_labels_of_tokens_where_rows_are_none_are_noted(labels):
    table = flow_of(estimators(), run_of(labels=labels, flatten="token_mean"))
    with_words = table[table["notes"].str.contains("no label per row")]
    name = " (word)" if labels is SETS else ""
    assert set(with_words["estimator"]) == {f"{e}{name}" for e in estimators()}
    assert with_words["value"].isna().all() or labels is WORDS
    assert not with_words["quantity"].str.startswith("label").any()
    assert table.attrs["errors"] == []
    if labels is SETS:
        assert value_of(table, "auc", estimator="clustered (topic)") > 0


def test_a_set_that_cannot_be_measured_leaves_the_others():
    run = run_of(labels={"none": np.zeros(N), "word": WORDS})
    with pytest.warns(UserWarning, match="not measured: .*clustered"):
        table = flow_of({"clustered": ClusteringScore(), "noisy": quick()}, run)
    assert table.loc[table["estimator"] == "clustered (none)", "notes"].tolist() == ["not measured"]
    assert [error["estimator"] for error in table.attrs["errors"]] == ["clustered (none)"]
    assert value_of(table, "auc") > 0.9


def test_names_in_the_table_stay_apart():
    with pytest.raises(ValueError, match=r"named 'a \(word\)', as 'a' is with labels of that name"):
        flow_of({"a": quick(), "a (word)": ClusteringScore()}, run_of())


class OfPopulation(Spy):
    """Reports the clusters that it was given."""

    def __init__(self, population=True):
        self.population = population

    def fit(self, X, y=None, *, groups=None, clusters=None):
        self.clusters_ = clusters
        return super().fit(X, y, groups=groups)


def test_sequences_of_any_length_are_the_clusters_of_a_population():
    for rows in (run_of().load(1, "a").replicas(), run_of().load(1, "a").noisy_sample()):
        last = fit_last_step(OfPopulation(), rows)
        np.testing.assert_array_equal(last.clusters_, SEQUENCE)
        assert fit_last_step(OfPopulation(population=False), rows).clusters_ is None


def test_results_are_kept_for_each_set_and_the_same_in_any_number_of_threads(tmp_path):
    Spy.fits = 0
    options = {"n_noise_draws": 2, "memory": tmp_path / "kept"}
    one = flow_of({"spy": Spy(), "noisy": quick()}, run_of(), n_jobs=1, **options)
    fits = Spy.fits
    again = flow_of({"spy": Spy(), "noisy": quick()}, run_of(), n_jobs=2, **options)
    assert Spy.fits == fits > 0
    pd.testing.assert_frame_equal(one, again, check_exact=True)
