"""The two towers of any image-text model of transformers: CLIP, SigLIP and their kin, from the hub or a folder.

Nothing of a repository is executed: its code and its pickled weights are not even fetched, and the folder that holds
the rest is read without a network.
"""

import hashlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from transformers import AutoConfig, AutoImageProcessor, AutoModel, AutoTokenizer, PreTrainedConfig
from transformers.utils import logging as reports

from util.cli import Device
from util.corpora.coco import hub_or_cache
from util.encoders.pair import EncoderPair
from util.encoders.tower import Precision, Tower, checked_device, normal_pixels, resolve_precision, uniform_tokens
from util.errors import UserError
from util.files import sha256

CONFIGURATION = ("*.json", "*.txt", "*.model")
WEIGHTS, INDEX, PARTS = "model.safetensors", "model.safetensors.index.json", "model-*.safetensors"
"""What is fetched of a repository: its top folder only, and weights only when they are wanted."""
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
"""One of them is in every folder with a tokenizer. Without any, CLIP's would be made with three tokens."""

READ_ONLY = {"local_files_only": True, "trust_remote_code": False}

READ_AT_LAST = ("siglip", "siglip2")
"""Text towers that see their padding and are read at the last token: every caption has the whole length."""
READ_AT_END = ("clip", "clipseg", "groupvit", "metaclip_2")
"""Causal text towers, read at the first end token."""
READ_AT_LARGEST = ("owlvit", "owlv2")
"""Causal text towers, read at the largest token number, which is that of CLIP's end token."""
LEGACY = ("clip", "clipseg", "groupvit")
"""Read at the largest number too where the configuration says that the end token is 2, as OpenAI's does."""

PROBE = "a photograph"
AGREEMENT = 1e-3
"""How far the embedding of ``PROBE`` at its true length may lie from that with padding, as a part of its norm."""


def load(
    name: str,
    random: bool = False,
    seed: int = 0,
    device: Device = "auto",
    precision: Precision = "float32",
    revision: str | None = None,
) -> EncoderPair:
    """A model with ``get_image_features`` and ``get_text_features``, with trained or random weights.

    Pictures go through the model's own processor on PIL, whose resized pixels are those of the released CLIP; where
    the margin is odd, its crop lies one pixel to the left of, or above, torchvision's and open_clip's. Captions of
    causal towers (CLIP) are encoded at their true length, those of SigLIP always at 64 tokens, as it was trained. Its
    second edition was trained on lower case, which its Gemma tokenizer does not see to: it is done here.

    Args:
        name: of a repository on the hub, for instance "openai/clip-vit-base-patch32", or a folder. A folder of that
            name goes before the hub.
        random: the architecture alone, with weights from ``seed``; none are fetched.
        seed: of random weights: the same seed gives the same weights whatever was drawn before, and nothing else
            is disturbed.
        device: "auto" takes a GPU where there is one.
        precision: of weights and activations; "auto": bfloat16 where the hardware has it.
        revision: branch, tag or commit on the hub; None: its main branch, whose commit the settings say.

    Raises:
        UserError: an unknown name, device or precision, no network and not in the cache, a folder that holds no
            model, no tokenizer or no safetensors, weights that are damaged or do not fit, a model that does not
            give one vector for one picture and one for one text.
    """
    target = checked_device(device)
    dtype = resolve_precision(precision, target)
    folder, commit = _folder(name, revision, random)
    shown = folder.resolve().name if commit is None else name
    with _one_line(shown), _quiet():
        config = _configuration(folder)
        weights = [] if random else _weight_files(folder)
        network = _network(folder, config, seed if random else None)
        image, text = _image_parts(folder, network), _text_parts(folder, network)
        width = _tried(network, image, text)
        network.to(target, dtype)
    origin = {
        "model": shown,
        "pretrained": None if random else revision or shown,
        "revision": commit,
        "checkpoint": _digest(weights) if commit is None and weights else None,
        "configuration": _digest(_files(folder)) if commit is None else None,
        "seed": seed if random else None,
        "dim": width,
        "device": target.type,
    }
    return _pair(network, image, text, origin)


def _pair(network: nn.Module, image: dict, text: dict, origin: dict) -> EncoderPair:
    """The towers of a model on its device, with all that they depend on in their settings."""
    settings = {
        "encoder": f"transformers {transformers.__version__}",
        "architecture": type(network).__name__,
        **origin,
        **image.pop("about"),
        **text.pop("about"),
        "dtype": str(network.dtype).removeprefix("torch."),
    }
    weights = "random" if origin["pretrained"] is None else origin["pretrained"].rsplit("/", 1)[-1]
    words = f"random weights, seed {origin['seed']}" if origin["pretrained"] is None else weights
    device = torch.device(origin["device"])
    shared = {"name": origin["model"], "weights": weights, "width": origin["dim"], "device": device}
    towers = {
        modality: Tower(modality=modality, settings={**settings, "modality": modality}, **shared, **parts)
        for modality, parts in (("image", image), ("text", text))
    }
    return EncoderPair(f"{origin['model']} {words}", **towers, settings=settings, model=network)


