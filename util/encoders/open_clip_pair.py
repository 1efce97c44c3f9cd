"""The two towers of any model that open_clip builds: photographs and captions to unit rows."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from ..cli import Device
from ..corpora.hub import hub_or_cache
from ..errors import UserError
from . import open_clip_origin, unread_tokens
from .open_clip_origin import Origin
from .tower import (
    EncoderPair,
    Pixels,
    Precision,
    Tower,
    checked_device,
    normal_pixels,
    resolve_precision,
    uniform_tokens,
)

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
            has GELU. Also "hf-hub:ORGANISATION/NAME" of a repository on the hub made for open_clip, for
            instance BiomedCLIP's, or "local-dir:FOLDER" with the files of one.
        pretrained: tag of trained weights, a checkpoint file, or None for random ones; of a repository or a folder,
            "own" or None.
        seed: of random weights; nothing else is disturbed.
        device: "auto" takes a GPU where there is one.
        precision: of weights and activations; "auto": bfloat16 where the hardware has it (cosine to float32 > 0.9999).
        pixels: mean and standard deviation that images are normalised with: the model's "own", or "imagenet".
    """
    import open_clip

    model = model if open_clip_origin.is_elsewhere(model) else model.replace("/", "-")
    target = checked_device(device)
    dtype = resolve_precision(precision, target)
    origin, quick_gelu, network, preprocess, tokenizer = _built(model, pretrained, seed, pixels)
    weights = f"random weights, seed {seed}" if pretrained is None else Path(pretrained).name
    settings = {
        "encoder": f"open_clip {open_clip.__version__}",
        "model": origin.model,
        "pretrained": pretrained,
        **origin.about,
        "text_tower": open_clip_origin.text_digest(network, tokenizer),
        "seed": seed if pretrained is None else None,
        "quick_gelu": quick_gelu,
        "dim": origin.config["embed_dim"],
        "pixels": {k: list(v) if isinstance(v, tuple) else v for k, v in network.visual.preprocess_cfg.items()},
        "context_length": tokenizer.context_length,
        "dtype": str(dtype).removeprefix("torch."),
        "device": target.type,
    }
    network = network.eval().requires_grad_(False).to(target, dtype)
    image, text = _image_tower(network, preprocess, settings), _text_tower(network, tokenizer, origin.config, settings)
    return EncoderPair(f"{origin.model} {weights}", image, text, settings, network)


def _image_tower(network: torch.nn.Module, preprocess: Callable, settings: dict) -> Tower:
    visual, dtype = unread_tokens.for_class_token(network.visual), getattr(torch, settings["dtype"])
    return Tower(
        **_named(settings, "image"),
        prepare=lambda images: torch.stack([preprocess(image) for image in images]),
        forward=lambda pixels: visual(pixels.to(dtype)),
        noise=normal_pixels(network.visual.image_size),
    )


