"""Independent tasks: here, on the workers of Dask, Ray or Spark by joblib, or shared out under torchrun."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from functools import cache
from importlib import import_module

import numpy as np
from threadpoolctl import threadpool_limits

from .. import UserError, reason

MODULES = {"dask": "distributed", "ray": "ray.util.joblib", "spark": "joblibspark"}
"""Each engine, an extra of this package, and the module that it needs."""
PATIENCE = 60
"""Seconds that a scheduler may take to answer, and then to have a worker."""


def run(function: Callable, tasks: Sequence[tuple], engine: str = "") -> Iterator:
    """What ``function(*task)`` gives for each task, in their order.

    Args:
        function: of a module, so that a worker finds it. Its BLAS runs on one thread: the bits are always the same.
            Here it gets the number of threads after its arguments, by default 1.
        tasks: the arguments; an engine's workers get them pickled.
        engine: "" for this process; "dask://HOST:PORT", "ray" or "spark" for their workers.
    """
    kind, _, place = engine.partition("://")
    if not engine:
        with threadpool_limits(1, "blas"):
            yield from (function(*task, os.cpu_count() or 1) for task in tasks)
        return
    if kind not in MODULES or bool(place) != (kind == "dask"):
        raise UserError(f"no engine {engine!r}; choose dask://HOST:PORT, ray or spark, or none")
    import joblib

    try:
        module = import_module(MODULES[kind])
        with ExitStack() as opened:
            if place:
                client = opened.enter_context(module.Client(place, timeout=PATIENCE))
                client.wait_for_workers(1, PATIENCE)
            else:
                getattr(module, f"register_{kind}")()
            opened.enter_context(joblib.parallel_config(kind, n_jobs=-1))
            yield from joblib.Parallel()(joblib.delayed(_limited)(function, task) for task in tasks)
    except ImportError as error:
        raise UserError(f"--engine {engine} needs pip install 'modality-gap[{kind}]' ({reason(error)})") from error
    except OSError as error:
        raise UserError(f"--engine {engine}: {reason(error)}; is it running, with workers?") from error


def ordered(pool: Executor, function: Callable, items: Iterable, ahead: int) -> Iterator:
    """What ``function(item)`` gives, in order; items are taken here, few more than those that are being worked on."""
    waiting: deque = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    yield from (each.result() for each in waiting)


def _limited(function: Callable, task: tuple):
    with threadpool_limits(1, "blas"):
        return function(*task)


def share() -> tuple[int, int]:
    """The number of this process, and how many there are: under torchrun, or else (0, 1)."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return 0, 1
    from torch import distributed

    if not distributed.is_initialized():
        distributed.init_process_group("gloo")
    return distributed.get_rank(), distributed.get_world_size()


def shared(arrays: Sequence[np.ndarray], process: int) -> None:
    """Fills arrays with those of one process of torchrun, in all others; there is nothing to do outside it."""
    if share()[1] == 1:
        return
    import torch
    from torch import distributed

    for array in arrays:
        distributed.broadcast(torch.from_numpy(array), process, _gloo())


@cache
def _gloo():
    from torch import distributed

    return distributed.new_group(backend="gloo")
