"""A sweep measures each layer with the layer's own noise, and says where it was asked for other."""

import warnings

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skinfo import NoisyMIEstimator, information_flow, open_run
from skinfo.noise import NOISES, AdditiveNoise
from skinfo.quantities import Quantity

from .small_flows import flow_of
from reference import line_truth

S = np.random.default_rng(0).uniform(0.5, 2.0, size=(12, 2))


class Given(BaseEstimator):
    """Tells what it was given: the sum of sigma or of scale, and whether noise was named."""

    uses_replicas = True
    fits = 0

    def __init__(self, sigma=None, noise="additive"):
        self.sigma = sigma
        self.noise = noise

    def fit(self, X, y=None, *, groups=None, scale=None):  # noqa: ARG002
        Given.fits += 1
        size = np.sum(scale) if self.sigma is None else sum(map(np.sum, np.atleast_1d(self.sigma)))
        self.quantities_ = (
            Quantity.exact("size", size, ""),
            Quantity.exact("kind", list(NOISES).index(self.noise), ""),
        )
        return self


KINDS = [("additive", (0.3, 2.0)), ("multiplicative", 0.5), ("lognormal", 0.5),
         ("affine", (0.2, 0.3))]  # fmt: skip


@pytest.mark.parametrize(("noise", "sigma"), KINDS)
def test_each_layer_is_measured_with_its_own_noise(noise, sigma):
    run = open_run({(1, "a"): S, (1, "b"): S}, sigma={"a": sigma, "b": 0.7}, noise={"a": noise})
    table = flow_of(Given(), run).set_index(["layer", "quantity"])
    assert table.loc[("a", "size"), "value"] == pytest.approx(np.sum(sigma))
    assert table.loc[("a", "kind"), "value"] == list(NOISES).index(noise)
    assert table.loc[("b", "size"), "value"] == 0.7
    assert table.loc[("b", "kind"), "value"] == list(NOISES).index("additive")
    assert set(table.loc["a", "notes"]) == {""}
    described = {layer["name"]: layer for layer in table.attrs["layers"]}
    assert described["a"].get("noise", "additive") == noise
    assert described["a"]["sigma"] == (list(sigma) if isinstance(sigma, tuple) else sigma)


@pytest.mark.parametrize(("noise", "sigma"), KINDS)
@pytest.mark.parametrize("asked", ["own", "another sigma", "another noise"])
def test_other_noise_than_the_runs_is_noted(noise, sigma, asked):
    run = open_run({(1, "a"): S}, sigma={"a": sigma}, noise=noise)
    other = "lognormal" if noise == "multiplicative" else "multiplicative"
    given = {
        "own": Given(sigma, noise),
        "another sigma": Given((0.4, 0.4) if noise == "affine" else 0.4, noise),
        "another noise": Given(0.5, other),
    }[asked]
    note = {"own": "", "another sigma": "sigma differs from run",
            "another noise": "noise differs from run"}[asked]  # fmt: skip
    assert set(flow_of(given, run)["notes"]) == {note}


LINE = np.array([0.0, 0.0, 1.0, 2.0])


@pytest.mark.parametrize(
    ("noise", "sigma"),
    [("additive", 0.5), ("multiplicative", 0.3), ("lognormal", 0.5), ("affine", (0.2, 0.3))],
)
def test_the_numbers_are_those_of_the_quadrature(noise, sigma):
    """A layer of one unit, whose zeros no dropout changes, and its run's own noise."""
    labels = np.array([0, 1, 0, 1])
    run = open_run({(1, "a"): LINE[:, None]}, labels=labels, sigma={"a": sigma}, noise=noise)
    measured = flow_of(NoisyMIEstimator(None, random_state=0), run).set_index("quantity")["value"]
    information, of_label, *_ = line_truth(noise, sigma, LINE, labels=labels)
    assert measured["mutual_info"] == pytest.approx(information, abs=1e-9)
    assert measured["label_mutual_info"] == pytest.approx(of_label, abs=1e-9)
    keeps = noise in ("multiplicative", "lognormal")
    assert ("pattern_information" in measured) == keeps
    if keeps:
        assert measured["pattern_information"] == pytest.approx(np.log(2), abs=1e-12)


def test_deviations_of_rows_are_measured_as_stored():
    """N(-1, 1) and N(1, 1/4), equally likely."""
    arrays = {"z": np.array([[-1.0], [1.0]]), "std": np.array([[1.0], [0.5]])}
    run = open_run({1: arrays}, sigma={"z": "std"}, labels=[0, 1])
    table = flow_of(NoisyMIEstimator(None, random_state=0), run).set_index("quantity")
    assert table.loc["mutual_info", "value"] == pytest.approx(0.4743074112, abs=1e-9)
    assert set(table["notes"]) == {""}


