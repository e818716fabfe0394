"""Torch's sums are the compiled ones, on the processor here, whatever the blocks and settings."""

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from scipy.special import logsumexp
from sklearn.base import clone

import skinfo
from noisy.test_kernels import draws_of, mixture_cases
from noisy.test_summation import CASES, assert_same, make_rows
from skinfo import NoisyMIEstimator, _torch, sigma_curve
from skinfo._rows import Rows
from skinfo.datasets import GaussianChain, corners, uniform_cube
from skinfo.noisy import mixture
from skinfo.noisy.kernels.blocks import Queries
from skinfo.noisy.layout import _ARITHMETIC, BINARY, LOG2, order_rows
from skinfo.noisy.mixture import Mixture

import reference

torch = pytest.importorskip("torch")
from torch.overrides import TorchFunctionMode  # noqa: E402
from torch_modes import LiveBytes, PretendedGpu  # noqa: E402

from skinfo.noisy.kernels import torch_sums  # noqa: E402
from skinfo.noisy.kernels.torch_sums import TorchBlocks  # noqa: E402

BY_TORCH = "torch:cpu"
# Of logarithms of sums, in nats.
CLOSE = {"float64": 1e-9, "float32": 1e-3}


def sums_of(rows, noise, device, *, population=True, m=16):
    mixture = Mixture.of(rows, noise, device=device)
    sums = mixture.sums_at(mixture.draw_stream(1).take(m), population=population, n_jobs=1)
    halves = [] if sums.half is None else list(np.moveaxis(sums.half, -1, 0))
    return np.stack([sums.group, sums.label, sums.other, *halves])


def in_double(rows):
    points = rows.points.astype(np.float64)
    return Rows(points, rows.weights, rows.inputs, rows.labels, rows.deviations)


def blocks_of(S, dtype, weights=None):
    """Rows at lengths in units of sigma, on the device, padded to 256 as layouts are."""
    n = -(-len(S) // 256) * 256
    padded = np.full(n, len(S) - 1)
    padded[: len(S)] = np.arange(len(S))
    mass = np.zeros(n)
    mass[: len(S)] = 1 / len(S) if weights is None else weights
    arithmetic = _ARITHMETIC[np.dtype(dtype).name]
    return TorchBlocks.of(S[padded] * BINARY, mass, np.dtype(dtype), "cpu", arithmetic)


def log_density_by(blocks, T):
    return blocks.sum_at(Queries.at(T * BINARY, np.zeros(len(T))))[:, 2] * LOG2


def log_density_of(S, T):
    """Without the constant of the noise, one query at a time."""
    return np.array([logsumexp(-((t - S) ** 2).sum(axis=1) / 2) for t in T]) - np.log(len(S))


@pytest.mark.parametrize("population", [False, True])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("n", "d", "sigma", "dtype"),
    [(1300, 3, 1.0, "float64"), (1300, 5, 0.01, "float64"), (700, 17, 0.3, "float32")],
)
def test_all_sums_equal_the_compiled_ones(n, d, sigma, dtype, case, population):
    rows = make_rows(n, d, dtype=np.dtype(dtype), **CASES[case])
    expected = sums_of(in_double(rows), sigma, None, population=population)
    found = sums_of(rows, sigma, "cpu", population=population)
    if not population:
        # A sum matters beside the ones before it only.
        expected, found = np.maximum(expected, -40), np.maximum(found, -40)
    assert_same(found, expected, CLOSE[dtype])


def assert_are_the_oracles(rows, moved, sigma, close):
    """Sums at draws from moved rows are those that the oracle finds where they were."""
    mixture = Mixture.of(moved, sigma, device="cpu")
    draws, drawn, noise = draws_of(mixture)
    sums = mixture.sums_at(draws, population=True, n_jobs=1)
    found = np.stack([sums.own, sums.group, sums.label, sums.other]).reshape(4, -1)
    for k in range(0, len(drawn), 4):
        known = (rows.weights, rows.inputs, rows.labels, drawn[k], noise[k], sigma)
        expected = np.array(reference.disjoint_sums(rows.points, *known))
        # Of the logarithm of a tiny sum that many digits are known.
        np.testing.assert_allclose(found[:, k], expected, rtol=close / 1000, atol=close)


