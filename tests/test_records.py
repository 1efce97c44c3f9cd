import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from util import UserError, published, records
from util.files import publishing, replacing, sha256
from util.reporting import readme, report


@dataclass(frozen=True)
class Settings:
    preset: str = "embedded"
    seed: int = 3
    output: Path = Path("somewhere")


TABLE = pd.DataFrame({"system": ["a", "b"], "gap_distance": [0.1, np.float32(0.25)]})


def save(folder, name="modality_gap", **more):
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"settings": Settings(), "seconds": 1.5, "device": "cpu", "dtype": "float32", "data": [{"n": 2}]}
    return records.save(folder, name, {"": TABLE, "points": TABLE}, **{**facts, **more})


COMPARISONS = [
    published.compare("figure_3.gap_distance", 0.8219, "MSCOCO", True, own=True),
    published.compare("figure_3.claims.2", 0.5, "scenes <b>", False, "far away"),
]


def test_a_record_comes_back_as_it_was_written(tmp_path):
    save(tmp_path, results={"gap": np.float64(0.5), "path": tmp_path, "none": float("nan")})
    record = records.load(tmp_path, "modality_gap")
    assert record.about["settings"] == {"preset": "embedded", "seed": 3, "output": "somewhere"}
    assert record.about["results"] == {"gap": 0.5, "path": str(tmp_path), "none": None}
    assert record.tables[""]["gap_distance"].tolist() == [0.1, 0.25]
    assert set(record.tables) == {"", "points"}
    assert (tmp_path / "modality_gap_points.csv").read_text().startswith("system,gap_distance\na,0.1\n")


def test_a_record_says_what_made_it(tmp_path):
    about = save(tmp_path).about
    assert about["versions"]["torch"] and about["versions"]["numpy"] == np.__version__
    assert len([v for v in records.PACKAGES if about["versions"][v]]) >= 10
    assert about["machine"]["device"] == "cpu" and about["machine"]["threads"]["torch"] >= 1
    assert set(about["commit"]) == {"hash", "clean"}
    assert about["command"].startswith("python ")


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda folder: (folder / "modality_gap.json").unlink(), "no record here"),
        (lambda folder: (folder / "modality_gap.json").write_text("{"), "damaged record"),
        (lambda folder: (folder / "modality_gap.json").write_text('{"schema_version": 99}'), "schema 99"),
        (lambda folder: (folder / "modality_gap.csv").unlink(), "damaged record"),
        (lambda folder: (folder / "modality_gap.csv").write_text("system,gap_distance\na,0.1\n"), "other content in"),
        (lambda folder: (folder / "modality_gap.json").write_text('{"schema_version": 1}'), "no settings, commit"),
    ],
)
def test_a_damaged_record_is_refused_in_words(tmp_path, damage, words):
    save(tmp_path)
    damage(tmp_path)
    with pytest.raises(UserError, match=words):
        records.load(tmp_path, "modality_gap")