def _folder(name: str, revision: str | None, random: bool) -> tuple[Path, str | None]:
    """Where the model's files are, and the commit that they are of; None for a folder of one's own."""
    from huggingface_hub import snapshot_download

    folder = Path(name).expanduser()
    if folder.is_dir():
        if revision is not None:
            raise UserError(f"{name}: a folder has no revision {revision!r}; leave it out")
        return folder, None
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise UserError(f"{name}: no such folder")
    wanted = list(CONFIGURATION) if random else [*CONFIGURATION, WEIGHTS, PARTS]
    try:
        with hub_or_cache():
            found = snapshot_download(name, revision=revision, allow_patterns=wanted, ignore_patterns="*/*")
    except Exception as error:  # the hub's client raises errors of many kinds, its http library's included
        raise UserError(
            f"{name}{f' at {revision}' if revision else ''} could not be fetched from https://huggingface.co/{name} "
            f"({_reason(error)}); check the name, or run this once where there is a network and copy its Hugging Face "
            "cache here (HF_HOME), or give a folder"
        ) from error
    return Path(found), Path(found).name


def _configuration(folder: Path) -> PreTrainedConfig:
    """The architecture, if it has both towers; attention is not what the file says but what transformers chooses."""
    if not (folder / "config.json").is_file():
        raise UserError("there is no config.json, so this is no model of transformers")
    config = AutoConfig.from_pretrained(folder, transformers_weights=None, **READ_ONLY)
    config._attn_implementation = None  # a file may name a kernel there that would be fetched and run
    kind = transformers.MODEL_MAPPING.get(type(config), None)
    if not (hasattr(kind, "get_image_features") and hasattr(kind, "get_text_features")):
        raise UserError(
            f"its kind, {config.model_type}, has not both an image and a text tower, as clip and siglip have"
        )
    return config


