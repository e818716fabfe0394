"""How every kernel is compiled: without the interpreter lock, cached where that is possible."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

# Reordering and fused multiply-add, but infinities and NaN keep their meaning: sums start at -inf.
FAST = {"reassoc", "contract", "arcp", "nsz"}
# A largest value vectorises only where NaN is ruled out.
NO_NAN = {"nnan", "nsz", "contract"}
# For code whose rounding is part of the algorithm.
EXACT = {"contract"}


def kernel(
    fastmath: set[str], *, inline: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a kernel on its first call; fall back to no cache where no directory is writable.

    ``inline`` is for what runs once a block: a call that passes arrays costs more than its work.
    """

    def compile_lazily(function: Callable[..., Any]) -> Callable[..., Any]:
        options: dict[str, Any] = {"nogil": True, "fastmath": fastmath, "error_model": "numpy"}
        options["forceinline"] = inline
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:
            return numba.njit(**options)(function)

    return compile_lazily
