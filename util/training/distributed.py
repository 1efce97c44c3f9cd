"""One process, or many under torchrun, each with a share of every batch.

    torchrun --nproc-per-node=2 SCRIPT

Every loss sees the rows of the whole batch, in the order that one process would have them: open_clip gathers them with
their gradients, and ``DistributedDataParallel`` averages those of the weights. Without a group all is of one process.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, distributed
from torch.nn.parallel import DistributedDataParallel

from ..errors import UserError


@contextmanager
def group(device: str = "cpu") -> Iterator[torch.device]:
    """Joins the processes that torchrun started, for the length of a block; gives the device of this one.

    gloo on a CPU; NCCL on GPUs, each process on that of its local rank. Outside torchrun ``device`` alone.
    """
    if "RANK" not in os.environ or distributed.is_initialized():
        yield torch.device(device)
        return
    own = torch.device(device)
    if own.type == "cuda":
        own = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(own)
    distributed.init_process_group("nccl" if own.type == "cuda" else "gloo")
    try:
        yield own
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def size() -> int:
    """Number of processes."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_first() -> bool:
    """Whether this is the process that logs, validates and writes."""
    return rank() == 0


def share(batch: int) -> slice:
    """The part of a global batch that is this process's."""
    if batch % size():
        raise UserError(f"a batch of {batch} pairs cannot be shared equally by {size()} processes; choose a multiple")
    each = batch // size()
    return slice(rank() * each, (rank() + 1) * each)


def gather(x: Float[Tensor, "b d"], y: Float[Tensor, "b d"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
    """The rows of all processes, by rank; gradients flow back to the process that a row came from, summed over all."""
    if size() == 1:
        return x, y
    from open_clip.loss import gather_features  # open_clip takes seconds to import

    return gather_features(x, y, gather_with_grad=True, rank=rank(), world_size=size())


def parallel(module: torch.nn.Module) -> torch.nn.Module:
    """The module with the first process's weights in all, its gradients averaged over them.

    Its forward pass must give the loss of all rows: each process then has the same one, and the mean of their summed
    gradients is that of one process. Parameters that a loss does not use are left without a gradient.
    """
    if size() == 1:
        return module
    kinds = torch.nn.modules.batchnorm._BatchNorm
    if any(isinstance(m, kinds) and not isinstance(m, torch.nn.SyncBatchNorm) for m in module.modules()):
        raise UserError(
            "a model with batch normalisation sees only a share of the batch in each of several processes; train it in"
            " one, or on GPUs after torch.nn.SyncBatchNorm.convert_sync_batchnorm"
        )
    return DistributedDataParallel(module, find_unused_parameters=True)


def agreed(number: int, device: torch.device, what: str) -> int:
    """A number that must be the same in every process."""
    if size() > 1:
        numbers = torch.tensor([number, -number], device=device)
        distributed.all_reduce(numbers, distributed.ReduceOp.MAX)
        if numbers.sum() != 0:
            raise UserError(f"the processes do not agree on {what}: {-int(numbers[1])} to {int(numbers[0])}")
    return number