@settings(max_examples=15)
@given(case=mixture_cases())
def test_sums_of_any_rows_equal_the_oracle_far_from_zero(case):
    rows, moved, _, sigma = case
    assert_are_the_oracles(rows, moved, sigma, CLOSE["float64"])


@pytest.mark.parametrize("d", [1, 16])
@pytest.mark.parametrize("sigma", [1e-3, 0.1, 1e3])
def test_single_precision_is_enough_far_from_zero(d, sigma):
    """Multiples of 1/8 are exact in it at 1e6."""
    rng = np.random.default_rng(d)
    S, groups = np.round(8 * rng.normal(size=(90, d))) / 8, np.arange(90) // 3
    rows = Rows.make(S, groups=groups, labels=groups % 4)
    moved = Rows.make((S + 1e6).astype(np.float32), groups=groups, labels=groups % 4)
    assert_are_the_oracles(rows, moved, sigma, CLOSE["float32"])


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize(("d", "sigma"), [(1, 0.3), (64, 3.0), (1024, 20.0), (4096, 40.0)])
def test_densities_equal_scipys_in_up_to_4096_units(d, sigma, dtype):
    rng = np.random.default_rng(d)
    S = (rng.normal(size=(300, d)) / sigma).astype(dtype).astype(np.float64)
    T = S[::30] + rng.normal(size=(10, d))
    found = log_density_by(blocks_of(S, dtype), T)
    np.testing.assert_allclose(found, log_density_of(S, T), rtol=0, atol=CLOSE[dtype] / 3)


@pytest.mark.filterwarnings("ignore::skinfo.SaturationWarning", "ignore::skinfo.ReplicaWarning")
@pytest.mark.parametrize("sigma", [0.1, 0.5, 3.0])
def test_every_law_has_its_information(sigma):
    """All corners of a cube; a square by Gauss and Legendre; a chain that replicas bracket."""
    options = {"tol": 5e-3, "random_state": 0, "device": BY_TORCH}
    S = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 4), axis=-1).reshape(-1, 4)
    found = NoisyMIEstimator(sigma, **options).fit(S)
    assert found.mutual_info_ == pytest.approx(corners(4).mutual_info(sigma), abs=0.02)
    if sigma >= 0.5:
        nodes, mass = np.polynomial.legendre.leggauss(16)
        square = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
        found.fit(square, sample_weight=np.outer(mass, mass).ravel())
        assert found.mutual_info_ == pytest.approx(uniform_cube(2).mutual_info(sigma), abs=0.02)
    chain = GaussianChain([np.eye(2) + 0.3, np.eye(2) - 0.2], sigma=sigma)
    deep = chain.draw(60, n_replicas=10, random_state=0)[1].reshape(-1, 2)
    known = {"groups": np.repeat(np.arange(60), 10)}
    found = NoisyMIEstimator(sigma, **options).set_params(tol=0.05).fit(deep, **known)
    expected = clone(found).set_params(device=None).fit(deep, **known)
    assert_same_numbers(found, expected)


def assert_same_numbers(found, expected, tolerance=1e-9):
    for one, other in zip(found.quantities_, expected.quantities_, strict=True):
        assert (one.name, one.notes, one.unit) == (other.name, other.notes, other.unit)
        numbers = [[q.value, q.stderr, q.lower, q.upper, q.stderr_sampling] for q in (one, other)]
        np.testing.assert_allclose(*numbers, rtol=tolerance, atol=tolerance, err_msg=one.name)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("case", ["alone", "many replicas"])
