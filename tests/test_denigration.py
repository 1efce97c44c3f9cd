"""Table 2's script, end to end: generated badges, FairFace's layouts with a tiny model, your own embeddings."""

from functools import partial

import datasets
import numpy as np
import pandas as pd
import pytest

import audited_data
import denigration_claims as claims
import denigration_figure as figure
import published_counts
import reference
import scripts
import smoke_runs
from declared_audit import FAIRFACE, RESULT_COLUMNS, Declared
from picture_files import write_coco, write_face_parquet, write_faces
from tiny_encoders import TINY, tiny_models, with_weights  # noqa: F401  (registers the tiny models)
from util import Embeddings, geometry
from util.corpora import captioned, tasks
from util.fairness.audit import PAPER_GROUPS

script = scripts.load("Table_2_Implications_CLIP_Fairness/denigration.py")
CONTRACT = ["shift", "signed_gap_distance", "accuracy", "race", "n"]
CONTRACT += ["crime_related", "non_human", "sum", "ci_low", "ci_high", "p_value"]
FACES = Declared.read(FAIRFACE)
RACE, GENDER = FACES.axes
C, H = len(FACES.classes), len(FACES.harm_words)
run, settings_of = partial(smoke_runs.run, script), partial(smoke_runs.parsed, script)
PICTURES = [stem for stem in script.DRAWN if stem != "_table"]


def write_own(folder, rng, n=60, races=RACE.levels, d=12):
    """Embeddings of n faces near the prompts, a table of labels, and a caption corpus."""
    prompts = reference.cone(rng, C + H, d)
    given = rng.integers(0, len(races), n), rng.integers(0, 2, n)
    truth = np.array([RACE.levels.index(races[race]) for race in given[0]]) * 2 + given[1]
    near = np.where(rng.random(n) < 0.25, rng.integers(C, C + H, n), truth)
    images = geometry.unit_rows(prompts[near] + 0.25 * rng.normal(size=(n, d)) + 0.5 * np.eye(d)[0])
    Embeddings.of({"image": images, "text": prompts}).save(folder / "own.npz")
    np.save(folder / "corpus.npy", np.stack(reference.pairs(rng, 40, d)))
    lines = [f"{races[race]},{GENDER.levels[gender]}" for race, gender in zip(*given, strict=True)]
    (folder / "labels.csv").write_text("\n".join(["race,gender", *lines]) + "\n")
    return ("--embeddings", folder / "own.npz", "--labels", folder / "labels.csv", "--corpus", folder / "corpus.npy")


def measured(*words):
    found = smoke_runs.measured(script, *words)
    return found.tables, found.results


def test_the_script_writes_tables_record_and_pictures(smoke):
    tables = ["table", "groups", "overall", "confusion", "directions"]
    tables += ["published", "net_changes", "against", "confusion_published"]
    names = {f"denigration_{table}.csv" for table in tables}
    names |= {"denigration.csv", "denigration.json", "denigration_table.html"}
    names |= {f"denigration{stem}.{suffix}" for stem in PICTURES for suffix in ("png", "pdf")}
    assert {path.name for path in smoke.folder.glob("denigration*")} == names
    table = smoke.tables[""]
    assert list(table.columns[: len(CONTRACT)]) == CONTRACT
    assert len(table) == 5 * 7 and table.groupby("shift")["n"].sum().eq(140).all()
    assert np.allclose(table["sum"], table["crime_related"] + table["non_human"])
    for what in ("groups", "overall", "directions"):
        assert {"caption_gap_distance", "audit_gap_distance"} <= set(smoke.tables[what])
    assert len(smoke.tables["groups"]) == 5 * 14
    assert set(smoke.about["captions"]) == {f"denigration{stem}" for stem in script.DRAWN}
    assert {0.0, -0.2, -0.5, -1.0, 0.75} <= set(script.GRID)
    assert (min(script.GRID), max(script.GRID), len(script.GRID)) == (-1.0, 0.75, 36)
    assert script.grid(settings_of("--shifts", "0.5", "--shift", "-0.3")).tolist() == [-0.3, 0.0, 0.5]


