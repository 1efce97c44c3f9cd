"""Encoders by name, with trained or random weights: "open_clip:ViT-B-16:laion2b_s34b_b88k".

Every option that names a model is spelled KIND:NAME[:TAG], and records hold that spelling. A word without a kind is
open_clip's, or Python's where it reads FILE.py:FUNCTION.
"""

from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.constructors import PrimitiveConstructorSpec

from ..cli import Device
from ..errors import UserError
from ..files import sha256

if TYPE_CHECKING:
    from .tower import EncoderPair, Modality, Pixels, Precision, Tower

HUB, FOLDER = "hf-hub:", "local-dir:"
"""How open_clip begins the name of a repository on the hub, or of a folder with the files of one."""
OWN = "own"
"""Tag of a repository or a folder: the weights that lie beside its configuration."""


@dataclass(frozen=True)
class Kind:
    """A kind of encoder: one entry of ``KINDS`` and one module beside this one.

    Attributes:
        spelling: how an option has it.
        module: its ``build(named, seed, device, precision)`` gives an ``EncoderPair``, or a ``Tower`` alone: with
            trained weights where ``seed`` is None, else with random ones.
        tag: whether something follows the name; what is needed comes after the last colon.
        package: whose version is part of the identity; None where an identity is known only once it is loaded.
        text: whether it embeds texts too.
    """

    spelling: str
    module: str
    tag: Literal["optional", "needed", "none"] = "none"
    package: str | None = None
    text: bool = True


KINDS = {
    "open_clip": Kind(
        "open_clip:MODEL[:TAG or checkpoint file], open_clip:hf-hub:NAME, open_clip:local-dir:FOLDER",
        "open_clip_pair",
        "optional",
        "open_clip_torch",
    ),
    "huggingface": Kind("huggingface:NAME or folder", "hugging_face"),
    "torchvision": Kind(
        "torchvision:resnet18[:WEIGHTS, tag of timm or checkpoint file]",
        "resnet",
        "optional",
        "torchvision",
        text=False,
    ),
    "python": Kind("python:MODULE or FILE.py:FUNCTION", "own_functions", "needed"),
    "small-clip": Kind("small-clip", "small_clip"),
}
SMALL_CLIP = "small-clip"
"""The project's own, a kind and a whole name."""


@dataclass(frozen=True)
class Named:
    """An encoder's name, taken apart; as a string it is spelled with its kind and whole paths.

    Attributes:
        kind: a key of ``KINDS``.
        name: model, repository, folder, module or file.
        tag: which trained weights, or which function; None where not given.
        pixels: "own" statistics, or "imagenet" as the released code gives its random-weight CLIP (open_clip only).
    """

    kind: str
    name: str
    tag: str | None = None
    pixels: "Pixels" = "own"

    @classmethod
    def parse(cls, text: str) -> "Named":
        """The encoder that an option spells."""
        kind, _, rest = text.partition(":")
        if text == SMALL_CLIP:
            return cls(kind, "small CLIP")
        if kind not in KINDS:
            kind, rest = ("python" if text.rpartition(":")[0].endswith(".py") else "open_clip"), text
        if kind == "open_clip" and rest.startswith((HUB, FOLDER)):
            return cls(kind, rest, OWN)
        takes = KINDS[kind].tag
        parts = {"none": [rest], "optional": rest.split(":", 1), "needed": rest.rsplit(":", 1)}[takes]
        if "" in parts or (takes == "needed" and len(parts) < 2) or kind == SMALL_CLIP:
            raise UserError(f"unknown encoder {text!r}; write {', '.join(each.spelling for each in KINDS.values())}")
        return cls(kind, *parts)

    def __str__(self) -> str:
        if self.kind == SMALL_CLIP:
            return SMALL_CLIP
        begins = next((word for word in (HUB, FOLDER) if self.kind == "open_clip" and self.name.startswith(word)), "")
        name, tag = self.name.removeprefix(begins), self.tag
        if begins == FOLDER or self.kind in ("huggingface", "python"):
            name = _whole(name)
        tags = [] if tag is None or begins else [tag if self.kind == "python" else _whole(tag)]
        return ":".join([self.kind, f"{begins}{name}", *tags])

    def trained(self) -> "Named":
        """Itself, where it says which trained weights."""
        if self.kind == "open_clip" and self.tag is None:
            raise UserError(f"{self}: say which trained weights, for instance open_clip:ViT-B-32:openai")
        return self

    @property
    def modalities(self) -> "tuple[Modality, ...]":
        """Which towers it may have."""
        return ("image", "text") if KINDS[self.kind].text else ("image",)

    def label(self, modality: "Modality") -> str:
        """A tower's name in figures and tables, the paper's where it has one."""
        papers = {"resnet18": "ResNet-18", "resnet50": "ResNet-50", "ViT-B-32-quickgelu": "CLIP ViT-B/32"}
        name = papers.get(self.name, self.name)
        if self.kind == "python" and name.endswith(".py"):
            name = Path(name).stem
        if name.startswith((HUB, FOLDER)):
            name = Path(name.split(":", 1)[1]).name
        return name if not KINDS[self.kind].text else f"{name} {'vision' if modality == 'image' else 'text'}"

    def load(
        self, seed: int | None = None, device: Device = "auto", precision: "Precision" = "float32"
    ) -> "list[Tower]":
        """Its towers, one or two; with trained weights where ``seed`` is None, else with random ones."""
        found = self._build(seed, device, precision)
        return [found.non_text, found.text] if hasattr(found, "non_text") else [found]

    def pair(
        self, seed: int | None = None, device: Device = "auto", precision: "Precision" = "float32"
    ) -> "EncoderPair":
        """Its two towers, as ``load``; an encoder of one modality alone is refused."""
        found = self._build(seed, device, precision) if KINDS[self.kind].text else None
        if not hasattr(found, "non_text"):
            raise UserError(f"{self}: a tower of images and one of texts are needed, and it has one alone")
        if found.non_text.width != found.text.width:
            widths = f"{found.non_text.width} numbers, a text of {found.text.width}"
            raise UserError(f"{self}: an image's embedding is of {widths}; a gap needs one space for both")
        return found

    def _build(self, seed: int | None, device: Device, precision: "Precision") -> "EncoderPair | Tower":
        return import_module(f".{KINDS[self.kind].module}", __package__).build(self, seed, device, precision)

    def identity(self, seed: int | None, device: Device, precision: "Precision") -> dict | None:
        """All that its embeddings depend on, without building it; None where that is known only once it is loaded."""
        package = KINDS[self.kind].package
        if package is None or self.name.startswith((HUB, FOLDER)):
            return None
        import torch

        from .tower import checked_device, resolve_precision

        target = checked_device(device)
        dtype = torch.float32 if self.kind == "torchvision" else resolve_precision(precision, target)
        tag = self.tag if seed is None else None
        return {
            "encoder": self.kind,
            "name": self.name,
            "tag": tag,
            "checkpoint": sha256(tag) if tag and Path(tag).is_file() else None,
            "seed": seed,
            "device": target.type,
            "dtype": str(dtype),
            "pixels": self.pixels if seed is not None else "own",
            "versions": {p: version(p) for p in ("torch", "torchvision", "pillow", package)},
        }


def _spelled(words: list[str]) -> str:
    """The whole spelling of a word; one that is none stays, and is refused where it is used."""
    try:
        return str(Named.parse(words[0]))
    except UserError:
        return words[0]


def _whole(part: str) -> str:
    """A path that means the same in every working directory, as a record must hold it; other words as they are."""
    path = Path(part).expanduser()
    return str(path.absolute()) if path.exists() else part


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