def test_sums_do_not_depend_on_the_size_of_blocks(case, dtype, monkeypatch):
    rows = make_rows(900, 6, dtype=np.dtype(dtype), **CASES[case])
    expected = sums_of(rows, 0.5, "cpu")
    for tile, scratch in ((64, 2**21), (192, 2**19), (512, 2**18)):
        monkeypatch.setattr(torch_sums, "TILE", tile)
        monkeypatch.setattr(_torch, "SCRATCH", {"cpu": scratch})
        assert_same(sums_of(rows, 0.5, "cpu"), expected, CLOSE[dtype] / 10)


def test_many_rows_come_to_a_device_in_parts_and_stay(monkeypatch):
    rows = make_rows(900, 6, **CASES["replicas and labels"])
    expected = sums_of(rows, 0.5, "cpu")
    # 256 at a time, in the order that draws depend on.
    monkeypatch.setattr(mixture, "_MOST_KEPT", 256 * 6)
    in_parts = Mixture.of(rows, 0.5, order_rows(rows), device="cpu")
    whole = [layout for _, _, layout in in_parts.layouts(0)]
    assert len(whole) == 4
    assert all(a is b for a, (_, _, b) in zip(whole, in_parts.layouts(0), strict=True))
    draws = in_parts.draw_stream(1).take(16)
    sums = in_parts.sums_at(draws, population=True, n_jobs=1)
    assert_same(np.stack([sums.group, sums.label, sums.other]), expected[:3], CLOSE["float64"])


def test_memory_is_what_is_said(monkeypatch):
    """Live bytes while sums are taken, with room for 1 MiB: in few units, many, and far apart."""
    monkeypatch.setattr(_torch, "SCRATCH", {"cpu": 2**20})
    rng = np.random.default_rng(0)
    for n, d, spread in ((20_000, 2, 1.0), (512, 1024, 1.0), (4096, 3, 1e6)):
        S = spread * rng.normal(size=(n, d))
        blocks, T = blocks_of(S, "float64"), S[:256] + rng.normal(size=(min(n, 256), d))
        with LiveBytes() as seen:
            found = log_density_by(blocks, T)
        assert seen.most < 2**20
        assert seen.total > 2**20
        np.testing.assert_allclose(found[::64], log_density_of(S, T[::64]), atol=1e-9)
    # All rows are replicas of one input.
    T, own = S[:256], np.arange(256)
    queries = Queries.at(T * BINARY, np.zeros(256))._replace(
        own=own, group_slots=np.tile([0, len(S)], (256, 1))
    )
    with LiveBytes() as seen:
        found = blocks.sum_at(queries)
    assert seen.most < 2**20 < seen.total
    nearest = np.sort(((T[::64, None] - S) ** 2).sum(axis=2), axis=1)[:, 1]
    expected = -nearest / 2 - np.log(len(S))
    np.testing.assert_allclose(found[::64, 0] * LOG2, expected, rtol=1e-9)


# --- precision of products -----------------------------------------------------------------------


def precisions():
    of_all = torch.get_float32_matmul_precision()
    by_library = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    return of_all, *(library.fp32_precision for library in by_library)


class Precisions(TorchFunctionMode):
    """Notes what products are computed in."""

    def __enter__(self):
        self.products = []
        return super().__enter__()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.addmm:
            self.products.append((args[1].dtype, *precisions()))
        return function(*args, **(kwargs or {}))


def as_tf32(values):
    """Rounded to the eleven binary digits that TF32 keeps."""
    mantissa, exponent = np.frexp(values.numpy())
    return torch.from_numpy(np.ldexp(np.round(mantissa * 2**11) / 2**11, exponent))


