"""What a noise model says of a layer: its coordinates, its deviations, and how T is drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, NamedTuple

import numpy as np

from skinfo._rows import NOISELESS, as_array

#: Every model by its name.
NOISES: dict[str, type[Noise]] = {}


class Coordinates(NamedTuple):
    """Values of a layer where its noise is Gaussian, and what the noise cannot change of them.

    Attributes
    ----------
    points : ndarray of shape (n, d)
        The values in these coordinates; anything where the pattern is 0.
    pattern : ndarray of shape (n, d), int8, or None
        0 where a unit has no noise, since it is exactly zero; else a number, such as a sign, that
        it keeps. None: nothing is kept.
    log_slopes : ndarray of shape (n,) or None
        Sum over units of ``log |dT / dcoordinate|``, without those of pattern 0. None: zero.

    Examples
    --------
    >>> make_noise("lognormal", 0.5).coordinates(np.array([[1.0, 0.0, -1.0]])).pattern.tolist()
    [[1, 0, -1]]
    """

    points: np.ndarray
    pattern: np.ndarray | None = None
    log_slopes: np.ndarray | None = None


class Noise(ABC):
    """A noise model: how the output S of a layer becomes T.

    A subclass is a model of its own, known by its ``name`` wherever noise is named.

    Parameters
    ----------
    sigma : float or array-like of shape (n_units,)
        Standard deviation, of all units or of each. A model of several parameters takes a tuple of
        such numbers.

    Attributes
    ----------
    sigmas : tuple of ndarray
        The parameters, each of shape () or (n_units,).

    Raises
    ------
    ValueError
        For a parameter that is not positive and finite, or of another shape.

    Examples
    --------
    >>> noise = make_noise("multiplicative", [0.5, 1.0])
    >>> s, z = np.array([[2.0, -3.0]]), np.array([[1.0, 1.0]])
    >>> noise.draw(s, z).tolist(), noise.deviations(s).tolist()
    ([[3.0, -6.0]], [[1.0, 3.0]])
    """

    #: Its name, and T in words.
    name: ClassVar[str]
    formula: ClassVar[str]
    #: Names of its parameters.
    parameters: ClassVar[tuple[str, ...]] = ("sigma",)
    #: Those without which noise is left all the same.
    may_be_zero: ClassVar[frozenset[str]] = frozenset()
    #: Whether one noise after another is again one, with the root of the sum of squares as sigma.
    adds_up: ClassVar[bool] = False
    #: What it is called before its parameters; by its name where it has no title.
    title: ClassVar[str | None] = None

    def __init_subclass__(cls) -> None:
        if "name" in cls.__dict__:
            NOISES[cls.name] = cls

    def __init__(self, sigma: Any) -> None:
        several = (sigma,) if len(self.parameters) == 1 else _in_parts(sigma, self)
        self.sigmas = tuple(
            _checked(value, name, may_be_zero=name in self.may_be_zero)
            for value, name in zip(several, self.parameters, strict=True)
        )

    @staticmethod
    @abstractmethod
    def perturb(s: Any, z: Any, *sigmas: Any) -> Any:
        """T of values ``s`` and standard normal ``z``, by operators of arrays and tensors alike."""

    @abstractmethod
    def deviations(self, s: np.ndarray) -> np.ndarray:
        """Standard deviations of the noise of rows ``s``, in its coordinates.

        Of shape (n_units,) where all rows share them, else (n, n_units); 0 where the pattern is 0.
        """

    def coordinates(self, values: np.ndarray) -> Coordinates:
        """Where the noise is Gaussian; the values themselves unless a model says otherwise."""
        return Coordinates(values)

    def check_units(self, n_units: int) -> None:
        """Check that there is one sigma for all units, or one for each."""
        for value, name in zip(self.sigmas, self.parameters, strict=True):
            if value.shape not in ((), (n_units,)):
                raise ValueError(
                    f"{name} must be one number or one per unit, of shape ({n_units},); got shape "
                    f"{value.shape}."
                )

    def draw(self, s: np.ndarray, z: np.ndarray) -> np.ndarray:
        """T of rows ``s`` with standard normal noise ``z`` of the same shape."""
        drawn: np.ndarray = self.perturb(s, z, *self.sigmas)
        return drawn

    @classmethod
    def beside(cls, sigma: float) -> str:  # noqa: ARG003
        """What is said in parentheses beside one sigma of all units; nothing by default."""
        return ""

    @property
    def sigma(self) -> Any:
        """The parameters as they are written down: numbers, lists, or a list of these."""
        plain = [value.tolist() for value in self.sigmas]
        return plain[0] if len(plain) == 1 else plain


def make_noise(name: str, sigma: Any) -> Noise:
    """Make a noise model by its name.

    Parameters
    ----------
    name : str
        "additive", "multiplicative", "affine", "lognormal", or a subclass's own.
    sigma : float, array-like of shape (n_units,), or a tuple of these
        Its parameters.

    Raises
    ------
    ValueError
        For a name that no model has, and for what the model says of sigma.

    Examples
    --------
    >>> make_noise("multiplicative", 0.5).formula
    'T = S (1 + σ Z)'
    >>> make_noise("affine", (0.2, [0.1, 0.3])).sigma
    [0.2, [0.1, 0.3]]
    """
    if not isinstance(name, str) or name not in NOISES:
        raise ValueError(f"noise is one of {', '.join(map(repr, NOISES))}; got {name!r}.")
    return NOISES[name](sigma)


def _in_parts(sigma: Any, model: Noise) -> tuple[Any, ...]:
    names = model.parameters
    if not isinstance(sigma, tuple | list | np.ndarray) or len(sigma) != len(names):
        raise ValueError(
            f'noise="{model.name}" takes sigma=({", ".join(names)}), each one number or one per '
            f"unit; got {sigma!r}."
        )
    return tuple(sigma)


def _checked(value: Any, name: str, *, may_be_zero: bool) -> np.ndarray:
    """A parameter as numbers, positive and finite."""
    try:
        numbers = np.asarray(as_array(value, name))
    except (TypeError, ValueError) as error:
        if "masked" in str(error):
            raise
        numbers = np.empty((0, 0))
    if numbers.ndim > 1 or not numbers.size or numbers.dtype.kind not in "iuf":
        raise ValueError(f"{name} must be one standard deviation or one per unit; got {value!r}.")
    positive = (numbers > 0) | (may_be_zero & (numbers == 0))
    bad = np.flatnonzero(~(positive & np.isfinite(numbers)))
    if len(bad):
        raise ValueError(_says_not_positive(numbers, int(bad[0]), name))
    return numbers.astype(np.float64)


def _says_not_positive(numbers: np.ndarray, unit: int, name: str) -> str:
    """What is wrong with a standard deviation that is no positive number, and what to do."""
    of_unit = f" in every unit; unit {unit} has" if numbers.ndim else "; got"
    got = f"{numbers.ravel()[unit]:g}"
    return f"{name} must be a positive standard deviation{of_unit} {got}. {NOISELESS}"
