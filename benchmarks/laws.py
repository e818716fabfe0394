"""Laws whose information with Gaussian noise needs no sampling, in nats.

Finite laws are the inputs themselves. Populations are drawn from; where noise comes before the
layer, every input drawn has replicas. All values are sums or integrals of smooth functions by the
trapezoidal rule, which converges faster than any power of its step; ``check`` holds them against
each other and against values computed elsewhere.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from scipy.special import logsumexp, ndtr

from skinfo import NoisyMIEstimator
from skinfo.datasets import line_entropy, make_constellation, noise_entropy

# Standard normal nodes and weights: densities of everything that is a function of one normal.
_NODES = np.arange(-9, 9, 1 / 64)
_WEIGHTS = np.exp(-(_NODES**2) / 2) / np.sqrt(2 * np.pi) / 64
# Of every layer of the linear chains.
_CHAIN_SIGMA = 0.2


@dataclass(frozen=True)
class FiniteLaw:
    """Equally likely rows, all there are."""

    name: str
    points: np.ndarray
    sigma: Any
    information: float
    tol: float
    noise: str = "additive"
    scale: np.ndarray | None = None  # of every row and unit, in the place of sigma

    @property
    def deficit(self) -> float:
        """How far information is below log n."""
        return float(np.log(len(self.points))) - self.information


@dataclass(frozen=True)
class Population:
    """A law to draw inputs from.

    ``draw(rng)`` gives rows, their inputs or None, labels or None, and, if they have them, the
    scale of their noise (or None) and their clusters.
    """

    name: str
    draw: Callable[[np.random.Generator], tuple[np.ndarray | None, ...]]
    sigma: Any
    information: float
    label_information: float | None = None
    population: bool = True
    noise: str = "additive"
    bayes_error: float | None = None
    entropy: float | None = None  # h(T)


def make_estimator(law: FiniteLaw | Population, **options: Any) -> NoisyMIEstimator:
    if law.noise == "per row":
        return NoisyMIEstimator(**options)
    return NoisyMIEstimator(law.sigma, noise=law.noise, **options)


def line_information(points: np.ndarray, sigma: float) -> float:
    """Information of equally likely points on a line."""
    weights = np.full(len(points), 1 / len(points))
    return line_entropy(points, weights, sigma) - noise_entropy(sigma)


def unequal_information(
    points: np.ndarray, deviations: np.ndarray, weights: np.ndarray | None = None
) -> float:
    """Information of points on a line, each with a deviation of its own, equally likely or not."""
    weights = np.full(len(points), 1 / len(points)) if weights is None else weights
    step = deviations.min() / 16
    low, high = np.min(points - 9 * deviations), np.max(points + 9 * deviations)
    entropy = 0.0
    for t in np.array_split(np.arange(low, high, step), 1 + int((high - low) / step / 2000)):
        z = (t[:, None] - points) / deviations
        density = np.exp(-(z**2) / 2) @ (weights / deviations) / np.sqrt(2 * np.pi)
        positive = density[density > 0]
        entropy -= float(positive @ np.log(positive)) * step
    return entropy - float(weights @ np.log(deviations)) - noise_entropy(1.0)


def unit_information(
    noise: str, sigma: Any, rows: Sequence[float], weights: np.ndarray | None = None
) -> float:
    """Information of one unit; exact zeros, or signs, and what noise leaves of the others."""
    s = np.asarray(rows, dtype=float)
    weights = np.full(len(s), 1 / len(s)) if weights is None else weights
    if noise == "per row":
        return unequal_information(s, np.asarray(sigma, dtype=float), weights)
    if noise == "affine":
        return unequal_information(s, np.hypot(sigma[0], sigma[1] * s), weights)
    kinds = np.sign(s) if noise == "lognormal" else (s != 0).astype(float)
    total = 0.0
    for kind in np.unique(kinds):
        own = kinds == kind
        mass = weights[own].sum()
        total -= mass * np.log(mass)
        if kind:
            size = np.abs(s[own])
            inside = (s[own], sigma * size)
            if noise == "lognormal":
                inside = (np.log(size), np.full(len(size), sigma))
            total += mass * unequal_information(*inside, weights[own] / mass)
    return float(total)


def plane_information(points: np.ndarray, sigma: float) -> float:
    """Information of equally likely points in the plane."""
    step = sigma / 12
    low, high = points.min(axis=0) - 9 * sigma, points.max(axis=0) + 9 * sigma
    x, y = (np.arange(a, b, step) for a, b in zip(low, high, strict=True))
    entropy = 0.0
    for column in x:
        square = (column - points[:, 0]) ** 2 + (y[:, None] - points[:, 1]) ** 2
        logs = logsumexp(-square / (2 * sigma**2), axis=1)
        logs -= np.log(len(points) * 2 * np.pi * sigma**2)
        entropy -= np.sum(np.exp(logs) * logs) * step**2
    return float(entropy) - 2 * noise_entropy(sigma)


def binary_information(sigma: float) -> float:
    """Information of a fair sign."""
    return line_information(np.array([-1.0, 1.0]), sigma)


def orthogonal_information(n: int, sigma: float) -> float:
    r"""Information of n equally likely orthogonal signals of length sqrt(n).

    With rho = sqrt(n) / sigma and independent normal z_j it is

    .. math:: \log n + \rho^2 - E \log\Bigl(e^{\rho^2 + \rho z_1} + \sum_{j>1} e^{\rho z_j}\Bigr),

    and for any positive w, log w is the integral of (exp(-u) - exp(-u w)) / u over u > 0: the
    expectation of exp(-u w) is a product of Laplace transforms of lognormal variables.
    """
    rho = np.sqrt(n) / sigma
    step = 1 / 32
    log_u = np.arange(-36 - rho**2 - 9 * rho, 9 * rho + 4, step)

    def transform(shift: float) -> np.ndarray:
        exponents = np.minimum(log_u[:, None] + shift + rho * _NODES, 700.0)
        return np.exp(-np.exp(exponents)) @ _WEIGHTS

    difference = np.exp(-np.exp(log_u)) - transform(rho**2) * transform(0.0) ** (n - 1)
    return float(np.log(n) + rho**2 - np.sum(difference) * step)


def uniform_entropy(sigma: float) -> float:
    """Entropy of a uniform variable on [-1, 1] with noise; by the midpoint rule, to 1e-6."""
    middles = (np.arange(4000) + 0.5) / 2000 - 1
    return line_entropy(middles, np.full(4000, 1 / 4000), sigma)


def check() -> None:
    """Values that two ways lead to agree, and so do those with a closed form."""
    cube = np.array(list(product([-1.0, 1.0], repeat=2)))
    for sigma in (0.3, 1.0, 3.0):
        one = binary_information(sigma)
        np.testing.assert_allclose(plane_information(cube, sigma), 2 * one, atol=1e-10)
        # Two orthogonal signals of length sqrt(2) are a sign: their distance is 2.
        np.testing.assert_allclose(orthogonal_information(2, sigma), one, atol=1e-10)
    normal = line_entropy(_NODES, _WEIGHTS, 0.5) - noise_entropy(0.5)
    np.testing.assert_allclose(normal, 0.5 * np.log(5), atol=1e-10)
    np.testing.assert_allclose(binary_information(0.5), 0.632720193737, atol=1e-11)
    np.testing.assert_allclose(uniform_entropy(0.1), 0.7834669091, atol=1e-6)
    for noise, sigma, rows, value in (
        ("multiplicative", 0.3, (1, 2, 3), 0.5415799937),
        ("multiplicative", 0.3, (0, 0, 1, 2), 0.8902710791),
        ("affine", (0.2, 0.3), (0, 1, 2), 0.7981178210),
        ("lognormal", 0.5, (-1, 1, np.e), 0.8610680485),
        ("per row", (1, 0.5), (-1, 1), 0.4743074112),
        ("per row", (1, 10), (0, 0), 0.4333107188),
    ):
        np.testing.assert_allclose(unit_information(noise, sigma, rows), value, atol=1e-9)


def cube(d: int, sigma: float, tol: float) -> FiniteLaw:
    """All signs in d dimensions: d independent binary channels."""
    points = np.array(list(product([-1.0, 1.0], repeat=d)))
    return FiniteLaw("cube", points, sigma, d * binary_information(sigma), tol)


def orthogonal(d: int, sigma: float, tol: float) -> FiniteLaw:
    """One signal an axis, of length sqrt(d)."""
    points = np.sqrt(d) * np.eye(d)
    return FiniteLaw("orthogonal", points, sigma, orthogonal_information(d, sigma), tol)


def constellation(kind: str, n: int, sigma: float, tol: float) -> FiniteLaw:
    """A digital modulation of unit power."""
    points = make_constellation(kind, n)[0]
    plane = points.shape[1] == 2
    value = plane_information(points, sigma) if plane else line_information(points[:, 0], sigma)
    return FiniteLaw(f"{n}-{kind.upper()}", points, sigma, value, tol)


def product_law(
    noise: str, sigma: Any, rows: Sequence[float], d: int, tol: float, name: str
) -> FiniteLaw:
    """All combinations of the rows of d units; "per row" sigma holds their scales."""
    points = np.array(list(product(rows, repeat=d)), dtype=float)
    scale = np.array(list(product(sigma, repeat=d)), dtype=float) if noise == "per row" else None
    information = d * unit_information(noise, sigma, rows)
    return FiniteLaw(f"{noise}: {name}", points, sigma, information, tol, noise, scale)


def noisy_laws() -> list[FiniteLaw]:
    """Laws of noise that is not additive, or not the same for all rows."""
    return [
        product_law("multiplicative", 0.3, (1, 2, 3), 2, 0.002, "1, 2, 3"),
        product_law("multiplicative", 0.3, (0, 0, 1, 2), 2, 0.002, "ReLU of four points"),
        product_law("multiplicative", 1.0, (-2, -1, 1, 2), 3, 0.005, "both signs"),
        product_law("affine", (0.2, 0.3), (0, 1, 2), 2, 0.002, "0, 1, 2"),
        product_law("affine", (0.2, 0.3), (0, 1, 2), 4, 0.005, "0, 1, 2"),
        product_law("affine", (0.5, 1.0), (-1, 0, 3), 3, 0.005, "-1, 0, 3"),
        product_law("lognormal", 0.5, (np.exp(-1), 1, np.e), 3, 0.005, "1/e, 1, e"),
        product_law("lognormal", 0.5, (-1, 1, np.e), 2, 0.002, "-1, 1, e"),
        product_law("lognormal", 0.5, (0, 0, 1, 2), 3, 0.005, "ReLU of four points"),
        product_law("per row", (1, 2), (0, 0), 4, 0.002, "one centre, deviations 1, 2"),
        product_law("per row", (1, 0.5), (-1, 1), 3, 0.002, "-1 ± 1, 1 ± 0.5"),
        product_law("per row", (0.1, 1, 10), (0, 0, 0), 3, 0.005, "one centre, 0.1, 1, 10"),
    ]


def finite_laws() -> list[FiniteLaw]:
    """Constellations, cubes and orthogonal signals, from almost no information to almost all."""
    return [
        cube(1, 1.0, 0.01),
        constellation("pam", 4, 0.3, 0.01),
        *(cube(d, 1.0, 0.002) for d in (2, 3, 4, 5)),
        *(cube(d, 1.0, 0.005) for d in (6, 7, 8)),
        *(cube(d, 1.0, 0.01) for d in (9, 10)),
        *(cube(d, 0.5, tol) for d, tol in ((2, 0.002), (5, 0.005), (10, 0.01))),
        *(cube(d, 2.0, tol) for d, tol in ((2, 0.002), (5, 0.005), (10, 0.01))),
        *(constellation("psk", 8, sigma, 0.002) for sigma in (0.2, 0.3, 0.5, 1.0)),
        *(constellation("qam", 16, sigma, 0.002) for sigma in (0.2, 0.3, 0.6)),
        *(orthogonal(16, sigma, 0.005) for sigma in (1.2, 1.6, 2.5)),
        *(orthogonal(32, sigma, 0.01) for sigma in (1.2, 1.6, 2.5)),
        *(constellation("psk", 8, sigma, 0.01) for sigma in (0.08, 0.1, 0.12, 0.15, 4.0)),
        *(cube(d, 0.3, 0.01) for d in (2, 5, 10)),
        *(cube(d, 8.0, 0.01) for d in (2, 5)),
        *(orthogonal(16, sigma, 0.01) for sigma in (0.8, 1.0, 12.0)),
        *(orthogonal(32, sigma, 0.01) for sigma in (0.8, 1.0, 16.0)),
        *noisy_laws(),
    ]


def replicated(S: np.ndarray) -> tuple[np.ndarray, np.ndarray, None]:
    """Rows and inputs of an array (n_inputs, n_replicas, d), no labels."""
    n, r, d = S.shape
    return S.reshape(-1, d), np.repeat(np.arange(n), r), None


def chain_weights(d: int) -> list[np.ndarray]:
    """Linear layers 4 -> 4 -> 3 -> d."""
    rng = np.random.default_rng(7)
    return [rng.normal(size=(a, b)) / np.sqrt(a) for a, b in ((4, 4), (4, 3), (3, d))]


def propagate(weights: list[np.ndarray], X: np.ndarray, r: int, rng: np.random.Generator):
    """S of the last of several linear layers, (n_inputs, r, d); all but it add their noise."""
    T = np.repeat(X[:, None], r, axis=1)
    for W in weights[:-1]:
        S = T @ W
        T = S + _CHAIN_SIGMA * rng.normal(size=S.shape)
    return T @ weights[-1]


def chain_covariances(weights: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The map from X to the mean of T, and the covariance of T given X."""
    M, noise = np.eye(4), np.zeros((4, 4))
    for W in weights:
        M, noise = M @ W, W.T @ noise @ W + _CHAIN_SIGMA**2 * np.eye(W.shape[1])
    return M, noise


