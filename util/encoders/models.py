"""Models of open_clip, transformers and torchvision as towers: pictures and texts to unit rows.

They come from a library's list, the hub or a folder. No code of theirs is run; pickled weights are read as such only.
"""

import json
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .. import UserError, reason
from ..cli import Device
from ..files import digest, hub_or_cache, sha256, snapshot
from .named import FOLDER, HUB, Named
from .tower import EncoderPair, Pixels, Precision, Tower, computing, drawn

READ_ONLY = {"local_files_only": True, "trust_remote_code": False}
"""Options of whatever transformers reads of a folder."""
OTHERWISE = (
    "check the name, or run this once where there is a network and copy its Hugging Face cache here (HF_HOME), or give "
    "a folder of its files"
)


def fetched(name: str, patterns: Sequence[str]) -> Path:
    """The folder of a repository's top files of these patterns, in the hub's cache; its name is their commit."""
    return snapshot(name, name, OTHERWISE, allow_patterns=list(patterns), ignore_patterns="*/*")


def hashes(files: Iterable[Path | None]) -> dict[str, str]:
    """Name -> sha256 of those that there are, for the settings of an encoder."""
    return {file.name: sha256(file) for file in sorted(filter(None, files))}


@contextmanager
def loading(name: str, library: str, asks_hub: bool = False) -> Iterator[None]:
    """A block that loads a model without remarks and bars; whatever goes wrong in it is one line.

    No code of a repository is run, nor is anybody asked whether it may be: open_clip alone would ask.
    """
    from transformers import dynamic_module_utils
    from transformers.utils import logging as reports

    hook = reports.set_tqdm_hook(lambda bar, given, options: reports.EmptyTqdm(*given))
    try:
        with ExitStack() as after, warnings.catch_warnings(action="ignore"):
            if asks_hub:
                after.enter_context(hub_or_cache())
            after.callback(reports.set_tqdm_hook, hook)
            after.callback(logging.disable, logging.root.manager.disable)
            patience = dynamic_module_utils.TIME_OUT_REMOTE_CODE
            after.callback(setattr, dynamic_module_utils, "TIME_OUT_REMOTE_CODE", patience)
            logging.disable(logging.ERROR)
            dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
            yield
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    except ConnectionError as error:
        raise UserError(f"{name} could not be fetched ({reason(error)}); {OTHERWISE}") from error
    except Exception as error:  # transformers, tokenizers, safetensors and torch each raise their own
        if "trust_remote_code" in str(error):
            raise UserError(f"{name}: it needs code that comes with it, which is not run; choose another") from error
        raise UserError(f"{name}: {library} could not load it ({reason(error)})") from error


