"""What an argument stands for: a run with its labels, tables by name, a file of settings."""

from __future__ import annotations

import tomllib
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from skinfo.cli.application import complain, warn

# Parameters of each kind of estimator where a settings file does not give them: each layer's own
# noise, the same draws and the same bins at all checkpoints.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "noisy": {"sigma": None, "random_state": 0},
    "binned": {"bin_range": "run"},
    "clustered": {},
    "sliced": {"sigma": None, "random_state": 0},
    "labels": {"random_state": 0},
}
# What a settings file may say where the types in Python say less, or more.
_KINDS: dict[str, Any] = {
    "layers": str | list[str],
    "memory_limit": str | int,
    "bin_edges": list[float] | list[list[float]],
    "bin_range": str | list[float],
    "measures": str | list[str],
    "random_state": int,
    "sigma": float | list[float] | list[list[float]],
}
_WORDS = {
    float: "a valid number", int: "a whole number", bool: "true or false", str: "a text",
    Path: "a text", list[str]: "a list of texts",
    list[float]: "a list of numbers", list[list[float]]: "a list of lists of numbers",
}  # fmt: skip
#: Options of `skinfo analyze` that each estimator of a settings file decides for itself.
OF_ESTIMATORS = (
    "sigma", "noise", "bin_width", "tol", "population", "posterior_draws", "n_permutations",
    "units",
)  # fmt: skip


def open_described(run: Path, labels: str | None, layers: str | None, **options: Any) -> Any:
    """Open a run with what the command line says about it: its labels, names of layers.

    Labels are a file, or else the name of one of the sets that the run has.
    """
    from skinfo.runs import open_run

    return open_run(
        run,
        labels=_read_labels(Path(labels)) if labels and _is_file(labels) else labels,
        layers=None if layers is None else layers.split(","),
        **options,
    )


def _is_file(text: str) -> bool:
    return Path(text).exists() or text.endswith(".npy")


def _read_labels(path: Path) -> Any:
    """Read the labels of a .npy; anything else in the file is a mistake in the command."""
    from skinfo.runs.beside import checked
    from skinfo.runs.stores.base import load_npy, reading

    with reading(path):
        labels = load_npy(path)
    # Those of tokens are checked where they are masked.
    return checked(labels, "labels", path) if labels.ndim != 2 else labels


def parse_sigma(text: str | None) -> float | tuple[float, ...] | None:
    """Read a standard deviation: a number, or several with commas between them.

    Examples
    --------
    >>> parse_sigma("0.1"), parse_sigma("0.2,0.3"), parse_sigma(None)
    (0.1, (0.2, 0.3), None)
    """
    if text is None:
        return None
    try:
        numbers = tuple(map(float, text.split(",")))
    except ValueError:
        raise ValueError(
            "--sigma is a number, or several with commas between them: one per unit, or the two of "
            f"affine noise; got {text!r}."
        ) from None
    return numbers if len(numbers) > 1 else numbers[0]


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


def read_settings(path: Path, kinds: dict[str, Any]) -> dict[str, Any]:
    """Read a TOML file whose keys are the options of a command, with "-" or "_".

    ``kinds`` are the types of the options by name. A table [estimators.NAME] describes an estimator
    by ``kind`` ("noisy", "binned", "clustered", "sliced", "labels") and its parameters.
    """
    if not path.is_file():
        raise ValueError(f"{path} cannot be read as settings: there is no such file.")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as settings: {error}") from error
    settings: dict[str, Any] = {}
    for given, value in values.items():
        name = given.replace("-", "_")
        if name not in kinds and name != "estimators":
            raise ValueError(
                f"{path}: there is no setting {name!r}; there are {', '.join(kinds)} and the "
                "tables [estimators.NAME]."
            )
        if name in settings:
            raise ValueError(f"{path}: {name} is there twice.")
        if name != "estimators":
            _check_kind(value, _KINDS.get(name, kinds.get(name)), f"{path}: --{given}")
        settings[name] = value
    layers = settings.get("layers")
    if isinstance(layers, list):
        if any("," in layer for layer in layers):
            raise ValueError(f"{path}: --layers takes no name that holds a comma.")
        settings["layers"] = ",".join(layers)
    if "memory_limit" in settings:
        settings["memory_limit"] = str(settings["memory_limit"])
    if isinstance(settings.get("sigma"), list):
        settings["sigma"] = ",".join(map(str, settings["sigma"]))
    both = [name for name in OF_ESTIMATORS if name in settings and "estimators" in settings]
    if both:
        raise ValueError(
            f"{path}: {both[0]} stands beside [estimators]; give it to the estimators that it is "
            "meant for."
        )
    return settings


def _check_kind(value: Any, kind: Any, where: str) -> None:
    """Check that a value of a settings file is of the type that stands behind it in Python."""
    if not _is_kind(value, kind):
        raise ValueError(f"{where} is not {_kind_in_words(kind)}; got {str(value)[:100]!r}.")


def _is_kind(value: Any, kind: Any) -> bool:
    if get_origin(kind) in (Union, UnionType):
        return any(_is_kind(value, one) for one in get_args(kind))
    if get_origin(kind) is not None:
        return isinstance(value, list) and all(_is_kind(one, get_args(kind)[0]) for one in value)
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, {float: float | int, Path: str}.get(kind, kind))


def _kind_in_words(kind: Any) -> str:
    several = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return " or ".join(dict.fromkeys(_WORDS[one] for one in several if one is not NoneType))


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
    from skinfo import (
        BinningMIEstimator,
        ClusteringScore,
        LabelMIEstimator,
        NoisyMIEstimator,
        SlicedMIEstimator,
    )

    classes: dict[str, Any] = {
        "noisy": NoisyMIEstimator, "binned": BinningMIEstimator, "clustered": ClusteringScore,
        "sliced": SlicedMIEstimator, "labels": LabelMIEstimator,
    }  # fmt: skip
    kind = parameters.pop("kind", None)
    if kind is None:
        choices = " | ".join(f'"{name}"' for name in classes)
        raise ValueError(f"{where} has no kind; add kind = {choices}.")
    if not isinstance(kind, str) or kind not in classes:
        raise ValueError(f"{where} has kind {kind!r}; there are {', '.join(classes)}.")
    kinds = get_type_hints(classes[kind].__init__) | _KINDS
    names = classes[kind]().get_params()
    for name, value in parameters.items():
        if name not in names:
            raise ValueError(f"{where} has no parameter {name!r}; {kind} takes {', '.join(names)}.")
        _check_kind(value, kinds[name], f"{where}: {name}")
    defaults = {} if "strategy" in parameters else _DEFAULTS[kind]
    return classes[kind](**defaults | parameters)
