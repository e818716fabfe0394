r"""
Which sigma? A network trained without noise
============================================

A network trained with noise is measured with its own noise. A network trained without has none, and
I(X;T) is log n for every one of its layers. To measure it at all one adds noise for the
measurement, T = S + σ Z, and then the number depends on σ. Which one is right? None is. What can be
right is a *statement* together with the range of σ over which it holds. This page makes three
statements about one small network and finds out for which σ the brackets support each.

Never choose σ by the value it gives. I(X;T) grows to log n as σ shrinks, for any weights, trained
or not: the "best" σ is always the smallest, and there the number says nothing.
"""

import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from results import FULL, RESULTS, write_results

from skinfo import sigma_curve
from skinfo.datasets import make_szt
from skinfo.networks import Recorder
from skinfo.szt import Trainer, make_mlp
from skinfo.view import SigmaCurveDisplay, save_figure
from skinfo.view.curves import layer_colours

SEED = 0
LAYERS = ("layer2", "layer3", "layer4", "layer5")
EARLY, LATE = 10, 80
started = time.perf_counter()

# %%
# One network, two checkpoints
# ----------------------------
# The 12-10-7-5-4-3-2 tanh network, trained without noise on the Shwartz-Ziv and Tishby task.

X, y = make_szt()
train = np.random.default_rng(SEED).permutation(len(X))[:3277]
model = make_mlp(random_state=SEED)
trainer = Trainer(model, X[train], y[train], random_state=SEED)
recorder = Recorder(model, LAYERS, n_replicas=1)
layers = {}
for epoch in (EARLY, LATE):
    trainer.train_until(epoch)
    with recorder.record(X) as activations:
        layers |= {(epoch, name): np.array(T) for name, T in activations.items()}
    print(f"Accuracy at epoch {epoch}, all inputs: {trainer.evaluate(X, y)[1]:.3f}")

# %%
# First declare the range
# -----------------------
# Before looking at any information, from what is known without it. A σ far below the distances
# between neighbours keeps all inputs apart; one beyond the extent of the layer drowns them all.
# Between the two lies every σ that can say anything. Three a decade show the shape.

SIGMAS = np.geomspace(1e-4, 1, 25 if FULL else 13)
TOLERANCE = 0.005 if FULL else 0.02


def curve(S: np.ndarray, labels: np.ndarray | None = None) -> pd.DataFrame:
    """I(X;T) and, with labels, I(Y;T) at all declared sigmas."""
    return sigma_curve(S, labels, sigmas=SIGMAS, tol=TOLERANCE, n_jobs=2, random_state=SEED)


