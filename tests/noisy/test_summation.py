"""The two kernels give the same sums, whole or in parts, in double and in single precision."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from scipy.special import logsumexp
from threadpoolctl import threadpool_info

from skinfo._numba import FAST, kernel
from skinfo._rows import Rows
from skinfo.noisy import layout as layout_module
from skinfo.noisy import mixture as mixture_module
from skinfo.noisy.information import measure_mixture
from skinfo.noisy.kernels.blocks import exp2
from skinfo.noisy.kernels.skipping import sum_by_skipping
from skinfo.noisy.layout import order_rows
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.sampling import Draws

CASES = {
    "alone": {},
    "replicas": {"replicas": 5},
    "labels": {"labels": 3},
    "replicas and labels": {"replicas": 7, "labels": 2},
    "many replicas": {"replicas": 100, "labels": 2},
}


def make_rows(n, d, *, replicas=1, labels=0, dtype=np.float64, seed=0, weighted=True):
    rng = np.random.default_rng(seed)
    inputs = np.arange(n) // replicas
    S = rng.normal(size=(inputs[-1] + 1, d))[inputs] + 0.3 * rng.normal(size=(n, d))
    return Rows.make(
        S.astype(dtype),
        groups=inputs if replicas > 1 else None,
        labels=inputs % labels if labels else None,
        input_weights=1.0 + inputs % 3 if weighted else None,
    )


def sums_by(kernel, rows, sigma, monkeypatch, population=False, m=16):
    monkeypatch.setattr(layout_module, "_most_count", lambda *_: kernel == "dense")
    mixture = Mixture.of(rows, sigma)
    sums = mixture.sums_at(mixture.draw_stream(1).take(m), population=population, n_jobs=1)
    halves = [] if sums.half is None else list(np.moveaxis(sums.half, -1, 0))
    return np.stack([sums.group, sums.label, sums.other, *halves])


def assert_same(found, expected, tolerance):
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isfinite(found), finite)
    assert np.abs(found[finite] - expected[finite]).max(initial=0.0) < tolerance


@pytest.mark.parametrize("population", [False, True])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("n", "d", "sigma"), [(700, 3, 1.0), (1300, 17, 3.0), (300, 130, 9.0)])
def test_products_and_differences_give_the_same_sums(n, d, sigma, case, population, monkeypatch):
    rows = make_rows(n, d, **CASES[case])
    dense, skipping = (
        sums_by(kernel, rows, sigma, monkeypatch, population) for kernel in ("dense", "skipping")
    )
    # Of the inputs alone a sum matters beside the ones before it only.
    expected = skipping if population else np.maximum(skipping, -40)
    found = dense if population else np.maximum(dense, -40)
    assert_same(found, expected, 1e-9)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kernel", ["dense", "skipping"])
@pytest.mark.parametrize(("d", "sigma"), [(3, 1.0), (3, 0.1), (17, 3.0)])
def test_single_precision_is_right_to_a_thousandth(case, kernel, d, sigma, monkeypatch):
    single = make_rows(1300, d, dtype=np.float32, **CASES[case])
    double = Rows(single.points.astype(np.float64), single.weights, single.inputs, single.labels)
    expected = sums_by("skipping", double, sigma, monkeypatch, True)
    assert_same(sums_by(kernel, single, sigma, monkeypatch, True), expected, 1e-3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_sums_beyond_the_span_of_a_product_are_taken_again(dtype, monkeypatch):
    """Two clusters 300 sigma apart: the other label's sum is e^-45000."""
    rng = np.random.default_rng(0)
    y = np.arange(512) % 2
    S = rng.normal(size=(512, 4)) + 300.0 * y[:, None]
    rows = Rows.make(S.astype(dtype), labels=y)
    dense, skipping = (
        sums_by(kernel, rows, 1.0, monkeypatch, True) for kernel in ("dense", "skipping")
    )
    assert np.nanmin(skipping[2]) < -40_000
    error = np.abs(dense[1:] / skipping[1:] - 1).max()
    assert error < (1e-10 if dtype == np.float64 else 1e-3)


def test_rounding_of_expanded_squares_never_shows(monkeypatch):
    """At 1e6 sigma from the mean an expanded square has an error of 1e-4: near rows are redone."""
    rng = np.random.default_rng(0)
    S = rng.normal(size=(600, 3)) + 1e6 * rng.integers(0, 2, size=(600, 1))
    dense, skipping = (
        sums_by(kernel, Rows.make(S), 1.0, monkeypatch, True) for kernel in ("dense", "skipping")
    )
    assert_same(dense, skipping, 1e-9)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("sigma", [0.02, 0.1, 1.0])
