"""What a sample says about its population: do both ends hold the truth, and how narrow are they?

Every seed draws a data set of its own and fits with population=True; the ends of I(X;T), h(T),
I(Y;T) and I(X;T|Y) are held against the truth. What is found goes to a file at once, and a run that
was stopped goes on where it was: seeds are taken two at a time, each law in turn. Lines that other
code than today's has measured are left alone.

    python benchmarks/population.py --results ends.jsonl
    python benchmarks/population.py --results ends.jsonl --only "far atom|Zipf" --seeds 20
    python benchmarks/population.py --results ends.jsonl --labels
    python benchmarks/population.py --results ends.jsonl --print

What the ends were before (population_before.json) was measured by the code of commit 75f568f, ten
seeds a law:

    git worktree add ../before 75f568f
    export PYTHONPATH=../before
    python benchmarks/population.py --results before.jsonl --seeds 10 --labels \\
        --permutations 0
    python benchmarks/population.py --results before.jsonl --seeds 10 \\
        --only "^(?!normal, clusters)" --save-medians benchmarks/population_before.json
"""

import argparse
import hashlib
import json
import re
import time
import warnings
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from common import in_words, print_header, print_row, share
from joblib import Parallel, delayed
from laws import Population, make_estimator
from population_laws import check, label_populations, populations
from scipy.stats import kstest

import skinfo
from skinfo.datasets import noise_entropy

BEFORE = Path(__file__).with_name("population_before.json")
ROUNDING = 1e-9
AT_ONCE = 2
# A law's name, its number of units and the quantity.
Key = tuple[str, int, str]


def measure(law: Population, seed: int, n_permutations: int) -> dict[str, Any]:
    """Lower end, upper end and value of every quantity, of the data set of a seed; p of labels."""
    warnings.simplefilter("ignore")
    S, groups, y, *more = law.draw(np.random.default_rng(seed))
    given = dict(zip(("scale", "clusters"), more, strict=False))
    named = {name: rows for name, rows in given.items() if rows is not None}
    options = {"n_permutations": n_permutations} if n_permutations else {}
    estimator = make_estimator(law, population=True, random_state=seed, n_jobs=1, **options)
    est = estimator.fit(S, y, groups=groups, **named)
    found = {
        "I(X;T)": (est.bracket_, est.mutual_info_),
        "h(T)": (est.entropy_bracket_, est.entropy_),
        "I(Y;T)": (est.label_bracket_, est.label_mutual_info_),
        "I(X;T|Y)": (est.conditional_bracket_, est.conditional_mutual_info_),
    }
    ends = {name: (*ends, value) for name, (ends, value) in found.items() if ends is not None}
    return {"ends": ends, "p": est.label_p_value_} if n_permutations else {"ends": ends}


def truths(law: Population) -> dict[str, float]:
    """What is known of a law."""
    d = law.draw(np.random.default_rng(0))[0].shape[1]
    known = {"I(X;T)": law.information}
    if law.entropy is not None:
        known["h(T)"] = law.entropy
    elif law.noise == "additive":
        sigmas = np.broadcast_to(law.sigma, d)
        known["h(T)"] = law.information + sum(noise_entropy(float(sigma)) for sigma in sigmas)
    if law.label_information is not None:
        known["I(Y;T)"] = law.label_information
        known["I(X;T|Y)"] = law.information - law.label_information
    return known


def size(law: Population) -> tuple[int, int]:
    """Rows and units."""
    return law.draw(np.random.default_rng(0))[0].shape


@cache
def code() -> str:
    """A digest of what the ends come from."""
    root = Path(skinfo.__file__).parent
    files = sorted([root / "_rows.py", *root.glob("noise/**/*.py"), *root.glob("noisy/**/*.py")])
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def record(law: Population, seed: int, n_permutations: int) -> dict[str, Any]:
    """A line of the file of results; or the error, which is a finding too."""
    start = time.perf_counter()
    line: dict[str, Any] = {"law": law.name, "d": size(law)[1], "seed": seed}
    try:
        line |= measure(law, seed, n_permutations)
    except Exception as error:  # others of the table are to go on
        line["error"] = f"{type(error).__name__}: {error}"
    line["seconds"] = round(time.perf_counter() - start, 3)
    return line


def read(path: Path) -> list[dict[str, Any]]:
    """Lines of today's code."""
    if not path.exists():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    ours = [line for line in lines if line["code"] == code()]
    if len(ours) < len(lines):
        print(f"{len(lines) - len(ours)} lines of {path} are of other code and left out")
    return ours


def run(
    laws: list[Population], most: int | None, n_permutations: int, n_jobs: int, path: Path
) -> None:
    """Measure what the file does not have yet."""
    done = {(line["law"], line["d"], line["seed"]) for line in read(path)}
    numbers = [seeds_of(law, most) for law in laws]
    for first in range(0, max(numbers, default=0), AT_ONCE):
        for law, n in zip(laws, numbers, strict=True):
            calls = [
                delayed(record)(law, seed, n_permutations)
                for seed in range(first, min(first + AT_ONCE, n))
                if (law.name, size(law)[1], seed) not in done
            ]
            lines = Parallel(n_jobs=n_jobs)(calls)
            with path.open("a") as file:
                file.writelines(json.dumps({"code": code(), **line}) + "\n" for line in lines)


def seeds_of(law: Population, most: int | None) -> int:
    n = 100 if size(law)[0] <= 1000 else 20
    if law.name.startswith("random labels"):
        n = 1000
    return n if most is None else min(n, most)


