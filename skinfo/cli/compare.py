"""skinfo compare: what differs between runs, and beyond which error."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from skinfo.cli.application import (
    Force,
    Jobs,
    app,
    check_output,
    complain,
    console,
    headless,
)
from skinfo.cli.sources import named_sources, table_of

_STYLES = {
    "beyond brackets": "bold", "beyond error": "bold", "not comparable": "yellow", "": "dim",
}  # fmt: skip
_NO_BRACKET = (float("nan"), float("nan"))
_TOO_FEW = "A comparison needs two flows; several tables of one name, NAME=TABLE, are pooled."


@app.command()
def compare(
    flows: Annotated[
        list[str],
        typer.Argument(
            help="Tables of `skinfo analyze`, or runs. NAME=TABLE names one; tables of the same "
            "name are seeds of one setting and are pooled; * in TABLE stands for any of them.",
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
            help="What to print and draw: information, label_information, binned, clustered; may "
            "be given several times. Default: all that there is; the first two are drawn."
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
    json: Annotated[
        bool, typer.Option("--json", help="Print all rows for a program, and nothing else.")
    ] = False,
    jobs: Jobs = 2,
    force: Force = False,
) -> None:
    """Compare flows number by number: differences and which exceed their error.

    A run, whatever its format, stands for the table beside it:
    RUN.parquet or RUN.csv. Where there is none the run is measured, as by
    `skinfo analyze RUN -o RUN.parquet`, and the table is kept; analyze it
    first for other settings. A directory with a flow.parquet, such as the
    demo makes, stands for that table. With one name alone its tables are
    pooled, and the pooled table is what is printed and written.
    """
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
    named = named_sources(flows)
    _check_before_measuring(named, reference, show)
    tables, unread = _gather(named, jobs)
    _check_layers(layer, tables)
    name, first = next(iter(tables.items()))
    alone = len(tables) == 1
    if alone and not is_pooled(first):
        raise ValueError(_TOO_FEW)
    result = first if alone else compare_flows(tables, reference=reference, z=z)
    if json:
        typer.echo(_as_json(result))
    elif alone:
        _print_pooled(name, first, _shown(tables, show), layer, epoch)
    else:
        _print_comparison(result, tables, _shown(tables, show), layer, epoch)
        _print_spread(tables)
    if output is not None:
        write_table(output, result)
        _say(f"{len(result)} rows in {output}", quiet=json)
    if plot is not None:
        _draw(tables, plot, reference, show, layer)
        _say(f"Picture in {plot}", quiet=json)
    if unread:
        complain(f"{unread} rows of the tables: some activations could not be read or measured.")
        raise typer.Exit(1)


def _say(message: str, *, quiet: bool) -> None:
    if not quiet:
        typer.echo(message)


def _gather(named: dict[str, list[Path]], jobs: int) -> tuple[dict[str, Any], int]:
    """The flows by name, pooled where there are several, and how many rows were not measured."""
    from skinfo.comparison import pool_flows, read_flows
    from skinfo.flow.tables import count_unmeasured

    unread = 0
    tables: dict[str, Any] = {}
    for name, sources in named.items():
        seeds = {str(source): table_of(source, jobs) for source in sources}
        found = read_flows(seeds)
        unread += sum(map(count_unmeasured, found.values()))
        # From the paths it sees that none is there twice.
        tables[name] = pool_flows(seeds) if len(seeds) > 1 else next(iter(found.values()))
    return read_flows(tables), unread


def _check_before_measuring(
    named: dict[str, list[Path]], reference: str | None, show: list[str] | None
) -> None:
    """What a user may have mistyped, found before minutes are spent."""
    from skinfo.view.pictures.curves import SHOWN

    unknown = [name for name in show or [] if name not in SHOWN]
    if unknown:
        raise ValueError(f"--show is one of {', '.join(SHOWN)}; got {unknown[0]!r}.")
    if reference is not None and reference not in named:
        raise ValueError(f"--reference {reference}: there is no such flow; got {', '.join(named)}.")
    (first, *more), *others = named.values()
    if not more and not others and (first / "run.json").is_file():
        raise ValueError(_TOO_FEW)


def _check_layers(layers: list[str] | None, tables: dict[str, Any]) -> None:
    there = dict.fromkeys(name for table in tables.values() for name in table["layer"])
    for name in layers or []:
        if name not in there:
            raise ValueError(f"--layer {name}: no flow has it; there are {', '.join(there)}.")


def _shown(tables: dict[str, Any], show: list[str] | None) -> dict[str, tuple[str, str]]:
    """Estimator and quantity of what is printed, by the symbol that stands for it."""
    from skinfo.kinds import estimator_of
    from skinfo.view.pictures.curves import SHOWN

    found = {}
    for name, (tells, quantity, symbol) in SHOWN.items():
        for table in tables.values():
            estimator = estimator_of(table, tells)
            held = table["estimator"].eq(estimator) & table["quantity"].eq(quantity)
            if held.any() and (not show or name in show):
                unit = table.loc[held, "unit"].iloc[0]
                found[f"{symbol} [{unit}]" if unit else symbol] = (str(estimator), quantity)
                break
        else:
            if show and name in show:
                raise ValueError(f"--show {name}: the flows do not hold it.")
    return found


def _print_comparison(
    result: Any,
    tables: dict[str, Any],
    shown: dict[str, tuple[str, str]],
    layers: list[str] | None,
    epoch: int | None,
) -> None:
    """A table a flow and quantity at one epoch, then what holds of all epochs."""
    from skinfo.comparison import CHANGES
    from skinfo.flow.tables import KEYS

    reference = result["reference"].iloc[0]
    brackets = {name: _brackets(table) for name, table in tables.items()}
    for name in dict.fromkeys(result["flow"]):
        part = result[result["flow"] == name]
        both = part["value"].notna() & part["reference_value"].notna()
        at = _pick_epoch(set(part.loc[both, "epoch"]), epoch)
        part = part[part["layer"].isin(layers or part["layer"])]
        for symbol, rows in _of_quantities(part, shown):
            table = _new_table(f"{symbol}: {name} and {reference} at epoch {at}")
            for column in (reference, "bracket", name, "bracket", "difference", "between"):
                table.add_column(escape(column), justify="right")
            table.add_column("change")
            now = rows[rows["epoch"] == at]
            for _, line in now.iterrows():
                key = tuple(line[list(KEYS)])
                table.add_row(
                    escape(line["layer"]),
                    _number(line["reference_value"], line["reference_stderr"]),
                    _ends(*brackets[reference].get(key, _NO_BRACKET)),
                    _number(line["value"], line["value_stderr"]),
                    _ends(*brackets[name].get(key, _NO_BRACKET)),
                    _number(line["difference"], line["difference_stderr"], "+"),
                    _ends(line["difference_lower"], line["difference_upper"], "+"),
                    _change(line),
                    style=_STYLES.get(line["change"]),
                )
            _print_whole(table)
            _print_notes(now, [reference, name])
            counts = rows["change"].value_counts()
            said = [f"{counts[word]} {word}" for word in CHANGES if word in counts]
            typer.echo(f"All epochs: {', '.join(said) or 'nothing to compare'}.\n")
    _print_meaning(result, shown)


def _brackets(table: Any) -> dict[tuple[Any, ...], tuple[float, float]]:
    """Both ends of every number's bracket."""
    from skinfo.flow.tables import KEYS

    keys = zip(*(table[name] for name in KEYS), strict=True)
    return dict(zip(keys, zip(table["lower"], table["upper"], strict=True), strict=True))


