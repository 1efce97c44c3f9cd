"""Table 2's script, end to end: generated badges, FairFace's layouts with a tiny model, embeddings of one's own."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import open_clip
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import save_file

import audited_data
import denigration_claims as claims
import denigration_figure as figure
import face_files
import published_counts
import reference
import scripts
from coco_files import write_folder as write_coco
from tiny_open_clip import TINY
from util import Embeddings, cli, geometry, records
from util.corpora import coco, hub
from util.encoders import open_clip_pair
from util.fairness.audit import Faces, audit
from util.fairness.declared import BADGES, ENDS, FAIRFACE, NEEDED_GROUPS, RESULT_COLUMNS, Declared
from util.fairness.disparity import accuracy_cost, disparity

script = scripts.load("Table_2_Implications_CLIP_Fairness/denigration.py")
CONTRACT = [
    "shift", "signed_gap_distance", "accuracy", "race", "n", "crime_related", "non_human", "sum", "ci_low", "ci_high",
    "p_value",
]  # fmt: skip
FACES = Declared.read(FAIRFACE)
C, H = len(FACES.classes), len(FACES.harm_words)


def run(folder, *words):
    return script.run(cli.parse(script.PRESETS, "", ("--output", str(folder), *map(str, words))))


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The smoke preset, run once."""
    return run(tmp_path_factory.mktemp("outputs") / "Table_2", "--preset", "smoke")


def write_own(folder, rng, n=60, races=FACES.race.levels, age=False, d=12):
    """Embeddings of n faces near the prompts, a table of labels, and a caption corpus."""
    prompts = reference.cone(rng, C + H, d)
    given = rng.integers(0, len(races), n), rng.integers(0, 2, n)
    truth = np.array([FACES.race.levels.index(races[race]) for race in given[0]]) * 2 + given[1]
    near = np.where(rng.random(n) < 0.25, rng.integers(C, C + H, n), truth)
    images = geometry.unit_rows(prompts[near] + 0.25 * rng.normal(size=(n, d)) + 0.5 * np.eye(d)[0])
    Embeddings.of({"image": images, "text": prompts}).save(folder / "own.npz")
    x, y = reference.pairs(rng, 40, d)
    np.save(folder / "corpus.npy", np.stack([x, y]))
    ages = [f",{level}" if age else "" for level in rng.choice(FACES.age.levels[:4], n)]
    lines = [f"{races[r]},{FACES.gender.levels[g]}{a}" for r, g, a in zip(*given, ages, strict=True)]
    (folder / "labels.csv").write_text("\n".join(["race,gender" + (",age" if age else ""), *lines]) + "\n")
    return folder


def words_of(folder):
    return ("--embeddings", folder / "own.npz", "--labels", folder / "labels.csv", "--corpus", folder / "corpus.npy")


def settings_of(*words):
    return cli.parse(script.PRESETS, "", ("--resamples", "50", *map(str, words)))


def measured(*words):
    settings = settings_of(*words)
    found = script.measure(settings, "cpu")
    return audited_data.collect(settings, "cpu"), found.tables, found.results


def test_the_script_writes_tables_record_and_pictures(smoke):
    tables = ("", "_table", "_groups", "_overall", "_confusion", "_directions", "_published", "_net_changes")
    names = {f"denigration{table}.csv" for table in tables} | {"denigration.json"}
    names |= {f"denigration{stem}.{suffix}" for stem in ("", "_directions") for suffix in ("png", "pdf")}
    names |= {"denigration_table.html"}
    assert {path.name for path in smoke.folder.iterdir()} == names
    table = smoke.tables[""]
    assert list(table.columns[: len(CONTRACT)]) == CONTRACT
    assert len(table) == 5 * 7 and table.groupby("shift")["n"].sum().eq(140).all()
    assert np.allclose(table["sum"], table["crime_related"] + table["non_human"])
    for what in ("groups", "overall", "directions"):
        assert {"caption_gap_distance", "audit_gap_distance"} <= set(smoke.tables[what])
    assert len(smoke.tables["groups"]) == 5 * 14
    assert set(smoke.about["captions"]) == {f"denigration{stem}" for stem in script.DRAWN}


