"""One layer at many sigmas: closed forms, the estimator's own numbers, the table, the picture."""

import sys
from dataclasses import replace
from itertools import product

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PolyCollection
from scipy.integrate import quad, simpson
from scipy.stats import norm
from sklearn.datasets import load_digits

from skinfo import NoisyMIEstimator, SaturationWarning, sigma_curve
from skinfo.flow.tables import read_table, write_table
from skinfo.noise import dropout_sigma
from skinfo.quantities import CURVE_COLUMNS
from skinfo.view import SigmaCurveDisplay

from reference import line_truth

SIGMAS = [0.2, 0.5, 1.0, 3.0]


@pytest.fixture
def X(rng):
    return rng.normal(size=(80, 3))


@pytest.fixture
def y():
    return np.arange(80) % 4


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    plt.close("all")


def measure(X, sigmas=SIGMAS, y=None, **options):
    return sigma_curve(X, y, sigmas=sigmas, **{"random_state": 0} | options)


def column(curve, quantity="mutual_info", name="value"):
    return curve.loc[curve["quantity"] == quantity, name].to_numpy()


def bpsk(sigma):
    """I(S; S + sigma Z) in nats of two equally likely points -1 and 1."""

    def deficit(z):
        return norm.pdf(z) * np.logaddexp(0, -2 * (1 + sigma * z) / sigma**2)

    return np.log(2) - quad(deficit, -12, 12, epsabs=1e-12, limit=200)[0]


# --- closed forms --------------------------------------------------------------------------------


def test_two_points_are_the_binary_input_gaussian_channel():
    sigmas = np.geomspace(0.2, 20, 15)
    curve = measure([[-1.0], [1.0]], sigmas, [0, 1])
    expected = [bpsk(sigma) for sigma in sigmas]
    np.testing.assert_allclose(column(curve), expected, atol=1e-9)
    np.testing.assert_allclose(column(curve, "label_mutual_info"), expected, atol=1e-9)
    assert (column(curve, name="stderr") == 0).all()


def test_cubes_have_three_times_the_information_of_two_points():
    cube = np.array(list(product([-1.0, 1.0], repeat=3)))
    sigmas = np.geomspace(0.3, 5, 12)
    curve = measure(cube, sigmas, cube[:, 0])
    one = np.array([bpsk(sigma) for sigma in sigmas])
    for name, expected in (("mutual_info", 3 * one), ("label_mutual_info", one)):
        error = np.abs(column(curve, name) - expected)
        assert (error <= 5 * column(curve, name, "stderr") + 1e-9).all()
        assert (column(curve, name, "stderr") <= 0.01).all()


def test_saturated_units_keep_their_fine_structure():
    """Units at -1 and 1 that differ by 2^-26: two cubes at half of it, two points far above."""
    fine = np.array(list(product([0.0, 1.0], repeat=5))) * 2.0**-26
    sigmas = 2.0 ** np.array([-27, -20, -3])
    curve = sigma_curve(np.concatenate([1 - fine, fine - 1]), sigmas=sigmas, random_state=0)
    found = curve[curve["quantity"] == "mutual_info"]
    truths = np.log(2) + 5 * np.array([bpsk(1.0), bpsk(128.0), 0.0])
    assert (np.abs(found["value"] - truths) < 4 * found["stderr"] + 1e-4).all()


def test_small_noise_leaves_the_entropy_of_the_inputs_and_large_noise_nothing(X, y):
    curve = measure(X, [1e-4, 1e4], y)
    np.testing.assert_allclose(column(curve), [np.log(80), 0], atol=1e-6)
    np.testing.assert_allclose(column(curve, "label_mutual_info"), [np.log(4), 0], atol=1e-6)


def test_inputs_that_coincide_are_told_apart_by_no_sigma(X):
    """The limit is H(S), which is less than log n: log n stays the ceiling."""
    curve = measure(np.concatenate([X, X]), [1e-4])
    assert column(curve) == pytest.approx(np.log(80), abs=1e-6)
    assert column(curve, "ceiling") == pytest.approx(np.log(160))


