"""What holds between the rows of a table: noise can only lose information."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from skinfo.measures.quantity import JOINT


def note_data_processing(
    table: pd.DataFrame, layers: list[str], exempt: Collection[str] = ()
) -> pd.DataFrame:
    """Note where a layer has more information about the input than the one before, for certain.

    Noise can only lose information, I(X;T_{l+1}) <= I(X;T_l): brackets that say otherwise mean that
    something is wrong with the data, its sigma or its replicas. Binned entropies are no information
    and are left alone, and so are the estimators named in ``exempt``: what a pipeline projects a
    layer to may know less than the next layer.
    """
    table = table.copy()
    position = {name: place for place, name in enumerate(layers)}
    bounded = table["quantity"].eq("mutual_info") & table["estimator"].isin(
        table.loc[table["quantity"] == "conditional_entropy", "estimator"]
    )
    bounded &= ~table["estimator"].isin(list(exempt))
    # With noise of another sigma, added at each layer alone, the inequality need not hold.
    bounded &= ~table["notes"].str.contains("sigma differs from run", regex=False)
    chosen = table[bounded].assign(place=table["layer"].map(position))
    for _, rows in chosen.groupby(["epoch", "estimator"], sort=False):
        ordered = rows.sort_values("place")
        highest = ordered["upper"].cummin().shift()
        for index in ordered.index[ordered["lower"] > highest]:
            notes = [n for n in str(table.at[index, "notes"]).split(JOINT) if n]
            table.at[index, "notes"] = JOINT.join([*notes, "data processing violated"])
    return table