def _ends(lower: float, upper: float, sign: str = "") -> str:
    return "–" if lower != lower else f"{lower:{sign}z.3f}…{upper:{sign}z.3f}"


def _print_notes(rows: Any, flows: list[str]) -> None:
    """The notes of what was printed as footnotes: what each means, and of which layers."""
    from skinfo.comparison.pooling import POOLING_NOTES
    from skinfo.quantities import JOINT, NOTES

    found: dict[str, dict[str, None]] = {}
    for _, line in rows.iterrows():
        for note in filter(None, line["notes"].split(JOINT)):
            # Said in the column of changes and below all tables.
            if note.startswith(("not in ", "settings differ")):
                continue
            whose = next((name for name in flows if note.startswith(f"{name}: ")), "")
            where = line["layer"] + (f" of {whose}" if whose else "")
            found.setdefault(note.removeprefix(f"{whose}: "), {})[where] = None
    for note, places in found.items():
        meaning = (NOTES | POOLING_NOTES).get(note)
        typer.echo(f"{', '.join(places)}: {note}{f' ({meaning})' if meaning else ''}.")


def _new_table(title: str) -> Table:
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False,
                  padding=(0, 1, 0, 0))  # fmt: skip
    table.add_column("layer")
    return table


def _print_whole(table: Table) -> None:
    """Print all of a table: a terminal too narrow breaks its lines, no number is cut."""
    natural = console.measure(table, options=console.options.update(max_width=1000)).maximum
    wide = Console(width=max(natural, console.width))
    wide.print(table)