@pytest.mark.parametrize(("direction", "side"), [("captions", "first"), ("audit", "both")])
def test_the_tables_hold_what_a_direct_computation_gives(tmp_path, rng, direction, side):
    words = write_own(tmp_path, rng)
    shifts = (-1, -0.2, 0, 0.6)
    options = (*words, "--shifts", *shifts, "--gap-direction", direction, "--side", side)
    tables, results = measured(*options)
    faces = audited_data.collect(settings_of(*options), "cpu").faces
    x, y = (Embeddings.load(words[1]).modalities[name].astype(float) for name in ("image", "text"))
    captions = np.load(words[5]).astype(float)
    followed = captions if direction == "captions" else (x, y)
    u = reference.gap(*followed) / np.linalg.norm(reference.gap(*followed))
    both = reference.unit(np.stack([reference.gap(*captions), reference.gap(x, y)]))
    assert results["cosine_of_directions"] == pytest.approx(both[0] @ both[1], abs=1e-6)
    for amount in shifts:
        moved = geometry.shift(x, y, amount, u, side)
        classes, truth = (moved[0] @ moved[1].T).argmax(1), 2 * faces["race"].cat.codes + faces["gender"].cat.codes
        row = tables["overall"].set_index("shift").loc[amount]
        assert row["accuracy"] == pytest.approx((classes == truth).mean()) and row["n"] == 60
        for name, pair in (("caption", captions), ("audit", (x, y))):
            gap = np.linalg.norm(reference.gap(*geometry.shift(*pair, amount, u, side)))
            assert abs(row[f"{name}_gap_distance"]) == pytest.approx(gap, abs=1e-6)
        assert row["signed_gap_distance"] == row[audited_data.GAPS[direction]]
        cells = tables[""][tables[""]["shift"] == amount].set_index("race")
        for race in RACE.levels:
            mine, cell = classes[faces["race"] == race], cells.loc[race]
            assert cell["non_human"] == pytest.approx(np.isin(mine, range(C, C + 4)).mean())
            assert cell["crime_related"] == pytest.approx(np.isin(mine, range(C + 4, C + 7)).mean())
        part = tables["directions"].query("gap_direction == @direction and side == @side and shift == @amount").iloc[0]
        assert (part["harm"], part["accuracy"]) == (pytest.approx(row["sum"]), pytest.approx(row["accuracy"]))
    matrix = tables["confusion"].query("by == 'race x gender'")
    assert matrix.groupby("shift")["count"].sum().to_dict() == {-0.2: 60, 0.0: 60}


@pytest.mark.parametrize("width", ["column", "page"])
def test_pictures_are_printable_and_explain_every_mark_in_the_audits_own_words(smoke, width):
    record = smoke_runs.at_width(smoke, width)
    legends = []
    for drawn in (script.DRAWN[stem](record) for stem in PICTURES):
        if drawn.legends:
            legends.append({text.get_text() for text in drawn.legends[0].get_texts()})
            labels = {line.get_label() for ax in drawn.axes for line in ax.lines}
            assert legends[-1] == {label for label in labels if not label.startswith("_")}
        smoke_runs.printable(drawn, width)
    gaps = {"default, gap {default:.2f}", "-0.20, gap {shifted:.2f}"}
    gaps = {text.format(**record.about["results"]["gap_distance"]) for text in gaps}
    assert "ring, heart, moon" in legends[0] and all(gaps < legend for legend in legends) and len(legends) == 2
    assert not any("crime" in label or "differs" in label for label in legends[0])  # of 20 badges nothing is sure
    assert len({ax.get_ylim() for ax in figure.draw_curves(record).axes[:7]}) == 1


def test_the_confusion_figure_holds_every_face_and_answer(smoke):
    table = smoke.tables["confusion"].query("by == 'race x gender' and shift == 0")
    ax = figure.draw_confusion(smoke).axes[0]
    assert ax.images[0].get_array().shape == (14, 21)
    written = {text.get_position(): int(text.get_text()) for text in ax.texts if text.get_text()}
    rows, columns = list(table["true"].unique()), list(table["predicted"].unique())
    cells = table[table["count"] > 0].itertuples()
    assert written == {(columns.index(cell.predicted), rows.index(cell.true)): cell.count for cell in cells}
    assert sum(written.values()) == 140


