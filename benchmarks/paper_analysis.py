"""The paper's whole analysis: 84 checkpoints, 5 layers, 4,096 inputs, 100 replicas.

The SZT network is trained for 10,000 epochs. At each checkpoint its layers are recorded, measured
by information_flow and dropped again. Training, recording and estimation are timed separately; with
--run the states of the training are kept there and used again, so that no training is timed. The
target is under five minutes for recording and estimation on two cores.

    python benchmarks/paper_analysis.py --run szt-states
    python benchmarks/paper_analysis.py --quick     # four checkpoints of 300 epochs, 24 replicas
"""

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import szt
from common import print_header, print_row

from skinfo.datasets import make_szt

TARGET = 300.0


def paper_epochs() -> list[int]:
    """The paper's checkpoints: 84 different epochs, evenly spaced in the logarithm."""
    return [int(e) for e in np.unique(np.round(np.logspace(0, np.log10(9999), 100)))]


@dataclass
class Timings:
    """Seconds of each part, and the flow table of each checkpoint."""

    train: float = 0.0
    record: float = 0.0
    estimate: float = 0.0
    flows: list[pd.DataFrame] = field(default_factory=list)


def analyse(epochs: list[int], directory: Path, args: argparse.Namespace) -> Timings:
    """Train to each checkpoint, record it, measure it, forget it."""
    X = make_szt()[0]
    timings = Timings()
    states = szt.checkpoints(epochs, directory)
    for _ in epochs:
        started = time.perf_counter()
        epoch, model = next(states)
        trained = time.perf_counter()
        with szt.recorder(model, args.replicas).record(X) as arrays:
            recorded = time.perf_counter()
            timings.flows.append(szt.flow_of(epoch, arrays, tol=args.tol, n_jobs=args.jobs))
        timings.train += trained - started
        timings.record += recorded - trained
        timings.estimate += time.perf_counter() - recorded
    return timings


def warm_up(directory: Path, args: argparse.Namespace) -> float:
    """Compile on two replicas, or load compiled code; returns the seconds it took."""
    start = time.perf_counter()
    epoch, model = next(szt.checkpoints([1], directory))
    with szt.recorder(model, 2).record(make_szt()[0]) as arrays:
        szt.flow_of(epoch, arrays, tol=args.tol, n_jobs=args.jobs)
    return time.perf_counter() - start


def print_times(timings: Timings, compiling: float, *, kept: bool) -> float:
    """Print the seconds of each part; returns those of recording and estimation."""
    n = len(timings.flows)
    print_header("part", "seconds", "per checkpoint")
    print_row("first estimate in the process", f"{compiling:.1f}", "")
    training = "training, where no state was kept" if kept else "training"
    together = timings.record + timings.estimate
    for name, value in (
        (training, timings.train),
        ("recording", timings.record),
        ("estimation", timings.estimate),
        ("recording and estimation", together),
    ):
        print_row(name, f"{value:.1f}", f"{value / n:.2f}")
    return together


def print_curves(timings: Timings) -> None:
    """Print the range of I(X;T) of each layer over the whole training."""
    flow = pd.concat(timings.flows)
    information = flow[flow["quantity"] == "mutual_info"]
    width = information["upper"] - information["lower"]
    print_header("layer", "lowest I(X;T)", "highest", "at the end", "median width", "widest")
    for layer, rows in information.groupby("layer", sort=False):
        values, widths = rows["value"], width[information["layer"] == layer]
        print_row(
            layer, f"{values.min():.3f}", f"{values.max():.3f}", f"{values.iloc[-1]:.3f}",
            f"{widths.median():.3f}", f"{widths.max():.3f}",
        )  # fmt: skip
    for note in ("data processing violated", "tolerance not met", "above ceiling"):
        n = int(information["notes"].str.contains(note, regex=False).sum())
        print(f"{note}: {n} of {len(information)} estimates")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="directory that keeps the training's states")
    parser.add_argument("--replicas", type=int, default=100)
    parser.add_argument("--tol", type=float, default=0.01)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    epochs = paper_epochs()
    if args.quick:
        args.replicas, epochs = 24, [1, 10, 60, 300]
    kept = args.run is not None
    with szt.kept_or_temporary(args.run) as directory:
        compiling = warm_up(directory, args)
        timings = analyse(epochs, directory, args)
    print(
        f"{len(epochs)} checkpoints up to epoch {epochs[-1]}, 4,096 inputs, {args.replicas} "
        f"replicas, tolerance {args.tol:g} nat, {args.jobs} threads\n"
    )
    together = print_times(timings, compiling, kept=kept)
    if not args.quick:
        met = "met" if together < TARGET else "missed"
        print(f"\nTarget of {TARGET:.0f} s for recording and estimation: {met}.")
    print()
    print_curves(timings)


if __name__ == "__main__":
    main()
