"""Data sets of the field, made by their formulas, and laws with known information."""

from skinfo.datasets.formulas import make_constellation, make_spiral, make_szt
from skinfo.datasets.laws import (
    GaussianChain,
    corners,
    line_entropy,
    noise_entropy,
    uniform_cube,
)

__all__ = [
    "GaussianChain",
    "corners",
    "line_entropy",
    "make_constellation",
    "make_spiral",
    "make_szt",
    "noise_entropy",
    "uniform_cube",
]
