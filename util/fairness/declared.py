"""Audits are TOML files: the attributes of a face, the prompt of each class, and the words of harm.

``util/data/fairface.toml`` shows every key. Before a beginning of ``an_before``, {a} is "an". ``columns`` are what the
result files call both axes (default: their names). ``words`` are how a prompt says each level (default: the level
itself), ``numbers`` which level the data's numbers 0, 1, ... stand for, and ``spellings`` how else the data write a
level. ``labels`` say a harm group in pictures (default: its name). Any two attributes and any harm groups will do.
"""

import re
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

PAPER_GROUPS = ("crime_related", "non_human")
"""The paper's harm groups, in the order of its table: their columns stand first where an audit has both."""

RESULT_COLUMNS = re.compile(
    "shift|n|n_.*|sum|ci|gained|lost|net|empty|highest|lowest|p_holm|difference|ratio|face|true|predicted|count|by|side"
    "|(default|modified|gap).*|.*(accuracy|change|p_value|gap_distance).*|.*_(low|high)"
)
"""Columns that results have beside those of the axes and the harm groups: a name, and it with _low and _high."""

Axis = Literal["race", "gender"]
AXES: tuple[Axis, ...] = ("race", "gender")
"""The two attributes that make a class, whatever a file calls them."""


def _different(texts: tuple[str, ...]) -> tuple[str, ...]:
    if not texts:
        raise ValueError("is empty; it needs at least one text")
    if twice := [text for text, times in Counter(texts).items() if times > 1]:
        raise ValueError(f"has {twice[0]!r} more than once")
    return texts


Different = Annotated[Texts, AfterValidator(_different)]
"""At least one text, no two alike."""


def _refuse_places(template: str, needed: Sequence[str]) -> None:
    """Refuses a template that lacks a place, or has another one than these and {a}."""
    for place in needed:
        if f"{{{place}}}" not in template:
            raise ValueError(f"template lacks the place {{{place}}}: {template!r}")
    try:
        template.format(**dict.fromkeys((*needed, "a"), "x"))
    except (AttributeError, LookupError, ValueError) as error:
        places = ", ".join(f"{{{place}}}" for place in (*needed, "a"))
        raise ValueError(f"template is no template with the places {places} ({error!r}): {template!r}") from error


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
        if self.numbers and (plain := [name for name in self.names if as_whole(name) is not None]):
            raise ValueError(f"numbers says what a number means, and {plain[0]!r} is a name too; leave out numbers")
        return self

    @property
    def names(self) -> dict[str, str]:
        """Every way to write a level, and that level."""
        return dict(zip(self.levels, self.levels, strict=True)) | self.spellings

    def level(self, label) -> str | None:
        """The level that a label of the data means: as written, or by its number; None for any other."""
        written, number = str(label).strip(), as_whole(label)
        if written in self.names or number is None:
            return self.names.get(written)
        if not self.numbers:
            return self.names.get(str(number))
        return self.numbers[number] if 0 <= number < len(self.numbers) else None


def as_whole(label) -> int | None:
    """A label as a whole number, as tables hold it: 3, 3.0, "3"; None where it is none."""
    found = re.fullmatch(r"\s*(-?\d+)(\.0*)?\s*", str(label))
    return int(found[1]) if found else None


class Classes(Table):
    """The prompt of a class, and the two attributes that it names; the first varies slowest."""

    template: Text
    axes: Texts
    columns: Different = Field(default_factory=lambda earlier: earlier["axes"])

    @model_validator(mode="after")
    def _fits(self) -> "Classes":
        if len({*self.axes}) != 2 or not all(map(str.isidentifier, self.axes)) or {"a", "word"} & {*self.axes}:
            raise ValueError(f"axes must be the names of two attributes, not {', '.join(self.axes)}")
        if len(self.columns) != 2 or any(map(RESULT_COLUMNS.fullmatch, self.columns)):
            raise ValueError(f"axes or columns {', '.join(self.columns)}: one is a column of the results; rename it")
        _refuse_places(self.template, self.axes)
        return self


