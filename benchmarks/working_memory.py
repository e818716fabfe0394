"""What fits take in memory beside the rows they are given: the ``memory_factor`` of estimators.

Every fit has a fresh process: the kernels are compiled on few rows of the same kind, then the peak
of one fit is compared with what the process held before it. A factor is that difference, less the
bytes that describe each row, in arrays of doubles of the rows' shape (noisy: copies of the rows).

    python benchmarks/working_memory.py
    python benchmarks/working_memory.py --megabytes 20    # quicker
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from common import fresh_process, print_header, print_row

from skinfo import BinningMIEstimator, ClusteringScore, NoisyMIEstimator

FEW = 2000
PAIRS = {"max_pairs": 100_000, "random_state": 0}
QUICK = {"tol": 0.5, "max_evaluations": 2048, "random_state": 0}
ESTIMATORS = {
    "binning": lambda: BinningMIEstimator(),
    "binning, quantiles": lambda: BinningMIEstimator(strategy="quantile"),
    "distances": lambda: ClusteringScore(measures=(), **PAIRS),
    "clustering": lambda: ClusteringScore(**PAIRS),
    "clustering, cosine": lambda: ClusteringScore(metric="cosine", **PAIRS),
    "noisy": lambda: NoisyMIEstimator(5.0, **QUICK),
    "noisy, population": lambda: NoisyMIEstimator(5.0, population=True, **QUICK),
}
# Units, replicas, type.
SHAPES = ((128, 1, "float32"), (64, 1, "float64"), (1000, 1, "float32"), (3, 1, "float32"),
          (128, 8, "float32"))  # fmt: skip


def status(name: str) -> int:
    """A number of /proc/self/status, in bytes."""
    return int(Path("/proc/self/status").read_text().split(f"{name}:")[1].split()[0]) * 1024


def fit_once(name: str, n: int, d: int, replicas: int, dtype: str) -> dict[str, Any]:
    """One fit, in the process that this is called in."""
    warnings.simplefilter("ignore")
    X = np.empty((n, d), dtype=dtype)
    np.random.default_rng(0).standard_normal(out=X, dtype=dtype)
    groups = np.arange(n) // replicas if replicas > 1 else None
    y = (np.arange(n) // replicas) % 10
    few = slice(FEW)
    ESTIMATORS[name]().fit(X[few], y[few], groups=None if groups is None else groups[few])
    # The peak starts anew.
    Path("/proc/self/clear_refs").write_text("5")
    before = status("VmRSS")
    ESTIMATORS[name]().fit(X, y, groups=groups)
    return {"taken": status("VmHWM") - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case is not None:
        print(json.dumps(fit_once(*args.case)))
        return
    print_header("estimator", "n", "d", "replicas", "dtype", "MB", "in doubles", "in copies",
                 "bytes per row")  # fmt: skip
    for d, replicas, dtype in SHAPES:
        size = np.dtype(dtype).itemsize
        n = min(int(args.megabytes * 1e6 / (d * size)), 1_000_000) // replicas * replicas
        for name in ESTIMATORS:
            if replicas > 1 and not name.startswith("noisy"):
                continue
            case = json.dumps([name, n, d, replicas, dtype])
            taken = fresh_process([__file__, "--case", case])["taken"]
            print_row(
                name, f"{n:,}", d, replicas, dtype, f"{taken / 1e6:.0f}",
                f"{taken / (8 * n * d):.2f}", f"{taken / (size * n * d):.2f}", f"{taken / n:.0f}",
            )  # fmt: skip


if __name__ == "__main__":
    main()
