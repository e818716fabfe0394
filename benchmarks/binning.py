"""Entropy of binned activations: ours beside what users could pick instead, in one run.

Every engine takes the same double-precision activations and returns H(Bin(T)) of floor(t / width).
The answers are compared first. Runs alternate between the engines; medians of seven are printed.
"skinfo" counts and takes the entropy, which is what the peers do; "skinfo, all" is what the
estimator calls: weights, ceiling, singletons and notes as well. The peers count integer cell
numbers, as published scripts do; "void view, narrow" packs them into the smallest type that holds
them, which no script does but anyone could. Last comes `binning_sweep` over 16 widths (powers of 2,
from 2^-12 to 8), median of three; every engine counts anew at each width.

The activations are tanh of 300 clusters whose rows lie 1e-4 to 1 apart, so that the number of cells
falls over the widths ("clusters"), or tanh of normal numbers ("normal"). polars takes part where it
is installed; numpy.unique(axis=0) and pandas are left out of the largest array.

    python benchmarks/binning.py
"""

import argparse
import statistics
import time

import numpy as np
import pandas as pd

from skinfo import binning_sweep
from skinfo._rows import Rows
from skinfo.binned.cells import WidthCells, first_rows
from skinfo.binned.entropy import measure_binned

try:
    import polars as pl
except ImportError:
    pl = None

WIDTH = 0.07
WIDTHS = (2.0 ** np.arange(-12, 4)).tolist()
SIZES = [(n, d) for n in (4096, 60_000) for d in (10, 128, 1024)]
# Beyond this a peer is left out of a table: (n d) of one width.
MOST_VALUES = {"numpy unique": 8e6, "pandas": 8e6}


def entropy(counts):
    p = counts / counts.sum()
    return float(-(p * np.log(p)).sum())


def codes(X, width):
    return np.floor(X / width).astype(np.int64)


def numpy_unique(X, width):
    return entropy(np.unique(codes(X, width), axis=0, return_counts=True)[1])


def void_view(X, width, dtype=np.int64):
    cells = np.floor(X / width).astype(dtype)
    rows = cells.view(np.dtype((np.void, cells.dtype.itemsize * cells.shape[1])))
    return entropy(np.unique(rows, return_counts=True)[1])


def narrow_void_view(X, width):
    largest = 1 / width
    return void_view(X, width, np.int8 if largest < 120 else np.int16)


def pandas_groupby(X, width):
    frame = pd.DataFrame(codes(X, width))
    return entropy(np.bincount(frame.groupby(list(frame.columns), sort=False).ngroup()))


def polars_groupby(X, width):
    frame = pl.from_numpy(codes(X, width))
    return entropy(frame.group_by(pl.all()).len()["len"].to_numpy())


def ours(X, width):
    counts = np.bincount(first_rows(X, WidthCells(width)))
    return entropy(counts[counts > 0])


def all_of_ours(X, width):
    return measure_binned(Rows.make(X), WidthCells(width))["binned_mutual_info"].value


def engines_for(n, d):
    engines = {
        "numpy unique": numpy_unique,
        "void view": void_view,
        "void view, narrow": narrow_void_view,
        "pandas": pandas_groupby,
    }
    if pl is not None:
        engines["polars"] = polars_groupby
    return {k: e for k, e in engines.items() if n * d <= MOST_VALUES.get(k, np.inf)}


def activations(kind, n, d):
    rng = np.random.default_rng(0)
    if kind == "normal":
        return np.tanh(rng.normal(size=(n, d)))
    centres = rng.normal(size=(300, d))
    X = rng.normal(size=(n, d))
    X *= 10 ** rng.uniform(-4, 0, size=(n, 1))
    X += centres[rng.integers(0, 300, size=n)]
    return np.tanh(X, out=X)


def medians(engines, repeats):
    times = {name: [] for name in engines}
    for _ in range(repeats):
        for name, engine in engines.items():
            start = time.perf_counter()
            engine()
            times[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}


def check(answers):
    for name, answer in answers.items():
        np.testing.assert_allclose(answer, answers["skinfo"], rtol=1e-10, err_msg=name)


def report(what, times):
    peers = {name: t for name, t in times.items() if not name.startswith("skinfo")}
    best = min(peers, key=peers.get)
    for name, value in times.items():
        note = "" if name in peers else f"   best peer {best}: {peers[best] / value:.1f}x"
        print(f"{what}  {name:<18} {value:9.2f} ms{note}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kind", choices=["clusters", "normal"], default="clusters")
    parser.add_argument("--sizes", nargs="*", default=[f"{n}x{d}" for n, d in SIZES])
    options = parser.parse_args()
    if pl is None:
        print("polars is not installed and left out")
    for n, d in (tuple(map(int, size.split("x"))) for size in options.sizes):
        X = activations(options.kind, n, d)
        peers = engines_for(n, d)
        one = {"skinfo": lambda X=X: ours(X, WIDTH)}
        one["skinfo, all"] = lambda X=X: all_of_ours(X, WIDTH)
        one |= {name: lambda X=X, e=engine: e(X, WIDTH) for name, engine in peers.items()}
        check({name: engine() for name, engine in one.items()})
        report(f"{n:6} x {d:<5}  1 width ", medians(one, 7))
        sweep = medians({"binning_sweep": lambda X=X: binning_sweep(X, bin_widths=WIDTHS)}, 3)
        print(f"{n:6} x {d:<5} 16 widths  {'binning_sweep':<18} {sweep['binning_sweep']:9.2f} ms")


if __name__ == "__main__":
    main()
