"""Nothing is pickled or printed, and importing skinfo needs and loads no extra.

That imports point down only, pyproject.toml says and ``lint-imports`` holds.
"""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import skinfo

ROOT = Path(skinfo.__file__).parent
EXTRAS = (
    "torch", "matplotlib", "plotly", "typer", "rich", "pyarrow", "h5py", "safetensors", "zarr",
)  # fmt: skip
FILES = sorted(ROOT.rglob("*.py"))


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imported_roots(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def calls(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            owner = getattr(getattr(node.func, "value", None), "id", "")
            yield f"{owner}.{name}", {k.arg: k.value for k in node.keywords}, node.lineno


def test_nothing_is_pickled():
    pickles = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}
    imported = {name for path in FILES for name in imported_roots(path)}
    assert not imported & pickles
    safe = {
        "np.load": "allow_pickle", "torch.load": "weights_only", "np.save": "allow_pickle",
        ".write_array": "allow_pickle",
    }  # fmt: skip
    seen = set()
    for path in FILES:
        for call, keywords, line in calls(path):
            assert call not in {"joblib.dump", "joblib.load", "pd.read_pickle"}, (path, line)
            assert not call.endswith(".to_pickle"), (path, line)
            if call in safe:
                value = keywords.get(safe[call])
                expected = call == "torch.load"
                assert isinstance(value, ast.Constant), (path, line)
                assert value.value is expected, (path, line)
                seen.add(call)
    assert seen >= set(safe) - {"np.save"}


def test_nothing_is_printed_and_no_global_generator_is_seeded():
    forbidden = {".print", ".seed", "random.seed", "np.seed"}
    found = [
        f"{path.relative_to(ROOT)}:{line} {call}"
        for path in FILES
        for call, _, line in calls(path)
        if call in forbidden
    ]
    assert found == []


def python(code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )


def test_import_loads_no_extra():
    """pandas and scikit-learn load pyarrow and rich by themselves where these are there."""
    code = f"""
import sys
import joblib, numba, numpy, pandas, scipy.stats, sklearn.base, sklearn.metrics
before = set(sys.modules)
import skinfo
loaded = {{name.split(".")[0] for name in set(sys.modules) - before}}
print(sorted(loaded & set({EXTRAS})))
print(sorted({{"torch", "matplotlib", "plotly", "dask", "typer"}} & set(sys.modules)))
"""
    found = python(code)
    assert found.stderr == ""
    assert found.stdout.splitlines() == ["[]", "[]"]


def test_import_works_without_any_extra():
    code = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRAS}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
import numpy as np
import skinfo, skinfo.flow.snapshots, skinfo.flow.tables
import skinfo.view.pictures, skinfo.view.report, skinfo.datasets
import skinfo.monitoring
run = skinfo.open_run({{(1, "a"): np.array([[-1.0], [1.0]])}}, sigma=0.5)
flow = skinfo.information_flow(skinfo.NoisyMIEstimator(None, random_state=0), run)
print(round(flow["value"][0], 3))
"""
    found = python(code)
    assert found.stderr == ""
    assert found.stdout.split() == ["0.633"]
