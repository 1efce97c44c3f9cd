"""The audit: how often faces of each group are given a class that no face deserves, at every shift, and how unequally.

Audits are TOML files: the attributes of a face, the prompt of each class, and the words of harm.
``util/data/fairface.toml`` shows every key. Before a beginning of ``an_before``, {a} is "an". ``columns`` are what the
result files call both axes (default: their names). ``words`` are how a prompt says each level (default: the level
itself), ``numbers`` which level the data's numbers 0, 1, ... stand for, and ``spellings`` how else the data write a
level. ``labels`` say a harm group in pictures (default: its name). Any two attributes and any harm groups will do.

Tables hold fractions. A positive shift closes the gap. A face is harmed where its highest cosine is with a harm word,
and ``sum`` is the share of harmed faces. A group without faces has n = 0, and what would divide by it is NaN.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import NormalDist
from typing import Annotated

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from pydantic import AfterValidator, Field, model_validator

from .. import UserError
from ..files import PACKAGE, Text, Texts, read_toml
from ..files import Declared as Table
from ..numerics.arrays import as_numbers
from ..numerics.statistics import bootstrap_counts, holm, mcnemar, wilson_interval

Counts = Int[np.ndarray, "..."]
PerShift = Float[np.ndarray, "k"] | Sequence[float]
LEVEL = 0.05
"""Below it a p-value counts as larger than chance."""
FAIRFACE = PACKAGE / "data" / "fairface.toml"
HUB_DATASET = "HuggingFaceM4/FairFace"
HUB_REVISION = "54d573cdb8b5af490ba8da9da2799628f6e5c496"
HUB_FILES = "0.25/validation-*.parquet"
"""FairFace's validation split on the hub: the files that show a quarter of the face around it, 63 MB."""

PAPER_GROUPS = ("crime_related", "non_human")
"""The paper's harm groups, in the order of its table: their columns stand first where an audit has both."""

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


@dataclass(frozen=True)
class Answers:
    """Classes that a model gives to faces at every shift.

    Attributes:
        faces: ``Declared.faces``, n rows, at least one.
        predicted: (k, n) class numbers: those of ``declared.classes``, then the harm words; a column for each face.
        shifts: k amounts, 0 among them, with which everything is compared.
    """

    declared: Declared
    faces: pd.DataFrame
    predicted: Int[np.ndarray, "k n"]
    shifts: PerShift

    def __post_init__(self):
        object.__setattr__(self, "shifts", as_numbers(self.shifts, "shifts"))
        shape, classes = (len(self.shifts), len(self.faces)), len(self.declared.prompts)
        if not len(self.faces):
            raise UserError("there are no faces to audit")
        if self.predicted.shape != shape or not np.isin(self.predicted, range(classes)).all():
            raise UserError(f"predicted must be class numbers, 0 to {classes - 1}, of shape (shifts, faces) = {shape}")
        self.row(0.0)

    def row(self, shift: float) -> int:
        """The number of a shift among ``shifts``."""
        found = np.flatnonzero(np.abs(self.shifts - shift) < 1e-9)
        if not len(found):
            raise UserError(f"{shift:g} is not one of the shifts, which are {', '.join(f'{s:g}' for s in self.shifts)}")
        return int(found[0])

    @property
    def harmed(self) -> Bool[np.ndarray, "k n"]:
        """Whether a face is given a harm word."""
        return self.predicted >= len(self.declared.classes)

    @property
    def right(self) -> Bool[np.ndarray, "k n"]:
        """Whether a face is given its own race and gender."""
        return self.predicted == self.groups(self.declared.asked.columns)[1].argmax(1)

    def changes(self, flags: Bool[np.ndarray, "k n"]) -> tuple[Bool[np.ndarray, "k n"], Bool[np.ndarray, "k n"]]:
        """(gained, lost): whether a face is flagged at a shift and not at shift 0, and the reverse."""
        before = flags[self.row(0.0)]
        return flags & ~before, before & ~flags

    def groups(self, by: Sequence[str]) -> tuple[list[tuple[str, ...]], Int[np.ndarray, "n G"]]:
        """The groups of some columns of ``faces``, and 1 where a face is in one: of (k, n) flags @ that are counts.

        Groups are every combination of levels, the first column slowest; of no columns, all faces are one.
        """
        columns = [self.faces[name].cat for name in by]
        codes = np.zeros(len(self.faces), np.int64)
        for column in columns:
            codes = codes * len(column.categories) + column.codes.to_numpy()
        names = list(product(*(column.categories for column in columns)))
        return names, np.eye(len(names), dtype=np.int64)[codes]


