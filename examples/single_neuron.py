"""One tanh neuron is a constellation on a Gaussian channel.

Four equally likely inputs -3, -1, 1, 3 pass through tanh(w x + b) and noise of standard deviation
sigma is added. While training spreads the four points, I(X;T) climbs towards log 4; when the
first three saturate and merge at -1, it falls to the entropy of {1/4, 3/4}, 0.562 nat: compression
that is nothing but clustering. The path of (w, b) is a straight line here, not a training run.

    python examples/single_neuron.py            # prints the values and draws single_neuron.png
"""

import warnings

import numpy as np
from matplotlib.figure import Figure

from skinfo import NoisyMIEstimator, SaturationWarning
from skinfo.measures.rows import discrete_entropy

INPUTS = np.array([-3.0, -1.0, 1.0, 3.0])
SIGMAS = (0.01, 0.05, 0.1)


def information(sigma: float, w: float) -> float:
    """I(X;T) of the neuron with weight w and bias -2 w, in nats, by quadrature."""
    S = np.tanh(w * INPUTS - 2 * w)[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaturationWarning)
        return NoisyMIEstimator(sigma, random_state=0).fit(S).mutual_info_


def main() -> None:
    """Print a table and draw the curves."""
    weights = np.geomspace(0.01, 20, 60)
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    ax = figure.subplots()
    print("   w   " + "".join(f"sigma={sigma:<10g}" for sigma in SIGMAS))
    for w in (0.1, 0.5, 1.0, 2.0, 5.0):
        print(f"{w:5.1f}  " + "".join(f"{information(sigma, w):<16.6f}" for sigma in SIGMAS))
    for sigma in SIGMAS:
        ax.plot(weights, [information(sigma, w) for w in weights], label=f"sigma = {sigma:g}")
    guides = {
        "log 4": np.log(4),
        "H(1/2, 1/4, 1/4)": discrete_entropy(np.r_[0.5, 0.25, 0.25]),
        "H(3/4, 1/4)": discrete_entropy(np.r_[0.75, 0.25]),
    }
    for name, value in guides.items():
        ax.axhline(value, color="0.6", lw=0.8, ls="--")
        ax.annotate(name, (weights[0], value), va="bottom", fontsize=8, color="0.4")
    ax.set(xscale="log", xlabel="Weight w, bias -2w", ylabel="I(X;T) [nats]")
    ax.legend(frameon=False)
    figure.savefig("single_neuron.png", dpi=150)


if __name__ == "__main__":
    main()
