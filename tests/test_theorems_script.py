"""Theorems 1 and 2, end to end: the script, its files, what it concludes, its faults."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import scripts
import smoke_runs
import theorem_1
import theorem_2

script = scripts.load("Figure_2_Cone_Effect/theorems.py")
CONTRACT = "theorem cosine norm_ratio norm d_out layers in_condition n_trials estimate ci_low ci_high predicted"


def test_the_record_and_its_table_are_complete(smoke):
    table, about = smoke.tables[""], smoke.about
    assert list(table.columns) == [*CONTRACT.split(), "case"]
    first, second = table.query("theorem == 1"), table.query("theorem == 2")
    assert len(first) == 7 * 4 * 4 * 7 and sorted(first["d_out"].unique()) == [8 << k for k in range(7)]
    assert len(second) == 4 * 11 + 2 * 4 and second["n_trials"].eq(8).all()
    assert not table.drop(columns=["norm", "norm_ratio"]).isna().any().any()
    assert len(about["data"]) == 2 and about["data"][1]["seeds"] == list(range(8))
    assert [row["key"] for row in about["comparisons"]] == ["theorem_1.bounded", *["theorem_2.share"] * 3]
    assert all(row["agrees"] for row in about["comparisons"] if row["agrees"] is not None)


def test_theorem_1_is_counted_with_its_intervals(smoke):
    first = smoke.tables[""].query("theorem == 1")
    assert (first["n_trials"] == 200 * 512 // first["d_out"]).all() and first["layers"].eq(1).all()
    assert first["estimate"].between(first["ci_low"] - 1e-8, first["ci_high"] + 1e-8).all()
    assert (first["in_condition"] == (first["cosine"] < 2 / (first["norm_ratio"] + 1 / first["norm_ratio"]))).all()
    assert first.query("in_condition")["predicted"].eq(1).all()
    assert set(first.query("not in_condition")["predicted"]) == {0, 1}
    assert first.query("d_out == 512 and cosine <= 0.25")["estimate"].eq(1).all()


def test_theorem_2_stands_beside_its_bound(smoke):
    second = smoke.tables[""].query("theorem == 2")
    holds = {**dict.fromkeys(theorem_2.ONE_LAYER, False), theorem_2.AS_FIGURE: False}
    holds |= {"pre-activation, bias": True, theorem_2.ON_SPHERE: True}
    assert second.groupby("case")["in_condition"].first().to_dict() == holds
    held = second.query("in_condition")
    assert (held["estimate"] >= held["cosine"]).all()
    assert held["predicted"].to_numpy() == pytest.approx((1 + held["cosine"]) / 2, abs=1e-6)
    assert (second["ci_low"] <= second["ci_high"]).all()
    below = second[(second["case"] == "after ReLU, no bias") & (second["cosine"] == 0.5)].iloc[0]
    assert below["predicted"] == pytest.approx(0.4264, abs=1e-4) and below["estimate"] < 0.5
    assert second[second["case"] == theorem_2.AS_FIGURE]["norm"].isna().all()


def bounded(failures, norm):
    """The verdict on one cell with these failure rates at d_out 8, 16, 32 and 64."""
    table = pd.DataFrame({"d_out": (8, 16, 32, 64), "estimate": 1 - np.array(failures)})
    (row,) = theorem_1.comparisons(table.assign(cosine=0.5, norm_ratio=1.0, norm=norm, in_condition=True))
    return row


@pytest.mark.parametrize(
    "failures, norm, agrees, largest",
    [
        *(([0.4, 0.1, 0.01, 0], 1.0, True, 3.2), ([0.1, 0.1, 0.01, 0], 1.0, True, 1.6)),
        *(([0.1] * 4, 1.0, False, 6.4), ([0.1] * 4, 4.0, True, 6.4)),
    ],
)
def test_a_failure_rate_that_keeps_up_with_the_width_past_its_peak_is_not_bounded(failures, norm, agrees, largest):
    """Long vectors: limit 0.18 spreads above the cosine, so the peak is at d_out (1.19 / 0.18)^2 = 42."""
    row = bounded(failures, norm)
    assert row.published == "bounded" and row.agrees is agrees and row.ours == pytest.approx(largest)


@pytest.mark.parametrize("ratio, count", [(1.0, 4), (8.0, 3)])
def test_a_grid_all_inside_or_all_outside_the_condition(tmp_path, undrawn, ratio, count):
    small = {"cosines": (0.5,), "norms": (1.0,), "widest": 64, "items": 4, "units": 16, "seeds": 4, "layers": 2}
    settings = replace(script.PRESETS["smoke"], **small, norm_ratios=(ratio,), output=tmp_path)
    assert len(script.run(settings).about["comparisons"]) == count


test_a_users_error_is_one_line_exit_code_2_and_no_files = smoke_runs.refuses(
    script,
    (["--widest", "100"], "the widest d_out must be a power of two"),
    (["--trials", "0"], "--trials must be"),
    (["--seeds", "2"], "--seeds must be"),
    (["--items", "1"], "--items must be"),
    (["--layers", "0"], "--layers must be"),
)
