"""Torch, where tensors come or a device is asked for: which device, and products in full precision.

Nothing here imports torch before that.
"""

from __future__ import annotations

from typing import Any

from skinfo._process_wide import WhileInside
from skinfo.errors import needs_extra

#: Bytes that a device may take at a time beside the data: a processor's caches are smaller than a
#: GPU's, which needs much work at a time.
SCRATCH = {"cpu": 2**25, "other": 2**30}
# What stands before the name of a device that torch is to compute on although the compiled engine
# could: the processor.
_BY_TORCH = "torch:"


def device_for(device: Any, **given: Any) -> str | None:
    """Where sums over the first of some arrays are computed: None for the compiled engine.

    ``device=None`` is where that array is, or would be: numpy's are on the processor. Else it names
    a device of torch, or "cpu" for the compiled engine.

    Raises
    ------
    ValueError
        For tensors on different devices, if none is asked for, and for a device that is not there
        or has no double precision.

    Examples
    --------
    >>> print(device_for(None, X=[[1.0], [2.0]]))
    None
    """
    if device is None:
        tensors = {name: value for name, value in given.items() if hasattr(value, "detach")}
        places = {name: str(value.device) for name, value in tensors.items()}
        if len(set(places.values())) > 1:
            where = ", ".join(f"{name} is on {place}" for name, place in places.items())
            raise ValueError(f"Tensors are on different devices: {where}. Move them to one.")
        device = places.get(next(iter(given), ""), "cpu")
    name = str(device)
    # Of the processor there is one, whatever its number.
    if name.partition(":")[0] == "cpu":
        return None
    name = name.removeprefix(_BY_TORCH)
    _check_device(name)
    return name


def _check_device(name: str) -> None:
    """Check that a device is there, and computes in double precision."""
    with needs_extra(f'device="{name}"', "torch"):
        import torch
    try:
        kind = torch.device(name).type
        if kind != "mps":
            torch.ones(1, dtype=torch.float64, device=name).cpu()
            return
    except (RuntimeError, NotImplementedError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f'device="{name}" cannot be used: {reason}. "cpu" is the compiled engine, "cuda" an '
            'NVIDIA or AMD GPU, "torch:cpu" torch on the processor.'
        ) from error
    raise ValueError(
        f'device="{name}" has no double precision, in which sums of tiny and of huge terms are '
        'kept; use device="cpu", which moves the data there.'
    )


def scratch_bytes(device: Any) -> int:
    """How many bytes of a device may be taken at a time, beside the data on it."""
    return SCRATCH["cpu" if str(device).startswith("cpu") else "other"]


def _ask_for_full_precision() -> tuple[str, list[str]]:
    """Ask for it, and return the settings before: of all products, and since torch 2.9 by library.

    The former cannot be read while the latter differ from it.
    """
    import torch

    before = list(map(_own_precision, _libraries()))
    for library in _libraries():
        library.fp32_precision = "ieee"
    of_all = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    return of_all, before


def _own_precision(library: Any) -> str:
    """What products of a library are set to; "none" where they follow the setting of all."""
    import torch

    of_all: Any = torch.backends
    general, found = of_all.fp32_precision, library.fp32_precision
    of_all.fp32_precision = "ieee" if found == "tf32" else "tf32"
    follows = library.fp32_precision != found
    of_all.fp32_precision = general
    return "none" if follows else str(found)


def _restore_precision(before: tuple[str, list[str]]) -> None:
    import torch

    of_all, by_library = before
    torch.set_float32_matmul_precision(of_all)
    for library, precision in zip(_libraries(), by_library, strict=True):
        library.fp32_precision = precision


def _libraries() -> list[Any]:
    import torch

    products = (
        getattr(part, "matmul", None) for part in (torch.backends.cuda, torch.backends.mkldnn)
    )
    return [library for library in products if hasattr(library, "fp32_precision")]


#: Products of single-precision matrices in single precision while anyone is inside: torch may be
#: set to compute them in TF32 or bfloat16, with 11 or 8 binary digits.
FULL_PRECISION = WhileInside(_ask_for_full_precision, _restore_precision)
