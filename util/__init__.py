"""Measure, explain and shift the modality gap of any embeddings.

import util
embeddings = util.Embeddings.load("mine.npz")
images, texts = embeddings.paired()
util.geometry.gap_distance(images, texts)
util.contrastive.sweep(images, texts, shifts=[0, 0.25], temperatures=[0.01])
util.measure("mine.npz")
util.report("mine.npz", output="gap.html")

Every module is there after ``import util``, and is imported when it is first used.
"""

import re
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
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


def attributes(package: str, **sources: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of the package of that name, whose modules load on demand.

    ``sources`` say of further public names which of these modules defines them.
    """

    def get(name: str):
        if name in sources:
            return getattr(import_module(f"{package}.{sources[name]}"), name)
        if not name.startswith("__") and find_spec(f"{package}.{name}"):
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get, lambda: sorted({*vars(sys.modules[package]), *sources})


__getattr__, __dir__ = attributes(__name__, Embeddings="embeddings", measure="measures", report="explorer")
