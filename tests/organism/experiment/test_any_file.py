"""Any file: figures as scipy and statsmodels have them, and a sentence or a labeled part for whatever is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from organism.errors import DesignError, InputError
from organism.experiment.any_file import analyze_file
from organism.experiment.file_document import CORE, document
from organism.experiment.file_guess import guess_question
from organism.experiment.file_question import FileQuestion
from organism.store.analysis_files import open_analysis_file
from organism.wire import plain

Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Writes a table (or bytes) to a file, asks, and returns the document as a reader of the JSON has it."""

    def answer(table: pd.DataFrame | bytes, name: str = "file.parquet", **asked: Any) -> dict[str, Any]:
        path = tmp_path / name
        if isinstance(table, bytes):
            path.write_bytes(table)
        elif name.endswith(".parquet"):
            table.to_parquet(path)
        elif name.endswith(".csv"):
            table.to_csv(path, index=False)
        else:
            table.to_json(path, orient="records", lines=True)
        question = FileQuestion(**{"unit": "user", "control": "A", "metrics": ("x",), **asked})
        return json.loads(json.dumps(plain(document(analyze_file(path, question))), allow_nan=False))

    return answer


def users(n: int = 300, variants: str = "AB", seed: int = 1) -> pd.DataFrame:
    """One row a user: an outcome, what it was before, a flag, two lands."""
    draw = np.random.default_rng(seed)
    before = draw.normal(5, 1, n)
    return pd.DataFrame(
        {
            "user": [f"u{number}" for number in range(n)],
            "variant": [variants[number % len(variants)] for number in range(n)],
            "x": before + draw.normal(0, 0.5, n),
            "before": before,
            "flag": draw.random(n) < 0.4,
            "land": np.where(np.arange(n) % 4 < 2, "north", "south"),
        }
    )


def requests(n_users: int = 120, seed: int = 2) -> pd.DataFrame:
    """Rows of requests: users differ in how many they have and in how they do."""
    draw = np.random.default_rng(seed)
    level = draw.normal(0, 1, n_users)
    user = np.repeat(np.arange(n_users), draw.integers(1, 12, n_users))
    shown = draw.poisson(50, len(user)) + 1
    return pd.DataFrame(
        {
            "user": user,
            "variant": np.where(user % 2, "B", "A"),
            "x": 3 + level[user] + draw.normal(0, 1, len(user)),
            "kept": np.minimum(shown, draw.poisson(25 + 3 * level[user].clip(-3, 3) + user % 2)),
            "shown": shown,
            "before": (level + draw.normal(0, 0.3, n_users))[user],
        }
    )


def by_cluster(table: pd.DataFrame, outcome: str = "x") -> Any:
    """Cluster-robust OLS of the outcome on the arm."""
    import statsmodels.formula.api as smf

    table = table.assign(arm=(table.variant == "B").astype(float))
    return smf.ols(f"{outcome} ~ arm", table).fit(cov_type="cluster", cov_kwds={"groups": table.user})


@pytest.mark.parametrize("name", ["file.parquet", "file.csv", "file.jsonl", "a'b [1]*.csv"])
def test_one_row_a_user_is_welchs_test_whatever_the_format(ask: Ask, name: str) -> None:
    table = users()
    said = ask(table, name)
    a, b = (table.x[table.variant == variant] for variant in "AB")
    wanted = stats.ttest_ind(b, a, equal_var=False)
    (found,) = said["metrics"]
    assert tuple(found)[: len(CORE)] == CORE
    assert found["kind"] == "mean"
    assert (found["n_control"], found["n_treatment"]) == (150, 150)
    assert (found["mean_control"], found["mean_treatment"]) == pytest.approx((a.mean(), b.mean()))
    assert found["effect"] == pytest.approx(b.mean() - a.mean())
    assert found["p_value"] == pytest.approx(wanted.pvalue)
    assert found["ci"] == pytest.approx(list(wanted.confidence_interval()))
    assert found["relative"] == pytest.approx((b.mean() - a.mean()) / a.mean())
    assert said["srm"]["p_value"] == 1.0


