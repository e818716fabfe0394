"""How kernels are compiled and run: cached, without the interpreter lock, in threads.

The same bits come out for any number of threads, of n_jobs, of linear algebra and of numba, and in
any thread, as linear algebra has one thread while anything is measured. Another processor, or rows
in Fortran's order, may change the last bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

import llvmlite.binding
import numba
from joblib import effective_n_jobs
from llvmlite import ir
from numba import types
from numba.extending import lower_builtin, type_callable
from threadpoolctl import OpenBLASController, ThreadpoolController

from skinfo._process_wide import WhileInside

# Reordering and fused multiply-add, but infinities and NaN keep their meaning: sums start at -inf.
FAST = {"reassoc", "contract", "arcp", "nsz"}
# A largest value vectorises only where NaN is ruled out.
NO_NAN = {"nnan", "nsz", "contract"}
# For code whose rounding is part of the algorithm.
EXACT = {"contract"}

_SLICE = 512
_Part = TypeVar("_Part")
_Result = TypeVar("_Result")


def kernel(
    fastmath: set[str], **options: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a kernel on its first call; the cache is used where it can be, and never needed."""
    options |= {"nogil": True, "fastmath": fastmath, "error_model": "numpy"}

    def compile_lazily(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            compiled = numba.njit(cache=True, **options)(function)
        except RuntimeError:
            return numba.njit(**options)(function)
        # Without compilation the function itself comes back.
        if hasattr(compiled, "_cache"):
            _make_optional(compiled._cache)
        return compiled

    return compile_lazily


def inner_kernel(
    fastmath: set[str], *, inline: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile what only kernels call, with no way in from Python: each costs as much as the code.

    ``inline`` is for what runs once per block: a call that passes arrays costs more than its work.
    """
    compile_lazily = kernel(
        fastmath, forceinline=inline, no_cpython_wrapper=True, no_cfunc_wrapper=True
    )
    return lambda function: _InnerKernel(function, compile_lazily(function))


class _InnerKernel:
    """A function that kernels call compiled, and Python as it is: it would call nothing."""

    def __init__(self, function: Callable[..., Any], compiled: Any) -> None:
        self._function = function
        self._compiled = compiled

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    @property
    def _numba_type_(self) -> Any:
        return self._compiled._numba_type_


def _make_optional(cache: Any) -> None:
    """Let a kernel be compiled where its cache cannot be read or written; numba would raise.

    A full disk, a quota, an entry that was cut short: what was damaged is begun anew.
    """
    load, save = cache.load_overload, cache.save_overload

    def load_if_possible(*arguments: Any) -> Any:
        try:
            return load(*arguments)
        except Exception:
            with suppress(Exception):
                cache.flush()
            return None

    def save_if_possible(*arguments: Any) -> None:
        with suppress(Exception):
            save(*arguments)

    cache.load_overload, cache.save_overload = load_if_possible, save_if_possible


def widen_registers() -> None:
    """Let loops of the kernel that calls this use 512-bit registers, where a processor has them.

    Left alone, LLVM keeps to 256 bits on most that have more. Functions that the kernel is inlined
    into keep its loops as they are; elsewhere nothing changes.
    """


@type_callable(widen_registers)
def _type_of_widening(_context: Any) -> Callable[[], Any]:
    return lambda: types.none


@lower_builtin(widen_registers)
def _lower_widening(context: Any, builder: Any, _signature: Any, _arguments: Any) -> Any:
    if _keeps_width():
        _set_width(builder.function)
    return context.get_dummy_value()


def _set_width(function: Any) -> None:
    names = ("min-legal-vector-width", "prefer-vector-width")
    # Its own method knows no attributes that have values.
    set.update(function.attributes, (f'"{name}"="512"' for name in names))


@cache
def _keeps_width() -> bool:
    """Whether llvmlite and LLVM take these attributes; else code is compiled without them."""
    with suppress(Exception):
        module = ir.Module()
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), ()), "widened")
        ir.IRBuilder(function.append_basic_block()).ret_void()
        _set_width(function)
        return '"prefer-vector-width"="512"' in str(llvmlite.binding.parse_assembly(str(module)))
    return False


def slices_of(n: int) -> list[slice]:
    """Slices of range(n), each as long as a thread should take at a time."""
    return [slice(start, min(start + _SLICE, n)) for start in range(0, n, _SLICE)]


def in_order(
    work: Callable[[_Part], _Result], parts: Sequence[_Part], n_jobs: int | None
) -> Iterator[_Result]:
    """Yield what ``work`` makes of each part, in the order of the parts, computed in threads.

    What is summed as it comes has the same bits for any number of threads. Matrix products within a
    part run on its own thread alone. Threads are counted as joblib does, but joblib's own look for
    results every hundredth of a second, which is as long as a fit takes.
    """
    n_threads = min(effective_n_jobs(n_jobs), len(parts))
    with ONE_BLAS_THREAD:
        if n_threads < 2:
            yield from map(work, parts)
        else:
            with ThreadPoolExecutor(n_threads) as pool:
                yield from pool.map(work, parts)


def _limit_blas() -> Any:
    _give_up_control()
    return _controller().limit(limits=1, user_api="blas")


def _lift_limit(limit: Any) -> None:
    _give_up_control()
    limit.restore_original_limits()
    _give_up_control()


#: Linear algebra on one thread while anyone is inside.
ONE_BLAS_THREAD = WhileInside(_limit_blas, _lift_limit)


def _give_up_control() -> None:
    """Let the next thread set OpenBLAS: threadpoolctl 3.8 does nothing, silently, in all but one.

    Here the last thread inside restores what the first one set, whichever they are.
    """
    if hasattr(OpenBLASController, "clear_controlling_thread"):
        OpenBLASController.clear_controlling_thread(force=True)


@cache
def _controller() -> ThreadpoolController:
    # What numba's matrix products call must be loaded before the controller looks for it.
    import scipy.linalg.cython_blas  # noqa: F401

    return ThreadpoolController()
