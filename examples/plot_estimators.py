r"""
Which estimators converge to the truth
======================================

Gaussian noise is added to the rows S of a layer, :math:`T = S + \sigma Z`. How much does T know
about S? Here S follows laws for which :math:`I(S;T) = h(T) - \frac d2 \log(2\pi e\sigma^2)` is
known to ten digits, so the error of every estimator is an error and not a difference of opinions:

* **SP**, sample propagation (``NoisyMIEstimator``): the entropy of the mixture of Gaussians of the
  known sigma around the rows. The only one that uses the noise as it is known.
* **kNN** (Kozachenko and Leonenko): an entropy of samples of T, from third neighbours.
* **KDE**: a kernel density of samples of T, its bandwidth chosen by leave-one-out likelihood.
* **pairwise** bounds of Kolchinsky and Tracey, from the distances of the rows.
* **binning**: the entropy of T in cells of width 0.07 (Saxe et al.) or ten sigma.

What to see: the error of SP falls at least like :math:`n^{-1/2}`, as the theorem promises, in every
dimension once there are more rows than corners. kNN and KDE converge too, in one dimension as
fast; but in ten dimensions ten times as many rows leave them a larger error. Bounds and bins do
not converge: where one of their curves dips, it passes the truth by accident, on its way from log n
to something else. In fifteen dimensions there are 32,768 corners to find, and a thousand rows are
too few for anyone. Then a smooth law where kNN does better than SP, and at the end what a sample
can say of such laws all the same: a lower and an upper end (``population=True``).

The law with many corners, its dimensions and the range of sigma follow the paper's comparison. The
spread 0.02 of every corner is recalled, not read; the paper cuts the Gaussians off at the faces of
the cube, which is left out here, so that the truth stays one integral. Numbers of rows and seeds
are chosen. ``--full`` goes on to 100,000 rows and writes ``docs/results/estimators.csv``.
"""

import time
import warnings
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scipy
import sklearn
from joblib import Parallel, delayed
from results import FULL, RESULTS, write_results
from sample_entropies import kde_entropy, knn_entropy
from scipy.stats import t as student

from skinfo import BinningMIEstimator, NoisyMIEstimator, SaturationWarning
from skinfo.datasets import GaussianChain, corners, noise_entropy, uniform_cube
from skinfo.noisy import pairwise_bounds
from skinfo.view import save_figure

# With too few rows all of them can be told apart; here that is part of the story.
warnings.simplefilter("ignore", SaturationWarning)
started = time.perf_counter()

# %%
# The estimators
# --------------
# Each takes the same rows, the same noisy rows and sigma, and gives nats. kNN and KDE, in the file
# ``sample_entropies.py`` beside this one, are told the entropy of the noise. The tolerance of SP is
# set so that its integration adds little to the error that n rows leave.


class Draw(NamedTuple):
    """Rows S, noisy rows T = S + sigma Z, and sigma."""

    rows: np.ndarray
    noisy: np.ndarray
    sigma: float


def sample_propagation(draw: Draw) -> float:
    """The entropy of the mixture around the rows, less that of the noise."""
    tol = max(0.002, 0.3 / np.sqrt(len(draw.rows)))
    return NoisyMIEstimator(draw.sigma, tol=tol, random_state=0).fit(draw.rows).mutual_info_


def from_samples(entropy):
    """The entropy of samples of T, less that of the noise."""
    return lambda draw: entropy(draw.noisy) - draw.noisy.shape[1] * noise_entropy(draw.sigma)


def binned(draw: Draw, width: float) -> float:
    """The entropy of T in cells of a width."""
    return BinningMIEstimator(bin_width=width).fit(draw.noisy).mutual_info_


ESTIMATORS = {
    "SP": sample_propagation,
    "kNN": from_samples(knn_entropy),
    "KDE": from_samples(kde_entropy),
    "pairwise, upper": lambda draw: pairwise_bounds(draw.rows, draw.sigma)[1].value,
    "pairwise, lower": lambda draw: pairwise_bounds(draw.rows, draw.sigma)[0].value,
    "bins of 0.07": lambda draw: binned(draw, 0.07),
    "bins of 10 sigma": lambda draw: binned(draw, 10 * draw.sigma),
}


def measure(panel, law, sigma, n, seed, names):
    """One table row for each estimator, on the same draw."""
    rng = np.random.RandomState(seed)
    S = law.draw(n, rng)
    draw = Draw(S, S + sigma * rng.standard_normal(S.shape), sigma)
    common = {
        "panel": panel, "law": law.name, "d": law.n_units, "sigma": sigma, "n": n, "seed": seed,
        "truth": law.mutual_info(sigma),
    }  # fmt: skip
    return [{**common, "estimator": name, "value": ESTIMATORS[name](draw)} for name in names]


