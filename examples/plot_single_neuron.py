r"""
One neuron: compression is clustering
=====================================

A single tanh neuron learns to tell the input 3 from the inputs -3, -1 and 1, with Gaussian noise
on its output:

.. math:: T = \tanh(w X + b) + \sigma Z, \qquad X \in \{-3, -1, 1, 3\}.

Its four values are a constellation sent over a Gaussian channel, so I(X;T) says how many of them
the noise leaves apart. Watch the two phases: first the neuron spreads the four points, and I(X;T)
climbs to log 4; then it presses the three points of one class together, and I(X;T) falls to the
entropy of one point against three, H(1/4) = 0.562 nat. Nothing else happens in a fall of I(X;T):
points come closer to one another than the noise.

This is the first experiment of Goldfeld et al., *Estimating Information Flow in Deep Neural
Networks*, ICML 2019. The task, the loss and the start at w = b = 0 are the paper's. The step size,
the number of steps and the sigmas are chosen here, and so is one batch of all four inputs per step.
"""

import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from results import FULL, RESULTS, write_results

from skinfo import NoisyMIEstimator, SaturationWarning
from skinfo._rows import discrete_entropy
from skinfo.view import cell_edges, save_figure

SEED = 0
INPUTS = np.array([-3.0, -1.0, 1.0, 3.0])
TARGETS = np.array([-1.0, -1.0, -1.0, 1.0])
SIGMAS = np.array([0.01, 0.02, 0.05, 0.1])
LEARNING_RATE = 0.01
N_STEPS = 10**7 if FULL else 3 * 10**5
STEPS = np.unique(np.geomspace(1, N_STEPS, 90 if FULL else 70).round().astype(int))
started = time.perf_counter()

# %%
# Training, with the noise on
# ---------------------------
# One neuron a sigma, all trained side by side by gradient descent on the squared error of the noisy
# output, each step with fresh noise.


def train(n_steps: int, kept: np.ndarray) -> np.ndarray:
    """Weights and biases after the kept steps, of shape (n_kept, 2, n_sigmas)."""
    rng = np.random.default_rng(SEED)
    weight_bias = np.zeros((2, len(SIGMAS)))
    # One row per input: its value, and the 1 that the bias is multiplied by.
    design = np.column_stack([INPUTS, np.ones(4)])
    wanted, history = set(kept.tolist()), []
    for first in range(0, n_steps, 10_000):
        noise = SIGMAS * rng.standard_normal((min(10_000, n_steps - first), 4, len(SIGMAS)))
        for step, fresh in enumerate(noise, start=first + 1):
            S = np.tanh(design @ weight_bias)
            slope = (S + fresh - TARGETS[:, None]) * (1 - S * S) / 2
            weight_bias = weight_bias - LEARNING_RATE * design.T @ slope
            if step in wanted:
                history.append(weight_bias)
    return np.array(history)


history = train(N_STEPS, STEPS)

# %%
# I(X;T) after each step
# ----------------------
# Rows on a line are integrated by quadrature: the values are exact to 1e-10 nat, and their standard
# error is 0. A warning says where all four points can be told apart; the picture shows that as a
# plateau at log 4.


def measure(weight: float, bias: float, sigma: float) -> NoisyMIEstimator:
    """Fit the estimator to the four values of the neuron."""
    S = np.tanh(weight * INPUTS + bias)[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)
        return NoisyMIEstimator(sigma, random_state=SEED).fit(S)


lines = []
for step, (weights, biases) in zip(STEPS, history, strict=True):
    for sigma, weight, bias in zip(SIGMAS, weights, biases, strict=True):
        fitted = measure(weight, bias, sigma)
        lines.append({
            "seed": SEED, "sigma": sigma, "step": step, "weight": weight, "bias": bias,
            "mutual_info": fitted.mutual_info_, "stderr": fitted.stderr_, "unit": "nats",
        })  # fmt: skip
table = pd.DataFrame(lines)
curves = table.pivot(index="step", columns="sigma", values="mutual_info")
shown = [
    STEPS[np.abs(np.log(STEPS / 10.0**k)).argmin()] for k in range(round(np.log10(N_STEPS)) + 1)
]
print("I(X;T) in nats, standard error 0, by step and sigma")
print(curves.loc[shown].round(4).to_string())

