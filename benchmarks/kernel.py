"""Mixture sums at many points: ours beside what users could pick instead, in one run.

Every engine computes log sum_j w_j exp(-|t_i - s_j|^2 / (2 sigma^2)) for the same queries and
centres; the answers are compared first. Runs alternate between the engines; medians of seven are
printed, in nanoseconds a (query, centre) pair, beside the roofline: 2 d + 25 operations over the
peak of a large matrix product measured in the same run. sigma is so large that nothing can be left
out. JAX takes part where it is installed.

    python benchmarks/kernel.py
"""

import statistics
import time

import numpy as np
import torch
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.neighbors import KernelDensity

from skinfo.measures.mixture import Mixture
from skinfo.measures.rows import Rows

try:
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
except ImportError:
    jax = None

N_QUERIES = 1024
N_JOBS = 2
REPEATS = 7
SIGMA = 3.0


def numpy_sum(T, S):
    return logsumexp(-cdist(T, S, "sqeuclidean") / (2 * SIGMA**2), axis=1)


def torch_sum(T, S):
    t, s = torch.from_numpy(T), torch.from_numpy(S)
    square = (t * t).sum(1)[:, None] + (s * s).sum(1)[None] - 2 * t @ s.T
    return torch.logsumexp(-square / (2 * SIGMA**2), dim=1).numpy()


def sklearn_sum(T, S):
    d = S.shape[1]
    tree = KernelDensity(bandwidth=SIGMA, rtol=1e-12).fit(S)
    return tree.score_samples(T) + np.log(len(S)) + d / 2 * np.log(2 * np.pi * SIGMA**2)


def our_sum(mixture, T):
    logs = mixture.log_ratios(mixture.subspace.project(T), np.zeros(len(T)), N_JOBS)
    return logs + np.log(len(mixture.order))


def jax_sum():
    @jax.jit
    def total(t, s):
        square = (t * t).sum(1)[:, None] + (s * s).sum(1)[None] - 2 * t @ s.T
        return jax.scipy.special.logsumexp(-square / (2 * SIGMA**2), axis=1)

    return lambda T, S: np.asarray(total(jnp.asarray(T), jnp.asarray(S)))


def matrix_product_peak():
    """Operations a nanosecond of a large double-precision product."""
    A = np.random.default_rng(0).normal(size=(2000, 2000))
    A @ A
    times = []
    for _ in range(3):
        start = time.perf_counter()
        A @ A
        times.append(time.perf_counter() - start)
    return 2 * 2000**3 / min(times) / 1e9


def main():
    peak = matrix_product_peak()
    print(f"peak of a matrix product {peak:.0f} GFLOP/s, {N_JOBS} threads, {N_QUERIES} queries")
    print(f"{'d':>4} {'n':>6} {'engine':<14} {'ns/pair':>8} {'ours is':>8}   roofline")
    for d in (3, 10, 128):
        for n in (4096, 20_000):
            rng = np.random.default_rng(1)
            S, T = rng.normal(size=(n, d)), rng.normal(size=(N_QUERIES, d))
            mixture = Mixture.of(Rows.make(S), SIGMA)
            engines = {
                "skinfo": lambda T, _S, mixture=mixture: our_sum(mixture, T),
                "numpy, scipy": numpy_sum,
                "torch": torch_sum,
            }
            if d <= 10:
                # In high dimension its tree is slow, and wrong at small bandwidths.
                engines["scikit-learn"] = sklearn_sum
            if jax is not None:
                engines["jax"] = jax_sum()
            answers = {name: engine(T, S) for name, engine in engines.items()}
            for name, answer in answers.items():
                np.testing.assert_allclose(answer, answers["numpy, scipy"], rtol=1e-8, err_msg=name)
            times = {name: [] for name in engines}
            for _ in range(REPEATS):
                for name, engine in engines.items():
                    start = time.perf_counter()
                    engine(T, S)
                    times[name].append((time.perf_counter() - start) / (n * N_QUERIES) * 1e9)
            ours = statistics.median(times["skinfo"])
            for name, values in times.items():
                median = statistics.median(values)
                roofline = f"{(2 * d + 25) / peak / median:.0%}" if name == "skinfo" else ""
                print(f"{d:4} {n:6} {name:<14} {median:8.2f} {median / ours:7.1f}x   {roofline}")


if __name__ == "__main__":
    main()
