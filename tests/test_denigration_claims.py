"""What Table 2's script says of the paper's claims, judged on faces that are given what the authors' counts say."""

from functools import cache

import numpy as np
import pandas as pd
import pytest

import denigration_claims as claims
import denigration_figure as figure
import published_counts
import scripts
from util import published, records
from util.fairness.audit import Answers, Faces
from util.fairness.declared import Declared

script = scripts.load("Table_2_Implications_CLIP_Fairness/denigration.py")
FACES = Declared.read()


@pytest.fixture
def tables():
    """Tables of an audit of predictions that give the published counts of every race, free to be changed."""
    return {name: table.copy() for name, table in of_published_counts().items()}


@cache
def of_published_counts():
    words = {word: len(FACES.classes) + place for place, word in enumerate(FACES.harm_words)}
    known = {race: 2 * place for place, race in enumerate(FACES.race.levels)} | words
    predicted = []
    for shift in published_counts.KEYS:
        matrix = published_counts.matrix(shift)
        classes = [known[column] for column in matrix]
        predicted.append(np.concatenate([np.repeat(classes, counts) for counts in matrix.to_numpy()]))
    races = np.repeat(matrix.index, matrix.sum(axis=1))
    answers = Answers(np.array(predicted), Faces.of(FACES, list(races), ["Male"] * len(races)), [0.0, -0.2])
    gaps = pd.DataFrame({"shift": [0.0, -0.2], "caption_gap_distance": [0.8221, 0.9694], "audit_gap_distance": 1.0})
    found = script.audit_tables(answers, gaps, script.Settings(resamples=20))
    return found | {"published": published_counts.agreement(), "net_changes": published_counts.net_changes()}


def test_the_published_counts_and_the_audit_of_faces_that_they_describe_are_one_definition(tables):
    found = tables[""].set_index(["shift", "race"])
    for row in published_counts.agreement().itertuples():
        assert 100 * found.loc[(row.shift, row.race), row.quantity] == pytest.approx(row.computed_percent)
        assert found.loc[(row.shift, row.race), "n"] == row.n
    for row in published_counts.net_changes().itertuples():
        assert found.loc[(-0.2, row.race), "net"] == row.net
        limits = found.loc[(-0.2, row.race), ["ci_low", "ci_high"]].tolist()
        assert limits == pytest.approx([row.after_low, row.after_high])
    made = tables["confusion"].query("by == 'race'").set_index(["shift", "true", "predicted"])["count"].sort_index()
    for shift, key in published_counts.KEYS.items():
        matrix = published.values()["table_2"][f"confusion_{key}"]
        for name, line in zip(matrix["rows"], matrix["counts"], strict=True):
            assert made.loc[shift, name][matrix["columns"]].tolist() == line


def judged(tables, shift=-0.2, as_released=True, own=True):
    rows = pd.DataFrame(claims.comparisons(tables, "t", own, shift, as_released))
    assert rows.loc[rows["agrees"].notna(), "own"].all()
    return rows.set_index(["on", "key"])


def test_the_published_counts_agree_with_what_was_published_of_them(tables):
    rows = judged(tables)
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
    assert judged(tables, own=False).loc["t", "agrees"].isna().all()  # numbers of another model cannot agree


def test_a_claim_holds_where_every_race_falls_by_more_than_chance(tables):
    tables[""]["p_holm"] = 0.01
    assert judged(tables).loc[("t", "table_2.claims.groups_fall"), "agrees"] is True


def test_nothing_published_stands_beside_another_shift(tables):
    found = judged({name: table.replace({"shift": {-0.2: -0.5}}) for name, table in tables.items()}, -0.5)
    own = found.loc["t"].index
    assert not any(key.startswith(("table_2.claims", "table_2.as_the", "table_2.shift_")) for key in own)
    assert "figure_3.image_only_shift_to_distance.-0.50" in own


def test_gaps_after_shifts_are_compared_where_the_images_alone_move_along_the_captions_vector(tables):
    key = ("t", "figure_3.image_only_shift_to_distance.0.00")
    assert judged(tables).loc[key, "agrees"] is True
    tables["overall"]["caption_gap_distance"] += 0.01
    assert judged(tables).loc[key, "agrees"] is False
    assert key not in judged(tables, as_released=False).index


def test_confusion_matrices_count_the_faces_that_lie_elsewhere(tables):
    table = tables["confusion"].query("by == 'race' and shift == 0 and true == 'White'")
    assert tables["confusion"].index.is_unique
    for predicted, moved in (("White", -30), ("Black", 30)):
        tables["confusion"].loc[table.index[table["predicted"] == predicted], "count"] += moved
    row = judged(tables).loc[("t", "table_2.confusion_default.counts")]
    assert row["ours"] == "96 of 98 equal, 30 faces elsewhere" and row["agrees"] is False


def test_a_star_stands_where_a_change_is_larger_than_chance(tables, tmp_path):
    """In the published counts, had no face changed against the trend: three races, and all together."""
    results = {"shift": -0.2, "races": published_counts.races(), "note": ""}
    results["gap_distance"] = {"default": 0.1, "shifted": 0.2}
    drawn = figure.draw_table(records.Record("denigration", tmp_path, {"results": results}, tables)).data
    starred = drawn.map(lambda cell: cell.endswith("*"))
    assert drawn.index[starred.any(axis=1)].tolist() == ["White", "Latino", "Middle Eastern", "all"]
    assert starred.any().tolist() == [False] * 5 + [True]


COST, WHITE = "table_2.as_the_paper_prints.accuracy_drop", "table_2.default_percent.sum.1"


@pytest.mark.parametrize(
    ("key", "kind", "ours", "agrees"),
    [
        (COST, "accuracy_drop", -0.0009, True),
        (COST, "accuracy_drop", -0.0011, False),
        (COST, "accuracy_drop", 0.0, False),
        (COST, "accuracy_drop", -0.0027, False),
        (WHITE, "harm", 0.1575, True),
        (WHITE, "harm", 0.1591, False),
    ],
)
def test_numbers_agree_within_a_printed_digit(key, kind, ours, agrees):
    assert claims.compared(key, pd.Series({"value": ours}), "value", kind).agrees is agrees
