"""The monitor of a training: it measures on the fly and keeps the table."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator

from skinfo._environment import software_versions
from skinfo.errors import RunError
from skinfo.flow import information_flow
from skinfo.flow.estimators import check_parameters, name_estimators, takes_run_range
from skinfo.flow.settings import describe_estimators, describe_layer, plain
from skinfo.flow.tables import check_no_snapshots, check_table_name, write_table
from skinfo.monitoring.digest import digest_of
from skinfo.monitoring.journal import Entry, Journal, add_entry, as_table
from skinfo.monitoring.scalars import add_scalars
from skinfo.monitoring.schedule import Schedule, as_condition
from skinfo.monitoring.state import generators_untouched
from skinfo.runs import Layer, open_run
from skinfo.runs.arrays import as_array
from skinfo.runs.flatten import Flattening
from skinfo.runs.layers import layers_in_order
from skinfo.runs.naming import whole_epoch

# The table is written again when the journal has grown by a tenth, so that an epoch costs the same
# on average however many there are.
_GROWTH = 1.1


class _Recorder(Protocol):
    """What turns a model and its inputs into arrays, for any framework."""

    @property
    def noise(self) -> dict[str, float]: ...
    def describe(self, inputs: Any) -> tuple[Layer, ...]: ...
    def record(self, inputs: Any) -> AbstractContextManager[dict[str, np.ndarray]]: ...


class FlowMonitor:
    """Measure information flow while a network is trained, without storing activations.

    Called once an epoch it runs the model on the inputs given, measures its layers with the
    estimators given and forgets the activations. The numbers are those of
    :func:`skinfo.information_flow` on a recorded run of the same weights, to the last bit. The
    training goes on as if nothing had happened: modes, gradients and the global generators of
    Python, numpy and torch are as they were.

    Parameters
    ----------
    model : torch.nn.Module, keras.Model or None
        What is trained. None for anything else; :meth:`update` is then handed activations.
    layers : sequence of str
        Names of the layers to measure; in network order where there is no model.
    estimators : estimator, iterable of estimators, or mapping of str to estimator
        What to measure with; ``NoisyMIEstimator(sigma=None)`` takes each layer's own sigma.
    X : array-like of shape (n_inputs, …), tuple or mapping of them, or None
        Inputs to run the model on, as it takes them.
    y : array-like of shape (n_inputs,), default=None
        Label of each input.
    sigma : float or mapping of str to float, optional
        Standard deviation of the noise added to the outputs of the layers, or a mapping by name;
        noise layers in the model are known without it.
    n_replicas : int, default=24
        Noisy passes over the inputs; layers with no noise before them are recorded once.
    batch_size : int, default=4096
        Inputs a pass takes at a time.
    random_state : int or None, default=0
        Seed of the noise, the same at every epoch.
    flatten : bool, default=False
        Whether maps and sequences are measured with all their values in a row; otherwise they are
        an error. For activations that are handed over also what :func:`skinfo.open_run` takes.
    every : int, iterable of int, or callable, default=1
        Which epochs to measure: every so many, those of a list such as
        :func:`log_spaced_epochs` makes, or those for which a function of the epoch is true.
    path : path-like, optional
        Table to write, .parquet or .csv. Each epoch is appended at once to a journal beside it
        (the name with ".journal" appended); the table itself is written when the journal has grown
        by a tenth, and by :meth:`save`. A monitor that finds a journal of the same settings goes on
        with it: an epoch with the same activations is not measured again, one with others voids it
        and all after it.
    tensorboard : path-like or SummaryWriter, optional
        Where values are written as scalars estimator/quantity/layer.
    n_jobs : int or None, default=None
        Threads of the estimates; the numbers do not depend on it.

    Raises
    ------
    RunError
        If the journal that is there was made with other settings, or is none.
    ValueError
        For layers that the model does not have, bins that are those of the whole run, labels that
        are not one an input, or a table's name that belongs to another one's .npz.

    Notes
    -----
    Hooks that are on the model already run in its extra passes too.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import NoisyMIEstimator
    >>> from skinfo.monitoring import FlowMonitor
    >>> from skinfo.szt import make_mlp
    >>> X, model = np.eye(4, dtype=np.float32), make_mlp((4, 3, 2))
    >>> monitor = FlowMonitor(model, ["layer1"], NoisyMIEstimator(0.1, random_state=0), X)
    >>> for epoch in range(1, 3):
    ...     rows = monitor(epoch)  # after the epoch's training
    >>> monitor.table[["epoch", "layer", "quantity", "unit"]].head(1).values.tolist()
    [[1, 'layer1', 'mutual_info', 'nats']]
    """

    def __init__(
        self,
        model: Any,
        layers: Sequence[str],
        estimators: BaseEstimator | Iterable[BaseEstimator] | Mapping[str, BaseEstimator],
        X: Any,
        y: Any = None,
        *,
        sigma: float | Mapping[str, float] | None = None,
        n_replicas: int = 24,
        batch_size: int = 4096,
        random_state: int | None = 0,
        flatten: Any = False,
        every: Schedule = 1,
        path: str | Path | None = None,
        tensorboard: Any = None,
        n_jobs: int | None = None,
    ) -> None:
        self._estimators = name_estimators(estimators)
        self._condition = as_condition(every)
        self._inputs = X
        self._labels = None if y is None else as_array(y)
        _check_labels(X, self._labels)
        self._n_jobs = n_jobs
        check_parameters(self._estimators)
        for name, estimator in self._estimators.items():
            if takes_run_range(estimator):
                raise ValueError(
                    f"{name}: bin_range='run' needs the whole run, which is not there yet; give "
                    "the range as two numbers."
                )
        self._path = None if path is None else Path(path)
        if self._path is not None:
            check_table_name(self._path)
            check_no_snapshots(self._path)
        self._recorder: _Recorder | None = None
        self._flattening = Flattening()
        if model is None:
            self._layers = layers_in_order(list(layers), sigma)
            noise = {layer.name: layer.sigma for layer in self._layers if layer.sigma}
            self._flattening = _as_flattening(flatten, [layer.name for layer in self._layers])
        else:
            with generators_untouched():
                options: dict[str, Any] = {"n_replicas": n_replicas, "batch_size": batch_size}
                options |= {"sigma": sigma, "random_state": random_state, "flatten": flatten}
                self._recorder = _make_recorder(model, layers, options)
                self._layers = self._recorder.describe(X)
                noise = self._recorder.noise
        passes = {
            "n_replicas": n_replicas, "batch_size": batch_size,
            "random_state": random_state, "flatten": plain(flatten),
        }  # fmt: skip
        self._header = self._describe(noise, passes)
        self._entries: dict[int, Entry] = {}
        self._journal: Journal | None = None
        self._written = 0
        if self._path is not None:
            self._journal = self._open_journal(self._path)
            self._entries = self._journal.entries
            self.save()
        self._writer = self._owned_writer = None
        if tensorboard is not None:
            self._open_writer(tensorboard)

    def _describe(
        self, noise: Mapping[str, float], passes: Mapping[str, Any]
    ) -> dict[str, dict[str, Any]]:
        """What the numbers depend on, and the versions of the software."""
        versions = software_versions()
        settings = {
            "layers": [describe_layer(layer) for layer in self._layers],
            "estimators": describe_estimators(self._estimators),
            "sigma": noise,
            **passes,
            "inputs": digest_of(self._inputs, self._labels),
            "skinfo": versions.get("skinfo"),
        }
        return {"settings": settings, "versions": versions}

    def _open_journal(self, path: Path) -> Journal:
        journal = path.with_name(f"{path.name}.journal")
        if path.exists() and not journal.exists():
            raise RunError(
                "a table is there that no monitor writes; choose another path, or remove it",
                path=path,
            )
        return Journal(journal, **self._header)

    def _open_writer(self, tensorboard: Any) -> None:
        if hasattr(tensorboard, "add_scalar"):
            self._writer = tensorboard
            return
        from skinfo.networks.tensorboard import open_tensorboard

        self._writer = self._owned_writer = open_tensorboard(tensorboard)

    @property
    def epochs(self) -> list[int]:
        """Epochs measured, increasing, those of an earlier process among them."""
        return sorted(self._entries)

    @property
    def losses(self) -> dict[int, dict[str, float]]:
        """Numbers handed to :meth:`update`, by epoch."""
        return {epoch: dict(self._entries[epoch]["losses"]) for epoch in self.epochs}

    @property
    def table(self) -> pd.DataFrame:
        """All epochs as :func:`skinfo.information_flow` would give them; settings in its attrs."""
        return as_table(self._entries, self._header)

    def update(
        self,
        epoch: int,
        *,
        losses: Mapping[str, Any] | None = None,
        activations: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame | None:
        """Measure an epoch, if the schedule says so.

        Parameters
        ----------
        epoch : int
            Its number, 0 or more: the epochs trained so far.
        losses : mapping of str to float, optional
            Other numbers of this epoch; they go to the journal and to TensorBoard.
        activations : mapping of str to array, optional
            Array of every layer, before its noise, (n_inputs, n_units) or
            (n_inputs, n_replicas, n_units), instead of a pass of the model.

        Returns
        -------
        pandas.DataFrame or None
            The rows of this epoch; None if it is not measured.

        Raises
        ------
        RunError
            For an epoch that is no whole number, activations of other layers, or a journal that
            cannot be written. Activations with NaN, of a training that diverged, become a row with
            the note "read error" and a warning.
        """
        epoch = whole_epoch(epoch)
        if not self._condition(epoch):
            return None
        with generators_untouched(), self._arrays(epoch, activations) as arrays:
            digest = digest_of(*(self._flattened(*of_layer) for of_layer in arrays.items()))
            if self._entries.get(epoch, {}).get("digest") == digest:
                return as_table({epoch: self._entries[epoch]}, self._header)
            table = self._measure(epoch, arrays)
        numbers = {name: float(value) for name, value in (losses or {}).items()}
        rows = table.to_dict("records")
        self._keep({"epoch": epoch, "digest": digest, "rows": rows, "losses": numbers})
        if self._writer is not None:
            add_scalars(self._writer, epoch, rows, numbers)
        return table

    __call__ = update

    def _measure(self, epoch: int, arrays: Mapping[str, np.ndarray]) -> pd.DataFrame:
        """The rows of one epoch, through the same door as a recorded run."""
        run = open_run({(epoch, name): array for name, array in arrays.items()},
                       labels=self._labels, flatten=self._flattening.choice)  # fmt: skip
        return information_flow(
            self._estimators,
            replace(run, layers=self._layers),
            n_jobs=self._n_jobs,
            progress=False,
        )

    def _flattened(self, name: str, array: np.ndarray) -> np.ndarray:
        """What is measured of an array: callables that flatten may differ where no name does."""
        try:
            return self._flattening.of(name, array.ndim).apply(array)
        except ValueError:
            # It has an error of its own when it is measured.
            return array

    @contextmanager
    def _arrays(
        self, epoch: int, activations: Mapping[str, Any] | None
    ) -> Iterator[Mapping[str, np.ndarray]]:
        """What the layers put out, in network order: recorded, or as it was handed over."""
        if activations is None:
            if self._recorder is None:
                raise RunError("there is no model to run; hand over activations", epoch=epoch)
            with self._recorder.record(self._inputs) as arrays:
                yield arrays
            return
        names = [layer.name for layer in self._layers]
        if set(activations) != set(names):
            raise RunError(
                f"expected the layers {sorted(names)}, got {sorted(activations)}", epoch=epoch
            )
        yield {name: as_array(activations[name]) for name in names}

    def _keep(self, entry: Entry) -> None:
        """Add an epoch to the journal, and write the table when that is due."""
        epoch = entry["epoch"]
        if epoch in self._entries:
            warnings.warn(
                f"epoch {epoch} was measured before on other activations, by another training or "
                "one that went back: it replaces that epoch and all after it",
                UserWarning,
                stacklevel=3,
            )
        if self._journal is None:
            add_entry(self._entries, entry)
            return
        self._journal.append(entry)
        n = len(self._entries)
        if n < self._written or n >= _GROWTH * self._written:
            self.save()

    def save(self) -> None:
        """Write the table of all epochs so far."""
        if self._path is not None and self._entries:
            write_table(self._path, self.table)
            self._written = len(self._entries)

    def close(self) -> None:
        """Write the table and close what this monitor opened for TensorBoard."""
        self.save()
        if self._owned_writer is not None:
            self._owned_writer.close()

    def __enter__(self) -> FlowMonitor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def keras_callback(self) -> Any:
        """Make a Keras callback that measures each epoch and writes the table at the end.

        Epochs are numbered from 1, the epochs trained so far; Keras itself counts from 0. The
        logs of the epoch are its losses.

        Raises
        ------
        MissingExtraError
            Where Keras is not installed.
        """
        from skinfo.monitoring.keras_callback import make_callback

        return make_callback(self)


def _make_recorder(model: Any, layers: Sequence[str], options: dict[str, Any]) -> _Recorder:
    """A recorder for a model of Keras or torch; with torch behind it, a Keras model is both."""
    keras = sys.modules.get("keras")
    if keras is not None and isinstance(model, keras.Model):
        from skinfo.monitoring.keras_recorder import KerasRecorder

        return KerasRecorder(model, layers, **options)
    from skinfo.networks import Recorder

    return Recorder(model, layers, **options)


def _as_flattening(flatten: Any, layers: Sequence[str]) -> Flattening:
    """How the activations handed over are flattened."""
    choice = {True: "all", False: None}[flatten] if isinstance(flatten, bool) else flatten
    flattening = Flattening(choice)
    flattening.check_names(layers)
    return flattening


def _check_labels(X: Any, labels: np.ndarray | None) -> None:
    """Check that there is one label an input, where there are inputs."""
    if labels is None:
        return
    if labels.ndim != 1:
        raise ValueError(f"y holds one label an input; got shape {labels.shape}.")
    for array in X.values() if isinstance(X, Mapping) else X if isinstance(X, tuple) else [X]:
        if array is not None and len(array) != len(labels):
            raise ValueError(
                f"y holds one label an input; got {len(labels)} labels for {len(array)} inputs."
            )