def information(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of I(X;T), by sigma."""
    return table[table["quantity"] == "mutual_info"].set_index("sigma")


# %%
# Statement 1: layer 5 compressed between the two epochs
# ------------------------------------------------------
# A σ supports "less" where the whole bracket of one lies below that of the other, contradicts it
# where it lies above, and is silent elsewhere.


def verdict(one: pd.DataFrame, other: pd.DataFrame) -> pd.Series:
    """For each sigma, whether ``one`` is less than ``other``: yes, no, or silent."""
    one, other = information(one), information(other)
    less, more = one["upper"] < other["lower"], one["lower"] > other["upper"]
    return pd.Series(np.select([less, more], ["yes", "no"], "silent"), one.index)


def ranges(verdicts: pd.Series) -> str:
    """The verdicts in words, neighbouring sigmas together."""
    runs = verdicts.ne(verdicts.shift()).cumsum()
    return "; ".join(
        f"{run.iloc[0]} for σ = {run.index[0]:.2g} … {run.index[-1]:.2g}"
        for _, run in verdicts.groupby(runs)
    )


over_time = {epoch: curve(layers[epoch, "layer5"], y) for epoch in (EARLY, LATE)}
shown = pd.DataFrame({
    f"epoch {epoch}": information(table)["value"].round(3).astype(str)
    + information(table)["notes"].map(lambda notes: f"  {notes}" if notes else "")
    for epoch, table in over_time.items()
})  # fmt: skip
shown["less?"] = compressed = verdict(over_time[LATE], over_time[EARLY])
shown.index = [f"{sigma:.2g}" for sigma in SIGMAS]
print("I(X;T) of layer 5 in nats, by sigma")
print(shown.to_string())
print(f"Layer 5 knows less about the input at epoch {LATE} than at {EARLY}:", ranges(compressed))

# %%
# At small σ it compressed, at large σ it expanded, and neither is the truth about the network. Both
# are: inputs of one class were pressed together at fine scales while the layer as a whole
# spread. "The layer compresses" without a σ is not a statement. And choosing by value would have
# been worse than useless: at the smallest σ the larger number belongs to epoch 10, where the
# network does little better than guess.
#
# Statement 2: layer 3 knows less than layer 2
# --------------------------------------------
# Each layer gets noise of its own at the output, so this compares two measurements, not two links
# of a noisy chain, and the data processing inequality does not decide it. Where both are saturated
# nothing can: all inputs are apart in both.

over_depth = {name: curve(layers[LATE, name]) for name in LAYERS}
deeper = verdict(over_depth["layer3"], over_depth["layer2"])
print(f"Layer 3 knows less than layer 2 at epoch {LATE}:", ranges(deeper))

# %%
# Statement 3: the same, each layer in its own units
# --------------------------------------------------
# One σ for two layers favours the one with larger activations: a factor on a layer moves its curve
# along the axis. So measure σ in units of each layer's root mean square deviation as well. What
# holds in both units is a finding; what holds in one of them says something about scale.

SCALES = {name: float(np.sqrt(layers[LATE, name].var(axis=0).mean())) for name in LAYERS}
in_own_units = {name: curve(layers[LATE, name] / SCALES[name]) for name in LAYERS}
print("Root mean square deviation:", {name: round(scale, 3) for name, scale in SCALES.items()})
print("Layer 3 knows less than layer 2, σ in own units:",
      ranges(verdict(in_own_units["layer3"], in_own_units["layer2"])))  # fmt: skip
print("Layer 4 knows less than layer 3, σ in own units:",
      ranges(verdict(in_own_units["layer4"], in_own_units["layer3"])))  # fmt: skip

# %%
# Layer 3 has the larger activations. That is why it overtakes layer 2 at large σ in common units,
# and in its own units it does not. Supported, then: at epoch 80 layer 3 knows less about the input
# than layer 2 for σ from about 0.001 to 0.2 in common units, and for every σ from about 0.002 on in
# units of each layer. That sentence is longer than "layer 3 knows less", and it is true.

# %%
# The curves
# ----------
# Left: layer 5 at two epochs, with what it knows of the label below; the shaded σ are those at
# which it compressed (blue) or expanded (orange). Right: four layers at one epoch, σ in the
# units of the activations above, in each layer's own below. Open circles are saturated: they say
# that all inputs are apart and no more.

figure = plt.figure(figsize=(10.2, 7.0), layout="constrained")
axes = figure.subplots(2, 2)
for ax in axes.flat:
    ax.set(xscale="log", xlim=(SIGMAS[0], SIGMAS[-1]))
    ax.grid(alpha=0.25, lw=0.5)
    ax.spines[["top", "right"]].set_visible(False)
left = {"mutual_info": axes[0, 0], "label_mutual_info": axes[1, 0]}
for (epoch, table), colour in zip(over_time.items(), ("#d9822b", "#1f6f8b"), strict=True):
    SigmaCurveDisplay.from_table(table).plot(left, label=f"layer 5, epoch {epoch}", color=colour)
for ax, tables in ((axes[0, 1], over_depth), (axes[1, 1], in_own_units)):
    for (name, table), colour in zip(tables.items(), layer_colours(len(LAYERS)), strict=True):
        SigmaCurveDisplay.from_table(table).plot({"mutual_info": ax}, label=name, color=colour)
axes[1, 1].get_legend().remove()
axes[0, 0].set_xlabel("σ, in the units of the activations")
axes[1, 0].set_xlabel("σ, in the units of the activations")
axes[0, 1].set_xlabel(f"σ, in the units of the activations; epoch {LATE}")
axes[1, 1].set_xlabel(f"σ, in the layer's root mean square deviations; epoch {LATE}")
ratio = np.sqrt(SIGMAS[1] / SIGMAS[0])
for sigma, word in compressed.items():
    if word != "silent":
        axes[0, 0].axvspan(sigma / ratio, sigma * ratio, alpha=0.1, lw=0, zorder=0,
                           color="#1f6f8b" if word == "yes" else "#d9822b")  # fmt: skip

if FULL:
    kept = [table.assign(epoch=epoch, layer="layer5", scale=1.0)
            for epoch, table in over_time.items()]  # fmt: skip
    for scales, tables in ((dict.fromkeys(LAYERS, 1.0), over_depth), (SCALES, in_own_units)):
        kept += [table.assign(epoch=LATE, layer=name, scale=scales[name])
                 for name, table in tables.items()]  # fmt: skip
    write_results("choosing_sigma", pd.concat(kept).assign(seed=SEED), seed=SEED,
                  tolerance=TOLERANCE, seconds=time.perf_counter() - started)  # fmt: skip
    save_figure(figure, RESULTS.parent / "images" / "choosing_sigma.png", dpi=130)