def _check_name(what: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        close = get_close_matches(name, known, n=5, cutoff=0.4) or list(known[:5])
        raise UserError(f"unknown {what}: {name!r}; close to it: {', '.join(close) or 'nothing'}")


OPEN_CLIP_CONFIG = "open_clip_config.json"
OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
"""Names of weights, the preferred first."""


class Origin(NamedTuple):
    """Where a model comes from: its name in settings and in open_clip, its architecture, its weights, more settings."""

    shown: str
    built_by: str
    config: dict
    weights: str | Path | None
    about: dict


def of_open_clip(named: Named, seed: int | None, device: Device, precision: Precision) -> EncoderPair:
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
        network, preprocess = _open_clip_network(origin, seed or 0, quick_gelu, pixels)
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
    about = {"files": hashes([file])}
    return Origin(model, model, open_clip.get_model_config(model), file or tag, about)


def _stored(model: str, tag: str | None) -> Origin:
    """A model of a repository or a folder; only what is read is fetched."""
    hub = model.startswith(HUB)
    place = model.removeprefix(HUB if hub else FOLDER)

    def file(name: str) -> Path:
        return (fetched(place, [name]) if hub else Path(place)) / name

    configuration = file(OPEN_CLIP_CONFIG)
    parts = ("embed_dim", "vision_cfg", "text_cfg")
    try:
        config = json.loads(configuration.read_text(encoding="utf-8"))["model_cfg"]
        config = {**config, **{name: config[name] for name in parts}}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{model}: no {OPEN_CLIP_CONFIG} there with {', '.join(parts)} in model_cfg") from error
    folder = configuration.parent
    files = (found for name in OPEN_CLIP_WEIGHTS if tag is not None and (found := file(name)).is_file())
    weights = next(files, None)
    if tag is not None and weights is None:
        raise UserError(f"{model}: there are no weights in {' or '.join(OPEN_CLIP_WEIGHTS)}")
    about = {"revision": folder.name} if hub else {"files": hashes([configuration, weights])}
    return Origin(model if hub else f"{FOLDER}{folder.resolve().name}", f"{FOLDER}{folder}", config, weights, about)


def _open_clip_network(origin: Origin, seed: int, quick_gelu: bool, pixels: Pixels) -> tuple[nn.Module, Callable]:
    """Model and preprocessing of one image, on the CPU in float32."""
    import open_clip

    stored = origin.built_by.startswith(FOLDER)
    options = {"load_weights": not stored, "pretrained_text": False, "force_quick_gelu": quick_gelu}
    if origin.weights is not None and not stored:
        options["pretrained"] = str(origin.weights)
    if pixels == "imagenet":
        options |= {"image_mean": open_clip.constants.IMAGENET_MEAN, "image_std": open_clip.constants.IMAGENET_STD}
    make = partial(open_clip.create_model_and_transforms, origin.built_by, **options)
    network, _, preprocess = drawn(make, seed)
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


WEIGHTS = "model.safetensors"
CONFIGURATION = ("*.json", "*.txt", "*.model")
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
"""One of them is in every folder with a tokenizer. Without any, CLIP's would be made with three tokens."""
MODEL_TYPES = ("clip", "clipseg", "groupvit", "metaclip_2", "owlvit", "owlv2", "siglip")
"""Their text towers take tokens of the whole length without a mask: they are causal, or were trained so (SigLIP)."""


def of_transformers(named: Named, seed: int | None, device: Device, precision: Precision) -> EncoderPair:
    """A model of one of ``MODEL_TYPES``: of a folder, or else of a repository on the hub.

    Pictures go through the model's own processor on PIL, whose resized pixels are those of the released CLIP. Where
    the margin is odd, its crop lies one pixel to the left of, or above, torchvision's and open_clip's. The second
    SigLIP was trained on lower case, which its Gemma tokenizer does not see to: it is done here.

    Of a model with random weights no others are fetched, and nothing but them depends on the seed.
    """
    import transformers

    target, dtype = computing(device, precision)
    wanted = CONFIGURATION if seed is not None else (*CONFIGURATION, WEIGHTS)
    folder, commit = Path(named.name), None  # a folder of your own has no commit
    if not folder.is_dir():
        if folder.is_absolute() or named.name.startswith((".", "~")) or named.name.count("/") > 1:
            raise UserError(f"{named.name}: no such folder")
        folder = fetched(named.name, wanted)
        commit = folder.name
    shown = folder.resolve().name if commit is None else named.name
    with loading(shown, "transformers"):
        network = _transformers_network(folder, seed)
        image, pixels = _image_fields(folder, network)
        text, words = _text_fields(folder, network)
        with torch.inference_mode():  # a trial of both towers
            image["forward"](image["prepare"]([Image.new("RGB", (64, 64))]))
            rows = text["forward"](text["prepare"](["a photograph", "two dogs"]))
        if torch.equal(*rows):  # read at its start, where it looks for another end token than its tokenizer writes
            raise UserError("its text tower gives all captions one embedding: eos_token_id of config.json may be wrong")
        network.to(target, dtype)
    settings = {
        "encoder": f"transformers {transformers.__version__}",
        "architecture": type(network).__name__,
        "model": shown,
        "pretrained": shown if seed is None else None,
        "revision": commit,
        "files": hashes(path for pattern in wanted if commit is None for path in folder.glob(pattern)),
        "seed": seed,
        "dim": rows.shape[1],
        "pixels": pixels,
        **words,
    }
    return EncoderPair.of(network, settings, image, text)


def _transformers_network(folder: Path, seed: int | None) -> nn.Module:
    """The model in evaluation mode, on the CPU in float32; with trained weights where ``seed`` is None.

    Its configuration cannot name weights of another kind.
    """
    from transformers import AutoConfig, AutoModel

    if not (folder / "config.json").is_file():
        raise UserError("there is no config.json, so this is no model of transformers")
    config = AutoConfig.from_pretrained(folder, transformers_weights=None, **READ_ONLY)
    if config.model_type not in MODEL_TYPES:
        raise UserError(f"its kind, {config.model_type}, is not read here; known are {', '.join(MODEL_TYPES)}")
    if seed is not None:
        make = partial(AutoModel.from_config, config, dtype=torch.float32, trust_remote_code=False)
        return drawn(make, seed).eval().requires_grad_(False)
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"no weights in {WEIGHTS}; pickled ones, and those in several files, are not read")
    told = {"output_loading_info": True, "ignore_mismatched_sizes": True}  # refused below, in words
    options = {"config": config, "dtype": torch.float32, "use_safetensors": True, **told, **READ_ONLY}
    network, report = drawn(partial(AutoModel.from_pretrained, folder, **options), 0)
    if absent := sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])}):
        what = f"{len(absent)} weights of {type(network).__name__}"
        raise UserError(f"{what} are not there, or not of its shape; the first is {absent[0]}")
    return network.eval().requires_grad_(False)


