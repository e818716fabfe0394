r"""
Entropy of a hidden layer from few samples
==========================================

A network with three noisy tanh layers of 8, 9 and 10 units learns three interleaved spirals. Its
last hidden layer is no textbook law: in ten units, three tight clusters and what lies between them.
How many samples does it take to know its differential entropy h(T)?

* **SP** (``NoisyMIEstimator``) takes rows of S, the layer before its own noise, which come out of
  the network with noise in the layers below, and integrates the known noise of this layer itself.
* **kNN** and **KDE** take the same number of samples of T (KDE is evaluated at 2,048 of them at
  most, below which its spread does not fall).

What to see: SP is nearer to the truth at every n, and it varies less from seed to seed. The reason
is the one behind its theorem: only the rows are random, the noise is not sampled. What is left of
its error, with few rows, is a bias: it falls short of the truth. (With 32 rows it is stuck at log
32 above the entropy of the noise, so its spread is small for a bad reason.)

The network, its noise of 0.2 and the accuracy of about 98 % are the paper's. The jitter of the
spirals, numbers of samples, the optimiser and its settings are chosen here. ``--full`` goes on to
31,623 rows with 20 seeds and writes ``docs/results/spiral.csv``.
"""

import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from results import FULL, RESULTS, write_results
from sample_entropies import kde_entropy, knn_entropy
from scipy.stats import chi2

from skinfo import NoisyMIEstimator, SaturationWarning, information_flow, open_run
from skinfo.datasets import make_spiral
from skinfo.networks import Recorder
from skinfo.szt import Trainer, make_mlp
from skinfo.view import save_figure
from skinfo.view.curves import layer_colours

warnings.simplefilter("ignore", SaturationWarning)
SIGMA, LAYERS = 0.2, ("layer1", "layer2", "layer3")
SIGMAS = dict.fromkeys(LAYERS, SIGMA)
JITTER = 0.06
started = time.perf_counter()

# %%
# Training
# --------
# With the noise on, as it is when the layers are recorded; accuracy is reported with the noise off.

X, y = make_spiral(1000, noise=JITTER, random_state=0)
fresh = make_spiral(3000, noise=JITTER, random_state=1)
model = make_mlp((2, 8, 9, 10, 3), random_state=0)
trainer = Trainer(model, X, y, sigma=SIGMAS, learning_rate=0.02, batch_size=64, random_state=0)
trainer.train_until(50)
accuracy = trainer.evaluate(*fresh)[1]
print(f"Accuracy after {trainer.epoch} epochs: training {trainer.evaluate(X, y)[1]:.3f}, "
      f"3000 fresh points {accuracy:.3f}")  # fmt: skip

# %%
# The entropy of the last hidden layer
# ------------------------------------
# The inputs of the network have a density, so samples of its layers are unlimited: every seed gets
# fresh points, all propagated through the noise of layers 1 and 2.

NS = (32, 100, 316, 1000, 3162, 10_000, 31_623) if FULL else (32, 100, 316, 1000, 3162)
N_SEEDS = 20 if FULL else 6


def record_last(n, seed):
    """Rows of S of the last hidden layer for n fresh points."""
    points, _ = make_spiral(n, noise=JITTER, random_state=100 + seed)
    recorder = Recorder(model, LAYERS[-1:], sigma=SIGMAS, n_replicas=1, random_state=seed)
    with recorder.record(points) as activations:
        return activations[LAYERS[-1]].reshape(n, -1).astype(float)


def sp_entropy(S, tol):
    """Differential entropy of the mixture around the rows, in nats."""
    return NoisyMIEstimator(SIGMA, tol=tol, random_state=0).fit(S).entropy_


def entropies(S, seed):
    """h(T) from the first n rows, for every n and by every estimator."""
    T = S + SIGMA * np.random.default_rng(seed).standard_normal(S.shape)
    return [
        {"seed": seed, "n": n, "estimator": name, "entropy": value}
        for n in NS
        for name, value in (
            ("SP", sp_entropy(S[:n], max(0.002, 0.1 / np.sqrt(n)))),
            ("kNN", knn_entropy(T[:n])),
            ("KDE", kde_entropy(T[:n])),
        )
    ]


pool = [record_last(max(NS), seed) for seed in range(N_SEEDS)]
rows = Parallel(n_jobs=2, prefer="threads")(
    delayed(entropies)(S, seed) for seed, S in enumerate(pool)
)
table = pd.DataFrame([row for several in rows for row in several])

# %%
# There is no closed form here. With ``population=True`` the estimator brackets the entropy of the
# law that the rows came from, so all rows of all seeds together say where the truth lies.

