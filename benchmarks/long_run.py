"""Long runs and wide checkpoints: what one checkpoint, and one layer, costs among many.

Small arrays, 64 rows of four units in double precision, so that what is seen is the time around
them. In every format all arrays of runs of five layers are loaded, and checkpoints added by a
RunWriter and by save_run; then checkpoints of many layers are saved, looked at and loaded; then
two layers in memory are swept with bins, drawn and monitored. Everything is time per item among
few and among many, measured in turns, as the machine drifts.

    python benchmarks/long_run.py                  # on the disk of the temporary directory
    python benchmarks/long_run.py --most 400 --formats npz
"""

import argparse
import shutil
import statistics
import tempfile
import warnings
from collections.abc import Callable, Iterable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from common import alternate, print_header, print_row, seconds

from skinfo import BinningMIEstimator, information_flow, open_run, save_run
from skinfo.cli.info import _describe
from skinfo.flow import collect_snapshots
from skinfo.monitoring import FlowMonitor
from skinfo.runs import RunWriter
from skinfo.runs.description import make_layers
from skinfo.runs.stores import WRITTEN
from skinfo.view.report.writing import make_report

FEW = 100
LABELS = np.arange(64) % 2
SIGMA = 0.1
Pair = tuple[float, float]


def arrays(n_layers: int, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {f"layer{k}": rng.standard_normal((64, 4)) for k in range(n_layers)}


def lengthen(path: Path, n: int) -> None:
    """Make n checkpoints of a run's first."""
    (first,) = path.glob("epoch_*")
    copy = shutil.copytree if first.is_dir() else shutil.copy
    for epoch in range(1, n):
        copy(first, path / first.name.replace(f"{0:08d}", f"{epoch:08d}"))


def load(run: Any, epochs: Iterable[int]) -> None:
    for epoch in epochs:
        for layer in run.layers:
            run.load(epoch, layer.name)


def in_pieces(work: Callable[[str, range], Any], n: int) -> Pair:
    """Seconds per item of few and of n; few are done anew beside every fourth piece."""
    few, many = [], 0.0
    for place, start in enumerate(range(0, n, FEW)):
        if place % 4 == 0:
            few.append(seconds(partial(work, f"few {place}", range(FEW))) / FEW)
        many += seconds(partial(work, "many", range(start, min(start + FEW, n))))
    return statistics.median(few), many / n


def in_turns(work: Callable[[int], Any], n: int, repeats: int = 3) -> Pair:
    """Median seconds per item of few and of n, as a whole."""
    times = alternate({"few": lambda: work(FEW), "many": lambda: work(n)}, repeats)
    return times["few"] / FEW, times["many"] / n


def of_checkpoints(path: Path, fmt: str, n: int) -> dict[str, Pair]:
    """Per checkpoint of five layers."""
    given = arrays(5)
    layers, losses = make_layers([*given], SIGMA), {"loss": 1.0}
    options = {"labels": LABELS, "sigma": SIGMA, "format": fmt, "losses": losses}
    writers = {k: RunWriter(path / str(k), layers, labels=LABELS, format=fmt) for k in (FEW, n)}
    for k, writer in writers.items():
        writer.add(0, given, losses=losses)
        lengthen(writer.path, k)
    runs = {k: open_run(path / str(k)) for k in (FEW, n)}
    times = {
        "load all": in_pieces(lambda name, part: load(runs[n if name == "many" else FEW], part), n),
        "all losses": in_turns(lambda k: runs[k].losses, n),
        "info": in_turns(lambda k: _describe(runs[k], []), n, repeats=1),
    }
    new = {k: count(k) for k in (FEW, n)}
    works = {
        "add": lambda k: writers[k].add(next(new[k]), given, losses=losses),
        "save_run": lambda k: save_run(path / str(k), next(new[k]), given, **options),
    }
    for name, work in works.items():
        one = alternate({"few": partial(work, FEW), "many": partial(work, n)}, 40)
        times[name] = one["few"], one["many"]
    return times


def of_layers(path: Path, fmt: str, n: int) -> dict[str, Pair]:
    """Per layer of one checkpoint."""

    def save(k: int) -> None:
        save_run(path / str(k), 1, arrays(k), labels=LABELS, format=fmt)

    def look(k: int) -> None:
        run = open_run(path / str(k))
        for layer in run.layers:
            run.shape(1, layer.name)

    def read(k: int) -> None:
        load(open_run(path / str(k)), [1])

    works = {"save_run": save, "shapes": look, "load all": read}
    return {name: in_turns(work, n) for name, work in works.items()}


def of_sweeps(path: Path, _: str, n: int) -> dict[str, Pair]:
    """Per checkpoint of two layers in memory."""
    estimator = BinningMIEstimator(bin_width=0.5)
    by_epoch = {epoch: arrays(2, epoch) for epoch in range(n)}
    runs = {k: open_run({e: by_epoch[e] for e in range(k)}, labels=LABELS, sigma=SIGMA)
            for k in (FEW, n)}  # fmt: skip
    tables, snapshots = {}, {}

    def sweep(k: int, memory: Path | None = None) -> None:
        tables[k] = information_flow(estimator, runs[k], memory=memory, progress=False)

    def draw(k: int) -> None:
        snapshots[k] = collect_snapshots(runs[k])

    def report(k: int) -> None:
        make_report(tables[k], snapshots[k], title="long")

    def update(name: str, epochs: range) -> None:
        layers = make_layers([*arrays(2)], SIGMA)
        path.mkdir(exist_ok=True)
        with FlowMonitor(estimator, layers, LABELS, path=path / f"{name}.csv") as monitor:
            for epoch in epochs:
                monitor.update(epoch, by_epoch[epoch], losses={"loss": 1.0})

    return {
        "sweep": in_turns(sweep, n),
        "sweep, kept": in_turns(lambda k: sweep(k, path / f"kept {k}"), n, repeats=1),
        "sweep, found again": in_turns(lambda k: sweep(k, path / f"kept {k}"), n, repeats=1),
        "snapshots": in_turns(draw, n, repeats=1),
        "report": in_turns(report, n, repeats=1),
        "monitor": in_pieces(update, n),
    }


def table(kinds: list[str], n: int, measure: Callable[[Path, str, int], dict[str, Pair]]) -> None:
    """A row for each kind and work, in milliseconds per item."""
    print_header("", "work", f"of {FEW}, ms", f"of {n:,}, ms", "ratio")
    for kind in kinds:
        with tempfile.TemporaryDirectory() as folder:
            for work, (few, many) in measure(Path(folder) / "run", kind, n).items():
                print_row(kind, work, f"{1e3 * few:.3g}", f"{1e3 * many:.3g}", f"{many / few:.2f}")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--most", type=int, default=1600, help="checkpoints")
    parser.add_argument("--most-layers", type=int, default=800, help="layers of a checkpoint")
    parser.add_argument("--formats", nargs="*", default=list(WRITTEN))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    table(arguments.formats, arguments.most, of_checkpoints)
    table(arguments.formats, arguments.most_layers, of_layers)
    table(["in memory"], arguments.most, of_sweeps)


if __name__ == "__main__":
    main()