def test_rows_of_requests_are_clustered_by_their_unit(ask: Ask) -> None:
    """statsmodels' cluster-robust OLS differs by its small-sample factor only, which is known."""
    table = requests()
    (found,) = ask(table)["metrics"]
    fit = by_cluster(table)
    n, clusters = len(table), table.user.nunique()
    factor = np.sqrt(clusters / (clusters - 1) * (n - 1) / (n - 2))
    per_arm = np.sqrt(clusters / 2 / (clusters / 2 - 1))
    width = (found["ci"][1] - found["ci"][0]) / 2
    degrees_at_least, degrees_at_most = clusters / 2 - 1, clusters - 2
    assert found["kind"] == "ratio"
    assert found["effect"] == pytest.approx(fit.params["arm"])
    error = fit.bse["arm"] / factor * per_arm
    assert stats.t.ppf(0.975, degrees_at_most) * error <= width * (1 + 1e-9)
    assert width <= stats.t.ppf(0.975, degrees_at_least) * error * (1 + 1e-9)
    rows = [table.x[table.variant == variant] for variant in "AB"]
    naive = stats.ttest_ind(rows[1], rows[0], equal_var=False)
    assert width > 1.5 * (naive.confidence_interval().high - naive.confidence_interval().low) / 2


def test_without_a_unit_each_row_is_one_and_that_is_said(ask: Ask) -> None:
    table = requests()
    said = ask(table, unit=None)
    (found,) = said["metrics"]
    rows = [table.x[table.variant == variant] for variant in "AB"]
    assert found["p_value"] == pytest.approx(stats.ttest_ind(rows[1], rows[0], equal_var=False).pvalue)
    assert found["n_control"] == len(rows[0])
    assert any("Each row counts as a unit" in warning for warning in said["warnings"])


def test_a_ratio_of_sums_is_the_delta_method_over_units(ask: Ask) -> None:
    table = requests()
    (found,) = ask(table, metrics=(), ratios=("kept/shown",))["metrics"]
    sums = table.groupby(["variant", "user"])[["kept", "shown"]].sum()
    values, variances = [], []
    for variant in "AB":
        own = sums.loc[variant]
        ratio = own.kept.sum() / own.shown.sum()
        residual = own.kept - ratio * own.shown
        values.append(ratio)
        variances.append(residual.var(ddof=1) / len(own) / own.shown.mean() ** 2)
    assert found["effect"] == pytest.approx(values[1] - values[0])
    degrees = sum(variances) ** 2 / sum(variance**2 / 59 for variance in variances)
    t = (values[1] - values[0]) / np.sqrt(sum(variances))
    assert found["p_value"] == pytest.approx(2 * stats.t.sf(abs(t), degrees))
    assert found["mean_control"] == pytest.approx(values[0])


def test_a_covariate_takes_noise_out_as_a_regression_does(ask: Ask) -> None:
    import statsmodels.formula.api as smf

    table = users()
    (found,) = ask(table, covariates=("before",))["metrics"]
    (plain_one,) = ask(table)["metrics"]
    fit = smf.ols("x ~ arm + before", table.assign(arm=(table.variant == "B").astype(float))).fit(cov_type="HC1")
    assert found["effect"] == pytest.approx(fit.params["arm"], abs=0.01)
    width, before = (one["ci"][1] - one["ci"][0] for one in (found, plain_one))
    assert width == pytest.approx(2 * 1.968 * fit.bse["arm"], rel=0.02)
    assert found["variance_reduction"] == pytest.approx(1 - (width / before) ** 2, abs=0.01)
    assert "before" in found["method"]
    assert ask(table, covariates=("x=before",))["metrics"][0]["ci"] == pytest.approx(found["ci"])


