"""Where the tasks of Table 1 come from: declared data sets, generated pictures, and published embeddings."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import numpy as np

import prepared
from prepared import Prepared
from util import published
from util.corpora import tasks
from util.corpora.captioned import CaptionRule
from util.corpora.generated import captioned_scenes as generated
from util.corpora.tasks import Task
from util.encoders.tower import EncoderPair
from util.errors import UserError
from util.extraction import extract
from util.geometry import gap_vector

SMALL_CLIP = "small-clip"
DIRECTION_RULE: CaptionRule = "last"
"""Which caption of an image the captions' gap vector is of, as released."""
PUBLISHED_KEY, PUBLISHED_CLIP = "published_clip", "MSCOCO, published CLIP"
"""The task made of the authors' embeddings of 500 photographs and captions."""
COCO = "mscoco"
"""Key of the declared task that is also the caption corpus."""
NO_CORPUS = "the captions' gap vector"


class Options(Protocol):
    """What is read of a script's settings."""

    preset: str
    embeddings: Sequence[Path]
    tasks: Sequence[str]
    tasks_file: Path | None
    data: Path | None
    streaming: bool
    n: int | None
    model: str
    class_names: str | None
    coco: Path | None
    caption: Sequence[CaptionRule]
    captioned: int
    seed: int


def collect(options: Options, device: str, left_out: list[str]) -> Iterator[Prepared]:
    """Every task that can be had, one after the other, each with the captions' gap vector where there is one.

    Args:
        options: which tasks, by which model, of which data; or which files of embeddings in place of all that.
        device: "cpu" or "cuda".
        left_out: receives a line for each task that could not be had for want of a network, with the reason.

    Raises:
        UserError: an unknown task or model, or data that are there and cannot be used.
    """
    if options.embeddings:
        yield from own(options)
        return
    drawn, declared = chosen(options)
    if drawn and options.model != SMALL_CLIP:
        raise UserError(f"--model {options.model}: the generated tasks ({', '.join(drawn)}) are for {SMALL_CLIP}")
    pair, cache = encoder(options.model, device)
    captions = caption_gap(pair, cache, options, left_out)
    for task in prepared.generated(drawn, pair, options.seed, options.n):
        yield replace(task, captions=captions)
    for declaration in declared:
        try:
            task = load(declaration, pair, cache, options)
        except published.NoConnection as error:
            left_out.append(str(error))
        else:
            for part in by_caption(task, options.caption):
                yield replace(part, captions=captions)
    if with_published(options):
        yield from published_clip(left_out)


def own(options: Options) -> Iterator[Prepared]:
    """The tasks of one's own files of embeddings."""
    for key, path in zip(keys(options), options.embeddings, strict=True):
        yield from by_caption(replace(prepared.own(path), key=key, dataset=key), options.caption)


def keys(options: Options) -> list[str]:
    """The names of all tasks that ``collect`` tries to give.

    Raises:
        UserError: as ``chosen``.
    """
    if options.embeddings:
        stems = [path.stem for path in options.embeddings]
        return stems if len(set(stems)) == len(stems) else [str(path) for path in options.embeddings]
    drawn, declared = chosen(options)
    return [*drawn, *(task.key for task in declared), *([PUBLISHED_KEY] if with_published(options) else [])]


def with_published(options: Options) -> bool:
    """Whether the task of published embeddings is asked for: with all generated ones."""
    return options.preset == "embedded" and not options.tasks and options.tasks_file is None


def with_captions(options: Options, key: str) -> bool:
    """Whether a task can have the gap vector of a caption corpus beside its own."""
    if options.embeddings or key == PUBLISHED_KEY:
        return False
    return options.model == SMALL_CLIP or options.coco is not None or options.preset == "paper"


def chosen(options: Options) -> tuple[list[str], list[Task]]:
    """The names of generated tasks and the declared tasks to run.

    Raises:
        UserError: a name that is neither, or names of both.
    """
    if options.preset != "paper" and options.tasks_file is None and set(options.tasks) <= set(prepared.GENERATED):
        return list(options.tasks or prepared.GENERATED), []
    known = tasks.read(options.tasks_file)
    unknown = [name for name in options.tasks if name not in known]
    if unknown:
        raise UserError(f"--tasks: {_unknown(options, unknown, known)}")
    return [], [known[name] for name in options.tasks or known]


def _unknown(options: Options, unknown: Sequence[str], known: Sequence[str]) -> str:
    """Why names that are not declared cannot be run."""
    drawn, there = list(prepared.GENERATED), ", ".join(known)
    if options.tasks_file is not None or not set(unknown) <= set(drawn):
        wrong = [name for name in unknown if options.tasks_file is not None or name not in drawn]
        also = "" if options.tasks_file is not None else f"{', '.join(drawn)}, "
        return f"no task {', '.join(map(repr, wrong))}; there are {also}{there}"
    if options.preset == "paper":
        return f"{', '.join(unknown)}: generated tasks are not for --preset paper, which has {there}"
    both = f"generated tasks ({', '.join(drawn)}) and declared ones ({there})"
    return f"{both} cannot be mixed; run them apart"