def test_the_default_shifts_hold_the_released_ones_exactly():
    assert {0.0, -0.2, -0.5, -1.0, 0.75} <= set(script.GRID)
    assert (min(script.GRID), max(script.GRID), len(script.GRID)) == (-1.0, 0.75, 36)
    added = script.grid(settings_of("--shifts", "0.5", "-0.5", "--shift", "-0.3")).tolist()
    assert added == [-0.5, -0.3, 0.0, 0.5]


def test_the_same_seed_gives_the_same_tables(smoke):
    _, tables, results = measured("--preset", "smoke", "--resamples", "100")
    for what, table in tables.items():
        kept = smoke.tables[what]
        for column in table.select_dtypes("number"):
            assert np.allclose(kept[column], table[column].astype(float), rtol=1e-6, equal_nan=True), (what, column)
    assert results["gap_distance"]["default"] == pytest.approx(smoke.about["results"]["gap_distance"]["default"])


@pytest.mark.parametrize(("direction", "side"), [("captions", "first"), ("audit", "both")])
def test_the_tables_hold_what_a_direct_computation_gives(tmp_path, rng, direction, side):
    words = words_of(write_own(tmp_path, rng))
    audited, tables, results = measured(
        *words, "--shifts", "-1", "-0.2", "0", "0.6", "--gap-direction", direction, "--side", side
    )
    x, y = (Embeddings.load(words[1]).modalities[name].astype(float) for name in ("image", "text"))
    captions = np.load(words[5]).astype(float)
    followed = captions if direction == "captions" else (x, y)
    u = reference.gap(*followed) / np.linalg.norm(reference.gap(*followed))
    both = reference.unit(np.stack([reference.gap(*captions), reference.gap(x, y)]))
    assert results["cosine_of_directions"] == pytest.approx(both[0] @ both[1], abs=1e-6)
    for amount in (-1, -0.2, 0, 0.6):
        moved = geometry.shift(x, y, amount, u, side)
        classes, truth = (moved[0] @ moved[1].T).argmax(1), audited.faces.race * 2 + audited.faces.gender
        row = tables["overall"].set_index("shift").loc[amount]
        assert row["accuracy"] == pytest.approx((classes == truth).mean()) and row["n"] == 60
        for name, pair in (("caption", captions), ("audit", (x, y))):
            gap = np.linalg.norm(reference.gap(*geometry.shift(*pair, amount, u, side)))
            assert abs(row[f"{name}_gap_distance"]) == pytest.approx(gap, abs=1e-6)
        assert row["signed_gap_distance"] == row[audited_data.GAPS[direction]]
        cells = tables[""][tables[""]["shift"] == amount].set_index("race")
        for number, race in enumerate(FACES.race.levels):
            mine, cell = classes[audited.faces.race == number], cells.loc[race]
            assert cell["non_human"] == pytest.approx(np.isin(mine, range(C, C + 4)).mean())
            assert cell["crime_related"] == pytest.approx(np.isin(mine, range(C + 4, C + 7)).mean())
        part = tables["directions"].query("gap_direction == @direction and side == @side and shift == @amount").iloc[0]
        assert (part["harm"], part["accuracy"]) == (pytest.approx(row["sum"]), pytest.approx(row["accuracy"]))
    matrix = tables["confusion"].query("by == 'race x gender'")
    assert matrix.groupby("shift")["count"].sum().to_dict() == {-0.2: 60, 0.0: 60}


def test_half_precision_is_told_from_double(tmp_path):
    """Two prompts closer than float16 can tell: the notebook's rounding takes the first, we take the nearer."""
    d = 8
    prompts = np.vstack([np.eye(d)[1] + 1e-5 * np.eye(d)[2], np.eye(d)[1] + 2e-5 * np.eye(d)[2], np.eye(d)[3:7]])
    images = geometry.unit_rows(np.eye(d)[[1, 1, 1, 3]] + np.outer([1, 1, 1, 0], np.eye(d)[2]))
    audited = audited_data.Audited("t", images, geometry.unit_rows(prompts), None, None, None)
    settings = replace(script.PRESETS["smoke"], gap_direction="audit", shift=-0.2)
    predicted = np.array([[1, 1, 1, 2]] * 2)
    assert list(script.in_half_precision(audited, settings, predicted, np.array([-0.2, 0.0]))) == [0.75, 0.75]


