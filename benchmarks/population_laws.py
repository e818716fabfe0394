"""Populations of one to 128 units whose information is known, in nats: those of population.py.

Truths are closed forms, sums over independent units, integrals over the one or two directions or
the radius that matter, and where none of these exist means over draws of the logarithm of the exact
density, with a standard error of 0.003 at most. ``check`` finds all kinds a second way, with
scipy's adaptive quadrature or from draws.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from laws import (
    _NODES,
    _WEIGHTS,
    Population,
    binary_information,
    drawn_points,
    gaussian_chain,
    line_information,
    lognormal_layer,
    matched_encoder,
    plane_information,
    tanh_layer,
    two_classes,
    uniform_between,
    uniform_layer,
    unit_information,
)
from scipy.integrate import quad
from scipy.special import gammaln, ive, logsumexp
from scipy.stats import multivariate_t, norm
from sklearn.datasets import load_digits

from skinfo.datasets import line_entropy, noise_entropy

Draw = Callable[[np.random.Generator], np.ndarray]


def additive(
    name: str, n: int, draw: Draw, sigma: float, information: float, labels: float | None = None
) -> Population:
    """Rows without replicas or, with ``labels``, rows whose last column is the label."""

    def drawn(rng: np.random.Generator):
        S = draw(rng)
        return (S, None, None) if labels is None else (S[:, :-1], None, S[:, -1].astype(int))

    return Population(f"{name}, {n} rows", drawn, sigma, float(information), labels)


# Sums over independent units.


def corners(d: int, n: int, sigma: float, spread: float) -> Population:
    """Gaussians at the corners of a cube."""
    total = line_entropy(np.array([-1.0, 1.0]), np.full(2, 0.5), float(np.hypot(sigma, spread)))

    def draw(rng: np.random.Generator):
        return rng.choice([-1.0, 1.0], size=(n, d)) + spread * rng.normal(size=(n, d))

    return additive("corners", n, draw, sigma, d * (total - noise_entropy(sigma)))


def rotated_cube(d: int, n: int, sigma: float) -> Population:
    """Rows uniform on a cube that no axis is parallel to; the noise is round, no matter."""
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(d, d)))[0]
    law = uniform_layer(d, n, sigma)

    def draw(rng: np.random.Generator):
        return rng.uniform(-1, 1, size=(n, d)) @ turn

    return additive("rotated cube", n, draw, sigma, law.information)


def codebook(d: int, levels: int, n: int) -> Population:
    """Equally likely atoms, all combinations of evenly spaced levels, 8 deviations apart."""
    rows = 8.0 * np.arange(levels)
    return additive(
        f"{levels}^{d} atoms", n, lambda rng: rng.choice(rows, size=(n, d)), 1.0,
        d * line_information(rows, 1.0),
    )  # fmt: skip


def log_normal_tails(d: int, n: int, sigma: float) -> Population:
    """exp(z) in every unit: one row in a thousand is 20 times the median."""
    step = sigma / 32
    s = np.arange(step, 700, step)
    density = np.exp(-(np.log(s) ** 2) / 2) / (s * np.sqrt(2 * np.pi))
    total = convolved_entropy(density, step, sigma) - noise_entropy(sigma)
    return additive("exp(normal)", n, lambda rng: np.exp(rng.normal(size=(n, d))), sigma, d * total)


def convolved_entropy(density: np.ndarray, step: float, sigma: float) -> float:
    """Entropy with noise of a variable whose density is given on a line of this step."""
    reach = int(np.ceil(9 * sigma / step))
    kernel = norm.pdf(step * np.arange(-reach, reach + 1), scale=sigma)
    size = 2 ** int(np.ceil(np.log2(len(density) + len(kernel))))
    q = np.fft.irfft(np.fft.rfft(density, size) * np.fft.rfft(kernel, size)) * step
    q = q[q > 1e-15]
    return float(-np.sum(q * np.log(q)) * step)


def sparse_units(d: int, n: int, sigma: float) -> Population:
    """max(0, z - 1/2): seven units of ten are silent."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    s = 4.0 * (nodes + 1)
    points = np.append(s, 0.0)
    weights = np.append(4 * weights * norm.pdf(s + 0.5), norm.cdf(0.5))
    total = line_entropy(points, weights, sigma) - noise_entropy(sigma)

    def draw(rng: np.random.Generator):
        return np.maximum(0, rng.normal(size=(n, d)) - 0.5)

    return additive("ReLU", n, draw, sigma, d * total)


