"""Seeds pooled into mean and spread, and pools beside pools."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm
from scipy.stats import t as student

from skinfo import compare_flows, pool_flows
from skinfo.comparison import POOLED_COLUMNS, POOLING_NOTES
from skinfo.flow.tables import read_table, write_table
from skinfo.quantities import NOTES

from .flows import flow, kind, row, unread, with_settings

# --- seeds ---------------------------------------------------------------------------------------


def seeds(rng, n, *, mean=2.0, spread=0.3, stderr=0.01, bias=(0.0, 0.0), n_rows=1):
    """Flows of n seeds of one setting."""
    made = []
    for _ in range(n):
        values = mean + spread * rng.standard_normal(n_rows) + stderr * rng.standard_normal(n_rows)
        below, above = (max(b, 2.131 * stderr) for b in bias)
        one = pd.DataFrame(row(values, stderr, values - below, values + above))
        made.append(one.assign(epoch=range(n_rows)))
    return made


def test_pooled_numbers_are_those_of_numpy(rng):
    tables = seeds(rng, 5, n_rows=20)
    pooled = pool_flows(tables)
    assert tuple(pooled) == POOLED_COLUMNS
    values = np.array([t["value"] for t in tables])
    np.testing.assert_allclose(pooled["value"], values.mean(axis=0))
    np.testing.assert_allclose(pooled["spread"], values.std(axis=0, ddof=1))
    np.testing.assert_allclose(pooled["stderr"], values.std(axis=0, ddof=1) / np.sqrt(5))
    np.testing.assert_array_equal(pooled["lower"], np.min([t["lower"] for t in tables], axis=0))
    np.testing.assert_array_equal(pooled["upper"], np.max([t["upper"] for t in tables], axis=0))
    assert (pooled["n_seeds"] == 5).all()
    assert (pooled[["bias_below", "bias_above"]] == 0).all(axis=None)
    assert set(pooled["unit"]) == {"nats"}
    assert set(pooled["notes"]) == {""}


def test_seeds_closer_than_their_errors_keep_those(rng):
    pooled = pool_flows([flow(row(2.0, 0.3)), flow(row(2.0, 0.4))]).iloc[0]
    assert pooled["spread"] == 0
    assert pooled["stderr"] == pytest.approx(0.5 / 2)


def test_one_seed_has_no_spread():
    pooled = pool_flows([flow(row(2.0, 0.1, 1.5, 2.3))]).iloc[0]
    assert np.isnan(pooled["spread"])
    expected = {"value": 2.0, "stderr": 0.1, "lower": 1.5, "upper": 2.3, "n_seeds": 1}
    assert pooled[list(expected)].to_dict() == pytest.approx(expected)
    assert (pooled["bias_below"], pooled["bias_above"]) == pytest.approx((0.5, 0.3))
    assert pooled["notes"] == "one seed"
    assert "one seed" in POOLING_NOTES


def test_seeds_that_lack_a_number_are_counted_and_noted():
    one, two = flow(row(1.0), row(2.0, epoch=10)), flow(row(3.0), unread(epoch=10))
    three = flow(row(5.0), row(4.0, epoch=10))
    pooled = pool_flows([one, two, three]).set_index(["epoch", "quantity"])
    assert pooled.loc[(1, "mutual_info"), ["value", "n_seeds", "notes"]].tolist() == [3.0, 3, ""]
    at_10 = pooled.loc[(10, "mutual_info")]
    assert (at_10["value"], at_10["n_seeds"], at_10["notes"]) == (3.0, 2, "seeds missing")
    lost = pooled.loc[(10, "")]
    assert (lost["n_seeds"], lost["notes"]) == (0, "read error; seeds missing")
    assert lost[["value", "stderr", "spread", "lower", "upper"]].isna().all()


def test_a_value_that_is_not_defined_of_one_seed_is_not_averaged():
    pooled = pool_flows([flow(row(np.nan, np.nan)), flow(row(3.0, 0.1, 2.9, 3.1))]).iloc[0]
    assert (pooled["value"], pooled["stderr"], pooled["n_seeds"]) == (3.0, 0.1, 1)
    assert (pooled["lower"], pooled["upper"]) == (2.9, 3.1)


def test_infinite_ceilings_and_unknown_brackets_pool():
    tables = [flow(row(np.inf, 0.0, np.inf, np.inf, quantity="ceiling"), row(v, 0.1, np.nan, 3.0))
              for v in (1.0, 2.0)]  # fmt: skip
    pooled = pool_flows(tables).set_index("quantity")
    ceiling = pooled.loc["ceiling"]
    assert (ceiling["value"], ceiling["lower"], ceiling["spread"]) == (np.inf, np.inf, 0.0)
    assert np.isnan(pooled.loc["mutual_info", "lower"])
    assert pooled.loc["mutual_info", "upper"] == 3.0


def test_notes_of_seeds_are_joined():
    tables = [flow(row(1.0, notes=n)) for n in ("saturated", "", "above ceiling; saturated")]
    assert pool_flows(tables)["notes"].tolist() == ["saturated; above ceiling"]
    assert {"saturated", "above ceiling"} <= set(NOTES)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_pooled_flow_is_written_and_read(tmp_path, rng, suffix):
    tables = [*seeds(rng, 2, n_rows=3), flow(row(1.0, 0.1))]
    tables[0] = pd.concat([tables[0], flow(row(7.0, 0.2, epoch=9))], ignore_index=True)
    pooled = pool_flows(tables)
    assert pooled["spread"].isna().any()
    path = tmp_path / f"pooled{suffix}"
    write_table(path, pooled)
    found, _ = read_table(path)
    found.attrs = pooled.attrs = {}
    pd.testing.assert_frame_equal(found, pooled, rtol=1e-12)


def test_what_cannot_be_pooled(tmp_path, rng):
    (table,) = seeds(rng, 1)
    path = tmp_path / "seed.csv"
    write_table(path, table)
    for flows, message in [
        ([], "at least one flow"),
        ([path, str(path)], r"seed\.csv is there twice"),
        ([path, tmp_path / ".." / tmp_path.name / "seed.csv"], r"seed\.csv is there twice"),
        ([table, table], "'seed 1' is there twice: .* it is 'seed 0' too"),
        ({"x": flow(row(1.0), files="abc"), "y": flow(row(1.1), files="abc")},
         "'y' is there twice: .* it is 'x' too"),
        ([table, pool_flows([table, table.copy()])], "'seed 1' is pooled already"),
        ([table, table.assign(epoch=99)], "'seed 0' and 'seed 1' have no epoch in common"),
        ([table, table.assign(unit="bits")], "'seed 0' is in nats, 'seed 1' is in bits"),
        ({"x": flow(row(1.0), **with_settings(kind("N", sigma=0.1))),
          "y": flow(row(1.0), **with_settings(kind("N", sigma=0.2)))},
         "'x' and 'y' are not seeds of one setting: at layer 'hidden' noisy has sigma 0.1 and 0.2"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            pool_flows(flows)


def test_pooled_flows_remember_their_settings(rng):
    kinds = [kind("N", sigma=0.1, random_state=v) for v in (1, 2)]
    tables = [flow(row(float(k)), **with_settings(kinds[k])) for k in (0, 1)]
    pooled = pool_flows({"s1": tables[0], "s2": tables[1]})
    assert pooled.attrs["pooled"] == ["s1", "s2"]
    other = flow(row(2.0), **with_settings(kind("N", sigma=0.5)))
    (notes,) = compare_flows({"pooled": pooled, "other": other})["notes"]
    assert "settings differ: sigma 0.1 and 0.5" in notes
    own = [flow(row(v), **with_settings(kind("B", bin_range="run"))) for v in (1, 2)]
    assert len(pool_flows(own)) == 1


# --- seeds beside seeds --------------------------------------------------------------------------


def test_the_error_between_pooled_flows_contains_the_spread(rng):
    one, other = (pool_flows(seeds(rng, n)) for n in (4, 6))
    found = compare_flows({"one": one, "other": other}).iloc[0]
    variances = np.array([one["spread"].iloc[0] ** 2 / 4, other["spread"].iloc[0] ** 2 / 6])
    assert found["difference_stderr"] == pytest.approx(np.sqrt(variances.sum()))
    assert found["difference_stderr"] > 5 * np.hypot(0.01, 0.01) / 2


@pytest.mark.parametrize(
    ("n_one", "n_other", "larger"),
    [(2, 2, 5), (3, 3, 5), (5, 5, 2), (10, 10, 1), (2, 10, 1), (2, 10, 2)],
)
def test_of_equal_settings_at_most_one_in_twenty_is_beyond_error(rng, n_one, n_other, larger):
    """Whatever the spread of the one pool is to that of the other; 5 % and two binomial errors."""
    one = pool_flows(seeds(rng, n_one, spread=0.3 * larger, n_rows=1000))
    other = pool_flows(seeds(rng, n_other, n_rows=1000))
    found = compare_flows({"one": one, "other": other})
    beyond = found["change"].isin(["beyond error", "beyond brackets"]).mean()
    assert beyond <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 1000)
    assert set(found["about"]) == {"the seeds"}


@pytest.mark.parametrize("z", [1.0, 1.96])
def test_the_bound_is_reached_where_the_smaller_pool_spreads_most(rng, z):
    one = pool_flows(seeds(rng, 3, spread=30.0, n_rows=1500))
    other = pool_flows(seeds(rng, 5, n_rows=1500))
    found = compare_flows({"one": one, "other": other}, z=z)
    beyond = found["change"].isin(["beyond error", "beyond brackets"]).mean()
    expected = 2 * norm.sf(z)
    assert beyond == pytest.approx(expected, abs=2 * np.sqrt(expected / 1500))


def test_the_quantile_is_that_of_the_smaller_pool(rng):
    """Two pooled flows on either side of the threshold of Student's t."""
    one, other = rng.normal(0, 1, 4), rng.normal(0, 0.5, 3)
    shifts = np.linspace(0, 6, 60)
    flows = {
        "one": pool_flows([flow(*(row(v, epoch=k) for k in range(60))) for v in one]),
        "other": pool_flows(
            [flow(*(row(v + shift, epoch=k) for k, shift in enumerate(shifts))) for v in other]
        ),
    }
    error = np.sqrt(one.var(ddof=1) / 4 + other.var(ddof=1) / 3)
    allowed = student.isf(norm.sf(1.96), 2) * error
    apart = np.abs(other.mean() + shifts - one.mean()) > allowed
    expected = np.where(apart, "beyond error", "within error")
    assert len(set(expected)) == 2
    assert compare_flows(flows)["change"].tolist() == expected.tolist()


