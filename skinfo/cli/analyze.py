"""skinfo analyze: from a run to a table."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import isnan
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from skinfo.cli.application import (
    Force,
    Jobs,
    Json,
    Labels,
    LayerNames,
    RunPath,
    app,
    check_output,
    complain,
    print_table,
    summarize_errors,
    warn,
    warn_of_other_arrays,
    write_json,
)
from skinfo.cli.sigmas import orders_in_words, parse_sigmas, propose, refuse_options_of_flows
from skinfo.cli.sources import (
    OF_ESTIMATORS,
    make_estimators,
    open_described,
    parse_sigma,
    read_settings,
)

# Columns of what is printed at the end.
_MOST_COLUMNS = 8


def _read_config(context: typer.Context, path: Path | None) -> Path | None:
    """Take from a file the options that the command line does not give."""
    if path is not None:
        kinds = get_type_hints(analyze)
        own = ("context", "config", "run", "return")
        options = {name: kind for name, kind in kinds.items() if name not in own}
        context.default_map = read_settings(path, options)
    return path


@app.command()
def analyze(
    context: typer.Context,
    run: RunPath,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="Table to write: .parquet or .csv.")
    ] = Path("flow.parquet"),
    labels: Labels = None,
    layers: LayerNames = None,
    sigma: Annotated[
        str | None,
        typer.Option(
            help="Noise to measure with, one number or one per unit, as 0.1,0.2; default: each "
            "layer's own."
        ),
    ] = None,
    noise: Annotated[
        str | None,
        typer.Option(
            help="What noise that is: additive (default), multiplicative (Gaussian dropout), "
            "lognormal, or affine with --sigma A,B."
        ),
    ] = None,
    sigmas: Annotated[
        str | None,
        typer.Option(
            help="For layers without noise: curves against the standard deviation of added noise, "
            "start:stop:count such as .1:10:12, and what holds at all of them."
        ),
    ] = None,
    unit: Annotated[
        str | None,
        typer.Option(
            help="Unit of --sigmas: activations (default), or rms, each layer's root mean square "
            "deviation."
        ),
    ] = None,
    max_inputs: Annotated[
        int | None,
        typer.Option(help="Most inputs that --sigmas measures, the same at every layer."),
    ] = None,
    bin_width: Annotated[
        float | None,
        typer.Option(
            help="Width of bins; default: 30 bins over the range of each layer in the whole run."
        ),
    ] = None,
    tol: Annotated[float, typer.Option(help="Standard error to reach, in units.")] = 0.01,
    population: Annotated[
        bool, typer.Option("--population", help="The inputs are drawn from a larger population.")
    ] = False,
    posterior_draws: Annotated[
        int,
        typer.Option(
            min=0,
            help="Vectors of noise for each input, 16 or more, to measure pointwise information, "
            "confusion and Bayes error; 0: not measured.",
        ),
    ] = 0,
    n_permutations: Annotated[
        int,
        typer.Option(
            min=0,
            help="Permutations of the labels, 19 or more, that say what a predictor finds by "
            "chance; with --population.",
        ),
    ] = 0,
    units: Annotated[str, typer.Option(help="nats or bits.")] = "nats",
    subset: Annotated[
        str | None, typer.Option(help="Only the inputs of the run's train or test split.")
    ] = None,
    noise_draws: Annotated[
        int,
        typer.Option(
            min=1,
            help="Draws of the noise that binned and clustered numbers are the mean of; of one "
            "draw their error is unknown.",
        ),
    ] = 1,
    random_state: Annotated[int, typer.Option(min=0, help="Seed of all draws.")] = 0,
    jobs: Jobs = 2,
    memory: Annotated[
        Path | None, typer.Option(help="Directory that keeps estimates, to resume from.")
    ] = None,
    memory_limit: Annotated[
        str | None, typer.Option(help="Memory that it stays within, for example 2GB.")
    ] = None,
    flatten: Annotated[
        str | None,
        typer.Option(
            help="How maps and sequences become units: all, channel_mean, spatial, token_mean, "
            "token_last or tokens."
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            callback=_read_config,
            is_eager=True,
            help="TOML file of these options, and of estimators in tables \\[estimators.NAME].",
        ),
    ] = None,
    json: Json = False,
    force: Force = False,
) -> None:
    """Measure every layer at every checkpoint of a run and write a tidy table.

    A run without noise, or of unknown sigma, is asked what holds at a noise of half the root mean
    square deviation of each layer: ends of I(Y;T) beside permuted labels, slices, clusters. Where
    files do not describe themselves, --labels and --layers do, or `skinfo convert` makes a run of
    them, which keeps its noise too.
    Beside the table a .npz of the same name holds what `skinfo plot` draws.
    With --sigmas the table is of curves against sigma instead, and what holds at all of them is
    printed.
    """
    from skinfo.flow.defaults import default_estimators
    from skinfo.flow.tables import check_table_name, write_table
    from skinfo.noise import make_noise

    check_table_name(output)
    check_output(output, force=force)
    check_output(output.with_suffix(".npz"), force=force)
    opened = open_described(run, labels, layers, flatten=flatten)
    if opened.order_from_names:
        warn(f"{opened.name}: order of layers taken from names; --layers sets it.")
    if sigmas is not None:
        refuse_options_of_flows(context)
        table = _measure_curves(
            opened, sigmas=parse_sigmas(sigmas), unit=unit or "activations",
            noise=noise or "additive", subset=subset, max_inputs=max_inputs, tol=tol,
            population=population, units=units, n_jobs=jobs, random_state=random_state,
            memory=memory, memory_limit=memory_limit,
        )  # fmt: skip
        write_table(output, table)
        _report(output, table, json=json, orders=orders_in_words(table))
        return
    if unit is not None or max_inputs is not None:
        raise ValueError("--unit and --max-inputs go with --sigmas.")
    descriptions = (context.default_map or {}).get("estimators")
    if descriptions is not None and config is not None:
        _refuse_options_of_estimators(context, config)
        estimators = make_estimators(descriptions, config)
    else:
        deviations = parse_sigma(sigma)
        if deviations is not None:
            make_noise(noise or "additive", deviations)
        elif noise is not None:
            raise ValueError(
                "--noise goes with --sigma: without both, each layer is measured with its own."
            )
        estimators = default_estimators(
            opened, subset=subset, sigma=deviations, noise=noise or "additive",
            bin_width=bin_width, tol=tol, units=units, population=population,
            posterior_draws=posterior_draws, n_permutations=n_permutations,
            random_state=random_state,
        )  # fmt: skip
        _warn_of_missing_estimators(opened, estimators, deviations)
    table, snapshots = _measure(
        opened, estimators, subset=subset, n_jobs=jobs, random_state=random_state,
        n_noise_draws=noise_draws, memory=None if memory is None else str(memory),
        memory_limit=memory_limit,
    )  # fmt: skip
    write_table(output, table, snapshots)
    if not json:
        _print_last_checkpoint(table)
    _report(output, table, json=json)
    if not json:
        propose(opened, {"run": run, "labels": labels, "layers": layers, "flatten": flatten})


def _refuse_options_of_estimators(context: typer.Context, config: Path) -> None:
    """Refuse options that would have no effect beside a file's own estimators."""
    for name in OF_ESTIMATORS:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise ValueError(
                f"--{name.replace('_', '-')} has no effect: {config} describes the estimators."
            )


