"""Figure 3 (a-d), end to end: the script, its files, its faults."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import reference
import scripts
import smoke_runs
from coco_files import write_folder
from tiny_open_clip import tiny_models  # noqa: F401  (registers the tiny models)
from util import Embeddings, cli, published

script = scripts.load("loss_landscape.py")
CONTRACT = ["embeddings", "batch", "temperature", "shift", "signed_gap_distance", "loss", "loss_as_released"]


@pytest.fixture
def mine(tmp_path, rng):
    x, y = reference.pairs(rng, 120, 8)
    return Embeddings.of({"image": x, "text": y}).save(tmp_path / "mine.npz")


def test_the_script_writes_table_record_and_pictures(smoke):
    pictures = {f"loss_landscape{what}.{end}" for what in ("", "_temperatures", "_strip") for end in ("png", "pdf")}
    tables = {f"loss_landscape{what}.csv" for what in ("", "_points", "_minima")}
    assert {path.name for path in smoke.folder.glob("loss_landscape*")} == pictures | tables | {"loss_landscape.json"}
    table = smoke.tables[""]
    assert list(table.columns) == CONTRACT
    assert len(table) == 20 * 6 and table["shift"].eq(0).sum() == 6
    assert len(smoke.about["left_out"]) == 1 and "features_clip.npy" in smoke.about["left_out"][0]
    assert smoke.about["data"][0]["split"] == "all"


def test_the_table_holds_the_losses_of_the_definition(mine):
    settings = replace(script.PRESETS["embedded"], embeddings=(mine,), shift_step=0.5)
    table = script.measure(settings, "cpu").tables[""]
    x, y = Embeddings.load(mine).paired()
    for row in table.sample(40, random_state=0).itertuples():
        moved = reference.shifted(x, y, row.shift)
        assert row.loss == pytest.approx(reference.loss(*moved, row.temperature, 50), rel=1e-6)
        assert row.loss_as_released == pytest.approx(reference.loss(*moved, row.temperature, 50, True), rel=1e-6)
        assert abs(row.signed_gap_distance) == pytest.approx(np.linalg.norm(reference.gap(*moved)), abs=1e-6)
    assert table.groupby("temperature")["signed_gap_distance"].apply(lambda gap: gap.is_monotonic_decreasing).all()


def test_the_same_seed_gives_the_same_files(smoke, tmp_path, own_cache):
    script.run(replace(script.PRESETS["smoke"], output=tmp_path / "again"))
    for name in ("loss_landscape.csv", "loss_landscape_points.csv", "loss_landscape.png", "loss_landscape.pdf"):
        assert (tmp_path / "again" / name).read_bytes() == (smoke.folder / name).read_bytes(), name


def test_every_published_number_is_compared_by_its_key(smoke):
    rows = smoke.about["comparisons"]
    keys = {row["key"] for row in rows}
    wanted = published.numbers("figure_3.").values()
    on_grid = {n.key for n in wanted if n.script == "loss_landscape" and not n.key.endswith(("25", "75"))}
    assert keys == on_grid, "shifts of the smoke preset are multiples of 0.5"
    numbers = [row for row in rows if isinstance(row["published"], float)]
    assert all(row["agrees"] is None and row["note"] == "another model or other data" for row in numbers)


def test_the_papers_own_model_and_data_are_judged(smoke):
    name = "ViT-B-32 openai, MSCOCO val2017"
    table = smoke.tables[""].assign(embeddings=name)
    numbers = published.numbers("figure_3.pca")
    facts = {"gap_distance": 0.83, "explained_variance_ratio": [number.value + 0.004 for number in numbers.values()]}
    facts["n_pairs"] = script.PAPER_PAIRS
    rows = script.compare(table, script.minima(table), {name: facts}, script.PRESETS["paper"])
    judged = {row.key: row.agrees for row in rows if row.own}
    assert len(judged) == len(rows)
    assert judged["figure_3.gap_distance"] is False and all(judged[key] for key in numbers)
    fewer = {name: {**facts, "n_pairs": 60}}
    assert not any(row.own for row in script.compare(table, script.minima(table), fewer, script.PRESETS["paper"]))


def test_several_files_of_your_own_in_one_call_whatever_their_names(mine, tmp_path, rng):
    odd = tuple(tmp_path / f"{stem}.npy" for stem in (r"$\\foo$", "_hidden"))
    for path in odd:
        np.save(path, np.stack(reference.pairs(rng, 60, 5)))
    settings = replace(script.PRESETS["smoke"], embeddings=(mine, *odd), shift_step=1.0, output=tmp_path / "out")
    record, names = script.run(settings), ["mine", *(path.stem for path in odd)]
    assert record.tables[""]["embeddings"].unique().tolist() == names
    assert [record.about["results"][name]["n_pairs"] for name in names] == [120, 60, 60]


def test_the_paper_preset_runs_on_a_local_coco_folder(tmp_path, own_cache):
    """Everything of --preset paper but the download: an open_clip model with random weights, real files."""
    paper = replace(script.PRESETS["paper"], coco=write_folder(tmp_path / "coco"), model="tiny", pretrained=None)
    found = script.measure(replace(paper, batch=None), "cpu")
    assert found.tables[""]["batch"].eq(3).all() and len(found.tables[""]) == 40 * 6
    assert found.data[0]["data"]["caption_rule"] == "first"
    gap = next(row for row in found.comparisons if row.key == "figure_3.gap_distance")
    assert gap.published == 0.8221026 and gap.agrees is None


@pytest.mark.parametrize(
    "words, said",
    [
        (["--embeddings", "{tmp}/nan.npy"], "image holds a value that is not finite, first in row 1"),
        (["--embeddings", "{tmp}/good.npy", "--batch", "500"], "--batch 500 is more than its 60 pairs"),
        (["--embeddings", "{tmp}/good.npy", "--temperatures", "0"], "temperature must be above 0"),
        (["--embeddings", "{tmp}/good.npy", "--shift-step", "0"], "--shift-step must be"),
        (["--embeddings", "{tmp}/good.npy", "--points", "0"], "--points must be"),
        (["--model", "ViT-L-14"], "--model only applies to --preset paper"),
        (["--caption", "last"], "--caption only applies to --preset paper; this run is --preset smoke"),
    ],
)
def test_a_users_error_is_one_line_exit_code_2_and_no_files(tmp_path, rng, capsys, words, said):
    good = np.stack(reference.pairs(rng, 60, 5))
    np.save(tmp_path / "good.npy", good)
    good[0, 1, 2] = np.nan
    np.save(tmp_path / "nan.npy", good)
    words = [word.format(tmp=tmp_path) for word in words]
    assert said in smoke_runs.refusal(script, words, tmp_path / "out", capsys)


def test_minima_by_hand():
    table = pd.DataFrame({"shift": [-1.0, 0.0, 1.0], "signed_gap_distance": [1.5, 0.8, -0.2], "loss": [3.0, 2.0, 1.0]})
    table = table.assign(embeddings="e", batch=2, temperature=0.5, loss_as_released=table["loss"][::-1].to_numpy())
    row = script.minima(table).iloc[0]
    assert (row["default_gap"], row["default_loss"]) == (0.8, 2.0)
    assert (row["shift_at_minimum"], row["gap_at_minimum"], row["lowest_loss"]) == (1.0, -0.2, 1.0)
    assert row["gap_at_minimum_as_released"] == 1.5


def test_the_shift_grid_of_the_paper_is_numpys():
    assert cli.shift_grid(0.25) == pytest.approx(np.arange(-5, 5, 0.25))
    assert 0.0 in cli.shift_grid(0.05) and len(cli.shift_grid(0.05)) == 200
    assert cli.shift_grid(3).tolist() == [-3, 0, 3]
    assert cli.shift_grid(0.3).min() == pytest.approx(-4.8) and cli.shift_grid(0.3).max() == pytest.approx(4.8)
