"""What code does: a digest of estimators and of all that is in no package, for what is kept."""

from __future__ import annotations

import dis
import functools
import io
import platform
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module, util
from importlib.metadata import packages_distributions, version
from itertools import chain, pairwise
from pathlib import Path
from types import CodeType, FunctionType, MemberDescriptorType, ModuleType
from typing import Any

from joblib.hashing import Hasher, NumpyHasher
from sklearn.base import BaseEstimator

from skinfo._rows import as_array
from skinfo.errors import in_words
from skinfo.noise import Noise

_STANDARD = Path(sysconfig.get_paths()["stdlib"])
# What such a method is called on is what the code counts or logs in, not what it depends on.
_CHANGING = {"append", "appendleft", "add", "extend", "insert", "pop", "clear", "update", "remove"}
# Objects that hold no value.
_VALUELESS = (
    type(threading.Lock()), type(threading.RLock()), threading.Thread, threading.local, io.IOBase,
)  # fmt: skip


def digest_code(name: str, estimator: BaseEstimator) -> str:
    """Digest of the parameters of an estimator and of all code that is not from a package."""
    # An estimator may leave parameters out of its state.
    return _digest(name, lambda: (estimator, estimator.get_params()))


def digest_functions(*functions: Any) -> str:
    """Digest of functions that are not from a package, also in mappings, and of what is none."""
    return str(_CodeHasher().hash(functions))


@functools.cache
def digest_noise(noise: type[Noise] | None) -> str:
    """Digest of the code of a noise model that is not from a package."""
    return _digest("noise", lambda: noise)


def _digest(name: str, value: Callable[[], Any]) -> str:
    try:
        return str(_CodeHasher().hash(value()))
    # Objects raise errors of their own when they are asked for what they hold.
    except Exception as error:
        raise ValueError(
            f"{name}: memory= cannot tell what it depends on ({in_words(error)}). Keep what cannot "
            "be pickled out of its parameters and its code, or measure without memory=."
        ) from error


class _CodeHasher(NumpyHasher):
    """joblib's hash of a value, in which functions and classes count by what they do.

    Those of a package count by name and version. Others count by bytecode, and by the values,
    functions, classes and modules that it refers to: as they are, whatever their file says by now.
    """

    def __init__(self) -> None:
        super().__init__("sha256")
        # What was described, kept so that no other object can have its id.
        self._described: dict[int, tuple[int, Any]] = {}

    def save(self, value: Any) -> None:
        if isinstance(value, FunctionType | type | ModuleType):
            if id(value) in self._described:
                value = ("again", self._described[id(value)][0])
            else:
                self._described[id(value)] = len(self._described), value
                value = self._describe(value)
        elif isinstance(value, CodeType):
            value = _describe_code(value)
        elif isinstance(value, set | frozenset):
            value = (type(value).__name__, sorted(_CodeHasher().hash(one) for one in value))
        elif isinstance(value, staticmethod | classmethod):
            value = (type(value).__name__, value.__func__)
        elif isinstance(value, property):
            value = ("property", value.fget, value.fset, value.fdel)
        elif isinstance(value, _VALUELESS):
            value = type(value).__qualname__
        elif _is_compiled(value):
            value = ("compiled", value.__wrapped__)
        elif hasattr(type(value), "detach"):
            # torch pickles where a tensor lies as well, which is elsewhere in every process.
            value = (type(value).__qualname__, str(value.dtype), as_array(value))
        super().save(value)

    def _batch_setitems(self, items: Any, *more: Any) -> None:
        """Save a dict in the order of its keys; joblib's own leaves out what it cannot pickle."""
        pairs = list(items)
        by_name = all(isinstance(key, str) for key, _ in pairs)
        pairs.sort(key=lambda pair: pair[0] if by_name else _CodeHasher().hash(pair[0]))
        super(Hasher, self)._batch_setitems(iter(pairs), *more)

    def _describe(self, value: Any) -> tuple[Any, ...]:
        if isinstance(value, ModuleType):
            source = _package_version(value.__name__) or _source(value)
            return ("module", value.__name__, source)
        if isinstance(value, type):
            return self._describe_class(value)
        package = _package_version(value.__module__)
        if package and _has_its_name(value):
            return (value.__module__, value.__qualname__, package)
        code = value.__code__
        loaded, changed = _names(code)
        cells = dict(zip(code.co_freevars, value.__closure__ or (), strict=True))
        values = vars(value) | {n: c.cell_contents for n, c in cells.items() if _is_filled(c)}
        if not _package_version(value.__globals__.get("__name__")):
            values |= {n: inner for n, inner in value.__globals__.items() if n in loaded}
            values |= _imported(code, value.__globals__)
        return (
            value.__qualname__, code, value.__defaults__, value.__kwdefaults__,
            {n: _used(inner, loaded) for n, inner in values.items() if n not in changed},
        )  # fmt: skip

    def _describe_class(self, value: type) -> tuple[Any, ...]:
        package = _package_version(value.__module__)
        if package and _has_its_name(value):
            return (value.__module__, value.__qualname__, package)
        own = {
            name: inner for name, inner in vars(value).items()
            if not isinstance(inner, MemberDescriptorType) and name != "_abc_impl"
            and (not name.startswith("__") or isinstance(inner, FunctionType | classmethod))
        }  # fmt: skip
        codes = (getattr(getattr(v, "__func__", v), "__code__", None) for v in own.values())
        changed = set(chain.from_iterable(_names(code)[1] for code in codes if code is not None))
        members = {name: inner for name, inner in own.items() if name not in changed}
        return (value.__qualname__, type(value), value.__bases__, members)