def test_a_unit_without_the_covariate_stays_with_the_mean_of_all(ask: Ask) -> None:
    table = users()
    table.loc[:40, "before"] = None
    said = ask(table, covariates=("before",))
    filled = table.assign(before=table.before.fillna(table.before.mean()))
    assert said["metrics"][0]["n_control"] == 150
    assert said["metrics"][0]["ci"] == pytest.approx(ask(filled, covariates=("before",))["metrics"][0]["ci"])
    assert any(warning.startswith("41 units have no 'before'") for warning in said["warnings"])


def test_a_proportion_counts_truth_values_and_refuses_others(ask: Ask) -> None:
    table = users()
    for name in ("file.parquet", "file.csv"):
        (found,) = ask(table, name, metrics=(), proportions=("flag",))["metrics"]
        a, b = (table.flag[table.variant == variant].mean() for variant in "AB")
        assert found["kind"] == "proportion"
        assert found["effect"] == pytest.approx(b - a)
        assert found["ci"][0] < found["effect"] < found["ci"][1]
    with pytest.raises(InputError, match="neither 0 nor 1"):
        ask(table, metrics=(), proportions=("x",))


def test_a_quantile_is_of_the_rows_and_clustered(ask: Ask) -> None:
    table = requests(400)
    (found,) = ask(table, metrics=(), quantiles=("x:p75",))["metrics"]
    a, b = (np.quantile(table.x[table.variant == variant], 0.75) for variant in "AB")
    assert found["metric"] == "x:0.75"
    (less,) = ask(table, metrics=(), quantiles=("x:p75",), lower_is_better=("x:p75",))["metrics"]
    assert (found["better"], less["better"]) == ("higher", "lower")
    assert found["effect"] == pytest.approx(b - a)
    assert found["n_control"] == 200
    alone = ask(table, metrics=(), quantiles=("x:0.75",), unit=None)["metrics"][0]
    assert found["ci"][1] - found["ci"][0] > 1.3 * (alone["ci"][1] - alone["ci"][0])


def test_a_sequence_is_wider_and_keeps_the_fixed_interval_beside_it(ask: Ask) -> None:
    table = users()
    (fixed,) = ask(table)["metrics"]
    (found,) = ask(table, sequential=True)["metrics"]
    assert found["fixed_ci"] == pytest.approx(fixed["ci"])
    assert found["ci"][0] < fixed["ci"][0] < fixed["ci"][1] < found["ci"][1]
    assert found["p_value"] >= fixed["p_value"]
    assert "confidence sequence" in found["method"]


def test_segments_are_compared_within_and_corrected(ask: Ask) -> None:
    table = users()
    said = ask(table, segments=("land",))
    north = table[table.land == "north"]
    a, b = (north.x[north.variant == variant] for variant in "AB")
    found = {one["value"]: one for one in said["segments"]}
    assert set(found) == {"north", "south"}
    assert found["north"]["p_value"] == pytest.approx(stats.ttest_ind(b, a, equal_var=False).pvalue)
    assert found["north"]["p_adjusted"] >= found["north"]["p_value"]
    assert "Benjamini" in found["north"]["adjustment"]
    assert said["heterogeneity"][0]["n_values"] == 2


def test_a_cap_is_one_for_all_variants_and_is_stated(ask: Ask) -> None:
    table = users()
    table.loc[0, "x"] = 1e6
    said = ask(table, winsorize=0.99)
    cap = np.quantile(table.x, 0.99)
    capped = table.x.clip(upper=cap)
    (found,) = said["metrics"]
    assert found["capped_at"] == pytest.approx(cap)
    assert found["mean_control"] == pytest.approx(capped[table.variant == "A"].mean())
    assert any("all variants together" in warning for warning in said["warnings"])


def test_a_margin_asks_whether_it_is_surely_not_worse(ask: Ask) -> None:
    table = users()
    (found,) = ask(table, margins=("x=0.5",))["metrics"]
    a, b = (table.x[table.variant == variant] for variant in "AB")
    wanted = stats.ttest_ind(b + 0.5, a, equal_var=False, alternative="greater")
    assert found["non_inferiority"]["p_value"] == pytest.approx(wanted.pvalue)
    assert found["non_inferiority"]["bound"] == pytest.approx(wanted.confidence_interval().low - 0.5)
    assert found["non_inferiority"]["holds"] is bool(wanted.pvalue <= 0.05)
    assert found["p_adjusted"] is None
    lower = ask(table, margins=("x=0.5",), lower_is_better=("x",))["metrics"][0]["non_inferiority"]
    assert lower["bound"] > lower["margin"] or lower["holds"]
    always = ask(table, margins=("x=0.5",), sequential=True)["metrics"][0]["non_inferiority"]
    assert always["bound"] < found["non_inferiority"]["bound"]


