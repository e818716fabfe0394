"""Inside scikit-learn: pipelines, names of features, routing, searches, pickles."""

import pickle
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from sklearn import config_context
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.exceptions import UnsetMetadataPassedError
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skinfo import (
    BinningMIEstimator,
    ClusteringScore,
    NoisyMIEstimator,
    SlicedMIEstimator,
    information_flow,
    open_run,
)
from skinfo.flow.estimators import last_step, name_estimators, steps_before
from skinfo.quantities import Quantity

# Three replicas are few, and these inputs lie apart.
pytestmark = [
    pytest.mark.filterwarnings("ignore::skinfo.ReplicaWarning"),
    pytest.mark.filterwarnings("ignore::skinfo.SaturationWarning"),
]
N, REPLICAS, D = 24, 3, 12
GROUPS = np.repeat(np.arange(N), REPLICAS)
LABELS = np.arange(N) % 3


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    scales = np.geomspace(3, 0.01, D)
    inputs = rng.normal(size=(N, 1, D)) * scales + LABELS[:, None, None]
    return (inputs + 0.05 * rng.normal(size=(N, REPLICAS, D))).reshape(-1, D)


@pytest.fixture(scope="module")
def y():
    return LABELS[GROUPS]


def noisy(sigma=0.3, **options):
    return NoisyMIEstimator(sigma, tol=0.1, random_state=0, **options)


def estimators():
    return [
        noisy(), BinningMIEstimator(bin_width=0.7), ClusteringScore(measures=()),
        SlicedMIEstimator(0.3, tol=0.1, max_slices=256, random_state=0),
    ]  # fmt: skip


each = pytest.mark.parametrize("estimator", estimators(), ids=lambda e: type(e).__name__)


# --- pipelines -----------------------------------------------------------------------------------


@each
def test_a_pipeline_measures_the_space_before_its_last_step(X, y, estimator):
    pipeline = make_pipeline(PCA(4), clone(estimator)).fit(X, y)
    projected = PCA(4).fit_transform(X)
    direct = clone(estimator).fit(projected, y)
    assert pipeline[-1].quantities_ == direct.quantities_
    fresh, labels = X[::2] + 0.01, y[::2]
    expected = direct.score(PCA(4).fit(X).transform(fresh), labels)
    assert pipeline.score(fresh, labels) == expected
    assert pipeline[-1].n_features_in_ == 4
    assert pipeline.n_features_in_ == D


@each
def test_groups_and_weights_reach_the_last_step_by_its_name(X, y, estimator):
    name = type(estimator).__name__.lower()
    weights = 1.0 + (GROUPS % 4)
    given = {f"{name}__groups": GROUPS, f"{name}__sample_weight": weights}
    pipeline = make_pipeline(PCA(4), clone(estimator)).fit(X, y, **given)
    direct = clone(estimator).fit(PCA(4).fit_transform(X), y, groups=GROUPS, sample_weight=weights)
    assert pipeline[-1].quantities_ == direct.quantities_
    alone = clone(estimator).fit(PCA(4).fit_transform(X), y)
    assert direct.quantities_ != alone.quantities_


@each
def test_groups_are_routed_to_who_requests_them(X, y, estimator):
    weights = 1.0 + (GROUPS % 4)
    direct = clone(estimator).fit(PCA(4).fit_transform(X), y, groups=GROUPS)
    weighted = clone(estimator).fit(
        PCA(4).fit_transform(X), y, groups=GROUPS, sample_weight=weights
    )
    with config_context(enable_metadata_routing=True):
        asking = clone(estimator).set_fit_request(groups=True)
        pipeline = make_pipeline(PCA(4), asking).fit(X, y, groups=GROUPS)
        assert pipeline[-1].quantities_ == direct.quantities_
        with pytest.raises(UnsetMetadataPassedError, match="sample_weight"):
            make_pipeline(PCA(4), asking).fit(X, y, groups=GROUPS, sample_weight=weights)
        both = clone(estimator).set_fit_request(groups=True, sample_weight=True)
        pipeline = make_pipeline(PCA(4), both).fit(X, y, groups=GROUPS, sample_weight=weights)
        assert pipeline[-1].quantities_ == weighted.quantities_
        with pytest.raises(UnsetMetadataPassedError, match="groups"):
            make_pipeline(PCA(4), clone(estimator)).fit(X, y, groups=GROUPS)