# --- seeds beside their partners -----------------------------------------------------------------


def partners(rng, n, difference, *, own=0.02, shared=0.1, n_rows=1):
    """Seeds of two settings whose pairs share most of what they differ by from other pairs."""
    of_pair = 2 + shared * rng.standard_normal((n, n_rows))
    one, other = of_pair + own * rng.standard_normal((2, n, n_rows))
    tables = []
    for values in (one, other + difference):
        flows = [pd.DataFrame(row(v, 0.002, epoch=range(n_rows))) for v in values]
        for seed, table in enumerate(flows):
            table.attrs = {"seed": seed + 7, "run settings": {"fold": seed % n, "path": None}}
        tables.append(flows)
    return tables


def share_beyond(found):
    return found["change"].isin(["beyond error", "beyond brackets"]).mean()


def test_pairs_find_what_their_spread_hides(rng):
    """Unpaired the error is .065, paired .0126: a difference of .06."""
    one, other = map(pool_flows, partners(rng, 5, 0.06, own=0.02, n_rows=500))
    flows = {"one": one, "other": other}
    assert share_beyond(compare_flows(flows, pair_by="seed")) > 0.85
    assert share_beyond(compare_flows(flows)) < 0.05
    one, other = map(pool_flows, partners(rng, 5, 0.0, own=0.02, n_rows=1000))
    beyond = share_beyond(compare_flows({"one": one, "other": other}, pair_by="seed"))
    assert beyond == pytest.approx(0.05, abs=2 * np.sqrt(0.05 * 0.95 / 1000))


