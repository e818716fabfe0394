"""Settings of `skinfo analyze` from a TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

#: How a file names the estimators.
KINDS = ("noisy", "binned", "clustered")
# Where a file is silent: each layer's own noise, the same draws and bins every time.
_SILENT: dict[str, dict[str, Any]] = {
    "noisy": {"sigma": None, "random_state": 0},
    "binned": {},
    "clustered": {},
}
# What each estimator of a file decides for itself.
_OF_ESTIMATORS = ("sigma", "bin_width", "tol", "population", "units", "seed")


def read_config(path: Path, options: list[str]) -> dict[str, Any]:
    """Read a file whose keys are the options of a command, with "-" or "_".

    Parameters
    ----------
    path : Path
        A TOML file; a table [estimators.NAME] describes an estimator by ``kind`` ("noisy",
        "binned", "clustered") and its parameters.
    options : list of str
        What the command takes.

    Returns
    -------
    dict
        Values by option, and under "estimators" what describes them by name.

    Raises
    ------
    ValueError
        If the file cannot be read, or holds a key that no option has; the message names both.
    """
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as settings: {error}") from error
    settings = {name.replace("-", "_"): value for name, value in found.items()}
    unknown = sorted(set(settings) - {*options, "estimators"})
    if unknown:
        raise ValueError(
            f"{path}: there is no setting {unknown[0]!r}; there are {', '.join(options)} and the "
            "tables [estimators.NAME]."
        )
    if isinstance(settings.get("layers"), list):
        settings["layers"] = ",".join(map(str, settings["layers"]))
    if "estimators" in settings:
        both = [name for name in _OF_ESTIMATORS if name in settings]
        if both:
            raise ValueError(
                f"{path}: {both[0]} stands beside [estimators]; give it to the estimators that it "
                "is meant for."
            )
    return settings


def make_estimators(described: Any, path: Path) -> dict[str, Any]:
    """Make the estimators that the tables of a file describe."""
    from skinfo.binned.estimator import BinningMIEstimator
    from skinfo.clustered.estimator import ClusteringScore
    from skinfo.noisy.estimator import NoisyMIEstimator

    classes = dict(zip(KINDS, (NoisyMIEstimator, BinningMIEstimator, ClusteringScore), strict=True))
    if not isinstance(described, dict) or not all(isinstance(d, dict) for d in described.values()):
        raise ValueError(f"{path}: estimators are tables such as [estimators.narrow].")
    made = {}
    for name, table in described.items():
        parameters = dict(table)
        kind = parameters.pop("kind", None)
        if kind is None:
            choices = " | ".join(f'"{name}"' for name in KINDS)
            raise ValueError(f"{path}: [estimators.{name}] has no kind; add kind = {choices}.")
        if not isinstance(kind, str) or kind not in classes:
            raise ValueError(
                f"{path}: [estimators.{name}] has kind {kind!r}; there are {', '.join(KINDS)}."
            )
        known = classes[kind]().get_params()
        unknown = sorted(set(parameters) - set(known))
        if unknown:
            raise ValueError(
                f"{path}: [estimators.{name}] has no parameter {unknown[0]!r}; {kind} takes "
                f"{', '.join(known)}."
            )
        given = _SILENT[kind] | parameters
        if kind == "binned" and "strategy" not in parameters:
            given = {"bin_range": "run"} | given
        made[name] = classes[kind](**given)
    return made