def test_ceiling_is_the_smaller_of_the_entropy_and_the_gaussian_capacity(X):
    curve = measure(X, np.geomspace(0.01, 30, 12))
    covariance = np.cov(X.T, bias=True)
    capacity = [
        0.5 * np.linalg.slogdet(np.eye(3) + covariance / sigma**2)[1]
        for sigma in curve["sigma"].unique()
    ]
    assert capacity[0] > np.log(80) > capacity[-1]
    np.testing.assert_allclose(column(curve, "ceiling"), np.minimum(np.log(80), capacity))
    assert (column(curve) <= column(curve, "ceiling")).all()


def test_a_gaussian_layer_reaches_the_gaussian_capacity(rng):
    S = rng.normal(size=(3000, 2))
    S = np.linalg.qr(S - S.mean(axis=0))[0] * np.sqrt(3000)  # of covariance 1, exactly
    sigmas = np.array([1.0, 2.0, 4.0])
    curve = measure(S, sigmas)
    capacity = np.log1p(1 / sigmas**2)
    np.testing.assert_allclose(column(curve, "ceiling"), capacity)
    assert (np.abs(column(curve) - capacity) < 5 * column(curve, name="stderr")).all()


def test_information_falls_as_sigma_grows(X, y):
    curve = measure(X, np.geomspace(0.05, 20, 25), y)
    for name in ("mutual_info", "label_mutual_info"):
        value, stderr = column(curve, name), column(curve, name, "stderr")
        # The exact curve falls; where it is flat, at saturation, only the error tells two apart.
        assert (np.diff(value) < 3 * stderr[1:]).all()
        steep = value < 0.98 * value[0]
        assert (np.diff(value[steep]) < 0).all()


# --- the slope: how many directions are resolved ---------------------------------------------


def bpsk_slope(sigma):
    """E |S - E[S|T]|^2 / sigma^2 of two equally likely points -1 and 1, whose mean is tanh."""

    def error(z):
        return norm.pdf(z) * (1 - np.tanh((1 + sigma * z) / sigma**2))

    return quad(error, -12, 12, epsabs=1e-12, limit=200)[0] / sigma**2


def slopes(curve, name="value"):
    return column(curve, "effective_dimension", name)


@pytest.mark.parametrize("d", [1, 3])
def test_the_slope_of_a_cube_is_that_of_its_units_added_up(d):
    cube = np.array(list(product([-1.0, 1.0], repeat=d)))
    sigmas = np.geomspace(0.2, 10, 10)
    curve = measure(cube, sigmas, tol=0.002)
    truth = d * np.array([bpsk_slope(sigma) for sigma in sigmas])
    assert (np.abs(slopes(curve) - truth) <= 4 * slopes(curve, "stderr") + 1e-4).all()
    assert (slopes(curve, "lower") <= truth + 1e-9).all()
    assert (truth <= slopes(curve, "upper") + 1e-9).all()
    assert (slopes(curve, "stderr") <= 0.002).all()
    # It is the derivative of the information, which quadrature gives on a line.
    step = 1e-4
    rise = [d * (bpsk(s * np.exp(-step)) - bpsk(s * np.exp(step))) / (2 * step) for s in sigmas]
    np.testing.assert_allclose(truth, rise, atol=1e-6)


def test_in_large_noise_the_slope_is_the_expansion_of_the_signal(X):
    """I = tr C / 2 sigma^2 - tr C^2 / 4 sigma^4 + ..., whatever the law."""
    C = np.cov(X.T, bias=True)
    sigmas = np.array([10.0, 20.0])
    expansion = np.trace(C) / sigmas**2 - np.trace(C @ C) / sigmas**4
    np.testing.assert_allclose(slopes(measure(X, sigmas)), expansion, rtol=2e-4)
    assert (slopes(measure(X, [1e-5])) == 0).all()


