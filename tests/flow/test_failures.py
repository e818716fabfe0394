"""What cannot be read or measured costs itself alone; a fault of no layer ends a sweep."""

import pickle
import threading
import tokenize
import zlib

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator

from skinfo import BinningMIEstimator, ClusteringScore, NoisyMIEstimator, RunError, open_run
from skinfo.flow.tasks import Place
from skinfo.quantities import Quantity
from skinfo.runs import Layer, Run

from .small_flows import EPOCHS, LABELS, LAYERS, arrays, flow_of
from .stores import Counting, counted, usual


class Picky(BaseEstimator):
    """Refuses activations that reach far."""

    def fit(self, X, y=None):  # noqa: ARG002
        if X.max() > 100:
            raise ValueError("these\nreach  too far")
        self.quantities_ = (Quantity.exact("largest", X.max(), ""),)
        return self


# --- one read for all ----------------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_each_array_is_read_once_for_all_estimators(n_jobs):
    run, store = counted()
    estimators = usual() | {"b": BinningMIEstimator(), "p": Picky()}
    flow_of(estimators, run, n_jobs=n_jobs)
    # Whether the second axis of the first layer may be replicas is looked at before.
    assert sorted(store.reads) == sorted([*store.made, (1, "front")])
    # The range of a run takes a first pass.
    flow_of(usual(), run, n_jobs=n_jobs)
    assert len(store.reads) == 3 * len(store.made) + 2


# --- what cannot be measured ---------------------------------------------------------------------


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_what_an_estimator_refuses_is_a_row_and_the_rest_is_finished(n_jobs):
    made = arrays()
    whole = flow_of([Picky(), ClusteringScore()], counted(made)[0])
    made[10, "back"][0, 0, 0] = 1e3
    with pytest.warns(UserWarning, match="not measured: memory, epoch 10, layer 'back'") as caught:
        table = flow_of([Picky(), ClusteringScore()], counted(made)[0], n_jobs=n_jobs)
    assert len(caught) == 1
    assert str(caught[0].message).endswith("Picky: these reach too far")
    refused = table["notes"] == "not measured"
    words = table.loc[refused, ["epoch", "layer", "estimator", "quantity", "unit"]]
    assert words.to_numpy().tolist() == [[10, "back", "Picky", "", ""]]
    numbers = table.loc[refused, ["value", "stderr", "lower", "upper"]]
    assert numbers.isna().all(axis=None)
    (error,) = table.attrs["errors"]
    assert error["message"] in str(caught[0].message)
    assert [error[k] for k in ("epoch", "layer", "estimator")] == [10, "back", "Picky"]
    here = (table["epoch"] == 10) & (table["layer"] == "back")
    there = (whole["epoch"] == 10) & (whole["layer"] == "back")
    rest, expected = (t.reset_index(drop=True) for t in (table[~here], whole[~there]))
    pd.testing.assert_frame_equal(rest, expected, check_exact=True)
    assert "auc" in set(table.loc[here, "quantity"])


class Fragile(BaseEstimator):
    """Fails on activations that reach far in a way of its own."""

    def __init__(self, error=None):
        self.error = error

    def fit(self, X, y=None):  # noqa: ARG002
        if X.max() > 100:
            raise self.error
        self.quantities_ = (Quantity.exact("largest", X.max(), ""),)
        return self