def compare(panel, settings, n_seeds, names=tuple(ESTIMATORS)):
    """Measure every (law, sigma, n) with all seeds, or five beyond 10,000 rows."""
    rows = Parallel(n_jobs=2, prefer="threads")(
        delayed(measure)(panel, law, sigma, n, seed, names)
        for law, sigma, n in settings
        for seed in range(n_seeds if n <= 10_000 else min(n_seeds, 5))
    )
    table = pd.DataFrame([row for several in rows for row in several])
    return table.assign(error=table["value"] - table["truth"])


# %%
# Against the number of rows
# --------------------------
# 2^d narrow Gaussians at the corners of [-1, 1]^d, sigma = 0.1.

N_SEEDS = 10 if FULL else 3
NS = (100, 316, 1000, 3162, 10_000, 31_623) if FULL else (100, 316, 1000, 3162)
DIMENSIONS = (5, 10, 15)
cubes = {d: corners(d, spread=0.02) for d in (1, 2, 3, 5, 7, 10, 12, 15)}
against_n = compare("n", [(cubes[d], 0.1, n) for d in DIMENSIONS for n in NS], N_SEEDS)
if FULL:
    most = compare("n", [(cubes[d], 0.1, 100_000) for d in DIMENSIONS], N_SEEDS, ("SP",))
    against_n = pd.concat([against_n, most])

# %%
# Every point is the mean absolute error over the seeds, with a 95 % bootstrap interval.

STYLES = {
    "SP": {"color": "#1b3a6b", "marker": "o", "lw": 2.4, "ms": 5, "zorder": 5},
    "kNN": {"color": "#d95f02", "marker": "s", "lw": 1.5, "ms": 4},
    "KDE": {"color": "#1b9e77", "marker": "^", "lw": 1.5, "ms": 4.5},
    "pairwise, upper": {"color": "0.35", "marker": "v", "lw": 1, "ms": 3.5, "ls": "--"},
    "pairwise, lower": {"color": "0.6", "marker": "v", "lw": 1, "ms": 3.5, "ls": "--"},
    "bins of 0.07": {"color": "#a6559d", "marker": "D", "lw": 1, "ms": 3, "ls": ":"},
    "bins of 10 sigma": {"color": "#d68fc9", "marker": "D", "lw": 1, "ms": 3, "ls": ":"},
}


def mean_and_interval(errors):
    """Mean absolute error, and how far below and above it its 95 % interval ends."""
    sizes = np.abs(np.asarray(errors))
    means = np.random.default_rng(0).choice(sizes, size=(2000, len(sizes))).mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return sizes.mean(), sizes.mean() - low, high - sizes.mean()


def draw_errors(ax, table, x):
    """One curve per estimator."""
    for name, style in STYLES.items():
        groups = table[table["estimator"] == name].groupby(x)["error"]
        if len(groups):
            mean, low, high = np.transpose([mean_and_interval(errors) for _, errors in groups])
            ax.errorbar(
                list(groups.groups), mean, (low, high),
                label=name, capsize=1.5, elinewidth=0.8, **style,
            )  # fmt: skip
    ax.set_yscale("log")
    ax.grid(alpha=0.25, lw=0.5)
    ax.spines[["top", "right"]].set_visible(False)


def draw_slope(ax, ns, first):
    """A guide of slope 1 / sqrt(n) that begins at ``first``."""
    ends = np.array([min(ns), max(ns)], dtype=float)
    guide = first * np.sqrt(ends[0] / ends)
    ax.plot(ends, guide, color="k", lw=0.8, ls=(0, (6, 3)), label="slope $n^{-1/2}$")


def add_legend(fig, ax):
    """One legend above all panels."""
    fig.legend(
        *ax.get_legend_handles_labels(), loc="outside upper center", ncols=8, frameon=False,
        fontsize=8.5, columnspacing=1.2, handlelength=2.2,
    )  # fmt: skip


fig, axes = plt.subplots(1, 3, figsize=(11, 3.9), sharey=True, layout="constrained")
for ax, d in zip(axes, DIMENSIONS, strict=True):
    panel = against_n[against_n["d"] == d]
    draw_errors(ax, panel, "n")
    draw_slope(ax, panel["n"], 0.1)
    title = f"d = {d}, truth {panel['truth'].iloc[0]:.2f} nats"
    ax.set(xscale="log", xlabel="Number of rows n")
    ax.set_title(title, fontsize=10.5)
