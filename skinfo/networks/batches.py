"""What a model is recorded on: arrays, loaders and iterators of batches, with labels and a mask."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import RandomSampler

from skinfo._rows import as_array
from skinfo.networks.inputs import ModelInputs

#: The keys that are looked for where nothing is said of them; a batch need not have them.
LABELS, MASK = "labels", "attention_mask"


class BatchReader:
    """Batches, each taken apart into what the model is given, a mask and labels.

    Parameters
    ----------
    model, batches, labels, mask, batch_size
        As of :func:`skinfo.networks.record_run`.

    Attributes
    ----------
    total : int or None
        How many batches there are; None where only the last one tells.
    """

    def __init__(
        self, model: nn.Module, batches: Any, labels: Any, mask: str | None, batch_size: int
    ) -> None:
        sets = labels if isinstance(labels, Mapping) else {"": labels}
        self._given = {
            name: as_array(values, "labels")
            for name, values in sets.items()
            if values is not None and not isinstance(values, str)
        }
        if self._given and isinstance(getattr(batches, "sampler", None), RandomSampler):
            raise ValueError(
                "labels are an array, in the order of the inputs, but the loader shuffles them: "
                "take shuffle=False, or let its batches hold the labels."
            )
        self._label_keys = {name: key for name, key in sets.items() if isinstance(key, str)}
        self._model = model
        self._mask_key = mask
        self._keys: set[str] | None = None
        self._labels: dict[str, list[np.ndarray]] = {}
        self._masks: list[np.ndarray] = []
        self._tokens = self._pads = 0
        self._batches = _split(batches, batch_size)
        try:
            self.total: int | None = len(self._batches)  # type: ignore[arg-type]
        except TypeError:
            self.total = None

    def __iter__(self) -> Iterator[ModelInputs]:
        """Inputs as the model takes them, with their mask; masks and labels are kept."""
        for number, batch in enumerate(self._batches):
            try:
                inputs, labels = self._read(batch)
            except ValueError as error:
                raise ValueError(f"Batch {number}: {str(error).rstrip('.')}.") from error
            self._keep(inputs, labels)
            yield inputs

    def _read(self, batch: Any) -> tuple[ModelInputs, dict[str, np.ndarray]]:
        labels: dict[str, Any] = {}
        mask = None
        if isinstance(batch, tuple | list):
            batch = tuple(batch)
            if self._label_keys and len(batch) > 1:
                if len(self._label_keys) > 1:
                    raise ValueError(
                        "labels names several keys, but a batch that is a tuple has one set, its "
                        "last element; make the batches dicts"
                    )
                labels[next(iter(self._label_keys))] = batch[-1]
                batch = batch[:-1]
            batch = batch[0] if len(batch) == 1 else batch
        if isinstance(batch, Mapping):
            batch = dict(batch)
            self._check_keys(batch)
            labels |= {
                name: batch.pop(key) for name, key in self._label_keys.items() if key in batch
            }
            mask = batch.get(self._mask_key)
            if mask is not None and not _takes(self._model, str(self._mask_key)):
                del batch[self._mask_key]
        inputs = ModelInputs.of(batch, self._model)
        if mask is not None:
            checked = _as_mask(mask, len(inputs), str(self._mask_key))
            inputs = replace(inputs, mask=checked)
        return inputs, {name: _as_labels(values, inputs) for name, values in labels.items()}

    def _keep(self, inputs: ModelInputs, labels: Mapping[str, np.ndarray]) -> None:
        for name, values in labels.items():
            self._labels.setdefault(name, []).append(values)
        if inputs.mask is not None:
            self._masks.append(inputs.mask)
        ids = inputs.named.get("input_ids")
        pad = getattr(getattr(self._model, "config", None), "pad_token_id", None)
        if pad is not None and isinstance(ids, torch.Tensor):
            self._tokens += ids.numel()
            self._pads += int((ids == pad).sum())

    def mask(self) -> np.ndarray | None:
        """Real tokens of the inputs of all batches; None where the batches have no mask."""
        return _joined(self._masks) if self._masks else None

    def labels(self) -> dict[str, np.ndarray] | np.ndarray | None:
        """Labels of the inputs of all batches, as :func:`skinfo.save_run` takes them."""
        sets = {name: _joined(parts) for name, parts in self._labels.items()} | self._given
        if self._pads and not self._masks and any(array.ndim > 1 for array in sets.values()):
            warnings.warn(
                f"{self._pads / self._tokens:.0%} of the tokens are padding (input_ids equal to "
                "the model's pad_token_id), and have labels per token, but the batches have no "
                "mask: padding counts as tokens. Give attention_mask, or mask= of another key",
                UserWarning,
                stacklevel=3,
            )
        return sets if sets.keys() - {""} else sets.get("")

    def _check_keys(self, batch: Mapping[str, Any]) -> None:
        """Check that the keys are those of the first batch, and those that were asked for."""
        if self._keys is None:
            self._keys = set(batch)
            named = {*self._label_keys.values(), self._mask_key} - {LABELS, MASK, None}
            if missing := sorted(map(str, named - self._keys)):
                raise ValueError(f"there is no key {missing[0]!r}; there are: {', '.join(batch)}")
        changed = self._keys ^ set(batch)
        if changed:
            key = min(changed)
            where = "not in the first batch" if key in batch else "in the first batch, not in this"
            raise ValueError(f"the keys change: {key!r} is {where}")


def _as_labels(values: Any, inputs: ModelInputs) -> np.ndarray:
    """Labels of a batch, checked: one per input, or one per token."""
    array = as_array(values, "labels")
    n_tokens = None if inputs.mask is None else inputs.mask.shape[1]
    if array.ndim == 2 and array.shape[1] == 1 != n_tokens:
        array = array[:, 0]
    per_token = array.ndim == 2 and n_tokens in (None, array.shape[1])
    if len(array.shape[:1]) == 0 or len(array) != len(inputs) or not (array.ndim == 1 or per_token):
        tokens = "" if n_tokens is None else f" of {n_tokens} tokens"
        raise ValueError(
            f"labels have shape {array.shape} for {len(inputs)} inputs{tokens}; give one per "
            "input, or one per token"
        )
    return array


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    """Arrays one below another; rows shorter than others are padded with 0, "" or false."""
    if len({part.ndim for part in parts}) > 1:
        raise ValueError("labels are one per input in some batches, and one per token in others.")
    shape = sum(map(len, parts)), *np.max([part.shape[1:] for part in parts], axis=0).astype(int)
    joined = np.zeros(shape, np.result_type(*parts))
    start = 0
    for part in parts:
        end = start + len(part)
        joined[(slice(start, end), *map(slice, part.shape[1:]))] = part
        start = end
    return joined


def _as_mask(values: Any, n_inputs: int, key: str) -> np.ndarray:
    """Real tokens of each input, checked."""
    mask = as_array(values, key)
    if mask.ndim != 2 or len(mask) != n_inputs:
        raise ValueError(
            f"{key!r} has shape {mask.shape} for {n_inputs} inputs; a mask of tokens is (n_inputs, "
            "n_tokens). mask= names another key, or None for none"
        )
    mask = mask != 0
    empty = np.flatnonzero(~mask.any(axis=1))
    if len(empty):
        raise ValueError(
            f"{key!r} is false for every token of input {empty[0]}; leave such inputs out"
        )
    return mask


def _takes(model: nn.Module, name: str) -> bool:
    """Whether a model has an argument of that name."""
    parameters = inspect.signature(model.forward).parameters.values()
    return any(p.name == name or p.kind is p.VAR_KEYWORD for p in parameters)


def _split(batches: Any, batch_size: int) -> Iterable[Any]:
    """Batches as they are; an array, and a mapping or a tuple of arrays, are cut into batches."""
    if isinstance(batches, Mapping | tuple) or hasattr(batches, "shape"):
        n = _length(batches)
        return [_rows(batches, slice(k, k + batch_size)) for k in range(0, n, batch_size)]
    if isinstance(batches, str | bytes) or not isinstance(batches, Iterable):
        raise TypeError(
            "batches is an array, a mapping of arrays, a loader, a list or an iterator of batches; "
            f"got a {type(batches).__name__}."
        )
    return batches


def _length(values: Any) -> int:
    """Number of inputs of arrays; 0 where none has an axis."""
    if isinstance(values, Mapping | tuple):
        parts = values.values() if isinstance(values, Mapping) else values
        return max(map(_length, parts), default=0)
    return len(values) if _is_cut(values) else 0


def _rows(values: Any, rows: slice) -> Any:
    if isinstance(values, Mapping):
        return {name: _rows(part, rows) for name, part in values.items()}
    if isinstance(values, tuple):
        return tuple(_rows(part, rows) for part in values)
    return values[rows] if _is_cut(values) else values


def _is_cut(values: Any) -> bool:
    return isinstance(values, list) or getattr(values, "ndim", 0) > 0
