"""What an argument stands for: a run with its labels, tables by name, a file of settings."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from skinfo.cli.application import complain, warn

# Parameters of each kind of estimator where a settings file does not give them: each layer's own
# noise, the same draws and the same bins at all checkpoints.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "noisy": {"sigma": None, "random_state": 0},
    "binned": {"bin_range": "run"},
    "clustered": {},
}
#: Options of `skinfo analyze` that each estimator of a settings file decides for itself.
OF_ESTIMATORS = ("sigma", "bin_width", "tol", "population", "units")


def open_described(run: Path, labels: Path | None, layers: str | None, **options: Any) -> Any:
    """Open a run with what the command line says about it: a file of labels, names of layers."""
    from skinfo.runs import open_run

    return open_run(
        run,
        labels=None if labels is None else _read_labels(labels),
        layers=None if layers is None else layers.split(","),
        **options,
    )


def _read_labels(path: Path) -> Any:
    """Read the labels of a .npy; anything else in the file is a mistake in the command."""
    from skinfo.runs.stores.base import checked_list, load_npy, reading

    with reading(path):
        labels = load_npy(path)
    return checked_list(labels, "labels", path)


def named_sources(arguments: list[str]) -> dict[str, list[Path]]:
    """Find the sources of every flow by name, in the order given."""
    named: dict[str, list[Path]] = {}
    bare = [text for text in arguments if Path(text).exists() or "=" not in text]
    short = _short_names([Path(text) for text in bare])
    for text in arguments:
        if text in bare:
            name, sources = short[Path(text)], [Path(text)]
        else:
            name, _, pattern = text.partition("=")
            sources = _matches(pattern)
        if not name:
            raise ValueError(f"{text}: there is no name before the =.")
        if text in bare and name in named:
            raise ValueError(
                f"{text} is there twice, or shares its name with another table; give NAME=TABLE."
            )
        named.setdefault(name, []).extend(sources)
    for name, sources in named.items():
        twice = [source for source in sources if sources.count(source) > 1]
        if twice:
            raise ValueError(f"{name}: {twice[0]} is there twice; every seed counts once.")
    return named


def _matches(pattern: str) -> list[Path]:
    """Find the files or directories that a pattern with * stands for, or the path itself."""
    import glob

    if Path(pattern).exists() or not glob.has_magic(pattern):
        return [Path(pattern)]
    paths = [Path(path) for path in glob.glob(pattern)]
    # Beside every table lies an .npz, which is part of it, and maybe the run that was measured.
    tables = [path for path in paths if _is_table(path)]
    measured = [path.with_suffix("") for path in tables]
    runs = [path for path in paths if path.is_dir() and path not in measured]
    if not tables and not runs:
        raise ValueError(f"{pattern}: no table and no run has such a name.")
    return sorted([*tables, *runs])


def _is_table(path: Path) -> bool:
    from skinfo.flow.tables import SUFFIXES

    return path.suffix in SUFFIXES


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


def find_table(source: Path) -> Path:
    """Find the table of a source: itself, the one in its directory, or the one beside a run."""
    if _is_table(source) or not source.exists():
        return source
    from skinfo.flow.tables import SUFFIXES
    from skinfo.runs import open_run

    if not (source / "run.json").is_file():
        for suffix in SUFFIXES:
            if (source / f"flow{suffix}").is_file():
                return source / f"flow{suffix}"
    place = source.resolve() if source.name in ("", ".", "..") else source
    beside = [place.with_name(f"{place.name}{suffix}") for suffix in SUFFIXES]
    table = next((path for path in beside if path.is_file()), None)
    run = open_run(source)
    if table is None:
        raise ValueError(
            f"{source} has no table beside it: measure it with "
            f"`skinfo analyze {source} -o {beside[0]}`."
        )
    complain(f"{source}: its table {table} is used.", "cyan")
    _warn_of_changes(source, run, table)
    return table


def _warn_of_changes(path: Path, run: Any, table_path: Path) -> None:
    """Say when a run has gone on, or was written again, since its table was made."""
    from skinfo._files import describe_files, written_after
    from skinfo.flow.tables import read_table

    table = read_table(table_path)[0]
    files = table.attrs.get("files")
    missing = sorted(set(run.epochs) - set(table["epoch"]))
    if missing:
        change = f"lacks epochs {', '.join(map(str, missing))} of {path}"
    elif written_after(path, table_path):
        change = f"is older than files of {path}, and may be of what was there before"
    elif files is not None and files != describe_files(path):
        change = f"was made of other files than {path} has now, or they were copied since"
    else:
        return
    warn(
        f"{table_path} {change}: measure them with `skinfo analyze {path} -o {table_path} --force`."
    )


def read_settings(path: Path, options: list[str]) -> dict[str, Any]:
    """Read a TOML file whose keys are the options of a command, with "-" or "_".

    A table [estimators.NAME] describes an estimator by ``kind`` ("noisy", "binned", "clustered")
    and its parameters.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read as settings: {error}") from error
    settings = {name.replace("-", "_"): value for name, value in values.items()}
    unknown = sorted(set(settings) - {*options, "estimators"})
    if unknown:
        raise ValueError(
            f"{path}: there is no setting {unknown[0]!r}; there are {', '.join(options)} and the "
            "tables [estimators.NAME]."
        )
    if isinstance(settings.get("layers"), list):
        settings["layers"] = ",".join(map(str, settings["layers"]))
    both = [name for name in OF_ESTIMATORS if name in settings and "estimators" in settings]
    if both:
        raise ValueError(
            f"{path}: {both[0]} stands beside [estimators]; give it to the estimators that it is "
            "meant for."
        )
    return settings


def make_estimators(descriptions: Any, path: Path) -> dict[str, Any]:
    """Make the estimators that the tables of a settings file describe."""
    if not isinstance(descriptions, dict) or not all(
        isinstance(description, dict) for description in descriptions.values()
    ):
        raise ValueError(f"{path}: estimators are tables such as [estimators.narrow].")
    return {
        name: _make_estimator(dict(description), f"{path}: [estimators.{name}]")
        for name, description in descriptions.items()
    }


def _make_estimator(parameters: dict[str, Any], where: str) -> Any:
    from skinfo import BinningMIEstimator, ClusteringScore, NoisyMIEstimator

    classes: dict[str, Any] = {
        "noisy": NoisyMIEstimator, "binned": BinningMIEstimator, "clustered": ClusteringScore,
    }  # fmt: skip
    kind = parameters.pop("kind", None)
    if kind is None:
        choices = " | ".join(f'"{name}"' for name in classes)
        raise ValueError(f"{where} has no kind; add kind = {choices}.")
    if not isinstance(kind, str) or kind not in classes:
        raise ValueError(f"{where} has kind {kind!r}; there are {', '.join(classes)}.")
    names = classes[kind]().get_params()
    unknown = sorted(set(parameters) - set(names))
    if unknown:
        raise ValueError(
            f"{where} has no parameter {unknown[0]!r}; {kind} takes {', '.join(names)}."
        )
    defaults = {} if "strategy" in parameters else _DEFAULTS[kind]
    return classes[kind](**defaults | parameters)
