"""Recording a model into a run, batch by batch."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from skinfo._progress import reporting
from skinfo.errors import RunError
from skinfo.flow.own_code import digest_functions
from skinfo.networks.batches import LABELS, MASK, BatchReader
from skinfo.networks.checks import describe_layers
from skinfo.networks.inputs import ModelInputs, make_generator, tensors_in
from skinfo.networks.layers import Layers, choose_layers
from skinfo.networks.listening import Listener
from skinfo.networks.pieces import Pieces
from skinfo.networks.recorder import check_counts
from skinfo.runs import Layer, Run, open_run, save_run
from skinfo.runs.description import Record, plain, whole_epoch
from skinfo.runs.flatten import Flatten
from skinfo.runs.stores import new_store


def record_run(
    model: nn.Module,
    batches: Any,
    path: str | Path,
    *,
    layers: Layers,
    epoch: int = 0,
    labels: Any = LABELS,
    mask: str | None = MASK,
    flatten: Flatten = None,
    output: Callable[[Any], Any] | None = None,
    sigma: Any = None,
    noise: str | Mapping[str, str] = "additive",
    n_replicas: int = 24,
    keep_dropout: bool = False,
    batch_size: int = 256,
    random_state: int | None = 0,
    train: Any = None,
    losses: Mapping[str, float] | None = None,
    settings: Mapping[str, Any] | None = None,
    format: str | None = None,  # noqa: A002
    progress: bool | Callable[[int, int | None], None] | None = None,
) -> Run:
    """Record the outputs of a model's layers into a run, batch by batch.

    The model runs in evaluation mode; afterwards modes and generators are as they were, even after
    an exception. What is recorded is the output of a layer before its own noise. Memory holds one
    batch. A recording that was killed goes on where it stopped when it is called again with the
    same model and options: batches that are on disk are read again, but not run.

    Parameters
    ----------
    model : torch.nn.Module
        Any module, on any device, of any type of numbers; an outer ``torch.autocast`` counts.
    batches : array-like, tensor, mapping or tuple of them, DataLoader, list or iterator
        An array, or a mapping or tuple of arrays, is cut into batches of ``batch_size``. Anything
        else gives batches itself: arrays, passed as ``model(batch)``; dicts, as tokenisers give
        them, passed as ``model(**batch)``; or tuples (inputs, labels). The first axis of every
        array is that of the inputs.
    path : path-like
        The run, a directory; one that exists gets another checkpoint.
    layers : str, type of module, or list of these
        Names of submodules, patterns or types: ``"encoder.layer.*"`` is every part of a name
        between dots, ``"**.attention"`` any number of parts, ``torch.nn.ReLU`` all of that type.
    epoch : int, default=0
        Number of the checkpoint.
    labels : str, array-like, mapping of str to these, or None, default="labels"
        A word is the key of dicts that holds labels, and says that the last element of tuples does;
        these are not given to the model. An array holds labels of all inputs. A mapping names
        several sets. Labels are (n_inputs,), or (n_inputs, n_tokens). With None everything in a
        batch is given to the model. Batches without the default key have no labels.
    mask : str or None, default="attention_mask"
        Key of dicts that holds the mask of tokens, (n_inputs, n_tokens), false for padding. It is
        given to the model too, where its ``forward`` has an argument of that name.
    flatten : str, int, callable, or mapping of str to these, optional
        How maps and sequences are pooled before they are written, as in :func:`skinfo.open_run`,
        except "tokens". Without it they are written as they are, (n_inputs, n_tokens, n_units) or
        (n_inputs, n_channels, height, width), and are flattened when the run is opened.
    output : callable, optional
        Makes the tensor to record of what a layer returns; by default the first tensor of a tuple
        or a mapping.
    sigma, noise
        Noise that is added to the outputs of layers while the model runs, as of :class:`Recorder`.
    n_replicas : int, default=24
        Passes over each batch, each with fresh noise, where noise precedes a layer.
    keep_dropout : bool, default=False
        Whether ``torch.nn.Dropout`` modules drop units while the model is recorded, and they alone:
        a layer behind one has noise before it. Notes say what that means.
    batch_size : int, default=256
        Inputs per batch, where ``batches`` is cut.
    random_state : int or None, default=0
        Seed of noise and dropout; those of a batch depend on it and on the number of the batch.
    train, losses, settings, format
        As of :func:`skinfo.save_run`. ``settings`` get the model's class and how it was recorded.
    progress : bool or callable, optional
        A bar, by default where a person watches; or what is called with batches done and in total.

    Returns
    -------
    Run
        The run, as :func:`skinfo.open_run` opens it.

    Raises
    ------
    ValueError
        For layers that nothing matches or that do not run, or run twice; outputs whose first axis
        is not that of the inputs; a model that is random in evaluation mode, or whose outputs
        depend on the batch; batches whose keys change; a mask of another shape, or false for all
        tokens of an input; an array of labels beside a loader that shuffles.
    RunError
        If the epoch was recorded of another state of the model or with other options, another run
        is at the path, or batches differ from those of the call that was killed.

    Notes
    -----
    Batches whose tokens are padded to different lengths are padded with 0 to the longest, which the
    mask of the run leaves out.

    Bernoulli dropout has no density: right behind it I(X;T) is infinite for a continuous input
    [1]_, so it is never a layer's own noise here. Give an estimator a sigma, which adds noise for
    the analysis, or replace it by :class:`GaussianDropout`, which is recorded with its sigma.

    References
    ----------
    .. [1] Adilova, Geiger and Fischer, "Information Plane Analysis for Dropout Neural Networks",
       ICLR 2023, theorem 3.1.

    Examples
    --------
    >>> import tempfile
    >>> import torch
    >>> from skinfo.networks import record_run
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))
    >>> data = torch.utils.data.TensorDataset(torch.randn(20, 4), torch.arange(20) % 2)
    >>> loader = torch.utils.data.DataLoader(data, batch_size=8)
    >>> run = record_run(model, loader, tempfile.mkdtemp() + "/run", layers="*")
    >>> run.load(0, "2").array.shape, run.labels[:4].tolist()
    ((20, 2), [0, 1, 0, 1])
    """
    path, epoch = Path(path), whole_epoch(epoch, path)
    check_counts(n_replicas, batch_size)
    names = choose_layers(model, layers)
    listener = Listener(
        model, names, sigma, noise, flatten, output=output or _first_tensor, whole=True,
        keep_dropout=keep_dropout,
    )  # fmt: skip
    reader = BatchReader(model, batches, labels, mask, batch_size)
    options = plain({
        "flatten": flatten, "output": output, "keep_dropout": keep_dropout,
        "n_replicas": n_replicas, "random_state": random_state,
        "noise": {name: [layer.noise, layer.sigma] for name, layer in listener.noisy.items()},
    })  # fmt: skip
    settings = {**(settings or {}), "model": type(model).__name__, "recording": options}
    key = {
        "layers": names, **options, "code of flatten and output": digest_functions(flatten, output),
        "state of the model": _digest_state(model),
    }  # fmt: skip
    store, record = new_store(path, format)
    # A loader draws from torch's generator, too, even one that does not shuffle.
    with Pieces.of(path, epoch, key) as pieces, torch.random.fork_rng([]):
        if record is not None and epoch in store.epochs():
            _leave(pieces, path, epoch)
            return open_run(path)
        number = -1
        with reporting(progress, reader.total, "Recording") as report:
            for number, inputs in enumerate(reader):
                if number == 0:
                    described = describe_layers(listener, inputs, len(inputs))
                    _check_continued(record, described, settings, path)
                _add(pieces, number, inputs, listener, described, n_replicas, random_state)
                report(number + 1, reader.total)
        n_before = len(pieces.digests)
        if number + 1 < max(1, n_before):
            before = f", where {n_before} were recorded before" if n_before else ""
            raise ValueError(
                f"batches ended after {number + 1}{before}. An iterator or a generator gives its "
                "batches once: make a new one for each call."
            )
        arrays = pieces.arrays()
        has_tokens = any(arrays[one.name].ndim - one.noise_before == 3 for one in described)
        save_run(
            path, epoch, arrays, labels=reader.labels(), mask=reader.mask() if has_tokens else None,
            layers=described, train=train, losses=losses, settings=settings, format=format,
        )  # fmt: skip
        pieces.finish()
    return open_run(path)


def _add(
    pieces: Pieces,
    number: int,
    inputs: ModelInputs,
    listener: Listener,
    layers: Sequence[Layer],
    n_replicas: int,
    random_state: int | None,
) -> None:
    """Record a batch, unless an earlier call has; its noise depends on its number alone."""
    mask = () if inputs.mask is None else (torch.from_numpy(inputs.mask),)
    digest = _digest(chain(inputs.tensors(), mask))
    if number < len(pieces.digests):
        if pieces.digests[number] != digest:
            raise ValueError(
                f"Batch {number} is not the one that was recorded before the recording was "
                "interrupted: give the same batches in the same order (no shuffling), or remove "
                f"{pieces.folder} to begin anew."
            )
        return
    noise_before = {layer.name: layer.noise_before for layer in layers}
    noisy = {name for name in noise_before if noise_before[name]}
    generator = make_generator(_seed(random_state, number), inputs.device)
    with (
        pieces.adding(digest, n_replicas, padded=inputs.mask is not None) as write,
        listener.noisy_passes(generator) as run,
    ):
        for replica in range(n_replicas if noisy else 1):
            run(
                inputs,
                noisy if replica else noise_before,
                lambda name, values: write(name, values, replica if name in noisy else None),  # noqa: B023
            )


def _seed(random_state: int | None, number: int) -> int | None:
    if random_state is None:
        return None
    return int(np.random.SeedSequence((random_state, number)).generate_state(1, np.uint64)[0])


def _first_tensor(output: Any) -> Any:
    """The first tensor that a layer returns; what holds none is left as it is."""
    return next(tensors_in(output), output)


def _leave(pieces: Pieces, path: Path, epoch: int) -> None:
    """Leave a checkpoint as it is, if it is known to be of the same model and options."""
    if not pieces.begun:
        raise RunError(
            "is there already, and it is not known of which state of the model: give another "
            "epoch or another path, or remove the checkpoint",
            path=path, epoch=epoch,
        )  # fmt: skip
    pieces.finish()
    warnings.warn(
        f"epoch {epoch} of {path} was recorded before, of the same state of the model: it is left "
        "as it is, and no batch is read",
        UserWarning,
        stacklevel=3,
    )


def _check_continued(
    record: Record | None, layers: Sequence[Layer], settings: Mapping[str, Any], path: Path
) -> None:
    """Check that the run at the path is of the same layers and settings, before all is recorded."""
    described = {
        "layers": [layer.record() for layer in layers],
        "settings": plain(settings, np.inf),
    }
    for name, value in described.items():
        if record is not None and record.get(name) != value:
            raise RunError(
                f"another run exists already: its {name} differ. Write to another directory or "
                "remove this one.",
                path=path,
            )


def _digest_state(model: nn.Module) -> str:
    """Tell a state of a model from others by its modules, parameters, buffers and autocast."""
    autocast = [
        torch.get_autocast_dtype(d) for d in ("cpu", "cuda") if torch.is_autocast_enabled(d)
    ]
    return _digest(chain(model.parameters(), model.buffers()), f"{plain(model)} {autocast}")


def _digest(tensors: Iterable[torch.Tensor], text: str = "") -> str:
    digest = hashlib.blake2b(text.encode(), digest_size=16)
    for tensor in tensors:
        strided = tensor.detach().to_dense() if tensor.layout != torch.strided else tensor.detach()
        digest.update(f"{strided.dtype} {tuple(strided.shape)}".encode())
        digest.update(strided.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
