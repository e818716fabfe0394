"""skinfo compare: what differs between runs, and beyond which error."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from skinfo.cli.application import Force, Jobs, app, complain, console, headless

_STYLES = {"beyond brackets": "bold", "beyond error": "bold", "": "dim"}


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
            help="What to print and draw: information, label_information, binned, clustering; may "
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
    """Compare flows number by number: differences, their errors, and which exceed them.

    A run, a directory with a run.json, stands for the table beside it: RUN.parquet or RUN.csv.
    Where there is none the run is measured as `skinfo analyze RUN -o RUN.parquet` does, which keeps
    the table for the next time; analyze it first for other settings. A directory with a
    flow.parquet, as the demo makes, stands for that. With one name alone its tables are pooled, and
    the pooled table is what is printed and written.
    """
    from skinfo.comparison import compare_flows, is_pooled, pool_flows, read_flows
    from skinfo.tables import check_output, check_table_name, write_table

    if output is not None:
        check_table_name(output)
    for target in (output, plot):
        if target is not None:
            check_output(target, force=force)
    if plot is not None:
        headless()
    named = _named(flows)
    unread = 0
    tables: dict[str, Any] = {}
    for name, sources in named.items():
        paths = []
        for source in sources:
            path, lost = _table_of(source, jobs)
            unread += lost
            paths.append(path)
        seeds = {str(source): path for source, path in zip(sources, paths, strict=True)}
        tables[name] = pool_flows(seeds) if len(seeds) > 1 else paths[0]
    tables = read_flows(tables)
    alone = len(tables) == 1
    if alone and not is_pooled(next(iter(tables.values()))):
        raise ValueError(
            "A comparison needs two flows. Several tables of one name, NAME=TABLE, are pooled."
        )
    _check_layers(layer, tables)
    result = (
        next(iter(tables.values())) if alone else compare_flows(tables, reference=reference, z=z)
    )
    if json:
        typer.echo(_as_json(result))
    elif alone:
        name, pooled = next(iter(tables.items()))
        _print_pooled(name, pooled, _shown(tables, show), layer, epoch)
    else:
        _print_comparison(result, _shown(tables, show), layer, epoch)
    if output is not None:
        write_table(output, result)
    if plot is not None:
        _draw(tables, plot, reference, show, layer)
    if not json:
        for what, target in (("rows", output), ("Picture", plot)):
            if target is not None:
                counted = f"{len(result)} {what}" if what == "rows" else what
                typer.echo(f"{counted} in {target}")
    if unread:
        complain("some activations could not be read.")
        raise typer.Exit(1)


def _named(flows: list[str]) -> dict[str, list[Path]]:
    """The sources of every flow by name, in the order given."""
    found: dict[str, list[Path]] = {}
    bare = [flow for flow in flows if Path(flow).exists() or "=" not in flow]
    short = _short_names([Path(flow) for flow in bare])
    for flow in flows:
        if flow in bare:
            name, sources = short[Path(flow)], [Path(flow)]
        else:
            name, _, pattern = flow.partition("=")
            sources = _matches(pattern)
        if not name:
            raise ValueError(f"{flow}: there is no name before the =.")
        if flow in bare and name in found:
            raise ValueError(f"{flow} is there twice, or has the name of another: NAME=TABLE.")
        found.setdefault(name, []).extend(sources)
    return found


def _matches(pattern: str) -> list[Path]:
    """The files or directories that a pattern with * stands for, or the path itself."""
    import glob

    if Path(pattern).exists() or not glob.has_magic(pattern):
        return [Path(pattern)]
    found = sorted(Path(path) for path in glob.glob(pattern))
    # Beside every table lies an .npz, which is part of it.
    found = [path for path in found if path.is_dir() or path.suffix in (".parquet", ".csv")]
    if not found:
        raise ValueError(f"{pattern}: no table and no run has such a name.")
    return found


def _short_names(paths: list[Path]) -> dict[Path, str]:
    """Name paths by their last part, without its ending; by more of them where that is not enough.

    Examples
    --------
    >>> list(_short_names([Path("a/flow.csv"), Path("b/flow.csv")]).values())
    ['a', 'b']
    """
    stems = [path.stem if path.suffix in (".parquet", ".csv") else path.name for path in paths]
    parents = [path.absolute().parent.name for path in paths]
    choices = (stems, parents, [f"{p}/{s}" for p, s in zip(parents, stems, strict=True)])
    for names in choices:
        if len(set(names)) == len(set(paths)) and all(names):
            return dict(zip(paths, names, strict=True))
    return {path: str(path) for path in paths}


def _table_of(source: Path, jobs: int) -> tuple[Path, bool]:
    """The table of a source, measured if need be, and whether activations were lost in that."""
    if not source.is_dir():
        return source, False
    if not (source / "run.json").is_file():
        for name in ("flow.parquet", "flow.csv"):
            if (source / name).is_file():
                return source / name, False
        raise ValueError(f"{source}: there is no run here (no run.json), and no flow.parquet.")
    place = source.resolve() if source.name in ("", ".", "..") else source
    beside = [place.parent / f"{place.name}{suffix}" for suffix in (".parquet", ".csv")]
    for path in beside:
        if path.is_file():
            _complain_of_new_epochs(source, path)
            return path, False
    return beside[0], _measure(source, beside[0], jobs)


def _measure(run: Path, target: Path, jobs: int) -> bool:
    """Measure a run as ``skinfo analyze`` does; whether activations could not be read."""
    from skinfo.cli.analyze import analyze

    complain(f"{run} has no table beside it: measured into {target} with default settings.",
             "yellow")  # fmt: skip
    try:
        # What it says of its work is not part of the comparison.
        with contextlib.redirect_stdout(sys.stderr):
            analyze(run, target, jobs=jobs)
    except typer.Exit as stopped:
        return bool(stopped.exit_code)
    return False


def _complain_of_new_epochs(run: Path, path: Path) -> None:
    """Say when a run has gone on since its table was made."""
    from skinfo.runs import open_run
    from skinfo.tables import read_table

    new = sorted(set(open_run(run).epochs) - set(read_table(path)[0]["epoch"]))
    if new:
        complain(
            f"{path} lacks epochs {', '.join(map(str, new))} of {run}: measure them with `skinfo "
            f"analyze {run} -o {path} --force`.",
            "yellow",
        )


def _check_layers(layers: list[str] | None, tables: dict[str, Any]) -> None:
    there = dict.fromkeys(name for table in tables.values() for name in table["layer"])
    for name in layers or []:
        if name not in there:
            raise ValueError(f"--layer {name}: no flow has it; there are {', '.join(there)}.")


def _shown(tables: dict[str, Any], show: list[str] | None) -> dict[str, tuple[str, str]]:
    """Estimator and quantity of what is printed, by the symbol that stands for it."""
    from skinfo.plotting import SHOWN, estimator_of

    unknown = [name for name in show or [] if name not in SHOWN]
    if unknown:
        raise ValueError(f"--show is one of {', '.join(SHOWN)}; got {unknown[0]!r}.")
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
    result: Any, shown: dict[str, tuple[str, str]], layers: list[str] | None, epoch: int | None
) -> None:
    """A table a flow and quantity at one epoch, then what holds of all epochs."""
    from skinfo.comparison import CHANGES

    reference = result["reference"].iloc[0]
    for name in dict.fromkeys(result["flow"]):
        part = result[result["flow"] == name]
        both = part["value"].notna() & part["reference_value"].notna()
        at = _pick_epoch(set(part.loc[both, "epoch"]), epoch)
        part = part[part["layer"].isin(layers or part["layer"])]
        for symbol, rows in _of_quantities(part, shown):
            table = _new_table(f"{symbol}: {name} and {reference} at epoch {at}")
            for column in (reference, name, "difference", "between"):
                table.add_column(escape(column), justify="right")
            table.add_column("change")
            for _, line in rows[rows["epoch"] == at].iterrows():
                ends = line["difference_lower"], line["difference_upper"]
                style = _STYLES.get(line["change"])
                table.add_row(
                    escape(line["layer"]),
                    _number(line["reference_value"], line["reference_stderr"]),
                    _number(line["value"], line["value_stderr"]),
                    _number(line["difference"], line["difference_stderr"], "+"),
                    "–" if ends[0] != ends[0] else f"{ends[0]:+z.3f}…{ends[1]:+z.3f}",
                    _change(line),
                    style=style,
                )
            console.print(table)
            counts = rows["change"].value_counts()
            said = [f"{counts[word]} {word}" for word in CHANGES if word in counts]
            typer.echo(f"All epochs: {', '.join(said) or 'nothing to compare'}.\n")
    _print_meaning(result, shown)


def _new_table(title: str) -> Table:
    table = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False,
                  padding=(0, 1))  # fmt: skip
    table.add_column("layer")
    return table


def _pick_epoch(there: set[int], epoch: int | None) -> int:
    """The epoch asked for, or the last."""
    if epoch is not None and epoch not in there:
        known = ", ".join(map(str, sorted(there)))
        raise ValueError(f"--epoch {epoch}: the flows share {known}.")
    return max(there) if epoch is None else epoch


def _of_quantities(rows: Any, shown: dict[str, tuple[str, str]]) -> Iterable[tuple[str, Any]]:
    for symbol, (estimator, quantity) in shown.items():
        chosen = rows[(rows["estimator"] == estimator) & (rows["quantity"] == quantity)]
        if len(chosen):
            yield symbol, chosen


def _change(line: Any) -> str:
    """The word for a change; of numbers that only one flow has, why there is none."""
    if line["change"]:
        return str(line["change"])
    return escape(str(line["notes"]).split("; ")[0]) or "–"


def _print_meaning(result: Any, shown: dict[str, tuple[str, str]]) -> None:
    """What the words mean that were printed, and in which settings the flows differ."""
    from skinfo.comparison import CHANGES

    present = set()
    for _, rows in _of_quantities(result, shown):
        present |= set(rows["change"])
    for word, meaning in CHANGES.items():
        if word in present:
            typer.echo(f"{word}: {meaning}.")
    said: dict[str, None] = {}
    differ = result[result["notes"].str.contains("settings differ", regex=False)]
    for _, line in differ.drop_duplicates(["flow", "layer", "estimator"]).iterrows():
        (note,) = [n for n in line["notes"].split("; ") if n.startswith("settings differ")]
        said[f"{line['reference']} and {line['flow']}, {line['estimator']}: {note}."] = None
    for message in said:
        complain(message, "yellow")


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
                f"{line['lower']:.3f}…{line['upper']:.3f}",
                str(int(line["n_seeds"])),
            )
        console.print(table)
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
    from skinfo.plotting import FlowComparisonDisplay, save_figure

    display = FlowComparisonDisplay.from_flows(
        tables, reference=reference, shown=show or None, layers=layers or None
    )
    save_figure(display.plot().figure_, target, close=True)
