"""Wide layers, many groups: time, processor time and memory of one fit, on two threads.

Activations are those of a random network with two hidden layers of rectified units, classes apart
in what it reads; replicas are a point each and noise. Every fit has a fresh process, which compiles
on few rows of the same kind first; memory is the peak of the fit less what the process held before.

    python benchmarks/wide.py
    python benchmarks/wide.py --quick     # a fifth of the rows and units
    PYTHONPATH=another/checkout python benchmarks/wide.py
"""

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from common import fresh_process, print_header, print_row
from working_memory import status

from skinfo import ClusteringScore, NoisyMIEstimator

N_CLASSES, LATENT, HIDDEN, FEW = 10, 64, 256, 600
# What is measured; rows, units, replicas; sigma.
CASES = (
    ("noisy", 5000, 6272, 1, 2.0),
    ("noisy", 5000, 6272, 1, 20.0),
    ("clustered", 1500, 6272, 1, None),
    ("noisy", 14_400, 32, 12, 1.0),
    ("noisy", 50_000, 384, 1, 1.0),
    ("noisy", 50_000, 384, 1, 5.0),
    ("clustered", 50_000, 384, 1, None),
)


def activations(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Single precision, and the class of every row."""
    rng = np.random.default_rng(0)
    y = rng.integers(N_CLASSES, size=n)
    X = 2 * rng.standard_normal((N_CLASSES, LATENT))[y] + rng.standard_normal((n, LATENT))
    for inputs, outputs in ((LATENT, HIDDEN), (HIDDEN, d)):
        weights = rng.standard_normal((inputs, outputs)) / np.sqrt(inputs)
        X = np.maximum(X @ weights, 0).astype(np.float32)
    return X, y


def replicas(n: int, d: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of n / r inputs, their classes and their inputs."""
    rng = np.random.default_rng(0)
    y = rng.integers(N_CLASSES, size=n // r)
    means = rng.standard_normal((N_CLASSES, d))[y] + 0.7 * rng.standard_normal((n // r, d))
    groups = np.repeat(np.arange(n // r), r)
    X = np.maximum(means[groups] + 0.3 * rng.standard_normal((n, d)), -1)
    return X, y[groups], groups


def fit(kind: str, sigma: float | None, X: np.ndarray, y: np.ndarray, groups: Any) -> Any:
    if kind == "clustered":
        return ClusteringScore(n_jobs=2).fit(X, y)
    return NoisyMIEstimator(sigma, n_jobs=2, random_state=0).fit(X, y, groups=groups)


def fit_once(kind: str, n: int, d: int, r: int, sigma: float | None) -> dict[str, Any]:
    """One fit, in the process that this is called in."""
    warnings.simplefilter("ignore")
    X, y, groups = (*activations(n, d), None) if r == 1 else replicas(n, d, r)
    some = slice(FEW)
    fit(kind, sigma, X[some, :64], y[some], None if groups is None else groups[some])
    # The peak starts anew.
    Path("/proc/self/clear_refs").write_text("5")
    before, wall, processor = status("VmRSS"), time.perf_counter(), time.process_time()
    fitted = fit(kind, sigma, X, y, groups)
    return {
        "seconds": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
        "layers": (status("VmHWM") - before) / X.nbytes,
        "value": next(
            q for q in fitted.quantities_ if q.name in ("mutual_info", "silhouette")
        ).value,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case is not None:
        print(json.dumps(fit_once(*args.case)))
        return
    print_header("layer", "n", "d", "inputs", "sigma", "seconds", "of processor",
                 "memory, in layers", "I(X;T) or silhouette")  # fmt: skip
    for kind, n, d, r, sigma in CASES:
        n, d = (n // 5 // r * r, max(d // 5, 32)) if args.quick else (n, d)
        found = fresh_process([__file__, "--case", json.dumps([kind, n, d, r, sigma])])
        print_row(
            kind, f"{n:,}", f"{d:,}", f"{n // r:,}", "" if sigma is None else f"{sigma:g}",
            f"{found['seconds']:.1f}", f"{found['processor']:.1f}", f"{found['layers']:.2f}",
            f"{found['value']:.4f}",
        )  # fmt: skip


if __name__ == "__main__":
    main()