def gaussian_chain(d: int, n: int, r: int) -> Population:
    """Three noisy linear layers after four normal inputs."""
    weights = chain_weights(d)
    M, noise = chain_covariances(weights)
    total = 0.5 * np.linalg.slogdet(M.T @ M + noise)[1]
    truth = total - 0.5 * np.linalg.slogdet(noise)[1]
    return Population(
        f"linear chain, {n} x {r}",
        lambda rng: replicated(propagate(weights, rng.normal(size=(n, 4)), r, rng)),
        _CHAIN_SIGMA,
        float(truth),
        entropy=float(total) + d * noise_entropy(1.0),
    )


def given_chain(d: int, n: int, r: int) -> Population:
    """The same chain after n fixed inputs, which are all there are; d is 1 or 2."""
    weights = chain_weights(d)
    M, noise = chain_covariances(weights)
    X = np.random.default_rng(5).normal(size=(n, 4))
    # With the noise made white, T is a mixture of n unit Gaussians.
    white = X @ M @ np.linalg.inv(np.linalg.cholesky(noise)).T
    truth = line_information(white[:, 0], 1.0) if d == 1 else plane_information(white, 1.0)
    return Population(
        f"given inputs, linear chain, {n} x {r}",
        lambda rng: replicated(propagate(weights, X, r, rng)),
        _CHAIN_SIGMA,
        truth,
        population=False,
    )


