"""Records: what they hold, when they are reused, and what becomes of them in the report and the READMEs."""

import json
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import recorded
from recorded import TABLE, Settings
from util import UserError, figures, published, records
from util.files import publishing, replacing, sha256
from util.reporting import comparisons

pytestmark = pytest.mark.usefixtures("committed")
NAME, FOLDER, SETTINGS = "modality_gap", "Figure_1_Modality_Gap", Settings("embedded")
COMPARISONS = [
    published.compare("figure_3.gap_distance", 0.8219, "MSCOCO", True, own=True),
    published.compare("figure_3.claims.2", 0.5, "scenes <b>", False, "far away"),
]


def save(folder, *comparisons, **more):
    return recorded.save(folder, NAME, *comparisons, **more)


def change(path, **parts):
    """Other parts in a record's json; None takes one out."""
    about = {**json.loads(path.read_text()), **parts}
    path.write_text(json.dumps({key: value for key, value in about.items() if value is not None}))


def cut(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def test_a_record_comes_back_as_it_was_written(tmp_path):
    limits = {"low": np.float64(0.81), "high": 0.83, "interval": "95%"}
    comparison = published.compare("figure_3.gap_distance", 0.82, "MSCOCO", **limits)
    results = {"gap": np.float64(0.5), "path": tmp_path, "none": float("nan")}
    numbers = pd.DataFrame({"system": ["123", "nan"], "gap_distance": [0.1, float("nan")]})
    save(tmp_path, comparison, tables={"": TABLE, "points": TABLE, "odd": numbers}, results=results)
    record = records.load(tmp_path, NAME)
    assert record.about["settings"] == {
        "preset": "embedded", "seed": 3, "output": "somewhere", "device": "cpu", "embeddings": [],
    }  # fmt: skip
    assert record.about["results"] == {"gap": 0.5, "path": str(tmp_path), "none": None}
    assert [record.about["comparisons"][0][end] for end in ("low", "high")] == [0.81, 0.83]
    assert record.tables[""]["gap_distance"].tolist() == [0.1, 0.25]
    assert set(record.tables) == {"", "points", "odd"}
    assert record.tables["odd"]["system"].tolist() == ["123", "nan"], "names that look like numbers"
    assert record.tables["odd"]["gap_distance"].isna().tolist() == [False, True]
    assert (tmp_path / f"{NAME}_points.csv").read_text().startswith("system,gap_distance\na,0.1\n")


def test_a_record_says_what_made_it(tmp_path, monkeypatch):
    about = save(tmp_path).about
    assert about["versions"]["torch"] and about["versions"]["numpy"] == np.__version__
    assert len([v for v in records.PACKAGES if about["versions"][v]]) >= 10
    assert about["machine"]["device"] == "cpu" and about["machine"]["threads"]["torch"] >= 1
    assert set(about["commit"]) == {"hash", "clean"}
    script = records.REPOSITORY / FOLDER / "modality_gap.py"
    monkeypatch.setattr("sys.argv", [str(script), "--coco", "my photographs"])
    assert records.command() == f"python {FOLDER}/modality_gap.py --coco 'my photographs'"
    monkeypatch.setattr("sys.argv", ["/somewhere/ipykernel_launcher.py", "-f", "kernel.json"])
    monkeypatch.setenv("JPY_SESSION_NAME", str(records.REPOSITORY / FOLDER / "figure_1.ipynb"))
    assert records.command() == f"notebook {FOLDER}/figure_1.ipynb"


def test_a_record_of_older_code_is_read_and_its_columns_are_checked(tmp_path):
    save(tmp_path, *COMPARISONS[:1])
    about = json.loads((tmp_path / f"{NAME}.json").read_text())
    comparison = {key: value for key, value in about["comparisons"][0].items() if key not in ("low", "high")}
    change(tmp_path / f"{NAME}.json", sha256=None, comparisons=[comparison])
    old = records.load(tmp_path, NAME)
    assert len(old.tables["points"]) == 2 and records.Comparison(**old.about["comparisons"][0]).low is None
    (tmp_path / f"{NAME}.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"other columns in modality_gap\.csv"):
        records.load(tmp_path, NAME)


def test_a_run_appears_whole_or_not_at_all(tmp_path):
    (tmp_path / "kept.csv").write_text("old")
    with pytest.raises(RuntimeError), publishing(tmp_path) as part:
        (part / "kept.csv").write_text("new")
        raise RuntimeError
    assert (tmp_path / "kept.csv").read_text() == "old"
    with pytest.raises(RuntimeError), publishing(tmp_path / "a" / "b"):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["kept.csv"]
    with publishing(tmp_path / "new") as part:
        (part / "a.csv").write_text("1")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.csv"]
    for place in (publishing(tmp_path / "kept.csv"), replacing(tmp_path / "kept.csv" / "x.csv")):
        with pytest.raises(UserError, match=r"kept\.csv"), place:
            pass


def test_a_record_is_reused_for_its_own_settings_or_as_it_is(tmp_path, monkeypatch):
    def reused(**more):
        return records.matching(tmp_path, NAME, replace(SETTINGS, **more))

    assert reused() == (None, "no record")
    made = save(tmp_path)
    assert reused(output=Path("elsewhere"))[0].about == made.about
    assert reused(seed=4) == (None, "other settings: seed 3 -> 4")
    change(tmp_path / f"{NAME}.json", settings={"preset": "embedded", "old": 1})
    assert reused()[1] == "other settings: seed (not there) -> 3, embeddings (not there) -> [], old 1 -> (not there)"
    monkeypatch.setenv(records.REUSE_VARIABLE, records.AS_THEY_ARE)
    assert reused(seed=4)[0]
    with pytest.raises(UserError, match=r"of the embedded preset, not paper; set PRESET to it"):
        reused(preset="paper")


def test_a_record_is_not_reused_after_its_input_its_code_or_the_published_files_changed(tmp_path, monkeypatch):
    def reused(**more):
        return records.matching(tmp_path / "out", NAME, SETTINGS, **more)

    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    mine = tmp_path / "mine.npy"
    mine.write_bytes(b"one")
    save(tmp_path / "out", data=[{"path": str(mine), "sha256": {str(mine): sha256(mine)}}])
    assert reused()[0]
    mine.write_bytes(b"two")
    assert reused()[1] == reused(any_code=True)[1] == f"other input: {mine}"
    mine.write_bytes(b"one")
    (tmp_path / "cache" / "features_clip.npy").write_bytes(b"has arrived")
    other = "made by other code, or with other published files"
    assert reused()[1] == other and reused(any_code=True)[0]
    (tmp_path / "cache" / "features_clip.npy").unlink()
    change(tmp_path / "out" / f"{NAME}.json", code="0123")
    assert reused()[1] == other and reused(any_code=True)[0]


@pytest.mark.parametrize(
    "file, damage, words",
    [
        (".json", lambda path: cut(path, 0.5), "damaged record"),
        (".json", lambda path: path.write_text("[]"), "damaged record"),
        (".json", lambda path: path.write_text('{"schema_version": 99}'), "schema 99"),
        (".json", lambda path: path.write_text('{"schema_version": 1}'), "no settings, commit, data"),
        (".json", lambda path: change(path, tables=[]), "damaged record"),
        (".csv", lambda path: path.unlink(), "No such file"),
        (".csv", lambda path: cut(path, 0.6), "other content in modality_gap.csv"),
        (".csv", lambda path: path.write_text("system,gap_distance\na,0.1\n"), "other content in modality_gap.csv"),
        (".png", lambda path: path.unlink(), f"no picture of {NAME}"),
        (".pdf", lambda path: path.unlink(), f"no picture of {NAME}"),
        ("_table.html", lambda path: path.unlink(), f"no picture of {NAME}_table"),
    ],
)
def test_a_record_that_is_not_whole_is_refused_in_words_and_not_reused(tmp_path, file, damage, words):
    save(tmp_path, captions={NAME: "A picture.", f"{NAME}_table": "A table."})
    figures.save(plt.figure(figsize=(1, 1)), tmp_path, NAME)
    figures.save(TABLE.style, tmp_path, f"{NAME}_table")
    assert records.matching(tmp_path, NAME, SETTINGS)[0]
    damage(tmp_path / f"{NAME}{file}")
    kept, reason = records.matching(tmp_path, NAME, SETTINGS)
    assert kept is None and words in reason and "\n" not in reason
    if file in (".json", ".csv"):
        with pytest.raises(UserError, match=words):
            records.load(tmp_path, NAME)


@pytest.fixture
def outputs(tmp_path):
    """A folder of outputs with one record."""
    save(tmp_path / "outputs" / FOLDER, *COMPARISONS, captions={NAME: "The picture."}, title="The gap",
         left_out=["published CLIP: not there"])  # fmt: skip
    (tmp_path / "outputs" / FOLDER / f"{NAME}.png").write_bytes(b"\x89PNG not really")
    return tmp_path / "outputs"


def test_the_report_holds_pictures_numbers_and_settings_in_one_file(outputs):
    page = comparisons.write_report(outputs).read_text()
    assert "data:image/png;base64," in page and 'src="http' not in page and "<script" not in page
    for words in ("The gap", "0.8221", "0.8219", "near zero", "not there", '"seed": 3', "The picture."):
        assert words in page
    assert "scenes &lt;b&gt;" in page  # what a record says is shown, not interpreted


def test_the_report_refuses_an_empty_folder_and_names_a_file_that_is_no_json(outputs, tmp_path):
    with pytest.raises(UserError, match="no records"):
        comparisons.write_report(tmp_path / "nowhere")
    (outputs / FOLDER / "broken.json").write_text("{")
    with pytest.raises(UserError, match=r"broken.json: damaged"):
        comparisons.write_report(outputs)


def test_readme_tables_are_generated_from_committed_records(outputs, tmp_path):
    marked = f"# T\n<!-- results: {FOLDER}/{NAME} {{}} -->\nold\n<!-- end of results -->\nrest\n"
    (tmp_path / "README.md").write_text(marked.format("main") + marked.format("points"))
    lines = comparisons.publish_results(outputs, tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.count("| b | 0.2500 |") == 2 and "old" not in text and text.count("rest") == 2
    assert comparisons.with_tables(text, tmp_path) == text
    assert len(lines) == 3 and "published.csv" in lines[1]
    assert json.loads((tmp_path / FOLDER / "results" / f"{NAME}.json").read_text())["schema_version"] == 1
    with pytest.raises(UserError, match="modality_gap has no table 'minima'; it has points"):
        comparisons.with_tables(marked.format("minima"), tmp_path)


def test_cells_keep_bars_and_the_digits_of_small_numbers(tmp_path):
    table = pd.DataFrame({"what": ["|gap|", "p", "nothing"], "value": [0.5, 9.56e-05, float("nan")]})
    assert comparisons._markdown(table).splitlines()[2:] == [
        r"| \|gap\| | 0.5000 |",
        "| p | 9.56e-05 |",
        "| nothing | - |",
    ]
    save(tmp_path / FOLDER, published.compare("table_1.rows.0.default", 9.56e-05, "CIFAR-10"))
    assert '<td class="n">9.56e-05</td>' in comparisons.write_report(tmp_path).read_text()


@pytest.mark.parametrize(
    "made, words",
    [
        ({"settings": {"preset": "smoke"}}, "smoke preset"),
        ({"own_data": "mine.npz"}, "data of your own"),
        ({"commit": {"hash": "0" * 40, "clean": False}}, "modality_gap ran on code that is not committed"),
    ],
)
def test_smoke_records_your_own_data_and_code_that_is_not_committed_never_become_results(
    outputs, tmp_path, made, words
):
    change(outputs / FOLDER / f"{NAME}.json", **made)
    with pytest.raises(UserError, match=words):
        comparisons.publish_results(outputs, tmp_path)


def test_a_run_of_other_settings_than_the_committed_one_or_of_less_is_named_and_not_taken(outputs, tmp_path):
    comparisons.publish_results(outputs, tmp_path)
    committed = tmp_path / FOLDER / "results" / f"{NAME}.json"
    change(committed, left_out=[])
    with pytest.raises(UserError, match=r"modality_gap left out more than .*modality_gap\.json; bring its data"):
        comparisons.publish_results(outputs, tmp_path)
    change(committed, left_out=["one", "two"], settings={"preset": "embedded", "seed": 7})
    with pytest.raises(UserError, match=r"other settings than .*modality_gap.json \(seed 7 -> 3\)"):
        comparisons.publish_results(outputs, tmp_path)
    committed.unlink()
    assert comparisons.publish_results(outputs, tmp_path)


def test_the_projects_readme_tables_are_up_to_date():
    for path in comparisons.readmes():
        assert comparisons.with_tables(path.read_text()) == path.read_text(), f"{path}: run make results"