def audit(answers: Answers, signed_gap_distances: PerShift, by: Sequence[str]) -> pd.DataFrame:
    """Harm and accuracy of every group at every shift, against the same at shift 0.

    ``by`` are those of ``declared.asked.columns`` that make a group; none: all faces are one.

    Returns:
        a row for each shift and group: shift, signed_gap_distance, accuracy, those of ``by``, n, the rates of the harm
        groups (where the paper's are there, of those), sum, ci_low, ci_high (Wilson, 95%) and p_value (exact McNemar:
        harmed here against harmed at shift 0), all three of ``sum``; p_holm (p_value corrected for the groups at the
        same shift), gained, lost, net (faces newly harmed, no longer harmed, their difference), change (net / n, paired
        interval), the harm groups' Wilson intervals (and further rates), own_accuracy (of the group), accuracy_low,
        accuracy_high, and empty (no faces). Accuracy is of all faces, exact in both attributes, over all classes, harm
        words included. Intervals end in _low and _high.

    Trap: p_holm answers for the groups at one shift. The best of many shifts needs a correction for those as well.
    """
    gaps, declared = as_numbers(signed_gap_distances, "signed_gap_distances"), answers.declared
    if gaps.shape != answers.shifts.shape:
        raise UserError(f"there are {len(answers.shifts)} shifts and {len(gaps)} signed gap distances")
    (names, within), everyone = answers.groups(by), np.array(len(answers.faces))
    n, hits, harmed = within.sum(0), answers.right @ within, answers.harmed @ within
    gained, lost = (flags @ within for flags in answers.changes(answers.harmed))
    p_values = np.where(n, mcnemar(gained, lost), np.nan)
    harms = np.array([*[""] * len(declared.classes), *declared.harms])[answers.predicted]
    called = {name: _shares(name, (harms == name) @ within, n) for name in declared.groups}
    first = PAPER_GROUPS if {*PAPER_GROUPS} <= {*declared.groups} else declared.groups
    accuracy = _shares("accuracy", hits.sum(1, keepdims=True), everyone)
    columns = {"shift": answers.shifts[:, None], "signed_gap_distance": gaps[:, None], "accuracy": accuracy["accuracy"]}
    columns |= {name: np.array([group[place] for group in names], object) for place, name in enumerate(by)}
    columns |= {"n": n} | {name: called[name][name] for name in first} | {"sum": rate(harmed, n)}
    columns |= dict(zip(("ci_low", "ci_high"), wilson_interval(harmed, n), strict=True))
    columns |= {"p_value": p_values, "p_holm": holm(p_values)}
    columns |= {"gained": gained, "lost": lost, "net": gained - lost} | paired_change("change", gained, lost, n)
    for shares in (*called.values(), _shares("own_accuracy", hits, n), accuracy):
        columns |= shares
    columns["empty"] = n == 0
    return pd.DataFrame({name: np.broadcast_to(value, hits.shape).ravel() for name, value in columns.items()})


