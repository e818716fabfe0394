"""Which inputs of a run are meant."""

from __future__ import annotations

from typing import Any

import numpy as np


def subset_mask(subset: Any, train: np.ndarray | None, n_inputs: int | None) -> np.ndarray:
    """Turn "train", "test" or a mask into a mask over the inputs of a run.

    Raises
    ------
    ValueError
        For another word, a split that the run does not have, and a mask of another length or
        without inputs.

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
        mask = np.asarray(subset)
        if mask.dtype != bool or mask.ndim != 1:
            raise ValueError("A subset mask holds one True or False for each input.")
    if n_inputs is not None and len(mask) != n_inputs:
        raise ValueError(f"The mask has {len(mask)} entries for {n_inputs} inputs.")
    if not mask.any():
        raise ValueError("The subset holds no inputs.")
    return mask
