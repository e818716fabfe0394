"""Runs are opened, wherever their arrays are."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from skinfo.errors import RunError, name_some
from skinfo.runs.beside import (
    BESIDE,
    Beside,
    check_beside,
    choose_labels,
    label_sets,
    labels_of,
    make_beside,
    same,
)
from skinfo.runs.description import Layer, Record, make_layers
from skinfo.runs.flatten import Flatten, Flattening
from skinfo.runs.run import Run
from skinfo.runs.store import Store
from skinfo.runs.stores import find_store
from skinfo.runs.stores.base import DiskStore, natural_order, read_beside
from skinfo.runs.stores.memory import MemoryStore


def open_run(
    source: str | Path | Mapping[tuple[int, str], Any] | Mapping[int, Mapping[str, Any]],
    *,
    labels: Any = None,
    groups: Any = None,
    mask: Any = None,
    sigma: Any = None,
    noise: str | Mapping[str, str] | None = None,
    layers: Sequence[str] | None = None,
    train: Any = None,
    format: str | None = None,  # noqa: A002
    flatten: Flatten = None,
    channels: str = "first",
    axes: str | Mapping[str, str] | None = None,
) -> Run:
    """Open saved activations: what skinfo wrote, what others wrote, or arrays in memory.

    Parameters
    ----------
    source : path-like or mapping
        What :func:`save_run` wrote; or what others did: a directory of numbered .npz,
        .safetensors, .h5 or directories of .npy, an HDF5 file or zarr container
        ``/<epoch>/activations/<layer>`` (in a name the epoch is the number after the word epoch or
        step, else the last); or arrays in memory, by (epoch, layer) or nested
        ``{epoch: {layer: array}}``. An array is (n_rows, n_units) or
        (n_inputs, n_replicas, n_units), or has maps or tokens for ``flatten``.
    labels : array-like, mapping of str to array-like, or str, optional
        Label of each input, (n_inputs,), or of each token, (n_inputs, n_tokens); or several such
        sets by name. This and what follows, up to ``train``, describe what does not describe
        itself; where a run does, it must agree, and sets of other names are added. A text is
        the name of the one of the run's sets that is to be used; by default all are.
    groups : array-like of shape (n_rows,), optional
        Input of each row of two-dimensional arrays whose rows are replicas, indexing ``labels``.
    mask : array-like of shape (n_inputs, n_tokens), optional
        Which tokens are real: True or 1, and False or 0 for padding, on either side. It is that of
        every layer that has tokens.
    sigma : float, array-like, or mapping of str to any of them or str, optional
        Standard deviation of the noise of all layers, or of each, as of
        :class:`skinfo.runs.Layer`: a number, one per unit, or in a mapping the name of the array
        that holds one for each row and unit, which is then no layer.
    noise : str or mapping of str to str, optional
        What noise it is, of all layers or of each: "additive", "multiplicative" (Gaussian dropout),
        "affine" or "lognormal"; see :func:`skinfo.noise.make_noise`. By default what the run says,
        or else additive.
    layers : sequence of str, optional
        Names in network order; by default that of ``source``: of the dict, of the first .npz, of
        the HDF5 file if it tracks it; else by the numbers in the names, layer9 before layer10.
    train : array-like of shape (n_train,), optional
        Indices of the inputs that the network was trained on.
    format : {"npz", "npy", "safetensors", "hdf5", "zarr"}, optional
        Needed only where a directory holds several.
    flatten : str, int, callable or mapping of str to any of them, optional
        How what has more axes becomes units, for all layers or by layer:

        - "all": every position of every channel is a unit (c h w of them);
        - "channel_mean": the mean over positions (c);
        - "spatial": the mean over channels (h w);
        - a callable: maps an array (rows, ...) to (rows, n_units);
        - "token_mean", "token_last", or the number of a token: one row per sequence, of its real
          tokens; a number is a place in the array, where no sequence may have padding;
        - "tokens": each real token is an input of its own, with its label or its sequence's. Then
          I(X;T) is about X = (sequence, position), with the logarithm of their number as its
          ceiling; tokens of one sequence are not drawn independently, so with ``population=True``
          a flow hands the sequences over as ``clusters``.

        Of masked tokens "all" is an error, and a callable is given NaN.

        For all layers, the first three leave arrays of two and three axes as they are, and a
        callable those of two; behind noise, where three axes may be replicas, it is an error. What
        is given for one layer is always done: its three axes are then (inputs, c, length), or
        (inputs, tokens, units).
    channels : {"first", "last"}, default="first"
        Where maps have their channels: (n, c, h, w) or (n, h, w, c).
    axes : str or mapping of str to str, optional
        What each axis is, where all this does not say it: n input, r replica, t token, c channel or
        unit; h, w, d, l space. For example "tnc" for sequences whose first axis is time.

    Returns
    -------
    Run
        The run; arrays are read one at a time, when asked for.

    Raises
    ------
    RunError
        If there is no run, it cannot be read, or its parts do not fit together.
    MissingExtraError
        If the format needs a library that is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import open_run
    >>> run = open_run({(1, "a"): np.zeros((3, 2)), (1, "b"): np.ones((3, 2))}, sigma=0.1)
    >>> [(layer.name, layer.sigma, layer.noise_before) for layer in run.layers]
    [('a', 0.1, False), ('b', 0.1, True)]
    >>> maps = {(1, "conv"): np.ones((3, 16, 8, 8))}
    >>> open_run(maps, flatten="channel_mean").load(1, "conv").array.shape
    (3, 16)
    """
    flattening = Flattening(flatten, channels, axes)
    name = "memory" if isinstance(source, Mapping) else str(source)
    chosen, labels = (labels, None) if isinstance(labels, str) else (None, labels)
    given = make_beside(labels, groups, mask, name)
    if not isinstance(source, Mapping):
        run = _open_stored(*find_store(Path(source), format), given, sigma, noise, layers, train)
    else:
        if format is not None:
            raise TypeError("format= is for runs on disk; these arrays are in memory.")
        by_place: Mapping[Any, Any] = source
        if all(isinstance(arrays, Mapping) for arrays in source.values()):
            by_place = {(e, name): a for e, by in by_place.items() for name, a in by.items()}
        store = MemoryStore(by_place)
        names = store.layers() if layers is None else list(layers)
        run = _undescribed_run(store, names, given, sigma, noise, train, name)
    flattening.check_names([layer.name for layer in run.layers])
    run = replace(run, flattening=flattening)
    if chosen is not None:
        run = replace(run, labels=choose_labels(run.labels, chosen, name))
    if not (labels is None and groups is None and mask is None):
        _check_labels(run)
        _check_tokens(run)
    # An epoch that no table can hold is refused here.
    _ = run.epochs
    return run


def _check_labels(run: Run) -> None:
    """Labels or groups that fit no array are a mistake in the call; one misfit is the array's."""
    failure: RunError | None = None
    for epoch, layer in product(run.epochs, run.layers):
        misfit = run.misfit(epoch, layer.name)
        if misfit is None:
            return
        failure = failure or misfit
    if failure is not None:
        raise failure


