"""Encoders by name, with trained or random weights: "open_clip:ViT-B-16:laion2b_s34b_b88k".

Every option that names a model is spelled so. Without a kind before the first colon it is open_clip's.
"""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..cli import Device
from ..errors import UserError
from ..files import sha256
from .tower import EncoderPair, Modality, Pixels, Precision, Tower, checked_device, resolve_precision

KINDS = {
    "torchvision": "torchvision:resnet18[:WEIGHTS]",
    "open_clip": "open_clip:MODEL[:TAG or checkpoint file], open_clip:hf-hub:NAME, open_clip:local-dir:FOLDER",
    "huggingface": "huggingface:NAME or folder",
    "python": "python:FILE.py:FUNCTION",
}
"""How each kind is written on a command line. The project's own "small_clip" is there from Python alone."""

ELSEWHERE = ("hf-hub:", "local-dir:")
"""How open_clip names a repository and a folder; their trained weights are their own."""

PACKAGES = {"torchvision": "torchvision", "open_clip": "open_clip_torch", "huggingface": "transformers"}


@dataclass(frozen=True)
class Named:
    """An encoder's name, taken apart.

    Attributes:
        kind: a key of ``KINDS``.
        name: model, repository, folder or file.
        tag: which trained weights, or which function; None where not given.
        pixels: statistics that images are normalised with: the model's "own", or "imagenet" as the released code
            gives its random-weight CLIP (open_clip only).
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
        if kind == "open_clip" and rest.startswith(ELSEWHERE):
            return cls(kind, rest, "own")
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
        name = {"resnet18": "ResNet-18", "ViT-B-32-quickgelu": "CLIP ViT-B/32"}.get(self.name, self.name)
        if self.kind == "python":
            name = Path(name).stem
        if name.startswith(ELSEWHERE):
            name = Path(name.split(":", 1)[1]).name
        return name if self.kind == "torchvision" else f"{name} {'vision' if modality == 'image' else 'text'}"

    def load(self, seed: int | None = None, device: Device = "auto", precision: Precision = "float32") -> list[Tower]:
        """Its towers, one or two; with trained weights where ``seed`` is None, else with random ones."""
        loaded = getattr(self, f"_{self.kind}")(seed, device, precision)
        return [loaded.non_text, loaded.text] if isinstance(loaded, EncoderPair) else loaded

    def identity(self, seed: int | None, device: Device, precision: Precision) -> dict | None:
        """All that its embeddings depend on, without building it; None where that cannot be known."""
        if self.kind in ("python", "small_clip", "huggingface"):  # known only once loaded, or not worth keeping
            return None
        if self.name.startswith(ELSEWHERE):
            return None
        target = checked_device(device)
        dtype = torch.float32 if self.kind == "torchvision" else resolve_precision(precision, target)
        file = Path(self.tag) if self.tag and seed is None else None
        return {
            "encoder": self.kind,
            "name": self.name,
            "tag": self.tag if seed is None else None,
            "checkpoint": sha256(file) if file is not None and file.is_file() else None,
            "seed": seed,
            "device": target.type,
            "dtype": str(dtype),
            "pixels": self.pixels if seed is not None else "own",
            "versions": {p: _version(p) for p in ("torch", "torchvision", "pillow", PACKAGES.get(self.kind)) if p},
        }

    def _torchvision(self, seed: int | None, device: Device, precision: Precision) -> list[Tower]:
        from . import resnet

        return [resnet.load(self.name, None if seed is not None else self.tag or resnet.PRETRAINED, seed or 0, device)]

    def _open_clip(self, seed: int | None, device: Device, precision: Precision) -> EncoderPair:
        from . import open_clip_pair

        if seed is None and self.tag is None:
            raise UserError(f"open_clip:{self.name}: say which trained weights, for instance open_clip:ViT-B-32:openai")
        tag = self.tag if seed is None else None
        pixels = "own" if seed is None else self.pixels
        return open_clip_pair.load(self.name, tag, seed or 0, device, precision, pixels)

    def _huggingface(self, seed: int | None, device: Device, precision: Precision) -> EncoderPair:
        from . import hugging_face

        return hugging_face.load(self.name, seed is not None, seed or 0, device, precision)

    def _small_clip(self, seed: int | None, device: Device, precision: Precision) -> EncoderPair:
        from . import small_clip

        target = checked_device(device)
        if seed is None:
            return small_clip.load(device=target).pair("small CLIP")
        return small_clip.random(seed, target).pair("random")

    def _python(self, seed: int | None, device: Device, precision: Precision) -> list[Tower]:
        if seed is not None:
            raise UserError(f"python:{self.name}: your own callables have no random twin")
        file = Path(self.name)
        if not file.is_file():
            raise UserError(f"{file}: no such file; write python:FILE.py:FUNCTION")
        spec = importlib.util.spec_from_file_location(f"own_{file.stem}", file)
        if spec is None:
            raise UserError(f"{file}: not a Python file; write python:FILE.py:FUNCTION")
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
            pair = getattr(module, self.tag)()
        except Exception as error:  # the file is the user's own
            raise UserError(f"{file}: {self.tag} gave no encoders ({type(error).__name__}: {error})") from error
        if not isinstance(pair, Sequence) or len(pair) != 2 or not all(p is None or callable(p) for p in pair):
            raise UserError(f"{file}: {self.tag}() must give (encode_images, encode_texts), either may be None")
        return from_callables(file.stem, *pair)


def from_callables(
    name: str, encode_images: Callable | None = None, encode_texts: Callable | None = None
) -> list[Tower]:
    """Towers of your own functions.

    Args:
        name: for figures and records.
        encode_images: a list of b PIL images to an array or tensor (b, d), not normalised; None: no such tower.
        encode_texts: the same for a list of b strings.
    """
    probes = {"image": Image.new("RGB", (224, 224), "grey"), "text": "a photograph"}
    functions = {"image": encode_images, "text": encode_texts}
    return [_own(name, m, f, probes[m]) for m, f in functions.items() if f is not None]


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

    width = rows([probe]).shape[1]
    return Tower(
        name=name,
        weights="your own",
        modality=modality,
        width=width,
        prepare=rows,
        forward=lambda given: given,
        device=torch.device("cpu"),
        settings={"encoder": "callable", "name": name},
    )


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
