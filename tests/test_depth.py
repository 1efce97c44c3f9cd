"""Figure 2 (b), end to end: the script, its files, its faults."""

from dataclasses import replace

import matplotlib.pyplot as plt
import pytest

import scripts
import smoke_runs
from util import UserError, cli, cone, published
from util.numerics import statistics

script = scripts.load("Figure_2_Cone_Effect/depth.py")
CONTRACT = ["activation", "bias", "layers", "seed", "mean_cosine", "mean_cosine_with_self"]


def small(output, **changes):
    return replace(script.PRESETS["smoke"], **{"width": 32, "batch": 16, "output": output, **changes})


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_record_and_its_table_are_complete(smoke):
    table, about = smoke.tables[""], smoke.about
    assert list(table.columns) == CONTRACT
    assert len(table) == 5 * 2 * 4 * 3 and not table.isna().any().any()
    assert table["activation"].unique().tolist() == about["settings"]["activations"] == list(cone.PAPER_ACTIVATIONS)
    assert table.groupby(["activation", "bias", "seed"])["layers"].apply(list).map(lambda x: x == [0, 1, 2, 3]).all()
    assert about["data"][0]["seeds"] == [0, 1, 2] and "1024 inputs" in about["data"][0]["data"]
    assert set(about["captions"]) == {"depth"} and about["left_out"] == []


def test_the_table_holds_what_the_networks_give(smoke):
    means = cone.mean_cosine_by_depth("relu", (False,), layers=3, seed=2)["relu", False]
    rows = smoke.tables[""].query("activation == 'relu' and not bias and seed == 2")
    assert rows["mean_cosine"].tolist() == pytest.approx(means, abs=1e-8)
    assert rows["mean_cosine_with_self"].tolist() == pytest.approx(means * 1023 / 1024 + 1 / 1024, abs=1e-8)


def test_the_published_values_stand_beside_ours(smoke):
    theirs = published.numbers("figure_2b.relu_bias.")
    table = smoke.tables[""].query("activation == 'relu' and bias")
    for layers, row in enumerate(smoke.about["comparisons"]):
        ours = table.query("layers == @layers")["mean_cosine_with_self"]
        low, high = statistics.prediction_interval(ours)
        assert row["key"] == f"figure_2b.relu_bias.{layers}" and row["published"] == theirs[row["key"]].value
        assert (row["ours"], row["low"], row["high"]) == pytest.approx((ours.mean(), low, high))
        assert row["agrees"] is (low <= row["published"] <= high)
    assert len(smoke.about["comparisons"]) == 4


@pytest.mark.parametrize("moved", [0.2, -0.2])
def test_a_value_outside_the_interval_does_not_agree(smoke, moved):
    table = smoke.tables[""]
    table = table.assign(mean_cosine_with_self=table["mean_cosine_with_self"] + moved)
    found = script.compare(table, script.PRESETS["smoke"])
    assert len(found) == 4 and not any(row.agrees for row in found)


def test_the_same_seed_gives_the_same_files_and_another_other_numbers(tmp_path):
    first = script.run(small(tmp_path))
    before = contents(tmp_path)
    assert set(before) == {f"depth.{kind}" for kind in ("csv", "json", "png", "pdf")}
    script.run(small(tmp_path))
    assert {**contents(tmp_path), "depth.json": before["depth.json"]} == before
    other = script.measure(small(tmp_path, seed=5), "cpu").tables[""]
    assert other["seed"].unique().tolist() == [5, 6, 7]
    ours, theirs = (table.query("layers == 1")["mean_cosine"].round(7) for table in (first.tables[""], other))
    assert not set(ours) & set(theirs)


def test_all_activations_without_biases_leave_the_published_curve_out(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("util.figures.save", lambda figure, *_: plt.close(figure))
    record = script.run(small(tmp_path, activations=("all",), bias="without", layers=2))
    assert record.tables[""]["activation"].unique().tolist() == list(cone.ACTIVATIONS)
    assert not record.tables[""]["bias"].any()
    assert record.about["comparisons"] == [] and "the published curve beside ours" in record.about["left_out"][0]
    assert "left out: the published curve" in capsys.readouterr().out


test_a_users_error_is_one_line_exit_code_2_and_no_files = smoke_runs.refuses(
    script,
    (["--activations", "relu", "swish"], "'swish' is unknown; choose from sigmoid, relu"),
    (["--seeds", "1"], "--seeds must be"),
    (["--width", "1"], "choose a larger width"),
)


def test_a_disk_that_fails_while_drawing_leaves_the_old_results(tmp_path, monkeypatch):
    (tmp_path / "depth.csv").write_text("old")

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("util.figures.save", full_disk)
    with pytest.raises(UserError, match="No space left"):
        script.run(small(tmp_path))
    assert contents(tmp_path) == {"depth.csv": b"old"}


def test_the_presets_are_the_papers_settings():
    embedded, paper = script.PRESETS["embedded"], script.PRESETS["paper"]
    assert replace(paper, preset="embedded") == embedded
    assert (paper.width, paper.batch, paper.layers, paper.seeds, paper.bias) == (512, 1024, 25, 10, "both")
    read = cli.parse(script.PRESETS, "", ["--activations", "relu", "tanh", "--bias", "with"])
    assert read.activations == ("relu", "tanh") and read.bias == "with"
