"""One tower: photographs, captions or ready tensors in, unit rows out. An encoder is one tower or a pair of them."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear
from tqdm import tqdm

from util.cli import Device, resolve_device
from util.errors import UserError

Modality = Literal["image", "text"]
Precision = Literal["float32", "bfloat16", "auto"]
Pixels = Literal["own", "imagenet"]

WORTH_IT = 1.3
"""How many times as fast bfloat16 must be for "auto" to take it."""

CPU_BATCH, GPU_BATCH = 16, 256
"""Inputs per batch: on a CPU as many as keep the activations near its caches (measured: 16 beats 8 and 64)."""


@dataclass(frozen=True)
class Tower:
    """A network that embeds one modality, in evaluation mode.

    Attributes:
        name: the model in words, for instance "ViT-B-32".
        weights: "random" or what they were trained on, in a word.
        modality: "image" or "text".
        width: d of the embeddings.
        prepare: a list of raw inputs (PIL images, strings) to one tensor (b, ...): pixels or tokens.
        forward: such a tensor, on ``device``, to embeddings (b, d), not normalised.
        device: where the network is.
        settings: all that the embeddings depend on, as plain values for records and cache keys.
        noise: (n, seed) to n inputs without content, ready for ``forward``: standard normal pixels, uniform tokens.
            The first k of n are those that k alone would give. None where the tower cannot say.
        lengths: tokens (n, length) to how many of each matter (n,); None where all do. ``encode`` then groups inputs
            of like length, for ``forward`` to cut.
    """

    name: str
    weights: str
    modality: Modality
    width: int
    prepare: Callable[[list], Tensor]
    forward: Callable[[Tensor], Tensor]
    device: torch.device
    settings: Mapping[str, Any] = field(repr=False)
    noise: Callable[[int, int], Tensor] | None = field(repr=False, default=None)
    lengths: Callable[[Tensor], Tensor] | None = field(repr=False, default=None)

    def encode(
        self, inputs: Iterable | Tensor, batch_size: int | None = None, progress: bool = True
    ) -> Float[np.ndarray, "n d"]:
        """Embeddings of raw inputs, read one batch at a time, or of a tensor that ``prepare`` or ``noise`` gave.

        Args:
            inputs: raw inputs, or a ready tensor (n, ...).
            batch_size: how many go through the network at a time; None: 16 on a CPU, 256 on a GPU. It changes the
                last bits at most.
            progress: whether to show a bar.

        Returns:
            float32 array (n, d), unit-norm rows, in the order of the inputs.

        Raises:
            UserError: nothing to encode, one string for many, a row that is zero or not finite.
        """
        if isinstance(inputs, str):
            raise UserError(f"captions must be a list of strings, not one string: {inputs!r}")
        size = (CPU_BATCH if self.device.type == "cpu" else GPU_BATCH) if batch_size is None else batch_size
        if size < 1:
            raise UserError(f"the batch size must be at least 1, not {size}")
        what = {"image": "images", "text": "captions"}[self.modality]
        if self.lengths is not None and not isinstance(inputs, Tensor):  # to know which are of like length
            captions = list(inputs)
            inputs = self.prepare(captions) if captions else captions
        total = len(inputs) if hasattr(inputs, "__len__") else None
        about = {"desc": f"{self.name}: {what}", "unit": what[:-1], "leave": False, "delay": 2, "disable": not progress}
        with tqdm(total=total, **about) as bar:
            rows = self._encode(inputs, size, bar)
        if not len(rows):
            raise UserError(f"{self.name}: there are no {what} to encode")
        norms = np.linalg.norm(rows, axis=1)
        if not np.isfinite(norms).all() or not norms.all():
            row = int(np.flatnonzero(~np.isfinite(norms) | (norms == 0))[0])
            raise UserError(f"{self.name}: the embedding of {what[:-1]} {row} is zero or not finite")
        return rows / norms[:, None]

    @torch.inference_mode()
    def _encode(self, inputs: Iterable | Tensor, size: int, bar: tqdm) -> np.ndarray:
        """Rows as the network gives them, float32."""
        if not isinstance(inputs, Tensor):
            parts, remaining = [np.empty((0, self.width), np.float32)], iter(inputs)
            while batch := list(islice(remaining, size)):
                parts.append(self._rows(self.prepare(batch)))
                bar.update(len(batch))
            return np.concatenate(parts)
        rows = np.empty((len(inputs), self.width), np.float32)
        order = torch.arange(len(inputs))
        if self.lengths is not None and len(inputs):
            order = self.lengths(inputs).argsort(descending=True, stable=True)
        for chosen in order.split(size):
            rows[chosen.numpy()] = self._rows(inputs[chosen])
            bar.update(len(chosen))
        return rows

    def _rows(self, batch: Tensor) -> np.ndarray:
        return self.forward(batch.to(self.device)).float().cpu().numpy()


def normal_pixels(side: int | tuple[int, int]) -> Callable[[int, int], Tensor]:
    """The ``noise`` of an image tower: pixels N(0, 1), after any normalisation, (n, 3, height, width)."""
    shape = (3, *((side, side) if isinstance(side, int) else side))

    def noise(n: int, seed: int) -> Tensor:
        return torch.from_numpy(np.random.default_rng([seed, 1]).standard_normal((n, *shape), dtype=np.float32))

    return noise


def uniform_tokens(vocabulary: int, length: int) -> Callable[[int, int], Tensor]:
    """The ``noise`` of a text tower: token numbers uniform in [0, vocabulary), (n, length)."""

    def noise(n: int, seed: int) -> Tensor:
        return torch.from_numpy(np.random.default_rng([seed, 2]).integers(0, vocabulary, (n, length)))

    return noise


def checked_device(device: Device) -> torch.device:
    """A torch device for an option.

    Raises:
        UserError: an unknown word, or cuda where there is none.
    """
    if device not in get_args(Device):
        raise UserError(f"unknown device {device!r}; choose from {', '.join(get_args(Device))}")
    return torch.device(resolve_device(device))


def resolve_precision(precision: Precision, device: torch.device) -> torch.dtype:
    """The dtype of weights and activations: "auto" is bfloat16 where it is clearly the faster, else float32.

    Raises:
        UserError: an unknown word.
    """
    if precision not in get_args(Precision):
        raise UserError(f"unknown precision {precision!r}; choose from {', '.join(get_args(Precision))}")
    if precision == "auto":
        return torch.bfloat16 if bfloat16_gain(device.type) >= WORTH_IT else torch.float32
    return getattr(torch, precision)


@lru_cache
def bfloat16_gain(device: str) -> float:
    """How many times as fast as in float32 a layer of ViT-B/32 is in bfloat16 here, by trial (a few milliseconds).

    CPUs with AMX or AVX512-BF16 give 2 to 4; others emulate it, ten times slower than float32.
    """
    x, weight = torch.ones(400, 768, device=device), torch.ones(3072, 768, device=device)

    def seconds(dtype: torch.dtype) -> float:
        a, b, best = x.to(dtype), weight.to(dtype), float("inf")
        for _ in range(4):
            start = time.perf_counter()
            linear(a, b)
            if device != "cpu":
                torch.cuda.synchronize()
            best = min(best, time.perf_counter() - start)
        return best

    return seconds(torch.float32) / seconds(torch.bfloat16)