@pytest.mark.parametrize("n_jobs", [1, 2])
@pytest.mark.parametrize(
    "error",
    [FloatingPointError("underflow"), np.linalg.LinAlgError("singular"), IndexError(3),
     MemoryError("no room"), TypeError("two arguments"), RecursionError("deep")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_an_estimator_fails_on_is_a_row_and_the_rest_is_finished(error, n_jobs):
    made = arrays()
    made[10, "back"][0, 0, 0] = 1e3
    with pytest.warns(UserWarning, match=f"Fragile: .*{error}"):
        table = flow_of([Fragile(error), ClusteringScore()], counted(made)[0], n_jobs=n_jobs)
    lost = table[table["notes"] == "not measured"]
    assert lost[["epoch", "layer", "estimator"]].to_numpy().tolist() == [[10, "back", "Fragile"]]
    assert table["value"].isna().sum() == 1
    assert [one["epoch"] for one in table.attrs["errors"]] == [10]


class Mute(BaseEstimator):
    """Leaves what was told, which is no tuple of quantities."""

    def __init__(self, left=None):
        self.left = left

    def fit(self, X, y=None):  # noqa: ARG002
        if self.left is not None:
            self.quantities_ = self.left
        return self


@pytest.mark.parametrize("left", [None, {"a": 1.0}, (1.0,)], ids=str)
def test_an_estimator_that_leaves_no_quantities_is_told_what_to_leave(left):
    with pytest.raises(TypeError, match=r"Mute\.fit must leave quantities_, a tuple"):
        flow_of(Mute(left), counted(arrays())[0])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_who_stops_a_sweep_stops_it(error, n_jobs):
    made = arrays()
    made[10, "back"][0, 0, 0] = 1e3
    before = threading.active_count()
    with pytest.raises(type(error)):
        flow_of(Fragile(error), counted(made)[0], n_jobs=n_jobs)
    assert threading.active_count() == before


@pytest.mark.parametrize(
    "error",
    [TypeError("two arguments"), AttributeError("x"), NameError("Y"), ImportError("no package")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_fault_of_the_call_is_raised_where_nothing_is_measured(error, n_jobs):
    made = {key: array + 1e3 for key, array in arrays().items()}
    with pytest.raises(type(error)):
        flow_of(Fragile(error), counted(made)[0], n_jobs=n_jobs)
    with pytest.warns(UserWarning, match=str(error)):
        table = flow_of({"f": Fragile(error), "b": BinningMIEstimator()}, counted(made)[0])
    assert set(table.loc[table["estimator"] == "f", "notes"]) == {"not measured"}
    assert table.loc[table["estimator"] == "b", "value"].notna().all()


class Stumbling(Counting):
    """A store whose reader raises what its library does, for one array."""

    def __init__(self, made, error):
        super().__init__(made)
        self.error = error

    def read(self, epoch, layer):
        if (epoch, layer) == (10, "back"):
            raise self.error
        return super().read(epoch, layer)

    def shape(self, epoch, layer):
        if (epoch, layer) == (10, "back"):
            raise self.error
        return super().shape(epoch, layer)


def stumbling(error):
    layers = tuple(Layer(name, 0.5, name == "back") for name in LAYERS)
    return Run(Stumbling(arrays(), error), layers, labels=LABELS)


@pytest.mark.parametrize("limit", [None, "2GB"])
@pytest.mark.parametrize(
    "error",
    [EOFError("ended"), zlib.error("incorrect data check"), tokenize.TokenError("EOF", (2, 0)),
     AttributeError("'Datatype' object has no attribute 'shape'")],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_what_a_reader_stumbles_over_is_a_read_error_and_the_rest_is_finished(error, limit):
    with pytest.warns(UserWarning, match=f"epoch 10, layer 'back'.*{type(error).__name__}"):
        table = flow_of(usual(), stumbling(error), memory_limit=limit)
    lost = table[table["notes"] == "read error"]
    assert lost[["epoch", "layer"]].drop_duplicates().to_numpy().tolist() == [[10, "back"]]
    assert lost["estimator"].tolist() == list(usual())
    assert table["value"].isna().sum() == 3


def test_who_stops_a_reader_stops_the_sweep():
    with pytest.raises(KeyboardInterrupt):
        flow_of(usual(), stumbling(KeyboardInterrupt()))


def test_an_array_that_does_not_fit_into_memory_is_a_read_error():
    with pytest.warns(UserWarning, match="epoch 10, layer 'back': does not fit into memory"):
        table = flow_of(usual(), stumbling(MemoryError("no room")))
    assert table.query("notes == 'read error'")["epoch"].unique().tolist() == [10]


class Unreadable:
    """What looks like an array and cannot be read."""

    shape, dtype, ndim = (12, 2), np.dtype(float), 2

    def __array__(self, *args, **kwargs):
        raise EOFError("ended")


def test_of_a_reader_that_stumbles_a_worker_is_sent_the_error():
    run = open_run({(1, "a"): Unreadable(), (2, "a"): np.zeros((12, 2))}, labels=LABELS)
    sent = [pickle.loads(pickle.dumps(Place(run, epoch, "a"))) for epoch in (1, 2)]
    with pytest.raises(RunError, match="epoch 1, layer 'a'.*EOFError: ended"):
        sent[0].load()
    assert sent[1].load().array.shape == (12, 2)


class Reading(Counting):
    """A store of maps that nobody may read."""

    def read(self, epoch, layer):
        raise AssertionError((epoch, layer))


def test_a_choice_that_is_missing_is_said_once_before_anything_is_read():
    maps = {(epoch, "conv"): np.zeros((12, 3, 4, 4)) for epoch in EPOCHS}
    run = Run(Reading(maps), (Layer("conv", 0.5),), labels=LABELS)
    with pytest.raises(RunError, match="epoch 1, layer 'conv'.*choose flatten='all'"):
        flow_of(usual(), run)


def test_a_choice_is_not_missing_where_one_checkpoint_is_damaged():
    made = {(epoch, "a"): np.ones((12, 2)) * epoch for epoch in EPOCHS}
    made[1, "a"] = np.zeros((12, 3, 4, 4))
    with pytest.warns(UserWarning, match="choose flatten"):
        table = flow_of(BinningMIEstimator(), open_run(made, labels=LABELS))
    assert table.loc[table["notes"] == "read error", "epoch"].tolist() == [1]


def test_errors_travel_with_the_table_into_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    made = arrays()
    made[1, "front"][0, :, 0] = 1e3
    made[10, "back"][0, 0, 0] = np.nan
    with pytest.warns(UserWarning, match="not measured"):
        table = flow_of(Picky(), counted(made)[0])
    table.to_parquet(tmp_path / "flow.parquet")
    errors = pd.read_parquet(tmp_path / "flow.parquet").attrs["errors"]
    assert [error["epoch"] for error in errors] == [1, 10]
    assert "reach too far" in errors[0]["message"]
    assert "NaN" in errors[1]["message"]
    assert table["notes"].tolist()[:2] == ["not measured", ""]
    at_the_end = table.loc[table["epoch"] == 10, "notes"]
    assert at_the_end.tolist() == ["", "read error"]


def flat():
    """Activations of a network without noise."""
    return {key: array[:, 0] for key, array in arrays().items()}


def bad(kind):
    """Activations of which one checkpoint cannot be measured in some way."""
    made = flat()
    if kind == "fractions":
        made = {key: np.round(array) for key, array in made.items()}
        made[10, "back"] = made[10, "back"] + 0.5
        return made, BinningMIEstimator(strategy="discrete"), "is not an integer"
    made[10, "back"] = made[10, "back"] * 1e307
    return made, ClusteringScore(measures=()), "too large"


@pytest.mark.parametrize("kind", ["fractions", "huge"])
def test_a_bad_layer_costs_no_more_than_itself(kind):
    made, estimator, says = bad(kind)
    with pytest.warns(UserWarning, match=says):
        table = flow_of({"e": estimator, "b": BinningMIEstimator()}, counted(made, sigma=0.0)[0])
    lost = table[table["notes"] == "not measured"]
    assert lost[["epoch", "layer", "estimator"]].to_numpy().tolist() == [[10, "back", "e"]]
    measured = table[table["estimator"].eq("e") & table["value"].notna()]
    assert len(measured.groupby(["epoch", "layer"])) == 5


def test_mixed_types_are_measured():
    made = arrays()
    made[10, "back"] = made[10, "back"].astype(np.float32)
    made[100, "front"] = np.random.default_rng(2).integers(-3, 3, size=(12, 2))
    table = flow_of(usual(), counted(made)[0])
    assert table["value"].notna().all()


def test_a_dead_layer_is_measured():
    made = flat()
    made[10, "back"] = np.zeros((12, 2))
    table = flow_of(ClusteringScore(), counted(made, sigma=0.0)[0])
    auc = table.query("epoch == 10 and layer == 'back' and quantity == 'auc'")
    assert auc["value"].item() == 0.5


def test_labels_of_one_class_leave_the_other_estimators_alone():
    run, _ = counted(labels=np.zeros(12, dtype=int))
    with pytest.warns(UserWarning, match="at least two classes"):
        table = flow_of({"c": ClusteringScore(), "b": BinningMIEstimator()}, run)
    assert set(table.loc[table["estimator"] == "c", "notes"]) == {"not measured"}
    assert len(table.attrs["errors"]) == 6
    assert table.loc[table["estimator"] == "b", "value"].notna().all()


@pytest.mark.parametrize(
    ("estimator", "labels", "says"),
    [
        (NoisyMIEstimator(-1.0), LABELS, "must be a positive standard deviation"),
        (NoisyMIEstimator(0.1, tol=-1), LABELS, "'tol' parameter"),
        (BinningMIEstimator(bin_width=1.0, bin_edges=[0, 1]), LABELS, "not both"),
        (BinningMIEstimator(bin_range=(1, 0)), LABELS, "low < high"),
        (BinningMIEstimator(strategy="discrete", bin_width=1.0), LABELS, "takes no bin_width"),
        (BinningMIEstimator(strategy="quantile", bin_range="run"), LABELS, "no given bin_range"),
        (ClusteringScore(measures=("nc3",)), LABELS, "'nc3'"),
        (ClusteringScore(measures=("binned_entropy",)), LABELS, "needs bin_width"),
        (ClusteringScore(), None, "requires y"),
    ],
)
def test_a_mistake_in_the_call_is_an_error_before_anything_is_read(estimator, labels, says):
    run, store = counted(labels=labels)
    with pytest.raises(ValueError, match=says):
        flow_of({"good": BinningMIEstimator(), "bad": estimator}, run)
    assert store.reads == []


def test_a_store_that_fails_is_a_read_error():
    run, store = counted()

    def read(epoch, layer):
        if epoch == 10:
            raise OSError("the network is down")
        return store.made[epoch, layer]

    store.read = read
    with pytest.warns(UserWarning, match="the network is down"):
        table = flow_of(usual(), run)
    assert set(table.loc[table["epoch"] == 10, "notes"]) == {"read error"}
    assert table.loc[table["epoch"] != 10, "value"].notna().all()
