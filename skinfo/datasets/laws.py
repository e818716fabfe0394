"""Laws whose information with Gaussian noise is known, to test estimators on.

Each draws rows S and knows h(T) and I(S;T) of T = S + sigma Z, from an integral over a line or from
determinants. Values are in nats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtr
from sklearn.utils import check_random_state

__all__ = [
    "GaussianChain",
    "ProductLaw",
    "corners",
    "line_entropy",
    "noise_entropy",
    "uniform_cube",
]

Seed = int | np.random.RandomState | None


@dataclass(frozen=True)
class ProductLaw:
    """Independent coordinates of one law.

    Attributes
    ----------
    name : str
        Name of the law.
    n_units : int
        Number of coordinates, d.
    coordinate : callable
        ``coordinate(rng, shape)`` draws them.
    coordinate_entropy : callable
        ``coordinate_entropy(sigma)`` is the entropy of one of them with noise, in nats.
    """

    name: str
    n_units: int
    coordinate: Callable[[np.random.RandomState, tuple[int, int]], np.ndarray]
    coordinate_entropy: Callable[[float], float]

    def draw(self, n_samples: int, random_state: Seed = None) -> np.ndarray:
        """Draw rows S of shape (n_samples, n_units)."""
        return self.coordinate(check_random_state(random_state), (n_samples, self.n_units))

    def entropy(self, sigma: float) -> float:
        """Differential entropy h(S + sigma Z), in nats."""
        return self.n_units * self.coordinate_entropy(sigma)

    def mutual_info(self, sigma: float) -> float:
        """Information I(S; S + sigma Z), in nats."""
        return self.entropy(sigma) - self.n_units * noise_entropy(sigma)


def corners(n_units: int, *, size: float = 1.0, spread: float = 0.0) -> ProductLaw:
    """Make 2^d Gaussians at the corners of a cube.

    Every coordinate is +size or -size with equal probability, plus a normal variable of standard
    deviation ``spread``. Without spread this is binary phase-shift keying in d dimensions.

    Parameters
    ----------
    n_units : int
        Dimension d of the cube.
    size : float, default=1
        Half the side of the cube.
    spread : float, default=0
        Standard deviation of every Gaussian in every direction.

    Examples
    --------
    >>> from skinfo.datasets import corners
    >>> law = corners(2)
    >>> law.draw(3, random_state=0).shape, round(law.mutual_info(0.5), 6)
    ((3, 2), 1.26544)
    """
    centres = np.array([-size, size])

    def draw(rng: np.random.RandomState, shape: tuple[int, int]) -> np.ndarray:
        return centres[rng.randint(2, size=shape)] + spread * rng.standard_normal(shape)

    return ProductLaw(
        f"corners of the cube, d = {n_units}",
        n_units,
        draw,
        lambda sigma: line_entropy(centres, np.full(2, 0.5), float(np.hypot(sigma, spread))),
    )


def uniform_cube(n_units: int) -> ProductLaw:
    """Make the uniform law on the cube [-1, 1]^d.

    Examples
    --------
    >>> from skinfo.datasets import uniform_cube
    >>> round(uniform_cube(1).entropy(0.1), 10)
    0.7834669091
    """

    def entropy(sigma: float) -> float:
        step = min(sigma, 1) / 32
        t = np.arange(-1 - 9 * sigma, 1 + 9 * sigma + step, step)
        # By the nearer tail, which avoids differences of numbers close to 1.
        t = -np.abs(t)
        return _integrate((ndtr((t + 1) / sigma) - ndtr((t - 1) / sigma)) / 2, step)

    return ProductLaw(
        f"uniform on the cube, d = {n_units}",
        n_units,
        lambda rng, shape: rng.uniform(-1, 1, size=shape),
        entropy,
    )


@dataclass(frozen=True)
class GaussianChain:
    """Noisy linear layers after a standard normal input: T_l = T_{l-1} W_l + sigma Z, T_0 = X.

    Attributes
    ----------
    weights : sequence of ndarray
        W_l of shape (units before, units of the layer).
    sigma : float
        Standard deviation of the noise of every layer.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo.datasets import GaussianChain
    >>> chain = GaussianChain((np.eye(2), np.eye(2)), sigma=1.0)
    >>> [round(value, 6) for value in chain.mutual_info()]
    [0.693147, 0.405465]
    >>> [S.shape for S in chain.draw(5, n_replicas=3, random_state=0)]
    [(5, 2), (5, 3, 2)]
    """

    weights: Sequence[np.ndarray]
    sigma: float

    def draw(
        self, n_inputs: int, *, n_replicas: int = 1, random_state: Seed = None
    ) -> list[np.ndarray]:
        """Draw S_l of all layers for the same inputs.

        Returns
        -------
        list of ndarray
            (n_inputs, n_units) for the first layer, (n_inputs, n_replicas, n_units) for others.
        """
        rng = check_random_state(random_state)
        S = rng.standard_normal((n_inputs, len(self.weights[0]))) @ self.weights[0]
        layers, T = [S], np.repeat(S[:, None], n_replicas, axis=1)
        for W in self.weights[1:]:
            T = (T + self.sigma * rng.standard_normal(T.shape)) @ W
            layers.append(T)
        return layers

    def entropy(self) -> list[float]:
        """Differential entropy h(T_l) of each layer, in nats."""
        return [_gaussian_entropy(M.T @ M + noise) for M, noise in self._moments()]

    def conditional_entropy(self) -> list[float]:
        """Differential entropy h(T_l | X) of each layer, in nats."""
        return [_gaussian_entropy(noise) for _, noise in self._moments()]

    def mutual_info(self) -> list[float]:
        """Information I(X; T_l) of each layer, in nats."""
        pairs = zip(self.entropy(), self.conditional_entropy(), strict=True)
        return [total - conditional for total, conditional in pairs]

    def _moments(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """The map from X to the mean of T_l, and the covariance of T_l given X, of each layer."""
        k = len(self.weights[0])
        M, noise, moments = np.eye(k), np.zeros((k, k)), []
        for W in self.weights:
            M, noise = M @ W, W.T @ noise @ W + self.sigma**2 * np.eye(W.shape[1])
            moments.append((M, noise))
        return moments


def noise_entropy(sigma: float) -> float:
    """Differential entropy of one coordinate of the noise, in nats.

    Examples
    --------
    >>> round(noise_entropy(1.0), 6)
    1.418939
    """
    return 0.5 * float(np.log(2 * np.pi * np.e * sigma**2))


def line_entropy(points: np.ndarray, weights: np.ndarray, sigma: float) -> float:
    """Differential entropy of a mixture of Gaussians on a line, in nats.

    By the trapezoidal rule, which converges faster than any power of its step.

    Parameters
    ----------
    points, weights : ndarray of shape (n,)
        Centres and their probabilities.
    sigma : float
        Standard deviation of every Gaussian.

    Examples
    --------
    >>> import numpy as np
    >>> round(line_entropy(np.array([-2.0, 2.0]), np.array([0.5, 0.5]), 1.0), 10)
    2.0516587269
    """
    step = sigma / 16
    grid = np.arange(points.min() - 9 * sigma, points.max() + 9 * sigma, step)
    density = np.empty(len(grid))
    for part in np.array_split(np.arange(len(grid)), len(grid) // 500 + 1):
        terms = np.exp(-(((grid[part, None] - points) / sigma) ** 2) / 2)
        density[part] = terms @ weights / np.sqrt(2 * np.pi * sigma**2)
    return _integrate(density, step)


def _integrate(density: np.ndarray, step: float) -> float:
    positive = density[density > 0]
    return float(-np.sum(positive * np.log(positive)) * step)


def _gaussian_entropy(covariance: np.ndarray) -> float:
    return 0.5 * float(np.linalg.slogdet(2 * np.pi * np.e * covariance)[1])
