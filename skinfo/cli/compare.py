"""skinfo compare: what differs between flows, and beyond which error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from skinfo.cli.application import (
    Force,
    app,
    check_output,
    complain,
    headless,
    print_notes,
    print_table,
    warn,
    write_json,
)
from skinfo.cli.sources import find_table, named_sources

_STYLES = {
    "beyond brackets": "bold", "beyond error": "bold", "not comparable": "yellow", "": "dim",
}  # fmt: skip
# What is printed: by what it is called, with its unit, the estimator and the quantity.
Shown = dict[str, tuple[str, str]]


@app.command()
def compare(
    flows: Annotated[
        list[str],
        typer.Argument(
            help="Tables of `skinfo analyze`. NAME=TABLE names one; tables of the same name are "
            "seeds of one setting and are pooled; * in TABLE stands for any of them.",
            metavar="[NAME=]TABLE...",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Comparison to write: .parquet or .csv.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Picture to draw of the flows over one another.")
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Name of the flow to compare with; default: the first.")
    ] = None,
    show: Annotated[
        list[str] | None,
        typer.Option(
            help="Quantity to print and draw, such as mutual_info; may be given several times. "
            "Default: the main ones; of these I(X;T) and I(Y;T) are drawn."
        ),
    ] = None,
    estimator: Annotated[
        list[str] | None,
        typer.Option(
            help="Estimator to print and draw, by its name in the tables; may be given several "
            "times. Default: all that measured what is shown."
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(help="Layer to print and draw; may be given several times. Default: all."),
    ] = None,
    epoch: Annotated[
        int | None, typer.Option(help="Epoch to print; default: the last that both have.")
    ] = None,
    z: Annotated[float, typer.Option(help="Standard errors beyond which a difference counts.")] = (
        1.96
    ),
    pair_by: Annotated[
        str | None,
        typer.Option(
            help="What tells which seeds of two flows belong together: order, name, seed, or "
            "anything else on record in the settings of the runs."
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print all rows for a program, and nothing else.")
    ] = False,
    force: Force = False,
) -> None:
    """Compare flows number by number: differences and which exceed their error.

    A run that `skinfo analyze RUN -o RUN.parquet` has measured stands for the
    table beside it: RUN.parquet or RUN.csv. A directory with a flow.parquet,
    such as the demo makes, stands for that table. With one name alone its
    tables are pooled, and the pooled table is what is printed and written.
    With --json a mistake is printed as {"error": …} as well.
    """
    options: dict[str, Any] = {"reference": reference, "z": z, "pair_by": pair_by}
    chosen = {"quantities": show, "layers": layer, "estimators": estimator}
    try:
        unread = _run(flows, output, plot, options, chosen, epoch, as_json=json, force=force)
    except ValueError as error:
        if json:
            write_json({"error": str(error)})
        raise
    if unread:
        complain(f"{unread} rows of the tables: some activations could not be read or measured.")
        raise typer.Exit(1)


def _run(
    flows: list[str], output: Path | None, plot: Path | None, options: dict[str, Any],
    chosen: dict[str, list[str] | None], epoch: int | None, *, as_json: bool, force: bool,
) -> int:  # fmt: skip
    """Compare, print, write and draw; returns how many rows of the tables were not measured."""
    from skinfo.comparison import compare_flows, is_pooled
    from skinfo.flow.tables import check_no_snapshots, check_table_name, write_table

    if output is not None:
        check_table_name(output)
        check_no_snapshots(output)
    for target in (output, plot):
        if target is not None:
            check_output(target, force=force)
    if plot is not None:
        headless()
    tables, unread = _gather(named_sources(flows))
    _check_choice(tables, options["reference"], chosen)
    layers = chosen["layers"]
    name, first = next(iter(tables.items()))
    alone = len(tables) == 1
    if alone and not is_pooled(first):
        raise ValueError(
            "A comparison needs two flows; several tables of one name, NAME=TABLE, are pooled."
        )
    result = first if alone else compare_flows(tables, **options)
    shown = _shown(tables, chosen["quantities"], chosen["estimators"])
    if as_json:
        typer.echo(_as_json(result))
    elif alone:
        _print_pooled(name, first, shown, layers, epoch)
    else:
        _print_comparison(result, tables, shown, layers, epoch)
    written = []
    if output is not None:
        write_table(output, result)
        written.append(f"{len(result)} rows in {output}")
    if plot is not None:
        from skinfo.view import FlowComparisonDisplay, save_figure

        drawn: dict[str, Any] = {name: names or None for name, names in chosen.items()}
        display = FlowComparisonDisplay.from_flows(tables, **options, **drawn)
        save_figure(display.plot().figure_, plot, close=True)
        written.append(f"Picture in {plot}")
    if not as_json:
        for message in written:
            typer.echo(message)
    return unread


def _gather(named: dict[str, list[Path]]) -> tuple[dict[str, Any], int]:
    """Read flows by name, pool several of one name, and count the rows that were not measured."""
    from skinfo.comparison import pool_flows, read_flows
    from skinfo.flow.tables import count_unmeasured

    unread = 0
    tables: dict[str, Any] = {}
    for name, sources in named.items():
        paths = {str(source): find_table(source) for source in sources}
        seeds = read_flows(paths)
        unread += sum(map(count_unmeasured, seeds.values()))
        # From the paths it sees that none is there twice.
        tables[name] = pool_flows(paths) if len(paths) > 1 else next(iter(seeds.values()))
    return tables, unread


def _check_choice(
    tables: dict[str, Any], reference: str | None, chosen: dict[str, list[str] | None]
) -> None:
    if reference is not None and reference not in tables:
        raise ValueError(
            f"--reference {reference}: there is no such flow; got {', '.join(tables)}."
        )
    for option, column in (("layers", "layer"), ("estimators", "estimator")):
        names = dict.fromkeys(name for table in tables.values() for name in table[column])
        for name in chosen[option] or []:
            if name not in names:
                raise ValueError(
                    f"--{column} {name}: no flow has it; there are {', '.join(names)}."
                )


def _shown(tables: dict[str, Any], show: list[str] | None, estimators: list[str] | None) -> Shown:
    """Choose what is printed: each quantity of every estimator that measured it, or of some."""
    from skinfo.quantities import estimators_measuring
    from skinfo.view.curves import Curves, main_quantities

    shown: Shown = {}
    for quantity in show or main_quantities(*tables.values()):
        found: dict[str, str] = {}
        for table in tables.values():
            for name in estimators_measuring(table, quantity):
                curves = Curves.of(table, name, quantity)
                if curves is not None:
                    found.setdefault(name, curves.label)
        names = [name for name in found if not estimators or name in estimators]
        if show and not names:
            of = f" of {', '.join(estimators)}" if estimators and found else ""
            by = f"; it was measured by {', '.join(found)}" if found else ""
            raise ValueError(f"--show {quantity}: the flows do not hold it{of}{by}.")
        for name in names:
            label = found[name]
            shown[f"{label} by {name}" if len(found) > 1 else label] = (name, quantity)
    return shown


def _by_symbol(rows: Any, shown: Shown, layers: list[str] | None) -> list[tuple[str, Any]]:
    """Split the rows of the layers by what is printed of them."""
    rows = rows[rows["layer"].isin(layers or rows["layer"])]
    chosen = [
        (symbol, rows[(rows["estimator"] == estimator) & (rows["quantity"] == quantity)])
        for symbol, (estimator, quantity) in shown.items()
    ]
    return [(symbol, of_symbol) for symbol, of_symbol in chosen if len(of_symbol)]


def _choose_epoch(epochs: set[int], epoch: int | None) -> int:
    """Take the epoch asked for, or the last."""
    if not epochs:
        raise ValueError("There is nothing to print: no value is a number in both flows.")
    if epoch is not None and epoch not in epochs:
        raise ValueError(f"--epoch {epoch}: the flows share {', '.join(map(str, sorted(epochs)))}.")
    return max(epochs) if epoch is None else epoch


def _print_comparison(
    result: Any, tables: dict[str, Any], shown: Shown, layers: list[str] | None, epoch: int | None
) -> None:
    """Print a table per flow and quantity at one epoch, each with a summary of all epochs."""
    from skinfo.comparison import CHANGES, is_pooled
    from skinfo.flow.tables import KEYS

    reference = result["reference"].iloc[0]
    columns = ["layer", reference, "bracket", "", "bracket", "difference", "between", "change"]
    columns += ["about"]
    for name in dict.fromkeys(result["flow"]):
        rows = result[result["flow"] == name]
        both = rows["value"].notna() & rows["reference_value"].notna()
        at = _choose_epoch(set(rows.loc[both, "epoch"]), epoch)
        for flow in (name, reference):
            ends = tables[flow][[*KEYS, "lower", "upper"]]
            rows = rows.merge(ends, how="left", on=list(KEYS), suffixes=("", "_of_reference"))
        columns[3] = name
        for symbol, of_symbol in _by_symbol(rows, shown, layers):
            now = of_symbol[of_symbol["epoch"] == at]
            print_table(
                columns,
                [_cells(line) for line in now.to_dict("records")],
                title=f"{symbol}: {name} and {reference} at epoch {at}",
                styles=[_STYLES.get(change) for change in now["change"]],
            )
            _print_notes(now, [reference, name])
            counts = of_symbol["change"].value_counts()
            said = [f"{counts[word]} {word}" for word in CHANGES if word in counts]
            typer.echo(f"All epochs: {', '.join(said) or 'nothing to compare'}.\n")
    _print_meaning(result, shown)
    if not any(is_pooled(table) for table in tables.values()):
        typer.echo(
            "One run per side: how far seeds of one setting spread is not known, and a difference "
            "may be no more than that; tables of several seeds, NAME=TABLE, are pooled."
        )


def _cells(line: dict[str, Any]) -> list[str]:
    from skinfo.quantities import split_notes

    return [
        line["layer"],
        _number(line["reference_value"], line["reference_stderr"]),
        _ends(line["lower_of_reference"], line["upper_of_reference"]),
        _number(line["value"], line["value_stderr"]),
        _ends(line["lower"], line["upper"]),
        _number(line["difference"], line["difference_stderr"], "+"),
        _ends(line["difference_lower"], line["difference_upper"], "+"),
        # Of numbers that only one flow has, why there is no change.
        line["change"] or next(iter(split_notes(line["notes"])), "–"),
        line["about"],
    ]


def _number(value: float, error: float, sign: str = "") -> str:
    """Give a number with its standard error, unless three digits do not show the error."""
    if value != value:
        return "–"
    shown = "±?" if error != error else f"±{error:.3f}" if error >= 0.0005 else ""
    return f"{value:{sign}z.3f}{shown}"


def _ends(lower: float, upper: float, sign: str = "") -> str:
    return "–" if lower != lower else f"{lower:{sign}z.3f}…{upper:{sign}z.3f}"


def _print_notes(rows: Any, flows: list[str]) -> None:
    """Print the notes of rows as footnotes; those that start with a flow's name say which flow."""
    from skinfo.quantities import split_notes

    notes = []
    for layer, cell in zip(rows["layer"], rows["notes"], strict=True):
        for note in split_notes(cell):
            # These stand in the column of changes and below all tables.
            if not note.startswith(("not in ", "settings differ")):
                flow = next((name for name in flows if note.startswith(f"{name}: ")), "")
                place = f"{layer} of {flow}" if flow else layer
                notes.append((place, note.removeprefix(f"{flow}: ")))
    print_notes(notes)


