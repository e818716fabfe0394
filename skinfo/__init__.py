"""skinfo measures information flow in neural networks, with error bars."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skinfo.binned import BinningMIEstimator, binning_sweep
    from skinfo.clustered import ClusteringScore
    from skinfo.comparison import compare_flows, pool_flows
    from skinfo.errors import (
        MissingExtraError,
        OutsideEdgesWarning,
        ReplicaWarning,
        RunError,
        SaturationWarning,
    )
    from skinfo.flow import information_flow, sigma_curves
    from skinfo.noise import dropout_sigma
    from skinfo.noisy import LabelMIEstimator, NoisyMIEstimator, sigma_curve
    from skinfo.runs import open_run, save_run
    from skinfo.sliced import SlicedMIEstimator, sliced_information

__all__ = [
    "BinningMIEstimator",
    "ClusteringScore",
    "LabelMIEstimator",
    "MissingExtraError",
    "NoisyMIEstimator",
    "OutsideEdgesWarning",
    "ReplicaWarning",
    "RunError",
    "SaturationWarning",
    "SlicedMIEstimator",
    "binning_sweep",
    "compare_flows",
    "dropout_sigma",
    "information_flow",
    "open_run",
    "pool_flows",
    "save_run",
    "sigma_curve",
    "sigma_curves",
    "sliced_information",
]
__version__ = "0.1.0"

_ROOMS = ("errors", "noise", "runs", "binned", "clustered", "noisy", "sliced", "flow", "comparison")


def __getattr__(name: str) -> Any:
    """Import what is asked for, and no sooner: the command line answers while it is small."""
    if name in __all__:
        room = next(room for room in map(_room, _ROOMS) if name in room.__all__)
        return globals().setdefault(name, getattr(room, name))
    if not name.startswith("_") and find_spec(f"{__name__}.{name}") is not None:
        return _room(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _room(name: str) -> Any:
    return import_module(f"{__name__}.{name}")
