"""Arrays beside the checkpoints of a run: labels in sets, groups, and the mask of its tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from skinfo._rows import as_array, one_each
from skinfo.errors import RunError
from skinfo.runs.description import Record, check_name

#: Arrays that may lie beside a description; of several sets of labels each has a name of its own.
BESIDE = ("labels", "groups", "mask")
#: What the names of sets of labels begin with, where they lie among the others.
_SET = "labels-"

#: Arrays beside a run by their names, None for those that it does not have.
Beside: TypeAlias = dict[str, np.ndarray | None]
#: One set of labels, or several by name: (n_inputs,) each, or (n_inputs, n_tokens).
Labels: TypeAlias = np.ndarray | Mapping[str, np.ndarray] | None


def make_beside(labels: Any, groups: Any, mask: Any, path: str | Path) -> Beside:
    """Labels, or sets of them by name, groups and a mask as arrays, each checked by itself."""
    for name in labels if isinstance(labels, Mapping) else ():
        check_name(name, "a set of labels")
    given = beside_of(labels, groups, mask)
    real = checked(mask, "mask", path)
    arrays = {name: checked(values, name, path, real) for name, values in given.items()}
    for name, values in given.items():
        _check_words(arrays[name], values)
    return arrays


def beside_of(labels: Any, groups: Any, mask: Any) -> dict[str, Any]:
    """Labels, groups and a mask by the names that they have beside a run.

    Examples
    --------
    >>> beside_of({"topic": [0, 1]}, None, None)
    {'labels': None, 'groups': None, 'mask': None, 'labels-topic': [0, 1]}
    """
    named = isinstance(labels, Mapping)
    sets = {f"{_SET}{name}": values for name, values in labels.items()} if named else {}
    return {"labels": None if named else labels, "groups": groups, "mask": mask, **sets}


def _check_words(array: np.ndarray | None, given: Any) -> None:
    """Check that every file can hold the words that labels are."""
    if array is not None and array.dtype.kind == "U":
        # In a list: numpy takes a NUL at the end of a word for padding.
        rows = given if isinstance(given, list | tuple) else array.ravel().tolist()
        words = chain.from_iterable(r if isinstance(r, list | tuple) else [r] for r in rows)
        for word in {str(word) for word in words} - {""}:
            check_name(word, "a label")


def names_beside(record: Record | None) -> list[str]:
    """Names of the arrays that may lie beside a run of this description.

    Examples
    --------
    >>> names_beside({"labels": ["topic"], "mask": True})
    ['labels', 'groups', 'mask', 'labels-topic']
    """
    return [*BESIDE, *(f"{_SET}{name}" for name in (record or {}).get("labels", ()))]


def needed_beside(record: Record | None) -> list[str]:
    """Names of the arrays that a run says that it has: without them it would be another."""
    record = record or {}
    return [name for name in names_beside(record) if name.startswith(_SET)] + (
        ["mask"] if record.get("mask") else []
    )


def described_beside(arrays: Beside) -> Record:
    """What a description says of them."""
    sets = [name.removeprefix(_SET) for name in arrays if name.startswith(_SET)]
    return ({"labels": sets} if sets else {}) | (
        {"mask": True} if arrays.get("mask") is not None else {}
    )


def labels_of(arrays: Beside) -> Labels:
    """The labels of a run: one set without a name, or all that have one."""
    sets = {
        name.removeprefix(_SET): values
        for name, values in arrays.items()
        if name.startswith(_SET) and values is not None
    }
    return sets or arrays.get("labels")


def label_sets(labels: Labels) -> dict[str, np.ndarray]:
    """Sets of labels by name; one that has none is called "".

    Examples
    --------
    >>> label_sets(np.array([0, 1])), label_sets(None)
    ({'': array([0, 1])}, {})
    """
    if labels is None:
        return {}
    return dict(labels) if isinstance(labels, Mapping) else {"": labels}


def real_labels(
    labels: Labels, mask: np.ndarray | None, chosen: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Labels of the chosen inputs, or of the tokens of these that are real, of each set in a list.

    Examples
    --------
    >>> real_labels({"word": np.array([[1, 2], [3, 0]])}, np.array([[True, True], [True, False]]))
    {'word': array([1, 2, 3])}
    """
    rows = slice(None) if chosen is None else chosen
    return {
        name: (of[rows] if mask is None or of.ndim == 1 else of[rows][mask[rows]]).ravel()
        for name, of in label_sets(labels).items()
    }


