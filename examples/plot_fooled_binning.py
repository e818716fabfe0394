r"""
How a network without noise fools a binning estimator
=====================================================

Much of what has been written about compression in neural networks rests on one recipe: train a
network without noise, cut its activations into bins, and call the entropy of the bins I(X;T). Here
is that recipe step by step, on a network for which the true I(X;T) is known at every epoch because
it can be counted. From the same activations the recipe tells that information about the input
falls, that it rises, or that nothing happens, just as the width of the bins was chosen. (Another
seed tells another set of stories; that is the point.)

The network is the 12-10-7-5-4-2-2 tanh network on the 4,096 inputs of the Shwartz-Ziv and Tishby
task. Its last hidden layer has two units, one fewer than in the paper, so that a picture shows all
of it. The widths are the four of the paper's comparison as recalled, not as read.
"""

import copy
import time

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from matplotlib.patches import Rectangle
from results import FULL, RESULTS, write_results
from sklearn.neighbors import NearestNeighbors

from skinfo import ClusteringScore, binning_sweep
from skinfo._rows import discrete_entropy
from skinfo.datasets import make_szt
from skinfo.networks import Recorder
from skinfo.szt import Trainer, make_mlp
from skinfo.view import save_figure

SEED = 0
WIDTHS = (1e-4, 1e-3, 1e-2, 1e-1)
LAYER = "layer5"
N_EPOCHS = 10_000 if FULL else 300
EARLY, LATE = 10, 80
started = time.perf_counter()

# %%
# 1. A network without noise
# --------------------------
# One recording of each input is enough: without noise, no other would differ.

X, y = make_szt()
train = np.random.default_rng(SEED).permutation(len(X))[:3277]
test = np.setdiff1d(np.arange(len(X)), train)
model = make_mlp((12, 10, 7, 5, 4, 2, 2), random_state=SEED)
trainer = Trainer(model, X[train], y[train], random_state=SEED)
recorder = Recorder(model, [LAYER], n_replicas=1)
spaced = np.geomspace(1, N_EPOCHS, 60 if FULL else 30).round().astype(int)
epochs = sorted({*spaced.tolist(), EARLY, LATE})
layer, in_double = {}, {}
for epoch in epochs:
    trainer.train_until(epoch)
    with recorder.record(X) as activations:
        layer[epoch] = np.array(activations[LAYER])
    with torch.no_grad():
        hidden = copy.deepcopy(model[:5]).double()
        in_double[epoch] = hidden(torch.as_tensor(X)).numpy()
accuracy = trainer.evaluate(X[test], y[test])[1]
print(f"Test accuracy after {N_EPOCHS} epochs: {accuracy:.3f}")

# %%
# 2. The truth, by counting
# -------------------------
# T is a function of X, so I(X;T) = H(T), and with 4,096 equally likely inputs that is a matter of
# counting which of them share a value. None do: I(X;T) = H(X) = log 4096 at every epoch, exactly.
# X can be read off T throughout the training; nothing is ever lost.
#
# The same weights are run in double precision for this, because numbers in a computer lie on a grid
# too. Near 1 those of single precision are 6e-8 apart. In 300 epochs that does not matter; towards
# the end of ``--full`` tanh is so close to 1 that even they, counted as they are, show a
# "compression" by several nats. It is the width of the bins once more.


def counted_information(T: np.ndarray) -> float:
    """H(T) in nats, from how often each value occurs."""
    _, counts = np.unique(T, axis=0, return_counts=True)
    return discrete_entropy(counts / len(T))


CEILING = np.log(len(X))
truth = np.array([counted_information(in_double[epoch]) for epoch in epochs])
single = np.array([counted_information(layer[epoch]) for epoch in epochs])
for name, counted in (("double", truth), ("single", single)):
    print(f"I(X;T) by counting in {name} precision: {counted.min():.4f} … {counted.max():.4f} nats")
print(f"log {len(X)} = {CEILING:.4f} nats")

# %%
# 3. The recipe
# -------------
# H(Bin(T)) at four widths, from the very same arrays. Between epochs 10 and 80 the network learns
# most of what it will. What did the information do?

sweeps = {epoch: binning_sweep(layer[epoch], y, bin_widths=WIDTHS) for epoch in epochs}
table = pd.concat(
    [sweep[["bin_width", "binned_entropy"]].assign(epoch=epoch) for epoch, sweep in sweeps.items()]
)
curves = table.pivot(index="epoch", columns="bin_width", values="binned_entropy")
story = curves.loc[[EARLY, LATE]].T.rename_axis("cell width")
story["change"] = story[LATE] - story[EARLY]
print("H(Bin(T)) in nats, no error: it is a count")
print(story.round(3).to_string())

# %%
# It stayed (1e-4), it fell (1e-3), it rose (1e-2), it rose by two nats (1e-1). All four lines come
# from one training, and the truth did not move. Nor is any of the widths the right one: as the
# width shrinks the curve goes to log 4096, and that is all that a limit can give.
#
# 4. What the bins saw
# --------------------
# The layer at the two epochs, with the grid of width 0.1 drawn over it. At epoch 10 all inputs lie
# in a handful of cells; at epoch 80 they are strung across the square. On this scale the cloud
# spread, so H(Bin) rose. The windows magnify the most crowded place of each, with the grid of width
# 0.001. There the opposite happened: what was a round cloud has become thin streaks, in which
# inputs of one class share cells. At that width H(Bin) fell.

ZOOM = 0.01


