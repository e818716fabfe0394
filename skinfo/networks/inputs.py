"""How a torch model is run: what it takes, its modes, its threads, its random numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from skinfo._process_wide import WhileInside
from skinfo._rows import as_array

# Networks of fewer parameters run on one thread.
_SMALL = 100_000


#: Runs what torch.compile made as it was before while anyone is inside: compiled code does not call
#: new hooks, and the compiler's stance is that of the whole process.
UNCOMPILED = WhileInside(
    lambda: torch.compiler.set_stance("force_eager"),
    lambda stance: stance.__exit__(None, None, None),
)


class _Watching(TorchDispatchMode):
    """Keep the names of random choices of zero or one, whichever module or function makes them."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if any(word in str(call) for word in ("bernoulli", "dropout")):
            self.seen.append(str(call))
        return call(*args, **(kwargs or {}))


@contextmanager
def leaving_units_out() -> Iterator[list[str]]:
    """Yield a list of what leaves units out at random, as dropout does, while the context lasts."""
    with _Watching() as watching:
        yield watching.seen


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients while the context lasts; then each module's own mode."""
    with keeping_modes(model), torch.no_grad():
        model.eval()
        yield


@contextmanager
def one_thread_if_small(model: nn.Module) -> Iterator[None]:
    """Keep torch to one thread: a batch of a small network is less work than threads cost."""
    threads = torch.get_num_threads()
    if sum(parameter.numel() for parameter in model.parameters()) < _SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def keeping_modes(model: nn.Module) -> Iterator[None]:
    """Restore the mode of each module, training or evaluation, when the context ends."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def make_generator(random_state: int | None, device: torch.device | None = None) -> torch.Generator:
    """Make a source of noise of its own; None seeds it from the system."""
    generator = torch.Generator(device=device or "cpu")
    if random_state is None:
        generator.seed()
    else:
        generator.manual_seed(random_state)
    return generator


def as_tensor(values: Any) -> torch.Tensor:
    """Make a tensor; arrays that may not be written to are copied, masked values refused."""
    if not isinstance(values, torch.Tensor):
        array = as_array(values, "What the model takes")
        values = array if array.flags.writeable else array.copy()
    return torch.as_tensor(values)


@dataclass(frozen=True)
class ModelInputs:
    """Arguments of a model, by position and by name; the first axis of arrays is the inputs'."""

    ordered: tuple[Any, ...]
    named: dict[str, Any]
    #: Which tokens of each input are real, (n_inputs, n_tokens); None where all are.
    mask: np.ndarray | None = None

    @classmethod
    def of(cls, values: Any, model: nn.Module) -> ModelInputs:
        """Make tensors on the device and of the type of the model's parameters.

        Raises
        ------
        ValueError
            If arguments disagree on the number of inputs, none has one, or values are masked.
        """
        if isinstance(values, cls):
            return values
        ordered = values if isinstance(values, tuple) else (values,)
        ordered, named = ((), values) if isinstance(values, Mapping) else (ordered, {})
        # Codes of quantised weights say nothing of the inputs' type.
        parameters = (p for p in model.parameters() if p.is_floating_point() or p.is_complex())
        parameter = next(parameters, torch.empty(0))
        inputs = cls(
            tuple(_argument(value, parameter) for value in ordered),
            {str(name): _argument(value, parameter) for name, value in named.items()},
        )
        lengths = {len(tensor) for tensor in inputs.tensors()}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(
                "The first axis of every array that a model takes is that of the inputs; got "
                f"{' and '.join(map(str, sorted(lengths))) or 'no'} of them."
            )
        return inputs

    def __len__(self) -> int:
        return len(next(self.tensors()))

    @property
    def device(self) -> torch.device:
        """The device of the tensors."""
        return next(self.tensors()).device

    def take(self, rows: slice | np.ndarray) -> ModelInputs:
        """Some of the inputs: a slice, or their numbers."""
        return ModelInputs(
            tuple(_rows(value, rows) for value in self.ordered),
            {name: _rows(value, rows) for name, value in self.named.items()},
            None if self.mask is None else self.mask[rows],
        )

    def run(self, model: nn.Module) -> Any:
        """Run the model on them."""
        return model(*self.ordered, **self.named)

    def tensors(self) -> Iterator[torch.Tensor]:
        """Those arguments that have an axis of inputs."""
        values = (*self.ordered, *self.named.values())
        return (value for value in values if isinstance(value, torch.Tensor) and value.ndim)


def tensors_in(result: Any) -> Iterator[torch.Tensor]:
    """All tensors that a model or a layer returns, also those in tuples, lists and mappings."""
    if isinstance(result, torch.Tensor):
        yield result
    elif isinstance(result, Mapping):
        for value in result.values():
            yield from tensors_in(value)
    elif isinstance(result, tuple | list):
        for value in result:
            yield from tensors_in(value)


def _argument(value: Any, parameter: torch.Tensor) -> Any:
    """A tensor as the model takes it; a flag, a number or None stays as it is."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    tensor = as_tensor(value).to(parameter.device)
    return tensor.to(parameter.dtype) if tensor.is_floating_point() else tensor


def _rows(value: Any, rows: slice | np.ndarray) -> Any:
    return value[rows] if isinstance(value, torch.Tensor) and value.ndim else value