def gaussian_layer(d: int, n: int, sigma: float) -> Population:
    """Normal rows, no noise before them: d Gaussian channels."""
    return Population(
        f"normal, {n} rows",
        lambda rng: (rng.normal(size=(n, d)), None, None),
        sigma,
        0.5 * d * float(np.log1p(sigma**-2)),
    )


def uniform_layer(d: int, n: int, sigma: float) -> Population:
    """Rows uniform on a cube."""
    return Population(
        f"uniform, {n} rows",
        lambda rng: (rng.uniform(-1, 1, size=(n, d)), None, None),
        sigma,
        d * (uniform_entropy(sigma) - noise_entropy(sigma)),
    )


def tanh_layer(d: int, n: int, sigma: float) -> Population:
    """tanh(2 x) of normal x in every coordinate."""
    entropy = line_entropy(np.tanh(2 * _NODES), _WEIGHTS, sigma)
    return Population(
        f"tanh, {n} rows",
        lambda rng: (np.tanh(2 * rng.normal(size=(n, d))), None, None),
        sigma,
        d * (entropy - noise_entropy(sigma)),
    )


def tanh_chain(d: int, n: int, r: int, sigma: float) -> Population:
    """tanh(2 (x + sigma z)) of normal x in every coordinate: noise before the layer and after."""

    def draw(rng: np.random.Generator):
        T = rng.normal(size=(n, 1, d)) + sigma * rng.normal(size=(n, r, d))
        return replicated(np.tanh(2 * T))

    entropy = line_entropy(np.tanh(2 * np.hypot(1, sigma) * _NODES), _WEIGHTS, sigma)
    some = slice(None, None, 16)
    conditional = sum(
        16 * weight * line_entropy(np.tanh(2 * (x + sigma * _NODES)), _WEIGHTS, sigma)
        for x, weight in zip(_NODES[some], _WEIGHTS[some], strict=True)
    )
    return Population(f"tanh chain, {n} x {r}", draw, sigma, d * (entropy - float(conditional)))