def _warn_of_missing_estimators(run: Any, estimators: Any, sigma: Any) -> None:
    """Say what is not measured for lack of labels or noise, and what is done instead."""
    if run.labels is None:
        warn(
            f"{run.name}: no labels, so no classes, and nothing about Y; --labels FILE gives "
            "them, a .npy of one label per input."
        )
    elif "clustered" not in estimators:
        warn(f"{run.name}: no two inputs of one class and others of another, so not clustered.")
    without_noise = [layer.name for layer in run.layers if not layer.sigma]
    if sigma is None and without_noise:
        warn(f"{', '.join(without_noise)}: no noise on record. {_advise(estimators)}")


def _advise(estimators: Any) -> str:
    """What is measured of layers without noise, and what is not."""
    from skinfo.flow.defaults import DECLARED_SIGMA

    if "noisy" in estimators:
        return "With --sigma noise is added for measuring, at each layer alone."
    return (
        f'Rows "at {DECLARED_SIGMA:g} rms" are measured with noise that is added for measuring, '
        f"{DECLARED_SIGMA:g} times the root mean square deviation of a unit, and I(X;T), which "
        "without noise is the logarithm of the number of inputs, is not."
    )


def _measure(run: Any, estimators: dict[str, Any], **options: Any) -> tuple[Any, Any]:
    """Measure a run; at the end say what could not be measured, similar errors once."""
    from skinfo.flow.defaults import measure_run

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "not measured: ")
        table, snapshots = measure_run(run, estimators, **options)
    _complain_of_lost(run, table)
    return table, snapshots