def _pick_epoch(there: set[int], epoch: int | None) -> int:
    """The epoch asked for, or the last."""
    if epoch is not None and epoch not in there:
        known = ", ".join(map(str, sorted(there)))
        raise ValueError(f"--epoch {epoch}: the flows share {known}.")
    return max(there) if epoch is None else epoch


def _of_quantities(rows: Any, shown: dict[str, tuple[str, str]]) -> list[tuple[str, Any]]:
    chosen = {
        symbol: rows[(rows["estimator"] == estimator) & (rows["quantity"] == quantity)]
        for symbol, (estimator, quantity) in shown.items()
    }
    return [(symbol, found) for symbol, found in chosen.items() if len(found)]


def _change(line: Any) -> str:
    """The word for a change; of numbers that only one flow has, why there is none."""
    from skinfo.quantities import JOINT

    if line["change"]:
        return str(line["change"])
    return escape(str(line["notes"]).split(JOINT)[0]) or "–"


def _print_meaning(result: Any, shown: dict[str, tuple[str, str]]) -> None:
    """What the words mean that were printed, and in which settings the flows differ."""
    from skinfo.comparison import CHANGES
    from skinfo.quantities import JOINT

    if not shown:
        typer.echo(
            f"None of the quantities that are printed here; -o FILE or --json gives all "
            f"{len(result)} rows."
        )
        return
    present = set()
    for _, rows in _of_quantities(result, shown):
        present |= set(rows["change"])
    for word, meaning in CHANGES.items():
        if word in present:
            typer.echo(f"{word}: {meaning}.")
    typer.echo(
        "± is the standard error of the computation, of several seeds that of their mean; the "
        "bracket holds the truth, with the bias that few replicas leave."
    )
    said: dict[str, None] = {}
    differ = result[result["notes"].str.contains("settings differ", regex=False)]
    for _, line in differ.drop_duplicates(["flow", "layer", "estimator"]).iterrows():
        (note,) = [n for n in line["notes"].split(JOINT) if n.startswith("settings differ")]
        said[f"{line['reference']} and {line['flow']}, {line['estimator']}: {note}."] = None
    for message in said:
        complain(message, "yellow")


def _print_spread(tables: dict[str, Any]) -> None:
    """Say what runs that stand alone leave open."""
    from skinfo.comparison import is_pooled

    if not any(is_pooled(table) for table in tables.values()):
        typer.echo(
            "One run a side: how far seeds of one setting spread is not known, and a difference "
            "may be no more than that; tables of several seeds, NAME=TABLE, are pooled."
        )


def _print_pooled(
    name: str,
    pooled: Any,
    shown: dict[str, tuple[str, str]],
    layers: list[str] | None,
    epoch: int | None,
) -> None:
    at = _pick_epoch(set(pooled.loc[pooled["value"].notna(), "epoch"]), epoch)
    now = pooled[(pooled["epoch"] == at) & pooled["layer"].isin(layers or pooled["layer"])]
    for symbol, rows in _of_quantities(now, shown):
        table = _new_table(f"{symbol}: {name} at epoch {at}")
        for column in ("mean", "spread", "brackets", "seeds"):
            table.add_column(column, justify="right")
        for _, line in rows.iterrows():
            spread = line["spread"]
            table.add_row(
                escape(line["layer"]),
                _number(line["value"], line["stderr"]),
                "–" if spread != spread else f"{spread:.3f}",
                _ends(line["lower"], line["upper"]),
                str(int(line["n_seeds"])),
            )
        _print_whole(table)
        _print_notes(rows, [])
    typer.echo("mean ± its standard error; spread: standard deviation between seeds.")


def _number(value: float, error: float, sign: str = "") -> str:
    """A number with its standard error; without one where three digits do not show it."""
    if value != value:
        return "–"
    return f"{value:{sign}z.3f}" + (f"±{error:.3f}" if error >= 0.0005 else "")


def _as_json(table: Any) -> str:
    """Rows as a JSON array; null for what is not a finite number."""
    import json

    import numpy as np

    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    finite = [
        {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}
        for row in rows
    ]
    return json.dumps(finite, allow_nan=False, ensure_ascii=False)


def _draw(
    tables: dict[str, Any],
    target: Path,
    reference: str | None,
    show: list[str] | None,
    layers: list[str] | None,
) -> None:
    from skinfo.view.pictures import FlowComparisonDisplay, save_figure

    display = FlowComparisonDisplay.from_flows(
        tables, reference=reference, shown=show or None, layers=layers or None
    )
    save_figure(display.plot().figure_, target, close=True)
