"""The default measures of real widths: time, processor time and memory of a layer, two threads.

A layer of a transformer over 50,000 tokens and one of a convolutional network, as a run without
noise with labels, in single precision; activations are those of the random network of wide.py, so
that no weights are needed. Every measure has a fresh process, which compiles on few rows first, and
the last row of each layer is all of them together, as `skinfo analyze` measures them. Memory is the
peak less what the process held with the layer loaded, in layers.

    python benchmarks/real.py
    python benchmarks/real.py --quick     # a fifth of the rows and units
"""

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

from common import fresh_process, print_header, print_row
from wide import FEW, activations
from working_memory import status

from skinfo import information_flow, open_run
from skinfo.flow import default_estimators

LAYERS = ((50_000, 384), (5000, 6272))
SHOWN = {
    "labels at 0.5 rms": "label_mutual_info",
    "sliced at 0.5 rms": "sliced_mutual_info",
    "binned": "binned_entropy",
    "clustered": "auc",
}
AIM_SECONDS, AIM_LAYERS = 120.0, 2.0


def measure_once(name: str, n: int, d: int) -> dict[str, Any]:
    """One layer, by one of the default measures or by all, in this process."""
    warnings.simplefilter("ignore")
    X, y = activations(n, d)
    chosen = default_estimators(open_run({(1, "layer"): X}, labels=y))
    if name != "all":
        chosen = {name: chosen[name]}
    for estimator in chosen.values():
        if "n_jobs" in estimator.get_params():
            estimator.set_params(n_jobs=2)
    some = open_run({(1, "layer"): X[:FEW, :64].copy()}, labels=y[:FEW])
    information_flow(chosen, some, progress=False)
    run = open_run({(1, "layer"): X}, labels=y)
    # The peak starts anew.
    Path("/proc/self/clear_refs").write_text("5")
    before, wall, processor = status("VmRSS"), time.perf_counter(), time.process_time()
    table = information_flow(chosen, run, progress=False, n_jobs=2)
    found = {
        "seconds": time.perf_counter() - wall,
        "processor": time.process_time() - processor,
        "layers": (status("VmHWM") - before) / X.nbytes,
    }
    rows = table[table["quantity"] == SHOWN.get(name)]
    for column in ("value", "lower", "upper"):
        found[column] = float(rows[column].iloc[0]) if len(rows) else None
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--case", type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.case is not None:
        print(json.dumps(measure_once(*args.case)))
        return
    print_header("n", "d", "measure", "seconds", "of processor", "memory, in layers", "quantity",
                 "value", "from", "to")  # fmt: skip
    for n, d in LAYERS:
        n, d = (n // 5, d // 5) if args.quick else (n, d)
        for name in (*SHOWN, "all"):
            found = fresh_process([__file__, "--case", json.dumps([name, n, d])])
            shown = [
                "" if found[column] is None else f"{found[column]:.4f}"
                for column in ("value", "lower", "upper")
            ]
            print_row(
                f"{n:,}", f"{d:,}", name, f"{found['seconds']:.1f}", f"{found['processor']:.1f}",
                f"{found['layers']:.2f}", SHOWN.get(name, ""), *shown,
            )  # fmt: skip
        met = found["seconds"] <= AIM_SECONDS and found["layers"] <= AIM_LAYERS
        print(f"\nAll in {AIM_SECONDS:g} s and {AIM_LAYERS:g} layers: {'met' if met else 'missed'}")


if __name__ == "__main__":
    main()
