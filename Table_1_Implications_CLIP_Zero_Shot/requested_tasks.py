"""Which tasks the options ask for: options that make no sense are refused, the others' tasks are embedded."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

import embedded_tasks
from embedded_tasks import GENERATED, PUBLISHED_CLIP
from util import NoConnection, UserError, cli
from util.corpora import tasks
from util.corpora.tasks import Task
from util.encoders.named import SMALL_CLIP, Named
from util.encoders.tower import EncoderPair
from util.extraction import extract
from util.geometry import gap_vector
from util.numerics.arrays import as_count
from util.zero_shot.tasks import EmbeddedTask, tasks_of

CAPTIONED = 2000
"""Generated captioned scenes for the captions' gap vector of the small CLIP."""

ONLY = (
    cli.Only("tasks tasks_file n model data coco", "runs without --embeddings", lambda s: not s.embeddings),
    cli.Only("labels prompts", "--embeddings", lambda s: s.embeddings),
    cli.Only("data", "tasks of a data set; name some with --tasks", lambda s: chosen(s)[1]),
    cli.Only("coco", "MSCOCO's retrieval, and the captions' gap vector of other models than the small CLIP",
             lambda s: any(s.model != SMALL_CLIP or task.key == tasks.MSCOCO for task in chosen(s)[1])),
    cli.Only("caption", "retrieval among tasks of a data set or --embeddings",
             lambda s: s.embeddings or any(task.is_retrieval for task in chosen(s)[1])),
)  # fmt: skip
"""Options that only some runs read."""


def check(settings: cli.Common) -> None:
    """Refuses options that make no sense, before anything is embedded."""
    settings.check()
    if settings.n is not None:
        as_count(settings.n, "--n", least=4)
    for name in ("side", "caption", "tasks", "embeddings"):
        values = [str(Path(value)) for value in getattr(settings, name)]
        if len({*values}) < len(values) or (not values and name in ("side", "caption")):
            raise UserError(f"--{name} takes one or more different words, not {' '.join(values) or 'none'}")
    drawn, _ = chosen(settings)
    if drawn and settings.model != SMALL_CLIP:
        raise UserError(f"--model {settings.model}: the generated tasks ({', '.join(drawn)}) are for {SMALL_CLIP}")
    if settings.data is not None and not settings.data.is_dir():
        raise UserError(f"--data {settings.data}: no such folder; expected one that holds a folder for each task")


def chosen(settings: cli.Common) -> tuple[list[str], list[Task]]:
    """Names of generated tasks, or the declared tasks, to run; none beside your own embeddings."""
    if settings.embeddings:
        return [], []
    own, drawn = settings.tasks_file is not None, list(GENERATED)
    if settings.preset != "paper" and not own and set(settings.tasks) <= set(drawn):
        return list(settings.tasks or drawn), []
    known = tasks.read(settings.tasks_file)
    if unknown := [name for name in settings.tasks if name not in known]:
        there = f"there are {', '.join(known)}"
        if not own:
            there += f"; generated ones ({', '.join(drawn)}) run apart from these, and not with --preset paper"
        raise UserError(f"--tasks: no task {', '.join(map(repr, unknown))} here; {there}")
    return [], [known[name] for name in settings.tasks or known]


def collect(settings: cli.Common, device: str, left_out: list[str]) -> Iterator[EmbeddedTask]:
    """Every task that can be had, one after the other, each with the captions' gap vector where there is one.

    ``left_out`` receives a line for each task that could not be had for want of a network, with the reason.
    """
    if settings.embeddings:
        beside = {name: str(path) for name in ("labels", "prompts") if (path := getattr(settings, name))}
        for task in tasks_of(settings.embeddings, cli.named_columns(settings.columns), left_out, **beside):
            yield from embedded_tasks.by_caption(task, settings.caption)
        return
    drawn, declared = chosen(settings)
    pair = Named.parse(settings.model).pair(device=device)
    captions = _caption_gap(pair, settings, left_out)
    for task in embedded_tasks.of_generated(drawn, pair, settings.seed, settings.n):
        yield replace(task, caption_gap=captions)
    for declaration in declared:
        try:
            task = _embed(declaration, pair, settings)
        except NoConnection as error:
            left_out.append(str(error))
            continue
        for part in embedded_tasks.by_caption(task, settings.caption):
            yield replace(part, caption_gap=captions)
    if settings.preset == "embedded" and drawn and not settings.tasks:
        try:
            yield embedded_tasks.of_published()
        except UserError as error:
            left_out.append(f"{PUBLISHED_CLIP}: {error}")


def _embed(task: Task, pair: EncoderPair, settings: cli.Common) -> EmbeddedTask:
    """A declared task, embedded: from --coco or --data where that has it, otherwise from the hub."""
    folder = settings.coco if task.key == tasks.MSCOCO and settings.coco else tasks.folder_of(task, settings.data)
    return embedded_tasks.of_declared(task, tasks.load(task, folder, settings.n), pair)


def _caption_gap(pair: EncoderPair, settings: cli.Common, left_out: list[str]) -> np.ndarray | None:
    """The gap vector of captioned images: generated scenes for the small CLIP, MSCOCO for any other model.

    Without a network and a folder, or where the hub was not asked for, None and a line in ``left_out``.
    """
    if settings.model == SMALL_CLIP:
        from util.corpora.generated.pictures import captioned_scenes

        scenes = captioned_scenes(settings.n or CAPTIONED, settings.seed + 1)
        return gap_vector(*extract(pair, scenes, embedded_tasks.BATCH, cache=False).paired())
    try:
        if settings.coco is None and settings.preset != "paper":
            raise NoConnection("--coco DIR names a local MSCOCO folder, --preset paper takes it from the hub")
        mscoco = _embed(tasks.read()[tasks.MSCOCO], pair, settings)
        (corpus,) = embedded_tasks.by_caption(mscoco, ["last"])  # as released
    except NoConnection as error:
        left_out.append(f"the captions' gap vector: {error}")
        return None
    return gap_vector(corpus.images[corpus.labels[:, 0]], corpus.texts[corpus.labels[:, 1]])
