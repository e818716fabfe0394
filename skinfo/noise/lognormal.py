"""Information dropout: noise that is added to the logarithm of an activation."""

from __future__ import annotations

from math import e
from typing import Any

import numpy as np

from skinfo.noise.model import Coordinates, Noise


class LogNormalNoise(Noise):
    """T = S exp(sigma Z); signs stay, and a unit that is exactly zero has no noise.

    References
    ----------
    Achille and Soatto, "Information Dropout: Learning Optimal Representations Through Noisy
    Computation", IEEE PAMI 2018.
    """

    name = "lognormal"
    formula = "T = S exp(σ Z)"
    title = "log-normal noise, "
    adds_up = True

    @staticmethod
    def perturb(s: Any, z: Any, *sigmas: Any) -> Any:
        """Multiply by log-normal noise."""
        (sigma,) = sigmas
        return s * e ** (sigma * z)

    def coordinates(self, values: np.ndarray) -> Coordinates:
        """Logarithms of the sizes; signs never change."""
        pattern = np.sign(values).astype(np.int8)
        points = np.log(np.abs(np.where(pattern == 0, 1.0, values)))
        return Coordinates(points, pattern, points.sum(axis=1))

    def deviations(self, s: np.ndarray) -> np.ndarray:
        """Sigma in every row."""
        return np.broadcast_to(self.sigmas[0], s.shape[1:])