def test_without_a_caption_corpus_its_gap_is_left_out_and_named(tmp_path, rng, monkeypatch):
    words = words_of(write_own(tmp_path, rng, age=True))[:4]
    monkeypatch.setattr(script, "DRAWN", {})
    options = ("--gap-direction", "audit", "--by-age", "--shifts", "-0.2", "0", "--resamples", "20")
    record = run(tmp_path / "out", *words, *options)
    assert record.about["left_out"] == [script.NO_CAPTIONS]
    table = record.tables[""]
    assert table["caption_gap_distance"].isna().all() and table["signed_gap_distance"].equals(
        table["audit_gap_distance"]
    )
    assert record.tables["directions"]["gap_direction"].unique().tolist() == ["audit"]
    assert not any("gap_distance" in row["key"] for row in record.about["comparisons"])
    ages = record.tables["ages"].query("shift == 0").set_index("age")["n"]
    labels = pd.read_csv(words[3])["age"].value_counts()
    assert ages[ages > 0].to_dict() == labels.to_dict() and {"audit_gap_distance"} <= set(record.tables["ages"])
    empty = [age for age in FACES.age.levels if age not in labels]
    assert empty and set(empty) <= set(record.about["results"]["empty_groups"])
    assert "the captions" not in next(iter(claims.in_words(record.tables, record.about["results"])))
    assert record.about["results"]["cosine_of_directions"] is None
    drawn = figure.draw_directions(record)
    assert len(drawn.axes[0].lines) == 2 + 2
    assert drawn.get_suptitle().replace("\n", " ").startswith(FACES.caution)
    legend = [text.get_text() for text in drawn.legends[0].get_texts()]
    ways = [f"gap vector of the audit itself, {what}" for what in ("images move", "images and prompts move")]
    assert legend == [*ways, "default", "shift of the table"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A model of open_clip's kind with random weights, kept as a checkpoint file."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "tiny-faces.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(folder)
    save_file(open_clip_pair.load("tiny-faces", device="cpu").model.state_dict(), folder / "weights.safetensors")
    yield f"tiny-faces:{folder / 'weights.safetensors'}"
    open_clip.factory._MODEL_CONFIGS.pop("tiny-faces")
    open_clip.factory._MODEL_CONFIG_PATHS.remove(folder)


def colours(rng, n):
    return ["#{:02x}{:02x}{:02x}".format(*rng.integers(0, 256, 3)) for _ in range(n)]


def test_the_paper_preset_runs_on_files_of_the_hubs_schema(tmp_path, tiny, monkeypatch, rng):
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    labels = [(race, gender, int(rng.integers(9))) for race in range(7) for gender in range(2) for _ in range(2)]
    data = face_files.write_parquet(tmp_path / "hub", labels, colours(rng, 28), padding="1.25")
    monkeypatch.setattr(hub, "snapshot", lambda *_: (data, "0" * 40))
    coco = write_coco(tmp_path / "coco")
    words = ("--preset", "paper", "--coco", coco, "--model", tiny, "--padding", "1.25", "--by-age", "--resamples", "50")
    monkeypatch.setattr(script, "DRAWN", {})  # drawn by the smoke run already
    record = run(tmp_path / "out", *words, "--shifts", "-0.2", "0", "0.5")
    about = {part["what"]: part for part in record.about["data"]}
    assert about["faces"]["revision"] == "0" * 40 and about["faces"]["padding"] == "1.25" and about["faces"]["n"] == 28
    assert record.tables[""]["n"].eq(4).all() and record.tables["ages"].groupby("shift")["n"].sum().eq(28).all()
    assert record.about["results"]["races"] == published_counts.races()
    rows = pd.DataFrame(record.about["comparisons"]).query("on != @claims.COUNTS").set_index("key")
    assert rows["agrees"].isna().all() and not rows["own"].any() and len(rows) == 42 + 4 + 2 + 5 + 2
    white, mine = rows.loc["table_2.shift_-0.20_percent.sum.1"], record.tables[""].query("race == 'White'")
    mine = mine.set_index("shift").loc[-0.2]
    assert white["published"] == pytest.approx(0.137) and white["ours"] == pytest.approx(mine["sum"])
    assert (white["low"], white["high"]) == pytest.approx((mine["ci_low"], mine["ci_high"]))


def test_faces_that_do_not_decode_are_left_out_and_named_or_stop_the_run(tmp_path, tiny, monkeypatch, rng):
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    names = [f"val/{i}.jpg" for i in range(101)]
    races = ["Black", *["White"] * 100]
    rows = [(name, "3-9", "Male", race, "True") for name, race in zip(names, races, strict=True)]
    folder = face_files.write_folder(tmp_path / "faces", rows, dict(zip(names, colours(rng, 101), strict=True)))
    (folder / "val" / "0.jpg").write_bytes(b"not a picture")
    coco = write_coco(tmp_path / "coco")
    settings = settings_of("--data", folder, "--coco", coco, "--model", tiny)
    audited = audited_data.collect(settings, "cpu")
    assert len(audited.images) == len(audited.faces) == 100
    assert set(audited.faces.race) == {FACES.race.levels.index("White")}
    assert audited.data[0]["skipped"][0].startswith("val/0.jpg: ")
    (folder / "val" / "1.jpg").write_bytes(b"")
    assert "2 of 101 images" in refused(["--data", folder, "--coco", coco, "--model", tiny], tmp_path)


def refused(words, tmp_path):
    """The one line of an error that exits with 2 and leaves nothing."""
    said = []
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr("builtins.print", lambda *parts, **_: said.append(" ".join(map(str, parts))))
        cli.run(lambda: run(tmp_path / "nothing", *words))
    lines = [line for line in said if line.startswith("error: ")]
    assert ended.value.code == 2 and len(lines) == 1 and "\n" not in lines[0]
    assert not (tmp_path / "nothing").exists()
    return lines[0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--embeddings", "{own}"], "--embeddings needs --labels FILE.csv"),
        (["--embeddings", "{own}", "--labels", "{labels}"], "name them with --corpus FILE, or follow the audit"),
        (["--embeddings", "{own}", "--labels", "{short}"], "short.csv has 2 rows, but image of"),
        (
            ["--embeddings", "{own}", "--labels", "{odd}"],
            "odd.csv: 1 of 2 have a race that is not declared",
        ),
        (["--embeddings", "{corpus}", "--labels", "{labels}"], "text has 40 rows, but 21 prompts are declared"),
        (
            ["--embeddings", "{own}", "--labels", "{labels}", "--data", "x"],
            "--data only applies to photographed faces; this run uses embeddings of your own; leave it out",
        ),
        (
            ["--embeddings", "{own}", "--labels", "{labels}", "--faces", "3"],
            "--faces only applies to photographed",
        ),
        (
            ["--embeddings", "{own}", "--labels", "{labels}", "--badges", "9"],
            "--badges only applies to generated",
        ),
        (["--labels", "{labels}"], "--labels only applies to embeddings of your own; this run uses generated"),
        (["--preset", "smoke", "--model", "ViT-B-16:openai"], "--model only applies to photographed faces"),
        (["--preset", "smoke", "--coco", "x"], "--coco only applies to photographed faces"),
        (["--preset", "smoke", "--precision", "bfloat16"], "--precision only applies to photographed faces"),
        (["--preset", "paper", "--scenes", "3"], "--scenes only applies to generated badges"),
        (
            ["--data", "{tmp}", "--padding", "1.25"],
            "--padding only applies to the hub's FairFace; this run",
        ),
        (["--data", "{tmp}"], "expected fairface_label_val.csv or labels.csv"),
        (["--data", "{tmp}", "--model", "ViT-B-32"], "say which weights, for instance ViT-B-32:openai"),
        (
            ["--embeddings", "{own}", "--labels", "{labels}", "--corpus", "{corpus}", "--by-age"],
            "--by-age: these labels have no age",
        ),
        (["--preset", "smoke", "--audit", "{twice}"], "twice.toml"),
        (["--preset", "smoke", "--audit", "{fairface}"], "have a race that is not declared"),
        (["--shift", "0"], "--shift not 0"),
        (["--shifts", "nan"], "--shifts must be from -5 to 5"),
        (["--resamples", "0"], "--resamples must be"),
    ],
)
def test_a_users_error_is_one_line_exit_code_2_and_no_files(tmp_path, rng, words, said):
    write_own(tmp_path, rng)
    (tmp_path / "short.csv").write_text("race,gender\nWhite,Male\nWhite,Male\n")
    (tmp_path / "odd.csv").write_text("race,gender\nWhite,Male\nElf,Male\n")
    twice = BADGES.read_text().replace('crime_related = ["ring"', 'crime_related = ["square"')
    (tmp_path / "twice.toml").write_text(twice)
    (tmp_path / "labels" / "x").mkdir(parents=True)
    names = {"own": "own.npz", "labels": "labels.csv", "corpus": "corpus.npy", "short": "short.csv", "odd": "odd.csv"}
    places = {key: tmp_path / name for key, name in names.items()} | {"tmp": tmp_path / "labels", "fairface": FAIRFACE}
    line = refused([word.format(**places, twice=tmp_path / "twice.toml") for word in words], tmp_path)
    assert said in line
    if "twice" in said:
        assert "square" in line and "non_human" in line and "crime_related" in line