def given_bent_chain(name: str, d: int, counts: tuple[int, ...], sigma: float) -> Population:
    """tanh or ReLU of 2 (x + sigma z) in every coordinate, with x of a given grid; and noise in it.

    Inputs have so many replicas in turn.
    """
    bend = {"tanh": np.tanh, "ReLU": lambda s: np.maximum(s, 0)}[name]
    grid = np.array([-1.2, -0.5, 0.1, 0.6, 1.3])
    inputs = np.array(list(product(grid, repeat=d)))
    groups = np.repeat(np.arange(len(inputs)), np.resize(counts, len(inputs)))

    def draw(rng: np.random.Generator):
        T = inputs[groups] + sigma * rng.normal(size=(len(groups), d))
        return bend(2 * T), groups, None

    centres = bend(2 * (grid[:, None] + sigma * _NODES))
    entropy = line_entropy(centres.ravel(), np.tile(_WEIGHTS, len(grid)) / len(grid), sigma)
    conditional = np.mean([line_entropy(of_input, _WEIGHTS, sigma) for of_input in centres])
    numbers = " or ".join(map(str, counts))
    return Population(
        f"given inputs, {name} chain, {len(inputs)} x {numbers}", draw, sigma,
        d * (entropy - float(conditional)), population=False,
    )  # fmt: skip


