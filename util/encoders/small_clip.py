"""The project's own small CLIP: open_clip's CLIP class, 32-pixel pictures, a vocabulary of a few dozen words.

``load()`` gives the shipped, trained model, ``random(seed)`` its twin with weights as open_clip draws them. The model
card is ``util/data/README.md``.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ..cli import Device
from ..errors import UserError
from ..files import digest
from . import unread_tokens
from .named import Named
from .tower import EncoderPair, Precision, Tower, checked_device, normal_pixels, uniform_tokens

DATA = Path(__file__).resolve().parent.parent / "data"
CONFIG = DATA / "small_clip.json"
CHECKPOINT = DATA / "small_clip.safetensors"
RECORD = DATA / "small_clip_record.json"
BLOCK = 512
"""Pictures or captions encoded at a time."""
PAD, START, FIRST_WORD = 0, 1, 2


class Tokenizer:
    """Whole words to numbers: 0 pads, 1 starts, then the words in order, and the largest number ends a caption.

    open_clip pools a text at the position of its largest token, hence the place of the end token. ``words`` are lower
    case, without repetition. ``length`` is that of a caption in tokens, start and end included.
    """

    def __init__(self, words: Sequence[str], length: int):
        self.words = tuple(words)
        self.length = length
        self.size = FIRST_WORD + len(self.words) + 1
        self.end = self.size - 1
        self._number = {word: FIRST_WORD + i for i, word in enumerate(self.words)}

    def __call__(self, captions: Iterable[str]) -> Int[Tensor, "n length"]:
        """Captions as int64 tokens (n, length); words are split at white space and compared in lower case."""
        if isinstance(captions, str):
            raise UserError(f"captions must be a list of strings, not one string: {captions!r}")
        captions = list(captions)
        rows = {caption: self._row(caption) for caption in dict.fromkeys(captions)}
        return torch.tensor([rows[caption] for caption in captions], dtype=torch.int64).reshape(-1, self.length)

    def _row(self, caption: str) -> list[int]:
        words = caption.lower().split()
        if unknown := [word for word in words if word not in self._number]:
            which = f"the word {unknown[0]!r} of {caption!r}"
            raise UserError(f"the small CLIP does not know {which}; it knows {', '.join(self.words)}")
        if len(words) > self.length - 2:
            raise UserError(f"a caption may have {self.length - 2} words; {caption!r} has {len(words)}")
        row = [START, *(self._number[word] for word in words), self.end]
        return row + [PAD] * (self.length - len(row))


@dataclass(frozen=True)
class SmallClip:
    """open_clip's CLIP in evaluation mode on ``device``, with its tokenizer and its preprocessing.

    Pixel values in [0, 1] are moved by ``-mean`` and divided by ``std``.
    """

    model: nn.Module
    tokenizer: Tokenizer
    mean: float
    std: float
    device: torch.device

    def pair(self, weights: str) -> EncoderPair:
        """Its towers, as of every encoder; images are uint8 arrays (32, 32, 3) or PIL pictures of any size.

        ``weights`` is a word for them: "small CLIP" or "random".
        """
        settings = self._settings(weights)
        shared = {"name": "small CLIP", "weights": weights, "width": self.model.text_projection.shape[1]}
        shared |= {"device": self.device, "settings": settings}
        image = Tower(
            modality="image",
            prepare=lambda images: self.prepare(channels_first(np.stack([self._pixels(image) for image in images]))),
            forward=self.model.encode_image,
            noise=normal_pixels(self.side),
            **shared,
        )
        text = Tower(
            modality="text",
            prepare=self.tokenizer,
            forward=unread_tokens.text_forward(self.model),
            lengths=unread_tokens.lengths(self.model),
            noise=uniform_tokens(self.tokenizer.size, self.tokenizer.length),
            **shared,
        )
        return EncoderPair(f"small CLIP {weights}", image, text, settings, self.model)

    @property
    def side(self) -> int:
        """Pixels along each side of a picture: 32."""
        return self.model.visual.image_size[0]

    def _settings(self, weights: str) -> dict:
        """All that the embeddings depend on; the digest of trained weights as loaded is that of their file."""
        import open_clip

        reading = {"words": self.tokenizer.words, "length": self.tokenizer.length, "mean": self.mean, "std": self.std}
        return {
            "encoder": "small CLIP",
            "weights": weights,
            "open_clip": open_clip.__version__,
            "configuration": digest({"model": config()["model"], **reading}),
            "weights_sha256": hashlib.sha256(save(self.model.state_dict())).hexdigest(),
            "dtype": str(self.model.text_projection.dtype).removeprefix("torch."),
            "device": self.device.type,
        }

    def _pixels(self, image: UInt8[np.ndarray, "s s 3"] | Image.Image) -> UInt8[np.ndarray, "s s 3"]:
        """An array as it is, a PIL picture in RGB and, where needed, resized to a square, whatever its proportions."""
        if not isinstance(image, Image.Image):
            return image
        colours, square = image.convert("RGB"), (self.side, self.side)
        return np.asarray(colours if colours.size == square else colours.resize(square, Image.Resampling.BICUBIC))

    def prepare(self, pixels: UInt8[Tensor, "n 3 s s"]) -> Float[Tensor, "n 3 s s"]:
        """uint8 pictures with channels first as the model wants them: float32, centred and scaled."""
        return (pixels.float() / 255 - self.mean) / self.std

    def encode_images(self, images: UInt8[np.ndarray, "n s s 3"]) -> Float[np.ndarray, "n d"]:
        """float32 unit rows (n, 128) of RGB pictures, a uint8 array (n, 32, 32, 3).

        How pictures are grouped in calls changes the last bits at most.
        """
        given = isinstance(images, np.ndarray)
        if not given or images.dtype != np.uint8 or images.shape[1:] != (self.side, self.side, 3):
            found = f"{images.dtype} {images.shape}" if given else type(images).__name__
            raise UserError(f"images must be a uint8 array (n, {self.side}, {self.side}, 3), not {found}")
        return self._encode(channels_first(images), lambda part: self.model.encode_image(self.prepare(part)))

    def encode_texts(self, captions: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """float32 unit rows (n, 128) of captions made of the vocabulary's words; equal captions give equal rows."""
        different = captions if isinstance(captions, str) else list(dict.fromkeys(captions))
        rows = self._encode(self.tokenizer(different), self.model.encode_text)
        place = {caption: i for i, caption in enumerate(different)}
        return rows[[place[caption] for caption in captions]]

    @torch.inference_mode()
    def _encode(self, inputs: Tensor, tower: Callable[[Tensor], Tensor]) -> Float[np.ndarray, "n d"]:
        rows = np.empty((len(inputs), self.model.text_projection.shape[1]), np.float32)
        for start in range(0, len(inputs), BLOCK):
            part = tower(inputs[start : start + BLOCK].to(self.device))
            rows[start : start + BLOCK] = nn.functional.normalize(part, dim=-1).cpu().numpy()
        return rows


