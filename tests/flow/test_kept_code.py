"""What is kept is numbers, and only of the code that would be run now."""

import functools
import importlib.util
import json
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from numba import njit
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skinfo import BinningMIEstimator, open_run
from skinfo.flow.own_code import digest_code
from skinfo.quantities import Quantity

from .small_flows import Spy, flow_of

X = np.arange(12.0).reshape(6, 2) ** 2


def one_array():
    return open_run({(1, "a"): X})


def loaded(path, source, name="their_module"):
    """A module of a user, as a fresh process has it after an edit of its file."""
    path.write_text(textwrap.dedent(source))
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    exec(compile(path.read_text(), path, "exec"), vars(module))
    return module


@pytest.fixture(autouse=True)
def _no_modules_of_theirs_stay(monkeypatch):
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("their"):
            del sys.modules[name]


OWN = """
import functools
from types import SimpleNamespace
import numpy as np
from sklearn.base import BaseEstimator
from skinfo.quantities import Quantity

SCALE = 1.0
SETTINGS = {"shift": 0.0}
OTHER = SimpleNamespace(power=1)

def inner(X):
    return X

def helper(X):
    def within(X):
        return inner(X) + SETTINGS["shift"]
    return within(X) * SCALE

def made(factor):
    return lambda X: X * factor

def ready(X, *, add=0.0):
    return X + add

closed = made(1.0)
given = functools.partial(ready, add=0.0)

@functools.lru_cache
def cached():
    return 0.0

class Base(BaseEstimator):
    weight = 1.0
    def summary(self, X):
        return X.mean()

class Own(Base):
    @property
    def offset(self):
        return 0.0
    @staticmethod
    def final(value):
        return value
    def fit(self, X, y=None):
        X = given(closed(helper(X))) ** OTHER.power
        value = self.weight * self.summary(X) + self.offset + cached()
        self.quantities_ = (Quantity.exact("own", self.final(value), ""),)
        return self
"""
EDITS = [
    ("SCALE = 1.0", "SCALE = 3.0"),
    ('"shift": 0.0', '"shift": 2.0'),
    ("power=1", "power=2"),
    ("    return X\n\ndef helper", "    return -X\n\ndef helper"),
    ("inner(X) + SET", "2 * inner(X) + SET"),
    ("X * factor", "X / (factor + 1)"),
    ("closed = made(1.0)", "closed = made(4.0)"),
    ("return X + add", "return X - add + 1"),
    ("partial(ready, add=0.0)", "partial(ready, add=9.0)"),
    ("def cached():\n    return 0.0", "def cached():\n    return 1.0"),
    ("weight = 1.0", "weight = 2.0"),
    ("X.mean()", "X.max()"),
    ("def offset(self):\n        return 0.0", "def offset(self):\n        return 5.0"),
    ("return value", "return 7 * value"),
]


@pytest.mark.parametrize(("old", "new"), EDITS, ids=[new.strip() for _, new in EDITS])
def test_an_estimator_whose_code_was_edited_is_measured_again(tmp_path, old, new):
    file, run = tmp_path / "theirs.py", one_array()
    assert OWN.count(old) == 1
    before = flow_of(loaded(file, OWN).Own(), run, memory=tmp_path / "store")
    edited = loaded(file, OWN.replace(old, new)).Own()
    after = flow_of(edited, run, memory=tmp_path / "store")
    assert after["value"].item() != before["value"].item()
    pd.testing.assert_frame_equal(after, flow_of(edited, run), check_exact=True)


@pytest.mark.parametrize("edit", ["", "# a remark\n\n", "UNUSED = 3\n"])
def test_an_edit_that_changes_nothing_measures_nothing_again(tmp_path, edit):
    file, run = tmp_path / "theirs.py", one_array()
    flow_of(loaded(file, OWN).Own(), run, memory=tmp_path / "store")
    flow_of(loaded(file, edit + OWN).Own(), run, memory=tmp_path / "store")
    assert len(list((tmp_path / "store").glob("*.json"))) == 1


def test_a_step_whose_function_was_edited_is_measured_again(tmp_path):
    file, run = tmp_path / "theirs.py", one_array()
    values = []
    for source in ("def prepare(X):\n    return X\n", "def prepare(X):\n    return X // 100\n"):
        step = FunctionTransformer(loaded(file, source).prepare)
        table = flow_of(
            make_pipeline(step, BinningMIEstimator(bin_range="run")), run, memory=tmp_path / "store"
        )
        values.append(table.set_index("quantity")["value"]["binned_entropy"])
    # All six rows differ; then five of them are alike.
    np.testing.assert_allclose(values, [np.log(6), np.log(6) - 5 / 6 * np.log(5)])