axes[0].set(ylabel="Mean |error| of I(S;T) [nats]", ylim=(1e-4, 60))
add_legend(fig, axes[0])
figures = [fig]

# %%
# Who is off by how much, and in which direction:

largest = against_n[against_n["n"] == max(NS)]
print(f"Mean error at n = {max(NS)}, sigma = 0.1, in nats (standard deviation over seeds)")
errors = largest.groupby(["estimator", "d"], sort=False)["error"].agg(["mean", "std"])
cells = errors.apply(lambda row: f"{row['mean']:+.3f} ({row['std']:.3f})", axis=1)
print(cells.unstack("d").to_string())

# %%
# Can noise help kNN? Any number of noisy copies of every row can be drawn. With more and more of
# them, kNN finds the entropy of the mixture around the rows, the very number that SP computes at
# once: it comes from far above and passes the truth on its way.

rng = np.random.RandomState(0)
S, truth = cubes[10].draw(1000, rng), cubes[10].mutual_info(0.1)
for n_copies in (1, 4, 16, 64):
    copies = np.repeat(S, n_copies, axis=0)
    copies += 0.1 * rng.standard_normal(copies.shape)
    error = ESTIMATORS["kNN"](Draw(S, copies, 0.1)) - truth
    print(f"kNN, d = 10, 1000 rows, {n_copies:2d} noisy copies of each: {error:+.2f} nats")
print(f"SP,  d = 10, 1000 rows: {sample_propagation(Draw(S, S, 0.1)) - truth:+.2f} nats")

# %%
# Against the dimension and the noise
# -----------------------------------
# Left: the number of corners doubles with every dimension, so every estimator fails in the end.
# Middle: with less noise there is more to know, and log n is less of it. For large sigma, cells of
# ten sigma see the sign of a coordinate and nothing else, which happens to be nearly the answer
# for this law; at 0.1 the corners lie on the edges of cells. Right: corners without spread at
# sigma = 1, binary phase-shift keying, whose information is d times a tabulated number.

FIXED_N = 10_000 if FULL else 1000
SIGMAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5) if FULL else (0.01, 0.05, 0.1, 0.3, 0.5)
N_SEEDS = 6 if FULL else 3
against_d = compare("d", [(cubes[d], 0.1, FIXED_N) for d in cubes], N_SEEDS)
against_sigma = compare("sigma", [(cubes[10], sigma, FIXED_N) for sigma in SIGMAS], N_SEEDS)
signs = compare("signs", [(corners(10), 1.0, n) for n in NS], N_SEEDS)

fig, axes = plt.subplots(1, 3, figsize=(11, 3.9), layout="constrained")
draw_errors(axes[0], against_d, "d")
axes[0].set(xlabel="Dimension d", ylabel="Mean |error| of I(S;T) [nats]", xticks=list(cubes))
axes[0].set_title(f"sigma = 0.1, n = {FIXED_N:,}", fontsize=10.5)
draw_errors(axes[1], against_sigma, "sigma")
axes[1].set(xscale="log", xlabel="sigma")
axes[1].set_title(f"d = 10, n = {FIXED_N:,}", fontsize=10.5)
draw_errors(axes[2], signs, "n")
draw_slope(axes[2], NS, 0.4)
axes[2].set(xscale="log", xlabel="Number of rows n")
axes[2].set_title("signs, d = 10, sigma = 1, truth 3.37 nats", fontsize=10.5)
add_legend(fig, axes[2])
figures.append(fig)

# %%
# One dimension, and a deep linear network
# ----------------------------------------
# In one dimension every consistent estimator finds the density on a line. The deep network is three
# noisy linear layers after a normal input: every I(X;T) is a ratio of determinants. From layer 2 on
# noise comes before the layer too, so every input is propagated many times. kNN and KDE
# subtract mean entropies of the replicas of an input. SP is asked about the population
# (``population=True``), and its bracket says how little a few hundred inputs tell in four
# dimensions: layer 1 is a smooth law much wider than its noise, and there kNN is the better
# estimator. It just has no way of saying so.

LINES = {"uniform": (uniform_cube(1), 0.1), "two Gaussians": (corners(1, size=2, spread=0.8), 0.6)}
NAMES = ("SP", "kNN", "KDE")
lines = {
    name: compare(name, [(law, sigma, n) for n in NS], 3 * N_SEEDS, NAMES)
    for name, (law, sigma) in LINES.items()
}