def disparity(answers: Answers, seed: int, resamples: int = 2000) -> pd.DataFrame:
    """Difference and ratio between the races of the highest and the lowest ``sum``, at every shift.

    Faces are drawn again within their race, the same faces at every shift, and highest and lowest chosen again.

    Returns:
        a row for each shift: shift, n_races (that have faces; another axis has its own name there), highest, lowest
        (races; the first declared of equals), difference (of their rates, in [0, 1]), ratio (in [1, inf), of
        (h + 1/2) / (n + 1), for h harmed of n faces), for each _change (minus the same at shift 0), for all of them
        the 95% percentile interval _low, _high, and disparity_p_value (of a difference this large if it were chance
        which faces are harmed). All is NaN, and highest and lowest are empty, where fewer than two races have faces.

    Trap: a highest minus a lowest rate is never negative, by chance alone rarely 0, and larger in resamples than in the
    faces: its interval tells its size, and disparity_p_value whether races differ at all.
    """
    column = answers.declared.asked.columns[0]
    (names, within), harmed = answers.groups([column]), answers.harmed
    there = np.flatnonzero(within.any(0))
    names, within = np.array(names, object)[there, 0], within[:, there]
    observed, sizes = harmed @ within, within.sum(0)
    by_race = []
    for race, mine in zip(there.tolist(), within.T > 0, strict=True):  # drawn by the faces' pattern of harm
        patterns, alike = np.unique(harmed[:, mine].T, axis=0, return_counts=True)
        drawn = bootstrap_counts(alike, resamples, (seed, race))
        by_race.append(np.concatenate([counts @ patterns for counts in drawn]))
    found, drawn = extremes(observed, sizes), extremes(np.stack(by_race, -1), sizes)
    table = pd.DataFrame({"shift": answers.shifts, f"n_{column}s": len(there), "highest": "", "lowest": ""})
    columns, baseline = {}, answers.row(0.0)
    for name, value in found.items():
        change = value - value[baseline], drawn[name] - drawn[name][:, [baseline]]
        for of, (here, again) in {name: (value, drawn[name]), f"{name}_change": change}.items():
            columns |= _with_ends(of, here, *np.percentile(again, [2.5, 97.5], axis=0))
    if len(there) < 2:
        return table.assign(**dict.fromkeys(columns, np.nan), disparity_p_value=np.nan)
    rates = observed / sizes
    table["highest"], table["lowest"] = names[rates.argmax(1)], names[rates.argmin(1)]
    rng, p_values = np.random.default_rng((seed, len(sizes))), []
    for counted, difference in zip(observed.sum(1), found["difference"], strict=True):  # any of all faces are harmed
        drawn = extremes(rng.multivariate_hypergeometric(sizes, counted, resamples), sizes)["difference"]
        p_values.append((1 + (drawn >= difference - 1e-12).sum()) / (1 + resamples))  # equal but for rounding
    return table.assign(**columns, disparity_p_value=p_values)


def extremes(harmed: Int[np.ndarray, "*k G"], n: Int[np.ndarray, "G"]) -> dict[str, Float[np.ndarray, "*k"]]:
    """The difference and the ratio of ``disparity``, by name, from counts of groups that all have faces."""
    rates, smoothed = harmed / n, (harmed + 0.5) / (n + 1)  # half a face, harmed or not, so that none is divided by 0
    return {"difference": rates.max(-1) - rates.min(-1), "ratio": smoothed.max(-1) / smoothed.min(-1)}


def rate(count: Counts, n: Counts) -> Float[np.ndarray, "..."]:
    """count / n, in [0, 1]; NaN where n is 0."""
    return count / np.where(n, n, np.nan)


def paired_change(name: str, gained: Counts, lost: Counts, n: Counts) -> dict[str, Float[np.ndarray, "..."]]:
    """Change of a rate of the same n faces, (gained - lost) / n in [-1, 1], with its 95% interval: name, _low, _high.

    Source: Bonett and Price, British Journal of Mathematical and Statistical Psychology 65 (2012): the Wald interval
    with one face added to those gained and one to those lost.
    Trap: its middle is (gained - lost) / (n + 2), and where none is gained or lost it still has a width.
    """
    up, down, total = (gained + 1) / (n + 2), (lost + 1) / (n + 2), n + 2
    half = NormalDist().inv_cdf(0.975) * np.sqrt((up + down - (up - down) ** 2) / total)
    low, high = np.maximum(up - down - half, -1.0), np.minimum(up - down + half, 1.0)
    there = np.where(n, 1.0, np.nan)
    return _with_ends(name, rate(gained - lost, n), low * there, high * there)


def _shares(name: str, count: Counts, n: Counts) -> dict[str, np.ndarray]:
    return _with_ends(name, rate(count, n), *wilson_interval(count, n))


def _with_ends(name: str, value: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, np.ndarray]:
    return {name: value, f"{name}_low": low, f"{name}_high": high}
