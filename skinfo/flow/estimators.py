"""Estimators as a sweep sees them: by name, alone or as the last step of a pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.validation import has_fit_parameter

from skinfo.quantities import Quantity
from skinfo.runs import Activations, Layer
from skinfo.runs.description import check_name

_UNSUPERVISED = (
    "is fitted without labels: with them it would show the labels of these very rows, and say "
    "nothing of a population. Fit it on other inputs, and give sklearn.frozen.FrozenEstimator(it)."
)


def name_estimators(
    estimators: BaseEstimator | Iterable[BaseEstimator] | Mapping[str, BaseEstimator],
) -> dict[str, BaseEstimator]:
    """Name estimators by their class; two of one class by what they were given as well.

    A pipeline is named by its steps.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from skinfo import BinningMIEstimator
    >>> list(name_estimators([BinningMIEstimator(), BinningMIEstimator(n_bins=5)]))
    ['BinningMIEstimator()', 'BinningMIEstimator(n_bins=5)']
    >>> list(name_estimators(make_pipeline(PCA(2), BinningMIEstimator())))
    ['PCA + BinningMIEstimator']
    """
    if isinstance(estimators, Mapping):
        named = dict(estimators)
    else:
        several = [estimators] if isinstance(estimators, BaseEstimator) else list(estimators)
        classes = [_class_name(estimator) for estimator in several]
        named = {}
        for estimator, short in zip(several, classes, strict=True):
            name = short if classes.count(short) == 1 else " ".join(str(estimator).split())
            if name in named:
                raise ValueError(f"{name} is there twice; give different names in a dict.")
            named[name] = estimator
    if not named:
        raise ValueError("information_flow needs at least one estimator.")
    for name in named:
        check_name(name, "an estimator")
    return named


def _class_name(estimator: BaseEstimator) -> str:
    if isinstance(estimator, Pipeline):
        return " + ".join(_class_name(step) for _, step in estimator.steps)
    return type(estimator).__name__


def with_labels(name: str, labels: str) -> str:
    """Name in a table of what an estimator measures with a set of labels, if that has a name.

    Examples
    --------
    >>> with_labels("clustered", "topic"), with_labels("clustered", "")
    ('clustered (topic)', 'clustered')
    """
    return f"{name} ({labels})" if labels else name


def _unnested(estimator: BaseEstimator) -> tuple[list[Any], str, BaseEstimator]:
    """Steps before the last one, the prefix of the names of its parameters, and that step."""
    steps: list[Any] = []
    prefix = ""
    while isinstance(estimator, Pipeline):
        *before, (name, last) = estimator.steps
        steps += [step for _, step in before]
        prefix, estimator = f"{prefix}{name}__", last
    return steps, prefix, estimator


def last_step(estimator: BaseEstimator) -> BaseEstimator:
    """Return the estimator itself, or the last step of a pipeline, however nested.

    Examples
    --------
    >>> from sklearn.decomposition import PCA
    >>> from skinfo import ClusteringScore
    >>> last_step(make_pipeline(PCA(2), ClusteringScore()))
    ClusteringScore()
    """
    return _unnested(estimator)[2]


def steps_before(estimator: BaseEstimator) -> Pipeline | None:
    """The transformers before the last step, as a pipeline of their own; None if there are none."""
    steps = _unnested(estimator)[0]
    return make_pipeline(*steps) if steps else None


def uses_replicas(estimator: BaseEstimator) -> bool:
    """Whether an estimator declares that it uses all replicas of each input with their groups."""
    return bool(getattr(last_step(estimator), "uses_replicas", False))


def needs_run_range(estimator: BaseEstimator) -> bool:
    """Whether an estimator declares that its ``bin_range`` is to be the range of the whole run."""
    return bool(getattr(last_step(estimator), "needs_run_range", False))


def needs_sigma(estimator: BaseEstimator) -> bool:
    """Whether an estimator that uses replicas takes its sigma, and its noise, from each layer."""
    parameters = last_step(estimator).get_params(deep=False)
    return uses_replicas(estimator) and parameters.get("sigma", 0) is None


def check_estimators(
    named: Mapping[str, BaseEstimator], layers: Sequence[Layer], *, has_labels: bool
) -> None:
    """Check that estimators can measure layers, before there are activations.

    What is checked are their parameters, each and together, that there are labels where they are
    required, and noise where ``sigma=None``.
    """
    for name, estimator in named.items():
        last = last_step(estimator)
        if hasattr(last, "_parameter_constraints"):
            last._validate_params()
        if hasattr(last, "check_settings"):
            last.check_settings()
        if _asks_population(last):
            _check_unsupervised(name, _unnested(estimator)[0])
        if not has_labels and get_tags(last).target_tags.required:
            raise ValueError(
                f"{type(last).__name__} requires y, but the run has no labels; leave {name!r} out "
                "or give labels with the run."
            )
        if needs_sigma(estimator) and layers and not any(layer.sigma for layer in layers):
            raise ValueError(
                f"{name}: sigma=None takes each layer's own, but no layer of the run has noise on "
                "record. Give a sigma, or measure deterministic layers with BinningMIEstimator or "
                "ClusteringScore."
            )
        if needs_sigma(estimator):
            _check_own_noise(name, noise_asked(last), layers)


def has_steps(estimator: BaseEstimator) -> bool:
    """Whether steps make something else of a layer before it is measured."""
    return bool(_unnested(estimator)[0])


def noise_asked(last: BaseEstimator) -> str:
    """The noise that an estimator with a sigma was given; a class without the choice adds it."""
    return str(last.get_params(deep=False).get("noise", "additive"))


def _check_own_noise(name: str, asked: str, layers: Sequence[Layer]) -> None:
    """Check that noise is asked of layers, beside their own sigma, only where it is theirs."""
    for layer in layers:
        if layer.sigma and asked not in ("additive", layer.noise):
            raise ValueError(
                f"{name}: noise={asked!r} is asked of a run recorded with {layer.noise} noise "
                f"(layer {layer.name!r}). sigma=None takes each layer's own noise: leave noise= "
                "out, or give a sigma as well to measure with other noise than the network's."
            )


def _asks_population(last: BaseEstimator) -> bool:
    return bool(getattr(last, "population", False))


def _check_unsupervised(name: str, steps: Sequence[Any]) -> None:
    """Check that no step learns from the labels of the rows it is measured on."""
    for step in steps:
        learns = not isinstance(step, FrozenEstimator) and get_tags(step).target_tags.required
        if learns:
            raise ValueError(f"{name}: {type(step).__name__} {_UNSUPERVISED}")


def check_noise_draws(n_noise_draws: int) -> int:
    """Check a number of noise draws, and make it an int."""
    if not isinstance(n_noise_draws, Integral) or n_noise_draws < 1:
        raise ValueError(f"n_noise_draws is a number of draws, 1 or more; got {n_noise_draws!r}.")
    return int(n_noise_draws)


def for_layer(
    estimator: BaseEstimator, layer: Layer, bin_range: tuple[float, float] | None
) -> BaseEstimator | None:
    """A copy with the layer's own noise or range if it has none; None if the layer has no sigma."""
    copy, (_, prefix, _) = clone(estimator), _unnested(estimator)
    if needs_run_range(copy) and bin_range is not None:
        copy.set_params(**{f"{prefix}bin_range": bin_range})
    if needs_sigma(copy):
        if not layer.sigma:
            return None
        # Where an array holds the deviations, they are handed to fit.
        own = {"sigma": None if layer.deviations else layer.sigma, "noise": layer.noise}
        names = last_step(copy).get_params(deep=False)
        copy.set_params(**{f"{prefix}{name}": own[name] for name in own if name in names})
    return copy