def test_a_helper_module_that_was_edited_is_noticed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    own = """
    import their_helper
    def outside(X):
        return their_helper.work(X)
    def inside(X):
        import their_late
        return their_late.work(X)
    """
    digests = {}
    for factor in (1, 2):
        for name in ("their_helper", "their_late"):
            source = f"def work(X):\n    return {factor} * X\n"
            loaded(tmp_path / f"{name}.py", source, name)
        module = loaded(tmp_path / "theirs.py", own)
        for name in ("outside", "inside"):
            step = FunctionTransformer(getattr(module, name))
            digests.setdefault(name, set()).add(digest_code("step", step))
    assert {name: len(found) for name, found in digests.items()} == {"outside": 2, "inside": 2}


def shifted(by):
    @functools.wraps(np.sum)
    def shift(X):
        return X + by

    return shift


class Calls:
    def __init__(self, by):
        self.by = by

    def __call__(self, X):
        return X + self.by

    def method(self, X):
        return X - self.by


def exec_defined(by):
    names = {}
    exec(f"def shift(X): return X + {by}", names)
    return names["shift"]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        (lambda X: X + 1, lambda X: X + 2),
        (lambda X: X + 1, lambda X: X - 1),
        (lambda X, by=1: X + by, lambda X, by=2: X + by),
        (lambda X: X in {1, 2}, lambda X: X in {1, 3}),
        (lambda X: [v + 1 for v in X], lambda X: [v + 2 for v in X]),
        (shifted(1), shifted(2)),
        (Calls(1), Calls(2)),
        (Calls(1).method, Calls(2).method),
        (Calls(1).method, Calls(1)),
        (functools.partial(np.add, 1), functools.partial(np.add, 2)),
        (functools.partial(lambda X, y: X + y, y=1), functools.partial(lambda X, y: X - y, y=1)),
        (exec_defined(1), exec_defined(2)),
        (np.sin, np.cos),
        (np.vectorize(lambda x: x), np.vectorize(lambda x: -x)),
        (njit(lambda X: X + 1), njit(lambda X: X + 2)),
        (functools.lru_cache(lambda X: X + 1), functools.lru_cache(lambda X: X + 2)),
    ],
)
def test_functions_are_told_apart_by_what_they_do(one, two):
    digests = [digest_code("f", FunctionTransformer(f)) for f in (one, two, one)]
    assert digests[0] == digests[2] != digests[1]


def test_the_same_code_has_the_same_digest_in_another_process(tmp_path):
    own = OWN + "\nodd = lambda X: X in {'a', 'b', 'c', 'd'}\n"
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import theirs\n"
        "from skinfo.flow.own_code import digest_code\n"
        "from sklearn.preprocessing import FunctionTransformer\n"
        "print(digest_code('', theirs.Own()), digest_code('', FunctionTransformer(theirs.odd)))"
    )
    here = loaded(tmp_path / "theirs.py", own, "theirs")
    digests = [digest_code("", here.Own()), digest_code("", FunctionTransformer(here.odd))]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    there = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], check=True, capture_output=True, text=True,
        env=environment,
    )  # fmt: skip
    assert there.stdout.split() == digests


def test_tensors_are_told_apart_by_their_numbers():
    torch = pytest.importorskip("torch")
    kept = [torch.nn.Parameter(torch.ones(3)), torch.ones(3).expand(2, 3)[0], torch.zeros(3)]
    same = [digest_code("", FunctionTransformer(kw_args={"w": w.detach()})) for w in kept]
    assert same[0] == same[1] != same[2]


COUNTER = 0
CALLS = []
LOCK = threading.Lock()
OF_THREAD = threading.local()


class Counts(BaseEstimator):
    """Counts and logs in every way that a class can."""

    fits = 0
    seen: ClassVar[list] = []

    def fit(self, X, y=None):  # noqa: ARG002
        global COUNTER
        OF_THREAD.n = 1
        with LOCK:
            COUNTER += 1
        Counts.fits += 1
        self.seen.append(len(X))
        CALLS.append(1)
        self.quantities_ = (Quantity.exact("total", X.sum(), ""),)
        return self


def test_what_the_code_counts_is_no_part_of_it(tmp_path):
    for _ in range(2):
        flow_of(Counts(), one_array(), memory=tmp_path)
    assert (COUNTER, Counts.fits, len(CALLS), len(Counts.seen)) == (1, 1, 1, 1)


