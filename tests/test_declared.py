"""What an audit declares: the released prompts, the labels of the data, and every mistake that a file can hold."""

import json
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from util import UserError, published
from util.corpora.generated import pictures
from util.fairness.declared import BADGES, FAIRFACE, Declared

HUB = ("East Asian", "Indian", "Black", "White", "Middle Eastern", "Latino_Hispanic", "Southeast Asian")
"""Races of the hub's labels 0 to 6, as the table of labels writes them."""

FACES = Declared.read()
RACE, GENDER = FACES.axes
TWO_WORDS = 'words = ["man", "woman"]'
TWO_LEVELS = 'levels = ["Male", "Female"]'
AXES = 'axes = ["race", "gender"]'
GROUPS = "[harm.groups]"


def article(words):
    return f"a photo of {'an' if words[0] in 'aeiou' else 'a'} {words}"


def test_prompts_and_harm_groups_of_fairface_are_those_that_were_released():
    released = published.values()["table_2"]["prompts"]
    races, genders = (part.split("|") for part in re.findall(r"\{(.*?)\}", released["classes"]))
    faces = [article(f"{race} {gender}") for race in races for gender in genders]
    assert faces[6] == "a photo of an east asian man" and len(faces) == 14
    harms = [article(word) for key in ("non_human", "crime_related") for word in released[key]]
    assert FACES.prompts == (*faces, *harms)
    assert FACES.harm_words == (*released["non_human"], *released["crime_related"])
    assert FACES.harms == ("non_human",) * 4 + ("crime_related",) * 3
    assert set(RACE.levels) == set(published.values()["table_2"]["races"])
    settings = json.loads(json.dumps(FACES.settings))  # what a record says
    assert settings["prompts"] == list(FACES.prompts) and settings["harms"] == list(FACES.harms)
    assert re.fullmatch("[0-9a-f]{64}", settings["sha256"]) and settings["attributes"]["race"]["spellings"]


def test_badges_are_asked_about_with_the_prompts_of_the_corpus():
    declared = Declared.read(BADGES)
    assert declared.prompts == pictures.TASKS["badge"].prompts + pictures.HARM_PROMPTS
    assert tuple(each.levels for each in declared.axes) == (pictures.GROUPS, pictures.KINDS)
    assert declared.asked.axes == ("group", "kind")
    assert declared.harm_words == pictures.HARM_WORDS
    assert [len(declared.harm.groups[name]) for name in ("non_human", "crime_related")] == [4, 3]
    assert "stands for nothing else" in declared.caution
    faces = declared.faces({"group": range(7), "kind": [0] * 7})
    assert list(faces) == ["race", "gender"] and list(faces["race"]) == list(pictures.GROUPS)


@given(st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1))
def test_labels_in_words_and_in_numbers_mean_the_same(drawn):
    mixed = [HUB[number] if word else np.int64(number) for number, word in drawn]
    assert list(RACE.meant(mixed)) == [HUB[number].split("_")[0] for number, _ in drawn]
    assert list(GENDER.meant([1, 0.0, "1", " Male"])) == ["Female", "Male", "Female", "Male"]


@pytest.mark.parametrize("label", ["Martian", "latino", "Latino.0", 7, "7", 1.5, -1, float("nan")])
def test_a_label_that_is_not_declared_is_named_with_its_row(label):
    with pytest.raises(UserError) as caught:
        FACES.faces({"race": ["White", label, label], "gender": [0, 0, 0]}, "labels.csv")
    line = str(caught.value)
    assert line.startswith("labels.csv: 2 of 3 have no declared race")
    assert repr(str(label)) in line and "row 1" in line and "Middle Eastern" in line and "\n" not in line


TITLE = 'title = "FairFace"'
REFUSALS = [
    (["[harm]", "[harm"], "not TOML ("),
    ([TITLE, ""], "title: Field required"),
    ([TITLE, "title = 3"], "title: Input should be a valid string"),
    ([TITLE, 'title = " "'], "title: String should match pattern"),
    (['"thief"', "3"], "harm.groups.crime_related.0: Input should be a valid string"),
    (["[harm]", "[harm]\ntail = 1"], "harm.tail: Extra inputs are not permitted"),
    (['"thief"', '"criminal"'], "harm.groups.crime_related: a text stands more than once: 'criminal'"),
    ([AXES, 'axes = ["race"]'], "classes.axes: Value should have at least 2 items"),
    ([GROUPS, f"{GROUPS}\ngender = ['x']"], "attributes and harm groups share a name: 'gender'"),
    ([TWO_LEVELS, 'levels = ["Male", "1"]'], ".gender: numbers or spellings say what is none of the levels: 'Female'"),
    ([TWO_LEVELS, 'levels = ["Male", "Female", "2.0"]', TWO_WORDS, ""], "a level is written as one: '2.0'"),
    (
        ['"white", "black"', '"old", "old man"', TWO_WORDS, 'words = ["man", "man man"]'],
        "have one prompt: 'a photo of an old man man'",
    ),
    (['"thief"', '"White"'], "levels, classes and harm words share a name: 'White'"),
    (['= "Latino" }', '= "Elf" }'], "attributes.race: numbers or spellings say what is none of the levels: 'Elf'"),
    (["Latino_Hispanic =", "White ="], "attributes.race: spellings has a level itself: 'White'"),
    (["labels = { ", "labels = { other = 'x', "], "harm: labels has what is no harm group: 'other'"),
    ([TWO_WORDS, 'words = ["man"]'], "attributes.gender: words has 1 words for 2"),
    (["[harm]", "[attributes.age]\nlevels = ['x']\n[harm]"], "attributes must be those of classes.axes"),
    (["{race} {gender}", "{gender}"], "classes: template needs the places {race}, {gender}"),
    *(
        (["{a} {word}", template], "harm: template needs the places {word}, and no others but {a}")
        for template in ("{a} {word} {b}", "{a.b} {word}", "{a} {word} {", "{a} {word:{a}}")
    ),
    *(
        ([GROUPS, f"{GROUPS}\n{name} = ['x']"], "no identifier, or a column that the results have")
        for name in ("non_human_low", "ci", "own_accuracy", "difference_change_high", "p_value", "1st")
    ),
]


@pytest.mark.parametrize("edits, said", REFUSALS)
def test_a_mistake_in_the_file_is_refused_in_one_line_with_file_and_key(tmp_path, edits, said):
    path, text = tmp_path / "mine.toml", FAIRFACE.read_text()
    for old, new in zip(edits[::2], edits[1::2], strict=True):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        Declared.read(path)
    line = str(caught.value)
    assert line.startswith(f"{path}: ") and said in line and "\n" not in line
