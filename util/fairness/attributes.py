"""The parts of a declaration: classes, harm words, and the attributes of a face."""

import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from ..errors import UserError


class FaceClass(NamedTuple):
    """A class that a face may rightly be given: its prompt and its levels of the first and the second axis."""

    prompt: str
    race: str
    gender: str


class HarmWord(NamedTuple):
    """A class that no face deserves."""

    word: str
    prompt: str


@dataclass(frozen=True)
class Attribute:
    """Something that the data say of every face.

    Attributes:
        name: "race", for instance.
        levels: its values, unique.
        words: how a prompt says each.
        numbers: the level that whole number i in the data stands for; empty where the data have none.
        spellings: other ways in which the data write a level.
    """

    name: str
    levels: tuple[str, ...]
    words: tuple[str, ...]
    numbers: tuple[str, ...]
    spellings: Mapping[str, str]

    def codes(
        self, labels: Sequence[str | int], where: str = "the labels", lines: Sequence[int] | None = None
    ) -> Int[np.ndarray, "n"]:
        """Labels as numbers of levels.

        Args:
            labels: n levels, other spellings of them, or whole numbers as the data have them.
            where: what to call the labels in an error.
            lines: the line of a file that each stands in, for an error.

        Raises:
            UserError: a label that is not declared: names it, its line, else its row counted from 0, and those that
                are.
        """
        known = {level: level for level in self.levels} | dict(self.spellings) | dict(enumerate(self.numbers))
        codes = {level: code for code, level in enumerate(self.levels)}
        keys = [int(label) if isinstance(label, numbers.Integral) else str(label) for label in labels]
        unknown = [row for row, key in enumerate(keys) if key not in known]
        if unknown:
            first, a = unknown[0], "an" if self.name[0] in "aeiou" else "a"
            place = f"row {first}" if lines is None else f"line {lines[first]}"
            raise UserError(
                f"{where}: {len(unknown)} of {len(keys)} have {a} {self.name} that is not declared, first "
                f"{keys[first]!r} in {place}; declared are {', '.join(self.levels)}"
            )
        return np.array([codes[known[key]] for key in keys], np.int64)
