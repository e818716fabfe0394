"""scikit-learn: the hidden layers of an MLPClassifier, computed again from its weights.

`MLPClassifier` keeps no activations, but its forward pass follows from `coefs_`, `intercepts_` and
`activation`. It is trained without noise, so it has no sigma of its own and each layer is recorded
once; the estimator then measures I(S; S + sigma Z) at a declared sigma. `record` can still add
noise between the layers, to ask what a network with these weights and noisy units would know.

    python examples/recipes/sklearn_mlp.py     # writes runs/sklearn, prints I(X;T) at sigma 0.1
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.special import expit
from sklearn.neural_network import MLPClassifier

from skinfo import NoisyMIEstimator, information_flow, open_run
from skinfo.datasets import make_szt
from skinfo.runs import Layer, RunWriter

#: In network order.
LAYERS = [Layer("layer1", sigma=0.0), Layer("layer2", sigma=0.0), Layer("layer3", sigma=0.0)]

ACTIVATIONS = {
    "tanh": np.tanh,
    "relu": lambda T: np.maximum(T, 0),
    "logistic": expit,
    "identity": lambda T: T,
}


def record(
    network: MLPClassifier,
    X,
    layers: Sequence[Layer],
    *,
    n_replicas: int = 1,
    random_state: int = 0,
) -> dict[str, np.ndarray]:
    """Outputs of hidden layers before their noise: (n_inputs, n_units), or with replicas."""
    rng = np.random.default_rng(random_state)
    replicas = [_one_pass(network, X, layers, rng) for _ in range(n_replicas)]
    return {
        layer.name: np.stack([replica[layer.name] for replica in replicas], axis=1)
        if layer.noise_before
        else replicas[0][layer.name]
        for layer in layers
    }


def _one_pass(network, X, layers, rng) -> dict[str, np.ndarray]:
    activation = ACTIVATIONS[network.activation]
    hidden = zip(layers, network.coefs_[:-1], network.intercepts_[:-1], strict=True)
    activations, T = {}, X
    for layer, W, b in hidden:
        S = activations[layer.name] = activation(T @ W + b)
        T = S + layer.sigma * rng.standard_normal(S.shape)
    return activations


def main(path="runs/sklearn", checkpoints: Sequence[int] = (1, 4, 16)) -> pd.DataFrame:
    """Train, record, measure, print."""
    X, y = make_szt()
    network = MLPClassifier((10, 7, 5), activation="tanh", learning_rate_init=5e-3, random_state=0)
    writer = RunWriter(path, LAYERS, labels=y)
    for epoch in range(1, max(checkpoints) + 1):
        network.partial_fit(X, y, classes=[0, 1])
        if epoch in checkpoints:
            writer.add(epoch, record(network, X, LAYERS), losses={"train_loss": network.loss_})

    run = open_run(path)
    flow = information_flow(NoisyMIEstimator(sigma=0.1, tol=0.05, random_state=0), run)
    print("I(S; S + 0.1 Z) in nats, ceiling", np.log(len(X)).round(2))
    chosen = flow[flow["quantity"] == "mutual_info"]
    print(chosen.pivot(index="epoch", columns="layer", values="value").round(2).to_string())
    return flow


if __name__ == "__main__":
    main()
