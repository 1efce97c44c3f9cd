"""TOML files read into models: what is wrong is one line with file, table and key."""

import pytest
from pydantic import Field, model_validator

from util import UserError
from util.corpora.declared import Declared, Text, Texts, read_toml


class Animal(Declared):
    names: Texts
    legs: int = 4

    @model_validator(mode="after")
    def checked(self):
        if self.legs > len(self.names) * 100:
            raise ValueError("legs: too many")
        return self


class Zoo(Declared):
    title: Text
    animals: dict[str, Animal] = Field(default_factory=dict)


GOOD = 'title = "Zoo"\n[animals.cat]\nnames = ["Tom", "Kit"]\n'


def test_lists_become_tuples_and_what_is_left_out_has_its_default(tmp_path):
    (tmp_path / "zoo.toml").write_text(GOOD)
    assert read_toml(tmp_path / "zoo.toml", Zoo).animals["cat"] == Animal(names=("Tom", "Kit"), legs=4)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (None, "cannot be read (No such file or directory); expected a text file"),
        (b"\xff", "not UTF-8 text (byte 0 is 0xff)"),
        (b"[a", "not TOML ("),
        (b"", "title: missing"),
        (GOOD.replace('"Zoo"', "3").encode(), "title: expected a text, found 3"),
        (GOOD.replace('"Zoo"', '" "').encode(), "title: must not be empty"),
        (GOOD.replace('"Tom"', "3").encode(), "[animals.cat] names[0]: expected a text, found 3"),
        (GOOD.replace("names", "name").encode(), "[animals.cat] names: missing"),
        ((GOOD + "tail = 1").encode(), "[animals.cat] tail: not a known key"),
        ((GOOD + "legs = true").encode(), "[animals.cat] legs: input should be a valid integer, found True"),
        ((GOOD + "legs = 1000").encode(), "[animals.cat] legs: too many"),
        (b'title = "Zoo"\n[animals]\ncat = 1', "[animals] cat: expected a table"),
    ],
)
def test_a_refusal_names_file_table_and_key_in_one_line(tmp_path, content, line):
    path = tmp_path / "zoo.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_toml(path, Zoo)
    assert str(caught.value).startswith(f"{path}: {line}")
    assert "\n" not in str(caught.value)
