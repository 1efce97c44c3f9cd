"""Audits are TOML files: the attributes of a face, the prompt of each class, and the words of harm. The keys::

title, about, source, licence, caution   what the data are, whose, under what terms, and what they do not show
an_before                                beginnings of words before which {a} is "an" (may be left out)
[classes] template, axes                 the prompt of a class, with a place for each of the two axes; their names
[attributes.NAME] levels                 of both axes, and of "age" where it is known
                  words                  how a prompt says each level (default: the level itself)
                  numbers                which level the whole numbers 0, 1, ... in the data stand for
                  spellings              other ways in which the data write a level
[harm] template                          the prompt of a harm word, with the place {word}
[harm.groups] NAME = [words]             non_human and crime_related at least
"""

import numbers
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Int
from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from ..corpora.declared import Declared as Table
from ..corpora.declared import Text, Texts, read_toml
from ..errors import UserError
from ..files import sha256

DATA = Path(__file__).resolve().parent.parent / "data"
FAIRFACE = DATA / "fairface.toml"
BADGES = DATA / "badges.toml"

NEEDED_GROUPS = ("crime_related", "non_human")
"""Harm groups that the result files have columns for."""

ENDS = ("", "_low", "_high")
"""A harm group has a column of its own name, and two of its interval."""

WITH_INTERVAL = (
    "accuracy", "own_accuracy", "change", "accuracy_change", "difference", "difference_change", "ratio", "ratio_change",
)  # fmt: skip
RESULT_COLUMNS = frozenset(
    (
        "shift", "signed_gap_distance", "caption_gap_distance", "audit_gap_distance", "race", "gender", "age", "n",
        "sum", "ci_low", "ci_high", "p_value", "p_holm", "gained", "lost", "net", "empty", "accuracy_gained",
        "accuracy_lost", "accuracy_p_value", "n_races", "highest", "lowest", "disparity_p_value",
    )
) | {name + end for name in WITH_INTERVAL for end in ENDS}  # fmt: skip
"""The columns that results have beside those of the harm groups."""

Axis = Literal["race", "gender", "age"]


def _different(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not texts:
        raise ValueError("is empty; it needs at least one text")
    if twice := [text for text, times in Counter(texts).items() if times > 1]:
        raise ValueError(f"has {twice[0]!r} more than once")
    return texts


Different = Annotated[Texts, AfterValidator(_different)]
"""At least one text, no two alike."""


def _refuse_places(template: str, needed: Sequence[str]) -> None:
    try:
        parts = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"template is no template ({error}): {template!r}") from error
    found = [place if not form and how is None else f"{place}:{form}" for place, form, how in parts]
    for place in needed:
        if place not in found:
            raise ValueError(f"template lacks the place {{{place}}}: {template!r}")
    for place in found:
        if place not in (*needed, "a"):
            raise ValueError(f"template has an unknown place {{{place}}}; there are {', '.join((*needed, 'a'))}")


class Attribute(Table):
    """Something that the data say of every face; the fields are the file's keys."""

    levels: Different
    words: Different = Field(default_factory=lambda earlier: earlier["levels"])
    numbers: Texts = ()
    spellings: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> "Attribute":
        if len(self.words) != len(self.levels):
            raise ValueError(f"words has {len(self.words)} words for {len(self.levels)} levels")
        said = [("numbers", level) for level in self.numbers]
        said += [(f"spellings.{spelling}", level) for spelling, level in self.spellings.items()]
        for key, level in said:
            if level not in self.levels:
                raise ValueError(f"{key} says {level!r}, which is not one of the levels: {', '.join(self.levels)}")
        for spelling in self.spellings:
            if spelling in self.levels:
                raise ValueError(f"spellings.{spelling} is a level itself")
        return self


class Classes(Table):
    """The prompt of a class, and the two attributes that it names; the first varies slowest."""

    template: Text
    axes: Texts

    @model_validator(mode="after")
    def _fits(self) -> "Classes":
        if len(self.axes) != 2 or not all(map(str.isidentifier, self.axes)) or {"age", "a", "word"} & {*self.axes}:
            raise ValueError(f"axes must be the names of two attributes, not {', '.join(self.axes)}")
        _refuse_places(self.template, self.axes)
        return self


class Harm(Table):
    """The prompt of a harm word, and the words by harm group."""

    template: Text
    groups: dict[str, Different]

    @model_validator(mode="after")
    def _fits(self) -> "Harm":
        _refuse_places(self.template, ["word"])
        for name in NEEDED_GROUPS:
            if name not in self.groups:
                raise ValueError(f"groups.{name} is missing")
        home: dict[str, str] = {}
        for name, words in self.groups.items():
            self._refuse_column(name)
            for word in words:
                if home.setdefault(word, name) != name:
                    raise ValueError(f"groups.{name} has {word!r}, which is in groups.{home[word]} too; keep it in one")
        return self

    def _refuse_column(self, name: str) -> None:
        """Refuses a name of a harm group that a table cannot hold beside its other columns."""
        if not name.isidentifier():
            raise ValueError(f"groups.{name} cannot name a harm group; use letters, digits and _, no digit first")
        others = {other + end for other in self.groups if other != name for end in ENDS}
        if taken := [name + end for end in ENDS if name + end in RESULT_COLUMNS | others]:
            raise ValueError(f"groups.{name} cannot name a harm group, for results have another column {taken[0]}")