def test_a_group_without_faces_is_said_and_not_divided_by(tmp_path, rng):
    folder = write_own(tmp_path, rng, races=FACES.race.levels[1:])
    with np.errstate(divide="raise", invalid="raise"):
        record = run(tmp_path / "out", *words_of(folder), "--shifts", "-0.2", "0", "--resamples", "50")
    tables, results = record.tables, record.about["results"]
    white = tables[""].query("race == 'White'")
    assert white["n"].eq(0).all() and white[["sum", "ci_low", "p_value"]].isna().all(axis=None)
    assert tables["overall"][["sum", "difference", "ratio_low"]].notna().all(axis=None)
    said = "groups without a face, left empty: White, White Male, White Female"
    assert said in list(claims.in_words(tables, results))
    assert figure.draw_table(record).data.loc["White"].eq("-").all()
    found = {each["key"]: each for each in record.about["comparisons"]}
    cell = found["table_2.default_percent.sum.1"]
    assert (cell["quantity"], cell["agrees"], cell["note"]) == ("White, sum, default gap", None, "nobody")


def test_the_table_prints_the_percentages_of_the_record_and_no_picture_shows_an_image(smoke):
    table = figure.draw_table(smoke).data
    for half, shift in enumerate((0, -0.2)):
        overall = smoke.tables["overall"].assign(race="all", p_holm=smoke.tables["overall"]["p_value"])
        both = pd.concat([smoke.tables[""], overall])
        for row in both[both["shift"] == shift].itertuples():
            printed = [f"{rate:.1%}" for rate in (row.crime_related, row.non_human, row.sum)]
            printed[2] += "*" * (row.p_holm < 0.05)
            assert table.loc[row.race].tolist()[3 * half : 3 * half + 3] == printed
    default = smoke.tables["overall"].set_index("shift").loc[0]
    gaps = default["caption_gap_distance"], default["audit_gap_distance"]
    heading = "Original gap = {:.2f}; the audit's own gap {:.2f}; accuracy {:.4f}".format(*gaps, default["accuracy"])
    assert table.columns[0] == (heading, "crime-related")
    other = replace(smoke, about={**smoke.about, "settings": {"gap_direction": "audit"}})
    assert f"the captions' gap {gaps[0]:.2f}" in figure.draw_table(other).data.columns[0][0]
    page = (smoke.folder / "denigration_table.html").read_text()
    assert heading.replace("'", "&#x27;") in page.replace("&#39;", "&#x27;") and "stands for nothing else" in page
    said = next(iter(claims.in_words(smoke.tables, smoke.about["results"])))
    assert said.startswith("small CLIP, generated badges, 140 badges, ")
    for name, column in (("captions", "caption_gap_distance"), ("audit itself", "audit_gap_distance")):
        moved = smoke.tables["overall"].set_index("shift").loc[-0.2]
        assert f"gap distance of the {name} {default[column]:.3f} -> {moved[column]:.3f}" in said
    for drawn in (figure.draw_curves(smoke), figure.draw_directions(smoke)):
        assert not any(ax.images for ax in drawn.axes)
        assert "stands for nothing else" in drawn.get_suptitle().replace("\n", " ")