def _text_tower(network: torch.nn.Module, tokenizer: Callable, config: dict, settings: dict) -> Tower:
    parts = unread_tokens.text_parts(network)
    vocabulary = getattr(network, "vocab_size", None) or config["text_cfg"].get("vocab_size", 49408)
    return Tower(
        **_named(settings, "text"),
        prepare=tokenizer,
        forward=network.encode_text if parts is None else unread_tokens.text_forward(parts),
        noise=uniform_tokens(vocabulary, tokenizer.context_length),
        lengths=None if parts is None else unread_tokens.lengths(parts),
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


def _quick_gelu(config: dict, model: str, pretrained: str | None) -> bool:
    """Whether the activation is QuickGELU: as the tag's weights were trained, else as the configuration says."""
    import open_clip

    own = bool(config.get("quick_gelu", False))
    return own or bool((open_clip.get_pretrained_cfg(model, pretrained or "") or {}).get("quick_gelu", False))


def _built(model: str, pretrained: str | None, seed: int, pixels: Pixels) -> tuple:
    """Origin, whether QuickGELU, model, preprocessing of one image and tokenizer, on the CPU in float32."""
    open_clip_origin.check(model, pretrained)
    asks = _may_ask_hub(model, pretrained)
    found = None if model.startswith(open_clip_origin.HUB) else open_clip_origin.find(model, pretrained)
    try:
        with hub_or_cache() if asks else nullcontext(), _quiet(), _no_code():
            origin = found or open_clip_origin.find(model, pretrained)
            quick_gelu = _quick_gelu(origin.config, model, pretrained)
            return origin, quick_gelu, *_build(origin, pretrained, seed, quick_gelu, pixels)
    except Exception as error:  # open_clip, torch, safetensors and the hub each raise their own
        if pretrained is None and not asks and not open_clip_origin.is_elsewhere(model):
            raise
        raise UserError(_not_loaded(model, pretrained, error)) from error


def _build(origin: Origin, pretrained: str | None, seed: int, quick_gelu: bool, pixels: Pixels = "own") -> tuple:
    """Model, preprocessing of one image and tokenizer."""
    import open_clip

    options = {"pretrained": pretrained, "force_quick_gelu": quick_gelu, "pretrained_text": False}
    if open_clip_origin.is_elsewhere(origin.built_by):
        options |= {"pretrained": None, "load_weights": False}
    if pixels == "imagenet":
        options |= {"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network, _, preprocess = open_clip.create_model_and_transforms(origin.built_by, **options)
    if origin.weights is not None:
        open_clip.load_checkpoint(network, str(origin.weights), strict=True, weights_only=True)
    trust = {"trust_remote_code": False} if origin.config["text_cfg"].get("hf_tokenizer_name") else {}
    tokenizer = open_clip.get_tokenizer(origin.tokenizer, **trust)
    return network, preprocess, tokenizer


def _not_loaded(model: str, pretrained: str | None, error: Exception) -> str:
    """The error of a model that could not be loaded, in one line."""
    reason = " ".join(str(error).split())
    if "trust_remote_code" in reason:
        return (
            f"{model}: its text tower needs code that comes with it, which is not run; choose one that transformers has"
        )
    reason = reason if len(reason) <= 240 else f"{reason[:240]}..."
    if model.startswith(open_clip_origin.FOLDER):
        return f"{model}: open_clip could not load it ({reason})"
    if pretrained is not None and _is_file(pretrained) and not _may_ask_hub(model, pretrained):
        return f"{pretrained}: does not hold weights of {model}: {reason}"
    import open_clip

    config = open_clip.get_pretrained_cfg(model, pretrained or "") or {}
    page = model.removeprefix(open_clip_origin.HUB) if open_clip_origin.is_elsewhere(model) else config.get("hf_hub")
    origin = f"https://huggingface.co/{page}" if page else config.get("url", "the hub")
    instead = "local-dir:FOLDER of its files" if open_clip_origin.is_elsewhere(model) else "a checkpoint file"
    return (
        f"{model} with weights {pretrained!r} could not be loaded from {origin} ({reason}); run this once where "
        f"there is a network and copy its Hugging Face cache here (HF_HOME), or give {instead}"
    )


def _may_ask_hub(model: str, pretrained: str | None) -> bool:
    """Whether architecture, weights or tokenizer may have to come from the hub."""
    if model.startswith(open_clip_origin.HUB):
        return True
    config = open_clip_origin.find(model, None).config["text_cfg"]
    if model.startswith(open_clip_origin.FOLDER):  # the tokenizer is in the folder
        return "hf_model_name" in config and not Path(config["hf_model_name"]).is_dir()
    elsewhere = "hf_tokenizer_name" in config or "hf_model_name" in config
    return elsewhere or (pretrained is not None and not _is_file(pretrained))


def _is_file(pretrained: str) -> bool:
    return Path(pretrained).is_file()


class _ConfigOnly:
    """Reads the configuration of a text tower for open_clip, in place of transformers' AutoConfig."""

    @staticmethod
    def from_pretrained(name: str):
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        config._attn_implementation = None  # a file may name a kernel there that would be fetched and run
        return config


@contextmanager
def _no_code() -> Iterator[None]:
    """No code of a repository is run, nor is anybody asked whether it may be, where open_clip does not say so."""
    from open_clip import hf_model
    from transformers import AutoConfig, dynamic_module_utils

    seconds, dynamic_module_utils.TIME_OUT_REMOTE_CODE = dynamic_module_utils.TIME_OUT_REMOTE_CODE, 0
    hf_model.AutoConfig = _ConfigOnly
    try:
        yield
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = seconds
        hf_model.AutoConfig = AutoConfig


@contextmanager
def _quiet() -> Iterator[None]:
    """Holds back what open_clip logs: that weights are random, or could not be fetched, is said by our own lines."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
