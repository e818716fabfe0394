"""The data processing inequality between the layers of a table: noise only loses information."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pandas as pd

from skinfo.quantities import JOINT
from skinfo.runs import Layer, Run

# Of another channel than that of the network, for which the inequality need not hold.
_OTHER_CHANNEL = ("sigma differs from run", "noise added", "replicas missing")


def whole_layers(run: Run) -> list[Layer]:
    """Layers whose rows hold all values of each input, not a summary of them nor a token each."""
    flatteners = [(layer, run.flattener(layer.name)) for layer in run.layers]
    return [layer for layer, how in flatteners if how is not None and how.choice in (None, "all")]


def note_data_processing(
    table: pd.DataFrame, layers: Sequence[Layer], exempt: Collection[str] = ()
) -> pd.DataFrame:
    """Note where a layer has more information about the input than the one before, for certain.

    Noise can only lose information, I(X;T_{l+1}) <= I(X;T_l): brackets that say otherwise mean that
    something is wrong with the data, its sigma or its replicas. It holds where each layer is
    computed from the noisy one before, so only those of ``layers``, in network order, are compared
    whose own sigma is on record and which were measured with it, on replicas where noise precedes
    them. Binned entropies are no information and are left alone, and so are the estimators named in
    ``exempt``: what a pipeline projects a layer to may know less than the next layer.
    """
    table = table.copy()
    position = {layer.name: place for place, layer in enumerate(layers) if layer.sigma}
    bounded = table["quantity"].eq("mutual_info") & table["layer"].isin(position)
    bounded &= ~table["estimator"].isin(list(exempt))
    for note in _OTHER_CHANNEL:
        bounded &= ~table["notes"].str.contains(note, regex=False)
    chosen = table[bounded].assign(place=table["layer"].map(position))
    for _, rows in chosen.groupby(["epoch", "estimator"], sort=False):
        ordered = rows.sort_values("place")
        highest = ordered["upper"].cummin().shift()
        for index in ordered.index[ordered["lower"] > highest]:
            notes = [n for n in str(table.at[index, "notes"]).split(JOINT) if n]
            table.at[index, "notes"] = JOINT.join([*notes, "data processing violated"])
    return table