def _image_fields(folder: Path, network: nn.Module) -> tuple[dict, dict]:
    """Fields of the image ``Tower``, and what they are for the settings."""
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(folder, backend="pil", **READ_ONLY)

    def prepare(images: list) -> Tensor:
        return processor([image.convert("RGB") for image in images], return_tensors="pt")["pixel_values"]

    forward = lambda pixels: vectors(network.get_image_features(pixel_values=pixels.to(network.dtype)))  # noqa: E731
    return {"modality": "image", "prepare": prepare, "forward": forward}, described(processor)


def described(processor) -> dict:
    """A processor's settings as plain values, with the class that they are of."""
    return {**json.loads(processor.to_json_string()), "image_processor_type": type(processor).__name__}


def _text_fields(folder: Path, network: nn.Module) -> tuple[dict, dict]:
    """Fields of the text ``Tower``, and what they are for the settings."""
    from transformers import AutoTokenizer

    if not any(any(folder.glob(pattern)) for pattern in VOCABULARIES):
        raise UserError(f"there is no tokenizer (none of {', '.join(VOCABULARIES)})")
    tokenizer, text = AutoTokenizer.from_pretrained(folder, **READ_ONLY), network.config.text_config
    context = min(text.max_position_embeddings, tokenizer.model_max_length)
    lower = network.config.model_type == "siglip" and type(tokenizer).__name__.startswith("Gemma")
    options = {"padding": "max_length", "padding_side": "right", "truncation": True, "max_length": context}

    def prepare(captions: list) -> Tensor:
        captions = [caption.lower() for caption in captions] if lower else list(captions)
        return tokenizer(captions, return_tensors="pt", **options)["input_ids"]

    forward = lambda tokens: vectors(network.get_text_features(input_ids=tokens))  # noqa: E731
    fields = {"modality": "text", "prepare": prepare, "forward": forward}
    about = {"class": type(tokenizer).__name__, "lower_case": lower}
    return fields, {"context_length": context, "vocabulary": text.vocab_size, "tokenizer": about}


def vectors(given) -> Tensor:
    """Embeddings (b, d), which transformers gives as they are or, since its fifth edition, with what they came from."""
    return given if isinstance(given, Tensor) else given.pooler_output


