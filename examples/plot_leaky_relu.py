r"""
Two leaky ReLU layers: compression without saturation
=====================================================

It has been said that layers compress because their activation saturates, and that a network of
rectified units cannot. Two scalar layers show that it can. X is one of 1, …, 8, the target is 0 for
the lower half and 1/4 for the upper, and

.. math:: T_1 = R(w_1 X + b_1) + \sigma Z_1, \qquad T_2 = R(w_2 T_1 + b_2) + \sigma Z_2,
          \qquad R(v) = \max(v, v / 10).

R is flat nowhere. Watch I(X;T) of the first layer: it climbs to log 8, all inputs apart, and then
falls, because the training turns the layer until the inputs of one class lie on the branch of slope
1/10. There they sit ten times closer together, less than two sigma apart. The second layer
does the same to what it gets. What compresses is the geometry of the points against the noise,
whatever squeezes them.

The task, the start (w1 = 0, b1 = 4.5, w2 = -1, b2 = 0), the squared error and σ = 0.05 are those of
an experiment in Goldfeld et al., ICML 2019. The step size, the number of steps and one batch of all
eight inputs per step are chosen here. A reproduction by others reports that I(X;T1) climbs to
log 8 = 2.079 and comes down to about 1.85, and that I(X;T2) reaches about 1.0 and then 0.9. These
are their numbers, not the paper's; ours stand below.
"""

import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from results import FULL, RESULTS, write_results

from skinfo import NoisyMIEstimator, SaturationWarning
from skinfo.view import cell_edges, save_figure

SEED = 0
SIGMA = 0.05
INPUTS = np.arange(1.0, 9.0)
TARGETS = np.where(INPUTS <= 4, 0.0, 0.25)
LEARNING_RATE = 0.003
N_STEPS = 10**6 if FULL else 3 * 10**4
N_REPLICAS = 2000 if FULL else 300
STEPS = np.unique(np.geomspace(1, N_STEPS, 90 if FULL else 60).round().astype(int))
started = time.perf_counter()

# %%
# Training, with the noise on
# ---------------------------


def leaky_relu(v: np.ndarray) -> np.ndarray:
    """R(v) = max(v, v / 10)."""
    return np.maximum(v, v / 10)


def slope(v: np.ndarray) -> np.ndarray:
    """The derivative of R."""
    return np.where(v > 0, 1.0, 0.1)


def train(n_steps: int, kept: np.ndarray) -> np.ndarray:
    """Gradient descent with fresh noise in each step; (w1, b1, w2, b2) after the kept steps."""
    rng = np.random.default_rng(SEED)
    w1, b1, w2, b2 = 0.0, 4.5, -1.0, 0.0
    wanted, history = set(kept.tolist()), []
    for first in range(0, n_steps, 10_000):
        noise = SIGMA * rng.standard_normal((min(10_000, n_steps - first), 2, 8))
        for step, (noise1, noise2) in enumerate(noise, start=first + 1):
            before1 = w1 * INPUTS + b1
            T1 = leaky_relu(before1) + noise1
            before2 = w2 * T1 + b2
            T2 = leaky_relu(before2) + noise2
            error2 = (T2 - TARGETS) * slope(before2) / 4
            error1 = error2 * w2 * slope(before1)
            w2, b2 = w2 - LEARNING_RATE * error2 @ T1, b2 - LEARNING_RATE * error2.sum()
            w1, b1 = w1 - LEARNING_RATE * error1 @ INPUTS, b1 - LEARNING_RATE * error1.sum()
            if step in wanted:
                history.append((w1, b1, w2, b2))
    return np.array(history)


history = train(N_STEPS, STEPS)

# %%
# One row per input, or many
# ---------------------------
# The first layer has no noise before it: eight rows say everything, and the value is exact. The
# second layer gets the noise of the first, so each input is recorded many times, and ``groups``
# says which rows belong to one input. I(X;T2) then has a bracket. Without groups the number would
# be I(S2;T2), which counts the noise of the first layer as information.

inputs_of_rows = np.repeat(np.arange(8), N_REPLICAS)


def activations(w1: float, b1: float, w2: float, b2: float) -> tuple[np.ndarray, np.ndarray]:
    """Outputs of the layers before their own noise: S1 of shape (8,), S2 of (8, n_replicas)."""
    S1 = leaky_relu(w1 * INPUTS + b1)
    noise = np.random.default_rng(SEED + 1).standard_normal((8, N_REPLICAS))
    return S1, leaky_relu(w2 * (S1[:, None] + SIGMA * noise) + b2)


def measure(weights: np.ndarray) -> tuple[NoisyMIEstimator, NoisyMIEstimator]:
    """Fit one estimator to each layer."""
    S1, S2 = activations(*weights)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)
        return (
            NoisyMIEstimator(SIGMA, random_state=SEED).fit(S1[:, None]),
            NoisyMIEstimator(SIGMA, random_state=SEED).fit(
                S2.reshape(-1, 1), groups=inputs_of_rows
            ),
        )


