"""Estimates kept as files of numbers, looked up by data, parameters and the code that made them."""

from __future__ import annotations

import hashlib
import json
import tempfile
import warnings
from collections.abc import Callable, Mapping
from numbers import Real
from pathlib import Path
from typing import Any, TypeVar

import joblib
from sklearn.base import BaseEstimator, clone

from skinfo.flow.estimators import last_step
from skinfo.flow.own_code import digest_code, digest_noise
from skinfo.noise import NOISES
from skinfo.quantities import Quantity
from skinfo.runs import Activations
from skinfo.runs.description import software_versions

Result = TypeVar("Result", bound=tuple[Any, ...])
# What a step before the estimator or the sweep sets for each layer.
_OF_A_LAYER = ("sigma", "noise", "bin_range")
# Longer files are none of ours.
_LONGEST = 2**24


class Keep:
    """Finished work in files of numbers; a file that is not whole, or forged, is made again.

    Two sweeps may share a directory. A file is believed if it holds the digest of its numbers and
    of its own name, which is a digest of data, parameters, code and versions.

    Raises
    ------
    ValueError
        For a directory that cannot be written, and for estimators that hold what cannot be told
        from another: an open connection, a generator.
    """

    def __init__(self, directory: str | Path | None, named: Mapping[str, BaseEstimator]) -> None:
        self._directory: Path | None = None
        self._codes: dict[str, str] = {}
        self._full = False
        if directory is None:
            return
        # Workers may run in other directories.
        self._directory = Path(directory).absolute()
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._directory) as file:
                file.write(b"0")
        except OSError as error:
            raise ValueError(f"memory={directory} cannot keep estimates: {error}.") from error
        self._codes = {name: digest_code(name, clone(e)) for name, e in named.items()}

    def digest(self, rows: Activations) -> str:
        """Hash the data, once for all estimators that share them."""
        return (
            ""
            if self._directory is None
            else joblib.hash((rows.X, rows.y, rows.groups, rows.scale, rows.clusters))
        )

    def result(
        self,
        work: Callable[[BaseEstimator, Activations], Result],
        name: str,
        estimator: BaseEstimator,
        digest: str,
        rows: Activations,
    ) -> Result:
        """Work with the estimator of a name on rows, or look up what equal work gave."""
        if self._directory is None:
            return work(estimator, rows)
        parameters = last_step(estimator).get_params(deep=False)
        of_layer = joblib.hash([parameters.get(name) for name in _OF_A_LAYER])
        of_layer += digest_noise(NOISES.get(parameters.get("noise", "")))
        key = [software_versions(), work.__name__, self._codes[name], of_layer, digest]
        file = self._directory / f"{_sha256(json.dumps(key))}.json"
        kept = _read(file)
        if kept is None:
            numbers = [_plain(one) for one in work(estimator, rows)]
            self._write(file, numbers)
            kept = numbers
        return tuple(map(_unplain, kept))  # type: ignore[return-value]

    def _write(self, file: Path, numbers: list[Any]) -> None:
        """Write a file; where that fails the sweep goes on, and says so once."""
        try:
            if file.exists() and not file.is_file():
                raise FileExistsError(f"{file} is no file")
            file.write_text(
                json.dumps({"numbers": numbers, "digest": _digest_numbers(file, numbers)}),
                encoding="utf-8",
            )
        except OSError as error:
            if not self._full:
                warnings.warn(
                    f"not all estimates are kept: {error}; the sweep goes on.",
                    UserWarning, stacklevel=2,
                )  # fmt: skip
            self._full = True


def _read(file: Path) -> list[Any] | None:
    """Numbers of a file; None where there are none that were written whole."""
    try:
        if not file.is_file() or file.stat().st_size > _LONGEST:
            return None
        entry = json.loads(file.read_text(encoding="utf-8"))
        numbers = entry["numbers"]
        return numbers if entry["digest"] == _digest_numbers(file, numbers) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _digest_numbers(file: Path, numbers: list[Any]) -> str:
    return _sha256(file.stem + json.dumps(numbers))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(one: Quantity | float) -> Any:
    if not isinstance(one, Quantity):
        return float(one)
    cells = vars(one).items()
    return {name: float(value) if isinstance(value, Real) else value for name, value in cells}


def _unplain(one: Any) -> Quantity | float:
    if not isinstance(one, dict):
        return float(one)
    cells: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in one.items()}
    return Quantity(**cells)
