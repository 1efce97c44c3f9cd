"""Figure 2 (b), end to end: the script, its files, its faults."""

from dataclasses import replace

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import scripts
from util import UserError, cone, published, records
from util.numerics import statistics

script = scripts.load("Figure_2_Cone_Effect/depth.py")
CONTRACT = ["activation", "bias", "layers", "seed", "mean_cosine", "mean_cosine_with_self"]
FILES = {f"depth{end}" for end in (".csv", ".json", ".png", ".pdf", "_summary.csv", "_published.csv")}


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The smoke preset, run once: the paper's width and batch, three layers, three seeds."""
    folder = tmp_path_factory.mktemp("depth") / "out"
    script.run(replace(script.PRESETS["smoke"], output=folder))
    return folder


def small(output, **changes):
    return replace(script.PRESETS["smoke"], **{"width": 32, "batch": 16, "output": output, **changes})


def test_the_script_writes_table_record_and_pictures(smoke):
    assert {path.name for path in smoke.iterdir()} == FILES
    table = pd.read_csv(smoke / "depth.csv")
    assert list(table.columns) == CONTRACT
    assert len(table) == 5 * 2 * 4 * 3 and not table.isna().any().any()
    assert table["activation"].unique().tolist() == list(cone.PAPER_ACTIVATIONS)
    assert table.groupby(["activation", "bias", "seed"])["layers"].apply(list).map(lambda x: x == [0, 1, 2, 3]).all()


def test_the_table_holds_what_the_networks_give(smoke):
    table = pd.read_csv(smoke / "depth.csv")
    means = cone.mean_cosine_by_depth("relu", (False,), layers=3, seed=2)["relu", False]
    rows = table.query("activation == 'relu' and not bias and seed == 2")
    assert rows["mean_cosine"].tolist() == pytest.approx(means, abs=1e-8)
    assert rows["mean_cosine_with_self"].tolist() == pytest.approx(means * 1023 / 1024 + 1 / 1024, abs=1e-8)


def test_the_published_values_stand_beside_ours(smoke):
    record, theirs = records.load(smoke, "depth"), published.numbers("figure_2b.relu_bias.")
    table = record.tables[""].query("activation == 'relu' and bias")
    for layers, row in enumerate(record.about["comparisons"]):
        ours = table.query("layers == @layers")["mean_cosine_with_self"]
        low, high = statistics.prediction_interval(ours)
        assert row["key"] == f"figure_2b.relu_bias.{layers}" and row["published"] == theirs[row["key"]].value
        assert (row["ours"], row["low"], row["high"]) == pytest.approx((ours.mean(), low, high))
        assert row["agrees"] is (low <= row["published"] <= high)
    assert len(record.about["comparisons"]) == 4


@pytest.mark.parametrize("moved", [0.2, -0.2])
def test_a_value_outside_the_interval_does_not_agree(smoke, moved):
    table = pd.read_csv(smoke / "depth.csv")
    table["mean_cosine_with_self"] += moved
    beside = script.against_published(table)
    assert not beside["inside"].any()
    assert not any(row.agrees for row in script.compare(beside, script.PRESETS["smoke"]))


def test_the_record_says_what_was_drawn(smoke):
    about = records.load(smoke, "depth").about
    assert about["settings"]["activations"] == list(cone.PAPER_ACTIVATIONS) and about["left_out"] == []
    assert about["data"][0]["seeds"] == [0, 1, 2] and "1024 inputs" in about["data"][0]["data"]
    assert set(about["captions"]) == {"depth"} and about["title"].startswith("Figure 2 (b)")


def test_the_summary_is_the_mean_and_range_after_the_last_layer(smoke):
    record = records.load(smoke, "depth")
    row = record.tables["summary"].query("activation == 'tanh' and bias").iloc[0]
    last = record.tables[""].query("activation == 'tanh' and bias and layers == 3")["mean_cosine"]
    assert (row["mean_cosine"], row["lowest"], row["highest"]) == pytest.approx((last.mean(), last.min(), last.max()))


def test_the_same_seed_gives_the_same_files_and_another_other_numbers(tmp_path):
    script.run(small(tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".json"}
    script.run(small(tmp_path))
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    other = script.measure(small(tmp_path, seed=5), "cpu").tables[""]
    assert other["seed"].unique().tolist() == [5, 6, 7]
    first = pd.read_csv(tmp_path / "depth.csv").query("layers == 1")["mean_cosine"]
    assert not set(other.query("layers == 1")["mean_cosine"].round(7)) & set(first.round(7))


def test_all_activations_without_biases_leave_the_published_curve_out(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("util.figures.save", lambda figure, *_: plt.close(figure))
    script.run(small(tmp_path, activations=("all",), bias="without", layers=2))
    record = records.load(tmp_path, "depth")
    assert record.tables[""]["activation"].unique().tolist() == list(cone.ACTIVATIONS)
    assert not record.tables[""]["bias"].any() and record.tables["published"].empty
    assert record.about["comparisons"] == [] and "the published curve beside ours" in record.about["left_out"][0]
    assert "left out: the published curve" in capsys.readouterr().out


@pytest.mark.parametrize(
    "words, said",
    [
        (["--activations", "relu", "swish"], "'swish' is unknown; choose from sigmoid, relu"),
        (["--seeds", "1"], "--seeds must be"),
        (["--layers", "0"], "--layers must be"),
        (["--batch", "1"], "--batch must be"),
        (["--width", "1"], "choose a larger width"),
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


def test_a_disk_that_fails_while_drawing_leaves_the_old_results(tmp_path, monkeypatch):
    script.run(small(tmp_path / "out"))
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("util.figures.save", full_disk)
    with pytest.raises(UserError, match="No space left"):
        script.run(small(tmp_path / "out", seed=9))
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_the_presets_are_the_papers_settings():
    embedded, paper = script.PRESETS["embedded"], script.PRESETS["paper"]
    assert replace(paper, preset="embedded") == embedded
    assert (paper.width, paper.batch, paper.layers, paper.seeds, paper.bias) == (512, 1024, 25, 10, "both")
    read = script.cli.parse(script.PRESETS, "", ["--activations", "relu", "tanh", "--bias", "with"])
    assert read.activations == ("relu", "tanh") and read.bias == "with"
