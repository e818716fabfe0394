"""Information flow while a network is trained: nothing is stored but the table.

A 12-10-7-5-2 tanh network learns the task of Shwartz-Ziv and Tishby with noise of standard
deviation 0.1 on its hidden layers. At log-spaced epochs a monitor runs it on a quarter of the
inputs, measures I(X;T) and I(Y;T) and keeps them in live_monitor.csv.journal. Kill the script and
start it again: no epoch is measured twice. The training stays the same bit for bit.

    python examples/live_monitor.py            # prints the last rows, draws live_monitor.png
    python examples/live_monitor.py --tensorboard logs && tensorboard --logdir logs
"""

import argparse
import time

import torch
from matplotlib.figure import Figure
from torch import nn

from skinfo import NoisyMIEstimator
from skinfo.datasets import make_szt
from skinfo.monitoring import FlowMonitor, log_spaced_epochs
from skinfo.networks import noisy_layers
from skinfo.szt import make_mlp
from skinfo.view import InformationPlaneDisplay

SIGMA = {"layer1": 0.1, "layer2": 0.1, "layer3": 0.1}


def main() -> None:
    """Train, measuring on the way; print and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--tensorboard", help="directory to write TensorBoard's scalars to")
    options = parser.parse_args()

    X, y = make_szt()
    inputs, targets = torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y)
    torch.manual_seed(0)
    model = make_mlp((12, 10, 7, 5, 2))
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    monitor = FlowMonitor.from_model(
        NoisyMIEstimator(sigma=None, tol=0.05, random_state=0),
        model,
        list(SIGMA),
        X[::4],
        y[::4],
        sigma=SIGMA,
        n_replicas=6,
        every=log_spaced_epochs(options.epochs, 12),
        path="live_monitor.csv",
        tensorboard=options.tensorboard,
    )
    measuring = 0.0
    with monitor:
        for epoch in range(1, options.epochs + 1):
            with noisy_layers(model, SIGMA):
                for rows in torch.randperm(len(X)).split(512):
                    optimiser.zero_grad()
                    loss = nn.functional.cross_entropy(model(inputs[rows]), targets[rows])
                    loss.backward()
                    optimiser.step()
            started = time.perf_counter()
            monitor.update(epoch, losses={"train_loss": loss.item()})
            measuring += time.perf_counter() - started

    table = monitor.table
    chosen = table[table["quantity"].isin(["mutual_info", "label_mutual_info"])]
    print(chosen.tail(6).drop(columns=["estimator", "notes"]).round(3).to_string(index=False))
    n_epochs = len(monitor.epochs)
    print(f"{n_epochs} epochs of {len(SIGMA)} layers in {measuring:.1f} s, compiling included")
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    InformationPlaneDisplay.from_flow(table).plot(figure.subplots())
    figure.savefig("live_monitor.png", dpi=150)


if __name__ == "__main__":
    main()
