"""Table 1, end to end: the script on generated tasks, on data sets stored as parquet, on one's own embeddings."""

import io
import json
from dataclasses import replace

import datasets
import numpy as np
import open_clip
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import save_file
from sklearn.metrics import accuracy_score, roc_auc_score

import embedded_tasks as sources
import evaluation
import kept
import scripts
import zero_shot_claims as claims
import zero_shot_figure as figure
from test_coco import write_folder
from test_open_clip_pair import TINY
from util import Embeddings, UserError, cli, geometry, interventions, published, records
from util.corpora import tasks
from util.corpora.generated import pictures
from util.encoders import small_clip

script = scripts.load("Table_1_Implications_CLIP_Zero_Shot/zero_shot.py")
QUICK = {"shift_step": 2.5, "resamples": 20, "permutations": 20, "captioned": 40}
SHAPES = pictures.SCENE_ATTRIBUTES["shape"]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache folder that is nobody's and empty."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODALITY_GAP_DATA", str(folder))
        yield folder


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
    """The record of the smoke preset, run once."""
    folder = tmp_path_factory.mktemp("outputs")
    calibration = folder / "shift.safetensors"
    script.main(replace(script.PRESETS["smoke"], output=folder / "t", save_shift=calibration, save_task="digit"))
    return records.load(folder / "t", "zero_shot")


def write_set(folder, scenes, names=SHAPES, labels=None, file="test-00000-of-00001.parquet"):
    """Scenes as a data set of the hub is stored: encoded pictures, and labels with their names."""
    cells = []
    for image in scenes.images:
        content = io.BytesIO()
        Image.fromarray(image).save(content, "png")
        cells.append({"bytes": content.getvalue(), "path": None})
    label = datasets.ClassLabel(names=list(names)) if names else datasets.Value("int64")
    features = datasets.Features({"img": datasets.Image(), "shape": label})
    labels = pictures.task_labels("shape", scenes) if labels is None else labels
    folder.mkdir(parents=True)
    datasets.Dataset.from_dict({"img": cells, "shape": list(labels)}, features=features).to_parquet(folder / file)


def declare(path, key, names=SHAPES, prompt="a {}", metric="top-1"):
    """One's own task in TOML."""
    words = json.dumps(list(names))
    lines = [
        f"[{key}]",
        'title = "Scenes"',
        'group = "coarse-grained"',
        f'metric = "{metric}"',
        'dataset = "nobody/scenes"',
    ]
    lines += ['image_column = "img"', 'label_column = "shape"', f"class_names = {words}", f'prompts = ["{prompt}"]']
    path.write_text("\n".join(lines))
    return path


def run(tmp_path, **settings):
    script.main(replace(script.PRESETS["embedded"], **{**QUICK, "output": tmp_path / "out", **settings}))
    return records.load(tmp_path / "out", "zero_shot")


def refused(tmp_path, capsys, *words):
    """What a user reads whose call is refused."""
    quick = ("--shift-step", 2.5, "--resamples", 20, "--permutations", 20, "--captioned", 40)
    options = [str(word) for word in (*quick, *words, "--output", tmp_path / "out")]
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: script.main(cli.parse(script.PRESETS, "", options)))
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert ended.value.code == 2 and len(lines) == 1 and not (tmp_path / "out").exists()
    return lines[0]


def test_the_script_writes_its_tables_record_and_pictures(smoke):
    tables = {
        "zero_shot.csv",
        *(f"zero_shot_{what}.csv" for what in ("table", "summary", "gaps", "published", "counts", "areas")),
    }
    drawn = {f"{stem}.{suffix}" for stem in ("zero_shot", "zero_shot_table") for suffix in ("png", "pdf")}
    assert {path.name for path in smoke.folder.iterdir()} == {*tables, *drawn, "zero_shot.json"}
    curves, table = smoke.tables[""], smoke.tables["table"]
    assert curves.groupby(["dataset", "metric", "gap_direction", "split", "side"]).size().eq(20).all()
    assert table.groupby(["dataset", "metric"]).size().eq(2 * 2 * 2).all() and table["dataset"].nunique() == 5
    assert not curves["value"].isna().any() and curves["value"].between(0, 1).all()
    assert set(table["group"]) == set(figure.GROUPS)


