"""Recording the outputs of layers into arrays."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from skinfo.networks.checks import describe_layers
from skinfo.networks.inputs import ModelInputs, make_generator
from skinfo.networks.listening import Listener
from skinfo.runs import Layer
from skinfo.runs.flatten import Flatten


class Recorder:
    """Record the outputs of chosen layers before their noise into arrays.

    :func:`record_run` records into a run, batch by batch, and takes more kinds of models.

    Parameters
    ----------
    model : torch.nn.Module
        Any module.
    layers : sequence of str
        Names of the submodules to record; of a :class:`LayerNoise` its input is recorded.
    sigma : float or tuple of float, or mapping of str to these, optional
        Standard deviation of the noise of the outputs of the recorded layers, as of
        :class:`LayerNoise`: one for all of them, or a mapping by name, which may name layers that
        are not recorded. The noise modules of a model have theirs.
    noise : str or mapping of str to str, default="additive"
        Which noise, of all these layers or by layer; see :func:`skinfo.noise.make_noise`.
    n_replicas : int, default=24
        Passes over the inputs, each with fresh noise. A layer with no noise before it is recorded
        once.
    batch_size : int, default=4096
        Inputs per batch.
    random_state : int or None, default=0
        Seed of the noise; torch's global generator is left alone.
    flatten : str, int, callable, or mapping of str to these, optional
        How maps and sequences become rows of units, for all layers or by name, as in
        :func:`skinfo.open_run`, except "tokens"; without it they are an error. Axes are
        (n_inputs, n_channels, …), or (n_inputs, n_tokens, n_units) where tokens are chosen.

    Notes
    -----
    The model is in evaluation mode while it is recorded (no dropout, running statistics), with
    noise on; afterwards it is as it was, even after an exception.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo.networks import Recorder
    >>> from skinfo.szt import make_mlp
    >>> model, layers = make_mlp((4, 3, 2, 2)), ["layer1", "layer2"]
    >>> recorder = Recorder(model, layers, sigma=0.1, n_replicas=5)
    >>> with recorder.record(np.zeros((7, 4))) as arrays:
    ...     {name: array.shape for name, array in arrays.items()}
    {'layer1': (7, 3), 'layer2': (7, 5, 2)}
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Sequence[str],
        *,
        sigma: Any = None,
        noise: str | Mapping[str, str] = "additive",
        n_replicas: int = 24,
        batch_size: int = 4096,
        random_state: int | None = 0,
        flatten: Flatten = None,
    ) -> None:
        check_counts(n_replicas, batch_size)
        self.n_replicas = n_replicas
        self.batch_size = batch_size
        self.random_state = random_state
        self._listener = Listener(model, layers, sigma, noise, flatten)

    @property
    def noisy(self) -> dict[str, Layer]:
        """The noise of every layer that has some, recorded or not."""
        return self._listener.noisy

    def describe(self, inputs: Any) -> tuple[Layer, ...]:
        """Find the order of the layers, their sigma and what has noise before it.

        Some hundred of the inputs are run all together, and twice in batches of one, two, three and
        so on: what is recorded of an input must not depend on chance or on its batch.

        Parameters
        ----------
        inputs : array-like or tensor, tuple or mapping of them
            The inputs, as the model takes them; see :meth:`record`.

        Raises
        ------
        ValueError
            For a layer that does not run, or runs twice, or does not return one row of real numbers
            per input, or whose rows depend on other inputs of the batch; for a model with noise
            that the recorder does not know of, or parameters that are not initialised yet.
        TypeError
            For a layer that does not return a tensor.
        """
        inputs = ModelInputs.of(inputs, self._listener.model)
        return describe_layers(self._listener, inputs, self.batch_size)

    @contextmanager
    def record(self, inputs: Any) -> Iterator[dict[str, np.ndarray]]:
        """Run the model and yield the outputs of its layers, as arrays on disk.

        Parameters
        ----------
        inputs : array-like or tensor of shape (n_inputs, …), tuple or mapping of them
            The inputs. A tuple is passed to the model as ``model(*inputs)``, a mapping as
            ``model(**inputs)``; the first axis of each array is that of the inputs.

        Yields
        ------
        dict of str to ndarray
            For a layer with noise before it (n_inputs, n_replicas, n_units), for others
            (n_inputs, n_units); float32, or float64 where float32 cannot hold what the layer
            returns, in files that are removed when the context ends.

        Raises
        ------
        ValueError, TypeError
            As in :meth:`describe`, for any batch.
        """
        inputs = ModelInputs.of(inputs, self._listener.model)
        noise_before = {layer.name: layer.noise_before for layer in self.describe(inputs)}
        noisy = {name for name in noise_before if noise_before[name]}
        generator = make_generator(self.random_state, inputs.device)
        arrays: dict[str, np.ndarray] = {}
        with tempfile.TemporaryDirectory(prefix="skinfo-") as directory:
            paths = {name: Path(directory) / f"{k}.npy" for k, name in enumerate(noise_before)}

            def keep(name: str, values: np.ndarray) -> None:
                if name not in arrays:
                    replicas = (self.n_replicas,) if name in noisy else ()
                    arrays[name] = np.lib.format.open_memmap(
                        paths[name], "w+", values.dtype, (len(inputs), *replicas, values.shape[1])
                    )
                if values.shape[1] != arrays[name].shape[-1]:
                    raise ValueError(
                        f"Layer {name!r} returns {arrays[name].shape[-1]} units for some inputs "
                        f"and {values.shape[1]} for others; pool them by flatten."
                    )
                arrays[name][(rows, replica) if name in noisy else rows] = values

            with self._listener.noisy_passes(generator) as run:
                for replica in range(self.n_replicas if noisy else 1):
                    for start in range(0, len(inputs), self.batch_size):
                        rows = slice(start, min(start + self.batch_size, len(inputs)))
                        run(inputs.take(rows), noisy if replica else noise_before, keep)
            yield {name: arrays[name] for name in noise_before}


def check_counts(n_replicas: int, batch_size: int) -> None:
    """Check that both are whole numbers from 1 on."""
    if not all(isinstance(n, Integral) and n >= 1 for n in (n_replicas, batch_size)):
        raise ValueError(
            "n_replicas and batch_size must be at least 1, whole numbers; got "
            f"{n_replicas!r} and {batch_size!r}."
        )
