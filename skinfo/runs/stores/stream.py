"""One .npy in a stream."""

from __future__ import annotations

from typing import IO

import numpy as np


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of a .npy file."""
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"version {version} of the .npy format is not known")
    shape, _, dtype = read(file)
    return shape, dtype


def write_npy(file: IO[bytes], array: np.ndarray) -> None:
    """Write a .npy; what goes wrong is the system's own error, with its number."""

    class Stream:
        # A file itself numpy hands to the C library, which does not say why it stopped.
        write = staticmethod(file.write)

    np.lib.format.write_array(Stream(), array, allow_pickle=False)
