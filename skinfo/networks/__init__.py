"""Noisy networks in torch: noise on layers, recording, the paper's networks and their training."""

from skinfo.errors import needs_extra

with needs_extra("Training and recording networks", "torch"):
    import torch  # noqa: F401

from skinfo.networks.cnn import make_cnn
from skinfo.networks.mlp import make_mlp
from skinfo.networks.noise import GaussianNoise, noisy_layers
from skinfo.networks.recorder import Recorder
from skinfo.networks.trainer import Trainer, parseval_step

__all__ = [
    "GaussianNoise",
    "Recorder",
    "Trainer",
    "make_cnn",
    "make_mlp",
    "noisy_layers",
    "parseval_step",
]
