"""A run far larger than memory: time, and peak memory against a limit.

The activations are made from seeds when they are read, through the same interface as files: five
layers of 100,000 inputs and 250 units in single precision, 100 MB each, at as many checkpoints as
make up the size asked for. Classes move apart during training, in deeper layers earlier. Measured
are H(Bin(T)) at one width and the distances of a hundred thousand pairs, on one read of each array.
The peak is that of the whole process, interpreter, libraries and compiled kernels included.

    python benchmarks/large_run.py                   # 20 GB, 200 arrays
    python benchmarks/large_run.py --gigabytes 2     # 20 arrays
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np
from common import print_header, print_row

from skinfo import BinningMIEstimator, ClusteringScore, information_flow
from skinfo.flow.memory import parse_bytes
from skinfo.runs import Layer, Run

N_INPUTS, N_UNITS, N_LABELS = 100_000, 250, 10
LAYERS = tuple(f"layer{k}" for k in range(1, 6))
ARRAY = N_INPUTS * N_UNITS * 4
LABELS = np.arange(N_INPUTS) % N_LABELS
# Rows that are made at a time.
BLOCK = 10_000


class SeededStore:
    """Arrays that are generated when they are read."""

    def __init__(self, n_checkpoints: int) -> None:
        last = max(n_checkpoints - 1, 1)
        self._epochs = [round(10_000 ** (k / last)) + k for k in range(n_checkpoints)]

    def epochs(self) -> list[int]:
        return self._epochs

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:  # noqa: ARG002
        return (N_INPUTS, N_UNITS), np.dtype(np.float32)

    def read(self, epoch: int, layer: str) -> np.ndarray:
        rng = np.random.default_rng([epoch, LAYERS.index(layer)])
        centres = np.random.default_rng(LAYERS.index(layer)).standard_normal(
            (N_LABELS, N_UNITS), dtype=np.float32
        )
        learnt = np.float32(1 - np.exp(-epoch * (1 + LAYERS.index(layer)) / 1000))
        out = np.empty((N_INPUTS, N_UNITS), dtype=np.float32)
        for start in range(0, N_INPUTS, BLOCK):
            block = out[start : start + BLOCK]
            rng.standard_normal(out=block, dtype=np.float32)
            block += learnt * centres[LABELS[start : start + BLOCK]]
        return out


def peak_memory() -> int:
    """Bytes of this process alone; what getrusage counts may be its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--memory-limit", default="1GB")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    n_checkpoints = max(1, round(args.gigabytes * 1e9 / (ARRAY * len(LAYERS))))
    layers = tuple(Layer(name, 0.0) for name in LAYERS)
    run = Run(SeededStore(n_checkpoints), layers, labels=LABELS, name="seeded")
    estimators = [
        BinningMIEstimator(bin_width=0.5),
        ClusteringScore(measures=(), max_pairs=100_000, random_state=0),
    ]
    before, start = peak_memory(), time.perf_counter()
    flow = information_flow(
        estimators, run, n_jobs=args.jobs, memory_limit=args.memory_limit, progress=True
    )
    wall, peak = time.perf_counter() - start, peak_memory()
    n_arrays = n_checkpoints * len(LAYERS)
    print_header("arrays", "GB", "limit, MB", "peak, MB", "before, MB", "time, s", "s per array")
    print_row(
        n_arrays, f"{n_arrays * ARRAY / 1e9:.1f}", f"{parse_bytes(args.memory_limit) / 1e6:,.0f}",
        f"{peak / 1e6:,.0f}", f"{before / 1e6:,.0f}", f"{wall:.0f}", f"{wall / n_arrays:.2f}",
    )  # fmt: skip
    last = flow[(flow["epoch"] == flow["epoch"].max()) & (flow["quantity"] == "auc")]
    print("\nAUC at the last checkpoint:", *(f"{value:.3f}" for value in last["value"]))
    if peak > parse_bytes(args.memory_limit):
        raise SystemExit("The peak passed the limit.")


if __name__ == "__main__":
    main()