def fit_last_step(estimator: BaseEstimator, rows: Activations) -> BaseEstimator:
    """Fit a copy and return its last step, to which alone groups, scale and clusters go."""
    estimator, X = clone(estimator), rows.X
    steps, prefix, last = _unnested(estimator)
    uses_scale = rows.scale is not None and needs_sigma(estimator)
    if uses_scale and steps:
        raise ValueError(
            "the standard deviations stored for this layer are those of its own units, not of what "
            "the steps of a pipeline make of them; measure it without steps, or give a sigma."
        )
    if steps and _asks_population(last):
        X, estimator, prefix = _fit_without_labels(make_pipeline(*steps), X), last, ""
    given = {
        "groups": rows.groups,
        "scale": rows.scale if uses_scale else None,
        "clusters": rows.clusters if _takes_clusters(last) else None,
    }
    beside = {f"{prefix}{name}": array for name, array in given.items() if array is not None}
    # The sweep itself hands them over; no request for metadata is needed.
    with config_context(enable_metadata_routing=False):
        estimator.fit(X, rows.y, **beside)
    return last


def _takes_clusters(last: BaseEstimator) -> bool:
    """Whether an estimator asks how inputs were drawn: not if those given are all there are."""
    return bool(getattr(last, "population", True)) and has_fit_parameter(last, "clusters")


def fit_quantities(estimator: BaseEstimator, rows: Activations) -> tuple[Quantity, ...]:
    """Fit a copy and return its quantities.

    What inputs drawn anew would add to an error is not known where they were drawn in clusters that
    the estimator does not take.
    """
    last = fit_last_step(estimator, rows)
    quantities = getattr(last, "quantities_", None)
    if not (isinstance(quantities, tuple) and all(isinstance(q, Quantity) for q in quantities)):
        raise TypeError(
            f"{type(last).__name__}.fit must leave quantities_, a tuple of "
            "skinfo.quantities.Quantity, which a sweep reads."
        )
    if rows.clusters is None or _takes_clusters(last):
        return quantities
    return tuple(
        replace(one, stderr_other_inputs=np.nan) if one.stderr_other_inputs > 0 else one
        for one in quantities
    )


def _fit_without_labels(steps: Pipeline, X: Any) -> Any:
    """What steps make of a layer, fitted without labels: labels that they have seen show in it."""
    try:
        return steps.fit_transform(X)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{error} (A step before population=True {_UNSUPERVISED})") from error


def transformed_ends(transform: Pipeline, rows: Activations) -> tuple[float, float]:
    """Fit a copy of the steps before an estimator, and find the range of their output."""
    with config_context(enable_metadata_routing=False):
        points = np.asarray(clone(transform).fit_transform(rows.X, rows.y))
    return float(points.min()), float(points.max())