lines, densities = [], ([], [])
grids = (np.linspace(-1, 5.5, 400), np.linspace(-0.7, 0.7, 400))
for step, weights in zip(STEPS, history, strict=True):
    for layer, fitted in enumerate(measure(weights)):
        densities[layer].append(np.exp(fitted.score_samples(grids[layer][:, None])))
        lines.append({
            "seed": SEED, "step": step, "layer": layer + 1,
            **dict(zip(("w1", "b1", "w2", "b2"), weights, strict=True)),
            "mutual_info": fitted.mutual_info_, "stderr": fitted.stderr_,
            "lower": fitted.bracket_[0], "upper": fitted.bracket_[1], "unit": "nats",
        })  # fmt: skip
table = pd.DataFrame(lines)

# %%
# The highest values and the last
# -------------------------------
# Beside the last I(X;T2) stands the same number by another way: with one noise before a scalar
# layer, the density of T2 given X is an integral over that noise, and two sums on a lattice give
# I(X;T2) without any sampling.


def information_of_second_layer(w1: float, b1: float, w2: float, b2: float) -> float:
    """I(X;T2) in nats, by summation over the noise of both layers."""
    z = np.linspace(-8, 8, 1601)
    weight = np.exp(-z * z / 2)
    S2 = leaky_relu(w2 * (leaky_relu(w1 * INPUTS + b1)[:, None] + SIGMA * z) + b2)
    t = np.arange(S2.min() - 8 * SIGMA, S2.max() + 8 * SIGMA, SIGMA / 20)
    noise = np.exp(-(((t - S2[:, :, None]) / SIGMA) ** 2) / 2)
    p = np.einsum("z,xzt->xt", weight / weight.sum(), noise) / (SIGMA * np.sqrt(2 * np.pi))
    mean = p.mean(axis=0)
    ratio = np.log(np.maximum(p, 1e-300) / np.maximum(mean, 1e-300))
    return float((p * ratio).mean(axis=0).sum() * SIGMA / 20)


for layer, rows in table.groupby("layer"):
    top, last = rows.loc[rows["mutual_info"].idxmax()], rows.iloc[-1]
    print(
        f"I(X;T{layer}): {top['mutual_info']:.3f} at step {top['step']:.0f}, then "
        f"{last['mutual_info']:.3f} nats, in [{last['lower']:.3f}, {last['upper']:.3f}]"
    )
print(f"I(X;T2) at the end by summation: {information_of_second_layer(*history[-1]):.3f} nats")
w1, b1, w2, b2 = history[-1]
print(f"w1 = {w1:.3f}, b1 = {b1:.3f}, w2 = {w2:.3f}, b2 = {b2:.3f}")
print("S1 at the end:", np.round(activations(w1, b1, w2, b2)[0], 3))

# %%
# Density and information, layer by layer
# ---------------------------------------
# Above: the density of T, one column per step, with what each input gives without noise as a line
# (orange: target 1/4). Below: I(X;T) with its bracket; the band of the first layer has no width.
# log 2 is what a layer keeps that tells the classes apart and nothing more.

figure = plt.figure(figsize=(9.6, 5.8), layout="constrained")
axes = figure.subplots(2, 2, sharex=True)
without_noise = [
    (S1, leaky_relu(w2 * S1 + b2))
    for w1, b1, w2, b2 in history
    for S1 in [leaky_relu(w1 * INPUTS + b1)]
]
for layer, (top, bottom) in enumerate(axes.T):
    density = np.array(densities[layer])
    top.pcolormesh(cell_edges(STEPS), grids[layer], np.sqrt(density.T[:-1]), cmap="Greys",
                   rasterized=True)  # fmt: skip
    for k, target in enumerate(TARGETS):
        top.plot(STEPS, [S[layer][k] for S in without_noise], lw=0.8,
                 color="#d9822b" if target > 0 else "#1f6f8b")  # fmt: skip
    top.set_title(f"Layer {layer + 1}", fontsize=10)
    top.set(ylabel=f"T{layer + 1}, density", ylim=grids[layer][[0, -1]])
    rows = table[table["layer"] == layer + 1]
    bottom.fill_between(STEPS, rows["lower"], rows["upper"], color="#1f6f8b", alpha=0.3, lw=0)
    bottom.plot(STEPS, rows["mutual_info"], color="#1f6f8b", lw=1.5)
    for name, value in {"log 8": np.log(8), "log 2": np.log(2)}.items():
        bottom.axhline(value, color="0.55", lw=0.8, ls="--", zorder=0)
        bottom.annotate(name, (1.0, value), (4, 0), xycoords=("axes fraction", "data"), va="center",
                        textcoords="offset points", fontsize=8, color="0.35")  # fmt: skip
    bottom.set(xscale="log", xlim=(1, N_STEPS), ylim=(0, 2.3), xlabel="Step",
               ylabel=f"I(X;T{layer + 1}) [nats]")  # fmt: skip
    bottom.grid(alpha=0.25, lw=0.5)
for ax in axes.flat:
    ax.spines[["top", "right"]].set_visible(False)

if FULL:
    write_results("leaky_relu", table, seed=SEED, sigma=SIGMA, learning_rate=LEARNING_RATE,
                  steps=N_STEPS, replicas=N_REPLICAS,
                  seconds=time.perf_counter() - started)  # fmt: skip
    save_figure(figure, RESULTS.parent / "images" / "leaky_relu.png", dpi=130)