rows = np.concatenate(pool)
est = NoisyMIEstimator(SIGMA, tol=0.003, population=True, random_state=0).fit(rows)
low, high = est.entropy_bracket_
print(f"h(T) from {len(rows)} rows: {est.entropy_:.3f}, between {low:.3f} and {high:.3f} nats")
spread = table.groupby(["n", "estimator"])["entropy"].agg(["mean", "std"])
print("h(T) in nats, mean over seeds (standard deviation over seeds)")
cells = spread.apply(lambda row: f"{row['mean']:.3f} ({row['std']:.3f})", axis=1)
print(cells.unstack("estimator").to_string())

# %%
# What the layers know
# --------------------
# The information of each layer about its input, X uniform on 1,000 points, from 24 noisy passes of
# each. Ends of the brackets: with finitely many passes the plug-in value is too large, the
# density that leaves out a draw's own row gives the other end.

recorder = Recorder(model, LAYERS, sigma=SIGMAS, n_replicas=100 if FULL else 24, random_state=0)
with recorder.record(X) as activations:
    run = open_run(
        {(trainer.epoch, name): np.array(activations[name]) for name in LAYERS},
        labels=y, sigma=SIGMA, layers=LAYERS,
    )  # fmt: skip
flow = information_flow(NoisyMIEstimator(None, random_state=0), run, progress=False)
information = flow[flow["quantity"].isin(["mutual_info", "label_mutual_info"])]
information = information.set_index(["quantity", "layer"])[["value", "stderr", "lower", "upper"]]
print(information.round(3).to_string())

# %%
# Left: mean over the seeds, the bars a standard deviation of a single estimate. Middle: that
# deviation alone, with its 95 % interval. Right: information of the three layers, with brackets.

STYLES = {
    "SP": {"color": "#1b3a6b", "marker": "o", "lw": 2.4, "ms": 5, "zorder": 5},
    "kNN": {"color": "#d95f02", "marker": "s", "lw": 1.5, "ms": 4},
    "KDE": {"color": "#1b9e77", "marker": "^", "lw": 1.5, "ms": 4.5},
}
degrees = N_SEEDS - 1
factors = np.sqrt(degrees / chi2.ppf([0.975, 0.025], degrees))
fig, axes = plt.subplots(1, 3, figsize=(11, 3.7), width_ratios=[1.2, 1, 0.8], layout="constrained")
for (name, style), shift in zip(STYLES.items(), (1.0, 1.06, 0.94), strict=True):
    of_one = spread.xs(name, level="estimator")
    n, mean, deviation = of_one.index.to_numpy(), of_one["mean"], of_one["std"].to_numpy()
    axes[0].errorbar(n * shift, mean, deviation, label=name, capsize=2, elinewidth=1, **style)
    bars = np.abs(np.outer(factors - 1, deviation))
    axes[1].errorbar(n * shift, deviation, bars, capsize=2, elinewidth=1, **style)
axes[0].axhspan(low, high, color="0.55", alpha=0.5, lw=0, label=f"truth, by {len(rows):,} rows")
axes[0].set(xscale="log", xlabel="Number of rows n", ylabel="h(T), layer 3 [nats]")
axes[0].legend(frameon=False, fontsize=8.5)
axes[1].set(xscale="log", yscale="log", xlabel="Number of rows n")
axes[1].set(ylabel="Standard deviation over seeds [nats]")
for name, shift, alpha in (("mutual_info", -0.2, 1.0), ("label_mutual_info", 0.2, 0.45)):
    values = information.loc[name]
    bars = np.array([values["value"] - values["lower"], values["upper"] - values["value"]])
    x = np.arange(len(LAYERS)) + shift
    axes[2].bar(x, values["value"], width=0.36, color=layer_colours(3), alpha=alpha)
    axes[2].errorbar(x, values["value"], bars, color="k", capsize=3, lw=1, ls="none")
    what = {"mutual_info": "I(X;T)", "label_mutual_info": "I(Y;T)"}[name]
    axes[2].annotate(what, (x[0], values["value"].iloc[0] + 0.06), ha="center", fontsize=8.5)
axes[2].set_xticks(range(3), [f"layer {k}\n{d} units" for k, d in enumerate((8, 9, 10), start=1)])
axes[2].set(ylabel="Information [nats]", ylim=(0, 3.8))
for ax in axes:
    ax.grid(alpha=0.25, lw=0.5)
    ax.spines[["top", "right"]].set_visible(False)

if FULL:
    write_results(
        "spiral", table, seconds=time.perf_counter() - started, seeds="column seed",
        accuracy=round(accuracy, 4), n_reference=len(rows), entropy=round(est.entropy_, 4),
        entropy_bracket=[round(end, 4) for end in est.entropy_bracket_],
        information=information.round(4).reset_index().to_dict("records"),
    )  # fmt: skip
    save_figure(fig, RESULTS.parent / "images" / "spiral.png", dpi=130)
