"""Noise of hardware: one part that is always there, and one in proportion to the activation."""

from __future__ import annotations

from typing import Any

import numpy as np

from skinfo.noise.model import Noise


class AffineNoise(Noise):
    """T = S + sqrt(a^2 + b^2 S^2) Z, the sum of two independent noises."""

    name = "affine"
    formula = "T = S + √(a² + b² S²) Z"
    parameters = ("a", "b")
    may_be_zero = frozenset({"b"})

    @staticmethod
    def perturb(s: Any, z: Any, *sigmas: Any) -> Any:
        """Add noise of both kinds."""
        a, b = sigmas
        return s + (a**2 + (b * s) ** 2) ** 0.5 * z

    def deviations(self, s: np.ndarray) -> np.ndarray:
        """Root of the sum of both variances."""
        a, b = self.sigmas
        return np.hypot(a, b * s)
