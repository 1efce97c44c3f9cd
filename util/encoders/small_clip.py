"""The project's own small CLIP: open_clip's CLIP class, 32-pixel pictures, a vocabulary of a few dozen words.

``load()`` gives the shipped, trained pair of towers, ``random(seed)`` its twin with weights as open_clip draws them.
The model card is ``util/data/README.md``.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ..cli import Device
from ..errors import UserError
from ..files import PACKAGE, digest
from .named import Named
from .open_clip_pair import text_fields
from .tower import EncoderPair, Precision, computing

CONFIG = PACKAGE / "data" / "small_clip.json"
CHECKPOINT = PACKAGE / "data" / "small_clip.safetensors"
RECORD = PACKAGE / "data" / "small_clip_record.json"
NAME = "small CLIP"
PAD, START, FIRST_WORD = 0, 1, 2


class Tokenizer:
    """Whole words to numbers: 0 pads, 1 starts, then the words in order, and the largest number ends a caption.

    open_clip pools a text at the position of its largest token, hence the place of the end token. ``words`` are lower
    case, without repetition. ``context_length`` is that of a caption in tokens, start and end included.
    """

    def __init__(self, words: Sequence[str], context_length: int):
        self.words = tuple(words)
        self.context_length = context_length
        self.size = FIRST_WORD + len(self.words) + 1
        self.end = self.size - 1
        self._number = {word: FIRST_WORD + i for i, word in enumerate(self.words)}

    def __call__(self, captions: Iterable[str]) -> Int[Tensor, "n length"]:
        """Captions as int64 tokens (n, length); words are split at white space and compared in lower case."""
        return torch.tensor([self._row(caption) for caption in captions], dtype=torch.int64)

    def _row(self, caption: str) -> list[int]:
        words = caption.lower().split()
        if unknown := [word for word in words if word not in self._number]:
            which = f"the word {unknown[0]!r} of {caption!r}"
            raise UserError(f"the small CLIP does not know {which}; it knows {', '.join(self.words)}")
        if len(words) > self.context_length - 2:
            raise UserError(f"a caption may have {self.context_length - 2} words; {caption!r} has {len(words)}")
        row = [START, *(self._number[word] for word in words), self.end]
        return row + [PAD] * (self.context_length - len(row))


def build(named: Named, seed: int | None, device: Device, precision: Precision) -> EncoderPair:
    """The pair of its name, always in float32."""
    target, _ = computing(device)
    return load(device=target) if seed is None else random(seed, target)


def channels_first(images: UInt8[np.ndarray, "n s s 3"]) -> UInt8[Tensor, "n 3 s s"]:
    """Pictures as torch has them, copied once into memory of that order."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def config() -> dict:
    """Architecture ("model", as open_clip's configuration files), "pixels" (mean, std) and "words"."""
    return json.loads(CONFIG.read_text(encoding="utf-8"))


def prepare(pixels: UInt8[Tensor, "n 3 s s"]) -> Float[Tensor, "n 3 s s"]:
    """uint8 pictures with channels first as the model wants them: float32, centred and scaled."""
    about = config()["pixels"]
    return (pixels.float() / 255 - about["mean"]) / about["std"]


def random(seed: int, device: str | torch.device = "cpu") -> EncoderPair:
    """The untrained twin: weights drawn by open_clip from ``seed``; torch's global generator stays as it was."""
    return _pair(_model(seed), seed, device)


def load(checkpoint: str | Path = CHECKPOINT, device: str | torch.device = "cpu") -> EncoderPair:
    """The trained small CLIP, from a safetensors file of its weights; by default the shipped one."""
    model = _model(seed=0)
    try:
        model.load_state_dict(load_file(checkpoint))
    except FileNotFoundError:
        raise UserError(f"no checkpoint at {checkpoint}; `python -m util train-small-clip` makes it") from None
    except (SafetensorError, RuntimeError) as error:
        line = str(error).splitlines()[0]
        raise UserError(f"{checkpoint} does not hold the small CLIP's weights in safetensors: {line}") from None
    return _pair(model, None, device)


def _model(seed: int) -> nn.Module:
    from open_clip.model import CLIP

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return CLIP(**config()["model"]).eval()


def _pair(model: nn.Module, seed: int | None, device: str | torch.device) -> EncoderPair:
    """Its towers; pictures are uint8 arrays (32, 32, 3) or PIL pictures of that size in RGB."""
    import open_clip

    about, side = config(), model.visual.image_size[0]
    settings = {
        "encoder": f"open_clip {open_clip.__version__}",
        "model": NAME,
        "pretrained": NAME if seed is None else None,
        "configuration": digest(about),
        "weights_sha256": hashlib.sha256(save(model.state_dict())).hexdigest(),
        "seed": seed,
        "dim": about["model"]["embed_dim"],
    }

    def pixels(images: list) -> Tensor:
        arrays = [np.asarray(image) for image in images]
        if any((array.shape, array.dtype) != ((side, side, 3), np.uint8) for array in arrays):
            raise UserError(f"the small CLIP takes pictures of {side}x{side} pixels only, RGB in uint8; choose another")
        return prepare(channels_first(np.stack(arrays)))

    network = model.to(device)
    image = {"modality": "image", "prepare": pixels, "forward": network.encode_image}
    tokenizer = Tokenizer(about["words"], about["model"]["text_cfg"]["context_length"])
    return EncoderPair.of(network, settings, image, text_fields(network, tokenizer))