def crowded_corner(T: np.ndarray) -> np.ndarray:
    """Lower left corner of the square of side ZOOM, on its own lattice, with the most inputs."""
    squares, counts = np.unique(np.floor(T / ZOOM), axis=0, return_counts=True)
    return squares[counts.argmax()] * ZOOM


nearest = {
    epoch: NearestNeighbors(n_neighbors=2).fit(layer[epoch]).kneighbors()[0][:, 0]
    for epoch in (EARLY, LATE)
}
distances = pd.DataFrame({
    epoch: [*np.quantile(nearest[epoch], [0.1, 0.5, 0.9]), np.ptp(layer[epoch], axis=0).max()]
    for epoch in (EARLY, LATE)
}, index=["nearest neighbour, 10 %", "50 %", "90 %", "widest extent"])  # fmt: skip
print("Distances in the layer, by epoch")
print(distances.map("{:.5f}".format).to_string())

# %%
# The two quantities of this table tell the four stories apart. A width far below the distances
# between neighbours sees nothing; one that they shrink past sees a fall; one between them and the
# extent of the cloud sees the cloud grow.
#
# 5. What it does measure
# -----------------------
# Which inputs lie together, at one scale: clustering. That is worth knowing, and it can be measured
# without a grid. The probability that two inputs of different classes lie farther apart than two of
# one class (AUC) has no width to choose, no dependence on where cells begin, and knows the labels.
# It says what the training did: classes move apart, steadily.

auc = [ClusteringScore(measures=()).fit(layer[epoch], y).auc_ for epoch in epochs]
at = epochs.index
print(f"AUC: {auc[0]:.3f} at epoch 1, {auc[at(EARLY)]:.3f} at epoch {EARLY}, "
      f"{auc[at(LATE)]:.3f} at epoch {LATE}, {auc[-1]:.3f} at epoch {N_EPOCHS}")  # fmt: skip

figure = plt.figure(figsize=(10.2, 7.6), layout="constrained")
axes = figure.subplot_mosaic([["early", "late"], ["binned", "auc"]], height_ratios=[1.35, 1])
CLASSES = ("#1f6f8b", "#d9822b")


def draw_cells(ax: plt.Axes, width: float, low: np.ndarray, high: np.ndarray) -> None:
    """The lines between cells of one width."""
    for axis, lines in enumerate((ax.axvline, ax.axhline)):
        for k in range(int(np.ceil(low[axis] / width)), int(np.floor(high[axis] / width)) + 1):
            lines(k * width, color="0.75", lw=0.5, zorder=0)


def draw_layer(ax: plt.Axes, epoch: int) -> None:
    """All inputs in the plane of the two units, and the crowded place under a lens."""
    T, corner = layer[epoch], crowded_corner(layer[epoch])
    lens = ax.inset_axes([0.56, 0.06, 0.38, 0.38])
    square = np.array([[-1.1, -1.1], [1.1, 1.1]])
    for where, width, (low, high), size in (
        (ax, 0.1, square, 3),
        (lens, 0.001, (corner, corner + ZOOM), 5),
    ):
        draw_cells(where, width, low, high)
        where.scatter(*T.T, c=np.array(CLASSES)[y], s=size, lw=0, alpha=0.6)
        where.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    lens.set(xticks=[], yticks=[])
    lens.set_title(f"side {ZOOM:g}", fontsize=8, pad=2)
    ax.add_patch(Rectangle(corner, ZOOM, ZOOM, fill=False, ec="k", lw=0.8))
    ax.set(xlabel="unit 1", ylabel="unit 2", title=f"Epoch {epoch}")


draw_layer(axes["early"], EARLY)
draw_layer(axes["late"], LATE)

axes["binned"].plot(epochs, truth, color="k", lw=2.2, label="I(X;T) by counting")
axes["binned"].plot(epochs, single, color="0.6", lw=1.2, ls="--", label="in single precision")
for k, width in enumerate(WIDTHS):
    axes["binned"].plot(epochs, curves[width], color=plt.colormaps["plasma"](k / len(WIDTHS)),
                        lw=1.4, label=f"H(Bin), width {width:g}")  # fmt: skip
axes["binned"].set(ylabel="nats", ylim=(0, 1.1 * CEILING))
axes["binned"].legend(frameon=False, fontsize=8, ncols=3, loc="lower left",
                      bbox_to_anchor=(0, 1.0), borderaxespad=0.2)  # fmt: skip
axes["auc"].plot(epochs, auc, color="#1f6f8b", lw=1.5)
axes["auc"].set(ylabel="AUC of distances", ylim=(0.45, 1))
axes["auc"].axhline(0.5, color="0.55", lw=0.8, ls="--", zorder=0)
for name in ("binned", "auc"):
    axes[name].set(xscale="log", xlim=(1, N_EPOCHS), xlabel="Epoch")
    axes[name].grid(alpha=0.25, lw=0.5)
    axes[name].spines[["top", "right"]].set_visible(False)
    for epoch in (EARLY, LATE):
        axes[name].axvline(epoch, color="0.55", lw=0.8, ls=":", zorder=0)

if FULL:
    wide = curves.add_prefix("binned_entropy_").assign(
        counted=truth, counted_single=single, auc=auc, unit="nats", seed=SEED
    )
    write_results("fooled_binning", wide.reset_index(), seed=SEED, epochs=N_EPOCHS,
                  test_accuracy=accuracy, seconds=time.perf_counter() - started)  # fmt: skip
    save_figure(figure, RESULTS.parent / "images" / "fooled_binning.png", dpi=130)