def test_every_generated_task_is_far_above_chance(smoke):
    table = smoke.tables["table"]
    assert (table[["ci_low", "default_low"]].min(axis=1) > 3 * table["chance"]).all()


def test_the_record_says_what_every_task_was_made_of(smoke):
    data = {part["name"]: part for part in smoke.about["data"]}
    shapes = data["shapes"]
    assert shapes["n"] == 80 and len(shapes["split_sha256"]) == 64 and shapes["skipped"] == []
    assert shapes["prompts"][0] == [f"a {SHAPES[0]}"] and shapes["encoder"]["encoder"] == "small CLIP"
    assert data["described scenes"]["caption_rule"] == "one caption for each image"
    cosines = smoke.tables["gaps"].set_index("dataset")["cosine_of_directions"]
    assert cosines["described scenes"] > 0.9 and cosines.between(-1, 1).all()


def test_the_published_rows_that_were_not_run_are_said_not_to_be(smoke):
    rows = smoke.about["comparisons"]
    theirs, claims = rows[:5], rows[5:]
    for row, printed in zip(theirs, published.values()["table_1"]["rows"], strict=True):
        assert row["ours"] == "not run here" and row["agrees"] is None
        assert str(printed["default"]) in row["published"] and str(printed["modified"]) in row["published"]
    assert len(claims) == 6 and all(row["published"] == "a shift improves it" for row in claims)
    held = smoke.tables["table"].query("selection == 'held_out' and gap_direction == 'task' and side == 'both'")
    assert [row["ours"] for row in claims] == pytest.approx(held["gain"].tolist())


def test_a_saved_shift_gives_the_value_that_the_table_says(smoke):
    calibration = interventions.load(smoke.folder.parent / "shift.safetensors")
    row = smoke.tables["table"].query("dataset == 'handwritten digits' and gap_direction == 'task'")
    row = row.query("selection == 'test' and side == 'both'").iloc[0]
    assert calibration.amount == row["shift"] and calibration.side == "both"
    about = calibration.about
    assert about["modified"] == pytest.approx(row["modified"]) and about["n"] == {"x": 80, "y": 10}
    assert about["model"] == "small CLIP" and about["selection"] == "best of 20 shifts for top-1 on all 80 items"
    digits, clip = pictures.digits("held_out").take(slice(80)), small_clip.load()
    rows = clip.encode_images(digits.images), clip.encode_texts(pictures.TASKS["digit"].prompts)
    x, y = calibration.transform(*rows)
    assert accuracy_score(pictures.task_labels("digit", digits), (x @ y.T).argmax(1)) == pytest.approx(row["modified"])


def test_both_pictures_show_every_task_and_keep_within_the_page(smoke):
    script.figures.use_style()
    drawn, table = script.draw(smoke), script.draw_table(smoke)
    titles = [ax.get_title(loc="left") for ax in drawn.axes if ax.get_visible()]
    assert len(titles) == 6 and "handwritten digits" in titles[3]
    for half, style in (("first half", "<"), ("second half", ">")):
        curve = smoke.tables[""].query("split == @half and side == 'both' and gap_direction == 'task'")
        curve = curve[curve["metric"].eq("top-1") & curve["dataset"].eq("handwritten digits")].set_index("shift")
        held = smoke.tables["table"].query("dataset == 'handwritten digits' and selection == 'held_out'")
        held = held.query("gap_direction == 'task' and side == 'both'").iloc[0]
        triangle = next(line for line in drawn.axes[3].lines if line.get_marker() == style).get_xydata()[0]
        there = curve.loc[held[f"shift_{half.replace(' ', '_')}"], ["signed_gap_distance", "value"]]
        assert triangle == pytest.approx(there.to_numpy(float))
    words = [text.get_text() for text in table.axes[0].texts]
    assert {"CIFAR10", "0.9013", "HatefulMemes", "shapes", "described scenes"} <= set(words)
    for picture in (drawn, table):
        picture.canvas.draw()
        width, height = picture.canvas.get_width_height()
        shown = [ax for ax in picture.axes if ax.get_visible()]
        for text in [text for ax in shown for text in (*ax.texts, ax._left_title) if text.get_text()]:
            box = text.get_window_extent()
            assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height, text.get_text()