N_INPUTS, N_REPLICAS = (500, 50) if FULL else (200, 20)
rng = np.random.default_rng(7)
chain = GaussianChain([rng.normal(size=s) / np.sqrt(s[0]) for s in ((4, 4), (4, 3), (3, 2))], 0.2)


def measure_layer(S, noise):
    """I(X;T) of one layer by each estimator, and the ends of SP's bracket."""
    est = NoisyMIEstimator(chain.sigma, population=True, random_state=0)
    if S.ndim == 2:
        est.fit(S)
        T = S[:, None] + noise
    else:
        est.fit(np.concatenate(S), groups=np.repeat(np.arange(N_INPUTS), N_REPLICAS))
        T = S + noise
    values = {"SP": est.mutual_info_, "SP, lower": est.bracket_[0], "SP, upper": est.bracket_[1]}
    for name, entropy in (("kNN", knn_entropy), ("KDE", kde_entropy)):
        values[name] = entropy(T[:, 0]) - np.mean([entropy(replicas) for replicas in T])
    return values


def measure_chain(seed):
    """Every layer of one draw of the chain."""
    rng = np.random.RandomState(seed)
    records = []
    layers = chain.draw(N_INPUTS, n_replicas=N_REPLICAS, random_state=rng)
    for layer, (S, truth) in enumerate(zip(layers, chain.mutual_info(), strict=True), start=1):
        d = S.shape[-1]
        noise = chain.sigma * rng.standard_normal((N_INPUTS, N_REPLICAS, d))
        common = {
            "panel": "chain", "law": f"linear chain, layer {layer}", "d": d, "sigma": chain.sigma,
            "n": N_INPUTS, "seed": seed, "truth": truth,
        }  # fmt: skip
        values = measure_layer(S, noise)
        records += [{**common, "estimator": name, "value": v} for name, v in values.items()]
    return records


rows = Parallel(n_jobs=2, prefer="threads")(delayed(measure_chain)(k) for k in range(N_SEEDS))
chains = pd.DataFrame([row for several in rows for row in several])
chains["error"] = chains["value"] - chains["truth"]
held = chains.pivot(index=["law", "seed", "truth"], columns="estimator", values="value")
truth = held.index.get_level_values("truth")
inside = (held["SP, lower"] <= truth) & (truth <= held["SP, upper"])
print(f"The bracket of SP holds the truth in {inside.sum()} of {len(inside)} layers and seeds.")
print("Error of I(X;T) in nats, mean over seeds")
print(chains.pivot_table(index="law", columns="estimator", values="error").round(3).to_string())

# %%
# On the right every point is the mean error over the seeds with its 95 % interval; the boxes are
# the mean brackets of SP.

fig, axes = plt.subplots(1, 3, figsize=(11, 3.9), layout="constrained")
for ax, (name, table) in zip(axes, lines.items(), strict=False):
    draw_errors(ax, table, "n")
    draw_slope(ax, NS, 0.03)
    ax.set(xscale="log", xlabel="Number of rows n")
    ax.set_title(f"{name}, d = 1, sigma = {LINES[name][1]:g}", fontsize=10.5)
axes[0].set(ylabel="Mean |error| of I(S;T) [nats]")
ax, places = axes[2], np.arange(len(chain.weights))
errors = chains.groupby(["estimator", "law"])["error"]
for shift, name in zip((-0.22, 0.0, 0.22), NAMES, strict=True):
    half = student.ppf(0.975, N_SEEDS - 1) * errors.std()[name] / np.sqrt(N_SEEDS)
    style = {**STYLES[name], "ls": "none"}
    ax.errorbar(places + shift, errors.mean()[name], half, capsize=2, elinewidth=1, **style)
ax.bar(
    places - 0.22, errors.mean()["SP, upper"] - errors.mean()["SP, lower"], 0.2,
    bottom=errors.mean()["SP, lower"], color=STYLES["SP"]["color"], alpha=0.15,
)  # fmt: skip
ax.axhline(0, color="k", lw=0.8)
ax.grid(alpha=0.25, lw=0.5, axis="y")
ax.spines[["top", "right"]].set_visible(False)
ax.set_xticks(
    places, [f"layer {k}\n{v:.2f} nats" for k, v in enumerate(chain.mutual_info(), start=1)]
)
ax.set(ylabel="Error of I(X;T) [nats]")
ax.set_title(f"linear chain, {N_INPUTS} inputs x {N_REPLICAS}", fontsize=10.5)
add_legend(fig, axes[0])
figures.append(fig)