def test_a_paired_difference_is_that_of_numpy(rng, tmp_path):
    """In whatever order the seeds were pooled, and out of files."""
    from scipy.stats import ttest_rel

    one, other = partners(rng, 4, 0.05, n_rows=3)
    values = [np.array([table["value"] for table in tables]) for tables in (one, other)]
    differences = values[1] - values[0]
    shuffled = [other[k] for k in (2, 0, 3, 1)]
    write_table(tmp_path / "other.parquet", pool_flows(shuffled))
    flows = {"one": pool_flows(one), "other": tmp_path / "other.parquet"}
    for by in ("seed", "fold"):
        found = compare_flows(flows, pair_by=by)
        np.testing.assert_allclose(found["difference"], differences.mean(axis=0))
        np.testing.assert_allclose(found["difference_stderr"], differences.std(0, ddof=1) / 2)
        p = ttest_rel(values[1], values[0]).pvalue
        assert (found["change"] != "within error").tolist() == (p < 2 * norm.sf(1.96)).tolist()
        assert found.attrs["pair_by"] == by
    mixed = compare_flows(flows, pair_by="order")["difference_stderr"]
    assert (mixed > compare_flows(flows, pair_by="seed")["difference_stderr"]).all()


def test_of_one_pair_no_error_is_known_and_missing_values_drop_their_pair():
    one = [flow(row(v), row(v, epoch=10)) for v in (1.0, 2.0, 4.0)]
    other = [flow(row(v), row(np.nan, epoch=10)) for v in (1.5, 2.6)] + [flow(row(4.7))]
    found = compare_flows({"one": pool_flows(one), "other": pool_flows(other)}, pair_by="order")
    assert found["difference"][0] == pytest.approx(0.6)
    assert found["difference_stderr"][0] == pytest.approx(0.1 / np.sqrt(3))
    assert np.isnan(found["difference"][1])
    pools = [pool_flows(tables[:1]) for tables in (one, other)]
    alone = compare_flows(dict(zip("ab", pools, strict=True)), pair_by="order").iloc[0]
    assert np.isnan(alone["difference_stderr"])
    assert (alone["change"], alone["about"]) == ("", "")
    assert "error unknown" in alone["notes"]