def _print_meaning(result: Any, shown: Shown) -> None:
    """Say what the printed words mean, and in which settings the flows differ."""
    from skinfo.comparison import CHANGES, SCOPES
    from skinfo.quantities import split_notes

    if not shown:
        typer.echo(
            f"The flows share none of the quantities printed here; -o FILE or --json gives all "
            f"{len(result)} rows."
        )
        return
    printed = [rows for _, rows in _by_symbol(result, shown, None)]
    for column, meanings in (("change", CHANGES), ("about", SCOPES)):
        words = {word for rows in printed for word in rows[column]}
        for word, meaning in meanings.items():
            if word in words:
                typer.echo(f"{word}: {meaning}.")
    typer.echo(
        "± is the standard error of the computation, of several seeds that of their mean, of a "
        "difference that of what was sampled as well, ±? where it is unknown; the bracket holds "
        "the truth, with the bias that few replicas leave."
    )
    if result.attrs["pair_by"] is not None:
        typer.echo(f"Seeds are paired by {result.attrs['pair_by']}.")
    differ = result[result["notes"].str.contains("settings differ", regex=False)]
    messages = [
        f"{line['reference']} and {line['flow']}, {line['estimator']}: {note}."
        for _, line in differ.drop_duplicates(["flow", "layer", "estimator"]).iterrows()
        for note in split_notes(line["notes"])
        if note.startswith("settings differ")
    ]
    for message in dict.fromkeys(messages):
        warn(message)


def _print_pooled(
    name: str, pooled: Any, shown: Shown, layers: list[str] | None, epoch: int | None
) -> None:
    at = _choose_epoch(set(pooled.loc[pooled["value"].notna(), "epoch"]), epoch)
    for symbol, rows in _by_symbol(pooled[pooled["epoch"] == at], shown, layers):
        print_table(
            ["layer", "mean", "spread", "brackets", "seeds"],
            [
                [
                    line["layer"],
                    _number(line["value"], line["stderr"]),
                    "–" if line["spread"] != line["spread"] else f"{line['spread']:.3f}",
                    _ends(line["lower"], line["upper"]),
                    str(int(line["n_seeds"])),
                ]
                for line in rows.to_dict("records")
            ],
            title=f"{symbol}: {name} at epoch {at}",
        )
        _print_notes(rows, [])
    typer.echo("mean ± its standard error; spread: standard deviation between seeds.")


def _as_json(table: Any) -> str:
    """Write rows as a JSON array; null for what is not a finite number."""
    import json

    import numpy as np

    values = table.replace([np.inf, -np.inf], np.nan).astype(object)
    rows = values.where(values.notna(), None).to_dict("records")
    return json.dumps(rows, allow_nan=False)