def dropout_on_tanh(d: int, n: int, sigma: float) -> Population:
    """tanh(x) of either sign, x uniform on [0.2, 2], with Gaussian dropout."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    s = np.tanh(np.concatenate([1.1 + 0.9 * nodes, -1.1 - 0.9 * nodes]))
    p = np.tile(weights, 2) / 4
    truth = unit_information("multiplicative", sigma, s, p)
    noise = float(p @ np.log(sigma * np.abs(s))) + noise_entropy(1.0)

    def draw(rng: np.random.Generator):
        x = rng.uniform(0.2, 2, size=(n, d)) * rng.choice([-1, 1], size=(n, d))
        return np.tanh(x), None, None

    return Population(
        f"multiplicative: tanh, {n} rows", draw, sigma, d * truth, noise="multiplicative",
        entropy=d * (truth + noise),
    )  # fmt: skip


# Gaussians.


def gaussian(name: str, roots: np.ndarray, n: int, sigma: float | np.ndarray) -> Population:
    """z @ roots for normal z."""
    whitened = roots / np.asarray(sigma)
    truth = 0.5 * np.linalg.slogdet(np.eye(len(roots)) + whitened @ whitened.T)[1]

    def draw(rng: np.random.Generator):
        return rng.normal(size=(n, len(roots))) @ roots

    return additive(name, n, draw, sigma, truth)


def normal(d: int, n: int, sigma: float) -> Population:
    return gaussian("normal", np.eye(d), n, sigma)


def few_directions(d: int, n: int, sigma: float) -> Population:
    """Normal rows in five directions of d."""
    roots = np.random.default_rng(d).normal(size=(5, d)) / np.sqrt(5)
    return gaussian("normal in 5 directions", roots, n, sigma)


def chain_layer(d: int, n: int) -> Population:
    """Third layer of a noisy linear network of d units, one row of each input: I(S;T), no replicas.

    S is Gaussian, and what the noise of the layers before has left is part of it.
    """
    rng, sigma = np.random.default_rng(7), 0.2
    W = [rng.normal(size=(d, d)) / np.sqrt(d) for _ in range(3)]
    roots = np.concatenate([W[0] @ W[1] @ W[2], sigma * W[1] @ W[2], sigma * W[2]])
    return gaussian("linear chain, its S", roots, n, sigma)


def own_sigmas(d: int, n: int) -> Population:
    """A deviation for each unit, from 0.1 to 1."""
    return gaussian("normal, noise 0.1 to 1", np.eye(d), n, np.geomspace(0.1, 1, d))


def clusters(d: int, n: int, size: int, sigma: float) -> Population:
    """Sequences: rows of a cluster share a centre, of 0.9 of the variance; each is normal."""
    law = normal(d, n, sigma)

    def draw(rng: np.random.Generator):
        centres = np.repeat(rng.normal(size=(n // size, d)), size, axis=0)
        S = np.sqrt(0.9) * centres + np.sqrt(0.1) * rng.normal(size=(n, d))
        return S, None, None, None, np.repeat(np.arange(n // size), size)

    return replace(law, name=f"normal, clusters of {size}, {n} rows", draw=draw)


# Functions of a radius.


def radial_entropy(variances: np.ndarray, weights: np.ndarray, d: int) -> float:
    """Entropy of a mixture of round Gaussians with one centre, by quadrature over log radius."""
    low, high = 0.5 * np.log(variances.min()), 0.5 * np.log(variances.max())
    step = 1 / 256
    u = np.arange(low - 40 / d - 1, high + 3, step)
    log_weights = np.log(weights) - 0.5 * d * np.log(2 * np.pi * variances)
    log_q = np.concatenate(
        [
            logsumexp(log_weights - np.exp(2 * part)[:, None] / (2 * variances), axis=1)
            for part in np.array_split(u, 1 + len(u) // 200)
        ]
    )
    log_shell = np.log(2) + 0.5 * d * np.log(np.pi) - gammaln(0.5 * d) + d * u
    return float(-np.sum(np.exp(log_shell + log_q) * log_q) * step)


def gamma_mixture(dof: float, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Variances and weights of a multivariate Student t with noise, a mixture over precisions."""
    step = 1 / 32
    log_w = np.arange(-40 / dof, 4, step)
    shape = dof / 2
    logs = shape * np.log(shape) - gammaln(shape) + shape * log_w - shape * np.exp(log_w)
    weights = np.exp(logs) * step
    return np.exp(-log_w) + sigma**2, weights / weights.sum()