def test_a_gaussian_layer_loses_what_a_linear_guess_loses(rng):
    """3,000 rows of two units stand for their population where sigma is not small."""
    deviations = np.array([1.0, 0.5])
    S = rng.normal(size=(3000, 2)) * deviations
    sigmas = np.array([0.25, 1.0])
    truth = (deviations**2 / (deviations**2 + sigmas[:, None] ** 2)).sum(axis=1)
    curve = measure(S, sigmas, population=True)
    assert (slopes(curve, "lower") < truth).all()
    assert (truth < slopes(curve, "upper")).all()
    assert (slopes(curve, "upper") - slopes(curve, "lower") < 0.15 * truth).all()


def test_a_population_in_many_dimensions_is_bracketed_where_its_rows_are_told_apart(rng):
    S, sigma = rng.normal(size=(300, 20)), 0.2
    truth = 20 / (1 + sigma**2)
    given, sampled = measure(S, [sigma]), measure(S, [sigma], population=True)
    assert slopes(given)[0] < 0.01
    assert slopes(sampled, "lower")[0] < truth < slopes(sampled, "upper")[0] < 1.1 * truth
    assert slopes(sampled, "notes")[0] == "too few inputs"


def test_rows_of_a_cluster_are_not_taken_for_independent():
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(80), 5)
    S = rng.normal(size=(80, 3))[clusters] + 0.05 * rng.normal(size=(400, 3))
    ratio = 1.0025 / 0.3**2
    truths = {"effective_dimension": 3 * ratio / (1 + ratio), "mutual_info": 1.5 * np.log1p(ratio)}
    alone = measure(S, [0.3], population=True).set_index("quantity")
    together = measure(S, [0.3], population=True, clusters=clusters).set_index("quantity")
    for quantity, truth in truths.items():
        assert alone.at[quantity, "upper"] < truth
        assert together.at[quantity, "lower"] < truth < together.at[quantity, "upper"]


def test_weights_are_probabilities_and_far_rows_keep_their_digits():
    points = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    twice = measure(points[[0, 0, 1, 2]], [0.5], tol=1e-3)
    weighted = measure(points, [0.5], sample_weight=[2, 1, 1], tol=1e-3)
    error = np.hypot(slopes(twice, "stderr"), slopes(weighted, "stderr"))
    assert abs(slopes(twice) - slopes(weighted)) < 4 * error
    # Pairs a million sigma apart: products of coordinates would round their distances.
    pairs = (points[:, None] * 1e6 + points[:2]).reshape(6, 2)
    assert slopes(measure(pairs, [0.5]))[0] == pytest.approx(bpsk_slope(1.0), abs=0.01)


def test_the_integral_of_the_slope_is_the_difference_of_values(X):
    X, sigmas = X[:30], np.geomspace(0.05, 5, 31)
    curve = measure(X, sigmas)
    integral = simpson(slopes(curve), x=np.log(sigmas))
    assert integral == pytest.approx(column(curve)[0] - column(curve)[-1], abs=0.02)
    assert not curve["notes"].str.contains("slope differs").any()


def test_a_slope_that_the_values_contradict_is_noted(X, monkeypatch):
    found = sys.modules["skinfo.noisy.sigma_curve"]
    original = found.effective_dimension

    def off_by_half(mixture, **options):
        slope = original(mixture, **options)
        if mixture.space.sigma != 1.0:
            return slope
        return replace(slope, lower=1.5 * slope.lower, value=1.5 * slope.value, upper=9.0)

    monkeypatch.setattr(found, "effective_dimension", off_by_half)
    curve = measure(X, [0.5, 1.0, 1.05, 2.0])
    noted = curve[curve["notes"].str.contains("slope differs")]
    assert set(noted["quantity"]) == {"mutual_info", "effective_dimension"}
    assert set(noted["sigma"]) == {1.0, 1.05}


# --- what all sigmas share -----------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"population": True}, {"units": "bits", "tol": 0.05}],
                         ids=["given", "population", "bits"])  # fmt: skip
