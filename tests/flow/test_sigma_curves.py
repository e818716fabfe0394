"""Every layer of a run at many sigmas: quadrature, the curve of each layer alone, and the table."""

import sys

import numpy as np
import pandas as pd
import pytest

from skinfo import open_run, save_run, sigma_curve, sigma_curves
from skinfo.comparison import orders_over_sigmas
from skinfo.flow.tables import read_table, write_table
from skinfo.noisy.sigma_curve import SigmaCurve
from skinfo.view import RunSigmasDisplay

from reference import line_truth

SIGMAS = [0.2, 0.7, 2.0]
LABELS = np.arange(12) % 2
KEYS = ["epoch", "layer", "sigma", "quantity"]


def lines():
    """Layers of one unit: two far groups of near rows, and the same rows spread evenly."""
    rng = np.random.default_rng(0)
    groups = np.where(LABELS == 1, 3.0, -3.0) + rng.normal(scale=0.05, size=12)
    even = np.linspace(-1, 1, 12) + 5
    return {
        (epoch, name): scale * S[:, None]
        for epoch, scale in ((1, 0.5), (7, 1.0))
        for name, S in (("groups", groups), ("even", even))
    }


@pytest.fixture(scope="module")
def run():
    return open_run(lines(), labels=LABELS, layers=["groups", "even"])


def curves_of(run, sigmas=SIGMAS, **options):
    return sigma_curves(run, sigmas=sigmas, progress=False, **options)


@pytest.fixture(scope="module")
def table(run):
    return curves_of(run)


def test_each_layer_and_checkpoint_is_the_quadratures(run, table):
    for (epoch, layer), at in table[table["epoch"] == 7].groupby(["epoch", "layer"]):
        S = run.load(epoch, layer).array[:, 0]
        for sigma in SIGMAS:
            truth = line_truth("additive", sigma, S, labels=LABELS)
            found = at[at["sigma"] == sigma].set_index("quantity")["value"]
            assert found["mutual_info"] == pytest.approx(truth[0], abs=1e-8)
            assert found["label_mutual_info"] == pytest.approx(truth[1], abs=1e-8)


def test_a_population_of_normals_lies_within_its_brackets():
    S = np.random.default_rng(1).normal(size=(200, 2))
    table = curves_of(open_run({(1, "a"): S, (1, "b"): S / 4}), [0.5, 2], population=True)
    for _, row in table[table["quantity"] == "mutual_info"].iterrows():
        scale = 1.0 if row["layer"] == "a" else 0.25
        # 2 units of the Gaussian channel, 1/2 log(1 + signal / noise) each.
        assert row["lower"] <= np.log1p((scale / row["sigma"]) ** 2) <= row["upper"]


@pytest.mark.parametrize(
    ("sigmas", "options"),
    [(SIGMAS, {}), (SIGMAS[:1], {"population": True, "units": "bits"})],
    ids=["", "sample"],
)
def test_each_layer_is_what_a_curve_of_its_rows_is_to_the_last_bit(run, sigmas, options):
    table = curves_of(run, sigmas, unit="rms", **options)
    places = list(table.groupby(["epoch", "layer"]))
    for (epoch, layer), at in places[:1] if options else places:
        S = run.load(epoch, layer).array
        alone = sigma_curve(S, LABELS, sigmas=sigmas, unit="rms", random_state=0, **options)
        pd.testing.assert_frame_equal(
            at[alone.columns].reset_index(drop=True), alone, check_exact=True
        )
        # Sigmas are those of the activations, counted in another unit.
        rms = np.sqrt(np.mean((S - S.mean(axis=0)) ** 2))
        np.testing.assert_allclose(at["rms"], rms, rtol=1e-14)
        in_activations = (np.array(sigmas) * alone["rms"].iloc[0]).tolist()
        absolute = sigma_curve(S, LABELS, sigmas=in_activations, random_state=0, **options)
        columns = [name for name in absolute if name != "sigma"]
        pd.testing.assert_frame_equal(absolute[columns], alone[columns], check_exact=True)
        np.testing.assert_array_equal(alone["sigma"] * alone["rms"], absolute["sigma"])


def test_in_its_own_unit_a_layer_has_no_scale_and_no_offset():
    S = np.random.default_rng(2).normal(size=(40, 2)) * [1, 3]
    run = open_run({(1, "a"): S, (1, "b"): 8 * S + 100})
    table = curves_of(run, unit="rms").pivot(index=KEYS[2:], columns="layer", values="value")
    np.testing.assert_allclose(table["a"], table["b"], atol=1e-6)


def test_numbers_depend_on_no_threads(run, table):
    for n_jobs in (2, 4):
        pd.testing.assert_frame_equal(curves_of(run, n_jobs=n_jobs), table, check_exact=True)


def test_the_same_inputs_are_measured_at_every_layer_and_checkpoint(run, table):
    some = curves_of(run, max_inputs=8, random_state=3)
    assert set(some["inputs"]) == {"8 of 12"}
    assert some.attrs["inputs"] == "8 of 12"
    # Which eight: only they give these numbers at every layer.
    chosen = np.zeros(12, dtype=bool)
    chosen[np.random.default_rng(3).choice(12, 8, replace=False)] = True
    expected = curves_of(run, subset=chosen, random_state=3)
    pd.testing.assert_frame_equal(some.drop(columns="inputs"), expected, check_exact=True)
    assert "inputs" not in curves_of(run, SIGMAS[:1], max_inputs=12)


def test_sequences_are_chosen_whole():
    S = np.random.default_rng(4).normal(size=(12, 5, 2))
    run = open_run({(1, "a"): S}, flatten="tokens")
    some = curves_of(run, [1.0], max_inputs=4)
    chosen = np.sort(np.random.default_rng(0).choice(12, 4, replace=False))
    alone = sigma_curve(S[chosen].reshape(-1, 2), sigmas=[1.0], random_state=0)
    np.testing.assert_array_equal(some["value"], alone["value"])


