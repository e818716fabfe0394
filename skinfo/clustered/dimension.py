"""Intrinsic dimension of activations from the two nearest neighbours of each."""

from __future__ import annotations

import numpy as np
from sklearn.neighbors import NearestNeighbors

from skinfo._rows import Rows
from skinfo.clustered.pairs import centred, metric_coordinates
from skinfo.quantities import Quantity

#: Inputs that the dimension is computed from, at most.
MOST_INPUTS = 8192
# The largest ratios, a tenth of all, are known only to be that large: they see the borders.
_KEPT = 0.9


def measure_dimension(rows: Rows, metric: str) -> Quantity:
    """Two-nearest-neighbour dimension, one row an input; of a sample of inputs where many.

    Where points are locally uniform in d dimensions, the ratio mu = r_2 / r_1 of the distances to
    the two nearest neighbours has the law P(mu > m) = m ** -d. The estimate is the unbiased
    maximum-likelihood d of the smallest nine tenths of the ratios, the rest censored:
    (r - 1) / (sum of log mu_i over i <= r + (N - r) log mu_r), with standard error d / sqrt(r - 2),
    as if ratios were independent. Points that coincide count once; weights are not used. NaN for
    fewer than five different points; infinite where every point has its two neighbours equally far
    away, as on a lattice.

    Facco, d'Errico, Rodriguez and Laio, "Estimating the intrinsic dimension of datasets by a
    minimal neighborhood information", Scientific Reports 2017 (who fit a line to the same nine
    tenths).

    Examples
    --------
    >>> import numpy as np
    >>> plane = np.random.default_rng(0).uniform(size=(2000, 2)) @ np.ones((2, 7))
    >>> round(measure_dimension(Rows.make(plane), "euclidean").value, 1)
    1.0
    """
    coordinates = metric_coordinates(rows.points[rows.first_rows], metric)
    points = np.unique(centred(coordinates)[0], axis=0)
    notes: tuple[str, ...] = ()
    if len(points) > MOST_INPUTS:
        chosen = np.random.RandomState(0).permutation(len(points))[:MOST_INPUTS]
        points, notes = points[np.sort(chosen)], ("sampled",)
    n = len(points)
    r = int(np.ceil(_KEPT * n))
    if n < 5:
        return Quantity("intrinsic_dimension", np.nan, np.nan, np.nan, np.nan, "", notes)
    nearest = NearestNeighbors(n_neighbors=3).fit(points).kneighbors(points)[0]
    logs = np.sort(np.log(nearest[:, 2] / np.maximum(nearest[:, 1], np.finfo(np.float64).tiny)))
    total = float(logs[:r].sum() + (n - r) * logs[r - 1])
    if total <= 0:
        return Quantity("intrinsic_dimension", np.inf, 0.0, np.inf, np.inf, "", notes)
    value = (r - 1) / total
    return Quantity.sampled("intrinsic_dimension", value, value / np.sqrt(r - 2), "", notes)