@pytest.mark.filterwarnings("ignore::skinfo.errors.SaturationWarning")
def test_every_point_is_the_estimators_to_the_last_bit(X, y, options):
    weights = np.arange(80) % 3
    sigmas = [0.01, *SIGMAS]
    curve = measure(X, sigmas, y, sample_weight=weights, **options)
    shown = ["mutual_info", "ceiling", "label_mutual_info", "label_ceiling"]
    shown += ["label_log_classes"] if options.get("population") else []
    ends = ["lower", "upper", "notes"]
    expected = []
    for sigma in sigmas:
        est = NoisyMIEstimator(sigma, random_state=0, **options).fit(X, y, sample_weight=weights)
        found = {quantity.name: quantity.cells() for quantity in est.quantities_}
        expected += [{"sigma": sigma} | found[name] for name in shown]
    expected = pd.DataFrame(expected, columns=list(CURVE_COLUMNS))
    curve = curve[curve["quantity"] != "effective_dimension"].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        curve.drop(columns=ends), expected.drop(columns=ends), check_exact=True
    )
    assert (curve["lower"] >= expected["lower"]).all()
    assert (curve["upper"] <= expected["upper"]).all()


@pytest.mark.parametrize("population", [False, True])
def test_what_holds_with_more_noise_holds_with_less(population):
    """An end beyond that of a neighbour, on the side that data processing rules out, is moved."""
    digits = load_digits()
    X, y = digits.data[:200, :32] / 16, digits.target[:200]
    curve = measure(X, [0.8, 0.01, 0.2, 0.4], y, population=population)
    assert curve["sigma"].tolist()[0] == 0.8
    curve = curve.sort_values("sigma", kind="stable")
    alone = NoisyMIEstimator(0.8, population=population, random_state=0).fit(X, y)
    for name in ("mutual_info", "label_mutual_info", "ceiling", "label_ceiling"):
        found = curve[curve["quantity"] == name]
        for end in ("lower", "upper"):
            ends = found[end].to_numpy()
            assert (ends[1:] <= ends[:-1] + 1e-12).all(), (name, end)
        assert (found["lower"] <= found["value"]).all()
        assert (found["value"] <= found["upper"]).all()
    label = column(curve, "label_mutual_info", "lower")
    assert label[-1] == alone.label_bracket_[0]
    assert label[0] > 1


def test_neighbouring_points_err_alike():
    """A grid is full of ties: were the rows ordered at each sigma anew, they would be other draws.

    Its coordinates are independent, so the truth is three times that of a line, by quadrature.
    """
    line = np.linspace(0, 1, 11)
    grid = np.array(list(product(line, repeat=3)))
    sigmas = np.geomspace(0.03, 0.3, 25)
    curve = measure(grid, sigmas, tol=1e-9, max_evaluations=2**13)
    error = column(curve) - 3 * column(measure(line[:, None], sigmas))
    assert np.abs(np.diff(error)).max() < 0.3 * column(curve, name="stderr").mean()


def test_numbers_depend_on_no_order_of_sigmas_and_no_threads(X, y):
    curve = measure(X, SIGMAS, y)
    other = measure(X, SIGMAS[::-1], y, n_jobs=2)
    assert other["sigma"].unique().tolist() == SIGMAS[::-1]
    again = other.sort_values("sigma", kind="stable", ignore_index=True)
    pd.testing.assert_frame_equal(again, curve, check_exact=True)


def test_a_generator_is_drawn_from_once(X):
    generator = np.random.RandomState(3)
    curve = measure(X, random_state=generator)
    used = np.random.RandomState(3)
    used.randint(2**31 - 1)
    assert generator.randint(1000) == used.randint(1000)
    again = measure(X, random_state=generator)
    assert not set(column(again)) & set(column(curve))


# --- the table -----------------------------------------------------------------------------------