def two_classes(d: int, n: int, sigma: float) -> Population:
    """Normal rows around +1 or -1 in the first coordinate; the label is the sign of the centre."""
    spread = np.hypot(1, sigma)
    centres = np.concatenate([_NODES - 1, _NODES + 1])
    first = line_entropy(centres, np.tile(_WEIGHTS, 2) / 2, sigma) - noise_entropy(sigma)
    rest = 0.5 * (d - 1) * float(np.log1p(sigma**-2))

    def draw(rng: np.random.Generator):
        y = rng.integers(0, 2, size=n)
        S = rng.normal(size=(n, d))
        S[:, 0] += 2 * y - 1
        return S, None, y

    return Population(
        f"two classes, {n} rows", draw, sigma, first + rest, binary_information(spread),
        bayes_error=float(ndtr(-1 / spread)),
    )  # fmt: skip


def far_classes(shares: np.ndarray, n: int, name: str) -> Population:
    """Classes that no noise confuses: I(Y;T) is H(Y), and each is normal, as wide as the noise."""
    entropy = -float(shares @ np.log(shares))

    def draw(rng: np.random.Generator):
        y = rng.choice(len(shares), size=n, p=shares)
        return (40.0 * y + rng.normal(size=n))[:, None], None, y

    return Population(
        f"{name}, {n} rows", draw, 1.0, entropy + 0.5 * np.log(2), entropy, bayes_error=0.0
    )