def test_one_sigma_per_unit_that_is_the_same_for_all_is_the_same_sigma():
    run = open_run({(1, "a"): S}, sigma={"a": [0.3, 0.3]})
    assert set(flow_of(Given(0.3), run)["notes"]) == {""}


def test_noise_that_is_not_the_runs_needs_a_sigma_of_its_own():
    run = open_run({(1, "a"): S, (1, "b"): S}, sigma=0.5)
    said = (
        "Given: noise='multiplicative' is asked of a run recorded with additive noise .layer 'a'.*"
        "leave noise= out, or give a sigma"
    )
    with pytest.raises(ValueError, match=said):
        flow_of(Given(noise="multiplicative"), run)


def encoded(**options):
    means, deviations = S, 0.1 * S
    return open_run({(1, "z"): means, (1, "std"): deviations}, sigma={"z": "std"}, **options)


def test_stored_deviations_are_handed_over_where_no_sigma_was_given():
    run = encoded()
    assert [layer.name for layer in run.layers] == ["z"]
    table = flow_of(Given(), run)
    assert table["value"][0] == pytest.approx(0.1 * S.sum())
    assert set(table["notes"]) == {""}
    mask = np.arange(12) < 3
    assert flow_of(Given(), run, subset=mask)["value"][0] == pytest.approx(0.1 * S[:3].sum())
    own = flow_of(Given(0.3), run)
    assert own["value"][0] == 0.3
    assert set(own["notes"]) == {"sigma differs from run"}


def test_stored_deviations_are_those_of_the_layers_own_units():
    pipeline = make_pipeline(FunctionTransformer(), Given())
    with pytest.warns(UserWarning, match="those of its own units, not of what the steps"):
        assert set(flow_of(pipeline, encoded())["notes"]) == {"not measured"}
    halved = make_pipeline(FunctionTransformer(), Given(0.3))
    assert flow_of(halved, encoded())["value"][0] == 0.3


@pytest.mark.parametrize(
    ("sigma", "said"),
    [({"z": "gone"}, "layer 'gone'.*no such layer"), ({"z": [0.1, 0.2, 0.3]}, "one per unit")],
)
def test_a_sigma_that_fits_no_checkpoint_ends_a_sweep_before_it_begins(sigma, said):
    run = open_run({(e, "z"): S for e in (1, 2)}, sigma=sigma)
    with pytest.raises(ValueError, match=said):
        flow_of(Given(), run)


def test_what_is_kept_is_of_the_noise_and_of_its_code(tmp_path):
    def fits(**options):
        before = Given.fits
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            flow_of(Given(), open_run({(1, "a"): S}, sigma=0.5, **options), memory=tmp_path)
        return Given.fits - before

    try:
        for power in (0.5, 1.0):

            class Own(AdditiveNoise):
                name = "own"
                exponent = power

            assert [fits(noise="own"), fits(noise="own")] == [1, 0]
    finally:
        del NOISES["own"]
    assert [fits(), fits(), fits(noise="multiplicative"), fits(noise="multiplicative")] == [
        1, 0, 1, 0,
    ]  # fmt: skip
    # As many numbers, other deviations.
    for scale in (0.1, 0.2):
        run = open_run({(1, "z"): S, (1, "std"): scale * S}, sigma={"z": "std"})
        assert flow_of(Given(), run, memory=tmp_path)["value"][0] == pytest.approx(scale * S.sum())


def test_steps_before_other_noise_are_noted():
    """PCA mixes units, and what is multiplied afterwards are no longer those of the network."""
    S = np.random.default_rng(0).normal(size=(40, 3))
    pipeline = make_pipeline(PCA(2), NoisyMIEstimator(None, random_state=0))
    for noise, noted in (("additive", False), ("multiplicative", True)):
        run = open_run({(1, "a"): S}, sigma=0.5, noise=noise)
        flow = information_flow(pipeline, run, progress=False)
        row = flow[flow["quantity"] == "mutual_info"].iloc[0]
        assert ("noise differs from run" in row["notes"]) == noted


def test_noise_on_record_without_a_sigma_is_noted_where_another_is_asked():
    run = open_run({(1, "a"): np.random.default_rng(0).normal(size=(40, 2))}, noise="lognormal")
    flow = information_flow(NoisyMIEstimator(0.5, random_state=0), run, progress=False)
    assert "noise differs from run" in flow["notes"].iloc[0]