def test_fifty_variants_are_each_compared_and_corrected(ask: Ask) -> None:
    table = users(2500).assign(variant=[f"v{number % 50:02d}" for number in range(2500)])
    found = ask(table, control="v00")["metrics"]
    assert len(found) == 49
    assert all(one["p_adjusted"] >= one["p_value"] for one in found)
    corrected = ask(table, control="v00", correction="by")["metrics"]
    wanted = stats.false_discovery_control([one["p_value"] for one in corrected], method="by")
    assert [one["p_adjusted"] for one in corrected] == pytest.approx(list(wanted))
    assert ask(table, control="v00", correction="none")["metrics"][0]["p_adjusted"] is None


def test_units_in_two_variants_are_left_out_counted_and_block(ask: Ask) -> None:
    table = users()
    twice = table.head(5).assign(variant=["B", "A", "B", "A", "B"], x=100.0)
    said = ask(pd.concat([table, twice]))
    assert said["srm"]["blocked"] is True
    assert said["n_units_in_two_variants"] == 5
    assert said["units_in_two_variants"] == ["u0", "u1", "u2", "u3", "u4"]
    assert said["sentence"].startswith("Blocked: 5 of 300 units")
    assert said["metrics"][0]["n_control"] + said["metrics"][0]["n_treatment"] == 295
    assert said["metrics"][0]["effect"] == pytest.approx(ask(table.iloc[5:])["metrics"][0]["effect"])
    few = users(4000)
    said = ask(pd.concat([few, few.head(4).assign(variant=["B", "A", "B", "A"])]))
    assert said["srm"]["blocked"] is False
    assert any(warning.startswith("4 of 4,000 units") for warning in said["warnings"])


def test_a_broken_split_blocks_and_planned_shares_mend_it(ask: Ask) -> None:
    table = users(400).assign(variant=["A"] * 100 + ["B"] * 300)
    said = ask(table)
    assert said["srm"]["blocked"] is True
    assert said["srm"]["p_value"] == pytest.approx(stats.chisquare([100, 300]).pvalue)
    assert said["sentence"].startswith("Blocked: Sample ratio mismatch")
    assert ask(table, shares=("A=0.25", "B=0.75"))["srm"] | {"counts": 0} == {
        "p_value": 1.0,
        "blocked": False,
        "blocked_because": [],
        "counts": 0,
        "shares": {"A": 0.25, "B": 0.75},
        "shares_given": True,
    }
    planned = ask(users(), shares=("A=1", "B=1", "C=1"))
    assert planned["srm"]["counts"]["C"] == 0
    assert planned["metrics"][1]["p_value"] is None
    assert "no unit of C" in planned["metrics"][1]["note"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": 3.0}, "the same for every unit"),
        ({"x": float("nan")}, "no unit of A has x"),
        ({"x": [float("nan"), 1.0] * 150}, "no unit of A has x"),
        ({"x": [2**62 + n for n in range(300)]}, "the same for every unit"),
        ({"x": 10.0**200}, "no unit of A has x"),
    ],
)
def test_what_cannot_be_said_is_null_with_a_note_and_never_p_1(ask: Ask, change: dict[str, Any], words: str) -> None:
    said = ask(users().assign(**change))
    (found,) = said["metrics"]
    assert (found["ci"], found["p_value"], found["p_adjusted"], found["relative_ci"]) == (None, None, None, None)
    assert words in found["note"]
    assert "cannot be compared" in said["sentence"]


