"""Theorems 1 and 2, end to end: the script, its files, what it concludes, its faults."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import scripts
import theorem_1
import theorem_2
from util import records

script = scripts.load("Figure_2_Cone_Effect/theorems.py")
CONTRACT = [
    *("theorem", "cosine", "norm_ratio", "norm", "d_out", "layers", "in_condition", "n_trials", "estimate"),
    *("ci_low", "ci_high", "predicted"),
]


KEYS = [
    "theorem_1.bounded",
    "theorem_1.outside",
    "theorem_1.slope",
    *["theorem_2.share"] * 3,
    "theorem_2.share_at_half",
]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The smoke preset, run once."""
    folder = tmp_path_factory.mktemp("theorems") / "out"
    script.run(replace(script.PRESETS["smoke"], output=folder))
    return folder


def tiny(output, **changes):
    small = {"cosines": (0.5,), "norm_ratios": (1.0, 4.0), "norms": (1.0,), "widest": 64, "items": 4, "width": 16}
    return replace(script.PRESETS["smoke"], **{**small, "seeds": 4, "layers": 2, "output": output, **changes})


def test_the_script_writes_tables_record_and_pictures(smoke):
    assert {path.name for path in smoke.iterdir()} == {
        f"theorems{end}" for end in (".csv", ".json", ".png", ".pdf", "_convergence.csv")
    }
    table = pd.read_csv(smoke / "theorems.csv")
    assert list(table.columns) == [*CONTRACT, "case"]
    first, second = table.query("theorem == 1"), table.query("theorem == 2")
    assert len(first) == 7 * 4 * 4 * 7 and sorted(first["d_out"].unique()) == [8 << k for k in range(7)]
    assert len(second) == 4 * 11 + 2 * 4 and second["n_trials"].eq(8).all()
    assert not table.drop(columns=["norm", "norm_ratio"]).isna().any().any()