def test_a_data_set_stored_as_parquet_is_measured_as_declared(tmp_path):
    scenes = pictures.scenes(48, seed=77, split="all")
    write_set(
        tmp_path / "data" / "mine",
        scenes,
        names=SHAPES[::-1],
        labels=len(SHAPES) - 1 - pictures.task_labels("shape", scenes),
    )
    tasks_file = declare(tmp_path / "tasks.toml", "mine")
    record = run(tmp_path, tasks_file=tasks_file, data=tmp_path / "data", side=("both",))
    clip = small_clip.load()
    rows = clip.encode_images(scenes.images), clip.encode_texts([f"a {name}" for name in SHAPES])
    labels = pictures.task_labels("shape", scenes)
    curve = record.tables[""].query("gap_direction == 'task' and split == 'all' and metric == 'top-1'")
    for row in curve.itertuples():
        x, y = geometry.shift(*rows, row.shift)
        assert row.value == pytest.approx(accuracy_score(labels, (x @ y.T).argmax(1))), row.shift
    data = record.about["data"][0]
    assert (data["name"], data["n"], data["class_names"]) == ("Scenes", 48, list(SHAPES))
    assert data["dataset"] == "Scenes, local parquet files" and len(data["split_sha256"]) == 64


@pytest.fixture
def undrawn(monkeypatch):
    """Leaves the pictures out, which take seconds."""
    monkeypatch.setattr(script.figures, "save", lambda figure, *_: script.figure.plt.close(figure))


def test_a_roc_auc_task_stored_as_parquet(tmp_path, undrawn):
    scenes = pictures.scenes(300, seed=78, split="all")
    scenes = scenes.take(np.flatnonzero(scenes.attributes["shape"] < 2)[:60])
    write_set(tmp_path / "data" / "two", scenes, names=None)
    tasks_file = declare(tmp_path / "tasks.toml", "two", SHAPES[:2], metric="ROC-AUC")
    record = run(tmp_path, tasks_file=tasks_file, data=tmp_path / "data")
    clip = small_clip.load()
    x, y = clip.encode_images(scenes.images), clip.encode_texts([f"a {name}" for name in SHAPES[:2]])
    area = roc_auc_score(scenes.attributes["shape"], x @ (y[1] - y[0]))
    test = record.tables["table"].query("selection == 'test'")
    assert test["default"].to_numpy() == pytest.approx(area, abs=1e-3)
    assert record.tables["table"]["metric"].eq("ROC-AUC").all() and record.tables["table"]["chance"].eq(0.5).all()


def test_errors_in_data_end_the_script_with_one_line_and_no_files(tmp_path, capsys):
    scenes = pictures.scenes(12, seed=79, split="all")
    write_set(tmp_path / "data" / "mine", scenes, names=None, labels=[9] + [0] * 11)
    tasks_file, data = tmp_path / "tasks.toml", ("--data", tmp_path / "data")
    declare(tasks_file, "mine")
    assert "labels are outside 0..7 (8 classes), first 9 in row 0" in refused(
        tmp_path, capsys, "--tasks-file", tasks_file, *data
    )
    declare(tasks_file, "mine", prompt="a shape")
    assert (
        "[mine]" in (said := refused(tmp_path, capsys, "--tasks-file", tasks_file, *data))
        and "prompts: at least one is needed, each with {}" in said
    )
    write_set(tmp_path / "data" / "other", scenes, file="train-00000-of-00001.parquet")
    declare(tasks_file, "other")
    assert "it has train" in refused(tmp_path, capsys, "--tasks-file", tasks_file, *data)
    declare(tasks_file, "mine", names=SHAPES[:5])
    assert "labels are outside 0..4" in refused(tmp_path, capsys, "--tasks-file", tasks_file, *data)