@pytest.mark.parametrize("below", [-1.0, 0.0])
def test_denominators_that_sum_to_nothing_give_no_ratio(ask: Ask, below: float) -> None:
    (found,) = ask(users().assign(y=below), metrics=(), ratios=("x/y",))["metrics"]
    assert (found["effect"], found["ci"], found["p_value"]) == (None, None, None)
    assert "denominators" in found["note"]


def test_cells_that_are_no_finite_number_are_counted_and_left_out(ask: Ask) -> None:
    rows = ["user,variant,x"] + [f"u{n},{'AB'[n % 2]},{n % 7}" for n in range(60)]
    rows += ["u60,A,inf", "u61,B,-inf", "u62,A,abc", "u63,B,", "u64,A,NA", ",A,1", "u66,,1", "u67,B", "u1,B,1"]
    said = ask("\n".join(rows).encode(), "file.csv")
    text = "\n".join(said["warnings"])
    for words in (
        "2 rows have an infinite value in 'x'",
        "1 row has no number in 'x', but 'abc'",
        "1 row has no value in the unit column",
        "1 row has no value in the variant column",
        "1 row of the file could not be split",
    ):
        assert words in text
    assert said["metrics"][0]["n_control"] + said["metrics"][0]["n_treatment"] == 60
    assert said["n_duplicate_rows"] == 1


def test_ids_of_mixed_type_are_compared_as_text_and_said(ask: Ask) -> None:
    lines = [{"user": n if n % 2 else str(n // 2 * 2 + 1), "variant": "AB"[n // 2 % 2], "x": n % 5} for n in range(80)]
    said = ask("\n".join(json.dumps(line) for line in lines).encode(), "file.jsonl")
    assert said["n_units"] == 40
    assert any("mixed type: 40 rows with a number, 40 with words" in warning for warning in said["warnings"])


def test_odd_column_names_are_names_and_nothing_else(ask: Ask, tmp_path: Path) -> None:
    names = {
        "user": 'us"er; DROP TABLE file_rows; --',
        "variant": "väriant ☃",
        "x": "x' OR 1=1",
        "before": "y0",
        "land": "s0",
    }
    table = users()
    for file in ("file.parquet", "file.csv", "file.jsonl"):
        said = ask(
            table.rename(columns=names),
            file,
            unit=names["user"],
            variant=names["variant"],
            metrics=(names["x"],),
            covariates=(f"{names['x']}=y0",),
            segments=("s0",),
        )
        assert said["metrics"][0]["ci"] == pytest.approx(ask(table, covariates=("before",))["metrics"][0]["ci"])
        assert said["metrics"][0]["metric"] == "x' OR 1=1"
        assert {one["segment"] for one in said["segments"]} == {"s0"}


def test_decimal_commas_are_named_as_what_is_to_be_mended(ask: Ask) -> None:
    with pytest.raises(InputError, match="for example '0,25'; export it with decimal points"):
        ask(users().assign(x="0,25"))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"control": "Z"}, "no variant 'Z'; the column 'variant' holds 'A', 'B'"),
        ({"control": None}, "holds the variants 'A', 'B'"),
        ({"metrics": ()}, "no metric is asked for"),
        ({"metrics": ("nope",)}, "its columns are 'user', 'variant', 'x'"),
        ({"metrics": ("x", "x")}, "more than once"),
        ({"metrics": ("land",)}, "holds no number, but for example"),
        ({"variant": "user"}, "more than 100 different values"),
        ({"ratios": ("x",)}, "two columns with a slash"),
        ({"quantiles": ("x:1.5",)}, "a column and a share"),
        ({"covariates": ("y=before",)}, "names no metric"),
        ({"margins": ("x=-1",)}, "a number above 0"),
        ({"margins": ("x",)}, "a metric, = and a value"),
        ({"shares": ("A=0.5",)}, "leave 'B' out"),
        ({"shares": ("A=x",)}, "a variant, = and a number"),
        ({"lower_is_better": ("y",)}, "no metric that is asked for"),
        ({"alpha": 1.5}, "alpha is 1.5"),
        ({"alpha": 1e-300, "sequential": True}, "alpha is 1e-300"),
        ({"tuning": 5e-324, "sequential": True}, "tuning is 4.94"),
        ({"shares": ("A=1e308", "B=1e308")}, "a variant, = and a number"),
        ({"winsorize": 0.2}, "winsorize is 0.2"),
        ({"tuning": 0.0}, "tuning is 0"),
        ({"correction": "luck"}, "give one of"),
    ],
)
def test_a_question_that_cannot_be_meant_is_one_sentence(ask: Ask, asked: dict[str, Any], words: str) -> None:
    with pytest.raises((InputError, DesignError)) as caught:
        ask(users(), **asked)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_variant_is_no_comparison_and_neither_are_crossers_alone(ask: Ask) -> None:
    with pytest.raises(InputError, match="one variant only, 'A'"):
        ask(users(variants="A"))
    with pytest.raises(InputError, match="every unit is seen in two"):
        ask(users().assign(user="all the same"))
    with pytest.raises(InputError, match="no row has both"):
        ask(users().assign(variant=pd.Series([None] * 300, dtype=object)))
    with pytest.raises(InputError, match="DATE"):
        ask(users().assign(x=pd.Timestamp("2026-11-21").date()))


