r"""
The deterministic twin: four widths, four stories
=================================================

Two networks start from the same weights and see the same inputs: the 12-10-7-5-4-3-2 tanh network
on the 4,096 inputs of the Shwartz-Ziv and Tishby task. One is trained with Gaussian noise of
standard deviation 0.005 on every hidden layer, the other without.

In the noisy network I(X;T) is a property of the network, and the figure's first row shows it with
brackets: in layers 3 to 5 it rises, falls when the network begins to learn, and rises again. In its
deterministic twin I(X;T) is log 4096 in every layer at every epoch, which counting proves. What
binning makes of the twin is drawn below, the same activations with cells of four widths. Each has
its own shape, and the narrower the cells, the flatter they lie at log 4096. Compare each with the
row above: at 0.1 and 0.01 layer 5 falls from about the same epoch on. This is no accident, and it
is no measurement of information either. Inputs that cluster come closer than the noise in one
network and share cells in the other.

As in Goldfeld et al., ICML 2019: architecture, sigma, Adam at 4e-4 with batches of 256, and the
information over all 4,096 inputs, here each exactly once. The four widths are recalled, not read.
By default the training has 300 epochs and brackets come from a few replicas; ``--full`` is the
paper's 10,000 epochs.
"""

import copy
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from results import FULL, RESULTS, write_results

from skinfo import NoisyMIEstimator, binning_sweep, information_flow, open_run
from skinfo._rows import discrete_entropy
from skinfo.datasets import make_szt
from skinfo.networks import Recorder
from skinfo.szt import Trainer, make_mlp
from skinfo.view import Curves, save_figure
from skinfo.view.curves import layer_colours

SEED = 0
SIGMA = 0.005
WIDTHS = (1e-1, 1e-2, 1e-3, 1e-4)
LAYERS = [f"layer{k}" for k in range(1, 6)]
N_EPOCHS = 10_000 if FULL else 300
N_REPLICAS = 24 if FULL else 6
TOLERANCE = 0.02 if FULL else 0.05
started = time.perf_counter()

X, y = make_szt()
CEILING = np.log(len(X))
train = np.random.default_rng(SEED).permutation(len(X))[:3277]
test = np.setdiff1d(np.arange(len(X)), train)


def checkpoints(n: int) -> list[int]:
    """About n epochs, evenly spaced in the logarithm."""
    return np.unique(np.geomspace(1, N_EPOCHS, n).round().astype(int)).tolist()


def losses(trainer: Trainer) -> dict[str, float]:
    """Cross-entropy in nats and accuracy on both parts, noise off."""
    measured = {}
    for part, rows in (("train", train), ("test", test)):
        measured[f"{part}_loss"], measured[f"{part}_accuracy"] = trainer.evaluate(X[rows], y[rows])
    return measured


# %%
# The noisy network
# -----------------
# Every input is recorded several times, each time with fresh noise, because a layer with noise
# before it needs them. ``sigma=None`` takes the sigma that each layer was run with.

model = make_mlp(random_state=SEED)
trainer = Trainer(model, X[train], y[train], sigma=dict.fromkeys(LAYERS, SIGMA), random_state=SEED)
recorder = Recorder(model, LAYERS, sigma=SIGMA, n_replicas=N_REPLICAS, random_state=SEED)
estimator = NoisyMIEstimator(sigma=None, tol=TOLERANCE, random_state=SEED)
# Few of them by default, two where layer 5 has its first peak and its first low.
recorded = checkpoints(60) if FULL else [1, 4, 10, 16, 25, 40, 65, 110, 180, 300]
tables, noisy_losses = [], {}
for epoch in recorded:
    trainer.train_until(epoch)
    noisy_losses[epoch] = losses(trainer)
    with recorder.record(X) as activations:
        run = open_run(
            {(epoch, name): array for name, array in activations.items()}, labels=y, sigma=SIGMA
        )
        tables.append(information_flow(estimator, run, n_jobs=2, progress=False))
flow = pd.concat(tables, ignore_index=True)
information = flow[flow["quantity"] == "mutual_info"]
last = information[information["epoch"] == N_EPOCHS].set_index("layer")
print(f"Noisy network, epoch {N_EPOCHS}: I(X;T) in nats, ceiling {CEILING:.3f}")
print(last[["value", "stderr", "lower", "upper", "notes"]].round(3).to_string())

# %%
# Its twin
# --------
# One recording is enough. How often each value occurs gives I(X;T) = H(T) exactly; one call bins a
# layer with all four widths. Values are counted in double precision: those of single precision
# lie on a grid of their own, on which saturated units meet after some thousand epochs.


def counted_information(model: torch.nn.Module) -> dict[str, float]:
    """H(T) of each layer in nats, from how often each of its values occurs."""
    entropies, T = {}, torch.as_tensor(X)
    with torch.no_grad():
        for name in LAYERS:
            T = copy.deepcopy(model.get_submodule(name)).double()(T)
            _, counts = np.unique(T.numpy(), axis=0, return_counts=True)
            entropies[name] = discrete_entropy(counts / len(X))
    return entropies


model = make_mlp(random_state=SEED)
trainer = Trainer(model, X[train], y[train], random_state=SEED)
recorder = Recorder(model, LAYERS, n_replicas=1)
sweeps, twin_losses = [], {}
for epoch in checkpoints(84 if FULL else 30):
    trainer.train_until(epoch)
    twin_losses[epoch] = losses(trainer)
    counted = counted_information(model)
    with recorder.record(X) as activations:
        for name, T in activations.items():
            sweep = binning_sweep(T, y, bin_widths=WIDTHS)
            sweeps.append(sweep.assign(epoch=epoch, layer=name, counted=counted[name]))
