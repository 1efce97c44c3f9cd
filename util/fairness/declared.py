"""What an audit declares before it looks: the attributes of a face, the prompt of each class, and the words of harm.

It stands in a TOML file that anybody can replace, and is checked as it is read: every refusal is one line that names
the file and the key. The file's keys::

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

import hashlib
import string
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from ..errors import UserError
from .attributes import Attribute, FaceClass, HarmWord

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

TEXTS = ("title", "about", "source", "licence", "caution")


@dataclass(frozen=True)
class Declared:
    """The classes, prompts and harm groups of an audit, as one file declares them.

    Attributes:
        title, about, source, licence, caution: what the data are, whose, and what the audit does not show.
        race, gender: the two axes, whatever they are called; class c is of race c // len(gender.levels) and of
            gender c % len(gender.levels).
        age: what else is known of a face, or None.
        classes: R * G of them, race slowest.
        harm_groups: the words of each harm group; classes number R * G and up, in this order.
        sha256: of the file.
    """

    title: str
    about: str
    source: str
    licence: str
    caution: str
    race: Attribute
    gender: Attribute
    age: Attribute | None
    classes: tuple[FaceClass, ...]
    harm_groups: Mapping[str, tuple[HarmWord, ...]]
    sha256: str

    @property
    def harm_words(self) -> tuple[HarmWord, ...]:
        """All of them, in the order of their class numbers."""
        return tuple(word for words in self.harm_groups.values() for word in words)

    @property
    def harms(self) -> tuple[str, ...]:
        """The harm group of each harm word, in the same order."""
        return tuple(group for group, words in self.harm_groups.items() for _ in words)

    @property
    def prompts(self) -> tuple[str, ...]:
        """Of every class: those a face may rightly be given, then the harm words."""
        return tuple(each.prompt for each in (*self.classes, *self.harm_words))

    @property
    def settings(self) -> dict:
        """All that a result depends on, as plain values for a record."""
        about = {key: getattr(self, key) for key in (*TEXTS, "sha256")}
        axes = {axis: asdict(getattr(self, axis)) for axis in ("race", "gender", "age") if getattr(self, axis)}
        return about | axes | {"prompts": list(self.prompts), "harms": list(self.harms)}

    @classmethod
    def read(cls, path: str | Path = FAIRFACE) -> "Declared":
        """The declared classes of a TOML file; see the module for its keys.

        Raises:
            UserError: the file cannot be read or is no TOML; a key that is unknown, missing or of another type; a
                template without its places; a level that is not among the declared; two equal prompts; a harm group
                that is empty or missing; a word in two harm groups.
        """
        content, digest = _content(Path(path))
        top = _Table(Path(path), "", content)
        top.refuse_others(*TEXTS, "an_before", "classes", "attributes", "harm")
        race, gender, age = _attributes(top)
        vowels = tuple(top.texts("an_before", default=()))
        classes = _classes(top.table("classes"), race, gender, vowels)
        groups = _harm_groups(top.table("harm"), vowels)
        _refuse_equal(top, classes, groups)
        about = {key: top.text(key) for key in TEXTS}
        return cls(**about, race=race, gender=gender, age=age, classes=classes, harm_groups=groups, sha256=digest)


def _content(path: Path) -> tuple[dict, str]:
    try:
        raw = path.read_bytes()
        return tomllib.loads(raw.decode("utf-8")), hashlib.sha256(raw).hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a TOML file of classes") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not TOML ({error})") from error


@dataclass(frozen=True)
class _Table:
    """A table of the file: gives values of the type asked for, or refuses in a line with the file and the key."""

    path: Path
    name: str
    content: Mapping

    def key(self, key: str) -> str:
        return f"{self.name}.{key}" if self.name else key

    def refuse(self, key: str, reason: str):
        raise UserError(f"{self.path}: {self.key(key)} {reason}")

    def refuse_others(self, *known: str) -> None:
        for key in self.content:
            if key not in known:
                self.refuse(key, f"is not a known key; there are {', '.join(known)}")

    def _get(self, key: str, kind: type, what: str):
        if key not in self.content:
            self.refuse(key, f"is missing; expected {what}")
        if not isinstance(self.content[key], kind):
            self.refuse(key, f"must be {what}, not {self.content[key]!r}")
        return self.content[key]

    def text(self, key: str) -> str:
        text = self._get(key, str, "a text")
        if not text.strip():
            self.refuse(key, "must not be empty")
        return text

    def texts(self, key: str, default: Sequence[str] | None = None) -> tuple[str, ...]:
        """One or more texts, no two alike."""
        if default is not None and key not in self.content:
            return tuple(default)
        found = self._get(key, list, "a list of texts")
        for item in found:
            if not isinstance(item, str) or not item.strip():
                self.refuse(key, f"must hold texts that are not empty, not {item!r}")
        twice = [item for item, times in Counter(found).items() if times > 1]
        if twice or not found:
            self.refuse(key, f"has {twice[0]!r} more than once" if twice else "is empty; it needs at least one")
        return tuple(found)

    def table(self, key: str) -> "_Table":
        return _Table(self.path, self.key(key), self._get(key, dict, "a table"))

    def template(self, *places: str) -> str:
        """The key "template", with every place in it and no other but {a}."""
        template = self.text("template")
        try:
            parts = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
        except ValueError as error:
            self.refuse("template", f"is no template ({error}): {template!r}")
        found = [place if not form and how is None else f"{place}:{form}" for place, form, how in parts]
        for place in places:
            if place not in found:
                self.refuse("template", f"lacks the place {{{place}}}: {template!r}")
        for place in found:
            if place not in (*places, "a"):
                self.refuse("template", f"has an unknown place {{{place}}}; there are {', '.join((*places, 'a'))}")
        return template


def _attributes(top: _Table) -> tuple[Attribute, Attribute, Attribute | None]:
    axes = top.table("classes").texts("axes")
    if len(axes) != 2 or not all(axis.isidentifier() for axis in axes) or {"age", "a", "word"} & set(axes):
        top.table("classes").refuse("axes", f"must be the names of two attributes, not {', '.join(axes)}")
    table = top.table("attributes")
    table.refuse_others(*axes, "age")
    found = [_attribute(table.table(name), name) for name in axes]
    age = _attribute(table.table("age"), "age") if "age" in table.content else None
    return *found, age


def _attribute(table: _Table, name: str) -> Attribute:
    table.refuse_others("levels", "words", "numbers", "spellings")
    levels = table.texts("levels")
    words = table.texts("words", default=levels)
    if len(words) != len(levels):
        table.refuse("words", f"has {len(words)} words for {len(levels)} levels")
    numbered = table.texts("numbers", default=())
    spellings = table.table("spellings").content if "spellings" in table.content else {}
    said = [("numbers", level) for level in numbered] + [(f"spellings.{key}", spellings[key]) for key in spellings]
    for key, level in said:
        if level not in levels:
            table.refuse(key, f"says {level!r}, which is not one of the levels: {', '.join(levels)}")
    for spelling in spellings:
        if spelling in levels:
            table.refuse(f"spellings.{spelling}", "is a level itself")
    return Attribute(name, levels, words, numbered, dict(spellings))


def _classes(table: _Table, race: Attribute, gender: Attribute, vowels: tuple[str, ...]) -> tuple[FaceClass, ...]:
    table.refuse_others("template", "axes")
    template = table.template(race.name, gender.name)
    choices = product(zip(race.levels, race.words, strict=True), zip(gender.levels, gender.words, strict=True))
    return tuple(
        FaceClass(_filled(template, vowels, {race.name: first[1], gender.name: second[1]}), first[0], second[0])
        for first, second in choices
    )


def _harm_groups(table: _Table, vowels: tuple[str, ...]) -> dict[str, tuple[HarmWord, ...]]:
    table.refuse_others("template", "groups")
    template, groups = table.template("word"), table.table("groups")
    for name in NEEDED_GROUPS:
        groups.texts(name)
    home: dict[str, str] = {}
    for name in groups.content:
        _refuse_column(groups, name)
        for word in groups.texts(name):
            if word in home:
                groups.refuse(
                    name, f"has {word!r}, which is in {groups.key(home[word])} too; a class has one harm group"
                )
            home[word] = name
    return {
        name: tuple(HarmWord(word, _filled(template, vowels, {"word": word})) for word in groups.texts(name))
        for name in groups.content
    }


def _refuse_column(groups: _Table, name: str) -> None:
    """
    Raises:
        UserError: the name of a harm group that a table cannot hold beside its other columns.
    """
    if not name.isidentifier():
        groups.refuse(name, "cannot name a harm group; use letters, digits and _, no digit first")
    others = {other + end for other in groups.content if other != name for end in ENDS}
    taken = [name + end for end in ENDS if name + end in RESULT_COLUMNS | others]
    if taken:
        groups.refuse(name, f"cannot name a harm group, for results have another column {taken[0]}")


def _filled(template: str, vowels: tuple[str, ...], places: Mapping[str, str]) -> str:
    """The template with its words; {a} is "an" before the beginnings ``vowels`` and "a" elsewhere."""
    parts = template.split("{a}")
    text = parts[-1].format(**places)
    for part in reversed(parts[:-1]):
        text = part.format(**places) + ("an" if text.lstrip().lower().startswith(vowels) else "a") + text
    return text


def _refuse_equal(top: _Table, classes: Sequence[FaceClass], groups: Mapping[str, Sequence[HarmWord]]) -> None:
    """
    Raises:
        UserError: two equal prompts, or a harm word that is the name of a level too.
    """
    made = [(each.prompt, "classes") for each in classes]
    made += [(each.prompt, f"harm.groups.{name}") for name, words in groups.items() for each in words]
    seen: dict[str, str] = {}
    for prompt, key in made:
        if prompt in seen:
            top.refuse(key, f"gives the prompt {prompt!r} more than once (first from {seen[prompt]})")
        seen[prompt] = key
    names = {each.race for each in classes} | {f"{each.race} {each.gender}" for each in classes}
    for name, words in groups.items():
        for each in words:
            if each.word in names:
                top.refuse(f"harm.groups.{name}", f"has {each.word!r}, which is the name of a class too")