def test_a_task_without_a_network_is_left_out_and_named(tmp_path, monkeypatch):
    def offline(task, *_, **__):
        raise published.NoConnection(f"{task.title}: no connection to the hub")

    monkeypatch.setattr(sources.tasks, "load", offline)
    declare(tmp_path / "tasks.toml", "mine")
    with pytest.raises(UserError, match="no task could be had: Scenes: no connection to the hub"):
        run(tmp_path, tasks_file=tmp_path / "tasks.toml")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words, said",
    [
        (["--tasks", "colour"], "--tasks: no task 'colour'; there are shape, colour_shape"),
        (["--shift-step", "0"], "--shift-step must be from 0.001 to 5"),
        (["--side", "both", "both"], "--side takes one or more different words, not both both"),
        (["--resamples", "0"], "--resamples must be"),
        (["--n", "2"], "--n must be a whole number of at least 4"),
        (["--model", "ViT-B-32:openai", "--tasks", "digit"], "the generated tasks (digit) are for small-clip"),
        (["--save-shift", "a.npz"], "a calibration is a .safetensors file"),
        (
            ["--tasks", "digit", "--n", "20", "--save-shift", "x.safetensors", "--save-task", "shape"],
            "--save-task: say which",
        ),
        (["--embeddings", "missing.npz"], "no such file"),
        (["--tasks", "digit", "digit"], "--tasks takes one or more different words, not digit digit"),
        (["--embeddings", "a.npz", "--embeddings", "./a.npz"], "--embeddings takes one or more different words"),
        (["--embeddings", "a.npz", "--tasks", "digit"], "--tasks: the files of --embeddings are embedded already"),
        (["--embeddings", "a.npz", "--class-names", "clip"], "--class-names: the files of --embeddings are"),
        (["--preset", "smoke", "--embeddings", "a.npz", "--n", "9"], "--n: the files of --embeddings are"),
        (["--save-task", "digit"], "--save-task: it says what --save-shift FILE is to hold"),
        (["--save-direction", "captions"], "--save-direction: it says what --save-shift FILE is to hold"),
        (["--data", "/no/such/folder"], "--data /no/such/folder: no such folder"),
        (["--class-names", "clip"], "no chosen task has class names 'clip'; they declare none"),
        (
            ["--tasks", "eurosat", "svhn", "--class-names", "clip"],
            "no chosen task has class names 'clip'; there are mteb, torchvision, words",
        ),
        (["--tasks", "shape", "cifar10"], "generated tasks (shape, colour_shape, fine_grained, digit, retrieval) and"),
        (["--tasks", "shape", "nothing"], "no task 'nothing'; there are shape"),
        (["--preset", "paper", "--tasks", "shape"], "shape: generated tasks are not for --preset paper, which has"),
        (
            ["--embeddings", "a.npz", "--save-shift", "x.safetensors", "--save-direction", "captions"],
            "--save-direction captions: there is no caption corpus here",
        ),
        (
            ["--save-shift", "x.safetensors", "--save-task", "published_clip", "--save-direction", "captions"],
            "--save-direction captions: there is no caption corpus here",
        ),
        (["--tasks", "digit", "--save-shift", f"{__file__}/x.safetensors"], "x.safetensors: cannot be written there"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, capsys, words, said):
    assert said in refused(tmp_path, capsys, *words)


def test_ones_own_embeddings_are_a_task_each(tmp_path, rng, undrawn):
    classes = rng.normal(size=(6, 16))
    labels = rng.integers(6, size=80)
    image = classes[labels] + rng.normal(size=(80, 16)) - 0.5
    given = Embeddings.of({"image": image, "text": classes}, labels=labels)
    given.save(tmp_path / "mine.npz")
    Embeddings.of({"image": image, "text": image + 1}).save(tmp_path / "pairs.npz")
    paths = (tmp_path / "mine.npz", tmp_path / "pairs.npz")
    calibration = tmp_path / "made" / "s.safetensors"
    with pytest.raises(UserError, match="--save-task: say which task's shift --save-shift is to hold: mine, pairs"):
        run(tmp_path, embeddings=paths, save_shift=calibration)
    record = run(tmp_path, embeddings=paths, save_shift=calibration, save_task="mine")
    table = record.tables["table"]
    assert set(table["gap_direction"]) == {"task"} and table["dataset"].unique().tolist() == ["mine", "pairs"]
    table = table.query("dataset == 'mine'")
    assert len(record.about["data"][0]["sha256"]) == 64 and record.tables["gaps"]["captions_gap"].isna().all()
    row = table.query("side == 'both' and selection == 'test'").iloc[0]
    x, y = interventions.load(calibration).transform(given.modalities["image"], given.modalities["text"])
    assert accuracy_score(labels, (x @ y.T).argmax(1)) == pytest.approx(row["modified"])


def test_our_default_agrees_with_the_published_one_only_for_the_papers_model_and_data(rng):
    settings = replace(script.PRESETS["paper"])
    task = _published_task(rng, "CIFAR10")
    row = published.values()["table_1"]["rows"][0]
    table = pd.DataFrame(
        {"dataset": ["CIFAR-10"], "selection": ["test"], "n": [10_000], "shift": [-0.5], "direction": ["up"]}
    )
    table["default"], table["modified"] = row["default"] + 0.004, row["modified"] - 0.006
    table[["default_low", "default_high", "ci_low", "ci_high"]] = 0.89, 0.91, 0.90, 0.92
    table["side"] = "both"
    default, modified = claims.beside(row, task, table, settings)
    assert (default.low, default.high, modified.low, modified.high) == (0.89, 0.91, 0.90, 0.92)
    assert (default.agrees, modified.agrees) == (True, False) and default.note == "+0.0040"
    assert "gap up (published: up)" in modified.note
    others = {"model": "ViT-B-32:openai"}, {"n": 100}, {"class_names": "clip"}
    for other in (*others, {"tasks_file": script.Path("mine.toml")}):
        assert claims.beside(row, task, table, replace(settings, **other))[0].agrees is None
    assert claims.beside(row, task, table.assign(n=9_999), settings)[0].note == "part of the data"
    assert claims.beside(row, replace(task, key="mine"), table, settings)[0].agrees is None
    for found, options in ((table, replace(settings, shift_step=0.5)), (table.assign(side="first"), settings)):
        default, modified = claims.beside(row, task, found, options)
        assert default.agrees is True and modified.agrees is None


def test_the_claim_holds_only_for_a_held_out_gain_that_outlasts_the_number_of_rows():
    row = {"dataset": "d", "metric": "top-1", "model": "m", "n": 9, "side": "both", "gap_direction": "task"}
    limits = {"gain_low": -0.3, "gain_high": 0.3}
    gains = {"d": (0.2, 0.01), "e": (0.1, 0.03), "f": (-0.2, 0.001)}
    rows = [
        {**row, "dataset": name, "selection": way, "gain": gain, "p_value": p, "p_value_scaled": 0.5, **limits}
        for name, (gain, p) in gains.items()
        for way in ("test", "held_out")
    ]
    found = claims.compare(pd.DataFrame(rows), [], script.PRESETS["embedded"])[5:]
    assert [claim.agrees for claim in found] == [True, True, False]
    rows[3]["p_value"] = 0.06
    assert [c.agrees for c in claims.compare(pd.DataFrame(rows), [], script.PRESETS["embedded"])[5:]] == [
        True,
        False,
        False,
    ]
    assert found[0].note == "p = 0.01, adjusted for all rows (Holm) 0.02; chosen on the test data +0.2000, p = 0.5"


def _published_task(rng, name):
    rows = np.eye(4, dtype=np.float32)
    return script.Prepared("cifar10", "CIFAR-10", "top-1", "any", "m", rows, rows, np.arange(4), {}, published=name)


def test_the_printed_table_puts_our_row_beside_the_published_one(smoke):
    theirs = published.values()["table_1"]
    tables = {**smoke.tables, "table": smoke.tables["table"].replace({"shapes": "CIFAR-10"})}
    names = {**dict.fromkeys(tables["table"]["dataset"]), "CIFAR-10": "CIFAR10"}
    lines = figure.layout(
        replace(smoke, tables=tables, about={**smoke.about, "results": {"published_as": names}}), theirs
    )
    assert lines[0] == ("group", "coarse-grained")
    _, row = lines[1]
    assert row[:2] == ["CIFAR10", "top-1"] and row[2:4] == ["0.9013", "0.9081 ↑"] and row[4] == "80"
    assert [line for kind, line in lines if kind == "row" and line[0] == "CIFAR-10"] == []
    assert [line[0] for kind, line in lines if kind == "row"].count("described scenes") == 2


def test_a_disk_that_fails_while_drawing_leaves_no_files(tmp_path, monkeypatch):
    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(script.figures, "save", full_disk)
    with pytest.raises(UserError, match="No space left"):
        run(tmp_path, tasks=("digit",), n=20)
    assert not (tmp_path / "out").exists()


def test_the_paper_preset_on_local_copies_of_its_data(tmp_path, undrawn):
    """Everything of --preset paper but the download: an open_clip model from a checkpoint, the declared columns."""
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "tiny4.json").write_text(json.dumps(TINY))
    open_clip.add_model_config(tmp_path / "configs")
    save_file(open_clip.create_model("tiny4").state_dict(), tmp_path / "weights.safetensors")
    rng, names = np.random.default_rng(0), tasks.read()["cifar10"].class_names
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=list(names))})
    images = [Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)) for _ in range(20)]
    (tmp_path / "data" / "cifar10").mkdir(parents=True)
    stored = datasets.Dataset.from_dict({"img": images, "label": [row % 10 for row in range(20)]}, features=features)
    stored.to_parquet(tmp_path / "data" / "cifar10" / "test-00000-of-00001.parquet")
    where = {
        "data": tmp_path / "data",
        "coco": write_folder(tmp_path / "coco"),
        "model": f"tiny4:{tmp_path / 'weights.safetensors'}",
    }
    script.main(
        replace(script.PRESETS["paper"], **QUICK, **where, tasks=("cifar10", "mscoco"), output=tmp_path / "out")
    )
    record = records.load(tmp_path / "out", "zero_shot")
    names = ["CIFAR-10", "MSCOCO, all captions", "MSCOCO, last caption"]
    assert record.tables["table"]["dataset"].unique().tolist() == names and record.about["left_out"] == []
    assert set(record.tables["table"]["gap_direction"]) == {"task", "captions"}
    last = record.tables["gaps"].set_index("dataset").loc["MSCOCO, last caption"]
    assert last["task_gap"] == pytest.approx(last["captions_gap"]) and last["cosine_of_directions"] == pytest.approx(1)
    ours = record.about["comparisons"][0]
    assert ours["quantity"] == "CIFAR10, top-1, default" and ours["published"] == 0.9013 and ours["agrees"] is None
    assert record.about["data"][0]["prompts"][1] == ["a photo of a automobile."]


