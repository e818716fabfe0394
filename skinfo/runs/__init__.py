"""Runs: activations saved at checkpoints, with a description of their network."""

from skinfo.runs.activations import Activations, LayerActivations
from skinfo.runs.converting import convert_run
from skinfo.runs.description import Layer
from skinfo.runs.opening import open_run
from skinfo.runs.run import Run
from skinfo.runs.store import Store
from skinfo.runs.writing import RunWriter, save_run

__all__ = [
    "Activations",
    "Layer",
    "LayerActivations",
    "Run",
    "RunWriter",
    "Store",
    "convert_run",
    "open_run",
    "save_run",
]