def test_blocks_that_count_are_estimated_as_the_kernel_finds_them(sigma, case, monkeypatch):
    """Which decides between the kernels, before one of them is compiled."""
    shares = []

    def compare(blocks, queries, _):
        estimated = layout_module._count_blocks(blocks, queries)
        summed = sum_by_skipping(queries, blocks, np.empty((len(queries.points), 3)))
        n_blocks = np.count_nonzero(np.isfinite(blocks.boxes.log_weight))
        shares.append(np.array([estimated, summed]) / (len(queries.points) * n_blocks))
        return False

    monkeypatch.setattr(layout_module, "_most_count", compare)
    mixture = Mixture.of(make_rows(4000, 3, **CASES[case]), sigma)
    mixture.sums_at(mixture.draw_stream(0).take(4), population=False, n_jobs=1)
    assert np.ptp(shares, axis=1).max() < 0.05


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kernel", ["dense", "skipping"])
def test_parts_add_up_to_the_whole(case, kernel, monkeypatch):
    rows = make_rows(1500, 6, **CASES[case])
    monkeypatch.setattr(layout_module, "_most_count", lambda *_: kernel == "dense")
    order = order_rows(rows)
    whole = Mixture.of(rows, 1.0, order)
    draws = whole.draw_stream(1).take(16)
    expected = whole.sums_at(draws, population=True, n_jobs=1)
    monkeypatch.setattr(mixture_module, "_MOST_KEPT", 0)
    monkeypatch.setattr(mixture_module, "_PER_PART", 256 * 6)
    in_parts = Mixture.of(rows, 1.0, order)
    assert len(list(in_parts.layouts(0))) > 2
    found = in_parts.sums_at(draws, population=True, n_jobs=1)
    for name in ("group", "label", "other"):
        assert_same(getattr(found, name), getattr(expected, name), 1e-9)
    points = whole.space.project(rows.points[:50])
    np.testing.assert_allclose(
        in_parts.log_ratios(points, np.zeros(50), 1),
        whole.log_ratios(points, np.zeros(50), 1),
        rtol=1e-11,
    )


def test_many_rows_in_parts_give_the_same_information(monkeypatch):
    rows = make_rows(3000, 4, labels=2)
    expected = measure_mixture(Mixture.of(rows, 0.6), tol=2e-3)
    monkeypatch.setattr(mixture_module, "_MOST_KEPT", 0)
    monkeypatch.setattr(mixture_module, "_PER_PART", 1024 * 4)
    found = measure_mixture(Mixture.of(rows, 0.6), tol=2e-3)
    for name in ("mutual_info", "label_mutual_info"):
        a, b = getattr(found, name), getattr(expected, name)
        assert abs(a.value - b.value) < 4 * np.hypot(a.stderr, b.stderr)


def test_single_precision_stays_single_unless_its_digits_would_be_lost():
    near = make_rows(300, 3, dtype=np.float32)
    assert next(Mixture.of(near, 0.1).layouts(0))[2].blocks.points.dtype == np.float32
    assert next(Mixture.of(near, 1e-4).layouts(0))[2].blocks.points.dtype == np.float64


def test_products_are_chosen_where_most_rows_count():
    rows = make_rows(5000, 3)
    for sigma, expected in ((0.01, False), (5.0, True)):
        mixture = Mixture.of(rows, sigma)
        chosen = []
        original = layout_module._most_count

        def spy(*arguments, chosen=chosen, original=original):
            chosen.append(original(*arguments))
            return chosen[-1]

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(layout_module, "_most_count", spy)
            mixture.sums_at(mixture.draw_stream(0).take(16), population=True, n_jobs=1)
        assert chosen == [expected]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 2e-12), (np.float32, 3e-7)])
def test_the_exponential_is_right_over_its_range(dtype, tolerance):
    x = np.linspace(-90, 90, 20_001).astype(dtype)
    found = powers(x)
    assert np.abs(found / np.exp2(x.astype(np.float64)) - 1).max() < tolerance
    limit = 1000 if dtype == np.float64 else 100
    ends = powers(np.array([-np.inf, -2 * limit, 2 * limit], dtype=dtype))
    np.testing.assert_allclose(np.log2(ends.astype(float)), [-limit, -limit, limit], atol=1e-6)


@kernel(FAST)
def powers(x):
    out = np.empty_like(x)
    for i in range(len(x)):
        out[i] = exp2(x[i])
    return out


@pytest.mark.parametrize(("dtype", "far"), [(np.float64, 60.0), (np.float32, 30.0)])
@pytest.mark.parametrize("kernel", ["dense", "skipping"])
def test_padding_that_lies_where_the_own_row_does_decides_nothing(kernel, dtype, far, monkeypatch):
    """A label of 65 rows whose last lies apart: the padding behind it is no row to refer to."""
    rng = np.random.default_rng(0)
    S = np.concatenate([0.1 * rng.normal(size=(64, 2)), [[far, 0.0]]])
    S = np.concatenate([S, S * [1, -1] + [0, 3 * far]]).astype(dtype)
    rows = Rows.make(S, labels=np.arange(130) // 65)
    monkeypatch.setattr(layout_module, "_most_count", lambda *_: kernel == "dense")
    mixture = Mixture.of(rows, 1.0)
    draws = Draws(np.array([[64]]), np.zeros((1, 1, 2)), np.ones((1, 1)))
    sums = mixture.sums_at(draws, population=True, n_jobs=1)
    squares = np.sum((S[64].astype(float) - S.astype(float)) ** 2, axis=1)
    expected = logsumexp(-squares[:64] / 2) - np.log(130)
    assert sums.label[0, 0] == pytest.approx(expected, rel=1e-4)


def test_fits_in_threads_leave_linear_algebra_its_threads():
    def counts():
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    rows = make_rows(3000, 3)
    measure_mixture(Mixture.of(rows, 1.0), n_jobs=2)
    before = counts()
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                lambda seed: measure_mixture(Mixture.of(rows, 1.0), seed=seed, n_jobs=2), range(12)
            )
        )
    assert counts() == before


def test_far_queries_of_single_precision_rows_are_summed_in_double():
    single = make_rows(500, 3, dtype=np.float32)
    double = Rows(single.points.astype(np.float64), single.weights, single.inputs)
    t = np.array([[1e3, 1e3, 1e3], [1e8, 0.0, 0.0]])
    found, expected = (Mixture.of(rows, 0.3).log_density(t) for rows in (single, double))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
