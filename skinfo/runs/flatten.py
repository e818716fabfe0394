"""Maps and sequences become rows of units, as the user chooses and never silently."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skinfo._rows import as_array

#: How the array of one layer becomes units: a name, the number of a token, or a callable.
Choice = str | int | Callable[[np.ndarray], Any]
#: What ``flatten`` may be, wherever it is an argument: a choice for all layers, or one per layer.
Flatten = Choice | Mapping[str, Choice] | None
_SPACE = "hwdl"
_LETTERS = "nrtc" + _SPACE
_MAPS = ("all", "channel_mean", "spatial")
_TOKENS = ("token_mean", "token_last", "tokens")
_TOKEN_CHOICES = (
    "flatten='token_mean', 'token_last', the number of a token, or 'tokens', which makes each a "
    "separate input"
)


@dataclass(frozen=True)
class Flattener:
    """How the array of one layer becomes rows of units.

    Attributes
    ----------
    axes : str
        What each axis is: n input, r replica, t token, c channel or unit; h, w, d and l are space.
    choice : str, int, callable or None
        How tokens or space become units.
    declared : bool
        Whether the user said what each axis is.
    """

    axes: str
    choice: Choice | None
    declared: bool

    @property
    def per_token(self) -> bool:
        """Whether each token becomes a separate input."""
        return self.choice == "tokens" and "t" in self.axes

    def length(self, shape: tuple[int, ...], axis: str) -> int | None:
        """How long the axis of a letter is; None where there is none."""
        return shape[self.axes.index(axis)] if axis in self.axes else None

    def check_mask(self, mask: np.ndarray, shape: tuple[int, ...]) -> None:
        """Check that masked tokens can be left out; raises ValueError where they would count."""
        count = self.length(shape, "t")
        if count is None:
            may_be_tokens = len(shape) in (3, 4) and shape[-2] == mask.shape[1]
            if may_be_tokens and not self.declared:
                raise ValueError(
                    f"has shape {shape}, and the mask of the run {mask.shape[1]} tokens: its last "
                    f"axis but one may be tokens, of which some are padding; choose "
                    f"{_TOKEN_CHOICES}, or say what each axis is with axes= of open_run, for "
                    "example 'ntc' or 'nrc'"
                )
            return
        if count != mask.shape[1]:
            raise ValueError(
                f"has {count} tokens per input, and the mask of the run has {mask.shape[1]}; write "
                "layers of other tokens as a run of their own"
                + ("" if self.declared else ", or say with axes= of open_run what each axis is")
            )
        if mask.all():
            return
        if self.choice == "all":
            raise ValueError(
                f"has {count} tokens per input, of which some are padding, and flatten='all' would "
                f"make units of them; choose {_TOKEN_CHOICES}, or a callable"
            )
        if isinstance(self.choice, int) and -count <= self.choice < count:
            masked = np.flatnonzero(~mask[:, self.choice])
            if len(masked):
                raise ValueError(
                    f"token {self.choice} is padding in {len(masked)} of {len(mask)} sequences, "
                    f"the first of them number {masked[0]}; it is a place in the array, on either "
                    "side of which there may be padding. flatten='token_last' takes the last real "
                    "token, 'token_mean' and 'tokens' all real ones"
                )

    def check_labels(self, labels: np.ndarray, name: str, shape: tuple[int, ...]) -> None:
        """Check that labels of tokens, if rows are tokens, are as many as these."""
        count = self.length(shape, "t") if self.per_token else None
        if labels.ndim == 2 and count not in (None, labels.shape[1]):
            raise ValueError(
                f"has {count} tokens per input, and the labels {name!r} of the run are of "
                f"{labels.shape[1]} tokens".replace(" ''", "")
            )

    def real_tokens(self, array: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """The tokens that count, one after another, of an array as it is stored."""
        return np.moveaxis(array, (self.axes.index("n"), self.axes.index("t")), (0, 1))[mask]

    def apply(self, array: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        """Flatten to (n_inputs, n_units), or (n_inputs, n_replicas, n_units).

        Only the tokens of ``mask``, (n_inputs, n_tokens), count; a callable is given NaN for the
        others. It is a ValueError if the choice does not fit the axes, or a callable raises or
        returns something else.
        """
        if callable(self.choice):
            if mask is not None:
                array = np.where(self._spread(mask), array, np.float32(np.nan))
            return self._call(array, self.choice)
        order = [letter for letter in _LETTERS if letter in self.axes]
        array = array.transpose([self.axes.index(letter) for letter in order])
        if "c" not in order:
            array = np.expand_dims(array, sum(letter in "nrt" for letter in order))
        rows = array.shape[: 1 + ("r" in order)]
        has_space, place = any(letter in _SPACE for letter in order), len(rows)
        if self.choice == "all":
            return array.reshape(*rows, -1)
        if "t" in order:
            if has_space:
                raise ValueError("tokens and space need flatten='all' or a callable")
            return self._pool_tokens(array, place, mask)
        if not has_space:
            return array
        if self.choice == "channel_mean":
            return _mean(array, tuple(range(place + 1, array.ndim)))
        if self.choice == "spatial":
            return _mean(array, (place,)).reshape(*rows, -1)
        raise ValueError(self.choices(tuple(array.shape)))

    def _pool_tokens(self, array: np.ndarray, axis: int, mask: np.ndarray | None) -> np.ndarray:
        count = array.shape[axis]
        if self.choice == "token_mean":
            return _mean(array, (axis,), mask)
        if self.per_token:
            array = np.moveaxis(array, axis, 1)
            return array.reshape(-1, *array.shape[2:]) if mask is None else array[mask]
        if self.choice == "token_last" and mask is not None:
            last = count - 1 - mask[:, ::-1].argmax(axis=1)
            return np.moveaxis(array, axis, 1)[np.arange(len(array)), last]
        index = -1 if self.choice == "token_last" else self.choice
        if not isinstance(index, int):
            raise ValueError(f"has {count} tokens per input; choose {_TOKEN_CHOICES}")
        if not -count <= index < count:
            raise ValueError(f"has {count} tokens per input, and none of number {index}")
        return array.take(index, axis=axis)

    def _spread(self, mask: np.ndarray) -> np.ndarray:
        """A mask of inputs and tokens along the axes of an array."""
        inputs_first = self.axes.index("n") < self.axes.index("t")
        lengths = dict(zip("nt", mask.shape, strict=True))
        mask = mask if inputs_first else mask.T
        return mask.reshape([lengths.get(letter, 1) for letter in self.axes])

    def not_finite(self, array: np.ndarray, mask: np.ndarray | None) -> str:
        """Where what was flattened is not finite, for messages."""
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        found = f"holds NaN or infinity, first at {place}"
        if mask is not None and self.per_token:
            row, token = (int(i) for i in np.argwhere(mask)[place[0]])
            return f"{found}, which is real token {token} of row {row}"
        if mask is not None and callable(self.choice):
            return (
                f"{found}, of what the callable given as flatten made: padding is NaN in what it "
                "is given, to be left out, for example with np.nanmax"
            )
        return found

    def _call(self, array: np.ndarray, function: Callable[[np.ndarray], Any]) -> np.ndarray:
        front = [self.axes.index(letter) for letter in "nr" if letter in self.axes]
        rest = [axis for axis in range(array.ndim) if axis not in front]
        array = array.transpose(front + rest)
        rows = array.shape[: len(front)]
        count = int(np.prod(rows))
        try:
            units = as_array(function(array.reshape(count, *array.shape[len(front) :])))
        except MemoryError:
            raise
        except Exception as error:
            name = type(error).__name__
            raise ValueError(f"the callable given as flatten raised {name}: {error}") from error
        if units.ndim != 2 or len(units) != count:
            raise ValueError(
                f"the callable returned shape {units.shape} for {count} rows; expected "
                f"({count}, n_units)"
            )
        return units.reshape(*rows, -1)

    def shape(
        self, shape: tuple[int, ...], dtype: np.dtype, mask: np.ndarray | None = None
    ) -> tuple[int, ...]:
        """Find the shape that an array is flattened to, from one row of zeros."""
        rows = {a: n for a, n in zip(self.axes, shape, strict=True) if a in "nr"}
        one = tuple(1 if a in rows else n for a, n in zip(self.axes, shape, strict=True))
        units = self.apply(np.zeros(one, dtype)).shape[-1]
        n_rows = rows["n"]
        if self.per_token:
            n_rows = n_rows * shape[self.axes.index("t")] if mask is None else int(mask.sum())
        return (n_rows, *([rows["r"]] if "r" in rows else []), units)

    def choices(self, shape: tuple[int, ...]) -> str:
        """The choices for a map, given in the order of the letters, with the widths they give."""
        place = 1 + ("r" in self.axes)
        channels, space = shape[place], shape[place + 1 :]
        cells = int(np.prod(space))
        last = "" if self.axes[-1] != "c" else ", with channels='last'"
        return (
            f"holds {channels} channels of {' x '.join(map(str, space))} per input{last}; choose "
            f"flatten='all' ({channels * cells} units), 'channel_mean' ({channels} units), "
            f"'spatial' ({cells} units) or a callable when opening the run"
        )


@dataclass(frozen=True)
class Flattening:
    """How a run is flattened, for all layers or by layer; :func:`skinfo.open_run` explains it."""

    choice: Flatten = None
    channels: str = "first"
    axes: str | Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        for choice in self.choice.values() if isinstance(self.choice, Mapping) else [self.choice]:
            is_number = isinstance(choice, int) and not isinstance(choice, bool)
            is_named = choice is None or choice in (*_MAPS, *_TOKENS)
            if not (is_number or is_named or callable(choice)):
                raise ValueError(
                    f"flatten must be one of {', '.join((*_MAPS, *_TOKENS))}, the number of a "
                    f"token or a callable, for all layers or in a dict by layer; got {choice!r}."
                )
        if self.channels not in ("first", "last"):
            raise ValueError(f"channels must be 'first' or 'last'; got {self.channels!r}.")
        given = self.axes.values() if isinstance(self.axes, Mapping) else [self.axes]
        for axes in given:
            if axes is not None:
                _check_axes(axes)

    def check_names(self, names: Sequence[str]) -> None:
        """Check that choices by layer name layers of the run."""
        known = set(names)
        for what, given in (("flatten", self.choice), ("axes", self.axes)):
            for name in given if isinstance(given, Mapping) else ():
                if name not in known:
                    raise ValueError(
                        f"{what} names {name!r}, which is not a layer of {', '.join(names)}."
                    )

    def of(self, layer: str, ndim: int) -> Flattener:
        """How an array of so many dimensions is flattened; an error if its axes are unknown."""
        by_name = isinstance(self.choice, Mapping)
        choice = self.choice.get(layer) if isinstance(self.choice, Mapping) else self.choice
        axes = self.axes.get(layer) if isinstance(self.axes, Mapping) else self.axes
        if axes is not None:
            if len(axes) != ndim:
                raise ValueError(f"has {ndim} axes, where axes={axes!r} names {len(axes)}")
            plain = not by_name and set(axes) <= set("nrc")
            return Flattener(axes, None if plain else choice, declared=True)
        named = by_name and choice is not None
        axes = self._axes(choice, named, ndim)
        if (ndim == 2 and not named) or axes == "nrc":
            choice = None
        return Flattener(axes, choice, declared=False)

    def _axes(self, choice: Choice | None, named: bool, ndim: int) -> str:
        last = self.channels == "last"
        if choice in _TOKENS or isinstance(choice, int):
            axes = {2: "nc", 3: "ntc", 4: "nrtc"}
        elif callable(choice) and not named and ndim == 3:
            return "ntc"
        else:
            axes = {
                2: "nc",
                3: ("nlc" if last else "ncl") if named else "nrc",
                4: "nhwc" if last else "nchw",
                5: "nrhwc" if last else "nrchw",
            }
        if ndim not in axes:
            raise ValueError(
                f"has {ndim} axes, whose meaning is not known; give it with axes= of open_run, for "
                "example 'nchwd', or flatten the array before it is saved"
            )
        return axes[ndim]


def _check_axes(axes: str) -> None:
    if set(axes) - set(_LETTERS) or len(set(axes)) < len(axes) or "n" not in axes:
        raise ValueError(
            "axes names each axis once: n input (required), r replica, t token, c channel or "
            f"unit, and h, w, d, l for space; got {axes!r}."
        )


def _mean(array: np.ndarray, axis: tuple[int, ...], mask: np.ndarray | None = None) -> np.ndarray:
    """Mean, summed in double; float32 stays float32, and narrower types become float32.

    ``mask`` says which entries count along the first axis and the one of the mean.
    """
    where: Any = True
    if mask is not None:
        where = mask.reshape([mask.shape[0], *(mask.shape[1] if k in axis else 1
                                               for k in range(1, array.ndim))])  # fmt: skip
    with np.errstate(invalid="ignore", over="ignore"):
        mean = array.mean(axis=axis, dtype=np.float64, where=where)
        floats = array.dtype.kind == "f" and array.dtype.itemsize <= 4
        return mean.astype(np.float32) if floats else mean
