"""The two towers of any model that open_clip builds: photographs and captions to unit rows.

A model is of open_clip's own list, of a repository on the hub ("hf-hub:") or of a folder ("local-dir:"). Weights are
safetensors where there are any, and pickled ones are read by torch as weights only.
"""

import json
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..cli import Device
from ..errors import UserError
from ..files import digest
from .model_files import fetched, hashes, loading
from .named import FOLDER, HUB, Named
from .tower import EncoderPair, Pixels, Precision, computing

CONFIGURATION = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Names of weights, the preferred first."""
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Origin(NamedTuple):
    """Where a model comes from: its name in settings and in open_clip, its architecture, its weights, more settings."""

    shown: str
    built_by: str
    config: dict
    weights: str | Path | None
    about: dict


def build(named: Named, seed: int | None, device: Device, precision: Precision) -> EncoderPair:
    """A model by open_clip's name for it or the paper's ("ViT-B/32"), of a repository made for it, or of a folder.

    The activation is the one that the tag's weights were trained with, for random weights too: OpenAI's need QuickGELU,
    which open_clip 3.3 gives "ViT-B-32" only when told to. Without a tag the name decides: "ViT-B-32-quickgelu" is CLIP
    as released, "ViT-B-32" has GELU. Nothing but random weights depends on the seed.
    """
    import open_clip

    tag, pixels = (named.trained().tag, "own") if seed is None else (None, named.pixels)
    target, dtype = computing(device, precision)
    model = named.name if named.name.startswith((HUB, FOLDER)) else named.name.replace("/", "-")
    origin = _origin(model, tag)
    trained_so = open_clip.get_pretrained_cfg(model, named.tag or "") or {}
    quick_gelu = bool(origin.config.get("quick_gelu") or trained_so.get("quick_gelu"))
    what, text = model if tag is None else f"{model} with weights {tag!r}", origin.config["text_cfg"]
    others = text.get("hf_model_name"), None if model.startswith(FOLDER) else text.get("hf_tokenizer_name")
    elsewhere = any(name and not Path(name).is_dir() for name in others)  # a folder has a tokenizer of its own
    with loading(what, "open_clip", model.startswith(HUB) or isinstance(origin.weights, str) or elsewhere):
        network, preprocess = _network(origin, seed or 0, quick_gelu, pixels)
        trust = {"trust_remote_code": False} if text.get("hf_tokenizer_name") else {}
        tokenizer = open_clip.get_tokenizer(model, **trust)
    settings = {
        "encoder": f"open_clip {open_clip.__version__}",
        "model": origin.shown,
        "pretrained": tag,
        **origin.about,
        "text_tower": _text_digest(network, tokenizer),
        "seed": seed,
        "quick_gelu": quick_gelu,
        "dim": origin.config["embed_dim"],
        "pixels": {k: list(v) if isinstance(v, tuple) else v for k, v in network.visual.preprocess_cfg.items()},
        "context_length": tokenizer.context_length,
        "vocabulary": getattr(network, "vocab_size", None) or text.get("vocab_size", 49408),
    }
    network = network.eval().requires_grad_(False).to(target, dtype)
    image = {
        "modality": "image",
        "prepare": lambda images: torch.stack([preprocess(image) for image in images]),
        "forward": lambda pixels: network.visual(pixels.to(dtype)),
    }
    return EncoderPair.of(network, settings, image, text_fields(network, tokenizer))


def text_fields(network: nn.Module, tokenizer: Callable) -> dict:
    """Fields of the text ``Tower`` of a network of open_clip.

    CLIP's own tower is causal and read at its end token, the largest number, which depends on no token after it. A
    batch is cut at its longest caption: about 15 tokens of 77 for MSCOCO. open_clip takes no shorter sequence, so the
    positional embedding and the mask are cut here. Other towers are computed at the whole length.
    """
    text = getattr(network, "text", network)  # CustomTextCLIP keeps its tower there, CLIP is its own
    causal = getattr(text, "attn_mask", None) is not None and getattr(text, "cls_emb", None) is None
    pool = getattr(text, "text_pool_type", None) or getattr(text, "pool_type", None)
    fields = {"modality": "text", "prepare": tokenizer, "forward": network.encode_text}
    if not (causal and pool == "argmax"):
        return fields

    def embed(tokens: Tensor) -> Tensor:
        last = tokens.argmax(dim=1)
        length = int(last.max()) + 1
        x = text.token_embedding(tokens[:, :length]) + text.positional_embedding[:length]
        x = text.transformer(x, attn_mask=text.attn_mask[:length, :length])
        x = text.ln_final(x[torch.arange(len(x), device=x.device), last])
        projection = text.text_projection
        if projection is None:
            return x
        return projection(x) if isinstance(projection, nn.Linear) else x @ projection

    return {**fields, "forward": embed, "lengths": lambda tokens: tokens.argmax(dim=1) + 1}


def _origin(model: str, tag: str | None) -> Origin:
    """The origin of a model by open_clip's name, with trained weights by tag, file or "own"; it may ask the hub."""
    import open_clip

    if model.startswith((HUB, FOLDER)):
        return _stored(model, tag)
    _check_name("model", model, open_clip.list_models())
    file = Path(tag) if tag and Path(tag).is_file() else None
    if tag is not None and file is None:
        _check_name(f"pretrained tag for {model}", tag, open_clip.list_pretrained_tags_by_model(model))
    about = {"files": hashes([file] if file else [])}
    return Origin(model, model, open_clip.get_model_config(model), file or tag, about)


