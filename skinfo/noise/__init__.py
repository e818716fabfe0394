"""Noise as networks have it: one file per model."""

from skinfo.noise.additive import AdditiveNoise
from skinfo.noise.affine import AffineNoise
from skinfo.noise.lognormal import LogNormalNoise
from skinfo.noise.model import NOISES, Coordinates, Noise, make_noise
from skinfo.noise.multiplicative import MultiplicativeNoise, dropout_sigma

__all__ = [
    "NOISES",
    "AdditiveNoise",
    "AffineNoise",
    "Coordinates",
    "LogNormalNoise",
    "MultiplicativeNoise",
    "Noise",
    "dropout_sigma",
    "make_noise",
]