def test_a_first_question_is_guessed_from_the_first_rows(ask: Ask, tmp_path: Path) -> None:
    table = users().rename(columns={"user": "user_id", "before": "pre_x"})
    table.to_csv(tmp_path / "file.csv", index=False)
    with open_analysis_file(tmp_path / "file.csv") as file:
        guessed = guess_question(file.sample())
    assert (guessed.unit, guessed.variant, guessed.control) == ("user_id", "variant", "A")
    assert (guessed.metrics, guessed.covariates) == (("x",), ("pre_x",))


def test_few_units_are_warned_of_once_and_by_one_threshold(ask: Ask) -> None:
    for n, wanted in ((80, ["A variant has 40 units; below 50 an interval is rough."]), (100, [])):
        assert [one for one in ask(users(n))["warnings"] if "below 50" in one] == wanted
    of_ratio = [one for one in ask(requests(80))["warnings"] if "below 50" in one]
    assert len(of_ratio) == 1
    assert "a ratio of sums is found to differ too often" in of_ratio[0]


def test_a_sequential_file_says_that_its_split_is_tested_once(ask: Ask) -> None:
    said = [any("tested for this one look" in one for one in ask(users(), sequential=on)["warnings"]) for on in (1, 0)]
    assert said == [True, False]


def test_the_headline_of_many_variants_is_of_the_adjusted_p(ask: Ask) -> None:
    table = users(1000, variants="ABCDEFGHIJ")
    table["x"] += np.where(table["variant"] == "B", 0.25, 0.0)
    alone = next(one for one in ask(table)["metrics"] if one["variant"] == "B")
    assert alone["p_value"] < 0.05 < alone["p_adjusted"]
    said = ask(table)["sentence"]
    assert "B and A cannot be told apart on x once all tests are counted (Holm over 9 tests" in said
    assert "an effect anywhere in that interval" not in said
    assert "after Holm" in said


def test_a_quantile_of_few_values_has_a_wide_interval_and_says_so(ask: Ask) -> None:
    draw = np.random.default_rng(5)
    rows = pd.DataFrame({"user": np.arange(2000) // 10, "x": draw.normal(100, 4, 2000)})
    rows["variant"] = np.where(rows["user"] % 2, "B", "A")
    (fine,) = ask(rows, metrics=(), quantiles=("x:0.5",))["metrics"]
    (coarse,) = ask(rows.assign(x=(rows["x"] * 2).round() / 2), metrics=(), quantiles=("x:0.5",))["metrics"]
    assert fine["note"] is None
    assert "of the rows of" in coarse["note"]
    assert "share one value near the quantile of x:0.5" in coarse["note"]
    assert coarse["ci"][1] - coarse["ci"][0] > 2 * (fine["ci"][1] - fine["ci"][0])