def test_a_projection_knows_less_at_the_same_sigma(X):
    """PCA turns and cuts: its noise is that of the layer, so what it keeps is a lower bound."""
    whole = noisy(1.0).fit(X)
    values = [make_pipeline(PCA(k), noisy(1.0)).fit(X)[-1].bracket_ for k in (1, 2, 4, D)]
    assert all(low[0] <= high[1] for low, high in pairwise(values))
    assert values[0][1] < whole.bracket_[0]
    assert values[-1] == pytest.approx(whole.bracket_, abs=0.2)


@each
def test_a_grid_is_searched(X, y, estimator):
    pipeline = make_pipeline(PCA(), clone(estimator))
    search = GridSearchCV(pipeline, {"pca__n_components": [1, 4]}, cv=KFold(2)).fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    half = make_pipeline(PCA(4), clone(estimator))
    expected = np.mean([half.fit(X[a], y[a]).score(X[b], y[b]) for a, b in KFold(2).split(X, y)])
    assert scores[1] == pytest.approx(expected, rel=1e-12)


@each
@pytest.mark.parametrize("in_a_pipeline", [False, True])
def test_a_fitted_estimator_survives_pickling(X, y, estimator, in_a_pipeline):
    made = make_pipeline(PCA(4), clone(estimator)) if in_a_pipeline else clone(estimator)
    made.fit(X, y)
    loaded = pickle.loads(pickle.dumps(made))
    assert repr(last_step(loaded).quantities_) == repr(last_step(made).quantities_)
    assert loaded.score(X, y) == made.score(X, y)
    again = clone(loaded).fit(X, y)
    assert last_step(again).quantities_ == last_step(made).quantities_


# --- names of features ---------------------------------------------------------------------------


def frame_of(library, X, names):
    module = pytest.importorskip(library)
    return module.DataFrame(dict(zip(names, X.T, strict=True)))


def series_of(library, values):
    return pytest.importorskip(library).Series(values)


libraries = pytest.mark.parametrize("library", ["pandas", "polars"])
NAMES = [f"unit{k}" for k in range(D)]


@each
@libraries
def test_names_of_units_are_kept(X, y, estimator, library):
    frame = frame_of(library, X, NAMES)
    fitted = clone(estimator).fit(frame, series_of(library, y), groups=series_of(library, GROUPS))
    assert fitted.feature_names_in_.tolist() == NAMES
    # Frames hold columns, and the order in memory is that of some sums.
    expected = clone(estimator).fit(np.asfortranarray(X), y, groups=GROUPS)
    assert fitted.quantities_ == expected.quantities_
    assert fitted.score(frame, y) == expected.score(X, y)


@each
@libraries
def test_other_names_are_refused(X, y, estimator, library):
    fitted = clone(estimator).fit(frame_of(library, X, NAMES), y)
    with pytest.raises(ValueError, match="feature names should match those that were passed"):
        fitted.score(frame_of(library, X, [*NAMES[:-1], "another"]), y)
    with pytest.raises(ValueError, match="must be in the same order"):
        fitted.score(frame_of(library, X, NAMES[::-1]), y)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        fitted.score(X, y)


@each
@libraries
def test_a_pipeline_knows_the_names_as_well(X, y, estimator, library):
    pipeline = make_pipeline(StandardScaler(), clone(estimator)).fit(frame_of(library, X, NAMES), y)
    assert pipeline.feature_names_in_.tolist() == NAMES
    pipeline = make_pipeline(PCA(2), clone(estimator)).set_output(transform="pandas")
    pipeline.fit(frame_of(library, X, NAMES), y)
    assert pipeline[-1].feature_names_in_.tolist() == ["pca0", "pca1"]


