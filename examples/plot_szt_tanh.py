"""
The paper's main figure: information flow in a noisy tanh network
=================================================================

A 12-10-7-5-4-3-2 tanh network learns the task of Shwartz-Ziv and Tishby, with Gaussian noise of
standard deviation 0.005 on every hidden layer. Its inputs are all 4,096 patterns of 12 bits, so
that I(X;T) is bounded by log 4096 = 8.318 nats, and it is measured at every layer and checkpoint
with a bracket that holds the truth.

**What to see.** Layers 1 and 2 stay at the ceiling: their inputs can all be told apart at this
noise. The deeper layers lose information when the network begins to learn, and the last ones fall
again in a full training, while the losses only go down. H(Bin(T)), counted in cells ten sigmas
wide, moves with the information, and the scatter of the last layer shows why: what changes is how
the inputs cluster.

By default 600 epochs are trained and recorded at 9 checkpoints with 8 noisy passes per input, which
shows the first fall. ``python plot_szt_tanh.py --full`` trains the paper's 10,000 epochs with 84
checkpoints and 100 passes (3 GB of activations in ``szt-full``; a killed run continues); its figure
and table are among the results at full size.

Differences from the paper: every input is counted exactly once; the published run drew them with
replacement, which lowers its ceiling to 7.745. The bin width of ten sigmas is recalled.
"""

# %%
# Train and record
# ----------------
# Labels come from the formula of the task: twelve bits on the vertices of an icosahedron.

import tempfile
import time
from pathlib import Path

from results import FULL, RESULTS, write_results

from skinfo import BinningMIEstimator, ClusteringScore, NoisyMIEstimator
from skinfo.flow import measure_run
from skinfo.szt import SIGMA, SztSettings, record_training
from skinfo.szt.demo import layer_summary
from skinfo.view import InformationFlowDisplay, InformationPlaneDisplay, save_figure

started = time.perf_counter()
if FULL:
    settings = SztSettings(epochs=10_000, n_replicas=100, n_checkpoints=84)
    directory = Path("szt-full")
else:
    settings = SztSettings(epochs=600, n_replicas=8, n_checkpoints=9)
    directory = Path(tempfile.mkdtemp(prefix="szt-"))
directory.mkdir(exist_ok=True)
run = record_training(directory, settings)
print(f"Test accuracy {run.losses[run.epochs[-1]]['test_accuracy']:.4f}")

# %%
# Measure
# -------
# One table holds every estimator on every layer and checkpoint, each number with its error.

estimators = {
    "noisy": NoisyMIEstimator(sigma=None, tol=0.01 if FULL else 0.05, random_state=0),
    "binned": BinningMIEstimator(bin_width=10 * SIGMA),
    "clustered": ClusteringScore(max_pairs=None if FULL else 200_000, random_state=0),
}
memory = str(directory / "estimates") if FULL else None
table, snapshots = measure_run(run, estimators, n_jobs=2, memory=memory, progress=False)
layer_summary(table).round(3)

# %%
# The figure
# ----------
# From above: where the activations of each layer lie; I(X;T) and I(Y;T) with their brackets, and
# H(Bin(T)), each below its ceiling; how well distances tell the classes apart; the losses. On the
# right the last layer at four epochs; below, what the table notes of the numbers.

display = InformationFlowDisplay.from_flow(table, snapshots).plot()

# %%
# The same numbers as an information plane, I(Y;T) against I(X;T):

InformationPlaneDisplay.from_flow(table).plot()

# %%
# The falls, layer by layer
# -------------------------
# A fall lies beyond its errors where the bracket of a later checkpoint is below that of an earlier
# one; each end of a bracket holds with 95 %.

information = table[(table["quantity"] == "mutual_info") & (table["estimator"] == "noisy")]
for layer, rows in information.groupby("layer"):
    drop = (rows["value"].cummax() - rows["value"]).max()
    beyond = max((rows["lower"].cummax() - rows["upper"]).max(), 0.0)
    print(f"{layer}: falls by {drop:.2f} nats from its highest, beyond brackets by {beyond:.2f}")

# %%

if FULL:
    save_figure(display.figure_, RESULTS.parent / "images" / "szt_tanh.png", dpi=130)
    information = ["mutual_info", "label_mutual_info"]
    binned = ["binned_mutual_info", "binned_label_mutual_info", "binned_entropy"]
    kept = table[table["quantity"].isin([*information, *binned, "auc"])]
    write_results(
        "szt_tanh", kept.round(6), seconds=time.perf_counter() - started, **vars(settings),
        test_accuracy=run.losses[run.epochs[-1]]["test_accuracy"],
    )  # fmt: skip
