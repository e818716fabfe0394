"""What the benchmarks share: markdown tables, runs that take turns, seeds, fresh processes."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from joblib import Parallel, delayed


def print_header(*names: str) -> None:
    """Begin a markdown table."""
    print_row(*names)
    print("|" + "---|" * len(names), flush=True)


def print_row(*cells: object) -> None:
    """Add a line to it, at once: benchmarks are watched."""
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def seconds(function: Callable[[], Any]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def alternate(functions: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median wall times of runs that take turns: a machine that drifts is fair to all."""
    found: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(repeats):
        for name, function in functions.items():
            found[name].append(seconds(function))
    return {name: statistics.median(values) for name, values in found.items()}


def over_seeds(function: Callable[..., Any], n_seeds: int, n_jobs: int, *args: Any) -> list[Any]:
    """Results of ``function(*args, seed)`` for all seeds, in processes."""
    calls = (delayed(function)(*args, seed) for seed in range(n_seeds))
    return Parallel(n_jobs=n_jobs)(calls)


def fresh_process(
    arguments: Sequence[str], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run Python with these arguments; the JSON on the last line it prints, if it prints one."""
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **(environment or {})},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}


def in_words(sigma: Any) -> str:
    """The sigma of a law: a number, two, or one of each unit."""
    if sigma is None:
        return "of each"
    numbers = [f"{number:g}" for number in np.atleast_1d(sigma)]
    return ", ".join(numbers) if len(numbers) < 3 else f"{numbers[0]} to {numbers[-1]}"


def share(hits: np.ndarray) -> str:
    """Per cent with its binomial error, that of one more hit and one more miss."""
    n = len(hits)
    p = (hits.sum() + 1) / (n + 2)
    return f"{100 * hits.mean():.1f} ± {100 * np.sqrt(p * (1 - p) / n):.1f}"
