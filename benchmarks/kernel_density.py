"""scikit-learn's KernelDensity in high dimension, held against the same sum done directly.

The density of a noisy layer is a mean of Gaussians around its rows, which is what KernelDensity
with a Gaussian kernel and bandwidth sigma computes: with its default tolerances, 0, to rounding.
Its tree does so up to some thirty dimensions. Beyond, it is wrong without a warning; with all rows
in one leaf, where the tree has no bounds to add and subtract, it is right.

    python benchmarks/kernel_density.py         # writes docs/results/kernel_density.csv

Rows are tanh of normal values; sigma grows like the square root of d so that the information stays
just below log n. "exact" is the log-sum-exp over all rows, at the same draws.
"""

import json
import time
import warnings
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from common import print_header, print_row
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from sklearn.neighbors import KernelDensity

from skinfo import NoisyMIEstimator, SaturationWarning
from skinfo.datasets import noise_entropy

N_ROWS, N_DRAWS, N_SEEDS = 1000, 500, 5
DIMENSIONS = (2, 8, 16, 32, 48, 64, 96, 128, 256, 784)
TREES = {
    "kd_tree, the default": {"algorithm": "kd_tree"},
    "ball_tree": {"algorithm": "ball_tree"},
    "kd_tree, rtol 1e-3": {"algorithm": "kd_tree", "rtol": 1e-3},
    "one leaf": {"leaf_size": N_ROWS},
}


def direct(rows: np.ndarray, draws: np.ndarray, sigma: float) -> np.ndarray:
    """log g at every draw, all rows summed."""
    square = cdist(draws, rows, "sqeuclidean") / (2 * sigma**2)
    d = rows.shape[1]
    return logsumexp(-square, axis=1) - np.log(len(rows)) - d / 2 * np.log(2 * np.pi * sigma**2)


def compare(d: int, seed: int) -> dict[str, float]:
    """I(S;T) in nats at the same draws by every tree and directly; what skinfo says by its own."""
    rng = np.random.default_rng(seed)
    sigma = 0.1 * np.sqrt(d)
    rows = np.tanh(rng.normal(size=(N_ROWS, d)))
    draws = rows[rng.integers(N_ROWS, size=N_DRAWS)] + sigma * rng.normal(size=(N_DRAWS, d))
    logs = {"exact": direct(rows, draws, sigma)}
    for name, options in TREES.items():
        logs[name] = KernelDensity(bandwidth=sigma, **options).fit(rows).score_samples(draws)
    found = {name: float(-log.mean()) - d * noise_entropy(sigma) for name, log in logs.items()}
    est = NoisyMIEstimator(sigma, random_state=seed).fit(rows)
    return {"d": d, "sigma": sigma, "seed": seed, "skinfo": est.mutual_info_, **found}


def main() -> None:
    """Print the first seed, write all."""
    started, names = time.perf_counter(), ("exact", *TREES, "skinfo")
    print_header("d", *(f"{name}, nats" for name in names))
    rows = []
    for d, seed in product(DIMENSIONS, range(N_SEEDS)):
        rows.append(compare(d, seed))
        if seed == 0:
            print_row(d, *(f"{rows[-1][name]:.3f}" for name in names))
    path = Path(__file__).resolve().parents[1] / "docs" / "results" / "kernel_density.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(path, index=False, float_format="%.6g")
    made = {
        "command": "python benchmarks/kernel_density.py",
        "seeds": list(range(N_SEEDS)),
        "seconds": round(time.perf_counter() - started),
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {name: version(name) for name in ("numpy", "scipy", "scikit-learn", "skinfo")},
    }
    path.with_suffix(".json").write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    warnings.simplefilter("ignore", SaturationWarning)
    main()
