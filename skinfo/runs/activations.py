"""What is loaded of one layer at one checkpoint, and the rows that estimators are given of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from skinfo._rows import as_array
from skinfo.noise import AdditiveNoise
from skinfo.runs.description import Layer


@dataclass(frozen=True)
class Activations:
    """Rows of one layer at one checkpoint.

    Attributes
    ----------
    X : ndarray of shape (n_rows, n_units)
        Activations.
    label_sets : mapping of str to ndarray of shape (n_rows,)
        Labels of the rows by the name of their set, "" for one without a name; empty where there
        are none, and without those that are of tokens where rows are not.
    groups : ndarray of shape (n_rows,) or None
        Input of each row, where rows are replicas.
    replicas_missing : bool
        Whether noise precedes the layer but every input has one row: this is I(S;T).
    scale : ndarray of shape (n_rows, n_units) or None
        Standard deviation of the noise of each row and unit, where the run stores them.
    clusters : ndarray of shape (n_rows,) or None
        Sequence of each row, where each of its tokens is an input.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import open_run
    >>> run = open_run({(1, "a"): np.zeros((4, 3, 2))}, sigma=0.1)
    >>> rows = run.load(1, "a").replicas()
    >>> rows.X.shape, rows.groups.tolist()
    ((12, 2), [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])
    """

    X: np.ndarray
    label_sets: Mapping[str, np.ndarray] = field(default_factory=dict)
    groups: np.ndarray | None = None
    replicas_missing: bool = False
    scale: np.ndarray | None = None
    clusters: np.ndarray | None = None

    @property
    def y(self) -> np.ndarray | None:
        """Label of each row in the first set; None without labels."""
        return next(iter(self.label_sets.values()), None)

    def with_labels(self, *names: str) -> Activations:
        """The same rows with these sets of labels alone, or with none."""
        return replace(self, label_sets={name: self.label_sets[name] for name in names})


@dataclass(frozen=True, eq=False, repr=False)
class LayerActivations:
    """One layer at one checkpoint, read and checked; :meth:`Run.load` makes it.

    Attributes
    ----------
    epoch : int
        The checkpoint.
    layer : Layer
        The layer.
    array : ndarray of shape (n_rows, n_units) or (n_inputs, n_replicas, n_units)
        Activations before the layer's noise, of the inputs that were asked for.
    inputs : ndarray of shape (n_rows,)
        Input of each row of the array, unfolded to two dimensions.
    label_sets : mapping of str to ndarray of shape (n_rows,)
        Labels of the rows by the name of their set, as of :class:`Activations`.
    in_subset : ndarray of bool
        Of each input of the run that has rows, whether it was asked for.
    scale : ndarray or None
        Standard deviations of the noise, shaped like the array, where the run stores them.
    sequences : ndarray of shape (n_rows,) or None
        Sequence of each row, where each of its tokens is an input.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import open_run
    >>> S = np.random.RandomState(0).randn(100, 5, 3)  # 100 inputs, 5 noisy passes, 3 units
    >>> arrays = {(1, "first"): np.zeros((100, 2)), (1, "deep"): S}
    >>> run = open_run(arrays, sigma=0.1, labels=np.arange(100) % 2)
    >>> loaded = run.load(1, "deep")
    >>> loaded.array.shape
    (100, 5, 3)
    >>> rows = loaded.replicas()
    >>> rows.X.shape, rows.groups[:6].tolist()
    ((500, 3), [0, 0, 0, 0, 0, 1])
    >>> loaded.noisy_sample(random_state=0).X.shape
    (100, 3)
    """

    epoch: int
    layer: Layer
    array: np.ndarray
    inputs: np.ndarray
    label_sets: Mapping[str, np.ndarray]
    in_subset: np.ndarray
    scale: np.ndarray | None = None
    sequences: np.ndarray | None = None

    def replicas(self) -> Activations:
        """All rows, with the input of each: what information is estimated from."""
        has_replicas = np.count_nonzero(self.in_subset) < len(self.inputs)
        return Activations(
            _unfolded(self.array),
            self.label_sets,
            self.inputs if has_replicas else None,
            replicas_missing=self.layer.noise_before and not has_replicas,
            scale=None if self.scale is None else _unfolded(self.scale),
            clusters=self.sequences,
        )

    def noisy_sample(self, random_state: int = 0, draw: int = 0) -> Activations:
        """One sample of T per input: one of its replicas with this layer's own noise.

        Binning and clustering measure T itself, one row per input; where sigma is 0 or unknown it
        is S.

        Parameters
        ----------
        random_state : int, default=0
            Seed of the noise. An input has the same noise whatever the subset.
        draw : int, default=0
            Number of the draw: each draw, checkpoint and layer name has a random stream of its own,
            and takes the next replica of each input.
        """
        order = np.argsort(self.inputs, kind="stable")
        _, starts, counts = np.unique(self.inputs[order], return_index=True, return_counts=True)
        chosen = order[starts + draw % counts]
        every = np.array_equal(chosen, np.arange(len(self.inputs)))
        X = _unfolded(self.array) if every else _unfolded(self.array)[chosen]
        if self.layer.sigma:
            stream = [random_state, draw, self.epoch, *self.layer.name.encode()]
            shape = (len(self.in_subset), X.shape[1])
            noise = np.random.default_rng(stream).standard_normal(shape)
            noise = noise if self.in_subset.all() else noise[self.in_subset]
            if self.scale is not None:
                X = AdditiveNoise.perturb(X, noise, _unfolded(self.scale)[chosen])
            elif (model := self.layer.noise_model) is not None:
                X = model.draw(X, noise)
        labels = {name: of_rows[chosen] for name, of_rows in self.label_sets.items()}
        clusters = None if self.sequences is None else self.sequences[chosen]
        return Activations(X, labels, clusters=clusters)

    def n_draws(self, at_most: int) -> int:
        """How many noisy samples with independent noise there are, at most as many as asked for.

        Behind noise there are as many as the input with the fewest replicas has; without any noise
        there is one.
        """
        if self.layer.noise_before:
            return min(at_most, int(np.unique(self.inputs, return_counts=True)[1].min()))
        return at_most if self.layer.sigma else 1


def _unfolded(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, array.shape[-1])


def inputs_of_rows(
    of_stored: np.ndarray, tokens: int | None, mask: np.ndarray | None, replicas: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """The input of each row, and the sequence where tokens are inputs, from that of each stored.

    Token k of input i is input i * tokens + k; those that are masked have no row.

    Examples
    --------
    >>> mask = np.array([[True, True], [False, True]])
    >>> [of_rows.tolist() for of_rows in inputs_of_rows(np.arange(2), 2, mask, replicas=1)]
    [[0, 1, 3], [0, 0, 1]]
    """
    if tokens is None:
        return np.repeat(of_stored, replicas), None
    real = np.ones((len(of_stored), tokens), dtype=bool) if mask is None else mask
    inputs = (of_stored[:, None] * tokens + np.arange(tokens))[real]
    sequences = np.repeat(of_stored, real.sum(axis=1))
    return np.repeat(inputs, replicas), np.repeat(sequences, replicas)


def subset_mask(subset: Any, train: np.ndarray | None, n_inputs: int | None) -> np.ndarray:
    """Turn "train", "test" or a mask into a checked mask over the inputs of a run.

    Examples
    --------
    >>> subset_mask("test", np.array([True, False]), 2).tolist()
    [False, True]
    """
    if isinstance(subset, str):
        if subset not in ("train", "test"):
            raise ValueError(f"subset is 'train', 'test' or a mask; got {subset!r}.")
        if train is None:
            raise ValueError(f"subset={subset!r}, but the run does not say what it trained on.")
        mask = train if subset == "train" else ~train
    else:
        mask = as_array(subset, "subset")
        if mask.dtype != bool or mask.ndim != 1:
            raise ValueError("A subset mask holds one True or False for each input.")
    if n_inputs is not None and len(mask) != n_inputs:
        raise ValueError(f"The mask has {len(mask)} entries for {n_inputs} inputs.")
    if not mask.any():
        raise ValueError("The subset holds no inputs.")
    return mask
