"""Kernels are compiled where nothing can be written, and for the registers of the processor."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest
from compilation import COMPILED
from llvmlite.ir import values

import skinfo
from skinfo import _numba

CODE = """
import sys
import numpy as np
import skinfo
from skinfo.binned.kernels import mark_shared
assert skinfo.__file__.startswith(sys.argv[1]), skinfo.__file__
X = np.arange(12.0).reshape(6, 2) % 5
print(skinfo.BinningMIEstimator(bin_width=1.0).fit(X).n_occupied_)
print(mark_shared.stats.cache_path)
"""


def run_copy(place, *before, **environment):
    """Run the code on the copy of the package in ``place``; what it printed.

    Where files may hold nothing joblib has no semaphores, and says so.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA")} | environment
    environment |= {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    found = subprocess.run(
        [*before, sys.executable, "-W", "error", "-W", "ignore:[Errno 27]", "-c", CODE, str(place)],
        capture_output=True, text=True, check=False, env=environment, cwd=place,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    return found.stdout.split()


@pytest.fixture
def place(tmp_path):
    """A copy of the package, and a file where a directory would have to be to write anything.

    Permissions would not do: they do not bind an administrator.
    """
    package = Path(skinfo.__file__).parent
    shutil.copytree(package, tmp_path / "skinfo", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "file").touch()
    return tmp_path


def test_works_where_no_cache_directory_is_writable(place):
    (place / "skinfo" / "binned" / "__pycache__").touch()
    names = ("HOME", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")
    assert run_copy(place, **dict.fromkeys(names, str(place / "file"))) == ["5", "None"]


def test_the_cache_is_used_where_one_is_writable(place):
    """Else the test above would hold for any reason."""
    n_occupied, cache = run_copy(place, NUMBA_CACHE_DIR=str(place / "cache"))
    assert n_occupied == "5"
    assert cache.startswith(str(place / "cache"))
    assert list(Path(cache).glob("kernels.mark_shared*.nbc"))


@pytest.mark.skipif(os.name == "nt", reason="no limits of a process")
def test_works_where_files_may_hold_nothing(place):
    """A quota that is used up: numba's cache raised OSError in every fit."""
    limited = ("sh", "-c", 'ulimit -f 0; exec "$@"', "sh")
    assert run_copy(place, *limited, NUMBA_CACHE_DIR=str(place / "cache"))[0] == "5"


def test_works_where_the_cache_was_cut_short(place):
    """And the entry is made again."""
    cache = Path(run_copy(place, NUMBA_CACHE_DIR=str(place / "cache"))[1])
    (cut,) = cache.glob("kernels.mark_shared*.nbc")
    whole = cut.read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    assert run_copy(place, NUMBA_CACHE_DIR=str(place / "cache"))[0] == "5"
    assert len(cut.read_bytes()) == len(whole)


# Compiled and not run: this processor may be another.
REGISTERS = """
import numba
from skinfo.noisy.kernels.blocks import sum_block

@numba.njit(fastmath={"contract"})
def caller(exponents, weights):
    return sum_block(exponents, weights, 0)

caller.compile((numba.float64[::1], numba.float64[:, :, ::1]))
(assembly,) = caller.inspect_asm().values()
print("zmm" in assembly, "ymm" in assembly)
"""


@pytest.mark.skipif(not COMPILED, reason="nothing is compiled")
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="other registers")
def test_loops_take_512_bits_where_a_processor_has_them():
    """Also where a kernel is inlined into a function that asks for nothing."""
    processors = {"skylake-avx512": "True", "haswell": "False"}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", REGISTERS], stdout=subprocess.PIPE, text=True,
            env={**os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": ""},
        )
        for name in processors
    ]  # fmt: skip
    printed = [process.communicate()[0].split() for process in running]
    assert [words[0] for words in printed] == list(processors.values())
    assert printed[1] == ["False", "True"]


class AttributesInAList(list):
    """What a function's attributes might be in another llvmlite."""

    add = list.append
    discard = list.remove

    def _to_list(self, _):
        return self


def list_known(attributes, _):
    """What another might write of them."""
    assert attributes <= attributes._known
    return sorted(attributes)


@pytest.mark.skipif(not COMPILED, reason="nothing is compiled")
@pytest.mark.parametrize(
    ("place", "name", "other"),
    [
        (values, "FunctionAttributes", AttributesInAList),
        (values.FunctionAttributes, "_to_list", list_known),
    ],
)
def test_compiles_where_llvmlite_takes_no_other_attributes(place, name, other, monkeypatch):
    monkeypatch.setattr(place, name, other)
    monkeypatch.setattr(_numba, "_keeps_width", _numba._keeps_width.__wrapped__)

    @numba.njit
    def total(numbers):
        _numba.widen_registers()
        return numbers.sum()

    assert total(np.arange(5.0)) == 10
    assert not _numba._keeps_width()
