"""What estimators are given: samples, replicas, one range of a run, a part of its inputs."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skinfo import BinningMIEstimator, ClusteringScore, open_run
from skinfo.flow import ranges
from skinfo.flow.memory import Budget
from skinfo.flow.ranges import layer_ranges
from skinfo.flow.tasks import Keep, SweepSettings
from skinfo.quantities import Quantity

from .small_flows import (
    EPOCHS,
    LABELS,
    LAYERS,
    Spy,
    arrays,
    flow_of,
    noisy,
    on_disk,
    value_of,
    words,
)

# --- what the estimators are given ---------------------------------------------------------------


def test_others_get_one_row_an_input_without_groups(run, spy):
    table = flow_of(spy, run).pivot(index=["epoch", "layer"], columns="quantity", values="value")
    assert (table["n_rows"] == 12).all()
    assert (table["n_units"] == 2).all()
    assert (table["grouped"] == 0).all()
    assert (table["labelled"] == 1).all()


def test_others_get_the_noise_of_the_layer():
    """All activations are 0: what is seen is the noise alone."""
    zeros = np.zeros((2000, 3, 4))
    run = open_run({(1, "a"): zeros, (1, "b"): zeros, (1, "c"): zeros},
                   sigma={"a": 0.25, "b": 3.0, "c": 0.0})  # fmt: skip
    table = flow_of(Spy(), run)
    assert value_of(table, "spread", layer="a") == pytest.approx(0.25, rel=0.05)
    assert value_of(table, "spread", layer="b") == pytest.approx(3.0, rel=0.05)
    assert value_of(table, "spread", layer="c") == 0


def test_binned_entropy_is_that_of_noisy_samples():
    run = open_run({(1, "a"): np.zeros((16, 2, 1))}, sigma=1.0)
    table = flow_of(BinningMIEstimator(bin_width=1e-9), run)
    assert value_of(table, "binned_entropy") == pytest.approx(np.log(16))
    silent = open_run({(1, "a"): np.zeros((16, 2, 1))}, sigma=0.0)
    assert value_of(flow_of(BinningMIEstimator(bin_width=1e-9), silent), "binned_entropy") == 0


# --- one range for a whole run -------------------------------------------------------------------


def growing(sigma=0.0):
    """Two layers whose values spread in training: by epoch 1, 10 and 100 to 1, 2 and 8."""
    rng = np.random.default_rng(3)
    unit = rng.uniform(-1, 1, size=(40, 2))
    unit[:2] = [[-1, 0], [1, 0]]
    made = {
        (epoch, layer): np.maximum(unit * scale, low)
        for epoch, scale in zip(EPOCHS, (1.0, 2.0, 8.0), strict=True)
        for layer, low in (("front", -9), ("back", 0))
    }
    return open_run(made, sigma=sigma, layers=LAYERS, labels=np.arange(40) % 2)


def settings(mask=None, **options):
    return SweepSettings(mask, None, Keep(None, {}), Budget(), **options)


def test_one_set_of_edges_for_all_checkpoints_of_a_layer():
    run = growing()
    table = flow_of(BinningMIEstimator(n_bins=8, bin_range="run"), run)
    for layer, low in (("front", -8), ("back", 0)):
        for epoch in EPOCHS:
            X = run.load(epoch, layer).array
            expected = BinningMIEstimator(bin_edges=np.linspace(low, 8, 9)).fit(X, run.labels)
            at = {"epoch": epoch, "layer": layer}
            assert value_of(table, "binned_entropy", **at) == expected.entropy_
            assert value_of(table, "binned_label_mutual_info", **at) == expected.label_mutual_info_
            assert value_of(table, "outside_fraction", **at) == 0
    entropies = table[table["quantity"] == "binned_entropy"].groupby("layer")["value"]
    assert (entropies.diff().dropna() > 0.05).all(), "the layers spread, so their entropy grows"
    anew = flow_of(BinningMIEstimator(n_bins=8), run).query("quantity == 'binned_entropy'")
    assert np.ptp(anew[anew["layer"] == "front"]["value"]) < 1e-12


def test_the_range_of_a_run_is_that_of_the_noisy_samples_of_the_subset():
    run, keep = growing(sigma=1.5), np.arange(40) % 3 == 0
    samples = np.stack([run.load(e, "front", subset=keep).noisy_sample().X for e in EPOCHS])
    low, high = samples.min(), samples.max()
    assert layer_ranges(run, settings(keep), BinningMIEstimator())["front"] == (low, high)
    assert layer_ranges(run, settings(), BinningMIEstimator())["front"] != (low, high)
    found = flow_of(BinningMIEstimator(bin_range="run"), run, subset=keep, n_jobs=2)
    given = flow_of(BinningMIEstimator(bin_range=(low, high)), run, subset=keep)
    columns = ["epoch", "quantity", "value"]
    found, given = (t.loc[t["layer"] == "front", columns] for t in (found, given))
    pd.testing.assert_frame_equal(found, given, check_exact=True)


def test_a_layer_of_one_value_and_checkpoints_that_cannot_be_read_have_a_range_too():
    made = {(e, "dead"): np.full((6, 2), 3.0) for e in (1, 2)}
    made |= {(1, "alive"): np.full((6, 2), np.nan), (2, "alive"): np.arange(12.0).reshape(6, 2)}
    made |= {(e, "lost"): np.full((6, 2), np.nan) for e in (1, 2)}
    run = open_run(made, sigma=0.0)
    ranges = layer_ranges(run, settings(), BinningMIEstimator())
    assert set(ranges) == {"dead", "alive"}
    assert ranges["alive"] == (0, 11)
    with pytest.warns(UserWarning, match="not measured"):
        table = flow_of(BinningMIEstimator(bin_range="run", n_bins=11), run)
    assert value_of(table, "binned_entropy", epoch=2, layer="dead") == 0
    assert value_of(table, "binned_entropy", epoch=2, layer="alive") == pytest.approx(np.log(6))
    assert (table["notes"] == "read error").sum() == 3


def test_other_estimators_make_no_first_pass(monkeypatch):
    integers = open_run({(1, "a"): np.arange(12).reshape(6, 2)})
    monkeypatch.setattr(ranges, "layer_ranges", None)
    flow_of([BinningMIEstimator(), BinningMIEstimator(bin_width=1.0)], growing())
    given = BinningMIEstimator(bin_width=1.0, bin_range="run")
    flow_of([given, BinningMIEstimator(strategy="discrete", bin_range="run")], integers)
    with pytest.raises(TypeError):
        flow_of(BinningMIEstimator(bin_range="run"), growing())


def test_rows_with_groups_are_measured_as_the_same_rows_in_three_dimensions(run):
    """Two-dimensional arrays and a shuffled groups array hold the same replicas."""
    order = np.random.default_rng(5).permutation(60)
    groups = np.repeat(np.arange(12), 5)[order]
    flat = {key: a.reshape(60, 2)[order] for key, a in arrays().items()}
    sigma = {"front": 0.5, "back": 0.3}
    estimator = noisy(tol=0.01)
    table = flow_of(estimator, open_run(flat, labels=LABELS, groups=groups, sigma=sigma))
    cubes = flow_of(estimator, run)
    for quantity, atol in (("ceiling", 1e-12), ("label_ceiling", 1e-12), ("plug_in", 0.05)):
        found, expected = (t.loc[t["quantity"] == quantity, "value"] for t in (table, cubes))
        np.testing.assert_allclose(found, expected, atol=atol)
    assert "replicas missing" not in words(table)


def test_a_run_without_labels_has_no_label_information(several):
    run = open_run(arrays(), sigma=0.5)
    table = flow_of([noisy(), BinningMIEstimator()], run)
    assert not table["quantity"].str.startswith("label").any()
    with pytest.raises(ValueError, match="ClusteringScore requires y"):
        flow_of(several["c"], run)


# --- estimators of others ------------------------------------------------------------------------


class NoiseShare(BaseEstimator):
    """Share of the variance that replicas of one input have."""

    uses_replicas = True

    def __init__(self, sigma=None):
        self.sigma = sigma

    def fit(self, X, y=None, *, groups=None):  # noqa: ARG002
        groups = np.arange(len(X)) if groups is None else groups
        own = np.mean([X[groups == g].var(axis=0).sum() for g in np.unique(groups)])
        self.quantities_ = (
            Quantity.exact("noise_share", own / X.var(axis=0).sum(), ""),
            Quantity.exact("n_rows", len(X), ""),
            Quantity.exact("sigma", self.sigma, ""),
        )
        return self


class Occupancy(BaseEstimator):
    """Share of the range of a run that a layer spans."""

    def __init__(self, bin_range="run"):
        self.bin_range = bin_range

    @property
    def needs_run_range(self):
        return self.bin_range == "run"

    def fit(self, X, y=None):  # noqa: ARG002
        low, high = self.bin_range
        self.quantities_ = (Quantity.exact("share", np.ptp(X) / (high - low), ""),)
        return self


@pytest.mark.parametrize("in_a_pipeline", [False, True])
def test_an_estimator_of_others_that_uses_replicas_gets_them_and_each_layers_sigma(in_a_pipeline):
    front = np.repeat(np.arange(6.0)[:, None, None], 4, axis=1)
    back = front + np.array([-1.0, 1.0, -1.0, 1.0])[:, None]
    run = open_run({(1, "front"): front, (1, "back"): back}, sigma={"front": 0.5, "back": 0.3})
    estimator = make_pipeline(StandardScaler(), NoiseShare()) if in_a_pipeline else NoiseShare()
    table = flow_of({"share": estimator}, run)
    assert value_of(table, "noise_share", layer="front") == 0
    assert value_of(table, "noise_share", layer="back") == pytest.approx(1 / (1 + 35 / 12))
    assert set(table.loc[table["quantity"] == "n_rows", "value"]) == {24}
    assert value_of(table, "sigma", layer="front") == 0.5
    assert value_of(table, "sigma", layer="back") == 0.3
    given = flow_of({"share": NoiseShare(0.3)}, run)
    assert words(given[given["layer"] == "front"]) == {"sigma differs from run"}
    assert words(given[given["layer"] == "back"]) == set()


def test_an_estimator_of_others_that_needs_it_gets_the_range_of_the_run():
    table = flow_of(Occupancy(), growing())
    for layer, whole in (("front", 16), ("back", 8)):
        for epoch, share in zip(EPOCHS, (1, 2, 8), strict=True):
            at = {"epoch": epoch, "layer": layer}
            high = 2 * share if layer == "front" else share
            assert value_of(table, "share", **at) == pytest.approx(high / whole)


# --- subset --------------------------------------------------------------------------------------


TRAIN = np.array([0, 1, 2, 5, 6, 7, 11])


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return on_disk(tmp_path_factory.mktemp("split") / "run", train=TRAIN)


def cut(keep):
    return open_run({k: a[keep] for k, a in arrays().items()}, labels=LABELS[keep], sigma=0.5)


@pytest.mark.parametrize("part", ["train", "test", "mask", "list"])
def test_a_subset_is_measured_as_a_run_cut_by_hand(split, part):
    train = np.isin(np.arange(12), TRAIN)
    mask = np.arange(12) >= 4
    keep = {"train": train, "test": ~train, "mask": mask, "list": mask}[part]
    subset = {"mask": mask, "list": mask.tolist()}.get(part, part)
    found = flow_of({"n": noisy()}, split, subset=subset)
    pd.testing.assert_frame_equal(found, flow_of({"n": noisy()}, cut(keep)), check_exact=True)
    ceiling = found.loc[found["quantity"] == "plug_in", "value"].max()
    assert ceiling <= np.log(keep.sum()) + 1e-9


def test_a_subset_is_cut_out_of_the_same_noisy_samples(split):
    keep = np.arange(12) >= 4
    table = flow_of(ClusteringScore(), split, subset=keep)
    for epoch in EPOCHS:
        sample = split.load(epoch, "back").noisy_sample().X[keep]
        expected = ClusteringScore().fit(sample, LABELS[keep]).auc_
        assert value_of(table, "auc", epoch=epoch, layer="back") == expected


def test_a_subset_of_a_grouped_run_keeps_all_replicas_of_its_inputs():
    groups = np.tile(np.arange(12), 5)
    flat = {k: a.transpose(1, 0, 2).reshape(60, 2) for k, a in arrays().items()}
    run = open_run(flat, labels=LABELS, groups=groups, sigma=0.5)
    keep = np.arange(12) >= 4
    by_hand = {k: a[keep[groups]] for k, a in flat.items()}
    renumbered = groups[keep[groups]] - 4
    hand = open_run(by_hand, labels=LABELS[keep], groups=renumbered, sigma=0.5)
    found = flow_of(noisy(), run, subset=keep)
    pd.testing.assert_frame_equal(found, flow_of(noisy(), hand), check_exact=True)


@pytest.mark.parametrize(
    ("subset", "says"),
    [
        ("validation", "'train', 'test' or a mask"),
        (np.ones(11, dtype=bool), "11 entries for 12 inputs"),
        (np.ones(13, dtype=bool), "13 entries for 12 inputs"),
        (np.arange(12), "True or False"),
        (np.ones((12, 1), dtype=bool), "True or False"),
        (np.zeros(12, dtype=bool), "0 sample|no inputs"),
    ],
    ids=["word", "short", "long", "indices", "column", "nothing"],
)
def test_a_bad_subset_is_refused(split, subset, says):
    with pytest.raises(ValueError, match=says):
        flow_of(noisy(), split, subset=subset)


@pytest.mark.parametrize("n", [11, 13])
def test_a_mask_of_another_length_is_refused_without_labels_too(n):
    with pytest.raises(ValueError, match=f"{n} entries"):
        flow_of(noisy(), open_run(arrays(), sigma=0.5), subset=np.ones(n, dtype=bool))


@pytest.mark.parametrize("subset", ["train", "test"])
def test_a_run_without_a_split_has_no_such_subset(run, subset):
    with pytest.raises(ValueError, match="does not say what it trained on"):
        flow_of(noisy(), run, subset=subset)