def _check_tokens(run: Run) -> None:
    """A mask or labels of tokens that no array has are a mistake in the call."""
    shapes: list[tuple[int, ...]] = []
    for epoch, layer in product(run.epochs, run.layers) if run.n_tokens else ():
        # One that cannot be looked at has an error of its own when it is read.
        with suppress(RunError):
            shapes.append(run.stored_shape(epoch, layer.name)[0])
    if shapes:
        run.check_some_tokens(shapes)


def _open_stored(
    store: DiskStore,
    record: Record | None,
    given: Beside,
    sigma: Any,
    noise: str | Mapping[str, str] | None,
    layers: Sequence[str] | None,
    train: Any,
) -> Run:
    """A run on disk, with what it says of itself and what the caller says."""
    arrays = read_beside(store, record)
    for name, values in given.items():
        if values is not None and not (arrays.get(name) is None or same(arrays[name], values)):
            raise _contradicts(name, store)
        arrays[name] = arrays.get(name) if values is None else values
    if arrays["labels"] is not None and len(arrays) > len(BESIDE):
        raise _contradicts("labels", store)
    if record is None:
        names, guessed = _names_in(store) if layers is None else (list(layers), False)
        run = _undescribed_run(store, names, arrays, sigma, noise, train, str(store.path))
        return replace(run, order_from_names=guessed)
    if train is not None:
        numbers = [int(i) for i in np.asarray(train)]
        if record.get("train") not in (None, numbers):
            raise _contradicts("train", store)
        record = record | {"train": numbers}
    run = described_run(store, record, arrays, name=str(store.path), where=store.where)
    if layers is not None and list(layers) != [layer.name for layer in run.layers]:
        raise _contradicts("layers", store)
    return replace(run, layers=_with_noise(run.layers, sigma, noise, store))


def _contradicts(what: str, store: DiskStore) -> RunError:
    return RunError(
        f"the run describes itself, and its {what} differ from what was given; leave it out",
        path=store.path,
    )


