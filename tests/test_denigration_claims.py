"""The authors' own counts and what is said of claims; an audit of one's own groups by the README's recipe."""

import re
import shlex
from functools import cache

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

import denigration_claims as claims
import denigration_figure as figure
import labelled_faces
import published_counts
import reference
import scripts
import smoke_runs
from declared_audit import Declared
from util import UserError, figures, published, records
from util.fairness import audit
from util.fairness.audit import Answers
from util.numerics import statistics
from util.reporting import comparisons

script = scripts.load("Table_2_Implications_CLIP_Fairness/denigration.py")
FACES = Declared.read()
LABELS = {"crime_related": "crime-related", "non_human": "non-human", "sum": "sum"}


@pytest.fixture
def tables():
    """Tables of an audit of predictions that give the published counts of every race, free to be changed."""
    return {name: table.copy() for name, table in of_published_counts().items()}


@cache
def of_published_counts():
    words = {word: len(FACES.classes) + place for place, word in enumerate(FACES.harm_words)}
    known = {race: 2 * place for place, race in enumerate(FACES.axes[0].levels)} | words
    predicted = []
    for shift in published_counts.COUNTED:
        matrix = published_counts.matrix(shift)
        classes = [known[column] for column in matrix]
        predicted.append(np.concatenate([np.repeat(classes, counts) for counts in matrix.to_numpy()]))
    races = np.repeat(matrix.index, matrix.sum(axis=1))
    faces = FACES.faces({"race": races, "gender": ["Male"] * len(races)})
    answers = Answers(FACES, faces, np.array(predicted), [0.0, -0.2])
    gaps = pd.DataFrame({"shift": [0.0, -0.2], "caption_gap_distance": [0.8221, 0.9694], "audit_gap_distance": 1.0})
    found = script.audit_tables(answers, gaps, script.Settings(resamples=20))
    found |= {"published": published_counts.agreement(), "net_changes": published_counts.net_changes()}
    return found | {"against": claims.against(found, "t")}


def test_the_published_counts_and_the_audit_of_faces_that_they_describe_are_one_definition(tables):
    found = tables[""].set_index(["shift", "race"])
    for row in published_counts.agreement().dropna(subset="count").itertuples():
        assert 100 * found.loc[(row.shift, row.race), row.quantity] == pytest.approx(row.computed_percent)
        assert found.loc[(row.shift, row.race), "n"] == row.n
    for row in published_counts.net_changes().itertuples():
        assert found.loc[(-0.2, row.race), "net"] == row.net
        limits = found.loc[(-0.2, row.race), ["ci_low", "ci_high"]].tolist()
        assert limits == pytest.approx([row.after_low, row.after_high])
    made = tables["confusion"].query("by == 'race'").set_index(["shift", "true", "predicted"])["count"].sort_index()
    drawn = published_counts.matrices().set_index(["shift", "true", "predicted"])["count"].sort_index()
    assert drawn.to_dict() == made.to_dict()
    for shift in published_counts.COUNTED:
        matrix = published.values()["table_2"][f"confusion_{published_counts.SHIFTS[shift]}"]
        for name, line in zip(matrix["rows"], matrix["counts"], strict=True):
            assert made.loc[shift, name][matrix["columns"]].tolist() == line


def judged(tables, shift=-0.2, as_released=True, own=True):
    found = [records.plain(each) for each in claims.comparisons(tables, "t", own, shift, as_released)]
    rows = pd.DataFrame(found).assign(verdict=[comparisons.verdict(each) for each in found])
    return rows.set_index(["on", "key"])


def test_the_published_counts_agree_with_what_was_published_of_them(tables):
    rows = judged(tables)
    ours, counts, notebook = (rows.loc[on] for on in ("t", claims.COUNTS, claims.TOTALS))
    for found, unjudged in ((ours, 15), (counts, 0)):
        cells = found[found.index.str.match(r"table_2\.(default|shift_-0\.20)_percent\.(crime_related|non_human|sum)")]
        verdicts = cells["verdict"].value_counts().to_dict()
        assert (verdicts["yes"], verdicts.get("not run", 0)) == (42 - unjudged, unjudged)
    for key in ("default", "shift_-0.20"):
        assert ours.loc[f"table_2.{key}_percent.gap_distance", "verdict"] == "yes"
        matrix = ours.loc[f"table_2.confusion_{key}.counts"]
        assert matrix["verdict"] == "yes" and matrix["ours"] == "98 of 98 equal, 0 faces elsewhere"
    assert ours.loc["table_2.default_percent.accuracy", "verdict"] == "no"  # of race alone, which is higher
    assert counts.loc["table_2.claims.notebook_percentages", "ours"] == "42 of 42"
    twice = counts.loc["table_2.as_the_paper_prints.default_percent.sum.6"]
    assert twice["verdict"] == "paper is wrong" and twice["note"] == "10 of 1550 faces in the notebook's matrix"
    cost = notebook.loc["table_2.as_the_paper_prints.accuracy_drop"]
    assert cost["verdict"] == "paper is wrong" and cost["ours"] == pytest.approx(85 / 10954)
    assert cost["note"].startswith("85 fewer of 10954 faces right in race and gender, 78 fewer harmed; the paper's own")
    assert cost["note"].endswith("pair, 0.5817 and 0.5739, gives 0.0078")
    assert notebook.drop("table_2.as_the_paper_prints.accuracy_drop")["verdict"].eq("yes").all() and len(notebook) == 9


