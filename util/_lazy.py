"""Parts of a package that are imported when they are first asked for (PEP 562)."""

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
