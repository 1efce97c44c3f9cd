"""The two towers of any image-text model of transformers: CLIP, SigLIP and their kin, from the hub or a folder."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor, nn

from ..cli import Device
from ..errors import UserError
from . import hugging_face_files as files
from .named import Named
from .tower import EncoderPair, Precision, checked_device, normal_pixels, resolve_precision, uniform_tokens
from .unread_tokens import Lengths, up_to, up_to_largest

if TYPE_CHECKING:
    from transformers import BaseImageProcessor, PreTrainedConfig

VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
"""One of them is in every folder with a tokenizer. Without any, CLIP's would be made with three tokens."""

READ_AT_LAST = ("siglip", "siglip2")
"""Text towers that see their padding and are read at the last token: every caption has the whole length."""
READ_AT_END = ("clip", "clipseg", "groupvit", "metaclip_2")
"""Causal text towers, read at the first end token."""
READ_AT_LARGEST = ("owlvit", "owlv2")
"""Causal text towers, read at the largest token number, which is that of CLIP's end token."""
LEGACY = ("clip", "clipseg", "groupvit")
"""Read at the largest number too where the configuration says that the end token is 2, as OpenAI's does."""

BLANK, PROBE = Image.new("RGB", (64, 64)), "a photograph"
"""What both towers are tried with."""


def build(named: Named, seed: int | None, device: Device, precision: Precision) -> EncoderPair:
    """A model with ``get_image_features`` and ``get_text_features``: of a folder, or else of a repository on the hub.

    Pictures go through the model's own processor on PIL, whose resized pixels are those of the released CLIP. Where
    the margin is odd, its crop lies one pixel to the left of, or above, torchvision's and open_clip's. Captions of
    causal towers (CLIP) are encoded at their true length, those of SigLIP always at 64 tokens, as it was trained. Its
    second edition was trained on lower case, which its Gemma tokenizer does not see to: it is done here.

    Of a model with random weights no others are fetched, and nothing but them depends on the seed.
    """
    import transformers

    target = checked_device(device)
    dtype = resolve_precision(precision, target)
    folder, commit = files.find(named.name, random=seed is not None)
    shown = folder.resolve().name if commit is None else named.name
    with files.one_line(shown), files.quiet():
        config = files.configuration(folder)
        weights = files.weights_digest(folder) if seed is None else None
        network = files.build(folder, config, seed)
        image, text = _image_parts(folder, network), _text_parts(folder, network)
        width = _width(image, text)
        network.to(target, dtype)
    settings = {
        "encoder": f"transformers {transformers.__version__}",
        "architecture": type(network).__name__,
        "model": shown,
        "pretrained": shown if seed is None else None,
        "revision": commit,
        "checkpoint": weights,
        "configuration": files.configuration_digest(folder),
        "seed": seed,
        "dim": width,
        **image.pop("about"),
        **text.pop("about"),
        "dtype": str(dtype).removeprefix("torch."),
        "device": target.type,
    }
    return EncoderPair.of(network, settings, {"modality": "image", **image}, {"modality": "text", **text})


def _image_parts(folder: Path, network: nn.Module) -> dict:
    """``prepare``, ``forward`` and ``noise`` of the image tower, and ``about`` them for the settings."""
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(folder, backend="pil", **files.READ_ONLY)
    if processor.model_input_names != ["pixel_values"]:
        raise UserError(f"its pictures are {', '.join(processor.model_input_names)}, not pixels of one size alone")

    def prepare(images: list) -> Tensor:
        return processor([image.convert("RGB") for image in images], return_tensors="pt")["pixel_values"]

    def embed(pixels: Tensor) -> Tensor:
        return vectors(network.get_image_features(pixel_values=pixels.to(network.dtype)))

    noise = normal_pixels(tuple(prepare([BLANK]).shape[2:]))
    return {"prepare": prepare, "forward": embed, "noise": noise, "about": {"pixels": described(processor)}}


def described(processor: "BaseImageProcessor") -> dict:
    """A processor's settings as plain values, with the class that they are of."""
    return {**json.loads(processor.to_json_string()), "image_processor_type": type(processor).__name__}


def _text_parts(folder: Path, network: nn.Module) -> dict:
    """``prepare``, ``forward``, ``noise`` and ``lengths`` of the text tower, and ``about`` them for the settings."""
    from transformers import AutoTokenizer

    if not any(any(folder.glob(pattern)) for pattern in VOCABULARIES):
        raise UserError(f"there is no tokenizer (none of {', '.join(VOCABULARIES)})")
    tokenizer = AutoTokenizer.from_pretrained(folder, **files.READ_ONLY)
    kind, text = network.config.model_type, network.config.text_config
    context = min(text.max_position_embeddings, tokenizer.model_max_length)
    lower = kind in READ_AT_LAST and type(tokenizer).__name__.startswith("Gemma")
    options = {"padding": "max_length", "padding_side": "right", "truncation": True, "max_length": context}

    def prepare(captions: list) -> Tensor:
        captions = [caption.lower() for caption in captions] if lower else list(captions)
        return tokenizer(captions, return_tensors="pt", **options)["input_ids"]

    lengths = _lengths(network.config)

    def embed(tokens: Tensor) -> Tensor:
        if lengths is not None:  # what is causal needs no mask
            tokens = tokens[:, : int(lengths(tokens).max())]
        return vectors(network.get_text_features(input_ids=tokens))

    words = tokenizer(PROBE, truncation=True, max_length=context)["input_ids"]
    if lengths is not None and int(lengths(prepare([PROBE]))) != len(words):
        ends = f"captions end in {tokenizer.eos_token!r}, number {tokenizer.eos_token_id}"
        raise UserError(f"{ends}, but the text tower is read at eos_token_id {text.eos_token_id} of config.json")
    reading = "whole length" if lengths is None else "true length, causal"
    about = {"class": type(tokenizer).__name__, "lower_case": lower, "reading": reading}
    return {
        "prepare": prepare,
        "forward": embed,
        "noise": uniform_tokens(text.vocab_size, context),
        "lengths": lengths,
        "about": {"context_length": context, "tokenizer": about},
    }


def _lengths(config: "PreTrainedConfig") -> Lengths | None:
    """How many tokens of each row matter; None where all do. Refuses text towers that are read in another way."""
    kind, end = config.model_type, getattr(config.text_config, "eos_token_id", None)
    if kind in READ_AT_LAST:
        return None
    if kind in READ_AT_LARGEST or (kind in LEGACY and end == 2):
        return up_to_largest
    if kind in READ_AT_END:
        return up_to(end)
    known = ", ".join(READ_AT_END + READ_AT_LARGEST + READ_AT_LAST)
    raise UserError(f"its kind, {kind}, has a text tower that is not read here; known are {known}")


def vectors(given) -> Tensor:
    """Embeddings (b, d), which transformers gives as they are or, since its fifth edition, with what they came from."""
    return given if isinstance(given, Tensor) else given.pooler_output


@torch.inference_mode()
def _width(image: dict, text: dict) -> int:
    """The width of the embeddings, by a trial of both towers."""
    image["forward"](image["prepare"]([BLANK]))
    return text["forward"](text["prepare"]([PROBE])).shape[1]
