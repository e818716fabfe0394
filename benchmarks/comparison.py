"""How often compare_flows calls a difference that there is not, and finds one that there is.

Pools of seeds of equal settings, with equal and with unequal spreads, by the thousand; five paired
seeds whose difference of .06 has a standard error of .0126 paired and .061 unpaired; and two runs
side by side: the standard error that is claimed beside the standard deviation over repetitions, for
replicas recorded anew, inputs drawn anew, and the same draws.

    python benchmarks/comparison.py
    python benchmarks/comparison.py --seeds 10 --pools 200     # quick
"""

import argparse
from functools import partial

import numpy as np
import pandas as pd
from common import over_seeds, print_header, print_row

from skinfo import NoisyMIEstimator, compare_flows, information_flow, open_run, pool_flows

BEYOND = ("beyond error", "beyond brackets")
BROAD = ("inputs like these", "the population")


def flow_of(values: np.ndarray) -> pd.DataFrame:
    """A flow of one exact number at each of many epochs: that of one seed."""
    return pd.DataFrame({
        "epoch": range(len(values)), "layer": "hidden", "estimator": "noisy",
        "quantity": "mutual_info", "value": values, "stderr": 0.0, "lower": values,
        "upper": values, "unit": "nats", "notes": "",
    })  # fmt: skip


def share_beyond(pools: list[np.ndarray], **options: str) -> float:
    flows = {str(k): pool_flows(map(flow_of, values)) for k, values in enumerate(pools)}
    return float(compare_flows(flows, **options)["change"].isin(BEYOND).mean())


def print_pools(n_pools: int) -> None:
    rng = np.random.default_rng(0)
    ratios = (1 / 5, 1 / 2, 1, 2, 5)
    print_header("seeds", *(f"spreads {ratio:g} : 1, %" for ratio in ratios), "2 spreads apart, %")
    for n, m in [(2, 2), (3, 3), (5, 5), (10, 10), (2, 10), (5, 10)]:
        shares = [
            share_beyond([r * rng.normal(size=(n, n_pools)), rng.normal(size=(m, n_pools))])
            for r in ratios
        ]
        shares.append(
            share_beyond([2 + rng.normal(size=(n, n_pools)), rng.normal(size=(m, n_pools))])
        )
        print_row(f"{n} and {m}", *(f"{100 * share:.1f}" for share in shares))


def print_pairs(n_pools: int) -> None:
    rng = np.random.default_rng(1)
    print_header("pairs", "difference", "paired, %", "unpaired, %")
    for n in (3, 5, 10):
        for difference in (0.0, 0.06):
            # At five pairs the errors of the mean are .0126 and .061.
            shared = rng.normal(scale=0.0944, size=(n, n_pools))
            one, other = shared + rng.normal(scale=0.0126 * np.sqrt(2.5), size=(2, n, n_pools))
            pools = [one, other + difference]
            found = [share_beyond(pools, **o) for o in ({"pair_by": "order"}, {})]
            print_row(n, difference, *(f"{100 * share:.1f}" for share in found))


def measured(arrays: np.ndarray, seed: int, **options: bool) -> pd.DataFrame:
    axes = {"hidden": "nrc"} if arrays.ndim == 3 else None
    labels = np.arange(len(arrays)) % 2
    run = open_run({(1, "hidden"): arrays}, labels=labels, sigma=0.3, axes=axes)
    estimator = NoisyMIEstimator(0.3, random_state=seed, **options)
    return information_flow(estimator, run, progress=False)


def compared(case: str, seed: int) -> pd.DataFrame:
    """Two runs whose numbers differ by chance alone, or by a factor of 1.1."""
    rng = np.random.default_rng(10_000 + seed)
    clean = np.random.default_rng(5).normal(size=(200, 1, 3))
    if case.endswith("replicas"):
        shape = (200, int(case.split()[0]), 3)
        flows = [measured(clean + 0.5 * rng.normal(size=shape), 2 * seed + k) for k in (0, 1)]
    elif case == "the same draws":
        flows = [measured(scale * clean[:, 0], seed) for scale in (1.0, 1.1)]
    else:
        population = case == "inputs of a population"
        layers = rng.normal(size=(2, 300, 3)) + (np.arange(300) % 2)[:, None]
        flows = [measured(x, 2 * seed + k, population=population) for k, x in enumerate(layers)]
    return compare_flows(dict(zip("ab", flows, strict=True)))


def print_runs(n_seeds: int, n_jobs: int) -> None:
    print_header(
        "two runs", "quantity", "standard deviation", "claimed", "of the integration alone",
        "beyond, %", "of such inputs, %",
    )  # fmt: skip
    cases = (
        "5 replicas", "20 replicas", "inputs of a population", "inputs at hand", "the same draws",
    )  # fmt: skip
    for case in cases:
        found = pd.concat(over_seeds(partial(compared, case), n_seeds, n_jobs))
        for name in ("mutual_info", "label_mutual_info"):
            rows = found[found["quantity"] == name]
            beyond = rows["change"].isin(BEYOND)
            integration = np.hypot(rows["value_stderr"], rows["reference_stderr"])
            print_row(
                case, name, f"{rows['difference'].std():.4f}",
                f"{rows['difference_stderr'].mean():.4f}", f"{integration.mean():.4f}",
                f"{100 * beyond.mean():.0f}",
                f"{100 * (beyond & rows['about'].isin(BROAD)).mean():.0f}",
            )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pools", type=int, default=10_000, help="pools of each kind")
    parser.add_argument("--seeds", type=int, default=100, help="repetitions of two runs")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    args = parser.parse_args()
    print_pools(args.pools)
    print()
    print_pairs(args.pools)
    print()
    print_runs(args.seeds, args.jobs)


if __name__ == "__main__":
    main()