def _weight_files(folder: Path) -> list[Path]:
    """The safetensors of the model, in order."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        raise UserError(f"there are no weights in {WEIGHTS}; pickled ones (*.bin, *.pt) are not read")
    names = sorted(set(json.loads((folder / INDEX).read_text())["weight_map"].values()))
    strange = [name for name in names if Path(name).name != name or not name.endswith(".safetensors")]
    if strange or not all((folder / name).is_file() for name in names):
        raise UserError(f"the weights that {INDEX} names are not all there as safetensors: {', '.join(names)}")
    return [folder / name for name in names]


def _files(folder: Path) -> list[Path]:
    """All that the embeddings depend on but the weights."""
    return sorted(path for pattern in CONFIGURATION for path in folder.glob(pattern) if path.name != INDEX)


def _digest(files: list[Path]) -> str:
    """sha256 of a file, or of the names and hashes of several."""
    if len(files) == 1:
        return sha256(files[0])
    return hashlib.sha256(json.dumps([(file.name, sha256(file)) for file in files]).encode()).hexdigest()


def _network(folder: Path, config: PreTrainedConfig, seed: int | None) -> nn.Module:
    """The model in evaluation mode, on the CPU in float32; with trained weights where ``seed`` is None."""
    reported = {"output_loading_info": True, "ignore_mismatched_sizes": True}  # refused below, in words
    absent = []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed or 0)
        if seed is not None:
            network = AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False)
        else:
            options = {"config": config, "dtype": torch.float32, "use_safetensors": True, **reported, **READ_ONLY}
            network, report = AutoModel.from_pretrained(folder, **options)
            absent = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if absent:
        what = f"{len(absent)} weights of {type(network).__name__}"
        raise UserError(f"{what} are not there, or not of its shape; the first is {absent[0]}")
    return network.eval().requires_grad_(False)


def _image_parts(folder: Path, network: nn.Module) -> dict:
    """``prepare``, ``forward`` and ``noise`` of the image tower, and ``about`` them for the settings."""
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil", **READ_ONLY)
    if processor.model_input_names != ["pixel_values"]:
        raise UserError(f"its pictures are {', '.join(processor.model_input_names)}, not pixels of one size alone")

    def prepare(images: list) -> Tensor:
        return processor([image.convert("RGB") for image in images], return_tensors="pt")["pixel_values"]

    def embed(pixels: Tensor) -> Tensor:
        return _vectors(network.get_image_features(pixel_values=pixels.to(network.dtype)))

    side = tuple(prepare([Image.new("RGB", (64, 64))]).shape[2:])
    pixels = {**json.loads(processor.to_json_string()), "image_processor_type": type(processor).__name__}
    return {"prepare": prepare, "forward": embed, "noise": normal_pixels(side), "about": {"pixels": pixels}}


def _text_parts(folder: Path, network: nn.Module) -> dict:
    """``prepare``, ``forward``, ``noise`` and ``lengths`` of the text tower, and ``about`` them for the settings."""
    if not any(True for pattern in VOCABULARIES for _ in folder.glob(pattern)):
        raise UserError(f"there is no tokenizer (none of {', '.join(VOCABULARIES)})")
    tokenizer = AutoTokenizer.from_pretrained(folder, **READ_ONLY)
    kind, text = network.config.model_type, network.config.text_config
    context = min(text.max_position_embeddings, tokenizer.model_max_length)
    lower = kind in READ_AT_LAST and type(tokenizer).__name__.startswith("Gemma")
    options = {"padding": "max_length", "padding_side": "right", "truncation": True, "max_length": context}

    def prepare(captions: list) -> Tensor:
        captions = [caption.lower() for caption in captions] if lower else list(captions)
        return tokenizer(captions, return_tensors="pt", **options)["input_ids"]

    lengths = _lengths(network.config, tokenizer.pad_token_id)
    causal = kind in READ_AT_END + READ_AT_LARGEST
    words = tokenizer(PROBE, truncation=True, max_length=context)["input_ids"]
    if causal and int(lengths(prepare([PROBE]))) != len(words):
        raise UserError(
            f"captions end in {tokenizer.eos_token!r}, number {tokenizer.eos_token_id}, which is not where the text "
            f"tower is read (eos_token_id {text.eos_token_id} in config.json)"
        )
    reading = "whole length" if lengths is None else "true length, causal" if causal else "true length, masked"
    return {
        "prepare": prepare,
        "forward": _text_forward(network, lengths, None if causal else tokenizer.pad_token_id),
        "noise": uniform_tokens(text.vocab_size, context),
        "lengths": lengths,
        "about": {
            "context_length": context,
            "tokenizer": {"class": type(tokenizer).__name__, "lower_case": lower, "reading": reading},
        },
    }


def _lengths(config: PreTrainedConfig, padding: int) -> Callable[[Tensor], Tensor] | None:
    """How many tokens of each row (n, length) matter; None where all do."""
    kind, end = config.model_type, getattr(config.text_config, "eos_token_id", None)
    if kind in READ_AT_LAST:
        return None
    if kind in READ_AT_LARGEST or (kind in LEGACY and end == 2):
        return lambda tokens: tokens.argmax(dim=1) + 1
    if kind in READ_AT_END:
        return lambda tokens: (tokens == end).int().argmax(dim=1) + 1
    return lambda tokens: tokens.shape[1] - (tokens.flip(1) != padding).int().argmax(dim=1)


def _text_forward(
    network: nn.Module, lengths: Callable[[Tensor], Tensor] | None, padding: int | None
) -> Callable[[Tensor], Tensor]:
    """Tokens (b, length) to embeddings (b, d), computed on the first tokens only, up to the last that matters.

    ``padding`` is the token number that is masked; None where the tower is causal and does not see what follows.
    """

    def embed(tokens: Tensor) -> Tensor:
        if lengths is None:
            return _vectors(network.get_text_features(input_ids=tokens))
        tokens = tokens[:, : int(lengths(tokens).max())]
        mask = None if padding is None else (tokens != padding).long()
        return _vectors(network.get_text_features(input_ids=tokens, attention_mask=mask))

    return embed


def _vectors(given) -> Tensor:
    """Embeddings (b, d), which transformers gives as they are or, since its fifth edition, with what they came from."""
    return given if isinstance(given, Tensor) else given.pooler_output


@torch.inference_mode()
def _tried(network: nn.Module, image: dict, text: dict) -> int:
    """The width of both embeddings, by trial on a black picture and a caption, on the CPU in float32.

    Refuses a model that gives not one vector each, of one width, or whose text depends on its padding.
    """
    tokens = text["prepare"]([PROBE])
    picture, caption = image["forward"](image["prepare"]([Image.new("RGB", (64, 64))])), text["forward"](tokens)
    if picture.shape != caption.shape or picture.ndim != 2:
        raise UserError(f"a picture gives {list(picture.shape)}, a text {list(caption.shape)}, not [1, d] both")
    if text["lengths"] is not None:
        mask = torch.arange(tokens.shape[1])[None] < text["lengths"](tokens)[:, None]
        padded = _vectors(network.get_text_features(input_ids=tokens, attention_mask=mask.long()))
        if (padded - caption).norm() > AGREEMENT * caption.norm():
            raise UserError(f"the text tower of {type(network).__name__} gives other numbers when a caption is padded")
    return picture.shape[1]


def _reason(error: Exception) -> str:
    reason = " ".join(f"{type(error).__name__}: {error}".split())
    return reason if len(reason) <= 240 else f"{reason[:240]}..."


@contextmanager
def _one_line(name: str) -> Iterator[None]:
    """Whatever goes wrong in the block is a UserError of one line that begins with the model's name."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    except Exception as error:  # transformers, tokenizers, safetensors and torch each raise their own
        raise UserError(f"{name}: transformers could not load it ({_reason(error)})") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Holds back transformers' remarks and bars: what matters of them is an error of ours."""
    hook = reports.set_tqdm_hook(lambda bar, given, options: reports.EmptyTqdm(*given))
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        reports.set_tqdm_hook(hook)