def ends_of(lines: list[dict[str, Any]]) -> dict[Key, np.ndarray]:
    """Lower ends, upper ends and values of each law and quantity."""
    found: dict[Key, list[tuple[float, ...]]] = defaultdict(list)
    for line in lines:
        for quantity, ends in line.get("ends", {}).items():
            found[line["law"], line["d"], quantity].append(ends)
    return {key: np.array(ends).T for key, ends in found.items()}


def save_medians(lines: list[dict[str, Any]], path: Path) -> None:
    rows = [
        [*key, round(float(np.median(low)), 3), round(float(np.median(high)), 3)]
        for key, (low, high, _) in ends_of(lines).items()
    ]
    path.write_text("[\n" + ",\n".join(json.dumps(row) for row in sorted(rows)) + "\n]\n")


def print_table(laws: list[Population], lines: list[dict[str, Any]]) -> None:
    """A row per law and quantity, then what all of them come to."""
    found = ends_of(lines)
    before = {tuple(row[:3]): row[3:] for row in json.loads(BEFORE.read_text())}
    pooled: dict[str, list[np.ndarray]] = defaultdict(list)
    low_cells = []
    wide: dict[bool, list[float]] = {False: [], True: []}
    print_header(
        "law", "quantity", "d", "sigma", "truth", "before", "now", "width / before", "seeds",
        "lower end held", "upper end held", "both", "value inside",
    )  # fmt: skip
    for law in laws:
        n, d = size(law)
        beyond = law.information > 2 * np.log(n)
        for quantity, truth in truths(law).items():
            key = (law.name, d, quantity)
            if key not in found:
                continue
            low, high, value = found[key]
            held = np.array([low <= truth + ROUNDING, truth <= high + ROUNDING])
            pooled[quantity].append(held)
            if held.all(axis=0).mean() < 0.9:
                low_cells.append(f"{law.name}, d = {d}, {quantity}")
            old, ratio = before.get(key), None
            if old is not None:
                ratio = np.median(high - low) / (old[1] - old[0]) if old[1] > old[0] else 1.0
                if old[1] - old[0] > 2:
                    wide[beyond].append(ratio)
            print_row(
                law.name, quantity, d, in_words(law.sigma), f"{truth:.3f}",
                "–" if old is None else f"{old[0]:.2f} to {old[1]:.2f}",
                f"{np.median(low):.2f} to {np.median(high):.2f}",
                "–" if ratio is None else f"{ratio:.2f}", held.shape[1],
                *(f"{100 * end.mean():.0f}" for end in (*held, held.all(axis=0))),
                f"{100 * np.mean((low <= value) & (value <= high)):.0f}",
            )  # fmt: skip
    for quantity, cells in pooled.items():
        held = np.concatenate(cells, axis=1)
        both = share(held.all(axis=0))
        print(
            f"\n{quantity}, {len(cells)} cells, {held.shape[1]} data sets: lower end "
            f"{share(held[0])} %, upper end {share(held[1])} %, both {both} %"
        )
    print(f"\nCells below 90 %: {'; '.join(low_cells) or 'none'}")
    for beyond, ratios in wide.items():
        narrow = np.count_nonzero(np.array(ratios) <= 0.25)
        print(
            f"\nWider than 2 nats before, I(X;T) {'above' if beyond else 'up to'} 2 log n: "
            f"{len(ratios)}, of which {narrow} are at most a quarter as wide now"
        )
    for line in lines:
        if "error" in line:
            print(f"\n{line['law']}, d = {line['d']}, seed {line['seed']}: {line['error']}")


def print_nulls(lines: list[dict[str, Any]], n_permutations: int) -> None:
    """Labels that mean nothing: how often the lower end is 0, and whether p is uniform."""
    nulls = [line for line in lines if line["law"].startswith("random labels") and "p" in line]
    for d in sorted({line["d"] for line in nulls}):
        ours = [line for line in nulls if line["d"] == d]
        zero = np.array([line["ends"]["I(Y;T)"][0] == 0 for line in ours])
        p = np.array([line["p"] for line in ours])
        # Multiples of 1 / (n_permutations + 1), spread over the interval that each stands for.
        spread = p - np.random.default_rng(0).uniform(size=len(p)) / (n_permutations + 1)
        uniform = kstest(spread, "uniform").pvalue
        print(
            f"\nRandom labels, d = {d}, {len(ours)} data sets: lower end 0 in {share(zero)} %, "
            f"p up to 0.05 in {share(p <= 0.05)} %, Kolmogorov-Smirnov p {uniform:.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="a file that is appended to")
    parser.add_argument("--seeds", type=int, help="at most; else 100 up to 1,000 rows, 20 beyond")
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--only", default="", help="laws in whose name this expression is found")
    parser.add_argument("--labels", action="store_true", help="the laws of labels")
    parser.add_argument("--permutations", type=int, default=99, help="of labels; 0: no p value")
    parser.add_argument("--print", action="store_true", help="measure nothing")
    parser.add_argument("--check", action="store_true", help="find the truths a second way first")
    parser.add_argument("--save-medians", type=Path, help="a file; no table")
    args = parser.parse_args()
    if args.check:
        check()
    every = label_populations() if args.labels else populations()
    laws = [law for law in every if re.search(args.only, law.name)]
    if not args.print:
        run(laws, args.seeds, args.permutations if args.labels else 0, args.jobs, args.results)
    if args.save_medians:
        save_medians(read(args.results), args.save_medians)
    else:
        print_table(laws, read(args.results))
        print_nulls(read(args.results), args.permutations)


if __name__ == "__main__":
    main()