def encoder(model: str, device: str) -> tuple[EncoderPair, bool]:
    """An encoder pair by its name on the command line, in float32, and whether its embeddings may be kept.

    Args:
        model: "small-clip"; an open_clip "MODEL:TAG"; or any name of ``util.encoders.named`` that has both towers.

    Raises:
        UserError: an unknown model, weights that cannot be had, or no tower of images and one of texts.
    """
    if model == SMALL_CLIP:
        from util.encoders import small_clip

        pair = small_clip.load(device=device).pair("small CLIP")
        return replace(
            pair, name="small CLIP", non_text=replace(pair.non_text, prepare=_of_its_size(pair.non_text.prepare))
        ), True
    from util.encoders.named import KINDS, Named

    named = Named.parse(model if model.partition(":")[0] in KINDS else f"open_clip:{model}")
    towers = named.load(device=device, precision="float32")
    if [tower.modality for tower in towers] != ["image", "text"]:
        raise UserError(f"--model {model}: zero-shot needs a tower of images and one of texts")
    image, text = towers
    settings = {"image": dict(image.settings), "text": dict(text.settings)}
    name = model.removeprefix("open_clip:").replace(":", " ") if named.kind == "open_clip" else image.name
    return EncoderPair(name, image, text, settings), named.kind != "python"


def _of_its_size(prepare):
    """The small CLIP's ``prepare`` that says what is wrong with pictures of another size."""
    from util.corpora.generated.drawing import SIDE

    def checked(images: list):
        arrays = [np.asarray(image) for image in images]
        if wrong := [array.shape for array in arrays if array.shape != (SIDE, SIDE, 3)]:
            size = "x".join(map(str, wrong[0][1::-1]))
            raise UserError(
                f"the small CLIP takes pictures of {SIDE}x{SIDE} pixels, not {size}; choose another --model"
            )
        return prepare(arrays)

    return checked


def load(task: Task, pair: EncoderPair, cache: bool, options: Options) -> Prepared:
    """A declared task, embedded: from --coco or --data where that has it, otherwise from the hub.

    Raises:
        NoConnection: the hub does not answer, and there is no local copy.
        UserError: data that cannot be used.
    """
    if options.class_names in task.alternatives:
        task = task.with_names(options.class_names)
    folder = options.coco if task.key == COCO and options.coco else tasks.folder_of(task, options.data)
    data = tasks.load(task, folder, options.n, options.streaming, caption="all")
    if task.is_retrieval:
        return prepared.of_captioned(task, data, pair, cache)
    return prepared.of_labelled(task, data, pair, cache)


def by_caption(task: Prepared, rules: Sequence[CaptionRule]) -> list[Prepared]:
    """A retrieval task under each caption rule, where its images have several captions; any other as it is."""
    several = task.is_retrieval and len(task.texts) > len(task.images)
    return [task.with_captions(rule) for rule in rules] if several else [task]


def caption_gap(pair: EncoderPair, cache: bool, options: Options, left_out: list[str]) -> np.ndarray | None:
    """The gap vector of captioned images: generated scenes for the small CLIP, MSCOCO for any other model.

    Without a network and a folder, or where the hub was not asked for, None and a line in ``left_out``.
    """
    if options.model == SMALL_CLIP:
        corpus = extract(pair, generated.scenes(options.captioned, options.seed + 1), prepared.BATCH, cache=False)
        return gap_vector(*corpus.paired())
    if options.coco is None and options.preset != "paper":
        left_out.append(f"{NO_CORPUS}: --coco DIR names a local MSCOCO folder, --preset paper takes it from the hub")
        return None
    try:
        task = load(tasks.read()[COCO], pair, cache, options)
    except published.NoConnection as error:
        left_out.append(f"{NO_CORPUS}: {error}")
        return None
    corpus = by_caption(task, [DIRECTION_RULE])[0]
    return gap_vector(corpus.images[corpus.labels], corpus.texts)


def published_clip(left_out: list[str]) -> Iterator[Prepared]:
    """Retrieval among the authors' 500 pairs, where the file is in the cache."""
    try:
        found = published.load("clip", "trained", fetch=False)
    except UserError as error:
        left_out.append(f"{PUBLISHED_CLIP}: {error}")
        return
    images, texts = found.paired()
    retrieval = {"metric": "retrieval", "group": "retrieval", "images": images, "texts": texts}
    shared = {"model": found.source["model"], "labels": np.arange(len(images)), "source": found.source}
    yield Prepared(key=PUBLISHED_KEY, dataset=PUBLISHED_CLIP, **retrieval, **shared)
