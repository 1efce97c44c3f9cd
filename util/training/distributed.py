"""One process or many under torchrun: the rows of all processes gathered with their gradients, gradients averaged.

    torchrun --nproc-per-node=2 SCRIPT      runs SCRIPT in two processes, each with a share of every batch

Every loss sees the rows of the global batch, in the order that one process would have them. Without a process group
every function here is that of one process and costs nothing.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, distributed

from ..errors import UserError


@contextmanager
def group(device: str = "cpu") -> Iterator[torch.device]:
    """Joins the processes that torchrun started, for the length of a block: gloo on a CPU, NCCL on GPUs.

    Args:
        device: "cpu" or "cuda".

    Yields:
        the device of this process: on CUDA the GPU with its local rank. Outside torchrun, ``device`` alone.
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
    """The part of a global batch that is this process's.

    Raises:
        UserError: the batch cannot be shared equally.
    """
    if batch % size():
        raise UserError(f"a batch of {batch} pairs cannot be shared equally by {size()} processes; choose a multiple")
    each = batch // size()
    return slice(rank() * each, (rank() + 1) * each)


def gather(rows: Float[Tensor, "b d"]) -> Float[Tensor, "n d"]:
    """The rows of all processes, in the order of their ranks; gradients flow back to the process a row came from.

    The gradient that a row gets is summed over the processes. Where each computes the same loss of all rows, that is
    ``size()`` times the gradient, which ``average_gradients`` divides again.
    """
    return rows if size() == 1 else _Gather.apply(rows)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, rows: Tensor) -> Tensor:
        parts = [torch.empty_like(rows) for _ in range(size())]
        distributed.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(gradient)
        return gradient[share(len(gradient))]


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replaces every gradient by its mean over the processes, in one exchange; what has no gradient is passed over."""
    gradients = [p.grad for p in parameters if p.grad is not None] if size() > 1 else []
    if not gradients:
        return
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def same_weights(model: torch.nn.Module) -> None:
    """Gives every process the first one's weights and buffers.

    Raises:
        UserError: in several processes, a model with batch normalisation, whose statistics would be each share's.
    """
    if size() == 1:
        return
    kinds = torch.nn.modules.batchnorm._BatchNorm
    if any(isinstance(m, kinds) and not isinstance(m, torch.nn.SyncBatchNorm) for m in model.modules()):
        raise UserError(
            "a model with batch normalisation sees only a share of the batch in each of several processes; train it in"
            " one, or on GPUs after torch.nn.SyncBatchNorm.convert_sync_batchnorm"
        )
    for tensor in model.state_dict().values():
        distributed.broadcast(tensor, 0)


def agreed(number: int, device: torch.device, what: str) -> int:
    """A number that must be the same in every process.

    Raises:
        UserError: it is not.
    """
    if size() > 1:
        numbers = torch.tensor([number, -number], device=device)
        distributed.all_reduce(numbers, distributed.ReduceOp.MAX)
        if numbers.sum() != 0:
            raise UserError(f"the processes do not agree on {what}: {-int(numbers[1])} to {int(numbers[0])}")
    return number