def test_what_cannot_be_measured_has_a_row_at_each_sigma(run):
    far = np.linspace(-1e200, 1e200, 12)[:, None]
    arrays = lines() | {(1, "groups"): far, (7, "even"): np.full((12, 1), np.nan)}
    broken = open_run(arrays, labels=LABELS, layers=["groups", "even"])
    with pytest.warns(UserWarning, match="not measured"):
        table = curves_of(broken, unit="rms")
    notes = table[table["quantity"] == ""].groupby(["epoch", "layer"])["notes"].agg(list)
    assert notes.to_dict() == {
        (1, "groups"): ["not measured"] * 3, (7, "even"): ["read error"] * 3,
    }  # fmt: skip
    assert (
        "root mean square deviation of these rows overflows" in table.attrs["errors"][0]["message"]
    )
    whole = curves_of(run, unit="rms")
    where = (table["epoch"] == 7) & (table["layer"] == "groups")
    same = whole[(whole["epoch"] == 7) & (whole["layer"] == "groups")]
    np.testing.assert_array_equal(table.loc[where, "value"], same["value"])


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_curves_come_back_from_disk_as_they_were(tmp_path, run, suffix):
    table = curves_of(run, SIGMAS[:2], unit="rms", max_inputs=8)
    write_table(tmp_path / f"curves{suffix}", table)
    back = read_table(tmp_path / f"curves{suffix}")[0]
    pd.testing.assert_frame_equal(back, table, check_exact=True)
    write_table(tmp_path / "twice.csv", pd.concat([table, table]))
    with pytest.raises(ValueError, match=r"sigma 0\.2.*more than once"):
        read_table(tmp_path / "twice.csv")


def test_an_interrupted_sweep_goes_on_where_it_stopped(tmp_path, run, monkeypatch):
    first = curves_of(run, memory=tmp_path)
    # The name in the package is the function's.
    monkeypatch.setattr(sys.modules[SigmaCurve.__module__], "_measured_at", None)
    pd.testing.assert_frame_equal(curves_of(run, memory=tmp_path), first, check_exact=True)
    with pytest.raises(TypeError):
        curves_of(run, [0.3], memory=tmp_path)


def test_a_run_on_disk_is_measured_by_its_path(tmp_path, table):
    for epoch in (1, 7):
        arrays = {name: S for (at, name), S in lines().items() if at == epoch}
        save_run(tmp_path / "run", epoch, arrays, labels=LABELS)
    found = curves_of(tmp_path / "run")
    pd.testing.assert_frame_equal(found, table, check_exact=True)


def test_replicas_behind_noise_are_refused():
    behind = {(1, "a"): np.zeros((4, 1)), (1, "b"): np.random.default_rng(0).normal(size=(4, 3, 1))}
    with pytest.raises(ValueError, match="layer 'b' of this run has noise before it"):
        curves_of(open_run(behind, sigma=0.1))
    with pytest.raises(ValueError, match="this run has groups"):
        curves_of(open_run({(1, "a"): np.arange(6.0)[:, None]}, groups=[0, 0, 1, 1, 2, 2]))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_inputs": 1}, "max_inputs is a number of inputs, 2 or more; got 1"),
        ({"max_inputs": 2.5}, "max_inputs is a number of inputs, 2 or more; got 2.5"),
        ({"unit": "RMS"}, "The 'unit' parameter of sigma_curve must be"),
        ({"unit": "rms", "noise": "multiplicative"}, "unit='rms' is for additive noise"),
        ({"sigmas": []}, "sigmas must be a list of standard deviations, at least one"),
        ({"sigmas": [0.1, -1]}, "positive standard deviation"),
        ({"subset": "train"}, "the run does not say what it trained on"),
    ],
)
def test_bad_parameters_are_named_before_anything_is_read(run, options, said, monkeypatch):
    monkeypatch.setattr(SigmaCurve, "fit", None)
    with pytest.raises(ValueError, match=said):
        curves_of(run, **options)


def test_each_set_of_labels_is_measured_and_what_has_none_appears_once():
    sets = {"parity": LABELS, "half": np.arange(12) // 6}
    run = open_run(lines(), labels=sets, layers=["groups", "even"])
    table = curves_of(run, SIGMAS[:2], unit="rms")
    names = table.groupby("quantity")["estimator"].unique().map(list).to_dict()
    assert names["mutual_info"] == ["noisy"]
    assert names["label_mutual_info"] == ["noisy (parity)", "noisy (half)"]
    assert table["rms"].gt(0).all()
    for name, labels in sets.items():
        alone = sigma_curve(
            run.load(7, "even").array, labels, sigmas=SIGMAS[:2], unit="rms", random_state=0
        )
        at = (table["epoch"] == 7) & (table["layer"] == "even")
        at &= (table["estimator"] == f"noisy ({name})") & (table["quantity"] == "label_mutual_info")
        expected = alone.loc[alone["quantity"] == "label_mutual_info", "value"]
        np.testing.assert_array_equal(table.loc[at, "value"], expected)
    said = [line.partition(",")[0] for line in orders_over_sigmas(table)]
    assert list(dict.fromkeys(said)) == [
        "I(X;T)", "I(Y;T) (noisy (parity))", "I(Y;T) (noisy (half))",
    ]  # fmt: skip
    display = RunSigmasDisplay.from_table(table, estimator="noisy (half)")
    drawn = display.table.loc[display.table["quantity"] == "label_mutual_info", "estimator"]
    assert set(drawn) == {"noisy (half)"}
    assert "mutual_info" in set(display.table["quantity"])
