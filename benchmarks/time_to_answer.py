"""Time until a layer's information is measured, beside the recipe of the published curves.

The five layers of the trained SZT network, sigma 0.005, all 4,096 inputs, one row per input. Ours:
one call of NoisyMIEstimator.fit on two threads, after compilation, median of seven, for a
standard error of at most 0.01 nat, and then for that of the recipe. The recipe: 1,000 noise draws
at every row and scikit-learn's KernelDensity(rtol=1e-3), which uses one core. Both answer with
I(S;T), so the values can be compared. The recipe is timed on some of its draws and its time
multiplied, for its work is the same for every draw; --full takes all 1,000. Its standard error is
what the spread of the draws at each row makes of all 1,000. Ours stops below that error; the last
column is the time in which the recipe, whose error falls with the square root of its draws, would
get there, over ours.

    python benchmarks/time_to_answer.py --run szt-states
    python benchmarks/time_to_answer.py --quick
"""

import argparse
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import szt
from common import alternate, print_header, print_row
from sklearn.neighbors import KernelDensity

from skinfo import NoisyMIEstimator
from skinfo.datasets import make_szt
from skinfo.szt import HIDDEN, SIGMA

DRAWS = 1000
TOLERANCE = 0.01
TARGET_MS, TARGET_RATIO = 30, 200
# Noise draws per row that are held at once.
PORTION = 50


@dataclass(frozen=True)
class Recipe:
    """What the recipe measures of a layer, and the time that all of its draws take.

    ``stderr`` is the error of ``value``, from the draws taken; ``full_stderr`` that of all draws.
    """

    value: float
    stderr: float
    full_stderr: float
    seconds: float


def published_recipe(S: np.ndarray, n_draws: int) -> Recipe:
    """h(T) - h(T|S), the density of T estimated at noise draws around every row."""
    n, d = S.shape
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    tree = KernelDensity(bandwidth=SIGMA, rtol=1e-3).fit(S)
    building = time.perf_counter() - start
    values, summing = [], 0.0
    while len(values) * PORTION < n_draws:
        m = min(PORTION, n_draws - len(values) * PORTION)
        T = (S[:, None] + SIGMA * rng.normal(size=(n, m, d))).reshape(-1, d)
        start = time.perf_counter()
        values.append(-tree.score_samples(T).reshape(n, m))
        summing += time.perf_counter() - start
    entropies = np.concatenate(values, axis=1)
    spread = np.sqrt(entropies.var(axis=1, ddof=1).mean() / n)
    return Recipe(
        value=entropies.mean() - d / 2 * np.log(2 * np.pi * np.e * SIGMA**2),
        stderr=spread / np.sqrt(n_draws),
        full_stderr=spread / np.sqrt(DRAWS),
        seconds=building + summing * DRAWS / n_draws,
    )


def measure(S: np.ndarray, tol: float, n_jobs: int) -> NoisyMIEstimator:
    return NoisyMIEstimator(SIGMA, tol=tol, random_state=0, n_jobs=n_jobs).fit(S)


def layers(args: argparse.Namespace, directory: Path) -> dict[str, np.ndarray]:
    """S of every layer of the trained network, one noisy pass."""
    _, model = next(szt.checkpoints([args.epoch], directory))
    with szt.recorder(model, 1).record(make_szt()[0]) as arrays:
        return {
            name: np.array(arrays[name], dtype=float).reshape(len(arrays[name]), -1)
            for name in HIDDEN
        }


def compare(name: str, S: np.ndarray, n_draws: int, args: argparse.Namespace) -> None:
    """One line of the table."""
    recipe = published_recipe(S, n_draws)
    functions = {
        "fast": lambda: measure(S, TOLERANCE, args.jobs),
        "exact": lambda: measure(S, recipe.full_stderr, args.jobs),
    }
    fast, exact = (function() for function in functions.values())
    times = alternate(functions, args.repeats)
    error = np.hypot(exact.stderr_, recipe.stderr)
    share = exact.stderr_ / recipe.full_stderr
    # Saturated layers are measured without error: no number of draws gets the recipe there.
    equal = f"{recipe.seconds / share**2 / times['exact']:,.0f}x" if share > 0.01 else "–"
    print_row(
        name, S.shape[1], f"{exact.mutual_info_:.4f} ± {exact.stderr_:.4f}",
        f"{recipe.value:.4f} ± {recipe.stderr:.4f}",
        f"{(recipe.value - exact.mutual_info_) / error:+.1f}",
        f"{recipe.seconds:.1f}", f"{fast.stderr_:.4f}", f"{times['fast'] * 1e3:.0f}",
        f"{recipe.seconds / times['fast']:,.0f}x", f"{recipe.full_stderr:.5f}",
        f"{exact.stderr_:.5f}", f"{times['exact'] * 1e3:.0f}",
        f"{recipe.seconds / times['exact']:,.0f}x", equal,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="directory that keeps the training's states")
    parser.add_argument("--epoch", type=int, default=2000)
    parser.add_argument("--draws", type=int, default=50, help="of the recipe's 1,000 to time")
    parser.add_argument("--full", action="store_true", help="time all 1,000")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="5 draws, 3 repeats, epoch 60")
    args = parser.parse_args()
    if args.quick:
        args.draws, args.repeats, args.epoch = 5, 3, 60
    n_draws = DRAWS if args.full else args.draws
    with szt.kept_or_temporary(args.run) as directory:
        activations = layers(args, directory)
    scaled = "" if n_draws == DRAWS else f", timed on {n_draws} of them per row"
    print(
        f"epoch {args.epoch}, sigma {SIGMA:g}, recipe of {DRAWS} draws per row{scaled}; targets: "
        f"{TARGET_MS} ms at {TOLERANCE:g} nat, {TARGET_RATIO}x at equal standard error\n"
    )
    print_header(
        "layer", "d", "I(S;T), skinfo", "I(S;T), recipe", "difference / error", "recipe, s",
        f"stderr, tol {TOLERANCE:g}", "ms", "recipe / skinfo", "recipe's stderr", "ours at it",
        "ms", "recipe / skinfo", "at equal error",
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, S in activations.items():
            compare(name, S, n_draws, args)


if __name__ == "__main__":
    main()
