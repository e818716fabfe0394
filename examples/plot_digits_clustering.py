"""
Digits in a network without noise: classes cluster with depth and with training
===============================================================================

A perceptron of four hidden tanh layers learns scikit-learn's 8 x 8 digits. It has no noise, so
I(X;T) is log n or infinite and says nothing. Distances do: no noise, no bins, only how far any two
digits lie from each other in a layer.

**What to see.** Above, the distances within classes (blue) and between classes (orange), axes per
layer, a ridge per epoch: in the first layer they keep overlapping, in the last one training takes
them apart. Below, the probability that two digits of different classes lie farther apart than two
of one class (AUC): before training it falls with depth, after the fourth epoch it rises with depth.
Beside it the mean distance of any two classes in the last layer: with training two classes come to
lie some five units apart, digits of one class (the diagonal) about one.

This is no experiment of the paper, which has its similarities from a convolutional network
(``plot_mnist_cnn.py``); it is the shortest way from activations saved at some epochs to its
statement. The digits are those that scikit-learn holds, not MNIST; training and measurement are on
the same 1,797, as generalisation is not the question here.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from skinfo import ClusteringScore, information_flow, open_run
from skinfo.flow import collect_snapshots
from skinfo.view import (
    ClassDistancesDisplay,
    DistanceRidgesDisplay,
    QuantityCurveDisplay,
)

EPOCHS = (0, 1, 2, 4, 8, 20, 60)
WIDTHS = (48, 32, 24, 16)

# %%
# Training
# --------
# scikit-learn's perceptron does not return its activations; they follow from its weights. Epoch 0
# has the weights that training starts from: a step too small to matter makes them.


def activations(network: MLPClassifier, X: np.ndarray) -> dict[str, np.ndarray]:
    """The hidden layers of a network, by name."""
    layers, T = {}, X
    for k in range(len(WIDTHS)):
        T = np.tanh(T @ network.coefs_[k] + network.intercepts_[k])
        layers[f"layer {k + 1}"] = T
    return layers


X, y = load_digits(return_X_y=True)
X = X / 16
settings = {"hidden_layer_sizes": WIDTHS, "activation": "tanh", "random_state": 0}
untrained = MLPClassifier(**settings, learning_rate_init=1e-12)
untrained.partial_fit(X, y, classes=np.unique(y))
network = MLPClassifier(**settings, learning_rate_init=2e-3)

recorded = {(0, layer): T for layer, T in activations(untrained, X).items()}
for epoch in range(1, EPOCHS[-1] + 1):
    network.partial_fit(X, y, classes=np.unique(y))
    if epoch in EPOCHS:
        recorded |= {(epoch, layer): T for layer, T in activations(network, X).items()}
print(f"Training accuracy after {EPOCHS[-1]} epochs: {network.score(X, y):.3f}")

# %%
# Measurement
# -----------
# Arrays by (epoch, layer) are a run; one call measures all of it. The AUC of 1.6 million pairs is
# exact. NC1, the spread within classes over that of their means, falls as classes collapse.

run = open_run(recorded, labels=y)
flow = information_flow(ClusteringScore(measures=("nc1",)), run, progress=False)
for quantity in ("auc", "nc1"):
    table = flow[flow["quantity"] == quantity]
    print(f"{quantity} by epoch and layer")
    print(table.pivot(index="epoch", columns="layer", values="value").round(3).to_string())

# %%
# Figure
# ------

fig = plt.figure(figsize=(11.5, 8.6), layout="constrained")
top, bottom = fig.subfigures(2, 1, height_ratios=[1.15, 1])
ridges = DistanceRidgesDisplay.from_snapshots(collect_snapshots(run))
ridges.plot(top.subplots(1, len(WIDTHS), sharey=True))
axes = bottom.subplots(1, 3, width_ratios=[1.1, 1, 1])
QuantityCurveDisplay.from_flow(flow).plot(axes[0])
axes[0].set_xscale("symlog", linthresh=1)
axes[0].set_xlim(-0.1, EPOCHS[-1] * 1.1)
axes[0].minorticks_off()
axes[0].set_xticks(EPOCHS, [str(epoch) for epoch in EPOCHS])
last_layer = {
    epoch: ClusteringScore(measures=()).fit(run.load(epoch, "layer 4").array, y)
    for epoch in (EPOCHS[0], EPOCHS[-1])
}
largest = max(est.class_distances_.max() for est in last_layer.values())
for ax, (epoch, est) in zip(axes[1:], last_layer.items(), strict=True):
    ClassDistancesDisplay.from_estimator(est, title=f"layer 4, epoch {epoch}").plot(
        ax, vmax=largest, colorbar=False
    )
bottom.colorbar(axes[-1].images[0], ax=axes[1:], label="Mean distance", shrink=0.8)