def rare_mode(share: float, n: int) -> Population:
    """Normal rows, and far from them a point that share / n of the rows are at."""
    mass = share / n
    inside = 0.5 * np.log(2)
    entropy = -float(mass * np.log(mass) + (1 - mass) * np.log1p(-mass))

    def draw(rng: np.random.Generator):
        return np.where(rng.uniform(size=n) < mass, 40.0, rng.normal(size=n))[:, None], None, None

    return Population(f"a mode of {share:g}/n, {n} rows", draw, 1.0, entropy + (1 - mass) * inside)


def drawn_points(
    noise: str, sigma: Any, rows: Sequence[float], d: int, n: int, name: str
) -> Population:
    """Inputs whose every unit is one of a few points, equally likely."""
    return Population(
        f"{noise}: {name}, {n} rows",
        lambda rng: (rng.choice(np.asarray(rows, dtype=float), size=(n, d)), None, None),
        sigma,
        d * unit_information(noise, sigma, rows),
        noise=noise,
    )


def uniform_between(noise: str, sigma: Any, low: float, high: float, d: int, n: int) -> Population:
    """Rows uniform on a cube."""
    middles = low + (high - low) * (np.arange(2000) + 0.5) / 2000
    return Population(
        f"{noise}: uniform on [{low:g}, {high:g}], {n} rows",
        lambda rng: (rng.uniform(low, high, size=(n, d)), None, None),
        sigma,
        d * unit_information(noise, sigma, middles),
        noise=noise,
    )


def lognormal_layer(d: int, n: int, sigma: float) -> Population:
    """Logarithms that are standard normal: d Gaussian channels."""
    return Population(
        f"lognormal: exp(normal), {n} rows",
        lambda rng: (np.exp(rng.normal(size=(n, d))), None, None),
        sigma,
        0.5 * d * float(np.log1p(sigma**-2)),
        noise="lognormal",
    )


def signed_layer(n: int, sigma: float) -> Population:
    """Of either sign, which is the label, and a normal logarithm; the noise leaves the sign."""

    def draw(rng: np.random.Generator):
        y = rng.integers(0, 2, size=n)
        return ((2 * y - 1) * np.exp(rng.normal(size=n)))[:, None], None, y

    inside = 0.5 * float(np.log1p(sigma**-2))
    name = f"lognormal: ±exp(normal), {n} rows"
    return Population(name, draw, sigma, np.log(2) + inside, np.log(2), noise="lognormal")


def lognormal_chain(d: int, n: int, r: int, sigma: float) -> Population:
    """exp(x + sigma z) of normal x: noise before the layer, and as much in it."""

    def draw(rng: np.random.Generator):
        return replicated(np.exp(rng.normal(size=(n, 1, d)) + sigma * rng.normal(size=(n, r, d))))

    truth = 0.5 * d * float(np.log1p(1 / (2 * sigma**2)))
    return Population(f"lognormal: chain, {n} x {r}", draw, sigma, truth, noise="lognormal")