def test_a_record_of_older_code_without_hashes_is_read_and_its_columns_are_checked(tmp_path):
    path = tmp_path / "modality_gap.json"
    about = save(tmp_path).about
    assert set(about.pop("sha256")) == {"modality_gap.csv", "modality_gap_points.csv"}
    path.write_text(json.dumps(about))
    assert len(records.load(tmp_path, "modality_gap").tables["points"]) == 2
    (tmp_path / "modality_gap.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match=r"modality_gap\.csv: columns differ"):
        records.load(tmp_path, "modality_gap")


def test_a_failing_run_leaves_the_old_files_alone(tmp_path):
    (tmp_path / "kept.csv").write_text("old")
    with pytest.raises(RuntimeError), publishing(tmp_path) as part:
        (part / "kept.csv").write_text("new")
        raise RuntimeError
    assert (tmp_path / "kept.csv").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["kept.csv"]


def test_a_failing_run_leaves_no_new_folder(tmp_path):
    with pytest.raises(RuntimeError), publishing(tmp_path / "a" / "b"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_succeeds_publishes_everything(tmp_path):
    with publishing(tmp_path / "new") as part:
        (part / "a.csv").write_text("1")
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a.csv"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="file"), publishing(tmp_path / "file"):
        pass
    with pytest.raises(UserError, match="file"), replacing(tmp_path / "file" / "x.csv"):
        pass


def outputs_with_record(tmp_path, **more):
    folder = tmp_path / "outputs" / "Figure_1_Modality_Gap"
    save(folder, comparisons=COMPARISONS, captions={"modality_gap": "The picture."}, **more)
    (folder / "modality_gap.png").write_bytes(b"\x89PNG not really")
    return tmp_path / "outputs"


def test_the_report_holds_pictures_numbers_and_settings_in_one_file(tmp_path):
    outputs = outputs_with_record(tmp_path, left_out=["published CLIP: not there"], title="The gap")
    page = report.write(outputs).read_text()
    assert "data:image/png;base64," in page and 'src="http' not in page and "<script" not in page
    for words in ("The gap", "0.8221", "0.8219", "near zero", "not there", '"seed": 3', "The picture."):
        assert words in page
    assert "scenes &lt;b&gt;" in page  # what a record says is shown, not interpreted


def test_the_report_refuses_an_empty_folder(tmp_path):
    with pytest.raises(UserError, match="no records"):
        report.write(tmp_path)


def test_readme_tables_are_generated_from_committed_records(tmp_path):
    outputs = outputs_with_record(tmp_path)
    marked = "# T\n<!-- results: Figure_1_Modality_Gap/modality_gap {} -->\nold\n<!-- end of results -->\nrest\n"
    (tmp_path / "README.md").write_text(marked.format("main") + marked.format("points"))
    lines = readme.publish_results(outputs, tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert text.count("| b | 0.2500 |") == 2 and "old" not in text and text.count("rest") == 2
    assert readme.with_tables(text, tmp_path) == text
    assert len(lines) == 3 and "published.csv" in lines[1]
    assert json.loads((tmp_path / "Figure_1_Modality_Gap/results/modality_gap.json").read_text())["schema_version"] == 1


def test_a_bar_in_a_cell_does_not_end_it():
    table = pd.DataFrame({"what": ["|gap|"], "value": [0.5]})
    assert readme._markdown(table).splitlines()[-1] == r"| \|gap\| | 0.5000 |"


def test_a_readme_and_the_report_keep_the_digits_of_small_numbers(tmp_path):
    assert readme._markdown(pd.DataFrame({"p_value": [9.56e-05, float("nan")]})).splitlines()[2:] == [
        "| 9.56e-05 |", "| - |",
    ]  # fmt: skip
    comparison = published.compare("table_1.rows.0.default", 9.56e-05, "CIFAR-10")
    save(tmp_path / "Figure_1_Modality_Gap", comparisons=[comparison])
    assert '<td class="n">9.56e-05</td>' in report.write(tmp_path).read_text()


def test_a_record_is_reused_for_its_own_settings_or_as_it_is(tmp_path, monkeypatch):
    save(tmp_path)
    other = Settings(seed=4)
    assert records.matching(tmp_path, "modality_gap", Settings(output=Path("elsewhere")))
    assert records.matching(tmp_path, "modality_gap", other) is None
    monkeypatch.setenv(records.REUSE_VARIABLE, records.AS_THEY_ARE)
    assert records.matching(tmp_path, "modality_gap", other)
    with pytest.raises(UserError, match=r"of the embedded preset, not paper; set PRESET to it"):
        records.matching(tmp_path, "modality_gap", Settings(preset="paper"))


def test_a_record_is_not_reused_after_its_input_or_the_published_files_changed(tmp_path, monkeypatch):
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    mine = tmp_path / "mine.npy"
    mine.write_bytes(b"one")
    save(tmp_path / "out", data=[{"path": str(mine), "sha256": sha256(mine)}])
    assert records.matching(tmp_path / "out", "modality_gap", Settings())
    mine.write_bytes(b"two")
    assert records.matching(tmp_path / "out", "modality_gap", Settings()) is None
    mine.write_bytes(b"one")
    (tmp_path / "cache" / "features_clip.npy").write_bytes(b"has arrived")
    assert records.matching(tmp_path / "out", "modality_gap", Settings()) is None


def test_smoke_records_never_become_results(tmp_path):
    outputs = outputs_with_record(tmp_path, settings=Settings(preset="smoke"))
    with pytest.raises(UserError, match="smoke preset"):
        readme.publish_results(outputs, tmp_path)


def test_a_run_on_ones_own_embeddings_never_becomes_a_result(tmp_path):
    @dataclass(frozen=True)
    class Own(Settings):
        embeddings: tuple = ("mine.npz",)

    outputs = outputs_with_record(tmp_path, settings=Own())
    with pytest.raises(UserError, match="data of your own"):
        readme.publish_results(outputs, tmp_path)


def test_a_run_of_other_settings_than_the_committed_one_is_named_and_not_taken(tmp_path):
    outputs = outputs_with_record(tmp_path)
    readme.publish_results(outputs, tmp_path)
    committed = tmp_path / "Figure_1_Modality_Gap/results/modality_gap.json"
    about = json.loads(committed.read_text())
    about["settings"]["seed"] = 7
    committed.write_text(json.dumps(about))
    with pytest.raises(UserError, match=r"other settings than .*modality_gap.json \(seed 7 -> 3\)"):
        readme.publish_results(outputs, tmp_path)
    committed.unlink()
    assert readme.publish_results(outputs, tmp_path)


def test_names_that_look_like_numbers_stay_names(tmp_path):
    table = pd.DataFrame({"system": ["123", "nan"], "gap_distance": [0.1, float("nan")]})
    record = records.save(tmp_path, "odd", {"": table}, settings=Settings(), seconds=1, device="cpu", dtype="", data=[])
    assert record.tables[""]["system"].tolist() == ["123", "nan"]
    assert record.tables[""]["gap_distance"].isna().tolist() == [False, True]


def test_a_file_that_is_no_json_is_named_in_the_report(tmp_path):
    outputs = outputs_with_record(tmp_path)
    (outputs / "Figure_1_Modality_Gap" / "broken.json").write_text("{")
    with pytest.raises(UserError, match=r"broken.json: damaged"):
        report.write(outputs)


def test_the_projects_readme_tables_are_up_to_date():
    for path in readme.readmes():
        assert readme.with_tables(path.read_text()) == path.read_text(), f"{path}: run make results"


def test_a_comparison_keeps_its_interval_and_an_older_one_without_is_read(tmp_path):
    comparison = published.compare("figure_3.gap_distance", 0.82, "MSCOCO", low=np.float64(0.81), high=0.83)
    path = tmp_path / "modality_gap.json"
    about = save(tmp_path, comparisons=[comparison]).about
    assert [about["comparisons"][0][end] for end in ("low", "high")] == [0.81, 0.83]
    for end in ("low", "high"):
        del about["comparisons"][0][end]
    path.write_text(json.dumps(about))
    assert records.Comparison(**records.load(tmp_path, "modality_gap").about["comparisons"][0]).low is None
