"""Do the intervals hold the truth as often as they say? Laws of known information, many seeds.

Finite laws: every seed is one estimate with the stopping rule on, its interval the bracket, which
without replicas is the value and its 95 % Student interval. Between 0.1 nat and log n - 0.1 nat
the interval is to hold the truth in 93 to 98 % of the seeds; nearer to either end the value is to
be within the tolerance in at least 99 %, and the interval to hold the truth in at least 87 %.
Rank 1 is integrated by quadrature: its error and interval are those of rounding.

Populations: every seed draws a data set of its own, and the bracket with population=True (at the
end of the table: with False) is to hold the population's information, that beyond the label and
the Bayes error in at least 95 %.

    python benchmarks/intervals.py
    python benchmarks/intervals.py --quick
"""

import argparse
import warnings

import laws
import numpy as np
from common import in_words, over_seeds, print_header, print_row, share

# Where quadrature gives the value, the interval is a point.
ROUNDING = 1e-9
MARGIN = 0.1


def estimate_finite(law: laws.FiniteLaw, seed: int) -> tuple[float, ...]:
    """Value, standard error, both ends, evaluations."""
    warnings.simplefilter("ignore")
    est = laws.make_estimator(law, tol=law.tol, random_state=seed).fit(law.points, scale=law.scale)
    return est.mutual_info_, est.stderr_, *est.bracket_, est.n_evaluations_


def estimate_population(law: laws.Population, seed: int) -> tuple[float, ...]:
    """Value and evaluations, then both ends of each quantity that a law may tell; NaN for none."""
    warnings.simplefilter("ignore")
    S, groups, y, *scale = law.draw(np.random.default_rng(seed))
    draws = 16 if law.bayes_error is not None else 0
    estimator = laws.make_estimator(
        law, population=law.population, posterior_draws=draws, random_state=seed
    )
    est = estimator.fit(S, y, groups=groups, scale=scale[0] if scale else None)
    brackets = (
        est.bracket_, est.label_bracket_, est.conditional_bracket_, est.bayes_error_bracket_
    )  # fmt: skip
    ends = [end for bracket in brackets for end in bracket or (np.nan, np.nan)]
    return est.mutual_info_, est.n_evaluations_, *ends


def holds(lower: np.ndarray, upper: np.ndarray, truth: float) -> np.ndarray:
    return (lower <= truth + ROUNDING) & (truth <= upper + ROUNDING)


def met(*conditions: bool) -> str:
    return "met" if all(conditions) else "MISSED"


def near_an_end(law: laws.FiniteLaw) -> bool:
    return min(law.information, law.deficit) < MARGIN


def judge_finite(law: laws.FiniteLaw, n_seeds: int, n_jobs: int) -> None:
    """One line: a law in the middle or near an end."""
    estimates = np.array(over_seeds(estimate_finite, n_seeds, n_jobs, law))
    value, stderr, lower, upper, evaluations = estimates.T
    error = value - law.information
    inside, close = holds(lower, upper, law.information), np.abs(error) <= law.tol
    exact = stderr.max() == 0
    if exact:
        target, verdict = "exact", met(inside.all())
    elif near_an_end(law):
        target, verdict = "≥ 87, ≥ 99", met(inside.mean() >= 0.87, close.mean() >= 0.99)
    else:
        target, verdict = "93–98", met(0.93 <= inside.mean() <= 0.98)
    rms = np.sqrt(np.mean(error**2))
    ratio = "–" if exact else f"{rms / stderr.mean():.2f}"
    print_row(
        law.name, law.points.shape[1], len(law.points), in_words(law.sigma),
        f"{law.information:.4f}", f"{law.deficit:.4f}", f"{law.tol:g}",
        f"{np.median(evaluations):,.0f}", share(inside), f"{100 * close.mean():.1f}", f"{rms:.1e}",
        ratio, target, verdict,
    )  # fmt: skip


def judge_population(law: laws.Population, n_seeds: int, n_jobs: int) -> None:
    """One line for I(X;T), others for what the law tells of labels."""
    estimates = np.array(over_seeds(estimate_population, n_seeds, n_jobs, law))
    (value, evaluations), ends = estimates.T[:2], estimates.T[2:]
    d = law.draw(np.random.default_rng(0))[0].shape[1]
    of_label, bias = law.label_information, f"{np.mean(value - law.information):+.3f}"
    within = None if of_label is None else law.information - of_label
    names = ("I(X;T)", "I(Y;T)", "I(X;T|Y)", "Bayes error")
    truths = (law.information, of_label, within, law.bayes_error)
    for k, (name, truth) in enumerate(zip(names, truths, strict=True)):
        if truth is None:
            continue
        low, high = ends[2 * k : 2 * k + 2]
        inside = holds(low, high, truth)
        mean_error = bias if k == 0 else ""
        print_row(
            law.name, name, d, in_words(law.sigma), f"{truth:.4f}",
            f"{np.median(evaluations):,.0f}", f"{np.median(high - low):.3f}", mean_error,
            f"{100 * np.mean(low > truth + ROUNDING):.1f}",
            f"{100 * np.mean(high < truth - ROUNDING):.1f}", share(inside),
            met(inside.mean() >= 0.95),
        )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=1000, help="of each finite law")
    parser.add_argument("--population-seeds", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--only", default="", help="laws whose name holds this")
    parser.add_argument("--quick", action="store_true", help="20 seeds")
    args = parser.parse_args()
    if args.quick:
        args.seeds = args.population_seeds = 20
    laws.check()
    print(f"Finite laws, {args.seeds} seeds; information in nats, shares in per cent\n")
    print_header(
        "law", "d", "n", "sigma", "true I", "log n - I", "tol", "median evaluations", "coverage",
        "error ≤ tol", "rms error", "rms error / mean stderr", "target", "verdict",
    )  # fmt: skip
    for law in sorted(laws.finite_laws(), key=near_an_end):
        if args.only in law.name:
            judge_finite(law, args.seeds, args.jobs)
    print(f"\nPopulations, {args.population_seeds} data sets; target 95 % or more\n")
    print_header(
        "law", "quantity", "d", "sigma", "truth", "median evaluations", "median width",
        "mean error", "lower end too high", "upper end too low", "coverage", "verdict",
    )  # fmt: skip
    for population in laws.populations():
        if args.only in population.name:
            judge_population(population, args.population_seeds, args.jobs)


if __name__ == "__main__":
    main()
