"""What can go wrong, and the warnings that travel with numbers."""

from __future__ import annotations

from pathlib import Path


class RunError(ValueError):
    """A saved run cannot be read or written; the message names file, epoch and layer.

    Parameters
    ----------
    message : str
        What is wrong and what to do about it.
    path : path-like, optional
        The file.
    epoch : int, optional
        The checkpoint.
    layer : str, optional
        The layer.

    Examples
    --------
    >>> from skinfo.errors import RunError
    >>> raise RunError("holds NaN", path="run", epoch=3, layer="layer2")
    Traceback (most recent call last):
    skinfo.errors.RunError: run, epoch 3, layer 'layer2': holds NaN
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | Path | None = None,
        epoch: int | None = None,
        layer: str | None = None,
    ) -> None:
        where = [
            str(path) if path is not None else "",
            f"epoch {epoch}" if epoch is not None else "",
            f"layer {layer!r}" if layer is not None else "",
        ]
        place = ", ".join(part for part in where if part)
        super().__init__(f"{place}: {message}" if place else message)


class MissingExtraError(ImportError):
    """A feature needs an optional dependency; the message names the extra to install."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an extra: pip install 'skinfo[{extra}]'")


class SaturationWarning(UserWarning):
    """The information is within 1 % of log n: all inputs can be told apart at this sigma."""


class ReplicaWarning(UserWarning):
    """There are too few replicas of each input for the number to mean what it should."""


class OutsideEdgesWarning(UserWarning):
    """Values lie outside the fitted edges; they were counted in the outer cells."""