@libraries
def test_label_sets_in_a_frame_keep_their_names(X, y, library):
    sets = frame_of(library, np.stack([y, y > 0], axis=1), ["fine", "coarse"])
    fitted = ClusteringScore(measures=()).fit(X, sets)
    assert fitted.auc_ == ClusteringScore(measures=()).fit(X, {"fine": y, "coarse": y > 0}).auc_


@libraries
def test_a_value_that_is_missing_is_found_in_a_frame(X, y, library):
    broken = X.copy()
    broken[5, 2] = np.nan
    with pytest.raises(ValueError, match="row 5, column 2"):
        noisy().fit(frame_of(library, broken, NAMES), y)


# --- pipelines in a sweep ------------------------------------------------------------------------

EPOCHS = (1, 2)


@pytest.fixture(scope="module")
def run(X):
    cube = X.reshape(N, REPLICAS, D)
    made = {
        (epoch, layer): cube * epoch * scale
        for epoch in EPOCHS
        for layer, scale in (("front", 1.0), ("back", 0.5))
    }
    return open_run(made, labels=LABELS, sigma={"front": 0.3, "back": 0.2}, axes="nrc")


def flow_of(what, run, **options):
    return information_flow(what, run, progress=False, **options)


@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_sweep_measures_pipelines(run, y, routing, n_jobs):
    pipelines = {
        "noisy": make_pipeline(PCA(4), noisy(None)),
        "binned": make_pipeline(PCA(4), BinningMIEstimator(bin_width=0.7)),
        "nested": make_pipeline(StandardScaler(), make_pipeline(PCA(2), noisy(None))),
    }
    with config_context(enable_metadata_routing=routing):
        table = flow_of(pipelines, run, n_jobs=n_jobs)
    for (epoch, layer, name), rows in table.groupby(["epoch", "layer", "estimator"]):
        sigma, replicas = run.layer(layer).sigma, run.load(epoch, layer).replicas()
        if name == "noisy":
            Z = PCA(4).fit_transform(replicas.X)
            fitted = noisy(sigma).fit(Z, replicas.y, groups=replicas.groups)
        elif name == "nested":
            Z = PCA(2).fit_transform(StandardScaler().fit_transform(replicas.X))
            fitted = noisy(sigma).fit(Z, replicas.y, groups=replicas.groups)
        else:
            sample = run.load(epoch, layer).noisy_sample()
            Z = PCA(4).fit_transform(sample.X)
            fitted = BinningMIEstimator(bin_width=0.7).fit(Z, sample.y)
        assert list(rows["value"]) == [quantity.value for quantity in fitted.quantities_]
    assert set(table["estimator"]) == set(pipelines)
    assert not hasattr(last_step(pipelines["noisy"]), "quantities_")


def test_the_range_of_a_run_is_that_of_the_projected_layers(run):
    project = PCA(2)
    pipeline = make_pipeline(project, BinningMIEstimator(bin_range="run", n_bins=6))
    plain = BinningMIEstimator(bin_range="run", n_bins=6)
    table = flow_of({"projected": pipeline, "plain": plain}, run)
    for layer in ("front", "back"):
        seen = [PCA(2).fit_transform(run.load(epoch, layer).noisy_sample().X) for epoch in EPOCHS]
        ends = (min(Z.min() for Z in seen), max(Z.max() for Z in seen))
        for epoch, Z in zip(EPOCHS, seen, strict=True):
            expected = BinningMIEstimator(bin_range=ends, n_bins=6).fit(Z, LABELS)
            here = table["epoch"].eq(epoch) & table["layer"].eq(layer)
            found = table[here & table["estimator"].eq("projected")]
            assert list(found["value"]) == [q.value for q in expected.quantities_]
    only = flow_of({"plain": plain}, run)
    rest = table[table["estimator"] == "plain"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, only, check_exact=True)


