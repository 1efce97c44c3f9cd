"""The two towers of any model that open_clip builds: photographs and captions to unit rows."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from difflib import get_close_matches
from pathlib import Path

import open_clip
import torch

from util.cli import Device
from util.corpora.coco import hub_or_cache
from util.encoders import true_length
from util.encoders.class_token import without_unread_tokens
from util.encoders.pair import EncoderPair
from util.encoders.tower import (
    Pixels,
    Precision,
    Tower,
    checked_device,
    normal_pixels,
    resolve_precision,
    uniform_tokens,
)
from util.errors import UserError
from util.files import sha256

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def load(
    model: str,
    pretrained: str | None = None,
    seed: int = 0,
    device: Device = "auto",
    precision: Precision = "float32",
    pixels: Pixels = "own",
) -> EncoderPair:
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
        precision: of weights and activations; "auto": bfloat16 where the hardware has it (cosine to float32 > 0.9999).
        pixels: mean and standard deviation that images are normalised with: the model's "own", or "imagenet".

    Raises:
        UserError: an unknown model, tag, device or precision, weights that cannot be fetched or do not fit.
    """
    model = model.replace("/", "-")
    _check_name("model", model, open_clip.list_models())
    target = checked_device(device)
    dtype = resolve_precision(precision, target)
    quick_gelu = _quick_gelu(model, pretrained)
    network, preprocess, tokenizer = _build(model, pretrained, seed, quick_gelu, pixels)
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
        "dtype": str(dtype).removeprefix("torch."),
        "device": target.type,
    }
    network = network.eval().requires_grad_(False).to(target, dtype)
    image, text = _image_tower(network, preprocess, settings), _text_tower(network, tokenizer, settings)
    return EncoderPair(f"{model} {weights}", image, text, settings, network)


def _image_tower(network: torch.nn.Module, preprocess: Callable, settings: dict) -> Tower:
    visual, dtype = without_unread_tokens(network.visual), getattr(torch, settings["dtype"])
    return Tower(
        **_named(settings, "image"),
        prepare=lambda images: torch.stack([preprocess(image) for image in images]),
        forward=lambda pixels: visual(pixels.to(dtype)),
        noise=normal_pixels(network.visual.image_size),
    )


def _text_tower(network: torch.nn.Module, tokenizer: Callable, settings: dict) -> Tower:
    parts = true_length.text_parts(network)
    vocabulary = getattr(network, "vocab_size", None) or open_clip.get_model_config(settings["model"])["text_cfg"].get(
        "vocab_size", 49408
    )
    return Tower(
        **_named(settings, "text"),
        prepare=tokenizer,
        forward=network.encode_text if parts is None else true_length.forward(parts),
        noise=uniform_tokens(vocabulary, tokenizer.context_length),
        lengths=None if parts is None else true_length.lengths(parts),
    )


def _named(settings: dict, modality: str) -> dict:
    tag = settings["pretrained"]
    return {
        "name": settings["model"],
        "weights": "random" if tag is None else Path(tag).name,
        "modality": modality,
        "width": settings["dim"],
        "device": torch.device(settings["device"]),
        "settings": {**settings, "modality": modality},
    }


def _quick_gelu(model: str, pretrained: str | None) -> bool:
    """Whether the activation is QuickGELU: as the tag's weights were trained, else as the model's name says."""
    own = bool(open_clip.get_model_config(model).get("quick_gelu", False))
    if pretrained is None or Path(pretrained).is_file():
        return own
    _check_name(f"pretrained tag for {model}", pretrained, open_clip.list_pretrained_tags_by_model(model))
    return own or bool(open_clip.get_pretrained_cfg(model, pretrained).get("quick_gelu", False))


def _build(model: str, pretrained: str | None, seed: int, quick_gelu: bool, pixels: Pixels = "own") -> tuple:
    """Model, preprocessing of one image and tokenizer, on the CPU in float32."""
    hub = hub_or_cache() if _needs_hub(model, pretrained) else nullcontext()
    options = {"pretrained": pretrained, "force_quick_gelu": quick_gelu, "pretrained_text": False}
    if pixels == "imagenet":
        options |= {"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD}
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
