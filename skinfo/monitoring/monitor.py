"""The monitor of a training: it measures on the fly and keeps the table."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import Any, TypeAlias

import joblib
import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from skinfo._rows import as_array, one_each
from skinfo.errors import RunError, needs_extra
from skinfo.flow import information_flow
from skinfo.flow.estimators import (
    check_estimators,
    check_noise_draws,
    last_step,
    name_estimators,
    needs_run_range,
)
from skinfo.flow.snapshots import Snapshots
from skinfo.flow.tables import check_no_snapshots, check_table_name, write_table
from skinfo.monitoring.journal import Journal
from skinfo.monitoring.schedule import Schedule, as_condition
from skinfo.quantities import declared_quantities
from skinfo.runs import Layer, open_run
from skinfo.runs.description import (
    as_layers,
    check_losses,
    plain,
    software_versions,
    stored_names,
    whole_epoch,
)
from skinfo.runs.flatten import Flatten, Flattening

# The table is written again when the journal has grown by a tenth, so that an epoch costs the same
# on average however many there are.
_GROWTH = 1.1

Estimators: TypeAlias = BaseEstimator | Iterable[BaseEstimator] | Mapping[str, BaseEstimator]


class FlowMonitor:
    """Measure information flow while a network is trained, without storing activations.

    Give it the activations of each epoch, from any framework; it measures and forgets them. Made
    :meth:`from_model`, it runs a torch model itself. The numbers are those of
    :func:`skinfo.information_flow` on a recorded run, to the last bit. The training goes on as if
    nothing had happened: the global generators of Python, numpy and torch stay as they were.

    Parameters
    ----------
    estimators : estimator, iterable of estimators, or mapping of str to estimator
        What to measure with; ``NoisyMIEstimator(sigma=None)`` takes each layer's own sigma.
    layers : sequence of str or of Layer
        The layers in network order, as :class:`skinfo.runs.RunWriter` takes them.
    labels : array-like of shape (n_inputs,), optional
        Label of each input.
    sigma, noise : optional
        The noise of each layer of the network, where layers are names; see
        :func:`skinfo.open_run`.
    flatten : str, int, callable, or mapping of str to these, optional
        How maps and sequences become rows of units; see :func:`skinfo.open_run`.
    settings : mapping, optional
        What else the numbers depend on, as plain values; noted in the table.
    every : int, iterable of int, or callable, default=1
        Which epochs to measure: every so many, those of a list such as
        :func:`log_spaced_epochs` makes, or those for which a function of the epoch is true.
    path : path-like, optional
        Table to write, .parquet or .csv. Each epoch is written at once to a journal beside it (the
        name with ".journal" appended); the table itself is written when the journal has grown by a
        tenth, and by :meth:`save`, with the losses and settings beside it (.npz), where pictures
        and reports find them. A monitor that finds a journal of the same settings continues
        it: an epoch with the same activations is not measured again, one with different ones
        replaces it and all later ones.
    tensorboard : path-like or SummaryWriter, optional
        Where values are written as scalars estimator/quantity/layer.
    random_state : int or None, default=0
        Seed of the noise that is added to make noisy samples; None: fresh at every epoch.
    n_noise_draws : int, default=1
        Noisy samples per layer for estimators that do not use replicas; see
        :func:`skinfo.information_flow`.
    n_jobs : int or None, default=None
        Threads of the estimates; the numbers do not depend on it.

    Raises
    ------
    RunError
        If the journal was made with other settings, or the file is no journal.
    ValueError
        For estimators that cannot measure these layers (bins that need the range of the whole run,
        ``sigma=None`` where no layer has a sigma, labels missing), labels in more than one
        dimension, a wrong ``n_noise_draws``, or a table's name that belongs to another one's .npz.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import NoisyMIEstimator
    >>> from skinfo.monitoring import FlowMonitor
    >>> monitor = FlowMonitor(NoisyMIEstimator(sigma=None, random_state=0), ["a"], sigma=0.1)
    >>> for epoch in range(1, 3):
    ...     rows = monitor.update(epoch, {"a": epoch * np.eye(4)})  # after the epoch's training
    >>> monitor.table[["epoch", "layer", "quantity", "unit"]].head(1).values.tolist()
    [[1, 'a', 'mutual_info', 'nats']]
    """

    def __init__(
        self,
        estimators: Estimators,
        layers: Sequence[Layer] | Sequence[str],
        labels: Any = None,
        *,
        sigma: Any = None,
        noise: str | Mapping[str, str] | None = None,
        flatten: Flatten = None,
        settings: Mapping[str, Any] | None = None,
        every: Schedule = 1,
        path: str | Path | None = None,
        tensorboard: Any = None,
        random_state: int | None = 0,
        n_noise_draws: int = 1,
        n_jobs: int | None = None,
    ) -> None:
        self._estimators = name_estimators(estimators)
        self._layers = as_layers(layers, sigma, noise)
        names = [layer.name for layer in self._layers]
        if len(set(names)) != len(names) or not names:
            raise ValueError(f"layers are one or more of different names; got {names}.")
        self._labels = None if labels is None else one_each(labels, "labels")
        check_estimators(self._estimators, self._layers, has_labels=self._labels is not None)
        for name, estimator in self._estimators.items():
            if needs_run_range(estimator):
                raise ValueError(
                    f"{name}: bin_range='run' needs the whole run, which does not exist yet; give "
                    "the range as two numbers."
                )
        check_random_state(random_state)
        self._flattening = Flattening(flatten)
        self._flattening.check_names(names)
        self._condition = as_condition(every)
        self._noise: dict[str, Any] = {
            "random_state": random_state, "n_noise_draws": check_noise_draws(n_noise_draws),
        }  # fmt: skip
        self._n_jobs = n_jobs
        self._record: Callable[[], AbstractContextManager[Mapping[str, Any]]] | None = None
        self._path = None if path is None else Path(path)
        self._written = 0
        self._journal = self._open_journal(settings or {})
        self.save()
        self._writer, self._owns_writer = tensorboard, False
        if tensorboard is not None and not hasattr(tensorboard, "add_scalar"):
            with needs_extra("Writing scalars for TensorBoard", "tensorboard"):
                from torch.utils.tensorboard import SummaryWriter
            self._writer, self._owns_writer = SummaryWriter(str(tensorboard)), True

    @classmethod
    def from_model(
        cls,
        estimators: Estimators,
        model: Any,
        layers: Sequence[str],
        X: Any,
        y: Any = None,
        *,
        sigma: Any = None,
        noise: str | Mapping[str, str] = "additive",
        n_replicas: int = 24,
        batch_size: int = 4096,
        flatten: Flatten = None,
        random_state: int | None = 0,
        **options: Any,
    ) -> FlowMonitor:
        """Make a monitor that runs a torch model itself, so that ``update(epoch)`` is enough.

        Its modes, gradients and hooks stay as they were; hooks of your own run in its extra passes.

        Parameters
        ----------
        estimators : estimator, iterable of estimators, or mapping of str to estimator
            What to measure with.
        model : torch.nn.Module
            What is trained.
        layers, sigma, noise, n_replicas, batch_size, flatten
            As for :class:`skinfo.networks.Recorder`.
        X : array-like of shape (n_inputs, …), tuple or mapping of them
            Inputs to run the model on, as it takes them.
        y : array-like of shape (n_inputs,), default=None
            Label of each input.
        random_state : int or None, default=0
            Seed of all noise, the same at every epoch; None: fresh at every epoch.
        **options
            ``every``, ``path``, ``tensorboard``, ``n_noise_draws`` and ``n_jobs`` of the class.

        Raises
        ------
        ValueError
            For layers that the model does not have, or labels that are not one per input.

        Examples
        --------
        >>> import numpy as np
        >>> from skinfo import NoisyMIEstimator
        >>> from skinfo.monitoring import FlowMonitor
        >>> from skinfo.szt import make_mlp
        >>> X, model = np.eye(4, dtype=np.float32), make_mlp((4, 3, 2))
        >>> noisy = NoisyMIEstimator(sigma=None, random_state=0)
        >>> monitor = FlowMonitor.from_model(noisy, model, ["layer1"], X, sigma=0.1)
        >>> rows = monitor.update(1)  # after the epoch's training
        >>> rows["quantity"].tolist()
        ['mutual_info', 'plug_in', 'entropy', 'conditional_entropy', 'ceiling']
        """
        from skinfo.networks import Recorder
        from skinfo.networks.inputs import ModelInputs

        with _generators_untouched():
            recorder = Recorder(
                model, layers, sigma=sigma, noise=noise, n_replicas=n_replicas,
                batch_size=batch_size, random_state=random_state, flatten=flatten,
            )  # fmt: skip
            described = recorder.describe(X)
        n_inputs = len(ModelInputs.of(X, model))
        if y is not None and len(y) != n_inputs:
            raise ValueError(f"one label per input; got {len(y)} labels for {n_inputs} inputs.")
        noisy = recorder.noisy
        others = {n: layer.noise for n, layer in noisy.items() if layer.noise != "additive"}
        settings = {
            "sigma": {name: layer.sigma for name, layer in noisy.items()},
            **({"noise": others} if others else {}),
            "n_replicas": n_replicas, "batch_size": batch_size,
            "recorded_flatten": plain(flatten), "inputs": _digest(X),
        }  # fmt: skip
        monitor = cls(
            estimators, described, y, settings=settings, random_state=random_state, **options
        )
        monitor._record = lambda: recorder.record(X)
        return monitor

    def _open_journal(self, more: Mapping[str, Any]) -> Journal:
        """Open the journal with what the numbers depend on."""
        versions = software_versions()
        declared = declared_quantities(map(last_step, self._estimators.values()))
        if not isinstance(more, Mapping):
            raise ValueError(f"settings must be a mapping, such as vars(args); got {more!r}.")
        settings = {
            "layers": [layer.record() for layer in self._layers],
            "estimators": plain(self._estimators),
            "flatten": plain(self._flattening.choice),
            "labels": _digest(self._labels),
            **({"quantities": plain(declared)} if declared else {}),
            **self._noise,
            "skinfo": versions.get("skinfo"),
        }
        if clash := settings.keys() & more.keys():
            raise ValueError(f"the monitor itself notes {min(clash)!r}; leave it out of settings.")
        settings |= plain(more)
        if self._path is None:
            return Journal(None, settings, versions)
        check_table_name(self._path)
        journal = self._path.with_name(f"{self._path.name}.journal")
        if not journal.exists():
            check_no_snapshots(self._path)
            if self._path.exists():
                raise RunError(
                    "this table was not written by a monitor; choose another path, or remove it",
                    path=self._path,
                )
        return Journal(journal, settings, versions)

    @property
    def epochs(self) -> list[int]:
        """Epochs measured, increasing, those of an earlier process included."""
        return sorted(self._journal.entries)

    @property
    def losses(self) -> dict[int, dict[str, float]]:
        """Losses given to :meth:`update`, by epoch."""
        return {epoch: dict(self._journal.entries[epoch]["losses"]) for epoch in self.epochs}

    @property
    def table(self) -> pd.DataFrame:
        """All epochs as :func:`skinfo.information_flow` would give them; settings in its attrs."""
        return self._journal.table()

    def update(
        self,
        epoch: int,
        activations: Mapping[str, Any] | None = None,
        *,
        losses: Mapping[str, Any] | None = None,
    ) -> pd.DataFrame | None:
        """Measure an epoch, if the schedule says so.

        Parameters
        ----------
        epoch : int
            Its number, 0 or more: the epochs trained so far.
        activations : mapping of str to array, optional
            Array of every layer, before its noise: (n_inputs, n_units), with noise before the layer
            (n_inputs, n_replicas, n_units). A monitor made from a model records them itself.
        losses : mapping of str to float, optional
            Other numbers of this epoch, for the journal, the table's .npz and TensorBoard.

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
        numbers = check_losses(losses, self._path, epoch)
        with _generators_untouched(), self._arrays(epoch, activations) as arrays:
            digest = _digest({name: self._flattened(name, x) for name, x in arrays.items()})
            if self._journal.entries.get(epoch, {}).get("digest") == digest:
                return self._journal.table(epoch)
            run = open_run({(epoch, name): array for name, array in arrays.items()},
                           labels=self._labels, flatten=self._flattening.choice)  # fmt: skip
            run = replace(run, layers=self._layers)
            table = information_flow(
                self._estimators, run, n_jobs=self._n_jobs, progress=False, **self._noise
            )
        rows: list[Any] = table.to_dict("records")
        self._keep(epoch, {"digest": digest, "rows": rows, "losses": numbers})
        if self._writer is not None:
            self._add_scalars(epoch, rows, numbers)
        return table

    @contextmanager
    def _arrays(
        self, epoch: int, activations: Mapping[str, Any] | None
    ) -> Iterator[dict[str, np.ndarray]]:
        """Outputs of the layers in network order: given, or recorded."""
        with ExitStack() as stack:
            if activations is None:
                if self._record is None:
                    raise RunError("there is no model to run; give activations", epoch=epoch)
                activations = stack.enter_context(self._record())
            names = stored_names(self._layers)
            if set(activations) != set(names):
                raise RunError(
                    f"expected the layers {sorted(names)}, got {sorted(activations)}", epoch=epoch
                )
            yield {name: as_array(activations[name], f"layer {name!r}") for name in names}

    def _flattened(self, name: str, array: np.ndarray) -> np.ndarray:
        """What is measured of an array: callables may differ although their names are the same."""
        try:
            return self._flattening.of(name, array.ndim).apply(array)
        except ValueError:
            # Measuring it tells the error.
            return array

    def _keep(self, epoch: int, entry: dict[str, Any]) -> None:
        """Add an epoch to the journal, and write the table when that is due."""
        if epoch in self._journal.entries:
            warnings.warn(
                f"epoch {epoch} was measured before on other activations, by another training or "
                "one that went back: it replaces that epoch and all after it",
                UserWarning,
                stacklevel=3,
            )
        self._journal.add(epoch, entry)
        n = len(self._journal.entries)
        if n < self._written or n >= _GROWTH * self._written:
            self.save()

    def _add_scalars(
        self, epoch: int, rows: Iterable[Mapping[str, Any]], losses: Mapping[str, float]
    ) -> None:
        """Write values as estimator/quantity/layer, with their brackets, where they are finite."""
        for row in rows:
            tag = f"{row['estimator']}/{row['quantity']}/{row['layer']}"
            numbers = {tag: row["value"]}
            if row["lower"] < row["upper"]:
                numbers |= {f"{tag}/lower": row["lower"], f"{tag}/upper": row["upper"]}
            for name, value in numbers.items():
                if isfinite(value):
                    self._writer.add_scalar(name, value, epoch)
        for name, value in losses.items():
            self._writer.add_scalar(f"losses/{name}", value, epoch)
        self._writer.flush()

    def save(self) -> None:
        """Write the table of all epochs so far."""
        if self._path is not None and self._journal.entries:
            table, names = self.table, [layer.name for layer in self._layers]
            beside = Snapshots.without_activations(names, self.losses, table.attrs)
            write_table(self._path, table, beside)
            self._written = len(self._journal.entries)

    def close(self) -> None:
        """Write the table and close what this monitor opened for TensorBoard."""
        self.save()
        if self._owns_writer:
            self._writer.close()

    def __enter__(self) -> FlowMonitor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _digest(values: Any) -> str:
    """Tell arrays from others, also those in mappings and tuples."""
    if isinstance(values, Mapping):
        arrays: Any = {str(name): as_array(value) for name, value in values.items()}
    else:
        arrays = [as_array(value) for value in (values if isinstance(values, tuple) else [values])]
    return str(joblib.hash(arrays, coerce_mmap=True))


@contextmanager
def _generators_untouched() -> Iterator[None]:
    """Give the global generators of Python, numpy and torch their states back.

    A torch that was not imported, or a GPU that was not used, has no state to keep.
    """
    with ExitStack() as undo:
        undo.callback(random.setstate, random.getstate())
        undo.callback(np.random.set_state, np.random.get_state())  # noqa: NPY002
        torch = sys.modules.get("torch")
        if torch is not None:
            devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
            undo.enter_context(torch.random.fork_rng(devices=devices))
        yield