def _names_in(store: DiskStore) -> tuple[list[str], bool]:
    """The layers of all readable checkpoints, and whether their order is that of their names.

    Those of the first come first; one that is missing later, or appears later, is a layer too.
    """
    failure: RunError | None = None
    layers: dict[str, None] = {}
    in_order = True
    for epoch in store.epochs():
        try:
            names, ordered = store.names(epoch), store.keeps_order(epoch)
        except RunError as error:
            failure = failure or error
            continue
        if names:
            layers |= dict.fromkeys(names)
            in_order = in_order and ordered
        failure = failure or RunError("holds no arrays", path=store.path, epoch=epoch)
    if not layers:
        raise failure or RunError(
            "there is no run here: it has no checkpoints. Where the epoch is the first axis of "
            "each array: open_run({epoch: {name: array[k] for name, array in arrays.items()} for "
            "k, epoch in enumerate(epochs)})",
            path=store.path,
        )
    if all(re.fullmatch(r"(epoch|step)s?[\W_]*\d+", name, re.IGNORECASE) for name in layers):
        raise RunError(
            f"its layers would be {name_some(layers)}, which are epochs: it is ordered by layer. "
            "Turn it round: open_run({epoch: {layer: arrays[layer][epoch] for layer in layers} for "
            "epoch in epochs})",
            path=store.path,
        )
    return list(layers) if in_order else natural_order(layers), not in_order and len(layers) > 1


def _with_noise(
    layers: tuple[Layer, ...],
    sigma: Any,
    noise: str | Mapping[str, str] | None,
    store: DiskStore,
) -> tuple[Layer, ...]:
    """What is on record stays; an unknown sigma, and its noise, may be given."""
    if sigma is None and noise is None:
        return layers
    names = [layer.name for layer in layers]
    # Names that are no layers are found here.
    make_layers(names, None, noise)
    kinds = {layer.name: layer.noise for layer in layers}
    if noise is not None:
        kinds |= noise if isinstance(noise, Mapping) else dict.fromkeys(names, noise)
    deviations: dict[str, Any] = {}
    for stored, new in zip(layers, make_layers(names, sigma, kinds), strict=True):
        on_record = stored.sigma is not None or stored.noise != "additive"
        if on_record and new.noise != stored.noise:
            raise _contradicts(f"noise of layer {stored.name!r}", store)
        if stored.sigma is not None and new.sigma not in (None, stored.sigma):
            raise _contradicts(f"sigma of layer {stored.name!r}", store)
        deviations[stored.name] = new.sigma if stored.sigma is None else stored.sigma
    return tuple(
        replace(new, noise_before=new.noise_before or stored.noise_before)
        for stored, new in zip(layers, make_layers(names, deviations, kinds), strict=True)
    )


def described_run(
    store: Store,
    record: Record,
    arrays: Beside,
    *,
    name: str,
    where: Callable[[str], str | Path],
) -> Run:
    """Put a run together from its description and the arrays beside it; check that they fit.

    ``where`` gives the place of each of them, for messages.
    """
    layers = tuple(Layer(**layer) for layer in record["layers"])
    rest = {part: record[part] for part in ("seed", "versions", "settings", "schema")
            if part in record}  # fmt: skip
    train = record.get("train")
    return _fitted_run(store, layers, arrays, train, where, name=name, **rest)


def _undescribed_run(
    store: Store,
    names: Sequence[str],
    arrays: Beside,
    sigma: Any,
    noise: str | Mapping[str, str] | None,
    train: Any,
    name: str,
) -> Run:
    """A run that does not describe itself."""
    groups = arrays["groups"]
    for labels in label_sets(labels_of(arrays)).values():
        n_inputs = np.inf if groups is None else len(np.unique(groups))
        if groups is not None and n_inputs < len(labels) == len(groups):
            raise RunError(
                f"labels hold one label per input, and groups index them; got {len(labels)} "
                f"labels, one per row, for {n_inputs} inputs. Pass labels[i] for input i."
            )
    layers = make_layers(names, sigma, noise)
    return _fitted_run(store, layers, arrays, train, lambda _: name, name=name)


def _fitted_run(
    store: Store,
    layers: tuple[Layer, ...],
    arrays: Beside,
    train: Any,
    where: Callable[[str], str | Path],
    **described: Any,
) -> Run:
    trained = check_beside(arrays, train, where)
    return Run(store, layers, labels=labels_of(arrays), groups=arrays["groups"],
               mask=arrays["mask"], train=trained, **described)  # fmt: skip
