"""information_flow: the sweep over checkpoints, layers and estimators."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from skinfo._progress import reporting
from skinfo.errors import RunError
from skinfo.flow.estimators import (
    check_estimators,
    check_noise_draws,
    for_layer,
    last_step,
    name_estimators,
    steps_before,
    with_labels,
)
from skinfo.flow.keeping import Keep
from skinfo.flow.memory import Budget, parse_bytes
from skinfo.flow.ranges import ranges_of_run
from skinfo.flow.settings import describe_settings
from skinfo.flow.tasks import Outcome, SweepSettings, Task, measure, places_of
from skinfo.flow.workers import in_workers
from skinfo.quantities import (
    COLUMNS,
    ERROR_COLUMNS,
    JOINT,
    declared_quantities,
    split_notes,
)
from skinfo.runs import Layer, Run, open_run
from skinfo.runs.beside import label_sets
from skinfo.runs.description import plain

# Of another channel than that of the network, for which the inequality need not hold.
_OTHER_CHANNEL = (
    "sigma differs from run",
    "noise differs from run",
    "noise added",
    "replicas missing",
)


def information_flow(
    estimators: BaseEstimator | Iterable[BaseEstimator] | Mapping[str, BaseEstimator],
    run: Run | str | Path,
    *,
    subset: str | np.ndarray | None = None,
    n_jobs: int | None = None,
    memory: str | Path | None = None,
    memory_limit: int | str | None = None,
    progress: bool | Callable[[int, int], None] | None = None,
    random_state: int | np.random.RandomState | None = 0,
    n_noise_draws: int = 1,
) -> pd.DataFrame:
    """Measure every layer of a run at every checkpoint.

    Parameters
    ----------
    estimators : estimator, iterable of estimators, or mapping of str to estimator
        What to measure with; a pipeline whose last step is such an estimator is one too.
        Those that declare ``uses_replicas``, such as NoisyMIEstimator, get all replicas; with
        ``sigma=None`` they take each layer's own noise. Others get noisy samples with one row per
        input. BinningMIEstimator with ``bin_range="run"`` cuts each layer into the same bins at all
        checkpoints: their range is learnt in a first pass over the run, one checkpoint at a time.
    run : Run or path-like
        Saved activations.
    subset : {"train", "test"} or array-like of shape (n_inputs,), optional
        Inputs to measure: the run's own split, or a mask.
    n_jobs : int or None, default=None
        Threads, -1 for one per processor; the numbers do not depend on it. Inside
        ``joblib.parallel_config("dask")`` the work goes to the cluster instead, see Notes.
    memory : path-like, optional
        Directory where finished estimates are kept, so that a sweep that was interrupted, however
        suddenly, goes on where it stopped; see Notes.
    memory_limit : int or str, optional
        Most memory that the process may take, in bytes or as "1GB" or "800MiB", all that it
        already holds included. As many layers are measured at a time as fit, and the numbers are
        the same. Worker processes stay under it each.
    progress : bool, callable or None, default=None
        Whether to show a progress bar with the time left, where rich is installed; None shows one
        in a terminal or notebook. A callable is called with the numbers of finished and of all
        estimates.
    random_state : int, RandomState instance or None, default=0
        Seed of the noise that is added to make noisy samples. Each layer, by its name, checkpoint
        and draw has a random stream of its own.
    n_noise_draws : int, default=1
        How many noisy samples of a layer with noise are measured by estimators that do not use
        replicas: the value is their mean, its standard error contains their spread. Of one draw the
        error is unknown, so ``stderr``, ``lower`` and ``upper`` are NaN. Behind noise each draw
        takes another replica of each input, so that there are no more draws than replicas.

    Returns
    -------
    pandas.DataFrame
        Columns epoch, layer, estimator, quantity, value, stderr, lower, upper, unit, notes, and
        what :func:`skinfo.compare_flows` reads of errors (``skinfo.quantities.ERROR_COLUMNS``);
        layers in network order. A note is made of words from
        :data:`skinfo.quantities.NOTES`, joined by "; ". Its ``attrs`` hold the settings,
        as values that JSON can hold (``skinfo.flow.describe_settings``), and in
        ``attrs["errors"]`` why something could not be measured: a list, empty where all went well,
        of dicts with epoch, layer, estimator and message.

    Raises
    ------
    ValueError
        For a mistake in the call, before anything is measured: no estimators, parameters of
        theirs that are out of range, a subset that the run does not have, ``sigma=None`` where no
        layer has a sigma on record, or one has other noise than ``noise`` asks for, labels that the
        run lacks, maps or tokens without a choice of how to flatten them, a layer that nowhere
        fits into ``memory_limit``, a ``memory`` that cannot be written, or estimators whose code
        and parameters it cannot tell from others.

    Warns
    -----
    UserWarning
        For activations that cannot be read (the table has a row with the note "read error" for
        each estimator), or are alone too large for ``memory_limit``, and for those that an
        estimator refuses or fails on in any way (a row with the note "not measured"). Everything
        else is measured. Where nothing at all is measured for a fault of the call, such as a
        TypeError, it is raised. A layer without
        noise has a row with the note "no noise" for an estimator with ``sigma=None``, and no
        warning.

    Notes
    -----
    Each array is read once and measured by all estimators, by one worker; one of each layer whose
    second axis may be tokens instead of replicas is looked at before. Workers in other processes
    open the files of a run themselves, so its path must be theirs as well, and so must that of
    ``memory``; of a run in memory they are sent one array each. They measure on one thread, and
    their warnings are given here.

    Estimates in ``memory`` are JSON with a digest: a file that is damaged is made again, and none
    is run. They are looked up by the activations themselves, the parameters, the versions of
    Python, skinfo and the packages that a step comes from, and by the code that is in no package:
    functions, lambdas and classes with all that they refer to by name, so that what was edited is
    measured again. Counters that the code changes itself do not count. Not noticed are files and
    environment variables that a step reads, compiled code outside packages, what is looked up by a
    computed name, and another processor, whose numbers may differ in the last bits. Whoever may
    write into the directory may write numbers into it.

    In a pipeline the estimator measures what the steps before it make of the layer, and sigma lives
    in that space: see the notes of :class:`skinfo.NoisyMIEstimator`. The steps are fitted at each
    checkpoint anew, without labels before ``population=True``; give those that draw random numbers
    a ``random_state``.

    What a layer needs is estimated before it is read: its array in double precision times the
    ``memory_factor`` of the estimators, 4 where a class declares none, and 3 more with the steps of
    a pipeline. A step that is wider than the layer is not foreseen.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import NoisyMIEstimator, information_flow, open_run
    >>> run = open_run({(1, "hidden"): np.array([[-1.0], [1.0]])}, sigma=0.5, labels=[0, 1])
    >>> flow = information_flow(NoisyMIEstimator(sigma=None, random_state=0), run, progress=False)
    >>> flow.loc[flow["quantity"] == "mutual_info", ["epoch", "layer", "value"]].round(4).values
    array([[1, 'hidden', 0.6327]], dtype=object)
    """
    named = name_estimators(estimators)
    run = run if isinstance(run, Run) else open_run(run)
    mask = run.in_subset(subset)
    check_estimators(named, run.layers, has_labels=run.labels is not None)
    by_labels = _names_by_labels(named, run)
    n_noise_draws = check_noise_draws(n_noise_draws)
    if n_jobs == 0:
        raise ValueError("n_jobs is a number of threads, or -1 for one per processor; got 0.")
    budget = Budget(None if memory_limit is None else parse_bytes(memory_limit))
    settings = SweepSettings(
        mask, n_jobs, Keep(memory, named), budget, _seed(random_state), n_noise_draws
    )
    places = places_of(run, named.values(), mask, budget, n_noise_draws)
    _check_flattening(run, {(place.epoch, place.layer) for place in places if place.sent})
    ranges = ranges_of_run(named, run, settings)
    by_layer = {
        layer.name: {
            name: for_layer(estimator, layer, ranges.get(name, {}).get(layer.name))
            for name, estimator in named.items()
        }
        for layer in run.layers
    }
    tasks = [Task(place, by_layer[place.layer]) for place in places]
    table, errors = _table(tasks, _measure_all(tasks, settings, progress))
    pipelines = [name for name, estimator in named.items() if steps_before(estimator) is not None]
    # Layers whose rows hold all values of each input, not a summary of them nor a token each.
    flatteners = [(layer, run.flattener(layer.name)) for layer in run.layers]
    whole = [layer for layer, how in flatteners if how is not None and how.choice in (None, "all")]
    table = note_data_processing(table, whole, exempt=pipelines)
    # Last of all: pandas copies them whenever it takes a part of a table.
    table.attrs = describe_settings(run, named, subset) | {"errors": errors}
    described = table.attrs["estimators"]
    described |= {
        with_set: described[name]
        for with_set, name in by_labels.items()
        if with_set in set(table["estimator"])
    }
    steps = [last_step(estimator) for estimator in named.values()]
    if declared := declared_quantities(steps, set(table["quantity"])):
        table.attrs["quantities"] = plain(declared)
    table.attrs["random_state"] = settings.random_state
    table.attrs["n_noise_draws"] = settings.n_noise_draws
    return table


def _names_by_labels(named: Mapping[str, BaseEstimator], run: Run) -> dict[str, str]:
    """Estimators by the names that they have in the table with each set of labels."""
    sets = [labels for labels in label_sets(run.labels) if labels]
    names = {with_labels(name, labels): name for name in named for labels in sets}
    for name in names.keys() & named.keys():
        raise ValueError(
            f"an estimator is named {name!r}, as {names[name]!r} is with labels of that name; give "
            "it another name."
        )
    return names


def _check_flattening(run: Run, too_large: Collection[tuple[int, str]]) -> None:
    """Check that the arrays of each layer can become rows at some checkpoint.

    Those that are too large are left out, and only one is read whose second axis may be
    tokens instead of replicas. A checkpoint that differs from the others, or cannot be read, is no
    mistake of the call; what a callable makes is known when the array is read.
    """
    choices = run.flattening.choice
    for layer in run.layers:
        choice = choices.get(layer.name) if isinstance(choices, Mapping) else choices
        failure: RunError | None = None
        for epoch in run.epochs:
            if (epoch, layer.name) in too_large:
                continue
            try:
                shape, dtype = run.stored_shape(epoch, layer.name)
            except (RunError, MemoryError):
                continue
            if len(shape) < 2 or 0 in shape or dtype.kind not in "biuf":
                continue
            try:
                run.check_second_axis(epoch, layer.name)
                if not callable(choice):
                    run.shape(epoch, layer.name)
            except RunError as error:
                failure = failure or error
            else:
                break
        else:
            if failure is not None:
                raise failure


def _seed(random_state: int | np.random.RandomState | None) -> int:
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def _measure_all(
    tasks: Sequence[Task],
    settings: SweepSettings,
    progress: bool | Callable[[int, int], None] | None,
) -> dict[int, Outcome]:
    """The outcome of every task, by its place.

    Where nothing at all is measured for a fault that is no layer's, its exception is raised.
    """
    outcomes: dict[int, Outcome] = {}
    untold: list[str] = []
    total, done = sum(len(task.estimators) for task in tasks), 0
    measured = at_fault = False
    work = partial(measure, settings=settings)
    with reporting(progress, total) as report:
        for place, outcome in in_workers(work, tasks, settings.n_jobs):
            outcomes[place] = outcome
            measured = measured or bool(set(outcome.quantities) - set(outcome.errors))
            untold += dict.fromkeys(outcome.errors.values())
            at_fault = at_fault or bool(outcome.faults)
            if measured or not at_fault:
                for message in untold:
                    warnings.warn(f"not measured: {message}", UserWarning, stacklevel=3)
                untold.clear()
            for _ in tasks[place].estimators:
                done += 1
                report(done, total)
    if untold:
        raise next(f for _, one in sorted(outcomes.items()) for f in one.faults.values())
    return outcomes


def _table(
    tasks: Sequence[Task], outcomes: Mapping[int, Outcome]
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The rows of the table, and what went wrong."""
    rows: list[dict[str, Any]] = []
    errors: list[dict[str, Any]] = []
    for number, task in enumerate(tasks):
        outcome, place = outcomes[number], task.place
        for name in task.estimators:
            for labels, quantities in outcome.of(name, label_sets(place.run.labels)).items():
                named = with_labels(name, labels)
                where = {"epoch": int(place.epoch), "layer": place.layer, "estimator": named}
                rows += [where | quantity.cells() for quantity in quantities]
                if (name, labels) in outcome.errors:
                    errors.append(where | {"message": outcome.errors[name, labels]})
    return pd.DataFrame(rows, columns=[*COLUMNS, *ERROR_COLUMNS]), errors