def test_columns_and_rows(X, y):
    curve = measure(X, SIGMAS, y)
    assert tuple(curve.columns) == CURVE_COLUMNS
    assert curve["sigma"].tolist() == np.repeat(SIGMAS, 5).tolist()
    names = ["mutual_info", "ceiling", "label_mutual_info", "label_ceiling", "effective_dimension"]
    assert curve["quantity"].tolist() == names * 4
    assert curve["unit"].tolist() == (["nats"] * 4 + [""]) * 4
    assert (curve["lower"] <= curve["value"]).all()
    assert (curve["value"] <= curve["upper"]).all()
    np.testing.assert_allclose(column(curve, "label_ceiling"), np.log(4))
    assert set(measure(X)["quantity"]) == {"mutual_info", "ceiling", "effective_dimension"}


def test_labels_of_any_kind(X, y):
    names = np.array(["cat", "dog", "owl", "yak"])[y]
    pd.testing.assert_frame_equal(measure(X, SIGMAS, names), measure(X, SIGMAS, y))
    alike = measure(X, SIGMAS, np.zeros(80))
    assert (column(alike, "label_mutual_info") == 0).all()


def test_a_data_frame_of_activations(X):
    frame = pd.DataFrame(X, columns=["a", "b", "c"])
    pd.testing.assert_frame_equal(measure(frame), measure(X))


def test_bits_are_nats_over_log_2(X, y):
    nats = measure(X, SIGMAS, y)
    bits = measure(X, SIGMAS, y, units="bits", tol=0.01 / np.log(2))
    is_pure = bits["quantity"] == "effective_dimension"
    assert set(bits["unit"][~is_pure]) == {"bits"}
    assert_same = pd.testing.assert_frame_equal
    assert_same(bits[is_pure], nats[is_pure], check_exact=False, rtol=1e-12)
    bits, nats = bits[~is_pure], nats[~is_pure]
    numbers = ["value", "stderr", "lower", "upper"]
    np.testing.assert_allclose(bits[numbers] * np.log(2), nats[numbers], rtol=1e-12)


def test_saturation_is_a_note_and_no_warning(X, recwarn):
    curve = measure(X, [1e-3, 1.0])
    assert column(curve, name="notes").tolist() == ["saturated", ""]
    assert not [w for w in recwarn if w.category is SaturationWarning]


def test_what_was_not_reached_is_noted(X):
    curve = measure(X, [0.5], tol=1e-6, max_evaluations=2**14)
    assert column(curve, name="notes").tolist() == ["tolerance not met"]


def test_sampled_inputs_have_a_wider_bracket_and_no_ceiling(X, y):
    given, sampled = measure(X, [0.5], y), measure(X, [0.5], y, population=True)
    assert column(sampled, "ceiling") == np.inf
    assert column(sampled, name="upper") > column(given, name="upper") + 0.1


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("population", [False, True])
def test_a_curve_comes_back_from_disk_as_it_was(tmp_path, X, y, suffix, population):
    curve = measure(X, [1e-3, 0.1, 7], y, population=population, tol=0.1)
    path = tmp_path / f"curve{suffix}"
    write_table(path, curve)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    found, snapshots = read_table(path)
    assert snapshots is None
    pd.testing.assert_frame_equal(found, curve, check_exact=True)


def test_a_curve_takes_no_snapshots_of_another_table(tmp_path, X):
    (tmp_path / "flow.npz").write_bytes(b"of another table")
    with pytest.raises(ValueError, match=r"flow\.npz belongs to another table"):
        write_table(tmp_path / "flow.csv", measure(X, [1.0]))
    assert not (tmp_path / "flow.csv").exists()


def test_a_damaged_curve_is_named(tmp_path, X):
    path = tmp_path / "curve.csv"
    measure(X, [1.0]).drop(columns="unit").to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"curve\.csv is not a curve .*: it has no column 'unit'"):
        read_table(path)


# --- other noise ---------------------------------------------------------------------------------

RATES = np.array([0.2, 0.5])


