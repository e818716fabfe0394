"""skinfo report: from a table to a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from skinfo.cli.application import Force, app, check_output


@app.command()
def report(
    table: Annotated[Path, typer.Argument(help="Table that `skinfo analyze` wrote.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Page; default: the table's name.html.")
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="Heading; default: the table's file name.")
    ] = None,
    force: Force = False,
) -> None:
    """Make a table one HTML file to send: plane, curves, distances, notes, settings.

    It needs no network; plotly.js is in it. A curve against sigma gets a smaller page.
    """
    from skinfo.view.report import write_report

    target = output or table.with_suffix(".html")
    if target.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"{target}: a report ends in .html.")
    check_output(target, force=force)
    size = write_report(table, target, title=title, force=force)
    typer.echo(f"Report in {target}, {size / 1e6:.1f} MB")