# %%
# What a sample says of its population
# ------------------------------------
# All estimators above give one number. ``population=True`` gives two, between which the truth lies:
#
# * The upper end holds for every law, as h(T) is at most the cross-entropy of T under any density
#   that never saw the row which T was drawn around. The density is a mixture of many, fitted to the
#   other rows; the nearer it comes to the law, the lower the end.
# * The lower end is the larger of two: the plug-in value, that of SP, which a sample cannot exceed
#   on average and which ends at log n; and one by pairs of a noisy row with other rows (Donsker and
#   Varadhan), which can go on to about 2 log n.
#
# More is in no sample: no lower end that holds for every law exceeds 2 log n by more than a few
# nats (McAllester and Stratos, AISTATS 2020). Where the truth is higher, the bracket stays open
# below, whatever the estimator, and a number close to the truth is a guess about the law.

PANELS = {
    "corners, d = 5": (cubes[5].draw, cubes[5].mutual_info(0.1)),
    "corners, d = 10": (cubes[10].draw, cubes[10].mutual_info(0.1)),
    "corners, d = 15": (cubes[15].draw, cubes[15].mutual_info(0.1)),
    "cube, d = 10": (uniform_cube(10).draw, uniform_cube(10).mutual_info(0.1)),
    "normal, d = 10": (
        lambda n, rng: rng.standard_normal((n, 10)),
        GaussianChain([np.eye(10)], 0.1).mutual_info()[0],
    ),
}
FEW = [n for n in NS if n <= 10_000]


def measure_ends(name, n):
    """The plug-in value and both ends, as table rows."""
    draw, truth = PANELS[name]
    est = NoisyMIEstimator(0.1, population=True, random_state=0).fit(
        draw(n, np.random.RandomState(0))
    )
    common = {"panel": "ends", "law": name, "sigma": 0.1, "n": n, "seed": 0, "truth": truth}
    values = {"SP": est.plug_in_, "SP, lower": est.bracket_[0], "SP, upper": est.bracket_[1]}
    return [{**common, "estimator": key, "value": value} for key, value in values.items()]


rows = Parallel(n_jobs=2, prefer="threads")(
    delayed(measure_ends)(name, n) for name in PANELS for n in FEW
)
ends = pd.DataFrame([row for several in rows for row in several])
ends["d"] = ends["law"].str.rpartition(" ")[2].astype(int)
ends["error"] = ends["value"] - ends["truth"]
print("I(S;T) of the population in nats: plug-in value, lower and upper end, one draw of each n")
table = ends.pivot(index=["law", "truth", "n"], columns="estimator", values="value")
print(table.loc[list(PANELS)].round(2).to_string())

# %%
# Shaded is what the bracket leaves open.

fig, axes = plt.subplots(1, len(PANELS), figsize=(11, 3.1), layout="constrained")
for ax, (name, (_, truth)) in zip(axes, PANELS.items(), strict=True):
    line = table.loc[name].droplevel("truth")
    ax.fill_between(
        FEW, line["SP, lower"], line["SP, upper"], color=STYLES["SP"]["color"], alpha=0.18, lw=0,
        label="bracket, population=True",
    )  # fmt: skip
    for end in ("SP, lower", "SP, upper"):
        ax.plot(FEW, line[end], color=STYLES["SP"]["color"], lw=1)
    ax.plot(FEW, line["SP"], color="#d95f02", marker="o", ms=3.5, lw=1.4, label="plug-in value")
    ax.axhline(truth, color="k", lw=1.2, label="truth")
    ax.plot(FEW, np.log(FEW), color="0.2", lw=1, ls="--", zorder=4, label="log n")
    ax.plot(FEW, 2 * np.log(FEW), color="0.45", lw=1, ls=":", label="2 log n")
    ax.set(xscale="log", xlabel="Number of rows n", ylim=(0, 1.25 * truth), xlim=(FEW[0], FEW[-1]))
    ax.set_title(f"{name}: {truth:.2f} nats", fontsize=9.5)
    ax.grid(alpha=0.25, lw=0.5)
    ax.spines[["top", "right"]].set_visible(False)
axes[0].set(ylabel="I(S;T) [nats]")
add_legend(fig, axes[0])
figures.append(fig)

# %%
# The table behind the figures is kept where it was made at full size.

if FULL:
    everything = [against_n, against_d, against_sigma, signs, *lines.values(), chains, ends]
    write_results(
        "estimators", pd.concat(everything), seconds=time.perf_counter() - started,
        seeds="column seed", scipy=scipy.__version__, scikit_learn=sklearn.__version__,
    )  # fmt: skip
    for number, picture in enumerate(figures, start=1):
        save_figure(picture, RESULTS.parent / "images" / f"estimators_{number}.png", dpi=130)