def _measure_curves(run: Any, **options: Any) -> Any:
    """Measure a run at every sigma; at the end say what could not be measured."""
    from skinfo.flow import sigma_curves

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "not measured: ")
        table = sigma_curves(run, **options)
    _complain_of_lost(run, table)
    return table


def _complain_of_lost(run: Any, table: Any) -> None:
    """Say what could not be measured, similar errors once."""
    for message in summarize_errors(table.attrs["errors"]):
        complain(f"not measured: {message}")
    read = set(table.loc[~table["notes"].str.contains("read error", regex=False), "layer"])
    warn_of_other_arrays(run, [layer.name for layer in run.layers if layer.name not in read])


def _print_last_checkpoint(table: Any) -> None:
    """Print the main quantities of each layer at the last checkpoint, with the ends of brackets.

    Beside an I(Y;T) that predictors found stands the most that permuted labels gave.
    """
    from skinfo.quantities import describe_quantity, estimators_measuring
    from skinfo.view.curves import layers_in_order, main_quantities
    from skinfo.view.words import epoch_name

    last = table[table["epoch"] == table["epoch"].max()]
    layers, main = layers_in_order(last), main_quantities(last)
    columns = []
    for quantity in main:
        symbol = describe_quantity(quantity, table).symbol
        null = quantity.replace("label_mutual_info", "label_null")
        for estimator in estimators_measuring(last, quantity):
            rows = last[last["estimator"].eq(estimator) & last["quantity"].isin([quantity, null])]
            numbers = rows.set_index(["quantity", "layer"])[["value", "lower", "upper"]]
            cells = numbers.reindex([(quantity, x) for x in layers]).to_numpy()
            columns.append([f"{symbol}\n{estimator}", *(_with_ends(*cell) for cell in cells)])
            if null != quantity and null in numbers.index:
                chance = numbers["upper"].reindex([(null, x) for x in layers])
                up_to = ("" if isnan(x) else f"to {x:.3f}" for x in chance)
                columns.append(["permuted\nlabels", *up_to])
    if not columns:
        return
    shown = [["layer", *layers], *columns[:_MOST_COLUMNS]]
    header, *lines = zip(*shown, strict=True)
    units = " or ".join(filter(None, dict.fromkeys(last["unit"])))
    at = f"At epoch {epoch_name(last['epoch'].iloc[0])}{f', in {units}' if units else ''}"
    print_table(header, lines, title=f"{at}; in brackets the ends")
    if len(columns) > _MOST_COLUMNS:
        typer.echo(f"{len(columns) - _MOST_COLUMNS} more columns like these are in the file.")


def _with_ends(value: float, lower: float, upper: float) -> str:
    """A value with the ends of its bracket, where it has two."""
    ends = f" [{lower:.3f}, {upper:.3f}]" if lower < upper else ""
    return "" if isnan(value) else f"{value:.3f}{ends}"


def _report(output: Path, table: Any, *, json: bool, orders: Sequence[str] = ()) -> None:
    """Say what holds, what was written and noted; what could not be read ends in exit code 1."""
    from skinfo.flow.tables import count_unmeasured
    from skinfo.quantities import NOTES

    counts = {note: int(table["notes"].str.contains(note, regex=False).sum()) for note in NOTES}
    notes = {note: count for note, count in counts.items() if count}
    unread = count_unmeasured(table)
    if json:
        said = {"orders": [*orders]} if orders else {}
        written = {"table": str(output), "rows": len(table), "notes": notes, "unread": unread}
        write_json(said | written)
    else:
        if orders:
            typer.echo("What holds at every σ first; > says that the whole bracket lies above")
        for line in orders:
            typer.echo(line)
        typer.echo(f"{len(table)} rows in {output}")
        for note, count in notes.items():
            typer.echo(f"{count} of them noted: {note} ({NOTES[note]})")
    if unread:
        complain(
            f"{unread} rows of the table could not be read or measured; the reasons are printed "
            "above."
        )
        raise typer.Exit(1)
