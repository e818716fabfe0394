"""What can go wrong, and the warnings that travel with numbers."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import takewhile
from pathlib import Path

from sklearn.utils._param_validation import InvalidParameterError

__all__ = [
    "OF_THE_CALL",
    "MissingExtraError",
    "OutsideEdgesWarning",
    "ReplicaWarning",
    "RunError",
    "SaturationWarning",
    "in_words",
    "name_some",
    "names_apart",
    "needs_extra",
    "noted_by_a_table",
    "warn_unless_noted",
]

#: Exceptions that are of the call where they are the same at every layer.
OF_THE_CALL = (
    InvalidParameterError,
    TypeError,
    AttributeError,
    NameError,
    ImportError,
    NotImplementedError,
)
# Whether a table that is being made carries as notes what an estimator would warn of.
_NOTED = ContextVar("_NOTED", default=False)


@contextmanager
def noted_by_a_table() -> Iterator[None]:
    """Keep what ``warn_unless_noted`` warns of to a table, in this thread alone."""
    token = _NOTED.set(True)
    try:
        yield
    finally:
        _NOTED.reset(token)


def warn_unless_noted(message: str, category: type[Warning], stacklevel: int = 2) -> None:
    """Warn of what stands in the notes of a quantity, unless a sweep writes them into a table."""
    if not _NOTED.get():
        warnings.warn(message, category, stacklevel=stacklevel + 1)


def in_words(error: Exception) -> str:
    """Text of an exception, with its type where it is not a ValueError.

    Examples
    --------
    >>> in_words(ValueError("too large")), in_words(EOFError())
    ('too large', 'EOFError')
    >>> in_words(FloatingPointError("overflow"))
    'FloatingPointError: overflow'
    """
    text = str(error)
    if isinstance(error, ValueError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class RunError(ValueError):
    """A saved run cannot be read or written; the message names file, epoch and layer.

    Parameters
    ----------
    message : str
        What is wrong and what to do about it.
    path : path-like, optional
        The file.
    epoch : int, optional
        The checkpoint.
    layer : str, optional
        The layer.

    Examples
    --------
    >>> from skinfo.errors import RunError
    >>> raise RunError("holds NaN", path="run", epoch=3, layer="layer2")
    Traceback (most recent call last):
    skinfo.errors.RunError: run, epoch 3, layer 'layer2': holds NaN
    """

    def __init__(
        self, message: str, *, path: str | Path | None = None, epoch: int | None = None,
        layer: str | None = None,
    ) -> None:  # fmt: skip
        where = {"{}": path, "epoch {}": epoch, "layer {!r}": layer}
        place = ", ".join(part.format(value) for part, value in where.items() if value is not None)
        super().__init__(f"{place}: {message}" if place else message)


class MissingExtraError(ImportError):
    """A feature needs an optional dependency; the message names the extra to install.

    Parameters
    ----------
    feature : str
        What needs it.
    extra : str
        The extra of skinfo that brings it.

    Examples
    --------
    >>> from skinfo import MissingExtraError
    >>> raise MissingExtraError("Drawing", "plot")
    Traceback (most recent call last):
    skinfo.errors.MissingExtraError: Drawing needs an extra: pip install 'skinfo[plot]'
    """

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an extra: pip install 'skinfo[{extra}]'")


@contextmanager
def needs_extra(feature: str, extra: str) -> Iterator[None]:
    """Raise MissingExtraError, which names the extra, where an import inside fails.

    Examples
    --------
    >>> from skinfo.errors import needs_extra
    >>> with needs_extra("Drawing", "plot"):
    ...     import there_is_no_such_module
    Traceback (most recent call last):
    skinfo.errors.MissingExtraError: Drawing needs an extra: pip install 'skinfo[plot]'
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(feature, extra) from error


def name_some(values: Iterable[object], most: int = 8) -> str:
    """Name different values in a message, and count those beyond the first.

    Examples
    --------
    >>> name_some([3, 1, 4, 1, 5], most=3)
    '3, 1, 4 and 1 more'
    """
    names = list(dict.fromkeys(map(str, values)))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def names_apart(names: Sequence[str]) -> tuple[list[str], str]:
    """Give names without the beginning and end that all share, and the pattern of the whole.

    Cut is only at a point, a slash, a space or "_"; where nothing is cut that pattern is empty.

    Examples
    --------
    >>> names_apart(["encoder.layer.0.output", "encoder.layer.11.output"])
    (['0', '11'], 'encoder.layer.*.output')
    >>> names_apart(["layer1", "layer2"]), names_apart(["a.b", "c"])
    ((['layer1', 'layer2'], ''), (['a.b', 'c'], ''))
    """
    parts = [re.split(r"(?<=[./_ ])|(?=[./_ ])", name) for name in names]
    least = min(map(len, parts), default=1) - 1
    begin = min(least, _shared(parts))
    end = min(least - begin, _shared([one[::-1] for one in parts]))
    if len(names) < 2 or begin + end == 0:
        return [*names], ""
    cut = ["".join(one[begin : len(one) - end]) for one in parts]
    return cut, "".join([*parts[0][:begin], "*", *parts[0][len(parts[0]) - end :]])


def _shared(parts: Sequence[Sequence[str]]) -> int:
    """How many parts all begin with."""
    together = takewhile(lambda several: len(set(several)) == 1, zip(*parts, strict=False))
    return sum(1 for _ in together)


class SaturationWarning(UserWarning):
    """The information is within 1 % of the entropy of the inputs: all can be told apart.

    That entropy is the quantity ``ceiling`` of a flow table, log n where n inputs weigh the same.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from skinfo import NoisyMIEstimator
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     est = NoisyMIEstimator(sigma=0.001, random_state=0).fit(np.eye(8))
    >>> [warning.category.__name__ for warning in caught], round(est.mutual_info_, 3)
    (['SaturationWarning'], 2.079)
    """


class ReplicaWarning(UserWarning):
    """There are too few replicas of each input for the number to mean what it should.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from skinfo import BinningMIEstimator
    >>> S, inputs = np.random.RandomState(0).randn(40, 2), np.repeat(np.arange(20), 2)
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     est = BinningMIEstimator(bin_width=0.1).fit(S, groups=inputs)
    >>> [warning.category.__name__ for warning in caught]
    ['ReplicaWarning']
    """


class OutsideEdgesWarning(UserWarning):
    """Values lie outside the fitted edges; they were counted in the outer cells.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from skinfo import BinningMIEstimator
    >>> est = BinningMIEstimator(n_bins=30, bin_range=(-1, 1)).fit(np.zeros((5, 1)))
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     _ = est.score(np.array([[0.0], [2.0]]))
    >>> [warning.category.__name__ for warning in caught]
    ['OutsideEdgesWarning']
    """
