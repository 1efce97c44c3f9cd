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

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec


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


__getattr__, __dir__ = attributes(
    __name__, Embeddings="embeddings", UserError="errors", measure="measures", report="explorer"
)
