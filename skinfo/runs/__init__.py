"""Runs: activations saved at checkpoints, with what is known of the network that made them."""

from skinfo.runs.converting import convert_run
from skinfo.runs.description import Layer
from skinfo.runs.opening import open_run
from skinfo.runs.run import Activations, Run, Store
from skinfo.runs.writing import RunWriter, save_run

__all__ = [
    "Activations",
    "Layer",
    "Run",
    "RunWriter",
    "Store",
    "convert_run",
    "open_run",
    "save_run",
]