def test_a_curve_over_rates_of_dropout_is_the_quadratures():
    relu, labels = np.array([0.0, 0.0, 1.0, 2.0]), np.array([0, 1, 0, 1])
    sigmas = dropout_sigma(RATES)
    curve = measure(relu[:, None], sigmas, labels, noise="multiplicative")
    truth = [line_truth("multiplicative", sigma, relu, labels=labels) for sigma in sigmas]
    for k, name in enumerate(("mutual_info", "label_mutual_info")):
        np.testing.assert_allclose(column(curve, name), [t[k] for t in truth], atol=1e-9)
    np.testing.assert_allclose(column(curve, "pattern_information"), np.log(2), rtol=1e-12)
    np.testing.assert_allclose(column(curve, "label_pattern_information"), 0, atol=1e-12)
    assert set(curve["noise"]) == {"multiplicative"}
    assert "noise" not in measure([[0.0], [1.0]])


def test_a_curve_of_log_normal_noise_is_one_of_logarithms(X):
    positive = np.exp(X)
    curve = measure(positive, SIGMAS, noise="lognormal")
    expected = measure(X, SIGMAS)
    for name in ("value", "lower", "upper"):
        np.testing.assert_allclose(column(curve, name=name), column(expected, name=name), atol=0.03)


@pytest.mark.parametrize("noise", ["multiplicative", "lognormal"])
def test_ends_are_moved_only_where_more_noise_knows_less(noise):
    """What dropout of a larger rate adds depends on S, so that one rate bounds no other."""
    digits = load_digits()
    X, y = np.exp(digits.data[:60, 2:6] / 16), digits.target[:60]
    options = {"population": True, "tol": 0.1}
    low, high = 0.004, 0.014
    curve = measure(X, [low, high], y, noise=noise, **options)
    label = column(curve, "label_mutual_info", "lower")
    with pytest.warns(SaturationWarning):
        alone = [
            NoisyMIEstimator(s, noise=noise, random_state=0, **options).fit(X, y).label_bracket_[0]
            for s in (low, high)
        ]
    assert alone[0] < alone[1]
    assert label.tolist() == (alone if noise == "multiplicative" else [alone[1], alone[1]])


@pytest.mark.parametrize(
    ("noise", "said"),
    [
        ("affine", r"noise='affine' has 2 parameters \(a, b\), and a curve is against one"),
        ("gaussian", "noise is one of 'additive', .*; got 'gaussian'"),
        (3, "The 'noise' parameter of sigma_curve must be"),
    ],
)
def test_noise_of_which_there_is_no_curve_is_named(noise, said, X):
    with pytest.raises(ValueError, match=said):
        measure(X, noise=noise)


# --- bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0, -1, np.nan, np.inf, None])
def test_every_sigma_must_be_positive_and_the_message_says_why(bad, X):
    with pytest.raises(ValueError, match="positive standard deviation.*deterministic"):
        measure(X, [0.5, bad])


@pytest.mark.parametrize("bad", [[], 0.5, [[0.5, 1.0]]], ids=["none", "a number", "two axes"])
def test_sigmas_are_a_list_of_at_least_one(bad, X):
    with pytest.raises(ValueError, match="list of standard deviations, at least one"):
        measure(X, bad)


def test_a_sigma_given_twice_is_named(X):
    with pytest.raises(ValueError, match="0.5 more than once"):
        measure(X, [0.1, 0.5, 1, 0.5])


@pytest.mark.parametrize("options", [{"tol": 0}, {"population": "both"}, {"max_evaluations": 3},
                                     {"units": "hartley"}, {"n_jobs": "two"}],
                         ids=lambda o: next(iter(o)))  # fmt: skip
def test_bad_parameters_are_named(options, X):
    name = next(iter(options))
    with pytest.raises(ValueError, match=f"The '{name}' parameter of sigma_curve"):
        measure(X, **options)


