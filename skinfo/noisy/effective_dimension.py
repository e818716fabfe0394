"""How many directions of a layer the noise resolves: the slope of information against sigma.

    dI(S;T) / d log(1 / sigma) = E |S - E[S|T]|^2 / sigma^2

the mean squared error of the best guess of S in units of the noise's variance: one for each
direction in which the law of S looks smooth at this scale, zero for those that are told apart or
drowned.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import expit

from skinfo._numba import in_order
from skinfo._rows import Rows
from skinfo.noisy.folds import assign_folds
from skinfo.noisy.information import noted_at_an_end
from skinfo.noisy.layout import Subspace, parts
from skinfo.noisy.mixture import Mixture
from skinfo.noisy.sampling import (
    MISSED,
    N_RANDOMISATIONS,
    Average,
    Draws,
    StoppingRule,
    average_draws,
)
from skinfo.quantities import Quantity

_NAME = "effective_dimension"
# Draws of each randomisation at the first level, and most pairs of a draw and a row.
_FIRST_LEVEL, _MOST_PAIRS = 32, 2**28
# Draws, and rows, that are compared at a time; draws for which a device is given the rows.
_DRAWS, _ROWS, _DRAWS_ON_DEVICE = 256, 2048, 4096
# Within so many sigma of the mean, products give squared distances to 1e-9.
_NEAR = 1000.0


class _Errors(NamedTuple):
    """Squared errors at draws around rows, (m,), in units of sigma^2."""

    posterior: np.ndarray  # E |S - E[S|t]|^2 given t
    of_row: np.ndarray  # |s - E[S|t]|^2, s the row drawn
    without_row: np.ndarray  # the same with E[S|t] of all other rows


def effective_dimension(
    mixture: Mixture,
    *,
    tol: float = 0.01,
    population: bool = False,
    max_evaluations: int = 2**20,
    seed: int = 0,
    n_jobs: int | None = None,
) -> Quantity:
    """Measure E |S - E[S|T]|^2 / sigma^2 for rows one by one and additive noise of one sigma.

    The standard error of the integration is at most ``tol`` times the larger of 1 and the value,
    unless that takes more than 2^28 pairs of a draw and a row. The upper end allows for draws of
    probability 3 / m with an error of one per direction that none of m showed; it is never above
    the error of the best linear guess, sum l / (l + sigma^2) over the variances l of S; with more
    units than rows, of which there are more than 512, that of a guess which knows the 128 largest
    variances and the mean of the others. Of a population the plug-in is the lower end, as the error
    is concave in the law of S, and both guesses of the upper end, the mean of the rows given t and
    a linear one, never saw the row.

    References
    ----------
    Guo, Shamai and Verdu, "Mutual Information and Minimum Mean-Square Error in Gaussian Channels",
    IEEE Transactions on Information Theory 2005, theorem 1.

    Examples
    --------
    >>> mixture = Mixture.of(Rows.make(np.array([[-1.0], [1.0]])), 1.0)
    >>> round(effective_dimension(mixture).value, 2)
    0.45
    """
    rows, space = mixture.rows, mixture.space
    assert isinstance(space, Subspace)
    if space.rank == 0:
        return Quantity.exact(_NAME, 0.0, "")
    stream, rule = mixture.draw_stream(seed), StoppingRule(tol)
    most = max(min(max_evaluations, _MOST_PAIRS // len(rows.weights)) // N_RANDOMISATIONS, 16)
    found: list[_Errors] = []
    taken: list[Draws] = []
    for m in _levels(most):
        draws = stream.take(m)
        flat = draws.noise.reshape(-1, space.rank)
        found.append(_errors_at(mixture, space, draws.rows.ravel(), flat, n_jobs))
        taken.append(replace(draws, noise=draws.noise[:, :, :0]))
        posterior, of_row, without_row = (
            _average(rows, taken, [getattr(errors, name) for errors in found])
            for name in _Errors._fields
        )
        if rule.is_done(posterior.integration / max(1.0, posterior.mean)):
            break
    plug_in = replace(posterior, inputs=of_row.inputs)
    linear = Average(space.spectrum.linear_error)
    guess = plug_in
    if population:
        linear = guess = _linear_error_without_row(mixture, space, seed)
        # What leaves a row out has seen others of its cluster.
        if rows.clusters is None:
            guess = without_row
    # Between rows that are told apart all of the error is in draws so rare that none may be seen.
    unseen = MISSED * space.rank / sum(draws.rows.size for draws in taken)
    upper = max(guess.mean + guess.margin(population=population), unseen)
    upper = min(upper, linear.mean + linear.margin(population=population))
    lower = max(0.0, plug_in.mean - plug_in.margin(population=population))
    # Ends that cross, by their errors, span the bracket all the same.
    lower, upper = min(lower, upper), max(lower, upper)
    value = float(np.clip(plug_in.mean, lower, upper))
    quantity = Quantity(_NAME, value, plug_in.integration, lower, upper, "")
    return noted_at_an_end(quantity) if population else quantity


def _levels(most: int) -> Iterator[int]:
    """Draws per randomisation that each level adds: the total doubles while it may."""
    m = min(_FIRST_LEVEL, 2 ** int(np.log2(most)))
    total = 0
    while total + m <= most:
        yield m
        total += m
        m = total


def _average(rows: Rows, taken: list[Draws], portions: list[np.ndarray]) -> Average:
    """Average values at draws around rows, level by level."""
    by_level = [values.reshape(N_RANDOMISATIONS, -1) for values in portions]
    values = np.concatenate(by_level, axis=1)
    draw_weights = np.concatenate([draws.weights for draws in taken], axis=1)
    sources = np.concatenate([draws.rows for draws in taken], axis=1)
    no_control = np.zeros_like(values)
    return average_draws(values, no_control, draw_weights, sources, rows)


def _errors_at(
    mixture: Mixture, space: Subspace, drawn: np.ndarray, noise: np.ndarray, n_jobs: int | None
) -> _Errors:
    """Squared errors at draws, rows and noise in units of sigma, portion by portion in threads."""
    step = _DRAWS if mixture.device is None else _DRAWS_ON_DEVICE
    portions = [slice(start, start + step) for start in range(0, len(drawn), step)]

    def of_portion(part: slice) -> _Errors:
        return _errors_of_few(mixture, space, drawn[part], noise[part])

    found = in_order(of_portion, portions, n_jobs)
    return _Errors(*map(np.concatenate, zip(*found, strict=True)))


def _errors_of_few(
    mixture: Mixture, space: Subspace, drawn: np.ndarray, noise: np.ndarray
) -> _Errors:
    rows = mixture.rows
    own = space.place(rows, drawn)
    t = own + noise
    near = max(space.radius, float(np.linalg.norm(t, axis=1).max())) < _NEAR
    sums_of = _sums_over_others
    if mixture.device is not None:
        from skinfo.noisy.kernels.torch_sums import sums_over_others

        sums_of = partial(sums_over_others, mixture.device)
    slices = (slice(first, first + _ROWS) for first in range(0, len(rows.weights), _ROWS))
    parts_of_rows = ((space.place(rows, part), rows.weights[part]) for part in slices)
    highest, total, mean, square = sums_of(t, drawn, parts_of_rows, near)
    mean /= total[:, None]
    spread = np.maximum(square / total - ((mean - t) ** 2).sum(axis=1), 0.0)
    log_own = np.log(rows.weights[drawn]) - 0.5 * np.einsum("ni,ni->n", noise, noise)
    # P(another row | t).
    others = expit(highest + np.log(total) - log_own)
    apart = ((own - mean) ** 2).sum(axis=1)
    return _Errors(others * ((1 - others) * apart + spread), others**2 * apart, apart)


def _sums_over_others(
    t: np.ndarray, drawn: np.ndarray, rows: Iterable[tuple[np.ndarray, np.ndarray]], near: bool
) -> tuple[np.ndarray, ...]:
    """Sums over all rows but those drawn, each times exp(-highest): of weights, points, squares.

    ``rows`` are points and their probabilities, portion by portion. A row's weight at t, (m, d), is
    its probability times exp(-square / 2), with the square of its distance. ``near``: products give
    the squares. Highest, (m,), the sums of the weights, (m,), of the weights times the points,
    (m, d), and times the squares, (m,), come back.
    """
    highest, total = np.full(len(t), -np.inf), np.zeros(len(t))
    mean, square = np.zeros_like(t), np.zeros(len(t))
    first = 0
    for points, weights in rows:
        squares = _squares_by_products(t, points) if near else cdist(t, points, "sqeuclidean")
        logs = np.log(weights) - 0.5 * squares
        inside = np.flatnonzero((drawn >= first) & (drawn < first + len(points)))
        logs[inside, drawn[inside] - first] = -np.inf
        top = np.maximum(highest, logs.max(axis=1))
        with np.errstate(invalid="ignore"):
            rescaled = np.where(np.isneginf(top), 0.0, np.exp(highest - top))
            terms = np.exp(logs - np.where(np.isneginf(top), 0.0, top)[:, None])
        total = total * rescaled + terms.sum(axis=1)
        square = square * rescaled + np.einsum("mn,mn->m", terms, squares)
        mean = mean * rescaled[:, None] + terms @ points
        highest = top
        first += len(points)
    return highest, total, mean, square


def _squares_by_products(t: np.ndarray, points: np.ndarray) -> np.ndarray:
    squares = t @ points.T
    squares *= -2
    squares += np.einsum("ni,ni->n", t, t)[:, None]
    squares += np.einsum("ni,ni->n", points, points)
    return np.maximum(squares, 0.0, out=squares)


def _linear_error_without_row(mixture: Mixture, space: Subspace, seed: int) -> Average:
    """Error of the best linear guess of a row, its mean and covariance from other folds."""
    rows = mixture.rows
    n, identity = len(rows.weights), np.eye(space.rank)
    folds = assign_folds(rows, seed)
    errors = np.empty(n)
    for fold in range(folds.max() + 1):
        others, held_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        weights = rows.weights[others] / rows.weights[others].sum()
        mean, second = np.zeros(space.rank), np.zeros((space.rank, space.rank))
        for part in parts(len(others), space.rank):
            points = space.place(rows, others[part])
            mean += weights[part] @ points
            second += (points * weights[part][:, None]).T @ points
        shrinking = np.linalg.inv(identity + second - np.outer(mean, mean))
        of_noise = float(((identity - shrinking) ** 2).sum())
        for part in parts(len(held_out), space.rank):
            points = space.place(rows, held_out[part])
            errors[held_out[part]] = (((points - mean) @ shrinking) ** 2).sum(axis=1) + of_noise
    value = float(rows.weights @ errors)
    return Average(value, inputs=rows.error_of_mean(errors))