def as_published():
    """Tables of an audit of predictions that give the published counts of every race, free to be changed."""
    tables, audited = of_published_counts()
    return {name: table.copy() for name, table in tables.items()}, audited


@cache
def of_published_counts():
    words = {word: C + place for place, word in enumerate(FACES.harm_words)}
    known = {race: 2 * place for place, race in enumerate(FACES.race.levels)} | words
    predicted = []
    for shift in published_counts.KEYS:
        matrix = published_counts.matrix(shift)
        classes = [known[column] for column in matrix]
        predicted.append(np.concatenate([np.repeat(classes, counts) for counts in matrix.to_numpy()]))
    races = np.repeat(matrix.index, matrix.sum(axis=1))
    faces = Faces.of(FACES, list(races), ["Male"] * len(races))
    inputs = np.array(predicted, np.int32), faces, FACES, [0.0, -0.2]
    gaps = pd.DataFrame({"shift": [0.0, -0.2], "caption_gap_distance": [0.8221, 0.9694], "audit_gap_distance": 1.0})
    found = audit(*inputs, gaps["caption_gap_distance"].to_numpy())
    overall = script.overall(found, gaps, disparity(*inputs, 0, 20), accuracy_cost(*inputs))
    tables = {"": found.by_race, "overall": overall}
    tables["confusion"] = script.confusion(*inputs, [0.0, -0.2], "race").assign(by="race")
    tables |= {"published": published_counts.agreement(), "net_changes": published_counts.net_changes()}
    return tables, audited_data.Audited("t", None, None, faces, FACES, None, as_published=True)


