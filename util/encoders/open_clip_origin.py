"""Where open_clip finds a model: in its own list, in a repository on the hub ("hf-hub:"), in a folder ("local-dir:").

A repository's configuration, its tokenizer and one file of weights are fetched, safetensors where it has them. Pickled
weights are read by torch as weights only. A text tower of transformers may have its configuration and its tokenizer in
another repository.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..corpora.hub import hub_or_cache
from ..errors import UserError
from ..files import sha256
from .hugging_face_files import not_fetched
from .named import FOLDER, HUB, OWN

CONFIGURATION = "open_clip_config.json"
WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Names of weights, the preferred first."""


@dataclass(frozen=True)
class Origin:
    """A model's configuration and weights, found.

    Attributes:
        model: its name for settings, a folder without the place where it lies.
        built_by, tokenizer: the names by which open_clip builds it and finds its tokenizer.
        config: its architecture, as open_clip's configuration files have it.
        asks_hub: whether its text tower, its tokenizer or its weights may have to come from the hub.
        weights: the file of weights, where they are ``OWN``.
        about: what the settings say of it beside the name.
    """

    model: str
    built_by: str
    tokenizer: str
    config: dict = field(repr=False)
    asks_hub: bool
    weights: Path | None = None
    about: dict[str, Any] = field(default_factory=dict)


def find(model: str, pretrained: str | None) -> Origin:
    """The origin of a model by open_clip's name, with trained weights by tag, file or "own"; it may ask the hub."""
    if model.startswith((HUB, FOLDER)):
        if pretrained not in (None, OWN):
            raise UserError(f"{model}: its weights are {OWN!r} or none (random), not {pretrained!r}")
        return (_repository if model.startswith(HUB) else _folder)(model, pretrained)
    import open_clip

    _check_name("model", model, open_clip.list_models())
    file = Path(pretrained) if pretrained and Path(pretrained).is_file() else None
    if pretrained is not None and file is None:
        _check_name(f"pretrained tag for {model}", pretrained, open_clip.list_pretrained_tags_by_model(model))
    config = open_clip.get_model_config(model)
    elsewhere = not {"hf_tokenizer_name", "hf_model_name"}.isdisjoint(config["text_cfg"])
    asks_hub = elsewhere or (pretrained is not None and file is None)
    return Origin(model, model, model, config, asks_hub, about={"checkpoint": sha256(file) if file else None})


def _repository(model: str, pretrained: str | None) -> Origin:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    name, weights = model.removeprefix(HUB), None
    try:
        with hub_or_cache():
            file = Path(hf_hub_download(name, CONFIGURATION))
            if pretrained is not None:
                try:
                    weights = Path(hf_hub_download(name, WEIGHTS[0]))
                except EntryNotFoundError:
                    weights = Path(hf_hub_download(name, WEIGHTS[1]))
    except Exception as error:  # the hub's client and its http library each raise their own
        raise not_fetched(model, name, error, f"{FOLDER}FOLDER of its files") from error
    about = {"revision": file.parent.name, "checkpoint": None}
    return Origin(model, f"{FOLDER}{file.parent}", model, _config(file), True, weights, about)


def _folder(model: str, pretrained: str | None) -> Origin:
    folder = Path(model.removeprefix(FOLDER)).expanduser()
    file = folder / CONFIGURATION
    if not model.removeprefix(FOLDER) or not file.is_file():
        raise UserError(f"{model}: there is no {CONFIGURATION} in that folder")
    weights = None
    if pretrained is not None:
        weights = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
        if weights is None:
            raise UserError(f"{model}: there are no weights in {' or '.join(WEIGHTS)}")
    config, place = _config(file), f"{FOLDER}{folder}"
    text = config["text_cfg"].get("hf_model_name")  # the tokenizer is in the folder, the text tower perhaps elsewhere
    about = {"configuration": sha256(file), "checkpoint": sha256(weights) if weights else None}
    asks_hub = text is not None and not Path(text).is_dir()
    return Origin(f"{FOLDER}{folder.resolve().name}", place, place, config, asks_hub, weights, about)


def _config(file: Path) -> dict:
    try:
        config = json.loads(file.read_text(encoding="utf-8"))["model_cfg"]
        if {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys():
            return config
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise UserError(f"{file}: not a configuration of open_clip: no model_cfg with embed_dim, vision_cfg and text_cfg")


def text_digest(network, tokenizer) -> str | None:
    """sha256 of what a text tower of transformers is made of: its configuration and its vocabulary; else None."""
    config = getattr(getattr(network, "text", None), "config", None)
    if config is None or not hasattr(tokenizer, "tokenizer"):
        return None
    vocabulary = json.dumps(sorted(tokenizer.tokenizer.get_vocab().items()))
    return hashlib.sha256(f"{config.to_json_string()}{vocabulary}".encode()).hexdigest()


def _check_name(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        close = get_close_matches(name, known, n=5, cutoff=0.4) or list(known[:5])
        raise UserError(f"unknown {what}: {name!r}; close to it: {', '.join(close) or 'nothing'}")
