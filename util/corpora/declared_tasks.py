"""Zero-shot tasks as small declared records, read from a TOML file and checked.

A file has a table for each task, named by its key. Every field of ``Task`` but ``key`` is a field of the table;
``util/data/tasks.toml``, the tasks of Table 1, is the example.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import UserError
from .labelled import Classes

SHIPPED = Path(__file__).resolve().parent.parent / "data" / "tasks.toml"

Metric = Literal["top-1", "ROC-AUC", "retrieval"]
UNPINNED = "unpinned"
"""The revision of a data set whose commit is not known: the newest is taken, and the record says which that was."""
PLACE = "{}"
"""Where the name of a class goes in a prompt."""

LISTS = ("class_names", "own_names", "prompts", "ensemble")
TABLES = ("files", "spellings", "sources")
COUNTS = ("items", "megabytes")
NEEDED = ("title", "group", "metric", "dataset")
"""Fields of a table that are not text, and those that it must have."""


@dataclass(frozen=True)
class Task:
    """A zero-shot task: which images, what they may be called, and how that is scored.

    Attributes:
        key: its short name, also that of its folder in a folder of data.
        title: its name in tables.
        group: "coarse-grained", "fine-grained", "optical character recognition", "retrieval", or what one calls it.
        metric: "top-1", "ROC-AUC" (of class 1 against class 0) or "retrieval".
        dataset: id on the hub, or a folder laid out as one.
        revision: commit, or ``UNPINNED``.
        config: the data set's own configuration, None for the only one.
        files: split -> parquet files of the repository, so that nothing else is fetched; without it the hub is asked
            for splits and files.
        split: "test", or several that are joined in this order, "train+test".
        image_column, label_column: of the table; a label is a number or a name.
        caption_column, id_column, split_column: for retrieval: lists of captions, names of the images (None: numbered),
            and the column that holds a row's split where one table holds all of them.
        class_names: C words that go into the prompts.
        own_names: what the data call the classes, in the same order; the class names where nothing is said.
        spellings: further spellings in the data -> one of ``own_names``.
        prompts: templates with the place ``{}``; several are averaged.
        ensemble: the same, published to be averaged; empty where there is none.
        alternatives: name -> other class names, in the same order.
        sources: field -> where it comes from.
        published: the row of the paper's Table 1, None for none.
        items: images of the split, as published.
        megabytes: what is fetched.

    Raises:
        UserError: a field that cannot be; names it.
    """

    key: str
    title: str
    group: str
    metric: Metric
    dataset: str = ""
    revision: str = UNPINNED
    config: str | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    split: str = "test"
    image_column: str = "image"
    label_column: str = "label"
    caption_column: str = "caption"
    id_column: str | None = None
    split_column: str | None = None
    class_names: tuple[str, ...] = ()
    own_names: tuple[str, ...] = ()
    spellings: Mapping[str, str] = field(default_factory=dict)
    prompts: tuple[str, ...] = ()
    ensemble: tuple[str, ...] = ()
    alternatives: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    published: str | None = None
    items: int | None = None
    megabytes: int | None = None

    def __post_init__(self):
        if self.metric not in get_args(Metric):
            raise UserError(f"metric: unknown {self.metric!r}; choose from {', '.join(get_args(Metric))}")
        if self.is_retrieval:
            return
        object.__setattr__(self, "own_names", self.own_names or self.class_names)
        self._check_classes()
        for name in ("prompts", "ensemble"):
            for template in getattr(self, name):
                if PLACE not in template:
                    raise UserError(f"{name}: {template!r} has no {PLACE}, the place of the class name")
        if not self.prompts:
            raise UserError("prompts: there are none; give at least one, for instance 'a photo of a {}.'")

    def _check_classes(self) -> None:
        count = len(self.class_names)
        if count < 2:
            raise UserError(f"class_names: at least two are needed, found {count}")
        if self.metric == "ROC-AUC" and count != 2:
            raise UserError(f"metric: ROC-AUC is of two classes, but class_names has {count}")
        lists = {"class_names": self.class_names, "own_names": self.own_names}
        lists |= {f"alternatives.{name}": names for name, names in self.alternatives.items()}
        for name, values in lists.items():
            if len(values) != count:
                raise UserError(f"{name}: {len(values)} names, but class_names has {count}")
            twice = [value for number, value in enumerate(values) if value in values[:number]]
            if twice:
                raise UserError(f"{name}: {twice[0]!r} stands there twice; a class has a name of its own")
        for other, name in self.spellings.items():
            if name not in self.own_names:
                raise UserError(f"spellings: {other!r} stands for {name!r}, which own_names does not have")

    @property
    def is_retrieval(self) -> bool:
        """Whether it is retrieval among images and captions, and not classification."""
        return self.metric == "retrieval"

    @property
    def commit(self) -> str | None:
        """The revision to ask the hub for; None for its newest."""
        return None if self.revision == UNPINNED else self.revision

    @property
    def classes(self) -> Classes:
        """The classes, for matching with what the data call them."""
        return Classes(self.class_names, self.own_names, self.spellings)

    @property
    def settings(self) -> dict:
        """All that is declared, as plain values for a record."""
        found = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: _plain(value) for name, value in found.items() if value not in (None, (), {})}

    def texts(self, ensemble: bool = False) -> list[list[str]]:
        """The prompts of each class, classes in order.

        Args:
            ensemble: take ``ensemble``; where that is empty, ``prompts`` all the same.
        """
        templates = (ensemble and self.ensemble) or self.prompts
        return [[template.replace(PLACE, name) for template in templates] for name in self.class_names]

    def with_names(self, name: str) -> "Task":
        """The same task with the class names of ``alternatives``.

        Raises:
            UserError: no such alternative; lists those there are.
        """
        if name not in self.alternatives:
            there = ", ".join(self.alternatives) or "none"
            raise UserError(f"{self.key}: no class names {name!r}; there are {there}")
        return replace(self, class_names=self.alternatives[name])


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return list(value) if isinstance(value, tuple) else value


def read(path: str | Path | None = None) -> dict[str, Task]:
    """The tasks of a TOML file, by their keys, in its order.

    Args:
        path: None for the shipped ones.

    Raises:
        UserError: the file cannot be read, is no TOML or has no tasks; a field that is unknown, missing, of another
            type or cannot be; two tasks of one title, which tables name them by. Names file, task and field.
    """
    path = SHIPPED if path is None else Path(path)
    try:
        content = tomllib.loads(path.read_bytes().decode("utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); expected a TOML file of tasks") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not TOML ({error})") from error
    if not content:
        raise UserError(f"{path}: it declares no task; expected a table [key] for each")
    found = {key: _task(path, key, table) for key, table in content.items()}
    keys: dict[str, str] = {}
    for key, task in found.items():
        if (other := keys.setdefault(task.title, key)) != key:
            raise UserError(f"{path}: [{key}] title: {task.title!r} is that of [{other}]; a task has one of its own")
    return found


def _task(path: Path, key: str, table: Any) -> Task:
    where = f"{path}: [{key}]"
    if not isinstance(table, dict):
        raise UserError(f"{where} must be a table of a task's fields, not {table!r}")
    known = [each.name for each in fields(Task) if each.name != "key"]
    for name in table:
        if name not in known:
            raise UserError(f"{where} {name}: not a known field; there are {', '.join(known)}")
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise UserError(f"{where} {missing[0]}: missing; a task needs {', '.join(NEEDED)}")
    try:
        return Task(key, **{name: _checked(name, value) for name, value in table.items()})
    except UserError as error:
        raise UserError(f"{where} {error}") from error


def _checked(name: str, value: Any) -> Any:
    """A field's value as ``Task`` has it.

    Raises:
        UserError: another type.
    """
    if name == "alternatives":
        return {key: _texts(f"{name}.{key}", each) for key, each in _table(name, value).items()}
    if name in TABLES:
        return {key: _text(f"{name}.{key}", each) for key, each in _table(name, value).items()}
    if name in LISTS:
        return _texts(name, value)
    if name in COUNTS:
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"{name}: expected a whole number of at least 1, found {value!r}")
        return value
    return _text(name, value)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{name}: expected text, found {value!r}")
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise UserError(f"{name}: expected a list of texts, found {value!r}")
    return tuple(_text(name, each) for each in value)


def _table(name: str, value: Any) -> dict:
    if not isinstance(value, dict):
        raise UserError(f"{name}: expected a table, found {value!r}")
    return value
