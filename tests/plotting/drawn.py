"""A run that learns, its tables and snapshots, and what is read off a picture."""

from dataclasses import replace

import numpy as np

from skinfo import BinningMIEstimator, ClusteringScore, NoisyMIEstimator, information_flow

LAYERS = ["first", "second", "third"]
EPOCHS = (1, 8, 40, 200, 900)
LABELS = np.arange(16) % 2
LOSSES = ("train_loss", "test_loss", "train_accuracy", "test_accuracy")


def arrays(epochs=EPOCHS, n_units=2):
    """Layers that cluster by label as training goes on; noise precedes all but the first."""
    rng = np.random.default_rng(0)
    made = {}
    for epoch in epochs:
        for k, layer in enumerate(LAYERS, start=1):
            rows = rng.normal(size=(16, 4, n_units))
            made[epoch, layer] = rows + k * 0.1 * np.log(epoch + 1.0) * LABELS[:, None, None]
        made[epoch, LAYERS[0]] = made[epoch, LAYERS[0]][:, 0]
    return made


def measure(run, units="nats", others=True):
    noisy = NoisyMIEstimator(0.5, tol=0.2, units=units, random_state=0)
    estimators = {"noisy": noisy}
    if others:
        estimators["binned"] = BinningMIEstimator(bin_width=0.5, units=units)
        if run.labels is not None:
            estimators["clustered"] = ClusteringScore()
    return information_flow(estimators, run, progress=False)


def with_losses(snapshots):
    n = len(snapshots.epochs)
    losses = {name: np.linspace(0.7, 0.1 * k, n) for k, name in enumerate(LOSSES)}
    return replace(snapshots, losses=losses)


def drawn(display_or_figure):
    """Render in full: some warnings appear only then."""
    figure = getattr(display_or_figure, "figure_", display_or_figure)
    figure.canvas.draw()
    return display_or_figure


def grid(table, quantity, column="value", estimator="noisy"):
    chosen = table[(table["quantity"] == quantity) & (table["estimator"] == estimator)]
    return chosen.pivot(index="layer", columns="epoch", values=column).loc[LAYERS].to_numpy()


def curves(ax):
    return [line for line in ax.lines if len(line.get_xdata()) > 2]


UNREADABLE = {
    "last epoch": ([900], LAYERS),
    "first epochs": ([1, 8], LAYERS),
    "last layer": (EPOCHS, ["third"]),
    "first layer": (EPOCHS, ["first"]),
}