def student(dof: float, d: int, n: int, sigma: float) -> Population:
    """Joint Student t: all units of a row share one chi-square variable."""
    total = radial_entropy(*gamma_mixture(dof, sigma), d)

    def draw(rng: np.random.Generator):
        w = rng.chisquare(dof, size=(n, 1)) / dof
        return rng.normal(size=(n, d)) / np.sqrt(w)

    name = f"Student t, {dof:g} degrees"
    return additive(name, n, draw, sigma, total - d * noise_entropy(sigma))


def concentric(
    name: str, variances: tuple[float, float], far: float, d: int, n: int, sigma: float
) -> Population:
    """Round Gaussians with one centre; a share ``far`` of the rows are of the second."""
    weights = np.array([1 - far, far])
    total = radial_entropy(np.array(variances) + sigma**2, weights, d)

    def draw(rng: np.random.Generator):
        which = (rng.uniform(size=n) < far).astype(int)
        return np.sqrt(np.array(variances)[which])[:, None] * rng.normal(size=(n, d))

    return additive(name, n, draw, sigma, total - d * noise_entropy(sigma))


# Functions of a plane, with normal units beside.


def ring(d: int, n: int, sigma: float) -> Population:
    """A circle of radius 1 with normal ambient deviations of 0.1 in all directions."""
    spread, ambient = float(np.hypot(sigma, 0.1)), 0.1

    def draw(rng: np.random.Generator):
        S, angle = ambient * rng.normal(size=(n, d)), rng.uniform(0, 2 * np.pi, size=n)
        S[:, 0] += np.cos(angle)
        S[:, 1] += np.sin(angle)
        return S

    total = ring_entropy(spread) + (d - 2) * noise_entropy(spread)
    return additive("ring", n, draw, sigma, total - d * noise_entropy(sigma))


def ring_entropy(spread: float) -> float:
    """Entropy of a unit circle with noise, by quadrature over the radius."""
    step = spread / 256
    r = np.arange(step, 1 + 10 * spread, step)
    r = r[r > 1 - 10 * spread]
    q = np.exp(-((r - 1) ** 2) / (2 * spread**2)) * ive(0, r / spread**2) / (2 * np.pi * spread**2)
    return float(-np.sum(2 * np.pi * r * q * np.log(q)) * step)