def test_bad_activations_labels_and_weights_are_named(X, y, rng):
    with pytest.raises(ValueError, match="79 labels for 80 rows"):
        measure(X, SIGMAS, y[:-1])
    with pytest.raises(ValueError, match="continuous"):
        measure(X, SIGMAS, rng.normal(size=80))
    with pytest.raises(ValueError, match="[Nn]egative"):
        measure(X, sample_weight=np.linspace(-1, 1, 80))
    with pytest.raises(ValueError, match="1 sample"):
        measure(X[:1])
    with pytest.raises(ValueError, match="Check the units of sigma"):
        measure(X * 1e13, [0.1, 1e13])
    X[7, 2] = np.nan
    with pytest.raises(ValueError, match="(?s)NaN.*row 7, column 2"):
        measure(X)


# --- the picture ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def curve():
    rng = np.random.default_rng(0)
    S = rng.normal(size=(60, 2))
    return measure(S, [0.5, 0.001, 3.0, 0.1], S[:, 0] > 0, tol=0.05)


def drawn(display):
    """Render in full: some warnings appear only then."""
    display.figure_.canvas.draw()
    return display


def lines(ax):
    return {line.get_label(): line for line in ax.lines}


def test_curves_are_the_numbers_of_the_table_by_sigma(curve):
    display = drawn(SigmaCurveDisplay.from_table(curve).plot())
    assert list(display.axes_) == ["mutual_info", "effective_dimension", "label_mutual_info"]
    for name, prefix in (("mutual_info", ""), ("label_mutual_info", "label_")):
        ax = display.axes_[name]
        rows = curve[curve["quantity"] == f"{prefix}mutual_info"].sort_values("sigma")
        np.testing.assert_array_equal(lines(ax)["_curve"].get_xydata(), rows[["sigma", "value"]])
        ceiling = curve[curve["quantity"] == f"{prefix}ceiling"].sort_values("sigma")
        dashed = lines(ax)["ceiling"]
        np.testing.assert_array_equal(dashed.get_xydata(), ceiling[["sigma", "value"]])
        assert dashed.get_linestyle() == "--"
        (band,) = (c for c in ax.collections if isinstance(c, PolyCollection))
        x, height = band.get_paths()[0].vertices.T
        for _, row in rows.iterrows():
            at = height[x == row["sigma"]]
            assert (at.min(), at.max()) == (row["lower"], row["upper"])


@pytest.mark.parametrize("unit", ["nats", "bits"])
def test_axes_name_quantity_and_unit(unit, X, y):
    axes = SigmaCurveDisplay.from_table(measure(X, SIGMAS, y, units=unit)).plot().axes_
    labels = [ax.get_ylabel() for ax in axes.values()]
    assert labels == [f"I(X;T) [{unit}]", "Effective\ndimension", f"I(Y;T) [{unit}]"]
    assert {ax.get_xscale() for ax in axes.values()} == {"log"}
    assert "σ" in axes["label_mutual_info"].get_xlabel()
    assert {ax.get_ylim()[0] for ax in axes.values()} == {0}


def test_saturated_points_are_hollow(curve):
    ax = SigmaCurveDisplay.from_table(curve).plot().axes_["mutual_info"]
    hollow = lines(ax)["saturated"]
    assert hollow.get_xdata().tolist() == [0.001]
    assert hollow.get_markerfacecolor() == "white"


def test_a_curve_without_labels_or_ceiling_draws(X):
    display = drawn(SigmaCurveDisplay.from_table(measure(X, population=True)).plot())
    assert list(display.axes_) == ["mutual_info", "effective_dimension"]
    assert list(lines(display.axes_["mutual_info"])) == ["_curve", "too few inputs"]
    (name,) = display.axes_["mutual_info"].get_legend().get_texts()
    assert name.get_text() == "too few inputs"
    drawn(SigmaCurveDisplay.from_table(measure(X, [0.5])).plot())


