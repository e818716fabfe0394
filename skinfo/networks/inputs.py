"""What a model takes: one tensor, several in order, or several by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from skinfo.networks.running import as_tensor


@dataclass(frozen=True)
class ModelInputs:
    """Arguments of a model whose first axis is that of the inputs.

    Attributes
    ----------
    ordered : tuple
        Arguments by position.
    named : dict
        Arguments by name; what is no array, such as a flag, is handed on as it is.
    """

    ordered: tuple[Any, ...]
    named: dict[str, Any]

    @classmethod
    def of(cls, values: Any, model: nn.Module) -> ModelInputs:
        """Make tensors where and of what type the model's parameters are.

        Raises
        ------
        ValueError
            Where arguments disagree on the number of inputs, or there is none to count.
        """
        if isinstance(values, cls):
            return values
        parameter = next(model.parameters(), torch.empty(0))
        if isinstance(values, Mapping):
            inputs = cls((), {str(k): _argument(v, parameter) for k, v in values.items()})
        elif isinstance(values, tuple):
            inputs = cls(tuple(_argument(value, parameter) for value in values), {})
        else:
            inputs = cls((_tensor(values, parameter),), {})
        lengths = {len(tensor) for tensor in inputs._tensors()}
        if len(lengths) != 1:
            raise ValueError(
                "The first axis of every array that a model takes is that of the inputs; got "
                f"{' and '.join(map(str, sorted(lengths))) or 'no'} of them."
            )
        return inputs

    def __len__(self) -> int:
        return len(next(self._tensors()))

    @property
    def device(self) -> torch.device:
        """Where the tensors are."""
        return next(self._tensors()).device

    def take(self, rows: slice) -> ModelInputs:
        """Some of the inputs."""
        return ModelInputs(
            tuple(_rows(value, rows) for value in self.ordered),
            {name: _rows(value, rows) for name, value in self.named.items()},
        )

    def run(self, model: nn.Module) -> Any:
        """What the model makes of them."""
        return model(*self.ordered, **self.named)

    def _tensors(self) -> Iterator[torch.Tensor]:
        values = (*self.ordered, *self.named.values())
        return (value for value in values if isinstance(value, torch.Tensor) and value.ndim)


def tensors_in(result: Any) -> Iterator[torch.Tensor]:
    """All tensors that a model or a layer hands out, in tuples, lists and mappings too."""
    if isinstance(result, torch.Tensor):
        yield result
    elif isinstance(result, Mapping):
        for value in result.values():
            yield from tensors_in(value)
    elif isinstance(result, tuple | list):
        for value in result:
            yield from tensors_in(value)


def _argument(value: Any, parameter: torch.Tensor) -> Any:
    """One of several arguments; a flag, a number or None stays what it is."""
    plain = value is None or isinstance(value, bool | int | float | str)
    return value if plain else _tensor(value, parameter)


def _tensor(value: Any, parameter: torch.Tensor) -> torch.Tensor:
    tensor = as_tensor(value).to(parameter.device)
    return tensor.to(parameter.dtype) if tensor.is_floating_point() else tensor


def _rows(value: Any, rows: slice) -> Any:
    return value[rows] if isinstance(value, torch.Tensor) and value.ndim else value
