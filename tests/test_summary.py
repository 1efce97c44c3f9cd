"""The table of every published number: none is forgotten, and each says what was measured or why nothing was."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from util import UserError, published, records
from util.reporting import comparisons as summary
from util.reporting import numbers, readings, readme, report, state
from util.reporting.paper_steps import STEPS
from util.reporting.state import Outcome

TABLE = pd.DataFrame({"layers": [0, 1], "published": [0.1, 0.2], "low": [0.05, 0.31], "high": [0.15, 0.33]})


@dataclass(frozen=True)
class Settings:
    preset: str = "paper"
    seed: int = 0


def depth(folder, *comparisons, preset="paper", left_out=(), name="depth", tables=None, **results):
    folder.mkdir(parents=True, exist_ok=True)
    return records.save(
        folder, name, tables or {"": TABLE, "published": TABLE}, settings=Settings(preset), seconds=1.0, device="cpu",
        dtype="", data=[], comparisons=comparisons, left_out=left_out, results=results,
    )  # fmt: skip


def layers(k, published_, ours=0.3207, agrees=True, on="10 seeds", **more):
    quantity = f"mean cosine, ReLU with biases, {k} layers, self-pairs included"
    return records.Comparison("Figure 2 (b)", quantity, published_, ours, on, agrees, **more)


def collected(*found, reasons=None):
    return summary.collect([("folder", record) for record in found], reasons)


def row(table, quantity):
    chosen = table[table["quantity"].str.startswith(quantity)]
    assert len(chosen) == 1
    return chosen.iloc[0]


PAPER = published.values()["figure_2b"]["relu_bias"]


def test_every_number_of_the_paper_is_a_result_or_said_to_be_none():
    keys = [key for number in numbers.all_numbers() for key in number.keys]
    assert len(set(keys)) == len(keys)
    known = [*keys, *numbers.GIVEN]
    found = [key for key, _ in numbers.leaves(published.values())]
    forgotten = [key for key in found if not any(key == at or key.startswith(f"{at}.") for at in known)]
    assert len(found) > 300 and forgotten == []
    unknown = [at for at in known if not any(key == at or key.startswith(f"{at}.") for key in found)]
    assert unknown and all("claims" in at or at.endswith("direction") for at in unknown)  # words
    assert all(numbers.GIVEN.values())


def test_every_number_is_measured_by_a_step_of_the_paper_and_stands_once():
    every = numbers.all_numbers()
    assert {number.step for number in every} <= {step.name for step in STEPS}
    assert len({(number.panel, number.quantity) for number in every}) == len(every)
    assert [number.value for number in every if number.step == "depth"] == list(PAPER.values())


def test_without_records_every_number_is_there_as_not_run_with_the_reason():
    table = collected(reasons={"training": "error: no GPU"})
    assert len(table) == len(numbers.all_numbers()) and set(table["agrees"]) == {summary.NOT_RUN}
    assert set(table["why"][table["script"] == "training"]) == {"error: no GPU"}
    assert set(table["why"][table["script"] == "depth"]) == {"no record of depth.py here"}


def test_a_number_that_was_measured_stands_beside_ours_with_its_interval(tmp_path):
    table = collected(depth(tmp_path, layers(1, PAPER["1"], note="why", low=0.3, high=0.35)))
    one = row(table, "mean cosine, ReLU with biases, 1 layers")
    assert (one["published"], one["ours"], one["low"], one["high"]) == (PAPER["1"], 0.3207, 0.3, 0.35)
    assert (one["agrees"], one["why"], one["measured_on"], one["preset"]) == ("yes", "why", "10 seeds", "paper")


def test_the_interval_of_an_older_record_is_read_from_its_table(tmp_path):
    one = row(collected(depth(tmp_path, layers(1, PAPER["1"]))), "mean cosine, ReLU with biases, 1 layers")
    assert (one["low"], one["high"]) == (0.31, 0.33)


@pytest.mark.parametrize("agrees, state_", [(True, "yes"), (False, "no"), (None, "not comparable")])
def test_whether_it_agrees_is_what_the_script_said(tmp_path, agrees, state_):
    table = collected(depth(tmp_path, layers(2, PAPER["2"], agrees=agrees)))
    assert row(table, "mean cosine, ReLU with biases, 2 layers")["agrees"] == state_


def test_a_number_measured_on_two_data_sets_has_two_rows(tmp_path):
    table = collected(depth(tmp_path, layers(3, PAPER["3"], on="a"), layers(3, PAPER["3"], on="b")))
    assert list(table[table["quantity"].str.contains(", 3 layers")]["measured_on"]) == ["a", "b"]


def test_another_published_value_is_not_taken_for_this_number(tmp_path):
    table = collected(depth(tmp_path, layers(3, PAPER["3"] + 1e-6)))
    assert list(table[table["quantity"].str.contains(", 3 layers")]["agrees"]) == ["not measured", "yes"]


@pytest.mark.parametrize(
    "preset, left_out, why",
    [
        ("embedded", (), "the embedded preset measures other things"),
        ("paper", ("ReLU with biases: no time", "another"), "ReLU with biases: no time"),
        ("paper", ("no network",), "no network"),
        ("paper", (), "the record lacks it"),
    ],
)
def test_a_number_that_a_record_lacks_says_why(tmp_path, preset, left_out, why):
    table = collected(depth(tmp_path, preset=preset, left_out=left_out))
    chosen = table[table["script"] == "depth"]
    assert set(chosen["agrees"]) == {"not measured"} and all(text.startswith(why) for text in chosen["why"])


def test_claims_that_are_no_numbers_of_the_paper_follow_and_findings_of_ours_do_not(tmp_path):
    claims = [("a claim", "bounded", "on"), ("ours", None, "on"), ("ours too", "-", "on"), ("absent", "0.9", "-")]
    rows = [records.Comparison("Theorem 1", name, theirs, 1.0, on, True) for name, theirs, on in claims]
    table = collected(depth(tmp_path, *rows, name="theorems"))
    assert list(table[table["script"] == "theorems"]["quantity"]) == ["a claim"]


def test_the_rows_stand_in_the_order_of_the_paper(tmp_path):
    claim = records.Comparison("Theorem 1", "a claim", "bounded", 1.0, "on", True)
    scripts = list(dict.fromkeys(collected(depth(tmp_path, claim, name="theorems"))["script"]))
    order = [step.name for step in STEPS]
    assert scripts == sorted(scripts, key=order.index) and "theorems" in scripts


def test_the_overview_counts_every_row_once(tmp_path):
    table = collected(depth(tmp_path, layers(1, PAPER["1"]), layers(2, PAPER["2"], agrees=False)))
    counts = summary.overview(table).set_index("Panel")
    assert counts.to_numpy().sum() == len(table)
    assert list(counts.loc["Figure 2 (b)"]) == [1, 1, 0, len(PAPER) - 2, 0]
    assert summary.lines(table)[-1].startswith("1 yes, 1 no, 0 not comparable, 8 not measured")


def test_small_numbers_keep_their_digits():
    assert [summary.number(v) for v in (0.5, 9.56e-05, 0.0, None, float("nan"), "near zero", 3)] == [
        "0.5000", "9.56e-05", "0.0000", "-", "-", "near zero", "3",
    ]  # fmt: skip
    assert summary.interval(None, None) == "-" and summary.interval(0.1, np.float64(0.2)) == "0.1000 to 0.2000"


def committed():
    return {record.name: record for _, record in report.find_records(records.REPOSITORY, RESULTS)}


RESULTS = [f"{folder}/results" for folder in report.FOLDERS]


def test_what_the_committed_records_hold_is_found():
    table = summary.collect(report.find_records(records.REPOSITORY, RESULTS))
    assert not table.duplicated(["panel", "quantity", "measured_on"]).any()  # a number stands once
    percentages = row(table, "percentages printed by the paper that its counts give to the digit")
    assert (percentages["agrees"], percentages["script"]) == ("no", "denigration")
    measured = table[~table["agrees"].isin([summary.NOT_RUN, summary.NOT_MEASURED])]
    assert not (measured["ours"].isna()).any()
    for quantity, panel in (
        ("standard deviation of the cosine, ResNet-18, random weights, noise", "Figure 2 (a)"),
        ("share of the variance of principal component 7", "Figure 2 (c)"),
        ("share of the variance of joint principal component 6", "Figure 3 (a)"),
        ("gap distance after a shift of -0.50, two-sided", "Figure 3"),
        ("text recall@1 after fine-tuning at temperature 1/50", "section 4"),
    ):
        assert ((measured["panel"] == panel) & measured["quantity"].str.startswith(quantity)).any(), quantity
    figure_2b = measured[measured["panel"] == "Figure 2 (b)"]
    assert len(figure_2b) == len(PAPER) and (figure_2b["low"] < figure_2b["high"]).all()


def test_what_the_tables_say_is_judged_only_where_the_record_judges():
    for record in committed().values():
        if record.about["settings"]["preset"] == "embedded":
            noise = [part for part in readings.further(record) if not part.on.startswith("noise")]
            assert all(part.agrees is None and part.note for part in noise)


def test_a_spread_over_seeds_judges_a_deviation(tmp_path):
    theirs = published.values()["figure_2a_mean_cosine"]["std"]["random_noise"][0]
    spread = theirs * np.array([0.9, 1.0, 1.1])
    table = pd.DataFrame({"seed": [0, 1, 2], "std": spread}).assign(
        encoder="ResNet-18", input="noise", row="random_noise", n=8, mean=[0.9, 0.91, 0.92]
    )
    quantity = "mean cosine, ResNet-18, random weights, noise"
    mean = records.Comparison("Figure 2 (a)", quantity, 0.9992827, 0.91, "noise, n = 8", True)
    found = readings.further(depth(tmp_path, mean, name="cosine_similarity", tables={"": table}))
    assert [part.agrees for part in found] == [True] and found[0].low < theirs < found[0].high
    table["std"] *= 3
    found = readings.further(depth(tmp_path, mean, name="cosine_similarity", tables={"": table}))
    assert [part.agrees for part in found] == [False]


def harms(folder, agrees, moved=0):
    paper = published.values()["table_2"]
    rows = []
    for key, shift in (("confusion_default", 0.0), ("confusion_shift_-0.20", -0.2)):
        counts = pd.DataFrame(paper[key]["counts"], paper[key]["rows"], paper[key]["columns"])
        counts.loc["Black", "Black"] -= moved
        counts.loc["Black", "White"] += moved
        for race in counts.index:
            rows += [(shift, race, word, counts.loc[race, word], "race") for word in counts.columns]
    confusion = pd.DataFrame(rows, columns=["shift", "true", "predicted", "count", "by"])
    gaps = published.values()["figure_3"]["image_only_shift_to_distance"]
    overall = pd.DataFrame({"shift": [float(s) for s in gaps], "caption_gap_distance": list(gaps.values())})
    overall["accuracy_low"], overall["accuracy_high"] = 0.5, 0.6
    quantity, on = "gap distance of the captions, default gap", "CLIP, FairFace"
    gap = records.Comparison("Table 2", quantity, paper["default_percent"]["gap_distance"], 0.82, on, agrees)

    @dataclass(frozen=True)
    class Options(Settings):
        side: str = "first"
        gap_direction: str = "captions"

    folder.mkdir(parents=True, exist_ok=True)
    tables = {"": overall.assign(race="Black"), "overall": overall, "confusion": confusion}
    return records.save(
        folder, "denigration", tables, settings=Options(), seconds=1.0, device="cpu", dtype="", data=[],
        comparisons=[gap], results={"title": on},
    )  # fmt: skip


@pytest.mark.parametrize("moved, said", [(0, True), (10, True), (30, False)])
def test_confusion_matrices_and_shifted_gaps_of_table_2_are_read(tmp_path, moved, said):
    table = collected(harms(tmp_path, True, moved))
    matrix = row(table, "confusion by race, default gap")
    assert matrix["published"] == "84 counts of 10,954 faces"
    assert matrix["ours"] == f"{84 - 2 * bool(moved)} of 84 equal, {moved} faces elsewhere"
    assert matrix["agrees"] == ("yes" if said else "no")
    shifted = table[table["quantity"].str.contains("of the images alone")]
    assert len(shifted) == 8 and set(shifted["agrees"]) == {"yes"}
    assert row(collected(harms(tmp_path, None)), "confusion by race, default gap")["agrees"] == "not comparable"


def test_the_direction_and_the_intervals_of_table_1_are_read(tmp_path):
    theirs = published.values()["table_1"]["rows"][0]
    held = {"gap_direction": "task", "side": "both", "shift": -0.5, "p_value": 0.2, "direction": "down"}
    held |= {
        "default": 0.9,
        "modified": 0.91,
        "default_low": 0.89,
        "default_high": 0.92,
        "ci_low": 0.9,
        "ci_high": 0.93,
    }
    rows = [{**held, "dataset": "CIFAR-10", "selection": name} for name in ("held_out", "test")]
    on = "CIFAR-10, ViT-B-16, n = 10,000"
    compared = [
        records.Comparison("Table 1", f"CIFAR10, top-1, {name}", theirs[name], held[name], on, True)
        for name in ("default", "modified")
    ]
    tables = {"": pd.DataFrame(rows), "table": pd.DataFrame(rows)}
    record = depth(
        tmp_path, *compared, name="zero_shot", tables=tables, published_as={"CIFAR-10": "CIFAR10", "x": None}
    )
    table = collected(record)
    assert list(row(table, "CIFAR10, top-1, default")[["low", "high"]]) == [0.89, 0.92]
    assert list(row(table, "CIFAR10, top-1, modified")[["low", "high"]]) == [0.9, 0.93]
    way = row(table, "CIFAR10, top-1, direction")
    assert (way["published"], way["ours"], way["agrees"]) == ("up", "down", "no")


def test_the_report_shows_the_same_table_and_why_a_step_failed(tmp_path):
    depth(tmp_path / "Figure_2_Cone_Effect", layers(1, PAPER["1"], note="so <close>"))
    state.keep(tmp_path, Outcome("training", "Figure_3_Contrastive_Learning", "failed", "no GPU here"))
    page = report.write(tmp_path).read_text()
    assert "Every published number, and ours" in page and "so &lt;close&gt;" in page and "no GPU here" in page
    assert page.count("<tr>") > len(numbers.all_numbers())
    assert '<span class="yes">yes</span>' in page


MARK = "# T\n<!-- results: summary/all {} -->\nold\n<!-- end of results -->\nrest\n"


def test_a_readme_shows_the_same_table_of_the_committed_records(tmp_path):
    depth(tmp_path / "Figure_2_Cone_Effect" / "results", layers(1, PAPER["1"], low=0.3, high=0.35))
    text = readme.with_tables(MARK.format("published"), tmp_path)
    assert f"1 layers, self-pairs included | {PAPER['1']:.4f} | 0.3207 | 0.3000 to 0.3500 | 10 seeds | yes |" in text
    assert text.count("\n|") == len(numbers.all_numbers()) + 2 and "old" not in text and text.endswith("rest\n")
    assert "| Figure 2 (b) | 1 | 0 | 0 | 9 | 0 |" in readme.with_tables(MARK.format("overview"), tmp_path)
    assert readme.with_tables(MARK.format("measured"), tmp_path).count("\n|") == 3
    with pytest.raises(UserError, match="no table 'other'; it has published, measured, overview"):
        readme.with_tables(MARK.format("other"), tmp_path)