def count_inputs(labels: Labels, groups: np.ndarray | None, mask: np.ndarray | None) -> int | None:
    """How many inputs labels, mask or groups are for; None where there are none of them."""
    for of_inputs in (*label_sets(labels).values(), mask):
        if of_inputs is not None:
            return len(of_inputs)
    return None if groups is None else int(groups.max()) + 1


def count_tokens(labels: Labels, mask: np.ndarray | None) -> int | None:
    """How many tokens a mask, or labels of tokens, are for; None where there are neither."""
    of_tokens = (mask, *label_sets(labels).values())
    return next((a.shape[1] for a in of_tokens if a is not None and a.ndim == 2), None)


def check_some_tokens(
    labels: Labels, mask: np.ndarray | None, n_inputs: int | None, shapes: Sequence[tuple[int, ...]]
) -> None:
    """Check that some array, of those of these shapes, has the tokens of the mask or the labels."""
    n_tokens = count_tokens(labels, mask)
    for shape in shapes if n_tokens is not None else ():
        # One axis is that of the inputs, whichever that is.
        place = shape.index(n_inputs) if n_inputs in shape else 0
        if len(shape) > 2 and n_tokens in shape[:place] + shape[place + 1 :]:
            return
    if n_tokens is None:
        return
    what, hint = "mask is", ""
    if mask is None:
        what = "labels are"
        hint = "; labels of inputs are one for each, and of one-hot labels labels.argmax(axis=1)"
    raise ValueError(
        f"the {what} of {n_tokens} tokens, which no layer has: the arrays have shapes "
        f"{', '.join(map(str, dict.fromkeys(shapes)))}{hint}"
    )


def counts_in_words(labels: Labels, groups: np.ndarray | None, mask: np.ndarray | None) -> str:
    """How many labels, masks and groups there are, for messages.

    Examples
    --------
    >>> counts_in_words(np.array([0, 1]), np.array([0, 1, 1]), None)
    '2 labels, one per input, and 3 groups, one per row'
    """
    what = "masks" if labels is None else "labels"
    count = count_inputs(labels, None, mask)
    of_inputs = "" if count is None else f"{count} {what}, one per input"
    if groups is None:
        return of_inputs
    of_rows = f"{len(groups)} groups, one per row"
    if of_inputs:
        return f"{of_inputs}, and {of_rows}"
    return f"{of_rows}, of {int(groups.max()) + 1} inputs"


def checked(
    values: Any, name: str, path: str | Path, mask: np.ndarray | None = None
) -> np.ndarray | None:
    """One of the arrays beside a run, or None; raises RunError if it is no such array."""
    if values is None:
        return None
    try:
        if name == "mask":
            return _as_mask(values)
        return one_each(values, name) if name == "groups" else _as_labels(values, name, mask)
    except ValueError as error:
        raise RunError(str(error), path=path) from error


def _as_mask(values: Any) -> np.ndarray:
    array = as_array(values, "mask")
    if array.ndim != 2 or not array.size:
        raise ValueError(
            "mask must hold True or 1 for each token that is real, shape (n_inputs, n_tokens); "
            f"got shape {array.shape}."
        )
    other = array.dtype.kind not in "biuf" or ~((array == 0) | (array == 1))
    if np.any(other):
        found = array.dtype if other is True else array[other][0]
        raise ValueError(
            "mask must hold True or 1 for each token that is real, and False or 0 for padding; "
            f"got {found}."
        )
    mask = array.astype(bool)
    empty = np.flatnonzero(~mask.any(axis=1))
    if len(empty):
        raise ValueError(
            f"mask has no real token in {len(empty)} of {len(mask)} sequences, the first of them "
            f"number {empty[0]}; leave these out of the activations, the labels and the mask."
        )
    return mask


