"""The two towers of any model that open_clip builds: photographs and captions to unit rows."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import torch
from torch import nn

from ..cli import Device
from ..corpora.hub import hub_or_cache
from ..errors import UserError, reason
from . import open_clip_origin, unread_tokens
from .hugging_face_files import not_fetched, quiet
from .named import FOLDER, HUB, Named
from .open_clip_origin import Origin
from .tower import EncoderPair, Pixels, Precision, checked_device, normal_pixels, resolve_precision, uniform_tokens

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def build(named: Named, seed: int | None, device: Device, precision: Precision) -> EncoderPair:
    """A model by open_clip's name for it or the paper's ("ViT-B/32"), of a repository made for it, or of a folder.

    The activation is the one that the weights were trained with: OpenAI's need QuickGELU, which open_clip 3.3 gives
    "ViT-B-32" only when told to. For random weights the name decides: "ViT-B-32-quickgelu" is CLIP as released,
    "ViT-B-32" has GELU. Nothing but random weights depends on the seed.
    """
    import open_clip

    model = named.name if named.name.startswith((HUB, FOLDER)) else named.name.replace("/", "-")
    pretrained, pixels = (named.trained().tag, "own") if seed is None else (None, named.pixels)
    target = checked_device(device)
    dtype = resolve_precision(precision, target)
    origin = open_clip_origin.find(model, pretrained)
    quick_gelu = _quick_gelu(origin.config, model, pretrained)
    with _loading(origin, model, pretrained):
        network, preprocess, tokenizer = _build(origin, pretrained, seed or 0, quick_gelu, pixels)
    settings = {
        "encoder": f"open_clip {open_clip.__version__}",
        "model": origin.model,
        "pretrained": pretrained,
        **origin.about,
        "text_tower": open_clip_origin.text_digest(network, tokenizer),
        "seed": seed,
        "quick_gelu": quick_gelu,
        "dim": origin.config["embed_dim"],
        "pixels": {k: list(v) if isinstance(v, tuple) else v for k, v in network.visual.preprocess_cfg.items()},
        "context_length": tokenizer.context_length,
        "dtype": str(dtype).removeprefix("torch."),
        "device": target.type,
    }
    network = network.eval().requires_grad_(False).to(target, dtype)
    text = _text_fields(network, tokenizer, origin.config["text_cfg"])
    return EncoderPair.of(network, settings, _image_fields(network, preprocess, dtype), text)


def _image_fields(network: nn.Module, preprocess: Callable, dtype: torch.dtype) -> dict:
    return {
        "modality": "image",
        "prepare": lambda images: torch.stack([preprocess(image) for image in images]),
        "forward": lambda pixels: network.visual(pixels.to(dtype)),
        "noise": normal_pixels(network.visual.image_size),
    }


def _text_fields(network: nn.Module, tokenizer: Callable, config: dict) -> dict:
    parts = unread_tokens.text_parts(network)
    vocabulary = getattr(network, "vocab_size", None) or config.get("vocab_size", 49408)
    return {
        "modality": "text",
        "prepare": tokenizer,
        "forward": network.encode_text if parts is None else unread_tokens.text_forward(parts),
        "noise": uniform_tokens(vocabulary, tokenizer.context_length),
        "lengths": None if parts is None else unread_tokens.lengths(parts),
    }


def _quick_gelu(config: dict, model: str, pretrained: str | None) -> bool:
    """Whether the activation is QuickGELU: as the tag's weights were trained, else as the configuration says."""
    import open_clip

    own = bool(config.get("quick_gelu", False))
    return own or bool((open_clip.get_pretrained_cfg(model, pretrained or "") or {}).get("quick_gelu", False))


@contextmanager
def _loading(origin: Origin, model: str, pretrained: str | None) -> Iterator[None]:
    """Whatever goes wrong in the block is one line, and no code of a repository is run."""
    import open_clip

    try:
        with hub_or_cache() if origin.asks_hub else nullcontext(), quiet(), _no_code():
            yield
    except Exception as error:  # open_clip, torch, safetensors and the hub each raise their own
        if "trust_remote_code" in str(error):
            needs = "its text tower needs code that comes with it, which is not run"
            raise UserError(f"{model}: {needs}; choose one that transformers has") from error
        what = f"with weights {pretrained!r}"
        if not origin.asks_hub or model.startswith(FOLDER):
            raise UserError(f"{model}: open_clip could not load it {what} ({reason(error)})") from error
        page = (open_clip.get_pretrained_cfg(model, pretrained or "") or {}).get("hf_hub") or model.removeprefix(HUB)
        raise not_fetched(f"{model} {what}", page, error, "a file or folder of it") from error


def _build(origin: Origin, pretrained: str | None, seed: int, quick_gelu: bool, pixels: Pixels) -> tuple:
    """Model, preprocessing of one image and tokenizer, on the CPU in float32."""
    import open_clip

    options = {"pretrained": pretrained, "force_quick_gelu": quick_gelu, "pretrained_text": False}
    if origin.built_by.startswith(FOLDER):
        options |= {"pretrained": None, "load_weights": False}
    if pixels == "imagenet":
        options |= {"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network, _, preprocess = open_clip.create_model_and_transforms(origin.built_by, **options)
    if origin.weights is not None:
        open_clip.load_checkpoint(network, str(origin.weights), strict=True, weights_only=True)
    trust = {"trust_remote_code": False} if origin.config["text_cfg"].get("hf_tokenizer_name") else {}
    return network, preprocess, open_clip.get_tokenizer(origin.tokenizer, **trust)


@contextmanager
def _no_code() -> Iterator[None]:
    """No code of a repository is run, nor is anybody asked whether it may be, where open_clip does not say so."""
    from open_clip import hf_model
    from transformers import AutoConfig, dynamic_module_utils

    def configuration(name: str):
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        config._attn_implementation = None  # a file may name a kernel there that would be fetched and run
        return config

    seconds, dynamic_module_utils.TIME_OUT_REMOTE_CODE = dynamic_module_utils.TIME_OUT_REMOTE_CODE, 0
    hf_model.AutoConfig = SimpleNamespace(from_pretrained=configuration)
    try:
        yield
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = seconds
        hf_model.AutoConfig = AutoConfig