def test_theorem_1_is_counted_with_its_intervals(smoke):
    first = pd.read_csv(smoke / "theorems.csv").query("theorem == 1")
    assert (first["n_trials"] == 200 * 512 // first["d_out"]).all() and first["layers"].eq(1).all()
    assert first["estimate"].between(first["ci_low"] - 1e-8, first["ci_high"] + 1e-8).all()
    assert (first["in_condition"] == (first["cosine"] < 2 / (first["norm_ratio"] + 1 / first["norm_ratio"]))).all()
    assert first.query("in_condition")["predicted"].eq(1).all()
    assert set(first.query("not in_condition")["predicted"]) == {0, 1}
    last = first.query("d_out == 512 and cosine <= 0.25")
    assert last["estimate"].eq(1).all()


def test_theorem_2_stands_beside_its_bound(smoke):
    second = pd.read_csv(smoke / "theorems.csv").query("theorem == 2")
    assert set(second["case"]) == {*theorem_2.ONE_LAYER, theorem_2.ON_SPHERE, theorem_2.AS_FIGURE}
    assert second.groupby("case")["in_condition"].first().to_dict() == {
        "pre-activation, bias": True,
        "pre-activation, no bias": False,
        "after ReLU, bias": False,
        "after ReLU, no bias": False,
        theorem_2.ON_SPHERE: True,
        theorem_2.AS_FIGURE: False,
    }
    held = second.query("in_condition")
    assert (held["estimate"] >= held["cosine"]).all()
    assert held["predicted"].to_numpy() == pytest.approx((1 + held["cosine"]) / 2, abs=1e-6)
    assert (second["ci_low"] <= second["ci_high"]).all()
    below = second[(second["case"] == "after ReLU, no bias") & (second["cosine"] == 0.5)].iloc[0]
    assert below["predicted"] == pytest.approx(0.4264, abs=1e-4) and below["estimate"] < 0.5
    assert second[second["case"] == theorem_2.AS_FIGURE]["norm"].isna().all()


def test_the_convergence_table_holds_the_means(smoke):
    record = records.load(smoke, "theorems")
    table = record.tables["convergence"]
    rho = theorem_1.preactivation_correlation(table["cosine"], table["norm_ratio"], table["norm"])
    assert table["correlation"].to_numpy() == pytest.approx(rho, abs=1e-8)
    assert table["mean_cosine"].to_numpy() == pytest.approx(table["limit"] + table["excess"], abs=1e-8)
    last = table.query("d_out == 512")
    assert (np.abs(last["mean_cosine"] - theorem_1.arc_cosine_kernel(rho[last.index])) < 2e-3).all()


def test_the_record_is_complete(smoke):
    about = records.load(smoke, "theorems").about
    assert len(about["data"]) == 2 and about["data"][1]["seeds"] == list(range(8))
    assert [row["key"] for row in about["comparisons"]] == KEYS
    assert all(row["agrees"] for row in about["comparisons"] if row["agrees"] is not None)
    assert about["results"]["slope"][0] == pytest.approx(-1, abs=0.2) and set(about["captions"]) == {"theorems"}


def cells(failures, d_out=(8, 16, 32, 64), cosine=0.5, limit=0.8, in_condition=True):
    """The two tables for one cell with these failure rates."""
    table = pd.DataFrame({"d_out": d_out, "estimate": 1 - np.array(failures, float)})
    table = table.assign(cosine=cosine, norm_ratio=1.0, norm=1.0, in_condition=in_condition)
    return table.assign(predicted=int(limit > cosine)), table.assign(limit=limit, spread=0.5)


@pytest.mark.parametrize(
    "failures, agrees, largest",
    [([0.4, 0.1, 0.01, 0], True, 3.2), ([0.1, 0.1, 0.01, 0], True, 1.6), ([0.1, 0.1, 0.1, 0.1], False, 6.4)],
)
def test_a_failure_rate_that_keeps_up_with_the_width_is_not_bounded(failures, agrees, largest):
    row = theorem_1.comparisons(*cells(failures), slope=None)[0]
    assert row.published == "bounded" and row.agrees is agrees and row.ours == pytest.approx(largest)


def test_a_cell_still_near_its_peak_is_not_held_against_the_bound():
    """Limit 0.01 above the cosine, spread 0.5: the peak is at d_out (1.19 x 0.5 / 0.01)^2 = 3540."""
    assert theorem_1.comparisons(*cells([0.1] * 4, limit=0.51), slope=None)[0].agrees


@pytest.mark.parametrize("last, limit, agrees", [(0.1, 0.8, True), (0.9, 0.8, False), (0.9, 0.2, True)])
def test_outside_the_condition_the_majority_is_held_against_the_closed_form(last, limit, agrees):
    row = theorem_1.comparisons(*cells([0.5, 0.5, 0.5, last], limit=limit, in_condition=False), slope=None)[0]
    assert row.agrees is agrees and row.ours == f"{int(agrees)} of 1"


@pytest.mark.parametrize("slope, agrees", [((-1.01, 0.02), True), ((-0.5, 0.02), False)])
def test_another_rate_is_told_from_one_over_the_width(slope, agrees):
    assert theorem_1.comparisons(*cells([0, 0, 0, 0]), slope=slope)[-1].agrees is agrees


def test_a_share_below_the_bound_is_found(smoke):
    table = records.load(smoke, "theorems").tables[""].query("theorem == 2")
    lowered = table.assign(estimate=table["estimate"].where(table["case"] != theorem_2.ON_SPHERE, -0.5))
    found = {row.on: row.agrees for row in theorem_2.comparisons(lowered)}
    assert found["pre-activation, bias"] is True and found[theorem_2.ON_SPHERE] is False
    assert found[theorem_2.AS_FIGURE] is None


def test_the_same_seed_gives_the_same_tables_and_another_other_numbers(tmp_path):
    one, two, three = (script.measure(tiny(tmp_path, seed=seed), "cpu").tables for seed in (0, 0, 5))
    for name in one:
        pd.testing.assert_frame_equal(one[name], two[name], check_exact=True)
    assert (one["convergence"]["excess"] != three["convergence"]["excess"]).all()
    by_depth = one[""]["layers"] == 2
    assert (one[""]["estimate"] != three[""]["estimate"])[by_depth].all()


@pytest.mark.parametrize("changes", [{"norm_ratios": (1.0,)}, {"norm_ratios": (8.0,), "norms": (0.25, 1.0)}])
def test_a_grid_all_inside_or_all_outside_the_condition(tmp_path, monkeypatch, changes):
    monkeypatch.setattr("util.figures.save", lambda figure, *_: plt.close(figure))
    script.run(tiny(tmp_path, **changes))
    assert len(records.load(tmp_path, "theorems").about["comparisons"]) >= 5


@pytest.mark.parametrize(
    "words, said",
    [
        (["--cosines", "1.5"], "cosine must be from -1 to 1"),
        (["--norm-ratios", "0"], "norm ratio must be"),
        (["--widest", "100"], "the widest d_out must be a power of two"),
        (["--trials", "0"], "--trials must be"),
        (["--seeds", "2"], "--seeds must be"),
        (["--items", "1"], "--items must be"),
        (["--layers", "0"], "--layers must be"),
        (["--seed", "-1"], "--seed must be"),
    ],
)
def test_a_users_error_is_one_line_exit_code_2_and_no_files(tmp_path, capsys, words, said):
    words = ["--preset", "smoke", "--output", str(tmp_path / "out"), *words]
    with pytest.raises(SystemExit) as ended:
        script.cli.run(lambda: script.run(script.cli.parse(script.PRESETS, "", words)))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert ended.value.code == 2 and len(lines) == 1 and said in lines[0]
    assert not (tmp_path / "out").exists()


def test_the_presets_differ_in_name_only():
    assert replace(script.PRESETS["paper"], preset="embedded") == script.PRESETS["embedded"]
