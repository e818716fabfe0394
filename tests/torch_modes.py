"""A GPU that is pretended, and the bytes that tensors take."""

import weakref

import torch
from torch.overrides import TorchFunctionMode

GPU = torch.device("cuda:0")
_VIEWS = (torch.Tensor.numpy, torch.Tensor.__array__)


class OnGpu(torch.Tensor):
    """A tensor on the pretended GPU."""


class PretendedGpu(TorchFunctionMode):
    """Inside, device="cuda" is there; ``products`` counts the matrix products on it.

    Its tensors lie on the processor, but what a GPU refuses is refused: operations on tensors of
    both, and numpy's view of one.
    """

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


class LiveBytes(TorchFunctionMode):
    """Counts the bytes that tensors made inside take, all and at most at a time."""

    def __enter__(self):
        self.now = self.most = self.total = 0
        self.seen = set()
        return super().__enter__()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in args if isinstance(t, torch.Tensor)}
        for tensor in made if isinstance(made, tuple | list) else (made,):
            if not isinstance(tensor, torch.Tensor):
                continue
            storage = tensor.untyped_storage()
            if storage.data_ptr() in given | self.seen or not storage.nbytes():
                continue
            self.seen.add(storage.data_ptr())
            self.now += storage.nbytes()
            self.total += storage.nbytes()
            self.most = max(self.most, self.now)
            weakref.finalize(storage, self.forget, storage.data_ptr(), storage.nbytes())
        return made

    def forget(self, pointer, size):
        self.seen.discard(pointer)
        self.now -= size
