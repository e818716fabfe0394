"""Noise that is added."""

from __future__ import annotations

from typing import Any

import numpy as np

from skinfo.noise.model import Noise


class AdditiveNoise(Noise):
    """T = S + sigma Z."""

    name = "additive"
    formula = "T = S + σ Z"
    title = ""
    adds_up = True

    @staticmethod
    def perturb(s: Any, z: Any, *sigmas: Any) -> Any:
        """Add the noise."""
        (sigma,) = sigmas
        return s + sigma * z

    def deviations(self, s: np.ndarray) -> np.ndarray:
        """Sigma in every row."""
        return np.broadcast_to(self.sigmas[0], s.shape[1:])
