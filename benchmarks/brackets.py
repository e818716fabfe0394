"""How wide the brackets are in a trained network, and whether they hold the truth.

The SZT network (sigma 0.005, all 4,096 inputs) is recorded at several checkpoints with 100 and
with 300 replicas, and once more, with other noise, with many: the truth run. A bracket is right
if it and the truth run's own bracket have a point in common; whether it also holds the truth
run's value is said apart, for that value has an error of its own. Targets: widths of at most 0.11
nat with 100 replicas and 0.05 with 300, and no layer that knows more than the one before it,
beyond the brackets.

    python benchmarks/brackets.py --run szt-states
    python benchmarks/brackets.py --quick        # one early checkpoint, few replicas
"""

import argparse
from pathlib import Path

import pandas as pd
import szt
from common import print_header, print_row
from torch import nn

from skinfo.datasets import make_szt
from skinfo.szt import HIDDEN

TARGETS = {100: 0.11, 300: 0.05}
# Saturated layers are exact to more digits than this.
ROUNDING = 1e-9


def information(epoch: int, model: nn.Module, n_replicas: int, args: argparse.Namespace):
    """I(X;T) of every layer, indexed by layer, from a recording of its own."""
    with szt.recorder(model, n_replicas, random_state=n_replicas).record(make_szt()[0]) as arrays:
        flow = szt.flow_of(epoch, arrays, tol=args.tol, n_jobs=args.jobs)
    ours = flow[flow["quantity"] == "mutual_info"].set_index("layer")
    return ours.assign(width=ours["upper"] - ours["lower"])


def span(row: pd.Series) -> str:
    return f"{row['lower']:.3f}…{row['upper']:.3f}"


def compare(epoch: int, n_replicas: int, ours: pd.DataFrame, truth: pd.DataFrame) -> pd.DataFrame:
    """Print one line per layer; returns what the summary counts."""
    lower, upper = ours["lower"] - ROUNDING, ours["upper"] + ROUNDING
    holds = (lower <= truth["value"]) & (truth["value"] <= upper)
    meets = (lower <= truth["upper"]) & (truth["lower"] <= upper)
    for layer in HIDDEN:
        row, true = ours.loc[layer], truth.loc[layer]
        print_row(
            epoch, layer, n_replicas, span(row), f"{row['width']:.3f}", f"{row['value']:.3f}",
            f"{true['value']:.3f}", span(true), "yes" if holds[layer] else "no",
            "yes" if meets[layer] else "NO", row["notes"],
        )  # fmt: skip
    return pd.DataFrame(
        {
            "replicas": n_replicas,
            "width": ours["width"],
            "error": (ours["value"] - truth["value"]).abs(),
            "holds": holds,
            "meets": meets,
            "violated": ours["notes"].str.contains("data processing violated", regex=False),
        }
    )


def print_summary(lines: pd.DataFrame) -> None:
    print_header(
        "replicas", "layers x checkpoints", "widest", "target", "met", "largest error of the value",
        "truth's value inside", "meets the truth's bracket", "data processing violated",
    )  # fmt: skip
    for n_replicas, part in lines.groupby("replicas"):
        widest, target = part["width"].max(), TARGETS.get(int(n_replicas))
        met = "" if target is None else ("yes" if widest <= target else "no")
        print_row(
            n_replicas, len(part), f"{widest:.3f}", target or "", met, f"{part['error'].max():.3f}",
            f"{part['holds'].sum()}", f"{part['meets'].sum()}", f"{part['violated'].sum()}",
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, help="directory that keeps the training's states")
    parser.add_argument("--epochs", type=int, nargs="+", default=[10, 60, 300, 2000])
    parser.add_argument("--replicas", type=int, nargs="+", default=[100, 300])
    parser.add_argument("--truth", type=int, default=1000, help="replicas of the truth run")
    parser.add_argument("--tol", type=float, default=0.005)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    if args.quick:
        args.epochs, args.replicas, args.truth = [60], [10, 30], 60
    print(
        f"sigma {szt.SIGMA:g}, tolerance {args.tol:g}, truth from {args.truth} replicas; "
        "information in nats\n"
    )
    print_header(
        "epoch", "layer", "replicas", "bracket", "width", "value", "truth", "truth's bracket",
        "truth's value inside", "brackets meet", "notes",
    )  # fmt: skip
    lines = []
    with szt.kept_or_temporary(args.run) as directory:
        for epoch, model in szt.checkpoints(args.epochs, directory):
            truth = information(epoch, model, args.truth, args)
            for n_replicas in args.replicas:
                ours = information(epoch, model, n_replicas, args)
                lines.append(compare(epoch, n_replicas, ours, truth))
    print()
    print_summary(pd.concat(lines))


if __name__ == "__main__":
    main()
