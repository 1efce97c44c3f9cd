"""The declaration of an audit, a TOML file: attributes of a face, the prompt of each class, and the words of harm.

``util/data/fairface.toml`` shows every key. Before a beginning of ``an_before``, {a} is "an". ``columns`` are what the
result files call both axes (default: their names). ``words`` are how a prompt says each level (default: the level
itself), ``numbers`` which level the data's numbers 0, 1, ... stand for, and ``spellings`` how else the data write a
level. ``labels`` say a harm group in pictures (default: its name). Any two attributes and any harm groups will do.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import AfterValidator, Field, model_validator

from util import UserError
from util.fairness.audit import PAPER_GROUPS
from util.files import PACKAGE, Text, Texts, read_toml
from util.files import Declared as Table

FAIRFACE = PACKAGE / "data" / "fairface.toml"
RESULT_COLUMNS = re.compile(
    "shift|n|n_.*|sum|ci|gained|lost|net|empty|highest|lowest|p_holm|difference|ratio|face|true|predicted|count|by|side"
    "|(default|modified|gap).*|.*(accuracy|change|p_value|gap_distance).*|.*_(low|high)"
)
"""Columns that results have beside those of the axes and the harm groups: a name, and it with _low and _high."""
PLACE = re.compile("{([^{}]+)}")


def _refuse(found: Collection[str], said: str) -> None:
    if found:
        raise ValueError(f"{said}: {min(found)!r}")


def _different(texts: tuple[str, ...], said: str = "a text stands more than once") -> tuple[str, ...]:
    _refuse([text for text, times in Counter(texts).items() if times > 1], said)
    return texts


def _name(text: str) -> str:
    if not text.isidentifier() or RESULT_COLUMNS.fullmatch(text):
        raise ValueError(f"no identifier, or a column that the results have already: {text!r}")
    return text


Different = Annotated[Texts, Field(min_length=1), AfterValidator(_different)]
"""At least one text, no two alike."""
Name = Annotated[Text, AfterValidator(_name)]
"""What a column of the results may be called."""
Two = Field(min_length=2, max_length=2)


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
        unknown = {*self.numbers, *self.spellings.values()} - {*self.levels}
        _refuse(unknown, "numbers or spellings say what is none of the levels")
        _refuse({*self.levels} & {*self.spellings}, "spellings has a level itself")
        plain = [name for name in (*self.levels, *self.spellings) if name.removesuffix(".0").isdecimal()]
        _refuse(plain if self.numbers else [], "numbers says what a number means, and a level is written as one")
        return self

    def meant(self, labels: Sequence | np.ndarray) -> pd.Categorical:
        """The level of each label: as written, spelled otherwise, or by its number (3, 3.0, "3"); NaN for any other."""
        written = dict(zip(self.levels, self.levels, strict=True)) | self.spellings
        written |= {str(number): level for number, level in enumerate(self.numbers)}
        written = {f"{name}.0": level for name, level in written.items() if name.isdecimal()} | written
        return pd.Categorical([written.get(str(label).strip()) for label in labels], self.levels)


class Classes(Table):
    """The prompt of a class, and the two attributes that it names; the first varies slowest."""

    template: Text
    axes: Annotated[Different, Two]
    columns: Annotated[tuple[Name, ...], Field(strict=False), Two] = Field(
        default_factory=lambda earlier: earlier["axes"], validate_default=True
    )


class Harm(Table):
    """The prompt of a harm word, and the words by harm group."""

    template: Text
    groups: Annotated[dict[Name, Different], Field(min_length=1)]
    labels: dict[str, Text] = Field(default_factory=dict)


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

    @classmethod
    def read(cls, path: str | Path = FAIRFACE) -> "Declared":
        """The audit of a TOML file. Raises ``UserError`` with the file and the key of what it refuses."""
        return read_toml(path, cls)

    @model_validator(mode="after")
    def _fits(self) -> "Declared":
        for key, template, needed in (
            ("classes", self.asked.template, self.asked.axes),
            ("harm", self.harm.template, ["word"]),
        ):
            found, rest = {*PLACE.findall(template)}, PLACE.sub("", template)
            if not {*needed} <= found <= {*needed, "a"} or {*"{}"} & {*rest}:
                places = ", ".join(f"{{{place}}}" for place in needed)
                raise ValueError(f"{key}: template needs the places {places}, and no others but {{a}}: {template!r}")
        _refuse({*self.harm.labels} - {*self.harm.groups}, "harm: labels has what is no harm group")
        _refuse({*self.attributes} ^ {*self.asked.axes}, "attributes must be those of classes.axes, and are not")
        _different(self.prompts, "two classes or harm words have one prompt")
        names = (*self.axes[0].levels, *self.classes, *self.harm_words)
        _different(names, "levels, classes and harm words share a name")
        _different((*self.asked.columns, *self.groups), "attributes and harm groups share a name")
        return self

    @property
    def axes(self) -> tuple[Attribute, Attribute]:
        """Both attributes: race and gender, whatever they are called."""
        return tuple(self.attributes[name] for name in self.asked.axes)

    @property
    def classes(self) -> tuple[str, ...]:
        """The R * G classes that a face may rightly be given, race slowest: "White Male" and so on."""
        return tuple(map(" ".join, product(*(each.levels for each in self.axes))))

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
        said = product(*(each.words for each in self.axes))
        asked = [self._filled(self.asked.template, dict(zip(self.asked.axes, words, strict=True))) for words in said]
        return (*asked, *(self._filled(self.harm.template, {"word": word}) for word in self.harm_words))

    def _filled(self, template: str, places: Mapping[str, str]) -> str:
        """The template with its words; {a} is "an" before the beginnings ``an_before`` and "a" elsewhere."""
        *before, text = PLACE.sub(lambda place: {**places, "a": "{a}"}[place[1]], template).split("{a}")
        for part in reversed(before):
            text = part + ("an" if text.lstrip().lower().startswith(self.an_before) else "a") + text
        return text

    def faces(
        self, labels: Mapping[str, Sequence | np.ndarray], where: str = "the labels", lines: Sequence[int] | None = None
    ) -> pd.DataFrame:
        """Faces by their labels: n rows, a categorical column of each attribute's levels, called as in result files.

        ``labels`` are by attribute n levels, other spellings of them, or whole numbers as the data have them. An error
        names ``where`` and the line of a file that a label stands in, without ``lines`` its row, counted from 0.
        """
        found = {}
        for name, column, asked in zip(self.asked.axes, self.asked.columns, self.axes, strict=True):
            found[column] = asked.meant(labels[name])
            if len(unknown := np.flatnonzero(found[column].codes < 0)):
                first, n = unknown[0], len(found[column])
                place = f"row {first}" if lines is None else f"line {lines[first]}"
                what = f"{len(unknown)} of {n} have no declared {name}, first {str(labels[name][first])!r} in {place}"
                numbers = f", by numbers 0 to {len(asked.numbers) - 1}" if asked.numbers else ""
                raise UserError(f"{where}: {what}; declared are {', '.join(asked.levels)}{numbers}")
        return pd.DataFrame(found)
