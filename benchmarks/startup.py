"""How long until the first number: the import, and the first estimate of a process.

Fresh processes that take turns, medians of seven. The import of skinfo is compared with that of
its dependencies, scikit-learn's base class and numba. The first estimate of a process loads
compiled code from numba's cache ("warm"), or compiles it where the cache is empty ("cold", three
processes, each with its own empty directory); the second estimate shows the time of the work
itself.

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
# Quantities estimated, with the arguments of fit.
ESTIMATES = {
    "I(X;T)": "S",
    "I(X;T), I(Y;T)": "S, y",
    "I(X;T), I(Y;T), 8 replicas": "S, y, groups=inputs",
}
SETUP = """
import json, time
start = time.perf_counter()
from skinfo import NoisyMIEstimator
import numpy as np
imported = time.perf_counter()
S = np.random.default_rng(0).normal(size=(2048, 5))
inputs = np.arange(2048) // 8
y = inputs % 2
def fit():
    start = time.perf_counter()
    NoisyMIEstimator(0.3, random_state=0).fit({arguments})
    return time.perf_counter() - start
times = dict(imported=imported - start, first=fit(), second=fit())
print(json.dumps(times))
"""


def estimate(arguments: str, cache: str) -> dict[str, float]:
    """Seconds of the import, the first and the second fit in a process with this numba cache."""
    program = SETUP.format(arguments=arguments)
    return fresh_process(["-c", program], {"NUMBA_CACHE_DIR": cache})


def first_estimates(arguments: str, cache: str, repeats: int) -> dict[str, float]:
    """Medians over fresh processes that share a cache."""
    runs = [estimate(arguments, cache) for _ in range(repeats)]
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def cold_estimates(arguments: str, repeats: int) -> float:
    """Median seconds of the first fit without compiled code."""
    firsts = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory(prefix="skinfo-") as cache:
            firsts.append(estimate(arguments, cache)["first"])
    return statistics.median(firsts)


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
    print_header("first estimate of 2,048 rows, d = 5", "cold, s", "warm, s", "second estimate, s")
    for name, arguments in ESTIMATES.items():
        with tempfile.TemporaryDirectory(prefix="skinfo-") as cache:
            estimate(arguments, cache)
            warm = first_estimates(arguments, cache, repeats)
        cold = cold_estimates(arguments, cold_repeats)
        print_row(name, f"{cold:.2f}", f"{warm['first']:.2f}", f"{warm['second']:.3f}")


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
