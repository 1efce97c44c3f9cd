"""TOML files of declared things, read into pydantic models; a refusal is one line with file, table and key."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import UserError
from . import tables


class Declared(BaseModel):
    """Base of every table of a file: exact types, no unknown keys, never changed afterwards."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


Text = Annotated[str, Field(pattern=r"\S")]
Texts = Annotated[tuple[Text, ...], Field(strict=False)]
"""A TOML list of texts. It is not strict, because TOML has lists and no tuples; each text is."""

Model = TypeVar("Model", bound=BaseModel)

REASONS = {"missing": "missing", "extra_forbidden": "not a known key", "value_error": "{ctx[error]}"}
REASONS |= dict.fromkeys(("dict_type", "model_type"), "expected a table, found {input!r}")
REASONS |= {"string_type": "expected a text, found {input!r}", "tuple_type": "expected a list, found {input!r}"}
REASONS |= {"string_pattern_mismatch": "must not be empty"}
"""Plainer words for pydantic's errors, by their types."""


def read_toml(path: str | Path, model: type[Model]) -> Model:
    """Reads the content of a TOML file as a model, or refuses it in one line.

    A validator refuses by raising ``ValueError``; one that looks at several keys begins its message with a key.
    """
    try:
        content = tomllib.loads(tables.text_of(path)[0])
        return model.model_validate(content)
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not TOML ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"][:1].lower() + first["msg"][1:]
        said = REASONS.get(first["type"], "{message}, found {input!r}").format(**first, message=message)
        raise UserError(f"{path}: {_where(content, first['loc'])}{said}".replace("\n", " ")) from error


def _where(content: Mapping, loc: tuple) -> str:
    """The place of an error: "[table] key[number]: ", parts that it does not have left out."""
    depth, at = 0, content
    while depth < len(loc) and isinstance(at := at.get(loc[depth]), Mapping):
        depth += 1
    table = f"[{'.'.join(loc[:depth])}] " if depth else ""
    keys = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc[depth:]).lstrip(".")
    return f"{table}{keys}: " if keys else table