class Harm(Table):
    """The prompt of a harm word, and the words by harm group."""

    template: Text
    groups: dict[str, Different]
    labels: dict[str, Text] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits(self) -> "Harm":
        _refuse_places(self.template, ["word"])
        if not self.groups:
            raise ValueError("groups is empty; name at least one group of words")
        if unknown := self.labels.keys() - self.groups.keys():
            raise ValueError(f"labels.{min(unknown)} names no harm group; those are {', '.join(self.groups)}")
        for name in self.groups:
            if not name.isidentifier() or RESULT_COLUMNS.fullmatch(name):
                raise ValueError(f"groups.{name} cannot name a harm group; use a word that is no column of the results")
        return self


class Declared(Table):
    """The classes, prompts and harm groups of an audit, as one file declares them."""

    title: Text
    about: str = ""
    source: str = ""
    licence: str = ""
    caution: Text = "Labels are what somebody saw in a picture. A lower rate of these harms is not fairness."
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
        if set(self.attributes) != set(self.asked.axes):
            found = ", ".join(self.attributes)
            raise ValueError(f"attributes must be those of axes, {', '.join(self.asked.axes)}; found {found}")
        keys = ["classes"] * len(self.classes) + [f"harm.groups.{group}" for group in self.harms]
        first: dict[str, str] = {}
        for prompt, key in zip(self.prompts, keys, strict=True):
            if prompt in first:
                raise ValueError(f"{key} gives the prompt {prompt!r} more than once (first from {first[prompt]})")
            first[prompt] = key
        for name, words in self.harm.groups.items():
            if taken := {*self.race.levels, *self.classes} & {*words}:
                raise ValueError(f"harm.groups.{name} has {min(taken)!r}, which is the name of a class too")
            if name in self.asked.columns:
                raise ValueError(f"harm.groups.{name} has the name of an attribute; choose another")
        return self

    @property
    def race(self) -> Attribute:
        """The first axis, whatever it is called."""
        return self.attributes[self.asked.axes[0]]

    @property
    def gender(self) -> Attribute:
        """The second axis."""
        return self.attributes[self.asked.axes[1]]

    @property
    def classes(self) -> tuple[str, ...]:
        """The R * G classes that a face may rightly be given, race slowest: "White Male" and so on."""
        return tuple(map(" ".join, product(self.race.levels, self.gender.levels)))

    @property
    def both(self) -> tuple[Attribute, Attribute]:
        """Both attributes, the first axis first."""
        return self.race, self.gender

    @property
    def labels(self) -> dict[str, str]:
        """What pictures and tables call each harm group, in the order of ``groups``."""
        return {name: self.harm.labels.get(name, name.replace("_", " ")) for name in self.groups}

    @property
    def groups(self) -> tuple[str, ...]:
        """The harm groups in the order of the result files: those of the paper first, where both are there."""
        paper = PAPER_GROUPS if {*PAPER_GROUPS} <= {*self.harm.groups} else ()
        return tuple(dict.fromkeys((*paper, *self.harm.groups)))

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
        for axis, name in zip(AXES, self.asked.axes, strict=True):
            about[axis] = {"name": name, **self.attributes[name].model_dump()}
        return about | {"prompts": list(self.prompts), "harms": list(self.harms)}

    def _filled(self, template: str, places: Mapping[str, str]) -> str:
        """The template with its words; {a} is "an" before the beginnings ``an_before`` and "a" elsewhere."""
        *before, text = template.format(a="{a}", **places).split("{a}")
        for part in reversed(before):
            text = part + ("an" if text.lstrip().lower().startswith(self.an_before) else "a") + text
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
        name, asked, labels = self.asked.axes[AXES.index(axis)], getattr(self, axis), list(labels)
        meant = {label: asked.level(label) for label in dict.fromkeys(labels)}
        unknown = [row for row, label in enumerate(labels) if meant[label] is None]
        if unknown:
            first, a = unknown[0], "an" if name[0] in "aeiou" else "a"
            place = f"row {first}" if lines is None else f"line {lines[first]}"
            what = f"{len(unknown)} of {len(labels)} have {a} {name} that is not declared"
            what += f", first {str(labels[first])!r} in {place}; declared are {', '.join(asked.levels)}"
            if asked.numbers and as_whole(labels[first]) is not None:
                what += f", by numbers 0 to {len(asked.numbers) - 1}"
            raise UserError(f"{where}: {what}")
        place = {level: code for code, level in enumerate(asked.levels)}
        return np.array([place[meant[label]] for label in labels], np.int64)
