"""How long until the first number: the import, and the first estimate of a process.

Fresh processes that take turns, medians of seven. The import of skinfo is compared with that of
its dependencies, scikit-learn's base class and numba. The first estimate of a process loads
compiled code from numba's cache ("warm"), or compiles it where the cache is empty ("cold", three
processes, each with its own empty directory), also in processor time, which other work beside it
changes less; the second estimate shows the time of the work itself.

    python benchmarks/startup.py
    python benchmarks/startup.py --quick
"""

import argparse
import statistics
import tempfile

from common import alternate, fresh_process, print_header, print_row

IMPORTS = {
    "python -c pass": "pass",
    "import sklearn.base, numba": "import sklearn.base, numba",
    "import skinfo": "import skinfo",
}
# What is measured, with the call.
ESTIMATES = {
    "noisy, I(X;T)": "NoisyMIEstimator(0.3, random_state=0).fit(S)",
    "noisy, I(X;T), I(Y;T)": "NoisyMIEstimator(0.3, random_state=0).fit(S, y)",
    "noisy, both, 8 replicas": "NoisyMIEstimator(0.3, random_state=0).fit(S, y, groups=inputs)",
    "clustered": "ClusteringScore().fit(S, y)",
    "binned": "BinningMIEstimator(bin_width=0.5).fit(S, y)",
}
SETUP = """
import json, time
start = time.perf_counter()
from skinfo import BinningMIEstimator, ClusteringScore, NoisyMIEstimator
import numpy as np
imported = time.perf_counter()
S = np.random.default_rng(0).normal(size=(2048, 5))
inputs = np.arange(2048) // 8
y = inputs % 2
def fit():
    start = time.perf_counter()
    {call}
    return time.perf_counter() - start
before = time.process_time()
times = dict(imported=imported - start, first=fit())
times |= dict(processor=time.process_time() - before, second=fit())
print(json.dumps(times))
"""


def estimate(call: str, cache: str) -> dict[str, float]:
    """Seconds of the import, the first and the second fit in a process with this numba cache."""
    program = SETUP.format(call=call)
    return fresh_process(["-c", program], {"NUMBA_CACHE_DIR": cache})


def median_of(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def warm_estimates(call: str, repeats: int) -> dict[str, float]:
    """Medians over fresh processes that share a cache."""
    with tempfile.TemporaryDirectory(prefix="skinfo-") as cache:
        estimate(call, cache)
        return median_of([estimate(call, cache) for _ in range(repeats)])


def cold_estimates(call: str, repeats: int) -> dict[str, float]:
    """Medians over fresh processes without compiled code."""
    runs = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(prefix="skinfo-") as cache:
            runs.append(estimate(call, cache))
    return median_of(runs)


def compare_imports(repeats: int) -> None:
    functions = {
        name: lambda code=code: fresh_process(["-c", code]) for name, code in IMPORTS.items()
    }
    times = alternate(functions, repeats)
    needed = times["import sklearn.base, numba"]
    print_header("process", "seconds", "relative to its dependencies")
    for name, value in times.items():
        print_row(name, f"{value:.2f}", f"{value / needed:.2f}x")


def compare_estimates(repeats: int, cold_repeats: int) -> None:
    print_header(
        "first estimate of 2,048 rows, d = 5", "cold, s", "of a processor, s", "warm, s",
        "second estimate, s",
    )  # fmt: skip
    for name, call in ESTIMATES.items():
        cold, warm = cold_estimates(call, cold_repeats), warm_estimates(call, repeats)
        print_row(
            name, f"{cold['first']:.2f}", f"{cold['processor']:.2f}", f"{warm['first']:.2f}",
            f"{warm['second']:.3f}",
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--cold-repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one of each")
    args = parser.parse_args()
    if args.quick:
        args.repeats, args.cold_repeats = 1, 1
    compare_imports(args.repeats)
    print()
    compare_estimates(args.repeats, args.cold_repeats)


if __name__ == "__main__":
    main()