def note_data_processing(
    table: pd.DataFrame, layers: Sequence[Layer], exempt: Collection[str] = ()
) -> pd.DataFrame:
    """Note where a layer has more information about the input than the one before, for certain.

    Noise can only lose information, I(X;T_{l+1}) <= I(X;T_l): brackets that say otherwise mean that
    something is wrong with the data, its sigma or its replicas. It holds where each layer is
    computed from the noisy one before, so only those of ``layers``, in network order, are compared
    whose own sigma is on record and which were measured with it, on replicas where noise precedes
    them. Binned entropies are no information and are left alone, and so are the estimators named in
    ``exempt``: what a pipeline projects a layer to may know less than the next layer.
    """
    table = table.copy()
    position = {layer.name: place for place, layer in enumerate(layers) if layer.sigma}
    if table.empty:
        return table
    bounded = table["quantity"].eq("mutual_info") & table["layer"].isin(position)
    bounded &= ~table["estimator"].isin(list(exempt))
    for note in _OTHER_CHANNEL:
        bounded &= ~table["notes"].str.contains(note, regex=False)
    chosen = table[bounded].sort_values("layer", key=lambda layers: layers.map(position))
    together = [chosen["epoch"], chosen["estimator"]]
    highest = chosen.groupby(together)["upper"].cummin().groupby(together).shift()
    for index in chosen.index[chosen["lower"] > highest]:
        notes = split_notes(str(table.at[index, "notes"]))
        table.at[index, "notes"] = JOINT.join([*notes, "data processing violated"])
    return table
