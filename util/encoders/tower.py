"""Towers: photographs, videos, captions, sequences or ready tensors in, unit rows out; alone or in a pair."""

import runpy
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn
from tqdm import tqdm

from .. import UserError, reason
from ..cli import Device, resolve_device
from ..corpora.captioned import WORDS
from ..files import sha256
from .named import Named

Precision = Literal["float32", "bfloat16", "auto"]
Pixels = Literal["own", "imagenet"]

CPU_BATCH, GPU_BATCH = 16, 256
"""Pictures per batch: on a CPU as many as keep the activations near its caches (measured: 16 beats 8 and 64)."""

CPU_TOKENS, GPU_TOKENS = 1024, 16_384
"""Tokens per batch of captions and sequences at their true length."""


@dataclass(frozen=True)
class Tower:
    """A network that embeds one modality, in evaluation mode.

    Attributes:
        name, width: the model in words, for instance "ViT-B-32"; d of the embeddings.
        prepare: a list of raw inputs (PIL images, lists of them, strings) to one tensor (b, ...): pixels or tokens.
        forward: such a tensor, on the ``device`` of the network, to embeddings (b, d), not normalised.
        settings: all that the embeddings depend on, as plain values for records and cache keys.
        lengths: tokens (n, length) to how many matter (n,), by which ``encode`` groups inputs; None where all do.
        frames: pictures of one input: 1, or those of a video, which batches count.
    """

    name: str
    modality: Literal["image", "text", "video", "amino acid"]
    width: int
    prepare: Callable[[list], Tensor]
    forward: Callable[[Tensor], Tensor]
    device: torch.device
    settings: Mapping[str, Any] = field(repr=False)
    lengths: Callable[[Tensor], Tensor] | None = field(repr=False, default=None)
    frames: int = 1

    @torch.inference_mode()
    def encode(self, inputs: Iterable | Tensor, batch_size: int | None = None) -> Float[np.ndarray, "n d"]:
        """float32 unit rows (n, d) of raw inputs, read one batch at a time, or of what ``prepare`` gave.

        Args:
            inputs: raw inputs, or a ready tensor (n, ...). CLIP's tokenizers cut a text at the end of its context.
            batch_size: how many go through the network at a time; None: 16 pictures on a CPU, 256 on a GPU, and
                captions and sequences of known length by their tokens. It changes the last bits at most.
        """
        what = WORDS[self.modality]
        if isinstance(inputs, str):
            raise UserError(f"{what} must be given in a list, not as one string: {inputs!r}")
        if batch_size is not None and batch_size < 1:
            raise UserError(f"the batch size must be at least 1, not {batch_size}")
        places = None
        if self.lengths is not None and not isinstance(inputs, Tensor):  # to know which are of like length
            texts = list(inputs)
            different = {text: place for place, text in enumerate(dict.fromkeys(texts))}  # equal texts have equal rows
            places, inputs = [different[text] for text in texts], self.prepare(list(different)) if texts else []
        total = len(inputs) if hasattr(inputs, "__len__") else None
        about = {"desc": f"{self.name}: {what}", "unit": what[:-1], "leave": False, "delay": 2}
        parts, numbers = [], []
        with tqdm(total=total, disable=None, **about) as bar:  # None: silent where the errors go to a file
            for chosen, batch in self._batches(inputs, batch_size):
                parts.append(self.forward(batch.to(self.device)).float().cpu().numpy())
                numbers.append(chosen)
                bar.update(len(chosen))
        if not any(map(len, parts)):
            raise UserError(f"{self.name}: there are no {what} to encode")
        rows = np.concatenate(parts)[torch.cat(numbers).argsort().numpy()]
        norms = np.linalg.norm(rows, axis=1)
        usable = np.isfinite(norms) & (norms > 0)
        if not usable.all():
            raise UserError(f"{self.name}: the embedding of {what[:-1]} {usable.argmin()} is zero or not finite")
        rows = rows / norms[:, None]
        return rows if places is None else rows[places]

    def _batches(self, inputs: Iterable | Tensor, size: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Row numbers and prepared inputs; where lengths are known, those of like length, the longest first."""
        pictures, tokens = (CPU_BATCH, CPU_TOKENS) if self.device.type == "cpu" else (GPU_BATCH, GPU_TOKENS)
        count = size or max(1, pictures // self.frames)
        if not isinstance(inputs, Tensor):
            remaining, start = iter(inputs), 0
            while batch := list(islice(remaining, count)):
                yield torch.arange(start, start + len(batch)), self.prepare(batch)
                start += len(batch)
        elif self.lengths is None:
            yield from ((chosen, inputs[chosen]) for chosen in torch.arange(len(inputs)).split(count))
        else:
            lengths = self.lengths(inputs)
            order = lengths.argsort(descending=True, stable=True)
            while len(order):
                chosen = order[: size or max(1, tokens // int(lengths[order[0]]))]
                yield chosen, inputs[chosen]
                order = order[len(chosen) :]


@dataclass(frozen=True)
class EncoderPair:
    """Two towers of one width that share a space: one of text, and one of images, videos or amino-acid sequences.

    ``name`` is the model and its weights in words, ``model`` the whole model where there is one. ``settings`` are plain
    values; where they hold all that the embeddings depend on, these are ``kept`` by the cache.
    """

    name: str
    non_text: Tower
    text: Tower
    settings: Mapping[str, Any]
    model: nn.Module | None = field(repr=False, default=None)
    kept: bool = True

    @classmethod
    def of(cls, model: nn.Module, settings: Mapping[str, Any], non_text: dict, text: dict) -> "EncoderPair":
        """The towers of a whole model in its place and precision.

        ``settings`` has "model", "dim" and "pretrained" (None: random weights of "seed"). "device" and "dtype" are
        those of the weights unless told. ``non_text`` and ``text`` hold the other fields of either ``Tower``.
        """
        trained, weights = settings["pretrained"], next(model.parameters())
        where = {"dtype": str(weights.dtype).removeprefix("torch."), "device": weights.device.type}
        settings = {**where, **settings}
        shared = {"name": settings["model"], "width": settings["dim"], "device": torch.device(settings["device"])}
        towers = [
            Tower(**part, **shared, settings={**settings, "modality": part["modality"]}) for part in (non_text, text)
        ]
        words = f" random weights, seed {settings['seed']}" if trained is None else f" {Path(trained).name}"
        if trained == settings["model"]:  # a repository is called by one name
            words = ""
        return cls(f"{settings['model']}{words}", *towers, settings=settings, model=model)


def computing(device: Device, precision: Precision = "float32") -> tuple[torch.device, torch.dtype]:
    """Where a network computes, and in what: "auto" is bfloat16 on a GPU that has it, else float32."""
    target = torch.device(resolve_device(device))
    fast = target.type != "cpu" and torch.cuda.is_bf16_supported(including_emulation=False)
    return target, torch.bfloat16 if precision == "bfloat16" or (precision == "auto" and fast) else torch.float32


def drawn(make: Callable[[], Any], seed: int) -> Any:
    """What ``make`` gives, with random weights of the seed alone; torch's own generator stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make()


def of_functions(named: Named, seed: int | None, device: Device, precision: Precision) -> EncoderPair | Tower:
    """What a function of yours gives: (encode_images, encode_texts), one of which may be None.

    They take a list of b PIL images or strings and give an array or a tensor (b, d), not normalised. A module is
    looked for in the working directory too. Its own imports are found beside it.
    """
    if seed is not None:
        raise UserError(f"{named}: your own functions have no random twin")
    path = Path(named.name)
    is_file = path.is_file() or named.name.endswith(".py")
    place = str(path.parent.absolute()) if is_file else str(Path.cwd())
    if place not in sys.path:
        sys.path.append(place)  # for good: its functions may import when they are called
    try:
        module = runpy.run_path(str(path)) if is_file else vars(import_module(named.name))
        given, file = module[named.tag](), Path(module["__file__"])
    except Exception as error:  # the file is the user's own
        raise UserError(f"{named}: it gave no encoders ({type(error).__name__}: {reason(error)})") from error
    are_two = isinstance(given, Sequence) and len(given) == 2 and all(each is None or callable(each) for each in given)
    if not are_two or list(given) == [None, None]:
        raise UserError(f"{named}: {named.tag}() must give (encode_images, encode_texts), one of which may be None")
    name = file.stem if named.name.endswith(".py") else named.name
    settings = {"encoder": "callable", "name": name, "function": named.tag, "sha256": sha256(file)}
    probes = {"image": Image.new("RGB", (224, 224), "grey"), "text": "a photograph"}
    towers = [
        _of_function({**settings, "modality": modality}, encode, probe)
        for (modality, probe), encode in zip(probes.items(), given, strict=True)
        if encode is not None
    ]
    return towers[0] if len(towers) == 1 else EncoderPair(name, *towers, settings=settings, kept=False)


def _of_function(settings: dict, function: Callable, probe) -> Tower:
    name, modality = settings["name"], settings["modality"]

    def rows(inputs: list, width: int | None = None) -> Tensor:
        try:
            given = function(inputs)
        except Exception as error:  # the function is the user's own
            said = f"{type(error).__name__}: {reason(error)}"
            raise UserError(f"{name}: the {modality} function failed on {len(inputs)} inputs ({said})") from error
        given = given.detach().cpu() if isinstance(given, Tensor) else torch.from_numpy(np.asarray(given))
        n = len(inputs)
        fits = given.ndim == 2 and given.shape == (n, width or given.shape[1])
        if not fits or not given.is_floating_point():
            wanted = f"floats ({n}, {width or 'd'})"
            raise UserError(f"{name}: {n} {modality}s gave {given.dtype} {tuple(given.shape)}, not {wanted}")
        return given.float()

    width = rows([probe]).shape[1]
    prepare = lambda inputs: rows(inputs, width)  # noqa: E731
    return Tower(name, modality, width, prepare, lambda given: given, torch.device("cpu"), settings)
