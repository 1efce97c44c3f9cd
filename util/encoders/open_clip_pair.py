"""The two towers of any model that open_clip builds: photographs and captions to unit rows."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import get_args

import numpy as np
import open_clip
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from util.cli import Device, resolve_device
from util.corpora.coco import hub_or_cache
from util.errors import UserError
from util.files import sha256


@dataclass(frozen=True)
class OpenClipPair:
    """An image tower and a text tower of one open_clip model, in float32 and evaluation mode.

    Attributes:
        name: model and weights in words.
        model: the open_clip model, on ``device``.
        preprocess: one PIL image to a float tensor (3, s, s).
        tokenizer: strings to int64 tokens (n, context length); what is longer is cut there, as CLIP does.
        settings: what ``describe`` gives.
    """

    name: str
    model: torch.nn.Module
    preprocess: Callable[[Image.Image], Tensor]
    tokenizer: Callable[[list[str]], Tensor]
    device: torch.device
    settings: dict

    @property
    def dim(self) -> int:
        """The width d of both modalities."""
        return self.settings["dim"]

    def describe(self) -> dict:
        """What the embeddings depend on, as plain values for records and cache keys."""
        return dict(self.settings)

    def encode_images(self, images: Iterable[Image.Image], batch_size: int = 64) -> Float[np.ndarray, "n d"]:
        """Embeddings of photographs, read one batch at a time.

        Returns:
            float32 array (n, d), unit-norm rows. How images are grouped in batches changes the last bits at most.

        Raises:
            UserError: no images.
        """
        return self._encode(images, "images", batch_size, lambda batch: torch.stack([*map(self.preprocess, batch)]))

    def encode_texts(self, captions: Sequence[str], batch_size: int = 64) -> Float[np.ndarray, "m d"]:
        """Embeddings of captions.

        Returns:
            float32 array (m, d), unit-norm rows.

        Raises:
            UserError: no captions, or one string in place of many.
        """
        if isinstance(captions, str):
            raise UserError(f"captions must be a list of strings, not one string: {captions!r}")
        return self._encode(captions, "captions", batch_size, self.tokenizer)

    @torch.inference_mode()
    def _encode(self, items: Iterable, what: str, batch_size: int, prepare: Callable) -> Float[np.ndarray, "n d"]:
        if batch_size < 1:
            raise UserError(f"the batch size must be at least 1, not {batch_size}")
        tower = self.model.encode_image if what == "images" else self.model.encode_text
        total = len(items) if hasattr(items, "__len__") else None
        parts, remaining = [], iter(items)
        with tqdm(total=total, desc=f"{self.name}: {what}", unit=what[:-1], leave=False) as bar:
            while batch := list(islice(remaining, batch_size)):
                rows = tower(prepare(batch).to(self.device), normalize=True)
                parts.append(rows.float().cpu().numpy())
                bar.update(len(batch))
        if not parts:
            raise UserError(f"{self.name}: there are no {what} to encode")
        return np.concatenate(parts)


def load(model: str, pretrained: str | None = None, seed: int = 0, device: Device = "auto") -> OpenClipPair:
    """A model by open_clip's name for it, with trained or random weights.

    Args:
        model: as ``open_clip.list_models()`` has it, or the paper's "ViT-B/32". The activation is the one that the
            weights were trained with: OpenAI's need QuickGELU, which open_clip 3.3 gives "ViT-B-32" only when
            told to. For random weights the name decides: "ViT-B-32-quickgelu" is CLIP as released, "ViT-B-32"
            has GELU.
        pretrained: tag of trained weights, a checkpoint file, or None for random ones.
        seed: of random weights: the same seed gives the same weights whatever was drawn before, and nothing else
            is disturbed.
        device: "auto" takes a GPU where there is one.

    Raises:
        UserError: an unknown model, tag or device, weights that cannot be fetched or do not fit.
    """
    model = model.replace("/", "-")
    _check_name("model", model, open_clip.list_models())
    if device not in get_args(Device):
        raise UserError(f"unknown device {device!r}; choose from {', '.join(get_args(Device))}")
    target = torch.device(resolve_device(device))
    quick_gelu = _quick_gelu(model, pretrained)
    network, preprocess, tokenizer = _build(model, pretrained, seed, quick_gelu)
    weights = f"random weights, seed {seed}" if pretrained is None else Path(pretrained).name
    settings = {
        "encoder": f"open_clip {open_clip.__version__}",
        "model": model,
        "pretrained": pretrained,
        "checkpoint": sha256(Path(pretrained)) if pretrained and Path(pretrained).is_file() else None,
        "seed": seed if pretrained is None else None,
        "quick_gelu": quick_gelu,
        "dim": open_clip.get_model_config(model)["embed_dim"],
        "pixels": {k: list(v) if isinstance(v, tuple) else v for k, v in network.visual.preprocess_cfg.items()},
        "context_length": tokenizer.context_length,
        "dtype": "float32",
        "device": target.type,
    }
    network = network.eval().requires_grad_(False).to(target)
    return OpenClipPair(f"{model} {weights}", network, preprocess, tokenizer, target, settings)


def _quick_gelu(model: str, pretrained: str | None) -> bool:
    """Whether the activation is QuickGELU: as the tag's weights were trained, else as the model's name says."""
    own = bool(open_clip.get_model_config(model).get("quick_gelu", False))
    if pretrained is None or Path(pretrained).is_file():
        return own
    _check_name(f"pretrained tag for {model}", pretrained, open_clip.list_pretrained_tags_by_model(model))
    return own or bool(open_clip.get_pretrained_cfg(model, pretrained).get("quick_gelu", False))


def _build(model: str, pretrained: str | None, seed: int, quick_gelu: bool) -> tuple:
    """Model, preprocessing of one image and tokenizer, on the CPU in float32."""
    hub = hub_or_cache() if _needs_hub(model, pretrained) else nullcontext()
    options = {"pretrained": pretrained, "force_quick_gelu": quick_gelu, "pretrained_text": False}
    try:
        with hub, _quiet(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            network, _, preprocess = open_clip.create_model_and_transforms(model, **options)
            return network, preprocess, open_clip.get_tokenizer(model)
    except Exception as error:  # open_clip, torch, safetensors and the hub each raise their own
        if pretrained is None and not _needs_hub(model, pretrained):
            raise
        reason = " ".join(str(error).split())
        reason = reason if len(reason) <= 240 else f"{reason[:240]}..."
        if not _needs_hub(model, pretrained):
            raise UserError(f"{pretrained}: does not hold weights of {model}: {reason}") from error
        config = open_clip.get_pretrained_cfg(model, pretrained or "") or {}
        origin = f"https://huggingface.co/{config['hf_hub']}" if config.get("hf_hub") else config.get("url", "the hub")
        raise UserError(
            f"{model} with weights {pretrained!r} could not be loaded from {origin} ({reason}); run this once where "
            "there is a network and copy its Hugging Face cache here (HF_HOME), or give a checkpoint file"
        ) from error


def _needs_hub(model: str, pretrained: str | None) -> bool:
    """Whether weights or a tokenizer may have to come from the hub."""
    text = open_clip.get_model_config(model)["text_cfg"]
    elsewhere = "hf_tokenizer_name" in text or "hf_model_name" in text
    return elsewhere or (pretrained is not None and not Path(pretrained).is_file())


def _check_name(what: str, name: str, known: Sequence[str]) -> None:
    """Raises a UserError with the closest names unless ``name`` is known."""
    if name not in known:
        close = get_close_matches(name, known, n=5, cutoff=0.4) or list(known[:5])
        raise UserError(f"unknown {what}: {name!r}; close to it: {', '.join(close) or 'nothing'}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Holds back what open_clip logs: that weights are random, or could not be fetched, is said by our own lines."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