def test_curves_are_laid_over_one_another(curve, X):
    first = SigmaCurveDisplay.from_table(curve).plot(label="first", color="k")
    before = first.axes_["mutual_info"].get_ylim()[1]
    higher = measure(np.concatenate([X, X + 9]), [0.01, 0.1])
    second = drawn(SigmaCurveDisplay.from_table(higher).plot(first.axes_, label="second"))
    assert second.figure_ is first.figure_
    assert plt.get_fignums() == [first.figure_.number]
    top = first.axes_["mutual_info"]
    names = [text.get_text() for text in top.get_legend().get_texts()]
    assert names == ["first", "second", "saturated", "ceiling"]
    assert top.get_ylim()[1] > max(before, np.log(160))
    in_bits = SigmaCurveDisplay.from_table(measure(X, units="bits"))
    with pytest.raises(ValueError, match=r"\[bits\] cannot be drawn into axes of .*\[nats\]"):
        in_bits.plot(first.axes_)


def test_the_axes_say_what_is_drawn(curve):
    _, ax = plt.subplots()
    display = drawn(SigmaCurveDisplay.from_table(curve).plot({"label_mutual_info": ax}))
    assert display.figure_ is ax.figure
    assert set(lines(ax)) == {"_curve", "ceiling"}
    with pytest.raises(ValueError, match="axes are for entropy; the curve has mutual_info, eff"):
        SigmaCurveDisplay.from_table(curve).plot({"entropy": ax})


def test_a_table_that_went_through_csv_draws_the_same(tmp_path, curve):
    curve.to_csv(tmp_path / "curve.csv", index=False)
    back = SigmaCurveDisplay.from_table(pd.read_csv(tmp_path / "curve.csv")).plot()
    assert set(lines(back.axes_["mutual_info"])) == {"_curve", "saturated", "ceiling"}


def test_what_is_no_curve_is_refused(curve):
    with pytest.raises(ValueError, match="not a curve against sigma.*'notes'"):
        SigmaCurveDisplay.from_table(curve.drop(columns="notes"))
    with pytest.raises(ValueError, match="more than once"):
        SigmaCurveDisplay.from_table(pd.concat([curve, curve]))
    with pytest.raises(ValueError, match="no mutual_info"):
        SigmaCurveDisplay.from_table(curve[curve["quantity"] == "ceiling"]).plot()


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_curve_over_rates_says_so_also_when_it_comes_from_disk(tmp_path, suffix):
    curve = measure([[0.0], [1.0], [2.0]], dropout_sigma(RATES), noise="multiplicative")
    write_table(tmp_path / f"curve{suffix}", curve)
    table = read_table(tmp_path / f"curve{suffix}")[0]
    assert table.equals(curve)
    display = drawn(SigmaCurveDisplay.from_table(table).plot())
    ax = display.axes_["mutual_info"]
    assert display.noise == "multiplicative"
    assert ax.get_xlabel() == "Standard deviation σ of Gaussian dropout"
    (above,) = ax.child_axes
    marked = {text.get_text(): x for text, x in zip(above.get_xticklabels(), above.get_xticks(),
                                                    strict=True)}  # fmt: skip
    assert marked["0.5"] == 1.0
    assert marked["0.2"] == 0.5
    pattern = lines(ax)["zeros and signs alone"]
    # One of three inputs is zero.
    np.testing.assert_allclose(pattern.get_ydata(), np.log(3) - 2 / 3 * np.log(2), rtol=1e-12)
    again = drawn(SigmaCurveDisplay.from_table(curve).plot(display.axes_, label="again"))
    assert len(again.axes_["mutual_info"].child_axes) == 1
    additive = measure([[0.0], [1.0]], [0.5])
    with pytest.raises(ValueError, match="curve of additive noise cannot be drawn into .*dropout"):
        SigmaCurveDisplay.from_table(additive).plot(display.axes_)
    both = pd.concat([curve.iloc[:2], additive.assign(noise="lognormal")])
    with pytest.raises(ValueError, match="curves of multiplicative, lognormal noise"):
        SigmaCurveDisplay.from_table(both)
