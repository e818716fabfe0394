"""skinfo analyze --sigmas: every layer of a run at every sigma of a range."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np
import typer

# What is proposed for a run without noise: from where all is told apart to where all is drowned.
_SIGMAS, _MOST_INPUTS = ".1:10:12", 2000
#: Options of `skinfo analyze` that have no effect on curves.
OF_FLOWS = ("sigma", "bin_width", "posterior_draws", "n_permutations", "noise_draws")


def parse_sigmas(text: str) -> list[float]:
    """Read standard deviations: start:stop:count, evenly apart in the logarithm, or a list.

    Examples
    --------
    >>> parse_sigmas(".1:10:3"), parse_sigmas("0.5,2")
    ([0.1, 1.0, 10.0], [0.5, 2.0])
    """
    try:
        if ":" not in text:
            return [float(part) for part in text.split(",")]
        start, stop, count = text.split(":")
        ends, n = (float(start), float(stop)), int(count)
    except ValueError:
        raise ValueError(
            "--sigmas is start:stop:count, such as .1:10:12, or numbers with commas between them; "
            f"got {text!r}."
        ) from None
    if not (0 < ends[0] < ends[1] < np.inf and n >= 2):
        raise ValueError(
            f"--sigmas {text}: start:stop:count goes up from a positive start, in 2 steps or more."
        )
    # Ends exactly as given.
    return [ends[0], *(float(f"{sigma:.12g}") for sigma in np.geomspace(*ends, n)[1:-1]), ends[1]]


def refuse_options_of_flows(context: typer.Context) -> None:
    """Refuse options that would have no effect beside --sigmas."""
    for name in OF_FLOWS:
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            raise ValueError(f"--{name.replace('_', '-')} has no effect beside --sigmas.")
    if "estimators" in (context.default_map or {}):
        raise ValueError("--sigmas measures by itself: [estimators] of --config have no effect.")


def orders_in_words(table: Any) -> list[str]:
    """Say what holds at all sigmas: of layers at the last checkpoint, and from first to last."""
    from skinfo.comparison import orders_over_sigmas

    epochs = sorted(set(table["epoch"]))
    lines = orders_over_sigmas(table[table["epoch"] == epochs[-1]])
    if len(epochs) > 1:
        ends = table[table["epoch"].isin([epochs[0], epochs[-1]])]
        over_time = orders_over_sigmas(ends, across="epoch", most=2)
        lines = [*(f"Epoch {epochs[-1]}: {line}" for line in lines), *over_time]
    if "inputs" in table:
        lines.append(f"Measured on {table['inputs'].iloc[0]} inputs, the same everywhere")
    return lines


def propose(run: Any, arguments: dict[str, Any]) -> None:
    """Say how a run without noise is measured at every sigma, in a line to copy.

    ``arguments`` are what the command line says of the run: its path, and options by name.
    """
    if not run.layers or any(layer.sigma or layer.noise_before for layer in run.layers):
        return
    path = arguments.pop("run")
    given = [f"--{name} {shlex.quote(str(value))}" for name, value in arguments.items() if value]
    n_inputs = run._count_inputs()
    most = [f"--max-inputs {_MOST_INPUTS}"] if n_inputs and n_inputs > _MOST_INPUTS else []
    options = [*given, f"--sigmas {_SIGMAS} --unit rms", *most, "-o sigmas.parquet"]
    typer.echo(
        "No layer has noise, so no σ is the right one; what holds at every σ of a range is said by"
    )
    typer.echo(f"skinfo analyze {shlex.quote(str(path))} {' '.join(options)}")