def test_what_cannot_be_told_apart_is_refused_before_anything_is_measured(tmp_path):
    numbers = (number for number in range(3))
    step = FunctionTransformer(lambda X: X + next(numbers))
    pipeline = make_pipeline(step, BinningMIEstimator())
    with pytest.raises(ValueError, match=r"generator.*measure without memory="):
        flow_of({"mine": pipeline}, one_array(), memory=tmp_path)
    assert len(flow_of({"mine": pipeline}, one_array())) > 1


def test_a_pipeline_of_packages_and_a_lambda_is_kept(tmp_path):
    run = one_array()
    pipeline = make_pipeline(FunctionTransformer(lambda X: 2 * X), PCA(1), BinningMIEstimator())
    first = flow_of(pipeline, run, memory=tmp_path)
    assert not (first["notes"] == "not measured").any()
    again = flow_of(pipeline, run, memory=tmp_path)
    pd.testing.assert_frame_equal(first, again, check_exact=True)
    assert len(list(tmp_path.glob("*.json"))) == 1


# --- files ---------------------------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return os.abort, ()


@pytest.mark.parametrize("forged", ["pickle", "number", "name", "deep", "directory", "pipe"])
def test_a_forged_file_is_made_again_and_runs_nothing(tmp_path, forged):
    run, Spy.fits = open_run({(1, "a"): X, (2, "a"): 2 * X}), 0
    whole = flow_of(Spy(), run, memory=tmp_path)
    entries = list(tmp_path.glob("*.json"))
    entry = entries[0]
    if forged == "pickle":
        entry.write_bytes(pickle.dumps(Evil()))
    elif forged == "number":
        kept = json.loads(entry.read_text())
        kept["numbers"][0]["value"] += 1
        entry.write_text(json.dumps(kept))
    elif forged == "name":
        entry.write_bytes(entries[1].read_bytes())
    elif forged == "deep":
        entry.write_text('{"numbers": ' + "[" * 10**5)
    else:
        entry.unlink()
        entry.mkdir() if forged == "directory" else os.mkfifo(entry)
    if forged in ("directory", "pipe"):
        with pytest.warns(UserWarning, match="not all estimates are kept"):
            again = flow_of(Spy(), run, memory=tmp_path)
    else:
        again = flow_of(Spy(), run, memory=tmp_path)
    assert Spy.fits == 3
    pd.testing.assert_frame_equal(again, whole, check_exact=True)


def test_numbers_keep_their_bits_and_their_notes(tmp_path):
    class Odd(BaseEstimator):
        def fit(self, X, y=None):  # noqa: ARG002
            values = (0.1 + 0.2, np.nan, np.inf, -0.0, np.float32(0.1), 7)
            self.quantities_ = tuple(
                Quantity(f"é {k}", value, 1e-300, -np.inf, np.nan, "bits", ("sampled", "saturated"))
                for k, value in enumerate(values)
            )
            return self

    run = one_array()
    tables = [flow_of(Odd(), run, memory=tmp_path) for _ in range(2)]
    for table in tables:
        pd.testing.assert_frame_equal(table, flow_of(Odd(), run), check_exact=True)
    assert np.signbit(tables[1]["value"][3])


@pytest.mark.parametrize("place", ["a file", "below a file", "read only"])
def test_a_directory_that_cannot_keep_is_refused_before_anything_is_measured(tmp_path, place):
    taken = tmp_path / "taken"
    taken.write_text("")
    if place == "read only":
        taken = "/proc/skinfo"
    elif place == "below a file":
        taken = taken / "store"
    Spy.fits = 0
    with pytest.raises(ValueError, match="memory=.*cannot keep estimates"):
        flow_of(Spy(), one_array(), memory=taken)
    assert Spy.fits == 0


def test_a_disk_that_fills_up_is_said_once_and_the_table_is_finished(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    run = open_run({(epoch, "a"): epoch * X for epoch in (1, 2, 3)})
    monkeypatch.setattr(Path, "write_text", full)
    with pytest.warns(UserWarning, match="not all estimates are kept.*No space left") as caught:
        table = flow_of(Spy(), run, memory=tmp_path)
    assert len(caught) == 1
    pd.testing.assert_frame_equal(table, flow_of(Spy(), run), check_exact=True)


def test_two_sweeps_share_a_directory(tmp_path):
    run = open_run({(epoch, "a"): epoch * X for epoch in range(20)})
    tables = []
    threads = [
        threading.Thread(target=lambda: tables.append(flow_of(Spy(), run, memory=tmp_path)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tables) == 4
    for table in [*tables, flow_of(Spy(), run, memory=tmp_path)]:
        pd.testing.assert_frame_equal(table, flow_of(Spy(), run), check_exact=True)
    assert len(list(tmp_path.iterdir())) == 20