def test_seeds_without_partners_are_refused(rng):
    one, other = partners(rng, 3, 0.0)
    pools = {"one": pool_flows(one), "other": pool_flows(other)}
    for flows, by, message in [
        ({"one": pools["one"], "other": one[0]}, "order", "'other' is no pooled flow.*pool_flows"),
        ({"one": pools["one"], "other": pool_flows(other[:2])}, "seed",
         "paired by 'seed': 9 of 'one' has no partner in 'other', which has 7, 8"),
        ({"one": pools["one"], "other": pool_flows(other[1:])}, "order", "2 of 'one' has no partn"),
        (pools, "data", "not every seed of 'one' has it on record; there are order, fold, seed, n"),
        ({"one": pools["one"], "other": pool_flows([other[0], other[1], other[1].copy()])}, "seed",
         "'other' has 8 twice"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            compare_flows(flows, pair_by=by)
    with pytest.raises(ValueError, match="2 of 'other' has no partner in 'one'"):
        compare_flows({"one": pool_flows(one[:2]), "other": pools["other"]}, pair_by="order")


def test_a_single_seed_is_one_more_of_the_others(rng):
    """The spread it must have is theirs: t with their degrees of freedom."""
    several, single = seeds(rng, 5, n_rows=3000), seeds(rng, 1, n_rows=3000)[0]
    pooled = pool_flows(several)
    for flows in ({"pooled": pooled, "new": single}, {"new": single, "pooled": pooled}):
        found = compare_flows(flows)
        assert found["notes"].str.contains("new: one seed, taken to spread like pooled").all()
        spread = pooled["spread"].to_numpy()
        np.testing.assert_allclose(
            found["difference_stderr"], np.sqrt(spread**2 * (1 + 1 / 5) + 0.01**2), rtol=1e-9
        )
        beyond = (
            np.abs(found["difference"]) > student.isf(norm.sf(1.96), 4) * found["difference_stderr"]
        )
        np.testing.assert_array_equal(found["change"] != "within error", beyond)
        assert beyond.mean() == pytest.approx(0.05, abs=0.015)


def test_single_seeds_beside_each_other_are_compared_as_the_runs_they_are():
    one, other = row(1.0, 0.01, 0.98, 1.02), row(1.1, 0.01, 1.08, 1.12)
    plain = compare_flows({"one": flow(one), "other": flow(other)})
    pooled = compare_flows({"one": pool_flows([flow(one)]), "other": pool_flows([flow(other)])})
    columns = ["difference", "difference_stderr", "difference_lower", "difference_upper", "change"]
    pd.testing.assert_frame_equal(plain[columns], pooled[columns])
    assert plain["change"].tolist() == ["beyond brackets"]


def test_two_seeds_that_lie_apart_by_chance_are_within_error():
    """Of two and two seeds every third order is a complete separation."""
    one = pool_flows([flow(row(v, 0.001, v - 0.01, v + 0.01)) for v in (1.0, 1.3)])
    other = pool_flows([flow(row(v, 0.001, v - 0.01, v + 0.01)) for v in (1.35, 1.7)])
    found = compare_flows({"one": one, "other": other}).iloc[0]
    assert found["difference_lower"] > 0
    assert found["change"] == "within error"


@pytest.mark.parametrize(
    ("bias", "change"), [((0.0, 0.0), "beyond error"), ((0.3, 0.3), "within brackets")]
)
def test_a_bias_that_all_seeds_share_adds_in_full(rng, bias, change):
    """More seeds narrow the error of the mean, but not the bias of few replicas."""
    one = pool_flows(seeds(rng, 40, spread=0.2, mean=1.0, bias=bias))
    other = pool_flows(seeds(rng, 40, spread=0.2, mean=1.4, bias=bias))
    found = compare_flows({"one": one, "other": other}).iloc[0]
    assert found["change"] == change
    assert abs(found["difference"]) > 5 * found["difference_stderr"]


def test_seeds_that_are_all_above_all_others_are_beyond_brackets(rng):
    one, other = (pool_flows(seeds(rng, 6, mean=m, spread=0.05)) for m in (1.0, 2.0))
    assert compare_flows({"one": one, "other": other})["change"].tolist() == ["beyond brackets"]
