"""A directory of one .safetensors a checkpoint, with one tensor a layer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from skinfo._files import write_atomically
from skinfo.errors import needs_extra
from skinfo.runs.naming import natural_order
from skinfo.runs.stores.base import Arrays, DirectoryStore, no_such_layer, reading

# What numpy calls the types of the format.
_TYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8",
    "BOOL": "bool", "C64": "complex64",
}  # fmt: skip


class SafetensorsStore(DirectoryStore):
    """Checkpoints of a directory, read one tensor at a time."""

    format = "safetensors"
    suffix = ".safetensors"

    def names(self, epoch: int) -> list[str]:
        """Tensors of a file: the format sorts them, so in the order of the numbers in them."""
        with self._open(epoch) as (file, _):
            return natural_order(file.keys())

    def read(self, epoch: int, layer: str) -> np.ndarray:
        """One tensor; bfloat16, which numpy lacks, becomes float32 of the same values."""
        with self._open(epoch, layer) as (file, path):
            if file.get_slice(layer).get_dtype() == "BF16":
                return _read_bfloat16(path, layer)
            return file.get_tensor(layer)

    def shape(self, epoch: int, layer: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type from the header of a file."""
        with self._open(epoch, layer) as (file, _):
            tensor = file.get_slice(layer)
            name = tensor.get_dtype()
            if name != "BF16" and name not in _TYPES:
                raise ValueError(f"numpy has no {name}")
            return tuple(tensor.get_shape()), np.dtype(_TYPES.get(name, "float32"))

    @contextmanager
    def _open(self, epoch: int, layer: str | None = None) -> Iterator[tuple[Any, Path]]:
        safetensors = _library()
        path = self.entry(epoch)
        with reading(path, layer, epoch), safetensors.safe_open(path, "np") as file:
            names = list(file.keys())
            if layer is not None and layer not in names:
                raise no_such_layer(names, path, layer, epoch)
            yield file, path

    def _write(self, path: Path, arrays: Arrays) -> None:
        _library()
        from safetensors.numpy import save

        tensors = {name: _native(array) for name, array in arrays}
        with write_atomically(path) as file:
            file.write(save(tensors))


def _native(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _read_bfloat16(path: Path, layer: str) -> np.ndarray:
    """A bfloat16 is the upper half of a float32."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        tensor = json.loads(file.read(length))[layer]
        start, end = tensor["data_offsets"]
        file.seek(8 + length + start)
        halves = np.frombuffer(file.read(end - start), dtype="<u2")
    values = (halves.astype(np.uint32) << 16).view(np.float32)
    return values.reshape(tensor["shape"])


def _library() -> Any:
    with needs_extra("Reading and writing safetensors", "runs"):
        import safetensors
    return safetensors
