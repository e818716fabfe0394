"""PyTorch: hooks on any modules of any model, recorded while it is trained.

`record_run` puts a forward hook on every chosen module, runs the model in evaluation mode and
removes the hooks again; the class of the model does not matter. Noise is added by hooks too, in
training by `noisy_layers`, in recording by `record_run`: a layer that has noise before it is
recorded `n_replicas` times, each with fresh noise. For a network without noise leave `sigma` out:
every layer is then recorded once.

    python examples/recipes/torch_hooks.py     # writes runs/torch, prints I(X;T)
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import nn

from skinfo import NoisyMIEstimator, information_flow, open_run
from skinfo.datasets import make_szt
from skinfo.networks import noisy_layers, record_run

SIGMA = {"layer1": 0.1, "layer2": 0.1, "layer3": 0.1}


class Net(nn.Module):
    """Your model here: the names of its modules are those of the layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(nn.Linear(12, 10), nn.Tanh())
        self.layer2 = nn.Sequential(nn.Linear(10, 7), nn.Tanh())
        self.layer3 = nn.Sequential(nn.Linear(7, 5), nn.Tanh())
        self.output = nn.Linear(5, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores."""
        return self.output(self.layer3(self.layer2(self.layer1(x))))


def train_epoch(model: nn.Module, optimiser: torch.optim.Optimizer, X, y) -> float:
    """Your training here, with noise on."""
    with noisy_layers(model, SIGMA):
        for rows in torch.randperm(len(X)).split(256):
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(model(X[rows]), y[rows])
            loss.backward()
            optimiser.step()
    return loss.item()


def main(path="runs/torch", checkpoints: Sequence[int] = (1, 4, 16)) -> pd.DataFrame:
    """Train, record, measure, print."""
    X, y = make_szt()
    inputs, targets = torch.as_tensor(X, dtype=torch.float32), torch.as_tensor(y)
    torch.manual_seed(0)
    model = Net()
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)

    for epoch in range(1, max(checkpoints) + 1):
        loss = train_epoch(model, optimiser, inputs, targets)
        if epoch in checkpoints:
            record_run(
                model, inputs, path, epoch=epoch, layers="layer*", sigma=SIGMA, n_replicas=8,
                labels=y, losses={"train_loss": loss}
            )  # fmt: skip

    run = open_run(path)
    flow = information_flow(NoisyMIEstimator(sigma=None, tol=0.05, random_state=0), run)
    print("I(X;T) in nats, ceiling", np.log(len(X)).round(2))
    chosen = flow[flow["quantity"] == "mutual_info"]
    print(chosen.pivot(index="epoch", columns="layer", values="value").round(2).to_string())
    return flow


if __name__ == "__main__":
    main()