# %%
# Where it ends
# -------------
# At the end the three points of the class lie within a small distance of one another. What is left
# above H(1/4) is what a Gaussian channel carries of so small a signal,
#
# .. math:: I(X;T) - H(1/4) \approx \frac{3}{4} \, \frac{\mathrm{Var}(S | y = -1)}{2 \sigma^2}
#
# as long as that is small, and it goes to 0 as the points merge. With the squared error of a
# saturating neuron this takes long: the distances shrink as one over the square root of the number
# of steps. So the smaller sigma, the later the fall, and here the smallest has not finished it.

CLUSTERED = discrete_entropy(np.array([0.25, 0.75]))
last = table[table["step"] == N_STEPS].set_index("sigma")
spread = np.tanh(np.outer(last["weight"], INPUTS[:3]) + last["bias"].to_numpy()[:, None])
ending = pd.DataFrame({
    "I(X;T)": last["mutual_info"],
    "above H(1/4)": last["mutual_info"] - CLUSTERED,
    "predicted": 0.75 * spread.var(axis=1) / (2 * last.index**2),
})  # fmt: skip
print(f"After {N_STEPS:,} steps, nats; H(1/4) = {CLUSTERED:.6f}")
print(ending.round(5).to_string())

# %%
# The density of T, and the information
# -------------------------------------
# Above: the density of T, one column per step, with the four noiseless values as lines, that of the
# class of 3 in orange. Below: I(X;T). The plateau on the way down is the entropy of
# {1/2, 1/4, 1/4}: with -3 and -1 already one point, three clusters of unequal weight carry that
# much, less than log 3, the most that any three can.

SHOWN = 0.05
of_sigma = table[table["sigma"] == SHOWN]
grid = np.linspace(-1.25, 1.25, 400)
density = np.array([
    np.exp(measure(w, b, SHOWN).score_samples(grid[:, None]))
    for w, b in of_sigma[["weight", "bias"]].to_numpy()
])  # fmt: skip

figure = plt.figure(figsize=(7.2, 6.4), layout="constrained")
top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1, 1.1])
image = top.pcolormesh(cell_edges(STEPS), grid, np.sqrt(density.T[:-1]), cmap="Greys",
                       rasterized=True)  # fmt: skip
labelled = np.searchsorted(STEPS, 25)
for x, target, below in zip(INPUTS, TARGETS, (True, False, False, False), strict=True):
    colour = "#d9822b" if target > 0 else "#1f6f8b"
    S = np.tanh(of_sigma["weight"] * x + of_sigma["bias"]).to_numpy()
    top.plot(STEPS, S, color=colour, lw=0.9)
    top.annotate(f"x = {x:g}", (STEPS[labelled], S[labelled]), (3, -7 if below else 7),
                 textcoords="offset points", color=colour, fontsize=8,
                 va="top" if below else "bottom", ha="right" if below else "left")  # fmt: skip
top.set(ylabel=f"T, density at σ = {SHOWN:g}", ylim=(-1.25, 1.25))
figure.colorbar(image, cax=top.inset_axes([1.02, 0.12, 0.02, 0.76]), label="√density")

guides = {
    "log 4": np.log(4),
    "log 3": np.log(3),
    "H(1/2, 1/4, 1/4)": discrete_entropy(np.array([0.5, 0.25, 0.25])),
    "H(1/4)": CLUSTERED,
}
for (name, value), shift in zip(guides.items(), (0, 2, -2, 0), strict=True):
    bottom.axhline(value, color="0.55", lw=0.8, ls="--", zorder=0)
    bottom.annotate(name, (1.0, value), (4, shift), xycoords=("axes fraction", "data"), va="center",
                    textcoords="offset points", fontsize=8, color="0.35")  # fmt: skip
for k, sigma in enumerate(SIGMAS):
    bottom.plot(STEPS, curves[sigma], color=plt.colormaps["plasma"](k / len(SIGMAS)), lw=1.5,
                label=f"σ = {sigma:g}")  # fmt: skip
bottom.set(xscale="log", xlim=(1, N_STEPS), ylim=(0, 1.5), xlabel="Step", ylabel="I(X;T) [nats]")
bottom.legend(frameon=False, fontsize=9, loc="lower left")
bottom.grid(alpha=0.25, lw=0.5)
for ax in (top, bottom):
    ax.spines[["top", "right"]].set_visible(False)

if FULL:
    write_results("single_neuron", table, seed=SEED, learning_rate=LEARNING_RATE, steps=N_STEPS,
                  seconds=time.perf_counter() - started)  # fmt: skip
    save_figure(figure, RESULTS.parent / "images" / "single_neuron.png", dpi=130)