def build(named: Named, seed: int | None, device: Device, precision: Precision) -> EncoderPair:
    """The pair of its name: float32, and pictures of its own size alone, for it says nothing of photographs."""
    target = checked_device(device)
    clip = load(device=target) if seed is None else random(seed, target)
    pair = clip.pair(named.name if seed is None else "random")

    def of_its_size(images: list) -> Tensor:
        if any(np.shape(image) != (clip.side, clip.side, 3) for image in images):
            raise UserError(
                f"the small CLIP takes pictures of {clip.side}x{clip.side} pixels only; choose another --model"
            )
        return pair.non_text.prepare(images)

    name = named.name if seed is None else pair.name
    return replace(pair, name=name, non_text=replace(pair.non_text, prepare=of_its_size))


def channels_first(images: UInt8[np.ndarray, "n s s 3"]) -> UInt8[Tensor, "n 3 s s"]:
    """Pictures as torch has them, copied once into memory of that order."""
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def config() -> dict:
    """Architecture ("model", as open_clip's configuration files), "pixels" (mean, std) and "words"."""
    return json.loads(CONFIG.read_text(encoding="utf-8"))


def random(seed: int, device: str | torch.device = "cpu") -> SmallClip:
    """The untrained twin: weights drawn by open_clip from ``seed``; torch's global generator stays as it was."""
    from open_clip.model import CLIP

    settings = config()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = CLIP(**settings["model"])
    device = torch.device(device)
    tokenizer = Tokenizer(settings["words"], settings["model"]["text_cfg"]["context_length"])
    return SmallClip(model.eval().to(device), tokenizer, **settings["pixels"], device=device)


def load(checkpoint: str | Path = CHECKPOINT, device: str | torch.device = "cpu") -> SmallClip:
    """The trained small CLIP, from a safetensors file of its weights; by default the shipped one."""
    clip = random(seed=0, device=device)
    try:
        clip.model.load_state_dict(load_file(checkpoint, device=str(device)))
        return clip
    except FileNotFoundError:
        raise UserError(f"no checkpoint at {checkpoint}; `python -m util train-small-clip` makes it") from None
    except (SafetensorError, RuntimeError) as error:
        line = str(error).splitlines()[0]
        raise UserError(f"{checkpoint} does not hold the small CLIP's weights in safetensors: {line}") from None
