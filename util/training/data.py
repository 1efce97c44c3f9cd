"""The pairs that training reads, and its batches, which a thread makes one step ahead."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from jaxtyping import Int, UInt8
from torch import Tensor

from ..errors import UserError
from .settings import TrainingSettings, batch_indices


@dataclass(frozen=True)
class Pairs:
    """A corpus in the form that training reads.

    Args:
        images: uint8 tensor (n, 3, s, s).
        tokens: int64 tensor (n, l); row i is the caption of image i.
    """

    images: UInt8[Tensor, "n 3 s s"]
    tokens: Int[Tensor, "n l"]

    def __post_init__(self):
        if len(self.images) != len(self.tokens):
            raise UserError(f"{len(self.images)} images do not pair with {len(self.tokens)} captions")

    def __len__(self) -> int:
        return len(self.images)


def batches(
    pairs: Pairs, settings: TrainingSettings, prepare: Callable[[Tensor], Tensor], device: torch.device, first: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Prepared pictures and tokens of every step from ``first`` on; the next are made while the last are trained on."""

    def make(step: int) -> tuple[Tensor, Tensor]:
        index = torch.from_numpy(batch_indices(len(pairs), settings.batch, settings.seed, step).copy())
        return prepare(pairs.images[index].to(device)), pairs.tokens[index].to(device)

    if first >= settings.steps:
        return
    # one thread in the worker: a team of its own would wait for work by spinning, on the cores of the training step
    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(1,)) as worker:
        threads, coming = torch.get_num_threads(), worker.submit(make, first)
        for step in range(first, settings.steps):
            ready = coming.result()
            if step == first:
                torch.set_num_threads(threads)  # what threads that start later inherit
            if step + 1 < settings.steps:
                coming = worker.submit(make, step + 1)
            yield ready