@pytest.fixture
def photographs(tmp_path, monkeypatch):
    """Options of a run with the tiny model on MSCOCO's layout; a cache of its own; the hub gives the folder "hub"."""
    monkeypatch.setenv("MODALITY_GAP_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(captioned, "fetched", lambda *words: (sorted((tmp_path / "hub").glob(words[3])), "0" * 40))
    return ("--coco", write_coco(tmp_path / "coco"), "--model", with_weights(tmp_path))


def colours(rng, n):
    return ["#{:02x}{:02x}{:02x}".format(*rng.integers(0, 256, 3)) for _ in range(n)]


def test_the_paper_preset_runs_on_files_of_the_hubs_schema(tmp_path, photographs, monkeypatch, rng, undrawn):
    labels = [(race, gender, int(rng.integers(9))) for race in range(7) for gender in range(2) for _ in range(2)]
    write_face_parquet(tmp_path / "hub", labels, colours(rng, 28))
    words = ("--preset", "paper", *photographs, "--resamples", 50)
    record = run(tmp_path / "out", *words, "--shifts", "-0.2", "0", "0.5")
    about = {part["what"]: part for part in record.about["data"]}
    assert about["faces"]["revision"] == "0" * 40 and about["faces"]["n"] == 28
    assert record.tables[""]["n"].eq(4).all()
    assert record.about["results"]["races"] == published_counts.races()
    rows = pd.DataFrame(record.about["comparisons"]).query("on != @claims.COUNTS").set_index("key")
    rows = rows[rows["on"] != claims.TOTALS]
    assert rows.loc[~rows.index.str.contains("claims"), "agrees"].isna().all() and not rows["own"].any()
    assert len(rows) == 42 + 4 + 3 + 2 + 4
    white, mine = rows.loc["table_2.shift_-0.20_percent.sum.1"], record.tables[""].query("race == 'White'")
    mine = mine.set_index("shift").loc[-0.2]
    assert white["published"] == pytest.approx(0.137) and white["ours"] == pytest.approx(mine["sum"])
    assert (white["low"], white["high"]) == pytest.approx((mine["ci_low"], mine["ci_high"]))
    measured_as_published = {"PAPER_MODEL": photographs[3], "PAPER_FACES": 28}
    measured_as_published["PAPER_PAIRS"] = len(tasks.mscoco(photographs[1], "val2017", "first"))
    for name, value in measured_as_published.items():
        monkeypatch.setattr(audited_data, name, value)
    for other in ((), ("--side", "both"), ("--gap-direction", "audit")):
        assert audited_data.collect(settings_of(*words, *other), "cpu").as_published is not bool(other)


def test_faces_that_do_not_decode_are_left_out_and_named_or_stop_the_run(tmp_path, photographs, rng, capsys):
    pictures = {f"val/{k}.png": colour for k, colour in enumerate(colours(rng, 101))}
    rows = [(name, "3-9", "Male", "White" if k else "Black", "True") for k, name in enumerate(pictures)]
    folder = write_faces(tmp_path / "faces", rows, pictures)
    (folder / "val" / "0.png").write_bytes(b"not a picture")
    audited = audited_data.collect(settings_of("--data", folder, *photographs), "cpu")
    assert audited.images.shape == (100, TINY["embed_dim"]) and len(audited.faces) == 100
    assert set(audited.faces["race"]) == {"White"}
    assert audited.data[0]["skipped"][0].startswith("val/0.png: ")
    (folder / "val" / "1.png").write_bytes(b"")
    words = map(str, ("--data", folder, *photographs))
    assert "2 of 101 images" in smoke_runs.refusal(script, words, tmp_path / "nothing", capsys)


def test_a_folder_of_other_attributes_needs_no_captions_along_its_own_gap(tmp_path, photographs, rng):
    """Columns are called as the audit calls its attributes, and no MSCOCO is read where nothing follows it."""
    (tmp_path / "mine.toml").write_text(FAIRFACE.read_text().replace("race", "origin").replace("gender", "looks"))
    pictures = {f"{k}.png": colour for k, colour in enumerate(colours(rng, 4))}
    folder = write_faces(tmp_path / "faces", (), pictures, "labels.csv")
    (folder / "labels.csv").write_text("file,origin,looks\n" + "".join(f"{name},White,Male\n" for name in pictures))
    words = ("--data", folder, "--audit", tmp_path / "mine.toml", "--gap-direction", "audit", *photographs[2:])
    tables, results = measured(*words, "--shifts", "0")
    assert tables[""].groupby("origin")["n"].max()["White"] == 4
    assert list(tables["changed"])[:3] == ["face", "origin", "looks"]
    assert results["cosine_of_directions"] is None and "published" not in tables
    assert tables[""]["caption_gap_distance"].isna().all()
    assert tables[""]["signed_gap_distance"].equals(tables[""]["audit_gap_distance"])


OWN = "--embeddings {tmp}/own.npz --labels {tmp}/labels.csv"


def own_files(folder):
    rng = np.random.default_rng(0)
    write_own(folder, rng)
    (folder / "short.csv").write_text("race,gender\nWhite,Male\nWhite,Male\n")
    (folder / "odd.csv").write_text("race,gender\nWhite,Male\nElf,Male\n")
    (folder / "empty").mkdir()
    cones = {name: reference.cone(rng, n, 12) for name, n in (("image", 60), ("audio", 60), ("text", C + H))}
    np.savez(folder / "three.npz", **cones)
    np.save(folder / "narrow.npy", np.stack(reference.pairs(rng, 40, 5)))


test_a_users_error_is_one_line_exit_code_2_and_no_files = smoke_runs.refuses(
    script,
    ("--embeddings {tmp}/own.npz", "--embeddings needs --labels FILE: a row for each face, columns race, gender"),
    (f"{OWN} --gap-direction audit --columns text=image", "own.npz: holds text; two modalities are needed"),
    (f"{OWN} --embeddings {{tmp}}/corpus.npy --gap-direction audit", "own, corpus are 2 sets; an audit takes"),
    ("--embeddings {tmp}/three.npz --labels {tmp}/labels.csv", "holds image, audio, text; choose two of them"),
    (f"{OWN} --corpus {{tmp}}/narrow.npy", "rows of 5 numbers, but those of"),
    (OWN, "name them with --corpus FILE, or follow the audit"),
    ("--embeddings {tmp}/own.npz --labels {tmp}/short.csv", "short.csv has 2 rows, but image of"),
    ("--embeddings {tmp}/own.npz --labels {tmp}/odd.csv", "odd.csv: 1 of 2 have no declared race"),
    ("--embeddings {tmp}/corpus.npy --labels {tmp}/labels.csv", "text has 40 rows, but 21 prompts are declared"),
    ("--data {tmp}/empty", "expected fairface_label_val.csv or labels.csv"),
    (f"--audit {FAIRFACE}", "have no declared race"),
    ("--shift 0", "--shift not 0"),
    ("--shifts nan", "--shifts must be from -5 to 5"),
    ("--resamples 0", "--resamples must be"),
    prepare=own_files,
)


def test_a_group_without_faces_is_said_and_not_divided_by(tmp_path, rng, undrawn):
    words = write_own(tmp_path, rng, races=RACE.levels[1:])
    with np.errstate(divide="raise", invalid="raise"):
        record = run(tmp_path / "out", *words, "--shifts", "-0.2", "0")
    tables, results = record.tables, record.about["results"]
    white = tables[""].query("race == 'White'")
    assert white["n"].eq(0).all() and white[["sum", "ci_low", "p_value"]].isna().all(axis=None)
    assert tables["overall"][["sum", "difference", "ratio_low"]].notna().all(axis=None)
    assert "groups without a face, left empty: White Male, White Female" in list(claims.in_words(tables, results))
    assert figure.draw_table(record).data.loc["White"].eq("-").all()
    assert len(figure.draw_curves(record).axes) == 8
    found = {each.key: each for each in claims.at_released_shifts(claims.Run(tables, "faces", own=False))}
    cell = found["table_2.default_percent.sum.1"]
    assert (cell.quantity, cell.agrees, cell.note) == ("White, sum, default gap", None, "nobody")


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
    heading = f"Original gap = {default['caption_gap_distance']:.2f}; accuracy {default['accuracy']:.4f}"
    assert table.columns[0] == (heading, "ring, heart, moon")
    page = (smoke.folder / "denigration_table.html").read_text()
    assert heading in page and "stands for nothing else" in page
    said = list(claims.in_words(smoke.tables, smoke.about["results"]))
    moved = smoke.tables["overall"].set_index("shift").loc[-0.2]
    assert said[0] == "small CLIP, generated badges, n = 140, shift -0.20:"
    assert said[1] == f"gap distance {default['caption_gap_distance']:.3f} -> {moved['caption_gap_distance']:.3f}"
    rows = pd.DataFrame(smoke.about["comparisons"]).query("on == @smoke.about['results']['title']").set_index("key")
    spans = rows.dropna(subset=["low", "high"])  # every measured rate and change carries an interval
    assert spans["ours"].astype(float).between(spans["low"], spans["high"]).all() and len(spans) == 5 + 3
    for drawn in (figure.draw_curves(smoke), figure.draw_directions(smoke)):
        assert not any(ax.images for ax in drawn.axes)
        assert "stands for nothing else" in drawn.get_suptitle().replace("\n", " ")


def test_a_further_harm_group_is_counted_to_the_end_and_has_no_name_of_another_column(tmp_path, rng):
    more = FAIRFACE.read_text().replace('crime_related = ["thief", ', 'theft = ["thief"]\ncrime_related = [')
    (tmp_path / "more.toml").write_text(more)
    words = (*write_own(tmp_path, rng), "--shifts", "-0.2", "0")
    tables, _ = measured(*words, "--audit", tmp_path / "more.toml")
    before, _ = measured(*words)
    for what in ("", "groups", "overall"):
        crimes = tables[what]["crime_related"] + tables[what]["theft"]
        assert np.allclose(crimes, before[what]["crime_related"], equal_nan=True) and tables[what]["theft"].gt(0).any()
        own = {name + end for name in PAPER_GROUPS for end in ("", "_low", "_high")}
        others = set(before[what]) - own - {"race", "gender"}
        assert own <= set(before[what]) and all(map(RESULT_COLUMNS.fullmatch, others))
    assert list(tables[""].columns[: len(CONTRACT)]) == CONTRACT


def other_files(folder, words, rng):
    """By what differs: the same faces and labels as ``write_own`` gave, in other files."""
    given, labels = np.load(words[1]), pd.read_csv(words[3], dtype=str)
    arrays, order = {"face": given["image"], "prompts": given["text"]}, rng.permutation(len(labels))
    names = np.array([f"{row:03}.png" for row in range(len(labels))])
    np.savez(folder / "named.npz", **arrays, files=names, captions=FACES.prompts)
    np.savez(folder / "plain.npz", **arrays)
    told = {name: FACES.attributes[name] for name in ("race", "gender")}
    numbers = labels.apply(lambda column: [told[column.name].numbers.index(level) for level in column])
    turned = {name: list(told[name].numbers[::-1]) for name in told}  # a data set's own names, in another order
    kinds = datasets.Features({name: datasets.ClassLabel(names=turned[name]) for name in told})
    own = datasets.Dataset.from_dict({name: [turned[name].index(x) for x in labels[name]] for name in told}, kinds)
    own.to_parquet(folder / "hub.parquet")
    nobody = pd.DataFrame({"race": ["White"], "gender": ["Male"], "file": ["x.png"]})
    more = pd.concat([labels.assign(file=names), nobody])
    more.iloc[[60, *order]].to_csv(folder / "shuffled.tsv", sep="\t", index=False)
    numbers.to_csv(folder / "numbers.csv", index=False)
    numbers.assign(id=names).iloc[order].astype({"race": float}).to_parquet(folder / "ids.parquet")
    np.savez(folder / "labels.npz", **{name: labels[name].to_numpy(str) for name in told})
    back = rng.permutation(C + H)
    np.savez(folder / "prompts.npz", prompts=given["text"][back], captions=np.array(FACES.prompts)[back])
    np.savez(folder / "faces.npz", face=given["image"][order], files=names[order])


@pytest.mark.parametrize(
    ("embeddings", "labels", "said"),
    [
        ("plain.npz", "numbers.csv", "race in numbers, 0 East Asian, 1 Indian, 2 Black"),
        ("plain.npz", "labels.npz", "labels.npz: labels are in the order of the faces"),
        ("plain.npz", "hub.parquet", "in the order of the faces"),
        ("named.npz", "shuffled.tsv", "60 pairs matched by paths; without a partner: 0 of 60"),
        ("named.npz", "ids.parquet", "60 pairs matched by paths and ids"),
        ("prompts.npz faces=faces.npz", "shuffled.tsv", "60 pairs matched by paths"),
    ],
)
def test_labels_in_any_form_and_order_give_the_same_numbers(tmp_path, rng, monkeypatch, embeddings, labels, said):
    words = write_own(tmp_path, rng)[:4]
    other_files(tmp_path, words, rng)
    rest = ("--gap-direction", "audit", "--shifts", "-0.2", "0", "--columns")
    monkeypatch.chdir(tmp_path)
    columns = ("face=face", "text=prompts") if " " not in embeddings else ()
    given = [word for name in embeddings.split() for word in ("--embeddings", name)]
    found = smoke_runs.measured(script, *given, "--labels", labels, *rest[: None if columns else -1], *columns)
    tables, _ = measured(*words, *rest[:-1])
    for name in ("", "groups", "overall", "confusion"):
        pd.testing.assert_frame_equal(found.tables[name], tables[name])
    assert any(said in line for line in found.said), found.said
