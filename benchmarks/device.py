"""Mixture sums by torch on a GPU, or on the processor where there is none, beside what users have.

Every engine computes log sum_j w_j exp(-|t_i - s_j|^2 / (2 sigma^2)) for the same queries and rows;
the answers are compared with that sum written down in double precision first. sigma is so large
that nothing can be left out. Runs take turns; medians are printed, as (query, row) pairs per
second, and the share that the products of ours have of the peak, a large matrix product of the same
precision without TF32, measured in the same run. "ours" begins and ends with numpy: queries move to
the device and sums come back. "cdist" is torch.cdist and logsumexp on tensors that are there
already, in portions of queries; KeOps takes part where it is installed (the extra "benchmark").
The second table is an estimate as a whole, the third all distances within and between classes, by
the compiled engine on all cores and by torch.

    python benchmarks/device.py
    python benchmarks/device.py --device cuda:1 --dtype float32
    python benchmarks/device.py --quick
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from common import alternate, print_header, print_row, seconds
from scipy.special import logsumexp
from sklearn.base import BaseEstimator, clone

from skinfo import ClusteringScore, NoisyMIEstimator
from skinfo._rows import Rows
from skinfo._torch import FULL_PRECISION, device_for
from skinfo.noisy.mixture import Mixture

try:
    import pykeops
    from pykeops.torch import LazyTensor

    pykeops.set_verbose(False)
except ImportError:
    pykeops = None

CLOSE = {"float64": 1e-8, "float32": 1e-3}
# Pairs that cdist holds at a time.
AT_A_TIME = 2**26
# What is asked of a GPU: pairs per second in few units, of the peak in many, times KeOps' speed.
PAIRS, SHARE, KEOPS = 1e11, 0.5, 3.0
FEW_UNITS, MANY_UNITS = 16, 512

Engine = Callable[[], np.ndarray]


def our_engine(T: np.ndarray, S: np.ndarray, sigma: float, device: str | None) -> Engine:
    mixture = Mixture.of(Rows.make(S), sigma, device=device)
    points = mixture.space.project(T)
    off = 0.5 * mixture.space.squared_distances(T)
    return lambda: mixture.log_ratios(points, np.zeros(len(T)), None) - off


def on_device(function: Callable[[], torch.Tensor]) -> Engine:
    """Waits for the answer, as copying it does."""
    return lambda: function().cpu().numpy().astype(np.float64)


def cdist_engine(t: torch.Tensor, s: torch.Tensor, sigma: float) -> Engine:
    def total() -> torch.Tensor:
        parts = t.split(max(1, AT_A_TIME // len(s)))
        squares = (torch.cdist(part, s).square_() for part in parts)
        logs = [torch.logsumexp(square.mul_(-0.5 / sigma**2), dim=1) for square in squares]
        return torch.cat(logs) - np.log(len(s))

    return on_device(total)


def keops_engine(t: torch.Tensor, s: torch.Tensor, sigma: float) -> Engine:
    def total() -> torch.Tensor:
        square = ((LazyTensor(t[:, None]) - LazyTensor(s[None])) ** 2).sum(-1)
        return (square * (-0.5 / sigma**2)).logsumexp(dim=1).ravel() - np.log(len(s))

    return on_device(total)


def check(engines: dict[str, Engine], T: np.ndarray, S: np.ndarray, sigma: float) -> None:
    """All engines agree with the sum by differences, in double precision, at some queries."""
    few = range(0, len(T), max(1, len(T) // 16))
    rows = S.astype(np.float64)
    expected = [
        logsumexp(-((T[i] - rows) ** 2).sum(axis=1) / (2 * sigma**2)) - np.log(len(S)) for i in few
    ]
    for name, engine in engines.items():
        close = CLOSE[S.dtype.name]
        np.testing.assert_allclose(engine()[few], expected, close, close, err_msg=name)


def product_peak(dtype: str, device: str, quick: bool) -> float:
    """Operations per second of a large matrix product."""
    n = 1024 if quick else 2048 if device == "cpu" else 8192
    A = torch.randn(n, n, dtype=getattr(torch, dtype), device=device)

    def product() -> float:
        return float((A @ A)[0, 0])

    with FULL_PRECISION:
        product()
        return 2 * n**3 / min(seconds(product) for _ in range(5))


def compare(
    d: int, n: int, n_queries: int, dtype: str, device: str, peak: float, repeats: int
) -> None:
    """One line of the table."""
    rng = np.random.default_rng(1)
    S, T = (rng.normal(size=(m, d)).astype(dtype) for m in (n, n_queries))
    sigma = 3.0 * max(1.0, d / 16) ** 0.5
    t, s = (torch.as_tensor(values, device=device) for values in (T, S))
    engines = {"ours": our_engine(T, S, sigma, device), "cdist": cdist_engine(t, s, sigma)}
    if pykeops is not None:
        engines["keops"] = keops_engine(t, s, sigma)
    if device == "cpu":
        engines["compiled"] = our_engine(T, S, sigma, None)
    check(engines, T, S, sigma)
    medians = alternate(engines, repeats)
    speeds = {name: n * n_queries / value for name, value in medians.items()}
    share = 2 * d * speeds["ours"] / peak
    cells = [
        f"{speeds[name]:.2g}" if name in speeds else "–" for name in ("cdist", "keops", "compiled")
    ]
    verdict = "no GPU"
    if device != "cpu":
        met = speeds["ours"] >= PAIRS if d <= FEW_UNITS else d < MANY_UNITS or share >= SHARE
        met &= "keops" not in speeds or speeds["ours"] >= KEOPS * speeds["keops"]
        verdict = "met" if met else "missed"
    print_row(d, f"{n:,}", dtype, f"{speeds['ours']:.2g}", f"{share:.0%}", *cells, verdict)


def compare_fits(d: int, n: int, device: str, repeats: int) -> None:
    """One line of the second table: seconds of an estimate, by either engine."""
    est = NoisyMIEstimator(0.5 * d**0.5, tol=0.002, n_jobs=-1, random_state=0)
    by, ratio = fit_by_both(est, d, n, device, repeats)
    values = [fitted.mutual_info_ for fitted, _ in by]
    np.testing.assert_allclose(*values, atol=CLOSE["float32"])
    print_row(d, f"{n:,}", f"{by[1][0].n_evaluations_:,}", *[f"{s:.2f}" for _, s in by], ratio)


def compare_distances(d: int, n: int, device: str, repeats: int) -> None:
    """One line of the third table: seconds of all distances, by either engine."""
    by, ratio = fit_by_both(ClusteringScore(measures=(), n_jobs=-1), d, n, device, repeats)
    for name in ("auc_", "within_mean_"):
        np.testing.assert_allclose(*[getattr(est, name) for est, _ in by], atol=CLOSE["float64"])
    print_row(d, f"{n:,}", *[f"{s:.2f}" for _, s in by], ratio)


def fit_by_both(
    estimator: BaseEstimator, d: int, n: int, device: str, repeats: int
) -> tuple[list[tuple[Any, float]], str]:
    """The estimator fitted by the compiled engine and by torch, with the seconds; their ratio."""
    X = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    y = np.arange(n) % 10
    both = [clone(estimator).set_params(device=by) for by in ("cpu", f"torch:{device}")]
    medians = alternate({est.device: lambda est=est: est.fit(X, y) for est in both}, repeats)
    compiled, by_torch = medians.values()
    return list(zip(both, medians.values(), strict=True)), f"{compiled / by_torch:.1f}x"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=default, help="of torch; a GPU where there is one")
    parser.add_argument("--dtype", choices=("float64", "float32"), help="both by default")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="small sizes, 3 repeats")
    args = parser.parse_args()
    device = device_for(f"torch:{args.device}") or "cpu"
    on_cpu = torch.device(device).type == "cpu"
    name = f", {torch.get_num_threads()} threads" if on_cpu else ""
    if torch.device(device).type == "cuda":
        name = f", {torch.cuda.get_device_name(device)}"
    print(f"torch {torch.__version__} on {device}{name}")
    if pykeops is None:
        print("KeOps is not installed and left out.")
    n, n_queries = (20_000, 1024) if on_cpu else (100_000, 65_536)
    repeats, n, n_queries = (3, 2000, 256) if args.quick else (args.repeats, n, n_queries)
    dtypes = ("float32", "float64") if args.dtype is None else (args.dtype,)
    peaks = {dtype: product_peak(dtype, device, args.quick) for dtype in dtypes}
    for dtype, peak in peaks.items():
        print(f"Peak of a {dtype} matrix product: {peak / 1e12:.3g} TFLOP/s")
    print(f"{n_queries:,} queries; pairs per second\n")
    print_header(
        "d", "n", "dtype", "ours", "share of peak", "cdist", "keops", "compiled engine", "target"
    )
    for dtype in dtypes:
        for d in (3, 16, 128, 512) if args.quick else (3, 16, 128, 512, 2048):
            compare(d, n, n_queries, dtype, device, peaks[dtype], repeats)
    print("\nAn estimate, tolerance 0.002 nat, single precision, 10 labels; seconds\n")
    print_header("d", "n", "draws", "compiled", f"torch, {device}", "ratio")
    for d in (3, 64):
        compare_fits(d, n, device, min(repeats, 3))
    print("\nAll distances within and between 10 classes, in double precision; seconds\n")
    print_header("d", "n", "compiled", f"torch, {device}", "ratio")
    for d in (3, 64):
        compare_distances(d, min(n, 40_000), device, min(repeats, 3))


if __name__ == "__main__":
    main()
