"""Imports point down only, heavy modules stay where they belong, nothing is pickled."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import skinfo

ROOT = Path(skinfo.__file__).parent
#: What each part may import of the others; a part may always import itself.
BELOW = {
    "errors": set(),
    "progress": set(),
    "style": set(),
    "measures.kinds": set(),
    "measures.quantity": {"errors"},
    "kernels": {"errors"},
    "datasets": {"errors"},
    "laws": set(),
    "files": set(),
    "versions": set(),
    "runs": {"errors", "files", "versions"},
    "measures": {"errors", "kernels", "measures.quantity"},
    "estimators": {"errors", "kernels", "measures", "measures.quantity"},
    "networks": {"errors", "runs"},
    "flow": {
        "errors", "estimators", "measures.kinds", "measures.quantity", "progress", "runs",
        "versions",
    },
    "sigmas": {"estimators", "measures", "measures.quantity"},
    "widths": {"estimators", "measures", "measures.quantity"},
    "panel": {"measures", "runs"},
    "tables": {"errors", "files", "measures.quantity", "panel"},
    "analysis": {"estimators", "flow", "measures", "panel", "runs"},
    "monitoring": {
        "errors", "files", "flow", "measures.quantity", "networks", "runs", "tables", "versions",
    },
    "szt": {"datasets", "monitoring", "networks", "runs", "files"},
    "comparison": {"measures.quantity", "tables"},
    "plotting": {
        "comparison", "errors", "files", "measures.kinds", "measures.quantity", "panel", "style",
        "tables",
    },
    "report": {
        "comparison", "errors", "files", "measures.kinds", "measures.quantity", "panel", "style",
        "tables",
    },
    "demo": {
        "errors", "estimators", "files", "flow", "measures.quantity", "panel", "plotting", "szt",
        "tables",
    },
}  # fmt: skip
BELOW["cli"] = {*BELOW, "skinfo"}
#: The public names: whatever a user may import without an extra.
BELOW["skinfo"] = {
    "comparison", "datasets", "errors", "estimators", "flow", "runs", "sigmas", "widths",
}  # fmt: skip
#: Where a third-party module may be imported at all.
HOMES = {
    "numba": {"kernels"},
    "torch": {"networks"},
    "rich": {"cli", "progress"},
    "typer": {"cli"},
    "click": {"cli"},
    "matplotlib": {"cli", "plotting"},
    "plotly": {"report"},
    "pyarrow": {"tables"},
    "keras": {"monitoring"},
    "h5py": {"runs"},
    "safetensors": {"runs"},
    "zarr": {"runs"},
    "mlxtend": {"datasets"},
}
EXTRAS = (
    "torch", "matplotlib", "plotly", "typer", "rich", "pyarrow", "keras", "h5py", "safetensors",
    "zarr", "mlxtend",
)  # fmt: skip
FILES = sorted(ROOT.rglob("*.py"))


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in ("skinfo", *parts) if part != "__init__")


MODULES = {module_of(path) for path in FILES}


def part_of(module):
    """The part of the house that a module belongs to, for example measures or measures.quantity."""
    inside = module.removeprefix("skinfo").lstrip(".")
    if inside in BELOW:
        return inside
    return inside.split(".")[0] or "skinfo"


@cache
def tree_of(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(path):
    """Every (module, node) that a file imports, wherever it does."""
    package = module_of(path).split(".")
    package = package if path.name == "__init__.py" else package[:-1]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield (inner if inner in MODULES else base), node


def at_top(path):
    """Nodes that run when a file is imported: everything outside functions."""
    waiting = [tree_of(path)]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def upward(path):
    part = part_of(module_of(path))
    for name, node in imports(path):
        if name.split(".")[0] == "skinfo":
            target = part_of(name)
            same = target == part or target.split(".")[0] == part
            if not same and target not in BELOW[part]:
                yield f"{path.relative_to(ROOT)}:{node.lineno} {part} imports {name}"


def misplaced(path):
    part = part_of(module_of(path))
    for name, node in imports(path):
        homes = HOMES.get(name.split(".")[0])
        if homes is not None and part not in homes:
            yield f"{path.relative_to(ROOT)}:{node.lineno} {part} imports {name}"


def test_every_module_has_a_place():
    assert len(FILES) > 20
    assert {part_of(module) for module in MODULES} <= set(BELOW)


def test_imports_point_down_only():
    assert [line for path in FILES for line in upward(path)] == []


def test_the_allowed_imports_have_no_cycle():
    order = []
    waiting = {part: set(below) for part, below in BELOW.items()}
    # __init__ re-exports; only the command line, at the top, imports from it.
    while waiting:
        free = [part for part, below in waiting.items() if below <= set(order)]
        assert free, f"a cycle among {sorted(waiting)}"
        order += free
        waiting = {part: below for part, below in waiting.items() if part not in free}
    assert order.index("errors") < order.index("measures") < order.index("estimators")
    assert order[-1] == "cli"


def test_heavy_modules_are_imported_where_they_belong():
    assert [line for path in FILES for line in misplaced(path)] == []


def test_kernels_need_numpy_and_numba_only():
    allowed = {"__future__", "numpy", "numba", "math", "skinfo", "collections", "typing"}
    roots = {name.split(".")[0] for path in (ROOT / "kernels").glob("*.py")
             for name, _ in imports(path)}  # fmt: skip
    assert roots <= allowed
    assert {"numpy", "numba"} <= roots


@pytest.mark.parametrize(
    "late", ["matplotlib", "pyarrow", "h5py", "safetensors", "zarr", "mlxtend"]
)
def test_is_imported_inside_functions(late):
    found = []
    for path in FILES:
        top = set(at_top(path))
        found += [
            f"{path.relative_to(ROOT)}:{node.lineno}"
            for name, node in imports(path)
            if name.split(".")[0] == late and node in top
        ]
    assert found == []
    assert any(name.startswith(late) for path in FILES for name, _ in imports(path))


def test_the_command_line_imports_no_heavy_module_at_its_top():
    files = sorted((ROOT / "cli").glob("*.py"))
    assert len(files) > 4
    for path in files:
        top = set(at_top(path))
        names = {name for name, node in imports(path) if node in top}
        assert {name.split(".")[0] for name in names} <= {
            "__future__", "sys", "warnings", "pathlib", "typing", "typer", "rich", "os", "skinfo",
            "tomllib",
        }  # fmt: skip
        inner = {name for name in names if name.startswith("skinfo")}
        assert all(part_of(name) in {"cli", "errors"} for name in inner), path


def calls(path):
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            owner = getattr(getattr(node.func, "value", None), "id", "")
            yield f"{owner}.{name}", {k.arg: k.value for k in node.keywords}, node.lineno


def test_nothing_is_pickled():
    pickles = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "shelve", "marshal"}
    imported = {name.split(".")[0] for path in FILES for name, _ in imports(path)}
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
import skinfo, skinfo.panel, skinfo.tables, skinfo.plotting, skinfo.report, skinfo.datasets
import skinfo.monitoring
run = skinfo.open_run({{(1, "a"): np.array([[-1.0], [1.0]])}}, sigma=0.5)
flow = skinfo.information_flow(skinfo.NoisyMIEstimator(None, random_state=0), run)
print(round(flow["value"][0], 3))
"""
    found = python(code)
    assert found.stderr == ""
    assert found.stdout.split() == ["0.633"]


