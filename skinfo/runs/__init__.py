"""Runs: activations saved at checkpoints, with what is known of the network that made them."""

from skinfo.runs.layers import Layer
from skinfo.runs.npz import RunWriter
from skinfo.runs.opening import open_run
from skinfo.runs.run import Activations, Run

__all__ = ["Activations", "Layer", "Run", "RunWriter", "open_run"]