def _stored(model: str, tag: str | None) -> Origin:
    """A model of a repository or a folder; only what is read is fetched."""
    hub = model.startswith(HUB)
    place = model.removeprefix(HUB if hub else FOLDER)

    def file(name: str) -> Path:
        return (fetched(place, [name]) if hub else Path(place)) / name

    configuration = file(CONFIGURATION)
    parts = ("embed_dim", "vision_cfg", "text_cfg")
    try:
        config = json.loads(configuration.read_text(encoding="utf-8"))["model_cfg"]
        config = {**config, **{name: config[name] for name in parts}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{model}: no {CONFIGURATION} there with {', '.join(parts)} in model_cfg") from error
    folder = configuration.parent
    weights = None if tag is None else next((found for name in WEIGHTS if (found := file(name)).is_file()), None)
    if tag is not None and weights is None:
        raise UserError(f"{model}: there are no weights in {' or '.join(WEIGHTS)}")
    about = {"revision": folder.name} if hub else {"files": hashes([configuration, *([weights] if weights else [])])}
    return Origin(model if hub else f"{FOLDER}{folder.resolve().name}", f"{FOLDER}{folder}", config, weights, about)


def _network(origin: Origin, seed: int, quick_gelu: bool, pixels: Pixels) -> tuple[nn.Module, Callable]:
    """Model and preprocessing of one image, on the CPU in float32."""
    import open_clip

    stored = origin.built_by.startswith(FOLDER)
    options = {"load_weights": not stored, "pretrained_text": False, "force_quick_gelu": quick_gelu}
    if origin.weights is not None and not stored:
        options["pretrained"] = str(origin.weights)
    if pixels == "imagenet":
        options |= {"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD}
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        network, _, preprocess = open_clip.create_model_and_transforms(origin.built_by, **options)
    if stored and origin.weights is not None:
        open_clip.load_checkpoint(network, str(origin.weights), strict=True, weights_only=True)
    return network, preprocess


def _text_digest(network: nn.Module, tokenizer: Callable) -> str | None:
    """sha256 of a text tower's configuration and vocabulary that come from transformers, perhaps of elsewhere."""
    if not hasattr(tokenizer, "tokenizer"):
        return None
    config = getattr(getattr(network, "text", None), "config", None)
    words = sorted(tokenizer.tokenizer.get_vocab().items())
    return digest([config.to_json_string() if config else None, words])


def _check_name(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        close = get_close_matches(name, known, n=5, cutoff=0.4) or list(known[:5])
        raise UserError(f"unknown {what}: {name!r}; close to it: {', '.join(close) or 'nothing'}")
