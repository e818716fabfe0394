r"""
Information planes of dropout networks, measured again
======================================================

Gaussian dropout multiplies the outputs of a layer by noise around 1, T = S (1 + sigma Z). Unlike
the dropout that leaves units out, it gives a layer a finite I(X;T), and information planes of such
networks have been published: Adilova, Geiger and Fischer, "Information Plane Analysis for Dropout
Neural Networks", ICLR 2023. Here networks like theirs are trained on digits and measured twice: as
noise that multiplies has to be, and with two mistakes of the published code, made on purpose with
the same activations.

1. The mixture whose entropy is h(T) has covariance sigma :math:`|s|`, where the noise has
   :math:`\sigma^2 s^2`. One input repeated, which holds no information, gets
   :math:`(u - 1 - \log u) / 2` nats per unit, :math:`u = \sigma |s|`: 0.318 at sigma = 0.25 and an
   activation of 1, and more the further u is from 1.
2. h(T|X) counts a unit that is exactly zero as one of 1e-6, so that each dead unit of a ReLU layer
   adds about :math:`-\log 10^{-6}` = 13.8 nats.

**What to see.** In the first figure the right value (blue) is never above log n, the entropy of the
inputs, which nothing can exceed. The published formulas give ten to seven hundred nats. Their curve
is not even a distorted version of the right one: it follows the size of the activations. Multiply
the layer by c, and the weights behind it by 1/c: the network is the same, and so is every
information in it, but the published value moves with c (last panel).

**What is left of the planes.** The second figure is what the networks do. With sigma = 0.25
(dropout of rate 0.06; the published code takes p / (1 - p), the variance of dropout, for a standard
deviation, so that it stands there for rate 0.2) all inputs can be told apart after the first
epochs: I(X;T) is at log n and says nothing more. With rectified units no small noise changes that:
which units are zero is a pattern that the noise never touches, and where every input has a pattern
of its own, I(X;T) is log n *by the pattern alone*, whatever sigma. It does move with large noise,
sigma = 1 (rate 0.5), in the bottleneck of 32 units: it rises as the network learns, and then falls,
because training leaves fewer different patterns. What the layer forgets is I(X;T|Y), what tells
digits of one class apart; of I(Y;T) nothing is lost.

**What is theirs and what is not.** Layers 784-512-128-32-10 and LeNet, softplus, dropout on the
last hidden layer alone are those of their published code (softplus is never exactly zero, so only
the first mistake bites there). ReLU, sigma = 1, noise on every hidden layer, Adam with step 1e-3,
batches of 64, and 2,000 digits to train with in place of 60,000 are chosen here::

    python examples/plot_dropout_planes.py                       # as shown here
    python examples/plot_dropout_planes.py --full                # three seeds, 8 epochs; to docs/
    python examples/plot_dropout_planes.py --full --mnist PATH   # digits of raw files or an .npz
"""

import sys
import time
import warnings
from collections import OrderedDict
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from dropout_mistakes import dropout_information
from mnist_digits import load_mnist
from results import FULL, RESULTS, write_results
from torch import nn

from skinfo import NoisyMIEstimator, SaturationWarning
from skinfo.networks import GaussianDropout, Recorder
from skinfo.szt import Trainer
from skinfo.view import save_figure

PATH = sys.argv[sys.argv.index("--mnist") + 1] if "--mnist" in sys.argv else None
SEEDS = range(3) if FULL else range(1)
EPOCHS = (0, 1, 2, 4, 8) if FULL else (0, 1, 2, 5)
N_REPLICAS = 20 if FULL else 10
torch.set_num_threads(1)
warnings.simplefilter("ignore", SaturationWarning)  # the notes in the table say it
started = time.perf_counter()

digits = load_mnist(PATH)
n_train = 2000 if FULL else 1000
n_measured = 500 if FULL else 300
train = slice(0, n_train)
test = slice(len(digits.labels) - digits.n_test, None)
measured = slice(test.start, test.start + n_measured)
images, labels = digits.images[:, None], digits.labels
print(f"Source: {digits.source}.")
print(f"{n_train:,} digits to train with, {digits.n_test:,} to test, {n_measured} of these to")
print(f"measure: no I(X;T) is above log {n_measured} = {np.log(n_measured):.3f} nats.")

# %%
# Networks
# --------
# Dropout is on while the network trains and while it is measured, and off when its accuracy is.


def fully_connected(activation: type[nn.Module], sigma: float, *, everywhere: bool) -> nn.Module:
    """784-512-128-32-10, with dropout on the layer of 32 units or on every hidden layer."""
    layers = OrderedDict[str, nn.Module](flatten=nn.Flatten())
    sizes = (images[0].size, 512, 128, 32)
    for k, (n_in, n_out) in enumerate(pairwise(sizes), start=1):
        layers[f"fc{k}"] = nn.Sequential(nn.Linear(n_in, n_out), activation())
        if everywhere or k == 3:
            layers[f"dropout{k}"] = GaussianDropout(sigma)
    return nn.Sequential(layers | OrderedDict(output=nn.Linear(sizes[-1], 10)))


