"""A network without noise, binned: the curves measure clustering, not information.

The 12-10-7-5-4-3-2 tanh network is trained without noise on the 4,096 inputs of the Shwartz-Ziv and
Tishby task. Each layer is a function of the input that maps no two inputs to one point (the example
counts them), so I(X;T) is log 4096 in every layer at every epoch. What binning
reports, H(Bin(T)), is how the inputs fall into the cells of one grid. Its curves rise and fall with
training, but how they do depends on the width of the cells, and as the width shrinks all of them
flatten at log 4096. A fall at one width says that inputs came closer than that width: clustering.

    python examples/deterministic_binning.py    # prints a table, draws deterministic_binning.png

takes about a minute for 2,000 epochs; --epochs 10000 is the length of the paper's runs.
"""

import argparse

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from skinfo import binning_sweep
from skinfo.datasets import make_szt
from skinfo.networks import Recorder, Trainer, make_mlp
from skinfo.plotting.figures import layer_colours

WIDTHS = (1e-4, 1e-3, 1e-2, 1e-1)
LAYERS = [f"layer{k}" for k in range(1, 6)]
CEILING = np.log(4096)


def train_and_bin(epochs: int, checkpoints: int = 40, seed: int = 0) -> pd.DataFrame:
    """Train without noise, binning every layer at every checkpoint with all widths at once."""
    X, y = make_szt()
    train = np.random.default_rng(seed).permutation(4096)[:3277]
    model = make_mlp(seed=seed)
    trainer = Trainer(model, X[train], y[train], seed=seed)
    recorder = Recorder(model, LAYERS, n_replicas=1)
    tables = []
    for epoch in np.unique(np.geomspace(1, epochs, checkpoints).round().astype(int)):
        trainer.train_until(int(epoch))
        with recorder.record(X) as activations:
            for layer in LAYERS:
                table = binning_sweep(activations[layer], y, bin_widths=WIDTHS)
                n_distinct = len(np.unique(activations[layer], axis=0))
                tables.append(table.assign(epoch=epoch, layer=layer, n_distinct=n_distinct))
    rest = np.setdiff1d(np.arange(4096), train)
    print(f"Test accuracy after {epochs} epochs: {trainer.evaluate(X[rest], y[rest])[1]:.3f}")
    return pd.concat(tables, ignore_index=True)


def draw(table: pd.DataFrame) -> Figure:
    """Four small multiples, narrow cells first, all on one scale."""
    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    axes = figure.subplots(1, len(WIDTHS), sharey=True)
    for ax, width in zip(axes, WIDTHS, strict=True):
        rows = table[table["bin_width"] == width].pivot(
            index="epoch", columns="layer", values="entropy"
        )
        # Thick below, thin above: curves that lie on one another are all seen.
        for depth, (colour, layer) in enumerate(
            zip(layer_colours(len(LAYERS)), LAYERS, strict=True)
        ):
            ax.plot(rows.index, rows[layer], color=colour, lw=3.6 - 0.55 * depth,
                    label=f"layer {layer[-1]}", solid_capstyle="butt")  # fmt: skip
        ax.axhline(CEILING, color="k", lw=0.7, ls=(0, (4, 3)), zorder=1)
        ax.set(xscale="log", xlabel="Epoch")
        ax.set_title(f"cell width $10^{{{round(np.log10(width))}}}$", fontsize=10)
        ax.grid(alpha=0.25, lw=0.5)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set(ylabel="H(Bin(T)) [nats]", ylim=(0, 1.1 * CEILING))
    axes[0].annotate(
        "I(X;T) = log 4096", (1, CEILING), (0, 4), textcoords="offset points", fontsize=8
    )
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5,
                  frameon=False, fontsize=9)  # fmt: skip
    return figure


def main() -> None:
    """Print the last checkpoint and draw all of them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=2000)
    parser.add_argument("--output", default="deterministic_binning.png")
    options = parser.parse_args()
    table = train_and_bin(options.epochs)
    last = table[table["epoch"] == table["epoch"].max()]
    print(f"Distinct rows of {table['n_distinct'].max()} inputs, at least, by layer:")
    print(table.groupby("layer")["n_distinct"].min().to_string())
    print(f"H(Bin(T)) in nats at the end; log 4096 = {CEILING:.3f}")
    print(last.pivot(index="layer", columns="bin_width", values="entropy").round(3).to_string())
    draw(table).savefig(options.output, dpi=150)


if __name__ == "__main__":
    main()
