"""skinfo compare as a user types it: what it prints, writes, refuses, and with which exit code."""

import json
import os
import re
import shutil

import numpy as np
import pandas as pd
import pytest

from skinfo import (
    BinningMIEstimator,
    NoisyMIEstimator,
    cli,
    compare_flows,
    information_flow,
    open_run,
    pool_flows,
)
from skinfo.comparison import COMPARISON_COLUMNS, POOLED_COLUMNS
from skinfo.flow.defaults import measure_run
from skinfo.flow.tables import read_table, write_table
from skinfo.runs import RunWriter

from .written import LABELS, NOISY, write_run


def measured(seed, epochs=(1, 10), names=("first", "second"), **options):
    rng = np.random.default_rng(seed)
    arrays = {(e, x): rng.normal(size=(20, 2)) * (1 + seed) for e in epochs for x in names}
    run = open_run(arrays, labels=np.arange(20) % 2, sigma=0.5)
    noisy = NoisyMIEstimator(None, tol=0.1, random_state=0, **options)
    return information_flow({"noisy": noisy}, run, progress=False)


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Tables of four seeds, in files of both kinds."""
    folder = tmp_path_factory.mktemp("tables")
    for seed in range(4):
        write_table(folder / f"s{seed}{'.csv' if seed % 2 else '.parquet'}", measured(seed))
    return folder


@pytest.fixture
def compare(call, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: call("compare", *arguments)


def line_of_text(out, layer):
    return next(line for line in out.splitlines() if line.split()[:1] == [layer])


def line_of(out, layer, nth=0):
    return [line.split() for line in out.splitlines() if line.split()[:1] == [layer]][nth]


def test_two_tables_are_compared_at_the_last_epoch(compare, tables):
    code, out, err = compare(tables / "s0.parquet", tables / "s3.csv")
    assert (code, err) == (0, "")
    assert "I(X;T) [nats]: s3 and s0 at epoch 10" in out
    assert "I(Y;T) [nats]: s3 and s0 at epoch 10" in out
    expected = compare_flows({"s0": tables / "s0.parquet", "s3": tables / "s3.csv"})
    expected = expected[(expected["epoch"] == 10) & (expected["quantity"] == "mutual_info")]
    for _, row in expected.iterrows():
        words = line_of(out, row["layer"])
        for name, error in (
            ("reference_value", "reference_stderr"), ("value", "value_stderr"),
            ("difference", "difference_stderr"),
        ):  # fmt: skip
            sign = "+" if name == "difference" else ""
            assert f"{row[name]:{sign}.3f}±{row[error]:.3f}" in words
        for table in (tables / "s0.parquet", tables / "s3.csv"):
            key = "epoch == 10 and layer == @row.layer and quantity == 'mutual_info'"
            ends = read_table(table)[0].query(key).iloc[0]
            assert f"{ends['lower']:.3f}…{ends['upper']:.3f}" in words
        assert f"{row['difference_lower']:+.3f}…{row['difference_upper']:+.3f}" in words
        assert " ".join(words).endswith(f"{row['change']} {row['about']}")
        assert f"{row['change']}: " in out
        assert f"{row['about']}: " in out
    assert re.search(r"All epochs: (\d \w+ \w+(, )?)+\.", out)


def test_notes_stand_under_the_table(compare, tables, tmp_path):
    table, _ = read_table(tables / "s1.csv")
    told = table["quantity"].eq("mutual_info") & table["layer"].eq("first")
    table.loc[told, "notes"] = "saturated; a note of my own"
    write_table(tmp_path / "noted.csv", table)
    code, out, _ = compare(tables / "s0.parquet", "noted.csv", "--show", "mutual_info")
    assert code == 0
    table, rest = out.split("All epochs")
    assert "first of noted: saturated (within 1 % of H(X)" in table
    assert "first of noted: a note of my own." in table
    assert "± is the standard error of the computation" in rest
    code, out, _ = compare("all=noted.csv", f"all={tables}/s0.parquet", "--show", "mutual_info")
    assert code == 0
    assert "first: saturated (within 1 % of H(X)" in out


def test_quantities_that_are_not_printed_are_not_passed_over_in_silence(compare, tables, tmp_path):
    table, _ = read_table(tables / "s1.csv")
    mine = table[table["quantity"].eq("mutual_info")].assign(quantity="mine", estimator="Mine")
    for name in ("one.csv", "two.csv"):
        write_table(tmp_path / name, mine)
    code, out, _ = compare("one.csv", "two.csv")
    assert code == 0
    assert f"-o FILE or --json gives all {len(mine)} rows" in " ".join(out.split())


def test_no_number_is_cut_in_a_narrow_terminal(compare, tables, monkeypatch):
    monkeypatch.setattr(cli.application.console, "width", 40)
    _, out, _ = compare(tables / "s0.parquet", tables / "s3.csv", "--show", "mutual_info")
    assert out.count("±") >= 6
    assert not re.search(r"\d…( |$)", out, re.MULTILINE)


def test_an_epoch_a_layer_and_a_quantity_can_be_chosen(compare, tables):
    options = ("--epoch", 1, "--layer", "second", "--show", "label_mutual_info")
    code, out, _ = compare(tables / "s0.parquet", tables / "s1.csv", *options)
    assert code == 0
    assert "I(Y;T) [nats]: s1 and s0 at epoch 1" in out
    assert "I(X;T)" not in out
    assert "first" not in out.split()
    assert "second" in out.split()


def test_every_estimator_is_shown_or_can_be_chosen(compare, tables, tmp_path):
    one, other = (read_table(tables / name)[0] for name in ("s0.parquet", "s1.csv"))
    for name, table in (("one", one), ("other", other)):
        coarse = table.assign(estimator="coarse", value=table["value"] / 2)
        write_table(tmp_path / f"{name}.csv", pd.concat([table, coarse]))
    code, out, _ = compare("one.csv", "other.csv", "--show", "mutual_info")
    assert code == 0
    assert "I(X;T) [nats] by noisy: other and one at epoch 10" in out
    assert "I(X;T) [nats] by coarse: other and one at epoch 10" in out
    first, second = (float(line_of(out, "first", nth)[1].split("±")[0]) for nth in (0, 1))
    assert second == pytest.approx(first / 2, abs=0.001)
    code, out, _ = compare("one.csv", "other.csv", "--estimator", "coarse", "--plot", "x.png")
    assert code == 0
    assert "by noisy" not in out
    assert "I(Y;T) [nats] by coarse" in out
    assert (tmp_path / "x.png").is_file()
    for options, message in [
        (["--estimator", "fine"], "--estimator fine: no flow has it; there are noisy, coarse"),
        (["--estimator", "coarse", "--show", "x"], "--show x: the flows do not hold it"),
        (["--show", "x", "--json"], "--show x: the flows do not hold it"),
    ]:
        code, _, err = compare("one.csv", "other.csv", *options)
        assert code == 2
        assert message in err


def test_seeds_are_paired_by_what_is_on_record(compare, tables, tmp_path):
    for k, name in enumerate(("s0.parquet", "s1.csv", "s2.parquet", "s3.csv")):
        table = read_table(tables / name)[0].assign(value=lambda t, k=k: t["value"] + 0.1 * k)
        table.attrs["seed"] = k % 2
        write_table(tmp_path / f"{'ab'[k // 2]}{k}.parquet", table)
    code, out, _ = compare("one=a*", "other=b*", "--pair-by", "seed")
    assert code == 0
    assert "Seeds are paired by seed." in out
    assert "the seeds: the means over seeds of these settings" in out
    rows = json.loads(compare("one=a*", "other=b*", "--pair-by", "seed", "--json")[1])
    paths = {name: sorted(tmp_path.glob(f"{name[0]}*")) for name in ("ab", "b")}
    pools = {"one": pool_flows(paths["ab"]), "other": pool_flows(paths["b"])}
    expected = compare_flows(pools, pair_by="seed")["difference_stderr"]
    assert [r["difference_stderr"] for r in rows] == pytest.approx(expected.tolist())
    code, _, err = compare("one=a*", "other=b*", "--pair-by", "fold")
    assert code == 2
    assert "not every seed of 'one' has it on record; there are order, seed, name" in err


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_comparison_and_its_picture_are_written(compare, tables, tmp_path, suffix):
    target, picture = tmp_path / f"out{suffix}", tmp_path / "out.png"
    flows = {"s1": tables / "s1.csv", "s0": tables / "s0.parquet", "s2": tables / "s2.parquet"}
    options = ("--plot", picture, "--layer", "second") if suffix == ".csv" else ()
    code, out, err = compare(*flows.values(), "-o", target, *options, "--reference", "s0")
    assert (code, err) == (0, "")
    expected = compare_flows(flows, reference="s0")
    found = pd.read_csv(target) if suffix == ".csv" else pd.read_parquet(target)
    assert tuple(found) == COMPARISON_COLUMNS
    assert set(found["flow"]) == {"s1", "s2"}
    np.testing.assert_allclose(found["difference"], expected["difference"], rtol=1e-12)
    assert f"{len(expected)} rows in {target}" in out.replace("\n", " ")
    assert picture.is_file() == bool(options)
    assert not options or picture.read_bytes().startswith(b"\x89PNG")
    assert "s1 and s0" in out
    assert "s2 and s0" in out
    code, _, err = compare(*flows.values(), "-o", target)
    assert code == 2
    assert "--force" in err
    assert compare(*flows.values(), "-o", target, "--force")[0] == 0


def test_json_is_all_rows_and_nothing_else(compare, tables, tmp_path):
    code, out, err = compare(
        tables / "s0.parquet", tables / "s1.csv", "--json", "-o", tmp_path / "o.csv"
    )
    assert (code, err) == (0, "")
    rows = json.loads(out)
    expected = compare_flows({"s0": tables / "s0.parquet", "s1": tables / "s1.csv"})
    assert len(rows) == len(expected)
    assert list(rows[0]) == list(COMPARISON_COLUMNS)
    assert rows[0]["difference"] == expected["difference"].iloc[0]
    assert [row["change"] for row in rows] == expected["change"].tolist()
    assert (tmp_path / "o.csv").is_file()


def test_json_has_null_for_what_is_no_finite_number(compare, tmp_path):
    write_table(tmp_path / "a.csv", measured(0, population=True))
    write_table(tmp_path / "b.csv", measured(1, epochs=(1, 20), population=True))
    code, out, _ = compare("a.csv", "b.csv", "--json")
    assert code == 0
    rows = json.loads(out, parse_constant=pytest.fail)
    assert [r["value"] for r in rows if r["quantity"] == "ceiling" and r["epoch"] == 1] == [
        None
    ] * 2
    assert {r["notes"].split("; ")[0] for r in rows if r["epoch"] == 10} == {"not in b"}
    code, out, _ = compare("a.csv", "b.csv")
    assert "b and a at epoch 1" in out


# --- seeds ---------------------------------------------------------------------------------------


def test_tables_of_one_name_are_pooled(compare, tables, tmp_path):
    target = tmp_path / "out.csv"
    code, out, err = compare(f"few={tables}/s[0-2].*", f"new={tables}/s3.csv", "-o", target)
    assert (code, err) == (0, "")
    paths = [tables / "s0.parquet", tables / "s1.csv", tables / "s2.parquet"]
    expected = compare_flows({"few": pool_flows(paths), "new": tables / "s3.csv"})
    np.testing.assert_allclose(pd.read_csv(target)["difference"], expected["difference"])
    assert "new and few at epoch 10" in out
    listed = [f"few={path}" for path in paths]
    code, other, _ = compare(*listed, f"new={tables}/s3.csv", "-o", target, "--force")
    assert code == 0
    assert other.split("All epochs")[0] == out.split("All epochs")[0]


def test_one_name_alone_is_pooled_printed_and_written(compare, tables, tmp_path):
    target = tmp_path / "pooled.csv"
    code, out, err = compare(f"all={tables}/s*", "-o", target)
    assert (code, err) == (0, "")
    found, _ = read_table(target)
    assert tuple(found) == POOLED_COLUMNS
    assert (found["n_seeds"] == 4).all()
    row = found.query("epoch == 10 and layer == 'first' and quantity == 'mutual_info'").iloc[0]
    words = line_of(out, "first")
    assert words[1:3] == [f"{row['value']:.3f}±{row['stderr']:.3f}", f"{row['spread']:.3f}"]
    assert words[-1] == "4"
    code, again, _ = compare("pooled.csv", "--epoch", 1)
    assert code == 0
    assert "at epoch 1" in again
    assert compare("pooled.csv", tables / "s0.parquet")[0] == 0
    assert len(json.loads(compare("pooled.csv", "--json")[1])) == len(found)


def test_tables_of_one_name_are_told_apart_by_their_directories(compare, tables, tmp_path):
    for name in ("wide", "narrow"):
        (tmp_path / name).mkdir()
        write_table(tmp_path / name / "flow.csv", read_table(tables / "s1.csv")[0])
    code, out, _ = compare("wide/flow.csv", "narrow/flow.csv")
    assert code == 0
    assert "narrow and wide at epoch 10" in out
    assert compare("wide", "narrow")[1] == out


def test_a_path_with_an_equals_sign_is_a_path(compare, tables, tmp_path):
    (tmp_path / "lr=0.1").mkdir()
    write_table(tmp_path / "lr=0.1" / "flow.csv", read_table(tables / "s1.csv")[0])
    code, out, _ = compare(tables / "s0.parquet", "lr=0.1/flow.csv")
    assert code == 0
    assert "flow and s0" in out
    code, out, _ = compare(tables / "s0.parquet", "slow=lr=0.1/flow.csv")
    assert code == 0
    assert "slow and s0" in out


# --- runs ----------------------------------------------------------------------------------------


def measure(run):
    """Write the table of a run beside it."""
    estimators = {"binned": BinningMIEstimator(bin_range="run")}
    table = measure_run(open_run(run), estimators, progress=False)
    write_table(run.with_suffix(".parquet"), *table)


@pytest.fixture
def runs(tmp_path):
    """Two runs, each with its table beside it."""
    paths = [tmp_path / "a", tmp_path / "b"]
    for seed, path in enumerate(paths):
        measure(write_run(path, epochs=(1, 10), seed=seed))
    return paths


def test_a_run_stands_for_the_table_beside_it(compare, runs, tmp_path):
    before = (tmp_path / "a.parquet").read_bytes()
    code, out, err = compare("a", "b")
    assert code == 0
    assert "a: its table a.parquet is used" in err
    assert "b: its table b.parquet is used" in err
    assert "analyze" not in err
    assert "One run per side: how far seeds of one setting spread is not known" in " ".join(
        out.split()
    )
    assert "b and a at epoch 10" in out
    # One draw of the noise was measured.
    assert "±?" in line_of_text(out, "first")
    assert re.search(r"(first|second): error unknown\.", out)
    assert "bins over each run's own range" in err.replace("\n", " ")
    assert (tmp_path / "a.parquet").read_bytes() == before

    assert compare("both=*")[0] == 0
    RunWriter(tmp_path / "a", NOISY, labels=LABELS, train=range(10)).add(
        20, {layer.name: np.random.default_rng(0).normal(size=(16, 2)) for layer in NOISY}
    )
    code, _, err = compare("a", "b")
    assert code == 0
    assert "a.parquet lacks epochs 20 of a" in err
    assert "skinfo analyze a -o a.parquet --force" in err


def test_a_run_without_a_table_is_to_be_measured_first(compare, tables, tmp_path):
    write_run(tmp_path / "a", epochs=(1,))
    for arguments in (["a"], ["a", tables / "s0.parquet"], ["both=*"]):
        code, out, err = compare(*arguments)
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1
        assert "a has no table beside it" in err
        assert "`skinfo analyze a -o a.parquet`" in err
        assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.filterwarnings("ignore:not measured")
def test_activations_that_cannot_be_read_end_with_exit_code_1(compare, runs, tmp_path):
    shutil.rmtree(tmp_path / "b")
    measure(write_run(tmp_path / "b", epochs=(1, 10), broken="truncated"))
    code, out, err = compare("a", "b")
    assert code == 1
    assert "b and a at epoch 1" in out
    assert "some activations could not be read" in err
    code, out, err = compare("a", "b", "--json")
    assert code == 1
    assert "some activations could not be read" in err
    assert compare("both=*")[0] == 1
    notes = {row["notes"] for row in json.loads(out) if row["epoch"] == 10}
    assert any("not in b (read error)" in note for note in notes)


def test_a_run_that_was_written_again_is_noticed(compare, runs, tmp_path):
    shutil.rmtree(tmp_path / "b")
    write_run(tmp_path / "b", epochs=(1, 10), seed=2)
    code, _, err = compare("a", "b")
    assert code == 0
    assert "b.parquet is older than files of b" in err
    assert "skinfo analyze b -o b.parquet --force" in err
    assert "analyze a" not in err
    # A copy that keeps its times is older than the table all the same.
    for file in (tmp_path / "b").iterdir():
        os.utime(file, (1, 1))
    _, _, err = compare("a", "b")
    assert "b.parquet was made of other files than b has now" in err


def test_an_estimator_that_refuses_what_it_gets_counts_as_unread(compare, tables, tmp_path):
    table = read_table(tables / "s0.parquet")[0]
    lost = table["layer"].eq("first") & table["epoch"].eq(1)
    write_table(tmp_path / "lost.csv", table[~lost])
    assert compare(tables / "s1.csv", "lost.csv")[0] == 0
    row = {"epoch": 1, "layer": "first", "estimator": "noisy", "notes": "not measured"}
    write_table(tmp_path / "lost.csv", pd.concat([table[~lost], pd.DataFrame([row])]))
    code, _, err = compare(tables / "s1.csv", "lost.csv")
    assert code == 1
    assert "1 rows of the tables" in err


def test_flows_of_other_sigmas_are_not_comparable(compare, tmp_path):
    run = open_run({(1, "first"): np.random.default_rng(0).normal(size=(20, 2))})
    for name, sigma in (("fine", 0.1), ("coarse", 0.9)):
        noisy = NoisyMIEstimator(sigma, tol=0.1, random_state=0)
        flow = information_flow({"noisy": noisy}, run, progress=False)
        write_table(tmp_path / f"{name}.parquet", flow)
    code, out, err = compare("fine.parquet", "coarse.parquet")
    assert code == 0
    assert "not comparable" in line_of_text(out, "first")
    assert "not comparable: measured with settings that give" in " ".join(out.split())
    assert "beyond" not in out
    assert "settings differ: sigma 0.1 and 0.9" in err.replace("\n", " ")


# --- mistakes ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        ([], "Missing argument"),
        (["{s0}"], "needs two flows; several tables of one name"),
        (["{s0}", "{s0}"], "is there twice"),
        (["x={s0}", "x={s0}", "{s1}"], "x: {s0} is there twice"),
        (["{s0}", "={s1}"], "no name before the ="),
        (["{s0}", "x={tmp}/none*"], "none*: no table and no run has such a name"),
        (["{s0}", "{tmp}/no.csv"], "no.csv: there is no such table"),
        (["{s0}", "{tmp}/no.txt"], "no.txt: a table ends in .parquet or .csv"),
        (["{s0}", "{tmp}"], "there is no run here"),
        (["{s0}", "{s1}", "--reference", "x"], "--reference x: there is no such flow; got s0, s1"),
        (["{s0}", "{s1}", "--show", "x"], "--show x: the flows do not hold it"),
        (
            ["{s0}", "{s1}", "--show", "binned_entropy"],
            "--show binned_entropy: the flows do not hold it",
        ),
        (["{s0}", "{s1}", "--layer", "x"], "--layer x: no flow has it; there are first, second"),
        (["{s0}", "{s1}", "--epoch", "5"], "--epoch 5: the flows share 1, 10"),
        (["{s0}", "{s1}", "--z", "0"], "z is a positive number"),
        (["{s0}", "{s1}", "-o", "{tmp}/x.txt"], "x.txt: a table ends in"),
        (["{s0}", "{s1}", "-o", "{tmp}/no/x.csv"], "there is no directory"),
        (["{s0}", "{s1}", "--plot", "{tmp}/no/x.png"], "there is no directory"),
        (["{s0}", "{s1}", "--plot", "{tmp}/x.doc"], "x.doc: a picture ends in"),
    ],
    ids=lambda value: None if isinstance(value, list) else value[:40],
)
def test_a_mistake_ends_with_exit_code_2_and_one_line(compare, tables, tmp_path, arguments, part):
    places = {"s0": tables / "s0.parquet", "s1": tables / "s1.csv", "tmp": tmp_path}
    code, _, err = compare(*(argument.format(**places) for argument in arguments))
    assert code == 2
    assert len(err.splitlines()) == 1
    assert part.format(**places) in err
    assert list(tmp_path.iterdir()) == []


def test_units_and_epochs_that_do_not_fit_are_named(compare, tables, tmp_path):
    write_table(tmp_path / "bits.csv", measured(0, units="bits"))
    write_table(tmp_path / "later.csv", measured(0, epochs=(2, 20)))
    code, _, err = compare(tables / "s0.parquet", "bits.csv")
    assert code == 2
    assert "'s0' is in nats, 'bits' is in bits" in err
    code, _, err = compare(tables / "s0.parquet", "later.csv")
    assert code == 2
    assert "no epoch in common: 1, 10 in the one, 2, 20 in the other" in err


def test_with_json_a_mistake_is_json_as_well(compare, tables, tmp_path):
    write_table(tmp_path / "later.csv", measured(0, epochs=(2, 20)))
    for arguments in ([tables / "s0.parquet", "later.csv"], ["later.csv", "no.csv"], ["later.csv"]):
        code, out, err = compare(*arguments, "--json")
        assert code == 2
        assert json.loads(out)["error"] in err


def test_arrays_of_another_table_are_not_taken_for_those_of_the_result(compare, tables, tmp_path):
    """Said before anything is compared: an .npz beside the result would be read with it."""
    (tmp_path / "c.npz").write_bytes(b"of another table")
    code, _, err = compare(tables / "s0.parquet", tables / "s1.csv", "-o", "c.csv")
    assert code == 2
    assert "c.npz belongs to another table" in " ".join(err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["c.npz"]