def test_products_are_never_of_tf32_or_bfloat16(monkeypatch):
    """Rows 8 sigma from their mean, where products of eleven binary digits, by hand, are wrong."""
    rng = np.random.default_rng(3)
    S = 1.5 * rng.normal(size=(512, 32)).astype(np.float32).astype(np.float64)
    T = S[:64] + rng.normal(size=(64, 32))
    blocks, expected = blocks_of(S, "float32"), log_density_of(S, T)
    with monkeypatch.context() as patch:
        exact = torch.addmm
        patch.setattr(
            torch, "addmm", lambda c, a, b, alpha: exact(c, as_tf32(a), as_tf32(b), alpha=alpha)
        )
        assert np.abs(log_density_by(blocks, T) - expected).max() > 2 * CLOSE["float32"]
    before, *by_library = precisions()
    log_density_by(blocks, T)
    assert precisions() == (before, *by_library)
    try:
        for precision in ("medium", "high", "highest"):
            torch.set_float32_matmul_precision(precision)
            _, *expected_by_library = precisions()
            with torch.autocast("cpu", dtype=torch.bfloat16), Precisions() as seen:
                found = log_density_by(blocks, T)
            assert set(seen.products) == {(torch.float32, "highest", "ieee", "ieee")}
            assert precisions() == (precision, *expected_by_library)
            assert np.abs(found - expected).max() < CLOSE["float32"] / 50
    finally:
        torch.set_float32_matmul_precision(before)


@pytest.mark.skipif(not hasattr(torch.backends, "fp32_precision"), reason="since torch 2.9")
def test_a_precision_that_follows_the_general_one_goes_on_to():
    library, general = torch.backends.cuda.matmul, torch.backends.fp32_precision
    own = library.fp32_precision
    try:
        library.fp32_precision, torch.backends.fp32_precision = "none", "tf32"
        with _torch.FULL_PRECISION:
            assert library.fp32_precision == "ieee"
        assert library.fp32_precision == "tf32"
        torch.backends.fp32_precision = "ieee"
        assert library.fp32_precision == "ieee"
    finally:
        library.fp32_precision, torch.backends.fp32_precision = own, general


# --- estimators ----------------------------------------------------------------------------------


def fitted(X, y=None, device=None, **options):
    known = {name: options.pop(name) for name in ("groups", "scale") if name in options}
    est = NoisyMIEstimator(**{"sigma": 0.5, "max_evaluations": 2**11, "random_state": 0} | options)
    return est.set_params(device=device).fit(X, y, **known)


@pytest.mark.filterwarnings("ignore::skinfo.ReplicaWarning")
@pytest.mark.parametrize(
    "options",
    [
        {"posterior_draws": 16},
        {"population": True},
        {"groups": np.arange(150) // 5, "posterior_draws": 16},
        {"noise": "multiplicative"},
        {"scale": np.exp(np.random.default_rng(1).uniform(-5, 1, size=(150, 4)))},
    ],
    ids=lambda options: ", ".join(options),
)
def test_estimates_on_a_device_are_the_compiled_ones(options):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(150, 4)) + 1e4
    if "noise" in options:
        # Two strata of more than 256 rows.
        X = 1 + rng.uniform(size=(600, 3))
        X[::2, 0] = 0
    if "population" in options:
        X = X[:50]
    y = np.arange(len(X)) // 5 % 3
    expected, found = (fitted(X, y, device, **options) for device in (None, BY_TORCH))
    assert_same_numbers(found, expected)
    for name in ("pointwise_mutual_info_", "confusion_"):
        one, other = getattr(found, name), getattr(expected, name)
        assert (one is None) == (other is None)
        if one is not None:
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)
    if "scale" not in options:
        assert found.score(X[:9]) == pytest.approx(expected.score(X[:9]), rel=1e-9)
        logs = found.score_samples(X[:9] + 0.3), expected.score_samples(X[:9] + 0.3)
        np.testing.assert_allclose(*logs, rtol=1e-9)


