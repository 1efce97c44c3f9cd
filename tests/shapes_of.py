"""Functions that check, as they are called, the shapes in their annotations."""

import inspect

from beartype import beartype
from jaxtyping import jaxtyped


def checked(monkeypatch, *modules):
    """Every function and method of these modules checks its shapes, also under the names that the others import."""
    names = {module.__name__ for module in modules}
    owners = [*modules]
    for module in modules:
        owners += [each for each in vars(module).values() if inspect.isclass(each) and each.__module__ in names]
    for owner in dict.fromkeys(owners):
        for name, each in list(vars(owner).items()):
            if inspect.isfunction(each) and each.__module__ in names:
                monkeypatch.setattr(owner, name, jaxtyped(each, typechecker=beartype))
