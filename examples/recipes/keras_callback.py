"""Keras 3: a callback that records the layers of a Sequential model, on any backend.

At the end of an epoch the callback passes the inputs through the layers one by one and keeps the
output of each. Noise: in training the model adds it by its `GaussianNoise` layers, which are off in
inference; the callback adds fresh noise of the same standard deviation to every replica, from a
seed of its own, so that the training stays as it was. A network without
noise has `sigma=0.0` in LAYERS and no `GaussianNoise`; one replica is then enough.

    python examples/recipes/keras_callback.py     # writes runs/keras, prints I(X;T)

With KERAS_BACKEND=jax in the environment JAX is behind Keras, else torch.
"""

import os
from collections.abc import Sequence

os.environ.setdefault("KERAS_BACKEND", "torch")  # before keras is imported

import keras
import numpy as np
import pandas as pd

from skinfo import NoisyMIEstimator, information_flow, open_run
from skinfo.datasets import make_szt
from skinfo.runs import Layer, RunWriter

#: In network order; a layer with noise before it is recorded in replicas.
LAYERS = [
    Layer("layer1", sigma=0.1),
    Layer("layer2", sigma=0.1, noise_before=True),
    Layer("layer3", sigma=0.1, noise_before=True),
]


def record(
    model: keras.Sequential,
    X,
    layers: Sequence[Layer],
    *,
    n_replicas: int = 1,
    random_state: int = 0,
) -> dict[str, np.ndarray]:
    """Outputs of layers before their noise: (n_inputs, n_units), or with replicas in between."""
    generator = keras.random.SeedGenerator(random_state)
    replicas = [_one_pass(model, X, layers, generator) for _ in range(n_replicas)]
    return {
        layer.name: np.stack([replica[layer.name] for replica in replicas], axis=1)
        if layer.noise_before
        else replicas[0][layer.name]
        for layer in layers
    }


def _one_pass(model, X, layers, generator) -> dict[str, np.ndarray]:
    sigmas = {layer.name: layer.sigma for layer in layers}
    activations = {}
    T = keras.ops.convert_to_tensor(X)
    for layer in model.layers:
        T = keras.ops.stop_gradient(layer(T, training=False))
        if layer.name in sigmas:
            activations[layer.name] = keras.ops.convert_to_numpy(T)
            if sigmas[layer.name]:
                noise = keras.random.normal(keras.ops.shape(T), seed=generator)
                T = T + sigmas[layer.name] * noise
    return activations


class RecordActivations(keras.callbacks.Callback):
    """Record at the end of each named epoch and keep the result.

    ``keep`` is the method ``add`` of a ``RunWriter``, or ``update`` of a ``FlowMonitor``, which
    measures at once and stores no activations.
    """

    def __init__(self, keep, X, layers: Sequence[Layer], checkpoints, *, n_replicas=1) -> None:
        super().__init__()
        self.keep, self.X, self.layers, self.checkpoints = keep, X, layers, checkpoints
        self.n_replicas = n_replicas

    def on_epoch_end(self, epoch, logs=None) -> None:
        """Keras counts epochs from 0, a run from 1."""
        if epoch + 1 in self.checkpoints:
            activations = record(self.model, self.X, self.layers, n_replicas=self.n_replicas)
            self.keep(epoch + 1, activations, losses=logs)


def make_model() -> keras.Sequential:
    """Your model here."""
    hidden = []
    for layer, n_units in zip(LAYERS, (10, 7, 5), strict=True):
        hidden.append(keras.layers.Dense(n_units, activation="tanh", name=layer.name))
        hidden.append(keras.layers.GaussianNoise(layer.sigma))
    return keras.Sequential([keras.Input((12,)), *hidden, keras.layers.Dense(2, name="output")])


def main(path="runs/keras", checkpoints: Sequence[int] = (1, 4, 16)) -> pd.DataFrame:
    """Train, record, measure, print."""
    X, y = make_szt()
    X = X.astype(np.float32)
    keras.utils.set_random_seed(0)
    model = make_model()
    model.compile(
        optimizer=keras.optimizers.Adam(5e-3),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    writer = RunWriter(path, LAYERS, labels=y)
    recording = RecordActivations(writer.add, X, LAYERS, checkpoints, n_replicas=8)
    model.fit(X, y, batch_size=256, epochs=max(checkpoints), verbose=0, callbacks=[recording])

    run = open_run(path)
    flow = information_flow(NoisyMIEstimator(sigma=None, tol=0.05, random_state=0), run)
    print("I(X;T) in nats, ceiling", np.log(len(X)).round(2))
    chosen = flow[flow["quantity"] == "mutual_info"]
    print(chosen.pivot(index="epoch", columns="layer", values="value").round(2).to_string())
    return flow


if __name__ == "__main__":
    main()
