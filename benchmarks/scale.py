"""A million float32 rows of 128 units: time, standard error, memory; growth with n and d.

Rows are standard normal, so sigma sets the information: as many Gaussian channels, it cannot
exceed (d / 2) log(1 + 1 / sigma^2) by more than its errors, nor log n. "half" is the sigma at
which that is half of log n, "saturated" is sigma = 1, where all rows can be told apart. Every
measurement has a fresh process: the array is made, the kernels are compiled on a small one of the
same kind, then one fit on two threads is timed; memory is the peak of the process after the fit
less its peak before, so what the array itself takes is not in it. The number of evaluations is
fixed; growth is the slope of a line through the logarithms, at "half", where no row can be left
out.

    python benchmarks/scale.py
    python benchmarks/scale.py --quick     # a 64th of the rows, a quarter of the evaluations
"""

import argparse
import json
import resource
import warnings
from typing import Any

import numpy as np
from common import fresh_process, print_header, print_row, seconds

from skinfo import NoisyMIEstimator

N, D = 1_000_000, 128
N_SAMPLES = tuple(N // 2**k for k in (4, 3, 2, 1, 0))
DIMENSIONS = (16, 32, 64, 128)
N_JOBS = 2
SMALL = 2000
# Those that tell whether information is near its ceiling, and two levels.
EVALUATIONS = 1024 + 2**13


def half_sigma(n: int, d: int) -> float:
    """Where d Gaussian channels carry half of log n."""
    return float(1 / np.sqrt(np.expm1(np.log(n) / d)))


def normal_rows(n: int, d: int) -> np.ndarray:
    """Standard normal rows in single precision, made in place."""
    rows = np.empty((n, d), dtype=np.float32)
    np.random.default_rng(0).standard_normal(out=rows, dtype=np.float32)
    return rows


def peak_memory() -> int:
    """Bytes; Linux counts in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def fit_once(n: int, d: int, sigma: float, labels: bool, evaluations: int) -> dict[str, Any]:
    """One fit, in the process that this is called in."""
    warnings.simplefilter("ignore")
    estimator = NoisyMIEstimator(
        sigma, tol=1e-12, max_evaluations=evaluations, n_jobs=N_JOBS, random_state=0
    )
    S = normal_rows(n, d)
    y = (S[:, 0] > 0).astype(np.int64) if labels else None
    estimator.fit(S[:SMALL], None if y is None else y[:SMALL])
    before = peak_memory()
    wall = seconds(lambda: estimator.fit(S, y))
    return {
        "seconds": wall,
        "memory": peak_memory() - before,
        "information": estimator.mutual_info_,
        "stderr": estimator.stderr_,
        "label_information": estimator.label_mutual_info_ if labels else float("nan"),
        "evaluations": estimator.n_evaluations_,
        "notes": "; ".join(estimator.notes_),
    }


def fit_in_fresh_process(*case: object) -> dict[str, Any]:
    return fresh_process([__file__, "--case", json.dumps(case)])


def study_largest(n: int, evaluations: int) -> None:
    """Time, error and memory at the largest size."""
    gigabytes = n * D * 4 / 1e9
    print(f"{n:,} rows, d = {D}, float32: an array of {gigabytes:.2f} GB\n")
    print_header(
        "sigma", "labels", "evaluations", "seconds", "I(X;T)", "stderr", "log n", "I(Y;T)",
        "GB above the array", "notes",
    )  # fmt: skip
    for name, sigma in (("saturated", 1.0), ("half", half_sigma(n, D))):
        for labels in (False, True):
            fit = fit_in_fresh_process(n, D, sigma, labels, evaluations)
            label = f"{fit['label_information']:.3f}" if labels else ""
            print_row(
                f"{sigma:.2f} ({name})", "yes" if labels else "no", fit["evaluations"],
                f"{fit['seconds']:.1f}", f"{fit['information']:.3f}", f"{fit['stderr']:.4f}",
                f"{np.log(n):.3f}", label, f"{fit['memory'] / 1e9:.2f}",
                fit["notes"],
            )  # fmt: skip


def study_growth(name: str, cases: list[tuple[int, int]], evaluations: int, repeats: int) -> None:
    """Time against n or d, and the slope in logarithms; the fastest of several runs counts."""
    print_header("n", "d", "sigma", "evaluations", "seconds")
    sizes, times = [], []
    for n, d in cases:
        sigma = half_sigma(n, d)
        runs = [fit_in_fresh_process(n, d, sigma, False, evaluations) for _ in range(repeats)]
        times.append(min(run["seconds"] for run in runs))
        sizes.append({"n": n, "d": d}[name])
        print_row(f"{n:,}", d, f"{sigma:.2f}", runs[0]["evaluations"], f"{times[-1]:.2f}")
    slope = np.polyfit(np.log(sizes), np.log(times), 1)[0]
    print(f"\nTime grows as {name}^{slope:.2f}.\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--evaluations", type=int, default=EVALUATIONS, help="most of a fit")
    parser.add_argument("--repeats", type=int, default=2, help="of each size of the growth")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case is not None:
        print(json.dumps(fit_once(*args.case)))
        return
    n_samples, repeats = N_SAMPLES, args.repeats
    if args.quick:
        n_samples, repeats, args.evaluations = tuple(n // 64 for n in N_SAMPLES), 1, 2**11
    study_largest(n_samples[-1], args.evaluations)
    print()
    study_growth("n", [(n, D) for n in n_samples], args.evaluations, repeats)
    study_growth("d", [(n_samples[-3], d) for d in DIMENSIONS], args.evaluations, repeats)


if __name__ == "__main__":
    main()
