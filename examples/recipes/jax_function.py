"""JAX: a pure function that returns the outputs of its layers beside its result.

Nothing is hooked and nothing is hidden: the forward function returns the activations before the
noise, training drops them, recording keeps them. Noise comes from a key; replicas are a `vmap` over
keys. Flax, Equinox or Haiku do the same with `capture_intermediates` or your own return values. A
network without noise has `sigma=0.0` in LAYERS; one replica is then enough.

    python examples/recipes/jax_function.py     # writes runs/jax, prints I(X;T)
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from skinfo import NoisyMIEstimator, information_flow, open_run
from skinfo.datasets import make_szt
from skinfo.runs import Layer, RunWriter

#: In network order; a layer with noise before it is recorded in replicas.
LAYERS = (
    Layer("layer1", sigma=0.1),
    Layer("layer2", sigma=0.1, noise_before=True),
    Layer("layer3", sigma=0.1, noise_before=True),
)


def forward(params, X, layers: tuple[Layer, ...], key) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Class scores, and the output of every hidden layer before its noise."""
    *hidden, (W_out, b_out) = params
    keys = jax.random.split(key, len(hidden))
    activations, T = {}, X
    for layer, (W, b), own_key in zip(layers, hidden, keys, strict=True):
        T = activations[layer.name] = jnp.tanh(T @ W + b)
        if layer.sigma:
            T = T + layer.sigma * jax.random.normal(own_key, T.shape)
    return T @ W_out + b_out, activations


def record(
    params, X, layers: Sequence[Layer], *, n_replicas: int = 1, random_state: int = 0
) -> dict[str, np.ndarray]:
    """Outputs of layers before their noise: (n_inputs, n_units), or with replicas in between."""
    keys = jax.random.split(jax.random.key(random_state), n_replicas)
    replicas = _replicas(params, jnp.asarray(X), tuple(layers), keys)
    return {
        layer.name: np.asarray(
            replicas[layer.name] if layer.noise_before else replicas[layer.name][:, 0]
        )
        for layer in layers
    }


@partial(jax.jit, static_argnames="layers")
def _replicas(params, X, layers, keys) -> dict[str, jax.Array]:
    """Replicas along the second axis; compiled once for all checkpoints."""
    return jax.vmap(lambda key: forward(params, X, layers, key)[1], out_axes=1)(keys)


def init(key, sizes=(12, 10, 7, 5, 2)):
    """Your weights here."""
    keys = jax.random.split(key, len(sizes) - 1)
    return [
        (jax.random.normal(k, (n_in, n_out)) / jnp.sqrt(n_in), jnp.zeros(n_out))
        for k, n_in, n_out in zip(keys, sizes, sizes[1:], strict=False)
    ]


@jax.jit
def train_epoch(params, velocity, X, y, key):
    """Your training here: momentum, batches of 256, with noise on."""

    def loss(params, X, y, key):
        scores, _ = forward(params, X, LAYERS, key)
        return -jnp.take_along_axis(jax.nn.log_softmax(scores), y[:, None], axis=1).mean()

    def step(state, batch):
        params, velocity = state
        value, slope = jax.value_and_grad(loss)(params, *batch)
        velocity = jax.tree.map(lambda v, g: 0.9 * v - 0.05 * g, velocity, slope)
        return (jax.tree.map(jnp.add, params, velocity), velocity), value

    order = jax.random.permutation(key, len(X)).reshape(-1, 256)
    batches = X[order], y[order], jax.random.split(key, len(order))
    (params, velocity), losses = jax.lax.scan(step, (params, velocity), batches)
    return params, velocity, losses.mean()


def main(path="runs/jax", checkpoints: Sequence[int] = (1, 4, 16)) -> pd.DataFrame:
    """Train, record, measure, print."""
    X, y = make_szt()
    inputs, targets = jnp.asarray(X, dtype=jnp.float32), jnp.asarray(y, dtype=jnp.int32)
    key = jax.random.key(0)
    params = init(key)
    velocity = jax.tree.map(jnp.zeros_like, params)
    writer = RunWriter(path, LAYERS, labels=y)
    for epoch in range(1, max(checkpoints) + 1):
        params, velocity, loss = train_epoch(
            params, velocity, inputs, targets, jax.random.fold_in(key, epoch)
        )
        if epoch in checkpoints:
            activations = record(params, inputs, LAYERS, n_replicas=8)
            writer.add(epoch, activations, losses={"train_loss": float(loss)})

    run = open_run(path)
    flow = information_flow(NoisyMIEstimator(sigma=None, tol=0.05, random_state=0), run)
    print("I(X;T) in nats, ceiling", np.log(len(X)).round(2))
    chosen = flow[flow["quantity"] == "mutual_info"]
    print(chosen.pivot(index="epoch", columns="layer", values="value").round(2).to_string())
    return flow


if __name__ == "__main__":
    main()
