"""What an argument of the command line stands for: tables, runs, several of them by one name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from skinfo.cli.application import complain, complain_of_labels
from skinfo.cli.unmeasured import measure


def open_described(run: Path, labels: Path | None, layers: str | None, **said: Any) -> Any:
    """Open a run with what the command line says of it: a file of labels, names of layers."""
    from skinfo.runs import open_run

    return open_run(
        run,
        labels=None if labels is None else _read_labels(labels),
        layers=None if layers is None else layers.split(","),
        **said,
    )


def _read_labels(path: Path) -> Any:
    """The labels of a .npy; anything else there is a mistake in the command."""
    import numpy as np

    try:
        with path.open("rb") as file:
            values = np.load(file, allow_pickle=False)
    except MemoryError:
        raise
    # What numpy raises for a damaged file is anybody's guess.
    except Exception as error:
        raise ValueError(f"{path}: is no .npy of labels that can be read ({error}).") from error
    if not isinstance(values, np.ndarray) or values.ndim != 1:
        raise ValueError(f"{path}: is no .npy of labels: expected one axis, a label an input.")
    return values


def named_sources(flows: list[str]) -> dict[str, list[Path]]:
    """Find the sources of every flow by name, in the order given.

    Raises
    ------
    ValueError
        For a pattern that nothing matches, and one source or name given twice.
    """
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
    for name, sources in found.items():
        twice = [source for source in sources if sources.count(source) > 1]
        if twice:
            raise ValueError(f"{name}: {twice[0]} is there twice; every seed counts once.")
    return found


def _matches(pattern: str) -> list[Path]:
    """The files or directories that a pattern with * stands for, or the path itself."""
    import glob

    if Path(pattern).exists() or not glob.has_magic(pattern):
        return [Path(pattern)]
    found = sorted(Path(path) for path in glob.glob(pattern))
    # Beside every table lies an .npz, which is part of it, and maybe the run that it was made of.
    tables = [path for path in found if _is_table(path)]
    runs = [path for path in found if path.is_dir() and path not in map(_bare, tables)]
    found = sorted([*tables, *runs])
    if not found:
        raise ValueError(f"{pattern}: no table and no run has such a name.")
    return found


def _is_table(path: Path) -> bool:
    from skinfo.flow.tables import SUFFIXES

    return path.suffix in SUFFIXES


def _bare(table: Path) -> Path:
    return table.with_name(table.name.removesuffix(table.suffix))


def _short_names(paths: list[Path]) -> dict[Path, str]:
    """Name paths by their last part, without its ending; by more of them where that is not enough.

    Examples
    --------
    >>> list(_short_names([Path("a/flow.csv"), Path("b/flow.csv")]).values())
    ['a', 'b']
    """
    stems = [path.stem if _is_table(path) else path.name for path in paths]
    parents = [path.absolute().parent.name for path in paths]
    choices = (stems, parents, [f"{p}/{s}" for p, s in zip(parents, stems, strict=True)])
    for names in choices:
        if len(set(names)) == len(set(paths)) and all(names):
            return dict(zip(paths, names, strict=True))
    return {path: str(path) for path in paths}


def table_of(source: Path, jobs: int) -> Path:
    """Find the table of a source, measured if need be."""
    if _is_table(source) or not source.exists():
        return source
    from skinfo.flow.tables import SUFFIXES

    if not (source / "run.json").is_file():
        for name in (f"flow{suffix}" for suffix in SUFFIXES):
            if (source / name).is_file():
                return source / name
    place = source.resolve() if source.name in ("", ".", "..") else source
    beside = [place.parent / f"{place.name}{suffix}" for suffix in SUFFIXES]
    for path in beside:
        if path.is_file():
            complain(f"{source}: its table {path} is used.", "cyan")
            _complain_of_changes(source, path)
            return path
    _measure(source, beside[0], jobs)
    return beside[0]


def _measure(run: Path, target: Path, jobs: int) -> None:
    """Measure a run as ``skinfo analyze`` does."""
    from skinfo.flow.defaults import default_estimators
    from skinfo.flow.tables import write_table
    from skinfo.runs import open_run

    opened = open_run(run)
    complain(f"{run} has no table beside it: measured into {target} with default settings.",
             "yellow")  # fmt: skip
    estimators = default_estimators(opened, random_state=0)
    complain_of_labels(opened, estimators)
    table, snapshots = measure(opened, estimators, n_jobs=jobs)
    write_table(target, table, snapshots)


def _complain_of_changes(run: Path, path: Path) -> None:
    """Say when a run has gone on, or was written again, since its table was made."""
    from skinfo._files import describe_files, written_after
    from skinfo.flow.tables import read_table
    from skinfo.runs import open_run

    table = read_table(path)[0]
    new = sorted(set(open_run(run).epochs) - set(table["epoch"]))
    files = table.attrs.get("files")
    if new:
        what = f"lacks epochs {', '.join(map(str, new))} of {run}"
    elif written_after(run, path):
        what = f"is older than files of {run}, and may be of what was there before"
    elif files is not None and files != describe_files(run):
        what = f"was made of other files than {run} has now, or they were copied since"
    else:
        return
    complain(
        f"{path} {what}: measure them with `skinfo analyze {run} -o {path} --force`.", "yellow"
    )
