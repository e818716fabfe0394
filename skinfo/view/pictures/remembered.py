"""What a layer knows of each input, by class, and which classes it takes for one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np

from skinfo.flow.snapshots import Snapshots
from skinfo.view.curves import BLUE, RED
from skinfo.view.pictures.figures import NARROW, plain_axes, plain_text, pyplot, write_below
from skinfo.view.words import epoch_name

# Classes beyond these are drawn without names, and without numbers in cells or below.
_MOST_NAMED, _MOST_NUMBERED, _MOST_WITH_ERRORS = 20, 12, 6
# The lowest inputs of each class that are marked.
_MARKED = 3
# Half of the width that the inputs of a class take, of 1.
_HALF = 0.4


@dataclass(eq=False, repr=False)
class PointwiseInformationDisplay:
    """What a layer knows of each input: the inputs of each class from the least to the best known.

    Bars are 95 % intervals. The least known of each class are marked, and their numbers stand
    below; where the bars of many overlap, another draw of the noise would mark others.

    Parameters
    ----------
    values, stderr : ndarray of shape (n_inputs,)
        Pointwise information and its standard error; NaN is left out.
    input_classes : ndarray of shape (n_inputs,), int
        Number of each input's class among ``classes``.
    classes : sequence
        Their names; of one class nothing is written.
    inputs : sequence, optional
        What the inputs are called; by default they are numbered.
    units : str, default="nats"
        Unit of the values.
    ceiling : float, optional
        What no value exceeds, -log p(x), if it is the same for all.
    title : str, default=""
        Drawn above.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        Its figure.

    Examples
    --------
    >>> import numpy as np
    >>> from skinfo import NoisyMIEstimator
    >>> from skinfo.view import PointwiseInformationDisplay
    >>> S, y = np.array([[-1.0], [-0.9], [0.0], [1.0]]), ["a", "a", "b", "b"]
    >>> est = NoisyMIEstimator(0.1, posterior_draws=64, random_state=0).fit(S, y)
    >>> display = PointwiseInformationDisplay.from_estimator(est, y)
    >>> display.plot().ax_.get_ylabel(), display.lowest(0, 1)
    ('i(x) [nats]', [1])
    """

    values: np.ndarray
    stderr: np.ndarray
    input_classes: np.ndarray
    classes: Sequence[Any]
    inputs: Sequence[Any] | None = None
    _: KW_ONLY
    units: str = "nats"
    ceiling: float | None = None
    title: str = ""

    @classmethod
    def from_estimator(
        cls, estimator: Any, labels: Any = None, *, title: str = ""
    ) -> PointwiseInformationDisplay:
        """Take what a NoisyMIEstimator fitted with ``posterior_draws`` knows of each input.

        ``labels`` are those of ``pointwise_inputs_``; without them all inputs are one class.
        """
        values = estimator.pointwise_mutual_info_
        if values is None:
            raise ValueError(
                "The estimator did not measure input by input: fit it with posterior_draws=16."
            )
        labels = np.zeros(len(values)) if labels is None else np.asarray(labels)
        if len(labels) != len(values):
            raise ValueError(
                f"One label for each of {len(values)} inputs is needed, in the order of "
                f"pointwise_inputs_; got {len(labels)}."
            )
        classes, codes = np.unique(labels, return_inverse=True)
        return cls(
            values, estimator.pointwise_stderr_, codes, classes.tolist(),
            estimator.pointwise_inputs_.tolist(), units=estimator.units, title=title,
        )  # fmt: skip

    @classmethod
    def from_snapshots(
        cls, snapshots: Snapshots, layer: str | None = None, epoch: int | None = None
    ) -> PointwiseInformationDisplay:
        """Take a layer at a snapshot of a run; by default the last of both."""
        k, j = place_of(snapshots, layer, epoch)
        codes, classes = snapshots.input_classes, snapshots.classes.tolist()
        if not classes:
            codes, classes = np.zeros(len(snapshots.inputs), dtype=np.int64), [""]
        return cls(
            snapshots.pointwise[k, j], snapshots.pointwise_stderr[k, j], codes, classes,
            snapshots.inputs.tolist(), ceiling=float(np.log(len(snapshots.inputs))),
            title=title_of(snapshots, k, j),
        )  # fmt: skip

    def lowest(self, label: int, n: int) -> list[int]:
        """Places of the n inputs of a class of which the layer knows least, the least known first.

        ``label`` is the number of the class.
        """
        return self._sorted(label)[:n].tolist()

    def _sorted(self, label: int) -> np.ndarray:
        inside = np.flatnonzero((self.input_classes == label) & np.isfinite(self.values))
        return inside[np.argsort(self.values[inside], kind="stable")]

    def plot(self, ax: Any = None) -> PointwiseInformationDisplay:
        """Draw, into a new figure unless an axes is given."""
        n, alone = len(self.classes), ax is None
        if ax is None:
            _, ax = pyplot().subplots(figsize=(_width(n), 3.6), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        plain_axes(ax)
        ax.grid(visible=False, axis="x")
        ax.set(ylabel=f"i(x) [{self.units}]", xlim=(-0.55, n - 0.45))
        ax.set_title(self.title, fontsize=10)
        for label in range(n):
            self._draw_class(ax, label)
        if not np.isfinite(self.values).any():
            ax.set(xticks=[], yticks=[])
            ax.text(0.5, 0.5, "not measured", ha="center", va="center", transform=ax.transAxes)
            return self
        if self.ceiling is not None:
            ax.axhline(self.ceiling, color="0.5", lw=0.8, ls="--", zorder=0)
            ax.annotate(
                f"−log p(x) = {self.ceiling:.3f}", (1, self.ceiling),
                xycoords=("axes fraction", "data"), xytext=(-2, 2), textcoords="offset points",
                ha="right", va="bottom", fontsize=7, color="0.35",
            )  # fmt: skip
            ax.set_ylim(top=max(ax.get_ylim()[1], self.ceiling + 0.08 * np.ptp(ax.get_ylim())))
        self._name_classes(ax)
        if alone:
            write_below(ax, _how_to_read(n))
        return self

    def _draw_class(self, ax: Any, label: int) -> None:
        order = self._sorted(label)
        if not len(order):
            return
        values, spread = self.values[order], 1.96 * self.stderr[order]
        across = label + _HALF * (2 * (np.arange(len(order)) + 0.5) / len(order) - 1)
        marked = np.arange(len(order)) < _MARKED
        crowd = float(np.clip(60 / len(order), 0.12, 1.0))
        for chosen, colour, dense in ((~marked, BLUE, crowd), (marked, RED, 1.0)):
            if not chosen.any():
                continue
            low, high = values[chosen] - spread[chosen], values[chosen] + spread[chosen]
            ax.vlines(across[chosen], low, high, color=colour, lw=0.8, alpha=0.55 * dense)
            ax.plot(
                across[chosen], values[chosen], "o", ms=3.4 if dense == 1 else 2.0, color=colour,
                mew=0, zorder=3,
            )  # fmt: skip
        mean = float(values.mean())
        ax.hlines(mean, label - _HALF, label + _HALF, color="0.15", lw=1.1, zorder=2)

    def _name_classes(self, ax: Any) -> None:
        n = len(self.classes)
        named = range(n) if n <= _MOST_NAMED else ()
        names = [plain_text(self.classes[c], 12) for c in named] if n > 1 else [""]
        ax.set_xticks(named, names)
        ax.tick_params(axis="x", length=0)
        if n > 1:
            ax.set_xlabel("Class")
        if n <= _MOST_NUMBERED:
            below = 12 if n > 1 else 4
            for label in range(n):
                numbers = [str(self._name(i)) for i in self.lowest(label, _MARKED)]
                ax.annotate(
                    ", ".join(numbers),
                    (label, 0), xycoords=("data", "axes fraction"), xytext=(0, -below - 3),
                    textcoords="offset points", ha="center", va="top", fontsize=7, color=RED,
                    parse_math=False, annotation_clip=False,
                )  # fmt: skip
            ax.xaxis.labelpad = 12.0

    def _name(self, place: int) -> Any:
        return place if self.inputs is None else self.inputs[place]


@dataclass(eq=False, repr=False)
class ConfusionDisplay:
    """Which classes a layer takes for one another: ``E[P(c'|t) | c]``, a row per class.

    Colours follow the square root, so that what is rarely confused shows beside what never is.

    Parameters
    ----------
    matrix : ndarray of shape (n_classes, n_classes)
        Soft confusion; NaN where not measured.
    classes : sequence
        Their names.
    stderr : ndarray of shape (n_classes, n_classes), optional
        Standard errors, written below the numbers of up to six classes.
    bayes_error : float, optional
        Written below.
    title : str, default=""
        Drawn above.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Where it was drawn.
    figure_ : matplotlib Figure
        Its figure.

    Examples
    --------
    >>> from skinfo import NoisyMIEstimator
    >>> from skinfo.view import ConfusionDisplay
    >>> est = NoisyMIEstimator(1.0, posterior_draws=64, random_state=0)
    >>> ax = ConfusionDisplay.from_estimator(est.fit([[-1.0], [1.0]], ["a", "b"])).plot().ax_
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['a', 'b']
    """

    matrix: np.ndarray
    classes: Sequence[Any]
    stderr: np.ndarray | None = None
    _: KW_ONLY
    bayes_error: float | None = None
    title: str = ""

    @classmethod
    def from_estimator(cls, estimator: Any, *, title: str = "") -> ConfusionDisplay:
        """Take the confusion of a NoisyMIEstimator fitted with labels and ``posterior_draws``."""
        if estimator.confusion_ is None:
            raise ValueError(
                "The estimator did not measure class by class: fit it with labels and with "
                "posterior_draws=16."
            )
        return cls(
            estimator.confusion_, estimator.classes_.tolist(), estimator.confusion_stderr_,
            bayes_error=estimator.bayes_error_, title=title,
        )  # fmt: skip

    @classmethod
    def from_snapshots(
        cls, snapshots: Snapshots, layer: str | None = None, epoch: int | None = None
    ) -> ConfusionDisplay:
        """Take a layer at a snapshot of a run; by default the last of both."""
        k, j = place_of(snapshots, layer, epoch)
        if not snapshots.confusion.size:
            raise ValueError("No confusion is on record: the run has no labels.")
        return cls(
            snapshots.confusion[k, j], snapshots.classes.tolist(), snapshots.confusion_stderr[k, j],
            title=title_of(snapshots, k, j),
        )  # fmt: skip

    def plot(self, ax: Any = None, *, colorbar: bool = True) -> ConfusionDisplay:
        """Draw, into a new figure unless an axes is given."""
        n = len(self.classes)
        if ax is None:
            size = 2.4 + 0.42 * min(n, _MOST_NAMED)
            _, ax = pyplot().subplots(figsize=(size + 0.8, size), layout="constrained")
        from matplotlib.colors import PowerNorm

        self.ax_, self.figure_ = ax, ax.figure
        image = ax.imshow(self.matrix, cmap="Blues", norm=PowerNorm(0.5, vmin=0, vmax=1))
        ax.set(xticks=[], yticks=[])
        if n <= _MOST_NAMED:
            names = [plain_text(c, 12) for c in self.classes]
            turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
            ax.set_xticks(range(n), names, **(turned if max(map(len, names)) > 3 else {}))
            ax.set_yticks(range(n), names)
        if n <= _MOST_NUMBERED:
            self._write_numbers(ax)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set(xlabel="Taken for class c′", ylabel="Class c")
        ax.set_title(self.title, fontsize=10)
        if self.bayes_error is not None:
            unit = "In per cent. " if n <= _MOST_NUMBERED else ""
            write_below(ax, f"{unit}Bayes error {100 * self.bayes_error:.2g} %.")
        if colorbar:
            _add_colours(ax.figure, image, ax, 0.85)
        return self

    def _write_numbers(self, ax: Any) -> None:
        """Per cent, as whole numbers or, below 10, with one decimal; errors where there is room."""
        for i, j in np.ndindex(self.matrix.shape):
            share = 100 * self.matrix[i, j]
            if np.isfinite(share):
                text = f"{share:.0f}" if share >= 9.95 else f"{share:.1f}"
                if self.stderr is not None and len(self.classes) <= _MOST_WITH_ERRORS:
                    error = 100 * self.stderr[i, j]
                    text = f"{share:.1f}\n± {error:.1f}" if error >= 0.095 else f"{share:.2f}"
                    text += f"\n± {error:.2f}" if 0.005 <= error < 0.095 else ""
                ax.text(j, i, text, ha="center", va="center", fontsize=7,
                        color="white" if share > 35 else "0.15")  # fmt: skip


def plot_remembered(snapshots: Snapshots) -> Any:
    """Draw what every layer knows of each input at the last snapshot; returns the figure."""
    check_remembered(snapshots)
    n, n_classes = len(snapshots.layers), max(1, len(snapshots.classes))
    figure, axes = pyplot().subplots(
        n, 1, figsize=(_width(n_classes), 0.4 + 2.9 * n), squeeze=False, layout="constrained"
    )
    for ax, layer in zip(axes[:, 0], snapshots.layers, strict=True):
        PointwiseInformationDisplay.from_snapshots(snapshots, layer).plot(ax)
        ax.set_xlabel("")
    write_below(axes[-1, 0], _how_to_read(n_classes))
    return figure


def plot_confusions(snapshots: Snapshots) -> Any:
    """Draw the confusion of every layer at every snapshot, axes for each; returns the figure."""
    check_remembered(snapshots)
    n, m = len(snapshots.layers), len(snapshots.snapshot_epochs)
    size = 1.7 + 0.12 * min(len(snapshots.classes), _MOST_NAMED)
    figure, axes = pyplot().subplots(
        n, m, figsize=(size * m + 0.8, size * n + 0.4), squeeze=False, layout="constrained"
    )
    for k, layer in enumerate(snapshots.layers):
        for j, epoch in enumerate(snapshots.snapshot_epochs.tolist()):
            ax = axes[k, j]
            display = ConfusionDisplay.from_snapshots(snapshots, layer, epoch)
            replace(display, stderr=None).plot(ax, colorbar=False)
            ax.title.set_fontsize(9)
            ax.tick_params(labelsize=7)
            ax.set(xlabel="", ylabel="")
    figure.supxlabel("Taken for class c′", fontsize=9)
    figure.supylabel("Class c", fontsize=9)
    _add_colours(figure, axes[0, 0].images[0], axes, 0.7)
    return figure


def _how_to_read(n_classes: int) -> str:
    numbers = ", by number" if n_classes <= _MOST_NUMBERED else ""
    return f"Bars: 95 %. Line: the mean of a class. Red: the inputs least known{numbers}."


def _add_colours(figure: Any, image: Any, axes: Any, shrink: float) -> None:
    bar = figure.colorbar(image, ax=axes, label="E[P(c′|t) | c]", shrink=shrink)
    bar.set_ticks([0, 0.01, 0.05, 0.2, 0.5, 1], labels=["0", "1 %", "5 %", "20 %", "50 %", "100 %"])


def _width(n_classes: int) -> float:
    return float(np.clip(1.6 + 0.85 * n_classes, 4.4, 12.0))


def check_remembered(snapshots: Snapshots) -> None:
    """Check that something was measured input by input."""
    if not snapshots.pointwise.size:
        raise ValueError(
            "Nothing is on record of single inputs and classes: measure the run with "
            "NoisyMIEstimator(posterior_draws=16), or skinfo analyze --posterior-draws 16."
        )


def place_of(snapshots: Snapshots, layer: str | None, epoch: int | None) -> tuple[int, int]:
    """Numbers of a layer and of a snapshot, the last ones by default."""
    check_remembered(snapshots)
    epochs = snapshots.snapshot_epochs.tolist()
    if layer is not None and layer not in snapshots.layers:
        raise ValueError(f"There is no layer {layer!r}, but {', '.join(snapshots.layers)}.")
    if epoch is not None and epoch not in epochs:
        raise ValueError(f"Epoch {epoch} is no snapshot; these are {', '.join(map(str, epochs))}.")
    k = len(snapshots.layers) - 1 if layer is None else snapshots.layers.index(layer)
    return k, len(epochs) - 1 if epoch is None else epochs.index(epoch)


def title_of(snapshots: Snapshots, k: int, j: int) -> str:
    """Name a layer and an epoch."""
    epoch = epoch_name(float(snapshots.snapshot_epochs[j]))
    return f"{plain_text(snapshots.layers[k], NARROW)}, epoch {epoch}"
