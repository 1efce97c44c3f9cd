"""TOML files of declared things, read into pydantic models; a refusal is one line with file, table and key."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ..errors import UserError
from . import tables


class Declared(BaseModel):
    """Base of every table of a file: exact types, no unknown keys, never changed afterwards."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


def _not_empty(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty")
    return text


Text = Annotated[str, AfterValidator(_not_empty)]
Texts = Annotated[tuple[Text, ...], Field(strict=False)]
"""A TOML list of texts. It is not strict, because TOML has lists and no tuples; each text is."""

Model = TypeVar("Model", bound=BaseModel)

REASONS = {"missing": "missing", "extra_forbidden": "not a known key", "value_error": "{ctx[error]}"}
REASONS |= dict.fromkeys(("dict_type", "model_type"), "expected a table, found {input!r}")
REASONS |= {"string_type": "expected a text, found {input!r}", "tuple_type": "expected a list, found {input!r}"}
"""Plainer words for pydantic's errors, by their types."""


def read_toml(path: str | Path, model: type[Model]) -> Model:
    """Reads the content of a TOML file as a model, or refuses it in one line.

    A validator refuses by raising ``ValueError``; one that looks at several keys begins its message with a key.
    """
    path = Path(path)
    try:
        content = tomllib.loads(tables.text_of(path)[0])
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not TOML ({error})") from error
    try:
        return model.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = _where(content, first["loc"])
        raise UserError(f"{path}: {where}{_reason(first)}".replace("\n", " ")) from error


def _where(content: Any, loc: tuple) -> str:
    """The place of an error: "[table] key[number]: ", parts that it does not have left out."""
    named, keys, at = [], "", content
    for part in loc:
        at = at.get(part) if isinstance(at, Mapping) else None
        if isinstance(at, Mapping) and not keys:
            named.append(part)
        else:
            keys += f"[{part}]" if isinstance(part, int) else f".{part}" if keys else part
    return (f"[{'.'.join(named)}] " if named else "") + (f"{keys}: " if keys else "")


def _reason(error: Mapping) -> str:
    message = error["msg"][:1].lower() + error["msg"][1:]
    return REASONS.get(error["type"], "{message}, found {input!r}").format(**error, message=message)
