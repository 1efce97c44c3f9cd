"""The errors that a person who runs a command is meant to read."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class UserError(ValueError):
    """Something the caller can put right: says in one line what was wrong, where, and what to do.

    It is a ``ValueError``, so library callers catch it as such; a command prints its line and exits with 2.
    """


class NoConnection(UserError):
    """The server could not be reached at all: asking it for the next file would be no use."""


def reason(error: BaseException, most: int = 160) -> str:
    """An error's message, or else its kind, in one line of bounded length, without places in memory."""
    message = " ".join(str(error).split()) or type(error).__name__
    return re.sub(r" object at 0x[0-9a-fA-F]+", "", message)[:most]


def refusal(error: "ValidationError") -> str:
    """The first thing that pydantic refuses, after the place where it stands: "table.key: what is wrong"."""
    first = error.errors()[0]
    said = first["msg"].removeprefix("Value error, ")
    return ": ".join(filter(None, [".".join(map(str, first["loc"])), said]))
