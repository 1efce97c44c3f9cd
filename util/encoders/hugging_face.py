"""The two towers of any image-text model of transformers: CLIP, SigLIP and their kin, from the hub or a folder."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from PIL import Image
from torch import Tensor, nn

from ..cli import Device
from ..errors import UserError
from .model_files import READ_ONLY, fetched, hashes, loading
from .named import Named
from .tower import EncoderPair, Precision, computing

if TYPE_CHECKING:
    from transformers import BaseImageProcessor

WEIGHTS = "model.safetensors"
CONFIGURATION = ("*.json", "*.txt", "*.model")
VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt", "*.model")
"""One of them is in every folder with a tokenizer. Without any, CLIP's would be made with three tokens."""
KINDS = ("clip", "clipseg", "groupvit", "metaclip_2", "owlvit", "owlv2", "siglip")
"""Their text towers take tokens of the whole length without a mask: they are causal, or were trained so (SigLIP)."""


def build(named: Named, seed: int | None, device: Device, precision: Precision) -> EncoderPair:
    """A model of one of ``KINDS``: of a folder, or else of a repository on the hub.

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
        network = _network(folder, seed)
        image, pixels = _image_fields(folder, network)
        text, words = _text_fields(folder, network)
        width = _width(image, text)
        network.to(target, dtype)
    settings = {
        "encoder": f"transformers {transformers.__version__}",
        "architecture": type(network).__name__,
        "model": shown,
        "pretrained": shown if seed is None else None,
        "revision": commit,
        "files": hashes(path for pattern in wanted if commit is None for path in folder.glob(pattern)),
        "seed": seed,
        "dim": width,
        "pixels": pixels,
        **words,
    }
    return EncoderPair.of(network, settings, image, text)


def _network(folder: Path, seed: int | None) -> nn.Module:
    """The model in evaluation mode, on the CPU in float32; with trained weights where ``seed`` is None.

    Its configuration cannot name weights of another kind.
    """
    from transformers import AutoConfig, AutoModel

    if not (folder / "config.json").is_file():
        raise UserError("there is no config.json, so this is no model of transformers")
    config = AutoConfig.from_pretrained(folder, transformers_weights=None, **READ_ONLY)
    if config.model_type not in KINDS:
        raise UserError(f"its kind, {config.model_type}, is not read here; known are {', '.join(KINDS)}")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed or 0)
        if seed is not None:
            network = AutoModel.from_config(config, dtype=torch.float32, trust_remote_code=False)
            return network.eval().requires_grad_(False)
        if not (folder / WEIGHTS).is_file():
            raise UserError(f"no weights in {WEIGHTS}; pickled ones, and those in several files, are not read")
        told = {"output_loading_info": True, "ignore_mismatched_sizes": True}  # refused below, in words
        options = {"config": config, "dtype": torch.float32, "use_safetensors": True, **told, **READ_ONLY}
        network, report = AutoModel.from_pretrained(folder, **options)
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


def described(processor: "BaseImageProcessor") -> dict:
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


@torch.inference_mode()
def _width(image: dict, text: dict) -> int:
    """The width of the embeddings, by a trial of both towers.

    A text tower that looks for another end token than its tokenizer writes reads every caption at its start.
    """
    image["forward"](image["prepare"]([Image.new("RGB", (64, 64))]))
    rows = text["forward"](text["prepare"](["a photograph", "two dogs"]))
    if torch.equal(*rows):
        raise UserError("its text tower gives all captions one embedding: eos_token_id of config.json may be wrong")
    return rows.shape[1]