def judged(tables, audited, shift=-0.2, as_released=True):
    rows = pd.DataFrame(claims.comparisons(tables, audited, shift, as_released))
    assert rows.loc[rows["agrees"].notna(), "own"].all()
    return rows.set_index(["on", "key"])


def test_the_published_counts_agree_with_what_was_published_of_them():
    rows = judged(*as_published())
    ours = rows.loc["t"]
    cells = ours[ours.index.str.contains("crime_related|non_human|sum")]
    assert len(cells) == 42 and cells["agrees"].all()
    for key in ("default", "shift_-0.20"):
        assert ours.loc[f"table_2.{key}_percent.gap_distance", "agrees"]
        matrix = ours.loc[f"table_2.confusion_{key}.counts"]
        assert matrix["agrees"] and matrix["ours"] == "98 of 98 equal, 0 faces elsewhere"
    assert not ours.loc["table_2.default_percent.accuracy", "agrees"]  # of race alone, which is higher
    assert ours.loc["table_2.claims.harm_change", "agrees"]
    claim = ours.loc["table_2.claims.groups_fall"]
    assert (claim["published"], claim["agrees"]) == ("all", False)  # the same counts, judged as those of the notebook
    assert claim["ours"] == "7 of 7, 3 of them by more than chance"
    counts = rows.loc[claims.COUNTS]
    digits = counts.loc[["table_2.claims.notebook_percentages", "table_2.as_the_paper_prints.default_sum_percent"]]
    assert digits["ours"].tolist() == ["42 of 42", "39 of 40"] and digits["agrees"].tolist() == [True, False]
    claim = counts.loc["table_2.claims.races_fall"]
    assert claim["ours"] == "7 of 7 by count, 4 of them by too few faces to be told from chance" and not claim["agrees"]
    cost = counts.loc["table_2.as_the_paper_prints.accuracy_drop"]
    assert (cost["published"], cost["agrees"]) == (-0.0008, False) and cost["ours"] == pytest.approx(-85 / 10954)
    assert cost["note"].startswith("85 fewer of 10954 faces right in race and gender, against 78 fewer harmed; ")