PRETRAINED = "IMAGENET1K_V1"
"""The weights of the paper's ResNet-18."""
RECIPES = tuple(f"{name}_in1k" for name in ("a1", "a1h", "a2", "a3", "b1k", "b2k", "c1", "c2", "d", "ram", "tv"))
"""timm's ResNet-50 trained on ImageNet alone: eleven recipes, where the paper has eleven seeds of one."""


def of_torchvision(named: Named, seed: int | None, device: Device, precision: Precision) -> Tower:
    """A residual network without its classifier: (n, 512) for ResNet-18, values not negative.

    Always in float32: with random weights the cosines lie within 1e-3 of 1, which bfloat16 would drown. A tag is one of
    torchvision's weights ("IMAGENET1K_V1", also without a tag) or of timm's for this network ("a1_in1k"), or a
    checkpoint file with the same names of parameters. Nothing but random weights depends on the seed.
    """
    import torchvision

    name, pretrained = named.name, (named.tag or PRETRAINED) if seed is None else None
    _check_name("ResNet", name, torchvision.models.list_models(include="resnet*"))
    known = torchvision.models.get_model_weights(name)
    target, _ = computing(device)
    network = drawn(partial(torchvision.models.get_model, name, weights=None), seed or 0)
    if pretrained is not None:
        _load_resnet_weights(network, name, pretrained, known)
    transform = known[pretrained if pretrained in known.__members__ else PRETRAINED].transforms()
    width, network.fc = network.fc.in_features, nn.Identity()
    network = fused(network.eval().requires_grad_(False)).to(target, memory_format=torch.channels_last)
    settings = {
        "encoder": f"torchvision {torchvision.__version__.split('+')[0]}",
        "model": name,
        "pretrained": pretrained,
        "seed": seed,
        "dim": width,
        "pixels": {"size": transform.crop_size[0], "mean": list(transform.mean), "std": list(transform.std)},
        "dtype": "float32",
        "device": target.type,
        "modality": "image",
    }
    prepare = lambda images: torch.stack([transform(image) for image in images])  # noqa: E731
    return Tower(name, "image", width, prepare, in_channels_last(network), target, settings)


def fused(network: nn.Module) -> nn.Module:
    """A ResNet in evaluation mode with every batch normalisation folded into its convolution: the same function."""
    for module in network.modules():
        for (conv, first), (norm, second) in pairwise(list(module.named_children())):
            if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                setattr(module, conv, fuse_conv_bn_eval(first, second))
                setattr(module, norm, nn.Identity())
    return network


def in_channels_last(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """A convolutional network's function on pixels in the order that is fastest, in true float32 on a GPU too."""

    def forward(pixels: Tensor) -> Tensor:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # else not float32 on a GPU
            return network(pixels.contiguous(memory_format=torch.channels_last))

    return forward


def _load_resnet_weights(network: nn.Module, name: str, pretrained: str, known) -> None:
    """Fills a network with torchvision's weights, timm's, or those of a checkpoint file."""
    import timm
    from timm.models import load_checkpoint

    tags = [each.partition(".")[2] for each in timm.list_pretrained(f"{name}.*")]
    is_file = Path(pretrained).is_file()
    if not is_file:
        _check_name(f"weights of {name}, and no checkpoint file", pretrained, [*known.__members__, *tags])
    try:
        if is_file:
            load_checkpoint(network, pretrained)
        elif pretrained in tags:
            network.load_state_dict(timm.create_model(f"{name}.{pretrained}", pretrained=True).state_dict())
        else:
            fetched = known[pretrained].get_state_dict(progress=False, check_hash=True, weights_only=True)
            network.load_state_dict(fetched)
    except Exception as error:  # the hubs, the unpickler and the network each raise their own
        where = "" if is_file else "; without a network they are read of the hub's cache (TORCH_HOME, HF_HOME)"
        raise UserError(f"{name} with weights {pretrained} could not be loaded ({reason(error)}){where}") from error