def test_counts_and_significance_are_two_verdicts(tables):
    rows = judged(tables)
    for on in ("t", claims.COUNTS):
        assert (rows.loc[(on, "table_2.claims.races_fall"), ["ours", "verdict"]] == ["7 of 7", "yes"]).all()
        assert rows.loc[(on, "table_2.claims.falls_by_more_than_chance"), "verdict"] == "no"
    said = rows.loc[(claims.COUNTS, "table_2.claims.falls_by_more_than_chance")]
    assert said["ours"] == "0 of 7, whichever faces changed"
    assert "told from chance, whichever they were: Black, Indian, Southeast Asian, East Asian; of 3" in said["note"]
    assert rows.loc[("t", "table_2.claims.falls_by_more_than_chance"), "ours"].startswith("3 of 7 by more than chance")
    assert published.numbers()["table_2.claims.falls_by_more_than_chance"].judged_by.tolerance == audit.LEVEL
    tables[""]["p_holm"] = 0.01
    assert judged(tables).loc[("t", "table_2.claims.falls_by_more_than_chance"), "verdict"] == "yes"


def test_the_claims_of_supplementary_table_4_and_what_it_shows_besides(tables):
    rows = judged(tables).loc[claims.COUNTS]
    for key in ("crime_related_rises", "non_human_rises"):
        assert (rows.loc[f"table_2.claims.{key}", ["ours", "verdict"]] == ["7 of 7", "yes"]).all()
    other = rows.loc["table_2.claims.crime_related_falls"]
    assert (other["ours"], other["verdict"], other["note"]) == ("6 of 7", "no", "not so: Black 1.03% to 1.90%")
    other = rows.loc["table_2.claims.non_human_falls", "note"]
    assert "Black 0.06% to 0.13%" in other and "White 0.19% to 0.43%" in other
    assert not any(key.endswith("_rises") for key in judged(tables).loc["t"].index)  # the run has only two shifts
    up = tables["against"].query("source == @claims.NOTEBOOK").set_index("shift")
    assert up["crime_related_up"].to_dict() == {0.75: 7, 0.0: 0, -0.2: 0, -0.5: 1, -1.0: 1}
    assert up["non_human_up"].to_dict()[-1.0] == 7 and up["non_human_up"].to_dict()[-0.2] == 2


def test_a_run_on_other_data_shows_or_does_not_and_its_numbers_stand_beside(tables):
    rows = judged(tables, own=False).loc["t"]
    claimed = rows.index.str.startswith("table_2.claims") & rows["published"].map(lambda value: isinstance(value, str))
    assert rows.loc[claimed, "verdict"].to_dict() == {"table_2.claims.races_fall": "shown"}
    beyond = rows[rows["published"].isna() & rows["agrees"].notna()]
    assert beyond["verdict"].isin(["not shown"]).all() and len(beyond) == 2
    assert rows.drop([*beyond.index, "table_2.claims.races_fall"])["verdict"].eq("not run").all()


def test_nothing_published_stands_beside_another_shift_or_gaps_beside_another_way_to_shift(tables):
    moved = {name: tables[name].replace({"shift": {-0.2: -0.5}}) for name in ("", "overall", "confusion")}
    own = judged(tables | moved, -0.5).loc["t"].index
    assert not any(key.startswith(("table_2.claims", "table_2.as_the", "table_2.shift_-0.20")) for key in own)
    assert {"figure_3.image_only_shift_to_distance.-0.50", "table_2.shift_-0.50_percent.sum.1"} <= {*own}
    key = ("t", "figure_3.image_only_shift_to_distance.0.00")
    assert judged(tables).loc[key, "verdict"] == "yes"
    assert key not in judged(tables, as_released=False).index
    tables["overall"]["caption_gap_distance"] += 0.01
    assert judged(tables).loc[key, "verdict"] == "no"


def test_confusion_matrices_count_the_faces_that_lie_elsewhere(tables):
    table = tables["confusion"].query("by == 'race' and shift == 0 and true == 'White'")
    assert tables["confusion"].index.is_unique
    for predicted, moved in (("White", -130), ("Black", 130)):
        tables["confusion"].loc[table.index[table["predicted"] == predicted], "count"] += moved
    row = judged(tables).loc[("t", "table_2.confusion_default.counts")]
    assert row["ours"] == "96 of 98 equal, 130 faces elsewhere" and row["verdict"] == "no"


