"""A GPU that is pretended: its tensors lie on the processor, but do not mix with those that do.

What a GPU refuses is refused: operations on tensors of both, and numpy's view of one on it.
"""

import torch
from torch.overrides import TorchFunctionMode

GPU = torch.device("cuda:0")
_VIEWS = (torch.Tensor.numpy, torch.Tensor.__array__)


class OnGpu(torch.Tensor):
    """A tensor on the pretended GPU."""


class PretendedGpu(TorchFunctionMode):
    """Inside, device="cuda" is there; ``products`` counts the matrix products on it."""

    def __enter__(self):
        self.products = 0
        return super().__enter__()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        tensors = list(_tensors_in([*args, *kwargs.values()]))
        here = [isinstance(tensor, OnGpu) for tensor in tensors]
        if function == torch.Tensor.device.__get__ and here[0]:
            return GPU
        if function in _VIEWS and here[0]:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        asked = kwargs.get("device")
        if asked is not None and torch.device(asked).type == "cuda":
            kwargs["device"] = "cpu"
            here = [True]
        elif any(here) and not all(
            on or not tensor.ndim for on, tensor in zip(here, tensors, strict=True)
        ):
            raise RuntimeError(f"tensors on two devices: {function}")
        self.products += function in (torch.addmm, torch.Tensor.__matmul__) and any(here)
        with torch._C.DisableTorchFunctionSubclass():
            found = function(*args, **kwargs)
        return _moved(found, any(here) and function is not torch.Tensor.cpu)


def _tensors_in(values):
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors_in(value)


def _moved(found, on_gpu):
    if isinstance(found, list | tuple):
        return type(found)(_moved(value, on_gpu) for value in found)
    if isinstance(found, torch.Tensor):
        return found.as_subclass(OnGpu if on_gpu else torch.Tensor)
    return found