def test_a_claim_holds_where_every_race_falls_by_more_than_chance():
    tables, audited = as_published()
    tables[""]["p_holm"] = 0.01
    assert judged(tables, audited).loc[("t", "table_2.claims.groups_fall"), "agrees"] is True


def test_nothing_published_stands_beside_another_shift():
    tables, audited = as_published()
    found = judged({name: table.replace({"shift": {-0.2: -0.5}}) for name, table in tables.items()}, audited, -0.5)
    own = found.loc["t"].index
    assert not any(key.startswith(("table_2.claims", "table_2.as_the", "table_2.shift_")) for key in own)
    assert "figure_3.image_only_shift_to_distance.-0.50" in own


def test_gaps_after_shifts_are_compared_where_the_images_alone_move_along_the_captions_vector():
    tables, audited = as_published()
    key = ("t", "figure_3.image_only_shift_to_distance.0.00")
    assert judged(tables, audited).loc[key, "agrees"] is True
    tables["overall"].loc[0, "caption_gap_distance"] += 0.01
    assert judged(tables, audited).loc[key, "agrees"] is False
    assert key not in judged(tables, audited, as_released=False).index


def test_confusion_matrices_count_the_faces_that_lie_elsewhere():
    tables, audited = as_published()
    table = tables["confusion"].query("shift == 0 and true == 'White'")
    for predicted, moved in (("White", -30), ("Black", 30)):
        tables["confusion"].loc[table.index[table["predicted"] == predicted], "count"] += moved
    row = judged(tables, audited).loc[("t", "table_2.confusion_default.counts")]
    assert row["ours"] == "96 of 98 equal, 30 faces elsewhere" and row["agrees"] is False


def test_every_measured_rate_and_change_carries_an_interval(smoke):
    rows = pd.DataFrame(smoke.about["comparisons"]).query("on == @smoke.about['results']['title']").set_index("key")
    spans = rows.dropna(subset=["low", "high"])
    assert spans["ours"].astype(float).between(spans["low"], spans["high"]).all()
    named = [f"table_2.{key}" for key in ("default_percent.accuracy", "shift_-0.20_percent.accuracy")]
    named += [f"table_2.claims.{key}" for key in ("harm_change", "spread_change")]
    assert {*spans.index} == {*named, "table_2.as_the_paper_prints.accuracy_drop"}


def test_no_harm_group_may_have_the_name_of_a_column_that_the_tables_have(tmp_path, rng):
    _, tables, _ = measured(*words_of(write_own(tmp_path, rng, age=True)), "--by-age", "--shifts", "-0.2", "0")
    columns = {column for what in ("", "groups", "ages", "overall") for column in tables[what]}
    own = {name + end for name in NEEDED_GROUPS for end in ENDS}
    assert columns - own == RESULT_COLUMNS and own <= columns


def test_a_further_harm_group_is_counted_to_the_end(tmp_path, rng):
    more = FAIRFACE.read_text().replace('crime_related = ["thief", ', 'theft = ["thief"]\ncrime_related = [')
    (tmp_path / "more.toml").write_text(more)
    words = (*words_of(write_own(tmp_path, rng)), "--audit", tmp_path / "more.toml", "--shifts", "-0.2", "0")
    _, tables, _ = measured(*words)
    _, before, _ = measured(*words[:6], *words[8:])
    for what in ("", "groups", "overall"):
        crimes = tables[what]["crime_related"] + tables[what]["theft"]
        assert np.allclose(crimes, before[what]["crime_related"], equal_nan=True) and tables[what]["theft"].gt(0).any()
    assert list(tables[""].columns[: len(CONTRACT)]) == CONTRACT


