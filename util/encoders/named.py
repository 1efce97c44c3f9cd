"""Encoders by name, with trained or random weights: "open_clip:ViT-B-16:laion2b_s34b_b88k".

Options and records spell a model KIND:NAME[:TAG]. A word without a kind is open_clip's, FILE.py:FUNCTION is Python's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.constructors import PrimitiveConstructorSpec

from .. import UserError
from ..cli import Device

if TYPE_CHECKING:
    from .tower import EncoderPair, Pixels, Precision, Tower

HUB, FOLDER = "hf-hub:", "local-dir:"
"""How open_clip begins the name of a repository on the hub, or of a folder with the files of one."""
OWN = "own"
"""Tag of a repository or a folder: the weights that lie beside its configuration."""


@dataclass(frozen=True)
class Kind:
    """A kind of encoder: its spelling in options, its function, its tag, and whether it embeds texts too.

    ``build``, MODULE.FUNCTION, takes (named, seed, device, precision) and gives an ``EncoderPair`` or a ``Tower``: with
    trained weights where ``seed`` is None, else with random ones. A tag that is needed comes after the last colon.
    """

    spelling: str
    build: str
    tag: Literal["optional", "needed", "none"] = "none"
    text: bool = True


KINDS = {
    "open_clip": Kind(
        "open_clip:MODEL[:TAG or checkpoint file], open_clip:hf-hub:NAME, open_clip:local-dir:FOLDER",
        "models.of_open_clip",
        "optional",
    ),
    "huggingface": Kind("huggingface:NAME or folder", "models.of_transformers"),
    "torchvision": Kind(
        "torchvision:resnet18[:WEIGHTS, timm's tag or checkpoint file]", "models.of_torchvision", "optional", text=False
    ),
    "python": Kind("python:MODULE or FILE.py:FUNCTION", "tower.of_functions", "needed"),
    "small-clip": Kind("small-clip", "small_clip.build"),
}
SMALL_CLIP = "small-clip"
"""The project's own, a kind and a whole name."""


@dataclass(frozen=True)
class Named:
    """An encoder's name, taken apart; as a string it is spelled with its kind, a key of ``KINDS``.

    ``name`` is a model, repository, folder, module or file; ``tag`` says which trained weights, or which function.
    ``pixels`` "imagenet" are those that the released code gives its random-weight CLIP (open_clip only).
    """

    kind: str
    name: str
    tag: str | None = None
    pixels: Pixels = "own"

    @classmethod
    def parse(cls, text: str) -> Named:
        """The encoder that an option spells; paths in it become whole."""
        kind, _, rest = text.partition(":")
        if text == SMALL_CLIP:
            return cls(kind, "small CLIP")
        if kind not in KINDS:
            kind, rest = ("python" if text.rpartition(":")[0].endswith(".py") else "open_clip"), text
        if kind == "open_clip" and rest.startswith(HUB):
            return cls(kind, rest, OWN)
        if kind == "open_clip" and rest.startswith(FOLDER):
            return cls(kind, FOLDER + _whole(rest.removeprefix(FOLDER), Path.is_dir), OWN)
        takes = KINDS[kind].tag
        parts = {"none": [rest], "optional": rest.split(":", 1), "needed": rest.rsplit(":", 1)}[takes]
        if "" in parts or (takes == "needed" and len(parts) < 2) or kind == SMALL_CLIP:
            raise UserError(f"unknown encoder {text!r}; write {', '.join(each.spelling for each in KINDS.values())}")
        if takes == "none":
            return cls(kind, _whole(rest, Path.is_dir))
        first, *tag = parts
        return cls(kind, first, *map(_whole, tag)) if takes == "optional" else cls(kind, _whole(first), *tag)

    def __str__(self) -> str:
        if self.kind == SMALL_CLIP:
            return SMALL_CLIP
        tags = [] if self.tag is None or self.name.startswith((HUB, FOLDER)) else [self.tag]
        return ":".join([self.kind, self.name, *tags])

    def trained(self) -> Named:
        """Itself, where it says which trained weights."""
        if self.kind == "open_clip" and self.tag is None:
            raise UserError(f"{self}: say which trained weights, for instance open_clip:ViT-B-32:openai")
        return self

    def load(self, seed: int | None = None, device: Device = "auto", precision: Precision = "float32") -> list[Tower]:
        """Its towers, one or two; with trained weights where ``seed`` is None, else with random ones."""
        found = self._build(seed, device, precision)
        return [found.non_text, found.text] if hasattr(found, "non_text") else [found]

    def pair(self, seed: int | None = None, device: Device = "auto", precision: Precision = "float32") -> EncoderPair:
        """Its two towers, as ``load``; an encoder of one modality alone is refused."""
        found = self._build(seed, device, precision) if KINDS[self.kind].text else None
        if not hasattr(found, "non_text"):
            raise UserError(f"{self}: a tower of images and one of texts are needed, and it has one alone")
        if found.non_text.width != found.text.width:
            widths = f"{found.non_text.width} numbers, a text of {found.text.width}"
            raise UserError(f"{self}: an image's embedding is of {widths}; a gap needs one space for both")
        return found

    def _build(self, seed: int | None, device: Device, precision: Precision) -> EncoderPair | Tower:
        module, function = KINDS[self.kind].build.split(".")
        return getattr(import_module(f".{module}", __package__), function)(self, seed, device, precision)


def _spelled(words: list[str]) -> str:
    """The whole spelling of a word; one that is none stays, and is refused where it is used."""
    try:
        return str(Named.parse(words[0]))
    except UserError:
        return words[0]


def _whole(part: str, there: Callable[[Path], bool] = Path.is_file) -> str:
    """A path that means the same in every working directory, as a record must hold it; other words as they are."""
    path = Path(part).expanduser()
    return str(path.absolute()) if there(path) else part


ModelName = Annotated[
    str,
    PrimitiveConstructorSpec(
        nargs=1,
        metavar="KIND:NAME[:TAG]",
        instance_from_str=_spelled,
        is_instance=lambda value: isinstance(value, str),
        str_from_instance=lambda value: [value],
    ),
]
"""Type of an option that names a model: its value is the whole spelling, whatever was written."""
