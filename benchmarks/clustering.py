"""Histograms of distances within and between classes: ours beside what users could pick instead.

Every engine counts all pairs of n rows by distance, within and between classes, into 4,096 cells,
and takes the two mean distances. Ours finds its own cells; the peers get the same edges, in one run
with numpy.histogram, which finds no equal steps in them and searches, and as many equal steps, its
fast case. Counts (same edges) and means are compared first. Runs alternate between the
engines; medians are printed. "skinfo, AUC" is the whole answer, which up to ten million pairs ranks
all distances; "skinfo" is the counting alone. Peers that need more memory than a quarter of 24 GiB
are left out. At n = 60,000 ours runs alone, in a fresh process whose peak memory is compared with
what it holds once the array exists.

    python benchmarks/clustering.py
"""

import statistics
import subprocess
import sys
import time
from unittest import mock

import numpy as np
from scipy.spatial.distance import pdist
from sklearn.metrics import pairwise_distances_chunked

from skinfo._rows import Rows
from skinfo.clustered import distances

N_JOBS = 2
N_CLASSES = 10
REPEATS = {4096: 5, 20_000: 3}


def make(n, d):
    rng = np.random.default_rng(1)
    y = rng.integers(0, N_CLASSES, size=n)
    return rng.normal(size=(n, d)) + 0.5 * rng.normal(size=(N_CLASSES, d))[y], y


def ours(X, y, _bins):
    """Histograms and means alone: no pair is kept to be ranked."""
    with mock.patch.object(distances, "MOST_RANKED_PAIRS", 0):
        return ours_with_auc(X, y, _bins)


def ours_with_auc(X, y, _bins):
    rows = Rows.make(X, labels=y)
    measured = distances.measure_distances(rows, "euclidean", n_jobs=N_JOBS)
    means = measured.within_mean.value, measured.between_mean.value
    return measured.within, measured.between, *means


def by_pdist(X, y, bins):
    distances = pdist(X)
    i, j = np.triu_indices(len(X), k=1)
    same = y[i] == y[j]
    del i, j
    within, between = distances[same], distances[~same]
    return (
        np.histogram(within, **bins)[0], np.histogram(between, **bins)[0], within.mean(),
        between.mean(),
    )  # fmt: skip


def by_chunks(X, y, bins):
    counts = [0, 0]
    sums, numbers = [0.0, 0.0], [0, 0]
    start = 0
    for chunk in pairwise_distances_chunked(X, n_jobs=N_JOBS, working_memory=64):
        later = np.arange(len(X)) > np.arange(start, start + len(chunk))[:, None]
        same = y[start : start + len(chunk), None] == y
        for kind, chosen in enumerate((later & same, later & ~same)):
            part = chunk[chosen]
            counts[kind] = counts[kind] + np.histogram(part, **bins)[0]
            sums[kind] += part.sum()
            numbers[kind] += len(part)
        start += len(chunk)
    return counts[0], counts[1], sums[0] / numbers[0], sums[1] / numbers[1]


def compare(n, d):
    X, y = make(n, d)
    edges = distances.measure_distances(Rows.make(X, labels=y), "euclidean").edges
    same, equal = {"bins": edges}, {"bins": len(edges) - 1, "range": (0, float(edges[-2]))}
    engines = {
        "skinfo": (ours, None),
        "skinfo, AUC": (ours_with_auc, None),
        "pdist": (by_pdist, equal),
        "chunked": (by_chunks, equal),
        "pdist, same edges": (by_pdist, same),
        "chunked, same edges": (by_chunks, same),
    }
    if 33 * n * (n - 1) / 2 > 6 * 2**30:
        del engines["pdist"], engines["pdist, same edges"]
    if n > 4096:
        engines = {name: e for name, e in engines.items() if "same" not in name}
    answers = {name: engine(X, y, bins) for name, (engine, bins) in engines.items()}
    for name, (within, between, *means) in answers.items():
        np.testing.assert_allclose(means, answers["skinfo"][2:], rtol=1e-10, err_msg=name)
        if "same" in name:
            # Counts differ by pairs that lie on an edge to single precision.
            moved = np.abs(within - answers["skinfo"][0]).sum()
            moved += np.abs(between - answers["skinfo"][1]).sum()
            assert moved < 1e-3 * n * (n - 1) / 2, (name, moved)
    times = {name: [] for name in engines}
    for _ in range(REPEATS[n]):
        for name, (engine, bins) in engines.items():
            start = time.perf_counter()
            engine(X, y, bins)
            times[name].append(time.perf_counter() - start)
    ours_median = statistics.median(times["skinfo"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{d:4} {n:6} {name:<20} {median:8.3f} s {median / ours_median:7.1f}x", flush=True)


ALONE = """
import resource, sys, time
import numpy as np
sys.path.insert(0, "benchmarks")
from clustering import make
from skinfo.clustered.distances import measure_distances
from skinfo._rows import Rows
small, labels = make(600, {d})
measure_distances(Rows.make(small, labels=labels), "euclidean", n_jobs={n_jobs})
X, y = make({n}, {d})
with open("/proc/self/statm") as file:
    before = int(file.read().split()[1]) * resource.getpagesize() / 2**10
start, cpu = time.perf_counter(), time.process_time()
measured = measure_distances(Rows.make(X, labels=y), "euclidean", n_jobs={n_jobs})
took, cpu = time.perf_counter() - start, time.process_time() - cpu
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
auc = measured.auc
print(took, cpu, (after - before) / 2**10, auc.value, (auc.upper - auc.lower) / 2)
"""


def alone(n, d):
    """Time, and peak memory above what the process holds once the array exists."""
    code = ALONE.format(n=n, d=d, n_jobs=N_JOBS)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    took, cpu, megabytes, auc, error = map(float, done.stdout.split())
    print(f"{d:4} {n:6} {'skinfo alone':<20} {took:8.3f} s ({cpu:.1f} s of processor), "
          f"{megabytes:.0f} MiB above the array, AUC {auc:.5f} +- {error:.1e} for certain",
          flush=True)  # fmt: skip


def main():
    sizes = [int(a) for a in sys.argv[1:]] or [4096, 20_000, 60_000]
    print(f"{N_JOBS} threads, {N_CLASSES} classes")
    print(f"{'d':>4} {'n':>6} {'engine':<20} {'median':>10} {'/ skinfo':>8}")
    for n in sizes:
        for d in (10, 128):
            (compare if n in REPEATS else alone)(n, d)


if __name__ == "__main__":
    main()