def moon_arcs(angles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    upper = np.column_stack([np.cos(angles), np.sin(angles)])
    return upper, np.array([1.0, 0.5]) - upper


def two_moons(d: int, n: int, sigma: float) -> Population:
    """Two half circles that reach into each other, their number the label, as scikit-learn's."""
    ambient = 0.1
    spread = float(np.hypot(sigma, ambient))
    middles = np.pi * (np.arange(150) + 0.5) / 150
    arcs = moon_arcs(middles)
    both = plane_information(np.concatenate(arcs), spread)
    of_label = both - plane_information(arcs[0], spread)
    rest = 0.5 * d * np.log1p((ambient / sigma) ** 2)

    def draw(rng: np.random.Generator):
        y, angles = rng.integers(0, 2, size=n), rng.uniform(0, np.pi, size=n)
        S = ambient * rng.normal(size=(n, d))
        S[:, :2] += np.where(y[:, None] == 0, *moon_arcs(angles))
        return np.column_stack([S, y])

    return additive("two moons", n, draw, sigma, both + rest, of_label)


# Atoms too far apart for the noise: the information is their entropy.


def lattice(index: np.ndarray, d: int, levels: int) -> np.ndarray:
    """Atoms in d units, 20 deviations of unit noise apart."""
    return 20.0 * np.stack([index // levels**k % levels for k in range(d)], axis=1)


def entropy_of(p: np.ndarray) -> float:
    return float(-p @ np.log(p))


def zipf_atoms(d: int, levels: int, n: int) -> Population:
    """Atoms of probabilities 1, 1/2, 1/3, ... up to a factor."""
    p = 1 / np.arange(1, levels**d + 1)
    p /= p.sum()
    return additive(
        f"{levels}^{d} atoms, Zipf", n, lambda rng: lattice(rng.choice(len(p), n, p=p), d, levels),
        1.0, entropy_of(p),
    )  # fmt: skip


def heavy_atom(share: float, d: int, levels: int, n: int) -> Population:
    """Equally likely atoms, and one that share / n of all rows are at."""
    p = np.full(levels**d, (1 - share / n) / (levels**d - 1))
    p[0] = share / n

    def draw(rng: np.random.Generator):
        index = np.where(rng.uniform(size=n) < p[0], 0, rng.integers(1, len(p), size=n))
        return lattice(index, d, levels)

    return additive(f"{levels}^{d} atoms, one of {share:g}/n", n, draw, 1.0, entropy_of(p))


def far_atom(share: float, d: int, n: int, sigma: float) -> Population:
    """Normal rows, and far from them a point that share / n of the rows are at."""
    mass = share / n

    def draw(rng: np.random.Generator):
        S = rng.normal(size=(n, d))
        S[rng.uniform(size=n) < mass] = 40.0 * np.eye(d)[0]
        return S

    truth = entropy_of(np.array([mass, 1 - mass])) + (1 - mass) * 0.5 * d * np.log1p(sigma**-2)
    return additive(f"normal, far atom of {share:g}/n", n, draw, sigma, truth)


def inner_atom(share: float, d: int, n: int, sigma: float) -> Population:
    """Normal rows, and in their middle a point that share / n of the rows are at."""
    name = f"normal, inner atom of {share:g}/n"
    return concentric(name, (1.0, 0.0), share / n, d, n, sigma)


def far_codebooks(d: int, levels: int, share: float, n: int, sigma: float) -> Population:
    """Normal rows, and far from them equally likely atoms, together of this share."""
    size = levels**d

    def draw(rng: np.random.Generator):
        atoms = 60.0 + lattice(rng.integers(0, size, size=n), d, levels)
        return np.where(rng.uniform(size=(n, 1)) < share, atoms, rng.normal(size=(n, d)))

    inside = (1 - share) * 0.5 * d * np.log1p(sigma**-2) + share * np.log(size)
    truth = entropy_of(np.array([share, 1 - share])) + inside
    return additive(f"normal, {share:g} in {levels}^{d} atoms", n, draw, sigma, truth)


# What needs draws: which of several Gaussians a row is of, and a curved plane.


def component_information(
    centres: np.ndarray, covariances: np.ndarray | None, sigma: float, n_draws: int
) -> tuple[float, float]:
    """I(K;T) of equally likely Gaussians, noise included, and its standard error; seed 0."""
    rng = np.random.default_rng(0)
    k, d = centres.shape
    which = np.arange(n_draws) % k
    if covariances is None:
        roots = np.broadcast_to(sigma * np.eye(d), (k, d, d))
    else:
        roots = np.linalg.cholesky(covariances + sigma**2 * np.eye(d))
    z = rng.normal(size=(n_draws, d))
    values = []
    for own, noise in zip(np.array_split(which, 50), np.array_split(z, 50), strict=True):
        T = centres[own] + np.einsum("nij,nj->ni", roots[own], noise)
        if covariances is None:
            square = np.sum(T**2, axis=1)[:, None] - 2 * T @ centres.T + np.sum(centres**2, axis=1)
            logs = -square / (2 * sigma**2)
        else:
            logs = np.empty((len(T), k))
            for j, (centre, root) in enumerate(zip(centres, roots, strict=True)):
                white = np.linalg.solve(root, (T - centre).T)
                logs[:, j] = -0.5 * np.sum(white**2, axis=0) - np.log(np.diag(root)).sum()
        values.append(logs[np.arange(len(T)), own] - logsumexp(logs, axis=1) + np.log(k))
    found = np.concatenate(values)
    return float(found.mean()), float(found.std() / np.sqrt(n_draws))


def eight_gaussians(d: int, n: int, sigma: float) -> Population:
    """Gaussians of random centres and covariances."""
    law_rng = np.random.default_rng(11)
    centres = law_rng.normal(size=(8, d))
    roots = law_rng.normal(size=(8, d, d)) / np.sqrt(4 * d)
    covariances = roots.transpose(0, 2, 1) @ roots
    within = 0.5 * np.mean(np.linalg.slogdet(np.eye(d) + covariances / sigma**2)[1])
    truth = within + component_information(centres, covariances, sigma, 60_000)[0]

    def draw(rng: np.random.Generator):
        which = rng.integers(0, 8, size=n)
        return centres[which] + np.einsum("ni,nij->nj", rng.normal(size=(n, d)), roots[which])

    return additive("8 Gaussians", n, draw, sigma, truth)


def points(k: int, d: int, size: float, n: int, sigma: float) -> Population:
    """Equally likely points, drawn once from a normal law."""
    centres = size * np.random.default_rng(13).normal(size=(k, d))
    truth = component_information(centres, None, sigma, min(60_000, 30_000_000 // k))[0]
    name = f"{k} far points" if size >= 1 else f"{k} points"
    return additive(name, n, lambda rng: centres[rng.integers(0, k, size=n)], sigma, truth)


def manifold_map(d: int) -> np.ndarray:
    return 0.9 * np.random.default_rng(17).normal(size=(2, d))


def manifold_information(d: int, sigma: float, n_draws: int, seed: int) -> tuple[float, float]:
    """Of tanh(u @ W), u uniform on a square, and its standard error.

    The density at a draw is an integral over the square, by Gauss and Legendre's rule; what a
    Gaussian T of this covariance would tell is the control variate.
    """
    W, rng = manifold_map(d), np.random.default_rng(seed)
    nodes, weights = np.polynomial.legendre.leggauss(80)
    u = 2 * np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    p = np.outer(weights, weights).ravel() / 4
    surface = np.tanh(u @ W)
    mean = p @ surface
    covariance = (surface - mean).T @ ((surface - mean) * p[:, None]) + sigma**2 * np.eye(d)
    known = 0.5 * np.linalg.slogdet(covariance / sigma**2)[1]
    inverse = np.linalg.inv(covariance)
    values, controls = [], []
    for _ in range(n_draws // 1000):
        z = rng.normal(size=(1000, d))
        T = np.tanh(rng.uniform(-2, 2, size=(1000, 2)) @ W) + sigma * z
        square = np.sum(T**2, axis=1)[:, None] - 2 * T @ surface.T + np.sum(surface**2, axis=1)
        log_q = logsumexp(-square / (2 * sigma**2), b=p, axis=1)
        log_own = -0.5 * np.sum(z**2, axis=1)
        values.append(log_own - log_q)
        away = T - mean
        controls.append(log_own + known + 0.5 * np.einsum("ni,ij,nj->n", away, inverse, away))
    value, control = np.concatenate(values), np.concatenate(controls)
    slope = np.cov(value, control)[0, 1] / control.var()
    better = value - slope * (control - known)
    return float(better.mean()), float(better.std() / np.sqrt(len(better)))


# manifold_information(d, 0.3, 200_000, 0), and their standard errors.
_MANIFOLDS = {5: (2.2878, 0.0015), 10: (2.7909, 0.0019), 20: (3.5828, 0.0021)}


def manifold(d: int, n: int) -> Population:
    """tanh of a plane in d units."""
    W = manifold_map(d)

    def draw(rng: np.random.Generator):
        return np.tanh(rng.uniform(-2, 2, size=(n, 2)) @ W)

    return additive("tanh of a plane", n, draw, 0.3, _MANIFOLDS[d][0])


# Laws of labels.


def random_labels(d: int, n: int) -> Population:
    """Normal rows, and fair coins for labels."""
    law = normal(d, n, 0.5)

    def draw(rng: np.random.Generator):
        return rng.normal(size=(n, d)), None, rng.integers(0, 2, size=n)

    return replace(law, name=f"random labels, {n} rows", draw=draw, label_information=0.0)


def two_normals(half: float, d: int, n: int, sigma: float) -> Population:
    """T is normal of variance 1 around +half or -half, the label, in a direction between all."""
    spread = np.sqrt(1 - sigma**2)
    first = binary_information(1 / half)
    # I(X;T) = I(Y;T) + I(X;T|Y), and given the label T is normal.
    within = -d * float(np.log(sigma))

    def draw(rng: np.random.Generator):
        y = rng.integers(0, 2, size=n)
        return (2 * y[:, None] - 1) * half / np.sqrt(d) + spread * rng.normal(size=(n, d)), None, y

    return Population(f"normals at ±{half:g}, {n} rows", draw, sigma, first + within, first)


def digits(n: int, sigma: float) -> Population:
    """Rows of scikit-learn's 1,797 digits, drawn again and again: these are all there are."""
    data = load_digits()
    pixels, classes = data.data / 16, data.target
    rng = np.random.default_rng(0)
    values, of_labels = [], []
    for which in np.array_split(rng.permutation(np.tile(np.arange(len(pixels)), 4)), 20):
        T = pixels[which] + sigma * rng.normal(size=(len(which), pixels.shape[1]))
        square = np.sum(T**2, axis=1)[:, None] - 2 * T @ pixels.T + np.sum(pixels**2, axis=1)
        logs = -square / (2 * sigma**2)
        total = logsumexp(logs, axis=1)
        own_class = np.where(classes == classes[which][:, None], logs, -np.inf)
        values.append(logs[np.arange(len(T)), which] - total)
        of_labels.append(logsumexp(own_class, axis=1) - total)
    label = float(np.concatenate(of_labels).mean()) + entropy_of(
        np.bincount(classes) / len(classes)
    )

    def draw(rng: np.random.Generator):
        rows = rng.integers(0, len(pixels), size=n)
        return pixels[rows], None, classes[rows]

    information = float(np.concatenate(values).mean() + np.log(len(pixels)))
    return Population(f"digits, {n} rows", draw, sigma, information, label)


def label_populations() -> list[Population]:
    """Laws of labels, the first of labels that mean nothing."""
    return [
        *(random_labels(d, 200) for d in (20, 200, 384)),
        *(two_normals(half, 20, 500, 0.5) for half in (0.5, 1, 2)),
        *(two_normals(half, 50, 500, 0.5) for half in (1, 2)),
        two_normals(2, 50, 3000, 0.5),
        *(digits(n, 0.2) for n in (300, 1000)),
    ]


def populations() -> list[Population]:
    """All of them, the cheaper first; what a row of the table is of."""
    return [
        *(far_atom(share, 1, 300, 1.0) for share in (0.5, 1, 3)),
        drawn_points("additive", 0.3, (0, 0, 1, 2), 1, 500, "0, 0, 1, 2"),
        drawn_points("multiplicative", 0.3, (0, 0, 1, 2), 1, 500, "0, 0, 1, 2"),
        log_normal_tails(1, 1000, 0.3),
        normal(5, 50, 0.3),
        normal(20, 100, 0.3),
        normal(128, 100, 0.5),
        corners(20, 50, 0.3, 0.02),
        student(3, 5, 100, 0.5),
        points(300, 128, 0.2, 100, 0.5),
        gaussian_chain(2, 100, 10),
        gaussian_chain(5, 100, 5),
        gaussian_chain(10, 200, 3),
        corners(5, 300, 0.1, 0.02),
        corners(10, 1000, 0.1, 0.02),
        *(eight_gaussians(d, 1000, sigma) for d, sigma in ((5, 0.1), (20, 0.5), (50, 0.5))),
        *(student(3, d, 1000, 0.5) for d in (5, 10, 20)),
        student(1, 5, 1000, 0.5),
        *(rotated_cube(d, 1000, 0.1) for d in (5, 10, 20)),
        *(normal(d, 1000, 0.1) for d in (5, 10, 20, 128)),
        *(points(300, d, 0.3 * np.sqrt(50 / d), 1000, 0.5) for d in (10, 20, 50)),
        points(300, 50, 1.0, 1000, 0.5),
        *(points(k, 10, 1.0, 1000, 0.1) for k in (3000, 13_000, 50_000)),
        *(manifold(d, 1000) for d in (5, 10, 20)),
        *(far_atom(share, d, 1000, 0.4) for d in (5, 10) for share in (0.5, 1, 3, 5)),
        *(inner_atom(share, d, 1000, 0.4) for d in (5, 10) for share in (1, 3, 5.6)),
        *(codebook(*size, 1000) for size in ((4, 10), (5, 10), (6, 10), (10, 4), (20, 2))),
        *(zipf_atoms(*size, 1000) for size in ((3, 10), (5, 10), (10, 4))),
        *(
            heavy_atom(share, *size, 1000)
            for share in (5, 5.6)
            for size in ((4, 10), (5, 10), (10, 4))
        ),
        *(far_codebooks(*size, 0.3, 1000, 0.4) for size in ((4, 10), (10, 4))),
        *(ring(d, 1000, 0.2) for d in (2, 5, 20)),
        *(two_moons(d, 1000, 0.2) for d in (2, 5, 20)),
        *(log_normal_tails(d, 1000, 0.3) for d in (5, 20)),
        *(sparse_units(d, 1000, 0.2) for d in (5, 20, 50)),
        *(few_directions(d, 1000, 0.1) for d in (10, 50, 128)),
        *(chain_layer(d, 1000) for d in (5, 20, 50)),
        *(own_sigmas(d, 1000) for d in (5, 10, 20)),
        *(clusters(d, 1000, 10, 0.2) for d in (2, 5, 10)),
        *(tanh_layer(d, 1000, 0.3) for d in (2, 5, 20)),
        *(uniform_layer(d, 1000, 0.5) for d in (2, 3, 5)),
        *(
            concentric("wide and narrow", (1e-4, 9.0), 0.1, d, 1000, 0.1)
            for d in (5, 10, 20)
        ),
        *(two_classes(d, 500, 0.8) for d in (5, 20, 50)),
        *(drawn_points("multiplicative", 0.3, (0, 0, 1, 2), d, 1000, "0, 0, 1, 2")
        for d in (5, 20)),
        *(dropout_on_tanh(d, 1000, 0.3) for d in (2, 5, 20)),
        *(uniform_between("affine", (0.2, 0.5), -1, 1, d, 1000) for d in (2, 10, 20)),
        *(lognormal_layer(d, 1000, 0.5) for d in (2, 5, 20)),
        *(matched_encoder(d, 1000, (0.3, 0.9)) for d in (2, 10, 50)),
        corners(15, 3000, 0.1, 0.02),
        eight_gaussians(10, 3000, 0.1),
        codebook(5, 10, 3000),
        far_atom(5, 10, 3000, 0.4),
        uniform_layer(1, 10_000, 0.5),
        normal(10, 10_000, 0.1),
    ]  # fmt: skip


def check() -> None:
    """Find the truths of each kind a second way."""

    def by_scipy(density: Callable[[float], float], low: float, high: float, *at: float) -> float:
        def surprise(t: float) -> float:
            q = density(t)
            return -q * np.log(q) if q > 0 else 0.0

        return quad(surprise, low, high, points=at or None, limit=2000, epsabs=1e-9)[0]

    # Units: densities written out, integrated adaptively.
    wide = np.hypot(0.1, 0.02)
    found = by_scipy(lambda t: 0.5 * (norm.pdf(t, 1, wide) + norm.pdf(t, -1, wide)), -2, 2, -1, 1)
    truth = corners(10, 1, 0.1, 0.02).information
    np.testing.assert_allclose(10 * (found - noise_entropy(0.1)), truth, atol=1e-6)
    found = by_scipy(
        lambda t: (norm.cdf((t + 1) / 0.1) - norm.cdf((t - 1) / 0.1)) / 2, -2, 2, -1, 1
    )
    np.testing.assert_allclose(
        10 * (found - noise_entropy(0.1)), rotated_cube(10, 1, 0.1).information, atol=1e-4
    )

    def mixed(shape: Callable[[float], float], low: float, high: float, sigma: float, rest=0.0):
        """Density of the noise mixed over a density, and over an atom at 0."""

        def density(t: float) -> float:
            a, b = max(low, t - 10 * sigma), min(high, t + 10 * sigma)
            over = (
                quad(lambda s: shape(s) * norm.pdf(t, s, sigma), a, b, limit=500)[0] if a < b else 0
            )
            return over + rest * norm.pdf(t, 0, sigma)

        return density

    silent = norm.cdf(0.5)
    found = by_scipy(mixed(lambda s: norm.pdf(s + 0.5), 0, 8, 0.2, silent), -2, 9, 0, 0.5)
    truth = sparse_units(1, 1, 0.2).information
    np.testing.assert_allclose(found - noise_entropy(0.2), truth, atol=1e-5)
    found = by_scipy(
        mixed(lambda s: norm.pdf(np.log(s)) / s if s > 0 else 0.0, 0, 400, 0.3),
        -3,
        400,
        0,
        1,
        5,
        30,
    )
    truth = log_normal_tails(1, 1, 0.3).information
    np.testing.assert_allclose(found - noise_entropy(0.3), truth, atol=1e-4)
    # A unit of the lattice, alone and among other atoms.
    p = np.array([0.05, 0.95 / 2, 0.95 / 2])
    two = line_entropy(20.0 * np.arange(3), p, 1.0) - noise_entropy(1.0)
    np.testing.assert_allclose(two, entropy_of(p), atol=1e-9)
    # Radius and plane: closed forms, other sums, draws.
    one = np.array([1.0])
    for d in (2, 5, 128):
        found = radial_entropy(4 * one, one, d)
        np.testing.assert_allclose(found, d * noise_entropy(2.0), atol=1e-8)
    angles = 2 * np.pi * np.arange(100) / 100
    circle = np.column_stack([np.cos(angles), np.sin(angles)])
    found = plane_information(circle, 0.3) + 2 * noise_entropy(0.3)
    np.testing.assert_allclose(found, ring_entropy(0.3), atol=1e-7)
    for dof, d in ((3, 2), (3, 20), (1, 5)):
        found = radial_entropy(*gamma_mixture(dof, 0.0), d)
        closed = multivariate_t(np.zeros(d), np.eye(d), df=dof).entropy()
        np.testing.assert_allclose(found, closed, atol=1e-6)
    # Components: two of them differ in one direction alone.
    centres = np.array([[1.0, 0, 0], [-1.0, 0, 0]])
    value, stderr = component_information(centres, None, 0.5, 100_000)
    assert abs(value - binary_information(0.5)) < 4 * stderr
    # Labels: the plane of two classes, of which the rest of the units knows nothing.
    law = two_normals(1, 1, 1, 0.5)
    line = np.concatenate([_NODES * np.sqrt(0.75) + 1, _NODES * np.sqrt(0.75) - 1])
    found = line_entropy(line, np.tile(_WEIGHTS, 2) / 2, 0.5) - noise_entropy(0.5)
    np.testing.assert_allclose(found, law.information, atol=1e-9)
    covariances = np.array([np.diag([1.0, 2, 3]), np.diag([1.0, 2, 3])]) - 0.25 * np.eye(3)
    value, stderr = component_information(centres, covariances, 0.5, 100_000)
    assert abs(value - binary_information(1.0)) < 4 * stderr
    for d, (truth, error) in _MANIFOLDS.items():
        value, stderr = manifold_information(d, 0.3, 10_000, 1)
        assert abs(value - truth) < 4 * np.hypot(stderr, error)
