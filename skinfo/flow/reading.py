"""How the arrays of a run become rows, checked before any is read."""

from __future__ import annotations

from collections.abc import Mapping

from skinfo.errors import RunError
from skinfo.runs import Layer, Run


def whole_layers(run: Run) -> list[Layer]:
    """Layers whose rows hold all values of each input, not a summary of them nor a token each."""
    whole: list[Layer] = []
    for layer in run.layers:
        for epoch in run.epochs:
            try:
                ndim = len(run.stored_shape(epoch, layer.name)[0])
                choice = run.flattening.of(layer.name, ndim).choice
            except ValueError:
                continue
            if choice is None or choice == "all":
                whole.append(layer)
            break
    return whole


def check_flattening(run: Run) -> None:
    """Check that the arrays of each layer can become rows, without reading them.

    A checkpoint that differs from the others, or cannot be read, is no mistake of the call. A
    callable is not checked: its result is known when the array is read.

    Raises
    ------
    RunError
        That names the choices, where no checkpoint of a layer can be flattened.
    """
    choices = run.flattening.choice
    for layer in run.layers:
        failure = None
        if callable(choices.get(layer.name) if isinstance(choices, Mapping) else choices):
            continue
        for epoch in run.epochs:
            try:
                shape, dtype = run.stored_shape(epoch, layer.name)
            except RunError:
                continue
            if len(shape) < 2 or 0 in shape or dtype.kind not in "fiu":
                continue
            try:
                run.shape(epoch, layer.name)
            except RunError as error:
                failure = failure or error
                continue
            failure = None
            break
        if failure is not None:
            raise failure
