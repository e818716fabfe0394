"""What layers of a Keras model put out, on any backend of Keras."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from skinfo.runs import Layer
from skinfo.runs.layers import check_passes


class KerasRecorder:
    """Record layers before their noise, for several noisy passes, as the recorder for torch does.

    The model is copied once, with its layers as outputs and noise where there is some; the copy
    takes over the weights each time, so that the model itself is never touched.

    Parameters
    ----------
    model : keras.Model
        A Sequential or functional model that has been built; in a subclassed one Keras has no
        graph to follow.
    layers : sequence of str
        Names of the layers to record. A ``keras.layers.GaussianNoise`` records what enters it.
    sigma : mapping of str to float, optional
        Noise to add to the outputs of named layers.
    n_replicas, batch_size, random_state, flatten
        As for :class:`skinfo.networks.Recorder`.

    Raises
    ------
    ValueError
        For a model without a graph, unknown layers, layers that run twice, and maps or sequences
        without ``flatten``.
    """

    def __init__(
        self,
        model: Any,
        layers: Sequence[str],
        *,
        sigma: Mapping[str, float] | None = None,
        n_replicas: int = 24,
        batch_size: int = 4096,
        random_state: int | None = 0,
        flatten: bool = False,
    ) -> None:
        import keras

        check_passes(n_replicas, batch_size, flatten)
        if not (getattr(model, "inputs", None) and getattr(model, "outputs", None)):
            raise ValueError(
                f"{type(model).__name__} has no graph to follow: it is subclassed, or not built. "
                "Hand over activations instead: FlowMonitor(None, …) and update(epoch, "
                "activations=…)."
            )
        #: Standard deviation of the noise of every layer that has some, recorded or not.
        self.noise: dict[str, float] = {}
        self._sigmas = dict(sigma or {})
        self._n_replicas = n_replicas
        self._batch_size = batch_size
        self._seed = random_state or 0
        self._flatten = flatten
        self._wanted = set(layers)
        self._layers: list[Layer] = []
        self._outputs: dict[str, Any] = {}
        self._noises: list[Any] = []
        self._model = keras.Model(model.inputs, model.outputs)
        self._check_names(keras)
        self._copy = keras.models.clone_model(self._model, call_function=self._call)
        self._passes = keras.Model(self._copy.inputs, self._outputs)
        missing = self._wanted - set(self._outputs)
        if missing:
            raise ValueError(f"Layer {min(missing)!r} is not used when the model runs.")

    def _check_names(self, keras: Any) -> None:
        """Check that the model has every layer that is named, and no noise where none is seen."""
        known = [layer.name for layer in self._model.layers]
        for name in (*self._wanted, *self._sigmas):
            if name not in known:
                raise ValueError(f"The model has no layer {name!r}; it has: {', '.join(known)}.")
        for name, sigma in self._sigmas.items():
            if not sigma >= 0:
                raise ValueError(f"sigma of layer {name!r} must be >= 0; got {sigma!r}.")
        for layer in self._model.layers:
            inner = getattr(layer, "layers", [])
            if any(isinstance(one, keras.layers.GaussianNoise) for one in inner):
                raise ValueError(
                    f"Model {layer.name!r} inside the model has noise of its own, which would stay "
                    "off; add it to the output of the inner model by sigmas."
                )

    def _call(self, layer: Any, *args: Any, **kwargs: Any) -> Any:
        """What a layer of the copy hands on: called by Keras, in the order of running."""
        import keras

        noisy = isinstance(layer, keras.layers.GaussianNoise)
        output = args[0] if noisy else layer(*args, **kwargs)
        sigma = float(np.hypot(layer.stddev if noisy else 0.0, self._sigmas.get(layer.name, 0.0)))
        if layer.name in self._wanted:
            self._check_output(layer.name, output)
            noise_before = any(known.sigma or known.noise_before for known in self._layers)
            noise_before = noise_before or bool(self._noises)
            self._layers.append(Layer(layer.name, sigma, noise_before))
            self._outputs[layer.name] = output
        if sigma == 0:
            return output
        self.noise[layer.name] = sigma
        self._noises.append(_make_noise(keras, sigma, self._seed + len(self._noises)))
        return self._noises[-1](output)

    def _check_output(self, name: str, output: Any) -> None:
        if name in self._outputs:
            raise ValueError(
                f"Layer {name!r} runs more than once in a pass; it has no one output to record."
            )
        shape = getattr(output, "shape", None)
        if shape is None:
            raise TypeError(f"Layer {name!r} hands out a {type(output).__name__}, not a tensor.")
        if len(shape) != 2 and not self._flatten:
            raise ValueError(
                f"Layer {name!r} puts out {tuple(shape[1:])} values an input; record them in a row "
                "with flatten=True, or record a layer that pools them."
            )

    def describe(self, inputs: Any) -> tuple[Layer, ...]:  # noqa: ARG002
        """Layers in the order of running, their sigmas and where noise precedes."""
        return tuple(self._layers)

    @contextmanager
    def record(self, inputs: Any) -> Iterator[dict[str, np.ndarray]]:
        """Run the copy and hand out what its layers put out.

        Parameters
        ----------
        inputs : array-like of shape (n_inputs, …), tuple or mapping of them
            The inputs; a mapping goes by the names of the model's inputs.

        Yields
        ------
        dict of str to ndarray
            For a layer with noise before it (n_inputs, n_replicas, n_units), for others
            (n_inputs, n_units); float32.
        """
        given = self._arrange(inputs)
        self._take_over_weights()
        for place, noise in enumerate(self._noises):
            noise.restart(self._seed + place)
        arrays: dict[str, np.ndarray] = {}
        n_inputs = len(given[0])
        for replica in range(self._n_replicas if any(x.noise_before for x in self._layers) else 1):
            for start in range(0, n_inputs, self._batch_size):
                rows = slice(start, min(start + self._batch_size, n_inputs))
                outputs = self._passes.predict_on_batch([array[rows] for array in given])
                for layer in self._layers:
                    if replica and not layer.noise_before:
                        continue
                    values = np.asarray(outputs[layer.name], np.float32).reshape(
                        rows.stop - rows.start, -1
                    )
                    replicas = (self._n_replicas,) if layer.noise_before else ()
                    if layer.name not in arrays:
                        shape = n_inputs, *replicas, values.shape[1]
                        arrays[layer.name] = np.empty(shape, np.float32)
                    arrays[layer.name][(rows, replica) if layer.noise_before else rows] = values
        yield {layer.name: arrays[layer.name] for layer in self._layers}

    def _take_over_weights(self) -> None:
        """Copy the weights: JAX hands the memory of its own over to the next step of training."""
        import keras

        for there, here in zip(self._model.weights, self._copy.weights, strict=True):
            here.assign(keras.ops.copy(there.value))

    def _arrange(self, inputs: Any) -> list[np.ndarray]:
        """Arrays in the order of the model's inputs."""
        names = [tensor.name for tensor in self._model.inputs]
        if isinstance(inputs, Mapping):
            missing = [name for name in names if name not in inputs]
            if missing:
                raise ValueError(
                    f"The model's inputs are {', '.join(names)}; X has no {missing[0]!r}."
                )
            inputs = tuple(inputs[name] for name in names)
        arrays = [np.asarray(x) for x in (inputs if isinstance(inputs, tuple) else (inputs,))]
        if len(arrays) != len(names) or len({len(array) for array in arrays}) != 1:
            raise ValueError(
                f"The model takes {', '.join(names)}, each with one row an input; got arrays of "
                f"shape {', '.join(str(array.shape) for array in arrays)}."
            )
        return arrays


def _make_noise(keras: Any, sigma: float, seed: int) -> Any:
    """A layer that always adds noise; Keras' own does so in training alone."""

    class Noise(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.generator = keras.random.SeedGenerator(seed)

        def call(self, values: Any) -> Any:
            """Add the noise."""
            noise = keras.random.normal(
                keras.ops.shape(values), stddev=sigma, dtype=values.dtype, seed=self.generator
            )
            return values + noise

        def restart(self, seed: int) -> None:
            """Begin the noise again."""
            self.generator.state.assign([seed, 0])

    return Noise()