def given_dropout_chain(d: int, r: int, sigma: float) -> Population:
    """Given inputs 1, 2, 4 in each unit, times 0.7, 1 or 1.3 before the layer, and noise in it."""
    inputs = np.array(list(product((1.0, 2.0, 4.0), repeat=d)))
    factors = np.array([0.7, 1.0, 1.3])

    def draw(rng: np.random.Generator):
        return replicated(inputs[:, None] * rng.choice(factors, size=(len(inputs), r, d)))

    every = np.outer((1, 2, 4), factors).ravel()
    truth = unit_information("multiplicative", sigma, every) - unit_information(
        "multiplicative", sigma, factors
    )
    return Population(
        f"multiplicative: given inputs, {len(inputs)} x {r}", draw, sigma, d * truth,
        population=False, noise="multiplicative",
    )  # fmt: skip


def matched_encoder(d: int, n: int, scales: tuple[float, float]) -> Population:
    """Centres of variance 1 - v^2 where the deviation is v, so that T is standard normal for each.

    The label, which deviation the first unit has, leaves no trace in T.
    """

    def draw(rng: np.random.Generator):
        which = rng.integers(0, 2, size=(n, d))
        scale = np.asarray(scales)[which]
        S = np.sqrt(1 - scale**2) * rng.normal(size=(n, d))
        return S, None, which[:, 0], scale

    truth = -d * float(np.mean(np.log(scales)))
    return Population(
        f"per row: matched encoder, {n} rows", draw, None, truth, 0.0, noise="per row",
        entropy=d * noise_entropy(1.0),
    )  # fmt: skip


def noisy_populations() -> list[Population]:
    """Populations of noise that is not additive, or not the same for all rows."""
    return [
        *(uniform_between("multiplicative", 0.3, 1, 3, d, 500) for d in (1, 2)),
        *(drawn_points("multiplicative", 0.3, (0, 0, 1, 2), d, 500, "ReLU") for d in (1, 2)),
        *(given_dropout_chain(d, 30, 0.3) for d in (1, 2)),
        *(given_dropout_chain(3, r, 0.3) for r in (3, 5, 10)),
        *(uniform_between("affine", (0.2, 0.5), -1, 1, d, 500) for d in (1, 2)),
        drawn_points("affine", (0.2, 0.3), (0, 1, 2), 2, 300, "0, 1, 2"),
        *(lognormal_layer(d, 500, 0.5) for d in (1, 2)),
        signed_layer(500, 0.5),
        *(lognormal_chain(d, 200, 20, 0.5) for d in (1, 2)),
        *(matched_encoder(d, 500, (0.3, 0.9)) for d in (1, 2)),
        matched_encoder(2, 500, (0.1, 0.99)),
    ]


def populations() -> list[Population]:
    """With and without replicas, d = 1 to 3; at last those whose inputs are given."""
    return [
        *(gaussian_layer(d, 500, 0.8) for d in (1, 2, 3)),
        *(uniform_layer(d, 500, 0.3) for d in (1, 2)),
        uniform_layer(1, 10_000, 0.5),
        *(tanh_layer(d, 500, 0.3) for d in (1, 2)),
        *(two_classes(d, 500, 0.8) for d in (1, 2)),
        *(
            far_classes(np.full(k, 1 / k), n, f"{k} far classes")
            for k, n in (
                (10, 30),
                (20, 200),
                (26, 1000),
                (50, 100),
                (50, 200),
                (50, 2000),
                (100, 10_000),
            )
        ),
        far_classes(0.8 ** np.arange(40) / np.sum(0.8 ** np.arange(40)), 300, "geometric classes"),
        *(rare_mode(share, 300) for share in (0.5, 1, 2, 3, 5)),
        rare_mode(1, 3000),
        *(gaussian_chain(d, 200, 20) for d in (1, 2, 3)),
        gaussian_chain(2, 200, 5),
        *(tanh_chain(d, 200, 20, 0.3) for d in (1, 2)),
        *(given_chain(d, 64, 20) for d in (1, 2)),
        *(given_chain(2, 64, r) for r in (3, 5, 10)),
        *(
            given_bent_chain(name, 3, counts, 0.3)
            for name in ("tanh", "ReLU")
            for counts in ((3,), (5,), (10,), (2, 3, 9))
        ),
        *noisy_populations(),
    ]
