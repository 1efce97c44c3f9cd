"""TOML files of declared things, read into pydantic models; a refusal is one line with file, table and key."""

import tomllib
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..errors import UserError, refusal
from . import tables


class Declared(BaseModel):
    """Base of every table of a file: exact types, no unknown keys, never changed afterwards."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


Text = Annotated[str, Field(pattern=r"\S")]
Texts = Annotated[tuple[Text, ...], Field(strict=False)]
"""A TOML list of texts. It is not strict, because TOML has lists and no tuples; each text is."""

Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: str | Path, model: type[Model]) -> Model:
    """Reads the content of a TOML file as a model, or refuses it in one line.

    A validator refuses by raising ``ValueError``; one that looks at several keys begins its message with a key.
    """
    try:
        return model.model_validate(tomllib.loads(tables.text_of(path)[0]))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not TOML ({error})") from error
    except ValidationError as error:
        raise UserError(f"{path}: {refusal(error)}") from error