def _as_labels(values: Any, name: str, mask: np.ndarray | None) -> np.ndarray:
    """Labels of inputs, or of tokens, where those of masked tokens become 0 or an empty word."""
    array = as_array(values, name)
    if array.ndim < 2 or array.shape[1:] == (1,) or array.ndim > 2 or not array.size:
        return one_each(array, name)
    _check_not_one_hot(array, name)
    real = np.ones(array.shape, dtype=bool) if mask is None else mask
    if real.shape != array.shape:
        raise ValueError(
            f"{name} of tokens have shape {array.shape}, and the mask {real.shape}: there must be "
            "one label for each token."
        )
    known = one_each(array[real], name)
    labels = np.zeros(array.shape, dtype=known.dtype)
    labels[real] = known
    return labels


def _check_not_one_hot(array: np.ndarray, name: str) -> None:
    """Labels of classes as rows of zeros with a single one are no labels of tokens."""
    if array.dtype.kind in "biuf" and array.shape[0] > 1:
        one_hot = ((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all()
        if one_hot and (array.argmax(axis=1) != array[0].argmax()).any():
            raise ValueError(
                f"{name} of shape {array.shape} have a single 1 in each row: of one-hot labels "
                "take labels.argmax(axis=1), and give labels of tokens that look so as words."
            )


def check_beside(arrays: Beside, train: Any, where: Any) -> np.ndarray | None:
    """Check that labels, groups, mask and training inputs fit together; the training inputs.

    ``where`` gives the place of each of them, for messages. Training inputs are numbers, and
    become a mask over the inputs.
    """
    sets = {
        name: values
        for name, values in arrays.items()
        if values is not None and name.startswith("labels")
    }
    counted = sets | ({} if arrays["mask"] is None else {"mask": arrays["mask"]})
    for what, of_tokens in (("inputs", False), ("tokens", True)):
        counts = {
            name: values.shape[of_tokens] for name, values in counted.items()
            if values.ndim > of_tokens
        }  # fmt: skip
        if len(set(counts.values())) > 1:
            said = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise RunError(
                f"labels and mask are of different numbers of {what}: {said}",
                path=where(list(counts)[-1]),
            )
    n_inputs = next((len(values) for values in counted.values()), None)
    _check_groups(arrays["groups"], n_inputs, where("groups"))
    return _training_inputs(train, n_inputs, where("record"))


def _check_groups(groups: np.ndarray | None, n_inputs: int | None, path: str | Path) -> None:
    """Check that every group names an input."""
    if groups is None:
        return
    if groups.dtype.kind not in "iu" or groups.ndim != 1:
        raise RunError("groups must be one integer per row", path=path)
    most = np.inf if n_inputs is None else n_inputs
    if len(groups) and (groups.min() < 0 or groups.max() >= most):
        raise RunError(
            f"groups index the {most} labels; found {groups.min()} … {groups.max()}", path=path
        )


def _training_inputs(train: Any, n_inputs: int | None, path: str | Path) -> np.ndarray | None:
    """Turn numbers of training inputs into a mask over the inputs."""
    if train is None:
        return None
    if n_inputs is None:
        raise RunError("names training inputs, but there are no labels", path=path)
    indices = np.asarray(train)
    if indices.ndim != 1 or (len(indices) and indices.dtype.kind not in "iu"):
        raise RunError("train must be a list of the numbers of inputs", path=path)
    if len(indices) and (indices.min() < 0 or indices.max() >= n_inputs):
        raise RunError(
            f"train numbers the {n_inputs} inputs from 0; found {indices.min()} … {indices.max()}",
            path=path,
        )
    chosen = np.zeros(n_inputs, dtype=bool)
    chosen[indices.astype(np.int64)] = True
    return chosen


def same(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether two arrays beside a run are the same, or both are missing."""
    return one is other if one is None or other is None else np.array_equal(one, other)


def choose_labels(labels: Labels, name: str, path: str | Path) -> Labels:
    """One of several sets of labels, by its name.

    Examples
    --------
    >>> list(choose_labels({"topic": np.array([0]), "word": np.array([1])}, "word", "run"))
    ['word']
    """
    if not isinstance(labels, Mapping) or name not in labels:
        known = ", ".join(map(repr, labels)) if isinstance(labels, Mapping) else "none with a name"
        raise RunError(f"has no set of labels {name!r}; it has {known}", path=path)
    return {name: labels[name]}
