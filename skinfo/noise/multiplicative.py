"""Gaussian dropout: noise in proportion to the activation."""

from __future__ import annotations

from typing import Any

import numpy as np

from skinfo.noise.model import Coordinates, Noise


class MultiplicativeNoise(Noise):
    """T = S (1 + sigma Z); a unit that is exactly zero has no noise.

    References
    ----------
    Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR
    2014, section 10.
    """

    name = "multiplicative"
    formula = "T = S (1 + σ Z)"
    title = "Gaussian dropout, "

    @staticmethod
    def perturb(s: Any, z: Any, *sigmas: Any) -> Any:
        """Multiply by noise around 1."""
        (sigma,) = sigmas
        return s * (1 + sigma * z)

    @classmethod
    def beside(cls, sigma: float) -> str:
        """The rate of dropout of the same variance."""
        return f" (rate {sigma**2 / (1 + sigma**2):.3g})"

    def coordinates(self, values: np.ndarray) -> Coordinates:
        """The values themselves; which of them are zero never changes."""
        return Coordinates(values, (values != 0).astype(np.int8))

    def deviations(self, s: np.ndarray) -> np.ndarray:
        """Sigma times the size of each activation."""
        return self.sigmas[0] * np.abs(s)


def dropout_sigma(rate: Any) -> Any:
    r"""Standard deviation of Gaussian dropout that varies as dropout of a rate does.

    .. math:: \sigma = \sqrt{p / (1 - p)}

    Parameters
    ----------
    rate : float or array-like
        Probability p with which dropout leaves a unit out, between 0 and 1.

    Returns
    -------
    float or ndarray
        The sigma of multiplicative noise.

    Raises
    ------
    ValueError
        For a rate that is not between 0 and 1.

    References
    ----------
    Srivastava et al., "Dropout", JMLR 2014, section 10.

    Examples
    --------
    >>> dropout_sigma([0.2, 0.5]).tolist()
    [0.5, 1.0]
    """
    rates = np.asarray(rate, dtype=np.float64)
    if not ((rates > 0) & (rates < 1)).all():
        raise ValueError(f"a rate of dropout lies between 0 and 1; got {rate!r}.")
    sigma = np.sqrt(rates / (1 - rates))
    return sigma if sigma.ndim else float(sigma)