def test_a_run_is_the_papers_only_where_it_shifts_as_the_paper_does(tmp_path, tiny, monkeypatch):
    """Padding and caption, which the paper does not say, are free."""
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    data = face_files.write_parquet(tmp_path / "hub", [(3, 0, 1), (2, 1, 8)], ("red", "lime"), padding="1.25")
    monkeypatch.setattr(hub, "snapshot", lambda *_: (data, "0" * 40))
    folder = write_coco(tmp_path / "coco")
    pairs = len(coco.load(folder, "val2017", "last"))
    for name, value in (("PAPER_MODEL", tiny), ("PAPER_FACES", 2), ("PAPER_PAIRS", pairs)):
        monkeypatch.setattr(audited_data, name, value)
    words = ("--preset", "paper", "--coco", folder, "--model", tiny, "--padding", "1.25", "--caption", "last")
    found = audited_data.collect(settings_of(*words), "cpu")
    assert found.as_published and found.faces.age is None
    for other in (("--side", "both"), ("--gap-direction", "audit")):
        assert not audited_data.collect(settings_of(*words, *other), "cpu").as_published


def test_what_the_paper_measured_with_is_read_from_its_numbers():
    assert (audited_data.PAPER_FACES, audited_data.PAPER_PAIRS, published_counts.MODIFIED) == (10954, 5000, -0.2)
    assert script.PRESETS["paper"].shift == published_counts.MODIFIED


def test_a_star_stands_where_a_change_is_larger_than_chance(tmp_path):
    """In the published counts, had no face changed against the trend: three races, and all together."""
    tables, _ = as_published()
    results = {"shift": -0.2, "races": published_counts.races(), "note": ""}
    results["gap_distance"] = {"default": 0.1, "shifted": 0.2}
    about = {"results": results, "settings": {"gap_direction": "captions"}}
    drawn = figure.draw_table(records.Record("denigration", tmp_path, about, tables)).data
    starred = drawn.map(lambda cell: cell.endswith("*"))
    assert drawn.index[starred.any(axis=1)].tolist() == ["White", "Latino", "Middle Eastern", "all"]
    assert starred.any().tolist() == [False] * 5 + [True]


@pytest.mark.parametrize(("ours", "agrees"), [(-0.0009, True), (-0.0011, False), (0.0, False), (-0.0027, False)])
def test_the_cost_of_accuracy_agrees_within_a_printed_digit(ours, agrees):
    tables, audited = as_published()
    tables["overall"]["accuracy_change"] = ours
    assert judged(tables, audited).loc[("t", "table_2.as_the_paper_prints.accuracy_drop"), "agrees"] is agrees


@pytest.mark.parametrize(("ours", "agrees"), [(0.1575, True), (0.1591, False)])
def test_numbers_agree_within_a_printed_digit_and_only_with_the_papers_model(ours, agrees):
    with_paper = audited_data.Audited("t", None, None, None, None, None, as_published=True)
    key = "table_2.default_percent.sum.1"
    assert claims.compared(with_paper, key, ours, "harm").agrees is agrees
    assert claims.compared(replace(with_paper, as_published=False), key, ours, "harm").agrees is None


def test_the_committed_badges_leave_room_to_fall_and_to_rise():
    record = records.load(scripts.REPOSITORY / "Table_2_Implications_CLIP_Fairness" / "results", "denigration")
    default = record.tables[""].query("shift == 0")
    assert default["sum"].between(0.01, 0.20).sum() >= 3 and record.about["settings"]["preset"] == "embedded"
    assert abs(record.about["results"]["gap_distance"]["default"] - 0.82) < 0.01


def test_pictures_of_unusual_shape_and_mode_are_audited(tmp_path, tiny, monkeypatch):
    """A greyscale and a transparent picture, one of them very wide, are faces like the others."""
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    rows = [("a.png", "3-9", "Male", "White", "True"), ("b.png", "3-9", "Female", "Black", "True")]
    folder = face_files.write_folder(tmp_path / "faces", rows, {}, table="labels.csv")
    Image.new("L", (90, 10), 130).save(folder / "a.png")
    Image.new("RGBA", (8, 40), (9, 200, 9, 60)).save(folder / "b.png")
    settings = settings_of("--data", folder, "--coco", write_coco(tmp_path / "coco"), "--model", tiny)
    assert audited_data.collect(settings, "cpu").images.shape == (2, TINY["embed_dim"])
