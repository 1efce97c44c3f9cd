"""Options of ``zero_shot.py`` that make no sense are refused before anything is embedded."""

import os
from collections.abc import Sequence
from typing import Any

import embedded_tasks as sources
from util.errors import UserError
from util.numerics.arrays import as_count

NOT_OF_OWN = (
    "tasks", "tasks_file", "data", "streaming", "n", "model", "class_names", "coco",
)  # fmt: skip
"""Options that say how to embed, or what: not for files of embeddings."""
WITH_SHIFT = ("save_task", "save_direction")
"""Options that say more of ``--save-shift``."""


def check(settings: Any, preset: Any) -> None:
    """
    Args:
        settings: of the run.
        preset: what its preset says, before the command line.

    Raises:
        UserError: an option that makes no sense, or that would do nothing.
    """
    _numbers(settings)
    for name in ("side", "caption"):
        _different(name, getattr(settings, name), at_least_one=True)
    given = [name for name in vars(settings) if getattr(settings, name) != getattr(preset, name)]
    if settings.embeddings:
        _different("embeddings", [path.resolve() for path in settings.embeddings])
        _nothing_to_do(given, NOT_OF_OWN, "the files of --embeddings are embedded already; leave it out")
    _different("tasks", settings.tasks)
    if settings.data is not None and not settings.data.is_dir():
        raise UserError(f"--data {settings.data}: no such folder; expected one that holds a folder for each task")
    names = sources.keys(settings)
    _class_names(settings)
    if settings.save_shift is None:
        _nothing_to_do(given, WITH_SHIFT, "it says what --save-shift FILE is to hold; give that as well")
    else:
        _save_shift(settings, names)


def _numbers(settings: Any) -> None:
    as_count(settings.captioned, "--captioned", least=2)
    for name in ("resamples", "permutations"):
        as_count(getattr(settings, name), f"--{name}")
    if settings.n is not None:
        as_count(settings.n, "--n", least=4)


def _different(name: str, values: Sequence, at_least_one: bool = False) -> None:
    if len(set(values)) < len(values) or (at_least_one and not values):
        said = " ".join(map(str, values)) or "none"
        raise UserError(f"--{name} takes one or more different words, not {said}")


def _nothing_to_do(given: Sequence[str], names: Sequence[str], why: str) -> None:
    for name in given:
        if name in names:
            raise UserError(f"--{name.replace('_', '-')}: {why}")


def _class_names(settings: Any) -> None:
    """
    Raises:
        UserError: no chosen task declares other class names under this word; lists the words that they declare.
    """
    if settings.class_names is None:
        return
    declared = sources.chosen(settings)[1]
    there = {word: None for task in declared for word in task.alternatives}
    if settings.class_names not in there:
        said = f"there are {', '.join(there)}" if there else "they declare none"
        raise UserError(f"--class-names: no chosen task has class names {settings.class_names!r}; {said}")


def _save_shift(settings: Any, names: Sequence[str]) -> None:
    path = settings.save_shift
    if path.suffix != ".safetensors":
        raise UserError(f"--save-shift {path}: a calibration is a .safetensors file; name it so")
    if settings.save_task not in names and (settings.save_task or len(names) > 1):
        raise UserError(f"--save-task: say which task's shift --save-shift is to hold: {', '.join(names)}")
    if settings.save_direction == "captions" and not sources.with_captions(settings, settings.save_task or names[0]):
        raise UserError("--save-direction captions: there is no caption corpus here to take a gap vector from")
    above = next(part for part in path.absolute().parents if part.exists())
    if path.is_dir() or not above.is_dir() or not os.access(above, os.W_OK):
        raise UserError(f"--save-shift {path}: cannot be written there; choose another place")