def test_a_star_stands_where_a_change_is_larger_than_chance(tables, tmp_path):
    """In the published counts, had no face changed against the trend: three races, and all together."""
    results = {"shift": -0.2, "races": published_counts.races(), "note": "", "labels": LABELS, "columns": ["race"]}
    results["gap_distance"] = {"default": 0.1, "shifted": 0.2}
    drawn = figure.draw_table(records.Record("denigration", tmp_path, {"results": results}, tables)).data
    starred = drawn.map(lambda cell: cell.endswith("*"))
    assert drawn.index[starred.any(axis=1)].tolist() == ["White", "Latino", "Middle Eastern", "all"]
    assert starred.any().tolist() == [False] * 5 + [True]


def test_every_percentage_is_that_of_its_count_or_of_whole_faces():
    table = published_counts.agreement()
    assert len(table) == 5 * 7 * 3 and table["agrees"].all()
    counted = table[table["shift"].isin(published_counts.COUNTED)]
    assert list(counted["computed_percent"].map("{:.1f}".format).astype(float)) == list(counted["notebook_percent"])
    assert table["count"].notna().sum() == len(counted) == 42
    assert (counted["count_low"] <= counted["count"]).all() and (counted["count"] <= counted["count_high"]).all()
    for (shift, quantity), part in table.groupby(["shift", "quantity"]):
        assert list(part["race"]) == published.values()["table_2"]["races"]
        printed = published.numbers(f"table_2.{published_counts.SHIFTS[shift]}_percent.{quantity}.").values()
        assert list(part["notebook_percent"]) == pytest.approx([100 * number.value for number in printed])


def test_counts_follow_from_digits_where_none_are_published():
    """Worked out by trying all whole numbers beside the table."""
    table = published_counts.agreement().query("shift == -0.5").set_index(["race", "quantity"])
    implied = {"White": ((254, 255), (112, 113), (366, 368)), "East Asian": ((3, 3), (1, 2), (4, 5))}
    for race, limits in implied.items():
        for quantity, found in zip(published_counts.QUANTITIES, limits, strict=True):
            assert tuple(table.loc[(race, quantity), ["count_low", "count_high"]]) == found
    assert published_counts.consistent((0.5, 0.0, 0.5), 200, 1).tolist() == [[1, 0, 1]]
    assert published_counts.consistent((0.5, 0.5, 0.5), 200, 1).size == 0


def test_both_kinds_of_harm_move_against_each_other():
    table = published_counts.totals()
    counts = (table.loc[[0.0, -0.2], list(published_counts.QUANTITIES)] * 10_954).round()
    assert counts.to_numpy().tolist() == [[496, 6, 502], [412, 12, 424]]
    grown = table.loc[[0.75, 0.0, -0.2, -0.5, -1.0]]
    assert grown["gap_distance"].is_monotonic_increasing and grown["crime_related"].is_monotonic_decreasing
    assert grown["non_human"].loc[[0.0, -0.2, -0.5, -1.0]].is_monotonic_increasing
    assert table.loc[-0.5, "sum"] > table.loc[0.0, "sum"] > table.loc[-0.2, "sum"]
    right = table["accuracy"] * 10_954
    assert list(right.round()) == [6372, 6287, 5883, 4473, 6134] and np.abs(right - right.round()).max() < 1e-6


def test_net_changes_are_differences_of_the_published_counts():
    table = published_counts.net_changes().set_index("race")
    assert table.loc["White", ["before", "after", "net"]].tolist() == [324 + 4, 276 + 9, -43]
    assert table.loc["East Asian", ["n", "before", "after", "net"]].tolist() == [1550, 10, 9, -1]
    assert (table["net"] < 0).all() and table["net"].sum() == -78
    few = table["net"].abs() <= 3
    assert (table.loc[few, "verdict"] == published_counts.NEVER).all() and sum(few) == 4
    assert (table.loc[~few, "verdict"] == published_counts.DEPENDS).all()
    before = table.loc["White", ["before_low", "before_high"]].tolist()
    assert before == pytest.approx(statistics.wilson_interval(328, 2085))
    before, after = (published_counts.harmed(shift)["non_human"] for shift in published_counts.COUNTED)
    assert (before["White"], after["White"], after["Black"] - before["Black"]) == (4, 9, 1) and (after >= before).all()


def test_bounds_hold_for_every_way_in_which_the_faces_may_have_changed():
    before, after, n = np.array([9, 30, 3, 0, 30]), np.array([1, 0, 4, 12, 20]), np.array([40, 50, 20, 60, 60])
    table = published_counts.bounds(before, after, n)
    for row in table.itertuples():
        both = range(min(row.before, row.after) + 1)
        p_values = {row.before + row.after - 2 * b: statistics.mcnemar(row.after - b, row.before - b) for b in both}
        assert row.least_p == pytest.approx(min(p_values.values()))
        assert row.most_p == pytest.approx(max(p_values.values()))
        assert row.possible_discordant == max(p_values)
        for discordant, p in p_values.items():
            assert (p < 0.05) == (discordant <= row.most_discordant)
    always, never, depends = published_counts.ALWAYS, published_counts.NEVER, published_counts.DEPENDS
    assert list(table["verdict"]) == [always, always, never, always, depends]


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
    (folder / README.parent.name).symlink_to(README.parent)
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
            drawn = draw(smoke_runs.at_width(record, width))
            smoke_runs.printable(drawn, width)
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
