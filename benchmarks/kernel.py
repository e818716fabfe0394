"""Mixture sums at many points: ours beside what users could pick instead, in one run.

Every engine computes log sum_j w_j exp(-|t_i - s_j|^2 / (2 sigma^2)) for the same queries and
centres; the answers are compared first. Runs take turns; medians of seven are printed, in
nanoseconds per (query, centre) pair, beside the roofline: 2 d + 25 operations over the peak of a
large matrix product of the same precision, measured in the same run. sigma is so large that
nothing can be left out. "plug-in" is the one sum that all engines compute; "four sums" is what an
estimate with replicas and labels takes: own row, rest of its input, rest of its label, all
others, in one pass. scikit-learn and scipy compute in double precision whatever they are given.
A second table holds components with a standard deviation per row and unit, v: log sum_j w_j
exp(-sum_k ((t_ik - s_jk) / v_jk)^2 / 2) / prod_k v_jk, beside the round ones, in double precision.
The others take two products for it, and the roofline counts 4 d + 25 operations.
JAX and KeOps take part where they are installed (the extra "benchmark").

    python benchmarks/kernel.py
    python benchmarks/kernel.py --dtype float32
    python benchmarks/kernel.py --peer jax
    python benchmarks/kernel.py --quick
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from common import alternate, print_header, print_row, seconds
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.neighbors import KernelDensity

from skinfo._rows import Rows
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.sampling import N_RANDOMISATIONS

try:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
except ImportError:
    jax = None
try:
    import pykeops
    from pykeops.numpy import LazyTensor

    pykeops.set_verbose(False)
except ImportError:
    pykeops = None

N_QUERIES = 1024
N_JOBS = 2
SIGMA = 3.0
# Queries that JAX holds all distances of at once.
JAX_BLOCK = 64
# Replicas per input, for rows with inputs and labels.
N_REPLICAS = 8
CLOSE = {"float64": 1e-8, "float32": 1e-4}
PEERS = ("torch", "jax", "keops", "numpy, scipy", "scikit-learn")

Engine = Callable[[], np.ndarray]


def numpy_sum(T: np.ndarray, S: np.ndarray) -> np.ndarray:
    return logsumexp(-cdist(T, S, "sqeuclidean") / (2 * SIGMA**2), axis=1)


def torch_sum(T: np.ndarray, S: np.ndarray) -> np.ndarray:
    t, s = torch.from_numpy(T), torch.from_numpy(S)
    square = (t * t).sum(1)[:, None] + (s * s).sum(1)[None] - 2 * t @ s.T
    return torch.logsumexp(-square / (2 * SIGMA**2), dim=1).numpy()


def sklearn_sum(T: np.ndarray, S: np.ndarray) -> np.ndarray:
    d = S.shape[1]
    tree = KernelDensity(bandwidth=SIGMA, rtol=1e-12).fit(S)
    return tree.score_samples(T) + np.log(len(S)) + d / 2 * np.log(2 * np.pi * SIGMA**2)


def jax_engine(T: np.ndarray, S: np.ndarray) -> Engine:
    """Compiled once; over blocks of queries, so that memory stays bounded."""

    @jax.jit
    def total(t, s):
        s_square = (s * s).sum(1)[None]

        def block(queries):
            square = (queries * queries).sum(1)[:, None] + s_square - 2 * queries @ s.T
            return jax.scipy.special.logsumexp(-square / (2 * SIGMA**2), axis=1)

        return jax.lax.map(block, t.reshape(-1, JAX_BLOCK, t.shape[1])).ravel()

    return lambda: np.asarray(total(jnp.asarray(T), jnp.asarray(S)))


def keops_engine(T: np.ndarray, S: np.ndarray) -> Engine:
    def total() -> np.ndarray:
        t, s = LazyTensor(T[:, None, :]), LazyTensor(S[None, :, :])
        return (-((t - s) ** 2).sum(-1) / (2 * SIGMA**2)).logsumexp(dim=1).ravel()

    return total


def our_engine(T: np.ndarray, S: np.ndarray) -> Engine:
    """The plug-in sum alone; projection of the queries counts, sorting the rows does not."""
    mixture = Mixture.of(Rows.make(S), SIGMA)

    def total() -> np.ndarray:
        logs = mixture.log_ratios(mixture.space.project(T), np.zeros(len(T)), N_JOBS)
        return logs + np.log(len(S))

    return total


def our_four_sums(S: np.ndarray) -> Engine:
    """All four disjoint sums at as many draws, with replicas and two labels."""
    inputs = np.arange(len(S)) // N_REPLICAS
    mixture = Mixture.of(Rows.make(S, groups=inputs, labels=inputs % 2), SIGMA)
    draws = mixture.draw_stream(0).take(N_QUERIES // N_RANDOMISATIONS)
    return lambda: mixture.sums_at(draws, population=False, n_jobs=N_JOBS).all_data.total


def engines_for(T: np.ndarray, S: np.ndarray) -> dict[str, Engine]:
    """Every engine that can answer at this size and precision."""
    engines = {
        "plug-in": our_engine(T, S),
        "four sums": our_four_sums(S),
        "torch": lambda: torch_sum(T, S),
    }
    if jax is not None:
        engines["jax"] = jax_engine(T, S)
    if pykeops is not None:
        engines["keops"] = keops_engine(T, S)
    if T.dtype == np.float64:
        engines["numpy, scipy"] = lambda: numpy_sum(T, S)
        if T.shape[1] <= 10:
            # In high dimension its tree is slow, and wrong at small bandwidths.
            engines["scikit-learn"] = lambda: sklearn_sum(T, S)
    return engines


def check(engines: dict[str, Engine], T: np.ndarray, S: np.ndarray) -> None:
    """All engines agree with the sum written down in numpy, in double precision."""
    expected = numpy_sum(T.astype(np.float64), S.astype(np.float64))
    for name, engine in engines.items():
        answer = engine()
        if name != "four sums":
            tolerance = CLOSE[T.dtype.name]
            np.testing.assert_allclose(answer, expected, tolerance, tolerance, err_msg=name)


def diagonal_factors(S, V, module):
    """What T^2 and T are multiplied with, each (n, d), and what is added, (n,)."""
    inverse = 1 / V**2
    return -inverse / 2, S * inverse, -(S**2 * inverse).sum(1) / 2 - module.log(V).sum(1)


def numpy_diagonal(T: np.ndarray, S: np.ndarray, V: np.ndarray) -> np.ndarray:
    A, B, c = diagonal_factors(S, V, np)
    return logsumexp(T**2 @ A.T + T @ B.T + c, axis=1)


def torch_diagonal(T: np.ndarray, S: np.ndarray, V: np.ndarray) -> np.ndarray:
    t, s, v = map(torch.from_numpy, (T, S, V))
    A, B, c = diagonal_factors(s, v, torch)
    return torch.logsumexp(t**2 @ A.T + t @ B.T + c, dim=1).numpy()


def jax_diagonal(T: np.ndarray, S: np.ndarray, V: np.ndarray) -> Engine:
    """Compiled once; over blocks of queries, so that memory stays bounded."""

    @jax.jit
    def total(t, s, v):
        A, B, c = diagonal_factors(s, v, jnp)

        def block(queries):
            exponents = queries**2 @ A.T + queries @ B.T + c
            return jax.scipy.special.logsumexp(exponents, axis=1)

        return jax.lax.map(block, t.reshape(-1, JAX_BLOCK, t.shape[1])).ravel()

    return lambda: np.asarray(total(jnp.asarray(T), jnp.asarray(S), jnp.asarray(V)))


def keops_diagonal(T: np.ndarray, S: np.ndarray, V: np.ndarray) -> Engine:
    log_volumes = np.log(V).sum(axis=1)

    def total() -> np.ndarray:
        t, s, v = LazyTensor(T[:, None, :]), LazyTensor(S[None, :, :]), LazyTensor(V[None, :, :])
        volumes = LazyTensor(log_volumes[None, :, None])
        return (-(((t - s) / v) ** 2).sum(-1) / 2 - volumes).logsumexp(dim=1).ravel()

    return total


def our_diagonal(T: np.ndarray, S: np.ndarray, V: np.ndarray) -> Engine:
    mixture = Mixture.of(Rows.make(S, deviations=V), 1.0)
    constant = np.log(len(S)) + S.shape[1] / 2 * np.log(2 * np.pi)
    return lambda: mixture.log_density(T, N_JOBS) + constant


def check_diagonal(engines: dict[str, Engine], T: np.ndarray, S: np.ndarray, V: np.ndarray) -> None:
    """All engines agree with the sum by differences, written down in numpy."""
    few = range(0, len(T), 32)
    logs = np.log(V).sum(axis=1)
    expected = [logsumexp(-(((T[i] - S) / V) ** 2).sum(axis=1) / 2 - logs) for i in few]
    for name, engine in engines.items():
        close = CLOSE["float64"]
        np.testing.assert_allclose(engine()[few], expected, close, close, err_msg=name)


def compare_diagonal(d: int, n: int, peak: float, repeats: int, peer: str | None) -> None:
    """One line of the second table."""
    rng = np.random.default_rng(1)
    S, T = (rng.normal(size=(m, d)) for m in (n, N_QUERIES))
    V = SIGMA * np.exp(rng.uniform(-0.4, 0.4, size=(n, d)))
    engines = {
        "diagonal": our_diagonal(T, S, V),
        "torch": lambda: torch_diagonal(T, S, V),
        "numpy, scipy": lambda: numpy_diagonal(T, S, V),
    }
    if jax is not None:
        engines["jax"] = jax_diagonal(T, S, V)
    if pykeops is not None:
        engines["keops"] = keops_diagonal(T, S, V)
    engines = without_others(engines, peer)
    check_diagonal(engines, T, S, V)
    medians = alternate({"round": our_engine(T, S), **engines}, repeats)
    times = {name: value / (n * N_QUERIES) * 1e9 for name, value in medians.items()}
    ours = times["diagonal"]
    peers = [name for name in PEERS if name in times]
    best = min(peers, key=times.__getitem__)
    print_row(
        d, f"{n:,}", f"{times['round']:.2f}", f"{ours:.2f}", f"{ours / times['round']:.2f}",
        *[f"{times[name]:.2f}" for name in peers], f"{times[best] / ours:.1f}x ({best})",
        f"{(4 * d + 25) / peak / ours:.0%}",
    )  # fmt: skip


def matrix_product_peak(dtype: str) -> float:
    """Operations a nanosecond of a large matrix product."""
    A = np.random.default_rng(0).normal(size=(2000, 2000)).astype(dtype)
    A @ A
    return 2 * 2000**3 / min(seconds(lambda: A @ A) for _ in range(3)) / 1e9


def without_others(engines: dict[str, Engine], peer: str | None) -> dict[str, Engine]:
    """Ours, and one other or all."""
    return {name: e for name, e in engines.items() if name not in PEERS or peer in (None, name)}


def compare(d: int, n: int, dtype: str, peak: float, repeats: int, peer: str | None) -> None:
    """One line of the table."""
    rng = np.random.default_rng(1)
    S, T = (rng.normal(size=(m, d)).astype(dtype) for m in (n, N_QUERIES))
    engines = without_others(engines_for(T, S), peer)
    check(engines, T, S)
    medians = alternate(engines, repeats)
    times = {name: value / (n * N_QUERIES) * 1e9 for name, value in medians.items()}
    ours = times["plug-in"]
    best = min((name for name in PEERS if name in times), key=times.__getitem__)
    cells = [f"{times[name]:.2f}" if name in times else "–" for name in PEERS]
    print_row(
        d, f"{n:,}", dtype, f"{ours:.2f}", f"{times['four sums']:.2f}", *cells,
        f"{times[best] / ours:.1f}x ({best})", f"{(2 * d + 25) / peak / ours:.0%}",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dtype", choices=("float64", "float32"), help="both by default")
    parser.add_argument("--peer", choices=PEERS, help="one other engine; all by default")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="n = 4,096 only, 3 repeats")
    args = parser.parse_args()
    for name, module in (("JAX", jax), ("KeOps", pykeops)):
        if module is None:
            print(f"{name} is not installed and left out.")
    repeats, sizes = (3, (4096,)) if args.quick else (args.repeats, (4096, 20_000))
    dtypes = ("float64", "float32") if args.dtype is None else (args.dtype,)
    peaks = {dtype: matrix_product_peak(dtype) for dtype in dtypes}
    for dtype, peak in peaks.items():
        print(f"Peak of a {dtype} matrix product: {peak:.0f} GFLOP/s")
    print(f"{N_JOBS} threads, {N_QUERIES:,} queries; nanoseconds per pair\n")
    print_header(
        "d", "n", "dtype", "skinfo, plug-in", "skinfo, four sums", *PEERS, "best other / plug-in",
        "roofline",
    )  # fmt: skip
    for dtype in dtypes:
        for d in (3, 10, 128):
            for n in sizes:
                compare(d, n, dtype, peaks[dtype], repeats, args.peer)
    if "float64" not in dtypes:
        return
    print("\nA standard deviation per row and unit, in double precision\n")
    missing = ("jax",) * (jax is None) + ("keops",) * (pykeops is None) + ("scikit-learn",)
    if args.peer is not None:
        missing = tuple(name for name in PEERS if name != args.peer)
    print_header(
        "d", "n", "skinfo, round", "skinfo, diagonal", "diagonal / round",
        *[name for name in PEERS if name not in missing], "best other / diagonal", "roofline",
    )  # fmt: skip
    for d in (3, 10, 128):
        for n in sizes:
            compare_diagonal(d, n, peaks["float64"], repeats, args.peer)


if __name__ == "__main__":
    main()