def test_a_curve_on_a_device_is_the_compiled_one():
    X = np.random.default_rng(0).normal(size=(300, 3))
    X[::2] += 100
    options = {"sigmas": [1e-3, 1.0, 30.0], "max_evaluations": 2**12, "random_state": 0}
    expected, found = (sigma_curve(X, device=device, **options) for device in (None, BY_TORCH))
    assert found.drop(columns=["value", "stderr", "lower", "upper"]).equals(
        expected.drop(columns=["value", "stderr", "lower", "upper"])
    )
    for name in ("value", "stderr", "lower", "upper"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-9)
    assert sigma_curve(torch.tensor(X, requires_grad=True), **options).equals(expected)


def test_tensors_on_the_processor_are_measured_to_the_same_bits():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 3)).round(1), np.arange(200) % 2
    expected = fitted(X, y)
    tensors = torch.tensor(X, requires_grad=True), torch.tensor(y)
    for device in (None, "cpu", torch.device("cpu")):
        assert fitted(*tensors, device=device).quantities_ == expected.quantities_
    for narrow in (torch.bfloat16, torch.float16):
        few = torch.tensor(X).to(narrow)
        same = few.float().numpy() if narrow == torch.bfloat16 else few.numpy()
        assert fitted(few, y).quantities_ == fitted(same, y).quantities_


def test_activations_on_a_gpu_are_measured_there():
    """On a pretended one, which refuses what a GPU refuses."""
    X = np.random.default_rng(0).normal(size=(120, 2))
    y, groups = np.arange(120) // 2 % 3, np.arange(120) // 2
    expected = fitted(X, y, groups=groups, posterior_draws=16)
    with PretendedGpu() as gpu:
        given = [torch.as_tensor(values, device="cuda") for values in (X, y, groups)]
        with pytest.raises(RuntimeError, match="tensors on two devices"):
            given[0] + torch.from_numpy(X)
        with pytest.raises(TypeError, match="to numpy"):
            np.asarray(given[0])
        found = fitted(given[0], given[1], groups=given[2], posterior_draws=16)
        assert gpu.products > 0
        logs = found.score_samples(given[0])
        by_numpy = fitted(X, y, "cuda", groups=groups, posterior_draws=16)
        fetched = fitted(given[0], y, "cpu", groups=groups, posterior_draws=16)
        curve = sigma_curve(given[0], sigmas=[0.1, 1.0], max_evaluations=2**10, random_state=0)
        with pytest.raises(ValueError, match="X is on cuda:0, y is on cpu. Move them to one"):
            fitted(given[0], torch.from_numpy(y))
    assert_same_numbers(found, expected)
    assert found.quantities_ == by_numpy.quantities_
    assert fetched.quantities_ == expected.quantities_
    np.testing.assert_allclose(logs, expected.score_samples(X), rtol=1e-9)
    expected = sigma_curve(X, sigmas=[0.1, 1.0], max_evaluations=2**10, random_state=0)
    np.testing.assert_allclose(curve["value"], expected["value"], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "meta", "", 3.5])
def test_devices_that_are_not_there_are_named(device):
    with pytest.raises(ValueError, match=f'device="{device}" cannot be used: '):
        fitted([[0.0], [1.0]], device=device)


def test_a_sweep_is_not_begun_for_a_device_that_is_not_there():
    run = skinfo.open_run({(1, "a"): np.array([[-1.0], [1.0]])}, sigma=0.5)
    for estimator in (NoisyMIEstimator(None, device="gpu"), skinfo.ClusteringScore(device="gpu")):
        with pytest.raises(ValueError, match='device="gpu" cannot be used'):
            skinfo.information_flow(estimator, run)


def test_mps_lacks_double_precision():
    with pytest.raises(ValueError, match='device="mps" has no double precision'):
        sigma_curve([[0.0], [1.0]], sigmas=[1.0], device="mps")


def test_a_device_without_torch_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(skinfo.errors.MissingExtraError, match=r"skinfo\[torch\]"):
        fitted([[0.0], [1.0]], device="cuda")