class Declared(Table):
    """The classes, prompts and harm groups of an audit, as one file declares them."""

    title: Text
    about: Text
    source: Text
    licence: Text
    caution: Text
    an_before: Texts = ()
    asked: Classes = Field(alias="classes")
    attributes: dict[str, Attribute]
    harm: Harm
    _sha256: str = PrivateAttr("")

    @classmethod
    def read(cls, path: str | Path = FAIRFACE) -> "Declared":
        """The audit of a TOML file. Raises ``UserError`` with the file and the key of what it refuses."""
        found = read_toml(path, cls)
        found._sha256 = sha256(Path(path))
        return found

    @model_validator(mode="after")
    def _fits(self) -> "Declared":
        for name in self.axes.values():
            if name not in self.attributes and name != "age":
                raise ValueError(f"attributes.{name} is missing")
        for name in self.attributes:
            if name not in self.axes.values():
                raise ValueError(f"attributes.{name}: not a known key; there are {', '.join(self.axes.values())}")
        self._refuse_equal()
        return self

    def _refuse_equal(self) -> None:
        keys = ["classes"] * len(self.classes) + [f"harm.groups.{group}" for group in self.harms]
        first: dict[str, str] = {}
        for prompt, key in zip(self.prompts, keys, strict=True):
            if prompt in first:
                raise ValueError(f"{key} gives the prompt {prompt!r} more than once (first from {first[prompt]})")
            first[prompt] = key
        for name, words in self.harm.groups.items():
            if taken := {*self.race.levels, *self.classes} & {*words}:
                raise ValueError(f"harm.groups.{name} has {min(taken)!r}, which is the name of a class too")

    @property
    def axes(self) -> dict[Axis, str]:
        """The names that the file gives race, gender and age."""
        return dict(zip(("race", "gender", "age"), (*self.asked.axes, "age"), strict=True))

    @property
    def race(self) -> Attribute:
        """The first axis, whatever it is called."""
        return self.attributes[self.axes["race"]]

    @property
    def gender(self) -> Attribute:
        """The second axis."""
        return self.attributes[self.axes["gender"]]

    @property
    def age(self) -> Attribute | None:
        """A further attribute, if there is one."""
        return self.attributes.get("age")

    @property
    def classes(self) -> tuple[str, ...]:
        """The R * G classes that a face may rightly be given, race slowest: "White Male" and so on."""
        return tuple(map(" ".join, product(self.race.levels, self.gender.levels)))

    @property
    def harm_words(self) -> tuple[str, ...]:
        """The classes that no face deserves; they number R * G and up, group after group."""
        return tuple(word for words in self.harm.groups.values() for word in words)

    @property
    def harms(self) -> tuple[str, ...]:
        """The harm group of each harm word, in the same order."""
        return tuple(group for group, words in self.harm.groups.items() for _ in words)

    @property
    def prompts(self) -> tuple[str, ...]:
        """The prompt of every class, then of every harm word."""
        said = product(self.race.words, self.gender.words)
        asked = [self._filled(self.asked.template, dict(zip(self.asked.axes, words, strict=True))) for words in said]
        return (*asked, *(self._filled(self.harm.template, {"word": word}) for word in self.harm_words))

    @property
    def settings(self) -> dict:
        """All that a result depends on, as plain values for a record."""
        about = self.model_dump(include={"title", "about", "source", "licence", "caution"}) | {"sha256": self._sha256}
        axes = {axis: name for axis, name in self.axes.items() if name in self.attributes}
        about |= {axis: {"name": name, **self.attributes[name].model_dump()} for axis, name in axes.items()}
        return about | {"prompts": list(self.prompts), "harms": list(self.harms)}

    def _filled(self, template: str, places: Mapping[str, str]) -> str:
        """The template with its words; {a} is "an" before the beginnings ``an_before`` and "a" elsewhere."""
        parts = template.split("{a}")
        text = parts[-1].format(**places)
        for part in reversed(parts[:-1]):
            article = "an" if text.lstrip().lower().startswith(self.an_before) else "a"
            text = part.format(**places) + article + text
        return text

    def codes(
        self, axis: Axis, labels: Iterable[str | int], where: str = "the labels", lines: Sequence[int] | None = None
    ) -> Int[np.ndarray, "n"]:
        """Labels as numbers of levels.

        Args:
            labels: n levels, other spellings of them, or whole numbers as the data have them.
            where: what to call the labels in an error.
            lines: the line of a file that each stands in, for an error; else its row is named, counted from 0.
        """
        name = self.axes[axis]
        levels = self.attributes[name].levels
        known = {level: code for code, level in enumerate(levels)}
        known |= {spelling: known[level] for spelling, level in self.attributes[name].spellings.items()}
        known |= {number: known[level] for number, level in enumerate(self.attributes[name].numbers)}
        keys = [int(label) if isinstance(label, numbers.Integral) else str(label) for label in labels]
        unknown = [row for row, key in enumerate(keys) if key not in known]
        if unknown:
            first, a = unknown[0], "an" if name[0] in "aeiou" else "a"
            place = f"row {first}" if lines is None else f"line {lines[first]}"
            raise UserError(
                f"{where}: {len(unknown)} of {len(keys)} have {a} {name} that is not declared, first "
                f"{keys[first]!r} in {place}; declared are {', '.join(levels)}"
            )
        return np.array([known[key] for key in keys], np.int64)
