"""The table of every published number and the dry run: a join by key with verdicts, and what is missing with hours."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import open_clip
import pandas as pd
import pytest

import recorded
import scripts
from util import commands, published, records
from util.corpora import tasks
from util.encoders.named import Named
from util.fairness import audit
from util.reporting import comparisons, steps
from util.reporting.steps import FOLDERS, STEPS, Figures, Found, Need, look_up

pytestmark = pytest.mark.usefixtures("committed", "no_network", "own_cache")

LAYERS = "figure_2b.relu_bias.1"
PLACE = {step.name: step.folder for step in STEPS}


record = partial(recorded.save, preset="paper")


def collected(*found, reasons=None):
    return comparisons.collect([(PLACE[each.name], each) for each in found], reasons)


def row(table, key):
    chosen = table[table["key"] == key]
    assert len(chosen) == 1
    return chosen.iloc[0]


def test_every_published_number_stands_once_where_nothing_was_measured():
    table = collected(reasons={"training": "needs COCO=DIR"})
    stated = [key for key, number in published.numbers().items() if number.value is not None]
    assert list(table["key"]) == stated and len(stated) > 150
    assert {number.script for number in published.numbers().values()} <= set(PLACE)
    assert tuple(table.columns) == comparisons.COLUMNS
    assert set(table["verdict"]) == {"not run"} and table["here"].isna().all()
    assert row(table, LAYERS)["note"] == "no record of depth.py here"
    assert row(table, "section_4_training.claims.grows")["note"] == "needs COCO=DIR"


def test_a_measured_number_has_a_row_for_each_data_set_with_value_interval_and_note(tmp_path):
    rows = [
        published.compare(LAYERS, 0.32, on, True, "10 seeds", low=0.31, high=0.33, own=True, interval="95% prediction")
        for on in ("here", "there")
    ]
    table = collected(record(tmp_path, "depth", *rows))
    found = table[table["key"] == LAYERS]
    assert list(found["measured_on"]) == ["here", "there"]
    first = found.iloc[0]
    assert (first["published"], first["here"], first["low"], first["high"]) == (0.319475, 0.32, 0.31, 0.33)
    assert (first["interval"], first["verdict"], first["note"]) == ("95% prediction", "yes", "10 seeds")
    assert row(table, "figure_2b.relu_bias.2")["note"] == "the record lacks it"


@pytest.mark.parametrize(
    "key, agrees, own, verdict",
    [
        ("figure_3.gap_distance", True, True, "yes"),
        ("figure_3.gap_distance", False, True, "no"),
        ("figure_3.claims.0", True, False, "shown"),
        ("figure_3.claims.0", False, False, "not shown"),
        ("figure_3.gap_distance", None, False, "not run"),
        (LAYERS, False, True, "no"),
        ("figure_3.systems.0", True, False, "shown"),
        ("table_2.as_the_paper_prints.accuracy_drop", False, True, "paper is wrong"),
        ("table_2.as_the_paper_prints.accuracy_drop", True, True, "yes"),
    ],
)
def test_yes_and_no_need_the_papers_own_model_and_data(key, agrees, own, verdict):
    part = records.plain(published.compare(key, 0.5, "data", agrees, own=own))
    assert comparisons.verdict(part) == verdict


def test_what_is_not_run_says_why_and_your_own_data_say_nothing_about_the_paper(tmp_path):
    measured = published.compare("figure_3.gap_distance", 0.6, "scenes", None, "small CLIP")
    found = row(collected(record(tmp_path, "loss_landscape", measured)), "figure_3.gap_distance")
    assert (found["here"], found["measured_on"], found["verdict"]) == (0.6, "scenes", "not run")
    assert found["note"] == "measured on another model or data: not comparable; small CLIP"
    for why, about in (("needs --preset paper", {"preset": "embedded"}), ("no memory", {"left_out": ["no memory"]})):
        assert row(collected(record(tmp_path, "depth", **about)), LAYERS)["note"] == why
    own = record(tmp_path, "depth", published.compare(LAYERS, 0.32, "mine", True, own=True), own=True)
    assert comparisons.is_own(own) and row(collected(own), LAYERS)["verdict"] == "not run"


def test_a_number_counts_once_by_its_most_decided_verdict(tmp_path):
    key = "figure_3.gap_distance"
    rows = [published.compare(key, 0.6, "scenes"), published.compare(key, 0.82, "MSCOCO", True, own=True)]
    rows += [published.compare(f"{key[:9]}claims.0", "its own", f"{published.PRINTED}: a plot", True, own=True)]
    overview = comparisons.overview(collected(record(tmp_path, "loss_landscape", *rows))).set_index("folder")
    figure_3 = overview.loc[PLACE["loss_landscape"]]
    assert figure_3[["figure", "yes", "no", comparisons.FOLLOWS]].tolist() == ["Figure 3", 1, 0, 1]
    stated = {key: number for key, number in published.numbers().items() if number.value is not None}
    once = {number.rule if number.judged_by.together else key for key, number in stated.items()}
    assert overview[list(comparisons.COUNTED)].to_numpy().sum() == len(once) == len(stated) - 25


def test_committed_records_become_a_csv_for_each_folder_and_a_row_of_the_readme(tmp_path):
    for folder in FOLDERS:
        (tmp_path / folder / "results").mkdir(parents=True)
    record(tmp_path / PLACE["depth"] / "results", "depth", published.compare(LAYERS, 0.32, "10 seeds", True, own=True))
    written = comparisons.write_published(tmp_path)
    assert [path.parent.parent.name for path in written] == list(FOLDERS)
    tables = [pd.read_csv(path) for path in written]
    assert tuple(tables[1].columns) == comparisons.COLUMNS
    assert row(tables[1], LAYERS)["verdict"] == "yes"
    assert pd.concat(tables)["key"].is_unique
    text = "<!-- results: summary/all overview -->\n<!-- end of results -->"
    line = next(line for line in comparisons.with_tables(text, tmp_path).splitlines() if line.startswith("| Figure 2 "))
    assert line.startswith("| Figure 2 | 1 | 0 |") and line.endswith(f"({FOLDERS[1]}/results/published.csv) |")


def test_results_are_the_files_that_a_record_names_and_no_others(tmp_path):
    outputs, root = tmp_path / "outputs", tmp_path / "root"
    made = record(outputs / PLACE["depth"], "depth", captions={"depth": "A.", "depth_table": "B."}, preset="embedded")
    for name in ("depth.png", "depth.pdf", "depth_table.html", "depth_older.csv"):
        (made.folder / name).write_text("x")
    comparisons.publish_results(outputs, root)
    copied = {path.name for path in (root / PLACE["depth"] / "results").iterdir()}
    assert copied == {f"depth{end}" for end in (".json", ".csv", "_points.csv", ".png", "_table.html")} | {
        "published.csv"
    }


def test_the_report_begins_with_one_table_that_links_each_section(tmp_path):
    captions = {"depth": "A picture.", "depth_table": "A table."}
    rows = [published.compare(LAYERS, 0.32, "10 seeds", True, low=0.31, high=0.33, own=True, interval="95%")]
    made = record(tmp_path / PLACE["depth"], "depth", *rows, captions=captions, left_out=["a panel: no file"])
    (made.folder / "depth.png").write_bytes(b"x")
    (made.folder / "depth_table.html").write_text("<table id='styled'></table>")
    page = comparisons.write_report(tmp_path).read_text()
    assert page.index('<table id="overview">') < page.index("<section") < page.index("Left out")
    assert f'href="#{PLACE["depth"]}-depth"' in page and f'<section id="{PLACE["depth"]}-depth">' in page
    assert "<table id='styled'></table>" in page and "0.3200 <span" in page
    assert "no record" in page


@pytest.mark.parametrize("folder", ["own/mine", ".", "Figure_3_Contrastive_Learning"])
def test_the_report_takes_your_own_data_in_any_folder_without_the_papers_claims(tmp_path, folder):
    record(tmp_path / folder, "loss_landscape", preset="embedded", own=True)
    (tmp_path / "settings.json").write_text("[]")
    page = comparisons.write_report(tmp_path).read_text()
    name = f"{folder}-loss_landscape".replace("/", "-")
    assert f'<section id="{name}">' in page and f'href="#{name}"' in page and "on your own data" in page
    for words in ("Published", "small models", "generated data", "Liang", "Not run", 'id="published"'):
        assert words not in page.split("</style>")[1], words
    record(tmp_path / FOLDERS[1], "depth", published.compare(LAYERS, 0.32, "10 seeds", True, own=True))
    page = comparisons.write_report(tmp_path).read_text()
    assert "<tr><td>Your own data</td>" in page and 'id="published"' in page


def test_a_record_of_the_paper_counts_in_whatever_folder_it_lies_and_the_papers_own_folder_first(tmp_path):
    rows = [published.compare(LAYERS, value, "here", True, own=True) for value in (0.3, 0.4)]
    record(tmp_path / "mine", "depth", rows[0])
    assert '<td class="n">0.3000</td>' in comparisons.write_report(tmp_path).read_text().split('id="published"')[1]
    record(tmp_path / FOLDERS[1], "depth", rows[1])
    told = comparisons.write_report(tmp_path).read_text().split('id="published"')[1]
    assert "0.4000" in told and "0.3000" not in told


def test_the_comparisons_of_a_notebook_are_a_table_also_where_there_are_none(tmp_path):
    made = record(tmp_path, "depth", published.compare(LAYERS, 0.32, "10 seeds", True, own=True))
    table = comparisons.beside(made, made)
    assert list(table["verdict"]) == ["yes", "yes"] and table["key"].eq(LAYERS).all()
    none = comparisons.beside(record(tmp_path, "depth"))
    assert list(none.columns) == list(table.columns) and none.empty
    assert none[none["key"].str.match("table_2")].empty


COMMIT = "a" * 40
SIZES = {"data/test-0.parquet": 1000, "data/test-1.parquet": 300, "card.md": 5}


@pytest.fixture
def hub(monkeypatch):
    """A hub whose repositories hold ``SIZES``; the second file is in the cache."""

    def snapshot_download(repo_id, revision, allow_patterns, dry_run, repo_type):
        assert dry_run and revision == COMMIT
        if "absent" in repo_id:
            raise OSError("404: no such repository")
        names = huggingface_hub.utils.filter_repo_objects(SIZES, allow_patterns=allow_patterns)
        return [SimpleNamespace(file_size=SIZES[name], is_cached="-1" in name) for name in names]

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)


def dataset(id="some/thing", files=("data/test-*.parquet",)):
    return Need("dataset", id, ("zero_shot",), 1, files, COMMIT)


@pytest.mark.parametrize(
    "need, found",
    [
        (dataset(), Found("", 1300, 300)),
        (dataset(files=("other/*",)), Found("has no files other/*", 1_000_000, 0)),
        (dataset("some/absent"), Found("could not be asked for: 404: no such repository", 1_000_000, 0)),
    ],
)
def test_sizes_and_what_is_lacking_come_from_the_hub(hub, need, found):
    assert look_up(need, online=True) == found


def test_what_the_hubs_cache_holds_is_found_without_a_network(tmp_path):
    nothing = "no connection to the hub, and it is not in its cache"
    assert look_up(dataset(), online=False) == Found(nothing, 1_000_000, 0)
    place = tmp_path / "hub" / "datasets--some--thing" / "snapshots" / COMMIT / "data" / "test-0.parquet"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"x" * 40)
    assert look_up(dataset(), online=False) == Found("", 40, 40)
    assert look_up(dataset(files=("data/*", "other/*")), online=False) == Found("not there: other/*", 1_000_000, 0)


def test_a_local_coco_folder_takes_the_place_of_the_hubs(tmp_path):
    (given,) = (need for need in steps.needs(tmp_path) if need.kind == "folder" and "training" not in need.steps)
    assert look_up(given, online=True).problem == "not there: annotations/captions_val2017.json, val2017/*.jpg"
    for name in given.files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name.replace("*", "1")).write_bytes(b"12345")
    assert look_up(given, online=True) == Found("", 10, 10)


def test_disk_counts_a_data_set_twice_and_what_is_here_once(tmp_path):
    model = Need("model", "some/thing", ("zero_shot",), 1, ("*",))
    found = {dataset(): Found("", 1000, 400), model: Found("no connection", 7, 0)}
    needed, free = steps.disk(found, tmp_path / "not" / "there")
    assert needed == 600 + 1000 + 7 and free > 0


def test_what_is_declared_is_what_the_loaders_load():
    found = {(each.kind, each.id): each for each in steps.needs(None)}
    captions = found["dataset", tasks.read()[tasks.MSCOCO].dataset]
    fairface = found["dataset", audit.HUB_DATASET]
    assert (fairface.revision, fairface.files) == (audit.HUB_REVISION, (audit.HUB_FILES,))
    for task in tasks.read().values():
        each = found["dataset", task.dataset]
        assert "zero_shot" in each.steps
        assert each.revision == task.revision
    for step in STEPS:
        settings = scripts.load(step.name).PRESETS["paper"]
        named = Named.parse(getattr(settings, "model", None) or "small-clip")
        if named.tag:
            id = open_clip.get_pretrained_cfg(named.name, named.tag)["hf_hub"].rstrip("/")
            assert step.name in found["model", id].steps
        takes = step.name in captions.steps or step.name in found["folder", "MSCOCO train2017"].steps
        assert takes == hasattr(settings, "coco")


def test_a_dry_run_begins_with_three_lines_writes_nothing_and_ends_well(capsys, tmp_path):
    commands.main(["paper", "--dry-run", "-o", str(tmp_path / "out"), "--only", "cosine_similarity", "training"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[paper] missing: 4 of 4 downloads and folders"
    assert lines[1].startswith("[paper] disk: 22.1GB needed, ")
    assert lines[2].startswith("[paper] time: ") and "on a GPU" in lines[2]
    told = "\n".join(lines)
    for words in (tasks.read()[tasks.MSCOCO].revision[:12], "COCO=DIR", "used by training"):
        assert words in told
    assert ["cosine_similarity", "6.7", "hours", "6.7", "minutes", "no", "record"] in [line.split() for line in lines]
    assert not (tmp_path / "out").exists()


def test_nothing_missing_and_too_little_disk_are_said(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(steps, "disk", lambda found, output: (2_000_000_000, 500_000))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "theorems.py").write_text("import nowhere_at_all")
    chosen = [step for step in STEPS if step.name == "depth"]
    chosen.append(type(chosen[0])("broken", "theorems", "", 1, 1, 1, root=tmp_path))
    steps.forecast(Figures(preset="paper", output=Path(tmp_path), device="cpu", steps=tuple(chosen)))
    told = capsys.readouterr().out
    assert "missing: nothing" in told and "2.00GB needed, 500kB free: too little" in told
    assert "No module named 'nowhere_at_all'" in told