def _describe_code(code: CodeType) -> tuple[Any, ...]:
    """All that bytecode does; names of files and numbers of lines left out."""
    return (
        code.co_code, code.co_consts, code.co_names, code.co_varnames, code.co_freevars,
        code.co_cellvars, code.co_flags, code.co_argcount, code.co_posonlyargcount,
        code.co_kwonlyargcount, code.co_exceptiontable,
    )  # fmt: skip


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _names(code: CodeType) -> tuple[set[str], set[str]]:
    """Names that code and the functions in it load, and those that it changes itself."""
    loaded: set[str] = set()
    changed: set[str] = set()
    for part in _codes(code):
        loaded.update(part.co_names)
        for before, here in pairwise(dis.get_instructions(part)):
            of_self = "LOAD_FAST" in before.opname
            if (
                here.opname == "STORE_GLOBAL"
                or (here.opname == "STORE_ATTR" and not of_self)
                or (here.opname == "STORE_DEREF" and here.argval in part.co_freevars)
            ):
                changed.add(here.argval)
            elif here.opname in ("LOAD_ATTR", "LOAD_METHOD") and here.argval in _CHANGING:
                changed.add(str(before.argval))
    return loaded, changed


def _imported(code: CodeType, names: Mapping[str, Any]) -> dict[str, ModuleType]:
    """Modules outside packages that code imports when it runs."""
    modules: dict[str, ModuleType] = {}
    for part in _codes(code):
        steps = list(dis.get_instructions(part))
        for level, step in zip(steps, steps[2:], strict=False):
            if step.opname == "IMPORT_NAME":
                relative = "." * level.argval + step.argval
                name = util.resolve_name(relative, names.get("__package__"))
                if _package_version(name) is None and util.find_spec(name) is not None:
                    modules[f"import {name}"] = import_module(name)
    return modules


def _used(value: Any, loaded: set[str]) -> Any:
    """A value; of a module outside packages what is used of it."""
    if not isinstance(value, ModuleType) or _package_version(value.__name__):
        return value
    return {name: _used(v, loaded - {name}) for name, v in vars(value).items() if name in loaded}


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _is_compiled(value: Any) -> bool:
    """Whether a value is a function behind functools.cache or numba."""
    module = type(value).__module__.partition(".")[0]
    return (module == "numba" or isinstance(value, functools._lru_cache_wrapper)) and isinstance(
        getattr(value, "__wrapped__", None), FunctionType
    )


def _has_its_name(value: Any) -> bool:
    """Whether a function or class is what its name stands for, so that the name tells it."""
    found: Any = sys.modules.get(value.__module__)
    for part in value.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is value


def _source(module: ModuleType) -> bytes:
    return Path(module.__file__).read_bytes() if module.__file__ else b""


@functools.cache
def _package_version(module: str | None) -> str | None:
    """Version of the package that a module belongs to; None where it is not installed."""
    top = (module or "__main__").partition(".")[0]
    if top == "__main__":
        return None
    if top == "skinfo":
        return version("skinfo")
    loaded = sys.modules.get(top)
    spec = util.find_spec(top) if loaded is None else getattr(loaded, "__spec__", None)
    places = [getattr(loaded, "__file__", None), getattr(spec, "origin", None)]
    places += list(getattr(spec, "submodule_search_locations", None) or ())
    files = [Path(place) for place in places if place and Path(place).exists()]
    if not files:
        return platform.python_version() if top in sys.stdlib_module_names else None
    if {"site-packages", "dist-packages"} & set(files[0].parts):
        names = packages_distributions().get(top, ())
        return " ".join(version(name) for name in names) or str(getattr(loaded, "__version__", "0"))
    return platform.python_version() if _STANDARD in files[0].parents else None
