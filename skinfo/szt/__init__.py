"""The SZT network of the paper: its layers, its training, its recording and the demo."""

from skinfo.errors import needs_extra

with needs_extra("Training and recording networks", "torch"):
    import torch  # noqa: F401

from skinfo.szt.recording import HIDDEN, N_TRAIN, SIGMA, SztSettings, record_training
from skinfo.szt.training import Trainer, make_mlp, parseval_step

__all__ = [
    "HIDDEN",
    "N_TRAIN",
    "SIGMA",
    "SztSettings",
    "Trainer",
    "make_mlp",
    "parseval_step",
    "record_training",
]
