"""What is found of a model before it is recorded: its layers in order, and that they are functions.

What is recorded of an input must not depend on chance or on the others of its batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import nn

from skinfo.networks.inputs import ModelInputs, leaving_units_out, tensors_in
from skinfo.networks.listening import Listener, Seen
from skinfo.runs import Layer

# So many inputs are tried alone and beside others, as far as their outputs take no more bytes.
_TRIED, _TRIED_BYTES, _FEW = 256, 2**26, 8
# Rounding depends on the size of a batch, and may turn over a few rows of codes or spikes.
_ROUNDED_ROWS = 0.02
_UNKNOWN_NOISE = (
    "The model gives two results for one input, with skinfo's own noise off: it has noise that the "
    "recorder does not know of, or keeps a state between passes. Add noise by a LayerNoise or "
    "sigma, so that its standard deviation is recorded."
)
_DROPOUT = (
    "The model gives two results for one input: in evaluation mode, too, it has dropout that "
    "leaves units out. Then I(X;T) is infinite for continuous inputs (Adilova, Geiger and Fischer, "
    "ICLR 2023, theorem 3.1), so nothing of it can be measured. Use Gaussian dropout of the same "
    "variance, GaussianDropout(skinfo.dropout_sigma(p)), in its place, or switch it off to measure "
    "the network without."
)


def describe_layers(listener: Listener, inputs: ModelInputs, batch_size: int) -> tuple[Layer, ...]:
    """Find the order of the layers, their sigma and what has noise before it; check them.

    Raises
    ------
    ValueError, TypeError
        As of :meth:`skinfo.networks.Recorder.describe`.
    """
    if any(nn.parameter.is_lazy(parameter) for parameter in listener.model.parameters()):
        raise ValueError(
            "The model has parameters that its first pass initialises; run it once before you "
            "record it."
        )
    noise_before: dict[str, bool] = {}
    noise_seen = False
    with listener.quiet_passes(inputs.device) as run:
        try:
            alone = run(first := inputs.take(slice(1)))
        except ValueError as error:
            raise ValueError(
                f"The model fails on one input alone ({error}), but what is recorded of an "
                "input must not depend on its batch."
            ) from error
        values = listener.values_in(alone, first)
        for name, _ in alone[:-1]:
            own = listener.noise_of(name)
            # What dropout returns has units left out already.
            noise_seen = noise_seen or name in listener.dropout
            if name in values:
                noise_before[name] = noise_seen
                _check_units(own, values[name][0].size)
            noise_seen = noise_seen or bool(own.sigma)
        n_bytes = sum(row.nbytes for row in values.values())
        n_tried = min(_TRIED, max(_FEW, _TRIED_BYTES // max(1, n_bytes)), len(inputs))
        tried = inputs.take(np.linspace(0, len(inputs) - 1, n_tried).astype(int))
        _check_rows(listener, tried, run, batch_size)
    return tuple(
        replace(listener.noise_of(name), noise_before=noise_before[name]) for name in noise_before
    )


def _check_rows(
    listener: Listener, inputs: ModelInputs, run: Callable[[ModelInputs], Seen], batch_size: int
) -> None:
    """Check that an input gives the same each time, alone and beside others."""
    n = len(inputs)
    batches = np.split(np.arange(n), range(batch_size, n, batch_size))
    parts = [inputs.take(rows) for rows in batches]
    outputs = [listener.values_in(run(part), part) for part in parts]
    together = {name: np.concatenate([values[name] for values in outputs]) for name in outputs[0]}
    differs = {name: np.zeros(n, bool) for name in together}
    rounding = _rounding(listener.model, inputs.device)
    for rows in _companies(n, batch_size):
        part = inputs.take(rows)
        seen, again = run(part), run(part)
        if not _equal(seen, again):
            with leaving_units_out() as calls:
                run(part)
            raise ValueError(_DROPOUT if calls else _UNKNOWN_NOISE)
        for name, values in listener.values_in(seen, part).items():
            scale = np.abs(together[name][np.isfinite(together[name])]).max(initial=0)
            differs[name][rows] = ~np.isclose(
                values, together[name][rows], rtol=0, atol=rounding * scale, equal_nan=True
            ).reshape(len(rows), -1).all(axis=1)
    for name, rows in differs.items():
        if rows.mean() > _ROUNDED_ROWS:
            raise ValueError(
                f"Layer {name!r} gives another output for an input where others are beside it "
                f"({rows.sum()} of {n} inputs tried), so it is no function of its input. In "
                "evaluation mode no layer may use statistics of the batch, as BatchNorm does "
                "with track_running_stats=False, and the first axis of what a module takes is "
                "that of the inputs (batch_first=True)."
            )


def _check_units(layer: Layer, n_units: int) -> None:
    """Check that the noise of a layer is that of so many units."""
    if layer.noise_model is None:
        return
    try:
        layer.noise_model.check_units(n_units)
    except ValueError as error:
        raise ValueError(f"Layer {layer.name!r}: {error}") from error


def _companies(n: int, most: int) -> list[np.ndarray]:
    """Numbers of inputs in batches of one, two, three and so on, in random order.

    Examples
    --------
    >>> [len(rows) for rows in _companies(20, most=4)]
    [1, 2, 3, 4, 4, 4, 2]
    """
    order = np.append(0, 1 + np.random.default_rng(0).permutation(n - 1))
    ends = np.minimum(np.arange(1, n + 1), most).cumsum()
    return np.split(order, ends[ends < n])


def _rounding(model: nn.Module, device: torch.device) -> float:
    """Share of a layer's largest value by which rounding may change with the size of a batch."""
    types = {parameter.dtype for parameter in model.parameters() if parameter.is_floating_point()}
    if torch.is_autocast_enabled(device.type):
        types.add(torch.get_autocast_dtype(device.type))
    return float(max(torch.finfo(dtype).eps for dtype in types or [torch.float32]) ** 0.5)


def _equal(one: Any, other: Any) -> bool:
    """Whether two results hold the same tensors; NaN equals NaN."""
    pairs = zip_longest(tensors_in(one), tensors_in(other))
    return all(a is not None and b is not None and _same(a, b) for a, b in pairs)


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors hold the same; NaN equals NaN."""
    return a.shape == b.shape and bool(((a == b) | ((a != a) & (b != b))).all())
