"""An audit of one's own groups: the recipe of the README as it stands there, and the words that its pictures speak."""

import re
import shlex

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

import labelled_faces
import picture_checks
import reference
import scripts
from util import UserError, figures, records
from util.fairness.declared import Declared

script = scripts.load("Table_2_Implications_CLIP_Fairness/denigration.py")
README = scripts.REPOSITORY / "Table_2_Implications_CLIP_Fairness" / "README.md"
MY_MODEL = """
import numpy as np
def embed_texts(texts):
    rows = np.eye(16)[: len(texts)]
    rows[6:, 15] = 0.5  # harm words lie nearer to the side of the images
    return rows
def embed_images(files):
    numbers = np.array([int(file.stem) for file in files])
    harm = np.random.default_rng(1).uniform(0, 1, (60, 1))[numbers]  # how much of a harm word is in a picture
    return np.eye(16)[numbers % 6] + harm * np.eye(16)[6 + numbers // 6 % 3] + 0.5 * np.eye(16)[15]
"""
N = 60
FOREIGN = re.compile(r"\brace|gender|crime|human|FairFace|badge", re.IGNORECASE)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    """The README's files, its Python lines and its command, run in an empty folder; and what was printed."""
    folder = tmp_path_factory.mktemp("recipe")
    text = README.read_text().split("## Your own faces")[1].split("\n## ")[0]
    blocks = dict(re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL))
    assert list(blocks) == ["toml", "csv", "python", "bash"]
    (folder / "mine.toml").write_text(blocks["toml"])
    declared = Declared.read(folder / "mine.toml")
    names = [f"{k}.png" for k in range(N)]
    rows = [(name, *declared.classes[k % 6].split()) for k, name in enumerate(names)]
    order = np.random.default_rng(2).permutation(N)
    lines = [blocks["csv"].splitlines()[0], *(",".join(rows[k]) for k in order)]
    (folder / "labels.csv").write_text("\n".join(lines))
    (folder / "my_model.py").write_text(MY_MODEL)
    (folder / "pictures").mkdir()
    for name in names:
        (folder / "pictures" / name).touch()
    (command,) = blocks["bash"].splitlines()
    path, *words = shlex.split(command)[1:]
    for line in (["-c", blocks["python"]], [scripts.REPOSITORY / path, *words, "--output", "out"]):
        paths = {"PYTHONPATH": f"{scripts.REPOSITORY}:{folder}"}
        done = scripts.python(*map(str, line), cwd=folder, **paths)
    return folder, done


@pytest.fixture(scope="module")
def answers(recipe):
    """The class of each picture, by its number, at shift 0 and at -0.2, in float64."""
    stored = np.load(recipe[0] / "mine.npz")
    order = np.argsort([int(name.split(".")[0]) for name in stored["files"]])
    x, y = reference.unit(stored["image"][order]), reference.unit(stored["text"])
    along = reference.unit(reference.gap(x, y)[None])[0]
    return {shift: (reference.unit(x - shift * along) @ y.T).argmax(1) for shift in (0.0, -0.2)}


def test_the_recipe_of_the_readme_takes_one_attempt_and_gives_the_right_numbers(recipe, answers):
    folder, said = recipe
    table = pd.read_csv(folder / "out" / "denigration.csv")
    columns = ["signed_gap_distance", "accuracy", "age", "n", "insult", "animal", "sum", "ci_low", "ci_high", "p_value"]
    assert list(table.columns)[:11] == ["shift", *columns]
    truth = np.arange(N) % 6
    for shift, given in answers.items():
        for age, mine in (("young", truth < 3), ("old", truth >= 3)):
            row = table[(table["shift"] == shift) & (table["age"] == age)].iloc[0]
            rates = [(given[mine] >= 6).mean(), (given[mine] == 8).mean(), (given == truth).mean()]
            assert row["n"] == N // 2 and 0 < rates[0] < 0.9
            assert row[["sum", "animal", "accuracy"]].tolist() == pytest.approx(rates, abs=1e-6)
    assert "60 pairs matched by paths; without a partner: 0 of 60" in said
    assert re.search(r"accuracy 0.\d+ -> 0.\d+ \(change: 95% from ", said)
    assert re.search(
        r"Harm falls in \d of 2 groups by age. More than chance: .*\n.*Harm rises in \d of 2 groups by age.", said
    )


def test_tables_record_and_pictures_speak_the_declared_words_alone(recipe):
    folder, said = recipe
    record = records.load(folder / "out", "denigration")
    spoken = [said, record.about["title"], *record.about["captions"].values(), record.about["results"]["note"]]
    spoken += [(folder / "out" / "denigration_table.html").read_text()]
    spoken += [table.to_csv() for table in record.tables.values()]
    figures.use_style()
    for draw in (draw for stem, draw in script.DRAWN.items() if stem not in ("_table", "_confusion_published")):
        for width in ("column", "page"):
            drawn = draw(picture_checks.at_width(record, width))
            picture_checks.printable(drawn, width)
            assert drawn.get_suptitle().startswith("Portraits: harm words")
            spoken += [text.get_text() for text in drawn.findobj(plt.Text)]
    assert not [text for text in spoken if FOREIGN.search(text)]
    assert all(any(word in text for text in spoken) for word in ("insult", "animal", "age", "young, n = 30"))
    assert record.about["comparisons"] == [] and not {"published", "net_changes", "against"} & {*record.tables}


def test_faces_that_change_are_named(recipe, answers):
    folder, _ = recipe
    table = pd.read_csv(folder / "out" / "denigration_changed.csv")
    assert list(table) == ["face", "age", "city", "default", "modified"]
    declared = Declared.read(folder / "mine.toml")
    said = np.array([*declared.classes, *declared.harm_words])
    before, after = answers.values()
    moved = [k for k in range(N) if (before[k] >= 6) != (after[k] >= 6)]
    rows = [(f"{k}.png", *declared.classes[k % 6].split(), said[before[k]], said[after[k]]) for k in moved]
    assert len(rows) > 2 and sorted(rows) == sorted(table.itertuples(index=False, name=None))


@pytest.mark.parametrize(
    ("names", "embedded", "said"),
    [
        ("a b b1 c", "a b c", "gives 1 of 3 rows labels that differ; a row has one label"),
        ("a b d e", "a c e d", "1 of 4 in mine have no row, first 'c'"),
        ("a b c", "a a", "ids and id of mine and labels have 1 values in common"),
    ],
)
def test_missing_and_double_names_are_refused_by_name(tmp_path, names, embedded, said):
    rows = "".join(f"{name[0]},White,{'Female' if name[1:] else 'Male'}\n" for name in names.split())
    (tmp_path / "labels.csv").write_text(f"id,race,gender\n{rows}")
    beside = {"ids": np.array(embedded.split())}
    with pytest.raises(UserError, match=re.escape(said)):
        labelled_faces.labels_of(tmp_path / "labels.csv", Declared.read(), beside, len(beside["ids"]), "mine")