def test_steps_that_fail_on_a_layer_are_a_row(run):
    made = {(e, name): run.load(e, name).array for e in EPOCHS for name in ("front", "back")}
    made |= {(e, "back"): made[e, "back"][:, :, :3] for e in EPOCHS}
    narrow = open_run(made, labels=LABELS, sigma=0.3, axes="nrc")
    pipelines = {
        "noisy": make_pipeline(PCA(4), noisy(None)),
        "binned": make_pipeline(PCA(4), BinningMIEstimator(bin_range="run")),
    }
    with pytest.warns(UserWarning, match="not measured.*layer 'back'.*n_components=4"):
        table = flow_of(pipelines, narrow)
    lost = table[table["notes"] == "not measured"]
    assert lost[["epoch", "layer", "estimator"]].to_numpy().tolist() == [
        [epoch, "back", name] for epoch in EPOCHS for name in ("noisy", "binned")
    ]
    assert table["value"].isna().sum() == 4


def test_data_processing_is_not_asked_of_projections(X):
    """One direction of the first layer knows nothing; the second layer as a whole does."""
    first = np.column_stack([np.linspace(-50, 50, N), np.zeros(N)])
    second = first[:, ::-1].copy()
    run = open_run({(1, "a"): first, (1, "b"): second}, sigma=0.1)
    keep_first = FunctionTransformer(lambda Z: Z[:, 1:])
    table = flow_of(
        {"p": make_pipeline(keep_first, noisy(None)), "n": noisy(None)}, run, subset=None
    )
    information = table[table["quantity"].eq("mutual_info") & table["estimator"].eq("p")]
    assert information["value"].is_monotonic_increasing
    assert information["value"].iloc[1] > 1
    assert not table["notes"].str.contains("data processing").any()


def test_pipelines_are_named_by_their_steps():
    pipelines = [
        make_pipeline(PCA(2), noisy()),
        make_pipeline(StandardScaler(), make_pipeline(PCA(2), ClusteringScore())),
        ClusteringScore(),
    ]
    assert list(name_estimators(pipelines)) == [
        "PCA + NoisyMIEstimator", "StandardScaler + PCA + ClusteringScore", "ClusteringScore",
    ]  # fmt: skip
    two = name_estimators([make_pipeline(PCA(2), noisy()), make_pipeline(PCA(3), noisy())])
    assert ["n_components=2" in name for name in two] == [True, False]
    assert all("\n" not in name for name in two)


def test_the_parts_of_a_pipeline_are_found():
    inner = ClusteringScore()
    nested = make_pipeline(StandardScaler(), Pipeline([("a", PCA(2)), ("b", inner)]))
    assert last_step(nested) is inner
    assert [type(step).__name__ for _, step in steps_before(nested).steps] == [
        "StandardScaler", "PCA",
    ]  # fmt: skip
    assert steps_before(inner) is None


def test_settings_of_a_last_step_are_checked_at_once(run):
    with pytest.raises(ValueError, match="positive standard deviation"):
        flow_of(make_pipeline(PCA(2), noisy(-1.0)), run)
    silent = open_run({(1, "a"): np.eye(4)}, sigma=0.0)
    with pytest.raises(ValueError, match="no layer of the run has noise"):
        flow_of(make_pipeline(PCA(2), noisy(None)), silent)
    unlabelled = open_run({(1, "a"): np.eye(4)})
    with pytest.raises(ValueError, match="requires y"):
        flow_of(make_pipeline(PCA(2), ClusteringScore()), unlabelled)


def test_quantities_are_what_the_last_step_says(run):
    table = flow_of(make_pipeline(PCA(4), ClusteringScore(measures=())), run)
    names = [q.name for q in ClusteringScore(measures=()).fit(np.eye(N), LABELS).quantities_]
    assert list(table.loc[: len(names) - 1, "quantity"]) == names
    assert all(isinstance(name, str) for name in names)
    assert Quantity.exact("auc", 1.0, "").name in names
