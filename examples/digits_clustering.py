"""Digits in a deterministic network: classes cluster with depth and with training.

A perceptron of four hidden tanh layers learns scikit-learn's 8 x 8 digits. Its activations are
computed from its weights at seven stages of the training and measured as a run: the probability
that two digits of different classes lie farther apart than two of one class (AUC) rises from layer
to layer and from stage to stage, and the means of the classes move apart (NC1 falls). No noise, no
bins: only distances.

    python examples/digits_clustering.py      # prints a table and draws digits_clustering.png
"""

import matplotlib as mpl
import numpy as np
from sklearn.datasets import load_digits
from sklearn.neural_network import MLPClassifier

from skinfo import ClusteringScore, information_flow, open_run
from skinfo.plotting import ClassDistancesDisplay, ClusteringCurveDisplay, DistanceRidgesDisplay
from skinfo.tables import collect_panel

STAGES = (0, 1, 2, 4, 8, 20, 60)
WIDTHS = (48, 32, 24, 16)


def activations(network: MLPClassifier, X: np.ndarray) -> dict[str, np.ndarray]:
    """The hidden layers of a network, by name."""
    layers, T = {}, X
    for k in range(len(WIDTHS)):
        T = np.tanh(T @ network.coefs_[k] + network.intercepts_[k])
        layers[f"layer {k + 1}"] = T
    return layers


def train(X: np.ndarray, y: np.ndarray) -> dict[tuple[int, str], np.ndarray]:
    """Activations by (epoch, layer); epoch 0 has the weights that training starts from."""
    settings = {"hidden_layer_sizes": WIDTHS, "activation": "tanh", "random_state": 0}
    # A step too small to matter, so that the first weights exist.
    untrained = MLPClassifier(**settings, learning_rate_init=1e-12)
    untrained.partial_fit(X, y, classes=np.unique(y))
    network = MLPClassifier(**settings, learning_rate_init=2e-3)
    run = {}
    for epoch in range(STAGES[-1] + 1):
        if epoch:
            network.partial_fit(X, y, classes=np.unique(y))
        if epoch in STAGES:
            layers = activations(network if epoch else untrained, X)
            run |= {(epoch, name): T for name, T in layers.items()}
    print(f"training accuracy after {STAGES[-1]} epochs: {network.score(X, y):.3f}")
    return run


def main() -> None:
    """Train, measure, print and draw."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    X, y = load_digits(return_X_y=True)
    run = open_run(train(X / 16, y), labels=y)
    flow = information_flow(ClusteringScore(measures=("nc1",)), run, progress=False)
    auc = flow[flow["quantity"] == "auc"]
    print("AUC by epoch and layer")
    print(auc.pivot(index="epoch", columns="layer", values="value").round(3).to_string())

    figure = plt.figure(figsize=(11.5, 8.6), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.15, 1])
    ridges = DistanceRidgesDisplay.from_panel(collect_panel(run))
    ridges.plot(top.subplots(1, len(WIDTHS), sharey=True))
    axes = bottom.subplots(1, 3, width_ratios=[1.1, 1, 1])
    ClusteringCurveDisplay.from_flow(flow).plot(axes[0])
    axes[0].set_xscale("symlog", linthresh=1)
    axes[0].set_xlim(-0.1, STAGES[-1] * 1.1)
    axes[0].minorticks_off()
    axes[0].set_xticks(STAGES, [str(stage) for stage in STAGES])
    last = {epoch: ClusteringScore(measures=()).fit(run.array(epoch, "layer 4"), y)
            for epoch in (STAGES[0], STAGES[-1])}  # fmt: skip
    largest = max(est.class_distances_.max() for est in last.values())
    for ax, (epoch, est) in zip(axes[1:], last.items(), strict=True):
        ClassDistancesDisplay.from_estimator(est, title=f"layer 4, epoch {epoch}").plot(
            ax, vmax=largest, colorbar=False
        )
    bottom.colorbar(axes[-1].images[0], ax=axes[1:], label="Mean distance", shrink=0.8)
    figure.savefig("digits_clustering.png", dpi=150)


if __name__ == "__main__":
    main()
