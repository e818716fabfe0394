"""
Compression is not generalisation: five trainings side by side
==============================================================

The same network and task as the paper's main figure, trained five times: tanh; tanh with weights
kept nearly orthonormal (Parseval networks, Cisse et al. 2017); ReLU; linear activations; and tanh
on shuffled labels, which can only be learned by heart.

**What to see.** With tanh I(X;T) of the deep layers falls just when the network begins to learn.
With orthonormal weights it hardly falls, and the network generalises no worse. The linear network,
which cannot saturate, falls as far as the tanh one and generalises worst; in a full training the
one with shuffled labels, which learns nothing, falls as far too; ReLU does not fall in layers 4
and 5. So neither saturation nor generalisation is what a fall shows: it shows that inputs come
closer together than the noise. All are measured at the same noise but at different scales of
activations: compare shapes, not heights.

By default 200 epochs each, 6 checkpoints, 4 noisy passes: where the falls begin. ``--full`` trains
10,000 epochs with 30 checkpoints and 24 passes (an hour on two cores; directories ``szt-<name>``,
from which it continues); its figure and table are among the results at full size.

The paper's strength of the regularisation could not be read; alpha = 1e-3 is chosen here, and
sigma = 0.005 in all five.
"""

# %%
# Train, record, measure
# ----------------------

import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from results import FULL, RESULTS, write_results

from skinfo import NoisyMIEstimator, information_flow
from skinfo.szt import HIDDEN, SztSettings, record_training
from skinfo.view import save_figure
from skinfo.view.curves import layer_colours

VARIANTS = {
    "tanh": {},
    "Parseval": {"parseval": 1e-3},
    "ReLU": {"activation": "relu"},
    "linear": {"activation": "linear"},
    "shuffled labels": {"shuffle_labels": True},
}
SIZE = (10_000, 24, 30) if FULL else (200, 4, 6)


def train_and_measure(name, variant):
    """Flow table of one variant, with its accuracies."""
    settings = SztSettings(*SIZE, **variant)
    directory = Path(f"szt-{name.split()[0].lower()}" if FULL else tempfile.mkdtemp(prefix="szt-"))
    directory.mkdir(exist_ok=True)
    run = record_training(directory, settings)
    estimator = NoisyMIEstimator(sigma=None, tol=0.02 if FULL else 0.1, random_state=0)
    memory = str(directory / "estimates") if FULL else None
    flow = information_flow(estimator, run, n_jobs=2, memory=memory, progress=False)
    flow = flow[flow["quantity"].isin(["mutual_info", "label_mutual_info"])]
    losses = pd.DataFrame(run.losses).T.rename_axis("epoch").reset_index()
    return flow.merge(losses, on="epoch").assign(variant=name)


started = time.perf_counter()
table = pd.concat([train_and_measure(*item) for item in VARIANTS.items()], ignore_index=True)

# %%
# The figure
# ----------
# Above I(X;T) with its brackets, below the accuracies on the inputs trained on and on the others,
# by the true labels, which a network that learns shuffled ones meets by chance alone.

figure, axes = plt.subplots(
    2, len(VARIANTS), figsize=(12.5, 5.0), sharex=True, sharey="row", layout="constrained",
    height_ratios=(2, 1),
)  # fmt: skip
information = table[table["quantity"] == "mutual_info"]
for (top, bottom), (name, rows) in zip(
    axes.T, information.groupby("variant", sort=False), strict=True
):
    for colour, layer in zip(layer_colours(len(HIDDEN)), HIDDEN, strict=True):
        line = rows[rows["layer"] == layer]
        top.plot(line["epoch"], line["value"], color=colour, label=f"layer {layer[-1]}")
        top.fill_between(
            line["epoch"], line["lower"], line["upper"], color=colour, alpha=0.25, lw=0
        )
    top.axhline(8.3178, color="k", lw=0.7, ls=(0, (4, 3)))
    last = rows.drop_duplicates("epoch")
    bottom.plot(last["epoch"], last["train_accuracy"], color="0.6", label="trained on")
    bottom.plot(last["epoch"], last["test_accuracy"], color="k", label="others")
    top.set(title=name, ylim=(0, 8.9))
    bottom.set(xscale="log", xlabel="Epoch", ylim=(0.4, 1.03))
    for ax in (top, bottom):
        ax.grid(alpha=0.25, lw=0.5)
        ax.spines[["top", "right"]].set_visible(False)
axes[0, 0].set_ylabel("I(X;T) [nats]")
axes[1, 0].set_ylabel("Accuracy")
axes[0, -1].legend(fontsize=8, frameon=False, loc="lower right")
axes[1, 0].legend(fontsize=8, frameon=False, loc="lower right")

# %%
# How far each layer falls from its highest, and the accuracy that goes with it
# -----------------------------------------------------------------------------


def fall(values):
    """Largest drop from a running maximum."""
    return (values.cummax() - values).max()


falls = information.groupby(["variant", "layer"], sort=False)["value"].agg(fall).unstack()
accuracy = table.groupby("variant", sort=False)["test_accuracy"].last()
print(falls.assign(test_accuracy=accuracy).round(3).to_string())

# %%

if FULL:
    save_figure(figure, RESULTS.parent / "images" / "szt_variants.png", dpi=130)
    write_results("szt_variants", table.round(6), seconds=time.perf_counter() - started, seed=0)