binned = pd.concat(sweeps, ignore_index=True)
print(f"Twin, all epochs: I(X;T) by counting, lowest by layer; log 4096 = {CEILING:.4f} nats")
print(binned.groupby("layer")["counted"].min().round(4).to_string())
print(f"Twin, epoch {N_EPOCHS}: H(Bin(T)) in nats by layer and cell width")
last = binned[binned["epoch"] == N_EPOCHS]
print(last.pivot(index="layer", columns="bin_width", values="binned_entropy").round(3).to_string())
for name, by_epoch in (("noisy", noisy_losses), ("twin", twin_losses)):
    print(f"Test accuracy, {name}: {by_epoch[N_EPOCHS]['test_accuracy']:.3f}")

# %%
# How far the curves fall
# -----------------------
# The largest drop from a running maximum, for layer 5. The noisy network has one number; its twin
# has as many as there are widths (at full size the widest cells fall most the second time). The
# dotted line of the figure is where the noisy network's fall begins.


def largest_fall(curve: pd.Series) -> tuple[float, int]:
    """Largest drop from a running maximum of a curve by epoch, and where that maximum is."""
    drop = curve.cummax() - curve
    return float(drop.max()), int(curve.loc[: drop.idxmax()].idxmax())


fifth = information[information["layer"] == "layer5"].set_index("epoch")["value"].sort_index()
fall, peak = largest_fall(fifth)
print(f"Layer 5, noisy network: I(X;T) falls by {fall:.2f} nats, from epoch {peak} on")
for width, rows in binned[binned["layer"] == "layer5"].groupby("bin_width"):
    fall, start = largest_fall(rows.set_index("epoch")["binned_entropy"].sort_index())
    print(f"Layer 5, twin, width {width:g}: H(Bin(T)) falls by {fall:.2f} nats, from {start} on")

# %%
# The figure
# ----------

figure = plt.figure(figsize=(10.2, 7.2), layout="constrained")
above, below = figure.subfigures(2, 1, height_ratios=[1.2, 1])
axes = dict(zip(("noisy", "losses"), above.subplots(1, 2, width_ratios=[1.9, 1]), strict=True))
axes |= dict(zip(WIDTHS, below.subplots(1, 4, sharey=True), strict=True))
Curves.of(flow, "NoisyMIEstimator", "mutual_info").draw(axes["noisy"])
axes["noisy"].set_title("Noisy network: I(X;T), σ = 0.005", fontsize=10)
axes["noisy"].set_ylabel("I(X;T) [nats]")
for width in WIDTHS:
    rows = binned[binned["bin_width"] == width]
    wide = rows.pivot(index="epoch", columns="layer", values="binned_entropy")
    # Thick below, thin above: curves that lie on one another are all seen.
    for depth, (colour, name) in enumerate(zip(layer_colours(len(LAYERS)), LAYERS, strict=True)):
        axes[width].plot(wide.index, wide[name], color=colour, lw=3.6 - 0.55 * depth,
                         solid_capstyle="butt")  # fmt: skip
    axes[width].set_title(f"Twin: H(Bin(T)), width {width:g}", fontsize=10)
axes[WIDTHS[0]].set_ylabel("H(Bin(T)) [nats]")
for name in ("noisy", *WIDTHS):
    axes[name].axhline(CEILING, color="k", lw=0.7, ls=(0, (4, 3)), zorder=1)
    axes[name].set_ylim(0, 1.08 * CEILING)
for colour, name, by_epoch in (
    ("#1f6f8b", "noisy", noisy_losses), ("#d9822b", "twin", twin_losses),
):  # fmt: skip
    for part, style in (("train", "-"), ("test", "--")):
        values = [loss[f"{part}_loss"] for loss in by_epoch.values()]
        axes["losses"].plot(list(by_epoch), values, style, color=colour, lw=1.3,
                            label=f"{name}, {part}")  # fmt: skip
axes["losses"].set_title("Cross-entropy, noise off", fontsize=10)
axes["losses"].set(ylabel="Loss [nats]", ylim=(0, None))
axes["losses"].legend(frameon=False, fontsize=8)
for name, ax in axes.items():
    ax.set(xscale="log", xlim=(1, N_EPOCHS))
    ax.grid(alpha=0.25, lw=0.5)
    ax.spines[["top", "right"]].set_visible(False)
    if name != "losses":
        ax.axvline(peak, color="0.5", lw=0.8, ls=":", zorder=0)
    ax.set_xlabel("Epoch")
axes["noisy"].legend(frameon=False, fontsize=9, ncols=5, loc="lower center")

if FULL:
    facts = {"seed": SEED, "sigma": SIGMA, "epochs": N_EPOCHS, "replicas": N_REPLICAS}
    facts |= {"noisy": noisy_losses[N_EPOCHS], "twin": twin_losses[N_EPOCHS]}
    columns = ["network", "seed", "epoch", "layer", "quantity", "bin_width", "value", "stderr",
               "lower", "upper", "unit", "notes", "counted"]  # fmt: skip
    entropies = binned.rename(columns={"binned_entropy": "value"}).assign(
        network="twin", quantity="binned_entropy", stderr=0.0
    )
    both = pd.concat([information.assign(network="noisy"), entropies], ignore_index=True)
    write_results("deterministic_twin", both.assign(seed=SEED)[columns], **facts,
                  seconds=time.perf_counter() - started)  # fmt: skip
    save_figure(figure, RESULTS.parent / "images" / "deterministic_binning.png", dpi=130)
