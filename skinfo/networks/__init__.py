"""Noisy networks in torch: noise on layers, recording."""

from skinfo.errors import needs_extra

with needs_extra("Training and recording networks", "torch"):
    import torch  # noqa: F401

from skinfo.networks.noise import (
    GaussianDropout,
    GaussianNoise,
    LayerNoise,
    LogNormalDropout,
    noisy_layers,
)
from skinfo.networks.recorder import Recorder
from skinfo.networks.recording import record_run

__all__ = [
    "GaussianDropout",
    "GaussianNoise",
    "LayerNoise",
    "LogNormalDropout",
    "Recorder",
    "noisy_layers",
    "record_run",
]
