"""Recording the outputs of layers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from itertools import zip_longest
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from skinfo.networks.inputs import (
    ModelInputs,
    evaluating,
    leaving_units_out,
    make_generator,
    one_thread_if_small,
    tensors_in,
    uncompiled,
)
from skinfo.networks.noise import (
    LayerNoise,
    find_layers,
    nested_tensors,
    noise_by_layer,
    noisy_layers,
    not_called,
    switching_noise,
    tensor_of,
)
from skinfo.noise import NOISES
from skinfo.runs import Layer
from skinfo.runs.flatten import Flatten, Flattening

# The axes of an output by their number; tokens, where they are chosen, take the second.
_AXES = {1: "n", 2: "nc", 3: "ncl", 4: "nchw", 5: "ncdhw"}
# So many inputs are tried alone and beside others, as far as their outputs take no more bytes.
_TRIED, _TRIED_BYTES, _FEW = 256, 2**26, 8
# Rounding depends on the size of a batch, and may turn over a few rows of codes or spikes.
_ROUNDED_ROWS = 0.02
_UNKNOWN_NOISE = (
    "The model gives two results for one input, with skinfo's own noise off: it has noise that the "
    "recorder does not know of, or keeps a state between passes. Add noise by a LayerNoise or "
    "sigma, so that its standard deviation is recorded."
)
_DROPOUT = (
    "The model gives two results for one input: in evaluation mode, too, it has dropout that "
    "leaves units out. Then I(X;T) is infinite for continuous inputs (Adilova, Geiger and Fischer, "
    "ICLR 2023, theorem 3.1), so nothing of it can be measured. Use Gaussian dropout of the same "
    "variance, GaussianDropout(skinfo.dropout_sigma(p)), in its place, or switch it off to measure "
    "the network without."
)

#: The outputs of layers in the order of running, and last of all, without a name, the result.
Seen = list[tuple[str, Any]]


class Recorder:
    """Record the outputs of chosen layers before their noise, in several noisy passes.

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
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module; got a {type(model).__name__}.")
        if not all(isinstance(n, Integral) and n >= 1 for n in (n_replicas, batch_size)):
            raise ValueError(
                "n_replicas and batch_size must be at least 1, whole numbers; got "
                f"{n_replicas!r} and {batch_size!r}."
            )
        Flattening(flatten).check_names(layers)
        self.model = model
        if sigma is None and noise != "additive":
            raise ValueError(
                f"noise={noise!r} is given without sigma, so that no layer has noise; give sigma "
                "as well. Noise modules inside the model are found by themselves."
            )
        if not isinstance(sigma, Mapping):
            sigma = dict.fromkeys(layers, 0.0 if sigma is None else sigma)
        self._added = noise_by_layer(sigma, noise)
        self.n_replicas = n_replicas
        self.batch_size = batch_size
        self.random_state = random_state
        self.flatten = flatten
        self._modules = find_layers(model, layers)
        find_layers(model, list(self._added))
        for name in self._added:
            self._noise_of(name)

    @property
    def noisy(self) -> dict[str, Layer]:
        """The noise of every layer that has some, recorded or not."""
        layers = {name: self._noise_of(name) for name, _ in self.model.named_modules() if name}
        return {name: layer for name, layer in layers.items() if layer.sigma}

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
        if any(nn.parameter.is_lazy(parameter) for parameter in self.model.parameters()):
            raise ValueError(
                "The model has parameters that its first pass initialises; run it once before you "
                "record it."
            )
        inputs = ModelInputs.of(inputs, self.model)
        noise_before: dict[str, bool] = {}
        noise_seen = False
        with self._quiet_passes(inputs.device) as run:
            try:
                alone = run(inputs.take(slice(1)))
            except ValueError as error:
                raise ValueError(
                    f"The model fails on one input alone ({error}), but what is recorded of an "
                    "input must not depend on its batch."
                ) from error
            units = self._units_in(alone, 1)
            for name, _ in alone[:-1]:
                own = self._noise_of(name)
                if name in units:
                    noise_before[name] = noise_seen
                    _check_units(own, units[name].shape[1])
                noise_seen = noise_seen or bool(own.sigma)
            n_bytes = sum(row.nbytes for row in units.values())
            self._check_rows(inputs, run, max(_FEW, _TRIED_BYTES // max(1, n_bytes)))
        return tuple(
            replace(self._noise_of(name), noise_before=noise_before[name]) for name in noise_before
        )

    @contextmanager
    def _quiet_passes(self, device: torch.device) -> Iterator[Callable[[ModelInputs], Seen]]:
        """Yield a function that runs the model without noise and returns what its layers gave."""
        seen: Seen = []

        def run(inputs: ModelInputs) -> Seen:
            seen.clear()
            result = inputs.run(self.model)
            return [*seen, ("", result)]

        with ExitStack() as undo:
            for name, module in self.model.named_modules():
                if name in self._modules or (name and self._noise_of(name).sigma):
                    hook = module.register_forward_hook(
                        lambda _module, _args, output, name=name: seen.append((name, output))
                    )
                    undo.callback(hook.remove)
            undo.enter_context(switching_noise(self.model, False))
            undo.enter_context(self._undisturbed(device))
            yield run

    @contextmanager
    def _undisturbed(self, device: torch.device) -> Iterator[None]:
        """Evaluation mode with hooks that are called, and torch's generators as they were after."""
        devices = [device] if device.type == "cuda" else []
        with (
            evaluating(self.model), one_thread_if_small(self.model), uncompiled(),
            torch.random.fork_rng(devices),
        ):  # fmt: skip
            try:
                yield
            except RuntimeError as error:
                if "NestedTensor" in str(error):
                    raise ValueError(nested_tensors(*self._modules)) from error
                raise

    def _check_rows(
        self, inputs: ModelInputs, run: Callable[[ModelInputs], Seen], n_most: int
    ) -> None:
        """Check that an input gives the same each time, alone and beside others."""
        n = min(_TRIED, n_most, len(inputs))
        inputs = inputs.take(np.linspace(0, len(inputs) - 1, n).astype(int))
        batches = np.split(np.arange(n), range(self.batch_size, n, self.batch_size))
        outputs = [self._units_in(run(inputs.take(rows)), len(rows)) for rows in batches]
        together = {name: np.concatenate([units[name] for units in outputs]) for name in outputs[0]}
        differs = {name: np.zeros(n, bool) for name in together}
        rounding = _rounding(self.model, inputs.device)
        for rows in _companies(n, self.batch_size):
            seen, again = run(inputs.take(rows)), run(inputs.take(rows))
            if not _equal(seen, again):
                with leaving_units_out() as calls:
                    run(inputs.take(rows))
                raise ValueError(_DROPOUT if calls else _UNKNOWN_NOISE)
            for name, units in self._units_in(seen, len(rows)).items():
                scale = np.abs(together[name][np.isfinite(together[name])]).max(initial=0)
                differs[name][rows] = ~np.isclose(
                    units, together[name][rows], rtol=0, atol=rounding * scale, equal_nan=True
                ).all(axis=1)
        for name, rows in differs.items():
            if rows.mean() > _ROUNDED_ROWS:
                raise ValueError(
                    f"Layer {name!r} gives another output for an input where others are beside it "
                    f"({rows.sum()} of {n} inputs tried), so it is no function of its input. In "
                    "evaluation mode no layer may use statistics of the batch, as BatchNorm does "
                    "with track_running_stats=False, and the first axis of what a module takes is "
                    "that of the inputs (batch_first=True)."
                )

    def _units_in(self, seen: Seen, n_inputs: int) -> dict[str, np.ndarray]:
        """Rows of units of each layer, in the order of running; each layer has run once."""
        called = [name for name, _ in seen]
        for name in (*self._modules, *(name for name in self._added if self._added[name].sigma)):
            if name not in called:
                raise not_called(name)
            if name in self._modules and called.count(name) > 1:
                raise _runs_twice(name)
        return {
            name: self._as_units(name, output, n_inputs)
            for name, output in seen
            if name in self._modules
        }

    def _as_units(self, name: str, output: Any, n_inputs: int) -> np.ndarray:
        """Values of a layer as (n_inputs, n_units), flattened as chosen."""
        output = tensor_of(output, name)
        if output.ndim < 1 or len(output) != n_inputs:
            count = "one input" if n_inputs == 1 else f"{n_inputs} inputs"
            raise ValueError(
                f"Layer {name!r} returns shape {tuple(output.shape)} for {count}; its first axis "
                "must be that of the inputs. Record a layer before it is folded or pooled."
            )
        choice = self.flatten.get(name) if isinstance(self.flatten, Mapping) else self.flatten
        if output.ndim != 2 and choice is None:
            raise ValueError(
                f"Layer {name!r} returns {tuple(output.shape[1:])} values per input; keep all of "
                "them as units with flatten='all', or pool them with another flatten or a layer."
            )
        of_tokens = isinstance(choice, int) or choice in ("token_mean", "token_last", "tokens")
        axes = "ntc" if of_tokens and output.ndim == 3 else _AXES.get(output.ndim)
        flattener = Flattening(self.flatten, axes=axes)
        try:
            units = _as_floats(flattener.of(name, output.ndim).apply(_as_floats(_as_array(output))))
        except ValueError as error:
            raise ValueError(f"Layer {name!r}: {error}.") from error
        if len(units) != n_inputs:
            raise ValueError(
                f"Layer {name!r}: flatten='tokens' makes each token an input of its own, which a "
                "recording has not; choose a token or their mean."
            )
        return units

    def _noise_of(self, name: str) -> Layer:
        """A layer with the noise of its module and the noise that is added to that."""
        module = self.model.get_submodule(name)
        added = self._added.get(name, Layer(name, 0.0))
        if not isinstance(module, LayerNoise):
            return added
        own = Layer(name, module.sigma, noise=module.noise)
        if not (own.sigma and added.sigma):
            return added if added.sigma else own
        if own.noise != added.noise or not NOISES[own.noise].adds_up:
            raise ValueError(
                f"Layer {name!r} has {own.noise} noise of its own, and with {added.noise} noise "
                "after that it has no noise of one model; put an nn.Identity behind it, and add "
                "the noise there."
            )
        return replace(own, sigma=np.hypot(own.sigma, added.sigma))

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
        inputs = ModelInputs.of(inputs, self.model)
        noise_before = {layer.name: layer.noise_before for layer in self.describe(inputs)}
        generator = make_generator(self.random_state, inputs.device)
        arrays: dict[str, np.ndarray] = {}
        with tempfile.TemporaryDirectory(prefix="skinfo-") as directory:
            paths = {name: Path(directory) / f"{k}.npy" for k, name in enumerate(noise_before)}

            def keep(name: str, output: Any) -> None:
                rows, replica = batch
                if name in called:
                    raise _runs_twice(name)
                called.add(name)
                if not noise_before[name] and replica > 0:
                    return
                values = self._as_units(name, output, rows.stop - rows.start)
                if name not in arrays:
                    replicas = (self.n_replicas,) if noise_before[name] else ()
                    arrays[name] = np.lib.format.open_memmap(
                        paths[name], "w+", values.dtype, (len(inputs), *replicas, values.shape[1])
                    )
                if values.shape[1] != arrays[name].shape[-1]:
                    raise ValueError(
                        f"Layer {name!r} returns {arrays[name].shape[-1]} units for some inputs "
                        f"and {values.shape[1]} for others; pool them by flatten."
                    )
                arrays[name][(rows, replica) if noise_before[name] else rows] = values

            passes = self.n_replicas if any(noise_before.values()) else 1
            with self._listening(keep, generator):
                for replica in range(passes):
                    for start in range(0, len(inputs), self.batch_size):
                        rows = slice(start, min(start + self.batch_size, len(inputs)))
                        batch, called = (rows, replica), set[str]()
                        inputs.take(rows).run(self.model)
                        for name in noise_before.keys() - called:
                            raise not_called(name)
            yield {name: arrays[name] for name in noise_before}

    @contextmanager
    def _listening(
        self, keep: Callable[[str, Any], None], generator: torch.Generator
    ) -> Iterator[None]:
        """Noise on, evaluation mode, and ``keep`` called with the output of each layer."""
        with ExitStack() as stack:
            stack.enter_context(self._undisturbed(generator.device))
            # Hooks run in the order of registration: what is kept has no noise yet.
            for name, module in self._modules.items():
                if isinstance(module, LayerNoise):
                    hook = module.register_forward_pre_hook(
                        lambda _module, args, given, name=name: keep(
                            name, next(iter((*args, *given.values())))
                        ),
                        with_kwargs=True,
                    )
                else:
                    hook = module.register_forward_hook(
                        lambda _module, _args, output, name=name: keep(name, output)
                    )
                stack.callback(hook.remove)
            sigma = {name: layer.sigma for name, layer in self._added.items()}
            noise = {name: layer.noise for name, layer in self._added.items()}
            stack.enter_context(noisy_layers(self.model, sigma, generator, noise))
            yield


def _check_units(layer: Layer, n_units: int) -> None:
    """Check that the noise of a layer is that of so many units."""
    if layer.noise_model is None:
        return
    try:
        layer.noise_model.check_units(n_units)
    except ValueError as error:
        raise ValueError(f"Layer {layer.name!r}: {error}") from error


def _runs_twice(name: str) -> ValueError:
    return ValueError(
        f"Layer {name!r} runs more than once per pass, so it has no single output to record. Give "
        "each use a module of its own."
    )


def _companies(n: int, most: int) -> list[np.ndarray]:
    """Numbers of inputs in batches of one, two, three and so on, in random order.

    Examples
    --------
    >>> [len(rows) for rows in _companies(20, most=4)]
    [1, 2, 3, 4, 4, 4, 2]
    """
    order = np.append(0, 1 + np.random.default_rng(0).permutation(n - 1))
    ends = np.minimum(np.arange(1, n + 1), most).cumsum()
    return np.split(order, ends[ends < n])


def _rounding(model: nn.Module, device: torch.device) -> float:
    """Share of a layer's largest value by which rounding may change with the size of a batch."""
    types = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    if torch.is_autocast_enabled(device.type):
        types.add(torch.get_autocast_dtype(device.type))
    return float(max(torch.finfo(dtype).eps for dtype in types or [torch.float32]) ** 0.5)


def _as_array(output: torch.Tensor) -> np.ndarray:
    narrow = output.is_floating_point() and output.itemsize < 4
    return (output.float() if narrow else output).detach().cpu().numpy()


def _as_floats(values: np.ndarray) -> np.ndarray:
    """Numbers as float32, or as float64 where only that holds them."""
    if values.dtype.kind not in "biuf":
        raise ValueError(f"holds {values.dtype}, where real numbers are expected")
    whole = values.dtype.kind in "iu" and values.size
    if whole and (values.max() > 2**53 or values.min() < -(2**53)):
        raise ValueError("holds integers beyond 2^53, more than float64 can tell apart")
    return values.astype(np.result_type(values.dtype, np.float32), copy=False)


def _equal(one: Any, other: Any) -> bool:
    """Whether two results hold the same tensors; NaN equals NaN."""
    pairs = zip_longest(tensors_in(one), tensors_in(other))
    return all(a is not None and b is not None and _same(a, b) for a, b in pairs)


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors hold the same; NaN equals NaN."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())