def test_the_face_says_of_which_data_sets_the_numbers_are_a_small_models(smoke):
    said = figure.caveat(smoke)
    drawn = "shapes, coloured shapes, shapes on backgrounds, described scenes"
    assert said.startswith(f"small CLIP on generated data ({drawn}), handwritten digits: ")
    table = smoke.tables["table"].assign(model="CLIP")
    assert figure.caveat(replace(smoke, tables={**smoke.tables, "table": table})) == ""
    table = smoke.tables["table"].copy()
    table.loc[table["dataset"] == "shapes", "model"] = "CLIP"
    mixed = replace(smoke, tables={**smoke.tables, "table": table})
    names = [line[0] for kind, line in figure.layout(mixed, published.values()["table_1"]) if kind == "row"]
    assert "handwritten digits *" in names and "shapes" in names
    assert figure.here_heading(mixed) == "here (CLIP, *small CLIP)"
    assert figure.heading(table[table["dataset"] == "shapes"], ["CLIP", "small CLIP"]).endswith(", CLIP")
    assert figure.heading(table[table["dataset"] == "shapes"], ["CLIP"]).endswith("n = 80")


@pytest.mark.parametrize("direction", ["task", "captions"])
def test_a_saved_shift_is_along_the_direction_asked_for(rng, direction):
    images = geometry.unit_rows(rng.normal(size=(20, 5)) + 1)
    texts = geometry.unit_rows(rng.normal(size=(4, 5)) - 1)
    labels, corpus = np.arange(20) % 4, rng.normal(size=5)
    task = script.Prepared("t", "T", "top-1", "any", "m", images, texts, labels, {}, captions=corpus)
    settings = replace(script.PRESETS["embedded"], shift_step=1, save_direction=direction, save_shift="x")
    protocol = evaluation.Protocol(cli.shift_grid(1), resamples=20, permutations=20)
    table, left_out = evaluation.evaluate(task, protocol).table, []
    along = corpus / np.linalg.norm(corpus) if direction == "captions" else geometry.unit_gap_vector(images, texts)
    assert kept.calibration([task], table, settings, left_out).direction == pytest.approx(along, abs=1e-6)
    without = kept.calibration([replace(task, captions=None)], table, settings, left_out)
    assert (without is None) == (direction == "captions") == (len(left_out) == 1)
