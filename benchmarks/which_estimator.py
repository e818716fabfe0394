"""The numbers behind docs/which_estimator.md that no example prints: replicas, samples, bins.

python benchmarks/which_estimator.py
"""

import warnings
from functools import partial

import numpy as np
from common import print_header, print_row

from skinfo import BinningMIEstimator, NoisyMIEstimator, SaturationWarning
from skinfo.datasets import GaussianChain, corners, uniform_cube
from skinfo.noisy import min_samples, pairwise_bounds

N_INPUTS = 200
WIDTHS = (0.07, 1.0, 1.5, 2.0, 3.0)


def draw_first(chain: GaussianChain, n: int, seed: int) -> np.ndarray:
    """The first layer of a chain."""
    return chain.draw(n, random_state=seed)[0]


def ends(bracket: tuple[float, float]) -> str:
    """A bracket in a cell."""
    return f"{bracket[0]:.2f} to {bracket[1]:.2f}"


def replicas() -> None:
    """Noise before the layer: the last two layers of a linear chain, by number of replicas."""
    rng = np.random.default_rng(7)
    chain = GaussianChain(
        [rng.normal(size=s) / np.sqrt(s[0]) for s in ((4, 4), (4, 3), (3, 2))], 0.2
    )
    print_header("layer", "replicas", "truth", "value", "bracket", "plug-in", "without groups")
    for n_replicas in (5, 20, 100):
        layers = chain.draw(N_INPUTS, n_replicas=n_replicas, random_state=0)
        groups = np.repeat(np.arange(N_INPUTS), n_replicas)
        for k in (1, 2):
            S = np.concatenate(layers[k])
            est = NoisyMIEstimator(0.2, population=True, random_state=0).fit(S, groups=groups)
            alone = NoisyMIEstimator(0.2, random_state=0).fit(S)
            values = (chain.mutual_info()[k], est.mutual_info_, ends(est.bracket_), est.plug_in_)
            cells = (v if isinstance(v, str) else f"{v:.2f}" for v in (*values, alone.mutual_info_))
            print_row(k + 1, n_replicas, *cells)


def populations() -> None:
    """Too few rows for the dimension, and what the bracket of the population says of it."""
    print_header("law", "n", "truth", "plug-in", "bracket, population", "known", "inputs needed")
    laws = [corners(d, spread=0.02) for d in (5, 10, 15)] + [uniform_cube(d) for d in (5, 10)]
    named = [(law.name, law.draw, law.mutual_info(0.1)) for law in laws]
    for d in (5, 10):
        normal = GaussianChain([np.eye(d)], 0.1)
        named.append((f"normal, d = {d}", partial(draw_first, normal), normal.mutual_info()[0]))
    for name, draw, truth in named:
        for n in (1000, 4000):
            est = NoisyMIEstimator(0.1, population=True, random_state=0).fit(draw(n, 0))
            cells = f"{truth:.2f}", f"{est.plug_in_:.2f}", ends(est.bracket_), f"{est.known_:.2f}"
            print_row(name, f"{n:,}", *cells, f"{est.inputs_needed_:,.0f}")
    print()
    print_header("d", "rows that any plug-in needs on some law at least, for sigma = 0.1")
    for d in (5, 10):
        print_row(d, f"{min_samples(d, 0.1):,.0f}")


def random_labels() -> None:
    """Labels that mean nothing: 500 normal rows in 20 dimensions."""
    rng = np.random.default_rng(0)
    S, y = rng.normal(size=(500, 20)), rng.integers(2, size=500)
    print_header("sigma", "I(Y;T), plug-in", "bracket")
    for sigma in (0.1, 0.5, 1.0):
        est = NoisyMIEstimator(sigma, population=True, random_state=0).fit(S, y)
        print_row(sigma, f"{est.label_mutual_info_:.3f}", ends(est.label_bracket_))


def widths() -> None:
    """H(Bin(T)) of one law at many widths, and the pairwise bounds, beside the information."""
    names = (f"bins of {width:g}" for width in WIDTHS)
    print_header("spread", "sigma", "truth", "SP", "pairwise bounds", *names)
    for spread, sigma in ((0.02, 0.1), (0.02, 0.3), (0.0, 1.0)):
        law = corners(10, spread=spread)
        S = law.draw(3162, random_state=0)
        T = S + sigma * np.random.default_rng(1).normal(size=S.shape)
        lower, upper = pairwise_bounds(S, sigma)
        own = NoisyMIEstimator(sigma, random_state=0).fit(S).mutual_info_
        bins = [BinningMIEstimator(bin_width=width).fit(T).mutual_info_ for width in WIDTHS]
        pair = ends((lower.value, upper.value))
        truth = law.mutual_info(sigma)
        print_row(spread, sigma, f"{truth:.2f}", f"{own:.2f}", pair, *(f"{h:.2f}" for h in bins))


if __name__ == "__main__":
    warnings.simplefilter("ignore", SaturationWarning)
    for part in (replicas, populations, random_labels, widths):
        print(f"\n{part.__doc__}\n")
        part()