def lenet(activation: type[nn.Module], sigma: float, *, everywhere: bool) -> nn.Module:
    """Two convolutions, then 120 and 84 units, with dropout on the last hidden layer."""
    assert not everywhere
    return nn.Sequential(
        OrderedDict[str, nn.Module](
            conv1=nn.Sequential(nn.Conv2d(1, 6, 5), activation(), nn.MaxPool2d(2)),
            conv2=nn.Sequential(nn.Conv2d(6, 16, 5), activation(), nn.MaxPool2d(2)),
            fc1=nn.Sequential(nn.Flatten(), nn.Linear(256, 120), activation()),
            fc2=nn.Sequential(nn.Linear(120, 84), activation()),
            dropout2=GaussianDropout(sigma),
            output=nn.Linear(84, 10),
        )
    )


MAKERS = {"fully connected": fully_connected, "LeNet": lenet}
ACTIVATIONS = {"ReLU": nn.ReLU, "softplus": nn.Softplus}
#: Network, activation, sigma, and whether every hidden layer has dropout.
SETTINGS = [
    ("fully connected", "softplus", 0.25, False),
    ("fully connected", "ReLU", 0.25, False),
    ("fully connected", "ReLU", 1.0, False),
    ("LeNet", "ReLU", 0.25, False),
    ("fully connected", "ReLU", 0.25, True),
]


