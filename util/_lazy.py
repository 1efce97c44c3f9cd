"""Parts of a package that are imported when they are first asked for (PEP 562)."""

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec


def attributes(package: str, **sources: str) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package whose modules, and some names in them, load on demand.

    Args:
        package: its ``__name__``.
        sources: public name -> the module of the package that defines it.
    """

    def get(name: str):
        if name in sources:
            value = getattr(import_module(f"{package}.{sources[name]}"), name)
            setattr(sys.modules[package], name, value)
            return value
        if not name.startswith("__") and find_spec(f"{package}.{name}"):
            return import_module(f"{package}.{name}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *sources})

    return get, names
