"""Which layer knows more, at which sigmas: what curves of a run say whatever sigma one prefers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain as chained
from itertools import combinations, islice, pairwise

import numpy as np
import pandas as pd

from skinfo.errors import names_apart
from skinfo.flow.tables import checked_table, is_curve
from skinfo.quantities import describe_quantity, estimators_measuring, nats_to

_QUANTITIES = ("mutual_info", "label_mutual_info")
# Differences below this, in nats, are no finding; rows in single precision are right to 2e-4.
_LEAST = 1e-3
_MOST_CROSSINGS = 4
Span = tuple[int, int]


def orders_over_sigmas(table: pd.DataFrame, *, across: str = "layer", most: int = 10) -> list[str]:
    r"""Say in what order curves of a run lie, and at which sigmas.

    A layer that a network runs without noise has no sigma of its own, and no single one is right.
    What can be said of it is an order, with the sigmas at which it holds: one value is said to be
    above another where its whole bracket lies above the other's. At one sigma, brackets that hold
    in 95 % of all cases each are apart by chance in less than 5 %; an order "at all sigmas" has to
    pass at each, so it errs no more often than at one. Pairs are not corrected for one another.

    Orders at all sigmas come first, as chains as long as there are, "a, b > c" where both are above
    c; then pairs that cross, with the
    sigmas between which they do; then chains that hold at neighbouring sigmas, those first that say
    the most. What is not said was not told apart: both saturated, both drowned, or too close.

    Parameters
    ----------
    table : pandas.DataFrame
        What :func:`skinfo.sigma_curves` returned, or part of its rows.
    across : {"layer", "epoch"}, default="layer"
        What is put in order: layers at each checkpoint, or checkpoints of each layer.
    most : int, default=10
        Most lines for each quantity at each checkpoint, or of each layer.

    Returns
    -------
    list of str
        I(X;T) first, then I(Y;T); of several estimators, as of several sets of labels, each
        with its name.

    Raises
    ------
    ValueError
        For a table that holds no curves of a run, or another ``across``.

    Examples
    --------
    >>> import pandas as pd
    >>> def curve(layer, values):
    ...     rows = pd.DataFrame({"sigma": [0.1, 1.0, 10.0], "value": values})
    ...     return rows.assign(
    ...         epoch=1, layer=layer, estimator="noisy", quantity="mutual_info", unit="nats",
    ...         stderr=0.01, lower=rows["value"] - 0.02, upper=rows["value"] + 0.02, notes="")
    >>> curves = [curve("a", [3.0, 2.0, 1.0]), curve("b", [2.5, 1.0, 0.5]),
    ...           curve("c", [2.0, 1.5, 0.1])]
    >>> lines = orders_over_sigmas(pd.concat(curves, ignore_index=True))
    >>> lines[0]
    'I(X;T) at all 3 σ from 0.1 to 10: a > b, c'
    >>> print(lines[1].replace("; ", "\n"))
    I(X;T): b and c cross between σ 0.1 and 1, between 1 and 10
    b > c at σ 0.1
    c > b at σ 1
    b > c at σ 10
    """
    if not is_curve(table) or "epoch" not in table:
        raise ValueError("The table holds no curves of a run, as skinfo.sigma_curves gives them.")
    if across not in ("layer", "epoch"):
        raise ValueError(f"across is 'layer' or 'epoch'; got {across!r}.")
    table = checked_table(table, "The table", curve=True)
    of = "epoch" if across == "layer" else "layer"
    lines: list[str] = []
    for quantity in _QUANTITIES:
        estimators = estimators_measuring(table, quantity)
        for estimator in estimators:
            rows = table[(table["quantity"] == quantity) & (table["estimator"] == estimator)]
            for place, at in rows.groupby(of, sort=of == "epoch"):
                title = describe_quantity(quantity).symbol
                title += f" ({estimator})" if len(estimators) > 1 else ""
                if len(table[of].unique()) > 1:
                    title += f", epoch {place:g}" if of == "epoch" else f", {place}"
                lines += _Orders(at, across).in_words(title, most)
    return lines


class _Orders:
    """Which of several curves lies above which other, at each sigma."""

    def __init__(self, rows: pd.DataFrame, across: str) -> None:
        items = rows[across].drop_duplicates().tolist()
        items = sorted(items) if across == "epoch" else items
        lower, upper = (
            rows.pivot(index=across, columns="sigma", values=end).reindex(items)
            for end in ("lower", "upper")
        )
        low, high = lower.to_numpy(dtype=np.float64), upper.to_numpy(dtype=np.float64)
        least = _LEAST * nats_to(rows["unit"].iloc[0])
        #: Whether the first lies above the second; not where one of them was not measured.
        self.above: np.ndarray = (
            np.minimum(low, high)[:, None] > np.maximum(low, high)[None] + least
        )
        self.sigmas = [float(sigma) for sigma in lower.columns]
        self._unit = " rms" if "rms" in rows and rows["rms"].notna().any() else ""
        self._pattern = ""
        if across == "epoch":
            self.names = [f"epoch {item:g}" for item in items]
        else:
            self.names, self._pattern = names_apart(items)

    def in_words(self, title: str, most: int) -> list[str]:
        if len(self.names) < 2:
            return []
        if self._pattern:
            title += f" of {self._pattern}"
        everywhere = (0, len(self.sigmas))
        untold = self.above.copy()
        chains = islice(self._chains([everywhere], untold), most)
        lines = [self._chain_in_words(title, *one) for one in chains]
        crossing = self._crossing()
        n_crossings = min(len(crossing), _MOST_CROSSINGS, most - len(lines))
        for one, other in crossing[:n_crossings]:
            lines.append(f"{title}: {self._crossing_in_words(one, other)}")
            untold[one, other] = untold[other, one] = False
        parts = sorted(combinations(range(len(self.sigmas) + 1), 2), key=lambda s: s[0] - s[1])
        chains = islice(self._chains(parts, untold), most - len(lines))
        lines += [self._chain_in_words(title, *one) for one in chains]
        if not lines:
            return [f"{title}: nothing is told apart at any σ"]
        untold_orders = int(untold.any(axis=2).sum())
        untold_crossings = len(crossing) - n_crossings
        left_out = [
            f"{n} {one if n == 1 else several}"
            for n, one, several in (
                (untold_orders, "order of two at some σ", "orders of two at some σ"),
                (untold_crossings, "crossing", "crossings"),
            )
            if n > 0
        ]
        return lines + ([f"{title}, not listed: {', '.join(left_out)}"] if left_out else [])

    def _chains(
        self, spans: list[Span], untold: np.ndarray
    ) -> Iterator[tuple[list[list[int]], Span]]:
        """Chains that hold throughout a span, that first which tells the most; marked as told.

        What a chain tells are its neighbours at the sigmas of the span where nobody has told them.
        Each link is what is above all links after it.
        """
        while untold.any():
            chains = [(*self._longest(span, untold), span) for span in spans]
            told, chain, span = max(chains, key=lambda one: one[0])
            if not told:
                return
            links = self._widened(chain, span, untold)
            for one, other in combinations(links, 2):
                untold[np.ix_(one, other, range(*span))] = False
            yield links, span

    def _widened(self, chain: list[int], span: Span, untold: np.ndarray) -> list[list[int]]:
        """A chain with more items beside those that are in it, where that tells something."""
        holds, new = (
            reduced(which[:, :, slice(*span)], axis=2)
            for reduced, which in ((np.all, self.above), (np.any, untold))
        )
        links = [[item] for item in chain]
        for item in set(range(len(self.names))) - set(chain):
            for k, link in enumerate(links):
                before, after = (
                    [*chained.from_iterable(links[:k])],
                    [*chained.from_iterable(links[k + 1 :])],
                )
                fits = holds[before, item].all() and holds[item, after].all()
                if fits and (new[before, item].any() or new[item, after].any()):
                    link.append(item)
                    break
        return [sorted(link) for link in links]

    def _longest(self, span: Span, untold: np.ndarray) -> tuple[int, list[int]]:
        """The chain within a span that tells the most, and how much that is."""
        first, last = span
        holds: np.ndarray = np.all(self.above[:, :, first:last], axis=2)
        tells = np.where(holds, untold[:, :, first:last].sum(axis=2), -1)
        # "Above" is transitive: who is above the most stands before all that it is above.
        order = np.argsort(-holds.sum(axis=1), kind="stable")
        best, before = np.zeros(len(order), dtype=np.int64), np.full(len(order), -1)
        for item in order:
            reached = np.where(holds[:, item], best + tells[:, item], -1)
            if reached.max() > 0:
                best[item], before[item] = reached.max(), reached.argmax()
        chain = [int(best.argmax())]
        while before[chain[0]] >= 0:
            chain.insert(0, int(before[chain[0]]))
        while len(chain) > 1 and not tells[chain[-2], chain[-1]]:
            chain.pop()
        return int(best.max()), chain

    def _chain_in_words(self, title: str, links: list[list[int]], span: Span) -> str:
        first, last = span
        where = self._span_in_words(first, last - 1, last - first)
        order = " > ".join(", ".join(self.names[item] for item in link) for link in links)
        return f"{title} at {where}{self._unit}: {order}"

    def _crossing(self) -> list[tuple[int, int]]:
        """Pairs of which each lies above the other at some sigma."""
        ever: np.ndarray = np.any(self.above, axis=2)
        pairs = combinations(range(len(self.names)), 2)
        return [(one, other) for one, other in pairs if ever[one, other] and ever[other, one]]

    def _crossing_in_words(self, one: int, other: int) -> str:
        first, second = self.names[one], self.names[other]
        sign = self.above[one, other].astype(int) - self.above[other, one]
        told = np.flatnonzero(sign)
        # Neighbours of one sign, whatever was not told apart between them.
        stretches = np.split(told, 1 + np.flatnonzero(np.diff(sign[told])))
        between = [
            f"{self._sigma(left[-1])} and {self._sigma(right[0])}"
            for left, right in pairwise(stretches)
        ]
        orders = [
            f"{f'{first} > {second}' if sign[stretch[0]] > 0 else f'{second} > {first}'} at "
            + self._span_in_words(stretch[0], stretch[-1], len(stretch))
            for stretch in stretches
        ]
        where = ", between ".join(between)
        return "; ".join([f"{first} and {second} cross between σ {where}{self._unit}", *orders])

    def _span_in_words(self, first: int, last: int, n: int) -> str:
        if n == 1:
            return f"σ {self._sigma(first)}"
        together = last - first + 1
        count = f"all {n}" if n == len(self.sigmas) else f"{n}"
        count += f" of {together}" if n < together else ""
        return f"{count} σ from {self._sigma(first)} to {self._sigma(last)}"

    def _sigma(self, k: int) -> str:
        return f"{self.sigmas[k]:.3g}"