def make_trainer(network: str, activation: str, sigma: float, everywhere: bool, seed: int):
    """A network with its first weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MAKERS[network](ACTIVATIONS[activation], sigma, everywhere=everywhere)
    return Trainer(
        model, images[train], labels[train], learning_rate=1e-3, batch_size=64, random_state=seed
    )


# %%
# Measuring
# ---------
# The layer with dropout before its own noise, one row per digit; several where layers before it
# have noise, too, and then ``groups`` says which rows are of one digit.
# ``pattern_information_`` is the part of I(X;T) that the zeros tell. The value is that of the
# digits at hand; the table of a full run has the bracket of I(Y;T) for all digits that might have
# been drawn, too.


def record(model: nn.Module, layers: list[str]) -> dict[str, np.ndarray]:
    """Outputs of layers before their dropout, (n, n_units) or (n, n_replicas, n_units)."""
    recorder = Recorder(model, layers, n_replicas=N_REPLICAS, batch_size=1000)
    with recorder.record(images[measured]) as arrays:
        return {name: np.array(S, dtype=np.float64) for name, S in arrays.items()}


def measure(S: np.ndarray, sigma: float) -> dict[str, float]:
    """Information of a layer, right, and with the mistakes where it has one row per digit."""
    y, groups, rows = labels[measured], None, S
    if S.ndim == 3:
        groups = np.repeat(np.arange(len(S)), S.shape[1])
        y, rows = y[groups], S.reshape(-1, S.shape[2])
    settings = {"noise": "multiplicative", "tol": 0.02, "random_state": 0}
    est = NoisyMIEstimator(sigma, **settings).fit(rows, y, groups=groups)
    found = {
        "mutual_info": est.mutual_info_, "stderr": est.stderr_,
        "lower": est.bracket_[0], "upper": est.bracket_[1],
        "label": est.label_mutual_info_,
        "conditional": est.conditional_mutual_info_, "conditional_stderr": est.conditional_stderr_,
        "conditional_lower": est.conditional_bracket_[0],
        "conditional_upper": est.conditional_bracket_[1],
        "pattern": est.pattern_information_ or 0.0,
        "label_pattern": est.label_pattern_information_ or 0.0,
        "n_patterns": len(np.unique(rows != 0, axis=0)), "zeros": (rows == 0).mean(),
        "n_units": rows.shape[1], "log_size": np.log(np.abs(rows[rows != 0])).mean(),
        "notes": "; ".join(est.notes_),
    }  # fmt: skip
    if groups is None:
        found |= {
            "covariance": dropout_information(rows, sigma, covariance=True),
            "published": dropout_information(rows, sigma, covariance=True, floor=True),
        }
    if groups is None and FULL:
        whole = NoisyMIEstimator(sigma, population=True, **settings).fit(rows, y)
        found["population_label_lower"], found["population_label_upper"] = whole.label_bracket_
    return found


lines = []
kept = {}
for network, activation, sigma, everywhere in SETTINGS:
    for seed in SEEDS if not everywhere else SEEDS[:1]:
        trainer = make_trainer(network, activation, sigma, everywhere, seed)
        noisy = [name for name, _ in trainer.model.named_modules() if name.startswith("dropout")]
        for epoch in EPOCHS if not everywhere else EPOCHS[-1:]:
            trainer.train_until(epoch)
            _, accuracy = trainer.evaluate(images[test], labels[test])
            for layer, S in record(trainer.model, noisy).items():
                kept[network, activation, sigma, layer] = S
                lines.append({
                    "network": network, "activation": activation, "sigma": sigma,
                    "dropout_on": "every hidden layer" if everywhere else "the last hidden layer",
                    "seed": seed, "epoch": epoch, "layer": layer.replace("dropout", "fc"),
                    "accuracy": accuracy, **measure(S, sigma),
                })  # fmt: skip
        if FULL:
            seconds = time.perf_counter() - started
            print(f"{network}, {activation}, {sigma:g}, {seed}: {seconds:.0f} s", flush=True)
table = pd.DataFrame(lines).assign(n=n_measured, log_n=np.log(n_measured), unit="nats")

SHOWN = ["mutual_info", "pattern", "conditional", "label", "covariance", "published"]
at_end = table[(table["epoch"] == EPOCHS[-1]) & (table["dropout_on"] == "the last hidden layer")]
print(f"After {EPOCHS[-1]} epochs, nats, mean of {len(SEEDS)} seed(s)")
print(at_end.groupby(["network", "activation", "sigma"])[SHOWN].mean().round(3).to_string())
print("Rows of different zeros, of n:")
print(at_end.groupby(["network", "activation", "sigma"])["n_patterns"].mean().round(0).to_string())

# %%
# By how much
# -----------
# "Covariance" has the first mistake alone, "both" is the published formula; without exact zeros
# they are the same. The last panel is one layer, the fully connected network with softplus at the
# end of its training, multiplied by c.

COLOURS = {"mutual_info": "#1f6f8b", "covariance": "#d9822b", "published": "#b23a48"}
NAMES = {
    "mutual_info": "I(X;T), measured here", "covariance": "covariance σ|s|, a mistake",
    "published": "both mistakes, as published",
}  # fmt: skip
SIGMA = 0.25
of_seed = table[table["dropout_on"] == "the last hidden layer"]


def epochs_axis(ax: plt.Axes) -> None:
    """Epochs from 0 on, in powers of two."""
    ax.set_xscale("symlog", base=2, linthresh=1)
    ax.set_xticks(EPOCHS, [str(epoch) for epoch in EPOCHS])
    ax.set_xlabel("Epoch")
    ax.set_xlim(0, EPOCHS[-1])


figure, axes = plt.subplots(1, 4, figsize=(11.2, 3.5), sharey=True, layout="constrained")
for ax, (network, activation) in zip(
    axes, [("fully connected", "softplus"), ("fully connected", "ReLU"), ("LeNet", "ReLU")],
    strict=False,
):  # fmt: skip
    rows = of_seed[
        (of_seed["network"] == network) & (of_seed["activation"] == activation)
        & (of_seed["sigma"] == SIGMA)
    ]  # fmt: skip
    for column in ("published", "covariance", "mutual_info"):
        for seed, line in rows.groupby("seed"):
            ax.plot(line["epoch"], line[column], color=COLOURS[column], marker="o", ms=3, lw=1.3,
                    ls=(0, (4, 2)) if column == "covariance" else "-",
                    label=NAMES[column] if seed == 0 else None)  # fmt: skip
    epochs_axis(ax)
    n_units = rows["n_units"].iloc[0]
    ax.set_title(f"{network}, {activation}: {n_units} units", fontsize=9.5)
scales = 2.0 ** np.arange(-8, 9)
S = kept["fully connected", "softplus", SIGMA, "dropout3"]
for column in ("covariance", "mutual_info"):
    values = [dropout_information(c * S, SIGMA, covariance=column == "covariance") for c in scales]
    axes[3].plot(scales, values, color=COLOURS["published" if column == "covariance" else column],
                 lw=1.6)  # fmt: skip
axes[3].set_xscale("log")
axes[3].set_xlabel("c: the layer is multiplied by it")
axes[3].set_title("the same network, rescaled", fontsize=9.5)
axes[0].set(yscale="log", ylim=(0.01, 2000), ylabel="Information [nats]")
for ax in axes:
    ax.axhline(np.log(n_measured), color="k", lw=0.8, ls=(0, (1, 2)), zorder=1)
    ax.grid(alpha=0.25, lw=0.5)
    ax.spines[["top", "right"]].set_visible(False)
axes[2].annotate(f"log {n_measured}, which nothing exceeds", (0.97, np.log(n_measured)), (0, -11),
                 xycoords=("axes fraction", "data"), textcoords="offset points", ha="right",
                 fontsize=8)  # fmt: skip
figure.legend(*axes[1].get_legend_handles_labels(), loc="outside upper center", ncols=3,
              frameon=False, fontsize=9)  # fmt: skip
if FULL:
    save_figure(figure, RESULTS.parent / "images" / "dropout_mistakes.png", dpi=130)

# %%
# Measured again
# --------------
# I(X;T) and, dotted, the part of it that the zeros alone tell; what tells digits of one class apart
# with its bracket; and the plane, each point an epoch, larger ones later. All brackets are those of
# the digits at hand, and hardly to be seen where no layer before has noise. The network with
# softplus begins below the axes: its units are nearly the same for all digits before training.

again = [
    ("fully connected", "softplus", 0.25, "#8d99ae"), ("fully connected", "ReLU", 0.25, "#1f6f8b"),
    ("fully connected", "ReLU", 1.0, "#e07a5f"), ("LeNet", "ReLU", 0.25, "#6a994e"),
]  # fmt: skip
log_n, of_label = np.log(n_measured), table["label"].max()
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11.2, 3.7), layout="constrained")
for network, activation, sigma, colour in again:
    rows = of_seed[
        (of_seed["network"] == network) & (of_seed["activation"] == activation)
        & (of_seed["sigma"] == sigma)
    ]  # fmt: skip
    for seed, line in rows.groupby("seed"):
        name = f"{network}, {activation}, σ = {sigma:g}" if seed == 0 else None
        left.plot(line["epoch"], line["mutual_info"], color=colour, lw=1.5, label=name)
        if activation == "ReLU":
            left.plot(line["epoch"], line["pattern"], color=colour, lw=1.1, ls=(0, (1, 1.5)))
        middle.fill_between(line["epoch"], line["conditional_lower"], line["conditional_upper"],
                            color=colour, alpha=0.3, lw=0)  # fmt: skip
        middle.plot(line["epoch"], line["conditional"], color=colour, lw=1.5)
        right.plot(line["mutual_info"], line["label"], color=colour, lw=0.9, alpha=0.7)
        right.scatter(line["mutual_info"], line["label"], color=colour,
                      s=8 + 4 * np.arange(len(line)), zorder=3, alpha=0.85, lw=0)  # fmt: skip
for ax, ceiling, word in (
    (left, log_n, f"log {n_measured}"), (middle, log_n - of_label, "H(X|Y)"),
    (right, of_label, "H(Y)"),
):  # fmt: skip
    ax.axhline(ceiling, color="k", lw=0.8, ls=(0, (1, 2)), zorder=1)
    ax.annotate(word, (0.02, ceiling), (0, 3), xycoords=("axes fraction", "data"),
                textcoords="offset points", fontsize=8)  # fmt: skip
    ax.grid(alpha=0.25, lw=0.5)
    ax.spines[["top", "right"]].set_visible(False)
for ax in (left, middle):
    epochs_axis(ax)
low = of_seed[of_seed["activation"] == "ReLU"][SHOWN].min() - 0.1
left.set(ylabel="I(X;T) [nats]", ylim=(low["pattern"], log_n + 0.3))
middle.set(ylabel="I(X;T|Y) [nats]", ylim=(low["conditional"], log_n - of_label + 0.08))
right.set(xlabel="I(X;T) [nats]", ylabel="I(Y;T) [nats]", xlim=(low["mutual_info"], log_n + 0.05),
          ylim=(low["label"], of_label + 0.06))  # fmt: skip
left.plot([], [], color="#444444", lw=1.1, ls=(0, (1, 1.5)), label="its zeros alone")
figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=5,
              frameon=False, fontsize=8.5)  # fmt: skip

# %%
# Noise on every hidden layer
# ---------------------------
# With dropout behind all three hidden layers, two have noise before them. Replicas then stand for
# what that noise makes of a digit, and brackets are wide: among so many patterns of zeros, the next
# draw has one that no replica had. The value lies near the upper end of its bracket; "saturated"
# means within 1 % of log n.

everywhere = table[table["dropout_on"] == "every hidden layer"]
columns = ["layer", "n_units", "n_patterns", "mutual_info", "lower", "upper", "pattern", "notes"]
print(f"I(X;T) after {EPOCHS[-1]} epochs, {N_REPLICAS} replicas of {n_measured} digits")
print(everywhere[columns].round(3).to_string(index=False))
if FULL:
    save_figure(figure, RESULTS.parent / "images" / "dropout_planes.png", dpi=130)
    write_results("dropout_planes", table.round(6), source=digits.source, seeds=len(SEEDS),
                  n_train=n_train, n_measured=n_measured, epochs=EPOCHS[-1], replicas=N_REPLICAS,
                  seconds=time.perf_counter() - started)  # fmt: skip