@pytest.mark.parametrize("name", ["errors", "measures", "estimators", "runs", "cli", "skinfo"])
def test_the_walk_sees_what_it_should(name):
    """The checks above would pass on an empty house."""
    targets = {
        part_of(target)
        for path in FILES
        if part_of(module_of(path)) == name
        for target, _ in imports(path)
        if target.split(".")[0] == "skinfo"
    }
    expected = {
        "errors": set(), "measures": {"kernels", "measures.quantity"},
        "estimators": {"measures", "errors"}, "runs": {"errors", "files"},
        "cli": {"analysis", "tables", "plotting", "report", "demo"},
        "skinfo": {"comparison", "estimators", "flow", "runs", "sigmas", "widths"},
    }  # fmt: skip
    assert expected[name] <= targets
    assert name != "errors" or not targets


def test_an_upward_import_would_be_seen(tmp_path, monkeypatch):
    bad = {
        "kernels/bad.py": "from skinfo.measures import rows",
        "measures/bad.py": "def f():\n    from skinfo.estimators import NoisyMIEstimator",
        "runs/bad.py": "from .. import flow",
        "estimators/bad.py": "import numba",
        "tables.py": "from skinfo import plotting",
        "flow/bad.py": "import torch.nn",
    }
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    for name, source in bad.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
        assert [*upward(path), *misplaced(path)], name


def test_what_runs_on_import_is_told_from_what_runs_later(tmp_path):
    path = tmp_path / "some.py"
    path.write_text(
        "import a\nif a:\n    import b\n\ndef f():\n    import c\n\nclass D:\n    import d\n"
    )
    names = [node.names[0].name for node in at_top(path) if isinstance(node, ast.Import)]
    assert sorted(names) == ["a", "b", "d"]
