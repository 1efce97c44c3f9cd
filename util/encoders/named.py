"""Encoders by name, with trained or random weights: "open_clip:ViT-B-16:laion2b_s34b_b88k".

Every option that names a model is spelled so. Without a kind before the first colon it is open_clip's.
"""

import runpy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..cli import Device
from ..errors import UserError
from ..files import sha256
from .open_clip_origin import FOLDER, HUB, OWN
from .tower import EncoderPair, Modality, Pixels, Precision, Tower, checked_device, resolve_precision

KINDS = {
    "torchvision": "torchvision:resnet18[:WEIGHTS, tag of timm or checkpoint file]",
    "open_clip": "open_clip:MODEL[:TAG or checkpoint file], open_clip:hf-hub:NAME, open_clip:local-dir:FOLDER",
    "huggingface": "huggingface:NAME or folder",
    "python": "python:FILE.py:FUNCTION",
}
"""How each kind is written on a command line. The project's own "small_clip" is there from Python alone."""

PACKAGES = {"torchvision": "torchvision", "open_clip": "open_clip_torch"}
"""Those whose version is part of an identity, beside those of torch, torchvision and pillow."""


@dataclass(frozen=True)
class Named:
    """An encoder's name, taken apart.

    Attributes:
        kind: a key of ``KINDS``, or "small_clip".
        name: model, repository, folder or file.
        tag: which trained weights, or which function; None where not given.
        pixels: "own" statistics, or "imagenet" as the released code gives its random-weight CLIP (open_clip only).
    """

    kind: str
    name: str
    tag: str | None = None
    pixels: Pixels = "own"

    @classmethod
    def parse(cls, text: str) -> "Named":
        """The encoder that an option spells."""
        kind, _, rest = text.partition(":")
        if kind not in KINDS:
            kind, rest = "open_clip", text
        if kind == "open_clip" and rest.startswith((HUB, FOLDER)):
            return cls(kind, rest, OWN)
        parts = [rest] if kind == "huggingface" else rest.split(":", 1)
        if "" in parts or (kind == "python" and len(parts) < 2):
            raise UserError(f"unknown encoder {text!r}; write {', '.join(KINDS.values())}")
        return cls(kind, *parts)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Which towers it may have."""
        return ("image",) if self.kind == "torchvision" else ("image", "text")

    def label(self, modality: Modality) -> str:
        """A tower's name in figures and tables, the paper's where it has one."""
        papers = {"resnet18": "ResNet-18", "resnet50": "ResNet-50", "ViT-B-32-quickgelu": "CLIP ViT-B/32"}
        name = papers.get(self.name, self.name)
        if self.kind == "python":
            name = Path(name).stem
        if name.startswith((HUB, FOLDER)):
            name = Path(name.split(":", 1)[1]).name
        return name if self.kind == "torchvision" else f"{name} {'vision' if modality == 'image' else 'text'}"

    def load(self, seed: int | None = None, device: Device = "auto", precision: Precision = "float32") -> list[Tower]:
        """Its towers, one or two; with trained weights where ``seed`` is None, else with random ones."""
        if self.kind == "torchvision":
            from . import resnet

            tag = (self.tag or resnet.PRETRAINED) if seed is None else None
            return [resnet.load(self.name, tag, seed or 0, device)]
        if self.kind == "python":
            if seed is not None:
                raise UserError(f"python:{self.name}: your own callables have no random twin")
            return own_towers(Path(self.name), self.tag)
        pair = self._pair(seed, device, precision)
        return [pair.non_text, pair.text]

    def _pair(self, seed: int | None, device: Device, precision: Precision) -> EncoderPair:
        if self.kind == "huggingface":
            from . import hugging_face

            return hugging_face.load(self.name, seed is not None, seed or 0, device, precision)
        if self.kind == "small_clip":
            from . import small_clip

            target = checked_device(device)
            if seed is None:
                return small_clip.load(device=target).pair("small CLIP")
            return small_clip.random(seed, target).pair("random")
        from . import open_clip_pair

        if seed is not None:
            return open_clip_pair.load(self.name, None, seed, device, precision, self.pixels)
        if self.tag is None:
            raise UserError(f"open_clip:{self.name}: say which trained weights, for instance open_clip:ViT-B-32:openai")
        return open_clip_pair.load(self.name, self.tag, 0, device, precision)

    def identity(self, seed: int | None, device: Device, precision: Precision) -> dict | None:
        """All that its embeddings depend on, without building it; None where that is known only once it is loaded."""
        if self.kind not in PACKAGES or self.name.startswith((HUB, FOLDER)):
            return None
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
            "versions": {p: version(p) for p in ("torch", "torchvision", "pillow", PACKAGES[self.kind])},
        }


def own_towers(file: Path, function: str) -> list[Tower]:
    """Towers of your own: what ``function`` of a Python file gives, (encode_images, encode_texts), either may be None.

    They take a list of b PIL images or strings and give an array or a tensor (b, d), not normalised.
    """
    if not file.is_file():
        raise UserError(f"{file}: no such file; write python:FILE.py:FUNCTION")
    try:
        pair = runpy.run_path(str(file))[function]()
    except Exception as error:  # the file is the user's own
        raise UserError(f"{file}: {function} gave no encoders ({type(error).__name__}: {error})") from error
    if not isinstance(pair, Sequence) or len(pair) != 2 or not all(p is None or callable(p) for p in pair):
        raise UserError(f"{file}: {function}() must give (encode_images, encode_texts), either may be None")
    probes = {"image": Image.new("RGB", (224, 224), "grey"), "text": "a photograph"}
    named = zip(probes.items(), pair, strict=True)
    return [_own(file.stem, modality, encode, probe) for (modality, probe), encode in named if encode is not None]


def _own(name: str, modality: Modality, function: Callable, probe) -> Tower:
    def rows(inputs: list) -> torch.Tensor:
        try:
            given = function(inputs)
        except Exception as error:  # the function is the user's own
            reason = f"{type(error).__name__}: {error}"
            raise UserError(f"{name}: the {modality} function failed on {len(inputs)} inputs ({reason})") from error
        given = given.detach().cpu() if isinstance(given, torch.Tensor) else torch.from_numpy(np.asarray(given))
        if given.ndim != 2 or len(given) != len(inputs) or not given.is_floating_point():
            raise UserError(f"{name}: {len(inputs)} {modality}s gave {given.dtype} {tuple(given.shape)}, not (n, d)")
        return given.float()

    return Tower(
        name=name,
        weights="your own",
        modality=modality,
        width=rows([probe]).shape[1],
        prepare=rows,
        forward=lambda given: given,
        device=torch.device("cpu"),
        settings={"encoder": "callable", "name": name},
    )
